"""Binary stack of aXis2000 (``.ncb``): bare 16-bit numbers, described by a text file (``.dat``) of the same name.

The text has the columns, rows and the factor by which values were multiplied; first and last x; first and last y;
the number of energies; one energy per line; then per image its name, energy and dwell time in ms. The numbers are
little-endian integers of 16 bits, x fastest, then y, then energy. A file of twice that length holds 32-bit floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from operando.core.errors import FileError
from operando.io.lazy import FileArray, grow_chunks
from operando.io.reader import Dataset, StoredImage, Verdict
from operando.io.stk import assembled

_LARGEST = 2**20
_LONGEST = 2**24


class NcbReader:
    """Reader of ``.ncb`` stacks; the ``.dat`` beside may be named too."""

    name = "ncb"
    suffixes = (".ncb",)

    def can_open(self, path: Path) -> Verdict:
        """Look for the description beside the values."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and an .ncb stack is two files")
        values, text = _pair(path)
        if values is None:
            return Verdict(False, "an .ncb stack ends in .ncb, or in .dat with the .ncb beside it")
        if text is None:
            return Verdict(
                False,
                f"an .ncb holds bare values, and there is no {path.stem}.dat that describes them: copy both files",
            )
        try:
            _describe(text)
        except FileError as error:
            return Verdict(False, f"{text.name} beside it {str(error).removeprefix(f'{text}: ').rstrip('.')}")
        return Verdict(True)

    def datasets(self, path: Path) -> list[Dataset]:
        """Return an empty list: a file holds one stack."""
        return []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Read the description and compare it with the length of the values."""
        values, text = _pair(path)
        if values is None or text is None:
            raise FileError(f"{path}: {self.can_open(path).reason}.")
        about = _describe(text)
        shape = (about.energies.size, about.rows, about.columns)
        count = math.prod(shape)
        size = values.stat().st_size
        kinds: dict[int, np.dtype] = {2 * count: np.dtype("<i2"), 4 * count: np.dtype("<f4")}
        if size not in kinds:
            raise FileError(
                f"{values}: {shape[0]} images of {shape[1]} x {shape[2]} values take {2 * count} bytes (16-bit) as "
                f"{text.name} says, but the file has {size}. It is truncated or has another description: copy both."
            )
        y = np.linspace(*about.y, about.rows)
        x = np.linspace(*about.x, about.columns)
        stored = assembled(NcbValues(values, shape, kinds[size], about.scale), y, x, about.energies, about.dwell)
        if size == 4 * count:
            stored.notes = [*stored.notes, "The values take 4 bytes each and were read as 32-bit floats."]
        return stored


class NcbValues(FileArray):
    """Integers that a factor turns into values, mapped into memory for the time of one read."""

    def __init__(self, path: Path, shape: Sequence[int], stored: np.dtype, scale: float) -> None:
        self._stored = stored
        self._scale = scale
        unit = [*([1] * (len(shape) - 1)), *shape[-1:]]
        super().__init__(path, shape, np.float32, chunks=grow_chunks(unit, shape, 4))

    def _token(self) -> Any:
        return str(self.path), self._stored.str, self._scale

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Copy a box out of the mapped file and divide it by the factor."""
        mapped = np.memmap(self.path, dtype=self._stored, mode="r", shape=self.shape)
        return (mapped[region].astype(float) / self._scale).astype(np.float32)


class _Description(NamedTuple):
    columns: int
    rows: int
    scale: float
    x: tuple[float, float]
    y: tuple[float, float]
    energies: np.ndarray
    dwell: np.ndarray


def _pair(path: Path) -> tuple[Path | None, Path | None]:
    """The values and their description, whichever of the two was named."""
    names = {"ncb": path.suffix.lower() == ".ncb", "dat": path.suffix.lower() == ".dat"}
    if names["ncb"]:
        return path, _beside(path, ".dat")
    return (_beside(path, ".ncb"), path) if names["dat"] else (None, None)


def _beside(path: Path, suffix: str) -> Path | None:
    candidates = [path.with_suffix(suffix), path.with_suffix(suffix.upper())]
    return next((c for c in candidates if c.is_file()), None)


def _describe(text: Path) -> _Description:
    if text.stat().st_size > _LONGEST:
        raise FileError(f"{text}: is too long for the description of an .ncb stack.")
    lines = [line.split() for line in text.read_bytes().decode("latin-1").splitlines() if line.strip()]

    def numbers(row: int, count: int, what: str) -> list[float]:
        try:
            found = [float(word) for word in lines[row][:count]]
        except (IndexError, ValueError):
            found = []
        if len(found) != count or not np.all(np.isfinite(found)):
            got = repr(" ".join(lines[row])[:40]) if row < len(lines) else "the end of the file"
            raise FileError(f"{text}: line {row + 1} must have {what}, got {got}. Copy or export it again.")
        return found

    columns, rows, scale = numbers(0, 3, "columns, rows and the factor of the values")
    x, y = numbers(1, 2, "first and last x"), numbers(2, 2, "first and last y")
    (count,) = numbers(3, 1, "the number of energies")
    if not all(0 < n < _LARGEST and n == int(n) for n in (columns, rows, count)) or scale == 0:
        raise FileError(f"{text}: sizes must be whole and the factor not 0, got {lines[0]} and {count:g} energies.")
    total = int(count)
    energies = np.array([numbers(4 + i, 1, f"energy {i + 1} of {total}")[0] for i in range(total)])
    dwell = np.full(total, np.nan)
    for i, words in enumerate(lines[4 + total : 4 + 2 * total]):
        try:
            dwell[i] = float(words[-1])
        except ValueError:
            break
    return _Description(int(columns), int(rows), scale, (x[0], x[1]), (y[0], y[1]), energies, dwell)
