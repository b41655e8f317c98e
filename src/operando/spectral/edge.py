"""The absorption edge of every pixel: what lies before it subtracted, and what it rises by as the measure of 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.spectral.stacks import as_stack, energies_ev, same_energies

KINDS = ("constant", "linear", "victoreen")


def subtract_pre_edge(
    optical_density: Any,
    *,
    below: float | None = None,
    between: tuple[float, float] | None = None,
    kind: str = "constant",
) -> xr.DataArray:
    """Subtract what absorbs before the edge.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, [z], [y], [x])
        With energies in eV. May be lazy.
    below : float, eV
        Energies below this one lie before the edge.
    between : (low, high), eV
        Instead of ``below``: energies of this range, both ends included.
    kind : {"constant", "linear", "victoreen"}
        What is fitted and continued over all energies: the mean; a + b E; or a E^-3 + b E^-4.

    Returns
    -------
    DataArray, as the input
        NaN where a pixel has too few values before the edge.

    Raises
    ------
    InputError, AxesError
        Where the range holds fewer energies than the kind has terms, or none of ``below`` and ``between`` is given.

    Notes
    -----
    Least squares, pixel by pixel; values that are NaN are left out. The error of what is subtracted is common to all
    energies of a pixel: a fit afterwards had better have a free constant, whose weight says what was left.
    A line continued far beyond its range grows in error with the distance; a constant does not.

    Memory: lazy where the input is lazy; else one array more, and three in 64 bits while at work.

    Examples
    --------
    >>> od = xr.DataArray([0.5, 0.7, 2.0], dims="energy", coords={"energy": [700.0, 701.0, 710.0]})
    >>> subtract_pre_edge(od, below=705).round(2).values.tolist()
    [-0.1, 0.1, 1.4]
    """
    where = "subtract_pre_edge"
    stack = as_stack(optical_density, where=where, name="optical_density")
    if (below is None) == (between is None):
        raise InputError(f"{where}: one of below and between must say where the edge begins, got {below}, {between}.")
    window = between if between is not None else (-np.inf, np.nextafter(float(below or 0.0), -np.inf))
    energies = energies_ev(stack, where=where)
    used = _window(energies, window, kind, where=where, name="below" if between is None else "between")
    line = _line(stack, energies, used, kind)
    result = (stack - line).astype(_kind_of_float(stack)).transpose(*stack.dims).rename(stack.name)
    result.attrs = {
        **stack.attrs,
        "pre_edge_ev": [float(energies[used].min()), float(energies[used].max())],
        "provenance": record("operando.spectral.subtract_pre_edge", {"window": window, "kind": kind}),
    }
    return result


def normalize_edge_step(
    optical_density: Any,
    *,
    pre_edge: tuple[float, float],
    post_edge: tuple[float, float],
    at: float | None = None,
    kind: str = "constant",
    post_kind: str | None = None,
    sigma: Any = None,
    significance: float = 3.0,
) -> xr.Dataset:
    """Scale every pixel to an edge of height one.

    Parameters
    ----------
    optical_density : DataArray, dims (energy, [z], [y], [x])
        With energies in eV. May be lazy.
    pre_edge, post_edge : (low, high), eV
        Energies before and after the edge, both ends included.
    at : float, eV, optional
        Where the height is taken. Default: the middle between the two ranges.
    kind : {"constant", "linear", "victoreen"}
        What is fitted before the edge.
    post_kind : {"constant", "linear"}, optional
        What is fitted after the edge. Default: constant, or linear where ``kind`` is not constant.
    sigma : DataArray, as ``optical_density``, optional
        Standard error of every value. Default: from the residuals of the two fits.
    significance : float
        Standard errors by which the height must be above zero.

    Returns
    -------
    Dataset
        ``normalized`` (as the input), ``edge_step`` and ``edge_step_sigma`` (space dims), units "1". ``normalized`` is
        NaN where the step is not significant; the step itself never is for that reason.

    Raises
    ------
    InputError, AxesError
        Where a range holds fewer energies than the fit has terms (without ``sigma``: at most as many), or the
        ranges overlap.

    Notes
    -----
    .. math:: \\mu(E) = \\frac{\\mathrm{OD}(E) - p(E)}{q(E_0) - p(E_0)}

    with the fits p before and q after the edge. Each is least squares without weights; its standard error at
    :math:`E_0` is that of independent values. Oscillations above the edge count as noise where ``sigma`` is not given.
    What is divided by is noisy: the mean of normalized thin pixels is too high by the relative variance of the step, up
    to a ninth at a significance of 3.

    Memory: lazy where the input is lazy; else one array more, and three to four in 64 bits while at work.

    Examples
    --------
    A step from 0.5 to 2.5:

    >>> od = xr.DataArray([0.4, 0.6, 3.0, 2.4, 2.6], dims="energy", coords={"energy": [700.0, 701, 710, 720, 721]})
    >>> found = normalize_edge_step(od, pre_edge=(700, 701), post_edge=(720, 721))
    >>> found.edge_step.item(), found.normalized.values.round(2).tolist()
    (2.0, [-0.05, 0.05, 1.25, 0.95, 1.05])
    """
    where = "normalize_edge_step"
    stack = as_stack(optical_density, where=where, name="optical_density")
    energies = energies_ev(stack, where=where)
    after = post_kind if post_kind is not None else ("constant" if kind == "constant" else "linear")
    spare = 0 if sigma is not None else 1
    before_used = _window(energies, pre_edge, kind, where=where, name="pre_edge", spare=spare)
    after_used = _window(energies, post_edge, after, where=where, name="post_edge", spare=spare)
    if energies[before_used].max() >= energies[after_used].min():
        raise InputError(f"{where}: pre_edge must end before post_edge begins, got {pre_edge} and {post_edge} eV.")
    if not significance >= 0:
        raise InputError(f"{where}: significance must not be negative, got {significance!r}. 3 is usual.")
    place = float(at) if at is not None else 0.5 * (energies[before_used].max() + energies[after_used].min())
    errors = None
    if sigma is not None:
        errors = as_stack(sigma, where=where, name="sigma")
        errors = same_energies(errors, energies, where=where, name="sigma", remedy="Give it at those of the stack.")
        errors = errors.drop_vars("energy", errors="ignore")
    low, low_variance = _at(stack, energies, before_used, kind, place, errors)
    high, high_variance = _at(stack, energies, after_used, after, place, errors)
    step = (high - low).rename("edge_step")
    step_sigma = ((low_variance + high_variance) ** 0.5).rename("edge_step_sigma")
    significant = (step > significance * step_sigma) & (step > 0)
    line = _line(stack, energies, before_used, kind)
    scaled = ((stack - line) / step.where(significant)).astype(_kind_of_float(stack)).transpose(*stack.dims)
    scaled.attrs = {"units": "1", "long_name": "Normalized absorption"}
    step.attrs = {"units": "1", "long_name": "Edge step", "at_ev": place}
    step_sigma.attrs = {"units": "1", "long_name": "Standard error of the edge step"}
    made_by = record(
        "operando.spectral.normalize_edge_step",
        {"pre_edge": pre_edge, "post_edge": post_edge, "at": place, "kind": kind, "significance": significance},
    )
    kept = {"simulated": True} if stack.attrs.get("simulated") else {}
    return xr.Dataset(
        {"normalized": scaled, "edge_step": step, "edge_step_sigma": step_sigma}, attrs={"provenance": made_by, **kept}
    )


def _window(
    energies: np.ndarray, window: tuple[float, float], kind: str, *, where: str, name: str, spare: int = 0
) -> np.ndarray:
    """Which energies a fit uses, after a check that they are enough for it."""
    if kind not in KINDS:
        raise InputError(f"{where}: there is no kind {kind!r}. {nearest(str(kind), KINDS)}")
    try:
        low, high = map(float, window)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} must be two energies (low, high) in eV, got {window!r}.") from None
    used = (energies >= low) & (energies <= high)
    need = (1 if kind == "constant" else 2) + spare
    if used.sum() < need:
        raise InputError(
            f"{where}: {name} must hold at least {need} energies for kind={kind!r}, got {int(used.sum())} from "
            f"{low:g} to {high:g} eV. The stack reaches from {energies.min():g} to {energies.max():g} eV."
            + (" Or pass sigma, the error of every value." if spare else "")
        )
    return np.asarray(used)


def _terms(energies: np.ndarray, kind: str, center: float) -> np.ndarray:
    """Terms of a fit, (term, energy), each of the order of one."""
    if kind == "constant":
        return np.ones((1, energies.size))
    if kind == "linear":
        return np.stack([np.ones(energies.size), (energies - center) / max(float(np.ptp(energies)), 1.0)])
    return np.stack([(center / energies) ** 3, (center / energies) ** 4])


def _line(stack: xr.DataArray, energies: np.ndarray, used: np.ndarray, kind: str) -> xr.DataArray:
    """The fit to the energies used, at all of them."""
    terms = _terms(energies, kind, float(energies[used].mean()))
    coefficients, _ = _fit(stack, terms, used, None)
    line: xr.DataArray = xr.dot(coefficients, xr.DataArray(terms, dims=("component", "energy")), dim="component")
    return line.transpose(*stack.dims)


def _at(
    stack: xr.DataArray,
    energies: np.ndarray,
    used: np.ndarray,
    kind: str,
    place: float,
    errors: xr.DataArray | None,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Value of a fit at one energy and its variance."""
    # The place is one energy more, so that its terms are scaled like those of the others.
    terms = _terms(np.append(energies, place), kind, float(energies[used].mean()))
    at = xr.DataArray(terms[:, -1], dims="component")
    coefficients, covariance = _fit(stack, terms[:, :-1], used, errors)
    value: xr.DataArray = xr.dot(coefficients, at, dim="component")
    variance: xr.DataArray = xr.dot(covariance, at, at.rename(component="term"), dim=["component", "term"])
    return value, variance


def _fit(
    stack: xr.DataArray, terms: np.ndarray, used: np.ndarray, errors: xr.DataArray | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Coefficients (component, ...) and their covariance (component, term, ...) by least squares, NaN left out."""
    part = stack.isel(energy=np.flatnonzero(used)).drop_vars("energy")
    basis = terms[:, used]
    if part.chunks is not None:
        part = part.chunk({"energy": -1})
    inputs = [part]
    if errors is not None:
        inputs.append(errors.isel(energy=np.flatnonzero(used)))
        if part.chunks is not None:
            inputs[1] = inputs[1].chunk({"energy": -1})
    count = basis.shape[0]
    coefficients, covariance = xr.apply_ufunc(
        lambda *arrays: _least_squares(basis, *arrays),
        *inputs,
        input_core_dims=[["energy"]] * len(inputs),
        output_core_dims=[["component"], ["component", "term"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"component": count, "term": count}},
        output_dtypes=[np.float64, np.float64],
    )
    return coefficients, covariance


def _least_squares(basis: np.ndarray, values: np.ndarray, sigma: np.ndarray | None = None) -> tuple[Any, Any]:
    """Fit of (..., energy) by (term, energy)."""
    seen = np.isfinite(values)
    filled = np.where(seen, values, 0.0).astype(float)
    gram = np.einsum("ae,be,...e->...ab", basis, basis, seen.astype(float))
    right = np.einsum("ae,...e->...a", basis, filled)
    count = seen.sum(axis=-1)
    enough = count >= basis.shape[0]
    # What cannot be solved is solved as the identity and set to NaN.
    gram = np.where(enough[..., None, None], gram, np.eye(basis.shape[0]))
    inverse = np.linalg.inv(gram)
    found = np.einsum("...ab,...b->...a", inverse, right)
    if sigma is None:
        rest = np.where(seen, filled - np.einsum("...a,ae->...e", found, basis), 0.0)
        freedom = count - basis.shape[0]
        noise = np.where(freedom > 0, (rest**2).sum(axis=-1) / np.maximum(freedom, 1), np.nan)
        covariance = inverse * noise[..., None, None]
    else:
        each = np.where(seen, np.asarray(sigma, dtype=float) ** 2, 0.0)
        middle = np.einsum("ae,be,...e->...ab", basis, basis, each)
        covariance = inverse @ middle @ inverse
    found = np.where(enough[..., None], found, np.nan)
    return found, np.where(enough[..., None, None], covariance, np.nan)


def _kind_of_float(stack: xr.DataArray) -> Any:
    return stack.dtype if np.issubdtype(stack.dtype, np.floating) else np.float64
