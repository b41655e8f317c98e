"""What the forecast depends on: the paper's sensitivities, global indices, and what is lost without a feature."""

from __future__ import annotations

import pandas as pd

from operando import dendrites
from operando.pipeline.growth_rate.settings import Sensitivity
from operando.pipeline.growth_rate.trusting import usable
from operando.pipeline.step import Task
from operando.pipeline.storage import read_table, write_table


def depend(task: Task) -> None:
    """Eq. 3 in one network and over many, Sobol, Morris, and conditional permutation on held-out images."""
    given = task.parameters
    how, table = Sensitivity(**given["sensitivity"]), usable(read_table(task.path("features.parquet")))
    columns = dendrites.feature_names()
    hidden, seed = tuple(given["hidden"]), given["seed"]
    runs = dendrites.sensitivity_runs(
        table, runs=how.trainings, hidden=hidden, max_epochs=given["epochs"], seed=seed, progress=task.progress
    )
    write_table(task, "sensitivity-runs.parquet", runs)
    network = dendrites.BayesianNetwork(hidden, max_epochs=given["epochs"], random_state=seed)
    network.fit(table[columns], table["growth_rate_next"])
    write_table(task, "sensitivity.parquet", dendrites.sensitivity(network, table[columns]))
    frames = dendrites.frame_numbers(table)
    overall = [
        dendrites.sobol(network, table[columns], samples=how.samples, frames=frames, seed=seed),
        dendrites.grouped_sobol(network, table[columns], samples=how.samples, frames=frames, seed=seed),
        dendrites.morris(network, table[columns], trajectories=max(how.samples // 8, 10), seed=seed),
    ]
    shared = [rows.assign(outside_share=rows.attrs.get("outside_share", float("nan"))) for rows in overall]
    write_table(task, "global.parquet", pd.concat(shared, ignore_index=True))
    # Small networks, several together: those of the forecast know too little of unseen images to lose anything.
    lost = dendrites.held_out_importance(table, repeats=how.permutations, seed=seed)
    known = {name: lost.attrs[name] for name in ("r2", "r2_within")}
    write_table(task, "importance.parquet", lost.assign(**known))
