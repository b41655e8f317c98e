"""Recipes, plans and runs: the science packages joined into whole jobs that can be resumed."""

from operando.pipeline import cell_ct, cylindrical_cell, sparse_labels
from operando.pipeline.planning import Plan, PlannedStep, plan
from operando.pipeline.recipe import LoadedRecipe, Recipe, load
from operando.pipeline.running import execute, finished_steps, plan_in
from operando.pipeline.step import Listener, Step, Task, derived_seed

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (cell_ct.RECIPE, cylindrical_cell.RECIPE, sparse_labels.RECIPE)
}

__all__ = [
    "RECIPES",
    "Listener",
    "LoadedRecipe",
    "Plan",
    "PlannedStep",
    "Recipe",
    "Step",
    "Task",
    "derived_seed",
    "execute",
    "finished_steps",
    "load",
    "plan",
    "plan_in",
]
