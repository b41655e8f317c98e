"""Static structure of a sub-volume: which voxels show it in both images, and which step would align them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from operando.registration.pair import Pair
from operando.registration.subvolumes import Box, detail, filled, grown, in_threads, only_along
from operando.registration.transform import rotation_matrix

_HALO = 10  # voxels read around a sub-volume: what the filters below reach
_SLACK = 4  # voxels of the moving image beyond that, for the motion to change
_BORDER = 4  # voxels at the edge of either image that are not trusted
_DETECT, _PRESENT = 0.8, 4.0
_CHANGE_SMOOTH, _CHANGE, _CHANGE_SPREAD = 3.0, 3.0, 1.5
_QUIET_BLOCK, _QUIET_SHARE = 16, 0.3
_CELL = 8  # voxels; wide against a particle and its noise
_LOCKED = 1  # voxels
_FLAT = 1e-5
_OUTLYING = 3.0  # times the median


@dataclass(frozen=True)
class Equations:
    """Normal equations, ``normal @ step = side``, for three shifts and three rotations.

    ``scores`` (cell, 6) holds what each small cell of voxels would add to ``side``, less what is expected of it;
    ``bend`` is the derivative of ``side`` with the step.
    """

    normal: np.ndarray
    bend: np.ndarray
    side: np.ndarray
    scores: np.ndarray
    voxels: int


class Subvolume:
    """What is read and filtered once of one sub-volume of both images."""

    def __init__(self, pair: Pair, box: Box, motion: np.ndarray, smooth: float) -> None:
        from scipy.ndimage import gaussian_filter, spline_filter

        self.pair = pair
        self.wide = grown(box, _HALO, pair.shape)
        self.start = np.array([part.start for part in self.wide])
        self.core = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, self.wide, strict=True))
        matrix = pair.in_voxels(motion)
        corners = np.array(list(product(*((part.start, part.stop - 1) for part in self.wide))))
        places = corners @ matrix[:3, :3].T + matrix[:3, 3]
        last = np.array(pair.shape) - 1
        low = np.clip(np.floor(places.min(axis=0)) - _SLACK, 0, last).astype(int)
        high = np.clip(np.ceil(places.max(axis=0)) + _SLACK, 0, last).astype(int)
        self.seen_from = low
        first, missing = filled(pair.reference, self.wide)
        second, unseen = filled(pair.moving, tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)))
        self.known = None if missing is None else ~_near(missing)
        self.seen = None if unseen is None else (~_near(unseen)).astype(np.float32)
        sigma = only_along(pair.shape, _CHANGE_SMOOTH)
        self.fixed, self.moving = detail(first, smooth), detail(second, smooth)
        self.fixed_smooth, self.moving_smooth = (gaussian_filter(image, sigma, truncate=3) for image in (first, second))
        # Between voxels of what is smooth already a straight line will do.
        self.order = 3 if smooth < 1 else 1
        self.spline = self.moving
        if self.order == 3:
            self.spline = spline_filter(self.moving, order=3, output=np.float32, mode="mirror")

    def change(self, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Difference of the smoothed images, and median and robust spread of each small block of it."""
        change = self._moved_back(self.moving_smooth, motion) - self.fixed_smooth
        count = [max(1, size // _QUIET_BLOCK) for size in change.shape]
        edge = [size // k for size, k in zip(change.shape, count, strict=True)]
        cut = change[tuple(slice(0, k * e) for k, e in zip(count, edge, strict=True))]
        blocks = cut.reshape(count[0], edge[0], count[1], edge[1], count[2], edge[2]).transpose(0, 2, 4, 1, 3, 5)
        blocks = blocks.reshape(int(np.prod(count)), -1)
        medians = np.median(blocks, axis=1)
        return change, medians, 1.4826 * np.median(np.abs(blocks - medians[:, None]), axis=1)

    def weigh(self, motion: np.ndarray, same: np.ndarray) -> None:
        """Give weight to structure that both images show where nothing changed, and prepare the equations.

        The gradient of the weighted correlation of A and moved B with the motion is a linear form in B: half of it
        differentiates A under the weight, half A with the weight. Taken of a difference B - A instead, the
        gradient would be pulled by whatever only one of them shows.
        """
        from scipy.ndimage import gaussian_filter

        shape = self.pair.shape
        moved = self._moved_back(self.moving, motion)
        sigma = only_along(shape, _DETECT)
        both = gaussian_filter((self.fixed + moved) / 2, sigma, truncate=3)
        noise = 0.5 * _spread(gaussian_filter(moved - self.fixed, sigma, truncate=3)[self.core])
        power = gaussian_filter(both**2, only_along(shape, 1.0), truncate=3)
        gain = np.clip(1 - _PRESENT * noise**2 / np.maximum(power, 1e-30), 0, None)
        keep = gaussian_filter(same.astype(np.float32), only_along(shape, _CHANGE_SPREAD), truncate=3)
        weight = np.zeros_like(self.fixed)
        weight[self.core] = (gain * np.clip(2 * keep - 1, 0, 1))[self.core]
        weight[(weight < 1e-3) | ~self._inside(motion)] = 0
        if self.known is not None:
            weight[~self.known] = 0
        if self.seen is not None:
            weight[self._moved_back(self.seen, motion) < 0.99] = 0

        touched = np.flatnonzero(_near(weight > 0, 1))
        places = np.array(np.unravel_index(touched, weight.shape)).T + self.start
        arms = (places - self.pair.middle) * self.pair.steps
        weights = weight.ravel()[touched, None].astype(float)
        own, other = self._gradients(self.fixed, touched), self._gradients(moved, touched)
        first, second = _columns(own, arms), _columns(other, arms)
        # Each image with itself: more than one with the other, so that steps from afar fall short and never overshoot.
        self.normal = (first.T @ (first * weights) + second.T @ (second * weights)) / 2
        self.form = _columns((weights * own + self._gradients(weight * self.fixed, touched)) / 2, arms)
        bend = self.form.T @ second
        self.bend = (bend + bend.T) / 2
        self.fixed_values = self.fixed.ravel()[touched].astype(float)
        self.places = places.astype(float)
        cells = -(-np.array(weight.shape) // _CELL)
        self.cells = np.ravel_multi_index(tuple((places - self.start).T // _CELL), cells)
        self.cell_count = int(np.prod(cells))
        self.voxels = int(np.count_nonzero(weight))

    def equations(self, motion: np.ndarray) -> Equations:
        """Of the step from ``motion``, with the weights as they are."""
        from scipy.ndimage import map_coordinates

        matrix = self.pair.in_voxels(motion)
        at = matrix[:3, :3] @ self.places.T + (matrix[:3, 3] - self.seen_from)[:, None]
        values = map_coordinates(self.spline, at, order=self.order, mode="mirror", prefilter=False, output=np.float32)
        parts = self.form * (self.fixed_values - values)[:, None]
        scores = np.stack([np.bincount(self.cells, parts[:, k], self.cell_count) for k in range(6)], axis=1)
        # The fixed image adds nothing to the sum, apart from rounding.
        return Equations(self.normal, self.bend, -self.form.T @ values.astype(float), scores, self.voxels)

    def stands_out(self, motion: np.ndarray) -> float:
        """Correlation of both images near a motion, in robust standard deviations of what it is elsewhere."""
        from scipy import fft

        first, second = self.fixed[self.core], self._moved_back(self.moving, motion)[self.core]
        size = [fft.next_fast_len(2 * n, real=True) for n in first.shape]
        both = fft.irfftn(np.conj(fft.rfftn(first, size)) * fft.rfftn(second, size), size)
        near = both[np.ix_(*(np.arange(-_LOCKED, _LOCKED + 1) if n > 3 else [0] for n in first.shape))]
        lags = both[np.ix_(*(np.arange(-(n // 2), n // 2 + 1) for n in first.shape))]
        return float(near.max() / max(_spread(lags), 1e-30))

    def _moved_back(self, values: np.ndarray, motion: np.ndarray) -> np.ndarray:
        from scipy.ndimage import affine_transform

        matrix = self.pair.in_voxels(motion)
        place = matrix[:3, :3] @ self.start + matrix[:3, 3] - self.seen_from
        return np.asarray(affine_transform(values, matrix[:3, :3], place, self.fixed.shape, order=1, mode="nearest"))

    def _inside(self, motion: np.ndarray) -> np.ndarray:
        """Voxels that both images show, well away from their edges."""
        matrix = self.pair.in_voxels(motion)
        steps = np.ix_(*[np.arange(part.start, part.stop) for part in self.wide])
        inside = np.ones(self.fixed.shape, dtype=bool)
        for axis, size in enumerate(self.pair.shape):
            if size > 3:
                there = matrix[axis, 3] + sum(matrix[axis, k] * steps[k] for k in range(3))
                for at in (there, steps[axis]):
                    inside &= (at >= _BORDER) & (at <= size - 1 - _BORDER)
        return inside

    def _gradients(self, values: np.ndarray, touched: np.ndarray) -> np.ndarray:
        """Central differences at voxels of which none is at the edge of an axis that has a gradient, (n, 3)."""
        flat, result = values.ravel(), np.zeros((touched.size, 3))
        for axis, stride in enumerate(np.array(values.strides) // values.itemsize):
            if self.pair.shape[axis] > 3:
                result[:, axis] = (flat[touched + stride] - flat[touched - stride]) / (2 * self.pair.steps[axis])
        return result


def weigh(read: Sequence[Subvolume], motions: Sequence[np.ndarray]) -> None:
    """Decide which voxels of the sub-volumes show static structure once their motions are taken out."""
    changes = in_threads(lambda both: both[0].change(both[1]), zip(read, motions, strict=True))
    # Half of the cell may have changed, so that only the quietest blocks tell what no change looks like.
    medians, spreads = (np.concatenate([change[k] for change in changes]) for k in (1, 2))
    calm = spreads <= np.quantile(spreads, _QUIET_SHARE)
    offset, limit = float(np.median(medians[calm])), _CHANGE * float(np.median(spreads[calm]))
    same = [np.abs(change - offset) <= limit for change, _, _ in changes]
    in_threads(lambda each: each[0].weigh(each[1], each[2]), zip(read, motions, same, strict=True))


def trusted(equations: Sequence[Equations]) -> list[Equations]:
    """The same with less weight for sub-volumes that would move elsewhere than most, as what deforms does."""
    used = [k for k, one in enumerate(equations) if one.voxels]
    away = np.zeros(len(equations))
    for k in used:
        away[k] = np.linalg.norm(_inverse(equations[k].normal[:3, :3]) @ equations[k].side[:3])
    limit = _OUTLYING * np.median(away[used]) if used else 0.0
    weights = np.where(away > limit, (limit / np.maximum(away, 1e-30)) ** 2, 1.0)
    return [
        Equations(one.normal * weight, one.bend * weight, one.side * weight, one.scores * weight, one.voxels)
        for one, weight in zip(equations, weights, strict=True)
    ]


def solve(equations: Sequence[Equations], parameters: int = 6) -> np.ndarray | None:
    """The step on which all sub-volumes agree, by the first parameters only; directions that nothing shows stay 0."""
    normal, side = sum(one.normal for one in equations), sum(one.side for one in equations)
    step = np.zeros(6)
    if not np.trace(normal) > 0:
        return None
    step[:parameters] = _inverse(np.asarray(normal)[:parameters, :parameters]) @ np.asarray(side)[:parameters]
    return step


def standard_error(equations: Sequence[Equations], parameters: int = 6) -> np.ndarray:
    """Of the step, from the scatter between small cells of voxels (the infinitesimal jackknife); NaN where unknown."""
    bend = np.asarray(sum(one.bend for one in equations))[:parameters, :parameters]
    # Less the mean of each sub-volume: that all of it would move is no scatter.
    scores = np.concatenate([_scatter(one.scores[:, :parameters]) for one in equations])
    sigma = np.full(6, np.nan)
    if len(scores) > parameters and np.all(np.linalg.eigvalsh(bend) > 0):
        inverse = _inverse(bend)
        sigma[:parameters] = np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    return sigma


def _scatter(scores: np.ndarray) -> np.ndarray:
    some = scores[scores.any(axis=1)]
    return some - some.mean(axis=0) if len(some) > 1 else some


def as_motion(step: np.ndarray) -> np.ndarray:
    """Three shifts and a rotation vector as a matrix."""
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation_matrix(step[3:]), step[:3]
    return motion


def _inverse(normal: np.ndarray) -> np.ndarray:
    # Rotations in units that make them alike to shifts, so that one threshold serves both.
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-12 * max(float(np.trace(normal)), 1e-300)))
    values, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    kept = values > _FLAT * values.max()
    inverse = vectors[:, kept] / values[kept] @ vectors[:, kept].T
    return np.asarray(inverse / np.outer(scale, scale))


def _columns(gradients: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Change of a value with three shifts and three small rotations, (n, 6)."""
    return np.concatenate([gradients, np.cross(arms, gradients)], axis=1)


def _near(mask: np.ndarray, reach: int = 2) -> np.ndarray:
    """Voxels of a mask, and those whose filtered value would see it."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=reach))


def _spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
