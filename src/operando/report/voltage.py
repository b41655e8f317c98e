"""Voltage and current of a cell over its steps, with the current at which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.core.units import factor
from operando.report import style, wording
from operando.report.lines import draw_current
from operando.report.steps import SHADES, step_kind

_VOLTAGE = "#0072B2"
_UNITS = ("uA", "mA", "A", "cm-2")


@style.styled
def voltage_trace(
    cycler: pd.DataFrame,
    *,
    onset_h: float | None = None,
    onset: str = "",
    scans_h: Sequence[float] | np.ndarray | None = None,
    steps: Sequence[str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw voltage and current over time, and where the critical current was met (Dixit 2020, Fig. S6).

    Parameters
    ----------
    cycler : DataFrame
        Columns ``time_h``, ``current_ma`` and ``voltage_v``, as ``electrochemistry.read_cycler`` returns.
    onset_h : float, optional
        Time at which the voltage drops or turns noisy, as ``electrochemistry.critical_current`` finds it; NaN or
        None: no mark.
    onset : str
        What stands beside the mark, for example ``drop at 0.026 mA cm-2``; without a mark, what is said instead of
        it, for example up to which current density nothing was seen.
    scans_h : sequence of float, optional
        Times of the scans in hours: marked below the current, and where one step ends and the next begins.
    steps : sequence of str, optional
        Name of each scan; plating and stripping are shaded between the scans.
    simulated : bool, optional
        Label the figure as simulated; default ``cycler.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where a column is missing, no voltage is known, or the names do not match the scans.

    Examples
    --------
    >>> record = pd.DataFrame({"time_h": [0.0, 1.0], "current_ma": [1.0, 1.0], "voltage_v": [0.05, 0.2]})
    >>> voltage_trace(record, onset_h=0.8, onset="drop at 26 uA cm-2").axes[1].texts[0].get_text()
    'drop at 26 µA cm⁻²'
    """
    where = "voltage_trace"
    missing = [name for name in ("time_h", "current_ma", "voltage_v") if name not in cycler]
    if missing:
        raise InputError(
            f"{where}: the columns time_h, current_ma, voltage_v are needed, missing {missing}, got "
            f"{list(cycler.columns)}. Rename them."
        )
    volts = cycler["voltage_v"].to_numpy(dtype=float)
    if not np.isfinite(volts).any():
        raise InputError(f"{where}: the record must hold a voltage, got none that is finite. Leave the figure out.")
    times = None if scans_h is None else np.asarray(scans_h, dtype=float)
    if steps is not None and (times is None or len(steps) != times.size):
        count = 0 if times is None else times.size
        raise InputError(
            f"{where}: steps need the time of each scan, got {len(steps)} names and {count} times. Pass scans_h."
        )
    top = float(np.nanmax(np.abs(volts)))
    unit = next((name for name in ("V", "mV") if top * factor("V", name) >= 0.1), "uV")
    figure = style.new_figure(style.DOUBLE_MM, 78)
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.4])
    ax.plot(cycler["time_h"], volts * factor("V", unit), color=_VOLTAGE, lw=0.7)
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set_ylabel(wording.label_text("voltage", unit, lines=2))
    draw_current(below, cycler)
    below.set_xlabel("Time [h]")
    span = cycler["time_h"].min(), cycler["time_h"].max()
    below.set_xlim(*span)
    if times is not None:
        _mark_scans(ax, below, times, steps)
    _mark_onset(ax, below, cycler["time_h"].to_numpy(dtype=float), onset_h, onset)
    figure.align_ylabels()
    if style.is_simulated(cycler) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _mark_scans(ax: Any, below: Any, times: np.ndarray, steps: Sequence[str] | None) -> None:
    low = below.get_ylim()[0]
    below.plot(times, np.full(times.shape, low), "^", color=style.INK, markersize=4, clip_on=False)
    below.set_xlabel("Time [h], scans at ▲")
    for index, (start, end) in enumerate(pairwise(times), start=1):
        if steps is None:
            continue
        kind = step_kind(steps[index])
        if kind:
            for each in (ax, below):
                each.axvspan(start, end, color=SHADES[kind], lw=0, zorder=0)
        where = {"xycoords": ax.get_xaxis_transform(), "xytext": (0, 2), "textcoords": "offset points"}
        ax.annotate(steps[index], ((start + end) / 2, 1.0), ha="center", va="bottom", fontsize=7, **where)


def _mark_onset(ax: Any, below: Any, times: np.ndarray, onset_h: float | None, onset: str) -> None:
    # Units as people write them, whatever stands around them.
    words = [wording.unit_text(word) if word in _UNITS else word for word in onset.split()]
    # Between the panels, where no trace is.
    look: dict[str, Any] = {"fontweight": "bold", "xycoords": below.get_xaxis_transform(), "va": "bottom"}
    if onset_h is None or not np.isfinite(onset_h):
        below.annotate(" ".join(words), (times[0], 1.04), ha="left", color=style.MUTED, **look)
        return
    for each in (ax, below):
        each.axvline(float(onset_h), color=style.FLAG, lw=1.0)
    side = "left" if onset_h < (times[0] + times[-1]) / 2 else "right"
    below.annotate(" ".join(words), (float(onset_h), 1.04), ha=side, color=style.FLAG, **look)
