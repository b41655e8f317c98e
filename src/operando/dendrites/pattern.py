"""A forecast as level times pattern: how fast a frame grows, and what share of it each point has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_is_fitted

from operando.core.errors import InputError
from operando.dendrites.splits import frame_numbers, require_columns

SALT = "concentration"
RELATIVE = ("growth_rate", "concentration")  # how names of features begin that have a natural zero


class Pattern(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """The mean growth that the salt of a frame tells, times what a regressor tells from relative deviations.

    Parameters
    ----------
    estimator : scikit-learn regressor
        Of the deviation of the next growth rate from the mean of its frame, um min-1.
    columns : list of str
        Features.

    Attributes
    ----------
    level_ : sklearn.isotonic.IsotonicRegression
        Mean next growth rate of a frame as a non-increasing function of its mean concentration.
    estimator_ : fitted regressor

    Raises
    ------
    InputError
        From ``fit`` and ``predict``, where a column is missing or a frame shows no concentration.

    Notes
    -----
    .. math:: \\hat v(x, t) = L_t + f(L_t\\, z(x, t)), \\qquad
              z = \\frac{X - \\langle X \\rangle_t}{\\max(|\\langle X \\rangle_t|,\\ \\sigma_t)}

    with :math:`\\langle X \\rangle_t` and :math:`\\sigma_t` mean and standard deviation over the frame, and the divisor
    1 for slopes and positions, which have no natural zero. For a linear f this is :math:`L_t (1 + f(z))`: a point that
    grew by a tenth faster than its frame goes on doing so by some share of a tenth, however fast the frame now grows.
    The divisor keeps a mean that is nearly zero from blowing up noise.

    The level :math:`L_t` is an isotonic regression over frames, of which there are a handful; that an electrode grows
    no slower with less salt is what Ma 2021 finds (velocities by stage). It replaces the mean of the stage, which a
    frame near a threshold gets wrong as a whole. Beyond the concentrations of the training it stays constant.

    *Pass whole frames* to ``fit`` and ``predict``, as deviations are from the mean of the rows given. A single row gets
    its level.

    **When not to trust it.** Where growth does not rise as the salt goes, and in a cell whose level at a given
    concentration is another: the pattern then still ranks the points of a frame, its size is wrong.

    Examples
    --------
    Twice the level, and a pattern that is kept in full:

    >>> from sklearn.linear_model import LinearRegression
    >>> table = pd.DataFrame({"experiment": "a", "frame": [1, 1, 2, 2], "concentration": [1.0, 1.0, 0.5, 0.5],
    ...     "growth_rate": [0.1, 0.3, 0.5, 1.5]})
    >>> model = Pattern(LinearRegression(), ["growth_rate"]).fit(table, [0.5, 1.5, 1.0, 3.0])
    >>> model.predict(table.assign(growth_rate=[10.0, 30.0, 0.2, 0.2])).round(6).tolist()
    [0.5, 1.5, 2.0, 2.0]
    """

    def __init__(self, estimator: Any, columns: list[str]) -> None:
        self.estimator = estimator
        self.columns = columns

    def fit(self, table: pd.DataFrame, y: Any) -> Pattern:
        """Fit the level to the frames' means, then the regressor to the deviations from them."""
        require_columns(type(self).__name__, table, ("experiment", "frame", SALT, *self.columns))
        number = frame_numbers(table)
        measured = pd.Series(np.asarray(y, float))
        mean = measured.groupby(number).mean().to_numpy()
        self.level_ = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(_salt(table, number), mean)
        deviation = measured.to_numpy() - mean[number]
        self.estimator_ = clone(self.estimator).fit(self._scaled(table)[0], deviation)
        return self

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Add the deviation that the features tell to the level of the frame."""
        check_is_fitted(self, "estimator_")
        inputs, level = self._scaled(table)
        return level + np.asarray(self.estimator_.predict(inputs), float)

    def _scaled(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Relative deviations times the level, (n, features), and the level, (n,)."""
        require_columns(type(self).__name__, table, ("experiment", "frame", SALT, *self.columns))
        number = frame_numbers(table)
        level = np.asarray(self.level_.predict(_salt(table, number)))[number]
        return relative_deviations(table, self.columns, number) * level[:, None], level


def _salt(table: pd.DataFrame, number: np.ndarray) -> np.ndarray:
    """Mean concentration of each frame."""
    salt = pd.Series(table[SALT].to_numpy(float)).groupby(number).mean().to_numpy()
    if np.isnan(salt).any():
        raise InputError(
            f"Pattern: every frame must show some concentration, {int(np.isnan(salt).sum())} of {salt.size} do not. "
            "Leave these frames out."
        )
    return salt


def relative_deviations(table: pd.DataFrame, columns: list[str], number: np.ndarray) -> np.ndarray:
    """Deviations from the mean of the frame, (n, features); of rates and salt in units of that mean.

    Examples
    --------
    >>> table = pd.DataFrame({"slope": [1.0, 3.0], "growth_rate": [1.0, 3.0]})
    >>> relative_deviations(table, ["slope", "growth_rate"], np.array([0, 0])).tolist()
    [[-1.0, -0.5], [1.0, 0.5]]
    """
    values = pd.DataFrame(table[columns].to_numpy(float), columns=range(len(columns)))
    frames = values.groupby(number)
    mean, spread = frames.transform("mean").to_numpy(), frames.transform("std", ddof=0).to_numpy()
    size = np.maximum(np.abs(mean), spread)
    absolute = np.array([not name.startswith(RELATIVE) for name in columns])
    size[:, absolute] = 1.0
    return np.asarray(np.divide(values.to_numpy() - mean, size, out=np.zeros(values.shape), where=size > 0))
