"""From a block of sinograms to slices: filtered back projection, gridrec and the iterative methods."""

from __future__ import annotations

import numpy as np

from operando.tomography.filtering import filtered, pad, padded_length, response

_UPSAMPLING = 2
_HALF_WIDTH = 3.0
_BETA = 13.9


def fbp(
    sinograms: np.ndarray,
    angles: np.ndarray,
    weights: np.ndarray,
    *,
    axis: float,
    window: str,
    wiener: np.ndarray | None = None,
    xs: np.ndarray | None = None,
    ys: np.ndarray | None = None,
) -> np.ndarray:
    """Filtered back projection of a block.

    Parameters
    ----------
    sinograms : ndarray, shape (angle, row, detector_x)
        Line integrals.
    angles, weights : ndarray, shape (angle,)
        In radians.
    axis : float
        Rotation axis in pixels; 0 is the center of the first.
    window, wiener
        As :func:`operando.tomography.filtering.response`.
    xs, ys : ndarray, optional
        Points in pixels from the axis; default as many as the detector has pixels, centered on the axis.

    Returns
    -------
    ndarray of float32, shape (row, y, x), in 1 / px
    """
    from operando.tomography.kernels import back_project

    width = sinograms.shape[-1]
    centered = np.arange(width) - 0.5 * (width - 1)
    xs, ys = centered if xs is None else xs, centered if ys is None else ys
    length = padded_length(width)
    gain = response(window, length, wiener=wiener)
    corner = np.hypot(np.abs(xs).max(), np.abs(ys).max())
    reach = int(np.clip(np.ceil(corner - min(axis, width - 1 - axis)) + 1, 0, (length - width) // 2 - 1))
    weighted = sinograms * weights[:, None, None].astype(np.float32)
    fine = filtered(weighted, gain, length, reach=reach, upsampling=_UPSAMPLING, axis=axis)
    out = np.zeros((ys.size, xs.size, sinograms.shape[1]), dtype=np.float32)
    back_project(fine, angles, (axis + reach) * _UPSAMPLING, float(_UPSAMPLING), xs, ys, out)
    return np.ascontiguousarray(np.moveaxis(out, -1, 0))


def gridrec(
    sinograms: np.ndarray,
    angles: np.ndarray,
    weights: np.ndarray,
    *,
    axis: float,
    window: str,
    wiener: np.ndarray | None = None,
) -> np.ndarray:
    """Filtered back projection by Fourier gridding; parameters and result as :func:`fbp`.

    The spectra of two slices, one as the real and one as the imaginary part, are spread over a Cartesian grid of twice
    the width with a Kaiser-Bessel kernel of six points, and transformed back.
    """
    from scipy.fft import fft, ifft2, next_fast_len
    from scipy.special import i0

    from operando.tomography.kernels import spread

    rows, width = sinograms.shape[1:]
    length = padded_length(width)
    length += length % 2
    size = int(next_fast_len(2 * width))
    half = response(window, length, wiener=wiener)
    gain = np.concatenate([half, half[-2:0:-1]])
    numbers = np.fft.fftfreq(length, 1.0 / length)
    radii = numbers * (size / length)
    # Below a frequency of zero gain nothing is spread; the highest frequency has no partner.
    used = np.flatnonzero((gain > 0) & (numbers != -length // 2))
    table = np.zeros(4096 + 2, dtype=np.float32)
    table[:-1] = i0(_BETA * np.sqrt(np.clip(1.0 - np.linspace(0.0, 1.0, 4097) ** 2, 0.0, 1.0)))
    out = np.empty((rows, width, width), dtype=np.float32)
    padded, before = pad(sinograms, length, axis=axis)
    shift = np.exp(2j * np.pi * numbers[used] * (before + axis) / length)
    correction = _kernel_transform(width, size)
    scale = 1.0 / length
    # A slice of even width is centered between two grid points: the spectra take the half, the grid the whole.
    middle = width // 2
    half_x = radii[used][None, :] * (np.cos(angles) - np.sin(angles))[:, None] / size
    shift = shift * np.exp(-2j * np.pi * half_x * (0.5 * (width - 1) - middle))
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(size) * middle)
    for row in range(0, rows, 2):
        pair = padded[:, row] + (1j * padded[:, row + 1] if row + 1 < rows else 0.0)
        spectra = fft(pair, axis=-1)[:, used] * (gain[used] * shift * scale) * weights[:, None]
        grid = np.zeros((size, size), dtype=np.complex64)
        spread(spectra.astype(np.complex64), angles, radii[used], _HALF_WIDTH, table, grid)
        grid *= (phase[:, None] * phase[None, :]).astype(np.complex64)
        image = ifft2(grid)[:width, :width] * (correction[:, None] * correction[None, :])
        out[row] = image.real
        if row + 1 < rows:
            out[row + 1] = image.imag
    return out


def _kernel_transform(width: int, size: int) -> np.ndarray:
    """What undoes the Kaiser-Bessel kernel at the voxels of a slice, times the length of a transform."""
    x = (np.arange(width) - width // 2) / size
    inside = _BETA**2 - (2 * np.pi * _HALF_WIDTH * x) ** 2
    root = np.sqrt(np.maximum(inside, 1e-12))
    transform = 2 * _HALF_WIDTH * np.sinh(root) / root
    return np.asarray(size / transform)


def sirt(
    sinograms: np.ndarray, angles: np.ndarray, *, axis: float, iterations: int, subsets: int, nonnegative: bool
) -> np.ndarray:
    """SIRT over ordered subsets of a block (angle, row, detector_x); see :func:`operando.tomography.reconstruct`."""
    from operando.tomography.kernels import project, project_transposed

    count, rows, width = sinograms.shape
    image = np.zeros((width, width, rows), dtype=np.float32)
    update = np.empty_like(image)
    one = np.ones((width, width, 1), dtype=np.float32)
    parts = []
    # Every n-th angle, so that each part sees the sample from all sides.
    order = np.argsort(angles)
    for number in range(min(subsets, count)):
        chosen = order[number :: min(subsets, count)]
        along = np.empty((chosen.size, width, 1), dtype=np.float32)
        project(one, angles[chosen], axis, along)
        through = np.empty_like(one)
        project_transposed(np.ones_like(along), angles[chosen], axis, through)
        measured = np.ascontiguousarray(np.moveaxis(sinograms[chosen], 1, -1), dtype=np.float32)
        # A ray or voxel that is only grazed says next to nothing.
        parts.append((angles[chosen], measured, _inverse(along), _inverse(through)))
    for _ in range(iterations):
        for part, measured, ray_weights, voxel_weights in parts:
            residual = np.empty_like(measured)
            project(image, part, axis, residual)
            np.subtract(measured, residual, out=residual)
            residual *= ray_weights
            project_transposed(residual, part, axis, update)
            update *= voxel_weights
            image += update
            if nonnegative:
                np.maximum(image, 0.0, out=image)
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _inverse(sums: np.ndarray) -> np.ndarray:
    return np.where(sums > 0.5, 1.0 / np.maximum(sums, 0.5), 0.0).astype(np.float32)


def cgls(sinograms: np.ndarray, angles: np.ndarray, *, axis: float, iterations: int) -> np.ndarray:
    """Conjugate gradients on the normal equations; see :func:`operando.tomography.reconstruct`."""
    from operando.tomography.kernels import project, project_transposed

    residual = np.ascontiguousarray(np.moveaxis(sinograms, 1, -1), dtype=np.float32)
    width, rows = residual.shape[1:]
    image = np.zeros((width, width, rows), dtype=np.float32)
    gradient, seen = np.empty_like(image), np.empty_like(residual)
    project_transposed(residual, angles, axis, gradient)
    direction = gradient.copy()
    # Every slice is a problem of its own, with steps of its own.
    norm = _squares(gradient)
    for _ in range(iterations):
        project(direction, angles, axis, seen)
        step = norm / np.maximum(_squares(seen), 1e-30)
        image += step * direction
        residual -= step * seen
        project_transposed(residual, angles, axis, gradient)
        new = _squares(gradient)
        direction *= new / np.maximum(norm, 1e-30)
        direction += gradient
        norm = new
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _squares(array: np.ndarray) -> np.ndarray:
    return np.einsum("abk,abk->k", array, array, dtype=np.float64).astype(np.float32)
