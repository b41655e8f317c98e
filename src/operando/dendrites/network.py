"""A neural network whose regularization is found by its own data: what MATLAB users know as trainbr, for scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from operando.core.errors import InputError, nearest
from operando.dendrites.laplace import log_evidence, posterior_factor, weight_variance
from operando.dendrites.layers import Array, Layers, backward, forward, nguyen_widrow, with_ones
from operando.dendrites.training import TRACE, Rules, Trained, train


class BayesianNetwork(RegressorMixin, BaseEstimator):
    """Regression by a tanh network trained with Bayesian regularization.

    Parameters
    ----------
    hidden : tuple of int
        Units of each hidden layer, as ``(16, 16)``; the output is linear.
    scale : bool
        Map every input and the target to [-1, 1] inside. A constant input counts as 0.
    max_epochs : int
        Most steps.
    random_state : int, numpy.random.Generator or None
        Source of the starting weights (Nguyen-Widrow).
    max_seconds : float, optional
        Most seconds; a result that they have cut off depends on the machine.
    min_gradient : float
        The training ends where the norm of the gradient is no larger.
    mu, mu_decrease, mu_increase, mu_max : float
        Damping of the steps: its start, its factors after a step that was taken and one that was refused, and where to give up,
        which is the normal end.
    gradient_of : {"errors", "objective"}
        Whether `min_gradient` is that of the errors E_D or of the objective F.
    error : {"sum", "mean"}
        Whether E_D is the sum of the squared errors or their mean. Beta is n times as large with the mean, and nothing else differs
        as long as there are more samples than weights.

    Attributes
    ----------
    gamma_ : float
        Number of weights that the data determine, out of ``n_parameters_``.
    alpha_, beta_ : float
        Regularization and weight of the errors, in units of the scaled inputs and target.
    log_evidence_ : float
        Logarithm of the probability density of the targets, in their own units, given the network: the larger the better.
    log_symmetries_ : float
        Logarithm of the number of equivalent optima (units permuted, signs flipped), *not* part of ``log_evidence_``.
    noise_ : float
        Standard deviation of the noise, in units of the target.
    n_iter_ : int
        Epochs.
    stopped_by_ : {"mu", "epochs", "gradient", "seconds"}
        Why the training ended; "mu" is the normal end.
    trace_ : pandas.DataFrame
        One row per epoch: epoch, E_D, E_W, F, gamma, alpha, beta, mu, gradient.
    weights_ : array, (n_parameters_,)
        Per layer a row for each unit, its bias last.
    x_min_, x_max_ : array, (features,)
        What is mapped to -1 and 1. With ``scale=False`` these are -1 and 1.
    y_min_, y_max_ : float
        The same of the target.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (16, 16),
        scale: bool = True,
        max_epochs: int = 1000,
        random_state: int | np.random.Generator | None = 0,
        *,
        max_seconds: float | None = None,
        min_gradient: float = 1e-7,
        mu: float = 0.005,
        mu_decrease: float = 0.1,
        mu_increase: float = 10.0,
        mu_max: float = 1e10,
        gradient_of: str = "errors",
        error: str = "sum",
    ) -> None:
        self.hidden = hidden
        self.scale = scale
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.max_seconds = max_seconds
        self.min_gradient = min_gradient
        self.mu = mu
        self.mu_decrease = mu_decrease
        self.mu_increase = mu_increase
        self.mu_max = mu_max
        self.gradient_of = gradient_of
        self.error = error

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the network."""
        layers, start, inputs, targets = self._prepare(X, y)
        (trained,) = train(layers, start[None], inputs[None], targets[None], self._rules())
        return self._keep(trained, layers, len(targets))

    def predict(self, X: ArrayLike, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Prediction, and where asked its standard deviation."""
        inputs = self._inputs(X, "predict")
        predicted, _ = forward(self._layers, self.weights_[None], inputs)
        mean = self._unscaled(predicted[0])
        return (mean, self._deviation(inputs, noise=True)) if return_std else mean

    def predict_interval(self, X: ArrayLike, level: float = 0.95, *, noise: bool = True) -> tuple[Array, Array]:
        """Interval of a new measurement, or without its noise of the function."""
        from scipy.stats import t

        if not 0 < level < 1:
            raise InputError(
                f"BayesianNetwork.predict_interval: level must lie in (0, 1), got {level}. Give a fraction such as 0.95."
            )
        inputs = self._inputs(X, "predict_interval")
        predicted, _ = forward(self._layers, self.weights_[None], inputs)
        mean = self._unscaled(predicted[0])
        half = t.ppf(0.5 + level / 2, max(self._n - self.gamma_, 1.0)) * self._deviation(inputs, noise=noise)
        return mean - half, mean + half

    def gradient(self, X: ArrayLike) -> Array:
        """Exact derivatives of the prediction with respect to the inputs, (n, features), in their own units."""
        inputs = self._inputs(X, "gradient")
        _, entering = forward(self._layers, self.weights_[None], inputs)
        first = self._layers.matrices(self.weights_[None])[0][0, :, :-1]
        slopes = backward(self._layers, self.weights_[None], entering)[0][0].T @ first
        return np.asarray(slopes * _slope(self.x_min_, self.x_max_) * (self.y_max_ - self.y_min_) / 2.0)

    def _rules(self) -> Rules:
        for name, value, known in (
            ("gradient_of", self.gradient_of, ("errors", "objective")),
            ("error", self.error, ("sum", "mean")),
        ):
            if value not in known:
                raise InputError(f"BayesianNetwork: {name} must be one of {known}, got {value!r}. {nearest(value, known)}")
        return Rules(
            max_epochs=self.max_epochs,
            max_seconds=self.max_seconds,
            min_gradient=self.min_gradient,
            mu=self.mu,
            mu_decrease=self.mu_decrease,
            mu_increase=self.mu_increase,
            mu_max=self.mu_max,
            gradient_of=self.gradient_of,
            error=self.error,
        )

    def _prepare(self, X: ArrayLike, y: ArrayLike) -> tuple[Layers, Array, Array, Array]:
        """Layers, start (N,), scaled inputs (features + 1, n) and targets (n,), after every check."""
        hidden = tuple(self.hidden)
        if not hidden or any(int(units) != units or units < 1 for units in hidden):
            raise InputError(
                f"BayesianNetwork: hidden must hold the units of at least one layer, got {self.hidden!r}. Try (16, 16)."
            )
        shape = getattr(y, "shape", ())
        if len(shape) == 2 and shape[1] > 1:
            raise InputError(
                f"BayesianNetwork.fit: y must be one target per sample, got shape {shape}. Fit one network per column."
            )
        X, y = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2, ensure_all_finite=False
        )
        bad = ~(np.isfinite(X).all(axis=1) & np.isfinite(y))
        if bad.any():
            raise InputError(
                f"BayesianNetwork.fit: X and y must be finite, got NaN or infinity in {bad.sum()} of {len(bad)} samples (first: "
                f"{int(np.argmax(bad))}). Drop them, as with table.dropna()."
            )
        y = np.asarray(y, dtype=np.float64)
        if self.scale:
            self.x_min_, self.x_max_ = X.min(axis=0), X.max(axis=0)
            self.y_min_, self.y_max_ = float(y.min()), float(y.max())
        else:
            self.x_min_, self.x_max_ = np.full(X.shape[1], -1.0), np.ones(X.shape[1])
            self.y_min_, self.y_max_ = -1.0, 1.0
        inputs = with_ones(self._scaled(X))[0]
        targets = (2.0 * y - self.y_max_ - self.y_min_) / (self.y_max_ - self.y_min_ or 1.0)
        layers = Layers((X.shape[1], *(int(units) for units in hidden), 1))
        start = nguyen_widrow(
            layers,
            np.random.default_rng(self.random_state),
            low=inputs[:-1].min(axis=1),
            high=inputs[:-1].max(axis=1),
        )
        return layers, start, inputs, targets

    def _keep(self, trained: Trained, layers: Layers, n: int) -> Self:
        self._layers, self._n = layers, n
        self.weights_ = trained.weights
        self.gamma_, self.alpha_, self.beta_ = trained.gamma, trained.alpha, trained.beta
        self.n_iter_, self.stopped_by_ = trained.epochs, trained.stopped_by
        self.n_parameters_ = layers.count
        self.trace_ = pd.DataFrame(trained.trace, columns=list(TRACE)).astype({"epoch": int})
        self.log_symmetries_ = layers.log_symmetries
        objective = trained.beta * trained.error + trained.alpha * float(trained.weights @ trained.weights)
        per_error = trained.beta / (n if self.error == "mean" else 1)
        self._factor = posterior_factor(trained.hessian, trained.alpha, trained.beta)
        half = (self.y_max_ - self.y_min_) / 2.0 or 1.0
        self.noise_ = float(half * np.sqrt(0.5 / per_error))
        self.log_evidence_ = log_evidence(
            self._factor, objective=objective, alpha=trained.alpha, beta=per_error, n=n
        ) - n * float(np.log(half))
        return self

    def _scaled(self, X: NDArray) -> Array:
        """(1, features, n) on [-1, 1]."""
        return np.asarray(((X - (self.x_min_ + self.x_max_) / 2.0) * _slope(self.x_min_, self.x_max_)).T[None])

    def _unscaled(self, predicted: Array) -> Array:
        return np.asarray(predicted * (self.y_max_ - self.y_min_) / 2.0 + (self.y_max_ + self.y_min_) / 2.0)

    def _inputs(self, X: ArrayLike, where: str) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        bad = ~np.isfinite(X).all(axis=1)
        if bad.any():
            raise InputError(
                f"BayesianNetwork.{where}: X must be finite, got NaN or infinity in {bad.sum()} of {len(bad)} samples (first: "
                f"{int(np.argmax(bad))}). Drop them, as with table.dropna()."
            )
        return with_ones(self._scaled(X))

    def _deviation(self, inputs: Array, *, noise: bool) -> Array:
        half = (self.y_max_ - self.y_min_) / 2.0
        spread = half**2 * weight_variance(self._layers, self.weights_, self._factor, inputs)
        return np.asarray(np.sqrt(spread + (self.noise_**2 if noise else 0.0)))


def _slope(low: Array, high: Array) -> Array:
    """Derivative of a scaled input with respect to the input; 0 where it never varied."""
    width = high - low
    return np.where(width > 0, 2.0 / np.where(width > 0, width, 1.0), 0.0)
