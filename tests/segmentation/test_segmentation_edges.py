import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, PhaseError
from operando.segmentation import corrected, edge_labels


def balls(shape=(24, 48, 64), *, noise=0.15, seed=0, radius=3.0):
    """Dark balls in bright lithium with slow shading."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, bool)
    grid = np.indices(shape)
    for center in ((8, 12, 12), (14, 32, 20), (10, 20, 50), (16, 40, 44)):
        truth |= sum((axis - at) ** 2 for axis, at in zip(grid, center, strict=True)) <= radius**2
    shade = 0.2 * np.cos(np.pi * np.arange(shape[2]) / shape[2])
    image = ndimage.gaussian_filter(np.where(truth, 0.0, 1.0), 0.7) + shade + noise * rng.normal(size=shape)
    return image.astype(np.float32), truth


def overlap(found, truth):
    return (found & truth).sum() / (found | truth).sum()


def test_dark_balls_are_found_with_their_borders():
    image, truth = balls(noise=0.05)
    labels = edge_labels(image)
    assert set(np.unique(labels)) == {1, 2}
    assert overlap(labels.values == 2, truth) > 0.75


def test_more_noise_costs_overlap_but_not_the_balls():
    image, truth = balls(noise=0.3)
    found = edge_labels(image).values == 2
    pores, count = ndimage.label(truth)
    assert count == 4
    assert (ndimage.mean(found, pores, range(1, 5)) > 0.8).all()
    assert overlap(found, truth) > 0.6


def test_gain_and_offset_of_the_gray_do_not_matter():
    image, _ = balls()
    assert np.mean(edge_labels(image).values == edge_labels(64 * image + 1024).values) > 0.999


def test_bright_neighbors_do_not_leak_into_the_lithium():
    image, truth = balls(noise=0.05)
    padded = np.pad(image, ((6, 6), (0, 0), (0, 0)), constant_values=50.0)
    lithium = np.zeros(padded.shape, bool)
    lithium[6:-6] = True
    masked = edge_labels(padded, mask=lithium)
    assert (masked.values[~lithium] == 255).all()
    by_nan = edge_labels(np.where(lithium, padded, np.nan))
    assert np.array_equal(masked, by_nan)
    assert overlap(masked.values[6:-6] == 2, truth) > 0.75


def test_small_specks_are_dropped():
    image, truth = balls(noise=0.05)
    volume = int(truth.sum()) // 4
    assert (edge_labels(image).values == 2).any()
    assert not (edge_labels(image, smallest=2 * volume).values == 2).any()


def test_uniform_lithium_has_no_pores():
    assert (edge_labels(np.ones((8, 8, 8))).values == 1).all()
    assert (edge_labels(np.full((8, 8, 8), np.nan)).values == 255).all()


def test_edges_of_a_single_cross_section_are_found():
    image, truth = balls(noise=0.05)
    labels = edge_labels(image[14])
    assert labels.dims == ("y", "x")
    assert overlap(labels.values == 2, truth[14]) > 0.7


def test_lazy_images_and_scans_give_the_same_labels():
    images = labeled_image(np.stack([balls(seed=seed)[0] for seed in (0, 1)]), voxel_size_um=2.0, t=[0, 1])
    eager = edge_labels(images)
    lazy = edge_labels(images.chunk({"t": 1, "y": 20, "x": 33}))
    assert lazy.chunks is not None
    assert np.array_equal(lazy, eager)
    assert np.array_equal(edge_labels(images[1]), eager[1])
    assert np.array_equal(eager.t, images.t)
    assert eager.attrs["phases"]["pore"]["id"] == 2


def test_phases_of_another_scheme_are_used():
    image, _ = balls(noise=0.05)
    assert set(np.unique(edge_labels(image, phases={"electrode": 7, "pore": 9}))) == {7, 9}
    with pytest.raises(PhaseError, match="pore"):
        edge_labels(image, phases={"electrode": 7, "void": 9})


@pytest.mark.parametrize(
    "wrong", [{"blur": 0}, {"background": 0.5}, {"faint": 4}, {"faint": -1}, {"sure": 1}, {"smallest": 0}]
)
def test_numbers_that_make_no_sense_are_refused_with_the_defaults(wrong):
    with pytest.raises(InputError, match="The defaults are"):
        edge_labels(np.ones((8, 8, 8)), **wrong)


def test_a_mask_that_does_not_fit_is_refused():
    image = np.ones((8, 8, 8))
    with pytest.raises(InputError, match="array of bool"):
        edge_labels(image, mask=np.ones((8, 8, 8), np.uint8))
    with pytest.raises(AxesError, match="shape"):
        edge_labels(image, mask=np.ones((8, 8, 9), bool))


def test_corrections_replace_labels_where_somebody_marked():
    labels = labeled_image(np.array([[[1, 1, 2, 255]]], np.uint8), voxel_size_um=1.0)
    marks = np.array([[[255, 2, 1, 1]]], np.uint8)
    assert corrected(labels, marks).values.tolist() == [[[1, 2, 1, 1]]]
    assert corrected(labels, np.full_like(marks, 255)).values.tolist() == labels.values.tolist()
    assert corrected(labels, labels.copy(data=marks)).dims == labels.dims


def test_lazy_corrections_stay_lazy():
    labels = labeled_image(np.ones((4, 4, 4), np.uint8), voxel_size_um=1.0)
    marks = labels.copy(data=np.full((4, 4, 4), 255, np.uint8))
    marks[2, 2, 2] = 2
    out = corrected(labels.chunk({"z": 2}), marks)
    assert out.chunks is not None
    assert int((out == 2).sum()) == 1


def test_corrections_of_another_shape_or_kind_are_refused():
    labels = xr.DataArray(np.ones((4, 4, 4), np.uint8), dims=("z", "y", "x"))
    with pytest.raises(AxesError, match="shape"):
        corrected(labels, np.ones((4, 4, 5), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        corrected(labels, np.ones((4, 4, 4)))
    with pytest.raises(InputError, match="uint8"):
        corrected(labels.astype(float), np.ones((4, 4, 4), np.uint8))
