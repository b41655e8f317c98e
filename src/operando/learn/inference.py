"""Network output for a block of a volume: the same numbers however the volume is cut into blocks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from operando.core.errors import InputError, require
from operando.learn.normalization import normalized
from operando.learn.sections import (
    PLANES,
    Sections,
    gather,
    mirrored,
    padded_extent,
    patch_weights,
    relative_depth,
)

_ONE_AT_A_TIME = threading.Lock()
_BATCH = 8
_PIXELS = _BATCH * 160 * 128  # of a batch at most: of patches as large as the paper's, one at a time

Core = Sequence[slice]


def read_region(core: Core, shape: Sequence[int], sections: Sections) -> tuple[slice, ...]:
    """Box of a volume (z, y, x) that the output in ``core`` depends on.

    Examples
    --------
    >>> sections = Sections(planes=("zx",), context=2, patch=(32, 32))
    >>> read_region((slice(0, 20), slice(10, 12), slice(0, 24)), (20, 64, 64), sections)
    (slice(0, 20, None), slice(8, 14, None), slice(0, 32, None))
    """
    low, high = [c.start for c in core], [c.stop for c in core]
    for plane in sections.planes:
        for axis, patches in zip(PLANES[plane][:2], _patches(plane, core, shape, sections), strict=True):
            for start, weights in patches:
                low[axis] = min(low[axis], start)
                high[axis] = max(high[axis], start + weights.size)
        normal = PLANES[plane][2]
        near = mirrored(
            np.arange(core[normal].start - sections.context, core[normal].stop + sections.context), shape[normal]
        )
        low[normal] = min(low[normal], int(near.min()))
        high[normal] = max(high[normal], int(near.max()) + 1)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _patches(
    plane: str, core: Core, shape: Sequence[int], sections: Sections
) -> tuple[list[tuple[int, np.ndarray]], list[tuple[int, np.ndarray]]]:
    """Patches along rows and along columns that touch the core."""
    found = []
    for axis, patch in zip(PLANES[plane][:2], sections.patch, strict=True):
        every = patch_weights(shape[axis], patch, sections.overlap)
        found.append([(s, w) for s, w in every if s < core[axis].stop and s + w.size > core[axis].start])
    return found[0], found[1]


def block_logits(
    network: Any,
    block: np.ndarray,
    *,
    core: Core,
    shape: Sequence[int],
    offset: Sequence[int],
    sections: Sections,
    scale: tuple[float, float],
    classes: int,
    half: bool = False,
) -> np.ndarray:
    """Logits of a network in one block, averaged over overlapping patches and over planes.

    Parameters
    ----------
    network : torch.nn.Module
        From :func:`operando.learn.build_network`, in evaluation mode.
    block : ndarray, (z, y, x)
        Gray values of :func:`read_region`.
    core : three slices
        The voxels wanted, in the whole volume.
    shape : three ints
        Of the whole volume.
    offset : three ints
        Where ``block`` begins in the whole volume.
    sections : Sections
        What the network reads.
    scale : (float, float)
        Center and spread of the whole scan's gray values.
    classes : int
        Outputs of the network.
    half : bool
        Compute in bfloat16: faster where the processor has it, and labels then differ in about 0.5 %
        of voxels.

    Returns
    -------
    ndarray of float32, (class, z, y, x)
        For the core only.

    Notes
    -----
    Patches lie on a lattice fixed to the whole volume and every batch has the same size, so a voxel
    gets the same additions in the same order whatever the block. Logits are averaged before any
    softmax (Huang et al. 2023, Supplementary Note 1), and over ``sections.symmetries`` mirror images
    of each patch, which takes that many times as long. Holds ``4 * classes`` bytes per voxel of the
    core beside the block itself. One call computes at a time; torch uses the cores.
    """
    torch = require("torch", extra="learn", purpose="Segmentation with a network")
    sizes = [c.stop - c.start for c in core]
    if min(sizes) < 1:
        raise InputError(f"block_logits: the core must hold at least one voxel, got {tuple(core)}.")
    device = next(network.parameters()).device
    with _ONE_AT_A_TIME, torch.inference_mode():
        total = torch.zeros((classes, *sizes), dtype=torch.float32)
        for plane in sections.planes:
            rows_axis, columns_axis, normal = PLANES[plane]
            row_patches, column_patches = _patches(plane, core, shape, sections)
            around = np.arange(core[normal].start - sections.context, core[normal].stop + sections.context)
            slices = mirrored(around, shape[normal])
            # View of the sum with axes (class, normal, rows, columns).
            view = total.permute(0, normal + 1, rows_axis + 1, columns_axis + 1)
            for row_start, row_weights in row_patches:
                row_extent = padded_extent(shape[rows_axis], sections.patch[0], sections.factor)
                rows = mirrored(row_start + np.arange(row_extent), shape[rows_axis])
                for column_start, column_weights in column_patches:
                    column_extent = padded_extent(shape[columns_axis], sections.patch[1], sections.factor)
                    columns = mirrored(column_start + np.arange(column_extent), shape[columns_axis])
                    indices: list[np.ndarray] = [slices, slices, slices]
                    indices[rows_axis], indices[columns_axis] = rows, columns
                    patch = gather(block, indices, offset=offset).transpose(normal, rows_axis, columns_axis)
                    stack = torch.from_numpy(np.ascontiguousarray(normalized(patch, scale)))
                    inside = [
                        _overlap(core[rows_axis], row_start, row_weights.size),
                        _overlap(core[columns_axis], column_start, column_weights.size),
                    ]
                    weights = torch.from_numpy(
                        np.outer(row_weights[inside[0][0]], column_weights[inside[1][0]]) / len(sections.planes)
                    )
                    target = view[:, :, inside[0][1], inside[1][1]]
                    depth = torch.from_numpy(relative_depth(rows, shape[rows_axis])) if sections.depth else None
                    size = int(np.clip(_PIXELS // (row_extent * column_extent), 1, _BATCH))
                    for first in range(0, sizes[normal], size):
                        count = min(size, sizes[normal] - first)
                        batch = _batch(torch, stack, first, count, size, sections, depth).to(device)
                        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
                            out = _mirror_averaged(network, batch, plane, sections)
                        out = out[:count, :, inside[0][0], inside[1][0]].float().cpu() * weights
                        target[:, first : first + count] += out.transpose(0, 1)
        return np.asarray(total.numpy())


def _mirror_averaged(network: Any, batch: Any, plane: str, sections: Sections) -> Any:
    """Logits averaged over the mirror images of a batch that are symmetries of a cell.

    Columns may be mirrored, and so may what is across the columns in the plane of the electrodes: the
    neighboring slices of a section through z, the rows of a section across z. Exchanging x and y is
    what reading both planes zx and zy does.
    """
    width = 2 * sections.context + 1
    out = network(batch)
    for columns, across in ((True, True), (True, False), (False, True))[: sections.symmetries - 1]:
        turned = [axis for axis, mirror in ((3, columns), (2, across and plane == "yx")) if mirror]
        read = batch.flip(turned) if turned else batch.clone()
        if across and plane != "yx":
            read[:, :width] = read[:, :width].flip(1)
        found = network(read)
        out = out + (found.flip(turned) if turned else found)
    return out / sections.symmetries


def _overlap(core: slice, start: int, size: int) -> tuple[slice, slice]:
    """Where a patch and the core meet, counted in the patch and in the core."""
    low, high = max(core.start, start), min(core.stop, start + size)
    return slice(low - start, high - start), slice(low - core.start, high - core.start)


def _batch(torch: Any, stack: Any, first: int, count: int, size: int, sections: Sections, depth: Any) -> Any:
    """Input for slices ``first .. first + count``, filled up to the size of every batch of this volume.

    A batch of another size may take another path through the convolution library and end in other
    last digits, which would make the labels depend on the blocks.
    """
    width = 2 * sections.context + 1
    batch = torch.zeros((size, sections.in_channels, *stack.shape[1:]), dtype=torch.float32)
    batch = batch.to(memory_format=torch.channels_last)
    for i in range(count):
        batch[i, :width] = stack[first + i : first + i + width]
    if depth is not None:
        batch[:, width] = depth[:, None]
    return batch
