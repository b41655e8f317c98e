"""Where another set of phases fits as well."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls

from operando.core.errors import InputError
from operando.spectral import PoissonNoise, ambiguity, unmix

ENERGY = np.linspace(510.0, 530.0, 41)


def line(center, width=1.5):
    return np.exp(-0.5 * ((ENERGY - center) / width) ** 2)


def references(rows, names):
    return xr.DataArray(np.array(rows), dims=("component", "energy"), coords={"component": names, "energy": ENERGY})


DISTINCT = references([line(515), line(520), line(525)], ["a", "b", "c"])
# b is the mean of a and c but for a line that only it has.
MIXED = references([line(515), 0.5 * line(515) + 0.5 * line(525) + 0.03 * line(520), line(525)], ["a", "b", "c"])


def noisy(spectra, weight, sigma, seed=0):
    rng = np.random.default_rng(seed)
    clean = xr.dot(spectra, weight, dim="component")
    return clean + sigma * rng.standard_normal(clean.shape)


def maps(rows):
    return xr.DataArray(np.array(rows, dtype=float), dims=("component", "x"), coords={"component": ["a", "b", "c"]})


def test_phases_that_are_alike_no_other_are_not_ambiguous():
    weight = maps([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 0.5]])
    data = noisy(DISTINCT, weight, 0.01)
    found = ambiguity(data, DISTINCT, unmix(data, DISTINCT, sigma=0.01), sigma=0.01)
    assert (found.ambiguity < 0.05).all()
    present = weight.values > 0
    assert (found.evidence.values[present] > 10_000).all()
    assert (found.evidence.values[~present] < 10).all()


def test_a_phase_between_two_others_is_exchanged_where_noise_hides_the_difference():
    weight = maps([[0.0], [1.0], [0.0]])
    for sigma, expected in ((0.05, 1.0), (0.0005, 0.0)):
        data = noisy(MIXED, weight, sigma, seed=3)
        fit = xr.Dataset({"weight": weight})
        found = ambiguity(data, MIXED, fit, sigma=sigma)
        assert float(found.ambiguity[0]) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(found.alternative.values).all()


def test_the_alternative_is_the_best_fit_without_the_phase():
    rng = np.random.default_rng(1)
    weight = maps(rng.random((3, 12)) * (rng.random((3, 12)) < 0.7))
    data = noisy(MIXED, weight, 0.05)
    fit = unmix(data, MIXED, sigma=0.05)
    found = ambiguity(data, MIXED, fit, sigma=0.05, level=0.95)
    for p in range(12):
        own = fit.weight.values[:, p]
        best = np.sum((data.values[:, p] - own @ MIXED.values) ** 2) / 0.05**2
        scale = max(1.0, best / (ENERGY.size - np.count_nonzero(own)))
        most = 0.0
        for j in np.flatnonzero(own):
            kept = [k for k in range(3) if k != j]
            other = np.zeros(3)
            other[kept], norm = nnls(MIXED.values[kept].T, data.values[:, p])
            worse = (norm**2 / 0.05**2 - best) / scale
            assert float(found.evidence[j, p]) == pytest.approx(worse, rel=1e-6, abs=1e-6)
            if worse < 3.8414588:
                moved = 0.5 * np.abs(own / own.sum() - other / max(other.sum(), 1e-30)).sum()
                most = max(most, moved)
        if np.isfinite(found.ambiguity[p]):
            assert float(found.ambiguity[p]) == pytest.approx(most, abs=1e-6)


def test_a_pixel_without_a_phase_has_no_ambiguity():
    data = noisy(DISTINCT, maps([[0.0], [0.0], [0.0]]), 0.01, seed=5)
    found = ambiguity(data, DISTINCT, unmix(data, DISTINCT, sigma=0.01), sigma=0.01)
    assert np.isnan(found.ambiguity.values).all()


def test_missing_values_are_left_out_and_missing_pixels_stay_missing():
    weight = maps([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    data = noisy(DISTINCT, weight, 0.01)
    data[:, 1] = data[:, 0]
    data[5, 1] = np.nan
    data[:, 2] = np.nan
    found = ambiguity(data, DISTINCT, unmix(data, DISTINCT, sigma=0.01), sigma=0.01)
    whole = np.delete(np.arange(ENERGY.size), 5)
    same = ambiguity(data[whole], DISTINCT[:, whole], unmix(data[whole], DISTINCT[:, whole], sigma=0.01), sigma=0.01)
    assert found.evidence[:, 1].values == pytest.approx(same.evidence[:, 1].values)
    assert np.isnan(found.ambiguity.values).tolist() == [False, False, True]


@pytest.mark.parametrize("background", ["constant", "linear", ["scattering"]])
def test_a_background_of_any_size_changes_nothing(background):
    weight = maps([[0.6, 0.0], [0.0, 1.0], [0.4, 0.0]])
    data = noisy(DISTINCT, weight, 0.01)
    shape = (ENERGY.mean() / ENERGY) ** 2 if background == ["scattering"] else np.ones(ENERGY.size)
    shifted = data + 0.7 * xr.DataArray(shape, dims="energy")
    args = {"sigma": 0.01, "background": background}
    one = ambiguity(data, DISTINCT, unmix(data, DISTINCT, **args), **args)
    other = ambiguity(shifted, DISTINCT, unmix(shifted, DISTINCT, **args), **args)
    assert other.evidence.values == pytest.approx(one.evidence.values, rel=1e-6)


def test_a_model_that_does_not_fit_is_not_taken_for_evidence():
    weight = maps([[1.0], [0.0], [0.0]])
    data = noisy(MIXED, weight, 0.02) + 0.1 * xr.DataArray(line(529, 0.5), dims="energy")
    fit = unmix(data, MIXED, sigma=0.02)
    found = ambiguity(data, MIXED, fit, sigma=0.02)
    reduced = float(fit.chi2_reduced[0])
    assert reduced > 1.5
    doubled = ambiguity(data, MIXED, fit, sigma=0.02 * np.sqrt(reduced))
    assert float(found.evidence[0, 0]) == pytest.approx(float(doubled.evidence[0, 0]), rel=1e-3)


def test_without_sigma_the_residual_says_how_large_the_noise_is():
    weight = maps([[1.0], [0.5], [0.0]])
    data = noisy(DISTINCT, weight, 0.02)
    fit = unmix(data, DISTINCT)
    unknown = ambiguity(data, DISTINCT, fit)
    known = ambiguity(data, DISTINCT, fit, sigma=0.02)
    found = 0.02**2 / float(fit.chi2_reduced[0])
    assert unknown.evidence[:2, 0].values == pytest.approx(found * known.evidence[:2, 0].values)


def test_poisson_noise_is_that_of_the_fit():
    weight = maps([[1.0], [0.5], [0.0]])
    noise = PoissonNoise(np.full(ENERGY.size, 1e4))
    clean = xr.dot(DISTINCT, weight, dim="component")
    fit = xr.Dataset({"weight": weight})
    sigma = np.exp(0.5 * clean) / 100
    by_noise = ambiguity(clean, DISTINCT, fit, sigma=noise)
    given = ambiguity(clean, DISTINCT, fit, sigma=sigma)
    assert by_noise.evidence.values == pytest.approx(given.evidence.values)


def test_a_fixed_sum_holds_in_the_alternative_too():
    weight = maps([[0.5, 0.0], [0.0, 1.0], [0.5, 0.0]])
    data = noisy(MIXED, weight, 0.05)
    fit = unmix(data, MIXED, sigma=0.05, sum_to_one=True)
    found = ambiguity(data, MIXED, fit, sigma=0.05, sum_to_one=True)
    sums = found.alternative.sum("component", skipna=False).values
    assert np.isfinite(sums).any()
    assert sums[np.isfinite(sums)] == pytest.approx(1.0)


def test_lazy_in_blocks_is_what_memory_gives():
    rng = np.random.default_rng(0)
    weight = xr.DataArray(
        rng.random((3, 6, 7)) * (rng.random((3, 6, 7)) < 0.6),
        dims=("component", "y", "x"),
        coords={"component": ["a", "b", "c"]},
    )
    data = noisy(MIXED, weight, 0.05).transpose("energy", "y", "x")
    whole = ambiguity(data, MIXED, unmix(data, MIXED, sigma=0.05), sigma=0.05)
    lazy = data.copy(data=da.from_array(data.values, chunks=(10, 3, 4)))
    found = ambiguity(lazy, MIXED, unmix(lazy, MIXED, sigma=0.05), sigma=0.05)
    assert isinstance(found.ambiguity.data, da.Array)
    xr.testing.assert_allclose(found.compute(), whole)


def test_weights_of_other_references_are_refused():
    data = noisy(DISTINCT, maps([[1.0], [0.0], [0.0]]), 0.01)
    fit = unmix(data, DISTINCT[:2])
    with pytest.raises(
        InputError, match=r"weights of the references \['a', 'b', 'c'\] are needed, got those of \['a', 'b'\]"
    ):
        ambiguity(data, DISTINCT, fit)
    with pytest.raises(InputError, match="must be the Dataset of unmix"):
        ambiguity(data, DISTINCT, xr.Dataset())
    with pytest.raises(InputError, match="images of one shape"):
        ambiguity(xr.concat([data, data], "x"), DISTINCT, unmix(data, DISTINCT))


def test_sigma_is_taken_by_its_energies_and_not_by_its_order():
    weight = maps([[1.0, 0.3], [0.5, 0.0], [0.0, 0.9]])
    data = noisy(DISTINCT, weight, 0.02)
    sigma = xr.DataArray(np.linspace(0.01, 0.05, ENERGY.size), dims="energy", coords={"energy": ENERGY})
    fit = unmix(data, DISTINCT, sigma=sigma)
    expected = ambiguity(data, DISTINCT, fit, sigma=sigma)
    xr.testing.assert_identical(ambiguity(data, DISTINCT, fit, sigma=sigma[::-1]), expected)
    whole = (sigma * xr.ones_like(data)).transpose(*data.dims)
    xr.testing.assert_allclose(ambiguity(data, DISTINCT, fit, sigma=whole[::-1]), expected)
    with pytest.raises(InputError, match="sigma must have the energies of the stack"):
        ambiguity(data, DISTINCT, fit, sigma=sigma.assign_coords(energy=ENERGY + 50.0))


def test_photons_are_counted_behind_the_background_too():
    weight = maps([[1.0], [0.5], [0.0]])
    noise = PoissonNoise(np.full(ENERGY.size, 1e4))
    clean = xr.dot(DISTINCT, weight, dim="component") + 2.0
    fit = xr.Dataset({"weight": weight, "constant": ("x", [2.0])})
    by_noise = ambiguity(clean, DISTINCT, fit, sigma=noise, background="constant")
    given = ambiguity(clean, DISTINCT, fit, sigma=np.exp(0.5 * clean) / 100, background="constant")
    assert by_noise.evidence.values == pytest.approx(given.evidence.values)
    with pytest.raises(InputError, match=r"unmixed must hold the background terms \['constant'\]"):
        ambiguity(clean, DISTINCT, fit[["weight"]], sigma=noise, background="constant")


def test_a_stack_without_energies_takes_those_of_the_references():
    data = noisy(DISTINCT, maps([[1.0], [0.2], [0.0]]), 0.02)
    fit = unmix(data, DISTINCT)
    xr.testing.assert_identical(ambiguity(data.values, DISTINCT, fit), ambiguity(data, DISTINCT, fit))


def test_more_pixels_than_a_block_are_worked_on_alike():
    data = noisy(MIXED, maps(np.random.default_rng(2).random((3, 5000))), 0.05)
    fit = unmix(data, MIXED, sigma=0.05)
    some = {"x": slice(4000, 4200)}
    part = ambiguity(data.isel(some), MIXED, fit.isel(some), sigma=0.05)
    xr.testing.assert_allclose(ambiguity(data, MIXED, fit, sigma=0.05).isel(some), part)
