"""Bounds of the stiffness of mixtures: means, limits, known phases."""

import numpy as np
import pytest

from operando.core.errors import InputError
from operando.transport import stiffness_bounds


def test_voigt_and_reuss_are_means_of_the_moduli():
    bounds = stiffness_bounds([200.0, 70.0], [0.3, 0.22], fractions=[0.25, 0.75])
    bulk = np.array([200 / (3 * 0.4), 70 / (3 * 0.56)])
    assert bounds.bulk_modulus.sel(bound="voigt") == pytest.approx(np.average(bulk, weights=[0.25, 0.75]))
    assert bounds.bulk_modulus.sel(bound="reuss") == pytest.approx(1 / np.average(1 / bulk, weights=[0.25, 0.75]))


def test_bounds_of_two_phases_are_those_of_hashin_and_shtrikman():
    # Their closed form for two phases: K2 + f1 / (1 / (K1 - K2) + 3 f2 / (3 K2 + 4 G2)), likewise G.
    k, g, f = np.array([35.0, 10.0]), np.array([45.0, 5.0]), np.array([0.4, 0.6])
    young, ratio = 9 * k * g / (3 * k + g), (3 * k - 2 * g) / (2 * (3 * k + g))
    bounds = stiffness_bounds(young, ratio, fractions=f)
    for name, (a, b) in {"hashin-shtrikman upper": (1, 0), "hashin-shtrikman lower": (0, 1)}.items():
        bulk = k[b] + f[a] / (1 / (k[a] - k[b]) + 3 * f[b] / (3 * k[b] + 4 * g[b]))
        six = 6 * f[b] * (k[b] + 2 * g[b]) / (5 * g[b] * (3 * k[b] + 4 * g[b]))
        shear = g[b] + f[a] / (1 / (g[a] - g[b]) + six)
        assert bounds.bulk_modulus.sel(bound=name) == pytest.approx(bulk)
        assert bounds.shear_modulus.sel(bound=name) == pytest.approx(shear)


def test_bounds_are_in_order_and_close_where_the_phases_are_alike():
    bounds = stiffness_bounds(np.random.default_rng(0).uniform(1, 10, (4, 5, 6)), 0.3)
    assert all((np.diff(values) > 0).all() for values in bounds.data_vars.values())
    same = stiffness_bounds(np.full(7, 3.0), 0.2)
    np.testing.assert_allclose(same.youngs_modulus, 3.0)


def test_voxels_count_as_their_fractions():
    voxels = stiffness_bounds(np.array([1.0, 1.0, 1.0, 8.0]), 0.3)
    phases = stiffness_bounds([1.0, 8.0], 0.3, fractions=[0.75, 0.25])
    for name in voxels.data_vars:
        np.testing.assert_allclose(voxels[name], phases[name])


def test_pores_leave_no_lower_bound_and_the_known_dilute_upper_one():
    bounds = stiffness_bounds([1.0, 0.0], 0.2, fractions=[0.9, 0.1])
    assert bounds.youngs_modulus.sel(bound=["reuss", "hashin-shtrikman lower"]).values.tolist() == [0.0, 0.0]
    # At a Poisson's ratio of 0.2 pores keep it, and E = E0 (1 - f) / (1 + f).
    assert bounds.youngs_modulus.sel(bound="hashin-shtrikman upper") == pytest.approx(0.9 / 1.1)
    assert stiffness_bounds([1.0, 0.0], 0.2, fractions=[1.0, 0.0]).youngs_modulus.sel(bound="reuss") == pytest.approx(
        1.0
    )
    assert not stiffness_bounds(np.zeros(3), 0.2).youngs_modulus.any()


def test_faults_of_bounds_say_what_to_do():
    with pytest.raises(InputError, match=r"add up to 1, got \[50.0, 50.0\] with the sum 100"):
        stiffness_bounds([1.0, 2.0], 0.3, fractions=[50, 50])
    with pytest.raises(InputError, match="must have the shape of youngs_modulus"):
        stiffness_bounds([1.0, 2.0], [0.3, 0.3, 0.3])
    with pytest.raises(InputError, match="modulus of 0 for pores"):
        stiffness_bounds([1.0, -2.0], 0.3)
