"""A lithium surface that grows by a stated law into an electrolyte that it depletes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from operando.core.errors import InputError
from operando.samples.fields import generator
from operando.samples.srs_diffusion import Electrolyte, demand
from operando.samples.srs_law import curvature_of, log_forecast, log_known, smooth_normal, stage_of, visible_rate

# Columns simulated on either side of the picture, so that its sides are no walls and do not touch each other.
_BESIDE = 32
_STEPS = 20
_SURFACE_LENGTH_UM = 6.0
_FLUX_LENGTH_UM = 20.0
_FLUX_PERSISTENCE = 0.8
# Below this share of the initial salt diffusion, not the current, says how much is consumed.
_HALF = 0.02


@dataclass(frozen=True)
class Growth:
    """What is grown: lengths in um, times in s, concentrations in mol L-1."""

    rows: int
    columns: int
    frames: int
    interval_s: float
    pixel_um: float
    current_density: float
    initial: float
    diffusivity: float
    transference: float
    uneven: float
    roughness_um: float
    law: dict[str, Any]
    seed: int


def grow(setup: Growth, *, where: str) -> dict[str, Any]:
    """Everything that is true, frame by frame, with the metal at the low end of y."""
    law, pixel, seed = setup.law, setup.pixel_um, setup.seed
    width = setup.columns + 2 * _BESIDE
    seen = slice(_BESIDE, _BESIDE + setup.columns)
    rho = law["persistence"]

    def process(name: str, number: int, length_um: float) -> np.ndarray:
        return smooth_normal(generator(seed, name, number), width, length_um / pixel)

    duration = setup.interval_s * max(setup.frames - 1, 1)
    cell = Electrolyte(
        width,
        reach_um=max(setup.rows * pixel, 6.0 * np.sqrt(setup.diffusivity * duration)),
        initial=setup.initial,
        diffusivity=setup.diffusivity,
        pixel_um=pixel,
        half=_HALF * setup.initial,
    )
    height = 0.15 * setup.rows * pixel + setup.roughness_um * process("surface", 0, _SURFACE_LENGTH_UM)
    field = process("hidden", 0, law["hidden_length_um"])
    pattern = process("flux", 0, _FLUX_LENGTH_UM)
    level = (np.arange(setup.rows) + 0.5) * pixel
    local = np.zeros(width)  # salt that the current asks for, column by column: none before it is applied
    before: Any = None
    rows: list[dict[str, Any]] = []
    for number in range(setup.frames):
        if height[seen].min() < 0.0 or height[seen].max() > setup.rows * pixel:
            raise InputError(
                f"{where}: the lithium must stay in the picture of {setup.rows * pixel:g} um, but lies from "
                f"{height[seen].min():.3g} to {height[seen].max():.3g} um at frame {number}. Take more rows, fewer "
                "frames or less roughness_um."
            )
        # What was consumed up to this moment made the concentration as it is.
        surface, gradient = cell.at_surface(height, local)
        curvature = curvature_of(height, pixel, law["curvature_sigma_um"])
        # Stage and mean are those of what the picture shows; beside it the same law holds.
        mean = float(surface[seen].mean())
        visible = visible_rate(surface, curvature, mean=mean, initial=setup.initial, law=law)
        velocity = visible * np.exp(log_known(field, law))
        expected = visible if before is None else visible * np.exp(log_forecast(before, law))
        rows.append(
            {
                "height": height[seen],
                "surface_concentration": surface[seen],
                "concentration_gradient": gradient[seen],
                "curvature": curvature[seen],
                "hidden": field[seen],
                "growth_rate": velocity[seen] if number < setup.frames - 1 else np.full(setup.columns, np.nan),
                "expected_growth_rate": expected[seen],
                "visible_growth_rate": visible[seen],
                "stage": int(stage_of(mean, setup.initial, law)),
                "concentration": _on_pixels(cell, surface[seen], height[seen], level, seen),
            }
        )
        if number == setup.frames - 1:
            break
        local = np.exp(setup.uneven * pattern)
        # However uneven the flux, its mean is the current's.
        local *= demand(setup.current_density, setup.transference) / local.mean()
        seconds = setup.interval_s / _STEPS
        for step in range(_STEPS):
            cell.advance(height + velocity / 60.0 * seconds * (step + 0.5), velocity / 60.0, local, seconds)
        height = height + velocity * (setup.interval_s / 60.0)
        pattern = _next(pattern, process("flux", number + 1, _FLUX_LENGTH_UM), _FLUX_PERSISTENCE)
        before, field = field, _next(field, process("hidden", number + 1, law["hidden_length_um"]), rho)
    truth: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    truth["salt_balance"] = cell.balance()
    return truth


def _next(field: np.ndarray, fresh: np.ndarray, persistence: float) -> np.ndarray:
    """The next of a series of variance 1."""
    return persistence * field + np.sqrt(1.0 - persistence**2) * fresh


def _on_pixels(
    cell: Electrolyte, surface: np.ndarray, height: np.ndarray, level: np.ndarray, seen: slice
) -> np.ndarray:
    """Concentration at pixel centers (y, x), NaN below the surface."""
    eta = np.concatenate([[0.0], cell.center])
    values = np.concatenate([surface[None], cell.c[:, seen]])
    image = np.empty((level.size, height.size))
    for column in range(height.size):
        above = level - height[column]
        image[:, column] = np.interp(above, eta, values[:, column])
        image[above < 0.0, column] = np.nan
    return image
