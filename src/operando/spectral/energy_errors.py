"""Errors that a choice of photon energies will give, before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.spectral.lithiation import per_component
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import energies_ev
from operando.spectral.unmix_problem import background_terms, term_values


class Design:
    """What each candidate energy would tell about the weights, per mixture.

    ``information`` (mixture, energy, column, column) at the full dose, of columns scaled to unit size; ``tilt``
    (mixture, energy, column), by how much an error of the energy scale of one standard deviation moves the right-hand
    side; ``gradient`` (mixture, column) of the lithiation, or None.
    """

    def __init__(
        self,
        names: list[str],
        energy: np.ndarray,
        information: np.ndarray,
        tilt: np.ndarray,
        scale: np.ndarray,
        gradient: np.ndarray | None,
        thickness: float,
    ) -> None:
        self.names, self.energy, self.thickness = names, energy, thickness
        self.information, self.tilt, self.scale, self.gradient = information, tilt, scale, gradient
        self.references, self.columns = len(names), information.shape[-1]

    def value(self, chosen: Sequence[int], criterion: str) -> float:
        """What the choice costs; infinite where it does not determine the weights."""
        at, k = list(chosen), len(chosen)
        matrix, tilt = self.information[:, at].sum(axis=1) / k, self.tilt[:, at].sum(axis=1) / k
        return float(self._cost(matrix[:, None], tilt[:, None], criterion)[0])

    def values_with_each(self, chosen: Sequence[int], criterion: str, *, prior: float = 0.0) -> np.ndarray:
        """What the choice costs with each candidate added to it (candidate,)."""
        at, k = list(chosen), len(chosen) + 1
        matrix = (self.information[:, at].sum(axis=1)[:, None] + self.information) / k
        tilt = (self.tilt[:, at].sum(axis=1)[:, None] + self.tilt) / k
        if prior:
            size = self.information.sum(axis=1).trace(axis1=-2, axis2=-1)[:, None, None, None]
            matrix = matrix + prior * size * np.eye(self.columns)
        return self._cost(matrix, tilt, criterion)

    def covariance(self, chosen: Sequence[int]) -> np.ndarray:
        """Mean square errors of the weights (mixture, component, component), in their own units."""
        at, k = list(chosen), len(chosen)
        error, good = self._error(self.information[:, at].sum(axis=1) / k, self.tilt[:, at].sum(axis=1) / k)
        error[~good] = np.inf
        size = self.scale[: self.references]
        return np.asarray(error / (size[:, None] * size[None]))

    def _error(self, matrix: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean square errors of the scaled weights, noise and energy scale together, and where they are finite."""
        inverse, good = _inverse(matrix)
        shift = (inverse @ tilt[..., None])[..., : self.references, :]
        return inverse[..., : self.references, : self.references] + shift @ np.swapaxes(shift, -1, -2), good

    def _cost(self, matrix: np.ndarray, tilt: np.ndarray, criterion: str) -> np.ndarray:
        error, good = self._error(matrix, tilt)
        size = self.scale[: self.references]
        if criterion == "d-optimal":
            sign, logarithm = np.linalg.slogdet(error)
            cost = np.where(sign > 0, logarithm, np.inf)
        elif criterion == "a-optimal":
            cost = (np.diagonal(error, axis1=-2, axis2=-1) / size**2).sum(axis=-1)
        elif self.gradient is not None:
            slope = self.gradient / size
            with_host = np.isfinite(slope).all(axis=1)
            cost = np.einsum("mi,mkij,mj->mk", slope[with_host], error[with_host], slope[with_host])
            good = good[with_host]
        else:
            raise InputError("Design: the lithiation needs the x of each reference. Pass stoichiometry=...")
        return np.asarray(np.where(good, cost, np.inf).mean(axis=0))


def _inverse(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses of symmetric matrices, and which are regular (condition below 1e12); the others are replaced by one."""
    values = np.linalg.eigvalsh(matrix)
    good = values[..., 0] > 1e-12 * values[..., -1]
    safe = np.where(good[..., None, None], matrix, np.eye(matrix.shape[-1]))
    return np.linalg.inv(safe), good


def design(
    references: References,
    *,
    energies: Any,
    stoichiometry: Any,
    photons: Any,
    thickness: float | None,
    composition: Any,
    background: str | Sequence[str] | None,
    sigma: Any,
    energy_error: float,
    where: str,
) -> Design:
    """Check and gather what decides on a choice of energies; see :func:`select_energies` for the parameters."""
    spectra = match_energies(references, candidate_energies(references, energies, where=where))
    names = [str(name) for name in spectra["component"].values]
    energy = np.asarray(spectra["energy"].values, dtype=float)
    absorption = np.asarray(spectra.values, dtype=float)
    if not np.isfinite(absorption).all():
        raise InputError(
            f"{where}: references must be finite at every candidate. Pass candidates=... without the gaps."
        )
    light = per_energy(photons, spectra, where=where, what="photons")
    mixtures = _mixtures(composition, len(names), where=where)
    thick = _thickness(thickness, absorption, where=where)
    terms = [term_values(term, energy) for term in background_terms(background, where=where)]
    columns = np.vstack([absorption, *terms])
    scale = np.sqrt((columns**2).mean(axis=1))
    if not (scale > 0).all():
        raise InputError(
            f"{where}: the reference {names[int(scale.argmin())]!r} is zero at every energy. Leave it out."
        )
    if sigma is None:
        # Beyond the range of floats nothing comes through: an infinite variance is right.
        with np.errstate(over="ignore"):
            variance = np.exp(thick * mixtures @ absorption) / light
    else:
        variance = np.broadcast_to(
            per_energy(sigma, spectra, where=where, what="sigma") ** 2, (len(mixtures), energy.size)
        )
    unit = columns / scale[:, None]
    information = np.einsum("ie,je,me->meij", unit, unit, 1.0 / variance)
    gradient = None if stoichiometry is None else _gradient(stoichiometry, names, mixtures, thick, where=where)
    density = thick * mixtures @ _change(references, spectra, energy_error, where=where)
    tilt = np.einsum("je,me->mej", unit, density / variance)
    return Design(names, energy, information, tilt, scale, gradient, thick)


def _change(references: References, spectra: xr.DataArray, energy_error: float, *, where: str) -> np.ndarray:
    """By how much each reference changes when energies move by ``energy_error`` (component, energy)."""
    if not (np.isfinite(energy_error) and energy_error >= 0):
        raise InputError(f"{where}: energy_error is in eV and not negative, got {energy_error!r}.")
    energy = np.asarray(spectra["energy"].values, dtype=float)
    if energy_error == 0:
        return np.zeros(spectra.shape)
    every = candidate_energies(references, None, where=where)
    above, below = (np.clip(energy + sign * energy_error, every.min(), every.max()) for sign in (1, -1))
    difference = match_energies(references, above).values - match_energies(references, below).values
    span = above - below
    return np.asarray(difference * np.where(span > 0, energy_error / np.where(span > 0, span, 1.0), 0.0))


def candidate_energies(references: References, energies: Any, *, where: str) -> np.ndarray:
    """Energies in eV to choose from: those given, or those at which every reference was measured."""
    if energies is not None:
        if isinstance(energies, xr.DataArray) and "energy" in energies.coords:
            energies = energies_ev(energies, where=where, name="the candidates")
        values = np.asarray(energies, dtype=float).ravel()
        if values.size == 0 or len(np.unique(values)) != values.size:
            raise InputError(
                f"{where}: energies must be some different eV, got {values.size} of them. Drop repetitions."
            )
        return values
    first = next(iter(references.values())) if isinstance(references, Mapping) else references
    if not isinstance(first, xr.DataArray) or "energy" not in first.coords:
        raise InputError(
            f"{where}: references need a coordinate 'energy' in eV. Open them with operando.io.open_spectra, "
            "or set references.assign_coords(energy=...)."
        )
    values = np.asarray(
        match_energies(first.isel(component=[0]) if "component" in first.dims else first, first)["energy"]
    )
    if isinstance(references, Mapping):
        # Candidates where every spectrum was measured.
        own = [energies_ev(spectrum, where=where, name=f"{name!r}") for name, spectrum in references.items()]
        low, high = max(each.min() for each in own), min(each.max() for each in own)
        values = values[(values >= low) & (values <= high)]
    return values


def _mixtures(composition: Any, count: int, *, where: str) -> np.ndarray:
    if composition is None:
        return np.vstack([np.eye(count), np.full((1, count), 1.0 / count)])
    values = np.atleast_2d(np.asarray(composition, dtype=float))
    if values.shape[-1] != count or not np.isfinite(values).all() or (values < 0).any() or not values.sum(axis=1).all():
        raise InputError(
            f"{where}: composition has one share per reference ({count}), not negative, not all zero, "
            f"got {np.shape(composition)}. Pass rows of shares."
        )
    return values / values.sum(axis=1, keepdims=True)


def _thickness(thickness: float | None, absorption: np.ndarray, *, where: str) -> float:
    if thickness is None:
        strongest = float(absorption.mean(axis=0).max())
        if strongest <= 0:
            raise InputError(
                f"{where}: references must absorb somewhere, got at most {strongest:g}. Pass thickness=..."
            )
        return 1.0 / strongest
    if not (np.isfinite(thickness) and thickness > 0):
        raise InputError(
            f"{where}: thickness must be positive, got {thickness!r}. Give it in the unit of the references."
        )
    return float(thickness)


def per_energy(values: Any, spectra: xr.DataArray, *, where: str, what: str) -> np.ndarray:
    """One positive number for all energies, or one for each, on the energies of ``spectra``."""
    if isinstance(values, xr.DataArray) and "energy" in values.coords:
        values = match_energies(values.drop_attrs(), spectra).values[0]
    numbers = np.asarray(values, dtype=float)
    count = spectra.sizes["energy"]
    if numbers.ndim > 1 or numbers.size not in (1, count) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise InputError(
            f"{where}: {what} is one positive number or one per energy ({count}), got the shape {numbers.shape} and "
            f"{float(np.min(numbers, initial=np.inf)):g} at the least. Pass a DataArray with energies to be safe."
        )
    return np.broadcast_to(numbers, (count,))


def _gradient(stoichiometry: Any, names: list[str], mixtures: np.ndarray, thick: float, *, where: str) -> np.ndarray:
    """Slope of the lithiation with each weight (mixture, component); NaN for mixtures without a host."""
    x = per_component(stoichiometry, names, where=where, what="stoichiometry")
    host = np.isfinite(x)
    if not host.any():
        raise InputError(
            f"{where}: at least one reference must be a host with an x, got none of {names}. Give each its x."
        )
    x = np.where(host, x, 0.0)
    amount = (mixtures * host).sum(axis=1, keepdims=True)
    amount = np.where(amount > 0, amount, np.nan)
    mean = (mixtures * host) @ x[:, None] / amount
    return np.asarray(np.where(host, x - mean, 0.0 * mean) / (thick * amount))


def energy_selection_error(
    references: References,
    energies: Any,
    *,
    stoichiometry: Any = None,
    photons: Any = 10_000.0,
    thickness: float | None = None,
    composition: Any = None,
    background: str | Sequence[str] | None = None,
    sigma: Any = None,
    energy_error: float = 0.0,
) -> xr.Dataset:
    """Errors of the weights, and of the lithiation, that a choice of energies will give.

    Parameters
    ----------
    references, stoichiometry, photons, thickness, composition, background, sigma, energy_error
        As in :func:`select_energies`. Without ``thickness`` it follows from all energies of the references, so that
        choices are compared on one sample.
    energies : DataArray (energy) or array of eV
        The choice, any energies within the references.

    Returns
    -------
    Dataset
        ``weight_sigma`` (component), root mean square over the compositions, in the unit of the weights (um for
        references in um-1); ``lithiation_sigma``, with ``stoichiometry``. Infinite where the choice does not
        determine the weights.

    Raises
    ------
    InputError
        As :func:`select_energies`.

    Examples
    --------
    10,000 photons over two images, one phase that absorbs an optical density of 1 in both: the optical density of each
    has the error sqrt(e / 5000), the weight that divided by sqrt(2).

    >>> line = xr.DataArray([1.0, 1.0], dims="energy", coords={"energy": [708.0, 710.0]})
    >>> errors = energy_selection_error({"a": line}, [708.0, 710.0])
    >>> bool(np.isclose(errors["weight_sigma"].item(), np.sqrt(np.e / 5000 / 2)))
    True
    """
    where = "energy_selection_error"
    if thickness is None:
        whole = match_energies(references, candidate_energies(references, None, where=where))
        thickness = _thickness(None, np.asarray(whole.values, dtype=float), where=where)
    problem = design(
        references,
        energies=energies,
        stoichiometry=stoichiometry,
        photons=photons,
        thickness=thickness,
        composition=composition,
        background=background,
        sigma=sigma,
        energy_error=energy_error,
        where=where,
    )
    return predicted_errors(problem, range(problem.energy.size))


def predicted_errors(problem: Design, chosen: Iterable[int]) -> xr.Dataset:
    """Errors that the chosen candidates (positions) give; see :func:`energy_selection_error`."""
    covariance = problem.covariance(list(chosen))
    variance = np.diagonal(covariance, axis1=-2, axis2=-1).mean(axis=0)
    made = xr.Dataset(
        {"weight_sigma": (("component",), np.sqrt(variance), {"long_name": "Predicted error of the weight"})},
        coords={"component": problem.names},
        attrs={"thickness": problem.thickness},
    )
    if problem.gradient is not None:
        x = np.inf
        if np.isfinite(variance).all():
            each = np.einsum("mi,mij,mj->m", problem.gradient, covariance, problem.gradient)
            x = float(np.nanmean(each))
        made["lithiation_sigma"] = ((), np.sqrt(x), {"units": "1", "long_name": "Predicted error of x in Li_x M"})
    return made
