"""What the microscope makes of an interface and a concentration: the saturated line, blur, noise, eight bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from operando.samples.fields import generator
from operando.samples.srs_law import smooth_normal

_BROKEN_PEAK = 120.0
_POINTS_PER_PX = 10


@dataclass(frozen=True)
class SRSMicroscope:
    """How gray values (0 to 255) come about."""

    dark: float
    gray_per_molar: float
    metal_gray: float
    line_gray: float
    line_width_px: float
    blur_px: float
    shot: float
    read: float
    illumination: float
    breaks: float
    specks: float


@dataclass
class Scene:
    """One frame, lengths in px from the lower edge of the picture, where the metal is."""

    height: np.ndarray
    concentration: np.ndarray
    seed: int
    number: int
    fingers: list[np.ndarray] = field(default_factory=list)


def take_image(scene: Scene, microscope: SRSMicroscope) -> tuple[np.ndarray, np.ndarray]:
    """Eight-bit picture (y, x) with the metal at low y, and where (x) the line is too dim."""
    from scipy.ndimage import gaussian_filter

    broken = _broken(scene, microscope)
    gray = microscope.dark + microscope.gray_per_molar * np.nan_to_num(scene.concentration)
    gray = np.where(np.isnan(scene.concentration), microscope.metal_gray, gray)
    gray += _line(scene, microscope, broken)
    if microscope.illumination:
        gray *= 1.0 + microscope.illumination * _uneven_light(gray.shape, scene.seed)
    _add_specks(gray, scene, microscope)
    gray = gaussian_filter(gray, microscope.blur_px, mode="nearest")
    noise = generator(scene.seed, "noise", scene.number).standard_normal(gray.shape)
    gray += noise * np.sqrt(microscope.read**2 + microscope.shot * np.maximum(gray, 0.0))
    return np.clip(np.rint(gray), 0.0, 255.0).astype(np.uint8), broken


def _broken(scene: Scene, microscope: SRSMicroscope) -> np.ndarray:
    size = scene.height.size
    if microscope.breaks in (0.0, 1.0):
        return np.full(size, bool(microscope.breaks))
    process = smooth_normal(generator(scene.seed, "breaks", scene.number), size, 3.0)
    return np.asarray(process < NormalDist().inv_cdf(microscope.breaks))


def _line(scene: Scene, microscope: SRSMicroscope, broken: np.ndarray) -> np.ndarray:
    """Gaussian ridge across the distance to the curve, of which only the flanks are not saturated."""
    from scipy.spatial import cKDTree

    shape, columns = scene.concentration.shape, scene.height.size
    reach = 4.0 * microscope.line_width_px
    bright = microscope.line_gray * np.exp(0.1 * smooth_normal(generator(scene.seed, "line"), columns, 6.0))
    peak = np.where(broken, _BROKEN_PEAK, bright)
    x = np.arange(-np.ceil(reach), columns - 1 + np.ceil(reach) + 1e-9, 1.0 / _POINTS_PER_PX)
    own = np.arange(columns)
    # A steep line needs as many points per length as a flat one; beyond the sides it goes on level.
    y = np.interp(x, own, scene.height)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    even = np.linspace(0.0, length[-1], int(length[-1] * _POINTS_PER_PX) + 1)
    x = np.interp(even, length, x)
    points = [np.column_stack([np.interp(x, own, scene.height) - 0.5, x]), *(f - [0.5, 0.0] for f in scene.fingers)]
    peaks = [peak[np.clip(np.rint(x).astype(int), 0, columns - 1)]]
    peaks += [np.full(len(finger), microscope.line_gray) for finger in scene.fingers]
    everything, weight = np.concatenate(points), np.concatenate(peaks)
    low = max(int(everything[:, 0].min() - reach), 0)
    high = min(int(np.ceil(everything[:, 0].max() + reach)) + 1, shape[0])
    pixels = np.stack(np.meshgrid(np.arange(low, high), own, indexing="ij"), axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(everything).query(pixels, distance_upper_bound=reach)
    near = np.isfinite(distance)
    ridge = np.zeros(shape)
    profile = np.exp(-0.5 * (distance[near] / microscope.line_width_px) ** 2)
    ridge[pixels[near, 0], pixels[near, 1]] = weight[nearest[near]] * profile
    return ridge


def _uneven_light(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Smooth field between -1 and 1 that does not change over a series."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    rng = generator(seed, "illumination")
    waves = np.zeros(shape)
    for _ in range(3):
        turn, phase = rng.uniform(0.0, 2.0 * np.pi, 2)
        waves = waves + np.cos(np.pi * (np.cos(turn) * y / shape[0] + np.sin(turn) * x / shape[1]) + phase)
    return waves / 3.0


def _add_specks(gray: np.ndarray, scene: Scene, microscope: SRSMicroscope) -> None:
    """Bright spots in the electrolyte, well away from the line."""
    rng = generator(scene.seed, "specks", scene.number)
    tops = [float(scene.height.max()), *(float(finger[:, 0].max()) for finger in scene.fingers)]
    low = max(tops) + 12.0
    y, x = np.ogrid[: gray.shape[0], : gray.shape[1]]
    for _ in range(rng.poisson(microscope.specks) if low < gray.shape[0] else 0):
        row, column, size = rng.uniform(low, gray.shape[0]), rng.uniform(0, gray.shape[1]), rng.uniform(1.0, 2.0)
        gray += 500.0 * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / size**2)


def fingers_over(height: np.ndarray, count: int, seed: int) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Fingers that lean over the surface, and the outermost height with them.

    ``height`` is (t, x) in px. Each finger rises from a column that it keeps, bends sideways and grows with the frames.
    Returned are the curves (point, (y, x)) of each frame and the outermost height (t, x), NaN where no finger is.
    """
    frames, columns = height.shape
    curves: list[list[np.ndarray]] = [[] for _ in range(frames)]
    outermost = np.full(height.shape, np.nan)
    rng = generator(seed, "fingers")
    for _ in range(count):
        foot = int(rng.uniform(0.15, 0.85) * columns)
        side = 1.0 if rng.random() < 0.5 else -1.0
        first = int(rng.uniform(0.3, 0.7) * frames)
        for number in range(first, frames):
            size = min(8.0 + 2.0 * (number - first), 16.0, 0.12 * columns)
            # A quarter of an ellipse up and over, ending over the surface of the next columns.
            angle = np.linspace(0.0, 0.6 * np.pi, int(20 * size))
            x = foot + side * size * (1.0 - np.cos(angle))
            near = height[number, max(foot - 20, 0) : foot + 21]
            y = height[number, foot] + (near.max() - height[number, foot] + size) * np.sin(angle)
            inside = (x >= 0.0) & (x <= columns - 1.0)
            curves[number].append(np.column_stack([y, x])[inside])
            covered = np.unique(np.rint(x[inside]).astype(int))
            order = np.argsort(x[inside])
            top = np.interp(covered, x[inside][order], y[inside][order])
            outermost[number, covered] = np.fmax(outermost[number, covered], top)
    hangs = outermost > height + 1.0
    return curves, np.where(hangs, outermost, np.nan)
