"""What the gray values around a voxel look like, at several scales: the features of a pixel classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_TRUNCATE = 3.0  # standard deviations at which a Gaussian ends
SCALES = (1.0, 2.0, 4.0, 8.0)


def feature_names(*, dims: int, scales: Sequence[float] = SCALES) -> tuple[str, ...]:
    """Names of the features, in the order of :func:`features`.

    Parameters
    ----------
    dims : int
        2 for planes, 3 for volumes.
    scales : sequence of float
        Standard deviations in voxels.

    Examples
    --------
    >>> feature_names(dims=2, scales=[1.0])[:4]
    ('gray', 'smooth 1', 'band 1', 'gradient 1')
    """
    names = ["gray"]
    for scale in scales:
        names += [f"{name} {scale:g}" for name in ("smooth", "band", "gradient", "laplacian")]
        names += [f"hessian {k + 1} {scale:g}" for k in range(dims)]
        names += [f"structure {k + 1} {scale:g}" for k in range(dims)]
    return tuple(names)


def feature_halo(scales: Sequence[float] = SCALES) -> int:
    """Voxels around a block that its features depend on.

    Examples
    --------
    >>> feature_halo([8.0])
    50
    """
    return 2 * int(_TRUNCATE * max(scales) + 0.5) + 2 if len(scales) else 0


def features(gray: np.ndarray, core: tuple[slice, ...], *, scales: Sequence[float] = SCALES) -> np.ndarray:
    """Features of the voxels in a core, out of the block read around it.

    Parameters
    ----------
    gray : ndarray of float32, (y, x) or (z, y, x)
        Normalized gray values of the block with its halo.
    core : slices
        The voxels wanted, counted in ``gray``.
    scales : sequence of float
        Standard deviations of the Gaussians, in voxels.

    Returns
    -------
    ndarray of float32, (voxels of the core, feature)

    Notes
    -----
    For every scale s: the smoothed gray value, its difference to that of the scale before (a band), s times
    the length of its gradient, s^2 times its Laplacian and the eigenvalues of its Hessian, and the roots of the
    eigenvalues of the structure tensor, smoothed with s. None of them changes when the image is turned or
    mirrored. Derivatives are central differences of the smoothed image; Gaussians end at three
    standard deviations; the image is mirrored at its borders. Holds about ten copies of the block beside
    the result.

    Examples
    --------
    A ramp has the same gradient everywhere and no curvature, away from its borders:

    >>> ramp = np.repeat(np.arange(40, dtype=np.float32)[None], 40, 0)
    >>> found = features(ramp, (slice(20, 21), slice(20, 21)), scales=[2.0])[0]
    >>> dict(zip(feature_names(dims=2, scales=[2.0]), found.round(3).tolist(), strict=True))["gradient 2"]
    2.0
    """
    from scipy.ndimage import gaussian_filter

    dims = gray.ndim
    pairs = [(a, b) for a in range(dims) for b in range(a, dims)]
    columns = [gray[core]]
    before = gray
    for scale in scales:

        def smoothed(values: np.ndarray, scale: float = scale) -> np.ndarray:
            return np.asarray(gaussian_filter(values, scale, truncate=_TRUNCATE, mode="mirror"))

        smooth = smoothed(gray)
        slopes = [_difference(smooth, axis) * np.float32(scale) for axis in range(dims)]
        hessian = {(a, b): _difference(slopes[a], b)[core] * np.float32(scale) for a, b in pairs}
        tensor = {(a, b): smoothed(slopes[a] * slopes[b])[core] for a, b in pairs}
        length = np.sqrt(np.sum([slope[core] ** 2 for slope in slopes], axis=0))
        laplacian = np.sum([hessian[a, a] for a in range(dims)], axis=0)
        columns += [smooth[core], (before - smooth)[core], length, laplacian]
        columns += _eigenvalues(hessian, dims)
        columns += [np.sqrt(np.maximum(value, 0)) for value in _eigenvalues(tensor, dims)]
        before = smooth
    return np.stack([column.ravel() for column in columns], axis=1).astype(np.float32, copy=False)


def _difference(values: np.ndarray, axis: int) -> np.ndarray:
    """Central difference along an axis; zero where the image is one voxel thick."""
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    return np.asarray(np.gradient(values, axis=axis))


def _eigenvalues(matrix: dict[tuple[int, int], np.ndarray], dims: int) -> list[np.ndarray]:
    """Eigenvalues of symmetric matrices, largest first."""
    if dims == 2:
        a, b, c = matrix[0, 0], matrix[0, 1], matrix[1, 1]
        middle, half = (a + c) / 2, np.hypot((a - c) / 2, b)
        return [middle + half, middle - half]
    # Smith (1961): the trigonometric solution of the cubic.
    a, b, c = matrix[0, 0], matrix[1, 1], matrix[2, 2]
    d, e, f = matrix[0, 1], matrix[1, 2], matrix[0, 2]
    mean = (a + b + c) / 3
    off = d * d + e * e + f * f
    spread = np.sqrt(((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2 + 2 * off) / 6)
    a, b, c = a - mean, b - mean, c - mean
    determinant = a * (b * c - e * e) - d * (d * c - e * f) + f * (d * e - b * f)
    ratio = np.divide(determinant, 2 * spread**3, out=np.zeros_like(determinant), where=spread > 0)
    angle = np.arccos(np.clip(ratio, -1, 1)) / 3
    first = mean + 2 * spread * np.cos(angle)
    last = mean + 2 * spread * np.cos(angle + 2 * math.pi / 3)
    return [first, 3 * mean - first - last, last]
