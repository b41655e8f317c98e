"""Prediction intervals of any regressor, calibrated on whole frames that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.isotonic import IsotonicRegression
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from operando.core.errors import InputError
from operando.dendrites.scores import check_level

_HALVINGS = 45
_BINS = 10  # of the curve of typical residuals
_ROWS_PER_BIN = 50
_SMALLEST_SCALE = 1e-2  # of the root mean square residual


class FrameConformal(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Conformal prediction intervals around any regressor, with the frame as the exchangeable unit.

    Parameters
    ----------
    estimator : scikit-learn regressor
        Cloned, once for the prediction and once per fold.
    level : float
        Of the intervals, unless :meth:`predict_interval` is told another.
    folds : int or None
        Parts that the groups are dealt out to, in turn, so that successive frames come to different parts; each part
        is left out once. None: every group is left out once.
    scale : bool
        Let the width follow the prediction: residuals are divided by the typical size that they have at that
        predicted value (mean absolute residual in ten bins, made non-decreasing). Fast stages then get wider intervals
        than slow ones. False: one width everywhere.
    few_groups : {"pooled", "infinite"}
        What to do at a level above G / (G + 1), which G groups cannot guarantee: ``"pooled"`` takes the quantile of the
        residuals themselves, without guarantee; ``"infinite"`` gives the only interval that holds, the infinite one.

    Attributes
    ----------
    estimator_ : fitted regressor
        Trained on everything; it predicts.
    estimators_ : list of fitted regressors
        One per fold.
    residuals_ : ndarray, (n,)
        Measured minus predicted by the estimator that has not seen the row's group, in the rows' order.
    n_groups_ : int
    attainable_level_ : float
        G / (G + 1): the highest level that G groups can guarantee. 15 frames reach 0.9375, 19 reach 0.95.

    Notes
    -----
    Rows of a frame are alike, so that they are not exchangeable with the rows of the next frame, but whole frames may
    be. With the size :math:`R_i` of the residual of row i in group g(i), left out in fold k(i), and :math:`n_g` rows in
    a group, a row of group g weighs :math:`1 / ((G + 1)\\, n_g)` and infinity :math:`1 / (G + 1)` (hierarchical
    conformal prediction). The interval reaches from the lower quantile of :math:`\\hat\\mu_{-k(i)}(x) - R_i` to the
    upper one of :math:`\\hat\\mu_{-k(i)}(x) + R_i` (cross-validation+). It covers a row of a *new frame* with
    probability ``level`` on the average over frames and in practice; proven is 1 - 2 (1 - level), the price of training
    on what is calibrated with.

    Not proven, and not true: coverage in *each* frame or stage, coverage of frames unlike those trained on (another
    current, a later stage, another cell), and independence of successive frames, which share a hidden field.

    References
    ----------
    Dunn, Wasserman and Ramdas, J. Am. Stat. Assoc. 118, 2491 (2023): pooling and subsampling of groups. Lee, Barber and
    Willett, arXiv:2306.06342 (2023): the weights used here. Barber, Candes, Ramdas and Tibshirani, Ann. Stat. 49, 486
    (2021): cross-validation+.

    Examples
    --------
    Four frames, errors of 1, 2, 3 and 4 about a prediction that is always 0: at a level of 4 / 5 the interval
    reaches the largest.

    >>> from sklearn.dummy import DummyRegressor
    >>> x, y, frame = np.zeros((4, 1)), np.array([1.0, -2.0, 3.0, -4.0]), np.arange(4)
    >>> zero = DummyRegressor(strategy="constant", constant=0.0)
    >>> model = FrameConformal(zero, level=0.8, folds=None, scale=False).fit(x, y, groups=frame)
    >>> low, high = model.predict_interval(x[:1])
    >>> model.attainable_level_, round(low.item(), 9), round(high.item(), 9)
    (0.8, -4.0, 4.0)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        level: float = 0.95,
        folds: int | None = 5,
        scale: bool = True,
        few_groups: str = "pooled",
    ) -> None:
        self.estimator = estimator
        self.level = level
        self.folds = folds
        self.scale = scale
        self.few_groups = few_groups

    def fit(self, X: Any, y: Any, *, groups: Any) -> FrameConformal:
        """Fit the estimator on everything, and once without each part of the groups.

        Parameters
        ----------
        X : array-like or DataFrame, (n, features)
        y : array-like, (n,)
        groups : array-like, (n,)
            Frame (or experiment) of each row.

        Raises
        ------
        InputError
            Where there are fewer than two groups, or an option is out of range.
        """
        target = np.asarray(y, float)
        part = self.folds_of(groups)
        splits = [(np.flatnonzero(part != fold), np.flatnonzero(part == fold)) for fold in range(int(part.max()) + 1)]
        fitted = [clone(self.estimator).fit(_safe_indexing(X, train), target[train]) for train, _ in splits]
        return self._calibrate(clone(self.estimator).fit(X, target), fitted, X, target, groups)

    def folds_of(self, groups: Any) -> np.ndarray:
        """Fold of each row: for those who train the estimators of all folds themselves, see :meth:`from_fitted`."""
        given = np.asarray(groups)
        return self._deal(given, given.size)[0]

    def from_fitted(self, estimator: Any, estimators: list[Any], X: Any, y: Any, *, groups: Any) -> FrameConformal:
        """Calibrate with estimators that are already trained.

        Parameters
        ----------
        estimator : fitted regressor
            On all rows.
        estimators : list of fitted regressors
            One per fold, trained on the rows where ``folds_of(groups)`` is another.
        X, y, groups
            As for :meth:`fit`.
        """
        folds = int(self.folds_of(groups).max()) + 1
        if len(estimators) != folds:
            raise InputError(
                f"FrameConformal: there must be one estimator per fold, got {len(estimators)} for {folds}."
            )
        return self._calibrate(estimator, estimators, X, np.asarray(y, float), groups)

    def predict(self, X: Any) -> np.ndarray:
        """Prediction of the estimator that was trained on everything."""
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict(X), float)

    def predict_interval(self, X: Any, level: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Interval of each row.

        Parameters
        ----------
        X : array-like or DataFrame, (n, features)
        level : float, optional
            Another one than that of the constructor.

        Returns
        -------
        (low, high) : ndarrays, (n,), unit of y
        """
        check_is_fitted(self, "estimator_")
        wanted = self.level if level is None else level
        check_level("FrameConformal", wanted)
        beyond = wanted > self.attainable_level_ + 1e-12
        centers = [np.asarray(one.predict(X), float) for one in self.estimators_]
        if beyond and self.few_groups == "infinite":
            return np.full(centers[0].size, -np.inf), np.full(centers[0].size, np.inf)
        share = wanted if beyond else wanted / self.attainable_level_
        scales = [self._scale_at(center, fold) for fold, center in enumerate(centers)]
        high = self._quantile(centers, scales, share)
        low = -self._quantile([-center for center in centers], scales, share)
        # Cross-validation+ can miss the prediction where the folds disagree with it.
        center = self.predict(X)
        return np.minimum(low, center), np.maximum(high, center)

    def _deal(self, groups: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Fold of each row, its weight (all groups weigh alike, and together 1), and the number of groups."""
        if groups.shape != (rows,):
            raise InputError(f"FrameConformal: groups must name one frame per row, got {groups.shape} for {rows} rows.")
        first, number, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)[1:]
        if counts.size < 2:
            raise InputError(
                f"FrameConformal: there must be two groups at least, got {counts.size}. Leave out frames rather than "
                "experiments, or add data."
            )
        if self.few_groups not in ("pooled", "infinite"):
            raise InputError(f"FrameConformal: few_groups must be 'pooled' or 'infinite', got {self.few_groups!r}.")
        if self.folds is not None and self.folds < 2:
            raise InputError(f"FrameConformal: folds must be 2 or more, or None for one per group, got {self.folds}.")
        folds = counts.size if self.folds is None else min(self.folds, counts.size)
        # In turn: were all frames of a stage left out together, they would be told by models that know no such stage.
        dealt = np.empty(counts.size, np.int64)
        dealt[np.argsort(first)] = np.arange(counts.size) % folds
        return dealt[number], 1.0 / (counts.size * counts[number]), counts.size

    def _calibrate(self, whole: Any, fitted: list[Any], X: Any, target: np.ndarray, groups: Any) -> FrameConformal:
        part, weight, self.n_groups_ = self._deal(np.asarray(groups), target.size)
        self.attainable_level_ = self.n_groups_ / (self.n_groups_ + 1)
        self.estimator_, self.estimators_ = whole, list(fitted)
        rows = [np.flatnonzero(part == fold) for fold in range(len(self.estimators_))]
        predicted = np.empty(target.size)
        for at, estimator in zip(rows, self.estimators_, strict=True):
            predicted[at] = np.asarray(estimator.predict(_safe_indexing(X, at)), float)
        self.residuals_ = target - predicted
        size = np.abs(self.residuals_)
        self._typical = [_typical_size(predicted[part != fold], size[part != fold]) for fold in range(len(rows))]
        self._sorted = []
        for fold, at in enumerate(rows):
            relative = size[at] / self._scale_at(predicted[at], fold)
            order = np.argsort(relative)
            self._sorted.append((relative[order], np.concatenate([[0.0], np.cumsum(weight[at][order])])))
        return self

    def _scale_at(self, predicted: np.ndarray, fold: int) -> np.ndarray:
        return np.interp(predicted, *self._typical[fold]) if self.scale else np.ones_like(predicted)

    def _quantile(self, centers: list[np.ndarray], scales: list[np.ndarray], share: float) -> np.ndarray:
        """Smallest value of each row below which that share of the weights lies, by bisection for all rows at once."""
        largest = [sizes[-1] for sizes, _ in self._sorted]
        low = np.min(centers, axis=0)
        high = np.max([c + s * r for c, s, r in zip(centers, scales, largest, strict=True)], axis=0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = np.zeros_like(middle)
            for center, scale, (sizes, weights) in zip(centers, scales, self._sorted, strict=True):
                below += weights[np.searchsorted(sizes, (middle - center) / scale, side="right")]
            enough = below >= share - 1e-12
            high = np.where(enough, middle, high)
            low = np.where(enough, low, middle)
        return high


def _typical_size(predicted: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute residual as a function of the prediction: in bins of equally many rows, made non-decreasing."""
    bins = int(np.clip(predicted.size // _ROWS_PER_BIN, 1, _BINS))
    order = np.array_split(np.argsort(predicted, kind="stable"), bins)
    at = np.array([predicted[rows].mean() for rows in order])
    means = np.array([size[rows].mean() for rows in order])
    rising = IsotonicRegression().fit_transform(np.arange(bins), means)
    smallest = max(_SMALLEST_SCALE * float(np.sqrt(np.mean(size**2))), np.finfo(float).tiny)
    return at, np.maximum(rising, smallest)
