"""The images of STXM_Control (``.xim``): text matrices, one value per pixel, one line per row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError
from operando.io.lazy import FileArray
from operando.io.reader import StoredImage


def lone_matrix(path: Path) -> StoredImage:
    """The image of a matrix that no header describes."""
    values = _matrix(path)
    if not path.read_bytes().endswith((b"\n", b"\r")):
        raise FileError(f"{path}: ends in the middle of a row. It is truncated: copy it again.")
    note = f"There is no header {path.stem}.hdr: positions, energy and dwell are not known."
    return StoredImage(
        XimStack(path, [path], values.shape, stacked=False), ("y", "x"), name="counts", attrs={"units": "counts"},
        notes=[note],
    )  # fmt: skip


def _matrix(path: Path) -> np.ndarray:
    text = path.read_bytes()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        counted = f"{min(lengths)} to {max(lengths)}" if lengths else "no"
        raise FileError(f"{path}: every row must have as many values, got {counted}. It is truncated: copy it again.")
    before = rows[-1][-2:-1] or rows[0][:1]
    if not text.endswith((b"\n", b"\r")) and _decimals(rows[-1][-1]) < _decimals(before[0]):
        raise FileError(f"{path}: ends in the middle of its last number. It is truncated: copy it again.")
    try:
        return np.array(rows, dtype=float)
    except ValueError as error:
        raise FileError(f"{path}: must hold numbers only ({error}). Copy it again.") from None


def _decimals(word: bytes) -> int:
    return len(word.partition(b".")[2])


class XimStack(FileArray):
    """Text matrices, one per energy, each read when its block is computed.

    Parameters
    ----------
    path : Path
        The header, for messages.
    files : sequence of Path or None
        One per energy; None reads as NaN.
    shape : (int, int)
        Rows and columns of each matrix.
    stacked : bool
        Whether energy is an axis.
    """

    def __init__(self, path: Path, files: Sequence[Path | None], shape: Sequence[int], *, stacked: bool) -> None:
        self._files = [None if file is None else (file, _stamp(file)) for file in files]
        self._stacked = stacked
        whole = (len(files), *shape) if stacked else tuple(shape)
        super().__init__(path, whole, np.float64, chunks=(1, *shape) if stacked else tuple(shape))

    def _token(self) -> Any:
        return str(self.path), [None if f is None else (str(f[0]), f[1]) for f in self._files]

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Parse the matrices of a box; a text matrix has to be parsed whole."""
        box = region if self._stacked else (slice(0, 1), *region)
        planes = [self._plane(file)[box[1:]] for file in self._files[box[0]]]
        out = np.array(planes, dtype=float).reshape([s.stop - s.start for s in box])
        return out if self._stacked else out[0]

    def _plane(self, file: tuple[Path, tuple[int, int]] | None) -> np.ndarray:
        shape = self.shape[-2:]
        if file is None:
            return np.full(shape, np.nan)
        place, stamp = file
        if _stamp(place) != stamp:
            raise FileError(f"{place}: the file has changed since it was opened. Open it again.")
        values = _matrix(place)
        if values.shape != shape:
            rows, columns = values.shape
            raise FileError(
                f"{place}: must have {shape[0]} rows of {shape[1]} values as {self.path.name} says, got {rows} of "
                f"{columns}. It is truncated or belongs to another scan: copy it again."
            )
        return values


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
