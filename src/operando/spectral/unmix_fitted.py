"""What a fit says of the stack it was made on: fitted spectra, residuals, explained variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.spectral.match import References, match_energies
from operando.spectral.stacks import ENERGY_ATTRS, as_stack
from operando.spectral.unmix_problem import TERMS, term_values


def fitted(unmixed: xr.Dataset, references: References) -> xr.DataArray:
    """Optical density of a fit: (energy, [z], [y], [x])."""
    for name in ("weight", "energy"):
        if name not in unmixed:
            raise InputError(f"fitted: unmixed must hold {name!r}, got {sorted(map(str, unmixed))}. Pass the result of unmix.")
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
    """Measured minus fitted optical density: (energy, [z], [y], [x])."""
    stack = as_stack(optical_density, where="residuals", name="optical_density")
    fit = fitted(unmixed, references)
    if stack.shape != fit.shape:
        raise InputError(f"residuals: the stack has the shape {stack.shape}, the fit {fit.shape}. Pass the stack of the fit.")
    left = fit.copy(data=stack.data - fit.data)
    left.attrs = {"units": "1", "long_name": "Residual of optical density"}
    return left.rename("residual")


def explained_variance(
    optical_density: Any, unmixed: xr.Dataset, references: References, *, mask: Any = None
) -> float:
    """Share of the variance of a stack about its grand mean that a fit explains (R2)."""
    stack = as_stack(optical_density, where="explained_variance", name="optical_density")
    left = residuals(stack, unmixed, references)
    use = np.isfinite(left)
    if mask is not None:
        use = use & as_stack(mask, where="explained_variance", name="mask", energy=False).data
    values = stack.drop_vars(list(stack.coords)).where(use.drop_vars(list(use.coords)))
    spread = ((values - values.mean()) ** 2).sum()
    rest = (left.drop_vars(list(left.coords)) ** 2).where(use.drop_vars(list(use.coords))).sum()
    return float(1.0 - rest / spread)
