"""How a network was trained: its effective parameters and the weights of error and size, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from operando.report import growth_style as look
from operando.report import style
from operando.report.spectral_style import finish

_TRACE = ("epoch", "gamma", "alpha", "beta", "E_D")


@style.styled
def growth_training(
    trace: pd.DataFrame,
    restarts: pd.DataFrame | None = None,
    *,
    parameters: int | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the course of a training by Bayesian regularization, and the evidence of its restarts.

    Parameters
    ----------
    trace : DataFrame, ``trace_`` of ``dendrites.BayesianNetwork``
        Columns ``epoch, E_D, gamma, alpha, beta`` and, where known, ``E_W``.
    restarts : DataFrame, optional
        A row per start: ``log_evidence`` and ``gamma``, and where known ``r_test``.
    parameters : int, optional
        Weights and biases of the network: the upper bound of gamma.
    simulated : bool, optional
        Label the figure as simulated; default what the tables say.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Examples
    --------
    >>> trace = pd.DataFrame({"epoch": [0, 1], "E_D": [4.0, 1.0], "gamma": [9.0, 5.0], "alpha": 0.1, "beta": 1.0})
    >>> [ax.get_ylabel() for ax in growth_training(trace).axes]
    ['Effective parameters γ', 'α and β, in scaled units', 'Sum of squares, scaled']
    """
    look.checked(trace, _TRACE, where="growth_training", name="trace")
    panels = 3 if restarts is None else 4
    figure = style.new_figure(style.DOUBLE_MM, 56 if panels == 3 else 104)
    axes = figure.subplots(1, 3) if panels == 3 else figure.subplots(2, 2).ravel()
    epoch = trace["epoch"]
    axes[0].plot(epoch, trace["gamma"], color=style.ACCENTS["network"])
    axes[0].set_ylabel("Effective parameters γ")
    axes[0].set_ylim(bottom=0.0)
    if parameters is not None:
        axes[0].axhline(parameters, color=style.MUTED, lw=0.8, ls=(0, (4, 2)))
        axes[0].text(float(epoch.iloc[-1]), parameters, f"all {parameters}", ha="right", va="bottom", fontsize=6.5)
    for name, symbol, color in (("alpha", "α, of the weights", "#E69F00"), ("beta", "β, of the errors", "#332288")):
        axes[1].plot(epoch, trace[name], color=color, label=symbol)
    axes[1].set_ylabel("α and β, in scaled units")
    sums = [("E_D", "errors $E_D$", "#332288"), ("E_W", "weights $E_W$", "#E69F00")]
    for name, label, color in sums:
        if name in trace:
            axes[2].plot(epoch, trace[name], color=color, label=label)
    axes[2].set_ylabel("Sum of squares, scaled")
    for ax in axes[:3]:
        ax.set_xlabel("Epoch")
        ax.grid(True, axis="y")
    for ax in axes[1:3]:
        values = np.concatenate([line.get_ydata() for line in ax.lines])
        values = values[np.isfinite(values)]
        # Less than a decade has no two ticks on a logarithmic axis.
        if (values > 0).all() and np.ptp(np.log10(values)) > 1.0:
            ax.set_yscale("log")
            ax.minorticks_off()
        ax.legend(loc="best")
    if restarts is not None:
        _evidence(figure, axes[3], restarts)
    style.panel_letters(axes, indent=-26)
    return finish(figure, True, simulated, trace, restarts)


def _evidence(figure: Any, ax: Any, restarts: pd.DataFrame) -> None:
    look.checked(restarts, ("log_evidence", "gamma"), where="growth_training", name="table of restarts")
    best = int(np.nanargmax(restarts["log_evidence"].to_numpy(dtype=float)))
    scored = "r_test" in restarts
    shown = ax.scatter(
        restarts["gamma"],
        restarts["log_evidence"],
        s=16,
        c=restarts["r_test"] if scored else style.ACCENTS["network"],
        cmap="viridis" if scored else None,
        lw=0,
    )
    ax.plot(restarts["gamma"].iloc[best], restarts["log_evidence"].iloc[best], "o", ms=8, mfc="none", mec=style.FLAG)
    if scored:
        bar = figure.colorbar(shown, ax=ax, label="R of the test points", fraction=0.06, pad=0.02)
        bar.outline.set_linewidth(0.4)
    ax.set_xlabel("Effective parameters γ")
    ax.set_ylabel("Log evidence")
    ax.grid(True)
