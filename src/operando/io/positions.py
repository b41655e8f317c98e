"""Axes as instruments write them: printed positions, decreasing positions, energies in eV or keV."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from operando.core import units

# Positions are printed with few decimals or kept in 32 bits. Closer to an even line than this part of a step, they
# were meant to be on it.
_ROUNDING = 0.02
# From this deviation on, a function that needs the voxel size refuses an axis as uneven (core.axes.axis_spacing).
_UNEVEN = 1e-3
# Spectro-microscopy begins at the Li K edge (54.7 eV) and ends near 40 keV, so a bare number tells its unit.
_HIGHEST_KEV = 40.0


class Positions(NamedTuple):
    """An axis of positions: increasing ``values``, their ``attrs``, whether it was ``turned``, and a ``note``."""

    values: np.ndarray
    attrs: dict[str, Any]
    turned: bool
    note: str | None


def decimal(values: Any) -> np.ndarray:
    """Numbers in 64 bits; those kept in 32 bits as the shortest decimals that mean them.

    Examples
    --------
    >>> float(np.float32(0.1)), decimal(np.float32([0.1])).tolist()
    (0.10000000149011612, [0.1])
    """
    given = np.asarray(values)
    if given.dtype != np.float32:
        return given.astype(float)
    return np.array([float(str(value)) for value in given.ravel()]).reshape(given.shape)


def position_axis(points: Any, unit: str, dim: str) -> Positions:
    """Bring the positions of one axis into the form that coordinates have.

    Parameters
    ----------
    points : array-like, 1-D
        Centers of the pixels, in the order of the file.
    unit : str
        Their unit; anything that is not a length gives ``px``.
    dim : str
        Name of the axis.

    Returns
    -------
    Positions
        Where the points decrease, ``turned`` says that the image has to be turned along this axis. Points that
        leave an even line by rounding only are put on it; points that are truly uneven are kept, and the note
        says so.

    Examples
    --------
    >>> axis = position_axis([-0.6180, -0.5908, -0.5636, -0.5365], "um", "x")
    >>> axis.values.round(4).tolist(), axis.attrs["units"], axis.turned
    ([-0.618, -0.5908, -0.5637, -0.5365], 'um', False)
    """
    values = decimal(points)
    unit = units.canonical(unit)
    known = units.kind(unit) == "length"
    attrs: dict[str, Any] = {"units": unit if known else units.PIXEL, "long_name": f"Position {dim}"}
    note = None if known else f"The positions along {dim} have no unit of length ({unit or 'none'}): set voxel_size_um."
    turned = bool(values.size > 1 and values[-1] < values[0])
    values = values[::-1] if turned else values
    if values.size > 1:
        step = (values[-1] - values[0]) / (values.size - 1)
        line = values[0] + step * np.arange(values.size)
        steps = np.diff(values)
        if step <= 0 or np.abs(values - line).max() > _ROUNDING * step:
            note = (
                f"The positions along {dim} are not even (steps from {steps.min():g} to {steps.max():g} {unit}): "
                "they were kept as they are."
            )
        else:
            values = line if np.abs(steps - step).max() > _UNEVEN * step else values
            attrs["spacing"] = float(f"{step:.9g}")
    return Positions(values, attrs, turned, note)


def energy_axis(values: Any, unit: str = "") -> tuple[np.ndarray, dict[str, Any], str | None]:
    """Photon energies in eV, their attributes, and a note where their unit was guessed or energies repeat.

    Examples
    --------
    >>> energy_axis([8.333, 8.35], "keV")[0].tolist()
    [8333.0, 8350.0]
    >>> energy_axis([8.333, 8.35])[2]
    'The energies have no unit and lie below 40: they were taken as keV.'
    """
    energies = decimal(values)
    attrs = {"units": "eV", "long_name": "Photon energy"}
    notes = []
    repeated = energies.size - np.unique(energies).size
    if repeated:
        notes.append(
            f"{repeated} of {energies.size} energies repeat others: operando.io.open_stack(..., repeats='mean') "
            "averages them."
        )
    unit = _ENERGY_NAMES.get(unit.strip().lower(), unit.strip())
    if units.kind(unit) != "energy":
        guessed = "keV" if energies.size and np.nanmax(np.abs(energies)) < _HIGHEST_KEV else "eV"
        if guessed == "keV":
            notes.append(f"The energies have no unit and lie below {_HIGHEST_KEV:g}: they were taken as keV.")
        unit = guessed
    note = " ".join(notes) or None
    if units.canonical(unit) == "eV":
        return energies, attrs, note
    # 8.333 keV is meant to be 8333 eV and not the next number in binary.
    scaled = np.array([float(f"{value * units.factor(unit, 'eV'):.12g}") for value in energies.ravel()])
    return scaled.reshape(energies.shape), attrs, note


_ENERGY_NAMES = {"ev": "eV", "kev": "keV", "electronvolt": "eV", "kiloelectronvolt": "keV"}
