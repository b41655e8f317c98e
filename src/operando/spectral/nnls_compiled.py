"""The loops over pixels behind :mod:`operando.spectral.nnls`, compiled; import them where they are needed.

A problem is a factor M (rows, n) and a target b (rows): minimize ``|M w - b|`` over w >= 0. Working on a factor and
never on its Gram matrix keeps the error of a weight proportional to the condition number, not to its square.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from operando.spectral.nnls import DEPENDENT, ENUMERATED, LONGEST

ROUNDING = 20 * 2.3e-16
"""Share of the lengths of data and column by which a slope may be uphill and still count as zero."""


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[misc,untyped-decorator,unused-ignore]
def pivot_by_table(
    y: np.ndarray,
    rows: int,
    table: np.ndarray,
    limits: np.ndarray,
    smallest: int,
    support: int,
    best: int,
    v: np.ndarray,
) -> int:
    """Block principal pivoting with the solution of every support known in advance, from ``support`` on.

    ``table`` (2^n, rows, ENUMERATED) turns the target ``y`` of a pixel into ``v``: weights where the support has a
    column, half the gradient of the misfit where it has not; neither may be below ``limits`` (2^n, ENUMERATED) times
    the length of y. ``best`` is the least number that have been wrong so far. Returns the support, or -1 where pivoting
    does not end.
    """
    size = 0.0
    for i in range(rows):
        size += abs(y[i])
    size *= ROUNDING * rows
    patience = 3
    for _ in range(LONGEST):
        operator, limit = table[support], limits[support]
        for j in range(ENUMERATED):
            v[j] = 0.0
        for i in range(rows):
            factor = y[i]
            for j in range(ENUMERATED):
                v[j] += operator[i, j] * factor
        wrong, infeasible = 0, 0
        for j in range(ENUMERATED):
            bad = v[j] < limit[j] * size
            wrong |= bad << j
            infeasible += bad
        if infeasible == 0:
            return support
        if infeasible < best:
            best, patience = infeasible, 3
        elif patience > 0:
            patience -= 1
        else:
            last = 1
            while last * 2 <= wrong:
                last *= 2
            wrong = last
        support ^= wrong
        if support < smallest:
            return -1
    return -1


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def pivot_all_by_table(
    target: np.ndarray, table: np.ndarray, limits: np.ndarray, smallest: int, weights: np.ndarray
) -> None:
    """Fill ``weights`` (pixels, n) from ``target`` (pixels, rows); NaN where pivoting does not end."""
    pixels, rows = target.shape
    n = weights.shape[1]
    v = np.empty(ENUMERATED)
    for p in range(pixels):
        everything = table.shape[0] - 1
        support = pivot_by_table(target[p], rows, table, limits, smallest, everything, ENUMERATED + 1, v)
        for j in range(n):
            weights[p, j] = np.nan if support < 0 else v[j] if support >> j & 1 else 0.0


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _solve_support(
    factor: np.ndarray,
    target: np.ndarray,
    triangular: bool,
    support: np.ndarray,
    w: np.ndarray,
    work: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Least squares over the columns in ``support`` by Householder reflections; ``rest`` becomes b - M w.

    A column that the earlier ones of the support already span gets the weight 0.
    """
    rows, n = factor.shape
    # Rows of ``work``: n columns of the triangle that arises, n vectors of reflections.
    taken = np.empty(n, np.int64)
    ends = np.empty(n, np.int64)
    scales = np.empty(n)
    rank, height = 0, 0
    for i in range(rows):
        rest[i] = target[i]
    for j in range(n):
        w[j] = 0.0
        if not support[j] or rank == rows:
            continue
        height = j + 1 if triangular else rows
        column, mirror = work[rank], work[n + rank]
        whole = 0.0
        for i in range(height):
            column[i] = factor[i, j]
            whole += factor[i, j] * factor[i, j]
        for k in range(rank):
            earlier = work[n + k]
            dot = 0.0
            for i in range(k, ends[k]):
                dot += earlier[i] * column[i]
            dot *= scales[k]
            for i in range(k, ends[k]):
                column[i] -= dot * earlier[i]
        left = 0.0
        for i in range(rank, height):
            left += column[i] * column[i]
        if left <= DEPENDENT * DEPENDENT * whole or left == 0.0:
            continue
        if height == rank + 1:
            ends[rank] = rank
        else:
            head = column[rank]
            alpha = -np.sqrt(left) if head > 0 else np.sqrt(left)
            # Reflection 1 - scale v v^T with v = column - alpha e.
            scales[rank] = 1.0 / (left - head * alpha)
            mirror[rank] = head - alpha
            dot = mirror[rank] * rest[rank]
            for i in range(rank + 1, height):
                mirror[i] = column[i]
                dot += mirror[i] * rest[i]
            dot *= scales[rank]
            for i in range(rank, height):
                rest[i] -= dot * mirror[i]
            column[rank] = alpha
            ends[rank] = height
        taken[rank] = j
        rank += 1
    for k in range(rank - 1, -1, -1):
        total = rest[k]
        for later in range(k + 1, rank):
            total -= work[later, k] * w[taken[later]]
        w[taken[k]] = total / work[k, k]
    for i in range(rows):
        rest[i] = target[i]
    for k in range(rank):
        j = taken[k]
        for i in range(j + 1 if triangular else rows):
            rest[i] -= factor[i, j] * w[j]


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def invert(factor: np.ndarray, inverse: np.ndarray) -> None:
    """Inverse of an upper triangular matrix (m, m); the row and column of a dependent one are zero."""
    m = factor.shape[0]
    inverse[:] = 0.0
    for j in range(m):
        length = 0.0
        for i in range(j + 1):
            length += factor[i, j] * factor[i, j]
        if not factor[j, j] * factor[j, j] > DEPENDENT * DEPENDENT * length:
            continue
        inverse[j, j] = 1.0 / factor[j, j]
        for i in range(j - 1, -1, -1):
            if inverse[i, i] == 0.0:
                continue
            total = 0.0
            for k in range(i + 1, j + 1):
                total += factor[i, k] * inverse[k, j]
            inverse[i, j] = -total * inverse[i, i]


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _propose(
    factor: np.ndarray,
    target: np.ndarray,
    support: np.ndarray,
    w: np.ndarray,
    inverse: np.ndarray,
    covariance: np.ndarray,
    lower: np.ndarray,
) -> bool:
    """Find the support from the weights without bound and their covariance; right but for rounding.

    With the weights Z held at zero, u = C_ZZ^-1 x_Z pulls them there, and the others become x - C_Z u: mostly one or
    two weights are held, and the systems are as small. False where it does not end, or columns are dependent.
    """
    n = factor.shape[1]
    invert(factor, inverse)
    for i in range(n):
        if inverse[i, i] == 0.0:
            return False
        support[i] = True
        for j in range(i, n):
            total = 0.0
            for k in range(j, n):
                total += inverse[i, k] * inverse[j, k]
            covariance[i, j] = total
            covariance[j, i] = total
    held = np.empty(n, np.int64)
    pull = np.empty(n)
    for _ in range(n + 3):
        count = 0
        for j in range(n):
            total = 0.0
            for k in range(j, n):
                total += inverse[j, k] * target[k]
            w[j] = total
            if not support[j]:
                held[count] = j
                count += 1
        for a in range(count):
            total = w[held[a]]
            for b in range(a):
                entry = covariance[held[a], held[b]]
                for c in range(b):
                    entry -= lower[a, c] * lower[b, c]
                lower[a, b] = entry / lower[b, b]
                total -= lower[a, b] * pull[b]
            pivot = covariance[held[a], held[a]]
            for c in range(a):
                pivot -= lower[a, c] * lower[a, c]
            if not pivot > 0.0:
                return False
            lower[a, a] = np.sqrt(pivot)
            pull[a] = total / lower[a, a]
        for a in range(count - 1, -1, -1):
            for b in range(a + 1, count):
                pull[a] -= lower[b, a] * pull[b]
            pull[a] /= lower[a, a]
        changed = False
        for j in range(n):
            if support[j]:
                for a in range(count):
                    w[j] -= covariance[j, held[a]] * pull[a]
        for a in range(count):
            if pull[a] > 0.0:
                support[held[a]] = True
                changed = True
                w[held[a]] = 0.0
        for j in range(n):
            if support[j] and w[j] < 0.0:
                support[j] = False
                changed = True
        if not changed:
            return True
    return False


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _wrong(
    factor: np.ndarray,
    support: np.ndarray,
    tolerance: np.ndarray,
    w: np.ndarray,
    rest: np.ndarray,
    wrong: np.ndarray,
) -> int:
    """Mark the weights that break the conditions of Karush, Kuhn and Tucker, and count them."""
    rows, n = factor.shape
    count = 0
    for j in range(n):
        if support[j]:
            wrong[j] = w[j] < 0.0
        else:
            slope = 0.0
            for i in range(rows):
                slope += factor[i, j] * rest[i]
            wrong[j] = slope > tolerance[j]
        count += wrong[j]
    return count


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _pivot(
    factor: np.ndarray,
    target: np.ndarray,
    triangular: bool,
    tolerance: np.ndarray,
    support: np.ndarray,
    w: np.ndarray,
    work: np.ndarray,
    rest: np.ndarray,
) -> bool:
    """Block principal pivoting with the backup rule of Kim and Park; False where it has not ended in time."""
    n = factor.shape[1]
    support[:] = True
    wrong = np.empty(n, np.bool_)
    best, patience = n + 1, 3
    for _ in range(5 * n + 10):
        _solve_support(factor, target, triangular, support, w, work, rest)
        infeasible = _wrong(factor, support, tolerance, w, rest, wrong)
        if infeasible == 0:
            return True
        if infeasible < best:
            best, patience = infeasible, 3
        elif patience > 0:
            patience -= 1
        else:
            last = n - 1
            while not wrong[last]:
                last -= 1
            support[last] = not support[last]
            continue
        for j in range(n):
            support[j] = support[j] != wrong[j]
    return False


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _climb(
    factor: np.ndarray,
    target: np.ndarray,
    triangular: bool,
    tolerance: np.ndarray,
    support: np.ndarray,
    w: np.ndarray,
    work: np.ndarray,
    rest: np.ndarray,
) -> None:
    """The active-set method of Lawson and Hanson, which ends for dependent columns too."""
    rows, n = factor.shape
    feasible = np.zeros(n)
    refused = np.zeros(n, np.bool_)
    support[:] = False
    for i in range(rows):
        rest[i] = target[i]
    for _ in range(10 * n + 10):
        entering, steepest = -1, 0.0
        for j in range(n):
            if support[j] or refused[j]:
                continue
            slope = 0.0
            for i in range(rows):
                slope += factor[i, j] * rest[i]
            if slope > tolerance[j] and slope > steepest:
                entering, steepest = j, slope
        if entering < 0:
            break
        support[entering] = True
        _solve_support(factor, target, triangular, support, w, work, rest)
        if w[entering] <= 0.0:
            # Rounding only: what enters must gain weight.
            support[entering] = False
            refused[entering] = True
            _residual(factor, target, feasible, rest)
            continue
        refused[:] = False
        while True:
            step, leaving = 1.0, -1
            for j in range(n):
                if support[j] and w[j] <= 0.0 and feasible[j] <= step * (feasible[j] - w[j]):
                    step, leaving = feasible[j] / (feasible[j] - w[j]), j
            for j in range(n):
                if support[j]:
                    feasible[j] += step * (w[j] - feasible[j])
            if leaving < 0:
                break
            for j in range(n):
                if support[j] and (j == leaving or feasible[j] <= 0.0):
                    feasible[j] = 0.0
                    support[j] = False
            _solve_support(factor, target, triangular, support, w, work, rest)
    for j in range(n):
        w[j] = max(feasible[j], 0.0)


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _residual(factor: np.ndarray, target: np.ndarray, w: np.ndarray, rest: np.ndarray) -> None:
    for i in range(factor.shape[0]):
        total = target[i]
        for j in range(factor.shape[1]):
            total -= factor[i, j] * w[j]
        rest[i] = total


@njit(cache=True, nogil=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def pivot_each(factors: np.ndarray, target: np.ndarray, triangular: bool, weights: np.ndarray) -> None:
    """Solve every pixel by itself: ``factors`` (pixels or 1, rows, n), ``target`` (pixels, rows), fills ``weights``.

    ``triangular``: the factors are upper triangular, which saves most of the work.
    """
    pixels, rows = target.shape
    n = factors.shape[2]
    support, wrong = np.empty(n, np.bool_), np.empty(n, np.bool_)
    inverse, covariance, lower = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    work = np.empty((2 * n, rows))
    rest = np.empty(rows)
    tolerance = np.empty(n)
    w = np.empty(n)
    for p in range(pixels):
        factor = factors[p if factors.shape[0] > 1 else 0]
        size = 0.0
        for i in range(rows):
            size += target[p, i] * target[p, i]
        size = np.sqrt(size) * ROUNDING * rows
        for j in range(n):
            length = 0.0
            for i in range(rows):
                length += factor[i, j] * factor[i, j]
            tolerance[j] = size * np.sqrt(length)
        done = False
        if triangular and _propose(factor, target[p], support, w, inverse, covariance, lower):
            _solve_support(factor, target[p], triangular, support, w, work, rest)
            done = _wrong(factor, support, tolerance, w, rest, wrong) == 0
        if not done and not _pivot(factor, target[p], triangular, tolerance, support, w, work, rest):
            _climb(factor, target[p], triangular, tolerance, support, w, work, rest)
        for j in range(n):
            weights[p, j] = max(w[j], 0.0)
