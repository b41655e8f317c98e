"""Salt above a moving surface: known solutions, conservation, convergence."""

import numpy as np
import pytest

from operando.samples.srs_diffusion import Electrolyte, demand, sand_time

COLUMNS = 32


def _cell(**options) -> Electrolyte:
    made = {"reach_um": 1500.0, "initial": 0.33, "diffusivity": 16.0, "pixel_um": 1.0, "half": 1e-9}
    return Electrolyte(COLUMNS, **{**made, **options})


def _surface(cell: Electrolyte, height: np.ndarray, flux: np.ndarray) -> np.ndarray:
    return cell.at_surface(height, flux)[0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_flat_electrode_follows_sand(share):
    cell, flat = _cell(), np.zeros(COLUMNS)
    flux = np.full(COLUMNS, demand(0.6, 0.64))
    steps = 200
    for _ in range(steps):
        cell.advance(flat, flat, flux, share * sand_time(0.6, 0.64, 0.33, 16.0) / steps)
    expected = 0.33 * (1.0 - np.sqrt(share))
    assert _surface(cell, flat, flux)[0] == pytest.approx(expected, abs=0.004)


def test_nothing_happens_without_current_whatever_the_surface():
    cell = _cell()
    height = 4.0 * np.sin(2.0 * np.pi * np.arange(COLUMNS) / COLUMNS)
    for _ in range(20):
        cell.advance(height, np.full(COLUMNS, 0.01), np.zeros(COLUMNS), 15.0)
    np.testing.assert_allclose(cell.c, 0.33, rtol=1e-12)


def test_salt_is_conserved_on_a_rough_moving_surface():
    rng = np.random.default_rng(0)
    cell = _cell(half=0.006)
    height = np.cumsum(rng.normal(size=COLUMNS))
    height -= np.linspace(0.0, height[-1], COLUMNS)
    flux = demand(1.3, 0.64) * rng.uniform(0.5, 1.5, COLUMNS)
    before = cell.salt()
    for _ in range(100):
        cell.advance(height, rng.uniform(0.0, 0.01, COLUMNS), flux, 10.0)
    assert cell.salt() < 0.95 * before
    assert cell.balance() == pytest.approx(1.0, abs=1e-12)
    assert (cell.c > 0.0).all()


def test_a_gentle_wave_sees_the_concentration_of_its_height():
    # With the flux even per projected length, c = G h + b cos(k x) at the surface to first order, k b = a c_yy, and
    # c_yy = -G / sqrt(pi D t) for a flux that has flown for t: less than G h by 1 / (k sqrt(pi D t)).
    cell = _cell(pixel_um=0.5)
    k, seconds = 4.0 * np.pi / COLUMNS, 500.0
    wave = 0.5 * np.cos(2.0 * np.pi * np.arange(COLUMNS) / COLUMNS)
    flux = np.full(COLUMNS, demand(0.6, 0.64))
    for _ in range(200):
        cell.advance(wave, np.zeros(COLUMNS), flux, seconds / 200)
    surface, gradient = cell.at_surface(wave, flux)
    expected = flux[0] / 16.0 * (1.0 - 1.0 / (k * np.sqrt(np.pi * 16.0 * seconds)))
    assert np.polyfit(wave, surface, 1)[0] == pytest.approx(expected, rel=0.015)
    np.testing.assert_allclose(gradient, flux / 16.0, rtol=0.01)


def test_shorter_steps_converge():
    height = 3.0 * np.cos(2.0 * np.pi * np.arange(COLUMNS) / COLUMNS)
    flux = demand(0.6, 0.64) * (1.0 + 0.3 * np.sin(2.0 * np.pi * np.arange(COLUMNS) / COLUMNS))
    found = []
    for steps in (20, 40, 80, 320):
        cell = _cell(half=0.006)
        for _ in range(steps):
            cell.advance(height, np.full(COLUMNS, 0.005), flux, 1500.0 / steps)
        found.append(_surface(cell, height, flux))
    errors = [np.abs(one - found[-1]).max() for one in found[:-1]]
    assert errors[0] > 1.6 * errors[1]
    assert errors[1] > 1.6 * errors[2]
    assert errors[-1] < 0.002 * 0.33


def test_demand_is_what_faraday_says_and_sand_time_falls_with_the_square_of_the_current():
    # 1 mA cm-2 is 1e-3 / 96485 mol cm-2 s-1, and 1 mol L-1 um is 1e-7 mol cm-2.
    assert demand(1.0, 0.0) == pytest.approx(1e-3 / 96485.33 / 1e-7, rel=1e-6)
    assert sand_time(0.6, 0.3, 0.33, 16.0) / sand_time(1.2, 0.3, 0.33, 16.0) == pytest.approx(4.0)
