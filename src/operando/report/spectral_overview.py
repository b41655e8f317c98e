"""Images over photon energy, reference spectra and the map of lithiation on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.spectral_spectra import draw_spectra, spectra_of

_TALLEST_MM = 62.0


@style.styled
def spectral_overview(
    optical_density: xr.DataArray,
    references: xr.DataArray,
    lithiation: xr.DataArray,
    *,
    energies: Sequence[float] | None = None,
    count: int = 5,
    limits: tuple[float, float] | None = None,
    lithiation_limits: tuple[float, float] | None = None,
    label: str | None = None,
    cmap: str = "viridis",
    colors: Mapping[str, str] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw images over energy, reference spectra and the lithiation map (Mistry 2022, Fig. 1).

    Parameters
    ----------
    optical_density : DataArray, dims (energy, y, x), units "1"
        Energies in eV, in any order; may be lazy. The images drawn share one scale of gray.
    references : DataArray, dims (component, energy)
        Spectra of pure phases; their energies need not be those of the images.
    lithiation : DataArray, dims (y, x)
        x in Li_x M; NaN is left clear.
    energies : sequence of float, optional
        Which images to show, in eV; the nearest are taken. Default: ``count`` of them, the first, the last and those at
        the most prominent maxima of the references.
    count : int
        How many images where ``energies`` are not given.
    limits : (float, float), optional
        Optical density drawn white and black; default the percentiles 0.2 and 99.8 of the images drawn.
    lithiation_limits : (float, float), optional
        Ends of the color scale of the map; default the percentiles 0.2 and 99.8.
    label : str, optional
        Of the color bar, for example ``"x in Li_x V2O5"``; default from the attrs of ``lithiation``.
    cmap : str
        Color map of the lithiation.
    colors : mapping of component to hex color, optional
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure, 180 mm wide
        a: images, dark where much is absorbed. b: reference spectra with the energies of the images. c: lithiation.

    Raises
    ------
    AxesError
        Where a dim is missing.
    InputError
        Where no image is asked for.

    Notes
    -----
    Holds the images drawn and nothing else of a lazy stack.

    Examples
    --------
    >>> stack = xr.DataArray(np.ones((4, 6, 8)), dims=("energy", "y", "x"), coords={"energy": [510.0, 515, 517, 530]})
    >>> spectra = xr.DataArray(np.eye(2, 4), dims=("component", "energy"), coords={"energy": stack.energy})
    >>> figure = spectral_overview(stack, spectra, stack[0], count=3, label="x in Li_x V2O5")
    >>> [ax.get_title() for ax in figure.axes[:3]], figure.axes[-1].get_ylabel()
    (['510.0 eV', '517.0 eV', '530.0 eV'], 'x in LiₓV₂O₅')
    """
    where = "spectral_overview"
    if energies is not None:
        chosen = places_of(optical_density, energies, where=where)
    else:
        chosen = look.spread_energies(optical_density, count, spectra=references, where=where)
    shown_at = look.energies_of(optical_density, where=where)[0][chosen]
    planes = [look.plane_of(optical_density.isel(energy=place, drop=True), where=where) for place in chosen]
    plane = look.plane_of(lithiation, where=where)
    aspect = look.aspect_of(planes[0])
    columns = len(planes)
    cell = min((style.DOUBLE_MM - 16) / columns, _TALLEST_MM / aspect)
    below = min(max((style.DOUBLE_MM * 0.42 - 16) * look.aspect_of(plane), 42), 72)
    legend = look.legend_layout(list(spectra_of(references, where=where)), 88)[2]
    figure = style.new_figure(style.DOUBLE_MM, cell * aspect + below + legend + 20)
    upper, lower = figure.subfigures(2, 1, height_ratios=[cell * aspect + 9, below + legend + 11])
    axes = upper.subplots(1, columns, squeeze=False)[0]
    low, high = limits or look.shared_limits([p.values for p in planes])
    shown = None
    for ax, image, text in zip(
        axes, planes, look.energy_texts(shown_at, unit=energy_unit(optical_density)), strict=True
    ):
        shown = look.draw(ax, image, (low, high), "gray_r", bar=ax is axes[0])
        ax.set_title(text, pad=2.5)
    look.color_bar(
        shown, list(axes), wording.array_label(optical_density, default="Optical density"), tall_mm=cell * aspect
    )
    left, right = lower.subplots(1, 2, width_ratios=[1.25, 1])
    draw_spectra(left, references, marks=shown_at, colors=colors, legend="below", width_mm=88)
    ends = lithiation_limits or look.shared_limits([plane.values])
    drawn = look.draw(right, plane, ends, look.clear_map(cmap))
    look.color_bar(drawn, right, look.lithiation_label(lithiation, label), tall_mm=below)
    for ax, letter, indent in ((axes[0], "a", -6.0), (left, "b", -22.0), (right, "c", -8.0)):
        style.panel_letters([ax], start=letter, indent=indent)
    return look.finish(figure, True, simulated, optical_density, references, lithiation)


def places_of(stack: xr.DataArray, energies: Sequence[float], *, where: str) -> list[int]:
    """Places of the images nearest to these energies, each once, in their order.

    Examples
    --------
    >>> stack = xr.DataArray(np.zeros(3), dims="energy", coords={"energy": [700.0, 708.0, 710.0]})
    >>> places_of(stack, [711.0, 707.0, 708.4], where="here")
    [2, 1]
    """
    known, _ = look.energies_of(stack, where=where)
    wanted = [float(energy) for energy in np.atleast_1d(np.asarray(energies, dtype=float))]
    if not wanted or not np.isfinite(wanted).all():
        raise InputError(f"{where}: energies must be at least one finite number in eV, got {list(energies)}.")
    return list(dict.fromkeys(int(np.abs(known - energy).argmin()) for energy in wanted))


def energy_unit(stack: xr.DataArray) -> str:
    """Unit of the photon energy, empty where the images are only numbered."""
    return str(stack.coords["energy"].attrs.get("units", "eV")) if "energy" in stack.coords else ""
