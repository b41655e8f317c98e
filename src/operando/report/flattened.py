"""Cross-sections of what is flattened along y: where the electrodes' edges went, and where lithium went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import AxesError, InputError
from operando.report import style, wording
from operando.report.maps import draw_map
from operando.report.sections import plane_extent

# Blue, yellow and red that differ in lightness too, so that they are told apart in print without color (P. Tol).
STATE_COLORS = ("#004488", "#DDAA33", "#BB5566", "#44AA99", "#AA4499")


@style.styled
def electrode_edges(
    edges: xr.DataArray,
    *,
    states: Sequence[str] = ("pristine", "half cycle", "full cycle"),
    separate: bool = False,
    limit: float | None = None,
    simulated: bool | None = None,
    width_mm: float | None = None,
    ax: Any = None,
) -> Any:
    """Lay the edges of the electrodes in several states over each other (Huang 2023, Fig. 5b, Supplementary Fig. 10).

    Parameters
    ----------
    edges : DataArray, dims (t, z, x) or (t, z, y)
        Density of edge voxels, at least 0, a state per position along ``t``: any scale, 0 where there is none.
    states : sequence of str
        What the states are called; as many as positions along ``t``.
    separate : bool
        A panel for each state beside the overlay, as in Supplementary Fig. 10.
    limit : float, optional
        Density drawn in full color; default the 99th percentile of what is not 0.
    simulated : bool, optional
        Label the figure as simulated; default ``edges.attrs["simulated"]``.
    width_mm : float, optional
        Default 88, or 180 with separate panels.
    ax : Axes, optional
        For the overlay alone.

    Returns
    -------
    matplotlib Figure
        Colors multiply as inks do: where states overlap it is darker than either.

    Raises
    ------
    AxesError, InputError
        Where the dims or the number of states do not fit.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> edges = labeled_image(np.eye(6).reshape(1, 6, 6), dims=("t", "z", "x"), voxel_size_um=2.0)
    >>> electrode_edges(edges, states=["pristine"]).axes[0].images[0].get_extent()
    [-1.0, 11.0, -1.0, 11.0]
    """
    from matplotlib.patches import Patch

    planes = _planes(edges, "electrode_edges")
    if len(planes) != len(states):
        raise InputError(
            f"electrode_edges: one name per state is needed, got {len(states)} names {list(states)} for "
            f"{len(planes)} positions along t. Select the scans with edges.isel(t=[...])."
        )
    if len(planes) > len(STATE_COLORS):
        raise InputError(
            f"electrode_edges: at most {len(STATE_COLORS)} states can be told apart, got {len(planes)}. Select some."
        )
    top = limit or style.upper_limit([plane.values for plane in planes], percent=99)
    inks = [_ink(plane.values / top, color) for plane, color in zip(planes, STATE_COLORS, strict=False)]
    drawn = [(" + ".join(states) if separate else "", np.prod(inks, axis=0))]
    if separate:
        drawn = [*zip(states, inks, strict=True), ("all", drawn[0][1])]
    extent, unit = plane_extent(planes[0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    columns = min(2, len(drawn))
    lines = -(-len(drawn) // columns)
    own = ax is None
    if own:
        width = width_mm or (style.DOUBLE_MM if separate else style.SINGLE_MM)
        figure = style.new_figure(width, min(lines * (width / columns * aspect + 6) + 10, 230))
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
    else:
        axes = np.array([ax])
        drawn = drawn[-1:]
    for each, (title, pixels) in zip(axes, drawn, strict=False):
        each.imshow(np.clip(pixels, 0, 1), extent=extent, origin="lower", aspect="equal", interpolation="antialiased")
        each.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        for spine in each.spines.values():
            spine.set(visible=True, linewidth=0.4, color=style.MUTED)
        if len(drawn) > 1:
            each.set_title(title, loc="left", pad=2)
        style.add_scale_bar(each, unit=unit, color="black")
    for each in axes[len(drawn) :]:
        each.set_axis_off()
    if len(drawn) > 1:
        style.panel_letters(axes[: len(drawn)], indent=-9)
    handles = [Patch(facecolor=c, label=name) for c, name in zip(STATE_COLORS, states, strict=False)]
    if own:
        axes[0].figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.0, handleheight=1.0
        )
        if style.is_simulated(edges) if simulated is None else simulated:
            style.mark_simulated(axes[0].figure)
    return axes[0].figure


def _planes(array: xr.DataArray, where: str) -> list[xr.DataArray]:
    space = [dim for dim in array.dims if dim in SPACE]
    if "t" not in array.dims or len(space) != 2 or array.ndim != 3:
        raise AxesError(
            f"{where}: dims (t, z, x) are needed, or y for x, got {array.dims}. Flatten the image along one axis first."
        )
    return [array.isel(t=index).compute() for index in range(array.sizes["t"])]


def _ink(density: np.ndarray, color: str) -> np.ndarray:
    """Light left by an ink of that color where it covers 0 to 1 of the paper, shape density.shape + (3,)."""
    from matplotlib.colors import to_rgb

    # The root shows edges that are spread over several planes, which would else be too faint beside flat ones.
    cover = np.sqrt(np.clip(np.nan_to_num(density), 0, 1))[..., None]
    return np.asarray(1 - cover * (1 - np.array(to_rgb(color))))


@style.styled
def traveling_map(
    moved: xr.DataArray,
    *,
    limit: float | None = None,
    names: tuple[str, str] = ("decrease of deposited lithium and dendrites", "increase of redeposited lithium"),
    simulated: bool | None = None,
    width_mm: float | None = None,
    ax: Any = None,
) -> Any:
    """Draw where lithium left and where it arrived, flattened along one axis (Huang 2023, Fig. 5c).

    Parameters
    ----------
    moved : DataArray, dims ([component,] z, x), or y for z or x
        Change of thickness in um: negative where lithium left (blue), positive where it arrived (red); NaN is gray.
        Components are laid over each other, which for signed values is their sum.
    limit : float, optional
        End of the color scale to both sides; default the 99.8th percentile of the absolute values.
    names : (str, str)
        What blue and red are.
    simulated : bool, optional
        Label the figure as simulated; default ``moved.attrs["simulated"]``.
    width_mm : float, optional
        Default 88.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    AxesError
        Where the array is no plane.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> moved = labeled_image(np.diag([-2.0, 1.0]), dims=("z", "x"), voxel_size_um=2.0, units="um")
    >>> traveling_map(moved).axes[0].images[0].get_clim()
    (-2.0, 2.0)
    """
    from matplotlib.patches import Patch

    space = [dim for dim in moved.dims if dim in SPACE]
    require_dims(moved, space, where="traveling_map", optional=("component",))
    if len(space) != 2:
        raise AxesError(
            f"traveling_map: a plane with two of the dims z, y, x is needed, got {moved.dims}. Flatten along one axis."
        )
    plane = moved.compute()
    if "component" in plane.dims:
        plane = plane.sum("component", min_count=1, keep_attrs=True)
    top = limit or style.upper_limit([plane.values])
    extent, unit = plane_extent(plane)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    own = ax is None
    width = width_mm or style.SINGLE_MM
    tall = max((width - 20) * aspect, 22)
    ax = style.axes_of(ax, width_mm=width, height_mm=min(tall + 18, 220))
    cmap = style.diverging_map()
    shown = draw_map(ax, plane, -top, top, cmap)
    style.add_scale_bar(ax, unit=unit, color="black")
    beyond = bool(np.nanmax(np.abs(plane.values), initial=0.0) > top)
    text = wording.label_text(str(moved.attrs.get("long_name") or "change"), str(moved.attrs.get("units", "um")))
    text = "\n".join(wording.wrapped(text, tall))
    bar = ax.figure.colorbar(shown, ax=ax, label=text, extend="both" if beyond else "neither", fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.4)
    if own:
        handles = [Patch(facecolor=cmap(at), label=name) for at, name in zip((0.12, 0.88), names, strict=True)]
        ax.figure.legend(handles=handles, loc="outside lower center", ncols=1 if width < 120 else 2, handlelength=1.0)
        if style.is_simulated(moved) if simulated is None else simulated:
            style.mark_simulated(ax.figure)
    return ax.figure
