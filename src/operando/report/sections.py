"""Cross-sections of the cell: the gray image and the segmentation over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.errors import AxesError, InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording

_OPACITY = 0.6


def section(image: xr.DataArray, *, normal: str = "y", position: float | None = None, scan: int = 0) -> xr.DataArray:
    """One plane of an image, and nothing else of it computed.

    Parameters
    ----------
    image : DataArray, dims ([t,] z, y, x), or a plane of two of them
        May be lazy.
    normal : str
        The spatial dim that the plane is normal to: ``y`` gives (z, x).
    position : float, optional
        Along ``normal``, in the unit of its coordinate; the nearest voxel is taken. Default: the middle.
    scan : int
        Position along ``t``.

    Returns
    -------
    DataArray, 2-D
        Computed.

    Raises
    ------
    InputError
        Where ``normal`` is no spatial dim, or the scan or position lies outside the image.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> image = labeled_image(np.arange(24).reshape(2, 3, 4), voxel_size_um=2.0)
    >>> section(image, position=2.0).values.tolist()
    [[4, 5, 6, 7], [16, 17, 18, 19]]
    """
    plane = image
    if "t" in plane.dims:
        count = plane.sizes["t"]
        if not -count <= scan < count:
            raise InputError(f"section: scan must lie between {-count} and {count - 1}, got {scan}.")
        plane = plane.isel(t=scan)
    if plane.ndim == 2 and set(plane.dims) <= set(SPACE):
        return plane.compute()
    require_dims(plane, SPACE, where="section")
    if normal not in SPACE:
        raise InputError(f"section: normal must be one of z, y, x, got {normal!r}. {nearest(normal, SPACE)}")
    index = plane.sizes[normal] // 2
    if position is not None:
        step, unit = axis_spacing(plane, normal, where="section")
        first = float(plane.coords[normal][0]) if normal in plane.coords else 0.0
        index = round((position - first) / step)
        if not 0 <= index < plane.sizes[normal]:
            last = first + step * (plane.sizes[normal] - 1)
            raise InputError(
                f"section: position must lie within the image, {first:g} to {last:g} {unit} along {normal}, "
                f"got {position:g}. Choose a value in that range."
            )
    return plane.isel({normal: index}).compute()


def gray_limits(image: np.ndarray | xr.DataArray, *, percent: float = 0.5) -> tuple[float, float]:
    """Gray values for black and white: the percentiles ``percent`` and ``100 - percent`` of what is finite.

    Examples
    --------
    >>> gray_limits(np.arange(101.0), percent=10)
    (10.0, 90.0)
    """
    values = np.asarray(image, dtype=float)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, [percent, 100 - percent]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def overlay_rgba(
    labels: np.ndarray, phases: PhaseScheme, *, opacity: float | Mapping[str, float] = _OPACITY
) -> np.ndarray:
    """Colors to lay over a gray image: one per phase, electrolyte, background and unlabeled left clear.

    Parameters
    ----------
    labels : ndarray of uint8
    phases : PhaseScheme
    opacity : float or mapping of phase to float
        0 to 1; phases that a mapping does not name have 0.6.

    Returns
    -------
    ndarray of float, shape labels.shape + (4,)

    Examples
    --------
    >>> overlay_rgba(np.array([[0, 1, 255]]), PhaseScheme({"electrolyte": 0, "electrode": 1}))[0, :, 3].tolist()
    [0.0, 0.6, 0.0]
    """
    from matplotlib.colors import to_rgba

    table = np.zeros((256, 4))
    for name in phases:
        if not _is_ground(name, phases):
            alpha = opacity.get(name, _OPACITY) if isinstance(opacity, Mapping) else opacity
            table[phases[name]] = to_rgba(phases.color(name), alpha)
    return table[np.asarray(labels, dtype=np.uint8)]


def solid_rgb(labels: np.ndarray, phases: PhaseScheme) -> np.ndarray:
    """Colors of a label image by itself; unlabeled is white."""
    from matplotlib.colors import to_rgb

    table = np.ones((256, 3))
    for name in phases:
        table[phases[name]] = to_rgb(phases.color(name))
    return table[np.asarray(labels, dtype=np.uint8)]


def _is_ground(name: str, phases: PhaseScheme) -> bool:
    return phases.role(name) == "electrolyte" or name == "background"


def _present(planes: Sequence[np.ndarray], phases: PhaseScheme) -> list[str]:
    found = set(np.unique(np.concatenate([np.unique(plane) for plane in planes]))) if planes else set()
    return [name for name in phases if phases[name] in found and not _is_ground(name, phases)]


def plane_extent(plane: xr.DataArray) -> tuple[tuple[float, float, float, float], str]:
    """Left, right, bottom, top of a plane to the outer voxel faces, and their common unit."""
    sides: list[float] = []
    found: list[str] = []
    for dim in (str(plane.dims[1]), str(plane.dims[0])):
        step, unit = axis_spacing(plane, dim, where="plane_extent")
        first = float(plane.coords[dim][0]) if dim in plane.coords else 0.0
        sides += [first - step / 2, first + step * (plane.sizes[dim] - 0.5)]
        found.append(unit)
    if found[0] != found[1]:
        raise AxesError(
            f"plane_extent: both axes of a plane must have one unit, got {found[1]} and {found[0]} along "
            f"{plane.dims}. Calibrate both with operando.calibrate."
        )
    return (sides[0], sides[1], sides[2], sides[3]), found[0]


def draw_plane(
    ax: Any,
    plane: xr.DataArray | None,
    labels: xr.DataArray | None = None,
    phases: PhaseScheme | None = None,
    *,
    limits: tuple[float, float] | None = None,
    opacity: float | Mapping[str, float] = _OPACITY,
    scale_bar: bool = True,
) -> None:
    """Draw a gray plane and labels over it into ``ax``; labels without a plane are drawn solid."""
    shown = plane if plane is not None else labels
    if shown is None:
        raise InputError("draw_plane: an image or labels are needed, got neither. Pass one of them.")
    extent, unit = plane_extent(shown)
    kind: dict[str, Any] = {"extent": extent, "origin": "lower", "aspect": "equal"}
    if plane is not None:
        low, high = limits or gray_limits(plane)
        ax.imshow(plane.values, cmap="gray", vmin=low, vmax=high, interpolation="antialiased", **kind)
    if labels is not None and phases is not None:
        over = plane is not None
        pixels = overlay_rgba(labels.values, phases, opacity=opacity) if over else solid_rgb(labels.values, phases)
        ax.imshow(pixels, interpolation="nearest", **kind)
    ax.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if scale_bar:
        style.add_scale_bar(ax, unit=unit)


@style.styled
def cross_section(
    image: xr.DataArray,
    labels: xr.DataArray | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    *,
    ax: Any = None,
    normal: str = "y",
    position: float | None = None,
    scan: int = 0,
    limits: tuple[float, float] | None = None,
    opacity: float = _OPACITY,
) -> Any:
    """Draw one gray slice with the segmentation over it, a legend and a scale bar.

    Parameters
    ----------
    image : DataArray, dims ([t,] z, y, x)
        Gray values; may be lazy, only the slice is computed.
    labels : DataArray, uint8, same dims, optional
        Segmentation; electrolyte, background and unlabeled (255) stay clear.
    phases : PhaseScheme or mapping, needed with labels
    ax : Axes, optional
        Where to draw; default a new figure, 88 mm wide.
    normal, position, scan
        Which slice, see :func:`section`. Position in the unit of the coordinate (um).
    limits : (float, float), optional
        Gray values drawn black and white; default percentiles 0.5 and 99.5 of the slice.
    opacity : float
        Of the segmentation, 0 to 1.

    Returns
    -------
    matplotlib Figure

    Notes
    -----
    z points up. What was simulated (``attrs["simulated"]``) is labeled so.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> figure = cross_section(labeled_image(np.eye(8).reshape(8, 1, 8), voxel_size_um=2.0))
    >>> figure.axes[0].get_xlim()
    (np.float64(-1.0), np.float64(15.0))
    """
    scheme = _scheme_for(labels, phases)
    plane = section(image, normal=normal, position=position, scan=scan)
    over = None if labels is None else section(labels, normal=normal, position=position, scan=scan)
    extent, _ = plane_extent(plane)
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=min(style.SINGLE_MM * aspect + 12, 200))
    draw_plane(ax, plane, over, scheme, limits=limits, opacity=opacity)
    figure = ax.figure
    if own:
        if over is not None and scheme is not None:
            style.phase_legend(figure, scheme, _present([over.values], scheme))
        if "t" in image.dims:
            ax.set_title(wording.scan_titles(image, [scan])[0])
        if style.is_simulated(image, labels):
            style.mark_simulated(figure)
    return figure


@style.styled
def cross_sections(
    image: xr.DataArray,
    labels: xr.DataArray | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    *,
    scans: Sequence[int] | None = None,
    truth: xr.DataArray | None = None,
    normal: str = "y",
    position: float | None = None,
    limits: tuple[float, float] | None = None,
    opacity: float = _OPACITY,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw the same slice of several scans: the image, the segmentation over it, and the truth where given.

    Parameters
    ----------
    image : DataArray, dims (t, z, y, x)
        May be lazy: only the slices drawn are computed.
    labels, truth : DataArray, uint8, same dims, optional
        Segmentation and ground truth; unlabeled (255) is white in the truth.
    phases : PhaseScheme or mapping, needed with labels
    scans : sequence of int, optional
        Positions along ``t``; default five, evenly spread, with the first and the last.
    normal, position, limits, opacity
        See :func:`cross_section`. The gray limits are the same in all scans.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure
        Scans in columns; rows image, segmentation, truth.
    """
    scheme = _scheme_for(labels if labels is not None else truth, phases)
    count = image.sizes.get("t", 1)
    chosen = wording.spread_scans(count, 5) if scans is None else list(scans)
    at: dict[str, Any] = {"normal": normal, "position": position}
    planes = [section(image, scan=scan, **at) for scan in chosen]
    drawn: list[tuple[str, list[xr.DataArray]]] = []
    if labels is not None:
        drawn.append(("segmentation", [section(labels, scan=scan, **at) for scan in chosen]))
    if truth is not None:
        drawn.append(("truth", [section(truth, scan=scan, **at) for scan in chosen]))
    limits = limits or gray_limits(np.concatenate([plane.values.ravel() for plane in planes]))
    extent, _ = plane_extent(planes[0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    rows, columns = 1 + len(drawn), len(chosen)
    cell = (width_mm - 6) / columns - 1
    figure = style.new_figure(width_mm, min(rows * (cell * aspect + 1) + 4 + (6 if drawn else 0) + 4, 230))
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, (scan_title, plane) in enumerate(zip(wording.scan_titles(image, chosen), planes, strict=True)):
        first = column == 0
        draw_plane(axes[0, column], plane, limits=limits, scale_bar=first)
        axes[0, column].set_title(scan_title, pad=2.5)
        for row, (_, sections) in enumerate(drawn, start=1):
            solid = drawn[row - 1][0] == "truth"
            draw_plane(
                axes[row, column],
                None if solid else plane,
                sections[column],
                scheme,
                limits=limits,
                opacity=opacity,
                scale_bar=False,
            )
    for row, name in enumerate(["image", *(name for name, _ in drawn)]):
        axes[row, 0].set_ylabel(name.capitalize(), labelpad=3)
    if drawn and scheme is not None:
        style.phase_legend(figure, scheme, _present([p.values for _, many in drawn for p in many], scheme))
    if style.is_simulated(image, labels, truth):
        style.mark_simulated(figure)
    return figure


def _scheme_for(labels: xr.DataArray | None, phases: PhaseScheme | Mapping[str, int] | None) -> PhaseScheme | None:
    if labels is not None and phases is None:
        raise InputError(
            "cross_section: labels need the phases that their numbers mean, got none. "
            'Pass phases, for example operando.PhaseScheme({"electrolyte": 0, "electrode": 1}).'
        )
    return None if phases is None else PhaseScheme.of(phases)
