"""The law by which the simulated lithium grows: what of it can be seen, what is hidden, and what can be expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

STAGES = ("none", "partial", "full")
"""Depletion of the salt at the surface, in the order of ``stage`` 0, 1, 2."""

LAW: dict[str, Any] = {
    "velocity": (0.04, 0.41, 0.64),
    "stage_above": (0.5, 0.12),
    "concentration_exponent": (1.3, 0.8, 0.65),
    "concentration_width": 0.4,
    "tip": 0.1,
    "tip_length_um": 5.0,
    "curvature_sigma_um": 3.0,
    "hidden": 0.5,
    "hidden_effect": 0.28,
    "persistence": 0.6,
    "hidden_length_um": 8.0,
}
"""Coefficients of :func:`visible_rate` and their defaults: velocities in um min-1 are the paper's, the rest is ours."""


def stage_of(mean_concentration: Any, initial: float, law: Mapping[str, Any]) -> np.ndarray:
    """Stage 0, 1 or 2 from the lateral mean of the surface concentration.

    Examples
    --------
    >>> stage_of([0.33, 0.1, 0.01], 0.33, LAW).tolist()
    [0, 1, 2]
    """
    share = np.asarray(mean_concentration, dtype=float) / initial
    partial, full = law["stage_above"]
    return (share <= partial).astype(np.int64) + (share <= full)


def visible_rate(
    concentration: np.ndarray, curvature: np.ndarray, *, mean: float, initial: float, law: Mapping[str, Any]
) -> np.ndarray:
    """Growth rate in um min-1 that concentration (mol L-1) and curvature (um-1) alone account for.

    .. math:: v = V_s \\exp[a_s w \\tanh(\\ln(c / C) / w) + a_k \\tanh(\\lambda \\kappa)]

    with C the ``mean`` of c over the frame and s its stage.
    """
    stage = int(stage_of(mean, initial, law))
    width = law["concentration_width"]
    exponent = law["concentration_exponent"][stage] * width * np.tanh(np.log(concentration / mean) / width)
    exponent = exponent + law["tip"] * np.tanh(law["tip_length_um"] * curvature)
    return np.asarray(law["velocity"][stage] * np.exp(exponent))


def log_known(field: Any, law: Mapping[str, Any]) -> Any:
    """Logarithm of the factor by which a known hidden field changes growth; the mean of the factor is 1."""
    s = law["hidden"] * law["hidden_effect"]
    return s * field - 0.5 * s**2


def log_forecast(previous: Any, law: Mapping[str, Any]) -> Any:
    """Logarithm of the *expected* factor where the hidden field is known of the frame before only.

    E[exp(s g - s^2 / 2)] with g normal around rho g_before with variance 1 - rho^2.
    """
    s = law["hidden"] * law["hidden_effect"] * law["persistence"]
    return s * previous - 0.5 * s**2


def smooth_normal(rng: np.random.Generator, size: int, length: float) -> np.ndarray:
    """Stationary periodic normal process along a line: mean 0, variance 1, correlation exp(-r^2 / 4 length^2)."""
    frequency = 2.0 * np.pi * np.fft.rfftfreq(size)
    response = np.exp(-0.5 * (frequency * length) ** 2)
    # The variance of white noise seen through this filter, so that the process has 1 exactly, not each sample.
    both_sides = np.concatenate([response, response[1 : (size + 1) // 2]])
    noise = np.fft.rfft(rng.standard_normal(size))
    return np.fft.irfft(noise * response, size) / np.sqrt(np.mean(both_sides**2))


def curvature_of(height: np.ndarray, pixel_um: float, sigma_um: float) -> np.ndarray:
    """Curvature in um-1, positive at a tip, of a periodic line after a Gaussian of ``sigma_um``."""
    k = 2.0 * np.pi * np.fft.rfftfreq(height.size, d=pixel_um)
    spectrum = np.fft.rfft(height) * np.exp(-0.5 * (k * sigma_um) ** 2)
    slope = np.fft.irfft(1j * k * spectrum, height.size)
    return np.asarray(np.fft.irfft(k**2 * spectrum, height.size) / (1.0 + slope**2) ** 1.5)
