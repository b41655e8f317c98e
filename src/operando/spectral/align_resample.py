"""Images moved by a fraction of a pixel: cubic splines, separably, with missing pixels kept missing."""

from __future__ import annotations

from typing import Any

import numpy as np

_NEAR = 2.0  # px, reach of what fills a missing pixel before the spline
_TOUCHED = 1e-6


def spline(image: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic spline through an image without missing pixels."""
    from scipy.ndimage import spline_filter

    return np.asarray(spline_filter(image, order=3, output=image.dtype, mode="mirror"))


def moved(coefficients: np.ndarray, shift: Any) -> np.ndarray:
    """Values of a spline at ``(y + shift_y, x + shift_x)`` for each pixel; at the edge the outermost ones go on.

    A shift is the same fraction for all pixels, so that four weights per axis do what a general interpolation does
    with sixteen per pixel.
    """
    from scipy.ndimage import correlate1d

    out = coefficients
    for axis, along in enumerate(shift):
        whole = int(np.floor(along))
        part = float(along) - whole
        weights = np.array(
            [(1 - part) ** 3, 3 * part**3 - 6 * part**2 + 4, 1 + 3 * part * (1 + part - part**2), part**3]
        )
        out = correlate1d(out, weights / 6, axis=axis, mode="mirror", origin=-1)
        size = out.shape[axis]
        out = np.take(out, np.clip(np.arange(size) + whole, 0, size - 1), axis=axis)
    return np.asarray(out)


def seen(shape: tuple[int, ...], shift: Any, rim: int = 0) -> np.ndarray:
    """Pixels of the result of :func:`moved` that lie within the image they come from, less a rim of it."""
    rows, columns = (
        (np.arange(size) + along >= rim) & (np.arange(size) + along <= size - 1 - rim)
        for size, along in zip(shape, shift, strict=True)
    )
    return np.asarray(rows[:, None] & columns[None, :])


def filled(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """An image whose missing pixels are set to what is near, and where they were (None where nowhere)."""
    from scipy.ndimage import gaussian_filter

    missing = ~np.isfinite(image)
    if not missing.any():
        return image, None
    if missing.all():
        return np.zeros_like(image), missing
    there = np.where(missing, 0, image)
    value, reach = there, (~missing).astype(image.real.dtype)
    rest, size = missing.copy(), _NEAR
    out = there.copy()
    while rest.any():
        value, weight = gaussian_filter(there, size), gaussian_filter(reach, size)
        near = rest & (weight > 1e-3)
        out[near] = value[near] / weight[near]
        rest &= ~near
        size *= 2
    return out, missing


def resampled(image: np.ndarray, shift: Any, order: int) -> np.ndarray:
    """An image at ``(y + shift_y, x + shift_x)`` for each pixel, NaN beyond its edge and at missing pixels."""
    from scipy.ndimage import shift as moved_by

    if not np.all(np.isfinite(shift)):
        return np.full_like(image, np.nan)
    if np.iscomplexobj(image):
        parts = [resampled(part, shift, order) for part in (image.real, image.imag)]
        return np.asarray(parts[0] + 1j * parts[1], dtype=image.dtype)
    values, missing = filled(image)
    if order == 3:
        out = moved(spline(values), shift)
    else:
        out = np.asarray(moved_by(values, [-along for along in shift], order=order, mode="nearest"))
    hidden = ~seen(image.shape, shift)
    if missing is not None:
        share = moved_by(missing.astype(np.float32), [-along for along in shift], order=min(order, 1), mode="nearest")
        hidden |= share > _TOUCHED
    out[hidden] = np.nan
    return out
