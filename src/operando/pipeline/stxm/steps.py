"""The steps of recipe ``stxm``, from images over photon energy to lithium."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from operando.pipeline.step import Step, derived_seed
from operando.pipeline.stxm import choosing, finding, fitting, lithium, preparing
from operando.pipeline.stxm.inputs import files_of, open_stack
from operando.pipeline.stxm.page import make_report
from operando.pipeline.stxm.settings import Stxm

# Values (pixels times energies) per second on two cores, for `operando estimate`; docs/benchmarks.md says how they were
# measured.
_RATES = {"align": 7e5, "normalize": 1e7, "decompose": 2.5e6, "unmix": 2.5e6, "lithium": 1.2e7}
_BASE_BYTES = 600_000_000
_BLOCK_BYTES = 200_000_000  # all energies of a block of pixels, with what a fit holds beside


def make_steps(settings: Stxm, workers: int) -> list[Step]:
    """The steps of a recipe whose faults have been mended, from headers alone."""
    inputs = settings.inputs
    stack = open_stack(inputs)
    values, plane = math.prod(stack.shape), math.prod(stack.shape[1:])
    phases = len(settings.references)
    files = files_of(inputs, settings.references)
    told = () if settings.truth is None else (Path(settings.truth),)
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
                bytes_in_memory=_BASE_BYTES + 28 * values,
                bytes_on_disk=4 * values,
                seconds=5 + values / _RATES["align"],
            )
        )
    noise = ("sigma.zarr", "saturated.zarr", "incident.zarr") if inputs.kind == "counts" else ()
    prepared = ("density.zarr", *noise, "normalized.json")
    seen = ("components.zarr", "clusters.zarr", "matches.parquet", "collinearity.zarr", "decomposed.json")
    # What the fit was made to: the optical density, or that with what the probe hides put back.
    fitted = ("corrected.zarr",) if settings.unmix.partial_volume else ()
    fits = ("unmixed.zarr", "residual.zarr", "fit.json", *fitted)
    results = ("maps.zarr", "rings.parquet", "ledger.parquet", "ledger.csv")
    chosen = ("energy-errors.parquet", "energies.json")
    unmix = {"unmix": settings.unmix.model_dump()}
    weighing = {"weighted": settings.weighted, "absolute": settings.normalize.pre_edge is None}
    lithium_part = {"lithiation": settings.lithiation.model_dump()}
    maps_bytes = 8 * plane * (phases**2 + 8 * phases + 12)
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
                **unmix,
                "decompose": settings.decompose.model_dump(),
                "resampled": bool(moved),
                "seed": derived_seed(settings.seed, "cluster"),
            },
            access="block",
            bytes_in_memory=_BASE_BYTES + 24 * values,
            bytes_on_disk=200 * plane,
            seconds=5 + values / _RATES["decompose"],
        ),
        Step(
            name="unmix",
            title="Fit the references",
            function=fitting.unmix,
            inputs=("density.zarr", *noise),
            outputs=fits,
            files=files,
            parameters={**spectra, **unmix, **weighing, "probe_px": settings.detector.probe_px},
            access="block",
            bytes_in_memory=_BASE_BYTES + _BLOCK_BYTES * workers + maps_bytes,
            bytes_on_disk=4 * values + maps_bytes,
            seconds=3 + values / _RATES["unmix"],
        ),
        Step(
            name="lithium",
            title="From phases to lithium",
            function=lithium.lithiate,
            inputs=(*(fitted or ("density.zarr",)), *noise, *fits[:1], "fit.json"),
            outputs=results,
            files=files,
            parameters={**spectra, **weighing, **lithium_part, "particles": settings.particles.model_dump()},
            access="whole",
            bytes_in_memory=_BASE_BYTES + maps_bytes + 200 * plane,
            bytes_on_disk=40 * plane,
            seconds=3 + values / _RATES["lithium"],
        ),
        Step(
            name="energies",
            title="Which energies an operando scan would need",
            function=choosing.choose,
            inputs=("density.zarr", *noise[2:], *fits[:1]),
            outputs=chosen,
            files=files,
            parameters={
                **spectra,
                **unmix,
                **lithium_part,
                "energies": settings.energies.model_dump(),
                "seed": derived_seed(settings.seed, "energies"),
            },
            bytes_in_memory=_BASE_BYTES,
            seconds=10,
        ),
    ]
    steps.append(
        Step(
            name="report",
            title="Write the report",
            function=make_report,
            inputs=(*moved[1:], *prepared, *seen, *fits, *results[:3], *chosen),
            outputs=("report.html", "figures"),
            files=(*files, *told),
            parameters={
                "settings": settings.model_dump(mode="json"),
                "workflow": [{"title": step.title, "detail": ", ".join(step.outputs)} for step in steps],
            },
            access="slice",
            bytes_in_memory=_BASE_BYTES + 8 * values + maps_bytes,
            bytes_on_disk=10_000_000,
            seconds=30,
        )
    )
    return steps
