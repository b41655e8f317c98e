"""Levenberg-Marquardt training with Bayesian regularization, many networks at once (MacKay; Foresee & Hagan)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from operando.dendrites.lapack import Factor
from operando.dendrites.layers import Array, Layers, backward, forward, pull_back
from operando.dendrites.products import NormalProduct

TRACE = ("epoch", "E_D", "E_W", "F", "gamma", "alpha", "beta", "mu", "gradient")


@dataclass(frozen=True)
class Rules:
    """When a step is taken, and when the training ends; the defaults are those of the literature."""

    max_epochs: int = 1000
    max_seconds: float | None = None
    min_gradient: float = 1e-7
    mu: float = 0.005
    mu_decrease: float = 0.1
    mu_increase: float = 10.0
    mu_min: float = 1e-20
    mu_max: float = 1e10
    gradient_of: str = "errors"
    error: str = "sum"


@dataclass
class Trained:
    """One trained network: its weights and what the training knows about them."""

    weights: Array
    gamma: float
    alpha: float
    beta: float
    stopped_by: str
    epochs: int
    trace: Array  # (epochs + 1, len(TRACE))
    hessian: Array  # J'J of the summed or averaged errors, upper triangle and zeros
    error: float  # E_D


def train(layers: Layers, starts: Array, inputs: Array, targets: Array, rules: Rules) -> list[Trained]:
    """Train networks of one shape, each with its own start, data, regularization and end.

    Parameters
    ----------
    layers : Layers
        Shape of every network.
    starts : array, (networks, N)
        Starting weights.
    inputs : array, (networks or 1, features + 1, n)
        Inputs with their row of ones, shared where the first axis is 1.
    targets : array, (networks or 1, n)
        Targets.
    rules : Rules
        Steps and stops.

    Returns
    -------
    list of Trained
        In the order of `starts`.

    Notes
    -----
    With errors e, Jacobian J of the predictions, :math:`E_D = e^T e`, :math:`E_W = w^T w` and
    :math:`F = \\beta E_D + \\alpha E_W`, an epoch is one step that lowers F,

    .. math:: \\Delta w = -[\\beta J^T J + (\\mu + \\alpha) I]^{-1} (\\beta J^T e + \\alpha w),

    with mu ten times smaller after it and ten times larger after each refused try, then

    .. math:: \\gamma = N - \\alpha\\,\\mathrm{tr}(\\beta J^T J + \\alpha I)^{-1},\\quad
              \\alpha = \\gamma / 2 E_W,\\quad \\beta = (n - \\gamma) / 2 E_D.

    An epoch costs one product :math:`J^T J`, a Cholesky factor per try, and one more with its inverse for the trace.
    The networks of a batch advance together but never wait: while one has its step refused another takes its own.

    Memory: two N x N matrices per network, one per batch, and the activations.

    References
    ----------
    MacKay, *Neural Computation* **4** (1992) 448; Foresee, Hagan, *Proc. ICNN* **3** (1997) 1930.
    """
    return _Batch(layers, starts, inputs, targets, rules).run()


class _Batch:
    """The state of the networks that still train; rows of the arrays are dropped as they end."""

    def __init__(self, layers: Layers, starts: Array, inputs: Array, targets: Array, rules: Rules) -> None:
        self.layers, self.rules = layers, rules
        self.inputs, self.targets = inputs, targets
        self.weights = np.array(starts, dtype=float)
        networks, self.count = self.weights.shape
        self.n = targets.shape[1]
        self.divisor = float(self.n) if rules.error == "mean" else 1.0
        self.member = np.arange(networks)
        self.epoch = np.zeros(networks, dtype=int)
        self.mu = np.full(networks, rules.mu)
        self.hessian = np.zeros((networks, self.count, self.count))
        self.pulled = np.zeros((networks, self.count))
        self.factor = Factor(self.count)
        self.product = NormalProduct(layers, self.n)
        self.rows: list[tuple[NDArray[np.int_], Array]] = []
        self.done: dict[int, Trained] = {}

    def run(self) -> list[Trained]:
        end = None if self.rules.max_seconds is None else time.monotonic() + self.rules.max_seconds
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self._start()
            self._stop(end)
            while len(self.member):
                self._try()
                self._stop(end)
        members = np.concatenate([member for member, _ in self.rows])
        rows = np.concatenate([row for _, row in self.rows])
        trained = [self.done[member] for member in range(len(self.done))]
        for member, network in enumerate(trained):
            network.trace = rows[members == member]
        return trained

    def _start(self) -> None:
        everyone = np.arange(len(self.member))
        predicted, entering = forward(self.layers, self.weights, self.inputs)
        errors = predicted - self.targets
        self.e_d = np.vecdot(errors, errors) / self.divisor
        self.e_w = np.vecdot(self.weights, self.weights)
        self.gamma = np.full(len(everyone), float(self.count))
        self.alpha = _ratio(self.gamma, self.e_w)
        free = self.n - self.count
        self.beta = _ratio(np.full(len(everyone), float(free)), self.e_d)
        self.f = self.beta * self.e_d + self.alpha * self.e_w
        self._normal(everyone, errors, entering)
        self._record(everyone)

    def _stop(self, end: float | None) -> None:
        """Take the networks out that have ended, with the reason."""
        reasons = np.full(len(self.member), "", dtype=object)
        if end is not None and time.monotonic() >= end:
            reasons[:] = "seconds"
        reasons[self.epoch >= self.rules.max_epochs] = "epochs"
        reasons[self.gradient <= self.rules.min_gradient] = "gradient"
        reasons[self.mu > self.rules.mu_max] = "mu"
        ended = reasons != ""
        if not ended.any():
            return
        for i in np.flatnonzero(ended):
            self.done[int(self.member[i])] = Trained(
                weights=self.weights[i].copy(),
                gamma=float(self.gamma[i]),
                alpha=float(self.alpha[i]),
                beta=float(self.beta[i]),
                stopped_by=str(reasons[i]),
                epochs=int(self.epoch[i]),
                trace=np.empty((0, len(TRACE))),
                hessian=self.hessian[i].copy(),
                error=float(self.e_d[i]),
            )
        keep = ~ended
        for name in ("member", "epoch", "weights", "mu", "hessian", "pulled", "gradient"):
            setattr(self, name, getattr(self, name)[keep])
        for name in ("e_d", "e_w", "f", "gamma", "alpha", "beta"):
            setattr(self, name, getattr(self, name)[keep])
        for name in ("inputs", "targets"):
            if len(getattr(self, name)) == len(keep) and len(keep) > 1:
                setattr(self, name, getattr(self, name)[keep])

    def _try(self) -> None:
        """One step of every network; those whose F fell take it."""
        trial = np.empty_like(self.weights)
        for i in range(len(trial)):
            trial[i] = self._step(i)
        predicted, entering = forward(self.layers, trial, self.inputs)
        errors = predicted - self.targets
        e_d = np.vecdot(errors, errors) / self.divisor
        e_w = np.vecdot(trial, trial)
        taken = self.beta * e_d + self.alpha * e_w < self.f
        self.mu = np.where(
            taken, np.maximum(self.mu * self.rules.mu_decrease, self.rules.mu_min), self.mu * self.rules.mu_increase
        )
        which = np.flatnonzero(taken)
        if not len(which):
            return
        if len(which) < len(taken):
            errors = errors[which]
            entering = [units if len(units) == 1 and len(taken) > 1 else units[which] for units in entering]
        self.weights[which] = trial[which]
        self.e_d[which], self.e_w[which] = e_d[which], e_w[which]
        self.epoch[which] += 1
        self._normal(which, errors, entering)
        self.gamma[which] = [self._gamma(int(i)) for i in which]
        self.alpha[which] = _ratio(self.gamma[which], self.e_w[which], self.alpha[which])
        self.beta[which] = _ratio(self.n - self.gamma[which], self.e_d[which], self.beta[which])
        self.f[which] = self.beta[which] * self.e_d[which] + self.alpha[which] * self.e_w[which]
        self._record(which)

    def _step(self, i: int) -> Array:
        if not self.factor.factorize(self.hessian[i], scale=self.beta[i], shift=self.mu[i] + self.alpha[i]):
            return np.full(self.count, np.nan)
        return self.weights[i] - self.factor.solve(self.beta[i] * self.pulled[i] + self.alpha[i] * self.weights[i])

    def _gamma(self, i: int) -> float:
        """Number of well-determined parameters, N - alpha tr (beta J'J + alpha I)^-1."""
        if self.factor.factorize(self.hessian[i], scale=self.beta[i], shift=self.alpha[i]):
            gamma = self.count - self.alpha[i] * self.factor.trace_of_inverse()
        else:  # so flat that rounding makes it indefinite
            values = np.clip(np.linalg.eigvalsh(self.hessian[i], UPLO="U"), 0.0, None) * self.beta[i]
            gamma = float(np.sum(values / (values + self.alpha[i])))
        # a difference below its rounding says that no weight is determined; alpha then stays what it is
        return gamma if gamma > 1e-13 * self.count else 0.0

    def _normal(self, which: NDArray[np.int_], errors: Array, entering: list[Array]) -> None:
        """J'J, J'e and the gradient of the networks `which`."""
        deltas = backward(self.layers, self.weights[which], entering)
        self.pulled[which] = pull_back(self.layers, deltas, entering, errors) / self.divisor
        self.product.write(deltas, entering, [self.hessian[i] for i in which])
        if self.divisor != 1.0:
            self.hessian[which] /= self.divisor
        gradient = self.pulled[which]
        if self.rules.gradient_of == "objective":
            gradient = self.beta[which, None] * gradient + self.alpha[which, None] * self.weights[which]
        norm = 2.0 * np.sqrt(np.vecdot(gradient, gradient))
        if len(which) == len(self.member):
            self.gradient = norm
        else:
            self.gradient[which] = norm

    def _record(self, which: NDArray[np.int_]) -> None:
        values = (self.epoch, self.e_d, self.e_w, self.f, self.gamma, self.alpha, self.beta, self.mu, self.gradient)
        self.rows.append((self.member[which], np.column_stack([value[which] for value in values])))


def _ratio(above: Array, energy: Array, before: Array | float = 1.0) -> Array:
    """Alpha or beta from its energy; what it was before where the energy has vanished or nothing is above it."""
    value = above / (2.0 * energy)
    return np.where(np.isfinite(value) & (value > 0), value, before)
