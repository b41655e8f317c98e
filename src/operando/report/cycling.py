"""The cycler's record: voltage, its envelope over the pulses, and current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.core.units import factor
from operando.report import style, wording
from operando.report.lines import draw_current

_COLORS = {"voltage": "#0072B2", "charge": "#D55E00", "discharge": "#009E73"}


@style.styled
def voltage_envelope(
    cycler: pd.DataFrame,
    pulses: pd.DataFrame | None = None,
    *,
    scans_h: Sequence[float] | np.ndarray | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw voltage and current over time, and the envelope: the largest voltage of each pulse of current.

    Parameters
    ----------
    cycler : DataFrame
        Columns ``time_h``, ``current_ma`` and ``voltage_v``, as ``electrochemistry.read_cycler`` returns.
    pulses : DataFrame, optional
        Columns ``start_h``, ``end_h`` and ``peak_v``, a row per pulse, as ``electrochemistry.pulses`` returns; the
        sign of ``peak_v`` parts charge from discharge. The envelope joins the peaks (Huang 2023, Supplementary Fig. 3).
    scans_h : sequence of float, optional
        Times of the scans in hours, marked below the current (Huang 2023, Fig. 1c).
    simulated : bool, optional
        Label the figure as simulated; default ``cycler.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where a column is missing or no voltage is known.

    Examples
    --------
    >>> record = pd.DataFrame({"time_h": [0.0, 1.0], "current_ma": [1.0, 1.0], "voltage_v": [0.05, 0.2]})
    >>> voltage_envelope(record).axes[0].get_ylabel()
    'Voltage\\n[V]'
    """
    for table, needed in ((cycler, ("time_h", "current_ma", "voltage_v")), (pulses, ("start_h", "end_h", "peak_v"))):
        missing = [] if table is None else [name for name in needed if name not in table]
        if table is not None and missing:
            raise InputError(
                f"voltage_envelope: the columns {', '.join(needed)} are needed, missing {missing}, got "
                f"{list(table.columns)}. Rename them."
            )
    volts = cycler["voltage_v"].to_numpy(dtype=float)
    if not np.isfinite(volts).any():
        raise InputError(
            "voltage_envelope: the record must hold a voltage, got none that is finite. Leave the figure out."
        )
    top = float(np.nanmax(np.abs(volts)))
    unit = next((name for name in ("V", "mV") if top * factor("V", name) >= 0.1), "uV")
    scale = factor("V", unit)
    figure = style.new_figure(style.SINGLE_MM, 76)
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.36])
    ax.plot(cycler["time_h"], volts * scale, color=_COLORS["voltage"], lw=0.6, alpha=0.8, label="voltage")
    if pulses is not None:
        middle = (pulses["start_h"] + pulses["end_h"]) / 2
        for name, which in (("charge", pulses["peak_v"] > 0), ("discharge", pulses["peak_v"] < 0)):
            if which.any():
                peaks = pulses["peak_v"][which] * scale
                ax.plot(middle[which], peaks, color=_COLORS[name], marker="o", markersize=3, label=f"peaks, {name}")
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set_ylabel(wording.label_text("voltage", unit, lines=2))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    draw_current(below, cycler)
    if scans_h is not None:
        times = np.asarray(scans_h, dtype=float)
        low = below.get_ylim()[0]
        below.plot(times, np.full(times.shape, low), "^", color=style.FLAG, markersize=4, clip_on=False, label="scan")
        below.legend(loc="upper right", bbox_to_anchor=(1.0, 1.3))
    below.set_xlabel("Time [h]")
    figure.align_ylabels()
    if style.is_simulated(cycler) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure
