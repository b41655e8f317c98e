"""From counts to transmission to line integrals, with a count of what could not be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.core.provenance import record
from operando.tomography.geometry import check_projections

_FRAME = ("detector_y", "detector_x")
_DEAD = 0.01


def normalize(
    projections: xr.DataArray,
    *,
    flat: xr.DataArray | None = None,
    dark: xr.DataArray | None = None,
    flat_after: xr.DataArray | None = None,
) -> xr.DataArray:
    """Correct counts for the beam and the camera: transmission.

    Parameters
    ----------
    projections : DataArray, dims (angle, detector_y, detector_x)
        Counts; may be lazy.
    flat : DataArray, dims ([any], detector_y, detector_x)
        Counts with the beam and without the sample. Several frames are averaged. With a coordinate ``taken_at`` along
        the first dim (how many projections were taken before the frame, as :func:`operando.io.open_projections` reads
        it) frames are averaged where they were taken together, and the flat field is interpolated between such groups.
    dark : DataArray, dims ([any], detector_y, detector_x), optional
        Counts without beam, averaged. Default: 0.
    flat_after : DataArray, as ``flat``, optional
        Taken after the last projection; ``flat`` then is what was taken before the first.

    Returns
    -------
    DataArray, dims (angle, detector_y, detector_x), units "1"
        Transmission as float32, lazy where ``projections`` are. NaN at dead pixels: those where flat minus dark is not
        above a hundredth of its median. ``attrs["dead_pixels"]`` is their number and ``attrs["flat_groups"]`` that of
        the flat fields.

    Raises
    ------
    InputError, AxesError
        Where the frames do not fit the projections, or every pixel is dead.

    Notes
    -----
    .. math:: T_i = \\frac{I_i - D}{F_i - D}

    with the flat field F linear in the number of the projection between groups of frames. Nothing is clipped: noise may
    put T below 0 or above 1, and :func:`minus_log` says how often. A dead pixel is not repaired here either;
    :func:`reconstruct` fills it from its neighbors in the row.

    Memory: the frames of one flat group, the mean frames, and the block being computed.

    Examples
    --------
    >>> counts = xr.DataArray([[[60.0, 35.0]]], dims=("angle", "detector_y", "detector_x"))
    >>> beam = xr.DataArray([[110.0, 10.0]], dims=("detector_y", "detector_x"))
    >>> transmission = normalize(counts, flat=beam, dark=xr.full_like(beam, 10.0))
    >>> transmission.values.tolist(), transmission.attrs["dead_pixels"]
    ([[[0.5, nan]]], 1)
    """
    where = "normalize"
    ordered = check_projections(projections, where=where)
    correction = beam_correction(ordered, flat=flat, dark=dark, flat_after=flat_after, where=where)
    data: Any = ordered.data
    if isinstance(data, np.ndarray):
        values: Any = correction.apply(data, slice(None), slice(None), slice(None))
    else:

        def block(part: np.ndarray, block_info: Any = None) -> np.ndarray:
            (a0, a1), (y0, y1), (x0, x1) = block_info[0]["array-location"]
            return correction.apply(part, slice(a0, a1), slice(y0, y1), slice(x0, x1))

        values = data.map_blocks(block, dtype=np.float32, meta=np.empty((0, 0, 0), dtype=np.float32))
    return xr.DataArray(
        values,
        dims=ordered.dims,
        coords=ordered.coords,
        name="transmission",
        attrs={
            "units": "1",
            "long_name": "Transmission",
            "dead_pixels": correction.dead_pixels,
            "flat_groups": int(correction.flats.shape[0]),
            "provenance": record("operando.tomography.normalize"),
        },
    )


def minus_log(transmission: xr.DataArray) -> xr.DataArray:
    """Line integrals of the attenuation coefficient from transmission.

    Parameters
    ----------
    transmission : DataArray
        Any dims, may be lazy. NaN stays NaN.

    Returns
    -------
    DataArray, same dims, units "1"
        As float32. NaN where the transmission is zero or negative: no attenuation has that, only noise where next to
        nothing comes through. ``attrs["nonpositive"]`` is how many such values there were, or a sentence where the
        input is lazy and counting would read it all; count them then with ``int(result.isnull().sum())``.

    Notes
    -----
    .. math:: p = -\\ln T = \\int \\mu\\, \\mathrm{d}s

    (Beer and Lambert.) It holds for one energy; a polychromatic beam hardens, which shows as cupping. The logarithm of
    noisy values is biased by half their relative variance: 0.5 % at a signal-to-noise ratio of 10 per pixel.

    Examples
    --------
    >>> result = minus_log(xr.DataArray([1.0, float(np.exp(-2)), 0.0], dims="detector_x"))
    >>> result.values.round(3).tolist(), result.attrs["nonpositive"]
    ([-0.0, 2.0, nan], 1)
    """
    if not isinstance(transmission, xr.DataArray):
        raise InputError(
            f"minus_log: an xarray.DataArray is needed, got {type(transmission).__name__}. "
            "Give what normalize returned."
        )
    data: Any = transmission.data
    if isinstance(data, np.ndarray):
        values: Any = _minus_log(data)
        count: int | str = int(np.sum(data <= 0))
    else:
        values = data.map_blocks(_minus_log, dtype=np.float32, meta=np.empty((0,) * data.ndim, dtype=np.float32))
        count = "not counted: the transmission is lazy"
    kept = {key: value for key, value in transmission.attrs.items() if key in ("dead_pixels", "flat_groups")}
    result = transmission.copy(data=values).rename("line_integral")
    result.attrs = {
        "units": "1",
        "long_name": "Line integral of attenuation",
        **kept,
        "nonpositive": count,
        "provenance": record("operando.tomography.minus_log"),
    }
    return result


def _minus_log(transmission: np.ndarray) -> np.ndarray:
    values = np.asarray(transmission, dtype=np.float32)
    out = np.full(values.shape, np.nan, dtype=np.float32)
    np.log(values, out=out, where=values > 0)
    return np.negative(out, out=out)


@dataclass(frozen=True)
class BeamCorrection:
    """Mean dark frame, flat fields less the dark one, and how they are mixed for each projection."""

    dark: np.ndarray
    flats: np.ndarray
    shares: np.ndarray
    dead_pixels: int

    def apply(self, counts: np.ndarray, angles: Any, rows: Any, columns: slice) -> np.ndarray:
        """Transmission of a block of projections that stands at these slices."""
        out = counts.astype(np.float32)
        out -= self.dark[rows, columns]
        flats = self.flats[:, rows, columns]
        shares = self.shares[angles]
        for i in range(out.shape[0]):
            # One projection at a time: the flat field of a whole block would be another block in memory.
            out[i] /= flats[0] if flats.shape[0] == 1 else np.tensordot(shares[i], flats, axes=1)
        return out


def beam_correction(
    projections: xr.DataArray,
    *,
    flat: xr.DataArray | None,
    dark: xr.DataArray | None,
    flat_after: xr.DataArray | None,
    where: str,
) -> BeamCorrection:
    """Average the frames and check that they fit; see :func:`normalize`."""
    if flat is None:
        raise InputError(
            f"{where}: a flat field is needed to turn counts into transmission, got none. Pass flat=..., "
            "for example from operando.io.open_projections(path).flat."
        )
    count = projections.sizes["angle"]
    shape = tuple(projections.sizes[dim] for dim in _FRAME)
    means, places = _groups(flat, shape, where=where, name="flat", count=count)
    if flat_after is not None:
        after, _ = _groups(flat_after, shape, where=where, name="flat_after", count=count)
        means = np.stack([means.mean(axis=0), after.mean(axis=0)])
        places = np.array([0.0, float(count)])
    level = np.zeros(shape, dtype=np.float32)
    if dark is not None:
        level = _groups(dark, shape, where=where, name="dark", count=count)[0].mean(axis=0)
    flats = (means - level).astype(np.float32)
    # The mean of a pixel that shows nothing is as often above the dark level as below it.
    dead = ~np.all(flats > _DEAD * np.median(flats, axis=(1, 2), keepdims=True).clip(0.0), axis=0)
    if dead.all():
        raise InputError(
            f"{where}: the flat field must be brighter than the dark one, got no pixel where it is "
            f"(means {float(means.mean()):.4g} and {float(level.mean()):.4g}). Are flat and dark swapped?"
        )
    flats[:, dead] = np.nan
    return BeamCorrection(level, flats, _shares(places, count), int(dead.sum()))


def _groups(
    frames: xr.DataArray, shape: tuple[int, ...], *, where: str, name: str, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean frame per group (group, y, x) and how many projections were taken before each group."""
    if not isinstance(frames, xr.DataArray):
        raise InputError(f"{where}: {name} must be an xarray.DataArray, got {type(frames).__name__}.")
    leading = [dim for dim in frames.dims if dim not in _FRAME]
    if len(leading) > 1 or not set(_FRAME) <= set(frames.dims):
        raise AxesError(
            f"{where}: {name} must have the dims detector_y, detector_x and at most one more, got {frames.dims}."
        )
    if tuple(frames.sizes[dim] for dim in _FRAME) != shape or 0 in frames.shape:
        raise InputError(
            f"{where}: {name} must have frames of {shape} pixels (y, x) as the projections, got {dict(frames.sizes)}. "
            "Crop or bin both alike."
        )
    stack = frames.transpose(*leading, *_FRAME)
    if not leading:
        return np.asarray(stack.values, dtype=np.float32)[None], np.zeros(1)
    taken = np.zeros(stack.shape[0])
    if "taken_at" in frames.coords and frames.coords["taken_at"].dims == (leading[0],):
        taken = np.asarray(frames.coords["taken_at"].values, dtype=float)
    places = np.unique(taken)
    means = []
    for place in places:
        group = stack.isel({leading[0]: np.flatnonzero(taken == place)})
        means.append(np.asarray(group.astype(np.float32).mean(str(leading[0])).values, dtype=np.float32))
    return np.stack(means), places


def _shares(places: np.ndarray, count: int) -> np.ndarray:
    """Weight of each flat group for each projection, (angle, group)."""
    at = np.arange(count) + 0.5
    unit = np.eye(places.size)
    return np.stack([np.interp(at, places, unit[g]) for g in range(places.size)], axis=1).astype(np.float32)


def fill_missing(sinograms: np.ndarray) -> int:
    """Replace NaN and infinite line integrals in place and return how many there were.

    Parameters
    ----------
    sinograms : ndarray, shape (angle, row, detector_x)

    Notes
    -----
    Linear between the nearest pixels of the row that were measured.
    A row of the detector of which one projection shows nothing at all is taken from the projections before and after;
    one that never shows anything stays NaN.
    """
    bad = ~np.isfinite(sinograms)
    missing = int(bad.sum())
    if missing == 0:
        return 0
    x = np.arange(sinograms.shape[-1])
    empty = bad.all(axis=-1)
    for a, r in np.argwhere(bad.any(axis=-1) & ~empty):
        line, hole = sinograms[a, r], bad[a, r]
        line[hole] = np.interp(x[hole], x[~hole], line[~hole])
    for r in np.flatnonzero(empty.any(axis=0)):
        seen = np.flatnonzero(~empty[:, r])
        for a in np.flatnonzero(empty[:, r]):
            if seen.size:
                after = int(np.clip(np.searchsorted(seen, a), 0, seen.size - 1))
                before = max(after - 1, 0)
                low, high = seen[before], seen[after]
                share = float(np.clip((a - low) / max(high - low, 1), 0.0, 1.0))
                sinograms[a, r] = (1 - share) * sinograms[low, r] + share * sinograms[high, r]
    return missing
