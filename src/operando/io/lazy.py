"""Arrays that stay in their file until a block of them is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from operando.core.errors import FileError, OperandoError

if TYPE_CHECKING:
    import dask.array

BLOCK_BYTES = 32 * 2**20
"""A lazy block holds about this many bytes, so that a thread's working set stays small."""

_TOTAL_LIMIT = 2**62
# A damaged header must not make us allocate the coordinates of an axis that no detector or stage has.
_AXIS_LIMIT = 2**26


class FileArray:
    """An array in a file of which any box can be read; the base of every reader's array.

    Parameters
    ----------
    path : Path
        The file, for messages.
    shape : sequence of int
        In the order of the file.
    dtype : dtype
        In native byte order: :meth:`read` converts.
    chunks : sequence of int
        Shape of the lazy blocks; a multiple of what the format decodes at once.
    stamp : Path, optional
        The file whose size and time tell whether it is still the one that was opened; default ``path``.

    Notes
    -----
    A subclass gives :meth:`read`. It opens the file by itself at each call and closes it again, which makes
    the array safe in threads and lets it travel to other processes. Whatever goes wrong in a read comes out
    as a :class:`FileError` that names the file and the box; a file that was replaced after it was opened is
    such an error too, because offsets from the old one would give wrong numbers.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        dtype: Any,
        *,
        chunks: Sequence[int],
        stamp: Path | None = None,
    ) -> None:
        self.path = path
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.chunks = tuple(int(n) for n in chunks)
        self.ndim = len(self.shape)
        if math.prod(self.shape) * self.dtype.itemsize > _TOTAL_LIMIT or max(self.shape, default=0) > _AXIS_LIMIT:
            raise FileError(
                f"{path}: the header claims {' x '.join(map(str, self.shape))} values, more than any image has. "
                "The header is damaged: write the file again."
            )
        self._stamp_path = stamp or path
        self._stamp = _stamp(self._stamp_path)

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read the box ``region`` (one slice with start, stop and step 1 per axis)."""
        raise NotImplementedError

    def __getitem__(self, index: Any) -> np.ndarray:
        region, after = _split(index, self.shape)
        try:
            if _stamp(self._stamp_path) != self._stamp:
                raise FileError(f"{self.path}: the file has changed since it was opened. Open it again.")
            block = self.read(region)
        except OperandoError:
            raise
        except MemoryError:
            size = math.prod(s.stop - s.start for s in region) * self.dtype.itemsize
            raise FileError(
                f"{self.path}: reading {_box(region)} takes {size / 2**30:.1f} GiB, which is not free. "
                "Convert the file to .zarr on a larger machine, or select a part of it."
            ) from None
        except Exception as error:
            raise FileError(
                f"{self.path}: {_box(region)} cannot be read ({type(error).__name__}: {_short(error)}). "
                "The file is damaged there: copy or export it again."
            ) from error
        for axis in reversed(range(len(after))):
            part = after[axis]
            if isinstance(part, np.ndarray):
                block = np.take(block, part, axis=axis)
            elif part != slice(None):
                block = block[(slice(None),) * axis + (part,)]
        return np.asarray(block, order="C")

    def to_dask(self, chunks: Sequence[int] | None = None) -> dask.array.Array:
        """Return the array as a Dask array that reads each block when it is computed."""
        import dask.array as da
        from dask.base import tokenize

        chunks = tuple(min(c, n) if n else 1 for c, n in zip(chunks or self.chunks, self.shape, strict=True))
        token = tokenize(type(self).__name__, self._token(), self.shape, str(self.dtype), self._stamp, chunks)
        _OPENED[f"image-{token}"] = self
        return da.from_array(
            self,
            chunks=chunks,
            name=f"image-{token}",
            asarray=False,
            inline_array=True,
            meta=np.empty((0,) * self.ndim, dtype=self.dtype),
        )

    def _token(self) -> Any:
        return str(self.path)


_OPENED: WeakValueDictionary[str, FileArray] = WeakValueDictionary()


def untouched(data: Any) -> FileArray | None:
    """Return the file behind a Dask array on which nothing has been computed yet.

    Such an array may be cut into other blocks at its source, which costs less memory than joining its own.
    """
    return _OPENED.get(str(getattr(data, "name", "")))


def grow_chunks(
    unit: Sequence[int], shape: Sequence[int], itemsize: int, *, target: int = BLOCK_BYTES
) -> tuple[int, ...]:
    """Multiply the smallest readable box along the last axes first until a block has about ``target`` bytes.

    Examples
    --------
    >>> grow_chunks((1, 100, 200), (50, 100, 200), 1, target=100_000)
    (5, 100, 200)
    """
    chunks = [max(1, min(u, n)) for u, n in zip(unit, shape, strict=True)]
    for axis in reversed(range(len(chunks))):
        size = math.prod(chunks) * itemsize
        times = min(target // max(1, size), math.ceil(shape[axis] / chunks[axis]))
        if times > 1:
            chunks[axis] = min(shape[axis], chunks[axis] * int(times))
    return tuple(chunks)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise FileError(f"{path}: the file cannot be reached ({error.strerror}). Has it been moved?") from error
    return status.st_size, status.st_mtime_ns


def _split(index: Any, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], list[Any]]:
    """Split an index into the smallest box to read, and what to pick out of the box."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [p for p in parts if not isinstance(p, np.ndarray)]:
        at = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    region: list[slice] = []
    after: list[Any] = []
    for part, size in zip(parts, shape, strict=True):
        if isinstance(part, slice):
            chosen = range(size)[part]
            if not chosen:
                region.append(slice(0, 0))
                after.append(slice(None))
                continue
            low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
            region.append(slice(low, high))
            after.append(slice(None, None, chosen.step) if chosen.step != 1 else slice(None))
        elif isinstance(part, int | np.integer):
            at = int(part) + (size if part < 0 else 0)
            region.append(slice(at, at + 1))
            after.append(0)
        else:
            wanted = np.asarray(part)
            wanted = np.flatnonzero(wanted) if wanted.dtype == bool else np.where(wanted < 0, wanted + size, wanted)
            low, high = (int(wanted.min()), int(wanted.max()) + 1) if wanted.size else (0, 0)
            region.append(slice(low, high))
            after.append(wanted - low)
    return tuple(region), after


def _box(region: tuple[slice, ...]) -> str:
    return "the block [" + ", ".join(f"{s.start}:{s.stop}" for s in region) + "]"


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
