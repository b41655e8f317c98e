"""Carry out a plan in a run folder; repeating the command is how a run is resumed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operando.core.errors import FileError, OperandoError, RunError
from operando.core.files import remove, sweep, written_whole
from operando.core.provenance import versions
from operando.pipeline.planning import Plan, plan
from operando.pipeline.step import Listener, Step, Task

_STATE = "steps"
logger = logging.getLogger("operando")


def finished_steps(folder: str | Path, steps: Sequence[Step]) -> dict[str, str]:
    """Step name to fingerprint of every step whose artifacts are all in the folder."""
    root = Path(folder)
    found: dict[str, str] = {}
    for step in steps:
        try:
            state = json.loads((root / _STATE / f"{step.name}.json").read_text())
            fingerprint = str(state["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if all((root / artifact).exists() for artifact in step.outputs):
            found[step.name] = fingerprint
    return found


def plan_in(folder: str | Path, steps: Sequence[Step]) -> Plan:
    """The plan for a run folder as it stands."""
    return plan(steps, finished=finished_steps(folder, steps))


def execute(
    steps: Sequence[Step],
    folder: str | Path,
    *,
    listener: Listener | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
    recipe: str | None = None,
    again: Sequence[str] = (),
) -> Plan:
    """Run the steps that have to run.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    folder : path
        The run folder; made where it does not exist.
    listener : Listener, optional
        Who is told how it goes.
    workers : int, optional
        Threads that Dask uses; default one per core. The number cannot change a result.
    settings : mapping, optional
        The recipe with its defaults written out, kept in ``provenance.json``.
    recipe : str, optional
        The recipe as text, kept in ``recipe.yaml``.
    again : sequence of str
        Steps to run although their results are there.

    Returns
    -------
    Plan
        What was planned before anything ran.

    Raises
    ------
    RunError
        Where a step fails; finished steps are kept, and repeating the command goes on from there.
    FileError
        Where another process works in the same folder.
    """
    import dask

    root = Path(folder)
    listener = listener or Listener()
    _make(root)
    with _only_one(root), _log_to(root / "log.txt"), dask.config.set(scheduler="threads", num_workers=workers):
        sweep(root)
        (root / _STATE).mkdir(exist_ok=True)
        for name in again:
            remove(root / _STATE / f"{name}.json")
        planned = plan_in(root, steps)
        if recipe is not None:
            with written_whole(root / "recipe.yaml") as temporary:
                temporary.write_text(recipe, encoding="utf-8")
        _write_json(
            root / "provenance.json",
            {"started": _now(), "versions": versions(), "settings": settings or {}, "plan": planned.table()},
        )
        for item in planned.steps:
            step = item.step
            if item.done:
                listener.step_skipped(step)
                continue
            state = root / _STATE / f"{step.name}.json"
            remove(state)
            listener.step_started(step)
            logger.info("%s: begins", step.name)
            began = time.perf_counter()
            try:
                step.function(Task(step, root, listener))
            except OperandoError as error:
                logger.error("%s: %s", step.name, error)
                raise
            except MemoryError as error:
                logger.exception("%s", step.name)
                raise RunError(
                    f"step {step.name}: ran out of memory (planned for {step.bytes_in_memory / 1e9:.1f} GB). "
                    "Set a smaller 'block' in the recipe, or fewer --workers."
                ) from error
            except Exception as error:
                logger.exception("%s", step.name)
                raise RunError(
                    f"step {step.name}: stopped by an unexpected {type(error).__name__}: {error}. "
                    f"The details are in {root / 'log.txt'}; finished steps are kept."
                ) from error
            missing = [artifact for artifact in step.outputs if not (root / artifact).exists()]
            if missing:
                raise RunError(
                    f"step {step.name}: should have written {missing} but did not. This is a fault of the step."
                )
            seconds = time.perf_counter() - began
            _write_json(
                state,
                {
                    "fingerprint": item.fingerprint,
                    "finished": _now(),
                    "seconds": round(seconds, 3),
                    "outputs": step.outputs,
                },
            )
            logger.info("%s: done in %.1f s", step.name, seconds)
            listener.step_finished(step, seconds)
    return planned


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{root}: the run folder cannot be made ({error.strerror}). Choose another 'output'."
        ) from error


def _write_json(path: Path, value: Any) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n")


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it even where the process is killed."""
    try:
        import fcntl
    except ImportError:  # Windows has no fcntl: no lock there
        yield
        return
    with open(root / ".lock", "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileError(
                f"{root}: another run is working in this folder. Wait for it, or give this run another 'output'."
            ) from None
        yield
