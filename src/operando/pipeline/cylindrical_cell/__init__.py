"""Recipe ``cylindrical-cell``: the layers of a wound cell, learned from strokes and measured along the radius."""

from operando.pipeline.cylindrical_cell.settings import CylindricalCell, absolute
from operando.pipeline.cylindrical_cell.steps import faults, make_steps, summary_tables
from operando.pipeline.recipe import Recipe

RECIPE = Recipe(
    name="cylindrical-cell",
    summary="The electrode layers of a wound cell: learned from strokes on one image, tested on another, measured.",
    settings=CylindricalCell,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My wound cell",
        "training": {"image": "slice.tif", "annotations": "strokes.tif"},
        "volume": {"image": "cell.tif", "voxel_size_um": 33.97},
    },
)
