"""Short tables of a finished ``growth-rate`` run, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operando.pipeline.storage import read_table


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Growth by stage, models under every split, what drives the growth."""
    growth = read_table(folder / "growth.parquet")
    stages = growth[growth["component"].isin(["none", "partial", "full"])]
    tables = {
        "growth by depletion (+- one sigma)": [
            {"depletion": row["component"], "um/min": row["value"], "+-": row["sigma"], "images": row["n"]}
            for row in stages.to_dict("records")
        ]
    }
    scores = read_table(folder / "scores.parquet")
    means = scores.groupby(["model", "split"], sort=False)[["r_test", "r_within"]].mean()
    splits = list(dict.fromkeys(scores["split"]))
    tables["R of the forecast, and within frames"] = [
        {
            "model": model,
            **{f"by {split}": means.loc[(model, split), "r_test"] for split in splits},
            **{f"within, by {split}": means.loc[(model, split), "r_within"] for split in splits},
        }
        for model in dict.fromkeys(scores["model"])
    ]
    if (folder / "sensitivity.parquet").exists():
        mean = read_table(folder / "sensitivity.parquet").mean().sort_values(ascending=False)
        tables["strongest sensitivities (Eq. 3)"] = [
            {"feature": str(name).replace("_", " "), "um/min": value} for name, value in mean.head(5).items()
        ]
    return tables
