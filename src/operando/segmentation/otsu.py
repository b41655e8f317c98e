"""Thresholds on gray values alone: the baseline that stands beside every network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from operando import learn
from operando.core.blocks import distinct_labels, iter_blocks
from operando.core.errors import FileError, InputError, PhaseError
from operando.core.phases import UNLABELED, PhaseScheme
from operando.core.provenance import record, versions
from operando.segmentation.contract import (
    annotated_phases,
    as_annotations,
    as_image,
    as_series,
    label_image,
    not_fitted,
    probability_image,
)

KIND = "operando.segmentation.Otsu"
_BLOCK = 128


def multi_otsu(counts: np.ndarray, *, classes: int) -> list[int]:
    """Split a histogram into classes of the least variance within.

    Parameters
    ----------
    counts : ndarray, (bins,)
        Voxels per gray bin; bins are evenly spaced.
    classes : int
        At least 2.

    Returns
    -------
    list of int
        First bin of each class but the lowest, increasing, ``classes - 1`` of them.

    Raises
    ------
    InputError
        Where the histogram has fewer filled bins than ``classes``.

    Notes
    -----
    The exact optimum of Liao, Chen and Chung (2001), by dynamic programming in ``classes * bins**2``
    steps instead of a search over all combinations.

    Examples
    --------
    >>> multi_otsu(np.array([5, 5, 0, 0, 7, 0, 0, 4]), classes=3)
    [4, 7]
    """
    counts = np.asarray(counts, dtype=float)
    filled = np.flatnonzero(counts)
    if not 2 <= classes <= filled.size:
        raise InputError(
            f"multi_otsu: from 2 classes to as many as there are distinct gray bins ({filled.size}) are possible, "
            f"got {classes}. Use fewer classes."
        )
    # Empty bins change no variance: work on the filled ones and split at the next filled bin.
    number, sums = np.cumsum(counts[filled]), np.cumsum(counts[filled] * filled)
    number, sums = np.concatenate([[0.0], number]), np.concatenate([[0.0], sums])
    size = filled.size
    count = number[None, :] - number[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Between-class variance of one class over the bins first..last-1, up to a constant.
        gain = np.where(count > 0, (sums[None, :] - sums[:, None]) ** 2 / count, -np.inf)
    best, origins = gain[0], []
    for _ in range(classes - 1):
        candidates = best[:, None] + gain
        origin = np.argmax(candidates, axis=0)
        best = candidates[origin, np.arange(size + 1)]
        origins.append(origin)
    last, starts = size, []
    for origin in reversed(origins):
        last = int(origin[last])
        starts.append(int(filled[last]))
    return starts[::-1]


class Otsu:
    """Multi-Otsu thresholds, with the bins given to phases as kindly as possible.

    Parameters
    ----------
    phases : PhaseScheme or mapping of str to int, optional
        Names and ids. Default: the values annotated, or one class per bin.
    classes : int, optional
        Bins of gray. Default: as many as there are annotated phases, or 3 without annotations.
    bins : int
        Of the histogram that the thresholds are found in.
    sample : int
        Voxels that the histogram is made of, at most.
    seed : int
        Of that sample.

    Attributes
    ----------
    phases_ : PhaseScheme
        What the labels mean.
    thresholds_ : ndarray of float, (classes - 1,)
        Gray values between the bins, increasing; a voxel equal to a threshold is above it.
    bin_ids_ : ndarray of uint8, (classes,)
        Id given to each bin, darkest first.
    card_ : dict
        What is saved.

    Notes
    -----
    Gray alone cannot tell phases of one gray value apart, wherever they lie: this is the figure a
    network has to beat. Bins are assigned to phases by the Hungarian algorithm so that the summed IoU
    over annotated voxels is the largest possible; a bin left over goes to the phase that most of its
    annotated voxels belong to, and a phase left over is never predicted.

    Otsu (1979); Liao, Chen and Chung (2001).

    Examples
    --------
    >>> image = np.array([[[0.0, 0.1, 5.0, 5.1]]])
    >>> marks = np.array([[[4, 255, 255, 2]]], np.uint8)
    >>> Otsu().fit(image, marks).predict(image).values.tolist()
    [[[4, 4, 2, 2]]]
    """

    phases_: PhaseScheme
    thresholds_: np.ndarray
    bin_ids_: np.ndarray
    card_: dict[str, Any]

    def __init__(
        self,
        phases: PhaseScheme | Mapping[str, int] | None = None,
        *,
        classes: int | None = None,
        bins: int = 256,
        sample: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        self.phases = None if phases is None else PhaseScheme.of(phases)
        self.classes = classes
        self.bins = bins
        self.sample = sample
        self.seed = seed
        if (classes is not None and classes < 2) or bins < 2 or sample < 1:
            raise InputError(
                f"Otsu: classes and bins must be at least 2 and sample at least 1, got {classes}, {bins} and {sample}. "
                "The defaults are None, 256 and 1000000."
            )

    def fit(self, images: Any, annotations: Any = None) -> Self:
        """Find thresholds, and what the bins between them mean.

        Parameters
        ----------
        images : DataArray or array, dims ([t], [z], y, x)
        annotations : DataArray or array of uint8, same shape, optional
            255 = unlabeled. Without them the bins are numbered from the darkest, or take the ids of
            ``phases`` in rising order.

        Returns
        -------
        Otsu
            Itself.

        Notes
        -----
        Reads the images once, one block of at most 128^3 voxels at a time, and the annotated blocks a
        second time.
        """
        where = "Otsu.fit"
        image = as_image(images, where=where)
        marks = None if annotations is None else as_annotations(annotations, image, where=where)
        series = as_series(image)
        if marks is not None:
            scheme = annotated_phases(marks, self.phases, where=where)
            classes = self.classes or int(np.isin(scheme.ids, distinct_labels(marks)).sum())
        else:
            classes = self.classes or (len(self.phases) if self.phases is not None else 3)
            scheme = self.phases or PhaseScheme({f"class_{i}": i for i in range(classes)})
            if len(scheme) < classes:
                raise InputError(
                    f"Otsu.fit: without annotations there must be a phase per bin, got {len(scheme)} phases for "
                    f"{classes} bins. Pass annotations, or classes={len(scheme)}."
                )
        values = self._draw(series)
        if values.size == 0:
            raise InputError("Otsu.fit: the images must hold finite gray values, got none. Check what was read.")
        low, high = float(values.min()), float(values.max())
        counts, edges = np.histogram(values, bins=self.bins, range=(low, high) if high > low else None)
        self.thresholds_ = edges[multi_otsu(counts, classes=classes)]
        self.phases_ = scheme
        if marks is None:
            self.bin_ids_ = np.array(sorted(scheme.ids)[:classes], np.uint8)
        else:
            self.bin_ids_ = self._assign(series, as_series(marks))
        self.card_ = {
            "kind": KIND,
            "format": 1,
            "phases": scheme.to_dict(),
            "thresholds": [float(value) for value in self.thresholds_],
            "bin_ids": [int(value) for value in self.bin_ids_],
            "data": {
                "shape": [int(n) for n in image.shape],
                "annotated": marks is not None,
                "sampled": int(values.size),
            },
            "settings": {"bins": self.bins, "sample": self.sample, "seed": self.seed},
            "versions": versions(),
        }
        return self

    def _draw(self, series: Any) -> np.ndarray:
        """Random finite gray values, the same share of every block."""
        rng = np.random.default_rng(self.seed)
        share = min(1.0, self.sample / series.size)
        drawn = []
        for block in iter_blocks(series.shape, (1, _BLOCK, _BLOCK, _BLOCK)):
            values = np.asarray(series[block.core]).ravel()
            if share < 1:
                values = rng.choice(values, size=max(1, round(share * values.size)), replace=False, shuffle=False)
            values = values.astype(np.float64)
            drawn.append(values[np.isfinite(values)])
        return np.concatenate(drawn)

    def _assign(self, series: Any, marks: Any) -> np.ndarray:
        from scipy.optimize import linear_sum_assignment

        bins = len(self.thresholds_) + 1
        together = np.zeros((bins, UNLABELED), np.int64)
        for block in iter_blocks(series.shape, (1, _BLOCK, _BLOCK, _BLOCK)):
            told = np.asarray(marks[block.core])
            known = told != UNLABELED
            if known.any():
                values = np.asarray(series[block.core])[known]
                finite = np.isfinite(values)
                index = np.searchsorted(self.thresholds_, values[finite], side="right")
                flat = index * UNLABELED + told[known][finite]
                together += np.bincount(flat, minlength=together.size).reshape(together.shape)
        ids = np.array(self.phases_.ids)
        overlap = together[:, ids].astype(float)
        union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
        iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
        chosen = ids[overlap.argmax(axis=1)]
        rows, columns = linear_sum_assignment(iou, maximize=True)
        chosen[rows] = ids[columns]
        return chosen.astype(np.uint8)

    def predict(self, image: Any) -> xr.DataArray:
        """Label every voxel by its gray value; 255 where it is NaN. Lazy where the image is.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of uint8, same dims and coordinates
        """
        if not hasattr(self, "thresholds_"):
            raise not_fitted("Otsu")
        prepared = as_image(image, where="Otsu.predict")
        data = prepared.data
        labels = data.map_blocks(self._label, dtype=np.uint8) if hasattr(data, "dask") else self._label(prepared.values)
        return label_image(labels, prepared, self.phases_, provenance=self._record("Otsu.predict"))

    def _label(self, values: np.ndarray) -> np.ndarray:
        labels = self.bin_ids_[np.searchsorted(self.thresholds_, values, side="right")]
        labels[np.isnan(values)] = UNLABELED
        return labels

    def predict_probability(self, image: Any) -> xr.DataArray:
        """1 for the phase of each voxel and 0 for the others: thresholds know no doubt.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of float32, dims ([t], phase, [z], y, x)
        """
        labels = self.predict(image)
        axis = 1 if "t" in labels.dims else 0
        where = tuple(None if i == axis else slice(None) for i in range(labels.ndim + 1))
        ids = np.array(self.phases_.ids).reshape([-1 if i == axis else 1 for i in range(labels.ndim + 1)])
        chances = (labels.data[where] == ids).astype(np.float32)
        return probability_image(chances, labels, self.phases_, provenance=self._record("Otsu.predict_probability"))

    def _record(self, function: str) -> str:
        return record(function, {"card": learn.card_digest(self.card_)})

    def save(self, path: str | Path) -> None:
        """Write a folder with ``card.json``."""
        if not hasattr(self, "thresholds_"):
            raise not_fitted("Otsu")
        learn.save_model(path, self.card_)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileError
            Where the card is absent or broken.
        """
        card = learn.load_card(path, kind=KIND)
        try:
            phases = PhaseScheme.from_dict(card["phases"])
            thresholds = np.array(card["thresholds"], dtype=float)
            bin_ids = np.array(card["bin_ids"], dtype=np.int64)
            if (
                thresholds.ndim != 1
                or bin_ids.shape != (thresholds.size + 1,)
                or not np.all(np.isfinite(thresholds))
                or np.any(np.diff(thresholds) <= 0)
                or not set(bin_ids.tolist()) <= set(phases.ids)
            ):
                raise InputError(f"{thresholds.tolist()} thresholds for the bins {bin_ids.tolist()}")
            settings = {key: int(card["settings"][key]) for key in ("bins", "sample", "seed")}
            segmenter = cls(phases, classes=int(bin_ids.size), **settings)
        except (KeyError, TypeError, ValueError, AttributeError, PhaseError) as error:
            raise FileError(
                f"{path}: the card has a field that cannot be used ({error}). Fit and save again."
            ) from error
        segmenter.phases_, segmenter.thresholds_ = phases, thresholds
        segmenter.bin_ids_, segmenter.card_ = bin_ids.astype(np.uint8), card
        return segmenter
