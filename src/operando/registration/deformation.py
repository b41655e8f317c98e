"""What a rigid motion leaves unexplained: a map of local displacements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, labeled_image
from operando.core.errors import InputError
from operando.core.provenance import record
from operando.registration.pair import Pair, pair_of
from operando.registration.resample import from_voxels
from operando.registration.static import Equations, Subvolume, as_motion, solve, standard_error, weigh
from operando.registration.subvolumes import Box
from operando.registration.transform import RigidTransform

_COARSE, _FINE = 1.5, 0.7
_ROUNDS, _STEPS = 2, 3
_FARTHEST = 4.0  # voxels
_UNCERTAIN = 0.5  # voxels
_STANDS_OUT = 8.0


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
        Components ``dz, dy, dx``: where ``moving`` shows a point, taken back by the transform, minus where
        ``reference`` shows it. Coordinates are centers of sub-volumes. The coordinate ``sigma`` (same dims) is the
        standard error. NaN where no static structure tells.

    Raises
    ------
    InputError
        Where the grids differ, the images are smaller than a sub-volume, or the sizes are out of range.

    Notes
    -----
    Each sub-volume is matched by a translation of its own, with the weights and the gradient of
    :func:`operando.registration.register`, starting from the rigid motion: displacements of up to about a voxel and a
    half are found; those above 4 voxels, and those whose standard error is above half a voxel, are NaN. The rigid
    motion itself is a fit to the same structure, so that the mean displacement is about zero: a cell that swells upward
    from a fixed plane shows as half up and half down.

    ``sigma`` is the scatter between cells of 8 voxels, as in :func:`operando.registration.register`.

    Memory: one plane of sub-volumes along z at a time, about 8 float32 arrays of ``size + 20`` cubed for each.

    Examples
    --------
    Nothing moved:

    >>> from operando.core.axes import labeled_image
    >>> image = labeled_image(np.random.default_rng(0).random((40, 40, 40), dtype=np.float32), voxel_size_um=2.0)
    >>> (deformation(image, image, RigidTransform(np.eye(4))).round(3) + 0.0).values.ravel().tolist()
    [0.0, 0.0, 0.0]
    """
    where = "deformation"
    pair = pair_of(reference, moving, where)
    if spacing < 4 or size < 16 or min(pair.shape) < size:
        raise InputError(
            f"{where}: spacing must be at least 4 and size from 16 to the smallest edge of the images {pair.shape}, "
            f"got {spacing} and {size}. Leave them out for the usual values."
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
    coords: dict[str, Any] = {"component": ["dz", "dy", "dx"]}
    for axis, (dim, one) in enumerate(zip(SPACE, starts, strict=True)):
        places = to[axis, axis] * (np.array(one) + (size - 1) / 2) + to[axis, 3]
        coords[dim] = (dim, places, {"units": pair.unit, "spacing": to[axis, axis] * spacing})
    dims = ("component", *SPACE)
    scale = float(pair.edges.mean())
    images = {"reference": reference, "moving": moving}
    result = labeled_image(
        (found * scale).reshape(3, *shape),
        dims=dims,
        coords=coords,
        name="deformation",
        units=pair.unit,
        long_name="Displacement beyond rigid motion",
        attrs={
            "provenance": record(
                "operando.registration.deformation",
                {"spacing": spacing, "size": size, "transform": transform.matrix.tolist()},
                inputs={name: str(image.attrs.get("provenance", "")) for name, image in images.items()},
            )
        },
    )
    return result.assign_coords(sigma=(dims, (sigma * scale).reshape(3, *shape), {"units": pair.unit}))


def _starts(n: int, size: int, spacing: int) -> list[int]:
    """First voxels of sub-volumes ``spacing`` apart, in the middle of ``n`` voxels."""
    count = (n - size) // spacing + 1
    first = (n - size - (count - 1) * spacing) // 2
    return [first + k * spacing for k in range(count)]


def _local(pair: Pair, boxes: Sequence[Box], rigid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift of each sub-volume after a rigid motion, and its standard error, (3, n) in mean voxel edges."""
    motions, equations, read = [rigid] * len(boxes), list[Equations](), list[Subvolume]()
    for smooth in (_COARSE, _FINE):
        read = [Subvolume(pair, box, motion, smooth) for box, motion in zip(boxes, motions, strict=True)]
        for _ in range(_ROUNDS):
            weigh(read, motions)
            for _ in range(_STEPS):
                equations = [one.equations(motion) for one, motion in zip(read, motions, strict=True)]
                steps = [solve([one], 3) for one in equations]
                motions = [
                    motion if step is None else motion @ as_motion(step)
                    for motion, step in zip(motions, steps, strict=True)
                ]
    back = np.linalg.inv(rigid)
    shifts = np.array([(back @ motion)[:3, 3] for motion in motions])
    sigma = np.array([standard_error([one], 3)[:3] for one in equations])
    # Steps always end somewhere, and noise that happens to agree there says no more than noise.
    found = np.array([one.stands_out(motion) for one, motion in zip(read, motions, strict=True)])
    unknown = ~((sigma.max(axis=1) < _UNCERTAIN) & (np.abs(shifts).max(axis=1) < _FARTHEST) & (found > _STANDS_OUT))
    shifts[unknown], sigma[unknown] = np.nan, np.nan
    return shifts.T, sigma.T
