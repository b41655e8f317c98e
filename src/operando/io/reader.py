"""The contract of a reader, and the list of those that are installed.

A reader is registered by the entry point group ``operando.readers``, so that a package of its own can add a
format::

    [project.entry-points."operando.readers"]
    myformat = "my_package.my_module:MyReader"

:func:`operando.io.conformance.check_reader` tells whether it keeps the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from operando.core.errors import FileError, InputError, nearest

GROUP = "operando.readers"


@dataclass(frozen=True)
class Verdict:
    """Whether a reader takes a path; if not, why not, as one sentence without the path.

    Examples
    --------
    >>> bool(Verdict(True)), bool(Verdict(False, "it does not begin with a TIFF header"))
    (True, False)
    """

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Dataset:
    """One array in a container such as HDF5: what ``operando info`` lists."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    role: str = ""


@dataclass
class StoredImage:
    """An image as its file stores it, before it is brought into operando's order and units.

    Parameters
    ----------
    array : FileArray, ndarray or Dask array
        The values, in the file's order of axes.
    dims : sequence of str
        One name per axis, each from :data:`operando.core.axes.DIMS`, in the file's order.
    spacing : mapping of str to (float, str)
        Distance of neighboring centers and its unit, for the axes where the file says so.
    origin : mapping of str to float
        Center of the first voxel in the unit of its spacing; default 0.
    coords : mapping
        Exact coordinates as xarray takes them, ``name: (dims, values, attrs)``; they win over ``spacing``.
    name, attrs
        Of the image.
    notes : sequence of str
        What is missing or was guessed, one plain sentence each.
    drop : sequence of str
        Dims of length one that only the file needs; they go unless the caller names the axes.
    """

    array: Any
    dims: Sequence[str]
    spacing: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    drop: Sequence[str] = ()


@runtime_checkable
class Reader(Protocol):
    """What a reader must offer.

    Attributes
    ----------
    name : str
        Short and unique, as in ``open_image(path, reader=name)``.
    suffixes : tuple of str
        Usual endings, lower case with the dot. A matching reader is asked first, and its reason is the one
        that a user reads when nobody can open the path. The content decides, never the ending.

    Notes
    -----
    - ``can_open`` reads a few bytes at most, never raises for a path that exists, and never returns a bare no.
    - ``open`` reads headers only, checks them against the size of the file, and raises
      :class:`~operando.core.errors.FileError` with one sentence where they do not fit.
    - A damaged block that no header reveals is a ``FileError`` when that block is computed; deriving the array
      from :class:`operando.io.lazy.FileArray` takes care of it.
    - ``datasets`` lists what a container holds; a format with one image per file returns an empty list.
    """

    name: str
    suffixes: tuple[str, ...]

    def can_open(self, path: Path) -> Verdict:
        """Say whether this reader takes the path, and if not, why not."""
        ...

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Return the image at the path, lazily."""
        ...

    def datasets(self, path: Path) -> list[Dataset]:
        """List the arrays in a container."""
        ...


@cache
def readers() -> dict[str, Reader]:
    """Every installed reader by name: operando's own and those that other packages register.

    Raises
    ------
    InputError
        Where a registered reader cannot be imported or lacks a part of the contract.

    Examples
    --------
    >>> sorted(readers())[:3]
    ['hdf5', 'mask', 'ncb']
    """
    found: dict[str, Reader] = {}
    for entry in sorted(
        metadata.entry_points(group=GROUP), key=lambda e: (not e.value.startswith("operando."), e.name)
    ):
        try:
            reader = entry.load()()
        except Exception as error:
            raise InputError(
                f"readers: the entry point {entry.name} = {entry.value} must give a reader, but loading it failed "
                f"({type(error).__name__}: {error}). Repair or uninstall the package that registers it."
            ) from error
        if not isinstance(reader, Reader):
            raise InputError(
                f"readers: {entry.value} must have name, suffixes, can_open, open and datasets. "
                "See operando.io.reader.Reader."
            )
        if reader.name in found:
            raise InputError(
                f"readers: two installed readers are called {reader.name!r}. Uninstall one of the packages."
            )
        found[reader.name] = reader
    return found


# Formats that people have beside their images: what they are and what to do, for "why I cannot read this".
_ELSEWHERE: dict[tuple[str, ...], str] = {
    (".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".bdf"): "a table, not an image",
    (".xas", ".xdi", ".nor", ".xsp", ".spec"): "a spectrum, not an image: open it with operando.io.open_spectra",
    (".e", ".r", ".t"): "a spectrum, not an image: open it with operando.io.open_spectra",
    (".txt", ".md", ".json", ".yaml", ".yml", ".xml"): "a text file, not an image",
    (".mpr", ".mpt", ".ndax", ".nda", ".res"): "a battery cycler's file, not an image",
    (".gif", ".mp4", ".avi", ".mov", ".webm"): "a movie, whose values are not measured ones: export frames as TIFF",
    (".npy", ".npz"): "a NumPy file: load it and use operando.labeled_image(array, voxel_size_um=...)",
    (".mat",): "a MATLAB file, which is not supported: save it with -v7.3 and rename it to .h5, or export TIFF",
    (".am", ".amira"): "an Amira file, which is not supported: export it as TIFF",
    (".vgi", ".vgl"): "a VGStudio file: open the .vol or .raw beside it with a JSON sidecar",
    (".dcm", ".nii", ".mrc", ".czi", ".lif", ".nd2", ".nrrd"): "a format that is not supported: export it as TIFF",
    (".zip", ".gz", ".tar", ".tgz", ".7z", ".bz2"): "an archive: unpack it first",
    (".pdf", ".docx", ".pptx"): "a document, not an image",
}
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def find_reader(path: Path, *, name: str | None = None) -> Reader:
    """Return the reader that takes ``path``.

    Raises
    ------
    FileError
        Where the path is not there, is empty, may not be read, or no reader takes it; the message says why.
    """
    check_exists(path)
    known = readers()
    if name is not None:
        if name not in known:
            raise InputError(f"open_image: there is no reader {name!r}. {nearest(name, known)}")
        verdict = known[name].can_open(path)
        if not verdict:
            raise FileError(f"{path}: the reader {name!r} cannot open it, because {verdict.reason}.")
        return known[name]
    ending = path.name.lower()
    ordered = sorted(known.values(), key=lambda r: not ending.endswith(r.suffixes))
    reasons: list[str] = []
    for reader in ordered:
        verdict = reader.can_open(path)
        if verdict:
            return reader
        if ending.endswith(reader.suffixes):
            reasons.append(verdict.reason)
    why = _why(path, reasons)
    # What is no image, or says how to go on, needs no second advice.
    advice = (
        "" if "xport" in why or ": open it with " in why else " Check the file, or export it as TIFF, HDF5 or OME-Zarr."
    )
    raise FileError(f"{path}: cannot be opened as an image, because {why}.{advice}")


def _why(path: Path, reasons: list[str]) -> str:
    if path.is_dir():
        return reasons[0] if reasons else f"the folder holds no TIFF slices and is not a Zarr store ({_contents(path)})"
    with path.open("rb") as file:
        head = file.read(8)
    for suffixes, what in _ELSEWHERE.items():
        if path.name.lower().endswith(suffixes):
            return f"it is {what}"
    if head == _OLE:
        return "it is an OLE file (as of old office programs) without the images of an X-ray microscope"
    if reasons:
        return "; ".join(reasons)
    endings = sorted({suffix for reader in readers().values() for suffix in reader.suffixes})
    kind = f"the ending {path.suffix!r}" if path.suffix else "a name without ending"
    return f"no reader knows {kind} or the first bytes {head!r} (known: {', '.join(endings)})"


def _contents(folder: Path) -> str:
    endings: dict[str, int] = {}
    for entry in folder.iterdir():
        kind = "folder" if entry.is_dir() else (entry.suffix.lower() or "no ending")
        endings[kind] = endings.get(kind, 0) + 1
    if not endings:
        return "it is empty"
    counted = sorted(endings.items(), key=lambda item: -item[1])[:4]
    return "it holds " + ", ".join(f"{count} x {kind}" for kind, count in counted)


def check_exists(path: Path) -> None:
    """Raise :class:`FileError` where a path is not there, empty or unreadable, naming near ones."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)
            return
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        parent = path.parent
        if not parent.is_dir():
            raise FileError(f"{path}: does not exist, and neither does its folder {parent}.") from None
        names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")][:1000]
        hint = nearest(path.name, names) if names else "The folder is empty."
        # A folder may hold thousands of files: only a near name helps.
        hint = hint if hint.startswith(("Did", "The")) or len(names) <= 8 else f"The folder holds {len(names)} others."
        raise FileError(f"{path}: does not exist. {hint}") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r}: is not a possible path ({error}).") from None
    if empty:
        raise FileError(f"{path}: the file is empty (0 bytes). Copy or export it again.")
