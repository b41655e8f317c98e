"""What a scanning X-ray microscope makes of a sample: drift, probe, stray light, counter, and what is true under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from operando.core.errors import InputError
from operando.samples.fields import generator


@dataclass(frozen=True)
class Microscope:
    """How a stack is recorded; the words are those of :func:`operando.samples.stxm_particle`."""

    i0_counts: float
    blur_px: float
    drift_px: float
    stray: float
    dark: float
    dead_time_us: float
    dwell_ms: float
    open_pixels: int

    def check(self, where: str, *, seed: int, **more: float) -> None:
        """Raise where a number is not one that a microscope can have; ``more`` must be positive."""
        whole: dict[str, Any] = {name: more[name] for name in ("n_particles", "supersampling") if name in more}
        for name, value in {"seed": seed, **whole}.items():
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != np.floor(value):
                raise InputError(f"{where}: {name} must be a whole number, got {value!r}. Round it.")
        positive = {"i0_counts": self.i0_counts, "dwell_ms": self.dwell_ms, "open_pixels": self.open_pixels, **more}
        others = {
            "blur_px": self.blur_px,
            "drift_px": self.drift_px,
            "stray": self.stray,
            "dark": self.dark,
            "dead_time_us": self.dead_time_us,
            "seed": seed,
        }
        wrong = {name: value for name, value in positive.items() if not (np.isfinite(value) and value > 0)}
        wrong |= {name: value for name, value in others.items() if not (np.isfinite(value) and value >= 0)}
        if self.stray >= 1:
            wrong["stray"] = self.stray
        if wrong:
            raise InputError(
                f"{where}: {', '.join(positive)} must be positive, {', '.join(others)} not negative and stray, "
                f"a share, below 1, got {wrong}. Leave them out to take the defaults."
            )


@dataclass(frozen=True)
class Grid:
    """Cells on which a sample is made: ``fine`` to a pixel edge, and ``pad`` pixels beyond the image all around."""

    shape: tuple[int, int]
    pad: int
    fine: int

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Centers of the cells along y and x in pixels, 0 at the center of the first pixel of the image."""
        y, x = ((np.arange((n + 2 * self.pad) * self.fine) + 0.5) / self.fine - 0.5 - self.pad for n in self.shape)
        return y, x

    def footprint(self, axis: int, *, blur_px: float, shift_px: float = 0.0) -> Any:
        """Sparse matrix (pixel, cell): share of each cell in what a pixel sees along one axis.

        A pixel sees its own square blurred by the probe, a Gaussian, and with a drift what lies ``shift_px`` before
        it: the integral over the cell, so that every row sums to 1 for any shift.
        """
        from scipy.sparse import csr_array

        cells = self.points[axis]
        reach = 0.5 + 6.0 * blur_px + 1.0 / self.fine
        width = int(np.ceil(2 * reach * self.fine)) + 1
        centers = np.arange(self.shape[axis]) - shift_px
        first = np.ceil((centers - reach - cells[0]) * self.fine).astype(int)
        columns = first[:, None] + np.arange(width)
        low = (columns / self.fine + cells[0] - 0.5 / self.fine) - centers[:, None]
        shares = np.maximum(_blurred_square(low + 1.0 / self.fine, blur_px) - _blurred_square(low, blur_px), 0.0)
        shares /= shares.sum(axis=1, keepdims=True)
        rows = np.repeat(np.arange(centers.size), width)
        # Beyond the cells the sample goes on as at their rim.
        inside = np.clip(columns.ravel(), 0, cells.size - 1)
        return csr_array((shares.ravel(), (rows, inside)), shape=(centers.size, cells.size))


def _blurred_square(u: np.ndarray, blur_px: float) -> np.ndarray:
    """Integral up to ``u`` of a square of width 1 around 0, blurred by a Gaussian."""
    from scipy.special import ndtr

    def twice(v: np.ndarray) -> np.ndarray:
        if blur_px == 0:
            return np.maximum(v, 0.0)
        return np.asarray(v * ndtr(v / blur_px) + blur_px * np.exp(-0.5 * (v / blur_px) ** 2) / np.sqrt(2.0 * np.pi))

    return twice(u + 0.5) - twice(u - 0.5)


def drift(count: int, rms_px: float, seed: int) -> np.ndarray:
    """Random walk with a few jumps, (count, 2) in pixels, mean 0 and root mean square ``rms_px`` along each axis."""
    rng = generator(seed, "drift")
    steps = rng.standard_normal((count, 2))
    jumps = rng.random(count) < 3.0 / max(count, 3)
    steps[jumps] += 5.0 * rng.standard_normal((int(jumps.sum()), 2))
    walk = np.cumsum(steps, axis=0)
    walk -= walk.mean(axis=0)
    spread = np.sqrt(np.mean(walk**2, axis=0))
    return np.asarray(rms_px * walk / np.where(spread > 0, spread, 1.0))


def beam(energy: np.ndarray, i0_counts: float) -> np.ndarray:
    """Photons per pixel over energy: falling slowly, with a dip of a tenth where oxygen on the optics absorbs."""
    middle = 0.5 * (energy.max() + energy.min())
    half = max(0.5 * float(np.ptp(energy)), 1.0)
    slope = 1.0 - 0.05 * (energy - middle) / half
    dip = 1.0 - 0.1 * np.exp(-0.5 * ((energy - 531.0) / 1.5) ** 2)
    return np.asarray(i0_counts * slope * dip)


def counted(photons: np.ndarray, microscope: Microscope, rng: np.random.Generator) -> np.ndarray:
    """What the counter says where ``photons`` are expected, dark counts included.

    The counter is dead for a fixed time after each count: of rate r it counts m = r / (1 + r tau), with the variance
    r T / (1 + r tau)^3 of that process in the dwell time T.
    """
    expected = photons + microscope.dark
    arrived = rng.poisson(expected).astype(float)
    load = dead_load(expected, microscope)
    if microscope.dead_time_us == 0:
        return arrived
    return np.asarray(np.maximum(np.round(expected / (1 + load) + (arrived - expected) / (1 + load) ** 1.5), 0.0))


def dead_load(expected: np.ndarray, microscope: Microscope) -> np.ndarray:
    """Photons that would arrive in a dead time, r tau."""
    return np.asarray(expected * microscope.dead_time_us / (1e3 * microscope.dwell_ms))


def open_region(photons: np.ndarray, microscope: Microscope, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean count of the pixels beside the sample and its sigma, (energy,) each."""
    frames = np.repeat(photons[:, None], microscope.open_pixels, axis=1)
    seen = counted(frames, microscope, rng)
    expected = photons + microscope.dark
    variance = expected / (1.0 + dead_load(expected, microscope)) ** 3
    return seen.mean(axis=1), np.sqrt(variance / microscope.open_pixels)
