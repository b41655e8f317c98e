"""Two images on one grid, and positions about its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing, require_dims
from operando.core.errors import InputError, UnitsError
from operando.registration.resample import from_voxels
from operando.registration.transform import RigidTransform


@dataclass(frozen=True)
class Pair:
    """Two images on one grid.

    Motions between them are homogeneous matrices for positions that are counted from the middle of the grid in mean
    voxel edges, so that shifts and rotations are alike in size on any grid.
    """

    reference: xr.DataArray
    moving: xr.DataArray
    edges: np.ndarray
    unit: str
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""
        return self.reference.shape

    @property
    def steps(self) -> np.ndarray:
        """Voxel edges along z, y, x over their mean."""
        return np.asarray(self.edges / self.edges.mean())

    @property
    def middle(self) -> np.ndarray:
        """Of the grid, in voxels."""
        return (np.array(self.shape) - 1) / 2

    def in_voxels(self, motion: np.ndarray) -> np.ndarray:
        """The motion for positions counted in voxels."""
        to = self._from_voxels()
        return np.asarray(np.linalg.inv(to) @ motion @ to)

    def from_transform(self, transform: RigidTransform) -> np.ndarray:
        """The motion that a transform says."""
        to = from_voxels(self.reference, transform.units, self.where)
        own = self._from_voxels()
        return np.asarray(own @ np.linalg.inv(to) @ transform.matrix @ to @ np.linalg.inv(own))

    def to_matrix(self, motion: np.ndarray) -> np.ndarray:
        """The motion for positions in the unit of the axes."""
        to = from_voxels(self.reference, self.unit, self.where)
        return np.asarray(to @ self.in_voxels(motion) @ np.linalg.inv(to))

    @property
    def center(self) -> np.ndarray:
        """The middle of the grid in the unit of the axes."""
        to = from_voxels(self.reference, self.unit, self.where)
        return np.asarray(to[:3, :3] @ self.middle + to[:3, 3])

    def reach(self, motion: np.ndarray) -> float:
        """Largest displacement along an axis of a corner of the image, in voxels."""
        corners = np.array(list(product((-1, 1), repeat=3))) * self.middle * self.steps
        return float(np.abs((corners @ motion[:3, :3].T + motion[:3, 3] - corners) / self.steps).max())

    def center_of(self, box: Sequence[slice]) -> np.ndarray:
        """Of a box of voxels, as motions count positions."""
        return (np.array([(part.start + part.stop - 1) / 2 for part in box]) - self.middle) * self.steps

    def _from_voxels(self) -> np.ndarray:
        to = np.diag([*self.steps, 1.0])
        to[:3, 3] = -self.middle * self.steps
        return to


def pair_of(reference: xr.DataArray, moving: xr.DataArray, where: str) -> Pair:
    """Check that two images share a grid."""
    for image in (reference, moving):
        require_dims(image, SPACE, where=where)
    shapes = [tuple(image.sizes[dim] for dim in SPACE) for image in (reference, moving)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{where}: both images must have one shape, got {shapes[0]} and {shapes[1]}. "
            "Crop them to the same field first."
        )
    (edges, unit), (other, other_unit) = (voxel_edges(image, where) for image in (reference, moving))
    origins = [
        np.array([float(image.coords[dim][0]) if dim in image.coords else 0.0 for dim in SPACE])
        for image in (reference, moving)
    ]
    if (
        unit != other_unit
        or not np.allclose(edges, other, rtol=1e-3)
        or not np.allclose(origins[0], origins[1], atol=1e-3 * float(edges.min()))
    ):
        raise InputError(
            f"{where}: both images must have one grid, got voxels of {edges.tolist()} {unit} from "
            f"{origins[0].tolist()} and {other.tolist()} {other_unit} from "
            f"{origins[1].tolist()}. Calibrate or crop them alike first."
        )
    return Pair(reference.transpose(*SPACE), moving.transpose(*SPACE), edges, unit, where)


def voxel_edges(image: xr.DataArray, where: str) -> tuple[np.ndarray, str]:
    """Voxel edges along z, y, x and their common unit."""
    found = [axis_spacing(image, dim, where=where) for dim in SPACE]
    units = {unit for _, unit in found}
    if len(units) > 1:
        raise UnitsError(
            f"{where}: z, y, x must share a unit, got {sorted(units)}. Set it with operando.calibrate(image, ...)."
        )
    return np.array([step for step, _ in found]), units.pop()
