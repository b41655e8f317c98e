"""A forecast in two parts: how fast the stage grows, and how a point differs from the others of its frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from operando.dendrites.network import BayesianNetwork
from operando.dendrites.splits import frame_numbers, require_columns

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (4,), (8,))


class WithinFrames(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """The mean of the depletion stage, plus what a regressor tells from deviations from the frame's mean.

    Parameters
    ----------
    estimator : scikit-learn regressor
        Of the deviation of the next growth rate, from those of the features.
    columns : list of str
        Features.
    every : int
        Train on every so many points of a frame. Neighbors err alike; a network that weighs its regularization by the
        number of *independent* rows (:class:`BayesianNetwork`) fits too much where they are counted as such.

    Notes
    -----
    .. math:: \\hat v(x, t) = \\bar v_{s(t)} + f(X(x, t) - \\langle X \\rangle_t)

    All points of a frame are seen at the same time, so that their mean is known when the forecast is made. A model of
    the features themselves has a handful of frame means to learn from, in which interface position, concentration and
    rate all change together; it learns which frame it sees, and is lost in a new one. *Pass whole frames* to ``fit``
    and ``predict``: deviations are from the mean of the rows given. A single row gets the mean of its stage.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> table = pd.DataFrame({"experiment": "a", "frame": [1, 1, 2, 2], "stage": ["none", "none", "full", "full"],
    ...     "concentration": [5.0, 6.0, 1.0, 2.0]})
    >>> model = WithinFrames(LinearRegression(), ["concentration"]).fit(table, [0.0, 0.2, 0.6, 0.8])
    >>> model.predict(table.assign(concentration=[105.0, 106.0, 7.0, 8.0])).round(6).tolist()
    [0.0, 0.2, 0.6, 0.8]
    """

    def __init__(self, estimator: Any, columns: list[str], every: int = 1) -> None:
        self.estimator = estimator
        self.columns = columns
        self.every = every

    def fit(self, table: pd.DataFrame, y: Any) -> WithinFrames:
        """Take the means of the stages and fit the regressor on deviations."""
        require_columns(type(self).__name__, table, ("experiment", "frame", "stage", *self.columns))
        measured = pd.Series(np.asarray(y, float))
        number = frame_numbers(table)
        self.mean_ = float(measured.mean())
        self.means_ = measured.groupby(table["stage"].astype(str).to_numpy()).mean()
        deviation = (measured - measured.groupby(number).transform("mean")).to_numpy()
        kept = pd.Series(number).groupby(number).cumcount().to_numpy() % self.every == 0
        self.estimator_ = clone(self.estimator).fit(self._deviations(table)[kept], deviation[kept])
        return self

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Add the deviation that the features tell to the mean of the stage (of everything, for an unseen stage)."""
        check_is_fitted(self, "estimator_")
        stage = table["stage"].astype(str).map(self.means_).fillna(self.mean_).to_numpy(float)
        return stage + np.asarray(self.estimator_.predict(self._deviations(table)), float)

    def _deviations(self, table: pd.DataFrame) -> np.ndarray:
        values = pd.DataFrame(table[self.columns].to_numpy(float))
        return (values - values.groupby(frame_numbers(table)).transform("mean")).to_numpy()


class BestByEvidence(RegressorMixin, BaseEstimator):
    """The Bayesian network of the highest evidence among several shapes.

    Parameters
    ----------
    shapes : tuple of tuple of int
        Neurons of the hidden layers.
    max_epochs, random_state
        See :class:`BayesianNetwork`.

    Attributes
    ----------
    network_ : BayesianNetwork
    """

    def __init__(
        self, shapes: tuple[tuple[int, ...], ...] = SHAPES, max_epochs: int = 250, random_state: int = 0
    ) -> None:
        self.shapes = shapes
        self.max_epochs = max_epochs
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> BestByEvidence:
        """Train every shape; keep the one under which the data is most probable."""
        networks = [
            BayesianNetwork(hidden=shape, max_epochs=self.max_epochs, random_state=self.random_state).fit(X, y)
            for shape in dict.fromkeys(self.shapes)
        ]
        self.network_ = max(networks, key=lambda network: network.log_evidence_)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict with it."""
        return np.asarray(self.network_.predict(X), float)
