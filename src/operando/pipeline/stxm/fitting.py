"""The weights of the phases, how far they can be trusted, and where they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from operando import spectral
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_image, write_dataset, write_image, write_json
from operando.pipeline.stxm.inputs import open_references
from operando.pipeline.stxm.settings import ReferenceSpectrum, Unmix


def unmix(task: Task) -> None:
    """Fit, and say how well: residuals, ambiguity, flags."""
    given = task.parameters
    how = Unmix(**given["unmix"])
    density = read_image(task, "density.zarr")
    sigma = read_image(task, "sigma.zarr") if "sigma.zarr" in task.step.inputs else None
    references = open_references([ReferenceSpectrum(**item) for item in given["references"]], density.energy)
    background = None if how.background == "none" else how.background
    found = spectral.unmix(
        density,
        references,
        sum_to_one=how.sum_to_one,
        background=background,
        sigma=_noise(task) if how.weighting == "poisson" else None,
        level=how.level,
        covariance=True,
    ).compute()
    task.progress(1, 3)
    residual = spectral.residuals(density, found, references)
    write_image(task, "residual.zarr", residual.astype(np.float32))
    doubt = spectral.ambiguity(
        density, references, found, sigma=sigma, background=background, sum_to_one=how.sum_to_one, level=how.level
    ).compute()
    task.progress(2, 3)
    saturated = read_image(task, "saturated.zarr") > 0 if "saturated.zarr" in task.step.inputs else None
    flags = spectral.flags(found, density, references, sigma=sigma, saturated=saturated)
    write_dataset(task, "unmixed.zarr", xr.merge([found, doubt, flags.compute()]))
    r2 = spectral.explained_variance(density, found, references)
    mean = density.mean(["y", "x"], skipna=True).compute()
    of_mean = spectral.unmix(mean, references, sum_to_one=how.sum_to_one, background=background)
    write_json(
        task,
        "fit.json",
        {
            "explained_variance": float(r2),
            "explained_variance_of_mean": float(spectral.explained_variance(mean, of_mean, references)),
        },
    )


def _noise(task: Task) -> Any:
    """What the fit is weighted by: the counts behind the fit where these are known, else the measured sigma."""
    if "sigma.zarr" not in task.step.inputs:
        return None
    if not task.parameters["absolute"]:
        # What was taken off the optical density hides how many counts there were.
        return read_image(task, "sigma.zarr")
    incident = read_dataset(task.path("incident.zarr"))
    return spectral.PoissonNoise(
        incident["i0"],
        i0_sigma=incident["i0_sigma"],
        dark=float(incident.attrs["dark"]),
        photons_per_count=float(incident.attrs["photons_per_count"]),
    )
