"""A network whose regularization is found by its own data: what MATLAB users know as trainbr, for scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from operando.core.errors import InputError, nearest
from operando.dendrites.laplace import log_evidence, posterior_factor, weight_variance
from operando.dendrites.layers import Array, Layers, backward, forward, nguyen_widrow, with_ones
from operando.dendrites.training import TRACE, Rules, Trained, train

# Products below this many multiplications take less time than the threads of a BLAS need to meet.
_ONE_THREAD = 10**10


class BayesianNetwork(RegressorMixin, BaseEstimator):
    """Regression by a tanh network with a linear output, trained with Bayesian regularization.

    Parameters
    ----------
    hidden : tuple of int
        Units of each hidden layer, as ``(16, 16)``.
    scale : bool
        Map every input and the target from its range in the training to [-1, 1] inside. A constant input counts as 0.
    max_epochs : int
        Most epochs.
    random_state : int, numpy.random.Generator or None
        Source of the starting weights (Nguyen-Widrow).
    max_seconds : float, optional
        Most seconds. A result that they have cut off depends on the machine.
    min_gradient : float
        The training ends where the norm of the gradient is no larger.
    mu, mu_decrease, mu_increase, mu_max : float
        Damping of the steps: its start, its factors after a step that was taken and one that was refused, and where to
        give up, which is the normal end.
    gradient_of : {"errors", "objective"}
        Whether `min_gradient` is about the gradient of E_D or that of F.
    error : {"sum", "mean"}
        Whether E_D is the sum of the squared errors or their mean. With the mean beta is n times as large; nothing else
        differs where there are more samples than weights.

    Attributes
    ----------
    gamma_ : float
        Number of weights that the data determine, out of ``n_parameters_``.
    alpha_, beta_ : float
        Regularization and weight of the errors, in units of the scaled inputs and target.
    noise_ : float
        Standard deviation of the noise, in units of the target.
    log_evidence_ : float
        Logarithm of the probability density of the targets, in their own units, given the network and its alpha and
        beta: the larger the better.
    log_symmetries_ : float
        Logarithm of the number of weight vectors that say the same (units permuted, signs flipped). *Not* part of
        ``log_evidence_``.
    n_iter_ : int
        Epochs.
    stopped_by_ : {"mu", "epochs", "gradient", "seconds"}
        Why the training ended.
    trace_ : pandas.DataFrame
        One row per epoch, the start included: epoch, E_D, E_W, F, gamma, alpha, beta, mu, gradient.
    weights_ : array, (n_parameters_,)
        Layer by layer a row for each unit, its bias last.
    n_parameters_ : int
        Number of weights and biases, N.
    x_min_, x_max_ : array, (features,)
        What is mapped to -1 and 1, in units of the inputs: -1 and 1 where ``scale=False``.
    y_min_, y_max_ : float
        The same of the target.

    See Also
    --------
    best_of : The network of the highest evidence among several starts.
    train_networks : Many trainings at once.

    Notes
    -----
    The objective :math:`F = \\beta E_D + \\alpha E_W` has no factors of one half: the noise has the variance
    :math:`1/2\\beta`, a weight the prior variance :math:`1/2\\alpha`, and the weights at the optimum the covariance
    :math:`\\tfrac12(\\beta J^TJ + \\alpha I)^{-1}` with the Hessian of Gauss and Newton. How it is trained:
    `operando.dendrites.training`; what the evidence is: `operando.dendrites.laplace`.

    One fit runs on one core, unless N squared times n is beyond 10^10, and holds three N x N matrices; one of them
    stays in the fitted network for its error bars.

    **When not to trust it.** The noise is taken to be normal, of one size everywhere, and independent from sample to
    sample. Samples that are neighbors in space or time are not: beta and gamma are then too large, the intervals too
    narrow, and the evidence prefers networks that learn the neighborhood. Split by frame or experiment to see it. An
    optimum is one of several: look at `best_of`. Far from the data the error bars come from the shape of tanh, not from
    knowledge.

    References
    ----------
    MacKay, *Neural Computation* **4** (1992) 415 and 448; Foresee, Hagan, *Proc. ICNN* **3** (1997) 1930.

    Examples
    --------
    A straight line takes one unit: of its four weights the data determine about two.

    >>> import numpy as np
    >>> x = np.linspace(0.0, 10.0, 50)[:, None]
    >>> y = 3.0 * x[:, 0] + np.random.default_rng(0).standard_normal(50)
    >>> network = BayesianNetwork(hidden=(1,)).fit(x, y)
    >>> network.n_parameters_, network.stopped_by_
    (4, 'mu')
    >>> bool(abs(network.predict([[5.0]])[0] - 15.0) < 0.5)
    True
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
        """Train the network.

        Parameters
        ----------
        X : array or DataFrame, (n, features)
            Inputs, in any units.
        y : array, (n,)
            Target.

        Returns
        -------
        BayesianNetwork
            This one.

        Raises
        ------
        InputError
            Where a value is not finite, a parameter cannot be, or there is more than one target.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        rules = self._rules()
        layers, start, inputs, targets = self._prepare(X, y)
        threads = 1 if layers.count**2 * len(targets) < _ONE_THREAD else None
        with threadpool_limits(threads, user_api="blas"):
            (trained,) = train(layers, start[None], inputs[None], targets[None], rules)
        return self._keep(trained, layers, len(targets))

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Prediction, and where asked its standard deviation.

        Parameters
        ----------
        X : array or DataFrame, (n, features)
            Inputs, in the units of the training.
        return_std : bool
            Whether to return a pair.

        Returns
        -------
        array, (n,), or a pair of them
            The prediction, and the standard deviation of a *new measurement* about it: noise and doubt about the
            weights together, in units of the target.
        """
        inputs = self._inputs(X, "predict")
        mean = self._mean(inputs)
        return (mean, self._deviation(inputs, noise=True)) if return_std else mean

    def predict_interval(self, X: ArrayLike, level: float = 0.95, *, noise: bool = True) -> tuple[Array, Array]:
        """Interval about the prediction.

        Parameters
        ----------
        X : array or DataFrame, (n, features)
            Inputs, in the units of the training.
        level : float
            Probability that the interval holds.
        noise : bool
            True: interval of a new measurement. False: of the function alone, without the noise of a measurement.

        Returns
        -------
        low, high : array, (n,)
            Ends, in units of the target.

        Raises
        ------
        InputError
            Where the level is no probability.

        Notes
        -----
        Student's t with n - gamma degrees of freedom, because the noise is estimated with as many.
        """
        from scipy.stats import t

        if not 0 < level < 1:
            raise InputError(
                f"BayesianNetwork.predict_interval: level must lie in (0, 1), got {level}. Give a fraction as 0.95."
            )
        inputs = self._inputs(X, "predict_interval")
        mean = self._mean(inputs)
        half = t.ppf(0.5 + level / 2, max(self._n - self.gamma_, 1.0)) * self._deviation(inputs, noise=noise)
        return mean - half, mean + half

    def gradient(self, X: ArrayLike) -> Array:
        """Exact derivatives of the prediction with respect to the inputs.

        Parameters
        ----------
        X : array or DataFrame, (n, features)
            Where, in the units of the training.

        Returns
        -------
        array, (n, features)
            In units of the target per unit of the (unscaled) input; 0 for an input that was constant in the training.
        """
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
                raise InputError(
                    f"BayesianNetwork: {name} must be {known[0]!r} or {known[1]!r}, got {value!r}. "
                    f"{nearest(str(value), known)}"
                )
        if self.max_epochs < 1:
            raise InputError(
                f"BayesianNetwork: max_epochs must be at least 1, got {self.max_epochs}. The default is 1000."
            )
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
        hidden = tuple(self.hidden) if np.iterable(self.hidden) else (self.hidden,)
        if not hidden or any(int(units) != units or units < 1 for units in hidden):
            raise InputError(
                f"BayesianNetwork: hidden must hold the units of at least one layer, got {self.hidden!r}. Try (16, 16)."
            )
        shape: tuple[int, ...] = getattr(y, "shape", ())
        if len(shape) == 2 and shape[1] > 1:
            raise InputError(
                f"BayesianNetwork.fit: y must be one target per sample, got shape {shape}. Fit one network per column."
            )
        given = np.asarray(y)
        if given.dtype.kind == "f" and given.ndim:
            _require_finite(np.isfinite(given.ravel()), "fit: y")
        values, target = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2, ensure_all_finite=False
        )
        target = np.asarray(target, dtype=np.float64)
        _require_finite(np.isfinite(values).all(axis=1), "fit: X")
        if self.scale:
            self.x_min_, self.x_max_ = values.min(axis=0), values.max(axis=0)
            self.y_min_, self.y_max_ = float(target.min()), float(target.max())
        else:
            self.x_min_, self.x_max_ = np.full(values.shape[1], -1.0), np.ones(values.shape[1])
            self.y_min_, self.y_max_ = -1.0, 1.0
        inputs = self._scaled(values)[0]
        targets = (2.0 * target - self.y_max_ - self.y_min_) / (self.y_max_ - self.y_min_ or 1.0)
        layers = Layers((values.shape[1], *(int(units) for units in hidden), 1))
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
        beta_of_sum = trained.beta / (n if self.error == "mean" else 1)
        self._factor = posterior_factor(trained.hessian, trained.alpha, trained.beta)
        half = (self.y_max_ - self.y_min_) / 2.0 or 1.0
        self.noise_ = float(half * np.sqrt(0.5 / beta_of_sum))
        density = log_evidence(self._factor, objective=objective, alpha=trained.alpha, beta=beta_of_sum, n=n)
        self.log_evidence_ = density - n * float(np.log(half))
        return self

    def _scaled(self, values: Array) -> Array:
        """Inputs on [-1, 1] with their row of ones, (1, features + 1, n)."""
        scaled = (values - (self.x_min_ + self.x_max_) / 2.0) * _slope(self.x_min_, self.x_max_)
        return with_ones(scaled.T[None])

    def _inputs(self, X: ArrayLike, where: str) -> Array:
        check_is_fitted(self)
        values = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        _require_finite(np.isfinite(values).all(axis=1), f"{where}: X")
        return self._scaled(values)

    def _mean(self, inputs: Array) -> Array:
        predicted, _ = forward(self._layers, self.weights_[None], inputs)
        return np.asarray(predicted[0] * (self.y_max_ - self.y_min_) / 2.0 + (self.y_max_ + self.y_min_) / 2.0)

    def _deviation(self, inputs: Array, *, noise: bool) -> Array:
        half = (self.y_max_ - self.y_min_) / 2.0
        spread = half**2 * weight_variance(self._layers, self.weights_, self._factor, inputs)
        return np.asarray(np.sqrt(spread + (self.noise_**2 if noise else 0.0)))


def _slope(low: Array, high: Array) -> Array:
    """Derivative of a scaled input with respect to the input; 0 where it never varied."""
    width = high - low
    return np.where(width > 0, 2.0 / np.where(width > 0, width, 1.0), 0.0)


def _require_finite(good: np.ndarray, what: str) -> None:
    if not good.all():
        raise InputError(
            f"BayesianNetwork.{what} must be finite, got NaN or infinity in {int((~good).sum())} of {good.size} "
            f"samples (first: {int(np.argmin(good))}). Drop them, as with table.dropna()."
        )
