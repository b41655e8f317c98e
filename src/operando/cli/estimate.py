"""``operando estimate``: memory, disk and time before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import duration, print_json, print_table, size


def command(
    path: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The recipe.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; default one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a run would take, from headers and measured rates. Times are right within a factor of about two."""
    from operando.pipeline import load

    planned = load(path).plan(workers=workers)
    rows, total = planned.table(), planned.estimate()
    if as_json:
        print_json({"steps": rows, "total": total})
        return
    print_table(
        [
            {
                "step": row["step"],
                "status": row["status"],
                "reads": row["access"] + (f" + {row['halo']}" if row["halo"] else ""),
                "memory": size(row["memory_bytes"]),
                "disk": size(row["disk_bytes"]),
                "time": duration(row["seconds"]),
            }
            for row in rows
        ]
    )
    print(
        f"\nto run: {size(total['memory_bytes'])} of memory at the peak, {size(total['disk_bytes'])} on disk, "
        f"about {duration(total['seconds'])}"
    )
