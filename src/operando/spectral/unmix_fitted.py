"""What a fit says of the stack it was made on: fitted spectra, residuals, explained variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import ENERGY_ATTRS, as_stack, image_mask, same_energies
from operando.spectral.unmix_problem import TERMS, term_values


def fitted(unmixed: xr.Dataset, references: References) -> xr.DataArray:
    """Optical density of a fit.

    Parameters
    ----------
    unmixed : Dataset
        As :func:`unmix` gives it.
    references : DataArray, dims (component, energy), or mapping
        Those of the fit, or others with at least the same names.

    Returns
    -------
    DataArray, dims (energy, [z], [y], [x])
        References times weights and background, unit "1", at the energies of the fit. As large as the stack; lazy if
        ``unmixed`` is.

    Raises
    ------
    InputError
        Where ``unmixed`` is no fit, or a reference of it is missing.

    Examples
    --------
    >>> from operando.spectral.unmix import unmix
    >>> references = xr.DataArray([[1.0, 2.0, 0.0]], dims=("component", "energy"))
    >>> unmixed = unmix(np.array([3.0, 6.0, 0.0]), references)
    >>> fitted(unmixed, references).values.round(12).tolist()
    [3.0, 6.0, 0.0]
    """
    for name in ("weight", "energy"):
        if name not in unmixed:
            raise InputError(
                f"fitted: unmixed must hold {name!r}, got {sorted(map(str, unmixed))}. Pass the result of unmix."
            )
    energies = np.asarray(unmixed["energy"].values, dtype=float)
    spectra = match_energies(references, unmixed["energy"]).transpose("component", "energy")
    names = [str(name) for name in unmixed["component"].values]
    if [str(name) for name in spectra["component"].values] != names:
        missing = sorted(set(names) - {str(name) for name in spectra["component"].values})
        if missing:
            raise InputError(f"fitted: references must hold {names}, missing {missing}. Pass those of the fit.")
        spectra = spectra.sel(component=names)
    weights = unmixed["weight"]
    total = xr.dot(spectra.drop_vars("energy").reset_coords(drop=True), weights, dim="component")
    for term in TERMS:
        if term in unmixed:
            total = total + xr.DataArray(term_values(term, energies), dims="energy") * unmixed[term]
    total = total.transpose("energy", *weights.dims[1:]).assign_coords(energy=("energy", energies, ENERGY_ATTRS))
    total.attrs = {"units": "1", "long_name": "Fitted optical density"}
    return total.rename("fitted")


def residuals(optical_density: Any, unmixed: xr.Dataset, references: References) -> xr.DataArray:
    """Measured minus fitted optical density.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, [z], [y], [x]), or array in that order
        The stack of the fit.
    unmixed, references
        As for :func:`fitted`.

    Returns
    -------
    DataArray, dims (energy, [z], [y], [x]), unit "1"
        At the energies of the fit, in their order. NaN where the stack or the fit is. Lazy if one of them is.

    Raises
    ------
    InputError
        Where the stack has another shape or other energies than the fit.

    Examples
    --------
    The best multiple of (1, 1) to (3, 1) is 2:

    >>> from operando.spectral.unmix import unmix
    >>> references = xr.DataArray([[1.0, 1.0]], dims=("component", "energy"))
    >>> stack = np.array([3.0, 1.0])
    >>> residuals(stack, unmix(stack, references), references).values.round(12).tolist()
    [1.0, -1.0]
    """
    fit = fitted(unmixed, references)
    stack = _as_fitted(optical_density, unmixed, "residuals")
    if stack.shape != fit.shape:
        raise InputError(
            f"residuals: the stack has the shape {stack.shape}, the fit {fit.shape}. Pass the stack of the fit."
        )
    left = fit.copy(data=stack.data - fit.data)
    left.attrs = {"units": "1", "long_name": "Residual of optical density"}
    return left.rename("residual")


def _as_fitted(optical_density: Any, unmixed: xr.Dataset, where: str) -> xr.DataArray:
    """A stack with its energies in the order of the fit."""
    stack = as_stack(optical_density, where=where, name="optical_density")
    energies = np.asarray(unmixed["energy"].values, dtype=float)
    remedy = "Pass the stack of the fit."
    return same_energies(stack, energies, where=where, name="optical_density", remedy=remedy)


def explained_variance(optical_density: Any, unmixed: xr.Dataset, references: References, *, mask: Any = None) -> float:
    """Share of the variance of a stack about its grand mean that a fit explains (R2).

    Parameters
    ----------
    optical_density, unmixed, references
        As for :func:`residuals`.
    mask : DataArray or array of bool, space dims, optional
        Pixels that count. Default: all.

    Returns
    -------
    float
        At most 1; negative where the fit is worse than one number for the whole stack. NaN where the stack does not
        vary, as that of a single number.

    Raises
    ------
    InputError
        As :func:`residuals`, and where the mask is not bool or has another shape.

    Notes
    -----
    .. math:: R^2 = 1 - \\frac{\\sum (d - \\hat d)^2}{\\sum (d - \\bar d)^2}

    over all pixels and energies that are finite, with one mean for all of them. That differences of thickness count as
    variance makes it high: it compares fits of the same pixels, and is no test of one.

    Memory: three arrays as large as the stack; none of them at once where it is lazy.

    Examples
    --------
    Residuals of 1 and -1, and deviations from the mean of 1 and -1: nothing is explained:

    >>> from operando.spectral.unmix import unmix
    >>> references = xr.DataArray([[1.0, 1.0]], dims=("component", "energy"))
    >>> stack = np.array([3.0, 1.0])
    >>> round(explained_variance(stack, unmix(stack, references), references), 12)
    0.0
    """
    where = "explained_variance"
    rest: Any = residuals(optical_density, unmixed, references).data ** 2
    stack = _as_fitted(optical_density, unmixed, where)
    values: Any = stack.data
    finite = np.isfinite(values)
    use = finite & np.isfinite(rest)
    chosen = image_mask(mask, stack, where=where)
    if chosen is not None:
        use = use & chosen.data
    # Sums about a number near the mean, so that one pass gives the variance without a loss of digits.
    near = float(np.where(finite, values, 0.0).sum()) / max(int(finite.sum()), 1)
    shifted = np.where(use, values - near, 0.0)
    spread = float((shifted**2).sum() - shifted.sum() ** 2 / np.maximum(use.sum(), 1))
    return 1.0 - float(np.where(use, rest, 0.0).sum()) / spread if spread > 0 else float("nan")
