"""How well a network trained on some cells segments others: IoU and volumes beside targets, and what a split hides.

Trains on a few annotated cross-sections of several simulated cells and judges cells of other seeds, every voxel of
every scan: intersection over union per phase, and predicted over true volume. Multi-Otsu stands beside it, with the
best assignment of its bins to phases that the truth allows. With --leak one network is also judged three ways: on
patches held out at random from the slices it was trained on, as papers do, on scans and on cells it has not seen.

    python benchmarks/bench_unseen_cells.py --save model --leak
    python benchmarks/bench_unseen_cells.py --model model --judge 120 121
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr

from operando import learn, samples, segmentation
from operando.core.phases import CELL

IOU = {"electrode": 0.97, "deposited": 0.85, "dendrite": 0.75, "pit": 0.87}
MACRO = 0.86
VOLUME = (0.95, 1.05)
ANNOTATED = (0, 2, 4, 5, 7, 8)  # of nine scans
HELD = (2, 7)  # of these, for --leak: one of the charge, one of the discharge
NAMES = list(CELL.names)


def annotate(labels: xr.DataArray, *, seed: int, slices: int, scans: tuple[int, ...] = ANNOTATED) -> xr.DataArray:
    """A few whole cross-sections of each direction, at random places of equal parts of the cell."""
    rng = np.random.default_rng(seed)
    marks = None
    for axis in ("y", "x"):
        edges = np.linspace(0, labels.sizes[axis], slices + 1)
        places = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
        drawn = segmentation.label_slices(labels, scans=scans, slices=places, axis=axis)
        marks = drawn if marks is None else marks.where(marks != 255, drawn)
    assert marks is not None
    return marks


def confusion_of(segmenter, image: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """Scan by scan, so that one scan's labels are in memory."""
    return sum(
        learn.confusion_matrix(segmenter.predict(image[scan]).values, truth[scan].values, ids=CELL.ids)
        for scan in range(image.sizes["t"])
        if bool((truth[scan] != 255).any())
    )


def row(name: str, confusion: np.ndarray) -> str:
    """IoU per phase, macro, Huang's total, and volume ratios."""
    iou = learn.intersection_over_union(confusion)
    ratio = confusion[:, : len(NAMES)].sum(axis=0) / confusion.sum(axis=1)
    scores = [*iou, learn.macro_iou(confusion), learn.total_iou(confusion, background=NAMES.index("electrolyte"))]
    return f"{name:>18} " + " ".join(f"{v:8.3f}" for v in scores) + "  |" + " ".join(f"{v:8.3f}" for v in ratio)


def heading() -> str:
    short = [name[:8] for name in NAMES]
    return (
        f"{'':>18} "
        + " ".join(f"{v:>8}" for v in [*short, "macro", "total"])
        + "  |"
        + " ".join(f"{v:>8}" for v in short)
    )


def missed(confusion: np.ndarray) -> list[str]:
    """Targets that this cell misses, with the figure."""
    iou = dict(zip(NAMES, learn.intersection_over_union(confusion), strict=True))
    ratio = dict(zip(NAMES, confusion[:, : len(NAMES)].sum(axis=0) / confusion.sum(axis=1), strict=True))
    found = [f"IoU {name} {iou[name]:.3f} < {least}" for name, least in IOU.items() if iou[name] < least]
    macro = learn.macro_iou(confusion)
    found += [f"macro {macro:.3f} < {MACRO}"] if macro < MACRO else []
    low, high = VOLUME
    return found + [f"volume {name} {value:.3f}" for name, value in ratio.items() if not low <= value <= high]


def leak(seed: int, judged: list[int], *, slices: int, steps: int) -> None:
    """One network, judged on random patches of its slices, on scans and on cells it has not seen."""
    cell = samples.symmetric_cell(seed=seed)
    marks = annotate(cell.labels, seed=seed, slices=slices)
    scans = xr.DataArray(np.isin(np.arange(marks.sizes["t"]), HELD), dims="t")
    training, patches = segmentation.random_patch_split(marks.where(~scans, 255).astype(np.uint8), seed=0)
    segmenter = segmentation.NetworkSegmenter(
        CELL, training=learn.TrainingSettings(steps=steps), validation=False, seed=0
    ).fit(cell.image, training)
    print(f"\none cell (seed {seed}), {steps} steps, judged three ways; IoU and volume ratios of annotated voxels")
    print(heading())
    rest = tuple(scan for scan in ANNOTATED if scan not in HELD)
    print(row("random patches", confusion_of(segmenter, cell.image, patches)))
    unseen = [samples.symmetric_cell(seed=other) for other in judged]

    def on_cells(scans: tuple[int, ...]) -> np.ndarray:
        asked = [annotate(c.labels, seed=s, slices=slices, scans=scans) for c, s in zip(unseen, judged, strict=True)]
        return sum(confusion_of(segmenter, c.image, m) for c, m in zip(unseen, asked, strict=True))

    # The same scans each time, because some scans are harder than others.
    print(row("same scans, cells", on_cells(rest)))
    print(row("held-out scans", confusion_of(segmenter, cell.image, marks.where(scans, 255).astype(np.uint8))))
    print(row("same scans, cells", on_cells(HELD)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, nargs="+", default=list(range(20, 28)), help="seeds of cells to train on")
    parser.add_argument("--judge", type=int, nargs="+", default=list(range(120, 125)), help="seeds of cells to judge")
    parser.add_argument("--slices", type=int, default=3, help="annotated cross-sections per scan and direction")
    parser.add_argument("--steps", type=int, default=1500, help="of training, and half as many on all annotations")
    parser.add_argument("--symmetries", type=int, default=1, help="mirror images read in prediction: 1, 2 or 4")
    parser.add_argument("--model", type=Path, help="a saved network to judge instead of training one")
    parser.add_argument("--save", type=Path, help="folder for the trained network")
    parser.add_argument("--leak", action="store_true", help="also judge one network by random patches, scans and cells")
    parser.add_argument("--leak-steps", type=int, default=600)
    asked = parser.parse_args()
    if set(asked.train) & set(asked.judge):
        parser.error("a cell cannot be trained on and judged")
    began = time.perf_counter()
    if asked.model is not None:
        segmenter = segmentation.NetworkSegmenter.load(asked.model, symmetries=asked.symmetries)
        print(f"network of {asked.model}")
    else:
        cells = [samples.symmetric_cell(seed=seed) for seed in asked.train]
        marks = [annotate(cell.labels, seed=s, slices=asked.slices) for cell, s in zip(cells, asked.train, strict=True)]
        share = 100 * float(np.mean([float((m != 255).mean()) for m in marks]))
        segmenter = segmentation.NetworkSegmenter(
            CELL, training=learn.TrainingSettings(steps=asked.steps), symmetries=asked.symmetries, seed=0
        ).fit([cell.image for cell in cells], marks)
        del cells
        print(f"trained on seeds {asked.train}: {share:.1f} % of their voxels annotated")
    if asked.save is not None:
        segmenter.save(asked.save)
        print(f"saved to {asked.save.resolve()}")
    print(f"{time.perf_counter() - began:.0f} s; held out before: {segmenter.card_['split']}")
    before, after = segmenter.metrics_.get("volume_ratio_before", {}), segmenter.metrics_.get("volume_ratio", {})
    print(
        "volume ratios there before / after calibration: "
        + ", ".join(f"{k} {before[k]:.3f} / {after[k]:.3f}" for k in before)
    )
    print("\nunseen cells, every voxel of every scan: IoU | predicted over true volume")
    print(heading())
    total, misses, otsu_total = 0, 0, 0
    for seed in asked.judge:
        cell = samples.symmetric_cell(seed=seed)
        confusion = confusion_of(segmenter, cell.image, cell.labels)
        otsu = segmentation.Otsu(CELL).fit(cell.image, cell.labels)
        otsu_total = otsu_total + confusion_of(otsu, cell.image, cell.labels)
        total = total + confusion
        faults = missed(confusion)
        misses += len(faults)
        print(
            row(f"seed {seed}", confusion) + "  " + ("PASS" if not faults else "MISS " + "; ".join(faults)), flush=True
        )
    faults = missed(total)
    print(row("together", total) + "  " + ("PASS" if not faults else "MISS " + "; ".join(faults)))
    print(row("multi-Otsu", otsu_total))
    print(f"\n{misses} of {len(asked.judge) * (len(IOU) + 1 + len(NAMES))} targets missed")
    if asked.leak:
        leak(asked.train[0], asked.judge, slices=asked.slices, steps=asked.leak_steps)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 1 if misses else 0


if __name__ == "__main__":
    raise SystemExit(main())
