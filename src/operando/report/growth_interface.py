"""The interface of a lithium electrode over its image, the salt before it, and how it moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.report import growth_style as look
from operando.report import style, wording
from operando.report.sections import plane_extent
from operando.report.spectral_style import aspect_of, color_bar, finish, frame, shared_limits

LINE = "#FF2E63"
_BAR_UM = 50.0
_SALT = "viridis"


@style.styled
def interface_overview(
    series: Mapping[str, xr.DataArray],
    interfaces: Mapping[str, xr.Dataset],
    concentrations: Mapping[str, xr.DataArray],
    stages: Mapping[str, xr.DataArray],
    *,
    name: str | None = None,
    at: int | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the interface over a raw image, the salt before it, and all boundaries by stage (Ma 2021, Fig. 2).

    Parameters
    ----------
    series : mapping of name to DataArray, dims (t, y, x)
        Gray values from 0 to 255; may be lazy, one frame is computed.
    interfaces : mapping of name to Dataset
        Of ``dendrites.find_interface``: ``position`` (t, x) and, where known, ``broken`` and ``overhang``.
    concentrations : mapping of name to DataArray, dims (t, y, x)
        Of ``dendrites.concentration``; that of the series in panel b is needed only.
    stages : mapping of name to DataArray, dims (t,)
        Of ``dendrites.depletion_stage``.
    name : str, optional
        Series of the panels a to c; default the one of most frames.
    at : int, optional
        Frame of the panels a and b, drawn bold in c; default the middle one.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        a, image and interface; b, concentration with the metal in gray; c, every boundary, dashed where the line is
        broken or overhangs; then a smaller c for every further series.

    Raises
    ------
    InputError
        Where a series has no interface, or there is no such series or frame.
    """
    where = "interface_overview"
    names = list(series)
    for known, what in ((list(interfaces), "interface"), (list(stages), "stages")):
        missing = [one for one in names if one not in known]
        if missing:
            raise InputError(f"{where}: every series needs its {what}, got none for {missing}. Leave the series out.")
    if not names:
        raise InputError(f"{where}: at least one series is needed, got none. Leave the figure out.")
    chosen = name or max(names, key=lambda one: series[one].sizes.get("t", 1))
    look.known(chosen, names, where=where, what="name")
    if chosen not in concentrations:
        raise InputError(f"{where}: the concentration of {chosen!r} is needed, got {list(concentrations)}. Pass it.")
    count = series[chosen].sizes.get("t", 1)
    place = count // 2 if at is None else at
    if not 0 <= place < count:
        raise InputError(f"{where}: at must be a frame from 0 to {count - 1}, got {place}.")
    image, salt = frame_of(series[chosen], place, where=where), frame_of(concentrations[chosen], place, where=where)
    others = [one for one in names if one != chosen]
    wide = (style.DOUBLE_MM - 44) / 3
    first = max(min(wide * aspect_of(image), 80.0), 34.0)
    rows = -(-len(others) // 3)
    figure = style.new_figure(style.DOUBLE_MM, first + 21 + 42 * rows)
    parts = figure.subfigures(2, 1, height_ratios=[first + 14, 42 * rows + 7]) if rows else [figure]
    above, below = parts[0], parts[-1]
    axes = above.subplots(1, 3, width_ratios=[1.0, 1.0, 1.05])
    times, label = look.minutes(series[chosen])
    draw_frame(axes[0], image, interfaces[chosen], place, bar=True, tall_mm=first)
    axes[0].set_title(f"raw image, {look.time_text(times[place], label)}", pad=3)
    draw_salt(axes[1], salt, interfaces[chosen], place, tall_mm=first)
    axes[1].set_title("salt, metal in gray", pad=3)
    draw_boundaries(axes[2], interfaces[chosen], stages[chosen], bold=place)
    axes[2].set_title(look.plain(chosen) if others else "all boundaries", pad=3)
    panels = list(axes)
    for number, other in enumerate(others):
        ax = below.add_subplot(rows, max(min(len(others), 3), 2), number + 1)
        draw_boundaries(ax, interfaces[other], stages[other])
        ax.set_title(look.plain(other), pad=3)
        panels.append(ax)
    style.panel_letters(panels, indent=-14)
    _legend(figure, interfaces, stages)
    return finish(figure, True, simulated, *series.values(), *concentrations.values())


def frame_of(series: xr.DataArray, place: int, *, where: str) -> xr.DataArray:
    """One computed frame (y, x) of a series, or the image itself."""
    require_dims(series, ("y", "x"), where=where, optional=("t",))
    one = series.isel(t=place) if "t" in series.dims else series
    return one.transpose("y", "x").compute()


def line_of(interface: xr.Dataset, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places along the electrode, positions of the interface, and where these are not to be relied on."""
    one = interface.isel(t=place) if "t" in interface.dims else interface
    x = np.asarray(one["x"].values if "x" in one.coords else np.arange(one.sizes["x"]), dtype=float)
    doubtful = np.zeros(x.size, dtype=bool)
    for what in ("broken", "overhang"):
        if what in one:
            doubtful |= np.asarray(one[what].values, dtype=bool)
    return x, np.asarray(one["position"].values, dtype=float), doubtful


def draw_line(ax: Any, interface: xr.Dataset, place: int, *, color: str, width: float = 1.0, **options: Any) -> None:
    """Draw an interface, dashed where it is broken or overhangs."""
    x, y, doubtful = line_of(interface, place)
    ax.plot(x, np.where(doubtful, np.nan, y), color=color, lw=width, **options)
    if doubtful.any():
        # The neighbors belong to the dashes too, so that no gap is left between them and the line.
        near = doubtful | np.append(doubtful[1:], False) | np.insert(doubtful[:-1], 0, False)
        options.pop("label", None)
        dashes = (0, (1.6, 1.2))
        ax.plot(x, np.where(near, y, np.nan), color=color, lw=width, ls=dashes, **options)


def _draw_plane(ax: Any, plane: xr.DataArray, cmap: Any, limits: tuple[float, float]) -> Any:
    # Row 0 is the top row of the picture, as a camera stores it and the papers print it.
    left, right, low, high = plane_extent(plane)[0]
    shown = ax.imshow(
        plane.values,
        extent=(left, right, high, low),
        origin="upper",
        aspect="equal",
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    frame(ax)
    return shown


def scale_bar(ax: Any, plane: xr.DataArray, *, color: str = "white") -> None:
    """Scale bar of 50 um where that fits the image, else of a round length."""
    (left, right, _, _), unit = plane_extent(plane)
    fits = unit == "um" and 0.1 <= _BAR_UM / abs(right - left) <= 0.4
    style.add_scale_bar(ax, unit=unit, length=_BAR_UM if fits else None, color=color)


def draw_frame(
    ax: Any,
    image: xr.DataArray,
    interface: xr.Dataset,
    place: int,
    *,
    bar: bool,
    scale: bool = True,
    tall_mm: float = 50.0,
) -> Any:
    """Draw a raw image with its interface and, where asked, its scale bar and its color bar."""
    shown = _draw_plane(ax, image, "gray", (0.0, 255.0))
    draw_line(ax, interface, place, color=LINE, width=0.9)
    if scale:
        scale_bar(ax, image)
    if bar:
        color_bar(shown, ax, "Gray value", tall_mm=tall_mm, extend="neither")
    return shown


def draw_salt(ax: Any, salt: xr.DataArray, interface: xr.Dataset, place: int, *, tall_mm: float = 50.0) -> None:
    """Draw the concentration before the interface, and the metal behind it in gray."""
    x, position, _ = line_of(interface, place)
    y = np.asarray(salt["y"].values if "y" in salt.coords else np.arange(salt.sizes["y"]), dtype=float)[:, None]
    behind = y > position if str(interface.attrs.get("metal", "high")) == "high" else y < position
    electrolyte = salt.where(~behind)
    limits = shared_limits([electrolyte.values], percent=0.5)
    cmap = style.matplotlib().colormaps[_SALT].with_extremes(bad=look.METAL)
    shown = _draw_plane(ax, electrolyte, cmap, limits)
    draw_line(ax, interface, place, color=style.INK, width=0.9)
    scale_bar(ax, salt, color="black")
    middle = position + (1 if behind[-1].any() else -1) * 0.5 * np.abs(y[-1 if behind[-1].any() else 0] - position)
    if behind.mean() > 0.04:
        ax.text(
            float(x[x.size // 5]),
            float(np.nanmedian(middle)),
            "Li",
            ha="center",
            va="center",
            fontsize=7,
            color=style.INK,
        )
    color_bar(shown, ax, wording.array_label(salt, default="Concentration"), tall_mm=tall_mm)


def draw_boundaries(ax: Any, interface: xr.Dataset, stages: xr.DataArray, *, bold: int | None = None) -> None:
    """Draw the boundary of every frame in the color of its stage."""
    names = look.stage_names(stages)
    positions = np.asarray(interface["position"].values, dtype=float)
    for place, stage in enumerate(names):
        width = 1.9 if place == bold else 0.8
        draw_line(ax, interface, place, color=look.stage_color(stage), width=width, zorder=3 if place == bold else 2)
    low, high = float(np.nanmin(positions)), float(np.nanmax(positions))
    room = 0.05 * max(high - low, 1e-9)
    ax.set_ylim(high + room, low - room)
    ax.margins(x=0.01)
    ax.locator_params(axis="x", nbins=4)
    unit = str(interface["x"].attrs.get("units", "px")) if "x" in interface.coords else "px"
    ax.set_xlabel(wording.label_text("position x", unit))
    ax.set_ylabel(wording.label_text("position y", unit))


def _legend(figure: Any, interfaces: Mapping[str, xr.Dataset], stages: Mapping[str, xr.DataArray]) -> None:
    from matplotlib.lines import Line2D

    found = [stage for one in stages.values() for stage in look.stage_names(one)]
    handles = look.stage_handles(found)
    doubtful = any(
        bool(np.asarray(one[what].values).any())
        for one in interfaces.values()
        for what in ("broken", "overhang")
        if what in one
    )
    if doubtful:
        handles.append(Line2D([], [], color=style.MUTED, ls=(0, (1.6, 1.2)), label="line broken or overhanging"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


@style.styled
def interface_frames(
    series: xr.DataArray,
    interface: xr.Dataset,
    stages: xr.DataArray | None = None,
    *,
    width_mm: float = 140.0,
    dpi: int = 130,
    simulated: bool | None = None,
) -> list[np.ndarray]:
    """Draw one frame of a movie per image: the image with its interface beside all boundaries so far.

    Parameters
    ----------
    series : DataArray, dims (t, y, x)
        May be lazy: one frame at a time is held.
    interface : Dataset of ``dendrites.find_interface``
    stages : DataArray, dims (t,), optional
        Colors the boundaries.
    width_mm, dpi
        Of a frame.
    simulated : bool, optional
        Label the frames as simulated; default what the series says.

    Returns
    -------
    list of ndarray, uint8, shape (height, width, 3)
        All of one size.
    """
    where = "interface_frames"
    require_dims(series, ("t", "y", "x"), where=where)
    names = ["none"] * series.sizes["t"] if stages is None else look.stage_names(stages)
    times, label = look.minutes(series)
    first = frame_of(series, 0, where=where)
    tall = min(max(0.5 * (width_mm - 16) * aspect_of(first), 40.0), 110.0)
    figure = style.new_figure(width_mm, tall + 14)
    left, right = figure.subplots(1, 2)
    shown = draw_frame(left, first, interface, 0, bar=False)
    lines = left.get_lines()
    draw_boundaries(right, interface, xr.DataArray(names, dims="t"))
    every = right.get_lines()
    for line in every:
        line.set_alpha(0.0)
    per_frame = _lines_of_frames(interface, series.sizes["t"])
    title = left.set_title(look.time_text(times[0], label), pad=3, fontweight="bold")
    right_title = right.set_title(look.STAGE_LABELS.get(names[0], names[0]) if stages is not None else "", pad=3)
    finish(figure, True, simulated, series)
    frames = []
    for place in range(series.sizes["t"]):
        shown.set_data(frame_of(series, place, where=where).values)
        for line in lines:
            line.remove()
        before = len(left.get_lines())
        draw_line(left, interface, place, color=LINE, width=0.9)
        lines = left.get_lines()[before:]
        for line in every[per_frame[place]]:
            line.set_alpha(1.0)
        title.set_text(look.time_text(times[place], label))
        if stages is not None:
            right_title.set_text(look.STAGE_LABELS.get(names[place], names[place]))
            right_title.set_color(look.stage_color(names[place]))
        frames.append(style.rgb_array(figure, dpi=dpi))
        # The layout of the first frame is kept: panels must not jump.
        figure.set_layout_engine("none")
    return frames


def _lines_of_frames(interface: xr.Dataset, count: int) -> list[slice]:
    """Which lines of :func:`draw_boundaries` belong to each frame: two where a part is dashed."""
    many = [2 if line_of(interface, place)[2].any() else 1 for place in range(count)]
    ends = np.cumsum(many)
    return [slice(int(end - number), int(end)) for end, number in zip(ends, many, strict=True)]
