"""A movie through the photon energies: the image, and where on the spectra it was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.report import spectral_style as look
from operando.report import style, wording
from operando.report.movies import movie
from operando.report.spectral_overview import energy_unit, places_of
from operando.report.spectral_spectra import draw_spectra, spectra_of

_FRAMES = 80


@style.styled
def energy_frames(
    stack: xr.DataArray,
    spectra: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
    *,
    energies: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
    colors: Mapping[str, str] | None = None,
    width_mm: float = 120.0,
    dpi: int = 110,
    simulated: bool | None = None,
) -> list[np.ndarray]:
    """Draw one frame per photon energy: the image beside spectra with a cursor.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x)
        For example optical density; may be lazy: one image at a time is held.
    spectra : DataArray, dims (component, energy) or (energy,), or mapping of name to spectrum, optional
        Default the mean of every image drawn.
    energies : sequence of float, optional
        Which images, in eV; default all, ascending, or 80 evenly spread over them.
    limits : (float, float), optional
        Values drawn white and black, the same in all frames; default the percentiles 0.2 and 99.8 of ten images.
    colors : mapping of component to hex color, optional
    width_mm, dpi
        Of a frame.
    simulated : bool, optional
        Label the frames as simulated; default what the data say.

    Returns
    -------
    list of ndarray, uint8, shape (height, width, 3)
        All of one size, ascending in energy.

    Examples
    --------
    >>> stack = xr.DataArray(np.ones((3, 4, 6)), dims=("energy", "y", "x"), coords={"energy": [710.0, 708.0, 709.0]})
    >>> frames = energy_frames(stack, dpi=40)
    >>> len(frames), frames[0].shape == frames[2].shape
    (3, True)
    """
    where = "energy_frames"
    known, _ = look.energies_of(stack, where=where)
    if energies is None:
        order = np.argsort(known, kind="stable")
        places = [int(order[k]) for k in wording.spread_scans(known.size, _FRAMES)]
    else:
        places = sorted(places_of(stack, energies, where=where), key=lambda place: known[place])
    some = [places[k] for k in wording.spread_scans(len(places), 10)]
    low, high = limits or look.shared_limits([stack.isel(energy=place).values for place in some])
    if spectra is None:
        means = [float(stack.isel(energy=place).mean()) for place in places]
        spectra = xr.DataArray(
            means, dims="energy", coords={"energy": known[places]}, name="mean of the image", attrs=stack.attrs
        )
    first = look.plane_of(stack.isel(energy=places[0], drop=True), where=where)
    tall = min(max(0.5 * (width_mm - 24) * look.aspect_of(first), 46), 110)
    below = look.legend_layout(list(spectra_of(spectra, where=where)), width_mm / 2)[2]
    figure = style.new_figure(width_mm, tall + 8 + below)
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    shown = look.draw(left, first, (low, high), "gray_r")
    look.color_bar(shown, left, wording.array_label(stack, default="Optical density"), tall_mm=tall, extend="neither")
    draw_spectra(right, spectra, colors=colors, legend="below", width_mm=width_mm / 2, offset=0.0)
    cursor = right.axvline(known[places[0]], color=style.FLAG, lw=1.2)
    texts = look.energy_texts(known[places], unit=energy_unit(stack))
    title = left.set_title(texts[0], pad=3, fontweight="bold")
    given = list(spectra.values()) if isinstance(spectra, Mapping) else [spectra]
    look.finish(figure, True, simulated, stack, *given)
    frames = []
    for number, (place, text) in enumerate(zip(places, texts, strict=True)):
        shown.set_data(look.plane_of(stack.isel(energy=place, drop=True), where=where).values)
        cursor.set_xdata([known[place]] * 2)
        title.set_text(text)
        frames.append(style.rgb_array(figure, dpi=dpi))
        if number == 0:
            # The layout of the first frame is kept: panels must not jump, and fitting it takes most of the time.
            figure.set_layout_engine("none")
    return frames


def energy_movie(
    stack: xr.DataArray,
    path: str | Path,
    *,
    spectra: xr.DataArray | Mapping[str, xr.DataArray] | None = None,
    seconds_per_frame: float = 0.12,
    **options: Any,
) -> Path:
    """Save a movie through the photon energies.

    Parameters
    ----------
    stack : DataArray, dims (energy, y, x)
    path : path ending in .webp, .gif or .png
        As in :func:`operando.report.movie`; WebP is the smallest.
    spectra : DataArray or mapping, optional
        Drawn beside the image with a cursor; default the mean of every image.
    seconds_per_frame : float
    **options
        As in :func:`operando.report.energy_frames`.

    Returns
    -------
    Path

    Examples
    --------
    >>> import tempfile
    >>> stack = xr.DataArray(np.ones((2, 4, 6)), dims=("energy", "y", "x"), coords={"energy": [708.0, 709.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     energy_movie(stack, Path(folder) / "edge.webp", dpi=40).name
    'edge.webp'
    """
    return movie(energy_frames(stack, spectra, **options), path, seconds_per_frame=seconds_per_frame)
