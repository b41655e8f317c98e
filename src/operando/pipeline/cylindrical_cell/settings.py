"""What a ``cylindrical-cell`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from operando.core.phases import PhaseScheme
from operando.pipeline.settings import Settings, resolve

PHASES = PhaseScheme({"background": 0, "layer": 1})
"""What every voxel is: the layers that are measured, or anything else."""


class Mask(Settings):
    """An image with a mask that somebody trusts."""

    image: str = Field(description="gray image (y, x)")
    mask: str = Field(description="mask of the layers on the same grid; anything but 0 is layer")


class Strokes(Settings):
    """Strokes drawn into a mask, as a person would draw them: the rest of the mask is not used."""

    mask: str = Field(description="mask of the layers; anything but 0 is layer")
    per_phase: int = Field(40, ge=1, description="strokes in the layers, and as many beside them")
    length: int = Field(60, ge=1, description="voxels along a stroke")
    width: int = Field(2, ge=1, description="voxels across a stroke")


class Training(Settings):
    """What the network learns from: one image with strokes."""

    image: str = Field(description="gray image (y, x)")
    annotations: str | None = Field(
        None, description="your strokes: uint8, 0 background, 1 layer, 255 unlabeled; or null and 'strokes'"
    )
    strokes: Strokes | None = Field(None, description="where there is a mask instead of strokes")
    steps: int = Field(800, ge=1, description="training steps")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.annotations is None) == (self.strokes is None):
            raise ValueError("give either 'annotations' or 'strokes', and not both")
        return self


class Volume(Settings):
    """The volume to measure."""

    image: str = Field(description="gray volume (z, y, x), z along the axis of the roll")
    voxel_size_um: float | None = Field(None, gt=0, description="edge of a voxel in um; null takes what the file says")
    slices: tuple[int, int] | None = Field(None, description="slices that show windings, as [76, 100]; null: all")
    gray_limit: float | None = Field(
        None, description="brighter voxels count as this bright, where the can outshines the layers; null: none"
    )


class Measure(Settings):
    """How the layers are measured."""

    rays: int = Field(720, ge=36, description="rays from the center of the roll, evenly over the turn")
    min_thickness_um: float = Field(100.0, ge=0, description="thinner passages count as specks")


class CylindricalCell(Settings):
    """The whole recipe."""

    recipe: Literal["cylindrical-cell"] = Field("cylindrical-cell", description="which recipe this is")
    title: str = Field("Electrode layers of a wound cell", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    credit: str = Field("", description="whose images these are, for the report")
    training: Training = Field(description="What the network learns from.")
    test: Mask | None = Field(None, description="another image with its mask, to judge by: {image: a.tif, mask: b.tif}")
    volume: Volume = Field(description="The volume to measure.")
    measure: Measure = Field(Measure(), description="How the layers are measured.")


def absolute(settings: CylindricalCell, base: Path) -> CylindricalCell:
    """Every path made absolute."""

    def full(path: str | None) -> str | None:
        return None if path is None else str(resolve(path, base))

    training, test = settings.training, settings.test
    strokes = training.strokes and training.strokes.model_copy(update={"mask": full(training.strokes.mask)})
    return settings.model_copy(
        update={
            "training": training.model_copy(
                update={
                    "image": full(training.image),
                    "annotations": full(training.annotations),
                    "strokes": strokes,
                }
            ),
            "test": test and test.model_copy(update={"image": full(test.image), "mask": full(test.mask)}),
            "volume": settings.volume.model_copy(update={"image": full(settings.volume.image)}),
        }
    )
