"""Complex images from ptychography: CXI, PtyPy (``.ptyr``) and the HDF5 files of xanespy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from operando.core import units
from operando.io.hdf5_axes import numbers_at, text
from operando.io.lazy import FileArray
from operando.io.positions import decimal, energy_axis
from operando.io.reader import StoredImage

_JOULE_PER_EV = 1.602176634e-19
_HC_EV_M = 1.23984198e-6  # h c: wavelength in m times energy in eV


def signal(file: Any) -> Any:
    """The image of a CXI file or the object of a PtyPy result, or None."""
    if "cxi_version" in file:
        found = [numbers_at(file, f"entry_1/{place}/data") for place in ("image_1", "data_1")]
        return next((node for node in found if node is not None), None)
    objects = file.get("content/obj")
    if objects is None or not hasattr(objects, "keys"):
        return None
    stored = [numbers_at(file, f"content/obj/{name}/data") for name in objects]
    return next((node for node in stored if node is not None), None)


def stored(file: Any, dataset: Any, array: FileArray) -> StoredImage | None:
    """The image with its pixel size and energy, where it comes from one of these programs; else None."""
    if "cxi_version" in file and re.match(r"/entry_\d+/(image|data)_\d+/data$", dataset.name):
        return _cxi(file, dataset, array)
    if re.match(r"/content/(obj|probe)/[^/]+/data$", dataset.name):
        return _ptyr(dataset, array)
    if "pixel_sizes" in dataset.parent and "energies" in dataset.parent and dataset.ndim == 4:
        return _xanespy(dataset, array)
    return None


def _number(node: Any) -> float | None:
    """First number of a data set, or None."""
    if node is None or getattr(node, "dtype", None) is None or node.dtype.kind not in "iuf" or not node.size:
        return None
    value = float(np.asarray(node[()]).ravel()[0])
    return value if np.isfinite(value) else None


def _energy(value: float) -> dict[str, Any]:
    return {"energy": ((), float(f"{value:.9g}"), {"units": "eV", "long_name": "Photon energy"})}


def _cxi(file: Any, dataset: Any, array: FileArray) -> StoredImage:
    entry = dataset.parent.parent
    instrument = entry.get("instrument_1")
    joule = _number(entry.get("instrument_1/source_1/energy"))
    energy = joule / _JOULE_PER_EV if joule else None
    notes = []
    dims = ("z", "y", "x")[3 - dataset.ndim :] if dataset.ndim <= 3 else ("t", "z", "y", "x")[: dataset.ndim]
    spacing: dict[str, tuple[float, str]] = {}
    size = _cxi_pixel(dataset, instrument, energy)
    if size is None:
        notes.append("The pixel size is not in the file and cannot be derived from its detector.")
    else:
        (dy, dx), how = size
        spacing = {"y": (dy, "um"), "x": (dx, "um")}
        notes.append(f"The pixel size was {how}.")
    return StoredImage(
        array,
        dims,
        spacing={dim: value for dim, value in spacing.items() if dim in dims},
        coords=_energy(energy) if energy else {},
        name="data",
        attrs={"units": "1", "long_name": "Complex transmission"} if dataset.dtype.kind == "c" else {},
        notes=notes,
    )


def _cxi_pixel(dataset: Any, instrument: Any, energy: float | None) -> tuple[tuple[float, float], str] | None:
    """Pixel edge (y, x) in um and how it was found."""
    extent = dataset.parent.get("image_size")
    if extent is not None and np.size(extent) >= 2 and extent.dtype.kind == "f":
        lengths = np.asarray(extent[()], dtype=float).ravel()
        dx, dy = lengths[0] / dataset.shape[-1] * 1e6, lengths[1] / dataset.shape[-2] * 1e6
        if np.all(np.isfinite([dx, dy])) and dx > 0 and dy > 0:
            return (float(f"{dy:.7g}"), float(f"{dx:.7g}")), "taken from image_size"
    if energy is None or instrument is None:
        return None
    detector = instrument.get("detector_1")
    distance = _number(instrument.get("detector_1/distance"))
    widths: list[float] | None = None
    corner = None if detector is None else detector.get("corner_position")
    if corner is not None and np.size(corner) >= 3:
        # The detector is centered on the beam, so its corner lies half a width away on each side.
        x, y, z = np.abs(np.asarray(corner[()], dtype=float).ravel()[:3])
        distance = distance or z
        widths = [2 * y, 2 * x]
    pitch = [_number(instrument.get(f"detector_1/{w}_pixel_size")) for w in ("y", "x")]
    frames = instrument.get("detector_1/data")
    if frames is not None and None not in pitch and getattr(frames, "ndim", 0) >= 2:
        widths = [float(p or 0) * n for p, n in zip(pitch, frames.shape[-2:], strict=True)]
    if not distance or not widths or min(widths) <= 0:
        return None
    dy, dx = (_HC_EV_M / energy * distance / width * 1e6 for width in widths)
    return (
        float(f"{dy:.7g}"),
        float(f"{dx:.7g}"),
    ), "derived from the detector (wavelength x distance / width)"


def _ptyr(dataset: Any, array: FileArray) -> StoredImage:
    group = dataset.parent
    dims: tuple[str, ...] = ("component", "y", "x")[3 - dataset.ndim :]
    size = group.get("_psize", group.attrs.get("_psize"))
    spacing = {}
    notes = []
    if size is not None:
        edges = np.resize(np.asarray(size[()] if hasattr(size, "dtype") else size, dtype=float).ravel() * 1e6, 2)
        spacing = {dim: (float(f"{edge:.7g}"), "um") for dim, edge in zip(("y", "x"), edges, strict=True)}
    else:
        notes.append("The pixel size is not in the file.")
    kilo = _number(group.get("_energy"))
    others = [f"/content/obj/{name}/data" for name in group.parent if f"{group.parent.name}/{name}" != group.name]
    if others and group.parent.name == "/content/obj":
        notes.append(f"This is {dataset.name}; the file also has {', '.join(others[:6])}: choose with dataset=....")
    return StoredImage(
        array,
        dims,
        spacing=spacing,
        coords=_energy(kilo * 1e3) if kilo else {},
        name=group.parent.name.rsplit("/", 1)[-1],
        attrs={"units": "1", "long_name": "Complex transmission"},
        notes=notes,
        drop=("component",),
    )


def _xanespy(dataset: Any, array: FileArray) -> StoredImage | None:
    """Dims (timestep, energy, row, column), with energies and pixel sizes per timestep and energy beside."""
    energies = decimal(dataset.parent["energies"][()])
    sizes = np.asarray(dataset.parent["pixel_sizes"][()], dtype=float)
    if energies.shape != dataset.shape[:2]:
        return None
    notes = []
    values = energies[0] if energies.shape[0] == 1 else energies.mean(axis=0)
    spread = float(np.ptp(energies, axis=0).max())
    if spread > 0:
        notes.append(f"Energies differ by up to {spread:g} eV between timesteps: their means are used.")
    unit = units.canonical(text(dataset.parent["pixel_sizes"].attrs.get("unit", "um")))
    spacing = {}
    if sizes.size and np.ptp(sizes) == 0 and sizes.flat[0] > 0 and units.kind(unit) == "length":
        edge = float(sizes.flat[0]) * units.factor(unit, "um")
        spacing = {dim: (float(f"{edge:.7g}"), "um") for dim in ("y", "x")}
    else:
        notes.append("Pixel sizes differ between images: bring them to one size first.")
    return StoredImage(
        array,
        ("t", "energy", "y", "x"),
        spacing=spacing,
        coords={"energy": ("energy", *energy_axis(values, "eV")[:2])},
        name=dataset.name.rsplit("/", 1)[-1],
        attrs={"units": "1"},
        notes=notes,
        drop=("t",),
    )
