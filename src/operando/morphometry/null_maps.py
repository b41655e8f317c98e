"""Random maps without spots, drawn like a map that is to be judged, and local means of either."""

from __future__ import annotations

import numpy as np

from operando.morphometry.correlation import autocovariance

_WINSOR = 3.0


def robust_scale(values: np.ndarray) -> tuple[float, float]:
    """Median, and the standard deviation that the median deviation from it stands for."""
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle, spread if spread > 0 else float(values.std()) or 1.0


def disc_mean(values: np.ndarray, known: np.ndarray, pixel: tuple[float, float], radius: float) -> np.ndarray:
    """Mean over the known pixels whose centers lie within the radius."""
    from scipy.signal import fftconvolve

    reach = [int(radius / edge) for edge in pixel]
    y, x = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    disc = ((y * pixel[0]) ** 2 + (x * pixel[1]) ** 2 <= radius**2 * (1 + 1e-9)).astype(float)
    middle = float(values[known].mean())
    total = fftconvolve(np.where(known, values - middle, 0.0), disc, mode="same")
    count = fftconvolve(known.astype(float), disc, mode="same")
    return np.asarray(middle + total / np.maximum(count, 0.5))


def coarse_map(values: np.ndarray, known: np.ndarray, block: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Block means of the known pixels, and which blocks are known to more than half."""
    rows, columns = (-(-n // b) for n, b in zip(values.shape, block, strict=True))
    padding = [(0, rows * block[0] - values.shape[0]), (0, columns * block[1] - values.shape[1])]

    def sums(array: np.ndarray) -> np.ndarray:
        padded = np.pad(np.where(known, array, 0.0), padding)
        return np.asarray(padded.reshape(rows, block[0], columns, block[1]).sum(axis=(1, 3)))

    count = sums(np.ones(values.shape))
    return sums(values) / np.maximum(count, 1), count > 0.5 * block[0] * block[1]


def pixels_of_blocks(values: np.ndarray, block: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of a coarse map, each as large as its block; unknown blocks take the mean."""
    filled = np.where(np.isfinite(values), values, np.nanmean(values))
    return filled.repeat(block[0], axis=0).repeat(block[1], axis=1)[: shape[0], : shape[1]]


class FieldDraws:
    """Gaussian fields with the autocovariance of a map, drawn on a plane half as large again and cut."""

    def __init__(self, values: np.ndarray, known: np.ndarray, random: np.random.Generator) -> None:
        from scipy import fft

        middle, spread = robust_scale(values[known])
        drawn_in = np.clip(values, middle - _WINSOR * spread, middle + _WINSOR * spread)
        covariance = autocovariance(drawn_in, known)
        self._shape, self._random = values.shape, random
        size = [fft.next_fast_len(int(np.ceil(1.5 * n)) + 1) for n in values.shape]
        far = [int(np.abs(lag).max(initial=0)) for lag in covariance.lags]
        # The longest lags rest on few pairs: a cosine takes the outer half of them out.
        taper = [
            0.5 + 0.5 * np.cos(np.pi * np.clip(2 * np.abs(lag) / (f + 1) - 1, 0, 1))
            for lag, f in zip(covariance.lags, far, strict=True)
        ]
        plane = np.zeros(size)
        plane[np.ix_(covariance.lags[0], covariance.lags[1])] = covariance.values * taper[0][:, None] * taper[1][None]
        self._root = np.sqrt(np.maximum(fft.fft2(plane).real, 0))
        self._next: np.ndarray | None = None

    def __call__(self) -> np.ndarray:
        """One more map."""
        from scipy import fft

        if self._next is not None:
            made, self._next = self._next, None
            return made
        size = self._root.shape
        white = self._random.standard_normal(size) + 1j * self._random.standard_normal(size)
        # Real and imaginary part are two independent fields.
        both = fft.fft2(self._root * white) / np.sqrt(self._root.size)
        both = both[: self._shape[0], : self._shape[1]]
        self._next = np.ascontiguousarray(both.imag)
        return np.ascontiguousarray(both.real)


class NoiseDraws:
    """Errors of block means: independent, or alike over the length of the filter that the map has gone through."""

    def __init__(
        self,
        error: np.ndarray,
        known: np.ndarray,
        block: tuple[int, ...],
        length: tuple[float, float],
        random: np.random.Generator,
    ) -> None:
        self._error, self._length, self._random = np.where(known, error, 0.0), length, random
        # Variance of the mean of a block of pixels whose errors a Gaussian filter has correlated, axis by axis.
        share = 1.0
        for b, s in zip(block, length, strict=True):
            lags = np.abs(np.subtract.outer(np.arange(b), np.arange(b)))
            share *= float(np.exp(-(lags**2) / (4 * (s * b) ** 2)).mean()) if s > 0 else 1 / b
        self._share = np.sqrt(share)

    def __call__(self) -> np.ndarray:
        """One more map."""
        from scipy.ndimage import gaussian_filter

        white = self._random.standard_normal(self._error.shape)
        if max(self._length) > 0:
            white = gaussian_filter(white, self._length, mode="wrap")
            white /= white.std()
        return np.asarray(white * self._error * self._share)
