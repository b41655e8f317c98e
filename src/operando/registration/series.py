"""Rigid motion of every scan of a series against one of them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.core.axes import SPACE, require_dims
from operando.core.errors import InputError
from operando.core.provenance import record
from operando.registration.pair import voxel_edges
from operando.registration.rigid import register


def register_series(
    series: xr.DataArray, *, reference: int = 0, max_shift: int = 8, size: int = 64, count: int = 27
) -> xr.DataArray:
    """Rigid motion of every scan against one of them, found on what both show unchanged.

    Parameters
    ----------
    series : DataArray, dims (t, z, y, x)
        Gray images, may be lazy.
    reference : int
        Position along t of the scan that counts as unmoved.
    max_shift, size, count
        As in :func:`operando.registration.register`.

    Returns
    -------
    DataArray, dims (t, row, column), units "um" (or "px")
        Homogeneous 4 x 4 matrix per scan that takes a point (z, y, x, 1) of the reference to where the scan shows it,
        as ``motion`` of the samples does; :func:`operando.registration.apply_motion` takes it back. The coordinate
        ``sigma`` (t, row) is the standard error of the displacement of the middle of the field, and
        ``sigma_rotation_deg`` (t, row) that of the rotation about z, y, x in degrees; 0 for the reference.

    Raises
    ------
    InputError
        Where ``reference`` is no scan of the series, and as :func:`operando.registration.register`.

    Notes
    -----
    Every scan is matched with the reference itself: composed from scan to scan, errors add up (measured in
    ``docs/registration.md``, as is the accuracy: 0.05 voxel in three components).

    Memory: that of :func:`operando.registration.register`, whatever the number of scans.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> values = np.random.default_rng(0).random((40, 40, 40), dtype=np.float32)
    >>> series = labeled_image(np.stack([values, np.roll(values, -1, axis=0)]), voxel_size_um=2.0)
    >>> (register_series(series)[1, :, 3].round(1) + 0.0).values.tolist()
    [-2.0, 0.0, 0.0, 1.0]
    """
    where = "register_series"
    require_dims(series, ("t", *SPACE), where=where)
    scans = series.sizes["t"]
    if not -scans <= reference < scans:
        raise InputError(
            f"{where}: reference must be the position of one of {scans} scans, got {reference}. Take 0 for the first."
        )
    reference %= scans
    motion, sigma = np.tile(np.eye(4), (scans, 1, 1)), np.zeros((2, scans, 4))
    _, units = voxel_edges(series, where)
    for scan in range(scans):
        if scan != reference:
            found = register(series.isel(t=reference), series.isel(t=scan), max_shift=max_shift, size=size, count=count)
            motion[scan] = found.matrix
            sigma[:, scan, :3] = np.reshape(found.sigma, (2, 3))
    parameters = {"reference": reference, "max_shift": max_shift, "size": size, "count": count}
    return xr.DataArray(
        motion,
        dims=("t", "row", "column"),
        coords={
            "sigma": (("t", "row"), sigma[0], {"units": units}),
            "sigma_rotation_deg": (("t", "row"), sigma[1], {"units": "deg"}),
            **({"t": series.coords["t"]} if "t" in series.coords else {}),
        },
        name="motion",
        attrs={
            "units": units,
            "long_name": "Reference to scan",
            "axis_order": "z, y, x, 1",
            "provenance": record(
                "operando.registration.register_series",
                parameters,
                inputs={"series": str(series.attrs.get("provenance", ""))},
            ),
        },
    )
