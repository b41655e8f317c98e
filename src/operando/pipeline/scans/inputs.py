"""What the files of the scans hold; headers only."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import electrochemistry, io
from operando.core.axes import SPACE, axis_spacing, labeled_image, spacing
from operando.core.errors import InputError
from operando.core.units import PIXEL
from operando.io.annotations import is_log
from operando.pipeline.scans.settings import Inputs, Tomography
from operando.pipeline.settings import Faults

_STITCH_SLACK = 4  # planes by which an overlap may be off: what operando.tomography.stitch searches


def image_paths(inputs: Inputs) -> list[str]:
    """The files of the series, in order."""
    if inputs.projections is not None:
        return [path for scan in inputs.projections for path in ([scan] if isinstance(scan, str) else scan)]
    assert inputs.images is not None
    return inputs.images if isinstance(inputs.images, list) else [inputs.images]


def open_series(inputs: Inputs) -> xr.DataArray:
    """The scans as one lazy (t, z, y, x) array: calibrated, timed, z along the electrodes' normal, cut to the region.

    Where projections are given the array has the grid of what will be reconstructed, and no values.
    """
    if (inputs.images is None) == (inputs.projections is None):
        raise InputError(
            "inputs: either 'images' or 'projections' must be given, got "
            f"{'neither' if inputs.images is None else 'both'}. Leave one of them out."
        )
    parts = _images(inputs) if inputs.projections is None else _unmade(inputs)
    first = parts[0]
    series = first if len(parts) == 1 else xr.concat(parts, dim="t", join="override", combine_attrs="override")
    scans = series.sizes["t"]
    if inputs.times_h is not None:
        if len(inputs.times_h) != scans:
            raise InputError(
                f"inputs.times_h: one time per scan is needed, got {len(inputs.times_h)} for {scans} scans."
            )
        series = series.assign_coords(t=("t", np.array(inputs.times_h), {"units": "h", "long_name": "Time"}))
    elif "t" not in series.coords or len(parts) > 1:
        series = series.assign_coords(t=("t", np.arange(scans, dtype=float), {"units": "1", "long_name": "Scan"}))
    return cut(along_z(series, inputs.electrode_normal), inputs)


def _images(inputs: Inputs) -> list[xr.DataArray]:
    parts = []
    for path in image_paths(inputs):
        part = io.open_image(path, voxel_size_um=inputs.voxel_size_um)
        dims = set(map(str, part.dims))
        if not set(SPACE) <= dims <= {"t", *SPACE}:
            raise InputError(
                f"{path}: images of a cell have the dims ([t], z, y, x), got {tuple(part.dims)}. "
                "Name the axes with: operando convert --dims t,z,y,x"
            )
        part = part if "t" in dims else part.expand_dims("t")
        # Times of single files are on no common clock.
        parts.append(part if len(image_paths(inputs)) == 1 else part.drop_vars("t", errors="ignore"))
    first = parts[0]
    for path, part in zip(image_paths(inputs), parts, strict=True):
        if not _alike(spacing(part, where="inputs.voxel_size_um"), spacing(first)):
            raise InputError(
                f"{path}: every scan must have the voxels of the first one, {spacing(first)} um, got {spacing(part)}. "
                "Resample it, or say with inputs.voxel_size_um what is right for all."
            )
        if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
            raise InputError(
                f"{path}: every scan must hold {first.shape[1:]} voxels of {first.dtype} as the first one does, got "
                f"{part.shape[1:]} of {part.dtype}. Crop or convert it first."
            )
    return parts


def _unmade(inputs: Inputs) -> list[xr.DataArray]:
    """Scans that are still to be reconstructed: the grid they will have, from the headers of their projections."""
    import dask.array as da

    assert inputs.projections is not None
    parts: list[xr.DataArray] = []
    for scan in inputs.projections:
        paths = [scan] if isinstance(scan, str) else scan
        if len(paths) > 1 and inputs.overlap_voxels is None:
            raise InputError(
                f"inputs.overlap_voxels: {len(paths)} files of one scan are to be stitched: how many rows neighbors "
                "share, about, must be given. Give it."
            )
        planes, width, size = 0, 0, 0.0
        for path in paths:
            frames = open_projections(path, inputs)["projections"]
            size, unit = axis_spacing(frames, "detector_x")
            if unit == PIXEL:
                raise InputError(
                    f"{path}: the file does not say what a pixel is at the sample. Give inputs.voxel_size_um."
                )
            if width not in (0, frames.sizes["detector_x"]):
                raise InputError(
                    f"{path}: all files must have {width} detector columns as the first, got "
                    f"{frames.sizes['detector_x']}. Crop them."
                )
            width = frames.sizes["detector_x"]
            planes += frames.sizes["detector_y"]
        # Whatever the overlap turns out to be, this many planes are there.
        planes -= (len(paths) - 1) * ((inputs.overlap_voxels or 0) + _STITCH_SLACK)
        values = da.zeros((1, planes, width, width), dtype=np.float32, chunks=(1, 64, 256, 256))
        parts.append(labeled_image(values, voxel_size_um=size, units="um-1"))
        if parts[-1].sizes != parts[0].sizes:
            raise InputError(
                f"inputs.projections: every scan must give {dict(parts[0].sizes)} voxels as the first one does, got "
                f"{dict(parts[-1].sizes)} from {paths}. Give as many rows and files for every scan."
            )
    return parts


def open_projections(path: str, inputs: Inputs) -> xr.Dataset:
    """Projections of one file with the frames that correct them; the voxel size of the recipe replaces the file's."""
    size = inputs.voxel_size_um
    if isinstance(size, list):
        raise InputError(
            f"inputs.voxel_size_um: projections have square pixels and make cubic voxels, got {size}. Give one number."
        )
    return io.open_projections(path, pixel_size_um=size)


def along_z(image: xr.DataArray, normal: str) -> xr.DataArray:
    """Name the axes so that the one normal to the electrodes is z; the other two keep their order."""
    if normal == "z":
        return image
    leading = [dim for dim in image.dims if dim not in SPACE]
    order = [normal, *(dim for dim in SPACE if dim != normal)]
    turned = image.transpose(*leading, *order)
    return turned.rename(dict(zip(order, ("_z", "_y", "_x"), strict=True))).rename({f"_{dim}": dim for dim in SPACE})


def _alike(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two voxel sizes are the same to a thousandth."""
    return all(abs(one[dim] - other[dim]) <= 1e-3 * other[dim] for dim in other)


def cut(array: xr.DataArray, inputs: Inputs) -> xr.DataArray:
    """Keep the region of the recipe."""
    for dim, (_, stop) in inputs.region.items():
        if stop > array.sizes[dim]:
            raise InputError(f"inputs.region: {dim} ends at voxel {array.sizes[dim]}, got {stop}. Make it smaller.")
    return array.isel({dim: slice(*ends) for dim, ends in inputs.region.items()})


def open_labels(path: str, inputs: Inputs, *, key: str, sizes: list[dict[Hashable, int]] | None = None) -> xr.DataArray:
    """Annotations or true labels, lazy, cut to the region: on the grid of the series as recorded, or of given sizes."""
    like = open_series(inputs)
    labels = io.open_annotations(path) if is_log(path) else io.open_image(path)
    of_registered = sizes is not None and dict(labels.sizes) in sizes and dict(labels.sizes) != dict(like.sizes)
    if inputs.projections is None and set(SPACE) <= set(labels.dims) and not of_registered:
        # Drawn on the images as they are given; on a reconstruction or registered scans they are drawn as these are.
        labels = along_z(labels, inputs.electrode_normal)
    if "t" not in labels.dims and like.sizes["t"] == 1:
        labels = labels.expand_dims("t")
    if labels.dtype != np.uint8:
        raise InputError(f"{key}: {path} must be uint8 with 255 = unlabeled, got {labels.dtype}. Convert it.")
    allowed = sizes or [dict(like.sizes)]
    if tuple(labels.dims) == tuple(like.dims) and dict(labels.sizes) not in allowed:
        labels = cut(labels, inputs)
    if tuple(labels.dims) != tuple(like.dims) or dict(labels.sizes) not in allowed:
        raise InputError(
            f"{key}: {path} must have one label per voxel of the images, {' or '.join(map(str, allowed))}, got "
            f"{dict(labels.sizes)}. Export it on the same grid; unlabeled voxels are 255."
        )
    if any(axis_spacing(labels, dim)[1] != PIXEL for dim in SPACE) and not _alike(spacing(labels), spacing(like)):
        raise InputError(
            f"{key}: {path} must have the voxels of the images, {spacing(like)} um, got {spacing(labels)}. Resample it."
        )
    return labels.assign_coords(like.coords) if labels.sizes == like.sizes else labels


def read_cycler(inputs: Inputs) -> pd.DataFrame:
    """The cycler's record on the clock of the scans."""
    assert inputs.cycler is not None
    columns: dict[str, Any] = {name: (_number(column), unit) for name, (column, unit) in inputs.cycler_columns.items()}
    table = electrochemistry.read_cycler(inputs.cycler, columns=columns or None)
    return table.assign(time_h=table["time_h"] + inputs.cycler_offset_h)


def _number(column: str) -> str | int:
    return int(column) if column.isdigit() else column


def times(series: xr.DataArray) -> np.ndarray | None:
    """Hours of each scan, or None where they are not known."""
    t = series.coords["t"]
    return np.asarray(t.values, dtype=float) if t.attrs.get("units") == "h" else None


def cycler_faults(inputs: Inputs, series: xr.DataArray | None) -> list[str]:
    """What the cycler's record gets wrong, by itself and against the times of the scans."""
    found = Faults()
    cycler = found.attempt("inputs.cycler", lambda: read_cycler(inputs))
    if cycler is not None and series is not None:
        hours = times(series)
        if hours is None:
            found.append(
                "inputs.times_h: a balance needs the time of each scan, which the images do not hold. "
                "Give the hours on the cycler's clock, or leave the cycler out."
            )
        elif hours[0] < (ends := cycler["time_h"].iloc[[0, -1]].tolist())[0] or hours[-1] > ends[1]:
            found.append(
                f"inputs.cycler: every scan must lie within the record ({ends[0]:g} to {ends[1]:g} h on the clock "
                f"of the scans), got scans from {hours[0]:g} to {hours[-1]:g} h. Correct inputs.cycler_offset_h or "
                "inputs.times_h."
            )
        else:
            found.attempt("inputs.cycler", lambda: electrochemistry.charge_between(cycler, hours))
    return found


def area_faults(active_area_cm2: float | None, series: xr.DataArray) -> list[str]:
    """What is wrong where the field of view is larger than the cell is said to be."""
    step = spacing(series)
    seen = 1e-8 * step["y"] * step["x"] * series.sizes["y"] * series.sizes["x"]
    if active_area_cm2 is None or seen <= 1.001 * active_area_cm2:
        return []
    return [
        f"cell.active_area_cm2: it must be at least the field of view, {seen:.3g} cm2, which cannot take more "
        f"than all of the current, got {active_area_cm2:g}. Correct it, cut off what is not cell "
        "with inputs.region, or leave it null where the whole cell is seen."
    ]


def tomography_faults(how: Tomography) -> list[str]:
    """What is wrong where phase retrieval is asked for without what it needs."""
    if how.delta_beta is None or (how.energy_kev is not None and how.distance_mm is not None):
        return []
    return [
        "tomography: phase retrieval needs energy_kev and distance_mm beside delta_beta. "
        "Give them, or leave delta_beta out."
    ]
