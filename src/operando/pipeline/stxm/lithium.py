"""From phases to lithium: maps, particles, and the state of charge of the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import spectral
from operando.core.errors import InputError
from operando.core.quantities import interval, quantity_table
from operando.pipeline.step import Task
from operando.pipeline.storage import read_dataset, read_json, write_dataset, write_table
from operando.pipeline.stxm.fitting import fitted_density, jackknife_blocks, noise_of
from operando.pipeline.stxm.inputs import open_references, stoichiometry
from operando.pipeline.stxm.settings import Lithiation, Particles, ReferenceSpectrum

CLEAR = "field without rims and thick parts"
"""The pixels of the sample whose spectra Beer and Lambert's law describes."""

AMBIGUOUS = 0.5
"""Share of the thickness that may lie elsewhere, from which a pixel counts as ambiguous."""

_FLAGS = ("boundary", "thick", "missing_reference")


def lithiate(task: Task) -> None:
    """Lithiation per pixel, per particle and of the field; dominant phases, their boundaries and their disorder."""
    given = task.parameters
    how, apart = Lithiation(**given["lithiation"]), Particles(**given["particles"])
    told = [ReferenceSpectrum(**item) for item in given["references"]]
    found, density = read_dataset(task.path("unmixed.zarr")), fitted_density(task)
    references = open_references(told, density.energy)
    names = [str(name) for name in references["component"].values]
    x = stoichiometry(told, names)
    sample = found["thickness"] >= how.minimum_thickness
    if not bool(sample.any()):
        raise InputError(
            f"lithiation.minimum_thickness: at least one pixel must hold {how.minimum_thickness:g}, got at most "
            f"{float(found['thickness'].max()):g}. Lower it."
        )
    terms = list(found.attrs.get("background", []))
    blocks = jackknife_blocks(density.sizes["energy"], len(names) + len(terms))
    fitted: dict[str, Any] = {}
    if blocks is not None:
        fitted = {"optical_density": density, "references": references, "sigma": noise_of(task), "blocks": blocks}
    whole = found["n_energies"] == density.sizes["energy"]

    def mean_of(x: dict[str, float | None], mask: xr.DataArray, **more: Any) -> pd.DataFrame:
        # The mean spectrum, which the error that all pixels share comes from, is that of pixels without gaps.
        return spectral.state_of_charge(found, x, mask=mask, **more, **(fitted if bool((mask & whole).any()) else {}))

    maps: dict[str, xr.DataArray] = {"sample": sample}
    rows = _weight_rows(found, sample)
    tables: list[pd.DataFrame] = []
    labels = _particles(found, how, apart)
    if labels is not None:
        maps["particles"] = labels
    if x is not None:
        maps["lithiation"] = spectral.lithiation(found, x, minimum_thickness=how.minimum_thickness)
        maps["lithiation"] = maps["lithiation"].assign_attrs(long_name=how.label)
        maps["lithiation_sigma"] = spectral.lithiation_sigma(found, x, minimum_thickness=how.minimum_thickness)
        clear = sample & ~found["boundary"] & ~found["thick"]
        for name, mask in {"field": sample, CLEAR: clear}.items():
            if bool(mask.any()):
                tables.append(mean_of(x, mask, range=how.charged_discharged).assign(component=name))
    if len(names) > 1:
        maps["dominant"] = spectral.dominant_phase(found, minimum_thickness=how.minimum_thickness)
        mixing = spectral.disorder(found, mask=sample)
        maps["disorder"] = mixing["disorder"]
        rows += [
            {"component": "field", "quantity": f"disorder, {part}", "value": float(mixing[part]), "unit": "1"}
            for part in ("total", "mixing", "segregation", "segregation_index")
        ]
        tables.append(spectral.phase_boundary_length(found, mask=sample))
        for name in names:
            table = mean_of({other: float(other == name) for other in names}, sample)
            share = table[table["quantity"] == "lithiation"]
            tables.append(share.assign(component=name, quantity="phase fraction"))
    tables += _particle_tables(task, maps, found, apart)
    write_dataset(task, "maps.zarr", xr.Dataset(maps))
    fit = read_json(task.path("fit.json"))
    rows += [
        {"component": "field", "quantity": key.replace("_", " "), "value": value, "unit": "1", "n": int(sample.sum())}
        for key, value in fit.items()
    ]
    ledger = pd.concat([quantity_table(rows), *tables], ignore_index=True)
    write_table(task, "ledger.parquet", ledger)
    write_table(task, "ledger.csv", interval(ledger))


def _particles(found: xr.Dataset, how: Lithiation, apart: Particles) -> xr.DataArray | None:
    if not apart.separate:
        return None
    try:
        return spectral.particles(
            found["thickness"], minimum_thickness=how.minimum_thickness, minimum_um2=apart.minimum_area_um2
        )
    except InputError:
        # A field of dust has pixels with sample, but no particle of that area.
        return None


def _particle_tables(
    task: Task, maps: dict[str, xr.DataArray], found: xr.Dataset, apart: Particles
) -> list[pd.DataFrame]:
    empty = pd.DataFrame(columns=["component", "depth", "distance", "value", "sigma", "spread", "n"])
    if "particles" not in maps or "lithiation" not in maps:
        write_table(task, "rings.parquet", empty)
        return []
    given: dict[str, Any] = {"sigma": maps["lithiation_sigma"], "thickness": found["thickness"]}
    rings = spectral.core_to_rim(maps["particles"], maps["lithiation"], apart.rings, **given)
    write_table(task, "rings.parquet", rings)
    return [spectral.particle_table(maps["particles"], maps["lithiation"], **given)]


def _weight_rows(found: xr.Dataset, sample: xr.DataArray) -> list[dict[str, Any]]:
    """Mean weights over all pixels that were fitted, and how many of the sample carry which flag."""
    known = xr.apply_ufunc(np.isfinite, found["weight"]).all("component")
    count, held = int(known.sum()), int(sample.sum())
    unit = str(found["weight"].attrs.get("units", "1"))
    rows: list[dict[str, Any]] = []
    for name in found["component"].values:
        one = found.sel(component=name)
        spread = float(np.sqrt((one["weight_sigma"] ** 2).where(known).sum()) / max(count, 1))
        common = {"component": str(name), "unit": unit, "n": count}
        rows.append(
            {
                **common,
                "quantity": "mean weight",
                "value": float(one["weight"].where(known).mean()),
                "sigma": spread,
                "method": "not below zero; sigma: random errors of the pixels only",
            }
        )
        rows.append(
            {
                **common,
                "quantity": "mean weight without bound",
                "value": float(one["unconstrained"].where(known).mean()),
                "method": "the same fit without the bound at zero, which would bias a mean",
            }
        )
    for flag in _FLAGS:
        if flag in found:
            share = float((found[flag] & sample).sum()) / held
            rows.append({"component": "field", "quantity": f"flagged, {flag}", "value": share, "unit": "1", "n": held})
    ambiguous = float((found["ambiguity"].where(sample) > AMBIGUOUS).sum()) / held
    rows.append({"component": "field", "quantity": "ambiguous", "value": ambiguous, "unit": "1", "n": held})
    return rows
