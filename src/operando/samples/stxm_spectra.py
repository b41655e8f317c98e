"""Absorption spectra of lithiated vanadium oxides, synthetic: made from stated edges and peaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest

STOICHIOMETRY = {"alpha": 0.0, "epsilon": 0.5, "delta": 1.0, "gamma": 2.0, "omega": 3.0}
"""x in Li_x V2O5 of each phase, after Delmas et al., Solid State Ionics 69, 257 (1994)."""

PRE_EDGE = (1.1, 512.0)
"""Absorption in um-1 at that energy in eV of everything but the edges; it falls with the third power of energy."""
EDGE_WIDTH_EV = 0.8
_LOWEST_EV = 100.0  # what lies below was meant in keV

# Steps at L3, L2 and O K: height in um-1, energy in eV at x = 0, and its change per x.
_STEPS = ((1.5, 519.0, -0.5), (0.75, 526.0, -0.5), (2.0, 533.5, 0.0))
# Peaks: center in eV, height in um-1, half width at half maximum in eV, share of the Lorentzian.
_PEAKS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "alpha": (
        (515.7, 0.9, 0.50, 0.4), (516.9, 1.6, 0.60, 0.4), (518.6, 4.2, 0.80, 0.4), (525.2, 2.3, 1.30, 0.5),
        (529.7, 3.4, 0.65, 0.3), (531.6, 2.0, 0.90, 0.3), (537.5, 1.0, 2.50, 0.0),
    ),
    "epsilon": (
        (515.5, 1.1, 0.55, 0.4), (516.9, 2.2, 0.65, 0.4), (518.2, 3.7, 0.85, 0.4), (524.9, 2.2, 1.35, 0.5),
        (529.8, 2.7, 0.70, 0.3), (531.5, 2.1, 0.90, 0.3), (537.7, 1.0, 2.50, 0.0),
    ),
    "delta": (
        (515.3, 1.2, 0.55, 0.4), (516.9, 3.0, 0.75, 0.4), (517.9, 3.0, 0.90, 0.4), (524.6, 2.2, 1.40, 0.5),
        (530.0, 2.0, 0.75, 0.3), (531.5, 2.3, 0.95, 0.3), (538.0, 1.1, 2.60, 0.0),
    ),
    "gamma": (
        (515.1, 1.6, 0.60, 0.4), (516.6, 3.9, 0.85, 0.4), (517.9, 1.6, 0.90, 0.4), (524.1, 2.1, 1.50, 0.5),
        (530.3, 1.3, 0.80, 0.3), (531.8, 2.4, 1.00, 0.3), (538.5, 1.2, 2.70, 0.0),
    ),
    "omega": (
        (514.6, 1.3, 0.65, 0.4), (515.9, 3.6, 0.95, 0.4), (517.6, 1.2, 0.90, 0.4), (523.4, 1.9, 1.60, 0.5),
        (530.9, 0.7, 0.90, 0.3), (532.6, 2.2, 1.10, 0.3), (539.5, 1.4, 2.80, 0.0),
    ),
}  # fmt: skip


def stxm_energies() -> np.ndarray:
    """Photon energies in eV of a stack over V L2,3 and O K: 81 of them, dense where phases differ.

    Examples
    --------
    >>> energies = stxm_energies()
    >>> energies.size, float(energies[0]), float(energies[-1])
    (81, 510.0, 540.0)
    """
    parts = ((510, 514, 0.5), (514, 521, 0.25), (521, 528, 0.5), (528, 534, 0.25), (534, 541, 1.0))
    return np.concatenate([np.arange(*part) for part in parts])


def stxm_references(
    phases: Sequence[str] = ("alpha", "epsilon", "delta", "gamma"), *, energies: Any = None
) -> xr.DataArray:
    """Synthetic V L2,3 and O K absorption spectra of phases of Li_x V2O5.

    Parameters
    ----------
    phases : sequence of str
        From :data:`STOICHIOMETRY`.
    energies : array-like, optional
        Photon energies in eV, at least 100, each once; default :func:`stxm_energies`.

    Returns
    -------
    DataArray, dims (component, energy), units "um-1"
        Linear absorption coefficient, float64, with the coordinate ``stoichiometry`` (component), x in Li_x V2O5.

    Raises
    ------
    InputError
        Where a phase is unknown, or an energy is below 100 eV or there twice.

    Notes
    -----
    .. math:: \\mu(E) = \\mu_0 (E_0 / E)^3 + \\sum_{L_3, L_2, K} h \\left(\\tfrac12 + \\tfrac1\\pi
        \\arctan\\frac{E - E_h}{w / 2}\\right) + \\sum_{peaks} p \\left(\\frac{\\eta}{1 + u^2} + (1 - \\eta)
        2^{-u^2}\\right), \\quad u = (E - E_p) / \\gamma

    with the numbers in the tables of this module. They follow what lithiation does to V2O5 (the vanadium edges move
    down and their weight goes to lower energies, the first O K peak fades) at heights that suit 3.4 g cm-3. They are no
    measurement: no phase is to be identified by them. Phases differ gradually, as they do in nature: the cosine between
    spectra of neighbors is about 0.99.

    Examples
    --------
    The first O K peak of V2O5 fades on lithiation:

    >>> spectra = stxm_references(["alpha", "delta", "gamma"], energies=[529.75])
    >>> spectra.values[:, 0].round(1).tolist(), spectra.stoichiometry.values.tolist()
    ([6.9, 5.5, 4.5], [0.0, 1.0, 2.0])
    """
    where = "stxm_references"
    names = [str(name) for name in phases]
    for name in names:
        if name not in _PEAKS:
            raise InputError(f"{where}: there is no phase {name!r}. {nearest(name, _PEAKS)}")
    given = np.atleast_1d(np.asarray(stxm_energies() if energies is None else energies))
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iuf":
        raise InputError(f"{where}: energies must be a row of numbers in eV, got {energies!r}.")
    at = given.astype(float)
    if not np.all(np.isfinite(at) & (at >= _LOWEST_EV)):
        raise InputError(f"{where}: energies must be at least {_LOWEST_EV:g} eV, got {at.min():g}. Give them in eV.")
    if np.unique(at).size < at.size:
        raise InputError(f"{where}: each energy must be there once, got {at.size - np.unique(at).size} repeated.")
    return xr.DataArray(
        np.stack([_spectrum(name, at) for name in names]) if names else np.zeros((0, at.size)),
        dims=("component", "energy"),
        coords={
            "component": names,
            "energy": energy_axis(at),
            "stoichiometry": ("component", [STOICHIOMETRY[name] for name in names], {"long_name": "x in Li_x V2O5"}),
        },
        attrs={"units": "um-1", "long_name": "Absorption (synthetic)", "simulated": True},
    )


def energy_axis(energies: np.ndarray) -> tuple[str, np.ndarray, dict[str, str]]:
    """Coordinate of photon energies."""
    return ("energy", np.asarray(energies, dtype=float), {"units": "eV", "long_name": "Photon energy"})


def _spectrum(name: str, energy: np.ndarray) -> np.ndarray:
    level, at = PRE_EDGE
    mu = level * (at / energy) ** 3
    for height, edge, slope in _STEPS:
        center = edge + slope * STOICHIOMETRY[name]
        mu += height * (0.5 + np.arctan((energy - center) / (0.5 * EDGE_WIDTH_EV)) / np.pi)
    for center, height, half, lorentzian in _PEAKS[name]:
        u = ((energy - center) / half) ** 2
        mu += height * (lorentzian / (1.0 + u) + (1.0 - lorentzian) * np.exp(-np.log(2.0) * u))
    return np.asarray(mu)
