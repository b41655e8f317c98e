"""Spectra into text that other programs read, and that opens again as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.core.axes import require_dims
from operando.core.errors import InputError, nearest
from operando.core.files import written_whole
from operando.io.spectra_table import OWN

_ENDINGS = (".csv", ".xdi")
_XDI_FIELDS = {
    "element": "Element.symbol",
    "edge": "Element.edge",
    "sample": "Sample.name",
    "formula": "Sample.formula",
    "preparation": "Sample.prep",
    "facility": "Facility.name",
    "beamline": "Beamline.name",
}


def save_spectra(spectra: xr.DataArray, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write spectra as ``.csv`` or ``.xdi``, one column each; :func:`open_spectra` gives back the same.

    Parameters
    ----------
    spectra : DataArray, dims (component, energy) or (energy,), coordinate ``energy`` in eV
        Real numbers; missing is NaN. Without names the components are called ``"0"``, ``"1"``, ...
    path : path ending in ``.csv`` or ``.xdi``
        Text with a header line. A comment line holds what a table cannot: names, attributes, dtype.
    overwrite : bool
        Whether a file that is there is replaced.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InputError
        Where the ending is another, energies are missing, repeated or not positive, or attributes are no plain values.
    FileError
        Where the file exists already or cannot be written.

    Notes
    -----
    Numbers are written with as many digits as give back the same bits. Energies come back ascending, in whatever order
    they were; a spectrum without ``component`` comes back with one; rows without any value are not written.

    Examples
    --------
    >>> import tempfile
    >>> from operando.io import open_spectra
    >>> spectra = xr.DataArray([[0.1, 1.2]], dims=("component", "energy"),
    ...     coords={"component": ["NiO"], "energy": [8330.0, 8350.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = save_spectra(spectra, Path(folder) / "references.csv")
    ...     again = open_spectra(file)
    ...     file.read_text().splitlines()[1:]
    ['energy (eV),NiO', '8330.0,0.1', '8350.0,1.2']
    >>> again.identical(spectra)
    True
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(
            f"save_spectra: the ending must be one of {', '.join(_ENDINGS)}, got {target.name!r}. "
            f"{nearest(ending, _ENDINGS)}"
        )
    require_dims(spectra, ["energy"], where="save_spectra", optional=["component"])
    if "energy" not in spectra.coords:
        raise InputError("save_spectra: the spectra must have a coordinate 'energy' in eV, and have none. Assign it.")
    if "component" not in spectra.dims:
        spectra = spectra.drop_vars("component", errors="ignore").expand_dims(component=[spectra.name or target.stem])
    if "component" not in spectra.coords:
        spectra = spectra.assign_coords(component=[str(k) for k in range(spectra.sizes["component"])])
    spectra = spectra.transpose("component", "energy").sortby("energy")
    energies = np.asarray(spectra.energy.values, dtype=float)
    if not np.all(np.isfinite(energies) & (energies > 0)) or np.unique(energies).size != energies.size:
        raise InputError(
            "save_spectra: energies must be positive and stand once each, got "
            f"{energies[:3].tolist()} ... {energies[-1]:g}. Drop or average the others first."
        )
    values = np.asarray(spectra.values)
    if not np.issubdtype(values.dtype, np.floating):
        if not np.issubdtype(values.dtype, np.integer):
            raise InputError(f"save_spectra: spectra must be real numbers, got {values.dtype}. Take their real part.")
        values = values.astype(float)
    names = [str(name) for name in spectra.component.values]
    own = _own(spectra, values.dtype)
    rows = [
        [repr(float(energy)), *(_shortest(value) for value in column)]
        for energy, column in zip(energies, values.T, strict=True)
        if np.isfinite(column).any()
    ]
    if ending == ".csv":
        head = [f"# {OWN} {own}", ",".join(["energy (eV)", *map(_quoted, names)])]
        body = [",".join(row) for row in rows]
    else:
        about = [
            f"# {field}: {spectra.attrs[key]}" for key, field in _XDI_FIELDS.items() if str(spectra.attrs.get(key, ""))
        ]
        columns = [f"# Column.{k}: {name}" for k, name in enumerate(["energy eV", *map(_line, names)], start=1)]
        title = "  ".join(["energy", *(_line(name).replace(" ", "_") for name in names)])
        head = ["# XDI/1.0 operando", *columns, *about, "# ///", f"# {OWN} {own}", "#-----", f"#  {title}"]
        body = ["  ".join(row) for row in rows]
    with written_whole(target, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join([*head, *body, ""]), encoding="utf-8")
    return target


def _shortest(value: Any) -> str:
    return "nan" if np.isnan(value) else str(value)


def _quoted(name: str) -> str:
    # The name itself is in the comment line; here it only has to keep the columns apart.
    return _line(name).replace(",", " ").replace('"', "")


def _line(name: str) -> str:
    return " ".join(name.split()) or "-"


def _own(spectra: xr.DataArray, dtype: np.dtype[Any]) -> str:
    coords = {
        str(name): {
            "dims": [str(dim) for dim in coord.dims],
            "values": coord.values.tolist(),
            "dtype": coord.dtype.str if coord.dtype.kind != "O" else "str",
        }
        for name, coord in spectra.coords.items()
        if name not in ("component", "energy")
    }
    stored = {
        "component": [str(name) for name in spectra.component.values],
        "dtype": dtype.str,
        "name": None if spectra.name is None else str(spectra.name),
        "attrs": spectra.attrs,
        "coords": coords,
        "coord_attrs": {str(name): coord.attrs for name, coord in spectra.coords.items()},
    }
    try:
        return json.dumps(stored, ensure_ascii=False, allow_nan=True, default=_plain)
    except TypeError as error:
        raise InputError(
            f"save_spectra: attributes must be text, numbers or lists of them, and one is not ({error}). "
            "Remove it from attrs."
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")
