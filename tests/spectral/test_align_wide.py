"""Stacks of many kinds, made without the package, are aligned; what cannot be told is stated as such."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from operando.spectral import align


def _loaded() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "align_cases.py"
    spec = importlib.util.spec_from_file_location("align_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["align_cases"] = module
    spec.loader.exec_module(module)
    return module


cases = _loaded()


@pytest.mark.parametrize("image", cases.IMAGES)
@pytest.mark.parametrize("spectrum", ["one", "two", "three", "turning over"])
@pytest.mark.parametrize(
    ("noise", "drift", "mover"),
    [
        (0.0, "walk", "formula"),
        (0.0, "jumps", "fourier"),
        (1e-3, "line", "spline, edge"),
        (1e-2, "whole pixels", "formula"),
        ("1e4 photons", "walk", "spline, zero"),
    ],
)
def test_drift_of_any_stack_is_found_to_a_twentieth_of_a_pixel(
    image: str, spectrum: str, noise: object, drift: str, mover: str
) -> None:
    chosen = {"image": image, "spectrum": spectrum, "noise": noise, "drift": drift, "mover": mover}
    case = cases.draw(3950, size=64, count=21, **chosen)
    found = align(case.stack)
    assert np.sqrt(np.mean(cases.error(case, found) ** 2)) < max(0.05, 2 * case.bound)


@pytest.mark.parametrize("seed", range(3960, 3964))
def test_images_that_noise_hides_before_the_edge_have_a_large_error(seed: int) -> None:
    case = cases.draw(seed, spectrum="faint before the edge", noise="1e2 photons", size=64, count=21)
    found = align(case.stack)
    away = cases.error(case, found)
    # Lost images move the mean of all.
    away -= np.median(away, axis=0)
    assert np.all(np.abs(away).max(axis=1) < 4 * found.shift_sigma.values)


def _blobs(places: list[tuple[float, float]], width: float, size: int, shift: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.array(
        [np.exp(-0.5 * ((y - dy - shift[0]) ** 2 + (x - dx - shift[1]) ** 2) / width**2) for dy, dx in places]
    )


def test_two_smooth_blobs_are_not_refused() -> None:
    shifts = np.cumsum(np.random.default_rng(3000).normal(0, 0.3, (21, 2)), axis=0)
    shifts -= shifts.mean(axis=0)
    spectra = np.stack([np.linspace(0.3, 1, 21), 1 - 0.5 * np.linspace(0, 1, 21) ** 2], axis=1)
    density = [c @ _blobs([(16, 18), (30, 32)], 4, 48, s).reshape(2, -1) for c, s in zip(spectra, shifts, strict=True)]
    found = align(xr.DataArray(np.reshape(density, (21, 48, 48)), dims=("energy", "y", "x")))
    errors = np.stack([found.shift_y, found.shift_x], axis=1) - shifts
    assert np.sqrt(np.mean(errors**2)) < 0.05
