"""``operando demo``: a synthetic operando cell through the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import say
from operando.core.errors import nearest

_SCANNED = ("cell-ct", "pores")


def command(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Where to write the sample and the run; default demo, or demo-RECIPE."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="cell-ct: Li | polymer | Li and its lithium ledger; pores: Li | ceramic | Li, pores, current; "
            "stxm: V2O5 particles over photon energy, phases and lithiation; growth-rate: Raman images of a growing "
            "electrode, what drives it."
        ),
    ] = "cell-ct",
    scans: Annotated[
        int | None,
        typer.Option(min=3, help="Scans of cell-ct and pores, at least 4 and 3; default 9 and 5."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic sample and of everything random.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Simulate a lithium cell under CT, X-rays or a microscope, and go from images to ledger and report."""
    from operando.cli.run import finish
    from operando.pipeline import DEMOS, load

    if recipe not in DEMOS:
        raise typer.BadParameter(f"there is no demo of {recipe!r}. {nearest(recipe, DEMOS)}", param_hint="--recipe")
    where = folder or Path("demo" if recipe == "cell-ct" else f"demo-{recipe}")
    if scans is not None and recipe not in _SCANNED:
        raise typer.BadParameter(f"the demo of {recipe} has no scans; leave --scans out", param_hint="--scans")
    asked = {} if scans is None else {"scans": scans}
    written = DEMOS[recipe](where, seed=seed, say=say, **asked)
    finish(written, loaded=load(written), workers=workers, as_json=as_json)
