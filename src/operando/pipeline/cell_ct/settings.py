"""What a ``cell-ct`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from operando.core.lithium import DENSITY_G_CM3, SPECIFIC_CAPACITY_MAH_G
from operando.core.phases import CELL
from operando.pipeline.scans.settings import Inputs, Registration, Tomography, absolute_inputs, full
from operando.pipeline.settings import Settings


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
    segment = settings.segment
    return settings.model_copy(
        update={
            "inputs": absolute_inputs(settings.inputs, base),
            "segment": segment.model_copy(
                update={"annotations": full(segment.annotations, base), "model": full(segment.model, base)}
            ),
            "truth": full(settings.truth, base),
        }
    )
