"""Whether the microstructure explains the current: effect sizes with intervals, and tile against tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.report import style, wording

_POINT, _SIGNIFICANT = "#0072B2", 0.05
_ALL = "all"
_TOGETHER = "all together"


@dataclass(frozen=True)
class _Effect:
    """One row of the chart: a heading with the joint p-value, or a predictor."""

    name: str
    p: float
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    heading: bool = False


@style.styled
def effect_sizes(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    response: xr.DataArray | None = None,
    predictor: xr.DataArray | None = None,
    names: Mapping[str, str] | None = None,
    title: str = "",
    simulated: bool | None = None,
) -> Any:
    """Draw how strongly each property of the electrolyte goes with the current, beside the tiles themselves.

    Parameters
    ----------
    tables : DataFrame of ``morphometry.spatial_regression``, or mapping of str to such
        Per predictor the rows ``effect``, ``effect low``, ``effect high`` and ``p-value``; the ``p-value`` of ``all``
        is that of the predictors together. A mapping, for example of the step, gives groups below each other.
    response, predictor : DataArray, equal dims, optional
        Tiles of the current and of one predictor, such as the tortuosity factor: a scatter with its least-squares line
        stands beside the effects. Tiles that are NaN or infinite in either are left out, and their number is told.
    names : mapping of str to str, optional
        What predictors are called; their name in the table may have the response and ``~`` before it.
    title : str
        Above the effects, for example the step.
    simulated : bool, optional
        Label the figure as simulated; default what tables and arrays say.

    Returns
    -------
    matplotlib Figure
        180 mm wide with tiles, 88 mm without. Filled marks: p < 0.05 beside the other predictors.

    Raises
    ------
    InputError
        Where a table has no such rows, or response and predictor do not belong together.

    Examples
    --------
    >>> numbers = {"effect": -12.0, "effect low": -20.0, "effect high": -4.0, "p-value": 0.004}
    >>> table = pd.DataFrame([{"component": "current density~tortuosity factor", "quantity": name, "value": value,
    ...     "unit": "%"} for name, value in numbers.items()])
    >>> ax = effect_sizes(table).axes[0]
    >>> [text.get_text() for text in ax.get_yticklabels()], ax.texts[0].get_text()
    (['tortuosity factor'], 'p = 0.004')
    """
    where = "effect_sizes"
    if (response is None) != (predictor is None):
        raise InputError(f"{where}: response and predictor must be given together, got only one. Pass both.")
    groups = dict(tables) if isinstance(tables, Mapping) else {"": tables}
    effects = [effect for name, table in groups.items() for effect in _effects(table, name, names or {}, where=where)]
    wide = response is not None
    height = max(22 + 6.5 * len(effects), 62 if wide else 30)
    figure = style.new_figure(style.DOUBLE_MM if wide else style.SINGLE_MM, min(height, 230))
    axes = figure.subplots(1, 2 if wide else 1, squeeze=False)[0]
    units = {str(unit) for table in groups.values() for unit in table.loc[table["quantity"] == "effect", "unit"]}
    _forest(axes[0], effects)
    if title:
        axes[0].set_title(title, loc="left", fontweight="bold")
    of = {"%": "% of the mean", "1": "standard deviations"}.get(units.pop() if len(units) == 1 else "", "")
    axes[0].set_xlabel("Effect of one standard deviation" + (f"\n[{of}]" if of else ""))
    if response is not None and predictor is not None:
        _tiles(axes[1], response, predictor, where=where)
    if style.is_simulated(*groups.values(), response, predictor) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _effects(table: pd.DataFrame, group: str, names: Mapping[str, str], *, where: str) -> list[_Effect]:
    values: dict[str, dict[str, float]] = {
        str(name): dict(zip(part["component"].astype(str), part["value"].astype(float), strict=True))
        for name, part in table.groupby("quantity")
    }
    if "effect" not in values:
        raise InputError(
            f"{where}: rows of effect are needed, got the quantities {sorted(values)}. "
            "Use the table of operando.morphometry.spatial_regression."
        )
    chances = values.get("p-value", {})
    joint = next((p for name, p in chances.items() if name.split("~")[-1] == _ALL), np.nan)
    rows = [_Effect(group or _TOGETHER, joint, heading=True)] if group or np.isfinite(joint) else []
    for name, value in values["effect"].items():
        low, high = (values.get(f"effect {end}", {}).get(name, np.nan) for end in ("low", "high"))
        predictor = name.split("~")[-1]
        rows.append(_Effect(names.get(predictor, predictor), chances.get(name, np.nan), value, low, high))
    return rows


def _forest(ax: Any, effects: list[_Effect]) -> None:
    for place, effect in enumerate(effects):
        sure = effect.p < _SIGNIFICANT
        if not effect.heading:
            look = {"fmt": "o", "color": _POINT if sure else style.MUTED, "mfc": _POINT if sure else "white"}
            error = np.nan_to_num([[effect.value - effect.low], [effect.high - effect.value]])
            ax.errorbar(effect.value, place, xerr=np.clip(error, 0, None), markersize=5, elinewidth=1.2, **look)
        if np.isfinite(effect.p):
            text = f"p = {effect.p:.3f}" if effect.p >= 0.001 else f"p = {effect.p:.1g}"
            ax.annotate(
                f"{text} together" if effect.heading and effect.name != _TOGETHER else text,
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                fontweight="bold" if sure else "normal",
                annotation_clip=False,
            )
    ax.axvline(0, color=style.INK, lw=0.6)
    ax.set_yticks(range(len(effects)), [effect.name for effect in effects])
    for label, effect in zip(ax.get_yticklabels(), effects, strict=True):
        label.set_fontweight("bold" if effect.heading else "normal")
    ax.set_ylim(len(effects) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")


def _tiles(ax: Any, response: xr.DataArray, predictor: xr.DataArray, *, where: str) -> None:
    if response.shape != predictor.shape:
        raise InputError(
            f"{where}: response and predictor need the same tiles, got {response.shape} and {predictor.shape}. "
            "Average both on the same tiles."
        )
    x, y = np.asarray(predictor.values, dtype=float).ravel(), np.asarray(response.values, dtype=float).ravel()
    known = np.isfinite(x) & np.isfinite(y)
    ax.plot(x[known], y[known], "o", color=_POINT, markersize=2.6, alpha=0.5, mew=0)
    if known.sum() > 2 and np.ptp(x[known]) > 0:
        ends = np.array([x[known].min(), x[known].max()])
        ax.plot(ends, np.polyval(np.polyfit(x[known], y[known], 1), ends), color=style.INK, lw=1.0)
    left_out = int((~known).sum())
    text = f"{int(known.sum())} tiles" + (f", {left_out} without a finite value left out" if left_out else "")
    ax.set_title(text, fontsize=7, color=style.MUTED, loc="right")
    ax.set_xlabel(wording.array_label(predictor, default="Predictor"))
    ax.set_ylabel(wording.array_label(response, default="Current density"))
    ax.grid(True)
