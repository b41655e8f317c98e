"""Work on a volume block by block, so that memory is bounded by the block and never by the volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError


@dataclass(frozen=True)
class Block:
    """A region to compute and the larger region to read for it.

    ``core`` and ``read`` are slices in the whole array; ``inner`` selects ``core`` out of what was read.
    """

    core: tuple[slice, ...]
    read: tuple[slice, ...]
    inner: tuple[slice, ...]


def iter_blocks(shape: Sequence[int], block: Sequence[int], halo: int | Sequence[int] = 0) -> Iterator[Block]:
    """Cut an array into blocks with a halo that stops at the array's edge.

    Parameters
    ----------
    shape : sequence of int
        Of the whole array.
    block : sequence of int
        Largest size of a block along each axis.
    halo : int or one per axis
        Voxels to read around each block.

    Yields
    ------
    Block
        In C order; the ``core`` regions tile the array exactly once.

    Examples
    --------
    >>> [b.read[0] for b in iter_blocks((5,), (2,), halo=1)]
    [slice(0, 3, None), slice(1, 5, None), slice(3, 5, None)]
    """
    halos = [halo] * len(shape) if isinstance(halo, int) else list(halo)
    if len(block) != len(shape) or len(halos) != len(shape) or min(block, default=1) < 1 or min(halos, default=0) < 0:
        raise InputError(
            f"iter_blocks: one block size >= 1 and one halo >= 0 per axis of {tuple(shape)}, "
            f"got block {tuple(block)} and halo {halo}."
        )
    for starts in product(*(range(0, size, step) for size, step in zip(shape, block, strict=True))):
        core, read, inner = [], [], []
        for start, size, step, margin in zip(starts, shape, block, halos, strict=True):
            stop = min(start + step, size)
            low, high = max(0, start - margin), min(size, stop + margin)
            core.append(slice(start, stop))
            read.append(slice(low, high))
            inner.append(slice(start - low, stop - low))
        yield Block(tuple(core), tuple(read), tuple(inner))


def label_counts(labels: xr.DataArray | np.ndarray, *, where: str = "labels") -> np.ndarray:
    """Count each of the 256 labels, in 64-bit integers, one block at a time.

    Returns
    -------
    ndarray of int64, shape (256,)

    Examples
    --------
    >>> label_counts(np.array([[0, 1], [1, 255]], dtype=np.uint8))[[0, 1, 255]].tolist()
    [1, 2, 1]
    """
    data: Any = labels.data if isinstance(labels, xr.DataArray) else labels
    if np.dtype(data.dtype) != np.uint8:
        raise InputError(
            f"{where}: a label image is uint8 (255 = unlabeled), got {data.dtype}. "
            "Convert it with .astype('uint8') after checking that no id exceeds 254."
        )
    if isinstance(data, np.ndarray):
        return _count(data)
    import dask.array as da

    counts = da.map_blocks(
        lambda block: _count(block).reshape((1,) * (data.ndim - 1) + (256,)),
        data,
        dtype=np.int64,
        chunks=tuple((1,) * n for n in data.numblocks[:-1]) + ((256,) * data.numblocks[-1],),
        meta=np.empty((0,) * data.ndim, dtype=np.int64),
    )
    leading = tuple(range(data.ndim - 1))
    return np.asarray(counts.sum(axis=leading).compute(), dtype=np.int64).reshape(-1, 256).sum(axis=0)


def _count(block: np.ndarray) -> np.ndarray:
    # bincount copies what it counts to eight bytes per voxel, hence piece by piece.
    flat, counts, step = block.ravel(), np.zeros(256, dtype=np.int64), 1 << 22
    for start in range(0, flat.size, step):
        counts += np.bincount(flat[start : start + step], minlength=256)
    return counts


def distinct_labels(labels: xr.DataArray | np.ndarray, *, where: str = "labels") -> np.ndarray:
    """Sorted labels that occur at least once."""
    return np.flatnonzero(label_counts(labels, where=where))
