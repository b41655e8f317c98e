"""Least squares with weights that cannot be negative, for many pixels at once and exact for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operando.core.errors import InputError

Floats = NDArray[np.float64]

ENUMERATED = 8
"""Up to so many weights, the solutions of all supports are worked out beforehand."""
LONGEST = 50
"""So many proposals are tried for a pixel before its supports are searched one by one."""
DEPENDENT = 1e-12
"""A column depends on others where less than this share of its length is left without them."""


def nonnegative_least_squares(
    gram: ArrayLike, rhs: ArrayLike, *, free: ArrayLike | None = None, sum_to_one: bool = False
) -> Floats:
    """Weights of the non-negative least-squares fit of every pixel, from its normal equations.

    Parameters
    ----------
    gram : array-like, shape (n, n) or (pixels, n, n)
        Products of the columns of the design, ``A.T @ A`` or ``A.T @ W @ A``; one for all pixels, or one for each.
    rhs : array-like, shape (pixels, n) or (n,)
        Products of the columns with the data, ``A.T @ d`` or ``A.T @ W @ d``.
    free : array-like of bool, shape (n,), optional
        Columns whose weight may be negative (a background). They are eliminated exactly; at least one must be bounded.
    sum_to_one : bool
        The bounded weights of a pixel add up to exactly one.

    Returns
    -------
    ndarray of float64, as ``rhs``
        NaN where the gram or rhs of a pixel is not finite.

    Raises
    ------
    InputError
        Where shapes do not fit, the gram is not symmetric, or all columns are free.

    Notes
    -----
    .. math:: \\min_w \\tfrac12 w^T G w - r^T w, \\quad w_j \\ge 0 \\text{ where not free}
              \\left[, \\sum_{\\text{not free}} w_j = 1\\right]

    G = R^T R (Cholesky, free columns first) makes this :math:`\\min |R w - R^{-T} r|`, whose rows for the bounded
    columns no longer contain the free ones. Each pixel is then solved by block principal pivoting: a set of positive
    weights is proposed, its least-squares solution found, and all weights that break the conditions of Karush, Kuhn and
    Tucker change sides at once; with the backup rule of Kim and Park this ends at the exact answer. Up to eight bounded
    columns with a shared gram, the solutions of all supports are enumerated first, and a proposal costs two small
    products. Where pivoting does not end, because columns depend on each other, the method of Lawson and Hanson
    does the pixel.

    The fixed sum is exact too: with :math:`B = R - y 1^T`, the minimum of :math:`|B v|^2 + (1^T v - 1)^2` over v >= 0
    is proportional to the answer.

    Accuracy: that of normal equations, about 1e-16 times the squared condition number of the design. :func:`unmix`
    works on an orthogonal factor of the design instead and does not square it. Where columns depend on each other
    (within 1e-7 here) the fit is exact but its weights are one choice of many: the earlier column gets the weight.

    Memory: one copy of ``gram`` and ``rhs``.

    Reference
    ---------
    Kim and Park, SIAM J. Sci. Comput. 33 (2011) 3261; Lawson and Hanson, Solving Least Squares Problems (1974), ch. 23.

    Examples
    --------
    The second weight would be -1. Without it, the first is 2 / 2 and not 3 / 2 less something:

    >>> nonnegative_least_squares([[2.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [3.0, 2.0]])
    array([[1., 0.],
           [1., 1.]])
    >>> nonnegative_least_squares([[2.0, 1.0], [1.0, 1.0]], [2.0, 0.0], free=[False, True])
    array([ 2., -2.])
    """
    g, r, unbounded = _checked(gram, rhs, free)
    n = r.shape[-1]
    order = np.concatenate([np.flatnonzero(unbounded), np.flatnonzero(~unbounded)])
    pixels = r.reshape(-1, n)
    factor = semidefinite_factor(np.ascontiguousarray(g.reshape(-1, n, n)[:, order][:, :, order]))
    target = forward(factor, pixels[:, order])
    solved = solve(factor, target, int(unbounded.sum()), sum_to_one=sum_to_one)
    weights = np.empty_like(pixels)
    weights[:, order] = solved
    return weights.reshape(r.shape)


def _checked(gram: ArrayLike, rhs: ArrayLike, free: ArrayLike | None) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    g, r = np.asarray(gram, dtype=float), np.asarray(rhs, dtype=float)
    where = "nonnegative_least_squares"
    n = r.shape[-1] if r.ndim else 0
    pixels = r.shape[0] if r.ndim == 2 else 1
    if r.ndim not in (1, 2) or n == 0 or g.shape not in ((n, n), (pixels, n, n)):
        raise InputError(
            f"{where}: gram must be (n, n) or (pixels, n, n) and rhs (pixels, n) or (n,), got {g.shape} and {r.shape}. "
            "Flatten space to pixels first."
        )
    off = np.nanmax(np.abs(g - np.swapaxes(g, -1, -2)), initial=0.0)
    if off > 1e-9 * np.nanmax(np.abs(g), initial=0.0):
        raise InputError(f"{where}: gram must be symmetric, but entries differ by {off:g}. Pass A.T @ A.")
    unbounded = np.zeros(n, dtype=bool) if free is None else np.asarray(free, dtype=bool)
    if unbounded.shape != (n,) or unbounded.all():
        raise InputError(
            f"{where}: free must mark some of the {n} columns, not all, got {unbounded.tolist()}. "
            "Without a bounded column use numpy.linalg.solve."
        )
    return g, r, unbounded


def semidefinite_factor(gram: Floats) -> Floats:
    """Upper triangular R with ``R.T @ R = gram`` for each of (pixels, n, n); a dependent column has a row of zeros.

    Examples
    --------
    >>> semidefinite_factor(np.array([[[4.0, 2.0], [2.0, 1.0]]]))
    array([[[2., 1.],
            [0., 0.]]])
    """
    n = gram.shape[-1]
    factor = np.zeros_like(gram)
    left = gram.copy()
    for k in range(n):
        pivot = left[:, k, k]
        # Rounding leaves n eps of the diagonal where nothing should be left.
        kept = pivot > 50 * n * np.finfo(float).eps * gram[:, k, k]
        root = np.sqrt(np.where(kept, pivot, 1.0))
        row = np.where(kept[:, None], left[:, k, k:] / root[:, None], 0.0)
        row[np.isnan(pivot)] = np.nan
        factor[:, k, k:] = row
        left[:, k:, k:] -= row[:, :, None] * row[:, None, :]
    return factor


def forward(factor: Floats, rhs: Floats) -> Floats:
    """Solve ``R.T @ y = rhs`` for each pixel; y is 0 where R has a row of zeros."""
    n = factor.shape[-1]
    target = np.zeros_like(rhs)
    for k in range(n):
        total = rhs[:, k] - np.einsum("pk,pk->p", np.broadcast_to(factor[:, :k, k], (len(rhs), k)), target[:, :k])
        diagonal = factor[:, k, k]
        target[:, k] = np.where(diagonal == 0, 0.0, total / np.where(diagonal == 0, 1.0, diagonal))
    return target


def solve(factor: Floats, target: Floats, free: int, *, sum_to_one: bool = False) -> Floats:
    """Minimize ``|R w - y|`` with all but the first ``free`` weights bounded at zero.

    Parameters
    ----------
    factor : ndarray, shape (1 or pixels, m, m)
        Upper triangular.
    target : ndarray, shape (pixels, m)
    free : int
        How many columns, the first ones, may be negative.

    Returns
    -------
    ndarray, shape (pixels, m)
        NaN where the input of a pixel is not finite.
    """
    weights = np.empty_like(target)
    weights[:, free:] = _bounded_weights(
        np.ascontiguousarray(factor[:, free:, free:]),
        np.ascontiguousarray(target[:, free:]),
        sum_to_one=sum_to_one,
    )
    eliminated(factor, target, weights, free)
    return weights


def eliminated(factor: Floats, target: Floats, weights: Floats, free: int) -> None:
    """Fill in the first ``free`` weights, given the others, by back substitution."""
    for k in range(free - 1, -1, -1):
        known = np.einsum(
            "pk,pk->p", np.broadcast_to(factor[:, k, k + 1 :], weights[:, k + 1 :].shape), weights[:, k + 1 :]
        )
        diagonal = factor[:, k, k]
        left = target[:, k] - known
        weights[:, k] = np.where(diagonal == 0, 0.0 * left, left / np.where(diagonal == 0, 1.0, diagonal))


@dataclass(frozen=True)
class Table:
    """The least-squares solution of every support of a factor, as operators on the target.

    ``operators`` (2^n, rows, ENUMERATED) turn a target into weights where the support has a column, and into half the
    gradient of the squared misfit where it has not; ``limits`` (2^n, ENUMERATED) are what these may not be below, for a
    target of length one. Where the sum is fixed, the last entry of a target is 1.
    """

    operators: Floats
    limits: Floats
    sum_to_one: bool


def enumerate_supports(factor: Floats, *, sum_to_one: bool = False) -> Table:
    """Work out the solutions of all supports of ``factor`` (rows, n), n up to ENUMERATED."""
    rows, n = factor.shape
    lengths = np.sqrt((factor**2).sum(axis=0))
    operators = np.zeros((1 << n, rows + sum_to_one, ENUMERATED))
    limits = np.full((1 << n, ENUMERATED), -1.0)
    for support in range(1 << n):
        inside = np.array([bool(support >> j & 1) for j in range(n)])
        columns = _independent(factor, np.flatnonzero(inside))
        if sum_to_one:
            if not columns:
                continue
            weights, gradient = _on_the_sum(factor, columns)
        else:
            weights = np.zeros((n, rows))
            if columns:
                weights[columns] = np.linalg.pinv(factor[:, columns], rcond=0.0)
            gradient = factor.T @ (factor @ weights - np.eye(rows))
        operators[support, :, :n] = np.where(inside[:, None], weights, gradient).T
        limits[support, :n] = np.where(inside, 0.0, -lengths)
    return Table(operators, limits, sum_to_one)


def _on_the_sum(factor: Floats, columns: list[int]) -> tuple[Floats, Floats]:
    """Operators of a support whose weights add up to one: on (target, 1), the weights and half the gradient."""
    rows, n = factor.shape
    # w = e + N u with e the first unit vector and N u every move that keeps the sum.
    first, others = columns[0], columns[1:]
    moves = np.zeros((n, len(others)))
    moves[first] = -1.0
    moves[others, np.arange(len(others))] = 1.0
    inverse = moves @ np.linalg.pinv(factor @ moves) if others else np.zeros((n, rows))
    weights = np.column_stack([inverse, -inverse @ factor[:, first]])
    weights[first, rows] += 1.0
    gradient = factor.T @ factor @ weights
    gradient[:, :rows] -= factor.T
    # The multiplier of the sum is what makes the gradient vanish on the support.
    return weights, gradient - gradient[columns].mean(axis=0)


def _independent(factor: Floats, columns: Any) -> list[int]:
    """Those of ``columns`` that earlier ones do not span."""
    kept: list[int] = []
    basis = np.zeros((factor.shape[0], 0))
    for j in columns:
        column = factor[:, j]
        left = column - basis @ (basis.T @ column)
        left -= basis @ (basis.T @ left)
        length = np.linalg.norm(left)
        if length > DEPENDENT * np.linalg.norm(column) and length > 0:
            basis = np.column_stack([basis, left / length])
            kept.append(int(j))
    return kept


def _bounded_weights(factor: Floats, target: Floats, *, sum_to_one: bool) -> Floats:
    from operando.spectral.nnls_compiled import pivot_all_by_table, pivot_each

    pixels, n = target.shape
    weights = np.full((pixels, n), np.nan)
    todo = np.isfinite(target).all(axis=1)
    if len(factor) > 1:
        todo &= np.isfinite(factor).all(axis=(1, 2))
    elif n <= ENUMERATED and pixels > 1 << n:
        table = enumerate_supports(factor[0], sum_to_one=sum_to_one)
        affine = np.column_stack([target, np.ones(pixels)]) if sum_to_one else target
        pivot_all_by_table(affine, table.operators, table.limits, int(sum_to_one), weights)
        weights[~todo] = np.nan
        todo &= np.isnan(weights[:, 0])
    if todo.any():
        of = factor[todo] if len(factor) > 1 else factor
        weights[todo] = _one_by_one(of, target[todo], sum_to_one=sum_to_one, pivot_each=pivot_each)
    return weights


def _one_by_one(factor: Floats, target: Floats, *, sum_to_one: bool, pivot_each: Any) -> Floats:
    pixels, n = target.shape
    found = np.empty((pixels, n))
    if not sum_to_one:
        pivot_each(factor, target, True, found)
        return found
    shifted = np.empty((pixels, n + 1, n))
    shifted[:, :n] = factor - target[:, :, None]
    scale = np.sqrt((shifted[:, :n] ** 2).sum(axis=(1, 2)) / n)
    scale[scale == 0] = 1.0
    shifted[:, n] = scale[:, None]
    ends = np.zeros((pixels, n + 1))
    ends[:, n] = scale
    pivot_each(shifted, ends, False, found)
    total: Floats = found.sum(axis=1, keepdims=True)
    return found / total
