"""Movies over the scans: the segmented cross-section, a map seen from above, time and current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest, require
from operando.core.files import written_whole
from operando.core.phases import PhaseScheme
from operando.report import style, wording
from operando.report.lines import draw_current
from operando.report.maps import _bar_label, _one_component, draw_map, map_limits
from operando.report.sections import _present, draw_plane, gray_limits, plane_extent, section

_FORMATS = (".gif", ".webp", ".png")


@style.styled
def movie_frames(
    image: xr.DataArray,
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    maps: xr.DataArray | None = None,
    component: str | None = None,
    current: pd.DataFrame | None = None,
    scans: Sequence[int] | None = None,
    normal: str = "y",
    position: float | None = None,
    limits: tuple[float, float] | None = None,
    width_mm: float = style.DOUBLE_MM,
    dpi: int = 130,
) -> list[np.ndarray]:
    """Draw one frame per scan.

    Parameters
    ----------
    image : DataArray, dims (t, z, y, x)
        Gray values; may be lazy. One slice per scan is computed.
    labels : DataArray, uint8, same dims
    phases : PhaseScheme or mapping
    maps : DataArray, dims (t, [component,] y, x), optional
        Shown beside the section, for example the thickness of ``component`` in um.
    component : str, optional
        Which of the maps; also names their color.
    current : DataFrame, optional
        Columns ``time_h`` and ``current_ma``: a strip below, with a line at the time of the scan.
    scans, normal, position, limits
        As in :func:`operando.report.cross_sections`; default every scan.
    width_mm, dpi
        Of a frame.

    Returns
    -------
    list of ndarray, uint8, shape (height, width, 3)
        All of one size. Gray limits and color limits are the same in all frames.

    Notes
    -----
    Holds one slice and one map of every scan, and the frames: about 1 MB each at the default size.
    """
    scheme = PhaseScheme.of(phases)
    chosen = list(range(image.sizes.get("t", 1))) if scans is None else list(scans)
    at: dict[str, Any] = {"normal": normal, "position": position}
    planes = [section(image, scan=scan, **at) for scan in chosen]
    overs = [section(labels, scan=scan, **at) for scan in chosen]
    tops: list[xr.DataArray] = []
    if maps is not None:
        one = _one_component(maps, component)
        tops = [one.isel(t=scan).compute() if "t" in one.dims else one.compute() for scan in chosen]
    limits = limits or gray_limits(np.concatenate([plane.values.ravel() for plane in planes]))
    scale = map_limits(tops) if tops else (0.0, 1.0)
    names = _present([over.values for over in overs], scheme)
    extent, _ = plane_extent(planes[0])
    aspect = (extent[3] - extent[2]) / (extent[1] - extent[0])
    share = 0.6 if tops else 1.0
    tall = share * (width_mm - 8) * aspect
    if tops:
        above, _ = plane_extent(tops[0])
        tall = max(tall, (1 - share) * (width_mm - 40) * (above[3] - above[2]) / (above[1] - above[0]) + 4)
    height = min(tall + 14 + (18 if current is not None else 0), 200)
    simulated = style.is_simulated(image, labels, maps)
    frames = []
    for index, title in enumerate(wording.scan_titles(image, chosen)):
        figure = style.new_figure(width_mm, height)
        grid = figure.add_gridspec(
            2 if current is not None else 1,
            2 if tops else 1,
            width_ratios=[share, 1 - share] if tops else None,
            height_ratios=[1, 14 / max(tall, 1)] if current is not None else None,
        )
        ax = figure.add_subplot(grid[0, 0])
        draw_plane(ax, planes[index], overs[index], scheme, limits=limits)
        ax.set_title(f"{title}   (scan {chosen[index]})" if "scan" not in title else title, pad=3, fontweight="bold")
        if tops:
            _draw_top(figure, figure.add_subplot(grid[0, 1]), tops[index], scale, component, scheme, maps)
        if current is not None:
            strip = figure.add_subplot(grid[1, :])
            draw_current(strip, current)
            strip.set_xlabel("Time [h]")
            strip.margins(x=0.01)
            if "t" in image.coords:
                time = float(np.atleast_1d(image.coords["t"].values)[chosen[index] if image.coords["t"].ndim else 0])
                strip.axvline(time, color=style.FLAG, lw=1.4)
        style.phase_legend(figure, scheme, names)
        if simulated:
            style.mark_simulated(figure)
        frames.append(style.rgb_array(figure, dpi=dpi))
    return frames


def _draw_top(
    figure: Any,
    ax: Any,
    plane: xr.DataArray,
    scale: tuple[float, float],
    component: str | None,
    scheme: PhaseScheme,
    maps: xr.DataArray | None,
) -> None:
    shown = draw_map(ax, plane, *scale, style.sequential_map(style.color_of(component or "", scheme)))
    ax.set_title("seen from above", pad=3)
    style.add_scale_bar(ax, unit=plane_extent(plane)[1], color="black")
    label = _bar_label(maps, component) if maps is not None else ""
    bar = figure.colorbar(shown, ax=ax, label=label, fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.4)


def movie(frames: Sequence[np.ndarray], path: str | Path, *, seconds_per_frame: float = 0.6) -> Path:
    """Save frames as an animated picture for slides.

    Parameters
    ----------
    frames : sequence of ndarray, uint8, shape (height, width, 3)
        All of one size.
    path : path ending in .webp, .gif or .png
        WebP and PNG keep the colors; GIF has 256 per frame and opens everywhere. Written whole or not at all.
    seconds_per_frame : float

    Returns
    -------
    Path

    Raises
    ------
    InputError
        Where there are no frames, or frames of different size, or the suffix is another.
    FileError
        Where the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     movie([np.zeros((4, 6, 3), "uint8"), np.ones((4, 6, 3), "uint8")], Path(folder) / "a.gif").name
    'a.gif'
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise InputError(
            f"movie: the name must end in one of {', '.join(_FORMATS)}, got {target.name!r}. "
            f"{nearest(target.suffix.lower(), _FORMATS)}"
        )
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1:
        raise InputError(
            f"movie: at least one frame is needed and all of one size, got {len(frames)} frames of the sizes "
            f"{sorted(shapes)}. Make them with operando.report.movie_frames."
        )
    pillow = require("PIL.Image", extra="report", purpose="operando.report.movie")
    pictures = [pillow.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    if target.suffix.lower() == ".gif":
        # One palette from the whole movie, so that a phase keeps its color and nothing flickers.
        sheet = pillow.fromarray(np.concatenate([np.asarray(p)[::2, ::2] for p in pictures]))
        palette = sheet.quantize(256, method=pillow.Quantize.MEDIANCUT)
        pictures = [p.quantize(palette=palette, dither=pillow.Dither.NONE) for p in pictures]
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "loop": 0}
    options["duration"] = round(1000 * seconds_per_frame)
    if target.suffix.lower() == ".webp":
        options |= {"quality": 88, "method": 4}
    with written_whole(target) as temporary:
        pictures[0].save(temporary, **options)
    return target
