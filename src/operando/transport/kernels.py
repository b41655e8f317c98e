"""Compiled loops of the conduction solver: a seven-point stencil on padded arrays.

Every array of a level has one voxel more on each side, so that no loop asks where it is. ``gz[k]`` is the conductance
of the face between the planes ``k - 1`` and ``k`` (likewise ``gy``, ``gx``); faces to the outside are 0 except where
a potential is held. ``w`` is one over the sum of the six conductances of a voxel, and 0 in a voxel that is not
solved. Sums go plane by plane in 64 bits, so that the number of threads cannot change a result.

A volume of one conductor needs no conductance per face: outside of it the potential is kept at 0, so that one number
per direction is enough (``*_uniform``). That halves the memory that a pass reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, prange

F = TypeVar("F", bound=Callable[..., Any])
_parallel: Callable[[F], F] = njit(parallel=True, fastmath=True, cache=True, nogil=True)
_serial: Callable[[F], F] = njit(cache=True, nogil=True)


@_serial
def remaining(drops: np.ndarray) -> float:
    """How much further the energy will fall, judged by the drops so far.

    Half more than the largest of three guesses: as if each drop were at least 0.6 of the one before, and no steeper
    than the slowest of the last five (one lucky drop does not count); and as if the last third, or sixth, went on
    falling as it fell from the third, or sixth, before. The first sees a fast solver stall, the others a slow one.
    """
    count = drops.size
    if count < 4:
        return np.inf
    ratio = 0.6
    for i in range(max(1, count - 5), count):
        ratio = max(ratio, drops[i] / drops[i - 1])
    ratio = min(ratio, 0.99)
    guess = max(drops[count - 1], 0.3 * drops[count - 2]) * ratio / (1 - ratio)
    for part in (3, 6):
        window = max(1, count // part)
        late, early = drops[count - window :].sum(), drops[count - 2 * window : count - window].sum()
        ratio = min(late / early, 0.99)
        guess = max(guess, late * ratio / (1 - ratio))
    return 1.5 * guess


@_serial
def needed(tolerance: float, contrast: float) -> float:
    """The tolerance to ask for, where the least conductivity is so small a share of the largest.

    Where no path of the better conductor goes through, the energy falls in steps, with pauses that look like the end:
    they are as much shallower as the conductor is worse.
    """
    return tolerance * min(1.0, max(contrast, 1e-12) * 1e4)


@_serial
def flood(state: np.ndarray, planes: int, start: int, mark: int) -> None:
    """Set ``state`` from ``start`` to ``mark`` in all that hangs together by faces with the given plane of axis 0."""
    flat = state.reshape(-1)
    row, plane = state.shape[2], state.shape[1] * state.shape[2]
    stack = np.empty(4096, dtype=np.int64)
    top = 0
    for seed in range(planes * plane, (planes + 1) * plane):
        if flat[seed] != start:
            continue
        flat[seed] = mark
        stack[0] = seed
        top = 1
        while top > 0:
            top -= 1
            here = stack[top]
            if top + 6 > stack.size:
                larger = np.empty(2 * stack.size, dtype=np.int64)
                larger[:top] = stack[:top]
                stack = larger
            for offset in (-plane, -row, -1, 1, row, plane):
                if flat[here + offset] == start:
                    flat[here + offset] = mark
                    stack[top] = here + offset
                    top += 1


@_parallel
def faces(
    k: np.ndarray, gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, az: float, ay: float, ax: float, held: bool
) -> None:
    """Conductance of every face: two half voxels in series; half a voxel where a potential is held at the ends of z."""
    nz, ny, nx = k.shape[0] - 2, k.shape[1] - 2, k.shape[2] - 2
    for z in prange(1, nz + 2):
        for y in range(1, ny + 2):
            for x in range(1, nx + 2):
                a = np.float64(k[z, y, x])
                b, c, d = np.float64(k[z - 1, y, x]), np.float64(k[z, y - 1, x]), np.float64(k[z, y, x - 1])
                if held and (z == 1 or z == nz + 1):
                    gz[z, y, x] = 2 * az * (a + b)
                else:
                    gz[z, y, x] = 2 * az * a * b / (a + b) if a > 0 and b > 0 else 0
                gy[z, y, x] = 2 * ay * a * c / (a + c) if a > 0 and c > 0 else 0
                gx[z, y, x] = 2 * ax * a * d / (a + d) if a > 0 and d > 0 else 0


@_parallel
def weights(gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, w: np.ndarray) -> None:
    """One over the sum of the six conductances."""
    for z in prange(1, w.shape[0] - 1):
        for y in range(1, w.shape[1] - 1):
            for x in range(1, w.shape[2] - 1):
                total = gz[z, y, x] + gz[z + 1, y, x] + gy[z, y, x] + gy[z, y + 1, x] + gx[z, y, x] + gx[z, y, x + 1]
                w[z, y, x] = 1 / total if total > 0 else 0


@_parallel
def coarsen(
    gz: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
    cz: np.ndarray,
    cy: np.ndarray,
    cx: np.ndarray,
    fz: int,
    fy: int,
    fx: int,
) -> None:
    """Conductance between blocks of ``fz, fy, fx`` voxels: the faces between them in parallel, over that many edges."""
    nz, ny, nx = gz.shape[0] - 2, gz.shape[1] - 2, gz.shape[2] - 2
    mz, my, mx = cz.shape[0] - 2, cz.shape[1] - 2, cz.shape[2] - 2
    for z in prange(1, mz + 2):
        face = min((z - 1) * fz, nz) + 1
        for y in range(1, ny + 1):
            for x in range(1, nx + 1):
                cz[z, (y - 1) // fy + 1, (x - 1) // fx + 1] += gz[face, y, x] / fz
        for fine in range((z - 1) * fz + 1, min(z * fz, nz) + 1):
            for y in range(1, my + 2):
                face = min((y - 1) * fy, ny) + 1
                for x in range(1, nx + 1):
                    cy[z, y, (x - 1) // fx + 1] += gy[fine, face, x] / fy
            for y in range(1, ny + 1):
                for x in range(1, mx + 2):
                    cx[z, (y - 1) // fy + 1, x] += gx[fine, y, min((x - 1) * fx, nx) + 1] / fx


@_parallel
def begin(u: np.ndarray, b: np.ndarray, w: np.ndarray, color: int) -> None:
    """Gauss-Seidel on one color, starting from 0 everywhere."""
    for k in prange(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            for i in range(1, u.shape[2] - 1):
                u[k, j, i] = w[k, j, i] * b[k, j, i] if (k + j + i + color) % 2 == 0 else 0


@_parallel
def smooth(
    u: np.ndarray, b: np.ndarray, gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, w: np.ndarray, color: int
) -> None:
    """Gauss-Seidel on the voxels of one color, in place."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    for k in prange(1, nz + 1):
        for j in range(1, ny + 1):
            for i in range(1 + (k + j + 1 + color) % 2, nx + 1, 2):
                u[k, j, i] = w[k, j, i] * (
                    b[k, j, i]
                    + gz[k, j, i] * u[k - 1, j, i]
                    + gz[k + 1, j, i] * u[k + 1, j, i]
                    + gy[k, j, i] * u[k, j - 1, i]
                    + gy[k, j + 1, i] * u[k, j + 1, i]
                    + gx[k, j, i] * u[k, j, i - 1]
                    + gx[k, j, i + 1] * u[k, j, i + 1]
                )


@_parallel
def smooth_uniform(u: np.ndarray, b: np.ndarray, gz: float, gy: float, gx: float, w: np.ndarray, color: int) -> None:
    """The same for one conductor: ``gz, gy, gx`` are numbers."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    for k in prange(1, nz + 1):
        for j in range(1, ny + 1):
            here, there, right = u[k, j], w[k, j], b[k, j]
            u0, u1, u2, u3 = u[k - 1, j], u[k + 1, j], u[k, j - 1], u[k, j + 1]
            for i in range(1 + (k + j + 1 + color) % 2, nx + 1, 2):
                here[i] = there[i] * (
                    right[i] + gz * (u0[i] + u1[i]) + gy * (u2[i] + u3[i]) + gx * (here[i - 1] + here[i + 1])
                )


@_parallel
def apply(u: np.ndarray, out: np.ndarray, gz: np.ndarray, gy: np.ndarray, gx: np.ndarray, w: np.ndarray) -> float:
    """Write ``A u`` to ``out`` and return ``u . A u``."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    sums = np.zeros(nz + 1)
    for k in prange(1, nz + 1):
        total = 0.0
        for j in range(1, ny + 1):
            row = 0.0
            for i in range(1, nx + 1):
                center = u[k, j, i]
                value = (
                    gz[k, j, i] * (center - u[k - 1, j, i])
                    + gz[k + 1, j, i] * (center - u[k + 1, j, i])
                    + gy[k, j, i] * (center - u[k, j - 1, i])
                    + gy[k, j + 1, i] * (center - u[k, j + 1, i])
                    + gx[k, j, i] * (center - u[k, j, i - 1])
                    + gx[k, j, i + 1] * (center - u[k, j, i + 1])
                )
                out[k, j, i] = value
                row += np.float64(value) * np.float64(center)
            total += row
        sums[k] = total
    return sums.sum()


@_parallel
def apply_uniform(u: np.ndarray, out: np.ndarray, gz: float, gy: float, gx: float, w: np.ndarray) -> float:
    """The same for one conductor, with potentials held at the ends of z.

    Differences first: the sum of the neighbors taken from six times the center would lose in 32 bits what a current is.
    """
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    sums = np.zeros(nz + 1)
    none = gz * 0
    for k in prange(1, nz + 1):
        total = 0.0
        low = 2 * gz if k == 1 else none
        high = 2 * gz if k == nz else none
        for j in range(1, ny + 1):
            # Rows of one index each, and choices instead of branches, or the compiler does one voxel at a time.
            here, there, result = u[k, j, 1 : nx + 1], w[k, j, 1 : nx + 1], out[k, j, 1 : nx + 1]
            u0, u1, w0, w1 = (
                u[k - 1, j, 1 : nx + 1],
                u[k + 1, j, 1 : nx + 1],
                w[k - 1, j, 1 : nx + 1],
                w[k + 1, j, 1 : nx + 1],
            )
            u2, u3, w2, w3 = (
                u[k, j - 1, 1 : nx + 1],
                u[k, j + 1, 1 : nx + 1],
                w[k, j - 1, 1 : nx + 1],
                w[k, j + 1, 1 : nx + 1],
            )
            u4, u5, w4, w5 = u[k, j, :nx], u[k, j, 2:], w[k, j, :nx], w[k, j, 2:]
            for i in range(nx):
                center = here[i]
                value = (gz if w0[i] > 0 else low) * (center - u0[i]) + (gz if w1[i] > 0 else high) * (center - u1[i])
                value += (gy if w2[i] > 0 else none) * (center - u2[i]) + (gy if w3[i] > 0 else none) * (center - u3[i])
                value += (gx if w4[i] > 0 else none) * (center - u4[i]) + (gx if w5[i] > 0 else none) * (center - u5[i])
                result[i] = value if there[i] > 0 else none
            row = 0.0
            for i in range(nx):
                row += np.float64(result[i]) * np.float64(here[i])
            total += row
        sums[k] = total
    return sums.sum()


@_parallel
def restrict(
    u: np.ndarray,
    b: np.ndarray,
    gz: np.ndarray,
    gy: np.ndarray,
    gx: np.ndarray,
    w: np.ndarray,
    coarse: np.ndarray,
    fz: int,
    fy: int,
    fx: int,
) -> None:
    """Sum the residual ``b - A u`` over blocks of ``fz, fy, fx`` voxels."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    cz, cx = coarse.shape[0] - 2, coarse.shape[2] - 2
    for kc in prange(1, cz + 1):
        coarse[kc] = 0
        row = np.zeros(2 * cx, u.dtype)
        for k in range((kc - 1) * fz + 1, min(kc * fz, nz) + 1):
            for j in range(1, ny + 1):
                here, right = u[k, j, 1 : nx + 1], b[k, j, 1 : nx + 1]
                u0, u1, u2, u3 = (
                    u[k - 1, j, 1 : nx + 1],
                    u[k + 1, j, 1 : nx + 1],
                    u[k, j - 1, 1 : nx + 1],
                    u[k, j + 1, 1 : nx + 1],
                )
                g0, g1, g2, g3 = (
                    gz[k, j, 1 : nx + 1],
                    gz[k + 1, j, 1 : nx + 1],
                    gy[k, j, 1 : nx + 1],
                    gy[k, j + 1, 1 : nx + 1],
                )
                u4, u5, g4, g5 = u[k, j, :nx], u[k, j, 2:], gx[k, j, 1 : nx + 1], gx[k, j, 2:]
                for i in range(nx):
                    center = here[i]
                    row[i] = right[i] - (
                        g0[i] * (center - u0[i])
                        + g1[i] * (center - u1[i])
                        + g2[i] * (center - u2[i])
                        + g3[i] * (center - u3[i])
                        + g4[i] * (center - u4[i])
                        + g5[i] * (center - u5[i])
                    )
                _add_row(row, coarse[kc, (j - 1) // fy + 1], cx, fx)


@_parallel
def restrict_uniform(
    u: np.ndarray,
    b: np.ndarray,
    gz: float,
    gy: float,
    gx: float,
    w: np.ndarray,
    coarse: np.ndarray,
    fz: int,
    fy: int,
    fx: int,
) -> None:
    """The same for one conductor."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    cz, cx = coarse.shape[0] - 2, coarse.shape[2] - 2
    for kc in prange(1, cz + 1):
        coarse[kc] = 0
        row = np.zeros(2 * cx, u.dtype)
        for k in range((kc - 1) * fz + 1, min(kc * fz, nz) + 1):
            for j in range(1, ny + 1):
                here, there, right = u[k, j, 1 : nx + 1], w[k, j, 1 : nx + 1], b[k, j, 1 : nx + 1]
                u0, u1, u2, u3 = (
                    u[k - 1, j, 1 : nx + 1],
                    u[k + 1, j, 1 : nx + 1],
                    u[k, j - 1, 1 : nx + 1],
                    u[k, j + 1, 1 : nx + 1],
                )
                u4, u5 = u[k, j, :nx], u[k, j, 2:]
                for i in range(nx):
                    value = (
                        right[i]
                        - here[i] / there[i]
                        + gz * (u0[i] + u1[i])
                        + gy * (u2[i] + u3[i])
                        + gx * (u4[i] + u5[i])
                    )
                    row[i] = value if there[i] > 0 else 0
                _add_row(row, coarse[kc, (j - 1) // fy + 1], cx, fx)


@_serial
def _add_row(row: np.ndarray, coarse: np.ndarray, count: int, factor: int) -> None:
    """Add one row of voxels to a padded row of blocks; what lies beyond the row is 0."""
    if factor == 2:
        for i in range(count):
            coarse[i + 1] += row[2 * i] + row[2 * i + 1]
    else:
        for i in range(count):
            coarse[i + 1] += row[i]


@_parallel
def prolong(u: np.ndarray, w: np.ndarray, coarse: np.ndarray, fz: int, fy: int, fx: int) -> None:
    """Add the value of its block to every solved voxel."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    for k in prange(1, nz + 1):
        kc = (k - 1) // fz + 1
        for j in range(1, ny + 1):
            row = coarse[kc, (j - 1) // fy + 1]
            shift = fx - 1
            for i in range(1, nx + 1):
                value = row[(i + shift) >> shift]
                u[k, j, i] += value if w[k, j, i] > 0 else value * 0


@_parallel
def step(x: np.ndarray, r: np.ndarray, p: np.ndarray, ap: np.ndarray, alpha: float) -> None:
    """``x += alpha p``, ``r -= alpha ap``."""
    for k in prange(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                x[k, j, i] += alpha * p[k, j, i]
                r[k, j, i] -= alpha * ap[k, j, i]


@_parallel
def turn(p: np.ndarray, z: np.ndarray, beta: float) -> None:
    """``p = z + beta p``."""
    for k in prange(1, p.shape[0] - 1):
        for j in range(1, p.shape[1] - 1):
            for i in range(1, p.shape[2] - 1):
                p[k, j, i] = z[k, j, i] + beta * p[k, j, i]


@_parallel
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products in 64 bits."""
    sums = np.zeros(a.shape[0])
    for k in prange(1, a.shape[0] - 1):
        total = 0.0
        for j in range(1, a.shape[1] - 1):
            row = 0.0
            for i in range(1, a.shape[2] - 1):
                row += np.float64(a[k, j, i]) * np.float64(b[k, j, i])
            total += row
        sums[k] = total
    return sums.sum()
