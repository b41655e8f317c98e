"""Noise of counted photons: its formula, and that it makes fits unbiased."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.spectral import PoissonNoise, unmix

ENERGIES = np.linspace(510.0, 530.0, 30)


def references():
    values = np.exp(-(((ENERGIES - np.array([[514.0], [521.0]])) / 2) ** 2)) + 0.4
    return xr.DataArray(values, dims=("component", "energy"), coords={"component": ["a", "b"], "energy": ENERGIES})


def density(photons, *, seed, dark=0.0, shape=(150, 150)):
    """Optical density of (1, 0.7) from counted photons, as a detector with dark counts would give it."""
    truth = 1.0 * references()[0] + 0.7 * references()[1]
    mean = photons * np.exp(-truth.values)[:, None, None] + dark
    counts = np.random.default_rng(seed).poisson(mean, (30, *shape)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(photons / (counts - dark))
    return xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": ENERGIES})


def test_sigma_is_one_over_the_root_of_the_photons():
    noise = PoissonNoise(np.full(30, 110.0), dark=10.0)
    sigma = noise.sigma(xr.DataArray(np.full((30, 1), np.log(10.0)), dims=("energy", "x")))
    np.testing.assert_allclose(sigma, np.sqrt(20.0) / 10.0)
    gained = PoissonNoise(np.full(30, 100.0), i0_sigma=np.full(30, 3.0), photons_per_count=4.0)
    np.testing.assert_allclose(gained.sigma(np.zeros((30, 1))), np.sqrt(1 / 400 + 0.03**2))


def test_a_fit_with_noise_from_the_fit_has_no_bias_where_the_others_do():
    images = density(60.0, seed=0)
    counts = 60.0 * np.exp(-images)
    noise = PoissonNoise(xr.DataArray(np.full(30, 60.0), dims="energy", coords={"energy": ENERGIES}))
    found = {
        name: unmix(images, references(), sigma=sigma)
        for name, sigma in {"equal": None, "counted": 1 / np.sqrt(counts), "fitted": noise}.items()
    }
    off = {name: float(one["thickness"].mean() - 1.7) for name, one in found.items()}
    error = float(found["fitted"]["thickness"].std()) / 150
    assert abs(off["fitted"]) < 4 * error + 0.001
    assert off["equal"] > 0.02
    assert off["counted"] < -0.02
    assert float(found["fitted"]["chi2_reduced"].mean()) == pytest.approx(1.0, abs=0.01)
    for name, truth in (("a", 1.0), ("b", 0.7)):
        one = found["fitted"].sel(component=name)
        covered = ((one["weight_low"] <= truth) & (truth <= one["weight_high"])).mean()
        assert float(covered) == pytest.approx(0.95, abs=0.01)


def test_dark_counts_widen_the_error_and_leave_the_weights():
    images = density(400.0, seed=1, dark=100.0, shape=(60, 60))
    noise = PoissonNoise(np.full(30, 500.0), dark=100.0)
    found = unmix(images, references(), sigma=noise)
    assert float(found["thickness"].mean()) == pytest.approx(1.7, abs=0.005)
    assert float(found["chi2_reduced"].mean()) == pytest.approx(1.0, abs=0.02)
    assert (
        found["weight_sigma"] > unmix(images, references(), sigma=PoissonNoise(np.full(30, 400.0)))["weight_sigma"]
    ).all()


def test_the_fit_is_that_of_largest_likelihood():
    from scipy.optimize import minimize

    image = density(300.0, seed=2, shape=(1, 1))[:, 0, 0]
    counts, matrix = 300.0 * np.exp(-image.values), references().values

    def minus_log_likelihood(w):
        od = w @ matrix
        return np.sum(300.0 * np.exp(-od) + counts * od)

    best = minimize(minus_log_likelihood, [1.0, 0.7], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12})
    found = unmix(image, references(), sigma=PoissonNoise(np.full(30, 300.0)))
    np.testing.assert_allclose(found["weight"], best.x, rtol=1e-4)


def test_a_lazy_stack_of_counts_is_fitted_as_one_in_memory():
    images = density(200.0, seed=3, shape=(20, 30))
    images[4, 3, 2] = np.nan
    noise = PoissonNoise(np.full(30, 200.0))
    lazy = unmix(images.chunk(y=7, energy=10), references(), sigma=noise)
    assert lazy["weight"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), unmix(images, references(), sigma=noise), rtol=1e-9)
    assert lazy["n_energies"].compute()[3, 2] == 29


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PoissonNoise(np.array([10.0, 5.0]), dark=5.0), r"above dark \(5\) per energy, got .* 5 at the least"),
        (lambda: PoissonNoise(np.array([10.0]), dark=-1.0), "dark must be zero or more"),
        (lambda: PoissonNoise(np.array([10.0]), photons_per_count=0.0), "photons_per_count positive"),
        (lambda: PoissonNoise(np.ones(3)).sigma(np.ones((4, 2))), "i0 has 3 energies, the stack 4"),
    ],
)
def test_noise_that_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_sigma_of_a_stack_keeps_its_axes_and_energies_in_any_order():
    images = density(100.0, seed=5, shape=(4, 6))
    i0 = xr.DataArray(np.linspace(100.0, 200.0, 30), dims="energy", coords={"energy": ENERGIES})
    sigma = PoissonNoise(i0).sigma(images)
    np.testing.assert_allclose(sigma, 1 / np.sqrt(i0.values[:, None, None] * np.exp(-images.values)))
    xr.testing.assert_allclose(PoissonNoise(i0[::-1]).sigma(images), sigma)
    xr.testing.assert_allclose(PoissonNoise(i0).sigma(images.transpose("y", "x", "energy")), sigma)
