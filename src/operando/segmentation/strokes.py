"""Strokes: which annotated voxels were drawn in one go, and so must be held out together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from operando.core.blocks import iter_blocks

_READ = (64, 512, 512)


def draw_samples(
    marks: Any, ids: Sequence[int], *, limit: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw annotated voxels, at most the same number of each phase, and say which strokes they belong to.

    Parameters
    ----------
    marks : uint8 array or dask array, (t, z, y, x)
        255 = unlabeled.
    ids : sequence of int
        Labels to draw.
    limit : int
        Voxels in all, at most.
    seed : int

    Returns
    -------
    places : ndarray of int, (n, 4)
    labels : ndarray of int, (n,)
    strokes : ndarray of int, (n,)
        A number for each stroke: voxels of one label that touch by faces, edges or corners. Strokes are cut at
        blocks of 64 x 512 x 512 voxels, which are read one at a time.

    Examples
    --------
    >>> marks = np.full((1, 1, 3, 5), 255, np.uint8)
    >>> marks[0, 0, 0, :2], marks[0, 0, 2, 3:], marks[0, 0, 0, 4] = 7, 7, 9
    >>> _, labels, strokes = draw_samples(marks, [7, 9], limit=100)
    >>> labels.tolist(), len(set(strokes.tolist()))
    ([7, 7, 7, 7, 9], 3)
    """
    import cc3d

    rng = np.random.default_rng([seed, 1])
    each = max(1, limit // len(ids))
    places, labels, strokes = [], [], []
    count = 0
    for block in iter_blocks(marks.shape, (1, *_READ)):
        told = np.asarray(marks[block.core])[0]
        # Label 0 is background to cc3d: no phase may be 0, and unlabeled must be.
        pieces = cc3d.connected_components(told + np.uint8(1), connectivity=26)
        for number in ids:
            inside = _thinned(np.flatnonzero(told == number), each, rng)
            at = np.stack(np.unravel_index(inside, told.shape), axis=1)
            at += [part.start for part in block.core[1:]]
            places.append(np.column_stack([np.full(len(at), block.core[0].start), at]))
            labels.append(np.full(len(at), number))
            strokes.append(pieces.ravel()[inside].astype(np.int64) + count)
        count += int(pieces.max())
    where, told, stroke = np.concatenate(places), np.concatenate(labels), np.concatenate(strokes)
    kept = np.sort(np.concatenate([_thinned(np.flatnonzero(told == number), each, rng) for number in ids]))
    return where[kept], told[kept], stroke[kept]


def _thinned(places: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``limit`` of the places, at random."""
    return places if places.size <= limit else rng.choice(places, size=limit, replace=False)
