"""Which cells can be simulated."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operando.core.errors import InputError, nearest
from operando.core.phases import CERAMIC_CELL
from operando.samples.ceramic_cycling import Budget
from operando.samples.ceramic_structure import SIDES

_WHERE = "ceramic_cell"
_SMALLEST = (48, 24, 24)
_LARGEST = {
    "strength": 20.0,
    "heterogeneity": 1.0,
    "porosity": 0.3,
    "porosity_variation": 1.5,
    "lithium_porosity": 0.1,
    "void_share": 0.3,
    "cracks": 0.15,
    "blur": 5.0,
    "fringes": 0.3,
    "halo": 0.3,
    "rings": 0.1,
    "shading": 0.2,
    "drift": 0.2,
    "noise": 0.5,
    "noise_correlation": 3.0,
}


def checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Three whole numbers, large enough."""
    try:
        size = tuple(operator.index(n) for n in shape)
    except TypeError:
        size = ()
    if len(size) != 3 or any(n < least for n, least in zip(size, _SMALLEST, strict=True)):
        raise InputError(
            f"{_WHERE}: shape must be three whole numbers (z, y, x), at least {_SMALLEST}, got {shape!r}. "
            "A small cell is (64, 48, 48)."
        )
    return size[0], size[1], size[2]


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` at the first argument that is out of range."""
    for name, least in (("steps", 1), ("seed", 0)):
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(
                f"{_WHERE}: {name} must be a whole number of at least {least}, got {value!r}. Pass {least} or more."
            )
    if given["plating_side"] not in SIDES:
        raise InputError(
            f"{_WHERE}: plating_side must be 'low' or 'high' (the electrode that plates in the first step), "
            f"got {given['plating_side']!r}."
        )
    for name in ("voxel_size_um", "pore_size_um", "grain_size_um", "boundary_conductivity"):
        if np.ndim(given[name]) or not (np.isfinite(given[name]) and given[name] > 0):
            raise InputError(f"{_WHERE}: {name} must be one positive number, got {given[name]!r}. Give {name}=... > 0.")
    for name in given["gray"] or {}:
        if name not in CERAMIC_CELL:
            raise InputError(
                f"{_WHERE}: gray names {name!r}, which is no phase of the cell. {nearest(name, CERAMIC_CELL)}"
            )
    for name, largest in _LARGEST.items():
        if not 0 <= given[name] <= largest:
            raise InputError(
                f"{_WHERE}: {name} must be from 0 (off) to {largest:g}, got {given[name]!r}. Choose a value between."
            )
    currents = np.atleast_1d(np.asarray(given["current_density_ma_cm2"], dtype=float))
    if currents.size == 0 or not np.all(np.isfinite(currents) & (currents > 0)):
        raise InputError(
            f"{_WHERE}: current_density_ma_cm2 must be positive, one number or one per cycle, "
            f"got {given['current_density_ma_cm2']!r}. The last one holds for all later cycles."
        )


def check_room(heights: np.ndarray, budget: Budget, size: tuple[int, int, int], voxel_size_um: float) -> None:
    """Raise :class:`InputError` where a place runs out of lithium or steel."""
    lowest, highest = heights[:, 0].min(), heights[:, 3].max()
    if lowest < 0 or highest > (size[0] - 1) * voxel_size_um or budget.lithium_um.min() < voxel_size_um:
        raise InputError(
            f"{_WHERE}: every place must keep a voxel of lithium and of steel over all steps, got down to "
            f"{budget.lithium_um.min():.3g} um of lithium and collectors from {lowest:.3g} to {highest:.3g} um in "
            f"{size[0]} planes. Lower capacity_mah_cm2, heterogeneity or strength, or take more planes."
        )
