"""The label image that an annotation log describes, painted where it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE
from operando.core.errors import PhaseError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.io.annotation_log import PLANES, SERIES, AnnotationLog, Mark, check_grid, moment_of
from operando.io.lazy import _split

_BLOCK = 256  # edge of the lazy blocks


def replay(
    log: AnnotationLog,
    *,
    until: int | datetime | str | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    like: xr.DataArray | None = None,
) -> xr.DataArray:
    """Label image that a log describes, now or at any moment before.

    Parameters
    ----------
    log : AnnotationLog
        From :func:`read_log`.
    until : int, datetime or str, optional
        Number of the last mark that counts, or a time (UTC without a zone); marks made later are left out.
    phases : PhaseScheme or mapping of str to int, optional
        Numbers of the phases; default those of the log. Phases are matched by name.
    like : DataArray, optional
        The image it must belong to, whose coordinates the labels take.

    Returns
    -------
    DataArray of uint8, dims of the image
        255 where nobody labeled; lazy. ``attrs["phases"]`` holds the scheme.

    Raises
    ------
    AxesError, UnitsError, PhaseError
        Where the log belongs to another grid, or labels a phase that ``phases`` does not have.

    Notes
    -----
    Later marks win; a mark without phase makes voxels unlabeled again. Memory: the marks, and one byte per voxel of
    the blocks (256 voxels a side) that are being computed; a series of 26 GB is never allocated.

    Examples
    --------
    >>> import tempfile
    >>> from operando.io import Mark, append_marks, create_log, replay
    >>> image = xr.DataArray(np.zeros((4, 5), np.float32), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = create_log(f"{folder}/log.jsonl", like=image, phases={"electrolyte": 0, "electrode": 1})
    ...     row = Mark("electrode", "yx", 0, np.array([[5, 3]]))
    ...     log = append_marks(log.path, [row, Mark(None, "yx", 0, np.array([[6, 1]]))], who="Ada")
    >>> replay(log).values[1].tolist()
    [1, 255, 1, 255, 255]
    >>> replay(log, until=1).values[1].tolist()
    [1, 1, 1, 255, 255]
    """
    import dask.array as da
    from dask.base import tokenize

    if like is not None:
        check_grid(log, like)
    scheme = log.phases if phases is None else PhaseScheme.of(phases)
    missing = sorted({mark.phase for mark in log.marks if mark.phase is not None and mark.phase not in scheme})
    if missing:
        raise PhaseError(
            f"replay: every phase that {log.path} labels must be in the scheme {sorted(scheme)}, got also {missing}. "
            f"{nearest(missing[0], scheme)}"
        )
    marks = [mark for mark in log.marks if _before(mark, until)]
    ids = [UNLABELED if mark.phase is None else scheme[mark.phase] for mark in marks]
    shape = tuple(log.sizes[dim] for dim in SERIES)
    painted = _Painted(shape, marks, ids)
    token = tokenize(str(log.path), shape, ids, [(mark.number, mark.when) for mark in marks])
    lazy = da.from_array(
        painted,
        chunks=(1, *(min(_BLOCK, size) for size in shape[1:])),
        name=f"annotations-{token}",
        asarray=False,
        meta=np.empty((0,) * 4, np.uint8),
    ).reshape(log.shape)
    if like is not None:
        coords: Any = like.coords
    else:
        coords = {
            dim: (dim, step * np.arange(log.sizes[dim]), {"units": unit, "spacing": step})
            for dim, (step, unit) in log.voxel_size.items()
        }
    labels = xr.DataArray(lazy, dims=log.dims, coords=coords, name="labels")
    labels.attrs = {"units": "1", "long_name": "Phase", "phases": scheme}
    return labels


class _Painted:
    """The labels (t, z, y, x) of a log, of which any box can be read."""

    def __init__(self, shape: tuple[int, ...], marks: list[Mark], ids: list[int]) -> None:
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.uint8)
        sizes = dict(zip(SERIES, shape, strict=True))
        self._by_scan: dict[int, list[tuple[Mark, int, np.ndarray]]] = {}
        for mark, number in zip(marks, ids, strict=True):
            starts, lengths = np.asarray(mark.runs, np.int64).T
            row, first = np.divmod(starts, sizes[mark.plane[1]])
            self._by_scan.setdefault(mark.scan, []).append((mark, number, np.stack([row, first, first + lengths])))

    def __getitem__(self, index: Any) -> np.ndarray:
        region, after = _split(index, self.shape)
        block = np.full([part.stop - part.start for part in region], UNLABELED, np.uint8)
        for scan in range(region[0].start, region[0].stop):
            for mark, number, runs in self._by_scan.get(scan, ()):
                _paint(block[scan - region[0].start], region[1:], mark, number, runs)
        for axis in reversed(range(len(after))):
            part = after[axis]
            if isinstance(part, np.ndarray):
                block = np.take(block, part, axis=axis)
            elif part != slice(None):
                block = block[(slice(None),) * axis + (part,)]
        return block


def _paint(block: np.ndarray, region: tuple[slice, ...], mark: Mark, number: int, runs: np.ndarray) -> None:
    """Set what a mark covers in a block (z, y, x) of a scan."""
    rows, columns, normal = (SPACE.index(dim) for dim in (*mark.plane, PLANES[mark.plane]))
    if not region[normal].start <= mark.index < region[normal].stop:
        return
    row, first, last = runs
    inside = (row >= region[rows].start) & (row < region[rows].stop)
    inside &= (last > region[columns].start) & (first < region[columns].stop)
    low = np.maximum(first[inside], region[columns].start) - region[columns].start
    counts = np.minimum(last[inside], region[columns].stop) - region[columns].start - low
    # Position of each voxel in its run: a counter that begins anew with every run.
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    plane = np.moveaxis(block, normal, 0)[mark.index - region[normal].start]
    plane[np.repeat(row[inside] - region[rows].start, counts), np.repeat(low, counts) + within] = number


def _before(mark: Mark, until: int | datetime | str | None) -> bool:
    if until is None:
        return True
    if isinstance(until, int):
        return mark.number <= until
    return moment_of(mark.when) <= moment_of(until)
