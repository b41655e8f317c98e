"""What a stack holds before any reference: clusters of spectra, the number of components, references that are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.core.phases import UNLABELED
from operando.report import spectral_style as look
from operando.report import style
from operando.report.sections import plane_extent
from operando.report.spectral_maps import variable
from operando.report.spectral_spectra import draw_spectra

_CLOSE_DEG = 10.0


@style.styled
def cluster_map(
    clusters: xr.Dataset,
    *,
    matches: Sequence[str] | Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw where clusters are and their mean spectra, each named with its best match.

    Parameters
    ----------
    clusters : Dataset of ``spectral.cluster``
        ``label`` (y, x) uint8, 255 where there is none (left white); ``spectrum`` (component, energy); where known
        ``spectrum_sigma`` and ``fraction``.
    matches : sequence of str in the order of the clusters, or mapping of cluster to str, optional
        What each spectrum is, in words, for example *Fe(II) 0.6 + Fe(III) 0.4* or *no reference*.
    colors : mapping of cluster to hex color, optional
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Raises
    ------
    InputError
        Where the matches are not as many as the clusters.

    Examples
    --------
    >>> groups = xr.Dataset({"label": (("y", "x"), np.array([[0, 1, 255]], dtype=np.uint8)),
    ...     "spectrum": (("component", "energy"), np.eye(2))}, coords={"energy": [708.0, 710.0]})
    >>> figure = cluster_map(groups, matches=["Fe(II)", "Fe(III)"])
    >>> [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    ['component 0: Fe(II)', 'component 1: Fe(III)']
    """
    where = "cluster_map"
    label, spectrum = (variable(clusters, name, where=where) for name in ("label", "spectrum"))
    names = look.component_names(spectrum)
    texts = _matched(names, matches, where=where)
    tints = list(look.component_colors(names, colors).values())
    plane = look.plane_of(label, where=where)
    tall = min(78 * look.aspect_of(plane), 90.0)
    below = look.legend_layout(texts, 96, most=1)[2]
    figure = style.new_figure(style.DOUBLE_MM, max(min(tall, 70.0), 52) + 12 + below)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    pixels = np.zeros((*plane.shape, 4))
    for number, tint in enumerate(tints):
        pixels[plane.values == number] = _rgba(tint)
    left.imshow(pixels, extent=plane_extent(plane)[0], origin="lower", interpolation="nearest")
    look.frame(left)
    style.add_scale_bar(left, unit=look.plane_unit(plane), color="black")
    none = int((plane.values == UNLABELED).sum())
    left.set_xlabel(f"white: {100 * none / plane.size:.0f} % in no cluster" if none else "")
    shown = spectrum.assign_coords(component=texts)
    sigma = clusters.get("spectrum_sigma")
    draw_spectra(
        right,
        shown,
        sigma=None if sigma is None else sigma.assign_coords(component=texts),
        colors=dict(zip(texts, tints, strict=True)),
        legend="column",
        width_mm=96,
    )
    return look.finish(figure, True, simulated, clusters, label)


def _rgba(color: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    return tuple(to_rgba(color))


def _matched(names: Sequence[str], matches: Sequence[str] | Mapping[str, str] | None, *, where: str) -> list[str]:
    if matches is None:
        return list(names)
    if isinstance(matches, Mapping):
        return [f"{name}: {matches[name]}" if name in matches else name for name in names]
    if len(matches) != len(names):
        raise InputError(f"{where}: one match per cluster is needed, got {len(matches)} for {len(names)}.")
    return [f"{name}: {match}" for name, match in zip(names, matches, strict=True)]


@style.styled
def scree_plot(
    components: xr.Dataset | xr.DataArray,
    *,
    chosen: int | None = None,
    noise: float | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the variance of every principal component and how many were taken for more than noise.

    Parameters
    ----------
    components : Dataset with ``variance``, or that array, dim (component,)
        Of ``spectral.components``; drawn on a scale of powers of ten.
    chosen : int, optional
        Number of components that were kept.
    noise : float, optional
        Variance that noise alone reaches.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> scree_plot(xr.DataArray([4.0, 2.0, 0.1], dims="component"), chosen=2).axes[0].get_title()
    '2 components above the noise'
    """
    where = "scree_plot"
    variance = variable(components, "variance", where=where) if isinstance(components, xr.Dataset) else components
    require_dims(variance, ("component",), where=where)
    values = np.asarray(variance.values, dtype=float)
    number = np.arange(1, values.size + 1)
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=52)
    kept = number <= (values.size if chosen is None else chosen)
    positive = values > 0
    ax.plot(number[positive], values[positive], color=style.MUTED, lw=0.8, zorder=1)
    ax.plot(number[kept & positive], values[kept & positive], "o", color=look.PHASE_COLORS[0], ms=4)
    ax.plot(number[~kept & positive], values[~kept & positive], "o", color=style.MUTED, mfc="white", ms=4)
    if noise is not None:
        ax.axhline(noise, color=style.FLAG, lw=0.8, ls="--", label="noise")
        ax.legend()
    if chosen is not None:
        ax.axvline(chosen + 0.5, color=style.MUTED, lw=0.7, ls=(0, (2, 1.5)))
        ax.set_title(f"{chosen} component{'' if chosen == 1 else 's'} above the noise", pad=3)
    if positive.any():
        ax.set_yscale("log")
    ax.set(xlabel="Component", ylabel="Variance")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(True, axis="y")
    return look.finish(ax.figure, own, simulated, components, variance)


@style.styled
def reference_collinearity(
    found: xr.Dataset | xr.DataArray,
    *,
    close: float = _CLOSE_DEG,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the angle between every two references: the smaller, the less a fit can tell them apart.

    Parameters
    ----------
    found : Dataset of ``spectral.collinearity``, or its ``angle``, dims (component, component_other), degrees
    close : float
        Angle below which a pair is framed.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, as wide as the references need, at most 180 mm.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> angle = xr.DataArray([[0.0, 8.0], [8.0, 0.0]], dims=("component", "component_other"),
    ...     coords={"component": ["VO2", "V2O3"]})
    >>> [text.get_text() for text in reference_collinearity(angle).axes[0].texts]
    ['8.0°']
    """
    from matplotlib.colors import PowerNorm

    where = "reference_collinearity"
    angle = variable(found, "angle", where=where) if isinstance(found, xr.Dataset) else found
    require_dims(angle, ("component", "component_other"), where=where)
    names = look.component_names(angle)
    values = np.asarray(angle.transpose("component", "component_other").values, dtype=float)
    count = len(names)
    side = min(16.0, 110.0 / max(count, 2)) * count
    own = ax is None
    ax = style.axes_of(ax, width_mm=min(side + 64, style.DOUBLE_MM), height_mm=side + 30)
    lower = np.where(np.tril(np.ones_like(values, dtype=bool), -1), values, np.nan)
    # Alike is dark: that is what a reader looks for.
    cmap = style.sequential_map("#882255").reversed().with_extremes(bad=(1.0, 1.0, 1.0, 0.0))
    # Angles that matter are small: the scale gives them more room.
    shown = ax.imshow(lower, cmap=cmap, norm=PowerNorm(0.5, vmin=0, vmax=90))
    for row, column in zip(*np.nonzero(np.isfinite(lower)), strict=True):
        dark = lower[row, column] < 20
        ax.text(column, row, f"{lower[row, column]:.1f}°", ha="center", va="center", fontsize=7,
                color="white" if dark else style.INK)  # fmt: skip
        if lower[row, column] < close:
            ax.add_patch(_frame(column, row))
    ax.set_xticks(range(count), look.legend_names(names, 26), rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), look.legend_names(names, 30))
    ax.tick_params(length=0)
    # The first row and the last column of half a matrix are empty.
    if count > 1:
        ax.set(xlim=(-0.5, count - 1.5), ylim=(count - 0.5, 0.5))
    for spine in ax.spines.values():
        spine.set_visible(False)
    look.color_bar(shown, ax, "Angle between references [°]", tall_mm=side)
    closest = int((lower < close).sum())
    if count > 1:
        ax.set_title(f"{closest} pair{'' if closest == 1 else 's'} closer than {close:g}°", pad=4)
    return look.finish(ax.figure, own, simulated, found, angle)


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=style.FLAG, linewidth=1.2)
