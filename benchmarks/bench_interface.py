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
from scipy.ndimage import maximum_filter1d

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
        early, late = truth["stage"].values == 0, truth["stage"].values == 2
        simple = np.stack([middle(frame) for frame in images]) - truth["position"].values
        pixel = np.stack([first_bright(frame) for frame in images]) - truth["position"].values
        parts = {
            "error": error[plain], "pull": pull[plain], "broken error": error[broken & ~fold],
            "broken pull": pull[broken & ~fold], "broken share": broken.ravel(), "fold error": error[fold & ~broken],
            "fold pull": pull[fold & ~broken], "wrong": np.abs(error[~fold]) > 2, "middle": simple[plain],
            "wrong middle": np.abs(simple[~fold]) > 2, "first": pixel[plain] - np.median(pixel[plain]),
            "drift": np.array([error[late][plain[late]].mean() - error[early][plain[early]].mean()]),
            "drift of the middle": np.array([simple[late][plain[late]].mean() - simple[early][plain[early]].mean()]),
        }  # fmt: skip
        for key, value in parts.items():
            errors.setdefault(key, []).append(value)
    e = {key: np.concatenate(value) for key, value in errors.items()}
    print(
        f"| {name} | {e['error'].mean():+.3f} | {rms(e['error']):.3f} | {rms(e['pull']):.2f} | "
        f"{100 * np.mean(np.abs(e['pull']) < 1.96):.1f} | {100 * e['wrong'].mean():.2f} | {100 * e['broken share'].mean():.1f} | "
        f"{rms(e['broken error']):.2f} | {rms(e['broken pull']):.2f} | {np.median(np.abs(e['fold error'])) if e['fold error'].size else np.nan:.2f} | "
        f"{e['drift'].mean():+.3f} | {e['middle'].mean():+.3f} | {rms(e['middle']):.3f} | {100 * e['wrong middle'].mean():.2f} | "
        f"{e['drift of the middle'].mean():+.3f} | {rms(e['first']):.3f} |"
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
    print(f"seeds {seeds}, 16 frames of 256 x 256 each; errors in px, drift = full minus no depletion")
    print("| case | bias | rms | pull | in 95 %, % | wrong, % | broken, % | rms there | pull there | median at folds | "
          "drift | middle: bias | rms | wrong, % | drift | argmax: scatter |")  # fmt: skip
    print("|" + "---|" * 16)
    for name, settings in CASES.items():
        accuracy(name, settings, seeds)
    salt(seeds)
    speed(seeds[0])


if __name__ == "__main__":
    main()
