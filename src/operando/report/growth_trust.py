"""How far a forecast can be trusted: every model under every split, beside what the data allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from operando.report import growth_style as look
from operando.report import style
from operando.report.spectral_style import finish

Ceiling = pd.DataFrame | Mapping[str, Mapping[str, float]] | None
LEAK_DETECTOR = "nearest neighbor"
_PANELS = {"r": ("r_test", "R of the test points"), "r_within": ("r_within", "R within frames")}
_KNOWLEDGE = {"past": "knowing all the past", "visible": "knowing what is visible"}
_CEILINGS = ((0, (4, 2)), (0, (1, 1.5)), "-.")


@style.styled
def trust_plot(
    scores: pd.DataFrame,
    *,
    intervals: pd.DataFrame | None = None,
    ceiling: Ceiling = None,
    level: float = 0.95,
    simulated: bool | None = None,
) -> Any:
    """Draw the scores of every model under every split, with ceilings where they are known.

    Parameters
    ----------
    scores : DataFrame of ``dendrites.compare``
        Columns ``split, model, repeat, r_test, r_within`` and, where known, ``coverage``.
    intervals : DataFrame of ``dendrites.score_intervals``, optional
        Columns ``split, model, score, value, low, high``: values and bars of the scores ``r`` and ``r_within``. Without
        it the marks are means over the repeats, and the bars reach from the lowest to the highest of them.
    ceiling : DataFrame of ``samples.srs_ceiling`` or mapping of name to mapping, optional
        Where the series is simulated: what no forecast can beat, see ``growth_trust.ceiling_values``.
    level : float
        Share that intervals claim to hold, drawn as a line beside their coverage.
    simulated : bool, optional
        Label the figure as simulated; default what the scores say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A row per model. The 1-nearest neighbor, which can only look up, is shaded: what it gains from a split leaked.

    Examples
    --------
    >>> scores = pd.DataFrame({"split": ["random", "frame"], "model": "linear", "repeat": 0, "r_test": [0.9, 0.3],
    ...     "r_within": [0.8, 0.1]})
    >>> [ax.get_xlabel() for ax in trust_plot(scores).axes]
    ['R of the test points', 'R within frames']
    """
    look.checked(scores, ("split", "model", "r_test", "r_within"), where="trust_plot", name="scores")
    models, splits = list(dict.fromkeys(scores["model"].astype(str))), look.split_order(scores["split"])
    ceilings = ceiling_values(ceiling)
    covered = "coverage" in scores and bool(scores["coverage"].notna().any())
    figure = style.new_figure(style.DOUBLE_MM, 7.2 * len(models) + (32 if ceilings else 26))
    ratios = [1.0, 1.0, 0.62] if covered else [1.0, 1.0]
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios)
    for ax, (score, (column, label)) in zip(axes, _PANELS.items(), strict=False):
        _marks(ax, scores, models, splits, column, None if intervals is None else _of_score(intervals, score))
        for number, values in enumerate(ceilings.values()):
            if score in values:
                ax.axvline(values[score], color=style.INK, lw=0.9, ls=_CEILINGS[number % 3], zorder=1)
        ax.axvline(0.0, color=style.MUTED, lw=0.5)
        ax.set_xlim(right=1.03)
        ax.set_xlabel(label)
    if covered:
        _marks(axes[2], scores, models, splits, "coverage", None)
        axes[2].axvline(level, color=style.INK, lw=0.9)
        axes[2].set_xlim(max(-0.02, min(float(scores["coverage"].min()), 0.6) - 0.05), 1.06)
        axes[2].set_xlabel(f"Coverage of\n{100 * level:g} % intervals")
    axes[0].set_yticks(range(len(models)), [_model_text(model) for model in models])
    axes[0].set_ylim(len(models) - 0.45, -0.55)
    for ax in axes:
        ax.grid(True, axis="x")
        ax.tick_params(axis="y", length=0)
        if LEAK_DETECTOR in models:
            place = models.index(LEAK_DETECTOR)
            ax.axhspan(place - 0.46, place + 0.46, color="#FFB000", alpha=0.16, lw=0, zorder=0)
    style.panel_letters(axes, indent=-10)
    _legend(figure, splits, ceilings)
    return finish(figure, True, simulated, scores)


def ceiling_values(ceiling: Ceiling) -> dict[str, dict[str, float]]:
    """Correlations ``r`` and ``r_within`` that no forecast can beat, by what it knows.

    Parameters
    ----------
    ceiling : DataFrame or mapping
        Rows ``past`` and ``visible`` of ``samples.srs_ceiling`` (``knowledge, scope, r_bound``: the bound for measured
        growth rates), or name to a mapping of ``r`` and ``r_within``.

    Examples
    --------
    >>> table = pd.DataFrame({"knowledge": ["past", "past", "stage"], "scope": ["overall", "within frame", "overall"],
    ...     "r_bound": [0.9, 0.6, 0.8]})
    >>> ceiling_values(table)
    {'knowing all the past': {'r': 0.9, 'r_within': 0.6}}
    """
    if ceiling is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    if isinstance(ceiling, pd.DataFrame):
        look.checked(ceiling, ("knowledge", "scope", "r_bound"), where="ceiling_values", name="table of ceilings")
        for knowledge, name in _KNOWLEDGE.items():
            for scope, score in (("overall", "r"), ("within frame", "r_within")):
                same = (ceiling["knowledge"] == knowledge) & (ceiling["scope"] == scope)
                if same.any():
                    found.setdefault(name, {})[score] = float(ceiling.loc[same, "r_bound"].iloc[0])
    else:
        found = {str(name): dict(values) for name, values in ceiling.items()}
    return {name: {k: v for k, v in values.items() if np.isfinite(v)} for name, values in found.items()}


def _of_score(intervals: pd.DataFrame, score: str) -> pd.DataFrame:
    look.checked(
        intervals, ("split", "model", "score", "value", "low", "high"), where="trust_plot", name="table of intervals"
    )
    return intervals[intervals["score"] == score]


def _marks(
    ax: Any, scores: pd.DataFrame, models: list[str], splits: list[str], column: str, intervals: pd.DataFrame | None
) -> None:
    """One mark per model and split, with its bar; a score that is not defined has none."""
    table = scores[["split", "model"]].assign(low=scores[column], value=scores[column], high=scores[column])
    how = {"value": "mean", "low": "min", "high": "max"}
    if intervals is not None:
        table, how = intervals, {"value": "first", "low": "first", "high": "first"}
    known = table.dropna(subset=["value"]).groupby(["split", "model"], observed=True, as_index=False).agg(how)
    known = known[known["model"].isin(models)]
    offsets = np.linspace(-0.24, 0.24, len(splits)) if len(splits) > 1 else [0.0]
    for split, offset in zip(splits, offsets, strict=True):
        color = look.SPLIT_COLORS.get(split, style.MUTED)
        for row in known[known["split"] == split].to_dict("records"):
            place = models.index(str(row["model"])) + offset
            ax.hlines(place, row["low"], row["high"], color=color, lw=1.1)
            ax.plot(row["value"], place, **_look(split))


def _look(split: str) -> dict[str, Any]:
    color = look.SPLIT_COLORS.get(split, style.MUTED)
    # The mark of the split that leaks is hollow.
    filled = "white" if split == "random" else color
    return {"marker": look.SPLIT_MARKS.get(split, "^"), "ls": "none", "ms": 4.2, "color": color, "mfc": filled}


def _model_text(model: str) -> str:
    return f"{look.model_label(model)}\n(finds leaks)" if model == LEAK_DETECTOR else look.model_label(model)


def _legend(figure: Any, splits: list[str], ceilings: Mapping[str, Mapping[str, float]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=look.SPLIT_LABELS.get(s, s), **_look(s)) for s in splits]
    handles += [
        Line2D([], [], color=style.INK, lw=0.9, ls=_CEILINGS[number % 3], label=f"ceiling: {name}")
        for number, name in enumerate(ceilings)
    ]
    columns = len(handles) if len(handles) < 4 else -(-len(handles) // 2)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
