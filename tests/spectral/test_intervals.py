"""Intervals of weights that are known not to be negative."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm
from scipy.stats import t as student

from operando.core.errors import InputError
from operando.spectral import bounded_interval, weight_errors


def covered(truth, low, high):
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("level", [0.68, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("truth", [0.0, 0.05, 0.7, 1.5, 2.2, 3.9, 8.0])
def test_the_interval_holds_every_truth_with_exactly_its_level(truth, level):
    x = np.linspace(truth - 9, truth + 9, 200_001)
    low, high = bounded_interval(x, 1.0, level=level)
    holds = (low <= truth) & (truth <= high)
    share = np.sum(norm.pdf(x - truth)[holds]) / np.sum(norm.pdf(x - truth))
    assert share == pytest.approx(level, abs=3e-4)


def test_published_intervals_are_found():
    # Feldman and Cousins 1998, table X: 95 % of a Gaussian with mean bounded at zero.
    x = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    low, high = bounded_interval(x, 1.0)
    assert low == pytest.approx([0, 0, 0, 0, 0, 0.35, 1.14], abs=0.01)
    assert high == pytest.approx([0.42, 0.62, 1.10, 1.96, 2.96, 3.96, 4.96], abs=0.01)


def test_the_interval_is_never_empty_and_moves_with_the_estimate():
    x = np.linspace(-30, 30, 3001)
    low, high = bounded_interval(x, 1.0)
    assert (high > low).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) > 0).all()
    assert (low >= 0).all()


def test_the_interval_scales_with_the_unit():
    low, high = bounded_interval(np.array([0.5, 2.5]), 1.0)
    scaled = bounded_interval(np.array([50.0, 250.0]), 100.0)
    assert scaled[0] == pytest.approx(100 * low)
    assert scaled[1] == pytest.approx(100 * high)


def test_an_exact_estimate_is_its_own_interval_and_a_missing_one_has_none():
    low, high = bounded_interval([2.0, -1.0, np.nan, 1.0], [0.0, 0.0, 1.0, np.nan])
    assert low[:2].tolist() == high[:2].tolist() == [2.0, 0.0]
    assert np.isnan(low[2:]).all()
    assert np.isnan(high[2:]).all()


def test_labeled_arrays_keep_their_labels():
    estimate = xr.DataArray([[1.0, 5.0]], dims=("y", "x"), coords={"x": [0.1, 0.2]}, attrs={"units": "um"})
    low, high = bounded_interval(estimate, xr.DataArray([1.0, 2.0], dims="x"))
    assert low.dims == ("y", "x")
    assert low.attrs["units"] == high.attrs["units"] == "um"
    assert high.values.tolist() == [pytest.approx([2.96, 8.92], abs=0.001)]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0, 95])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(InputError, match=r"level must be a probability .*0\.95"):
        bounded_interval([1.0], 1.0, level=level)


def test_a_negative_sigma_is_refused():
    with pytest.raises(InputError, match="sigma must be zero or more, got -1"):
        bounded_interval([1.0], [-1.0])


def two(correlation):
    return np.array([[1.0, correlation], [correlation, 1.0]])


def test_a_phase_that_is_left_out_takes_its_share_of_the_error_with_it():
    sigma, _, _ = weight_errors([[9.2, 0.0]], [[10.0, -1.0]], two(-0.8))
    alone = 1 - 0.8**2
    # What a phase one sigma below zero may still be: mean square of a unit normal around -1, cut at zero.
    x = np.linspace(0, 12, 100_001)
    left = np.sum(x**2 * norm.pdf(x + 1)) / np.sum(norm.pdf(x + 1))
    assert sigma[0, 0] ** 2 == pytest.approx(alone + 0.05 * 0.8**2 * left, rel=1e-4)
    assert sigma[0, 1] == pytest.approx(1.6449 / 1.96, rel=1e-4)


def test_weights_far_above_zero_have_the_usual_errors():
    sigma, low, high = weight_errors([[20.0, 30.0]], [[20.0, 30.0]], [[4.0, -1.0], [-1.0, 1.0]])
    assert sigma[0] == pytest.approx([2.0, 1.0])
    assert low[0] == pytest.approx([20 - 3.92, 30 - 1.96], abs=0.001)
    assert high[0] == pytest.approx([20 + 3.92, 30 + 1.96], abs=0.001)


@pytest.mark.parametrize("shared", [True, False])
def test_errors_are_those_of_one_fit_per_weight_with_the_others_held(shared):
    rng = np.random.default_rng(5)
    n, pixels = 4, 60
    columns = rng.random((30, n))
    gram = columns.T @ columns
    covariance = np.linalg.inv(gram)
    x = rng.multivariate_normal([0.5, 0.2, 0.0, 0.0], covariance, pixels)
    weights = nonnegative(gram, x)
    sigma, low, high = weight_errors(weights, x, covariance if shared else np.broadcast_to(covariance, (pixels, n, n)))
    for p in range(pixels):
        absent = np.flatnonzero(weights[p] == 0)
        squares = np.zeros(n)
        estimates, variances, slopes = np.zeros(n), np.zeros(n), np.zeros((n, n))
        for j in range(n):
            others = [k for k in absent if k != j]
            kept = [k for k in range(n) if k not in others]
            solved = np.linalg.solve(gram[np.ix_(kept, kept)], (gram @ x[p])[kept])
            estimates[j] = solved[kept.index(j)]
            variances[j] = np.linalg.inv(gram[np.ix_(kept, kept)])[kept.index(j), kept.index(j)]
            for k in others:
                slopes[j, k] = (np.linalg.inv(gram[np.ix_(kept, kept)]) @ gram[np.ix_(kept, [k])])[kept.index(j), 0]
        for k in absent:
            d = -estimates[k] / np.sqrt(variances[k])
            squares[k] = variances[k] * (1 + d**2 - d * norm.pdf(d) / norm.sf(d))
        spread = np.sqrt(np.minimum(variances + 0.05 * slopes**2 @ squares, np.diagonal(covariance)))
        expected = bounded_interval(np.where(weights[p] > 0, weights[p], estimates), spread)
        assert low[p] == pytest.approx(np.minimum(expected[0], weights[p]), abs=1e-6)
        assert high[p] == pytest.approx(np.maximum(expected[1], weights[p]), rel=1e-5)
        assert (sigma[p] <= spread * (1 + 1e-9)).all()
        assert (sigma[p] >= 0.839 * spread).all()


def nonnegative(gram, x):
    from operando.spectral import nonnegative_least_squares

    return nonnegative_least_squares(gram, x @ gram)


@pytest.mark.parametrize(("n", "present"), [(3, 2), (5, 2), (5, 4)])
def test_symmetric_errors_and_intervals_cover_all_weights_and_those_present(n, present):
    """The references overlap as those of neighboring lithiated phases do: errors of neighbors correlate by -0.9."""
    rng = np.random.default_rng(n + present)
    energy = np.linspace(0, 1, 60)
    lines = [
        np.exp(-((energy - 0.3 - 0.08 * k) ** 2) / 0.02) + np.exp(-((energy - 0.7 + 0.05 * k) ** 2) / 0.01) + 0.3
        for k in range(n)
    ]
    gram = np.array(lines) @ np.array(lines).T / 0.02**2
    covariance = np.linalg.inv(gram)
    pixels = 20_000
    truth = rng.random((pixels, n)) * 15 * np.sqrt(np.diagonal(covariance))
    truth[np.argsort(rng.random((pixels, n)), axis=1) >= present] = 0.0
    x = truth + rng.standard_normal((pixels, n)) @ np.linalg.cholesky(covariance).T
    weights = nonnegative(gram, x)
    sigma, low, high = weight_errors(weights, x, covariance)
    there = truth > 0
    for below, above in ((low, high), (weights - 1.96 * sigma, weights + 1.96 * sigma)):
        assert 0.93 < covered(truth, below, above) < 0.98
        assert 0.93 < covered(truth[there], below[there], above[there]) < 0.97
    # Errors that know nothing of the bound are too long.
    unbounded = 1.96 * np.sqrt(np.diagonal(covariance))
    assert covered(truth, weights - unbounded, weights + unbounded) > 0.97
    assert np.mean(high - low) < 0.9 * np.mean(2 * unbounded)


def test_the_interval_holds_the_weight_it_belongs_to():
    rng = np.random.default_rng(2)
    covariance = np.array([[1.0, -0.9, 0.7], [-0.9, 1.0, -0.9], [0.7, -0.9, 1.0]])
    x = rng.multivariate_normal([1.0, 0.5, 0.0], covariance, 500)
    weights = nonnegative(np.linalg.inv(covariance), x)
    sigma, low, high = weight_errors(weights, x, covariance)
    assert (low <= weights).all()
    assert (weights <= high).all()
    assert (sigma > 0).all()


def test_weights_with_a_fixed_sum_stay_within_it_and_are_uncertain_at_a_corner():
    shared = 0.01 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    sigma, _, high = weight_errors([[1.0, 0.0], [0.6, 0.4]], [[1.05, -0.05], [0.6, 0.4]], shared, sum_to_one=True)
    assert (high <= 1.0).all()
    assert sigma[0, 0] == pytest.approx(sigma[0, 1], rel=0.3)
    assert sigma[0, 0] > 0.05
    assert sigma[1] == pytest.approx([0.1, 0.1])


def test_noise_that_was_estimated_from_few_energies_makes_errors_longer():
    x = [[20.0, 30.0]] * 2
    sigma, low, high = weight_errors(x, x, two(0.0), freedom=[7, 1e9])
    assert sigma[0] == pytest.approx(2.364624 / 1.959964)
    assert high[0] - low[0] == pytest.approx(2 * 2.364624, rel=1e-5)
    assert sigma[1] == pytest.approx(1.0)
    _, low, high = weight_errors(x, x, two(0.0), freedom=[7, 7], level=0.68)
    assert high[0] - low[0] == pytest.approx(2 * student.ppf(0.84, 7), rel=1e-5)


def test_pixels_without_a_fit_have_no_errors():
    sigma, low, high = weight_errors([[np.nan, np.nan], [1.0, 2.0]], [[np.nan, np.nan], [1.0, 2.0]], two(0.1))
    assert np.isnan(sigma[0]).all()
    assert np.isnan(low[0]).all()
    assert np.isnan(high[0]).all()
    assert np.isfinite(sigma[1]).all()


def test_references_that_are_the_same_give_finite_numbers():
    sigma, low, high = weight_errors([[1.0, 0.0]], [[0.5, 0.5]], [[1e9, -1e9], [-1e9, 1e9]])
    assert np.isfinite(sigma).all()
    assert np.isfinite(high).all()
    assert (low >= 0).all()


def test_more_weights_than_are_enumerated_are_treated_alike():
    rng = np.random.default_rng(0)
    covariance = np.diag(rng.random(70) + 0.5)
    x = rng.standard_normal((20, 70))
    weights = np.maximum(x, 0)
    wide = weight_errors(weights, x, covariance)
    for n in (5, 12):
        narrow = weight_errors(weights[:, :n], x[:, :n], covariance[:n, :n])
        for one, other in zip(narrow, wide, strict=True):
            assert one == pytest.approx(other[:, :n])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"weights and unconstrained must be \(pixels, n\)"):
        weight_errors([1.0, 2.0], [1.0, 2.0], two(0.0))
