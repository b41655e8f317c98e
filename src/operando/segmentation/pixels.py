"""A pixel classifier: features of the neighborhood and a forest, for a few hundred labeled voxels."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from operando import learn
from operando.core.blocks import Block, iter_blocks, label_counts
from operando.core.errors import FileError, InputError, PhaseError
from operando.core.files import written_whole
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
from operando.segmentation.features import SCALES, feature_halo, feature_names, features
from operando.segmentation.fitted import Scale, scan_scale, softmax
from operando.segmentation.forest import Forest, grow_forest
from operando.segmentation.strokes import draw_samples

KIND = "operando.segmentation.PixelClassifier"
_FORMAT = 1
_THICK = 8  # voxels along z from which an image is a volume, with features along z too
_TREES = "trees.npz"
_BLOCK = (32, 256, 256)
# How far the shares of the phases among the annotated voxels are believed, from 0 (all alike) to 1. Held-out strokes
# are lost from 0.5 on, and at 0 too much of a rare phase is found where nobody drew: docs/sparse-labels.md.
_BELIEF = 0.25


class PixelClassifier:
    """Phases by the look of each voxel's neighborhood, from points and strokes alone.

    Parameters
    ----------
    phases : PhaseScheme or mapping of str to int, optional
        Names and ids of the phases. Default: the values annotated, named ``class_0, class_1, ...``.
    scales : sequence of float
        Standard deviations of the Gaussians, in voxels: from the finest detail to the widest surroundings
        that tell phases apart. Blocks are read with a halo of six times the largest.
    trees : int
        Of the forest.
    smallest : int
        Annotated voxels in a leaf, at least.
    samples : int
        Annotated voxels learned from, at most, the same number of each phase.
    block : three ints
        Largest block (z, y, x) in voxels that is predicted at a time.
    seed : int
        Of the forest. Same seed, data and version of scikit-learn give the same labels.

    Attributes
    ----------
    phases_ : PhaseScheme
        What the labels mean.
    metrics_ : dict
        On annotated voxels, each judged by the trees that saw nothing of its stroke: ``iou`` per phase,
        ``macro``, ``total``, ``accuracy``, ``voxels``, and ``calibration_error``. A phase with
        one stroke has none.
    unseen_ : Dataset
        What those metrics come from: ``probability`` (sample, phase) and ``label`` (sample).
    card_ : dict
        What is saved beside the trees.

    Notes
    -----
    :func:`operando.segmentation.features.features` of every voxel, 33 numbers in a plane and 41 in a volume, go into
    extremely randomized trees (Geurts, Ernst and Wehenkel 2006), as in ilastik (Berg et al. 2019) and
    Trainable Weka Segmentation. Images of at least 8 voxels along z are volumes; thinner ones are read slice by
    slice.

    Trees are grown with every phase weighing the same, so that a rare one gets leaves of its own; then
    probabilities are multiplied by the fourth root of the shares of the phases among the annotated voxels:
    whoever draws strokes knows roughly what is rare. The temperature is fitted on unseen strokes and never makes
    probabilities surer, because strokes keep away from borders.

    It learns in seconds from what would leave a network guessing. It knows no place and no
    shape beyond its largest scale, so it cannot tell deposited from redeposited lithium; it reads about
    0.2 million voxels a second on one core. Once whole slices are labeled, train a network.

    Memory: per block ``4 * (features + 2 * classes)`` bytes a voxel, and about 50 bytes a voxel of the block with its
    halo; the volume is never held where it is lazy. Labels do not depend on blocks or chunks.

    Examples
    --------
    Two gray levels, a stroke in each:

    >>> rng = np.random.default_rng(0)
    >>> image = np.repeat([[0.0, 1.0]], 32, axis=1).repeat(64, axis=0) + 0.1 * rng.normal(size=(64, 64))
    >>> marks = np.full((64, 64), 255, np.uint8)
    >>> marks[10:20, 10], marks[30:40, 20], marks[10:20, 50], marks[30:40, 45] = 0, 0, 1, 1
    >>> labels = PixelClassifier({"electrolyte": 0, "electrode": 1}, scales=[1, 2]).fit(image, marks).predict(image)
    >>> labels.values[5, [5, 60]].tolist()
    [0, 1]
    """

    phases_: PhaseScheme
    metrics_: dict[str, Any]
    unseen_: xr.Dataset
    card_: dict[str, Any]

    def __init__(
        self,
        phases: PhaseScheme | Mapping[str, int] | None = None,
        *,
        scales: Sequence[float] = SCALES,
        trees: int = 100,
        smallest: int = 5,
        samples: int = 20_000,
        block: Sequence[int] = _BLOCK,
        seed: int = 0,
    ) -> None:
        self.phases = None if phases is None else PhaseScheme.of(phases)
        self.scales = tuple(float(scale) for scale in scales)
        self.trees, self.smallest, self.samples, self.seed = trees, smallest, samples, seed
        self.block = tuple(int(size) for size in block)
        if not self.scales or not all(0.3 <= scale <= 64 for scale in self.scales):
            raise InputError(
                f"PixelClassifier: scales must be from 0.3 to 64 voxels, got {self.scales}. The default is {SCALES}."
            )
        if min(trees, smallest, samples) < 1 or len(self.block) != 3 or min(self.block) < 1:
            raise InputError(
                "PixelClassifier: trees, smallest and samples must be at least 1 and block three positive sizes, got "
                f"{trees}, {smallest}, {samples} and {self.block}. The defaults are 100, 5, 20000 and {_BLOCK}."
            )

    def fit(self, images: Any, annotations: Any) -> Self:
        """Grow the forest on annotated voxels.

        Parameters
        ----------
        images : DataArray or array, dims ([t], [z], y, x)
            Gray values on any scale; each scan is normalized by itself.
        annotations : DataArray or array of uint8, same shape
            Ids of phases, 255 = unlabeled. Points, strokes or slices.

        Returns
        -------
        PixelClassifier
            Itself.

        Raises
        ------
        InputError, AxesError, PhaseError
            Where images and annotations do not fit, fewer than two phases are annotated, or an annotated
            value is no phase.

        Notes
        -----
        A stroke is what touches, by faces, edges or corners, with one label; it is cut at blocks of 64 x 512 x 512
        voxels. Reads the annotations once and those parts of the images that they lie in.
        """
        where = "PixelClassifier.fit"
        image = as_image(images, where=where)
        marks_image = as_annotations(annotations, image, where=where)
        scheme = annotated_phases(marks_image, self.phases, where=where)
        series, marks = as_series(image), as_series(marks_image)
        counts = label_counts(marks_image, where=where)
        ids = sorted(number for number in scheme.ids if counts[number])
        places, labels, strokes = draw_samples(marks, ids, limit=self.samples, seed=self.seed)
        classes = np.searchsorted(ids, labels)
        shares = counts[ids] / counts[ids].sum()
        self._volume = series.shape[1] >= _THICK
        self._forest, unseen = grow_forest(
            self._sampled(series, places),
            classes,
            strokes,
            count=len(ids),
            trees=self.trees,
            smallest=self.smallest,
            seed=self.seed,
        )
        self.phases_, self._ids = scheme, ids
        self._weight = _BELIEF * np.log(shares * len(ids))
        self._temperature = 1.0
        judged = np.isfinite(unseen[:, 0])
        scores = self._scores(unseen[judged])
        if judged.any():
            self._temperature = max(1.0, learn.fit_temperature(scores.T, classes[judged]))
            scores = scores / self._temperature
        self._measure(softmax(scores), classes[judged])
        self.card_ = {
            "kind": KIND,
            "format": _FORMAT,
            "phases": scheme.to_dict(),
            "classes": ids,
            "volume": bool(self._volume),
            "scales": list(self.scales),
            "features": list(feature_names(dims=3 if self._volume else 2, scales=self.scales)),
            "trees": self.trees,
            "weight": self._weight.tolist(),
            "temperature": self._temperature,
            "settings": {"smallest": self.smallest, "samples": self.samples, "seed": self.seed},
            "data": {
                "dims": [str(dim) for dim in image.dims],
                "shape": [int(size) for size in image.shape],
                "annotated_voxels": {scheme.name(number): int(counts[number]) for number in ids},
                "learned_from": {scheme.name(number): int((labels == number).sum()) for number in ids},
                "strokes": {scheme.name(number): int(np.unique(strokes[labels == number]).size) for number in ids},
                "simulated": bool(image.attrs.get("simulated", False)),
            },
            "split": {
                "kind": "stroke",
                "note": "each annotated voxel is judged by trees that saw nothing of its stroke",
            },
            "metrics": self.metrics_,
            "versions": versions(),
        }
        return self

    def _sampled(self, series: Any, places: np.ndarray) -> np.ndarray:
        """Features (n, feature) of voxels at ``places`` (n, 4)."""
        dims = 3 if self._volume else 2
        out = np.empty((len(places), len(feature_names(dims=dims, scales=self.scales))), np.float32)
        for scan in np.unique(places[:, 0]):
            scale = scan_scale(series[int(scan)])
            for block in iter_blocks(series.shape[1:], self.block, self._halo()):
                low = np.array([c.start for c in block.core])
                high = np.array([c.stop for c in block.core])
                inside = (places[:, 0] == scan) & ((places[:, 1:] >= low) & (places[:, 1:] < high)).all(axis=1)
                if not inside.any():
                    continue
                at = places[inside, 1:]
                # Only the box around the annotated voxels is worth computing.
                core = tuple(slice(int(a), int(b) + 1) for a, b in zip(at.min(axis=0), at.max(axis=0), strict=True))
                read = tuple(
                    slice(max(0, c.start - h), min(size, c.stop + h))
                    for c, h, size in zip(core, self._halo(), series.shape[1:], strict=True)
                )
                inner = tuple(slice(c.start - r.start, c.stop - r.start) for c, r in zip(core, read, strict=True))
                found = self._features(np.asarray(series[(int(scan), *read)]), inner, scale)
                sizes = [c.stop - c.start for c in core]
                out[inside] = found[np.ravel_multi_index(tuple((at - at.min(axis=0)).T), sizes)]
        return out

    def _halo(self) -> tuple[int, int, int]:
        halo = feature_halo(self.scales)
        return (halo if self._volume else 0, halo, halo)

    def _features(self, gray: np.ndarray, core: tuple[slice, ...], scale: Scale) -> np.ndarray:
        values = learn.normalized(gray, scale)
        if self._volume:
            return features(values, core, scales=self.scales)
        return np.concatenate([features(plane, core[1:], scales=self.scales) for plane in values[core[0]]])

    def _scores(self, chances: np.ndarray) -> np.ndarray:
        """Logits (class, n) out of the shares (n, class) that the trees give."""
        # A tree that says no is one of many: none of them makes a phase impossible.
        return np.asarray((np.log(chances + 0.5 / self.trees) + self._weight).T / self._temperature)

    def _measure(self, chances: np.ndarray, classes: np.ndarray) -> None:
        ids = np.array(self._ids, np.uint8)
        found = chances.argmax(axis=0)
        confusion = learn.confusion_matrix(ids[found], ids[classes], ids=self.phases_.ids)
        self.metrics_ = learn.summary(confusion, self.phases_)
        self.metrics_["calibration_error"] = learn.calibration_error(chances.max(axis=0), found == classes)
        self.unseen_ = xr.Dataset(
            {
                "probability": (("sample", "phase"), chances.T, {"units": "1"}),
                "label": ("sample", ids[classes], {"units": "1", "phases": self.phases_.to_dict()}),
            },
            coords={"phase": [self.phases_.name(number) for number in self._ids]},
        )

    def predict(self, image: Any) -> xr.DataArray:
        """Label every voxel.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of uint8, same dims and coordinates
            Ids of ``phases_``; 255 where the image is NaN. Lazy where the image is.
        """
        return self._predicted(image, "PixelClassifier.predict", probability=False)

    def predict_probability(self, image: Any) -> xr.DataArray:
        """Probability of every phase in every voxel.

        Parameters
        ----------
        image : DataArray or array, dims ([t], [z], y, x)

        Returns
        -------
        DataArray of float32, dims ([t], phase, [z], y, x)
            Sums to one over ``phase``; 0 for a phase that was never annotated, NaN where the image is
            NaN. Lazy where the image is.
        """
        return self._predicted(image, "PixelClassifier.predict_probability", probability=True)

    def _predicted(self, image: Any, where: str, *, probability: bool) -> xr.DataArray:
        if not hasattr(self, "_forest"):
            raise not_fitted("PixelClassifier")
        prepared = as_image(image, where=where)
        series = as_series(prepared)
        if self._volume and series.shape[1] < _THICK:
            raise InputError(
                f"{where}: this classifier was fitted on volumes and needs at least {_THICK} slices along z, got "
                f"{series.shape[1]}. Pass a volume, or fit one on single slices."
            )
        leading = (len(self.phases_),) if probability else ()
        dtype = np.dtype(np.float32 if probability else np.uint8)
        blocks = list(iter_blocks(series.shape[1:], self.block, self._halo()))
        attrs = {"provenance": record(where, {"card": learn.card_digest(self.card_)})}
        make = probability_image if probability else label_image
        if not hasattr(series, "dask"):
            out = np.empty((series.shape[0], *leading, *series.shape[1:]), dtype)
            for scan in range(series.shape[0]):
                scale = scan_scale(series[scan])
                for block in blocks:
                    gray = np.asarray(series[(scan, *block.read)])
                    out[scan][(..., *block.core)] = self._block(gray, block, scale, probability)
            return make(out, prepared, self.phases_, **attrs)
        import dask
        import dask.array as da

        counts = [-(-size // step) for size, step in zip(series.shape[1:], self.block, strict=True)]
        parts = []
        for scan in range(series.shape[0]):
            scale = dask.delayed(learn.gray_scale, pure=False)(learn.gray_columns(series[scan]))
            row = np.empty(len(blocks), object)
            for i, block in enumerate(blocks):
                made = dask.delayed(self._block, pure=False)(series[(scan, *block.read)], block, scale, probability)
                size = tuple(c.stop - c.start for c in block.core)
                row[i] = da.from_delayed(made, (*leading, *size), dtype)
            parts.append(da.block(row.reshape(counts).tolist()))
        return make(da.stack(parts), prepared, self.phases_, **attrs)

    def _block(self, gray: np.ndarray, block: Block, scale: Scale, probability: bool) -> np.ndarray:
        """Labels (z, y, x) or probabilities (phase, z, y, x) of a block's core."""
        sizes = tuple(c.stop - c.start for c in block.core)
        scores = self._scores(self._forest.chances(self._features(gray, block.inner, scale)))
        missing = np.isnan(gray[block.inner])
        if not probability:
            labels = np.array(self._ids, np.uint8)[scores.argmax(axis=0)].reshape(sizes)
            labels[missing] = UNLABELED
            return labels
        chances = np.zeros((len(self.phases_), *sizes), np.float32)
        chances[[self.phases_.ids.index(number) for number in self._ids]] = softmax(scores).reshape(-1, *sizes)
        chances[:, missing] = np.nan
        return chances

    def save(self, path: str | Path) -> None:
        """Write a folder with ``card.json`` and ``trees.npz``.

        Raises
        ------
        InputError
            Where it is not fitted yet.
        """
        if not hasattr(self, "_forest"):
            raise not_fitted("PixelClassifier")
        arrays: dict[str, Any] = self._forest.arrays()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        data = buffer.getvalue()
        with written_whole(path) as folder:
            learn.save_model(folder, {**self.card_, "trees_sha256": hashlib.sha256(data).hexdigest()})
            (folder / _TREES).write_bytes(data)

    @classmethod
    def load(cls, path: str | Path, *, block: Sequence[int] = _BLOCK) -> Self:
        """Read what :meth:`save` wrote. Nothing in it is executed.

        Raises
        ------
        FileError
            Where the card or the trees are absent, broken, or do not fit each other.
        """
        card = learn.load_card(path, kind=KIND)
        file = Path(path) / _TREES
        try:
            data = file.read_bytes()
        except OSError as error:
            raise FileError(f"{file}: the trees cannot be read ({error.strerror}). Save the model again.") from error
        if hashlib.sha256(data).hexdigest() != card.pop("trees_sha256", None):
            raise FileError(
                f"{file}: the trees must be the ones the card describes, but their checksum differs. "
                "The file was cut off or exchanged: copy the whole folder again."
            )
        try:
            phases = PhaseScheme.from_dict(card["phases"])
            ids = [int(number) for number in card["classes"]]
            settings = {key: int(card["settings"][key]) for key in ("smallest", "samples", "seed")}
            scales, trees = [float(scale) for scale in card["scales"]], int(card["trees"])
            classifier = cls(phases, scales=scales, trees=trees, block=block, **settings)
            classifier._volume, classifier._ids = bool(card["volume"]), ids
            classifier._weight = np.array(card["weight"], dtype=float)
            classifier._temperature = float(card["temperature"])
            if (
                card["format"] != _FORMAT
                or not set(ids) <= set(phases.ids)
                or classifier._weight.shape != (len(ids),)
                or not np.all(np.isfinite(classifier._weight))
                or not 0.01 < classifier._temperature < 100
            ):
                raise InputError(f"format {card['format']} and classes {ids} of {dict(phases)}")
            width = len(feature_names(dims=3 if classifier._volume else 2, scales=scales))
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                classifier._forest = Forest.from_arrays(arrays, trees=trees, features=width, classes=len(ids))
        except (KeyError, TypeError, ValueError, AttributeError, PhaseError) as error:
            raise FileError(
                f"{path}: the card has a field that cannot be used ({error}). Fit and save again."
            ) from error
        classifier.phases_, classifier.metrics_, classifier.card_ = phases, dict(card["metrics"]), card
        return classifier
