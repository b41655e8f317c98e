"""Rings in slices are stripes in sinograms: pixels of the detector that answer otherwise than their neighbors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest, require
from operando.core.provenance import record
from operando.tomography.geometry import by_rows, check_projections

RING_METHODS = ("sorting", "large", "dead", "vo")
"""Names that ``method`` of :func:`remove_rings` understands."""


def remove_rings(
    projections: xr.DataArray,
    *,
    method: str = "sorting",
    threshold: float = 3.0,
    large_px: int | None = None,
    small_px: int | None = None,
    rows: int = 16,
) -> xr.DataArray:
    """Remove stripes from sinograms, which are rings in the slices.

    Parameters
    ----------
    projections : DataArray, dims (angle, detector_y, detector_x)
        Line integrals; may be lazy.
    method : {"sorting", "large", "dead", "vo"}
        "sorting": gray values of equal rank are smoothed across the detector; "large": wide or strong stripes are
        replaced; "dead": pixels that do not answer or fluctuate are interpolated; "vo": dead, large and sorting, one
        after another.
    threshold : float
        Above 1: a stripe is taken for dead or large where it stands out by this ratio. Greater finds fewer.
    large_px, small_px : int, optional
        Window of the median in pixels, wider than the widest stripe: for "dead" and "large", and for "sorting".
        Default: an eighth and a twenty-fourth of the detector, at most 51 and 21 (what algotom takes for detectors of
        2000).
    rows : int
        Detector rows in a block.

    Returns
    -------
    DataArray, dims (angle, detector_y, detector_x)
        float32, lazy where ``projections`` are.

    Raises
    ------
    InputError
        Where a parameter cannot be, or the sinogram is smaller than 8 x 8.
    MissingDependency
        Without ``operando[tomography]``.

    Notes
    -----
    The algorithms 3, 5 and 6 of Vo et al. [1]_ as their author keeps them in algotom. The sinogram must hold NaN
    nowhere.

    When not to trust it: structure that is itself a circle about the axis (a round can) looks like a ring. "sorting"
    smooths a little everywhere; "dead", and so "vo", takes the sharp outline of a sample on a small detector for a dead
    pixel (dead pixels that the flat field shows need no removal: :func:`reconstruct` fills them). Compare with none.

    Memory: one block of sinograms per thread, about six times.

    References
    ----------
    .. [1] N. T. Vo, R. C. Atwood, M. Drakopoulos, Optics Express 26, 28396 (2018).

    Examples
    --------
    >>> lines = np.ones((40, 1, 40)) + 0.01 * np.arange(40)[:, None, None]
    >>> lines[:, :, 20] += 0.5
    >>> ringed = xr.DataArray(lines, dims=("angle", "detector_y", "detector_x"))
    >>> float(np.abs(remove_rings(ringed, method="sorting")[:, 0, 20] - ringed[:, 0, 10]).max()) < 1e-6
    True
    """
    where = "remove_rings"
    ordered = check_projections(projections, where=where)
    if method not in RING_METHODS:
        raise InputError(f"{where}: there is no method {method!r}. {nearest(str(method), RING_METHODS)}")
    default_large, default_small = windows(ordered.sizes["detector_x"])
    large_px, small_px = large_px or default_large, small_px or default_small
    if not threshold > 1 or min(large_px, small_px) < 3 or rows < 1:
        raise InputError(
            f"{where}: threshold must be above 1, windows at least 3 px and rows at least 1, got {threshold}, "
            f"{large_px}, {small_px} and {rows}. Leave them out for the usual values."
        )
    if min(ordered.sizes["angle"], ordered.sizes["detector_x"]) < 8:
        raise InputError(
            f"{where}: sinograms must have at least 8 angles and 8 pixels, got {ordered.sizes['angle']} and "
            f"{ordered.sizes['detector_x']}. So small a part cannot show what a stripe is."
        )
    parameters = {"method": method, "threshold": threshold, "large_px": large_px, "small_px": small_px}

    def block(part: np.ndarray, _: slice) -> np.ndarray:
        clean = without_rings(part, method=method, threshold=threshold, large_px=large_px, small_px=small_px)
        return np.moveaxis(clean, 1, 0)

    data: Any = ordered.data
    tail = (ordered.sizes["angle"], ordered.sizes["detector_x"])
    made = by_rows(data, block, rows=rows, tail=tail, name="remove-rings").transpose(1, 0, 2)
    result = ordered.copy(data=made.compute() if isinstance(data, np.ndarray) else made)
    result.attrs = {**projections.attrs, "provenance": record("operando.tomography.remove_rings", parameters)}
    return result


def windows(width: int) -> tuple[int, int]:
    """Default windows for large and small stripes on a detector of ``width`` pixels; both odd."""
    return min(51, max(9, width // 8 | 1)), min(21, max(5, width // 24 | 1))


def without_rings(
    sinograms: np.ndarray, *, method: str, threshold: float = 3.0, large_px: int = 51, small_px: int = 21
) -> np.ndarray:
    """Block form of :func:`remove_rings`: sinograms (angle, row, detector_x) in and out."""
    removal: Any = require("algotom.prep.removal", extra="tomography", purpose="removing rings")
    out = np.empty(sinograms.shape, dtype=np.float32)
    for row in range(sinograms.shape[1]):
        lines = np.ascontiguousarray(sinograms[:, row], dtype=np.float32)
        if np.ptp(lines) == 0:
            out[:, row] = lines
            continue
        with warnings.catch_warnings():
            # A sinogram row of zeros makes its ratios 0 / 0, which algotom replaces.
            warnings.simplefilter("ignore", RuntimeWarning)
            if method in ("vo", "dead"):
                lines = removal.remove_dead_stripe(lines, threshold, large_px, residual=False)
            if method in ("vo", "large"):
                lines = removal.remove_large_stripe(lines, threshold, large_px)
            if method in ("vo", "sorting"):
                lines = removal.remove_stripe_based_sorting(lines, small_px)
        out[:, row] = lines
    return out
