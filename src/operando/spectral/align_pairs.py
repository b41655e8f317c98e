"""Shifts between pairs of images of a stack, and the one shift per image on which all pairs agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_LAGS = (1, 2, 3, 5, 8, 13, 21, 34)
_SIMILAR = 0.6  # correlation that noise does not reach
# Gaussians (px) whose difference images are compared in, and the least error: what is coarse moves with the contrast.
_BANDS = ((0.7, 2.0, 0.0), (2.0, 6.0, 0.3))
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
    fine, coarse = (_Band(images, *sizes, most) for sizes in _BANDS)
    pairs, shifts, sigmas = _registered(fine, coarse)
    agreed = _solved(pairs, shifts, sigmas, len(images))
    return _found_again(agreed, (fine, coarse)) if agreed.linked.any() else agreed


class _Band:
    """Spectra of the windowed images within a band, and the peaks of their correlations."""

    def __init__(self, images: np.ndarray, blur: float, detail: float, least: float, most: tuple[float, float]) -> None:
        from scipy import fft
        from scipy.ndimage import gaussian_filter

        window = np.sqrt(np.outer(*(np.hanning(size + 2)[1:-1] for size in images.shape[1:]))).astype(np.float32)
        self.size = [fft.next_fast_len(n, real=True) for n in images.shape[1:]]
        self.least_sigma = least
        spectra = []
        for image in images:
            kept = gaussian_filter(image, blur) - gaussian_filter(image, detail)
            kept = (kept - np.average(kept, weights=window)) * window
            power = np.sqrt(np.sum(kept**2))
            spectra.append(fft.rfft2(kept / power if power > 0 else kept, self.size))
        self.spectra = np.array(spectra)
        self.lags = [fft.fftfreq(n, 1 / n) for n in self.size]
        self.within = [np.flatnonzero(np.abs(lags) <= far) for lags, far in zip(self.lags, most, strict=True)]
        self.stands_out = _STANDS_OUT + np.sqrt(2 * np.log(self.within[0].size * self.within[1].size))

    def common(self, shift: np.ndarray, linked: np.ndarray) -> np.ndarray:
        """Spectrum of the strongest component of the linked images, moved back."""
        turns = [np.fft.fftfreq(self.size[0])[:, None], np.fft.rfftfreq(self.size[1])[None, :]]
        back = np.array(
            [
                one * np.exp(2j * np.pi * (turns[0] * along[0] + turns[1] * along[1]))
                for one, along in zip(self.spectra[linked], shift[linked], strict=True)
            ]
        ).astype(self.spectra.dtype)
        flat = back.reshape(len(back), -1)
        shares = np.linalg.eigh((flat @ flat.conj().T).real.astype(float))[1][:, -1]
        whole = np.tensordot(shares, back, 1)
        from scipy import fft

        power = np.sqrt(np.sum(fft.irfft2(whole, self.size) ** 2))
        return np.asarray(whole / max(float(power), 1e-30))

    def peak(self, first: np.ndarray, second: np.ndarray) -> tuple[tuple[float, float], float] | None:
        """Shift between two spectra and its standard error, None where chance could be as large."""
        from scipy import fft

        both = fft.irfft2(np.conj(first) * second, self.size)
        size = np.abs(both[np.ix_(*self.within)])
        row, column = np.unravel_index(int(np.argmax(size)), size.shape)
        at = int(self.within[0][row]), int(self.within[1][column])
        top, spread = float(both[at]), 1.4826 * float(np.median(size))
        # In a smooth image every lag is similar to its neighbors, and the median is not what chance gives.
        if not (abs(top) > self.stands_out * spread or abs(top) > _SIMILAR):
            return None
        (dy, bend_y), (dx, bend_x) = (_vertex(np.roll(np.take(both, at[1 - k], 1 - k), 1 - at[k])[:3]) for k in (0, 1))
        bend = min(bend_y, bend_x)
        if not bend > 0:
            return None
        # Of the top of a peak of that curvature on a background that varies as much and as fast.
        sigma = float(np.hypot(spread / abs(top) / np.sqrt(bend), self.least_sigma))
        return (float(self.lags[0][at[0]]) + dy, float(self.lags[1][at[1]]) + dx), sigma


def _registered(fine: _Band, coarse: _Band) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs: list[tuple[int, int]] = []
    shifts: list[tuple[float, float]] = []
    sigmas: list[float] = []
    count = len(fine.spectra)
    for lag in _LAGS:
        for first in range(count - lag):
            for band in (fine, coarse):
                found = band.peak(band.spectra[first], band.spectra[first + lag])
                if found is not None:
                    pairs.append((first, first + lag))
                    shifts.append(found[0])
                    sigmas.append(found[1])
                    break
    return np.array(pairs).reshape(-1, 2), np.array(shifts).reshape(-1, 2), np.array(sigmas)


def _found_again(agreed: Agreement, bands: tuple[_Band, _Band]) -> Agreement:
    """Images that no pair links, each compared with what the linked ones have in common."""
    shift, variance, linked = agreed.shift.copy(), agreed.variance.copy(), agreed.linked.copy()
    for band in bands:
        if linked.all():
            break
        template = band.common(agreed.shift, agreed.linked)
        for k in np.flatnonzero(~linked):
            found = band.peak(template, band.spectra[k])
            if found is not None:
                shift[k], variance[k], linked[k] = found[0], found[1] ** 2, True
    return Agreement(shift, variance, linked, agreed.groups)


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
