"""Sections through a hot spot: the lithium above it and the electrolyte beneath it, before and in a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL, PhaseScheme
from operando.report import style, wording
from operando.report.porous_sections import OPACITY, cropped, lithium_limits
from operando.report.sections import draw_plane, gray_limits, plane_extent, section
from operando.report.steps import electrode_title, step_names

_SIDES = {"hot": style.FLAG, "cold": "#0072B2"}


@style.styled
def hot_spot_sections(
    image: xr.DataArray,
    labels: xr.DataArray,
    spot: Mapping[str, Any] | pd.Series,
    phases: PhaseScheme | Mapping[str, int] = CERAMIC_CELL,
    *,
    scans: Sequence[int],
    boundaries: xr.DataArray | None = None,
    steps: Sequence[str] | None = None,
    beneath_um: float = 100.0,
    around_um: float | None = None,
    limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw both sections through a hot spot in several steps, gray and with phases (Dixit 2020, Fig. 3c, S7, S8).

    Parameters
    ----------
    image, labels : DataArray, dims (t, z, y, x)
        Gray values and uint8 labels; may be lazy, only the sections drawn are computed.
    spot : mapping or a row of a table
        As of ``morphometry.spot_table``: ``y_um``, ``x_um`` (center), ``extent_y_um``, ``extent_x_um`` (width), and
        where known ``component`` (``low`` or ``high``: the electrode), ``kind`` (``hot`` or ``cold``) and ``id``.
    phases : PhaseScheme or mapping
        What the labels mean.
    scans : sequence of int
        Positions along ``t``, for example pristine and the step of the spot.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        Planes between the layers, as ``morphometry.electrode_boundaries`` gives them: they place the view, and the
        interface is drawn. Without them the whole height of the image is shown.
    steps : sequence of str, optional
        Name of each scan; default the coordinate ``step``, or the times.
    beneath_um : float
        How much of the electrolyte is shown.
    around_um : float, optional
        Width of the view; default four times that of the spot, at least 150 um.
    limits : (float, float), optional
        Gray values drawn black and white. Default: lithium and electrolyte are stretched each by itself, since one
        scale for both leaves pores in lithium unseen; lithium fills the darker half, the electrolyte the brighter.
    simulated : bool, optional
        Label the figure as simulated; default what the arrays say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Columns: the section along x, then the one along y, each in all steps. Rows: gray, labels over it. The bar and
        the dotted lines show the width of the spot.

    Raises
    ------
    InputError
        Where the spot lies outside the image or has no center.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.ones((2, 6, 8, 8), dtype=np.uint8), voxel_size_um=10.0)
    >>> spot = {"y_um": 30.0, "x_um": 40.0, "extent_y_um": 20.0, "extent_x_um": 20.0, "id": 2}
    >>> figure = hot_spot_sections(labels * 1.0, labels, spot, scans=[0, 1])
    >>> figure.axes[0].get_title(), len(figure.axes)
    ('scan 0\\ny = 30 µm', 8)
    """
    where = "hot_spot_sections"
    for array in (image, labels):
        require_dims(array, SPACE, where=where, optional=("t",))
    scheme = PhaseScheme.of(phases)
    y, x = _center(spot, where)
    widths = {dim: float(spot[f"extent_{dim}_um"]) for dim in ("y", "x")}
    names = step_names(image, steps, where=where)
    low, high = _heights(image, boundaries, spot, (y, x), scans, beneath_um, where)
    cuts: list[tuple[str, float, str, float]] = [("y", y, "x", x), ("x", x, "y", y)]
    panels = []
    for normal, position, lateral, middle in cuts:
        half = max(around_um or 0.0, 0.0 if around_um else max(4 * widths[lateral], 150.0)) / 2
        coordinate = image.coords[lateral]
        part = (max(middle - half, float(coordinate[0])), min(middle + half, float(coordinate[-1])))
        for scan in scans:
            plane, over = (
                cropped(section(array, normal=normal, position=position, scan=scan), (low, high), part, where=where)
                for array in (image, labels)
            )
            interface = _interface(boundaries, spot, normal, position, scan)
            title = f"{names[scan]}\n{normal} = {position:.0f} {wording.unit_text('um')}"
            panels.append((plane, over, title, lateral, middle, widths[lateral], interface))
    if limits is None:
        grays = _stretched([(plane, over) for plane, over, *_ in panels], scheme)
        panels = [(gray, *panel[1:]) for gray, panel in zip(grays, panels, strict=True)]
    figure = _draw(panels, limits or (0.0, 1.0), scheme, _SIDES.get(str(spot.get("kind", "hot")), style.FLAG))
    kind, number = str(spot.get("kind", "")).strip(), spot.get("id")
    heading = " ".join(str(part) for part in (f"{kind} spot".strip(), number) if part is not None)
    title = f"{heading[:1].upper()}{heading[1:]}, {electrode_title(str(spot.get('component', ''))).lower()}".strip(", ")
    marked = style.is_simulated(image, labels) if simulated is None else simulated
    figure.suptitle(title + (" (simulated)" if marked else ""), x=0.01, ha="left", fontweight="bold")
    return figure


def _draw(panels: Sequence[Any], gray: tuple[float, float], scheme: PhaseScheme, color: str) -> Any:
    extents = [plane_extent(plane)[0] for plane, *_ in panels]
    spans = [right - left for left, right, _, _ in extents]
    tall = max(top - bottom for _, _, bottom, top in extents)
    scale = (style.DOUBLE_MM - 9 - 3.6 * len(panels)) / sum(spans)
    figure = style.new_figure(style.DOUBLE_MM, min(2 * (tall * scale + 2.5) + 22, 230))
    axes = figure.subplots(2, len(panels), squeeze=False, width_ratios=spans)
    for column, (plane, over, title, lateral, middle, width, interface) in enumerate(panels):
        for line, cover in enumerate((None, over)):
            ax = axes[line, column]
            draw_plane(ax, plane, cover, scheme, limits=gray, opacity=OPACITY, scale_bar=line == 0 and column == 0)
            limits = (ax.get_xlim(), ax.get_ylim())
            for side in (-0.5, 0.5):
                ax.axvline(middle + side * width, color=color, lw=0.7, ls=(0, (1.5, 1.5)))
            if interface is not None and line == 0:
                ax.plot(interface.coords[lateral], interface, color=color, lw=0.6, alpha=0.9)
            ax.set(xlim=limits[0], ylim=limits[1])
        top = axes[0, column].get_ylim()[1]
        bar = np.clip([middle - width / 2, middle + width / 2], *axes[0, column].get_xlim())
        axes[0, column].plot(bar, [top, top], color=color, lw=3, solid_capstyle="butt", clip_on=False, gid="spot width")
        axes[0, column].set_title(title, pad=4)
    for line, name in enumerate(("Image", "Phases")):
        axes[line, 0].set_ylabel(name, labelpad=3)
    present = set(np.concatenate([np.unique(over.values) for _, over, *_ in panels]).tolist())
    style.phase_legend(figure, scheme, [n for n in scheme if scheme[n] in present and scheme.role(n) != "electrolyte"])
    return figure


def _center(spot: Mapping[str, Any] | pd.Series, where: str) -> tuple[float, float]:
    missing = [name for name in ("y_um", "x_um", "extent_y_um", "extent_x_um") if name not in spot]
    if missing:
        raise InputError(
            f"{where}: a spot needs y_um, x_um, extent_y_um and extent_x_um, missing {missing}, got "
            f"{sorted(map(str, spot.keys()))}. Pass one row of the table of spots."
        )
    return float(spot["y_um"]), float(spot["x_um"])


def _heights(
    image: xr.DataArray,
    boundaries: xr.DataArray | None,
    spot: Mapping[str, Any] | pd.Series,
    center: tuple[float, float],
    scans: Sequence[int],
    beneath_um: float,
    where: str,
) -> tuple[float, float]:
    """From a little beyond the collector to ``beneath_um`` into the electrolyte."""
    whole = float(image.coords["z"][0]), float(image.coords["z"][-1])
    if boundaries is None:
        return whole
    electrode = str(spot.get("component", ""))
    if electrode not in ("low", "high"):
        raise InputError(
            f"{where}: with boundaries a spot needs the component low or high, got {electrode!r}. "
            "Name the electrode of the spot."
        )
    near = boundaries.sel(y=center[0], x=center[1], method="nearest")
    near = near.isel(t=list(scans)) if "t" in near.dims else near
    interface = near.sel(component=f"{electrode} interface").values
    collector = near.sel(component=f"{electrode} collector").values
    if not np.isfinite(interface).any() or not np.isfinite(collector).any():
        return whole
    margin = 0.1 * abs(float(np.nanmean(interface)) - float(np.nanmean(collector)))
    ends = (
        (np.nanmin(collector) - margin, np.nanmax(interface) + beneath_um)
        if electrode == "low"
        else (np.nanmin(interface) - beneath_um, np.nanmax(collector) + margin)
    )
    return max(float(ends[0]), whole[0]), min(float(ends[1]), whole[1])


def _interface(
    boundaries: xr.DataArray | None, spot: Mapping[str, Any] | pd.Series, normal: str, position: float, scan: int
) -> xr.DataArray | None:
    if boundaries is None:
        return None
    at = boundaries.isel(t=scan) if "t" in boundaries.dims else boundaries
    return at.sel(component=f"{spot['component']} interface").sel({normal: position}, method="nearest").compute()


def _stretched(panels: Sequence[tuple[xr.DataArray, xr.DataArray]], scheme: PhaseScheme) -> list[xr.DataArray]:
    """Gray values from 0 to 1: the dense electrolyte, and all else but the collector, each on a scale of its own."""
    groups = {"lithium": ("electrode", "pore"), "electrolyte": ("electrolyte", "electrolyte_pore")}
    targets = {"lithium": (0.0, 0.55), "electrolyte": (0.35, 0.95)}
    out = [plane.astype(float).where(False, 1.0) for plane, _ in panels]
    for group, names in groups.items():
        inside = [np.isin(over.values, [scheme[name] for name in names if name in scheme]) for _, over in panels]
        values = np.concatenate([plane.values[mask] for (plane, _), mask in zip(panels, inside, strict=True)])
        if not values.size:
            continue
        low, high = lithium_limits(values) if group == "lithium" else gray_limits(values)
        start, end = targets[group]
        for made, (plane, _), mask in zip(out, panels, inside, strict=True):
            share = np.clip((plane.values[mask].astype(float) - low) / (high - low), 0, 1)
            made.values[mask] = start + (end - start) * share
    return out
