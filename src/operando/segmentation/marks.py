"""Marks for an annotation log: points, strokes, polygons, masks, and what a label image adds to one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.blocks import iter_blocks
from operando.core.errors import AxesError, InputError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.io import Mark
from operando.io.annotation_log import PLANES

_BLOCK = 128  # edge of the blocks in which label images are read
_HELD_BYTES = 2**28  # of cross-sections that are held at a time


def mark_mask(
    mask: np.ndarray, *, phase: str | None, plane: str, index: int, scan: int = 0, tool: str = "section"
) -> Mark:
    """Mark the voxels of one plane that a mask covers.

    Parameters
    ----------
    mask : ndarray of bool, (rows, columns)
        The whole plane.
    phase : str or None
        Name of the phase; None erases.
    plane : {"zx", "zy", "yx"}
        Dims of rows and columns.
    index : int
        Voxel along the normal.
    scan : int
    tool : str
        What is written in the log about how it was drawn.

    Returns
    -------
    Mark

    Examples
    --------
    >>> mask = np.array([[False, True, True], [True, False, False]])
    >>> mark = mark_mask(mask, phase="pit", plane="yx", index=0)
    >>> mark.runs.tolist(), mark.voxels
    ([[1, 2], [3, 1]], 3)
    """
    covered = np.asarray(mask, dtype=bool)
    if plane not in PLANES:
        raise InputError(f"mark_mask: there is no plane {plane!r}. {nearest(str(plane), PLANES)}")
    if covered.ndim != 2 or not covered.any():
        raise InputError(
            f"mark_mask: a plane of which at least one voxel is covered is needed, got the shape {covered.shape} with "
            f"{int(covered.sum())}. Draw inside of the image."
        )
    steps = np.diff(np.pad(covered, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    first, last = np.nonzero(steps == 1), np.nonzero(steps == -1)
    runs = np.stack([first[0] * covered.shape[1] + first[1], last[1] - first[1]], axis=1).astype(np.int64)
    return Mark(phase=phase, plane=plane, index=int(index), runs=runs, scan=int(scan), tool=tool)


def mark_points(
    like: xr.DataArray, positions: Any, *, phase: str | None, scan: int = 0, plane: str = "yx"
) -> list[Mark]:
    """Mark single voxels.

    Parameters
    ----------
    like : DataArray, dims ([t], [z], y, x)
        The image.
    positions : array of int, (n, 3) or (n, 2)
        Voxels (z, y, x), or (y, x) of an image without z.
    phase : str or None
        None erases.
    scan : int
    plane : str
        In which plane they are noted; the voxels are the same.

    Returns
    -------
    list of Mark
        One per plane that holds a point.

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((2, 3, 4)), dims=("z", "y", "x"))
    >>> [mark.runs.tolist() for mark in mark_points(image, [(0, 1, 2), (0, 2, 0)], phase="pit")]
    [[[6, 1], [8, 1]]]
    """
    sizes = _sizes(like, plane, "mark_points")
    at = np.atleast_2d(np.asarray(positions, dtype=np.int64))
    if at.shape[1] == 2 and "z" not in like.dims:
        at = np.column_stack([np.zeros(len(at), np.int64), at])
    if at.shape[1] != 3 or (at < 0).any() or (at >= [sizes[dim] for dim in SPACE]).any():
        raise InputError(
            f"mark_points: positions must be voxels (z, y, x) inside of {sizes}, got {np.asarray(positions).tolist()}. "
            "Count voxels from 0."
        )
    rows, columns = (SPACE.index(dim) for dim in plane)
    along = at[:, SPACE.index(PLANES[plane])]
    marks = []
    for index in np.unique(along):
        mask = np.zeros([sizes[dim] for dim in plane], dtype=bool)
        inside = at[along == index]
        mask[inside[:, rows], inside[:, columns]] = True
        marks.append(mark_mask(mask, phase=phase, plane=plane, index=int(index), scan=scan, tool="point"))
    return marks


def mark_stroke(
    like: xr.DataArray,
    path: Any,
    *,
    phase: str | None,
    index: int,
    plane: str = "zx",
    scan: int = 0,
    width: float = 2.0,
) -> Mark:
    """Mark what a pen covers on its way.

    Parameters
    ----------
    like : DataArray, dims ([t], [z], y, x)
        The image.
    path : array of float, (n, 2)
        Row and column in voxels of each point of the way, which is straight between them.
    phase : str or None
        None erases.
    index : int
        Voxel along the plane's normal.
    plane : {"zx", "zy", "yx"}
    scan : int
    width : float
        Of the pen in voxels: voxels whose center is within half of it, and those on the way.

    Returns
    -------
    Mark

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((3, 1, 6)), dims=("z", "y", "x"))
    >>> mark_stroke(image, [(1, 1), (1, 4)], phase="pit", index=0, width=1).runs.tolist()
    [[7, 4]]
    """
    sizes = _sizes(like, plane, "mark_stroke")
    points = _vertices(path, 1, "mark_stroke")
    mask = np.zeros([sizes[dim] for dim in plane], dtype=bool)
    reach = max(float(width) / 2, 0.5)
    if len(points) == 1:
        points = np.repeat(points, 2, axis=0)
    for start, stop in pairwise(points):
        low = np.maximum(np.floor(np.minimum(start, stop) - reach).astype(int), 0)
        high = np.ceil(np.maximum(start, stop) + reach).astype(int) + 1
        part = mask[low[0] : max(high[0], 0), low[1] : max(high[1], 0)]
        row, column = np.indices(part.shape)
        away = np.stack([row + low[0] - start[0], column + low[1] - start[1]], axis=-1)
        way = stop - start
        share = np.clip(away @ way / max(float(way @ way), 1e-12), 0, 1)
        part |= ((away - share[..., None] * way) ** 2).sum(axis=-1) <= reach**2 + 1e-9
    return mark_mask(mask, phase=phase, plane=plane, index=index, scan=scan, tool="stroke")


def mark_polygon(
    like: xr.DataArray, vertices: Any, *, phase: str | None, index: int, plane: str = "zx", scan: int = 0
) -> Mark:
    """Mark the inside of a polygon, its border included.

    Parameters
    ----------
    like : DataArray, dims ([t], [z], y, x)
        The image.
    vertices : array of float, (n, 2)
        Row and column of each corner in voxels, at least three.
    phase, index, plane, scan
        As in :func:`mark_stroke`.

    Returns
    -------
    Mark

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((4, 1, 4)), dims=("z", "y", "x"))
    >>> mark_polygon(image, [(0, 0), (0, 2), (2, 2), (2, 0)], phase="pit", index=0).voxels
    9
    """
    from skimage.draw import polygon, polygon_perimeter

    sizes = _sizes(like, plane, "mark_polygon")
    corners = _vertices(vertices, 3, "mark_polygon")
    mask = np.zeros([sizes[dim] for dim in plane], dtype=bool)
    mask[polygon(corners[:, 0], corners[:, 1], mask.shape)] = True
    mask[polygon_perimeter(np.rint(corners[:, 0]), np.rint(corners[:, 1]), mask.shape, clip=False)] = True
    return mark_mask(mask, phase=phase, plane=plane, index=index, scan=scan, tool="polygon")


def marks_of(
    labels: xr.DataArray,
    *,
    phases: PhaseScheme | Mapping[str, int],
    before: xr.DataArray | None = None,
    erase: bool = False,
) -> Iterator[Mark]:
    """Marks that turn what a log says into a label image.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], [z], y, x)
        255 = unlabeled; may be lazy.
    phases : PhaseScheme or mapping of str to int
    before : DataArray of uint8, optional
        What the log says already, as :func:`operando.io.replay` gives it. Only what differs is marked.
    erase : bool
        Whether what is unlabeled here and labeled before is erased. Otherwise it stays.

    Yields
    ------
    Mark
        One per scan, plane and phase, in the planes of which fewest differ.

    Notes
    -----
    Reads every block twice or, where more than 256 MB of a scan differ, more often. Holds 256 MB of cross-sections.

    Examples
    --------
    >>> labels = xr.DataArray(np.full((4, 3, 5), 255, np.uint8), dims=("z", "y", "x"))
    >>> labels[:, 1] = 0
    >>> [(mark.plane, mark.index, mark.phase, mark.voxels) for mark in marks_of(labels, phases={"electrolyte": 0})]
    [('zx', 1, 'electrolyte', 20)]
    """
    scheme = PhaseScheme.of(phases)
    require_dims(labels, ("y", "x"), optional=("t", "z"), where="marks_of")
    if labels.dtype != np.uint8:
        raise InputError(f"marks_of: a label image is uint8, got {labels.dtype}. Convert it with .astype('uint8').")
    scheme.check(labels, where="marks_of")
    if before is not None and dict(before.sizes) != dict(labels.sizes):
        raise AxesError(
            f"marks_of: before must have the sizes of the labels {dict(labels.sizes)}, got {dict(before.sizes)}. "
            "Replay the log of the same image."
        )
    now, then = _series(labels), None if before is None else _series(before)
    shape = now.shape[1:]
    names = dict(zip(scheme.ids, scheme.names, strict=True))
    for scan in range(now.shape[0]):
        plane, filled = _fewest(now, then, scan, erase)
        axes = [SPACE.index(dim) for dim in (PLANES[plane], *plane)]
        rows, columns = shape[axes[1]], shape[axes[2]]
        step = max(1, _HELD_BYTES // (rows * columns))
        for begin in range(0, len(filled), step):
            chosen = filled[begin : begin + step]
            held = np.full((len(chosen), rows, columns), UNLABELED, np.uint8)
            gone = np.zeros(held.shape, bool) if erase else None
            for core, new, changed in _changes(now, then, scan, erase):
                normal, *inside = (core[axis] for axis in axes)
                here = np.flatnonzero((chosen >= normal.start) & (chosen < normal.stop))
                if not here.size:
                    continue
                at = chosen[here] - normal.start
                fresh, other = (part.transpose(axes)[at] for part in (new, changed))
                held[np.ix_(here, *(np.arange(part.start, part.stop) for part in inside))] = np.where(
                    other, fresh, UNLABELED
                )
                if gone is not None:
                    gone[np.ix_(here, *(np.arange(part.start, part.stop) for part in inside))] = other & (
                        fresh == UNLABELED
                    )
            for place, index in enumerate(chosen):
                for number in np.setdiff1d(np.unique(held[place]), [UNLABELED]):
                    yield mark_mask(
                        held[place] == number,
                        phase=names[int(number)],
                        plane=plane,
                        index=int(index),
                        scan=scan,
                        tool="import",
                    )
                if gone is not None and gone[place].any():
                    yield mark_mask(gone[place], phase=None, plane=plane, index=int(index), scan=scan, tool="import")


def _changes(now: Any, then: Any, scan: int, erase: bool) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Region, labels and what of them is to be marked, block by block."""
    for block in iter_blocks(now.shape[1:], (_BLOCK,) * 3):
        new = np.asarray(now[(scan, *block.core)])
        old = np.asarray(then[(scan, *block.core)]) if then is not None else np.full_like(new, UNLABELED)
        changed = new != old
        if not erase:
            changed &= new != UNLABELED
        if changed.any():
            yield block.core, new, changed


def _fewest(now: Any, then: Any, scan: int, erase: bool) -> tuple[str, np.ndarray]:
    """The plane of which fewest cross-sections differ, and which do."""
    differ = [np.zeros(size, bool) for size in now.shape[1:]]
    for core, _, changed in _changes(now, then, scan, erase):
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            differ[axis][core[axis]] |= changed.any(axis=others)
    plane = min(PLANES, key=lambda name: int(differ[SPACE.index(PLANES[name])].sum()))
    return plane, np.flatnonzero(differ[SPACE.index(PLANES[plane])])


def _series(labels: xr.DataArray) -> Any:
    data = labels.transpose(*(dim for dim in ("t", *SPACE) if dim in labels.dims)).data
    for axis, dim in enumerate(("t", *SPACE)):
        if dim not in labels.dims:
            data = data[(slice(None),) * axis + (None,)]
    return data


def _sizes(like: xr.DataArray, plane: str, where: str) -> dict[str, int]:
    require_dims(like, ("y", "x"), optional=("t", "z"), where=where)
    if plane not in PLANES:
        raise InputError(f"{where}: there is no plane {plane!r}. {nearest(str(plane), PLANES)}")
    return {dim: like.sizes.get(dim, 1) for dim in SPACE}


def _vertices(path: Any, least: int, where: str) -> np.ndarray:
    points: np.ndarray = np.atleast_2d(np.asarray(path, dtype=float))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least or not np.isfinite(points).all():
        raise InputError(
            f"{where}: at least {least} points (row, column) in voxels are needed, got the shape {points.shape}. "
            "Give them as [(row, column), ...]."
        )
    return points
