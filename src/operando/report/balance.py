"""The balance of each interval: what the images show beside what the coulombs allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.report import style, wording
from operando.report.lines import (
    FARADAY,
    MARKERS,
    draw_current,
    half_width,
    is_simulated,
    rows_of,
    time_label,
    time_values,
    truth_handle,
    truth_marks,
)


@style.styled
def balance(
    ledger: pd.DataFrame,
    *,
    current: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    quantity: str = "balance",
    unit: str | None = None,
    imaged: Sequence[str] = ("plated", "stripped", "dead"),
    faraday: str = "faraday",
    unaccounted: str = "unaccounted",
    simulated: bool | None = None,
) -> Any:
    """Draw what the images show per interval against what Faraday's law allows, and flag disagreement.

    Parameters
    ----------
    ledger : DataFrame
        Quantity table with rows ``quantity`` for each interval; ``scan`` is the index of the later scan.
    current : DataFrame, optional
        Columns ``time_h`` and ``current_ma``, drawn below.
    truth : DataFrame, optional
        Rows where the truth is known; open circles.
    quantity, imaged, faraday, unaccounted : str
        Names in the table: the rows, the terms measured in images, the volume that the charge allows and the rest.
    unit : str, optional
        Which rows, where the table has them in several units.
    simulated : bool, optional
        Label the figure as simulated; default ``ledger.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Above, the terms with 95 % intervals over the Faraday volume (line and band over the interval); below,
        what is unaccounted, in red where its 95 % interval leaves out zero.

    Notes
    -----
    Nothing is made to agree and nothing is summed here: every mark is a row of the table.
    """
    wanted = [*imaged, faraday, unaccounted]
    table = rows_of(ledger, quantity, None, where="balance", unit=unit)
    missing = [name for name in (faraday, unaccounted) if name not in set(table["component"])]
    if missing:
        known = sorted(set(table["component"]))
        raise InputError(
            f"balance: rows {faraday!r} and {unaccounted!r} are needed, missing {missing}. {nearest(missing[0], known)}"
        )
    table = table[table["component"].isin(wanted)]
    spans = interval_spans(ledger, table)
    shown = [name for name in imaged if name in set(table["component"])]
    heights = [1.0, 0.62] + ([0.36] if current is not None else [])
    figure = style.new_figure(style.DOUBLE_MM, 92 if current is None else 110)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    power = wording.power_of_ten(table["value"])
    scale = 10.0**-power
    unit = str(table["unit"].iloc[0])
    _draw_terms(axes[0], table, spans, shown, faraday, scale)
    axes[0].set_ylabel(wording.label_text("volume per interval", unit, power=power, lines=2))
    _draw_rest(axes[1], table, spans, unaccounted, scale)
    axes[1].set_ylabel(wording.label_text(unaccounted, unit, power=power, lines=2))
    axes[0].set_xlim(spans["start"].min(), spans["end"].max())
    if truth is not None:
        true_rows = rows_of(truth, quantity, None, where="balance", unit=unit)
        for offset, name in zip(_offsets(len(shown)), shown, strict=True):
            part = true_rows[true_rows["component"] == name].set_index("scan")["value"].reindex(spans.index)
            x = spans["middle"] + offset * spans["width"]
            axes[0].plot(x, part * scale, **truth_marks(style.INK))
    handles, texts = axes[0].get_legend_handles_labels()
    if truth is not None:
        handles.append(truth_handle())
        texts.append("truth")
    axes[0].legend(handles, texts, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles))
    if current is not None:
        draw_current(axes[2], current)
    axes[-1].set_xlabel(time_label(table))
    figure.align_ylabels()
    if is_simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure


def _offsets(count: int) -> list[float]:
    return [0.0] if count == 1 else np.linspace(-0.22, 0.22, count).tolist()


def _draw_terms(
    ax: Any, table: pd.DataFrame, spans: pd.DataFrame, shown: Sequence[str], faraday: str, scale: float
) -> None:
    coulombs = table[table["component"] == faraday].set_index("scan").reindex(spans.index)
    left, right = spans["start"] + 0.06 * spans["width"], spans["end"] - 0.06 * spans["width"]
    ax.hlines(coulombs["value"] * scale, left, right, color=style.ACCENTS["faraday"], lw=1.4, label=FARADAY)
    for low, high, start, end in zip(coulombs["low"], coulombs["high"], left, right, strict=True):
        if np.isfinite(low):
            ax.fill_between([start, end], low * scale, high * scale, color=style.ACCENTS["faraday"], alpha=0.15, lw=0)
    for index, (offset, name) in enumerate(zip(_offsets(len(shown)), shown, strict=True)):
        part = table[table["component"] == name].set_index("scan").reindex(spans.index)
        color = style.color_of(name, index=index)
        ax.errorbar(
            spans["middle"] + offset * spans["width"],
            part["value"] * scale,
            yerr=half_width(part) * scale,
            fmt=MARKERS[index % 5],
            color=color,
            elinewidth=1.0,
            label=name,
        )
    ax.axhline(0, color=style.INK, lw=0.5)


def _draw_rest(ax: Any, table: pd.DataFrame, spans: pd.DataFrame, unaccounted: str, scale: float) -> None:
    rest = table[table["component"] == unaccounted].set_index("scan").reindex(spans.index)
    off = (rest["low"] > 0) | (rest["high"] < 0)
    unknown = rest["sigma"].isna()
    drawn = (
        (~off & ~unknown, style.ACCENTS["unaccounted"], "o", "agrees within 95 %"),
        (off, style.FLAG, "X", "disagrees beyond 95 %"),
        (unknown & rest["value"].notna(), style.MISSING, "o", "interval not known"),
    )
    for which, color, marker, label in drawn:
        if which.any():
            ax.errorbar(
                spans["middle"][which],
                rest["value"][which] * scale,
                yerr=half_width(rest[which]) * scale,
                fmt=marker,
                color=color,
                markersize=5 if marker == "X" else 3.5,
                markeredgewidth=0,
                elinewidth=1.0,
                label=label,
            )
    for scan in spans.index[off]:
        ax.axvspan(spans["start"][scan], spans["end"][scan], color=style.FLAG, alpha=0.06, lw=0)
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def interval_spans(ledger: pd.DataFrame, table: pd.DataFrame, *, time: str = "t") -> pd.DataFrame:
    """Start, end, middle and width of each interval on the x axis, indexed by the later scan."""
    inside = ledger[ledger["scan"] >= 0]
    times = pd.Series(time_values(inside, time, where="interval_spans"), index=inside["scan"]).groupby(level=0).first()
    scans = sorted(set(table["scan"]))
    end = times.reindex(scans).to_numpy(dtype=float)
    # The scan before may have no rows of its own in a table of balances only.
    usual = float(np.median(np.diff(end))) if len(end) > 1 else 1.0
    before = times.reindex([scan - 1 for scan in scans]).to_numpy(dtype=float)
    start = np.where(np.isfinite(before), before, end - usual)
    return pd.DataFrame({"start": start, "end": end, "middle": (start + end) / 2, "width": end - start}, index=scans)
