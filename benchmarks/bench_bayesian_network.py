"""BayesianNetwork: its regression check, its optima, and its time beside MLPRegressor and beside its own products.

    python benchmarks/bench_bayesian_network.py check optima coverage peers epoch
    python benchmarks/bench_bayesian_network.py hundred accuracy

check     the net 1-20-1 on a noisy sine from 8 seeds: gamma, alpha, beta to 4 digits.
optima    four more functions, one and two hidden layers, 8 seeds each: how many optima, and is the best by evidence
          the best on new samples?
coverage  intervals of 95 % on independent and on correlated samples.
peers     training time (of the processor) to equal test error: MLPRegressor (lbfgs and adam) of the same shape, its
          alpha by 5-fold cross-validation from a grid of seven (what a user does), and with the alpha that is best on
          the test set (what nobody can do). Ours is the best of 8 starts by evidence (of 1 on fourteen inputs).
epoch     one epoch of [16, 16] on 3,000 x 14 beside the matrix products it needs (forward, backward, J'J), by the same
          BLAS.
hundred   100 trainings of [16, 16] on 3,000 x 14 to 250 epochs on all cores. Limit: 5 minutes on 2 cores.
accuracy  test R at 250, 500 and 1,000 epochs on the features of simulated SRS series, random split and split by frame.

One run compares; set OPENBLAS_NUM_THREADS=1 for ``peers`` and ``epoch`` where other work shares the machine.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.linalg import blas
from threadpoolctl import threadpool_limits

from operando.dendrites import BayesianNetwork, best_of, train_networks
from operando.dendrites.layers import Layers, backward, forward, jacobian, nguyen_widrow, pull_back, with_ones
from operando.dendrites.training import Rules, train


def regression_check() -> tuple[np.ndarray, np.ndarray]:
    p = np.arange(-1, 1.0001, 0.05)
    return p[:, None], np.sin(2 * np.pi * p) + 0.1 * np.random.default_rng(0).standard_normal(p.size)


def damped_wave(X: np.ndarray) -> np.ndarray:
    return np.exp(-2 * np.abs(X[:, 0])) * np.sin(9 * X[:, 0])


def step(X: np.ndarray) -> np.ndarray:
    return np.tanh(12 * (X[:, 0] - 0.2)) + 0.5 * X[:, 0]


def saddle(X: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * X[:, 0]) * X[:, 1] + 0.5 * X[:, 0] ** 2


def franke(X: np.ndarray) -> np.ndarray:
    x, y = 4.5 * (X[:, 0] + 1), 4.5 * (X[:, 1] + 1)
    return (
        0.75 * np.exp(-((x - 2) ** 2 + (y - 2) ** 2) / 4)
        + 0.75 * np.exp(-((x + 1) ** 2) / 49 - (y + 1) / 10)
        + 0.5 * np.exp(-((x - 7) ** 2 + (y - 3) ** 2) / 4)
        - 0.2 * np.exp(-((x - 4) ** 2) - (y - 7) ** 2)
    )


def fourteen(X: np.ndarray) -> np.ndarray:
    return np.sin(3 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2 + 0.5 * X[:, 3:7].sum(axis=1)


# name: function, inputs, samples, noise, one hidden layer, two hidden layers
PROBLEMS = {
    "damped wave": (damped_wave, 1, 80, 0.05, (10,), (5, 4)),
    "step": (step, 1, 60, 0.1, (6,), (4, 3)),
    "saddle": (saddle, 2, 150, 0.1, (10,), (6, 5)),
    "Franke": (franke, 2, 200, 0.03, (14,), (7, 6)),
}


def draw(function: Callable, inputs: int, n: int, noise: float, seed: int) -> tuple[np.ndarray, ...]:
    """Samples to learn from, and 2,000 places with the true function."""
    rng = np.random.default_rng(seed)
    X, new = rng.uniform(-1, 1, (n, inputs)), rng.uniform(-1, 1, (2000, inputs))
    return X, function(X) + noise * rng.standard_normal(n), new, function(new)


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def check() -> None:
    X, y = regression_check()
    for seed in range(8):
        start = time.perf_counter()
        network = BayesianNetwork((20,), scale=False, random_state=seed).fit(X, y)
        seconds = time.perf_counter() - start
        print(
            f"seed {seed}: gamma {network.gamma_:.3f}, alpha {network.alpha_:.5f}, beta {network.beta_:.2f}, "
            f"log evidence {network.log_evidence_:.4f}, {network.n_iter_} epochs, ended by {network.stopped_by_}, "
            f"{seconds:.2f} s"
        )
    start = time.perf_counter()
    train_networks([(X, y, seed) for seed in range(32)], hidden=(20,), scale=False, workers=1)
    print(f"32 of them as batches on one core: {time.perf_counter() - start:.2f} s")


def optima() -> None:
    for name, (function, inputs, n, noise, *shapes) in PROBLEMS.items():
        X, y, new, true = draw(function, inputs, n, noise, 3000)
        for hidden in shapes:
            networks = train_networks([(X, y, seed) for seed in range(8)], hidden=hidden, workers=1)
            best, table = best_of(X, y, 8, hidden=hidden, workers=1)
            table["test RMSE"] = [rmse(network.predict(new), true) for network in networks]
            chosen, errors = rmse(best.predict(new), true), table["test RMSE"]
            print(
                f"\n{name}, {list(hidden)}, n = {n}, N = {best.n_parameters_}, noise {noise}: "
                f"{table['optimum'].nunique()} optima, {(table['stopped_by'] == 'mu').sum()} of 8 arrived; "
                f"test RMSE of the one chosen by evidence {chosen:.4f} "
                f"(best {errors.min():.4f}, median {errors.median():.4f}, worst {errors.max():.4f})"
            )
            print(table.round(4).to_string(index=False))


def coverage() -> None:
    for label, length in (("independent", 0.0), ("correlated", 0.1)):
        new_inside, function_inside = [], []
        for seed in range(3000, 3030):
            rng = np.random.default_rng(seed)
            x = np.sort(rng.uniform(-1, 1, 120))
            distance = np.abs(x[:, None] - x)
            covariance = np.exp(-distance / length) if length else np.eye(120)
            y = np.sin(4 * x) + 0.2 * np.linalg.cholesky(covariance + 1e-9 * np.eye(120)) @ rng.standard_normal(120)
            new = rng.uniform(-1, 1, 400)
            measured = np.sin(4 * new) + 0.2 * rng.standard_normal(400)
            network, _ = best_of(x[:, None], y, 3, hidden=(8,), max_epochs=500, workers=1)
            low, high = network.predict_interval(new[:, None])
            new_inside.append(np.mean((low <= measured) & (measured <= high)))
            low, high = network.predict_interval(new[:, None], noise=False)
            function_inside.append(np.mean((low <= np.sin(4 * new)) & (np.sin(4 * new) <= high)))
        print(
            f"{label} errors: the interval of 95 % held {np.mean(new_inside):.3f} of new measurements with "
            f"independent noise, {np.mean(function_inside):.3f} of the function"
        )


def peers() -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPRegressor

    warnings.simplefilter("ignore")
    alphas = 10.0 ** np.arange(-6, 1)
    cases = {
        "noisy sine": (lambda X: np.sin(2 * np.pi * X[:, 0]), 1, 41, 0.1, (20,), 1000, 8),
        "damped wave": (damped_wave, 1, 80, 0.05, (10,), 1000, 8),
        "saddle": (saddle, 2, 150, 0.1, (10,), 1000, 8),
        "Franke": (franke, 2, 200, 0.03, (7, 6), 1000, 8),
        "fourteen inputs": (fourteen, 14, 600, 0.1, (16,), 250, 1),
    }
    for name, (function, inputs, n, noise, hidden, epochs, restarts) in cases.items():
        X, y, new, true = draw(function, inputs, n, noise, 3000)
        low, high = y.min(), y.max()
        scaled = (2 * y - low - high) / (high - low)
        start = time.process_time()
        network, _ = best_of(X, y, restarts, hidden=hidden, max_epochs=epochs, workers=1)
        ours, seconds = rmse(network.predict(new), true), time.process_time() - start
        print(f"\n{name}: {list(hidden)} on {n} x {inputs}, noise {noise}")
        print(f"  BayesianNetwork        test RMSE {ours:.4f}  {seconds:7.2f} s, best of {restarts} by evidence")
        for solver, options in (
            ("lbfgs", {"max_iter": 5000, "max_fun": 10**6}),
            ("adam", {"max_iter": 3000, "learning_rate_init": 0.01, "n_iter_no_change": 50, "tol": 1e-6}),
        ):
            model = MLPRegressor(hidden_layer_sizes=hidden, activation="tanh", solver=solver, random_state=0, **options)
            start = time.process_time()
            search = GridSearchCV(model, {"alpha": alphas}, cv=5, scoring="neg_mean_squared_error").fit(X, scaled)
            tuned = time.process_time() - start
            theirs = rmse(search.predict(new) * (high - low) / 2 + (high + low) / 2, true)
            oracle: list[tuple[float, float]] = []
            for alpha in alphas:
                start = time.process_time()
                fitted = model.set_params(alpha=alpha).fit(X, scaled)
                error = rmse(fitted.predict(new) * (high - low) / 2 + (high + low) / 2, true)
                oracle.append((error, time.process_time() - start))
            print(
                f"  MLPRegressor {solver:5s}     test RMSE {theirs:.4f}  {tuned:7.2f} s with alpha by cross-validation "
                f"({tuned / seconds:.0f} times ours); {min(oracle)[0]:.4f} in {min(oracle)[1]:.2f} s with "
                "the best alpha on the test set"
            )


def _large() -> tuple[np.ndarray, np.ndarray]:
    X, y, *_ = draw(fourteen, 14, 3000, 0.3, 3000)
    return X, y


def _median_ms(function: Callable[[], object], clock: Callable[[], float], repeats: int = 15) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return 1e3 * float(np.median(times))


def epoch() -> None:
    X, y = _large()
    layers, inputs = Layers((14, 16, 16, 1)), with_ones(X.T[None])
    targets = ((2 * y - y.min() - y.max()) / (y.max() - y.min()))[None]
    start = nguyen_widrow(layers, np.random.default_rng(0), low=[-1] * 14, high=[1] * 14)[None]
    with threadpool_limits(1, user_api="blas"):
        for label, clock in (("wall", time.perf_counter), ("of the core", time.thread_time)):
            predicted, entering = forward(layers, start, inputs)
            deltas = backward(layers, start, entering)
            columns = jacobian(layers, deltas, entering)[0]
            room = np.zeros((layers.count, layers.count), order="F")
            parts = {
                "forward": _median_ms(lambda: forward(layers, start, inputs), clock),
                "backward": _median_ms(lambda e=entering: backward(layers, start, e), clock),
                "J'e": _median_ms(lambda d=deltas, e=entering, p=predicted: pull_back(layers, d, e, p), clock),
                "J'J": _median_ms(
                    lambda c=columns, r=room: blas.dsyrk(1.0, c.T, c=r, trans=1, lower=1, overwrite_c=1), clock
                ),
            }
            begin = clock()
            (trained,) = train(layers, start, inputs, targets, Rules(max_epochs=100))
            each = 1e3 * (clock() - begin) / trained.epochs
            needed = sum(parts.values())
            print(
                f"{label}: {', '.join(f'{name} {ms:.2f}' for name, ms in parts.items())} ms; together {needed:.2f} ms; "
                f"an epoch {each:.2f} ms, {each / needed:.2f} times as much"
            )


def hundred(trainings: int) -> None:
    X, y = _large()
    cores = os.cpu_count() or 1
    print(f"{trainings} trainings of [16, 16] on 3,000 x 14 to 250 epochs on {cores} cores", flush=True)
    start = time.perf_counter()
    networks = train_networks([(X, y, seed) for seed in range(trainings)], hidden=(16, 16), max_epochs=250)
    seconds = time.perf_counter() - start
    epochs = sum(network.n_iter_ for network in networks)
    print(
        f"{seconds:.0f} s, {epochs} epochs, {1e3 * seconds * cores / epochs:.1f} ms of a core per epoch; "
        f"{seconds / 300 * 100 / trainings:.2f} of the limit; load of the machine {os.getloadavg()[0]:.1f}"
    )


def accuracy(seeds: list[int]) -> None:
    from operando.dendrites import feature_names, growth_features
    from operando.samples import srs_experiments

    rows = []
    for seed in seeds:
        table = growth_features(srs_experiments(seed=seed))
        table = table.dropna(subset=[*feature_names(), "growth_rate_next"]).reset_index(drop=True)
        X, y = table[feature_names()].to_numpy(), table["growth_rate_next"].to_numpy()
        frame = table.groupby(["experiment", "frame"]).ngroup().to_numpy()
        rng = np.random.default_rng(seed)
        held = {
            "random": rng.random(len(table)) < 0.25,
            "frame": np.isin(frame, rng.permutation(np.unique(frame))[: len(np.unique(frame)) // 4]),
        }
        for split, test in held.items():
            for epochs in (250, 500, 1000):
                network = BayesianNetwork((16, 16), max_epochs=epochs).fit(X[~test], y[~test])
                predicted = network.predict(X[test])
                means = pd.DataFrame({"y": y[test], "p": predicted, "frame": frame[test]})
                within = means[["y", "p"]] - means.groupby("frame")[["y", "p"]].transform("mean")
                rows.append(
                    {
                        "split": split,
                        "epochs": epochs,
                        "seed": seed,
                        "R train": np.corrcoef(network.predict(X[~test]), y[~test])[0, 1],
                        "R test": np.corrcoef(predicted, y[test])[0, 1],
                        "R within frames": np.corrcoef(within["y"], within["p"])[0, 1],
                        "gamma": network.gamma_,
                        "log evidence": network.log_evidence_,
                    }
                )
    found = pd.DataFrame(rows)
    print(found.drop(columns="seed").groupby(["split", "epochs"]).mean().round(3).to_string())


def main() -> None:
    sections = {"check": check, "optima": optima, "coverage": coverage, "peers": peers, "epoch": epoch}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sections", nargs="*", default=list(sections), help="check optima coverage peers epoch hundred accuracy"
    )
    parser.add_argument("--trainings", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3000])
    given = parser.parse_args()
    for name in given.sections:
        print(f"\n== {name}", flush=True)
        if name == "hundred":
            hundred(given.trainings)
        elif name == "accuracy":
            accuracy(given.seeds)
        elif name in sections:
            sections[name]()
        else:
            parser.error(f"unknown section {name!r}")


if __name__ == "__main__":
    main()
