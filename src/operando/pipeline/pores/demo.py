"""The demo of recipe ``pores``: a synthetic Li | ceramic | Li cell on disk, and the recipe that analyzes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from operando import samples
from operando.core.errors import InputError
from operando.core.files import written_whole
from operando.core.phases import CERAMIC_CELL, UNLABELED
from operando.pipeline.demo import Simulated, write_cell

_CORRECTED = 3  # every how many slices of the training electrode somebody has corrected
_TRAINED = 2  # strip 1, which shows more pores than lithium as it was made
_STEPS = 300
_PERMUTATIONS = 199


def write_demo(
    folder: str | Path,
    *,
    scans: int = 5,
    seed: int = 0,
    shape: tuple[int, int, int] = (128, 144, 144),
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Simulate a cell and write its images, cycler record, corrections, truth and recipe.

    Parameters
    ----------
    folder : path
        Gets ``cell/`` and ``cell-run.yaml``; a cell that is there already for the same scans and seed is kept.
    scans : int
        Pristine, plate 1, strip 1, ...: at least 3.
    seed : int
        Of the cell and the training.
    shape : (z, y, x)
        Voxels of a scan.
    say : callable
        Told what happens.

    Returns
    -------
    Path
        The recipe.
    """
    if scans < 3:
        raise InputError(f"demo: a cycle needs at least 3 scans (pristine, plate, strip), got {scans}. Ask for more.")
    root = Path(folder)
    made = {"recipe": "pores", "scans": scans, "seed": seed, "shape": list(shape)}

    def simulate() -> Simulated:
        say(f"Simulating a Li | ceramic | Li cell: {scans} scans, and the current that its microstructure lets pass")
        sample = samples.ceramic_cell(shape, steps=scans, seed=seed)
        images = {"image": sample.image, "truth-current": sample.current_density.astype(np.float32)}
        return Simulated(sample, images, {"corrections": corrections(sample), "truth": sample.labels}, CERAMIC_CELL)

    write_cell(root / "cell", made, simulate)
    recipe = root / "cell-run.yaml"
    content: dict[str, Any] = {
        "recipe": "pores",
        "title": "Demo: pores and current in a simulated Li | ceramic | Li cell",
        "output": "run",
        "seed": seed,
        "inputs": {"images": "cell/image.zarr", "cycler": "cell/cycler.csv", "simulated": True},
        "segment": {"corrections": "cell/corrections.zarr", "scan": _TRAINED, "steps": _STEPS},
        "explain": {"permutations": _PERMUTATIONS},
        "truth": "cell/truth.zarr",
        "truth_current": "cell/truth-current.zarr",
    }
    with written_whole(recipe) as path:
        path.write_text("# Written by `operando demo --recipe pores`.\n" + yaml.safe_dump(content, sort_keys=False))
    return recipe


def corrections(sample: xr.Dataset) -> xr.DataArray:
    """What a person would have corrected: the low electrode after stripping, in one of three slices normal to y."""
    truth = sample.labels
    low = truth["z"] < float(sample.boundaries_um.sel(boundary=["low interface", "high interface"]).mean())
    seen = xr.DataArray(np.arange(truth.sizes["y"]) % _CORRECTED == 0, dims="y")
    chosen = xr.DataArray(np.arange(truth.sizes["t"]) == _TRAINED, dims="t")
    lithium = truth.isin([CERAMIC_CELL["electrode"], CERAMIC_CELL["pore"]])
    kept = seen & low & chosen & lithium
    return truth.where(kept, UNLABELED).astype(np.uint8).transpose(*truth.dims).assign_attrs(truth.attrs)
