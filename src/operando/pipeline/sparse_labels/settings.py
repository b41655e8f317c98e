"""What a ``sparse-labels`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from operando.core.phases import PhaseScheme
from operando.pipeline.settings import Settings, resolve


class Image(Settings):
    """The image to segment."""

    file: str = Field(description="gray image (y, x) or (z, y, x); of a color image the mean of its channels is taken")
    voxel_size_um: float | None = Field(None, gt=0, description="edge of a voxel in um; null takes what the file says")
    ignore_below: float | None = Field(
        None, description="darker voxels belong to nothing that is labeled (air, say) and stay unlabeled; null: none"
    )


class Labels(Settings):
    """The voxels that somebody labeled."""

    file: str = Field(description="label image on the same grid")
    phases: dict[str, int] = Field(description="name of each phase and its value in the file, as {matrix: 1, pore: 2}")
    unlabeled: int = Field(0, ge=0, le=255, description="value in the file of what nobody labeled")

    @field_validator("phases")
    @classmethod
    def _told_apart(cls, phases: dict[str, int]) -> dict[str, int]:
        if len(phases) < 2 or len(set(phases.values())) != len(phases):
            raise ValueError("at least two phases with a value each of their own are needed")
        if not all(0 <= value <= 255 for value in phases.values()):
            raise ValueError("values in a label image lie from 0 to 255")
        return phases

    @model_validator(mode="after")
    def _unlabeled_is_no_phase(self) -> Self:
        for name, value in self.phases.items():
            if value == self.unlabeled:
                raise ValueError(f"{value} cannot mean both {name} and unlabeled; set 'unlabeled' to another value")
        return self

    @property
    def scheme(self) -> PhaseScheme:
        """The phases, numbered in the order given: a file may use 255 for one of them, operando may not."""
        return PhaseScheme({name: number for number, name in enumerate(self.phases)})


class Reference(Settings):
    """Labels of every voxel to compare with; nothing is learned from them."""

    file: str = Field(description="label image on the same grid with the same values; other values are not compared")
    name: str = Field("ground truth", description="what it is, for the report")
    trusted: bool = Field(True, description="false where it is the output of another program and not the truth")


class Segment(Settings):
    """How it is segmented."""

    method: Literal["forest", "network"] = Field(
        "forest", description="forest: for strokes and points; network: for thousands of labeled voxels or whole slices"
    )
    scales: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="forest: widths of its filters in voxels")
    steps: int = Field(800, ge=1, description="network: training steps")
    snap_voxels: int = Field(3, ge=0, le=32, description="how far borders may move to the steepest edge; 0: not at all")

    @field_validator("scales")
    @classmethod
    def _scales(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or not all(0.3 <= scale <= 64 for scale in scales):
            raise ValueError("at least one width is needed, each from 0.3 to 64 voxels")
        return scales


class SparseLabels(Settings):
    """The whole recipe."""

    recipe: Literal["sparse-labels"] = Field("sparse-labels", description="which recipe this is")
    title: str = Field("Phases from sparse labels", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    credit: str = Field("", description="whose image this is, for the report")
    image: Image = Field(description="The image to segment.")
    labels: Labels = Field(description="The voxels that somebody labeled.")
    reference: Reference | None = Field(None, description="labels of every voxel to judge by: {file: truth.tif}")
    segment: Segment = Field(Segment(), description="How it is segmented.")


def absolute(settings: SparseLabels, base: Path) -> SparseLabels:
    """Every path made absolute."""
    parts = {"image": settings.image, "labels": settings.labels, "reference": settings.reference}
    return settings.model_copy(
        update={
            name: part and part.model_copy(update={"file": str(resolve(part.file, base))})
            for name, part in parts.items()
        }
    )
