"""Open, save and describe images of any format."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import DIMS, SPACE, check_dims, labeled_image
from operando.core.errors import AxesError, FileError, InputError, OperandoError, UnitsError, nearest
from operando.core.files import written_whole
from operando.core.phases import PhaseScheme
from operando.core.provenance import file_digest, record
from operando.io.lazy import FileArray
from operando.io.reader import Reader, StoredImage, find_reader

# Suffix to the function that writes it. Formats are imported when they are used.
_WRITERS = {
    ".zarr": "operando.io.ome_zarr:write_ome_zarr",
    ".tif": "operando.io.tiff:write_tiff",
    ".tiff": "operando.io.tiff:write_tiff",
    ".h5": "operando.io.hdf5:write_hdf5",
    ".hdf5": "operando.io.hdf5:write_hdf5",
    ".nxs": "operando.io.hdf5:write_hdf5",
    ".raw": "operando.io.raw:write_raw",
}
_T = TypeVar("_T")
_LONG_NAMES = {"z": "Position z", "y": "Position y", "x": "Position x", "t": "Time"}


def open_image(
    path: str | Path,
    *,
    voxel_size_um: float | Sequence[float] | None = None,
    dims: Sequence[str] | None = None,
    dataset: str | None = None,
    reader: str | None = None,
) -> xr.DataArray:
    """Open an image file, folder of slices or store, without reading its values.

    Parameters
    ----------
    path : str or Path
        TIFF (also ImageJ, OME, BigTIFF), a folder of TIFF slices, HDF5 (NeXus, NXstxm, Data Exchange, CXI,
        PtyPy, or any data set as ``file.h5#/path/in/file``), STXM (``.hdr`` with ``.xim``, ``.stk``, ``.ncb``),
        ``.xrm`` and ``.txrm``, text masks, raw values with a sidecar, OME-Zarr, PNG or JPEG. What the bytes say
        decides, not the ending.
    voxel_size_um : float or one per spatial dim, optional
        Edge of a voxel in um, in the order ``z, y, x``; replaces what the file says.
    dims : sequence of str, optional
        One name per axis *in the order of the file*; replaces what the file says. The image comes back in the
        order of :data:`operando.core.axes.DIMS`.
    dataset : str, optional
        Which array of a container: a path inside HDF5 or Zarr, or the number of a TIFF series.
    reader : str, optional
        Name of the reader to use instead of asking each.

    Returns
    -------
    DataArray
        Dask-backed, dims in canonical order, spatial coordinates at voxel centers in um (px where the file
        gives no voxel size), time in h, photon energy in eV. ``attrs``: ``units``, ``source``, ``provenance``,
        and what the file kept (``long_name``, ``phases`` as a :class:`~operando.PhaseScheme`, ...).

    Raises
    ------
    FileError
        One sentence: the path is missing, empty, damaged or of another kind, or a container holds several
        images. A damaged block that no header reveals is a FileError when it is computed.
    AxesError, UnitsError
        Where ``dims`` or ``voxel_size_um`` do not fit.

    Notes
    -----
    Memory: headers and coordinates only. A block is read when it is computed, by any number of threads.
    A file that changes after it was opened gives an error, not a mixture of old and new.

    Examples
    --------
    >>> import tempfile
    >>> image = labeled_image(np.arange(24, dtype="uint16").reshape(2, 3, 4), voxel_size_um=(2, 1, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_image(image, f"{folder}/cell.tif")
    ...     opened = open_image(f"{folder}/cell.tif")
    ...     opened.dims, opened.z.attrs["spacing"], int(opened.sum())
    (('z', 'y', 'x'), 2.0, 276)
    """
    place, inside = _split_dataset(path, dataset)
    found = find_reader(place, name=reader)
    stored = open_stored(found, place, dataset=inside)
    image = _guarded(place, lambda: _assemble(stored, dims=dims, voxel_size_um=voxel_size_um, where=str(place)))
    given = {"voxel_size_um": voxel_size_um, "dims": dims, "dataset": inside, "reader": found.name}
    image.attrs["source"] = str(place)
    if "provenance" not in stored.attrs or voxel_size_um is not None or dims is not None:
        image.attrs["provenance"] = record(
            "operando.io.open_image",
            {key: value for key, value in given.items() if value is not None},
            inputs={str(place): _digest(place)},
        )
    return image


def _split_dataset(path: str | Path, dataset: str | None) -> tuple[Path, str | None]:
    text = str(path)
    if "\0" in text:
        raise FileError(f"{text!r}: is not a possible path (it holds a null character).")
    if "#" in text and not Path(text).exists():
        outside, _, inside = text.partition("#")
        if Path(outside).exists():
            if dataset is not None and dataset.strip("/") != inside.strip("/"):
                raise InputError(
                    f"open_image: {inside!r} after '#' and dataset={dataset!r} must be the same. Give one of them."
                )
            return Path(outside), inside
    return Path(text), dataset


def open_stored(reader: Reader, path: Path, *, dataset: str | None = None) -> StoredImage:
    """Open a path with a certain reader; whatever a library makes of a damaged header is a FileError."""
    return _guarded(path, lambda: reader.open(path, dataset=dataset))


def _guarded(path: Path, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except OperandoError:
        raise
    except MemoryError:
        raise FileError(f"{path}: its header asks for more memory than there is. The file is damaged.") from None
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise FileError(
            f"{path}: its header cannot be read ({type(error).__name__}: {text}). Copy or export the file again."
        ) from error


def _digest(path: Path) -> str:
    # A Zarr store may hold a million chunks on a network disk: its header stands for it.
    for header in ("zarr.json", ".zattrs", ".zgroup", ".zarray"):
        if (path / header).is_file():
            return file_digest(path / header)
    return file_digest(path)


def _assemble(
    stored: StoredImage,
    *,
    dims: Sequence[str] | None,
    voxel_size_um: float | Sequence[float] | None,
    where: str,
) -> xr.DataArray:
    """Bring a stored image into canonical order and units."""
    own = tuple(map(str, stored.dims))
    shape = tuple(int(n) for n in stored.array.shape)
    names = own if dims is None else _given_dims(dims, shape, own, where)
    order = sorted(range(len(names)), key=lambda axis: DIMS.index(names[axis]) if names[axis] in DIMS else 99)
    canonical = check_dims([names[axis] for axis in order], where=where)
    data = stored.array.to_dask() if isinstance(stored.array, FileArray) else _lazy(stored.array)
    if order != list(range(len(order))):
        data = data.transpose(order)
    gone = [] if dims is not None else [d for d in canonical if d in stored.drop and shape[names.index(d)] == 1]
    if gone:
        data = data.squeeze(axis=tuple(canonical.index(dim) for dim in gone))
        canonical = tuple(dim for dim in canonical if dim not in gone)
    renamed = dict(zip(own, names, strict=True))
    sizes = dict(zip(names, shape, strict=True))
    space = [dim for dim in canonical if dim in SPACE]
    if voxel_size_um is not None and not space:
        raise UnitsError(f"{where}: voxel_size_um needs one of the dims z, y, x, the image has {canonical}. Pass dims.")
    coords: dict[str, Any] = {}
    for name, (on, values, attrs) in stored.coords.items():
        on = tuple(renamed.get(dim, dim) for dim in ((on,) if isinstance(on, str) else on))
        key = renamed.get(name, name)
        if not set(on) <= set(canonical) or (key in canonical and on != (key,)):
            continue
        coords[key] = (on, *_in_our_units(key, np.asarray(values), dict(attrs)))
    origin = {}
    for dim, (step, unit) in stored.spacing.items():
        key = renamed.get(dim, dim)
        if key not in canonical or key in coords:
            continue
        start = stored.origin.get(dim, 0.0)
        if key in SPACE and units.kind(unit) == "length":
            origin[key] = start * units.factor(unit, "um")
        made = start + step * np.arange(sizes[key], dtype=float)
        values, attrs = _in_our_units(key, made, {"units": unit, "spacing": step})
        coords[key] = (key, values, attrs)
    if voxel_size_um is not None:
        coords = {name: value for name, value in coords.items() if name not in space}
    attrs = dict(stored.attrs)
    image = labeled_image(
        data,
        dims=canonical,
        voxel_size_um=voxel_size_um,
        coords=coords,
        units=str(attrs.pop("units", "1")),
        attrs=attrs,
    )
    # Set here, because xarray would take the name of the Dask graph for an image without one.
    image.name = stored.name
    return image


def _given_dims(dims: Sequence[str], shape: tuple[int, ...], own: tuple[str, ...], where: str) -> tuple[str, ...]:
    names = (dims,) if isinstance(dims, str) else tuple(map(str, dims))
    for name in names:
        if name not in DIMS:
            raise AxesError(f"{where}: dims must be from {', '.join(DIMS)}, got {name!r}. {nearest(name, DIMS)}")
    if len(names) != len(shape) or len(set(names)) != len(names):
        raise AxesError(
            f"{where}: dims must name each of the {len(shape)} axes once, got {names} for the shape {shape} "
            f"(the file's own guess: {own})."
        )
    return names


def _in_our_units(dim: str, values: np.ndarray, attrs: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    unit = units.canonical(str(attrs.get("units", ""))) or None
    if dim in SPACE:
        unit = unit or units.PIXEL
    target = {
        "length": "um" if dim in (*SPACE, "detector_y", "detector_x") else None,
        "time": "h" if dim == "t" else None,
        "energy": "eV" if dim == "energy" else None,
    }
    to = target.get(units.kind(unit) or "") if unit else None
    scale = 1.0
    if to is not None and unit != to:
        scale = units.factor(str(unit), to)
        values, unit = values.astype(float) * scale, to
    out = {**attrs}
    if unit:
        out["units"] = unit
    if dim in _LONG_NAMES:
        out.setdefault("long_name", _LONG_NAMES[dim])
    if dim in SPACE:
        if isinstance(out.get("spacing"), int | float):
            out["spacing"] = float(out["spacing"]) * scale
        elif values.size > 1:
            # Twelve digits: centers far from zero leave rounding in their difference.
            out["spacing"] = float(f"{float(values[-1] - values[0]) / (values.size - 1):.12g}")
    return values, out


def _lazy(array: Any) -> Any:
    import dask.array as da

    return array if isinstance(array, da.Array) else da.from_array(array)


def save_image(
    image: xr.DataArray,
    path: str | Path,
    *,
    overwrite: bool = False,
    labels: bool | None = None,
) -> Path:
    """Write an image; the ending of the path chooses the format.

    Parameters
    ----------
    image : DataArray
        Any dims of :data:`operando.core.axes.DIMS`; lazy images are written block by block.
    path : str or Path
        ``.zarr`` (OME-Zarr 0.5, the canonical store), ``.tif`` (OME-TIFF, BigTIFF where needed), ``.h5`` or
        ``.nxs`` (NeXus; an image over photon energy is a valid NXstxm entry), ``.raw`` (with a JSON sidecar).
    overwrite : bool
        Replace what stands at ``path``.
    labels : bool, optional
        Whether values are labels, which a pyramid takes by nearest neighbor and never averages. Default: true
        for uint8 images with ``attrs["phases"]``.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    InputError
        Where the image, one of its attributes or the ending cannot be stored as asked.
    FileError
        Where the path exists already or cannot be written.

    Notes
    -----
    The file appears under its name when it is whole. Voxel size, units, order of axes, type, time and other
    coordinates and attributes survive in all four formats; other programs see the voxel size and the axes.

    Examples
    --------
    >>> import tempfile
    >>> image = labeled_image(np.zeros((4, 4)), voxel_size_um=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_image(image, f"{folder}/map.zarr").name
    'map.zarr'
    """
    target = Path(path)
    if not isinstance(image, xr.DataArray):
        raise InputError(
            f"save_image: an xarray.DataArray is needed, got {type(image).__name__}. "
            "Label the array with operando.labeled_image(array, voxel_size_um=...)."
        )
    check_dims([str(d) for d in image.dims], where="save_image")
    if 0 in image.shape:
        raise InputError(f"save_image: an image must have voxels, got the shape {image.shape}. Select a larger part.")
    if image.dtype.kind not in "biufc":
        raise InputError(f"save_image: values must be numbers, got {image.dtype}. Convert them with .astype(...).")
    writer = _writer(target)
    as_labels = is_label_image(image) if labels is None else labels
    if target.is_dir() and not target.is_symlink() and target.suffix.lower() != ".zarr":
        raise FileError(f"{target}: is a folder, and a file is to be written there. Choose another name.")
    if target.is_dir() and not any((target / h).is_file() for h in ("zarr.json", ".zgroup", ".zarray")):
        raise FileError(f"{target}: is a folder that is not a Zarr store, so it is not replaced. Choose another name.")
    try:
        with written_whole(target, overwrite=overwrite) as temporary:
            writer(image, temporary, labels=as_labels, final=target)
    except OperandoError:
        raise
    except OSError as error:
        raise FileError(
            f"{target}: cannot be written ({error.strerror or error}). Check the folder's permissions and free space."
        ) from error
    return target


def is_label_image(image: xr.DataArray) -> bool:
    """Whether values are labels: uint8 with a phase scheme in ``attrs["phases"]``."""
    return image.dtype == np.uint8 and isinstance(image.attrs.get("phases"), PhaseScheme | dict)


def _writer(target: Path) -> Callable[..., None]:
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(
            f"save_image: the ending must be one of {', '.join(_WRITERS)}, got {target.name!r}. "
            f"{nearest(suffix or target.name, _WRITERS)}"
        )
    module, _, function = _WRITERS[suffix].partition(":")
    writer: Callable[..., None] = getattr(importlib.import_module(module), function)
    return writer


def describe(path: str | Path, *, dataset: str | None = None, reader: str | None = None) -> dict[str, Any]:
    """Say what an image file is, without reading its values.

    Parameters
    ----------
    path, dataset, reader
        As in :func:`open_image`.

    Returns
    -------
    dict
        Plain values for JSON: ``path``, ``reader``, ``dataset``, ``dims``, ``shape``, ``dtype``, ``units``,
        ``voxel_size`` and ``voxel_units`` per spatial dim, ``extent_um``, ``bytes`` (in memory), ``bytes_on_disk``,
        ``chunks`` (largest lazy block), ``t`` (``n``, ``first``, ``last``, ``units``) or None, ``coords`` (``dims``,
        ``units`` and of numbers ``first`` and ``last``),
        ``phases`` (name to id) or None, ``missing`` (sentences) and ``datasets`` (``path, shape, dtype, role``).
        Where a container holds several images, ``dims`` and ``shape`` are None and ``missing`` says so.

    Raises
    ------
    FileError
        Where the path cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_image(labeled_image(np.zeros((2, 3), "uint8")), f"{folder}/a.tif")
    ...     about = describe(f"{folder}/a.tif")
    >>> about["shape"], about["dtype"], about["voxel_units"], about["missing"]
    ([2, 3], 'uint8', {'y': 'px', 'x': 'px'}, ['The voxel size is not stored: pass voxel_size_um.'])
    """
    place, inside = _split_dataset(path, dataset)
    found = find_reader(place, name=reader)
    listed = _guarded(place, lambda: found.datasets(place))
    about: dict[str, Any] = {
        "path": str(place),
        "reader": found.name,
        "dataset": inside,
        "dims": None,
        "shape": None,
        "dtype": None,
        "units": None,
        "voxel_size": {},
        "voxel_units": {},
        "extent_um": {},
        "bytes": None,
        "bytes_on_disk": place.stat().st_size if place.is_file() else None,
        "chunks": None,
        "t": None,
        "coords": {},
        "phases": None,
        "missing": [],
        "datasets": [{"path": d.path, "shape": list(d.shape), "dtype": d.dtype, "role": d.role} for d in listed],
    }
    try:
        stored = open_stored(found, place, dataset=inside)
    except FileError as error:
        if inside is not None or not listed:
            raise
        sentence = str(error).removeprefix(f"{place}: ")
        about["missing"] = [sentence[:1].upper() + sentence[1:]]
        return about
    image = _guarded(place, lambda: _assemble(stored, dims=None, voxel_size_um=None, where=str(place)))
    space = [str(dim) for dim in image.dims if dim in SPACE]
    for dim in space:
        unit = str(image.coords[dim].attrs["units"])
        step = image.coords[dim].attrs.get("spacing")
        about["voxel_size"][dim] = None if step is None else float(step)
        about["voxel_units"][dim] = unit
        if unit == "um" and step is not None:
            about["extent_um"][dim] = float(step) * image.sizes[dim]
    phases = image.attrs.get("phases")
    about |= {
        "dims": [str(dim) for dim in image.dims],
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "units": str(image.attrs["units"]),
        "bytes": math.prod(image.shape) * image.dtype.itemsize,
        "chunks": [max(sizes) for sizes in image.chunks or ()],
        "t": _time_axis(image),
        "coords": {
            str(name): {"dims": [str(d) for d in c.dims], "units": str(c.attrs.get("units", "1")), **_ends(c)}
            for name, c in image.coords.items()
            if name not in space
        },
        "phases": dict(phases) if isinstance(phases, PhaseScheme) else None,
        "missing": [*_missing(image, space), *stored.notes],
    }
    return about


def _ends(coordinate: xr.DataArray) -> dict[str, float]:
    """First and last value of a coordinate of numbers; JSON has no others than finite ones."""
    if coordinate.dtype.kind not in "iuf" or not coordinate.size:
        return {}
    first, last = float(coordinate.values.flat[0]), float(coordinate.values.flat[-1])
    return {"first": first, "last": last} if math.isfinite(first) and math.isfinite(last) else {}


def _time_axis(image: xr.DataArray) -> dict[str, Any] | None:
    if "t" not in image.coords:
        return None
    t = image.coords["t"]
    if t.dtype.kind not in "iuf":
        return {"n": int(t.size), "first": str(t.values.flat[0]), "last": str(t.values.flat[-1]), "units": "date"}
    first, last = (float(t.values.flat[i]) for i in (0, -1))
    return {"n": int(t.size), "first": first, "last": last, "units": str(t.attrs.get("units", "1"))}


def _missing(image: xr.DataArray, space: list[str]) -> list[str]:
    missing = []
    unknown = [dim for dim in space if image.coords[dim].attrs["units"] == units.PIXEL]
    if unknown and unknown == space:
        missing.append("The voxel size is not stored: pass voxel_size_um.")
    elif unknown:
        missing.append(f"The voxel size along {', '.join(unknown)} is not stored: pass voxel_size_um.")
    other = [d for d in space if d not in unknown and units.kind(str(image.coords[d].attrs["units"])) != "length"]
    if other:
        missing.append(f"The unit along {', '.join(other)} is not a length: pass voxel_size_um.")
    if "energy" in image.dims and "energy" not in image.coords:
        missing.append("The photon energies are not stored: open it with operando.io.open_stack(path, energies=...).")
    if "t" in image.dims and str(image.coords["t"].attrs.get("units", "1")) == "1":
        missing.append("The times of the scans are not stored: set image['t'] in hours.")
    return missing
