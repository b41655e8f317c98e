"""The training against its regression check, a plain transcription of its equations, and itself in batches."""

import numpy as np
import pytest

from operando.core.errors import InputError
from operando.dendrites import BayesianNetwork, best_of, train_networks
from operando.dendrites.laplace import log_evidence, posterior_factor
from operando.dendrites.layers import Layers, backward, forward, jacobian, nguyen_widrow, with_ones
from operando.dendrites.training import Rules, train

P = np.arange(-1, 1.0001, 0.05)
T = np.sin(2 * np.pi * P) + 0.1 * np.random.default_rng(0).standard_normal(P.size)


def _plane(n=120, features=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 5, (n, features))
    return X, np.tanh(X[:, 0]) + 0.3 * X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("seed", range(8))
def test_regression_check_to_four_digits_from_any_seed(seed):
    network = BayesianNetwork((20,), scale=False, random_state=seed).fit(P[:, None], T)
    assert network.n_parameters_ == 61
    assert f"{network.gamma_:.3f}" == "12.553"
    assert f"{network.alpha_:.5f}" == "0.05224"
    assert f"{network.beta_:.2f}" == "88.14"
    assert network.stopped_by_ == "mu"
    assert 350 < network.n_iter_ < 700


def _transcribed(layers, weights, inputs, targets, epochs):
    """The equations as they are written, with inverses: rows of epoch, E_D, E_W, F, gamma, alpha, beta, mu."""

    def at(w):
        predicted, entering = forward(layers, w[None], inputs)
        return predicted[0] - targets, jacobian(layers, backward(layers, w[None], entering), entering)[0].T

    n, count = len(targets), layers.count
    errors, J = at(weights)
    e_d, e_w = errors @ errors, weights @ weights
    gamma, alpha, mu = count, count / (2 * e_w), 0.005
    beta = (n - count) / (2 * e_d) if n > count else 1.0
    objective = beta * e_d + alpha * e_w
    rows = []
    for _ in range(epochs):
        while True:
            hessian = beta * J.T @ J + (mu + alpha) * np.eye(count)
            trial = weights - np.linalg.inv(hessian) @ (beta * J.T @ errors + alpha * weights)
            trial_errors, trial_J = at(trial)
            if beta * trial_errors @ trial_errors + alpha * trial @ trial < objective:
                mu = max(mu / 10, 1e-20)
                break
            mu *= 10
        weights, errors, J = trial, trial_errors, trial_J
        e_d, e_w = errors @ errors, weights @ weights
        gamma = count - alpha * np.trace(np.linalg.inv(beta * J.T @ J + alpha * np.eye(count)))
        alpha, beta = gamma / (2 * e_w), (n - gamma) / (2 * e_d)
        objective = beta * e_d + alpha * e_w
        rows.append((e_d, e_w, objective, gamma, alpha, beta, mu))
    return np.array(rows)


@pytest.mark.parametrize(("sizes", "n"), [((2, 4, 1), 60), ((2, 4, 3, 1), 200), ((2, 6, 1), 15)])
def test_every_epoch_follows_the_equations(sizes, n):
    rng = np.random.default_rng(3)
    layers, inputs = Layers(sizes), with_ones(rng.uniform(-1, 1, (1, 2, n)))
    targets = np.sin(2 * inputs[0, 0]) + inputs[0, 1] ** 2 + 0.05 * rng.standard_normal(n)
    start = nguyen_widrow(layers, rng, low=[-1, -1], high=[1, 1])
    (trained,) = train(layers, start[None], inputs, targets[None], Rules(max_epochs=15))
    expected = _transcribed(layers, start, inputs, targets, 15)
    np.testing.assert_allclose(trained.trace[1:, 1:8], expected, rtol=2e-6)


def test_no_step_raises_the_objective_and_each_epoch_updates_alpha_and_beta():
    X, y = _plane()
    trace = BayesianNetwork((6,), max_epochs=60).fit(X, y).trace_
    before = trace.iloc[:-1].reset_index(drop=True)
    after = trace.iloc[1:].reset_index(drop=True)
    assert (before["beta"] * after["E_D"] + before["alpha"] * after["E_W"] < before["F"]).all()
    np.testing.assert_allclose(after["alpha"], after["gamma"] / (2 * after["E_W"]), rtol=1e-12)
    np.testing.assert_allclose(after["beta"], (120 - after["gamma"]) / (2 * after["E_D"]), rtol=1e-12)
    assert trace["gamma"].between(0, 31).all()
    assert trace["epoch"].tolist() == list(range(61))


def test_the_first_row_of_the_trace_is_the_start():
    X, y = _plane()
    first = BayesianNetwork((6,), max_epochs=1).fit(X, y).trace_.iloc[0]
    assert first["gamma"] == 31
    assert first["mu"] == 0.005
    assert first["alpha"] == pytest.approx(31 / (2 * first["E_W"]))
    assert first["beta"] == pytest.approx((120 - 31) / (2 * first["E_D"]))


def test_beta_starts_at_one_with_fewer_samples_than_weights():
    X, y = _plane(n=20)
    network = BayesianNetwork((8, 8), max_epochs=50).fit(X, y)
    assert network.trace_["beta"].iloc[0] == 1.0
    assert 0 < network.gamma_ < 20


def test_mean_errors_change_beta_by_the_number_of_samples_and_nothing_else():
    X, y = _plane()
    by_sum, by_mean = (BayesianNetwork((6,), max_epochs=25, error=error).fit(X, y) for error in ("sum", "mean"))
    np.testing.assert_allclose(by_mean.weights_, by_sum.weights_, rtol=1e-6)
    assert by_mean.beta_ == pytest.approx(120 * by_sum.beta_, rel=1e-6)
    assert by_mean.noise_ == pytest.approx(by_sum.noise_, rel=1e-6)
    assert by_mean.log_evidence_ == pytest.approx(by_sum.log_evidence_, rel=1e-6)


def test_gradient_of_the_objective_vanishes_at_the_optimum_and_that_of_the_errors_does_not():
    errors, objective = (
        BayesianNetwork((20,), scale=False, gradient_of=which).fit(P[:, None], T) for which in ("errors", "objective")
    )
    assert errors.trace_["gradient"].iloc[-1] > 1e-3
    assert objective.trace_["gradient"].iloc[-1] < 1e-4


def test_training_ends_by_epochs_by_gradient_and_by_seconds():
    X, y = _plane()
    assert BayesianNetwork((4,), max_epochs=3).fit(X, y).stopped_by_ == "epochs"
    assert BayesianNetwork((4,), min_gradient=1e9).fit(X, y).stopped_by_ == "gradient"
    late = BayesianNetwork((4,), max_seconds=0.0).fit(X, y)
    assert (late.stopped_by_, late.n_iter_) == ("seconds", 0)


def test_a_training_that_loses_every_weight_ends_and_its_evidence_is_that_of_noise():
    rng = np.random.default_rng(3)
    layers, inputs, targets = Layers((2, 4, 3, 1)), with_ones(rng.uniform(-1, 1, (1, 2, 60))), rng.standard_normal(60)
    (trained,) = train(layers, 1e-9 * rng.standard_normal((1, 31)), inputs, targets[None], Rules())
    assert trained.gamma < 1e-6
    assert trained.stopped_by == "mu"
    assert np.abs(forward(layers, trained.weights[None], inputs)[0]).max() < 1e-9
    variance = np.mean(targets**2)
    assert 1 / (2 * trained.beta) == pytest.approx(variance)
    factor = posterior_factor(trained.hessian, trained.alpha, trained.beta)
    evidence = log_evidence(
        factor, objective=trained.beta * trained.error, alpha=trained.alpha, beta=trained.beta, n=60
    )
    assert evidence == pytest.approx(-30 * (np.log(2 * np.pi * variance) + 1))


def test_pure_noise_determines_hardly_any_weight():
    rng = np.random.default_rng(2)
    X, y = rng.uniform(-1, 1, (400, 3)), rng.standard_normal(400)
    network = BayesianNetwork((8,), max_epochs=300).fit(X, y)
    assert network.gamma_ < 5
    assert network.score(X, y) < 0.05
    assert network.noise_ == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_many_trainings_equal_the_single_ones(workers):
    sets = [_plane(40, 3, 0), _plane(41, 3, 1), _plane(40, 2, 2)]
    tasks = [(*data, seed) for seed in range(3) for data in sets]
    for network, (X, y, seed) in zip(
        train_networks(tasks, hidden=(4,), max_epochs=120, workers=workers), tasks, strict=True
    ):
        alone = BayesianNetwork((4,), max_epochs=120, random_state=seed).fit(X, y)
        assert network.n_iter_ == alone.n_iter_
        np.testing.assert_allclose(network.weights_, alone.weights_, rtol=1e-9, atol=1e-12)
        assert network.log_evidence_ == pytest.approx(alone.log_evidence_, rel=1e-9)
        assert len(network.trace_) == network.n_iter_ + 1


def test_large_networks_in_two_threads_equal_the_single_ones():
    X, y = _plane(1200, 5)
    for network, seed in zip(
        train_networks([(X, y, seed) for seed in (0, 1)], hidden=(12, 12), max_epochs=4, workers=2), (0, 1), strict=True
    ):
        alone = BayesianNetwork((12, 12), max_epochs=4, random_state=seed).fit(X, y)
        np.testing.assert_allclose(network.weights_, alone.weights_, rtol=1e-9, atol=1e-12)


def test_progress_counts_to_the_number_of_tasks():
    seen = []
    train_networks(
        [(P[:, None], T, seed) for seed in range(5)],
        hidden=(2,),
        max_epochs=2,
        workers=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (5, 5)


def test_no_tasks_give_no_networks():
    assert train_networks([], hidden=(2,), max_epochs=2) == []


def test_best_of_keeps_the_highest_evidence_and_numbers_the_optima():
    network, table = best_of(P[:, None], T, 4, hidden=(20,), scale=False)
    assert network.log_evidence_ == table["log_evidence"].max()
    assert table["seed"].tolist() == [0, 1, 2, 3]
    assert (table["optimum"] == 0).all()


def test_best_of_tells_optima_apart():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (60, 1))
    y = np.sin(9 * x[:, 0]) + 0.05 * rng.standard_normal(60)
    _, table = best_of(x, y, 8, hidden=(3,), max_epochs=200)
    by_optimum = table.groupby("optimum")["log_evidence"].agg(["min", "max"])
    assert len(by_optimum) > 1
    assert (np.diff(by_optimum["max"]) < 0).all()


def test_workers_and_restarts_must_be_at_least_one():
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        train_networks([], workers=0)
    with pytest.raises(InputError, match="restarts must be at least 1, got 0"):
        best_of(P[:, None], T, 0)
