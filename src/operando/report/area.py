"""Shares of the electrode's area over time: where a component is found, and where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.report import style
from operando.report.lines import line_panels, names_of, percent_axis, rows_of


@style.styled
def coverage(
    ledger: pd.DataFrame,
    *,
    truth: pd.DataFrame | None = None,
    components: Sequence[str] | None = None,
    quantity: str = "coverage",
    time: str = "t",
    turn: float | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the covered share of the area over time, in percent, with 95 % intervals.

    Parameters and return as in :func:`thickness`; rows have the unit 1 (fraction of the area).
    """
    rows = rows_of(ledger, quantity, components, where="coverage")
    names = names_of(rows, components)
    if components is None:
        # What covers everything in every scan (the electrodes) is no news.
        names = [n for n in names if (rows.loc[rows["component"] == n, "value"] < 0.999).any()] or names
    figure = line_panels(
        ledger,
        rows,
        [names],
        truth=truth,
        quantity=quantity,
        phases=phases,
        simulated=simulated,
        ax=ax,
        time=time,
        turn=turn,
    )
    for each in [ax] if ax is not None else figure.axes:
        percent_axis(each)
        each.set_ylim(-0.02, max(1.02 * each.get_ylim()[1], 0.05) if each.get_ylim()[1] < 0.9 else 1.04)
        each.set_ylabel("Coverage")
    return figure


@style.styled
def unoccupied(
    ledger: pd.DataFrame,
    *,
    groups: Sequence[Sequence[str]] = (("dendrite", "deposited"), ("pit", "redeposited")),
    quantity: str = "coverage",
    unfilled: tuple[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    time: str = "t",
    turn: float | None = None,
    truth: pd.DataFrame | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the share of the area in which a component is not found, with 95 % intervals (Huang 2023, Fig. 4d, e).

    Parameters
    ----------
    ledger, time, turn, truth, phases, simulated
        As in :func:`component_volumes`.
    groups : sequence of sequences of str
        Components of each panel; those that the table does not have are left out.
    quantity : str
        Rows with the covered share of the area, unit 1; 1 - value is drawn.
    unfilled : (str, str), optional
        Quantity and component of rows that are drawn as they are in the last panel: the share of the area in which
        pits are still unfilled.
    names : mapping of str to str, optional
        What the legend calls a component.

    Returns
    -------
    matplotlib Figure
        88 mm wide for one panel, 180 mm for more.

    Raises
    ------
    InputError
        Where none of the components is in the table.
    """
    rows = _complement(rows_of(ledger, quantity, None, where="unoccupied"))
    known = set(rows["component"])
    panels = [[name for name in group if name in known] for group in groups]
    panels = [group for group in panels if group]
    if not panels:
        raise InputError(
            f"unoccupied: at least one component of {[list(g) for g in groups]} must have rows of {quantity!r}, "
            f"got {sorted(known)}. Name others in groups."
        )
    shown = {name: f"no {name}" for group in panels for name in group} | dict(names or {})
    if unfilled is not None:
        extra = rows_of(ledger, unfilled[0], [unfilled[1]], where="unoccupied")
        extra = extra[extra["component"] == unfilled[1]].assign(component="unfilled pits", quantity=quantity)
        rows = pd.concat([rows, extra], ignore_index=True)
        panels[-1] = [*panels[-1], "unfilled pits"]
    if truth is not None:
        truth = _complement(truth[truth["quantity"] == quantity].assign(low=np.nan, high=np.nan))
    figure = line_panels(
        ledger,
        rows,
        panels,
        truth=truth,
        quantity=quantity,
        phases=phases,
        simulated=simulated,
        ax=None,
        time=time,
        turn=turn,
        names=shown,
    )
    for ax in figure.axes:
        percent_axis(ax)
        ax.set(ylim=(-0.03, 1.04), ylabel="Share of the area")
    if len(panels) > 1:
        style.panel_letters(figure.axes)
    return figure


def _complement(rows: pd.DataFrame) -> pd.DataFrame:
    turned = rows.assign(value=1 - rows["value"], low=1 - rows["high"], high=1 - rows["low"])
    return turned.assign(truth=1 - rows["truth"]) if "truth" in rows else turned
