"""Which axis of an HDF5 data set is what, from its attributes and from what lies beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from operando.core import units
from operando.core.axes import DIMS, SPACE
from operando.io.positions import energy_axis, position_axis

# Names that beamlines give to axes. What is not here and not a dim by itself is guessed from its place.
_AXIS_NAMES = {
    "time": "t",
    "timestamp": "t",
    "theta": "angle",
    "rotation_angle": "angle",
    "angles": "angle",
    "energies": "energy",
    "photon_energy": "energy",
    "wavenumbers": "wavenumber",
    "raman_shift": "wavenumber",
    "channels": "channel",
    "slice": "z",
    "slices": "z",
    "row": "y",
    "rows": "y",
    "column": "x",
    "columns": "x",
    "sample_z": "z",
    "sample_y": "y",
    "sample_x": "x",
}
_UNIT_SUFFIX = re.compile(r"^(?P<name>[a-z][a-z_]*?)_(?P<unit>[A-Za-zµ]+)$")
# Attributes in which programs keep the edge of a voxel, all in um.
_VOXEL_ATTRS = ("voxel_size_um", "pixel_size_um", "pixel_um", "voxel_um", "element_size_um")
_STACKED = ("energy", "wavenumber", "t", "angle")


class Axes(NamedTuple):
    """Names of the axes in the order of the file, coordinates, axes to turn, and notes."""

    dims: tuple[str, ...]
    coords: dict[str, Any]
    turned: tuple[str, ...]
    notes: list[str]


def text(value: Any) -> str:
    """Text of an attribute, which may be bytes or an array of one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def numbers_at(file: Any, inside: str) -> Any:
    """The data set of numbers at a path, or None."""
    import h5py

    try:
        node = file.get(inside)
    except (KeyError, OSError):
        return None
    return node if isinstance(node, h5py.Dataset) and node.dtype.kind in "biufc" and node.ndim >= 1 else None


def read_axes(dataset: Any) -> Axes:
    """Axes of a data set that carries no record of operando's own."""
    dims, notes = _dims(dataset)
    coords, turned, told = _coords(dataset, dims)
    return Axes(dims, coords, turned, notes + told)


def _axis_words(dataset: Any) -> list[str] | None:
    """Names of the axes from the data set or its NXdata group, in any of the usual spellings."""
    for node, key in ((dataset, "axes"), (dataset.parent, "axes")):
        value = node.attrs.get(key)
        if value is None:
            continue
        if isinstance(value, bytes | str):
            words = [w for w in re.split(r"[,:;\s\[\]]+", text(value)) if w]
        else:
            words = [text(w) for w in np.atleast_1d(value)]
        if len(words) == dataset.ndim:
            return words
        if len(words) == dataset.ndim - 1:
            completed = _with_energy(dataset, words)
            if completed is not None:
                return completed
    return _numbered_words(dataset)


def _with_energy(dataset: Any, words: list[str]) -> list[str] | None:
    """Axes such as ``x:y`` of a stack leave out the energy: it stands where its length fits, last if in doubt."""
    count = _lengths(dataset).get("energy")
    if count is None or "energy" in map(_as_dim, words):
        return None
    if dataset.shape[-1] == count:
        return [*words, "energy"]
    return ["energy", *words] if dataset.shape[0] == count else None


def _numbered_words(dataset: Any) -> list[str] | None:
    """Older NeXus: each coordinate says by its attribute ``axis`` (from 1) which axis it belongs to."""
    words = ["."] * dataset.ndim
    for name, node in siblings(dataset):
        number = node.attrs.get("axis")
        if number is None or not text(number).isdigit() or not 1 <= int(text(number)) <= dataset.ndim:
            continue
        if node.size == dataset.shape[int(text(number)) - 1]:
            words[int(text(number)) - 1] = name
    return words if any(word != "." for word in words) else None


def _as_dim(word: str) -> str | None:
    lower = word.lower()
    if lower in DIMS:
        return lower
    if lower in _AXIS_NAMES:
        return _AXIS_NAMES[lower]
    match = _UNIT_SUFFIX.match(word if word[:1].islower() else lower)
    if match and units.kind(match["unit"]):
        return _as_dim(match["name"])
    return None


def _lengths(dataset: Any) -> dict[str, int]:
    """Length of the vector beside a data set, by the dim that its name means; the first of several counts."""
    found: dict[str, int] = {}
    for name, node in siblings(dataset):
        dim = _as_dim(name)
        if dim is not None:
            found.setdefault(dim, node.size)
    return found


def _dims(dataset: Any) -> tuple[tuple[str, ...], list[str]]:
    words = _axis_words(dataset)
    shape = dataset.shape
    dims: list[str | None] = [None] * dataset.ndim
    notes = []
    if words is not None:
        dims = [_as_dim(word) for word in words]
        dims = [d if dims.count(d) == 1 else None for d in dims]
    if _projections(dataset, dims):
        return ("angle", "detector_y", "detector_x"), []
    if dataset.ndim == 3 and not set(dims) & set(_STACKED):
        lengths = _lengths(dataset)
        for axis in (0, 2):
            fits = [d for d in _STACKED if lengths.get(d) == shape[axis]]
            if axis == 2 and fits != ["energy"]:
                # Only spectro-microscopy stores its stack last.
                continue
            if dims[axis] is None and len(fits) == 1:
                dims[axis] = fits[0]
                break
        if "energy" in dims and dims.count(None) == 2:
            plane = iter(_plane(dataset, lengths, last=dims[2] == "energy"))
            dims = [d or next(plane) for d in dims]
    if dataset.ndim == 1 and dims == [None] and _lengths(dataset).get("energy") == shape[0]:
        dims = ["energy"]
    if None in dims:
        free = [d for d in ("x", "y", "z", "t", "channel") if d not in dims]
        if dataset.ndim > 4 and words is None:
            notes.append("The axes have no names in the file: pass dims=(...).")
        elif words is not None or dataset.ndim > 3:
            notes.append(f"The names of the axes ({words or 'none'}) were completed by their place: check dims.")
        for axis in reversed(range(len(dims))):
            if dims[axis] is None:
                dims[axis] = free.pop(0)
    return tuple(str(d) for d in dims), notes


def _plane(dataset: Any, lengths: dict[str, int], *, last: bool) -> tuple[str, str]:
    """The two spatial axes of a stack whose energies are its last or its first axis."""
    sizes = dataset.shape[:2] if last else dataset.shape[1:]
    orders = [(a, b) for a, b in (("x", "y"), ("y", "x")) if (lengths.get(a), lengths.get(b)) == sizes]
    if len(orders) == 1:
        return orders[0]
    # MANTiS writes Data Exchange as x, y, energy; elsewhere rows come before columns.
    return ("x", "y") if last and dataset.name.startswith("/exchange/") else ("y", "x")


def _projections(dataset: Any, dims: Sequence[str | None]) -> bool:
    """Whether a data set of Data Exchange holds raw projections and not a volume or a stack over energy."""
    if not dataset.name.startswith("/exchange/") or dataset.ndim != 3 or "energy" in dims:
        return False
    if any(dims) and dims[0] != "angle":
        return False
    lengths = _lengths(dataset)
    angles = lengths.get("angle") == dataset.shape[0]
    return dims[0] == "angle" or angles or dataset.name.endswith(("_white", "_dark"))


def siblings(dataset: Any) -> list[tuple[str, Any]]:
    """Vectors in the group of a data set, by name."""
    import h5py

    nodes = [(name, dataset.parent.get(name)) for name in dataset.parent]
    return [
        (name, node)
        for name, node in nodes
        if isinstance(node, h5py.Dataset) and node.ndim == 1 and node.dtype.kind in "iufSO" and node.size > 0
    ]


def _coords(dataset: Any, dims: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """Coordinates beside the data set whose length fits its axis."""
    sizes = dict(zip(dims, dataset.shape, strict=True))
    words = _axis_words(dataset)
    named = dict(zip(words, dims, strict=True)) if words else {}
    coords: dict[str, Any] = {}
    turned: list[str] = []
    notes: list[str] = []
    for name, node in siblings(dataset):
        dim = named.get(name) or _as_dim(name)
        if dim == "energy" and "energy" not in sizes and node.size == 1 and node.dtype.kind in "iuf":
            value, about, note = energy_axis(float(node[0]), _unit_of(name, node))
            coords[dim] = ((), value, about)
            notes += [note] if note else []
            continue
        if dim is None or dim not in sizes or node.size != sizes[dim] or node == dataset:
            continue
        if dim in coords and name not in named:
            continue
        values = node[()]
        if node.dtype.kind in "SO":
            coords[dim] = (dim, np.asarray([text(v) for v in values]), {})
            continue
        unit = _unit_of(name, node)
        attrs = {"units": units.canonical(unit)} if unit else {}
        if dim == "angle" and not unit:
            attrs = {"units": "deg"}
        if dim == "energy":
            values, attrs, note = energy_axis(values, unit)
            notes += [note] if note else []
        if dim in SPACE:
            if not unit and (name.lower().startswith("sample_") or "spectromicroscopy" in dataset.file):
                # NXstxm leaves the unit to its writer and MANTiS writes none; the stages count micrometers.
                unit = "um"
                notes.append(f"The positions {name} have no unit: they were taken as um.")
            if units.kind(unit) != "length" or not np.all(np.isfinite(np.asarray(values, dtype=float))):
                continue
            position = position_axis(values, unit, dim)
            notes += [position.note] if position.note else []
            turned += [dim] if position.turned else []
            values, attrs = position.values, position.attrs
        if "long_name" in node.attrs:
            attrs["long_name"] = text(node.attrs["long_name"])
        coords[dim] = (dim, values, attrs)
    alone = dataset.parent.get("energy")
    if "energy" not in {*sizes, *coords} and getattr(alone, "shape", None) == () and alone.dtype.kind in "iuf":
        value, about, note = energy_axis(float(alone[()]), _unit_of("energy", alone))
        coords["energy"] = ((), value, about)
        notes += [note] if note else []
    if turned:
        notes.append(f"Positions along {', '.join(turned)} decrease: the image was turned so that they increase.")
    return coords, tuple(turned), notes


def _unit_of(name: str, node: Any) -> str:
    match = _UNIT_SUFFIX.match(name)
    suffix = match["unit"] if match and units.kind(match["unit"]) else ""
    return text(node.attrs.get("units", node.attrs.get("unit", suffix)))


def voxel_size(dataset: Any, dims: Sequence[str]) -> dict[str, float]:
    """Edge of a voxel in um per spatial dim, where an attribute of the data set says it."""
    space = [d for d in dims if d in SPACE]
    for key in _VOXEL_ATTRS:
        if key in dataset.attrs:
            values = np.atleast_1d(np.asarray(dataset.attrs[key], dtype=float))
            if values.size == 1:
                values = np.repeat(values, len(space))
            if values.size == len(space) and np.all(np.isfinite(values) & (values > 0)):
                return {dim: float(v) for dim, v in zip(space, values, strict=True)}
    return {}
