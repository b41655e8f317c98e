"""The steps of recipe ``cell-ct``, from images to ledger."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from operando.pipeline.cell_ct import accounting, locating, measuring, segmenting
from operando.pipeline.cell_ct.page import make_report
from operando.pipeline.cell_ct.settings import CellCT
from operando.pipeline.scans import images
from operando.pipeline.scans.inputs import open_series
from operando.pipeline.scans.steps import opening_steps
from operando.pipeline.step import Step, derived_seed

# Voxels per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were measured.
_RATES = {"network": 8e5, "otsu": 2e7, "clean": 1e7, "measure": 3e6, "locate": 1e7}
_SECONDS_PER_TRAINING_STEP = 0.12  # the half as many of the second stage included
_BASE_BYTES = 500_000_000  # Python with torch
_NETWORK_BYTES = 900_000_000  # Python with torch, a network and its activations
_BYTES_PER_BLOCK_VOXEL = 60  # gray values as they are read, logits, weights and probabilities of a block
_PATCH = 128
_DEFORMED_VOXELS = 32  # an image must have them along every axis for a map of its deformation


def make_steps(settings: CellCT, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    inputs, segment, cell = settings.inputs, settings.segment, settings.cell
    series = open_series(inputs)
    voxels, scan, item = math.prod(series.shape), math.prod(series.shape[1:]), series.dtype.itemsize
    block_voxels = math.prod(min(size, segment.block + _PATCH) for size in series.shape[1:])
    read = inputs.model_dump(exclude={"cycler", "cycler_columns", "cycler_offset_h"})
    common: dict[str, Any] = {"phases": cell.phases, "plating_side": cell.plating_side}
    annotated = () if segment.annotations is None else (Path(segment.annotations),)
    marks = segment.model_dump(include={"annotations", "annotations_frame", "held_out_scans", "model"}) | {
        "inputs": read
    }

    steps, image, moved = opening_steps(
        series, inputs, settings.tomography, settings.registration, common=common, workers=workers
    )
    deformed: tuple[str, ...] = ()
    if (
        moved
        and settings.registration.deformation
        and series.sizes["t"] > 1
        and min(series.shape[1:]) >= _DEFORMED_VOXELS
    ):
        deformed = ("deformation.zarr",)
        steps.append(
            Step(
                name="deform",
                title="Map the deformation",
                function=images.deform,
                inputs=("registered.zarr",),
                outputs=deformed,
                parameters={"reference": settings.registration.reference},
                access="block",
                bytes_in_memory=_BASE_BYTES + workers * 128**3 * 16,
                bytes_on_disk=voxels // 1000,
                seconds=3 * 0.05 * scan / images.deformation_spacing(series.shape[1:]) ** 3,
            )
        )
    model: tuple[str, ...] = ()
    trained: tuple[Path, ...] = ()
    if segment.model is not None:
        trained = (Path(segment.model),)
    elif segment.method != "otsu" or segment.annotations is not None:
        model = ("model",)
        steps.append(
            Step(
                name="train",
                title="Train the network" if segment.method != "otsu" else "Find the thresholds",
                function=segmenting.train,
                inputs=(image, *moved),
                outputs=("model", "training.json"),
                files=annotated,
                parameters={
                    **marks,
                    **common,
                    **segment.model_dump(include={"method", "network", "symmetries", "steps"}),
                    "rules": settings.clean.model_dump(),
                    "seed": derived_seed(settings.seed, "train"),
                },
                access="slice",
                bytes_in_memory=_BASE_BYTES + 1_200_000_000,
                bytes_on_disk=3_000_000,
                seconds=segment.steps * _SECONDS_PER_TRAINING_STEP * (3 if segment.method == "iterative" else 1)
                if segment.method != "otsu"
                else 5,
            )
        )
    steps += [
        Step(
            name="segment",
            title="Segment every scan",
            function=segmenting.segment,
            inputs=(image, *model),
            outputs=("segmented.zarr", "moments.json"),
            files=trained,
            parameters={**segment.model_dump(include={"model", "method", "block", "symmetries"}), **common},
            access="block",
            halo=_PATCH // 2,
            bytes_in_memory=_NETWORK_BYTES + block_voxels * (_BYTES_PER_BLOCK_VOXEL + workers * item),
            bytes_on_disk=voxels,
            seconds=voxels / _RATES["otsu" if segment.method == "otsu" else "network"] * segment.symmetries,
        ),
        Step(
            name="clean",
            title="Clean at the interfaces",
            function=segmenting.clean,
            inputs=("segmented.zarr",),
            outputs=("labels.zarr", "cleaned.csv"),
            parameters={"rules": settings.clean.model_dump(), **common},
            access="scan",
            bytes_in_memory=_BASE_BYTES + workers * 20 * min(scan, 256**3),
            bytes_on_disk=voxels,
            seconds=voxels / _RATES["clean"],
        ),
    ]
    if settings.truth is not None or segment.annotations is not None:
        steps.append(
            Step(
                name="evaluate",
                title="Compare with what is known",
                function=segmenting.evaluate,
                inputs=(image, "labels.zarr", *moved, *(("training.json",) if model else ())),
                outputs=("agreement.json",),
                files=(*annotated, *([] if settings.truth is None else [Path(settings.truth)])),
                parameters={
                    **marks,
                    **common,
                    "method": segment.method,
                    "truth": settings.truth,
                    "truth_frame": settings.truth_frame,
                    "seed": derived_seed(settings.seed, "otsu"),
                },
                access="block",
                bytes_in_memory=_BASE_BYTES + 600_000_000,
                seconds=voxels / _RATES["otsu"],
            )
        )
    evaluated = ("agreement.json",) if steps[-1].name == "evaluate" else ()
    steps.append(
        Step(
            name="measure",
            title="Measure the lithium",
            function=measuring.measure,
            inputs=(image, "labels.zarr", "moments.json", *model, *moved),
            outputs=("quantities.parquet", "uncertainty.json", "errors.json"),
            files=(*trained, *annotated),
            parameters={
                "interface_sigma_voxels": settings.uncertainty.interface_sigma_voxels,
                **segment.model_dump(include={"method", "block", "symmetries"}),
                **marks,
                **common,
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + 2**25 * 10 + 280 * series.sizes["y"] * series.sizes["x"],
            seconds=voxels / _RATES["measure"],
        )
    )
    steps.append(
        Step(
            name="locate",
            title="Map the lithium",
            function=locating.locate,
            inputs=("labels.zarr",),
            outputs=("maps.zarr", "spatial", "spatial.parquet"),
            parameters=common,
            access="block",
            bytes_in_memory=_BASE_BYTES + 2**25 * 10 + 280 * series.sizes["y"] * series.sizes["x"],
            bytes_on_disk=series.sizes["t"] * (len(cell.phases) + 2) * series.sizes["y"] * series.sizes["x"] * 4,
            seconds=voxels / _RATES["locate"] + 0.3 * series.sizes["t"],
        )
    )
    compared: tuple[str, ...] = ()
    if settings.truth is not None:
        compared = ("truth.parquet", "spatial-truth.parquet")
        steps.append(
            Step(
                name="truth",
                title="Measure the true lithium",
                function=measuring.measure_truth,
                inputs=("labels.zarr", *moved),
                outputs=("truth.parquet",),
                files=(Path(settings.truth),),
                parameters={"inputs": read, "truth": settings.truth, "truth_frame": settings.truth_frame, **common},
                access="block",
                bytes_in_memory=_BASE_BYTES + 2**25 * 8,
                seconds=voxels / _RATES["measure"] / 2,
            )
        )
        steps.append(
            Step(
                name="locate-truth",
                title="Map the true lithium",
                function=locating.locate_truth,
                inputs=("labels.zarr", *moved),
                outputs=("spatial-truth.parquet",),
                files=(Path(settings.truth),),
                parameters={"inputs": read, "truth": settings.truth, "truth_frame": settings.truth_frame, **common},
                access="block",
                bytes_in_memory=_BASE_BYTES + 2**25 * 10,
                seconds=voxels / _RATES["locate"] + 0.3 * series.sizes["t"],
            )
        )
    comparison = ("comparison.parquet",) if compared else ()
    steps.append(
        Step(
            name="ledger",
            title="Write the ledger",
            function=accounting.account,
            inputs=("quantities.parquet", "uncertainty.json", "spatial.parquet", *compared),
            outputs=("ledger.parquet", "ledger.csv", "current.parquet", *comparison),
            files=() if inputs.cycler is None else (Path(inputs.cycler),),
            parameters={
                "inputs": inputs.model_dump(),
                "cell": cell.model_dump(),
                "truth": settings.truth is not None,
            },
            bytes_in_memory=_BASE_BYTES,
            seconds=1,
        )
    )
    steps.append(
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(image, "labels.zarr", "cleaned.csv", "maps.zarr", "spatial", "errors.json")
            + ("ledger.parquet", "current.parquet", *evaluated)
            + (("training.json",) if model else ())
            + (*moved, *(["motion.parquet"] if moved else []), *deformed)
            + comparison,
            outputs=("report.html", "figures"),
            files=annotated,
            parameters={
                "settings": settings.model_dump(mode="json"),
                "image": image,
                "workflow": [{"title": step.title, "detail": ", ".join(step.outputs)} for step in steps],
                **marks,
                **common,
            },
            access="slice",
            bytes_in_memory=_BASE_BYTES + 1_000_000_000,
            bytes_on_disk=20_000_000,
            seconds=40,
        )
    )
    return steps
