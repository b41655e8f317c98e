"""Complex images of ptychography: amplitude and phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError
from operando.report import spectral_style as look
from operando.report import style
from operando.report.spectral_overview import energy_unit, places_of

_MOST = 6


@style.styled
def complex_image(
    image: xr.DataArray,
    *,
    energies: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
    phase_limits: tuple[float, float] | None = None,
    simulated: bool | None = None,
) -> Any:
    """Draw amplitude and phase of a complex image, such as ptychography gives.

    Parameters
    ----------
    image : DataArray of complex numbers, dims ([energy,] y, x)
        Transmission of the object; NaN is left clear. May be lazy: only the images drawn are computed.
    energies : sequence of float, optional
        Which images, in eV, the nearest are taken; default at most four, evenly spread.
    limits : (float, float), optional
        Amplitudes drawn black and white; default the percentiles 0.2 and 99.8 of the images drawn.
    phase_limits : (float, float), optional
        Phases, in rad, at the ends of the color scale. Default a full turn on a scale that closes on itself, unless all
        phases but 0.4 % lie within a third of a turn: then these, on a scale of gray.
    simulated : bool, optional
        Label the figure as simulated; default what the data say.

    Returns
    -------
    matplotlib Figure
        A column per energy; amplitude above, phase below.

    Raises
    ------
    InputError
        Where the image is not complex, or more than six energies are asked for.

    Notes
    -----
    A phase has no zero of its own: only differences within an image mean something.

    Examples
    --------
    >>> turn = xr.DataArray(np.exp(1j * np.linspace(-3, 3, 12)).reshape(3, 4), dims=("y", "x"))
    >>> figure = complex_image(turn)
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['', '', 'Amplitude', 'Phase [rad]']
    """
    where = "complex_image"
    require_dims(image, ("y", "x"), where=where, optional=("energy",))
    if not np.issubdtype(image.dtype, np.complexfloating):
        raise InputError(
            f"{where}: an image of complex numbers is needed, got {image.dtype}. Draw it as a map instead."
        )
    if "energy" in image.dims:
        stack = image
        places = (
            [
                int(p)
                for p in np.unique(np.linspace(0, image.sizes["energy"] - 1, min(4, image.sizes["energy"])).round())
            ]
            if energies is None
            else places_of(image, energies, where=where)
        )
        if len(places) > _MOST:
            raise InputError(f"{where}: at most {_MOST} energies can be drawn, got {len(places)}. Choose fewer.")
        titles = look.energy_texts(look.energies_of(image, where=where)[0][places], unit=energy_unit(image))
        planes = [look.plane_of(stack.isel(energy=place, drop=True), where=where) for place in places]
    else:
        planes, titles = [look.plane_of(image, where=where)], [""]
    amplitude, phase = (
        [plane.copy(data=np.abs(plane.values)) for plane in planes],
        [plane.copy(data=np.angle(plane.values)) for plane in planes],
    )
    ends = limits or look.shared_limits([plane.values for plane in amplitude])
    turns, cmap = _phase_scale(phase, phase_limits)
    aspect = look.aspect_of(planes[0])
    cell = min((style.DOUBLE_MM - 26) / len(planes), 62.0, 95.0 / aspect)
    figure = style.new_figure(cell * len(planes) + 28, 2 * (cell * aspect + 3) + 8)
    grid = figure.subplots(2, len(planes), squeeze=False)
    shown: list[Any] = [None, None]
    for column, title in enumerate(titles):
        shown[0] = look.draw(grid[0, column], amplitude[column], ends, look.clear_map("gray"), bar=column == 0)
        shown[1] = look.draw(grid[1, column], phase[column], turns, cmap, bar=False)
        grid[0, column].set_title(title, pad=2.5)
    look.color_bar(shown[0], list(grid[0]), "Amplitude", tall_mm=cell * aspect)
    look.color_bar(shown[1], list(grid[1]), "Phase [rad]", tall_mm=cell * aspect)
    return look.finish(figure, True, simulated, image)


def _phase_scale(phases: Sequence[xr.DataArray], limits: tuple[float, float] | None) -> tuple[tuple[float, float], Any]:
    if limits is not None:
        full = limits[1] - limits[0] > 1.9 * np.pi
        return limits, look.clear_map("twilight" if full else "gray")
    low, high = look.shared_limits([plane.values for plane in phases])
    if high - low < 2 * np.pi / 3:
        return (low, high), look.clear_map("gray")
    return (-np.pi, np.pi), look.clear_map("twilight")
