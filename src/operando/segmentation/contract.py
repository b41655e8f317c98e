"""What every segmenter can do, and what it may be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image, require_dims
from operando.core.blocks import label_counts
from operando.core.errors import AxesError, InputError
from operando.core.phases import UNLABELED, PhaseScheme

SERIES = ("t", "z", "y", "x")


@runtime_checkable
class Segmenter(Protocol):
    """Learns phases from annotated images and finds them in others.

    Images have dims ([t], [z], y, x): a DataArray, or an array that is given these dims. Annotations
    are ``uint8`` of the same shape, 255 = unlabeled.
    """

    phases_: PhaseScheme
    """Phases that labels and probabilities refer to, known once fitted."""

    def fit(self, images: Any, annotations: Any) -> Self:
        """Learn from annotated voxels and return itself."""
        ...

    def predict(self, image: Any) -> xr.DataArray:
        """Label every voxel: ``uint8``, dims and coordinates of the image, lazy where that is."""
        ...

    def predict_probability(self, image: Any) -> xr.DataArray:
        """Probability of every phase: ``float32``, dims ([t], phase, [z], y, x)."""
        ...

    def save(self, path: str | Path) -> None:
        """Write a folder that :meth:`load` reads."""
        ...

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        ...


def as_image(image: Any, *, where: str) -> xr.DataArray:
    """Check an image, or give a bare array its dims (the last of t, z, y, x)."""
    if not isinstance(image, xr.DataArray):
        array = image if hasattr(image, "dtype") and hasattr(image, "ndim") else np.asarray(image)
        if not 2 <= array.ndim <= 4:
            raise AxesError(
                f"{where}: an image of 2 to 4 dims ([t], [z], y, x) is needed, got {array.ndim}. Reshape it."
            )
        image = labeled_image(array)
    require_dims(image, ("y", "x"), optional=("t", "z"), where=where)
    if image.dtype.kind not in "fiub":
        raise InputError(f"{where}: gray values must be real numbers, got {image.dtype}. Take the magnitude first.")
    if 0 in image.shape:
        raise InputError(f"{where}: the image must not be empty, got the shape {image.shape}. Check the selection.")
    return image.transpose(*(dim for dim in SERIES if dim in image.dims))


def as_series(image: xr.DataArray) -> Any:
    """Bare array of an image with all of (t, z, y, x)."""
    data = image.data
    for axis, dim in enumerate(SERIES):
        if dim not in image.dims:
            data = data[(slice(None),) * axis + (None,)]
    return data


def as_annotations(annotations: Any, image: xr.DataArray, *, where: str) -> xr.DataArray:
    """Check annotations against the image they belong to."""
    if isinstance(annotations, xr.DataArray):
        require_dims(annotations, [str(dim) for dim in image.dims], where=f"{where}: annotations")
        annotations = annotations.transpose(*image.dims)
    else:
        annotations = annotations if hasattr(annotations, "dtype") else np.asarray(annotations)
    if tuple(annotations.shape) != tuple(image.shape):
        raise AxesError(
            f"{where}: annotations must have the shape of the images {tuple(image.shape)}, "
            f"got {tuple(annotations.shape)}. Fill what nobody labeled with {UNLABELED}."
        )
    if annotations.dtype != np.uint8:
        raise InputError(
            f"{where}: annotations must be uint8 with {UNLABELED} = unlabeled, got {annotations.dtype}. "
            "Convert them with .astype('uint8') after checking that no id exceeds 254."
        )
    if isinstance(annotations, xr.DataArray):
        return annotations
    return xr.DataArray(annotations, dims=image.dims)


def annotated_phases(
    annotations: xr.DataArray | Sequence[xr.DataArray],
    phases: PhaseScheme | Mapping[str, int] | None,
    *,
    where: str,
) -> PhaseScheme:
    """Scheme of what was annotated: the one given, or ``class_0, class_1, ...`` by the values found.

    Several label images count together.

    Raises
    ------
    InputError
        Where fewer than two classes are annotated.
    PhaseError
        Where an annotated value is no phase.
    """
    each = [annotations] if isinstance(annotations, xr.DataArray) else list(annotations)
    counts = np.sum([label_counts(labels, where=where) for labels in each], axis=0)
    present = [int(value) for value in np.flatnonzero(counts) if value != UNLABELED]
    if len(present) < 2:
        raise InputError(
            f"{where}: at least two phases must be annotated, got the labels {present}. "
            f"Label a few voxels of each phase and leave the rest {UNLABELED}."
        )
    if phases is None:
        return PhaseScheme({f"class_{value}": value for value in present})
    scheme = PhaseScheme.of(phases)
    for labels in each:
        scheme.check(labels, where=f"{where}: annotations")
    return scheme


def label_image(data: Any, image: xr.DataArray, phases: PhaseScheme, **attrs: Any) -> xr.DataArray:
    """Labels with the dims and coordinates of the image they were found in."""
    data = data.reshape(image.shape)
    described = {"units": "1", "long_name": "Phase", "phases": phases.to_dict(), **attrs}
    for key in ("plating_side", "simulated"):
        if key in image.attrs:
            described[key] = image.attrs[key]
    return xr.DataArray(data, dims=image.dims, coords=image.coords, name="labels", attrs=described)


def probability_image(data: Any, image: xr.DataArray, phases: PhaseScheme, **attrs: Any) -> xr.DataArray:
    """Probabilities (t, phase, z, y, x) with the coordinates of the image and the names of the phases."""
    dims = tuple(dim for dim in image.dims if dim == "t") + ("phase",) + tuple(d for d in image.dims if d != "t")
    shape = [len(phases) if dim == "phase" else image.sizes[dim] for dim in dims]
    return xr.DataArray(
        data.reshape(shape),
        dims=dims,
        coords={**image.coords, "phase": list(phases.names)},
        name="probability",
        attrs={"units": "1", "long_name": "Probability", "phases": phases.to_dict(), **attrs},
    )


def not_fitted(name: str) -> InputError:
    """The error of a segmenter that has learned nothing yet."""
    return InputError(
        f"{name}: the segmenter must be fitted first. Call fit(images, annotations), or load a saved one."
    )
