"""Random numbers and correlated random fields that depend on nothing but the seed and a name."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """Random generator for one purpose, independent of every other purpose and of the order of calls.

    Examples
    --------
    >>> bool(generator(1, "noise", 0).random() == generator(1, "noise", 0).random())
    True
    """
    keys = [word if isinstance(word, int) else zlib.crc32(word.encode()) for word in words]
    return np.random.Generator(np.random.PCG64([seed, *keys]))


def correlated(rng: np.random.Generator, shape: Sequence[int], length: float | Sequence[float]) -> np.ndarray:
    """Gaussian random field of zero mean and unit standard deviation.

    Parameters
    ----------
    rng : Generator
    shape : sequence of int
    length : float or one per axis
        Standard deviation in voxels of the Gaussian that smooths white noise.

    Returns
    -------
    ndarray of float32
        Normalized over the field itself, so that small fields have the same spread as large ones.
    """
    from scipy.ndimage import gaussian_filter

    field = rng.standard_normal(tuple(shape), dtype=np.float32)
    gaussian_filter(field, length, output=field, mode="wrap", truncate=3.0)
    field -= np.float32(field.mean(dtype=np.float64))
    spread = np.sqrt(np.einsum("i,i->", field.ravel(), field.ravel(), dtype=np.float64) / field.size)
    # A field of one voxel has no spread.
    field /= np.float32(spread or 1.0)
    return field


def first_to_last(key: np.ndarray) -> np.ndarray:
    """Flat indices of the finite values of an array, smallest first, ties in C order.

    Examples
    --------
    >>> first_to_last(np.array([[2.0, np.inf], [1.0, 2.0]])).tolist()
    [2, 0, 3]
    """
    finite = np.flatnonzero(np.isfinite(key)).astype(np.int32 if key.size < 2**31 else np.int64)
    return finite[np.argsort(key.ravel()[finite], kind="stable")]
