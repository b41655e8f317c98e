"""What an ``stxm`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from operando.pipeline.settings import Settings, resolve


class Incident(Settings):
    """Counts without a sample, from one of three places."""

    file: str | None = Field(None, description="spectrum of the incident counts, as energy and counts")
    column: str | None = Field(None, description="which spectrum of a file that holds several; null: the only one")
    region: str | None = Field(None, description="mask image on the grid of the stack: 1 where there is no sample")
    percentile: float | None = Field(
        None, gt=0, lt=100, description="the brightest pixels of the mean image, from this percentile on"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("file", "region", "percentile") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"one of file, region and percentile is needed, got {given or 'none'}")
        if self.column is not None and self.file is None:
            raise ValueError("column: goes with a file of spectra; leave it null")
        return self


class Inputs(Settings):
    """What was recorded."""

    stack: str | list[str] = Field(description="images over photon energy: a stack, a folder, or one file per energy")
    energies: str | list[float] | None = Field(
        None, description="photon energies in eV, or a file that lists them; null where the images say it"
    )
    repeats: Literal["error", "mean"] = Field(
        "error", description="several images at one energy: error refuses them, mean averages them"
    )
    pixel_size_um: float | None = Field(None, gt=0, description="edge of a pixel in um; null takes what the file says")
    kind: Literal["counts", "optical density"] = Field("counts", description="of the values: counts or optical density")
    i0: Incident | None = Field(None, description="incident counts, needed where the stack holds counts")
    mask: str | None = Field(None, description="mask image: 1 where pixels are analyzed; null: all of them")
    simulated: bool = Field(False, description="true marks everything shown as simulated")

    @model_validator(mode="after")
    def _incident(self) -> Self:
        if self.kind == "counts" and self.i0 is None:
            raise ValueError(
                "i0: counts need incident counts, as {region: open.msk}, {file: i0.xsp} or {percentile: 95}"
            )
        if self.kind != "counts" and self.i0 is not None:
            raise ValueError("i0: an optical density has no incident counts left; leave it null")
        return self


class ReferenceSpectrum(Settings):
    """Spectrum of one pure phase."""

    file: str = Field(description="energy and absorption in columns")
    column: str | None = Field(None, description="which spectrum of a file that holds several; null: the only one")
    name: str | None = Field(None, description="what it is called here; null: as in the file")
    x: float | None = Field(
        None, description="lithium per formula unit of the host, or what else 'lithiation' maps; null: it is no host"
    )


class Detector(Settings):
    """How counts come about."""

    dark: float = Field(0.0, ge=0, description="counts without light")
    dead_time_us: float = Field(0.0, ge=0, description="of the counter, non-paralyzable")
    dwell_ms: float | None = Field(None, gt=0, description="per pixel; null takes what the file says")
    photons_per_count: float | None = Field(
        None, gt=0, description="where counts are not photons; null: one, or measured in the region of I0 where given"
    )
    probe_px: float = Field(
        0.5, ge=0, description="standard deviation in pixels of what a pixel sees: 0.42 x width of the probe, and 0.29"
    )
    stray_fraction: float = Field(0.0, ge=0, lt=1, description="share of the light of other energies, for saturation")


class Align(Settings):
    """Drift over the stack."""

    method: Literal["none", "translation"] = Field("translation", description="none: the images are aligned already")
    maximum_shift_um: float | None = Field(
        None, gt=0, description="no image moved farther; null: a quarter of the field"
    )


class Normalize(Settings):
    """What is taken off the optical density."""

    pre_edge: tuple[float, float] | None = Field(
        None, description="energies in eV whose mean optical density is taken off, as [700, 705]; null: nothing"
    )
    despike: float | None = Field(None, gt=0, description="values this many sigma off their neighbors become missing")

    @field_validator("pre_edge")
    @classmethod
    def _ascending(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if ends is None else (min(ends), max(ends))


class Decompose(Settings):
    """What the stack shows without references."""

    components: int | None = Field(None, ge=1, description="of the singular value decomposition; null: by the noise")
    clusters: int | None = Field(None, ge=1, le=250, description="of k-means; null: one per component")
    minimum_optical_density: float = Field(
        0.05, ge=0, description="mean optical density over the energies, below which a pixel belongs to no cluster"
    )


class Unmix(Settings):
    """The fit of reference spectra."""

    background: Literal["none", "constant", "linear", "scattering"] = Field(
        "none",
        description="beside the references, of either sign: none, constant, linear, scattering (E^-2 and a constant)",
    )
    sum_to_one: bool = Field(False, description="weights are fractions, for normalized spectra")
    weighting: Literal["poisson", "none"] | None = Field(
        None, description="poisson: by the counts; none: all energies alike; null: poisson where the stack holds counts"
    )
    level: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    scale_sigma: bool = Field(
        True, description="errors grow where the fit is worse than the noise, by the root of the reduced chi-square"
    )

    partial_volume: bool = Field(
        False,
        description="put back what the probe (detector.probe_px) hides at rims and boundaries, and fit again",
    )

    @property
    def terms(self) -> str | None:
        """The background as the fit takes it."""
        return None if self.background == "none" else self.background

    @property
    def background_terms(self) -> int:
        """How many numbers the background takes per pixel."""
        return {"none": 0, "constant": 1, "linear": 2, "scattering": 2}[self.background]


class Lithiation(Settings):
    """From phases to lithium."""

    label: str = Field("x in Li_x M", description="what x is, for maps and tables")
    minimum_thickness: float = Field(
        0.05, ge=0, description="in the unit of the weights; thinner pixels have no lithiation"
    )
    charged_discharged: tuple[float, float] | None = Field(
        None, description="x at 100 % and at 0 % state of charge, as [0, 1]; null: no state of charge"
    )

    @field_validator("charged_discharged")
    @classmethod
    def _apart(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None and ends[0] == ends[1]:
            raise ValueError("the charged and the discharged state must differ in x")
        return ends


class Particles(Settings):
    """Where particles are told apart."""

    separate: bool = Field(True, description="false: the field is one")
    minimum_area_um2: float = Field(0.02, gt=0, description="smaller pieces are no particles")
    rings: int = Field(8, ge=2, description="of the profile from core to rim")


class Energies(Settings):
    """Which energies an operando scan would need."""

    counts: list[int] = Field(
        [3, 4, 5, 6, 8, 10, 15, 20], description="numbers of energies that are compared; too small ones are left out"
    )
    show: int = Field(5, ge=1, description="planned number that is listed energy by energy")
    criterion: Literal["d-optimal", "a-optimal", "lithiation"] = Field(
        "d-optimal", description="what is made small: volume or sum of the errors of the weights, or the error of x"
    )
    energy_error: float = Field(
        0.05, ge=0, description="offset of the energy scale in eV, one sigma, that a choice has to bear"
    )
    photons: float | None = Field(
        None, gt=0, description="per pixel, over all images together; null: as many as the whole stack took"
    )


class ReportSettings(Settings):
    """What the page shows."""

    images: int = Field(5, ge=2, le=9, description="images over the energies")
    spectra: int = Field(4, ge=1, le=9, description="pixels whose spectrum and fit are drawn")
    movie: bool = Field(True, description="false leaves the movie over the energies out")


class Stxm(Settings):
    """The whole recipe."""

    recipe: Literal["stxm"] = Field("stxm", description="which recipe this is")
    title: str = Field("Lithiation from X-ray spectro-microscopy", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    credit: str = Field("", description="whose data this is, for the report")
    inputs: Inputs = Field(description="What was recorded.")
    references: list[ReferenceSpectrum] = Field(
        min_length=1, description="Spectra of the pure phases, as - {file: a.csv, name: alpha, x: 0}"
    )
    detector: Detector = Field(Detector(), description="How counts come about.")
    align: Align = Field(Align(), description="Drift over the stack.")
    normalize: Normalize = Field(Normalize(), description="What is taken off the optical density.")
    decompose: Decompose = Field(Decompose(), description="What the stack shows without references.")
    unmix: Unmix = Field(Unmix(), description="The fit of the references.")
    lithiation: Lithiation = Field(Lithiation(), description="From phases to lithium.")
    particles: Particles = Field(Particles(), description="Where particles are told apart.")
    energies: Energies = Field(Energies(), description="Which energies an operando scan would need.")
    report: ReportSettings = Field(ReportSettings(), description="What the page shows.")
    truth: str | None = Field(None, description="true weights (component, y, x) where the stack is simulated")

    @model_validator(mode="after")
    def _weighting(self) -> Self:
        if self.inputs.kind != "counts" and self.unmix.weighting == "poisson":
            raise ValueError("unmix.weighting: an optical density without counts has no Poisson noise; take none")
        return self

    @model_validator(mode="after")
    def _criterion(self) -> Self:
        if self.energies.criterion == "lithiation" and all(item.x is None for item in self.references):
            raise ValueError("energies.criterion: the error of x needs an x of the phases; give it, or take d-optimal")
        return self

    @property
    def weighted(self) -> bool:
        """Whether the fit goes by the noise of the counts."""
        return self.inputs.kind == "counts" and self.unmix.weighting != "none"


def absolute(settings: Stxm, base: Path) -> Stxm:
    """Every path made absolute."""

    def full(path: str) -> str:
        return str(resolve(path, base))

    inputs = settings.inputs
    stack = [full(path) for path in inputs.stack] if isinstance(inputs.stack, list) else full(inputs.stack)
    i0 = inputs.i0 and inputs.i0.model_copy(
        update={key: full(path) for key in ("file", "region") if (path := getattr(inputs.i0, key))}
    )
    return settings.model_copy(
        update={
            "inputs": inputs.model_copy(
                update={
                    "stack": stack,
                    "i0": i0,
                    "energies": full(inputs.energies) if isinstance(inputs.energies, str) else inputs.energies,
                    "mask": inputs.mask and full(inputs.mask),
                }
            ),
            "references": [item.model_copy(update={"file": full(item.file)}) for item in settings.references],
            "truth": settings.truth and full(settings.truth),
        }
    )
