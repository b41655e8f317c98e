import math

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, PhaseError, UnitsError
from operando.core.quantities import COLUMNS
from operando.morphometry.layers import edge_sigma, layer_profile, layers_along_radius, radial_rows, winding_center

PHASES = {"background": 0, "layer": 1}
CENTER = (187.3, 192.8)
INNER, OUTER = 50.0, 170.0


def polar(center=CENTER, shape=(380, 380), sub=1):
    """Radius and angle at sub x sub points of every pixel."""
    y, x = (np.arange(n * sub) / sub - (sub - 1) / (2 * sub) for n in shape)
    y, x = np.meshgrid(y - center[0], x - center[1], indexing="ij")
    return np.hypot(y, x), np.arctan2(y, x)


def rings(thickness, pitch, **kwargs):
    radius, _ = polar(**kwargs)
    return (radius > INNER) & (radius < OUTER) & ((radius - INNER) % pitch < thickness)


def spiral(thickness, pitch, sense=1, **kwargs):
    """Archimedean, ``thickness`` along the radius: perpendicular it is thinner by the cosine of the lead angle."""
    radius, angle = polar(**kwargs)
    turns = (radius - INNER) / pitch - sense * angle / (2 * np.pi)
    return (radius > INNER) & (radius < OUTER) & (turns % 1 < thickness / pitch)


def image(mask, voxel_size_um=1.0):
    return labeled_image(np.asarray(mask).astype("uint8"), voxel_size_um=voxel_size_um)


def area_fraction(shape_function, thickness, pitch, sub=5):
    fine = shape_function(thickness, pitch, sub=sub).astype("float32")
    n, m = fine.shape[0] // sub, fine.shape[1] // sub
    return labeled_image(fine.reshape(n, sub, m, sub).mean(axis=(1, 3)), voxel_size_um=1.0)


def median(array, layers, low=INNER + 12, high=OUTER - 15):
    return float(array.where((layers.radius > low) & (layers.radius < high)).median())


@pytest.mark.parametrize(("thickness", "pitch"), [(3.0, 10.3), (4.6, 10.3), (5.3, 11.4), (12.0, 30.0)])
def test_rings_have_the_thickness_and_spacing_they_were_drawn_with(thickness, pitch):
    layers = layers_along_radius(image(rings(thickness, pitch)), PHASES)
    assert median(layers.thickness, layers) == pytest.approx(thickness, abs=0.08)
    assert median(layers.spacing, layers) == pytest.approx(pitch, abs=0.04)
    assert float(layers.obliquity.where(layers.radius > INNER + 12).median()) < 2.5


@pytest.mark.parametrize("shape", [rings, spiral])
def test_probabilities_give_edges_to_a_hundredth_of_a_voxel_or_two(shape):
    probability = area_fraction(shape, 4.6, 10.3)
    layers = layers_along_radius(image(probability > 0.5), PHASES, probability=probability)
    inside = (layers.radius > INNER + 12) & (layers.radius < OUTER - 15)
    assert median(layers.thickness, layers) == pytest.approx(4.6, abs=0.02)
    assert median(layers.spacing, layers) == pytest.approx(10.3, abs=0.02)
    assert float(layers.thickness.where(inside).std()) < 0.08


@pytest.mark.parametrize("sense", [1, -1])
def test_spiral_of_either_sense_is_measured_perpendicular(sense):
    pitch, thickness = 24.0, 10.0
    layers = layers_along_radius(image(spiral(thickness, pitch, sense)), PHASES)
    near = (layers.radius > 60) & (layers.radius < 85)
    cosine = 1 / math.hypot(1, pitch / (2 * np.pi) / 72)
    assert float(layers.thickness.where(near).median()) == pytest.approx(thickness * cosine, abs=0.08)
    assert float(layers.obliquity.where(near).median()) == pytest.approx(math.degrees(math.acos(cosine)), abs=0.5)


@pytest.mark.parametrize("shape", [rings, spiral])
def test_center_is_found_to_a_tenth_of_a_voxel(shape):
    center = winding_center(image(shape(4.6, 10.3)), PHASES)
    assert float(center.center_y) == pytest.approx(CENTER[0], abs=0.1)
    assert float(center.center_x) == pytest.approx(CENTER[1], abs=0.1)


def test_center_does_not_need_the_whole_roll():
    mask = spiral(4.6, 10.3)
    mask[:, 200:] = False
    center = winding_center(image(mask), PHASES)
    assert math.dist((float(center.center_y), float(center.center_x)), CENTER) < 0.3


def test_buckled_core_does_not_move_the_center():
    radius, angle = polar()
    kink = 14 * np.exp(-(((angle - 1) / 0.15) ** 2) - ((radius - 60) / 25) ** 2)
    moved = radius + kink
    mask = (moved > INNER) & (moved < OUTER) & ((moved - INNER) % 10.3 < 4.6)
    center = winding_center(image(mask), PHASES)
    assert math.dist((float(center.center_y), float(center.center_x)), CENTER) < 0.15


def test_buckled_layer_stands_out_in_spacing_and_obliquity_only_where_it_buckles():
    radius, angle = polar()
    buckle = 5 * np.exp(-(((angle - 1) / 0.12) ** 2) - ((radius - 85) / 8) ** 2)
    moved = radius + buckle
    mask = (moved > INNER) & (moved < OUTER) & ((moved - INNER) % 10.3 < 4.6)
    layers = layers_along_radius(image(mask), PHASES, center=CENTER)
    turned = np.degrees(1)
    there = layers.sel(angle=slice(turned - 12, turned + 12))
    elsewhere = layers.sel(angle=slice(turned + 40, 350))
    assert float(abs(there.spacing - 10.3).max()) > 2
    assert float(abs(elsewhere.spacing - 10.3).max()) < 1
    assert float(there.obliquity.max()) > 15
    assert float(elsewhere.obliquity.max()) < 8


def test_oblique_layers_are_measured_along_their_normal():
    y, x = np.mgrid[:300, :300].astype(float)
    stripes = (y * math.sin(0.9) + x * math.cos(0.9)) % 20 < 8
    layers = layers_along_radius(image(stripes), PHASES, center=(150.0, 150.0), rays=200)
    seen = layers.obliquity < 50
    assert float(layers.thickness.where(seen).mean()) == pytest.approx(8, abs=0.05)
    assert float(layers.spacing.where(seen).median()) == pytest.approx(20, abs=0.1)
    ray = layers.sel(angle=math.degrees(0.9) + 45, method="nearest")
    assert float(ray.obliquity.median()) == pytest.approx(45, abs=2)
    assert float((ray.outer_radius - ray.inner_radius).median()) == pytest.approx(8 * math.sqrt(2), abs=0.5)


def test_unlabeled_sector_is_missing_and_not_background():
    labels = image(rings(4.6, 10.3))
    _, angle = polar()
    hidden = labels.where(np.abs(angle - 1) > 0.3, 255).astype("uint8")
    layers = layers_along_radius(hidden, PHASES, center=CENTER)
    assert int(layers.layers.sel(angle=57)) == 0
    assert int(layers.layers.sel(angle=180)) == 12
    assert median(layers.thickness, layers) == pytest.approx(4.6, abs=0.08)


def test_unlabeled_ring_hides_the_spacing_across_it_only():
    radius, _ = polar()
    labels = image(rings(4.6, 10.3)).where((radius < 105) | (radius > 115), 255).astype("uint8")
    layers = layers_along_radius(labels, PHASES, center=CENTER)
    assert float(layers.spacing.max()) < 12
    inner = layers.radius.where(layers.radius < 105).max("component")
    last = layers.spacing.where(layers.radius == inner).max("component")
    assert bool(last.isnull().all())


def test_layer_that_leaves_the_image_is_not_measured():
    layers = layers_along_radius(image(rings(4.6, 10.3))[:, :270], PHASES, center=CENTER)
    assert int(layers.layers.sel(angle=0)) < int(layers.layers.sel(angle=180)) == 12
    assert float(layers.thickness.max()) < 6


def test_lost_layer_doubles_the_spacing():
    radius, _ = polar()
    mask = rings(4.6, 10.3) & ~((radius > 90) & (radius < 96.5))
    layers = layers_along_radius(image(mask), PHASES, center=CENTER)
    assert float(layers.spacing.max("component").median()) == pytest.approx(20.6, abs=0.2)
    assert int(layers.layers.median()) == 11


def test_specks_thinner_than_the_limit_are_no_layers():
    mask = rings(4.6, 10.3)
    radius, _ = polar()
    mask |= (radius > 30) & (radius < 32)
    labels = image(mask)
    assert int(layers_along_radius(labels, PHASES, center=CENTER).layers.median()) == 13
    assert int(layers_along_radius(labels, PHASES, center=CENTER, min_thickness_um=3.0).layers.median()) == 12


def test_lengths_scale_with_the_voxel_and_angles_do_not():
    mask = spiral(4.6, 10.3)
    one = layers_along_radius(image(mask), PHASES)
    big = layers_along_radius(image(mask, voxel_size_um=33.97), PHASES)
    for name in ("radius", "thickness", "spacing"):
        np.testing.assert_allclose(big[name], 33.97 * one[name], rtol=1e-6)
    np.testing.assert_allclose(big.obliquity, one.obliquity, atol=1e-4)


def test_voxels_need_not_be_square_nor_start_at_zero():
    size = (0.7, 1.3)
    y, x = np.mgrid[:540, :300].astype(float)
    radius = np.hypot(y * size[0] - 190, x * size[1] - 195)
    mask = ((radius > INNER) & (radius < OUTER) & ((radius - INNER) % 12 < 6)).astype("uint8")
    labels = labeled_image(mask, voxel_size_um=size, origin_um=(1000.0, -50.0))
    center = winding_center(labels, PHASES)
    assert float(center.center_y) == pytest.approx(1190, abs=0.1)
    assert float(center.center_x) == pytest.approx(145, abs=0.1)
    layers = layers_along_radius(labels, PHASES)
    assert median(layers.thickness, layers) == pytest.approx(6, abs=0.1)
    assert median(layers.spacing, layers) == pytest.approx(12, abs=0.1)


def test_volume_is_measured_slice_by_slice_like_its_slices_and_lazily():
    flat = image(rings(4.6, 10.3))
    other = image(spiral(4.6, 10.3, center=(190.0, 190.0)))
    stack = labeled_image(np.stack([flat, other, np.zeros_like(flat)]), voxel_size_um=1.0)
    layers = layers_along_radius(stack.chunk({"z": 1}), PHASES, rays=90)
    assert layers.radius.dims == ("component", "angle", "z")
    for index, one in enumerate((flat, other)):
        alone = layers_along_radius(one, PHASES, rays=90)
        np.testing.assert_array_equal(
            layers.thickness.isel(z=index)[: alone.sizes["component"]], alone.thickness.values
        )
        assert float(layers.center_x[index]) == float(alone.center_x)
    assert int(layers.layers.isel(z=2).max()) == 0
    assert bool(np.isnan(layers.center_y[2]))


def test_center_of_one_image_serves_another():
    labels = image(rings(4.6, 10.3))
    found = winding_center(labels, PHASES)
    stack = labeled_image(np.stack([labels, labels]), voxel_size_um=1.0)
    given = layers_along_radius(stack, PHASES, center=found, rays=30)
    np.testing.assert_array_equal(given.center_y, float(found.center_y))


def test_volume_in_bands_is_the_voxel_count():
    mask = spiral(4.6, 10.3)
    stack = labeled_image(np.stack([mask] * 3).astype("uint8"), voxel_size_um=(5.0, 2.0, 2.0))
    layers = layers_along_radius(stack, PHASES, rays=720)
    for by in ("radius", "z"):
        profile = layer_profile(layers, by=by)
        assert profile["volume"].sum() == pytest.approx(mask.sum() * 3 * 20, rel=0.005)
    assert (profile["high"] - profile["low"]).tolist() == [5.0, 5.0, 5.0]
    assert profile["place"].tolist() == [0.0, 5.0, 10.0]


def test_common_edge_error_covers_a_mask_that_is_grown_by_it():
    exact = area_fraction(rings, 4.6, 10.3)
    grown = area_fraction(rings, 5.2, 10.3)
    profiles = [
        layer_profile(layers_along_radius(image(p > 0.5), PHASES, probability=p), edge_sigma_um=0.3, width_um=20.0)
        for p in (exact, grown)
    ]
    for name in ("thickness", "area"):
        off = (profiles[1][name] - profiles[0][name])[1:-1]
        assert (abs(off) < 1.3 * profiles[0][f"{name}_sigma"][1:-1]).all()
    assert profiles[0]["spacing_sigma"].max() < 0.05


def test_edge_sigma_is_how_far_a_mask_was_grown():
    layers = [
        layers_along_radius(image(p > 0.5), PHASES, probability=p, center=CENTER)
        for p in (area_fraction(spiral, 4.6, 10.3), area_fraction(spiral, 5.2, 10.3))
    ]
    assert edge_sigma(layers[0], layers[0]) == 0
    assert edge_sigma(layers[1], layers[0]) == pytest.approx(0.3, abs=0.03)
    assert edge_sigma(layers[0], layers[1]) == pytest.approx(0.3, abs=0.03)


def test_edge_sigma_ignores_layers_that_are_missing_and_masks_that_are_moved():
    truth = layers_along_radius(image(rings(4.6, 10.3)), PHASES, center=CENTER)
    radius, _ = polar()
    lost = layers_along_radius(image(rings(4.6, 10.3) & ~((radius > 90) & (radius < 96.5))), PHASES, center=CENTER)
    assert edge_sigma(lost, truth) == 0
    away = image((radius > INNER) & (radius < OUTER) & ((radius - INNER - 1) % 10.3 < 4.6))
    assert edge_sigma(layers_along_radius(away, PHASES, center=CENTER), truth) < 0.12
    with pytest.raises(InputError, match="same rays"):
        edge_sigma(layers_along_radius(away, PHASES, center=CENTER, rays=90), truth)
    with pytest.raises(InputError, match="share at least one"):
        edge_sigma(truth.where(truth.radius < 0), truth)


def test_rows_name_place_unit_and_number():
    stack = labeled_image(np.stack([rings(4.6, 10.3)] * 2).astype("uint8"), voxel_size_um=10.0)
    layers = layers_along_radius(stack, PHASES, rays=60)
    table = radial_rows(layers, width_um=400.0)
    assert tuple(table.columns) == COLUMNS
    assert set(table["quantity"]) == {"layer thickness", "layer spacing", "layers", "layer volume"}
    assert dict(zip(table["quantity"], table["unit"], strict=True))["layer volume"] == "um3"
    first = table[table["component"] == "layer, radius 0.800-1.200 mm"].set_index("quantity")
    assert first.loc["layer thickness", "value"] == pytest.approx(46, abs=1)
    assert first.loc["layers", "value"] == pytest.approx(4, abs=0.2)
    assert (table["sigma"] >= 0).all()
    assert "layer, z 0.005-0.015 mm" in set(radial_rows(layers, by="z")["component"])


def test_scans_are_kept_apart():
    series = np.stack([rings(4.6, 10.3), rings(6.0, 12.0)]).astype("uint8")
    labels = labeled_image(series, dims=("t", "y", "x"), t=[0.0, 2.5], voxel_size_um=1.0)
    layers = layers_along_radius(labels, PHASES, rays=60)
    assert layers.radius.dims == ("t", "component", "angle")
    table = radial_rows(layers, width_um=120.0)
    thick = table[(table["quantity"] == "layer thickness") & (table["n"] > 300)]
    assert thick["scan"].tolist() == [0, 1]
    assert thick["t"].tolist() == [0.0, 2.5]
    assert thick["value"].tolist() == pytest.approx([4.6, 6.0], abs=0.1)
    with pytest.raises(InputError, match="Select one with isel"):
        layer_profile(layers)


def test_image_without_layers_has_no_center_and_no_profile():
    empty = image(np.zeros((50, 50)))
    assert bool(np.isnan(winding_center(empty, PHASES).center_y))
    layers = layers_along_radius(empty, PHASES)
    assert int(layers.layers.max()) == 0
    with pytest.raises(InputError, match="at least one layer"):
        layer_profile(layers)


def test_messages_say_what_to_do():
    labels = image(rings(4.6, 10.3))
    with pytest.raises(UnitsError, match="voxel_size_um"):
        layers_along_radius(labeled_image(np.zeros((5, 5), "uint8")), PHASES)
    with pytest.raises(PhaseError, match="Did you mean 'layer'"):
        layers_along_radius(labels, PHASES, "layr")
    with pytest.raises(InputError, match="astype"):
        winding_center(labels.astype("int32"), PHASES)
    with pytest.raises(AxesError, match="probability must have the dims"):
        layers_along_radius(labels, PHASES, probability=labels[:-1].astype("float32"))
    with pytest.raises(InputError, match="two finite numbers"):
        layers_along_radius(labels, PHASES, center=(1.0, float("nan")))
    with pytest.raises(InputError, match="center_y and center_x"):
        layers_along_radius(labels, PHASES, center=xr.Dataset())
    with pytest.raises(InputError, match="at least 4"):
        layers_along_radius(labels, PHASES, rays=2)
    with pytest.raises(InputError, match="negative"):
        layers_along_radius(labels, PHASES, smoothing_voxels=-1.0)
    layers = layers_along_radius(labels, PHASES, rays=30)
    with pytest.raises(InputError, match="Did you mean 'radius'"):
        layer_profile(layers, by="radios")
    with pytest.raises(InputError, match="needs slices"):
        layer_profile(layers, by="z")
    with pytest.raises(InputError, match="positive"):
        layer_profile(layers, width_um=-1.0)


def test_real_masks_have_their_windings(data_folder):
    tifffile = pytest.importorskip("tifffile")
    folder = data_folder / "ucl-cylindrical-cell-xct"
    spacing = {}
    for name in ("mask_1", "mask_2"):
        path = folder / f"{name}.tif"
        if not path.exists():
            pytest.skip(f"{path} is not there")
        layers = layers_along_radius(image(tifffile.imread(path) > 0), PHASES)
        assert 17 <= float(layers.layers.median()) <= 19
        assert float(layers.thickness.median()) == pytest.approx(4.2, abs=0.2)
        spacing[name] = layers.spacing.where(layers.radius < 110)
    # The core of the second cell is buckled, that of the first is not.
    wide = {name: float((value > 11.5).sum() / value.notnull().sum()) for name, value in spacing.items()}
    assert wide["mask_2"] > 3 * wide["mask_1"]
