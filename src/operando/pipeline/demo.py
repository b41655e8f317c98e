"""The demo: a synthetic operando cell on disk, and the recipe that takes it through the whole job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from operando import io, samples, segmentation
from operando.core.errors import InputError
from operando.core.files import written_whole
from operando.core.phases import CELL, PhaseScheme

_SHAPE = (96, 128, 128)
_VOXEL_UM = 1.33
_SLICES = 3  # annotated cross-sections per scan and direction


def write_demo(
    folder: str | Path, *, scans: int = 9, seed: int = 0, say: Callable[[str], None] = lambda text: None
) -> Path:
    """Simulate a cell and write its images, cycler record, sparse annotations, truth and recipe.

    Parameters
    ----------
    folder : path
        Gets ``cell/`` and ``cell-run.yaml``; a cell that is there already for the same scans and seed is kept.
    scans : int
        Scans of one cycle, at least 4.
    seed : int
        Of the cell and the training.
    say : callable
        Told what happens.

    Returns
    -------
    Path
        The recipe.
    """
    if scans < 4:
        raise InputError(f"demo: a cycle needs at least 4 scans, got {scans}. Ask for more.")
    root = Path(folder)
    made = {"scans": scans, "seed": seed, "shape": list(_SHAPE), "slices": _SLICES}

    def simulate() -> Simulated:
        say(f"Simulating a Li | polymer | Li cell: {scans} scans of {' x '.join(map(str, _SHAPE))} voxels")
        sample = samples.symmetric_cell(_SHAPE, scans=scans, seed=seed, voxel_size_um=_VOXEL_UM)
        annotated = annotated_scans(scans)
        rng = np.random.default_rng(seed)
        marks = None
        for axis in ("y", "x"):
            edges = np.linspace(0, sample.sizes[axis], _SLICES + 1)
            places = [int(rng.integers(low, high)) for low, high in pairwise(edges)]
            drawn = segmentation.label_slices(sample.labels, scans=annotated, slices=places, axis=axis)
            marks = drawn if marks is None else marks.where(marks != 255, drawn)
        assert marks is not None
        return Simulated(sample, {"image": sample.image}, {"annotations": marks, "truth": sample.labels}, CELL)

    write_cell(root / "cell", made, simulate)
    recipe = root / "cell-run.yaml"
    content = {
        "recipe": "cell-ct",
        "title": "Demo: a simulated Li | polymer | Li cell over one cycle",
        "output": "run",
        "seed": seed,
        "inputs": {"images": "cell/image.zarr", "cycler": "cell/cycler.csv", "simulated": True},
        # The current is that of the whole simulated field; registered scans show a little less of it.
        "cell": {"active_area_cm2": round(_SHAPE[1] * _SHAPE[2] * _VOXEL_UM**2 * 1e-8, 12)},
        "registration": {"method": "rigid"},
        # The simulation labels the cell, which stands still in the frame of the first scan.
        "segment": {"annotations": "cell/annotations.zarr", "annotations_frame": "reference"},
        "truth": "cell/truth.zarr",
        "truth_frame": "reference",
    }
    with written_whole(recipe) as path:
        path.write_text("# Written by `operando demo`.\n" + yaml.safe_dump(content, sort_keys=False))
    return recipe


@dataclass(frozen=True)
class Simulated:
    """A simulated experiment and what of it is written: images and, in these phases, label images by name."""

    sample: xr.Dataset
    images: dict[str, xr.DataArray]
    labels: dict[str, xr.DataArray]
    phases: PhaseScheme


def write_cell(cell: Path, made: dict[str, Any], simulate: Callable[[], Simulated]) -> None:
    """Write a simulated cell and its cycler's record, unless just this one is there already."""
    stamp = cell / "made.yaml"
    if stamp.exists() and yaml.safe_load(stamp.read_text()) == made:
        return
    stamp.unlink(missing_ok=True)
    simulated = simulate()
    for name, array in {**simulated.images, **simulated.labels}.items():
        labels = name in simulated.labels
        plain = array.drop_vars("step", errors="ignore")
        plain.attrs = {key: value for key, value in array.attrs.items() if value is not None}
        if labels:
            plain.attrs["phases"] = simulated.phases
        io.save_image(plain, cell / f"{name}.zarr", overwrite=True, labels=labels)
    record = pd.DataFrame(
        {
            "time/h": simulated.sample.current_t.values,
            "current/mA": simulated.sample.current_ma.values,
            "voltage/V": simulated.sample.voltage_v.values,
        }
    )
    with written_whole(cell / "cycler.csv") as path:
        record.to_csv(path, index=False)
    stamp.write_text(yaml.safe_dump(made))


def annotated_scans(scans: int) -> list[int]:
    """Scans that get annotations: pristine, first of the discharge, last, and half of the others; the rest judges.

    Examples
    --------
    >>> annotated_scans(9)
    [0, 2, 4, 5, 7, 8]
    """
    states = {0, scans // 2 + 1, scans - 1}
    between = [scan for scan in range(scans) if scan not in states]
    return sorted(states | set(between[1::2]))
