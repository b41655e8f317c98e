"""Maps of what was unmixed: weights with their errors, lithiation with its error, misfit, ambiguity and flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.sections import plane_extent

_TALLEST_MM = 60.0
_VALUE, _SIGMA, _MISFIT, _DOUBT = "#00507D", "#882255", "#B36B00", "#009E73"


@style.styled
def weight_maps(
    unmixed: xr.Dataset,
    *,
    columns: int = 4,
    limits: tuple[float, float] | None = None,
    sigma_limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the map of every component with the map of its standard error below.

    Parameters
    ----------
    unmixed : Dataset of ``spectral.unmix``
        ``weight`` and, where known, ``weight_sigma``, dims (component, y, x). NaN is drawn gray.
    columns : int
        Components in a row at most.
    limits, sigma_limits : (float, float), optional
        Ends of the two color scales, which all components share; default from 0 to the 99.8th percentile of all weights
        and the 98th of all errors.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide or less where there are few components

    Raises
    ------
    InputError
        Where the Dataset has no weights.

    Examples
    --------
    >>> maps = xr.DataArray(np.ones((2, 4, 6)), dims=("component", "y", "x"), coords={"component": ["V2O5", "LiV2O5"]})
    >>> figure = weight_maps(xr.Dataset({"weight": maps, "weight_sigma": 0.1 * maps}))
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['V2O5', 'LiV2O5']
    """
    where = "weight_maps"
    weight = variable(unmixed, "weight", where=where)
    require_dims(weight, ("component", "y", "x"), where=where)
    sigma = unmixed.get("weight_sigma")
    names = look.component_names(weight)
    values = [look.plane_of(weight.isel(component=k, drop=True), where=where) for k in range(len(names))]
    errors = (
        []
        if sigma is None
        else [look.plane_of(sigma.isel(component=k, drop=True), where=where) for k in range(len(names))]
    )
    ends = limits or look.shared_limits([p.values for p in values], floor=0.0)
    error_ends = sigma_limits or look.shared_limits([p.values for p in errors] or [np.zeros(1)], percent=2.0, floor=0.0)
    across = max(1, min(columns, len(names)))
    rows, kinds = -(-len(names) // across), 1 + bool(errors)
    aspect = look.aspect_of(values[0])
    cell = min((style.DOUBLE_MM - 24) / across, _TALLEST_MM / aspect, (205 / (rows * kinds) - 5) / aspect)
    figure = style.new_figure(cell * across + 26, rows * kinds * (cell * aspect + 3) + rows * 8 + 4)
    grid = figure.subplots(rows * kinds, across, squeeze=False)
    shown: list[Any] = [None, None]
    for place, name in enumerate(names):
        row, column = divmod(place, across)
        pair: list[tuple[xr.DataArray, tuple[float, float], str]] = [(values[place], ends, _VALUE)]
        pair += [(errors[place], error_ends, _SIGMA)] if errors else []
        for kind, (plane, scale, color) in enumerate(pair):
            ax = grid[row * kinds + kind, column]
            shown[kind] = look.draw(ax, plane, scale, style.sequential_map(color), bar=place == kind == 0)
        grid[row * kinds, column].set_title("\n".join(wording.wrapped(name, cell)), pad=2.5)
    for ax in grid.ravel()[[not ax.has_data() for ax in grid.ravel()]]:
        ax.set_axis_off()
    unit = str(weight.attrs.get("units", "1"))
    for line in range(rows * kinds):
        label = wording.label_text(("Weight", "Standard error")[line % kinds], unit)
        look.color_bar(shown[line % kinds], list(grid[line]), label, tall_mm=cell * aspect, pad=0.01)
    return look.finish(figure, True, simulated, unmixed, weight)


def variable(data: xr.Dataset, name: str, *, where: str) -> xr.DataArray:
    """A variable of a Dataset, or the error that names those there are."""
    if name not in data:
        raise InputError(
            f"{where}: the Dataset must hold {name!r}, got {', '.join(map(str, data)) or 'nothing'}. "
            "Pass what the function of operando.spectral returned."
        )
    return data[name]


@style.styled
def map_with_uncertainty(
    value: xr.DataArray,
    sigma: xr.DataArray,
    *,
    label: str | None = None,
    limits: tuple[float, float] | None = None,
    sigma_limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
    doubtful: xr.DataArray | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw a map, its standard error and the distribution of both over the pixels.

    Parameters
    ----------
    value, sigma : DataArray, dims (y, x)
        For example lithiation and its standard error; NaN is left clear.
    label : str, optional
        Of the values, for example ``"x in Li_x V2O5"``; default from their attrs.
    limits, sigma_limits : (float, float), optional
        Ends of the color scales; default the percentiles 0.2 and 99.8, and 0 to the 98th percentile.
    cmap : str
        Color map of the values.
    doubtful : DataArray of bool, dims (y, x), optional
        Pixels to hatch in the map of the values.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide

    Examples
    --------
    >>> value = xr.DataArray(np.linspace(0, 1, 24).reshape(4, 6), dims=("y", "x"))
    >>> figure = map_with_uncertainty(value, 0.1 + 0 * value, label="x in Li_x V2O5")
    >>> figure.axes[2].get_xlabel(), figure.axes[2].get_ylabel()
    ('x in LiₓV₂O₅', 'Standard error')
    """
    where = "map_with_uncertainty"
    planes = [look.plane_of(array, where=where) for array in (value, sigma)]
    name = look.lithiation_label(value, label)
    ends = limits or look.shared_limits([planes[0].values])
    error_ends = sigma_limits or look.shared_limits([planes[1].values], percent=2.0, floor=0.0)
    aspect = look.aspect_of(planes[0])
    cell = min((style.DOUBLE_MM - 42) / 3, _TALLEST_MM / aspect)
    figure = style.new_figure(style.DOUBLE_MM, max(cell * aspect, 34) + 18)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 0.85])
    first = look.draw(axes[0], planes[0], ends, look.clear_map(cmap))
    second = look.draw(axes[1], planes[1], error_ends, look.error_map(_SIGMA), bar=False)
    if doubtful is not None:
        marked = look.plane_of(doubtful, where=where).values.astype(bool) & np.isfinite(planes[0].values)
        look.hatch(axes[0], marked, planes[0], color="white")
    tall = max(cell * aspect, 34)
    look.color_bar(first, axes[0], name, tall_mm=tall)
    look.color_bar(second, axes[1], "Standard error", tall_mm=tall)
    _density(axes[2], planes[0].values, planes[1].values, ends, error_ends)
    axes[2].set(xlabel="\n".join(wording.wrapped(name, cell)), ylabel="Standard error")
    style.panel_letters(axes[:2], indent=-8.0)
    style.panel_letters(axes[2:], start="c")
    return look.finish(figure, True, simulated, value, sigma)


def _density(
    ax: Any, values: np.ndarray, sigmas: np.ndarray, ends: tuple[float, float], top: tuple[float, float]
) -> None:
    known = np.isfinite(values) & np.isfinite(sigmas)
    if known.any():
        ax.hexbin(values[known], sigmas[known], gridsize=28, extent=(*ends, *top), mincnt=1, bins="log",
                  cmap=style.sequential_map(style.MUTED), linewidths=0)  # fmt: skip
    ax.set(xlim=ends, ylim=top)


@style.styled
def r_factor_map(
    unmixed: xr.Dataset | xr.DataArray,
    *,
    limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw how much of each pixel's spectrum the fit leaves unexplained.

    Parameters
    ----------
    unmixed : Dataset with ``r_factor``, or that map, dims (y, x)
        Sum of squared residuals over the sum of squared data, 0 to 1; drawn on a scale of powers of ten.
    limits : (float, float), optional
        Ends of the color scale; default the percentiles 0.2 and 99.8.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Notes
    -----
    Where there is no sample there is nothing to explain and the R-factor is near 1: that is no misfit.

    Examples
    --------
    >>> r_factor_map(xr.DataArray([[0.01, 0.1]], dims=("y", "x"))).axes[-1].get_ylabel()
    'R-factor'
    """
    from matplotlib.colors import LogNorm

    r_factor = variable(unmixed, "r_factor", where="r_factor_map") if isinstance(unmixed, xr.Dataset) else unmixed
    plane = look.plane_of(r_factor, where="r_factor_map")
    positive = np.where(plane.values > 0, plane.values, np.nan)
    low, high = limits or look.shared_limits([positive])
    low = max(low, 1e-4 * high)
    own, ax, tall = map_axes(ax, plane)
    shown = look.draw(ax, plane, (low, high), style.sequential_map(_MISFIT))
    # A fit without any residual has no logarithm.
    shown.set_data(np.where(np.isfinite(plane.values), np.maximum(plane.values, low / 10), np.nan))
    shown.set_norm(LogNorm(low, high))
    look.color_bar(shown, ax, "R-factor", tall_mm=tall)
    return look.finish(ax.figure, own, simulated, unmixed, r_factor)


@style.styled
def ambiguity_map(
    ambiguity: xr.Dataset | xr.DataArray,
    *,
    threshold: float | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the share of each pixel's thickness that another set of phases, fitting as well, assigns elsewhere.

    Parameters
    ----------
    ambiguity : Dataset with ``ambiguity``, or that map, dims (y, x), values 0 to 1
        NaN is drawn gray.
    threshold : float, optional
        Share from which pixels are hatched and counted.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> figure = ambiguity_map(xr.DataArray([[0.0, 0.6], [0.1, np.nan]], dims=("y", "x")), threshold=0.5)
    >>> figure.axes[0].get_title()
    'at least 0.5: 1 of 3 px (33.3 %)'
    """
    where = "ambiguity_map"
    share = variable(ambiguity, "ambiguity", where=where) if isinstance(ambiguity, xr.Dataset) else ambiguity
    plane = look.plane_of(share, where=where)
    own, ax, tall = map_axes(ax, plane)
    shown = look.draw(ax, plane, (0.0, 1.0), style.sequential_map(_DOUBT))
    if threshold is not None:
        above, known = plane.values >= threshold, int(np.isfinite(plane.values).sum())
        look.hatch(ax, above, plane)
        ax.set_title(f"at least {threshold:g}: {share_text(int(above.sum()), known)}", pad=3)
    look.color_bar(shown, ax, "Ambiguity (share of the thickness)", tall_mm=tall)
    return look.finish(ax.figure, own, simulated, ambiguity, share)


def share_text(count: int, total: int) -> str:
    """Spell a count of pixels and its share.

    Examples
    --------
    >>> share_text(1, 3), share_text(0, 0)
    ('1 of 3 px (33.3 %)', '0 of 0 px')
    """
    return f"{count} of {total} px" + (f" ({100 * count / total:.1f} %)" if total else "")


def map_axes(ax: Any, plane: xr.DataArray, *, below_mm: float = 12.0) -> tuple[bool, Any, float]:
    """Axes for one map with a color bar: whether they are new, the axes, and how tall the map is, in mm."""
    tall = min((style.SINGLE_MM - 22) * look.aspect_of(plane), 90.0)
    own = ax is None
    ax = style.axes_of(ax, width_mm=style.SINGLE_MM, height_mm=max(tall, 26) + below_mm)
    return own, ax, max(tall, 26.0)


@style.styled
def flag_map(
    flags: xr.Dataset,
    *,
    image: xr.DataArray | None = None,
    mask: xr.DataArray | None = None,
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw why pixels are doubted, one color per reason, with their number.

    Parameters
    ----------
    flags : Dataset of bool maps, dims (y, x)
        Such as ``boundary``, ``thick``, ``missing_reference`` of ``spectral.flags``; each is a reason.
    image : DataArray, dims (y, x), optional
        Shown in gray below, for example the thickness.
    mask : DataArray of bool, dims (y, x), optional
        Pixels of the sample, of which shares are taken; default where ``image`` is finite, or all.
    colors : mapping of flag to hex color, optional
    simulated : bool, optional
        Label the figure as simulated; default what the data say.
    ax : Axes, optional
        Default a new figure, 88 mm wide.

    Returns
    -------
    matplotlib Figure
        Pixels with more than one reason are black; the number of each reason counts them too.

    Raises
    ------
    InputError
        Where there is no flag.

    Examples
    --------
    >>> edge = xr.DataArray([[True, False], [False, False]], dims=("y", "x"))
    >>> figure = flag_map(xr.Dataset({"boundary": edge, "thick": edge}))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['boundary: 1 px (25.0 %)', 'thick: 1 px (25.0 %)', 'several: 1 px (25.0 %)']
    """
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    where = "flag_map"
    planes = {
        str(name): look.plane_of(flag, where=where)
        for name, flag in flags.items()
        if flag.dtype == bool and set(flag.dims) == {"y", "x"}
    }
    if not planes:
        raise InputError(
            f"{where}: at least one map of bool (y, x) is needed, got {', '.join(map(str, flags)) or 'nothing'}."
        )
    first = next(iter(planes.values()))
    marked = {name: plane.values for name, plane in planes.items()}
    inside = np.ones(first.shape, dtype=bool)
    under = None if image is None else look.plane_of(image, where=where)
    if mask is not None:
        inside = look.plane_of(mask, where=where).values.astype(bool)
    elif under is not None:
        inside = np.isfinite(under.values)
    several = np.sum(list(marked.values()), axis=0) > 1
    tints = {
        **look.FLAG_COLORS,
        **look.component_colors([n for n in marked if n not in look.FLAG_COLORS]),
        **(colors or {}),
    }
    pixels = np.zeros((*first.shape, 4))
    for name, flag in [*marked.items(), ("several", several)]:
        pixels[flag] = to_rgba(tints[name], 0.9)
    own, ax, _ = map_axes(ax, first, below_mm=7 + 3.6 * (len(marked) + bool(several.any())))
    extent = plane_extent(first)[0]
    if under is not None:
        look.draw(
            ax,
            under,
            look.shared_limits([under.values]),
            style.matplotlib().colormaps["gray_r"].with_extremes(bad="white"),
            bar=False,
        )
    ax.imshow(pixels, extent=extent, origin="lower", interpolation="nearest")
    look.frame(ax)
    style.add_scale_bar(ax, unit=look.plane_unit(first), color="black")
    listed = {**marked, **({"several": several} if several.any() else {})}
    total = int(inside.sum())
    handles = []
    for name, flag in listed.items():
        share = f" ({100 * int((flag & inside).sum()) / total:.1f} %)" if total else ""
        handles.append(
            Patch(facecolor=tints[name], label=f"{name.replace('_', ' ')}: {int((flag & inside).sum())} px{share}")
        )
    if own:
        ax.figure.legend(handles=handles, loc="outside lower center", ncols=1, handlelength=1.0, handleheight=1.0)
    else:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), handlelength=1.0, handleheight=1.0)
    return look.finish(ax.figure, own, simulated, flags, image)
