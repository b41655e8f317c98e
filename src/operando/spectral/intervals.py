"""Intervals of weights that cannot be negative.

A fit with weights bounded at zero breaks the usual error bar twice. At the bound the error of the reported weight is
one-sided; and a phase that the fit leaves out takes its share of the error of all others with it. What is here knows
both, for one number (:func:`bounded_interval`) and for the weights of a fit (:func:`weight_errors`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from operando.core.errors import InputError

Floats = NDArray[np.float64]
OVERLOOKED = 0.05
"""Chance, taken for every phase that a fit holds at zero, that it is there after all."""


def bounded_interval(estimate: Any, sigma: Any, *, level: float = 0.95) -> tuple[Any, Any]:
    """Interval of a quantity that is known to be zero or more, from an estimate that may be negative.

    Parameters
    ----------
    estimate : DataArray or array-like, any shape
        Unbounded estimate with a normal error: below zero is fine, and says more than a zero would.
    sigma : DataArray or array-like, broadcast with ``estimate``
        Its standard deviation, in the same unit. Zero gives the point itself.
    level : float
        Probability that the interval holds the truth, in [0.5, 1).

    Returns
    -------
    low, high : DataArray or ndarray, as the estimate
        In the unit of the estimate, ``0 <= low <= high``. NaN where the estimate or sigma is NaN.

    Raises
    ------
    InputError
        Where the level is not in [0.5, 1) or a sigma is negative.

    Notes
    -----
    The unified interval of Feldman and Cousins, Phys. Rev. D 57, 3873 (1998), for a normal mean that is not negative:
    the truth w accepts the estimates x with the largest likelihood beside that of the best allowed truth,

    .. math:: R(x) = \\frac{p(x | w)}{p(x | \\max(x, 0))},

    until they hold ``level``; the interval is every w that accepts the x found. It covers with exactly ``level`` for
    every truth, is never empty, and decides by itself between a limit and a two-sided interval: up to an estimate of
    1.645 sigma (at 95 %) it begins at zero, from 3.92 sigma on it is the usual x +- 1.96 sigma. Solved on a grid of w
    once per level; interpolation errs by less than 1e-5 sigma.

    An estimate many sigma below zero gives a very short interval, because only a rare fluctuation or a wrong model
    gets there. Look at the residual before quoting it.

    Examples
    --------
    Three sigma above zero the bound still shows a little; at zero there is an upper limit only:

    >>> low, high = bounded_interval([0.0, 3.0, 10.0], 1.0)
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.0, 1.14, 8.04], [1.96, 4.96, 11.96])
    """
    level = checked_level(level, "bounded_interval")
    if isinstance(estimate, xr.DataArray) or isinstance(sigma, xr.DataArray):
        low, high = xr.apply_ufunc(
            lambda x, s: _bounded(np.asarray(x, float), np.asarray(s, float), level),
            estimate,
            sigma,
            output_core_dims=[(), ()],
            dask="parallelized",
            output_dtypes=[float, float],
            keep_attrs=True,
        )
        return low, high
    x, s = np.broadcast_arrays(np.asarray(estimate, float), np.asarray(sigma, float))
    return _bounded(x, s, level)


def checked_level(level: float, where: str) -> float:
    """Return ``level`` where it is a probability of at least one half."""
    if not 0.5 <= float(level) < 1:
        raise InputError(f"{where}: level must be a probability from 0.5 to below 1, got {level!r}. Use 0.95 for 95 %.")
    return float(level)


def _bounded(estimate: Floats, sigma: Floats, level: float) -> tuple[Floats, Floats]:
    if bool((sigma < 0).any()):
        raise InputError(
            f"bounded_interval: sigma must be zero or more, got {float(np.nanmin(sigma)):g}. Pass standard deviations."
        )
    two_sided, upper_x, lower_x, w = _acceptance(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(sigma > 0, estimate / sigma, np.inf)
    low = np.where(x < upper_x[-1], np.interp(x, upper_x, w, left=0.0), x - two_sided)
    high = np.where(x < 0, np.interp(x, lower_x, w), x + two_sided)
    with np.errstate(invalid="ignore"):
        low, high = low * sigma, high * sigma
    exact = sigma == 0
    point = np.maximum(estimate, 0.0)
    low, high = np.where(exact, point, low), np.where(exact, point, high)
    missing = np.isnan(estimate) | np.isnan(sigma)
    return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


@lru_cache(maxsize=16)
def _acceptance(level: float) -> tuple[float, Floats, Floats, Floats]:
    """Two-sided z, and the largest and smallest estimate that each truth w in (0, z] accepts, in sigma."""
    from scipy.stats import norm

    two_sided, one_sided = float(norm.ppf(0.5 + level / 2)), float(norm.ppf(level))
    w = np.geomspace(1e-4, two_sided, 8192)

    def lower_end(above: Floats) -> Floats:
        # Equal likelihood ratio at both ends; below zero the best allowed truth is zero.
        return np.where(above <= w, w - above, (w**2 - above**2) / (2 * w))

    small, large = np.full_like(w, min(one_sided, 0.0)), np.full_like(w, two_sided)
    for _ in range(60):
        middle = 0.5 * (small + large)
        short = norm.cdf(middle) - norm.cdf(lower_end(middle) - w) < level
        small, large = np.where(short, middle, small), np.where(short, large, middle)
    above = 0.5 * (small + large)
    above[-1] = two_sided
    return two_sided, w + above, lower_end(above), w


def weight_errors(
    weights: ArrayLike,
    unconstrained: ArrayLike,
    covariance: ArrayLike,
    *,
    sum_to_one: bool = False,
    freedom: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Floats, Floats, Floats]:
    """Standard deviation and interval of every weight of a non-negative fit.

    Parameters
    ----------
    weights : array-like, shape (pixels, n)
        Weights of the non-negative least-squares fit: exactly zero where the bound holds them.
    unconstrained : array-like, shape (pixels, n)
        Weights of the same fit without the bound (with the sum, where the sum is fixed; background terms fitted too).
    covariance : array-like, shape (n, n) or (pixels, n, n)
        Covariance of ``unconstrained``: inverse of the weighted Gram matrix, background terms marginalized (the block
        of the full inverse that belongs to the weights), times the variance of the noise in an unweighted fit.
    sum_to_one : bool
        The weights of a pixel add up to one.
    freedom : array-like, shape (pixels,), optional
        Degrees of freedom of the residual that the noise was estimated from, where it was: errors are longer by the
        quantile of Student's t over that of the normal, 1.2 times for 7 degrees and 95 %.
    level : float
        Of the interval, in [0.5, 1).

    Returns
    -------
    sigma : ndarray, shape (pixels, n)
        ``weights +- 1.96 sigma`` covers in 95 % of all weights. Not zero where the weight is.
    low, high : ndarray, shape (pixels, n)
        Interval with ``0 <= low <= weight <= high``.

    Notes
    -----
    With S the phases that the fit uses and Z those it holds at zero, the estimate of phase j and its variance are
    those of the fit in which j is free and all other phases of Z stay at zero. From x, the unconstrained estimate, and
    its covariance C, with P the inverse of C_ZZ:

    .. math::
        j \\in S:\\quad e_j = \\hat w_j, \\quad s_j^2 = C_{jj} - C_{jZ} P C_{Zj} \\qquad
        j \\in Z:\\quad e_j = \\frac{(P x_Z)_j}{P_{jj}} \\le 0, \\quad s_j^2 = 1 / P_{jj}

    A phase k that is held at zero although it is there shifts the others by its weight times their coefficient on it,
    :math:`\\beta = C_{jZ} P`. With a chance of 5 % and the mean square that its own estimate leaves possible (that of a
    normal with :math:`e_k, s_k`, cut at zero), this adds

    .. math:: s_j^2 \\leftarrow \\min\\left(C_{jj},\\ s_j^2
        + 0.05 \\sum_k \\beta_{jk}^2\\, \\langle w^2 \\rangle_k\\right)

    ``low`` and ``high`` are :func:`bounded_interval` of e and s. ``sigma`` is s, shortened where the bound cuts the
    error:

    .. math:: \\sigma_j = \\mathrm{median}\\left(0.839\\, s_j, \\frac{\\hat w_j - 0.02\\, s_j}{1.96}, s_j\\right)

    with 0.839 = 1.645 / 1.96: an absent phase is called present (``weight - 1.96 sigma > 0``) in 5 % of the pixels.
    It is made for 95 %: at other levels use ``low`` and ``high``.

    Coverage is an average over weights, not a promise for each. It is right for phases that are either clearly present
    or absent; where *several collinear* phases are all present with less than two sigma each, it falls to about 90 %.
    The guaranteed interval, for any truth, is ``bounded_interval(unconstrained, sqrt(diag(covariance)))``: several
    times longer for collinear references, and it need not hold the weight that the fit reports.

    Examples
    --------
    Two phases that trade against each other (correlation -0.8). The fit puts the second one to zero, and with it goes
    most of the error of the first: 1 - 0.8 ** 2 = 0.36 of the variance is left, and 0.02 for the case that it is there:

    >>> sigma, low, high = weight_errors([[9.2, 0.0]], [[10.0, -1.0]], [[1.0, -0.8], [-0.8, 1.0]])
    >>> sigma.round(2).tolist(), low.round(2).tolist(), high.round(2).tolist()
    ([[0.61, 0.84]], [[8.0, 0.0]], [[10.4, 1.1]])
    """
    level = checked_level(level, "weight_errors")
    w, x, c = (np.asarray(a, dtype=float) for a in (weights, unconstrained, covariance))
    if w.ndim != 2 or x.shape != w.shape or c.shape not in ((w.shape[1],) * 2, (len(w), w.shape[1], w.shape[1])):
        raise InputError(
            "weight_errors: weights and unconstrained must be (pixels, n), covariance (n, n) or (pixels, n, n), got "
            f"{w.shape}, {x.shape} and {c.shape}. Flatten space to pixels first."
        )
    from operando.spectral.intervals_compiled import ends, free_one_by_one

    absent = ~(w > 0)
    which, patterns = _patterns(absent) if c.ndim == 2 else (np.arange(len(w)), absent)
    shared = np.broadcast_to(c, (len(patterns), *c.shape[-2:]))
    variance, inverse, slope = _conditional(shared, patterns)
    full = np.ascontiguousarray(np.diagonal(shared, axis1=1, axis2=2))
    estimate, spread, sigma, low, high = np.empty((5, *w.shape))
    free_one_by_one(w, x, which, variance, inverse, slope, full, _mean_squares(), OVERLOOKED, estimate, spread)
    if sum_to_one:
        # At a corner the sum leaves the only phase no freedom: it errs with the phase that would take from it.
        corner = np.count_nonzero(w > 0, axis=1) == 1
        widest = np.max(np.where(w > 0, 0.0, spread), axis=1, initial=0.0)
        spread = np.where((w > 0) & corner[:, None], widest[:, None], spread)
    most = 1.0 if sum_to_one else np.inf
    ends(w, estimate, spread, *_ends_table(level), _stretch(freedom, level), most, sigma, low, high)
    return sigma, low, high


@lru_cache(maxsize=16)
def _ends_table(level: float) -> tuple[float, float, Floats, Floats, float]:
    """Both z, and the ends of the interval of evenly spaced estimates, for fast lookup."""
    two_sided, upper_x, *_ = _acceptance(level)
    one_sided, depth, points = float(upper_x[0]), 8.0, 4097
    one = np.ones(points)
    low, _ = _bounded(np.linspace(one_sided, 2 * two_sided, points), one, level)
    _, high = _bounded(np.linspace(-depth, 0.0, points), one, level)
    return two_sided, one_sided, low, high, depth


def _stretch(freedom: ArrayLike | None, level: float) -> Floats:
    """Student's over normal quantiles, at 95 % and at the level: (1 or pixels, 2)."""
    if freedom is None:
        return np.ones((1, 2))
    from scipy.stats import norm, t

    # There are few distinct degrees of freedom, and quantiles of t are slow.
    distinct, which = np.unique(np.asarray(freedom, dtype=float), return_inverse=True)
    both = np.array([0.95, level]) / 2 + 0.5
    with np.errstate(invalid="ignore"):
        return np.asarray(t.ppf(both, np.maximum(distinct, 1.0)[:, None]) / norm.ppf(both))[which.reshape(-1)]


@lru_cache(maxsize=1)
def _mean_squares() -> Floats:
    """Mean square of a unit normal around -d, known to be positive, for 1 / (1 + d) from 0 to 1."""
    from scipy.special import erfcx

    with np.errstate(divide="ignore", invalid="ignore"):
        d = 1.0 / np.linspace(0.0, 1.0, 4097) - 1.0
        found = 1.0 + d**2 - d * np.sqrt(2.0 / np.pi) / erfcx(d / np.sqrt(2.0))
        # The difference loses its digits far below zero; its series there is 2 / d^2 - 10 / d^4.
        return np.where(d > 40.0, 2.0 / d**2 - 10.0 / d**4, found)


def _patterns(absent: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of the distinct rows each row is, and these."""
    n = absent.shape[1]
    if n > 62:
        return np.arange(len(absent)), absent
    code = absent @ (1 << np.arange(n, dtype=np.int64))
    if n <= 8:
        distinct = np.arange(1 << n)
    else:
        distinct, code = np.unique(code, return_inverse=True)
    return code, (distinct[:, None] >> np.arange(n)) & 1 == 1


def _conditional(c: Floats, absent: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Of weights given that the absent ones are zero.

    Returns the variance of each, the inverse of the absent block (zero elsewhere) and the coefficients on absent ones.
    An absent one is taken as free, with the *other* absent ones at zero.
    """
    n = absent.shape[1]
    diagonal = np.arange(n)
    scale = np.sqrt(c[:, diagonal, diagonal])
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
    unit = np.where(np.isfinite(c), c, 0.0) / (scale[:, :, None] * scale[:, None, :])
    both = absent[:, :, None] & absent[:, None, :]
    block = np.where(both, unit, 0.0)
    # Identity outside the block keeps it invertible; the ridge does where references are the same to the last digit.
    block[:, diagonal, diagonal] = np.where(absent, unit[:, diagonal, diagonal] * (1 + 1e-12) + 1e-300, 1.0)
    inverse = np.where(both, np.linalg.inv(block), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = 1.0 / inverse[:, diagonal, diagonal]
    to_absent = np.einsum("pij,pjk->pik", np.where(absent[:, None, :], unit, 0.0), inverse)
    between = -inverse * np.where(absent, alone, 0.0)[:, :, None]
    between[:, diagonal, diagonal] = 0.0
    slope = np.where(absent[:, :, None], between, to_absent)
    explained = np.einsum("pij,pji->pi", to_absent, unit)
    variance = np.where(absent, alone, unit[:, diagonal, diagonal] - explained) * scale**2
    return variance, inverse / (scale[:, :, None] * scale[:, None, :]), slope * scale[:, :, None] / scale[:, None, :]
