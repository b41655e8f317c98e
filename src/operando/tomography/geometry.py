"""What projections are: angles, detector axes, and how a block of sinograms is read without the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError, UnitsError

PROJECTIONS = ("angle", "detector_y", "detector_x")
"""Dims of projections, in this order."""


def check_projections(projections: xr.DataArray, *, where: str) -> xr.DataArray:
    """Return projections in the order ``angle, detector_y, detector_x``, or say what is wrong with them."""
    require_dims(projections, PROJECTIONS, where=where)
    if 0 in projections.shape:
        raise InputError(f"{where}: projections must not be empty, got the shape {projections.shape}. Select others.")
    if projections.dtype.kind not in "iuf":
        raise InputError(f"{where}: projections must be real numbers, got {projections.dtype}. Convert them first.")
    return projections.transpose(*PROJECTIONS)


def angles_rad(projections: xr.DataArray, *, where: str) -> np.ndarray:
    """Angles of the projections in radians.

    Parameters
    ----------
    projections : DataArray, dims (angle, detector_y, detector_x)
        With the coordinate ``angle`` in ``deg`` (taken where it has no units) or ``rad``.
    where : str
        The function that needs them, for the message.

    Returns
    -------
    ndarray of float64, shape (angle,)

    Raises
    ------
    InputError, UnitsError
        Where there are no angles, some are not finite, or their unit is none of the two.
    """
    if "angle" not in projections.coords:
        raise InputError(
            f"{where}: projections need the coordinate 'angle' in degrees, got none. "
            "Set it with projections.assign_coords(angle=np.linspace(0, 180, n))."
        )
    coordinate = projections.coords["angle"]
    values = np.asarray(coordinate.values, dtype=float)
    unit = str(coordinate.attrs.get("units", "deg")).strip().lower()
    if not np.all(np.isfinite(values)):
        raise InputError(
            f"{where}: every angle must be finite, got {int(np.sum(~np.isfinite(values)))} that are not. "
            "Drop those projections."
        )
    if unit in ("deg", "degree", "degrees", "°"):
        return np.deg2rad(values)
    if unit in ("rad", "radian", "radians"):
        return values
    raise UnitsError(
        f"{where}: angles must be in 'deg' or 'rad', got {unit!r}. Set projections['angle'].attrs['units']."
    )


def angle_weights(angles: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of the half turn that each projection stands for, and the largest gap that none covers.

    Parameters
    ----------
    angles : ndarray, shape (angle,)
        In radians, in any order; more than half a turn is allowed.

    Returns
    -------
    weights : ndarray, shape (angle,)
        In radians; half the distance to both neighbors modulo pi, so that 0 and 180 degrees share one place.
    gap : float
        Largest distance of neighbors in radians.

    Notes
    -----
    Of a gap above four times the median distance (a missing wedge) only that much is given to its neighbors.

    Examples
    --------
    Three angles, of which the last repeats the first seen from behind:

    >>> weights, gap = angle_weights(np.deg2rad([0, 90, 180]))
    >>> np.rad2deg(weights).tolist(), round(float(np.rad2deg(gap)))
    ([45.0, 90.0, 45.0], 90)
    """
    if angles.size == 1:
        return np.array([np.pi]), np.pi
    folded = np.mod(angles, np.pi)
    # An angle a rounding below 180 degrees is one of 0.
    folded[np.pi - folded < 1e-9] = 0.0
    order = np.argsort(folded, kind="stable")
    steps = np.diff(folded[order], append=folded[order[0]] + np.pi)
    gap = float(steps.max())
    distinct = steps[steps > 1e-9]
    steps = np.minimum(steps, 4.0 * np.median(distinct))
    weights = np.empty(angles.size)
    weights[order] = 0.5 * (steps + np.roll(steps, 1))
    # Projections from one direction share its place evenly.
    groups = np.cumsum(np.concatenate([[0], np.diff(folded[order]) > 1e-9]))
    sums = np.bincount(groups, weights[order]) / np.bincount(groups)
    weights[order] = sums[groups]
    return weights, gap


def pixel_size(projections: xr.DataArray, *, where: str) -> tuple[float, str]:
    """Edge of a detector pixel as seen at the sample, and its unit (``um``, or ``px`` where nobody knows)."""
    step, unit = axis_spacing(projections, "detector_x", where=where)
    if unit == units.PIXEL or units.kind(unit) != "length":
        return 1.0, units.PIXEL
    return step * units.factor(unit, "um"), "um"


def detector_coords(projections: xr.DataArray, *, pixel_size_um: float) -> xr.DataArray:
    """Give projections the coordinates of a detector with square pixels.

    Parameters
    ----------
    projections : DataArray, dims (..., detector_y, detector_x)
    pixel_size_um : float
        Edge of a pixel at the sample in um: that of the camera over the magnification.

    Returns
    -------
    DataArray
        The same values with ``detector_y`` and ``detector_x`` in um, 0 at the center of the first pixel.

    Raises
    ------
    UnitsError
        Where the size is not positive and finite.

    Examples
    --------
    >>> flat = xr.DataArray(np.ones((2, 3)), dims=("detector_y", "detector_x"))
    >>> detector_coords(flat, pixel_size_um=1.33).detector_x.values.tolist()
    [0.0, 1.33, 2.66]
    """
    if not (np.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise UnitsError(
            f"detector_coords: pixel_size_um must be positive and finite, got {pixel_size_um!r}. "
            "Give the camera's pixel over the magnification, for example 1.33."
        )
    made = {}
    for dim in ("detector_y", "detector_x"):
        attrs = {"units": "um", "long_name": f"Detector {dim[-1]}", "spacing": float(pixel_size_um)}
        made[dim] = (dim, pixel_size_um * np.arange(projections.sizes[dim], dtype=float), attrs)
    return projections.assign_coords(made)


def by_rows(
    data: Any, function: Callable[[np.ndarray, slice], np.ndarray], *, rows: int, tail: Sequence[int], name: str
) -> Any:
    """Lazy Dask array of ``function(data[:, rows, :], rows)`` for one block of detector rows after another.

    Parameters
    ----------
    data : ndarray or Dask array, shape (angle, detector_y, detector_x)
    function : callable
        Takes a block of sinograms (angle, row, detector_x) and the rows it holds; returns float32 (row, \\*tail).
    rows : int
        Detector rows in a block.
    tail : sequence of int
        Shape of the result for one row.
    name : str
        Of the Dask layer.

    Notes
    -----
    Each task reads its own rows and nothing else, instead of sharing Dask's blocks of whole projections: sharing
    would keep every projection in memory until the last block of rows has been cut from it.
    """
    from uuid import uuid4

    import dask.array as da

    total = int(data.shape[1])
    index = da.arange(total, chunks=max(1, int(rows)), dtype=np.int64)

    def block(numbers: np.ndarray) -> np.ndarray:
        chosen = slice(int(numbers[0]), int(numbers[-1]) + 1)
        return np.asarray(function(read_rows(data, chosen), chosen), dtype=np.float32)

    return da.map_blocks(
        block,
        index,
        # A name of its own: hashing the projections to make one would read them all.
        name=f"{name}-{uuid4().hex}",
        dtype=np.float32,
        chunks=(index.chunks[0], *((n,) for n in tail)),
        new_axis=list(range(1, 1 + len(tail))),
        meta=np.empty((0,) * (1 + len(tail)), dtype=np.float32),
    )


def read_rows(data: Any, rows: slice | np.ndarray) -> np.ndarray:
    """Sinograms ``data[:, rows, :]`` as an array; from a file only these rows where its layout allows it."""
    from operando.io.lazy import untouched

    source = untouched(data)
    part = data[:, rows, :] if source is None else source[:, rows, :]
    if hasattr(part, "compute"):
        part = part.compute(scheduler="synchronous")
    return np.asarray(part)
