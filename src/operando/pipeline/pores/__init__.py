"""Recipe ``pores``: from CT of Li | ceramic | Li to pores, current and what the ceramic explains (Dixit 2020)."""

from operando.pipeline.pores.explaining import summary_tables
from operando.pipeline.pores.faults import faults
from operando.pipeline.pores.settings import Pores, absolute
from operando.pipeline.pores.steps import make_steps
from operando.pipeline.recipe import Recipe

RECIPE = Recipe(
    name="pores",
    summary="From CT of a lithium | ceramic | lithium cell to its pores, current and hot spots (after Dixit 2020).",
    settings=Pores,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My cell",
        "inputs": {"images": "cell.zarr", "voxel_size_um": 1.17, "cycler": "cycler.csv"},
        "segment": {"corrections": "corrections.tif"},
    },
)
