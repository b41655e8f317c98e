"""The fit of one block of pixels: :func:`solve_block` does what :func:`operando.spectral.unmix` promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operando.spectral.intervals import weight_errors
from operando.spectral.nnls import solve
from operando.spectral.unmix_problem import Problem

Floats = NDArray[np.float64]

_REWEIGHTINGS = 3


@dataclass(frozen=True)
class Fit:
    """How the pixels of a stack are fitted, and what is kept of it.

    ``noise`` is (net incident counts, relative variance of i0, dark counts, photons per count), the first two per
    energy: sigma is then worked out from the fit.
    """

    problem: Problem
    level: float | None
    known_sigma: bool
    scale_sigma: bool
    covariance: bool
    noise: tuple[Floats, Floats, float, float] | None = None

    def layout(self) -> dict[str, slice]:
        """Which rows of a solved block hold what."""
        n = len(self.problem.names)
        sizes = {"weight": n, "weight_sigma": n}
        if self.level is not None:
            sizes |= {"weight_low": n, "weight_high": n}
        sizes |= dict.fromkeys((*self.problem.terms, "thickness", "r_factor", "chi2_reduced", "n_energies"), 1)
        if self.covariance:
            sizes |= {"unconstrained": n, "covariance": n * n}
        ends = np.cumsum(list(sizes.values()))
        return {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}


@dataclass
class _Solved:
    """Per pixel: all coefficients, weights without bound and their covariance, and misfits.

    ``misfits`` are sums of squares of residual, data and residual over sigma, and the number of energies; ``removed`` is
    what of the third the fit without bound would not leave.
    """

    coefficients: Floats
    unconstrained: Floats
    covariance: Floats
    misfits: Floats
    removed: Floats


def solve_block(fit: Fit, data: Floats, sigma: Floats | None, first: int, stop: int, out: Floats) -> None:
    """Fit the pixels ``first:stop`` of ``data`` (energy, pixels) and fill ``out`` (rows of the layout, stop - first)."""
    if sigma is not None:
        _report(fit, _weighted(fit.problem, data, data, sigma, first, stop, are_sigma=True), out)
        return
    if fit.noise is not None:
        # Every energy of these pixels is held in float64, a few times: 1 MB of pixels at a time.
        step = max(64, (1 << 20) // (8 * len(fit.problem.energies)))
        for start in range(first, stop, step):
            end = min(start + step, stop)
            _report(fit, _counted(fit, data[:, start:end]), out[:, start - first : end - first])
        return
    solved, missing = _shared(fit.problem, data, first, stop)
    _report(fit, solved, out)
    if missing.size:
        values = np.ascontiguousarray(data[:, first + missing], dtype=np.float64)
        precision = np.repeat(fit.problem.precision[:, None], missing.size, axis=1)
        part = np.empty((len(out), missing.size))
        _report(fit, _weighted(fit.problem, values, values, precision, 0, missing.size, are_sigma=False), part)
        out[:, missing] = part


def _shared(problem: Problem, data: Floats, first: int, stop: int) -> tuple[_Solved, NDArray[np.intp]]:
    """Fit with one factor for all pixels; also says which have a missing energy and are left NaN."""
    from operando.spectral.unmix_compiled import misfit, project

    pixels = stop - first
    target, squares = np.empty((pixels, len(problem.triangle))), np.empty(pixels)
    project(data, first, stop, problem.operator, target, squares)
    missing = np.flatnonzero(~np.isfinite(squares))
    target[missing] = np.nan
    coefficients = solve(
        problem.triangle[None], target, problem.free, sum_to_one=problem.sum_to_one, table=problem.table
    )
    removed = ((coefficients @ problem.triangle.T - target) ** 2).sum(axis=1)
    # Pythagoras: the data is what the design reaches, and the rest. Digits are lost where hardly anything is left.
    chi2 = problem.precision[0] * squares - (target**2).sum(axis=1) + removed
    misfits = np.stack([chi2 / problem.precision[0], squares, chi2, np.full(pixels, len(problem.energies))])
    uneven = np.ptp(problem.precision) > 0
    again = np.flatnonzero((chi2 < 1e-6 * problem.precision[0] * squares) | uneven)
    if again.size:
        values = data[:, first + again]
        precision = np.repeat(problem.precision[:, None], again.size, axis=1)
        exact = np.empty((4, again.size))
        misfit(values, values, precision, False, 0, again.size, problem.design, coefficients[again], exact)
        misfits[:, again] = exact
    rows = _inverse(problem.triangle[None])[0, problem.free :]
    return _Solved(coefficients, target @ rows.T, rows @ rows.T, misfits, removed), missing


def _weighted(
    problem: Problem, data: Floats, response: Floats, errors: Floats, first: int, stop: int, *, are_sigma: bool
) -> _Solved:
    """Fit with a factor of its own for every pixel."""
    from operando.spectral.unmix_compiled import accumulate, factorize, misfit

    pixels, m = stop - first, len(problem.triangle)
    gram, target, factor = np.empty((pixels, m, m)), np.empty((pixels, m)), np.empty((pixels, m, m))
    # The columns of the shared basis are orthogonal: weights of a pixel can hardly make them dependent again.
    accumulate(response, errors, are_sigma, first, stop, problem.basis, gram, target)
    factorize(gram, target, problem.triangle, factor)
    coefficients = solve(factor, target, problem.free, sum_to_one=problem.sum_to_one)
    misfits = np.empty((4, pixels))
    misfit(data, response, errors, are_sigma, first, stop, problem.design, coefficients, misfits)
    inverse = _inverse(factor)
    removed = ((np.einsum("pij,pj->pi", factor, coefficients) - target) ** 2).sum(axis=1)
    rows = inverse[:, problem.free :]
    return _Solved(
        coefficients, np.einsum("pij,pj->pi", rows, target), rows @ rows.swapaxes(1, 2), misfits, removed
    )


def _counted(fit: Fit, data: Floats) -> _Solved:
    """Fit of counted photons, with sigma from the fit itself."""
    assert fit.noise is not None
    net, relative, dark, photons = fit.noise
    pixels = data.shape[1]
    values = np.ascontiguousarray(data, dtype=np.float64)
    seen = np.isfinite(values)
    response, precision = values, seen.astype(np.float64)
    for _ in range(_REWEIGHTINGS):
        solved = _weighted(fit.problem, values, response, precision, 0, pixels, are_sigma=False)
        fitted = fit.problem.design @ solved.coefficients.T
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            counts = net[:, None] * np.exp(-fitted)
            precision = 1.0 / ((counts + dark) / (photons * counts**2) + relative[:, None])
            response = fitted + 1.0 - np.exp(fitted - values)
        precision[~seen] = 0.0
    return _weighted(fit.problem, values, response, precision, 0, pixels, are_sigma=False)


def _inverse(factor: Floats) -> Floats:
    from operando.spectral.unmix_compiled import invert

    inverse = np.empty_like(factor)
    invert(factor, inverse)
    return inverse


def _report(fit: Fit, solved: _Solved, out: Floats) -> None:
    """Fill a block of results from solved pixels."""
    problem, rows = fit.problem, fit.layout()
    f, n = problem.free, len(problem.names)
    weights = solved.coefficients[:, f:]
    fine = np.isfinite(weights).all(axis=1)
    unconstrained, covariance = solved.unconstrained, solved.covariance
    dependent = problem.dependent()
    if problem.sum_to_one:
        unconstrained, covariance = _on_the_sum(unconstrained, covariance, ~_dropped(covariance))
    out[rows["weight"]] = weights.T
    for k, term in enumerate(problem.terms):
        out[rows[term]] = solved.coefficients[:, k]
    out[rows["thickness"]] = weights.sum(axis=1)
    rest, square, chi2, energies = solved.misfits
    with np.errstate(divide="ignore", invalid="ignore"):
        out[rows["r_factor"]] = rest / square
        left = np.maximum(chi2 - solved.removed, 0.0) / _none_below_one(energies - f - n + problem.sum_to_one)
        used = (weights > 0).sum(axis=1)
        out[rows["chi2_reduced"]] = chi2 / _none_below_one(energies - f - used + problem.sum_to_one)
    out[rows["n_energies"]] = energies
    for name in ("r_factor", "chi2_reduced"):
        out[rows[name], ~fine] = np.nan
    if not fit.known_sigma:
        scale = left
    elif fit.scale_sigma:
        scale = np.where(left > 1, left, 1.0)
    else:
        scale = np.ones_like(left)
    _errors(fit, weights, unconstrained, covariance, scale, fine, dependent, out)


def _errors(
    fit: Fit,
    weights: Floats,
    unconstrained: Floats,
    covariance: Floats,
    scale: Floats,
    fine: NDArray[np.bool_],
    dependent: NDArray[np.bool_],
    out: Floats,
) -> None:
    rows = fit.layout()
    fine = fine & np.isfinite(scale)
    for name in ("weight_sigma", "weight_low", "weight_high", "unconstrained", "covariance"):
        if name in rows:
            out[rows[name]] = np.nan
    # Errors scale with the noise: in units of it, the covariance is the same for all pixels that share a factor.
    unit = np.sqrt(scale[fine])[:, None]
    safe = np.where(unit > 0, unit, 1.0)
    one = covariance if covariance.ndim == 2 else covariance[fine]
    sigma, low, high = weight_errors(
        weights[fine] / safe,
        unconstrained[fine] / safe,
        one,
        sum_to_one=fit.problem.sum_to_one,
        level=0.95 if fit.level is None else fit.level,
    )
    sigma, low, high = sigma * unit, np.where(unit > 0, low * unit, weights[fine]), np.where(unit > 0, high * unit, weights[fine])
    sigma[:, dependent], low[:, dependent], high[:, dependent] = np.inf, 0.0, np.inf
    out[rows["weight_sigma"], fine] = sigma.T
    if fit.level is not None:
        out[rows["weight_low"], fine] = low.T
        out[rows["weight_high"], fine] = high.T
    if fit.covariance:
        out[rows["unconstrained"]] = unconstrained.T
        n = len(fit.problem.names)
        whole = np.broadcast_to(covariance, (len(weights), n, n)) * scale[:, None, None]
        out[rows["covariance"]] = whole.reshape(len(weights), n * n).T


def _none_below_one(freedom: Any) -> Floats:
    return np.where(freedom > 0, freedom, np.nan)


def _dropped(covariance: Floats) -> NDArray[np.bool_]:
    diagonal: NDArray[np.bool_] = np.einsum("...ii->...i", covariance) == 0
    return diagonal


def _on_the_sum(unconstrained: Floats, covariance: Floats, kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Estimate and covariance once the weights are made to add up to one."""
    toward = (covariance * kept[..., None, :]).sum(axis=-1)
    total = toward.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = toward / total
    moved = unconstrained + share * (1.0 - unconstrained.sum(axis=-1, keepdims=True))
    return moved, covariance - share[..., :, None] * toward[..., None, :]
