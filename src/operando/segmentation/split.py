"""Hold out annotations by cell or scan; and, to see the leak, by neighboring patches or slices as papers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.core.phases import UNLABELED
from operando.learn.sampling import AnnotationCounts

_HELD = 0.2  # share of the annotated scans, or of the series
_SERIES = 3  # from as many series on, whole ones are held out
_PART = 0.75  # of a lateral axis is trained on where no scan can be spared
_GAP = 8  # voxels between the two parts


@dataclass(frozen=True)
class Split:
    """What is held out: whole series, whole scans, or the far part of a scan along one lateral axis.

    Parameters
    ----------
    kind : str
        ``"series"``, ``"scan"``, ``"place"``, ``"given"`` (annotations of their own) or ``"none"``.
    held : frozenset of (int, int)
        Series and scan of what is held out.
    axis : str, optional
        ``"y"`` or ``"x"``, for a split by place.
    limits : tuple of int
        Voxels along ``axis`` below the first are trained on, from the second on held out.
    reason : str
        Why it is not by scan.
    """

    kind: str
    held: frozenset[tuple[int, int]] = frozenset()
    axis: str | None = None
    limits: tuple[int, int] = (0, 0)
    reason: str = ""

    @property
    def scans(self) -> tuple[int, ...]:
        """Held-out scans, in order, where there is one series."""
        return tuple(sorted({scan for _, scan in self.held}))

    @property
    def series(self) -> tuple[int, ...]:
        """Held-out series, in order."""
        return tuple(sorted({number for number, _ in self.held}))

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

    def describe(self, *, several: bool = False) -> dict[str, Any]:
        """Plain form for the card; scans are named with their series where there are several."""
        if self.kind in ("series", "scan"):
            what: list[Any] = [list(pair) for pair in sorted(self.held)] if several else list(self.scans)
            by_series = {"held_out_series": list(self.series)} if self.kind == "series" else {}
            return {
                "kind": self.kind,
                **by_series,
                "held_out_scans": what,
                "note": f"metrics are of the network before it was trained on, with the held-out {self.kind}"
                f"{'' if self.kind == 'series' else 's'} included",
            }
        if self.kind == "place":
            return {
                "kind": "place",
                "axis": self.axis,
                "trained_below": self.limits[0],
                "held_out_from": self.limits[1],
                "note": f"{self.reason}; places in one scan are alike, so the metrics flatter",
            }
        if self.kind == "given":
            return {
                "kind": "given",
                "note": "metrics are of the network that is kept, on annotations given for validation and never "
                "trained on; where they lie in the scans that were trained on, they flatter",
            }
        return {"kind": "none", "note": self.reason}


def choose_split(counts: AnnotationCounts | Sequence[AnnotationCounts], *, ids: Sequence[int]) -> Split:
    """Choose what to hold out, so that every phase stays in training.

    Parameters
    ----------
    counts : AnnotationCounts, or one per series
    ids : sequence of int
        Annotated labels.

    Returns
    -------
    Split
        A fifth of the series where there are three or more and one can be spared: what is measured
        then is the error on cells the network never saw. Else by scan where two or more scans are
        annotated and one can be spared; else by place where the far quarter along y or x holds at
        least two phases; else none, with the reason.

    Examples
    --------
    >>> marks = np.full((3, 2, 1, 64), 255, np.uint8)
    >>> marks[1:, 0], marks[1:, 1] = 0, 1
    >>> from operando.learn import count_annotations
    >>> choose_split(count_annotations(marks), ids=[0, 1]).scans
    (1,)
    """
    each = [counts] if isinstance(counts, AnnotationCounts) else list(counts)
    per_scan = [found.per_scan[:, list(ids)] for found in each]
    pairs = [
        (number, scan) for number, rows in enumerate(per_scan) for scan in np.flatnonzero(rows.any(axis=1)).tolist()
    ]
    numbers = sorted({number for number, _ in pairs})
    if len(numbers) >= _SERIES:
        held = _spared(np.array([per_scan[number].sum(axis=0) for number in numbers]))
        if held:
            chosen = {numbers[unit] for unit in held}
            return Split("series", held=frozenset(pair for pair in pairs if pair[0] in chosen))
    held = _spared(np.array([per_scan[number][scan] for number, scan in pairs]).reshape(-1, len(ids)))
    if held:
        return Split("scan", held=frozenset(pairs[unit] for unit in held))
    reason = "one scan is annotated" if len(pairs) < 2 else "every annotated scan holds a phase that no other has"
    if len(each) > 1:
        return Split("none", reason=reason)
    for index, dim in sorted(((1, "y"), (2, "x")), key=lambda item: -each[0].along[item[0]].shape[-1]):
        along = each[0].along[index][:, list(ids)].sum(axis=0) > 0
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


def _spared(counts: np.ndarray) -> list[int]:
    """Units (unit, class) to hold out: a fifth, those with the most of every class, none that is needed."""
    present = counts > 0
    wanted = max(1, round(_HELD * len(counts)))
    # The units that hold enough of every phase measure the most.
    worth = np.log1p(counts).sum(axis=1)
    held: list[int] = []
    for unit in sorted(range(len(counts)), key=lambda u: (-int(present[u].sum()), -float(worth[u]), u)):
        left = [u for u in range(len(counts)) if u not in held and u != unit]
        if len(held) < wanted and left and present[left].any(axis=0).all() and present[unit].sum() > 1:
            held.append(unit)
    return held


def random_patch_split(
    annotations: xr.DataArray, *, share: float = 0.15, patch: int = 32, seed: int = 0
) -> tuple[xr.DataArray, xr.DataArray]:
    """Part annotations into training and held-out patches at random, as papers do.

    Only to be shown beside a split by scan: a held-out patch has neighbors in the same slice and
    copies of itself in the scans before and after that were trained on, so what is measured on it
    tells how well the network remembers (Huang et al. 2023, Supplementary Table 1: 31 of the patches of
    42 slices, drawn at random). :class:`operando.segmentation.NetworkSegmenter` never splits like this.

    Parameters
    ----------
    annotations : DataArray of uint8, dims ([t], [z], y, x)
        255 = unlabeled.
    share : float
        Of the annotated patches to hold out, between 0 and 1.
    patch : int
        Edge of a patch in voxels, along every spatial dim. Annotated cross-sections are cut by a lattice
        of such boxes.
    seed : int

    Returns
    -------
    training, held_out : DataArray of uint8
        Like ``annotations``, each voxel annotated in one of the two.

    Raises
    ------
    InputError
        Where the share or the patch cannot be used, or fewer than two patches are annotated.

    Notes
    -----
    Holds the annotations and both results in memory.

    Examples
    --------
    >>> marks = xr.DataArray(np.zeros((4, 4), np.uint8), dims=("y", "x"))
    >>> training, held_out = random_patch_split(marks, share=0.25, patch=2)
    >>> int((training == 0).sum()), int((held_out == 0).sum())
    (12, 4)
    """
    where = "random_patch_split"
    require_dims(annotations, ("y", "x"), optional=("t", "z"), where=where)
    if not 0 < share < 1 or patch < 1:
        raise InputError(
            f"{where}: share must lie between 0 and 1 and patch be at least 1 voxel, got {share} and {patch}. "
            "The defaults are 0.15 and 32."
        )
    values = np.asarray(annotations.values)
    if values.dtype != np.uint8:
        raise InputError(f"{where}: annotations are uint8, got {values.dtype}. Convert them with .astype('uint8').")
    known = values != UNLABELED
    number = np.zeros(values.shape, np.int64)
    for axis, dim in enumerate(annotations.dims):
        size = values.shape[axis]
        edge = 1 if dim == "t" else patch
        place = (np.arange(size) // edge).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        number = number * -(-size // edge) + place
    patches = np.unique(number[known])
    if patches.size < 2:
        raise InputError(
            f"{where}: at least two annotated patches are needed, got {patches.size}. Annotate more, or use a "
            f"patch smaller than {patch} voxels."
        )
    count = int(np.clip(round(share * patches.size), 1, patches.size - 1))
    held = np.random.default_rng([seed, 5]).choice(patches, size=count, replace=False)
    out = known & np.isin(number, held)
    training, held_out = values.copy(), values.copy()
    training[out], held_out[~out] = UNLABELED, UNLABELED
    return annotations.copy(data=training), annotations.copy(data=held_out)


def slice_split(
    labels: xr.DataArray,
    *,
    train: int = 800,
    validation: int = 200,
    axis: str = "y",
    scan: int = 0,
    gap: int | None = 8,
    seed: int = 0,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Take whole cross-sections of one scan for training and others for validation, as Dixit et al. (2020) do.

    Both are of the same electrode and step, so that what is measured on the second tells little about other
    electrodes and steps: test there too, and show both figures side by side.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x)
        Labels of one electrode, 255 outside of its lithium. May be lazy.
    train, validation : int
        Cross-sections of each. The paper has 800 and 200.
    axis : str
        Normal of the cross-sections: ``"y"`` takes sections (z, x), ``"x"`` sections (z, y).
    scan : int
        The scan that they are taken from; without a time axis there is only 0.
    gap : int or None
        Cross-sections between the two, at least: validation takes the last ones along ``axis``, in one piece. None
        draws all of them at random, so that nearly every validation slice has a trained one right beside it, which is
        what a random choice of 1000 slices of one electrode comes to. The paper does not say how it chose.
    seed : int

    Returns
    -------
    training, validation : DataArray of uint8
        Like ``labels``, 255 but in the chosen cross-sections. For ``fit(images, training, validation=validation)``.

    Raises
    ------
    InputError, AxesError
        Where there are not as many cross-sections, or scan or axis is not there.

    Notes
    -----
    :class:`operando.segmentation.NetworkSegmenter` holds at most ``windows`` cross-sections, by default 400: pass it
    ``windows=train`` to use them all. Neighboring slices are copies of each other as far as pores are wide and noise is
    correlated; a gap wider than the largest pore takes that part of the leak away, not the gray levels, artifacts and
    annotator that one electrode has in common.

    Reference
    ---------
    Dixit et al., ACS Applied Energy Materials 3 (2020) 9534, doi:10.1021/acsaem.0c02053

    Examples
    --------
    >>> labels = xr.DataArray(np.zeros((2, 12, 3), np.uint8), dims=("z", "y", "x"))
    >>> training, validation = slice_split(labels, train=6, validation=2, gap=4)
    >>> [np.flatnonzero((marks == 0).any(["z", "x"])).tolist() for marks in (training, validation)]
    [[0, 1, 2, 3, 4, 5], [10, 11]]
    """
    where = "slice_split"
    require_dims(labels, SPACE, optional=("t",), where=where)
    if labels.dtype != np.uint8:
        raise InputError(f"{where}: a label image is uint8, got {labels.dtype}. Convert it with .astype('uint8').")
    if axis not in SPACE:
        raise AxesError(f"{where}: there is no spatial axis {axis!r}. {nearest(axis, SPACE)}")
    scans = labels.sizes.get("t", 1)
    if not 0 <= scan < scans:
        raise InputError(f"{where}: scan must lie from 0 to {scans - 1}, got {scan}. Count scans from 0.")
    size, between = labels.sizes[axis], gap or 0
    if min(train, validation) < 1 or between < 0 or train + validation + between > size:
        fits = max(size - between, 0)
        raise InputError(
            f"{where}: {train} training and {validation} validation slices with {between} between them are wanted, of "
            f"{size} along {axis!r}. Use train={fits - fits // 5} and validation={fits // 5}, or another axis."
        )
    rng = np.random.default_rng([seed, 6])
    if gap is None:
        chosen = rng.permutation(size)[: train + validation]
        parts = chosen[:train], chosen[train:]
    else:
        parts = rng.permutation(size - validation - gap)[:train], np.arange(size - validation, size)
    marks = []
    for part in parts:
        wanted = xr.DataArray(np.isin(np.arange(size), part), dims=axis)
        if "t" in labels.dims:
            wanted = wanted & xr.DataArray(np.arange(scans) == scan, dims="t")
        marks.append(labels.where(wanted, np.uint8(UNLABELED)).transpose(*labels.dims))
    return marks[0], marks[1]
