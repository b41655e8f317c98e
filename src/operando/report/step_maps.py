"""Maps over the steps of a cell: an electrode per row, a step per column, one color scale for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import AxesError, InputError
from operando.report import style, wording
from operando.report.maps import draw_map
from operando.report.sections import plane_extent
from operando.report.steps import electrode_title, electrodes_of, step_names, step_text

INFINITE = "#1F2933"
_LARGEST_MM = 62.0


def rows_of_maps(maps: xr.DataArray, *, where: str) -> dict[str, xr.DataArray]:
    """Split maps ([t], [component], two of z, y, x) into rows (t, two dims), top electrode first; computed.

    Raises
    ------
    AxesError
        Where there are not exactly two spatial dims, or others than these.
    """
    if not isinstance(maps, xr.DataArray):
        raise InputError(
            f"{where}: maps must be an xarray.DataArray, got {type(maps).__name__}. "
            "Label the array with operando.labeled_image(array, dims=('t', 'y', 'x'), voxel_size_um=...)."
        )
    plane = tuple(str(dim) for dim in maps.dims if dim in SPACE)
    extra = [str(dim) for dim in maps.dims if dim not in (*SPACE, "t", "component")]
    if len(plane) != 2 or extra:
        raise AxesError(
            f"{where}: dims ([t], [component], and two of z, y, x) are needed, got {tuple(maps.dims)}. "
            "Select or average first."
        )
    whole = maps.compute() if "t" in maps.dims else maps.compute().expand_dims("t")
    names = electrodes_of(whole, where=where)
    if not names:
        return {"": whole.transpose("t", *plane)}
    return {name: whole.sel(component=name).transpose("t", *plane) for name in names}


def draw_step_maps(
    rows: Mapping[str, xr.DataArray],
    titles: Sequence[str],
    *,
    limits: tuple[float, float],
    cmap: Any,
    label: str,
    plating_side: str | None = None,
    symmetric: bool = False,
    width_mm: float = style.DOUBLE_MM,
) -> tuple[Any, np.ndarray]:
    """Draw rows of maps, a column per title, all in one color scale.

    Parameters
    ----------
    rows : mapping of electrode to DataArray, dims (t, two of z, y, x)
    titles : sequence of str
        One per position along ``t``.
    limits : (float, float)
        Ends of the color scale.
    label : str
        Of the color bar.
    plating_side : {"low", "high"}, optional
        With it, the panels of the opposite electrode say what that one does.
    symmetric : bool
        Whether values below the lower limit are told by an arrow at the color bar.

    Returns
    -------
    (matplotlib Figure, array of Axes of shape (rows, columns))
    """
    extent, unit = plane_extent(next(iter(rows.values())).isel(t=0))
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    # Electrodes of a single step stand side by side.
    turned = len(titles) == 1 and len(rows) > 1
    lines, columns = (1, len(rows)) if turned else (len(rows), len(titles))
    side = 8.0 if lines > 1 else 0.0
    cell = min((width_mm - 20 - side) / columns - 1.5, _LARGEST_MM)
    width_mm = max(side + 20 + columns * (cell + 1.5), 60.0)
    height = min(lines * (cell * aspect + 6.5) + 7, 230)
    figure = style.new_figure(width_mm, max(height, 30))
    grid = figure.subplots(lines, columns, squeeze=False)
    axes = grid.T if turned else grid
    shown = None
    for line, (name, stack) in enumerate(rows.items()):
        for column, title in enumerate(titles):
            ax = axes[line, column]
            plane = stack.isel(t=column)
            shown = draw_map(ax, plane.where(np.isfinite(plane)), *limits, cmap)
            _infinite(ax, plane)
            text = step_text(title, electrode=name, plating_side=plating_side)
            ax.set_title(", ".join(filter(None, (electrode_title(name), text))) if lines == 1 and name else text, pad=2)
        if name and lines > 1:
            axes[line, 0].set_ylabel(electrode_title(name).replace(" ", "\n", 1), labelpad=3)
    style.add_scale_bar(axes[0, 0], unit=unit, color="black")
    values = np.concatenate([stack.values.ravel() for stack in rows.values()])
    values = values[np.isfinite(values)]
    above = bool(values.size and values.max() > limits[1] * (1 + 1e-9))
    below = bool(symmetric and values.size and values.min() < limits[0] - 1e-9 * abs(limits[0]))
    extend = {(False, False): "neither", (True, False): "max", (False, True): "min", (True, True): "both"}
    bar = figure.colorbar(shown, ax=grid, extend=extend[above, below], fraction=0.03, pad=0.01, aspect=14)
    bar.set_label("\n".join(wording.wrapped(label, max(lines * (cell * aspect + 4), 22))))
    bar.outline.set_linewidth(0.4)
    bar.ax.locator_params(nbins=5)
    return figure, axes


def _infinite(ax: Any, plane: xr.DataArray) -> None:
    """Paint what is infinite in ink, so that it is not taken for missing."""
    endless = np.isinf(plane.values)
    if endless.any():
        ax.imshow(
            np.where(endless, 1.0, np.nan),
            extent=plane_extent(plane)[0],
            origin="lower",
            aspect="equal",
            cmap=_one_color(INFINITE),
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )


def _one_color(color: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([color]).with_extremes(bad=(0, 0, 0, 0))


def outline_spots(ax: Any, spot: xr.DataArray, *, numbers: Mapping[int, tuple[float, float]] | None = None) -> None:
    """Outline hot spots with solid and cold spots with dashed lines, and number them.

    Parameters
    ----------
    spot : DataArray, dims (y, x)
        1 hot, -1 cold, else 0.
    numbers : mapping of int to (y, x), optional
        Where each number stands, in the unit of the axes.
    """
    from matplotlib.patheffects import withStroke

    (left, right, bottom, top), _ = plane_extent(spot)
    values = np.pad(np.nan_to_num(np.asarray(spot.values, dtype=float)), 1)
    step_y, step_x = (top - bottom) / spot.sizes[spot.dims[0]], (right - left) / spot.sizes[spot.dims[1]]
    y = bottom + step_y * (np.arange(values.shape[0]) - 0.5)
    x = left + step_x * (np.arange(values.shape[1]) - 0.5)
    for sign, line in ((1, "-"), (-1, (0, (2.0, 1.2)))):
        if (values == sign).any():
            kind: dict[str, Any] = {"levels": [0.5], "linestyles": [line]}
            ax.contour(x, y, values == sign, colors="white", linewidths=1.8, **{**kind, "linestyles": ["-"]})
            ax.contour(x, y, values == sign, colors=style.INK, linewidths=0.9, **kind)
    for number, (at_y, at_x) in (numbers or {}).items():
        text = ax.text(at_x, at_y, str(number), ha="center", va="center", fontsize=6.5, fontweight="bold", clip_on=True)
        text.set_path_effects([withStroke(linewidth=1.6, foreground="white")])
    ax.set(xlim=(left, right), ylim=(bottom, top))


def plane_at(stack: xr.DataArray, like: xr.DataArray, scan: int) -> xr.DataArray | None:
    """The map of ``stack`` that belongs to a scan of another series: by its time, else by its number.

    Parameters
    ----------
    stack, like : DataArray, dims (t, ...)
    scan : int
        Position along ``t`` of ``like``.

    Returns
    -------
    DataArray or None
        A stack of one map without a time belongs to every scan; None where there is no map of that time.

    Examples
    --------
    >>> maps = xr.DataArray([10, 20, 30], dims="t", coords={"t": [0.0, 5.0, 9.0]})
    >>> int(plane_at(maps[1:], maps, 2)), plane_at(maps[1:], maps, 0)
    (30, None)
    """
    if "t" in stack.coords and "t" in like.coords:
        found = np.flatnonzero(np.isclose(np.asarray(stack["t"], dtype=float), float(like["t"].values[scan])))
        return stack.isel(t=int(found[0])) if found.size else None
    if stack.sizes["t"] == 1:
        return stack.isel(t=0)
    return stack.isel(t=scan) if stack.sizes["t"] == like.sizes["t"] else None


def symmetric_limit(rows: Mapping[str, xr.DataArray], *, percent: float = 99.0) -> float:
    """Half width of a diverging scale about 0 that holds ``percent`` of what is finite.

    Examples
    --------
    >>> symmetric_limit({"": xr.DataArray([[[-2.0, 1.0]]], dims=("t", "y", "x"))})
    2.0
    """
    return style.upper_limit([np.where(np.isfinite(m.values), m.values, 0) for m in rows.values()], percent=percent)


def titles_of(maps: xr.DataArray, steps: Sequence[str] | None, *, where: str) -> list[str]:
    """Column titles, a map without ``t`` counted as one step without a name."""
    if "t" not in maps.dims and steps is None and "step" not in maps.coords:
        return [""]
    return step_names(maps, steps, where=where)
