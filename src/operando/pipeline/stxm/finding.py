"""What the stack shows by itself: how many components, which clusters, and whether a reference explains them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from operando import spectral
from operando.core.errors import InputError
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, write_dataset, write_json, write_table
from operando.pipeline.stxm.inputs import open_references
from operando.pipeline.stxm.settings import Decompose, ReferenceSpectrum, Unmix

_RULER = 0.02  # a usual error of an optical density, where nothing is known of it
_FAR = 1.3  # noise off by more than this is not that of the counts


def decompose(task: Task) -> None:
    """Components, clusters and what they match; the references beside each other."""
    given = task.parameters
    how, background = Decompose(**given["decompose"]), Unmix(**given["unmix"]).terms
    density = read_image(task, "density.zarr")
    references = open_references([ReferenceSpectrum(**item) for item in given["references"]], density.energy)
    sigma = read_image(task, "sigma.zarr") if "sigma.zarr" in task.step.inputs else None
    ruler = _RULER if sigma is None else sigma.mean(["y", "x"]).compute()
    write_dataset(task, "collinearity.zarr", spectral.collinearity(references, sigma=ruler, background=background))
    task.progress(1, 4)
    about: dict[str, Any] = {"components": how.components, "noise_factor": None, "notes": []}
    components, clusters, matches = xr.Dataset(), xr.Dataset(), pd.DataFrame(columns=["rank", "spectrum", "verdict"])
    try:
        about |= _noise(task, density, sigma)
        count = how.components or max(1, about["by"]["number"])
        about["components"] = count
        task.progress(2, 4)
        components = spectral.components(density, n=min(max(count + 4, 8), density.sizes["energy"]))
        task.progress(3, 4)
        wanted = how.clusters or min(max(count, 2), len(given["references"]) + 2)
        clusters = spectral.cluster(density, wanted, minimum_thickness=how.minimum_optical_density, seed=given["seed"])
        matches = spectral.match_spectra(clusters, references, background=background)
    except InputError as error:
        # The fit does not need any of this: a field too thin or too gappy for it is no reason to stop.
        about["notes"].append(str(error))
    write_dataset(task, "components.zarr", components)
    write_dataset(task, "clusters.zarr", clusters)
    write_table(task, "matches.parquet", matches)
    write_json(task, "decomposed.json", about)


def _noise(task: Task, density: xr.DataArray, sigma: xr.DataArray | None) -> dict[str, Any]:
    """How many components stand out of the noise, and by which rule."""
    free = spectral.scree(density)
    by = {"method": "malinowski", "number": int(free["number"])}
    if sigma is None:
        return {"by": by, "noise_factor": None}
    known = spectral.scree(density, sigma=sigma)
    factor = float(known["noise_factor"])
    # Where noise is not what counted photons give, or neighbors share it since the images were moved, a rule that rests
    # on it cannot be used.
    if 1 / _FAR < factor < _FAR and not task.parameters["resampled"]:
        by = {"method": "marchenko-pastur", "number": int(known["number"])}
    return {"by": by, "noise_factor": factor}
