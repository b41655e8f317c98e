"""Connected pieces of a volume larger than memory: labeled slab by slab, joined across slabs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from operando.morphometry.interface import slab_planes, slabs

# Steps in the plane that join a voxel to one of the next plane, by connectivity.
STEPS = {
    6: ((0, 0),),
    18: ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)),
    26: tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)),
}


@dataclass(frozen=True)
class Found:
    """Per component of every slab: its counted voxels, whether it has contact, whether it touches an open face.

    ``firsts`` says where the components of each slab begin.
    """

    sizes: np.ndarray
    connected: np.ndarray
    open: np.ndarray
    firsts: list[int]

    def inactive(self, border: str) -> np.ndarray:
        """Components that count as inactive."""
        return ~self.connected & ~self.open if border == "unknown" else ~self.connected


@dataclass(frozen=True)
class Search:
    """Everything needed to find the lithium components of one scan, slab by slab.

    ``lithium``, ``fixed`` and ``free`` are tables over the 256 labels: what conducts, what is counted wherever
    it stands, what is counted where it is nearest to one of ``ends``. Surfaces are faces in voxels. Contact is
    made in the planes of ``collectors`` or, without any, in the electrodes' slabs.
    """

    scan: xr.DataArray
    lithium: np.ndarray
    fixed: np.ndarray
    free: np.ndarray
    ends: tuple[str, ...]
    collectors: tuple[str, ...] | None
    open: frozenset[str]
    electrode: int
    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray
    connectivity: int
    slab_voxels: int

    def label(self, slab: np.ndarray) -> np.ndarray:
        """Component numbers from 1 within one slab."""
        import cc3d

        members = self.lithium[slab].view(np.uint8)
        return cc3d.connected_components(members, connectivity=self.connectivity, out_dtype=np.uint32)

    def counted(self, slab: np.ndarray, start: int) -> np.ndarray:
        """Lithium on the side asked for."""
        result = self.fixed[slab]
        below = _centers(slab, start) < self.middle
        for end in self.ends:
            result |= self.free[slab] & (below if end == "low" else ~below)
        return result

    def touching(self, found: np.ndarray, planes: slice, faces: Iterable[str]) -> np.ndarray:
        """Which components of a slab hold a voxel in one of the faces of the field of view."""
        touch = np.zeros(int(found.max()) + 1, dtype=bool)
        for face in faces:
            dim, at = face[0], 0 if face[1] == "0" else -1
            if dim == "z" and (planes.start > 0 if at == 0 else planes.stop < self.scan.sizes["z"]):
                continue
            touch[np.take(found, at, axis="zyx".index(dim)).ravel()] = True
        return touch[1:]

    def rooted(self, found: np.ndarray, slab: np.ndarray, planes: slice) -> np.ndarray:
        """Which components of a slab are in contact: with a collector, or with the slab of an electrode."""
        if self.collectors is not None:
            return self.touching(found, planes, self.collectors)
        center = _centers(slab, planes.start)
        inside = (slab == self.electrode) & ((center < self.low) | (center > self.high))
        return np.bincount(found[inside], minlength=int(found.max()) + 1)[1:] > 0

    def components(self) -> Found:
        """The lithium components of the scan, numbered by slab."""
        sizes, roots, edges, pairs, firsts = [], [], [], [np.empty((0, 2), dtype=np.int64)], [0]
        last: np.ndarray | None = None
        for planes, slab in slabs(self.scan, slab_voxels=self.slab_voxels):
            found = self.label(slab)
            bins, first = int(found.max()) + 1, firsts[-1]
            sizes.append(np.bincount(found[self.counted(slab, planes.start)], minlength=bins)[1:].astype(np.int64))
            roots.append(self.rooted(found, slab, planes))
            edges.append(self.touching(found, planes, self.open))
            # Numbers over the whole scan are 64-bit; 0 stays "no lithium".
            top, bottom = (np.where(plane > 0, plane.astype(np.int64) + first, 0) for plane in (found[0], found[-1]))
            if last is not None:
                pairs.append(contacts(last, top, self.connectivity))
            last = bottom
            firsts.append(first + bins - 1)
        joined = joined_sets(firsts[-1], np.concatenate(pairs) - 1)
        connected, open_ = np.zeros(firsts[-1], dtype=bool), np.zeros(firsts[-1], dtype=bool)
        connected[joined[np.concatenate(roots)]] = True
        open_[joined[np.concatenate(edges)]] = True
        return Found(np.concatenate(sizes), connected[joined], open_[joined], firsts)

    def mask(self, chosen: np.ndarray, firsts: list[int]) -> Any:
        """Counted voxels whose component is chosen; lazy in slabs where the scan is lazy."""
        shares = [chosen[first:end] for first, end in pairwise(firsts)]
        if self.scan.chunks is None:
            walk = slabs(self.scan, slab_voxels=self.slab_voxels)
            return np.concatenate(
                [self.paint(slab, planes.start, share) for (planes, slab), share in zip(walk, shares, strict=True)]
            )
        import dask
        import dask.array as da

        thick, plane = slab_planes(self.scan, self.slab_voxels), self.scan.shape[1:]
        # As many slabs together as a chunk is thick, so that a chunk is decoded once or twice, not once a slab.
        together = max(1, self.scan.chunksizes["z"][0] // thick)
        lazy = []
        for first in range(0, len(shares), together):
            row = self.scan.data[first * thick : (first + together) * thick]
            painted = dask.delayed(self.paint_row)(row, first * thick, thick, shares[first : first + together])
            lazy.append(da.from_delayed(painted, shape=(row.shape[0], *plane), dtype=bool))
        return da.concatenate(lazy)

    def paint_row(self, row: np.ndarray, start: int, thick: int, shares: list[np.ndarray]) -> np.ndarray:
        """:meth:`paint` for the slabs of a row."""
        return np.concatenate(
            [self.paint(row[i * thick : (i + 1) * thick], start + i * thick, share) for i, share in enumerate(shares)]
        )

    def paint(self, slab: np.ndarray, start: int, chosen: np.ndarray) -> np.ndarray:
        """Mask of the counted voxels of one slab whose component is chosen."""
        return np.concatenate([[False], chosen])[self.label(slab)] & self.counted(slab, start)


def _centers(slab: np.ndarray, start: int) -> np.ndarray:
    return (np.arange(start, start + slab.shape[0]) + 0.5)[:, None, None]


def contacts(below: np.ndarray, above: np.ndarray, connectivity: int) -> np.ndarray:
    """Distinct pairs of component numbers that touch across two neighboring planes."""
    # Two numbers of one slab differ by less than 2^32: a pair fits one 64-bit key, which sorts much faster.
    lowest = (int(below.min(initial=np.iinfo(np.int64).max, where=below > 0)),
              int(above.min(initial=np.iinfo(np.int64).max, where=above > 0)))  # fmt: skip
    keys = []
    for dy, dx in STEPS[connectivity]:
        ny, nx = below.shape
        one = below[max(0, -dy) : ny - max(0, dy), max(0, -dx) : nx - max(0, dx)]
        other = above[max(0, dy) : ny + min(0, dy), max(0, dx) : nx + min(0, dx)]
        both = (one > 0) & (other > 0)
        key = ((one[both] - lowest[0]).astype(np.uint64) << np.uint64(32)) | (other[both] - lowest[1]).astype(np.uint64)
        keys.append(np.unique(key))
    key = np.unique(np.concatenate(keys))
    ends = (key >> np.uint64(32), key & np.uint64(0xFFFFFFFF))
    return np.stack([end.astype(np.int64) + low for end, low in zip(ends, lowest, strict=True)], axis=1)


def joined_sets(number: int, pairs: np.ndarray) -> np.ndarray:
    """Smallest member of the set that each of ``number`` elements ends in once all ``pairs`` are joined.

    Examples
    --------
    >>> joined_sets(5, np.array([[3, 1], [4, 3]])).tolist()
    [0, 1, 2, 1, 1]
    """
    parent = np.arange(number, dtype=np.int64)
    while True:
        ends = parent[pairs]
        open_ = ends[:, 0] != ends[:, 1]
        if not open_.any():
            return parent
        ends = np.sort(ends[open_], axis=1)
        np.minimum.at(parent, ends[:, 1], ends[:, 0])
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
