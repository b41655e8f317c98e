"""The weights of the phases, how far they can be trusted, and where they cannot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from operando import io, spectral
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
    errors: dict[str, Any] = {"sigma": sigma, "level": how.level, "scale_sigma": how.scale_sigma and sigma is not None}
    found = spectral.unmix(density, references, covariance=not how.partial_volume, **errors, **common).compute()
    task.progress(1, 5)
    if how.partial_volume:
        hidden = spectral.partial_volume(found, references, background=background, probe_px=given["probe_px"])
        write_image(task, "corrected.zarr", (density + hidden).assign_attrs(density.attrs).astype(np.float32))
        density = io.open_image(task.folder / "corrected.zarr")
        found = spectral.unmix(density, references, covariance=True, **errors, **common).compute()
    task.progress(2, 5)
    write_image(task, "residual.zarr", spectral.residuals(density, found, references).astype(np.float32))
    measured = read_image(task, "sigma.zarr") if sigma is not None else None
    doubt = spectral.ambiguity(density, references, found, sigma=measured, level=how.level, **common).compute()
    task.progress(3, 5)
    flags = spectral.flags(
        density,
        references,
        found,
        sigma=measured,
        background=background,
        probe_px=given["probe_px"],
        **_limits(task),
    ).compute()
    task.progress(4, 5)
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


def fitted_density(task: Task) -> xr.DataArray:
    """The optical density that was fitted: as measured, or with what the probe hides put back."""
    return read_image(task, "corrected.zarr" if "corrected.zarr" in task.step.inputs else "density.zarr")


def _limits(task: Task) -> dict[str, Any]:
    """From which optical density on a pixel is too thick, where that is known."""
    if "incident.zarr" not in task.step.inputs:
        return {}
    if task.parameters["absolute"]:
        return {"od_limit": read_dataset(task.path("incident.zarr"))["optical_density_max"]}
    return {"saturated": read_image(task, "saturated.zarr") > 0}


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
