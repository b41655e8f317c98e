"""The steps of recipe ``cylindrical-cell``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando import io, learn, morphometry, segmentation
from operando.core.axes import calibrate, require_dims, spacing, voxel_volume
from operando.core.errors import InputError
from operando.core.phases import UNLABELED
from operando.core.quantities import interval, quantity_table
from operando.pipeline.cylindrical_cell.page import make_report
from operando.pipeline.cylindrical_cell.settings import PHASES, CylindricalCell, Mask, Training, Volume
from operando.pipeline.settings import Faults
from operando.pipeline.step import Step, Task, derived_seed
from operando.pipeline.storage import (
    read_image,
    read_json,
    read_table,
    write_dataset,
    write_image,
    write_json,
    write_table,
)

_SECONDS_PER_TRAINING_STEP = 0.12  # on two cores; docs/benchmarks.md
_VOXELS_PER_SECOND = 1e6
_BASE_BYTES = 500_000_000
_NETWORK = learn.NetworkDesign(channels=(16, 32, 64, 128), strides=(2, 2, 2), patch=(96, 96))
_OTSU_CLASSES = 3  # background, layers, and the can, which is denser than both
_SPECK_VOXELS = 1.5  # thinnest passage that counts on a test image, whose voxel size nobody needs to know


def open_plane(path: str, *, key: str) -> xr.DataArray:
    """One image (y, x)."""
    image = io.open_image(path)
    if "z" in image.dims and image.sizes["z"] == 1:
        image = image.isel(z=0, drop=True)
    require_dims(image, ("y", "x"), where=f"{key}: {path}")
    return image


def open_mask(path: str, like: xr.DataArray, *, key: str) -> xr.DataArray:
    """A mask on the grid of its image as labels: 1 where it is not 0."""
    mask = open_plane(path, key=key)
    if mask.shape != like.shape:
        raise InputError(f"{key}: {path} must have the shape of its image {like.shape}, got {mask.shape}. Crop it.")
    return (mask != 0).astype(np.uint8).assign_coords(like.coords).assign_attrs(phases=PHASES)


def open_volume(volume: Volume) -> xr.DataArray:
    """The slices to measure, calibrated."""
    image = io.open_image(volume.image, voxel_size_um=volume.voxel_size_um)
    require_dims(image, ("z", "y", "x"), where=f"volume.image: {volume.image}")
    spacing(image, where="volume.voxel_size_um")
    if volume.slices is not None:
        first, last = volume.slices
        if not 0 <= first < last <= image.sizes["z"]:
            raise InputError(
                f"volume.slices: must be first < last within 0 to {image.sizes['z']}, got {list(volume.slices)}. "
                "Correct it."
            )
        image = image.isel(z=slice(first, last))
    return image


def annotated(training: Training, image: xr.DataArray, *, seed: int) -> xr.DataArray:
    """The strokes the network learns from."""
    if training.strokes is not None:
        strokes = training.strokes
        mask = open_mask(strokes.mask, image, key="training.strokes.mask")
        return segmentation.draw_strokes(
            mask.compute(),
            strokes_per_phase=strokes.per_phase,
            length=strokes.length,
            width=strokes.width,
            seed=seed,
        )
    assert training.annotations is not None
    marks = open_plane(training.annotations, key="training.annotations")
    if marks.shape != image.shape or marks.dtype != np.uint8:
        raise InputError(
            f"training.annotations: {training.annotations} must be uint8 of the shape {image.shape}, got {marks.dtype} "
            f"of {marks.shape}. Export it on the same grid; unlabeled voxels are 255."
        )
    return marks.assign_coords(image.coords)


def faults(settings: CylindricalCell) -> list[str]:
    """Everything that the settings and the headers of their files get wrong."""
    found = Faults()
    attempt = found.attempt
    training, test = settings.training, settings.test
    image = attempt("training", lambda: open_plane(training.image, key="training.image"))
    if image is not None and training.strokes is not None:
        mask = training.strokes.mask
        attempt("training", lambda: open_mask(mask, image, key="training.strokes.mask"))
    elif image is not None:
        attempt("training", lambda: annotated(training, image, seed=0))
    if test is not None:
        judged = attempt("test", lambda: open_plane(test.image, key="test.image"))
        if judged is not None:
            attempt("test", lambda: open_mask(test.mask, judged, key="test.mask"))
    attempt("volume", lambda: open_volume(settings.volume))
    return found


def make_steps(settings: CylindricalCell, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    volume = open_volume(settings.volume)
    voxels = math.prod(volume.shape)
    training, test = settings.training, settings.test
    taught = training.strokes.mask if training.strokes is not None else training.annotations
    assert taught is not None
    judged = () if test is None else ("test.json", "test-network.zarr", "test-otsu.zarr")
    test_steps = []
    if test is not None:
        test_steps.append(
            Step(
                name="test",
                title="Test on another image",
                function=_test,
                inputs=("model", "strokes.zarr"),
                outputs=judged,
                files=(Path(training.image), Path(test.image), Path(test.mask)),
                parameters={
                    "training": training.model_dump(),
                    "test": test.model_dump(),
                    "rays": settings.measure.rays,
                    "seed": derived_seed(settings.seed, "otsu"),
                },
                access="slice",
                bytes_in_memory=_BASE_BYTES + 1_000_000_000,
                seconds=10,
            )
        )
    return [
        Step(
            name="train",
            title="Learn from the strokes",
            function=_train,
            outputs=("model", "strokes.zarr", "training.json"),
            files=(Path(training.image), Path(taught)),
            parameters={"training": training.model_dump(), "seed": derived_seed(settings.seed, "train")},
            access="slice",
            bytes_in_memory=_BASE_BYTES + 1_200_000_000,
            bytes_on_disk=3_000_000,
            seconds=training.steps * _SECONDS_PER_TRAINING_STEP,
        ),
        *test_steps,
        Step(
            name="segment",
            title="Segment the volume",
            function=_segment,
            inputs=("model",),
            outputs=("probability.zarr", "labels.zarr"),
            files=(Path(settings.volume.image),),
            parameters={"volume": settings.volume.model_dump()},
            access="block",
            halo=64,
            bytes_in_memory=_BASE_BYTES + 1_500_000_000,
            bytes_on_disk=5 * voxels,
            seconds=voxels / _VOXELS_PER_SECOND,
        ),
        Step(
            name="measure",
            title="Measure the layers",
            function=_measure,
            inputs=("labels.zarr", "probability.zarr", *judged[:1]),
            outputs=("layers.zarr", "profile-radius.parquet", "profile-z.parquet", "ledger.parquet", "ledger.csv"),
            parameters={"measure": settings.measure.model_dump()},
            access="slice",
            bytes_in_memory=_BASE_BYTES
            + 60 * math.prod(volume.shape[1:])
            + 200 * settings.measure.rays * volume.shape[0],
            seconds=volume.shape[0] * 1.0,
        ),
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=("strokes.zarr", "training.json", "labels.zarr", "layers.zarr", "profile-radius.parquet")
            + ("profile-z.parquet", "ledger.parquet", *judged),
            outputs=("report.html", "figures"),
            files=(Path(training.image), Path(settings.volume.image)),
            parameters={"settings": settings.model_dump(mode="json")},
            access="slice",
            bytes_in_memory=_BASE_BYTES + 500_000_000,
            bytes_on_disk=10_000_000,
            seconds=20,
        ),
    ]


def _train(task: Task) -> None:
    training, seed = Training(**task.parameters["training"]), task.parameters["seed"]
    image = open_plane(training.image, key="training.image")
    strokes = annotated(training, image, seed=seed).assign_attrs(phases=PHASES)
    network = segmentation.NetworkSegmenter(
        PHASES,
        network=_NETWORK,
        seed=seed,
        # There is one image: what is held out is another one, in the test step.
        validation=False,
        training=learn.TrainingSettings(steps=training.steps),
        progress=lambda done, total, loss: task.progress(done, total, f"loss {loss:.3f}"),
    ).fit(image, strokes)
    with task.writing("model") as path:
        network.save(path)
    write_image(task, "strokes.zarr", strokes, labels=True)
    labeled = int((strokes != UNLABELED).sum())
    write_json(
        task,
        "training.json",
        {"history": network.history_, "card": network.card_, "labeled_voxels": labeled, "voxels": strokes.size},
    )


def _test(task: Task) -> None:
    test, training = Mask(**task.parameters["test"]), Training(**task.parameters["training"])
    image = open_plane(test.image, key="test.image")
    truth = open_mask(test.mask, image, key="test.mask").compute()
    network = segmentation.NetworkSegmenter.load(task.path("model"))
    chance = network.predict_probability(image).sel(phase="layer", drop=True).compute()
    found = network.predict(image).compute()
    taught = open_plane(training.image, key="training.image")
    strokes = read_image(task, "strokes.zarr").assign_coords(taught.coords)
    otsu = segmentation.Otsu(PHASES, classes=_OTSU_CLASSES, seed=task.parameters["seed"]).fit(taught, strokes)
    baseline = otsu.predict(image).compute()
    scores: dict[str, Any] = {}
    for name, labels in (("network", found), ("otsu", baseline)):
        agreement = segmentation.agreement(labels, truth, PHASES)
        scores[name] = {
            "iou": dict(zip(agreement.component.values.tolist(), agreement.iou.values.tolist(), strict=True)),
            **{key: float(agreement[key]) for key in ("macro", "total", "accuracy")},
        }
    # In voxels: how far the edges are off does not depend on what a voxel of the test image measures.
    masks = {name: calibrate(labels, voxel_size_um=1.0) for name, labels in (("truth", truth), ("found", found))}
    center = morphometry.winding_center(masks["truth"], PHASES)
    options = {"center": center, "rays": task.parameters["rays"], "min_thickness_um": _SPECK_VOXELS}
    true = morphometry.layers_along_radius(masks["truth"], PHASES, **options)
    measured = morphometry.layers_along_radius(
        masks["found"], PHASES, probability=calibrate(chance, voxel_size_um=1.0), **options
    )
    scores["edge_sigma_voxels"] = morphometry.edge_sigma(measured, true)
    scores["thickness_voxels"] = {"mask": float(true.thickness.median()), "network": float(measured.thickness.median())}
    scores["spacing_voxels"] = {"mask": float(true.spacing.median()), "network": float(measured.spacing.median())}
    write_image(task, "test-network.zarr", found.assign_attrs(phases=PHASES), labels=True)
    write_image(task, "test-otsu.zarr", baseline.assign_attrs(phases=PHASES), labels=True)
    write_json(task, "test.json", scores)


def _segment(task: Task) -> None:
    settings = Volume(**task.parameters["volume"])
    image = open_volume(settings)
    if settings.gray_limit is not None:
        image = image.clip(max=settings.gray_limit)
    network = segmentation.NetworkSegmenter.load(task.path("model"), block=(1, *image.shape[1:]))
    chance = network.predict_probability(image).sel(phase="layer", drop=True)
    write_image(task, "probability.zarr", chance, labels=False)
    chance = io.open_image(task.folder / "probability.zarr")
    labels = (chance > 0.5).astype(np.uint8).assign_attrs(phases=PHASES)
    write_image(task, "labels.zarr", labels, labels=True)


def _measure(task: Task) -> None:
    labels, chance = read_image(task, "labels.zarr"), read_image(task, "probability.zarr")
    settings = task.parameters["measure"]
    layers = morphometry.layers_along_radius(
        labels, PHASES, probability=chance, rays=settings["rays"], min_thickness_um=settings["min_thickness_um"]
    )
    edge = None
    if "test.json" in task.step.inputs:
        edge = read_json(task.path("test.json"))["edge_sigma_voxels"] * spacing(labels)["x"]
    by_radius = morphometry.layer_profile(layers, edge_sigma_um=edge)
    by_slice = morphometry.layer_profile(layers, by="z", edge_sigma_um=edge)
    count = morphometry.volumes(labels, PHASES).sel(component="layer")
    whole = {
        "component": "layer",
        "quantity": "volume",
        "value": float(count),
        # The edges are off together, so that the errors of the bands add up.
        "sigma": float(by_radius["volume_sigma"].sum()),
        "unit": "um3",
        "n": round(float(count) / voxel_volume(labels)),
        "method": "voxel count; sigma from the common error of the edges",
    }
    rows = [
        morphometry.radial_rows(layers, edge_sigma_um=edge),
        morphometry.radial_rows(layers, by="z", edge_sigma_um=edge),
    ]
    ledger = pd.concat([quantity_table([whole]), *rows], ignore_index=True)
    write_dataset(task, "layers.zarr", layers)
    write_table(task, "profile-radius.parquet", by_radius)
    write_table(task, "profile-z.parquet", by_slice)
    write_table(task, "ledger.parquet", ledger)
    write_table(task, "ledger.csv", interval(ledger))


def summary_tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Agreement on the test image and the layers by radius, for the terminal."""
    tables: dict[str, list[dict[str, Any]]] = {}
    if (folder / "test.json").exists():
        scores = read_json(folder / "test.json")
        tables["IoU on the test image"] = [
            {"phase": phase, **{name: scores[name]["iou"][phase] for name in ("network", "otsu")}}
            for phase in scores["network"]["iou"]
        ]
    profile = read_table(folder / "profile-radius.parquet")
    tables["layers by radius (+- one sigma)"] = [
        {
            "radius mm": f"{row['low'] / 1000:.2f}-{row['high'] / 1000:.2f}",
            "thickness um": row["thickness"],
            "+-": row["thickness_sigma"],
            "spacing um": row["spacing"],
            "+- ": row["spacing_sigma"],
            "passages": int(row["thickness_n"]),
        }
        for row in profile.to_dict("records")
        if row["thickness_n"] > 0
    ]
    whole = read_table(folder / "ledger.parquet").iloc[0]
    tables["layer volume"] = [{"mm3": whole["value"] / 1e9, "+-": whole["sigma"] / 1e9}]
    return tables
