"""Spots where there are none, and spots that are missed: ``morphometry.hot_spots`` on maps of known truth.

Null maps are smooth Gaussian fields (noise filtered by a Gaussian, cut out of a larger field, plus measurement noise)
or measurement noise alone. A rate is the share of maps with any spot: as all of them are false there, it is the false
discovery rate, and should not exceed 0.05. Planted spots are discs of 12 and 24 um radius, raised by a number of
standard deviations of the field around them. The naive Gi* beside it takes pixels for independent.

    python benchmarks/bench_hot_spots.py
    python benchmarks/bench_hot_spots.py --maps 20
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from operando.core.axes import labeled_image
from operando.morphometry import hot_spots
from operando.morphometry.null_maps import disc_mean

PIXEL = 3.0
SIZE = 144
FIELDS = (0.0, 6.0, 12.0, 24.0, 48.0)
SPOTS = ((12.0, 2.0), (12.0, 4.0), (24.0, 2.0), (24.0, 4.0), (24.0, 6.0))
PLANTED = 4
SIGMA = 0.05


def field(random: np.random.Generator, length: float, noise: float = 0.3) -> np.ndarray:
    """Values with mean 1 and spread 0.2: a field of that standard deviation of its filter in um, and noise."""
    if length == 0:
        return 1 + 0.2 * random.normal(size=(SIZE, SIZE))
    sigma = length / PIXEL
    margin = int(4 * sigma) + 4
    smooth = gaussian_filter(random.normal(size=(SIZE + 2 * margin,) * 2), sigma)
    smooth = smooth[margin : margin + SIZE, margin : margin + SIZE] * sigma * np.sqrt(4 * np.pi)
    return 1 + 0.2 * (smooth + noise * random.normal(size=(SIZE, SIZE)))


def image(values: np.ndarray) -> xr.DataArray:
    return labeled_image(values, voxel_size_um=PIXEL).assign_coords(sigma=SIGMA)


def naive(values: np.ndarray, radius: float) -> bool:
    """Whether Gi* with independent pixels and Benjamini and Hochberg's rule finds anything."""
    known = np.ones(values.shape, bool)
    inside = np.pi * radius**2 / PIXEL**2
    score = (disc_mean(values, known, (PIXEL, PIXEL), radius) - values.mean()) / values.std() * np.sqrt(inside)
    p = np.sort(2 * norm.sf(np.abs(score)).ravel())
    return bool((p <= 0.05 * np.arange(1, p.size + 1) / p.size).any())


def planted(random: np.random.Generator, values: np.ndarray, radius: float, height: float) -> np.ndarray:
    """Numbers of the discs that were raised, 0 elsewhere; apart from each other and from the border."""
    where = np.zeros(values.shape, int)
    y, x = np.mgrid[:SIZE, :SIZE]
    free = np.ones(values.shape, bool)
    margin = int(radius / PIXEL) + 6
    free[:margin], free[-margin:], free[:, :margin], free[:, -margin:] = False, False, False, False
    for number in range(1, PLANTED + 1):
        places = np.argwhere(free)
        a, b = places[random.integers(len(places))]
        distance = np.hypot(y - a, x - b)
        where[distance <= radius / PIXEL] = number
        free &= distance > 2 * radius / PIXEL + 12
    values[where > 0] += 0.2 * height
    return where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=100)
    maps = parser.parse_args().maps
    print(f"{SIZE} x {SIZE} pixels of {PIXEL:g} um, discs of 18 um, {maps} maps each (one sigma of 0.05 is "
          f"{np.sqrt(0.05 * 0.95 / maps):.3f})")  # fmt: skip
    print("\nmaps without spots\n| field, um | maps with a spot | area called spot | naive Gi*: maps with a spot |")
    print("|---|---|---|---|")
    for length in FIELDS:
        hits, area, plain = 0, 0.0, 0
        for number in range(maps):
            random = np.random.default_rng([1, int(length), number])
            values = field(random, length)
            found = hot_spots(image(values), seed=number)["spot"].values
            hits, area, plain = hits + found.any(), area + (found != 0).mean(), plain + naive(values, 18.0)
        print(f"| {length:g} | {hits / maps:.2f} | {area / maps:.4f} | {plain / maps:.2f} |", flush=True)
    hits = 0
    for number in range(maps):
        random = np.random.default_rng([2, number])
        values = 1 + SIGMA * random.normal(size=(SIZE, SIZE))
        hits += bool((hot_spots(image(values), null="noise", seed=number)["spot"] != 0).any())
    print(f"\nmeasurement noise against its own sigma (null='noise'): {hits / maps:.2f} of the maps have a spot")
    print(
        f"\n{PLANTED} planted hot spots\n| field, um | radius, um | height, sd | found | false spots of all | overlap |"
    )
    print("|---|---|---|---|---|---|")
    for length in (0.0, 12.0, 24.0):
        for radius, height in SPOTS:
            met, false, total, overlap = 0, 0, 0, []
            for number in range(max(1, maps // 4)):
                random = np.random.default_rng([3, int(length), int(radius), int(height), number])
                values = field(random, length)
                where = planted(random, values, radius, height)
                spots = hot_spots(image(values), seed=number)
                ids, kinds = spots["id"].values, spots["spot"].values
                for k in range(1, PLANTED + 1):
                    hot = (kinds == 1) & (where == k)
                    met += bool(hot.any())
                    if hot.any():
                        whole = np.isin(ids, np.unique(ids[hot]))
                        overlap.append(((where == k) & whole).sum() / ((where == k) | whole).sum())
                for k in range(1, ids.max() + 1):
                    total += 1
                    false += not (where[ids == k] > 0).any() or kinds[ids == k][0] < 0
            share = met / (PLANTED * max(1, maps // 4))
            print(f"| {length:g} | {radius:g} | {height:g} | {share:.2f} | {false / max(total, 1):.2f} | "
                  f"{np.mean(overlap) if overlap else np.nan:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
