"""How far a porosity that is seen in one field of view may be off."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.errors import InputError

_ROUNDS = 8


def ratio_sigma(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Standard error of sum(part) / sum(whole) over a field of tiles whose neighbors are alike.

    Parameters
    ----------
    part, whole : ndarray (..., y, x)
        Counts per tile.

    Returns
    -------
    ndarray (...)
        NaN where fewer than two tiles hold anything.

    Notes
    -----
    With the residuals r of the tiles from the common ratio, over all pairs of tiles that are no farther apart than the
    correlation reaches:

    .. math:: \\sigma^2 = \\frac{\\sum_{|i-j| \\le h} r_i r_j}{T^2 - \\sum_{|i-j| \\le h} w_i w_j}, \\qquad
              r_i = p_i - \\frac{\\sum p}{T} w_i, \\quad T = \\sum w

    What is taken off the denominator makes up for the residuals adding up to zero; for tiles that do not know each
    other (h = 0) this is the usual n (n - 1). The reach h ends where the correlation first falls to zero. The result is
    widened so that 1.96 sigma are Student's interval for as many independent tiles as the correlated ones are worth.

    Reference
    ---------
    Conley, Journal of Econometrics 92 (1999) 1 (spatial covariance); Geyer, Statistical Science 7 (1992) 473 (reach).

    Examples
    --------
    Four tiles of 10 voxels with 1, 3, 3, 1 of pore: the mean of four has the standard error sqrt(4/3 / 4) / 10, and
    Student's interval for four values is 3.18 of it instead of 1.96:

    >>> sigma = ratio_sigma(np.array([[1, 3], [3, 1]]), np.full((2, 2), 10))
    >>> round(sigma.item(), 4), round(float(np.sqrt(4 / 3 / 4)) / 10 * 3.182 / 1.96, 4)
    (0.0937, 0.0937)
    """
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    out = np.full(part.shape[:-2], np.nan)
    for at in np.ndindex(*out.shape):
        total = whole[at].sum()
        if np.count_nonzero(whole[at]) > 1:
            out[at] = field_sigma(part[at] - part[at].sum() / total * whole[at], whole[at])
    return out


def field_sigma(left: np.ndarray, weight: np.ndarray) -> float:
    """Standard error of one ratio from residuals and weights (y, x), widened for the tiles being few."""
    from scipy.stats import norm, t

    variance, alone = (float(found[0]) for found in correlated_variance(left[None], weight[None]))
    if not variance > 0:
        return float(np.sqrt(variance))
    worth = np.count_nonzero(weight) * min(1.0, alone / variance)
    return float(np.sqrt(variance) * t.ppf(0.975, max(worth - 1, 2.0)) / norm.ppf(0.975))


def effective_number(values: np.ndarray) -> float:
    """How many independent values a map (y, x) of tiles is worth; NaN in it are left out.

    Examples
    --------
    >>> checkers = np.indices((8, 8)).sum(axis=0) % 2
    >>> effective_number(checkers.astype(float))
    64.0
    """
    known = np.isfinite(values).astype(float)
    number = float(known.sum())
    if number < 2:
        return number
    left = np.where(known > 0, values - np.nanmean(values), 0.0)
    variance, alone = (float(found[0]) for found in correlated_variance(left[None], known[None]))
    return number * min(1.0, alone / variance) if variance > 0 else number


def correlated_variance(left: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of ratios whose residuals are correlated in space, and what it were if they were not.

    Parameters
    ----------
    left, weight : ndarray (n, y, x)
        Residuals, adding up to zero in each of n fields, and the weights they are residuals of. The correlation is
        taken from all n fields together.

    Returns
    -------
    (n,), (n,)
        The variances of the n ratios sum(part) / sum(weight).
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    shape = np.array(left.shape[1:])
    padded = [next_fast_len(2 * size - 1, real=True) for size in shape.tolist()]
    waves = (rfft2(field.astype(float), s=padded) for field in (left, weight))
    alike, pairs = (irfft2((np.abs(wave) ** 2).sum(axis=0), s=padded) for wave in waves)
    far = np.hypot(*np.meshgrid(*(_distances(size) for size in padded), indexing="ij"))
    reach = max(int(max(shape) // 2), 1)
    ring = np.minimum(np.rint(far).astype(int), reach + 1).ravel()
    products, weights = (np.bincount(ring, weights=found.ravel())[: reach + 1] for found in (alike, pairs))
    total = (weight.sum(axis=(1, 2), dtype=float) ** 2).sum()
    # A reach that takes in half of all pairs says nothing any more.
    within = np.cumsum(weights) <= total / 2
    ends, variance = 0, products[0] / max(total - weights[0], 1e-300)
    for _ in range(_ROUNDS):
        stops = np.flatnonzero((products + variance * weights <= 0) | ~within)
        stops = stops[stops > 0]
        found = int(stops[0]) - 1 if stops.size else len(products) - 1
        if found <= ends:
            break
        ends = found
        variance = products[: ends + 1].sum() / (total - weights[: ends + 1].sum())
    alone = products[0] / max(total - weights[0], 1e-300)
    own_total = weight.sum(axis=(1, 2), dtype=float) ** 2
    own = (left.astype(float) ** 2).sum(axis=(1, 2))
    spread = own_total - (weight.astype(float) ** 2).sum(axis=(1, 2))
    single = np.divide(own, spread, out=np.full(own.shape, np.nan), where=spread > 0)
    return single * (variance / alone if alone > 0 else 1.0), single


def within_tiles(left: np.ndarray, weight: np.ndarray, *, prior: float = 4.0) -> np.ndarray:
    """:func:`correlated_variance` of many tiles (n, y, x), each drawn towards that of all of them.

    ``prior`` is how many independent columns the common variance is believed to be known from.
    """
    variance, single = correlated_variance(left, weight)
    known = np.isfinite(single) & (weight.sum(axis=(1, 2)) > 0)
    if not known.any():
        return variance
    excess = np.nanmean(variance[known]) / max(np.nanmean(single[known]), 1e-300)
    columns = np.count_nonzero(weight, axis=(1, 2)) / max(excess, 1.0)
    freedom = np.maximum(columns - 1, 0)
    common = np.average(variance[known], weights=weight[known].sum(axis=(1, 2)))
    return np.where(known, (freedom * variance + prior * common) / (freedom + prior), np.nan)


def _distances(size: int) -> np.ndarray:
    """Shifts that the entries of a circular correlation stand for."""
    shifts = np.arange(size)
    return np.minimum(shifts, size - shifts)


def doubt_sigma(
    doubt: np.ndarray,
    total: np.ndarray,
    residuals: xr.Dataset | None,
    *,
    pore: str,
    voxel_volume_um3: float,
    common: bool = True,
    where: str,
) -> np.ndarray:
    """Standard uncertainty of porosities from the doubt sum p (1 - p) of their pores, among ``total`` voxels."""
    from operando.morphometry.residuals import assumed_residuals

    known = assumed_residuals([pore], voxel_volume_um3=voxel_volume_um3) if residuals is None else residuals
    if pore not in known.coords["component"].values:
        raise InputError(
            f"{where}: residuals must know the component {pore!r}, got {known.coords['component'].values.tolist()}. "
            "Make them with residual_correlation and the same phases."
        )
    own = known.sel(component=pore)
    as_one = float(own["correlation_volume"]) / voxel_volume_um3
    shares = float(own["scatter"]) ** 2 + (float(own["common"]) ** 2 if common else 0.0)
    variance = as_one * doubt + shares * doubt**2
    return np.sqrt(np.divide(variance, total**2, out=np.full(doubt.shape, np.nan), where=total > 0))
