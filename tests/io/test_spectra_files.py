"""Spectra out of text, JSON and HDF5, whatever a beamline writes."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from operando.core.errors import FileError, InputError
from operando.io import open_spectra

ROWS = [(8330.0, 0.1), (8340.0, 0.5), (8350.0, 1.25)]


def _written(folder: Path, text: str, name: str = "NiO.txt") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "8330 0.1\n8340 0.5\n8350 1.25\n",
        "8330,0.1\n8340,0.5\n8350,1.25\n",
        "8330, 0.1\n8340, 0.5\n8350, 1.25\n",
        "8330\t0.1\n8340\t0.5\n8350\t1.25\n",
        "8330;0,1\n8340;0,5\n8350;1,25\n",
        "8330,0\t0,1\n8340,0\t0,5\n8350,0\t1,25\n",
        "8330,0 0,1\n8340,0 0,5\n8350,0 1,25\n",
        "  8.330E+3  1.0D-1\n  8.340E+3  5.0D-1\n  8.350E+3  1.25D0\n",
        "8350 1.25\n8340 0.5\n8330 0.1\n",
        "8.33 0.1\n8.34 0.5\n8.35 1.25\n",
        "# energy mu\n8330 0.1\n8340 0.5\n8350 1.25\n",
        "#%Name: nickel oxide\n#%======\n8330 0.1\n8340 0.5\n8350 1.25\n",
        "% made by hand\n8330 0.1\n8340 0.5\n8350 1.25\n",
        "; made by hand\n8330;0.1\n8340;0.5\n8350;1.25\n",
        "****\n* Formula: NiO\n*----\n8330, 0.1\n8340, 0.5\n8350, 1.25\n",
        "Photon energy (keV),mu\n8.33,0.1\n8.34,0.5\n8.35,1.25\n",
        "energy_eV;intensity\n8330;0,1\n8340;0,5\n8350;1,25\n",
        "energy,xmu,\n8330,0.1,\n8340,0.5,\n8350,1.25,\n",
        "nickel oxide from a bottle\n3\n8330 0.1\n8340 0.5\n8350 1.25\n",
        "8330 0.1\n\n8340 0.5\n8345 nan\n8350 1.25\n\n",
        "\ufeffenergy,mu\r\n8330,0.1\r\n8340,0.5\r\n8350,1.25\r\n",
    ],
)
def test_every_way_to_write_a_column_of_numbers_gives_the_same_spectrum(tmp_path: Path, text: str) -> None:
    spectra = open_spectra(_written(tmp_path, text))
    assert spectra.dims == ("component", "energy")
    assert spectra.component.values.tolist() == ["NiO"]
    assert spectra.energy.attrs["units"] == "eV"
    np.testing.assert_allclose(spectra.energy, [row[0] for row in ROWS], rtol=1e-12)
    np.testing.assert_allclose(spectra.values[0], [row[1] for row in ROWS], rtol=1e-12)


def test_columns_of_a_table_are_the_components(tmp_path: Path) -> None:
    spectra = open_spectra(_written(tmp_path, "energy,NiO,LiNiO2\n8330,0.1,0.2\n8350,1.0,1.1\n", "two.csv"))
    assert spectra.component.values.tolist() == ["NiO", "LiNiO2"]
    assert spectra.sel(component="LiNiO2").values.tolist() == [0.2, 1.1]


def test_columns_without_names_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    spectra = open_spectra(_written(tmp_path, "8330 0.1 0.2\n8350 1.0 1.1\n", "two.dat"))
    assert spectra.component.values.tolist() == ["two 1", "two 2"]
    assert open_spectra(tmp_path / "two.dat", columns=[2]).values.tolist() == [[0.2, 1.1]]


def test_a_file_of_athena_gives_names_with_blanks_and_brackets(tmp_path: Path) -> None:
    text = (
        "# XDI/1.0 Demeter/0.9.26\n# Element.symbol: Fe\n# Element.edge: K\n# Column.1: energy eV\n"
        "# Column.2: LiFe(II)PO4\n# Column.3: steel foil\n#-----\n#  energy  LiFe(II)PO4  steel foil\n"
        "  7090.0  0.1  0.2\n  7100.0  0.3  0.4\n"
    )
    spectra = open_spectra(_written(tmp_path, text, "library.nor"))
    assert spectra.component.values.tolist() == ["LiFe(II)PO4", "steel foil"]
    assert (spectra.attrs["element"], spectra.attrs["edge"]) == ("Fe", "K")


def test_the_normalized_column_of_one_spectrum_is_read(tmp_path: Path) -> None:
    text = "# energy norm nbkg flat nder\n7090 0.0 0.1 0.2 0.3\n7100 1.0 1.1 1.2 1.3\n"
    spectra = open_spectra(_written(tmp_path, text, "pyrite.nor"))
    assert spectra.component.values.tolist() == ["pyrite"]
    assert spectra.values.tolist() == [[0.0, 1.0]]
    assert "nbkg, flat, nder" in spectra.attrs["notes"][0]
    assert open_spectra(tmp_path / "pyrite.nor", columns=["flat"]).values.tolist() == [[0.2, 1.2]]


XDI = (
    "# XDI/1.0 GSE/1.0\n# Column.1: energy eV || 13BMA:E\n# Column.2: i0 counts\n# Column.3: itrans\n"
    "# Column.4: ifluor\n# Element.symbol: V\n# Sample.name: V2O5 powder\n# Sample.formula: V2O5\n#---\n"
    "# energy i0 itrans ifluor\n5400 100 50 10\n5500 200 50 40\n5600 200 0 50\n"
)


def test_detector_readings_become_absorption(tmp_path: Path) -> None:
    file = _written(tmp_path, XDI, "V2O5.xdi")
    spectra = open_spectra(file)
    np.testing.assert_allclose(spectra.values, [[np.log(2), np.log(4)]])
    assert spectra.attrs["sample"] == "V2O5 powder"
    assert spectra.attrs["formula"] == "V2O5"
    assert "ln(i0/itrans)" in spectra.attrs["notes"][0]
    assert "1 readings that are not positive" in spectra.attrs["notes"][1]
    fluorescence = open_spectra(file, mode="fluorescence")
    np.testing.assert_allclose(fluorescence.values, [[0.1, 0.2, 0.25]])


def test_energies_that_repeat_at_the_joint_of_two_ranges_are_averaged(tmp_path: Path) -> None:
    rows = [f"{energy} {energy / 1000}" for energy in range(8300, 8330)]
    spectra = open_spectra(_written(tmp_path, "\n".join([*rows, "8310 10.31"])))
    assert spectra.sizes["energy"] == 30
    assert float(spectra.sel(energy=8310)[0]) == pytest.approx((8.310 + 10.31) / 2)
    assert "1 energies stood more than once" in spectra.attrs["notes"][0]


def test_repeated_scans_are_averaged_only_when_asked(tmp_path: Path) -> None:
    file = _written(tmp_path, "8330 1\n8340 2\n8350 5\n8330 3\n8340 4\n8350 nan\n")
    with pytest.raises(FileError, match=r"2 of 3 stand more often.*repeats='mean'"):
        open_spectra(file)
    assert open_spectra(file, repeats="mean").values.tolist() == [[2.0, 3.0, 5.0]]


def test_energies_between_those_of_soft_and_hard_edges_are_asked_for(tmp_path: Path) -> None:
    file = _written(tmp_path, "54 0.1\n55 0.4\n56 0.3\n", "Li-K.txt")
    with pytest.raises(FileError, match=r"up to 56 may be eV.*energy_units"):
        open_spectra(file)
    assert open_spectra(file, energy_units="eV").energy.values.tolist() == [54.0, 55.0, 56.0]


def test_energies_taken_for_kev_are_noted(tmp_path: Path) -> None:
    spectra = open_spectra(_written(tmp_path, "8.33 0.1\n8.35 0.2\n"))
    assert spectra.attrs["notes"] == ["Energies up to 8.35 without a unit were taken for keV."]
    assert "notes" not in open_spectra(tmp_path / "NiO.txt", energy_units="keV").attrs


def test_what_is_missing_in_one_column_only_stays_missing(tmp_path: Path) -> None:
    spectra = open_spectra(_written(tmp_path, "energy,a,b\n700,1,nan\n701,nan,\n702,2,3\n", "two.csv"))
    assert spectra.energy.values.tolist() == [700.0, 702.0]
    assert np.isnan(spectra.sel(component="b", energy=700.0))
    assert spectra.attrs["notes"] == ["1 of 3 rows without energy or value were dropped."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8330\n8340\n8350\n", r"line 1 has one number \('8330'\).*open_stack"),
        ("Dear colleague,\nthe data follows.\n", r"none of its 2 lines is a row of numbers \(it begins 'Dear"),
        ("8330 1\n8340 2\n8350\n", r"every row must have 2 numbers, line 3 has 1: '8350'"),
        ("8330 1\n8340 2\nend of scan 12 at noon\n", r"line 3 is 'end of scan 12 at noon'. Remove it"),
        ("0 1\n1 2\n2 3\n", r"energies must be positive, got 0 in line 1"),
        ("8330 1\n", r"needs two energies or more, got 1"),
        ("", r"the file is empty"),
        ("# operando.spectra: {broken\n8330 1\n8340 2\n", r"line 1 must hold what operando wrote"),
    ],
)
def test_what_is_no_spectrum_is_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        open_spectra(_written(tmp_path, text))


def test_binary_files_and_folders_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    file.write_bytes(bytes(100))
    with pytest.raises(FileError, match=r"is no text: it begins with the bytes"):
        open_spectra(file)
    with pytest.raises(FileError, match="is a folder"):
        open_spectra(tmp_path)
    with pytest.raises(FileError, match=r"Did you mean 'a.dat'\?"):
        open_spectra(tmp_path / "a.da")


def test_unknown_words_suggest_the_nearest(tmp_path: Path) -> None:
    file = _written(tmp_path, "energy,NiO,LiNiO2\n8330,0.1,0.2\n8350,1.0,1.1\n")
    with pytest.raises(InputError, match=r"no column 'LiNiO'. Did you mean 'LiNiO2'\?"):
        open_spectra(file, columns=["LiNiO"])
    with pytest.raises(InputError, match=r"columns 0 to 2, got 3"):
        open_spectra(file, columns=[3])
    with pytest.raises(InputError, match=r"mode must be .* Did you mean 'transmission'\?"):
        open_spectra(file, mode="transmision")
    with pytest.raises(InputError, match="energy_units"):
        open_spectra(file, energy_units="J")
    with pytest.raises(InputError, match="repeats"):
        open_spectra(file, repeats="first")


def test_files_with_the_same_energies_are_joined(tmp_path: Path) -> None:
    for name, formula in (("a", "NiO"), ("b", "LiNiO2")):
        _written(tmp_path, f"# Element.symbol: Ni\n# Formula: {formula}\n8330 1\n8350 2\n", f"{name}.txt")
    spectra = open_spectra([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert spectra.component.values.tolist() == ["a", "b"]
    assert spectra.attrs["element"] == "Ni"
    assert spectra.formula.values.tolist() == ["NiO", "LiNiO2"]


def test_files_of_one_name_are_told_apart_by_ending_or_folder(tmp_path: Path) -> None:
    for place in ("a.r", "a.t", "other/a.t"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        _written(tmp_path, "700 1\n710 2\n", place)
    assert open_spectra([tmp_path / "a.r", tmp_path / "a.t"]).component.values.tolist() == ["a.r", "a.t"]
    names = open_spectra([tmp_path / "a.t", tmp_path / "other" / "a.t"]).component.values.tolist()
    assert names == [f"{tmp_path.name}/a.t", "other/a.t"]


def test_files_with_different_energies_are_for_match_energies(tmp_path: Path) -> None:
    files = [_written(tmp_path, f"{first} 1\n8350 2\n", f"{first}.txt") for first in (8330, 8331)]
    with pytest.raises(InputError, match=r"2 from 8330 .*8331.*pass a mapping: spectral.match_energies"):
        open_spectra(files)


def test_json_of_spectra_by_name(tmp_path: Path) -> None:
    stored = {
        "energy": [8330, 8350],
        "intensity": {"0": [0.1, 1.0], "1": [0.2, None]},
        "voltage": {"0": 4.3, "1": "N/A"},
    }
    file = _written(tmp_path, json.dumps(stored), "library.json")
    spectra = open_spectra(file)
    assert spectra.component.values.tolist() == ["0", "1"]
    assert spectra.voltage.values.tolist() == ["4.3", "N/A"]
    assert np.isnan(spectra.sel(component="1", energy=8350.0))
    del stored["energy"]
    file.write_text(json.dumps(stored))
    with pytest.raises(FileError, match=r"holds 2 spectra of 2 values and no energies.*energy="):
        open_spectra(file)
    assert open_spectra(file, energy=[8330, 8350]).energy.values.tolist() == [8330.0, 8350.0]
    with pytest.raises(FileError, match="one value per energy, '0' has 2 for 3"):
        open_spectra(file, energy=[1.0, 2.0, 3.0])


def test_hdf5_with_an_energy_vector(tmp_path: Path) -> None:
    file = tmp_path / "all.h5"
    with h5py.File(file, "w") as made:
        group = made.create_group("references")
        group["energy"] = [8.33, 8.35]
        group["energy"].attrs["units"] = "keV"
        group["NiO"] = [0.1, 1.0]
        group["image"] = np.zeros((2, 2))
        made["x"] = [1.0, 2.0]
    for path in (file, f"{file}#references", f"{file}#/references/NiO"):
        spectra = open_spectra(path)
        assert spectra.component.values.tolist() == ["NiO"]
        assert spectra.energy.values.tolist() == [8330.0, 8350.0]
    with pytest.raises(FileError, match=r"no 'reference' in the file. Did you mean 'references'\?"):
        open_spectra(f"{file}#reference")
    with h5py.File(file, "a") as made:
        del made["references/energy"]
    with pytest.raises(FileError, match="must hold a vector of photon energies called 'energy'"):
        open_spectra(file)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_value_missing_at_the_end_of_any_row_is_missing_and_no_row_is_lost(separator, tmp_path):
    rows = ["energy,a,b", "700,1,", "701,,5", "702,3,"]
    (tmp_path / "gaps.csv").write_text("\n".join(rows).replace(",", separator) + "\n")
    spectra = open_spectra(tmp_path / "gaps.csv")
    assert spectra.component.values.tolist() == ["a", "b"]
    assert spectra.energy.values.tolist() == [700.0, 701.0, 702.0]
    np.testing.assert_array_equal(spectra.values, [[1, np.nan, 3], [np.nan, 5, np.nan]])


def test_a_separator_that_ends_every_row_is_no_column(tmp_path):
    (tmp_path / "closed.csv").write_text("energy;Fe;\n700;1;\n701;2;\n")
    assert open_spectra(tmp_path / "closed.csv").component.values.tolist() == ["Fe"]


def test_the_numbers_of_the_rows_that_pandas_writes_are_no_spectrum(tmp_path):
    (tmp_path / "index.csv").write_text(",energy,NiO\n0,700,1\n1,701,2\n")
    assert open_spectra(tmp_path / "index.csv").component.values.tolist() == ["NiO"]


def test_rows_of_changing_length_name_the_line(tmp_path):
    (tmp_path / "ragged.txt").write_text("700 1\n701 2 3\n702 4\n703 5\n")
    with pytest.raises(FileError, match="line 3 has 2"):
        open_spectra(tmp_path / "ragged.txt")
