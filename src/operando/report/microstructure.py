"""The electrolyte beneath the electrodes: its tortuosity, and how far its properties are from those of a dense one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.report import style, wording
from operando.report.step_maps import INFINITE, draw_step_maps, outline_spots, plane_at, rows_of_maps, titles_of
from operando.report.steps import plating_side_of, step_axis, step_handles, step_names

_PROPERTIES = {"conductivity": "conductivity", "modulus": "Young's modulus", "youngs_modulus": "Young's modulus"}
_DIRECTIONS = ("x", "y", "z")
_COLORS = {"tomography": "#0072B2", "synthetic": "#8A949E"}


@style.styled
def tortuosity_maps(
    tortuosity: xr.DataArray,
    spots: xr.DataArray | None = None,
    *,
    steps: Sequence[str] | None = None,
    scans: Sequence[int] | None = None,
    limits: tuple[float, float] | None = None,
    label: str | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the tortuosity factor of the electrolyte beneath each interface (Dixit 2020, Fig. S10, S11).

    Parameters
    ----------
    tortuosity : DataArray, dims ([t], [component], y, x)
        Tortuosity factor of each tile, at least 1; infinite (drawn in ink) where nothing leads through, NaN (gray)
        where nothing is known.
    spots : DataArray, dims ([t], [component], y, x), optional
        1 in hot spots, -1 in cold spots, on pixels of their own: outlined, solid and dashed, in the step of the same
        ``t``; without ``t``, in all steps.
    steps, scans, label, plating_side, simulated
        As in :func:`operando.report.porosity_maps`.
    limits : (float, float), optional
        Of the color scale; default from 1 to the 98th percentile of what is finite.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> tau = labeled_image(np.array([[1.2, np.inf], [1.5, 1.1]]), dims=("y", "x"), voxel_size_um=36.0)
    >>> figure = tortuosity_maps(tau)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['infinite: nothing leads through']
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    where = "tortuosity_maps"
    rows = rows_of_maps(tortuosity, where=where)
    titles = titles_of(tortuosity, steps, where=where)
    picked = wording.spread_scans(len(titles), 6) if scans is None else list(scans)
    rows = {name: stack.isel(t=picked) for name, stack in rows.items()}
    values = np.concatenate([stack.values.ravel() for stack in rows.values()])
    finite = values[np.isfinite(values)]
    low, high = limits or (1.0, max(float(np.percentile(finite, 98)), 1.01) if finite.size else 2.0)
    side = plating_side_of(tortuosity, plating_side=plating_side, where=where)
    figure, axes = draw_step_maps(
        rows,
        [titles[scan] for scan in picked],
        limits=(low, high),
        cmap=style.sequential_map("#8C2D6E"),
        label=label or wording.array_label(tortuosity, default="Tortuosity factor"),
        plating_side=side,
    )
    handles: list[Any] = []
    if np.isposinf(values).any():
        handles.append(Patch(facecolor=INFINITE, label="infinite: nothing leads through"))
    if spots is not None:
        outlines = rows_of_maps(spots, where=where)
        for line, name in enumerate(rows):
            for column in range(len(picked)):
                spot = plane_at(outlines[name], rows[name], column) if name in outlines else None
                if spot is not None:
                    outline_spots(axes[line, column], spot)
        handles.append(Line2D([], [], color=style.INK, lw=0.9, label="hot spot"))
        handles.append(Line2D([], [], color=style.INK, lw=0.9, ls=(0, (2.0, 1.2)), label="cold spot"))
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.4, handleheight=1.0
        )
    if style.is_simulated(tortuosity, spots) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


@style.styled
def microstructure_factors(
    tomography: xr.Dataset | Mapping[str, xr.DataArray],
    synthetic: xr.Dataset | Mapping[str, xr.DataArray] | None = None,
    *,
    steps: Sequence[str] | None = None,
    plating_side: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw microstructure factors by step and direction beside those of isotropic domains (Dixit 2020, Fig. 4d, S12).

    Parameters
    ----------
    tomography : Dataset of ``transport.microstructure_factor``, or mapping of str to DataArray
        Property, such as ``conductivity`` or ``modulus``, to the local over the dense value, dims ([t], component,
        further dims): the component is the direction x, y or z, the further dims are sub-domains.
    synthetic : Dataset or mapping of str to DataArray, optional
        The same of synthetic isotropic domains. Without ``t``, or with one step, it is drawn as a band across.
    steps, plating_side, simulated
        As in :func:`operando.report.porosity_maps`.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        A row per property, a column per direction. Marks: mean over the sub-domains; bars: smallest to largest.

    Raises
    ------
    InputError
        Where a property has no component dim.

    Examples
    --------
    >>> factor = xr.DataArray(np.full((1, 3, 4), 0.9), dims=("t", "component", "y"), coords={"component": list("xyz")})
    >>> figure = microstructure_factors({"conductivity": factor}, steps=["pristine"])
    >>> [ax.get_title() for ax in figure.axes]
    ['Mx', 'My', 'Mz']
    """
    where = "microstructure_factors"
    found, null = _properties(tomography, where), _properties(synthetic or {}, where)
    first = next(iter(found.values()), None)
    if first is None:
        raise InputError(f"{where}: at least one property is needed, got none. Pass {{'conductivity': factors}}.")
    names = step_names(first, steps, where=where)
    directions = [name for name in _DIRECTIONS if name in first.coords["component"].values]
    side = plating_side_of(*found.values(), plating_side=plating_side, where=where)
    figure = style.new_figure(style.DOUBLE_MM, 20 + 38 * len(found))
    axes = figure.subplots(len(found), len(directions), sharex=True, sharey="row", squeeze=False)
    for line, (name, array) in enumerate(found.items()):
        if name not in null and null:
            raise InputError(f"{where}: the synthetic domains have no {name!r}. {nearest(name, null)}")
        for column, direction in enumerate(directions):
            ax = axes[line, column]
            beside = bool(null) and null[name].sizes["t"] > 1
            _spread(ax, array.sel(component=direction), "tomography", offset=-0.12 if beside else 0.0)
            if null:
                _spread(ax, null[name].sel(component=direction), "synthetic", offset=0.12)
            step_axis(ax, names, plating_side=side)
            ax.axhline(1, color=style.MUTED, lw=0.7, ls=(0, (4, 2)))
            ax.grid(True, axis="y")
            if line == 0:
                ax.set_title(f"M{direction}", fontweight="bold")
            if line < len(found) - 1:
                ax.tick_params(labelbottom=False)
        axes[line, 0].set_ylabel("Microstructure factor,\n" + _PROPERTIES.get(name, name.replace("_", " ")))
    _factor_legend(figure, bool(null), step_handles(names, electrode=side))
    if style.is_simulated(*found.values(), *null.values()) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _properties(factors: xr.Dataset | Mapping[str, xr.DataArray], where: str) -> dict[str, xr.DataArray]:
    # The Dataset also holds what is drawn from the sub-domains themselves.
    ends = ("_mean", "_min", "_max")
    return {str(n): _with_t(array, where) for n, array in factors.items() if not str(n).endswith(ends)}


def _with_t(array: xr.DataArray, where: str) -> xr.DataArray:
    if "component" not in array.dims:
        raise InputError(
            f"{where}: factors need the dim 'component' with the directions x, y, z, got dims {tuple(array.dims)}. "
            "Concatenate the directions along component."
        )
    return array.compute() if "t" in array.dims else array.compute().expand_dims("t")


def _spread(ax: Any, factors: xr.DataArray, kind: str, *, offset: float) -> None:
    values = factors.transpose("t", ...).values.reshape(factors.sizes["t"], -1)
    values = np.where(np.isfinite(values), values, np.nan)
    mean, low, high = np.nanmean(values, axis=1), np.nanmin(values, axis=1), np.nanmax(values, axis=1)
    color = _COLORS[kind]
    if kind == "synthetic" and len(mean) == 1:
        ax.axhspan(float(low[0]), float(high[0]), color=color, alpha=0.3, lw=0, zorder=1)
        ax.axhline(float(mean[0]), color=color, lw=1.2, zorder=1)
        return
    x = np.arange(len(mean)) + offset
    bars = np.stack([mean - low, high - mean])
    marker = "o" if kind == "tomography" else "D"
    ax.errorbar(x, mean, yerr=bars, fmt=marker, color=color, markersize=3.8, elinewidth=0.9, capsize=2)


def _factor_legend(figure: Any, with_null: bool, shades: list[Any]) -> None:
    from matplotlib.lines import Line2D

    texts = {"tomography": "tomography: mean, smallest to largest", "synthetic": "synthetic isotropic domains"}
    shown = ["tomography", "synthetic"] if with_null else ["tomography"]
    markers = {"tomography": "o", "synthetic": "D"}
    handles: list[Any] = [Line2D([], [], color=_COLORS[n], marker=markers[n], label=texts[n]) for n in shown]
    handles.append(Line2D([], [], color=style.MUTED, lw=0.7, ls=(0, (4, 2)), label="dense electrolyte"))
    figure.legend(handles=[*handles, *shades], loc="outside lower center", ncols=3)
