"""Particles: labels, tables, profiles from rim to core."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, UnitsError
from operando.spectral import core_to_rim, particle_table, particles

Y, X = np.mgrid[:80, :100].astype(float)


def disc(y, x, radius):
    return (Y - y) ** 2 + (X - x) ** 2 <= radius**2


def image(values, voxel_size_um=0.1):
    return labeled_image(np.asarray(values), dims=("y", "x"), voxel_size_um=voxel_size_um)


def test_separate_particles_are_numbered_by_size():
    labels = particles(image((disc(20, 20, 8) | disc(55, 60, 15) | disc(20, 80, 5)).astype(float)))
    assert labels.dtype == np.int32
    assert [int(labels[55, 60]), int(labels[20, 20]), int(labels[20, 80]), int(labels[0, 0])] == [1, 2, 3, 0]
    assert labels.attrs["particles"] == 3


def test_particles_that_touch_are_parted_at_the_neck():
    labels = particles(image((disc(40, 30, 16) | disc(40, 58, 16)).astype(float)))
    assert labels.attrs["particles"] == 2
    border = labels.values[40]
    change = np.flatnonzero(np.diff(border.astype(int)) & (border[1:] > 0) & (border[:-1] > 0))
    assert np.abs(change - 43.5).max() < 1.5


def test_a_rod_and_a_rough_disc_stay_one_particle():
    rng = np.random.default_rng(0)
    rod = (np.abs(Y - 40) < 6) & (np.abs(X - 50) < 40)
    angle = np.arctan2(Y - 40, X - 50)
    rough = np.hypot(Y - 40, X - 50) < 20 + 1.5 * np.sin(9 * angle) + 0.5 * rng.normal(size=Y.shape)
    assert particles(image(rod.astype(float))).attrs["particles"] == 1
    assert particles(image(rough.astype(float)), minimum_um2=0.5).attrs["particles"] == 1


def test_the_neck_decides_what_is_one_particle():
    dumbbell = image((disc(40, 30, 16) | disc(40, 58, 16)).astype(float))
    assert particles(dumbbell, neck=0.2).attrs["particles"] == 1
    assert particles(dumbbell, neck=0.95).attrs["particles"] == 2


def test_thin_particles_beside_a_thick_one_are_found():
    thickness = 3.0 * disc(40, 25, 14) + 1.0 * disc(40, 70, 14)
    noise = np.random.default_rng(0).normal(0, 0.02, Y.shape)
    assert particles(image(thickness + noise), minimum_um2=1.0).attrs["particles"] == 2


def test_small_particles_are_left_out_by_their_area():
    labels = particles(image((disc(20, 20, 8) | disc(55, 60, 15)).astype(float)), minimum_um2=3.0)
    assert labels.attrs["particles"] == 1
    with pytest.raises(InputError, match="at least one particle must have 100 um2"):
        particles(image(disc(20, 20, 8).astype(float)), minimum_um2=100.0)


def test_pixels_without_a_size_have_no_area():
    bare = xr.DataArray(disc(20, 20, 8).astype(float), dims=("y", "x"))
    assert particles(bare).attrs["particles"] == 1
    with pytest.raises(UnitsError, match="voxel size is not known"):
        particles(bare, minimum_um2=1.0)


def test_what_is_missing_is_no_particle():
    values = disc(40, 50, 20).astype(float)
    values[:, 50:] = np.nan
    labels = particles(image(values))
    assert (labels.values[:, 50:] == 0).all()
    assert labels.attrs["particles"] == 1


def test_nothing_thick_enough_is_refused():
    with pytest.raises(InputError, match="thicker than 5, got at most 1"):
        particles(image(disc(40, 50, 20).astype(float)), minimum_thickness=5.0)
    with pytest.raises(InputError, match="Pass minimum_thickness"):
        particles(image(np.ones((5, 5))))
    with pytest.raises(InputError, match=r"neck must be in \(0, 1\]"):
        particles(image(disc(40, 50, 20).astype(float)), neck=0.0)


def test_particles_of_simulated_stacks_are_the_true_ones():
    from operando.samples import stxm_particle
    from operando.spectral import optical_density

    for seed in (3001, 3002):
        sample = stxm_particle((96, 96), seed=seed)
        density = optical_density(sample.counts, sample.i0, dark=sample.attrs["dark"]).mean("energy")
        found, true = particles(density).values, sample.particles.values
        assert found.max() == len(np.unique(true)) - 1
        for number in np.unique(true[true > 0]):
            own = np.bincount(found[true == number], minlength=2)
            assert own[1:].max() > 0.85 * own.sum()


def test_the_table_holds_area_mean_spread_and_difference_of_core_and_rim():
    labels = image(np.where(disc(40, 50, 30), 1, 0))
    depth = 1 - np.hypot(Y - 40, X - 50) / 30
    x = image(np.where(depth > 0.5, 1.0, 0.0))
    table = particle_table(labels, x, sigma=xr.full_like(x, 0.2)).set_index("quantity")
    assert set(table.component) == {"particle 1"}
    assert table.value["area"] == pytest.approx(np.pi * 9.0, rel=0.01)
    assert table.unit["area"] == "um2"
    assert table.value["lithiation"] == pytest.approx(0.25, abs=0.01)
    assert table.value["lithiation_spread"] == pytest.approx(np.sqrt(0.25 * 0.75), abs=0.01)
    assert table.sigma["lithiation"] == pytest.approx(0.2 / np.sqrt(table.n["lithiation"]))
    assert (table.value["lithiation_core"], table.value["lithiation_rim"]) == (1.0, 0.0)
    assert table.value["core_minus_rim"] == 1.0


def test_thickness_weights_the_pixels_of_a_particle():
    labels = image(np.array([[1, 1, 0]]))
    x, thickness = image([[0.0, 1.0, 5.0]]), image([[1.0, 3.0, 9.0]])
    table = particle_table(labels, x, thickness=thickness, sigma=image([[0.1, 0.1, 0.0]])).set_index("quantity")
    assert table.value["lithiation"] == 0.75
    assert table.sigma["lithiation"] == pytest.approx(np.hypot(0.1, 0.3) / 4)


def test_a_particle_without_lithiation_has_rows_of_nan():
    labels = image(np.array([[1, 1, 2, 2]]))
    table = particle_table(labels, image([[0.5, 0.5, np.nan, np.nan]])).set_index(["component", "quantity"])
    assert table.value["particle 1", "lithiation"] == 0.5
    assert np.isnan(table.value["particle 2", "lithiation"])
    assert table.n["particle 2", "lithiation"] == 0


def test_a_table_needs_particles_and_lengths():
    labels = image(np.array([[1, 0]]))
    with pytest.raises(InputError, match="at least one particle must be labeled"):
        particle_table(xr.zeros_like(labels), image([[1.0, 1.0]]))
    with pytest.raises(UnitsError, match="voxel size"):
        particle_table(xr.DataArray(labels.values, dims=("y", "x")), image([[1.0, 1.0]]))
    with pytest.raises(InputError, match=r"must have the shape \(1, 2\) of the labels, got \(1, 3\)"):
        particle_table(labels, image([[1.0, 1.0, 1.0]]))
    with pytest.raises(InputError, match="labels must be integers"):
        particle_table(labels.astype(float), image([[1.0, 1.0]]))


def test_255_is_missing_in_labels_of_8_bits_and_a_particle_in_wider_ones():
    values = np.array([[1, 255]])
    x = image([[0.5, 0.7]])
    assert set(particle_table(image(values.astype(np.uint8)), x).component) == {"particle 1"}
    assert set(particle_table(image(values.astype(np.int32)), x).component) == {"particle 1", "particle 255"}


def test_the_profile_of_a_radial_map_is_that_map():
    labels = image(np.where(disc(40, 50, 30), 1, 0))
    radius = np.hypot(Y - 40, X - 50)
    profile = core_to_rim(labels, image(radius / 30), 6)
    own = profile[profile.component == "particle 1"]
    np.testing.assert_allclose(own.value, 1 - own.depth, atol=0.03)
    np.testing.assert_allclose(own.distance, 3.0 * own.depth, atol=0.11)
    assert own.n.sum() == (labels > 0).sum()


def test_depths_are_relative_to_each_particle():
    labels = image(np.where(disc(40, 25, 20), 1, 0) + np.where(disc(40, 75, 10), 2, 0))
    inner = np.where(disc(40, 25, 10) | disc(40, 75, 5), 1.0, 0.0)
    profile = core_to_rim(labels, image(inner), 2).set_index(["component", "depth"])
    for name in ("particle 1", "particle 2"):
        assert profile.value[name, 0.75] > 0.85
        assert profile.value[name, 0.25] < 0.15
    assert profile.n["all particles", 0.25] == profile.n["particle 1", 0.25] + profile.n["particle 2", 0.25]


def test_touching_particles_have_their_rim_between_them():
    labels = image(np.where(X < 50, 1, 2) * ((Y > 20) & (Y < 60)))
    profile = core_to_rim(labels, image(np.abs(X - 49.5)), 4)
    first = profile[(profile.component == "particle 1") & (profile.depth == 0.125)]
    assert first.value.item() < 25


def test_the_border_of_the_image_is_no_rim():
    labels = image(np.where(X < 40, 1, 0))
    profile = core_to_rim(labels, image(X), 4)
    # Deep is what is far from x = 40, at the border of the image.
    assert profile.value.iloc[3] < 10 < 30 < profile.value.iloc[0]


def test_error_of_a_shell_is_the_larger_of_noise_and_scatter():
    labels = image(np.where(disc(40, 50, 30), 1, 0))
    noise = np.random.default_rng(0).normal(0, 0.1, Y.shape)
    uneven = core_to_rim(labels, image(0.5 + noise), 3, sigma=image(np.full(Y.shape, 0.01)))
    known = core_to_rim(labels, image(np.full(Y.shape, 0.5)), 3, sigma=image(np.full(Y.shape, 0.1)))
    np.testing.assert_allclose(uneven.sigma, known.sigma, rtol=0.15)
    np.testing.assert_allclose(known.sigma, 0.1 / np.sqrt(known.n))


def test_the_number_of_shells_is_a_positive_integer():
    with pytest.raises(InputError, match="n_bins must be a positive integer, got 0"):
        core_to_rim(image(np.array([[1, 0]])), image([[1.0, 1.0]]), 0)


def test_a_map_without_a_value_is_refused():
    with pytest.raises(InputError, match="at least one pixel must be thicker than 1, got at most nan"):
        particles(image(np.full((5, 5), np.nan)), minimum_thickness=1.0)
