"""Shifts between pairs of images of a stack, and the one shift per image on which all pairs agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_LAGS = (1, 2, 3, 5, 8, 13, 21, 34)
_BLUR, _DETAIL = 0.7, 2.0  # px, of the Gaussians whose difference the images are compared in
_STANDS_OUT = 2.0  # robust standard deviations above the largest value that chance gives
_ROUNDS = 30
_OUTLYING = 2.0  # spreads from which the disagreement of a pair takes its weight
_LEAST_SPREAD = 0.02  # px


@dataclass(frozen=True)
class Agreement:
    """One shift per image, (image, 2) in pixels with mean 0, its variance, and which images are linked by pairs."""

    shift: np.ndarray
    variance: np.ndarray
    linked: np.ndarray
    groups: int


def agree(images: np.ndarray, most: tuple[float, float]) -> Agreement:
    """Register pairs of images and solve for the shift of each by robust least squares.

    Each image is compared with those 1, 2, 3, 5, ... energies on, in a band of spatial frequencies in which structure
    is where edges are: what differs in gray value between two energies then hardly moves the peak of the correlation.
    Its sign is free, since contrast turns over at a resonance. A pair counts where its peak stands out.
    """
    pairs, shifts, sigmas = _registered(_band(images), most)
    return _solved(pairs, shifts, sigmas, len(images))


def _band(images: np.ndarray) -> np.ndarray:
    """Spectra of the windowed images within the band."""
    from scipy import fft
    from scipy.ndimage import gaussian_filter

    window = np.sqrt(np.outer(*(np.hanning(size + 2)[1:-1] for size in images.shape[1:]))).astype(np.float32)
    size = [fft.next_fast_len(n, real=True) for n in images.shape[1:]]
    spectra = []
    for image in images:
        detail = gaussian_filter(image, _BLUR) - gaussian_filter(image, _DETAIL)
        detail = (detail - np.average(detail, weights=window)) * window
        power = np.sqrt(np.sum(detail**2))
        spectra.append(fft.rfft2(detail / power if power > 0 else detail, size))
    return np.array(spectra)


def _registered(spectra: np.ndarray, most: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy import fft

    count, rows = spectra.shape[:2]
    columns = 2 * (spectra.shape[2] - 1)
    pairs: list[tuple[int, int]] = []
    shifts: list[tuple[float, float]] = []
    sigmas: list[float] = []
    lags_y, lags_x = (fft.fftfreq(n, 1 / n) for n in (rows, columns))
    rows_in, columns_in = (
        np.flatnonzero(np.abs(lags) <= far) for lags, far in zip((lags_y, lags_x), most, strict=True)
    )
    within = np.ix_(rows_in, columns_in)
    least = _STANDS_OUT + np.sqrt(2 * np.log(rows_in.size * columns_in.size))
    for lag in _LAGS:
        for first in range(count - lag):
            second = first + lag
            both = fft.irfft2(np.conj(spectra[first]) * spectra[second], (rows, columns))
            size = np.abs(both[within])
            row, column = np.unravel_index(int(np.argmax(size)), size.shape)
            at = int(rows_in[row]), int(columns_in[column])
            peak, spread = float(both[at]), 1.4826 * float(np.median(size))
            if not (abs(peak) > least * spread or abs(peak) > 0.6):
                continue
            (dy, bend_y), (dx, bend_x) = (
                _vertex(np.roll(np.take(both, at[1 - k], 1 - k), 1 - at[k])[:3]) for k in (0, 1)
            )
            bend = min(bend_y, bend_x)
            if not bend > 0:
                continue
            pairs.append((first, second))
            shifts.append((float(lags_y[at[0]]) + dy, float(lags_x[at[1]]) + dx))
            # Of the top of a peak of that curvature on a background that varies as much and as fast.
            sigmas.append(spread / abs(peak) / np.sqrt(bend))
    return np.array(pairs).reshape(-1, 2), np.array(shifts).reshape(-1, 2), np.array(sigmas)


def _vertex(values: np.ndarray) -> tuple[float, float]:
    """Top of the parabola through three values around a peak, and its curvature relative to the peak."""
    before, top, after = values if values[1] > 0 else -values
    bend = 2 * top - before - after
    return (0.5 * (after - before) / bend, bend / top) if bend > 0 else (0.0, 0.0)


def _solved(pairs: np.ndarray, shifts: np.ndarray, sigmas: np.ndarray, count: int) -> Agreement:
    """Shifts with mean 0 in each group of linked images, unlinked ones between their neighbors in energy."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups, member = connected_components(
        coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count)), directed=False
    )
    sizes = np.bincount(member)
    main = int(np.argmax(sizes))
    linked = (member == main) if sizes[main] > 1 else np.zeros(count, dtype=bool)
    kept = linked[pairs[:, 0]] if len(pairs) else np.zeros(0, dtype=bool)
    result, variance = np.zeros((count, 2)), np.full((count, 2), np.inf)
    if linked.any():
        own = np.flatnonzero(linked)
        place = np.full(count, -1)
        place[own] = np.arange(own.size)
        found, spread = _least_squares(place[pairs[kept]], shifts[kept], sigmas[kept], own.size)
        result[own], variance[own] = found, spread
        for axis in (0, 1):
            result[~linked, axis] = np.interp(np.flatnonzero(~linked), own, found[:, axis])
    return Agreement(result, variance, linked, int(groups))


def _least_squares(
    pairs: np.ndarray, shifts: np.ndarray, sigmas: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    first, second = pairs.T
    weights = 1 / sigmas**2
    trust = np.ones(len(pairs))
    inverse: Any = None
    found = np.zeros((count, 2))
    for _ in range(_ROUNDS):
        each = weights * trust
        normal = np.zeros((count, count))
        np.add.at(normal, (first, first), each)
        np.add.at(normal, (second, second), each)
        np.add.at(normal, (first, second), -each)
        np.add.at(normal, (second, first), -each)
        inverse = np.linalg.pinv(normal, hermitian=True)
        side = np.zeros((count, 2))
        np.add.at(side, second, each[:, None] * shifts)
        np.add.at(side, first, -each[:, None] * shifts)
        before, found = found, inverse @ side
        away = np.linalg.norm(shifts - (found[second] - found[first]), axis=1)
        limit = _OUTLYING * max(1.4826 * float(np.median(away)), _LEAST_SPREAD)
        trust = 1 / (1 + (away / limit) ** 2) ** 2
        if np.abs(found - before).max() < 1e-3:
            break
    each = weights * trust
    excess = float(np.sum(each * away**2) / max(2 * (len(pairs) - count), 1))
    # All pairs of an image share its noise, which therefore does not average out over them.
    shared = len(pairs) / count
    variance = np.diag(inverse) * max(excess, 1.0) * max(shared, 1.0)
    return found, np.repeat(variance[:, None], 2, axis=1)
