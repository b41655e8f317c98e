"""Quantities of the ledger over time: volumes and thickness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.lines import (
    draw_current,
    has_truth,
    interval_legend,
    is_simulated,
    least_span,
    line_panels,
    names_of,
    quantity_line,
    rows_of,
    shade_discharge,
    time_label,
)


@style.styled
def component_volumes(
    ledger: pd.DataFrame,
    *,
    current: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    quantity: str = "volume",
    unit: str | None = None,
    time: str = "t",
    turn: float | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw component volumes over time with 95 % intervals, above the current on the same time axis.

    Parameters
    ----------
    ledger : DataFrame
        Quantity table (``core.quantities.COLUMNS``); ``t`` in hours. Where it has columns ``low`` and ``high`` they
        are the interval; where it has a column ``truth`` that is drawn as open circles.
    current : DataFrame, optional
        Columns ``time_h`` and ``current_ma``; positive is charging.
    truth : DataFrame, optional
        Quantity table of the same rows where the truth is known; drawn as open circles.
    components : sequence of str, optional
        Default: all but electrolyte and background.
    quantity, unit : str
        Which rows of the table; the unit only where there are several.
    time : str
        Column of the table on the x axis: ``t``, or ``applied_h`` where only the hours under current count.
    turn : float, optional
        Where charge turns to discharge, on the x axis; what follows is shaded.
    phases : PhaseScheme or mapping, optional
        For the colors; default the usual phases of a cell.
    simulated : bool, optional
        Label the figure as simulated; default ``ledger.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        One panel per component, each with its own volume axis, because an electrode is a hundred times a dendrite.

    Raises
    ------
    InputError
        Where the table has no such rows or column, or the current has another time axis.
    """
    if current is not None and time != "t":
        raise InputError(
            f"component_volumes: the current is drawn over t, got time={time!r}. Leave out current or time."
        )
    rows = rows_of(ledger, quantity, components, where="component_volumes", unit=unit)
    names = names_of(rows, components)
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    width = style.SINGLE_MM if columns == 1 else style.DOUBLE_MM
    figure = style.new_figure(width, 38 * lines + (26 if current is not None else 10) + 4)
    heights = [1.0] * lines + ([0.42] if current is not None else [])
    axes = figure.subplots(len(heights), columns, sharex=True, squeeze=False, height_ratios=heights)
    for index, name in enumerate(names):
        ax = axes[index // columns, index % columns]
        part = rows[rows["component"] == name]
        power = wording.power_of_ten([*part["value"], *_values(truth, quantity, name)])
        color = style.color_of(name, phases, index=index)
        quantity_line(ax, rows, name, color=color, quantity=quantity, truth=truth, time=time, scale=10.0**-power)
        ax.set_ylabel(wording.label_text(quantity, str(part["unit"].iloc[0]), power=power))
        least_span(ax)
        title = "\n".join(wording.wrapped(name, width / columns - 17, bold=True))
        ax.set_title(title, loc="left", color=style.INK, fontweight="bold", pad=3)
    spare = list(axes[:lines].ravel()[len(names) :])
    for ax in spare:
        ax.set_axis_off()
    if current is not None:
        for column, ax in enumerate(axes[-1]):
            draw_current(ax, current)
            ax.set_ylabel(ax.get_ylabel() if column == 0 else "")
            ax.tick_params(labelleft=column == 0)
    for ax in axes.ravel():
        if ax not in spare:
            shade_discharge(ax, turn)
    last = [axes[-1, column] for column in range(columns)]
    if current is None:
        last = [axes[(len(names) - 1 - column) // columns, column] for column in range(columns)]
    for ax in last:
        ax.set_xlabel(time_label(rows, time))
        ax.tick_params(labelbottom=True)
    figure.align_ylabels()
    interval_legend(spare[0] if spare else figure, has_truth(rows, truth), turned=turn is not None)
    if is_simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure


def _values(truth: pd.DataFrame | None, quantity: str, name: str) -> Sequence[float]:
    if truth is None:
        return []
    return truth.loc[(truth["quantity"] == quantity) & (truth["component"] == name), "value"].tolist()


@style.styled
def quantity_lines(
    ledger: pd.DataFrame,
    *,
    quantity: str = "volume",
    components: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    unit: str | None = None,
    label: str | None = None,
    time: str = "t",
    turn: float | None = None,
    truth: pd.DataFrame | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw one quantity of several components in one panel, with 95 % intervals.

    Parameters
    ----------
    ledger, quantity, components, unit, time, turn, truth, phases, simulated
        As in :func:`component_volumes`.
    names : mapping of str to str, optional
        What the legend calls a component.
    label : str, optional
        Of the y axis, without unit; default the quantity.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where the table has no such rows or column.

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> rows = [{"scan": s, "t": s / 2, "component": c, "quantity": "volume", "value": 2e6, "unit": "um3"}
    ...     for s in (0, 1) for c in ("dendrite", "deposited")]
    >>> figure = quantity_lines(quantity_table(rows), components=["dendrite"], label="volume of lithium")
    >>> figure.axes[0].get_ylabel(), figure.axes[0].lines[0].get_ydata().tolist()
    ('Volume of lithium [10⁶ µm³]', [2.0, 2.0])
    """
    rows = rows_of(ledger, quantity, components, where="quantity_lines", unit=unit)
    groups = [names_of(rows, components)]
    return line_panels(
        ledger,
        rows,
        groups,
        truth=truth,
        quantity=quantity,
        phases=phases,
        simulated=simulated,
        ax=ax,
        time=time,
        turn=turn,
        names=names,
        label=label,
    )


@style.styled
def thickness(
    ledger: pd.DataFrame,
    *,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    sides: Sequence[str] = ("plating side", "stripping side"),
    quantity: str = "effective thickness",
    time: str = "t",
    turn: float | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw effective thickness over time with 95 % intervals: components, and the sum of lithium on each side.

    Parameters
    ----------
    ledger, truth, components, time, turn, phases, simulated
        As in :func:`component_volumes`.
    sides : sequence of str
        Components that are sums over a side of the cell; where the table has them they get a panel of their own.
    quantity : str
        Rows in um (volume over area).
    ax : Axes, optional
        Draw everything into these axes instead of new panels.

    Returns
    -------
    matplotlib Figure
    """
    rows = rows_of(ledger, quantity, components, where="thickness")
    names = names_of(rows, components)
    groups = [*_by_size(rows, [n for n in names if n not in sides]), [n for n in names if n in sides]]
    return line_panels(
        ledger,
        rows,
        [g for g in groups if g],
        truth=truth,
        quantity=quantity,
        phases=phases,
        simulated=simulated,
        ax=ax,
        time=time,
        turn=turn,
    )


def _by_size(rows: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """Split components in two where the largest gap in size is more than threefold: an electrode hides a dendrite."""
    top = {name: float(rows.loc[rows["component"] == name, "value"].abs().max()) for name in names}
    ordered = sorted(names, key=lambda name: -top[name])
    ratios = [top[a] / top[b] if top[b] else 1.0 for a, b in pairwise(ordered)]
    if not ratios or max(ratios) < 3:
        return [list(names)]
    large = set(ordered[: 1 + int(np.argmax(ratios))])
    return [[n for n in names if n in large], [n for n in names if n not in large]]
