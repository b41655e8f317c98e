"""Charge and what it says: cycler files, Faraday's law and the balance of images against coulombs."""

from operando.electrochemistry.balance import apparent_porosity, balance
from operando.electrochemistry.critical_current import critical_current, voltage_steps
from operando.electrochemistry.cycler import charge_between, read_cycler
from operando.electrochemistry.faraday import charge_of_volume, lithium_volume
from operando.electrochemistry.ledger import half_cycles, ledger
from operando.electrochemistry.pulses import applied_hours, pulses

__all__ = [
    "apparent_porosity",
    "applied_hours",
    "balance",
    "charge_between",
    "charge_of_volume",
    "critical_current",
    "half_cycles",
    "ledger",
    "lithium_volume",
    "pulses",
    "read_cycler",
    "voltage_steps",
]
