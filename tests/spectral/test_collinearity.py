"""What references can be told apart, before any fit."""

import numpy as np
import pytest
import xarray as xr

from operando import io, samples
from operando.core.errors import InputError
from operando.spectral import collinearity


def spectra(rows, names=None, energy=None, **attrs):
    rows = np.asarray(rows, dtype=float)
    names = list("abcdefgh"[: len(rows)]) if names is None else names
    energy = 500.0 + np.arange(rows.shape[1]) if energy is None else energy
    return xr.DataArray(rows, dims=("component", "energy"), coords={"component": names, "energy": energy}, attrs=attrs)


@pytest.mark.parametrize("degrees", [1e-3, 0.5, 30.0, 90.0])
def test_the_angle_between_two_lines_is_the_one_they_were_drawn_with(degrees):
    angle = np.radians(degrees)
    found = collinearity(spectra([[1, 0, 0], [3 * np.cos(angle), 3 * np.sin(angle), 0]]))
    assert float(found.angle[0, 1]) == pytest.approx(degrees, rel=1e-6)
    assert float(found.variance_inflation[0]) == pytest.approx(1 / np.sin(angle) ** 2, rel=1e-3)


def test_orthogonal_references_do_not_disturb_each_other():
    found = collinearity(spectra([[2, 0, 0], [0, 4, 0]]), sigma=0.1)
    assert found.variance_inflation.values.tolist() == [1.0, 1.0]
    assert found.weight_sigma.values == pytest.approx([0.05, 0.025])
    assert float(found.condition_number) == pytest.approx(1.0)
    assert found.attrs["warnings"] == []


def test_the_expected_error_is_that_of_repeated_fits():
    rng = np.random.default_rng(0)
    references = spectra(rng.random((3, 20)))
    noise = 0.01 + 0.03 * rng.random(20)
    sigma = xr.DataArray(noise, dims="energy")
    found = collinearity(references, sigma=sigma, background="constant")
    design = np.column_stack([np.ones(20), references.values.T]) / noise[:, None]
    data = rng.standard_normal((20_000, 20))
    scatter = np.std(data @ np.linalg.pinv(design).T, axis=0)[1:]
    assert found.weight_sigma.values == pytest.approx(scatter, rel=0.03)


def test_a_background_takes_away_what_it_can_imitate():
    energy = np.linspace(700.0, 730.0, 31)
    line = np.exp(-0.5 * (energy - 710) ** 2)
    one, other = spectra([line + 1, line + 0.2 * (energy - 715)], energy=energy), "linear"
    apart = collinearity(one)
    same = collinearity(one, background=other)
    assert float(apart.angle[0, 1]) > 20
    assert float(same.angle[0, 1]) < 1e-4


def test_a_trade_is_the_weight_that_replaces_another():
    found = collinearity(spectra([[1, 2, 3.02], [2, 4, 6]]))
    assert float(found.trade[0, 1]) == pytest.approx(0.5, rel=0.02)
    assert float(found.trade[1, 0]) == pytest.approx(2.0, rel=0.02)


def test_a_pair_that_is_alike_is_named_with_its_errors_and_what_to_do():
    energy = np.linspace(510.0, 525.0, 61)
    rows = [np.exp(-((energy - center) ** 2)) for center in (517.0, 517.1, 521.0)]
    found = collinearity(spectra(rows, ["VO2", "V2O4", "V2O5"], energy, units="um-1"), sigma=0.02)
    (warning,) = found.attrs["warnings"]
    assert warning.startswith("VO2 and V2O4 differ by 5.7 degrees only; their weights trade 1:0.995.")
    assert "um at an OD noise of 0.02" in warning
    assert "Merge or drop one" in warning
    contrast = float(warning.split("near ")[1].split(" eV")[0])
    assert contrast in (516.25, 516.5, 517.5, 517.75)


def test_a_reference_that_is_a_mixture_of_several_others_is_named():
    rng = np.random.default_rng(0)
    a, b = np.eye(12)[0], np.eye(12)[1]
    found = collinearity(spectra([a, b, 0.5 * a + 0.5 * b + 0.05 * rng.standard_normal(12)], ["a", "b", "mixed"]))
    assert float(found.angle.where(found.angle > 0).min()) > 10
    assert any(
        text.startswith("mixed is nearly a mixture of the others, mostly 0.") for text in found.attrs["warnings"]
    )


def test_references_that_depend_on_each_other_have_no_error_at_all():
    found = collinearity(spectra([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]))
    assert np.isinf(found.variance_inflation.values).tolist() == [True, True, True, False]
    assert np.isinf(float(found.condition_number))
    assert np.isfinite(found.angle.values).all()


def test_scaling_a_reference_scales_its_weight_and_nothing_else():
    rng = np.random.default_rng(1)
    rows = rng.random((3, 15))
    one, ten = collinearity(spectra(rows)), collinearity(spectra(rows * np.array([[10.0], [1.0], [1.0]])))
    assert ten.angle.values == pytest.approx(one.angle.values, abs=1e-6)
    assert ten.weight_sigma.values == pytest.approx(one.weight_sigma.values * [0.1, 1, 1])
    assert float(ten.condition_number) == pytest.approx(float(one.condition_number))


def test_spectra_with_energies_of_their_own_need_to_know_where_to_be_fitted():
    rows = {"a": spectra([[1, 2, 3]])[0], "b": spectra([[3, 1, 1]], energy=[499.0, 500.5, 503.0])[0]}
    with pytest.raises(InputError, match="different energies"):
        collinearity(rows)
    assert collinearity(rows, energy=[500.0, 501.0, 502.0]).sizes["component"] == 2


def test_plain_arrays_are_references_too():
    rows = np.random.default_rng(1).random((2, 6))
    expected = collinearity(spectra(rows)).angle.values
    for references in (rows, rows.tolist(), {"a": rows[0], "b": rows[1]}):
        np.testing.assert_array_equal(collinearity(references).angle, expected)


def test_an_error_for_each_energy_is_taken_by_its_energies():
    references = spectra(np.random.default_rng(1).random((2, 6)))
    sigma = xr.DataArray(np.linspace(0.01, 0.1, 6), dims="energy", coords={"energy": references.energy})
    xr.testing.assert_equal(collinearity(references, sigma=sigma[::-1]), collinearity(references, sigma=sigma))


def test_bad_noise_too_few_energies_and_lost_references_are_refused():
    with pytest.raises(InputError, match="sigma must be a positive error"):
        collinearity(spectra([[1, 0], [0, 1]]), sigma=0.0)
    with pytest.raises(InputError, match=r"got 2 for 2 \+ 1"):
        collinearity(spectra([[1, 0], [0, 1]]), background="constant")
    with pytest.raises(InputError, match=r"must differ from the background 'constant', got \['b'\]"):
        collinearity(spectra([[1, 0, 0], [2, 2, 2]]), background="constant")


def test_neighboring_lithiated_phases_of_the_sample_are_reported():
    found = collinearity(samples.stxm_particle((16, 16), seed=3000).references[:4])
    assert float(found.angle.sel(component="epsilon", component_other="delta")) < 6
    assert float(found.angle.sel(component="alpha", component_other="gamma")) > 15
    assert [text.split(" differ")[0] for text in found.attrs["warnings"]] == [
        "epsilon and delta",
        "alpha and epsilon",
        "delta and gamma",
    ]


def normalized(path, pre, post):
    spectrum = io.open_spectra(path)[0].drop_vars("component")
    before = spectrum.sel(energy=slice(*pre))
    line = np.polyfit(before.energy, before, 1)
    step = spectrum - np.polyval(line, spectrum.energy)
    return step / step.sel(energy=slice(*post)).mean()


def test_vanadium_oxides_of_neighboring_valence_are_the_hard_pairs(data_folder):
    folder = data_folder / "xas-data-library-refs" / "V"
    found = collinearity(
        {
            name: normalized(folder / f"{name}.xdi", (5380, 5440), (5550, 5650))
            for name in ("V2O5", "VO2", "V2O3", "VO")
        },
        energy=np.arange(5450, 5560, 0.5),
    )
    angle = found.angle.to_pandas()
    assert angle.loc["V2O5", "VO2"] < 5 < angle.loc["V2O5", "V2O3"]
    assert any(text.startswith("V2O5 and VO2 differ by 3.8 degrees") for text in found.attrs["warnings"])


def test_nickel_oxides_are_told_apart_and_ferric_phosphate_is_not_from_sulfate(data_folder):
    folder = data_folder / "ni-k-xanes-refs" / "pyxas_BSD3"
    nickel = {name: io.open_spectra(folder / f"ref_{name}.txt")[0] for name in ("NiO", "LiNiO2")}
    found = collinearity(nickel, energy=np.arange(8330, 8400, 0.5), background="constant")
    assert found.attrs["warnings"] == []
    iron = collinearity(io.open_spectra(data_folder / "hxn-nanoxanes-fe-lfp" / "FeLibNov2021.nor"))
    assert any(text.startswith("FeIII_sulfate and Fe(III)PO4 differ") for text in iron.attrs["warnings"])
    assert float(iron.angle.sel(component="LiFe(II)PO4", component_other="Fe(III)PO4")) > 10
