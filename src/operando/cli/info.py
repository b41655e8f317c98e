"""``operando info``: what is this file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from operando.cli.console import print_json, size


def command(
    path: Annotated[str, typer.Argument(help="An image file, folder or store; name a data set with FILE.h5#/path.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a file is: dims, units, size, and what is missing. Reads headers only."""
    from operando.core.errors import FileError
    from operando.io import describe
    from operando.io.annotations import is_log

    if is_log(path):
        raise FileError(f"{path}: an image is needed, got an annotation log. Read it with: operando label log {path}")
    found = describe(path)
    if as_json:
        print_json(found)
        return
    for line in lines(found):
        print(line)


def lines(about: dict[str, Any]) -> Iterator[str]:
    """What ``describe`` found, for people."""
    inside = f"#{about['dataset']}" if about["dataset"] else ""
    yield f"{about['path']}{inside}  ({about['reader']})"
    if about["shape"] is not None:
        shape = ", ".join(f"{dim} {count}" for dim, count in zip(about["dims"], about["shape"], strict=True))
        yield f"  shape    {shape or 'one value'}"
        unit = f" in {about['units']}" if about["units"] not in (None, "1") else ""
        yield f"  values   {about['dtype']}{unit}, {size(about['bytes'])} in memory"
        if any(unit != "px" for unit in about["voxel_units"].values()):
            voxel = ", ".join(
                f"{dim} {step:.6g} {about['voxel_units'][dim]}" for dim, step in about["voxel_size"].items() if step
            )
            yield f"  voxel    {voxel}"
        if about["extent_um"]:
            yield "  extent   " + ", ".join(f"{dim} {extent:.6g} um" for dim, extent in about["extent_um"].items())
        if about["t"]:
            t = about["t"]
            yield f"  time     {t['n']} scans from {t['first']:.6g} to {t['last']:.6g} {t['units']}"
        for name, axis in about["coords"].items():
            yield f"  axis     {_axis(name, axis)}"
        if about["chunks"]:
            yield f"  chunks   {' x '.join(map(str, about['chunks']))}"
        if about["phases"]:
            yield "  phases   " + ", ".join(f"{number} {name}" for name, number in about["phases"].items())
    if len(about["datasets"]) > 1:
        yield "  data sets (name one as FILE#/path)"
        for item in about["datasets"]:
            role = f"  {item['role']}" if item.get("role") else ""
            yield f"    {item['path']}  {tuple(item['shape'])} {item['dtype']}{role}"
    for sentence in about["missing"]:
        yield f"  missing  {sentence}"


def _axis(name: str, axis: dict[str, Any]) -> str:
    """One coordinate: what it runs along and from where to where, as far as numbers say it."""
    unit = "" if axis["units"] == "1" else f" {axis['units']}"
    first, last = axis.get("first"), axis.get("last")
    if not axis["dims"]:
        return f"{name} {first}{unit}" if not isinstance(first, float) else f"{name} {first:.8g}{unit}"
    along = f"{name} along {', '.join(axis['dims'])}"
    if not isinstance(first, float) or not isinstance(last, float):
        return f"{along}, in{unit}" if unit else along
    return f"{along} from {first:.8g} to {last:.8g}{unit}"
