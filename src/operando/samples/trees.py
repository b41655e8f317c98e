"""Branching dendrites on a voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEP = 0.7
_LARGEST_RADIUS, _SMALLEST_RADIUS = 4.0, 2.0
_CLOSEST = 9.0


@dataclass
class Forest:
    """Where dendrites can be, in which order they get there, and which branch each voxel belongs to.

    ``voxel`` (flat index in the grid), ``segment`` and ``along`` (path length from the root in voxels, both of the
    nearest center line) are per voxel, in the order in which the trees reach them. ``parent``, ``tree`` and ``start``
    (path length) are per segment, ``reach`` (largest path length) is per tree.
    """

    voxel: np.ndarray
    segment: np.ndarray
    along: np.ndarray
    parent: np.ndarray
    tree: np.ndarray
    start: np.ndarray
    reach: np.ndarray


def grow_forest(
    rng: np.random.Generator, floor: np.ndarray, *, ceiling: int, voxels: int, density: np.ndarray
) -> Forest:
    """Grow trees from a surface until they hold a wanted number of voxels.

    Parameters
    ----------
    rng : Generator
    floor : ndarray of int, shape (y, x)
        First z above the electrode.
    ceiling : int
        Number of z planes; no dendrite reaches it.
    voxels : int
        Wanted volume. Fewer are returned where the space does not hold them.
    density : ndarray, shape (y, x)
        Relative probability that a tree stands here.

    Returns
    -------
    Forest
        On the grid (ceiling, y, x).

    Notes
    -----
    A voxel is reached when the ball around the growing tip first covers it: ``min(s + r)`` over the center lines,
    s the path length from the root and r the distance from the center. Cutting at any arrival therefore leaves every
    voxel connected with the root.
    """
    shape = (ceiling, *floor.shape)
    arrival = np.full(shape, np.inf, dtype=np.float32)
    nearest = np.full(shape, np.inf, dtype=np.float32)
    segment = np.full(shape, -1, dtype=np.int32)
    along = np.zeros(shape, dtype=np.float32)
    parents: list[int] = []
    trees: list[int] = []
    starts: list[float] = []
    reaches: list[float] = []
    above = np.arange(ceiling)[:, None, None] >= floor
    chance = np.cumsum(density.ravel(), dtype=np.float64)
    roots: list[tuple[int, int]] = []
    filled = 0
    for _ in range(50 * int(np.ceil(floor.size / _CLOSEST**2))):
        if filled >= voxels:
            break
        site = int(np.searchsorted(chance, rng.random() * chance[-1], side="right"))
        y, x = divmod(min(site, floor.size - 1), floor.shape[1])
        if any((y - a) ** 2 + (x - b) ** 2 < _CLOSEST**2 for a, b in roots):
            continue
        roots.append((y, x))
        onset, speed = rng.uniform(0.0, 0.15) * ceiling, rng.lognormal(0.0, 0.25)
        reach = 0.0
        base = len(parents)
        for parent, s0, centers, radii in _tree(rng, (float(floor[y, x]) - 1.0, float(y), float(x)), shape):
            number = len(parents)
            parents.append(parent if parent < 0 else base + parent)
            trees.append(len(roots) - 1)
            starts.append(s0)
            for i, (center, radius) in enumerate(zip(centers, radii, strict=True)):
                s = s0 + i * _STEP
                box, distance = _ball(center, radius, shape)
                inside = (distance <= radius) & above[box]
                when = np.where(inside, onset + (s + distance) / speed, np.inf).astype(np.float32)
                filled += int(np.count_nonzero(inside & ~np.isfinite(arrival[box])))
                np.minimum(arrival[box], when, out=arrival[box])
                closer = inside & (distance < nearest[box])
                nearest[box][closer] = distance[closer]
                segment[box][closer] = number
                along[box][closer] = s
                reach = max(reach, s)
        reaches.append(reach)
    reached = np.flatnonzero(np.isfinite(arrival))
    voxel = reached[np.argsort(arrival.ravel()[reached], kind="stable")]
    return Forest(
        voxel=voxel,
        segment=segment.ravel()[voxel],
        along=along.ravel()[voxel],
        parent=np.array(parents, int),
        tree=np.array(trees, int),
        start=np.array(starts),
        reach=np.array(reaches),
    )


def _tree(
    rng: np.random.Generator, root: tuple[float, float, float], shape: tuple[int, ...]
) -> list[tuple[int, float, np.ndarray, np.ndarray]]:
    """Segments of one tree, parents first: parent, path length at its start, centers (n, 3), radii (n,)."""
    top = shape[0] - _LARGEST_RADIUS - 0.5
    room = max(top - root[0], 4.0)
    longest = rng.uniform(0.75, 1.5) * room
    lean = rng.normal(0.0, 0.25, size=2)
    todo = [(-1, 0.0, np.array(root), _unit(np.array([1.0, *lean])), rng.uniform(2.8, _LARGEST_RADIUS))]
    segments: list[tuple[int, float, np.ndarray, np.ndarray]] = []
    while todo and len(segments) < 40:
        parent, s0, point, heading, radius = todo.pop(0)
        length = min(np.clip(rng.uniform(0.2, 0.42) * room, 4.5, 13.0), longest - s0)
        if length < 2.0:
            continue
        centers, radii = [], []
        for i in range(int(length / _STEP)):
            centers.append(point)
            # Branches swell and narrow, as the real ones do.
            radii.append(np.clip(radius * (1 + 0.12 * np.sin(0.7 * (s0 + i * _STEP) + parent)), 1.9, _LARGEST_RADIUS))
            heading = _unit(heading + rng.normal(0.0, 0.13, size=3) + np.array([0.02, 0.0, 0.0]))
            point = point + _STEP * heading
            if point[0] > top - 3.0:
                heading = _unit(heading * np.array([0.3, 1.0, 1.0]) + np.array([-0.1, 0.0, 0.0]))
            if point[0] > top or not (0 <= point[1] < shape[1] and 0 <= point[2] < shape[2]):
                break
        segments.append((parent, s0, np.array(centers), np.array(radii)))
        end = s0 + len(centers) * _STEP
        if not (point[0] <= top and 0 <= point[1] < shape[1] and 0 <= point[2] < shape[2]) or end >= longest - 2.0:
            continue
        here = len(segments) - 1
        todo.append((here, end, point, _deflect(rng, heading, 0.3), max(0.93 * radius, _SMALLEST_RADIUS)))
        if rng.random() < 0.9:
            side = _deflect(rng, heading, rng.uniform(0.7, 1.2))
            todo.append((here, end, point, side, max(0.8 * radius, _SMALLEST_RADIUS)))
    return segments


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt(vector @ vector)


def _deflect(rng: np.random.Generator, heading: np.ndarray, angle: float) -> np.ndarray:
    """Turn a direction by an angle in radians toward a random side, never far below the horizontal."""
    side = rng.normal(size=3)
    side = _unit(side - (side @ heading) * heading)
    turned = np.cos(angle) * heading + np.sin(angle) * side
    turned[0] = max(turned[0], -0.1)
    return _unit(turned)


def _ball(center: np.ndarray, radius: float, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box around a ball within the grid, and the distance of its voxels from the center."""
    low = np.maximum(np.floor(center - radius), 0).astype(int)
    high = np.minimum(np.ceil(center + radius) + 1, shape).astype(int)
    z, y, x = (np.arange(a, b) - c for a, b, c in zip(low, high, center, strict=True))
    distance = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), distance
