"""Several in-plane maps over the scans on one sheet, and the map of the voids below redeposited lithium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.maps import draw_map, map_limits
from operando.report.sections import plane_extent

_LARGEST_MM = 50.0


@style.styled
def map_rows(
    maps: Mapping[str, xr.DataArray],
    *,
    scans: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    columns: int = 6,
    colors: Mapping[str, str] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    letters: bool = True,
    simulated: bool | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw in-plane maps, a row per kind and a column per scan, each row in one color scale (Huang 2023, Fig. 4a-c).

    Parameters
    ----------
    maps : mapping of str to DataArray, dims (t, y, x)
        Name of the row to its maps, for example thickness in um; NaN is drawn gray. May be lazy. A name that is a
        phase gives the color.
    scans : sequence of int, or mapping of row to sequence of int, optional
        Positions along ``t``, for all rows or per row; default evenly spread, with the first and the last.
    columns : int
        Scans per row at most, where they are not given.
    colors : mapping of row to hex color, optional
        For rows that are no phase.
    limits : mapping of row to (float, float), optional
        Of the color scale; default from 0 to the 99.8th percentile of what is drawn in the row.
    phases : PhaseScheme or mapping, optional
        For the colors; default the usual phases of a cell.
    letters : bool
        Letter the rows a, b, c.
    simulated : bool, optional
        Label the figure as simulated; default what the maps say.
    width_mm : float
        Of the figure; less where there are so few scans that maps would be wider than 50 mm.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where there is no map.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> stack = labeled_image(np.ones((3, 4, 6)), dims=("t", "y", "x"), voxel_size_um=2.0, units="um")
    >>> figure = map_rows({"dendrite": stack, "deposited": stack}, scans=[0, 2])
    >>> [ax.get_title().strip() for ax in figure.axes[:4]]
    ['scan 0', 'scan 2', 'scan 0', 'scan 2']
    """
    if not maps:
        raise InputError("map_rows: at least one row of maps is needed, got none. Pass a mapping of names to maps.")
    rows: list[tuple[str, list[xr.DataArray], list[str]]] = []
    for name, stack in maps.items():
        require_dims(stack, ("t", "y", "x"), where="map_rows")
        given = scans.get(name) if isinstance(scans, Mapping) else scans
        chosen = wording.spread_scans(stack.sizes["t"], columns) if given is None else list(given)
        planes = [stack.isel(t=scan).compute() for scan in chosen]
        rows.append((name, planes, wording.scan_titles(stack, chosen)))
    count = max(len(planes) for _, planes, _ in rows)
    extent, unit = plane_extent(rows[0][1][0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    # A few large maps say no more than small ones, and a column of them would not fit a page.
    cell = min((width_mm - 22) / count, _LARGEST_MM)
    width_mm = 22 + cell * count
    figure = style.new_figure(width_mm, min(len(rows) * (cell * aspect + 9) + 5, 230))
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, planes, titles) in enumerate(rows):
        low, high = (limits or {}).get(name) or map_limits(planes)
        color = (colors or {}).get(name) or style.color_of(name, phases, index=line)
        shown = None
        for ax, plane, title in zip(axes[line], planes, titles, strict=False):
            shown = draw_map(ax, plane, low, high, style.sequential_map(color))
            # The empty line is for the heading of the row.
            ax.set_title(f"\n{title}", pad=2)
        for ax in axes[line, len(planes) :]:
            ax.set_axis_off()
        letter = f"{chr(ord('a') + line)}   " if letters and len(rows) > 1 else ""
        axes[line, 0].annotate(
            f"{letter}{name[:1].upper()}{name[1:]}",
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 13),
            textcoords="offset points",
            fontweight="bold",
            annotation_clip=False,
        ).set_in_layout(False)
        if line == 0:
            style.add_scale_bar(axes[0, 0], unit=unit, color="black")
        above = max(float(np.nanmax(plane.values, initial=low)) for plane in planes) > high
        stack = maps[name]
        label = "\n".join(wording.wrapped(wording.array_label(stack), cell * aspect))
        bar = figure.colorbar(
            shown, ax=list(axes[line]), label=label, extend="max" if above else "neither", fraction=0.03, pad=0.01
        )
        bar.outline.set_linewidth(0.4)
        bar.ax.locator_params(nbins=4)
    if style.is_simulated(*maps.values()) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


@style.styled
def void_map(
    depth: xr.DataArray,
    *,
    shares: Mapping[str, float] | None = None,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the depth of voids between redeposited lithium and the electrode (Huang 2023, Fig. 5a).

    Parameters
    ----------
    depth : DataArray, dims (y, x), units "um"
        0 where there is contact, NaN (gray) where the electrode is not seen. May be lazy.
    shares : mapping of str to float, optional
        Shares of the area, 0 to 1, for the title, such as those of ``morphometry.contact_area``.
    limits : (float, float), optional
        Of the color scale; default from 0 to the 99.8th percentile.
    title : str, optional
        Instead of the shares.
    simulated : bool, optional
        Label the figure as simulated; default ``depth.attrs["simulated"]``.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    AxesError
        Where the map has other dims.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> depth = labeled_image(np.eye(4), dims=("y", "x"), voxel_size_um=2.0, units="um", long_name="Depth of voids")
    >>> void_map(depth, shares={"contact": 0.75, "void": 0.25}).axes[0].get_title()
    'contact 75.0 %, void 25.0 %'
    """
    require_dims(depth, ("y", "x"), where="void_map")
    plane = depth.compute()
    extent, unit = plane_extent(plane)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    own, tall = ax is None, (style.SINGLE_MM - 22) * aspect
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=min(max(tall, 22) + 12, 200))
    low, high = limits or map_limits([plane])
    cmap = style.sequential_map("#882255")
    shown = draw_map(ax, plane, low, high, cmap)
    style.add_scale_bar(ax, unit=unit, color="black")
    if title is None:
        title = ", ".join(f"{name} {100 * share:.1f} %" for name, share in (shares or {}).items())
    ax.set_title(title, pad=3)
    above = bool(np.nanmax(plane.values, initial=low) > high)
    bar = ax.figure.colorbar(
        shown,
        ax=ax,
        label="\n".join(wording.wrapped(wording.array_label(depth, default="Depth of voids"), max(tall, 20))),
        extend="max" if above else "neither",
        fraction=0.05,
        pad=0.02,
    )
    bar.outline.set_linewidth(0.4)
    if own and (style.is_simulated(depth) if simulated is None else simulated):
        style.mark_simulated(ax.figure)
    return ax.figure
