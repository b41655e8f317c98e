"""What an interface looks like as a whole: its highest tip, roughness, tips, length, overhangs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.dendrites.growth import height

_METHOD = "height of the interface"


def tip_position(interface: xr.Dataset) -> xr.Dataset:
    """Where the lithium stands highest.

    Parameters
    ----------
    interface : Dataset, dims ([t], x)
        Of :func:`operando.dendrites.find_interface`.

    Returns
    -------
    Dataset, dims ([t])
        ``x_tip`` and ``height`` above the edge of the field on the metal's side, with ``height_sigma``, in
        the units of the axes.

    Notes
    -----
    The highest column that is seen, not interpolated. The largest of many uncertain numbers is too large: by about two
    sigma of a column where the top is flat over a hundred columns, by less where it is a tip.

    Examples
    --------
    >>> image = np.full((16, 8), 200.0)
    >>> image[10:], image[6:, 3] = 20.0, 20.0
    >>> from operando.dendrites import find_interface
    >>> tip = tip_position(find_interface(image, rule="edge"))
    >>> float(tip["x_tip"]), float(tip["height"])
    (3.0, 10.0)
    """
    tall = _heights(interface, "tip_position")
    at = tall.fillna(-np.inf).argmax("x")
    known = tall.count("x") > 0
    found = xr.Dataset(
        {
            "x_tip": tall["x"].isel(x=at).drop_vars("x").where(known) if "x" in tall.coords else at.where(known),
            "height": tall.isel(x=at).drop_vars(["x", "sigma"], errors="ignore").where(known),
            "height_sigma": tall["sigma"].isel(x=at).drop_vars(["x", "sigma"], errors="ignore").where(known),
        }
    )
    found["x_tip"].attrs = {**tall["x"].attrs, "long_name": "Position of the tip along x"} if "x" in tall.coords else {}
    found["height"].attrs = {"units": tall.attrs["units"], "long_name": "Height of the tip"}
    found["height_sigma"].attrs = {"units": tall.attrs["units"], "long_name": "Standard uncertainty of the height"}
    return found


def dendrite_metrics(interface: xr.Dataset, *, prominence: float | None = None) -> pd.DataFrame:
    r"""Numbers that describe an interface as a whole, as rows of a quantity table.

    Parameters
    ----------
    interface : Dataset, dims ([t], x)
        Of :func:`operando.dendrites.find_interface`.
    prominence : float, optional
        How far a tip must stand out of the valleys beside it, in the units of y. Default: the thickness of the line,
        or five pixels where there is no line.

    Returns
    -------
    DataFrame
        A quantity table (component "interface", scan = frame, t in h where the series has times) of

        - ``tip_height``, ``mean_height``: above the edge of the field on the metal's side;
        - ``roughness``: standard deviation of the height over x, noise taken out;
        - ``tips``: number of maxima of at least that prominence, not counting the ends of the field;
        - ``developed_length``: length of the interface over its projection, 1 for a straight one;
        - ``overhang_share``: share of the columns that meet the interface more than once;
        - ``broken_share``: share of the columns in which it was not seen.

    Notes
    -----
    With heights h_i of sigma s_i in n columns a distance p apart:

    .. math:: R = \sqrt{\max(0, \mathrm{var}\,h - \overline{s^2})}, \quad
        L = \frac{1}{(n - 1) p} \sum_i \sqrt{p^2 + (h_{i+1} - h_i)^2}

    over the columns that are seen. The noise of h adds about s^2 / p^2 to L. Columns closer than the line is thick
    err together, so the sigma of the mean height is that of a column over the square root of the number of
    thicknesses in the field. Under an overhang h is the outermost crossing: what is below it counts as lithium, and
    the walls of a fold as steps.

    Examples
    --------
    >>> image = np.full((16, 8), 200.0)
    >>> image[10:], image[6:, 3] = 20.0, 20.0
    >>> from operando.dendrites import find_interface
    >>> rows = dendrite_metrics(find_interface(image, rule="edge"), prominence=2)
    >>> rows.set_index("quantity")["value"][["tip_height", "mean_height", "tips"]].tolist()
    [10.0, 6.5, 1.0]
    """
    tall = _heights(interface, "dendrite_metrics")
    step, unit = axis_spacing(tall, "x", where="dendrite_metrics")
    thick = float(np.nanmedian(interface["thickness"].values)) if "thickness" in interface else 0.0
    own = tall.attrs["units"]
    if unit != own:
        raise InputError(
            f"dendrite_metrics: x and y must be in one unit, got {unit} and {own}. Calibrate both axes of the image."
        )
    stands = prominence if prominence is not None else max(thick, step) if thick > 0 else 5 * step
    if not stands > 0:
        raise InputError(f"dendrite_metrics: prominence must be positive, got {prominence!r}. It is a length along y.")
    frames = tall if "t" in tall.dims else tall.expand_dims("t")
    rows: list[dict[str, Any]] = []
    for number in range(frames.sizes["t"]):
        here = interface.isel(t=number) if "t" in interface.dims else interface
        place = {"scan": number, "t": _hours(frames, number)} if "t" in tall.dims else {}
        values = frames.isel(t=number).values
        sigma = frames["sigma"].isel(t=number).values if "t" in frames["sigma"].dims else frames["sigma"].values
        for name, (value, spread, kind, count) in _metrics(values, sigma, step, thick, stands, here).items():
            row = {"component": "interface", "quantity": name, "value": value, "n": count, "method": _METHOD}
            rows.append({**place, **row, "sigma": spread, "unit": own if kind == "length" else "1"})
    return quantity_table(rows)


def _metrics(
    values: np.ndarray, sigma: np.ndarray, step: float, thick: float, prominence: float, here: xr.Dataset
) -> dict[str, tuple[float, float, str, int]]:
    from scipy.signal import find_peaks

    seen = np.isfinite(values)
    n, nan = int(seen.sum()), float("nan")
    shares = {
        "overhang_share": (float(here["overhang"].mean()), nan, "number", values.size),
        "broken_share": (float(here["broken"].mean()), nan, "number", values.size),
    }
    if n < 2:
        return shares
    h, s = values[seen], sigma[seen]
    x = step * np.flatnonzero(seen)
    noise = float(np.mean(s**2)) if np.isfinite(s).all() else nan
    independent = max(1.0, n * step / max(thick, step))
    top = int(h.argmax())
    excess = float(np.var(h)) - (noise if np.isfinite(noise) else 0.0)
    length = float(np.hypot(np.diff(x), np.diff(h)).sum() / (x[-1] - x[0]))
    return {
        "tip_height": (float(h[top]), float(s[top]), "length", n),
        "mean_height": (float(h.mean()), float(np.sqrt(noise / independent)), "length", n),
        "roughness": (float(np.sqrt(max(0.0, excess))), nan, "length", n),
        "tips": (float(find_peaks(h, prominence=prominence)[0].size), nan, "number", n),
        "developed_length": (length, nan, "number", n),
        **shares,
    }


def _heights(interface: Any, where: str) -> xr.DataArray:
    """Heights of the columns that were seen, NaN in the others."""
    if not isinstance(interface, xr.Dataset) or not {"position", "broken", "overhang"} <= set(interface.data_vars):
        raise InputError(
            f"{where}: interface must be the Dataset of operando.dendrites.find_interface, got "
            f"{type(interface).__name__}. Find the interface first."
        )
    require_dims(interface["position"], ("x",), where=where, optional=("t",))
    tall = height(interface)
    return tall.where(~interface["broken"])


def _hours(frames: xr.DataArray, number: int) -> float:
    if "t" not in frames.coords:
        return float("nan")
    unit = str(frames["t"].attrs.get("units", "s"))
    return float(frames["t"].values[number]) * units.factor(unit, "h") if units.kind(unit) == "time" else float("nan")
