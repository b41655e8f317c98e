"""A stack over photon energy from whatever a beamline left: one file, a folder, or images by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, calibrate
from operando.core.errors import AxesError, FileError, InputError
from operando.core.provenance import record
from operando.io.image import open_image
from operando.io.positions import energy_axis
from operando.io.reader import check_exists, readers
from operando.io.tiff import natural_key

# 8354.0_eV, 8354eV, 8.354 keV; not the end of a longer number and not the beginning of a word.
_IN_NAME = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)[ _-]?(k?eV)(?![A-Za-z])", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LISTED = 20_000


def open_stack(
    path: str | Path | Sequence[str | Path],
    *,
    energies: Any = None,
    voxel_size_um: float | Sequence[float] | None = None,
    dataset: str | None = None,
    repeats: Literal["error", "mean"] = "error",
) -> xr.DataArray:
    """Open a stack over photon energy, without reading its values.

    Parameters
    ----------
    path : str, Path or sequence of them
        A readable image whose energies are in the file (STXM, NXstxm, ``.stk``, ``.ncb``, ``.txrm``, ...); one
        whose first axis is the energy without the file saying so (a TIFF stack); a folder of single images, or of an
        STXM header with its images; or
        single images by name, ``frames.h5#name`` for data sets of a container, in any order.
    energies : array-like or path, optional
        One photon energy per image, or a text or CSV file that lists them (its first column). In eV; numbers
        below 40 are keV. Default: what the files say, else what their names say (``..._08354.0_eV_...``).
    voxel_size_um : float or (y, x), optional
        Edge of a pixel in um; replaces what the files say.
    dataset : str, optional
        Which array of a container, as in :func:`~operando.io.open_image`.
    repeats : {"error", "mean"}
        What to do with several images at one energy: refuse, or take their mean (float64; a coordinate
        ``frames`` then holds how many there were).

    Returns
    -------
    DataArray, dims (energy, y, x)
        Dask-backed; ``energy`` in eV in the order given; y and x as the first file has them. ``attrs`` as of
        :func:`~operando.io.open_image`.

    Raises
    ------
    FileError
        Where a file cannot be opened.
    InputError
        Where energies are missing, are too few or too many, or are not unique; where images differ in shape.

    Notes
    -----
    Memory: headers and coordinates. Flat fields are opened by a second call with their files.

    Examples
    --------
    >>> import tempfile
    >>> from operando.core.axes import labeled_image
    >>> from operando.io import save_image
    >>> frames = labeled_image(np.zeros((3, 4, 5), dtype="float32"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_image(frames, f"{folder}/frames.tif")
    ...     stack = open_stack(f"{folder}/frames.tif", energies=[8.333, 8.35, 8.4], voxel_size_um=0.04)
    ...     stack.dims, stack.energy.values.tolist(), stack.x.attrs["spacing"]
    (('energy', 'y', 'x'), [8333.0, 8350.0, 8400.0], 0.04)
    """
    if repeats not in ("error", "mean"):
        raise InputError(f"open_stack: repeats must be 'error' or 'mean', got {repeats!r}.")
    given = None if energies is None else _energies(energies)
    names = _members(path)
    # Given here already, so that pixel sizes that differ between files do not matter.
    size = voxel_size_um
    stack = _one(names[0], given, dataset, size) if len(names) == 1 else _joined(names, given, dataset, size)
    stack = _unique(stack, repeats)
    asked = {"voxel_size_um": voxel_size_um, "dataset": dataset, "repeats": repeats, "files": names}
    asked["energies"] = None if given is None else given.tolist()
    stack.attrs["source"] = names[0]
    stack.attrs["provenance"] = record(
        "operando.io.open_stack", {key: value for key, value in asked.items() if value is not None}
    )
    return stack


def _members(path: str | Path | Sequence[str | Path]) -> list[str]:
    """Names of the single images, or of the one file that holds them all."""
    if not isinstance(path, str | Path):
        names = [str(p) for p in path]
        if not names:
            raise InputError("open_stack: at least one image is needed, got an empty list. Check the pattern of names.")
        return names
    folder = Path(path)
    if not folder.is_dir() or any((folder / h).is_file() for h in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
        return [str(path)]
    headers = [f for f in folder.iterdir() if f.suffix.lower() == ".hdr" and f.is_file()]
    if len(headers) == 1 and any(f.suffix.lower() == ".xim" for f in folder.iterdir()):
        return [str(headers[0])]
    endings = {suffix for reader in readers().values() for suffix in reader.suffixes} - {".hdr"}
    found = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".") and f.suffix.lower() in endings]
    kinds = sorted({f.suffix.lower() for f in found})
    if len(kinds) != 1:
        listed = ", ".join(kinds) or "none"
        raise FileError(f"{folder}: a folder of a stack must hold images of one kind, got {listed}. Pass their names.")
    return [str(f) for f in sorted(found, key=lambda f: natural_key(f.name))]


def _energies(energies: Any) -> np.ndarray:
    """Energies in eV from numbers or from a file that lists them."""
    unit = ""
    if isinstance(energies, str | Path):
        values, unit = _listed(Path(energies))
    else:
        unit = str(getattr(energies, "attrs", {}).get("units", ""))
        try:
            values = np.asarray(energies, dtype=float).ravel()
        except (TypeError, ValueError):
            raise InputError(
                f"open_stack: energies must be numbers or the path of a list, got {type(energies).__name__}."
            ) from None
    if not values.size or not np.all(np.isfinite(values) & (values > 0)):
        raise InputError("open_stack: energies must be positive numbers, one per image. Check the list.")
    return energy_axis(values, unit)[0]


def _listed(path: Path) -> tuple[np.ndarray, str]:
    """First number of each line of a text file, and the unit where its head names one."""
    check_exists(path)
    unit = ""
    values: list[float] = []
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines()[:_LISTED], start=1):
        bare = line.strip().lstrip("\ufeff")
        match = _NUMBER.match(bare)
        if match is None or (match.end() < len(bare) and bare[match.end()] not in " \t,;"):
            if values and bare and not bare.startswith(("#", "%", "!")):
                raise FileError(
                    f"{path}: line {number} must begin with an energy, got {bare[:30]!r}. Correct the list."
                )
            named = re.search(r"\b(k?eV)\b", bare, re.IGNORECASE)
            unit = unit or (named[1] if named else "")
            continue
        values.append(float(match.group()))
    if not values:
        raise FileError(f"{path}: holds no energies. A list has one number per line, in eV or keV.")
    return np.asarray(values), unit


def _from_name(name: str) -> float | None:
    """Energy in eV that a name tells; the part after the last '#' or '/' counts."""
    last = re.split(r"[#/\\]", name.rstrip("/"))[-1]
    found = _IN_NAME.findall(last)
    if not found:
        return None
    value, unit = found[-1]
    return float(energy_axis(float(value), unit)[0])


def _one(
    name: str, given: np.ndarray | None, dataset: str | None, voxel_size_um: float | Sequence[float] | None
) -> xr.DataArray:
    image = open_image(name, dataset=dataset)
    if "energy" not in image.dims:
        loose = [str(d) for d in image.dims if d not in ("y", "x")]
        if image.ndim == 2 and not loose:
            return _joined([name], given, dataset, voxel_size_um)
        if image.ndim != 3 or len(loose) != 1:
            raise AxesError(
                f"{name}: a stack has an axis besides y and x that is the energy, got dims {image.dims}. "
                "Choose a data set, or open it with open_image(..., dims=(...))."
            )
        if given is None:
            raise InputError(
                f"{name}: the energies of its {image.sizes[loose[0]]} images are not in the file. "
                "Pass energies=[...] or the path of a list."
            )
        image = image.drop_vars([c for c in (loose[0], "energy") if c in image.coords]).rename({loose[0]: "energy"})
    if given is not None:
        if given.size != image.sizes["energy"]:
            raise InputError(
                f"{name}: one energy per image is needed, got {given.size} energies for {image.sizes['energy']} images."
            )
        image = image.assign_coords(energy=("energy", given, {"units": "eV", "long_name": "Photon energy"}))
    if "energy" not in image.coords:
        raise InputError(f"{name}: its energies are not in the file. Pass energies=[...] or the path of a list.")
    image = image.transpose("energy", ...)
    return image if voxel_size_um is None else calibrate(image, voxel_size_um=voxel_size_um)


def _joined(
    names: Sequence[str],
    given: np.ndarray | None,
    dataset: str | None,
    voxel_size_um: float | Sequence[float] | None,
) -> xr.DataArray:
    import dask.array as da

    if given is not None and given.size != len(names):
        raise InputError(
            f"open_stack: one energy per image is needed, got {given.size} energies for {len(names)} images."
        )
    planes: list[xr.DataArray] = []
    found: list[float | None] = []
    for name in names:
        image = open_image(name, dataset=dataset, voxel_size_um=voxel_size_um)
        image = image.squeeze([d for d in image.dims if d not in SPACE and image.sizes[d] == 1])
        if image.ndim != 2:
            raise AxesError(f"{name}: each image of a list must be one image (y, x), got dims {image.dims}.")
        if planes and (image.shape != planes[0].shape or image.dims != planes[0].dims):
            raise InputError(
                f"{name}: is {image.shape[0]} x {image.shape[1]} pixels, but {names[0]} is {planes[0].shape[0]} x "
                f"{planes[0].shape[1]}. All images of a stack must agree: crop or leave it out."
            )
        energy = float(image.energy) if "energy" in image.coords and image.energy.ndim == 0 else _from_name(name)
        if energy is None and dataset is not None:
            energy = _from_name(dataset)
        planes.append(image)
        found.append(energy)
    if given is None:
        unknown = [name for name, energy in zip(names, found, strict=True) if energy is None]
        if unknown:
            raise InputError(
                f"{unknown[0]}: the energy is neither in the file nor in its name ({len(unknown)} of {len(names)} "
                "images). Pass energies=[...] or the path of a list."
            )
        given = np.asarray(found, dtype=float)
    first = planes[0]
    steps = [{d: p[d].attrs.get("spacing") for d in p.dims if p[d].attrs.get("units") == "um"} for p in planes]
    if any(not _agree(step, steps[0]) for step in steps):
        raise InputError(
            f"open_stack: the images must have one pixel size, got {steps[0]} and others. Zone plates magnify with "
            "energy: resample them first, or pass voxel_size_um where the difference does not matter."
        )
    coords = {d: first[d] for d in first.dims}
    coords["energy"] = xr.DataArray(given, dims="energy", attrs={"units": "eV", "long_name": "Photon energy"})
    return xr.DataArray(
        da.stack([p.data for p in planes]),
        dims=("energy", *map(str, first.dims)),
        coords=coords,
        attrs={key: value for key, value in first.attrs.items() if all(_same(p.attrs.get(key), value) for p in planes)},
    ).rename(first.name if all(p.name == first.name for p in planes) else None)


def _agree(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    return a.keys() == b.keys() and all(a[k] is not None and abs(a[k] - b[k]) <= 1e-3 * b[k] for k in a)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(np.all(np.asarray(a == b)))


def _unique(stack: xr.DataArray, repeats: str) -> xr.DataArray:
    values = stack.energy.values
    distinct, first, count = np.unique(values, return_index=True, return_counts=True)
    if distinct.size == values.size:
        return stack
    if repeats == "error":
        at = int(np.argmax(count))
        raise InputError(
            f"open_stack: each energy must be there once, got {count[at]} images at {distinct[at]:g} eV. "
            "Average them with repeats='mean', or pass one image per energy."
        )
    import dask.array as da

    order = distinct[np.argsort(first)]
    members = [np.flatnonzero(values == energy) for energy in order]
    means = da.stack([stack.data[where].astype(float).mean(axis=0) for where in members])
    coords: dict[Any, Any] = {d: stack[d] for d in stack.dims if d != "energy"}
    coords["energy"] = ("energy", order, stack.energy.attrs)
    coords["frames"] = ("energy", [where.size for where in members], {"units": "1", "long_name": "Images averaged"})
    return xr.DataArray(means, dims=stack.dims, coords=coords, attrs=stack.attrs).rename(stack.name)
