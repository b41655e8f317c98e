"""TIFF in every dress that tomography wears: single files, BigTIFF, ImageJ, OME-TIFF, folders of slices."""

from __future__ import annotations

import json
import logging
import math
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import SPACE, axis_spacing
from operando.core.blocks import iter_blocks
from operando.core.errors import FileError, InputError
from operando.io import metadata
from operando.io.lazy import BLOCK_BYTES, FileArray, grow_chunks
from operando.io.reader import Dataset, StoredImage, Verdict

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NAMESPACE = "operando.org/image"
_LETTERS = {"T": "t", "C": "channel", "S": "channel", "Z": "z", "Y": "y", "X": "x", "E": "energy", "L": "wavenumber"}
# What a drawing program or a camera writes when nobody has calibrated anything.
_DEFAULT_DPI = {1, 36, 72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 360, 400, 600, 720, 1200, 2400}
# More values per stored byte than any picture reaches: a header that claims more is damaged or hostile.
_MOST_PER_BYTE = {1: 8, 32773: 65, 5: 3000, 8: 1100, 32946: 1100}
_MOST_PER_BYTE_ELSE = 100_000
_OME_DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "complex64", "complex128")
# Without a handler of its own, logging prints what tifffile finds odd on stderr.
_QUIET = logging.NullHandler()


class TiffReader:
    """Reader of TIFF files and of folders of TIFF slices."""

    name = "tiff"
    suffixes = SUFFIXES

    def can_open(self, path: Path) -> Verdict:
        """Look at the first four bytes, or for slices in a folder."""
        if path.is_dir():
            if any((path / header).is_file() for header in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
                return Verdict(False, "it is a Zarr store")
            return Verdict(True) if _slices(path) else Verdict(False, "the folder holds no TIFF slices")
        with path.open("rb") as file:
            head = file.read(4)
        if head in _MAGIC:
            return Verdict(True)
        return Verdict(False, f"it does not begin with a TIFF header (first bytes {head!r})")

    def datasets(self, path: Path) -> list[Dataset]:
        """List the series of a file that holds several; pages of one stack are one series."""
        if path.is_dir():
            return []
        with _Tiff(path) as tif:
            series = tif.series
            if len(series) < 2:
                return []
            return [Dataset(str(i), tuple(s.shape), str(s.dtype), s.kind) for i, s in enumerate(series)]

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Open a file or a folder of slices; see :func:`operando.io.open_image`."""
        return _open_folder(path) if path.is_dir() else _open_file(path, dataset)


class _Tiff:
    """A TiffFile that is quiet, checked for a whole chain of pages, and closed."""

    def __init__(self, path: Path) -> None:
        import tifffile

        logging.getLogger("tifffile").addHandler(_QUIET)
        pages = count_pages(path)
        try:
            self.file = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, struct.error, ValueError, KeyError, IndexError) as error:
            raise FileError(f"{path}: the TIFF header is damaged ({error}). Copy or export the file again.") from error
        if len(self.file.pages) != pages:
            self.file.close()
            raise FileError(
                f"{path}: {pages} pages are linked but only {len(self.file.pages)} can be read. "
                "The file is damaged: copy or export it again."
            )

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()


def count_pages(path: Path) -> int:
    """Follow the chain of pages to its end.

    Raises
    ------
    FileError
        Where the chain leaves the file (it is truncated) or runs in a circle.

    Notes
    -----
    TIFF libraries stop silently at the first broken link, which would make a truncated stack a shorter one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        try:
            (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)
        except struct.error:
            raise FileError(
                f"{path}: the TIFF header is cut off after {size} bytes. Copy or export the file again."
            ) from None
        number, entry, link = ("Q", 20, "Q") if big else ("H", 12, "I")
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise FileError(f"{path}: page {len(seen)} points back to an earlier page. The file is damaged.")
            seen.add(offset)
            count_at = struct.calcsize(number)
            file.seek(min(offset, size))
            raw = file.read(count_at)
            tags = struct.unpack(order + number, raw)[0] if len(raw) == count_at else 0
            end = offset + count_at + tags * entry + struct.calcsize(link)
            if not 0 < tags <= 4096 or end > size:
                raise FileError(
                    f"{path}: the file ends or breaks at page {len(seen) - 1} (byte {offset} of {size}). "
                    "It is truncated: copy or export it again."
                )
            file.seek(end - struct.calcsize(link))
            (offset,) = struct.unpack(order + link, file.read(struct.calcsize(link)))
    if not seen:
        raise FileError(f"{path}: the TIFF holds no page. Export it again.")
    return len(seen)


class TiffPages(FileArray):
    """Pages of one size, in one or several TIFF files, as an array that reads and decodes only what it needs."""

    def __init__(
        self,
        path: Path,
        keyframe: Any,
        pages: Sequence[tuple[Path, Sequence[int], Sequence[int]]],
        shape: Sequence[int],
        *,
        stamp: Path | None = None,
    ) -> None:
        self._page_shape = tuple(int(n) for n in keyframe.shaped)
        self._inner = _trailing(shape, math.prod(self._page_shape))
        self._leading = tuple(int(n) for n in shape[: len(shape) - len(self._inner)])
        self._pages = list(pages)
        self._plain = bool(keyframe.is_memmappable)
        self._keyframe = keyframe
        self._byteorder = keyframe.parent.byteorder
        if keyframe.is_tiled:
            self._segment = (keyframe.tiledepth, keyframe.tilelength, keyframe.tilewidth)
        else:
            self._segment = (1, min(int(keyframe.rowsperstrip), self._page_shape[2]), self._page_shape[3])
        super().__init__(path, shape, keyframe.dtype, chunks=self._chunks(shape, keyframe.dtype), stamp=stamp)

    def _chunks(self, shape: Sequence[int], dtype: Any) -> tuple[int, ...]:
        itemsize = np.dtype(dtype).itemsize
        unit = [1] * len(self._leading) + list(self._inner)
        rows = self._row_axis()
        if rows is not None and math.prod(unit) * itemsize > 4 * BLOCK_BYTES:
            step = 1 if self._plain else self._segment[1]
            row_bytes = math.prod(unit) // unit[rows] * itemsize
            unit[rows] = min(unit[rows], max(1, BLOCK_BYTES // (row_bytes * step)) * step)
        return grow_chunks(unit, shape, itemsize)

    def _row_axis(self) -> int | None:
        """Axis of the image rows in the array, where a page is a plain image."""
        separate, depth, length, _, samples = self._page_shape
        if separate == 1 and depth == 1 and self._inner[0] == length and samples in (1, self._inner[-1]):
            return len(self._leading)
        return None

    def _token(self) -> Any:
        return str(self.path), [(str(p), list(o), list(c)) for p, o, c in self._pages[:1] + self._pages[-1:]]

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read the rows of each page that the region needs, decoding only their strips or tiles."""
        outer, inner = region[: len(self._leading)], region[len(self._leading) :]
        out = np.empty([s.stop - s.start for s in region], dtype=self.dtype)
        for place in product(*(range(s.start, s.stop) for s in outer)):
            number = int(np.ravel_multi_index(place, self._leading)) if place else 0
            at = tuple(p - s.start for p, s in zip(place, outer, strict=True))
            try:
                out[at] = self._read_page(number, inner)
            except FileError:
                raise
            except MemoryError:
                raise
            except Exception as error:
                text = " ".join(str(error).split())[:160]
                raise FileError(
                    f"{self._pages[number][0]}: {self._where(number)} cannot be decoded "
                    f"({type(error).__name__}: {text}). The file is damaged there: copy or export it again."
                ) from error
        return out

    def _where(self, number: int) -> str:
        return "its page" if self._pages[number][0] != self.path else f"page {number}"

    def _read_page(self, number: int, inner: tuple[slice, ...]) -> np.ndarray:
        if not self.dtype.itemsize or any(s.stop <= s.start for s in inner):
            return np.empty([s.stop - s.start for s in inner], self.dtype)
        rows = inner[0] if self._row_axis() is not None else slice(0, self._page_shape[2])
        path, offsets, counts = self._pages[number]
        with path.open("rb") as file:
            page = self._read_plain(file, offsets, rows) if self._plain else self._decode(file, offsets, counts, rows)
        if self._row_axis() is None:
            return page.reshape(self._inner)[inner]
        return page.reshape((rows.stop - rows.start, *self._inner[1:]))[(slice(None), *inner[1:])]

    def _read_plain(self, file: Any, offsets: Sequence[int], rows: slice) -> np.ndarray:
        separate, depth, _, width, samples = self._page_shape
        row = width * samples
        stored = self.dtype.newbyteorder(self._byteorder)
        whole = separate * depth > 1
        start, count = (0, math.prod(self._page_shape)) if whole else (rows.start * row, (rows.stop - rows.start) * row)
        file.seek(int(offsets[0]) + start * stored.itemsize)
        values = np.fromfile(file, dtype=stored, count=count)
        if values.size != count:
            raise EOFError(f"the file ends after {values.size} of {count} values")
        return values.astype(self.dtype, copy=False)

    def _decode(self, file: Any, offsets: Sequence[int], counts: Sequence[int], rows: slice) -> np.ndarray:
        separate, depth, length, width, samples = self._page_shape
        deep, high, wide = self._segment
        grid = (separate, math.ceil(depth / deep), math.ceil(length / high), math.ceil(width / wide))
        wanted = range(rows.start // high, math.ceil(rows.stop / high))
        top = wanted.start * high
        page = np.empty((separate, depth, min(wanted.stop * high, length) - top, width, samples), dtype=self.dtype)
        extra = {}
        if self._keyframe.compression in (6, 7, 34892, 33007):
            extra = {"jpegtables": self._keyframe.jpegtables, "jpegheader": self._keyframe.jpegheader}
        for plane, level, strip, column in product(range(separate), range(grid[1]), wanted, range(grid[3])):
            index = int(np.ravel_multi_index((plane, level, strip, column), grid))
            file.seek(int(offsets[index]))
            raw = file.read(int(counts[index]))
            if len(raw) != counts[index]:
                raise EOFError(f"segment {index} has {len(raw)} of {counts[index]} bytes")
            decoded, (s, d, h, w, _), _ = self._keyframe.decode(raw, index, **extra)
            part = decoded[: depth - d, : length - h, : width - w]
            page[s, d : d + part.shape[0], h - top : h - top + part.shape[1], w : w + part.shape[2]] = part
        return page[:, :, rows.start - top : rows.stop - top]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # A page of tifffile holds an open file and closures; another process reads it anew.
        state["_keyframe"] = (self._keyframe.parent.filehandle.path, self._keyframe.index)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        path, index = state["_keyframe"]
        with _Tiff(Path(path)) as tif:
            self._keyframe = tif.pages[index]


def _trailing(shape: Sequence[int], count: int) -> tuple[int, ...]:
    """Last axes of a shape that together hold ``count`` values: the axes inside a page."""
    size, axes = 1, 0
    while size < count and axes < len(shape):
        axes += 1
        size *= int(shape[-axes])
    # Axes of length one that belong to the page's rows and columns.
    while axes < min(2, len(shape)) and size == count:
        axes += 1
        size *= int(shape[-axes])
    if size != count:
        raise FileError(f"the TIFF pages of {count} values do not make up the shape {tuple(shape)}. Export it again.")
    return tuple(int(n) for n in shape[len(shape) - axes :])


def _check_segments(path: Path, keyframe: Any, offsets: Sequence[int], counts: Sequence[int], page: str) -> None:
    """Say where the stored bytes of a page cannot be what its header claims."""
    size = path.stat().st_size
    shaped = tuple(int(n) for n in keyframe.shaped)
    claimed = math.prod(shaped) * max(1, int(keyframe.bitspersample)) // 8
    needed = math.prod(keyframe.chunked)
    shape = " x ".join(str(n) for n in keyframe.shape)
    if keyframe.dtype is None:
        raise FileError(f"{path}: {page} has values of a kind that cannot be read ({keyframe.bitspersample} bits).")
    if 0 in shaped:
        raise FileError(f"{path}: {page} has no pixels ({shape}). Export the file again.")
    # Plain values need only the place where they begin.
    if min(len(offsets), len(counts)) < (1 if keyframe.is_memmappable else needed):
        raise FileError(
            f"{path}: {page} of {shape} pixels needs {needed} stored segments but lists {len(offsets)}. "
            "The file is damaged: export it again."
        )
    last = max((int(o) + int(c) for o, c in zip(offsets, counts, strict=False)), default=0)
    if last > size or min(map(int, offsets), default=0) <= 0:
        raise FileError(
            f"{path}: {page} needs the file up to byte {last}, but it ends at {size}. "
            "It is truncated: copy or export it again."
        )
    if min(map(int, counts), default=0) <= 0:
        raise FileError(f"{path}: {page} lists segments without bytes. The file was not written to its end.")
    stored = sum(map(int, counts))
    limit = _MOST_PER_BYTE.get(int(keyframe.compression), _MOST_PER_BYTE_ELSE)
    if claimed > limit * stored or (keyframe.compression == 1 and claimed > stored):
        raise FileError(
            f"{path}: {page} claims {shape} pixels ({claimed / 2**30:.3g} GiB) but stores {stored} bytes. "
            "The header is damaged: export the file again."
        )


def _open_file(path: Path, dataset: str | None) -> StoredImage:
    with _Tiff(path) as tif:
        number, series = _choose_series(path, tif, dataset)
        keyframe = series.keyframe
        keyframe.decode  # noqa: B018 - tifffile builds the decoder while the file is open
        described = _described(tif, series, number)
        pages = _page_places(path, series)
        own = described.pop("own", None)
        shape, letters = tuple(series.shape), str(series.axes)
        if own is not None:
            return _own_image(path, keyframe, pages, own, shape)
        _check_declared(path, tif, shape)
        array = TiffPages(path, keyframe, pages, shape)
        dims, guessed = _dims(letters, shape)
        notes = list(guessed)
        spacing = {d: v for d, v in described.get("spacing", {}).items() if d in dims}
        coords: dict[str, Any] = {}
        names = described.get("channels")
        if names and "channel" in dims and len(names) == shape[dims.index("channel")]:
            coords["channel"] = ("channel", np.asarray(names, dtype=str), {})
        if keyframe.photometric == 0:
            notes.append("The file says that 0 is white; values are as stored, not inverted.")
        if keyframe.photometric == 3:
            notes.append("Values are indices into a color table that is not applied.")
        if described.get("note"):
            notes.append(described["note"])
        return StoredImage(array, dims, spacing=spacing, coords=coords, notes=notes)


def _choose_series(path: Path, tif: Any, dataset: str | None) -> tuple[int, Any]:
    try:
        series = tif.series
    except Exception as error:
        raise FileError(f"{path}: its pages make up no image ({error}). Export the file again.") from error
    if not series:
        raise FileError(f"{path}: the TIFF holds no image. Export it again.")
    if dataset is None and len(series) == 1:
        return 0, series[0]
    listed = ", ".join(f"{i}: {' x '.join(map(str, s.shape))} {s.dtype}" for i, s in enumerate(series[:8]))
    if dataset is None:
        first = series[0]
        odd = next((i for i, page in enumerate(tif.pages) if page.keyframe.shape != tif.pages[0].keyframe.shape), None)
        if odd is not None and first.kind in ("generic", "uniform", "shaped"):
            raise FileError(
                f"{path}: all pages must have one size, but page {odd} is "
                f"{' x '.join(map(str, tif.pages[odd].keyframe.shape))} and page 0 is "
                f"{' x '.join(map(str, tif.pages[0].keyframe.shape))}. "
                f"Choose one with dataset='0' and so on ({listed})."
            )
        raise FileError(f"{path}: holds {len(series)} images. Choose one with dataset='0' and so on ({listed}).")
    if not dataset.strip("/").isdigit() or int(dataset.strip("/")) >= len(series):
        raise InputError(f"{path}: dataset must be the number of one of its images, got {dataset!r} ({listed}).")
    number = int(dataset.strip("/"))
    return number, series[number]


def _page_places(path: Path, series: Any) -> list[tuple[Path, Sequence[int], Sequence[int]]]:
    """File, offsets and byte counts of each page; checked against the size of the file."""
    keyframe = series.keyframe
    size = math.prod(keyframe.shaped)
    total = math.prod(series.shape)
    count = total // size if size else 0
    if series.dataoffset is not None and keyframe.is_memmappable and count * size == total:
        nbytes = size * keyframe.dtype.itemsize
        start = int(series.dataoffset)
        end = path.stat().st_size
        if start + count * nbytes > end:
            raise FileError(
                f"{path}: claims {' x '.join(map(str, series.shape))} pixels ({count * nbytes} bytes), but only "
                f"{max(0, end - start)} bytes follow. The file is truncated: copy or export it again."
            )
        return [(path, [start + i * nbytes], [nbytes]) for i in range(count)]
    if len(series) != count or size * count != total:
        raise FileError(
            f"{path}: its description speaks of {' x '.join(map(str, series.shape))} pixels, but it has "
            f"{len(series)} pages. The file was not written to its end: export it again."
        )
    places: list[tuple[Path, Sequence[int], Sequence[int]]] = []
    for number, page in enumerate(series):
        if page is None:
            raise FileError(f"{path}: page {number} of the series is missing. Put the files of the series together.")
        where = Path(page.parent.filehandle.path)
        _check_segments(where, page.keyframe, page.dataoffsets, page.databytecounts, f"page {number}")
        places.append((where, list(page.dataoffsets), list(page.databytecounts)))
    return places


def _dims(letters: str, shape: Sequence[int]) -> tuple[tuple[str, ...], list[str]]:
    """Names for the axes that a file calls by letters; axes without a meaning become z, then t, then channel."""
    names: list[str | None] = []
    for letter in letters:
        name = _LETTERS.get(letter)
        names.append(name if name not in names else None)
    notes = []
    free = [d for d in ("z", "t", "channel") if d not in names]
    for axis in reversed(range(len(names))):
        if names[axis] is None:
            if not free:
                raise FileError(
                    f"the TIFF has the axes {letters} of {tuple(shape)}, too many to name. Pass dims=(...)."
                )
            names[axis] = free.pop(0)
            if letters[axis] not in "IQ" or names[axis] != "z":
                notes.append(f"Axis {axis} of length {shape[axis]} has no meaning in the file: taken as {names[axis]}.")
    return tuple(str(name) for name in names), notes


def _described(tif: Any, series: Any, number: int) -> dict[str, Any]:
    """Voxel size, channel names and operando's own record, from whichever description the file has."""
    if tif.is_ome and tif.ome_metadata:
        return _ome(tif.ome_metadata, number)
    if tif.is_imagej and tif.imagej_metadata is not None:
        return _imagej(tif)
    return _resolution(series.keyframe)


def _ome(text: str, index: int) -> dict[str, Any]:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {"note": "The OME description is damaged and was not used."}
    found: dict[str, Any] = {}
    for annotation in root.iter():
        if annotation.tag.endswith("MapAnnotation") and annotation.get("Namespace") == _NAMESPACE:
            value = next((m.text for m in annotation.iter() if m.tag.endswith("}M") and m.get("K") == "image"), None)
            try:
                own = json.loads(value or "")
                if len(own["dims"]) == len(own["shape"]):
                    found["own"] = own
            except (ValueError, KeyError, TypeError):
                found["note"] = "operando's own description is damaged and was not used."
    pixels = [element for element in root.iter() if element.tag.endswith("}Pixels") or element.tag == "Pixels"]
    if not pixels:
        return found
    chosen = pixels[min(index, len(pixels) - 1)]
    spacing = {}
    for dim in "ZYX":
        step, unit = _number(chosen.get(f"PhysicalSize{dim}")), chosen.get(f"PhysicalSize{dim}Unit", "µm")
        if step and units.kind(unit) == "length":
            spacing[dim.lower()] = (step, unit)
    step, unit = _number(chosen.get("TimeIncrement")), chosen.get("TimeIncrementUnit", "s")
    if step and units.kind(unit) == "time":
        spacing["t"] = (step, unit)
    found["spacing"] = spacing
    names = [element.get("Name") for element in chosen if element.tag.endswith("Channel")]
    if names and all(names):
        found["channels"] = names
    return found


def _imagej(tif: Any) -> dict[str, Any]:
    about = tif.imagej_metadata or {}
    unit = str(about.get("unit", "")).encode("latin-1", "ignore").decode("unicode_escape", "ignore")
    unit = unit.encode("latin-1", "ignore").decode("latin-1").strip()
    found: dict[str, Any] = {"spacing": {}}
    if units.kind(unit) == "length":
        for dim, tag in (("y", "YResolution"), ("x", "XResolution")):
            per_unit = _ratio(tif.pages[0], tag)
            if per_unit:
                found["spacing"][dim] = (1 / per_unit, unit)
        step = _number(about.get("spacing"))
        if step:
            found["spacing"]["z"] = (abs(step), unit)
        elif int(about.get("slices", about.get("images", 1)) or 1) > 1 and found["spacing"]:
            found["note"] = f"ImageJ kept no distance between slices (it would show 1 {units.canonical(unit)})."
    interval = _number(about.get("finterval"))
    if interval:
        found["spacing"]["t"] = (interval, str(about.get("tunit", "s")) or "s")
    return found


def _resolution(page: Any) -> dict[str, Any]:
    """Pixels per inch or centimeter, unless they are what programs write when nobody calibrated anything."""
    tag = page.tags.get("ResolutionUnit")
    unit = {2: "inch", 3: "cm"}.get(int(tag.value) if tag is not None else 2)
    spacing = {}
    for dim, name in (("y", "YResolution"), ("x", "XResolution")):
        per_unit = _ratio(page, name)
        if not per_unit or unit is None:
            continue
        dpi = per_unit * (2.54 if unit == "cm" else 1.0)
        if not any(abs(dpi - default) < 0.02 * default for default in _DEFAULT_DPI):
            spacing[dim] = (1 / per_unit, unit)
    return {"spacing": spacing}


def _ratio(page: Any, name: str) -> float | None:
    tag = page.tags.get(name)
    try:
        above, below = tag.value
        return above / below if above > 0 and below > 0 else None
    except (AttributeError, TypeError, ValueError):
        return None


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _check_declared(path: Path, tif: Any, shape: Sequence[int]) -> None:
    """Say where the description of the first page speaks of more pages than there are."""
    declared = 0
    if tif.is_shaped and tif.shaped_metadata:
        declared = math.prod(int(n) for n in tif.shaped_metadata[0].get("shape", ()))
    elif tif.is_imagej and tif.imagej_metadata:
        declared = int(tif.imagej_metadata.get("images", 1)) * math.prod(tif.pages[0].shape)
    if len(tif.series) == 1 and declared > math.prod(shape):
        raise FileError(
            f"{path}: its description speaks of {declared} values, but its pages have {math.prod(shape)}. "
            "Pages are missing: copy or export the file again."
        )


def _own_image(path: Path, keyframe: Any, pages: Any, own: dict[str, Any], found: Sequence[int]) -> StoredImage:
    shape = tuple(int(n) for n in own["shape"])
    if math.prod(shape) != math.prod(found):
        raise FileError(
            f"{path}: was written with the shape {shape}, but its pages make up {tuple(found)}. "
            "Pages are missing: copy or export the file again."
        )
    array = TiffPages(path, keyframe, pages, shape)
    return StoredImage(
        array,
        tuple(map(str, own["dims"])),
        coords=metadata.coords_from_plain(own, dict(zip(own["dims"], shape, strict=True)), where=str(path)),
        name=own.get("name"),
        attrs=metadata.attrs_from_plain(own),
    )


def _slices(folder: Path) -> list[Path]:
    found = [
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    ]
    return sorted(found, key=lambda entry: natural_key(entry.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Key that sorts ``slice9`` before ``slice10``.

    Examples
    --------
    >>> sorted(["s10.tif", "s9.tif", "s1.tif"], key=natural_key)
    ['s1.tif', 's9.tif', 's10.tif']
    """
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts]


def _open_folder(folder: Path) -> StoredImage:
    files = _slices(folder)
    pages = []
    first: Any = None
    described: dict[str, Any] = {}
    for file in files:
        if file.stat().st_size == 0:
            raise FileError(f"{file}: the slice is empty (0 bytes). Copy or export it again.")
        with file.open("rb") as opened:
            if opened.read(4) not in _MAGIC:
                raise FileError(f"{file}: the slice does not begin with a TIFF header. Copy or export it again.")
        with _Tiff(file) as tif:
            if len(tif.pages) != 1:
                raise FileError(
                    f"{file}: each file of a folder must hold one slice, this one holds {len(tif.pages)} pages. "
                    "Open it by itself, or move it elsewhere."
                )
            page = tif.pages[0]
            if first is None:
                page.decode  # noqa: B018 - tifffile builds the decoder while the file is open
                first, described = page, _described(tif, tif.series[0], 0)
            if page.shape != first.shape or page.dtype != first.dtype:
                raise FileError(
                    f"{file}: the slice is {' x '.join(map(str, page.shape))} {page.dtype}, but {files[0].name} is "
                    f"{' x '.join(map(str, first.shape))} {first.dtype}. All slices must agree: remove or replace it."
                )
            _check_segments(file, page, page.dataoffsets, page.databytecounts, "the slice")
            same = page.compression == first.compression and page.chunked == first.chunked
            if not same or page.parent.byteorder != first.parent.byteorder or page.predictor != first.predictor:
                raise FileError(
                    f"{file}: the slice is stored in another way than {files[0].name} "
                    "(compression, strips or byte order). Export all slices with one program."
                )
            pages.append((file, list(page.dataoffsets), list(page.databytecounts)))
    shape = (len(files), *(int(n) for n in first.shape))
    array = TiffPages(folder, first, pages, shape, stamp=files[-1])
    dims, notes = _dims("Q" + str(first.axes), shape)
    gap = _gap([file.name for file in files])
    if gap:
        notes.append(gap)
    spacing = {d: v for d, v in described.get("spacing", {}).items() if d in ("y", "x")}
    return StoredImage(array, dims, spacing=spacing, notes=notes)


def _gap(names: Sequence[str]) -> str | None:
    numbers = [[int(n) for n in re.findall(r"\d+", Path(name).stem)] for name in names]
    if len(names) < 3 or len({len(n) for n in numbers}) != 1:
        return None
    for column in zip(*numbers, strict=True):
        steps = [b - a for a, b in pairwise(column)]
        usual = min(steps)
        if usual > 0 and max(steps) > usual:
            at = steps.index(max(steps))
            return (
                f"The numbers of the slices jump from {column[at]} to {column[at + 1]} after {names[at]}: "
                "slices may be missing."
            )
    return None


def write_tiff(image: xr.DataArray, path: Path, *, labels: bool, final: Path) -> None:
    """Write an OME-TIFF, plane by plane; BigTIFF from 4 GB on.

    Raises
    ------
    InputError
        Where OME-TIFF has no such type of values, or the image has fewer than two dims.
    """
    import tifffile

    del labels
    if not image.dtype.isnative:
        image = image.astype(image.dtype.newbyteorder("="))
    if str(image.dtype) not in _OME_DTYPES:
        raise InputError(
            f"save_image: OME-TIFF holds {', '.join(_OME_DTYPES)}, got {image.dtype}. "
            "Convert the image with .astype(...), or save it as .zarr or .h5."
        )
    if image.ndim < 2:
        raise InputError(f"save_image: a TIFF needs at least two dims, got {image.dims}. Save it as .h5.")
    own = {**metadata.to_plain(image), "shape": list(image.shape)}
    letters = _ome_letters([str(d) for d in image.dims])
    about: dict[str, Any] = {
        "axes": letters,
        "Name": str(image.name or final.stem),
        "MapAnnotation": {"Namespace": _NAMESPACE, "Value": {"image": metadata.dumps(own)}},
    }
    for letter, dim in zip(letters, map(str, image.dims), strict=True):
        if letter in "ZYX" and dim in SPACE:
            step, unit = axis_spacing(image, dim, where="save_image") if _even(image, dim) else (1.0, units.PIXEL)
            if units.kind(unit) == "length" and unit != "inch":
                about[f"PhysicalSize{letter}"] = step
                about[f"PhysicalSize{letter}Unit"] = "µm" if unit == "um" else "Å" if unit == "angstrom" else unit
        if letter == "T" and dim == "t" and image.sizes["t"] > 1 and _even(image, "t"):
            t = image.coords["t"]
            unit = str(t.attrs.get("units", "1"))
            if units.kind(unit) == "time" and float(t[1] - t[0]) > 0:
                about |= {"TimeIncrement": float(t[1] - t[0]), "TimeIncrementUnit": unit}
        if letter == "C" and dim in image.coords and image.coords[dim].dtype.kind in "UO":
            about["Channel"] = {"Name": [str(v) for v in image.coords[dim].values]}
    size = math.prod(image.shape) * image.dtype.itemsize
    with tifffile.TiffWriter(path, bigtiff=size > 2**32 - 2**25, ome=True) as writer:
        writer.write(
            _planes(image),
            shape=image.shape,
            dtype=image.dtype,
            photometric="minisblack",
            metadata=about,
        )


def _even(image: xr.DataArray, dim: str) -> bool:
    if dim not in image.coords or image.coords[dim].dtype.kind not in "iuf":
        return False
    values = np.asarray(image.coords[dim].values, dtype=float)
    if values.size < 2:
        return True
    steps = np.diff(values)
    return bool(np.all(np.isfinite(values)) and steps[0] > 0 and np.abs(steps - steps[0]).max() <= 1e-6 * steps[0])


def _ome_letters(dims: Sequence[str]) -> str:
    """OME's letters for any dims: the last two are the plane, the others take T, C and Z by meaning."""
    natural = {"t": "T", "z": "Z"}
    taken: list[str] = []
    for dim in dims[:-2]:
        letter = natural.get(dim, "C")
        taken.append(letter if letter not in taken else next(free for free in "ZCT" if free not in taken))
    return "".join(taken) + "YX"


def _planes(image: xr.DataArray) -> Iterator[np.ndarray]:
    """Planes in C order, computed in slabs of whole lazy blocks."""
    data = image.data
    leading, plane = image.shape[:-2], image.shape[-2:]
    chunks = getattr(data, "chunksize", None)
    block = [1] * len(leading)
    budget = 8 * BLOCK_BYTES // max(1, math.prod(plane) * image.dtype.itemsize)
    if leading:
        # A lazy block is decoded once, not once per plane, as long as the slab stays small.
        depth = chunks[-3] if chunks else 1
        block[-1] = max(1, min(depth, budget, leading[-1]))
    for part in iter_blocks(leading, block):
        slab = np.asarray(data[part.core])
        yield from np.ascontiguousarray(slab).reshape(-1, *plane)
