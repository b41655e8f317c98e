"""The effective conductivity in every direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError
from operando.transport.potential import conductivity, dims_of, edges_of


def conductivity_tensor(k: Any, *, tolerance: float = 1e-4, dtype: Any = "float64") -> xr.DataArray:
    """Effective conductivity tensor of a volume taken as the cell of a periodic medium.

    Parameters
    ----------
    k : array or DataArray, 2-D or 3-D
        Conductivity per voxel, 0 or more, or boolean.
    tolerance : float
        Estimated relative error of each diagonal element at which the solver stops.
    dtype : {"float32", "float64"}
        Of the potentials.

    Returns
    -------
    DataArray, dims (row, column)
        Symmetric; both coordinates are the dims of the volume. In the unit of ``k``: current density (row) for a unit
        gradient (column).

    Notes
    -----
    Per direction j the potential is :math:`-x_j + \\chi_j`, with a periodic :math:`\\chi_j`; then

    .. math:: K_{ij} = \\langle (e_i - \\nabla\\chi_i) \\cdot k\\, (e_j - \\nabla\\chi_j) \\rangle

    Why periodic: between insulated sides no net current can cross the mean gradient, so that the elements off the
    diagonal would not exist. The price is that opposite faces of an image do not match: at them the current meets a
    seam, as if the medium were cut there and its copies shifted to it. On an image the diagonal therefore differs from
    :func:`effective_conductivity`; the difference shrinks with the volume. Of layers along the axes both give the same.
    In 64 bits about 130 bytes per voxel.

    Examples
    --------
    Layers of 10 and 1: in series across (z), in parallel along (y, x).

    >>> k = np.ones((2, 2, 2))
    >>> k[0] = 10
    >>> (conductivity_tensor(k).values.round(5) + 0.0).tolist()
    [[1.81818, 0.0, 0.0], [0.0, 5.5, 0.0], [0.0, 0.0, 5.5]]
    """
    from operando.transport import multigrid

    checked = conductivity(k, "conductivity_tensor")
    if not tolerance > 0:
        raise InputError(f"conductivity_tensor: the tolerance must be positive, got {tolerance!r}. Use 1e-4 or so.")
    edges, dims = edges_of(checked), dims_of(checked)
    values = np.asarray(checked)
    values = values.reshape((1,) * (3 - values.ndim) + values.shape)
    edge = (1.0,) * (3 - len(edges)) + edges
    first = 3 - len(dims)
    tensor = np.zeros((3, 3))
    largest = float(values.max())
    if largest > 0:
        padded = np.pad((values / largest).astype(dtype), 1, mode="wrap")
        with multigrid.alone:
            conductor = multigrid.Conductor(
                padded, (edge[0], edge[1], edge[2]), uniform=False, periodic=True, dtype=dtype
            )
            tensor = largest * _tensor(conductor, edge, range(first, 3), tolerance)
    units = checked.attrs.get("units", "1") if isinstance(checked, xr.DataArray) else "1"
    return xr.DataArray(
        tensor[first:, first:],
        dims=("row", "column"),
        coords={"row": list(dims), "column": list(dims)},
        attrs={"units": units, "long_name": "Effective conductivity", "boundary": "periodic"},
        name="conductivity",
    )


def _tensor(conductor: Any, edge: tuple[float, ...], axes: range, tolerance: float) -> np.ndarray:
    level = conductor.levels[0]
    sources: dict[int, np.ndarray] = {}
    fields: dict[int, np.ndarray] = {}
    result = np.zeros((3, 3))
    for axis in axes:
        g = np.moveaxis(level.faces[axis], axis, 0)
        source = np.zeros_like(level.w)
        turned = np.moveaxis(source, axis, 0)
        # A unit drop per voxel drives in at the low face what it drives out at the high face.
        turned[1:-1] = g[1:-1] - g[2:]
        _clear(source)
        energy = float(np.moveaxis(level.faces[axis], axis, 0)[1:-1, 1:-1, 1:-1].sum(dtype=np.float64))
        sources[axis] = source
        if energy == 0:
            fields[axis] = np.zeros_like(source)
            continue
        solution = conductor.minimize(np.zeros_like(source), source.copy(), energy, tolerance=tolerance)
        fields[axis] = solution.potential
        result[axis, axis] = solution.conductance / conductor.scale
    out = np.zeros_like(level.w)
    for i in axes:
        level.apply(fields[i], out)
        _clear(fields[i])
        for j in axes:
            if j > i:
                cross = np.vdot(out, fields[j]) - np.vdot(sources[i], fields[j]) - np.vdot(sources[j], fields[i])
                result[i, j] = result[j, i] = float(cross)
    volume = np.prod(level.shape) * np.prod(edge)
    return result * conductor.scale * np.outer(edge, edge) / volume


def _clear(padded: np.ndarray) -> None:
    """Empty the padding."""
    padded[[0, -1]] = 0
    padded[:, [0, -1]] = 0
    padded[:, :, [0, -1]] = 0
