"""Several phases in one picture: hue says which phase, brightness how much of it there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError, nearest
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.sections import plane_extent

MOST = 5
"""Hues that can still be told apart in one picture."""
_ABSENT = "#3A3A3A"
_SEEN = 0.02


@style.styled
def false_color(
    weights: xr.DataArray | xr.Dataset,
    *,
    components: Sequence[str] | None = None,
    doubtful: xr.DataArray | None = None,
    limit: float | None = None,
    colors: Mapping[str, str] | None = None,
    label: str | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw phases as hues and their sum as brightness, with a legend that shows how hues mix.

    Parameters
    ----------
    weights : DataArray, dims (component, y, x), or Dataset with ``weight``
        Not negative (what is, counts as 0). NaN is drawn dark gray.
    components : sequence of str, optional
        Which phases; default the five of the largest sum, in their order.
    doubtful : DataArray of bool, dims (y, x), optional
        Flagged or ambiguous pixels: hatched where there is at least 2 % of the full brightness.
    limit : float, optional
        Sum of the weights drawn at full brightness; default its 90th percentile where there is at least a tenth of the
        most, so that one thick particle does not leave the others dark.
    colors : mapping of component to hex color, optional
    label : str, optional
        What the sum of the weights is; default *Thickness [µm]* for weights in um, else *Sum of weights*.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure
        The picture; beside it, for two phases a bar, for three a triangle, for more a swatch each, and the brightness.

    Raises
    ------
    InputError
        Where a component is unknown, or more than five are asked for.

    Notes
    -----
    Colors are mixed as light. Hues alone cannot tell more than two or three phases apart under a color vision
    deficiency: the maps of :func:`operando.report.weight_maps` say the same without color.

    Examples
    --------
    >>> maps = xr.DataArray(np.eye(2).reshape(2, 1, 2), dims=("component", "y", "x"),
    ...     coords={"component": ["V2O5", "LiV2O5"]})
    >>> composite(maps.values, ["#0000ff", "#ff0000"], 1.0).round(6).tolist()
    [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    >>> len(false_color(maps).axes)
    3
    """
    where = "false_color"
    if isinstance(weights, xr.Dataset):
        weights = weights["weight"].assign_attrs({**weights.attrs, **weights["weight"].attrs})
    require_dims(weights, ("component", "y", "x"), where=where)
    names = look.component_names(weights)
    chosen = _chosen(weights, names, components, where=where)
    tints = [look.component_colors(names, colors)[name] for name in chosen]
    planes = [look.plane_of(weights.isel(component=names.index(name), drop=True), where=where) for name in chosen]
    amounts = np.stack([plane.values for plane in planes])
    total = np.clip(amounts, 0, None).sum(axis=0)
    top = _usual(total) if limit is None else limit
    if not top > 0:
        raise InputError(
            f"{where}: limit must be positive, got {limit}. Give the sum of the weights that is full bright."
        )
    plane = planes[0]
    tall = min((style.SINGLE_MM + 32 - 42) * look.aspect_of(plane), 100.0)
    listed = look.legend_layout(chosen, 40, most=1)[2] if len(chosen) > 3 else 0.0
    figure = style.new_figure(style.SINGLE_MM + 32, max(tall, 48.0, listed + 28) + 4)
    left, right = figure.subfigures(1, 2, width_ratios=[style.SINGLE_MM - 8, 40])
    ax = left.subplots()
    extent = plane_extent(plane)[0]
    ax.imshow(composite(amounts, tints, top), extent=extent, origin="lower", interpolation="nearest")
    look.frame(ax)
    style.add_scale_bar(ax, unit=look.plane_unit(plane))
    marked = np.zeros(plane.shape, dtype=bool)
    if doubtful is not None:
        # Where nothing is, nothing is doubtful: hatching there would hide the picture.
        marked = look.plane_of(doubtful, where=where).values.astype(bool) & (total > _SEEN * top)
        look.hatch(ax, marked, plane)
    unit = str(weights.attrs.get("units", "1"))
    amount = label or ("Thickness" if unit in ("um", "nm") else "Sum of weights")
    _legend(right, chosen, tints, wording.label_text(amount, unit), top, hatched=bool(marked.any()))
    return look.finish(figure, True, simulated, weights)


def _usual(total: np.ndarray) -> float:
    most = style.upper_limit([total], percent=99.5)
    some = total[(total > 0) & (total >= 0.1 * most)]
    return float(np.percentile(some, 90)) if some.size else most


def _chosen(weights: xr.DataArray, names: Sequence[str], components: Sequence[str] | None, *, where: str) -> list[str]:
    if components is None:
        sums = np.nansum(
            np.clip(np.asarray(weights.transpose("component", "y", "x").values, dtype=float), 0, None), axis=(1, 2)
        )
        largest = np.sort(np.argsort(-sums, kind="stable")[:MOST])
        return [names[place] for place in largest]
    for name in components:
        if name not in names:
            raise InputError(f"{where}: there is no component {name!r}. {nearest(str(name), names)}")
    if not 1 <= len(components) <= MOST:
        raise InputError(
            f"{where}: one to {MOST} phases can be told apart by hue, got {len(components)}. Choose fewer."
        )
    return list(components)


def composite(amounts: np.ndarray, colors: Sequence[str], limit: float) -> np.ndarray:
    """Colors of a false-color picture.

    Parameters
    ----------
    amounts : ndarray, shape (component, ...)
        Negative counts as 0; NaN gives dark gray.
    colors : sequence of hex colors
    limit : float
        Sum of the amounts that is drawn at full brightness.

    Returns
    -------
    ndarray of float, shape (..., 3), 0 to 1

    Examples
    --------
    Half as much of a phase sends half the light, which a screen needs 0.735 of its scale for:

    >>> composite(np.array([[2.0, 1.0, 0.0]]), ["#ff0000"], 2.0)[:, 0].round(3).tolist()
    [1.0, 0.735, 0.0]
    """
    from matplotlib.colors import to_rgb

    given = np.asarray(amounts, dtype=float)
    missing = ~np.isfinite(given).all(axis=0)
    held = np.clip(np.nan_to_num(given), 0, None)
    total = held.sum(axis=0)
    shares = np.divide(held, total, out=np.zeros_like(held), where=total > 0)
    full = _linear(np.array([to_rgb(color) for color in colors]))
    # Every pure phase reaches the brightness of the screen: only then does brightness mean amount.
    full /= full.max(axis=1, keepdims=True)
    mixed = np.tensordot(shares, full, axes=(0, 0))
    mixed /= np.maximum(mixed.max(axis=-1, keepdims=True), 1e-12)
    mixed *= np.clip(total / limit, 0, 1)[..., None]
    pixels = _encoded(mixed)
    pixels[missing] = to_rgb(_ABSENT)
    return pixels


def _linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(values: np.ndarray) -> np.ndarray:
    return np.clip(
        np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055), 0, 1
    )


def _legend(place: Any, names: Sequence[str], colors: Sequence[str], label: str, top: float, *, hatched: bool) -> None:
    hues, scale = place.subplots(2, 1, height_ratios=[3.2 if len(names) > 1 else 1, 1.0])
    if len(names) == 2:
        _bar(hues, names, colors)
    elif len(names) == 3:
        _triangle(hues, names, colors)
    else:
        _swatches(hues, names, colors)
    ramp = np.linspace(0, top, 128)
    # Gray of the same brightness: three equal parts of red, green and blue light.
    gray = composite(np.tile(ramp / 3, (3, 1)), ["#ff0000", "#00ff00", "#0000ff"], top)
    scale.imshow(gray[None], extent=(0, top, 0, 1), aspect="auto", interpolation="nearest")
    scale.set(yticks=[], title="\n".join(wording.wrapped(label, 36)))
    scale.locator_params(axis="x", nbins=4)
    scale.set_box_aspect(0.12)
    if hatched:
        scale.set_xlabel("hatched: doubtful")


def _bar(ax: Any, names: Sequence[str], colors: Sequence[str]) -> None:
    share = np.linspace(0, 1, 96)
    ax.imshow(
        composite(np.stack([1 - share, share]), colors, 1.0)[:, None],
        extent=(0, 1, 0, 1),
        origin="lower",
        aspect="auto",
    )
    ax.set_box_aspect(3.2)
    ax.set_anchor("W")
    ax.set(xticks=[], yticks=[0, 0.5, 1])
    texts = look.legend_names(names, 24)
    ax.set_yticklabels([texts[0], "half each", texts[1]])
    ax.yaxis.tick_right()


def _triangle(ax: Any, names: Sequence[str], colors: Sequence[str]) -> None:
    size, tall = 160, np.sqrt(3) / 2
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, tall, size))
    third = y / tall
    second = x - third / 2
    shares = np.stack([1 - second - third, second, third])
    inside = (shares >= -1e-9).all(axis=0)
    pixels = np.ones((size, size, 4))
    pixels[..., :3] = composite(shares, colors, 1.0)
    pixels[..., 3] = inside
    ax.imshow(pixels, extent=(0, 1, 0, tall), origin="lower")
    ax.set_axis_off()
    texts = look.legend_names(names, 19)
    low = {"va": "top", "fontsize": 7}
    ax.text(0.0, -0.06, texts[0], ha="center", **low)
    ax.text(1.0, -0.06, texts[1], ha="center", **low)
    ax.text(0.5, tall + 0.04, texts[2], ha="center", va="bottom", fontsize=7)


def _swatches(ax: Any, names: Sequence[str], colors: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    pure = composite(np.eye(len(names)), colors, 1.0)
    handles = [
        Patch(facecolor=tuple(color), edgecolor=style.INK, linewidth=0.3, label=text)
        for color, text in zip(pure, look.legend_names(names, 28), strict=True)
    ]
    ax.set_axis_off()
    ax.legend(handles=handles, loc="center left", handlelength=1.0, handleheight=1.0)
