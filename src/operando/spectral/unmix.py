"""Every pixel of a stack as a sum of reference spectra, none of them negative."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from operando.core.provenance import record
from operando.spectral.intervals import checked_level
from operando.spectral.match import with_energies
from operando.spectral.stacks import ENERGY_ATTRS, as_stack, image_mask, real
from operando.spectral.streaming import by_pixels
from operando.spectral.unmix_blocks import Fit, solve_block
from operando.spectral.unmix_noise import PoissonNoise, checked_sigma
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
    """Fit the spectrum of every pixel by reference spectra, with weights that are not negative.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, [z], [y], [x]), or array in that order
        Natural logarithm of I0 over counts, unit "1"; NaN where a number is missing. May be lazy.
    references : DataArray, dims (component, energy) in any order, or mapping of names to (energy,)
        Spectra of the pure phases, on any energies that enclose those of the stack (:func:`match_energies`). In "um-1"
        (optical density per um), weights and thickness come out in um; else in multiples of the reference's thickness.
    sum_to_one : bool
        Weights of a pixel add up to exactly one. Only for stacks that have been divided by their thickness.
    background : {None, "constant", "linear", "scattering"} or sequence of {"constant", "slope", "scattering"}
        Terms that are fitted beside the references, with a free sign: 1; E minus the mean energy, in eV; and the
        inverse square of E over the mean energy. "linear" is constant and slope, "scattering" constant and scattering.
    sigma : None, float, DataArray (energy,) or as the stack, or PoissonNoise
        Standard deviation of the optical density. None: all numbers count the same, and the residual of each pixel
        says how large its noise is. A :class:`PoissonNoise` is evaluated at the fit and is right for counts; an array
        made from the noisy counts themselves biases (Notes). Where an array like the stack is not positive and finite,
        the number is treated as missing.
    level : float or None
        Of the interval from ``weight_low`` to ``weight_high``. None: weights only, without any error.
    mask : DataArray or array of bool, space dims, optional
        Pixels to fit; the others are NaN.
    scale_sigma : bool
        With ``sigma``: multiply errors by the square root of the reduced chi-square (of the fit without bound) where
        that exceeds one, so that a fit that does not describe the data does not claim small errors.
    covariance : bool
        Add ``unconstrained``, the weights without bound, and their ``covariance``.

    Returns
    -------
    Dataset, space dims and coordinates as the stack; lazy if the stack is
        - ``weight`` (component, ...): um or 1
        - ``weight_sigma``, ``weight_low``, ``weight_high`` (component, ...): see :func:`weight_errors`
        - ``constant`` (1), ``slope`` (eV-1), ``scattering`` (1): one for each background term
        - ``thickness``: sum of the weights
        - ``r_factor`` (1): sum of squared residuals over sum of squared data
        - ``chi2_reduced``: of the fit, with as many parameters as there are terms and weights above zero. Without
          ``sigma`` it is the variance of the residual
        - ``n_energies``: how many energies counted
        - with ``covariance``: ``unconstrained`` (component, ...), ``covariance`` (component, component_other, ...)

        The coordinate ``energy`` holds the energies of the fit. ``attrs``: ``condition_number`` of the references
        (each of length one, background removed), ``undetermined`` references, ``background`` terms.

    Warns
    -----
    UserWarning
        Where references depend on each other or on the background: the fit is right, its weights are one choice of
        many, and their errors infinite.

    Raises
    ------
    InputError
        Where energies are outside those of a reference, fewer than references and terms, or arguments do not fit.

    Notes
    -----
    For each pixel, with the m columns of B the background and those of A the references,

    .. math:: \\min_{b,\\, w \\ge 0} \\sum_E \\frac{(d_E - (B b)_E - (A w)_E)^2}{\\sigma_E^2}

    exactly: an orthogonal factor [B A] = Q R turns it into :math:`|R (b, w) - Q^T d|`, the background is eliminated,
    and :func:`nonnegative_least_squares` says how the rest is solved. Weights agree with those of
    :func:`scipy.optimize.nnls` to about 1e-16 times the condition number. With ``sigma`` per pixel, or missing
    energies, each pixel has a factor of its own, made from Q, not from A, so that its condition number is not squared.

    *Which sigma.* :math:`\\sigma^2 = 1/N` from the measured counts N gives a count that happens to be high, and so an
    optical density that is too low, more weight: thickness comes out too small by about 1/(2 N). Equal weights or the
    true ones leave the bias of the logarithm, as large and of the other sign. A :class:`PoissonNoise` has neither.

    Background, thickness and flat references trade against each other; where the sum of weights is smaller than the
    constant, suspect the energies, not the sample. A spectrum that no sum of references describes still gets weights:
    look at ``r_factor``, ``chi2_reduced`` and :func:`residuals`. A negative constant is common (references that still
    have their pre-edge) and is why its sign is free.

    Memory: in memory, the stack is worked on in place (one whose axes are not stored in this order is copied once),
    8192 pixels at a time per core, beside the result (8 bytes per number; for 5 references 24 numbers per pixel). A
    lazy stack costs one chunk of pixels with all its energies per worker, at most 64 MB, and its result is lazy. A
    stack that is stored image by image has no such chunks: store it in chunks of pixels first (OME-Zarr), else Dask
    holds pieces of all images while it makes them.

    Examples
    --------
    Two references that absorb at one energy each. The second pixel has less than nothing of b:

    >>> references = xr.DataArray(np.eye(2), dims=("component", "energy"), coords={"component": ["a", "b"]})
    >>> stack = xr.DataArray([[[2.0, 2.0]], [[1.0, -1.0]]], dims=("energy", "y", "x"))
    >>> unmixed = unmix(stack, references, sigma=0.5)
    >>> unmixed["weight"].squeeze().values.tolist()
    [[2.0, 2.0], [1.0, 0.0]]
    >>> unmixed["r_factor"].values.tolist()
    [[0.0, 0.2]]
    """
    where = "unmix"
    if level is not None:
        level = checked_level(level, where)
    stack = real(as_stack(optical_density, where=where, name="optical_density"), where=where)
    stack = with_energies(stack, references, where=where)
    given = checked_sigma(sigma, stack, where=where)
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
    layout = fit.layout
    rows = max(part.stop for part in layout.values())
    per_pixel = given if isinstance(given, xr.DataArray) else None
    block = by_pixels(partial(solve_block, fit), stack, per_pixel, image_mask(mask, stack, where="unmix"), rows)
    return _dataset(fit, stack, block, layout, sigma)


def _warn_of_dependent(problem: Problem) -> None:
    dependent = problem.dependent
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
            # Pixels outside the mask are NaN in every row of the block.
            values = np.nan_to_num(values).astype(np.int32)
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
    dependent = [name for name, flag in zip(problem.names, problem.dependent, strict=True) if flag]
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
