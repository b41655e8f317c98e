"""Where the lithium is: its distribution, its particles, their cores and rims, and the boundaries of phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.sections import plane_extent
from operando.report.spectral_maps import map_axes

_COLOR = "#00507D"
_MOST = 24


@style.styled
def lithiation_distribution(
    lithiation: xr.DataArray,
    *,
    thickness: xr.DataArray | None = None,
    particles: xr.DataArray | None = None,
    truth: xr.DataArray | None = None,
    bins: int = 40,
    limits: tuple[float, float] | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw how much of the sample has which lithiation, over the field and particle by particle.

    Parameters
    ----------
    lithiation : DataArray, dims (y, x)
        NaN is left out.
    thickness : DataArray, dims (y, x), optional
        Every pixel counts by it; without it, by its area.
    particles : DataArray of int, dims (y, x), optional
        0 = none: adds a panel with a box per particle (median, quartiles, 5 and 95 %, weighted likewise), sorted by the
        median; the 24 largest.
    truth : DataArray, dims (y, x), optional
        Where it is known; its distribution is an outline.
    bins : int
        Of the histogram.
    limits : (float, float), optional
        Of the lithiation; default the lowest and highest.
    label : str, optional
        Of lithiation, for example ``"x in Li_x V2O5"``; default from its attrs.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 88 mm wide, or 180 mm with particles

    Raises
    ------
    InputError
        Where no pixel has a lithiation.

    Notes
    -----
    The width of a distribution holds the noise of the pixels: compare it with the map of standard errors.

    Examples
    --------
    >>> x = xr.DataArray([[0.0, 1.0, 1.0, np.nan]], dims=("y", "x"))
    >>> lithiation_distribution(x, label="x in Li_x V2O5", bins=2).axes[0].get_ylabel()
    'Share of the area per 0.5'
    """
    where = "lithiation_distribution"
    plane = look.plane_of(lithiation, where=where)
    values = np.asarray(plane.values, dtype=float)
    known = np.isfinite(values)
    weight = np.ones_like(values)
    if thickness is not None:
        weight = np.clip(np.nan_to_num(look.plane_of(thickness, where=where).values), 0, None)
    if not (known & (weight > 0)).any():
        raise InputError(
            f"{where}: at least one pixel needs a lithiation, got none. Look at the mask and the thickness."
        )
    low, high = limits or (float(values[known].min()), float(values[known].max()))
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, bins + 1)
    name = look.lithiation_label(lithiation, label)
    labels = None if particles is None else np.asarray(look.plane_of(particles, where=where).values)
    figure = style.new_figure(style.SINGLE_MM if labels is None else style.DOUBLE_MM, 58)
    grid = figure.subplots(
        1, 1 if labels is None else 2, squeeze=False, width_ratios=None if labels is None else [1, 1.3]
    )[0]
    shares = _shares(values, weight, known, edges)
    grid[0].stairs(shares, edges, fill=True, color=_COLOR, alpha=0.75, label="measured")
    if truth is not None:
        true = np.asarray(look.plane_of(truth, where=where).values, dtype=float)
        grid[0].stairs(_shares(true, weight, np.isfinite(true), edges), edges, color=style.INK, lw=1.0, label="truth")
        grid[0].legend()
    of = "area" if thickness is None else "thickness"
    share = f"Share of the {of} per {edges[1] - edges[0]:.2g}"
    grid[0].set(xlabel=name, ylabel="\n".join(wording.wrapped(share, 40)), xlim=(low, high))
    grid[0].grid(True, axis="y")
    if labels is not None:
        _boxes(grid[1], values, weight, known, labels)
        grid[1].set(ylabel="\n".join(wording.wrapped(name, 46)), ylim=(low, high))
        style.panel_letters(grid)
    return look.finish(figure, True, simulated, lithiation)


def _shares(values: np.ndarray, weight: np.ndarray, known: np.ndarray, edges: np.ndarray) -> np.ndarray:
    # What lies beyond the ends is counted in the outermost bins: the shares must add up to one.
    inside = np.clip(values[known], edges[0], edges[-1])
    counts, _ = np.histogram(inside, bins=edges, weights=weight[known])
    return counts / max(float(weight[known].sum()), 1e-30)


def weighted_quantiles(values: np.ndarray, weight: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Values below which lie these shares of the weight.

    Examples
    --------
    >>> weighted_quantiles(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0]), (0.25, 0.5, 1.0))
    [1.0, 2.0, 3.0]
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    places = np.searchsorted(below, np.asarray(shares) * below[-1] * (1 - 1e-12))
    return [float(values[order][min(int(place), values.size - 1)]) for place in places]


def _boxes(ax: Any, values: np.ndarray, weight: np.ndarray, known: np.ndarray, labels: np.ndarray) -> None:
    stats = []
    for number in np.unique(labels[labels > 0]):
        inside = (labels == number) & known & (weight > 0)
        if inside.any():
            found = weighted_quantiles(values[inside], weight[inside], (0.05, 0.25, 0.5, 0.75, 0.95))
            stats.append((int(number), int(inside.sum()), found))
    total = len(stats)
    stats = sorted(sorted(stats, key=lambda one: -one[1])[:_MOST], key=lambda one: one[2][2])
    boxes = [
        {"label": str(number), "whislo": q[0], "q1": q[1], "med": q[2], "q3": q[3], "whishi": q[4], "fliers": []}
        for number, _, q in stats
    ]
    if boxes:
        ax.bxp(
            boxes,
            showfliers=False,
            patch_artist=True,
            widths=0.6,
            boxprops={"facecolor": "#BFD6E4", "linewidth": 0.6},
            medianprops={"color": style.FLAG, "linewidth": 1.2},
            whiskerprops={"linewidth": 0.6},
            capprops={"linewidth": 0.6},
        )
    more = f", the {len(stats)} largest of {total}" if total > len(stats) else ""
    ax.set_xlabel(f"Particle (sorted by median{more})")
    if len(stats) > 14:
        ax.tick_params(axis="x", labelrotation=90)
    ax.grid(True, axis="y")


@style.styled
def particle_map(
    particles: xr.DataArray,
    *,
    image: xr.DataArray | None = None,
    label: str | None = None,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw particles with their numbers, over the lithiation or in colors of their own.

    Parameters
    ----------
    particles : DataArray of int, dims (y, x)
        0 = none.
    image : DataArray, dims (y, x), optional
        Drawn below the outlines, for example the lithiation or the thickness; NaN is clear.
    label : str, optional
        Of the color bar of ``image``; default from its attrs.
    cmap, limits
        Of ``image``.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure
        Numbers stand at the pixel of a particle that lies deepest in it.

    Examples
    --------
    >>> grains = xr.DataArray([[1, 1, 0, 2]], dims=("y", "x"))
    >>> [text.get_text() for text in particle_map(grains).axes[0].texts]
    ['1', '2']
    """
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import distance_transform_edt, find_objects

    where = "particle_map"
    plane = look.plane_of(particles, where=where)
    labels = np.asarray(plane.values).astype(np.int64)
    own, ax, tall = map_axes(ax, plane, below_mm=8.0)
    left, right, bottom, top = plane_extent(plane)[0]
    if image is not None:
        under = look.plane_of(image, where=where)
        shown = look.draw(ax, under, limits or look.shared_limits([under.values]), look.clear_map(cmap))
        look.color_bar(shown, ax, look.lithiation_label(image, label), tall_mm=tall)
    else:
        tints = np.array([_rgb(color) for color in look.PHASE_COLORS])
        pixels = np.ones((*labels.shape, 3))
        # Paler, so that the numbers stand out.
        pixels[labels > 0] = 0.45 + 0.55 * tints[(labels[labels > 0] - 1) % len(tints)]
        ax.imshow(pixels, extent=(left, right, bottom, top), origin="lower", interpolation="nearest")
        look.frame(ax)
        style.add_scale_bar(ax, unit=look.plane_unit(plane), color="black")
    tall_px, wide_px = (top - bottom) / labels.shape[0], (right - left) / labels.shape[1]
    for number, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        inside = labels[box] == number
        look.outline(ax, labels == number, plane, color=style.INK, width=0.6)
        depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        y = bottom + tall_px * (box[0].start + row + 0.5)
        x = left + wide_px * (box[1].start + column + 0.5)
        ax.text(x, y, str(number), ha="center", va="center", fontsize=7, color=style.INK,
                path_effects=[withStroke(linewidth=1.6, foreground="white")])  # fmt: skip
    return look.finish(ax.figure, own, simulated, particles, image)


def _rgb(color: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(to_rgb(color))


@style.styled
def phase_boundary(
    dominant: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    image: xr.DataArray | None = None,
    label: str | None = None,
    length: str | None = None,
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the phase that holds most of each pixel, and the lines where it changes.

    Parameters
    ----------
    dominant : DataArray, uint8, dims (y, x)
        Ids of phases, 255 = none (white).
    phases : PhaseScheme or mapping
        What the ids mean; colors follow the order of the names.
    image : DataArray, dims (y, x), optional
        Drawn in color below the lines instead of the phases, for example the lithiation.
    label : str, optional
        Of the color bar of ``image``.
    length : str, optional
        The measured length with its interval, for the title.
    colors : mapping of phase to hex color, optional
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure
        Lines follow the pixels, so that they are longer than the boundary they show.

    Examples
    --------
    >>> most = xr.DataArray(np.array([[0, 1, 255]], dtype=np.uint8), dims=("y", "x"))
    >>> figure = phase_boundary(most, {"V2O5": 0, "LiV2O5": 1}, length="1 px")
    >>> figure.axes[0].get_title(), [text.get_text() for text in figure.legends[0].get_texts()]
    ('boundary: 1 px', ['V2O5', 'LiV2O5'])
    """
    from matplotlib.patches import Patch

    where = "phase_boundary"
    scheme = PhaseScheme.of(phases)
    plane = look.plane_of(dominant, where=where)
    ids = np.asarray(plane.values)
    tints = look.component_colors(scheme.names, colors)
    present = [name for name in scheme if (ids == scheme[name]).any()]
    own, ax, tall = map_axes(ax, plane, below_mm=12 + 3.6 * (len(present) // 2) if image is None else 10)
    if image is not None:
        under = look.plane_of(image, where=where)
        shown = look.draw(ax, under, look.shared_limits([under.values]), look.clear_map("viridis"))
        look.color_bar(shown, ax, look.lithiation_label(image, label), tall_mm=tall)
    else:
        pixels = np.ones((*ids.shape, 3))
        for name in present:
            pixels[ids == scheme[name]] = _rgb(tints[name])
        ax.imshow(pixels, extent=plane_extent(plane)[0], origin="lower", interpolation="nearest")
        look.frame(ax)
        style.add_scale_bar(ax, unit=look.plane_unit(plane), color="black")
        handles = [Patch(facecolor=tints[name], label=name) for name in present]
        if own:
            columns = max(1, min(len(present), int(78 / (6 + 1.4 * max(map(len, present), default=1)))))
            ax.figure.legend(
                handles=handles, loc="outside lower center", ncols=columns, handlelength=1.0, handleheight=1.0
            )
    look.borders(ax, ids, plane, missing=UNLABELED, color=style.INK if image is None else "white")
    ax.set_title(f"boundary: {length}" if length else "", pad=3)
    return look.finish(ax.figure, own, simulated, dominant, image)


@style.styled
def core_to_rim_plot(
    profile: pd.DataFrame,
    *,
    along: str = "depth",
    truth: pd.DataFrame | None = None,
    label: str | None = None,
    most: int = 6,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw how lithiation changes from the rim of particles to their core.

    Parameters
    ----------
    profile : DataFrame of ``spectral.core_to_rim``
        Columns ``component, depth, distance, value, sigma``; sigma NaN where it is not known. What is not named
        *particle ...* is a mean over them: drawn black, with its 95 % band.
    along : {"depth", "distance"}
        Depth is 0 at the rim and 1 at the innermost pixel; distance is from the rim, in um.
    truth : DataFrame, likewise, optional
        Dashed.
    label : str, optional
        Of lithiation, for example ``"x in Li_x V2O5"``.
    most : int
        Particles drawn at most, the first (which are the largest).
    simulated : bool, optional
        Label the figure as simulated; default ``profile.attrs["simulated"]``.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where a column is missing or ``along`` is unknown.

    Examples
    --------
    >>> profile = pd.DataFrame({"component": "particle 1", "depth": [0.25, 0.75], "value": [1.0, 0.2], "sigma": 0.1})
    >>> core_to_rim_plot(profile, label="x in Li_x V2O5").axes[0].get_ylabel()
    'x in LiₓV₂O₅'
    """
    where = "core_to_rim_plot"
    if along not in _ALONG:
        raise InputError(f"{where}: along must be depth or distance, got {along!r}. {nearest(along, _ALONG)}")
    missing = [name for name in ("component", along, "value", "sigma") if name not in profile]
    if missing:
        raise InputError(
            f"{where}: the table lacks the columns {missing}, got {list(profile.columns)}. "
            "Pass what operando.spectral.core_to_rim returned."
        )
    names = [str(name) for name in dict.fromkeys(profile["component"])]
    particles = [name for name in names if name.startswith("particle ")]
    shown = [*particles[:most], *(name for name in names if name not in particles)]
    tints = look.component_colors(particles)
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=58 + 3.5 * (-(-len(shown) // 3)))
    for name in shown:
        part = profile[profile["component"] == name].sort_values(along)
        color, mean = tints.get(name, style.INK), name not in tints
        line = "-" if mean else look.line_style(particles.index(name))
        text = f"{name}" if not mean or len(particles) <= most else f"{name} ({len(particles)})"
        ax.plot(part[along], part["value"], color=color, ls=line, lw=1.6 if mean else 0.9, marker="o",
                ms=2.6 if mean else 1.8, label=text, zorder=3 if mean else 2)  # fmt: skip
        if mean or len(shown) == 1:
            low, high = part["value"] - 1.96 * part["sigma"], part["value"] + 1.96 * part["sigma"]
            ax.fill_between(part[along], low, high, color=color, alpha=0.18, lw=0)
        if truth is not None:
            true = truth[truth["component"] == name].sort_values(along)
            ax.plot(true[along], true["value"], color=color, lw=0.8, ls="--")
    ax.set(xlabel=_ALONG[along], ylabel=look.lithiation_label(xr.DataArray(0.0), label))
    ax.grid(True, axis="y")
    look.legend_below(ax, ax.get_legend_handles_labels()[1], 3)
    return look.finish(ax.figure, own, simulated, profile)


_ALONG = {"depth": "Depth: 0 rim, 1 core", "distance": "Distance from the rim [µm]"}
