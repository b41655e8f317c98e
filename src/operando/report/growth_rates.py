"""How fast the electrode grew, beside what dense lithium would, and how the salt at its surface ran out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.spectral_style import finish

_COLUMNS = ("experiment", "frame", "t_min", "stage", "growth_rate", "growth_rate_next", "concentration")


@style.styled
def growth_over_time(
    table: pd.DataFrame,
    *,
    stages: Mapping[str, xr.DataArray] | None = None,
    faraday: Mapping[str, float] | None = None,
    surface: Mapping[str, xr.DataArray] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw growth rate and surface concentration over time, with the stages behind them.

    Parameters
    ----------
    table : DataFrame of ``dendrites.growth_features``
        ``growth_rate`` is that of the interval before ``t_min``, ``growth_rate_next`` that of the interval after it, in
        um min-1.
    stages : mapping of experiment to DataArray, dims (t,), optional
        Of ``dendrites.depletion_stage``; default the column ``stage``, which begins at the second frame.
    faraday : mapping of experiment to float, optional
        Growth rate of dense lithium at the current of each experiment, in um min-1.
    surface : mapping of experiment to DataArray, dims (t,) or (t, x), optional
        Of ``dendrites.surface_concentration``; default the column ``concentration``, which begins at the second frame.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A column per experiment. Above, the mean growth rate of every interval and the band that holds 80 % of the
        points; below, the mean concentration at the surface relative to the first time shown. The shade of an interval
        is the stage at its start.

    Examples
    --------
    >>> table = pd.DataFrame({"experiment": "a", "frame": [1, 1, 2, 2], "t_min": [5.0, 5.0, 10.0, 10.0],
    ...     "stage": "none", "growth_rate": 0.1, "growth_rate_next": 0.2, "concentration": 0.3})
    >>> figure = growth_over_time(table, faraday={"a": 0.05})
    >>> [float(y) for y in figure.axes[0].lines[0].get_ydata()]
    [0.1, 0.1, 0.1, 0.1, 0.2, 0.2]
    """
    look.checked(table, _COLUMNS, where="growth_over_time")
    names = list(dict.fromkeys(table["experiment"].astype(str)))
    parts = {name: table[table["experiment"].astype(str) == name] for name in names}
    clocks = {name: _clock(part, None if stages is None else stages.get(name)) for name, part in parts.items()}
    rates = {name: _rates(part, clocks[name]) for name, part in parts.items()}
    spans = np.array([float(rate["end"].max() - rate["start"].min()) for rate in rates.values()])
    # A short experiment still needs room for its labels.
    widths = np.maximum(spans / spans.max(), 0.45)
    figure = style.new_figure(style.DOUBLE_MM, 88)
    axes = figure.subplots(2, len(names), sharex="col", sharey="row", squeeze=False, width_ratios=list(widths))
    shaded: list[str] = []
    for column, name in enumerate(names):
        top, bottom = axes[:, column]
        shaded += _shade((top, bottom), rates[name], _stages(parts[name], None if stages is None else stages.get(name)))
        _draw_rate(top, rates[name], None if faraday is None else faraday.get(name))
        salt = _salt(parts[name]) if surface is None or name not in surface else _given(surface[name])
        bottom.plot(*salt, color=style.INK, marker="o", ms=3)
        bottom.set_ylim(0.0, max(1.08, 1.05 * float(np.max(salt[1][np.isfinite(salt[1])], initial=0.0))))
        if len(names) > 1:
            top.set_title("\n".join(wording.wrapped(look.plain(name), 34)), pad=3)
        bottom.set_xlabel(look.time_axis(table))
        for ax in (top, bottom):
            ax.grid(True, axis="y")
            ax.locator_params(axis="x", nbins=4)
    axes[0, 0].set_ylabel(look.rate_label("growth rate", table, lines=2))
    axes[1, 0].set_ylabel("Salt at the surface,\nrelative to the start")
    style.panel_letters(axes[:, 0], indent=-38)
    _legend(figure, shaded, faraday is not None)
    return finish(figure, True, simulated, table)


def _clock(part: pd.DataFrame, stages: xr.DataArray | None) -> dict[int, float]:
    """Time of every frame of an experiment, by its number."""
    frames, first = np.unique(part["frame"].to_numpy(dtype=int), return_index=True)
    t = part["t_min"].to_numpy(dtype=float)[first]
    times: dict[int, float] = dict(zip(frames.tolist(), t.tolist(), strict=True))
    if stages is not None:
        times |= dict(enumerate(look.minutes(stages)[0].tolist()))
    # The table does not hold the first and the last time: their intervals are as long as the others.
    step = float(np.median(np.diff(t) / np.diff(frames))) if t.size > 1 else abs(float(t[0])) or 1.0
    for frame in frames.tolist():
        times.setdefault(frame - 1, times[frame] - step)
        times.setdefault(frame + 1, times[frame] + step)
    return times


def _rates(part: pd.DataFrame, clock: Mapping[int, float]) -> pd.DataFrame:
    """Start, end, mean and spread of the growth rate of every interval of an experiment."""
    intervals: dict[int, np.ndarray] = {}
    numbers = part["frame"].to_numpy(dtype=int)
    for frame in np.unique(numbers).tolist():
        group = part[numbers == frame]
        intervals[frame] = group["growth_rate"].to_numpy(dtype=float)
        intervals[frame + 1] = group["growth_rate_next"].to_numpy(dtype=float)
    rows = []
    for end, values in sorted(intervals.items()):
        if np.isfinite(values).any():
            spread = np.nanpercentile(values, [10, 90])
            rows.append((clock[end - 1], clock[end], float(np.nanmean(values)), *spread))
    return pd.DataFrame(rows, columns=["start", "end", "mean", "low", "high"])


def _draw_rate(ax: Any, rates: pd.DataFrame, faraday: float | None) -> None:
    at = rates[["start", "end"]].to_numpy().ravel()
    mean, low, high = (np.repeat(rates[name].to_numpy(), 2) for name in ("mean", "low", "high"))
    # What was not measured is a gap, not a line across it.
    gaps = 2 * np.flatnonzero(rates["start"].to_numpy()[1:] > rates["end"].to_numpy()[:-1]) + 2
    at, mean, low, high = (np.insert(values, gaps, np.nan) for values in (at, mean, low, high))
    ax.plot(at, mean, color=style.INK, lw=1.4, zorder=3)
    ax.fill_between(at, low, high, color=style.INK, alpha=0.2, lw=0, zorder=2)
    ax.axhline(0.0, color=style.INK, lw=0.5)
    if faraday is not None:
        ax.axhline(faraday, color=style.FLAG, lw=1.0, ls=(0, (4, 2)), zorder=3)


def _salt(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    means = part.groupby("frame", sort=True)[["t_min", "concentration"]].mean()
    values = means["concentration"].to_numpy(dtype=float)
    return means["t_min"].to_numpy(dtype=float), _relative(values)


def _given(surface: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    mean = surface.mean([dim for dim in surface.dims if dim != "t"]) if surface.ndim > 1 else surface
    values = np.asarray(mean.values, dtype=float)
    return look.minutes(surface)[0], _relative(values)


def _relative(values: np.ndarray) -> np.ndarray:
    """Values over the first that is known; NaN where none is."""
    known = values[np.isfinite(values) & (values > 0)]
    return values / known[0] if known.size else np.full(values.shape, np.nan)


def _stages(part: pd.DataFrame, stages: xr.DataArray | None) -> list[tuple[float, str]]:
    """Time and stage of every frame that is known."""
    if stages is not None:
        return list(zip(look.minutes(stages)[0].tolist(), look.stage_names(stages), strict=True))
    first = part.groupby("frame", sort=True)[["t_min", "stage"]].first()
    return [(float(t), str(stage)) for t, stage in zip(first["t_min"], first["stage"], strict=True)]


def _shade(axes: tuple[Any, ...], rates: pd.DataFrame, stages: list[tuple[float, str]]) -> list[str]:
    """Shade every interval by the stage at its start; returns the stages."""
    left, right = float(rates["start"].min()), float(rates["end"].max())
    ends = [*(t for t, _ in stages[1:]), right]
    shown = []
    for (start, stage), end in zip(stages, ends, strict=True):
        if end > start:
            shown.append(stage)
            for ax in axes:
                ax.axvspan(start, end, color=look.stage_color(stage), alpha=0.16, lw=0, zorder=0)
    for ax in axes:
        ax.set_xlim(left, right + 0.02 * (right - left))
    return shown


def _legend(figure: Any, stages: list[str], with_faraday: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=style.INK, label="mean"),
        Patch(facecolor=style.INK, alpha=0.2, lw=0, label="80 % of the points"),
    ]
    if with_faraday:
        handles.append(Line2D([], [], color=style.FLAG, ls=(0, (4, 2)), lw=1.0, label="dense lithium (Faraday)"))
    handles += look.stage_handles(stages, patch=True)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.1, handlelength=1.3)
