"""Bounds of the stiffness of a mixture that hold whatever its geometry, or for every isotropic one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError

BOUNDS = ("reuss", "hashin-shtrikman lower", "hill", "hashin-shtrikman upper", "voigt")


def stiffness_bounds(youngs_modulus: Any, poissons_ratio: Any, *, fractions: Any = None) -> xr.Dataset:
    """Voigt, Reuss and Hashin-Shtrikman-Walpole bounds of a mixture of isotropic phases, and Hill's mean.

    Parameters
    ----------
    youngs_modulus : array of any shape, or DataArray
        Young's modulus of each voxel, or of each phase where ``fractions`` is given; at least 0.
    poissons_ratio : float or array of the same shape
        In (-1, 0.5). What it is in a pore (modulus 0) does not matter.
    fractions : array of the same shape, optional
        Share of each phase; must add up to 1. Default: all voxels alike.

    Returns
    -------
    Dataset
        ``bulk_modulus``, ``shear_modulus``, ``youngs_modulus`` and ``uniaxial_modulus`` (C11), each with the dim
        ``bound``: "reuss", "hashin-shtrikman lower", "hill", "hashin-shtrikman upper", "voigt"; in the unit of
        ``youngs_modulus``.

    Raises
    ------
    InputError
        Where a value is out of range or the shapes differ.

    Notes
    -----
    With K and G of the phases and the most and least stiff K*, G* among them (Walpole 1966):

    .. math:: K = \\Big\\langle \\frac{1}{K_i + \\frac43 G^*} \\Big\\rangle^{-1} - \\frac43 G^*, \\quad
        G = \\Big\\langle \\frac{1}{G_i + \\zeta^*} \\Big\\rangle^{-1} - \\zeta^*, \\quad
        \\zeta^* = \\frac{G^*}{6} \\frac{9 K^* + 8 G^*}{K^* + 2 G^*}

    Voigt and Reuss hold for every geometry and direction, for means over the finite body between plates as well;
    Hashin-Shtrikman for a statistically isotropic body that is large against its features, so a small or layered
    domain may lie outside. Hill is the arithmetic mean of Voigt and Reuss in K and G: an estimate, no bound. With
    pores the lower bounds are 0. Young's modulus and C11 follow from K and G. Young's modulus rises with both, so
    that its bounds are those of an isotropic body; along one axis of an anisotropic body, those of Voigt and Reuss
    hold too.

    Reference: Hashin and Shtrikman, J. Mech. Phys. Solids 11 (1963) 127; Walpole, J. Mech. Phys. Solids 14 (1966) 151.

    Examples
    --------
    Half and half without lateral contraction; Voigt and Reuss are the means of layers:

    >>> bounds = stiffness_bounds([10.0, 1.0], 0.0)
    >>> bounds.youngs_modulus.sel(bound=["reuss", "voigt"]).values.round(4).tolist()
    [1.8182, 5.5]
    """
    young = np.asarray(youngs_modulus, dtype=float)
    ratio = (
        np.broadcast_to(np.asarray(poissons_ratio, dtype=float), young.shape) if _fits(young, poissons_ratio) else None
    )
    shares = None if fractions is None else np.asarray(fractions, dtype=float)
    if ratio is None or not young.size or (shares is not None and shares.shape != young.shape):
        raise InputError(
            "stiffness_bounds: poissons_ratio and fractions must have the shape of youngs_modulus, got "
            f"{np.shape(poissons_ratio)}, {np.shape(fractions)} and {young.shape}. Give one value per voxel or phase."
        )
    ratio = np.where(young > 0, ratio, 0.0)
    if not (young.min() >= 0 and np.isfinite(young.max()) and ratio.min() > -1 and ratio.max() < 0.5):
        raise InputError(
            "stiffness_bounds: youngs_modulus must be finite and at least 0 and poissons_ratio in (-1, 0.5), got "
            f"{young.min():g} to {young.max():g} and {ratio.min():g} to {ratio.max():g}. Use a modulus of 0 for pores."
        )
    if shares is not None and not (shares.min() >= 0 and abs(shares.sum() - 1) < 1e-6):
        raise InputError(
            f"stiffness_bounds: fractions must not be negative and add up to 1, got {shares.tolist()} with the sum "
            f"{shares.sum():g}. Divide them by their sum."
        )
    bulk, shear = young / (3 * (1 - 2 * ratio)), young / (2 * (1 + ratio))
    ends = []
    for extreme in (np.min, np.max):
        k, g = float(extreme(bulk)), float(extreme(shear))
        zeta = g / 6 * (9 * k + 8 * g) / (k + 2 * g) if g else 0.0
        ends.append((_shifted(bulk, 4 / 3 * g, shares), _shifted(shear, zeta, shares)))
    reuss = _shifted(bulk, 0.0, shares), _shifted(shear, 0.0, shares)
    voigt = float(np.average(bulk, weights=shares)), float(np.average(shear, weights=shares))
    hill = tuple((low + high) / 2 for low, high in zip(reuss, voigt, strict=True))
    k, g = np.array([reuss, ends[0], hill, ends[1], voigt]).T
    young_bounds = np.divide(9 * k * g, 3 * k + g, out=np.zeros(5), where=g > 0)
    unit = {"units": str(getattr(youngs_modulus, "attrs", {}).get("units", "1"))}
    named = {"bulk_modulus": k, "shear_modulus": g, "youngs_modulus": young_bounds, "uniaxial_modulus": k + 4 / 3 * g}
    return xr.Dataset({name: ("bound", v, unit) for name, v in named.items()}, coords={"bound": list(BOUNDS)})


def _fits(young: np.ndarray, ratio: Any) -> bool:
    return np.ndim(ratio) == 0 or np.shape(ratio) == young.shape


def _shifted(values: np.ndarray, shift: float, shares: np.ndarray | None) -> float:
    """Harmonic mean of ``values + shift``, less ``shift``; 0 where a phase without stiffness lies in series."""
    weights = np.full(values.shape, 1 / values.size) if shares is None else shares
    present = weights > 0
    total = values[present] + shift
    if total.min() == 0:
        return 0.0
    return float(1 / (weights[present] / total).sum() - shift)
