"""Reference spectra on the energies of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.spectral.stacks import ENERGY_ATTRS, ENERGY_TOLERANCE_EV, energies_ev, one_spectrum

References = xr.DataArray | Mapping[str, xr.DataArray]
"""Spectra with dims ``(component, energy)``, or a mapping of names to spectra whose energies may differ."""


def match_energies(spectra: References, energy: Any) -> xr.DataArray:
    """Bring spectra onto the energies of a stack.

    Parameters
    ----------
    spectra : DataArray, dims (component, energy) in any order, or (energy,); or a mapping of names to (energy,)
        In a mapping the energies may differ from spectrum to spectrum. A plain array, or spectra without energies,
        must have as many energies as are asked for.
    energy : DataArray with the coordinate ``energy`` (a stack, for example), or 1-D array, eV
        The energies to have, in any order.

    Returns
    -------
    DataArray of float64, dims (component, energy)
        In the order of ``energy``; the unit is that of the spectra. Spectra without names are ``component 0``,
        ``component 1``, ...

    Raises
    ------
    InputError, AxesError
        Where an energy lies outside those of a spectrum (by more than 0.001 eV): nothing is extrapolated. Where
        spectra have different units, fewer than two finite values, or dims that are others.

    Notes
    -----
    Linear interpolation between the two neighboring energies; values that are NaN are left out before. The error is at
    most :math:`h^2 \\max|s''| / 8` for a step h: a Gaussian line of full width w that was sampled every w/4 is cut by
    up to 4 % of its height. References are best measured on energies at least as fine as those of the stack. An
    offset of the monochromator is not corrected here: see :func:`energy_offset`.

    Examples
    --------
    >>> line = xr.DataArray([0.0, 1.0], dims="energy", coords={"energy": [700.0, 710.0]})
    >>> match_energies({"Fe(II)": line}, [702.0, 705.0]).sel(component="Fe(II)").values.tolist()
    [0.2, 0.5]
    """
    where = "match_energies"
    wanted = wanted_energies(energy, where)
    named = _named(spectra, wanted, where)
    unit = _one_unit(named, where)
    rows = np.stack([_interpolated(name, spectrum, wanted, where) for name, spectrum in named.items()])
    return xr.DataArray(
        rows,
        dims=("component", "energy"),
        coords={"component": list(named), "energy": ("energy", wanted, ENERGY_ATTRS)},
        name="references",
        attrs={"units": unit, **_kept(spectra)},
    )


def with_energies(stack: xr.DataArray, spectra: Any, *, where: str) -> xr.DataArray:
    """Give a stack energies in eV: its own, else those of spectra, if there are as many, else 0, 1, 2, ...

    Raises
    ------
    InputError
        Where the stack has no energies and the spectra have others in number, or differ in theirs.

    Examples
    --------
    >>> spectra = xr.DataArray([[1.0, 2.0]], dims=("component", "energy"), coords={"energy": [700.0, 710.0]})
    >>> with_energies(xr.DataArray(np.zeros((2, 3)), dims=("energy", "x")), spectra, where="example").energy.values
    array([700., 710.])
    """
    if "energy" in stack.coords:
        return stack.assign_coords(energy=("energy", energies_ev(stack, where=where), ENERGY_ATTRS))
    remedy = "Set those of the stack with stack.assign_coords(energy=[...])."
    own = common_energies(spectra, where=where, remedy=remedy)
    count = stack.sizes["energy"]
    if own is None:
        return stack.assign_coords(energy=np.arange(count, dtype=float))
    if own.size != count:
        raise InputError(
            f"{where}: the stack has no energies, and {count} images for the {own.size} energies of the spectra. "
            f"{remedy}"
        )
    return stack.assign_coords(energy=("energy", own, ENERGY_ATTRS))


def common_energies(spectra: Any, *, where: str, remedy: str) -> np.ndarray | None:
    """Energies in eV that all spectra share, or None where none of them has energies.

    Raises
    ------
    InputError
        Where they differ; ``remedy`` says what to do.
    """
    given = [spectra]
    if isinstance(spectra, Mapping) and not isinstance(spectra, xr.Dataset):
        given = list(spectra.values())
    axes = [
        energies_ev(one, where=where, name="the spectra")
        for one in given
        if isinstance(one, xr.DataArray) and "energy" in one.coords
    ]
    if any(not np.array_equal(axis, axes[0]) for axis in axes[1:]):
        raise InputError(f"{where}: the spectra have different energies. {remedy}")
    return axes[0] if axes else None


def wanted_energies(energy: Any, where: str) -> np.ndarray:
    """Energies in eV of a stack, of a coordinate, or of a plain row of numbers."""
    if isinstance(energy, xr.Dataset):
        energy = energy["energy"]
    if isinstance(energy, xr.DataArray):
        if "energy" not in energy.coords and energy.dims == ("energy",):
            energy = energy.assign_coords(energy=energy.values)
        return energies_ev(energy, where=where)
    values = np.atleast_1d(np.asarray(energy, dtype=float))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"{where}: energy must be a row of finite energies in eV, got an array of {values.shape}.")
    return values


def _named(spectra: Any, wanted: np.ndarray, where: str) -> dict[str, xr.DataArray]:
    """One spectrum with energies per name."""
    if isinstance(spectra, Mapping) and not isinstance(spectra, xr.Dataset):
        if not spectra:
            raise InputError(f"{where}: at least one spectrum is needed, got an empty mapping.")
        named = {}
        for name, spectrum in spectra.items():
            if isinstance(spectrum, xr.DataArray):
                single = one_spectrum(spectrum)
            else:
                row = np.asarray(spectrum)
                single = xr.DataArray(row, dims=("energy",) if row.ndim == 1 else None)
            if single.dims != ("energy",):
                raise AxesError(
                    f"{where}: the spectrum {name!r} must have the dim energy alone, got {single.dims}. "
                    "Select one component of it."
                )
            named[str(name)] = single
    else:
        named = _rows(spectra, where)
    return {
        name: spectrum if "energy" in spectrum.coords else _with_energies(name, spectrum, wanted, where)
        for name, spectrum in named.items()
    }


def _rows(spectra: Any, where: str) -> dict[str, xr.DataArray]:
    if not isinstance(spectra, xr.DataArray):
        if not isinstance(spectra, (np.ndarray, list, tuple)):
            raise InputError(
                f"{where}: spectra must be a DataArray with dims (component, energy) or a mapping of names to spectra, "
                f"got {type(spectra).__name__}. Open files with operando.io.open_spectra."
            )
        array = np.atleast_2d(np.asarray(spectra, dtype=float))
        spectra = xr.DataArray(array, dims=("component", "energy")[2 - array.ndim :])
    if spectra.dims == ("energy",):
        name = str(spectra.name) if spectra.name is not None else "component 0"
        return {name: spectra}
    if set(spectra.dims) != {"component", "energy"}:
        raise AxesError(f"{where}: spectra must have the dims (component, energy), got {spectra.dims}. Rename them.")
    names = [str(n) for n in spectra.coords["component"].values] if "component" in spectra.coords else None
    count = spectra.sizes["component"]
    names = names if names is not None else [f"component {i}" for i in range(count)]
    if len(set(names)) != count:
        raise InputError(f"{where}: every component needs a name of its own, got {names}. Rename the repeated ones.")
    if count == 0:
        raise InputError(f"{where}: at least one spectrum is needed, got none.")
    return {name: spectra.isel(component=i) for i, name in enumerate(names)}


def _with_energies(name: str, spectrum: xr.DataArray, wanted: np.ndarray, where: str) -> xr.DataArray:
    if spectrum.size != wanted.size:
        raise InputError(
            f"{where}: the spectrum {name!r} has no energies, and {spectrum.size} values for {wanted.size} energies. "
            "Set them with spectra.assign_coords(energy=[...])."
        )
    return spectrum.assign_coords(energy=wanted)


def _interpolated(name: str, spectrum: xr.DataArray, wanted: np.ndarray, where: str) -> np.ndarray:
    energies = energies_ev(spectrum, where=where, name=f"the spectrum {name!r}")
    values = np.asarray(spectrum.values, dtype=float)
    seen = np.isfinite(values)
    if seen.sum() < min(2, wanted.size):
        raise InputError(f"{where}: the spectrum {name!r} needs at least two finite values, got {int(seen.sum())}.")
    energies, values = energies[seen], values[seen]
    low, high = float(energies.min()), float(energies.max())
    outside = (wanted < low - ENERGY_TOLERANCE_EV) | (wanted > high + ENERGY_TOLERANCE_EV)
    if outside.any():
        raise InputError(
            f"{where}: {int(outside.sum())} of {wanted.size} energies, from {wanted[outside].min():g} to "
            f"{wanted[outside].max():g} eV, lie outside the spectrum {name!r}, which reaches from {low:g} to "
            f"{high:g} eV. Nothing is extrapolated: select the energies of the stack within it, for example "
            f"stack.sel(energy=(stack.energy >= {low:g}) & (stack.energy <= {high:g}))."
        )
    order = np.argsort(energies)
    return np.interp(wanted, energies[order], values[order])


def _one_unit(named: Mapping[str, xr.DataArray], where: str) -> str:
    found = {str(spectrum.attrs["units"]) for spectrum in named.values() if "units" in spectrum.attrs}
    if len(found) > 1:
        raise InputError(
            f"{where}: all spectra must have one unit, got {sorted(found)}. Scale them to the same quantity, such as "
            "optical density per um."
        )
    return found.pop() if found else "1"


def _kept(spectra: Any) -> dict[str, Any]:
    """What else the spectra say of themselves: that they are simulated, where they came from."""
    attrs = spectra.attrs if isinstance(spectra, xr.DataArray) else {}
    return {key: value for key, value in attrs.items() if key != "units"}
