"""Properties of lithium metal that the simulation, the maps and the balance must share."""

SPECIFIC_CAPACITY_MAH_G = 3860.0
"""Charge per mass, mAh/g (Huang 2023)."""

DENSITY_G_CM3 = 0.534
"""Of the dense metal at room temperature, g/cm3 (Huang 2023)."""

FARADAY_C_MOL = 96485.33212
"""Charge per mole of electrons, C/mol (CODATA 2018)."""

MOLAR_VOLUME_CM3_MOL = 12.998
"""Of the dense metal at room temperature, cm3/mol (Dixit 2020)."""
