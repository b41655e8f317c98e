"""HDF5: NeXus, Data Exchange, CXI, operando's own layout, or any data set by its path."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.blocks import iter_blocks
from operando.core.errors import FileError, nearest
from operando.io import metadata, nxstxm, ptychography
from operando.io.hdf5_axes import numbers_at, read_axes, text, voxel_size
from operando.io.lazy import BLOCK_BYTES, FileArray, grow_chunks
from operando.io.reader import Dataset, StoredImage, Verdict

_MAGIC = b"\x89HDF\r\n\x1a\n"
_CHUNK_BYTES = 2**20


class Hdf5Reader:
    """Reader of HDF5 files."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".cxi", ".he5", ".ptyr")

    def can_open(self, path: Path) -> Verdict:
        """Look for the HDF5 signature, which may follow a user block."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and an HDF5 file is a file")
        size = path.stat().st_size
        with path.open("rb") as file:
            at = 0
            while at + len(_MAGIC) <= size and at <= 2**20:
                file.seek(at)
                if file.read(len(_MAGIC)) == _MAGIC:
                    return Verdict(True)
                at = 512 if at == 0 else at * 2
            file.seek(0)
            head = file.read(8)
        return Verdict(False, f"it does not begin with the HDF5 signature (first bytes {head!r})")

    def datasets(self, path: Path) -> list[Dataset]:
        """List every numeric data set."""
        with _opened(path) as file:
            roles = _roles(file)
            return [
                Dataset(f"/{name}", tuple(d.shape), str(d.dtype), roles.get(f"/{name}", ""))
                for name, d in _numeric(file)
                if d.ndim > 0
            ]

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Open the data set that a standard or ``dataset`` names, or the only image."""
        with _opened(path) as file:
            chosen = _choose(path, file, dataset)
            return _stored(path, file, chosen)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401 - registers the compression filters that beamlines use

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        what = " ".join(str(error).split())
        if "truncated" in what:
            raise FileError(f"{path}: the HDF5 file is truncated. Copy or export it again.") from error
        if "unable to lock file" in what:
            raise FileError(
                f"{path}: another program holds the HDF5 file open for writing. Close it there and try again."
            ) from error
        raise FileError(f"{path}: the HDF5 file is damaged ({what[:160]}). Copy or export it again.") from error
    with file:
        yield file


def _numeric(file: Any) -> list[tuple[str, Any]]:
    """Every numeric data set by path, each once, without following links out of the file."""
    import h5py

    found: list[tuple[str, Any]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "biufc" and node.shape is not None:
            found.append((name, node))

    file.visititems(visit)
    return found


def _roles(file: Any) -> dict[str, str]:
    roles = {}
    if "exchange/data" in file:
        roles["/exchange/data"] = "Data Exchange: image"
        for name, role in (("data_white", "flat field"), ("data_dark", "dark field"), ("theta", "angle")):
            if f"exchange/{name}" in file:
                roles[f"/exchange/{name}"] = f"Data Exchange: {role}"
    white = "spectromicroscopy/normalization/white_spectrum"
    if white in file:
        roles[f"/{white}"] = "I0 (energies in white_spectrum_energy)"
    signal = _nexus_signal(file)
    if signal is not None:
        roles[signal.name] = "NeXus: signal"
    return roles | nxstxm.roles(file)


def _choose(path: Path, file: Any, dataset: str | None) -> Any:
    import h5py

    if dataset is not None:
        inside = "/" + dataset.strip("/")
        try:
            node = file[inside]
        except (KeyError, ValueError, OSError):
            known = [f"/{name}" for name, _ in _numeric(file)]
            raise FileError(f"{path}: holds no {inside!r}. {nearest(inside, known[:40])}") from None
        if isinstance(node, h5py.Group):
            signal = _signal_of(node)
            if signal is None:
                inner = [f"{inside}/{name}" for name, _ in _numeric(node)]
                raise FileError(f"{path}: {inside!r} is a group, not a data set. {nearest(inside, inner[:40])}")
            node = signal
        if node.dtype.kind not in "biufc" or node.shape is None or node.ndim == 0:
            raise FileError(
                f"{path}: {inside!r} must be an array of numbers, got {node.dtype} of shape {node.shape}. "
                "Choose another data set."
            )
        return node
    for standard in (_nexus_signal(file), numbers_at(file, "exchange/data"), ptychography.signal(file)):
        if standard is not None:
            return standard
    numeric = _numeric(file)
    # A table of a few columns (energy, intensity) beside the image is not a second image.
    images = [d for _, d in numeric if sum(n > 3 for n in d.shape) >= 2] or [d for _, d in numeric if d.ndim >= 2]
    if len(images) == 1:
        return images[0]
    if not images:
        listed = ", ".join(f"/{name} {tuple(d.shape)}" for name, d in numeric[:12]) or "no numbers at all"
        raise FileError(
            f"{path}: holds no image, only {listed}. Name a data set with dataset=... if one of them is meant."
        )
    listed = ", ".join(f"{d.name} {tuple(d.shape)} {d.dtype}" for d in images[:24])
    more = f" and {len(images) - 24} more" if len(images) > 24 else ""
    raise FileError(f"{path}: holds {len(images)} images. Choose one as {path.name}#/path: {listed}{more}.")


def _nexus_signal(file: Any) -> Any:
    """Follow NeXus from the root: ``default`` where given, else the first NXentry and NXdata."""
    import h5py

    node = file
    for _ in range(8):
        if text(node.attrs.get("NX_class", "")) == "NXdata":
            return _signal_of(node)
        step = node.attrs.get("default")
        child = node.get(text(step)) if step is not None else None
        if not isinstance(child, h5py.Group):
            wanted = ("NXentry", "NXdata")
            children = [node.get(name) for name in node]
            groups = [c for c in children if isinstance(c, h5py.Group)]
            child = next((g for g in groups if text(g.attrs.get("NX_class", "")) in wanted), None)
        if child is None:
            return None
        node = child
    return None


def _signal_of(group: Any) -> Any:
    name = group.attrs.get("signal")
    if name is not None:
        return numbers_at(group, text(name))
    if text(group.attrs.get("NX_class", "")) != "NXdata":
        return None
    for child in group:
        node = numbers_at(group, child)
        if node is not None and "signal" in node.attrs:
            return node
    return numbers_at(group, "data")


class Hdf5Blocks(FileArray):
    """A data set that opens its file for each block, so that any thread or process may read."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self._inside = dataset.name
        unit = dataset.chunks or [*([1] * max(0, dataset.ndim - 2)), *dataset.shape[-2:]]
        itemsize = dataset.dtype.itemsize
        if dataset.chunks is None and math.prod(unit) * itemsize > 4 * BLOCK_BYTES:
            unit[-2] = max(1, BLOCK_BYTES // (unit[-1] * itemsize))
        super().__init__(path, dataset.shape, dataset.dtype, chunks=grow_chunks(unit, dataset.shape, itemsize))

    def _token(self) -> Any:
        return str(self.path), self._inside

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read a box."""
        with _opened(self.path) as file:
            return np.asarray(file[self._inside][region]).astype(self.dtype, copy=False)


def _stored(path: Path, file: Any, dataset: Any) -> StoredImage:
    if dataset.ndim > 5 or dataset.ndim < 1:
        raise FileError(f"{path}: {dataset.name} has {dataset.ndim} axes {dataset.shape}, at most five can be used.")
    if 0 in dataset.shape:
        raise FileError(
            f"{path}: {dataset.name} is empty, its shape is {dataset.shape}. It was not written to its end."
        )
    notes = _holes(path, dataset)
    array = Hdf5Blocks(path, dataset)
    own = _own(path, dataset)
    if own is not None and list(own.get("dims", ())) and len(own["dims"]) == dataset.ndim:
        dims = tuple(own["dims"])
        sizes = dict(zip(dims, dataset.shape, strict=True))
        coords = metadata.coords_from_plain(own, sizes, where=str(path))
        return StoredImage(
            array, dims, coords=coords, name=own.get("name"), attrs=metadata.attrs_from_plain(own), notes=notes
        )
    special = ptychography.stored(file, dataset, array)
    if special is not None:
        special.notes = [*notes, *special.notes]
        return special
    axes = nxstxm.read_axes(file, dataset) or read_axes(dataset)
    attrs: dict[str, Any] = {}
    for ours, theirs in (("units", "units"), ("units", "unit"), ("long_name", "long_name")):
        if theirs in dataset.attrs:
            attrs.setdefault(ours, text(dataset.attrs[theirs]))
    if dataset.name.rsplit("/", 1)[-1].lower() == "counts":
        attrs.setdefault("units", "counts")
    described, told = nxstxm.describe(file, dataset)
    spacing = {dim: (step, "um") for dim, step in voxel_size(dataset, axes.dims).items() if dim not in axes.coords}
    turn = tuple(slice(None, None, -1 if dim in axes.turned else 1) for dim in axes.dims)
    return StoredImage(
        array.to_dask()[turn] if axes.turned else array,
        axes.dims,
        spacing=spacing,
        coords=axes.coords,
        name=dataset.name.rsplit("/", 1)[-1],
        attrs=described | attrs,
        notes=[*notes, *axes.notes, *told],
    )


def _holes(path: Path, dataset: Any) -> list[str]:
    """Refuse sources that are not there; tell about chunks that were never written."""
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            if source.file_name != "." and not (path.parent / source.file_name).exists():
                raise FileError(
                    f"{path}: {dataset.name} takes its values from {source.file_name}, which is not there. "
                    "Copy the files together."
                )
    for name, _, _ in dataset.external or ():
        if not (path.parent / text(name)).exists():
            raise FileError(
                f"{path}: {dataset.name} takes its values from {text(name)}, which is not there. "
                "Copy the files together."
            )
    if dataset.chunks is not None and not dataset.is_virtual:
        expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written < expected:
            return [
                f"{expected - written} of {expected} chunks were never written and read as {dataset.fillvalue}: "
                "the recording may have been stopped early."
            ]
    return []


def _own(path: Path, dataset: Any) -> dict[str, Any] | None:
    written = dataset.attrs.get("operando")
    if written is None:
        return None
    try:
        own = json.loads(text(written))
    except ValueError as error:
        raise FileError(f"{path}: the attribute 'operando' of {dataset.name} is damaged ({error}).") from error
    return own if isinstance(own, dict) else None


def write_hdf5(image: xr.DataArray, path: Path, *, labels: bool, final: Path) -> None:
    """Write NeXus: ``/entry/image`` is an NXdata group with signal, axes and units."""
    import dask.array as da
    import h5py

    del labels
    plain = metadata.to_plain(image)
    with h5py.File(path, "w") as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry"})
        stack = nxstxm.fits(image)
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "image"})
        entry["title"] = str(image.name or final.stem)
        group = entry.create_group("image")
        dims = [str(d) for d in image.dims]
        group.attrs["NX_class"] = "NXdata"
        group.attrs["signal"] = "data"
        names = {d: nxstxm.field_name(d) if stack else d for d in dims}
        axes = [names[d] if stack or d in image.coords else "." for d in dims]
        # Of bytes in a stack, because readers of NXstxm (MANTiS) decode them.
        group.attrs["axes"] = np.array(axes, dtype="S") if stack else axes
        for name, coordinate in image.coords.items():
            if coordinate.dtype.kind in "iuf" and coordinate.dims == (name,):
                # NXstxm asks for floating point; our record keeps the type.
                values = np.asarray(coordinate.values)
                axis = group.create_dataset(names[str(name)], data=values.astype(float) if stack else values)
                axis.attrs["units"] = str(coordinate.attrs.get("units", ""))
                group.attrs[f"{names[str(name)]}_indices"] = dims.index(str(name))
            elif coordinate.dims == (name,) and coordinate.dtype.kind in "UO":
                group.create_dataset(str(name), data=[str(v) for v in coordinate.values], dtype=h5py.string_dtype())
        data = group.create_dataset(
            "data",
            shape=image.shape,
            dtype=image.dtype.newbyteorder("="),
            chunks=_stored_chunks(image.shape, image.dtype.itemsize),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
            # A flipped bit then is an error, not another number.
            fletcher32=True,
        )
        data.attrs["units"] = str(image.attrs.get("units", "1"))
        if "long_name" in image.attrs:
            data.attrs["long_name"] = str(image.attrs["long_name"])
        data.attrs["operando"] = metadata.dumps(plain)
        if stack:
            nxstxm.write_entry(entry, group, image)
        if isinstance(image.data, da.Array):
            # HDF5 writes one block at a time; whole stored chunks are written once, not read and written again.
            target = grow_chunks(data.chunks, image.shape, image.dtype.itemsize)
            for block in iter_blocks(image.shape, target):
                data[block.core] = np.asarray(image.data[block.core].compute())
        else:
            data[...] = np.asarray(image.data)


def _stored_chunks(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    chunks = [1] * max(0, len(shape) - 3) + [min(n, 64) for n in shape[-3:]]
    if len(shape) == 2:
        chunks = [min(n, 512) for n in shape]
    while math.prod(chunks) * itemsize > 4 * _CHUNK_BYTES:
        largest = int(np.argmax(chunks))
        chunks[largest] = -(-chunks[largest] // 2)
    return tuple(chunks)
