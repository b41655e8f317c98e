"""Recipe ``sparse-labels``: any gray image with a few labeled voxels, segmented, measured and judged."""

from operando.pipeline.recipe import Recipe
from operando.pipeline.sparse_labels.settings import SparseLabels, absolute
from operando.pipeline.sparse_labels.steps import faults, make_steps, summary_tables

RECIPE = Recipe(
    name="sparse-labels",
    summary="Any gray image with a few labeled voxels: phases everywhere, their fractions, and how far to trust them.",
    settings=SparseLabels,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My micrograph",
        "image": {"file": "image.tif"},
        "labels": {"file": "labels.tif", "phases": {"matrix": 1, "pore": 2}},
    },
)
