"""Where the current flows: the potential and the current density in a volume and through its end faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.transport.potential import conductivity, dims_of, solve_potential


def flux(k: Any, axis: int | str, *, tolerance: float = 1e-6, dtype: Any = "float64") -> xr.Dataset:
    """Potential and current density in a volume, for a unit mean gradient of the potential.

    Parameters
    ----------
    k : array or DataArray, 2-D or 3-D
        Conductivity per voxel, 0 or more, or boolean.
    axis : int or str
        Along which is conducted: the potential is held at the two faces across it.
    tolerance : float
        Estimated relative error of the effective conductivity at which the solver stops. That of the field is about its
        square root.

    Returns
    -------
    Dataset
        ``potential`` (the dims of the volume), from 1 at the low to 0 at the high face, NaN in voxels that do not
        hang on both. ``current_density`` (component, the dims of the volume), at voxel centers, in the unit of ``k``;
        ``component`` is the direction, named by its dim. Positive towards larger coordinates.

    Notes
    -----
    In a voxel the mean of the currents through its two faces across each direction, per area. The mean of the component
    along ``axis`` over the whole volume is the effective conductivity. About 90 bytes per voxel in 64 bits, so for a
    part of an image (around a hot spot) rather than a whole one.

    Examples
    --------
    >>> fields = flux(np.ones((4, 2, 2)), "z")
    >>> fields.potential[:, 0, 0].values.round(6).tolist()
    [0.875, 0.625, 0.375, 0.125]
    >>> fields.current_density[:, 1, 0, 0].values.round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    checked = conductivity(k, "flux")
    solved = solve_potential(checked, axis, tolerance=tolerance, dtype=dtype)
    values, dims = np.asarray(checked), dims_of(checked)
    density = np.zeros((values.ndim, *values.shape), dtype)
    potential = np.full(values.shape, np.nan, dtype)
    if solved.potential is not None:
        potential[solved.solved] = solved.potential[solved.solved]
        conducting = np.where(solved.solved, values, 0).astype(dtype)
        length = values.shape[solved.axis] * solved.edges[solved.axis]
        for direction in range(values.ndim):
            k_, u = np.moveaxis(conducting, direction, 0), np.moveaxis(solved.potential, direction, 0)
            held = direction == solved.axis
            faces = np.zeros((len(k_) + 1, *k_.shape[1:]), dtype)
            total = k_[1:] + k_[:-1]
            pair = 2 * k_[1:] * k_[:-1] / np.where(total > 0, total, 1)
            faces[1:-1] = pair * (u[:-1] - u[1:])
            if held:
                faces[0], faces[-1] = 2 * k_[0] * (1 - u[0]), 2 * k_[-1] * u[-1]
            mean = (faces[1:] + faces[:-1]) / 2 * (length / solved.edges[direction])
            density[direction] = np.moveaxis(mean, 0, direction)
    coords = dict(checked.coords) if isinstance(checked, xr.DataArray) else {}
    units = checked.attrs.get("units", "1") if isinstance(checked, xr.DataArray) else "1"
    return xr.Dataset(
        {
            "potential": (dims, potential, {"units": "1", "long_name": "Potential"}),
            "current_density": (
                ("component", *dims),
                density,
                {"units": units, "long_name": "Current density for a unit mean gradient"},
            ),
        },
        coords={**coords, "component": list(dims)},
        attrs={"axis": dims[solved.axis], "effective_conductivity": solved.effective},
    )


def boundary_current(k: Any, axis: int | str, *, tolerance: float = 1e-6, dtype: Any = "float64") -> xr.DataArray:
    """Current density through the two end faces of a volume, for a unit mean gradient of the potential.

    Parameters
    ----------
    k : array or DataArray, 3-D
        Conductivity per voxel, 0 or more, or boolean.
    axis : int or str
        Along which is conducted.

    Returns
    -------
    DataArray, dims (component, and the two other dims)
        ``component`` is ``low`` and ``high``, the end; in the unit of ``k``. The mean of each is the effective
        conductivity.

    Notes
    -----
    Each end is held at one potential, as an electrode that conducts perfectly holds it. What passes a voxel of an end
    is 2 k du / edge, du being the potential between its face and its center.

    Examples
    --------
    Two materials side by side share the current by their conductivities:

    >>> k = np.ones((3, 1, 2))
    >>> k[..., 1] = 3
    >>> boundary_current(k, "z").sel(component="low").values.round(6).tolist()
    [[1.0, 3.0]]
    """
    checked = conductivity(k, "boundary_current")
    solved = solve_potential(checked, axis, tolerance=tolerance, dtype=dtype)
    dims = dims_of(checked)
    lateral = tuple(dim for position, dim in enumerate(dims) if position != solved.axis)
    values = np.moveaxis(np.asarray(checked), solved.axis, 0)
    ends = np.zeros((2, *values.shape[1:]))
    if solved.potential is not None:
        u = np.moveaxis(solved.potential, solved.axis, 0)
        through = np.moveaxis(solved.solved, solved.axis, 0)
        cells = len(values)
        ends[0] = 2 * cells * values[0] * (1 - u[0]) * through[0]
        ends[1] = 2 * cells * values[-1] * u[-1] * through[-1]
    coords = {d: checked.coords[d] for d in lateral if d in checked.coords} if isinstance(checked, xr.DataArray) else {}
    units = checked.attrs.get("units", "1") if isinstance(checked, xr.DataArray) else "1"
    return xr.DataArray(
        ends,
        dims=("component", *lateral),
        coords={"component": ["low", "high"], **coords},
        attrs={"units": units, "long_name": "Current density for a unit mean gradient"},
        name="current_density",
    )
