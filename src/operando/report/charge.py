"""Lithium by the images beside lithium by the charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.lines import (
    FARADAY,
    has_truth,
    interval_legend,
    is_simulated,
    quantity_line,
    rows_of,
    shade_discharge,
    time_label,
    time_values,
)


@style.styled
def image_and_charge(
    ledger: pd.DataFrame,
    *,
    quantity: str = "cumulative",
    imaged: Mapping[str, str] | Sequence[str] = ("plated",),
    faraday: str = "faraday",
    total: tuple[str, str] | None = None,
    unit: str | None = None,
    truth: pd.DataFrame | None = None,
    time: str = "t",
    turn: float | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the lithium that traveled by the images, with its interval, and by the charge (Huang 2023, Fig. 3d).

    Parameters
    ----------
    ledger : DataFrame
        Quantity table as of ``electrochemistry.ledger``.
    quantity : str
        Rows since the first scan: ``cumulative`` (um3), or the same in um or mAh cm-2.
    imaged : sequence of str, or mapping of str to str
        Components measured in the images; a mapping also says what the legend calls them.
    faraday : str
        Component that the charge stands for.
    total : (str, str), optional
        Quantity and component of all lithium in the field of view: drawn in a panel of its own below.
    unit, truth, time, turn, phases, simulated
        As in :func:`operando.report.ledger_chart`.
    ax : Axes, optional
        Default a new figure, 88 mm wide; then ``total`` is not drawn.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where the table has no such rows.
    """
    names = dict(imaged) if isinstance(imaged, Mapping) else {name: f"{name}, by the images" for name in imaged}
    rows = rows_of(ledger, quantity, [*names, faraday], where="image_and_charge", unit=unit)
    own = ax is None
    below = None
    if own:
        figure = style.new_figure(style.SINGLE_MM, (66 if total is None else 94) + 3.5 * len(names))
        if total is None:
            ax = figure.add_subplot()
        else:
            ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.5])
    drawn = rows[rows["component"].isin([*names, faraday])]
    power = wording.power_of_ten(drawn["value"])
    common: dict[str, Any] = {"time": time, "scale": 10.0**-power}
    quantity_line(ax, rows, faraday, color=style.INK, marker="", label=f"by the charge ({FARADAY})", **common)
    for index, (name, text) in enumerate(names.items()):
        color = style.color_of(name, phases, index=index)
        quantity_line(
            ax, rows, name, color=color, quantity=quantity, truth=truth, truth_color=color, label=text, **common
        )
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set_ylabel(wording.label_text("lithium since the first scan", str(rows["unit"].iloc[0]), power=power, lines=2))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    if below is not None and total is not None:
        whole = rows_of(ledger, total[0], [total[1]], where="image_and_charge")
        power = wording.power_of_ten(whole.loc[whole["component"] == total[1], "value"])
        color = style.CURRENT
        quantity_line(
            below, whole, total[1], color=color, quantity=total[0], truth=truth, time=time, scale=10.0**-power
        )
        below.set_ylabel(wording.label_text("all lithium", str(whole["unit"].iloc[0]), power=power, lines=2))
    for each in (ax, below):
        if each is not None:
            shade_discharge(each, turn)
    (below or ax).set_xlabel(time_label(rows, time))
    if own:
        interval_legend(ax.figure, has_truth(rows, truth), turned=turn is not None)
        if is_simulated(ledger, simulated):
            style.mark_simulated(ax.figure)
    return ax.figure


@style.styled
def image_over_charge(
    ledger: pd.DataFrame,
    *,
    quantity: str = "image over charge",
    components: Sequence[str] = ("charge", "discharge"),
    truth: pd.DataFrame | None = None,
    time: str = "t",
    simulated: bool | None = None,
) -> Any:
    """Draw lithium by the images over lithium by the charge, per half cycle (Huang 2023, Supplementary Fig. 8).

    Parameters
    ----------
    ledger : DataFrame
        Quantity table as of ``electrochemistry.ledger``, unit 1.
    quantity, components : str, sequence of str
        Rows, and a panel for each of their components; those that the table does not have are left out.
    truth, time, simulated
        As in :func:`operando.report.ledger_chart`.

    Returns
    -------
    matplotlib Figure
        180 mm wide, 88 mm for one panel. The dashed line at 1 is full agreement.

    Raises
    ------
    InputError
        Where the table has no such rows.

    Notes
    -----
    Soon after a half cycle begins little charge has passed and the interval is wide: the axis holds every value, and
    intervals from -1 to 3; wider ones run out of it.
    """
    rows = rows_of(ledger, quantity, None, where="image_over_charge")
    known = [name for name in components if name in set(rows["component"])]
    if not known:
        got = sorted(set(rows["component"]))
        raise InputError(
            f"image_over_charge: rows of {' or '.join(components)} are needed, got {got}. {nearest(components[0], got)}"
        )
    figure = style.new_figure(style.SINGLE_MM if len(known) == 1 else style.DOUBLE_MM, 60)
    axes = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
    colors = (style.ACCENTS["plated"], style.ACCENTS["stripped"])
    low, high = 0.0, 1.1
    for index, (ax, name) in enumerate(zip(axes, known, strict=True)):
        color = colors[index % 2]
        quantity_line(ax, rows, name, color=color, quantity=quantity, truth=truth, truth_color=color, time=time)
        ax.axhline(1, color=style.MUTED, lw=0.9, ls=(0, (4, 2)))
        part = rows[rows["component"] == name].sort_values("scan")
        inner = np.append(part["value"].to_numpy(dtype=float), part[["low", "high"]].to_numpy(dtype=float).clip(-1, 3))
        inner = inner[np.isfinite(inner)]
        low, high = min(low, float(inner.min(initial=low))), max(high, float(inner.max(initial=high)))
        ax.set_title(name.capitalize(), loc="left", fontweight="bold")
        ax.set_xlabel(time_label(rows, time))
        ax.margins(x=0.08)
        if len(part) == 1:
            ax.set_xticks(time_values(part, time))
    axes[0].set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes[0].set_ylabel("Image over charge")
    interval_legend(figure, has_truth(rows, truth))
    if is_simulated(ledger, simulated):
        style.mark_simulated(figure)
    return figure
