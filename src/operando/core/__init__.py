"""What every other package stands on: axes, units, phases, the quantity table, provenance, errors."""
