"""Pores one by one: how large, how deep beneath the interface, how many."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import xarray as xr

from operando.core.axes import spacing, voxel_volume
from operando.core.errors import InputError
from operando.morphometry.boundaries import scan_coords
from operando.morphometry.components import STEPS, contacts, joined_sets
from operando.morphometry.interface import ENDS, SLAB_VOXELS, slabs
from operando.morphometry.porosity_counts import Layers, layers
from operando.morphometry.volume import Phases, passed_on, scans


def pores(
    labels: xr.DataArray,
    phases: Phases | None = None,
    *,
    pore: str = "pore",
    solid: str = "electrode",
    boundaries: xr.DataArray | None = None,
    connectivity: int = 26,
    min_voxels: int = 1,
    slab_voxels: int = SLAB_VOXELS,
) -> xr.Dataset:
    """Connected pores, each with its volume, diameter, position and depth beneath the local interface.

    Parameters
    ----------
    labels : DataArray of uint8 or bool, dims ([t], z, y, x), coordinates in um
        Phase ids, or a mask of the pores (then with ``boundaries``). May be lazy.
    phases : PhaseScheme or mapping, optional
        What the ids mean. Default: ``labels.attrs["phases"]``.
    pore, solid : str
        The pores and what they are in, as in :func:`porosity_profile`.
    boundaries : DataArray, dims ([t], component, y, x), units "um", optional
        Heights of the interfaces. Default: :func:`electrode_boundaries` of the labels.
    connectivity : {6, 18, 26}
        Whether voxels touch by faces, also edges, or also corners.
    min_voxels : int
        Pores of fewer voxels are left out.
    slab_voxels : int
        Voxels to hold at a time.

    Returns
    -------
    Dataset, dims (pore) and ([t], component)
        Per pore, ordered by scan, then by z, y, x (``.drop_dims(["component", "t"]).to_dataframe()``):

        - ``scan`` (number), ``side`` ("low", "high": the electrode; in a ceramic, the nearer interface)
        - ``voxels``, ``volume`` (um3), ``diameter`` (um): of the ball of equal volume
        - ``z``, ``y``, ``x`` (um): center of gravity
        - ``depth`` (um): mean of its voxels beneath the interface; ``gap`` (um): from the interface to the nearest of
          them, 0 for a pore that touches it
        - ``extent_y``, ``extent_x`` (um): edges of the box around it
        - ``border``: cut by the field of view, so that only a part is seen

        Per side, ``volume_searched`` (um3): pore and solid together.

    Raises
    ------
    InputError, AxesError, PhaseError, UnitsError
        Where the connectivity, a phase, the voxel size or an interface is not known.

    Notes
    -----
    .. math:: d = (6 V / \\pi)^{1/3}

    With 26 neighbors (the default) pores that touch at a corner are one, so that the lithium around them has the
    complementary 6; 6 neighbors split more. Pores are labeled slab by slab and joined across slabs with 64-bit
    numbers, so that volumes past 2^31 voxels work, and nothing depends on ``slab_voxels`` but memory: about 10 bytes
    per voxel of a slab, 150 per voxel of pore in it, 150 per pore, and a row of chunks of a lazy image. Where a column
    shows no interface, depth is measured from the median of the others.

    Pores of a few voxels are mostly noise: give ``min_voxels``. Pores that have merged into a layer count as one, whose
    diameter means little: look at ``extent_y`` and ``gap``.

    Examples
    --------
    Two pores of 1 and 2 voxels of 1 um3 in lithium above ceramic; the first touches the ceramic:

    >>> from operando.core.axes import labeled_image
    >>> image = np.ones((8, 3, 3), np.uint8)
    >>> image[:3] = 0
    >>> image[3, 0, 2] = image[5, 1, 1] = image[6, 1, 1] = 2
    >>> found = pores(labeled_image(image, voxel_size_um=1.0), {"electrolyte": 0, "electrode": 1, "pore": 2})
    >>> found["volume"].values.tolist(), found["depth"].values.tolist(), found["gap"].values.tolist()
    ([1.0, 2.0], [0.5, 3.0], [0.0, 2.0])
    >>> found["border"].values.tolist(), found["side"].values.tolist()
    ([True, False], ['high', 'high'])
    """
    where = "pores"
    if connectivity not in STEPS:
        raise InputError(f"{where}: connectivity must be 6, 18 or 26 neighbors, got {connectivity!r}. Choose one.")
    found = layers(labels, phases, pore=pore, solid=solid, boundaries=boundaries, where=where)
    step = spacing(found.labels, where=where)
    edges = np.array(list(step.values()))
    voxel = voxel_volume(found.labels, where=where)
    origin = np.array([float(found.labels[dim][0]) if dim in found.labels.coords else 0.0 for dim in step])
    pieces, numbers = [], []
    for t, scan in enumerate(scans(found.labels)):
        piece = _joined_pieces(scan, found, t, connectivity, slab_voxels)
        piece = piece.chosen(np.flatnonzero(piece.count >= min_voxels))
        piece = piece.chosen(np.lexsort((piece.sums / piece.count[:, None]).T[::-1]))
        pieces.append(piece)
        numbers.append(np.full(len(piece.count), t))
    every = _Pieces.concatenated(pieces)
    center = origin + edges * every.sums / every.count[:, None]
    extent = edges * (every.last - every.first + 1)
    volume = voxel * every.count
    columns = {
        "scan": (np.concatenate(numbers), "1"),
        "side": (np.array(ENDS)[(2 * every.high > every.count).astype(int)], "1"),
        "voxels": (every.count, "1"),
        "volume": (volume, "um3"),
        "diameter": ((6 / np.pi * volume) ** (1 / 3), "um"),
        "z": (center[:, 0], "um"),
        "y": (center[:, 1], "um"),
        "x": (center[:, 2], "um"),
        "depth": (every.depth / every.count, "um"),
        "gap": (np.maximum(every.nearest - step["z"] / 2, 0.0), "um"),
        "extent_y": (extent[:, 1], "um"),
        "extent_x": (extent[:, 2], "um"),
        "border": (every.border, "1"),
    }
    out = xr.Dataset({name: ("pore", values, {"units": unit}) for name, (values, unit) in columns.items()})
    searched = found.counts(width=2 * max(found.deepest, 1.0), bins=1, tiles=(1 << 30, 1 << 30)).sum(axis=(1, 3, 4, 5))
    timed = "t" in found.labels.dims
    out["volume_searched"] = xr.DataArray(
        voxel * (searched if timed else searched[0]),
        dims=("t", "component") if timed else ("component",),
        coords={"component": list(ENDS), **scan_coords(found.labels)},
        attrs={"units": "um3", "long_name": "Volume of pore and solid"},
    )
    field = [float(step[dim] * found.labels.sizes[dim]) for dim in ("y", "x")]
    first = [float(origin[k] - edges[k] / 2) for k in (1, 2)]
    attrs = {
        "connectivity": connectivity,
        "field_um": field,
        "field_start_um": first,
        "edges_um": edges[1:].tolist(),
        **passed_on(found.labels),
    }
    return out.assign_attrs(attrs)


@dataclass(frozen=True)
class _Pieces:
    """What is known of every connected piece: sums and bounds of voxel indices (n, 3), and of depths in um."""

    count: np.ndarray
    sums: np.ndarray
    first: np.ndarray
    last: np.ndarray
    depth: np.ndarray
    nearest: np.ndarray
    high: np.ndarray
    border: np.ndarray

    def chosen(self, which: np.ndarray) -> _Pieces:
        """Pieces of these numbers, in this order."""
        return _Pieces(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def concatenated(cls, parts: list[_Pieces]) -> _Pieces:
        """All pieces of several lists."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def joined(self, group: np.ndarray) -> _Pieces:
        """Pieces of one group each made into one."""
        _, to = np.unique(group, return_inverse=True)
        order = np.argsort(to, kind="stable")
        starts = np.flatnonzero(np.diff(to[order], prepend=-1))
        join = {"first": np.minimum, "last": np.maximum, "nearest": np.minimum, "border": np.logical_or}
        return _Pieces(
            *(
                join.get(field.name, np.add).reduceat(getattr(self, field.name)[order], starts)
                if starts.size
                else getattr(self, field.name)
                for field in fields(self)
            )
        )


def _joined_pieces(scan: xr.DataArray, found: Layers, t: int, connectivity: int, slab_voxels: int) -> _Pieces:
    import cc3d

    near = np.stack([np.where(np.isnan(height), np.nanmedian(height), height) if np.isfinite(height).any() else height
                     for height in found.near[t]])  # fmt: skip
    parts, pairs, first = [], [np.empty((0, 2), dtype=np.int64)], 0
    last: np.ndarray | None = None
    for planes, slab in slabs(scan, slab_voxels=slab_voxels):
        members = (found.kind[slab] == 0).view(np.uint8)
        numbered = cc3d.connected_components(members, connectivity=connectivity, out_dtype=np.uint32)
        parts.append(_measured(numbered, planes.start, scan.shape, near, found))
        top, bottom = (np.where(plane > 0, plane.astype(np.int64) + first, 0) for plane in (numbered[0], numbered[-1]))
        if last is not None and last.any() and top.any():
            pairs.append(contacts(last, top, connectivity))
        last = bottom
        first += len(parts[-1].count)
    return _Pieces.concatenated(parts).joined(joined_sets(first, np.concatenate(pairs) - 1))


def _measured(numbered: np.ndarray, start: int, shape: tuple[int, ...], near: np.ndarray, found: Layers) -> _Pieces:
    """Pieces of one slab whose first plane is ``start``."""
    flat = np.flatnonzero(numbered)
    flat = flat[np.argsort(numbered.ravel()[flat], kind="stable")]
    piece = numbered.ravel()[flat]
    starts = np.flatnonzero(np.diff(piece, prepend=0))
    index = np.stack(np.unravel_index(flat, numbered.shape), axis=1)
    index[:, 0] += start
    z, y, x = index.T
    depths = np.stack([sign * (found.centers[z] - height[y, x]) for sign, height in zip(found.sign, near, strict=True)])
    # Lithium lies beyond the interfaces, so that a voxel is beneath one of them; ceramic lies beneath both.
    depth = (np.fmax if found.into == "lithium" else np.fmin).reduce(depths)
    high = depths[1] == depth
    border = np.zeros(len(flat), dtype=bool)
    for axis, size in enumerate(shape):
        if size > 1:
            border |= (index[:, axis] == 0) | (index[:, axis] == size - 1)

    def per_piece(join: np.ufunc, values: np.ndarray) -> np.ndarray:
        return join.reduceat(values, starts) if starts.size else values[:0]

    return _Pieces(
        np.diff(starts, append=len(flat)).astype(np.int64),
        per_piece(np.add, index.astype(float)),
        per_piece(np.minimum, index),
        per_piece(np.maximum, index),
        per_piece(np.add, depth),
        per_piece(np.minimum, depth),
        per_piece(np.add, high.astype(np.int64)),
        per_piece(np.logical_or, border),
    )
