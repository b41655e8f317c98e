"""The part of the field of view that every scan of a moving sample shows."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError
from operando.registration.resample import in_voxels

_ROUNDING = 1e-6  # voxels


def common_field(series: xr.DataArray, motion: xr.DataArray) -> dict[str, slice]:
    """Largest box of voxels, from the center outward, that no scan of a registered series misses.

    Parameters
    ----------
    series : DataArray, dims (t, z, y, x)
        The series before it is resampled, or after; only its grid is used.
    motion : DataArray, dims (t, row, column), units "um" or "px"
        As in :func:`apply_motion`.

    Returns
    -------
    dict of str to slice
        For ``series.isel``: voxels along ``z``, ``y`` and ``x``.

    Raises
    ------
    InputError
        Where the motion does not fit the series or the scans share nothing.

    Notes
    -----
    A voxel at the border of a registered scan may show nothing, and lithium that is not seen is not measured: a
    volume is comparable between scans only inside the field they share. The box shrinks by whole voxels until its
    corners lie inside every scan.

    Examples
    --------
    The second scan shows everything one and a half voxels further along x:

    >>> from operando.core.axes import labeled_image
    >>> series = labeled_image(np.zeros((2, 4, 5, 6)), voxel_size_um=2.0)
    >>> matrices = np.stack([np.eye(4)] * 2)
    >>> matrices[1, 2, 3] = 3.0
    >>> motion = xr.DataArray(matrices, dims=("t", "row", "column"), attrs={"units": "um"})
    >>> common_field(series, motion)["x"]
    slice(0, 4, None)
    """
    where = "common_field"
    require_dims(series, ("t", *SPACE), where=where)
    matrices = in_voxels(series, motion, where)
    size = np.array([series.sizes[dim] for dim in SPACE])
    low, high = np.zeros(3, dtype=int), size - 1
    while True:
        corners = np.array(list(product(*zip(low, high, strict=True))))
        places = corners @ matrices[:, :3, :3].transpose(0, 2, 1) + matrices[:, None, :3, 3]
        below = np.ceil(-places.min(axis=(0, 1)) - _ROUNDING).astype(int).clip(0)
        above = np.ceil((places - (size - 1)).max(axis=(0, 1)) - _ROUNDING).astype(int).clip(0)
        if not below.any() and not above.any():
            return {dim: slice(int(a), int(b) + 1) for dim, a, b in zip(SPACE, low, high, strict=True)}
        low, high = low + below, high - above
        if (low > high).any():
            raise InputError(
                f"{where}: the scans must share part of the field of view of {tuple(size)} voxels, and share nothing. "
                "Check the motion and its units."
            )
