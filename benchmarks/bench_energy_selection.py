"""Which few photon energies: error of lithiation and weights against their number, at one total dose.

Stacks of `operando.samples.stxm_particle` with only the chosen energies, each image with 1/k of the photons, are
unmixed and compared with the truth: D-optimal choice (exchange and greedy alone), A-optimal, optimal for the
lithiation, as a person would choose, evenly spaced, and at random (20 draws: mean, best and worst). No drift, stray
light or dark counts; the probe blurs. --offset is a monochromator that is off by so many eV against the references.
The same for maps of that sample with real references, where these are found in --data (or OPERANDO_DATA): V K edge of
VO, V2O3, VO2, V2O5 (XAS Data Library) and Fe K edge of LiFePO4, FePO4 and hematite.

    python benchmarks/bench_energy_selection.py
    python benchmarks/bench_energy_selection.py --seeds 3000 --ks 4 8 --draws 5
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import io, samples, spectral

COLUMNS = ("d-optimal", "greedy", "a-optimal", "lithiation", "d-optimal+", "a-optimal+", "expert", "even", "all")
"""Ways to choose; + allows for an energy scale that is off by 0.05 eV (standard deviation)."""
KINDS = ("core-shell", "wavefront", "mosaic")
THICK_ENOUGH = 0.2
"""Pixels count from that share of the largest thickness up, and for x from that share of hosts: below, it is the ratio
of two small numbers."""


def choose(how: str, references: xr.DataArray, k: int, stoichiometry: Any, photons: Any, draw: int = 0) -> np.ndarray:
    noise = {"photons": photons, "energy_error": 0.05 if how.endswith("+") else 0.0}
    how = how.rstrip("+")
    if how in ("d-optimal", "a-optimal", "lithiation"):
        chosen = spectral.select_energies(references, k, criterion=how, stoichiometry=stoichiometry, **noise)
    elif how == "greedy":
        chosen = spectral.select_energies(references, k, method="greedy", **noise)
    elif how == "expert":
        chosen = spectral.expert_energies(references, k)
    else:
        energy = references["energy"].values
        if how == "even":
            return energy[np.linspace(0, energy.size - 1, k).round().astype(int)]
        if how == "all":
            return energy
        return np.sort(np.random.default_rng([k, draw]).choice(energy, k, replace=False))
    return chosen.values


def errors(made: xr.Dataset, stoichiometry: Any) -> tuple[float, float]:
    """Root mean square errors of the weights (share of the mean thickness) and of the lithiation."""
    density = spectral.optical_density(made["counts"], made["i0"])
    noise = spectral.PoissonNoise(made["i0"], made["i0_sigma"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random choices may leave references alike; their error shows it
        weight = spectral.unmix(density, made["references"], sigma=noise, level=None)["weight"]
    truth = made["weight"].transpose(*weight.dims)
    inside = made["thickness"] > THICK_ENOUGH * made["thickness"].max()
    off = (weight - truth).where(inside)
    weights = float(np.sqrt((off**2).mean())) / float(made["thickness"].where(inside).mean())
    x, wanted = spectral.lithiation(weight, stoichiometry), spectral.lithiation(truth, stoichiometry)
    if isinstance(stoichiometry, dict):
        hosts = [name for name, value in stoichiometry.items() if value is not None]
        inside = inside & (truth.sel(component=hosts).sum("component") > THICK_ENOUGH * truth.sum("component"))
    low, high = float(np.nanmin(wanted)), float(np.nanmax(wanted))
    # A pixel whose hosts all came out as zero has no x: it is counted as the middle of the range, not left out.
    lithium = (x.where(np.isfinite(x), (low + high) / 2) - wanted).where(inside)
    return weights, float(np.sqrt((lithium**2).mean()))


def particles(energies: np.ndarray, seed: int, photons: float, offset: float = 0.0) -> xr.Dataset:
    made = samples.stxm_particle(
        kind=KINDS[seed % 3],
        energies=energies + offset,
        seed=seed,
        missing_phase=False,
        thick_um=None,
        i0_counts=photons / energies.size,
        drift_px=0.0,
        stray=0.0,
        dark=0.0,
    )
    if offset:
        made = made.assign_coords(energy=energies)
        made["references"] = samples.stxm_references(energies=energies).drop_vars("stoichiometry")
    return made


def table(
    make: Any,
    references: xr.DataArray,
    stoichiometry: Any,
    seeds: Sequence[int],
    ks: Sequence[int],
    photons: float,
    draws: int,
) -> pd.DataFrame:
    rows = []
    ways = [name for name in COLUMNS if name != "all"]
    for k in [*ks, references.sizes["energy"]]:
        whole = k == references.sizes["energy"]
        for how in ("all",) if whole else (*ways, "random"):
            for draw in range(draws if how == "random" else 1):
                energies = choose(how, references, k, stoichiometry, photons, draw)
                found = [errors(make(energies, seed, photons), stoichiometry) for seed in seeds]
                weights, lithium = np.sqrt(np.mean(np.square(found), axis=0))
                rows.append({"k": k, "choice": how, "draw": draw, "weight": weights, "x": lithium})
    return pd.DataFrame(rows)


def show(found: pd.DataFrame, title: str) -> None:
    print(f"\n{title}")
    fixed = found[found.choice != "random"].pivot_table(index="k", columns="choice", values=["weight", "x"])
    drawn = found[found.choice == "random"].groupby("k")[["weight", "x"]].agg(["mean", "min", "max"])
    for quantity, label in (("weight", "RMSE of weights / mean thickness"), ("x", "RMSE of the lithiation x")):
        print(f"  {label}")
        print("      k " + "".join(f"{name:>11}" for name in COLUMNS) + "   random mean (best - worst)")
        for k in fixed.index:
            cells = "".join(f"{fixed[quantity].loc[k].get(name, np.nan):11.4f}" for name in COLUMNS)
            tail = ""
            if k in drawn.index:
                mean, low, high = drawn.loc[k, quantity]
                tail = f"   {mean:.4f} ({low:.4f} - {high:.4f})"
            print(f"    {k:3d} {cells.replace('nan', '  -')}{tail}")


def vanadium(folder: Path) -> xr.DataArray:
    """Edge-step normalized V K-edge spectra on the energies of V2O5 near the edge."""
    names = ("VO", "V2O3", "VO2", "V2O5")
    spectra = {
        name: io.open_spectra(folder / "xas-data-library-refs" / "V" / f"{name}.xdi").squeeze(drop=True)
        for name in names
    }
    energy = spectra["V2O5"]["energy"].values
    ranges = {"pre_edge": (5370, 5450), "post_edge": (5550, 5790), "kind": "linear"}
    steps = {name: spectral.normalize_edge_step(each, **ranges)["normalized"] for name, each in spectra.items()}
    return spectral.match_energies(steps, energy[(energy > 5440) & (energy < 5560)]).clip(min=0)


def iron(folder: Path) -> xr.DataArray:
    spectra = io.open_spectra(folder / "hxn-nanoxanes-fe-lfp" / "FeLibNov2021.nor")
    wanted = spectra.sel(component=["Fe(III)PO4", "LiFe(II)PO4", "Hematite_NP"])
    return wanted.clip(min=0)


def real(references: xr.DataArray, total: float) -> Any:
    """Maps of the synthetic particles, as phases of real spectra; ``total`` is the largest optical density."""

    def make(energies: np.ndarray, seed: int, photons: float) -> xr.Dataset:
        maps = samples.stxm_particle(
            kind=KINDS[seed % 3],
            energies=[510.0],
            seed=seed,
            missing_phase=False,
            thick_um=None,
            drift_px=0.0,
            phases=("alpha", "epsilon", "delta", "gamma")[: references.sizes["component"]],
        )["weight"]
        maps = maps.assign_coords(component=references["component"].values)
        maps = maps * (total / float(references.mean("component").max()) / float(maps.sum("component").max()))
        chosen = spectral.match_energies(references, energies)
        return samples.stxm_from_maps(
            maps.assign_attrs(units="1"),
            chosen,
            seed=seed,
            i0_counts=photons / energies.size,
            drift_px=0.0,
            stray=0.0,
            dark=0.0,
        )

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3000, 3001, 3002])
    parser.add_argument("--ks", type=int, nargs="+", default=[4, 5, 6, 8, 10, 12, 15, 20])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--photons", type=float, default=100_000.0, help="per pixel, all images together")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OPERANDO_DATA", "../shared/data")))
    parser.add_argument("--offset", type=float, default=0.0, help="eV by which the synthetic stack is off")
    parser.add_argument("--only", choices=["synthetic", "V", "Fe"])
    arguments = parser.parse_args()
    seeds, ks, photons, draws = arguments.seeds, arguments.ks, arguments.photons, arguments.draws
    begin = time.perf_counter()
    if arguments.only in (None, "synthetic"):
        references = samples.stxm_references()
        x = references["stoichiometry"]
        make = partial(particles, offset=arguments.offset)
        found = table(make, references, x, seeds, ks, photons, draws)
        show(
            found,
            f"synthetic V2O5 phases (4), {photons:g} photons per pixel, seeds {seeds}, off by {arguments.offset:g} eV",
        )
        predicted = spectral.error_against_k(
            references,
            ks,
            stoichiometry=x,
            criterion="lithiation",
            choices=["optimal", "expert", "even"],
            photons=photons,
        )
        print("  predicted error of x, unconstrained, at an optical density of 1 (criterion: lithiation)")
        wide = predicted[predicted.quantity == "lithiation"].pivot_table(index="k", columns="choice", values="sigma")
        print(wide.round(4).to_string())
        for k in (5, 8):
            for how in ("d-optimal", "lithiation", "expert"):
                print(f"  k = {k}, {how}: {choose(how, references, k, x, photons).tolist()}")
    for name, load, x in (
        ("V", vanadium, {"VO": 2.0, "V2O3": 3.0, "VO2": 4.0, "V2O5": 5.0}),
        ("Fe", iron, {"Fe(III)PO4": 0.0, "LiFe(II)PO4": 1.0, "Hematite_NP": None}),
    ):
        if arguments.only not in (None, name):
            continue
        if not arguments.data.is_dir():
            print(f"\n{name}: no data in {arguments.data}")
            continue
        references = load(arguments.data)
        usable = [k for k in (3, *ks) if references.sizes["component"] <= k]
        found = table(real(references, 1.0), references, x, seeds, usable, photons, draws)
        names = ", ".join(map(str, references["component"].values))
        show(found, f"real {name} K edge ({names}), {references.sizes['energy']} candidates, seeds {seeds}")
        for k in usable[1:3]:
            for how in ("d-optimal", "lithiation", "expert"):
                print(f"  k = {k}, {how}: {choose(how, references, k, x, photons).round(2).tolist()}")
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
