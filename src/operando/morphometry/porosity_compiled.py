"""The loops over voxels behind :mod:`operando.morphometry.porosity_counts`, compiled; import it where it is needed."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def count_by_depth(
    labels: np.ndarray,
    kind: np.ndarray,
    centers: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    sign: np.ndarray,
    width: float,
    tiles: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Add the voxels of a slab (z, y, x) to ``out`` (kind, component, bin, tile y, tile x).

    ``kind`` tells for each of the 256 labels which kind it is, -1 for none. A voxel is at the depth
    ``sign * (center - near)`` of a component, if that is positive and the voxel does not lie beyond ``far``.
    """
    depth, ny, nx = labels.shape
    components, bins = out.shape[1], out.shape[2]
    for row in prange(out.shape[3]):
        for j in range(row * tiles[0], min((row + 1) * tiles[0], ny)):
            for k in range(depth):
                for i in range(nx):
                    which = kind[labels[k, j, i]]
                    if which < 0:
                        continue
                    for c in range(components):
                        below = sign[c] * (centers[k] - near[c, j, i])
                        if below > 0 and sign[c] * (far[c, j, i] - centers[k]) > 0:
                            b = int(below / width)
                            if b < bins:
                                out[which, c, b, row, i // tiles[1]] += 1


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def sum_by_depth(
    values: np.ndarray,
    centers: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    sign: np.ndarray,
    width: float,
    tiles: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Add p (1 - p) of a slab of probabilities to ``out`` (component, bin, tile y, tile x).

    Depths are those of :func:`count_by_depth`.
    """
    depth, ny, nx = values.shape
    components, bins = out.shape[0], out.shape[1]
    for row in prange(out.shape[2]):
        for j in range(row * tiles[0], min((row + 1) * tiles[0], ny)):
            for k in range(depth):
                for i in range(nx):
                    p = values[k, j, i]
                    # NaN fails this as well.
                    if not (p > 0 and p < 1):
                        continue
                    for c in range(components):
                        below = sign[c] * (centers[k] - near[c, j, i])
                        if below > 0 and sign[c] * (far[c, j, i] - centers[k]) > 0:
                            b = int(below / width)
                            if b < bins:
                                out[c, b, row, i // tiles[1]] += p * (1 - p)
