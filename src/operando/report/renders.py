"""Renders of several scans: the pictures themselves, in a row, and below the sections of half and full cycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.render import RENDER_SIZE, render_components, render_volume
from operando.report.sections import draw_plane, gray_limits, plane_extent, section


def render_scans(
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    scans: Sequence[int] | None = None,
    mark: bool = True,
    columns: int = 3,
    width_mm: float = style.DOUBLE_MM,
    **options: Any,
) -> Iterator[tuple[int, np.ndarray]]:
    """Render scan after scan from the same place, in the same colors.

    Parameters
    ----------
    labels : DataArray, uint8, dims ([t,] z, y, x), coordinates in um
        May be lazy: one scan is read at a time, slab by slab.
    phases : PhaseScheme or mapping
    scans : sequence of int, optional
        Positions along ``t``; default every scan.
    mark : bool
        Write *simulated* into a picture of simulated labels. Turn it off for pictures that go into a figure, which
        says so itself.
    columns, width_mm : int, float
        The length at the scale bar has 7 points where so many pictures stand side by side in a figure so wide.
    **options
        As in :func:`operando.report.render_volume`.

    Yields
    ------
    (int, ndarray of uint8, shape (height, width, 3))
        Position along ``t`` and picture.

    Raises
    ------
    MissingDependency
        As :func:`operando.report.render_volume`.
    """
    scheme = PhaseScheme.of(phases)
    shown = labels if mark else labels.assign_attrs(simulated=False)
    # Each picture is shrunk to its column: what is to be read at 7 points must be larger by as much before.
    options.setdefault("text_px", options.get("size", RENDER_SIZE)[0] * 7 / 72 * 25.4 * columns / width_mm)
    for scan in range(labels.sizes.get("t", 1)) if scans is None else scans:
        yield scan, render_volume(shown, scheme, scan=scan, **options)


def render_series(
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    scans: Sequence[int] | None = None,
    components: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    width_mm: float = style.DOUBLE_MM,
    **options: Any,
) -> Any:
    """Render several scans side by side, seen from the same place, with a legend (Huang 2023, Fig. 3a).

    Parameters
    ----------
    labels : DataArray, uint8, dims (t, z, y, x), coordinates in um
        May be lazy.
    phases : PhaseScheme or mapping
    scans : sequence of int, optional
        Positions along ``t``; default three, evenly spread, with the first and the last.
    components, **options
        As in :func:`operando.report.render_volume`.
    states : sequence of str, optional
        Written above the time of each scan, such as *pristine*.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    MissingDependency
        As :func:`operando.report.render_volume`.
    """
    scheme = PhaseScheme.of(phases)
    chosen = wording.spread_scans(labels.sizes.get("t", 1), 3) if scans is None else list(scans)
    options |= {"components": components, "columns": len(chosen), "width_mm": width_mm}
    pictures = dict(render_scans(labels, scheme, scans=chosen, mark=False, **options))
    return render_panel(
        pictures, labels, scheme, components=render_components(scheme, components), states=states, width_mm=width_mm
    )


@style.styled
def render_panel(
    pictures: Mapping[int, np.ndarray],
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    components: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    columns: int = 5,
    simulated: bool | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Put renders in rows, with the time of each scan and a legend (Huang 2023, Fig. 3a).

    Parameters
    ----------
    pictures : mapping of int to ndarray, uint8, shape (height, width, 3)
        Position along ``t`` to picture, as :func:`render_scans` gives them. Each has its own scale bar.
    labels : DataArray, dims (t, z, y, x)
        For the times alone; nothing of it is computed.
    phases : PhaseScheme or mapping
    components : sequence of str, optional
        In the legend; default all but electrolyte and background.
    states : sequence of str, optional
        Written above the time of each scan, such as *pristine*.
    columns : int
        Pictures in a row at most.
    simulated : bool, optional
        Label the figure as simulated; default ``labels.attrs["simulated"]``.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where there is no picture, or not one state for each.
    """
    if not pictures or (states is not None and len(states) != len(pictures)):
        raise InputError(
            f"render_panel: at least one picture is needed and, if any, a state for each, got {len(pictures)} pictures "
            f"and the states {states}. Make pictures with operando.report.render_scans."
        )
    scheme = PhaseScheme.of(phases)
    names = render_components(scheme, components)
    across = min(columns, len(pictures))
    rows = -(-len(pictures) // across)
    first = next(iter(pictures.values()))
    tall = first.shape[0] / first.shape[1]
    title = 8 if states is not None else 5
    figure = style.new_figure(width_mm, min(rows * (width_mm / across * tall + title) + 11, 230))
    axes = figure.subplots(rows, across, squeeze=False).ravel()
    titles = wording.scan_titles(labels, pictures) if "t" in labels.dims else [""] * len(pictures)
    for index, (ax, picture) in enumerate(zip(axes, pictures.values(), strict=False)):
        ax.imshow(picture, interpolation="antialiased")
        ax.set_title(titles[index] if states is None else f"{states[index]}\n{titles[index]}", pad=2)
    for ax in axes:
        ax.set_axis_off()
    style.phase_legend(figure, scheme, names)
    if style.is_simulated(labels) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


@style.styled
def cycle_states(
    image: xr.DataArray,
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    scans: Sequence[int],
    states: Sequence[str] = ("half cycle", "full cycle"),
    charging: Sequence[bool] = (True, False),
    plating_side: str | None = None,
    pictures: Mapping[int, np.ndarray] | None = None,
    position: float | None = None,
    simulated: bool | None = None,
    width_mm: float = style.DOUBLE_MM,
) -> Any:
    """Draw section and render after half and full cycle, with the way the ions went (Huang 2023, Fig. 2c, d).

    Parameters
    ----------
    image : DataArray, dims (t, z, y, x)
        Gray values; may be lazy, only the slices are computed.
    labels : DataArray, uint8, same dims
    phases : PhaseScheme or mapping
    scans, states : sequence of int, sequence of str
        Positions along ``t`` and what they are called; a column each.
    charging : sequence of bool
        Whether the cell was charging before each of the scans: ions go to the plating side, else away from it.
    plating_side : {"low", "high"}, optional
        End of z that plates on first charge; default ``labels.attrs["plating_side"]``.
    pictures : mapping of int to ndarray, uint8, shape (height, width, 3), optional
        Renders of these scans, as :func:`render_scans` gives them: a row below the sections.
    position : float, optional
        Of the section along y, in the unit of its coordinate; default the middle.
    simulated : bool, optional
        Label the figure as simulated; default what the arrays say.
    width_mm : float
        Of the figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where numbers of scans, states and directions differ, a picture is missing, or the plating side is unknown.
    """
    side = plating_side or str(labels.attrs.get("plating_side", ""))
    if side not in ("low", "high"):
        raise InputError(
            f"cycle_states: plating_side must be low or high, got {side!r}. {nearest(side, ('low', 'high'))}"
        )
    lost = [scan for scan in scans if pictures is not None and scan not in pictures]
    if not len(scans) == len(states) == len(charging) or lost:
        raise InputError(
            f"cycle_states: one state, direction and picture per scan is needed, got scans {list(scans)}, states "
            f"{list(states)}, charging {list(charging)}, without a picture {lost}. Give as many of each."
        )
    scheme = PhaseScheme.of(phases)
    planes = [section(image, scan=scan, position=position) for scan in scans]
    overs = [section(labels, scan=scan, position=position) for scan in scans]
    limits = gray_limits(np.concatenate([plane.values.ravel() for plane in planes]))
    extent, _ = plane_extent(planes[0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    cell = (width_mm - 4) / len(scans) - 10
    heights = [cell * aspect]
    if pictures is not None:
        first = pictures[scans[0]]
        heights.append((cell + 8) * first.shape[0] / first.shape[1])
    figure = style.new_figure(width_mm, min(sum(heights) + 20, 230))
    axes = figure.subplots(len(heights), len(scans), squeeze=False, height_ratios=heights)
    titles = wording.scan_titles(image, scans)
    for column, scan in enumerate(scans):
        ax = axes[0, column]
        draw_plane(ax, planes[column], overs[column], scheme, limits=limits)
        ax.set_title(f"{states[column].capitalize()} ({titles[column]})", pad=3)
        _ion_arrow(ax, up=charging[column] == (side == "high"))
        if pictures is not None:
            axes[1, column].imshow(pictures[scan], interpolation="antialiased")
            axes[1, column].set_axis_off()
    style.panel_letters(axes[:, 0], indent=-6)
    present = {int(number) for over in overs for number in np.unique(over.values)}
    ground = ("electrolyte", "background")
    style.phase_legend(figure, scheme, [n for n in scheme if scheme[n] in present and n not in ground])
    if style.is_simulated(image, labels) if simulated is None else simulated:
        style.mark_simulated(figure)
    return figure


def _ion_arrow(ax: Any, *, up: bool) -> None:
    """An arrow along z right of the section, with what moves."""
    start, end = (0.12, 0.88) if up else (0.88, 0.12)
    ax.annotate(
        "",
        xy=(1.035, end),
        xytext=(1.035, start),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "color": style.INK, "lw": 1.2, "mutation_scale": 9},
        annotation_clip=False,
    )
    ax.annotate("Li⁺", (1.06, 0.5), xycoords="axes fraction", va="center", fontsize=8, annotation_clip=False)
