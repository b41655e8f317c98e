"""Work on a stack by blocks of pixels that have all their energies, so that memory is bounded by the block."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr

CHUNK_BYTES = 1 << 26
"""Largest size of a chunk of pixels of a lazy stack, with all its energies, in the type of the stack."""
_BLOCK_PIXELS = 1 << 13

Work = Callable[[Any, "Any | None", int, int, Any], None]
"""``work(data, other, first, stop, out)``: fill out (rows, stop - first) from data and other (energy, pixels)."""


def by_pixels(work: Work, stack: xr.DataArray, other: xr.DataArray | None, mask: xr.DataArray | None, rows: int) -> Any:
    """Apply ``work`` to all pixels of a stack.

    Parameters
    ----------
    work : callable
        Must release the interpreter and treat every pixel by itself.
    stack, other : DataArray, dims (energy, [z], [y], [x])
        Of one shape. Where one is lazy, so is the result.
    mask : DataArray of bool, space dims, optional
        Pixels to work on; the others are NaN.
    rows : int
        How many numbers per pixel come out.

    Returns
    -------
    array or dask array, shape (rows, [z], [y], [x])

    Notes
    -----
    An array in memory is worked on in place, 8192 pixels at a time, on all cores. Of a lazy one, a chunk of pixels with
    all energies is loaded at a time (per worker), no larger than 64 MB. A stack that is stored image by image has no
    such chunks: Dask then holds pieces of all images while it makes them. Store it in chunks of pixels first.
    """
    lazy = any(array is not None and array.chunks is not None for array in (stack, other, mask))
    if not lazy:
        return _in_memory(work, np.asarray(stack.data), _values(other), _values(mask), rows, threads=_threads())
    import dask.array as da

    if stack.ndim == 1:
        stack, other = stack.expand_dims("x", axis=1), None if other is None else other.expand_dims("x", axis=1)
        mask = None if mask is None else mask.expand_dims("x")
        return by_pixels(work, stack, other, mask, rows)[:, 0]
    data = da.asarray(stack.data)
    data = data.rechunk((-1, *_pixel_chunks(data)))
    arrays = [data]
    if other is not None:
        arrays.append(da.asarray(other.data).rechunk(data.chunks))
    if mask is not None:
        arrays.append(da.asarray(mask.data)[None].rechunk(((1,), *data.chunks[1:])))

    def chunk(*parts: Any) -> Any:
        left = list(parts[1:])
        second = left.pop(0) if other is not None else None
        third = left.pop(0)[0] if mask is not None else None
        return _in_memory(work, parts[0], second, third, rows, threads=1)

    return da.map_blocks(
        chunk,
        *arrays,
        dtype=np.float64,
        chunks=((rows,), *data.chunks[1:]),
        meta=np.empty((0,) * data.ndim),
    )


def _values(array: xr.DataArray | None) -> Any:
    return None if array is None else np.asarray(array.data)


def _threads() -> int:
    import numba

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, int(numba.config.NUMBA_NUM_THREADS))


def _pixel_chunks(data: Any) -> tuple[tuple[int, ...], ...]:
    """Chunks along space: those of the stack, cut until one with all energies is small enough."""
    sizes = [max(chunks) for chunks in data.chunks[1:]]
    limit = max(1, CHUNK_BYTES // (data.dtype.itemsize * data.shape[0]))
    axis = 0
    while int(np.prod(sizes)) > limit:
        if sizes[axis] == 1:
            axis += 1
        else:
            sizes[axis] = -(-sizes[axis] // 2)
    cut = []
    for chunks, size in zip(data.chunks[1:], sizes, strict=True):
        pieces: list[int] = []
        for length in chunks:
            pieces += [size] * (length // size) + ([length % size] if length % size else [])
        cut.append(tuple(pieces))
    return tuple(cut)


def _in_memory(work: Work, data: Any, other: Any, mask: Any, rows: int, *, threads: int) -> Any:
    space = data.shape[1:]
    if data.dtype not in (np.float32, np.float64):
        data = data.astype(np.float64)
    flat = np.ascontiguousarray(data).reshape(data.shape[0], -1)
    second = None if other is None else np.ascontiguousarray(other).reshape(data.shape[0], -1)
    if mask is not None and not mask.all():
        chosen = np.flatnonzero(mask.ravel())
        out = np.full((rows, flat.shape[1]), np.nan)
        masked = None if second is None else second[:, chosen]
        out[:, chosen] = _blocks(work, flat[:, chosen], masked, rows, threads)
    else:
        out = _blocks(work, flat, second, rows, threads)
    return out.reshape(rows, *space)


def _blocks(work: Work, data: Any, other: Any, rows: int, threads: int) -> Any:
    pixels = data.shape[1]
    out = np.empty((rows, pixels))

    def one(first: int) -> None:
        stop = min(first + _BLOCK_PIXELS, pixels)
        work(data, other, first, stop, out[:, first:stop])

    starts = range(0, pixels, _BLOCK_PIXELS)
    if threads == 1 or len(starts) < 2:
        for first in starts:
            one(first)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, starts))
    return out
