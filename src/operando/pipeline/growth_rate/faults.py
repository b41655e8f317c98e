"""Every fault in a ``growth-rate`` recipe and the headers of the files it names."""

from __future__ import annotations

import importlib.util

from operando.pipeline.growth_rate.inputs import open_series, open_truth
from operando.pipeline.growth_rate.settings import GrowthRate
from operando.pipeline.settings import Faults

_EDGE = 1  # columns at each end that lack a neighbor


def faults(settings: GrowthRate) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    for item in settings.experiments:
        series = found.attempt("experiments", lambda item=item: open_series(item))  # type: ignore[misc]
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
    if settings.sensitivity.run and importlib.util.find_spec("SALib") is None:
        found.append(
            "sensitivity: needs SALib, which is not installed. Install it with: pip install 'operando[sensitivity]', "
            "or set sensitivity.run to false."
        )
    return list(found)
