"""How many modes a distribution of porosities has."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from operando.core.errors import InputError
from operando.morphometry import porosity_modes


def three_kinds(rng, size=24):
    """Tiles of three porosities, mixed without order."""
    return 0.05 + 0.05 * rng.integers(0, 3, (size, size)) + 0.01 * rng.standard_normal((size, size))


def test_three_kinds_of_tiles_are_three_modes():
    found = porosity_modes(three_kinds(np.random.default_rng(0)))
    assert int(found["modes"]) == int(found["components"]) == 3
    np.testing.assert_allclose(found["mean"], [0.05, 0.10, 0.15], atol=0.003)
    np.testing.assert_allclose(found["sigma"], 0.01, atol=0.002)
    np.testing.assert_allclose(found["weight"], 1 / 3, atol=0.06)
    assert found["criterion"].values.argmin() == 2


def test_one_kind_of_tiles_is_called_one_mode_in_nineteen_cases_of_twenty():
    kinds = (np.random.default_rng(seed).normal(0.05, 0.01, (12, 12)) for seed in range(20))
    one = [int(porosity_modes(values, max_modes=3)["modes"]) for values in kinds]
    assert one.count(1) >= 19


def test_slow_variation_of_one_kind_is_not_called_modes():
    calls = []
    for seed in range(10):
        field = gaussian_filter(np.random.default_rng(seed).standard_normal((40, 40)), 3.0)[8:-8, 8:-8]
        found = porosity_modes(0.05 + 0.01 * field / field.std(), max_modes=3)
        assert found["effective_n"] < 60
        calls.append(int(found["modes"]))
    assert calls.count(1) >= 9


def test_a_skewed_distribution_has_several_components_but_mostly_one_mode():
    skewed = [np.random.default_rng(seed).gamma(6, 0.01, 400) for seed in range(8)]
    found = [porosity_modes(values, max_modes=4, root=False) for values in skewed]
    assert np.mean([int(f["components"]) for f in found]) > 1.5
    assert [int(f["modes"]) for f in found].count(1) >= 6


def test_square_roots_of_what_scatters_like_counts_are_of_one_component():
    found = [porosity_modes(np.random.default_rng(seed).poisson(16, 144) / 300, max_modes=3) for seed in range(10)]
    assert [int(f["components"]) for f in found].count(1) >= 9
    np.testing.assert_allclose([f["mean"][0] for f in found], 16 / 300, rtol=0.08)


def test_differences_are_taken_as_they_are():
    values = np.random.default_rng(0).normal(0, 0.01, 100)
    assert int(porosity_modes(values, max_modes=3, root=False)["modes"]) == 1
    with pytest.raises(InputError, match="root=False for differences"):
        porosity_modes(values)


def test_taking_every_tile_for_independent_finds_more():
    rng = np.random.default_rng(0)
    patches = np.kron(rng.integers(0, 3, (4, 4)), np.ones((3, 3)))
    map_ = 0.05 + 0.03 * patches + 0.008 * rng.standard_normal((12, 12))
    assert int(porosity_modes(map_, effective_n=144)["modes"]) == 3
    assert porosity_modes(map_)["effective_n"] < 40


def test_the_number_does_not_depend_on_the_unit_or_on_missing_tiles():
    values = three_kinds(np.random.default_rng(1))
    percent = porosity_modes(100 * values)
    np.testing.assert_allclose(percent["mean"], 100 * porosity_modes(values)["mean"])
    holes = values.copy()
    holes[::5, ::3] = np.nan
    assert int(porosity_modes(xr.DataArray(holes, dims=("y", "x")))["modes"]) == 3


def test_the_bootstrap_tells_two_kinds_from_one():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(0.05, 0.01, 60), rng.normal(0.12, 0.01, 60)])
    found = porosity_modes(two, max_modes=3, bootstrap=19)
    assert found["p_value"][0] <= 0.05
    assert found["p_value"][1] > 0.05
    assert np.isnan(found["p_value"][2])
    one = porosity_modes(rng.normal(0.05, 0.01, 120), max_modes=2, bootstrap=19)
    assert one["p_value"][0] > 0.05


def test_tiles_that_are_all_alike_are_one_mode():
    found = porosity_modes(np.full((6, 6), 0.04))
    assert int(found["modes"]) == 1
    assert found["mean"].item() == pytest.approx(0.04)


def test_what_cannot_be_counted_says_why():
    with pytest.raises(InputError, match="at least 20 values are needed"):
        porosity_modes(np.zeros(10))
    with pytest.raises(InputError, match="3-D"):
        porosity_modes(np.zeros((4, 4, 4)))
    with pytest.raises(InputError, match="dims y and x"):
        porosity_modes(xr.DataArray(np.zeros((8, 8)), dims=("t", "x")))
    with pytest.raises(InputError, match="effective_n must be"):
        porosity_modes(np.arange(40.0), effective_n=41)
