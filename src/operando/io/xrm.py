"""X-ray microscopes of Zeiss, Xradia and Sigray (``.xrm``, ``.txrm``): OLE containers of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError
from operando.io.lazy import FileArray
from operando.io.positions import decimal, energy_axis
from operando.io.reader import Dataset, StoredImage, Verdict

_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
# The numbers by which these files name their types; others have not been seen and are refused.
_TYPES: dict[int, np.dtype] = {3: np.dtype("u1"), 5: np.dtype("<u2"), 10: np.dtype("<f4")}
_PER_FOLDER = 100
_REFERENCE = "ReferenceData"
_LONGEST = 2**26


class XrmReader:
    """Reader of ``.xrm`` (one image) and ``.txrm`` (a series)."""

    name = "xrm"
    suffixes = (".xrm", ".txrm", ".txm")

    def can_open(self, path: Path) -> Verdict:
        """Look for the OLE signature and for images in the container."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and an X-ray microscope's file is a file")
        with path.open("rb") as file:
            head = file.read(8)
        if head != _MAGIC:
            return Verdict(False, f"it does not begin with the OLE signature (first bytes {head!r})")
        if not path.name.lower().endswith(self.suffixes):
            try:
                with _opened(path) as ole:
                    if not ole.exists("ImageInfo/ImageWidth"):
                        return Verdict(False, "it is an OLE file without images, such as an old office document")
            except FileError as error:
                return Verdict(False, str(error).removeprefix(f"{path}: ").rstrip("."))
        return Verdict(True)

    def datasets(self, path: Path) -> list[Dataset]:
        """List the images and, where there is one, the reference (flat field)."""
        with _opened(path) as ole:
            about = _About(path, ole)
            if not about.reference:
                return []
            shape = (about.rows, about.columns)
            return [
                Dataset("ImageData", (about.count, *shape) if about.count > 1 else shape, str(about.dtype), "image"),
                Dataset(_REFERENCE, shape, str(about.reference_dtype), "flat field"),
            ]

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Open the images, or with ``dataset="ReferenceData"`` the flat field."""
        with _opened(path) as ole:
            about = _About(path, ole)
        name = (dataset or "ImageData").strip("/").split("/")[0]
        if name == _REFERENCE and about.reference:
            array = XrmImages(path, [about.reference], (about.rows, about.columns), about.reference_dtype, series=False)
            attrs = {"units": "counts", "long_name": "Flat field", **about.reference_attrs}
            return StoredImage(array, ("y", "x"), spacing=about.spacing(("y", "x")), name="reference", attrs=attrs)
        if name != "ImageData":
            raise FileError(
                f"{path}: dataset must be 'ImageData' or, where there is one, {_REFERENCE!r}, got {dataset!r}."
            )
        return about.stored()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import olefile

    try:
        ole = olefile.OleFileIO(path)
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise FileError(f"{path}: the OLE container is damaged or truncated ({text}). Copy it again.") from error
    with ole:
        yield ole


def _bytes(path: Path, ole: Any, name: str) -> bytes:
    """The stream of that name, empty where there is none."""
    try:
        if not ole.exists(name):
            return b""
        if ole.get_size(name) > _LONGEST * 4:
            raise FileError(f"{path}: the stream {name} claims {ole.get_size(name)} bytes. The file is damaged.")
        return bytes(ole.openstream(name).read())
    except FileError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise FileError(
            f"{path}: the stream {name} cannot be read ({text}). The file is truncated: copy it again."
        ) from (error)


def _numbers(path: Path, ole: Any, name: str, kind: str, count: int) -> np.ndarray:
    """The first ``count`` numbers of a stream; fewer or none where it is shorter."""
    raw = _bytes(path, ole, name)
    return np.frombuffer(raw[: len(raw) // 4 * 4], kind)[:count]


class _About:
    """What a container says of its images."""

    def __init__(self, path: Path, ole: Any) -> None:
        self.path = path
        self.columns = self._whole(ole, "ImageInfo/ImageWidth")
        self.rows = self._whole(ole, "ImageInfo/ImageHeight")
        planned = self._whole(ole, "ImageInfo/NoOfImages")
        self.dtype = self._type(ole, "ImageInfo/DataType")
        names = [f"ImageData{1 + i // _PER_FOLDER}/Image{1 + i}" for i in range(planned)]
        size = self.rows * self.columns * self.dtype.itemsize
        self.names = []
        for name in names:
            if not ole.exists(name):
                break
            if ole.get_size(name) != size:
                raise FileError(
                    f"{path}: {name} must have {size} bytes for {self.rows} x {self.columns} values of {self.dtype}, "
                    f"got {ole.get_size(name)}. The file is damaged: copy it again."
                )
            self.names.append(name)
        self.count, self.planned = len(self.names), planned
        if not self.names:
            raise FileError(f"{path}: holds no image ({names[0]} is not there). It was not written whole.")
        pixel = self._varying(ole, "ImageInfo/PixelSize")
        self.pixel = float(pixel[0]) if pixel.size and 0 < pixel[0] < math.inf else None
        self.energy = self._varying(ole, "ImageInfo/Energy")
        self.angle = self._varying(ole, "ImageInfo/Angles")
        exposure = self._varying(ole, "ImageInfo/ExpTimes")
        self.exposure = exposure[exposure > 0]
        self.date = _bytes(path, ole, "ImageInfo/Date")[:40].split(b"\0")[0].decode("latin-1").strip()
        self.mosaic = [int(v[0]) if (v := _numbers(path, ole, f"ImageInfo/Mosiac{w}", "<i4", 1)).size else 0
                       for w in ("Rows", "Columns")]  # fmt: skip
        self.reference = f"{_REFERENCE}/Image" if ole.exists(f"{_REFERENCE}/Image") else ""
        if self.reference:
            size = ole.get_size(self.reference)
            fits = {self.rows * self.columns * t.itemsize: t for t in _TYPES.values()}
            if size in fits:
                self.reference_dtype = fits[size]
                exposed = self._varying(ole, f"{_REFERENCE}/ExpTime")
                self.reference_attrs = {"exposure_s": float(exposed[0])} if exposed.size and exposed[0] > 0 else {}
            else:
                self.reference = ""

    def _whole(self, ole: Any, name: str) -> int:
        found = _numbers(self.path, ole, name, "<i4", 1)
        if not found.size or not 0 < found[0] < _LONGEST:
            got = int(found[0]) if found.size else "nothing"
            raise FileError(
                f"{self.path}: {name} must be a positive number, got {got}. "
                "It is damaged or not the file of an X-ray microscope."
            )
        return int(found[0])

    def _type(self, ole: Any, name: str) -> np.dtype:
        found = _numbers(self.path, ole, name, "<i4", 1)
        number = int(found[0]) if found.size else -1
        if number not in _TYPES:
            raise FileError(
                f"{self.path}: values of type number {number} are not known (known: 3 uint8, 5 uint16, 10 float32). "
                "Export the images as TIFF."
            )
        return _TYPES[number]

    def _varying(self, ole: Any, name: str) -> np.ndarray:
        # These streams are longer than the series where the plan was, and zero behind what is set.
        return decimal(_numbers(self.path, ole, name, "<f4", self.count))

    def spacing(self, dims: Sequence[str]) -> dict[str, tuple[float, str]]:
        return {} if self.pixel is None else dict.fromkeys(dims, (self.pixel, "um"))

    def stored(self) -> StoredImage:
        """The images with the axis along which they vary."""
        notes = []
        dims: tuple[str, ...] = ("y", "x")
        coords: dict[str, Any] = {}
        energies = self.energy[np.isfinite(self.energy) & (self.energy > 0)]
        angles = self.angle
        if self.count > 1:
            if energies.size == self.count and np.unique(energies).size == self.count:
                dims = ("energy", *dims)
                coords["energy"] = ("energy", *energy_axis(energies, "eV")[:2])
            elif angles.size == self.count and np.ptp(angles) > 0:
                dims = ("angle", "detector_y", "detector_x")
                coords["angle"] = ("angle", angles, {"units": "deg", "long_name": "Rotation angle"})
            else:
                dims = ("t", *dims)
                notes.append("Neither energy nor angle tells the images apart: they were taken as a series in time.")
        if dims[0] != "energy":
            if energies.size and np.ptp(energies) == 0:
                coords["energy"] = ((), float(energies[0]), {"units": "eV", "long_name": "Photon energy"})
            elif energies.size > 1:
                notes.append(
                    f"{np.unique(energies).size} energies are stored for {self.count} images: check the series."
                )
            else:
                notes.append("The photon energy is not stored in the file (it may be in its name).")
        if self.count == 1 and angles.size:
            coords["angle"] = ((), float(angles[0]), {"units": "deg", "long_name": "Rotation angle"})
        if self.count < self.planned:
            notes.append(f"{self.count} of {self.planned} planned images are there: the series was interrupted.")
        if self.mosaic[0] * self.mosaic[1] > 1:
            notes.append(f"These are the tiles of a mosaic of {self.mosaic[0]} x {self.mosaic[1]}: stitch them.")
        if self.reference:
            notes.append(f"The flat field is in the file: open it with dataset={_REFERENCE!r}.")
        attrs: dict[str, Any] = {"units": "counts", "long_name": "Detected signal"}
        if self.exposure.size:
            same = np.all(self.exposure == self.exposure[0])
            attrs["exposure_s"] = float(self.exposure[0]) if same else [float(v) for v in self.exposure]
        if self.date:
            attrs["start_time"] = self.date
        array = XrmImages(self.path, self.names, (self.rows, self.columns), self.dtype, series=self.count > 1)
        return StoredImage(
            array, dims, spacing=self.spacing(dims[-2:]), coords=coords, name="counts", attrs=attrs, notes=notes
        )


class XrmImages(FileArray):
    """Images of a container, each read when its block is computed."""

    def __init__(
        self, path: Path, names: Sequence[str], shape: Sequence[int], dtype: np.dtype, *, series: bool
    ) -> None:
        self._names = list(names)
        self._stored = dtype
        self._series = series
        whole = (len(names), *shape) if series else tuple(shape)
        super().__init__(path, whole, dtype, chunks=(1, *shape) if series else tuple(shape))

    def _token(self) -> Any:
        return str(self.path), self._names

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read the images of a box; a stream has to be read whole."""
        box = region if self._series else (slice(0, 1), *region)
        shape = self.shape[-2:]
        out = np.empty([s.stop - s.start for s in box], self.dtype)
        with _opened(self.path) as ole:
            for at, name in enumerate(self._names[box[0]]):
                raw = _bytes(self.path, ole, name)
                if len(raw) != math.prod(shape) * self._stored.itemsize:
                    raise FileError(f"{self.path}: {name} ends early. The file is truncated: copy it again.")
                out[at] = np.frombuffer(raw, self._stored).reshape(shape)[box[1:]]
        return out if self._series else out[0]
