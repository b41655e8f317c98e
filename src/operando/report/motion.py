"""How far scans moved and how the cell deformed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.report import style, wording
from operando.report.lines import has_truth, interval_legend, is_simulated, quantity_line, rows_of, time_label
from operando.report.sections import plane_extent

_AXIS_COLORS = {"z": "#0072B2", "y": "#D55E00", "x": "#009E73"}


@style.styled
def motion_series(
    table: pd.DataFrame,
    *,
    translation: str = "translation",
    rotation: str = "rotation",
    truth: pd.DataFrame | None = None,
    time: str = "t",
    simulated: bool | None = None,
) -> Any:
    """Draw the rigid motion of every scan against the reference: translation and rotation, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        Quantity table with the components ``z``, ``y`` and ``x`` and a row per scan: ``translation`` along that axis
        (um or px) and ``rotation`` about it (any angle, such as mdeg). Columns ``low``, ``high`` and ``truth`` are
        used where there are any.
    translation, rotation : str
        Quantities; one that the table does not have is left out.
    truth : DataFrame, optional
        Table of the same rows where the truth is known; open circles.
    time, simulated
        As in :func:`operando.report.component_volumes`.

    Returns
    -------
    matplotlib Figure
        A panel per quantity, 88 mm wide for one, 180 mm for both.

    Raises
    ------
    InputError
        Where the table has neither.
    """
    known = set(table["quantity"])
    panels = [name for name in (translation, rotation) if name in known]
    if not panels:
        raise InputError(
            f"motion_series: rows of {translation!r} or {rotation!r} are needed, got {sorted(known)}. "
            f"{nearest(translation, known)}"
        )
    figure = style.new_figure(style.SINGLE_MM if len(panels) == 1 else style.DOUBLE_MM, 62)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    found = None
    for ax, quantity in zip(axes, panels, strict=True):
        found = rows_of(table, quantity, None, where="motion_series")
        about = "along" if quantity == translation else "about"
        for name, marker in zip(("z", "y", "x"), "os^", strict=True):
            if name in set(found["component"]):
                quantity_line(
                    ax,
                    found,
                    name,
                    color=_AXIS_COLORS[name],
                    quantity=quantity,
                    truth=truth,
                    truth_color=_AXIS_COLORS[name],
                    time=time,
                    label=f"{about} {name}",
                    marker=marker,
                )
        ax.axhline(0, color=style.INK, lw=0.5)
        ax.set_ylabel(wording.label_text(quantity, str(found["unit"].iloc[0])))
        ax.set_xlabel(time_label(found, time))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    if len(panels) > 1:
        style.panel_letters(axes)
    interval_legend(figure, found is not None and has_truth(found, truth))
    if is_simulated(table, simulated):
        style.mark_simulated(figure)
    return figure


@style.styled
def deformation_map(
    deformation: xr.DataArray,
    *,
    normal: str = "y",
    position: float | None = None,
    color: str = "z",
    scans: Sequence[int] | None = None,
    limit: float | None = None,
    magnified: float | None = None,
    simulated: bool | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw the displacement that a rigid motion leaves, in one plane: one component in color, two as arrows.

    Parameters
    ----------
    deformation : DataArray, dims ([t,] component, z, y, x), units "um"
        Displacement on a coarse grid; components ``dz``, ``dy``, ``dx`` (or ``z``, ``y``, ``x``). NaN (gray) where
        nothing static was seen. May be lazy.
    normal : str
        Spatial dim that the plane is normal to.
    position : float, optional
        Along ``normal``, in the unit of its coordinate; default the middle.
    color : {"z", "y", "x"}
        Component in color, from blue (negative) to red.
    scans : sequence of int, optional
        Positions along ``t``; default three, evenly spread, with the first and the last.
    limit : float, optional
        End of the color scale to both sides; default the largest value drawn.
    magnified : float, optional
        Times by which arrows are longer than the displacement; default so that the longest fits its cell.
    simulated : bool, optional
        Label the figure as simulated; default ``deformation.attrs["simulated"]``.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    AxesError, InputError
        Where dims or components do not fit.
    """
    require_dims(deformation, ("component", *SPACE), where="deformation_map", optional=("t",))
    if normal not in SPACE:
        raise InputError(f"deformation_map: normal must be one of z, y, x, got {normal!r}. {nearest(normal, SPACE)}")
    names = [str(name).removeprefix("d") for name in deformation.coords["component"].values]
    if sorted(names) != ["x", "y", "z"]:
        raise AxesError(
            f"deformation_map: the components dz, dy, dx are needed, got "
            f"{deformation.coords['component'].values.tolist()}. Rename them."
        )
    if color not in names:
        raise InputError(f"deformation_map: color must be one of z, y, x, got {color!r}. {nearest(color, names)}")
    field = deformation.assign_coords(component=names)
    field = field if "t" in field.dims else field.expand_dims("t")
    at = {normal: field.sizes[normal] // 2}
    if position is not None:
        at = {normal: int(np.abs(field.coords[normal].values - position).argmin())}
    chosen = wording.spread_scans(field.sizes["t"], 3) if scans is None else list(scans)
    planes = [field.isel({"t": scan, **at}).compute() for scan in chosen]
    down, across = (str(dim) for dim in planes[0].isel(component=0).dims)
    top = limit or max(_largest(np.abs(p.sel(component=color))) for p in planes) or 1.0
    extent, unit = plane_extent(planes[0].sel(component=color))
    cells = min(axis_spacing(planes[0], dim, where="deformation_map")[0] for dim in (down, across))
    longest = max(_largest(np.hypot(p.sel(component=across), p.sel(component=down))) for p in planes)
    if magnified is None:
        magnified = 0.9 * cells / longest if longest > 0 else 1.0
        # 1, 2 or 5 times a power of ten is what a scale bar would show.
        magnified = style.scale_bar_length(magnified, fraction=1.0)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    wide = (width_mm - 22) / max(len(planes), 2)
    figure = style.new_figure(22 + wide * len(planes), min(wide * aspect + 14, 220))
    axes = figure.subplots(1, len(planes), squeeze=False)[0]
    shown = None
    for ax, plane, title in zip(axes, planes, wording.scan_titles(field, chosen), strict=True):
        shown = ax.imshow(
            plane.sel(component=color).values,
            extent=extent,
            origin="lower",
            aspect="equal",
            cmap=style.diverging_map(),
            vmin=-top,
            vmax=top,
            interpolation="nearest",
        )
        ax.quiver(
            plane.coords[across].values,
            plane.coords[down].values,
            plane.sel(component=across).values * magnified,
            plane.sel(component=down).values * magnified,
            angles="xy",
            scale_units="xy",
            scale=1,
            color=style.INK,
            width=0.009,
        )
        ax.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        ax.set_title(title if "t" in deformation.dims else "", pad=3)
    axes[0].set_ylabel(down)
    for ax in axes:
        ax.set_xlabel(across)
    style.add_scale_bar(axes[0], unit=unit, color="black")
    text = wording.label_text(f"displacement along {color}", str(deformation.attrs.get("units", "um")))
    text = "\n".join(wording.wrapped(text, max(wide * aspect, 22)))
    bar = figure.colorbar(shown, ax=list(axes), label=text, fraction=0.04, pad=0.02)
    bar.outline.set_linewidth(0.4)
    figure.supxlabel(
        f"Arrows: displacement along {across} and {down}, {magnified:g} times as long", fontsize=7, color=style.MUTED
    )
    if style.is_simulated(deformation) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _largest(values: Any) -> float:
    """Largest value that is known, 0 where none is: nothing static may be seen in a plane."""
    known = np.asarray(values)
    return float(np.max(known, initial=0.0, where=np.isfinite(known)))
