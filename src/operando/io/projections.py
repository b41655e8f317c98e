"""Projections with their flat and dark frames, from Data Exchange and NXtomo files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.errors import FileError, InputError, nearest
from operando.core.provenance import file_digest, record
from operando.io.hdf5 import Hdf5Blocks, Hdf5Reader, _holes, _numeric, _opened
from operando.io.hdf5_axes import numbers_at, text
from operando.io.lazy import FileArray

_FRAME = ("detector_y", "detector_x")
_PROJECTION, _FLAT, _DARK = 0, 1, 2


def open_projections(
    path: str | Path, *, angles: Sequence[float] | np.ndarray | None = None, pixel_size_um: float | None = None
) -> xr.Dataset:
    """Open raw projections of a scan with the frames that correct them, without reading their values.

    Parameters
    ----------
    path : str or Path
        An HDF5 file: Data Exchange (``/exchange/data``, ``data_white``, ``data_dark``, ``theta``) or NXtomo (frames
        with an ``image_key`` beside them: 0 projection, 1 flat, 2 dark; frames of other keys are left out).
    angles : sequence of float, optional
        In degrees, one per projection; replaces those of the file.
    pixel_size_um : float, optional
        Edge of a pixel at the sample; replaces what the file says.

    Returns
    -------
    Dataset
        ``projections`` (angle, detector_y, detector_x) with ``angle`` in deg; ``flat`` (flat_frame, detector_y,
        detector_x) and ``dark`` (dark_frame, ...) where the file has them; all lazy, in counts as stored. Where the
        order of frames is known ``flat`` has the coordinate ``taken_at``: how many projections were taken before.
        Detector coordinates in um, or px where the file does not say what a pixel is at the sample. ``attrs``:
        ``source``, ``provenance``, ``notes`` (what was left out or is missing).

    Raises
    ------
    FileError
        Where the file is none of the two, has no angles, or its parts do not fit together.
    InputError
        Where ``angles`` are not one per projection, or ``pixel_size_um`` is not positive.

    Notes
    -----
    A pixel size that is stored for the *camera* (NXtomo ``x_pixel_size``) is not taken: the magnification is missing.
    The size at the sample is read from ``x_sample_pixel_size``.

    Memory: headers, angles and keys.

    Examples
    --------
    >>> import tempfile, h5py
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/scan.h5", "w") as file:
    ...         file["exchange/data"] = np.ones((3, 4, 5), "uint16")
    ...         file["exchange/data_white"] = np.ones((2, 4, 5), "uint16")
    ...         file["exchange/theta"] = [0.0, 90.0, 180.0]
    ...     scan = open_projections(f"{folder}/scan.h5", pixel_size_um=1.33)
    >>> scan.projections.dims, scan.angle.values.tolist(), sorted(scan.data_vars)
    (('angle', 'detector_y', 'detector_x'), [0.0, 90.0, 180.0], ['flat', 'projections'])
    """
    place = Path(path)
    if not place.exists():
        raise FileError(f"{place}: does not exist. Check the path.")
    verdict = Hdf5Reader().can_open(place)
    if not verdict:
        raise FileError(f"{place}: projections are read from HDF5 (Data Exchange or NXtomo), but {verdict.reason}.")
    with _opened(place) as file:
        keys = _image_key(file)
        if keys is not None:
            parts, degrees, notes = _nxtomo(place, file, keys)
            size = _sample_pixel(keys.parent)
        elif numbers_at(file, "exchange/data") is not None:
            parts, degrees, notes = _data_exchange(place, file)
            size = None
        else:
            known = ", ".join(f"/{name} {tuple(d.shape)}" for name, d in _numeric(file)[:12]) or "no numbers at all"
            raise FileError(
                f"{place}: projections need /exchange/data (Data Exchange) or frames with an image_key (NXtomo), the "
                f"file holds {known}. Open one data set with operando.io.open_image(path, dataset=...)."
            )
    count = parts["projections"][1].shape[0]
    if angles is not None:
        degrees = np.asarray(angles, dtype=float)
        if degrees.shape != (count,):
            raise InputError(
                f"open_projections: angles must be one per projection, got {degrees.shape} for {count} projections."
            )
    if degrees is None:
        raise FileError(
            f"{place}: has no angle for its {count} projections. Pass them in degrees, for example "
            f"angles=np.linspace(0, 180, {count})."
        )
    if degrees.shape != (count,):
        raise FileError(f"{place}: has {degrees.size} angles for {count} projections. Pass angles=... in degrees.")
    if pixel_size_um is not None and not (np.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise InputError(f"open_projections: pixel_size_um must be positive, got {pixel_size_um!r}. Give it in um.")
    if pixel_size_um is not None:
        size = (float(pixel_size_um), float(pixel_size_um))
    return _dataset(place, parts, degrees, size, notes, angles is not None, pixel_size_um)


def _dataset(
    place: Path,
    parts: dict[str, tuple[str, FileArray, np.ndarray | None]],
    degrees: np.ndarray,
    size: tuple[float, float] | None,
    notes: list[str],
    given_angles: bool,
    pixel_size_um: float | None,
) -> xr.Dataset:
    frame = parts["projections"][1].shape[1:]
    coords: dict[str, Any] = {"angle": ("angle", degrees, {"units": "deg", "long_name": "Rotation angle"})}
    for dim, n, step in zip(_FRAME, frame, size or (None, None), strict=True):
        unit, spacing = ("px", 1.0) if step is None else ("um", step)
        attrs = {"units": unit, "long_name": f"Detector {dim[-1]}", "spacing": spacing}
        coords[dim] = (dim, spacing * np.arange(n, dtype=float), attrs)
    variables = {}
    for name, (leading, array, taken_at) in parts.items():
        if array.shape[1:] != frame:
            raise FileError(
                f"{place}: {name} frames must be as large as the projections {frame}, got {array.shape[1:]}. "
                "Were they recorded with another region of the detector?"
            )
        variables[name] = ((leading, *_FRAME), array.to_dask(), {"units": "counts"})
        if taken_at is not None:
            coords["taken_at"] = (leading, taken_at, {"long_name": "Projections taken before"})
    if size is None:
        notes = [*notes, "The size of a pixel at the sample is not stored: pass pixel_size_um."]
    for wanted in ("flat", "dark"):
        if wanted not in parts:
            notes = [*notes, f"There are no {wanted} frames."]
    given = {"pixel_size_um": pixel_size_um, "angles": "given" if given_angles else None}
    attrs = {
        "source": str(place),
        "notes": notes,
        "provenance": record(
            "operando.io.open_projections",
            {key: value for key, value in given.items() if value is not None},
            inputs={str(place): file_digest(place)},
        ),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _data_exchange(
    place: Path, file: Any
) -> tuple[dict[str, tuple[str, FileArray, np.ndarray | None]], np.ndarray | None, list[str]]:
    parts: dict[str, tuple[str, FileArray, np.ndarray | None]] = {}
    notes: list[str] = []
    for name, leading, inside in (
        ("projections", "angle", "data"),
        ("flat", "flat_frame", "data_white"),
        ("dark", "dark_frame", "data_dark"),
    ):
        node = numbers_at(file, f"exchange/{inside}")
        if node is None or 0 in node.shape:
            continue
        if node.ndim != 3:
            raise FileError(f"{place}: {node.name} must have three axes (frame, y, x), got the shape {node.shape}.")
        notes += _holes(place, node)
        parts[name] = (leading, Hdf5Blocks(place, node), None)
    if "projections" not in parts:
        raise FileError(f"{place}: /exchange/data is empty. It was not written to its end.")
    theta = numbers_at(file, "exchange/theta")
    return parts, None if theta is None else _in_degrees(place, theta), notes


def _nxtomo(
    place: Path, file: Any, keys: Any
) -> tuple[dict[str, tuple[str, FileArray, np.ndarray | None]], np.ndarray | None, list[str]]:
    frames = numbers_at(keys.parent, "data")
    if frames is None or frames.ndim != 3:
        raise FileError(f"{place}: {keys.name} stands beside no stack of frames named 'data'. Write the file again.")
    values = np.asarray(keys[()]).ravel().astype(int)
    if values.size != frames.shape[0]:
        raise FileError(
            f"{place}: image_key must say what each of the {frames.shape[0]} frames is, got {values.size} keys. "
            "The scan may have been stopped early: write the file again."
        )
    if not np.any(values == _PROJECTION):
        raise FileError(f"{place}: no frame is a projection (image_key 0), got keys {np.unique(values).tolist()}.")
    notes = _holes(place, frames)
    other = int(np.sum(~np.isin(values, (_PROJECTION, _FLAT, _DARK))))
    if other:
        notes.append(f"{other} of {values.size} frames are marked as invalid and were left out.")
    stack = Hdf5Blocks(place, frames)
    before = np.cumsum(values == _PROJECTION)
    parts: dict[str, tuple[str, FileArray, np.ndarray | None]] = {}
    for name, leading, key in (
        ("projections", "angle", _PROJECTION),
        ("flat", "flat_frame", _FLAT),
        ("dark", "dark_frame", _DARK),
    ):
        chosen = np.flatnonzero(values == key)
        if chosen.size:
            taken_at = before[chosen] if key == _FLAT else None
            parts[name] = (leading, SelectedFrames(stack, chosen), taken_at)
    theta = _angles_near(file, keys, values.size)
    degrees = None if theta is None else _in_degrees(place, theta)[values == _PROJECTION]
    return parts, degrees, notes


class SelectedFrames(FileArray):
    """Some frames of a stack in a file, in their order there.

    Parameters
    ----------
    stack : FileArray, shape (frame, y, x)
    frames : ndarray of int
        Increasing positions along the first axis.
    """

    def __init__(self, stack: FileArray, frames: np.ndarray) -> None:
        self._stack, self._frames = stack, np.asarray(frames)
        shape = (self._frames.size, *stack.shape[1:])
        super().__init__(stack.path, shape, stack.dtype, chunks=(min(stack.chunks[0], shape[0]), *stack.chunks[1:]))

    def _token(self) -> Any:
        return self._stack._token(), self._frames.tolist()

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """Read a box, run by run of frames that follow each other in the file."""
        chosen = self._frames[region[0]]
        if chosen.size == 0:
            return self._stack.read((slice(0, 0), *region[1:]))
        runs = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
        parts = [self._stack.read((slice(int(run[0]), int(run[-1]) + 1), *region[1:])) for run in runs]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _image_key(file: Any) -> Any:
    """The image_key of the first group that has frames beside it; links to it count once."""
    found = [node for name, node in _numeric(file) if name.rsplit("/", 1)[-1] == "image_key" and node.ndim <= 1]
    with_frames = [node for node in found if numbers_at(node.parent, "data") is not None]
    return (with_frames or found or [None])[0]


def _angles_near(file: Any, keys: Any, count: int) -> Any:
    """Data set rotation_angle with one value per frame, the nearest to the frames in the tree."""
    found = [
        node
        for name, node in _numeric(file)
        if name.rsplit("/", 1)[-1] in ("rotation_angle", "theta") and node.ndim == 1 and node.size == count
    ]
    here = keys.name.split("/")

    def shared(node: Any) -> int:
        same = [a == b for a, b in zip(here, node.name.split("/"), strict=False)]
        return same.index(False) if False in same else len(same)

    return max(found, key=shared) if found else None


def _in_degrees(place: Path, theta: Any) -> np.ndarray:
    values = np.asarray(theta[()], dtype=float).ravel()
    unit = text(theta.attrs.get("units", theta.attrs.get("unit", "deg"))).strip().lower()
    if unit in ("", "deg", "degree", "degrees", "°"):
        return values
    if unit in ("rad", "radian", "radians"):
        return np.rad2deg(values)
    raise FileError(
        f"{place}: angles must be in degrees or radians, got {unit!r} at {theta.name}. "
        f"{nearest(unit, ['degree', 'rad'])} Pass angles=... in degrees."
    )


def _sample_pixel(detector: Any) -> tuple[float, float] | None:
    """Edges (y, x) of a pixel at the sample in um, where the file has both."""
    sizes = []
    for name in ("y_sample_pixel_size", "x_sample_pixel_size"):
        node = detector.get(name)
        unit = "m" if node is None else text(node.attrs.get("units", "m"))
        if node is None or units.kind(unit) != "length":
            return None
        sizes.append(float(np.asarray(node[()]).ravel()[0]) * units.factor(unit, "um"))
    return (sizes[0], sizes[1]) if min(sizes) > 0 else None
