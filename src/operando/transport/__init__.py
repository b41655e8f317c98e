"""How the microstructure conducts and bears load: tortuosity factor, effective conductivity and stiffness."""

from operando.transport.bounds import hashin_shtrikman
from operando.transport.conduction import conduction, conduction_rows, effective_conductivity, tortuosity_factor
from operando.transport.fields import boundary_current, flux
from operando.transport.maps import beneath, local_tortuosity
from operando.transport.microstructure import microstructure_factor
from operando.transport.polycrystal import POLYCRYSTAL, property_map, synthetic_polycrystal
from operando.transport.stiffness import effective_stiffness, elasticity, stiffness_tensor, youngs_moduli
from operando.transport.stiffness_bounds import stiffness_bounds
from operando.transport.tensor import conductivity_tensor

__all__ = [
    "POLYCRYSTAL",
    "beneath",
    "boundary_current",
    "conduction",
    "conduction_rows",
    "conductivity_tensor",
    "effective_conductivity",
    "effective_stiffness",
    "elasticity",
    "flux",
    "hashin_shtrikman",
    "local_tortuosity",
    "microstructure_factor",
    "property_map",
    "stiffness_bounds",
    "stiffness_tensor",
    "synthetic_polycrystal",
    "tortuosity_factor",
    "youngs_moduli",
]
