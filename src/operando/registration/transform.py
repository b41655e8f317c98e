"""A rigid motion that is kept beside the image and applied once, explicitly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError, UnitsError
from operando.core.units import PIXEL
from operando.registration.resample import apply_motion

_RIGID = 1e-6


@dataclass(frozen=True, eq=False)
class RigidTransform:
    """Rotation and translation that take a point of the reference to where the moving image shows it.

    Parameters
    ----------
    matrix : array, shape (4, 4)
        Homogeneous; takes (z, y, x, 1) in ``units``, as ``motion`` of :func:`operando.samples.symmetric_cell` does.
    units : {"um", "px"}
        Of positions; px where nobody has calibrated the axes.
    center : three floats
        Point (z, y, x) of the reference, usually the middle of the field, whose displacement is reported as the
        translation.
    sigma : six floats
        Standard errors: of the displacement of ``center`` along z, y, x in ``units``, then of the rotation about z, y,
        x in degrees. NaN where not known.
    subvolumes : sequence of ((z0, z1), (y0, y1), (x0, x1))
        Voxel ranges of the reference that the estimate rests on.

    Raises
    ------
    InputError
        Where the matrix is not rigid.

    Examples
    --------
    >>> moved = RigidTransform.from_rotation((90, 0, 0), translation=(5, 0, 0))
    >>> (moved.matrix @ [0, 1, 0, 1]).round(9).tolist()
    [5.0, 0.0, 1.0, 1.0]
    >>> (moved @ moved.inverse()).matrix.round(9).tolist() == np.eye(4).tolist()
    True
    """

    matrix: np.ndarray
    units: str = "um"
    center: Sequence[float] = (0.0, 0.0, 0.0)
    sigma: Sequence[float] = (np.nan,) * 6
    subvolumes: Sequence[Sequence[Sequence[int]]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=float)
        if matrix.shape != (4, 4):
            raise InputError(
                f"RigidTransform: matrix must be 4 x 4, got {matrix.shape}. Add the row 0, 0, 0, 1 to a 3 x 4 matrix."
            )
        off = np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max()
        if not (off < _RIGID and np.linalg.det(matrix[:3, :3]) > 0 and np.array_equal(matrix[3], [0, 0, 0, 1])):
            raise InputError(
                f"RigidTransform: the matrix must be a rotation and a translation, got one that is {off:.3g} away from "
                "a rotation, mirrors, or has another last row. A stretch is no rigid motion: see deformation."
            )
        if self.units not in ("um", PIXEL):
            raise UnitsError(f"RigidTransform: units must be 'um' or 'px', got {self.units!r}. Convert the matrix.")
        matrix.flags.writeable = False
        for name, value in (
            ("matrix", matrix),
            ("center", tuple(map(float, self.center))),
            ("sigma", tuple(map(float, self.sigma))),
            ("subvolumes", tuple(tuple((int(a), int(b)) for a, b in one) for one in self.subvolumes)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_rotation(
        cls,
        rotation_deg: Sequence[float],
        *,
        translation: Sequence[float] = (0.0, 0.0, 0.0),
        center: Sequence[float] = (0.0, 0.0, 0.0),
        units: str = "um",
    ) -> RigidTransform:
        """Turn about ``center`` by a rotation vector (about z, y, x, in degrees), then move by ``translation``.

        Examples
        --------
        >>> RigidTransform.from_rotation((0, 0, 2), center=(9, 9, 9)).rotation_deg.round(9).tolist()
        [0.0, 0.0, 2.0]
        """
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_matrix(np.deg2rad(rotation_deg))
        matrix[:3, 3] = np.asarray(center) - matrix[:3, :3] @ np.asarray(center) + np.asarray(translation)
        return cls(matrix, units=units, center=center)

    @property
    def rotation_deg(self) -> np.ndarray:
        """Rotation vector about z, y, x in degrees, shape (3,); its length is the angle."""
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.from_matrix(self.matrix[:3, :3]).as_rotvec(degrees=True))

    @property
    def translation_um(self) -> np.ndarray:
        """Displacement of ``center`` along z, y, x in um, shape (3,)."""
        if self.units == PIXEL:
            raise UnitsError(
                "RigidTransform.translation_um: a length is needed, but the images had no voxel size (units px). "
                "Use operando.calibrate(image, voxel_size_um=...) before registering."
            )
        return self.displacement(self.center)

    def displacement(self, points: Sequence[float] | np.ndarray) -> np.ndarray:
        """How far points (..., 3) of the reference, along z, y, x in ``units``, are moved.

        Examples
        --------
        >>> RigidTransform.from_rotation((0, 0, 0), translation=(1, 2, 3)).displacement((7, 7, 7)).tolist()
        [1.0, 2.0, 3.0]
        """
        places = np.asarray(points, dtype=float)
        return np.asarray(places @ self.matrix[:3, :3].T + self.matrix[:3, 3] - places)

    def apply(
        self, image: xr.DataArray, *, order: int | None = None, block: Sequence[int] = (128, 128, 128)
    ) -> xr.DataArray:
        """Show the moving image in the frame of the reference: the only place where values are interpolated.

        Parameters
        ----------
        image : DataArray, dims (z, y, x)
            The moving image, or labels on its grid (uint8 with ``attrs["phases"]``); may be lazy.
        order, block
            As in :func:`operando.registration.apply_motion`.

        Returns
        -------
        DataArray, dims (z, y, x), lazy
            NaN, or 255 in labels, where the moving image shows nothing.

        Notes
        -----
        ``result(p) = image(M p)``. Compose transforms with ``@`` before applying them: every interpolation blurs.
        """
        require_dims(image, SPACE, where="RigidTransform.apply")
        one = xr.DataArray(self.matrix[None], dims=("t", "row", "column"), attrs={"units": self.units})
        return apply_motion(image.expand_dims("t"), one, order=order, block=block).isel(t=0)

    def inverse(self) -> RigidTransform:
        """The transform from the moving image to the reference.

        Standard errors are those of the forward transform: for small rotations they hardly turn.
        """
        center = self.matrix[:3, :3] @ np.asarray(self.center) + self.matrix[:3, 3]
        matrix = np.eye(4)
        matrix[:3, :3] = self.matrix[:3, :3].T
        matrix[:3, 3] = -matrix[:3, :3] @ self.matrix[:3, 3]
        return RigidTransform(matrix, self.units, tuple(center), self.sigma)

    def compose(self, other: RigidTransform) -> RigidTransform:
        """``other`` first, then this one; also written ``self @ other``. Their errors are taken as independent."""
        if self.units != other.units:
            raise UnitsError(
                f"RigidTransform: both transforms must have one unit, got {self.units!r} and {other.units!r}. "
                "Register calibrated images."
            )
        sigma = np.hypot(self.sigma, other.sigma)
        return RigidTransform(nearest_rigid(self.matrix @ other.matrix), self.units, other.center, tuple(sigma))

    def __matmul__(self, other: RigidTransform) -> RigidTransform:
        return self.compose(other) if isinstance(other, RigidTransform) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON; :meth:`from_dict` reads it back.

        Examples
        --------
        >>> same = RigidTransform.from_dict(RigidTransform(np.eye(4)).to_dict())
        >>> bool((same.matrix == np.eye(4)).all()), same.units
        (True, 'um')
        """
        return {
            "matrix": self.matrix.tolist(),
            "units": self.units,
            "axis_order": "z, y, x, 1",
            "center": list(self.center),
            # JSON has no NaN.
            "sigma": [None if np.isnan(value) else value for value in self.sigma],
            "subvolumes": [[list(ends) for ends in one] for one in self.subvolumes],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RigidTransform:
        """Inverse of :meth:`to_dict`."""
        sigma = [np.nan if value is None else value for value in plain.get("sigma", [None] * 6)]
        center = plain.get("center", (0.0, 0.0, 0.0))
        return cls(plain["matrix"], plain.get("units", "um"), center, sigma, plain.get("subvolumes", ()))


def rotation_matrix(vectors: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians."""
    from scipy.spatial.transform import Rotation

    many = np.asarray(vectors, dtype=float)
    return np.asarray(Rotation.from_rotvec(many.reshape(-1, 3)).as_matrix()).reshape(*many.shape, 3)


def nearest_rigid(matrix: np.ndarray) -> np.ndarray:
    """The matrix with its rotation part freed of rounding, so that products of many stay rigid."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    result = np.eye(4)
    result[:3, :3] = u @ v
    result[:3, 3] = matrix[:3, 3]
    return result
