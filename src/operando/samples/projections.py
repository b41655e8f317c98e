"""Raw projections of a volume: counts, flat and dark frames, with what a beam and a camera do to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core import units
from operando.core.axes import axis_spacing, require_dims
from operando.core.errors import InputError
from operando.samples.phantom import as_projections

_RAW = ("angle", "detector_y", "detector_x")


def projections(
    volume: xr.DataArray,
    *,
    angles: Sequence[float] | np.ndarray | None = None,
    rotation_axis: float | None = None,
    photons: float = 20_000.0,
    flats: int = 20,
    darks: int = 20,
    dark_level: float = 100.0,
    readout: float = 2.0,
    flat_variation: float = 0.05,
    drift: float = 0.02,
    rings: float = 0.005,
    dead_pixels: int = 0,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate a scan: raw projections, flat fields before and after, dark fields.

    Parameters
    ----------
    volume : DataArray, dims (z, y, x), units "um-1" (or "px-1")
        Attenuation with one spacing along y and x; read whole. Or line integrals, dims (angle, detector_y, detector_x),
        such as those of :func:`ellipsoids`.
    angles : sequence of float, optional
        In degrees, for a volume; default 181 from 0 to 180.
    rotation_axis : float, optional
        Where the axis is seen, in pixels, for a volume; default the middle of the detector.
    photons : float
        Mean count of a pixel in the open beam: the noise of a line integral p is sqrt(exp(p) / photons).
    flats, darks : int
        Frames; the first half of the flats (rounded up) before the scan, the rest after it.
    dark_level, readout : float
        Mean count without beam, and its standard deviation.
    flat_variation : float
        Relative standard deviation of the beam over the detector, smooth.
    drift : float
        By how much the beam gets weaker from the first flat to the last, relatively.
    rings : float
        Relative standard deviation of what each pixel answers to the weakened beam, as the flat does not show it.
    dead_pixels : int
        That only show the dark level.
    seed : int
        The same seed and arguments give the same counts.

    Returns
    -------
    Dataset
        ``projections`` (angle, detector_y, detector_x), ``flat`` (flat_frame, detector_y, detector_x) with the
        coordinate ``taken_at`` (projections taken before), ``dark`` (dark_frame, ...), all uint16 counts;
        ``line_integrals``, the truth; ``rotation_axis`` in px.

    Raises
    ------
    InputError
        Where the volume or a number does not fit, or counts would not fit in 16 bits.

    Notes
    -----
    Line integrals of a volume are exact for cubic voxels, averaged over the width of a pixel: the shadow of a square is
    a trapezoid, integrated over each pixel. A point (x, y) from the middle of the volume is seen at
    x cos(angle) - y sin(angle) from the axis. Photons are counted with Poisson noise, the camera adds normal noise.
    There is no scatter, no blur and no refraction; one energy.

    Memory: the volume and the projections, and a sparse matrix of four entries per voxel of a slice.

    Examples
    --------
    >>> from operando.core.axes import labeled_image
    >>> block = labeled_image(np.full((1, 9, 9), 0.01), voxel_size_um=10.0, units="um-1")
    >>> scan = projections(block, angles=[0.0, 90.0], photons=10_000)
    >>> round(float(scan.line_integrals[0, 0, 4]), 4), scan.projections.dtype.name, scan.flat.shape
    (0.9, 'uint16', (20, 1, 9))
    """
    where = "projections"
    numbers = {"photons": photons, "dark_level": dark_level, "readout": readout, "flat_variation": flat_variation}
    numbers |= {"drift": drift, "rings": rings, "dead_pixels": dead_pixels}
    wrong = {name: value for name, value in numbers.items() if not (np.isfinite(value) and value >= 0)}
    if wrong or photons == 0 or flats < 1 or darks < 1 or drift >= 1:
        raise InputError(
            f"{where}: photons, flats and darks must be positive, the rest not negative and drift below 1, got "
            f"{wrong or {'photons': photons, 'flats': flats, 'darks': darks, 'drift': drift}}."
        )
    if dark_level + 3 * photons > 65535:
        raise InputError(
            f"{where}: counts must fit in 16 bits, got {photons:g} photons above {dark_level:g}. Take fewer than 20000."
        )
    if isinstance(volume, xr.DataArray) and set(volume.dims) == set(_RAW):
        if angles is not None or rotation_axis is not None:
            raise InputError(
                f"{where}: line integrals have their own angles and axis. Leave them out, or give a volume."
            )
        lines, axis = volume.transpose(*_RAW), float("nan")
    else:
        lines, axis = line_integrals(volume, angles=angles, rotation_axis=rotation_axis)
    rng = np.random.default_rng(seed)
    frame = lines.shape[1:]
    beam = photons * (1.0 + flat_variation * _smooth_field(frame, rng))
    beam.ravel()[rng.choice(beam.size, size=min(int(dead_pixels), beam.size), replace=False)] = 0.0
    response = 1.0 + rings * rng.standard_normal(frame)
    count = lines.shape[0]
    before = (flats + 1) // 2
    taken_at = np.where(np.arange(flats) < before, 0, count)

    def counted(rate: np.ndarray) -> np.ndarray:
        values = rng.poisson(np.maximum(rate, 0.0)) + rng.normal(dark_level, readout, size=rate.shape)
        return np.clip(np.round(values), 0, 65535).astype(np.uint16)

    raw = np.empty(lines.shape, dtype=np.uint16)
    for number, line in enumerate(lines.values):
        strength = 1.0 - drift * (number + 0.5) / count
        raw[number] = counted(beam * strength * response * np.exp(-line))
    flat = np.stack([counted(beam * (1.0 - drift * (at / count))) for at in taken_at])
    dark = np.stack([counted(np.zeros(frame)) for _ in range(darks)])
    detector = {dim: lines.coords[dim] for dim in _RAW[1:] if dim in lines.coords}
    attrs = {"units": "counts", "simulated": True}
    return xr.Dataset(
        {
            "projections": lines.copy(data=raw).assign_attrs(attrs),
            "flat": (("flat_frame", *_RAW[1:]), flat, attrs),
            "dark": (("dark_frame", *_RAW[1:]), dark, attrs),
            "line_integrals": lines,
            "rotation_axis": ((), axis, {"units": "px"}),
        },
        coords={**detector, "taken_at": ("flat_frame", taken_at, {"long_name": "Projections taken before"})},
    )


def line_integrals(
    volume: xr.DataArray,
    *,
    angles: Sequence[float] | np.ndarray | None = None,
    rotation_axis: float | None = None,
) -> tuple[xr.DataArray, float]:
    """Project a volume; see :func:`projections`. Returns the line integrals and the axis in pixels."""
    where = "projections"
    require_dims(volume, ("z", "y", "x"), where=where)
    ordered = volume.transpose("z", "y", "x")
    (step, unit), (other, _) = axis_spacing(ordered, "x", where=where), axis_spacing(ordered, "y", where=where)
    if not np.isclose(step, other):
        raise InputError(
            f"{where}: voxels must be square in the slice, got {other:g} by {step:g} {unit}. Resample first."
        )
    known = units.kind(unit) == "length"
    per = str(ordered.attrs.get("units", "1"))
    wanted = f"{units.canonical(unit)}-1" if known else "px-1"
    if per not in (wanted, "1"):
        raise InputError(
            f"{where}: attenuation must be per unit of the axes, {wanted}, got {per!r}. Convert it and set its units."
        )
    length = step if known else 1.0
    degrees = np.linspace(0.0, 180.0, 181) if angles is None else np.asarray(angles, dtype=float)
    width = ordered.sizes["x"]
    axis = 0.5 * (width - 1) if rotation_axis is None else float(rotation_axis)
    values = np.ascontiguousarray(np.asarray(ordered.values, dtype=np.float64).reshape(ordered.shape[0], -1).T)
    lines = np.empty((degrees.size, ordered.shape[0], width), dtype=np.float32)
    for number, theta in enumerate(np.deg2rad(degrees)):
        lines[number] = length * (_strips(ordered.shape[1:], theta, axis, width) @ values).T
    pixel = step * units.factor(unit, "um") if known else None
    made = as_projections(lines, degrees, pixel, long_name="Line integral of attenuation")
    z_step, z_unit = axis_spacing(ordered, "z", where=where)
    if known and units.kind(z_unit) == "length":
        height = z_step * units.factor(z_unit, "um")
        attrs = {"units": "um", "long_name": "Detector y", "spacing": height}
        made = made.assign_coords(detector_y=("detector_y", height * np.arange(lines.shape[1], dtype=float), attrs))
    return made, axis


def _strips(shape: Sequence[int], theta: float, axis: float, width: int) -> Any:
    """Sparse matrix (pixel, voxel): area of each voxel that is seen by each pixel."""
    from scipy.sparse import csr_array

    y = np.arange(shape[0])[:, None] - 0.5 * (shape[0] - 1)
    x = np.arange(shape[1])[None, :] - 0.5 * (shape[1] - 1)
    center = (axis + x * np.cos(theta) - y * np.sin(theta)).ravel()
    p, q = abs(np.cos(theta)), abs(np.sin(theta))
    first = np.floor(center - 0.5 * (p + q) + 0.5).astype(np.int64)
    voxels = np.arange(center.size)
    rows, columns, areas = [], [], []
    below = _covered(first - 0.5 - center, p, q)
    for number in range(3):
        above = _covered(first + number + 0.5 - center, p, q)
        pixel = first + number
        seen = (pixel >= 0) & (pixel < width)
        rows.append(pixel[seen])
        columns.append(voxels[seen])
        areas.append((above - below)[seen])
        below = above
    entries = (np.concatenate(areas), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(width, center.size))


def _covered(u: np.ndarray, p: float, q: float) -> np.ndarray:
    """Area of a unit square's shadow, a trapezoid, up to ``u`` from its middle."""
    if min(p, q) < 1e-9:
        return np.clip(u + 0.5, 0.0, 1.0)
    base, top = 0.5 * (p + q), 0.5 * abs(p - q)
    edges = ((u + base, 1.0), (u + top, -1.0), (u - top, -1.0), (u - base, 1.0))
    return np.asarray(sum(sign * np.maximum(edge, 0.0) ** 2 for edge, sign in edges) / (2 * p * q))


def _smooth_field(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Smooth random field with mean 0 and standard deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(tuple(shape)), [max(1.0, n / 6) for n in shape], mode="nearest")
    spread = float(field.std())
    return np.asarray((field - field.mean()) / spread) if spread > 0 else np.zeros(tuple(shape))
