"""Sensitivities by several methods beside each other: local, over the box of the inputs, by group, by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.growth_sensitivity import TRUTH_MARK, Truth, truth_values
from operando.report.spectral_style import finish

_COLUMNS = ("method", "feature", "index", "value", "low", "high")
_TOLD = {"first": "first order", "total": "total", "r2": "overall", "r2_within": "within frames"}
_AXES = {
    ("first", "total"): "Share of the variance",
    ("r2", "r2_within"): "Loss of R²",
}
# In units of their own, or not needed beside the others: a panel has one axis.
_UNSHOWN = ("mu", "sigma", "rmse")


@style.styled
def sensitivity_methods(tables: pd.DataFrame, *, truth: Truth = None, simulated: bool | None = None) -> Any:
    """Draw what each method says of each feature, a panel per method.

    Parameters
    ----------
    tables : DataFrame
        Columns ``method, feature, index, value, low, high``, for example those of ``dendrites.sobol``, ``morris``,
        ``grouped_sobol`` and ``conditional_permutation`` in one table. Features that are none of Table I are groups.
    truth : DataFrame or mapping of feature to float, optional
        See ``growth_sensitivity.truth_values``; drawn where the unit is the same, beside the mean effects of Morris.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Above, the features; below, groups of them. Dots with the interval of the method; filled at the time of the
        forecast, open at the time before.

    Examples
    --------
    >>> table = pd.DataFrame({"method": "Sobol", "feature": ["slope", "growth_rate"], "index": "total",
    ...     "value": [0.1, 0.9], "low": [0.0, 0.8], "high": [0.2, 1.0]})
    >>> [text.get_text() for text in sensitivity_methods(table).axes[0].get_yticklabels()]
    ['3 slope', '7 growth rate']
    """
    look.checked(tables, _COLUMNS, where="sensitivity_methods", name="table")
    rows = tables[~tables["index"].isin(_UNSHOWN)]
    alone = rows["feature"].map(lambda name: look.feature_time(str(name))[0] in look.FEATURE_LABELS)
    single, grouped = rows[alone], rows[~alone]
    names, groups = look.feature_order(single["feature"]), list(dict.fromkeys(grouped["feature"].astype(str)))
    heights = [tall for tall, some in ((7.6 * len(names) + 14, single), (5.2 * len(groups) + 16, grouped)) if len(some)]
    figure = style.new_figure(style.DOUBLE_MM, sum(heights) + 16)
    parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    axes: list[Any] = []
    if len(single):
        axes += _features(parts[0], single, names, truth_values(truth))
    if len(grouped):
        axes += _groups(parts[-1], grouped, groups)
    for ax in axes:
        ax.grid(True, axis="x")
        ax.tick_params(axis="y", length=0)
        ax.axvline(0.0, color=style.MUTED, lw=0.5)
        ax.locator_params(axis="x", nbins=3)
    style.panel_letters(axes, indent=-10)
    _legend(figure, rows, truth is not None and "mu_star" in set(single["index"]))
    return finish(figure, True, simulated, tables)


def _features(figure: Any, rows: pd.DataFrame, names: Sequence[str], truth: dict[str, float]) -> list[Any]:
    methods = list(dict.fromkeys(rows["method"].astype(str)))
    axes = list(figure.subplots(1, len(methods), sharey=True, squeeze=False)[0])
    for ax, method in zip(axes, methods, strict=True):
        part = rows[rows["method"] == method]
        indices = list(dict.fromkeys(part["index"].astype(str)))
        colors = _index_colors(indices)
        for record in part.to_dict("records"):
            name, time = look.feature_time(str(record["feature"]))
            place = names.index(name) + _side(time) + _shift(record, indices)
            _dot(ax, record, place, colors[str(record["index"])], hollow=time == "previous")
        if "mu_star" in indices:
            for column, value in truth.items():
                name, time = look.feature_time(column)
                if name in names:
                    ax.plot(value, names.index(name) + _side(time), zorder=1, **TRUTH_MARK)
        _finish_panel(ax, method, indices, width_mm=(style.DOUBLE_MM - 30) / len(methods))
    axes[0].set_yticks(range(len(names)), [look.feature_label(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return axes


def _groups(figure: Any, rows: pd.DataFrame, groups: Sequence[str]) -> list[Any]:
    methods = list(dict.fromkeys(rows["method"].astype(str)))
    axes = list(figure.subplots(1, len(methods), sharey=True, squeeze=False)[0])
    for ax, method in zip(axes, methods, strict=True):
        part = rows[rows["method"] == method]
        indices = list(dict.fromkeys(part["index"].astype(str)))
        colors = _index_colors(indices)
        for record in part.to_dict("records"):
            name = str(record["feature"])
            place = groups.index(name) + 1.6 * _shift(record, indices)
            _dot(ax, record, place, colors[str(record["index"])], hollow=name.endswith("previous"))
        title = method if method.startswith("grouped") else f"{method}, groups"
        _finish_panel(ax, title, indices, width_mm=(style.DOUBLE_MM - 38) / len(methods))
    axes[0].set_yticks(range(len(groups)), [_group_text(name) for name in groups])
    axes[0].set_ylim(len(groups) - 0.4, -0.6)
    return axes


def _finish_panel(ax: Any, title: str, indices: Sequence[str], *, width_mm: float) -> None:
    # What is wider than its panel runs into the next one.
    ax.set_title("\n".join(wording.wrapped(title, min(width_mm - 6, 38))), pad=3)
    ax.set_xlabel("\n".join(wording.wrapped(_x_label(indices), width_mm - 4)))


def _side(time: str) -> float:
    return -0.2 if time == "previous" else 0.2


def _index_colors(indices: Sequence[str]) -> dict[str, str]:
    if len(indices) == 1:
        return {indices[0]: look.TIME_COLORS["current"]}
    colors = ("#8A949E", "#332288", "#E69F00", "#009E73")
    return {name: colors[k % len(colors)] for k, name in enumerate(indices)}


def _group_text(name: str) -> str:
    text = name.replace("_", " ")
    for time in ("previous", "current"):
        if text.endswith(f" {time}"):
            return f"{text.removesuffix(f' {time}')}, {look.TIME_LABELS[time]}"
    return text


def _shift(record: dict[Any, Any], indices: Sequence[str]) -> float:
    return 0.09 * (2 * indices.index(str(record["index"])) - len(indices) + 1)  # 0 where there is one index


def _dot(ax: Any, record: dict[Any, Any], place: float, color: str, *, hollow: bool) -> None:
    if np.isfinite([record["low"], record["high"]]).all():
        ax.hlines(place, record["low"], record["high"], color=color, lw=0.9, zorder=2)
    ax.plot(record["value"], place, marker="o", ms=3.2, ls="none", color=color, mfc="white" if hollow else color)


def _x_label(indices: Sequence[str]) -> str:
    for known, label in _AXES.items():
        if set(indices) <= set(known):
            return label
    return "Mean |effect| [µm min⁻¹]" if "mu_star" in indices else "Index"


def _legend(figure: Any, rows: pd.DataFrame, with_truth: bool) -> None:
    from matplotlib.lines import Line2D

    color = look.TIME_COLORS["current"]
    handles = [
        Line2D([], [], ls="none", marker="o", ms=3.6, color=color, mfc=fill, label=f"at {look.TIME_LABELS[time]}")
        for time, fill in (("previous", "white"), ("current", color))
    ]
    told: dict[str, str] = {}
    for _, part in rows.groupby("method", sort=False):
        indices = list(dict.fromkeys(part["index"].astype(str)))
        if len(indices) > 1:
            told |= {_TOLD.get(name, name.replace("_", " ")): color for name, color in _index_colors(indices).items()}
    handles += [Line2D([], [], ls="none", marker="o", ms=3.2, color=color, label=name) for name, color in told.items()]
    if with_truth:
        handles.append(Line2D([], [], label="truth", **TRUTH_MARK))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
