"""Macro IoU against labeled pixels: places drawn at random and places that ``segmentation.suggest`` names.

Simulated cells that are annotated bit by bit: two random cross-sections to begin with, then more of them, at random or
as suggested; the same with windows of a quarter of a cross-section. After every round a small network is trained from
scratch on what is annotated, and judged on all voxels of the cell that nobody annotated. Random places are drawn from
all cross-sections zx and zy of all scans alike.

    python benchmarks/bench_labeling.py
    python benchmarks/bench_labeling.py --seeds 3000 --ways "suggested slices" --plot curve.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from operando import learn, samples, segmentation
from operando.core.axes import SPACE
from operando.core.phases import CELL, UNLABELED

SHAPE, SCANS = (48, 64, 64), 5
PATCH = (24, 32)
START, STEPS, BATCH = 2, 300, 4
# What is added in each round; four windows are one cross-section.
WAYS = {
    "random slices": ("slice", (2, 2, 2, 4, 4)),
    "suggested slices": ("slice", (2, 2, 2, 4, 4)),
    "random windows": ("patch", (4, 4, 4, 4, 8)),
    "suggested windows": ("patch", (4, 4, 4, 4, 8)),
}
COLORS = {"random slices": "#0072B2", "suggested slices": "#E69F00", "random windows": "#56B4E9"}


def random_places(unit: str, count: int, marks: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Cross-sections or windows drawn from all alike, of which less than half is annotated."""
    rows: list[dict[str, Any]] = []
    marks = marks.copy()
    while len(rows) < count:
        normal = int(rng.integers(1, 3))
        box = [[0, size] for size in SHAPE]
        place = int(rng.integers(SHAPE[normal]))
        box[normal] = [place, place + 1]
        if unit == "patch":
            for axis, size in zip((0, 3 - normal), PATCH, strict=True):
                start = int(rng.integers(SHAPE[axis] // size)) * size
                box[axis] = [start, start + size]
        scan = int(rng.integers(SCANS))
        at = (scan, *(slice(*ends) for ends in box))
        if (marks[at] != UNLABELED).mean() >= 0.5:
            continue
        marks[at] = 0
        ends = {f"{dim}_{end}": box[i][j] for i, dim in enumerate(SPACE) for j, end in enumerate(("start", "stop"))}
        rows.append({"scan": scan, **ends})
    return pd.DataFrame(rows)


def trained(cell: Any, marks: Any, *, steps: int, seed: int) -> tuple[Any, float]:
    """Probabilities of a network trained on the marks, and its macro IoU on all other voxels."""
    network = segmentation.NetworkSegmenter(
        CELL, training=learn.TrainingSettings(steps=steps, batch=BATCH), validation=False, device="cpu", seed=seed
    )
    chances = network.fit(cell.image, marks).predict_probability(cell.image)
    found = chances.argmax("phase").astype(np.uint8).assign_coords(cell.image.coords)
    rest = cell.labels.where(marks == UNLABELED, UNLABELED).astype(np.uint8)
    return chances, float(segmentation.agreement(found, rest, CELL).macro)


def curves(seed: int, ways: list[str], *, steps: int) -> list[dict[str, Any]]:
    """One cell: labeled pixels and macro IoU after every round, for each way to choose."""
    cell = samples.symmetric_cell(SHAPE, scans=SCANS, seed=seed)
    rng = np.random.default_rng([seed, 1])
    empty = cell.labels.copy(data=np.full(cell.labels.shape, UNLABELED, np.uint8))
    start = segmentation.label_places(cell.labels, random_places("slice", START, empty.values, rng))
    first = trained(cell, start, steps=steps, seed=seed)
    rows = []
    for way in ways:
        unit, rounds = WAYS[way]
        rng = np.random.default_rng([seed, 2])
        marks, (chances, macro) = start, first
        for number in range(len(rounds) + 1):
            pixels = int((marks != UNLABELED).sum())
            rows.append({"seed": seed, "way": way, "round": number, "pixels": pixels, "macro": macro})
            print(f"seed {seed}: {way}, round {number}: {pixels} labeled pixels, macro IoU {macro:.3f}", flush=True)
            if number == len(rounds):
                break
            if way.startswith("random"):
                places = random_places(unit, rounds[number], marks.values, rng)
            else:
                places = segmentation.suggest(chances, annotations=marks, count=rounds[number], unit=unit, patch=PATCH)
            more = segmentation.label_places(cell.labels, places)
            marks = marks.where(more == UNLABELED, more).astype(np.uint8)
            chances, macro = trained(cell, marks, steps=steps, seed=seed)
    return rows


def needed(pixels: np.ndarray, macro: np.ndarray, level: float) -> float:
    """Labeled pixels at which a curve reaches a level, by linear interpolation of its running maximum; NaN: never."""
    best = np.maximum.accumulate(macro)
    if level > best[-1]:
        return float("nan")
    at = int(np.argmax(best >= level))
    if at == 0:
        return float(pixels[0])
    share = (level - best[at - 1]) / (best[at] - best[at - 1])
    return float(pixels[at - 1] + share * (pixels[at] - pixels[at - 1]))


def ratios(table: pd.DataFrame, *, draws: int = 1000) -> pd.DataFrame:
    """Labels that each way needs over those of random slices for the same IoU, of the curves averaged over the cells.

    ``low`` and ``high``: 95 % interval from drawing the cells anew. The levels are at half, three quarters and all of
    the way from where the curves begin to the best that random slices reach.
    """
    rng = np.random.default_rng(0)
    seeds = sorted(set(table["seed"]))
    grouped = {(way, seed): part.sort_values("round") for (way, seed), part in table.groupby(["way", "seed"])}

    def curve(way: str, chosen: list[int]) -> tuple[np.ndarray, np.ndarray]:
        parts = [grouped[way, seed] for seed in chosen]
        return tuple(np.mean([part[name].to_numpy() for part in parts], axis=0) for name in ("pixels", "macro"))

    def ratio(way: str, chosen: list[int], share: float) -> tuple[float, float, float, float]:
        random = curve("random slices", chosen)
        level = random[1][0] + share * (random[1].max() - random[1][0])
        first, second = needed(*curve(way, chosen), level), needed(*random, level)
        return level, first, second, first / second

    rows = []
    for way in (way for way in WAYS if way != "random slices" and way in set(table["way"])):
        for share in (0.5, 0.75, 1.0):
            level, first, second, value = ratio(way, seeds, share)
            again = [ratio(way, rng.choice(seeds, len(seeds)).tolist(), share)[3] for _ in range(draws)]
            # Where a way never gets there, it needs more than any number.
            low, high = np.quantile(np.nan_to_num(again, nan=np.inf), [0.025, 0.975], method="nearest")
            rows.append([way, level, first, second, value, low, high])
    return pd.DataFrame(rows, columns=["way", "macro IoU", "pixels", "random slices", "ratio", "low", "high"])


def plot(table: pd.DataFrame, path: Path) -> None:
    """Mean curve of each way with the spread over the cells."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for way, part in table.groupby("way", sort=False):
        groups = part.groupby("round")
        pixels, mean, spread = groups["pixels"].mean(), groups["macro"].mean(), groups["macro"].std(ddof=1)
        color, dash = COLORS.get(way, "#D55E00"), "--" if "random" in way else "-"
        ax.plot(pixels, mean, dash, marker="o", color=color, label=way)
        ax.fill_between(pixels, mean - spread, mean + spread, color=color, alpha=0.12, lw=0)
    total = SCANS * int(np.prod(SHAPE))
    ax.set(
        xlabel=f"labeled pixels (of {total:,})",
        ylabel="macro IoU of what is not labeled",
        title=f"{table['seed'].nunique()} simulated cells, mean and standard deviation",
    )
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(110, 115)))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each network")
    parser.add_argument("--keep", type=Path, help="folder for the curve of every cell, which is then not repeated")
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        kept = arguments.keep / f"seed{seed}.json" if arguments.keep else None
        if kept is not None and kept.exists():
            rows += json.loads(kept.read_text())
            continue
        found = curves(seed, arguments.ways, steps=arguments.steps)
        rows += found
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found))
    table = pd.DataFrame(rows)
    mean = table.groupby(["way", "round"], sort=False).agg(
        pixels=("pixels", "mean"), macro=("macro", "mean"), spread=("macro", "std")
    )
    print(f"\nmacro IoU, mean and standard deviation over {len(arguments.seeds)} cells")
    print(mean.round(3).to_string())
    if "random slices" in arguments.ways and len(arguments.ways) > 1:
        print("\nlabeled pixels needed for the same IoU, mean curves; 95 % interval over the cells")
        print(ratios(table).round(3).to_string(index=False))
    if arguments.plot:
        plot(table, arguments.plot)


if __name__ == "__main__":
    main()
