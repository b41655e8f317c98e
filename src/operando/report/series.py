"""The ledger over time: volumes, thickness, coverage and the balance against the coulombs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.core.quantities import interval
from operando.core.units import factor
from operando.report import style

_Phases = PhaseScheme | Mapping[str, int] | None
_UNSHOWN = ("electrolyte", "background")


@style.styled
def component_volumes(
    ledger: pd.DataFrame,
    *,
    current: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    quantity: str = "volume",
    phases: _Phases = None,
    simulated: bool | None = None,
) -> Any:
    """Draw component volumes over time with 95 % intervals, above the current on the same time axis.

    Parameters
    ----------
    ledger : DataFrame
        Quantity table (``core.quantities.COLUMNS``); ``t`` in hours.
    current : DataFrame, optional
        Columns ``time_h`` and ``current_ma``; positive is charging.
    truth : DataFrame, optional
        Quantity table of the same rows where the truth is known; drawn as open circles.
    components : sequence of str, optional
        Default: all but electrolyte and background.
    quantity : str
        Which rows of the table.
    phases : PhaseScheme or mapping, optional
        For the colors; default the usual phases of a cell.
    simulated : bool, optional
        Label the figure as simulated; default ``ledger.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 170 mm wide
        One panel per component, each with its own volume axis, because an electrode is a hundred times a dendrite.

    Raises
    ------
    InputError
        Where the table has no such rows.
    """
    rows = _rows(ledger, quantity, components, where="component_volumes")
    names = _names(rows, components)
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = style.new_figure(style.DOUBLE_MM, 36 * lines + (24 if current is not None else 8) + 4)
    heights = [1.0] * lines + ([0.42] if current is not None else [])
    axes = figure.subplots(len(heights), columns, sharex=True, squeeze=False, height_ratios=heights)
    for index, name in enumerate(names):
        ax = axes[index // columns, index % columns]
        _quantity_line(ax, rows, name, phases=phases, index=index, truth=truth, quantity=quantity, scaled=True)
        ax.set_title(name, loc="left", color=style.INK, fontweight="bold", pad=3)
    spare = list(axes[:lines].ravel()[len(names) :])
    for ax in spare:
        ax.set_axis_off()
    if current is not None:
        for column, ax in enumerate(axes[-1]):
            draw_current(ax, current)
            ax.set_ylabel(ax.get_ylabel() if column == 0 else "")
            ax.tick_params(labelleft=column == 0)
    last = [axes[-1, column] for column in range(columns)]
    if current is None:
        last = [axes[(len(names) - 1 - column) // columns, column] for column in range(columns)]
    for ax in last:
        ax.set_xlabel(_time_label(rows))
        ax.tick_params(labelbottom=True)
    figure.align_ylabels()
    _series_legend(spare[0] if spare else figure, truth is not None)
    if _simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure


@style.styled
def thickness(
    ledger: pd.DataFrame,
    *,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    sides: Sequence[str] = ("plating side", "stripping side"),
    quantity: str = "effective thickness",
    phases: _Phases = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw effective thickness over time with 95 % intervals: components, and the sum of lithium on each side.

    Parameters
    ----------
    ledger, truth, components, phases, simulated
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
    rows = _rows(ledger, quantity, components, where="thickness")
    names = _names(rows, components)
    groups = [*_by_size(rows, [n for n in names if n not in sides]), [n for n in names if n in sides]]
    return _line_panels(
        ledger,
        rows,
        [g for g in groups if g],
        truth=truth,
        quantity=quantity,
        phases=phases,
        simulated=simulated,
        ax=ax,
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


@style.styled
def coverage(
    ledger: pd.DataFrame,
    *,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    quantity: str = "coverage",
    phases: _Phases = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the covered share of the area over time, in percent, with 95 % intervals.

    Parameters and return as in :func:`thickness`; rows have the unit 1 (fraction of the area).
    """
    rows = _rows(ledger, quantity, components, where="coverage")
    names = _names(rows, components)
    if components is None:
        # What covers everything in every scan (the electrodes) is no news.
        names = [n for n in names if (rows.loc[rows["component"] == n, "value"] < 0.999).any()] or names
    figure = _line_panels(
        ledger, rows, [names], truth=truth, quantity=quantity, phases=phases, simulated=simulated, ax=ax
    )
    from matplotlib.ticker import PercentFormatter

    for each in [ax] if ax is not None else figure.axes:
        each.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        each.set_ylim(-0.02, max(1.02 * each.get_ylim()[1], 0.05) if each.get_ylim()[1] < 0.9 else 1.04)
        each.set_ylabel("Coverage")
    return figure


def _line_panels(
    ledger: pd.DataFrame,
    rows: pd.DataFrame,
    groups: Sequence[Sequence[str]],
    *,
    truth: pd.DataFrame | None,
    quantity: str,
    phases: _Phases,
    simulated: bool | None,
    ax: Any,
) -> Any:
    from matplotlib.lines import Line2D

    own = ax is None
    if own:
        figure = style.new_figure(style.SINGLE_MM if len(groups) == 1 else style.DOUBLE_MM, 64)
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
    else:
        figure, panels = ax.figure, [ax] * len(groups)
    for panel, names in zip(panels, groups, strict=True):
        for index, name in enumerate(names):
            _quantity_line(panel, rows, name, phases=phases, index=index, truth=truth, quantity=quantity, scaled=False)
        panel.set_xlabel(_time_label(rows))
    for panel, names in zip(panels, groups, strict=True) if own else [(ax, [n for g in groups for n in g])]:
        handles = [
            Line2D([], [], color=style.color_of(name, phases, index=index), marker="o", label=name)
            for index, name in enumerate(names)
        ]
        panel.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(handles), 3))
    if own:
        _series_legend(figure, truth is not None)
        if _simulated(ledger, simulated):
            style.mark_simulated(figure)
    return figure


@style.styled
def balance(
    ledger: pd.DataFrame,
    *,
    current: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    quantity: str = "balance",
    imaged: Sequence[str] = ("plated", "stripped", "inactive"),
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
    simulated : bool, optional
        Label the figure as simulated; default ``ledger.attrs["simulated"]``.

    Returns
    -------
    matplotlib Figure, 170 mm wide
        Above, the terms with 95 % intervals over the Faraday volume (line and band over the interval); below,
        what is unaccounted, in red where its 95 % interval leaves out zero.

    Notes
    -----
    Nothing is made to agree and nothing is summed here: every mark is a row of the table.
    """
    wanted = [*imaged, faraday, unaccounted]
    table = _rows(ledger, quantity, None, where="balance")
    missing = [name for name in (faraday, unaccounted) if name not in set(table["component"])]
    if missing:
        known = sorted(set(table["component"]))
        raise InputError(
            f"balance: rows {faraday!r} and {unaccounted!r} are needed, missing {missing}. {nearest(missing[0], known)}"
        )
    table = table[table["component"].isin(wanted)]
    spans = _intervals(ledger, table)
    shown = [name for name in imaged if name in set(table["component"])]
    heights = [1.0, 0.62] + ([0.36] if current is not None else [])
    figure = style.new_figure(style.DOUBLE_MM, 92 if current is None else 110)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    power = style.power_of_ten(table["value"])
    scale = 10.0**-power
    unit = str(table["unit"].iloc[0])
    _draw_terms(axes[0], table, spans, shown, faraday, scale)
    axes[0].set_ylabel(style.label_text("volume per interval", unit, power=power, lines=2))
    _draw_rest(axes[1], table, spans, unaccounted, scale)
    axes[1].set_ylabel(style.label_text(unaccounted, unit, power=power, lines=2))
    axes[0].set_xlim(spans["start"].min(), spans["end"].max())
    if truth is not None:
        true_rows = _rows(truth, quantity, None, where="balance")
        for offset, name in zip(_offsets(len(shown)), shown, strict=True):
            part = true_rows[true_rows["component"] == name].set_index("scan")["value"].reindex(spans.index)
            x = spans["middle"] + offset * spans["width"]
            axes[0].plot(x, part * scale, **_truth_marks(style.INK))
    handles, texts = axes[0].get_legend_handles_labels()
    if truth is not None:
        handles.append(_truth_handle())
        texts.append("truth")
    axes[0].legend(handles, texts, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles))
    if current is not None:
        draw_current(axes[2], current)
    axes[-1].set_xlabel(_time_label(table))
    figure.align_ylabels()
    if _simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure


def _offsets(count: int) -> list[float]:
    return [0.0] if count == 1 else np.linspace(-0.22, 0.22, count).tolist()


def _draw_terms(
    ax: Any, table: pd.DataFrame, spans: pd.DataFrame, shown: Sequence[str], faraday: str, scale: float
) -> None:
    coulombs = table[table["component"] == faraday].set_index("scan").reindex(spans.index)
    left, right = spans["start"] + 0.06 * spans["width"], spans["end"] - 0.06 * spans["width"]
    ax.hlines(coulombs["value"] * scale, left, right, color=style.ACCENTS["faraday"], lw=1.4, label="Faraday's law")
    for low, high, start, end in zip(coulombs["low"], coulombs["high"], left, right, strict=True):
        if np.isfinite(low):
            ax.fill_between([start, end], low * scale, high * scale, color=style.ACCENTS["faraday"], alpha=0.15, lw=0)
    for index, (offset, name) in enumerate(zip(_offsets(len(shown)), shown, strict=True)):
        part = table[table["component"] == name].set_index("scan").reindex(spans.index)
        color = style.color_of(name, index=index)
        ax.errorbar(
            spans["middle"] + offset * spans["width"],
            part["value"] * scale,
            yerr=_half_width(part) * scale,
            fmt="os^Dv"[index % 5],
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
                yerr=_half_width(rest)[which] * scale,
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


def _intervals(ledger: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Start, end, middle and width of each interval, indexed by the later scan."""
    times = ledger[(ledger["scan"] >= 0)].groupby("scan")["t"].first()
    if times.isna().any():
        times = pd.Series(times.index.to_numpy(dtype=float), index=times.index)
    scans = sorted(set(table["scan"]))
    end = times.reindex(scans).to_numpy(dtype=float)
    # The scan before may have no rows of its own in a table of balances only.
    usual = float(np.median(np.diff(end))) if len(end) > 1 else 1.0
    before = times.reindex([scan - 1 for scan in scans]).to_numpy(dtype=float)
    start = np.where(np.isfinite(before), before, end - usual)
    return pd.DataFrame({"start": start, "end": end, "middle": (start + end) / 2, "width": end - start}, index=scans)


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
    ax.set_ylabel(style.label_text("current", unit, lines=2))


def _quantity_line(
    ax: Any,
    rows: pd.DataFrame,
    name: str,
    *,
    phases: _Phases,
    index: int,
    truth: pd.DataFrame | None,
    quantity: str,
    scaled: bool,
) -> None:
    part = rows[rows["component"] == name].sort_values("scan")
    known = None
    if truth is not None:
        known = truth[(truth["quantity"] == quantity) & (truth["component"] == name)].sort_values("scan")
    power = style.power_of_ten([*part["value"], *([] if known is None else known["value"])]) if scaled else 0
    scale = 10.0**-power
    color = style.color_of(name, phases, index=index)
    x = _time(part)
    ax.plot(x, part["value"] * scale, color=color, marker="o", label=name)
    if part["sigma"].notna().any():
        ax.fill_between(x, part["low"] * scale, part["high"] * scale, color=color, alpha=0.22, lw=0)
    if known is not None and not known.empty:
        # Where components share a panel, a ring must say whose truth it is.
        ax.plot(_time(known), known["value"] * scale, **_truth_marks(style.INK if scaled else color))
    ax.set_ylabel(style.label_text(quantity, str(part["unit"].iloc[0]), power=power))
    ax.grid(True, axis="y")
    low, high = ax.get_ylim()
    # A constant series must not look like noise blown up to the height of the panel.
    least = 0.1 * max(abs(low), abs(high)) if scaled else 0.0
    if high - low < least:
        middle = (low + high) / 2
        ax.set_ylim(middle - least / 2, middle + least / 2)


def _truth_marks(color: str) -> dict[str, Any]:
    return {"ls": "none", "marker": "o", "markersize": 5.2, "mfc": "none", "mec": color, "mew": 0.7, "zorder": 5}


def _truth_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **_truth_marks(style.INK))


def _series_legend(place: Any, with_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=style.MUTED, marker="o"),
        Patch(facecolor=style.MUTED, alpha=0.3, lw=0),
    ]
    texts = ["measured", "95 % interval"]
    if with_truth:
        handles.append(_truth_handle())
        texts.append("truth")
    if hasattr(place, "subplots"):
        place.legend(handles, texts, loc="outside lower center", ncols=len(handles))
    else:
        place.legend(handles, texts, loc="center")


def _half_width(part: pd.DataFrame) -> Any:
    return (part["high"] - part["value"]).fillna(0.0)


def _time(part: pd.DataFrame) -> np.ndarray:
    t = part["t"].to_numpy(dtype=float)
    return t if np.isfinite(t).all() else part["scan"].to_numpy(dtype=float)


def _time_label(rows: pd.DataFrame) -> str:
    return "Time [h]" if np.isfinite(rows["t"].to_numpy(dtype=float)).all() else "Scan"


def _simulated(ledger: pd.DataFrame, simulated: bool | None) -> bool:
    return style.is_simulated(ledger) if simulated is None else simulated


def _rows(ledger: pd.DataFrame, quantity: str, components: Sequence[str] | None, *, where: str) -> pd.DataFrame:
    """Rows of one quantity that belong to a scan, with their 95 % interval."""
    quantities = sorted(set(ledger["quantity"]))
    rows = ledger[(ledger["quantity"] == quantity) & (ledger["scan"] >= 0)]
    if rows.empty:
        raise InputError(
            f"{where}: the table must have rows of the quantity {quantity!r}, got {quantities}. "
            f"{nearest(quantity, quantities)}"
        )
    known = sorted(set(rows["component"]))
    for name in components or ():
        if name not in known:
            raise InputError(f"{where}: there are no rows of the component {name!r}. {nearest(name, known)}")
    return interval(rows)


def _names(rows: pd.DataFrame, components: Sequence[str] | None) -> list[str]:
    if components is not None:
        return list(components)
    found = list(dict.fromkeys(rows["component"]))
    # What is zero in every scan has no line worth a panel.
    return [n for n in found if n not in _UNSHOWN and (rows.loc[rows["component"] == n, "value"] != 0).any()] or found
