"""Lithium that has lost its electrode, in volumes larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import voxel_volume
from operando.core.errors import InputError
from operando.morphometry.interface import (
    ENDS,
    SIDES,
    SLAB_VOXELS,
    electrode_faces,
    middle_face,
    plating_end,
    slab_planes,
    slabs,
)
from operando.morphometry.sides import fixed_and_free, lithium_phases
from operando.morphometry.volume import Phases, checked_labels, scans

# Steps in the plane that join a voxel to one of the next plane, by connectivity.
_STEPS = {
    6: ((0, 0),),
    18: ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)),
    26: tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)),
}


def inactive_lithium(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    side: str | None = "plating",
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
    connectivity: int = 6,
    slab_voxels: int = SLAB_VOXELS,
) -> xr.DataArray:
    """Volume of lithium that no path through lithium joins to an electrode ("dead" lithium).

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], z, y, x), coordinates in um
        Phase ids; ``z`` normal to the electrodes. May be lazy.
    phases : PhaseScheme or mapping of str to int
        What the ids mean.
    plating_side : {"low", "high"}, optional
        End of ``z`` that is plated on first charge. Default: ``labels.attrs["plating_side"]``.
    side : {"plating", "stripping"} or None
        Side of the cell to count on; None counts both.
    electrode, lithium, side_of
        As in :func:`lithium_by_side`.
    connectivity : {6, 18, 26}
        Whether voxels touch by faces, also edges, or also corners.
    slab_voxels : int
        Voxels to hold at a time.

    Returns
    -------
    DataArray of float64, dims ([t]), units "um3"

    Raises
    ------
    InputError, PhaseError, UnitsError
        Where the plating side, a phase, the voxel size or the connectivity is not known.

    Notes
    -----
    Lithium is connected where its component (through all lithium phases together) holds a voxel of an
    electrode's slab: electrode before its surface as :func:`electrode_surfaces` finds it. A speck labeled
    electrode inside the electrolyte is therefore no electrode.

    Components are labeled slab by slab and joined across slabs, with 64-bit numbers; the result does not
    depend on ``slab_voxels``. Memory: about 10 bytes per voxel of a slab (at least one plane), a row of
    chunks of a lazy image, three (y, x) maps and 24 bytes per component.

    Do not trust it below the resolution: a neck thinner than a voxel reads as a gap, and one wrong voxel
    opens or closes a contact. :func:`connectivity` 26 and 6 bracket the latter.

    Examples
    --------
    One voxel (1 um3) of dendrite floats above the deposit:

    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 2, 0, 3, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3}
    >>> inactive_lithium(labels, phases, plating_side="low").item()
    1.0
    """
    searches = _searches(labels, phases, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels)
    voxel = voxel_volume(labels, where="inactive_lithium")
    counts = []
    for search in searches:
        sizes, connected, _ = search.components()
        counts.append(int(sizes[~connected].sum()))
    attrs = {"units": "um3", "long_name": "Inactive lithium", "connectivity": connectivity}
    values = np.array(counts, dtype=float) * voxel
    if "t" not in labels.dims:
        return xr.DataArray(values[0], attrs=attrs)
    coords = {"t": labels.coords["t"]} if "t" in labels.coords else None
    return xr.DataArray(values, dims="t", coords=coords, attrs=attrs)


def inactive_mask(
    labels: xr.DataArray,
    phases: Phases,
    *,
    plating_side: str | None = None,
    side: str | None = "plating",
    electrode: str = "electrode",
    lithium: Sequence[str] | None = None,
    side_of: dict[str, str] | None = None,
    connectivity: int = 6,
    slab_voxels: int = SLAB_VOXELS,
) -> xr.DataArray:
    """Where the inactive lithium is.

    Parameters
    ----------
    labels, phases, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels
        As in :func:`inactive_lithium`.

    Returns
    -------
    DataArray of bool, dims ([t], z, y, x)
        Lazy, in rows of whole planes, where ``labels`` is lazy. The components are found at the call, at the
        memory of :func:`inactive_lithium`; computing a row labels it once more.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> labels = labeled_image(np.array([1, 2, 0, 3, 0, 1], np.uint8).reshape(6, 1, 1), voxel_size_um=1.0)
    >>> phases = {"electrolyte": 0, "electrode": 1, "deposited": 2, "dendrite": 3}
    >>> inactive_mask(labels, phases, plating_side="low").values.ravel().nonzero()[0].tolist()
    [3]
    """
    masks = []
    for search in _searches(labels, phases, plating_side, side, electrode, lithium, side_of, connectivity, slab_voxels):
        _, connected, firsts = search.components()
        masks.append(search.mask(~connected, firsts))
    _, ordered = checked_labels(labels, phases, where="inactive_mask")
    if ordered.chunks is None:
        data = np.stack(masks) if "t" in ordered.dims else masks[0]
    else:
        import dask.array as da

        data = da.stack(masks) if "t" in ordered.dims else masks[0]
    return ordered.copy(data=data).assign_attrs(units="1", long_name="Inactive lithium").rename(None)


def _searches(
    labels: xr.DataArray,
    phases: Phases,
    plating_side: str | None,
    side: str | None,
    electrode: str,
    lithium: Sequence[str] | None,
    side_of: dict[str, str] | None,
    connectivity: int,
    slab_voxels: int,
) -> Iterator[_Search]:
    where = "inactive_lithium"
    if connectivity not in _STEPS:
        raise InputError(f"{where}: connectivity must be 6, 18 or 26 neighbors, got {connectivity!r}. Choose one.")
    if side not in (*SIDES, None):
        raise InputError(f"{where}: side must be 'plating', 'stripping' or None for both, got {side!r}. Choose one.")
    scheme, labels = checked_labels(labels, phases, where=where)
    fixed, free = fixed_and_free(labels, scheme, plating_side, lithium, side_of, where=where)
    plating = plating_end(labels, plating_side, where=where)
    ends = tuple(end for end in ENDS if side is None or (end == plating) == (side == "plating"))
    for scan in scans(labels):
        surfaces = electrode_faces(scan, scheme, electrode, where=where).compute()
        yield _Search(
            scan=scan,
            lithium=_table(scheme[name] for name in lithium_phases(scheme, lithium, where=where)),
            fixed=_table(number for end in ends for number in fixed[end]),
            free=_table(free),
            ends=ends,
            electrode=scheme[electrode],
            low=np.nan_to_num(surfaces.sel(component="low").values, nan=-np.inf),
            high=np.nan_to_num(surfaces.sel(component="high").values, nan=np.inf),
            middle=middle_face(surfaces),
            connectivity=connectivity,
            slab_voxels=slab_voxels,
        )


def _table(ids: Iterable[int]) -> np.ndarray:
    return np.isin(np.arange(256), list(ids))


@dataclass(frozen=True)
class _Search:
    """Everything needed to find the lithium components of one scan, slab by slab.

    ``lithium``, ``fixed`` and ``free`` are tables over the 256 labels: what conducts, what is counted wherever
    it stands, what is counted where it is nearest to one of ``ends``. Surfaces are faces in voxels.
    """

    scan: xr.DataArray
    lithium: np.ndarray
    fixed: np.ndarray
    free: np.ndarray
    ends: tuple[str, ...]
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

    def rooted(self, slab: np.ndarray, start: int) -> np.ndarray:
        """Voxels of the electrodes' slabs."""
        center = _centers(slab, start)
        return (slab == self.electrode) & ((center < self.low) | (center > self.high))

    def components(self) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Counted voxels of every component of every slab, whether it is joined to an electrode, where slabs begin."""
        sizes, roots, pairs, firsts = [], [], [np.empty((0, 2), dtype=np.int64)], [0]
        last: np.ndarray | None = None
        for planes, slab in slabs(self.scan, slab_voxels=self.slab_voxels):
            found = self.label(slab)
            bins, first = int(found.max()) + 1, firsts[-1]
            sizes.append(np.bincount(found[self.counted(slab, planes.start)], minlength=bins)[1:].astype(np.int64))
            roots.append(np.bincount(found[self.rooted(slab, planes.start)], minlength=bins)[1:] > 0)
            # Numbers over the whole scan are 64-bit; 0 stays "no lithium".
            top, bottom = (np.where(plane > 0, plane.astype(np.int64) + first, 0) for plane in (found[0], found[-1]))
            if last is not None:
                pairs.append(_contacts(last, top, self.connectivity))
            last = bottom
            firsts.append(first + bins - 1)
        joined = _components(firsts[-1], np.concatenate(pairs) - 1)
        connected = np.zeros(firsts[-1], dtype=bool)
        connected[joined[np.concatenate(roots)]] = True
        return np.concatenate(sizes), connected[joined], firsts

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


def _contacts(below: np.ndarray, above: np.ndarray, connectivity: int) -> np.ndarray:
    """Distinct pairs of component numbers that touch across two neighboring planes."""
    # Two numbers of one slab differ by less than 2^32: a pair fits one 64-bit key, which sorts much faster.
    lowest = (int(below.min(initial=np.iinfo(np.int64).max, where=below > 0)),
              int(above.min(initial=np.iinfo(np.int64).max, where=above > 0)))  # fmt: skip
    keys = []
    for dy, dx in _STEPS[connectivity]:
        ny, nx = below.shape
        one = below[max(0, -dy) : ny - max(0, dy), max(0, -dx) : nx - max(0, dx)]
        other = above[max(0, dy) : ny + min(0, dy), max(0, dx) : nx + min(0, dx)]
        both = (one > 0) & (other > 0)
        key = ((one[both] - lowest[0]).astype(np.uint64) << np.uint64(32)) | (other[both] - lowest[1]).astype(np.uint64)
        keys.append(np.unique(key))
    key = np.unique(np.concatenate(keys))
    ends = (key >> np.uint64(32), key & np.uint64(0xFFFFFFFF))
    return np.stack([end.astype(np.int64) + low for end, low in zip(ends, lowest, strict=True)], axis=1)


def _components(number: int, pairs: np.ndarray) -> np.ndarray:
    """Smallest member of the set that each of ``number`` elements ends in once all ``pairs`` are joined.

    Examples
    --------
    >>> _components(5, np.array([[3, 1], [4, 3]])).tolist()
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
