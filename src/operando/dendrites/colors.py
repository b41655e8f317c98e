"""Back from the colors of a figure or movie to the numbers that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from operando.core.errors import InputError

# Points between two given colors of the bar.
_FINER = 8


def values_from_colors(picture: Any, bar: Any, values: Any = (0.0, 1.0), *, shading: float | None = 1.0) -> np.ndarray:
    """Turn a color-mapped picture back into numbers, by the color bar that stands beside it.

    Parameters
    ----------
    picture : array-like, shape (..., 3)
        Red, green, blue, 0 to 255.
    bar : array-like, shape (n, 3)
        Colors along the color bar, from its one end to the other.
    values : array-like, shape (2,) or (n,)
        What the ends of the bar (or each of its colors) stand for.
    shading : float, optional
        How much darker the picture is drawn than its bar. None: found, from the sums of red, green and blue of pixels
        and of the colors of the bar of the same hue.

    Returns
    -------
    ndarray of float64, shape (...)
        Value of the closest color of the bar.

    Raises
    ------
    InputError
        Where the shapes do not fit.

    Notes
    -----
    Closest in red, green and blue along straight pieces between the colors of the bar. Axes, text and grid lines that
    are drawn over the picture become some number too: mask them first. A bar with two places of the same color has no
    way back. What the movie's palette rounds (1 % of the range with 256 colors, more with dithering) stays.

    Memory: only distinct colors are looked up.

    Examples
    --------
    >>> bar = [(0, 0, 255), (255, 255, 255), (255, 0, 0)]
    >>> values_from_colors([[(0, 0, 255), (255, 128, 128)]], bar).round(2).tolist()
    [[0.0, 0.75]]
    """
    from scipy.spatial import cKDTree

    colors, along = np.asarray(picture), np.asarray(bar, dtype=np.float64)
    if colors.shape[-1:] != (3,) or along.ndim != 2 or along.shape[1] != 3 or len(along) < 2:
        raise InputError(
            f"values_from_colors: a picture (..., 3) and a bar (n, 3) of red, green, blue are needed, got the shapes "
            f"{colors.shape} and {along.shape}. Drop an alpha channel with [..., :3]."
        )
    scale = np.asarray(values, dtype=np.float64)
    if scale.shape == (2,):
        scale = np.linspace(scale[0], scale[1], len(along))
    if scale.shape != (len(along),):
        raise InputError(
            f"values_from_colors: values must be the two ends of the bar or one per color, got {scale.size} values "
            f"for {len(along)} colors. Pass two."
        )
    fine = np.linspace(0, len(along) - 1, (len(along) - 1) * _FINER * max(1, 64 // len(along)) + 1)
    bars = np.stack([np.interp(fine, np.arange(len(along)), along[:, i]) for i in range(3)], axis=1)
    distinct, back = np.unique(colors.reshape(-1, 3), axis=0, return_inverse=True)
    counts = np.bincount(back.ravel(), minlength=len(distinct))
    factor = _shading(distinct, counts, bars) if shading is None else float(shading)
    nearest = cKDTree(bars * factor).query(distinct)[1]
    found = np.interp(fine[nearest], np.arange(len(along)), scale)
    return np.asarray(found[back.ravel()].reshape(colors.shape[:-1]))


def _shading(colors: np.ndarray, counts: np.ndarray, bars: np.ndarray) -> float:
    from scipy.spatial import cKDTree

    total = colors.sum(axis=1).astype(np.float64)
    lit = total > 0
    hue = colors[lit] / total[lit, None]
    nearest = cKDTree(bars / np.maximum(bars.sum(axis=1, keepdims=True), 1e-9)).query(hue)[1]
    ratio = total[lit] / np.maximum(bars[nearest].sum(axis=1), 1e-9)
    order = np.argsort(ratio)
    share = np.cumsum(counts[lit][order])
    return float(ratio[order][np.searchsorted(share, share[-1] / 2)])
