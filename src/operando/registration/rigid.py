"""Rigid registration of two scans on what both show unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.errors import InputError, UnitsError
from operando.registration.resample import from_voxels
from operando.registration.subvolumes import Box, consensus, detail, filled, grown, in_threads, lag_maps, tiles
from operando.registration.transform import RigidTransform, nearest_rigid, rotation_matrix

_HALO = 10  # voxels read around a sub-volume: what the filters below reach
_BORDER = 4  # voxels at the edge of either image that are not trusted
_DETECT, _PRESENT = 0.8, 4.0
_CHANGE_SMOOTH, _CHANGE, _CHANGE_SPREAD = 2.5, 4.0, 1.5
_QUIET_BLOCK, _QUIET_SHARE = 16, 0.3
_ROUNDS, _STEPS, _SETTLED = 4, 4, 0.003
_FLAT = 1e-5


def register(
    reference: xr.DataArray, moving: xr.DataArray, *, max_shift: int = 8, size: int = 64, count: int = 27
) -> RigidTransform:
    """Rigid motion of the sample from one scan to another, found on static structure only.

    Parameters
    ----------
    reference, moving : DataArray, dims (z, y, x)
        Gray images on the same grid, z normal to the electrodes (:func:`operando.registration.level`); may be lazy. NaN
        is left out.
    max_shift : int
        Largest displacement anywhere in the image to look for, in voxels per axis; rotation counts.
    size, count : int
        Largest edge in voxels, and largest number, of the sub-volumes that are read.

    Returns
    -------
    RigidTransform
        Takes a point (z, y, x, 1) of ``reference`` to where ``moving`` shows it, in the unit of the axes (um, or px where
        nobody has calibrated them). ``.apply(moving)`` shows ``moving`` in the frame of ``reference``. ``.sigma`` is the
        jackknife standard error over the sub-volumes.

    Raises
    ------
    InputError
        Where the grids differ, nothing correlates, the best match is at ``max_shift`` or nothing static is left.
    """
    where = "register"
    pair = _checked(reference, moving, max_shift, size, count, where)
    boxes = tiles(pair.shape, size, count)
    lags = tuple(min(max_shift, n // 2) if n > 3 else 0 for n in pair.shape)
    maps = lag_maps(pair.reference, pair.moving, boxes, lags)
    start = consensus(maps, np.array([pair.center_of(box) for box in boxes]), pair.steps, lags, where)
    motion, equations = refine(pair, boxes, start, where)
    return pair.transform(motion, boxes, equations)


@dataclass(frozen=True)
class Pair:
    """Two images on one grid, and positions about its middle in units of the mean voxel edge."""

    reference: xr.DataArray
    moving: xr.DataArray
    steps: np.ndarray
    unit: str
    where: str
    shape: tuple[int, ...] = field(init=False)
    middle: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.reference.shape))
        object.__setattr__(self, "middle", (np.array(self.reference.shape) - 1) / 2)

    @property
    def scale(self) -> float:
        """The mean voxel edge in ``unit``."""
        return float(_raw_steps(self.reference, self.where)[0].mean())

    def center_of(self, box: Box) -> np.ndarray:
        return (np.array([(part.start + part.stop - 1) / 2 for part in box]) - self.middle) * self.steps

    def in_voxels(self, motion: np.ndarray) -> np.ndarray:
        """The motion for positions counted in voxels."""
        to = np.diag([*self.steps, 1.0])
        to[:3, 3] = -self.middle * self.steps
        return np.asarray(np.linalg.inv(to) @ motion @ to)

    def corners(self) -> np.ndarray:
        signs = np.array(np.meshgrid(*[[-1, 1]] * 3, indexing="ij")).reshape(3, -1).T
        return np.asarray(signs * self.middle * self.steps)

    def transform(self, motion: np.ndarray, boxes: Sequence[Box], equations: Sequence[Equations]) -> RigidTransform:
        to = from_voxels(self.reference, self.unit, self.where)
        matrix = to @ self.in_voxels(motion) @ np.linalg.inv(to)
        used = [k for k, one in enumerate(equations) if one.voxels]
        sigma = jackknife([equations[k] for k in used])
        sigma = np.concatenate([sigma[:3] * self.scale, np.rad2deg(sigma[3:])])
        return RigidTransform(
            nearest_rigid(matrix),
            units=self.unit,
            center=tuple(to[:3, :3] @ self.middle + to[:3, 3]),
            sigma=tuple(sigma),
            subvolumes=[[(part.start, part.stop) for part in boxes[k]] for k in used],
        )


@dataclass(frozen=True)
class Equations:
    """Normal equations of one sub-volume: ``normal @ step = side`` for three shifts and three rotations."""

    normal: np.ndarray
    side: np.ndarray
    voxels: int


def refine(
    pair: Pair, boxes: Sequence[Box], start: np.ndarray, where: str
) -> tuple[np.ndarray, list[Equations]]:
    """Gauss-Newton steps on all sub-volumes at once, from a start that is right to a voxel."""
    read = in_threads(lambda box: _Subvolume(pair, box, start), boxes)
    motion, equations = start, []
    for _ in range(_ROUNDS):
        before = motion
        weigh(pair, read, motion)
        for _ in range(_STEPS):
            equations = in_threads(lambda one, at=motion: one.equations(pair, at), read)
            step = solve(equations)
            if step is None:
                raise InputError(
                    f"{where}: some structure must be the same in both images, and nothing static was found. "
                    "Register scans that are closer in time, or check that they show the same sample."
                )
            motion = motion @ _small(step)
            if _reach(pair, _small(step)) < _SETTLED:
                break
        if _reach(pair, np.linalg.inv(before) @ motion) < 3 * _SETTLED:
            break
    return motion, equations


def weigh(pair: Pair, read: Sequence[_Subvolume], motion: np.ndarray) -> None:
    """Decide which voxels of the sub-volumes show static structure once the motion is taken out."""
    changes = in_threads(lambda one: one.change(pair, motion), read)
    # Half of the cell may have changed, so that only the quietest blocks tell what no change looks like.
    medians, spreads = (np.concatenate(part) for part in zip(*(quiet for _, quiet in changes), strict=True))
    calm = spreads <= np.quantile(spreads, _QUIET_SHARE)
    offset, spread = float(np.median(medians[calm])), float(np.median(spreads[calm]))
    in_threads(lambda both: both[0].weigh(pair, motion, np.abs(both[1][0] - offset) < _CHANGE * spread),
               list(zip(read, changes, strict=True)))


def solve(equations: Sequence[Equations]) -> np.ndarray | None:
    """The step on which all sub-volumes agree; directions that nothing shows are left alone."""
    normal, side = sum(one.normal for one in equations), sum(one.side for one in equations)
    if not np.trace(normal) > 0:
        return None
    # Rotations in units that are alike to shifts, so that one threshold serves both.
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-12 * np.trace(normal)))
    values, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    inverse = np.where(values > _FLAT * values.max(), 1 / np.where(values > 0, values, 1), 0.0)
    return np.asarray(vectors @ (inverse * (vectors.T @ (side / scale))) / scale)


def jackknife(equations: Sequence[Equations]) -> np.ndarray:
    """Standard errors of the step from leaving each sub-volume out; NaN from fewer than three."""
    n = len(equations)
    if n < 3:
        return np.full(6, np.nan)
    without = [solve([*equations[:k], *equations[k + 1 :]]) for k in range(n)]
    steps = np.array([step for step in without if step is not None])
    return np.asarray(np.sqrt((n - 1) / n * ((steps - steps.mean(axis=0)) ** 2).sum(axis=0)))


class _Subvolume:
    """What is read and filtered once of one sub-volume of both images."""

    def __init__(self, pair: Pair, box: Box, motion: np.ndarray) -> None:
        from scipy.ndimage import gaussian_filter, spline_filter

        self.wide = grown(box, _HALO, pair.shape)
        self.core = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, self.wide, strict=True))
        matrix = pair.in_voxels(motion)
        ends = np.array([[w.start for w in self.wide], [w.stop - 1 for w in self.wide]])
        corners = np.array(np.meshgrid(*ends.T, indexing="ij")).reshape(3, -1).T
        places = corners @ matrix[:3, :3].T + matrix[:3, 3]
        low, high = np.floor(places.min(axis=0)), np.ceil(places.max(axis=0))
        last = np.array(pair.shape) - 1
        self.seen = tuple(
            slice(int(np.clip(a - 4, 0, n)), int(np.clip(b + 4, 0, n)) + 1) for a, b, n in zip(low, high, last, strict=True)
        )
        first, first_missing = filled(pair.reference, self.wide)
        second, second_missing = filled(pair.moving, self.seen)
        self.known = None if first_missing is None else ~first_missing
        self.there = None if second_missing is None else (~second_missing).astype(np.float32)
        smooth = [_CHANGE_SMOOTH if n > 3 else 0 for n in first.shape]
        self.fixed = detail(first)
        self.fixed_smooth = gaussian_filter(first, smooth, truncate=3)
        self.moving = detail(second)
        self.moving_smooth = gaussian_filter(second, smooth, truncate=3)
        self.spline = spline_filter(self.moving, order=3, output=np.float32, mode="mirror")

    def _warped(self, pair: Pair, motion: np.ndarray, values: np.ndarray) -> np.ndarray:
        from scipy.ndimage import affine_transform

        matrix = pair.in_voxels(motion)
        place = matrix[:3, :3] @ [w.start for w in self.wide] + matrix[:3, 3] - [s.start for s in self.seen]
        return np.asarray(
            affine_transform(values, matrix[:3, :3], place, self.fixed.shape, order=1, mode="nearest")
        )

    def change(self, pair: Pair, motion: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Difference of the smoothed images, and median and robust spread of each small block of it."""
        change = self._warped(pair, motion, self.moving_smooth) - self.fixed_smooth
        n = [max(1, size // _QUIET_BLOCK) for size in change.shape]
        edge = [size // k for size, k in zip(change.shape, n, strict=True)]
        cut = change[tuple(slice(0, k * e) for k, e in zip(n, edge, strict=True))]
        blocks = cut.reshape(n[0], edge[0], n[1], edge[1], n[2], edge[2]).transpose(0, 2, 4, 1, 3, 5)
        blocks = blocks.reshape(n[0] * n[1] * n[2], -1)
        middle = np.median(blocks, axis=1)
        return change, (middle, 1.4826 * np.median(np.abs(blocks - middle[:, None]), axis=1))

    def weigh(self, pair: Pair, motion: np.ndarray, same: np.ndarray) -> None:
        """Weights, and the fixed linear form that turns moved values into the right-hand side."""
        from scipy.ndimage import gaussian_filter

        warped = self._warped(pair, motion, self.moving)
        sigma = [_DETECT if n > 3 else 0 for n in warped.shape]
        both = gaussian_filter((self.fixed + warped) / 2, sigma, truncate=3)
        noise = 0.5 * _spread(gaussian_filter(warped - self.fixed, sigma, truncate=3)[self.core])
        power = gaussian_filter(both**2, [1.0 if n > 3 else 0 for n in warped.shape], truncate=3)
        gain = np.clip(1 - _PRESENT * noise**2 / np.maximum(power, 1e-30), 0, None)
        spread = [_CHANGE_SPREAD if n > 3 else 0 for n in warped.shape]
        keep = np.clip(2 * gaussian_filter(same.astype(np.float32), spread, truncate=3) - 1, 0, 1)
        weight = np.zeros_like(self.fixed)
        weight[self.core] = (gain * keep)[self.core]
        weight[~self._inside(pair, motion)] = 0
        if self.known is not None:
            weight[~_eroded(self.known)] = 0
        if self.there is not None:
            weight[self._warped(pair, motion, _eroded(self.there > 0.5).astype(np.float32)) < 0.99] = 0
        # Half of the gradient of the weighted image and half of the weighted gradient: the exact gradient of the
        # weighted correlation. What only one image shows cancels, where gradients of a difference would be pulled.
        touched = np.flatnonzero(_dilated(weight > 1e-3))
        weight[weight <= 1e-3] = 0
        at = np.array(np.unravel_index(touched, weight.shape))
        arms = (at.T + [w.start for w in self.wide] - pair.middle) * pair.steps
        form = 0.5 * (
            weight.ravel()[touched, None] * _gradients(self.fixed, touched, pair)
            + _gradients(weight * self.fixed, touched, pair)
        )
        own, other = (_gradients(values, touched, pair) for values in (self.fixed, warped))
        first, second = _columns(own, arms), _columns(other, arms)
        product = first.T @ (second * weight.ravel()[touched, None])
        self.normal = (product + product.T) / 2
        self.form = _columns(form, arms)
        self.points = (at.T + [w.start for w in self.wide]).astype(float)
        self.voxels = int(np.count_nonzero(weight))

    def equations(self, pair: Pair, motion: np.ndarray) -> Equations:
        from scipy.ndimage import map_coordinates

        matrix = pair.in_voxels(motion)
        places = matrix[:3, :3] @ self.points.T + (matrix[:3, 3] - [s.start for s in self.seen])[:, None]
        values = map_coordinates(self.spline, places, order=3, mode="mirror", prefilter=False, output=np.float32)
        return Equations(self.normal, -self.form.T @ values.astype(float), self.voxels)

    def _inside(self, pair: Pair, motion: np.ndarray) -> np.ndarray:
        """Voxels of the sub-volume that both images show, well away from their edges."""
        matrix = pair.in_voxels(motion)
        axes = [np.arange(w.start, w.stop) for w in self.wide]
        steps = np.ix_(*axes)
        inside = np.ones(self.fixed.shape, dtype=bool)
        for axis, n in enumerate(pair.shape):
            if n <= 3:
                continue
            at = matrix[axis, 3] + sum(matrix[axis, k] * steps[k] for k in range(3))
            inside &= (at >= _BORDER) & (at <= n - 1 - _BORDER)
            inside &= (steps[axis] >= _BORDER) & (steps[axis] <= n - 1 - _BORDER)
        return inside


def _columns(gradients: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Change of a value with three shifts and three small rotations, (n, 6)."""
    return np.concatenate([gradients, np.cross(arms, gradients)], axis=1).astype(float)


def _gradients(values: np.ndarray, touched: np.ndarray, pair: Pair) -> np.ndarray:
    """Central differences at some voxels, none of which is at the edge of an axis that has a gradient, (n, 3)."""
    flat, result = values.ravel(), np.zeros((touched.size, 3))
    for axis, stride in enumerate(np.array(values.strides) // values.itemsize):
        if pair.shape[axis] > 3:
            result[:, axis] = (flat[touched + stride] - flat[touched - stride]) / (2 * pair.steps[axis])
    return result


def _dilated(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask))


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Without the voxels whose filtered value saw something missing."""
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(mask, [5 if n > 3 else 1 for n in mask.shape]))


def _spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _small(step: np.ndarray) -> np.ndarray:
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation_matrix(step[3:]), step[:3]
    return motion


def _reach(pair: Pair, motion: np.ndarray) -> float:
    """Largest displacement in voxels of a corner of the image."""
    corners = pair.corners()
    return float(np.abs((corners @ motion[:3, :3].T + motion[:3, 3] - corners) / pair.steps).max())


def _raw_steps(image: xr.DataArray, where: str) -> tuple[np.ndarray, str]:
    """Voxel edges along z, y, x and their common unit."""
    found = [axis_spacing(image, dim, where=where) for dim in SPACE]
    units = {unit for _, unit in found}
    if len(units) > 1:
        raise UnitsError(
            f"{where}: z, y, x must share a unit, got {sorted(units)}. Set it with operando.calibrate(image, ...)."
        )
    return np.array([step for step, _ in found]), units.pop()


def _checked(
    reference: xr.DataArray, moving: xr.DataArray, max_shift: int, size: int, count: int, where: str
) -> Pair:
    for image in (reference, moving):
        require_dims(image, SPACE, where=where)
    shapes = [tuple(image.sizes[dim] for dim in SPACE) for image in (reference, moving)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{where}: both images must have one shape, got {shapes[0]} and {shapes[1]}. "
            "Crop them to the same field first."
        )
    if max_shift < 1 or size < 16 or count < 1:
        raise InputError(
            f"{where}: max_shift must be at least 1, size 16 and count 1, got {max_shift}, {size} and {count}. "
            "Leave them out for the usual values."
        )
    (steps, unit), (other, _) = (_raw_steps(image, where) for image in (reference, moving))
    if not np.allclose(steps, other, rtol=1e-3):
        raise InputError(
            f"{where}: both images must have one voxel size, got {steps.tolist()} and {other.tolist()} {unit}. "
            "Resample one of them first."
        )
    return Pair(reference.transpose(*SPACE), moving.transpose(*SPACE), steps / steps.mean(), unit, where)
