"""Sub-volumes to register on: where they lie, what of them counts as structure, and how far each has moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from os import cpu_count
from typing import TypeVar

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.registration.transform import rotation_matrix

Box = tuple[slice, ...]
T = TypeVar("T")
R = TypeVar("R")

_SMALLEST = 20  # voxels
_SMOOTH = 0.5
_BACKGROUND = 13  # voxels; wider than a particle, narrower than the layers are even
_LAG_SMOOTH = 0.7
_DETECT, _PRESENT = 0.6, 3.0
_HYPOTHESES = 400
_LOCAL = 2  # voxels around the expected place in which a sub-volume's own peak is sought


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``[function(item) for item in items]`` on all cores; the filters inside release the lock."""
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def tiles(shape: Sequence[int], size: int, count: int) -> list[Box]:
    """At most ``count`` boxes that do not overlap, spread evenly; together the whole image where that is enough."""
    number = [-(-n // size) for n in shape]
    # One alone along an axis cannot be outvoted, and holds all that changes.
    finer = [k if k > 1 else max(1, min(3, n // _SMALLEST)) for k, n in zip(number, shape, strict=True)]
    if np.prod(finer) <= count:
        number = finer
    ends = [np.linspace(0, n, k + 1).round().astype(int) for n, k in zip(shape, number, strict=True)]
    kept = list(number)
    while np.prod(kept) > count:
        kept[int(np.argmax(kept))] -= 1
    picks = [
        np.unique(np.linspace(0, n - 1, k).round().astype(int)) if k > 1 else np.array([n // 2])
        for n, k in zip(number, kept, strict=True)
    ]
    return [
        tuple(slice(int(e[i]), int(e[i + 1])) for e, i in zip(ends, place, strict=True)) for place in product(*picks)
    ]


def grown(box: Box, margin: int | Sequence[int], shape: Sequence[int]) -> Box:
    """The box with a margin that stops at the edge of the image."""
    margins = np.broadcast_to(margin, 3)
    return tuple(
        slice(max(0, part.start - int(m)), min(n, part.stop + int(m)))
        for part, m, n in zip(box, margins, shape, strict=True)
    )


def filled(image: xr.DataArray, box: Box) -> tuple[np.ndarray, np.ndarray | None]:
    """Values of a box as float32 with the median where nothing is known, and where that is (None: nowhere)."""
    values = np.array(image.data[box], dtype=np.float32)
    missing = ~np.isfinite(values)
    if not missing.any():
        return values, None
    values[missing] = np.median(values[~missing]) if not missing.all() else 0.0
    return values, missing


def only_along(shape: Sequence[int], sigma: float) -> list[float]:
    """The width of a filter per axis: 0 along an axis of a few voxels."""
    return [sigma if n > 3 else 0.0 for n in shape]


def detail(values: np.ndarray, smooth: float = _SMOOTH) -> np.ndarray:
    """Structure that is constant neither along y nor along x.

    Takes away flat interfaces, which move as lithium plates, and rings about an axis in the plane, which stay with the
    detector. Lightly smoothed, because interpolation smooths noise by an amount that depends on the shift.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter1d

    out = np.asarray(gaussian_filter(values, only_along(values.shape, smooth), truncate=4))
    for axis in (1, 2):
        if values.shape[axis] > 3:
            out -= uniform_filter1d(out, min(_BACKGROUND, values.shape[axis] // 2 * 2 + 1), axis=axis)
    return out


def _sparse(values: np.ndarray) -> np.ndarray:
    """Only what stands out of the noise: noise multiplied with noise would drown a few particles."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(values, only_along(values.shape, _DETECT), truncate=3)
    limit = _PRESENT * 1.4826 * np.median(np.abs(smooth))
    return np.asarray(smooth * np.clip(1 - (limit / np.maximum(np.abs(smooth), 1e-30)) ** 2, 0, None))


def lag_maps(
    reference: xr.DataArray, moving: xr.DataArray, boxes: Sequence[Box], lags: Sequence[int]
) -> list[np.ndarray]:
    """Normalized cross-correlation of each box of the reference with the moving image, (2 lag + 1 per axis)."""
    from scipy import fft
    from scipy.ndimage import gaussian_filter

    shape = reference.shape

    def one(box: Box) -> np.ndarray:
        first = _sparse(detail(filled(reference, box)[0]))
        wide = grown(box, lags, shape)
        second = np.zeros([n + 2 * lag for n, lag in zip(first.shape, lags, strict=True)], dtype=np.float32)
        place = tuple(
            slice(w.start - b.start + lag, w.stop - b.start + lag) for w, b, lag in zip(wide, box, lags, strict=True)
        )
        second[place] = _sparse(detail(filled(moving, wide)[0]))
        energy = np.sqrt(np.mean(first**2, dtype=float) * np.mean(second[place] ** 2, dtype=float)) * first.size
        if not energy > 0:
            return np.zeros([2 * lag + 1 for lag in lags])
        size = [fft.next_fast_len(n, real=True) for n in second.shape]
        both = fft.irfftn(np.conj(fft.rfftn(first, size)) * fft.rfftn(second, size), size)
        picked = both[tuple(slice(0, 2 * lag + 1) for lag in lags)] / energy
        return np.asarray(gaussian_filter(picked, [_LAG_SMOOTH if lag else 0 for lag in lags]))

    return in_threads(one, boxes)


def consensus(
    maps: Sequence[np.ndarray], centers: np.ndarray, steps: np.ndarray, lags: Sequence[int], where: str
) -> np.ndarray:
    """Rigid motion on which the correlations of all sub-volumes agree best.

    Parameters
    ----------
    maps : sequence of ndarray
        From :func:`lag_maps`.
    centers : ndarray, shape (n, 3)
        Of the sub-volumes, against the middle of the image, in the unit of ``steps``.
    steps : ndarray, shape (3,)
        Voxel edges.

    Returns
    -------
    ndarray, shape (4, 4)
        About the middle of the image.

    Notes
    -----
    The sum of the normalized correlations at the displacements that a motion predicts is sought at its largest, over
    the best common translation and over motions through the peaks of three sub-volumes each (random, with a fixed
    seed), and polished with the peaks that agree. Sub-volumes that changed are outvoted.
    """
    middle = np.array(lags)
    total = np.sum(maps, axis=0)
    if not total.max() > 0:
        raise InputError(
            f"{where}: the images must share some structure, got nothing that correlates. Check the scans."
        )
    peaks = np.array([np.unravel_index(np.argmax(one), one.shape) for one in [total, *maps]]) - middle
    motions = np.eye(4)[None]
    motions[0, :3, 3] = peaks[0] * steps
    if len(maps) >= 3:
        rng = np.random.default_rng(0)
        three = np.array([rng.choice(len(maps), 3, replace=False) for _ in range(_HYPOTHESES)])
        motions = np.concatenate([motions, _fit(centers[three], peaks[1:][three] * steps, np.ones(three.shape))])
    scores = _agreement(maps, _moved(motions, centers, steps) + middle)
    best, highest = motions[np.argmax(scores)], scores.max()
    # Polished with the peak of each sub-volume near the place where the best motion expects it.
    for _ in range(2):
        near = np.rint(_moved(best, centers, steps)).astype(int) + middle
        found = [_peak_near(one, place) for one, place in zip(maps, near, strict=True)]
        weights = np.array([max(height, 0.0) for _, height in found])
        if not weights.any():
            break
        motion = _fit(centers, np.array([place - middle for place, _ in found]) * steps, weights)
        score = _agreement(maps, _moved(motion, centers, steps)[None] + middle)[0]
        if score < highest:
            break
        best, highest = motion, score
    if any(
        lag > 0 and n > 0
        for lag, n in zip(lags, (np.abs(_moved(best, centers, steps)) > np.array(lags) - 0.5).sum(axis=0), strict=True)
    ):
        raise InputError(
            f"{where}: the displacement must be below {tuple(lags)} voxels along z, y, x everywhere, got a best match "
            "at the limit. Pass a larger max_shift, or align the scans coarsely first."
        )
    return best


def _moved(motions: np.ndarray, centers: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Displacements of the centers in voxels, (..., n, 3)."""
    turned = centers @ np.swapaxes(motions[..., :3, :3], -1, -2)
    return np.asarray((turned + motions[..., None, :3, 3] - centers) / steps)


def _agreement(maps: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """Sum of the maps at places (hypothesis, map, 3) in them."""
    from scipy.ndimage import map_coordinates

    return np.sum(
        [map_coordinates(one, places[:, k].T, order=1, mode="constant") for k, one in enumerate(maps)], axis=0
    )


def _fit(places: np.ndarray, moves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rigid motions (..., 4, 4) through displaced points (..., n, 3), by weighted least squares.

    No rotation about an axis about which the points show none.
    """
    share = (weights / weights.sum(axis=-1, keepdims=True))[..., None]
    center, shift = (share * places).sum(axis=-2), (share * moves).sum(axis=-2)
    arms, rests = places - center[..., None, :], moves - shift[..., None, :]
    result = np.zeros((*center.shape[:-1], 4, 4))
    result[...] = np.eye(4)
    rotation = result[..., :3, :3].copy()
    for _ in range(4):
        turned = arms @ np.swapaxes(rotation, -1, -2)
        side = (share * np.cross(turned, rests + arms)).sum(axis=-2)
        spread = (share * turned**2).sum(axis=(-2, -1))[..., None, None] * np.eye(3)
        normal = spread - np.swapaxes(share * turned, -1, -2) @ turned
        step = np.linalg.solve(normal + 1e-3 * spread + 1e-12 * np.eye(3), side[..., None])[..., 0]
        rotation = rotation_matrix(step) @ rotation
    result[..., :3, :3] = rotation
    result[..., :3, 3] = center + shift - (rotation @ center[..., None])[..., 0]
    return result


def _peak_near(one: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, float]:
    """Largest value within a few voxels of a place, refined by a parabola along each axis."""
    low = [int(np.clip(p - _LOCAL, 0, n - 1)) for p, n in zip(place, one.shape, strict=True)]
    part = one[tuple(slice(a, int(p) + _LOCAL + 1) for a, p in zip(low, np.maximum(place, low), strict=True))]
    at = np.array(np.unravel_index(np.argmax(part), part.shape)) + low
    fine, height = at.astype(float), float(one[tuple(at)])
    for axis in range(3):
        if 0 < at[axis] < one.shape[axis] - 1:
            before, after = (one[tuple(at + sign * (np.arange(3) == axis))] for sign in (-1, 1))
            bend = before - 2 * height + after
            if bend < 0:
                fine[axis] += 0.5 * (before - after) / bend
    return fine, height
