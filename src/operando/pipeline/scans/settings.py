"""What a recipe may say of the scans it begins with."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from operando.pipeline.settings import Settings, resolve


class Inputs(Settings):
    """What was recorded."""

    images: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="one (t, z, y, x) image, or a list with one (z, y, x) image per scan; or give projections"
    )
    projections: Annotated[list[str | Annotated[list[str], Field(min_length=1)]], Field(min_length=1)] | None = Field(
        None, description="instead: one Data Exchange or NXtomo file per scan, or a list of overlapping ones"
    )
    voxel_size_um: float | list[float] | None = Field(
        None, description="edge of a voxel in um; null takes what the file says"
    )
    times_h: list[float] | None = Field(None, description="time of each scan in hours; null takes what the file says")
    region: dict[Literal["z", "y", "x"], tuple[int, int]] = Field(
        default_factory=dict, description="voxels to keep, as {z: [10, 200]}; z is normal to the electrodes"
    )
    electrode_normal: Literal["z", "y", "x"] = Field(
        "z", description="axis of the images normal to the electrodes; of projections, z is along the rotation axis"
    )
    overlap_voxels: int | None = Field(
        None, ge=4, description="rows that neighboring files of one scan of projections share, about"
    )
    cycler: str | None = Field(None, description="CSV or text file with time, current and voltage; null: no balance")
    cycler_columns: dict[str, tuple[str, str]] = Field(
        default_factory=dict, description="where its header is not understood: {time: [t, s], current: [I, mA]}"
    )
    cycler_offset_h: float = Field(0.0, description="hours to add to the cycler's clock to get that of the scans")
    simulated: bool = Field(False, description="true labels every figure as simulated")

    @field_validator("voxel_size_um")
    @classmethod
    def _positive(cls, value: float | list[float] | None) -> float | list[float] | None:
        sizes = value if isinstance(value, list) else [] if value is None else [value]
        if any(not 0 < size < 1e6 for size in sizes):
            raise ValueError("must be positive micrometers")
        return value

    @field_validator("times_h")
    @classmethod
    def _rising(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and not all(later > earlier for earlier, later in pairwise([-math.inf, *value])):
            raise ValueError("must rise from scan to scan")
        return value

    @field_validator("region")
    @classmethod
    def _ordered(cls, value: dict[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
        for dim, (start, stop) in value.items():
            if not 0 <= start < stop:
                raise ValueError(f"must have 0 <= start < stop along {dim}")
        return value


class Tomography(Settings):
    """From projections to volume; used where inputs.projections are given."""

    method: Literal["gridrec", "fbp", "sirt", "cgls"] = Field("gridrec", description="of reconstruction")
    filter: Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"] = Field(
        "shepp-logan", description="window of the ramp filter, the same for all scans"
    )
    rotation_axis_px: float | None = Field(None, description="pixel of the rotation axis; null finds it in every scan")
    rings: Literal["none", "sorting", "large", "dead", "vo"] = Field("sorting", description="removal of stripes (Vo)")
    energy_kev: float | None = Field(None, gt=0, description="of the photons, for phase retrieval")
    distance_mm: float | None = Field(None, gt=0, description="from sample to detector, for phase retrieval")
    delta_beta: float | None = Field(None, gt=0, description="delta over beta of the sample; null: no phase retrieval")


class Registration(Settings):
    """Alignment of the scans."""

    method: Literal["none", "rigid", "translation"] = Field(
        "none", description="none; rigid: three shifts and three rotations; translation: their shifts alone"
    )
    reference: int = Field(0, ge=0, description="scan that stays where it is")
    level: bool = Field(False, description="turn the electrodes normal to z first, as found in the reference")
    deformation: bool = Field(True, description="map the displacement that rigid motion leaves")


def absolute_inputs(inputs: Inputs, base: Path) -> Inputs:
    """Every path made absolute."""
    given, projections = inputs.images, inputs.projections
    images = [str(resolve(path, base)) for path in given] if isinstance(given, list) else full(given, base)
    if projections is not None:
        projections = [
            str(resolve(scan, base)) if isinstance(scan, str) else [str(resolve(path, base)) for path in scan]
            for scan in projections
        ]
    return inputs.model_copy(update={"images": images, "projections": projections, "cycler": full(inputs.cycler, base)})


def full(path: str | None, base: Path) -> str | None:
    """A path made absolute, where there is one."""
    return None if path is None else str(resolve(path, base))
