"""``operando run``: run, or resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import Bars, print_json, print_table


def command(
    path: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The recipe.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run a recipe. Repeat the command to resume: finished steps are not run again."""
    from operando.pipeline import load

    finish(path, workers=workers, as_json=as_json, loaded=load(path))


def finish(path: Path, *, loaded: object, workers: int | None = None, as_json: bool = False) -> None:
    """Run a loaded recipe with progress bars and print its summary."""
    from operando.pipeline import LoadedRecipe

    assert isinstance(loaded, LoadedRecipe)
    with Bars() as bars:
        loaded.run(listener=bars, workers=workers)
    summary = loaded.summary()
    if as_json:
        print_json(summary)
        return
    for title, rows in summary["tables"].items():
        print_table(rows, title=title)
        print()
    print(f"ledger  {summary['ledger']}")
    print(f"report  {summary['report']}")
