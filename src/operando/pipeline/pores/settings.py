"""What a ``pores`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from operando.pipeline.scans.settings import Inputs, Registration, Tomography, absolute_inputs, full
from operando.pipeline.settings import Settings


class Cell(Settings):
    """What is known about the cell."""

    plating_side: Literal["low", "high"] = Field("low", description="side in z that plates in the first step")
    steps: list[str] | None = Field(
        None, description="name of each scan, as [pristine, plate 1, strip 1]; null names them after the current"
    )
    active_area_cm2: float | None = Field(
        None, gt=0, description="area the current passes; the field of view takes its share. null: all of the current"
    )
    molar_volume_cm3_mol: float = Field(12.998, gt=0, description="of lithium, for the current density (Dixit 2020)")
    current_accuracy: float = Field(0.001, ge=0, lt=1, description="of the cycler, one sigma, as a fraction")


class Boundaries(Settings):
    """Where lithium ends, from gray profiles along z."""

    smooth_um: float = Field(6.0, ge=0, description="sigma of the lateral smoothing of the boundaries")
    rigid_ceramic: bool = Field(
        True, description="the ceramic does not move: one interface for all scans, which must be aligned"
    )
    sigma_voxels: float = Field(
        0.075, ge=0, description="smooth error of a thickness beyond noise, one sigma, for the test of hot spots"
    )


class Segment(Settings):
    """How lithium and its pores are told apart."""

    method: Literal["network", "otsu"] = Field("network", description="network: a U-Net; otsu: the baseline alone")
    network: Literal["dixit2020", "small"] = Field(
        "dixit2020", description="dixit2020: U-Net with the resnet34 encoder of the paper; small: a residual U-Net"
    )
    model: str | None = Field(None, description="a trained network to use; null trains one")
    corrections: str | None = Field(
        None,
        description="labels by hand where edges are wrong: (t, z, y, x) image or log, 255 = keep the edges",
    )
    electrode: Literal["low", "high"] = Field("low", description="electrode that the network is trained on")
    scan: int = Field(0, ge=0, description="scan that the network is trained on")
    training_slices: int = Field(800, ge=1, description="slices to train on, at most")
    validation_slices: int = Field(200, ge=1, description="slices of the same electrode kept to validate on, at most")
    steps: int = Field(600, ge=1, description="training steps")
    block: int = Field(192, ge=32, description="edge of a block in voxels; a smaller one needs less memory, more time")


class Measure(Settings):
    """Sizes over which pores and currents are averaged."""

    bin_um: float = Field(10.0, gt=0, description="depth of a bin of the porosity profile in lithium")
    near_interface_um: float = Field(10.0, gt=0, description="depth from the ceramic that counts as near the interface")
    electrolyte_bin_um: float = Field(36.0, gt=0, description="depth of a bin of the profile in the ceramic")
    interface_um: float = Field(100.0, gt=0, description="depth of the ceramic beneath an interface that is analyzed")
    tile_um: float = Field(36.0, gt=0, description="edge of a lateral tile of the maps")
    smallest_pore_voxels: int = Field(8, ge=1, description="pores of fewer voxels are not listed one by one")


class HotSpots(Settings):
    """What counts as a hot or cold spot."""

    radius_um: float = Field(18.0, gt=0, description="radius of the neighborhood whose mean current is tested")
    against: Literal["noise", "field"] = Field(
        "noise", description="noise: a spot differs beyond the error; field: beyond the map's usual ups and downs"
    )
    excess: float = Field(0.1, ge=0, description="share by which a spot must differ, with against: noise")
    fdr: float = Field(0.05, gt=0, lt=1, description="false-discovery rate")


class Ceramic(Settings):
    """The electrolyte's own properties, and the isotropic domains it is compared with."""

    youngs_modulus_gpa: float = Field(150.0, gt=0, description="of dense ceramic (LLZO)")
    poissons_ratio: float = Field(0.26, gt=-1, lt=0.5, description="of dense ceramic")
    grain_size_um: float = Field(10.0, gt=0, description="of the synthetic isotropic domains; not seen by absorption")
    boundary_conductivity: float = Field(
        1.0, gt=0, le=1, description="of grain boundaries over that of grains, in the synthetic domains"
    )
    synthetic_domains: int = Field(40, ge=2, description="isotropic domains that are made for comparison")
    stiffness: bool = Field(True, description="false leaves Young's moduli out, which take most of the time")


class Explain(Settings):
    """Regression of local current on the microstructure beneath."""

    permutations: int = Field(499, ge=99, description="of whole blocks of tiles")


class ReportSettings(Settings):
    """What the page shows."""

    spots: int = Field(6, ge=1, description="hot spots whose sections are drawn, strongest first")


class Pores(Settings):
    """The whole recipe."""

    recipe: Literal["pores"] = Field("pores", description="which recipe this is")
    title: str = Field("Pores and current in Li | ceramic | Li", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    inputs: Inputs = Field(description="What was recorded, one scan per step: pristine, plate, strip, ...")
    cell: Cell = Field(Cell(), description="What is known about the cell.")
    tomography: Tomography = Field(Tomography(), description="From projections to volume, where these are given.")
    registration: Registration = Field(Registration(), description="Alignment of the scans.")
    boundaries: Boundaries = Field(Boundaries(), description="Where lithium ends.")
    segment: Segment = Field(Segment(), description="How lithium and its pores are told apart.")
    measure: Measure = Field(Measure(), description="Sizes over which things are averaged.")
    hot_spots: HotSpots = Field(HotSpots(), description="What counts as a hot spot.")
    ceramic: Ceramic = Field(Ceramic(), description="The electrolyte's own properties.")
    explain: Explain = Field(Explain(), description="Does the microstructure explain the current?")
    report: ReportSettings = Field(ReportSettings(), description="What the page shows.")
    truth: str | None = Field(None, description="true labels where the cell is simulated: adds the comparison")
    truth_current: str | None = Field(
        None, description="true current density (t, component, y, x) in mA cm-2 where the cell is simulated"
    )

    @model_validator(mode="after")
    def _named(self) -> Pores:
        steps = self.cell.steps
        if steps is not None and len(set(steps)) != len(steps):
            raise ValueError("cell.steps: every scan needs a name of its own, such as plate 1, plate 2")
        return self


def absolute(settings: Pores, base: Path) -> Pores:
    """Every path made absolute."""
    segment = settings.segment
    return settings.model_copy(
        update={
            "inputs": absolute_inputs(settings.inputs, base),
            "segment": segment.model_copy(
                update={"corrections": full(segment.corrections, base), "model": full(segment.model, base)}
            ),
            "truth": full(settings.truth, base),
            "truth_current": full(settings.truth_current, base),
        }
    )
