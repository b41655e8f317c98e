"""Pores in lithium as Dixit et al. (2020) segment them: how well on other electrodes and steps, how fast, and Otsu.

One electrode of one step of a simulated cell gives 800 slices to train on and 200 to validate on. Its labels are edges,
corrected by the truth in a stated share of the slices. The network is then judged where it was not trained: on
validation slices in one piece, on the other steps, on the other electrode, and on cells of other seeds. Otsu's
threshold, found anew in every scan and electrode, stands beside it; so do the edges. Boundaries of the lithium come
from gray profiles.

    python benchmarks/bench_pore_segmentation.py --train 150 --judge 151 152 --network dixit2020 small
    python benchmarks/bench_pore_segmentation.py --train 3000 --judge 3001 --length 160 --slices 110 30 --steps 100
    python benchmarks/bench_pore_segmentation.py --speed
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from operando import learn, morphometry, samples, segmentation

PAPER_S = 0.3  # per slice
SIDES = ("low", "high")
LITHIUM = {"electrode": 1, "pore": 2}
PORE = LITHIUM["pore"]
NEAR_UM = 10.0
JUDGED = 128  # slices of a cell that are judged


def slabs(cell: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Gray, truth and depth below the interface of both electrodes, and an image that leaves out the rim."""
    boundaries = morphometry.boundaries_from_profiles(cell.image)
    voxel = float(cell.z[1] - cell.z[0])
    found = {}
    for side in SIDES:
        truth = segmentation.lithium_slab(cell.labels, boundaries, electrode=side, labels=True)
        z = truth.z + float(cell.z[int(truth.z_start)])
        if side == "high":
            z = z.copy(data=z.values[::-1])
        planes = [boundaries.sel(component=f"{side} {end}", drop=True) for end in ("interface", "collector")]
        depth, height = (
            abs(z.drop_vars("z") - plane.drop_vars(["t", "y", "x"])).transpose(*truth.dims).values for plane in planes
        )
        image = segmentation.lithium_slab(cell.image, boundaries, electrode=side)
        found[side] = {
            "image": image,
            "core": image.where(np.minimum(depth, height) > 1.5 * voxel),
            # What the profiles take for lithium and is not, nobody would call a pore.
            "truth": truth.where(truth.isin([1, 2]) | (truth == 255), 1).astype(np.uint8),
            "near": depth < NEAR_UM,
        }
    return found


def otsu(image: xr.DataArray) -> np.ndarray:
    """Labels of a threshold between two classes, found in every scan; the darker class is called pore."""
    out = np.full(image.shape, 255, np.uint8)
    for scan in range(image.sizes["t"]):
        labels = segmentation.Otsu({"dark": 0, "bright": 1}).fit(image[scan]).predict(image[scan]).values
        out[scan] = np.choose(np.where(labels == 255, 2, labels), [PORE, 1, 255])
    return out


def porosity(labels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Share of pores per scan, among labeled voxels in ``where``."""
    known = (labels != 255) & where
    return (known & (labels == PORE)).sum((1, 2, 3)) / known.sum((1, 2, 3))


def scores(found: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> tuple[float, float]:
    """IoU of pores and found over true pore volume."""
    known = truth != 255 if where is None else where & (truth != 255)
    a, b = (found == PORE) & known, (truth == PORE) & known
    return (a & b).sum() / max((a | b).sum(), 1), a.sum() / max(b.sum(), 1)


def trend(found: np.ndarray, truth: np.ndarray) -> str:
    """Signs of the changes from step to step that are right, and the rank correlation; (electrode, step)."""
    right = np.sign(np.diff(found, axis=1)) == np.sign(np.diff(truth, axis=1))
    rank = spearmanr(found.ravel(), truth.ravel()).statistic
    return f"{int(right.sum())} of {right.size} changes have the right sign, rank correlation {rank:+.2f}"


def training_labels(slab: dict[str, Any], scan: int, share: float, *, seed: int) -> xr.DataArray:
    """Edges of one scan, replaced by the truth in a share of the slices along y, as a person would correct them."""
    edges = segmentation.edge_labels(slab["image"][[scan]])
    size = edges.sizes["y"]
    chosen = np.random.default_rng([seed, 7]).permutation(size)[: round(share * size)]
    marks = slab["truth"][[scan]].where(xr.DataArray(np.isin(np.arange(size), chosen), dims="y"), 255)
    return segmentation.corrected(edges, marks.astype(np.uint8))


def fit(name: str, slab: dict[str, Any], scan: int, asked: argparse.Namespace, share: float, gap: int | None) -> Any:
    image = slab["image"][[scan]]
    labels = training_labels(slab, scan, share, seed=asked.seed)
    train, validation = asked.slices
    training, held = segmentation.slice_split(labels, train=train, validation=validation, gap=gap, seed=asked.seed)
    began = time.perf_counter()
    rate = asked.rate if asked.rate is not None else {"small": 4e-3}.get(name, 2e-3)
    network = segmentation.NetworkSegmenter(
        LITHIUM,
        network=name,
        planes="zx",
        training=learn.TrainingSettings(steps=asked.steps, learning_rate=rate),
        windows=train,
        seed=asked.seed,
    ).fit(image, training, validation=held)
    spent = time.perf_counter() - began
    # Judged by the truth, also where the labels that were trained on are edges.
    truth = slab["truth"][[scan]].where(held != 255, 255).astype(np.uint8)
    iou, ratio = scores(network.predict(image).values, truth.values)
    kind = "at random" if gap is None else f"in one piece, {gap} slices away"
    print(
        f"{name}: {train} + {validation} slices of {image.sizes['z']} x {image.sizes['x']}, {share:.0%} corrected, "
        f"{asked.steps} steps, {spent:.0f} s ({spent / asked.steps:.2f} s a step)\n"
        f"  validation slices {kind}: pore IoU {iou:.3f}, volume {ratio:.3f}; "
        f"temperature {network.card_['temperature']:.2f}",
        flush=True,
    )
    return network


def judge(network: Any, cell: xr.Dataset, parts: dict[str, dict[str, Any]], trained: tuple[str, int] | None) -> None:
    """Every scan and electrode but the one that was trained on."""
    names = list(map(str, cell.step.values))
    print("   electrode, step | pore IoU: net  edges   Otsu | porosity: true     net   edges   Otsu   core | "
          "near 10 um: true    net   Otsu | > 80 %    right")  # fmt: skip
    table: dict[str, list[np.ndarray]] = {}
    confidences, rights = [], []
    for side in SIDES:
        slab = parts[side]
        truth, near = slab["truth"].values, slab["near"]
        chances = network.predict_probability(slab["image"])
        sure = segmentation.confidence(chances)
        share = segmentation.confident_fraction(sure).values
        found = {
            "net": network.predict(slab["image"]).values,
            "edges": segmentation.edge_labels(slab["image"]).values,
            "Otsu": otsu(slab["image"]),
            "core": otsu(slab["core"]),
        }
        every = np.ones(truth.shape, bool)
        rows = {f"{key}": porosity(value, every) for key, value in {"truth": truth, **found}.items()}
        rows |= {f"{key} near": porosity(value, near) for key, value in {"truth": truth, **found}.items()}
        for key, value in rows.items():
            table.setdefault(key, []).append(value)
        for scan, name in enumerate(names):
            was_trained = trained == (side, scan)
            known = truth[scan] != 255
            correct = (np.asarray(network.phases_.ids)[chances[scan].values.argmax(0)] == truth[scan])[known]
            if not was_trained:
                confidences.append(sure[scan].values[known])
                rights.append(correct)
            ious = [scores(found[key][scan], truth[scan])[0] for key in ("net", "edges", "Otsu")]
            rest = [rows[key][scan] for key in ("truth", "net", "edges", "Otsu", "core")]
            rim = [rows[f"{key} near"][scan] for key in ("truth", "net", "Otsu")]
            print(
                f"  {side + ', ' + name:>16} |"
                + " " * 8
                + "".join(f"{v:7.3f}" for v in ious)
                + " |"
                + " " * 8
                + "".join(f"{v:8.4f}" for v in rest[:3])
                + "".join(f"{v:7.3f}" for v in rest[3:])
                + " |"
                + " " * 9
                + "".join(f"{v:7.3f}" for v in rim)
                + f" | {100 * share[scan]:5.1f} % {100 * correct.mean():6.1f} %{'  trained on' * was_trained}",
                flush=True,
            )
    told = {key: np.array(value) for key, value in table.items()}
    for near in ("", " near"):
        print(f"  trend of the porosity{near or ' of all lithium'}:")
        for key, word in (("net", "network"), ("edges", "edges"), ("Otsu", "Otsu"), ("core", "Otsu without the rim")):
            print(f"    {word:>20}: {trend(told[key + near], told['truth' + near])}")
    sure_of, right = np.concatenate(confidences), np.concatenate(rights)
    curve = learn.reliability(sure_of, right, bins=20)
    print("  reliability (confidence -> right): " + ", ".join(
        f"{c:.2f} -> {a:.2f}" for c, a in zip(curve["confidence"], curve["accuracy"], strict=True)))  # fmt: skip
    print(f"  calibration error {learn.calibration_error(sure_of, right):.4f}", flush=True)


def speed(name: str) -> None:
    """Slices per second, whatever the network has learned: small ones, and as long as a beamline's."""
    import torch

    rng = np.random.default_rng(0)
    marks = np.full((32, 8, 96), 255, np.uint8)
    marks[:, ::2] = rng.integers(1, 3, (32, 4, 96))
    network = segmentation.NetworkSegmenter(
        LITHIUM,
        network=name,
        planes="zx",
        training=learn.TrainingSettings(steps=1),
        validation=False,
        block=(128, 32, 2048),
    ).fit(rng.normal(size=marks.shape), marks)
    for rows, columns in ((32, 96), (96, 1200)):
        volume = rng.normal(size=(rows, 24, columns)).astype(np.float32)
        network.predict(volume[:, :8])
        spent = []
        for _ in range(3):
            began = time.perf_counter()
            network.predict(volume)
            spent.append((time.perf_counter() - began) / volume.shape[1])
        each = min(spent)
        print(
            f"{name}: slices of {rows} x {columns}, {each:.4f} s each ({1 / each:.1f} a second, "
            f"{torch.get_num_threads()} threads): {PAPER_S / each:.1f} times as fast as the paper's {PAPER_S} s",
            flush=True,
        )


def simulated(seed: int, length: int, width: int) -> xr.Dataset:
    began = time.perf_counter()
    cell = samples.ceramic_cell((128, length, width), seed=seed)
    print(f"cell {seed}: {dict(cell.image.sizes)}, simulated in {time.perf_counter() - began:.0f} s", flush=True)
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=3000, help="seed of the cell of which one electrode is trained on")
    parser.add_argument("--judge", type=int, nargs="*", default=[3001], help="seeds of cells that are judged besides")
    parser.add_argument("--network", nargs="+", default=["dixit2020", "small"])
    parser.add_argument("--slices", type=int, nargs=2, default=(800, 200), help="to train and to validate on")
    parser.add_argument("--length", type=int, default=1056, help="of the cell that is trained on, in voxels along y")
    parser.add_argument("--width", type=int, default=96, help="of all cells, in voxels along x")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, help="learning rate; default 4e-3 for small, 2e-3 for others")
    parser.add_argument("--scan", type=int, default=2, help="scan that is trained on; 2 is strip 1")
    parser.add_argument("--corrected", type=float, nargs="*", default=[1.0], help="shares of slices that are corrected")
    parser.add_argument("--random", action="store_true", help="also validate on slices drawn at random, as papers do")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true", help="time the prediction and do nothing else")
    asked = parser.parse_args()
    if asked.speed:
        for name in asked.network:
            speed(name)
        return
    if asked.train in asked.judge:
        parser.error("a cell cannot be trained on and judged as another one")
    cell = simulated(asked.train, asked.length, asked.width)
    parts = slabs(cell)
    # The first part of the cell, as large as the others, and none of the validation slices.
    shortened = {
        side: {
            key: value[..., :JUDGED, :] if key == "near" else value.isel(y=slice(JUDGED)) for key, value in one.items()
        }
        for side, one in parts.items()
    }
    others = {seed: simulated(seed, JUDGED, asked.width) for seed in asked.judge}
    for name in asked.network:
        for share in asked.corrected:
            print()
            network = fit(name, parts["low"], asked.scan, asked, share, 8)
            if asked.random:
                fit(name, parts["low"], asked.scan, asked, share, None)
            print(f"  the same cell ({asked.train})")
            judge(network, cell, shortened, ("low", asked.scan))
            for seed, other in others.items():
                print(f"  another cell ({seed}), never trained on")
                judge(network, other, slabs(other), None)


if __name__ == "__main__":
    main()
