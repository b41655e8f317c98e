"""What the growth rate depends on: distributions of the sensitivities, many trainings, stages, and other methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.report import growth_style as look
from operando.report import style
from operando.report.spectral_style import finish

Truth = pd.DataFrame | Mapping[str, float] | None
TRUTH_MARK: dict[str, Any] = {
    "ls": "none",
    "marker": "D",
    "ms": 4.0,
    "mfc": "white",
    "mec": style.FLAG,
    "mew": 0.9,
    "clip_on": False,
}
_TIMES = ("previous", "current")


@style.styled
def sensitivity_distributions(s: pd.DataFrame, *, truth: Truth = None, simulated: bool | None = None) -> Any:
    """Draw the distribution of every sensitivity over the samples, its mean and its deviation (Ma 2021, Fig. 5).

    Parameters
    ----------
    s : DataFrame of ``dendrites.sensitivity``
        A column per feature and time, a row per sample; um min-1 per unit of the input scaled to [-1, 1].
    truth : DataFrame or mapping of feature to float, optional
        See :func:`truth_values`.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        a, b: shares of the samples by sensitivity, at the time before and at the time of the forecast, each
        distribution to the same height, line at its mean; the axis ends at the largest of the 99th percentiles. c:
        means, bars of one standard deviation over the samples.
    """
    look.checked(s, list(s.columns)[:1] or ["slope"], where="sensitivity_distributions", name="table")
    names = look.feature_order(s.columns)
    # The long tails end where 1 of 100 samples of the widest distribution lies beyond.
    top = float(np.nanmax(s.quantile(0.99).to_numpy(dtype=float), initial=0.0)) or 1.0
    figure = style.new_figure(style.DOUBLE_MM, 92)
    axes = figure.subplots(1, 3, sharey=True, width_ratios=[1.0, 1.0, 1.05])
    for ax, time in zip(axes, _TIMES, strict=False):
        for place, name in enumerate(names):
            column = _column(name, time)
            if column in s:
                _ridge(ax, s[column].to_numpy(dtype=float), place, top, look.TIME_COLORS[time])
        ax.set_xlim(0.0, top)
        ax.set_xlabel(_label(s))
        ax.set_title(f"features at {look.TIME_LABELS[time]}", pad=3)
        ax.grid(True, axis="x")
    summary = pd.DataFrame({"feature": s.columns, "mean": s.mean().to_numpy(), "std": s.std().to_numpy()})
    _bars(axes[2], summary, names, truth_values(truth))
    axes[2].set_xlabel(_label(s))
    axes[2].set_title("mean and deviation", pad=3)
    axes[0].set_yticks(range(len(names)), [look.feature_label(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.75)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    style.panel_letters(axes, indent=-10)
    _time_legend(figure, truth is not None)
    return finish(figure, True, simulated, s)


@style.styled
def sensitivity_over_runs(
    runs: pd.DataFrame,
    *,
    truth: Truth = None,
    stages: Sequence[str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the mean sensitivities of many trainings, in all and by stage (Ma 2021, Fig. 6).

    Parameters
    ----------
    runs : DataFrame of ``dendrites.sensitivity_runs``
        Columns ``run, stage, feature, mean``.
    truth : DataFrame or mapping of feature to float, optional
        See :func:`truth_values`.
    stages : sequence of str, optional
        Which panels; default ``all`` and every stage that occurs.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Bars of one standard deviation between trainings. That is not the error of the sensitivity: all trainings saw
        the same experiments.
    """
    where = "sensitivity_over_runs"
    look.checked(runs, ("run", "stage", "feature", "mean"), where=where, name="runs")
    found = list(dict.fromkeys(runs["stage"].astype(str)))
    panels = [name for name in ("all", *look.stage_order(found)) if name in found]
    panels = list(dict.fromkeys(panels if stages is None else stages))
    for stage in panels:
        look.known(stage, found, where=where, what="a stage")
    grouped = runs.groupby(["stage", "feature"], observed=True)["mean"].agg(["mean", "std"]).reset_index()
    grouped["std"] = grouped["std"].fillna(0.0)
    names = look.feature_order(runs["feature"])
    figure = style.new_figure(style.DOUBLE_MM, 84)
    axes = figure.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
    for ax, stage in zip(axes, panels, strict=True):
        _bars(ax, grouped[grouped["stage"].astype(str) == stage], names, truth_values(truth, stage))
        color = style.INK if stage == "all" else look.stage_color(stage)
        ax.set_title("all stages" if stage == "all" else look.STAGE_LABELS.get(stage, stage), pad=3, color=color)
        ax.set_xlabel(_label(runs))
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), [look.feature_label(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    _same_limits(axes)
    style.panel_letters(axes, indent=-10)
    _time_legend(figure, truth is not None)
    return finish(figure, True, simulated, runs)


def truth_values(truth: Truth, stage: str = "all") -> dict[str, float]:
    """True sensitivity of each feature, where it is known.

    Parameters
    ----------
    truth : DataFrame or mapping
        Columns ``feature``, ``stage`` (rows of all stages without it) and ``sensitivity``, as of
        ``samples.srs_sensitivities``; or feature to number, which is that of all stages.
    stage : str

    Examples
    --------
    >>> truth_values({"slope": 0.0}), truth_values({"slope": 0.0}, "full")
    ({'slope': 0.0}, {})
    """
    if truth is None:
        return {}
    if not isinstance(truth, pd.DataFrame):
        return {str(name): float(value) for name, value in truth.items()} if stage == "all" else {}
    column = "sensitivity"
    look.checked(truth, ("feature", column), where="truth_values", name="truth")
    own = truth["stage"].astype(str) == stage if "stage" in truth else pd.Series(stage == "all", index=truth.index)
    part = truth[own].dropna(subset=[column])
    return {str(name): float(value) for name, value in zip(part["feature"], part[column], strict=True)}


def _column(name: str, time: str) -> str:
    return name + look.PREVIOUS if time == "previous" else name


def _label(*tables: pd.DataFrame) -> str:
    return look.rate_label("sensitivity", *tables)


def _same_limits(axes: Sequence[Any]) -> None:
    """One scale for panels side by side: that of the longest bar with its deviation."""
    right = max(ax.dataLim.x1 for ax in axes)
    for ax in axes:
        ax.set_xlim(0.0, 1.04 * right if right > 0 else 1.0)


def _ridge(ax: Any, values: np.ndarray, place: int, top: float, color: str) -> None:
    values = values[np.isfinite(values)]
    if values.size == 0:
        return
    counts, edges = np.histogram(values, bins=60, range=(0.0, top))
    tall = 0.82 * counts / max(counts.max(), 1)
    base = place + 0.36
    ax.fill_between(edges, base - np.append(tall, tall[-1]), base, step="post", color=color, lw=0, alpha=0.95)
    ax.plot([0.0, top], [base, base], color=style.MUTED, lw=0.4)
    ax.plot([values.mean()] * 2, [base - 0.82, base], color=style.INK, lw=0.9)


def _bars(ax: Any, summary: pd.DataFrame, names: Sequence[str], truth: Mapping[str, float]) -> None:
    """A bar per feature and time, its deviation, and the truth as a mark."""
    means = dict(zip(summary["feature"], summary["mean"].to_numpy(dtype=float), strict=True))
    spread = dict(zip(summary["feature"], summary["std"].to_numpy(dtype=float), strict=True))
    for place, name in enumerate(names):
        for time, offset in zip(_TIMES, (-0.2, 0.2), strict=True):
            column = _column(name, time)
            if column not in means:
                continue
            mean, std = means[column], spread[column]
            color = look.TIME_COLORS[time]
            ax.barh(place + offset, mean, height=0.36, color=color, lw=0)
            ax.hlines(place + offset, max(mean - std, 0.0), mean + std, color=style.INK, lw=0.8)
            if column in truth:
                ax.plot(truth[column], place + offset, zorder=6, **TRUTH_MARK)
    ax.set_xlim(left=0.0)
    ax.grid(True, axis="x")


def _time_legend(figure: Any, with_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=look.TIME_COLORS[time], lw=0, label=f"feature at {look.TIME_LABELS[time]}") for time in _TIMES
    ]
    handles.append(Line2D([], [], color=style.INK, lw=0.8, label="one standard deviation"))
    if with_truth:
        handles.append(Line2D([], [], label="truth", **TRUTH_MARK))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
