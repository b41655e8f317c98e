"""OME-Zarr 0.5: the canonical store. Zarr v3, sharded, with a pyramid; version 0.4 can be read."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import DIMS, SPACE
from operando.core.blocks import iter_blocks
from operando.core.errors import FileError, InputError
from operando.core.phases import PhaseScheme
from operando.io import metadata
from operando.io.lazy import BLOCK_BYTES, FileArray, grow_chunks, untouched
from operando.io.reader import Dataset, StoredImage, Verdict

_UNIT_NAMES = {
    "um": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "angstrom": "angstrom",
    "inch": "inch",
    "h": "hour",
    "min": "minute",
    "s": "second",
    "ms": "millisecond",
    "us": "microsecond",
    "d": "day",
}
_OUR_UNITS = {name: unit for unit, name in _UNIT_NAMES.items()}
_SPACE_DIMS = (*SPACE, "detector_y", "detector_x")
_FOREIGN_DIMS = {"c": "channel", "time": "t"}
_HEADERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_SMALLEST = 64
CHUNK = 64
SHARD = 256
PLANE_CHUNK = 512
PLANE_SHARD = 4096
SHARED_VOXELS = 2**22
# Spectra are fitted pixel by pixel and looked at image by image: a chunk serves both.
SPECTRAL_CHUNK = 16
SPECTRAL_PIXELS = 64
SPECTRAL_SHARD = 256
_SPECTRAL_DIMS = ("energy", "wavenumber")


class OmeZarrReader:
    """Reader of OME-Zarr images, and of single Zarr arrays."""

    name = "ome-zarr"
    suffixes = (".zarr",)

    def can_open(self, path: Path) -> Verdict:
        """Look for Zarr's own header files."""
        if not path.is_dir():
            return Verdict(False, "it is a file, and a Zarr store is a folder")
        if any((path / header).is_file() for header in _HEADERS):
            return Verdict(True)
        return Verdict(False, "the folder has no zarr.json, so it is not a Zarr store or not a whole one")

    def datasets(self, path: Path) -> list[Dataset]:
        """List the levels of the pyramid, or the arrays of a plain group."""
        node = _open_node(path)
        import zarr

        if isinstance(node, zarr.Array):
            return []
        ome = _ome_block(dict(node.attrs), path)
        if ome is not None:
            levels = []
            for number, level in enumerate(ome["datasets"]):
                array = _member(node, level["path"], path)
                role = "image" if number == 0 else f"pyramid level {number}"
                levels.append(Dataset(level["path"], tuple(array.shape), str(array.dtype), role))
            return levels
        return [
            Dataset(name, tuple(a.shape), str(a.dtype))
            for name, a in sorted(node.members(max_depth=4))
            if isinstance(a, zarr.Array)
        ]

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Open the full resolution, or the level or array that ``dataset`` names."""
        import zarr

        node = _open_node(path)
        if isinstance(node, zarr.Array):
            return _plain_array(path, path, node, dict(node.attrs))
        attrs = dict(node.attrs)
        ome = _ome_block(attrs, path)
        if ome is None:
            return _from_group(path, node, dataset)
        level = _choose_level(path, ome, dataset)
        array = _member(node, level["path"], path)
        own = attrs.get("operando") if isinstance(attrs.get("operando"), Mapping) else None
        return _from_level(path, array, level, ome, own)


_LOOKED_FOR = 20_000  # shards at most whose files are looked for when a store is opened


class ZarrBlocks(FileArray):
    """A Zarr array on disk whose missing chunks are an error where its writer promised that there are none."""

    def __init__(self, path: Path, folder: Path, array: Any, *, complete: bool) -> None:
        header = next((folder / h for h in ("zarr.json", ".zarray") if (folder / h).is_file()), folder)
        self._folder = folder
        self._array = array
        self._complete = complete
        stored = array.shards or array.chunks
        chunks = _lazy_chunks(array.chunks, stored, array.shape, np.dtype(array.dtype).itemsize)
        super().__init__(path, array.shape, array.dtype, chunks=chunks, stamp=header)

    def _token(self) -> Any:
        return str(self._folder)

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read a box after checking that the shards it needs are there."""
        if self._complete:
            self._check_shards(region)
        return np.asarray(self._array[region]).astype(self.dtype, copy=False)

    def absent(self) -> str | None:
        """A sentence about shards that are not there, or None; looks for files and reads none."""
        size = self._array.shards or self._array.chunks
        grid = [-(-n // s) for n, s in zip(self.shape, size, strict=True)]
        count = math.prod(grid)
        if count > _LOOKED_FOR:
            return None
        keys = (self._array.metadata.encode_chunk_key(place) for place in np.ndindex(*grid))
        missing = sum(not (self._folder / key).is_file() for key in keys)
        if not missing:
            return None
        rest = "copy it again" if self._complete else "they read as the fill value, as the format allows"
        return f"{missing} of {count} shards or chunks of array {self._folder.name} are not there: {rest}."

    def _check_shards(self, region: tuple[slice, ...]) -> None:
        size = self._array.shards or self._array.chunks
        grid = [range(s.start // n, -(-s.stop // n)) for s, n in zip(region, size, strict=True)]
        for block in iter_blocks([len(r) for r in grid], [1] * len(grid)):
            place = tuple(r[s.start] for r, s in zip(grid, block.core, strict=True))
            key = self._array.metadata.encode_chunk_key(place)
            if not (self._folder / key).is_file():
                box = ", ".join(f"{p * n}:{(p + 1) * n}" for p, n in zip(place, size, strict=True))
                raise FileError(
                    f"{self.path}: the shard {self._folder.name}/{key} with the voxels [{box}] is missing. "
                    "The store was not copied whole: copy it again."
                )


def _lazy_chunks(chunk: Sequence[int], stored: Sequence[int], shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    limit = 4 * BLOCK_BYTES
    if math.prod(min(s, n) for s, n in zip(stored, shape, strict=True)) * itemsize <= limit:
        return grow_chunks(stored, shape, itemsize, target=BLOCK_BYTES // 2)
    grown = list(chunk)
    while True:
        doubled = [min(2 * g, s) for g, s in zip(grown, stored, strict=True)]
        if doubled == grown or math.prod(doubled) * itemsize > limit:
            return tuple(grown)
        grown = doubled


def _open_node(path: Path) -> Any:
    import zarr

    for header in _HEADERS:
        if (path / header).is_file():
            try:
                json.loads((path / header).read_text("utf-8"))
            except (ValueError, RecursionError) as error:
                raise FileError(
                    f"{path}: its header {header} is not valid JSON ({error}). Copy or write the store again."
                ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return zarr.open(path, mode="r")
        except Exception as error:
            raise FileError(
                f"{path}: its Zarr header cannot be used ({_text(error)}). Copy or write the store again."
            ) from error


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _member(node: Any, name: Any, path: Path) -> Any:
    import zarr

    header = path / str(name)
    if not any((header / h).is_file() for h in _HEADERS):
        raise FileError(
            f"{path}: its header names the array {name!r}, but there is no {name}/zarr.json. "
            "The store was not copied whole: copy it again."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = node[str(name)]
    except Exception as error:
        raise FileError(
            f"{path}: the array {name!r} that its header names cannot be opened ({_text(error)}). "
            f"Check {header} or copy the store again."
        ) from error
    if not isinstance(array, zarr.Array):
        raise FileError(f"{path}: {name!r} must be an array, but is a group. Write the store again.")
    return array


def _ome_block(attrs: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the first multiscale image of version 0.5 (under ``ome``) or 0.4, or None where there is none."""
    ome = attrs.get("ome", attrs)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if scales is None:
        return None
    try:
        block = scales[0]
        axes = [a if isinstance(a, Mapping) else {"name": a} for a in block["axes"]]
        levels = [{**level, "path": str(level["path"])} for level in block["datasets"]]
        names = [str(axis["name"]) for axis in axes]
        if not levels or len(set(names)) != len(names):
            raise ValueError("no datasets, or two axes of one name")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FileError(
            f"{path}: its OME metadata does not follow the specification ({_text(error)}). Write the store again."
        ) from error
    return {**block, "axes": axes, "datasets": levels}


def _choose_level(path: Path, ome: Mapping[str, Any], dataset: str | None) -> dict[str, Any]:
    levels: list[dict[str, Any]] = ome["datasets"]
    if dataset is None:
        return levels[0]
    for level in levels:
        if level["path"].strip("/") == dataset.strip("/"):
            return level
    known = ", ".join(repr(level["path"]) for level in levels)
    raise InputError(f"{path}: dataset must be one of its levels {known}, got {dataset!r}.")


def _from_level(
    path: Path, array: Any, level: Mapping[str, Any], ome: Mapping[str, Any], own: Mapping[str, Any] | None
) -> StoredImage:
    names = [str(axis["name"]) for axis in ome["axes"]]
    if len(names) != array.ndim:
        raise FileError(
            f"{path}: its header names {len(names)} axes {names}, but the array {level['path']!r} has {array.ndim}. "
            "Write the store again."
        )
    scale, translation = _transform(path, level, ome, array.ndim)
    dims, notes = _our_dims(names)
    spacing, origin = {}, {}
    for axis, dim, step, start in zip(ome["axes"], dims, scale, translation, strict=True):
        unit = _OUR_UNITS.get(str(axis.get("unit", "")))
        if unit is not None and units.kind(unit) == ("time" if dim == "t" else "length"):
            spacing[dim], origin[dim] = (step, unit), start
        elif dim in SPACE and own is not None:
            spacing[dim], origin[dim] = (step, units.PIXEL), start
    is_base = level is ome["datasets"][0] or level["path"] == ome["datasets"][0]["path"]
    folder = path / level["path"]
    blocks = ZarrBlocks(path, folder, array, complete=bool(own and own.get("complete")))
    absent = blocks.absent()
    if absent is not None:
        notes = [*notes, absent]
    image = StoredImage(
        blocks,
        dims,
        spacing=spacing,
        origin=origin,
        notes=notes,
    )
    if own is None:
        return image
    sizes = dict(zip(dims, array.shape, strict=True))
    stored = dict(own.get("coords", {}))
    if not is_base:
        # Spatial coordinates of a coarser level follow from its scale; the others are those of the image.
        stored = {n: c for n, c in stored.items() if not set(c.get("dims", ())) & set(_SPACE_DIMS)}
    stored = {n: c for n, c in stored.items() if set(c.get("dims", ())) <= set(sizes)}
    coords = metadata.coords_from_plain({"coords": stored}, sizes, where=str(path))
    for dim in list(coords):
        if dim in spacing and not _agrees(coords[dim], spacing[dim], origin[dim]):
            # Someone has corrected the scale with another program: the standard wins over our own record.
            del coords[dim]
    image.coords = coords
    image.name = own.get("name")
    image.attrs = metadata.attrs_from_plain(own)
    return image


def _agrees(coordinate: tuple[Any, np.ndarray, dict[str, Any]], spacing: tuple[float, str], start: float) -> bool:
    """Whether our own coordinate says the same as the standard's scale and translation."""
    _, values, attrs = coordinate
    if str(attrs.get("units", units.PIXEL)) != spacing[1] or values.dtype.kind not in "iuf":
        return str(attrs.get("units", units.PIXEL)) == spacing[1]
    step, first = _mean_step(values)
    if values.size == 1:
        step = float(attrs.get("spacing", spacing[0]))
    size = max(abs(spacing[0]) * values.size, abs(start))
    return abs(step - spacing[0]) * values.size <= 1e-9 * size and abs(first - start) <= 1e-9 * size


def _transform(
    path: Path, level: Mapping[str, Any], ome: Mapping[str, Any], ndim: int
) -> tuple[list[float], list[float]]:
    scale, translation = [1.0] * ndim, [0.0] * ndim
    try:
        for step in [*level.get("coordinateTransformations", ()), *ome.get("coordinateTransformations", ())]:
            if step["type"] == "scale":
                factors = [float(v) for v in step["scale"]]
                scale = [a * b for a, b in zip(scale, factors, strict=True)]
                translation = [a * b for a, b in zip(translation, factors, strict=True)]
            elif step["type"] == "translation":
                shift = [float(v) for v in step["translation"]]
                translation = [a + b for a, b in zip(translation, shift, strict=True)]
        if not all(math.isfinite(s) and s > 0 for s in scale):
            raise ValueError(f"scale {scale}")
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{path}: the coordinateTransformations of level {level['path']!r} do not follow the specification "
            f"({_text(error)}). Write the store again."
        ) from error
    return scale, translation


def _our_dims(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    dims: list[str] = []
    notes = []
    for name in names:
        dim = _FOREIGN_DIMS.get(name.lower(), name if name in DIMS else name.lower())
        if dim not in DIMS or dim in dims:
            free = next((d for d in ("channel", "t", "z") if d not in dims and d not in names), "component")
            notes.append(f"The axis {name!r} has no meaning here: taken as {free}.")
            dim = free
        dims.append(dim)
    return tuple(dims), notes


def _from_group(path: Path, node: Any, dataset: str | None) -> StoredImage:
    import zarr

    arrays = {n: a for n, a in sorted(node.members(max_depth=4)) if isinstance(a, zarr.Array) and a.ndim >= 2}
    listed = ", ".join(f"{n} {tuple(a.shape)}" for n, a in list(arrays.items())[:12])
    if dataset is not None:
        if dataset.strip("/") not in arrays:
            raise InputError(
                f"{path}: dataset must be one of its arrays, got {dataset!r}. It holds {listed or 'none'}."
            )
        chosen = dataset.strip("/")
    elif len(arrays) == 1:
        chosen = next(iter(arrays))
    elif not arrays:
        raise FileError(f"{path}: the Zarr group has no OME metadata and holds no array. It was not written whole.")
    else:
        raise FileError(f"{path}: the Zarr group has no OME metadata. Choose an array with dataset=...: {listed}.")
    array = arrays[chosen]
    return _plain_array(path, path / chosen, array, dict(array.attrs))


def _plain_array(path: Path, folder: Path, array: Any, attrs: Mapping[str, Any]) -> StoredImage:
    named = getattr(array.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS")
    if named and all(named) and len(named) == array.ndim:
        dims, notes = _our_dims([str(n) for n in named])
    else:
        dims, notes = (
            default_dims(array.shape, str(path)),
            ["The axes have no names in the file: taken as the last of t, z, y, x."],
        )
    return StoredImage(ZarrBlocks(path, folder, array, complete=False), dims, notes=notes)


def default_dims(shape: Sequence[int], where: str) -> tuple[str, ...]:
    """Names for axes that a file does not name: the last of t, z, y, x."""
    if not 1 <= len(shape) <= 4:
        raise FileError(f"{where}: an array of {len(shape)} axes {tuple(shape)} has no default names. Pass dims=(...).")
    return ("t", "z", "y", "x")[4 - len(shape) :]


def write_ome_zarr(image: xr.DataArray, path: Path, *, labels: bool, final: Path) -> None:
    """Write an OME-Zarr 0.5 image, shard by shard, with a pyramid.

    Raises
    ------
    InputError
        Where the image lacks the two spatial dims that the standard asks for.

    Notes
    -----
    A shard is the unit of writing: lazy blocks are brought to shards of at most 256^3 voxels, each written by
    one thread. Levels of the pyramid halve the spatial dims; a voxel of a coarse level is the mean of those it
    covers (NaN left out), or for labels the first of them. Its center is the center of what it covers.
    """
    import zarr

    dims = [str(d) for d in image.dims]
    space = [d for d in dims if d in _SPACE_DIMS]
    if len(space) < 2:
        raise InputError(
            f"save_image: OME-Zarr stores images with at least two of z, y, x, got dims {tuple(dims)}. Save it as .h5."
        )
    plain = metadata.to_plain(image)
    scale, translation, axes = _ome_axes(image, dims)
    levels = [tuple(image.shape)]
    factors = [[1] * len(dims)]
    while max(levels[-1][dims.index(d)] for d in space) > _SMALLEST and math.prod(levels[-1]) > _SMALLEST**2:
        halve = [2 if d in space and levels[-1][i] > 1 else 1 for i, d in enumerate(dims)]
        levels.append(tuple(-(-n // f) for n, f in zip(levels[-1], halve, strict=True)))
        factors.append([a * f for a, f in zip(factors[-1], halve, strict=True)])
    group = zarr.open_group(path, mode="w", zarr_format=3)
    arrays = []
    for number, shape in enumerate(levels):
        chunks, shards = chunk_shapes(shape, dims)
        arrays.append(
            group.create_array(
                str(number),
                shape=shape,
                dtype=image.dtype.newbyteorder("="),
                chunks=chunks,
                shards=shards,
                compressors=zarr.codecs.ZstdCodec(level=3, checksum=True),
                fill_value=image.dtype.type(0),
                dimension_names=dims,
                # A chunk that is not there must mean a broken copy, never a chunk of zeros.
                config={"write_empty_chunks": True},
            )
        )
    _store(image, arrays[0])
    for number in range(1, len(levels)):
        step = [b // a for a, b in zip(factors[number - 1], factors[number], strict=True)]
        _coarsen(arrays[number - 1], arrays[number], step, labels=labels)
    datasets = []
    for number, factor in enumerate(factors):
        shifted = [t + s * (f - 1) / 2 for t, s, f in zip(translation, scale, factor, strict=True)]
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [s * f for s, f in zip(scale, factor, strict=True)]},
                    {"type": "translation", "translation": shifted},
                ],
            }
        )
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": str(image.name or final.name.removesuffix(".zarr").removesuffix(".ome")),
                "axes": axes,
                "datasets": datasets,
                "type": "nearest" if labels else "mean",
                "metadata": {
                    "description": "first voxel of each block" if labels else "mean of each block, NaN left out",
                    "factor": 2,
                },
            }
        ],
    }
    phases = image.attrs.get("phases")
    if labels and isinstance(phases, PhaseScheme):
        ome["image-label"] = _image_label(phases)
    # Last, so that a store without it is seen to be unfinished.
    group.attrs.update({"ome": ome, "operando": {**plain, "complete": True}})


def chunk_shapes(shape: Sequence[int], dims: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of chunks and shards for an image.

    Examples
    --------
    >>> chunk_shapes((8, 300, 100, 1000), ("t", "z", "y", "x"))
    ((1, 64, 64, 64), (1, 256, 128, 256))

    A stack over photon energy is read pixel by pixel, all energies together:

    >>> chunk_shapes((81, 1024, 1024), ("energy", "y", "x"))
    ((16, 64, 64), (96, 256, 256))
    """
    if tuple(dims[-2:]) == ("y", "x") and len(dims) == 3 and dims[0] in _SPECTRAL_DIMS and shape[0] >= SPECTRAL_CHUNK:
        pixels = [min(SPECTRAL_PIXELS, n) for n in shape[1:]]
        whole = [c * math.ceil(min(SPECTRAL_SHARD, n) / c) for c, n in zip(pixels, shape[1:], strict=True)]
        return (SPECTRAL_CHUNK, *pixels), (SPECTRAL_CHUNK * math.ceil(shape[0] / SPECTRAL_CHUNK), *whole)
    deep = sum(d in _SPACE_DIMS and n > 1 for d, n in zip(dims, shape, strict=True)) > 2
    chunk, shard = (CHUNK, SHARD) if deep else (PLANE_CHUNK, PLANE_SHARD)
    chunks = [min(chunk, n) if d in _SPACE_DIMS else 1 for d, n in zip(dims, shape, strict=True)]
    shards = [
        c * math.ceil(min(shard, n) / c) if d in _SPACE_DIMS else 1 for d, n, c in zip(dims, shape, chunks, strict=True)
    ]
    # Thin stacks (many energies of a small map) share a shard, so that there are not thousands of files.
    for axis in reversed(range(len(dims))):
        if dims[axis] not in _SPACE_DIMS:
            shards[axis] = max(1, min(shape[axis], SHARED_VOXELS // math.prod(shards)))
    return tuple(chunks), tuple(shards)


def _ome_axes(image: xr.DataArray, dims: Sequence[str]) -> tuple[list[float], list[float], list[dict[str, Any]]]:
    scale, translation, axes = [], [], []
    for dim in dims:
        axis: dict[str, Any] = {"name": dim, "type": _axis_type(dim)}
        step, start = 1.0, 0.0
        if dim in _SPACE_DIMS and dim in image.coords:
            attrs = image.coords[dim].attrs
            step, start = _mean_step(image.coords[dim].values)
            exact = attrs.get("spacing")
            if isinstance(exact, int | float) and (image.sizes[dim] == 1 or abs(step - exact) <= 1e-9 * abs(exact)):
                step = float(exact)
            unit = units.canonical(str(attrs.get("units", units.PIXEL)))
            if unit in _UNIT_NAMES and units.kind(unit) == "length":
                axis["unit"] = _UNIT_NAMES[unit]
        elif dim == "t" and dim in image.coords and image.coords[dim].dtype.kind in "iuf":
            step, start = _mean_step(image.coords[dim].values)
            unit = str(image.coords[dim].attrs.get("units", "1"))
            if unit in _UNIT_NAMES and units.kind(unit) == "time":
                axis["unit"] = _UNIT_NAMES[unit]
        scale.append(step)
        translation.append(start)
        axes.append(axis)
    return scale, translation, axes


def _mean_step(values: np.ndarray) -> tuple[float, float]:
    """Step and start of an axis that need not be even; the exact values are kept in our own record."""
    values = np.asarray(values, dtype=float)
    if not np.all(np.isfinite(values)):
        return 1.0, 0.0
    step = float(values[-1] - values[0]) / max(1, values.size - 1)
    return step if step > 0 else 1.0, float(values[0])


def _axis_type(dim: str) -> str:
    if dim in _SPACE_DIMS:
        return "space"
    return {"t": "time", "channel": "channel"}.get(dim, dim)


def _store(image: xr.DataArray, array: Any) -> None:
    import dask.array as da

    shards = tuple(min(s, n) for s, n in zip(array.shards, array.shape, strict=True))
    data = image.data if isinstance(image.data, da.Array) else da.from_array(np.asarray(image.data), chunks=shards)
    source = untouched(data)
    if source is not None:
        # Whole shards are read from the file; several beside each other, so that a page is not decoded for each.
        data = source.to_dask(grow_chunks(shards, array.shape, image.dtype.itemsize, target=4 * BLOCK_BYTES))
    da.store(data.rechunk(shards), array, lock=False, compute=True)


def _coarsen(fine: Any, coarse: Any, step: Sequence[int], *, labels: bool) -> None:
    """Fill a level from the one before it; one shard and one block of the finer level in memory."""
    for block in iter_blocks(coarse.shape, coarse.shards):
        out = np.empty([s.stop - s.start for s in block.core], dtype=coarse.dtype)
        half = [max(1, -(-n // f)) for n, f in zip(out.shape, step, strict=True)]
        for part in iter_blocks(out.shape, half):
            source = tuple(
                slice((b.start + p.start) * f, min((b.start + p.stop) * f, n))
                for b, p, f, n in zip(block.core, part.core, step, fine.shape, strict=True)
            )
            out[part.core] = _halve(np.asarray(fine[source]), step, labels=labels)
        coarse[block.core] = out


def _halve(values: np.ndarray, step: Sequence[int], *, labels: bool) -> np.ndarray:
    if labels or values.dtype == bool:
        return values[tuple(slice(None, None, f) for f in step)]
    kind = values.dtype.kind
    # Eight values of 16 bits add up exactly in float32, of 32 bits in float64.
    work = values.astype(np.result_type(values.dtype, np.float32 if values.dtype.itemsize < 4 else np.float64))
    valid: np.ndarray | None = None
    if kind in "fc":
        missing = np.isnan(work)
        if missing.any():
            work[missing], valid = 0, (~missing).astype(np.uint8)
    total = _pair_sums(work, step)
    if valid is None:
        # All are there, so the number of voxels behind each depends on the edges only.
        for axis, factor in enumerate(step):
            inside = np.minimum(factor, values.shape[axis] - factor * np.arange(total.shape[axis]))
            total /= inside.reshape([-1 if a == axis else 1 for a in range(total.ndim)]).astype(total.real.dtype)
    else:
        count = _pair_sums(valid, step)
        total = np.divide(total, count, out=np.full(total.shape, np.nan, dtype=total.dtype), where=count > 0)
    return (np.rint(total) if kind in "iu" else total).astype(values.dtype)


def _pair_sums(values: np.ndarray, step: Sequence[int]) -> np.ndarray:
    for axis, factor in enumerate(step):
        if factor > 1:
            before = (slice(None),) * axis
            sums = values[(*before, slice(None, None, 2))].copy()
            odd = values[(*before, slice(1, None, 2))]
            sums[(*before, slice(0, odd.shape[axis]))] += odd
            values = sums
    return values


def _image_label(phases: PhaseScheme) -> dict[str, Any]:
    colors, properties = [], []
    for name in phases:
        value = phases[name]
        red, green, blue = (int(phases.color(name).lstrip("#")[i : i + 2], 16) for i in (0, 2, 4))
        colors.append({"label-value": value, "rgba": [red, green, blue, 255]})
        properties.append({"label-value": value, "name": name, "role": phases.role(name)})
    return {"version": "0.5", "colors": colors, "properties": properties}
