"""What a forecast loses without a feature: permutation given the other features, on frames that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError
from operando.dendrites.fitted import predictor, read_samples
from operando.dendrites.groups import group_columns


def conditional_permutation(
    model: Any,
    x: Any,
    y: Any,
    *,
    frames: Any,
    groups: Mapping[str, Sequence[str]] | None = None,
    conditional: bool = True,
    strata: Any = None,
    regressor: Any = None,
    repeats: int = 20,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Loss of skill where a feature is exchanged between samples that are alike in all other features.

    Parameters
    ----------
    model : fitted regressor or function of an array (n, features)
    x : DataFrame or array-like, shape (n, features)
        Samples that the model has not seen: whole frames (:func:`held_out_importance` sees to that).
    y : array-like, shape (n,)
        What was measured, in um min-1 for growth rates.
    frames : array-like, shape (n,)
        Frame of each sample (numbers or names, different in each experiment): the unit of the bootstrap, because points
        of one frame are not independent.
    groups : mapping of name to columns, optional
        Columns that are exchanged together; default: each column alone. Those of Table I by kind and time are
        ``operando.dendrites.feature_groups(x.columns)``.
    conditional : bool
        False: the plain permutation importance of Breiman, as ``sklearn.inspection.permutation_importance``.
    strata : array-like, shape (n,), optional
        Only samples of the same stratum exchange values, and only differences within strata are explained by the other
        features. With the frames as strata all else than the differences within a frame is kept.
    regressor : scikit-learn regressor, optional
        What predicts a column from those of the other groups. Default: linear least squares. Any other one predicts
        frames that it was not fitted on (in five parts).
    repeats : int
        Permutations to average over.
    level, resamples
        Of the bootstrap over frames.
    seed : int

    Returns
    -------
    DataFrame
        Columns ``method``, ``feature``, ``index``, ``value``, ``low``, ``high``. Index "r2": loss of
        R2 = 1 - SSE / SST; "r2_within": the same of the deviations from each frame's mean; "rmse": increase, in the
        unit of ``y``. ``low`` and ``high`` are NaN with fewer than two frames. ``attrs``: ``r2``, ``r2_within``,
        ``rmse`` before the permutation.

    Raises
    ------
    InputError
        Where shapes do not fit, values are not finite or a group has unknown columns.

    Notes
    -----
    Each column :math:`X_m` is split into what the others tell and a residual; the residuals are permuted:

    .. math:: X_m^* = \\hat E[X_m \\mid X_{-m}] + (X_m - \\hat E[X_m \\mid X_{-m}])_{\\pi(i)}

    This is the conditional importance of Strobl et al. (2008), with residuals of a regression instead of the cells of a
    tree. The rows of a group are permuted as one. It is exact where the residuals do not depend on the other
    features but through their mean; ``strata`` allow for the rest.

    A feature that the others determine loses nothing, however much the model uses it: ``growth_rate`` is the
    difference of the two positions over the interval, so alone its loss is 0. Exchange such features as a group. The
    plain importance does the opposite: it credits both, at states that never occur.

    Memory: a copy of ``x`` per group. Time: ``repeats * groups`` predictions of ``n`` samples.

    References
    ----------
    Strobl et al., BMC Bioinformatics 9 (2008) 307; Breiman, Mach. Learn. 45 (2001) 5.

    Examples
    --------
    Of two equal columns the model uses one. The other one tells all of it, so alone it is not missed:

    >>> rng = np.random.default_rng(0)
    >>> a = rng.normal(size=400)
    >>> x, frames = pd.DataFrame({"a": a, "same": a}), np.arange(400) // 40
    >>> loss = conditional_permutation(lambda v: v[:, 0], x, a, frames=frames)
    >>> abs(round(loss.query("feature == 'a' and index == 'r2'")["value"].item(), 6))
    0.0
    >>> loss = conditional_permutation(lambda v: v[:, 0], x, a, frames=frames, groups={"both": ["a", "same"]})
    >>> round(loss.query("index == 'r2'")["value"].item())
    2
    """
    where = "conditional_permutation"
    predict = predictor(model, where=where)
    values, names = read_samples(x, model, where=where)
    count = len(values)
    measured = np.asarray(y, dtype=np.float64)
    if measured.shape != (count,) or not np.isfinite(measured).all():
        raise InputError(
            f"{where}: y must have one finite value per sample, got the shape {measured.shape} for {count} samples, "
            f"{int(np.count_nonzero(~np.isfinite(measured)))} not finite. Leave out rows without a measured value."
        )
    if repeats < 1:
        raise InputError(f"{where}: at least one repeat is needed, got {repeats}. 20 are usual.")
    frame = _codes(frames, count, "frames", where)
    stratum = np.zeros(count, dtype=np.intp) if strata is None else _codes(strata, count, "strata", where)
    own = {name: [name] for name in names} if groups is None else groups
    chosen = group_columns(names, own, where=where)
    rng = np.random.default_rng(seed)

    before = FrameSums(measured, frame)
    base = before.errors(predict(values))
    after = []
    for columns in chosen.values():
        told = (
            _told_by_others(values, columns, stratum, frame, regressor)
            if conditional
            else np.zeros((count, len(columns)))
        )
        rest = values[:, columns] - told
        changed = values.copy()
        total = np.zeros_like(base)
        for _ in range(repeats):
            changed[:, columns] = told + rest[_permutation_within(stratum, rng)]
            total += before.errors(predict(changed))
        after.append(total / repeats)
    return _losses(
        before,
        base,
        dict(zip(chosen, after, strict=True)),
        "conditional permutation" if conditional else "permutation",
        level=level,
        resamples=resamples,
        rng=rng,
    )


def _codes(labels: Any, count: int, what: str, where: str) -> np.ndarray:
    found = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    if found.shape != (count,):
        raise InputError(f"{where}: {what} needs one label per sample, got {found.shape} for {count} samples.")
    return found


def _told_by_others(
    values: np.ndarray, columns: list[int], stratum: np.ndarray, frame: np.ndarray, regressor: Any
) -> np.ndarray:
    """What the other columns tell of these, on top of the mean of the stratum."""
    means = _stratum_means(values, stratum)
    others = np.setdiff1d(np.arange(values.shape[1]), columns)
    if others.size == 0:
        return means[:, columns]
    deviation = values - means
    if regressor is None:
        scale = deviation.std(axis=0)
        scale[scale == 0] = 1.0
        scaled = deviation / scale
        weights = np.linalg.lstsq(scaled[:, others], scaled[:, columns], rcond=None)[0]
        return means[:, columns] + scaled[:, others] @ weights * scale[columns]
    from sklearn.model_selection import GroupKFold, cross_val_predict

    # Of samples that it was fitted on, a tree tells nearly all, and no residual would be left to exchange.
    own = frame if frame.max() > 0 else np.arange(len(values))
    parts = GroupKFold(min(5, int(own.max()) + 1))
    told = [cross_val_predict(regressor, deviation[:, others], deviation[:, c], groups=own, cv=parts) for c in columns]
    return np.asarray(means[:, columns] + np.column_stack(told))


def _stratum_means(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    sums = np.zeros((stratum.max() + 1, values.shape[1]))
    np.add.at(sums, stratum, values)
    return np.asarray((sums / np.bincount(stratum)[:, None])[stratum])


def _permutation_within(stratum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(len(stratum))
    source = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    order = np.empty_like(source)
    order[np.argsort(stratum, kind="stable")] = source
    return order


class FrameSums:
    """Sums over each frame from which R2, within-frame R2 and RMSE of any choice of frames follow."""

    def __init__(self, measured: np.ndarray, frame: np.ndarray) -> None:
        self.measured, self.frame = measured, frame
        self.n = np.bincount(frame).astype(float)
        self.y = np.bincount(frame, measured)
        self.yy = np.bincount(frame, measured**2)

    def errors(self, predicted: np.ndarray) -> np.ndarray:
        """Sum of squared errors per frame, and of those of the deviations from the frame's mean: (2, frames)."""
        error = predicted - self.measured
        total = np.bincount(self.frame, error**2)
        return np.stack([total, total - np.bincount(self.frame, error) ** 2 / self.n])

    def spreads(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number, total sum of squares and that within frames, for weights (..., frames)."""
        n, y, yy = weights @ self.n, weights @ self.y, weights @ self.yy
        return n, yy - y**2 / n, weights @ (self.yy - self.y**2 / self.n)


def skill_of(sums: FrameSums, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R2, within-frame R2 and RMSE: (..., 3); NaN where nothing varies."""
    n, total, within = sums.spreads(weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - (weights @ errors[0]) / np.where(total > 1e-12 * np.maximum(total, n), total, np.nan)
        r2_within = 1 - (weights @ errors[1]) / np.where(within > 1e-12 * np.maximum(total, n), within, np.nan)
    return np.stack([r2, r2_within, np.sqrt(np.maximum(weights @ errors[0], 0) / n)], axis=-1)


def bootstrap_weights(count: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each frame is drawn: (resamples, frames); none at all for a single frame, which tells no spread."""
    if count < 2:
        return np.empty((0, count))
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def _losses(
    sums: FrameSums,
    base: np.ndarray,
    after: Mapping[str, np.ndarray],
    method: str,
    *,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    sign = np.array([1.0, 1.0, -1.0])
    whole = np.ones(sums.n.size)
    skill = skill_of(sums, base, whole)
    weights = bootstrap_weights(sums.n.size, resamples, rng)
    again = skill_of(sums, base, weights)
    rows = []
    for name, errors in after.items():
        value = sign * (skill - skill_of(sums, errors, whole))
        spread = sign * (again - skill_of(sums, errors, weights))
        rows += index_rows(method, name, value, spread, level)
    table = pd.DataFrame(rows)
    table.attrs |= {"r2": float(skill[0]), "r2_within": float(skill[1]), "rmse": float(skill[2]), "level": level}
    return table


def index_rows(method: str, name: str, value: np.ndarray, spread: np.ndarray, level: float) -> list[dict[str, Any]]:
    """Rows of one feature for the three indices ``value`` and their bootstrap ``spread`` (resamples, 3)."""
    bounds = np.full((2, 3), np.nan)
    for k in range(3):
        column = spread[~np.isnan(spread[:, k]), k]
        if column.size:
            bounds[:, k] = np.quantile(column, [(1 - level) / 2, (1 + level) / 2])
    return [
        {
            "method": method,
            "feature": name,
            "index": index,
            "value": value[k],
            "low": bounds[0, k],
            "high": bounds[1, k],
        }
        for k, index in enumerate(("r2", "r2_within", "rmse"))
    ]
