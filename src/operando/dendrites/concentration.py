"""From gray values to the concentration of salt in the electrolyte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import axis_spacing
from operando.core.errors import AxesError, InputError
from operando.core.provenance import record
from operando.dendrites.growth import SIDES
from operando.dendrites.interface import labeled_frames
from operando.dendrites.profile import noise_variance

# A Gaussian line that is bright enough to clip ends about so many times as far from its center as it clips.
_HALO = 2.0
_LEAST_MARGIN = 3


def concentration(
    series: Any,
    interface: xr.Dataset,
    *,
    calibration: Mapping[str, float] | Sequence[Sequence[float]] | None = None,
    smoothing: Sequence[int] = (6, 6),
    margin: int | None = None,
    saturation: float = 255,
) -> xr.DataArray:
    r"""Concentration of salt in the electrolyte from the gray values of a Raman image.

    Parameters
    ----------
    series : DataArray, Dataset with ``image`` or array-like, dims ([t], y, x)
        Gray values; NaN is missing. May be lazy, and then the result is.
    interface : Dataset, dims ([t], x)
        What :func:`operando.dendrites.find_interface` found on the same frames.
    calibration : mapping or two points, optional
        ``{"dark": gray value without salt, "gray_per_molar": gray values per mol/L}`` as :func:`calibrate` gives it, or
        two points ``[(gray, mol/L), (gray, mol/L)]``. Default: ``series.attrs["calibration"]``; where there is
        none either, the result is the gray value as a share of ``saturation``.
    smoothing : (int, int)
        Size of the uniform kernel along y and x in px; (1, 1) for none.
    margin : int, optional
        Distance from the interface in px, in any direction, within which gray values are those of the line and not of
        the salt. Default: the thickness of the line, at least 3.
    saturation : float
        Gray value at which the detector or the conversion clips.

    Returns
    -------
    DataArray, same dims, y rising, float32, units "mol L-1" (or "1")
        Metal, line and margin hold the value of the electrolyte pixel next to them along y. NaN is what was missing in
        ``series``, and saturated pixels outside the line with their halo. ``attrs``: ``calibration``, ``smoothing``,
        ``margin``, ``metal``, and ``noise``, the standard deviation of one pixel after smoothing, from the first frame.

    Raises
    ------
    InputError, AxesError
        Where the calibration has no slope, or the frames are not those of ``interface``.

    Notes
    -----
    .. math:: c = \frac{I - I_0}{s}

    I gray value, I_0 ``dark``, s ``gray_per_molar``. Below zero is noise or a wrong ``dark``, and stays.

    Ma 2021 smooths with a kernel of [6, 6] after filling; which kernel is not said. Here it is uniform. An even
    kernel has no center, and would move everything by half a pixel: instead of six pixels it takes seven, the outer
    two at half weight, which keeps its size (the variance of one pixel falls 42-fold instead of 36-fold). Missing
    pixels have no weight. Up to half the kernel from the filled region, smoothing mixes in what was filled: it
    flattens the gradient there (:func:`operando.dendrites.surface_state` starts beyond).

    Memory: one frame, about 50 bytes per pixel of it, and 4 bytes per pixel of the result where it is not lazy.

    When not to trust it: docs/quantities/salt-concentration.md.

    Examples
    --------
    Electrolyte of gray value 142 above a line at row 20; 10 without salt, 400 more per mol/L:

    >>> image = np.full((32, 16), 142, dtype=np.uint8)
    >>> image[20:], image[18:23] = 10, 255
    >>> from operando.dendrites import find_interface
    >>> c = concentration(image, find_interface(image), calibration={"dark": 10, "gray_per_molar": 400})
    >>> c.values.min().round(2), c.values.max().round(2), c.attrs["units"]
    (np.float32(0.33), np.float32(0.33), 'mol L-1')
    """
    frames = labeled_frames(series, "concentration")
    metal = _check_interface(frames, interface)
    if len(tuple(smoothing)) != 2 or min(smoothing) < 1 or any(int(n) != n for n in smoothing):
        raise InputError(
            f"concentration: smoothing must be two whole numbers of px >= 1, along y and x, got {smoothing!r}. "
            "Pass (1, 1) for none."
        )
    size = (int(smoothing[0]), int(smoothing[1]))
    known = calibration if calibration is not None else frames.attrs.get("calibration")
    scale = {"dark": 0.0, "gray_per_molar": float(saturation)} if known is None else as_calibration(known)
    step = axis_spacing(frames, "y", where="concentration")[0]
    first = float(frames.coords["y"].values[0]) if "y" in frames.coords else 0.0
    half = float(np.nanmedian(interface["thickness"].values)) / step / 2 if "thickness" in interface else 0.0
    margin = max(_LEAST_MARGIN, int(np.ceil(_HALO * half))) if margin is None else int(margin)
    halo = max(margin - int(half), 1)
    bright = float(interface.attrs.get("threshold", saturation))
    rows = (interface["position"].transpose(..., "x").values - first) / step

    def one(gray: np.ndarray, row: np.ndarray) -> np.ndarray:
        values, position = np.asarray(gray, dtype=np.float64), row
        if metal == "low":
            values, position = values[::-1], values.shape[0] - 1 - position
        smooth = smooth_uniform(fill_metal(values, position, margin, halo, bright), size)
        smooth = (smooth - scale["dark"]) / scale["gray_per_molar"]
        return (smooth if metal == "high" else smooth[::-1]).astype(np.float32)

    if "t" not in frames.dims:
        values = one(frames.data, rows)
    elif frames.chunks is None:
        values = np.stack([one(frames.isel(t=i).data, row) for i, row in enumerate(rows)])
    else:
        values = _lazily(one, frames, rows)
    start = np.asarray((frames.isel(t=0) if "t" in frames.dims else frames).data, dtype=np.float64)
    attrs = {
        "units": "1" if known is None else "mol L-1",
        "long_name": "Relative gray value" if known is None else "Salt concentration",
        "metal": metal,
        "calibration": scale,
        "smoothing": size,
        "margin": margin,
        "noise": _noise(start, np.atleast_2d(rows)[0], metal, margin, size) / abs(scale["gray_per_molar"]),
    }
    attrs["provenance"] = record("concentration", {k: attrs[k] for k in ("calibration", "smoothing", "margin")})
    return xr.DataArray(values, dims=frames.dims, coords=frames.coords, attrs=attrs, name="concentration")


def calibrate(gray: Any, concentration: Any, *, sigma: Any = None) -> dict[str, float]:
    """Fit the straight line between gray value and concentration to solutions that are known.

    Parameters
    ----------
    gray : array-like, shape (n,)
        Mean gray value of each solution, not clipped.
    concentration : array-like, shape (n,), mol L-1
    sigma : array-like, shape (n,), or float, optional
        Standard uncertainty of the gray values. Default: from the scatter about the line, which takes n >= 3.

    Returns
    -------
    dict
        ``dark``, ``gray_per_molar``, and ``dark_sigma``, ``gray_per_molar_sigma``, ``covariance`` (NaN where they
        cannot be known).

    Raises
    ------
    InputError
        Where fewer than two concentrations differ, or numbers are missing.

    Notes
    -----
    Weighted least squares. Raman intensity is proportional to concentration as long as nothing is absorbed and
    nothing clips; whether the line is straight is seen in the scatter with three solutions or more.

    Examples
    --------
    >>> found = calibrate([10.0, 76.0, 142.0], [0.0, 0.165, 0.33])
    >>> round(found["dark"], 6), round(found["gray_per_molar"], 6)
    (10.0, 400.0)
    """
    x, y = np.asarray(concentration, dtype=float).ravel(), np.asarray(gray, dtype=float).ravel()
    if x.shape != y.shape or not np.isfinite(x).all() or not np.isfinite(y).all() or np.unique(x).size < 2:
        raise InputError(
            f"calibrate: gray and concentration need one number per solution and two different concentrations, got "
            f"{y.tolist()} and {x.tolist()}. Leave out what was not measured."
        )
    spread = np.ones_like(y) if sigma is None else np.broadcast_to(np.asarray(sigma, dtype=float), y.shape)
    if not (spread > 0).all():
        raise InputError(f"calibrate: sigma must be positive, got {spread.tolist()}. Leave it out if it is not known.")
    design = np.stack([np.ones_like(x), x], axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    dark, slope = covariance @ design.T @ (y / spread)
    if sigma is None:
        freedom = x.size - 2
        covariance = covariance * (np.sum((y - dark - slope * x) ** 2) / freedom if freedom else np.nan)
    found = {
        "dark": dark,
        "gray_per_molar": slope,
        "dark_sigma": np.sqrt(covariance[0, 0]),
        "gray_per_molar_sigma": np.sqrt(covariance[1, 1]),
        "covariance": covariance[0, 1],
    }
    return {name: float(value) for name, value in found.items()}


def as_calibration(given: Mapping[str, float] | Sequence[Sequence[float]]) -> dict[str, float]:
    """Return a calibration as a mapping with ``dark`` and ``gray_per_molar``, from that or from two points.

    Examples
    --------
    >>> as_calibration([(10, 0.0), (142, 0.33)])
    {'dark': 10.0, 'gray_per_molar': 400.0}
    """
    if isinstance(given, Mapping):
        missing = [name for name in ("dark", "gray_per_molar") if name not in given]
        if missing:
            raise InputError(
                f"concentration: a calibration has 'dark' and 'gray_per_molar', got {sorted(given)}. "
                "Make it with operando.dendrites.calibrate(gray, concentration)."
            )
        found = {name: float(value) for name, value in given.items()}
    else:
        points = np.asarray(given, dtype=float)
        if points.shape != (2, 2) or points[0, 1] == points[1, 1]:
            raise InputError(
                f"concentration: a calibration is a mapping or two points (gray, mol/L) of different "
                f"concentration, got {given!r}. Fit more points with operando.dendrites.calibrate."
            )
        (low, c_low), (high, c_high) = points
        slope = (high - low) / (c_high - c_low)
        found = {"dark": float(low - slope * c_low), "gray_per_molar": float(slope)}
    if not np.isfinite(found["dark"]) or not np.isfinite(found["gray_per_molar"]) or found["gray_per_molar"] == 0:
        raise InputError(
            f"concentration: a calibration must have a slope, got dark={found['dark']:g}, "
            f"gray_per_molar={found['gray_per_molar']:g}. Check the two gray values."
        )
    return found


def fill_metal(gray: np.ndarray, row: np.ndarray, margin: int, halo: int, bright: float) -> np.ndarray:
    """Replace metal, line and margin by the next electrolyte pixel along y; rows run toward the metal.

    Notes
    -----
    The margin is a ball that rolls along the interface: beside a wall, or in a valley, the halo of the neighboring
    columns counts. Bright pixels on the electrolyte's side and what is closer than ``halo`` to them become NaN. A
    frame without interface is NaN.
    """
    from scipy.ndimage import binary_dilation, grey_erosion

    rows = gray.shape[0]
    if not np.isfinite(row).all():
        return np.full_like(gray, np.nan)
    at = np.arange(-margin, margin + 1)
    edge = grey_erosion(row, footprint=np.ones(at.size), structure=np.sqrt(margin**2 - at**2.0), mode="nearest")
    last = np.clip(np.ceil(edge).astype(int) - 1, 0, rows - 1)
    index = np.arange(rows)[:, None]
    spot = (gray >= bright) & (index <= last)
    if spot.any():
        ball = np.hypot(*np.mgrid[-halo : halo + 1, -halo : halo + 1]) <= halo
        gray = np.where(binary_dilation(spot, ball) & (index <= last), np.nan, gray)
    return np.take_along_axis(gray, np.minimum(index, last), axis=0)


def smooth_uniform(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean over a centered window of ``size`` px; missing pixels have no weight and stay missing."""
    from scipy.ndimage import convolve1d

    known = np.isfinite(values)
    whole = bool(known.all())
    total, weight = np.where(known, values, 0.0), known.astype(float)
    for axis, width in enumerate(size):
        total = convolve1d(total, kernel(width), axis=axis, mode="nearest")
        if not whole:
            weight = convolve1d(weight, kernel(width), axis=axis, mode="nearest")
    return total if whole else np.where(known, total / np.where(known, weight, 1.0), np.nan)


def kernel(width: int) -> np.ndarray:
    """Weights of a uniform window; an even one gets an odd number of pixels, the outer two at half weight.

    Examples
    --------
    >>> kernel(2).tolist(), kernel(3).round(3).tolist()
    ([0.25, 0.5, 0.25], [0.333, 0.333, 0.333])
    """
    weights = np.full(width + 1 - width % 2, 1.0)
    if width % 2 == 0:
        weights[[0, -1]] = 0.5
    return weights / width


def _check_interface(frames: xr.DataArray, interface: Any) -> str:
    if (
        not isinstance(interface, xr.Dataset)
        or "position" not in interface
        or interface.attrs.get("metal") not in SIDES
    ):
        raise InputError(
            "concentration: interface must be the Dataset of operando.dendrites.find_interface, with 'position' and "
            f"attrs['metal'], got {type(interface).__name__}. Find it on the same frames."
        )
    for dim in ("t", "x"):
        if frames.sizes.get(dim) != interface["position"].sizes.get(dim):
            raise AxesError(
                f"concentration: series and interface must have the same {dim}, got {dict(frames.sizes)} and "
                f"{dict(interface['position'].sizes)}. Find the interface on the same frames."
            )
    return str(interface.attrs["metal"])


def _noise(gray: np.ndarray, row: np.ndarray, metal: str, margin: int, size: tuple[int, int]) -> float:
    """Standard deviation of one pixel of the electrolyte after smoothing, in gray values."""
    index = np.arange(gray.shape[0])[:, None]
    salt = index < row - margin if metal == "high" else index > row + margin
    second = (gray[:, :-2] - 2 * gray[:, 1:-1] + gray[:, 2:])[salt[:, :-2] & salt[:, 1:-1] & salt[:, 2:]]
    return float(np.sqrt(noise_variance(second) * np.sum(kernel(size[0]) ** 2) * np.sum(kernel(size[1]) ** 2)))


def _lazily(one: Any, frames: xr.DataArray, rows: np.ndarray) -> Any:
    import dask
    import dask.array as da

    shape = frames.shape[1:]
    return da.stack(
        [
            da.from_delayed(dask.delayed(one)(frames.isel(t=i).data, row), shape, dtype=np.float32)
            for i, row in enumerate(rows)
        ]
    )
