"""How good a forecast of the growth rate is: correlation overall and within frames, error, coverage, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.dendrites.splits import frame_numbers, require_columns

SCORES = ("r", "r_within", "rmse")
_ROUNDING = 1e-12  # relative to the size of the values: what varies less is constant


def correlation(measured: Any, predicted: Any) -> float:
    """Pearson correlation R of measured and predicted values; NaN where either is constant.

    Examples
    --------
    >>> round(correlation([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]), 12), correlation([0.0, 1.0], [2.0, 2.0])
    (1.0, nan)
    """
    return float(_scores_of_sums(_sums(*_pair(measured, predicted)))["r"])


def within_frame_correlation(measured: Any, predicted: Any, frame: Any) -> float:
    """Correlation of the deviations from each frame's mean, pooled over frames.

    Parameters
    ----------
    measured, predicted : array-like, (n,)
    frame : array-like, (n,)
        Which frame a value belongs to; numbers must differ between experiments.

    Returns
    -------
    float
        NaN where either is constant within every frame: a mean per stage explains nothing of where an electrode grows.

    Notes
    -----
    .. math:: R_w = \\frac{\\sum (v - \\bar v_f)(\\hat v - \\bar{\\hat v}_f)}
        {\\sqrt{\\sum (v - \\bar v_f)^2 \\sum (\\hat v - \\bar{\\hat v}_f)^2}}

    with the means over the rows of frame f. Frames that vary more weigh more. A model that knows only how fast a stage
    grows on the whole scores high on R and nothing here.

    Examples
    --------
    The frames' means are told, the points within are told the wrong way round:

    >>> measured, predicted, frame = [0.0, 1.0, 10.0, 11.0], [1.0, 0.0, 11.0, 10.0], [0, 0, 1, 1]
    >>> round(correlation(measured, predicted), 2), round(within_frame_correlation(measured, predicted, frame), 12)
    (0.98, -1.0)
    """
    m, p = _pair(measured, predicted)
    number = np.unique(np.asarray(frame), return_inverse=True)[1].reshape(-1)
    if number.shape != m.shape:
        raise InputError(
            f"within_frame_correlation: frame must have one value per row, got {number.size} for {m.size} rows."
        )
    return float(_scores_of_sums(frame_sums(m, p, number).sum(axis=0))["r_within"])


def score(measured: Any, predicted: Any, frame: Any, *, low: Any = None, high: Any = None) -> dict[str, float]:
    """All scores of one forecast.

    Parameters
    ----------
    measured, predicted : array-like, (n,), um min-1
    frame : array-like, (n,)
        Which frame a row belongs to.
    low, high : array-like, (n,), optional
        Ends of the intervals.

    Returns
    -------
    dict
        ``r``, ``r_within``, ``rmse`` (unit of the values), and with intervals ``coverage`` (share of the rows inside)
        and ``width`` (mean; infinite where one is).

    Examples
    --------
    >>> score([0.0, 2.0], [1.0, 1.0], [0, 0], low=[-1.0, 1.5], high=[1.0, 2.5])
    {'r': nan, 'r_within': nan, 'rmse': 1.0, 'coverage': 1.0, 'width': 1.5}
    """
    m, p = _pair(measured, predicted)
    result = {"r": correlation(m, p), "r_within": within_frame_correlation(m, p, frame)}
    result["rmse"] = float(np.sqrt(np.mean((m - p) ** 2)))
    if low is not None and high is not None:
        below, above = np.asarray(low, float), np.asarray(high, float)
        result["coverage"] = float(np.mean((m >= below) & (m <= above)))
        result["width"] = float(np.mean(above - below))
    return result


def score_intervals(
    predictions: pd.DataFrame,
    *,
    scores: Sequence[str] = SCORES,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of every model with bootstrap intervals over whole frames.

    Parameters
    ----------
    predictions : DataFrame
        As :func:`compare` returns it; only the test rows are used, those of all repeats together.
    scores : sequence of {"r", "r_within", "rmse"}
    level : float
        Of the intervals.
    resamples : int
        Number of bootstrap samples.
    seed : int
        The same seed gives the same table.

    Returns
    -------
    DataFrame
        ``split, model, score, value, low, high, frames``: one row each. ``frames``: how many were resampled.

    Raises
    ------
    InputError
        For an unknown score, a level out of range, or predictions without test rows.

    Notes
    -----
    Rows of one frame are alike and are drawn together; a row's frame is drawn with all its repeats. Rows as the unit
    would give intervals that are too narrow by the square root of the number of rows that say the same. The value is
    that of all test rows pooled, which is not quite the mean over the repeats. Successive frames are alike as well (a
    hidden field persists), so that with few experiments these intervals are still too narrow; and below about ten
    frames the percentile bootstrap is too narrow by itself.

    Examples
    --------
    >>> rows = pd.DataFrame({"split": "frame", "model": "m", "repeat": 0, "experiment": "a", "frame": [1, 1, 2, 2],
    ...     "measured": [0.0, 1.0, 0.0, 2.0], "predicted": [0.0, 1.0, 0.0, 2.0], "part": "test"})
    >>> score_intervals(rows, scores=["r_within"])[["value", "low", "high", "frames"]].round(6).to_numpy().tolist()
    [[1.0, 1.0, 1.0, 2.0]]
    """
    tested = _test_rows("score_intervals", predictions, scores, level)
    rows = []
    for split, of_split in tested.groupby("split", sort=False, observed=True):
        sums, models = _sums_by_model(of_split)
        drawn = _draws(sums.shape[1], resamples, seed)
        for model, of_model in zip(models, sums, strict=True):
            value = _scores_of_sums(of_model.sum(axis=0))
            samples = _scores_of_sums(drawn @ of_model)
            for name in scores:
                low, high = _percentiles(samples[name], level)
                rows.append((split, model, name, float(value[name]), low, high, sums.shape[1]))
    return pd.DataFrame(rows, columns=["split", "model", "score", "value", "low", "high", "frames"])


def advantage(
    predictions: pd.DataFrame,
    *,
    over: Sequence[str] = ("persistence", "stage mean", "linear"),
    scores: Sequence[str] = ("r_within", "rmse"),
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """By how much each model beats the simple ones, on the same frames, and whether that is decided.

    Parameters
    ----------
    predictions : DataFrame
        As :func:`compare` returns it.
    over : sequence of str
        Models to be beaten.
    scores : sequence of {"r", "r_within", "rmse"}
    level, resamples, seed
        Of the bootstrap over frames, see :func:`score_intervals`; both models of a pair see the same frames.

    Returns
    -------
    DataFrame
        ``split, model, over, score, difference, low, high, verdict``: difference positive where the model is better (R
        minus R; for ``rmse`` the error of the other minus that of the model), verdict ``"better"``, ``"worse"`` or
        ``"undecided"`` where the interval holds zero.

    Notes
    -----
    A forecast that is constant within frames has no correlation there (NaN); it explains nothing, which counts as 0
    here. The ends are one interval each: among twenty undecided pairs one is expected to look decided.

    Examples
    --------
    >>> rows = pd.DataFrame({"split": "frame", "repeat": 0, "experiment": "a", "frame": [1, 1, 2, 2] * 2,
    ...     "part": "test", "model": ["m"] * 4 + ["stage mean"] * 4, "measured": [0.0, 1.0, 0.0, 2.0] * 2,
    ...     "predicted": [0.0, 1.0, 0.0, 2.0] + [0.75] * 4})
    >>> found = advantage(rows, over=["stage mean"], scores=["r_within"])
    >>> found[["model", "difference", "verdict"]].to_numpy().tolist()
    [['m', 1.0, 'better']]
    """
    tested = _test_rows("advantage", predictions, scores, level)
    known = tested["model"].unique()
    if absent := [name for name in over if name not in known]:
        raise InputError(f"advantage: {absent[0]!r} must be among the compared models. {nearest(absent[0], known)}")
    rows = []
    for split, of_split in tested.groupby("split", sort=False, observed=True):
        sums, models = _sums_by_model(of_split)
        drawn = _draws(sums.shape[1], resamples, seed)
        every = [{key: _signed(key, v) for key, v in _scores_of_sums(of.sum(axis=0)).items()} for of in sums]
        samples = [{key: _signed(key, v) for key, v in _scores_of_sums(drawn @ of).items()} for of in sums]
        for mine, model in enumerate(models):
            for other in (models.index(name) for name in over if name in models and name != model):
                for name in scores:
                    low, high = _percentiles(samples[mine][name] - samples[other][name], level)
                    verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
                    difference = float(every[mine][name] - every[other][name])
                    rows.append((split, model, models[other], name, difference, low, high, verdict))
    columns = ["split", "model", "over", "score", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def leak(scores: pd.DataFrame) -> pd.DataFrame:
    """How much a random split flatters each model.

    Parameters
    ----------
    scores : DataFrame
        As :func:`compare` or :func:`ablation` return it, with the splits ``random`` and ``frame``.

    Returns
    -------
    DataFrame
        One row per model (per ``features, times, network`` of an ablation): mean test R of each split (``random``,
        ``frame`` and, where there, ``experiment``), ``leak`` = random - frame, and the same within frames
        (``random_within``, ``frame_within``, ..., ``leak_within``). A 1-nearest-neighbor model, which can do nothing
        but look up, shows how much there is to look up: read the leak of the others beside it.

    Raises
    ------
    InputError
        Where a split is missing.

    Examples
    --------
    >>> scores = pd.DataFrame({"split": ["random", "frame"], "model": "nearest neighbor", "repeat": 0,
    ...     "r_test": [0.97, 0.25], "r_within": [0.9, 0.1]})
    >>> leak(scores)[["model", "random", "frame", "leak"]].round(2).to_numpy().tolist()
    [['nearest neighbor', 0.97, 0.25, 0.72]]
    """
    keys = ["model"] if "model" in scores.columns else ["features", "times", "network"]
    require_columns("leak", scores, [*keys, "split", "r_test", "r_within"])
    found = list(scores["split"].unique())
    if absent := [name for name in ("random", "frame") if name not in found]:
        raise InputError(f"leak: the scores must hold the splits random and frame, {absent[0]} is missing. Add it.")
    order = scores[keys].drop_duplicates()
    means = scores.groupby([*keys, "split"], observed=True)[["r_test", "r_within"]].mean().reset_index()
    result, within = (
        means.pivot_table(values=name, index=keys, columns="split", dropna=False)[found]
        for name in ("r_test", "r_within")
    )
    result["leak"] = result["random"] - result["frame"]
    within["leak"] = within["random"] - within["frame"]
    joined = result.join(within.add_suffix("_within")).reset_index()
    return order.merge(joined, on=keys, how="left")


def frame_sums(measured: np.ndarray, predicted: np.ndarray, number: np.ndarray, count: int | None = None) -> np.ndarray:
    """Sums per frame, (frame, 10), from which every score of any set of frames follows by adding."""
    total = int(number.max()) + 1 if count is None else count
    columns = _products(measured, predicted)
    sums = np.stack([np.bincount(number, column, total) for column in columns], axis=1)
    rows = np.maximum(sums[:, 0], 1)
    mean_m, mean_p = sums[:, 1] / rows, sums[:, 2] / rows
    within = _products(measured - mean_m[number], predicted - mean_p[number])[3:6]
    return np.concatenate([sums, np.stack([np.bincount(number, one, total) for one in within], axis=1)], axis=1)


def _products(m: np.ndarray, p: np.ndarray) -> list[np.ndarray]:
    return [np.ones_like(m), m, p, m * m, p * p, m * p, (m - p) ** 2]


def _sums(m: np.ndarray, p: np.ndarray) -> np.ndarray:
    return frame_sums(m, p, np.zeros(m.size, np.int64)).sum(axis=0)


def _scores_of_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, m, p, mm, pp, mp, squared, within_mm, within_pp, within_mp = np.moveaxis(np.asarray(sums, float), -1, 0)
    n = np.maximum(n, 1)
    overall = _ratio(mp - m * p / n, mm - m * m / n, pp - p * p / n, mm, pp)
    return {
        "r": overall,
        "r_within": _ratio(within_mp, within_mm, within_pp, mm, pp),
        "rmse": np.sqrt(squared / n),
    }


def _ratio(both: np.ndarray, one: np.ndarray, other: np.ndarray, one_size: Any, other_size: Any) -> np.ndarray:
    constant = (one <= _ROUNDING * one_size) | (other <= _ROUNDING * other_size)
    product = np.sqrt(np.where(constant, 1.0, one * other))
    return np.where(constant, np.nan, np.clip(both / product, -1, 1))


def _signed(name: str, values: np.ndarray) -> np.ndarray:
    return -values if name == "rmse" else np.nan_to_num(values, nan=0.0)


def _sums_by_model(rows: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Sums per model and frame, (model, frame, 10), added up over the repeats, each with its own frame means."""
    number = frame_numbers(rows)
    count = int(number.max()) + 1
    models = list(rows["model"].unique())
    sums = np.zeros((len(models), count, 10))
    measured, predicted = rows["measured"].to_numpy(float), rows["predicted"].to_numpy(float)
    of = pd.DataFrame({"model": rows["model"].to_numpy(), "repeat": rows["repeat"].to_numpy()})
    for place, model in enumerate(models):
        for repeat in of["repeat"].unique():
            at = np.flatnonzero(((of["model"] == model) & (of["repeat"] == repeat)).to_numpy())
            sums[place] += frame_sums(measured[at], predicted[at], number[at], count)
    return sums, models


def _draws(frames: int, resamples: int, seed: int) -> np.ndarray:
    """How often each frame is drawn in each bootstrap sample, (resample, frame)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(frames, np.full(frames, 1 / frames), size=resamples).astype(float)


def _percentiles(samples: np.ndarray, level: float) -> tuple[float, float]:
    known = samples[np.isfinite(samples)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _test_rows(where: str, predictions: pd.DataFrame, scores: Sequence[str], level: float) -> pd.DataFrame:
    needed = ("split", "model", "repeat", "experiment", "frame", "measured", "predicted", "part")
    require_columns(where, predictions, needed)
    if unknown := [name for name in scores if name not in SCORES]:
        raise InputError(
            f"{where}: a score is one of {', '.join(SCORES)}, got {unknown[0]!r}. {nearest(unknown[0], SCORES)}"
        )
    check_level(where, level)
    tested = predictions[(predictions["part"] == "test").to_numpy()]
    if tested.empty:
        raise InputError(f"{where}: the predictions must hold test rows (part 'test'), got none.")
    return tested


def check_level(where: str, level: float) -> None:
    """Check that the level of an interval is a fraction."""
    if not 0 < level < 1:
        raise InputError(f"{where}: level must lie in (0, 1), got {level:g}. Divide a percentage by 100.")


def _pair(measured: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    m, p = np.asarray(measured, float).reshape(-1), np.asarray(predicted, float).reshape(-1)
    if m.shape != p.shape or not m.size:
        raise InputError(f"score: measured and predicted must have one length, got {m.size} and {p.size}.")
    if not (np.isfinite(m).all() and np.isfinite(p).all()):
        raise InputError("score: measured and predicted must be finite. Leave out rows without a measured growth rate.")
    return m, p
