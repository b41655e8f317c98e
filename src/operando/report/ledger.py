"""The lithium ledger as a chart and as a table: per interval and since the first scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.balance import interval_spans
from operando.report.lines import (
    FARADAY,
    half_width,
    has_truth,
    is_simulated,
    quantity_line,
    rows_of,
    shade_discharge,
    time_label,
    true_values,
    truth_handle,
    truth_marks,
)

TERMS = ("plated", "stripped", "dead", "redeposited", "unaccounted")


@style.styled
def ledger_chart(
    ledger: pd.DataFrame,
    *,
    per_interval: str = "balance",
    cumulative: str | None = "cumulative",
    components: Sequence[str] = TERMS,
    faraday: str = "faraday",
    unaccounted: str = "unaccounted",
    unit: str | None = None,
    truth: pd.DataFrame | None = None,
    time: str = "t",
    turn: float | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the terms of the ledger: bars per interval on the left, lines since the first scan on the right.

    Parameters
    ----------
    ledger : DataFrame
        Quantity table as of ``electrochemistry.ledger``; ``scan`` is the later scan of an interval. Columns ``low``,
        ``high`` and ``truth`` are used where there are any.
    per_interval, cumulative : str
        Quantities: ``balance`` and ``cumulative`` in um3; with ``" thickness"`` behind them in um, with
        ``" capacity"`` in mAh cm-2. Without cumulative rows, or None, only the bars are drawn.
    components : sequence of str
        Terms, from top to bottom; those that the table does not have are left out.
    faraday, unaccounted : str
        Names of the volume that the charge stands for, drawn as a line over the first term, and of the rest, drawn
        red where its interval leaves out zero.
    unit : str, optional
        Which rows, where a quantity has several units.
    truth : DataFrame, optional
        Table of the same rows where the truth is known; open circles.
    time, turn, phases, simulated
        As in :func:`operando.report.component_volumes`.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        All values as they are in the table: what was stripped is a positive loss.

    Raises
    ------
    InputError
        Where the table has no such rows.
    """
    bars = rows_of(ledger, per_interval, None, where="ledger_chart", unit=unit)
    known = [name for name in components if name in set(bars["component"])]
    if not known:
        raise InputError(
            f"ledger_chart: rows of at least one of {', '.join(components)} are needed, got "
            f"{sorted(set(bars['component']))}. {nearest(components[0], set(bars['component']))}"
        )
    lines = None
    if cumulative is not None and (ledger["quantity"] == cumulative).any():
        lines = rows_of(ledger, cumulative, None, where="ledger_chart", unit=unit)
    spans = interval_spans(ledger, bars, time=time)
    kinds = [bars] if lines is None else [bars, lines]
    shown = [table[table["component"].isin([*known, faraday])] for table in kinds]
    powers = [wording.power_of_ten(table["value"]) for table in shown]
    figure = style.new_figure(style.SINGLE_MM if lines is None else style.DOUBLE_MM, 20 + 25 * len(known))
    axes = figure.subplots(len(known), len(kinds), sharex=True, squeeze=False)
    for row, name in enumerate(known):
        color = style.color_of(name, phases, index=row)
        _bars(axes[row, 0], bars, name, spans, color, 10.0 ** -powers[0], flag=name == unaccounted)
        _true_bars(axes[row, 0], bars, name, spans, 10.0 ** -powers[0], per_interval, truth)
        if row == 0:
            _faraday_bars(axes[0, 0], bars, faraday, spans, 10.0 ** -powers[0])
        if lines is not None:
            _sums(axes[row, 1], lines, name, color, 10.0 ** -powers[1], str(cumulative), truth, time)
            if row == 0 and faraday in set(lines["component"]):
                options: dict[str, Any] = {"color": style.INK, "marker": "", "scale": 10.0 ** -powers[1]}
                quantity_line(axes[0, 1], lines, faraday, time=time, label=FARADAY, **options)
        axes[row, 0].set_ylabel(name.capitalize())
    margin = 0.015 * (spans["end"].max() - spans["start"].min())
    axes[0, 0].set_xlim(spans["start"].min() - margin, spans["end"].max() + margin)
    for ax in axes.ravel():
        shade_discharge(ax, turn)
        ax.axhline(0, color=style.INK, lw=0.5)
    unit_of = str(bars["unit"].iloc[0])
    for column, (text, power) in enumerate(zip(("Per interval", "Since the first scan"), powers, strict=False)):
        axes[0, column].set_title(wording.label_text(text, unit_of, power=power), loc="left", fontweight="bold")
        axes[-1, column].set_xlabel(time_label(bars, time))
    figure.align_ylabels()
    rest = bars[bars["component"] == unaccounted]
    flagged = unaccounted in known and bool(((rest["low"] > 0) | (rest["high"] < 0)).any())
    _legend(figure, flagged, has_truth(bars, truth), turn is not None)
    if is_simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure


def _bars(ax: Any, rows: pd.DataFrame, name: str, spans: pd.DataFrame, color: str, scale: float, *, flag: bool) -> None:
    part = rows[rows["component"] == name].set_index("scan").reindex(spans.index)
    colors = [style.FLAG if flag and off else color for off in (part["low"] > 0) | (part["high"] < 0)]
    ax.bar(spans["middle"], part["value"] * scale, width=0.78 * spans["width"], color=colors, alpha=0.85, lw=0)
    ax.errorbar(
        spans["middle"],
        part["value"] * scale,
        yerr=half_width(part) * scale,
        fmt="none",
        ecolor=style.INK,
        elinewidth=0.8,
    )
    ax.grid(True, axis="y")


def _true_bars(
    ax: Any,
    rows: pd.DataFrame,
    name: str,
    spans: pd.DataFrame,
    scale: float,
    quantity: str,
    truth: pd.DataFrame | None,
) -> None:
    part = rows[rows["component"] == name]
    known = true_values(part, name, quantity, truth)
    if known is not None:
        size = 1.0 if len(part) <= 16 else 0.6
        ax.plot(spans["middle"].reindex(part["scan"]), known * scale, **truth_marks(style.INK, size=size))


def _faraday_bars(ax: Any, rows: pd.DataFrame, faraday: str, spans: pd.DataFrame, scale: float) -> None:
    part = rows[rows["component"] == faraday].set_index("scan").reindex(spans.index)
    edge = 0.04 * spans["width"]
    ax.hlines(part["value"] * scale, spans["start"] + edge, spans["end"] - edge, color=style.INK, lw=1.4)


def _sums(
    ax: Any,
    rows: pd.DataFrame,
    name: str,
    color: str,
    scale: float,
    quantity: str,
    truth: pd.DataFrame | None,
    time: str,
) -> None:
    if name in set(rows["component"]):
        quantity_line(ax, rows, name, color=color, quantity=quantity, truth=truth, time=time, scale=scale)
    else:
        ax.text(0.5, 0.5, "not in the table", ha="center", va="center", color=style.MUTED, transform=ax.transAxes)


def _legend(figure: Any, flagged: bool, with_truth: bool, turned: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=style.INK, lw=1.4),
        Line2D([], [], color=style.INK, lw=0.8, marker="|", ls="none", markersize=7),
    ]
    texts = [FARADAY, "95 % interval"]
    if flagged:
        handles.append(Patch(facecolor=style.FLAG, alpha=0.85, lw=0))
        texts.append("interval leaves out 0")
    if with_truth:
        handles.append(truth_handle())
        texts.append("truth")
    if turned:
        handles.append(Patch(facecolor=style.GRID, lw=0))
        texts.append("discharge")
    figure.legend(handles, texts, loc="outside lower center", ncols=len(handles))


def ledger_table(
    ledger: pd.DataFrame,
    *,
    quantity: str = "cumulative",
    components: Sequence[str] = (*TERMS, "faraday"),
    scans: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Lay out the terms of the ledger for a page: a row per scan and term, spelled in um3, um and mAh cm-2.

    Parameters
    ----------
    ledger : DataFrame
        Quantity table as of ``electrochemistry.ledger``.
    quantity : str
        ``balance`` (per interval) or ``cumulative``; the rows ``<quantity> thickness`` and ``<quantity> capacity``
        are taken along where there are any.
    components : sequence of str
        Terms; those that the table does not have are left out.
    scans : sequence of int, optional
        Default all.

    Returns
    -------
    DataFrame of text
        Columns ``scan``, ``time``, ``term``, ``volume``, ``thickness`` and ``capacity``: value and half width of the
        95 % interval, rounded to what that supports. The numbers themselves are in the ledger.

    Raises
    ------
    InputError
        Where the table has no such rows.

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> row = {"scan": 1, "t": 1.5, "component": "plated", "quantity": "cumulative", "value": 2.0e6, "sigma": 5e4,
    ...     "unit": "um3"}
    >>> ledger_table(quantity_table([row])).iloc[0].tolist()
    ['1', '1.50 h', 'plated', '(2.000 ± 0.098) × 10⁶ µm³']
    """
    rows = rows_of(ledger, quantity, None, where="ledger_table", unit="um3")
    columns = {"volume": rows}
    for name in ("thickness", "capacity"):
        if (ledger["quantity"] == f"{quantity} {name}").any():
            columns[name] = rows_of(ledger, f"{quantity} {name}", None, where="ledger_table")
    cells = {name: _spelled(table) for name, table in columns.items()}
    lines = []
    for scan in sorted(set(rows["scan"])) if scans is None else scans:
        at = rows[rows["scan"] == scan]
        for component in components:
            if component in set(at["component"]):
                t = float(at["t"].iloc[0])
                line = {"scan": str(scan), "time": f"{t:.2f} h" if np.isfinite(t) else "", "term": component}
                lines.append(line | {name: cell.get((scan, component), "") for name, cell in cells.items()})
    return pd.DataFrame(lines, columns=["scan", "time", "term", *cells])


def _spelled(rows: pd.DataFrame) -> dict[tuple[int, str], str]:
    return {
        (int(row["scan"]), str(row["component"])): wording.quantity_text(
            float(row["value"]), float(row["high"] - row["low"]) / 2, str(row["unit"])
        )
        for _, row in rows.iterrows()
    }
