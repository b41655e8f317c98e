"""Recipe ``growth-rate``: from images of a growing electrode to what drives its growth (Ma 2021)."""

from operando.pipeline.growth_rate.faults import faults
from operando.pipeline.growth_rate.settings import GrowthRate, absolute
from operando.pipeline.growth_rate.steps import make_steps
from operando.pipeline.growth_rate.summary import summary_tables
from operando.pipeline.recipe import Recipe

RECIPE = Recipe(
    name="growth-rate",
    summary="From images of a growing electrode to its growth rate and what drives it (after Ma 2021).",
    settings=GrowthRate,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My electrode",
        "experiments": [
            {"name": "first", "images": "first.tif", "interval_min": 5, "pixel_size_um": 0.5, "current_density": 0.6}
        ],
    },
)
