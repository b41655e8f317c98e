"""Charge and what it says: cycler files, Faraday's law and the balance of images against coulombs."""

from operando.electrochemistry.balance import apparent_porosity, balance
from operando.electrochemistry.critical_current import critical_current, voltage_steps
from operando.electrochemistry.cycler import charge_between, read_cycler
from operando.electrochemistry.faraday import charge_of_volume, lithium_volume
from operando.electrochemistry.ledger import half_cycles, ledger
from operando.electrochemistry.polymer import (
    ether_oxygens_per_lithium,
    polymer_salt_concentration,
    polynomial_diffusivity,
)
from operando.electrochemistry.pulses import applied_hours, pulses
from operando.electrochemistry.salt_diffusion import displaced_transference, displacement_rate, salt_diffusion
from operando.electrochemistry.sand import (
    concentration_overpotential,
    depletion_time,
    limiting_current,
    sand_time,
    transition_time,
)

__all__ = [
    "apparent_porosity",
    "applied_hours",
    "balance",
    "charge_between",
    "charge_of_volume",
    "concentration_overpotential",
    "critical_current",
    "depletion_time",
    "displaced_transference",
    "displacement_rate",
    "ether_oxygens_per_lithium",
    "half_cycles",
    "ledger",
    "limiting_current",
    "lithium_volume",
    "polymer_salt_concentration",
    "polynomial_diffusivity",
    "pulses",
    "read_cycler",
    "salt_diffusion",
    "sand_time",
    "transition_time",
    "voltage_steps",
]
