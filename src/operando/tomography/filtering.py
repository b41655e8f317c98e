"""The ramp filter of filtered back projection, its windows, and the one that is made from the noise."""

from __future__ import annotations

import numpy as np

from operando.core.errors import InputError, nearest

WINDOWS = ("wiener", "ramp", "shepp-logan", "cosine", "hamming", "hann")
"""Names that ``filter`` understands."""
_EDGE = 4


def padded_length(width: int) -> int:
    """Length that keeps the two ends of a filtered projection apart."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(2 * width + 64, real=True))


def pad(sinograms: np.ndarray, length: int, *, axis: float | None = None) -> tuple[np.ndarray, int]:
    """Extend sinograms along their last axis to ``length``; return them and how many samples stand in front.

    Parameters
    ----------
    sinograms : ndarray, shape (angle, row, detector_x)
    length : int
    axis : float, optional
        Rotation axis in pixels; default the middle.

    Notes
    -----
    Each side goes on from the mean of its outermost pixels and falls to zero as the shadow of a cylinder does [1]_,
    whose radius comes from how the squared projections fall towards that side, one for each row. Where the sample ends
    inside of the field of view all of that is zero; where it does not, it keeps the edge from lighting up.

    References
    ----------
    .. [1] J. Hsieh et al., Med. Phys. 31, 2385 (2004).
    """
    width = sinograms.shape[-1]
    axis = 0.5 * (width - 1) if axis is None else axis
    before = (length - width) // 2
    out = np.zeros((*sinograms.shape[:-1], length), dtype=np.float32)
    out[..., before : before + width] = sinograms
    squared = np.mean(sinograms.astype(np.float64) ** 2, axis=0)
    _go_on(out[..., before - 1 :: -1], sinograms[..., ::-1], squared[..., ::-1], width - 1 - axis)
    _go_on(out[..., before + width :], sinograms, squared, axis)
    return out, before


def _go_on(outside: np.ndarray, sinograms: np.ndarray, squared: np.ndarray, axis: float) -> None:
    """Fill ``outside`` (angle, row, sample) with what follows the last pixels of ``sinograms``."""
    width = sinograms.shape[-1]
    edge = min(_EDGE, width)
    last = sinograms[..., -edge:].mean(axis=-1)
    used = max(edge, width // 8)
    s = np.arange(width - used, width) - axis
    end = width - 1 - axis
    beyond = end + 1.0 + np.arange(outside.shape[-1])
    longest = end + outside.shape[-1]
    for row in range(squared.shape[0]):
        slope, level = np.polyfit(s**2, squared[row, -used:], 1) if np.ptp(s**2) > 0 else (0.0, 0.0)
        radius = np.sqrt(level / -slope) if slope < 0 < level else longest
        radius = float(np.clip(radius, end + 2.0, longest))
        fall = np.sqrt(np.clip(radius**2 - beyond**2, 0.0, None) / (radius**2 - end**2))
        outside[:, row] = last[:, row, None] * fall.astype(np.float32)


def response(name: str, length: int, *, wiener: np.ndarray | None = None) -> np.ndarray:
    """Ramp filter times a window, for the frequencies of a real transform of ``length`` samples.

    Parameters
    ----------
    name : str
        One of :data:`WINDOWS`.
    length : int
        Samples of the padded projection.
    wiener : ndarray, optional
        Gain between 0 and 1 over frequencies from 0 to one half per pixel, for the name ``wiener``.

    Returns
    -------
    ndarray of float32, shape (length // 2 + 1,)

    Notes
    -----
    The ramp is the transform of the band-limited kernel (Kak and Slaney 1988, eq. 3.61): 1/4 at 0, -1/(pi n)^2 at odd
    n. Sampling \\|f\\| instead would take a little from the mean of every slice.

    Examples
    --------
    >>> bool(response("ramp", 512)[256].round(3) == 0.5)
    True
    """
    known_window(name)
    n = np.minimum(np.arange(length), length - np.arange(length))
    kernel = np.zeros(length)
    kernel[0] = 0.25
    odd = n % 2 == 1
    kernel[odd] = -1.0 / (np.pi * n[odd]) ** 2
    ramp = np.fft.rfft(kernel).real
    f = np.arange(ramp.size) / length
    window = {
        "ramp": np.ones_like(f),
        "shepp-logan": np.sinc(f),
        "cosine": np.cos(np.pi * f),
        "hamming": 0.54 + 0.46 * np.cos(2 * np.pi * f),
        "hann": 0.5 + 0.5 * np.cos(2 * np.pi * f),
    }.get(name)
    if window is None:
        assert wiener is not None
        window = np.interp(f, np.linspace(0.0, 0.5, wiener.size), wiener)
    return np.asarray(ramp * window, dtype=np.float32)


def known_window(name: str) -> None:
    """Raise :class:`InputError` unless there is a window of that name."""
    if name not in WINDOWS:
        raise InputError(f"reconstruct: there is no filter {name!r}. {nearest(str(name), WINDOWS)}")


def wiener_gain(sinograms: np.ndarray) -> np.ndarray:
    """Share of signal in the power of the projections, frequency by frequency.

    Parameters
    ----------
    sinograms : ndarray, shape (angle, row, detector_x)
        Line integrals of a few detector rows, angles in order.

    Returns
    -------
    ndarray, shape (frequency,)
        Gain between 0 and 1 from frequency 0 to one half per pixel.

    Notes
    -----
    .. math:: W(f) = \\frac{S(f)}{S(f) + (\\pi n f / K) N}, \\quad S = \\max(0, P - N)

    with the mean power P of all K projections of n pixels and white noise N: the smaller of two estimates that signal
    can only raise, the power in the highest tenth of the frequencies and that of second differences along both angle
    and detector. By the slice theorem it is the gain with the least mean square error in the slice for white noise.
    """
    from scipy.ndimage import gaussian_filter1d

    width = sinograms.shape[-1]
    # Padded, because a taper would take the edges of a wide sample for noise.
    padded, _ = pad(sinograms, padded_length(width))
    power = (np.abs(np.fft.rfft(padded, axis=-1)) ** 2).mean(axis=(0, 1)) / width
    floor = float(np.median(power[int(0.9 * power.size) :]))
    if sinograms.shape[0] >= 3 and width >= 3:
        mixed = np.diff(sinograms, n=2, axis=0)
        mixed = mixed[..., :-2] - 2 * mixed[..., 1:-1] + mixed[..., 2:]
        # Differences of white noise have 36 times its variance.
        floor = min(floor, float(np.mean(mixed.astype(np.float64) ** 2)) / 36.0)
    smooth = np.exp(gaussian_filter1d(np.log(np.maximum(power, 1e-30)), 1.5, mode="nearest"))
    signal = np.maximum(smooth - floor, 0.0)
    # Projections that overlap at low frequencies average their noise there.
    share = np.pi * width / sinograms.shape[0] * np.linspace(0.0, 0.5, smooth.size)
    return signal / np.maximum(signal + share * floor, 1e-30)


def filtered(
    sinograms: np.ndarray, gain: np.ndarray, length: int, *, reach: int, upsampling: int, axis: float | None = None
) -> np.ndarray:
    """Filter sinograms and sample them more finely.

    Parameters
    ----------
    sinograms : ndarray, shape (angle, row, detector_x)
    gain : ndarray, shape (length // 2 + 1,)
        From :func:`response`.
    length : int
        Samples after padding.
    reach : int
        Pixels to keep on each side of the detector.
    upsampling : int
        Samples per pixel of the result, by zero padding of the spectrum.
    axis : float, optional
        As :func:`pad`.

    Returns
    -------
    ndarray of float32, shape (angle, upsampling * (detector_x + 2 * reach), row)
        The first sample is the center of the pixel ``-reach``.
    """
    from scipy.fft import irfft, rfft

    width = sinograms.shape[-1]
    padded, before = pad(sinograms, length, axis=axis)
    spectrum = rfft(padded, axis=-1)
    spectrum *= gain
    if upsampling > 1 and length % 2 == 0:
        # Half of the highest frequency belongs to its negative, which the longer transform has too.
        spectrum[..., -1] *= 0.5
    fine = irfft(spectrum, n=length * upsampling, axis=-1)
    first = (before - reach) * upsampling
    kept = fine[..., first : first + (width + 2 * reach) * upsampling]
    return np.ascontiguousarray(np.moveaxis(kept, 1, -1) * np.float32(upsampling), dtype=np.float32)
