"""Raw values with a sidecar that says what they are: JSON, MetaImage (.mhd) or ESRF's .vol.info."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as _field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE
from operando.core.blocks import iter_blocks
from operando.core.errors import FileError
from operando.io import metadata
from operando.io.lazy import FileArray, grow_chunks
from operando.io.reader import Dataset, StoredImage, Verdict

_META_TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_EXAMPLE = '{"shape": [100, 512, 512], "dims": ["z", "y", "x"], "dtype": "uint16", "voxel_size_um": 1.33}'


class RawReader:
    """Reader of raw values beside a sidecar; either of the two files may be named."""

    name = "raw"
    suffixes = (".raw", ".bin", ".vol", ".dat", ".mhd", ".mha")

    def can_open(self, path: Path) -> Verdict:
        """Look for the sidecar."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and raw values are a file")
        if path.suffix.lower() in (".mhd", ".mha"):
            with path.open("rb") as file:
                head = file.read(64)
            return Verdict(True) if b"=" in head else Verdict(False, "it is not a MetaImage header of 'key = value'")
        if not path.name.lower().endswith(self.suffixes):
            return Verdict(False, "raw values end in .raw, .bin, .vol or .dat")
        if _sidecar(path) is not None:
            return Verdict(True)
        return Verdict(
            False,
            f"raw values need a sidecar, and there is no {path.stem}.json, {path.stem}.mhd or {path.name}.info: "
            f"write {path.stem}.json beside it, such as {_EXAMPLE} (the file has {path.stat().st_size} bytes)",
        )

    def datasets(self, path: Path) -> list[Dataset]:
        """Return an empty list: a raw file holds one image."""
        return []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Read the sidecar and check it against the size of the file."""
        sidecar = path if path.suffix.lower() in (".mhd", ".mha") else _sidecar(path)
        if sidecar is None:
            raise FileError(f"{path}: {self.can_open(path).reason}.")
        if sidecar.suffix.lower() == ".json":
            layout = _from_json(path, sidecar)
        elif sidecar.suffix.lower() == ".info":
            layout = _from_info(path, sidecar)
        else:
            layout = _from_metaimage(sidecar)
        return layout.stored(sidecar)


def _sidecar(path: Path) -> Path | None:
    candidates = (
        path.with_suffix(".json"),
        path.with_name(path.name + ".json"),
        path.with_name(path.name + ".info"),
        path.with_suffix(".mhd"),
    )
    return next((c for c in candidates if c != path and c.is_file()), None)


@dataclass
class _Layout:
    """Where the values are and what they mean."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    dims: tuple[str, ...]
    offset: int = 0
    spacing: dict[str, tuple[float, str]] = _field(default_factory=dict)
    own: Mapping[str, Any] = _field(default_factory=dict)
    notes: list[str] = _field(default_factory=list)

    def stored(self, sidecar: Path) -> StoredImage:
        if not self.path.is_file():
            raise FileError(
                f"{sidecar}: the values {self.path.name!r} that it describes are not there. Copy both files."
            )
        size = self.path.stat().st_size
        claimed = math.prod(self.shape) * self.dtype.itemsize + self.offset
        if size != claimed:
            shape = " x ".join(map(str, self.shape))
            plus = f" and {self.offset} bytes before them" if self.offset else ""
            raise FileError(
                f"{self.path}: {shape} values of {self.dtype.name}{plus} take {claimed} bytes, "
                f"but the file has {size}. "
                f"Correct the shape, type or offset in {sidecar.name}, or copy the file again."
            )
        sizes = dict(zip(self.dims, self.shape, strict=True))
        return StoredImage(
            RawValues(self.path, self.shape, self.dtype, self.offset),
            self.dims,
            spacing=self.spacing,
            coords=metadata.coords_from_plain(self.own, sizes, where=str(sidecar)),
            name=self.own.get("name"),
            attrs=metadata.attrs_from_plain(self.own),
            notes=self.notes,
        )


class RawValues(FileArray):
    """Values that follow each other in a file, mapped into memory for the time of one read."""

    def __init__(self, path: Path, shape: Sequence[int], dtype: np.dtype, offset: int) -> None:
        self._stored = dtype
        self._offset = offset
        unit = [*([1] * (len(shape) - 1)), *shape[-1:]]
        super().__init__(path, shape, dtype, chunks=grow_chunks(unit, shape, dtype.itemsize))

    def _token(self) -> Any:
        return str(self.path), self._offset, self._stored.str

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Copy a box out of the mapped file."""
        mapped = np.memmap(self.path, dtype=self._stored, mode="r", offset=self._offset, shape=self.shape)
        return np.array(mapped[region], dtype=self.dtype)


def _from_json(path: Path, sidecar: Path) -> _Layout:
    try:
        about = json.loads(sidecar.read_text("utf-8"))
        if not isinstance(about, dict):
            raise ValueError("it is not an object {...}")
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(
            f"{sidecar}: the sidecar is not valid JSON ({error}). It should look like {_EXAMPLE}."
        ) from error
    absent = [key for key in ("shape", "dtype") if key not in about]
    if absent:
        raise FileError(f"{sidecar}: the sidecar lacks {', '.join(absent)}. It should look like {_EXAMPLE}.")
    shape = _shape(sidecar, about["shape"])
    order = str(about.get("byte_order", "little")).lower()
    if order not in ("little", "big"):
        raise FileError(f"{sidecar}: byte_order must be 'little' or 'big', got {order!r}.")
    dtype = _dtype(sidecar, about["dtype"]).newbyteorder("<" if order == "little" else ">")
    dims = tuple(map(str, about.get("dims", ("t", "z", "y", "x")[-len(shape) :])))
    if len(dims) != len(shape) or len(set(dims)) != len(dims):
        raise FileError(f"{sidecar}: dims must name each of the {len(shape)} axes once, got {dims}.")
    try:
        offset = int(about.get("offset", 0))
        voxel = np.atleast_1d(np.asarray(about.get("voxel_size_um", []), dtype=float))
    except (TypeError, ValueError) as error:
        raise FileError(f"{sidecar}: offset and voxel_size_um must be numbers ({error}).") from error
    space = [d for d in dims if d in SPACE]
    voxel = np.repeat(voxel, len(space)) if voxel.size == 1 else voxel
    if offset < 0 or voxel.size not in (0, len(space)) or not np.all(np.isfinite(voxel) & (voxel > 0)):
        raise FileError(
            f"{sidecar}: offset must not be negative and voxel_size_um one positive number or one per dim {space}, "
            f"got {about.get('offset', 0)!r} and {about.get('voxel_size_um')!r}."
        )
    spacing = {d: (float(v), "um") for d, v in zip(space, voxel, strict=False)}
    own = about.get("operando", {})
    return _Layout(path, shape, dtype, dims, offset, spacing, own if isinstance(own, Mapping) else {})


def _shape(where: Path, given: Any) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in given)
    except (TypeError, ValueError):
        shape = ()
    if not 1 <= len(shape) <= 5 or min(shape) < 1:
        raise FileError(f"{where}: shape must be one to five positive numbers, got {given!r}.")
    return shape


def _dtype(where: Path, given: Any) -> np.dtype:
    try:
        dtype = np.dtype(str(given))
    except TypeError:
        dtype = np.dtype("V1")
    if dtype.kind not in "biufc":
        raise FileError(f"{where}: dtype must be a type of numbers such as uint8, uint16 or float32, got {given!r}.")
    return dtype


def _from_info(path: Path, sidecar: Path) -> _Layout:
    """ESRF's PyHST: float32 unless the file is one or two bytes per voxel."""
    keys = _key_values(sidecar, sidecar.read_bytes())
    shape = _shape(sidecar, [keys.get(f"NUM_{axis}", 0) for axis in "ZYX"])
    count, size = math.prod(shape), path.stat().st_size
    dtype = np.dtype({1: "u1", 2: "u2"}.get(size // count if size % count == 0 else 4, "f4"))
    high = keys.get("BYTEORDER", "LOWBYTEFIRST").upper().startswith("HIGH")
    spacing = {}
    try:
        voxel = float(keys.get("voxelSize", "0").split()[0])
    except (ValueError, IndexError):
        voxel = 0.0
    if voxel > 0:
        spacing = dict.fromkeys("zyx", (voxel, "um"))
    return _Layout(path, shape, dtype.newbyteorder(">" if high else "<"), ("z", "y", "x"), 0, spacing)


def _from_metaimage(header: Path) -> _Layout:
    with header.open("rb") as file:
        head = file.read(2**16)
    keys = _key_values(header, head)
    if keys.get("CompressedData", "False").lower() == "true":
        raise FileError(f"{header}: compressed MetaImage is not supported. Export it uncompressed or as TIFF.")
    kind = keys.get("ElementType", "")
    if kind not in _META_TYPES or keys.get("ElementNumberOfChannels", "1") != "1":
        raise FileError(
            f"{header}: ElementType must be one of {', '.join(_META_TYPES)} with one channel, got {kind!r}."
        )
    shape = _shape(header, keys.get("DimSize", "").split()[::-1])
    if len(shape) > 4:
        raise FileError(f"{header}: at most four axes can be used, got {shape}.")
    big = "true" in (keys.get("BinaryDataByteOrderMSB", "").lower(), keys.get("ElementByteOrderMSB", "").lower())
    dims = ("t", "z", "y", "x")[-len(shape) :]
    file_name = keys.get("ElementDataFile", "")
    if file_name.upper() == "LOCAL":
        path, offset = header, head.index(b"\n", head.index(b"ElementDataFile")) + 1
    else:
        path, offset = header.parent / Path(file_name).name, 0
    dtype = np.dtype(_META_TYPES[kind]).newbyteorder(">" if big else "<")
    if keys.get("HeaderSize", "0") == "-1" and path.is_file():
        offset = path.stat().st_size - math.prod(shape) * dtype.itemsize
    elif keys.get("HeaderSize", "0").isdigit():
        offset += int(keys.get("HeaderSize", "0"))
    notes = []
    if "ElementSpacing" in keys:
        notes.append(
            f"MetaImage gives the spacing {keys['ElementSpacing']} (x first) without a unit, often mm: "
            "pass voxel_size_um."
        )
    return _Layout(path, shape, dtype, dims, max(0, offset), {}, {}, notes)


def _key_values(where: Path, raw: bytes) -> dict[str, str]:
    keys = {}
    for line in raw.decode("latin-1").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().replace("_", "").isalnum():
            keys[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    if not keys:
        raise FileError(f"{where}: the sidecar holds no 'key = value' lines. Export it again.")
    return keys


def write_raw(image: xr.DataArray, path: Path, *, labels: bool, final: Path) -> None:
    """Write little-endian values in C order, and ``<name>.json`` beside them."""
    del labels
    plain = metadata.to_plain(image)
    stored = image.dtype.newbyteorder("<")
    about: dict[str, Any] = {
        "shape": list(image.shape),
        "dims": plain["dims"],
        "dtype": image.dtype.name,
        "byte_order": "little",
        "offset": 0,
    }
    voxel = [
        image.coords[d].attrs.get("spacing")
        for d in plain["dims"]
        if d in SPACE and d in image.coords and image.coords[d].attrs.get("units") == "um"
    ]
    if voxel and None not in voxel and len(voxel) == sum(d in SPACE for d in plain["dims"]):
        about["voxel_size_um"] = [float(step) for step in voxel if step is not None]
    about["operando"] = plain
    unit = [*([1] * (image.ndim - 1)), *image.shape[-1:]]
    with path.open("wb") as file:
        for block in iter_blocks(image.shape, grow_chunks(unit, image.shape, image.dtype.itemsize)):
            values = np.asarray(image.data[block.core]).astype(stored, copy=False)
            np.ascontiguousarray(values).tofile(file)
    # An older sidecar must not describe the new values, should writing stop between the two files.
    final.with_suffix(".json").write_text(json.dumps(about, allow_nan=False, indent=1), "utf-8")
