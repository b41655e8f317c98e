"""PNG, JPEG and BMP pictures: gray, or color as a channel dim. Read only; figures belong to the report."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError
from operando.io.lazy import FileArray
from operando.io.reader import Dataset, StoredImage, Verdict

_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP"}
# What Pillow calls a mode: type and channels. Every other mode is converted to RGB.
_MODES: dict[str, tuple[str, tuple[str, ...]]] = {
    "1": ("bool", ()),
    "L": ("uint8", ()),
    "I;16": ("uint16", ()),
    "I;16B": ("uint16", ()),
    "I": ("int32", ()),
    "F": ("float32", ()),
    "LA": ("uint8", ("gray", "alpha")),
    "RGB": ("uint8", ("red", "green", "blue")),
    "RGBA": ("uint8", ("red", "green", "blue", "alpha")),
}
_MOST_PER_BYTE = 5000


class PictureReader:
    """Reader of pictures."""

    name = "picture"
    suffixes = (".png", ".jpg", ".jpeg", ".bmp")

    def can_open(self, path: Path) -> Verdict:
        """Look at the first bytes."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and a picture is a file")
        with path.open("rb") as file:
            head = file.read(8)
        if any(head.startswith(magic) for magic in _FORMATS):
            return Verdict(True)
        return Verdict(False, f"it does not begin as PNG, JPEG or BMP (first bytes {head!r})")

    def datasets(self, path: Path) -> list[Dataset]:
        """Return an empty list: a picture holds one image."""
        return []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Read the header."""
        with _opened(path) as picture:
            width, height = picture.size
            mode = picture.mode if picture.mode in _MODES else "RGB"
            dtype, channels = _MODES[mode]
            notes = []
            if picture.mode == "P":
                notes.append("The colors of a color table are given as red, green, blue.")
            if picture.format == "JPEG":
                notes.append("JPEG has changed the gray values: measure on the original where there is one.")
        size = path.stat().st_size
        if width * height > _MOST_PER_BYTE * size:
            raise FileError(
                f"{path}: claims {height} x {width} pixels but has {size} bytes. The file is damaged: export it again."
            )
        shape = (height, width, len(channels)) if channels else (height, width)
        array = PictureValues(path, shape, np.dtype(dtype), mode)
        dims = ("y", "x", "channel") if channels else ("y", "x")
        coords: dict[str, Any] = {"channel": ("channel", np.asarray(channels), {})} if channels else {}
        return StoredImage(array, dims, coords=coords, notes=notes)


class PictureValues(FileArray):
    """A picture that is decoded as a whole when it is asked for."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, mode: str) -> None:
        self._mode = mode
        super().__init__(path, shape, dtype, chunks=shape)

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Decode the picture and cut the box out."""
        with _opened(self.path) as picture:
            values = np.asarray(picture if picture.mode == self._mode else picture.convert(self._mode))
        return values.astype(self.dtype, copy=False)[region]


def _opened(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Our own bound on pixels per byte tells a bomb from a large picture.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=tuple(_FORMATS.values()))
    except Image.DecompressionBombError as error:
        raise FileError(f"{path}: is too large for a picture ({error}). Convert it to TIFF.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise FileError(f"{path}: the picture is damaged ({error}). Copy or export it again.") from error
