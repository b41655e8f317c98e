"""Maps in the plane of the electrodes over the scans, with one fixed color scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.sections import plane_extent


@style.styled
def component_maps(
    maps: xr.DataArray,
    component: str | None = None,
    *,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    scans: Sequence[int] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: Any = None,
    label: str | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw an in-plane map of one component for several scans, all in one color scale.

    Parameters
    ----------
    maps : DataArray, dims (t, [component,] y, x)
        For example thickness in um; ``attrs`` hold ``long_name`` and ``units``. NaN is drawn gray. May be lazy.
    component : str, optional
        Which one, where the maps have that dim; also names the color.
    phases : PhaseScheme or mapping, optional
        For the color; default the usual phases of a cell.
    scans : sequence of int, optional
        Positions along ``t``; default all, or ten evenly spread.
    limits : (float, float), optional
        Of the color scale, in the unit of the maps; default from 0 (or the lowest value below it) to the 99.8th
        percentile of what is drawn, so that a single stray column does not set the scale.
    cmap : color map or its name, optional
        Default: near white through the color of the component to near black.
    label : str, optional
        Of the color bar; default ``long_name [units]`` with the component.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where the component is not in the maps.
    """
    chosen_map = _one_component(maps, component)
    require_dims(chosen_map, ("y", "x"), where="component_maps", optional=("t",))
    if "t" not in chosen_map.dims:
        chosen_map = chosen_map.expand_dims("t")
    chosen = wording.spread_scans(chosen_map.sizes["t"], 10) if scans is None else list(scans)
    planes = [chosen_map.isel(t=scan).compute() for scan in chosen]
    low, high = limits or map_limits(planes)
    color = style.color_of(component or "", phases)
    used = style.sequential_map(color) if cmap is None else cmap
    extent, unit = plane_extent(planes[0])
    columns = min(5, len(planes))
    rows = -(-len(planes) // columns)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    cell = (width_mm - 16) / columns
    figure = style.new_figure(width_mm, min(rows * (cell * aspect + 5) + 4, 220))
    axes = figure.subplots(rows, columns, squeeze=False)
    shown = None
    for index, (plane, title) in enumerate(zip(planes, wording.scan_titles(chosen_map, chosen), strict=True)):
        ax = axes[index // columns, index % columns]
        shown = draw_map(ax, plane, low, high, used)
        ax.set_title(title, pad=2)
        if index == 0:
            style.add_scale_bar(ax, unit=unit, color="black")
    for ax in axes.ravel()[len(planes) :]:
        ax.set_visible(False)
    name = label or _bar_label(maps, component)
    above = max(float(np.nanmax(plane.values, initial=low)) for plane in planes) > high
    bar = figure.colorbar(shown, ax=axes, label=name, extend="max" if above else "neither", fraction=0.03, pad=0.01)
    bar.outline.set_linewidth(0.4)
    if style.is_simulated(maps):
        style.mark_simulated(figure)
    return figure


def draw_map(ax: Any, plane: xr.DataArray, low: float, high: float, cmap: Any) -> Any:
    """Draw one map with a thin frame and without ticks; returns the image, for a color bar."""
    shown = ax.imshow(
        plane.values,
        extent=plane_extent(plane)[0],
        origin="lower",
        aspect="equal",
        cmap=cmap,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.4, color=style.MUTED)
    return shown


def _one_component(maps: xr.DataArray, component: str | None) -> xr.DataArray:
    if "component" not in maps.dims:
        return maps
    known = [str(name) for name in maps.coords["component"].values]
    if component is None and len(known) == 1:
        component = known[0]
    if component not in known:
        raise InputError(
            f"component_maps: component must be one of those in the maps, got {component!r}. "
            f"{nearest(str(component), known)}"
        )
    return maps.sel(component=component)


def map_limits(planes: Sequence[xr.DataArray]) -> tuple[float, float]:
    """Ends of a color scale: 0 (or the lowest value below it) and the 99.8th percentile of what is finite."""
    values = np.concatenate([np.asarray(plane.values, dtype=float).ravel() for plane in planes])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = min(0.0, float(values.min())), float(np.percentile(values, 99.8))
    high = high if high > low else float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def _bar_label(maps: xr.DataArray, component: str | None) -> str:
    text = wording.array_label(maps)
    if not component:
        return text
    name, bracket, unit = text.partition(" [")
    return f"{name}, {component}{bracket}{unit}"
