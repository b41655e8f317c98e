"""How close ``dendrites.find_interface`` comes to the interface of simulated Raman series, and how long it takes.

Beside it, on the same frames and in the same run: the first pixel of each column at or above the threshold (a plain
NumPy argmax), and the middle of its two threshold crossings. "Plain columns" are those in which neither the truth nor
the tracker knows of a break, and that no fold covers or ends next to. A column is wrong where it is off by more than
two pixels. A pull is an error over its sigma: 1 where the sigma is right.

    python benchmarks/bench_interface.py
    python benchmarks/bench_interface.py --seeds 3000 3001
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial import cKDTree
from scipy.stats import norm

from operando.dendrites import concentration, find_interface
from operando.samples import srs_series

CASES = {
    "as simulated": {},
    "three times the noise": {"noise": 3.0},
    "5 % breaks": {"breaks": 0.05},
    "three folds": {"overhangs": 3},
    "ten specks per frame": {"specks": 10.0},
}
THRESHOLD = 230


def first_bright(frame: np.ndarray) -> np.ndarray:
    return (frame >= THRESHOLD).argmax(axis=0).astype(float)


def middle(frame: np.ndarray) -> np.ndarray:
    """Middle of the two threshold crossings of the first bright run, each interpolated between two pixels."""
    bright = frame >= THRESHOLD
    gray = frame.astype(float)
    first = bright.argmax(axis=0)
    rows = np.arange(frame.shape[0])[:, None]
    last = np.where(~bright & (rows > first), rows, frame.shape[0]).min(axis=0) - 1
    at = np.arange(frame.shape[1])
    edges = []
    for inside, outside in ((first, first - 1), (last, last + 1)):
        far = gray[np.clip(outside, 0, frame.shape[0] - 1), at]
        near = gray[inside, at]
        edges.append(inside + (outside - inside) * np.clip((near - THRESHOLD) / np.maximum(near - far, 1e-9), 0, 1))
    return (edges[0] + edges[1]) / 2


def near_folds(truth: xr.Dataset, reach: int = 8) -> np.ndarray:
    return maximum_filter1d(truth["overhang"].values.astype(np.uint8), 2 * reach + 1, axis=1) > 0


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def drift(error: np.ndarray, plain: np.ndarray, truth: xr.Dataset) -> float:
    """Median error of the frames at full depletion minus that of the frames without."""
    early, late = (plain & (truth["stage"].values == stage)[:, None] for stage in (0, 2))
    return float(np.median(error[late]) - np.median(error[early]))


def accuracy(name: str, settings: dict[str, float], seeds: list[int]) -> None:
    errors: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        truth = srs_series(seed=seed, **settings)
        images = truth["image"].values
        found = find_interface(truth["image"])
        error = (found["position"] - truth["position"]).values
        pull = error / found["position_sigma"].values
        broken, fold = found["broken"].values, near_folds(truth) | found["overhang"].values
        plain = ~(broken | fold | truth["broken"].values)
        simple = np.stack([middle(frame) for frame in images]) - truth["position"].values
        pixel = np.stack([first_bright(frame) for frame in images]) - truth["position"].values
        parts = {
            "error": error[plain], "pull": pull[plain], "broken error": error[broken & ~fold],
            "broken pull": pull[broken & ~fold], "broken share": broken.ravel(), "fold error": error[fold & ~broken],
            "fold pull": pull[fold & ~broken], "wrong": np.abs(error[~fold]) > 2, "middle": simple[plain],
            "wrong middle": np.abs(simple[~fold]) > 2, "first": pixel[plain] - np.median(pixel[plain]),
            "drift": np.array([drift(error, plain, truth)]),
            "drift of the middle": np.array([drift(simple, plain, truth)]),
        }  # fmt: skip
        for key, value in parts.items():
            errors.setdefault(key, []).append(value)
    e = {key: np.concatenate(value) for key, value in errors.items()}
    folds = np.median(np.abs(e["fold error"])) if e["fold error"].size else np.nan
    cells = (
        f"{e['error'].mean():+.3f}", f"{rms(e['error']):.3f}", f"{rms(e['pull']):.2f}",
        f"{100 * np.mean(np.abs(e['pull']) < 1.96):.1f}", f"{100 * e['wrong'].mean():.2f}",
        f"{100 * e['broken share'].mean():.1f}", f"{rms(e['broken error']):.2f}", f"{rms(e['broken pull']):.2f}",
        f"{folds:.2f}", f"{e['drift'].mean():+.3f}", f"{np.median(e['middle']):+.3f}",
        f"{100 * e['wrong middle'].mean():.2f}", f"{e['drift of the middle'].mean():+.3f}",
        f"{1.4826 * np.median(np.abs(e['first'])):.2f}",
    )  # fmt: skip
    print(f"| {name} | " + " | ".join(cells) + " |")


def painted(height: np.ndarray, peak: float, width: float, step: float, random: np.random.Generator) -> np.ndarray:
    """Line of that peak and width along a curve; from gray 130 to 20 under it over ``step`` times its width."""
    fine = np.linspace(-8, height.size + 7, 10 * (height.size + 16))
    curve = np.column_stack([np.interp(fine, np.arange(height.size), height), fine])
    y, x = np.mgrid[:160, : height.size]
    distance = cKDTree(curve).query(np.column_stack([y.ravel(), x.ravel()]))[0].reshape(y.shape)
    under = norm.cdf(np.sign(y - height) * distance / (step * width))
    gray = 130 - 110 * under + peak * np.exp(-0.5 * (distance / width) ** 2) + 3 * random.standard_normal(y.shape)
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)


def shapes(seeds: list[int]) -> None:
    print("\n| peak, gray values | width, px | step under the line | thickness, px | bias | rms | pull |")
    print("|---|---|---|---|---|---|---|")
    for peak, width in ((3000, 1.6), (800, 1.6), (300, 1.6), (200, 1.6), (800, 1.0), (800, 2.5), (400, 5.0)):
        for step in (0.02, 1.0):
            errors, pulls, thick = [], [], []
            for seed in seeds:
                random = np.random.default_rng(seed)
                height = 80 + 100 * gaussian_filter1d(random.standard_normal(512), 15)[128:384]
                found = find_interface(painted(height, peak, width, step, random))
                errors.append(found["position"].values - height)
                pulls.append(errors[-1] / found["position_sigma"].values)
                thick.append(float(found["thickness"].median()))
            off = np.concatenate(errors)
            print(
                f"| {peak} | {width:g} | {'sharp' if step < 1 else 'as wide as the line'} | {np.mean(thick):.0f} | "
                f"{off.mean():+.3f} | {rms(off):.3f} | {rms(np.concatenate(pulls)):.2f} |"
            )


def salt(seeds: list[int]) -> None:
    print("\n| seed | noise of a pixel, stated, mol/L | found | bias 10 to 30 px from the interface | within 5 px |")
    print("|---|---|---|---|---|")
    for seed in seeds:
        truth = srs_series(seed=seed)
        found = concentration(truth["image"], find_interface(truth["image"]))
        off = (found - truth["concentration"]).values
        away = (truth["position"] - truth["y"]).transpose("t", "y", "x").values
        bulk = np.nanstd(np.where(away[0] > 60, off[0], np.nan))
        middle_part, close = ((away > 10) & (away < 30)), ((away > 2) & (away < 5))
        print(
            f"| {seed} | {found.attrs['noise']:.5f} | {bulk:.5f} | {np.nanmean(off[middle_part]):+.5f} | "
            f"{np.nanmean(off[close]):+.5f} |"
        )


def speed(seed: int) -> None:
    frames = srs_series(seed=seed, breaks=0.0)["image"].values
    gaps = srs_series(seed=seed, breaks=0.05)["image"].values
    timed = {}
    for name, call, images in (
        ("argmax", first_bright, frames),
        ("middle", middle, frames),
        ("find_interface", find_interface, frames),
        ("find_interface, broken line", find_interface, gaps),
    ):
        call(images[0])
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            for frame in images:
                call(frame)
            runs.append((time.perf_counter() - start) / len(images))
        timed[name] = min(runs)
    print("\n| 256 x 256 pixels | ms per frame | times the argmax |\n|---|---|---|")
    for name, seconds in timed.items():
        print(f"| {name} | {1e3 * seconds:.2f} | {seconds / timed['argmax']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[500, 501, 502, 503, 504])
    seeds = parser.parse_args().seeds
    print(f"seeds {seeds}, 16 frames of 256 x 256 each; errors in px, drift = median at full minus at no depletion")
    print("| case | bias | rms | pull | in 95 %, % | wrong, % | broken, % | rms there | pull there | median at folds | "
          "drift | middle: median | wrong, % | drift | argmax: scatter |")  # fmt: skip
    print("|" + "---|" * 15)
    for name, settings in CASES.items():
        accuracy(name, settings, seeds)
    shapes(seeds)
    salt(seeds)
    speed(seeds[0])


if __name__ == "__main__":
    main()
