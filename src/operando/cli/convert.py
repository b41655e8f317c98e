"""``operando convert``: any readable format to the canonical store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operando.cli.console import say, size


def command(
    path: Annotated[str, typer.Argument(help="What to read; name a data set with FILE.h5#/path.")],
    out: Annotated[Path, typer.Argument(help="What to write; the suffix (.zarr, .tif, .h5, .raw) says the format.")],
    voxel_size_um: Annotated[
        str | None,
        typer.Option(help="Edge of a voxel in um: one number, or one per spatial dim, z first, as 2,1.33,1.33."),
    ] = None,
    dims: Annotated[str | None, typer.Option(help="Names of the axes where the guess is wrong, as t,z,y,x.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace OUT where it exists.")] = False,
) -> None:
    """Convert an image, block by block, keeping voxel size, units and axis order."""
    from operando.io import open_image, save_image

    image = open_image(path, voxel_size_um=_numbers(voxel_size_um), dims=dims.split(",") if dims else None)
    save_image(image, out, overwrite=overwrite)
    say(f"{out}: {' x '.join(map(str, image.shape))} ({', '.join(map(str, image.dims))}), {size(image.nbytes)}")


def _numbers(text: str | None) -> float | list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--voxel-size-um takes numbers such as 1.33 or 2,1.33,1.33, got {text!r}") from None
    return values[0] if len(values) == 1 else values
