"""Two properties of lithium metal that the simulation and the balance must share."""

SPECIFIC_CAPACITY_MAH_G = 3860.0
"""Charge per mass, mAh/g (Huang 2023)."""

DENSITY_G_CM3 = 0.534
"""Of the dense metal at room temperature, g/cm3 (Huang 2023)."""
