"""Fields of current, maps of sub-domains, what lies beneath an interface, and the microstructure factor."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

import operando
from operando.core.errors import AxesError, InputError, UnitsError
from operando.transport import (
    beneath,
    boundary_current,
    effective_conductivity,
    flux,
    local_tortuosity,
    microstructure_factor,
    tortuosity_factor,
)


def ceramic(shape, *, porosity=0.1, seed=0):
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return field > np.quantile(field, porosity)


def test_the_mean_current_is_the_effective_conductivity():
    k = np.exp(np.random.default_rng(0).normal(size=(9, 11, 8)))
    fields = flux(k, "y", tolerance=1e-9)
    mean = fields.current_density.mean(("z", "y", "x"))
    assert float(mean.sel(component="y")) == pytest.approx(effective_conductivity(k, 1, tolerance=1e-8), rel=1e-5)
    assert fields.current_density.dims == ("component", "z", "y", "x")


def test_no_current_is_lost_on_the_way():
    k = np.exp(np.random.default_rng(1).normal(size=(12, 7, 6)))
    along = flux(k, "z", tolerance=1e-12).current_density.sel(component="z").mean(("y", "x"))
    np.testing.assert_allclose(along[1:-1], float(along.mean()), rtol=1e-3)


def test_current_bends_around_a_pore_and_none_flows_inside():
    k = np.ones((15, 15, 15))
    k[5:10, 5:10, 5:10] = 0
    fields = flux(operando.labeled_image(k, voxel_size_um=2.0), "z")
    inside = fields.current_density[:, 7, 7, 7]
    assert not inside.any()
    assert math.isnan(fields.potential[7, 7, 7])
    beside = fields.current_density.sel(component="z")[7, 7, 10]
    assert beside > 1.05
    assert fields.current_density.sel(component="x")[3, 7, 10] > 0.02  # away from the pore before it
    assert fields.current_density.sel(component="x")[3, 7, 4] < -0.02
    assert fields.x.attrs["units"] == "um"


def test_no_field_where_nothing_gets_through():
    k = np.ones((6, 4, 4))
    k[3] = 0
    fields = flux(k, 0)
    assert fields.potential.isnull().all()
    assert not fields.current_density.any()


def test_the_two_ends_pass_the_same_current_spread_differently():
    k = np.ones((20, 16, 16))
    k[1, :10, :10] = 0  # an obstacle near the low end only
    ends = boundary_current(operando.labeled_image(k, voxel_size_um=3.0), "z", tolerance=1e-10)
    expected = effective_conductivity(k, 0, tolerance=1e-8)
    np.testing.assert_allclose(ends.mean(("y", "x")), expected, rtol=1e-4)
    assert ends.sel(component="low").std() > 3 * ends.sel(component="high").std()
    assert ends.dims == ("component", "y", "x")
    assert ends.sel(component="low")[4, 4] < 0.5 * expected < 1.1 * expected < ends.sel(component="low")[13, 13]


def test_a_map_holds_what_each_sub_domain_has_by_itself():
    volume = ceramic((18, 26, 30), porosity=0.3)
    image = operando.labeled_image(volume, voxel_size_um=3.0, origin_um=(0.0, 10.0, 0.0))
    found = local_tortuosity(image, tile_um=36.0, tolerance=1e-5)
    assert found.tortuosity_factor.dims == ("y", "x")
    assert found.tortuosity_factor.shape == (2, 2)  # 12 voxels each; what is left over is dropped
    for i in range(2):
        for j in range(2):
            part = volume[:, 12 * i : 12 * i + 12, 12 * j : 12 * j + 12]
            assert float(found.tortuosity_factor[i, j]) == pytest.approx(tortuosity_factor(part, 0), rel=2e-4)
            assert float(found.conducting_fraction[i, j]) == pytest.approx(part.mean())
    np.testing.assert_allclose(found.y, [10 - 1.5 + 18, 10 - 1.5 + 54])
    assert found.y.attrs["units"] == "um"


def test_blocks_through_the_depth_are_a_map_of_three_axes():
    volume = ceramic((25, 24, 12), porosity=0.2)
    image = operando.labeled_image(volume, voxel_size_um=3.0)
    for axis in ("z", "y", "x"):
        found = local_tortuosity(image, axis=axis, tile_um=36.0, depth_um=36.0, tolerance=1e-5)
        assert found.tortuosity_factor.dims == ("z", "y", "x")
        assert found.tortuosity_factor.shape == (2, 2, 1)
        part = operando.labeled_image(volume[12:24, 12:, :])
        assert float(found.tortuosity_factor[1, 1, 0]) == pytest.approx(tortuosity_factor(part, axis), rel=2e-4)


def test_large_sub_domains_are_solved_like_small_ones(monkeypatch):
    from operando.transport import maps

    image = operando.labeled_image(ceramic((20, 32, 32), porosity=0.3), voxel_size_um=1.0)
    small = local_tortuosity(image, tile_um=16.0, tolerance=1e-6)
    monkeypatch.setattr(maps, "_SMALL", 0)
    large = local_tortuosity(image, tile_um=16.0, tolerance=1e-6)
    xr.testing.assert_allclose(small, large, rtol=1e-4)


def test_a_sub_domain_of_extreme_contrast_is_solved():
    k = np.where(np.random.default_rng(0).random((12, 12, 12)) < 0.3, 1.0, 1e-9)
    found = local_tortuosity(operando.labeled_image(k, voxel_size_um=3.0), tile_um=36.0, tolerance=1e-4)
    expected = effective_conductivity(k, 0, tolerance=1e-6, dtype="float64")
    assert float(found.effective_conductivity[0, 0]) == pytest.approx(expected, rel=2e-3)


def test_what_one_thread_gives_up_is_solved_like_a_large_volume(monkeypatch):
    from operando.transport import box_kernels

    def give_up(k, starts, size, order, edges, tolerance, effective, mean, fraction):
        effective[:] = -1

    image = operando.labeled_image(ceramic((12, 12, 24), porosity=0.3), voxel_size_um=3.0)
    expected = local_tortuosity(image, tolerance=1e-6)
    monkeypatch.setattr(box_kernels, "solve_boxes", give_up)
    xr.testing.assert_allclose(local_tortuosity(image, tolerance=1e-6), expected, rtol=1e-4)


def test_a_map_knows_dead_ends_missing_voxels_and_the_paper():
    values = np.ones((6, 4, 8), dtype=np.uint8)
    values[3, :, :4] = 0
    values[:, :3, 5] = 0
    image = operando.labeled_image(values, voxel_size_um=1.0)
    found = local_tortuosity(image, tile_um=4.0)
    assert found.tortuosity_factor.values.tolist()[0][0] == math.inf
    assert found.effective_conductivity[0, 0] == 0
    paper = local_tortuosity(image, tile_um=4.0, convention="dixit2020")
    assert float(paper.tortuosity_factor[0, 1]) == pytest.approx(math.sqrt(found.tortuosity_factor[0, 1]))
    values[0, 0, 0] = 255
    assert math.isnan(local_tortuosity(image, tile_um=4.0).tortuosity_factor[0, 0])


def test_a_map_of_conductivity_gives_its_unit_and_a_lazy_one_the_same():
    k = np.exp(np.random.default_rng(2).normal(size=(8, 8, 8))).astype(np.float32)
    image = operando.labeled_image(k, voxel_size_um=2.0, units="mS cm-1")
    found = local_tortuosity(image, tile_um=8.0, tolerance=1e-6)
    assert found.effective_conductivity.attrs["units"] == "mS cm-1"
    part = k[:, 4:, :4]
    assert float(found.effective_conductivity[1, 0]) == pytest.approx(effective_conductivity(part, 0), rel=2e-4)
    assert float(found.tortuosity_factor[1, 0]) == pytest.approx(
        part.mean() / effective_conductivity(part, 0), rel=2e-4
    )
    lazy = local_tortuosity(image.chunk({"y": 3, "x": 5}), tile_um=8.0, tolerance=1e-6)
    xr.testing.assert_identical(found, lazy)


def test_maps_refuse_what_they_cannot_cut():
    image = operando.labeled_image(np.ones((4, 4, 4), dtype=bool), voxel_size_um=3.0)
    with pytest.raises(InputError, match=r"from 2 to 4 voxels of 3 um along y, got 36.0 um"):
        local_tortuosity(image)
    with pytest.raises(InputError, match="got 3.0 um. Use between 6 and 12 um"):
        local_tortuosity(image, tile_um=3.0)
    with pytest.raises(InputError, match="axis must be one of z, y, x"):
        local_tortuosity(image, axis="t", tile_um=6)
    with pytest.raises(InputError, match="Did you mean 'dixit2020'"):
        local_tortuosity(image, tile_um=6, convention="dixit")
    with pytest.raises(UnitsError, match="calibrate"):
        local_tortuosity(operando.labeled_image(np.ones((4, 4, 4), dtype=bool)), tile_um=6)
    with pytest.raises(InputError, match="must be 0, 1 or 255"):
        local_tortuosity(image.astype(np.uint8) * 3, tile_um=6)
    with pytest.raises(InputError, match="Set an insulator to 0"):
        local_tortuosity(image * -1.0, tile_um=6)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_beneath_an_uneven_interface_depth_counts_from_it(direction):
    rng = np.random.default_rng(0)
    z = np.arange(30)
    height = rng.uniform(10, 18, size=(5, 6))
    distance = (z[:, None, None] - height) * (1 if direction == "up" else -1)
    image = operando.labeled_image(distance * 2.0, voxel_size_um=2.0, origin_um=(100.0, 0.0, 0.0))
    heights = xr.DataArray(100 + 2 * height, dims=("y", "x"), attrs={"units": "um"})
    found = beneath(image, heights, depth_um=12.0, direction=direction)
    assert found.sizes["z"] == 6
    # the value is how deep the voxel's center lies: between 0 and one voxel for the first
    assert np.all((found[0] >= 0) & (found[0] < 2))
    np.testing.assert_allclose(np.diff(found, axis=0), 2.0)
    np.testing.assert_allclose(found.z, [1, 3, 5, 7, 9, 11])
    assert found.z.attrs["units"] == "um"


def test_beneath_leaves_out_what_is_not_there():
    image = operando.labeled_image(np.ones((6, 1, 3), dtype=bool), voxel_size_um=1.0)
    heights = xr.DataArray([[0.5, np.nan, 3.5]], dims=("y", "x"), attrs={"units": "um"})
    found = beneath(image, heights, depth_um=3.0)
    assert found.dtype == np.uint8
    assert found[:, 0, 0].values.tolist() == [1, 1, 1]
    assert found[:, 0, 1].values.tolist() == [255, 255, 255]
    assert found[:, 0, 2].values.tolist() == [1, 1, 255]
    floats = beneath(image.astype(np.float32), heights, depth_um=3.0)
    assert np.isnan(floats[:, 0, 1]).all()
    assert beneath(image, heights * np.nan, depth_um=2.0).values.ravel().tolist() == [255] * 6


def test_beneath_of_a_lazy_volume_is_that_of_the_whole():
    labels = np.random.default_rng(0).integers(0, 5, size=(20, 6, 7)).astype(np.uint8)
    image = operando.labeled_image(labels, voxel_size_um=2.0)
    heights = xr.DataArray(np.random.default_rng(1).uniform(4, 30, (6, 7)), dims=("y", "x"), attrs={"units": "um"})
    xr.testing.assert_identical(beneath(image, heights, depth_um=8), beneath(image.chunk(4), heights, depth_um=8))


def test_beneath_and_the_map_fit_together():
    volume = ceramic((40, 24, 24))
    image = operando.labeled_image(volume, voxel_size_um=3.0)
    heights = xr.DataArray(np.full((24, 24), 20.0), dims=("y", "x"), attrs={"units": "um"})
    cut = beneath(image, heights, depth_um=36.0)
    np.testing.assert_array_equal(cut.values, volume[7:19])
    found = local_tortuosity(cut, tile_um=36.0, tolerance=1e-5)
    assert float(found.tortuosity_factor[1, 1]) == pytest.approx(tortuosity_factor(volume[7:19, 12:, 12:], 0), rel=2e-4)


def test_beneath_refuses_what_does_not_fit():
    image = operando.labeled_image(np.ones((6, 2, 3)), voxel_size_um=2.0)
    heights = xr.DataArray(np.ones((2, 3)), dims=("y", "x"), attrs={"units": "um"})
    with pytest.raises(InputError, match="'up' .* or 'down', got 'u'"):
        beneath(image, heights, direction="u")
    with pytest.raises(InputError, match="one height per column"):
        beneath(image, heights[:, :2])
    with pytest.raises(InputError, match="at least one voxel of 2 um"):
        beneath(image, heights, depth_um=0.5)
    with pytest.raises(AxesError):
        beneath(image, heights.rename(y="z"))


def test_layers_have_the_factors_of_series_and_parallel():
    k = np.ones((12, 12, 24))
    k[::2] = 0.1
    image = operando.labeled_image(k, voxel_size_um=3.0)
    found = microstructure_factor(image, tile_um=36.0, tolerance=1e-6)
    assert found.conductivity.dims == ("component", "z", "y", "x")
    assert found.conductivity.shape == (3, 1, 1, 2)
    np.testing.assert_allclose(found.conductivity.sel(component="z"), 2 / 11, rtol=1e-4)
    np.testing.assert_allclose(found.conductivity.sel(component="x"), 0.55, rtol=1e-4)
    np.testing.assert_allclose(found.conductivity_mean, [0.55, 0.55, 2 / 11], rtol=1e-4)
    assert found.component.values.tolist() == ["x", "y", "z"]


def test_factors_are_over_the_bulk_value_that_is_given():
    image = operando.labeled_image(np.full((4, 4, 4), 3.0), voxel_size_um=1.0)
    assert float(microstructure_factor(image, tile_um=4.0).conductivity_mean[0]) == pytest.approx(1)
    assert float(microstructure_factor(image, tile_um=4.0, reference=6.0).conductivity_max[0]) == pytest.approx(0.5)


def test_stiffness_and_conductivity_factors_come_together():
    values = np.ones((8, 4, 4))
    values[:4, :, ::2] = 0.25
    k = operando.labeled_image(values, voxel_size_um=1.0)
    found = microstructure_factor(k, 100 * k, 0.0, tile_um=4.0)
    np.testing.assert_allclose(found.youngs_modulus[:, 1, 0, 0], 1, rtol=1e-3)
    across = 2 / (1 / 0.25 + 1)
    np.testing.assert_allclose(found.youngs_modulus[:, 0, 0, 0], [across, 0.625, 0.625], rtol=2e-3)
    np.testing.assert_allclose(found.conductivity[:, 0, 0, 0], [across, 0.625, 0.625], rtol=2e-3)
    assert found.youngs_modulus.attrs["reference"] == 100
    assert found.youngs_modulus_min.sel(component="x") == pytest.approx(across, rel=2e-3)


def test_a_sub_domain_with_missing_voxels_has_no_factor():
    values = np.ones((4, 4, 8))
    values[0, 0, 0] = np.nan
    k = operando.labeled_image(values, voxel_size_um=1.0)
    found = microstructure_factor(k, k, 0.2, tile_um=4.0)
    for name in ("conductivity", "youngs_modulus"):
        assert np.isnan(found[name][:, 0, 0, 0]).all()
        np.testing.assert_allclose(found[name][:, 0, 0, 1], 1, rtol=1e-3)
        np.testing.assert_allclose(found[f"{name}_mean"], 1, rtol=1e-3)


def test_microstructure_factors_refuse_what_does_not_fit():
    k = operando.labeled_image(np.ones((4, 4, 4)), voxel_size_um=1.0)
    with pytest.raises(InputError, match="needs Poisson's ratio"):
        microstructure_factor(k, k, tile_um=4.0)
    with pytest.raises(InputError, match="one shape"):
        microstructure_factor(k, k[:3], 0.2, tile_um=4.0)
    with pytest.raises(InputError, match="reference must be positive, got 0"):
        microstructure_factor(0 * k, tile_um=4.0)
    with pytest.raises(InputError, match="one edge or three"):
        microstructure_factor(k, tile_um=(4.0, 4.0))
    flat = operando.labeled_image(np.ones((4, 4, 4)), voxel_size_um=(2.0, 1.0, 1.0))
    with pytest.raises(InputError, match="cubic voxels"):
        microstructure_factor(flat, flat, 0.2, tile_um=4.0)
