"""Hold out annotations by scan, never by neighboring patches or points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from operando.core.phases import UNLABELED
from operando.learn.sampling import AnnotationCounts

_HELD = 0.2  # share of the annotated scans
_PART = 0.75  # of a lateral axis is trained on where no scan can be spared
_GAP = 8  # voxels between the two parts


@dataclass(frozen=True)
class Split:
    """What is held out: whole scans, or the far part of every scan along one lateral axis.

    Parameters
    ----------
    kind : str
        ``"scan"``, ``"place"`` or ``"none"``.
    scans : tuple of int
        Held-out scans.
    axis : str, optional
        ``"y"`` or ``"x"``, for a split by place.
    limits : tuple of int
        Voxels along ``axis`` below the first are trained on, from the second on held out.
    reason : str
        Why it is not by scan.
    """

    kind: str
    scans: tuple[int, ...] = ()
    axis: str | None = None
    limits: tuple[int, int] = (0, 0)
    reason: str = ""

    @property
    def training_region(self) -> tuple[slice, ...]:
        """Part of an array (t, z, y, x) that is trained on."""
        return tuple(slice(0, self.limits[0]) if dim == self.axis else slice(None) for dim in ("t", "z", "y", "x"))

    def held_out(self, marks: np.ndarray, core: Sequence[slice]) -> np.ndarray:
        """Marks of a block (z, y, x) with everything that was trained on set to 255."""
        if self.axis is None:
            return marks
        index = ("z", "y", "x").index(self.axis)
        along = [slice(None)] * 3
        along[index] = slice(0, max(0, self.limits[1] - core[index].start))
        kept = marks.copy()
        kept[tuple(along)] = UNLABELED
        return kept

    def describe(self) -> dict[str, Any]:
        """Plain form for the card."""
        if self.kind == "scan":
            return {
                "kind": "scan",
                "held_out_scans": list(self.scans),
                "note": "metrics are of the network before it was trained on, with the held-out scans included",
            }
        if self.kind == "place":
            return {
                "kind": "place",
                "axis": self.axis,
                "trained_below": self.limits[0],
                "held_out_from": self.limits[1],
                "note": f"{self.reason}; places in one scan are alike, so the metrics flatter",
            }
        return {"kind": "none", "note": self.reason}


def choose_split(counts: AnnotationCounts, *, ids: Sequence[int]) -> Split:
    """Choose what to hold out, so that every phase stays in training.

    Parameters
    ----------
    counts : AnnotationCounts
    ids : sequence of int
        Annotated labels.

    Returns
    -------
    Split
        By scan where two or more scans are annotated and one can be spared; else by place where the
        far quarter along y or x holds at least two phases; else none, with the reason.

    Examples
    --------
    >>> marks = np.full((3, 2, 1, 64), 255, np.uint8)
    >>> marks[1:, 0], marks[1:, 1] = 0, 1
    >>> from operando.learn import count_annotations
    >>> choose_split(count_annotations(marks), ids=[0, 1]).scans
    (1,)
    """
    present = counts.per_scan[:, list(ids)] > 0
    annotated = np.flatnonzero(present.any(axis=1))
    wanted = max(1, round(_HELD * annotated.size))
    held: list[int] = []
    # The scans that hold enough of every phase measure the most.
    worth = np.log1p(counts.per_scan[:, list(ids)]).sum(axis=1)
    for scan in sorted(annotated, key=lambda s: (-int(present[s].sum()), -float(worth[s]), int(s))):
        left = [s for s in annotated if s not in held and s != scan]
        if len(held) < wanted and left and present[left].any(axis=0).all() and present[scan].sum() > 1:
            held.append(int(scan))
    if held:
        return Split("scan", scans=tuple(sorted(held)))
    reason = "one scan is annotated" if annotated.size < 2 else "every annotated scan holds a phase that no other has"
    for index, dim in sorted(((1, "y"), (2, "x")), key=lambda item: -counts.along[item[0]].shape[-1]):
        along = counts.along[index][:, list(ids)].sum(axis=0) > 0
        size = along.shape[-1]
        border = round(_PART * size)
        limits = (border - _GAP, border)
        if (
            limits[0] >= size // 2
            and along[:, : limits[0]].any(axis=1).all()
            and along[:, border:].any(axis=1).sum() > 1
        ):
            return Split("place", axis=dim, limits=limits, reason=reason)
    return Split("none", reason=f"{reason}, and it is too small or too sparsely annotated to spare a part of it")
