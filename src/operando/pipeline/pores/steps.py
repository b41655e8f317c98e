"""The steps of recipe ``pores``, from images to what the microstructure explains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from operando.core.axes import spacing
from operando.core.phases import CERAMIC_CELL
from operando.pipeline.pores import current, explaining, measuring, microstructure, segmenting
from operando.pipeline.pores.page import make_report
from operando.pipeline.pores.settings import Pores
from operando.pipeline.scans.inputs import open_series
from operando.pipeline.scans.steps import opening_steps
from operando.pipeline.step import Step, derived_seed

# Voxels per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were measured.
_RATES = {"boundaries": 2e7, "network": 4e5, "otsu": 1e7, "measure": 4e6, "current": 2e7, "ceramic": 1e6}
_SECONDS_PER_TRAINING_STEP = 0.35
_SECONDS_PER_DOMAIN = 0.0005
_SECONDS_PER_REGRESSION = 12  # of two maps of 144 tiles on three predictors, 999 permutations
_BASE_BYTES = 500_000_000  # Python with torch
_NETWORK_BYTES = 1_500_000_000


def make_steps(settings: Pores, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    inputs, segment, cell, how = settings.inputs, settings.segment, settings.cell, settings.measure
    series = open_series(inputs)
    voxels, scan, plane = math.prod(series.shape), math.prod(series.shape[1:]), math.prod(series.shape[2:])
    scans = series.sizes["t"]
    read = inputs.model_dump(exclude={"cycler", "cycler_columns", "cycler_offset_h"})
    common: dict[str, Any] = {"phases": dict(CERAMIC_CELL), "plating_side": cell.plating_side}
    steps, image, moved = opening_steps(
        series, inputs, settings.tomography, settings.registration, common=common, workers=workers
    )
    timed = {"record": inputs.model_dump(), "cell": cell.model_dump()}
    cycled = () if inputs.cycler is None else (Path(inputs.cycler),)
    told = () if settings.truth is None else (Path(settings.truth),)
    ends = ("boundaries.zarr", "boundaries.json")
    steps.append(
        Step(
            name="boundaries",
            title="Find where the lithium ends",
            function=segmenting.find_boundaries,
            inputs=(image,),
            outputs=ends,
            parameters=settings.boundaries.model_dump(include={"smooth_um", "rigid_ceramic"}),
            access="scan",
            bytes_in_memory=_BASE_BYTES + 8 * scan,
            bytes_on_disk=16 * plane * scans,
            seconds=voxels / _RATES["boundaries"],
        )
    )
    model: tuple[str, ...] = ()
    if segment.method == "network" and segment.model is None:
        model = ("model",)
        steps.append(
            Step(
                name="train",
                title="Train on slices of one electrode",
                function=segmenting.train,
                inputs=(image, *ends, *moved),
                outputs=("model", "training.json", "training.zarr"),
                files=() if segment.corrections is None else (Path(segment.corrections),),
                parameters={
                    "segment": segment.model_dump(),
                    "inputs": read,
                    "seed": derived_seed(settings.seed, "train"),
                    **common,
                },
                access="slice",
                bytes_in_memory=_NETWORK_BYTES + 40 * scan,
                bytes_on_disk=100_000_000,
                seconds=segment.steps * _SECONDS_PER_TRAINING_STEP,
            )
        )
    chance = ("probability.zarr",) if segment.method == "network" else ()
    steps.append(
        Step(
            name="segment",
            title="Segment lithium, pores and ceramic",
            function=segmenting.segment,
            inputs=(image, *ends, *model),
            outputs=("labels.zarr", "otsu.zarr", *chance),
            files=() if segment.model is None else (Path(segment.model),),
            parameters={
                "segment": segment.model_dump(include={"method", "model", "block"}),
                "seed": derived_seed(settings.seed, "otsu"),
            },
            access="block",
            bytes_in_memory=_NETWORK_BYTES + 60 * segment.block**3,
            bytes_on_disk=6 * voxels,
            seconds=voxels / _RATES["network" if chance else "otsu"],
        )
    )
    methods = ("labels", "otsu") if settings.truth is None else ("labels", "otsu", "truth")
    tables = tuple(f"porosity-{method}.parquet" for method in methods)
    maps = ("columns.zarr", "tiles.zarr", "changes.zarr", "profiles.zarr", "modes.parquet", "pores.parquet")
    steps += [
        Step(
            name="judge",
            title="Judge the segmentation",
            function=segmenting.judge,
            inputs=("labels.zarr", "otsu.zarr", *ends, *chance, *moved),
            outputs=("agreement.parquet",),
            files=told,
            parameters={
                "segment": segment.model_dump(include={"method", "scan", "electrode"}),
                "inputs": read,
                "truth": settings.truth,
                **common,
            },
            access="scan",
            bytes_in_memory=_BASE_BYTES + 12 * scan,
            seconds=voxels / _RATES["otsu"],
        ),
        Step(
            name="measure",
            title="Measure the pores in lithium",
            function=measuring.measure,
            inputs=("labels.zarr", "otsu.zarr", *ends, *chance, *moved, *(("training.json",) if model else ())),
            outputs=(*maps, *tables, "pore-sizes.parquet", "doubt.zarr"),
            files=(*told, *cycled),
            parameters={
                **timed,
                **common,
                "inputs": read,
                "measure": how.model_dump(),
                "truth": settings.truth,
                "seed": derived_seed(settings.seed, "modes"),
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + 2**25 * 10 + 40 * plane * scans,
            bytes_on_disk=8 * plane * scans,
            seconds=len(methods) * voxels / _RATES["measure"],
        ),
        Step(
            name="current",
            title="Map the current density",
            function=current.map_current,
            inputs=(*ends, "columns.zarr", "doubt.zarr"),
            outputs=("current.zarr", "spots.parquet", "tracks.parquet", "current.parquet", "record.parquet")
            + ("critical.parquet",),
            files=cycled,
            parameters={
                **timed,
                "hot_spots": settings.hot_spots.model_dump(),
                "sigma_voxels": settings.boundaries.sigma_voxels,
                "seed": derived_seed(settings.seed, "spots"),
            },
            access="whole",
            bytes_in_memory=_BASE_BYTES + 200 * plane * scans,
            bytes_on_disk=60 * plane * scans,
            seconds=plane * scans / _RATES["current"] + 3 * scans,
        ),
    ]
    step = spacing(series)
    domains = scans * scan * step["z"] * step["y"] * step["x"] / how.tile_um**3
    tiles, permutations = plane * step["y"] * step["x"] / how.tile_um**2, settings.explain.permutations
    tiles = min(tiles, explaining.MOST_TILES)
    # Every step by itself, and all of them together, which is as many maps once more.
    regressions = 2 * (scans - 1) * (1 if settings.truth_current is None else 2)
    steps += [
        Step(
            name="microstructure",
            title="Transport and stiffness of the ceramic",
            function=microstructure.analyze,
            inputs=("labels.zarr", *ends, "current.zarr", "spots.parquet"),
            outputs=("beneath.zarr", "factors.zarr", "electrolyte.zarr", "subsurface.zarr", "flux.zarr")
            + ("microstructure.parquet",),
            files=cycled,
            parameters={
                **timed,
                "measure": how.model_dump(),
                "ceramic": settings.ceramic.model_dump(),
                "seed": derived_seed(settings.seed, "synthetic"),
            },
            access="scan",
            bytes_in_memory=_BASE_BYTES + 60 * scan,
            bytes_on_disk=5 * voxels // scans,
            seconds=domains * _SECONDS_PER_DOMAIN * (15 if settings.ceramic.stiffness else 1),
        ),
        Step(
            name="explain",
            title="Does the microstructure explain the current?",
            function=explaining.explain,
            inputs=("current.zarr", "beneath.zarr"),
            outputs=("explained.parquet", "current-tiles.zarr"),
            files=() if settings.truth_current is None else (Path(settings.truth_current),),
            parameters={
                **settings.explain.model_dump(),
                "truth_current": settings.truth_current,
                "tile_um": how.tile_um,
                "seed": derived_seed(settings.seed, "permutations"),
            },
            # Matrices of tiles x tiles, one per covariance, and the permuted maps of both electrodes.
            bytes_in_memory=int(_BASE_BYTES + 8 * (36 * tiles**2 + 20 * permutations * tiles)),
            seconds=regressions * _SECONDS_PER_REGRESSION * permutations / 999 * (tiles / 144) ** 2,
        ),
        Step(
            name="ledger",
            title="Write the ledger",
            function=explaining.account,
            inputs=(
                "labels.zarr",
                "porosity-labels.parquet",
                "pore-sizes.parquet",
                "current.parquet",
                "critical.parquet",
            )
            + ("microstructure.parquet", "explained.parquet"),
            outputs=("ledger.parquet", "ledger.csv"),
            files=cycled,
            parameters=timed,
            access="block",
            bytes_in_memory=_BASE_BYTES + 2**25 * 4,
            seconds=voxels / 1e8,
        ),
    ]
    steps.append(
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(image, "labels.zarr", "otsu.zarr", *chance, *ends, *maps, *tables, *moved)
            + (("training.json", "training.zarr") if model else ())
            + (
                "current.zarr",
                "spots.parquet",
                "tracks.parquet",
                "current.parquet",
                "record.parquet",
                "critical.parquet",
            )
            + ("agreement.parquet",)
            + ("beneath.zarr", "factors.zarr", "electrolyte.zarr", "subsurface.zarr", "flux.zarr")
            + ("explained.parquet", "current-tiles.zarr", "ledger.parquet"),
            outputs=("report.html", "figures"),
            files=(*cycled, *told),
            parameters={
                **timed,
                **common,
                "inputs": read,
                "settings": settings.model_dump(mode="json"),
                "image": image,
                "workflow": [{"title": step.title, "detail": ", ".join(step.outputs)} for step in steps],
            },
            access="slice",
            bytes_in_memory=_BASE_BYTES + 500_000_000,
            bytes_on_disk=20_000_000,
            seconds=40,
        )
    )
    return steps
