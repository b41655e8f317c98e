"""Recipe ``stxm``: from images over photon energy to maps of phases and lithiation (Santos 2022)."""

from operando.pipeline.recipe import Recipe
from operando.pipeline.stxm.faults import faults
from operando.pipeline.stxm.settings import Stxm, absolute
from operando.pipeline.stxm.steps import make_steps
from operando.pipeline.stxm.summary import summary_tables

RECIPE = Recipe(
    name="stxm",
    summary="From X-ray images over photon energy to phases and lithiation with error bars (after Santos 2022).",
    settings=Stxm,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My particles",
        "inputs": {"stack": "stack.hdr", "i0": {"region": "open.msk"}},
        "references": [
            {"file": "alpha.csv", "name": "alpha-V2O5", "x": 0},
            {"file": "delta.csv", "name": "delta-LiV2O5", "x": 1},
        ],
    },
)
