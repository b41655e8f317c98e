"""Every model on the same rows: how well it forecasts the local growth rate, and whether its intervals cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from operando.core.errors import InputError, nearest
from operando.dendrites.conformal import FrameConformal
from operando.dendrites.features import feature_names
from operando.dendrites.network import BayesianNetwork
from operando.dendrites.pattern import SALT
from operando.dendrites.restarts import train_networks
from operando.dendrites.rivals import CONFORMAL_NETWORK, MODELS, TARGET, rival
from operando.dendrites.scores import check_level, correlation, score
from operando.dendrites.splits import Part, frame_numbers, split_plan, usable_rows


def compare(
    table: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    repeats: int = 5,
    test_fraction: float = 0.25,
    gap: int = 0,
    features: str = "all",
    times: str = "both",
    hidden: Sequence[int] = (16, 16),
    max_epochs: int = 250,
    level: float = 0.95,
    folds: int = 5,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every model on the same splits; score its forecasts and its intervals.

    Parameters
    ----------
    table : DataFrame
        As :func:`growth_features` returns it. Rows without all features and the next growth rate are left out, and
        without concentration where a pattern is asked for.
    models : sequence of str, optional
        Names of :data:`operando.dendrites.MODELS`, see :func:`rival`; all by default. ``"Bayesian network, conformal"``
        may be added: the same network with intervals as the others have them, at ``folds`` more trainings.
    splits : sequence of {"random", "frame", "experiment"}, optional
        All that the table allows by default (by experiment needs two), see :func:`split_rows`.
    repeats : int
        Splits of each kind; the seeds of the models change with them.
    test_fraction, gap
        See :func:`split_rows`.
    features, times : str
        Which features, see :func:`feature_names`.
    hidden : sequence of int
        Layers of both networks.
    max_epochs : int
        Of the Bayesian network.
    level : float
        Of the intervals: Laplace approximation for ``"Bayesian network"``, :class:`FrameConformal` for all others.
    folds : int
        Of the frames, for the conformal intervals.
    seed : int
        The same seed gives the same tables.
    workers : int, optional
        Threads that train networks.
    progress : callable, optional
        Called with the number of models trained so far, and of all.

    Returns
    -------
    scores : DataFrame
        ``split, model, repeat, r_train, r_test, r_within, rmse, coverage, n_train, n_test, width, skill``: one row per
        model, split and repeat. ``r_within``: R of the deviations from each frame's mean in the test rows (NaN for a
        forecast that is constant within frames). ``rmse`` and mean ``width`` of the intervals in um min-1; ``skill``
        = 1 - (rmse / rmse of persistence)^2. ``attrs["dropped"]``: rows left out.
    predictions : DataFrame
        ``split, model, repeat, sample, measured, predicted, low, high, part, experiment, frame``: one row per model,
        split, repeat and row. ``sample`` is the row's index in the table; ``part`` is ``"train"`` or ``"test"``.

    Raises
    ------
    InputError
        For an unknown model or split, a table without the columns, or a training part with a single frame.

    Notes
    -----
    The conformal intervals always leave out whole frames of the training rows, also where the split is at random: there
    they are wider than the (leaking) errors, and cover more than they say. The Laplace approximation takes the
    errors for independent: where neighboring points err alike, and a frame is new, it covers less than it says.

    Memory: one row of ``predictions`` (about 0.1 kB) per model, split, repeat and row of the table.

    Examples
    --------
    Where the next growth rate is the current one, persistence makes no error:

    >>> from operando.dendrites import feature_names
    >>> made = np.random.default_rng(0).uniform(-1, 1, (160, 14))
    >>> table = pd.DataFrame(made, columns=feature_names()).assign(experiment="a", stage="none")
    >>> table["frame"] = np.repeat(np.arange(1, 9), 20)
    >>> scores, predictions = compare(table.assign(growth_rate_next=table["growth_rate"]), models=["persistence"],
    ...     splits=["frame"], repeats=1)
    >>> scores[["model", "r_test", "rmse"]].round(6).to_numpy().tolist(), len(predictions)
    ([['persistence', 1.0, 0.0]], 160)
    """
    names = list(MODELS if models is None else [models] if isinstance(models, str) else models)
    known = (*MODELS, CONFORMAL_NETWORK)
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"compare: a model is one of {', '.join(known)}, got {unknown[0]!r}. {nearest(unknown[0], known)}"
        )
    if not names or len(set(names)) < len(names):
        raise InputError(f"compare: each model must be named once, got {names!r}.")
    check_level("compare", level)
    columns = feature_names(features, times)
    others = ["growth_rate", "stage", *([SALT] if any(name.endswith("pattern") for name in names) else [])]
    rows = usable_rows("compare", table, [*dict.fromkeys([*columns, *others]), TARGET])
    plan = split_plan("compare", rows, splits=splits, repeats=repeats, test_fraction=test_fraction, gap=gap, seed=seed)
    study = _Study(rows, columns, plan, tuple(hidden), max_epochs, level, folds, seed, workers)
    done, total = 0, len(names) * len(plan)
    all_scores, all_predictions = [], []
    for name in names:
        for part, predicted, low, high in study.forecasts(name):
            all_scores.append(study.scored(name, part, predicted, low, high))
            all_predictions.append(study.told(name, part, predicted, low, high))
            done += 1
            if progress is not None:
                progress(done, total)
    scores = pd.DataFrame(all_scores)
    scores.attrs["dropped"] = len(table) - len(rows)
    return scores, pd.concat(all_predictions, ignore_index=True)


class _Study:
    """The rows, the splits, and the networks that several models share."""

    def __init__(
        self,
        rows: pd.DataFrame,
        columns: list[str],
        plan: list[Part],
        hidden: tuple[int, ...],
        max_epochs: int,
        level: float,
        folds: int,
        seed: int,
        workers: int | None,
    ) -> None:
        self.rows, self.columns, self.plan = rows, columns, plan
        self.hidden, self.max_epochs, self.level, self.folds = hidden, max_epochs, level, folds
        self.seed, self.workers = seed, workers
        self.x = rows[columns].to_numpy(float)
        self.measured = rows[TARGET].to_numpy(float)
        self.persistence = rows["growth_rate"].to_numpy(float)
        self.frame = frame_numbers(rows)
        self.networks: list[BayesianNetwork] | None = None

    def forecasts(self, name: str) -> Any:
        """Prediction and interval of every row, for each split."""
        if name == "Bayesian network":
            for part, network in zip(self.plan, self._networks(), strict=True):
                yield part, network.predict(self.x), *network.predict_interval(self.x, self.level)
        elif name == CONFORMAL_NETWORK:
            yield from self._conformal_networks()
        else:
            for part in self.plan:
                # One thread: the sums, and so the models, are the same on every machine; the data is small.
                with threadpool_limits(1):
                    forecast = self._rival(name, part)
                yield part, *forecast

    def _rival(self, name: str, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model = rival(
            name,
            columns=self.columns,
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            random_state=self.seed + part.repeat,
        )
        trained = self._conformal(model).fit(
            self.rows.iloc[part.train], self.measured[part.train], groups=self.frame[part.train]
        )
        return trained.predict(self.rows), *trained.predict_interval(self.rows)

    def _conformal(self, model: Any) -> FrameConformal:
        return FrameConformal(model, level=self.level, folds=self.folds)

    def _networks(self) -> list[BayesianNetwork]:
        if self.networks is None:
            self.networks = self._train([(part.train, self.seed + part.repeat) for part in self.plan])
        return self.networks

    def _train(self, tasks: list[tuple[np.ndarray, int]]) -> list[BayesianNetwork]:
        return train_networks(
            ((self.x[at], self.measured[at], state) for at, state in tasks),
            hidden=self.hidden,
            max_epochs=self.max_epochs,
            workers=self.workers,
        )

    def _conformal_networks(self) -> Any:
        for part, network in zip(self.plan, self._networks(), strict=True):
            x, y, frame = self.x[part.train], self.measured[part.train], self.frame[part.train]
            wrapped = self._conformal(network)
            fold = wrapped.folds_of(frame)
            tasks = [(part.train[fold != left_out], self.seed + part.repeat) for left_out in range(int(fold.max()) + 1)]
            wrapped.from_fitted(network, self._train(tasks), x, y, groups=frame)
            yield part, wrapped.predict(self.x), *wrapped.predict_interval(self.x)

    def scored(self, name: str, part: Part, predicted: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
        at = part.test
        found = score(self.measured[at], predicted[at], self.frame[at], low=low[at], high=high[at])
        naive = float(np.mean((self.measured[at] - self.persistence[at]) ** 2))
        return {
            "split": part.split,
            "model": name,
            "repeat": part.repeat,
            "r_train": correlation(self.measured[part.train], predicted[part.train]),
            "r_test": found["r"],
            "r_within": found["r_within"],
            "rmse": found["rmse"],
            "coverage": found["coverage"],
            "n_train": len(part.train),
            "n_test": len(at),
            "width": found["width"],
            "skill": 1 - found["rmse"] ** 2 / naive if naive > 0 else np.nan,
        }

    def told(self, name: str, part: Part, predicted: np.ndarray, low: np.ndarray, high: np.ndarray) -> pd.DataFrame:
        at = np.concatenate([part.train, part.test])
        told = pd.DataFrame(
            {
                "split": part.split,
                "model": name,
                "repeat": part.repeat,
                "sample": self.rows.index[at],
                "measured": self.measured[at],
                "predicted": predicted[at],
                "low": low[at],
                "high": high[at],
                "part": np.repeat(["train", "test"], [len(part.train), len(part.test)]),
                "experiment": self.rows["experiment"].to_numpy()[at],
                "frame": self.rows["frame"].to_numpy()[at],
            }
        )
        return told.astype({"split": "category", "model": "category", "part": "category", "experiment": "category"})
