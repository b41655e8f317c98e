"""Spectra over photon energy out of the files that beamlines and programs write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.errors import FileError, InputError, nearest
from operando.io.spectra_stored import read_hdf5_table, read_json_table
from operando.io.spectra_table import Table, is_energy, read_text_table

_HDF5 = (".h5", ".hdf5", ".hdf", ".nxs", ".he5", ".nx")
_KEV_BELOW, _UNCERTAIN_BELOW = 40.0, 100.0  # the lithium K edge is at 55 eV
_SAME_EV = 1e-3
_REPEATED_SHARE = 0.1
_GENERIC = frozenset(
    {"mu", "xmu", "mux", "mu(e)", "norm", "od", "optical density", "optical_density", "intensity", "absorption"}
    | {"absorbance", "y", "data", "data_y", "value", "values", "signal", "spectrum", "counts", "i", "mu_norm", "flat"}
)
# One spectrum in several states of processing (Athena, Larch), most wanted first; the rest are its by-products.
_PROCESSED = ("norm", "normtrans", "normfluor", "flat", "mu", "xmu", "mutrans", "mufluor")
_BY_PRODUCTS = frozenset(
    {"nbkg", "fbkg", "nder", "nsec", "bkg", "pre", "post", "der", "sec", "bkg_spl", "pre_edge", "post_edge", "chie"}
    | {"counttime", "time", "angle", "i0", "i1", "i2", "itrans", "it", "ifluor", "if", "irefer", "iref", "ir"}
    | {"normrefer", "murefer", "stddev", "weight", "k", "e0", "ref"}
)
_NUMBERING = ("", "index", "Unnamed: 0")
_INCIDENT = ("i0", "monitor")
_TRANSMITTED = ("itrans", "it", "i1")
_FLUORESCENCE = ("ifluor", "if", "ifluo", "fluo")
_MODES = ("transmission", "fluorescence")


def open_spectra(
    path: str | Path | Sequence[str | Path],
    *,
    columns: Sequence[str | int] | None = None,
    energy: Any = None,
    energy_units: str | None = None,
    mode: str | None = None,
    repeats: str | None = None,
    units: str = "1",
) -> xr.DataArray:
    """Read spectra, for example the references of pure phases, from text, JSON or HDF5.

    Parameters
    ----------
    path : path, or sequence of paths
        Text of any ending with the photon energy and one or more values per line (``.csv .txt .tsv .dat .xas .xdi
        .nor .e .xsp .r .t``, Athena's columns), JSON (``{"energy": [...], "intensity": {name: [...]}}``) or HDF5
        with a vector ``energy`` (``file.h5#group`` chooses a group). Files of a sequence must have the same energies.
    columns : sequence of str or int, optional
        The columns to read as spectra, by name or by number (0 is the first of the file). Default: all
        but the energy; of a file with one spectrum in several states of processing the normalized one.
    energy : array-like, optional
        Energies in eV for a file that holds none.
    energy_units : "eV" or "keV", optional
        Replaces what the file says.
    mode : "transmission" or "fluorescence", optional
        Which to form where a file holds detector readings only; default transmission where it was recorded.
    repeats : "mean", optional
        Take the mean of all rows of one energy. Without it, up to one energy in ten may be repeated (monochromators
        stop twice where two ranges meet): these are averaged too, with a note.
    units : str
        Of the values: ``"1"``, or ``"um-1"`` where they are optical densities per micrometer.

    Returns
    -------
    DataArray, dims (component, energy), float64
        ``component`` holds the names of the columns, or the file's name without ending where there is one spectrum
        without a name of its own. ``energy`` is in eV and ascending. ``attrs`` hold ``units``, ``element``, ``edge``,
        ``sample``, ``formula`` and the like where the file says so, and ``notes`` on what was changed in reading; what
        differs between the spectra (``formula``, ``voltage``) is a coordinate along ``component``. Missing is NaN.

    Raises
    ------
    FileError
        Where the file is no spectrum; the message names the line.
    InputError
        Where the energies of several files differ, or a column or mode is not there.

    Notes
    -----
    **Detector readings** (XDI files as beamlines write them) become :math:`\\mu = \\ln(I_0/I_t)` in transmission and
    :math:`I_f/I_0` in fluorescence; readings that are not positive are missing. The constant between the gains of
    two detectors stays in :math:`\\mu`: subtract the pre-edge before fitting.

    **Energies** below 40 without a unit are taken for keV, with a note; between 40 and 100 (the lithium K edge is at
    55 eV) the unit is asked for. Rows without energy or without any value are dropped, with a note.

    Decimal commas are understood where another separator than the comma is used. The whole file is in memory.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name) / "NiO.txt"
    >>> _ = file.write_text("8.330 0.10\\n8.350 1.20\\n8.340 0.50\\n")
    >>> spectra = open_spectra(file)
    >>> spectra.component.values.tolist(), spectra.energy.values.tolist(), spectra.values.tolist()
    (['NiO'], [8330.0, 8340.0, 8350.0], [[0.1, 0.5, 1.2]])
    >>> folder.cleanup()
    """
    if mode is not None and mode not in _MODES:
        raise InputError(
            f"open_spectra: mode must be one of {', '.join(_MODES)}, got {mode!r}. {nearest(mode, _MODES)}"
        )
    if repeats not in (None, "mean"):
        raise InputError(f"open_spectra: repeats must be 'mean' or None, got {repeats!r}.")
    if energy_units is not None and energy_units.lower() not in ("ev", "kev"):
        raise InputError(f"open_spectra: energy_units must be 'eV' or 'keV', got {energy_units!r}.")
    given = None if energy is None else np.asarray(energy, dtype=float).ravel()
    several = not isinstance(path, str | Path)
    paths = list(path) if not isinstance(path, str | Path) else [path]
    if not paths:
        raise InputError("open_spectra: at least one file is needed, got an empty list.")
    opened = []
    for entry in paths:
        file, group = _split(entry)
        table = _read(file, group, given)
        if energy_units is not None:
            table.energy_units = energy_units
        opened.append(_spectra(table, file, columns, mode, repeats, units))
    return _joined(opened, [_split(entry)[0] for entry in paths]) if several else opened[0]


def _split(path: str | Path) -> tuple[Path, str | None]:
    text = str(path)
    if "#" in text and not Path(text).exists():
        file, _, group = text.partition("#")
        return Path(file), group
    return Path(text), None


def _read(path: Path, group: str | None, energy: np.ndarray | None) -> Table:
    if path.is_dir():
        raise FileError(
            f"{path}: is a folder. Pass its files: open_spectra(sorted(Path({path.name!r}).glob('*.xdi')))."
        )
    ending = path.suffix.lower()
    if ending == ".json":
        return read_json_table(path, energy)
    if ending in _HDF5 or group is not None:
        return read_hdf5_table(path, group, energy)
    return read_text_table(path)


def _spectra(
    table: Table,
    path: Path,
    columns: Sequence[str | int] | None,
    mode: str | None,
    repeats: str | None,
    units: str,
) -> xr.DataArray:
    names = table.names
    at = next((k for k, name in enumerate(names or []) if is_energy(name)), 0)
    energies, notes = _in_ev(table, at, path)
    chosen = [k for k in range(table.values.shape[1]) if k != at]
    if names is not None and names[0] in _NUMBERING and at > 0 and len(chosen) > 1:
        # Pandas writes the numbers of the rows into a column of its own, without a name.
        chosen.remove(0)
    if columns is not None:
        chosen = [_column(column, names, table.values.shape[1], path) for column in columns]
        values, labels = table.values[:, chosen], _labels(names, chosen, path)
    else:
        values, labels, chosen = _wanted(table, chosen, path, mode, notes)
    keep = np.isfinite(energies) & np.isfinite(values).any(axis=1)
    if not keep.all():
        notes.append(f"{np.count_nonzero(~keep)} of {keep.size} rows without energy or value were dropped.")
    if np.count_nonzero(keep) < 2:
        raise FileError(f"{path}: a spectrum needs two energies or more, got {np.count_nonzero(keep)}.")
    energies, values = _ascending(energies[keep], values[keep], path, repeats, notes)
    attrs: dict[str, Any] = {"units": units, "long_name": "Absorption", **table.metadata}
    coords: dict[str, Any] = {
        "component": labels,
        "energy": ("energy", energies, {"units": "eV", "long_name": "Photon energy"}),
    }
    for key, entries in table.per_column.items():
        mine = [entries[k] for k in chosen]
        if any(entry is not None for entry in mine):
            coords[key] = ("component", np.array(["" if entry is None else str(entry) for entry in mine]))
    spectra = xr.DataArray(values.T.copy(), dims=("component", "energy"), coords=coords, attrs=attrs, name="spectra")
    if table.own is not None:
        spectra = _restored(spectra, table.own)
    if notes:
        spectra.attrs["notes"] = [*spectra.attrs.get("notes", []), *notes]
    return spectra


def _in_ev(table: Table, at: int, path: Path) -> tuple[np.ndarray, list[str]]:
    energies, notes = table.values[:, at], list(table.notes)
    finite = np.isfinite(energies)
    wrong = finite & (energies <= 0)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        place = f" in line {int(table.lines[first])}" if table.lines is not None else f" in row {first}"
        raise FileError(
            f"{path}: is no spectrum over photon energy: energies must be positive, got {energies[first]:g}{place}. "
            "The first column, or the one called 'energy', must hold photon energies in eV."
        )
    unit = (table.energy_units or "").lower()
    if unit == "kev":
        return energies * 1000, notes
    if unit != "ev" and finite.any():
        largest = float(energies[finite].max())
        if largest < _KEV_BELOW:
            notes.append(f"Energies up to {largest:g} without a unit were taken for keV.")
            return energies * 1000, notes
        if largest < _UNCERTAIN_BELOW:
            raise FileError(
                f"{path}: energies up to {largest:g} may be eV (the lithium K edge is at 55 eV) or keV, and the file "
                "does not say which. Pass energy_units='eV' or 'keV'."
            )
    return energies, notes


def _column(column: str | int, names: list[str] | None, count: int, path: Path) -> int:
    if isinstance(column, int | np.integer):
        if not -count <= column < count:
            raise InputError(f"open_spectra: {path.name} has the columns 0 to {count - 1}, got {column}.")
        return int(column) % count
    if names is None:
        raise InputError(
            f"open_spectra: {path.name} names no columns, got {column!r}. Give the numbers, from 0 to {count - 1}."
        )
    if column not in names:
        raise InputError(f"open_spectra: {path.name} has no column {column!r}. {nearest(column, names)}")
    return names.index(column)


def _wanted(
    table: Table, chosen: list[int], path: Path, mode: str | None, notes: list[str]
) -> tuple[np.ndarray, list[str], list[int]]:
    """The columns that are spectra, or the spectrum that detector readings make."""
    names = table.names
    lower = [] if names is None else [name.lower() for name in names]
    known = {name: k for k, name in enumerate(lower) if k in chosen}
    raw = known.keys() & {*_INCIDENT} and known.keys() & {*_TRANSMITTED, *_FLUORESCENCE}
    if names is not None and known.keys() <= _BY_PRODUCTS | set(_PROCESSED) | set(_FLUORESCENCE) | set(_INCIDENT):
        done = [name for name in _PROCESSED if name in known and _fits(name, mode)]
        if done:
            others = [names[k] for k in chosen if k != known[done[0]]]
            if others:
                notes.append(f"Column {names[known[done[0]]]!r} was read; also there: {', '.join(others)}.")
            return table.values[:, [known[done[0]]]], [path.stem], [known[done[0]]]
        if raw:
            return _from_readings(table, known, path, mode, notes)
    return table.values[:, chosen], _labels(names, chosen, path), chosen


def _fits(name: str, mode: str | None) -> bool:
    return not ((mode == "transmission" and "fluor" in name) or (mode == "fluorescence" and "trans" in name))


def _from_readings(
    table: Table, known: dict[str, int], path: Path, mode: str | None, notes: list[str]
) -> tuple[np.ndarray, list[str], list[int]]:
    found = {
        kind: next((known[name] for name in options if name in known), None)
        for kind, options in (("i0", _INCIDENT), ("transmission", _TRANSMITTED), ("fluorescence", _FLUORESCENCE))
    }
    how = mode or ("transmission" if found["transmission"] is not None else "fluorescence")
    other, incident = found[how], found["i0"]
    if other is None or incident is None:
        raise InputError(
            f"open_spectra: {path.name} has no column for {how}, only {', '.join(known)}. Choose the other mode."
        )
    i0, signal = table.values[:, incident], table.values[:, other]
    bad = ~((i0 > 0) & (signal > 0))
    i0, signal = np.where(bad, np.nan, i0), np.where(bad, np.nan, signal)
    names = table.names or []
    formula = f"ln({names[incident]}/{names[other]})" if how == "transmission" else f"{names[other]}/{names[incident]}"
    notes.append(f"The absorption is {formula} of detector readings.")
    if bad.any():
        notes.append(f"{np.count_nonzero(bad)} readings that are not positive are missing.")
    values = np.log(i0 / signal) if how == "transmission" else signal / i0
    return values[:, None], [path.stem], [other]


def _labels(names: list[str] | None, chosen: list[int], path: Path) -> list[str]:
    if len(chosen) == 1 and (names is None or names[chosen[0]].lower().strip() in _GENERIC):
        return [path.stem]
    return [f"{path.stem} {k}" for k in chosen] if names is None else [names[k] for k in chosen]


def _ascending(
    energies: np.ndarray, values: np.ndarray, path: Path, repeats: str | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    unique, index, counts = np.unique(energies, return_inverse=True, return_counts=True)
    repeated = int(np.count_nonzero(counts > 1))
    if repeated == 0:
        return unique, values[np.argsort(energies, kind="stable")]
    if repeats is None and repeated > max(1, _REPEATED_SHARE * unique.size):
        raise FileError(
            f"{path}: an energy must stand once, {repeated} of {unique.size} stand more often (the first is "
            f"{unique[counts > 1][0]:g} eV). If these are repeated scans, pass repeats='mean'."
        )
    notes.append(f"{repeated} energies stood more than once: their values were averaged.")
    there = np.isfinite(values)
    total = np.zeros((unique.size, values.shape[1]))
    number = np.zeros_like(total)
    np.add.at(total, index, np.where(there, values, 0.0))
    np.add.at(number, index, there)
    return unique, np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)


def _restored(spectra: xr.DataArray, own: dict[str, Any]) -> xr.DataArray:
    """Give back what :func:`save_spectra` wrote beside the table."""
    out = spectra.astype(own.get("dtype", "float64"))
    out = out.rename(own.get("name")).assign_coords(component=("component", np.array(own["component"])))
    for name, entry in own.get("coords", {}).items():
        out = out.assign_coords({name: (entry["dims"], np.array(entry["values"], dtype=entry["dtype"]))})
    for name, attrs in own.get("coord_attrs", {}).items():
        out[name].attrs = dict(attrs)
    out.attrs = dict(own.get("attrs", {}))
    return out


def _joined(opened: list[xr.DataArray], paths: list[Path]) -> xr.DataArray:
    first = opened[0].energy.values
    for spectra, path in zip(opened, paths, strict=True):
        other = spectra.energy.values
        if other.shape != first.shape or not np.allclose(other, first, rtol=0, atol=_SAME_EV):
            raise InputError(
                f"open_spectra: files of one call must have the same energies, got {first.size} from {first[0]:g} to "
                f"{first[-1]:g} eV in {paths[0].name} and {other.size} from {other[0]:g} to {other[-1]:g} eV in "
                f"{path.name}. Open them one by one and pass a mapping: spectral.match_energies("
                "{name: open_spectra(file), ...}, energy) brings them onto the energies of a stack."
            )
    names = [_unique(paths, opened, k) for k in range(len(paths))]
    keys = {key for spectra in opened for key in spectra.attrs if key not in ("notes", "units", "long_name")}
    own = {key: [spectra.attrs.get(key, "") for spectra in opened] for key in keys}
    differing = sorted(key for key, entries in own.items() if len(set(map(str, entries))) > 1)
    per_component = sorted({str(k) for s in opened for k, c in s.coords.items() if c.dims == ("component",)})
    coords: dict[str, Any] = {"component": [name for each in names for name in each], "energy": opened[0].energy}
    for key in [*(k for k in per_component if k != "component"), *differing]:
        entries = [
            str(spectra.coords[key].values[k]) if key in spectra.coords else str(spectra.attrs.get(key, ""))
            for spectra in opened
            for k in range(spectra.sizes["component"])
        ]
        coords[key] = ("component", np.array(entries))
    attrs = {key: value for key, value in opened[0].attrs.items() if key not in differing and key != "notes"}
    notes = [
        f"{path.name}: {note}"
        for spectra, path in zip(opened, paths, strict=True)
        for note in spectra.attrs.get("notes", [])
    ]
    values = np.concatenate([spectra.transpose("component", "energy").values for spectra in opened])
    joined = xr.DataArray(values, dims=("component", "energy"), coords=coords, attrs=attrs, name=opened[0].name)
    if notes:
        joined.attrs["notes"] = notes
    return joined


def _unique(paths: list[Path], opened: list[xr.DataArray], k: int) -> list[str]:
    """Names of the spectra of one file, with as much of its path as sets them apart from those of the others."""
    names = [str(name) for name in opened[k].component.values]
    taken = {str(name) for other, spectra in enumerate(opened) if other != k for name in spectra.component.values}
    if not taken & set(names):
        return names
    single = names == [paths[k].stem]
    for prefix in (paths[k].name, f"{paths[k].parent.name}/{paths[k].name}"):
        if sum(path.name == paths[k].name for path in paths) > 1 and prefix == paths[k].name:
            continue
        return [prefix] if single else [f"{prefix}: {name}" for name in names]
    return names
