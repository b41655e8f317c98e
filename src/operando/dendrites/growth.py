"""How high the lithium stands, and how fast it grows."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing
from operando.core.errors import AxesError, InputError, nearest

SIDES = ("high", "low")
"""Ends of the y axis at which the metal may lie."""


def position_of(interface: Any, *, where: str) -> xr.DataArray:
    """Position of an interface, with its ``sigma`` as a coordinate (NaN where not known).

    Takes the Dataset of :func:`operando.dendrites.find_interface`, or a DataArray of positions with dims
    ``([t], [x])``.
    """
    if isinstance(interface, xr.Dataset):
        if "position" not in interface:
            raise InputError(
                f"{where}: an interface has the variable 'position', got {sorted(map(str, interface.data_vars))}. "
                "Pass what operando.dendrites.find_interface returns."
            )
        position = interface["position"]
        sigma = interface.get("position_sigma")
        attrs = {**interface.attrs, **position.attrs}
    elif isinstance(interface, xr.DataArray):
        position, attrs = interface, dict(interface.attrs)
        sigma = interface.coords["sigma"].drop_vars("sigma") if "sigma" in interface.coords else None
    else:
        raise InputError(
            f"{where}: an interface as a Dataset with 'position' or a DataArray is needed, got "
            f"{type(interface).__name__}. Pass what operando.dendrites.find_interface returns."
        )
    extra = [str(dim) for dim in position.dims if dim not in ("t", "x")]
    if extra:
        raise AxesError(
            f"{where}: a position has the dims ([t], [x]), got {position.dims}. Select along {extra} first."
        )
    position = position.transpose(..., *(["x"] if "x" in position.dims else []))
    known = np.full(position.shape, np.nan) if sigma is None else sigma.transpose(*position.dims).values
    return position.drop_vars("sigma", errors="ignore").assign_coords(sigma=(position.dims, known)).assign_attrs(attrs)


def metal_side(*sources: Any, metal: str | None, where: str) -> str:
    """Return "high" or "low": the keyword, or the ``attrs["metal"]`` of the first source that has it."""
    for candidate in (metal, *(getattr(source, "attrs", {}).get("metal") for source in sources)):
        if candidate is not None:
            if candidate not in SIDES:
                raise InputError(
                    f"{where}: metal must be 'high' or 'low', got {candidate!r}. {nearest(str(candidate), SIDES)}"
                )
            return str(candidate)
    raise InputError(
        f"{where}: the end of the y axis at which the metal lies is not known. Pass metal='high' (bottom of the "
        "picture, rows of high index) or metal='low'."
    )


def height(interface: Any, *, metal: str | None = None, edge: float | None = None) -> xr.DataArray:
    r"""Height of the lithium: distance of the interface from the metal-side edge of the field of view.

    Parameters
    ----------
    interface : Dataset of :func:`operando.dendrites.find_interface`, or DataArray of positions, dims ([t], x)
        Positions on the y axis of the image, units "um" or "px".
    metal : {"high", "low"}, optional
        End of the y axis at which the metal lies; default ``interface.attrs["metal"]``.
    edge : float, optional
        Coordinate y of the metal-side edge of the field (outer edge of its last pixel); default from
        ``interface.attrs["edge"]``.

    Returns
    -------
    DataArray, dims ([t], x), units of the position
        Positive into the electrolyte; the coordinate ``sigma`` is the standard uncertainty. ``attrs["metal"]``
        and ``attrs["edge"]`` say what it was counted from.

    Raises
    ------
    InputError
        Where the side of the metal or the edge of the field is not known.

    Notes
    -----
    .. math:: h = y_\mathrm{edge} - y \;(\mathrm{metal\ high}), \quad h = y - y_\mathrm{edge} \;(\mathrm{metal\ low})

    The paper's "interface position" y_0 is this height up to the constant edge. A drift of the stage along y is
    read as growth.

    Examples
    --------
    Ten rows of one micrometer, metal below; a line over the center of row 6 has 3.5 um of lithium under it:

    >>> line = xr.DataArray([6.0], dims="x", attrs={"units": "um", "metal": "high", "edge": 9.5})
    >>> height(line).values.tolist()
    [3.5]
    """
    position = position_of(interface, where="height")
    side = metal_side(position, metal=metal, where="height")
    if edge is None:
        if "edge" not in position.attrs or metal not in (None, position.attrs.get("metal")):
            raise InputError(
                "height: the edge of the field of view on the metal side is not known. Pass edge=, the coordinate y of "
                "the outer edge of the last row (its center plus half a row)."
            )
        edge = position.attrs["edge"]
    edge = float(edge)
    value = edge - position if side == "high" else position - edge
    attrs = {
        "units": position.attrs.get("units", units.PIXEL),
        "long_name": "Height of the lithium",
        "metal": side,
        "edge": edge,
    }
    return value.assign_attrs(attrs).rename("height")


def minutes(series: Any, *, interval_min: float | None = None, where: str) -> tuple[np.ndarray, str]:
    """Times of a series in minutes, and "min"; or frame numbers and "frame" where the series carries no time.

    A coordinate ``t`` without units is in seconds; one in "1" or "frame" counts frames. ``interval_min`` replaces
    the times.

    Raises
    ------
    InputError
        Where the times do not increase from frame to frame.
    """
    count = int(series.sizes["t"])
    if interval_min is not None:
        if not (isinstance(interval_min, (int, float, np.number)) and np.isfinite(interval_min) and interval_min > 0):
            raise InputError(f"{where}: interval_min must be a positive number of minutes, got {interval_min!r}.")
        return interval_min * np.arange(count, dtype=float), "min"
    if "t" not in series.coords:
        return np.arange(count, dtype=float), "frame"
    coordinate = series.coords["t"]
    if coordinate.dtype.kind in "mM":
        values = (coordinate.values - coordinate.values[0]) / np.timedelta64(1, "s") / 60.0
        unit = "min"
    else:
        if coordinate.dtype.kind not in "uif":
            raise InputError(
                f"{where}: times must be numbers or dates, got {coordinate.dtype}. Pass interval_min=, or set the "
                "coordinate t in seconds."
            )
        own = str(coordinate.attrs.get("units", "s"))
        unit = "frame" if own in ("1", "", "frame", "frames") else "min"
        values = np.asarray(coordinate.values, dtype=float) * (1.0 if unit == "frame" else units.factor(own, "min"))
    wrong = np.flatnonzero(~(np.diff(values) > 0)) + 1
    if wrong.size:
        first = int(wrong[0])
        raise InputError(
            f"{where}: times must increase from frame to frame, got {values[first - 1]:g} {unit} for frame {first - 1} "
            f"and {values[first]:g} {unit} for frame {first}. Sort the series along t and drop frames that occur twice."
        )
    return values, unit


def growth_rate(height: xr.DataArray, *, interval_min: float | None = None) -> xr.DataArray:
    r"""Local growth rate in the interval that *ends* at each frame.

    Parameters
    ----------
    height : DataArray, dims (t, x), units "um"
        As :func:`height` returns it; a coordinate ``sigma`` is propagated. Intervals may be uneven.
    interval_min : float, optional
        Time between frames, in min, for a series without times.

    Returns
    -------
    DataArray, dims (t, x), units "um min-1"
        Positive where lithium grows, NaN on the first frame; ``growth_rate(h).shift(t=-1)`` is the rate of the
        interval that *starts* at each frame. The coordinate ``sigma`` is the standard uncertainty. A series without
        times is in "um frame-1", one without voxel size in "px min-1".

    Raises
    ------
    AxesError, InputError
        Where there are fewer than two frames or times do not increase.

    Notes
    -----
    .. math:: v(t_i) = \frac{h(t_i) - h(t_{i-1})}{t_i - t_{i-1}}, \quad
              \sigma_v = \frac{\sqrt{\sigma_i^2 + \sigma_{i-1}^2}}{t_i - t_{i-1}}

    Feature 7 of Table I (Ma 2021), with y counted away from the metal. Neighboring rates share a height with opposite
    sign: an error of one frame makes them anti-correlated (-0.5 for equal errors). Errors of two frames count as
    independent; an error that persists (a bias of the line's edges) cancels and sigma is then too large.

    Examples
    --------
    Two micrometers in five minutes:

    >>> h = xr.DataArray([[10.0], [12.0]], dims=("t", "x"), coords={"t": ("t", [0.0, 300.0], {"units": "s"})})
    >>> growth_rate(h).values[1].tolist()
    [0.4]
    """
    if not isinstance(height, xr.DataArray) or "t" not in height.dims or height.sizes["t"] < 2:
        got = f"dims {height.dims}, shape {height.shape}" if isinstance(height, xr.DataArray) else type(height).__name__
        raise AxesError(
            f"growth_rate: a DataArray with at least two frames along t is needed, got {got}. Pass height(...)."
        )
    times, unit = minutes(height, interval_min=interval_min, where="growth_rate")
    values = height.transpose("t", ...)
    gap = np.diff(times).reshape(-1, *[1] * (values.ndim - 1))
    rate = np.full(values.shape, np.nan)
    rate[1:] = np.diff(values.values.astype(float), axis=0) / gap
    out = values.drop_vars("sigma", errors="ignore").copy(data=rate)
    if "sigma" in height.coords:
        squared = height.coords["sigma"].transpose("t", ...).values ** 2
        sigma = np.full(values.shape, np.nan)
        sigma[1:] = np.sqrt(squared[1:] + squared[:-1]) / gap
        out = out.assign_coords(sigma=(values.dims, sigma))
    length = height.attrs.get("units", units.PIXEL)
    out.attrs = {"units": f"{length} {unit}-1", "long_name": "Growth rate"}
    return out.rename("growth_rate")


def pixel(array: Any, dim: str, *, where: str) -> float:
    """Distance between neighboring pixels along ``dim`` in the axis' own unit (1 where uncalibrated)."""
    step, _ = axis_spacing(array, dim, where=where)
    return step
