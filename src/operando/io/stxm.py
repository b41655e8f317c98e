"""STXM_Control of the ALS: a text header (``.hdr``) and one text matrix (``.xim``) per photon energy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from operando.core import units
from operando.core.errors import FileError, nearest
from operando.io.positions import energy_axis, position_axis
from operando.io.reader import Dataset, StoredImage, Verdict
from operando.io.stxm_header import read_header
from operando.io.xim import XimStack, lone_matrix

_XIM_NAME = re.compile(r"^(?P<stem>.+)_(?P<channel>[a-z])(?P<number>\d*)\.xim$", re.IGNORECASE)
_HEAD = 4096
_NEVER_SET = -90.0  # a polarization of -99.99 means that the undulator did not tell


class StxmReader:
    """Reader of STXM_Control headers with their ``.xim`` images, and of a single ``.xim``."""

    name = "stxm"
    suffixes = (".hdr", ".xim")

    def can_open(self, path: Path) -> Verdict:
        """Look for ``ScanDefinition`` in a header, for rows of numbers in a ``.xim``."""
        if path.is_dir():
            return Verdict(False, "it is a folder, and an STXM header is a file")
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if re.search(rb"ScanDefinition\s*=", head):
            return Verdict(True)
        if path.suffix.lower() != ".xim":
            return Verdict(False, "it has no 'ScanDefinition = {', so it is not an STXM_Control header")
        words = head.split(b"\n", 1)[0].split()[:-1] or head.split()[:1]
        if words and all(_is_number(word) for word in words[:64]):
            return Verdict(True)
        return Verdict(False, "its first line is not a row of numbers, so it is not an STXM text image")

    def datasets(self, path: Path) -> list[Dataset]:
        """List channels and regions; empty where there is one of each."""
        if _is_matrix(path):
            return []
        scan = _Scan(path)
        found = [
            Dataset(scan.label(region, channel), scan.shape(region), "float64", f"channel {name} ({unit})")
            for region in range(len(scan.regions))
            for channel, (name, unit) in enumerate(scan.channels)
        ]
        return found if len(found) > 1 else []

    def open(self, path: Path, *, dataset: str | None = None) -> StoredImage:
        """Open the stack of a header; a ``.xim`` opens the stack it belongs to, or alone without header."""
        if not _is_matrix(path):
            scan = _Scan(path)
            region, channel = scan.choose(dataset)
            return scan.stored(region, channel)
        header = _header_of(path)
        if header is None:
            return lone_matrix(path)
        scan = _Scan(header)
        region, channel = scan.choose(dataset) if dataset else scan.of_file(path)
        stored = scan.stored(region, channel)
        stored.notes = [f"Opened as a part of {header.name}.", *stored.notes]
        return stored


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_matrix(path: Path) -> bool:
    with path.open("rb") as file:
        return re.search(rb"ScanDefinition\s*=", file.read(_HEAD)) is None


def _header_of(path: Path) -> Path | None:
    match = _XIM_NAME.match(path.name)
    if match is None:
        return None
    folders = (path.parent, path.parent.parent)
    candidates = [folder / f"{match['stem']}{suffix}" for folder in folders for suffix in (".hdr", ".HDR")]
    return next((c for c in candidates if c.is_file() and not _is_matrix(c)), None)


@dataclass(frozen=True)
class _Axis:
    """One axis of a region or the stack axis, as the header has it."""

    name: str
    unit: str
    points: np.ndarray

    @property
    def energies(self) -> bool:
        """Whether these are photon energies and not positions."""
        return units.kind(self.unit) == "energy" or "energy" in self.name.lower()


class _Scan:
    """What a header says: regions, channels, energies, and where their files are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path)
        definition = self._need(self.header, "ScanDefinition", dict)
        self.definition = definition
        regions = self._need(definition, "Regions", list)
        self.regions = [(self._axis(r, "QAxis"), self._axis(r, "PAxis")) for r in regions]
        self.energy = self._axis(definition, "StackAxis") if "StackAxis" in definition else None
        named = [c for c in self._need(definition, "Channels", list) if isinstance(c, Mapping)]
        self.channels = [(str(c.get("Name", "?")), str(c.get("Unit", "counts")) or "counts") for c in named]
        if not self.regions or not self.channels:
            raise FileError(f"{path}: the header must define a region and a channel. Copy it again.")
        self.flags = str(definition.get("Flags", ""))

    def _need(self, block: Mapping[str, Any], name: str, kind: type) -> Any:
        found = block.get(name)
        if not isinstance(found, kind):
            raise FileError(
                f"{self.path}: the header must define {name}, got {type(found).__name__}. It is damaged or of "
                "another program: export the images as TIFF or HDF5."
            )
        return found

    def _axis(self, block: Any, name: str) -> _Axis:
        axis = self._need(block if isinstance(block, Mapping) else {}, name, dict)
        points = [p for p in self._need(axis, "Points", list) if isinstance(p, float)]
        if not points or not np.all(np.isfinite(points)):
            raise FileError(f"{self.path}: the Points of {name} must be numbers, got {points[:3]}. Copy it again.")
        return _Axis(str(axis.get("Name", "")), units.canonical(str(axis.get("Unit", ""))), np.asarray(points))

    @property
    def energies(self) -> np.ndarray:
        """Energies of the stack axis; empty where the scan has none."""
        return np.empty(0) if self.energy is None else self.energy.points

    @property
    def stacked(self) -> bool:
        """Whether files are numbered by energy."""
        return "stack" in self.flags.lower() or self.energies.size > 1

    def shape(self, region: int) -> tuple[int, ...]:
        """Shape of the image of one region."""
        space = tuple(axis.points.size for axis in self.regions[region])
        return (self.energies.size, *space) if self.stacked else space

    def label(self, region: int, channel: int) -> str:
        """Name of one image: the letter of its channel, after the number of the region where there are several."""
        letter = chr(ord("a") + channel)
        return f"{region}/{letter}" if len(self.regions) > 1 else letter

    def choose(self, dataset: str | None) -> tuple[int, int]:
        """Region and channel for a name as in :meth:`label`, or for the name of a channel."""
        if dataset is None:
            return 0, 0
        known = {}
        for channel, (name, _) in enumerate(self.channels):
            for region in reversed(range(len(self.regions))):
                known[name] = region, channel
                known[f"{region}/{name}"] = region, channel
                known[chr(ord("a") + channel)] = region, channel
                known[self.label(region, channel)] = region, channel
        if dataset.strip("/") not in known:
            raise FileError(f"{self.path}: has no channel or region {dataset!r}. {nearest(dataset, known)}")
        return known[dataset.strip("/")]

    def of_file(self, path: Path) -> tuple[int, int]:
        """Region and channel that a ``.xim`` belongs to."""
        match = _XIM_NAME.match(path.name)
        if match is None:
            return 0, 0
        _, region = self._numbers(match["number"])
        channel = ord(match["channel"].lower()) - ord("a")
        if region >= len(self.regions) or channel >= len(self.channels):
            raise FileError(
                f"{path}: {self.path.name} has {len(self.channels)} channels and {len(self.regions)} regions, "
                f"but the name says channel {channel + 1} and region {region + 1}. Rename or remove the file."
            )
        return region, channel

    def _numbers(self, digits: str) -> tuple[int, int]:
        """Number of the energy and of the region: ``_a0121`` is energy 12 of region 1 where there are several."""
        if not digits:
            return 0, 0
        if len(self.regions) > 1:
            return (int(digits[:-1]), int(digits[-1])) if len(digits) > 1 else (0, int(digits))
        return int(digits), 0

    def files(self, region: int, channel: int) -> tuple[list[Path | None], list[str]]:
        """One path per energy (None where it is missing), and notes."""
        beside = self._matching(self.path.parent, region, channel)
        notes = []
        if not beside:
            below = [entry for entry in sorted(self.path.parent.iterdir()) if entry.is_dir()]
            hits = [(entry, self._matching(entry, region, channel)) for entry in below]
            hits = [(entry, files) for entry, files in hits if files]
            if not hits:
                raise FileError(
                    f"{self.path}: the images that it describes are not there: {self._first_name(region, channel)} "
                    "was looked for beside it and one folder below. Copy them together."
                )
            if len(hits) > 1:
                names = ", ".join(entry.name for entry, _ in hits)
                raise FileError(
                    f"{self.path}: several folders below it hold its images ({names}). Put one set beside the header."
                )
            folder, beside = hits[0]
            notes.append(f"The images were found in the folder {folder.name}.")
        count = max(1, self.energies.size) if self.stacked else 1
        numbers = sorted(beside)
        if numbers[-1] >= count:
            if len(numbers) != count:
                raise FileError(
                    f"{self.path}: the axis has {count} energies, but {len(numbers)} images are numbered up to "
                    f"{numbers[-1]}. Copy the header that belongs to them."
                )
            notes.append(
                f"The images are numbered {_few(numbers)} on an axis of {count} energies: they were taken in order."
            )
            return [beside[n] for n in numbers], notes
        missing = [n for n in range(count) if n not in beside]
        if missing:
            notes.append(
                f"{len(missing)} of {count} images are missing and read as NaN (number {_few(missing)}): the scan was "
                "interrupted or not copied whole."
            )
        return [beside.get(n) for n in range(count)], notes

    def _matching(self, folder: Path, region: int, channel: int) -> dict[int, Path]:
        found = {}
        for entry in folder.iterdir():
            match = _XIM_NAME.match(entry.name)
            if match is None or match["stem"].lower() != self.path.stem.lower():
                continue
            number, of_region = self._numbers(match["number"])
            if of_region == region and ord(match["channel"].lower()) - ord("a") == channel:
                found[number] = entry
        return found

    def _first_name(self, region: int, channel: int) -> str:
        digits = ("000" if self.stacked else "") + (str(region) if len(self.regions) > 1 else "")
        return f"{self.path.stem}_{chr(ord('a') + channel)}{digits}.xim"

    def stored(self, region: int, channel: int) -> StoredImage:
        """The image of one region and channel."""
        files, notes = self.files(region, channel)
        rows, columns = self.regions[region]
        array: Any = XimStack(self.path, files, (rows.points.size, columns.points.size), stacked=self.stacked)
        dims: list[str] = []
        coords: dict[str, Any] = {}
        turn = [slice(None)] * array.ndim
        if self.energy is not None and (self.stacked or self.energies.size == 1):
            values, attrs, note = energy_axis(self.energies, self.energy.unit)
            coords["energy"] = ("energy", values, attrs) if self.stacked else ((), values[0], attrs)
            notes += [note] if note else []
        if self.stacked:
            dims.append("energy")
        for axis, free in ((rows, "y"), (columns, "x")):
            if axis.energies and "energy" not in dims:
                dims.append("energy")
                values, attrs, note = energy_axis(axis.points, axis.unit)
                coords["energy"] = ("energy", values, attrs)
                notes += [note] if note else []
                continue
            position = position_axis(axis.points, axis.unit, free)
            notes += [position.note] if position.note else []
            if position.turned:
                turn[len(dims)] = slice(None, None, -1)
            dims.append(free)
            coords[free] = (free, position.values, position.attrs)
        if slice(None, None, -1) in turn:
            array = array.to_dask()[tuple(turn)]
            notes.append("An axis was scanned downward: the image was turned so that positions increase.")
        others = len(self.channels) * len(self.regions) - 1
        if others:
            notes.append(
                f"This is {self.label(region, channel)!r} of {others + 1} images (channels and regions): "
                "choose another with dataset=...."
            )
        return StoredImage(array, dims, coords=coords, name="counts", attrs=self._attrs(channel), notes=notes)

    def _attrs(self, channel: int) -> dict[str, Any]:
        name, unit = self.channels[channel]
        attrs: dict[str, Any] = {"units": unit, "long_name": "Detected signal", "channel": name}
        dwell = self.definition.get("Dwell")
        if isinstance(dwell, float) and 0 < dwell < math.inf:
            attrs["dwell_ms"] = dwell
        if "Time" in self.header:
            attrs["start_time"] = _iso(str(self.header["Time"]))
        if "Type" in self.definition:
            attrs["scan_type"] = str(self.definition["Type"])
        polarization = self.header.get("Polarization")
        if isinstance(polarization, float) and polarization > _NEVER_SET:
            attrs["polarization"] = polarization
        return attrs


def _few(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:6]))
    return listed if len(numbers) <= 6 else f"{listed}, ... {numbers[-1]}"


def _iso(text: str) -> str:
    for pattern in ("%Y %B %d %H:%M:%S", "%Y %b %d %H:%M:%S"):
        try:
            return datetime.strptime(text, pattern).isoformat()
        except ValueError:
            continue
    return text
