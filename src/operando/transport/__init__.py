"""How the microstructure conducts and bears load: tortuosity factor, effective conductivity and stiffness."""

from operando.transport.conduction import boundary_current, effective_conductivity, tortuosity_factor
from operando.transport.polycrystal import POLYCRYSTAL, property_map, synthetic_polycrystal
from operando.transport.stiffness import effective_stiffness, elasticity, stiffness_tensor, youngs_moduli
from operando.transport.stiffness_bounds import stiffness_bounds

__all__ = [
    "POLYCRYSTAL",
    "boundary_current",
    "effective_conductivity",
    "effective_stiffness",
    "elasticity",
    "property_map",
    "stiffness_bounds",
    "stiffness_tensor",
    "synthetic_polycrystal",
    "tortuosity_factor",
    "youngs_moduli",
]
