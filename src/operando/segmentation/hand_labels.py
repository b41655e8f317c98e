"""Hand labels by the kind of slice they lie in: in-plane (y, x), or anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from operando import learn
from operando.core.blocks import iter_blocks
from operando.core.phases import UNLABELED, PhaseScheme
from operando.segmentation.material import Series

WHOLE = 0.5
"""Share of the voxels of a plane from which on it is an annotated slice."""
_READ = (128, 128)  # voxels along y and x that are judged at a time

Predict = Callable[[Any, tuple[slice, ...]], np.ndarray]
"""Labels (z, y, x) of a box of one scan, given the scan and the box."""


@dataclass(frozen=True)
class HandLabels:
    """Hand labels of one series; arrays (t, z, y, x) of uint8, lazy where the series is.

    Parameters
    ----------
    marks : array
        All of them.
    in_plane : ndarray of bool, (t, z)
        Which planes (y, x) are annotated slices.
    held : set of int
        Held-out scans.
    along_z : ndarray of int, (t, 255, z)
        Annotated voxels of each label in each plane.
    """

    marks: Any
    in_plane: np.ndarray
    held: frozenset[int]
    along_z: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Scans that are not held out, bool (t,)."""
        return np.array([scan not in self.held for scan in range(len(self.in_plane))])

    def where(self, planes: np.ndarray) -> Any:
        """The labels in the planes (t, z) where it is true, and 255 elsewhere."""
        mask = planes[:, :, None, None]
        if not hasattr(self.marks, "dask"):
            return np.where(mask, self.marks, np.uint8(UNLABELED))
        import dask.array as da

        return da.where(mask, self.marks, np.uint8(UNLABELED))

    def voxels(self, planes: np.ndarray) -> np.ndarray:
        """Voxels of each label (255,) in the planes (t, z) where it is true."""
        return np.asarray((self.along_z * planes[:, None, :]).sum(axis=(0, 2)))

    @property
    def slices(self) -> np.ndarray:
        """In-plane slices of scans that are not held out, bool (t, z)."""
        return np.asarray(self.in_plane & self.kept[:, None])

    @property
    def rest(self) -> np.ndarray:
        """The other planes of scans that are not held out, bool (t, z)."""
        return np.asarray(~self.in_plane & self.kept[:, None])


def sort_labels(series: Series, held: set[int]) -> HandLabels:
    """Find the in-plane slices among the annotations of a series.

    Parameters
    ----------
    series : Series
    held : set of int
        Held-out scans.
    """
    along_z = series.counts.along[0]
    area = int(np.prod(series.gray.shape[2:]))
    return HandLabels(series.marks, along_z.sum(axis=1) >= WHOLE * area, frozenset(held), along_z)


def held_out_agreement(
    held: Sequence[tuple[int, int]], material: Sequence[Series], phases: PhaseScheme, predict: Predict
) -> dict[str, Any] | None:
    """Agreement with all annotations of held-out scans; None where there are none."""
    if not held:
        return None
    confusion = np.zeros((len(phases), len(phases) + 1), np.int64)
    asked = answered = 0
    for number, scan in held:
        gray, marks = material[number].gray[scan], material[number].marks[scan]
        for block in iter_blocks(gray.shape, (gray.shape[0], *_READ)):
            told = np.asarray(marks[block.core])
            known = np.nonzero(told != UNLABELED)
            if known[0].size == 0:
                continue
            inside = tuple(slice(int(k.min()), int(k.max()) + 1) for k in known)
            core = tuple(slice(c.start + i.start, c.start + i.stop) for c, i in zip(block.core, inside, strict=True))
            found = predict(gray, core)
            # What the partial models leave open is no label.
            sure = np.where(found == UNLABELED, np.uint8(UNLABELED), told[inside])
            answered += int((sure != UNLABELED).sum())
            asked += int(known[0].size)
            confusion += learn.confusion_matrix(found, sure, ids=phases.ids)
    return {**learn.summary(confusion, phases), "answered": answered / max(asked, 1)}


def labeled_voxels(hand: Sequence[HandLabels], planes: Sequence[np.ndarray]) -> np.ndarray:
    """Voxels of each label (255,) in the chosen planes (t, z) of every series."""
    return np.sum([part.voxels(chosen) for part, chosen in zip(hand, planes, strict=True)], axis=0)
