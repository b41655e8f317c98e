"""The steps of recipe ``stxm``, from images over photon energy to lithium."""

from __future__ import annotations

import math
from typing import Any

from operando.pipeline.step import Step, derived_seed
from operando.pipeline.stxm import finding, fitting, lithium, preparing
from operando.pipeline.stxm.inputs import files_of, open_stack
from operando.pipeline.stxm.page import make_report
from operando.pipeline.stxm.settings import Stxm

# Values (pixels times energies) per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were
# measured.
_RATES = {"align": 1e6, "normalize": 2e7, "decompose": 5e6, "unmix": 1e7, "lithium": 2e7}
_BASE_BYTES = 400_000_000
_BLOCK_BYTES = 200_000_000  # all energies of a block of pixels, with what a fit holds beside


def make_steps(settings: Stxm, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    inputs = settings.inputs
    stack = open_stack(inputs)
    values, plane = math.prod(stack.shape), math.prod(stack.shape[1:])
    phases = len(settings.references)
    files = files_of(inputs, settings.references)
    recorded: dict[str, Any] = {"inputs": inputs.model_dump(exclude={"simulated"})}
    spectra: dict[str, Any] = {"references": [item.model_dump() for item in settings.references]}
    steps: list[Step] = []
    moved: tuple[str, ...] = ()
    if settings.align.method != "none":
        moved = ("aligned.zarr", "drift.zarr")
        steps.append(
            Step(
                name="align",
                title="Take the drift out",
                function=preparing.align,
                outputs=moved,
                files=files,
                parameters={**recorded, "align": settings.align.model_dump()},
                access="whole",
                bytes_in_memory=_BASE_BYTES + 12 * values,
                bytes_on_disk=4 * values,
                seconds=5 + values / _RATES["align"],
            )
        )
    noise = ("sigma.zarr", "saturated.zarr", "incident.zarr") if inputs.kind == "counts" else ()
    prepared = ("density.zarr", *noise, "normalized.json")
    fits = ("unmixed.zarr", "residual.zarr", "fit.json")
    maps = ("maps.zarr", "lithium.parquet")
    seen = ("components.zarr", "clusters.zarr", "matches.parquet", "collinearity.zarr", "decomposed.json")
    steps += [
        Step(
            name="normalize",
            title="From counts to optical density",
            function=preparing.normalize,
            inputs=moved[:1],
            outputs=prepared,
            files=files,
            parameters={
                **recorded,
                "detector": settings.detector.model_dump(),
                "normalize": settings.normalize.model_dump(),
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + _BLOCK_BYTES * workers,
            bytes_on_disk=9 * values,
            seconds=2 + values / _RATES["normalize"],
        ),
        Step(
            name="decompose",
            title="What the stack shows by itself",
            function=finding.decompose,
            inputs=("density.zarr", *noise[:1]),
            outputs=seen,
            files=files,
            parameters={
                **spectra,
                "decompose": settings.decompose.model_dump(),
                "background": settings.unmix.background,
                "seed": derived_seed(settings.seed, "cluster"),
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + 8 * values,
            bytes_on_disk=40 * plane,
            seconds=5 + values / _RATES["decompose"],
        ),
        Step(
            name="unmix",
            title="Fit the references",
            function=fitting.unmix,
            inputs=("density.zarr", *noise),
            outputs=fits,
            files=files,
            parameters={
                **spectra,
                "unmix": settings.unmix.model_dump(),
                "absolute": settings.normalize.pre_edge is None,
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + _BLOCK_BYTES * workers + 8 * plane * (phases**2 + 8 * phases + 8),
            bytes_on_disk=4 * values + 8 * plane * (phases**2 + 8 * phases + 8),
            seconds=3 + values / _RATES["unmix"],
        ),
        Step(
            name="lithium",
            title="From phases to lithium",
            function=lithium.lithiate,
            inputs=("unmixed.zarr", "density.zarr"),
            outputs=maps,
            files=files,
            parameters={
                **spectra,
                "lithiation": settings.lithiation.model_dump(),
                "particles": settings.particles.model_dump(),
            },
            access="whole",
            bytes_in_memory=_BASE_BYTES + 200 * plane,
            bytes_on_disk=40 * plane,
            seconds=3 + values / _RATES["lithium"],
        ),
    ]
    return steps
