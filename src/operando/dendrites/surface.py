"""Salt at the surface of the lithium: its concentration there and how it rises into the electrolyte."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.errors import AxesError, InputError
from operando.dendrites.growth import metal_side, pixel, position_of


def surface_state(
    concentration: xr.DataArray,
    interface: Any,
    *,
    at_um: float = 0.0,
    from_um: float | None = None,
    over_um: float = 30.0,
    metal: str | None = None,
) -> xr.Dataset:
    r"""Concentration at the surface and its gradient outward, from one straight line per column.

    Parameters
    ----------
    concentration : DataArray, dims ([t], y, [x]), units "mol L-1" (or "1", relative)
        As :func:`operando.dendrites.concentration` returns it, or profiles without x. NaN is left out. May be
        lazy: one frame is in memory.
    interface : Dataset of :func:`operando.dendrites.find_interface`, or DataArray of positions, dims ([t], [x])
        Positions on the y axis of ``concentration``; without x where that has no x.
    at_um : float
        Distance from the interface, into the electrolyte, at which the concentration is read, in um. 0 is the
        surface itself; the group's earlier analysis read it at 10 um.
    from_um : float, optional
        Distance from the interface, in any direction, from which the concentration is trusted: beyond the saturated
        line, its halo and what smoothing drew out of them. Default for images, in pixels:
        ``concentration.attrs["margin"]`` (else 4) + half of ``attrs["smoothing"]`` (else 3) + 1; for profiles 0.
    over_um : float
        Length along y over which the line is fitted, from there on. Both in px on axes without voxel size.
    metal : {"high", "low"}, optional
        End of the y axis at which the metal lies; default from the attrs of ``interface`` or ``concentration``.

    Returns
    -------
    Dataset of ``concentration``, ``concentration_gradient``, dims ([t], [x]), each beside its ``_sigma``
        In the units of ``concentration``, and in these per um: positive where the salt rises into the electrolyte,
        as it does where lithium is plated. The gradient is that at the surface, whatever ``at_um``. NaN where fewer
        than three pixels of the line's window are known.

    Raises
    ------
    AxesError, InputError
        Where dims do not fit or the window holds fewer than three pixels.

    Notes
    -----
    Least squares of

    .. math:: c(d) = c_s + g\,d, \quad d \in [d_0(x), d_0(x) + L]

    along y (Table I takes the derivative along y, not along the normal). d_0 is where a ball of radius ``from_um``
    that rolls over the interface leaves column x: in a valley or beside a wall the bright line of the neighbors is
    closer than that of the column itself.

    A line cannot follow a profile that bends. In an image, the second derivative c'' that the residuals of all columns
    of a frame share is found from them, and what it does to the line is taken out (the shift of c_s, -c''
    (d_m^2 - L^2 / 12) / 2, and that of g, c'' d_m, with d_m the middle of the window; c'' by projection on the second
    orthogonal polynomial). A profile without x keeps the shift: shorten ``over_um`` there until the result no longer
    moves. Scatter grows as L^-1.5.

    The sigma takes the scatter about the line, pooled over the columns of a frame, the correlation that a smoothing
    kernel of ``attrs["smoothing"]`` pixels leaves along y, and the bend that columns do not share: what scatters
    between them beyond the noise is not known for any one of them. Where there is noise alone it is about a quarter
    too large. It does not know what happens closer to the surface than ``from_um``.

    Examples
    --------
    Salt that rises by 0.01 mol/L per um from 0.1 mol/L at the surface, metal below:

    >>> y = xr.DataArray(np.arange(40.0), dims="y", attrs={"units": "um", "spacing": 1.0})
    >>> profile = xr.DataArray(0.1 + 0.01 * (30.0 - y.values), dims="y", coords={"y": y}, attrs={"units": "mol L-1"})
    >>> state = surface_state(profile, xr.DataArray(30.0), metal="high")
    >>> round(float(state["concentration"]), 4), round(float(state["concentration_gradient"]), 4)
    (0.1, 0.01)
    """
    where = "surface_state"
    position = position_of(interface, where=where)
    side = metal_side(position, concentration, metal=metal, where=where)
    lateral = ["x"] if "x" in concentration.dims else []
    wanted = [dim for dim in ("t", *lateral) if dim in concentration.dims]
    if "y" not in concentration.dims or set(position.dims) != set(wanted) or set(concentration.dims) != {"y", *wanted}:
        raise AxesError(
            f"{where}: a concentration ([t], y, [x]) and positions with the same t and x are needed, got "
            f"{concentration.dims} and {position.dims}. Select or rename first."
        )
    for dim in wanted:
        if concentration.sizes[dim] != position.sizes[dim]:
            raise AxesError(
                f"{where}: concentration and interface must have as many points along {dim!r}, got "
                f"{concentration.sizes[dim]} and {position.sizes[dim]}. Find the interface on the same images."
            )
    step = pixel(concentration, "y", where=where)
    start = _start(concentration, step) if from_um is None else float(from_um)
    count = int(over_um / step + 1e-9) + 1
    if count < 3 or not np.isfinite(start):
        raise InputError(
            f"{where}: the window over_um must hold at least three pixels of {step:g}, got {over_um:g} from {start:g}. "
            f"Pass over_um={2 * step:g} or more."
        )
    distance = step * np.arange(count)
    width = _kernel(concentration)
    rows = (
        concentration.coords["y"].values.astype(float)
        if "y" in concentration.coords
        else np.arange(concentration.sizes["y"])
    )
    sign = -1.0 if side == "high" else 1.0

    lateral_step = pixel(concentration, "x", where=where) if lateral else step

    def fit(frame: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        off = distance[:, None] + _clear(sign * y, start, lateral_step)
        index = (y + sign * off - rows[0]) / step
        return _line(_sample(frame, index), off, at_um, width)

    ordered = concentration.transpose(*wanted[: "t" in wanted], "y", *lateral)
    y = np.asarray(position.transpose(*wanted).values, dtype=float)
    if "t" in wanted:
        frames = [fit(_columns(ordered.isel(t=i).values), np.atleast_1d(y[i])) for i in range(y.shape[0])]
        parts = [np.stack(part) for part in zip(*frames, strict=True)]
    else:
        parts = fit(_columns(ordered.values), np.atleast_1d(y))
    own = str(concentration.attrs.get("units", "1"))
    length = concentration.coords["y"].attrs.get("units", units.PIXEL) if "y" in concentration.coords else units.PIXEL
    per = f"{length}-1" if own == "1" else f"{own} {length}-1"
    names = {
        "concentration": (
            own,
            "Concentration at the surface" if at_um == 0 else f"Concentration {at_um:g} {length} off the surface",
        ),
        "concentration_sigma": (own, "Standard uncertainty of the concentration"),
        "concentration_gradient": (per, "Concentration gradient, outward"),
        "concentration_gradient_sigma": (per, "Standard uncertainty of the concentration gradient"),
    }
    coords = {dim: position.coords[dim] for dim in wanted if dim in position.coords}
    out = xr.Dataset(
        {
            name: (wanted, part.reshape(y.shape), {"units": unit, "long_name": long_name})
            for (name, (unit, long_name)), part in zip(names.items(), parts, strict=True)
        },
        coords=coords,
    )
    out.attrs = {"metal": side, "at_um": float(at_um), "from_um": start, "over_um": float(over_um)}
    if "smoothing" in concentration.attrs:
        out.attrs["smoothing"] = concentration.attrs["smoothing"]
    return out


def surface_concentration(concentration: xr.DataArray, interface: Any, **options: Any) -> xr.DataArray:
    """Concentration at the surface of the lithium (feature 4), or at a distance ``at_um`` from it.

    Parameters
    ----------
    concentration, interface, **options
        As in :func:`surface_state`, which finds this and the gradient together.

    Returns
    -------
    DataArray, dims ([t], [x]), units of ``concentration``
        With the standard uncertainty as coordinate ``sigma``.

    Examples
    --------
    >>> y = xr.DataArray(np.arange(40.0), dims="y", attrs={"units": "um", "spacing": 1.0})
    >>> profile = xr.DataArray(0.01 * y.values, dims="y", coords={"y": y})
    >>> round(float(surface_concentration(profile, xr.DataArray(5.0), metal="low", at_um=10)), 4)
    0.15
    """
    return _variable(surface_state(concentration, interface, **options), "concentration")


def concentration_gradient(concentration: xr.DataArray, interface: Any, **options: Any) -> xr.DataArray:
    """Concentration gradient at the surface, positive where the salt rises into the electrolyte (feature 5).

    Parameters
    ----------
    concentration, interface, **options
        As in :func:`surface_state`, which finds this and the concentration together.

    Returns
    -------
    DataArray, dims ([t], [x]), units of ``concentration`` per um
        With the standard uncertainty as coordinate ``sigma``.

    Examples
    --------
    Metal at high y, salt falling toward it:

    >>> y = xr.DataArray(np.arange(40.0), dims="y", attrs={"units": "um", "spacing": 1.0})
    >>> profile = xr.DataArray(0.01 * (40 - y.values), dims="y", coords={"y": y})
    >>> round(float(concentration_gradient(profile, xr.DataArray(35.0), metal="high")), 4)
    0.01
    """
    return _variable(surface_state(concentration, interface, **options), "concentration_gradient")


def _variable(state: xr.Dataset, name: str) -> xr.DataArray:
    out = state[name].assign_coords(sigma=state[f"{name}_sigma"].variable)
    out.attrs.update(state.attrs)
    return out


def _kernel(concentration: xr.DataArray) -> float:
    """Pixels along y over which the concentration was smoothed, in doubt those of the paper."""
    kernel = concentration.attrs.get("smoothing", 6.0 if "x" in concentration.dims else 1.0)
    return float(np.ravel(kernel)[0]) if kernel is not None else 1.0


def _start(concentration: xr.DataArray, step: float) -> float:
    """Distance from the line at which neither the line nor what was filled in for it is left, after smoothing."""
    if "x" not in concentration.dims:
        return 0.0
    return step * (float(concentration.attrs.get("margin", 4.0)) + 0.5 * _kernel(concentration) + 1.0)


def _clear(height: np.ndarray, radius: float, step: float) -> np.ndarray:
    """How far up each column one must go to be ``radius`` from the interface everywhere, not only from below.

    The envelope of a ball rolled over the interface; a break in the line (NaN) bars nothing.
    """
    reach = int(radius / step + 1e-9)
    if reach == 0 or height.size == 1:
        return np.full(height.size, radius)
    from scipy.ndimage import grey_dilation

    ball = np.sqrt(np.maximum(radius**2 - (step * np.arange(-reach, reach + 1)) ** 2, 0.0))
    solid = np.where(np.isfinite(height), height, -np.inf)
    top = grey_dilation(solid, structure=ball, mode="nearest")
    return np.where(np.isfinite(height), top - np.nan_to_num(height), np.nan)


def _columns(frame: np.ndarray) -> np.ndarray:
    return np.asarray(frame, dtype=float).reshape(frame.shape[0], -1)


def _sample(frame: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Linear interpolation down the columns of ``frame`` at fractional rows; NaN outside."""
    low = np.floor(np.nan_to_num(index, nan=-1.0)).astype(int)
    weight = index - low
    column = np.arange(frame.shape[1])
    last = frame.shape[0] - 1
    inside = (index >= 0) & (index <= last)
    below = frame[np.clip(low, 0, last), column]
    above = frame[np.clip(low + 1, 0, last), column]
    # An exact hit takes nothing of its neighbor, which may be missing.
    value = np.where(weight == 0, below, (1 - weight) * below + weight * above)
    return np.where(inside, value, np.nan)


def _line(values: np.ndarray, distance: np.ndarray, at: float, width: float) -> list[np.ndarray]:
    """Value at ``at`` and slope at 0, from a least-squares line per column of ``values``, each with its sigma."""
    known = np.isfinite(values)
    filled, d = np.where(known, values, 0.0), np.where(known, distance, 0.0)
    n = known.sum(axis=0)
    enough = n >= 3
    many = np.maximum(n, 1)
    center = d.sum(axis=0) / many
    mean = filled.sum(axis=0) / many
    offset = np.where(known, distance - center, 0.0)
    squares = np.where(enough, (offset**2).sum(axis=0), np.nan)
    slope = (offset * filled).sum(axis=0) / squares
    reach = at - center
    level = mean + slope * reach
    residual = np.where(known, values - (mean + slope * offset), 0.0)[:, enough]

    # Neighbors under one running mean over `width` pixels share noise: correlations fall like a triangle.
    steps = np.arange(len(values)) - 0.5 * (len(values) - 1)
    correlation = np.clip(1 - np.abs(steps[:, None] - steps) / max(width, 1.0), 0, None)
    shapes = np.stack([np.ones(steps.size), steps, steps**2 - np.mean(steps**2)])
    shapes = shapes / np.sqrt((shapes**2).sum(axis=1, keepdims=True))
    of_mean, of_slope, of_bend = np.diag(shapes @ correlation @ shapes.T)
    columns = int(enough.sum())
    bends = columns > 1 and steps.size > 3
    amplitude = shapes[2] @ residual
    if bends:
        residual = residual - shapes[2][:, None] * amplitude
    free = (steps.size - of_mean - of_slope - bends * of_bend) * n[enough].sum() / steps.size
    noise = (residual**2).sum() / free if free > 1e-9 else np.nan
    slope_variance, level_variance = noise * of_slope / squares, noise * of_mean / many
    level_variance = level_variance + reach**2 * slope_variance

    if bends:
        # A line cannot bend, the profile does. What all columns of a frame share of it is known and taken out;
        # what they do not share, beyond noise, is not known for any one of them.
        step = distance[1, 0] - distance[0, 0]
        second = 2.0 / (np.sqrt(((steps**2 - np.mean(steps**2)) ** 2).sum()) * step**2)
        bend = second * float(amplitude.mean())
        own = max(float(amplitude.var()) - noise * of_bend, 0.0)
        bend_variance = second**2 * (own + noise * of_bend * max(width, 1.0) / columns)
        of_level, of_gradient = 0.5 * (squares / many - reach**2), center
        level, slope = level - of_level * bend, slope - of_gradient * bend
        level_variance = level_variance + of_level**2 * bend_variance
        slope_variance = slope_variance + of_gradient**2 * bend_variance
    return [level, np.where(enough, np.sqrt(level_variance), np.nan), slope, np.sqrt(slope_variance)]
