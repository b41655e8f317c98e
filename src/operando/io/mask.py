"""Text masks of aXis2000 (``.msk``): one line per row, ``O`` where a pixel is kept, a space where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operando.core.errors import FileError
from operando.io.lazy import FileArray
from operando.io.reader import Dataset, StoredImage, Verdict

_KEPT = b"O"[0]
_ALLOWED = frozenset(b"O \r\n")
_LONGEST = 2**28


class MaskReader:
    """Reader of ``.msk`` masks: 1 kept, 0 not."""

    name = "mask"
    suffixes = (".msk",)

    def can_open(self, path: Path) -> Verdict:
        """Look whether the text consists of ``O`` and spaces."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and a mask is a text file")
        with path.open("rb") as file:
            head = file.read(4096)
        named = path.suffix.lower() == ".msk" or b"O" in head
        if named and set(head) <= _ALLOWED and path.stat().st_size < _LONGEST:
            return Verdict(True)
        return Verdict(False, "a text mask has only the letter O (kept) and spaces in its lines")

    def datasets(self, path: Path) -> list[Dataset]:
        """Return an empty list: a file holds one mask."""
        return []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Check the rows; they are those of the image that the mask was drawn on, in the same order."""
        values = _parse(path)
        return StoredImage(
            MaskValues(path, values.shape, np.uint8, chunks=values.shape),
            ("y", "x"),
            name="mask",
            attrs={"units": "1", "long_name": "Mask (1 kept, 0 not)"},
        )


class MaskValues(FileArray):
    """The pixels of a text mask."""

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Parse the text and cut the box out of it."""
        return _parse(self.path)[region]


def _parse(path: Path) -> np.ndarray:
    text = path.read_bytes().replace(b"\r\n", b"\n")
    if not set(text) <= _ALLOWED:
        raise FileError(f"{path}: a text mask has only the letter O (kept) and spaces. Export it again.")
    if not text.endswith(b"\n"):
        raise FileError(f"{path}: the mask ends in the middle of a row. It is truncated: copy it again.")
    rows = text[:-1].split(b"\n")
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or lengths == {0}:
        raise FileError(
            f"{path}: every row must be as long as the others, got {min(lengths)} to {max(lengths)} pixels. "
            "An editor may have cut off the spaces at its end: export it again."
        )
    return (np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1) == _KEPT).astype(np.uint8)
