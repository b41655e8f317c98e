"""The potential between two opposite faces of a volume, and what may be handed in as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, axis_spacing
from operando.core.errors import AxesError, InputError, UnitsError, nearest


class Potential:
    """A solved potential in a volume.

    Attributes
    ----------
    effective : float
        Effective conductivity along the axis.
    mean_conductivity : float
        Mean of ``k`` over the volume (the conducting fraction where ``k`` is boolean).
    percolating_fraction : float
        Share of the conducting voxels that hang on both faces.
    potential : ndarray, the shape of the volume, or None
        1 at the low face to 0 at the high face; 0 in voxels that are not solved. None where nothing conducts through.
    solved : ndarray of bool, the shape of the volume
        Voxels that hang on both faces.
    edges : tuple of float
        Edges of a voxel per axis of the volume.
    error, iterations, bytes_per_voxel
        Of the solver.
    """

    def __init__(self, k: np.ndarray, edges: tuple[float, ...], axis: int, *, tolerance: float, dtype: Any) -> None:
        from operando.transport import kernels, multigrid

        self.edges, self.axis = edges, axis
        self.mean_conductivity = float(k.mean(dtype=np.float64))
        # The axis first; a flat volume gets an axis of one voxel between.
        turned = np.moveaxis(k, axis, 0)
        ordered = [edges[axis], *(edge for position, edge in enumerate(edges) if position != axis)]
        if k.ndim == 2:
            turned, ordered = turned[:, None], [ordered[0], 1.0, ordered[1]]
        padded = np.zeros(tuple(n + 2 for n in turned.shape), turned.dtype if k.dtype != bool else np.uint8)
        inner = (slice(1, -1),) * 3
        padded[inner] = turned
        state = padded if k.dtype == bool else (padded > 0).view(np.uint8)
        conducting = int(np.count_nonzero(state))
        kernels.flood(state, 1, 1, 2)
        kernels.flood(state, state.shape[0] - 2, 2, 3)
        through = state == 3
        solved = int(np.count_nonzero(through))
        self.percolating_fraction = solved / conducting if conducting else 0.0
        self.solved = self._back(through)
        self.effective, self.error, self.iterations, self.bytes_per_voxel = 0.0, 0.0, 0, 0.0
        self.potential: np.ndarray | None = None
        if not solved:
            return
        if k.dtype == bool:
            np.copyto(padded, through, casting="unsafe")
            largest = 1.0
        else:
            padded *= through
            largest = float(padded.max())
            contrast = float(np.min(padded, initial=largest, where=through)) / largest
            # The energy falls by the contrast: 32 bits would lose what is left.
            dtype = np.float64 if contrast < 1e-4 else dtype
            tolerance = float(kernels.needed(tolerance, contrast))
            padded = (padded / largest).astype(dtype)
        del state, through
        edge = (ordered[0], ordered[1], ordered[2])
        with multigrid.alone:
            conductor = multigrid.Conductor(padded, edge, uniform=k.dtype == bool, dtype=dtype)
            solution = conductor.solve(tolerance=tolerance)
        area = ordered[1] * ordered[2] * turned.shape[1] * turned.shape[2]
        self.effective = float(largest * solution.conductance * ordered[0] * turned.shape[0] / area)
        self.error, self.iterations = float(solution.error), solution.iterations
        self.bytes_per_voxel = solution.bytes_per_voxel
        self.potential = self._back(solution.potential)

    def _back(self, padded: np.ndarray) -> np.ndarray:
        """The array without its padding and in the order of the volume."""
        inner = padded[1:-1, 1:-1, 1:-1]
        return np.moveaxis(inner[:, 0] if len(self.edges) == 2 else inner, 0, self.axis)


def solve_potential(k: Any, axis: int | str, *, tolerance: float, dtype: Any) -> Potential:
    """Solve for the potential between 1 at the low and 0 at the high face of ``axis``.

    Parameters
    ----------
    k : array or DataArray, 2-D or 3-D
        Boolean (conducts or not) or conductivity per voxel, 0 or more.

    Returns
    -------
    Potential

    Raises
    ------
    InputError, AxesError, UnitsError
        Where the volume, the axis, its edges or an option cannot be used.
    RunError
        Where the solver does not come within the tolerance.
    """
    if not tolerance > 0:
        raise InputError(f"conduction: the tolerance must be positive, got {tolerance!r}. Use 1e-4 or so.")
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"conduction: dtype must be float32 or float64, got {dtype!r}. Use 'float32'.")
    position = position_of(k, axis)
    edges = edges_of(k)
    values = np.asarray(k)
    return Potential(values, edges, position, tolerance=tolerance, dtype=dtype)


def phase(volume: Any, where: str) -> Any:
    """The volume as booleans, or an error."""
    values = volume.data if isinstance(volume, xr.DataArray) else np.asarray(volume)
    if values.dtype != bool:
        loaded = np.asarray(values)
        numbers = loaded.dtype.kind in "iuf"
        if not (numbers and np.all((loaded == 0) | (loaded == 1))):
            got = f" from {loaded.min()} to {loaded.max()}" if numbers else ""
            raise InputError(
                f"{where}: the volume must be boolean (or 0 and 1), got {loaded.dtype}{got}. "
                "Compare it with a label first, for example labels == 2, or use effective_conductivity for a "
                "conductivity."
            )
        values = loaded.astype(bool)
    _sizes(values.shape, where)
    return volume.copy(data=values) if isinstance(volume, xr.DataArray) else values


def conductivity(k: Any, where: str) -> Any:
    """The conductivity as floats (or booleans, as they are), or an error."""
    values = np.asarray(k)
    if values.dtype == bool:
        _sizes(values.shape, where)
        return k if isinstance(k, xr.DataArray) else values
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where}: the conductivity must be real numbers, got {values.dtype}. Convert it to float.")
    _sizes(values.shape, where)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high) and low >= 0):
        raise InputError(
            f"{where}: every conductivity must be finite and 0 or more, got from {low} to {high}. "
            "Crop or fill what is missing (NaN), and set an insulator to 0."
        )
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    return k.copy(data=values) if isinstance(k, xr.DataArray) else values


def _sizes(shape: tuple[int, ...], where: str) -> None:
    if len(shape) not in (2, 3) or 0 in shape:
        raise AxesError(
            f"{where}: a volume of two or three axes, none of them empty, is needed, got the shape {shape}. "
            "Select one scan, or add an axis of one voxel."
        )


def dims_of(volume: Any) -> tuple[str, ...]:
    """Dims of the volume; of a bare array the last of ``z, y, x``."""
    if isinstance(volume, xr.DataArray):
        return tuple(map(str, volume.dims))
    return SPACE[3 - np.ndim(volume) :]


def position_of(volume: Any, axis: int | str) -> int:
    """The axis as a position."""
    dims = dims_of(volume)
    unknown = [dim for dim in dims if dim not in SPACE]
    if unknown:
        raise AxesError(f"conduction: the dims must be of z, y, x, got {dims}. Select or rename {unknown} first.")
    if isinstance(axis, str):
        if axis not in dims:
            raise AxesError(f"conduction: the axis must be a dim of the volume, got {axis!r}. {nearest(axis, dims)}")
        return dims.index(axis)
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -len(dims) <= axis < len(dims):
        raise AxesError(f"conduction: the axis must be from 0 to {len(dims) - 1}, got {axis!r}. Use one of {dims}.")
    return int(axis) % len(dims)


def edges_of(volume: Any) -> tuple[float, ...]:
    """Edges of a voxel per axis, in whatever unit; 1 for a bare array."""
    if not isinstance(volume, xr.DataArray):
        return (1.0,) * np.ndim(volume)
    found = [axis_spacing(volume, str(dim), where="conduction") for dim in volume.dims]
    if len({unit for _, unit in found}) > 1:
        raise UnitsError(
            f"conduction: all voxel edges must be in one unit, got {found} along {dims_of(volume)}. "
            "Use operando.calibrate(image, voxel_size_um=...)."
        )
    return tuple(step for step, _ in found)
