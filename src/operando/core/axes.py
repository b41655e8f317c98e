"""Labeled images: which axes an array has, in which order, and how large a voxel is.

Every image is a plain :class:`xarray.DataArray`. Its dims come from :data:`DIMS` in that order; its
coordinates are voxel *centers* with ``attrs["units"]``. An axis nobody has calibrated is in ``px``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.errors import AxesError, InputError, UnitsError, nearest

DIMS = (
    "t",
    "channel",
    "energy",
    "wavenumber",
    "component",
    "phase",
    "angle",
    "detector_y",
    "detector_x",
    "z",
    "y",
    "x",
)
"""Every dimension there is, in the order in which an array has them."""

SPACE = ("z", "y", "x")
_STACKED = ("channel", "energy", "wavenumber", "component", "phase", "angle")
_LONG_NAMES = {"z": "Position z", "y": "Position y", "x": "Position x", "t": "Time"}


def check_dims(dims: Sequence[str], *, where: str = "dims") -> tuple[str, ...]:
    """Return ``dims`` as a tuple, or say what is wrong with them.

    Raises
    ------
    AxesError
        Where a dim is unknown, repeated or out of order, where two stacked dims meet, or where
        there are more than five.

    Examples
    --------
    >>> check_dims(("t", "z", "y", "x"))
    ('t', 'z', 'y', 'x')
    """
    names = tuple(map(str, dims))
    for name in names:
        if name not in DIMS:
            raise AxesError(f"{where}: a dim must be one of {', '.join(DIMS)}, got {name!r}. {nearest(name, DIMS)}")
    order = [DIMS.index(name) for name in names]
    if len(set(order)) != len(order) or order != sorted(order):
        raise AxesError(
            f"{where}: dims must stand once each in the order {', '.join(DIMS)}, got {names}. Transpose or rename them."
        )
    if len(names) > 5 or sum(name in _STACKED for name in names) > 1:
        raise AxesError(
            f"{where}: at most five dims and one of {', '.join(_STACKED)}, got {names}. Select or split first."
        )
    return names


def labeled_image(
    array: Any,
    *,
    dims: Sequence[str] | None = None,
    voxel_size_um: float | Sequence[float] | None = None,
    origin_um: Sequence[float] | None = None,
    t: Any = None,
    time_units: str = "h",
    coords: Mapping[str, Any] | None = None,
    name: str | None = None,
    units: str = "1",
    long_name: str | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Give a bare array its axes, voxel size and units.

    Parameters
    ----------
    array : array-like or dask array, up to 5-D
        The numbers; not copied.
    dims : sequence of str, optional
        One name per axis, from :data:`DIMS` and in its order. Default: the last of ``t, z, y, x``.
    voxel_size_um : float or one float per spatial dim, optional
        Edge of a voxel in um, in the order of the spatial dims. Without it the axes are in ``px``.
    origin_um : sequence of float, optional
        Center of the first voxel per spatial dim, in um (or px); default 0.
    t : array-like, optional
        Time of each scan in ``time_units``; default 0, 1, 2, ... without unit.
    coords : mapping, optional
        Coordinates of further dims, as xarray takes them.
    units, long_name, attrs
        Of the values themselves.

    Returns
    -------
    DataArray
        Dims as asked, coordinates at voxel centers.

    Raises
    ------
    AxesError, UnitsError
        Where the dims do not fit the array or the voxel size is not positive and finite.

    Examples
    --------
    >>> image = labeled_image(np.zeros((2, 3, 4)), voxel_size_um=1.5)
    >>> image.dims, float(image.x[1]), image.x.attrs["units"]
    (('z', 'y', 'x'), 1.5, 'um')
    """
    shape = tuple(np.shape(array))
    if dims is None:
        if not 1 <= len(shape) <= 4:
            raise AxesError(f"labeled_image: an array of {len(shape)} axes has no default dims. Pass dims=(...).")
        dims = ("t", "z", "y", "x")[4 - len(shape) :]
    names = check_dims(dims, where="labeled_image")
    if len(names) != len(shape):
        raise AxesError(f"labeled_image: one dim per axis, got {len(names)} dims {names} for the shape {shape}.")
    space = [name for name in names if name in SPACE]
    sizes = _voxel_sizes(voxel_size_um, space)
    origins = dict(zip(space, origin_um if origin_um is not None else [0.0] * len(space), strict=True))
    made: dict[str, Any] = {}
    for axis, dim in enumerate(names):
        if coords and dim in coords:
            made[dim] = coords[dim]
        elif dim in SPACE:
            step, unit = sizes[dim]
            values = origins[dim] + step * np.arange(shape[axis], dtype=float)
            made[dim] = (dim, values, {"units": unit, "long_name": _LONG_NAMES[dim], "spacing": step})
        elif dim == "t":
            values = np.arange(shape[axis], dtype=float) if t is None else np.asarray(t, dtype=float)
            if values.shape != (shape[axis],):
                raise AxesError(f"labeled_image: t needs one value per scan, got {values.shape} for {shape[axis]}.")
            made[dim] = (dim, values, {"units": "1" if t is None else time_units, "long_name": "Time"})
    for key, value in (coords or {}).items():
        made.setdefault(key, value)
    described = {"units": units, **({"long_name": long_name} if long_name else {}), **(attrs or {})}
    # Without the rename, xarray would take the name of a Dask graph for that of the image.
    return xr.DataArray(array, dims=names, coords=made, attrs=described).rename(name)


def _voxel_sizes(voxel_size_um: float | Sequence[float] | None, space: Sequence[str]) -> dict[str, tuple[float, str]]:
    if voxel_size_um is None:
        return dict.fromkeys(space, (1.0, units.PIXEL))
    given = np.atleast_1d(np.asarray(voxel_size_um, dtype=float))
    if given.size == 1:
        given = np.repeat(given, len(space))
    if given.shape != (len(space),) or not np.all(np.isfinite(given) & (given > 0)):
        raise UnitsError(
            f"voxel_size_um must be one positive number or one per spatial dim {tuple(space)}, got {voxel_size_um!r}. "
            "Give it in micrometers, for example 1.33."
        )
    return {dim: (float(size), "um") for dim, size in zip(space, given, strict=True)}


def calibrate(image: xr.DataArray, *, voxel_size_um: float | Sequence[float]) -> xr.DataArray:
    """Set the voxel size of an image, replacing its spatial coordinates.

    Parameters
    ----------
    image : DataArray
        Dims including at least one of ``z, y, x``.
    voxel_size_um : float or one per spatial dim
        Edge of a voxel in um.

    Returns
    -------
    DataArray
        The same values (not copied) with coordinates at voxel centers in um.

    Examples
    --------
    >>> image = calibrate(labeled_image(np.zeros((2, 3))), voxel_size_um=2.0)
    >>> spacing(image)
    {'y': 2.0, 'x': 2.0}
    """
    space = [str(dim) for dim in image.dims if dim in SPACE]
    if not space:
        raise AxesError(f"calibrate: the image must have at least one of the dims z, y, x, got {image.dims}.")
    out = image
    for dim, (step, unit) in _voxel_sizes(voxel_size_um, space).items():
        values = step * np.arange(image.sizes[dim], dtype=float)
        attrs = {"units": unit, "long_name": _LONG_NAMES[dim], "spacing": step}
        out = out.assign_coords({dim: (dim, values, attrs)})
    return out


def spacing(image: xr.DataArray, *, unit: str = "um", where: str = "image") -> dict[str, float]:
    """Voxel edge per spatial dim in ``unit``.

    Parameters
    ----------
    image : DataArray
        Dims including at least one of ``z, y, x``, coordinates with units.
    unit : str
        A length, or ``px`` to take uncalibrated axes as they are.
    where : str
        The function that needs the length, for the message.

    Returns
    -------
    dict of str to float

    Raises
    ------
    UnitsError
        Where an axis is in ``px``, has no unit, or is not evenly spaced.

    Examples
    --------
    >>> spacing(labeled_image(np.zeros((2, 2, 2)), voxel_size_um=(3, 1, 1)))["z"]
    3.0
    """
    result: dict[str, float] = {}
    for dim in (str(d) for d in image.dims if d in SPACE):
        step, own = axis_spacing(image, dim, where=where)
        if unit == units.PIXEL:
            result[dim] = 1.0
            continue
        if own == units.PIXEL:
            raise UnitsError(
                f"{where}: a length is needed along {dim!r}, but the voxel size is not known (units px). "
                "Open the image with voxel_size_um=..., or use operando.calibrate(image, voxel_size_um=...)."
            )
        result[dim] = step * units.factor(own, unit)
    return result


def axis_spacing(image: xr.DataArray, dim: str, *, where: str = "image") -> tuple[float, str]:
    """Distance between neighboring voxel centers along one dim, and its unit (``px`` if none)."""
    if dim not in image.coords:
        return 1.0, units.PIXEL
    coordinate = image.coords[dim]
    unit = units.canonical(str(coordinate.attrs.get("units", units.PIXEL)))
    if coordinate.size > 1:
        values = np.asarray(coordinate.values, dtype=float)
        step = (values[-1] - values[0]) / (values.size - 1)
        uneven = np.abs(np.diff(values) - step).max()
        if not np.isfinite(step) or step <= 0 or uneven > 1e-3 * step:
            raise UnitsError(
                f"{where}: voxel centers along {dim!r} must be evenly spaced and increasing, got steps from "
                f"{np.diff(values).min():g} to {np.diff(values).max():g} {unit}. Resample the image first."
            )
        return float(step), unit
    if "spacing" in coordinate.attrs:
        return float(coordinate.attrs["spacing"]), unit
    return 1.0, units.PIXEL


def voxel_volume(image: xr.DataArray, *, where: str = "image") -> float:
    """Volume of one voxel in um3; all of ``z, y, x`` must be there and calibrated."""
    require_dims(image, SPACE, where=where, optional=[dim for dim in DIMS if dim not in SPACE])
    return float(np.prod(list(spacing(image, where=where).values())))


def require_dims(image: xr.DataArray, dims: Sequence[str], *, where: str, optional: Sequence[str] = ()) -> None:
    """Raise :class:`AxesError` unless ``image`` has exactly ``dims``, apart from the ``optional`` ones.

    Raises also where ``image`` is not a DataArray at all, and says how to make one.
    """
    if not isinstance(image, xr.DataArray):
        raise InputError(
            f"{where}: an xarray.DataArray with dims {tuple(dims)} is needed, got {type(image).__name__}. "
            "Label the array with operando.labeled_image(array, voxel_size_um=...)."
        )
    have = set(map(str, image.dims))
    missing = [dim for dim in dims if dim not in have]
    extra = sorted(have - set(dims) - set(optional))
    if missing or extra:
        wanted = ", ".join([*(f"[{dim}]" for dim in optional), *dims])
        raise AxesError(
            f"{where}: dims ({wanted}) are needed, got {tuple(image.dims)}"
            + (f"; missing {missing}" if missing else "")
            + (f"; not expected {extra}" if extra else "")
            + ". Rename, select or transpose first."
        )
