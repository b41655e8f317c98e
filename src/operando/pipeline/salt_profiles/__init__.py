"""Recipe ``salt-profiles``: the salt between two electrodes over time, its gradients, and Sand's time."""

from operando.pipeline.recipe import Recipe
from operando.pipeline.salt_profiles.inputs import faults
from operando.pipeline.salt_profiles.settings import SaltProfiles, absolute
from operando.pipeline.salt_profiles.steps import make_steps, summary_tables

RECIPE = Recipe(
    name="salt-profiles",
    summary="Salt between two lithium electrodes over time: gradients, depletion, and Sand's time against the voltage.",
    settings=SaltProfiles,
    absolute=absolute,
    faults=faults,
    steps=make_steps,
    summary_tables=summary_tables,
    example={
        "title": "My salt profiles",
        "profiles": {"folder": "profiles", "field_of_view_um": 4000, "interval_s": 513},
        "cycler": {"file": "voltage.csv"},
        "electrolyte": {"concentration_mol_l": 1.0},
    },
)
