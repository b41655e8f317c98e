"""The demo of recipe ``growth-rate``: simulated Raman images on disk, and the recipe that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from operando import io, samples
from operando.core.files import written_whole
from operando.pipeline.storage import dump_json


def write_demo(
    folder: str | Path,
    *,
    seed: int = 0,
    hidden: float = 0.5,
    shape: tuple[int, int] = (256, 256),
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Simulate the paper's three experiments and write their images, what the simulation knows, and the recipe.

    Parameters
    ----------
    folder : path
        Gets ``images/`` and ``growth-run.yaml``; images that are there already for the same seed are kept.
    seed : int
        Of the series and of everything random.
    hidden : float
        Strength of what no image shows, as in :func:`operando.samples.srs_series`.
    shape : (y, x)
        Pixels of an image.
    say : callable
        Told what happens.

    Returns
    -------
    Path
        The recipe.
    """
    root = Path(folder)
    made = {"recipe": "growth-rate", "seed": seed, "hidden": hidden, "shape": list(shape)}
    stamp = root / "images" / "made.yaml"
    if not stamp.exists() or yaml.safe_load(stamp.read_text()) != made:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        say(f"Simulating Raman images of a growing electrode: 16 + 5 + 5 of {shape[0]} x {shape[1]} pixels")
        _write(samples.srs_experiments(seed=seed, hidden=hidden, shape=shape), stamp.parent)
        stamp.write_text(yaml.safe_dump(made))
    known = yaml.safe_load((stamp.parent / "about.yaml").read_text())
    content: dict[str, Any] = {
        "recipe": "growth-rate",
        "title": "Demo: what drives the growth of a simulated lithium electrode",
        "output": "run",
        "seed": seed,
        "experiments": known["experiments"],
        "simulated": True,
        "salt": known["calibration"],
        # A laptop is to show all of it in a minute or two: fewer epochs and repeats than a study would take.
        "forecast": {"epochs": 60, "repeats": 2, "restarts": 2},
        "study": {"repeats": 1, "wider": [[32, 32]]},
        "sensitivity": {"trainings": 8, "samples": 128, "permutations": 3},
        "truth": "images/truth.json",
    }
    recipe = root / "growth-run.yaml"
    with written_whole(recipe) as path:
        path.write_text(
            "# Written by `operando demo --recipe growth-rate`.\n" + yaml.safe_dump(content, sort_keys=False)
        )
    return recipe


def _write(experiments: dict[str, xr.Dataset], folder: Path) -> None:
    listed = []
    for name, sample in experiments.items():
        file = f"{name.replace(' ', '-')}.zarr"
        io.save_image(sample["image"], folder / file, overwrite=True)
        listed.append(
            {"name": name, "images": f"images/{file}", "current_density": float(sample.attrs["current_density"])}
        )
    calibration = {key: float(value) for key, value in sample.attrs["calibration"].items()}
    (folder / "about.yaml").write_text(yaml.safe_dump({"experiments": listed, "calibration": calibration}))
    ceiling, sensitivities = samples.srs_ceiling(experiments), samples.srs_sensitivities(experiments)
    dump_json(
        folder / "truth.json",
        {"ceilings": ceiling.to_dict("records"), "sensitivities": sensitivities.to_dict("records")},
    )
