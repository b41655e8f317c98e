"""Where the rotation axis is on the detector: from views of opposite sides, or from the sharpest slice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import InputError, nearest
from operando.core.provenance import record
from operando.tomography.filtering import filtered, padded_length, response, wiener_gain
from operando.tomography.geometry import angle_weights, angles_rad, check_projections, read_rows
from operando.tomography.normalization import beam_correction, fill_missing, minus_log

METHODS = ("auto", "entropy", "correlation")
_ENTROPY_ROWS, _CORRELATION_ROWS, _PAIRS = 8, 256, 8
_POINTS, _BINS, _UPSAMPLING = 192, 256, 2
_COARSE, _COARSE_ANGLES, _MOST_ANGLES = 64, 180, 720
_LARGEST_GAP, _LARGEST_MISS, _NEAR = np.deg2rad(45.0), np.deg2rad(10.0), np.deg2rad(0.1)


def find_rotation_axis(
    projections: xr.DataArray,
    *,
    method: str = "auto",
    search: tuple[float, float] | None = None,
    flat: xr.DataArray | None = None,
    dark: xr.DataArray | None = None,
) -> xr.DataArray:
    """Position of the rotation axis on the detector, to a fraction of a pixel.

    Parameters
    ----------
    projections : DataArray, dims (angle, detector_y, detector_x)
        Line integrals, or counts where ``flat`` is given; the coordinate ``angle`` in degrees (or ``rad``); may be
        lazy.
    method : {"auto", "entropy", "correlation"}
        What is best at the axis: the entropy of reconstructed slices (least), or the correlation of projections with
        mirrored ones from half a turn later (largest). "auto" is correlation where there are such projections, else
        entropy.
    search : (float, float), optional
        Range of positions in pixels; default the middle half of the detector.
    flat, dark : DataArray, optional
        As :func:`normalize`.

    Returns
    -------
    DataArray, 0-d, units "px"
        Along ``detector_x``; 0 is the center of the first pixel, (n - 1) / 2 the middle of the detector. The coordinate
        ``sigma`` is the standard error as far as detector rows disagree (NaN where there are fewer than three);
        it knows nothing of what all rows share.

    Raises
    ------
    InputError
        Where the angles do not suffice: no two projections half a turn apart (to within two steps) for "correlation", a
        gap of more than 45 degrees or fewer than 8 projections for "entropy"; where nothing is seen; where the best
        position is at the end of the range.

    Notes
    -----
    *Correlation* of p(angle) and the mirrored p(angle + 180 degrees) over their common part of the detector, so that
    neither an axis far from the middle nor a sample wider than the field of view matters. Where no projection is
    exactly half a turn after another both sides are extrapolated to the angle in the middle. Up to 8 pairs and 256
    rows.

    *Entropy* [1]_ of the gray values of up to 8 slices, near where the correlation is largest, or, without opposite
    projections or with the best entropy elsewhere, near where the slices are sharpest in the whole range. The sinograms
    are smoothed more the noisier they are (the gain of ``filter="wiener"`` to the eighth power), because noise moves
    the minimum. It needs no opposite projections, and averages over all of them.

    Accuracy: docs/tomography.md. Memory: the rows and projections used. A sample with rotational symmetry about the
    axis, or one that moves during the scan, has no answer.

    References
    ----------
    .. [1] T. Donath, F. Beckmann, A. Schreyer, J. Opt. Soc. Am. A 23, 1048 (2006).

    Examples
    --------
    A point that is seen at pixel 20 and, from behind, at pixel 13 turns about the pixel between:

    >>> views = np.zeros((2, 1, 32))
    >>> views[0, 0, 20], views[1, 0, 13] = 1.0, 1.0
    >>> opposite = xr.DataArray(views, dims=("angle", "detector_y", "detector_x"), coords={"angle": [0.0, 180.0]})
    >>> round(float(find_rotation_axis(opposite, method="correlation")), 2)
    16.5
    """
    where = "find_rotation_axis"
    if method not in METHODS:
        raise InputError(f"{where}: there is no method {method!r}. {nearest(str(method), METHODS)}")
    ordered = check_projections(projections, where=where)
    angles = angles_rad(ordered, where=where)
    width = ordered.sizes["detector_x"]
    low, high = (0.25 * (width - 1), 0.75 * (width - 1)) if search is None else (float(search[0]), float(search[1]))
    if not 0 <= low < high <= width - 1:
        raise InputError(
            f"{where}: search must be two increasing positions on the detector of {width} pixels, got {search}."
        )
    lines = line_integrals(ordered, flat=flat, dark=dark, where=where)
    if method == "auto":
        method = "correlation" if _opposite(angles) else "entropy"
    if method == "correlation":
        position, sigma = _by_correlation(lines, ordered.shape, angles, low, high)
    else:
        position, sigma = _by_entropy(lines, ordered.shape, angles, low, high)
    return xr.DataArray(
        position,
        coords={"sigma": ((), sigma, {"units": "px"})},
        name="rotation_axis",
        attrs={
            "units": "px",
            "long_name": "Rotation axis along detector_x",
            "method": method,
            "provenance": record("operando.tomography.find_rotation_axis", {"method": method, "search": search}),
        },
    )


def line_integrals(
    projections: xr.DataArray, *, flat: xr.DataArray | None, dark: xr.DataArray | None, where: str
) -> Callable[..., np.ndarray]:
    """Return a function that reads line integrals of some rows (and some angles), with holes filled."""
    data: Any = projections.data
    correction = None
    if flat is not None:
        correction = beam_correction(projections, flat=flat, dark=dark, flat_after=None, where=where)

    def read(rows: np.ndarray, angles: np.ndarray | None = None) -> np.ndarray:
        source = data if angles is None else data[angles]
        part = read_rows(source, rows)
        if correction is None:
            values = part.astype(np.float32)
        else:
            used = np.arange(projections.sizes["angle"]) if angles is None else angles
            values = minus_log(xr.DataArray(correction.apply(part, used, rows, slice(None)))).values
        fill_missing(values)
        return np.nan_to_num(values, copy=False)

    return read


def spread_rows(total: int, count: int) -> np.ndarray:
    """Up to ``count`` detector rows, spread evenly over the inner part of all."""
    if total <= count:
        return np.arange(total)
    return np.unique(np.round((np.arange(count) + 0.5) * total / count - 0.5).astype(int))


def _by_correlation(
    read: Callable[..., np.ndarray], shape: tuple[int, ...], angles: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    from scipy.ndimage import gaussian_filter1d

    rows = spread_rows(shape[1], _CORRELATION_ROWS)
    pairs = _opposite(angles)
    if not pairs:
        raise InputError(
            "find_rotation_axis: 'correlation' needs two projections half a turn apart to within two steps, got none "
            f"in {angles.size} projections over {np.rad2deg(np.ptp(angles)):.4g} degrees. Use method='entropy'."
        )
    used = np.unique(np.concatenate([index for pair in pairs for index, _ in pair]))
    lines = read(rows, used)
    position = {int(index): at for at, index in enumerate(used)}
    sides: list[list[np.ndarray]] = [[], []]
    for pair in pairs:
        for side, (index, share) in zip(sides, pair, strict=True):
            views = np.stack([lines[position[int(i)]] for i in index])
            side.append(np.tensordot(share, views, axes=1))
    # Interpolating noise smooths it, most at half a pixel; noise that is smooth already draws nothing there.
    front = gaussian_filter1d(np.concatenate(sides[0]), 1.0, axis=-1)
    back = gaussian_filter1d(np.concatenate(sides[1])[:, ::-1], 1.0, axis=-1)
    width = shape[2]
    shifts = np.arange(int(np.ceil(2 * low - (width - 1))), int(np.floor(2 * high - (width - 1))) + 1)
    scores = np.array([_similarity(front, back, int(shift)) for shift in shifts])
    if not np.isfinite(scores).any() or np.nanmax(scores) <= 0:
        raise InputError(
            "find_rotation_axis: opposite projections must resemble each other, got no correlation above 0. "
            "Check the angles and the flat field, or pass another range to search."
        )
    best = int(np.nanargmax(scores))
    if best in (0, shifts.size - 1) and shifts.size > 1:
        raise InputError(_at_the_end((width - 1 + shifts[best]) / 2, low, high))
    shift = _finest(front, back, int(shifts[best]))
    groups = np.array_split(np.arange(rows.size), min(8, rows.size))
    sigma = np.nan
    if len(groups) >= 3:
        block = np.arange(len(pairs))[:, None] * rows.size
        single = [_finest(front[(block + g).ravel()], back[(block + g).ravel()], int(shifts[best])) for g in groups]
        sigma = 0.5 * float(np.std(single, ddof=1)) / np.sqrt(len(groups))
    return (width - 1 + shift) / 2, sigma


def _opposite(angles: np.ndarray) -> list[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Pairs of (indices, shares) whose weighted projections show the sample from two opposite sides, if any."""
    order = np.argsort(angles)
    ahead = angles[order]
    behind = ahead - np.pi
    at = np.clip(np.searchsorted(behind, ahead), 1, max(1, behind.size - 1))
    neighbors = np.stack([behind[at - 1], behind[np.minimum(at, behind.size - 1)]])
    gaps = np.abs(neighbors - ahead)
    gap, choice = gaps.min(axis=0), gaps.argmin(axis=0)
    step = float(np.median(np.diff(ahead))) if ahead.size > 1 else 0.0
    closest = float(gap.min())
    if ahead.size < 2 or closest > min(max(2.0 * step, _NEAR), _LARGEST_MISS):
        return []
    good = np.flatnonzero(gap <= closest + 0.1 * step)
    good = good[np.unique(np.round(np.linspace(0, good.size - 1, _PAIRS)).astype(int))]
    pairs = []
    for i in good:
        middle = 0.5 * (ahead[i] + neighbors[choice[i], i])
        pairs.append((_at(ahead, order, middle), _at(behind, order, middle)))
    return pairs


def _at(angles: np.ndarray, order: np.ndarray, target: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices and shares that inter- or extrapolate projections at sorted ``angles`` to ``target``."""
    two = np.argsort(np.abs(angles - target), kind="stable")[:2]
    first, second = angles[two[0]], angles[two[-1]]
    if abs(first - target) < 1e-6 or first == second:
        return order[two[:1]], np.ones(1)
    share = (target - first) / (second - first)
    return order[two], np.array([1.0 - share, share])


def _similarity(front: np.ndarray, back: np.ndarray, shift: int) -> float:
    """Normalized correlation of ``front(x)`` and ``back(x - shift)`` where both are seen."""
    width = front.shape[-1]
    a = front[:, max(0, shift) : width + min(0, shift)]
    b = back[:, max(0, -shift) : width + min(0, -shift)]
    return _correlation(a, b)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    norm = float(np.sqrt(np.sum(a * a, dtype=np.float64) * np.sum(b * b, dtype=np.float64)))
    return float(np.sum(a * b, dtype=np.float64)) / norm if norm > 0 else -1.0


def _finest(front: np.ndarray, back: np.ndarray, whole: int) -> float:
    """Shift with the best correlation within one pixel of ``whole``."""
    from scipy.ndimage import spline_filter1d
    from scipy.optimize import minimize_scalar

    width = front.shape[-1]
    # Two pixels less than both show, for the spline.
    low, high = max(0, whole) + 2, width + min(0, whole) - 2
    coefficients = spline_filter1d(np.asarray(back, dtype=np.float64), order=3, axis=-1, mode="mirror")

    def cost(shift: float) -> float:
        at = low - shift
        first = int(np.floor(at))
        return -_correlation(front[:, low:high], _cubic(coefficients, first, at - first, high - low))

    found = minimize_scalar(cost, bounds=(whole - 1.0, whole + 1.0), method="bounded", options={"xatol": 1e-4})
    return float(found.x)


def _cubic(coefficients: np.ndarray, first: int, share: float, count: int) -> np.ndarray:
    """Spline of ``coefficients`` at ``first + share``, ``first + share + 1``, ..."""
    t = share
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3)
    last = coefficients.shape[-1] - 1
    total = np.zeros((coefficients.shape[0], count))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        columns = np.clip(np.arange(first + offset, first + offset + count), 0, last)
        total += weight / 6.0 * coefficients[:, columns]
    return total


def _by_entropy(
    read: Callable[..., np.ndarray], shape: tuple[int, ...], angles: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    gap = angle_weights(angles)[1]
    if angles.size < 8 or gap > _LARGEST_GAP:
        raise InputError(
            "find_rotation_axis: 'entropy' needs at least 8 projections and no gap above 45 degrees in a half turn, "
            f"got {angles.size} and a gap of {np.rad2deg(gap):.3g}. Use method='correlation', or give the axis itself."
        )
    lines = read(spread_rows(shape[1], _ENTROPY_ROWS))
    spans = np.ptp(lines, axis=(0, 2))
    if not spans.max() > 0:
        raise InputError("find_rotation_axis: the projections must show something, got the same value everywhere.")
    lines = np.ascontiguousarray(lines[:, spans > 0.1 * spans.max()])
    starts: list[float | None] = [None]
    with suppress(InputError):
        starts.insert(0, _by_correlation(read, shape, angles, low, high)[0])
    for start in starts:
        best = _sharpest(lines, angles, low, high) if start is None else start
        few = slice(None, None, max(1, angles.size // _MOST_ANGLES))
        candidates = best + np.arange(-2.5, 2.6, 0.25)
        values = _costs(lines[few], angles[few], candidates, final=True)
        best = float(candidates[int(np.argmin(values.mean(axis=1)))])
        if candidates[0] < best < candidates[-1]:
            break
    if not low - 0.5 <= best <= high + 0.5 or best in (candidates[0], candidates[-1]):
        raise InputError(_at_the_end(best, low, high))
    single = np.array([_minimum(candidates, values[:, row], best) for row in range(values.shape[1])])
    position = _minimum(candidates, values.mean(axis=1), best)
    sigma = float(np.std(single, ddof=1) / np.sqrt(single.size)) if single.size >= 3 else np.nan
    return position, sigma


def _sharpest(lines: np.ndarray, angles: np.ndarray, low: float, high: float) -> float:
    """Position of the sharpest slices in a range, to about a pixel: from binned projections to whole ones."""
    factor = 1
    while lines.shape[-1] // (2 * factor) >= _COARSE:
        factor *= 2
    candidates = np.arange(low, high + 0.5 * factor, 0.5 * factor)
    few = slice(None, None, max(1, angles.size // _COARSE_ANGLES))
    while True:
        # The binned pixel k covers factor pixels, the first of them factor * k.
        positions = (candidates - 0.5 * (factor - 1)) / factor
        values = _costs(_binned(lines[few], factor), angles[few], positions, final=False)
        best = float(candidates[int(np.argmin(values.mean(axis=1)))])
        if factor == 1:
            return best
        factor //= 2
        candidates = best + factor * np.arange(-3, 3.1, 0.5)


def _binned(lines: np.ndarray, factor: int) -> np.ndarray:
    width = lines.shape[-1] // factor * factor
    return np.ascontiguousarray(lines[..., :width].reshape(*lines.shape[:2], -1, factor).mean(axis=-1))


def _costs(lines: np.ndarray, angles: np.ndarray, positions: np.ndarray, *, final: bool) -> np.ndarray:
    """What is least for the sharpest slice, (position, row): its entropy, or far from the axis less its mean slope.

    Far from the axis a slice is a blur, of which the few gray values have a low entropy too.
    """
    from operando.tomography.kernels import back_project

    width = lines.shape[-1]
    weights = angle_weights(angles)[0]
    gain = response("wiener", length := padded_length(width), wiener=wiener_gain(lines) ** 8)
    reach = (length - width) // 2 - 1
    fine = filtered(
        lines * weights[:, None, None].astype(np.float32), gain, length, reach=reach, upsampling=_UPSAMPLING
    )
    points = np.linspace(-0.5, 0.5, min(width, _POINTS)) * (width - 1)
    radius = 0.46 * width
    if final:
        # Farther out not every projection shows a sample that is wider than the field of view.
        radius = min(radius, max(0.95 * min(positions[0], width - 1 - positions[-1]), 0.2 * width))
    inside = np.hypot(points[:, None], points[None, :]) < radius
    result = np.empty((positions.size, lines.shape[1]))
    ends: np.ndarray | None = None
    # From the middle, which sets the range of gray values for all.
    for number in np.argsort(np.abs(np.arange(positions.size) - positions.size // 2)):
        image = np.zeros((points.size, points.size, lines.shape[1]), dtype=np.float32)
        back_project(fine, angles, (positions[number] + reach) * _UPSAMPLING, float(_UPSAMPLING), points, points, image)
        values = image[inside]
        if not final:
            steps = np.diff(image, axis=0)[:, :-1] ** 2 + np.diff(image, axis=1)[:-1] ** 2
            result[number] = -np.mean(steps[inside[:-1, :-1]], axis=0)
            continue
        if ends is None:
            ends = np.percentile(values, [0.2, 99.8], axis=0)
        result[number] = [_entropy(values[:, row], *ends[:, row]) for row in range(values.shape[1])]
    return result


def _entropy(values: np.ndarray, low: float, high: float) -> float:
    """Entropy of the gray values, from a histogram that changes smoothly with them."""
    from scipy.ndimage import gaussian_filter1d

    place = np.clip((values - low) / max(high - low, 1e-30), 0.0, 1.0) * (_BINS - 2)
    bin_ = place.astype(np.intp)
    share = place - bin_
    histogram = np.bincount(bin_, 1.0 - share, _BINS) + np.bincount(bin_ + 1, share, _BINS)
    smooth = gaussian_filter1d(histogram, 2.0, mode="constant")
    p = smooth[smooth > 0] / smooth.sum()
    return float(-np.sum(p * np.log(p)))


def _minimum(positions: np.ndarray, values: np.ndarray, best: float) -> float:
    """Minimum of a quartic through the values within two pixels of ``best``."""
    from scipy.ndimage import gaussian_filter1d

    near = np.abs(positions - best) <= 1.0
    center = float(positions[near][np.argmin(gaussian_filter1d(values, 1.0)[near])])
    used = np.abs(positions - center) <= 2.0 + 1e-6
    fit = np.polynomial.Polynomial.fit(positions[used] - center, values[used], 4)
    fine = np.linspace(-0.5, 0.5, 1001)
    return center + float(fine[np.argmin(fit(fine))])


def _at_the_end(best: float, low: float, high: float) -> str:
    return (
        f"find_rotation_axis: the axis must lie inside of the range {low:g} to {high:g} px, got a best position of "
        f"{best:g} at its end. Pass a wider range with search=(low, high)."
    )
