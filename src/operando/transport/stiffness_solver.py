"""Conjugate gradients for linear elasticity on voxels, preconditioned by the Fourier transform of a uniform body.

Nothing is assembled. A load case is a mean strain of which some entries are given and the others free (their mean
stress vanishes); displacement and free strains are found together, as the one minimum of the elastic energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
BOUNDARIES = ("plates", "periodic")


@dataclass(frozen=True)
class Solution:
    """What was found per load case; every array has the leading dim ``load``.

    ``modulus`` is twice the mean energy density of the strain found, which the exact strain would make smallest;
    ``stress`` and ``strain`` are means in the order of :data:`VOIGT`; ``error`` is the estimated relative error of
    the modulus from stopping; ``residual`` the unbalanced force in the preconditioner's norm, over that at the start;
    ``displacement``, where it was asked for, is that of the nodes beyond the mean strain, (load, 3, z + 1, y + 1, x +
    1).
    """

    modulus: np.ndarray
    stress: np.ndarray
    strain: np.ndarray
    error: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    displacement: np.ndarray


def solve(
    lame: np.ndarray,
    shear: np.ndarray,
    domain: np.ndarray,
    strain: np.ndarray,
    free: np.ndarray,
    *,
    spacing: Sequence[float],
    boundary: str,
    tolerance: float,
    max_iterations: int,
    keep: bool = False,
) -> Solution:
    """Minimize the energy of several load cases at once.

    Parameters
    ----------
    lame, shear : ndarray (m, z, y, x), float32 or float64
        Lame's constants per voxel of ``m`` domains of one shape, of the order of 1; their dtype is that of the
        computation, sums are in double precision.
    domain : ndarray of int (load,)
        Which domain a load case is for.
    strain : ndarray (load, 6)
        Mean strain in the order of :data:`VOIGT`, shear as angles; where it is free, the value to start from.
    free : ndarray of bool (load, 6)
        Which entries of the mean strain are free.
    spacing : three floats
        Voxel edges along z, y, x, of the order of 1.
    boundary : {"plates", "periodic"}
        Of the displacement beyond the mean strain: no motion through the faces and no shear on them, or periodic.
    tolerance : float
        Largest estimated relative error of a modulus from stopping.
    max_iterations : int
        Per load case.
    keep : bool
        Return the displacement as well.

    Returns
    -------
    Solution

    Notes
    -----
    Memory per voxel and load case: seven vectors of three numbers (84 bytes in single precision) beside the two
    constants. A load case that is done leaves when half of them are.
    """
    reference = _Reference(lame, shear, spacing, boundary)
    body = ElasticBody(lame, shear, spacing, boundary)
    loads = len(domain)
    nodes = (loads, 3, *(n + 1 for n in lame.shape[1:]))
    out = Solution(
        modulus=np.zeros(loads),
        stress=np.zeros((loads, 6)),
        strain=np.zeros((loads, 6)),
        error=np.zeros(loads),
        residual=np.zeros(loads),
        iterations=np.zeros(loads, dtype=int),
        displacement=np.zeros(nodes if keep else 0, lame.dtype),
    )
    found, residual, direction, image, correction = (np.zeros(nodes, lame.dtype) for _ in range(5))
    here = np.arange(loads)
    mean = np.array(strain, dtype=np.float64)
    stress, energy = body.forces(found, mean, domain, residual)
    np.negative(residual, out=residual)
    pull = np.where(free, -stress, 0.0)  # what is left to balance on the free strains
    start = energy.copy()
    turn, share = np.zeros_like(mean), np.zeros(loads)
    gains = np.zeros((0, loads))
    first = weight = np.zeros(loads)
    error, iteration = np.full(loads, np.inf), 0
    while True:
        reference.solve(residual, correction)
        drift = reference.solve_mean(pull, free)
        new = products(residual, correction) + (pull * drift).sum(axis=1)
        if iteration == 0:
            first = new.copy()
        share = _ratio(new, weight) if iteration else share
        done = (error <= tolerance) | (new <= 1e-13 * first)
        error = np.where(new <= 1e-13 * first, np.minimum(error, tolerance), error)
        over = bool(done.all()) or iteration == max_iterations
        if over or 2 * done.sum() >= len(done):
            leaving = np.ones_like(done) if over else done
            if leaving.any():
                at = here[leaving]
                moved = found if over else found[leaving]
                stress, energy = body.forces(moved, mean[leaving], domain[leaving], image[: len(at)])
                if keep:
                    out.displacement[at] = moved
                out.modulus[at], out.stress[at], out.strain[at] = energy, stress / body.voxels, mean[leaving]
                out.error[at], out.residual[at] = error[leaving], np.sqrt(_ratio(new[leaving], first[leaving]))
                out.iterations[at] = iteration
            if over:
                return out
            stay = ~leaving
            found, residual, direction, correction = (v[stay] for v in (found, residual, direction, correction))
            image = image[: int(stay.sum())]
            here, domain, mean, free, pull = here[stay], domain[stay], mean[stay], free[stay], pull[stay]
            turn, share, new, first = turn[stay], share[stay], new[stay], first[stay]
            start, drift, gains = start[stay], drift[stay], gains[:, stay]
        weight = new
        combine(direction, correction, share)
        turn = drift + share[:, None] * turn
        stress, _ = body.forces(direction, turn, domain, image)
        tension = np.where(free, stress, 0.0)
        step = _ratio(weight, products(direction, image) + (turn * tension).sum(axis=1))
        advance(found, residual, direction, image, step)
        mean, pull = mean + step[:, None] * turn, pull - step[:, None] * tension
        gains = np.concatenate([gains, (step * weight / body.voxels)[None]])
        iteration += 1
        error = _error_left(gains, start)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)


def _error_left(gains: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Relative error of the modulus that is left.

    The energy falls at every iteration, and its error is the sum of all falls to come. That of the last third of the
    iterations stands for it: the part already taken, an overestimate unless the fall stalls for as long as that.
    """
    count = len(gains)
    window = max(5, count // 3)
    if count <= window:
        return np.full(start.shape, np.inf)
    # A body that bears next to nothing is found to do so in terms of what its voxels could bear side by side.
    return gains[-window:].sum(axis=0) / np.maximum(start - gains.sum(axis=0), 1e-8 * start + 1e-300)


def products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Scalar product per load case, in double precision."""
    from operando.transport import stiffness_kernels

    partial = np.empty((left.shape[0], left.shape[2]))
    stiffness_kernels.products(left, right, partial)
    return partial.sum(axis=1)


def advance(
    found: np.ndarray, residual: np.ndarray, direction: np.ndarray, image: np.ndarray, step: np.ndarray
) -> None:
    """``found += step * direction`` and ``residual -= step * image``, per load case."""
    from operando.transport import stiffness_kernels

    stiffness_kernels.advance(found, residual, direction, image, step.astype(found.dtype))


def combine(direction: np.ndarray, correction: np.ndarray, share: np.ndarray) -> None:
    """``direction = correction + share * direction``, per load case."""
    from operando.transport import stiffness_kernels

    stiffness_kernels.combine(direction, correction, share.astype(direction.dtype))


class ElasticBody:
    """The voxels: forces on the nodes for a displacement."""

    def __init__(self, lame: np.ndarray, shear: np.ndarray, spacing: Sequence[float], boundary: str) -> None:
        self.lame, self.shear, self.boundary = lame, shear, boundary
        self.gradient = (2.0 / np.asarray(spacing)).astype(lame.dtype)
        self.voxels = float(np.prod(lame.shape[1:]))

    def forces(
        self, displacement: np.ndarray, mean: np.ndarray, domain: np.ndarray, out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill ``out`` with nodal forces; return the sum of stress (load, 6) and the mean of stress times strain."""
        from operando.transport import stiffness_kernels

        if self.boundary == "periodic":
            for low, high in map(_ends, (2, 3, 4)):
                displacement[high] = displacement[low]
        out[...] = 0
        sums = np.zeros((len(mean), self.lame.shape[1], 7))
        strain = mean.astype(self.lame.dtype)
        for color in range(2):
            stiffness_kernels.element_forces(
                self.lame, self.shear, domain, displacement, strain, self.gradient, out, sums, color
            )
        for axis in range(3):
            if self.boundary == "periodic":  # the last layer of nodes is the first
                low, high = _ends(axis + 2)
                out[low] += out[high]
                out[high] = 0
            else:  # the plates bear what is normal to them
                low, high = _ends(axis + 1)
                out[:, axis][low] = 0
                out[:, axis][high] = 0
        total = sums.sum(axis=1)
        return total[:, :6], total[:, 6] / self.voxels


def _ends(axis: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    before = (slice(None),) * axis
    return (*before, 0), (*before, -1)


class _Reference:
    """The uniform body of mean moduli, whose response to forces is known frequency by frequency."""

    def __init__(self, lame: np.ndarray, shear: np.ndarray, spacing: Sequence[float], boundary: str) -> None:
        import numba

        self.boundary = boundary
        self.lame, self.shear = float(lame.mean(dtype=np.float64)), float(shear.mean(dtype=np.float64))
        if self.shear == 0:  # nothing but pores: no force to answer
            self.lame = self.shear = 1.0
        self.shape = lame.shape[1:]
        self.threads = numba.get_num_threads()
        waves = []
        for axis, n in enumerate(self.shape):
            if boundary == "plates":
                waves.append(np.pi * np.arange(n + 1) / n)
            else:
                waves.append(2 * np.pi * np.arange(n // 2 + 1 if axis == 2 else n) / n)
        self.offsets = np.cumsum([0, *(len(wave) for wave in waves)])[:3]
        edge = np.concatenate([np.full(len(wave), h) for wave, h in zip(waves, spacing, strict=True)])
        wave = np.concatenate(waves)
        # Symbols of linear elements in one dimension.
        self.second, self.mass, self.first = (
            (2 - 2 * np.cos(wave)) / edge**2,
            (2 + np.cos(wave)) / 3,
            np.sin(wave) / edge,
        )

    def solve(self, forces: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` with the displacement of the uniform body under nodal forces (load, 3, z + 1, y + 1, x + 1)."""
        from scipy import fft

        # Handing out work to threads takes longer than a transform of a few thousand numbers.
        workers = self.threads if forces.size > 50_000 else 1
        if self.boundary == "plates":
            spectrum = np.zeros_like(forces)
            self._sines_and_cosines(forces, spectrum, workers, forward=True)
            self._divide(spectrum)
            self._sines_and_cosines(spectrum, out, workers, forward=False)
            return
        spectrum = fft.rfftn(forces[..., :-1, :-1, :-1], axes=(2, 3, 4), workers=workers)
        self._divide(spectrum)
        for axis in range(3):
            out[:, axis, :-1, :-1, :-1] = fft.irfftn(spectrum[:, axis], s=self.shape, axes=(1, 2, 3), workers=workers)

    def _divide(self, spectrum: np.ndarray) -> None:
        from operando.transport import stiffness_kernels

        stiffness_kernels.solve_reference(
            spectrum, self.lame, self.shear, self.second, self.mass, self.first, self.offsets
        )

    def _sines_and_cosines(self, values: np.ndarray, out: np.ndarray, workers: int, *, forward: bool) -> None:
        """Sines along the axis of a component, cosines along the others: no motion through a face, no shear on it."""
        from scipy import fft

        even, odd = (fft.dctn, fft.dstn) if forward else (fft.idctn, fft.idstn)
        for axis, n in enumerate(self.shape):
            if n == 1:  # nothing moves between two plates that touch every node
                continue
            inside = (slice(None), axis, *(slice(1, -1) if a == axis else slice(None) for a in range(3)))
            others = [a + 1 for a in range(3) if a != axis]
            part = values[inside].copy()
            if forward:  # a node on a face has half of the surroundings that its mirrored self has
                for low, high in map(_ends, others):
                    part[low] *= 2
                    part[high] *= 2
            part = odd(part, type=1, axes=[axis + 1], workers=workers, overwrite_x=True)
            out[inside] = even(part, type=1, axes=others, workers=workers, overwrite_x=True)

    def solve_mean(self, pull: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Free mean strains (load, 6) of the uniform body under sums of stress (load, 6)."""
        stiffness = isotropic(self.lame, self.shear) * float(np.prod(self.shape))
        found = np.zeros_like(pull)
        for entries in np.unique(free, axis=0):
            if entries.any():
                inverse = np.linalg.inv(stiffness[np.ix_(entries, entries)])
                rows = (free == entries).all(axis=1)
                found[np.ix_(rows, entries)] = pull[np.ix_(rows, entries)] @ inverse
        return found


def isotropic(lame: float, shear: float) -> np.ndarray:
    """Stiffness of an isotropic body in the order of :data:`VOIGT`."""
    stiffness = np.zeros((6, 6))
    stiffness[:3, :3] = lame
    stiffness[range(6), range(6)] += [2 * shear] * 3 + [shear] * 3
    return stiffness
