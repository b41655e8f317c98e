"""Columns of numbers as a file of spectra holds them, before anybody says what they mean; read from text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError
from operando.io.reader import check_exists

OWN = "operando.spectra:"
"""Begins the comment line in which operando writes what a plain table cannot hold."""

_COMMENT = re.compile(r"^\s*(#+%*|%+|;+|\*+|!+|//+)\s?")
_NUMBER = re.compile(r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d+)?$")
_DECIMAL_COMMA = re.compile(r"^[+-]?\d*,\d+([eEdD][+-]?\d+)?$|^[+-]?\d+([eEdD][+-]?\d+)?$")
_MISSING = frozenset({"", "nan", "na", "n/a", "-", "--", "none", "null", "inf", "+inf", "-inf", "#n/a", "#div/0!"})
_BEGINS = re.compile(r'^\s*"?[+-]?[.,]?\d')
_XDI_COLUMN = re.compile(r"^column\.(\d+)\s*:\s*(.+)$", re.IGNORECASE)
_FIELD = re.compile(r"^([A-Za-z][\w ./&()-]{0,40}?)\s*[:=]\s*(.*)$")
_ENERGY = re.compile(
    r"^(photon[ _]?|mono[ _]?|x-?ray[ _]?)?(energy|energies|energie|en|e|ev|kev)"
    r"([ _]?(axis|value|values))?([ _/]*[\[(]?(ev|kev)[\])]?)?$",
    re.IGNORECASE,
)


@dataclass
class Table:
    """Named columns of numbers with what the file says about them.

    ``names`` is None where the file names no columns; ``lines`` counts the rows in the file from 1; ``per_column``
    holds one value per column (the energy included) of what belongs to a spectrum, as its formula.
    """

    values: np.ndarray
    names: list[str] | None = None
    lines: np.ndarray | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    per_column: dict[str, list[Any]] = field(default_factory=dict)
    own: dict[str, Any] | None = None
    energy_units: str | None = None
    notes: list[str] = field(default_factory=list)


def is_energy(name: str) -> bool:
    """Whether a column of that name holds photon energies.

    Examples
    --------
    >>> [is_energy(name) for name in ("energy", "Photon Energy (eV)", "energy_keV", "E/eV", "NiO")]
    [True, True, True, True, False]
    """
    return _ENERGY.match(name.strip()) is not None


def read_text_table(path: Path) -> Table:
    """Read the numbers of a text file: the lines before them are its header, each separator and decimal mark serves.

    Raises
    ------
    FileError
        Where the file is no text, holds no table of two columns or more, or a line breaks off or is no row.
    """
    lines = _text(path).splitlines()
    closed = _closed(lines)
    titled = False
    rows: list[tuple[int, list[str]]] = []
    head: list[tuple[str, bool]] = []  # text of a line before the table, and whether it is a comment
    separator: str | None = None
    own: dict[str, Any] | None = None
    for number, line in enumerate(lines, start=1):
        mark = _COMMENT.match(line)
        text = line[mark.end() :].strip() if mark else line.strip()
        if mark and text.startswith(OWN):
            own = _own(text[len(OWN) :], path, number)
        if not text or mark:
            if not rows:
                head.append((text, True))
            continue
        if not rows:
            separator, fields = _split(line, closed)
        else:
            fields = _fields(line, separator, closed)
        if _is_row(fields, started=bool(rows)):
            if rows and len(fields) != len(rows[-1][1]):
                # A count of points or a title of numbers may stand before the table, nothing may stand within it.
                if len(rows) == 1 and not titled:
                    titled = True
                    head.append((lines[rows[0][0] - 1].strip(), False))
                    rows, (separator, fields) = [], _split(line, closed)
                else:
                    raise FileError(
                        f"{path}: every row must have {len(rows[-1][1])} numbers, line {number} has {len(fields)}: "
                        f"{line.strip()[:60]!r}. Complete or remove this line."
                    )
            rows.append((number, fields))
        elif not rows:
            head.append((line.strip(), False))
        else:
            raise FileError(
                f"{path}: every line after the header must be a row of numbers, line {number} is "
                f"{line.strip()[:60]!r}. Remove it, or begin it with '#'."
            )
    if not rows:
        first = next((text for text, comment in head if not comment), "comments only")
        raise FileError(
            f"{path}: is no spectrum: none of its {len(lines)} lines is a row of numbers (it begins {first[:60]!r}). "
            "A spectrum is a text table with the photon energy in its first column."
        )
    width = len(rows[0][1])
    if width < 2:
        raise FileError(
            f"{path}: is no spectrum: line {rows[0][0]} has one number ({rows[0][1][0]!r}), and a row needs an energy "
            "and a value. A list of energies goes with its images: operando.io.open_stack(path, energies=...)."
        )
    values = np.array([[_number(text) for text in fields] for _, fields in rows])
    names, units = _names(head, width, separator)
    table = Table(values, names, np.array([number for number, _ in rows]), _metadata(head), own=own)
    table.energy_units = units
    return table


def _text(path: Path) -> str:
    check_exists(path)
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:4096]:
        raise FileError(
            f"{path}: is no text: it begins with the bytes {raw[:8]!r}. Export the spectrum as two columns of text "
            "(energy in eV, value), or as HDF5 with a data set 'energy'."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _own(text: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise FileError(
            f"{path}: line {number} must hold what operando wrote about the spectra as JSON, and does not ({error}). "
            "Remove this line to read the table without it."
        ) from None
    return dict(found)


def _closed(lines: list[str]) -> bool:
    """Whether every row ends with a separator, as some programs write it: no value is missing behind the last one."""
    rows = [line.rstrip(" ") for line in lines if _BEGINS.match(line)]
    return bool(rows) and all(row.endswith((";", ",", "\t")) for row in rows)


def _split(line: str, closed: bool) -> tuple[str | None, list[str]]:
    """Separator of a row and its fields; a comma separates unless all commas can only be decimal marks."""
    words = line.split()
    if ";" in line:
        separator: str | None = ";"
    elif "\t" in line.strip():
        separator = "\t"
    elif "," in line and not (len(words) > 1 and all(_DECIMAL_COMMA.match(word) for word in words)):
        separator = ","
    else:
        separator = None
    return separator, _fields(line, separator, closed)


def _fields(line: str, separator: str | None, closed: bool) -> list[str]:
    fields = [text.strip().strip('"') for text in (line.split() if separator is None else line.split(separator))]
    return fields[:-1] if closed and separator is not None and len(fields) > 1 and not fields[-1] else fields


def _is_row(fields: list[str], *, started: bool) -> bool:
    numbers = [_NUMBER.match(text) is not None for text in fields]
    known = all(ok or text.lower() in _MISSING for ok, text in zip(numbers, fields, strict=True))
    return known and (started or (numbers[0] and any(numbers)))


def _number(text: str) -> float:
    if text.lower() in _MISSING:
        return float("nan")
    return float(text.replace(",", ".").replace("d", "e").replace("D", "E"))


def _names(head: list[tuple[str, bool]], width: int, separator: str | None) -> tuple[list[str] | None, str | None]:
    """Names of the columns from ``Column.N`` lines, else from the last line before the table; unit of the energy."""
    numbered = {}
    for text, _ in head:
        if found := _XDI_COLUMN.match(text):
            numbered[int(found[1])] = found[2].split("||")[0].strip()
    if len(numbered) == width and set(numbered) == set(range(1, width + 1)):
        named = [_without_unit(numbered[k + 1]) for k in range(width)]
        units = next((unit for name, unit in named if is_energy(name) and unit), None)
        return [name for name, _ in named], units
    filled = [entry for entry in head if re.search(r"\w", entry[0])]
    if not filled:
        return None, None
    text, comment = filled[-1]
    for fields in (_fields(text, separator, True), re.split(r"\s{2,}|\t", text), text.split()):
        # Any line of comment may happen to have as many words as there are columns.
        certain = separator is not None and not comment
        if len(fields) == width and (certain or is_energy(fields[0])) and len(set(fields)) == width:
            unit = re.search(r"k?ev", next((f for f in fields if is_energy(f)), ""), re.IGNORECASE)
            return fields, unit[0] if unit else None
    return None, None


def _without_unit(text: str) -> tuple[str, str]:
    """Name and unit of an XDI column, which are set apart by a blank only: the unit is one that is known."""
    name, _, last = text.rpartition(" ")
    if name and last.lower() in {"ev", "kev", "counts", "degrees", "degree", "s", "1", "arb", "a.u."}:
        return name.strip(), last
    return text, ""


_KEYS = {
    "element.symbol": "element",
    "element": "element",
    "element.edge": "edge",
    "edge": "edge",
    "sample.name": "sample",
    "name": "sample",
    "common name": "sample",
    "sample": "sample",
    "sample.formula": "formula",
    "empirical formula": "formula",
    "formula": "formula",
    "facility.name": "facility",
    "beamline.name": "beamline",
    "beamline": "beamline",
    "sample.prep": "preparation",
    "sample prep": "preparation",
}


def _metadata(head: list[tuple[str, bool]]) -> dict[str, str]:
    """What a header says about the sample, by the words that XDI, the ALS and aXis2000 use."""
    found: dict[str, str] = {}
    for text, _ in head:
        if match := _FIELD.match(text):
            key, value = _KEYS.get(match[1].strip().lower()), " ".join(match[2].split())
            if key and value:
                found.setdefault(key, value)
    return found
