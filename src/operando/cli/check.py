"""``operando check``: every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import print_json
from operando.core.errors import RecipeError


def command(
    path: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The recipe.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a recipe and the headers of its files; list every fault; exit 1 where there is one."""
    from operando.pipeline import load

    try:
        loaded = load(path)
        faults = loaded.faults()
    except RecipeError as error:
        faults = list(error.faults)
    if as_json:
        print_json({"recipe": str(path), "faults": faults})
        raise typer.Exit(1 if faults else 0)
    if faults:
        raise RecipeError(faults, where=str(path))
    print(f"{path}: no faults")
