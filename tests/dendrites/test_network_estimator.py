"""BayesianNetwork as an estimator: scikit-learn's checks, derivatives, error bars, evidence, refusals."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from operando.core.errors import InputError
from operando.dendrites import BayesianNetwork
from operando.dendrites.laplace import log_evidence, posterior_factor, weight_variance
from operando.dendrites.layers import backward, forward, jacobian

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")


@parametrize_with_checks([BayesianNetwork((4,))])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([BayesianNetwork()])
def test_scikit_learn_checks_as_it_comes(estimator, check):
    check(estimator)


def _data(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform([0, -5, 100], [1, 5, 300], (n, 3))
    return X, 40 * np.sin(4 * X[:, 0]) + X[:, 1] ** 2 + rng.standard_normal(n)


@pytest.fixture(scope="module")
def fitted():
    return BayesianNetwork((5, 4), max_epochs=150).fit(*_data())


@pytest.mark.parametrize("scale", [True, False])
def test_derivatives_equal_central_differences(scale):
    X, y = _data()
    if not scale:
        X, y = X / [1, 5, 300], y / 60
    network = BayesianNetwork((5, 4), max_epochs=60, scale=scale).fit(X, y)
    width = np.ptp(X, axis=0)
    for feature in range(3):
        step = np.zeros(3)
        step[feature] = 1e-5 * width[feature]
        difference = (network.predict(X + step) - network.predict(X - step)) / (2 * step[feature])
        exact = network.gradient(X)[:, feature]
        np.testing.assert_allclose(exact, difference, rtol=1e-5, atol=1e-6 * np.abs(exact).max())


def test_a_constant_input_changes_nothing_and_has_no_derivative():
    X, y = _data()
    X[:, 2] = 7.0
    network = BayesianNetwork((5,), max_epochs=60).fit(X, y)
    moved = X.copy()
    moved[:, 2] = 1000.0
    np.testing.assert_array_equal(network.predict(moved), network.predict(X))
    assert (network.gradient(X)[:, 2] == 0).all()


def test_a_constant_target_is_predicted():
    X, _ = _data()
    network = BayesianNetwork((3,)).fit(X, np.full(80, 2.5))
    np.testing.assert_array_equal(network.predict(X), 2.5)


def test_units_of_the_target_move_predictions_and_evidence_as_they_must(fitted):
    X, y = _data()
    other = BayesianNetwork((5, 4), max_epochs=150).fit(X, 1000 * y + 5)
    np.testing.assert_allclose(other.predict(X), 1000 * fitted.predict(X) + 5, rtol=1e-6)
    assert other.noise_ == pytest.approx(1000 * fitted.noise_, rel=1e-6)
    assert other.log_evidence_ == pytest.approx(fitted.log_evidence_ - 80 * np.log(1000), abs=1e-3)
    assert other.alpha_ == pytest.approx(fitted.alpha_, rel=1e-5)


def test_units_of_an_input_change_nothing(fitted):
    X, y = _data()
    other = BayesianNetwork((5, 4), max_epochs=150).fit(X * [1, 1e6, 1], y)
    np.testing.assert_allclose(other.predict(X * [1, 1e6, 1]), fitted.predict(X), rtol=1e-6)


def test_evidence_of_a_linear_model_is_its_marginal_likelihood():
    """Where the prediction is linear in the weights, Laplace is exact and the targets are jointly normal."""
    rng = np.random.default_rng(0)
    J, alpha, beta = rng.standard_normal((12, 4)), 0.7, 3.0
    targets = rng.standard_normal(12)
    weights = np.linalg.solve(beta * J.T @ J + alpha * np.eye(4), beta * J.T @ targets)
    objective = beta * np.sum((targets - J @ weights) ** 2) + alpha * weights @ weights
    factor = posterior_factor(np.triu(J.T @ J), alpha, beta)
    exact = multivariate_normal(cov=np.eye(12) / (2 * beta) + J @ J.T / (2 * alpha)).logpdf(targets)
    assert log_evidence(factor, objective=objective, alpha=alpha, beta=beta, n=12) == pytest.approx(exact, rel=1e-12)


def test_variance_from_the_weights_is_that_of_their_posterior(fitted):
    X, _ = _data()
    inputs = fitted._inputs(X, "test")
    _, entering = forward(fitted._layers, fitted.weights_[None], inputs)
    J = jacobian(fitted._layers, backward(fitted._layers, fitted.weights_[None], entering), entering)[0]
    posterior = np.linalg.inv(fitted.beta_ * J @ J.T + fitted.alpha_ * np.eye(len(J))) / 2
    expected = np.einsum("kn,kl,ln->n", J, posterior, J)
    found = weight_variance(fitted._layers, fitted.weights_, fitted._factor, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # the data determine gamma directions: their variances over that of the noise add up to gamma
    assert found.sum() * 2 * fitted.beta_ == pytest.approx(fitted.gamma_, rel=1e-6)


def test_factor_of_a_matrix_that_rounding_makes_indefinite():
    singular = np.ones((3, 3))
    singular[0, 0] -= 1e-13
    factor = posterior_factor(np.triu(singular), 1e-15, 1.0)
    assert np.isfinite(factor).all()
    assert (np.diag(factor) > 0).all()
    np.testing.assert_allclose(factor @ factor.T, singular, atol=1e-9)


def test_standard_deviations_hold_the_noise_and_grow_away_from_the_data(fitted):
    X, _ = _data()
    _, inside = fitted.predict(X, return_std=True)
    _, outside = fitted.predict(X * [3, 3, 1], return_std=True)
    assert (inside > fitted.noise_).all()
    assert np.median(outside) > np.median(inside)
    low, high = fitted.predict_interval(X)
    narrow_low, narrow_high = fitted.predict_interval(X, noise=False)
    assert (low < narrow_low).all()
    assert (high > narrow_high).all()
    np.testing.assert_allclose((low + high) / 2, fitted.predict(X), rtol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_of_independent_samples_hold_what_they_say(level):
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, new = rng.uniform(-1, 1, (60, 1)), rng.uniform(-1, 1, (500, 1))
        y, measured = (np.sin(4 * v[:, 0]) + 0.2 * rng.standard_normal(len(v)) for v in (x, new))
        low, high = BayesianNetwork((6,), max_epochs=200).fit(x, y).predict_interval(new, level)
        inside.append(np.mean((low <= measured) & (measured <= high)))
    assert np.mean(inside) == pytest.approx(level, abs=0.05)


def test_clone_pickle_and_search_work_as_with_any_estimator(fitted):
    X, y = _data()
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X, return_std=True), fitted.predict(X, return_std=True))
    search = GridSearchCV(BayesianNetwork(max_epochs=30), {"hidden": [(1,), (5,)]}, cv=2).fit(X, y)
    assert search.best_params_ == {"hidden": (5,)}


def test_names_of_a_table_are_kept_and_asked_for():
    X, y = _data()
    table = pd.DataFrame(X, columns=["slope", "concentration", "growth_rate"])
    network = BayesianNetwork((3,), max_epochs=20).fit(table, y)
    assert network.feature_names_in_.tolist() == ["slope", "concentration", "growth_rate"]
    with pytest.raises(ValueError, match="feature names"):
        network.predict(table.rename(columns={"slope": "tilt"}))


def test_rows_with_nan_are_refused_with_their_number():
    X, y = _data()
    missing, beyond = X.copy(), y.copy()
    missing[[5, 9], 1] = np.nan
    beyond[7] = np.inf
    with pytest.raises(
        InputError, match=r"X must be finite, got NaN or infinity in 2 of 80 samples \(first: 5\). Drop"
    ):
        BayesianNetwork().fit(missing, y)
    with pytest.raises(
        InputError, match=r"y must be finite, got NaN or infinity in 1 of 80 samples \(first: 7\). Drop"
    ):
        BayesianNetwork().fit(X, beyond)


def test_nan_in_a_prediction_is_refused(fitted):
    with pytest.raises(InputError, match=r"predict: X must be finite, got NaN or infinity in 1 of 1 samples"):
        fitted.predict([[np.nan, 0, 0]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": ()}, "units of at least one layer"),
        ({"hidden": (4, 0)}, r"got \(4, 0\)"),
        ({"gradient_of": "error"}, "Did you mean 'errors'"),
        ({"error": "avg"}, "error must be 'sum' or 'mean', got 'avg'"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
    ],
)
def test_parameters_that_cannot_be_are_named(parameters, message):
    with pytest.raises(InputError, match=message):
        BayesianNetwork(**parameters).fit(*_data())


def test_two_targets_are_refused():
    X, y = _data()
    with pytest.raises(InputError, match=r"got shape \(80, 2\). Fit one network per column"):
        BayesianNetwork().fit(X, np.column_stack([y, y]))


def test_a_level_is_a_fraction(fitted):
    with pytest.raises(InputError, match=r"got 95. Give a fraction"):
        fitted.predict_interval(_data()[0], 95)
