"""What a stack is: images over photon energy, or any array with energies and whatever space dims there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import SPACE
from operando.core.errors import AxesError, InputError, UnitsError

ENERGY_ATTRS = {"units": "eV", "long_name": "Photon energy"}
ENERGY_TOLERANCE_EV = 1e-3
"""Energies closer than this are the same: what is left of them after a text file or a 32-bit float."""


def as_stack(stack: Any, *, where: str, name: str = "the stack", energy: bool = True) -> xr.DataArray:
    """Return ``stack`` as a DataArray with dims ``(energy, [z], [y], [x])``, in that order.

    Parameters
    ----------
    stack : DataArray or array
        A plain array of one to four axes is taken to have the last of ``z, y, x`` and, before them, the energy. Lazy
        arrays stay lazy.
    where, name : str
        Function and argument, for the message.
    energy : bool
        Whether there must be an energy axis. Without, a plain array has space dims only.

    Raises
    ------
    AxesError, InputError
        Where the dims are others, or one of them has the length zero.

    Examples
    --------
    >>> as_stack(np.zeros((3, 4, 5)), where="example").dims
    ('energy', 'y', 'x')
    """
    if not isinstance(stack, xr.DataArray):
        if isinstance(stack, (str, bytes, xr.Dataset)) or not hasattr(stack, "__len__"):
            raise InputError(
                f"{where}: {name} must be a DataArray with dims (energy, y, x), got {type(stack).__name__}. "
                "Open a file with operando.io.open_image; take one variable of a Dataset."
            )
        data = stack if hasattr(stack, "ndim") else np.asarray(stack)
        most = 4 if energy else 3
        if not 1 <= data.ndim <= most:
            raise AxesError(f"{where}: {name} has {data.ndim} axes, which has no default dims. Pass a DataArray.")
        stack = xr.DataArray(data, dims=("energy",) * energy + SPACE[3 - (data.ndim - energy) :])
    dims = tuple(map(str, stack.dims))
    unknown = [dim for dim in dims if dim not in ("energy", *SPACE)]
    if unknown or (energy and "energy" not in dims):
        raise AxesError(
            f"{where}: {name} must have the dims ({'energy, ' if energy else '[energy], '}[z], [y], [x]), got {dims}. "
            "Rename or select first, for example stack.rename(channel='energy')."
        )
    if 0 in stack.shape:
        raise InputError(f"{where}: {name} must hold values, got the shape {dict(stack.sizes)}. Select less strictly.")
    return stack.transpose(*(dim for dim in ("energy", *SPACE) if dim in dims))


def real(stack: xr.DataArray, *, where: str) -> xr.DataArray:
    """Return ``stack`` where its numbers are real.

    Raises
    ------
    InputError
        Where they are complex, or no numbers.
    """
    if stack.dtype.kind not in "fiub":
        raise InputError(
            f"{where}: real numbers are needed, got {stack.dtype}. Take abs(...) of a complex image first."
        )
    return stack


def whole_number(value: Any, low: int, high: int | None = None, *, where: str, name: str, remedy: str) -> int:
    """Return ``value`` as an int, or say between which whole numbers it must be.

    Raises
    ------
    InputError
        Where it is none, or out of range.

    Examples
    --------
    >>> whole_number(3.0, 1, 9, where="example", name="n", remedy="Choose in between.")
    3
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if number and np.isfinite(value) and value == int(value) and low <= value and (high is None or value <= high):
        return int(value)
    span = f"from {low} up" if high is None else f"from {low} to {high}"
    raise InputError(f"{where}: {name} must be a whole number {span}, got {value!r}. {remedy}")


def energies_ev(array: xr.DataArray, *, where: str, name: str = "the stack") -> np.ndarray:
    """Photon energies of an array in eV, in its own order.

    Raises
    ------
    InputError, UnitsError
        Where the array has no energies, or they repeat, are not finite or are no energies.

    Examples
    --------
    >>> stack = xr.DataArray([1.0, 2.0], dims="energy", coords={"energy": ("energy", [0.7, 0.71], {"units": "keV"})})
    >>> energies_ev(stack, where="example").tolist()
    [700.0, 710.0]
    """
    if "energy" not in array.coords or array.coords["energy"].dims != ("energy",):
        raise InputError(
            f"{where}: {name} must have a coordinate 'energy' in eV, got {sorted(map(str, array.coords))}. "
            "Set it with stack.assign_coords(energy=[...])."
        )
    coordinate = array.coords["energy"]
    unit = units.canonical(str(coordinate.attrs.get("units", "eV")))
    if units.kind(unit) != "energy":
        raise UnitsError(f"{where}: the energies of {name} must be in eV or keV, got {unit!r}. Set their units.")
    values = np.asarray(coordinate.values, dtype=float) * units.factor(unit, "eV")
    if not np.isfinite(values).all():
        raise InputError(f"{where}: the energies of {name} must be finite, got {values[~np.isfinite(values)][0]}.")
    ordered = np.sort(values)
    repeated = ordered[1:][np.diff(ordered) == 0]
    if repeated.size:
        raise InputError(
            f"{where}: every energy of {name} may occur once, got {repeated[0]:g} eV more than once. "
            "Average repeated images first: stack.groupby('energy').mean()."
        )
    return values


def one_spectrum(array: xr.DataArray) -> xr.DataArray:
    """Drop dims of length one, but not the energy: a spectrum may have a single one."""
    return array.squeeze([dim for dim in array.dims if dim != "energy" and array.sizes[dim] == 1])


def same_energies(array: xr.DataArray, energies: np.ndarray, *, where: str, name: str, remedy: str) -> xr.DataArray:
    """Put ``array`` on ``energies`` in eV, if it has just these, in whatever order.

    Without energies of its own it must have as many of them, and is taken to be in the same order.

    Raises
    ------
    InputError
        Where the energies are others; ``remedy`` says what to do.
    """
    if "energy" not in array.coords:
        if array.sizes["energy"] == energies.size:
            return array
        raise InputError(f"{where}: {name} has {array.sizes['energy']} values for {energies.size} energies. {remedy}")
    own = energies_ev(array, where=where, name=name)
    order = np.argsort(own)
    place = np.clip(np.searchsorted(own[order], energies), 1, max(own.size - 1, 1))
    if own.size > 1:
        below = order[place - 1]
        above = order[place]
        picked = np.where(np.abs(own[below] - energies) <= np.abs(own[above] - energies), below, above)
    else:
        picked = np.zeros(energies.size, dtype=int)
    off = np.abs(own[picked] - energies)
    if off.max(initial=0.0) > ENERGY_TOLERANCE_EV:
        worst = int(off.argmax())
        raise InputError(
            f"{where}: {name} must have the energies of the stack, but the nearest to {energies[worst]:g} eV is "
            f"{own[picked[worst]]:g} eV. {remedy}"
        )
    return array.isel(energy=picked)


def image_mask(mask: Any, stack: xr.DataArray, *, where: str) -> xr.DataArray | None:
    """Bring a mask of pixels to the dims and order of the images of ``stack``; None stays None.

    Raises
    ------
    AxesError, InputError
        Where it has other dims or another shape than an image, or is not bool.
    """
    if mask is None:
        return None
    array = as_stack(mask, where=where, name="mask", energy=False)
    if array.shape != stack.shape[1:] or array.dtype != np.bool_:
        raise InputError(
            f"{where}: mask must be bool and of the shape {stack.shape[1:]} of an image, got {array.dtype} and "
            f"{array.shape}. Compare labels first, for example labels == 1."
        )
    return array
