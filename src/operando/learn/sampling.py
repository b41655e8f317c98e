"""Windows of a volume around what a person annotated, and training patches out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from operando.core.blocks import iter_blocks
from operando.core.phases import UNLABELED
from operando.learn.normalization import normalized
from operando.learn.sections import PLANES, Sections, gather, mirrored, padded_extent, relative_depth

_BLOCK = 128
_PIXELS = 256**2  # of a window at most: slices larger than that are seen through several windows

_SHIFT = 0.1  # of the rows: largest shift of a patch along z
_DEPTH_JITTER = 0.1  # standard deviation of the gain and offset of the depth input
_DEPTH_DROPPED = 0.2  # share of patches without depth
_TONES = np.linspace(-3, 3, 601)  # normalized gray values of which a patch's tone curve is made
_KNOTS = np.linspace(-3, 3, 7)  # of them those where it is bent
_BEND = 0.1  # standard deviation of what is added there: phases are up to 10 % of the contrast off between cells


@dataclass(frozen=True)
class Window:
    """Part of one cross-section: gray of the slice and its neighbors, classes, depth of the rows."""

    scan: int
    plane: str
    gray: np.ndarray
    """float32 (2 * context + 1, rows, columns), normalized."""
    classes: np.ndarray
    """uint8 (rows, columns): index of the class, or 255."""
    depth: np.ndarray
    """float32 (rows,), from -1 to 1."""


@dataclass(frozen=True)
class AnnotationCounts:
    """Annotated voxels per scan, class and slice along each axis: what sampling needs to know."""

    along: tuple[np.ndarray, np.ndarray, np.ndarray]
    """int64 (t, 255, size of the axis) for z, y and x."""

    @property
    def per_scan(self) -> np.ndarray:
        """int64 (t, 255)."""
        return np.asarray(self.along[0].sum(axis=-1))


def count_annotations(annotations: Any) -> AnnotationCounts:
    """Count annotated voxels along each axis, one block at a time.

    Parameters
    ----------
    annotations : uint8 array or dask array, (t, z, y, x)
        255 = unlabeled.

    Examples
    --------
    >>> marks = np.full((1, 2, 3, 4), 255, np.uint8)
    >>> marks[0, 1, :, 2] = 7
    >>> counts = count_annotations(marks)
    >>> int(counts.per_scan[0, 7]), counts.along[2][0, 7].tolist()
    (3, [0, 0, 3, 0])
    """
    shape = annotations.shape
    along = tuple(np.zeros((shape[0], UNLABELED, size), np.int64) for size in shape[1:])
    for block in iter_blocks(shape, (1, _BLOCK, _BLOCK, _BLOCK)):
        values = np.asarray(annotations[block.core])[0]
        places = np.nonzero(values != UNLABELED)
        if places[0].size == 0:
            continue
        classes = values[places].astype(np.int64)
        for counts, place, where in zip(along, places, block.core[1:], strict=True):
            size = where.stop - where.start
            flat = np.bincount(classes * size + place, minlength=UNLABELED * size)
            counts[block.core[0].start, :, where] += flat.reshape(UNLABELED, size)
    return AnnotationCounts((along[0], along[1], along[2]))


def draw_windows(
    images: Any,
    annotations: Any,
    counts: AnnotationCounts,
    *,
    scans: Sequence[int],
    ids: Sequence[int],
    sections: Sections,
    scales: Mapping[int, tuple[float, float]],
    limit: int = 400,
    seed: int = 0,
) -> list[Window]:
    """Read the cross-sections that hold the most annotated voxels of each class.

    Parameters
    ----------
    images, annotations : arrays or dask arrays, (t, z, y, x)
    counts : AnnotationCounts
        Of ``annotations``.
    scans : sequence of int
        Scans to draw from.
    ids : sequence of int
        Label of each class, in the order of the network's outputs.
    sections : Sections
    scales : mapping of int to (float, float)
        Center and spread of each of these scans.
    limit : int
        Windows to draw at most; they bound the memory, ``4 * (2 * context + 1) * 65,536`` bytes each.
    seed : int

    Returns
    -------
    list of Window

    Notes
    -----
    A slice is drawn with a probability that grows with the square of its share of the annotated
    voxels of a class, so that whole annotated slices come before the slices that cross them in a
    line, and every class gets the same number of draws.
    """
    rng = np.random.default_rng([seed, 1])
    candidates = [(scan, plane) for scan in scans for plane in sections.planes]
    chosen: set[tuple[int, str, int]] = set()
    pools = []
    for number in ids:
        keys: list[tuple[int, str, int]] = []
        weights: list[np.ndarray] = []
        for scan, plane in candidates:
            per_slice = counts.along[PLANES[plane][2]][scan, number]
            filled = np.flatnonzero(per_slice)
            keys.extend((scan, plane, int(index)) for index in filled)
            weights.append(per_slice[filled].astype(float) ** 2)
        weight = np.concatenate(weights) if weights else np.zeros(0)
        if weight.size:
            order = rng.choice(weight.size, size=weight.size, replace=False, p=weight / weight.sum())
            pools.append([keys[i] for i in order])
    for rank in range(max(map(len, pools), default=0)):
        for pool in pools:
            if rank < len(pool) and len(chosen) < limit:
                chosen.add(pool[rank])
    windows: list[Window] = []
    lookup = np.full(256, UNLABELED, np.uint8)
    lookup[list(ids)] = np.arange(len(ids), dtype=np.uint8)
    for scan, plane, index in sorted(chosen):
        room = limit - len(windows)
        windows.extend(
            _windows_of_slice(
                images[scan], annotations[scan], scan, plane, index, lookup, sections, scales[scan], rng, room
            )
        )
    return windows


def _windows_of_slice(
    image: Any,
    annotation: Any,
    scan: int,
    plane: str,
    index: int,
    lookup: np.ndarray,
    sections: Sections,
    scale: tuple[float, float],
    rng: np.random.Generator,
    room: int,
) -> Iterator[Window]:
    """Windows that together cover the annotated part of one slice, at most four of them."""
    rows_axis, columns_axis, normal = PLANES[plane]
    place: list[Any] = [slice(None)] * 3
    place[normal] = index
    marks = np.asarray(annotation[tuple(place)])
    if rows_axis > columns_axis:
        marks = marks.T
    marks = lookup[marks]
    sizes = marks.shape
    extents = _window_extents(sizes, sections)
    slices = mirrored(np.arange(index - sections.context, index + sections.context + 1), image.shape[normal])
    for _ in range(min(4, room)):
        rows, columns = np.nonzero(marks != UNLABELED)
        if rows.size == 0:
            return
        pick = int(rng.integers(rows.size))
        at = [_start(int(p), size, extent) for p, size, extent in zip(
            (rows[pick], columns[pick]), sizes, extents, strict=True)]  # fmt: skip
        box = [
            np.arange(start, min(start + extent, size)) for start, extent, size in zip(at, extents, sizes, strict=True)
        ]
        indices: list[np.ndarray] = [slices, slices, slices]
        indices[rows_axis], indices[columns_axis] = box
        gray = gather(image, indices).transpose(normal, rows_axis, columns_axis)
        inside = np.ix_(*box)
        yield Window(scan, plane, normalized(gray, scale), marks[inside].copy(), relative_depth(box[0], sizes[0]))
        marks[inside] = UNLABELED


def _window_extents(sizes: Sequence[int], sections: Sections) -> tuple[int, int]:
    """Whole rows where a patch holds them; as many columns as the bound on pixels allows."""
    rows = min(sizes[0], max(sections.patch[0], 256 if sizes[0] > sections.patch[0] else 0))
    columns = min(sizes[1], max(sections.patch[1], _PIXELS // max(rows, 1)))
    return rows, columns


def _start(center: int, size: int, extent: int) -> int:
    return int(np.clip(center - extent // 2, 0, max(size - extent, 0)))


class PatchSampler:
    """Draws class-balanced, augmented training patches from windows.

    Parameters
    ----------
    windows : list of Window
    classes : int
    sections : Sections
    seed : int

    Notes
    -----
    Every class is as likely as any other to be at the patch's annotated anchor. Mirrors along x and
    along y, and their exchange, are symmetries of a cell and all that is used; a mirror along z is
    not, since the two electrodes differ. Gray is jittered in gain, offset and noise, and depth a little, so that the
    network leans on neither alone.
    """

    def __init__(self, windows: list[Window], *, classes: int, sections: Sections, seed: int) -> None:
        self._windows, self._sections = windows, sections
        self._rng = np.random.default_rng([seed, 2])
        counts = np.array([np.bincount(w.classes[w.classes != UNLABELED], minlength=classes) for w in windows])
        self.voxels_per_class: np.ndarray = counts.sum(axis=0)
        self._classes = np.flatnonzero(self.voxels_per_class)
        self._chances = {int(c): counts[:, c] / counts[:, c].sum() for c in self._classes}
        sizes = np.array([w.classes.shape for w in windows]).max(axis=0)
        self._extent = tuple(
            padded_extent(int(size), patch, sections.factor) for size, patch in zip(sizes, sections.patch, strict=True)
        )

    def fractions(self, patches: int = 128) -> np.ndarray:
        """Share of each class among the annotated voxels of drawn patches: what training takes for granted."""
        _, classes = self.batch(patches)
        counts = np.bincount(classes[classes != UNLABELED], minlength=self.voxels_per_class.size)
        return np.asarray(counts / counts.sum())

    def sparsity(self) -> float:
        """Share of unlabeled voxels in the windows where annotations are: near 0 for whole slices."""
        known = np.array([np.count_nonzero(w.classes != UNLABELED) for w in self._windows], dtype=float)
        sizes = np.array([w.classes.size for w in self._windows])
        return float(1 - (known * known / sizes).sum() / known.sum())

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Gray (n, channels, rows, columns) float32 and classes (n, rows, columns) uint8."""
        gray = np.empty((size, self._sections.in_channels, *self._extent), np.float32)
        classes = np.empty((size, *self._extent), np.uint8)
        for i in range(size):
            self._fill(gray[i], classes[i])
        return gray, classes

    def _fill(self, gray: np.ndarray, classes: np.ndarray) -> None:
        rng, width = self._rng, 2 * self._sections.context + 1
        wanted = int(rng.choice(self._classes))
        window = self._windows[int(rng.choice(len(self._windows), p=self._chances[wanted]))]
        anchors = np.flatnonzero(window.classes == wanted)
        anchor = np.unravel_index(int(rng.choice(anchors)), window.classes.shape)
        rows, columns = (
            self._start(int(place), size, extent, vertical=axis == 0 and window.plane != "yx") + np.arange(extent)
            for axis, (place, size, extent) in enumerate(zip(anchor, window.classes.shape, self._extent, strict=True))
        )
        from_rows = mirrored(rows, window.classes.shape[0])[:, None]
        from_columns = mirrored(columns, window.classes.shape[1])[None]
        gray[:width] = window.gray[:, from_rows, from_columns]
        classes[:] = window.classes[from_rows, from_columns]
        if window.plane != "yx":
            classes[(rows < 0) | (rows >= window.classes.shape[0])] = UNLABELED
        if rng.random() < 0.5:
            gray[:width] = gray[:width, :, ::-1].copy()
            classes[:] = classes[:, ::-1].copy()
        if window.plane != "yx" and rng.random() < 0.5:
            gray[:width] = gray[:width][::-1].copy()
        if window.plane == "yx" and rng.random() < 0.5:
            gray[:width] = gray[:width, ::-1].copy()
            classes[:] = classes[::-1].copy()
        # In the plane of the electrodes, or across a roll, x and y are alike.
        if window.plane == "yx" and classes.shape[0] == classes.shape[1] and rng.random() < 0.5:
            gray[:width] = gray[:width].transpose(0, 2, 1).copy()
            classes[:] = classes.T.copy()
        # Looked up in a table, which is five times as fast as interpolating every voxel.
        bend = np.interp(_TONES, _KNOTS, _BEND * rng.normal(size=_KNOTS.size)).astype(np.float32)
        gray[:width] += bend[((np.clip(gray[:width], -3, 3) + 3) * np.float32(100)).astype(np.int32)]
        gain, offset = 1 + 0.08 * rng.normal(), 0.15 * rng.normal()
        gray[:width] *= np.float32(gain)
        gray[:width] += np.float32(offset)
        if rng.random() < 0.5:
            gray[:width] += np.float32(0.2 * rng.random()) * rng.standard_normal(gray[:width].shape, dtype=np.float32)
        if self._sections.depth:
            step = window.depth[1] - window.depth[0]
            depth = (window.depth[0] + step * rows) * (1 + _DEPTH_JITTER * rng.normal()) + _DEPTH_JITTER * rng.normal()
            if rng.random() < _DEPTH_DROPPED:
                depth = np.zeros_like(depth)
            gray[width] = depth.astype(np.float32)[:, None]

    def _start(self, anchor: int, size: int, extent: int, *, vertical: bool) -> int:
        """First voxel of a patch along one axis, such that the anchor is in it.

        A patch may reach over the edge of its window, where the window is mirrored: if it could not, a
        network would soon know every slice by heart from the distance to its border.
        """
        if not vertical:
            start = anchor - int(self._rng.integers(extent))
            return int(np.clip(start, -(extent // 2), max(size - extent, 0) + extent // 2))
        low, high = max(0, anchor - extent + 1), min(anchor, max(size - extent, 0))
        start = int(self._rng.integers(low, high + 1)) if low <= high else 0
        reach = round(_SHIFT * size)
        shift = int(self._rng.integers(-reach, reach + 1))
        return int(np.clip(start + shift, anchor - extent + 1, anchor))
