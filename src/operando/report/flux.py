"""How current flows through the electrolyte around a hot spot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing
from operando.core.errors import AxesError, InputError
from operando.core.phases import CERAMIC_CELL, PhaseScheme
from operando.report import style
from operando.report.sections import plane_extent, section, solid_rgb


@style.styled
def flux_field(
    current: xr.DataArray,
    labels: xr.DataArray | None = None,
    phases: PhaseScheme | Mapping[str, int] = CERAMIC_CELL,
    *,
    normal: str = "y",
    position: float | None = None,
    mark: tuple[float, float] | None = None,
    electrode: str = "high",
    density: float = 1.2,
    limit: float | None = None,
    label: str = "Current density over its mean",
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw stream lines of the current on a section over the microstructure (Dixit 2020, Fig. S3).

    Parameters
    ----------
    current : DataArray, dims (component, z, y, x)
        Components ``z``, ``y`` and ``x`` of the current density, in any unit, such as that of ``transport.flux``;
        0 or NaN where nothing flows.
    labels : DataArray, uint8, dims (z, y, x), optional
        Phases, drawn where nothing flows: what is no conductor.
    phases : PhaseScheme or mapping
        What the labels mean.
    normal, position
        Which section, see :func:`operando.report.cross_section`; default through the middle.
    mark : (float, float), optional
        Span along the lateral axis, in the unit of the coordinate, marked at the electrode: a hot spot.
    electrode : {"high", "low"}
        Where the mark stands: at the upper or the lower end of z.
    density : float
        Of the stream lines; 1 is about thirty across.
    limit : float, optional
        Upper end of the color scale, which begins at 0; default the 99th percentile.
    label : str
        Of the color bar.
    simulated : bool, optional
        Label the figure as simulated; default what the arrays say.
    ax : Axes, optional

    Returns
    -------
    matplotlib Figure
        Colors: magnitude of all three components over its mean where something flows. Lines: the two components in
        the section.

    Raises
    ------
    AxesError, InputError
        Where the field has other dims or components, or nothing flows.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> field = np.zeros((3, 6, 5, 8))
    >>> field[0] = 2.0
    >>> along_z = labeled_image(field, dims=("component", "z", "y", "x"), voxel_size_um=3.0,
    ...     coords={"component": ["z", "y", "x"]})
    >>> float(flux_field(along_z).axes[0].images[0].get_array().mean())
    1.0
    """
    where = "flux_field"
    if current.dims != ("component", *SPACE) or set(map(str, current.coords["component"].values)) != set(SPACE):
        raise AxesError(
            f"{where}: dims (component, z, y, x) with the components z, y, x are needed, got {tuple(current.dims)}. "
            "Use the current density of operando.transport.flux."
        )
    planes = {n: section(current.sel(component=n), normal=normal, position=position) for n in SPACE}
    size = np.sqrt(sum(np.nan_to_num(plane.values.astype(float)) ** 2 for plane in planes.values()))
    flowing = size > 1e-9 * size.max()
    if not flowing.any():
        raise InputError(f"{where}: a current must flow through the section, got 0 everywhere. Choose another one.")
    size = size / size[flowing].mean()
    up, across = (str(dim) for dim in planes["z"].dims)
    extent, unit = plane_extent(planes["z"])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    own = ax is None
    wide = min(style.DOUBLE_MM - 28, 90 / aspect)
    ax = style.axes_of(ax, width_mm=wide + 28, height_mm=wide * aspect + 14)
    look: dict[str, Any] = {"extent": extent, "origin": "lower", "aspect": "equal", "interpolation": "nearest"}
    if labels is not None:
        scheme = PhaseScheme.of(phases)
        ground = section(labels, normal=normal, position=position)
        ax.imshow(solid_rgb(ground.values, scheme), **look)
    top = limit or max(float(np.percentile(size[flowing], 99)), 1e-9)
    masked = np.ma.masked_array(size, ~flowing)
    cmap = style.matplotlib(where).colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0))
    shown = ax.imshow(masked, cmap=cmap, vmin=0, vmax=top, **look)
    _streams(ax, planes, up, across, flowing, density, aspect)
    ax.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.4, color=style.MUTED)
    if mark is not None:
        ax.plot(
            mark,
            [extent[2 if electrode == "low" else 3]] * 2,
            color=style.FLAG,
            lw=3,
            solid_capstyle="butt",
            clip_on=False,
            gid="spot width",
        )
    style.add_scale_bar(ax, unit=unit)
    bar = ax.figure.colorbar(shown, ax=ax, extend="max" if size.max() > top else "neither", fraction=0.03, pad=0.01)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)
    if own:
        if labels is not None:
            there = set(np.unique(ground.values[~flowing]))
            style.phase_legend(ax.figure, scheme, [n for n in scheme if scheme[n] in there])
        if style.is_simulated(current, labels) if simulated is None else simulated:
            style.mark_simulated(ax.figure)
    return ax.figure


def _streams(
    ax: Any,
    planes: Mapping[str, xr.DataArray],
    up: str,
    across: str,
    flowing: np.ndarray,
    density: float,
    aspect: float,
) -> None:
    """Stream lines of the two components in the section."""
    grid = []
    for dim in (across, up):
        step, _ = axis_spacing(planes[up], dim)
        first = float(planes[up].coords[dim][0]) if dim in planes[up].coords else 0.0
        grid.append(first + step * np.arange(planes[up].sizes[dim]))
    if min(len(axis) for axis in grid) < 2:
        return
    u, v = (np.ma.masked_array(np.nan_to_num(planes[dim].values.astype(float)), ~flowing) for dim in (across, up))
    ax.streamplot(
        *grid,
        u,
        v,
        density=(density, max(density * min(aspect, 1.0), 0.3)),
        color="white",
        linewidth=0.5,
        arrowsize=0.5,
        broken_streamlines=True,
    )
