"""The small artifacts of a run folder: tables, JSON and images, read and written one way."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from operando import io, report
from operando.pipeline.step import Task


def read_image(task: Task, artifact: str) -> xr.DataArray:
    """Open an image of the run, lazily."""
    return io.open_image(task.path(artifact))


def write_image(task: Task, artifact: str, image: xr.DataArray, *, labels: bool | None = None) -> None:
    """Write an image, block by block."""
    with task.writing(artifact) as path:
        io.save_image(image, path, labels=labels)


def read_json(path: Path) -> Any:
    """Read a JSON artifact."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(task: Task, artifact: str, value: Any) -> None:
    """Write a JSON artifact; NaN becomes null."""
    with task.writing(artifact) as path:
        dump_json(path, value)


def dump_json(path: Path, value: Any) -> None:
    """Write JSON that any parser takes: NaN becomes null."""
    path.write_text(json.dumps(_plain(value), indent=2, default=str) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_table(task: Task, artifact: str, table: pd.DataFrame) -> None:
    """Write a table as Parquet or CSV, as the name says."""
    with task.writing(artifact) as path:
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False, float_format="%.9g")


def write_dataset(task: Task, artifact: str, dataset: xr.Dataset) -> None:
    """Write a Dataset as a Zarr group."""
    # Text of fixed length has no place in the Zarr specification; that of any length has.
    fixed = {name: values.astype(object) for name, values in dataset.coords.items() if values.dtype.kind == "U"}
    dataset = dataset.assign_coords(fixed)
    with task.writing(artifact) as path:
        dataset.to_zarr(path, zarr_format=3, consolidated=False)


def read_dataset(path: Path) -> xr.Dataset:
    """Read what :func:`write_dataset` wrote."""
    return xr.open_zarr(path, consolidated=False).load()


def read_small_dataset(path: Path) -> xr.Dataset:
    """Read a Dataset that was written by ``write_json(task, artifact, dataset.to_dict())``; null is NaN again."""
    return small_dataset(read_json(path))


def small_dataset(plain: Any) -> xr.Dataset:
    """A Dataset from what its ``to_dict`` gave, as JSON has it: null is NaN again."""
    dataset = xr.Dataset.from_dict(plain)
    return dataset.assign({name: values.astype(float) for name, values in dataset.items() if values.dtype == object})


class FigureFolder:
    """Figures on their way to the page and, as files, to the folder beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def figure(self, name: str, figure: Any, caption: str) -> report.FigureItem:
        """Save a figure as PNG and wrap it for the page."""
        (self.folder / f"{name}.png").write_bytes(report.png_bytes(figure))
        return report.FigureItem(figure, caption)

    def picture(self, name: str, picture: Any) -> None:
        """Save a ready picture, an array (height, width, 3) of bytes, beside the figures."""
        from PIL import Image

        Image.fromarray(picture).save(self.folder / f"{name}.png")


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
