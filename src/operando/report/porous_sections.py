"""Sections of a lithium electrode in several steps: gray values, what each method calls a pore, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL, PhaseScheme
from operando.report import style, wording
from operando.report.sections import draw_plane, gray_limits, plane_extent, section
from operando.report.steps import step_names

OPACITY = {"electrode": 0.3, "pore": 0.95, "electrolyte_pore": 0.85, "collector": 0.55}
"""Pores stand out, and the gray of the lithium stays visible."""
CONFIDENT = 0.8
"""Confidence above which the paper calls a segmentation sure (Dixit 2020, Fig. S4)."""


@style.styled
def pore_sections(
    image: xr.DataArray,
    labels: Mapping[str, xr.DataArray] | None = None,
    phases: PhaseScheme | Mapping[str, int] = CERAMIC_CELL,
    *,
    confidence: xr.DataArray | None = None,
    steps: Sequence[str] | None = None,
    scans: Sequence[int] | None = None,
    z_um: tuple[float, float] | None = None,
    x_um: tuple[float, float] | None = None,
    normal: str = "y",
    position: float | None = None,
    limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw an electrode in several steps: gray, pores by each method, and confidence (Dixit 2020, Fig. 1c-e).

    Parameters
    ----------
    image : DataArray, dims (t, z, y, x)
        Gray values; may be lazy, only the slices drawn are computed.
    labels : mapping of str to DataArray, uint8, same dims, optional
        Method, such as ``Otsu``, ``network`` or ``truth``, to its labels; a row each.
    phases : PhaseScheme or mapping
        What the labels mean.
    confidence : DataArray, same dims, values 0 to 1, optional
        Largest probability of a phase; NaN (gray) outside of what was segmented.
    steps : sequence of str, optional
        Name of each scan; default the coordinate ``step``, or the times.
    scans : sequence of int, optional
        Positions along ``t``; default at most four, evenly spread.
    z_um, x_um : (float, float), optional
        Part of the slice to show, for example one electrode, in the unit of the coordinates. ``x_um`` is along the
        lateral axis of the slice whatever its name.
    normal, position
        Which slice, see :func:`operando.report.cross_section`.
    limits : (float, float), optional
        Gray values drawn black and white; default four standard deviations (robust) about the median of what the
        first method calls lithium or pore: steel and ceramic, which are far brighter, would leave lithium no
        contrast. Without labels, the percentiles 0.5 and 99.5.
    simulated : bool, optional
        Label the figure as simulated; default what the arrays say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        Steps in columns; rows gray, methods, confidence.

    Raises
    ------
    InputError
        Where the part to show is empty.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> image = labeled_image(np.random.default_rng(0).normal(size=(2, 4, 3, 8)), voxel_size_um=2.0)
    >>> figure = pore_sections(image, {"network": (image > 1).astype("uint8") + 1}, steps=["pristine", "plate 1"])
    >>> [ax.get_title() for ax in figure.axes[:2]], figure.axes[2].get_ylabel()
    (['pristine', 'plate 1'], 'Network')
    """
    where = "pore_sections"
    scheme = PhaseScheme.of(phases)
    names = step_names(image, steps, where=where)
    chosen = wording.spread_scans(len(names), 4) if scans is None else list(scans)
    methods = dict(labels or {})

    def cut(array: xr.DataArray, scan: int) -> xr.DataArray:
        return cropped(section(array, normal=normal, position=position, scan=scan), z_um, x_um, where=where)

    planes = [cut(image, scan) for scan in chosen]
    marked = {name: [cut(array, scan) for scan in chosen] for name, array in methods.items()}
    sure = None if confidence is None else [cut(confidence, scan) for scan in chosen]
    gray = limits or _lithium_limits(planes, next(iter(marked.values()), None), scheme)
    extent, _ = plane_extent(planes[0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    lines = 1 + len(marked) + (sure is not None)
    cell = (style.DOUBLE_MM - (27 if sure is not None else 18)) / len(chosen) - 1.5
    figure = style.new_figure(style.DOUBLE_MM, min(lines * (cell * aspect + 1.5) + 19, 230))
    axes = figure.subplots(lines, len(chosen), squeeze=False)
    for column, (scan, plane) in enumerate(zip(chosen, planes, strict=True)):
        draw_plane(axes[0, column], plane, limits=gray, scale_bar=column == 0)
        axes[0, column].set_title(names[scan], pad=2.5)
        for line, sections in enumerate(marked.values(), start=1):
            draw_plane(
                axes[line, column], plane, sections[column], scheme, limits=gray, opacity=OPACITY, scale_bar=False
            )
    for line, name in enumerate(["image", *marked]):
        _row_name(axes[line, 0], name)
    if sure is not None:
        _draw_confidence(axes, sure)
    present = set(np.unique([value for many in marked.values() for plane in many for value in np.unique(plane)]))
    style.phase_legend(figure, scheme, [n for n in scheme if scheme[n] in present and scheme.role(n) != "electrolyte"])
    given = [image, confidence, *methods.values()]
    if style.is_simulated(*given) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def cropped(
    plane: xr.DataArray, z_um: tuple[float, float] | None, lateral_um: tuple[float, float] | None, *, where: str
) -> xr.DataArray:
    """Part of a section (z, lateral) between positions in the unit of its coordinates."""
    out = plane
    for dim, part in zip(plane.dims, (z_um, lateral_um), strict=True):
        if part is None:
            continue
        inside = (out.coords[dim] >= part[0]) & (out.coords[dim] <= part[1])
        if not bool(inside.any()):
            low, high = float(out.coords[dim].min()), float(out.coords[dim].max())
            raise InputError(
                f"{where}: the part to show must lie within the image, {low:g} to {high:g} along {dim}, got "
                f"{part[0]:g} to {part[1]:g}. Choose positions in that range."
            )
        out = out.isel({dim: np.flatnonzero(inside.values)})
    return out


def _lithium_limits(
    planes: Sequence[xr.DataArray], labels: Sequence[xr.DataArray] | None, scheme: PhaseScheme
) -> tuple[float, float]:
    values = np.concatenate([np.asarray(plane.values, dtype=float).ravel() for plane in planes])
    if labels is None:
        return gray_limits(values)
    wanted = [scheme[name] for name in ("electrode", "pore") if name in scheme]
    inside = np.concatenate([np.isin(plane.values, wanted).ravel() for plane in labels])
    return lithium_limits(values[inside]) if inside.any() else gray_limits(values)


def lithium_limits(values: np.ndarray) -> tuple[float, float]:
    """Gray values four robust standard deviations about the median of lithium.

    Voxels at its boundaries, which are brighter by what lies behind them, do not set the scale.

    Examples
    --------
    >>> low, high = lithium_limits(np.array([0.9, 1.0, 1.1] * 10 + [5.0]))
    >>> round(low, 2), round(high, 2)
    (0.41, 1.59)
    """
    middle = float(np.nanmedian(values))
    half = 4 * 1.4826 * float(np.nanmedian(np.abs(values - middle)))
    return (middle - half, middle + half) if half > 0 else gray_limits(values)


def _row_name(ax: Any, name: str) -> None:
    # Level, because rows of thin electrodes are lower than their names are long.
    ax.set_ylabel(name[:1].upper() + name[1:], rotation=0, ha="right", va="center", labelpad=4)


def _draw_confidence(grid: np.ndarray, planes: Sequence[xr.DataArray]) -> None:
    axes = grid[-1]
    cmap = style.sequential_map("#2A9D8F")
    shown = None
    for ax, plane in zip(axes, planes, strict=True):
        extent, _ = plane_extent(plane)
        shown = ax.imshow(
            plane.values,
            extent=extent,
            origin="lower",
            aspect="equal",
            cmap=cmap,
            vmin=0.5,
            vmax=1.0,
            interpolation="nearest",
        )
        ax.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        for spine in ax.spines.values():
            spine.set_visible(False)
    _row_name(axes[0], "Confidence")
    # Beside the whole grid, so that all rows stay equally wide.
    place = {"shrink": 0.9 / len(grid), "anchor": (0.0, 0.0), "aspect": 8, "fraction": 0.05, "pad": 0.01}
    bar = axes[0].figure.colorbar(shown, ax=list(grid.ravel()), ticks=[0.5, CONFIDENT, 1.0], **place)
    bar.outline.set_linewidth(0.4)
    bar.ax.axhline(CONFIDENT, color=style.FLAG, lw=1.0)
