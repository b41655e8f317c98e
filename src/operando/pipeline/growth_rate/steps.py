"""The steps of recipe ``growth-rate``, from images to what drives the growth."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from operando.pipeline.growth_rate import depending, growing, trusting
from operando.pipeline.growth_rate.inputs import files_of, open_series
from operando.pipeline.growth_rate.ledger import write_ledger
from operando.pipeline.growth_rate.page import make_report
from operando.pipeline.growth_rate.settings import GrowthRate, Split
from operando.pipeline.step import Step, derived_seed

# Rates of a quiet machine of two cores: docs/benchmarks.md, growth of a dendrite.
_PIXELS_PER_SECOND = 1.5e6  # interface and concentration
# Per row and pair of weights of one epoch, two networks at once: J'J and what goes with it.
_SECONDS_PER_PRODUCT = 2.2e-11
_EPOCH_SECONDS = 2e-4
_INPUTS = 14
_BASE_BYTES = 500_000_000


def make_steps(settings: GrowthRate, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    series = [open_series(item) for item in settings.experiments]
    pixels = sum(math.prod(one.shape) for one in series)
    rows = sum((one.sizes["t"] - 2) * settings.points for one in series)
    files = files_of(settings)
    told = () if settings.truth is None else (Path(settings.truth),)
    how, hidden = settings.forecast, settings.forecast.hidden
    numbers = range(len(settings.experiments))
    found, salted = tuple(map(growing.traced, numbers)), tuple(map(growing.salted_in, numbers))
    experiments = {"experiments": [item.model_dump() for item in settings.experiments]}
    compared = (
        "scores.parquet",
        "predictions.parquet",
        "small-scores.parquet",
        "small-predictions.parquet",
        "score-intervals.parquet",
        "advantage.parquet",
        "leak.parquet",
        "correlation.parquet",
    )
    forecast = ("optima.parquet", "trace.parquet", "network.json", "forecast.parquet")
    measured = ("features.parquet", "next.parquet", "over-time.parquet", "growth.parquet")
    # Each model is trained on a quarter less, and five times more for its intervals.
    one = _training(rows, hidden, how.epochs)
    steps = [
        Step(
            name="interface",
            title="Find the interface and the salt before it",
            function=growing.trace,
            outputs=(*found, *salted),
            files=files,
            parameters={
                **experiments,
                "interface": settings.interface.model_dump(),
                "salt": settings.salt.model_dump(),
            },
            access="slice",
            bytes_in_memory=_BASE_BYTES + 60 * max(math.prod(one.shape[1:]) for one in series),
            bytes_on_disk=4 * pixels,
            seconds=2 + pixels / _PIXELS_PER_SECOND,
        ),
        Step(
            name="features",
            title="Measure features and growth",
            function=growing.measure,
            inputs=(*found, *salted),
            outputs=measured,
            parameters={**experiments, "salt": settings.salt.model_dump(), "points": settings.points},
            bytes_in_memory=_BASE_BYTES + 400 * rows,
            bytes_on_disk=250 * rows,
            seconds=2 + pixels / (4 * _PIXELS_PER_SECOND),
        ),
        Step(
            name="compare",
            title="Compare the forecast with simpler ones",
            function=trusting.compare,
            inputs=measured[:1],
            outputs=compared,
            parameters={
                "forecast": how.model_dump(),
                "splits": list(settings.splits),
                "seed": derived_seed(settings.seed, "compare"),
            },
            bytes_in_memory=_BASE_BYTES + _memory(rows, hidden, workers),
            bytes_on_disk=500 * rows,
            seconds=10 + len(settings.splits) * how.repeats * (2 * one + 8),
        ),
        Step(
            name="forecast",
            title="Forecast the next interval",
            function=trusting.forecast,
            inputs=measured[:2],
            outputs=forecast,
            parameters={"forecast": how.model_dump(), "seed": derived_seed(settings.seed, "forecast")},
            bytes_in_memory=_BASE_BYTES + _memory(rows, hidden, workers),
            bytes_on_disk=1_000_000,
            seconds=2 + (how.restarts + 5) * one,
        ),
    ]
    more: list[str] = []
    if settings.study.run:
        more.append("ablation.parquet")
        steps.append(
            Step(
                name="study",
                title="Which features, times and networks",
                function=trusting.study,
                inputs=measured[:1],
                outputs=("ablation.parquet",),
                parameters={
                    "study": settings.study.model_dump(),
                    "epochs": how.epochs,
                    "splits": list(settings.splits),
                    "seed": derived_seed(settings.seed, "study"),
                },
                bytes_in_memory=_BASE_BYTES + _memory(rows, [32, 32], workers),
                bytes_on_disk=1_000_000,
                seconds=2 + _study_seconds(settings, rows, settings.splits),
            )
        )
    if settings.sensitivity.run:
        depends = ("sensitivity-runs.parquet", "sensitivity.parquet", "global.parquet", "importance.parquet")
        more += depends
        steps.append(
            Step(
                name="sensitivity",
                title="What the growth depends on",
                function=depending.depend,
                inputs=measured[:1],
                outputs=depends,
                parameters={
                    "sensitivity": settings.sensitivity.model_dump(),
                    "hidden": list(hidden),
                    "epochs": how.epochs,
                    "seed": derived_seed(settings.seed, "sensitivity"),
                },
                bytes_in_memory=_BASE_BYTES + _memory(rows, hidden, workers),
                bytes_on_disk=200 * rows,
                seconds=10 + (settings.sensitivity.trainings + 9) * one,
            )
        )
    ledger = ("ledger.parquet", "ledger.csv")
    steps.append(
        Step(
            name="ledger",
            title="Write the ledger",
            function=write_ledger,
            inputs=("growth.parquet", "score-intervals.parquet", "correlation.parquet", "forecast.parquet"),
            outputs=ledger,
            parameters={"level": how.level},
            bytes_in_memory=_BASE_BYTES,
            seconds=1,
        )
    )
    shown: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "splits": list(settings.splits),
        "workflow": [{"title": step.title, "detail": ", ".join(step.outputs[:4])} for step in steps],
    }
    steps.append(
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(*found, *salted, *measured, *compared, *forecast, *more, *ledger[:1]),
            outputs=("report.html", "figures"),
            files=(*files, *told),
            parameters=shown,
            access="slice",
            bytes_in_memory=_BASE_BYTES + 16 * pixels,
            bytes_on_disk=10_000_000,
            seconds=30,
        )
    )
    return steps


def _weights(inputs: int, hidden: list[int]) -> int:
    sizes = [inputs, *hidden, 1]
    return sum((low + 1) * high for low, high in itertools.pairwise(sizes))


def _training(rows: int, hidden: list[int], epochs: int, inputs: int = _INPUTS) -> float:
    """Seconds of one training, two of them running at once."""
    weights = _weights(inputs, hidden)
    return epochs * (_EPOCH_SECONDS + _SECONDS_PER_PRODUCT * rows * weights * weights / 2)


def _memory(rows: int, hidden: list[int], workers: int) -> int:
    weights = _weights(_INPUTS, hidden)
    return workers * 8 * (rows * weights + 4 * weights * weights)


def _study_seconds(settings: GrowthRate, rows: int, splits: tuple[Split, ...]) -> float:
    sets, times = (3, 2, 2, 7), (1, 1, 2)
    per_repeat = sum(
        _training(rows, layers, settings.forecast.epochs, inputs=count * moments)
        for layers in settings.study.networks
        for count in sets
        for moments in times
    )
    per_repeat += sum(_training(rows, layers, settings.forecast.epochs) for layers in settings.study.wider)
    return len(splits) * settings.study.repeats * per_repeat
