"""Where lithium grows next: the forecast of the coming interval over the last image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.growth_interface import LINE, draw_frame, frame_of, line_of
from operando.report.sections import plane_extent
from operando.report.spectral_style import finish

_AHEAD = "#0096C7"
_FAST = "#FFB000"
_COLUMNS = ("x_um", "predicted", "low", "high")


@style.styled
def next_growth(
    series: xr.DataArray,
    interface: xr.Dataset,
    forecast: pd.DataFrame,
    *,
    interval_min: float,
    simulated: bool | None = None,
) -> Any:
    """Draw where the interface is expected after the next interval, over the last image, and the rate along x.

    Parameters
    ----------
    series : DataArray, dims (t, y, x) or (y, x)
        The last image is drawn.
    interface : Dataset of ``dendrites.find_interface``
    forecast : DataFrame
        Columns ``x_um``, ``predicted``, ``low`` and ``high``, in um min-1, at points along the last frame.
    interval_min : float
        How far ahead is drawn, in minutes; the forecast is for one interval between frames.
    simulated : bool, optional
        Label the figure as simulated; default what the series says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        a, the last image around the interface, stretched normal to it: where the interface is, where it is expected,
        and the interval. b, growth rate along the electrode with its interval. The tenth of the points that is expected
        to grow fastest is marked in both.

    Raises
    ------
    InputError
        Where the forecast lacks a column, or the interval is not positive.
    """
    where = "next_growth"
    look.checked(forecast, _COLUMNS, where=where, name="forecast")
    if not interval_min > 0:
        raise InputError(f"{where}: interval_min must be positive, got {interval_min}. Pass the time between frames.")
    last = series.sizes.get("t", 1) - 1
    image = frame_of(series, last, where=where)
    unit = plane_extent(image)[1]
    points = forecast.sort_values("x_um")
    x = points["x_um"].to_numpy(dtype=float)
    rate = {name: points[name].to_numpy(dtype=float) for name in ("predicted", "low", "high")}
    # Where all points grow alike none is the fastest.
    fast = rate["predicted"] >= np.nanquantile(rate["predicted"], 0.9)
    fast &= rate["predicted"] > np.nanmin(rate["predicted"])
    from matplotlib.ticker import MaxNLocator

    figure = style.new_figure(style.DOUBLE_MM, 112)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1.0])
    draw_frame(above, image, interface, last, bar=False, scale=False)
    along, position, _ = line_of(interface, last)
    outward = -1.0 if str(interface.attrs.get("metal", "high")) == "high" else 1.0
    at = np.interp(x, along, position)
    ahead = {name: at + outward * value * interval_min for name, value in rate.items()}
    for ax, curves in ((above, ahead), (below, rate)):
        ax.fill_between(x, curves["low"], curves["high"], color=_AHEAD, alpha=0.35, lw=0)
        ax.plot(x, curves["predicted"], color=_AHEAD, lw=1.2)
        ax.plot(x, np.where(fast, curves["predicted"], np.nan), color=_FAST, lw=2.6, solid_capstyle="round")
    _zoom(above, image, position, ahead)
    times, label = look.minutes(series)
    above.set_title(f"last image ({look.time_text(times[-1], label)}) and {interval_min:g} min ahead", pad=3)
    above.set_ylabel(wording.label_text("position y", unit))
    # Stretched normal to the electrode, so that the growth of one interval shows: axes with numbers, no scale bar.
    above.yaxis.set_major_locator(MaxNLocator(5))
    above.xaxis.set_major_locator(MaxNLocator(6))
    below.axhline(0.0, color=style.INK, lw=0.5)
    below.set_xlabel(wording.label_text("position x", unit))
    below.set_ylabel(look.rate_label("growth rate", forecast, lines=2))
    below.grid(True, axis="y")
    below.set_xlim(plane_extent(image)[0][:2])
    below.tick_params(axis="x", labelbottom=True)
    figure.align_ylabels()
    style.panel_letters((above, below), indent=-34)
    _legend(figure)
    return finish(figure, True, simulated, series, forecast)


def _zoom(ax: Any, image: xr.DataArray, position: np.ndarray, ahead: dict[str, np.ndarray]) -> None:
    """Show the part of the image around the interface, at least a fifth of it."""
    _, _, low, high = plane_extent(image)[0]
    every = np.concatenate([position, *ahead.values()])
    every = every[np.isfinite(every)]
    top, bottom = (float(every.min()), float(every.max())) if every.size else (low, high)
    room = max(0.25 * (bottom - top), 0.1 * (high - low) - 0.5 * (bottom - top))
    ax.set_aspect("auto")
    ax.set_ylim(min(bottom + room, high), max(top - room, low))


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=LINE, label="interface now"),
        Line2D([], [], color=_AHEAD, label="forecast"),
        Patch(facecolor=_AHEAD, alpha=0.35, lw=0, label="its interval"),
        Line2D([], [], color=_FAST, lw=2.6, label="the tenth expected to grow fastest"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
