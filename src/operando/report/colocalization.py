"""Where two maps agree: their correlation over the scans, beside what chance would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.report import style
from operando.report.lines import (
    has_truth,
    is_simulated,
    quantity_line,
    rows_of,
    shade_discharge,
    time_label,
    time_values,
    truth_handle,
)

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


@style.styled
def correlation_series(
    table: pd.DataFrame,
    *,
    pairs: Sequence[str] | Mapping[str, str] | None = None,
    quantity: str = "pearson",
    null: str | None = None,
    label: str = "Pearson coefficient",
    time: str = "t",
    turn: float | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the correlation of pairs of maps over time beside what chance gives (Huang 2023, Supplementary Fig. 9).

    Parameters
    ----------
    table : DataFrame
        Quantity table as of ``morphometry.colocalize``, a component per pair of maps, such as ``pit~deposited``.
        Columns ``null_low`` and ``null_high``, where it has them, bound 95 % of what maps without relation give.
    pairs : sequence of str, or mapping of str to str, optional
        Components, a panel each, and what their titles call them; default all.
    quantity : str
        Rows with the coefficient, -1 to 1.
    null : str, optional
        Quantity of the rows that bound what chance gives, from minus to plus their value; default the quantity with
        ``" null limit"`` behind it, where the table has such rows.
    label : str
        Of the y axis.
    time, turn, simulated
        As in :func:`operando.report.component_volumes`.

    Returns
    -------
    matplotlib Figure
        88 mm wide for one pair, 180 mm for more. One axis from -1 to 1 for all, or less where nothing leaves
        +-0.5.

    Raises
    ------
    InputError
        Where the table has no such rows.
    """
    chosen = list(pairs) if pairs is not None else None
    rows = rows_of(table, quantity, chosen, where="correlation_series")
    chosen = chosen or list(dict.fromkeys(rows["component"]))
    null = null or (f"{quantity} null limit" if (table["quantity"] == f"{quantity} null limit").any() else None)
    chance = None if null is None else rows_of(table, null, None, where="correlation_series")
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = style.new_figure(style.SINGLE_MM if columns == 1 else style.DOUBLE_MM, 14 + 46 * lines)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    top = 0.5
    for index, name in enumerate(chosen):
        ax = axes[index // columns, index % columns]
        color = _COLORS[index % len(_COLORS)]
        part = rows[rows["component"] == name].sort_values("scan")
        low, high = _chance(part, chance, name)
        if low is not None and high is not None:
            x = time_values(part, time)
            ax.fill_between(x, low, high, facecolor="none", edgecolor=style.MUTED, hatch="////", lw=0, alpha=0.5)
            for edge in (low, high):
                ax.plot(x, edge, color=style.MUTED, lw=0.8, ls=(0, (4, 2)))
        quantity_line(ax, rows, name, color=color, quantity=quantity, truth_color=color, time=time)
        edges = [part[column].to_numpy(dtype=float) for column in ("value", "low", "high")]
        edges += [edge for edge in (low, high) if edge is not None]
        top = max(top, *(1.05 * float(np.nanmax(np.abs(edge), initial=0.0)) for edge in edges))
        ax.axhline(0, color=style.INK, lw=0.5)
        title = pairs[name] if isinstance(pairs, Mapping) else name.replace("~", " and ")
        ax.set_title(title, loc="left", fontweight="bold")
        shade_discharge(ax, turn)
    top = top if top <= 0.52 else 1.0
    for ax in axes.ravel()[len(chosen) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylim(-top, top)
    for column in range(columns):
        ax = axes[(len(chosen) - 1 - column) // columns, column]
        ax.set_xlabel(time_label(rows, time))
        ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel(label)
    _legend(figure, rows, chance is not None or "null_low" in rows, turn is not None)
    if is_simulated(table, simulated):
        style.mark_simulated(figure)
    return figure


def _chance(part: pd.DataFrame, chance: pd.DataFrame | None, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    if chance is not None:
        found = chance[chance["component"] == name].set_index("scan").reindex(part["scan"])
        limit = found["value"].to_numpy(dtype=float)
        return -limit, limit
    if {"null_low", "null_high"} <= set(part.columns):
        return part["null_low"].to_numpy(dtype=float), part["null_high"].to_numpy(dtype=float)
    return None, None


def _legend(figure: Any, rows: pd.DataFrame, with_chance: bool, turned: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=_COLORS[0], marker="o")]
    texts = ["measured"]
    if rows["low"].notna().any():
        handles.append(Patch(facecolor=_COLORS[0], alpha=0.22, lw=0))
        texts.append("95 % interval")
    if with_chance:
        handles.append(Patch(facecolor="none", edgecolor=style.MUTED, hatch="////", lw=0.8, ls=(0, (4, 2)), alpha=0.5))
        texts.append("95 % of unrelated maps")
    if has_truth(rows, None):
        handles.append(truth_handle())
        texts.append("truth")
    if turned:
        handles.append(Patch(facecolor=style.GRID, lw=0))
        texts.append("discharge")
    wide = figure.get_size_inches()[0] * 25.4 > 120
    figure.legend(handles, texts, loc="outside lower center", ncols=len(handles) if wide else 2)
