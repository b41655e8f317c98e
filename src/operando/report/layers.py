"""Figures of a wound cell: its layers in cross-section and unrolled, their thickness and spacing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError, nearest
from operando.core.phases import PhaseScheme
from operando.report import style, wording

_COLORS = {"thickness": "#0072B2", "spacing": "#D55E00", "layers": "#009E73", "obliquity": "#CC79A7"}
_EDGE_COLOR = "#F0E442"
_NAMES = {"thickness": "Layer thickness", "spacing": "Layer spacing", "layers": "Layers"}


@style.styled
def layer_section(
    image: xr.DataArray,
    labels: xr.DataArray,
    phases: PhaseScheme | Mapping[str, int],
    *,
    component: str = "layer",
    layers: xr.Dataset | None = None,
    zoom_um: float = 2500.0,
    gray: tuple[float, float] | None = None,
) -> Any:
    """Draw a slice through the roll: the layers over the gray image, and a part of it enlarged.

    Parameters
    ----------
    image : DataArray, dims (y, x)
        Gray values of the slice.
    labels : DataArray of uint8, dims (y, x)
        What was segmented.
    phases : PhaseScheme or mapping of str to int
    component : str
        The phase to lay over the image, in its color.
    layers : Dataset of ``morphometry.layers_along_radius``, dims (component, angle), optional
        Draws the center and, in the enlarged part, the measured edges.
    zoom_um : float
        Width of the enlarged part, in the unit of the axes.
    gray : tuple of float, optional
        Gray values shown as black and white. Default: from the darkest to a little above the layers, because
        the can would otherwise darken everything else.

    Returns
    -------
    matplotlib Figure, 180 mm wide
    """
    require_dims(image, ("y", "x"), where="layer_section")
    scheme = PhaseScheme.of(phases)
    unit = axis_spacing(image, "x", where="layer_section")[1]
    pixels = np.asarray(image.values, dtype=float)
    mask = np.asarray(labels.values) == scheme[component]
    low, high = _gray(pixels, pixels[mask]) if gray is None else gray
    extent = _extent(image)
    figure = style.new_figure(style.DOUBLE_MM, 84)
    whole, part = figure.subplots(1, 2)
    for ax in (whole, part):
        ax.imshow(pixels, cmap="gray", vmin=low, vmax=high, extent=extent)
        ax.set_axis_off()
    _tint(whole, mask, scheme.color(component), extent, 0.55)
    x0, x1, y1, y0 = extent
    row, column = _lively(mask)
    middle_y, middle_x = y0 + (y1 - y0) * row, x0 + (x1 - x0) * column
    half = zoom_um / 2
    whole.add_patch(_frame(middle_x - half, middle_y - half, zoom_um))
    part.set(xlim=(middle_x - half, middle_x + half), ylim=(middle_y + half, middle_y - half))
    if layers is None:
        _tint(part, mask, scheme.color(component), extent, 0.55)
    else:
        center_y, center_x = float(layers["center_y"]), float(layers["center_x"])
        whole.plot(center_x, center_y, "+", color="white", markersize=5)
        angle = np.radians(layers["angle"].values)
        for name in ("inner_radius", "outer_radius"):
            radius = layers[name].values
            y, x = center_y + radius * np.sin(angle), center_x + radius * np.cos(angle)
            part.plot(x.T, y.T, ".", color=_EDGE_COLOR, markersize=3.2, markeredgewidth=0)
    whole.set_title(f"{component} over the slice")
    part.set_title("enlarged" if layers is None else "enlarged, with the edges that were measured")
    for ax in (whole, part):
        style.add_scale_bar(ax, unit=unit)
    if style.is_simulated(image, labels):
        style.mark_simulated(figure)
    return figure


def _gray(pixels: np.ndarray, of_layers: np.ndarray) -> tuple[float, float]:
    """Black and white: the 0.5 % percentile of all, and a sixth above the bulk of the layers."""
    low, top = np.nanpercentile(pixels, [0.5, 99.5])
    if of_layers.size:
        top = low + (np.nanpercentile(of_layers, 75) - low) * 7 / 6
    return float(low), float(top)


def _extent(image: xr.DataArray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edges of the image, y downward."""
    edges = []
    for dim in ("x", "y"):
        step = axis_spacing(image, dim)[0]
        values = image.coords[dim].values if dim in image.coords else np.arange(image.sizes[dim])
        edges.append((float(values[0]) - step / 2, float(values[-1]) + step / 2))
    (left, right), (top, bottom) = edges
    return left, right, bottom, top


def _tint(ax: Any, mask: np.ndarray, color: str, extent: Sequence[float], opacity: float) -> None:
    from matplotlib.colors import to_rgb

    overlay = np.zeros((*mask.shape, 4))
    overlay[mask] = (*to_rgb(color), opacity)
    ax.imshow(overlay, extent=extent)


def _lively(mask: np.ndarray) -> tuple[float, float]:
    """Where to look closer, as fractions of height and width: inside the left part of the roll."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return 0.5, 0.5
    # Percentiles, because a few voxels mistaken at the edge of the image must not move the view off the roll.
    top, bottom = np.percentile(rows, [1, 99])
    left, right = np.percentile(columns, [1, 99])
    return (top + bottom) / 2 / mask.shape[0], (left + 0.17 * (right - left)) / mask.shape[1]


def _frame(x: float, y: float, size: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), size, size, fill=False, edgecolor="white", linewidth=0.8)


@style.styled
def training_and_test(
    training: xr.DataArray,
    annotations: xr.DataArray,
    test: xr.DataArray,
    truth: xr.DataArray,
    predictions: Mapping[str, xr.DataArray],
    phases: PhaseScheme | Mapping[str, int],
    *,
    component: str = "layer",
    scores: Mapping[str, float] | None = None,
    gray: tuple[float, float] | None = None,
) -> Any:
    """Draw what a segmenter was taught on one image, and where it and its baseline are right on another.

    Parameters
    ----------
    training, annotations : DataArray, dims (y, x)
        Gray values, and the labels given for them; 255 = unlabeled.
    test, truth : DataArray, dims (y, x)
        Gray values of the image that was held out, and its true labels.
    predictions : mapping of str to DataArray, dims (y, x)
        Labels found on the test image, by the name of the method; one panel each.
    phases : PhaseScheme or mapping of str to int
    component : str
        The phase that is judged.
    scores : mapping of str to float, optional
        Intersection over union of the component by method, written above its panel.
    gray : tuple of float, optional
        Gray values shown as black and white; default as in :func:`layer_section`.

    Returns
    -------
    matplotlib Figure, 180 mm wide
    """
    from matplotlib.patches import Patch

    scheme = PhaseScheme.of(phases)
    number = scheme[component]
    figure = style.new_figure(style.DOUBLE_MM, 13 + style.DOUBLE_MM / (1 + len(predictions)))
    axes = figure.subplots(1, 1 + len(predictions))
    panels: list[tuple[xr.DataArray, dict[str, np.ndarray]]] = []
    marks, true = np.asarray(annotations.values), np.asarray(truth.values)
    panels.append((training, {scheme.color(component): marks == number, _MISSED: (marks != number) & (marks != 255)}))
    for labels in predictions.values():
        found, layer = np.asarray(labels.values) == number, true == number
        right = {scheme.color(component): found & layer, _MISSED: layer & ~found, _INVENTED: found & ~layer}
        panels.append((test, {color: where & (true != 255) for color, where in right.items()}))
    titles = ["taught: strokes", *(_score_title(name, scores) for name in predictions)]
    for ax, (image, overlays), title in zip(axes, panels, titles, strict=True):
        pixels = np.asarray(image.values, dtype=float)
        low, high = _gray(pixels, pixels[next(iter(overlays.values()))]) if gray is None else gray
        # Dimmed, so that the colors and not the gray decide what is seen.
        ax.imshow(pixels, cmap="gray", vmin=low, vmax=low + 1.6 * (high - low), extent=_extent(image))
        for color, where in overlays.items():
            _tint(ax, where, color, _extent(image), 0.9)
        ax.set_axis_off()
        ax.set_title(title)
        style.add_scale_bar(ax, unit=axis_spacing(image, "x", where="training_and_test")[1])
    names = {scheme.color(component): f"{component}, right", _MISSED: "other phase / missed", _INVENTED: "invented"}
    handles = [Patch(facecolor=color, label=name) for color, name in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.0, handleheight=1.0)
    if style.is_simulated(training, test):
        style.mark_simulated(figure)
    return figure


_MISSED, _INVENTED = "#F0E442", "#D55E00"


def _score_title(name: str, scores: Mapping[str, float] | None) -> str:
    return f"{name}: IoU {scores[name]:.3f}" if scores and name in scores else name


@style.styled
def unrolled_layers(
    image: xr.DataArray,
    layers: xr.Dataset,
    *,
    component: str = "layer",
    phases: PhaseScheme | Mapping[str, int] | None = None,
    gray: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Unroll a slice to angle and radius, with the measured layers laid over it.

    A perfect ring is a level line here, and a spiral a straight one that climbs by one spacing per turn; what
    bends is deformed.

    Parameters
    ----------
    image : DataArray, dims (y, x)
        Gray values.
    layers : Dataset of ``morphometry.layers_along_radius``, dims (component, angle)
    component : str
        Name of the layers, which gives their color.
    phases : PhaseScheme or mapping of str to int, optional
    gray : tuple of float, optional
        Gray values shown as black and white; default as in :func:`layer_section`.

    Returns
    -------
    matplotlib Figure
    """
    from matplotlib.collections import PolyCollection
    from scipy.ndimage import map_coordinates

    require_dims(image, ("y", "x"), where="unrolled_layers")
    pixels = np.asarray(image.values, dtype=float)
    inner, outer = layers["inner_radius"].values, layers["outer_radius"].values
    top = 1.04 * float(np.nanmax(outer))
    step_y, step_x = (axis_spacing(image, dim)[0] for dim in ("y", "x"))
    radius = np.arange(0, top, min(step_y, step_x) / 2)
    angle = np.radians(np.arange(0, 360, 0.25))[:, None]
    y = float(layers["center_y"]) + radius * np.sin(angle) - float(image["y"][0])
    x = float(layers["center_x"]) + radius * np.cos(angle) - float(image["x"][0])
    flat = map_coordinates(pixels, [y / step_y, x / step_x], order=1, mode="nearest").T
    bands = (radius[:, None] > np.nanmin(inner)) & (radius[:, None] < np.nanmax(outer))
    bright = flat[np.broadcast_to(bands, flat.shape)]
    low, high = _gray(pixels, bright[bright > np.median(bright)]) if gray is None else gray
    ax = style.axes_of(ax, width_mm=style.DOUBLE_MM, height_mm=75)
    ax.imshow(flat, cmap="gray", vmin=low, vmax=high, extent=(0, 360, 0, top / 1000), origin="lower")
    drawn = np.isfinite(inner)
    at = np.broadcast_to(layers["angle"].values, inner.shape)[drawn]
    half = 180 / layers.sizes["angle"]
    corners = [
        (at - half, inner[drawn]),
        (at + half, inner[drawn]),
        (at + half, outer[drawn]),
        (at - half, outer[drawn]),
    ]
    boxes = np.stack([np.column_stack([a, r / 1000]) for a, r in corners], axis=1)
    color = style.color_of(component, phases or PhaseScheme({component: 0}))
    ax.add_collection(PolyCollection(list(boxes), facecolors=color, alpha=0.5, linewidths=0, antialiased=False))
    ax.set(aspect="auto", xlim=(0, 360), ylim=(0, top / 1000), xticks=np.arange(0, 361, 60))
    ax.set(xlabel="Angle [°]", ylabel="Radius [mm]")
    if style.is_simulated(image, layers):
        style.mark_simulated(ax.figure)
    return ax.figure


@style.styled
def layer_profiles(
    profile: pd.DataFrame,
    *,
    along: str = "radius",
    quantities: Sequence[str] = ("thickness", "spacing"),
    compare: Mapping[str, pd.DataFrame] | None = None,
) -> Any:
    """Draw thickness, spacing or number of layers against radius, or from slice to slice.

    Parameters
    ----------
    profile : DataFrame of ``morphometry.layer_profile``
        The line is the median (of ``layers`` the mean), the dotted lines are its 95 % interval, the band holds the
        middle 68 % of all passages. Bands that hold less than a tenth of a turn are left out.
    along : {"radius", "z"}
        What the rows of the profile are.
    quantities : sequence of str
        Panels, from top to bottom: ``thickness``, ``spacing``, ``layers``.
    compare : mapping of str to DataFrame, optional
        Further profiles by name, drawn as dashed lines: another segmentation of the same cell, or another cell.

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where a quantity or direction is unknown.
    """
    for name in quantities:
        if name not in _NAMES:
            raise InputError(f"layer_profiles: there is no quantity {name!r}. {nearest(name, _NAMES)}")
    if along not in ("radius", "z"):
        raise InputError(f"layer_profiles: along must be radius or z, got {along!r}. {nearest(along, ('radius', 'z'))}")
    figure = style.new_figure(style.SINGLE_MM, 16 + 32 * len(quantities))
    axes = np.atleast_1d(figure.subplots(len(quantities), 1, sharex=True))
    for ax, name in zip(axes, quantities, strict=True):
        _profile(ax, profile, name)
        for index, (other, table) in enumerate((compare or {}).items()):
            ax.plot(table["place"] / 1000, table[name], "--", color=style.color_of(other, index=index), label=other)
        unit = "1" if name == "layers" else "um"
        ax.set_ylabel(wording.label_text(_NAMES[name], unit))
        ax.grid(visible=True)
    axes[-1].set_xlabel("Radius [mm]" if along == "radius" else "Position z [mm]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    if style.is_simulated(profile):
        style.mark_simulated(figure)
    return figure


def _profile(ax: Any, profile: pd.DataFrame, name: str) -> None:
    known = profile[np.isfinite(profile[name]) & (profile["layers"] >= 0.1)]
    place, value, sigma = known["place"] / 1000, known[name], known[f"{name}_sigma"].fillna(0)
    color = _COLORS[name]
    low, high = value, value
    if f"{name}_low" in known:
        low, high = known[f"{name}_low"], known[f"{name}_high"]
        ax.fill_between(place, low, high, color=color, alpha=0.25, linewidth=0, label="68 % of passages")
    ax.plot(place, value, "-o", color=color, markersize=2.2, label="mean" if name == "layers" else "median")
    for side in (-1.96, 1.96):
        label = "95 % interval" if side > 0 else None
        ax.plot(place, value + side * sigma, ":", color=color, linewidth=0.9, label=label)
    # One place where a layer is lost must not flatten all others: its band runs out of the panel.
    bottom = min(np.percentile(edge, 8, method="higher") for edge in (low, value - 1.96 * sigma))
    top = max(np.percentile(edge, 92, method="lower") for edge in (high, value + 1.96 * sigma))
    margin = 0.12 * (top - bottom) or 0.05 * abs(top) or 1.0
    ax.set_ylim(min(bottom, value.min()) - margin, max(top, value.max()) + margin)


@style.styled
def layer_map(
    layers: xr.Dataset,
    *,
    quantity: str = "spacing",
    unrolled: bool = False,
    limits: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Map thickness, spacing or obliquity over the roll, each passage drawn where it was measured.

    Parameters
    ----------
    layers : Dataset of ``morphometry.layers_along_radius``, dims (component, angle[, z])
        Over ``z``, the median of the layers of one number on a ray is drawn.
    quantity : {"spacing", "thickness", "obliquity"}
        What is colored.
    unrolled : bool
        Angle and radius as axes instead of the cell's own shape.
    limits : tuple of float, optional
        Ends of the color scale. Default: the median and three times the half width of the middle 68 % to either
        side, so that a lost layer does not flatten the rest.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    InputError
        Where there is no such quantity, or no layer has one.
    """
    from matplotlib.collections import PolyCollection

    known = ("spacing", "thickness", "obliquity")
    if quantity not in known:
        raise InputError(f"layer_map: there is no quantity {quantity!r}. {nearest(quantity, known)}")
    kept = [quantity, "inner_radius", "outer_radius", "center_y", "center_x"]
    flat = layers[kept].median("z", keep_attrs=True) if "z" in layers.dims else layers[kept]
    inner, outer = flat["inner_radius"].values, flat["outer_radius"].values
    values = flat[quantity].values
    if quantity == "spacing":  # a spacing belongs to the way from this layer to the next
        outer = np.concatenate([outer[1:], np.full((1, outer.shape[1]), np.nan)])
    angle = np.radians(layers["angle"].values)
    half = np.pi / angle.size
    # Each cell reaches half a gap beyond the layer, so that the map has no stripes.
    reach = 0 if quantity == "spacing" else 0.5 * (_gap(inner, outer))
    drawn = np.isfinite(values) & np.isfinite(inner) & np.isfinite(outer)
    at = np.broadcast_to(angle, values.shape)[drawn]
    low, high = ((inner - reach)[drawn] / 1000, (outer + reach)[drawn] / 1000)
    corners = [(at - half, low), (at + half, low), (at + half, high), (at - half, high)]
    if unrolled:
        ax = style.axes_of(ax, width_mm=style.DOUBLE_MM, height_mm=70)
        polygons = np.stack([np.column_stack([np.degrees(a), r]) for a, r in corners], axis=1)
    else:
        ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=66)
        polygons = np.stack([np.column_stack([r * np.cos(a), r * np.sin(a)]) for a, r in corners], axis=1)
    if not drawn.any():
        raise InputError(f"layer_map: at least one layer with a {quantity} is needed, got none. Look at the labels.")
    ends = _robust_limits(values[drawn]) if limits is None else limits
    # viridis is readable without color; values beyond the ends show by the arrows of the bar.
    cells = PolyCollection(
        list(polygons), array=values[drawn], cmap="viridis", edgecolors="face", linewidths=0.2, rasterized=True
    )
    cells.set_clim(*ends)
    ax.add_collection(cells)
    top = float(high.max())
    if unrolled:
        ax.set(xlim=(0, 360), ylim=(0, 1.02 * top), xlabel="Angle [°]", ylabel="Radius [mm]")
        ax.set_xticks(np.arange(0, 361, 60))
    else:
        ax.set(xlim=(-1.03 * top, 1.03 * top), ylim=(1.03 * top, -1.03 * top), aspect="equal")
        ax.set(xlabel="Distance from the center, x [mm]", ylabel="Distance from the center, y [mm]")
    ax.set_facecolor("white" if not unrolled else style.MISSING)
    bar = ax.figure.colorbar(cells, ax=ax, extend="both", pad=0.02, shrink=1.0 if unrolled else 0.85)
    bar.set_label(wording.array_label(layers[quantity]))
    bar.outline.set_linewidth(0.4)
    if style.is_simulated(layers):
        style.mark_simulated(ax.figure)
    return ax.figure


def _robust_limits(values: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.percentile(values, [16, 50, 84])
    half = 1.5 * (high - low)
    return max(float(values.min()), middle - half), min(float(values.max()), middle + half)


def _gap(inner: np.ndarray, outer: np.ndarray) -> float:
    between = inner[1:] - outer[:-1]
    return float(np.nanmedian(between)) if np.isfinite(between).any() else 0.0
