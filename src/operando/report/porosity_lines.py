"""Porosity over steps, over depth, and its distribution over the electrode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.report import style, wording
from operando.report.lines import quantity_line, rows_of
from operando.report.steps import (
    electrode_title,
    electrodes_of,
    plating_side_of,
    step_axis,
    step_colors,
    step_handles,
    step_names,
    step_text,
)

_METHODS = {"truth": style.INK, "network": style.ACCENTS["network"], "otsu": "#8A5A00"}
_MARKERS = {"truth": "o", "network": "s", "otsu": "^"}


@style.styled
def porosity_by_step(
    tables: Mapping[str, pd.DataFrame],
    *,
    quantity: str,
    steps: Sequence[str],
    components: Sequence[str] = ("high", "low"),
    apart: Sequence[str] = ("Otsu",),
    plating_side: str | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw porosity by step for several methods, a panel per electrode (Dixit 2020, Fig. 2b, Fig. S14).

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Method, such as ``truth``, ``network`` or ``Otsu``, to its quantity table.
    quantity : str
        Rows to draw, for example near-interface porosity, in one unit.
    steps : sequence of str
        Name of each scan.
    components : sequence of str
        A panel each, where the tables have them.
    apart : sequence of str
        Methods that get a row of panels of their own, because their level would flatten the others.
    plating_side : {"low", "high"}, optional
        Electrode that the steps are named after; default that of the tables. The shades of the other electrode are
        exchanged.
    label : str, optional
        Of the y axis; default the quantity.
    simulated : bool, optional
        Label the figure as simulated; default what the tables say.

    Returns
    -------
    matplotlib Figure, 180 mm wide, 88 mm for one panel

    Raises
    ------
    InputError
        Where no table has such rows, or a scan has no name.

    Examples
    --------
    >>> from operando.core.quantities import quantity_table
    >>> table = quantity_table([{"scan": scan, "component": "low", "quantity": "porosity", "value": value,
    ...     "sigma": 0.01, "unit": "1"} for scan, value in enumerate([0.02, 0.01])])
    >>> figure = porosity_by_step({"network": table}, quantity="porosity", steps=["pristine", "plate 1"])
    >>> figure.axes[0].get_title(loc="left")
    'Bottom electrode'
    """
    if not tables:
        raise InputError("porosity_by_step: at least one table is needed, got none. Pass {'network': table}.")
    rows = {name: rows_of(table, quantity, None, where="porosity_by_step") for name, table in tables.items()}
    known = {name for part in rows.values() for name in part["component"]}
    drawn = [name for name in components if name in known]
    if not drawn:
        raise InputError(
            f"porosity_by_step: rows of one of {', '.join(components)} are needed, got {sorted(known)}. "
            "Pass components=..."
        )
    last = max(int(part["scan"].max()) for part in rows.values())
    if last >= len(steps):
        raise InputError(
            f"porosity_by_step: every scan needs a name, got {len(steps)} names for {last + 1} scans. Pass all steps."
        )
    side = plating_side_of(*tables.values(), plating_side=plating_side, where="porosity_by_step")
    alone = [name for name in rows if name in apart and len(rows) > 1]
    lines = [[name for name in rows if name not in alone], *([name] for name in alone)]
    lines = [names for names in lines if names]
    wide = len(drawn) > 1
    figure = style.new_figure(style.DOUBLE_MM if wide else style.SINGLE_MM, 18 + 42 * len(lines))
    axes = figure.subplots(len(lines), len(drawn), sharex=True, sharey="row", squeeze=False)
    for line, names in enumerate(lines):
        for column, component in enumerate(drawn):
            ax = axes[line, column]
            for index, name in enumerate(names):
                if component in set(rows[name]["component"]):
                    _method_line(ax, rows[name], component, name, index)
            step_axis(ax, steps, electrode=component, plating_side=side)
            ax.grid(True, axis="y")
            if line == 0:
                ax.set_title(electrode_title(component), loc="left", fontweight="bold")
            if line < len(lines) - 1:
                ax.tick_params(labelbottom=False)
        unit = str(rows[names[0]]["unit"].iloc[0])
        text = wording.label_text(label or quantity, unit) + (f", {names[0]}" if len(lines) > 1 and line else "")
        axes[line, 0].set_ylabel("\n".join(wording.wrapped(text, 38)))
    _method_legend(figure, list(rows), step_handles(steps, opposite=side is not None and len(drawn) > 1))
    if style.is_simulated(*tables.values()) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _look(name: str, index: int) -> tuple[str, str]:
    key = name.lower()
    return _METHODS.get(key, style.color_of(name, index=index)), _MARKERS.get(key, "Dvo"[index % 3])


def _method_line(ax: Any, rows: pd.DataFrame, component: str, name: str, index: int) -> None:
    color, marker = _look(name, index)
    quantity_line(ax, rows, component, color=color, time="scan", label=name, marker=marker)
    if name.lower() == "truth":
        line = ax.lines[-1]
        line.set(linestyle=(0, (4, 2)), markerfacecolor="none", markersize=5.2, zorder=5)


def _method_legend(figure: Any, names: Sequence[str], shades: list[Any]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for index, name in enumerate(names):
        color, marker = _look(name, index)
        true: dict[str, Any] = {"mfc": "none", "ls": "--", "markersize": 5.2} if name.lower() == "truth" else {}
        handles.append(Line2D([], [], color=color, marker=marker, label=name, **true))
    handles.append(Patch(facecolor=style.MUTED, alpha=0.3, lw=0, label="95 % interval"))
    handles += shades
    wide = figure.get_size_inches()[0] * 25.4 > 120
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if wide else 3)


@style.styled
def porosity_by_depth(
    profile: xr.DataArray,
    *,
    sigma: xr.DataArray | None = None,
    steps: Sequence[str] | None = None,
    plating_side: str | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw porosity against the depth from the local interface, a line per step (Dixit 2020, Fig. S5b).

    Parameters
    ----------
    profile : DataArray, dims ([t], [component], depth)
        Porosity in bins of depth; ``depth`` has units (um) and is 0 at the interface. Components are panels.
    sigma : DataArray, same dims, optional
        Standard error; the bands are 95 % intervals. Default the coordinate ``sigma`` of the profile, if any.
    steps, plating_side, label, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure
        180 mm wide, 88 mm for one panel.

    Examples
    --------
    >>> profile = xr.DataArray([[0.08, 0.02]], dims=("t", "depth"), coords={"depth": ("depth", [5.0, 15.0],
    ...     {"units": "um", "long_name": "depth"})}, name="porosity")
    >>> porosity_by_depth(profile, steps=["pristine"]).axes[0].get_xlabel()
    'Depth from the interface [µm]'
    """
    whole, names = _profile_rows(profile, steps, where="porosity_by_depth")
    spread = sigma if sigma is not None else profile.coords.get("sigma")
    errors = None if spread is None else _with_t(spread.compute()).transpose(*whole.dims)
    side = plating_side_of(profile, plating_side=plating_side, where="porosity_by_depth")
    panels = electrodes_of(whole, where="porosity_by_depth") or [""]
    figure = style.new_figure(style.DOUBLE_MM if len(panels) > 1 else style.SINGLE_MM, 64)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    depth = np.asarray(whole.coords["depth"].values, dtype=float)
    for ax, name in zip(axes, panels, strict=True):
        at = {"component": name} if name else {}
        sides = {"electrode": name, "plating_side": side}
        for scan, color in enumerate(step_colors(names, **sides)):
            values = whole.sel(at).isel(t=scan).values
            ax.plot(depth, values, "-o", color=color, markersize=2.4, label=step_text(names[scan], **sides))
            if errors is not None:
                half = 1.96 * errors.sel(at).isel(t=scan).values
                ax.fill_between(depth, values - half, values + half, color=color, alpha=0.18, lw=0)
        ax.set_xlabel(wording.label_text("depth from the interface", _depth_unit(whole)))
        ax.grid(True, axis="y")
        ax.legend(loc="upper right", frameon=True, framealpha=0.8, edgecolor="none")
        if name:
            ax.set_title(electrode_title(name), loc="left", fontweight="bold")
    axes[0].set_xlim(0.0, float(depth.max() + depth.min()))
    axes[0].set_ylim(0.0, 1.08 * _top(whole.values, errors))
    axes[0].set_ylabel(label or wording.array_label(profile, default="Porosity"))
    if style.is_simulated(profile) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _profile_rows(profile: xr.DataArray, steps: Sequence[str] | None, *, where: str) -> tuple[xr.DataArray, list[str]]:
    if "depth" not in profile.dims or set(profile.dims) - {"t", "component", "depth"}:
        raise AxesError(
            f"{where}: dims ([t], [component], depth) are needed, got {tuple(profile.dims)}. "
            "Use a porosity profile by depth from the local interface."
        )
    whole = _with_t(profile.compute())
    return whole, step_names(whole, steps, where=where)


def _with_t(array: xr.DataArray) -> xr.DataArray:
    return array if "t" in array.dims else array.expand_dims("t")


def _top(values: np.ndarray, errors: xr.DataArray | None) -> float:
    """Upper end of the axis: all values and their intervals, but not those wider than the value itself."""
    top = float(np.nanmax(values, initial=0.0))
    if errors is not None:
        half = 1.96 * errors.values
        top = max(top, float(np.max((values + half)[half < values], initial=0.0)))
    return top or 1.0


def _depth_unit(profile: xr.DataArray) -> str:
    return str(profile.coords["depth"].attrs.get("units", "um"))


@style.styled
def porosity_distributions(
    values: xr.DataArray,
    *,
    modes: Mapping[tuple[int, str], pd.DataFrame] | None = None,
    steps: Sequence[str] | None = None,
    bins: int = 30,
    plating_side: str | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw how porosity is distributed over the tiles of an electrode, step by step (Dixit 2020, Fig. S5a).

    Parameters
    ----------
    values : DataArray, dims ([t], [component], further dims)
        Porosity of each tile; NaN is left out. Components are columns of panels, steps are rows.
    modes : mapping of (scan, component) to DataFrame, optional
        Mixture fitted to the tiles, as of ``morphometry.porosity_modes``: ``weight``, ``mean`` and ``sigma`` of its
        normal distributions, a row each, and ``modes``, the number of its maxima. The component is "" where the
        values have none.
    bins : int
        Of the histograms, which all share one axis.
    steps, plating_side, label, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure
        Filled: the tiles; lines: the normal distributions of the mixture and, in ink, their sum.

    Examples
    --------
    >>> tiles = xr.DataArray(np.linspace(0.0, 0.1, 24).reshape(1, 4, 6), dims=("t", "y", "x"), name="porosity")
    >>> fit = pd.DataFrame({"weight": [1.0], "mean": [0.05], "sigma": [0.03], "modes": [1]})
    >>> figure = porosity_distributions(tiles, modes={(0, ""): fit}, steps=["pristine"])
    >>> figure.axes[0].texts[0].get_text()
    'pristine: 1 mode'
    """
    whole = _with_t(values.compute())
    names = step_names(whole, steps, where="porosity_distributions")
    panels = electrodes_of(whole, where="porosity_distributions") or [""]
    side = plating_side_of(values, plating_side=plating_side, where="porosity_distributions")
    finite = whole.values[np.isfinite(whole.values)]
    if not finite.size:
        raise InputError("porosity_distributions: at least one tile must be known, got none. Look at the labels.")
    edges = np.linspace(float(finite.min()), float(np.percentile(finite, 99.9)), bins + 1)
    if edges[-1] <= edges[0]:
        edges = np.linspace(edges[0] - 0.5, edges[0] + 0.5, bins + 1)
    wide = len(panels) > 1
    figure = style.new_figure(style.DOUBLE_MM if wide else style.SINGLE_MM, 18 + 17 * len(names))
    axes = figure.subplots(len(names), len(panels), sharex=True, sharey=True, squeeze=False)
    for column, name in enumerate(panels):
        colors = step_colors(names, electrode=name, plating_side=side)
        for scan, color in enumerate(colors):
            ax = axes[scan, column]
            tiles = whole.sel({"component": name} if name else {}).isel(t=scan).values.ravel()
            fit = _checked(modes[scan, name]) if modes and (scan, name) in modes else None
            _histogram(ax, tiles[np.isfinite(tiles)], edges, color, fit)
            number = None if fit is None else int(fit["modes"].iloc[0])
            counted = "" if number is None else f": {number} mode{'s' if number != 1 else ''}"
            ax.text(0.98, 0.9, f"{names[scan]}{counted}", transform=ax.transAxes, ha="right", va="top", fontsize=7)
        if name:
            axes[0, column].set_title(electrode_title(name), loc="left", fontweight="bold")
        axes[-1, column].set_xlabel(label or wording.array_label(values, default="Porosity of a tile"))
    # Shared: of the histograms alone, since a narrow mode (tiles without any pore) would flatten everything else.
    axes[0, 0].set_ylim(0, 1.25 * max(patch.get_xy()[:, 1].max() for ax in axes.flat for patch in ax.patches))
    for ax in axes[:, 0]:
        ax.set_yticks([])
    figure.supylabel("Probability density", fontsize=8)
    if modes:
        _distribution_legend(figure)
    if style.is_simulated(values) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _histogram(ax: Any, tiles: np.ndarray, edges: np.ndarray, color: str, fit: pd.DataFrame | None) -> None:
    from scipy.stats import norm

    ax.hist(tiles, bins=edges, density=True, color=color, alpha=0.35, histtype="stepfilled")
    ax.spines["left"].set_visible(False)
    if fit is None:
        return
    x = np.linspace(edges[0], edges[-1], 400)
    rows = fit[["weight", "mean", "sigma"]].to_numpy(dtype=float)
    parts = [weight * norm.pdf(x, mean, max(sigma, 1e-9)) for weight, mean, sigma in rows]
    for part in parts:
        ax.plot(x, part, color=color, lw=0.9)
    ax.plot(x, np.sum(parts, axis=0), color=style.INK, lw=0.9, ls=(0, (4, 2)))


def _checked(fit: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("weight", "mean", "sigma", "modes") if name not in fit]
    if missing or fit.empty:
        raise InputError(
            f"porosity_distributions: modes need rows with weight, mean, sigma and modes, missing {missing}, got "
            f"{len(fit)} rows of {list(fit.columns)}. Use operando.morphometry.porosity_modes(values).to_dataframe()."
        )
    return fit


def _distribution_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=style.MUTED, alpha=0.35, lw=0, label="tiles"),
        Line2D([], [], color=style.MUTED, lw=0.9, label="normal distributions"),
        Line2D([], [], color=style.INK, lw=0.9, ls=(0, (4, 2)), label="their sum"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
