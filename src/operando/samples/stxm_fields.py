"""Where the particles of a simulated STXM image are, how thick, and which phases they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operando.samples.fields import correlated, generator

KINDS = ("core-shell", "wavefront", "mosaic")
_TRIES = 60


@dataclass(frozen=True)
class Particles:
    """Particles on a grid of points: what :func:`make_particles` returns."""

    label: np.ndarray
    """(y, x) int32, 0 where there is none."""
    thickness: np.ndarray
    """(y, x) in um."""
    fraction: np.ndarray
    """(component, y, x): shares of the thickness, which sum to 1 in a particle and are 0 elsewhere."""


@dataclass(frozen=True)
class _Shape:
    center: tuple[float, float]
    semi: tuple[float, float]
    turn: float
    power: float

    def radius(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Distance from the center relative to that of the rim, 1 at the rim."""
        u = (x - self.center[1]) * np.cos(self.turn) + (y - self.center[0]) * np.sin(self.turn)
        v = (y - self.center[0]) * np.cos(self.turn) - (x - self.center[1]) * np.sin(self.turn)
        return np.sqrt((u / self.semi[1]) ** 2 + (v / self.semi[0]) ** 2)


def make_particles(
    y: np.ndarray,
    x: np.ndarray,
    *,
    frame: tuple[int, int],
    kind: str,
    phases: int,
    missing: bool,
    count: int,
    radius_px: float,
    thickness_um: float,
    thick_um: float | None,
    mixing_px: float,
    seed: int,
) -> Particles:
    """Make particles on points.

    Parameters
    ----------
    y, x : 1-D arrays
        Points in pixels of the image, evenly spaced; they may reach beyond it.
    frame : (y, x)
        Pixels of the image, in which particles lie.
    kind : one of :data:`KINDS`
    phases : int
        Phases in the order of their lithium.
    missing : bool
        Add one more phase, the last of ``fraction``, in a patch of the first particle.
    count, radius_px, thickness_um, thick_um, mixing_px, seed
        As :func:`operando.samples.stxm_particle` says; ``thick_um`` is the thickness of the last particle.
    """
    shapes = _place(frame, count, radius_px, generator(seed, "place"))
    label = np.zeros((y.size, x.size), dtype=np.int32)
    thickness = np.zeros(label.shape)
    fraction = np.zeros((phases + missing, *label.shape))
    step = float(y[1] - y[0])
    for number, shape in enumerate(shapes, start=1):
        rng = generator(seed, "particle", number)
        most = thickness_um * rng.uniform(0.7, 1.0)
        if thick_um is not None and number == len(shapes):
            most = thick_um
        rows, columns = here = _box(shape, y, x)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        radius = shape.radius(y[rows, None], x[None, columns])
        roughness = 1.0 + 0.05 * correlated(rng, radius.shape, max(1.0, 0.25 * radius_px / step))
        profile = most * np.sqrt(np.clip(1.0 - radius**shape.power, 0.0, None))
        part = profile * np.clip(roughness, 0.8, 1.2)
        inner = min(shape.semi)
        offset = (y[rows, None] - shape.center[0], x[None, columns] - shape.center[1])
        shares = phase_field(
            kind,
            offset,
            radius,
            inner=inner,
            outer=max(shape.semi),
            phases=phases,
            mixing=mixing_px,
            step=step,
            rng=rng,
        )
        if kind == "core-shell":
            # The shell also lies above and below the core.
            shell = np.flatnonzero(shares.any(axis=(1, 2)))[-1]
            skin = rng.uniform(0.0, 0.25)
            shares *= 1.0 - skin
            shares[shell] += skin
        if missing:
            patch = np.zeros(part.shape)
            if number == 1:
                # Between center and rim, away from both.
                angle = rng.uniform(0.0, 2.0 * np.pi)
                away = np.hypot(offset[0] - 0.45 * inner * np.sin(angle), offset[1] - 0.45 * inner * np.cos(angle))
                patch = rise(0.35 * inner - away, mixing_px)
            shares = np.concatenate([shares * (1.0 - patch), patch[None]])
        ahead = part > thickness[here]
        label[here][ahead] = number
        thickness[here][ahead] = part[ahead]
        fraction[(slice(None), *here)][:, ahead] = shares[:, ahead]
    return Particles(label, thickness, fraction)


def _place(frame: tuple[int, int], count: int, radius_px: float, rng: np.random.Generator) -> list[_Shape]:
    """Find places for particles, every third beside one that is there, so that the two touch."""
    rows, columns = (np.arange(n, dtype=float) for n in frame)
    taken = np.zeros(frame, dtype=bool)
    shapes: list[_Shape] = []
    for number in range(count):
        for attempt in range(_TRIES):
            shrink = 1.0 - 0.5 * attempt / _TRIES
            size = radius_px * rng.uniform(0.75, 1.15) * shrink
            aspect = rng.uniform(1.0, 1.8)
            semi = (size / np.sqrt(aspect), size * np.sqrt(aspect))
            turn, power = rng.uniform(0.0, np.pi), rng.uniform(2.0, 6.0)
            reach = max(semi) + 1.5
            low, high = (min(reach, 0.5 * (n - 1)) for n in frame), (max(n - 1 - reach, 0.5 * (n - 1)) for n in frame)
            center = tuple(rng.uniform(a, b) for a, b in zip(low, high, strict=True))
            touching = shapes and number % 3 == 2 and attempt < _TRIES // 2
            shape = _Shape(center, semi, turn, power)
            if touching:
                shape = _slide(shape, shapes[int(rng.integers(len(shapes)))], rng.uniform(0.0, 2.0 * np.pi))
                edge = [min(c, n - 1 - c) for c, n in zip(shape.center, frame, strict=True)]
                if min(edge) < reach:
                    continue
            gap = 0.0 if touching else 2.0 / min(semi)
            around = _box(shape, rows, columns, margin=1.0 + gap)
            radius = shape.radius(rows[around[0], None], columns[None, around[1]])
            if not (taken[around] & (radius <= 1.0 + gap)).any():
                shapes.append(shape)
                taken[around] |= radius < 1.0
                break
    return shapes


def _slide(shape: _Shape, other: _Shape, angle: float) -> _Shape:
    """Move a particle along a ray from another one's center until their rims just meet."""
    turn = np.linspace(0.0, 2.0 * np.pi, 180)
    u, v = shape.semi[1] * np.cos(turn), shape.semi[0] * np.sin(turn)
    rim_x, rim_y = u * np.cos(shape.turn) - v * np.sin(shape.turn), u * np.sin(shape.turn) + v * np.cos(shape.turn)
    low, high = 0.0, 2.0 * (max(shape.semi) + max(other.semi))
    for _ in range(20):
        middle = 0.5 * (low + high)
        y, x = other.center[0] + middle * np.sin(angle), other.center[1] + middle * np.cos(angle)
        if (other.radius(y + rim_y, x + rim_x) < 1.0).any():
            low = middle
        else:
            high = middle
    center = (other.center[0] + high * np.sin(angle), other.center[1] + high * np.cos(angle))
    return _Shape(center, shape.semi, shape.turn, shape.power)


def phase_field(
    kind: str,
    offset: Sequence[np.ndarray],
    radius: np.ndarray,
    *,
    inner: float,
    outer: float,
    phases: int,
    mixing: float,
    step: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Shares of each phase in one particle, (component, [z], y, x), which sum to 1 everywhere.

    Parameters
    ----------
    kind : one of :data:`KINDS`
    offset : one array per axis
        Distance of every point from the particle's center in pixels; together they span the box.
    radius : array
        The same relative to the rim, 1 there.
    inner, outer : float
        Shortest and longest semi-axis in pixels.
    phases : int
        How many there may be; a particle holds two or more that follow one another.
    mixing, step : float
        Standard deviation of the mixing across a phase boundary, and distance between points, in pixels.
    """
    present = int(rng.integers(2, phases + 1)) if phases > 1 else 1
    first = int(rng.integers(0, phases - present + 1))
    if kind == "mosaic":
        local = _domains(offset, rng.permutation(present), inner=inner, outer=outer, mixing=mixing / step, rng=rng)
    else:
        if kind == "core-shell":
            depth = (radius - 1.0) * inner
            low, high = -0.8 * inner, -0.1 * inner
        else:
            ahead = rng.standard_normal(len(offset))
            ahead /= np.linalg.norm(ahead)
            depth = np.asarray(sum(a * o for a, o in zip(ahead, offset, strict=True)))
            low, high = -0.6 * inner, 0.6 * inner
        # One edge in each of equal parts, so that every phase has room.
        part = (high - low) / max(present - 1, 1)
        edges = low + part * (np.arange(present - 1) + rng.uniform(0.15, 0.85, present - 1))
        rises = [np.ones(depth.shape), *(rise(depth - edge, mixing) for edge in edges), np.zeros(depth.shape)]
        local = np.stack([rises[k] - rises[k + 1] for k in range(present)])
    shares = np.zeros((phases, *radius.shape))
    shares[first : first + present] = local
    return shares


def _domains(
    offset: Sequence[np.ndarray],
    order: np.ndarray,
    *,
    inner: float,
    outer: float,
    mixing: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Shares of the phases of Voronoi domains, some four across a particle."""
    from scipy.ndimage import gaussian_filter

    sites = max(order.size, int((2.0 * outer / (0.5 * inner)) ** len(offset)))
    places = rng.uniform(-outer, outer, (sites, len(offset)))
    shape = np.broadcast_shapes(*(o.shape for o in offset))
    owner, least = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
    for number, place in enumerate(places):
        distance = np.asarray(sum((o - c) ** 2 for o, c in zip(offset, place, strict=True)))
        closer = distance < least
        owner[closer] = order[number % order.size]
        least[closer] = distance[closer]
    sharp = [(owner == phase).astype(float) for phase in range(order.size)]
    return np.stack([gaussian_filter(one, mixing, mode="nearest") for one in sharp])


def rise(depth: np.ndarray, mixing: float) -> np.ndarray:
    """From 0 to 1 across depth 0, as the integral of a Gaussian whose standard deviation is ``mixing``."""
    from scipy.special import ndtr

    return np.asarray(ndtr(depth / mixing) if mixing > 0 else (depth >= 0).astype(float))


def _box(shape: _Shape, y: np.ndarray, x: np.ndarray, *, margin: float = 1.0) -> tuple[slice, slice]:
    """Least box of points that holds all within ``margin`` times the rim."""
    u, v = shape.semi[1], shape.semi[0]
    cos, sin = np.cos(shape.turn), np.sin(shape.turn)
    half = margin * np.hypot(u * sin, v * cos), margin * np.hypot(u * cos, v * sin)
    found = [np.searchsorted(points, [c - h, c + h]) for points, c, h in zip((y, x), shape.center, half, strict=True)]
    return slice(*map(int, found[0])), slice(*map(int, found[1]))
