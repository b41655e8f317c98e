"""Lithium from phase weights: values, errors, dominant phases, disorder."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from operando.core.errors import AxesError, InputError
from operando.core.phases import PhaseScheme
from operando.spectral import (
    PoissonNoise,
    disorder,
    dominant_phase,
    lithiation,
    lithiation_sigma,
    optical_density,
    unmix,
)

X = {"V2O5": 0.0, "LiV2O5": 1.0, "Li2V2O5": 2.0}


def weights(values, names=tuple(X)):
    array = np.asarray(values, float)
    dims = ("component", "y", "x")[: array.ndim]
    return xr.DataArray(array, dims=dims, coords={"component": list(names)})


def test_a_pure_phase_has_the_lithium_of_its_formula():
    found = lithiation(weights(np.diag([0.3, 2.0, 7.0])), X)
    assert found.values.tolist() == [0.0, 1.0, 2.0]
    assert found.attrs["units"] == "1"
    assert found.dims == ("y",)


@settings(deadline=None, max_examples=30)
@given(arrays(float, (3, 4), elements=st.floats(0.01, 5)), st.floats(0.1, 10))
def test_lithiation_is_a_mean_of_the_phases_and_knows_no_thickness(values, factor):
    found = lithiation(weights(values), X)
    assert (found >= 0).all()
    assert (found <= 2).all()
    np.testing.assert_allclose(lithiation(weights(values * factor), X), found, rtol=1e-9)


def test_plain_arrays_have_the_component_first():
    found = lithiation(np.array([[[3.0, 1.0]], [[1.0, 1.0]]]), [0.0, 1.0])
    assert found.dims == ("y", "x")
    assert found.values.tolist() == [[0.25, 0.5]]


def test_moles_weight_the_phases():
    # A micrometer of the second phase holds half as many formula units.
    found = lithiation(weights([[1.0], [2.0], [0.0]]), X, moles={"V2O5": 2.0, "LiV2O5": 1.0, "Li2V2O5": 1.0})
    assert found.item() == 0.5


def test_stoichiometry_may_be_a_mapping_a_row_or_an_array_in_any_order():
    w = weights([[1.0], [2.0], [1.0]])
    turned = xr.DataArray([2.0, 0.0, 1.0], dims="component", coords={"component": ["Li2V2O5", "V2O5", "LiV2O5"]})
    assert lithiation(w, X).item() == lithiation(w, [0, 1, 2]).item() == lithiation(w, turned).item() == 1.0


def test_what_is_no_host_does_not_count():
    w = weights([[1.0], [1.0], [50.0]], names=("V2O5", "LiV2O5", "carbon"))
    assert lithiation(w, {"V2O5": 0, "LiV2O5": 1, "carbon": None}).item() == 0.5


def test_a_phase_without_stoichiometry_is_named_with_the_nearest_known():
    with pytest.raises(InputError, match=r"'LiFePO4' is missing. Did you mean 'LiFeP04'\?"):
        lithiation(weights(np.eye(2), names=("FePO4", "LiFePO4")), {"FePO4": 0, "LiFeP04": 1})


def test_more_phases_than_were_fitted_may_be_known():
    assert lithiation(weights([[1.0]], names=["V2O5"]), X).item() == 0.0


def test_thin_pixels_and_empty_ones_have_no_lithiation():
    w = weights([[0.0, 0.01, 1.0, np.nan], [0.0, 0.01, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert lithiation(w, X).isnull().values.tolist() == [True, False, False, True]
    assert lithiation(w, X, minimum_thickness=0.1).isnull().values.tolist() == [True, True, False, True]


def test_weights_may_be_the_dataset_of_unmix_or_lazy():
    w = weights(np.random.default_rng(0).random((3, 4, 5)))
    direct = lithiation(w, X)
    xr.testing.assert_allclose(lithiation(xr.Dataset({"weight": w}), X), direct)
    lazy = lithiation(w.chunk({"y": 2}), X)
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), direct)


@pytest.mark.parametrize(
    ("w", "x", "error", "message"),
    [
        ([[1.0], [2.0]], [0, 1], InputError, "must be a DataArray with the dim component"),
        (xr.DataArray(np.ones(2), dims="y"), [0, 1], AxesError, "must have the dim component"),
        (xr.Dataset({"a": ("y", np.ones(2))}), [0, 1], InputError, "must hold 'weight'"),
        (weights(np.eye(3)), [0, 1], InputError, "one number per phase"),
        (weights(np.eye(3)), [None] * 3, InputError, "at least one phase must be a host"),
        (weights(np.eye(3)), ["a", 0, 1], InputError, "must be numbers or None"),
    ],
)
def test_what_cannot_be_used_is_refused(w, x, error, message):
    with pytest.raises(error, match=message):
        lithiation(w, x)


def test_moles_must_be_positive():
    with pytest.raises(InputError, match="moles must be positive for every host"):
        lithiation(weights(np.eye(3)), X, moles=[1, 0, 1])


def test_sigma_of_lithiation_is_the_scatter_of_independent_weights():
    rng = np.random.default_rng(0)
    true, spread = np.array([2.0, 3.0, 1.0]), np.array([0.05, 0.1, 0.02])
    w = weights((true + spread * rng.normal(size=(20000, 3))).T)
    unmixed = xr.Dataset({"weight": w, "weight_sigma": xr.zeros_like(w) + xr.DataArray(spread, dims="component")})
    found = lithiation_sigma(unmixed, X)
    assert abs(float(found.mean()) / float(lithiation(w, X).std()) - 1) < 0.02
    assert found.attrs["method"] == "independent errors of the weights"


def test_sigma_of_lithiation_knows_that_phases_trade_weight():
    rng = np.random.default_rng(0)
    covariance = np.array([[0.01, -0.009, 0.0], [-0.009, 0.01, 0.0], [0.0, 0.0, 0.0004]])
    w = weights(rng.multivariate_normal([2.0, 3.0, 1.0], covariance, size=20000).T)
    unmixed = xr.Dataset(
        {
            "weight": w,
            "covariance": (("component", "component_other", "y"), np.repeat(covariance[..., None], 20000, axis=2)),
        },
        coords={"component_other": list(X)},
    )
    found = lithiation_sigma(unmixed, X)
    assert abs(float(found.mean()) / float(lithiation(w, X).std()) - 1) < 0.02
    # Where carbon is fitted beside the hosts, its errors count only through what it does to them.
    apart = lithiation_sigma(unmixed, {**X, "Li2V2O5": None})
    expected = float(lithiation(w, {**X, "Li2V2O5": None}).std())
    assert abs(float(apart.mean()) / expected - 1) < 0.02


def test_sigma_is_missing_where_the_lithiation_is():
    w = weights([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = lithiation_sigma(xr.Dataset({"weight": w, "weight_sigma": xr.full_like(w, 0.1)}), X)
    assert found.isnull().values.tolist() == [True, False]


def test_sigma_needs_the_errors_of_the_weights():
    with pytest.raises(InputError, match="Unmix with covariance=True"):
        lithiation_sigma(xr.Dataset({"weight": weights(np.eye(3))}), X)


def test_intervals_of_lithiation_hold_the_truth_of_a_simulated_stack():
    from operando.samples import stxm_particle

    sample = stxm_particle(
        (64, 64), kind="mosaic", seed=3007, missing_phase=False, thick_um=None, drift_px=0.0, stray=0.0
    )
    dark = sample.attrs["dark"]
    references = sample.references.where(sample.has_reference, drop=True)
    found = unmix(
        optical_density(sample.counts, sample.i0, dark=dark),
        references,
        sigma=PoissonNoise(sample.i0, sample.i0_sigma, dark=dark),
        covariance=True,
    )
    error = lithiation(found, sample.stoichiometry) - sample.lithiation
    inside = (sample.thickness > 0.05) & ~sample.boundary
    score = (abs(error) / lithiation_sigma(found, sample.stoichiometry)).where(inside)
    covered = float((score < 1.96).sum() / score.notnull().sum())
    assert 0.93 < covered < 0.99


def test_the_dominant_phase_has_the_largest_weight():
    w = weights([[3.0, 1.0, 0.0, np.nan], [1.0, 2.0, 0.0, 1.0], [0.0, 2.5, 0.0, 1.0]])
    labels = dominant_phase(w)
    assert labels.values.tolist() == [0, 2, 255, 255]
    assert labels.dtype == np.uint8
    assert PhaseScheme.of(labels.attrs["phases"]).names == tuple(X)


def test_a_phase_may_have_to_hold_a_share_and_a_pixel_a_thickness():
    w = weights([[3.0, 1.0, 0.01], [0.5, 0.9, 0.0], [0.0, 0.5, 0.0]])
    assert dominant_phase(w, minimum_fraction=0.5).values.tolist() == [0, 255, 0]
    assert dominant_phase(w, minimum_thickness=0.1).values.tolist() == [0, 0, 255]
    with pytest.raises(InputError, match=r"must be in \[0, 1\], got 50"):
        dominant_phase(w, minimum_fraction=50)


def test_dominant_phases_of_lazy_weights_are_lazy():
    w = weights(np.random.default_rng(0).random((3, 6, 5)))
    lazy = dominant_phase(w.chunk({"component": 1, "y": 2}))
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, dominant_phase(w).values)


def test_one_phase_everywhere_has_no_disorder():
    found = disorder(weights([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    assert found.disorder.values.tolist() == [0.0, 0.0]
    assert found.total.item() == found.mixing.item() == found.segregation.item() == 0.0
    assert np.isnan(found.segregation_index.item())


def test_equal_parts_of_all_phases_are_wholly_disordered():
    found = disorder(weights(np.full((3, 2), 0.7)))
    np.testing.assert_allclose([found.total, found.mixing], 1.0)
    np.testing.assert_allclose(found.segregation, 0.0, atol=1e-12)


def test_disorder_of_two_of_three_phases_is_ln_2_over_ln_3():
    found = disorder(weights([[1.0], [1.0], [0.0]]))
    assert found.disorder.item() == pytest.approx(np.log(2) / np.log(3))


@settings(deadline=None, max_examples=30)
@given(arrays(float, (3, 6), elements=st.floats(0.01, 5)))
def test_mixing_and_segregation_add_up_to_the_disorder_of_the_field(values):
    found = disorder(weights(values))
    share = values.sum(axis=1) / values.sum()
    assert found.total.item() == pytest.approx(-(share * np.log(share)).sum() / np.log(3))
    assert found.mixing.item() + found.segregation.item() == pytest.approx(found.total.item())
    assert 0 <= found.segregation_index.item() <= 1
    thickness = values.sum(axis=0)
    assert found.mixing.item() == pytest.approx((found.disorder.values * thickness).sum() / thickness.sum())


def test_what_is_masked_thin_or_missing_does_not_count():
    w = weights([[1.0, 1.0, 0.001, np.nan, 1.0], [0.0, 0.0, 0.001, 1.0, 1.0], [0.0] * 5])
    mask = xr.DataArray([True, True, True, True, False], dims="y")
    found = disorder(w, mask=mask, minimum_thickness=0.1)
    assert found.total.item() == 0.0
    assert found.disorder.isnull().values.tolist() == [False, False, True, True, True]


def test_disorder_needs_two_phases_and_a_pixel():
    with pytest.raises(InputError, match="at least two components"):
        disorder(weights([[1.0]], names=["a"]))
    with pytest.raises(InputError, match="at least one pixel must hold a phase"):
        disorder(weights(np.zeros((3, 2))))


def test_names_that_the_weights_do_not_have_are_refused_with_the_remedy():
    bare = xr.DataArray([[3.0], [1.0]], dims=("component", "x"))
    with pytest.raises(InputError, match="assign_coords"):
        lithiation(bare, {"V2O5": 0.0, "LiV2O5": 1.0})


def test_the_mask_of_disorder_counts_pixels_not_coordinates():
    pure = xr.DataArray(np.eye(3)[:, None], dims=("component", "y", "x"), coords={"x": [0.1, 0.2, 0.3]})
    mask = xr.DataArray([[True, True, False]], dims=("y", "x"), coords={"x": [0.1 + 1e-9, 0.2, 0.3]})
    for each in (mask, mask.T, mask.values):
        assert disorder(pure, mask=each).total.item() == pytest.approx(np.log(2) / np.log(3))
    with pytest.raises(InputError, match="mask must be bool and of the shape"):
        disorder(pure, mask=np.ones((1, 2), dtype=bool))
