"""``operando report``: figures, tables and the page once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import Bars


def command(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its recipe.")],
) -> None:
    """Make the report of a finished run again, for example after an upgrade."""
    from operando.pipeline import load

    loaded = load(path / "recipe.yaml", output=path) if path.is_dir() else load(path)
    with Bars() as bars:
        loaded.report(listener=bars)
    print(loaded.summary()["report"])
