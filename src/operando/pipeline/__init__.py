"""Recipes, plans and runs: the science packages joined into whole jobs that can be resumed."""

from collections.abc import Callable
from pathlib import Path

from operando.pipeline import cell_ct, cylindrical_cell, demo, growth_rate, pores, salt_profiles, sparse_labels, stxm
from operando.pipeline.growth_rate import demo as growth_demo
from operando.pipeline.planning import Plan, PlannedStep, plan
from operando.pipeline.pores import demo as pores_demo
from operando.pipeline.recipe import LoadedRecipe, Recipe, load
from operando.pipeline.running import execute, finished_steps, plan_in
from operando.pipeline.step import Listener, Step, Task, derived_seed
from operando.pipeline.stxm import demo as stxm_demo

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        cell_ct.RECIPE,
        pores.RECIPE,
        stxm.RECIPE,
        growth_rate.RECIPE,
        salt_profiles.RECIPE,
        cylindrical_cell.RECIPE,
        sparse_labels.RECIPE,
    )
}
DEMOS: dict[str, Callable[..., Path]] = {
    "cell-ct": demo.write_demo,
    "pores": pores_demo.write_demo,
    "stxm": stxm_demo.write_demo,
    "growth-rate": growth_demo.write_demo,
}
"""Recipes with a synthetic cell of their own: what writes it and the recipe file."""

__all__ = [
    "DEMOS",
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
