"""What would run, in which order, and what it would take: pure, printable, tested without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operando.core.provenance import digest, file_digest
from operando.pipeline.step import Step


@dataclass(frozen=True)
class PlannedStep:
    """A step with its fingerprint and whether its finished result can be used."""

    step: Step
    fingerprint: str
    done: bool


@dataclass(frozen=True)
class Plan:
    """The steps of a run in order."""

    steps: tuple[PlannedStep, ...]

    @property
    def pending(self) -> tuple[PlannedStep, ...]:
        """Steps that have to run."""
        return tuple(planned for planned in self.steps if not planned.done)

    def table(self) -> list[dict[str, Any]]:
        """One plain row per step, for printing or JSON."""
        return [
            {
                "step": planned.step.name,
                "title": planned.step.title,
                "access": planned.step.access,
                "halo": planned.step.halo,
                "memory_bytes": planned.step.bytes_in_memory,
                "disk_bytes": planned.step.bytes_on_disk,
                "seconds": planned.step.seconds,
                "status": "done" if planned.done else "to run",
                "fingerprint": planned.fingerprint,
            }
            for planned in self.steps
        ]

    def estimate(self) -> dict[str, float]:
        """Peak memory (largest step), disk and time (sums) of what has to run."""
        pending = [planned.step for planned in self.pending]
        return {
            "memory_bytes": max((step.bytes_in_memory for step in pending), default=0),
            "disk_bytes": sum(step.bytes_on_disk for step in pending),
            "seconds": sum(step.seconds for step in pending),
        }


def plan(
    steps: Sequence[Step],
    *,
    finished: Mapping[str, str] | None = None,
    fingerprint_file: Callable[[Path], str] = file_digest,
) -> Plan:
    """Order is as given; a step is done where its fingerprint matches a finished result.

    Parameters
    ----------
    steps : sequence of Step
        Each input must be an output of an earlier step.
    finished : mapping of str to str, optional
        Step name to fingerprint of results whose artifacts are all there.
    fingerprint_file : callable
        Fingerprint of an outside file; by name, size and modification time.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Where two steps share a name or an output, or an input has no step that makes it.

    Notes
    -----
    A fingerprint covers the step's name, version, parameters and outside files, and the fingerprints
    of the steps that make its inputs: a change anywhere upstream runs everything downstream again.

    Examples
    --------
    >>> from operando.pipeline.step import Step
    >>> first = Step("count", "Count", print, outputs=("count.json",), parameters={"n": 3})
    >>> fingerprint = plan([first]).steps[0].fingerprint
    >>> plan([first], finished={"count": fingerprint}).pending
    ()
    """
    finished = finished or {}
    made_by: dict[str, str] = {}
    prints: dict[str, str] = {}
    planned: list[PlannedStep] = []
    for step in steps:
        if step.name in prints:
            raise ValueError(f"plan: each step needs a name of its own, got {step.name!r} twice. Rename one.")
        for artifact in step.inputs:
            if artifact not in made_by:
                raise ValueError(f"plan: step {step.name!r} reads {artifact!r}, which no earlier step makes.")
        for artifact in step.outputs:
            if artifact in made_by:
                raise ValueError(f"plan: {artifact!r} is made by both {made_by[artifact]!r} and {step.name!r}.")
        fingerprint = digest(
            {
                "name": step.name,
                "version": step.version,
                "parameters": step.parameters,
                "outputs": step.outputs,
                "files": [fingerprint_file(path) for path in step.files],
                "inputs": {artifact: prints[made_by[artifact]] for artifact in step.inputs},
            }
        )
        prints[step.name] = fingerprint
        made_by.update(dict.fromkeys(step.outputs, step.name))
        planned.append(PlannedStep(step, fingerprint, finished.get(step.name) == fingerprint))
    return Plan(tuple(planned))
