"""How far a map is like itself: autocorrelation, its length, and how many independent samples a map holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Lags of more than half of the field rest on few pairs, and only one and a half fields of padding are needed.
_FARTHEST = 0.5
_ENERGY = 0.999
_MODES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Autocovariance:
    """Autocovariance of one map over the lags of at most half of the field.

    ``values`` is the mean product of deviations at each lag, ``pairs`` how many pixels it rests on; both over
    a grid on which lag 0 comes first and negative lags last. ``lags`` are in pixels along either axis.
    """

    values: np.ndarray
    pairs: np.ndarray
    lags: tuple[np.ndarray, np.ndarray]

    @property
    def variance(self) -> float:
        """Of the map."""
        return float(self.values[0, 0])

    def profile(self, step: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Autocorrelation by distance, in rings as wide as the larger ``step``: distances and values."""
        width = max(step)
        distance = np.hypot(self.lags[0][:, None] * step[0], self.lags[1][None] * step[1])
        used = self.pairs > 0
        ring = np.rint(distance[used] / width).astype(int)
        # Past half of the shorter side a ring is only a part of itself.
        size = int(min(np.abs(lag).max() * edge for lag, edge in zip(self.lags, step, strict=True)) / width) + 1
        weights = self.pairs[used]
        count = np.bincount(ring, weights=weights, minlength=size)[:size]
        total = np.bincount(ring, weights=weights * self.values[used], minlength=size)[:size]
        return width * np.arange(size), total / np.maximum(count, 1) / self.variance


def autocovariance(values: np.ndarray, known: np.ndarray) -> Autocovariance:
    """Autocovariance of a map at the pixels that are known.

    Parameters
    ----------
    values : ndarray, (n, m)
        The map.
    known : ndarray of bool, (n, m)
        Pixels that count.

    Examples
    --------
    Stripes of period two along the second axis:

    >>> stripes = np.tile([1.0, -1.0], (8, 4))
    >>> found = autocovariance(stripes, np.ones(stripes.shape, bool))
    >>> found.values[0, :3].round(6).tolist()
    [1.0, -1.0, 1.0]
    """
    from scipy import fft

    far = [int(n * _FARTHEST) for n in values.shape]
    padded = [fft.next_fast_len(n + f, real=True) for n, f in zip(values.shape, far, strict=True)]
    deviation = np.where(known, values - values[known].mean(), 0.0)

    def sums(field: np.ndarray) -> np.ndarray:
        full = fft.irfft2(np.abs(fft.rfft2(field, padded)) ** 2, s=padded)
        rows, columns = (np.r_[0 : f + 1, n - f : n] for f, n in zip(far, padded, strict=True))
        return np.asarray(full[np.ix_(rows, columns)])

    pairs = np.rint(sums(known.astype(float)))
    values = sums(deviation) / np.maximum(pairs, 1)
    one, other = (np.r_[0 : f + 1, -f:0] if f else np.zeros(1, int) for f in far)
    return Autocovariance(values, pairs, (one, other))


def correlation_length(covariance: Autocovariance, step: tuple[float, float]) -> float:
    """Distance at which the autocorrelation has fallen to 1/e, in the unit of ``step``; NaN where it does not."""
    distance, profile = covariance.profile(step)
    below = np.flatnonzero(profile < np.exp(-1))
    if not below.size:
        return float("nan")
    k = int(below[0])
    share = (profile[k - 1] - np.exp(-1)) / (profile[k - 1] - profile[k])
    return float(distance[k - 1] + share * (distance[k] - distance[k - 1]))


def paired_samples(one: Autocovariance, other: Autocovariance, number: int) -> float:
    """Independent pairs that would scatter a correlation coefficient as much as two unrelated such maps do.

    Notes
    -----
    Dutilleul (1993) after Clifford, Richardson and Hemon (1989), for maps that are known at n pixels:

    .. math:: n_\\mathrm{eff} = 1 + \\frac{1}{\\mathrm{var}(r)}, \\qquad \\mathrm{var}(r) = \\frac{1}{n^2}
              \\sum_h N_h\\, \\rho_a(h)\\, \\rho_b(h)
    """
    product = (one.pairs * one.values * other.values).sum()
    variance = product / number**2 / (one.variance * other.variance)
    return float(min(number, 1 + 1 / variance)) if variance > 0 else float(number)


def effective_samples(values: np.ndarray, known: np.ndarray) -> float:
    """Independent pixels that would scatter a mean as much as those of this map do.

    Notes
    -----
    Pixels over the correlation area, the sum of the autocorrelation up to the distance at which it first falls to
    zero. At least 1; a constant map counts as one sample per pixel, since its mean is exact.

    Examples
    --------
    A checkerboard of squares of four by four pixels has about as many samples as squares:

    >>> squares = np.random.default_rng(0).normal(size=(32, 32)).repeat(4, axis=0).repeat(4, axis=1)
    >>> 0.7 < effective_samples(squares, np.ones(squares.shape, bool)) / 32**2 < 1.4
    True
    """
    number = int(known.sum())
    if number < 2 or np.ptp(values[known]) == 0:
        return float(number)
    covariance = autocovariance(values, known)
    distance, profile = covariance.profile((1.0, 1.0))
    ends = np.flatnonzero(profile <= 0)
    reach = distance[ends[0]] if ends.size else distance[-1]
    near = np.hypot(covariance.lags[0][:, None], covariance.lags[1][None]) < max(reach, 0.5)
    area = covariance.values[near & (covariance.pairs > 0)].sum() / covariance.variance
    return float(np.clip(number / max(area, 1.0), 1.0, number))


def random_phase_correlations(
    one: np.ndarray, other: np.ndarray, known: np.ndarray, *, surrogates: int, random: np.random.Generator
) -> np.ndarray:
    """Correlation of a map with random maps that have the power spectrum of the other: the spatial null model.

    Notes
    -----
    Random phases phi (Theiler 1992) leave the spectrum, thus the autocorrelation, as it is. By Parseval's theorem

    .. math:: r = \\frac{\\sum_k |A_k| |B_k| \\cos \\varphi_k}{\\sqrt{\\sum_k |A_k|^2 \\sum_k |B_k|^2}}

    so that no random map is ever made. The weakest modes, a thousandth of the variance, are one normal number.
    Edges count as periodic; pixels that are not known as the mean.

    Examples
    --------
    A wave against waves of random phase: the cosine of a random angle.

    >>> wave = np.sin(2 * np.pi * np.arange(32) / 8) * np.ones((4, 1))
    >>> r = random_phase_correlations(wave, wave, np.ones(wave.shape, bool), surrogates=4000,
    ...     random=np.random.default_rng(0))
    >>> bool(abs(r).max() <= 1.0001), bool(abs((r**2).mean() - 0.5) < 0.02)
    (True, True)
    """
    from scipy import fft

    spectra = [np.abs(fft.rfft2(np.where(known, image - image[known].mean(), 0.0))) for image in (one, other)]
    # A mode and its mirror image share one phase: each pair is taken once.
    rows, columns = one.shape
    twice = np.full(spectra[0].shape, 2.0)
    for column in {0, columns // 2} if columns % 2 == 0 else {0}:
        twice[rows // 2 + 1 :, column] = 0.0
        twice[0, column] = 1.0
        if rows % 2 == 0:
            twice[rows // 2, column] = 1.0
    power = [(twice * spectrum**2).sum() for spectrum in spectra]
    weight = (twice * spectra[0] * spectra[1] / np.sqrt(power[0] * power[1])).ravel()
    order = np.argsort(weight)[::-1]
    energy = np.cumsum(weight[order] ** 2)
    strong = order[: int(np.searchsorted(energy, _ENERGY * energy[-1])) + 1]
    rest = np.sqrt(max(energy[-1] - energy[strong.size - 1], 0) / 2)
    result = rest * random.standard_normal(surrogates)
    at_once = max(1, _MODES_AT_ONCE // strong.size)
    for start in range(0, surrogates, at_once):
        part = result[start : start + at_once]
        part += np.cos(random.uniform(0, 2 * np.pi, (part.size, strong.size))) @ weight[strong]
    return result
