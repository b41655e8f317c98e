"""Recipes: a settings model, the steps it stands for, and what to check before they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from operando.core.errors import RecipeError, RunError, nearest
from operando.core.files import remove, written_whole
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
        return self.recipe.faults(self.settings)

    def steps(self, *, workers: int | None = None) -> list[Step]:
        """The steps; raises :class:`RecipeError` where there are faults."""
        faults = self.faults()
        if faults:
            raise RecipeError(faults, where=str(self.source))
        return self.recipe.steps(self.settings, workers or os.cpu_count() or 1)

    def plan(self, *, workers: int | None = None) -> Plan:
        """The plan for the run folder as it stands; nothing is written."""
        return running.plan_in(self.folder, self.steps(workers=workers))

    def run(self, *, listener: Listener | None = None, workers: int | None = None) -> Plan:
        """Run, or resume."""
        steps = self.steps(workers=workers)
        self._keep_recipe()
        return running.execute(
            steps, self.folder, listener=listener, workers=workers, settings=self.settings.model_dump(mode="json")
        )

    def report(self, *, listener: Listener | None = None) -> Plan:
        """Make the report again; every step before it must have finished."""
        steps = self.steps()
        pending = [item.step.name for item in running.plan_in(self.folder, steps).pending if item.step.name != "report"]
        if pending:
            raise RunError(
                f"{self.folder}: a report needs a finished run, but {', '.join(pending)} still has to run. "
                f"Finish it with: operando run {self.source}"
            )
        remove(self.folder / "steps" / "report.json")
        return running.execute(steps, self.folder, listener=listener, settings=self.settings.model_dump(mode="json"))

    def summary(self) -> dict[str, Any]:
        """Where the results lie and a few short tables."""
        return {
            "folder": str(self.folder),
            "report": str(self.folder / "report.html"),
            "ledger": str(self.folder / "ledger.csv"),
            "tables": self.recipe.summary_tables(self.folder),
        }

    def _keep_recipe(self) -> None:
        content = self.settings.model_dump(mode="json")
        text = (
            f"# The recipe as run, defaults written out and paths made absolute.\n"
            f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}"
        )
        with written_whole(self.folder / "recipe.yaml") as temporary:
            temporary.write_text(text, encoding="utf-8")


def load(path: str | Path) -> LoadedRecipe:
    """Read and check a recipe file.

    Parameters
    ----------
    path : path
        The YAML file.

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
    if name not in RECIPES:
        hint = nearest(str(name), RECIPES) if name is not None else f"Known: {', '.join(RECIPES)}."
        raise RecipeError([f"recipe: must name a recipe, got {name!r}. {hint}"], where=str(source))
    recipe = RECIPES[str(name)]
    settings = recipe.absolute(validate(recipe.settings, content, where=str(source)), source.parent)
    if settings.output is None:
        settings = settings.model_copy(update={"output": str(source.with_suffix(""))})
    else:
        settings = settings.model_copy(update={"output": str(resolve(settings.output, source.parent))})
    return LoadedRecipe(recipe, settings, source)
