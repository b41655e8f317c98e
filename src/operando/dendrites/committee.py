"""The mean of several regressors, each trained on every so many rows: neighbors are not counted as independent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from operando.core.errors import InputError


class Committee(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """The mean forecast of regressors that each see every so many rows, shifted, and start elsewhere.

    Parameters
    ----------
    estimator : scikit-learn regressor
        Cloned for every member; member m gets its own ``random_state`` (that of the estimator plus m) if it has one.
    members : int
        How many.
    every : int
        Member m is trained on rows m, m + every, m + 2 every ... (m modulo `every`). With as many members as that, each
        row is used once. Where a member would get fewer than two rows, all members get all of them.

    Attributes
    ----------
    estimators_ : list of fitted regressors

    Raises
    ------
    InputError
        From ``fit``, where `members` or `every` is below 1.

    Notes
    -----
    Points along an interface err alike over a correlation length. A network with Bayesian regularization takes every
    row for independent: given all of them it is too sure of its data, and determines too many of its weights
    (``gamma_``). Rows that lie further apart cure that and throw data away; the members together use it all, and their
    mean has less of the variance that comes from the start of the training.

    Rows must come in the order of the points, as those of the feature table do. The spread of the members is *not* the
    error of the forecast: they share its bias. Take intervals from :class:`FrameConformal`.

    Examples
    --------
    Two members of a mean, one trained on 0 and 2, the other on 10 and 14:

    >>> from sklearn.dummy import DummyRegressor
    >>> committee = Committee(DummyRegressor(), members=2, every=2).fit(np.zeros((4, 1)), [0.0, 10.0, 2.0, 14.0])
    >>> [float(member.constant_.item()) for member in committee.estimators_], committee.predict([[0.0]]).tolist()
    ([1.0, 12.0], [6.5])
    """

    def __init__(self, estimator: Any, *, members: int = 8, every: int = 8) -> None:
        self.estimator = estimator
        self.members = members
        self.every = every

    def fit(self, X: ArrayLike, y: ArrayLike) -> Committee:
        """Train every member on its rows."""
        if self.members < 1 or self.every < 1:
            raise InputError(
                f"Committee: members and every must be at least 1, got {self.members} and {self.every}. "
                "Eight are usual for both."
            )
        values, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        every = self.every if len(target) >= 2 * self.every else 1
        self.estimators_ = []
        for member in range(self.members):
            one = clone(self.estimator)
            if isinstance(seed := one.get_params().get("random_state"), (int, np.integer)):
                one.set_params(random_state=int(seed) + member)
            rows = slice(member % every, None, every)
            self.estimators_.append(one.fit(values[rows], target[rows]))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Mean of the members' predictions."""
        check_is_fitted(self, "estimators_")
        values = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(np.mean([member.predict(values) for member in self.estimators_], axis=0))
