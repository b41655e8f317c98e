"""Where the current flows: the potential and the current density in a volume and through its end faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.transport.potential import conductivity, dims_of, solve_potential


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
    Each end is held at one potential, as an electrode that conducts perfectly holds it. What passes a voxel of an end is
    2 k du / edge, du being the potential between its face and its center.

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
