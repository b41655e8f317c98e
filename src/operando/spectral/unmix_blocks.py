"""The fit of one block of pixels: :func:`solve_block` does what :func:`operando.spectral.unmix` promises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def layout(self) -> dict[str, slice]:
        """Which rows of a solved block hold what."""
        n = len(self.problem.names)
        sizes = {"weight": n}
        if self.level is not None:
            sizes |= {"weight_sigma": n, "weight_low": n, "weight_high": n}
        sizes |= dict.fromkeys((*self.problem.terms, "thickness", "r_factor", "chi2_reduced", "n_energies"), 1)
        if self.covariance:
            sizes |= {"unconstrained": n, "covariance": n * n}
        ends = np.cumsum(list(sizes.values()))
        return {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}


@dataclass
class _Solved:
    """Pixels of a block after the fit.

    ``coefficients`` (m, pixels). ``misfits`` (4, pixels) are sums of squares of residual, data and residual over
    sigma, and the number of energies; ``removed`` is what of the third the fit without bound would not leave.
    ``unconstrained`` (n, pixels) are the weights without bound and ``covariance`` ([pixels], n, n) is theirs, in
    units of sigma.
    """

    coefficients: Floats
    misfits: Floats
    removed: Floats
    unconstrained: Floats
    covariance: Floats


def solve_block(fit: Fit, data: Floats, sigma: Floats | None, first: int, stop: int, out: Floats) -> None:
    """Fit pixels ``first:stop`` of ``data`` (energy, pixels); fills ``out`` (rows of the layout, stop - first)."""
    if sigma is not None:
        _report(fit, _weighted(fit.problem, data, data, sigma, first, stop, are_sigma=True), out)
    elif fit.noise is not None:
        # Every energy of these pixels is held in float64, a few times: 1 MB of pixels at a time.
        step = max(64, (1 << 20) // (8 * len(fit.problem.energies)))
        for start in range(first, stop, step):
            end = min(start + step, stop)
            _report(fit, _counted(fit, data[:, start:end]), out[:, start - first : end - first])
    else:
        solved = _shared(fit.problem, data, first, stop)
        _report(fit, solved, out)
        missing = np.flatnonzero(~np.isfinite(solved.misfits[1]))
        if missing.size:
            values = np.ascontiguousarray(data[:, first + missing], dtype=np.float64)
            precision = np.repeat(fit.problem.precision[:, None], missing.size, axis=1)
            part = np.empty((len(out), missing.size))
            _report(fit, _weighted(fit.problem, values, values, precision, 0, missing.size, are_sigma=False), part)
            out[:, missing] = part


def _shared(problem: Problem, data: Floats, first: int, stop: int) -> _Solved:
    """Fit with one factor for all pixels; those with a missing energy are left NaN."""
    from operando.spectral.unmix_compiled import fit_shared, misfit, multiply, project

    pixels, m = stop - first, len(problem.triangle)
    target, squares = np.empty((m, pixels)), np.empty(pixels)
    coefficients, removed = np.empty((m, pixels)), np.empty(pixels)
    if problem.table is not None:
        fit_shared(
            data,
            first,
            stop,
            problem.operator,
            problem.triangle,
            problem.free,
            problem.table.operators,
            problem.table.limits,
            problem.sum_to_one,
            coefficients,
            target,
            squares,
            removed,
        )
    else:
        project(data, first, stop, problem.operator, target, squares)
        coefficients[:] = np.nan
    missing = np.flatnonzero(~np.isfinite(squares))
    target[:, missing], squares[missing] = np.nan, np.nan
    left = np.flatnonzero(np.isnan(coefficients[0]) & np.isfinite(squares))
    if left.size:
        some = np.ascontiguousarray(target[:, left].T)
        coefficients[:, left] = solve(problem.triangle[None], some, problem.free, sum_to_one=problem.sum_to_one).T
        removed[left] = ((problem.triangle @ coefficients[:, left] - target[:, left]) ** 2).sum(axis=0)
    # Pythagoras: the data is what the design reaches, and the rest. Digits are lost where hardly anything is left.
    precision = problem.precision[0]
    chi2 = precision * squares - np.einsum("kp,kp->p", target, target) + removed
    misfits = np.empty((4, pixels))
    misfits[0], misfits[1], misfits[2], misfits[3] = chi2 / precision, squares, chi2, len(problem.energies)
    again = np.flatnonzero((chi2 < 1e-6 * precision * squares) | problem.uneven)
    if again.size:
        values = data[:, first + again]
        shared = np.repeat(problem.precision[:, None], again.size, axis=1)
        exact = np.empty((4, again.size))
        misfit(values, values, shared, False, 0, again.size, problem.design, coefficients[:, again], exact)
        misfits[:, again] = exact
    unconstrained = np.empty((len(problem.names), pixels))
    multiply(problem.inverse, target, unconstrained)
    return _Solved(coefficients, misfits, removed, unconstrained, problem.inverse @ problem.inverse.T)


def _weighted(
    problem: Problem, data: Floats, response: Floats, errors: Floats, first: int, stop: int, *, are_sigma: bool
) -> _Solved:
    """Fit with a factor of its own for every pixel."""
    from operando.spectral.unmix_compiled import misfit, without_bound

    pixels, n = stop - first, len(problem.names)
    factor, target, solved = _normal_equations(problem, response, errors, first, stop, are_sigma=are_sigma)
    unconstrained, covariance, removed = np.empty((n, pixels)), np.empty((pixels, n, n)), np.empty(pixels)
    without_bound(factor, target, solved, unconstrained, covariance, removed)
    coefficients, misfits = np.ascontiguousarray(solved.T), np.empty((4, pixels))
    misfit(data, response, errors, are_sigma, first, stop, problem.design, coefficients, misfits)
    return _Solved(coefficients, misfits, removed, unconstrained, covariance)


def _normal_equations(
    problem: Problem, response: Floats, errors: Floats, first: int, stop: int, *, are_sigma: bool
) -> tuple[Floats, Floats, Floats]:
    """Factor, target and coefficients of each pixel."""
    from operando.spectral.unmix_compiled import accumulate, factorize

    pixels, m = stop - first, len(problem.triangle)
    gram, target, factor = np.empty((pixels, m, m)), np.empty((pixels, m)), np.empty((pixels, m, m))
    # The columns of the shared basis are orthogonal: weights of a pixel can hardly make them dependent again.
    accumulate(response, errors, are_sigma, first, stop, problem.basis, gram, target)
    factorize(gram, target, problem.triangle, factor)
    return factor, target, solve(factor, target, problem.free, sum_to_one=problem.sum_to_one)


def _counted(fit: Fit, data: Floats) -> _Solved:
    """Fit of counted photons, with sigma from the fit itself."""
    from operando.spectral.unmix_compiled import multiply, reweigh

    assert fit.noise is not None
    net, relative, dark, photons = fit.noise
    problem, pixels = fit.problem, data.shape[1]
    values = np.ascontiguousarray(data, dtype=np.float64)
    with np.errstate(over="ignore"):
        measured = np.where(np.isfinite(values), np.exp(-values), -1.0)
    response, precision = values, (measured >= 0).astype(np.float64)
    # With equal weights all pixels without a gap share one factor.
    coefficients = _shared(problem, values, 0, pixels).coefficients
    gaps = np.flatnonzero(np.isnan(coefficients[0]))
    if gaps.size:
        some = np.ascontiguousarray(values[:, gaps]), np.ascontiguousarray(precision[:, gaps])
        coefficients[:, gaps] = _normal_equations(problem, *some, 0, gaps.size, are_sigma=False)[2].T
    for again in range(_REWEIGHTINGS):
        if again:
            solved = _normal_equations(problem, response, precision, 0, pixels, are_sigma=False)[2]
            coefficients = np.ascontiguousarray(solved.T)
        fitted = np.empty(values.shape)
        multiply(problem.design, coefficients, fitted)
        with np.errstate(over="ignore"):
            reweigh(fitted, np.exp(-fitted), measured, net, relative, dark, photons, precision)
        response = fitted
    return _weighted(problem, values, response, precision, 0, pixels, are_sigma=False)


def _report(fit: Fit, solved: _Solved, out: Floats) -> None:
    """Fill a block of results from solved pixels."""
    from operando.spectral.unmix_compiled import summarize

    problem, rows = fit.problem, fit.layout
    f, n = problem.free, len(problem.names)
    weights = solved.coefficients[f:]
    out[rows["weight"]] = weights
    for k, term in enumerate(problem.terms):
        out[rows[term]] = solved.coefficients[k]
    summaries = [out[rows[name]][0] for name in ("thickness", "r_factor", "chi2_reduced")]
    summarize(weights, solved.misfits, f, problem.sum_to_one, *summaries)
    out[rows["n_energies"]] = solved.misfits[3]
    if fit.level is None and not fit.covariance:
        return
    chi2, energies = solved.misfits[2:]
    spare = energies - f - n + problem.sum_to_one
    left = np.maximum(chi2 - solved.removed, 0.0) / np.where(spare > 0, spare, np.nan)
    if not fit.known_sigma:
        scale = left
    elif fit.scale_sigma:
        scale = np.where(left > 1, left, 1.0)
    else:
        scale = np.ones_like(left)
    unconstrained, covariance = solved.unconstrained, solved.covariance
    if problem.sum_to_one:
        unconstrained, covariance = _on_the_sum(unconstrained, covariance)
    if fit.covariance:
        out[rows["unconstrained"]] = unconstrained
        whole = np.broadcast_to(covariance, (len(scale), n, n)) * scale[:, None, None]
        out[rows["covariance"]] = whole.reshape(len(scale), n * n).T
    if fit.level is not None:
        freedom = None if fit.known_sigma else spare[:1] if solved.covariance.ndim == 2 else spare
        _errors(fit, weights, unconstrained, covariance, scale, freedom, out)


def _errors(
    fit: Fit,
    weights: Floats,
    unconstrained: Floats,
    covariance: Floats,
    scale: Floats,
    freedom: Floats | None,
    out: Floats,
) -> None:
    from operando.spectral.unmix_compiled import in_units, out_of_units

    assert fit.level is not None
    chosen = np.flatnonzero(np.isfinite(weights[0]) & np.isfinite(scale))
    unit, own = np.ones(chosen.size), covariance
    if covariance.ndim == 3 or fit.problem.sum_to_one:
        own = (own if own.ndim == 2 else own[chosen]) * scale[chosen][:, None, None]
    else:
        # Errors scale with the noise: in units of it, the covariance is the same for all these pixels. No noise at all
        # leaves errors of next to nothing.
        unit = np.sqrt(np.maximum(scale[chosen], np.finfo(float).tiny))
    found, free = np.empty((chosen.size, len(weights))), np.empty((chosen.size, len(weights)))
    in_units(weights, chosen, unit, found)
    in_units(unconstrained, chosen, unit, free)
    ends = weight_errors(
        found,
        free,
        own,
        sum_to_one=fit.problem.sum_to_one,
        freedom=None if freedom is None else freedom[chosen] if freedom.size > 1 else freedom,
        level=fit.level,
    )
    for name, values in zip(("weight_sigma", "weight_low", "weight_high"), ends, strict=True):
        out_of_units(values, chosen, unit, out[fit.layout[name]])
    low, high = out[fit.layout["weight_low"]], out[fit.layout["weight_high"]]
    np.minimum(low, weights, out=low)
    np.maximum(high, weights, out=high)
    for name, limit in (("weight_sigma", np.inf), ("weight_low", 0.0), ("weight_high", np.inf)):
        part = out[fit.layout[name]]
        part[fit.problem.dependent] = limit + 0.0 * weights[fit.problem.dependent]


def _on_the_sum(unconstrained: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Estimate and covariance once the weights are made to add up to one."""
    toward = covariance.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = toward / toward.sum(axis=-1, keepdims=True)
    missing = 1.0 - unconstrained.sum(axis=0)
    moved = unconstrained + missing * (share[:, None] if share.ndim == 1 else share.T)
    return moved, covariance - share[..., :, None] * toward[..., None, :]
