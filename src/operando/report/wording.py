"""How numbers, units, axes and scans are spelled in figures and tables."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable

import numpy as np
import xarray as xr

from operando.core.errors import require

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def unit_text(unit: str, *, power: int = 0) -> str:
    """Spell a unit for people, with a power of ten in front where one is taken out of the numbers.

    Examples
    --------
    >>> unit_text("um3"), unit_text("mAh cm-2"), unit_text("um3", power=3), unit_text("1")
    ('µm³', 'mAh cm⁻²', '10³ µm³', '')
    """
    words = []
    for word in unit.split():
        match = re.fullmatch(r"([A-Za-zµμ%Å]+)(-?\d+)?", word)
        if not match:
            words.append(word)
            continue
        base = re.sub(r"^u(?=m$|A|V|s$)", "µ", match[1])
        words.append(base + (match[2] or "").translate(_SUPERSCRIPT))
    text = "" if unit.strip() == "1" else " ".join(words)
    scale = "10" + str(power).translate(_SUPERSCRIPT) if power else ""
    return " ".join(part for part in (scale, text) if part)


def label_text(name: str, unit: str = "1", *, power: int = 0, lines: int = 1) -> str:
    """Axis label in the form *name [unit]*, capitalized, the unit on a second line where ``lines`` is 2.

    Examples
    --------
    >>> label_text("effective thickness", "um"), label_text("coverage", "1")
    ('Effective thickness [µm]', 'Coverage')
    """
    shown = unit_text(unit, power=power)
    name = name[:1].upper() + name[1:]
    return f"{name}{chr(10) if lines == 2 else ' '}[{shown}]" if shown else name


def array_label(array: xr.DataArray, *, default: str = "Value") -> str:
    """Axis label of a labeled array from its ``long_name`` and ``units``."""
    name = str(array.attrs.get("long_name") or array.name or default).replace("_", " ")
    return label_text(name, str(array.attrs.get("units", "1")))


def power_of_ten(values: Iterable[float]) -> int:
    """Multiple of three to take out of numbers so that the largest lies between 1 and 1000.

    Numbers between 0.1 and 10 000 are left as they are.

    Examples
    --------
    >>> power_of_ten([1.2e6, 3e5]), power_of_ten([120.0]), power_of_ten([])
    (6, 0, 0)
    """
    data = np.asarray(list(values), dtype=float)
    finite = np.abs(data[np.isfinite(data)])
    top = float(finite.max()) if finite.size else 0.0
    if top == 0 or 0.1 <= top < 1e4:
        return 0
    return 3 * math.floor(math.log10(top) / 3)


def quantity_text(value: float, half_width: float = float("nan"), unit: str = "1") -> str:
    """Spell a number with the half width of its interval, rounded to what the interval supports.

    Examples
    --------
    >>> quantity_text(218765.4, 8123.0, "um3"), quantity_text(0.876), quantity_text(12.3, 0.4, "um")
    ('(218.8 ± 8.1) × 10³ µm³', '0.876', '12.30 ± 0.40 µm')
    """
    if not math.isfinite(value):
        return "not known"
    power = power_of_ten([value])
    shown, half = value / 10.0**power, half_width / 10.0**power
    ten = f"× {unit_text(unit, power=power)}" if power else unit_text(unit)
    if not half > 0:
        return f"{_rounded(shown, 3)} {ten}".strip()
    # Two significant digits of the interval decide how many of the value are worth printing.
    decimals = max(0, 1 - math.floor(math.log10(half)))
    pair = f"{shown:.{decimals}f} ± {half:.{decimals}f}".replace("-", "−")
    return f"({pair}) {ten}" if power else f"{pair} {ten}".strip()


def _rounded(value: float, digits: int) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{decimals}f}".replace("-", "−")


def length_text(length: float, unit: str = "um") -> str:
    """Length of a scale bar in the unit a reader expects.

    Examples
    --------
    >>> length_text(50), length_text(2000), length_text(20, "px")
    ('50 µm', '2 mm', '20 px')
    """
    if unit == "um" and length >= 1000:
        return f"{length / 1000:g} mm"
    if unit == "um" and length < 0.5:
        return f"{length * 1000:g} nm"
    return f"{length:g} {unit_text(unit)}"


def scan_titles(array: xr.DataArray, scans: Iterable[int]) -> list[str]:
    """Step that ends with each scan, where the array names them; else its time, or its number where that has no unit.

    Examples
    --------
    >>> image = xr.DataArray([0, 0], dims="t", coords={"t": ("t", [0.5, 12.25], {"units": "h"})})
    >>> scan_titles(image, [0, 1])
    ['0.5 h', '12.2 h']
    """
    scans = list(scans)
    if "step" in array.coords:
        steps = np.atleast_1d(array.coords["step"].values)
        return [str(steps[scan] if steps.size > 1 else steps[0]) for scan in scans]
    units = str(array.coords["t"].attrs.get("units", "1")) if "t" in array.coords else "1"
    if units == "1":
        return [f"scan {scan}" for scan in scans]
    times = np.atleast_1d(np.asarray(array.coords["t"].values, dtype=float))
    shown = [float(times[scan] if times.size > 1 else times[0]) for scan in scans]
    decimals = 1 if max(map(abs, shown), default=0.0) >= 10 else 2
    return [f"{time:.{decimals}f} {unit_text(units)}" for time in shown]


def spread_scans(count: int, shown: int) -> list[int]:
    """Return at most ``shown`` scan numbers, evenly spread, with the first and the last.

    Examples
    --------
    >>> spread_scans(9, 4), spread_scans(3, 5)
    ([0, 3, 5, 8], [0, 1, 2])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, shown))})


def wrapped(text: str, width_mm: float, *, size: float = 8, bold: bool = False) -> list[str]:
    """Break a text into lines that are at most so wide in print; a word that is wider is broken too.

    Examples
    --------
    >>> wrapped("Effective thickness of the electrodes", 40)
    ['Effective thickness of the', 'electrodes']
    """
    limit = width_mm / 25.4 * 72 / size
    lines: list[str] = []
    # A unit in brackets stays whole.
    for word in re.findall(r"\[[^\]]*\]|\S+", text):
        if lines and _width(f"{lines[-1]} {word}", bold) <= limit:
            lines[-1] += f" {word}"
            continue
        while _width(word, bold) > limit and len(word) > 1:
            end = next((n for n in range(len(word) - 1, 1, -1) if _width(word[:n], bold) <= limit), 1)
            lines.append(word[:end])
            word = word[end:]
        lines.append(word)
    return lines


def _width(text: str, bold: bool) -> float:
    """Width of a text in the font of the figures, in units of the font size."""
    return sum(_advance(letter, bold) for letter in text)


@functools.cache
def _advance(letter: str, bold: bool) -> float:
    require("matplotlib", extra="report", purpose="A figure")
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100)
