"""A stack as what decomposition works on: one row per pixel, one column per energy, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.spectral.stacks import ENERGY_ATTRS, as_stack, energies_ev, image_mask, real

BLOCK_BYTES = 1 << 26
"""Size of a block of pixels in float64; what a pass over a stack larger than memory holds."""
CACHED_BYTES = 1 << 22
"""The same for a stack in memory, where small blocks cost nothing and stay in the cache."""


def as_spectra(stack: Any, *, where: str) -> xr.DataArray:
    """Return ``stack`` as real numbers with ``energy`` first, with energies in eV, or 0, 1, 2, ... where it has none.

    Raises
    ------
    AxesError, InputError
        Where there is no dim ``energy``, a dim that is not spatial, or numbers that are not real.
    """
    data = real(as_stack(stack, where=where), where=where)
    known = "energy" in data.coords
    energy = energies_ev(data, where=where) if known else np.arange(data.sizes["energy"], dtype=float)
    return data.assign_coords(energy=("energy", energy, ENERGY_ATTRS if known else {}))


def as_mask(mask: Any, stack: xr.DataArray, *, where: str) -> np.ndarray:
    """Return the pixels to use as a flat bool array in the order of ``stack``; all of them where ``mask`` is None."""
    chosen = image_mask(mask, stack, where=where)
    return np.ones(int(np.prod(stack.shape[1:])), dtype=bool) if chosen is None else np.asarray(chosen.values).ravel()


def pixel_blocks(
    stack: xr.DataArray, use: np.ndarray, *, block_bytes: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pixels of a stack, block by block, so that memory is bounded by the block.

    Parameters
    ----------
    stack : DataArray, dims (energy, ...)
        As :func:`as_spectra` gives it.
    use : bool array
        As :func:`as_mask` gives it.
    block_bytes : int, optional
        Largest size of a block in float64; default 64 MiB of a lazy stack, 4 MiB of one in memory.

    Yields
    ------
    position : int array (pixels,)
        Flat positions of the pixels in an image.
    values : float64 array (pixels, energy)
        Each column contiguous. Not to be written to.

    Notes
    -----
    A block has all energies of its pixels. Of a stack that is stored image by image, every image is read once per
    block; chunks that hold all energies of a few pixels are read once.
    """
    for position, (values,) in blocks_of([stack], use, block_bytes=block_bytes):
        yield position, values


def blocks_of(
    stacks: Sequence[xr.DataArray], use: np.ndarray, *, block_bytes: int | None = None
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Same pixels of several arrays of one shape, as :func:`pixel_blocks` does for one, in the chunks of the first."""
    shape, energies = stacks[0].shape[1:], stacks[0].sizes["energy"]
    chunks = stacks[0].chunks
    size = block_bytes or (CACHED_BYTES if chunks is None else BLOCK_BYTES)
    room = max(1, size // (8 * max(1, energies)))
    block = [max(sizes) for sizes in chunks[1:]] if chunks is not None else list(shape)
    for axis in range(len(block)):
        while block[axis] > 1 and int(np.prod(block)) > room:
            block[axis] = -(-block[axis] // 2)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    for part in iter_blocks(shape, block):
        position = numbers[part.core].ravel()
        wanted = use[position]
        if wanted.any():
            yield position[wanted], [_rows(stack, part.core, wanted) for stack in stacks]


def _rows(stack: xr.DataArray, core: tuple[slice, ...], wanted: np.ndarray) -> np.ndarray:
    values = np.asarray(stack.data[(slice(None), *core)])
    values = values.reshape(len(values), -1)
    if not wanted.all():
        values = values[:, wanted]
    # Energies stay the slow axis: products of energies need no transposed copy.
    return np.asarray(values, dtype=np.float64).T


def all_finite(values: np.ndarray) -> bool:
    """Whether there is no gap, by one sum: an infinity or NaN anywhere makes it one."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()))


def whole_pixels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without a gap, and which energies (energy,) no pixel has."""
    if all_finite(values):
        return values, np.zeros(values.shape[1], dtype=bool)
    finite = np.isfinite(values)
    return values[finite.all(axis=1)], ~finite.any(axis=0)


def sample_pixels(
    stack: xr.DataArray, use: np.ndarray, *, most: int, seed: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` pixels that have every energy, drawn at random where there are more: position and values.

    Raises
    ------
    InputError
        Where no pixel has every energy.
    """
    positions, parts, empty = [], [], np.ones(stack.sizes["energy"], dtype=bool)
    share = min(1.0, 1.2 * most / max(1, int(use.sum())))
    random = np.random.default_rng(seed)
    drawn = use & (random.random(use.size) < share) if share < 1 else use
    for position, values in pixel_blocks(stack, drawn):
        finite = np.isfinite(values)
        empty &= ~finite.any(axis=0)
        whole = finite.all(axis=1)
        positions.append(position[whole])
        parts.append(values[whole])
    if not positions or not sum(map(len, positions)):
        raise InputError(no_whole_pixel(stack, empty if positions else None, where=where))
    at, rows = np.concatenate(positions), np.concatenate(parts)
    if at.size > most:
        keep = np.sort(random.choice(at.size, most, replace=False))
        at, rows = at[keep], rows[keep]
    return at, rows


def no_whole_pixel(stack: xr.DataArray, empty: np.ndarray | None, *, where: str) -> str:
    """Say why no pixel can be used and what to do."""
    if empty is None:
        return f"{where}: the mask leaves no pixel. Pass a mask that is True where a pixel counts."
    dead = np.asarray(stack["energy"].values, dtype=float)[empty]
    if dead.size and dead.size < empty.size:
        return (
            f"{where}: no pixel has every energy; {dead.size} of {empty.size} images are NaN everywhere, "
            f"the first at {dead[0]:g} eV. Drop them: stack.dropna('energy', how='all')."
        )
    return (
        f"{where}: no pixel has every energy of {empty.size}. Drop energies with many missing pixels, "
        "or crop to where all images overlap."
    )
