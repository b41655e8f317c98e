"""What the stack shows by itself: how many components, which clusters, and whether a reference explains them."""

from __future__ import annotations

from operando import spectral
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, write_dataset, write_json, write_table
from operando.pipeline.stxm.inputs import open_references
from operando.pipeline.stxm.settings import Decompose, ReferenceSpectrum


def decompose(task: Task) -> None:
    """Components, clusters and what they match; the references beside each other."""
    given = task.parameters
    how = Decompose(**given["decompose"])
    density = read_image(task, "density.zarr")
    sigma = read_image(task, "sigma.zarr") if "sigma.zarr" in task.step.inputs else None
    references = open_references([ReferenceSpectrum(**item) for item in given["references"]], density.energy)
    count = how.components or int(spectral.number_of_components(density, sigma=sigma))
    task.progress(1, 4)
    write_dataset(
        task, "components.zarr", spectral.components(density, n=min(max(count, 4) + 4, density.sizes["energy"]))
    )
    clusters = spectral.cluster(
        density, how.clusters or max(count, 2), minimum_thickness=how.minimum_optical_density, seed=given["seed"]
    )
    task.progress(2, 4)
    write_dataset(task, "clusters.zarr", clusters)
    matched = spectral.match_spectra(clusters["spectrum"], references)
    write_table(task, "matches.parquet", matched)
    write_dataset(task, "collinearity.zarr", spectral.collinearity(references))
    write_json(task, "decomposed.json", {"components": count, "by": "recipe" if how.components else "noise"})
