"""The loop over columns behind :mod:`operando.morphometry.boundaries`, compiled; import it where it is needed."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numba import njit, prange

_LAYERS = 5
# Blocks of a lazy image come from several threads, which not every threading layer of Numba bears.
_ONE_AT_A_TIME = Lock()


def layer_starts(labels: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """First plane of the layers 1 to 4 of every column (4, y, x), -1 where it is not known.

    ``labels`` is (z, y, x); ``layer`` tells for each of the 256 labels whether it is collector (0), lithium (1),
    ceramic (2), anything else (3) or unlabeled (4). Layers in order: collector, lithium, ceramic, lithium, collector.
    """
    with _ONE_AT_A_TIME:
        return _layer_starts(labels, layer)


@njit(parallel=True, cache=True)  # type: ignore[misc,untyped-decorator,unused-ignore]
def _layer_starts(labels: np.ndarray, layer: np.ndarray) -> np.ndarray:
    depth, ny, nx = labels.shape
    kind_of = np.array([0, 1, 2, 1, 0])
    out = np.full((4, ny, nx), -1, np.int32)
    for j in prange(ny):
        cost = np.zeros((nx, _LAYERS), np.int32)
        # Where the cheapest way into each layer has changed from one layer to the next.
        start = np.zeros((nx, _LAYERS, 4), np.int32)
        for k in range(depth):
            for i in range(nx):
                kind = layer[labels[k, j, i]]
                best, source = cost[i, 0], 0
                for s in range(1, _LAYERS):
                    if cost[i, s] <= best:
                        best, source = cost[i, s], s
                    elif source != s:
                        cost[i, s] = best
                        for b in range(source):
                            start[i, s, b] = start[i, source, b]
                        for b in range(source, s):
                            start[i, s, b] = k
                if kind < 4:
                    for s in range(_LAYERS):
                        if kind_of[s] != kind:
                            cost[i, s] += 1
        for i in range(nx):
            last = 0
            for s in range(1, _LAYERS):
                if cost[i, s] < cost[i, last]:
                    last = s
            for b in range(4):
                out[b, j, i] = start[i, last, b] if b < last else depth
            # A layer counts where it holds at least one voxel that belongs in it.
            seen = np.zeros(_LAYERS, np.bool_)
            s = 0
            for k in range(depth):
                while s < 4 and out[s, j, i] <= k:
                    s += 1
                if layer[labels[k, j, i]] == kind_of[s]:
                    seen[s] = True
            low_lithium, high_lithium = seen[0] or seen[1], seen[3] or seen[4]
            if not (seen[0] and (seen[1] or seen[2])):
                out[0, j, i] = -1
            if not (low_lithium and seen[2]):
                out[1, j, i] = -1
            if not (high_lithium and seen[2]):
                out[2, j, i] = -1
            if not (seen[4] and (seen[3] or seen[2])):
                out[3, j, i] = -1
    return out
