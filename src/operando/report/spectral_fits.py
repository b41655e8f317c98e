"""Spectra with their fit, at a pixel, over a region or in a cluster: data, parts, background, residual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.maps import draw_map
from operando.report.spectral_overview import energy_unit

_BACKGROUND = "#8A949E"


def spectrum_at(
    optical_density: xr.DataArray,
    unmixed: xr.Dataset,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    at: Sequence[float] | None = None,
    region: xr.DataArray | None = None,
    sigma: xr.DataArray | None = None,
) -> xr.Dataset:
    """What there is to draw at one place: data, fit and the parts of the fit.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, y, x), or (energy,) for a single spectrum
        What was unmixed. May be lazy: only the place is computed.
    unmixed : Dataset of ``spectral.unmix``
    references : DataArray, dims (component, energy), or mapping of name to spectrum
        What it was unmixed with.
    at : (float, float), optional
        Position y, x in the unit of the axes; the nearest pixel is taken.
    region : DataArray of bool, dims (y, x), optional
        Pixels to average over, such as those of a cluster; those without a fit are left out.
    sigma : DataArray, dims (energy, y, x), optional
        Standard error of the optical density; that of a mean takes pixels as independent.

    Returns
    -------
    Dataset
        ``measured``, ``fit``, ``background`` (energy), ``part`` (component, energy), ``sigma`` (energy) where it is
        given; energies ascending. ``attrs["title"]`` names the place.

    Raises
    ------
    InputError
        Where neither or both of ``at`` and ``region`` are given for a stack, or the region holds no fitted pixel.

    Notes
    -----
    The mean of fits is the fit of the mean weights, because a fit is linear in them.
    """
    from operando.spectral import fitted, match_energies

    where = "spectrum_at"
    energies, _ = look.energies_of(optical_density, where=where)
    if set(optical_density.dims) == {"energy"}:
        title, measured, weights, error = "", optical_density, unmixed, sigma
    elif (at is None) == (region is None):
        got = "both" if at is not None else "neither"
        raise InputError(f"{where}: one of at=(y, x) and region must be given, got {got}. Pass one place.")
    elif at is not None:
        place, title = _nearest(optical_density, at, where=where)
        measured, weights = optical_density.isel(place, drop=True), unmixed.isel(place, drop=True)
        error = None if sigma is None else sigma.isel(place, drop=True)
    else:
        inside = _inside(region, unmixed, where=where)
        count = int(inside.sum())
        title = f"mean of {count} px"
        measured, weights = _mean(optical_density, inside), _mean(unmixed, inside)
        error = None if sigma is None else np.sqrt(_mean(sigma**2, inside) / count)
    spectra = match_energies(references, energies)
    spectra = spectra.assign_coords(component=look.component_names(unmixed["weight"]))
    parts = weights["weight"].assign_coords(component=spectra["component"]) * spectra
    whole = np.asarray(fitted(weights, spectra).values, dtype=float).reshape(-1)
    out = xr.Dataset(
        {
            "measured": ("energy", np.asarray(measured.values, dtype=float)),
            "fit": ("energy", whole),
            "part": parts.transpose("component", "energy"),
            "background": ("energy", whole - np.asarray(parts.sum("component").values, dtype=float)),
        },
        coords={"energy": ("energy", energies, {"units": energy_unit(optical_density)})},
        attrs={"title": title, "simulated": style.is_simulated(optical_density, unmixed)},
    )
    if error is not None:
        out["sigma"] = ("energy", np.asarray(error.values, dtype=float))
    return out.sortby("energy")


def _nearest(stack: xr.DataArray, at: Sequence[float], *, where: str) -> tuple[dict[str, int], str]:
    if len(at) != 2:
        raise InputError(f"{where}: at must be the position (y, x), got {tuple(at)}.")
    place: dict[str, int] = {}
    texts = []
    for dim, wanted in zip(("y", "x"), at, strict=True):
        known = np.asarray(stack[dim].values, dtype=float)
        half = 0.5 * abs(known[-1] - known[0]) / max(known.size - 1, 1) if known.size > 1 else np.inf
        if not known.min() - half - 1e-9 <= wanted <= known.max() + half + 1e-9:
            raise InputError(
                f"{where}: at must lie within the image, {known.min():g} to {known.max():g} along {dim}, got "
                f"{wanted:g}. Give the position in the unit of the axes."
            )
        place[dim] = int(np.abs(known - wanted).argmin())
        unit = str(stack[dim].attrs.get("units", "px"))
        texts.append(f"{dim} {known[place[dim]]:.4g} {wording.unit_text(unit)}".strip())
    return place, ", ".join(texts)


def _inside(region: xr.DataArray | None, unmixed: xr.Dataset, *, where: str) -> xr.DataArray:
    known = look.finite(unmixed["weight"]).all("component")
    inside = (known & np.asarray(region.transpose("y", "x").astype(bool))).compute() if region is not None else known
    if not bool(inside.any()):
        raise InputError(f"{where}: the region must hold a pixel with a fit, got none. Choose another region.")
    return inside


def _mean(data: Any, inside: xr.DataArray) -> Any:
    """Mean over the pixels of a region: only the smallest rectangle around them is computed."""
    rows, columns = (np.flatnonzero(inside.any(dim)) for dim in ("x", "y"))
    box = {"y": slice(rows[0], rows[-1] + 1), "x": slice(columns[0], columns[-1] + 1)}
    mask = xr.DataArray(inside.isel(box).values, dims=("y", "x"))
    if isinstance(data, xr.Dataset):
        others = [str(name) for name, values in data.items() if not {"y", "x"} <= set(values.dims)]
        return data.drop_vars(others).isel(box).where(mask).mean(("y", "x"), keep_attrs=True)
    return data.isel(box).where(mask).mean(("y", "x"), keep_attrs=True)


@style.styled
def spectrum_with_fit(
    optical_density: xr.DataArray,
    unmixed: xr.Dataset,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    at: Sequence[float] | None = None,
    region: xr.DataArray | None = None,
    sigma: xr.DataArray | None = None,
    title: str | None = None,
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw the spectrum of a pixel, a region or a cluster with its fit, the parts of the fit and the residual.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, y, x), or (energy,) for a single spectrum
    unmixed : Dataset of ``spectral.unmix``
    references : DataArray, dims (component, energy), or mapping of name to spectrum
    at : (float, float), optional
        Position y, x in the unit of the axes.
    region : DataArray of bool, dims (y, x), optional
        Pixels to average over, for example ``clusters["label"] == 2``.
    sigma : DataArray, dims of ``optical_density``, optional
        Standard error: bars of one sigma, and the residual in units of it. Else the residual is an optical density.
    title : str, optional
        Default the position, or the number of pixels averaged.
    colors : mapping of component to hex color, optional
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 88 mm wide

    Raises
    ------
    InputError
        Where neither or both of ``at`` and ``region`` are given for a stack, or the place lies outside.

    Notes
    -----
    The gray band of the residual is 95 % (1.96 sigma): one energy in twenty lies outside it by chance. A run of
    residuals on one side means a spectrum that the references do not hold, an energy scale that is off, or saturation.

    Examples
    --------
    >>> energy = [708.0, 709.0, 710.0, 711.0]
    >>> spectra = xr.DataArray([[0.0, 1, 0, 0], [0, 0, 1, 0]], dims=("component", "energy"),
    ...     coords={"component": ["Fe(II)", "Fe(III)"], "energy": energy})
    >>> data = xr.DataArray([0.0, 2.0, 1.0, 0.1], dims="energy", coords={"energy": energy})
    >>> from operando.spectral import unmix
    >>> figure = spectrum_with_fit(data, unmix(data, spectra), spectra)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['measured', 'fit', 'Fe(II)', 'Fe(III)']
    """
    spectrum = spectrum_at(optical_density, unmixed, references, at=at, region=region, sigma=sigma)
    figure = style.new_figure(style.SINGLE_MM, 76)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    handles = draw_fit(upper, lower, spectrum, colors=colors)
    upper.set_title(spectrum.attrs["title"] if title is None else title)
    fit_legend(figure, handles)
    return look.finish(figure, True, simulated, spectrum)


def draw_fit(
    upper: Any, lower: Any, spectrum: xr.Dataset, *, colors: Mapping[str, str] | None = None, labels: bool = True
) -> list[Any]:
    """Draw what :func:`spectrum_at` gave into two axes; returns the handles of a legend."""
    energy, label = look.energies_of(spectrum["measured"], where="spectrum_with_fit")
    measured, fit = spectrum["measured"].values, spectrum["fit"].values
    names = look.component_names(spectrum)
    tints = look.component_colors(names, colors)
    sigma = spectrum["sigma"].values if "sigma" in spectrum else None
    marks = {"color": style.MUTED, "marker": "o", "ms": 2.0, "ls": "none", "mew": 0, "zorder": 2}
    data = upper.errorbar(energy, measured, yerr=sigma, elinewidth=0.5, capsize=0, label="measured", **marks)
    handles = [data, *upper.plot(energy, fit, color=style.INK, lw=1.1, label="fit", zorder=4)]
    for place, name in enumerate(names):
        part = spectrum["part"].isel(component=place).values
        handles += upper.plot(energy, part, color=tints[name], ls=look.line_style(place), lw=0.9, label=name, zorder=3)
    if np.abs(spectrum["background"].values).max(initial=0) > 1e-9 * max(float(np.nanmax(np.abs(fit))), 1e-30):
        handles += upper.plot(
            energy, spectrum["background"].values, color=_BACKGROUND, ls=(0, (5, 2)), lw=0.8, label="background"
        )
    rest = measured - fit
    if sigma is not None:
        rest = np.divide(rest, sigma, out=np.full_like(rest, np.nan), where=sigma > 0)
        lower.axhspan(-1.96, 1.96, color=style.GRID, lw=0, zorder=0)
    lower.axhline(0, color=style.INK, lw=0.6)
    lower.plot(energy, rest, color=style.MUTED, marker="o", ms=1.8, lw=0.6, mew=0)
    half = 1.08 * max(float(np.nanmax(np.abs(rest), initial=0)), 2.6 if sigma is not None else 1e-6)
    lower.set_ylim(-half, half)
    upper.grid(True, axis="y")
    upper.margins(x=0.015)
    upper.tick_params(labelbottom=False)
    if labels:
        upper.set_ylabel("Optical density")
        lower.set_ylabel("Residual\n[sigma]" if sigma is not None else "Residual\n[OD]")
        lower.set_xlabel(label)
    return handles


def fit_legend(figure: Any, handles: Sequence[Any], *, width_mm: float = style.SINGLE_MM) -> None:
    """Legend of a fit below its panels, for which the figure is made taller."""
    texts, columns, tall = look.legend_layout([str(handle.get_label()) for handle in handles], width_mm, most=7)
    figure.set_figheight(figure.get_figheight() + tall / 25.4)
    figure.legend(handles=list(handles), labels=texts, loc="outside lower center", ncols=columns)


@style.styled
def spectra_with_fit(
    optical_density: xr.DataArray,
    unmixed: xr.Dataset,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    at: Sequence[Sequence[float]] = (),
    regions: Mapping[str, xr.DataArray] | None = None,
    sigma: xr.DataArray | None = None,
    image: xr.DataArray | None = None,
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw spectra with their fits at several pixels and regions, and a map of where they are.

    Parameters
    ----------
    optical_density, unmixed, references, sigma, colors
        As in :func:`spectrum_with_fit`.
    at : sequence of (float, float), optional
        Positions y, x in the unit of the axes; numbered in the map.
    regions : mapping of name to DataArray of bool (y, x), optional
        Regions to average over; outlined in the map.
    image : DataArray, dims (y, x), optional
        The map; default the thickness, the sum of the weights.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        The first panel is the map; the others share one axis of energy, not one of optical density.

    Raises
    ------
    InputError
        Where there is no place, more than eleven, or one lies outside.
    """
    where = "spectra_with_fit"
    named = dict(regions or {})
    count = len(at) + len(named)
    if not 1 <= count <= _MOST:
        raise InputError(f"{where}: one to {_MOST} places can be drawn, got {count}. Pass at or regions.")
    spectra = [spectrum_at(optical_density, unmixed, references, at=place, sigma=sigma) for place in at]
    spectra += [spectrum_at(optical_density, unmixed, references, region=one, sigma=sigma) for one in named.values()]
    titles = [f"{k + 1}:  {one.attrs['title']}" for k, one in enumerate(spectra[: len(at)])]
    titles += [f"{name}: {one.attrs['title']}" for name, one in zip(named, spectra[len(at) :], strict=True)]
    across = 3 if count > 1 else 2
    rows = -(-(count + 1) // across)
    figure = style.new_figure(style.DOUBLE_MM, 54 * rows)
    grid = figure.add_gridspec(rows, across)
    _draw_places(figure.add_subplot(grid[0, 0]), image, unmixed, at, named, colors=colors, where=where)
    handles: list[Any] = []
    for place, (spectrum, title) in enumerate(zip(spectra, titles, strict=True), start=1):
        row, column = divmod(place, across)
        cell = grid[row, column].subgridspec(2, 1, height_ratios=[2.6, 1], hspace=0.06)
        upper = figure.add_subplot(cell[0])
        lower = figure.add_subplot(cell[1], sharex=upper)
        handles = draw_fit(upper, lower, spectrum, colors=colors)
        upper.set_title("\n".join(wording.wrapped(title, 42)), pad=2.5)
    fit_legend(figure, handles, width_mm=style.DOUBLE_MM)
    return look.finish(figure, True, simulated, optical_density, unmixed)


_MOST = 11


def _draw_places(
    ax: Any,
    image: xr.DataArray | None,
    unmixed: xr.Dataset,
    at: Sequence[Sequence[float]],
    regions: Mapping[str, xr.DataArray],
    *,
    colors: Mapping[str, str] | None,
    where: str,
) -> None:
    from matplotlib.patheffects import withStroke

    plane = look.plane_of(unmixed["weight"].sum("component") if image is None else image, where=where)
    draw_map(ax, plane, *look.shared_limits([plane.values]), style.matplotlib().colormaps["gray_r"])
    style.add_scale_bar(ax, unit=look.plane_unit(plane), color="black")
    edge = [withStroke(linewidth=1.6, foreground="white")]
    for number, (y, x) in enumerate(at, start=1):
        ax.plot(x, y, marker="o", ms=4, mfc="none", mec=style.FLAG, mew=1.0, path_effects=edge)
        ax.annotate(str(number), (x, y), xytext=(4, 2), textcoords="offset points", color=style.FLAG, path_effects=edge)
    tints = look.component_colors(regions, colors)
    for name, region in regions.items():
        look.outline(ax, look.plane_of(region, where=where).values.astype(bool), plane, color=tints[name])
        ax.plot([], [], color=tints[name], label=name)
    if regions:
        texts, columns, _ = look.legend_layout(list(regions), 54)
        look.legend_below(ax, texts, columns, points=3.0)
