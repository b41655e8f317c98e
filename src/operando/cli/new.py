"""``operando new``: a commented template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import say
from operando.core.errors import nearest


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Its name: cell-ct, pores, stxm, growth-rate, salt-profiles, cylindrical-cell or sparse-labels."
        ),
    ],
    path: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="File to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
) -> None:
    """Write a recipe in which every key is explained."""
    from operando.core.files import written_whole
    from operando.pipeline import RECIPES

    if recipe not in RECIPES:
        raise typer.BadParameter(f"there is no recipe {recipe!r}. {nearest(recipe, RECIPES)}", param_hint="RECIPE")
    with written_whole(path, overwrite=force) as temporary:
        temporary.write_text(RECIPES[recipe].template(), encoding="utf-8")
    say(f"{path}: fill in the inputs, then: operando check {path}")
