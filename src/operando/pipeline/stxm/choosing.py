"""How few energies an operando scan would need, and which."""

from __future__ import annotations

from typing import Any

import numpy as np

from operando import spectral
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, write_json, write_table
from operando.pipeline.stxm.inputs import open_references, stoichiometry
from operando.pipeline.stxm.settings import Energies, Lithiation, ReferenceSpectrum, Unmix


def choose(task: Task) -> None:
    """Predicted error of weights and lithiation against the number of energies, and the choice for one number."""
    given = task.parameters
    how, thin = Energies(**given["energies"]), Lithiation(**given["lithiation"]).minimum_thickness
    fit = Unmix(**given["unmix"])
    told = [ReferenceSpectrum(**item) for item in given["references"]]
    density = read_image(task, "density.zarr")
    references = open_references(told, density.energy)
    found = read_dataset(task.path("unmixed.zarr"))
    thickness = found["thickness"].values
    seen = thickness[thickness >= max(thin, 0.0)]
    photons = how.photons or _photons(task)
    common: dict[str, Any] = {
        "stoichiometry": stoichiometry(told, [str(name) for name in references["component"].values]),
        "photons": photons,
        "thickness": float(np.median(seen)) if seen.size and np.median(seen) > 0 else None,
        "background": fit.terms,
        "energy_error": how.energy_error,
        "criterion": how.criterion,
    }
    ks = [k for k in how.counts if k <= density.sizes["energy"]]
    table = spectral.error_against_k(references, ks, seed=given["seed"], **common)
    write_table(task, "energy-errors.parquet", table)
    least = len(told) + fit.background_terms
    shown = min(max(how.show, least), density.sizes["energy"])
    chosen = spectral.select_energies(references, shown, **common)
    expert = spectral.expert_energies(references, shown)
    write_json(
        task,
        "energies.json",
        {
            "chosen": chosen.values.tolist(),
            "expert": expert.values.tolist(),
            "photons": photons,
            "thickness": common["thickness"],
            "criterion": how.criterion,
        },
    )


def _photons(task: Task) -> float:
    """Photons per pixel over all images; 10,000 where there were no counts."""
    if "incident.zarr" not in task.step.inputs:
        return 10_000.0
    incident = read_dataset(task.path("incident.zarr"))
    return float(incident["i0"].sum()) * float(incident.attrs.get("photons_per_count", 1.0))
