"""Time of a current-density map of 1 mm2, both electrodes: gray profiles to boundaries, thickness and current.

Dixit 2020 reports about 20 minutes; the aim is 2 s. Two scans of a cell of steel, lithium, ceramic, lithium and steel
are made with known boundaries, tilt, roughness, pores, blur and noise; the image is in memory, and compiled code in the
cache (a first, small run). The plain loop beside it looks for the half level in every column with numpy, on a part of
the columns. Reading is the time to sum the image once, the least that any method needs.

    python benchmarks/bench_current_density.py
    python benchmarks/bench_current_density.py --edge 300
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.axes import labeled_image
from operando.morphometry import (
    boundaries_from_profiles,
    current_closure,
    electrode_thickness,
    plating_current_density,
    thickness_sigma,
)

VOXEL = 1.2
PLANES = 350
LEVELS = {"collector": 2.0, "lithium": 0.1, "ceramic": 1.0}
ORDER = ("collector", "lithium", "ceramic", "lithium", "collector")
AT = (40.0, 115.0, 235.0, 310.0)
NOISE = 0.1
PAPER_S = 20 * 60


def heights(edge: int, seed: int) -> np.ndarray:
    """Boundaries (scan, 4, y, x) in voxels from the face of the first; the low electrode thickens, the other thins."""
    random = np.random.default_rng(seed)
    x = np.arange(edge) / edge
    made = np.empty((2, 4, edge, edge), np.float32)
    for b, at in enumerate(AT):
        rough = gaussian_filter(random.normal(size=(edge, edge)).astype(np.float32), 10)
        made[:, b] = at + 8 * (x - 0.5) + 1.5 * rough / rough.std()
    plated = gaussian_filter(random.normal(size=(edge, edge)).astype(np.float32), 20)
    plated = 3 + plated / plated.std()
    made[1, 0] -= plated
    made[1, 3] -= plated
    return made


def image(boundaries: np.ndarray, seed: int) -> np.ndarray:
    """Gray (z, y, x): exact shares of the layers in every voxel, a blur of one voxel along z, noise."""
    random = np.random.default_rng(seed)
    edge = boundaries.shape[1]
    out = np.empty((PLANES, edge, edge), np.float32)
    for k in range(PLANES):
        plane = np.full((edge, edge), LEVELS["collector"], np.float32)
        for b, name in enumerate(ORDER[1:]):
            # A box of three voxels; the boundary lies at k + 0.5 where half of it is behind.
            behind = np.clip((k + 2.0 - boundaries[b]) / 3, 0, 1)
            plane += np.float32(LEVELS[name] - LEVELS[ORDER[b]]) * behind
        out[k] = plane + NOISE * random.standard_normal((edge, edge), dtype=np.float32)
    return out


def plain(volume: np.ndarray, columns: int) -> float:
    """Seconds per column of a loop that looks for the half levels with numpy."""
    start = time.perf_counter()
    for number in range(columns):
        profile = volume[:, number % volume.shape[1], (7 * number) % volume.shape[2]]
        smooth = np.convolve(profile, np.ones(5) / 5, mode="same")
        dark = smooth < 0.55
        np.flatnonzero(np.diff(dark.astype(np.int8)))
    return (time.perf_counter() - start) / columns


def current(series: xr.DataArray) -> xr.DataArray:
    boundaries = boundaries_from_profiles(series)
    thickness = electrode_thickness(boundaries)
    return plating_current_density(thickness, sigma_um=thickness_sigma(boundaries))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=834, help="columns along y and x; 834 of 1.2 um are 1 mm")
    edge = parser.parse_args().edge
    true = heights(edge, 1)
    volumes = np.stack([image(true[k], 10 + k) for k in range(2)])
    series = labeled_image(volumes, voxel_size_um=VOXEL, t=[0.0, 1.0])
    series.attrs["plating_side"] = "low"
    current(series.isel(y=slice(64), x=slice(64)).copy())
    start = time.perf_counter()
    volumes.sum(dtype=np.float32)
    reading = time.perf_counter() - start
    runs = []
    for _ in range(3):
        start = time.perf_counter()
        density = current(series)
        runs.append(time.perf_counter() - start)
    ours = min(runs)
    loop = plain(volumes[0], 4000) * 2 * edge**2
    area = (edge * VOXEL / 1e3) ** 2
    print(
        f"{area:.2f} mm2, 2 scans of {PLANES} x {edge} x {edge} float32, noise {NOISE} of the contrast to lithium 0.9"
    )
    print("| | s | ours is faster by |\n|---|---|---|")
    print(f"| ours | {ours:.2f} ({', '.join(f'{run:.2f}' for run in runs)}) | |")
    print(f"| plain loop over columns, from 4000 of them | {loop:.0f} | {loop / ours:.0f} |")
    print(f"| the paper, about 20 min | {PAPER_S} | {PAPER_S / ours:.0f} |")
    print(f"| reading the image once | {reading:.2f} | {reading / ours:.2f} |")
    exact = np.diff(np.stack([true[:, 1] - true[:, 0], true[:, 3] - true[:, 2]], axis=1), axis=0)[0] * VOXEL
    per_um = 0.20619
    error = density.values[0] / per_um - exact
    sigma = density["sigma"].values[0] / per_um
    print(f"change of thickness, um: bias {error.mean(axis=(1, 2)).round(3)}, scatter of a column "
          f"{error.std(axis=(1, 2)).round(3)}, stated sigma {sigma.round(3)}")  # fmt: skip
    applied = float(exact[0].mean() * per_um * area / 100)
    table = current_closure(density.assign_attrs(plating_side="low"), applied)
    print(table[["component", "quantity", "value", "sigma", "unit"]].to_string(index=False))


if __name__ == "__main__":
    main()
