"""Pores one by one and their sizes."""

from math import pi

import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL
from operando.morphometry import pore_size, pores

PHASES = {"electrolyte": 0, "electrode": 1, "pore": 2}


def lithium(shape=(30, 40, 40), ceramic=5):
    labels = np.ones(shape, np.uint8)
    labels[:ceramic] = 0
    return labels


def punch(labels, center, radius, label=2):
    z, y, x = np.ogrid[tuple(slice(size) for size in labels.shape)]
    labels[(z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= radius**2] = label


def test_a_ball_has_its_diameter_its_place_and_its_depth():
    labels = lithium()
    punch(labels, (17, 20, 22), 6)
    found = pores(labeled_image(labels, voxel_size_um=2.0), PHASES)
    assert found.sizes["pore"] == 1
    one = found.isel(pore=0)
    assert one["diameter"].item() == pytest.approx(24, rel=0.01)
    assert [one[axis].item() for axis in "zyx"] == [34.0, 40.0, 44.0]
    # The interface is the face at z = 2 x 5 - 1 = 9 um; the nearest voxel ends at 2 x 11 - 1 = 21 um.
    assert one["depth"].item() == pytest.approx(25.0)
    assert one["gap"].item() == pytest.approx(12.0)
    assert one["extent_y"].item() == 26.0
    assert one["voxels"].item() * 8 == one["volume"].item()
    assert found["volume_searched"].sel(component="high").item() == 25 * 40 * 40 * 8


def test_slabs_of_any_size_find_the_same_pores():
    rng = np.random.default_rng(0)
    labels = lithium((24, 20, 21))
    labels[5:][rng.random((19, 20, 21)) < 0.12] = 2
    image = labeled_image(labels, voxel_size_um=1.5)
    for connectivity in (6, 18, 26):
        whole = pores(image, PHASES, connectivity=connectivity)
        for planes in (1, 5):
            part = pores(image, PHASES, connectivity=connectivity, slab_voxels=planes * 20 * 21)
            assert part.equals(whole)
        assert pores(image.chunk({"z": 7, "y": 9}), PHASES, connectivity=connectivity).equals(whole)


def test_pores_are_those_of_labeling_the_whole_volume_at_once():
    from scipy.ndimage import generate_binary_structure, label

    rng = np.random.default_rng(1)
    labels = lithium((20, 16, 17))
    labels[5:][rng.random((15, 16, 17)) < 0.15] = 2
    for connectivity, rank in ((6, 1), (18, 2), (26, 3)):
        numbered, count = label(labels == 2, generate_binary_structure(3, rank))
        found = pores(labeled_image(labels, voxel_size_um=1.0), PHASES, connectivity=connectivity, slab_voxels=1)
        assert found.sizes["pore"] == count
        assert sorted(found["voxels"].values) == sorted(np.bincount(numbered.ravel())[1:])


def test_voxels_that_touch_at_a_corner_are_one_pore_for_26_neighbors_only():
    labels = lithium((10, 8, 8))
    labels[7, 3, 3] = labels[8, 4, 4] = 2
    image = labeled_image(labels, voxel_size_um=1.0)
    assert pores(image, PHASES).sizes["pore"] == 1
    assert pores(image, PHASES, connectivity=18).sizes["pore"] == 2
    assert pores(image, PHASES, connectivity=6, min_voxels=2).sizes["pore"] == 0


def test_depth_follows_a_tilted_interface():
    labels = np.ones((40, 30, 30), np.uint8)
    z = np.arange(40)[:, None, None]
    height = 5 + np.arange(30) // 2
    labels[np.broadcast_to(z < height, labels.shape)] = 0
    for x in (4, 25):
        labels[height[x] + 6, 15, x] = 2
    found = pores(labeled_image(labels, voxel_size_um=1.0), PHASES)
    assert found["depth"].values.tolist() == [6.5, 6.5]
    assert found["gap"].values.tolist() == [6.0, 6.0]
    assert found["z"].values.tolist() == [13.0, 23.0]


def test_pores_of_both_electrodes_and_of_all_scans_are_told_apart():
    cell = np.zeros((2, 40, 20, 20), np.uint8)
    cell[:, :12] = cell[:, 28:] = 1
    cell[0, 6, 5, 5] = cell[1, 7, 5, 5] = cell[1, 30, 5, 5] = 2
    cell[1, 20, 9, 9] = 4
    series = labeled_image(cell, voxel_size_um=1.0, t=[0.0, 1.0], attrs={"phases": CERAMIC_CELL.to_dict()})
    found = pores(series)
    assert found["scan"].values.tolist() == [0, 1, 1]
    assert found["side"].values.tolist() == ["low", "low", "high"]
    assert found["depth"].values.tolist() == [5.5, 4.5, 2.5]
    in_ceramic = pores(series, pore="electrolyte_pore", solid="electrolyte")
    assert in_ceramic["side"].values.tolist() == ["high"]
    assert in_ceramic["depth"].values.tolist() == [7.5]
    table = found.drop_dims(["component", "t"]).to_dataframe()
    assert list(table["diameter"]) == pytest.approx([(6 / pi) ** (1 / 3)] * 3)


def test_a_pore_at_the_border_of_the_field_of_view_is_flagged_and_not_counted():
    labels = lithium()
    punch(labels, (17, 20, 0), 5)
    punch(labels, (17, 20, 25), 4)
    found = pores(labeled_image(labels, voxel_size_um=1.0), PHASES)
    assert sorted(zip(found["x"].values > 10, found["border"].values, strict=True)) == [(False, True), (True, False)]
    sizes = pore_size(found).sel(component="high")
    assert sizes["count"].item() == 1
    assert sizes["mean_diameter"].item() == pytest.approx(8, rel=0.03)
    # Nothing is seen of how pores vary from place to place.
    assert np.isnan(sizes["mean_diameter_sigma"])


def test_size_and_number_are_free_of_what_the_border_cuts():
    """Balls of two sizes at random in a large field, seen through a small window."""
    means, numbers, plain = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        big = np.zeros((16, 120, 120), bool)
        centers, count = [], 0
        for radius in (2, 5) * 40:
            place = np.array([8, *rng.integers(6, 114, 2)])
            if all(np.hypot(*(place - other)[1:]) > radius + reach + 2 for other, reach in centers):
                centers.append((place, radius))
                count += 1
        labels = big.astype(np.uint8) + 1
        for place, radius in centers:
            punch(labels, place, radius)
        labels[0] = 0
        window = labeled_image(labels[:, 40:80, 40:80], voxel_size_um=1.0)
        sizes = pore_size(pores(window, PHASES), samples=20).sel(component="high")
        inside = [2 * radius for place, radius in centers if (np.abs(place[1:] - 60) < 48).all()]
        means.append(sizes["mean_diameter"].item() / np.mean(inside))
        numbers.append(sizes["number_density"].item() * 15 * 108**2 / count)
        plain.append(pores(window, PHASES)["diameter"].where(~pores(window, PHASES)["border"]).mean().item())
    assert np.mean(means) == pytest.approx(1.0, abs=0.1)
    assert np.mean(numbers) == pytest.approx(1.0, abs=0.15)


def test_intervals_of_the_mean_diameter_hold_the_mean_of_the_kind():
    held, seeds = 0, 20
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        labels = lithium((14, 160, 160), 1)
        places = [(y, x) for y in range(8, 160, 16) for x in range(8, 160, 16)]
        for y, x in places:
            punch(labels, (7, y, x), 1 + int(rng.integers(0, 5)))
        sizes = pore_size(
            pores(labeled_image(labels, voxel_size_um=1.0), PHASES), block_um=32.0, samples=200, seed=seed
        )
        own = sizes.sel(component="high")
        truth = np.mean([(6 / pi * ball(radius)) ** (1 / 3) for radius in range(1, 6)])
        held += own["mean_diameter_low"].item() <= truth <= own["mean_diameter_high"].item()
        assert own["median_diameter_low"] <= own["median_diameter"] <= own["median_diameter_high"]
    assert held >= 17


def ball(radius):
    axis = np.arange(-radius, radius + 1)
    z, y, x = np.meshgrid(axis, axis, axis)
    return int((z**2 + y**2 + x**2 <= radius**2).sum())


def test_lithium_without_pores_is_an_empty_list():
    found = pores(labeled_image(lithium(), voxel_size_um=1.0), PHASES)
    assert found.sizes["pore"] == 0
    sizes = pore_size(found)
    assert sizes["count"].sum() == 0
    assert np.isnan(sizes["mean_diameter"]).all()


def test_what_cannot_be_counted_says_why():
    image = labeled_image(lithium(), voxel_size_um=1.0)
    with pytest.raises(InputError, match="connectivity must be 6, 18 or 26"):
        pores(image, PHASES, connectivity=8)
    found = pores(image, PHASES)
    with pytest.raises(InputError, match="a Dataset from pores is needed"):
        pore_size(found.drop_vars("border"))
    with pytest.raises(InputError, match="level must be between 0 and 1"):
        pore_size(found, level=95)
