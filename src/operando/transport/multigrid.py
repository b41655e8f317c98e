"""Conjugate gradients, preconditioned by multigrid, for the potential in a volume of conducting voxels.

The coarse levels are blocks of two voxels per axis. The conductance between two blocks is that of the faces between
them, over twice the distance; what leaves a block is the sum of what leaves its voxels. So every level is again a
seven-point stencil, however the conductor winds. One W-cycle with a red and a black Gauss-Seidel sweep before, in
reverse order after it, is a symmetric preconditioner.

**When to stop.** The potential that solves the equations has the least dissipation of all that hold the ends at 1 and
0, and that dissipation *is* the conductance. Each step lowers it by a known amount (Hestenes and Stiefel), so that
the error of the conductance is the sum of the steps not yet taken: it is judged by continuing the last ones as a
geometric series.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operando.core.errors import RunError

# Solving uses every core anyway, and numba's plain thread pool must not be entered from two threads at a time.
alone = threading.RLock()
_DIRECT = 128
_MOST_ITERATIONS = 2000


@dataclass
class Solution:
    """What a solve leaves: the potential (padded by one voxel), the conductance, and how it got there."""

    potential: np.ndarray
    conductance: float
    error: float
    iterations: int
    bytes_per_voxel: float


@dataclass
class _Level:
    shape: tuple[int, int, int]
    faces: tuple[Any, Any, Any]
    w: np.ndarray
    periodic: bool
    uniform: bool = False
    factors: tuple[int, int, int] = (1, 1, 1)
    u: np.ndarray = field(default_factory=lambda: np.zeros(0))
    b: np.ndarray = field(default_factory=lambda: np.zeros(0))
    inverse: np.ndarray | None = None

    def ready(self, u: np.ndarray) -> np.ndarray:
        """Let the padding of ``u`` repeat the opposite side, where the volume does."""
        if self.periodic:
            u[0], u[-1] = u[-2], u[1]
            u[:, 0], u[:, -1] = u[:, -2], u[:, 1]
            u[:, :, 0], u[:, :, -1] = u[:, :, -2], u[:, :, 1]
        return u

    def smooth(self, u: np.ndarray, b: np.ndarray, color: int) -> None:
        from operando.transport import kernels

        (kernels.smooth_uniform if self.uniform else kernels.smooth)(self.ready(u), b, *self.faces, self.w, color)

    def apply(self, u: np.ndarray, out: np.ndarray) -> float:
        from operando.transport import kernels

        return float(
            (kernels.apply_uniform if self.uniform else kernels.apply)(self.ready(u), out, *self.faces, self.w)
        )

    def restrict(self, u: np.ndarray, b: np.ndarray, coarse: np.ndarray) -> None:
        from operando.transport import kernels

        restrict = kernels.restrict_uniform if self.uniform else kernels.restrict
        restrict(self.ready(u), b, *self.faces, self.w, coarse, *self.factors)


class Conductor:
    """A volume, made ready to be solved: the levels of the multigrid.

    Parameters
    ----------
    k : ndarray, shape (nz + 2, ny + 2, nx + 2), any real type
        Conductivity per voxel, padded by 0 (where ``periodic``: by the opposite side). Voxels that hang on no held
        potential must be 0.
    edges : three floats
        Edges of a voxel.
    uniform : bool
        ``k`` is 0 and 1 only.
    periodic : bool
        Opposite sides are neighbors; otherwise the ends of axis 0 are held at a potential, the sides are insulated.
    dtype : dtype
        Of the potential and everything else.
    """

    def __init__(
        self, k: np.ndarray, edges: tuple[float, float, float], *, uniform: bool, periodic: bool = False, dtype: Any
    ) -> None:
        from operando.transport import kernels

        dz, dy, dx = edges
        # Only ratios matter to the solver; around 1 nothing overflows 32 bits.
        scale = (dz * dy * dx) ** (1 / 3)
        area = [dy * dx / dz / scale, dz * dx / dy / scale, dz * dy / dx / scale]
        kind = np.dtype(dtype).type
        faces = (np.zeros(k.shape, dtype), np.zeros(k.shape, dtype), np.zeros(k.shape, dtype))
        kernels.faces(k, *faces, area[0], area[1], area[2], held=not periodic)
        w = np.zeros(k.shape, dtype)
        kernels.weights(*faces, w)
        shape = tuple(n - 2 for n in k.shape)
        self.scale = scale
        self.dtype = kind
        self.inlet = np.array(faces[0][1])
        self.planes = faces[0][1:, 1:-1, 1:-1].sum((1, 2), dtype=np.float64)
        self.levels = [_Level((shape[0], shape[1], shape[2]), faces, w, periodic)]
        coarse_area = list(area)
        while np.prod(self.levels[-1].shape) > _DIRECT:
            self.levels.append(_coarser(self.levels[-1], coarse_area))
        last = self.levels[-1]
        last.inverse = _inverse(last)
        if uniform and len(self.levels) > 1:
            # The coarse levels are there: the faces of the finest are all alike from here on.
            self.levels[0].uniform = True
            self.levels[0].faces = (kind(area[0]), kind(area[1]), kind(area[2]))

    def nbytes(self) -> int:
        """What the levels hold, in bytes."""
        arrays = [array for level in self.levels for array in (*level.faces, level.w, level.u, level.b)]
        return int(sum(array.nbytes for array in arrays))

    def precondition(self, u: np.ndarray, b: np.ndarray) -> None:
        """Write a rough solution of ``A u = b`` to ``u``: one W-cycle."""
        self._cycle(0, u, b, fresh=True)

    def _cycle(self, index: int, u: np.ndarray, b: np.ndarray, *, fresh: bool) -> None:
        from operando.transport import kernels

        level = self.levels[index]
        if level.inverse is not None:
            inner = (slice(1, -1),) * 3
            u[inner] = (level.inverse @ b[inner].ravel()).reshape(level.shape)
            return
        if fresh:
            kernels.begin(u, b, level.w, 0)
        else:
            level.smooth(u, b, 0)
        level.smooth(u, b, 1)
        coarse = self.levels[index + 1]
        level.restrict(u, b, coarse.b)
        for visit in range(1 if coarse.inverse is not None else 2):
            self._cycle(index + 1, coarse.u, coarse.b, fresh=visit == 0)
        kernels.prolong(u, level.w, coarse.u, *level.factors)
        level.smooth(u, b, 1)
        level.smooth(u, b, 0)

    def solve(self, *, tolerance: float) -> Solution:
        """Potential between 1 held at the low and 0 held at the high end of axis 0.

        Returns
        -------
        Solution
            ``conductance`` is the current in units of conductivity times length; ``error`` its estimated relative
            error.
        """
        level = self.levels[0]
        # The best potential that depends on the depth only: where all conducts alike, it is the answer.
        start = 1 / np.sum(1 / self.planes)
        depth = 1 - np.cumsum(start / self.planes)[:-1]
        x = np.zeros(level.w.shape, self.dtype)
        x[1:-1] = depth[:, None, None]
        x *= level.w > 0
        r = np.zeros_like(x)
        level.apply(x, r)
        np.negative(r, out=r)
        r[1] += self.inlet
        return self.minimize(x, r, start, tolerance=tolerance)

    def minimize(self, x: np.ndarray, r: np.ndarray, energy: float, *, tolerance: float) -> Solution:
        """Go on from the potential ``x`` with the residual ``r`` and the dissipation ``energy``."""
        from operando.transport import kernels

        level, kind = self.levels[0], self.dtype
        p, z = np.zeros_like(x), np.zeros_like(x)
        drops = np.zeros(_MOST_ITERATIONS)
        before, error, iteration = 1.0, 0.0, 0
        scale = max(energy, np.finfo(float).tiny)
        while True:
            self.precondition(z, r)
            product = float(kernels.dot(r, z))
            if product <= np.finfo(kind).eps ** 2 * scale:
                error = product / scale
                break
            kernels.turn(p, z, kind(product / before if iteration else 0))
            curvature = level.apply(p, z)
            before = product
            length = product / curvature
            kernels.step(x, r, p, z, kind(length))
            drops[iteration] = length * product
            energy -= drops[iteration]
            iteration += 1
            error = float(kernels.remaining(drops[:iteration])) / max(energy, np.finfo(float).tiny)
            if error < tolerance:
                break
            if iteration == _MOST_ITERATIONS:
                raise RunError(
                    f"conduction: the solver should be within {tolerance:g}, and after {iteration} steps its error is "
                    f"estimated as {error:.1e}. Use dtype='float64' or a larger tolerance, or a smaller contrast."
                )
        size = sum(array.nbytes for array in (x, r, p, z)) + self.nbytes()
        return Solution(x, energy * self.scale, error, iteration, size / np.prod(level.shape))


def _coarser(fine: _Level, area: list[float]) -> _Level:
    from operando.transport import kernels

    # Smoothing evens out along strong couplings only, so only those are coarsened.
    strong = [
        n > 1 and a > 0.3 * max(area[d] for d in range(3) if fine.shape[d] > 1)
        for n, a in zip(fine.shape, area, strict=True)
    ]
    factors = tuple(2 if s else 1 for s in strong)
    fine.factors = (factors[0], factors[1], factors[2])
    for axis in range(3):
        area[axis] *= np.prod(factors) / factors[axis] ** 2
    shape = tuple(-(-n // f) for n, f in zip(fine.shape, factors, strict=True))
    padded = tuple(n + 2 for n in shape)
    dtype = fine.w.dtype
    faces = (np.zeros(padded, dtype), np.zeros(padded, dtype), np.zeros(padded, dtype))
    kernels.coarsen(*fine.faces, *faces, *fine.factors)
    w = np.zeros(padded, dtype)
    kernels.weights(*faces, w)
    return _Level(
        (shape[0], shape[1], shape[2]), faces, w, fine.periodic, u=np.zeros(padded, dtype), b=np.zeros(padded, dtype)
    )


def _inverse(level: _Level) -> np.ndarray:
    """Inverse of the coarsest level, the pseudo-inverse where nothing holds the potential."""
    size = int(np.prod(level.shape))
    number = np.arange(size).reshape(level.shape)
    matrix = np.zeros((size, size))
    for axis, values in enumerate(level.faces):
        others = tuple(slice(None) if d == axis else slice(1, -1) for d in range(3))
        g = np.moveaxis(np.asarray(values, dtype=np.float64)[others], axis, 0)
        cells = np.moveaxis(number, axis, 0)
        last = len(cells)
        for face in range(1, last + (1 if level.periodic else 2)):
            low = cells[face - 2] if face > 1 or level.periodic else None
            high = cells[face - 1] if face <= last else None
            for cell in (low, high):
                if cell is not None:
                    np.add.at(matrix, (cell, cell), g[face])
            if low is not None and high is not None:
                np.add.at(matrix, (low, high), -g[face])
                np.add.at(matrix, (high, low), -g[face])
    diagonal = matrix.diagonal()
    d = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 0)
    inverse = d[:, None] * np.linalg.pinv(d[:, None] * matrix * d, hermitian=True, rcond=1e-12) * d
    return inverse.astype(level.w.dtype)
