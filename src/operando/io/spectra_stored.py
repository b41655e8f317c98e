"""Spectra in JSON and HDF5 files, as columns of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from operando.core.errors import FileError, nearest
from operando.io.reader import check_exists
from operando.io.spectra_table import Table, is_energy

_ABOUT = ("composition", "formula", "voltage", "sample", "element", "edge")


def read_json_table(path: Path, energy: np.ndarray | None) -> Table:
    """Read ``{"energy": [...], "intensity": {name: [...]}}``, or name to values without a level between.

    What the file says per spectrum beside it (``"voltage": {name: ...}``) is kept.
    """
    check_exists(path)
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FileError(f"{path}: is no JSON ({error}). Export the spectra as text in columns.") from None
    if not isinstance(stored, Mapping):
        raise FileError(
            f"{path}: must be an object with the lists 'energy' and 'intensity', got a {type(stored).__name__}."
        )
    units = None
    own = next((key for key in stored if is_energy(key) and _vector(stored[key]) is not None), None)
    if own is not None:
        energy, units = _vector(stored[own]), "keV" if "kev" in own.lower() else None
    level = next((key for key in stored if key.lower() in ("intensity", "spectra", "mu", "xanes", "absorption")), None)
    spectra = stored if level is None else stored[level]
    if not isinstance(spectra, Mapping):
        spectra = {path.stem: spectra}
    columns = {str(key): vector for key in spectra if key != own and (vector := _vector(spectra[key])) is not None}
    if not columns:
        raise FileError(
            f"{path}: must hold lists of numbers under 'intensity', and has none (keys {', '.join(map(repr, stored))})."
        )
    if energy is None:
        count = len(next(iter(columns.values())))
        raise FileError(
            f"{path}: holds {len(columns)} spectra of {count} values and no energies. Pass them: "
            f"open_spectra(path, energy=...) with {count} values in eV."
        )
    per_column = {
        key: [None, *(stored[key].get(name) for name in columns)]
        for key in _ABOUT
        if isinstance(stored.get(key), Mapping) and key != level
    }
    return _table(path, energy, columns, units, per_column)


def read_hdf5_table(path: Path, group: str | None, energy: np.ndarray | None) -> Table:
    """Read a vector of energies and the vectors of the same length in its group."""
    import h5py

    check_exists(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(f"{path}: is no HDF5 file, or a damaged one ({error}). Copy or export it again.") from None
    with file:
        top: Any = file
        if group and group.strip("/"):
            if group not in file:
                raise FileError(f"{path}: there is no {group!r} in the file. {nearest(group.strip('/'), list(file))}")
            top = file[group]
        if isinstance(top, h5py.Dataset):
            parent, chosen = top.parent, [top]
        else:
            parent, chosen = _group_with_energy(top), []
        if parent is None:
            if energy is None:
                raise FileError(
                    f"{path}: must hold a vector of photon energies called 'energy', and none of its data sets is "
                    "called so. Name the group as file.h5#group, or pass energy=..."
                )
            parent = top
        stored = _energy_of(parent)
        units = None
        if stored is not None:
            energy = np.asarray(stored[()], dtype=float)
            units = _text(stored.attrs.get("units")) or ("keV" if "kev" in stored.name.lower() else None)
        if energy is None:
            raise FileError(f"{path}: there is no vector 'energy' beside {top.name}. Pass energy=...")
        others = chosen or [
            entry for entry in parent.values() if isinstance(entry, h5py.Dataset) and not is_energy(_name(entry))
        ]
        columns = {_name(e): values for e in others if (values := _spectrum(e, energy)) is not None}
        if not columns:
            raise FileError(
                f"{path}: beside the {energy.size} energies there must be vectors of {energy.size} values, got "
                f"{', '.join(f'{_name(e)} {e.shape}' for e in others) or 'nothing'}. Name the group as file.h5#group."
            )
        per_column = {
            key: [None, *(_text(parent[name].attrs.get(key)) for name in columns)]
            for key in _ABOUT
            if any(key in parent[name].attrs for name in columns)
        }
    return _table(path, energy, columns, units, per_column)


def _table(
    path: Path, energy: np.ndarray, columns: dict[str, np.ndarray], units: str | None, per_column: dict[str, list[Any]]
) -> Table:
    energy = np.asarray(energy, dtype=float)
    for name, values in columns.items():
        if values.shape != energy.shape:
            raise FileError(
                f"{path}: every spectrum must have one value per energy, {name!r} has {values.size} for {energy.size}."
            )
    values = np.stack([energy, *columns.values()], axis=1)
    return Table(values, ["energy", *columns], per_column=per_column, energy_units=units)


def _vector(entry: Any) -> np.ndarray | None:
    if not isinstance(entry, list) or not entry:
        return None
    try:
        values = np.array([np.nan if value is None else value for value in entry], dtype=float)
    except (TypeError, ValueError):
        return None
    return values if values.ndim == 1 else None


def _group_with_energy(top: Any) -> Any:
    import h5py

    if _energy_of(top) is not None:
        return top
    found: list[Any] = []
    top.visititems(
        lambda _, entry: (
            found.append(entry) if isinstance(entry, h5py.Group) and _energy_of(entry) is not None else None
        )
    )
    return found[0] if found else None


def _energy_of(group: Any) -> Any:
    import h5py

    return next(
        (e for e in group.values() if isinstance(e, h5py.Dataset) and len(e.shape) == 1 and is_energy(_name(e))), None
    )


def _spectrum(entry: Any, energy: np.ndarray) -> np.ndarray | None:
    """A vector of one value per energy, or the second column of a table with just these energies."""
    if not np.issubdtype(entry.dtype, np.number) or np.issubdtype(entry.dtype, np.complexfloating):
        return None
    if entry.shape == (energy.size, 2) and np.allclose(entry[:, 0], energy, rtol=1e-6):
        return np.asarray(entry[:, 1], dtype=float)
    return np.asarray(entry[()], dtype=float) if entry.shape == energy.shape else None


def _name(entry: Any) -> str:
    return str(entry.name).rsplit("/", 1)[-1]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
