"""How well labels agree, streaming over blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.core.phases import UNLABELED, PhaseScheme

_BACKGROUNDS = ("electrolyte", "background")


def confusion_matrix(prediction: Any, truth: Any, *, ids: Any, block: int = 128) -> np.ndarray:
    """Count how truth was predicted, ignoring voxels that are 255 in the truth.

    Parameters
    ----------
    prediction, truth : uint8 arrays or dask arrays of one shape
        255 in the truth = unlabeled; 255 in the prediction counts as a miss.
    ids : sequence of int
        Labels of the classes. Any other label in the truth is an error.
    block : int
        Side of the blocks that are read at a time, in voxels.

    Returns
    -------
    ndarray of int64, (n, n + 1)
        Rows are truth, columns prediction; the last column holds what was predicted as none of ``ids``.

    Raises
    ------
    InputError
        Where the shapes differ or the truth holds labels that are not in ``ids``.

    Examples
    --------
    >>> confusion_matrix(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 255]], np.uint8), ids=[0, 1]).tolist()
    [[1, 1, 0], [0, 0, 0]]
    """
    if tuple(prediction.shape) != tuple(truth.shape):
        raise InputError(
            f"confusion_matrix: prediction and truth must have one shape, got {tuple(prediction.shape)} and "
            f"{tuple(truth.shape)}. Select the same scans and region of both."
        )
    ids = [int(number) for number in ids]
    count = len(ids)
    place = np.full(256, count, np.int64)
    place[ids] = np.arange(count)
    counts = np.zeros((count + 1, count + 1), np.int64)
    for part in iter_blocks(truth.shape, (block,) * len(truth.shape)):
        told = np.asarray(truth[part.core]).ravel()
        known = told != UNLABELED
        if known.any():
            guessed = place[np.asarray(prediction[part.core]).ravel()[known]]
            told = place[told[known]]
            counts += np.bincount(told * (count + 1) + guessed, minlength=(count + 1) ** 2).reshape(counts.shape)
    if counts[count].any():
        raise InputError(
            f"confusion_matrix: every label of the truth must be one of {ids} or {UNLABELED}, got "
            f"{int(counts[count].sum())} voxels of other labels. Add them to the phases."
        )
    return counts[:count]


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class; NaN where a class is in neither truth nor prediction.

    Examples
    --------
    >>> intersection_over_union(np.array([[3, 1, 0], [0, 4, 0]])).tolist()
    [0.75, 0.8]
    """
    count = confusion.shape[0]
    hits = np.diagonal(confusion)[:count].astype(float)
    union = confusion.sum(axis=1) + confusion[:, :count].sum(axis=0) - hits
    return np.divide(hits, union, out=np.full(count, np.nan), where=union > 0)


def macro_iou(confusion: np.ndarray) -> float:
    """Mean IoU over the classes that are in the truth; NaN where there is none.

    A class that is only in the prediction costs the class it was taken from, but has no IoU of its
    own to average.

    Examples
    --------
    >>> macro_iou(np.array([[3, 1, 0], [0, 4, 0]]))
    0.775
    """
    values = intersection_over_union(confusion)[confusion.sum(axis=1) > 0]
    return float(values.mean()) if values.size else float("nan")


def accuracy(confusion: np.ndarray) -> float:
    """Fraction of labeled voxels predicted right; NaN where none is labeled.

    Examples
    --------
    >>> accuracy(np.array([[3, 1, 0], [0, 4, 0]]))
    0.875
    """
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def total_iou(confusion: np.ndarray, *, background: int | None) -> float:
    """Huang's "total": foreground true positives over all labeled voxels but true background.

    Parameters
    ----------
    confusion : ndarray (n, n + 1)
    background : int or None
        Row of the background class; None where there is none, and then this is the accuracy.

    Notes
    -----
    A micro figure: large phases dominate it. Huang et al. (2023), Supplementary Table 1. Quote it
    beside the macro IoU, never instead.

    Examples
    --------
    >>> total_iou(np.array([[3, 1, 0], [0, 4, 0]]), background=0)
    0.8
    """
    total, hits = float(confusion.sum()), float(np.trace(confusion))
    right_background = 0.0 if background is None else float(confusion[background, background])
    return (hits - right_background) / (total - right_background) if total > right_background else float("nan")


def background_index(phases: PhaseScheme) -> int | None:
    """Place of the background among the phases: electrolyte, background, or else the id 0.

    Examples
    --------
    >>> background_index(PhaseScheme({"electrode": 1, "electrolyte": 0}))
    1
    """
    for name in _BACKGROUNDS:
        if name in phases:
            return phases.names.index(name)
    return phases.ids.index(0) if 0 in phases.ids else None


def summary(confusion: np.ndarray, phases: PhaseScheme) -> dict[str, Any]:
    """IoU per phase, macro, total and accuracy as plain numbers; None where not defined.

    Examples
    --------
    >>> scores = summary(np.array([[3, 1, 0], [0, 4, 0]]), PhaseScheme({"electrolyte": 0, "electrode": 1}))
    >>> scores["iou"], scores["macro"], scores["total"]
    ({'electrolyte': 0.75, 'electrode': 0.8}, 0.775, 0.8)
    """
    per_class = intersection_over_union(confusion)
    numbers = {
        "macro": macro_iou(confusion),
        "total": total_iou(confusion, background=background_index(phases)),
        "accuracy": accuracy(confusion),
    }
    return {
        "iou": {name: _plain(value) for name, value in zip(phases.names, per_class, strict=True)},
        **{key: _plain(value) for key, value in numbers.items()},
        "voxels": int(confusion.sum()),
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
