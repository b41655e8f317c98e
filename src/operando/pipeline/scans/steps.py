"""The first steps of every recipe over CT scans, and what they take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import xarray as xr

from operando.pipeline.scans import images
from operando.pipeline.scans.inputs import image_paths
from operando.pipeline.scans.settings import Inputs, Registration, Tomography
from operando.pipeline.step import Step

# Voxels per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were measured.
_RATES = {"copy": 3e7, "register": 5e6}
# Voxels reconstructed per second from about as many projections as pixels (docs/tomography.md).
_RATES |= {"gridrec": 5e6, "fbp": 3e6, "sirt": 2e5, "cgls": 2e5}
_BASE_BYTES = 500_000_000  # Python with torch


def opening_steps(
    series: xr.DataArray,
    inputs: Inputs,
    tomography: Tomography,
    registration: Registration,
    *,
    common: dict[str, Any],
    workers: int,
) -> tuple[list[Step], str, tuple[str, ...]]:
    """Steps that open or reconstruct the scans and register them.

    Returns them with the name of the image that comes out and, where it was registered, of the motion.
    ``common`` holds ``phases`` and ``plating_side``.
    """
    voxels, item = math.prod(series.shape), series.dtype.itemsize
    read = inputs.model_dump(exclude={"cycler", "cycler_columns", "cycler_offset_h"})
    files = tuple(Path(path.partition("#")[0]) for path in image_paths(inputs))
    steps = [
        Step(
            name="open",
            title="Open the images",
            function=images.open_scans,
            outputs=("image.zarr",),
            files=files,
            parameters={"inputs": read, **common},
            access="block",
            bytes_in_memory=_BASE_BYTES + workers * 128**3 * item * 4,
            bytes_on_disk=voxels * item,
            seconds=voxels / _RATES["copy"],
        )
        if inputs.projections is None
        else Step(
            name="reconstruct",
            title="Reconstruct the scans",
            function=images.reconstruct,
            outputs=("image.zarr", "tomography.json"),
            files=files,
            parameters={"inputs": read, "tomography": tomography.model_dump(), **common},
            access="sinogram",
            bytes_in_memory=_BASE_BYTES + workers * 16 * 12 * max(series.shape[1:]) ** 2 * 4,
            bytes_on_disk=3 * voxels * item,
            seconds=voxels / _RATES[tomography.method],
        )
    ]
    image = "image.zarr"
    moved: tuple[str, ...] = ()
    if registration.method != "none":
        image, moved = "registered.zarr", ("motion.json",)
        steps.append(
            Step(
                name="register",
                title="Register the scans",
                function=images.register,
                inputs=("image.zarr",),
                outputs=("motion.json", "motion.parquet", "registered.zarr"),
                parameters=registration.model_dump(include={"method", "reference", "level"}),
                access="block",
                halo=2,
                bytes_in_memory=_BASE_BYTES + workers * 128**3 * 16,
                bytes_on_disk=voxels * 4,
                seconds=voxels / _RATES["register"] + 2 * series.sizes["t"],
            )
        )
    return steps, image, moved
