"""I0, the counts without the sample: from a region, from the brightest pixels, from a file, from flat fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.core.provenance import record
from operando.spectral.match import wanted_energies
from operando.spectral.pixels import pixel_blocks
from operando.spectral.stacks import (
    ENERGY_ATTRS,
    ENERGY_TOLERANCE_EV,
    as_stack,
    energies_ev,
    one_spectrum,
    same_energies,
)

_OPEN = 0.8
_BRIGHT = 95


def i0_from_region(counts: Any, region: Any, *, label: int | None = None, dark: float = 0.0) -> xr.Dataset:
    """I0 as the mean over pixels without sample.

    Parameters
    ----------
    counts : DataArray, dims (energy, [z], [y], [x]), or array of that shape
        Counts. May be lazy.
    region : DataArray or array of bool or integers, dims as an image
        The open pixels. In a label image 0 and 255 are none of them.
    label : int, optional
        The label that is meant, where a label image has several.
    dark : float, counts
        Level that open pixels must be above.

    Returns
    -------
    Dataset
        ``i0`` and ``i0_sigma`` (energy,), units "counts"; ``region`` (bool, as an image), the pixels used. The number
        of pixels is ``attrs["pixels"]``.

    Raises
    ------
    InputError, AxesError
        Where the region is empty, does not fit, is dark, or is not open: where one pixel in twenty outside of it is
        brighter by more than a quarter.

    Notes
    -----
    The standard error is the scatter over the region divided by the square root of the number of pixels, energy by
    energy. It holds counting noise and uneven illumination alike; in a stack that was resampled neighbors share noise,
    and the error is too small by up to a factor of two.

    Reads the stack twice, block by block.

    Examples
    --------
    >>> counts = xr.DataArray([[[99.0, 101.0, 20.0]]], dims=("energy", "y", "x"), coords={"energy": [700.0]})
    >>> found = i0_from_region(counts, [[True, True, False]])
    >>> found.i0.item(), found.i0_sigma.item()
    (100.0, 1.0)
    """
    where = "i0_from_region"
    stack = as_stack(counts, where=where, name="counts")
    chosen = region_pixels(region, stack, label=label, where=where)
    brightness = _brightness(stack)
    inside, outside = brightness[chosen], brightness[~chosen]
    if not np.isfinite(inside).any():
        raise InputError(f"{where}: the region must have pixels with counts at every energy, got none. Choose another.")
    level = float(np.nanmean(inside))
    if level <= dark:
        raise InputError(
            f"{where}: open pixels must be above the dark counts of {dark:g}, but the region has {level:g} on average. "
            "Is the region a mask of the sample, or inverted?"
        )
    around = float(np.nanpercentile(outside, _BRIGHT)) if np.isfinite(outside).any() else -np.inf
    if (level - dark) < _OPEN * (around - dark):
        raise InputError(
            f"{where}: the region must be open, but it has {level:g} counts on average and one pixel in twenty outside "
            f"of it more than {around:g}. Choose a region without sample, or take I0 from a file (i0_from_spectrum)."
        )
    mean, sigma = _mean_over(stack, chosen, dark=dark, where=where)
    return _dataset(mean, sigma, stack, chosen, record("operando.spectral.i0_from_region", {"label": label}))


def i0_from_percentile(counts: Any, percentile: float = 95.0, *, mask: Any = None, dark: float = 0.0) -> xr.Dataset:
    """I0 as the mean over the brightest pixels.

    Parameters
    ----------
    counts : DataArray, dims (energy, [z], [y], [x]), or array of that shape
        Counts. May be lazy.
    percentile : float, in [0, 100)
        Pixels brighter than this share of all pixels, in percent, are taken to be open.
    mask : as an image, bool, optional
        Pixels to choose from.
    dark : float, counts
        Level that I0 must be above.

    Returns
    -------
    Dataset
        As :func:`i0_from_region`; ``region`` holds the pixels that at least half of the energies use. Look at it: that
        the brightest pixels are open is an assumption.

    Raises
    ------
    InputError, AxesError
        Where the percentile leaves no pixel, or what it leaves is dark.

    Notes
    -----
    The brightest pixels of an image are in part those that noise made bright: their mean is too high by two standard
    deviations of a pixel where 5 % are chosen. So pixels are chosen by their mean over energies, and those for one
    half of the energies (every second) by their mean over the other half: noise then has no part in the choice.
    With one energy there is no other half, and the bias stays.

    Reads the stack three times, block by block.

    Examples
    --------
    >>> counts = xr.DataArray(np.array([[[10.0, 100.0, 102.0]]]).repeat(2, axis=0), dims=("energy", "y", "x"),
    ...     coords={"energy": [700.0, 701.0]})
    >>> found = i0_from_percentile(counts, 50)
    >>> found.i0.values.tolist(), found.region.values.tolist()
    ([101.0, 101.0], [[False, True, True]])
    """
    where = "i0_from_percentile"
    stack = as_stack(counts, where=where, name="counts")
    number = isinstance(percentile, (int, float, np.integer, np.floating)) and not isinstance(percentile, bool)
    if not (number and 0 <= percentile < 100):
        raise InputError(f"{where}: percentile must be in [0, 100), got {percentile!r}. 95 takes the brightest 5 %.")
    allowed = np.ones(stack.shape[1:], dtype=bool)
    if mask is not None:
        allowed = region_pixels(mask, stack, label=None, where=where)
    count = stack.sizes["energy"]
    halves = [np.arange(start, count, 2) for start in (0, 1)] if count > 1 else [np.arange(count)] * 2
    mean, sigma = np.empty(count), np.empty(count)
    votes = np.zeros(stack.shape[1:], dtype=int)
    for half, other in (halves, halves[::-1]):
        brightness = np.where(allowed, _brightness(stack.isel(energy=other)), np.nan)
        if not np.isfinite(brightness).any():
            raise InputError(f"{where}: no pixel has counts at every energy. Crop to where all images overlap.")
        chosen = brightness >= np.nanpercentile(brightness, percentile)
        mean[half], sigma[half] = _mean_over(stack.isel(energy=half), chosen, dark=dark, where=where)
        votes += chosen * half.size
    region = votes * 2 >= votes.max() if count == 1 else votes * 2 >= count
    return _dataset(
        mean, sigma, stack, region, record("operando.spectral.i0_from_percentile", {"percentile": percentile})
    )


def i0_from_spectrum(spectrum: Any, energy: Any, *, sigma: Any = None, scale: float = 1.0) -> xr.Dataset:
    """I0 that was measured by itself, on the energies of a stack.

    Parameters
    ----------
    spectrum : DataArray, dims (energy,), units "counts"
        I0, with its energies.
    energy : DataArray with the coordinate ``energy``, or 1-D array, eV
        The energies to have.
    sigma : DataArray or array (energy,), optional
        Standard error of the spectrum. Default: from its own roughness, see Notes.
    scale : float
        Counts of the stack per count of the spectrum: the ratio of dwell times, or of gains.

    Returns
    -------
    Dataset
        ``i0`` and ``i0_sigma`` (energy,), units "counts", both times ``scale``.

    Raises
    ------
    InputError, AxesError
        Where an energy lies outside the spectrum (by more than 0.001 eV), or the spectrum is not positive.

    Notes
    -----
    Linear interpolation; the error is carried along, and smaller between two energies than at them. Without
    ``sigma`` it is :math:`k \\sqrt{I_0}`, with k such that the spectrum departs from the line through the neighbors of
    each energy as much as that noise would. Real structure of the beam counts as noise then. With fewer than five
    energies k is 1: counting noise of single photons.

    Examples
    --------
    >>> spectrum = xr.DataArray([100.0, 200.0], dims="energy", coords={"energy": [700.0, 710.0]})
    >>> found = i0_from_spectrum(spectrum, [705.0], sigma=[3.0, 4.0])
    >>> found.i0.item(), found.i0_sigma.item()
    (150.0, 2.5)
    """
    where = "i0_from_spectrum"
    if not isinstance(spectrum, xr.DataArray) or one_spectrum(spectrum).dims != ("energy",):
        got = spectrum.dims if isinstance(spectrum, xr.DataArray) else type(spectrum).__name__
        raise AxesError(
            f"{where}: the spectrum must be a DataArray with the dim energy, got {got}. Select one component."
        )
    spectrum = one_spectrum(spectrum)
    own = energies_ev(spectrum, where=where, name="the spectrum")
    order = np.argsort(own)
    own, values = own[order], np.asarray(spectrum.values, dtype=float)[order]
    if not np.isfinite(values).all() or values.min() <= 0:
        raise InputError(
            f"{where}: I0 must be finite and positive at every energy, got {values.min():g}. Drop these energies."
        )
    if not np.isfinite(scale) or scale <= 0:
        raise InputError(f"{where}: scale must be positive, got {scale!r}.")
    wanted = wanted_energies(energy, where)
    outside = (wanted < own[0] - ENERGY_TOLERANCE_EV) | (wanted > own[-1] + ENERGY_TOLERANCE_EV)
    if outside.any():
        raise InputError(
            f"{where}: {int(outside.sum())} of {wanted.size} energies, from {wanted[outside].min():g} to "
            f"{wanted[outside].max():g} eV, lie outside I0, which reaches from {own[0]:g} to {own[-1]:g} eV. "
            "Nothing is extrapolated: drop these images, or take I0 from the stack (i0_from_region)."
        )
    if sigma is None:
        error = _roughness(own, values)
    else:
        if isinstance(sigma, xr.DataArray) and sigma.dims == ("energy",):
            at = energies_ev(spectrum, where=where)
            sigma = same_energies(sigma, at, where=where, name="sigma", remedy="Give it at those of the spectrum.")
        error = np.asarray(sigma, dtype=float)
        if error.shape != values.shape or not (error >= 0).all():
            raise InputError(f"{where}: sigma must be one number >= 0 per energy of the spectrum, got {error.shape}.")
        error = error[order]
    above = (
        np.clip(np.searchsorted(own, wanted), 1, max(own.size - 1, 1)) if own.size > 1 else np.zeros(wanted.size, int)
    )
    below = np.maximum(above - 1, 0)
    step = own[above] - own[below]
    share = np.clip((wanted - own[below]) / np.where(step > 0, step, 1.0), 0.0, 1.0)
    mean = (1 - share) * values[below] + share * values[above]
    spread = np.hypot((1 - share) * error[below], share * error[above])
    return _table(scale * mean, scale * spread, wanted, record("operando.spectral.i0_from_spectrum", {"scale": scale}))


def i0_from_flats(flats: xr.DataArray, dim: str = "t") -> xr.Dataset:
    """I0 per pixel from several flat fields.

    Parameters
    ----------
    flats : DataArray, dims (``dim``, [energy], y, x)
        Frames without the sample.
    dim : str
        The dim of repeated frames.

    Returns
    -------
    Dataset
        ``i0`` and ``i0_sigma`` ([energy], y, x), units "counts".

    Raises
    ------
    AxesError, InputError
        Where ``dim`` is missing, or there is one frame only: then its scatter is not known.

    Notes
    -----
    Three frames say little about the scatter of one pixel, but all pixels of an image together say how variance and
    mean are related: :math:`\\sigma^2 = k \\bar c / n` with k the ratio of their sums over the image, per energy.
    Flicker of the beam between frames makes k large; it is common to all pixels, which this error does not say.

    Examples
    --------
    >>> flats = xr.DataArray([[[98.0, 100.0]], [[102.0, 100.0]]], dims=("t", "y", "x"))
    >>> found = i0_from_flats(flats)
    >>> found.i0.values.tolist(), found.i0_sigma.values.round(3).tolist()
    ([[100.0, 100.0]], [[1.414, 1.414]])
    """
    where = "i0_from_flats"
    if not isinstance(flats, xr.DataArray) or dim not in flats.dims:
        got = flats.dims if isinstance(flats, xr.DataArray) else type(flats).__name__
        raise AxesError(f"{where}: flats must be a DataArray with the dim {dim!r} of repeated frames, got {got}.")
    count = flats.sizes[dim]
    if count < 2:
        raise InputError(
            f"{where}: at least two frames are needed for an error, got {count}. Use the frame as i0 itself."
        )
    image = [d for d in flats.dims if d not in (dim, "energy")]
    frames = flats.astype(np.float64)
    mean, variance = frames.mean(dim), frames.var(dim, ddof=1)
    ratio = variance.sum(image) / mean.clip(min=0.0).sum(image)
    made_by = record("operando.spectral.i0_from_flats", {"dim": dim, "frames": count})
    sigma = (ratio * mean.clip(min=0.0) / count) ** 0.5
    found = xr.Dataset({"i0": mean, "i0_sigma": sigma.transpose(*mean.dims)}, attrs={"provenance": made_by})
    for name in ("i0", "i0_sigma"):
        found[name].attrs = {"units": "counts", "long_name": _LONG_NAMES[name]}
    return found


_LONG_NAMES = {"i0": "Counts without sample", "i0_sigma": "Standard error of the counts without sample"}


def region_pixels(region: Any, stack: xr.DataArray, *, label: int | None, where: str) -> np.ndarray:
    """Pixels of a mask or label image as bool in the shape of an image, after a check that there are any."""
    space = stack.dims[1:]
    if isinstance(region, xr.DataArray):
        if set(region.dims) != set(space):
            raise AxesError(f"{where}: the region must have the dims {space} of an image, got {region.dims}.")
        region = region.transpose(*space).values
    values = np.asarray(region)
    if values.shape != stack.shape[1:]:
        raise InputError(
            f"{where}: the region must have the shape {stack.shape[1:]} of an image, got {values.shape}. "
            "Crop both alike."
        )
    if values.dtype.kind not in "biu":
        raise InputError(f"{where}: the region must be bool or a label image, got {values.dtype}. Compare it first.")
    if values.dtype == np.bool_:
        chosen = values
    elif label is not None:
        chosen = values == label
    else:
        chosen = (values != 0) & ((values != 255) if values.dtype == np.uint8 else True)
    if not chosen.any():
        which = "" if label is None else f" with the label {label}"
        raise InputError(
            f"{where}: the region must hold at least one pixel{which}, got none. Draw it where no sample is."
        )
    return np.asarray(chosen, dtype=bool)


def _brightness(stack: xr.DataArray) -> np.ndarray:
    """Mean over energies of every pixel, NaN where an energy is missing."""
    result = np.full(int(np.prod(stack.shape[1:])), np.nan)
    for position, values in pixel_blocks(stack, np.ones(result.size, dtype=bool)):
        result[position] = values.mean(axis=1)
    return result.reshape(stack.shape[1:])


def _mean_over(stack: xr.DataArray, chosen: np.ndarray, *, dark: float, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over pixels and its standard error per energy."""
    count, total, square = np.zeros(stack.sizes["energy"]), np.zeros(stack.sizes["energy"]), 0.0
    for _, values in pixel_blocks(stack, chosen.ravel()):
        seen = np.isfinite(values)
        count += seen.sum(axis=0)
        total += np.where(seen, values, 0.0).sum(axis=0)
        square = square + np.where(seen, values**2, 0.0).sum(axis=0)
    if (count == 0).any():
        raise InputError(
            f"{where}: the region must have counts at every energy, but has none in image {int(np.argmin(count))}. "
            "Drop images that are missing, or choose another region."
        )
    mean = total / count
    if (mean <= dark).any():
        worst = int(mean.argmin())
        raise InputError(
            f"{where}: I0 must be above the dark counts of {dark:g} at every energy, got {mean[worst]:g} in image "
            f"{worst}. Drop images without beam, or choose another region."
        )
    # A single pixel has no scatter: counting noise is what is left to say.
    variance = np.where(count > 1, np.maximum(square - count * mean**2, 0.0) / np.maximum(count - 1, 1), mean)
    return mean, np.sqrt(variance / count)


def _roughness(energies: np.ndarray, values: np.ndarray) -> np.ndarray:
    if values.size < 5:
        return np.sqrt(values)
    share = (energies[1:-1] - energies[:-2]) / (energies[2:] - energies[:-2])
    departure = values[1:-1] - (1 - share) * values[:-2] - share * values[2:]
    expected = values[1:-1] + (1 - share) ** 2 * values[:-2] + share**2 * values[2:]
    return np.asarray(np.sqrt(np.mean(departure**2 / expected) * values))


def _dataset(mean: np.ndarray, sigma: np.ndarray, stack: xr.DataArray, chosen: np.ndarray, made_by: str) -> xr.Dataset:
    energies = energies_ev(stack, where="i0") if "energy" in stack.coords else None
    found = _table(mean, sigma, energies, made_by)
    image = stack.isel(energy=0, drop=True)
    found["region"] = image.copy(data=chosen).rename("region")
    found["region"].attrs = {"long_name": "Pixels taken as open"}
    return found.assign_attrs(pixels=int(chosen.sum()))


def _table(mean: np.ndarray, sigma: np.ndarray, energies: np.ndarray | None, made_by: str) -> xr.Dataset:
    coords = {} if energies is None else {"energy": ("energy", energies, ENERGY_ATTRS)}
    found = xr.Dataset({"i0": ("energy", mean), "i0_sigma": ("energy", sigma)}, coords=coords)
    for name, text in _LONG_NAMES.items():
        found[name].attrs = {"units": "counts", "long_name": text}
    return found.assign_attrs(provenance=made_by)
