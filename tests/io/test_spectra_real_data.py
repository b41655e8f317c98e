"""Every reference spectrum among the real data opens."""

from pathlib import Path

import numpy as np
import pytest

from operando.core.errors import FileError
from operando.io import open_spectra

ALS, HXN, XDI, NI = "als-stxm-fe2p/71214078_FigS4", "hxn-nanoxanes-fe-lfp", "xas-data-library-refs", "ni-k-xanes-refs"


@pytest.mark.parametrize(
    ("pattern", "files", "components", "low", "high"),
    [
        (f"{ALS}/*.r", 2, 1, 700.0, 730.353),
        (f"{ALS}/*.t", 2, 1, 700.0, 730.353),
        (f"{ALS}/i0.xsp", 1, 1, 700.0, 730.353),
        (f"{HXN}/FeLibNov2021.nor", 1, 11, 7090.0, 7199.7197),
        (f"{HXN}/xanes_fit_plot.csv", 1, 6, 7075.6, 7196.0),
        (f"{HXN}/fe_k_reference_library/*.e", 65, 1, 6850.0, 8110.0),
        (f"{XDI}/V/*.xdi", 5, 1, 5360.0, 6310.0),
        (f"{XDI}/Ni/*.xdi", 11, 1, 8100.0, 9600.0),
        (f"{XDI}/Fe/*.xd*", 23, 1, 6900.0, 8100.0),
        (f"{XDI}/Mn/*.xdi", 12, 1, 6500.0, 6700.0),
        (f"{XDI}/Co/*.xdi", 1, 1, 7500.0, 9000.0),
        (f"{NI}/pyxas_BSD3/ref_*.txt", 2, 1, 8200.0, 9000.0),
        (f"{NI}/xanespy_GPL3/*.csv", 1, 1, 8250.0, 8700.0),
        (f"{NI}/xanespy_GPL3/*.tsv", 1, 1, 8250.0, 8640.0),
        (f"{NI}/ndtomo_GPL3/*.h5", 1, 5, 8232.0, 8530.0),
    ],
)
def test_reference_files_open(
    data_folder: Path, pattern: str, files: int, components: int, low: float, high: float
) -> None:
    found = sorted(data_folder.glob(pattern))
    assert len(found) == files
    for file in found:
        spectra = open_spectra(file)
        assert spectra.dims == ("component", "energy")
        assert spectra.sizes["component"] == components
        assert low <= float(spectra.energy[0]) < float(spectra.energy[-1]) <= high
        assert np.isfinite(spectra.values).all()


def test_the_two_iron_references_open_together_with_their_maxima(data_folder: Path) -> None:
    folder = data_folder / ALS
    spectra = open_spectra([folder / "reduced.r", folder / "oxidized.r"])
    assert spectra.component.values.tolist() == ["reduced", "oxidized"]
    below = spectra.sel(energy=slice(None, 715))
    assert below.idxmax("energy").round(2).values.tolist() == [708.25, 709.67]


def test_absorption_of_v2o5_is_the_logarithm_of_its_readings(data_folder: Path) -> None:
    spectra = open_spectra(data_folder / XDI / "V" / "V2O5.xdi")
    assert float(spectra.values[0, 0]) == pytest.approx(np.log(1.00363e5 / 1.45337e5), rel=1e-12)
    assert (spectra.attrs["element"], spectra.attrs["formula"]) == ("V", "V2O5")


def test_the_vectors_beside_a_stack_open_as_spectra(data_folder: Path) -> None:
    spectra = open_spectra(data_folder / ALS / "71214078_aligned.h5")
    assert "i0" in spectra.component.values
    assert float(spectra.sel(component="i0")[0]) == pytest.approx(901.48397)


def test_spectra_without_energies_ask_for_them(data_folder: Path) -> None:
    file = data_folder / NI / "featurexas_GPL3" / "nmc_exp_xas.json"
    with pytest.raises(FileError, match="holds 16 spectra of 100 values and no energies"):
        open_spectra(file)
    spectra = open_spectra(file, energy=8330 + 0.4 * np.arange(100))
    assert spectra.sizes["component"] == 16
    assert spectra.composition.values[0] == "NMC622"
    assert spectra.voltage.values[1] == "4.3"


@pytest.mark.parametrize("name", [f"{HXN}/energy_list_corr.txt", f"{NI}/pyxas_BSD3/Ni_eng_list.txt"])
def test_lists_of_energies_are_no_spectra(data_folder: Path, name: str) -> None:
    with pytest.raises(FileError, match="line 1 has one number"):
        open_spectra(data_folder / name)


@pytest.mark.parametrize("name", [f"{HXN}/LICENSE.txt", f"{HXN}/Readme.txt", f"{HXN}/ExpectedResult.png"])
def test_other_files_are_no_spectra(data_folder: Path, name: str) -> None:
    with pytest.raises(FileError, match="is no"):
        open_spectra(data_folder / name)
