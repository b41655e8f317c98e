"""How far off a segmentation is: measured where nothing was trained, carried by the model to the next cell."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando import io, morphometry, segmentation
from operando.core.axes import voxel_volume
from operando.core.phases import PhaseScheme
from operando.morphometry.uncertainty import FLIP_SHARE, LITHIUM, SCATTER_VOXELS, SHIFT_VOXELS
from operando.pipeline.storage import dump_json, read_json

_FILE = "errors.json"


@dataclass(frozen=True)
class Errors:
    """What held-out annotations say of a segmentation, each None where nothing could be measured.

    ``interface`` is how far surfaces are off, in um; ``residuals`` how doubtful voxels err together, which only a
    segmentation with probabilities has.
    """

    interface: xr.Dataset | None = None
    residuals: xr.Dataset | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return {name: None if one is None else one.to_dict() for name, one in vars(self).items()}


def measured_errors(
    segmenter: segmentation.Segmenter,
    image: xr.DataArray,
    marks: xr.DataArray,
    phases: PhaseScheme,
    *,
    plating_side: str,
    rules: Mapping[str, Any],
    folder: Path,
) -> tuple[Errors, xr.Dataset]:
    """Errors and agreement on scans that the segmenter has not seen; their labels are kept in ``folder`` meanwhile."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".held-out.", suffix=".partial") as scratch:
        path = Path(scratch) / "held-out.zarr"
        labels = segmenter.predict(image)
        labels.attrs["plating_side"] = plating_side
        io.save_image(labels, path, labels=True)
        found = cleaned(io.open_image(path), phases, plating_side=plating_side, rules=rules)[0]
        interface = morphometry.interface_error(found, marks, phases)
        residuals = None
        if isinstance(segmenter, segmentation.NetworkSegmenter):
            probability = segmenter.predict_probability(image)
            residuals = morphometry.residual_correlation(
                probability, marks, phases, labels=found, plating_side=plating_side
            )
        return Errors(interface, residuals), segmentation.agreement(found, marks, phases)


def cleaned(
    labels: xr.DataArray, phases: PhaseScheme, *, plating_side: str, rules: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Labels after the rules of the recipe, and what was changed (None where no rule applies)."""
    if not rules["enabled"]:
        return labels, None
    return segmentation.clean(labels, phases, plating_side=plating_side, speck_voxels=rules["speck_voxels"])


def keep_errors(model: Path, errors: Errors, *, scans: list[int], edge_um: float) -> None:
    """Write them beside the weights, so that the model's next cell has intervals too."""
    dump_json(model / _FILE, {"scans": scans, "edge_um": edge_um, **errors.to_dict()})


def known_errors(model: str | Path | None, phases: PhaseScheme, *, edge_um: float) -> Errors:
    """What a model was found to be off by: by voxels, so that lengths grow with their edge and volumes with its cube.

    Nothing, where the model carries nothing or knows other phases.
    """
    if model is None or not (Path(model) / _FILE).exists():
        return Errors()
    plain = read_json(Path(model) / _FILE)
    scale = edge_um / plain["edge_um"]
    powers = {"systematic": 1, "random": 1, "correlation_volume": 3}
    return Errors(
        _scaled(plain["interface"], phases, scale, powers | {"shift": 1}),
        _scaled(plain["residuals"], phases, scale, powers),
    )


def _scaled(
    plain: dict[str, Any] | None, phases: PhaseScheme, scale: float, powers: Mapping[str, int]
) -> xr.Dataset | None:
    if plain is None:
        return None
    known = xr.Dataset.from_dict(plain)
    if not set(phases) <= set(known.coords["component"].values.tolist()):
        return None
    # Where nothing was measured JSON holds null, which is no number yet.
    return known.assign({name: one.astype(float) * scale ** powers.get(str(name), 0) for name, one in known.items()})


def stated_errors(labels: xr.DataArray, phases: PhaseScheme, shift_voxels: float) -> Errors:
    """The interface error a recipe states instead of measuring it: in voxel edges, for every component."""
    names = [*phases, LITHIUM]
    edge = edge_um(labels)
    ratio = SCATTER_VOXELS / SHIFT_VOXELS
    sizes = {"systematic": shift_voxels * edge, "random": ratio * shift_voxels * edge, "flips": FLIP_SHARE}
    return Errors(
        xr.Dataset(
            {name: ("component", np.full(len(names), size)) for name, size in sizes.items()},
            coords={"component": names},
        )
    )


def edge_um(image: xr.DataArray) -> float:
    """Edge in um of a cube with the volume of a voxel."""
    return voxel_volume(image, where="measure") ** (1 / 3)
