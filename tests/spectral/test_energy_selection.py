"""Choice of energies: against exhaustive search, against simulation, and the order of the ways to choose."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.samples import stxm_references
from operando.spectral import (
    energy_selection_error,
    error_against_k,
    expert_energies,
    select_energies,
)

X = {"alpha": 0.0, "epsilon": 0.5, "delta": 1.0, "gamma": 2.0}


@pytest.fixture(scope="module")
def references():
    return stxm_references()


def small(seed, components=3, energies=14):
    random = np.random.default_rng(seed)
    return xr.DataArray(
        random.random((components, energies)) + 0.1,
        dims=("component", "energy"),
        coords={"component": list("abcdef")[:components], "energy": 700.0 + np.arange(energies)},
    )


def predicted(references, energies, **options):
    return energy_selection_error(references, energies, **options)


@pytest.mark.parametrize("criterion", ["d-optimal", "a-optimal", "lithiation"])
@pytest.mark.parametrize("k", [3, 5])
def test_exchange_finds_the_best_of_all_combinations(criterion, k):
    hits = []
    for seed in range(4):
        spectra = small(seed)
        options = {"criterion": criterion, "stoichiometry": [0.0, 0.5, 1.0]}
        best = select_energies(spectra, k, method="exhaustive", **options)
        hits.append(np.array_equal(best, select_energies(spectra, k, **options)))
    # A search by single exchanges may end in a neighbor of the best; it did not on these.
    assert all(hits)


def test_exchange_is_never_worse_than_greedy(references):
    for k in (4, 6, 9):
        volume = {}
        for method in ("greedy", "exchange"):
            chosen = select_energies(references, k, method=method, criterion="a-optimal")
            volume[method] = float((predicted(references, chosen)["weight_sigma"] ** 2).sum())
        assert volume["exchange"] <= volume["greedy"] * (1 + 1e-9)


def test_chosen_energies_are_candidates_ascending_and_hold_those_included(references):
    chosen = select_energies(references, 7, include=[510.0, 540.0])
    assert chosen.dims == ("energy",)
    assert chosen.attrs["units"] == "eV"
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.values) <= set(references.energy.values)
    assert {510.0, 540.0} <= set(chosen.values)
    few = references.energy.values[::4]
    assert set(select_energies(references, 5, candidates=few).values) <= set(few)
    assert select_energies(references, references.sizes["energy"]).size == references.sizes["energy"]


def test_the_choice_does_not_depend_on_the_order_of_components_or_energies(references):
    expected = select_energies(references, 6)
    np.testing.assert_array_equal(expected, select_energies(references[::-1, ::-1], 6))
    np.testing.assert_array_equal(expected, select_energies(references.transpose("energy", "component"), 6))
    mapping = {str(name): references.sel(component=name, drop=True) for name in references.component.values}
    np.testing.assert_array_equal(expected, select_energies(mapping, 6))


def test_d_optimal_energies_do_not_depend_on_the_scale_of_a_reference():
    # Sigma is given: counting statistics would see the other thickness.
    spectra = small(0)
    scaled = spectra * xr.DataArray([1.0, 10.0, 0.1], dims="component")
    np.testing.assert_array_equal(select_energies(spectra, 4, sigma=0.1), select_energies(scaled, 4, sigma=0.1))


def test_the_dose_scales_errors_and_changes_no_choice(references):
    few, many = (select_energies(references, 6, photons=photons) for photons in (1e3, 1e5))
    np.testing.assert_array_equal(few, many)
    low, high = (predicted(references, few, photons=photons)["weight_sigma"] for photons in (1e3, 1e5))
    np.testing.assert_allclose(low / high, 10.0)


def test_the_optimal_beats_expert_even_and_random_choices_in_what_it_optimizes(references):
    table = error_against_k(references, [4, 8, 12], stoichiometry=X, criterion="lithiation")
    lithium = table[(table.quantity == "lithiation") & (table.choice != "all")]
    wide = lithium.pivot_table(index="k", columns="choice", values="sigma")
    for other in ("greedy", "expert", "even", "random"):
        assert (wide["optimal"] <= wide[other] * (1 + 1e-9)).all()
    assert (wide["optimal"] < wide["random"] / 1.5).all()
    # Few good energies are better than all of them at the same dose.
    everything = table[(table.quantity == "lithiation") & (table.choice == "all")]["sigma"].item()
    assert wide["optimal"].max() < everything


def test_predicted_errors_are_those_of_simulated_fits(references):
    energies = select_energies(references, 6)
    spectra = references.sel(energy=energies.values)
    share = np.array([[0.4, 0.1, 0.3, 0.2]])
    thickness, photons = 0.15, 60_000.0
    options = {"composition": share, "thickness": thickness, "photons": photons, "stoichiometry": X}
    errors = predicted(references, energies, **options)
    random = np.random.default_rng(0)
    truth = thickness * share[0]
    density = truth @ spectra.values
    counts = random.poisson(photons / 6 * np.exp(-density), (20_000, 6))
    measured = np.log(photons / 6 / counts)
    weight = np.exp(-density)
    solve = np.linalg.inv((spectra.values * weight) @ spectra.values.T) @ (spectra.values * weight)
    fitted = measured @ solve.T
    np.testing.assert_allclose(fitted.std(axis=0), errors["weight_sigma"], rtol=0.03)
    x = fitted @ np.array(list(X.values())) / fitted.sum(axis=1)
    assert x.std() == pytest.approx(float(errors["lithiation_sigma"]), rel=0.05)


def test_an_error_of_the_energy_scale_is_predicted_too(references):
    energies = np.array([516.0, 517.25, 518.25, 519.0, 524.0, 530.0])
    share, thickness, step = np.array([[0.4, 0.1, 0.3, 0.2]]), 0.15, 0.02
    options = {"composition": share, "thickness": thickness, "stoichiometry": X, "photons": 1e12}
    errors = predicted(references, energies, energy_error=step, **options)
    truth = thickness * share[0]
    moved = stxm_references(energies=energies + step)
    density = truth @ moved.values
    spectra = stxm_references(energies=energies).values
    weight = np.exp(-truth @ spectra)
    fitted = np.linalg.solve((spectra * weight) @ spectra.T, (spectra * weight) @ density)
    # The slope comes from references interpolated over 0.25 eV, hence not exact.
    np.testing.assert_allclose(np.abs(fitted - truth), errors["weight_sigma"], rtol=0.3, atol=2e-4)


def test_allowing_for_the_energy_scale_pays_where_it_is_off(references):
    options = {"stoichiometry": X, "photons": 1e5}
    plain = select_energies(references, 8, criterion="lithiation", **options)
    careful = select_energies(references, 8, criterion="lithiation", energy_error=0.05, **options)
    gain = {
        step: float(
            predicted(references, plain, energy_error=step, **options)["lithiation_sigma"]
            / predicted(references, careful, energy_error=step, **options)["lithiation_sigma"]
        )
        for step in (0.0, 0.05)
    }
    assert gain[0.05] > 1.3
    assert 0.85 < gain[0.0] < 1.0


def test_a_background_costs_energies_and_accuracy(references):
    with pytest.raises(InputError, match="k must be a whole number from 6"):
        select_energies(references, 5, background="linear")
    chosen = select_energies(references, 8, background="linear")
    without = predicted(references, chosen)["weight_sigma"]
    assert (predicted(references, chosen, background="linear")["weight_sigma"] > without).all()


def test_a_thicker_sample_moves_the_choice_away_from_the_peaks(references):
    mean = references.mean("component")
    thin, thick = (select_energies(references, 6, thickness=each) for each in (0.01, 1.0))
    assert float(mean.sel(energy=thick.values).mean()) < float(mean.sel(energy=thin.values).mean())


def test_a_phase_without_lithium_is_no_host_but_costs(references):
    x = {**X, "gamma": None}
    chosen = select_energies(references, 6, criterion="lithiation", stoichiometry=x)
    four = predicted(references, chosen, stoichiometry=x)["lithiation_sigma"]
    three = predicted(references[:3], chosen, stoichiometry=x, thickness=four.attrs.get("thickness", 0.17))
    assert np.isfinite(four)
    assert float(three["lithiation_sigma"]) < float(four)


def test_energies_that_tell_nothing_apart_give_an_infinite_error(references):
    errors = predicted(references, [520.0, 525.0], stoichiometry=X)
    assert np.isinf(errors["weight_sigma"]).all()
    assert np.isinf(errors["lithiation_sigma"])


def test_an_expert_takes_the_peaks_and_both_sides_of_the_edge(references):
    chosen = expert_energies(references, 6).values
    assert chosen[0] == 510.0
    assert chosen[-1] == 540.0
    maxima = references.energy.values[references.values.argmax(axis=1)]
    # A peak next to one already chosen counts as chosen.
    assert all(np.abs(chosen - peak).min() <= 0.25 for peak in maxima)
    for k in (1, 20, 81):
        assert np.unique(expert_energies(references, k)).size == k


def test_the_table_of_errors_has_a_row_per_choice_and_quantity(references):
    table = error_against_k(references, [2, 4, 6], stoichiometry=X, choices=["random", "even"], draws=3)
    # Two energies cannot tell four phases apart: no row.
    assert sorted(table.k.unique()) == [4, 6, 81]
    assert len(table) == (2 * 2 + 1) * 5
    random = table[table.choice == "random"]
    assert (random.low <= random.sigma).all()
    assert (random.sigma <= random.high).all()


def test_energy_selection_errors_name_what_is_wrong(references):
    with pytest.raises(InputError, match="k must be a whole number from 4 to 81, got 3"):
        select_energies(references, 3)
    with pytest.raises(InputError, match="Did you mean 'd-optimal'"):
        select_energies(references, 5, criterion="d-optimum")
    with pytest.raises(InputError, match="Did you mean 'exchange'"):
        select_energies(references, 5, method="exchangs")
    with pytest.raises(InputError, match="needs the x of each reference"):
        select_energies(references, 5, criterion="lithiation")
    with pytest.raises(InputError, match="the nearest to 511.1 eV is 511 eV"):
        select_energies(references, 5, include=[511.1])
    with pytest.raises(InputError, match="too many to try"):
        select_energies(references, 20, method="exhaustive")
    twice = xr.concat([references[:2], references[:1].assign_coords(component=["again"])], dim="component")
    with pytest.raises(InputError, match="tells the references alpha, epsilon, again apart"):
        select_energies(twice, 5)
    with pytest.raises(InputError, match="photons is one positive number"):
        select_energies(references, 5, photons=0.0)
    with pytest.raises(InputError, match="stoichiometry must name every phase"):
        energy_selection_error(references, [515.0], stoichiometry={"alpha": 0.0})
    with pytest.raises(InputError, match="is zero at every energy"):
        select_energies(small(0) * xr.DataArray([1.0, 0.0, 1.0], dims="component"), 4)
    with pytest.raises(InputError, match="energy_error is in eV and not negative, got -1"):
        select_energies(references, 5, energy_error=-1)
    with pytest.raises(InputError, match="a choice is one of"):
        error_against_k(references, [5], choices=["best"])


def test_energies_in_kev_choose_the_same(references):
    energy = ("energy", references.energy.values / 1000, {"units": "keV"})
    given = references.assign_coords(energy=energy)
    expected = select_energies(references, 5).values
    named = {str(name): given.sel(component=name) for name in given.component.values}
    for each in (given, named):
        np.testing.assert_allclose(select_energies(each, 5), expected)
    np.testing.assert_allclose(select_energies(references, 5, candidates=given.energy), expected)


def test_a_stack_names_the_candidates_by_its_energies(references):
    chosen = select_energies(references, 5).values
    stack = xr.DataArray(np.zeros((chosen.size, 2)), dims=("energy", "x"), coords={"energy": chosen})
    np.testing.assert_array_equal(select_energies(references, 5, candidates=stack), chosen)


def test_phases_of_one_x_leave_no_lithiation_to_choose_by(references):
    with pytest.raises(InputError, match="needs two references of different x"):
        select_energies(references, 5, criterion="lithiation", stoichiometry=[1.0] * 4)


def test_one_energy_to_include_and_one_k_need_no_list(references):
    assert 510.0 in select_energies(references, 5, include=510.0)
    assert set(error_against_k(references, 5, choices=["even"]).k) == {5, 81}


def test_a_sample_that_lets_nothing_through_is_refused(references):
    with pytest.raises(InputError, match="no choice of 5 energies"):
        select_energies(references, 5, thickness=1e5)
