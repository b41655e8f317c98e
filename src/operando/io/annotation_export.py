"""Labels written the way other programs read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.blocks import iter_blocks
from operando.core.errors import InputError, PhaseError, nearest
from operando.core.files import written_whole
from operando.core.phases import UNLABELED, PhaseScheme
from operando.io.annotation_log import SERIES
from operando.io.annotations import BLOCK, EXPORTED, MASK, check_convention, mapped, values_of
from operando.io.image import save_image
from operando.io.tiff import SUFFIXES

_IMAGEJ_LIMIT = 2**32 - 2**25  # bytes; ImageJ's own TIFF is no BigTIFF


def write_annotations(
    labels: xr.DataArray,
    path: str | Path,
    *,
    convention: str,
    phases: PhaseScheme | Mapping[str, int] | None = None,
    values: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write labels the way another program reads them.

    Parameters
    ----------
    labels : DataArray of uint8, dims ([t], [z], y, x)
        255 = unlabeled; may be lazy.
    path : str or Path
        operando: any ending that :func:`operando.io.save_image` writes. Fiji: ``.tif``, or a folder (no ending) for
        binary masks, one per phase. napari and Dragonfly: ``.tif``. ilastik: ``.h5`` or ``.tif``.
    convention : {"operando", "fiji", "napari", "ilastik", "dragonfly"}
    phases : PhaseScheme or mapping of str to int, optional
        Default ``labels.attrs["phases"]``.
    values : mapping of str to int, optional
        What the file shall hold for each phase; default as in :func:`read_annotations`, which reads it back.
    overwrite : bool

    Returns
    -------
    dict of str to int
        What the file holds for each phase.

    Raises
    ------
    InputError, PhaseError, FileError
        Where labels are no phase, the ending does not fit, or the path exists.

    Notes
    -----
    For napari values are 32-bit, because it takes integers of 8 or 16 bits for an image and not for labels. For Fiji
    ImageJ's own TIFF is written, which carries the voxel size, up to 4 GB, and OME-TIFF beyond. Written plane by plane
    or block by block.

    Examples
    --------
    napari's 0 is unlabeled, so a scheme that uses 0 is stored one higher:

    >>> import tempfile
    >>> labels = xr.DataArray(np.array([[0, 255, 1]], np.uint8), dims=("y", "x"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_annotations(
    ...         labels, f"{folder}/l.tif", convention="napari", phases={"electrolyte": 0, "electrode": 1}
    ...     )
    {'electrolyte': 1, 'electrode': 2}
    """
    where = "write_annotations"
    check_convention(convention, where)
    found = phases if phases is not None else labels.attrs.get("phases")
    if found is None:
        raise PhaseError(f"{where}: the phases of the labels must be known. Pass phases=... .")
    scheme = found if isinstance(found, PhaseScheme) else _scheme(found)
    require_dims(labels, ("y", "x"), optional=("t", "z"), where=where)
    labels = labels.transpose(*(dim for dim in SERIES if dim in labels.dims))
    scheme.check(labels, where=where)
    target = Path(path)
    if convention == "fiji" and target.suffix == "":
        _write_masks(labels, target, scheme, overwrite)
        return dict.fromkeys(scheme, MASK)
    held = values_of(convention, scheme, values, where)
    unlabeled = UNLABELED if convention == "operando" else 0
    table = np.full(256, unlabeled, np.uint8)
    table[list(scheme.ids)] = [held[name] for name in scheme]
    changed = mapped(labels, table)
    if convention == "operando":
        save_image(changed.assign_attrs(phases=scheme), target, overwrite=overwrite)
        return held
    allowed = (*SUFFIXES, ".h5", ".hdf5") if convention == "ilastik" else SUFFIXES
    if target.suffix.lower() not in allowed:
        raise InputError(
            f"{where}: {convention} reads {', '.join(allowed)}, got {target.name!r}. "
            f"{nearest(target.suffix or target.name, allowed)}"
        )
    changed.attrs = {"units": "1", "long_name": "Phase"}
    if convention == "fiji" and changed.nbytes <= _IMAGEJ_LIMIT:
        _write_imagej(changed, target, overwrite)
    elif target.suffix.lower() in (".h5", ".hdf5"):
        _write_ilastik(changed, target, overwrite)
    else:
        save_image(changed.astype(np.int32) if convention == "napari" else changed, target, overwrite=overwrite)
    return held


def _scheme(found: Any) -> PhaseScheme:
    nested = isinstance(found, Mapping) and all(isinstance(entry, Mapping) for entry in found.values())
    return PhaseScheme.from_dict(found) if nested else PhaseScheme.of(found)


def _write_masks(labels: xr.DataArray, folder: Path, scheme: PhaseScheme, overwrite: bool) -> None:
    with written_whole(folder, overwrite=overwrite) as temporary:
        temporary.mkdir()
        for name in scheme:
            table = np.zeros(256, np.uint8)
            table[scheme[name]] = MASK
            mask = mapped(labels, table).assign_attrs(units="1", long_name=name)
            mask.attrs.pop("phases", None)
            target = temporary / f"{name}.tif"
            if mask.nbytes <= _IMAGEJ_LIMIT:
                _write_imagej(mask, target, False)
            else:
                save_image(mask, target)


def _write_imagej(image: xr.DataArray, path: Path, overwrite: bool) -> None:
    """ImageJ's own TIFF, which Fiji opens with voxel size and axes by double click."""
    import tifffile

    letters = {"t": "T", "z": "Z", "y": "Y", "x": "X"}
    about: dict[str, Any] = {"axes": "".join(letters[str(dim)] for dim in image.dims)}
    sizes = {str(dim): axis_spacing(image, str(dim)) for dim in image.dims if dim in SPACE}
    extra: dict[str, Any] = {}
    if all(unit == "um" for _, unit in sizes.values()):
        about["unit"] = "um"
        extra["resolution"] = (1 / sizes["x"][0], 1 / sizes["y"][0])
        if "z" in sizes:
            about["spacing"] = sizes["z"][0]

    def planes() -> Any:
        leading = image.shape[:-2]
        for place in np.ndindex(*leading):
            yield np.asarray(image.data[place])

    with (
        written_whole(path, overwrite=overwrite) as temporary,
        tifffile.TiffWriter(temporary, imagej=True) as writer,
    ):
        writer.write(planes(), shape=image.shape, dtype=np.uint8, metadata=about, **extra)


def _write_ilastik(image: xr.DataArray, path: Path, overwrite: bool) -> None:
    """HDF5 as ilastik exports it: one data set with a channel axis last, and vigra's names of the axes."""
    import h5py

    keys = [str(dim) for dim in image.dims] + ["c"]
    flags = {"t": 8, "c": 1}
    tags = {"axes": [{"key": key, "typeFlags": flags.get(key, 2), "resolution": 0, "description": ""} for key in keys]}
    with written_whole(path, overwrite=overwrite) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_dataset(
            EXPORTED,
            shape=(*image.shape, 1),
            dtype=np.uint8,
            chunks=(*(1 if dim == "t" else min(64, image.sizes[dim]) for dim in image.dims), 1),
            compression="gzip",
            compression_opts=1,
        )
        data.attrs["axistags"] = json.dumps(tags)
        for block in iter_blocks(image.shape, [1 if dim == "t" else BLOCK for dim in image.dims]):
            data[(*block.core, 0)] = np.asarray(image.data[block.core])
