"""Where to label next: places whose labels would teach the network most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.core.phases import UNLABELED
from operando.segmentation.contract import SERIES
from operando.segmentation.places import NORMAL, Places, blocks_of, tally

COLUMNS = (
    "rank",
    "scan",
    "t",
    "plane",
    "index",
    "position_um",
    *(f"{dim}{end}" for dim in SPACE for end in ("_start", "_stop")),
    "score",
    "uncertainty",
    "diversity",
    "pixels",
    "reason",
)
"""Columns of the table that :func:`suggest` returns."""

UNITS = ("slice", "patch")
_THICK = 8  # voxels along z from which an image is a volume with cross-sections through z
_RAREST = 1e-3  # share of the voxels that a phase counts as at least, so that a few wrong voxels do not decide
_COMPARED = 2000  # places at most that are compared with each other: their similarities are a square matrix
_UNLIKE = 0.35  # distance of two compositions (Hellinger) at which they tell little about each other
_FAR = 12.0  # voxels from which a neighbor is no copy any more
_ELSEWHERE = 0.6  # similarity of two places with the same composition far from each other
_LATER = 0.25  # share of the series after which a scan with the same composition tells less


def suggest(
    prediction: xr.DataArray,
    *,
    annotations: xr.DataArray | None = None,
    count: int = 4,
    unit: str = "slice",
    planes: Sequence[str] | None = None,
    patch: tuple[int, int] = (48, 64),
) -> pd.DataFrame:
    """Rank the places that are worth labeling next, by doubt and by how unlike they are to what is labeled.

    Parameters
    ----------
    prediction : DataArray of float, dims ([t], phase, [z], y, x)
        Probability of each phase, as ``NetworkSegmenter.predict_probability`` gives it; may be lazy.
    annotations : DataArray of uint8, dims ([t], [z], y, x), optional
        What is labeled already, 255 = unlabeled. Labeled voxels raise no doubt, and places of which half is labeled
        are not suggested again.
    count : int
        Places wanted. Fewer come back where no doubt is left.
    unit : {"slice", "patch"}
        Whole cross-sections, or windows of them, which cost fewer labeled pixels.
    planes : sequence of str, optional
        Of ``"zx", "zy", "yx"``. Default: the first two for a volume, ``"yx"`` where z is thinner than 8 voxels.
    patch : (int, int)
        Rows and columns of a window in voxels, about: windows divide the plane evenly.

    Returns
    -------
    DataFrame
        One row per place, best first: ``rank`` (from 1), ``scan``, ``t`` (of its coordinate), ``plane``, ``index``
        (voxel along the plane's normal), ``position_um`` (the same in um, NaN where not calibrated),
        ``z_start .. x_stop`` (the box in voxels, half open), ``score`` (share of the doubt of all places that this one
        settles and those before it did not), ``uncertainty``, ``diversity`` (1: unlike anything labeled or suggested
        before, 0: a copy), ``pixels`` (not labeled yet) and ``reason``, a sentence for people.

    Raises
    ------
    AxesError, InputError
        Where dims, unit, planes or annotations do not fit.

    Notes
    -----
    The doubt of a voxel about a phase is the variance of a guess, :math:`p_c (1 - p_c)`; summed, it is how many voxels
    of the phase are expected to be wrong. The uncertainty of a place is the share of all lithium, void and so on that
    is expected to be wrong there, averaged over the :math:`C` phases:

    .. math:: u = \\frac{1}{C} \\sum_c \\frac{\\sum_{v} p_{c}(v) (1 - p_{c}(v))}{\\sum_{w} p_{c}(w)}

    with :math:`v` over the place and :math:`w` over the whole series. This is about what the place costs in macro IoU:
    the long interfaces of a thick electrode, where every voxel is in doubt, are few beside its volume and count
    little; a thin deposit and a dendrite count much. A phase counts as 0.1 % of the voxels at least.

    Places are chosen one after the other. Each settles its own doubt and, by their similarity :math:`s`, part of that
    of others; the next is the one that settles most of what is left:

    .. math:: \\mathrm{score}_i = \\sum_j u_j \\max(0, s_{ij} - \\max_{k\\ \\mathrm{chosen}} s_{kj})

    (facility location; the greedy choice reaches 63 % of the best possible at least, Nemhauser et al. 1978). Places
    are alike where their composition is (Hellinger distance of the predicted phases and of the doubt), less so in
    scans far from each other in the series, and most where one is within a few voxels of the other in the same scan.
    The 2000 most doubtful places are compared.

    Reads every block of the prediction once. Holds one block and ``3 * phases + 2`` numbers per place. Deterministic:
    of equals the one first in the series.

    Do not trust it before the network has seen every phase: a phase that was never annotated has probability 0
    everywhere and raises no doubt. Begin with one cross-section each of a pristine, a charged and a discharged scan.
    It cannot see errors that the network is sure of; look at the result too.

    References
    ----------
    .. [1] B. Settles, Active Learning Literature Survey, Univ. of Wisconsin-Madison, 2009.
    .. [2] G. L. Nemhauser, L. A. Wolsey, M. L. Fisher, Mathematical Programming 14, 265 (1978).

    Examples
    --------
    Two phases, everywhere sure but in the cross-section y = 1:

    >>> sure = np.zeros((2, 8, 4, 8), np.float32)
    >>> sure[0] = 1
    >>> sure[:, :, 1] = 0.5
    >>> prediction = xr.DataArray(sure, dims=("phase", "z", "y", "x"), coords={"phase": ["electrolyte", "electrode"]})
    >>> best = suggest(prediction, count=1, planes=["zx"]).iloc[0]
    >>> best["plane"], int(best["index"]), int(best["pixels"])
    ('zx', 1, 64)
    """
    where = "suggest"
    series, marks = _checked(prediction, annotations, where)
    if unit not in UNITS:
        raise InputError(f"{where}: there is no unit {unit!r}. {nearest(str(unit), UNITS)}")
    if count < 1 or min(patch) < 1:
        raise InputError(f"{where}: count and patch must be at least 1, got {count} and {tuple(patch)}.")
    chosen_planes = _planes(planes, series, where)
    places = [Places.make(plane, series, None if unit == "slice" else patch) for plane in chosen_planes]
    volume = np.zeros(series.sizes["phase"])
    for scan, core, chances, told in blocks_of(series, marks):
        tally(places, volume, scan, core, chances, told)
    table = pd.concat([found.table() for found in places], ignore_index=True)
    left, doubt, composition = (
        np.concatenate([getattr(found, name).reshape(-1, volume.size) for found in places])
        for name in ("left", "doubt", "composition")
    )
    known = volume > 0
    if not known.any():
        raise InputError(
            f"{where}: the prediction must hold probabilities, got only zeros or NaN. Predict with a fitted segmenter."
        )
    # Averaged over the phases that are predicted at all.
    shares = left / np.maximum(volume, _RAREST * volume.sum())
    table["uncertainty"] = shares[:, known].mean(axis=1)
    return _chosen(table, composition, doubt, shares, count, list(map(str, series.coords["phase"].values)), series)


def label_places(labels: xr.DataArray, places: pd.DataFrame) -> xr.DataArray:
    """Annotate suggested places with known labels and leave the rest unlabeled: what a person would have answered.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], [z], y, x)
        Known labels.
    places : DataFrame
        Rows of the table of :func:`suggest`.

    Returns
    -------
    DataArray of uint8, same dims and coordinates
        255 where nothing was annotated.

    Examples
    --------
    >>> labels = xr.DataArray(np.zeros((2, 3, 4), np.uint8), dims=("z", "y", "x"))
    >>> place = {"scan": 0, "z_start": 0, "z_stop": 2, "y_start": 1, "y_stop": 2, "x_start": 0, "x_stop": 4}
    >>> int((label_places(labels, pd.DataFrame([place])) == 0).sum())
    8
    """
    marks = np.full(labels.shape, UNLABELED, np.uint8)
    for place in places.to_dict("records"):
        box = [slice(int(place[f"{dim}_start"]), int(place[f"{dim}_stop"])) for dim in SPACE if dim in labels.dims]
        at: Any = (int(place["scan"]), *box) if "t" in labels.dims else tuple(box)
        marks[at] = labels[at].values
    return labels.copy(data=marks)


def _checked(
    prediction: xr.DataArray, annotations: xr.DataArray | None, where: str
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Prediction with all of (t, phase, z, y, x), annotations with all of (t, z, y, x)."""
    require_dims(prediction, ("phase", "y", "x"), optional=("t", "z"), where=where)
    if prediction.dtype.kind != "f":
        raise InputError(
            f"{where}: probabilities are needed, got {prediction.dtype}. "
            "Use predict_probability(image), not predict(image)."
        )
    if "phase" not in prediction.coords:
        prediction = prediction.assign_coords(phase=[f"phase {i}" for i in range(prediction.sizes["phase"])])
    marks = annotations
    if marks is not None:
        needed = [str(dim) for dim in prediction.dims if dim != "phase"]
        require_dims(marks, needed, where=f"{where}: annotations")
        marks = marks.transpose(*(dim for dim in SERIES if dim in marks.dims))
        sizes = {dim: prediction.sizes[dim] for dim in needed}
        if dict(marks.sizes) != sizes or marks.dtype != np.uint8:
            raise AxesError(
                f"{where}: annotations must be uint8 on the grid of the prediction {sizes}, got {marks.dtype} on "
                f"{dict(marks.sizes)}. Fill what nobody labeled with {UNLABELED}."
            )
    for dim in ("t", "z"):
        if dim not in prediction.dims:
            prediction = prediction.expand_dims(dim)
            marks = None if marks is None else marks.expand_dims(dim)
    return (
        prediction.transpose("t", "phase", *SPACE),
        None if marks is None else marks.transpose(*SERIES),
    )


def _planes(planes: Sequence[str] | None, series: xr.DataArray, where: str) -> list[str]:
    if planes is None:
        return ["zx", "zy"] if series.sizes["z"] >= _THICK else ["yx"]
    names = [planes] if isinstance(planes, str) else [str(plane) for plane in planes]
    for name in names:
        if name not in NORMAL:
            raise InputError(f"{where}: there is no plane {name!r}. {nearest(name, NORMAL)}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"{where}: each plane must be named once, got {names}. Use ('zx', 'zy').")
    return names


def _chosen(
    table: pd.DataFrame,
    composition: np.ndarray,
    doubt: np.ndarray,
    shares: np.ndarray,
    count: int,
    names: Sequence[str],
    series: xr.DataArray,
) -> pd.DataFrame:
    """Greedy facility location over the most doubtful places."""
    features = _features(table, composition, doubt, scans=series.sizes["t"])
    labeled = np.flatnonzero(table["labeled"] >= table["pixels"])
    open_places = np.flatnonzero((table["labeled"] < table["pixels"]) & (table["uncertainty"] > 0))
    order = np.argsort(-table["uncertainty"].to_numpy()[open_places], kind="stable")[:_COMPARED]
    compared = np.sort(open_places[order])
    weight = table["uncertainty"].to_numpy()[compared]
    covered = np.zeros(len(compared))
    for start in range(0, len(labeled), _COMPARED):
        part = features.take(labeled[start : start + _COMPARED])
        covered = np.maximum(covered, _similarity(part, features.take(compared)).max(axis=0))
    alike = _similarity(features.take(compared), features.take(compared))
    rows, total = [], float(weight.sum())
    free = np.ones(len(compared), dtype=bool)
    for rank in range(1, min(count, len(compared)) + 1):
        gain = np.where(free, (weight * np.maximum(alike - covered, 0)).sum(axis=1), -1.0)
        best = int(gain.argmax())
        place = table.iloc[compared[best]].to_dict()
        place |= {"rank": rank, "score": gain[best] / total, "diversity": 1 - covered[best]}
        place["reason"] = _reason(place, shares[compared[best]], names, table)
        rows.append(place)
        free[best] = False
        covered = np.maximum(covered, alike[best])
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Features:
    """What makes places alike: composition, scan, and where they are."""

    composition: np.ndarray
    scan: np.ndarray
    center: np.ndarray
    scans: int

    def take(self, index: np.ndarray) -> _Features:
        return _Features(self.composition[index], self.scan[index], self.center[index], self.scans)


def _features(table: pd.DataFrame, composition: np.ndarray, doubt: np.ndarray, *, scans: int) -> _Features:
    shares = [part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in (composition, doubt)]
    center = np.stack([(table[f"{dim}_start"] + table[f"{dim}_stop"]) / 2 for dim in SPACE], axis=1)
    # Square roots: the Euclidean distance of these is Hellinger's, in which small shares count.
    roots = np.sqrt(np.concatenate(shares, axis=1) / 2)
    return _Features(roots, table["scan"].to_numpy(), center, scans)


def _similarity(one: _Features, other: _Features) -> np.ndarray:
    """From 0 to 1 for each pair of places."""
    apart = np.maximum(
        (one.composition**2).sum(1)[:, None]
        + (other.composition**2).sum(1)[None]
        - 2 * one.composition @ other.composition.T,
        0,
    )
    later = np.abs(one.scan[:, None] - other.scan[None]) / max(one.scans - 1, 1)
    distance = np.zeros_like(apart)
    for axis in range(3):
        distance += (one.center[:, axis][:, None] - other.center[:, axis][None]) ** 2
    near = np.exp(-distance / (2 * _FAR**2)) * (later == 0)
    return np.asarray(
        np.exp(-apart / (2 * _UNLIKE**2))
        * np.exp(-((later / _LATER) ** 2) / 2)
        * (_ELSEWHERE + (1 - _ELSEWHERE) * near)
    )


def _reason(place: dict[str, Any], shares: np.ndarray, names: Sequence[str], table: pd.DataFrame) -> str:
    order = [i for i in np.argsort(-shares, kind="stable")[:2] if shares[i] >= 0.25 * shares.max()]
    parts = [" and ".join(f"{100 * shares[i]:.2g} % of all {names[i]}" for i in order) + " in doubt"]
    if not bool((table.loc[table["scan"] == place["scan"], "labeled"] > 0).any()):
        parts.append("nothing of this scan is labeled")
    elif place["diversity"] >= 0.5:
        parts.append("unlike what is labeled or listed above")
    return "; ".join(parts)
