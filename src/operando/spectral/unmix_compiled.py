"""The loops over pixels and energies behind :mod:`operando.spectral.unmix`, compiled; import them where needed.

Stacks are (energy, pixels) with the pixels side by side. Sums run over a tile of pixels at a time, which stays in the
fast memory of a core, in float64 whatever the stack is.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from operando.spectral.nnls import ENUMERATED
from operando.spectral.nnls_compiled import invert, pivot_by_table

_TILE = 512
_NARROW = 256
_LARGEST = 1e300


# Contracted to fused multiply-adds, sums are faster and no less accurate; their order stays as it is written.
@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def project(
    data: np.ndarray, first: int, stop: int, operator: np.ndarray, target: np.ndarray, squares: np.ndarray
) -> None:
    """``operator.T @ data[:, first:stop]`` as ``target`` (m, pixels), and the sum of squares of each pixel.

    ``data`` (energy, pixels), ``operator`` (energy, m).
    """
    energies, m = operator.shape
    fours = energies - energies % 4
    for start in range(first, stop, _TILE):
        size = min(_TILE, stop - start)
        at = start - first
        total = squares[at : at + size]
        total[:] = 0.0
        target[:, at : at + size] = 0.0
        # Four energies at a time, so that the sums are loaded and stored a quarter as often.
        for e in range(0, fours, 4):
            d0, d1 = data[e, start : start + size], data[e + 1, start : start + size]
            d2, d3 = data[e + 2, start : start + size], data[e + 3, start : start + size]
            for k in range(m):
                a, b, c, d = operator[e, k], operator[e + 1, k], operator[e + 2, k], operator[e + 3, k]
                row = target[k, at : at + size]
                for p in range(size):
                    row[p] += a * d0[p] + b * d1[p] + c * d2[p] + d * d3[p]
            for p in range(size):
                v0, v1, v2, v3 = np.float64(d0[p]), np.float64(d1[p]), np.float64(d2[p]), np.float64(d3[p])
                total[p] += v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3
        for e in range(fours, energies):
            d0 = data[e, start : start + size]
            for k in range(m):
                a = operator[e, k]
                row = target[k, at : at + size]
                for p in range(size):
                    row[p] += a * d0[p]
            for p in range(size):
                v0 = np.float64(d0[p])
                total[p] += v0 * v0


# With numpy's rules for a division by zero the loop needs no test and runs on several pixels at a time.
@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[misc,untyped-decorator,unused-ignore]
def _weigh(
    data: np.ndarray, errors: np.ndarray, are_sigma: bool, size: int, values: np.ndarray, precision: np.ndarray
) -> None:
    """Values and precision of a row of pixels, both zero where a number is missing."""
    if are_sigma:
        for p in range(size):
            value, error = np.float64(data[p]), np.float64(errors[p])
            weight = 1.0 / (error * error)
            seen = (value - value == 0.0) & (error > 0.0) & (weight > 0.0) & (weight <= _LARGEST)
            values[p] = value if seen else 0.0
            precision[p] = weight if seen else 0.0
    else:
        for p in range(size):
            value, weight = np.float64(data[p]), np.float64(errors[p])
            seen = (value - value == 0.0) & (weight > 0.0) & (weight <= _LARGEST)
            values[p] = value if seen else 0.0
            precision[p] = weight if seen else 0.0


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def accumulate(
    data: np.ndarray,
    errors: np.ndarray,
    are_sigma: bool,
    first: int,
    stop: int,
    basis: np.ndarray,
    gram: np.ndarray,
    target: np.ndarray,
) -> None:
    """Weighted normal equations of every pixel: ``gram`` (pixels, m, m), lower half, and ``target`` (pixels, m).

    ``errors`` (energy, pixels) are standard deviations or 1 / sigma^2; an energy counts where data and error are finite
    and the error is positive.
    """
    energies, m = basis.shape
    pairs = m * (m + 1) // 2
    sums = np.empty((pairs + m, _NARROW))
    values, precision = np.empty(_NARROW), np.empty(_NARROW)
    for start in range(first, stop, _NARROW):
        size = min(_NARROW, stop - start)
        sums[:] = 0.0
        for e in range(energies):
            _weigh(data[e, start : start + size], errors[e, start : start + size], are_sigma, size, values, precision)
            pair = 0
            for j in range(m):
                for k in range(j + 1):
                    factor = basis[e, j] * basis[e, k]
                    row = sums[pair]
                    for p in range(size):
                        row[p] += factor * precision[p]
                    pair += 1
            for p in range(size):
                values[p] *= precision[p]
            for j in range(m):
                factor = basis[e, j]
                row = sums[pairs + j]
                for p in range(size):
                    row[p] += factor * values[p]
        for p in range(size):
            pair = 0
            at = start - first + p
            for j in range(m):
                for k in range(j + 1):
                    gram[at, j, k] = sums[pair, p]
                    pair += 1
                target[at, j] = sums[pairs + j, p]


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def misfit(
    data: np.ndarray,
    response: np.ndarray,
    errors: np.ndarray,
    are_sigma: bool,
    first: int,
    stop: int,
    design: np.ndarray,
    coefficients: np.ndarray,
    out: np.ndarray,
) -> None:
    """Sums of squares of residual, data and residual over sigma, and the number of energies: out (4, pixels).

    ``response`` is what was fitted, ``data`` what was measured: the same, but for Poisson counts.
    """
    energies, m = design.shape
    sums = np.empty((4, _NARROW))
    fit, values, precision = np.empty(_NARROW), np.empty(_NARROW), np.empty(_NARROW)
    rest, squares, chi2, count = sums[0], sums[1], sums[2], sums[3]
    for start in range(first, stop, _NARROW):
        size = min(_NARROW, stop - start)
        sums[:] = 0.0
        for e in range(energies):
            fitted_row, errors_row = response[e, start : start + size], errors[e, start : start + size]
            _weigh(fitted_row, errors_row, are_sigma, size, values, precision)
            fit[:size] = 0.0
            for k in range(m):
                factor = design[e, k]
                row = coefficients[k, start - first : start - first + size]
                for p in range(size):
                    fit[p] += factor * row[p]
            measured = data[e, start : start + size]
            for p in range(size):
                seen = precision[p] > 0.0
                value = np.float64(measured[p]) if seen else 0.0
                left = value - fit[p] if seen else 0.0
                apart = values[p] - fit[p]
                rest[p] += left * left
                squares[p] += value * value
                chi2[p] += precision[p] * (apart * apart)
                count[p] += 1.0 if seen else 0.0
        for k in range(4):
            for p in range(size):
                out[k, start - first + p] = sums[k, p]


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def fit_shared(
    data: np.ndarray,
    first: int,
    stop: int,
    operator: np.ndarray,
    triangle: np.ndarray,
    free: int,
    table: np.ndarray,
    limits: np.ndarray,
    sum_to_one: bool,
    coefficients: np.ndarray,
    target: np.ndarray,
    squares: np.ndarray,
    removed: np.ndarray,
) -> None:
    """Project and pivot the pixels ``first:stop``, which share one ``triangle`` and its ``table`` of supports.

    Fills ``coefficients`` and ``target`` (m, pixels), the sum of squares of the data, and what of the misfit the bound
    is to blame for. Coefficients are NaN where a number is missing or pivoting does not end.
    """
    m = triangle.shape[0]
    n = m - free
    everything = (1 << n) - 1
    rows, smallest = (n + 1, 1) if sum_to_one else (n, 0)
    y, v = np.empty(n + 1), np.empty(ENUMERATED)
    y[n] = 1.0
    # Rows a power of two apart would fall on the same places of the cache.
    sums, w = np.empty((m, _TILE + 8)), np.empty((m, _TILE + 8))
    lowest, left = np.empty(_TILE), np.empty(_TILE)
    for start in range(first, stop, _TILE):
        size = min(_TILE, stop - start)
        at = start - first
        project(data, start, start + size, operator, sums, squares[at : at + size])
        # All weights at first, for all pixels side by side: most of the work for those that need no other support.
        lowest[:size] = 0.0
        for j in range(n):
            row = w[free + j]
            row[:size] = table[everything, n, j] if sum_to_one else 0.0
            for i in range(n):
                factor, column = table[everything, i, j], sums[free + i]
                for p in range(size):
                    row[p] += factor * column[p]
            for p in range(size):
                lowest[p] = min(lowest[p], row[p])
        for p in range(size):
            if lowest[p] >= 0.0 and np.isfinite(squares[at + p]):
                continue
            support, wrong = everything, 0
            for j in range(n):
                y[j] = sums[free + j, p]
                if w[free + j, p] < 0.0:
                    support ^= 1 << j
                    wrong += 1
            if np.isfinite(squares[at + p]) and support >= smallest:
                support = pivot_by_table(y, rows, table, limits, smallest, support, wrong, v)
            else:
                support = -1
            for j in range(n):
                w[free + j, p] = np.nan if support < 0 else v[j] if support >> j & 1 else 0.0
        rest = removed[at : at + size]
        rest[:] = 0.0
        for i in range(m - 1, -1, -1):
            for p in range(size):
                left[p] = sums[i, p]
            for j in range(i if i >= free else i + 1, m):
                factor, row = triangle[i, j], w[j]
                for p in range(size):
                    left[p] -= factor * row[p]
            if i >= free:
                for p in range(size):
                    rest[p] += left[p] * left[p]
            else:
                for p in range(size):
                    w[i, p] = left[p] / triangle[i, i]
        for k in range(m):
            target[k, at : at + size] = sums[k, :size]
            coefficients[k, at : at + size] = w[k, :size]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[misc,untyped-decorator,unused-ignore]
def summarize(
    weights: np.ndarray,
    misfits: np.ndarray,
    terms: int,
    sum_to_one: bool,
    thickness: np.ndarray,
    r_factor: np.ndarray,
    chi2_reduced: np.ndarray,
) -> None:
    """Thickness, R-factor and reduced chi-square of ``weights`` (n, pixels) and ``misfits`` (4, pixels)."""
    n, pixels = weights.shape
    rest, squares, chi2, energies = misfits[0], misfits[1], misfits[2], misfits[3]
    thickness[:] = 0.0
    chi2_reduced[:] = terms - 1.0 if sum_to_one else terms
    for j in range(n):
        row = weights[j]
        for p in range(pixels):
            thickness[p] += row[p]
            chi2_reduced[p] += 1.0 if row[p] > 0.0 else 0.0
    for p in range(pixels):
        missing = 0.0 * thickness[p]
        freedom = energies[p] - chi2_reduced[p]
        chi2_reduced[p] = chi2[p] / freedom + missing if freedom > 0.0 else np.nan
        r_factor[p] = rest[p] / squares[p] + missing


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def in_units(values: np.ndarray, chosen: np.ndarray, unit: np.ndarray, out: np.ndarray) -> None:
    """``values[:, chosen] / unit``, transposed: (n, pixels) to (chosen, n)."""
    for i in range(chosen.size):
        for j in range(values.shape[0]):
            out[i, j] = values[j, chosen[i]] / unit[i]


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def out_of_units(values: np.ndarray, chosen: np.ndarray, unit: np.ndarray, out: np.ndarray) -> None:
    """The inverse of :func:`in_units`; what is not chosen is NaN."""
    out[:] = np.nan
    for j in range(out.shape[0]):
        for i in range(chosen.size):
            out[j, chosen[i]] = values[i, j] * unit[i]


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def factorize(gram: np.ndarray, target: np.ndarray, triangle: np.ndarray, factor: np.ndarray) -> None:
    """Factor (pixels, m, m), upper triangular, of ``triangle.T @ gram @ triangle``, and the target that belongs to it.

    ``gram`` (lower half) is overwritten by its Cholesky factor L, ``target`` by L^-1 target. A column that depends on
    others in this pixel, though not in ``triangle``, makes the target NaN.
    """
    pixels, m = target.shape
    for p in range(pixels):
        lower, y = gram[p], target[p]
        for k in range(m):
            pivot = lower[k, k]
            for i in range(k):
                pivot -= lower[k, i] * lower[k, i]
            if not pivot > 1e-13 * lower[k, k]:
                y[:] = np.nan
                break
            root = np.sqrt(pivot)
            lower[k, k] = root
            total = y[k]
            for i in range(k):
                total -= lower[k, i] * y[i]
            y[k] = total / root
            for j in range(k + 1, m):
                total = lower[j, k]
                for i in range(k):
                    total -= lower[j, i] * lower[k, i]
                lower[j, k] = total / root
        for i in range(m):
            for j in range(m):
                total = 0.0
                for k in range(i, j + 1):
                    total += lower[k, i] * triangle[k, j]
                factor[p, i, j] = total


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def without_bound(
    factor: np.ndarray,
    target: np.ndarray,
    coefficients: np.ndarray,
    unconstrained: np.ndarray,
    covariance: np.ndarray,
    removed: np.ndarray,
) -> None:
    """What a fit without bound gives for each pixel, and what of the misfit the bound is to blame for.

    ``factor`` (pixels, m, m), ``target`` and ``coefficients`` (pixels, m) with the free ones first; ``unconstrained``
    (n, pixels) and ``covariance`` (pixels, n, n) of the other n, ``removed`` (pixels).
    """
    pixels, m = target.shape
    n = unconstrained.shape[0]
    free = m - n
    inverse = np.empty((m, m))
    for p in range(pixels):
        invert(factor[p], inverse)
        rest = 0.0
        for i in range(m):
            left = target[p, i]
            for j in range(i, m):
                left -= factor[p, i, j] * coefficients[p, j]
            rest += left * left
        removed[p] = rest
        for i in range(n):
            total = 0.0
            for k in range(i, n):
                total += inverse[free + i, free + k] * target[p, free + k]
            unconstrained[i, p] = total
            for j in range(i, n):
                total = 0.0
                for k in range(j, n):
                    total += inverse[free + i, free + k] * inverse[free + j, free + k]
                covariance[p, i, j] = total
                covariance[p, j, i] = total


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def multiply(matrix: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """``matrix @ columns`` for few rows of many columns; BLAS would start threads of its own in each of ours."""
    rows, m = matrix.shape
    size = columns.shape[1]
    for i in range(rows):
        row = out[i]
        row[:] = 0.0
        for k in range(m):
            factor, column = matrix[i, k], columns[k]
            for p in range(size):
                row[p] += factor * column[p]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[misc,untyped-decorator,unused-ignore]
def reweigh(
    fitted: np.ndarray,
    expected: np.ndarray,
    measured: np.ndarray,
    net: np.ndarray,
    relative: np.ndarray,
    dark: float,
    photons: float,
    precision: np.ndarray,
) -> None:
    """Precision at the fitted optical density, and the working response, which overwrites ``fitted``.

    ``expected`` and ``measured`` (energy, pixels) are the transmissions of the fit and of the data, the latter negative
    where it is missing; ``net`` and ``relative`` (energy).
    """
    energies, pixels = fitted.shape
    for e in range(energies):
        row, fit, data, out = fitted[e], expected[e], measured[e], precision[e]
        for p in range(pixels):
            counts = net[e] * fit[p]
            weight = 1.0 / ((counts + dark) / (photons * counts * counts) + relative[e])
            out[p] = weight if data[p] >= 0.0 else 0.0
            row[p] += 1.0 - data[p] / fit[p]
