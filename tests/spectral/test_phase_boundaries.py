"""Length of phase boundaries: lines of any tilt, circles, triple points, rims, noise."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.spectral import dominant_phase, phase_boundary_length

SIZE = 72
MIDDLE = (SIZE - 1) / 2
Y, X = np.mgrid[:SIZE, :SIZE].astype(float)
DISC = (Y - MIDDLE) ** 2 + (X - MIDDLE) ** 2 < 28**2


def covered(inside, fine=7):
    """Share of every pixel that a region covers."""
    at = (np.arange(SIZE * fine) + 0.5) / fine - 0.5
    return inside(at[:, None], at[None, :]).reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3))


def half_plane(tilt, off):
    return lambda y, x: (y - MIDDLE) * np.cos(tilt) + (x - MIDDLE) * np.sin(tilt) > off


def two_phases(share, voxel_size_um=1.0):
    weights = np.stack([share, 1 - share])
    image = labeled_image(weights, dims=("component", "y", "x"), voxel_size_um=voxel_size_um)
    return image.assign_coords(component=["a", "b"])


def as_labels(share, voxel_size_um=1.0):
    return labeled_image((share > 0.5).astype(np.uint8), dims=("y", "x"), voxel_size_um=voxel_size_um)


def length(image, **kwargs):
    table = phase_boundary_length(image, **kwargs)
    whole = table[(table.component == "all phases") & (table.quantity == "phase_boundary_length")]
    return whole.value.item()


def test_tilted_lines_have_their_length_to_two_percent():
    errors, by_labels = [], []
    for number, tilt in enumerate(np.linspace(0, np.pi / 2, 10)):
        off = (0.37 * number) % 1 - 0.5
        share = covered(half_plane(tilt, off))
        true = 2 * np.sqrt(28**2 - off**2)
        errors.append(length(two_phases(share), mask=DISC) / true - 1)
        by_labels.append(length(as_labels(share), mask=DISC) / true - 1)
    assert np.abs(errors).max() < 0.02
    assert np.abs(by_labels).max() < 0.025
    assert np.abs([np.mean(errors), np.mean(by_labels)]).max() < 0.01


@pytest.mark.parametrize(("radius", "tolerance"), [(20, 0.006), (10, 0.01), (5, 0.03)])
def test_circles_have_their_perimeter(radius, tolerance):
    share = covered(lambda y, x: (y - 35.2) ** 2 + (x - 35.9) ** 2 < radius**2)
    true = 2 * np.pi * radius * 0.5
    assert abs(length(two_phases(share, 0.5)) / true - 1) < tolerance
    assert abs(length(as_labels(share, 0.5)) / true - 1) < tolerance


def test_pixel_edges_and_unsmoothed_labels_would_be_longer():
    share = covered(lambda y, x: (y - 35.2) ** 2 + (x - 35.9) ** 2 < 20**2)
    true, labels = 2 * np.pi * 20, share > 0.5
    edges = np.abs(np.diff(labels.astype(int), axis=0)).sum() + np.abs(np.diff(labels.astype(int), axis=1)).sum()
    assert edges / true == pytest.approx(4 / np.pi, abs=0.03)
    assert length(as_labels(share), smoothing_px=0.0) / true == pytest.approx(1.053, abs=0.01)


def test_a_boundary_reaches_the_rim_of_what_counts():
    image = as_labels((X > 35).astype(float))
    band = (Y >= 10) & (Y < 20)
    assert length(image, mask=band) == pytest.approx(10.0)
    assert length(image) == pytest.approx(SIZE)


def test_unequal_pixels_are_measured_in_micrometers():
    image = labeled_image((X > 35).astype(np.uint8), dims=("y", "x"), voxel_size_um=(0.2, 3.0))
    assert length(image) == pytest.approx(0.2 * SIZE)
    assert length(image.transpose("x", "y")) == pytest.approx(0.2 * SIZE)


def test_three_sectors_have_three_boundaries_of_one_radius():
    sector = (((np.arctan2(Y - MIDDLE, X - MIDDLE) + np.pi) / (2 * np.pi)) * 3).astype(int).clip(0, 2)
    labels = labeled_image(sector.astype(np.uint8), dims=("y", "x"), voxel_size_um=1.0)
    table = phase_boundary_length(labels, mask=DISC, phases={"a": 0, "b": 1, "c": 2}).set_index(
        ["component", "quantity"]
    )
    for pair in ("a~b", "a~c", "b~c"):
        assert table.value[pair, "phase_boundary_length"] == pytest.approx(28.0, rel=0.05)
    whole = table.value["all phases", "phase_boundary_length"]
    assert whole == pytest.approx(sum(table.value[p, "phase_boundary_length"] for p in ("a~b", "a~c", "b~c")))
    assert table.value["all phases", "phase_boundary_density"] == pytest.approx(whole / DISC.sum())


def test_weights_meet_where_they_are_equal_whatever_the_thickness():
    share = np.clip(0.5 + (X - 30.3) / 20, 0, 1)
    thickness = 1 + 0.5 * np.sin(Y / 5)
    image = two_phases(share)
    assert length(image * thickness) == pytest.approx(SIZE, rel=1e-3)


def test_a_third_phase_between_two_parts_them():
    w = np.stack([(X < 30) * 1.0, (X > 40) * 1.0, ((X >= 30) & (X <= 40)) * 1.0])
    image = labeled_image(w, dims=("component", "y", "x"), voxel_size_um=1.0).assign_coords(component=["a", "b", "c"])
    table = phase_boundary_length(image)
    assert set(table.component) == {"a~c", "b~c", "all phases"}
    assert length(image) == pytest.approx(2 * SIZE, rel=1e-3)


def test_one_phase_alone_has_no_boundary():
    table = phase_boundary_length(two_phases(np.ones((SIZE, SIZE))))
    assert table.component.tolist() == ["all phases", "all phases"]
    assert table.value.tolist() == [0.0, 0.0]


def test_noise_makes_islands_that_smoothing_takes_away():
    share = np.clip(0.5 + (X - 35.2) / 4, 0.1, 0.9)
    noisy = two_phases(np.clip(share + np.random.default_rng(0).normal(0, 0.25, share.shape), 0, 1))
    assert length(noisy, smoothing_px=0.0) > 2 * SIZE
    assert length(noisy, smoothing_px=2.0) == pytest.approx(SIZE, rel=0.1)


def test_labels_of_dominant_phases_carry_their_names():
    share = covered(lambda y, x: (y - 35.2) ** 2 + (x - 35.9) ** 2 < 20**2)
    weights = two_phases(share)
    labels = dominant_phase(weights)
    assert phase_boundary_length(labels).component[0] == "a~b"
    assert length(labels) == pytest.approx(length(weights), rel=0.01)


def test_length_of_a_simulated_boundary_is_the_true_one():
    from operando.samples import stxm_particle

    sample = stxm_particle((96, 96), kind="core-shell", seed=3008, missing_phase=False, n_particles=1)
    share = sample.weight / sample.weight.sum("component")
    noise = np.random.default_rng(0).normal(0, 0.03, share.shape)
    clean = length(share.where(sample.particles > 0))
    assert clean > 0
    assert length((share + noise).where(sample.particles > 0)) == pytest.approx(clean, rel=0.05)


@pytest.mark.parametrize(
    ("image", "kwargs", "error", "message"),
    [
        (two_phases(Y), {"smoothing_px": -1.0}, InputError, "smoothing_px must not be negative"),
        (two_phases(Y) * np.nan, {}, InputError, "at least one pixel must hold a phase"),
        (two_phases(Y)[:1], {}, InputError, r"at least two phases are needed for a boundary, got \['a'\]"),
        (as_labels(Y).astype(int), {}, InputError, "labels are uint8"),
        (two_phases(Y), {"mask": np.ones((2, 2), bool)}, InputError, "mask must be bool of the shape"),
        (two_phases(Y).expand_dims("z"), {}, AxesError, "not expected"),
        (xr.DataArray(two_phases(Y).values, dims=("component", "y", "x")), {}, UnitsError, "voxel size is not known"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, kwargs, error, message):
    with pytest.raises(error, match=message):
        phase_boundary_length(image, **kwargs)
