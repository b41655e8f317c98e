"""Every pixel of a stack as a sum of reference spectra, none of them negative."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.core.provenance import record
from operando.spectral.stacks import ENERGY_ATTRS, as_stack, energies_ev, same_energies
from operando.spectral.streaming import by_pixels
from operando.spectral.unmix_blocks import Fit, solve_block
from operando.spectral.unmix_noise import PoissonNoise
from operando.spectral.unmix_problem import TERMS, Problem, make_problem

_LONG_NAMES = {
    "weight": "Weight",
    "weight_sigma": "Standard deviation of weight",
    "weight_low": "Lower end of weight",
    "weight_high": "Upper end of weight",
    "constant": "Constant background",
    "slope": "Slope of background",
    "scattering": "Scattering background",
    "thickness": "Thickness",
    "r_factor": "R-factor",
    "n_energies": "Energies used",
    "unconstrained": "Weight without bound",
    "covariance": "Covariance of weight without bound",
}


def unmix(
    optical_density: Any,
    references: xr.DataArray | Mapping[str, xr.DataArray],
    *,
    sum_to_one: bool = False,
    background: str | Sequence[str] | None = None,
    sigma: Any = None,
    level: float | None = 0.95,
    mask: Any = None,
    scale_sigma: bool = False,
    covariance: bool = False,
) -> xr.Dataset:
    """Fit every pixel's spectrum by reference spectra with weights that are not negative.
    """
    where = "unmix"
    stack = _with_energies(as_stack(optical_density, where=where, name="optical_density"), references)
    given = _sigma(sigma, stack, where=where)
    shared = None
    if isinstance(given, xr.DataArray) and given.dims == ("energy",):
        shared, given = 1.0 / np.asarray(given.values, dtype=float) ** 2, None
    problem = make_problem(
        references, stack, background=background, sum_to_one=sum_to_one, precision=shared, where=where
    )
    noise = None
    if isinstance(given, PoissonNoise):
        noise = (*given.at(stack), float(given.dark), float(given.photons_per_count))
    fit = Fit(
        problem=problem,
        level=level,
        known_sigma=sigma is not None,
        scale_sigma=scale_sigma,
        covariance=covariance,
        noise=noise,
    )
    _warn_of_dependent(problem)
    layout = fit.layout()
    rows = max(part.stop for part in layout.values())
    per_pixel = given if isinstance(given, xr.DataArray) else None
    block = by_pixels(partial(solve_block, fit), stack, per_pixel, _mask(mask, stack), rows)
    return _dataset(fit, stack, block, layout, sigma)


def _with_energies(stack: xr.DataArray, references: Any) -> xr.DataArray:
    """Give a stack without energies those of the references, or numbers, if there are as many."""
    if "energy" in stack.coords:
        return stack.assign_coords(energy=("energy", energies_ev(stack, where="unmix"), ENERGY_ATTRS))
    energies = np.arange(stack.sizes["energy"], dtype=float)
    if isinstance(references, xr.DataArray) and "energy" in references.coords:
        own = energies_ev(references, where="unmix", name="references")
        if own.size != energies.size:
            raise InputError(
                f"unmix: optical_density has no energies, and {energies.size} images for the {own.size} energies of "
                "the references. Set them with stack.assign_coords(energy=[...])."
            )
        energies = own
    return stack.assign_coords(energy=("energy", energies, ENERGY_ATTRS))


def _sigma(sigma: Any, stack: xr.DataArray, *, where: str) -> Any:
    if sigma is None or isinstance(sigma, PoissonNoise):
        return sigma
    if np.ndim(sigma) == 0 and not isinstance(sigma, xr.DataArray):
        sigma = np.full(stack.sizes["energy"], float(sigma))
    array = as_stack(sigma, where=where, name="sigma")
    remedy = "Give sigma at the energies of the stack."
    array = same_energies(array, stack.coords["energy"].values, where=where, name="sigma", remedy=remedy)
    if array.ndim == 1 and array.chunks is None:
        values = np.asarray(array.values, dtype=float)
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"{where}: sigma must be positive and finite, got {values.min():g}. Leave out what is not.")
    elif array.shape != stack.shape:
        raise InputError(
            f"{where}: sigma must be one number, one per energy or of the shape {stack.shape} of the stack, got "
            f"{array.shape}. Broadcast it first."
        )
    return array


def _mask(mask: Any, stack: xr.DataArray) -> xr.DataArray | None:
    if mask is None:
        return None
    array = as_stack(mask, where="unmix", name="mask", energy=False)
    if array.shape != stack.shape[1:] or array.dtype != np.bool_:
        raise InputError(
            f"unmix: mask must be bool and of the shape {stack.shape[1:]} of an image, got {array.dtype} and "
            f"{array.shape}. Compare labels first, for example labels == 1."
        )
    return array


def _warn_of_dependent(problem: Problem) -> None:
    dependent = problem.dependent()
    if dependent.any():
        names = ", ".join(name for name, flag in zip(problem.names, dependent, strict=True) if flag)
        warnings.warn(
            f"unmix: the weights of {names} are not determined: one can be replaced by the others or the background "
            "without any change of the fit. Their errors are infinite; leave one out.",
            stacklevel=3,
        )


def _dataset(fit: Fit, stack: xr.DataArray, block: Any, layout: Mapping[str, slice], sigma: Any) -> xr.Dataset:
    problem = fit.problem
    space = tuple(map(str, stack.dims[1:]))
    coords = {name: c for name, c in stack.coords.items() if "energy" not in c.dims}
    names = np.array(problem.names, dtype=str)
    shape = tuple(stack.shape[1:])
    variables: dict[str, xr.DataArray] = {}
    for name, part in layout.items():
        values = block[part]
        if name == "covariance":
            dims: tuple[str, ...] = ("component", "component_other", *space)
            values = values.reshape(len(names), len(names), *shape)
        elif name.startswith("weight") or name == "unconstrained":
            dims = ("component", *space)
        else:
            dims, values = space, values[0]
        if name == "n_energies":
            values = values.astype(np.int32)
        variables[name] = xr.DataArray(values, dims=dims, attrs=_attrs(name, fit))
    made = xr.Dataset(variables).assign_coords(coords).assign_coords(component=("component", names))
    if fit.covariance:
        made = made.assign_coords(component_other=("component_other", names))
    made = made.assign_coords(energy=("energy", problem.energies, ENERGY_ATTRS))
    given = "none" if sigma is None else "poisson" if isinstance(sigma, PoissonNoise) else "given"
    parameters = {
        "background": list(problem.terms),
        "sum_to_one": problem.sum_to_one,
        "sigma": given,
        "level": fit.level,
        "scale_sigma": fit.scale_sigma,
        "references": list(problem.names),
    }
    dependent = [name for name, flag in zip(problem.names, problem.dependent(), strict=True) if flag]
    made.attrs = {
        "condition_number": problem.condition(),
        "undetermined": dependent,
        "background": list(problem.terms),
        "provenance": record("unmix", parameters),
        **({"simulated": stack.attrs["simulated"]} if "simulated" in stack.attrs else {}),
    }
    return made


def _attrs(name: str, fit: Fit) -> dict[str, Any]:
    unit = "um" if fit.problem.unit == "um-1" else "1"
    attrs: dict[str, Any] = {"units": unit if name.startswith(("weight", "thickness", "unconstrained")) else "1"}
    if name == "covariance":
        attrs["units"] = "um2" if unit == "um" else "1"
    if name == "slope":
        attrs["units"] = "eV-1"
    if name in TERMS:
        attrs["term"] = TERMS[name]
    if name in ("weight_low", "weight_high"):
        attrs["level"] = fit.level
    if name == "chi2_reduced":
        attrs["long_name"] = "Reduced chi-square" if fit.known_sigma else "Variance of the residual"
    else:
        attrs["long_name"] = _LONG_NAMES[name]
    return attrs
