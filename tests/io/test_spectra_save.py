"""Spectra that are written open again as they were."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import FileError, InputError
from operando.io import open_spectra, save_spectra


def _spectra(dtype: str = "float64") -> xr.DataArray:
    values = np.random.default_rng(0).standard_normal((3, 7)).astype(dtype)
    values[1, 2] = np.nan
    return xr.DataArray(
        values,
        dims=("component", "energy"),
        coords={
            "component": ["NiO", 'a, b "c"', "LiNi\u2082 counts"],
            "energy": ("energy", np.sort(np.random.default_rng(1).uniform(500, 540, 7)), {"units": "eV", "edge": "L"}),
            "stoichiometry": ("component", [0.0, 0.5, 1.0], {"units": "1"}),
            "formula": ("component", ["NiO", "", "x"]),
        },
        attrs={"units": "um-1", "element": "Ni", "edge": "L3", "notes": ["made by hand"], "level": 0.5},
        name="references",
    )


@pytest.mark.parametrize("ending", [".csv", ".xdi"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_saved_spectra_open_identically(tmp_path: Path, ending: str, dtype: str) -> None:
    spectra = _spectra(dtype)
    again = open_spectra(save_spectra(spectra, tmp_path / f"references{ending}"))
    xr.testing.assert_identical(again, spectra)
    assert again.dtype == spectra.dtype
    assert again.stoichiometry.dtype == np.float64
    assert again.energy.attrs == spectra.energy.attrs


@pytest.mark.parametrize("ending", [".csv", ".xdi"])
def test_what_was_read_from_elsewhere_survives_a_round_trip(tmp_path: Path, ending: str) -> None:
    (tmp_path / "V2O5.xdi").write_text(
        "# Column.1: energy eV\n# Column.2: i0\n# Column.3: itrans\n5400 9 4\n5500 9 2\n"
    )
    first = open_spectra(tmp_path / "V2O5.xdi")
    xr.testing.assert_identical(open_spectra(save_spectra(first, tmp_path / f"again{ending}")), first)


def test_a_single_spectrum_without_component_gets_its_name(tmp_path: Path) -> None:
    spectrum = _spectra().isel(component=0, drop=True)
    again = open_spectra(save_spectra(spectrum, tmp_path / "a.csv"))
    assert again.component.values.tolist() == ["references"]
    np.testing.assert_array_equal(again.values[0], spectrum.values)


def test_energies_come_back_ascending(tmp_path: Path) -> None:
    spectra = _spectra()
    again = open_spectra(save_spectra(spectra.isel(energy=slice(None, None, -1)), tmp_path / "a.csv"))
    xr.testing.assert_identical(again, spectra)


def test_other_programs_find_a_plain_table(tmp_path: Path) -> None:
    file = save_spectra(_spectra(), tmp_path / "a.csv")
    table = np.genfromtxt(file, delimiter=",", comments="#", skip_header=2)
    np.testing.assert_array_equal(table[:, 0], _spectra().energy)
    np.testing.assert_array_equal(table[:, 1:], _spectra().values.T)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    spectra = _spectra()
    with pytest.raises(InputError, match=r"one of .csv, .xdi, got 'a.txt'"):
        save_spectra(spectra, tmp_path / "a.txt")
    with pytest.raises(InputError, match="coordinate 'energy'"):
        save_spectra(spectra.drop_vars("energy"), tmp_path / "a.csv")
    with pytest.raises(InputError, match="stand once each"):
        save_spectra(spectra.assign_coords(energy=[1.0, 1, 2, 3, 4, 5, 6]), tmp_path / "a.csv")
    with pytest.raises(InputError, match="must be real numbers, got complex128"):
        save_spectra(spectra.astype(complex), tmp_path / "a.csv")
    with pytest.raises(InputError, match="attributes must be text"):
        save_spectra(spectra.assign_attrs(thing=object()), tmp_path / "a.csv")
    save_spectra(spectra, tmp_path / "a.csv")
    with pytest.raises(FileError, match="must not exist yet"):
        save_spectra(spectra, tmp_path / "a.csv")
    assert save_spectra(spectra, tmp_path / "a.csv", overwrite=True).exists()
