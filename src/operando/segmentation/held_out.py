"""What a network does on annotations it has not seen: how sure, how right, how much of each phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from operando import learn
from operando.core.blocks import iter_blocks
from operando.core.phases import UNLABELED
from operando.segmentation.fitted import FittedNetwork, softmax
from operando.segmentation.material import Series
from operando.segmentation.split import Split

_EVALUATED = 2**24  # voxels at most whose logits are computed to judge a network
_CALIBRATED = 500_000  # held-out voxels at most that metrics and calibration come from
_SAMPLED = 2**20  # voxels whose logits tell how frequent the phases are
_THINNED = 7  # of these one in seven is kept; odd, so that no row of voxels is preferred
_BINS = 15


@dataclass(frozen=True)
class HeldOut:
    """Held-out voxels: plain logits (n, class), true classes (n,), and how many units they come from.

    Units are series where whole ones are held out, else scans.
    """

    logits: np.ndarray
    classes: np.ndarray
    units: int


def held_out_voxels(fitted: FittedNetwork, material: Sequence[Series], split: Split, *, seed: int) -> HeldOut | None:
    """Read held-out annotations, whole blocks in random order; None where there are none."""
    place = np.full(256, UNLABELED, np.uint8)
    place[fitted.ids] = np.arange(len(fitted.ids), dtype=np.uint8)
    rng = np.random.default_rng([seed, 3])
    held = sorted(split.held) or [(n, scan) for n, series in enumerate(material) for scan in series.annotated]
    jobs = [
        (number, scan, block)
        for number, scan in held
        for block in iter_blocks(material[number].gray.shape[1:], _block(fitted, 96))
    ]
    seen = 0
    logits: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    units: set[int] = set()
    for job in rng.permutation(len(jobs)):
        number, scan, block = jobs[job]
        series = material[number]
        told = split.held_out(place[np.asarray(series.marks[(scan, *block.core)])], block.core)
        known = np.nonzero(told != UNLABELED)
        if known[0].size == 0:
            continue
        core = tuple(
            slice(c.start + int(k.min()), c.start + int(k.max()) + 1) for c, k in zip(block.core, known, strict=True)
        )
        seen += int(np.prod([c.stop - c.start for c in core]))
        if seen > _EVALUATED and logits:
            break
        inside = tuple(k - k.min() for k in known)
        logits.append(fitted.logits(series.gray[scan], core, series.scales[scan])[(slice(None), *inside)].T)
        truth.append(told[known])
        units.add(number if split.kind == "series" else scan)
    if not logits:
        return None
    chosen = rng.permutation(sum(map(len, truth)))[:_CALIBRATED]
    return HeldOut(np.concatenate(logits)[chosen], np.concatenate(truth)[chosen], len(units))


def _block(fitted: FittedNetwork, edge: int) -> tuple[int, int, int]:
    """Block (z, y, x) that does not make a network with large patches compute most of them for nothing."""
    rows, columns = fitted.sections.patch
    edge = max(edge, columns // 2)
    return max(192, rows), edge, edge


def sampled_logits(fitted: FittedNetwork, material: Sequence[Series], *, seed: int) -> np.ndarray:
    """Logits (n, class) in random columns of the annotated scans."""
    rng = np.random.default_rng([seed, 4])
    jobs = [
        (series, scan, block)
        for series in material
        for scan in series.annotated
        for block in iter_blocks(series.gray.shape[1:], _block(fitted, 64))
    ]
    seen = 0
    drawn: list[np.ndarray] = []
    for job in rng.permutation(len(jobs)):
        series, scan, block = jobs[job]
        logits = fitted.logits(series.gray[scan], block.core, series.scales[scan])
        seen += logits[0].size
        drawn.append(logits.reshape(len(logits), -1)[:, ::_THINNED].T)
        if seen > _SAMPLED:
            break
    return np.concatenate(drawn)


def measured(fitted: FittedNetwork, held: HeldOut) -> dict[str, Any]:
    """Metrics of a calibrated network on held-out voxels, before and after its calibration."""
    ids, names = np.array(fitted.ids, np.uint8), [fitted.phases.name(number) for number in fitted.ids]
    shifted = held.logits + fitted.shift
    labels = (shifted + fitted.volume_shift).argmax(axis=1)
    confusion = learn.confusion_matrix(ids[labels], ids[held.classes], ids=fitted.phases.ids)
    found: dict[str, Any] = learn.summary(confusion, fitted.phases)
    truth = np.bincount(held.classes, minlength=len(ids))

    def over_truth(volumes: np.ndarray) -> dict[str, float | None]:
        pairs = zip(names, volumes, truth, strict=True)
        return {name: float(volume / of) if of else None for name, volume, of in pairs}

    found["volume_ratio_before"] = over_truth(np.bincount(held.logits.argmax(axis=1), minlength=len(ids)))
    found["volume_ratio"] = over_truth(np.bincount(labels, minlength=len(ids)))
    curves: dict[str, Any] = {}
    for when, logits, temperature in (("before", held.logits, 1.0), ("after", shifted, fitted.temperature)):
        chances = softmax(logits.T / temperature)
        sure, right = chances.max(axis=0), chances.argmax(axis=0) == held.classes
        ending = "_before" if when == "before" else ""
        found[f"calibration_error{ending}"] = learn.calibration_error(sure, right, bins=_BINS)
        curves[when] = {
            "all": learn.reliability(sure, right, bins=_BINS),
            **{
                name: learn.reliability(chances[c], held.classes == c, bins=_BINS)
                for c, name in enumerate(names)
                if truth[c]
            },
        }
    found["expected_volume_ratio"] = over_truth(chances.sum(axis=1, dtype=np.float64))
    return {**found, "reliability": curves}
