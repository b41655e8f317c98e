"""Spectra brought onto the energies of a stack; offsets of the monochromator."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.core.errors import AxesError, InputError, UnitsError
from operando.spectral import energy_offset, match_energies, shift_energy
from operando.spectral.stacks import as_stack, energies_ev


def spectrum(values, energy):
    return xr.DataArray(np.asarray(values, float), dims="energy", coords={"energy": np.asarray(energy, float)})


def peak(at, energy, width=1.0):
    return spectrum(np.exp(-(((np.asarray(energy) - at) / width) ** 2)), energy)


def test_spectra_on_their_own_energies_come_back_unchanged():
    references = xr.DataArray(
        np.arange(6.0).reshape(2, 3),
        dims=("component", "energy"),
        coords={"component": ["a", "b"], "energy": [700.0, 701.0, 705.0]},
        attrs={"units": "um-1"},
    )
    found = match_energies(references, references.energy)
    np.testing.assert_array_equal(found, references)
    assert found.attrs["units"] == "um-1"
    assert found.component.values.tolist() == ["a", "b"]


def test_dims_in_any_order_and_energies_in_any_order_will_do():
    references = xr.DataArray(
        [[0.0, 10.0], [2.0, 12.0], [1.0, 11.0]], dims=("energy", "component"), coords={"energy": [700.0, 702.0, 701.0]}
    )
    found = match_energies(references, [701.5, 700.5])
    assert found.dims == ("component", "energy")
    assert found.values.tolist() == [[1.5, 0.5], [11.5, 10.5]]
    assert found.component.values.tolist() == ["component 0", "component 1"]


def test_a_mapping_may_have_energies_that_differ():
    found = match_energies(
        {"a": spectrum([0, 1], [700, 710]), "b": spectrum([1, 1, 3], [690, 700, 720])}, [702.0, 710.0]
    )
    np.testing.assert_allclose(found.sel(component="a"), [0.2, 1.0])
    np.testing.assert_allclose(found.sel(component="b"), [1.2, 2.0])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(700, 720), min_size=1, max_size=8, unique=True), st.floats(-3, 3), st.floats(-5, 5))
def test_a_straight_line_is_interpolated_exactly(energies, slope, constant):
    own = np.array([700.0, 703.0, 704.5, 720.0])
    found = match_energies({"line": spectrum(constant + slope * (own - 700), own)}, energies)
    np.testing.assert_allclose(found[0], constant + slope * (np.array(energies) - 700), atol=1e-9)


def test_energies_outside_a_reference_are_refused_with_the_numbers():
    with pytest.raises(
        InputError, match=r"2 of 3 energies, from 690 to 711 eV, lie outside the spectrum 'a'.*700 to 710"
    ):
        match_energies({"a": spectrum([0, 1], [700, 710])}, [690.0, 705.0, 711.0])


def test_energies_outside_by_rounding_are_held():
    found = match_energies({"a": spectrum([5, 1], [700, 710])}, [699.9995, 710.0004])
    assert found.values.tolist() == [[5.0, 1.0]]


def test_energies_in_kev_are_understood():
    own = xr.DataArray([0.0, 1.0], dims="energy", coords={"energy": ("energy", [8.3, 8.4], {"units": "keV"})})
    assert match_energies({"a": own}, [8350.0]).item() == pytest.approx(0.5)


def test_energies_in_another_unit_are_refused():
    own = xr.DataArray([0.0, 1.0], dims="energy", coords={"energy": ("energy", [1.0, 2.0], {"units": "nm"})})
    with pytest.raises(UnitsError, match="must be in eV or keV, got 'nm'"):
        match_energies({"a": own}, [1.5])


def test_missing_values_are_left_out():
    found = match_energies({"a": spectrum([0, np.nan, 2], [700, 701, 702])}, [701.0])
    assert found.item() == 1.0


def test_repeated_energies_are_refused():
    with pytest.raises(InputError, match="got 700 eV more than once"):
        match_energies({"a": spectrum([0, 1], [700, 700])}, [700.0])


def test_spectra_of_different_units_are_refused():
    a, b = spectrum([0, 1], [700, 710]), spectrum([0, 1], [700, 710])
    a.attrs["units"], b.attrs["units"] = "um-1", "1"
    with pytest.raises(InputError, match=r"must have one unit, got \['1', 'um-1'\]"):
        match_energies({"a": a, "b": b}, [700.0])


def test_plain_arrays_of_the_right_length_are_taken_in_order():
    found = match_energies(np.eye(2), np.array([700.0, 701.0]))
    np.testing.assert_array_equal(found, np.eye(2))
    with pytest.raises(InputError, match="has no energies, and 2 values for 3 energies"):
        match_energies(np.eye(2), np.arange(3.0))


@pytest.mark.parametrize(
    "wrong",
    [xr.DataArray(np.ones((2, 2)), dims=("y", "energy")), {"a": xr.DataArray(np.ones((2, 2)), dims=("y", "x"))}],
)
def test_other_dims_are_refused(wrong):
    with pytest.raises(AxesError, match="dim"):
        match_energies(wrong, [1.0, 2.0])


def test_names_that_repeat_are_refused():
    twice = xr.DataArray(np.ones((2, 2)), dims=("component", "energy"), coords={"component": ["a", "a"]})
    with pytest.raises(InputError, match="a name of its own"):
        match_energies(twice, [1.0, 2.0])


def test_nothing_to_match_is_refused():
    with pytest.raises(InputError, match="at least one spectrum"):
        match_energies({}, [700.0])
    with pytest.raises(InputError, match="open_spectra"):
        match_energies("reduced.r", [700.0])


def test_real_references_reach_the_energies_of_their_stack(data_folder):
    folder = data_folder / "als-stxm-fe2p" / "71214078_FigS4"
    columns = {name: np.loadtxt(folder / f"{name}.r").T for name in ("reduced", "oxidized")}
    found = match_energies(
        {name: spectrum(od, energy) for name, (energy, od) in columns.items()}, columns["reduced"][0]
    )
    peaks = found.isel(energy=found.argmax("energy")).energy.values
    assert peaks.tolist() == pytest.approx([708.25, 709.67], abs=0.02)


def test_an_offset_of_the_energies_is_found_with_its_error():
    energy = np.arange(700.0, 730.0, 0.2)
    references = {"a": peak(708.0, energy), "b": peak(712.0, energy, 2.0)}
    wide = np.arange(702.0, 728.0, 0.2)
    rng = np.random.default_rng(0)
    score = []
    for offset in np.linspace(-0.9, 0.9, 13):
        clean = 0.7 * peak(708.0, wide - offset).values + 0.4 * peak(712.0, wide - offset, 2.0).values + 0.1
        noisy = spectrum(clean + rng.normal(0, 0.01, wide.size), wide)
        found, sigma = energy_offset(noisy, references)
        assert sigma < 0.02
        score.append((found - offset) / sigma)
        back, _ = energy_offset(shift_energy(noisy, -found), references)
        assert abs(back) < 0.02
    assert 0.5 < np.sqrt(np.mean(np.square(score))) < 1.6


def test_an_offset_beyond_the_search_has_no_error():
    energy = np.arange(700.0, 730.0, 0.2)
    _, sigma = energy_offset(peak(713.0, energy), {"a": peak(710.0, energy)}, search_ev=1.0)
    assert np.isinf(sigma)


def test_an_offset_needs_references_that_reach_beyond_the_spectrum():
    with pytest.raises(InputError, match="Lower search_ev, or give references that reach farther"):
        energy_offset(peak(701.0, np.linspace(700, 702, 9)), {"a": peak(701.0, np.linspace(700, 702, 9))})


def test_a_plain_array_has_energy_first_and_space_last():
    assert as_stack(np.zeros((5, 3, 2)), where="test").dims == ("energy", "y", "x")
    assert as_stack(np.zeros((5, 4, 3, 2)), where="test").dims == ("energy", "z", "y", "x")
    assert as_stack(np.zeros((3, 2)), where="test", energy=False).dims == ("y", "x")


def test_what_is_no_stack_is_refused():
    with pytest.raises(AxesError, match="must have the dims"):
        as_stack(xr.DataArray(np.zeros((2, 2)), dims=("t", "y")), where="test")
    with pytest.raises(InputError, match="Open a file with operando.io.open_image"):
        as_stack("stack.hdr", where="test")
    with pytest.raises(InputError, match="must have a coordinate 'energy'"):
        energies_ev(xr.DataArray(np.zeros(2), dims="energy"), where="test")


def test_a_mapping_of_spectra_at_a_single_energy_will_do():
    found = match_energies({"a": spectrum([2.0], [700.0]), "b": [3.0]}, [700.0])
    assert found.values.tolist() == [[2.0], [3.0]]


def test_an_offset_from_bare_numbers_is_refused():
    with pytest.raises(InputError, match="references must be a DataArray .* got ndarray"):
        energy_offset(peak(705.0, np.arange(700.0, 710.0)), np.ones((1, 10)))
