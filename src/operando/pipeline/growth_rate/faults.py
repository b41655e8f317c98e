"""Every fault in a ``growth-rate`` recipe and the headers of the files it names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from operando import dendrites
from operando.core.errors import nearest
from operando.pipeline.growth_rate.inputs import open_series, open_truth
from operando.pipeline.growth_rate.settings import GrowthRate
from operando.pipeline.settings import Faults

_FEWEST_SAMPLES = 100  # of which as few as a third train a model that sets some of them aside
_EDGE = 1  # columns at each end that lack a neighbor


def faults(settings: GrowthRate) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    inner: dict[str, int] = {}
    for item in settings.experiments:
        series = found.attempt(f"experiments, {item.name}", lambda item=item: open_series(item))  # type: ignore[misc]
        if series is not None:
            inner[item.name] = series.sizes["t"] - 2
        if series is not None and series.sizes["x"] - 2 * _EDGE < settings.points:
            found.append(
                f"points: {item.name} has {series.sizes['x'] - 2 * _EDGE} columns with two neighbors, and "
                f"{settings.points} points were asked for. Ask for fewer."
            )
    if settings.truth is not None:
        told = settings.truth
        found.attempt("truth", lambda: open_truth(told))
    if not settings.splits:
        found.append(
            "forecast.splits: one experiment cannot be split by experiment. Add 'frame', or give more experiments."
        )
    if len(inner) == len(settings.experiments):
        for fault in lacking(inner, settings.points * sum(inner.values()), settings.splits):
            found.append(fault)
    if settings.forecast.model not in dendrites.MODELS:
        found.append(
            f"forecast.model: there is no model {settings.forecast.model!r}. "
            f"{nearest(settings.forecast.model, dendrites.MODELS)}"
        )
    if settings.sensitivity.run and importlib.util.find_spec("SALib") is None:
        found.append(
            "sensitivity: needs SALib, which is not installed. Install it with: pip install 'operando[sensitivity]', "
            "or set sensitivity.run to false."
        )
    return list(found)


def lacking(inner: dict[str, int], samples: int, splits: Sequence[str]) -> list[str]:
    """What keeps a forecast from being made and tested; ``inner``: images with one before and after them, by name."""
    least, total = (3 if "frame" in splits else 2), sum(inner.values())
    if total < least:
        return [
            f"experiments: a forecast needs {least} images or more that have one before and one after them, got "
            f"{total}. Give more images."
        ]
    faults = []
    if samples < _FEWEST_SAMPLES:
        faults.append(
            f"points: {_FEWEST_SAMPLES} samples or more are needed to train and to test, got {samples} at {total} "
            "times. Ask for more points, or give more images."
        )
    few = [name for name, own in inner.items() if total - own < 2]
    if "experiment" in splits and few:
        faults.append(
            f"forecast.splits: without {few[0]} no more than one image that has one before and one after it is left to "
            "train on. Leave 'experiment' out, or give more images."
        )
    return faults
