"""Cycler records: text files of the common vendors, and the charge that passed between scans."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from operando.core import units
from operando.core.errors import FileError, InputError, UnitsError, nearest

# Column names without unit, in lower case, most wanted first: a total time before the clock of one step.
_NAMES: dict[str, tuple[str, ...]] = {
    "time": ("test time", "testtime", "total time", "elapsed time", "time elapsed", "test", "runtime", "time", "t"),
    "current": ("current", "i", "<i>", "amps", "milliamps", "i avg", "current avg", "control current"),
    "voltage": ("voltage", "volts", "ewe", "<ewe>", "ecell", "ewe-ece", "u", "e", "v", "potential", "cell voltage"),
    "state": ("state", "md", "step type", "steptype", "step name", "mode", "status"),
}
_IMPLIED_UNIT = {"amps": "A", "milliamps": "mA", "volts": "V"}
_WANTED = {"time": "h", "current": "mA", "voltage": "V"}
_HEADER_LINES = 400
_BINARY = {
    ".mpr": "BioLogic binary: export it as text (.mpt) from EC-Lab",
    ".res": "Arbin database: export it as CSV",
    ".ndax": "Neware binary: export it as CSV",
    ".nda": "Neware binary: export it as CSV",
    ".xlsx": "a spreadsheet: save the record's sheet as CSV",
    ".xls": "a spreadsheet: save the record's sheet as CSV",
}


def read_cycler(
    path: str | Path,
    *,
    columns: Mapping[str, str | int | tuple[str | int, str]] | None = None,
    charging_is_positive: bool = True,
) -> pd.DataFrame:
    """Read time, current and voltage from a text file of a battery cycler.

    Parameters
    ----------
    path : path
        CSV or text, separated by comma, semicolon or tab, with decimal point or comma, with or without
        lines before the table.
    columns : mapping, optional
        For files whose columns are not recognized: ``time``, ``current`` and, if there is one, ``voltage``
        to a column name, a column number from 0 (file without header), or a pair of either with its unit,
        as in ``{"time": ("t", "s"), "current": (2, "mA")}``.
    charging_is_positive : bool
        Whether the file counts charging current as positive. Not used for rows whose own state column
        (Maccor, Neware, BDF) says charge or discharge.

    Returns
    -------
    DataFrame
        ``time_h`` in hours, ``current_ma`` in mA, positive while charging, ``voltage_v`` in V (NaN
        without a voltage column). ``attrs`` name the ``source``, the ``columns`` used with their units, the
        number of rows ``dropped`` because time or current was not a number, and the ``sign`` rule.

    Raises
    ------
    FileError
        Where the file is missing, empty, binary or holds no table.
    InputError
        Where a column is not found or found twice, more than 1 % of the rows are not numbers, or time
        runs backward.
    UnitsError
        Where a column has no unit, in its name or by keyword.

    Notes
    -----
    Recognized: BioLogic (``time/s``, ``<I>/mA``, ``Ewe/V``), Arbin (``Test_Time(s)``, ``Current(A)``),
    Maccor (``Test (Min)``, ``Amps``, ``Volts``; currents without sign take it from ``State``/``Md``), Neware
    (``Total Time`` as h:min:s, ``Current(mA)``), Landt (``TestTime/Sec.``, ``Current/mA``), BDF
    (``Test Time / s``, ``Current / A``), and plain names such as ``time_s, current_mA``. Equal times in a row
    are kept: a step of the current has two values at one time. Memory: the file, three times.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "cell.csv"
    ...     _ = file.write_text("time_s;current_A;voltage_V\\n0;0,002;3,1\\n1800;0,002;3,2\\n")
    ...     record = read_cycler(file)
    >>> record["time_h"].tolist(), record["current_ma"].tolist()
    ([0.0, 0.5], [2.0, 2.0])
    """
    source = Path(path)
    text = _text(source)
    given = _given(columns)
    separator, header, start = _find_table(text, given, source)
    table = _parse(text, separator, start, width=len(header), source=source)
    chosen = _choose(header, given, table, source)

    values: dict[str, np.ndarray] = {}
    for name, (index, unit) in chosen.items():
        if name != "state":
            if unit == "h:min:s":
                values[name] = _clock(table[index])
            else:
                values[name] = _numbers(table[index], header[index], source) * units.factor(unit, _WANTED[name])
    record = pd.DataFrame(
        {
            "time_h": values["time"],
            "current_ma": values["current"],
            "voltage_v": values.get("voltage", np.full(len(table), np.nan)),
        }
    )
    sign = "as in the file" if charging_is_positive else "reversed: the file counts discharge as positive"
    if not charging_is_positive:
        record["current_ma"] *= -1
    if "state" in chosen:
        direction = table[chosen["state"][0]].map(_direction).to_numpy(dtype=float)
        known = direction != 0
        if known.any():
            magnitude = record["current_ma"].abs().to_numpy()
            record["current_ma"] = np.where(known, direction * magnitude, record["current_ma"])
            sign = f"from column {header[chosen['state'][0]]!r}"
    record, dropped = _usable(record, source)
    record.attrs = {
        "source": str(source),
        "columns": {name: f"{header[index]} [{unit}]" for name, (index, unit) in chosen.items() if name != "state"},
        "dropped": dropped,
        "sign": sign,
    }
    return record


def _text(source: Path) -> str:
    try:
        raw = source.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileError(f"{source}: the cycler file cannot be read ({reason}). Check the path.") from error
    if not raw.strip():
        raise FileError(f"{source}: a cycler record is needed, but the file is empty. Export it again.")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    hint = _BINARY.get(source.suffix.lower())
    if hint or b"\0" in raw[:4096]:
        raise FileError(
            f"{source}: a text file with columns of time and current is needed, got {hint or 'a binary file'}"
            f"{'' if hint else '. Export the record as CSV'}."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _given(columns: Mapping[str, Any] | None) -> dict[str, tuple[str | int, str | None]]:
    result: dict[str, tuple[str | int, str | None]] = {}
    for name, value in (columns or {}).items():
        if name not in _WANTED:
            raise InputError(f"read_cycler: columns may name time, current and voltage, got {name!r}. "
                             f"{nearest(str(name), _WANTED)}")  # fmt: skip
        column, unit = value if isinstance(value, tuple) else (value, None)
        if not isinstance(column, (str, int)) or (
            unit is not None and units.kind(str(unit)) != units.kind(_WANTED[name])
        ):
            raise UnitsError(
                f"read_cycler: columns[{name!r}] must be a column, or a column with a unit of {name}, got {value!r}. "
                f"Give for example ('{name}', '{_WANTED[name]}')."
            )
        result[name] = (column, unit)
    return result


def _find_table(
    text: str, given: Mapping[str, tuple[str | int, str | None]], source: Path
) -> tuple[str, list[str], int]:
    """Separator, header and the number of the line after it."""
    lines = text.splitlines()[:_HEADER_LINES]
    numbers = [column for column, _ in given.values() if isinstance(column, int)]
    if numbers:
        needed = max(numbers) + 1
        for index, line in enumerate(lines):
            for separator in ("\t", ";", ",", None):
                fields = _split(line, separator)
                if len(fields) >= needed and all(_is_number(fields[n]) for n in numbers):
                    return separator or r"\s+", [f"column {n}" for n in range(len(fields))], index
        raise FileError(
            f"{source}: columns {sorted(numbers)} must hold numbers, but no line among the first {len(lines)} has "
            "numbers there. Count the columns from 0."
        )
    likely: list[str] = []
    for index, line in enumerate(lines):
        for separator in ("\t", ";", ","):
            fields = _split(line, separator)
            if all(any(_matches(field, name, given) for field in fields) for name in ("time", "current")):
                return separator, fields, index + 1
            below = _split(next(filter(str.strip, lines[index + 1 :]), ""), separator)
            words = [field for field in fields if field and not _is_number(field)]
            if len(words) > max(1, len(likely)) and len(below) >= len(fields) and any(map(_is_number, below)):
                likely = words
    if not likely:
        raise FileError(
            f"{source}: a table with columns of time and current is needed, but no header was found in the first "
            f"{len(lines)} lines. For a file without header pass columns={{'time': (0, 's'), 'current': (1, 'mA')}}."
        )
    missing = [name for name in ("time", "current") if not any(_matches(field, name, given) for field in likely)]
    asked = [str(given[name][0]) if name in given else name for name in missing]
    hint = "".join(f" {nearest(str(given[name][0]), likely)}" for name in missing if name in given)
    raise InputError(
        f"{source}: columns of time and current are needed, got none for {' and '.join(map(repr, asked))} "
        f"among {likely}.{hint} Name them with columns={{'time': ('NAME', 's'), 'current': ('NAME', 'mA')}}."
    )


def _split(line: str, separator: str | None) -> list[str]:
    return [field.strip().strip('"').strip() for field in line.strip("\r\n").split(separator)]


def _is_number(field: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", field) is not None


def _base(field: str) -> str:
    """Name of a column without its unit, in lower case."""
    name = re.sub(r"[\[(].*?[\])]", " ", field)
    name = re.sub(r"(?<=\w)>?\s*/.*$", lambda m: ">" if m.group().startswith(">") else "", name)
    name = re.sub(r"[\s_]+", " ", name).strip().lower()
    words = name.split(" ")
    if len(words) > 1 and units.kind(_unit_name(words[-1])) is not None:
        name = " ".join(words[:-1])
    return name


def _unit_name(text: str) -> str:
    """Spell a unit from a header, whose letter case cannot be trusted."""
    plain = text.strip().rstrip(".").strip()
    if units.kind(plain):
        return units.canonical(plain)
    for known in ("mA", "uA", "nA", "A", "mV", "uV", "V", "s", "ms", "min", "h"):
        if plain.lower().replace("µ", "u").replace("μ", "u") == known.lower():
            return known
    return plain


def _unit(field: str) -> str | None:
    if match := re.search(r"[\[(]\s*(.*?)\s*[\])]", field):
        text = match.group(1)
    elif "/" in field:
        text = field.rsplit("/", 1)[1]
    else:
        text = re.split(r"[\s_]+", field.strip())[-1]
        if units.kind(_unit_name(text)) is None or text.strip() == field.strip():
            return _IMPLIED_UNIT.get(_base(field))
    if re.fullmatch(r"h+:m+(in)?:s+.*", text.strip().lower()):
        return "h:min:s"
    return _unit_name(text)


def _matches(field: str, name: str, given: Mapping[str, tuple[str | int, str | None]]) -> bool:
    if name in given:
        return field == given[name][0]
    return bool(field) and _base(field) in _NAMES[name]


def _choose(
    header: Sequence[str], given: Mapping[str, tuple[str | int, str | None]], table: pd.DataFrame, source: Path
) -> dict[str, tuple[int, str]]:
    chosen: dict[str, tuple[int, str]] = {}
    for name in ("time", "current", "voltage", "state"):
        column, unit = given.get(name, (None, None))
        if isinstance(column, int):
            index = column
        elif given and isinstance(next(iter(given.values()))[0], int):
            continue
        else:
            fits = [i for i, field in enumerate(header) if _matches(field, name, given)]
            if not fits and name in given:
                raise InputError(
                    f"{source}: there is no column {column!r} among {[f for f in header if f]}. "
                    f"{nearest(str(column), [f for f in header if f])}"
                )
            if not fits:
                continue
            # Both "time/s" and "Test Time / s" may be there: the order of _NAMES decides.
            order = {i: 0 if name in given else _NAMES[name].index(_base(header[i])) for i in fits}
            index = min(fits, key=lambda i: order[i])
        if name == "state":
            chosen[name] = (index, "")
            continue
        unit = unit or _unit(header[index])
        if name == "time" and unit is None and np.isfinite(_clock(table[index].head(1))).all():
            unit = "h:min:s"
        if unit is None or (unit != "h:min:s" and units.kind(unit) != units.kind(_WANTED[name])):
            raise UnitsError(
                f"{source}: the column of {name} needs a unit of {units.kind(_WANTED[name])}, got {header[index]!r}. "
                f"Say it with columns={{'{name}': ({header[index]!r}, '{_WANTED[name]}'), ...}}."
            )
        chosen[name] = (index, unit)
    missing = [name for name in ("time", "current") if name not in chosen]
    if missing:
        raise InputError(
            f"{source}: columns of time and current are needed, {' and '.join(missing)} not named in columns=. Add it."
        )
    return chosen


def _parse(text: str, separator: str, start: int, *, width: int, source: Path) -> pd.DataFrame:
    body = "\n".join(line for line in text.splitlines()[start:] if line.strip())
    if not body:
        raise FileError(f"{source}: the table has a header but no row. Export the record again.")
    widest = max(width, 1 + max(line.count(separator) for line in body.split("\n"))) if separator != r"\s+" else width
    try:
        return pd.read_csv(
            io.StringIO(body), sep=separator, header=None, names=range(widest), dtype=str, index_col=False,
            skipinitialspace=True, engine="c",
        )  # fmt: skip
    except (pd.errors.ParserError, ValueError) as error:
        raise FileError(f"{source}: the table cannot be parsed ({error}). Export the record again.") from error


def _numbers(column: pd.Series, name: str, source: Path) -> np.ndarray:
    text = column.fillna("").str.strip()
    commas, points = text[text.str.contains(",", regex=False)], text[text.str.contains(".", regex=False)]
    if not commas.empty:
        if points.empty or points.str.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?").all():
            text = text.str.replace(".", "").str.replace(",", ".")
        elif commas.str.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?").all():
            text = text.str.replace(",", "")
        else:
            raise InputError(
                f"{source}: column {name!r} must use one decimal sign, got {commas.iloc[0]!r} and {points.iloc[0]!r}. "
                "Export the record with a decimal point."
            )
    return np.asarray(pd.to_numeric(text, errors="coerce"), dtype=float)


def _clock(column: pd.Series) -> np.ndarray:
    """Hours from ``h:min:s``, with days in front where there are any."""
    parts = column.fillna("").str.strip().str.extract(r"^(?:(\d+)\s*d?[\s:-]\s*)?(\d+):(\d+):(\d+(?:[.,]\d*)?)$")
    days, hours, minutes = (pd.to_numeric(parts[k], errors="coerce") for k in range(3))
    seconds = pd.to_numeric(parts[3].str.replace(",", "."), errors="coerce")
    return np.asarray(24 * days.fillna(0) + hours + minutes / 60 + seconds / 3600, dtype=float)


def _direction(state: Any) -> int:
    """+1 where a state says charge, -1 where it says discharge, else 0."""
    word = str(state).strip().lower()
    if word in ("d", "dis", "dch") or re.search(r"dis?-?ch|dchg", word):
        return -1
    if word in ("c", "chg", "ch") or re.search(r"charge|chg", word):
        return 1
    return 0


def _usable(record: pd.DataFrame, source: Path) -> tuple[pd.DataFrame, int]:
    good = np.isfinite(record["time_h"]) & np.isfinite(record["current_ma"])
    empty = record["time_h"].isna() & record["current_ma"].isna()
    broken = int((~good & ~empty).sum())
    if not good.any() or broken > 0.01 * max(int(good.sum()), 1):
        first = int(np.flatnonzero(~good)[0]) + 1 if (~good).any() else 1
        raise InputError(
            f"{source}: time and current must be numbers, they are not in {broken or len(record)} of {len(record)} "
            f"rows, first in row {first} of the table. Repair these rows or export the record again."
        )
    kept = record[good].reset_index(drop=True)
    steps = np.diff(kept["time_h"].to_numpy())
    if (steps < 0).any():
        row = int(np.flatnonzero(steps < 0)[0])
        before, after = kept["time_h"].iloc[row], kept["time_h"].iloc[row + 1]
        raise InputError(
            f"{source}: time must not run backward, it goes from {before:g} h to {after:g} h after row {row + 1}. "
            "Choose the column of the total time with columns=, not that of one step, or sort the file."
        )
    return kept, int((~good).sum())


def charge_between(
    cycler: pd.DataFrame,
    t_scans_h: Sequence[float] | np.ndarray | xr.DataArray,
    *,
    accuracy: float = 1e-3,
    outside_ma: float | None = None,
    max_gap_h: float | None = None,
) -> xr.DataArray:
    """Charge passed between successive scans.

    Parameters
    ----------
    cycler : DataFrame
        With ``time_h`` and ``current_ma`` (positive while charging), as :func:`read_cycler` returns.
    t_scans_h : sequence of float
        Time of each scan in hours, increasing, on the clock of the cycler.
    accuracy : float
        Relative one-sigma accuracy of the current, common to a whole interval.
    outside_ma : float, optional
        Current to assume before the record begins and after it ends. Without it, a scan outside is an error.
    max_gap_h : float, optional
        Refuse to bridge a longer gap in the record between the first and the last scan.

    Returns
    -------
    DataArray of float64, dims (t), units "mAh"
        Charge since the scan before, positive while charging; NaN for the first scan. The coordinate
        ``sigma`` holds its standard uncertainty in mAh.

    Raises
    ------
    InputError
        Where columns or times cannot be used, a scan lies outside the record, or a gap is too long.

    Notes
    -----
    .. math:: Q_i = \\int_{t_{i-1}}^{t_i} I\\,dt, \\qquad
              \\sigma_i = a \\int_{t_{i-1}}^{t_i} |I|\\,dt

    Trapezoids on the record, with the current interpolated at the scans: exact where the current is
    linear between rows. A cycler that logs a constant current only at the end of a step needs both ends
    of the step in its file. :math:`\\sigma` is proportional to the charge moved in either direction.

    Examples
    --------
    2 mA for three hours, scans after one and two hours:

    >>> record = pd.DataFrame({"time_h": [0.0, 3.0], "current_ma": [2.0, 2.0]})
    >>> charge = charge_between(record, [1.0, 2.0])
    >>> charge.values.tolist(), charge.sigma.values.tolist()
    ([nan, 2.0], [nan, 0.002])
    """
    missing = [name for name in ("time_h", "current_ma") if name not in cycler]
    if missing:
        raise InputError(
            f"charge_between: the record must have the columns time_h and current_ma, got {list(cycler.columns)}. "
            "Read it with operando.electrochemistry.read_cycler."
        )
    time, current = (cycler[name].to_numpy(dtype=float) for name in ("time_h", "current_ma"))
    scans = np.asarray(t_scans_h, dtype=float)
    _check_times(time, current, scans)
    if not (np.isfinite(accuracy) and accuracy >= 0):
        raise InputError(f"charge_between: accuracy must be a fraction >= 0, got {accuracy!r}. 0.001 means 0.1 %.")
    outside = (scans < time[0]) | (scans > time[-1])
    if outside.any():
        if outside_ma is None:
            raise InputError(
                f"charge_between: every scan must lie within the record ({time[0]:g} to {time[-1]:g} h), got a scan at "
                f"{scans[outside][0]:g} h. Put scans and cycler on one clock, or pass outside_ma=0 if the cell rested."
            )
        # Two values at one time: the current jumps where the record begins and ends.
        time = np.concatenate([[min(scans[0], time[0]), time[0]], time, [time[-1], max(scans[-1], time[-1])]])
        current = np.concatenate([[outside_ma] * 2, current, [outside_ma] * 2])
    elif max_gap_h is not None:
        inside = (time[1:] > scans[0]) & (time[:-1] < scans[-1])
        gaps = np.where(inside, np.diff(time), 0.0)
        if gaps.size and gaps.max() > max_gap_h:
            at = int(gaps.argmax())
            raise InputError(
                f"charge_between: no gap in the record may exceed {max_gap_h:g} h, got {gaps[at]:g} h from "
                f"{time[at]:g} to {time[at + 1]:g} h. Supply the missing rows, or raise max_gap_h to bridge it."
            )
    passed = np.diff(_integral(time, current, scans), prepend=np.nan)
    moved = np.diff(_integral(time, np.abs(current), scans), prepend=np.nan)
    sigma = ("t", accuracy * moved, {"units": "mAh", "long_name": "Standard uncertainty of the charge"})
    t = ("t", scans, {"units": "h", "long_name": "Time"})
    return xr.DataArray(
        passed, dims="t", coords={"t": t, "sigma": sigma}, attrs={"units": "mAh", "long_name": "Charge between scans"}
    )


def _check_times(time: np.ndarray, current: np.ndarray, scans: np.ndarray) -> None:
    if time.size < 2 or not (np.isfinite(time).all() and np.isfinite(current).all()) or (np.diff(time) < 0).any():
        raise InputError(
            f"charge_between: at least two rows with finite current and times that never run backward are needed, got "
            f"{time.size} rows from {time.min(initial=np.inf):g} to {time.max(initial=-np.inf):g} h. Repair the record."
        )
    if scans.ndim != 1 or scans.size == 0 or not np.isfinite(scans).all() or (np.diff(scans) <= 0).any():
        raise InputError(f"charge_between: scan times must increase, got {scans.tolist()}. Sort the scans by time.")


def _integral(time: np.ndarray, current: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Integral of the piecewise linear current from the first row up to each time, in mAh."""
    whole = np.concatenate([[0.0], np.cumsum(np.diff(time) * (current[1:] + current[:-1]) / 2)])
    k = np.clip(np.searchsorted(time, at, side="right") - 1, 0, time.size - 2)
    width = time[k + 1] - time[k]
    part = at - time[k]
    slope = np.divide(current[k + 1] - current[k], width, out=np.zeros_like(width), where=width > 0)
    return whole[k] + part * (current[k] + slope * part / 2)
