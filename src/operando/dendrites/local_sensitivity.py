"""How the forecast growth rate answers to each feature: Eq. 3 of Ma 2021, for one network and for a hundred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from operando.core.errors import InputError
from operando.dendrites.features import feature_names
from operando.dendrites.fitted import Limits, as_fitted, input_limits, predictor, read_samples
from operando.dendrites.scores import correlation
from operando.dendrites.splits import split_rows
from operando.dendrites.stages import STAGES

# Predictions asked of the model at a time: 64 MB of inputs for 128 features.
_BLOCK = 1 << 16
# Networks held at a time; each keeps its posterior, 2 MB for [16, 16].
_TOGETHER = 32

Samples = TypeVar("Samples", pd.DataFrame, xr.DataArray, np.ndarray)


def sensitivity(
    model: Any,
    x: Samples,
    *,
    step: float = 1e-3,
    exact: bool = False,
    signed: bool = False,
    limits: Limits | None = None,
) -> Samples:
    """Change of the prediction per unit of each input scaled to [-1, 1] (Ma 2021, Eq. 3).

    Parameters
    ----------
    model : fitted regressor, or a list of them
        A :class:`~operando.dendrites.BayesianNetwork`, any fitted scikit-learn regressor, or a function of an
        array (n, features). Of a list, the sensitivity of their mean prediction: what the trainings agree on.
    x : DataFrame, DataArray (sample, feature) or ndarray, shape (n, features)
        The samples, in the units that the model was fitted on.
    step : float
        Half of the central difference, in scaled inputs; 0.001 in the paper.
    exact : bool
        The derivative itself, ``model.gradient``, instead of the difference.
    signed : bool
        Keep the sign; the paper takes the absolute value.
    limits : (low, high), optional
        What scales to -1 and to 1: each a number or one per feature. Default: the scaling of the network
        (``x_min_``, ``x_max_``), so that the inputs of one with ``scale=False`` are taken as they are; for any other
        model, and for a list, the range of ``x``. Give limits where sensitivities of several calls are compared.

    Returns
    -------
    same type and shape as ``x``
        In the unit of the prediction per unit of scaled input: um min-1 for growth rates.

    Raises
    ------
    InputError
        Where the model is not fitted or knows no gradient, where ``x`` has other columns than it was fitted
        on, another order of them, or a value that is not finite, or where a feature has no range.

    Notes
    -----
    .. math:: s_m(i) = \\left|\\frac{v(X_m(i) + \\delta) - v(X_m(i) - \\delta)}{2 \\delta}\\right|,
              \\quad \\delta = 0.001,\\ X_m \\in [-1, 1]

    All features are shifted at once, in blocks of 65,536 predictions: memory does not grow with ``n``. The
    difference is off by :math:`\\delta^2 v''' / 6`: a relative 1e-6 in small networks, 4e-6 at the median and 1e-3
    at the 99th percentile in a [16, 16] network trained for 250 epochs. Trees predict steps: their
    difference is 0 or jumps, so take a larger ``step``, or a permutation importance.

    This is a statement about the model, not about lithium. Where features determine one another (the slopes
    at neighboring points, position and growth rate at two times) the network may put the same effect on either, and
    shifting one alone leaves the data. Look at several trainings (:func:`sensitivity_runs`) and at groups
    (:func:`~operando.dendrites.grouped_sobol`, :func:`~operando.dendrites.conditional_permutation`).

    References
    ----------
    Ma et al., J. Electrochem. Soc. 168 (2021) 090523, Eq. 3.

    Examples
    --------
    For v = 3 a - b, with a from 0 to 10: half of its range times 3.

    >>> x = pd.DataFrame({"a": [0.0, 10.0], "b": [-1.0, 1.0]})
    >>> sensitivity(lambda values: values @ np.array([3.0, -1.0]), x).round(6).to_numpy().tolist()
    [[15.0, 1.0], [15.0, 1.0]]
    """
    where = "sensitivity"
    if isinstance(model, list | tuple):
        return _of_mean(model, x, step=step, exact=exact, signed=signed, limits=limits)
    predict = predictor(model, where=where)
    values, names = read_samples(x, model, where=where)
    half = _half_ranges(model, values, limits, names)
    if exact:
        if not hasattr(model, "gradient"):
            raise InputError(
                f"{where}: exact=True needs a model with a gradient method, got {type(model).__name__}. "
                "Use exact=False, which differs little for smooth models."
            )
        slopes = np.asarray(model.gradient(as_fitted(model, values)), dtype=np.float64) * half
    else:
        if not (np.isfinite(step) and step > 0):
            raise InputError(f"{where}: step must be a positive number, got {step!r}. The paper takes 0.001.")
        slopes = _central_differences(predict, values, step * half) / (2 * step)
    return _like(x, slopes if signed else np.abs(slopes), step=None if exact else step)


def _of_mean(models: Sequence[Any], x: Any, *, signed: bool, limits: Limits | None, **how: Any) -> Any:
    if not models:
        raise InputError("sensitivity: the list of models must not be empty. Pass one fitted model or several.")
    if limits is None:
        values, _ = read_samples(x, models[0], where="sensitivity")
        limits = values.min(axis=0), values.max(axis=0)
    mean = sensitivity(models[0], x, signed=True, limits=limits, **how)
    for model in models[1:]:
        mean = mean + sensitivity(model, x, signed=True, limits=limits, **how)
    mean = mean / len(models)
    return mean if signed else abs(mean)


def _half_ranges(model: Any, values: np.ndarray, limits: Limits | None, names: Sequence[str]) -> np.ndarray:
    if limits is None and hasattr(model, "x_min_"):
        # A feature that was constant in training has none: the network ignores it, and its sensitivity is 0.
        return (np.asarray(model.x_max_, dtype=np.float64) - np.asarray(model.x_min_, dtype=np.float64)) / 2
    low, high = input_limits(model, values, limits, names=names, where="sensitivity")
    flat = [name for name, width in zip(names, high - low, strict=True) if width == 0]
    if flat:
        raise InputError(
            f"sensitivity: each feature must have a range to be scaled by, got a constant in {flat}. "
            "Pass limits=(low, high) per feature."
        )
    return np.asarray((high - low) / 2)


def _central_differences(
    predict: Callable[[np.ndarray], np.ndarray], values: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    count = values.shape[1]
    offsets = np.concatenate([np.diag(shift), -np.diag(shift)])
    result = np.empty_like(values)
    rows = max(1, _BLOCK // (2 * count))
    for start in range(0, len(values), rows):
        block = values[start : start + rows]
        shifted = (block[:, None, :] + offsets).reshape(-1, count)
        both = predict(shifted).reshape(len(block), 2, count)
        result[start : start + rows] = both[:, 0] - both[:, 1]
    return result


def _like(x: Any, slopes: np.ndarray, *, step: float | None) -> Any:
    how = "exact derivative" if step is None else f"central difference of {step:g}"
    if isinstance(x, pd.DataFrame):
        out = pd.DataFrame(slopes, index=x.index, columns=x.columns)
        unit = x.attrs.get("units", {})
        if isinstance(unit, dict) and "growth_rate_next" in unit:
            out.attrs["units"] = unit["growth_rate_next"]
        out.attrs["method"] = how
        return out
    if isinstance(x, xr.DataArray):
        labeled = x.copy(data=slopes)
        # Not the attributes of x: its units are those of the features.
        labeled.attrs = {"long_name": "Sensitivity", "method": how}
        return labeled
    return slopes


def sensitivity_summary(s: pd.DataFrame, stage: Sequence[str] | pd.Series | None = None) -> pd.DataFrame:
    """Mean and standard deviation of the sensitivities per feature, over all samples and by stage (Fig. 5c, 6b).

    Parameters
    ----------
    s : DataFrame, shape (n, features)
        As :func:`sensitivity` returns it.
    stage : sequence of str, length n, optional
        Stage of each sample, as the column ``stage`` of :func:`~operando.dendrites.growth_features`.

    Returns
    -------
    DataFrame
        Columns ``stage`` ("all", then those that occur), ``feature``, ``mean``, ``std`` (over samples, n - 1),
        ``n``.

    Raises
    ------
    InputError
        Where there is not one stage per sample.

    Examples
    --------
    >>> s = pd.DataFrame({"concentration": [1.0, 3.0]})
    >>> sensitivity_summary(s, ["none", "full"])[["stage", "mean"]].to_numpy().tolist()
    [['all', 2.0], ['none', 1.0], ['full', 3.0]]
    """
    if not isinstance(s, pd.DataFrame):
        raise InputError(
            f"sensitivity_summary: a DataFrame with one column per feature is needed, got {type(s).__name__}. "
            "Pass a DataFrame to sensitivity(model, x), and it returns one."
        )
    masks = {"all": np.ones(len(s), dtype=bool)}
    if stage is not None:
        labels = np.asarray(stage).astype(str)
        if labels.shape != (len(s),):
            raise InputError(
                f"sensitivity_summary: one stage per sample is needed, got {labels.shape} for {len(s)} samples. "
                "Take the column 'stage' of the rows that the sensitivities were computed for."
            )
        masks |= {name: labels == name for name in _in_order(labels)}
    parts = []
    for name, mask in masks.items():
        chosen = s.loc[mask]
        parts.append(
            pd.DataFrame(
                {
                    "stage": name,
                    "feature": [str(column) for column in s.columns],
                    "mean": chosen.mean().to_numpy(),
                    "std": chosen.std().to_numpy(),
                    "n": int(mask.sum()),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _in_order(labels: np.ndarray) -> list[str]:
    """The stages that occur, from none to full depletion; other words after them."""
    known = [name for name in STAGES if name in labels]
    return known + sorted(set(labels) - set(known))


def sensitivity_runs(
    table: pd.DataFrame,
    *,
    runs: int = 100,
    hidden: Sequence[int] = (16, 16),
    max_epochs: int = 250,
    features: str | Sequence[str] = "all",
    times: str = "both",
    split: str = "random",
    step: float = 1e-3,
    exact: bool = False,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Train many networks and summarize the sensitivities of each (Fig. 6): one training is not a result.

    Parameters
    ----------
    table : DataFrame
        As :func:`~operando.dendrites.growth_features` returns it; rows without a measured next growth rate are
        left out.
    runs : int
        Networks to train; each has its own start and its own split.
    hidden, max_epochs, workers, progress
        As :func:`~operando.dendrites.train_networks` takes them.
    features, times
        As :func:`~operando.dendrites.feature_names` takes them.
    split : str
        How each run draws its training part (:func:`~operando.dendrites.split_rows`): "random" (the paper's),
        "frame" or "experiment".
    step, exact
        As in :func:`sensitivity`.
    seed : int
        Run ``k`` uses the split ``k`` of this seed and starts from ``seed + k``.

    Returns
    -------
    DataFrame
        Columns ``run``, ``stage`` ("all", then those that occur), ``feature``, ``mean``, ``std`` and ``n`` over the
        samples of the run, in um min-1 per unit of scaled input; ``r_test`` of the run. As in the paper, a run is
        summarized over all samples, those of its training part too.

    Notes
    -----
    All runs are scaled by the range of the whole table, so that they can be compared: each network has its own, that
    of its training part. No more than 32 networks are held at a time.

    The deviation between runs is that of training: it says nothing about what another experiment would have
    shown. :func:`across_runs` takes the means.

    References
    ----------
    Ma et al., J. Electrochem. Soc. 168 (2021) 090523, Fig. 6.

    Examples
    --------
    Growth that the concentration tells and the slope does not:

    >>> from operando.dendrites import feature_names
    >>> made = np.random.default_rng(0).uniform(-1, 1, (160, 14))
    >>> table = pd.DataFrame(made, columns=feature_names()).assign(experiment="a", stage="none")
    >>> table["frame"] = np.repeat(np.arange(1, 9), 20)
    >>> table["growth_rate_next"] = 0.2 * table["concentration"]
    >>> found = sensitivity_runs(table, runs=2, hidden=(2,), max_epochs=50, times="current")
    >>> means = across_runs(found).query("stage == 'all'").set_index("feature")["mean"]
    >>> bool(means["concentration"] > 10 * means["slope"]), means.round(1)["concentration"].item()
    (True, 0.2)
    """
    from operando.dendrites.restarts import train_networks

    if runs < 1:
        raise InputError(f"sensitivity_runs: at least one run is needed, got {runs}. The paper takes 100.")
    names = feature_names(features, times)
    table = measured_rows(table, names, where="sensitivity_runs")
    x, y = table[names], table["growth_rate_next"].to_numpy(dtype=np.float64)
    low, high = x.min().to_numpy(dtype=np.float64), x.max().to_numpy(dtype=np.float64)
    limits = (low, np.where(high > low, high, low + 1.0))
    summaries = []
    for first in range(0, runs, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, runs))
        parts = [split_rows(table, split, repeat=run, seed=seed) for run in numbers]
        models = train_networks(
            [(x.iloc[train], y[train], seed + run) for run, (train, _) in zip(numbers, parts, strict=True)],
            hidden=tuple(hidden),
            max_epochs=max_epochs,
            workers=workers,
            progress=None if progress is None else partial(_report, progress, first, runs),
        )
        for run, model, (_, test) in zip(numbers, models, parts, strict=True):
            summary = sensitivity_summary(sensitivity(model, x, step=step, exact=exact, limits=limits), table["stage"])
            summary.insert(0, "run", run)
            summary["r_test"] = correlation(y[test], model.predict(x.iloc[test]))
            summaries.append(summary)
    return pd.concat(summaries, ignore_index=True)


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def measured_rows(table: pd.DataFrame, names: Sequence[str], *, where: str) -> pd.DataFrame:
    """Rows whose next growth rate is known, after a check that every column needed is there."""
    missing = [name for name in (*names, "growth_rate_next", "stage") if name not in table.columns]
    if missing:
        raise InputError(
            f"{where}: the table lacks the columns {missing}. Make it with operando.dendrites.growth_features(series)."
        )
    known = table.loc[table["growth_rate_next"].notna()].reset_index(drop=True)
    if known.empty:
        raise InputError(
            f"{where}: no row has a measured growth_rate_next, got {len(table)} rows. At least three frames are needed."
        )
    return known


def across_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the trainings of the mean sensitivities (Fig. 6a and 6b).

    Parameters
    ----------
    runs : DataFrame
        As :func:`sensitivity_runs` returns it.

    Returns
    -------
    DataFrame
        Columns ``stage``, ``feature``, ``mean``, ``std`` (over runs, n - 1), ``runs``, in the order of ``runs``.

    Examples
    --------
    >>> runs = pd.DataFrame({"run": [0, 1], "stage": "all", "feature": "slope", "mean": [1.0, 3.0], "std": 0.1})
    >>> across_runs(runs)[["mean", "std", "runs"]].round(3).to_numpy().tolist()
    [[2.0, 1.414, 2.0]]
    """
    grouped = runs.groupby(["stage", "feature"], sort=False)["mean"]
    return grouped.agg(["mean", "std", "count"]).rename(columns={"count": "runs"}).reset_index()
