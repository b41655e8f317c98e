"""Recipe ``cell-ct``: from CT images of a working lithium cell to its lithium ledger (Huang 2023)."""

from operando.pipeline.cell_ct.accounting import summary_tables
from operando.pipeline.cell_ct.faults import faults
from operando.pipeline.cell_ct.settings import CellCT, absolute
from operando.pipeline.cell_ct.steps import make_steps
from operando.pipeline.recipe import Recipe

RECIPE = Recipe(
    name="cell-ct",
    summary="From projections or CT images of a working lithium cell to its lithium ledger (after Huang 2023).",
    settings=CellCT,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My cell",
        "inputs": {"images": "cell.zarr", "voxel_size_um": 1.33, "cycler": "cycler.csv"},
        "segment": {"annotations": "annotations.tif"},
    },
)
