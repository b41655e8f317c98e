"""From projections to a volume, one block of sinograms after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing, labeled_image
from operando.core.errors import InputError, nearest, require
from operando.core.provenance import record
from operando.tomography.filtering import known_window, wiener_gain
from operando.tomography.geometry import (
    angle_weights,
    angles_rad,
    by_rows,
    check_projections,
    pixel_size,
)
from operando.tomography.normalization import beam_correction, fill_missing, minus_log
from operando.tomography.rings import RING_METHODS, windows, without_rings
from operando.tomography.rotation_axis import find_rotation_axis, line_integrals, spread_rows

METHODS = ("fbp", "gridrec", "sirt", "cgls")
BACKENDS = ("cpu", "cuda", "astra")
_ITERATIONS = {"sirt": 20, "cgls": 12}
_WIENER_ROWS = 16


def reconstruct(
    projections: xr.DataArray,
    *,
    rotation_axis: float | xr.DataArray | None = None,
    method: str = "fbp",
    filter: str = "wiener",
    flat: xr.DataArray | None = None,
    dark: xr.DataArray | None = None,
    rings: str | None = None,
    iterations: int | None = None,
    subsets: int = 8,
    nonnegative: bool = True,
    backend: str = "cpu",
    rows: int = 16,
) -> xr.DataArray:
    """Reconstruct the attenuation coefficient from parallel-beam projections.

    Parameters
    ----------
    projections : DataArray, dims (angle, detector_y, detector_x)
        Line integrals (:func:`minus_log`). Where ``flat`` is given they are counts, and are corrected and turned into
        line integrals block by block. The coordinate ``angle`` is in degrees, or in radians where its units are
        ``rad``; any order, half a turn or more. May be lazy. NaN is filled from the neighbors in the row.
    rotation_axis : float or 0-d DataArray, optional
        Position along ``detector_x`` in pixels, 0 at the center of the first. Default: :func:`find_rotation_axis`.
    method : {"fbp", "gridrec", "sirt", "cgls"}
        Filtered back projection in space or by Fourier gridding (the same result, gridrec is faster on wide detectors),
        or an iterative one: SIRT over ordered subsets of the projections, or conjugate gradients.
    filter : {"wiener", "ramp", "shepp-logan", "cosine", "hamming", "hann"}
        Window of the ramp filter. "wiener" is made from the noise of the projections: least mean square error, but
        another window for every scan. Take a fixed one where gray values of scans are compared to less than the noise.
    flat, dark : DataArray, optional
        As :func:`normalize`.
    rings : {"sorting", "large", "dead", "vo"}, optional
        As ``method`` of :func:`remove_rings`; default none.
    iterations : int, optional
        Passes over all projections; default 20 for "sirt", 12 for "cgls". More of them sharpen, and let the noise in.
    subsets : int
        For "sirt": in how many parts the projections are visited; about ``subsets`` times faster than 1.
    nonnegative : bool
        For "sirt": keep the attenuation from going below zero.
    backend : {"cpu", "cuda", "astra"}
        "cuda": back projection by algotom on an Nvidia card (``method="fbp"``); "astra": the ASTRA toolbox (GPL, not
        installed with operando), which filters by itself.
    rows : int
        Detector rows in a block.

    Returns
    -------
    DataArray, dims (z, y, x), units "um-1" (or "px-1")
        float32, lazy where ``projections`` are lazy. As many voxels along ``y`` and ``x`` as the detector has pixels,
        the rotation axis at their middle, (n - 1) / 2. ``z`` is ``detector_y`` with its coordinates. ``attrs``:
        ``rotation_axis`` and ``rotation_axis_sigma`` in px, ``largest_gap_deg``, and where nothing is lazy ``filled``,
        the number of line integrals that were missing, not positive transmission, or dead pixels.

    Raises
    ------
    InputError, AxesError, UnitsError
        Where something is missing or does not fit.
    MissingDependency
        Without ``operando[tomography]``.

    Notes
    -----
    Geometry: the sample turns from +x towards +y, rays run along y, and a point (x, y) from the axis is seen at

    .. math:: s = x \\cos\\theta - y \\sin\\theta

    so that ``detector_x`` is ``x`` at 0 degrees (the convention of algotom and scikit-image). If the stage turns the
    other way the volume is mirrored along y: negate the angles.

    FBP: :math:`\\mu = \\sum_i w_i (p_i * h)(s)` with the band-limited ramp h and weights w that sum to pi: half the
    angular distance to both neighbors, so that scans with both 0 and 180 degrees, of more than half a turn or with
    uneven steps are right without care. Projections are padded to twice their width; each side goes
    on as the shadow of a cylinder does, which is nothing where the sample ends inside of the field of view and keeps a
    wider one from getting a bright rim. The mean of such an interior scan is a guess all the same.

    SIRT: :math:`x \\leftarrow x + C A^T R (p - A x)` with Joseph's projector A, its exact transpose, and C, R the
    inverse column and row sums. Iterative methods assume that the sample lies within the field of view.

    Values scale with the inverse pixel size: um-1 where ``detector_x`` is in um, else px-1.

    Memory: per thread one block of ``rows`` sinograms, about ten times in float32 (``angle * rows * detector_x * 40``
    bytes), and its slices. At the call: 16 rows for the filter, 8 for the axis. A lazy input is read once per block,
    from a file only the rows of the block; where a file's chunks hold whole projections every block decodes all of
    them, so choose ``rows`` as large as memory allows.

    References
    ----------
    Kak and Slaney, Principles of Computerized Tomographic Imaging (1988), chapters 3 and 7; Dowd et al., Proc. SPIE
    3772 (1999) for gridrec; Joseph, IEEE Trans. Med. Imaging 1, 192 (1982).

    Examples
    --------
    A disc of radius 10 and attenuation 0.1 per pixel, of which every projection is the same:

    >>> s = np.arange(33) - 16
    >>> shadow = 0.1 * 2 * np.sqrt(np.clip(10.0**2 - s**2, 0, None))
    >>> disc = xr.DataArray(np.tile(shadow, (60, 1, 1)), dims=("angle", "detector_y", "detector_x"),
    ...     coords={"angle": np.arange(60) * 3.0})
    >>> volume = reconstruct(disc, rotation_axis=16.0, filter="hann")
    >>> volume.shape, volume.attrs["units"], round(float(volume[0, 16, 16]), 2)
    ((1, 33, 33), 'px-1', 0.1)
    """
    where = "reconstruct"
    ordered = check_projections(projections, where=where)
    angles = angles_rad(ordered, where=where)
    _check_choice(method, METHODS, "method")
    _check_choice(backend, BACKENDS, "backend")
    if rings is not None:
        _check_choice(rings, RING_METHODS, "ring removal")
    known_window(filter)
    passes = _ITERATIONS.get(method, 1) if iterations is None else int(iterations)
    if passes < 1 or subsets < 1 or rows < 1:
        raise InputError(
            f"{where}: iterations, subsets and rows must be at least 1, got {passes}, {subsets} and {rows}. "
            "Leave them out for the usual values."
        )
    require("numba", extra="tomography", purpose="operando.tomography")
    width = ordered.sizes["detector_x"]
    weights, gap = angle_weights(angles)
    if rotation_axis is None:
        rotation_axis = find_rotation_axis(ordered, flat=flat, dark=dark)
    axis = float(rotation_axis)
    if not 0 <= axis <= width - 1:
        raise InputError(
            f"{where}: rotation_axis must lie on the detector, 0 to {width - 1} px, got {axis:g}. "
            "It is a position along detector_x, not an offset from the middle."
        )
    step, unit = pixel_size(ordered, where=where)
    solve = _solver(
        method,
        backend,
        angles,
        weights,
        axis=axis,
        window=filter,
        passes=passes,
        subsets=subsets,
        nonnegative=nonnegative,
    )
    wiener = None
    if filter == "wiener" and method in ("fbp", "gridrec"):
        sample = spread_rows(ordered.sizes["detector_y"], _WIENER_ROWS)
        sorted_angles = np.argsort(angles)
        wiener = wiener_gain(line_integrals(ordered, flat=flat, dark=dark, where=where)(sample)[sorted_angles])
    correction = None
    if flat is not None:
        correction = beam_correction(ordered, flat=flat, dark=dark, flat_after=None, where=where)
    filled: list[int] = []

    def block(part: np.ndarray, chosen: slice) -> np.ndarray:
        if correction is None:
            lines = part.astype(np.float32)
        else:
            counts = xr.DataArray(correction.apply(part, slice(None), chosen, slice(None)))
            lines = minus_log(counts).values
        filled.append(fill_missing(lines))
        unseen = ~np.isfinite(lines).all(axis=(0, 2))
        lines[:, unseen] = 0.0
        if rings is not None:
            large, small = windows(width)
            lines = without_rings(lines, method=rings, large_px=large, small_px=small)
        slices = solve(lines, wiener)
        slices /= step
        slices[unseen] = np.nan
        return slices

    data: Any = ordered.data
    made = by_rows(data, block, rows=rows, tail=(width, width), name="reconstruct")
    eager = isinstance(data, np.ndarray)
    volume = _labeled(made.compute() if eager else made, ordered, step, unit)
    sigma = float("nan")
    if isinstance(rotation_axis, xr.DataArray) and "sigma" in rotation_axis.coords:
        sigma = float(rotation_axis.coords["sigma"])
    parameters = {
        "method": method,
        "filter": filter if method in ("fbp", "gridrec") else None,
        "rotation_axis": axis,
        "rings": rings,
        "iterations": passes if method in _ITERATIONS else None,
        "backend": backend,
    }
    volume.attrs |= {
        "rotation_axis": axis,
        "rotation_axis_sigma": sigma,
        "largest_gap_deg": float(np.rad2deg(gap)),
        **({"filled": sum(filled)} if eager else {}),
        "provenance": record("operando.tomography.reconstruct", parameters),
    }
    return volume


def _check_choice(got: str, known: tuple[str, ...], what: str) -> None:
    if got not in known:
        raise InputError(f"reconstruct: there is no {what} {got!r}. {nearest(str(got), known)}")


def _solver(
    method: str,
    backend: str,
    angles: np.ndarray,
    weights: np.ndarray,
    *,
    axis: float,
    window: str,
    passes: int,
    subsets: int,
    nonnegative: bool,
) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """Return a function from line integrals (angle, row, detector_x) and the noise filter to slices in 1 / px."""
    if backend == "astra":
        from operando.tomography.backends import astra_solver

        return astra_solver(method, angles, axis=axis, window=window, passes=passes)
    if backend == "cuda":
        from operando.tomography.backends import cuda_solver

        return cuda_solver(method, angles, weights, axis=axis, window=window)
    from operando.tomography import slices

    if method == "sirt":
        return lambda lines, _: slices.sirt(
            lines, angles, axis=axis, iterations=passes, subsets=subsets, nonnegative=nonnegative
        )
    if method == "cgls":
        return lambda lines, _: slices.cgls(lines, angles, axis=axis, iterations=passes)
    direct = slices.fbp if method == "fbp" else slices.gridrec
    return lambda lines, wiener: direct(lines, angles, weights, axis=axis, window=window, wiener=wiener)


def _labeled(values: Any, projections: xr.DataArray, step: float, unit: str) -> xr.DataArray:
    height, own = axis_spacing(projections, "detector_y", where="reconstruct")
    calibrated = unit == "um" and units.kind(own) == "length"
    sizes = (height * units.factor(own, "um"), step, step) if calibrated else None
    first = 0.0
    if calibrated and "detector_y" in projections.coords:
        first = float(projections.coords["detector_y"][0]) * units.factor(own, "um")
    return labeled_image(
        values,
        dims=("z", "y", "x"),
        voxel_size_um=sizes,
        origin_um=(first, 0.0, 0.0),
        name="attenuation",
        units=f"{unit}-1",
        long_name="Attenuation coefficient",
    )
