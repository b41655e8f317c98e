"""The demo of recipe ``stxm``: a synthetic stack of lithiated particles on disk, and the recipe that maps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from operando import io, samples
from operando.core.files import written_whole


def write_demo(
    folder: str | Path,
    *,
    seed: int = 0,
    shape: tuple[int, int] = (128, 128),
    kind: str = "core-shell",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Simulate a stack and write it as NXstxm, with I0, reference spectra, truth and recipe.

    Parameters
    ----------
    folder : path
        Gets ``stack/`` and ``stxm-run.yaml``; a stack that is there already for the same seed is kept.
    seed : int
        Of the particles.
    shape : (y, x)
        Pixels.
    kind : str
        As in :func:`operando.samples.stxm_particle`.
    say : callable
        Told what happens.

    Returns
    -------
    Path
        The recipe.
    """
    root = Path(folder)
    made = {"recipe": "stxm", "seed": seed, "shape": list(shape), "kind": kind}
    stamp = root / "stack" / "made.yaml"
    if not stamp.exists() or yaml.safe_load(stamp.read_text()) != made:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        say(f"Simulating V2O5 particles in several lithiated phases: {shape[0]} x {shape[1]} pixels")
        _write(samples.stxm_particle(shape, kind=kind, seed=seed), stamp.parent)
        stamp.write_text(yaml.safe_dump(made))
    known = yaml.safe_load((stamp.parent / "about.yaml").read_text())
    content: dict[str, Any] = {
        "recipe": "stxm",
        "title": "Demo: lithiated phases in simulated V2O5 particles",
        "output": "run",
        "seed": seed,
        "inputs": {"stack": "stack/stack.nxs", "i0": {"file": "stack/i0.csv"}, "simulated": True},
        "references": [
            {"file": "stack/references.csv", "column": name, "x": x} for name, x in known["references"].items()
        ],
        "detector": known["detector"],
        "unmix": {"partial_volume": True},
        "lithiation": {"label": "x in Li_x V2O5", "minimum_thickness": 0.03, "charged_discharged": [0, 2]},
        "truth": "stack/truth.zarr",
    }
    recipe = root / "stxm-run.yaml"
    with written_whole(recipe) as path:
        path.write_text("# Written by `operando demo --recipe stxm`.\n" + yaml.safe_dump(content, sort_keys=False))
    return recipe


def _write(sample: xr.Dataset, folder: Path) -> None:
    known = sample["references"].isel(component=sample["has_reference"].values)
    io.save_image(sample["counts"], folder / "stack.nxs", overwrite=True)
    io.save_spectra(sample["i0"].expand_dims(component=["i0"]), folder / "i0.csv", overwrite=True)
    io.save_spectra(known, folder / "references.csv", overwrite=True)
    io.save_image(sample["weight"], folder / "truth.zarr", overwrite=True)
    x = sample["stoichiometry"].sel(component=known["component"])
    about = {
        "references": {str(name): float(value) for name, value in zip(x["component"].values, x.values, strict=True)},
        "detector": {
            "dark": float(sample.attrs["dark"]),
            "dead_time_us": float(sample.attrs["dead_time_us"]),
            "dwell_ms": float(sample.attrs["dwell_ms"]),
            "stray_fraction": float(sample.attrs["stray"]),
            # The probe and the square of the pixel, whose standard deviation is its edge over the root of twelve.
            "probe_px": round(float(np.hypot(sample.attrs["blur_px"], 12**-0.5)), 3),
        },
    }
    (folder / "about.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
