"""How one quantity is drawn over time: its line, its interval, the truth beside it, the current below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.core.quantities import interval
from operando.core.units import factor
from operando.report import style, wording

Phases = PhaseScheme | Mapping[str, int] | None
MARKERS = "os^Dv"
FARADAY = "Faraday's law"
"""What legends call the lithium that the charge stands for."""
TALL_MM = 42.0
"""Length that an axis label may have beside a panel of the usual height."""
UNSHOWN = ("electrolyte", "background")
_TIMES = {"t": "Time [h]", "applied_h": "Time under current [h]", "scan": "Scan"}


def rows_of(
    ledger: pd.DataFrame, quantity: str, components: Sequence[str] | None, *, where: str, unit: str | None = None
) -> pd.DataFrame:
    """Rows of one quantity, in one unit, that belong to a scan, with their 95 % interval.

    Columns ``low`` and ``high`` that the table has already are kept: an interval need not be symmetric.
    """
    quantities = sorted(set(ledger["quantity"]))
    rows = ledger[(ledger["quantity"] == quantity) & (ledger["scan"] >= 0)]
    if rows.empty:
        raise InputError(
            f"{where}: the table must have rows of the quantity {quantity!r}, got {quantities}. "
            f"{nearest(quantity, quantities)}"
        )
    units = list(dict.fromkeys(rows["unit"]))
    if unit is None and len(units) > 1:
        raise InputError(
            f"{where}: rows of {quantity!r} must have one unit, got {', '.join(units)}. Pass unit={units[0]!r}."
        )
    if unit is not None and unit not in units:
        raise InputError(f"{where}: there are no rows of {quantity!r} in {unit!r}. {nearest(unit, units)}")
    rows = rows[rows["unit"] == (unit or units[0])]
    known = sorted(set(rows["component"]))
    for name in components or ():
        if name not in known:
            raise InputError(f"{where}: there are no rows of the component {name!r}. {nearest(name, known)}")
    return rows if {"low", "high"} <= set(rows.columns) else interval(rows)


def names_of(rows: pd.DataFrame, components: Sequence[str] | None) -> list[str]:
    """Components to draw: those asked for, or all that are not the ground and not zero in every scan."""
    if components is not None:
        return list(components)
    found = list(dict.fromkeys(rows["component"]))
    # What is zero in every scan has no line worth a panel.
    return [n for n in found if n not in UNSHOWN and (rows.loc[rows["component"] == n, "value"] != 0).any()] or found


def time_values(part: pd.DataFrame, time: str = "t", *, where: str = "time_values") -> np.ndarray:
    """Where rows lie on the x axis: a column of the table, or the scan where times are not known.

    Examples
    --------
    >>> time_values(pd.DataFrame({"scan": [0, 1], "t": [float("nan")] * 2})).tolist()
    [0.0, 1.0]
    """
    if time not in part:
        raise InputError(
            f"{where}: the table has no column {time!r} for the x axis, got {list(part.columns)}. "
            f"Add it, for example with table.assign({time}=...), or leave time out."
        )
    t = part[time].to_numpy(dtype=float)
    return t if np.isfinite(t).all() else part["scan"].to_numpy(dtype=float)


def time_label(rows: pd.DataFrame, time: str = "t") -> str:
    """Label of the x axis for a column of the table."""
    known = time in rows and np.isfinite(rows[time].to_numpy(dtype=float)).all()
    return _TIMES.get(time, time.replace("_", " ").capitalize()) if known else _TIMES["scan"]


def quantity_line(
    ax: Any,
    rows: pd.DataFrame,
    name: str,
    *,
    color: str,
    quantity: str = "",
    truth: pd.DataFrame | None = None,
    truth_color: str = style.INK,
    time: str = "t",
    scale: float = 1.0,
    label: str | None = None,
    marker: str = "o",
) -> None:
    """Draw one component: line, band of the interval, and open circles where the truth is known.

    Parameters
    ----------
    rows : DataFrame
        From :func:`rows_of`. The truth comes from its column ``truth`` where it has one.
    truth : DataFrame, optional
        A table of its own with rows of ``quantity``.
    scale : float
        Multiplies every value.
    """
    part = rows[rows["component"] == name].sort_values("scan")
    x = time_values(part, time, where="quantity_line")
    # Many scans stand close: their marks must not hide the line.
    size = 1.0 if len(part) <= 16 else 0.6
    look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3.5 * size}
    ax.plot(x, part["value"] * scale, label=label or name, **look)
    found = part["low"].notna().to_numpy()
    # A band needs two neighbors: what stands alone has an error bar instead.
    alone = found & ~np.append(found[1:], False) & ~np.insert(found[:-1], 0, False)
    if alone.any():
        yerr = half_width(part[alone]) * scale
        ax.errorbar(x[alone], part["value"][alone] * scale, yerr=yerr, fmt="none", ecolor=color, elinewidth=1.0)
    if (found & ~alone).any():
        ax.fill_between(x, part["low"] * scale, part["high"] * scale, color=color, alpha=0.22, lw=0)
    known = true_values(part, name, quantity, truth)
    if known is not None:
        ax.plot(x, known * scale, **truth_marks(truth_color, size=size))
    ax.grid(True, axis="y")


def true_values(part: pd.DataFrame, name: str, quantity: str, truth: pd.DataFrame | None) -> pd.Series | None:
    """The truth of each of these rows, matched by scan; None where nothing is known."""
    if truth is not None:
        true = truth[(truth["quantity"] == quantity) & (truth["component"] == name)]
        found = part["scan"].map(true.drop_duplicates("scan").set_index("scan")["value"])
    elif "truth" in part:
        found = part["truth"].astype(float)
    else:
        return None
    return found if found.notna().any() else None


def has_truth(rows: pd.DataFrame, truth: pd.DataFrame | None) -> bool:
    """Whether the legend must explain open circles."""
    return truth is not None or ("truth" in rows and bool(rows["truth"].notna().any()))


def truth_marks(color: str, *, size: float = 1.0) -> dict[str, Any]:
    """Look of the truth: open circles."""
    look = {"marker": "o", "markersize": 5.2 * size, "mfc": "none", "mec": color, "mew": 0.7}
    return {"ls": "none", "zorder": 5} | look


def truth_handle() -> Any:
    """Open circle for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **truth_marks(style.INK))


def interval_legend(place: Any, with_truth: bool, *, turned: bool = False) -> None:
    """Explain line, band and circles below a figure, or in axes kept free for it."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=style.MUTED, marker="o"),
        Patch(facecolor=style.MUTED, alpha=0.3, lw=0),
    ]
    texts = ["measured", "95 % interval"]
    if with_truth:
        handles.append(truth_handle())
        texts.append("truth")
    if turned:
        handles.append(Patch(facecolor=style.GRID, lw=0))
        texts.append("discharge")
    if hasattr(place, "subplots"):
        place.legend(handles, texts, loc="outside lower center", ncols=len(handles))
    else:
        place.legend(handles, texts, loc="center")


def line_panels(
    ledger: pd.DataFrame,
    rows: pd.DataFrame,
    groups: Sequence[Sequence[str]],
    *,
    truth: pd.DataFrame | None,
    quantity: str,
    phases: Phases,
    simulated: bool | None,
    ax: Any,
    time: str,
    turn: float | None,
    names: Mapping[str, str] | None = None,
    label: str | None = None,
) -> Any:
    """Draw groups of components in panels side by side, or all of them into ``ax``, each panel with its legend."""
    from matplotlib.lines import Line2D

    own = ax is None
    if own:
        figure = style.new_figure(style.SINGLE_MM if len(groups) == 1 else style.DOUBLE_MM, 66)
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
    else:
        figure, panels = ax.figure, [ax] * len(groups)
    together = [list(group) for group in groups] if own else [[n for g in groups for n in g]]
    for panel, components in zip(panels, together, strict=False):
        part = rows[rows["component"].isin(components)]
        power = wording.power_of_ten(part["value"])
        handles = []
        for index, name in enumerate(components):
            color, mark = style.color_of(name, phases, index=index), MARKERS[index % len(MARKERS)]
            text = (names or {}).get(name, name)
            quantity_line(
                panel,
                rows,
                name,
                color=color,
                quantity=quantity,
                truth=truth,
                # Where components share a panel, a ring must say whose truth it is.
                truth_color=color,
                time=time,
                scale=10.0**-power,
                label=text,
                marker=mark,
            )
            handles.append(Line2D([], [], color=color, marker=mark, label=text))
        text = wording.label_text(label or quantity, str(part["unit"].iloc[0]), power=power)
        panel.set_ylabel("\n".join(wording.wrapped(text, TALL_MM)))
        panel.set_xlabel(time_label(rows, time))
        shade_discharge(panel, turn)
        wide = max((len(str(handle.get_label())) for handle in handles), default=0)
        columns = min(len(handles), 3 if wide <= 12 else 2 if wide <= 24 else 1)
        panel.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)
    if own:
        interval_legend(figure, has_truth(rows, truth), turned=turn is not None)
        if is_simulated(ledger, simulated):
            style.mark_simulated(figure)
    return figure


def shade_discharge(ax: Any, turn: float | None) -> None:
    """Shade what lies after the time at which charge turns to discharge; the limits of the axis stay."""
    if turn is None:
        return
    left, right = ax.get_xlim()
    if turn < right:
        ax.axvspan(max(turn, left), right, color=style.GRID, alpha=0.6, lw=0, zorder=0)
    ax.set_xlim(left, right)


def least_span(ax: Any, share: float = 0.1) -> None:
    """Keep a constant series from looking like noise blown up to the height of the panel."""
    low, high = ax.get_ylim()
    least = share * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        ax.set_ylim(middle - least / 2, middle + least / 2)


def percent_axis(ax: Any) -> None:
    """Write a y axis of shares in percent."""
    from matplotlib.ticker import PercentFormatter

    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))


def half_width(part: pd.DataFrame) -> np.ndarray:
    """Lengths of error bars, shape (2, n), 0 where no interval is known."""
    below, above = part["value"] - part["low"], part["high"] - part["value"]
    return np.stack([below.fillna(0.0).clip(lower=0), above.fillna(0.0).clip(lower=0)])


def is_simulated(ledger: pd.DataFrame, simulated: bool | None) -> bool:
    """What the caller says, or else the attrs of the table."""
    return style.is_simulated(ledger) if simulated is None else simulated


def draw_current(ax: Any, current: pd.DataFrame) -> None:
    """Draw the current over time, filled, charging above zero, in A, mA, uA or nA by its size, with the axis label.

    Parameters
    ----------
    ax : Axes
    current : DataFrame
        Columns ``time_h`` and ``current_ma``.
    """
    missing = [name for name in ("time_h", "current_ma") if name not in current]
    if missing:
        raise InputError(
            f"draw_current: the columns time_h and current_ma are needed, got {list(current.columns)}. "
            f"Rename them; missing {missing}."
        )
    time, value = current["time_h"].to_numpy(dtype=float), current["current_ma"].to_numpy(dtype=float)
    top = float(np.nanmax(np.abs(value), initial=0.0)) or 1.0
    unit = next((name for name in ("A", "mA", "uA") if top * factor("mA", name) >= 0.1), "nA")
    value, top = value * factor("mA", unit), top * factor("mA", unit)
    ax.fill_between(time, value, 0, color=style.CURRENT, alpha=0.35, lw=0)
    ax.plot(time, value, color=style.CURRENT, lw=0.7)
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set_ylim(-1.2 * top, 1.2 * top)
    ax.set_ylabel(wording.label_text("current", unit, lines=2))
