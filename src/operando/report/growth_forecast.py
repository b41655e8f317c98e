"""Forecast against measured growth: the cloud of all points, a sample of them, and a held-out frame along x."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.report import growth_style as look
from operando.report import style
from operando.report.spectral_style import finish

_PREDICTIONS = ("split", "model", "repeat", "sample", "measured", "predicted", "part")
_BOX = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.0}
_PARTS = {"train": "training", "test": "test"}


@style.styled
def forecast_scatter(
    predictions: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    models: Mapping[str, str],
    splits: Sequence[str] | None = None,
    repeat: int = 0,
    table: pd.DataFrame | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw forecast over measured growth rate for training and test points of several networks (Ma 2021, Fig. 3a-d).

    Parameters
    ----------
    predictions : DataFrame of ``dendrites.compare``
        Columns ``split, model, repeat, sample, measured, predicted, part``; rates in um min-1.
    scores : DataFrame of ``dendrites.compare``
        Its ``r_train``, ``r_test`` and ``r_within`` of the repeat drawn are written into the panels.
    models : mapping of model to str
        Which models, and the heading of each.
    splits : sequence of str, optional
        A row each; default those of the predictions.
    repeat : int
        Which repeat is drawn.
    table : DataFrame, optional
        The feature table whose row ``sample`` refers to; its ``stage`` colors the points.
    simulated : bool, optional
        Label the figure as simulated; default what the predictions or the table say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A row per split; training and test beside each other for every model. Points on the line are right.

    Raises
    ------
    InputError
        Where a model or a split is not among the predictions.
    """
    where = "forecast_scatter"
    look.checked(predictions, _PREDICTIONS, where=where, name="predictions")
    found = look.split_order(predictions["split"])
    rows = [look.known(split, found, where=where, what="a split") for split in (splits or found)]
    for model in models:
        look.known(model, dict.fromkeys(predictions["model"]), where=where, what="a model")
    limits = rate_limits(predictions.loc[predictions["model"].isin(list(models)), "measured"])
    columns = [(model, part) for model in models for part in _PARTS]
    cell = (style.DOUBLE_MM - 32) / max(len(columns), 3)
    figure = style.new_figure(style.DOUBLE_MM, len(rows) * (cell + 5) + 27)
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for line, split in enumerate(rows):
        for column, (model, part) in enumerate(columns):
            ax = axes[line, column]
            drawn = chosen(predictions, split, model, repeat, part)
            _cloud(ax, drawn, table, limits)
            _corner(ax, scores, split, model, repeat, part)
            if line == 0:
                ax.set_title("\n".join([*_heading(models[model], cell), _PARTS[part]]), pad=3)
        name = look.SPLIT_LABELS.get(split, split).split(" (")[0]
        axes[line, 0].set_ylabel(f"{name}\n{look.rate_label('forecast', table, predictions)}")
    for ax in axes[-1]:
        ax.set_xlabel(look.rate_label("measured", table, predictions))
    style.panel_letters(axes.ravel(), indent=-10)
    if table is not None:
        figure.legend(handles=_dots(table["stage"]), loc="outside lower center", ncols=3, handletextpad=0.2)
    return finish(figure, True, simulated, predictions, table)


def chosen(predictions: pd.DataFrame, split: str, model: str, repeat: int, part: str) -> pd.DataFrame:
    """Predictions of one training, of its training or its test points."""
    same = (predictions["split"] == split) & (predictions["model"] == model) & (predictions["part"] == part)
    return predictions[same & (predictions["repeat"] == repeat)]


def rate_limits(rates: pd.Series) -> tuple[float, float]:
    """Ends of an axis that holds all growth rates but one in a thousand at either side."""
    values = rates.to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return -0.1, 1.0
    low, high = np.percentile(values, [0.1, 99.9])
    room = 0.06 * max(high - low, 1e-6)
    return float(min(low - room, 0.0)), float(high + room)


def _heading(title: str, width_mm: float) -> list[str]:
    """A heading in lines that fit above a panel; brackets here are layers of a network, not units."""
    return textwrap.wrap(title, max(int(width_mm / 1.5), 12))


def _cloud(ax: Any, drawn: pd.DataFrame, table: pd.DataFrame | None, limits: tuple[float, float]) -> None:
    ax.plot(limits, limits, color=style.MUTED, lw=0.7, zorder=1)
    colors: Any = style.INK
    if table is not None:
        stages = table["stage"].reindex(drawn["sample"]).astype(str)
        colors = [look.stage_color(stage) for stage in stages]
    # What lies beyond the axes is drawn on their edge, not left out.
    x, y = (np.clip(drawn[name].to_numpy(dtype=float), *limits) for name in ("measured", "predicted"))
    ax.scatter(x, y, s=2.2, c=colors, alpha=0.35, lw=0, rasterized=True, zorder=2)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.locator_params(nbins=4)


def _corner(ax: Any, scores: pd.DataFrame, split: str, model: str, repeat: int, part: str) -> None:
    same = (scores["split"] == split) & (scores["model"] == model) & (scores["repeat"] == repeat)
    if not same.any():
        return
    row = scores[same].iloc[0]
    text = f"R = {look.r_text(float(row[f'r_{part}']))}"
    if part == "test" and "r_within" in scores:
        text += f"\nwithin frames {look.r_text(float(row['r_within']))}"
    ax.text(0.04, 0.97, text, transform=ax.transAxes, va="top", fontsize=6.5, linespacing=1.15, bbox=_BOX)


def _dots(stages: pd.Series) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], ls="none", marker="o", ms=3.5, color=look.stage_color(s), label=look.STAGE_LABELS.get(s, s))
        for s in look.stage_order(stages)
    ]


@style.styled
def forecast_along(
    predictions: pd.DataFrame,
    table: pd.DataFrame,
    *,
    models: Mapping[str, str],
    honest: str = "frame",
    repeat: int = 0,
    points: int = 60,
    seed: int = 0,
    simulated: bool | None = None,
) -> Any:
    """Draw measured and forecast growth of random test points, and along the electrode in a frame that was held out.

    Parameters
    ----------
    predictions : DataFrame of ``dendrites.compare``
        As in :func:`forecast_scatter`; with ``low`` and ``high`` the interval is drawn.
    table : DataFrame of ``dendrites.growth_features``
        Its rows are what ``sample`` refers to.
    models : mapping of model to str
        Which models, and the heading of each: a column each.
    honest : str
        The split of the lower row.
    repeat, points, seed : int
        Which repeat; how many random points are drawn in the upper row (Ma 2021, Fig. 3e and f), and their seed.
    simulated : bool, optional
        Label the figure as simulated; default what the predictions or the table say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
    """
    where = "forecast_along"
    look.checked(predictions, _PREDICTIONS, where=where, name="predictions")
    look.checked(table, ("experiment", "frame", "t_min", "x_um"), where=where)
    found = dict.fromkeys(predictions["split"])
    rows = [split for split in ("random", look.known(honest, found, where=where, what="honest")) if split in found]
    for model in models:
        look.known(model, dict.fromkeys(predictions["model"]), where=where, what="a model")
    figure = style.new_figure(style.DOUBLE_MM, 14 + 48 * len(rows))
    axes = figure.subplots(len(rows), len(models), squeeze=False, sharey="row")
    wide = (style.DOUBLE_MM - 20) / len(models)
    for line, split in enumerate(rows):
        for column, (model, title) in enumerate(models.items()):
            ax = axes[line, column]
            drawn = chosen(predictions, split, model, repeat, "test")
            if split == "random":
                _sample(ax, drawn, points, seed)
                said = f"{min(points, len(drawn))} random test points"
            else:
                said = _along(ax, drawn, table, where=where)
                said = f"held out, {said}"
            ax.set_title("\n".join([*_heading(title, wide), said]), pad=3)
            ax.grid(True, axis="y")
        axes[line, 0].set_ylabel(look.rate_label("growth rate", table, predictions, lines=2))
    style.panel_letters(axes.ravel(), indent=-38)
    _legend(figure, {"low", "high"} <= set(predictions.columns))
    return finish(figure, True, simulated, predictions, table)


def _sample(ax: Any, drawn: pd.DataFrame, points: int, seed: int) -> None:
    taken = np.random.default_rng(seed).permutation(len(drawn))[:points]
    some = drawn.iloc[np.sort(taken)]
    at = np.arange(1, len(some) + 1)
    if {"low", "high"} <= set(some.columns):
        # Neighbors here are strangers: a bar each, no band.
        ax.vlines(at, some["low"], some["high"], color=look.FORECAST, lw=1.6, alpha=0.28)
    ax.plot(at, some["predicted"], color=look.FORECAST, marker="o", ms=2, lw=0.8)
    ax.plot(at, some["measured"], color=look.MEASURED, marker="o", ms=2, lw=0.8)
    ax.set_xlabel("Test point")
    ax.margins(x=0.01)


def _along(ax: Any, drawn: pd.DataFrame, table: pd.DataFrame, *, where: str) -> str:
    """Draw the held-out frame that varies most along the electrode; returns what it is."""
    places = ["experiment", "frame", "t_min", "x_um"]
    joined = drawn.drop(columns=places, errors="ignore").join(table[places], on="sample")
    if joined.empty:
        raise InputError(f"{where}: the split has no test points in this repeat. Choose another repeat.")
    frames = joined.groupby(["experiment", "frame"], sort=True)
    spreads = frames["measured"].std().fillna(0.0)
    which = spreads.index[int(spreads.to_numpy().argmax())]
    one = frames.get_group(which).sort_values("x_um")
    if {"low", "high"} <= set(one.columns):
        ax.fill_between(one["x_um"], one["low"], one["high"], color=look.FORECAST, alpha=0.2, lw=0)
    ax.plot(one["x_um"], one["predicted"], color=look.FORECAST, lw=1.1)
    ax.plot(one["x_um"], one["measured"], color=look.MEASURED, lw=1.1)
    ax.set_xlabel(look.place_label(table))
    ax.margins(x=0.01)
    return f"{look.plain(str(which[0]))}, {float(one['t_min'].iloc[0]):g} min"


def _legend(figure: Any, with_interval: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=look.MEASURED, label="measured"),
        Line2D([], [], color=look.FORECAST, label="forecast"),
    ]
    if with_interval:
        handles.append(Patch(facecolor=look.FORECAST, alpha=0.25, lw=0, label="interval of the forecast"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
