"""The ledger of a ``growth-rate`` run: what grew, and how well it was forecast."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import pandas as pd

from operando.core.quantities import interval, quantity_table
from operando.pipeline.step import Task
from operando.pipeline.storage import read_table, write_table

_SCORES = {"r": "R of the forecast", "r_within": "R of the forecast within frames", "rmse": "error of the forecast"}


def write_ledger(task: Task) -> None:
    """Rows of growth, of the forecast of the next interval, of every model under every split, and by stage."""
    half = 2 * NormalDist().inv_cdf((1 + task.parameters["level"]) / 2)
    rows: list[dict[str, Any]] = [
        {
            "component": f"{row['model']}, split by {row['split']}",
            "quantity": _SCORES[row["score"]],
            "value": row["value"],
            "sigma": (row["high"] - row["low"]) / half,
            "unit": "um min-1" if row["score"] == "rmse" else "1",
            "method": "test points; sigma: whole frames resampled",
        }
        for row in read_table(task.path("score-intervals.parquet")).to_dict("records")
    ]
    ahead = read_table(task.path("forecast.parquet"))
    for name, points in ahead.groupby("experiment", sort=False):
        rows.append(
            {
                "scan": int(points["frame"].iloc[0]),
                "t": float(points["t_min"].iloc[0]) / 60,
                "component": str(name),
                "quantity": "forecast growth rate of the next interval",
                "value": float(points["predicted"].mean()),
                # The error of a whole frame is shared by its points: the mean is no better than one of them.
                "sigma": float((points["high"] - points["low"]).mean()) / half,
                "unit": "um min-1",
                "n": len(points),
                "method": "Bayesian network; sigma: as of a single point",
            }
        )
    ledger = pd.concat([read_table(task.path("growth.parquet")), quantity_table(rows)], ignore_index=True)
    write_table(task, "ledger.parquet", ledger)
    write_table(task, "ledger.csv", interval(ledger))
