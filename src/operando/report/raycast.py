"""A small ray caster in NumPy, for machines without OpenGL: slower and softer than VTK, with the same view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AMBIENT, DIFFUSE = 0.28, 0.75
LIGHTS = (((-0.6, 0.9, 1.3), 0.85), ((1.2, 0.35, 0.8), 0.4), ((0.2, -1.0, 0.6), 0.2))
"""Direction to each light as the camera sees it (right, up, towards the viewer), and its strength."""


@dataclass(frozen=True)
class Camera:
    """A perspective view: where from, where to, the opening angle and where the middle of the picture looks.

    Attributes
    ----------
    position, focus : (3,) ndarray
        x, y, z in um.
    right, up : (3,) ndarray
        Unit vectors of the picture.
    half_height : float
        Tangent of half the vertical opening angle.
    shift : (float, float)
        Of the picture, in half widths and half heights.
    """

    position: np.ndarray
    focus: np.ndarray
    right: np.ndarray
    up: np.ndarray
    half_height: float
    shift: tuple[float, float]
    aspect: float

    @property
    def forward(self) -> np.ndarray:
        """Unit vector from the viewer to the focus."""
        way = self.focus - self.position
        return way / np.linalg.norm(way)

    def on_screen(self, points: np.ndarray) -> np.ndarray:
        """Where points, shape (n, 3), lie in the picture: fractions of width and height from the lower left."""
        way = np.asarray(points, dtype=float) - self.position
        depth = way @ self.forward
        x = way @ self.right / (depth * self.half_height * self.aspect) - self.shift[0]
        y = way @ self.up / (depth * self.half_height) - self.shift[1]
        return np.stack([x, y], axis=1) / 2 + 0.5


def framing_camera(
    points: np.ndarray, center: np.ndarray, *, azimuth: float, elevation: float, aspect: float, angle: float = 22.0
) -> Camera:
    """Return a camera that sees all ``points``, shape (n, 3), filling 94 % of the picture.

    Examples
    --------
    >>> corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    >>> camera = framing_camera(corners, corners.mean(axis=0), azimuth=0, elevation=0, aspect=1.0)
    >>> np.ptp(camera.on_screen(corners), axis=0).round(2).tolist()
    [0.94, 0.94]
    """
    a, e = np.radians([azimuth, elevation])
    way = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    up = np.cross(way, right)
    distance = 1.5 * float(np.linalg.norm(points - center, axis=1).max()) / np.tan(np.radians(angle / 2))
    position = center + way * distance
    wide = Camera(position, center, right, up, 1.0, (0.0, 0.0), aspect)
    seen = 2 * wide.on_screen(points) - 1
    low, high = seen.min(axis=0), seen.max(axis=0)
    half = float(((high - low) / 2).max() / 0.94)
    middle = (low + high) / 2 / half
    return Camera(position, center, right, up, half, (float(middle[0]), float(middle[1])), aspect)


def cast(
    shares: Mapping[str, np.ndarray],
    step: Sequence[float],
    camera: Camera,
    *,
    colors: Mapping[str, Sequence[float]],
    opacity: Mapping[str, float],
    size: tuple[int, int],
    level: float,
) -> np.ndarray:
    """Render smooth shares of phases as shaded surfaces.

    Parameters
    ----------
    shares : mapping of str to ndarray (z, y, x)
        Already smoothed, zero at the outer faces.
    step : (float, float, float)
        Edge of a block along x, y, z; the first block is centered at minus half of it.
    camera : Camera
    colors, opacity
        By phase: red, green, blue from 0 to 1, and 0 to 1.
    size : (int, int)
        Width and height in pixels.
    level : float
        Share at which a surface lies.

    Returns
    -------
    ndarray, uint8, (height, width, 3)

    Notes
    -----
    Rays march half a block at a time; the place of a surface is interpolated between two steps. All opaque phases
    together are one field, colored at the surface by the phase of the largest share; each translucent phase is a
    field of its own whose every surface covers what lies behind by its opacity.
    """
    width, height = size
    origins, ways, inside, near, far = _rays(shares, step, camera, size)
    picture = np.ones((height * width, 3), dtype=np.float32)
    opaque = [name for name in shares if opacity[name] >= 1.0]
    clear = [name for name in shares if opacity[name] < 1.0]
    fields = {name: shares[name] for name in clear}
    if opaque:
        fields[""] = np.maximum.reduce([shares[name] for name in opaque])
    scale = 1.0 / np.asarray(step, dtype=np.float32)
    stride = 0.5 * float(min(step))
    alive = np.arange(len(inside))
    through = np.ones(len(inside), dtype=np.float32)
    color = np.zeros((len(inside), 3), dtype=np.float32)
    last = {name: np.zeros(len(inside), dtype=np.float32) for name in fields}
    depth = near.copy()
    while alive.size:
        at = _places(origins, ways[alive], depth[alive], scale)
        for name, field in fields.items():
            value = _sample(field, at)
            before = last[name][alive]
            crossed = (before >= level) != (value >= level)
            last[name][alive] = value
            if not crossed.any():
                continue
            rays = alive[crossed]
            weight = (level - before[crossed]) / (value[crossed] - before[crossed])
            place = _places(origins, ways[rays], depth[rays] - stride * (1 - weight), scale)
            if name:
                own: np.ndarray = np.broadcast_to(np.asarray(colors[name], dtype=np.float32), (rays.size, 3))
                cover = opacity[name]
            else:
                most = np.argmax([_sample(shares[n], place) for n in opaque], axis=0)
                own = np.asarray([colors[n] for n in opaque], dtype=np.float32)[most]
                cover = 1.0
            shade = _shade(field, place, ways[rays], scale, camera, both_sides=bool(name))
            color[rays] += (through[rays] * cover)[:, None] * own * shade[:, None]
            through[rays] *= 1 - cover
        depth[alive] += stride
        alive = alive[(depth[alive] <= far[alive] + stride) & (through[alive] > 0.01)]
    picture[inside] = color + through[:, None]
    pixels = np.clip(picture.reshape(height, width, 3), 0, 1) * 255 + 0.5
    return pixels.astype(np.uint8)


def _rays(
    shares: Mapping[str, np.ndarray], step: Sequence[float], camera: Camera, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rays that meet the box of the volume: origin, ways, their pixels, and where they enter and leave."""
    width, height = size
    x = (2 * (np.arange(width) + 0.5) / width - 1 + camera.shift[0]) * camera.half_height * camera.aspect
    y = (1 - 2 * (np.arange(height) + 0.5) / height + camera.shift[1]) * camera.half_height
    ways = camera.forward + x[None, :, None] * camera.right + y[:, None, None] * camera.up
    ways = (ways / np.linalg.norm(ways, axis=2, keepdims=True)).reshape(-1, 3)
    counts = np.array(next(iter(shares.values())).shape[::-1])
    low = -0.5 * np.asarray(step)
    high = low + (counts - 1) * np.asarray(step)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (low - camera.position) / ways, (high - camera.position) / ways
    enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
    inside = np.flatnonzero(leave > np.maximum(enter, 0))
    return (
        camera.position.astype(np.float32),
        ways[inside].astype(np.float32),
        inside,
        enter[inside].astype(np.float32),
        leave[inside].astype(np.float32),
    )


def _places(origin: np.ndarray, ways: np.ndarray, depth: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Indices (z, y, x) of points along rays; block 0 is centered at minus half a block."""
    points = (origin + ways * depth[:, None]) * scale + 0.5
    return np.ascontiguousarray(points[:, ::-1].T)


def _sample(field: np.ndarray, at: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(field, at, output=np.float32, order=1, mode="constant", cval=0.0)


def _shade(
    field: np.ndarray, place: np.ndarray, ways: np.ndarray, scale: np.ndarray, camera: Camera, *, both_sides: bool
) -> np.ndarray:
    """Light that a surface sends to the viewer; a translucent one is also seen from within."""
    slope = np.empty((place.shape[1], 3), dtype=np.float32)
    for axis in range(3):
        offset = np.zeros((3, 1), dtype=np.float32)
        offset[axis] = 1.0
        slope[:, 2 - axis] = _sample(field, place - offset) - _sample(field, place + offset)
    slope *= scale
    normal = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
    if both_sides:
        normal *= -np.sign((normal * ways).sum(axis=1, keepdims=True))
    shade = np.full(len(normal), AMBIENT, dtype=np.float32)
    for (right, up, back), strength in LIGHTS:
        light = right * camera.right + up * camera.up - back * camera.forward
        light = (light / np.linalg.norm(light)).astype(np.float32)
        shade += DIFFUSE * strength * np.clip(normal @ light, 0, None)
    return shade
