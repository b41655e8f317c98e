"""What a ``salt-profiles`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from operando.pipeline.settings import Settings, resolve


class Profiles(Settings):
    """The profiles along the normal of the electrodes."""

    folder: str = Field(description="folder of numbered text files, one number per line; the number counts time")
    field_of_view_um: float = Field(gt=0, description="length that all points of a profile cover, in um")
    interval_s: float = Field(gt=0, description="from the beginning of one profile to that of the next, in s")
    flip: bool = Field(False, description="true turns the profiles round")
    count: int | None = Field(None, ge=3, description="only the first so many files; null: all")
    use_first: int = Field(3, ge=1, description="so many first profiles are the state before the current")
    simulated: bool = Field(False, description="true labels every figure as simulated")


class Cycler(Settings):
    """Voltage and current."""

    file: str = Field(description="CSV or text file with time, current and voltage")
    columns: dict[str, tuple[str, str]] = Field(
        default_factory=dict,
        description="where its header is not understood, by name or number: {time: ['0', h], current: ['2', mA]}",
    )
    first_profile_h: float | None = Field(
        None, description="when the first profile begins, on the cycler's clock; null: when the record begins"
    )


class Diffusivity(Settings):
    """Of the salt, as a polynomial."""

    coefficients: list[float] = Field(min_length=1, description="in m2 s-1, highest power first")
    variable: Literal["mol/L", "EO:Li", "Li per 100 EO"] = Field("mol/L", description="what it is a polynomial of")
    valid: tuple[float, float] = Field(description="between which values it may be used; constant outside")


class Electrolyte(Settings):
    """What is between the electrodes."""

    concentration_mol_l: float | None = Field(None, gt=0, description="salt before the current; or null and eo_per_li")
    eo_per_li: float | None = Field(
        None, gt=0, description="ether oxygens per lithium of a PEO electrolyte with LiTFSI"
    )
    temperature_k: float = Field(298.15, gt=0, description="for the concentration overpotential")
    area_cm2: float | None = Field(
        None, gt=0, description="of an electrode; null: not known, and neither are current density and transference"
    )
    diffusivity: Diffusivity | None = Field(
        None,
        description="of the salt: {coefficients: [1e-12], valid: [0.1, 2]}; null: what the profiles say themselves",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.concentration_mol_l is None) == (self.eo_per_li is None):
            raise ValueError("give either 'concentration_mol_l' or 'eo_per_li', and not both")
        return self


class Measure(Settings):
    """How the salt at the electrodes is read."""

    over_um: float = Field(100.0, gt=0, description="length of the line that is fitted to the salt beside an electrode")
    none_above: float = Field(0.8, gt=0, lt=1.5, description="share of the salt above which nothing is depleted")
    full_below: float = Field(0.2, ge=0, lt=1, description="share of the salt below which an electrode is depleted")


class SaltProfiles(Settings):
    """The whole recipe."""

    recipe: Literal["salt-profiles"] = Field("salt-profiles", description="which recipe this is")
    title: str = Field("Salt between two electrodes", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    credit: str = Field("", description="whose data these are, for the report")
    profiles: Profiles = Field(description="The profiles along the normal of the electrodes.")
    cycler: Cycler = Field(description="Voltage and current.")
    electrolyte: Electrolyte = Field(description="What is between the electrodes.")
    measure: Measure = Field(Measure(), description="How the salt at the electrodes is read.")


def absolute(settings: SaltProfiles, base: Path) -> SaltProfiles:
    """Every path made absolute."""
    profiles, cycler = settings.profiles, settings.cycler
    return settings.model_copy(
        update={
            "profiles": profiles.model_copy(update={"folder": str(resolve(profiles.folder, base))}),
            "cycler": cycler.model_copy(update={"file": str(resolve(cycler.file, base))}),
        }
    )
