"""Annotations from files: logs, and label images of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.blocks import iter_blocks
from operando.core.errors import AxesError, InputError, UnitsError, nearest
from operando.core.phases import UNLABELED, PhaseScheme
from operando.io.annotation_log import KIND, SERIES, read_log
from operando.io.annotation_replay import replay
from operando.io.image import open_image
from operando.io.reader import check_exists
from operando.io.tiff import SUFFIXES

CONVENTIONS = ("operando", "fiji", "napari", "ilastik", "dragonfly")
"""Programs whose label images are read and written."""

MASK = 255  # what a binary mask of Fiji holds where it is true
BLOCK = 256
_SEVERAL = 256  # more distinct values than this are objects that were numbered, not classes
EXPORTED = "exported_data"  # ilastik's name for what it writes


def open_annotations(
    path: str | Path,
    *,
    like: xr.DataArray | None = None,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    until: Any = None,
) -> xr.DataArray:
    """Open annotations for training: a label image in operando's own convention, or an annotation log.

    Parameters
    ----------
    path : str or Path
        An image that :func:`operando.io.open_image` reads, uint8 with 255 = unlabeled, or a log
        (:func:`operando.io.create_log`).
    like : DataArray, dims ([t], [z], y, x), optional
        The image that was labeled. Annotations of another grid are refused, and its coordinates are taken.
    phases : PhaseScheme or mapping of str to int, optional
        Numbers of the phases a log is replayed with; default those in the log.
    until : int, datetime or str, optional
        Moment to which a log is replayed; see :func:`operando.io.replay`.

    Returns
    -------
    DataArray of uint8, lazy
        255 where nobody labeled. ``attrs["damaged_lines"]`` names the lines of a log that were not finished.

    Raises
    ------
    FileError, InputError, AxesError, UnitsError, PhaseError
        Where it cannot be read or does not fit.

    Examples
    --------
    >>> import tempfile
    >>> from operando.io import save_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_image(xr.DataArray(np.full((2, 3), 255, np.uint8), dims=("y", "x")), f"{folder}/marks.tif")
    ...     open_annotations(f"{folder}/marks.tif").dims
    ('y', 'x')
    """
    if is_log(path):
        log = read_log(path)
        labels = replay(log, like=like, phases=phases, until=until)
        if log.damaged:
            labels.attrs["damaged_lines"] = list(log.damaged)
        return labels
    if until is not None:
        raise InputError(f"open_annotations: until needs a log, and {path} is a label image. Leave it out.")
    labels = open_image(path)
    if labels.dtype != np.uint8:
        raise InputError(
            f"{path}: annotations must be uint8 with {UNLABELED} = unlabeled, got {labels.dtype}. "
            "Import a label image of another program with operando label import."
        )
    return labels if like is None else _on_grid(labels, like, where=str(path))


def is_log(path: str | Path) -> bool:
    """Whether a path is an annotation log, by its first line."""
    place = Path(path)
    if not place.is_file():
        return False
    with place.open("rb") as file:
        head = file.read(64)
    return head.startswith(b"{") and KIND.encode() in head


def read_annotations(
    path: str | Path | Mapping[str, str | Path],
    *,
    convention: str,
    phases: PhaseScheme | Mapping[str, int],
    values: Mapping[str, int] | None = None,
    like: xr.DataArray | None = None,
    scan: int | None = None,
    voxel_size_um: float | Sequence[float] | None = None,
    dims: Sequence[str] | None = None,
    dataset: str | None = None,
) -> xr.DataArray:
    """Read a label image that another program wrote.

    Parameters
    ----------
    path : str, Path or mapping of str to path
        A label image; or binary masks, one file per phase, as a mapping of phase name to file or as a folder of TIFF
        files named after the phases.
    convention : {"operando", "fiji", "napari", "ilastik", "dragonfly"}
        What the values mean. operando: ids of ``phases``, 255 = unlabeled. All others: 0 = unlabeled, and ``values``.
        Masks are the same everywhere: 0 = not this phase, 255 (or 1) = this phase, unlabeled where no mask is true.
    phases : PhaseScheme or mapping of str to int
    values : mapping of str to int, optional
        What the file holds for each phase. Default: the ids; where a phase has the id 0, which means unlabeled there,
        the ids plus one.
    like : DataArray, dims ([t], [z], y, x), optional
        The image that was labeled. Labels of another grid are refused, and its coordinates are taken.
    scan : int, optional
        Which scan of ``like`` was labeled, where the file holds only one; the others are unlabeled.
    voxel_size_um, dims, dataset
        As in :func:`operando.io.open_image`, where the file does not say them or says them wrongly. The axes of
        ilastik's HDF5 are known.

    Returns
    -------
    DataArray of uint8, dims ([t], [z], y, x), lazy
        In operando's convention, ``attrs["phases"]`` the scheme.

    Raises
    ------
    InputError
        Where values fit no phase, masks overlap, or a binary mask was given as labels; the message says what to do.
    AxesError, UnitsError, FileError
        Where the file does not fit the image, or cannot be read.

    Notes
    -----
    Reads every value once to check it, block by block; what comes back reads them again when it is computed.

    Examples
    --------
    napari keeps 0 for what nobody painted, so the electrolyte (0 here) was painted as 1:

    >>> import tempfile, tifffile
    >>> phases = {"electrolyte": 0, "electrode": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/Labels.tif", np.array([[0, 1], [2, 2]], np.uint8))
    ...     read_annotations(f"{folder}/Labels.tif", convention="napari", phases=phases).values.tolist()
    [[255, 0], [1, 1]]
    """
    where = "read_annotations"
    scheme = PhaseScheme.of(phases)
    check_convention(convention, where)
    given = {"voxel_size_um": voxel_size_um, "dims": dims, "dataset": dataset}
    masks = _mask_files(path, scheme, where)
    if masks is not None:
        labels = _from_masks(masks, scheme, given, where)
    else:
        assert not isinstance(path, Mapping)
        labels = _from_labels(path, convention, scheme, values, given, where)
    labels.attrs = {"units": "1", "long_name": "Phase", "phases": scheme}
    labels.name = "labels"
    if scan is not None:
        labels = _into_series(labels, like, scan, where)
    return labels if like is None else _on_grid(labels, like, where=_said(path))


def check_convention(convention: str, where: str) -> None:
    """Raise where nobody knows the convention."""
    if convention not in CONVENTIONS:
        raise InputError(f"{where}: there is no convention {convention!r}. {nearest(str(convention), CONVENTIONS)}")


def values_of(convention: str, scheme: PhaseScheme, values: Mapping[str, int] | None, where: str) -> dict[str, int]:
    """What a file holds for each phase."""
    lowest = 0 if convention == "operando" else 1
    if values is None:
        step = 1 if lowest and 0 in scheme.ids else 0
        if max(scheme.ids) + step >= UNLABELED:
            raise InputError(f"{where}: id 254 leaves no room to count from 1. Pass values=... for each phase.")
        return {name: scheme[name] + step for name in scheme}
    for name in values:
        scheme.phase(name)
    bad = {name: value for name, value in values.items() if not lowest <= value < UNLABELED}
    if bad or len(set(values.values())) != len(values):
        raise InputError(
            f"{where}: values must be different numbers from {lowest} to {UNLABELED - 1} "
            f"({'255' if convention == 'operando' else '0'} is unlabeled there), got {dict(values)}. Correct them."
        )
    return {name: int(value) for name, value in values.items()}


def _mask_files(path: str | Path | Mapping[str, str | Path], scheme: PhaseScheme, where: str) -> dict[str, Path] | None:
    """File of each mask, or None where the path is a label image."""
    if isinstance(path, Mapping):
        for name in path:
            scheme.phase(name)
        if not path:
            raise InputError(f"{where}: at least one mask is needed. Pass {{phase: file}}.")
        return {name: Path(file) for name, file in path.items()}
    place = Path(path)
    if not place.is_dir():
        return None
    files = [file for file in sorted(place.iterdir()) if file.suffix.lower() in SUFFIXES]
    named = {file.stem: file for file in files if file.stem in scheme}
    if named and len(named) < len(files):
        other = [file.name for file in files if file.stem not in scheme]
        raise InputError(
            f"{where}: every file of a folder of masks must be named after a phase, got {other[:5]} beside "
            f"{sorted(named)}. {nearest(Path(other[0]).stem, scheme)}"
        )
    return named or None


def _from_masks(masks: Mapping[str, Path], scheme: PhaseScheme, given: dict[str, Any], where: str) -> xr.DataArray:
    opened = {name: _plain_image(file, given) for name, file in masks.items()}
    first_name, first = next(iter(opened.items()))
    for name, mask in opened.items():
        if dict(mask.sizes) != dict(first.sizes):
            raise AxesError(
                f"{where}: all masks must have one grid, got {dict(mask.sizes)} for {name!r} and {dict(first.sizes)} "
                f"for {first_name!r}. Export them from the same image."
            )
        found = _distinct(mask, where=f"{masks[name]}")
        if not set(found) <= {0, MASK} and not set(found) <= {0, 1}:
            raise InputError(
                f"{where}: a binary mask holds 0 and {MASK}, got {found[:8]} in {masks[name]}. "
                "In Fiji: Process > Binary > Make Binary. A label image is given as one file, not as masks."
            )
    data: Any = None
    count: Any = None
    for name, mask in opened.items():
        inside = mask.data != 0
        data = _choose(inside, scheme[name], UNLABELED if data is None else data)
        count = inside.astype(np.uint8) if count is None else count + inside
    labels = first.copy(data=data)
    _disjoint(xr.DataArray(count, dims=first.dims), opened, where)
    return labels


def _choose(inside: Any, value: int, otherwise: Any) -> Any:
    import dask.array as da

    return da.where(inside, np.uint8(value), np.uint8(otherwise) if isinstance(otherwise, int) else otherwise)


def _disjoint(count: xr.DataArray, masks: Mapping[str, xr.DataArray], where: str) -> None:
    twice = int((count > 1).sum().compute())
    if twice:
        voxels = {name: int((mask != 0).sum().compute()) for name, mask in masks.items()}
        raise InputError(
            f"{where}: each voxel can have one phase, but {twice} are in several masks (true voxels: {voxels}). "
            "A mask that is true nearly everywhere is inverted: in Fiji, Edit > Invert, and save it again."
        )


def _from_labels(
    path: str | Path,
    convention: str,
    scheme: PhaseScheme,
    values: Mapping[str, int] | None,
    given: dict[str, Any],
    where: str,
) -> xr.DataArray:
    held = values_of(convention, scheme, values, where)
    unlabeled = UNLABELED if convention == "operando" else 0
    image = _plain_image(path, given)
    found = _distinct(image, where=str(path))
    binary = len(found) > 1 and set(found) <= {0, MASK}
    ours = convention == "operando" and ("phases" in image.attrs or values is not None)
    if binary and not ours:
        raise InputError(
            f"{where}: {path} holds 0 and {MASK} alone, as a binary mask does, and not labels. Say which phase it "
            f"marks: {{phase: file}}, or --mask PHASE=FILE on the command line."
        )
    unknown = sorted(set(found) - set(held.values()) - {unlabeled})
    if unknown:
        raise InputError(
            f"{where}: {path} must hold {unlabeled} (unlabeled) and {held}, got also {unknown[:8]}. "
            "Say what the file holds with values={phase: number} (--value PHASE=NUMBER), or correct the convention "
            f"({convention!r})."
        )
    table = np.full(256, UNLABELED, np.uint8)
    for name, value in held.items():
        table[value] = scheme[name]
    return mapped(image, table)


def _plain_image(path: str | Path, given: dict[str, Any]) -> xr.DataArray:
    """Image without channels, its axes named as ilastik notes them where it does."""
    place = Path(str(path).partition("#")[0]) if not Path(path).exists() else Path(path)
    check_exists(place)
    dims = given["dims"] or _ilastik_dims(place, given["dataset"] or str(path).partition("#")[2])
    image = open_image(path, voxel_size_um=given["voxel_size_um"], dims=dims, dataset=given["dataset"])
    for dim in [str(dim) for dim in image.dims if dim not in SERIES]:
        if image.sizes[dim] != 1:
            raise AxesError(
                f"{path}: labels have the dims ([t], [z], y, x), got {dict(image.sizes)}. "
                "Export class numbers in one channel (not colors or probabilities), or pass dims=(...)."
            )
        image = image.isel({dim: 0}, drop=True)
    if image.dtype.kind not in "uibf":
        raise InputError(f"{path}: labels must be numbers, got {image.dtype}. Export them as integers.")
    return image


def _ilastik_dims(path: Path, dataset: str) -> list[str] | None:
    """Axes of a data set that carries vigra's axistags, in the order of the file."""
    if path.suffix.lower() not in (".h5", ".hdf5", ".ilp"):
        return None
    import h5py

    letters = {"t": "t", "z": "z", "y": "y", "x": "x", "c": "channel"}
    try:
        with h5py.File(path, "r") as file:
            node = file.get(dataset.strip("/") or EXPORTED)
            if not isinstance(node, h5py.Dataset) or "axistags" not in node.attrs:
                return None
            axes = [str(axis["key"]) for axis in json.loads(node.attrs["axistags"])["axes"]]
            return [letters[axis] for axis in axes] if len(axes) == node.ndim else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _distinct(image: xr.DataArray, *, where: str) -> list[int]:
    """Sorted values, all of them whole and not negative; read one block at a time."""
    found: set[float] = set()
    for block in iter_blocks(image.shape, [1 if dim == "t" else BLOCK for dim in image.dims]):
        found |= set(np.unique(np.asarray(image.data[block.core])).tolist())
        if len(found) > _SEVERAL:
            raise InputError(
                f"{where}: labels are a few class numbers, got more than {_SEVERAL} different values. This looks like "
                "gray values or like objects that were numbered one by one. Export classes."
            )
    odd = sorted(value for value in found if not (value >= 0 and float(value).is_integer()))
    if odd:
        raise InputError(
            f"{where}: labels are whole numbers from 0, got {odd[:5]}. Export class numbers, not probabilities."
        )
    return sorted(int(value) for value in found)


def mapped(image: xr.DataArray, table: np.ndarray) -> xr.DataArray:
    """Every value replaced by what the table says, lazily."""
    import dask.array as da

    data = image.data if isinstance(image.data, da.Array) else da.from_array(image.data)
    return image.copy(data=data.map_blocks(lambda block: table[block.astype(np.uint8)], dtype=np.uint8))


def _into_series(labels: xr.DataArray, like: xr.DataArray | None, scan: int, where: str) -> xr.DataArray:
    if like is None or "t" not in like.dims or not 0 <= scan < like.sizes["t"]:
        count = 0 if like is None else like.sizes.get("t", 1)
        raise InputError(
            f"{where}: scan needs like=, a series of scans it counts (0 to {count - 1} here), got {scan}. "
            "Leave it out for a single image."
        )
    import dask.array as da

    single = labels.isel(t=0, drop=True) if labels.sizes.get("t") == 1 else labels
    if "t" in single.dims:
        raise AxesError(f"{where}: scan is for a file with one scan, got {labels.sizes['t']}. Leave it out.")
    empty = da.full_like(single.data, UNLABELED)
    stacked = da.stack([single.data if number == scan else empty for number in range(like.sizes["t"])])
    coords = {name: coord for name, coord in single.coords.items() if set(coord.dims) <= set(SPACE)}
    return xr.DataArray(stacked, dims=("t", *single.dims), coords=coords, name="labels", attrs=single.attrs)


def _on_grid(labels: xr.DataArray, like: xr.DataArray, *, where: str) -> xr.DataArray:
    """Labels with the coordinates of the image they belong to."""
    require_dims(like, ("y", "x"), optional=("t", "z"), where=f"{where}: like")
    for dim in ("t", "z"):
        if dim in like.dims and dim not in labels.dims and like.sizes[dim] == 1:
            labels = labels.expand_dims(dim)
        if dim in labels.dims and dim not in like.dims and labels.sizes[dim] == 1:
            labels = labels.isel({dim: 0}, drop=True)
    if set(labels.dims) != set(like.dims) or any(labels.sizes[dim] != like.sizes[dim] for dim in like.dims):
        hint = "Say which scan was labeled (scan=, --scan). " if "t" in like.dims and "t" not in labels.dims else ""
        raise AxesError(
            f"{where}: labels must be on the grid of the image {dict(like.sizes)}, got {dict(labels.sizes)}. {hint}"
            "Export them uncropped and unscaled, or name the axes of the file with dims=."
        )
    labels = labels.transpose(*like.dims)
    for dim in (str(dim) for dim in like.dims if dim in SPACE):
        (step, unit), (other, own) = axis_spacing(like, dim), axis_spacing(labels, dim)
        if "px" not in (unit, own) and (unit != own or abs(other - step) > 1e-3 * step):
            raise UnitsError(
                f"{where}: labels must have the voxels of the image, {step:g} {unit} along {dim}, got {other:g} {own}. "
                "Give voxel_size_um= where the file says it wrongly."
            )
    coords: Any = {name: coord for name, coord in like.coords.items() if set(coord.dims) <= set(labels.dims)}
    return xr.DataArray(labels.data, dims=labels.dims, coords=coords, name=labels.name, attrs=labels.attrs)


def _said(path: Any) -> str:
    return ", ".join(str(file) for file in path.values()) if isinstance(path, Mapping) else str(path)
