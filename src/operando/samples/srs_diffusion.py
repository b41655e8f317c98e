"""Salt above a moving, uneven electrode: diffusion in coordinates that move with the surface, in conservative form."""

from __future__ import annotations

import numpy as np

from operando.core.lithium import FARADAY_C_MOL


class Electrolyte:
    r"""Concentration on cells (level, column) above the surface, periodic along the columns.

    A level is a distance eta above the surface *along y*, eta = y - h(x, t). In these coordinates diffusion is exactly

    .. math:: \partial_t c = \partial_\eta [\dot h c + D (1 + h_x^2) c_\eta - D h_x c_x]
              + \partial_x [D c_x - D h_x c_\eta]

    and at the surface the salt consumed per projected area and time is N(x) c / (c + K): what the current asks for
    while there is salt, what diffusion brings once there is none. Electrolyte that the surface passes stays behind,
    with its salt, in the pores of the deposit.

    Each step is implicit in eta and in x one after the other, explicit in the mixed terms; every term is a flux
    between cells, so that salt is conserved to rounding: ``balance()``.
    """

    def __init__(
        self, columns: int, *, reach_um: float, initial: float, diffusivity: float, pixel_um: float, half: float
    ) -> None:
        growth, first = 1.06, 0.5
        count = int(np.ceil(np.log1p(reach_um * (growth - 1.0) / first) / np.log(growth)))
        self.thickness = first * growth ** np.arange(count)
        self.face = np.concatenate([[0.0], np.cumsum(self.thickness)])
        self.center = 0.5 * (self.face[1:] + self.face[:-1])
        self.between = np.diff(self.center)
        self.c = np.full((count, columns), float(initial))
        self.diffusivity, self.pixel_um, self.half = diffusivity, pixel_um, half
        self.passed = 0.0
        self._start = self.salt()
        k = 2.0 * np.pi * np.fft.rfftfreq(columns)
        self._laplacian = (2.0 - 2.0 * np.cos(k)) / pixel_um**2

    def salt(self) -> float:
        """Salt per column of the field, mol L-1 um2."""
        return float((self.c * self.thickness[:, None]).sum() * self.pixel_um)

    def balance(self) -> float:
        """Salt that is there plus what has left, over what was there at first; 1 but for rounding."""
        return (self.salt() + self.passed) / self._start

    def advance(self, height: np.ndarray, velocity: np.ndarray, demand: np.ndarray, seconds: float) -> None:
        """One step of ``seconds`` with the surface at ``height`` (um).

        It moves at ``velocity`` (um s-1) and consumes up to ``demand`` (mol L-1 um s-1), each an array over columns.
        """
        c, d, step = self.c, self.diffusivity, self.pixel_um
        slope = (np.roll(height, -1) - np.roll(height, 1)) / (2.0 * step)
        # What the fluxes across every face of every cell change, at the old concentration.
        up = np.zeros((c.shape[0] + 1, c.shape[1]))
        up[1:-1] = velocity * c[1:]
        up[0], up[-1] = velocity * c[0], velocity * c[-1]
        passed = float((up[0] - up[-1]).sum())
        across = (np.roll(c, -1, axis=1) - np.roll(c, 1, axis=1)) / (2.0 * step)
        along = d * (1.0 + slope**2)
        up[1:-1] += along * np.diff(c, axis=0) / self.between[:, None]
        up[1:-1] -= d * slope * 0.5 * (across[1:] + across[:-1])
        # Consumption, linear around the old concentration of the first cells.
        surface = self.surface(demand, along)
        rate = demand * self.half / (surface + self.half) ** 2
        rate = rate / (1.0 + 0.5 * self.thickness[0] * rate / along)
        consumed = demand * surface / (surface + self.half)
        up[0] += consumed
        rise = np.gradient(c, self.center, axis=0)
        edge = d * (np.roll(c, -1, axis=1) - c) / step
        edge -= d * 0.5 * (slope + np.roll(slope, -1)) * 0.5 * (rise + np.roll(rise, -1, axis=1))
        change = seconds * (np.diff(up, axis=0) / self.thickness[:, None] + (edge - np.roll(edge, 1, axis=1)) / step)
        # The change, not the concentration, is split into x and eta (Douglas): what is steady stays exactly.
        change = np.fft.irfft(np.fft.rfft(change, axis=1) / (1.0 + seconds * d * self._laplacian), c.shape[1], axis=1)
        change = _implicit(change, along, rate, seconds, self.thickness, self.between)
        self.c = c + change
        passed += float((consumed + rate * change[0]).sum())
        self.passed += seconds * step * passed

    def surface(self, demand: np.ndarray, along: np.ndarray | float) -> np.ndarray:
        """Concentration at the surface, where what diffuses there, with ``along`` for D, is what is consumed."""
        g = demand * 0.5 * self.thickness[0] / along
        # Never quite zero, so that its logarithm exists.
        c = np.maximum(self.c[0], 1e-3 * self.half)
        b = c - self.half - g
        root = np.sqrt(b**2 + 4.0 * self.half * c)
        # The same root twice, each where it does not cancel.
        return np.asarray(np.where(b > 0.0, 0.5 * (b + root), 2.0 * self.half * c / (root - np.minimum(b, 0.0))))

    def at_surface(self, height: np.ndarray, demand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Concentration at the surface (mol L-1) and how it rises along y there (mol L-1 um-1)."""
        slope = (np.roll(height, -1) - np.roll(height, 1)) / (2.0 * self.pixel_um)
        along = self.diffusivity * (1.0 + slope**2)
        surface = self.surface(demand, along)
        across = (np.roll(surface, -1) - np.roll(surface, 1)) / (2.0 * self.pixel_um)
        consumed = demand * surface / (surface + self.half)
        return surface, (consumed + self.diffusivity * slope * across) / along


def demand(current_density: float, transference: float) -> float:
    """Salt that a current in mA cm-2 consumes at the surface, in mol L-1 um s-1.

    Examples
    --------
    >>> round(demand(0.6, 0.0), 5)
    0.06219
    """
    return 1e4 * current_density * (1.0 - transference) / FARADAY_C_MOL


def sand_time(current_density: float, transference: float, initial: float, diffusivity: float) -> float:
    """Time in seconds at which a flat surface of a large cell runs out of salt.

    .. math:: \\tau = \\pi D \\left(\\frac{c_0}{2 N}\\right)^2

    Examples
    --------
    >>> round(sand_time(0.6, 0.69, 0.33, 16.0) / 60)
    61
    """
    return float(np.pi * diffusivity * (0.5 * initial / demand(current_density, transference)) ** 2)


def _implicit(
    c: np.ndarray, along: np.ndarray, rate: np.ndarray, seconds: float, thickness: np.ndarray, between: np.ndarray
) -> np.ndarray:
    """Solve (1 - dt d/deta along d/deta) c = c, all columns at once, losing ``rate`` times c at the bottom."""
    link = seconds / between
    lower = -(link / thickness[1:])[:, None] * along
    upper = -(link / thickness[:-1])[:, None] * along
    diagonal = np.ones_like(c)
    diagonal[:-1] -= upper
    diagonal[1:] -= lower
    diagonal[0] += seconds * rate / thickness[0]
    out = c.copy()
    for level in range(1, c.shape[0]):
        factor = lower[level - 1] / diagonal[level - 1]
        diagonal[level] -= factor * upper[level - 1]
        out[level] -= factor * out[level - 1]
    out[-1] /= diagonal[-1]
    for level in range(c.shape[0] - 2, -1, -1):
        out[level] = (out[level] - upper[level] * out[level + 1]) / diagonal[level]
    return out
