"""The weights of the phases, how far they can be trusted, and where they cannot."""

from __future__ import annotations

import math
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
    references = open_references([ReferenceSpectrum(**item) for item in given["references"]], density.energy)
    background = how.terms
    sigma = noise_of(task)
    common: dict[str, Any] = {"background": background, "sum_to_one": how.sum_to_one}
    found = spectral.unmix(
        density,
        references,
        sigma=sigma,
        level=how.level,
        scale_sigma=how.scale_sigma and sigma is not None,
        covariance=True,
        **common,
    ).compute()
    task.progress(1, 4)
    write_image(task, "residual.zarr", spectral.residuals(density, found, references).astype(np.float32))
    measured = read_image(task, "sigma.zarr") if sigma is not None else None
    doubt = spectral.ambiguity(density, references, found, sigma=measured, level=how.level, **common).compute()
    task.progress(2, 4)
    saturated = read_image(task, "saturated.zarr") > 0 if "saturated.zarr" in task.step.inputs else None
    flags = spectral.flags(
        density, references, found, sigma=measured, background=background, saturated=saturated
    ).compute()
    task.progress(3, 4)
    kept = ("notes", "probe_px", "noise_scale", "stray_fraction")
    about = {key: flags.attrs[key] for key in kept if key in flags.attrs}
    merged = xr.merge([found, doubt, flags], combine_attrs="override", compat="override")
    write_dataset(task, "unmixed.zarr", merged.assign_attrs(found.attrs, **about))
    mean = density.mean(["y", "x"], skipna=True).compute()
    of_mean = spectral.unmix(mean, references, **common)
    write_json(
        task,
        "fit.json",
        {
            "explained_variance": float(spectral.explained_variance(density, found, references)),
            "explained_variance_of_the_mean_spectrum": float(spectral.explained_variance(mean, of_mean, references)),
        },
    )


def jackknife_blocks(energies: int, parameters: int) -> int | None:
    """How many blocks of energies are left out in turn for errors that all pixels share; None: too few for that.

    Examples
    --------
    >>> jackknife_blocks(100, 5), jackknife_blocks(8, 5), jackknife_blocks(6, 5)
    (16, 8, None)
    """
    blocks = min(16, energies)
    return blocks if energies - math.ceil(energies / blocks) > parameters else None


def noise_of(task: Task) -> Any:
    """What weights the fit: the counts behind it where these are known, else the measured sigma; None: nothing."""
    if not task.parameters["weighted"]:
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
