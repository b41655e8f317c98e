"""Compiled loops for many small volumes at a time: one thread solves one volume from beginning to end.

What makes one large volume fast (levels, passes shared by all threads) is overhead in a volume of a thousand voxels;
there conjugate gradients, preconditioned by the diagonal alone, are through in about fifty passes over the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, prange

from operando.transport.kernels import flood, needed, remaining

F = TypeVar("F", bound=Callable[..., Any])
_parallel: Callable[[F], F] = njit(parallel=True, cache=True, nogil=True)
_serial: Callable[[F], F] = njit(cache=True, nogil=True)
_fast: Callable[[F], F] = njit(fastmath=True, cache=True, nogil=True)


@_parallel
def solve_boxes(
    k: np.ndarray,
    starts: np.ndarray,
    size: np.ndarray,
    order: np.ndarray,
    edges: np.ndarray,
    tolerance: float,
    effective: np.ndarray,
    mean: np.ndarray,
    fraction: np.ndarray,
) -> None:
    """Effective and mean conductivity and conducting fraction of boxes of one size.

    NaN where any voxel is NaN; a negative conductivity where the steps did not suffice.
    """
    for box in prange(starts.shape[0]):
        effective[box], mean[box], fraction[box] = _solve_box(k, starts[box], size, order, edges, tolerance)


@_serial
def _solve_box(
    k: np.ndarray, start: np.ndarray, size: np.ndarray, order: np.ndarray, edges: np.ndarray, tolerance: float
) -> tuple[float, float, float]:
    n0, n1, n2 = size[order[0]], size[order[1]], size[order[2]]
    values = np.zeros((n0 + 2, n1 + 2, n2 + 2))
    state = np.zeros((n0 + 2, n1 + 2, n2 + 2), np.uint8)
    at, total, conducting, largest, smallest = np.zeros(3, np.int64), 0.0, 0, 0.0, np.inf
    for a in range(n0):
        for b in range(n1):
            for c in range(n2):
                at[order[0]], at[order[1]], at[order[2]] = a, b, c
                value = np.float64(k[start[0] + at[0], start[1] + at[1], start[2] + at[2]])
                if np.isnan(value):
                    return np.nan, np.nan, np.nan
                values[a + 1, b + 1, c + 1] = value
                total += value
                largest = max(largest, value)
                if value > 0:
                    smallest = min(smallest, value)
                    state[a + 1, b + 1, c + 1] = 1
                    conducting += 1
    count = n0 * n1 * n2
    flood(state, 1, 1, 2)
    flood(state, n0, 2, 3)
    solved = 0
    for a in range(1, n0 + 1):
        for b in range(1, n1 + 1):
            for c in range(1, n2 + 1):
                if state[a, b, c] == 3:
                    values[a, b, c] /= largest
                    solved += 1
                else:
                    values[a, b, c] = 0
    if solved == 0:
        return 0.0, total / count, conducting / count
    tolerance = needed(tolerance, smallest / largest)
    d0, d1, d2 = edges[order[0]], edges[order[1]], edges[order[2]]
    conductance = _conductance(values, d1 * d2 / d0, d0 * d2 / d1, d0 * d1 / d2, tolerance)
    return largest * conductance * n0 * d0 / (n1 * d1 * n2 * d2), total / count, conducting / count


@_fast
def _conductance(k: np.ndarray, a0: float, a1: float, a2: float, tolerance: float) -> float:
    n0, n1, n2 = k.shape[0] - 2, k.shape[1] - 2, k.shape[2] - 2
    g0, g1, g2, w = np.zeros(k.shape), np.zeros(k.shape), np.zeros(k.shape), np.zeros(k.shape)
    x, r, p, ap = np.zeros(k.shape), np.zeros(k.shape), np.zeros(k.shape), np.zeros(k.shape)
    planes = np.zeros(n0 + 2)
    for a in range(1, n0 + 2):
        for b in range(1, n1 + 2):
            for c in range(1, n2 + 2):
                here = k[a, b, c]
                if a == 1 or a == n0 + 1:
                    g0[a, b, c] = 2 * a0 * (here + k[a - 1, b, c])
                elif here > 0 and k[a - 1, b, c] > 0:
                    g0[a, b, c] = 2 * a0 * here * k[a - 1, b, c] / (here + k[a - 1, b, c])
                if here > 0 and k[a, b - 1, c] > 0:
                    g1[a, b, c] = 2 * a1 * here * k[a, b - 1, c] / (here + k[a, b - 1, c])
                if here > 0 and k[a, b, c - 1] > 0:
                    g2[a, b, c] = 2 * a2 * here * k[a, b, c - 1] / (here + k[a, b, c - 1])
                planes[a] += g0[a, b, c]
    energy = 0.0
    for a in range(1, n0 + 2):
        energy += 1 / planes[a]
    energy = 1 / energy
    potential = 1.0
    for a in range(1, n0 + 1):
        potential -= energy / planes[a]
        for b in range(1, n1 + 1):
            for c in range(1, n2 + 1):
                if k[a, b, c] > 0:
                    x[a, b, c] = potential
                    w[a, b, c] = 1 / (
                        g0[a, b, c] + g0[a + 1, b, c] + g1[a, b, c] + g1[a, b + 1, c] + g2[a, b, c] + g2[a, b, c + 1]
                    )
    _apply(x, ap, g0, g1, g2)
    product = 0.0
    for a in range(1, n0 + 1):
        for b in range(1, n1 + 1):
            for c in range(1, n2 + 1):
                r[a, b, c] = (g0[a, b, c] if a == 1 else 0.0) - ap[a, b, c]
                p[a, b, c] = w[a, b, c] * r[a, b, c]
                product += r[a, b, c] * p[a, b, c]
    most = 100 + 20 * (n0 + n1 + n2)
    drops = np.zeros(most)
    for iteration in range(most):
        if product <= 1e-28 * energy:
            break
        length = product / _apply(p, ap, g0, g1, g2)
        drops[iteration] = length * product
        energy -= drops[iteration]
        before, product = product, 0.0
        for a in range(1, n0 + 1):
            for b in range(1, n1 + 1):
                for c in range(1, n2 + 1):
                    r[a, b, c] -= length * ap[a, b, c]
                    product += w[a, b, c] * r[a, b, c] * r[a, b, c]
        if iteration % 4 == 3 and 2 * remaining(drops[: iteration + 1]) < tolerance * energy:
            break
        for a in range(1, n0 + 1):
            for b in range(1, n1 + 1):
                for c in range(1, n2 + 1):
                    p[a, b, c] = w[a, b, c] * r[a, b, c] + product / before * p[a, b, c]
    else:
        return -1.0
    return energy


@_fast
def _apply(u: np.ndarray, out: np.ndarray, g0: np.ndarray, g1: np.ndarray, g2: np.ndarray) -> float:
    total = 0.0
    for a in range(1, u.shape[0] - 1):
        for b in range(1, u.shape[1] - 1):
            for c in range(1, u.shape[2] - 1):
                here = u[a, b, c]
                value = (
                    g0[a, b, c] * (here - u[a - 1, b, c])
                    + g0[a + 1, b, c] * (here - u[a + 1, b, c])
                    + g1[a, b, c] * (here - u[a, b - 1, c])
                    + g1[a, b + 1, c] * (here - u[a, b + 1, c])
                    + g2[a, b, c] * (here - u[a, b, c - 1])
                    + g2[a, b, c + 1] * (here - u[a, b, c + 1])
                )
                out[a, b, c] = value
                total += value * here
    return total
