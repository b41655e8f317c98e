"""Where lithium ends, and what of it is pore: boundaries from profiles, edges, network, thresholds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import learn, morphometry, segmentation
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL, UNLABELED, PhaseScheme
from operando.pipeline.pores.settings import Segment
from operando.pipeline.scans.images import labels_on_grid
from operando.pipeline.step import Task
from operando.pipeline.storage import read_image, read_json, write_image, write_json, write_table

ELECTRODES = ("low", "high")
LITHIUM = PhaseScheme({name: CERAMIC_CELL[name] for name in ("electrode", "pore")})
"""What is told apart within an electrode."""
_LEARNING_RATES = {"dixit2020": 2e-3, "small": 4e-3}  # docs/pore-segmentation.md
_PLACE = ("electrode", "z_start")  # of a slab in its cell
_FEWEST_KNOWN = 0.75  # share of the columns in which a boundary must be found
_MOST_UNEVEN = 0.1  # median deviation of the thickness of the ceramic, over that thickness


def find_boundaries(task: Task) -> None:
    """Height of the four boundaries of every scan, from gray profiles along z."""
    image = read_image(task, task.step.inputs[0])
    found = morphometry.boundaries_from_profiles(
        image, smooth_um=task.parameters["smooth_um"], rigid_ceramic=task.parameters["rigid_ceramic"]
    )
    _check_layers(found)
    sigma = found.coords["sigma"]
    levels = json.loads(found.attrs.pop("levels"))
    write_image(task, "boundaries.zarr", found.drop_vars("sigma"), labels=False)
    write_json(
        task,
        "boundaries.json",
        {
            "levels": levels,
            "rigid_ceramic": bool(found.attrs["rigid_ceramic"]),
            "sigma_um": sigma.transpose("t", "component").values,
            "component": sigma["component"].values,
            "known": found.count(("t", "y", "x")).values / (found.size // found.sizes["component"]),
        },
    )


def _check_layers(boundaries: xr.DataArray) -> None:
    """Raise unless the scans show the five layers of a cell: five levels of gray are found in any image."""
    whole = "Let z run through the whole cell, from collector to collector: inputs.electrode_normal, inputs.region."
    known = boundaries.count(("y", "x")) / (boundaries.sizes["y"] * boundaries.sizes["x"])
    worst = known.argmin(("t", "component"))
    if float(known.min()) < _FEWEST_KNOWN:
        name, scan = str(known["component"].values[worst["component"]]), int(worst["t"])
        raise InputError(
            f"inputs.images: the {name} must be seen in at least {_FEWEST_KNOWN:.0%} of the columns, got "
            f"{float(known.min()):.0%} in scan {scan}. {whole}"
        )
    ceramic = boundaries.sel(component="high interface") - boundaries.sel(component="low interface")
    for scan, values in enumerate(ceramic.values):
        middle = float(np.nanmedian(values))
        spread = float(np.nanmedian(np.abs(values - middle)))
        if not spread < _MOST_UNEVEN * middle:
            raise InputError(
                f"inputs.images: no layers were found in scan {scan}: from column to column the ceramic is "
                f"{middle:.3g} +- {spread:.3g} um thick. {whole}"
            )


def boundaries_of(task: Task) -> xr.DataArray:
    """The boundaries with their sigma."""
    boundaries = read_image(task, "boundaries.zarr").load()
    known = read_json(task.path("boundaries.json"))
    sigma = np.array(known["sigma_um"], dtype=float)
    return boundaries.assign_coords(sigma=(("t", "component"), sigma)).assign_attrs(
        rigid_ceramic=known["rigid_ceramic"]
    )


def train(task: Task) -> None:
    """Train on slices of one electrode and step: edges, corrected where somebody did."""
    settings = Segment(**task.parameters["segment"])
    scan, side, seed = settings.scan, settings.electrode, task.parameters["seed"]
    image = read_image(task, task.step.inputs[0]).isel(t=[scan])
    boundaries = boundaries_of(task).isel(t=[scan])
    slab = segmentation.lithium_slab(image, boundaries, electrode=side)
    edges = segmentation.edge_labels(slab, phases=CERAMIC_CELL).compute()
    labels, told = edges, np.zeros(edges.shape, dtype=bool)
    if settings.corrections is not None:
        marks = labels_on_grid(task, settings.corrections, key="segment.corrections").isel(t=[scan])
        marks = segmentation.lithium_slab(marks, boundaries, electrode=side, labels=True).compute()
        # Collector and ceramic are not told apart here: where somebody drew them, nothing is learned.
        other = ~marks.isin([UNLABELED, *LITHIUM.ids])
        told = np.asarray(marks != UNLABELED)
        labels = segmentation.corrected(edges, marks.where(~other, UNLABELED)).where(~other, UNLABELED)
        labels = labels.astype(np.uint8).compute()
        if not told.any():
            task.say(f"no voxel of the {side} electrode in scan {scan} is corrected: the network learns bare edges")
        else:
            labels = _corrected_sections(labels, told)
    training, validation, axis = _slices(labels, settings, seed=seed)
    network = segmentation.NetworkSegmenter(
        LITHIUM,
        network=settings.network,
        planes="zx" if axis == "y" else "zy",
        training=learn.TrainingSettings(steps=settings.steps, learning_rate=_LEARNING_RATES[settings.network]),
        windows=max(settings.training_slices, 1),
        block=(settings.block,) * 3,
        seed=seed,
        progress=lambda done, total, loss: task.progress(done, total, f"loss {loss:.3f}"),
    ).fit(slab, training, validation=validation)
    with task.writing("model") as path:
        network.save(path)
    write_image(task, "training.zarr", training.assign_attrs(phases=CERAMIC_CELL), labels=True)
    count = {
        name: int((marks != UNLABELED).any([d for d in marks.dims if d != axis]).sum())
        for name, marks in (("training", training), ("validation", validation))
    }
    residuals = morphometry.residual_correlation(network.predict_probability(slab), validation, LITHIUM)
    known = told & np.asarray(labels != UNLABELED)
    write_json(
        task,
        "training.json",
        {
            "history": network.history_,
            "metrics": network.metrics_,
            "card": network.card_,
            "residuals": residuals.to_dict(),
            "slices": count,
            "axis": axis,
            "corrected_voxels": int(known.sum()),
            "edges": _agreement(edges.values[known], labels.values[known]) if known.any() else None,
        },
    )


def _corrected_sections(labels: xr.DataArray, told: np.ndarray) -> xr.DataArray:
    """Labels in the cross-sections that somebody looked at; the others keep no label, for edges alone mislead."""
    lithium = np.asarray(labels != UNLABELED)
    kept = np.zeros(labels.shape, dtype=bool)
    for axis in (labels.get_axis_num("y"), labels.get_axis_num("x")):
        rest = tuple(n for n in range(labels.ndim) if n != axis)
        share = told.sum(rest) / np.maximum(lithium.sum(rest), 1)
        shape = [1] * labels.ndim
        shape[axis] = -1
        kept |= (share > 0.5).reshape(shape)
    return labels.where(kept if kept.any() else told, UNLABELED).astype(np.uint8)


def _slices(labels: xr.DataArray, settings: Segment, *, seed: int) -> tuple[xr.DataArray, xr.DataArray, str]:
    """Training and validation slices, of the number asked for or, where there are fewer, in the same proportion."""
    counts = {dim: int((labels != UNLABELED).any([d for d in labels.dims if d != dim]).sum()) for dim in ("y", "x")}
    # Sections that somebody corrected are normal to the axis along which the fewest are labeled.
    axis = min(counts, key=lambda dim: (counts[dim] / labels.sizes[dim], -labels.sizes[dim]))
    labeled = counts[axis]
    asked = settings.training_slices + settings.validation_slices
    gap = min(8, labels.sizes[axis] // 16)
    room = min(asked, labeled - gap)
    validation = max(1, round(room * settings.validation_slices / asked))
    train_, validation_ = segmentation.slice_split(
        labels, train=max(1, room - validation), validation=validation, axis=axis, gap=gap, seed=seed
    )
    return train_, validation_, axis


def segment(task: Task) -> None:
    """Pores in both electrodes and all steps by the network, and by Otsu's threshold beside it."""
    settings = Segment(**task.parameters["segment"])
    image, boundaries = read_image(task, task.step.inputs[0]), boundaries_of(task)
    rest = _around(image, boundaries, read_json(task.path("boundaries.json"))["levels"])
    slabs = {side: segmentation.lithium_slab(image, boundaries, electrode=side) for side in ELECTRODES}
    otsu = [_otsu(slab, seed=task.parameters["seed"]) for slab in slabs.values()]
    write_image(task, "otsu.zarr", segmentation.slabs_to_cell(otsu, rest), labels=True)
    if settings.method == "otsu":
        found = otsu
    else:
        path = settings.model or task.path("model")
        network = segmentation.NetworkSegmenter.load(path, block=(settings.block,) * 3)
        found = []
        chances = []
        for slab in slabs.values():
            place = {name: slab.coords[name] for name in _PLACE}
            found.append(network.predict(slab).assign_coords(place))
            chances.append(network.predict_probability(slab).sel(phase="pore", drop=True).assign_coords(place))
        nowhere = xr.full_like(rest, np.nan, dtype=np.float32).drop_attrs()
        write_image(task, "probability.zarr", segmentation.slabs_to_cell(chances, nowhere), labels=False)
    labels = segmentation.slabs_to_cell(found, rest)
    write_image(task, "labels.zarr", labels.assign_attrs(phases=CERAMIC_CELL), labels=True)


def _otsu(slab: xr.DataArray, *, seed: int) -> xr.DataArray:
    """The darker of two classes of gray, with a threshold of its own in every scan."""
    dark, bright = 0, LITHIUM["electrode"]
    scans = []
    for scan in range(slab.sizes["t"]):
        one = slab.isel(t=[scan])
        found = segmentation.Otsu({"dark": dark, "bright": bright}, seed=seed).fit(one).predict(one)
        scans.append(found.where(found != dark, LITHIUM["pore"]).astype(np.uint8))
    labels = xr.concat(scans, dim="t", join="override").transpose(*slab.dims)
    return labels.assign_coords({name: slab.coords[name] for name in _PLACE})


def _around(image: xr.DataArray, boundaries: xr.DataArray, levels: Any) -> xr.DataArray:
    """Collector, lithium without pores, ceramic, and what is transparent in it: below halfway to lithium."""
    chunks = dict(zip(image.dims, image.chunks, strict=True)) if image.chunks is not None else {}
    planes = {
        str(name): boundaries.sel(component=name, drop=True)
        .drop_vars("sigma", errors="ignore")
        .drop_vars(["t", "y", "x"], errors="ignore")
        .chunk({dim: chunks[dim] for dim in ("t", "y", "x") if dim in chunks})
        for name in boundaries["component"].values
    }
    z = image["z"]
    half = xr.DataArray(np.array([_half_level(levels, scan) for scan in range(image.sizes["t"])]), dims="t")
    bare = image.drop_vars("t", errors="ignore")
    labels = xr.full_like(bare, CERAMIC_CELL["electrolyte"], dtype=np.uint8)
    labels = labels.where(bare >= half, CERAMIC_CELL["electrolyte_pore"])
    lithium = ((z >= planes["low collector"]) & (z < planes["low interface"])) | (
        (z >= planes["high interface"]) & (z < planes["high collector"])
    )
    labels = labels.where(~lithium, CERAMIC_CELL["electrode"])
    outside = (z < planes["low collector"]) | (z >= planes["high collector"])
    labels = labels.where(~outside, CERAMIC_CELL["collector"])
    for name in planes:
        labels = labels.where(np.isfinite(planes[name]), UNLABELED)
    labels = labels.astype(np.uint8).transpose(*image.dims).assign_coords(image.coords)
    kept = {key: image.attrs[key] for key in ("plating_side", "simulated") if key in image.attrs}
    return labels.assign_attrs(kept, phases=CERAMIC_CELL)


def _half_level(levels: Any, scan: int) -> float:
    """Halfway between the gray of lithium, of both electrodes, and that of the ceramic between them."""
    _, low, ceramic, high, _ = map(float, levels[scan])
    return (ceramic + (low + high) / 2) / 2


def judge(task: Task) -> None:
    """How sure the network is in both electrodes and all steps, and where a truth is known how well it does."""
    labels, boundaries = read_image(task, "labels.zarr"), boundaries_of(task)
    otsu, settings = read_image(task, "otsu.zarr"), Segment(**task.parameters["segment"])
    chance = read_image(task, "probability.zarr") if "probability.zarr" in task.step.inputs else None
    truth = None
    if task.parameters["truth"] is not None:
        truth = labels_on_grid(task, task.parameters["truth"], key="truth").assign_coords(labels.coords)
    rows = []
    for scan in range(labels.sizes["t"]):
        for side in ELECTRODES:
            row: dict[str, Any] = {"scan": scan, "electrode": side}
            row["trained on"] = chance is not None and scan == settings.scan and side == settings.electrode
            planes = _planes(labels, boundaries, side)
            if chance is not None:
                own = chance.isel(t=scan, z=planes)
                row["confident"] = float(segmentation.confident_fraction(own.where(own > 0.5, 1 - own)))
            if truth is not None:
                told = truth.isel(t=scan, z=planes).values
                for name, found in (("network", labels), ("Otsu", otsu)):
                    if name == "Otsu" or chance is not None:
                        scores = _agreement(found.isel(t=scan, z=planes).values, told)
                        row |= {f"{name}: {key}": value for key, value in scores.items()}
            rows.append(row)
    write_table(task, "agreement.parquet", pd.DataFrame(rows))


def _planes(labels: xr.DataArray, boundaries: xr.DataArray, side: str) -> slice:
    """Planes that hold an electrode in any scan."""
    ends = boundaries.sel(component=[f"{side} collector", f"{side} interface"])
    z = labels["z"].values
    return slice(int(np.searchsorted(z, float(ends.min()))), int(np.searchsorted(z, float(ends.max()))))


def _agreement(found: np.ndarray, told: np.ndarray) -> dict[str, float]:
    """Intersection over union of the pores in lithium, and how much of them was found, over how much there is."""
    known = np.isin(told, LITHIUM.ids)
    one, other = (found == LITHIUM["pore"]) & known, told == LITHIUM["pore"]
    both, either = np.count_nonzero(one & other), np.count_nonzero(one | other)
    nan = float("nan")
    return {
        "pore IoU": both / either if either else nan,
        "pores found / true": np.count_nonzero(one) / np.count_nonzero(other) if other.any() else nan,
    }
