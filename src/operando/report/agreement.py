"""How well a segmentation agrees with labels, beside its baseline, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.report import style

_SUMMARIES = ("macro", "total")


@style.styled
def agreement_chart(
    network: xr.Dataset | xr.DataArray | Mapping[str, float],
    otsu: xr.Dataset | xr.DataArray | Mapping[str, float] | None = None,
    *,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    names: tuple[str, str] = ("network", "Otsu"),
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw intersection over union per phase, macro and total, for a segmentation beside its baseline.

    Parameters
    ----------
    network, otsu : Dataset, DataArray or mapping
        Scores between 0 and 1. A Dataset with ``iou`` (component) and scalars ``macro`` and ``total``; an array
        with a ``component`` dim and the same scalars as coordinates or attrs; or a plain mapping of names to scores
        that includes ``macro`` and ``total``. NaN: the phase occurs neither in the labels nor in the prediction.
    phases : PhaseScheme or mapping, optional
        For the colors; default the usual phases of a cell.
    names : (str, str)
        Of the two methods.
    simulated : bool, optional
        Label the figure as simulated; default ``attrs["simulated"]``.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure, 88 mm wide
        Filled marks are the segmentation, open marks the baseline.

    Examples
    --------
    >>> figure = agreement_chart({"electrode": 0.97, "macro": 0.9}, {"electrode": 0.6, "macro": 0.4})
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['electrode', 'macro']
    """
    model, base = _scores(network), _scores(otsu) if otsu is not None else {}
    rows = [n for n in model if n not in _SUMMARIES] + [n for n in _SUMMARIES if n in model]
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=16 + 6.2 * len(rows))
    for place, name in enumerate(rows):
        color = style.INK if name in _SUMMARIES else style.color_of(name, phases)
        score, other = model[name], base.get(name, np.nan)
        if np.isfinite(score) and np.isfinite(other):
            ax.plot([other, score], [place, place], color=style.GRID, lw=2.5, solid_capstyle="round", zorder=2)
        if np.isfinite(other):
            ax.plot(other, place, "o", mfc="white", mec=style.MUTED, mew=1.0, markersize=4.5, zorder=3)
        if np.isfinite(score):
            ax.plot(score, place, "o", color=color, markersize=5.5, mec=style.INK, mew=0.3, zorder=4)
        _beside(ax, place, [_score_text(score)] + ([_score_text(other)] if base else []))
    summaries = sum(name in _SUMMARIES for name in rows)
    if 0 < summaries < len(rows):
        ax.axhline(len(rows) - summaries - 0.5, color=style.INK, lw=0.6)
    _beside(ax, -0.75, list(names) if base else [names[0]])
    ax.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5), xlabel="Intersection over union", yticks=range(len(rows)))
    ax.set_yticklabels(rows)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    if own and (style.is_simulated(network, otsu) if simulated is None else simulated):
        style.mark_simulated(ax.figure)
    return ax.figure


def _score_text(score: float) -> str:
    return f"{score:.3f}" if np.isfinite(score) else "absent"


def _beside(ax: Any, place: float, texts: Sequence[str]) -> None:
    """Two columns of text right of the axes, level with a row."""
    for text, offset, look in zip(texts, (8, 46), ({"fontweight": "bold"}, {"color": style.MUTED}), strict=False):
        ax.annotate(
            text,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(offset, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            annotation_clip=False,
            **look,
        )


def _scores(agreement: xr.Dataset | xr.DataArray | Mapping[str, float]) -> dict[str, float]:
    if isinstance(agreement, xr.Dataset):
        if "iou" not in agreement:
            raise InputError(
                f"agreement_chart: a Dataset must hold the variable 'iou' (component), got {list(agreement)}. "
                "Use operando.segmentation.agreement(prediction, truth, phases)."
            )
        extra: Mapping[Any, Any] = {**agreement.attrs, **agreement}
        array = agreement["iou"]
    elif isinstance(agreement, xr.DataArray):
        extra, array = {**agreement.attrs, **agreement.coords}, agreement
    else:
        return {str(name): float(value) for name, value in agreement.items()}
    if array.dims != ("component",):
        raise InputError(f"agreement_chart: scores must have the one dim component, got {array.dims}. Select first.")
    scores = {str(n): float(v) for n, v in zip(array.coords["component"].values, array.values, strict=True)}
    return scores | {name: float(extra[name]) for name in _SUMMARIES if name in extra}


@style.styled
def reliability_diagram(
    bins: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    error: float | None = None,
    error_before: float | None = None,
    ax: Any = None,
) -> Any:
    """Draw how often voxels are right against how sure the segmentation was.

    Parameters
    ----------
    bins : DataFrame
        Columns ``confidence`` (mean probability of the chosen phase), ``accuracy`` (share that is right) and ``n``
        (voxels), a row per bin.
    before : DataFrame, optional
        The same before calibration, drawn open.
    error, error_before : float, optional
        Expected calibration error of each, for the legend.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where a column is missing.
    """
    own = ax is None
    if own:
        figure = style.new_figure(style.SINGLE_MM, 82)
        ax, counts = figure.subplots(2, 1, sharex=True, height_ratios=[1, 0.25])
    else:
        counts = None
    ax.plot([0, 1], [0, 1], color=style.MUTED, lw=0.8, ls=(0, (4, 2)), label="perfect")
    kinds: list[tuple[pd.DataFrame | None, str, float | None, dict[str, Any]]] = [
        (before, "before calibration", error_before, {"color": style.ACCENTS["baseline"], "mfc": "white"}),
        (bins, "calibrated" if before is not None else "segmentation", error, {"color": style.ACCENTS["network"]}),
    ]
    for table, name, off, look in kinds:
        if table is None:
            continue
        missing = [column for column in ("confidence", "accuracy", "n") if column not in table]
        if missing:
            raise InputError(
                f"reliability_diagram: the columns confidence, accuracy and n are needed, missing {missing}, "
                f"got {list(table.columns)}. Rename them."
            )
        part = table[table["n"] > 0]
        label = name if off is None else f"{name} (error {off:.3f})"
        ax.plot(part["confidence"], part["accuracy"], marker="o", label=label, **look)
    ax.set(ylabel="Share that is right", xlim=(0, 1.01), ylim=(0, 1.02))
    ax.set_aspect("auto")
    ax.grid(True)
    ax.legend(loc="upper left")
    if counts is None:
        ax.set_xlabel("Probability of the chosen phase")
    else:
        part = bins[bins["n"] > 0]
        counts.bar(part["confidence"], part["n"] / part["n"].sum(), width=0.03, color=style.ACCENTS["network"])
        counts.set(xlabel="Probability of the chosen phase", ylabel="Share of\nvoxels", ylim=(0, 1.02))
    return ax.figure


@style.styled
def volume_bias(
    table: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    tolerance: float = 0.05,
    names: tuple[str, str] = ("calibrated", "before calibration"),
    phases: PhaseScheme | Mapping[str, int] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw predicted over true volume of each component, before and after the volumes were calibrated.

    Parameters
    ----------
    table : DataFrame
        Columns ``component`` and ``value`` (predicted over true volume) and optionally ``sigma``; several rows of a
        component, such as cells or scans, are drawn as several marks.
    before : DataFrame, optional
        The same without calibration, drawn open.
    tolerance : float
        Half width of the shaded band around 1.
    names : (str, str)
        Of the two.
    phases : PhaseScheme or mapping, optional
        For the colors.
    simulated : bool, optional
        Label the figure as simulated; default ``table.attrs["simulated"]``.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where a column is missing or no ratio is known.

    Examples
    --------
    >>> table = pd.DataFrame({"component": ["pit", "pit", "dendrite"], "value": [0.98, 1.01, 1.04]})
    >>> [tick.get_text() for tick in volume_bias(table).axes[0].get_yticklabels()]
    ['pit', 'dendrite']
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tables = [table] if before is None else [table, before]
    for each in tables:
        missing = [column for column in ("component", "value") if column not in each]
        if missing:
            raise InputError(
                f"volume_bias: the columns component and value are needed, missing {missing}, got "
                f"{list(each.columns)}. Rename them."
            )
    rows = list(dict.fromkeys(name for name in table["component"] if name not in ("electrolyte", "background")))
    drawn = pd.concat([each[each["component"].isin(rows)] for each in tables])["value"]
    if not np.isfinite(drawn.to_numpy(dtype=float)).any():
        raise InputError("volume_bias: at least one ratio must be known, got none. Leave the figure out.")
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=26 + 7.5 * len(rows))
    ax.axvspan(1 - tolerance, 1 + tolerance, color=style.GRID, lw=0)
    ax.axvline(1, color=style.MUTED, lw=0.9, ls=(0, (4, 2)))
    shifts = [0.0] if before is None else [-0.17, 0.17]
    for each, shift, filled in zip(tables, shifts, (True, False), strict=False):
        for place, name in enumerate(rows):
            part = each[each["component"] == name]
            color = style.color_of(name, phases, index=place)
            x = part["value"].to_numpy(dtype=float)
            # Marks of one component are parted a little, so that none hides another.
            y = place + shift + np.linspace(-0.1, 0.1, len(x)) * (len(x) > 1)
            if "sigma" in part:
                half = 1.96 * part["sigma"].fillna(0).to_numpy(dtype=float)
                ax.errorbar(x, y, xerr=half, fmt="none", ecolor=color, elinewidth=0.8)
            ax.plot(x, y, "o", color=color, mfc=color if filled else "white", markersize=4.2, zorder=3)
    top = max(1.5 * tolerance, 1.12 * float(np.nanmax(np.abs(drawn.to_numpy(dtype=float) - 1))))
    ax.set(xlim=(1 - top, 1 + top), ylim=(len(rows) - 0.5, -0.5), xlabel="Predicted over true volume")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    mark: dict[str, Any] = {"ls": "none", "marker": "o", "color": style.INK, "markersize": 4.2}
    handles: list[Any] = [Line2D([], [], label=names[0], **mark)]
    if before is not None:
        handles.append(Line2D([], [], mfc="white", label=names[1], **mark))
    handles.append(Patch(facecolor=style.GRID, lw=0, label=f"within {100 * tolerance:g} %"))
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    if own and (style.is_simulated(table) if simulated is None else simulated):
        style.mark_simulated(ax.figure)
    return ax.figure


@style.styled
def training_history(
    history: pd.DataFrame | Sequence[Mapping[str, float]] | Mapping[str, Sequence[float]],
    *,
    step: str | None = None,
    losses: Sequence[str] | None = None,
    scores: Sequence[str] | None = None,
    chosen: float | None = None,
) -> Any:
    """Draw how the loss fell and the score rose during training.

    Parameters
    ----------
    history : DataFrame, or what makes one
        A row per evaluation; rows of one ``stage``, where there is that column, make one curve.
    step : str, optional
        Column on the x axis; default the first of ``step``, ``epoch``, ``iteration`` that is there.
    losses, scores : sequence of str, optional
        Columns; default those whose names hold ``loss``, and ``iou``, ``accuracy`` or ``dice``.
    chosen : float, optional
        Step whose weights were kept; marked.

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where there is nothing to draw.
    """
    table = history if isinstance(history, pd.DataFrame) else pd.DataFrame(history)
    names = [str(name) for name in table.columns]
    step = step or next((name for name in ("step", "epoch", "iteration") if name in names), None)
    losses = [n for n in names if "loss" in n] if losses is None else list(losses)
    words = ("iou", "accuracy", "dice", "macro", "total")
    scores = [n for n in names if any(w in n.lower() for w in words)] if scores is None else list(scores)
    panels = [(group, title) for group, title in ((losses, "Loss"), (scores, "Score")) if group]
    if not panels:
        raise InputError(
            f"training_history: columns with a loss or a score are needed, got {names}. Name them in losses or scores."
        )
    figure = style.new_figure(style.SINGLE_MM, 12 + 36 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    x = table[step].to_numpy(dtype=float) if step else np.arange(len(table), dtype=float)
    # A stage that counts its steps from one again goes on where the stage before it ended.
    x = x + np.cumsum(np.where(np.diff(x, prepend=x[:1]) < 0, np.roll(x, 1), 0.0))
    stages: list[Any] = list(dict.fromkeys(table["stage"])) if "stage" in names else [None]
    colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
    for ax, (group, title) in zip(axes, panels, strict=True):
        curves = [(name, stage) for name in group for stage in stages]
        for index, (name, stage) in enumerate(curves):
            y = table[name].to_numpy(dtype=float)
            known = np.isfinite(y) & (True if stage is None else (table["stage"] == stage).to_numpy())
            mark = "o" if known.sum() <= 60 else None
            label = _words(name) if stage is None else f"{_words(name)}, {stage}"
            ax.plot(x[known], y[known], color=colors[index % 6], marker=mark, markersize=2.5, label=label)
        if title == "Score":
            ax.set_ylim(top=1.02)
        elif np.nanmin(table[group].to_numpy(dtype=float)) > 0:
            ax.set_yscale("log")
        if chosen is not None:
            ax.axvline(chosen, color=style.MUTED, lw=0.8, ls=(0, (4, 2)))
        ax.set_ylabel(title)
        ax.grid(True, axis="y")
        ax.legend(loc="best", ncols=2 if len(group) > 3 else 1)
    axes[-1].set_xlabel((step or "evaluation").capitalize())
    return figure


def _words(name: str) -> str:
    return name.replace("_", " ").replace("iou", "IoU")
