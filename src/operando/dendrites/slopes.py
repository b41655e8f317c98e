"""Slope of the interface, which Table I of Ma 2021 calls curvature, and its true curvature."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.errors import AxesError, InputError
from operando.dendrites.growth import pixel


def slopes(height: xr.DataArray) -> xr.Dataset:
    r"""Slope of the interface at a column and at its two neighbors: features 1 to 3 of Table I.

    Parameters
    ----------
    height : DataArray, dims ([t], x), units "um"
        As :func:`operando.dendrites.height` returns it; a coordinate ``sigma`` is propagated.

    Returns
    -------
    Dataset of ``slope_up`` (at x - 1 pixel), ``slope_down`` (x + 1 pixel) and ``slope`` (x), dims of height, units "1"
        Micrometers of height per micrometer along the surface, NaN where a neighbor is missing (``slope`` on the
        first and last column, the other two on one more); beside each, where the height has a sigma, its
        standard uncertainty ``slope_up_sigma``, ``slope_down_sigma``, ``slope_sigma``.

    Raises
    ------
    AxesError
        Where there are fewer than three columns.

    Notes
    -----
    .. math:: s(x_0) = \frac{h(x_0 + \Delta) - h(x_0 - \Delta)}{2 \Delta}

    a central difference over one pixel on either side. Ma 2021 names these "curvature", "up curvature" and
    "down curvature"; they are first derivatives. "Up" and "down" are the neighbors of lower and higher x. With the
    true curvature they are tied by s(x_0 + 1) - s(x_0 - 1) = 2 h'' Delta, at the noise of single pixels.

    Examples
    --------
    A wall that rises by one micrometer every two columns of one micrometer:

    >>> h = xr.DataArray(0.5 * np.arange(5.0), dims="x", coords={"x": ("x", np.arange(5.0), {"units": "um"})})
    >>> slopes(h)["slope"].values.tolist()
    [nan, 0.5, 0.5, 0.5, nan]
    """
    if "x" not in height.dims or height.sizes["x"] < 3:
        raise AxesError(f"slopes: a height with at least three columns along x is needed, got {dict(height.sizes)}.")
    step = pixel(height, "x", where="slopes")
    plain = height.drop_vars("sigma", errors="ignore").rename("slope").assign_attrs(units="1")
    out = {"slope": (plain.shift(x=-1) - plain.shift(x=1)) / (2 * step)}
    if "sigma" in height.coords:
        squared = plain.copy(data=height.coords["sigma"].values ** 2)
        out["slope_sigma"] = (squared.shift(x=-1) + squared.shift(x=1)) ** 0.5 / (2 * step)
    made = {}
    for name, shift in (("slope_up", 1), ("slope_down", -1), ("slope", 0)):
        for kind, array in out.items():
            made[kind.replace("slope", name)] = array.shift(x=shift).assign_attrs(units="1")
    return xr.Dataset(made)


def curvature(height: xr.DataArray, *, window_um: float = 15.0) -> xr.DataArray:
    r"""True curvature of the interface, positive at a tip.

    Parameters
    ----------
    height : DataArray, dims ([t], x), units "um"
        As :func:`operando.dendrites.height` returns it; a coordinate ``sigma`` is propagated.
    window_um : float
        Length along x over which a parabola is fitted, in um (in px on an axis without voxel size). Features
        narrower than about half of it are smoothed away.

    Returns
    -------
    DataArray, dims of height, units "um-1"
        1 / radius: positive where the lithium bulges into the electrolyte (a tip), negative in a valley. The
        coordinate ``sigma`` holds the standard uncertainty from that of the height.

    Raises
    ------
    InputError
        Where the window holds fewer than five columns or is wider than the field.

    Notes
    -----
    .. math:: \kappa = - \frac{h''}{(1 + h'^2)^{3/2}}

    with h' and h'' of a least-squares parabola over the window (Savitzky and Golay 1964); within half a window of
    the border the parabola of the outermost full window is used. A frame in which a height is NaN has no curvature. For
    an error sigma of the single height, independent from column to column, that of h'' is
    sigma sqrt(720 / (n^5 - 5 n^3 + 4 n)) / Delta^2 with n columns in the window: at n = 15 and Delta = 1 um, 0.031
    sigma. Not to be trusted at overhangs, where h(x) is no function.

    Examples
    --------
    The top of a circle of 50 um radius:

    >>> x = np.arange(-20.0, 21.0)
    >>> h = xr.DataArray(np.sqrt(50.0**2 - x**2), dims="x", coords={"x": ("x", x, {"units": "um"})})
    >>> round(float(curvature(h, window_um=11).sel(x=0)), 4)
    0.0201
    """
    from scipy.signal import savgol_coeffs, savgol_filter

    if "x" not in height.dims:
        raise AxesError(f"curvature: a height with the dim x is needed, got {height.dims}.")
    step = pixel(height, "x", where="curvature")
    count = 2 * round((window_um / step - 1) / 2) + 1
    if not 5 <= count <= height.sizes["x"]:
        unit = height.coords["x"].attrs.get("units", units.PIXEL) if "x" in height.coords else units.PIXEL
        raise InputError(
            f"curvature: the window must hold from 5 columns to all {height.sizes['x']}, got {window_um:g} {unit}, "
            f"which is {count}. Pass window_um from {5 * step:g} to {height.sizes['x'] * step:g}."
        )
    axis = height.dims.index("x")
    values = height.values.astype(float)
    # A parabola cannot be fitted over what is missing: such a frame has no curvature.
    missing = np.isnan(values).any(axis=axis, keepdims=True)
    whole = np.where(missing, 0.0, values)
    first, second = (savgol_filter(whole, count, 2, deriv=order, delta=step, axis=axis) for order in (1, 2))
    second = np.where(missing, np.nan, second)
    bend = (1 + first**2) ** -1.5
    out = height.drop_vars("sigma", errors="ignore").copy(data=-second * bend)
    if "sigma" in height.coords:
        # Errors of the height are those of single columns, so that the sum over the window is one of variances.
        weights = savgol_coeffs(count, 2, deriv=2, delta=step) ** 2
        spread = np.apply_along_axis(
            lambda row: np.convolve(np.pad(row, count // 2, mode="edge"), weights, mode="valid"),
            axis,
            height.coords["sigma"].values ** 2,
        )
        out = out.assign_coords(sigma=(height.dims, np.sqrt(spread) * bend))
    length = height.attrs.get("units", units.PIXEL)
    out.attrs = {"units": f"{length}-1", "long_name": "Curvature of the interface", "window_um": float(window_um)}
    return out.rename("curvature")
