"""What a ``growth-rate`` recipe may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from operando.pipeline.settings import Settings, resolve

Layers = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
Split = Literal["random", "frame", "experiment"]


class Experiment(Settings):
    """One series of images of a growing electrode."""

    name: str = Field(min_length=1, description="what it is called in tables and figures")
    images: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="a series (t, y, x) in one file, a folder of images, or a list with one image per time"
    )
    normal: Literal["y", "x"] = Field(
        "y", description="axis of the image across the electrode: y; x where the metal lies at the left or the right"
    )
    saturation: float = Field(
        255.0, gt=0, description="gray value that counts as 255: 65535 for 16 bit, 1 for fractions"
    )
    interval_min: float | None = Field(None, gt=0, description="minutes between images; null takes what the file says")
    times_min: list[float] | None = Field(None, description="or the time of each image in minutes")
    pixel_size_um: float | None = Field(None, gt=0, description="edge of a pixel in um; null takes what the file says")
    frames: tuple[int, int] | None = Field(None, description="images to use, as [0, 16]; null: all")
    current_density: float | None = Field(
        None,
        ge=0,
        description="mA cm-2, for the growth that Faraday's law expects of dense lithium; null: not compared",
    )

    @model_validator(mode="after")
    def _one_clock(self) -> Self:
        if self.interval_min is not None and self.times_min is not None:
            raise ValueError("interval_min, times_min: give one of them, and leave the other null")
        return self


class Interface(Settings):
    """How the edge of the metal is found."""

    rule: Literal["saturated line", "half level"] = Field(
        "saturated line", description="saturated line: bright edge of Raman images; half level: bright beside dark"
    )
    threshold: float = Field(230.0, gt=0, le=255, description="gray value of 255 from which on the line is saturated")
    metal: Literal["high", "low"] | None = Field(
        None,
        description="end of the axis where the metal lies: high (bottom of the picture, or right), low; null: darker",
    )
    missing: Literal["raise", "nan"] = Field(
        "raise", description="an image in which no interface is found: raise stops, nan leaves it out"
    )


class Salt(Settings):
    """From gray values to the concentration of the salt."""

    dark: float | None = Field(
        None, ge=0, description="gray value of 255 without salt; null: as stored with the images"
    )
    gray_per_molar: float | None = Field(
        None, gt=0, description="of 255, per mol/L; null: as stored with the images, else relative gray values"
    )
    smoothing: tuple[int, int] = Field((6, 6), description="kernel in pixels (y, x), as in the paper")
    over_um: float = Field(30.0, gt=0, description="depth of the electrolyte that tells the salt at the surface, in um")
    partial_below: float | None = Field(
        None, gt=0, le=1, description="share of the first surface concentration below which depletion is partial"
    )
    full_below: float | None = Field(None, gt=0, lt=1, description="share below which depletion is full")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.dark is None) != (self.gray_per_molar is None):
            raise ValueError("dark, gray_per_molar: a calibration needs both; give both or leave both null")
        return self

    @property
    def calibration(self) -> dict[str, float] | None:
        """The calibration as the science takes it."""
        if self.dark is None or self.gray_per_molar is None:
            return None
        return {"dark": self.dark, "gray_per_molar": self.gray_per_molar}


class Forecast(Settings):
    """The paper's network, what it is compared with, and what forecasts."""

    hidden: Layers = Field([16, 16], description="neurons of each hidden layer of the paper's network")
    epochs: int = Field(250, ge=1, description="at most, of every training of this recipe; the paper's limit is 1000")
    model: str = Field(
        "network pattern",
        description="which of the compared models forecasts the growth after the last image; "
        "operando.dendrites.MODELS lists them",
    )
    restarts: int = Field(
        3, ge=1, description="trainings of that network, of which the one of highest evidence is kept"
    )
    splits: Annotated[list[Split], Field(min_length=1)] = Field(
        ["random", "frame", "experiment"],
        description="how rows are held out: random (as the paper; leaks), frame, experiment",
    )
    repeats: int = Field(5, ge=1, description="of every split")
    level: float = Field(0.95, gt=0, lt=1, description="of the intervals")


class Study(Settings):
    """Which features, times and networks it takes."""

    run: bool = Field(True, description="false leaves the study out, which takes most of the time")
    networks: Annotated[list[Layers], Field(min_length=1)] = Field(
        [[8], [16], [8, 8], [16, 16]], description="hidden layers of the networks that are compared"
    )
    wider: list[Layers] = Field([[32, 32]], description="further networks with all features, to show overfitting")
    repeats: int = Field(5, ge=1, description="of every setting and split")


class Sensitivity(Settings):
    """What the growth rate depends on."""

    run: bool = Field(True, description="false leaves it out")
    trainings: int = Field(100, ge=2, description="over which mean and spread are taken")
    samples: int = Field(512, ge=16, description="base samples of Sobol's method; a power of 2 is best")
    permutations: int = Field(10, ge=1, description="of every feature on held-out frames")


class GrowthRate(Settings):
    """The whole recipe."""

    recipe: Literal["growth-rate"] = Field("growth-rate", description="which recipe this is")
    title: str = Field("Growth of a lithium electrode", description="heading of the report")
    output: str | None = Field(None, description="run folder; null: beside this file, under its name")
    seed: int = Field(0, ge=0, description="of everything random")
    credit: str = Field("", description="whose images these are, for the report")
    experiments: Annotated[list[Experiment], Field(min_length=1)] = Field(
        description="The series of images. Each has name, images and, where the files do not say it, interval_min (or "
        "times_min) and pixel_size_um; further frames, normal, saturation and current_density."
    )
    simulated: bool = Field(False, description="true marks everything shown as simulated")
    interface: Interface = Field(Interface(), description="How the edge of the metal is found.")
    salt: Salt = Field(Salt(), description="From gray values to the concentration of the salt.")
    points: int = Field(200, ge=3, description="points along the interface, evenly spread")
    forecast: Forecast = Field(
        Forecast(), description="The paper's network, what it is compared with, and what forecasts."
    )
    study: Study = Field(Study(), description="Which features, times and networks it takes.")
    sensitivity: Sensitivity = Field(Sensitivity(), description="What the growth rate depends on.")
    truth: str | None = Field(None, description="JSON with what a simulation knows: ceilings of R and sensitivities")

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [item.name for item in self.experiments]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"experiments: every name must be there once, {', '.join(twice)} stands twice")
        return self

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that these experiments allow, in the order of growing honesty."""
        order: tuple[Split, ...] = ("random", "frame", "experiment")
        allowed = order if len(self.experiments) > 1 else order[:2]
        return tuple(split for split in allowed if split in self.forecast.splits)


def absolute(settings: GrowthRate, base: Path) -> GrowthRate:
    """Every path made absolute."""

    def full(path: str) -> str:
        return str(resolve(path, base))

    experiments = [
        item.model_copy(
            update={
                "images": [full(path) for path in item.images] if isinstance(item.images, list) else full(item.images)
            }
        )
        for item in settings.experiments
    ]
    return settings.model_copy(update={"experiments": experiments, "truth": settings.truth and full(settings.truth)})
