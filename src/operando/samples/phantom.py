"""Ellipsoids, of which every line integral is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError

# Value, center and semi-axes along (z, y, x) as shares of the half edges, turn from x towards y in degrees: the head
# phantom of Shepp and Logan with the contrast of Toft, and depths along z.
_HEAD: tuple[tuple[float, tuple[float, float, float], tuple[float, float, float], float], ...] = (
    (1.0, (0.0, 0.0, 0.0), (1.8, 0.92, 0.69), 0.0),
    (-0.8, (0.0, -0.0184, 0.0), (1.75, 0.874, 0.6624), 0.0),
    (-0.2, (0.0, 0.0, 0.22), (0.9, 0.31, 0.11), -18.0),
    (-0.2, (0.0, 0.0, -0.22), (0.9, 0.41, 0.16), 18.0),
    (0.1, (0.2, 0.35, 0.0), (0.7, 0.25, 0.21), 0.0),
    (0.1, (-0.2, 0.1, 0.0), (0.5, 0.046, 0.046), 0.0),
    (0.1, (0.0, -0.1, 0.0), (0.6, 0.046, 0.046), 0.0),
    (0.1, (0.0, -0.605, -0.08), (0.8, 0.023, 0.046), 0.0),
    (0.1, (0.0, -0.606, 0.0), (0.8, 0.023, 0.023), 0.0),
    (0.1, (0.0, -0.605, 0.06), (0.8, 0.046, 0.023), 0.0),
)


def ellipsoids(
    shape: Sequence[int] = (16, 128, 128),
    *,
    angles: Sequence[float] | np.ndarray | None = None,
    rotation_axis: float | None = None,
    voxel_size_um: float = 1.33,
    attenuation_um: float | None = None,
    bodies: Sequence[Any] | None = None,
    supersampling: int = 4,
) -> xr.Dataset:
    """Make a phantom of ellipsoids with its volume and its exact projections.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels; y and x alike. The detector has z by x pixels.
    angles : sequence of float, optional
        In degrees; default 181 from 0 to 180.
    rotation_axis : float, optional
        Where the axis is seen on the detector, in pixels from the center of the first; default the middle, (x - 1) / 2.
        The volume is centered on the axis whatever it is.
    voxel_size_um : float
        Edge of voxels and pixels.
    attenuation_um : float, optional
        Attenuation per um of a body of value 1; default 8 over the width, which makes the largest line integral of the
        default bodies about 2.
    bodies : sequence of (value, center, semi-axes, turn), optional
        Centers and semi-axes (z, y, x) as shares of the half edges, turn in degrees from x towards y. Values add up
        where bodies overlap. Default: the ten of Shepp and Logan.
    supersampling : int
        Points per voxel edge and rays per pixel edge that are averaged; 1 takes the centers only.

    Returns
    -------
    Dataset
        ``volume`` (z, y, x) in um-1, ``projections`` (angle, detector_y, detector_x), line integrals, both float32, and
        ``rotation_axis`` in px.

    Raises
    ------
    InputError
        Where y and x differ, or something is not positive.

    Notes
    -----
    A point (x, y) from the axis is seen at s = x cos(angle) - y sin(angle). The line integral of an ellipse with
    semi-axes a, b turned by phi is :math:`2 a b \\sqrt{q - d^2} / q` at distance d from its center, with
    :math:`q = a^2 \\cos^2(\\theta + \\varphi) + b^2 \\sin^2(\\theta + \\varphi)`; an ellipsoid at height z is one
    shrunk by :math:`\\sqrt{1 - z^2 / c^2}`.

    Examples
    --------
    Through the middle of a ball with a radius of half of 20 um and an attenuation of 0.01 / um:

    >>> ball = ellipsoids((1, 21, 21), angles=[0.0], voxel_size_um=1.0, attenuation_um=0.01, supersampling=1,
    ...     bodies=[(1.0, (0, 0, 0), (20 / 1, 10 / 10.5, 10 / 10.5), 0.0)])
    >>> round(float(ball.projections[0, 0, 10]), 4), round(float(ball.volume[0, 10, 10]), 4)
    (0.2, 0.01)
    """
    depth, height, width = _shape(shape)
    if height != width:
        raise InputError(
            f"ellipsoids: shape must have y and x alike, got {tuple(shape)}. A slice is as wide as the detector."
        )
    if not voxel_size_um > 0 or supersampling < 1 or (attenuation_um is not None and not attenuation_um > 0):
        raise InputError(
            f"ellipsoids: voxel_size_um, attenuation_um and supersampling must be positive, got {voxel_size_um}, "
            f"{attenuation_um} and {supersampling}."
        )
    degrees = np.linspace(0.0, 180.0, 181) if angles is None else np.asarray(angles, dtype=float)
    axis = 0.5 * (width - 1) if rotation_axis is None else float(rotation_axis)
    level = 8.0 / (width * voxel_size_um) if attenuation_um is None else float(attenuation_um)
    half = np.array([depth, width, width]) / 2.0
    scaled = [
        (float(value) * level, np.asarray(center) * half, np.asarray(axes) * half, np.deg2rad(turn))
        for value, center, axes, turn in (_HEAD if bodies is None else bodies)
    ]
    fine = (np.arange(supersampling) + 0.5) / supersampling - 0.5
    z = (np.arange(depth)[:, None] + fine).ravel() - 0.5 * (depth - 1)
    across = (np.arange(width)[:, None] + fine).ravel()
    volume = np.zeros((depth, width, width))
    lines = np.zeros((degrees.size, depth, width))
    theta = np.deg2rad(degrees)
    for number, height_of_ray in enumerate(z):
        row = number // supersampling
        for value, center, semi, turn in scaled:
            inside = 1.0 - ((height_of_ray - center[0]) / semi[0]) ** 2
            if inside <= 0:
                continue
            ry, rx = semi[1] * np.sqrt(inside), semi[2] * np.sqrt(inside)
            _add_ellipse(volume[row], value, across - 0.5 * (width - 1), center, (ry, rx), turn, supersampling)
            chords = _chords(across - axis, theta, center, (ry, rx), turn, supersampling)
            lines[:, row] += value * voxel_size_um * chords
    truth = labeled_image(
        (volume / supersampling).astype(np.float32),
        voxel_size_um=voxel_size_um,
        units="um-1",
        long_name="Attenuation coefficient",
        attrs={"simulated": True},
    )
    shadows = as_projections(
        (lines / supersampling).astype(np.float32), degrees, voxel_size_um, long_name="Line integral of attenuation"
    )
    position = xr.DataArray(axis, attrs={"units": "px"})
    return xr.Dataset({"volume": truth, "projections": shadows, "rotation_axis": position})


def as_projections(values: Any, degrees: np.ndarray, pixel_um: float | None, *, long_name: str) -> xr.DataArray:
    """Label simulated projections (angle, detector_y, detector_x)."""
    coords: dict[str, Any] = {"angle": ("angle", degrees, {"units": "deg", "long_name": "Rotation angle"})}
    for dim, size in zip(("detector_y", "detector_x"), values.shape[1:], strict=True):
        step, unit = (1.0, "px") if pixel_um is None else (float(pixel_um), "um")
        attrs = {"units": unit, "long_name": f"Detector {dim[-1]}", "spacing": step}
        coords[dim] = (dim, step * np.arange(size, dtype=float), attrs)
    return xr.DataArray(
        values,
        dims=("angle", "detector_y", "detector_x"),
        coords=coords,
        attrs={"units": "1", "long_name": long_name, "simulated": True},
    )


def _shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"ellipsoids: shape must be three positive numbers of voxels (z, y, x), got {tuple(shape)}.")
    depth, height, width = (int(n) for n in shape)
    return depth, height, width


def _add_ellipse(
    image: np.ndarray,
    value: float,
    points: np.ndarray,
    center: np.ndarray,
    semi: tuple[float, float],
    turn: float,
    supersampling: int,
) -> None:
    """Add ``value`` times the share of every voxel of a slice that lies in the ellipse, where there may be any."""
    reach = max(semi)
    parts = []
    for middle in (center[1], center[2]):
        low, high = np.searchsorted(points, [middle - reach, middle + reach])
        parts.append(slice(low // supersampling, -(-high // supersampling)))
    rows, columns = (points[p.start * supersampling : p.stop * supersampling] for p in parts)
    y, x = rows[:, None] - center[1], columns[None, :] - center[2]
    along = x * np.cos(turn) + y * np.sin(turn)
    beside = -x * np.sin(turn) + y * np.cos(turn)
    inside = (along / semi[1]) ** 2 + (beside / semi[0]) ** 2 <= 1.0
    shape = (-1, supersampling, columns.size // supersampling, supersampling)
    if inside.size:
        image[tuple(parts)] += value * inside.reshape(shape).mean(axis=(1, 3))


def _chords(
    s: np.ndarray, theta: np.ndarray, center: np.ndarray, semi: tuple[float, float], turn: float, supersampling: int
) -> np.ndarray:
    """Mean length in pixels of the rays of every pixel in the ellipse, (angle, pixel)."""
    t = theta[:, None]
    squared = (semi[1] * np.cos(t + turn)) ** 2 + (semi[0] * np.sin(t + turn)) ** 2
    distance = s[None, :] - (center[2] * np.cos(t) - center[1] * np.sin(t))
    chords = 2 * semi[0] * semi[1] * np.sqrt(np.clip(squared - distance**2, 0.0, None)) / squared
    return np.asarray(chords.reshape(theta.size, -1, supersampling).mean(axis=2))
