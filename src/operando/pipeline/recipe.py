"""Recipes: a settings model, the steps it stands for, and what to check before they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operando.core.errors import RecipeError, RunError, nearest
from operando.pipeline import running
from operando.pipeline.planning import Plan
from operando.pipeline.settings import Settings, read_yaml, resolve, template, validate
from operando.pipeline.step import Listener, Step


@dataclass(frozen=True)
class Recipe:
    """One kind of job.

    Parameters
    ----------
    name, summary : str
        As in ``operando new NAME``.
    settings : type of Settings
        What the YAML file may say; each field has a description.
    absolute : callable
        Returns the settings with every path made absolute (base folder of the recipe file given).
    faults : callable
        Sentences about what the settings and the headers of the files they name get wrong.
    steps : callable
        Steps of the job; reads headers only. ``workers`` enters the memory estimate alone.
    summary_tables : callable
        Short tables of a finished run folder, title to rows.
    example : mapping
        Values that a template starts from.
    """

    name: str
    summary: str
    settings: type[Settings]
    absolute: Callable[[Any, Path], Any]
    faults: Callable[[Any], list[str]]
    steps: Callable[[Any, int], list[Step]]
    summary_tables: Callable[[Path], dict[str, list[dict[str, Any]]]]
    example: Mapping[str, Any]

    def template(self) -> str:
        """A commented YAML file with every key."""
        heading = (
            f"{self.summary}\n\n"
            "Paths are relative to this file; ${NAME:-default} takes an environment variable.\n"
            "operando check FILE lists every fault, operando estimate FILE says what it takes,\n"
            "operando run FILE runs it; the same command resumes."
        )
        return template(self.settings, heading=heading, given=self.example)


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe file that has passed the checks of its keys and types."""

    recipe: Recipe
    settings: Any
    source: Path

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.settings.output)

    def faults(self) -> list[str]:
        """What the files it names get wrong, as sentences; headers are read, pixels are not."""
        found = self.recipe.faults(self.settings)
        return found or self._collisions(self.recipe.steps(self.settings, 1))

    def steps(self, *, workers: int | None = None) -> list[Step]:
        """The steps; raises :class:`RecipeError` where there are faults."""
        faults = self.faults()
        if faults:
            raise RecipeError(faults, where=str(self.source))
        steps = self.recipe.steps(self.settings, workers or os.cpu_count() or 1)
        faults = self._collisions(steps)
        if faults:
            raise RecipeError(faults, where=str(self.source))
        return steps

    def _collisions(self, steps: list[Step]) -> list[str]:
        """Sentences where a run would write over what it reads, or into a folder that is not a run's."""
        results = {self.folder / artifact for step in steps for artifact in step.outputs}
        found = [
            f"output: {self.folder} would get a result called {result.name}, but {path} is read there. "
            "Choose another 'output'."
            for path in sorted({path for step in steps for path in step.files})
            for result in results
            if result == path or result in path.parents or path in result.parents
        ]
        known = (self.folder / "steps").is_dir() or (self.folder / ".lock").exists()
        if not found and self.folder.is_dir() and not known and any(self.folder.iterdir()):
            found.append(
                f"output: {self.folder} must be a new folder or that of a run, and holds other things. Choose another."
            )
        return found

    def plan(self, *, workers: int | None = None) -> Plan:
        """The plan for the run folder as it stands; nothing is written."""
        return running.plan_in(self.folder, self.steps(workers=workers))

    def run(self, *, listener: Listener | None = None, workers: int | None = None) -> Plan:
        """Run, or resume."""
        return self._execute(self.steps(workers=workers), listener=listener, workers=workers)

    def report(self, *, listener: Listener | None = None) -> Plan:
        """Make the report again; every step before it must have finished."""
        steps = self.steps()
        pending = [item.step.name for item in running.plan_in(self.folder, steps).pending if item.step.name != "report"]
        if pending:
            raise RunError(
                f"{self.folder}: a report needs a finished run, but {', '.join(pending)} still has to run. "
                f"Finish it with: operando run {self.source}"
            )
        return self._execute(steps, listener=listener, again=("report",))

    def summary(self) -> dict[str, Any]:
        """Where the results lie and a few short tables."""
        return {
            "folder": str(self.folder),
            "report": str(self.folder / "report.html"),
            "ledger": str(self.folder / "ledger.csv"),
            "tables": self.recipe.summary_tables(self.folder),
        }

    def _execute(
        self,
        steps: list[Step],
        *,
        listener: Listener | None,
        workers: int | None = None,
        again: tuple[str, ...] = (),
    ) -> Plan:
        content = self.settings.model_dump(mode="json")
        text = (
            "# The recipe as run, defaults written out and paths made absolute.\n"
            f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}"
        )
        return running.execute(
            steps, self.folder, listener=listener, workers=workers, settings=content, recipe=text, again=again
        )


def load(path: str | Path, *, output: str | Path | None = None) -> LoadedRecipe:
    """Read and check a recipe file.

    Parameters
    ----------
    path : path
        The YAML file.
    output : path, optional
        Run folder instead of the one that the recipe names.

    Returns
    -------
    LoadedRecipe

    Raises
    ------
    FileError
        Where there is no such file.
    RecipeError
        With every fault of its keys and types.
    """
    from operando.pipeline import RECIPES

    source = Path(path).resolve()
    content = read_yaml(source)
    name = content.get("recipe")
    if not isinstance(name, str) or name not in RECIPES:
        hint = nearest(str(name), RECIPES) if name is not None else f"Known: {', '.join(RECIPES)}."
        raise RecipeError([f"recipe: must name a recipe, got {name!r}. {hint}"], where=str(source))
    recipe = RECIPES[str(name)]
    settings = recipe.absolute(validate(recipe.settings, content, where=str(source)), source.parent)
    if output is not None:
        settings = settings.model_copy(update={"output": str(Path(output).resolve())})
    elif not settings.output:
        settings = settings.model_copy(update={"output": str(source.with_suffix(""))})
    else:
        settings = settings.model_copy(update={"output": str(resolve(settings.output, source.parent))})
    return LoadedRecipe(recipe, settings, source)
