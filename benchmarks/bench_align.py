"""Alignment over energy beside phase correlation of scikit-image, on simulated stacks whose drift is known.

Four ways to the shifts of the same stack: operando; scikit-image's ``phase_cross_correlation(upsample_factor=100)``
from each image to the next, added up; the same of each image to the mean image of the stack as recorded; and to the
image in the middle of the stack. For the peers the optical density is given, which serves them better than counts. All
shifts are compared with the truth after removing their mean over energy, in pixels: root mean square over
the images and both axes, and the largest.

    python benchmarks/bench_align.py [--seeds 3000 3001 3002] [--drift 3.0] [--counts 10000]
    python benchmarks/bench_align.py --large          100 energies of 256 x 256, time only
    python benchmarks/bench_align.py --wide 3400 3640 stacks drawn at random (align_cases.py), operando alone
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import xarray as xr
from align_cases import NOISE, draw, error

from operando.core.errors import OperandoError
from operando.samples import stxm_particle
from operando.spectral import align

KINDS = ("core-shell", "wavefront", "mosaic")


def by_operando(made: xr.Dataset, _: np.ndarray) -> np.ndarray:
    """Shifts in pixels, (image, 2)."""
    found = align(made.counts)
    step = float(made.y[1] - made.y[0])
    return np.stack([found.shift_y, found.shift_x], axis=1) / step


def chained(_: xr.Dataset, density: np.ndarray) -> np.ndarray:
    """Each image against the one before it."""
    return np.cumsum([[0.0, 0.0], *(_phase(a, b) for a, b in pairwise(density))], axis=0)


def to_mean(_: xr.Dataset, density: np.ndarray) -> np.ndarray:
    """Each image against the mean of all."""
    mean = density.mean(axis=0)
    return np.array([_phase(mean, image) for image in density])


def to_middle(_: xr.Dataset, density: np.ndarray) -> np.ndarray:
    """Each image against the one in the middle."""
    return np.array([_phase(density[len(density) // 2], image) for image in density])


def _phase(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    from skimage.registration import phase_cross_correlation

    return -np.asarray(phase_cross_correlation(reference, image, upsample_factor=100)[0])


WAYS: dict[str, Callable[[xr.Dataset, np.ndarray], np.ndarray]] = {
    "operando": by_operando,
    "skimage, chained": chained,
    "skimage, to the mean": to_mean,
    "skimage, to the middle": to_middle,
}


def compare(seeds: list[int], drift: float, counts: float) -> None:
    """Print the errors of every way over all stacks."""
    errors: dict[str, list[np.ndarray]] = {name: [] for name in WAYS}
    seconds = dict.fromkeys(WAYS, 0.0)
    for seed in seeds:
        for kind in KINDS:
            made = stxm_particle(seed=seed, kind=kind, drift_px=drift, i0_counts=counts)
            step = float(made.y[1] - made.y[0])
            truth = np.stack([made.shift_y, made.shift_x], axis=1) / step
            density = np.log(made.i0.values[:, None, None] / np.maximum(made.counts.values, 0.5))
            for name, way in WAYS.items():
                start = time.perf_counter()
                error = way(made, density) - truth
                seconds[name] += time.perf_counter() - start
                errors[name].append(error - error.mean(axis=0))
    number = len(seeds) * len(KINDS)
    print(f"{number} stacks of {density.shape}, drift {drift:g} px, {counts:g} photons, seeds {seeds[0]}-{seeds[-1]}")
    best = min(np.sqrt(np.mean(np.square(errors[name]))) for name in WAYS if name != "operando")
    for name, found in errors.items():
        each = np.sqrt(np.mean(np.square(found), axis=(1, 2)))
        print(
            f"{name:24s} rms {np.sqrt(np.mean(each**2)):.4f} px, worst stack {each.max():.4f}, median stack "
            f"{np.median(each):.4f}, largest {np.abs(found).max():.3f}, {seconds[name] / number:.2f} s"
        )
    print(f"best of scikit-image / operando: {best / np.sqrt(np.mean(np.square(errors['operando']))):.1f}")


def large() -> None:
    """Print the time for 100 energies of 256 x 256."""
    made = stxm_particle((256, 256), seed=3000, energies=np.linspace(510, 540, 100), drift_px=3.0)
    density = np.log(made.i0.values[:, None, None] / np.maximum(made.counts.values, 0.5))
    seconds = {}
    for name, way in WAYS.items():
        start = time.perf_counter()
        way(made, density)
        seconds[name] = time.perf_counter() - start
        print(f"{name:24s} {seconds[name]:.1f} s")
    print(f"scikit-image, chained / operando: {seconds['skimage, chained'] / seconds['operando']:.2f}")


def wide(first: int, last: int) -> None:
    """Print the errors on stacks of many kinds, by noise and number of energies, and the largest."""
    rows: list[tuple[float, float, float, float, str]] = []
    refused = []
    for seed in range(first, last):
        case = draw(seed)
        try:
            found = align(case.stack)
        except OperandoError:
            refused.append(case.about)
            continue
        away = error(case, found)
        stated = float(np.sqrt(np.mean(found.shift_sigma.values**2)))
        rows.append((float(np.sqrt(np.mean(away**2))), float(np.abs(away).max()), stated, case.bound, case.about))
    print(f"seeds {first}-{last - 1}: {len(rows)} stacks, {len(refused)} refused {refused}")

    def line(name: str, some: list[tuple[float, float, float, float, str]]) -> None:
        if not some:
            return
        rms, largest, stated, bound = np.array([row[:4] for row in some]).T
        above = rms > np.maximum(0.05, 2 * bound)
        print(
            f"{name:26s} n {len(some):3d}: rms median {np.median(rms):.4f}, 90 % {np.quantile(rms, 0.9):.3f}, worst "
            f"{rms.max():.3f}, largest {largest.max():.2f}; rms above 0.05 px {np.sum(rms > 0.05)}, of these above "
            f"twice the bound of noise {above.sum()}, and above twice shift_sigma {np.sum(above & (rms > 2 * stated))}"
        )

    line("all", rows)
    clear = [row for row in rows if row[3] < 0.02]
    line("bound below 0.02 px", clear)
    line("  and 12 energies or more", [row for row in clear if int(row[4].split(", ")[-1].split(" x ")[0]) >= 12])
    line("  and fewer", [row for row in clear if int(row[4].split(", ")[-1].split(" x ")[0]) < 12])
    for noise in NOISE:
        line(f"noise {noise}", [row for row in rows if f", {noise}, " in row[4]])
    for row in sorted(rows, reverse=True)[:8]:
        print(f"  rms {row[0]:.3f}, largest {row[1]:.2f}, stated {row[2]:.3f}, bound {row[3]:.3f}: {row[4]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3000, 3001, 3002])
    parser.add_argument("--drift", type=float, default=3.0)
    parser.add_argument("--counts", type=float, default=10_000.0)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--wide", type=int, nargs=2, metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    if options.wide:
        wide(*options.wide)
    elif options.large:
        large()
    else:
        compare(options.seeds, options.drift, options.counts)
