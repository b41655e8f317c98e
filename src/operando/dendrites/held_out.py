"""What the measured growth needs, not what one network uses: importances on frames that no network has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from operando.core.errors import InputError, nearest
from operando.dendrites.features import feature_names
from operando.dendrites.groups import feature_groups, group_columns
from operando.dendrites.importance import (
    FrameSums,
    bootstrap_weights,
    conditional_permutation,
    index_rows,
    skill_of,
)
from operando.dendrites.local_sensitivity import measured_rows
from operando.dendrites.splits import frame_numbers, split_rows

_SPLITS = ("frame", "experiment")

Progress = Callable[[int, int], None]


def held_out_importance(
    table: pd.DataFrame,
    *,
    features: str | Sequence[str] = "all",
    times: str = "both",
    groups: Mapping[str, Sequence[str]] | None = None,
    split: str = "frame",
    hidden: Sequence[int] = (4,),
    max_epochs: int = 100,
    restarts: int = 4,
    regressor: Any = None,
    repeats: int = 10,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Conditional and plain permutation importance of single features and groups, every frame held out once.

    Parameters
    ----------
    table : DataFrame
        As :func:`~operando.dendrites.growth_features` returns it.
    features, times
        As :func:`~operando.dendrites.feature_names` takes them.
    groups : mapping of name to columns, optional
        Default: slopes, concentration and growth at each time (:func:`~operando.dendrites.feature_groups`).
    split : {"frame", "experiment"}
        What is held out: a quarter of the frames four times, or each experiment once. Not "random": the neighbors of a
        point tell its growth rate.
    hidden, max_epochs, workers, progress
        As :func:`~operando.dendrites.train_networks` takes them. Small by default: [16, 16] fits every frame it has
        seen and fails on the others.
    restarts : int
        Networks per part; their mean predicts.
    regressor, repeats, level, resamples, seed
        As :func:`~operando.dendrites.conditional_permutation` takes them.

    Returns
    -------
    DataFrame
        As :func:`~operando.dendrites.conditional_permutation`. Methods: "conditional permutation", "grouped conditional
        permutation", both also "within frames" (only samples of one frame are exchanged: what is said about differences
        along the interface), and "permutation", the plain one, for comparison. ``attrs``: the held-out ``r2``,
        ``r2_within``, ``rmse``, over all frames.

    Raises
    ------
    InputError
        Where the table lacks columns, or there is nothing to hold out.

    Notes
    -----
    Each sample is predicted by networks that did not see its frame, before and after the permutation. Where
    ``r2_within`` is near zero the networks know nothing of the differences along the interface, and no importance
    within frames means anything.

    Examples
    --------
    Growth that the growth before tells: what is lost without it is nearly all.

    >>> from operando.dendrites import feature_names
    >>> made = np.random.default_rng(0).uniform(-1, 1, (160, 14))
    >>> table = pd.DataFrame(made, columns=feature_names()).assign(experiment="a", stage="none")
    >>> table["frame"] = np.repeat(np.arange(1, 9), 20)
    >>> table["growth_rate_next"] = 0.2 * table["growth_rate"]
    >>> lost = held_out_importance(table, restarts=1, repeats=2, resamples=20)
    >>> rows = lost[(lost["method"] == "permutation") & (lost["index"] == "r2")].set_index("feature")["value"]
    >>> rows.idxmax(), bool(rows.drop("growth_rate").abs().max() < 0.1)
    ('growth_rate', True)
    """
    where = "held_out_importance"
    names = list(feature_names(features, times))
    table = measured_rows(table, names, where=where)
    parts = held_out_parts(table, split, seed=seed, where=where)
    predict = _cross_fitted(
        table, [names], parts, hidden=hidden, max_epochs=max_epochs, restarts=restarts, seed=seed, workers=workers,
        progress=progress, where=where,
    )[0]  # fmt: skip
    x, y, frames = table[names], table["growth_rate_next"], frame_numbers(table)
    joined = feature_groups(names) if groups is None else groups
    tables = []
    for method, some, strata, conditional in (
        ("conditional permutation", None, None, True),
        ("conditional permutation within frames", None, frames, True),
        ("grouped conditional permutation", joined, None, True),
        ("grouped conditional permutation within frames", joined, frames, True),
        ("permutation", None, None, False),
    ):
        found = conditional_permutation(
            predict, x, y, frames=frames, groups=some, conditional=conditional, strata=strata, regressor=regressor,
            repeats=repeats, level=level, resamples=resamples, seed=seed,
        )  # fmt: skip
        tables.append(found.assign(method=method))
    result = pd.concat(tables, ignore_index=True)
    result.attrs = dict(tables[0].attrs) | {"split": split}
    return result


def shapley_importance(
    table: pd.DataFrame,
    *,
    features: str | Sequence[str] = "all",
    times: str = "both",
    groups: Mapping[str, Sequence[str]] | None = None,
    split: str = "frame",
    hidden: Sequence[int] = (4,),
    max_epochs: int = 100,
    restarts: int = 2,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Share the held-out skill among groups of features, by training on every combination of them.

    Parameters
    ----------
    table, features, times, split, restarts, level, resamples, seed, workers, progress
        As in :func:`held_out_importance`.
    groups : mapping of name to columns, optional
        Default: slopes, concentration and growth, both times together. At most 8: ``2**groups - 1`` networks per part.
    hidden, max_epochs
        Of each network.

    Returns
    -------
    DataFrame
        Columns ``method`` ("Shapley"), ``feature`` (the group), ``index`` ("r2", "r2_within", "rmse"), ``value``,
        ``low``, ``high``: the shares add up to what all groups gain over the mean of the training frames. ``attrs``:
        the skill with all groups.

    Raises
    ------
    InputError
        Where the table lacks columns, there is nothing to hold out, or there are more than 8 groups.

    Notes
    -----
    .. math:: \\phi_g = \\sum_{S \\not\\ni g} \\frac{|S|!\\,(G - |S| - 1)!}{G!} \\left[R^2(S \\cup g) - R^2(S)\\right]

    with the R2 of networks that were trained on the groups in S only, on frames that were held out. No
    impossible state is ever asked for, and what two groups both tell is shared evenly between them. A share may be
    negative: the group made the forecast of unseen frames worse. The interval, from a bootstrap over frames, holds for
    these networks; it does not train them anew.

    References
    ----------
    Owen, SIAM/ASA J. Uncertain. Quantif. 2 (2014) 245; Williamson and Feng, Proc. ICML (2020) 10282.

    Examples
    --------
    Growth that the growth before tells: it earns nearly all.

    >>> from operando.dendrites import feature_names
    >>> made = np.random.default_rng(0).uniform(-1, 1, (160, 14))
    >>> table = pd.DataFrame(made, columns=feature_names()).assign(experiment="a", stage="none")
    >>> table["frame"] = np.repeat(np.arange(1, 9), 20)
    >>> table["growth_rate_next"] = 0.2 * table["growth_rate"]
    >>> groups = {"slope": ["slope"], "growth": ["growth_rate"]}
    >>> shares = shapley_importance(table, groups=groups, restarts=1, resamples=20)
    >>> rows = shares[shares["index"] == "r2"].set_index("feature")["value"]
    >>> rows.idxmax(), bool(rows["growth"] > 0.9)
    ('growth', True)
    """
    where = "shapley_importance"
    names = list(feature_names(features, times))
    table = measured_rows(table, names, where=where)
    chosen = group_columns(names, feature_groups(names, by_time=False) if groups is None else groups, where=where)
    if len(chosen) > 8:
        raise InputError(
            f"{where}: at most 8 groups, got {len(chosen)} (one training per combination and part). Join some of them."
        )
    parts = held_out_parts(table, split, seed=seed, where=where)
    sets = [combination for size in range(1, len(chosen) + 1) for combination in combinations(chosen, size)]
    columns = [sorted({names[c] for group in members for c in chosen[group]}, key=names.index) for members in sets]
    predictors = _cross_fitted(
        table, columns, parts, hidden=hidden, max_epochs=max_epochs, restarts=restarts, seed=seed, workers=workers,
        progress=progress, where=where,
    )  # fmt: skip

    y = table["growth_rate_next"].to_numpy(dtype=np.float64)
    sums = FrameSums(y, frame_numbers(table))
    mean = np.empty_like(y)
    for train, test in parts:
        mean[test] = y[train].mean()
    rng = np.random.default_rng(seed)
    weights = np.concatenate([np.ones((1, sums.n.size)), bootstrap_weights(sums.n.size, resamples, rng)])
    skills = {frozenset[str](): skill_of(sums, sums.errors(mean), weights)}
    for members, some, predict in zip(sets, columns, predictors, strict=True):
        skills[frozenset(members)] = skill_of(sums, sums.errors(predict(table[some].to_numpy(float))), weights)
    rows = []
    for group in chosen:
        others = [name for name in chosen if name != group]
        share = np.zeros_like(skills[frozenset()])
        for size in range(len(chosen)):
            for without in combinations(others, size):
                gain = skills[frozenset({*without, group})] - skills[frozenset(without)]
                share += gain / (len(chosen) * comb(len(others), size))
        share[..., 2] *= -1
        rows += index_rows("Shapley", group, share[0], share[1:], level)
    result = pd.DataFrame(rows)
    best = skills[frozenset(chosen)][0]
    result.attrs = {"r2": float(best[0]), "r2_within": float(best[1]), "rmse": float(best[2]), "level": level}
    return result


def held_out_parts(table: pd.DataFrame, split: str, *, seed: int, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows such that every row is tested once: by a quarter of the frames, or by experiment."""
    if split not in _SPLITS:
        raise InputError(
            f"{where}: split must be one of {', '.join(_SPLITS)}, got {split!r}. {nearest(str(split), _SPLITS)} "
            "Rows held out at random have their neighbors in the training part."
        )
    tested = np.zeros(len(table), dtype=int)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    while not tested.all():
        train, test = split_rows(table, split, repeat=len(parts), seed=seed)
        tested[test] += 1
        parts.append((train, test))
    if tested.max() > 1:
        raise InputError(f"{where}: the parts of the split {split!r} overlap. This is a fault of operando: report it.")
    return parts


def _cross_fitted(
    table: pd.DataFrame,
    columns: Sequence[Sequence[str]],
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    hidden: Sequence[int],
    max_epochs: int,
    restarts: int,
    seed: int,
    workers: int | None,
    progress: Progress | None,
    where: str,
) -> list[Callable[[np.ndarray], np.ndarray]]:
    """For each set of columns a function of the whole table that predicts each row by networks that did not see it."""
    from operando.dendrites.restarts import train_networks

    if restarts < 1:
        raise InputError(f"{where}: restarts must be at least 1, got {restarts}. 4 are usual.")
    y = table["growth_rate_next"].to_numpy(dtype=np.float64)
    tasks = [
        (table[list(some)].to_numpy(dtype=np.float64)[train], y[train], seed + start)
        for some in columns
        for train, _ in parts
        for start in range(restarts)
    ]
    models = train_networks(tasks, hidden=tuple(hidden), max_epochs=max_epochs, workers=workers, progress=progress)
    per_set = len(parts) * restarts

    def whole(some: Sequence[Any]) -> Callable[[np.ndarray], np.ndarray]:
        def predict(values: np.ndarray) -> np.ndarray:
            predicted = np.empty(len(values))
            for k, (_, test) in enumerate(parts):
                own = some[k * restarts : (k + 1) * restarts]
                predicted[test] = np.mean([model.predict(values[test]) for model in own], axis=0)
            return predicted

        return predict

    return [whole(models[k * per_set : (k + 1) * per_set]) for k in range(len(columns))]
