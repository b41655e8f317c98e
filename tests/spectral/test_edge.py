"""Pre-edge subtraction and edge steps."""

import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.spectral import normalize_edge_step, subtract_pre_edge

ENERGY = np.linspace(700.0, 730.0, 61)
STEP = (ENERGY > 710.0).astype(float)


def stack(spectrum, shape=(2, 3), energy=ENERGY):
    values = np.broadcast_to(np.asarray(spectrum, float)[:, None, None], (len(energy), *shape)).copy()
    return xr.DataArray(values, dims=("energy", "y", "x"), coords={"energy": energy})


@pytest.mark.parametrize(
    ("kind", "background"),
    [
        ("constant", np.full(61, 0.7)),
        ("linear", 0.3 + 0.02 * (ENERGY - 700)),
        ("victoreen", 2e8 * ENERGY**-3.0 - 1e11 * ENERGY**-4.0),
    ],
)
def test_a_background_of_its_own_kind_is_subtracted_exactly(kind, background):
    found = subtract_pre_edge(stack(STEP + background), below=709.0, kind=kind)
    np.testing.assert_allclose(found.values[:, 0, 0], STEP, atol=1e-8)
    assert found.attrs["pre_edge_ev"] == [700.0, 708.5]


def test_a_range_takes_both_of_its_ends_and_a_limit_does_not():
    between = subtract_pre_edge(stack(STEP), between=(701.0, 705.0))
    assert between.attrs["pre_edge_ev"] == [701.0, 705.0]
    assert subtract_pre_edge(stack(STEP), below=705.0).attrs["pre_edge_ev"] == [700.0, 704.5]


def test_the_mean_before_the_edge_is_zero_in_every_pixel():
    rng = np.random.default_rng(0)
    density = stack(STEP, (6, 7)) + rng.normal(0.5, 0.1, (61, 6, 7))
    found = subtract_pre_edge(density, below=708.0)
    np.testing.assert_allclose(found.sel(energy=slice(None, 707.5)).mean("energy"), 0.0, atol=1e-12)


def test_missing_values_before_the_edge_are_left_out():
    density = stack(STEP + 0.5)
    density[0] = np.nan
    density[:17, 0, 0] = np.nan
    found = subtract_pre_edge(density, below=708.0)
    np.testing.assert_allclose(found[1:, 1, 1], STEP[1:], atol=1e-12)
    assert found[:, 0, 0].isnull().all()


def test_chunks_do_not_change_the_subtraction():
    density = stack(STEP + 0.5, (8, 9)).chunk({"energy": 10, "y": 3})
    found = subtract_pre_edge(density, below=708.0, kind="linear")
    assert found.chunks is not None
    np.testing.assert_allclose(found.values, subtract_pre_edge(density.compute(), below=708.0, kind="linear").values)


def test_one_spectrum_will_do():
    found = subtract_pre_edge(xr.DataArray(STEP + 2, dims="energy", coords={"energy": ENERGY}), below=705.0)
    np.testing.assert_allclose(found, STEP)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "one of below and between"),
        ({"below": 705.0, "between": (700.0, 705.0)}, "one of below and between"),
        ({"below": 600.0}, "must hold at least 1 energies for kind='constant', got 0.*reaches from 700 to 730 eV"),
        ({"below": 700.2, "kind": "linear"}, "at least 2 energies for kind='linear', got 1"),
        ({"below": 705.0, "kind": "lineer"}, "Did you mean 'linear'"),
        ({"between": 705.0}, r"must be two energies \(low, high\)"),
    ],
)
def test_a_pre_edge_that_cannot_be_fitted_is_refused(kwargs, message):
    with pytest.raises(InputError, match=message):
        subtract_pre_edge(stack(STEP), **kwargs)


def test_edge_steps_are_scaled_to_one_whatever_the_thickness():
    thickness = xr.DataArray([[0.2, 1.0, 3.0]], dims=("y", "x"))
    density = stack(STEP, (1, 3)) * thickness + 0.4
    found = normalize_edge_step(density, pre_edge=(700, 708), post_edge=(715, 730))
    np.testing.assert_allclose(found.edge_step, thickness)
    np.testing.assert_allclose(found.normalized.transpose("energy", "y", "x")[:, 0, 0], STEP, atol=1e-9)
    assert found.normalized.dims == ("energy", "y", "x")


def test_sloping_lines_are_taken_at_the_edge():
    line = 0.2 + 0.01 * (ENERGY - 700)
    density = stack(np.where(STEP > 0, 2.0 + 0.03 * (ENERGY - 710), 0.0) + line)
    found = normalize_edge_step(density, pre_edge=(700, 708), post_edge=(715, 730), at=710.0, kind="linear")
    np.testing.assert_allclose(found.edge_step, 2.0, rtol=1e-9)


def test_error_of_the_step_is_its_scatter():
    rng = np.random.default_rng(1)
    density = stack(STEP, (60, 60)) + rng.normal(0, 0.05, (61, 60, 60))
    for sigma in (None, xr.full_like(density, 0.05)):
        found = normalize_edge_step(density, pre_edge=(700, 708), post_edge=(715, 730), sigma=sigma)
        assert abs(float(found.edge_step.std()) / float(found.edge_step_sigma.mean()) - 1) < 0.05


def test_without_a_significant_step_there_is_no_normalized_spectrum():
    rng = np.random.default_rng(2)
    density = stack(np.zeros(61), (50, 50)) + rng.normal(0, 0.05, (61, 50, 50))
    density[:, :10] += 0.5 * STEP[:, None, None]
    found = normalize_edge_step(density, pre_edge=(700, 708), post_edge=(715, 730))
    assert found.normalized[:, :10].notnull().all()
    assert found.normalized[0, 10:].notnull().mean() < 0.01
    assert found.edge_step.notnull().all()


def test_two_energies_are_enough_where_their_error_is_known():
    density = xr.DataArray(
        [[[0.3, 0.3]], [[1.3, 0.32]]], dims=("energy", "y", "x"), coords={"energy": [8324.0, 8354.0]}
    )
    ranges = {"pre_edge": (8320, 8330), "post_edge": (8350, 8360)}
    found = normalize_edge_step(density, sigma=xr.full_like(density, 0.01), **ranges)
    np.testing.assert_allclose(found.edge_step, [[1.0, 0.02]])
    np.testing.assert_allclose(found.edge_step_sigma, 0.01 * np.sqrt(2))
    assert found.normalized[1, 0].isnull().values.tolist() == [False, True]
    with pytest.raises(InputError, match="at least 2 energies.*Or pass sigma"):
        normalize_edge_step(density, **ranges)


def test_ranges_that_overlap_are_refused():
    with pytest.raises(InputError, match="pre_edge must end before post_edge begins"):
        normalize_edge_step(stack(STEP), pre_edge=(700, 720), post_edge=(710, 730))


def test_chunks_do_not_change_the_normalization():
    density = stack(STEP + 0.3, (6, 6)).chunk({"y": 2, "energy": 20})
    ranges = {"pre_edge": (700, 708), "post_edge": (715, 730)}
    lazy = normalize_edge_step(density, **ranges)
    assert lazy.normalized.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), normalize_edge_step(density.compute(), **ranges))


def test_published_fit_of_a_real_stack_is_reproduced(data_folder):
    import h5py

    from operando.spectral import match_energies, optical_density

    folder = data_folder / "als-stxm-fe2p" / "71214078_FigS4"
    with h5py.File(folder / "71214078_aligned.h5") as file:
        energy, counts, i0 = file["energy_eV"][:], file["counts"][:], file["i0"][:, 1]
    mask = (
        np.array([list(line.ljust(125)) for line in (folder / "mask_file.msk").read_text().splitlines()[:125]]) == "O"
    )
    values = xr.DataArray(counts, dims=("energy", "y", "x"), coords={"energy": energy})
    density = subtract_pre_edge(optical_density(values, i0), below=705.0)
    spectra = {n: np.loadtxt(folder / f"{n}.r").T for n in ("reduced", "oxidized")}
    named = {n: xr.DataArray(od, dims="energy", coords={"energy": e}) for n, (e, od) in spectra.items()}
    design = np.column_stack([*match_energies(named, density).values, np.ones(energy.size)])
    data = density.values[:, mask].astype(float)
    weights = np.linalg.lstsq(design, data, rcond=None)[0]
    explained = 1 - ((data - design @ weights) ** 2).sum() / ((data - data.mean()) ** 2).sum()
    assert explained == pytest.approx(0.947, abs=0.001)
    assert weights.mean(axis=1)[:2] == pytest.approx([0.101, 0.374], abs=0.001)


def test_sigma_goes_with_its_energies_not_with_its_order():
    od = stack(np.linspace(0.0, 2.0, ENERGY.size))
    sigma = xr.zeros_like(od) + xr.DataArray(np.linspace(0.1, 1.0, ENERGY.size), dims="energy")
    ranges = {"pre_edge": (ENERGY[0], ENERGY[3]), "post_edge": (ENERGY[-4], ENERGY[-1])}
    one, other = (normalize_edge_step(od, **ranges, sigma=each).edge_step_sigma for each in (sigma, sigma[::-1]))
    np.testing.assert_array_equal(one, other)
