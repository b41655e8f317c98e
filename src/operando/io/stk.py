"""Binary stack of the X1A microscopes (``.stk``): sizes, positions, energies, dwell times, then the images.

All numbers are big-endian as in XDR: three 32-bit integers (columns, rows, energies); as 32-bit floats the x
positions, the y positions, the energies in eV and the dwell times in ms; then one image after the other, each row
by row. The same layout in little-endian is taken too.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError
from operando.io.positions import decimal, energy_axis, position_axis
from operando.io.raw import RawValues
from operando.io.reader import Dataset, StoredImage, Verdict

_LARGEST = 2**20


class StkReader:
    """Reader of ``.stk`` stacks."""

    name = "stk"
    suffixes = (".stk",)

    def can_open(self, path: Path) -> Verdict:
        """Compare the sizes that the file begins with to its length."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and an .stk stack is a file")
        try:
            _sizes(path)
        except FileError as error:
            return Verdict(False, str(error).removeprefix(f"{path}: ").rstrip("."))
        return Verdict(True)

    def datasets(self, path: Path) -> list[Dataset]:
        """Return an empty list: a file holds one stack."""
        return []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Read sizes and axes."""
        order, columns, rows, count = _sizes(path)
        numbers = np.fromfile(path, np.dtype(f"{order}f4"), columns + rows + 2 * count, offset=12)
        numbers = decimal(numbers.astype(np.float32))
        x, y, energies, dwell = np.split(numbers, np.cumsum([columns, rows, count]))
        if not np.all(np.isfinite(numbers)):
            raise FileError(f"{path}: positions, energies and dwell times must be finite numbers. The file is damaged.")
        offset = 12 + 4 * numbers.size
        array: Any = RawValues(path, (count, rows, columns), np.dtype(f"{order}f4"), offset)
        return assembled(array, y, x, energies, dwell)


def assembled(array: Any, y: np.ndarray, x: np.ndarray, energies: np.ndarray, dwell: np.ndarray) -> StoredImage:
    """A stack of the energies, rows and columns that a file lists; turned where positions decrease."""
    values, about, note = energy_axis(energies, "eV")
    coords: dict[str, Any] = {"energy": ("energy", values, about)}
    notes = [note] if note else []
    turn = [slice(None)] * 3
    for axis, (dim, points) in enumerate((("y", y), ("x", x)), start=1):
        position = position_axis(points, "um", dim)
        notes += [position.note] if position.note else []
        if position.turned:
            turn[axis] = slice(None, None, -1)
        coords[dim] = (dim, position.values, position.attrs)
    if slice(None, None, -1) in turn:
        array = array.to_dask()[tuple(turn)]
        notes.append("Positions decrease in the file: the image was turned so that they increase.")
    attrs: dict[str, Any] = {"units": "counts", "long_name": "Detected signal"}
    known = dwell[np.isfinite(dwell) & (dwell > 0)]
    if known.size:
        attrs["dwell_ms"] = float(known[0]) if np.all(known == known[0]) else [float(v) for v in dwell]
    notes.append(
        "The file does not say what its values are: they were taken as counts (optical density is common too)."
    )
    return StoredImage(array, ("energy", "y", "x"), coords=coords, name="counts", attrs=attrs, notes=notes)


def _sizes(path: Path) -> tuple[str, int, int, int]:
    """Byte order, columns, rows and energies, checked against the length of the file."""
    with path.open("rb") as file:
        head = file.read(12)
    length = path.stat().st_size
    if len(head) < 12:
        raise FileError(f"{path}: an .stk stack begins with three sizes, got {len(head)} bytes. Copy it again.")
    for order in (">", "<"):
        columns, rows, count = struct.unpack(f"{order}3i", head)
        if not all(0 < n < _LARGEST for n in (columns, rows, count)):
            continue
        needed = 12 + 4 * (columns + rows + 2 * count + math.prod((columns, rows, count)))
        if needed == length:
            return order, columns, rows, count
        if order == ">":
            raise FileError(
                f"{path}: {count} images of {rows} x {columns} values take {needed} bytes, but the file has {length}. "
                "It is truncated or not an .stk stack: copy it again."
            )
    raise FileError(f"{path}: does not begin with the sizes of an .stk stack. It is damaged or of another kind.")
