"""The few units that images, charge and time come in, and the factors between them.

A closed table instead of a unit library: arrays stay plain, a conversion is one multiplication, and an
unknown unit is an error with a suggestion, not a guess.
"""

from __future__ import annotations

from operando.core.errors import UnitsError, nearest

# Factor to the base unit of each kind: um, s, mA, mAh, V.
_UNITS: dict[str, dict[str, float]] = {
    "length": {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "angstrom": 1e-4, "inch": 25400.0},
    "time": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
    "current": {"nA": 1e-6, "uA": 1e-3, "mA": 1.0, "A": 1e3},
    "charge": {"C": 1 / 3.6, "mC": 1 / 3600.0, "uAh": 1e-3, "mAh": 1.0, "Ah": 1e3},
    "voltage": {"uV": 1e-6, "mV": 1e-3, "V": 1.0},
    "energy": {"eV": 1.0, "keV": 1e3},
}
_ALIASES = {
    "µm": "um",
    "μm": "um",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "micrometre": "um",
    "nanometer": "nm",
    "nanometre": "nm",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "å": "angstrom",
    "second": "s",
    "seconds": "s",
    "sec": "s",
    "minute": "min",
    "minutes": "min",
    "hour": "h",
    "hours": "h",
    "hr": "h",
    "hrs": "h",
    "day": "d",
    "µa": "uA",
    "μa": "uA",
}
PIXEL = "px"
"""The unit of an axis that nobody has calibrated."""


def canonical(unit: str) -> str:
    """Spell a unit the way operando does.

    Examples
    --------
    >>> canonical("micrometer"), canonical("µm"), canonical("mA")
    ('um', 'um', 'mA')
    """
    text = unit.strip()
    if any(text in table for table in _UNITS.values()):
        return text
    return _ALIASES.get(text.lower(), text)


def kind(unit: str) -> str | None:
    """Return ``length, time, current, charge, voltage, energy`` or None for anything else."""
    name = canonical(unit)
    for what, table in _UNITS.items():
        if name in table:
            return what
    return None


def factor(unit: str, to: str) -> float:
    """Factor that turns a number in ``unit`` into a number in ``to``.

    Raises
    ------
    UnitsError
        Where a unit is unknown or the two measure different things.

    Examples
    --------
    >>> factor("mm", "um")
    1000.0
    >>> factor("C", "mAh") * 3.6
    1.0
    """
    source, target = canonical(unit), canonical(to)
    table = _UNITS.get(kind(target) or "", {})
    if target not in table:
        raise UnitsError(f"units: {to!r} is not a unit operando converts to. {nearest(to, _all())}")
    if source not in table:
        raise UnitsError(
            f"units: a {kind(target)} in one of {', '.join(table)} is needed to convert to {to!r}, got {unit!r}. "
            "Set the unit of the coordinate or column first."
        )
    return table[source] / table[target]


def _all() -> list[str]:
    return [name for table in _UNITS.values() for name in table]
