"""What forecasts the growth rate, by how much better than what is simple, and how far it can be trusted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from operando import dendrites
from operando.core.errors import InputError
from operando.pipeline.growth_rate.faults import lacking
from operando.pipeline.growth_rate.settings import Forecast, Study
from operando.pipeline.step import Task
from operando.pipeline.storage import read_table, write_json, write_table

NETWORK = "Bayesian network"  # as dendrites.compare calls it
SMALL = "Bayesian network, salt only"
# The paper's network, what is simple, what is usual, and what forecasts an image it has not seen.
_COMPARED = (
    "persistence",
    "stage mean",
    "linear",
    "nearest neighbor",
    "gradient boosting",
    "Gaussian process",
    "plain network",
    NETWORK,
    "linear within frames",
    "network pattern",
)


def compare(task: Task) -> None:
    """Every model under every split, their leak, their advantage, and the linear analysis by stage."""
    given = task.parameters
    how, table = Forecast(**given["forecast"]), usable(read_table(task.path("features.parquet")))
    frames = {str(name): int(frame.nunique()) for name, frame in table.groupby("experiment", sort=False)["frame"]}
    # The headers told of enough images, but not in which of them everything is found.
    if faults := lacking(frames, len(table), given["splits"]):
        raise InputError(f"compare: of the images in which everything was found: {' '.join(faults)}")
    scores, predictions = dendrites.compare(
        table,
        models=list(dict.fromkeys((*_COMPARED, how.model))),
        splits=given["splits"],
        repeats=how.repeats,
        hidden=how.hidden,
        max_epochs=how.epochs,
        level=how.level,
        seed=given["seed"],
        progress=task.progress,
    )
    # The paper's network 1, which knows the salt of the present alone, for the comparison of its Figure 3.
    small = dendrites.compare(
        table,
        models=[NETWORK],
        splits=given["splits"],
        repeats=1,
        features="concentration",
        times="current",
        hidden=(8,),
        max_epochs=how.epochs,
        level=how.level,
        seed=given["seed"],
    )
    write_table(task, "small-scores.parquet", small[0].assign(model=SMALL))
    write_table(task, "small-predictions.parquet", small[1].assign(model=SMALL))
    write_table(task, "scores.parquet", scores)
    write_table(task, "predictions.parquet", predictions)
    write_table(task, "score-intervals.parquet", dendrites.score_intervals(predictions, level=how.level))
    write_table(task, "advantage.parquet", dendrites.advantage(predictions, level=how.level))
    both = {"random", "frame"} <= set(given["splits"])
    write_table(task, "leak.parquet", dendrites.leak(scores) if both else pd.DataFrame())
    write_table(task, "correlation.parquet", dendrites.correlation_by_stage(table, level=how.level))


def forecast(task: Task) -> None:
    """Train on everything, and forecast the growth after the last image of every experiment."""
    given = task.parameters
    how, table = Forecast(**given["forecast"]), usable(read_table(task.path("features.parquet")))
    columns = dendrites.feature_names()
    network, optima = dendrites.best_of(
        table[columns],
        table["growth_rate_next"],
        how.restarts,
        random_state=given["seed"],
        hidden=tuple(how.hidden),
        max_epochs=how.epochs,
    )
    write_table(task, "optima.parquet", optima)
    write_table(task, "trace.parquet", network.trace_)
    write_json(
        task,
        "network.json",
        {
            "hidden": how.hidden,
            "features": columns,
            "units": {name: table.attrs.get("units", {}).get(name, "1") for name in columns},
            "inputs": {"low": network.x_min_, "high": network.x_max_},
            "target": {"name": "growth_rate_next", "low": network.y_min_, "high": network.y_max_},
            "weights": _by_layer(network.weights_, [len(columns), *how.hidden, 1]),
            "gamma": network.gamma_,
            "alpha": network.alpha_,
            "beta": network.beta_,
            "log_evidence": network.log_evidence_,
            "epochs": network.n_iter_,
            "stopped_by": network.stopped_by_,
        },
    )
    # How far the forecast may be off is learned on whole images that a model has not seen.
    chosen = dendrites.rival(how.model, hidden=how.hidden, max_epochs=how.epochs, random_state=given["seed"])
    model = dendrites.FrameConformal(chosen, level=how.level)
    model.fit(table, table["growth_rate_next"], groups=dendrites.frame_numbers(table))
    coming = complete(read_table(task.path("next.parquet")), columns)
    kept = coming[["experiment", "frame", "t_min", "x_um", "stage", "interface_position", "growth_rate"]]
    told = np.empty((3, 0))
    if len(coming):
        told = np.stack([model.predict(coming), *model.predict_interval(coming)])
    write_table(task, "forecast.parquet", kept.assign(predicted=told[0], low=told[1], high=told[2]))


def _by_layer(weights: np.ndarray, sizes: list[int]) -> list[list[list[float]]]:
    """The weight vector as one matrix per layer: a row for each unit, its bias last."""
    shapes = [(units, inputs + 1) for inputs, units in pairwise(sizes)]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    return [part.reshape(shape).tolist() for part, shape in zip(np.split(weights, ends[:-1]), shapes, strict=True)]


def study(task: Task) -> None:
    """The paper's feature sets, times and networks under every split, and wider networks beside them."""
    given = task.parameters
    how, table = Study(**given["study"]), usable(read_table(task.path("features.parquet")))
    common = {"repeats": how.repeats, "max_epochs": given["epochs"], "seed": given["seed"]}
    narrow = dendrites.ablation(
        table,
        networks=[tuple(layers) for layers in how.networks],
        splits=given["splits"],
        progress=task.progress,
        **common,
    )
    wide = []
    if how.wider:
        wide.append(
            dendrites.ablation(
                table,
                feature_sets=("all",),
                times=("both",),
                networks=[tuple(layers) for layers in how.wider],
                splits=given["splits"],
                **common,
            )
        )
    write_table(task, "ablation.parquet", pd.concat([narrow, *wide], ignore_index=True))


def complete(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows in which no column is missing, numbered anew."""
    return table.iloc[np.flatnonzero(np.isfinite(table[columns].to_numpy(float)).all(axis=1))].reset_index(drop=True)


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose features and growth are all there, numbered anew."""
    kept = complete(table, [*dendrites.feature_names(), "growth_rate_next"])
    if kept.empty:
        raise InputError(
            f"features: none of {len(table)} rows has every feature. Look at the interface, and at salt.over_um, the "
            "depth in which the salt is read: the field may end too close to the metal."
        )
    return kept
