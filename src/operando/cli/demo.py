"""``operando demo``: a synthetic operando cell through the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import say


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write the cell and the run.")] = Path("demo"),
    scans: Annotated[int, typer.Option(min=4, help="Scans of the cycle.")] = 9,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic cell and the training.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Simulate a Li | polymer | Li cell under CT and take it from images to lithium ledger and report."""
    from operando.cli.run import finish
    from operando.pipeline import load
    from operando.pipeline.demo import write_demo

    recipe = write_demo(folder, scans=scans, seed=seed, say=say)
    finish(recipe, loaded=load(recipe), workers=workers, as_json=as_json)
