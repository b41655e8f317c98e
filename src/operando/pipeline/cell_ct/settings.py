"""What a ``cell-ct`` recipe may say."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G
from operando.core.phases import CELL
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


class Cell(Settings):
    """What is known about the cell."""

    phases: dict[str, int] = Field(default_factory=lambda: dict(CELL), description="names and ids in label images")
    plating_side: Literal["low", "high"] = Field("low", description="side in z on which lithium plates first")
    active_area_cm2: float | None = Field(
        None, gt=0, description="area the current passes; the field of view takes its share. null: all of the current"
    )
    specific_capacity_mah_g: float = Field(SPECIFIC_CAPACITY_MAH_G, gt=0, description="of lithium, for Faraday's law")
    density_g_cm3: float = Field(DENSITY_G_CM3, gt=0, description="of dense lithium")
    current_accuracy: float = Field(0.001, ge=0, lt=1, description="of the cycler, one sigma, as a fraction")


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


class Segment(Settings):
    """How voxels become phases."""

    method: Literal["network", "iterative", "otsu"] = Field(
        "network", description="residual U-Net; the same through Huang's labeling loop; multi-Otsu (the baseline)"
    )
    network: Literal["small", "huang2023"] = Field("small", description="4 levels, or the 7 of the paper (for a GPU)")
    symmetries: Literal[1, 2, 4] = Field(1, description="mirrored reads averaged at prediction; time grows with them")
    model: str | None = Field(None, description="a trained network to use; null trains one on the annotations")
    annotations: str | None = Field(
        None, description="to train on: (t, z, y, x) label image, 255 = unlabeled, or an annotation log"
    )
    annotations_frame: Literal["scans", "reference"] = Field(
        "scans", description="drawn on the scans as recorded, or on registered scans (the reference's frame)"
    )
    held_out_scans: list[int] | None = Field(
        None, description="annotated scans kept to measure errors on; null keeps one in four"
    )
    steps: int = Field(1000, ge=1, description="training steps, and half as many on all annotations")
    block: int = Field(192, ge=16, description="edge of a block in voxels; a smaller one needs less memory, more time")


class Clean(Settings):
    """Rules applied at the detected interfaces; every voxel changed is counted."""

    enabled: bool = Field(True, description="false keeps the segmentation as it is")
    speck_voxels: int = Field(30, ge=0, description="isolated pieces up to this size are given to what surrounds them")


class Uncertainty(Settings):
    """Where the intervals come from."""

    interface_sigma_voxels: float | None = Field(
        None, gt=0, description="one sigma of an interface's position; null measures it on held-out annotations"
    )


class ReportSettings(Settings):
    """What the page shows."""

    movie: bool = Field(True, description="a movie over the scans")
    render: bool = Field(True, description="a 3-D render; needs pyvista")
    slice_y: float = Field(0.5, ge=0, le=1, description="where the cross-section is taken, as a fraction of y")


class CellCT(Settings):
    """The whole recipe."""

    recipe: Literal["cell-ct"] = Field("cell-ct", description="which recipe this is")
    title: str = Field("Lithium cell under operando CT", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    inputs: Inputs = Field(description="What was recorded.")
    cell: Cell = Field(Cell(), description="What is known about the cell.")
    tomography: Tomography = Field(Tomography(), description="From projections to volume, where these are given.")
    registration: Registration = Field(Registration(), description="Alignment of the scans.")
    segment: Segment = Field(Segment(), description="How voxels become phases.")
    clean: Clean = Field(Clean(), description="Rules at the detected interfaces.")
    uncertainty: Uncertainty = Field(Uncertainty(), description="Where the intervals come from.")
    report: ReportSettings = Field(ReportSettings(), description="What the page shows.")
    truth: str | None = Field(None, description="true labels where the cell is simulated: adds the comparison")
    truth_frame: Literal["scans", "reference"] = Field(
        "scans",
        description="true labels are those of the scans as recorded, or all of them in the frame of the reference",
    )


def absolute(settings: CellCT, base: Path) -> CellCT:
    """Every path made absolute."""

    def full(path: str | None) -> str | None:
        return None if path is None else str(resolve(path, base))

    given = settings.inputs.images
    images = [str(resolve(path, base)) for path in given] if isinstance(given, list) else full(given)
    projections = settings.inputs.projections
    if projections is not None:
        projections = [
            str(resolve(scan, base)) if isinstance(scan, str) else [str(resolve(path, base)) for path in scan]
            for scan in projections
        ]
    return settings.model_copy(
        update={
            "inputs": settings.inputs.model_copy(
                update={
                    "images": images,
                    "projections": projections,
                    "cycler": full(settings.inputs.cycler),
                }
            ),
            "segment": settings.segment.model_copy(
                update={"annotations": full(settings.segment.annotations), "model": full(settings.segment.model)}
            ),
            "truth": full(settings.truth),
        }
    )
