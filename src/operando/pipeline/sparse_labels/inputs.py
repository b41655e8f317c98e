"""What a ``sparse-labels`` recipe reads: a gray image, and label images in the values of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando import io
from operando.core.axes import require_dims
from operando.core.blocks import distinct_labels
from operando.core.errors import InputError
from operando.core.phases import UNLABELED
from operando.pipeline.sparse_labels.settings import Image, Labels

_OTHER = 254  # a value that stands for nothing


def open_gray(image: Image) -> xr.DataArray:
    """The gray image ([z], y, x), lazily."""
    gray = io.open_image(image.file, voxel_size_um=image.voxel_size_um)
    if "channel" in gray.dims:
        gray = gray.mean("channel", dtype=np.float32, keep_attrs=True)
    return _one_scan(gray, "image.file", image.file)


def open_values(path: str, labels: Labels, like: xr.DataArray, *, key: str) -> xr.DataArray:
    """A label image in the ids of the scheme: 255 where nobody labeled, 254 for values that stand for nothing."""
    values = _one_scan(io.open_image(path), key, path)
    if values.dtype.kind not in "iub" or values.shape != like.shape:
        raise InputError(
            f"{key}: {path} must hold whole numbers on the grid of the image {like.shape}, got {values.dtype} of "
            f"{values.shape}. Export the labels on the same grid, without scaling or colors."
        )
    table = np.full(256, _OTHER, np.uint8)
    table[labels.unlabeled] = UNLABELED
    for number, value in enumerate(labels.phases.values()):
        table[value] = number
    outside = ~((values >= 0) & (values <= 255))
    ids = xr.apply_ufunc(
        lambda array, away: np.where(away, np.uint8(_OTHER), table[np.where(away, 0, array).astype(np.intp)]),
        values,
        outside,
        dask="parallelized",
        output_dtypes=[np.uint8],
    )
    return ids.assign_coords(like.coords).assign_attrs(phases=labels.scheme)


def drawn(labels: Labels, gray: xr.DataArray, *, ignore_below: float | None) -> xr.DataArray:
    """What somebody labeled, checked; 255 elsewhere. Reads the labels once."""
    marks = open_values(labels.file, labels, gray, key="labels.file")
    present = set(distinct_labels(marks).tolist())
    if _OTHER in present:
        known = {**labels.phases, "unlabeled": labels.unlabeled}
        raise InputError(
            f"labels.phases: every value in {labels.file} must be one of {known}, got others too. "
            "Name them, or remove them from the file."
        )
    absent = [name for number, name in enumerate(labels.phases) if number not in present]
    if absent:
        raise InputError(
            f"labels.phases: {labels.file} must hold voxels of every phase, got none of {absent}. "
            "Label some, or leave the phase out."
        )
    return marks if ignore_below is None else marks.where(gray >= ignore_below, UNLABELED).astype(np.uint8)


def reference(path: str, labels: Labels, gray: xr.DataArray) -> xr.DataArray:
    """Labels to compare with; 255 where they say nothing of these phases."""
    told = open_values(path, labels, gray, key="reference.file")
    return told.where(told != _OTHER, UNLABELED).astype(np.uint8).assign_attrs(phases=labels.scheme)


def _one_scan(image: xr.DataArray, key: str, path: Any) -> xr.DataArray:
    for dim in ("t", "z"):
        if image.sizes.get(dim) == 1:
            image = image.isel({dim: 0}, drop=True)
    require_dims(image, ("y", "x"), optional=("z",), where=f"{key}: {path}")
    return image
