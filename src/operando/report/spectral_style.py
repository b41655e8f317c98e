"""What all figures of spectro-microscopy share: colors of phases, the axis of energies, planes, labels, hatching."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import AxesError, InputError
from operando.core.units import canonical
from operando.report import style, wording
from operando.report.maps import draw_map
from operando.report.sections import plane_extent

PHASE_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933")
"""Okabe and Ito's colors, dark enough for lines on white, and two of Tol's; the first three differ under any of the
common color vision deficiencies."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.4)), (0, (1.2, 1.2)))
FLAG_COLORS = {
    "boundary": "#56B4E9",
    "thick": "#E69F00",
    "missing_reference": "#CC79A7",
    "ambiguous": "#009E73",
    "several": "#1F2933",
}
"""Colors of the reasons to doubt a pixel."""
_SUB = str.maketrans("0123456789x+-", "₀₁₂₃₄₅₆₇₈₉ₓ₊₋")


def component_names(array: xr.DataArray | xr.Dataset) -> list[str]:
    """Names of the components, or *component 0*, *component 1*, ... where there is no coordinate.

    Examples
    --------
    >>> component_names(xr.DataArray(np.zeros((2, 3)), dims=("component", "energy")))
    ['component 0', 'component 1']
    """
    if "component" in array.coords:
        return [str(name) for name in np.atleast_1d(array.coords["component"].values)]
    return [f"component {number}" for number in range(array.sizes.get("component", 0))]


def component_colors(names: Iterable[str], colors: Mapping[str, str] | None = None) -> dict[str, str]:
    """Color of each component by its place, or as given by name.

    Examples
    --------
    >>> component_colors(["V2O5", "LiV2O5"], {"LiV2O5": "#000000"})
    {'V2O5': '#0072B2', 'LiV2O5': '#000000'}
    """
    given = dict(colors or {})
    return {name: given.get(name, PHASE_COLORS[place % len(PHASE_COLORS)]) for place, name in enumerate(names)}


def line_style(place: int) -> Any:
    """Dashes of the n-th line: solid for the first four, so that later ones do not rest on color alone."""
    return DASHES[min(place // 4, len(DASHES) - 1)]


def energies_of(array: xr.DataArray, *, where: str) -> tuple[np.ndarray, str]:
    """Photon energies and the label of their axis; the numbers of the images where nobody gave energies.

    Examples
    --------
    >>> energies_of(xr.DataArray([1.0, 2.0], dims="energy", coords={"energy": [708.0, 710.0]}), where="here")
    (array([708., 710.]), 'Photon energy [eV]')
    """
    if "energy" not in getattr(array, "dims", ()):
        raise AxesError(
            f"{where}: the dim energy is needed, got {tuple(getattr(array, 'dims', ()))}. "
            "Rename the dim of the photon energies to energy."
        )
    if "energy" not in array.coords:
        return np.arange(1.0, array.sizes["energy"] + 1), "Image"
    unit = canonical(str(array.coords["energy"].attrs.get("units", "eV")))
    return np.asarray(array.coords["energy"].values, dtype=float), wording.label_text("Photon energy", unit)


def energy_texts(energies: Sequence[float] | np.ndarray, *, unit: str = "eV") -> list[str]:
    """Spell energies with as many decimals as it takes to set them (to 0.02) and to tell them apart, one at least.

    Examples
    --------
    >>> energy_texts([708.0, 709.2]), energy_texts([708.0, 709.25])
    (['708.0 eV', '709.2 eV'], ['708.00 eV', '709.25 eV'])
    """
    numbers = [float(energy) for energy in energies]
    for decimals in (1, 2, 3):
        texts = [f"{number:.{decimals}f}" for number in numbers]
        off = max((abs(float(text) - number) for text, number in zip(texts, numbers, strict=True)), default=0.0)
        if len(set(texts)) == len(set(numbers)) and off <= 0.02:
            break
    return [f"{text} {unit}".strip() for text in texts]


def spread_energies(stack: xr.DataArray, count: int, *, spectra: xr.DataArray | None = None, where: str) -> list[int]:
    """Places of images that show an edge: its foot, its far side and the most prominent maxima between.

    Parameters
    ----------
    stack : DataArray, dims (energy, ...)
    count : int
        How many; all where the stack has no more.
    spectra : DataArray, dims (component, energy), optional
        Spectra whose maxima decide, each stretched to 0-1 and all added; default the mean spectrum of the stack, which
        takes a pass over it. Where there are fewer maxima, energies at which the spectrum bends most fill up.

    Returns
    -------
    list of int
        Positions along ``energy``, ascending in energy.

    Examples
    --------
    >>> peak = xr.DataArray([0.0, 0.0, 1.0, 0.2, 0.4, 0.2], dims="energy", coords={"energy": np.arange(6.0)})
    >>> spread_energies(peak, 4, where="here")
    [0, 2, 4, 5]
    """
    from scipy.signal import find_peaks

    energies, _ = energies_of(stack, where=where)
    order = np.argsort(energies, kind="stable")
    if count < 1:
        raise InputError(f"{where}: at least one image is needed, got count={count}.")
    if len(order) <= count or count < 3:
        return [int(order[i]) for i in wording.spread_scans(len(order), count)]
    at = energies[order]
    curve = _curve(stack, order) if spectra is None else _common_curve(spectra, at, where=where)
    chosen = [0, len(order) - 1]
    peaks, found = find_peaks(curve, prominence=0.02 * max(float(np.ptp(curve)), 1e-12))
    for peak in peaks[np.argsort(-found["prominences"], kind="stable")]:
        # Two maxima closer than that show the same image twice.
        if len(chosen) < count and np.abs(at[chosen] - at[peak]).min() > 0.02 * (at[-1] - at[0]):
            chosen = sorted([*chosen, int(peak)])
    while len(chosen) < count:
        away = np.abs(curve - np.interp(at, at[chosen], curve[chosen]))
        away[chosen] = -1.0
        chosen = sorted([*chosen, int(away.argmax())])
    return [int(order[i]) for i in chosen]


def _curve(stack: xr.DataArray, order: np.ndarray) -> np.ndarray:
    mean = np.asarray(stack.mean([dim for dim in stack.dims if dim != "energy"]).values, dtype=float)[order]
    known = np.isfinite(mean)
    return np.interp(np.arange(mean.size), np.flatnonzero(known), mean[known]) if known.any() else np.zeros(mean.size)


def _common_curve(spectra: xr.DataArray, at: np.ndarray, *, where: str) -> np.ndarray:
    total = np.zeros(at.size)
    stacked = spectra if "component" in spectra.dims else spectra.expand_dims("component")
    energies, _ = energies_of(stacked, where=where)
    order = np.argsort(energies, kind="stable")
    for one in np.asarray(stacked.transpose("component", "energy").values, dtype=float)[:, order]:
        known = np.isfinite(one)
        if known.any() and np.ptp(one[known]) > 0:
            total += np.interp(at, energies[order][known], (one[known] - one[known].min()) / np.ptp(one[known]))
    return total


def plane_of(array: xr.DataArray, *, where: str) -> xr.DataArray:
    """A computed map (y, x) whose axes ascend, so that it is drawn the right way round."""
    require_dims(array, ("y", "x"), where=where)
    plane = array.transpose("y", "x").compute()
    down = [
        dim
        for dim in ("y", "x")
        if dim in plane.coords and plane.sizes[dim] > 1 and bool(plane[dim][0] > plane[dim][-1])
    ]
    return plane.isel({dim: slice(None, None, -1) for dim in down})


def finite(array: xr.DataArray) -> xr.DataArray:
    """Where an array has a value; lazy where the array is."""
    found: xr.DataArray = xr.apply_ufunc(np.isfinite, array, dask="allowed")
    return found


def aspect_of(plane: xr.DataArray) -> float:
    """Height over width of a map as drawn."""
    left, right, bottom, top = plane_extent(plane)[0]
    return (top - bottom) / (right - left)


def plane_unit(plane: xr.DataArray) -> str:
    """Unit of both axes of a map."""
    return plane_extent(plane)[1]


def formula_text(formula: str) -> str:
    """Spell a formula with its numbers below the line; a decimal point keeps its number on it.

    Examples
    --------
    >>> formula_text("Li_x V2O5"), formula_text("Li0.5V2O5"), formula_text("ε-LixV2O5")
    ('LiₓV₂O₅', 'Li0.5V₂O₅', 'ε-LiₓV₂O₅')
    """
    closed = re.sub(r"(?<=Li)_?x ?(?![a-z])", "ₓ", formula)
    return re.sub(r"(?<=[A-Za-z)])\d+(?![\d.])", lambda found: found[0].translate(_SUB), closed)


def lithiation_label(lithiation: xr.DataArray, label: str | None = None) -> str:
    """Label of lithiation, given or from the attrs; a formula after *x in* is spelled with its numbers below the line.

    Examples
    --------
    >>> lithiation_label(xr.DataArray(0.5), "x in Li_x V2O5"), lithiation_label(xr.DataArray(0.5), "Valence of iron")
    ('x in LiₓV₂O₅', 'Valence of iron')
    """
    text = label or str(lithiation.attrs.get("long_name") or "Lithiation x")
    if text.startswith("x in "):
        # x is a symbol, which no capital letter may begin.
        return f"x in {formula_text(text.removeprefix('x in '))}"
    return label or wording.array_label(lithiation, default="Lithiation x")


def clear_map(name: str) -> Any:
    """A color map of matplotlib where missing values are transparent."""
    return style.matplotlib("A map").colormaps[name].with_extremes(bad=(1.0, 1.0, 1.0, 0.0))


def error_map(color: str) -> Any:
    """Color map of an error, from near white to dark; missing values are transparent."""
    return style.sequential_map(color).with_extremes(bad=(1.0, 1.0, 1.0, 0.0))


def draw(ax: Any, plane: xr.DataArray, limits: tuple[float, float], cmap: Any, *, bar: bool = True) -> Any:
    """Draw a map from :func:`plane_of` with a scale bar; returns the image, for a color bar."""
    shown = draw_map(ax, plane, *limits, cmap)
    if bar:
        style.add_scale_bar(ax, unit=plane_extent(plane)[1], color="black")
    return shown


def frame(ax: Any) -> None:
    """A thin frame without ticks, for a map."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.4, color=style.MUTED)


def color_bar(shown: Any, axes: Any, label: str, *, tall_mm: float = 40.0, **options: Any) -> Any:
    """Color bar with a label that is broken where it is longer than the bar, arrows where values lie beyond."""
    values = np.ma.masked_invalid(shown.get_array()).compressed()
    low, high = shown.get_clim()
    off = 1e-6 * (high - low)  # what rounding alone puts beyond the ends is no outlier
    below, above = bool(values.size and values.min() < low - off), bool(values.size and values.max() > high + off)
    place = {"fraction": 0.05, "pad": 0.02, **options}
    place.setdefault("extend", {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above])
    figure = (axes[0] if isinstance(axes, (list, tuple)) else axes).figure
    bar = figure.colorbar(shown, ax=axes, **place)
    bar.set_label("\n".join(wording.wrapped(label, tall_mm)))
    bar.outline.set_linewidth(0.4)
    return bar


def shared_limits(arrays: Iterable[Any], *, percent: float = 0.2, floor: float | None = None) -> tuple[float, float]:
    """Ends of a color scale for several arrays: the percentiles of all that is finite; ``floor`` replaces the lower.

    Examples
    --------
    >>> shared_limits([np.array([0.0, 1.0]), np.array([np.nan, 4.0])], percent=0), shared_limits([np.full(2, np.nan)])
    ((0.0, 4.0), (0.0, 1.0))
    """
    values = np.concatenate([np.asarray(array, dtype=float).ravel() for array in arrays])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, [percent, 100 - percent]))
    low = low if floor is None else floor
    return (low, high) if high > low else (low, low + 1.0)


def hatch(ax: Any, where: np.ndarray, plane: xr.DataArray, *, color: str = "white", pattern: str = "//////") -> None:
    """Hatch the pixels of a mask exactly, whatever the size of the image.

    Parameters
    ----------
    where : ndarray of bool, shape (y, x)
    plane : DataArray, dims (y, x)
        From :func:`plane_of`; gives the places.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not where.any():
        return
    left, right, bottom, top = plane_extent(plane)[0]
    tall, wide = (top - bottom) / where.shape[0], (right - left) / where.shape[1]
    padded = np.pad(where.astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    # One closed rectangle per run of marked pixels: the hatching is clipped to them.
    x0, x1 = left + wide * starts, left + wide * ends
    y0, y1 = bottom + tall * rows, bottom + tall * (rows + 1)
    corners = np.stack([np.column_stack(p) for p in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))], axis=1)
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(rows))
    path = Path(corners.reshape(-1, 2), codes)
    with style.matplotlib().rc_context({"hatch.linewidth": 0.5}):
        patch = PathPatch(path, facecolor="none", edgecolor=color, hatch=pattern, linewidth=0)
        patch.set_gid("doubtful")
        ax.add_patch(patch)


def outline(ax: Any, where: np.ndarray, plane: xr.DataArray, *, color: str, width: float = 0.9) -> None:
    """Draw the edges of the pixels of a mask (y, x) that border others: exact, in steps of pixels."""
    padded = np.pad(where.astype(bool), 1)
    level, upright = padded[1:, 1:-1] != padded[:-1, 1:-1], padded[1:-1, 1:] != padded[1:-1, :-1]
    _draw_edges(ax, level, upright, plane, color=color, width=width)


def borders(ax: Any, ids: np.ndarray, plane: xr.DataArray, *, missing: int, color: str, width: float = 0.8) -> None:
    """Draw the edges between pixels of different ids (y, x), but not those to ``missing``."""
    padded = np.pad(ids.astype(np.int64), 1, constant_values=missing)

    def change(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (one != other) & (one != missing) & (other != missing)

    level = change(padded[1:, 1:-1], padded[:-1, 1:-1])
    upright = change(padded[1:-1, 1:], padded[1:-1, :-1])
    _draw_edges(ax, level, upright, plane, color=color, width=width)


def _draw_edges(
    ax: Any, level: np.ndarray, upright: np.ndarray, plane: xr.DataArray, *, color: str, width: float
) -> None:
    from matplotlib.collections import LineCollection

    left, right, bottom, top = plane_extent(plane)[0]
    tall, wide = (top - bottom) / plane.shape[0], (right - left) / plane.shape[1]
    lines = []
    for edges, along, up in ((level, wide, 0.0), (upright, 0.0, tall)):
        rows, columns = np.nonzero(edges)
        start = np.column_stack([left + wide * columns, bottom + tall * rows])
        lines.append(np.stack([start, start + [along, up]], axis=1))
    drawn = LineCollection(list(np.concatenate(lines)), colors=color, linewidths=width, capstyle="projecting")
    drawn.set_gid("edges")
    ax.add_collection(drawn, autolim=False)


def legend_names(names: Sequence[str], width_mm: float, *, size: float = 7) -> list[str]:
    """Names broken into lines of at most that width in print."""
    return ["\n".join(wording.wrapped(name, width_mm, size=size)) or " " for name in names]


def legend_layout(names: Sequence[str], width_mm: float, *, most: int = 4) -> tuple[list[str], int, float]:
    """How to set a legend of lines: its texts, its columns, and its height in mm.

    As many columns as leave every name on one line; where none does, one or two columns of broken names.

    Examples
    --------
    >>> legend_layout(["V2O5", "LiV2O5"], 88)
    (['V2O5', 'LiV2O5'], 2, 5.3)
    """
    texts, columns = list(names), 1
    for columns in range(min(most, len(names)), 0, -1):
        texts = legend_names(names, width_mm / columns - 12)
        if max(text.count("\n") for text in texts) <= (1 if columns == 2 and len(names) > 4 else 0):
            break
    rows = [texts[k :: -(-len(texts) // columns)] for k in range(-(-len(texts) // columns))]
    lines = sum(1 + max(text.count("\n") for text in row) for row in rows)
    return texts, columns, round(2 + 3.3 * lines, 3)


def legend_below(ax: Any, texts: Sequence[str], columns: int, *, points: float = 27.0, handles: Any = None) -> None:
    """A legend so far below axes that the label of their x axis, of one line, stays free."""
    from matplotlib.transforms import offset_copy

    place = offset_copy(ax.transAxes, ax.figure, y=-points, units="points")
    shown = ax.get_legend_handles_labels()[0] if handles is None else handles
    ax.legend(
        handles=shown,
        labels=list(texts),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=place,
        ncols=columns,
        borderpad=0.2,
        borderaxespad=0.0,
    )


def finish(figure: Any, own: bool, simulated: bool | None, *data: Any) -> Any:
    """Write *simulated* into a figure of one's own where the data say so or the caller does; returns the figure."""
    if own and (style.is_simulated(*data) if simulated is None else simulated):
        style.mark_simulated(figure)
    return figure
