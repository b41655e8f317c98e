"""NXstxm: the NeXus application definition of stacks over photon energy, read and written.

An entry holds the definition, the instrument (source, monochromator, detector), the sample, and per counter an NXdata
group with ``data`` (energy, sample_y, sample_x) and its three axes. https://manual.nexusformat.org (NXstxm).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from operando.io import hdf5_axes
from operando.io.hdf5_axes import Axes, text

_FIELDS = {"energy": "energy", "y": "sample_y", "x": "sample_x"}
_SCANS = {
    ("energy", "y", "x"): "sample image stack",
    ("energy", "y"): "sample line spectrum",
    ("energy", "x"): "sample line spectrum",
    ("energy",): "sample point spectrum",
}


def entry_of(dataset: Any) -> Any:
    """The NXstxm entry in which a data set lies, or None."""
    node = dataset.parent
    while node.name != "/":
        definition = node.get("definition")
        if definition is not None and getattr(definition, "shape", None) in ((), (1,)):
            return node if text(np.asarray(definition[()])).strip().startswith("NXstxm") else None
        node = node.parent
    return None


def _groups(parent: Any, kind: str) -> list[Any]:
    import h5py

    children = [parent.get(name) for name in parent]
    return [c for c in children if isinstance(c, h5py.Group) and text(c.attrs.get("NX_class", "")) == kind]


def _counters(entry: Any) -> list[Any]:
    """The data set of each NXdata group of an entry."""
    found = [hdf5_axes.numbers_at(group, text(group.attrs.get("signal", "data"))) for group in _groups(entry, "NXdata")]
    return [node for node in found if node is not None]


def roles(file: Any) -> dict[str, str]:
    """What the data sets of the NXstxm entries of a file are."""
    found = {}
    for entry in _groups(file, "NXentry"):
        for node in _counters(entry):
            if entry_of(node) is None:
                continue
            found[node.name] = "NXstxm: counter"
            for monitor in _groups(entry, "NXmonitor"):
                found[f"{monitor.name}/data"] = "NXstxm: control (for normalization)"
    return found


def read_axes(file: Any, dataset: Any) -> Axes | None:
    """Axes of a monitor, which has none of its own: those of the counter that it normalizes."""
    entry = entry_of(dataset)
    if entry is None or text(dataset.parent.attrs.get("NX_class", "")) not in ("NXmonitor", "NXdetector"):
        return None
    for counter in _counters(entry):
        axes = hdf5_axes.read_axes(counter)
        if counter.shape == dataset.shape:
            return axes
        if dataset.ndim == 1 and "energy" in axes.dims and dataset.size == counter.shape[axes.dims.index("energy")]:
            return Axes(("energy",), {n: c for n, c in axes.coords.items() if n == "energy"}, (), [])
    return None


def describe(file: Any, dataset: Any) -> tuple[dict[str, Any], list[str]]:
    """Attributes and notes of a counter of an NXstxm entry."""
    entry = entry_of(dataset)
    if entry is None:
        return {}, []
    attrs: dict[str, Any] = {"units": "counts"}
    times = hdf5_axes.numbers_at(dataset.parent, "count_time")
    if times is not None and times.ndim == 1:
        # Seconds unless it says otherwise: NX_TIME of the definition.
        scale = {"ms": 1.0, "us": 1e-3}.get(text(times.attrs.get("units", "s")), 1e3)
        dwell = [float(f"{float(t) * scale:.12g}") for t in times[()]]
        attrs["dwell_ms"] = dwell[0] if len(set(dwell)) == 1 else dwell
    for ours, path in (
        ("start_time", "start_time"),
        ("title", "title"),
        ("sample", "sample1/name"),
        ("sample", "sample/name"),
    ):
        node = entry.get(path)
        if node is not None and getattr(node, "shape", None) in ((), (1,)) and node.dtype.kind in "SO":
            attrs.setdefault(ours, text(np.asarray(node[()])))
    for source in (node for group in _groups(entry, "NXinstrument") for node in (group, *_groups(group, "NXsource"))):
        found = source.get("polarization")
        if found is not None and getattr(found, "size", 0) == 1 and found.dtype.kind in "if":
            attrs["polarization"] = float(np.asarray(found[()]).ravel()[0])
    notes = []
    others = [node.name for node in _counters(entry) if node.name != dataset.name]
    others += [n.name for e in _groups(file, "NXentry") if e.name != entry.name for n in _counters(e) if entry_of(n)]
    if others and text(dataset.parent.attrs.get("NX_class", "")) == "NXdata":
        listed = ", ".join(others[:6]) + (", ..." if len(others) > 6 else "")
        notes.append(f"This is {dataset.name}; the file also has {listed}: choose with dataset=....")
    return attrs, notes


def fits(image: xr.DataArray) -> bool:
    """Whether an image is one that NXstxm defines: dims energy and at most y, x, with its energies."""
    if tuple(map(str, image.dims)) not in _SCANS or "energy" not in image.coords:
        return False
    return image.energy.dims == ("energy",) and image.energy.dtype.kind in "iuf"


def field_name(dim: str) -> str:
    """Name of an axis in an NXstxm group."""
    return _FIELDS.get(dim, dim)


def write_entry(entry: Any, group: Any, image: xr.DataArray) -> None:
    """Complete an entry that has its NXdata group and data set to what NXstxm asks for.

    Notes
    -----
    Each energy counts as one scan point whose detector gives a whole image, which the definition allows and a
    full-field microscope does: the detector then is a link to the data and nothing is stored twice.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # Texts are arrays of one, which NeXus allows and some readers (MANTiS) take for granted.
    entry["definition"] = ["NXstxm"]
    for name in ("start_time", "end_time"):
        known = image.attrs.get(name, image.attrs.get("start_time"))
        entry[name] = [str(known) if known else now]
        if not known:
            entry[name].attrs["note"] = "time of saving; that of the measurement is not known"

    def child(parent: Any, name: str, kind: str) -> Any:
        made = parent.create_group(name)
        made.attrs["NX_class"] = kind
        return made

    instrument = child(entry, "instrument", "NXinstrument")
    source = child(instrument, "source", "NXsource")
    source["type"] = ["Synchrotron X-ray Source"]
    source["name"] = [str(image.attrs.get("source_name", "not known"))]
    source["probe"] = ["x-ray"]
    energies = np.asarray(image.energy.values, dtype=float)
    monochromator = child(instrument, "monochromator", "NXmonochromator")
    monochromator["energy"] = energies
    monochromator["energy"].attrs["units"] = str(image.energy.attrs.get("units", "eV"))
    detector = child(instrument, "detector", "NXdetector")
    detector["data"] = group["data"]
    sample = child(entry, "sample", "NXsample")
    sample["rotation_angle"] = float(image.attrs.get("rotation_angle", 0.0))
    sample["rotation_angle"].attrs["units"] = "degree"
    group["stxm_scan_type"] = [_SCANS[tuple(map(str, image.dims))]]
    for dim, name in _FIELDS.items():
        if dim not in image.coords and name not in group:
            # The definition asks for every position; one that was not scanned is a single number.
            size = image.sizes.get(dim, 1)
            axis = group.create_dataset(name, data=np.arange(size, dtype=float))
            axis.attrs["units"] = "px"
    dwell = image.attrs.get("dwell_ms")
    if isinstance(dwell, int | float) or (isinstance(dwell, list) and len(dwell) == energies.size):
        group["count_time"] = np.broadcast_to(np.asarray(dwell, dtype=float) / 1e3, energies.shape)
        group["count_time"].attrs["units"] = "s"
