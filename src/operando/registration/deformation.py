"""What a rigid motion leaves unexplained: a map of local displacements."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, labeled_image
from operando.core.errors import InputError
from operando.core.provenance import record
from operando.registration.pair import pair_of
from operando.registration.resample import from_voxels
from operando.registration.static import Equations, Subvolume, as_motion, solve, standard_error, weigh
from operando.registration.subvolumes import in_threads
from operando.registration.transform import RigidTransform

_COARSE, _FINE = 1.5, 0.7
_ROUNDS, _STEPS = 3, 3
_FARTHEST = 4.0  # voxels
_UNCERTAIN = 0.5  # voxels


def deformation(
    reference: xr.DataArray, moving: xr.DataArray, transform: RigidTransform, *, spacing: int = 24, size: int = 32
) -> xr.DataArray:
    """Displacement of the sample beyond its rigid motion, on a coarse grid.

    Parameters
    ----------
    reference, moving : DataArray, dims (z, y, x)
        Gray images on the same grid, as they were registered; may be lazy.
    transform : RigidTransform
        From :func:`operando.registration.register`.
    spacing : int
        Distance in voxels between the centers of neighboring sub-volumes.
    size : int
        Edge of a sub-volume in voxels, at least 16. Larger than ``spacing``, neighbors share voxels and are not
        independent.

    Returns
    -------
    DataArray, dims (component, z, y, x), units "um" (or "px")
        Components ``dz, dy, dx``: where ``moving`` shows a point, taken back by the transform, minus where ``reference`` shows
        it. Coordinates are centers of sub-volumes. The coordinate ``sigma`` (same dims) is the standard error. NaN where no
        static structure tells.

    Raises
    ------
    InputError
        Where the grids differ, the images are smaller than a sub-volume, or the sizes are out of range.
    """
    where = "deformation"
    pair = pair_of(reference, moving, where)
    if spacing < 4 or size < 16 or min(pair.shape) < size:
        raise InputError(
            f"{where}: spacing must be at least 4 and size from 16 to the smallest edge of the images {pair.shape}, got "
            f"{spacing} and {size}. Leave them out for the usual values."
        )
    starts = [_starts(n, size, spacing) for n in pair.shape]
    rigid = pair.from_transform(transform)
    shape = tuple(len(one) for one in starts)
    found, sigma = np.full((2, 3, int(np.prod(shape))), np.nan)
    # One plane of sub-volumes at a time, so that memory does not follow the image.
    plane = shape[1] * shape[2]
    for k, z in enumerate(starts[0]):
        boxes = [tuple(slice(a, a + size) for a in corner) for corner in product([z], *starts[1:])]
        part = slice(k * plane, (k + 1) * plane)
        found[:, part], sigma[:, part] = _local(pair, boxes, rigid)
    to = from_voxels(pair.reference, pair.unit, where)
    places = {
        dim: to[axis, axis] * (np.array(one) + (size - 1) / 2) + to[axis, 3]
        for axis, (dim, one) in enumerate(zip(SPACE, starts, strict=True))
    }
    scale = float(pair.edges.mean())
    dims = ("component", *SPACE)
    coords = {
        "component": ["dz", "dy", "dx"],
        **{dim: (dim, at, {"units": pair.unit, "spacing": float(np.diff(at).mean()) if len(at) > 1 else to[i, i] * size})
           for i, (dim, at) in enumerate(places.items())},
    }
    result = labeled_image(
        (found * scale).reshape(3, *shape), dims=dims, coords=coords, name="deformation", units=pair.unit,
        long_name="Displacement beyond rigid motion",
        attrs={
            "provenance": record(
                "operando.registration.deformation",
                {"spacing": spacing, "size": size, "transform": transform.to_dict()["matrix"]},
                inputs={name: str(image.attrs.get("provenance", "")) for name, image in (("reference", reference), ("moving", moving))},
            )
        },
    )
    return result.assign_coords(sigma=(dims, (sigma * scale).reshape(3, *shape), {"units": pair.unit}))


def _starts(n: int, size: int, spacing: int) -> list[int]:
    count = max(1, round((n - size) / spacing) + 1)
    return [int(a) for a in np.linspace(0, n - size, count).round()] if count > 1 else [(n - size) // 2]


def _local(pair, boxes, rigid):
    shifts = np.zeros((len(boxes), 3))
    equations: list[Equations] = []
    for smooth in (_COARSE, _FINE):
        read = in_threads(lambda each, by=smooth: Subvolume(pair, each[0], _shifted(rigid, each[1]), by), zip(boxes, shifts))
        for _ in range(_ROUNDS):
            weigh(read, [_shifted(rigid, shift) for shift in shifts])
            for _ in range(_STEPS):
                equations = in_threads(lambda each: each[0].equations(_shifted(rigid, each[1])), zip(read, shifts))
                for k, one in enumerate(equations):
                    step = solve([one], 3)
                    if step is not None:
                        shifts[k] = np.clip(shifts[k] + step[:3], -_FARTHEST, _FARTHEST)
    sigma = np.array([standard_error([one], 3)[:3] for one in equations])
    unknown = ~(sigma.max(axis=1) < _UNCERTAIN) | (np.abs(shifts).max(axis=1) >= _FARTHEST)
    shifts[unknown], sigma[unknown] = np.nan, np.nan
    return shifts.T, sigma.T


def _shifted(rigid, shift):
    return rigid @ as_motion(np.concatenate([shift, np.zeros(3)]))
