"""The models that stand beside the Bayesian network, as scikit-learn regressors on rows of the feature table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from operando.core.errors import InputError, nearest
from operando.dendrites.committee import Committee
from operando.dendrites.pattern import Pattern
from operando.dendrites.scores import score_intervals
from operando.dendrites.splits import require_columns
from operando.dendrites.within import BestByEvidence, WithinFrames

TARGET = "growth_rate_next"

MODELS = (
    "persistence",
    "stage mean",
    "linear",
    "nearest neighbor",
    "gradient boosting",
    "Gaussian process",
    "plain network",
    "Bayesian network",
    "linear within frames",
    "Bayesian network within frames",
    "linear pattern",
    "network pattern",
)
CONFORMAL_NETWORK = "Bayesian network, conformal"
THINNED = 8  # points; see WithinFrames
GAUSSIAN_PROCESS_ROWS, LENGTH_SCALE_ROWS = 500, 150


def rival(
    name: str,
    *,
    columns: Sequence[str] | None = None,
    hidden: Sequence[int] = (16, 16),
    max_epochs: int = 250,
    random_state: int = 0,
) -> Any:
    """Make one of the models that are compared.

    Parameters
    ----------
    name : str
        One of :data:`MODELS`:

        - ``"persistence"``: the next growth rate is the current one
        - ``"stage mean"``: the mean of the depletion stage
        - ``"linear"``: least squares
        - ``"nearest neighbor"``: the growth rate of the most similar row (scaled features); it cannot generalize, and
          thus shows how much of a test set can be looked up in the training set
        - ``"gradient boosting"``: 100 histogram trees of at most 31 leaves
        - ``"Gaussian process"``: one length scale per feature, and noise, by maximum likelihood on 150 rows drawn at
          random; predictions from 500 rows (its cost grows with their cube)
        - ``"plain network"``: the same layers trained by Adam with early stopping on a tenth of the rows
        - ``"Bayesian network"``: :class:`BayesianNetwork`
        - ``"linear within frames"``, ``"Bayesian network within frames"``: the stage mean plus least squares, or a
          network, on deviations from the frame's mean; the network learns from every eighth point, and is the one of
          the highest evidence among 2, 4 and 8 neurons
        - ``"linear pattern"``, ``"network pattern"``: the level that the mean concentration of the frame tells, times
          a pattern from relative deviations (``Pattern``), by least squares or by a ``Committee`` of eight Bayesian
          networks of two neurons, each on every eighth point
    columns : sequence of str, optional
        Features; all at both times by default. Persistence and the stage mean do not use them.
    hidden : sequence of int
        Layers of the networks.
    max_epochs : int
        Of the Bayesian network.
    random_state : int
        Of whatever is drawn.

    Returns
    -------
    regressor
        Not fitted; ``fit(table, y)`` and ``predict(table)`` take rows of the feature table.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> table = pd.DataFrame({"growth_rate": [0.1, 0.2], "stage": ["none", "full"]})
    >>> rival("persistence").fit(table, [0.3, 0.4]).predict(table).tolist()
    [0.1, 0.2]
    >>> rival("stage mean").fit(table, [0.3, 0.4]).predict(table).tolist()
    [0.3, 0.4]
    """
    if name not in MODELS:
        raise InputError(f"rival: a model is one of {', '.join(MODELS)}, got {name!r}. {nearest(str(name), MODELS)}")
    if name == "persistence":
        return OnColumns(Persistence(), ["growth_rate"])
    if name == "stage mean":
        return OnColumns(GroupMean(), ["stage"])
    if columns is None:
        from operando.dendrites.features import feature_names

        columns = feature_names()
    if name == "linear within frames":
        return WithinFrames(_estimator("linear", (), max_epochs, random_state), list(columns))
    if name == "Bayesian network within frames":
        network = BestByEvidence(max_epochs=max_epochs, random_state=random_state)
        return WithinFrames(network, list(columns), every=THINNED)
    if name == "linear pattern":
        return Pattern(_estimator("linear", (), max_epochs, random_state), list(columns))
    if name == "network pattern":
        from operando.dendrites.network import BayesianNetwork

        network = BayesianNetwork((2,), max_epochs=max_epochs, random_state=random_state)
        return Pattern(Committee(network, every=THINNED), list(columns))
    return OnColumns(_estimator(name, tuple(hidden), max_epochs, random_state), list(columns))


def correlation_by_stage(
    table: pd.DataFrame,
    *,
    feature: str = "concentration",
    target: str = TARGET,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlation of the growth rate with one feature in each depletion stage: the analysis before any network.

    Parameters
    ----------
    table : DataFrame
        As :func:`growth_features` returns it.
    feature, target : str
        Columns.
    level, resamples, seed
        Of the bootstrap over frames.

    Returns
    -------
    DataFrame
        One row per stage, and ``"all"``: ``stage, r, low, high, r_within, low_within, high_within, n, frames``.
        ``r_within`` is that of the deviations from each frame's mean. Intervals of a stage with a single frame are NaN.

    Notes
    -----
    Cheng et al., Nat. Commun. 9, 2942 (2018), found R rising from 0.29 without to 0.84 with full depletion, with the
    concentration 10 um off the electrode. Within a stage R mixes two things: that frames later in it are both more
    depleted and faster (of either sign), and that places with more salt grow faster than others at the same
    time. Only the second, ``r_within``, tells where a dendrite grows.

    Examples
    --------
    >>> table = pd.DataFrame({"experiment": "a", "frame": [1, 1, 2, 2], "stage": ["none", "none", "full", "full"],
    ...     "concentration": [1.0, 2.0, 0.1, 0.2], "growth_rate_next": [0.2, 0.1, 0.5, 0.7]})
    >>> correlation_by_stage(table)[["stage", "r", "n"]].round(6).to_numpy().tolist()
    [['none', -1.0, 2], ['full', 1.0, 2], ['all', -0.889824, 4]]
    """
    require_columns("correlation_by_stage", table, ("experiment", "frame", "stage", feature, target))
    known = table[np.isfinite(table[[feature, target]].to_numpy(float)).all(axis=1)]
    require_columns("correlation_by_stage", known, ())
    as_rows = pd.DataFrame(
        {
            "model": known["stage"].astype(str).to_numpy(),
            "split": "all",
            "repeat": 0,
            "part": "test",
            "experiment": known["experiment"].to_numpy(),
            "frame": known["frame"].to_numpy(),
            "measured": known[target].to_numpy(float),
            "predicted": known[feature].to_numpy(float),
        }
    )
    rows = []
    for stage, part in [*as_rows.groupby("model", sort=False), ("all", as_rows.assign(model="all"))]:
        found = score_intervals(part, scores=("r", "r_within"), level=level, resamples=resamples, seed=seed)
        frames = int(found["frames"].iloc[0])
        overall, within = (found[["value", "low", "high"]].to_numpy(float, copy=True)[k] for k in (0, 1))
        if frames < 2:
            overall[1:] = within[1:] = np.nan
        rows.append((stage, *overall, *within, len(part), frames))
    columns = ["stage", "r", "low", "high", "r_within", "low_within", "high_within", "n", "frames"]
    return pd.DataFrame(rows, columns=columns)


class OnColumns(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """A regressor that picks its columns from a table.

    Parameters
    ----------
    estimator : scikit-learn regressor
    columns : list of str
    """

    def __init__(self, estimator: Any, columns: list[str]) -> None:
        self.estimator = estimator
        self.columns = columns

    def fit(self, table: pd.DataFrame, y: Any) -> OnColumns:
        """Fit on the columns; that an iteration limit or a bound of a length scale was reached is no fault here."""
        require_columns(type(self).__name__, table, self.columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.estimator_ = clone(self.estimator).fit(self._of(table), np.asarray(y))
        return self

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Predict from the columns."""
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict(self._of(table)), float)

    @available_if(lambda self: hasattr(self.estimator, "predict_interval"))  # type: ignore[untyped-decorator]
    def predict_interval(self, table: pd.DataFrame, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Interval that the regressor itself states."""
        check_is_fitted(self, "estimator_")
        low, high = self.estimator_.predict_interval(self._of(table), level)
        return np.asarray(low, float), np.asarray(high, float)

    def _of(self, table: pd.DataFrame) -> np.ndarray:
        return table[self.columns].to_numpy()


class Persistence(RegressorMixin, BaseEstimator):
    """The next value is the current one, the only feature."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Persistence:
        """Learn nothing."""
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the feature."""
        return np.asarray(X, float)[:, 0]


class GroupMean(RegressorMixin, BaseEstimator):
    """The mean of the group that the only feature names; of everything, for a group that was not seen."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> GroupMean:
        """Take the means."""
        self.n_features_in_ = X.shape[1]
        self.mean_ = float(np.mean(y))
        self.means_ = pd.Series(np.asarray(y, float)).groupby(X[:, 0].astype(str)).mean()
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Look up the means."""
        return pd.Series(X[:, 0].astype(str)).map(self.means_).fillna(self.mean_).to_numpy(float)


class SubsetGaussianProcess(RegressorMixin, BaseEstimator):
    """A Gaussian process with a length scale per feature and noise, on rows drawn at random.

    Its cost grows with the cube of the rows; the length scales, which take most of the time, need fewer than the
    prediction.

    Parameters
    ----------
    rows, scale_rows : int
        Rows to predict from, and of these, rows to find the length scales with.
    random_state : int
        Of the drawing.
    """

    def __init__(
        self, rows: int = GAUSSIAN_PROCESS_ROWS, scale_rows: int = LENGTH_SCALE_ROWS, random_state: int = 0
    ) -> None:
        self.rows = rows
        self.scale_rows = scale_rows
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> SubsetGaussianProcess:
        """Find the length scales by maximum likelihood, then condition on more rows."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        features = X.shape[1]
        drawn = np.random.default_rng(self.random_state).permutation(len(y))[: self.rows]
        few = drawn[: self.scale_rows]
        kernel = ConstantKernel() * RBF(np.full(features, np.sqrt(features)), (1e-1, 1e3)) + WhiteKernel()
        with threadpool_limits(1):  # hundreds of products, too small to be worth a second thread
            found = GaussianProcessRegressor(kernel, normalize_y=True).fit(X[few], y[few]).kernel_
            self.process_ = GaussianProcessRegressor(found, optimizer=None, normalize_y=True).fit(X[drawn], y[drawn])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict every row."""
        return np.asarray(self.process_.predict(X), float)


def _estimator(name: str, hidden: tuple[int, ...], max_epochs: int, random_state: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "linear":
        from sklearn.linear_model import LinearRegression

        return make_pipeline(StandardScaler(), LinearRegression())
    if name == "nearest neighbor":
        from sklearn.neighbors import KNeighborsRegressor

        return make_pipeline(StandardScaler(), KNeighborsRegressor(n_neighbors=1))
    if name == "gradient boosting":
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(early_stopping=False, random_state=random_state)
    if name == "Gaussian process":
        return make_pipeline(StandardScaler(), SubsetGaussianProcess(random_state=random_state))
    if name == "plain network":
        from sklearn.neural_network import MLPRegressor

        network = MLPRegressor(
            hidden_layer_sizes=hidden,
            activation="tanh",
            early_stopping=True,
            max_iter=500,
            random_state=random_state,
        )
        scaled = TransformedTargetRegressor(network, transformer=StandardScaler())
        return make_pipeline(StandardScaler(), scaled)
    from operando.dendrites.network import BayesianNetwork

    return BayesianNetwork(hidden=hidden, max_epochs=max_epochs, random_state=random_state)
