"""The study: which features, which times and which network, under every split; and networks that are too wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from operando.report import growth_style as look
from operando.report import style
from operando.report.spectral_style import finish

PAPER_NETWORKS = ("8", "16", "[8, 8]", "[16, 16]")
"""Networks of Ma 2021, Fig. 4."""
_COLUMNS = ("split", "features", "times", "network", "r_train", "r_test")
_SIZES = {"slopes": 3, "concentration": 2, "growth": 2, "all": 7}
_VALUES = {"r_test": "R of the test points", "r_within": "R within frames"}


@style.styled
def study_maps(ablation: pd.DataFrame, *, value: str = "r_test", simulated: bool | None = None) -> Any:
    """Draw a score of every combination of features, times and network under every split (Ma 2021, Fig. 4).

    Parameters
    ----------
    ablation : DataFrame of ``dendrites.ablation``
        Columns ``split, features, times, network, repeat`` and ``value``. Networks that were trained on one combination
        only are left to :func:`overfitting_plot`.
    value : {"r_test", "r_within"}
        Mean over the repeats, written into each square.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A row of panels per split, a column per set of times, one color scale.
    """
    where = "study_maps"
    look.known(value, _VALUES, where=where, what="value")
    look.checked(ablation, (*_COLUMNS[:4], value), where=where, name="ablation")
    splits = look.split_order(ablation["split"])
    times = [time for time in look.TIME_LABELS if (ablation["times"] == time).any()]
    features = [name for name in look.SET_LABELS if (ablation["features"] == name).any()]
    networks = study_networks(ablation)
    means = ablation.groupby(["split", "times", "features", "network"], observed=True)[value].mean()
    cell = (style.DOUBLE_MM - 52) / max(len(times) * len(networks), 6)
    figure = style.new_figure(style.DOUBLE_MM, len(splits) * (min(cell, 9.0) * len(features) + 7) + 20)
    axes = figure.subplots(len(splits), len(times), squeeze=False, sharex=True, sharey=True)
    cmap = style.sequential_map("#2A7F9E")
    shown = None
    for line, split in enumerate(splits):
        for column, time in enumerate(times):
            ax = axes[line, column]
            index = pd.MultiIndex.from_product([[split], [time], features, networks])
            values = means.reindex(index).to_numpy(dtype=float).reshape(len(features), len(networks))
            shown = ax.imshow(values, cmap=cmap, vmin=0.0, vmax=1.0, aspect="auto")
            _write(ax, values)
            ax.set_xticks(range(len(networks)), networks)
            ax.set_yticks(range(len(features)), [look.SET_LABELS[name] for name in features])
            ax.tick_params(length=0)
            if line == 0:
                ax.set_title(f"features at {look.TIME_LABELS[time]}", pad=4)
        name = look.SPLIT_LABELS.get(split, split).replace(" (", "\n(")
        axes[line, 0].set_ylabel(name, fontweight="bold", fontsize=7)
    figure.supxlabel("Neurons of the hidden layers", fontsize=8)
    style.panel_letters(axes.ravel(), indent=-9)
    below = bool((means.dropna() < 0).any())
    bar = figure.colorbar(
        shown, ax=axes, label=_VALUES[value], fraction=0.03, pad=0.012, aspect=34, extend="min" if below else "neither"
    )
    bar.outline.set_linewidth(0.4)
    return finish(figure, True, simulated, ablation)


def study_networks(ablation: pd.DataFrame) -> list[str]:
    """Networks that were trained on the most combinations, narrow ones first.

    Examples
    --------
    >>> table = pd.DataFrame({"features": ["all", "growth", "all"], "times": "both", "network": ["8", "8", "[64, 64]"]})
    >>> study_networks(table)
    ['8']
    """
    counts = ablation.drop_duplicates(["features", "times", "network"])["network"].astype(str).value_counts()
    found = [str(name) for name in counts.index[counts == counts.max()]]
    return sorted(found, key=_depth_and_width)


def _depth_and_width(network: str) -> tuple[int, ...]:
    layers = look.hidden_layers(network)
    return (len(layers), *layers)


def _write(ax: Any, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        text = look.r_text(value) if np.isfinite(value) else "n/a"
        color = "white" if np.isfinite(value) and value > 0.55 else style.INK
        ax.text(column, row, text, ha="center", va="center", fontsize=6.2, color=color)


@style.styled
def overfitting_plot(
    ablation: pd.DataFrame, *, features: str = "all", times: str = "both", simulated: bool | None = None
) -> Any:
    """Draw R of training and test points over the number of parameters of the network (Ma 2021, Fig. S5).

    Parameters
    ----------
    ablation : DataFrame of ``dendrites.ablation``
        With several networks on one combination of features and times.
    features, times : str
        Which combination.
    simulated : bool, optional
        Label the figure as simulated; default what the table says.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A panel per split. Dots are means over the repeats, bars reach from the lowest to the highest of them.

    Examples
    --------
    >>> table = pd.DataFrame({"split": "frame", "features": "all", "times": "both", "network": ["8", "[64, 64]"],
    ...     "r_train": [0.7, 0.99], "r_test": [0.5, 0.3]})
    >>> overfitting_plot(table).axes[0].lines[0].get_xdata().tolist()
    [129, 5185]
    """
    from matplotlib.lines import Line2D

    where = "overfitting_plot"
    look.checked(ablation, _COLUMNS, where=where, name="ablation")
    some = ablation[(ablation["features"] == features) & (ablation["times"] == times)]
    look.checked(some, _COLUMNS, where=where, name=f"part of the ablation with features {features!r} at {times!r}")
    splits = look.split_order(some["split"])
    inputs = _SIZES[features] * (2 if times == "both" else 1)
    networks = sorted(
        dict.fromkeys(some["network"].astype(str)), key=lambda name: (look.parameter_count(name, inputs), name)
    )
    counts = [look.parameter_count(name, inputs) for name in networks]
    figure = style.new_figure(style.DOUBLE_MM, 70)
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for ax, split in zip(axes, splits, strict=True):
        for column, ls in (("r_train", (0, (3, 1.5))), ("r_test", "-")):
            grouped = some[some["split"] == split].groupby("network", observed=True)[column].agg(["mean", "min", "max"])
            rows = grouped.reindex(networks)
            color = look.SPLIT_COLORS.get(split, style.INK) if column == "r_test" else style.INK
            ax.plot(counts, rows["mean"].to_numpy(), color=color, marker="o", ls=ls)
            ax.vlines(counts, rows["min"], rows["max"], color=color, lw=1.0)
        ax.set_xscale("log")
        ax.minorticks_off()
        shown = _spread_ticks(counts)
        ax.set_xticks([counts[k] for k in shown], [f"{networks[k]}\n{counts[k]}" for k in shown], fontsize=6)
        ax.set_title(look.SPLIT_LABELS.get(split, split), pad=3)
        ax.set_xlabel("Hidden layers, parameters")
        ax.grid(True, axis="y")
    axes[0].set_ylabel("R")
    handles = [
        Line2D([], [], color=style.INK, marker="o", ls=(0, (3, 1.5)), label="training points"),
        Line2D([], [], color=style.MUTED, marker="o", label="test points"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=2.6)
    style.panel_letters(axes, indent=-10)
    return finish(figure, True, simulated, ablation)


def _spread_ticks(counts: list[int]) -> list[int]:
    """Places of as many ticks as stand clear of each other on a logarithmic axis."""
    span = np.log(counts[-1] / counts[0]) if len(counts) > 1 else 1.0
    shown = [0]
    for place in range(1, len(counts)):
        if np.log(counts[place] / counts[shown[-1]]) > 0.24 * span:
            shown.append(place)
    return shown
