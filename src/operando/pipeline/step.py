"""A step: a function plus what it declares about itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from operando.core.files import written_whole

Access = Literal["block", "slice", "sinogram", "scan", "whole", "table"]


class Listener:
    """Who is told how a run goes. This one keeps silent; the command line has one that draws bars."""

    def step_started(self, step: Step) -> None:
        """A step that has to run begins."""

    def step_skipped(self, step: Step) -> None:
        """A step whose finished result is used again."""

    def progress(self, step: Step, done: float, total: float, note: str = "") -> None:
        """Part of a step is done; ``done`` and ``total`` are in any unit."""

    def step_finished(self, step: Step, seconds: float) -> None:
        """A step has ended well."""

    def say(self, text: str) -> None:
        """A sentence for the log."""


@dataclass(frozen=True)
class Task:
    """What a step's function is given: its run folder, its parameters, and ways to speak."""

    step: Step
    folder: Path
    listener: Listener

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters the step declared."""
        return self.step.parameters

    def path(self, artifact: str) -> Path:
        """Where a finished artifact of an earlier step lies."""
        if artifact not in self.step.inputs:
            raise KeyError(f"step {self.step.name!r} reads {artifact!r} without declaring it as an input")
        return self.folder / artifact

    def writing(self, artifact: str) -> AbstractContextManager[Path]:
        """Context with a temporary path that becomes the artifact once the block has ended well."""
        if artifact not in self.step.outputs:
            raise KeyError(f"step {self.step.name!r} writes {artifact!r} without declaring it as an output")
        return written_whole(self.folder / artifact)

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Tell how far the step is."""
        self.listener.progress(self.step, done, total, note)

    def say(self, text: str) -> None:
        """Write a sentence to the log."""
        self.listener.say(f"{self.step.name}: {text}")


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Parameters
    ----------
    name : str
        Unique in its recipe.
    title : str
        What it does, for people.
    function : callable of Task
        Reads ``task.path(input)``, writes inside ``with task.writing(output) as path``.
    inputs, outputs : tuple of str
        Names in the run folder; a folder such as ``labels.zarr`` is one artifact.
    parameters : mapping
        Everything its result depends on besides inputs; must be JSON.
    files : tuple of Path
        Files outside the run folder that it reads.
    access : {"block", "slice", "sinogram", "scan", "whole", "table"}
        What has to be in memory at once.
    halo : int
        Voxels around a block that it also reads.
    bytes_in_memory : int
        Estimate of the peak while it runs, all workers together.
    bytes_on_disk : int
        Estimate of what it writes.
    seconds : float
        Rough time on two cores, from measured rates (see ``docs/benchmarks.md``).
    version : int
        Raised when the code changes its results, so that old results are not used again.
    """

    name: str
    title: str
    function: Callable[[Task], None]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    access: Access = "table"
    halo: int = 0
    bytes_in_memory: int = 0
    bytes_on_disk: int = 0
    seconds: float = 0.0
    version: int = 1


def derived_seed(seed: int, *keys: object) -> int:
    """A seed for one part of a run, so that the number of workers cannot change a result.

    Examples
    --------
    >>> derived_seed(0, "train") == derived_seed(0, "train"), derived_seed(0, "train") == derived_seed(1, "train")
    (True, False)
    """
    text = ":".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
