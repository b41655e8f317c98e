"""What a forecast depends on over the whole range of its inputs: Sobol indices, of groups too, and Morris effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, require
from operando.dendrites.fitted import Limits, Predictor, input_limits, predictor, read_samples
from operando.dendrites.groups import group_columns

# Points of which the distance to the data is looked at: enough for a share to 1 %.
_POINTS = 2048


def sobol(
    model: Any,
    x: Any,
    *,
    samples: int = 1024,
    limits: Limits | None = None,
    frames: Any = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """First-order and total Sobol indices of a model over the box of its inputs, by SALib.

    Parameters
    ----------
    model : fitted regressor or function of an array (n, features)
    x : DataFrame, DataArray (sample, feature) or array-like, shape (n, features)
        The data: its columns name the features, and it says which points of the box are possible.
    samples : int, a power of two
        Base points; the model is asked ``samples * (features + 2)`` times.
    limits : (low, high), optional
        The box: each a number or one per feature. Default: ``x_min_`` and ``x_max_`` of a network that scales,
        else the range of ``x``.
    frames : array-like, length n, optional
        Frame of each row, for the share of impossible points (:func:`outside_share`).
    level : float
        Of the intervals, from resampling the base points (normal approximation).
    seed : int

    Returns
    -------
    DataFrame
        Columns ``method`` ("Sobol"), ``feature``, ``index`` ("first", "total"), ``value``, ``low``, ``high``; shares of
        the variance of the prediction, NaN where that is constant. ``attrs["outside_share"]``: share of the points that
        are farther from the data than data are from each other.

    Raises
    ------
    MissingDependency
        Without SALib: ``pip install 'operando[sensitivity]'``.
    InputError
        Where ``samples`` is no power of two, or the samples do not fit the model.

    Notes
    -----
    .. math:: S_m = \\frac{\\mathrm{Var}\\,E[v \\mid X_m]}{\\mathrm{Var}\\,v},\\quad
              T_m = \\frac{E\\,\\mathrm{Var}[v \\mid X_{-m}]}{\\mathrm{Var}\\,v}

    with all inputs *uniform and independent* in the box. The features of an interface are neither: the slopes at
    neighboring points are nearly one, the position follows from the growth rates before. Most points of the box
    are states no electrode was ever in, and what the network says there is extrapolation. ``outside_share`` says how
    many; where it is near 1, read :func:`grouped_sobol` and
    :func:`~operando.dendrites.conditional_permutation` instead.

    References
    ----------
    Saltelli et al., Comput. Phys. Commun. 181 (2010) 259; Herman and Usher, J. Open Source Softw. 2 (2017) 97 (SALib).

    Examples
    --------
    A sum of independent inputs with weights 1 and 2 has shares 1/5 and 4/5:

    >>> box = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> table = sobol(lambda values: values @ np.array([1.0, 2.0]), box, samples=256)
    >>> table[table["index"] == "first"]["value"].round(1).tolist()
    [0.2, 0.8]
    """
    where = "sobol"
    predict = predictor(model, where=where)
    values, names = read_samples(x, model, where=where)
    low, high = input_limits(model, values, limits, names=names, where=where)
    points, unit = _saltelli(len(names), samples, seed, where=where), high - low
    result = _sobol_indices(predict, lambda u: low + u * unit, points, names, "Sobol", level=level, seed=seed)
    result.attrs |= {
        "samples": samples,
        "level": level,
        "outside_share": outside_share(values, low + points[:: len(names) + 2] * unit, frames=frames),
    }
    return result


def grouped_sobol(
    model: Any,
    x: Any,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    samples: int = 1024,
    frames: Any = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Sobol indices of groups of features, each group drawn as a whole from the data.

    Parameters
    ----------
    model, samples, frames, level, seed
        As in :func:`sobol`.
    x : DataFrame or array-like, shape (n, features)
        The data from whose rows the groups are drawn.
    groups : mapping of name to columns, optional
        Every column in exactly one group. Default: slopes, concentration and growth, at each of the two times
        (:func:`feature_groups`).

    Returns
    -------
    DataFrame
        As :func:`sobol`; ``feature`` is the name of the group, ``method`` "grouped Sobol".

    Notes
    -----
    A group takes all its values from one row of ``x``, another group from another row: what belongs together *within* a
    group stays together and each marginal distribution is that of the data, only groups are independent of each
    other. So there are no impossible slopes, but still, say, the concentration of one stage with the growth rate
    of another: ``attrs["outside_share"]``.

    Examples
    --------
    Two columns that always add up to 1 matter together, and their sum not at all:

    >>> a = np.linspace(0, 1, 50)
    >>> x = pd.DataFrame({"a": a, "b": 1 - a, "c": a})
    >>> table = grouped_sobol(lambda v: v[:, 0] + v[:, 1] + v[:, 2], x, groups={"pair": ["a", "b"], "c": ["c"]})
    >>> [abs(value) for value in table["value"].round(2).tolist()]
    [0.0, 1.0, 0.0, 1.0]
    """
    where = "grouped_sobol"
    predict = predictor(model, where=where)
    values, names = read_samples(x, model, where=where)
    chosen = group_columns(names, groups, where=where, cover=True)

    order = [_along_first_component(values[:, columns]) for columns in chosen.values()]

    def draw(u: np.ndarray) -> np.ndarray:
        ranks = np.minimum((u * len(values)).astype(np.intp), len(values) - 1)
        drawn = np.empty((len(u), len(names)))
        for position, columns in enumerate(chosen.values()):
            drawn[:, columns] = values[order[position][ranks[:, position]]][:, columns]
        return drawn

    points = _saltelli(len(chosen), samples, seed, where=where)
    result = _sobol_indices(predict, draw, points, list(chosen), "grouped Sobol", level=level, seed=seed)
    result.attrs |= {
        "samples": samples,
        "level": level,
        "outside_share": outside_share(values, draw(points[:: len(chosen) + 2]), frames=frames),
    }
    return result


def _along_first_component(values: np.ndarray) -> np.ndarray:
    """Order of the rows along the direction in which they vary most: Sobol points need neighbors that are alike."""
    centered = values - values.mean(axis=0)
    scale = centered.std(axis=0)
    scaled = centered / np.where(scale > 0, scale, 1.0)
    return np.argsort(scaled @ np.linalg.eigh(scaled.T @ scaled)[1][:, -1], kind="stable")


def morris(
    model: Any,
    x: Any,
    *,
    trajectories: int = 200,
    levels: int = 8,
    limits: Limits | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Elementary effects of Morris over the box of the inputs, by SALib: large steps where Eq. 3 takes small ones.

    Parameters
    ----------
    model, x, limits, level, seed
        As in :func:`sobol`.
    trajectories : int, at least 2
        Walks through the box; the model is asked ``trajectories * (features + 1)`` times.
    levels : int, even
        Values that a feature takes. A step is ``levels / (levels - 1)`` in inputs scaled to [-1, 1]: about half of
        the range.

    Returns
    -------
    DataFrame
        Columns as :func:`sobol`, ``method`` "Morris", ``index`` "mu_star" (mean absolute effect, with interval),
        "mu" (mean effect) and "sigma" (deviation of the effects: nonlinear or interacting), in the unit of the
        prediction per unit of the input scaled to [-1, 1], thus comparable to :func:`~operando.dendrites.sensitivity`.

    Raises
    ------
    MissingDependency, InputError
        As :func:`sobol`; where ``levels`` is odd.

    Notes
    -----
    The box is the one of :func:`sobol`, with the same impossible points.

    References
    ----------
    Morris, Technometrics 33 (1991) 161; Campolongo et al., Environ. Model. Softw. 22 (2007) 1509.

    Examples
    --------
    >>> box = np.array([[0.0, -1.0], [10.0, 1.0]])
    >>> table = morris(lambda values: values @ np.array([3.0, -1.0]), box, trajectories=4)
    >>> table[table["index"] == "mu"]["value"].round(9).tolist()
    [15.0, -1.0]
    """
    where = "morris"
    predict = predictor(model, where=where)
    values, names = read_samples(x, model, where=where)
    low, high = input_limits(model, values, limits, names=names, where=where)
    if levels < 2 or levels % 2 or trajectories < 2:
        raise InputError(
            f"{where}: levels must be even and trajectories at least 2, got {levels} and {trajectories}. "
            "Take levels=8, trajectories=200."
        )
    _salib()
    from SALib.analyze import morris as analyze
    from SALib.sample import morris as sample

    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    points = np.asarray(sample.sample(problem, trajectories, num_levels=levels, seed=seed))
    found = analyze.analyze(
        problem, points, predict(low + points * (high - low)), num_levels=levels, conf_level=level, seed=seed
    )
    # SALib's effects are per range; an input scaled to [-1, 1] has a range of 2.
    star, half = np.asarray(found["mu_star"]) / 2, np.asarray(found["mu_star_conf"]) / 2
    unknown = np.full(len(names), np.nan)
    return pd.concat(
        [
            _rows("Morris", names, "mu_star", star, star - half, star + half),
            _rows("Morris", names, "mu", np.asarray(found["mu"]) / 2, unknown, unknown),
            _rows("Morris", names, "sigma", np.asarray(found["sigma"]) / 2, unknown, unknown),
        ],
        ignore_index=True,
    )


def outside_share(x: Any, points: Any, *, frames: Any = None, quantile: float = 0.99) -> float:
    """Share of points that lie farther from the data than data lie from each other.

    Parameters
    ----------
    x : array-like, shape (n, features)
        The data.
    points : array-like, shape (m, features)
        What a method asks the model about; the first 2,048 are looked at.
    frames : array-like, length n, optional
        Frame of each row. With it, the distance between data is that to the nearest row of *another* frame: the next
        pixel of the same frame is always near.
    quantile : float
        A point is outside where its distance to the nearest row exceeds this quantile of the nearest distances
        between rows.

    Returns
    -------
    float
        In [0, 1]; NaN where there is only one row (or one frame).

    Notes
    -----
    Euclidean distances after scaling each column to unit variance over the data. In 14 dimensions points are far
    from each other, in the data too: the measure is relative. The distances between data are those of at most 2,048
    rows, evenly chosen, to all others.

    Examples
    --------
    The corners of a square off the line on which the data lie:

    >>> line = np.linspace(0, 1, 11)
    >>> outside_share(np.column_stack([line, line]), [[0.5, 0.5], [0.0, 1.0]])
    0.5
    """
    data, asked = np.asarray(x, dtype=np.float64), np.asarray(points, dtype=np.float64)[:_POINTS]
    if data.ndim != 2 or asked.ndim != 2 or data.shape[1] != asked.shape[1]:
        raise InputError(
            f"outside_share: data and points must be tables with the same columns, got the shapes {data.shape} and "
            f"{asked.shape}."
        )
    labels = np.arange(len(data)) if frames is None else np.unique(np.asarray(frames), return_inverse=True)[1]
    if labels.shape != (len(data),):
        raise InputError(f"outside_share: one frame per row is needed, got {labels.shape} for {len(data)} rows.")
    if len(data) == 0 or labels.max() == 0:
        return float("nan")
    from sklearn.metrics import pairwise_distances_argmin_min
    from sklearn.neighbors import NearestNeighbors

    scale = data.std(axis=0)
    scale[scale == 0] = 1.0
    data, asked = data / scale, asked / scale
    some = np.linspace(0, len(data) - 1, min(len(data), _POINTS)).astype(np.intp)
    if frames is None:
        apart = NearestNeighbors(n_neighbors=2).fit(data).kneighbors(data[some])[0][:, 1]
    else:
        apart = np.empty(len(some))
        for label in np.unique(labels[some]):
            own = labels[some] == label
            apart[own] = pairwise_distances_argmin_min(data[some[own]], data[labels != label])[1]
    far = pairwise_distances_argmin_min(asked, data)[1] > np.quantile(apart, quantile)
    return float(far.mean())


def _salib() -> None:
    require("SALib", extra="sensitivity", purpose="Global sensitivity analysis")


def _saltelli(dimensions: int, samples: int, seed: int, *, where: str) -> np.ndarray:
    if samples < 2 or samples & (samples - 1):
        raise InputError(
            f"{where}: samples must be a power of two, got {samples}. Take {1 << max(1, int(samples).bit_length())}."
        )
    _salib()
    from SALib.sample import sobol as sample

    problem = {"num_vars": dimensions, "names": list(map(str, range(dimensions))), "bounds": [[0.0, 1.0]] * dimensions}
    return np.asarray(sample.sample(problem, samples, calc_second_order=False, seed=seed))


def _sobol_indices(
    predict: Predictor, place: Predictor, points: np.ndarray, names: list[str], method: str, *, level: float, seed: int
) -> pd.DataFrame:
    from SALib.analyze import sobol as analyze

    predicted = predict(place(points))
    if np.ptp(predicted) == 0:
        blank = np.full(len(names), np.nan)
        first = total = (blank, blank)
    else:
        problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
        # SALib takes a seed of 0 for none.
        found = analyze.analyze(problem, predicted, calc_second_order=False, conf_level=level, seed=seed + 1)
        first, total = (found["S1"], found["S1_conf"]), (found["ST"], found["ST_conf"])
    return pd.concat(
        [
            _rows(method, names, index, value, value - half, value + half)
            for index, (value, half) in (("first", first), ("total", total))
        ],
        ignore_index=True,
    )


def _rows(method: str, names: list[str], index: str, value: Any, low: Any, high: Any) -> pd.DataFrame:
    return pd.DataFrame({"method": method, "feature": names, "index": index, "value": value, "low": low, "high": high})
