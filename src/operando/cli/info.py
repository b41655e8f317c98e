"""``operando info``: what is this file."""

from __future__ import annotations

from typing import Annotated

import typer

from operando.cli.console import print_json, size


def command(
    path: Annotated[str, typer.Argument(help="An image file, folder or store; name a data set with FILE.h5#/path.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a file is: dims, units, size, and what is missing. Reads headers only."""
    from operando.io import describe

    found = describe(path)
    if as_json:
        print_json(found)
        return
    print(f"{found['path']}  ({found['format']})")
    if found.get("shape") is not None:
        dims = found["dims"]
        print(f"  shape    {' x '.join(f'{d} {n}' for d, n in zip(dims, found['shape'], strict=True))}")
        print(f"  type     {found['dtype']}, {size(found['bytes'])} in memory")
        for dim, axis in found.get("axes", {}).items():
            print(f"  {dim:<8} {axis}")
    for line in found.get("notes", []):
        print(f"  note     {line}")
    if found.get("datasets"):
        print("  data sets")
        for item in found["datasets"]:
            print(f"    {item['path']}  {tuple(item['shape'])} {item['dtype']}")
    for line in found.get("missing", []):
        print(f"  missing  {line}")
