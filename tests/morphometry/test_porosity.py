"""Porosity maps and profiles by depth."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError, UnitsError
from operando.core.phases import CERAMIC_CELL, UNLABELED
from operando.morphometry import (
    electrode_boundaries,
    electrolyte_porosity,
    near_interface_porosity,
    porosity_map,
    porosity_profile,
)

PHASES = {"electrolyte": 0, "electrode": 1, "pore": 2, "collector": 3}


def rough_cell(seed=0, ny=36, nx=40):
    """Twenty voxels of lithium below and eighteen above a tilted, rough ceramic, pores in the two nearest to it."""
    rng = np.random.default_rng(seed)
    z = np.arange(90)[:, None, None]
    low = 26 + np.arange(nx)[None] // 2 + rng.integers(-2, 3, (ny, nx))
    high = low + 20
    labels = np.full((90, ny, nx), 3, np.uint8)
    labels[(z >= low - 20) & (z < high + 18)] = 1
    labels[(z >= low) & (z < high)] = 0
    near = {"low": (z >= low - 2) & (z < low), "high": (z >= high) & (z < high + 2)}
    labels[(near["low"] | near["high"]) & (rng.random(labels.shape) < 0.25)] = 2
    return labels, near


def test_the_profile_follows_a_tilted_and_rough_interface():
    labels, near = rough_cell()
    profile = porosity_profile(labeled_image(labels, voxel_size_um=5.0), PHASES, bin_um=10.0)
    assert profile.dims == ("component", "depth")
    assert profile["depth"].values[:3].tolist() == [5.0, 15.0, 25.0]
    assert profile.attrs["into"] == "lithium"
    for side, layer in near.items():
        own = profile.sel(component=side)
        assert own[0].item() == pytest.approx((labels[layer] == 2).mean())
        assert own["n"][0].item() == layer.sum()
    assert (profile.sel(component="low")[1:10] == 0).all()
    assert np.isnan(profile.sel(component="high")[-1])


def test_a_flat_plane_would_have_smeared_the_profile():
    labels, _ = rough_cell()
    image = labeled_image(labels, voxel_size_um=5.0)
    boundaries = electrode_boundaries(image, PHASES)
    flat = xr.zeros_like(boundaries) + boundaries.mean(("y", "x"))
    local = porosity_profile(image, PHASES, boundaries=boundaries).sel(component="low")
    smeared = porosity_profile(image, PHASES, boundaries=flat.assign_attrs(boundaries.attrs)).sel(component="low")
    assert smeared[0] < 0.7 * local[0]
    assert smeared[2] > 0.01 > local[2]


def test_near_interface_porosity_is_the_first_bin():
    image = labeled_image(rough_cell()[0], voxel_size_um=5.0)
    near = near_interface_porosity(image, PHASES, depth_um=10.0)
    profile = porosity_profile(image, PHASES, bin_um=10.0).isel(depth=0)
    assert near.dims == ("component",)
    np.testing.assert_array_equal(near, profile)
    np.testing.assert_array_equal(near["sigma"], profile["sigma"])


def test_depth_and_porosity_do_not_depend_on_the_voxel_size():
    labels, _ = rough_cell()
    small = porosity_profile(labeled_image(labels, voxel_size_um=1.0), PHASES, bin_um=2.0, tile_um=6.0)
    large = porosity_profile(labeled_image(labels, voxel_size_um=4.0), PHASES, bin_um=8.0, tile_um=24.0)
    np.testing.assert_array_equal(small, large)
    np.testing.assert_array_equal(small["sigma"], large["sigma"])


def test_turning_the_cell_over_exchanges_its_sides():
    labels, _ = rough_cell()
    upright = porosity_profile(labeled_image(labels, voxel_size_um=5.0), PHASES)
    turned = porosity_profile(labeled_image(labels[::-1].copy(), voxel_size_um=5.0), PHASES)
    np.testing.assert_array_equal(upright.sel(component="low"), turned.sel(component="high"))


def test_a_mask_and_lazy_chunks_give_what_the_labels_give():
    labels, _ = rough_cell()
    image = labeled_image(np.stack([labels, np.roll(labels, 3, axis=1)]), voxel_size_um=5.0, t=[0.0, 1.0])
    image = image.assign_coords(step=("t", ["pristine", "plate 1"]))
    boundaries = electrode_boundaries(image, PHASES)
    whole = porosity_profile(image, PHASES)
    lazy = porosity_profile(image.chunk({"t": 1, "z": 17, "y": 10, "x": 40}), PHASES)
    assert whole["step"].values.tolist() == ["pristine", "plate 1"]
    np.testing.assert_array_equal(whole, lazy)
    lithium = image.where((image == 1) | (image == 2), UNLABELED).astype(np.uint8)
    given = porosity_profile(lithium, PHASES, boundaries=boundaries)
    np.testing.assert_array_equal(whole, given)
    mask = porosity_profile(image == 2, boundaries=boundaries)
    np.testing.assert_array_equal(whole, mask)


def test_a_map_of_known_columns():
    columns = np.array([[2, 1, 1, 1], [2, 2, 0, 0], [UNLABELED, 1, 2, 0]], np.uint8).T.reshape(4, 1, 3)
    image = labeled_image(columns, voxel_size_um=2.0, attrs={"phases": PHASES})
    assert porosity_map(image).values.ravel().tolist() == [0.25, 1.0, 0.5]
    assert porosity_map(image, range_um=(2.0, 6.0)).values.ravel().tolist()[:2] == [0.0, 1.0]
    along_x = porosity_map(image, along="x")
    assert along_x.dims == ("z", "y")
    assert along_x.values.ravel().tolist() == [1.0, pytest.approx(1 / 3), 0.5, 0.0]
    assert porosity_map(image).attrs["units"] == "1"


def test_a_map_is_lazy_where_its_labels_are():
    labels = labeled_image(np.random.default_rng(0).integers(0, 4, (2, 8, 9, 10)).astype(np.uint8), voxel_size_um=1.0)
    lazy = porosity_map(labels.chunk({"t": 1, "z": 4, "y": 5}), PHASES)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), porosity_map(labels, PHASES))


def test_a_tile_is_the_ratio_of_its_sums_and_an_incomplete_one_is_dropped():
    labels = labeled_image(np.random.default_rng(1).integers(0, 4, (6, 9, 13)).astype(np.uint8), voxel_size_um=3.0)
    tiles = porosity_map(labels, PHASES, tile_um=12.0)
    assert tiles.shape == (2, 3)
    block = labels.values[:, 4:8, 8:12]
    assert tiles[1, 2].item() == pytest.approx((block == 2).sum() / np.isin(block, [1, 2]).sum())
    assert tiles["x"].values.tolist() == [4.5, 16.5, 28.5]
    assert tiles["x"].attrs["spacing"] == 12.0


def test_boundaries_keep_the_electrodes_of_a_map_apart():
    labels, near = rough_cell()
    image = labeled_image(labels, voxel_size_um=5.0)
    boundaries = electrode_boundaries(image, PHASES)
    maps = porosity_map(image, PHASES, boundaries=boundaries)
    assert maps.dims == ("component", "y", "x")
    for side, depth in (("low", 20), ("high", 18)):
        np.testing.assert_allclose(
            maps.sel(component=side), ((labels == 2) & near[side]).sum(axis=0) / depth, rtol=1e-6
        )
    close = porosity_map(image, PHASES, boundaries=boundaries, depth_um=10.0)
    np.testing.assert_allclose(close.sel(component="low"), ((labels == 2) & near["low"]).sum(axis=0) / 2)


def ceramic(fractions, ny=24, nx=24, seed=0):
    """Ceramic between lithium whose planes are pores at the given rates."""
    rng = np.random.default_rng(seed)
    labels = np.full((len(fractions) + 4, ny, nx), 1, np.uint8)
    rates = np.array(fractions)[:, None, None]
    labels[2:-2] = np.where(rng.random((len(fractions), ny, nx)) < rates, 4, 0)
    return labels


def test_porosity_of_the_ceramic_by_depth_beneath_its_interfaces_and_in_bulk():
    rates = [0.4] * 10 + [0.05] * 20 + [0.2] * 10
    image = labeled_image(ceramic(rates), voxel_size_um=10.0)
    found = electrolyte_porosity(image, CERAMIC_CELL, interfacial_um=100.0, bin_um=50.0)
    assert found["profile"].sizes["depth"] == 4
    pores = image.values[2:-2] == 4
    assert found["interfacial"].values.tolist() == pytest.approx([pores[:10].mean(), pores[-10:].mean()])
    assert found["bulk"].item() == pytest.approx(pores[10:-10].mean())
    assert found["mean"].item() == pytest.approx(pores.mean())
    assert found["profile"].sel(component="low").values.tolist() == pytest.approx(
        [pores[k : k + 5].mean() for k in (0, 5, 10, 15)]
    )
    np.testing.assert_allclose(found["normalized"], found["profile"] / pores.mean())
    for name in ("profile", "interfacial", "bulk", "mean", "normalized"):
        assert (found[f"{name}_sigma"] > 0).all()
        assert found[name].dims == found[f"{name}_sigma"].dims


def test_normalized_porosity_is_relative_to_the_first_scan_or_to_each_its_own():
    scans = np.stack([ceramic([0.1] * 12), ceramic([0.2] * 12, seed=1)])
    image = labeled_image(scans, voxel_size_um=10.0, t=[0.0, 1.0], attrs={"phases": CERAMIC_CELL.to_dict()})
    first = electrolyte_porosity(image, interfacial_um=30.0)
    own = electrolyte_porosity(image, interfacial_um=30.0, relative_to="own")
    assert first["normalized"].dims == ("t", "component", "depth")
    assert first["normalized"].isel(t=1).mean().item() == pytest.approx(2.0, rel=0.1)
    assert own["normalized"].isel(t=1).mean().item() == pytest.approx(1.0, rel=0.02)


def test_a_thin_ceramic_has_no_bulk():
    found = electrolyte_porosity(labeled_image(ceramic([0.1] * 6), voxel_size_um=10.0), CERAMIC_CELL)
    assert np.isnan(found["bulk"])
    assert found["mean"].item() > 0


def test_what_cannot_be_measured_says_why():
    image = labeled_image(rough_cell()[0], voxel_size_um=5.0)
    with pytest.raises(PhaseError, match="Did you mean 'pore'"):
        porosity_map(image, PHASES, pore="pores")
    with pytest.raises(InputError, match="along must be one of"):
        porosity_map(image, PHASES, along="t")
    with pytest.raises(InputError, match=r"what the ids mean|phases=None"):
        porosity_map(image)
    with pytest.raises(InputError, match="range_um must hold at least one voxel center"):
        porosity_map(image, PHASES, range_um=(1e4, 2e4))
    with pytest.raises(InputError, match="needs boundaries"):
        porosity_map(image, PHASES, depth_um=10.0)
    with pytest.raises(InputError, match="tile_um must be at least one voxel"):
        porosity_map(image, PHASES, tile_um=1.0)
    with pytest.raises(InputError, match="boolean image does not show where the interface is"):
        porosity_profile(image == 2)
    with pytest.raises(InputError, match="no column shows one"):
        porosity_profile(labeled_image(np.ones((4, 4, 4), np.uint8), voxel_size_um=1.0), PHASES)
    with pytest.raises(InputError, match="bin_um and depth_um must be positive"):
        porosity_profile(image, PHASES, bin_um=0.0)
    with pytest.raises(UnitsError, match="voxel size"):
        porosity_profile(labeled_image(rough_cell()[0]), PHASES)
    boundaries = electrode_boundaries(image, PHASES)
    with pytest.raises(InputError, match="scans and columns of the labels"):
        porosity_profile(image, PHASES, boundaries=boundaries.isel(y=slice(3)))
    with pytest.raises(InputError, match="'low interface' or 'high interface'"):
        porosity_profile(image, PHASES, boundaries=boundaries.sel(component=["low collector"]))
    with pytest.raises(InputError, match="relative_to must be"):
        electrolyte_porosity(image, PHASES, pore="pore", relative_to="second")
    with pytest.raises(InputError, match="solid must be an electrolyte"):
        electrolyte_porosity(image, PHASES, pore="pore", solid="electrode")
