"""Bring gray values of different scans, detectors and file types to one scale."""

from __future__ import annotations

from typing import Any

import numpy as np

_SAMPLE = 2**17


def gray_columns(volume: Any, *, lattice: int = 8) -> Any:
    """Bounded sample of a volume: whole columns along z, on a regular lattice in y and x.

    Parameters
    ----------
    volume : array or dask array, (z, y, x)
    lattice : int
        Places per lateral axis.

    Returns
    -------
    array or dask array, (z, n, m)
        Whole columns, because a sample that missed an electrode would shift the scale.

    Notes
    -----
    About 131,000 voxels, whatever the size of the volume. The places depend on the shape only, never
    on chunks.
    """
    size_z, size_y, size_x = volume.shape
    edge = max(4, round(np.sqrt(_SAMPLE / (lattice**2 * size_z))))
    return volume[:, _places(size_y, lattice, edge)][:, :, _places(size_x, lattice, edge)]


def _places(size: int, lattice: int, edge: int) -> np.ndarray:
    if size <= lattice * edge:
        return np.arange(size)
    starts = np.linspace(0, size - edge, lattice).round().astype(int)
    return np.unique((starts[:, None] + np.arange(edge)).ravel())


def gray_scale(values: Any) -> tuple[float, float]:
    """Center and spread of gray values, blind to outliers and missing voxels.

    Parameters
    ----------
    values : array-like
        Gray values; NaN and infinities are ignored.

    Returns
    -------
    center, spread : float
        Mean and standard deviation of the values between the 0.5 and 99.5 percentiles; (0, 1) where
        nothing finite is left, and a spread of 1 where all values are equal.

    Notes
    -----
    A cell of two phases has its median on the cliff between the two peaks, where it jumps as the
    phases trade a few voxels; the trimmed mean moves smoothly.

    Examples
    --------
    >>> gray_scale([1.0, 1.0, 3.0, 3.0, np.nan])
    (2.0, 1.0)
    """
    finite = np.asarray(values, dtype=np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, (0.5, 99.5))
    kept = finite[(finite >= low) & (finite <= high)]
    spread = float(kept.std())
    return float(kept.mean()), spread if spread > 0 else 1.0


def normalized(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """``(values - center) / spread`` in float32, with 0 where a value is missing."""
    center, spread = scale
    # In float64 first: large offsets of integer detectors would eat the 2 % contrast in float32.
    result = ((values.astype(np.float64) - center) / spread).astype(np.float32)
    if values.dtype.kind == "f":
        np.nan_to_num(result, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return result
