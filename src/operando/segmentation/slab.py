"""The lithium of one electrode, cut out of a cell and turned so that both electrodes look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.errors import AxesError, InputError, UnitsError, nearest
from operando.core.phases import UNLABELED
from operando.core.provenance import record
from operando.learn import gray_columns

ELECTRODES = ("low", "high")
_CLIP = 4.0  # robust standard deviations from the median of the lithium at which its gray is cut off
_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


def lithium_slab(
    image: xr.DataArray, boundaries: xr.DataArray, *, electrode: str, margin_um: float = 0.0, labels: bool = False
) -> xr.DataArray:
    """Cut the lithium of one electrode out of a cell, with the collector at low z.

    Parameters
    ----------
    image : DataArray, dims ([t], z, y, x)
        Gray values, or labels. May be lazy.
    boundaries : DataArray, dims ([t], component, y, x), units "um"
        Positions along z of ``"low collector"``, ``"low interface"``, ``"high interface"`` and ``"high collector"``, as
        :func:`operando.morphometry.electrode_boundaries` gives them. NaN where unknown.
    electrode : {"low", "high"}
    margin_um : float
        How far beyond both boundaries voxels are kept, in um; negative to leave out what is near them.
    labels : bool
        Whether the image holds labels (uint8): these are not cut off, and 255 where gray would be NaN.

    Returns
    -------
    DataArray, dims as given
        From the outermost collector to the innermost interface of the series, the high electrode mirrored along z.
        Voxels whose center is not in the lithium are NaN (255 in labels). Gray is float and cut off four robust
        standard deviations from the median of the scan's lithium. The coordinate ``z`` starts at 0 at the collector's
        end; the coordinates ``electrode`` and ``z_start`` (first voxel in the cell) are what :func:`slabs_to_cell`
        needs, and pass through a segmenter.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where electrode or boundaries do not fit, or the voxel size is not known.

    Notes
    -----
    Steel and ceramic are several times as bright as lithium and pores differ. Without them, and with less of the
    voxels that blur mixes with them, gray is on a scale on which a pore is visible, and a segmenter that normalizes
    each scan by itself sees the same lithium in both electrodes and all steps.

    Reads a sample of about 131,000 voxels per scan for the cut-off, and the boundaries; the rest is lazy where the
    image is. Holds the boundaries.

    Do not trust porosity at the rim of a slab whose boundaries are off by a voxel: ceramic counted as lithium
    is bright, never a pore, but a gap counted as ceramic is lost.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> image = labeled_image(np.array([9, 1, 2, 5, 5, 4, 3, 9], np.float32).reshape(8, 1, 1), voxel_size_um=1.0)
    >>> planes = xr.DataArray([0.5, 2.5, 4.5, 6.5], dims="component", attrs={"units": "um"},
    ...     coords={"component": ["low collector", "low interface", "high interface", "high collector"]})
    >>> planes = planes.expand_dims(y=image.y, x=image.x).transpose("component", "y", "x")
    >>> lithium_slab(image, planes, electrode="high").values.ravel().tolist()
    [3.0, 4.0]
    """
    where = "lithium_slab"
    require_dims(image, SPACE, optional=("t",), where=where)
    if electrode not in ELECTRODES:
        raise InputError(f"{where}: there is no electrode {electrode!r}. {nearest(str(electrode), ELECTRODES)}")
    if labels and image.dtype != np.uint8:
        raise InputError(f"{where}: a label image is uint8, got {image.dtype}. Pass labels=False for gray values.")
    low, high = _limits(boundaries, electrode, image, where)
    step, _ = axis_spacing(image, "z", where=where)
    z = image["z"]
    touched = (z.values >= float(low.min()) - margin_um) & (z.values < float(high.max()) + margin_um)
    if not touched.any():
        raise InputError(
            f"{where}: the boundaries of the {electrode!r} electrode enclose no voxel, got z from {float(low.min()):g} "
            f"to {float(high.max()):g} um in an image from {float(z[0]):g} to {float(z[-1]):g} um. Check them."
        )
    start, stop = int(np.flatnonzero(touched)[0]), int(np.flatnonzero(touched)[-1]) + 1
    cut = image.isel(z=slice(start, stop))
    inside = (cut["z"] >= low - margin_um) & (cut["z"] < high + margin_um)
    slab = cut.where(inside, np.uint8(UNLABELED)) if labels else _cut_off(_as_float(cut).where(inside))
    slab = slab.transpose(*image.dims)
    if electrode == "high":
        slab = slab.isel(z=slice(None, None, -1))
    depth = (
        "z",
        step * np.arange(stop - start),
        {**z.attrs, "spacing": step, "long_name": "Height above the collector"},
    )
    slab = slab.assign_coords(z=depth, electrode=electrode, z_start=start)
    provenance = record(f"operando.segmentation.{where}", {"electrode": electrode, "margin_um": margin_um})
    return slab.assign_attrs({**image.attrs, "provenance": provenance})


def _limits(
    boundaries: xr.DataArray, electrode: str, image: xr.DataArray, where: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Lower and upper end of the lithium, ([t], y, x) in um, on the grid of the image."""
    require_dims(boundaries, ("component", "y", "x"), optional=("t",), where=f"{where}: boundaries")
    _, unit = axis_spacing(image, "z", where=where)
    if unit != "um" or boundaries.attrs.get("units") != "um":
        raise UnitsError(
            f"{where}: image and boundaries must be in um, got {unit} and {boundaries.attrs.get('units')}. "
            "Use operando.calibrate(image, voxel_size_um=...) before the boundaries are found."
        )
    names = [f"{electrode} collector", f"{electrode} interface"]
    if electrode == "high":
        names.reverse()
    known = [str(name) for name in boundaries["component"].values]
    if any(boundaries.sizes[dim] != image.sizes.get(dim) for dim in boundaries.dims if dim != "component"):
        raise AxesError(
            f"{where}: boundaries must be on the grid of the image {dict(image.sizes)}, got {dict(boundaries.sizes)}. "
            "Find them in this image."
        )
    for name in names:
        if name not in known:
            raise InputError(f"{where}: boundaries lack the component {name!r}. {nearest(name, known)}")
    found = []
    for name in names:
        # By position: coordinates that went through float32 are no longer equal.
        plane = boundaries.isel(component=known.index(name)).drop_vars(list(boundaries.coords))
        if image.chunks is not None:
            sizes = dict(zip(image.dims, image.chunks, strict=True))
            plane = plane.compute().chunk({dim: sizes[dim] for dim in plane.dims})
        found.append(plane)
    return found[0], found[1]


def _as_float(image: xr.DataArray) -> xr.DataArray:
    return image if image.dtype.kind == "f" else image.astype(np.float32)


def _cut_off(slab: xr.DataArray) -> xr.DataArray:
    scans = [slab.isel(t=scan) for scan in range(slab.sizes["t"])] if "t" in slab.dims else [slab]
    limits = []
    for scan in scans:
        values = np.asarray(gray_columns(scan.transpose(*SPACE).data), dtype=np.float64)
        values = values[np.isfinite(values)]
        middle = float(np.median(values)) if values.size else np.nan
        reach = _CLIP * _MAD * float(np.median(np.abs(values - middle))) if values.size else np.nan
        # Of equal values nothing is cut off.
        limits.append((middle - reach, middle + reach) if reach > 0 else (-np.inf, np.inf))
    low, high = (
        xr.DataArray(np.array(side, dtype=slab.dtype), dims="t") if "t" in slab.dims else slab.dtype.type(side[0])
        for side in zip(*limits, strict=True)
    )
    return slab.clip(low, high)


def slabs_to_cell(slabs: Sequence[xr.DataArray], like: xr.DataArray) -> xr.DataArray:
    """Put labels or probabilities that were found in slabs back where they belong in the cell.

    Parameters
    ----------
    slabs : sequence of DataArray, dims ([t], z, y, x)
        Labels (uint8) or numbers such as probabilities (float) of what :func:`lithium_slab` cut out, with its
        coordinates ``electrode`` and ``z_start``.
    like : DataArray, dims ([t], z, y, x)
        Of the cell: what stays where no slab has a label (255) or number (NaN), such as ceramic and collectors.

    Returns
    -------
    DataArray, like ``like``
        Lazy where a slab or ``like`` is.

    Raises
    ------
    InputError, AxesError
        Where a slab has lost its coordinates or does not fit.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> cell = labeled_image(np.array([3, 3, 1, 0, 0], np.uint8).reshape(5, 1, 1), voxel_size_um=1.0)
    >>> slab = labeled_image(np.array([255, 2, 1], np.uint8).reshape(3, 1, 1), voxel_size_um=1.0)
    >>> slabs_to_cell([slab.assign_coords(electrode="low", z_start=1)], cell).values.ravel().tolist()
    [3, 3, 2, 1, 0]
    """
    where = "slabs_to_cell"
    require_dims(like, SPACE, optional=("t",), where=where)
    out = like
    for slab in slabs:
        require_dims(slab, SPACE, optional=("t",), where=where)
        if "electrode" not in slab.coords or "z_start" not in slab.coords:
            raise InputError(
                f"{where}: a slab needs the coordinates electrode and z_start, got {sorted(map(str, slab.coords))}. "
                "Pass on what lithium_slab returned."
            )
        start = int(slab["z_start"])
        turned = slab.isel(z=slice(None, None, -1)) if str(slab["electrode"].values) == "high" else slab
        below, above = start, like.sizes["z"] - start - slab.sizes["z"]
        if slab.dtype != like.dtype:
            raise InputError(
                f"{where}: slabs and cell must hold the same kind of numbers, got {slab.dtype} and {like.dtype}. "
                "Convert one with .astype(...)."
            )
        if above < 0 or any(slab.sizes[dim] != like.sizes[dim] for dim in like.dims if dim != "z"):
            raise AxesError(
                f"{where}: a slab must lie in the cell, got {dict(slab.sizes)} from z = {start} on in "
                f"{dict(like.sizes)}. Pass labels of the cell that it was cut out of."
            )
        missing = UNLABELED if slab.dtype == np.uint8 else np.nan
        padded = turned.drop_vars(list(turned.coords)).pad(z=(below, above), constant_values=missing)
        known = padded != UNLABELED if slab.dtype == np.uint8 else padded.notnull()
        out = out.where(~known, padded).transpose(*like.dims)
    return out.assign_attrs({**like.attrs, "provenance": record(f"operando.segmentation.{where}")})
