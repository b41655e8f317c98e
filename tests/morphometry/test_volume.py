import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.axes import calibrate, labeled_image
from operando.core.errors import AxesError, InputError, PhaseError, UnitsError
from operando.core.phases import CELL
from operando.morphometry import coverage, effective_thickness, roi_area, thickness_map, volumes

TWO = {"electrolyte": 0, "electrode": 1}


def _random_labels(shape=(3, 12, 9, 7), seed=0, voxel_size_um=1.5):
    values = np.random.default_rng(seed).integers(0, 6, shape).astype(np.uint8)
    return labeled_image(values, voxel_size_um=voxel_size_um, t=np.arange(shape[0]) * 0.5 if len(shape) == 4 else None)


def test_volume_of_a_single_voxel_is_its_edge_cubed():
    labels = labeled_image(np.ones((1, 1, 1), np.uint8), voxel_size_um=1.33)
    assert volumes(labels, TWO).sel(component="electrode").item() == pytest.approx(1.33**3)


def test_volumes_of_all_components_fill_the_image():
    labels = _random_labels()
    total = volumes(labels, CELL).sum("component")
    assert total.values == pytest.approx([12 * 9 * 7 * 1.5**3] * 3)


def test_volume_of_anisotropic_voxels_is_the_product_of_their_edges():
    labels = labeled_image(np.ones((2, 3, 4), np.uint8), voxel_size_um=(5.0, 2.0, 0.5))
    assert volumes(labels, TWO).sel(component="electrode").item() == pytest.approx(24 * 5)


def test_volumes_scale_with_the_cube_of_the_voxel_size():
    labels = _random_labels()
    doubled = calibrate(labels, voxel_size_um=3.0)
    assert volumes(doubled, CELL).values == pytest.approx(8 * volumes(labels, CELL).values)


def test_volumes_keep_time_and_say_their_unit():
    result = volumes(_random_labels(), CELL)
    assert result.dims == ("t", "component")
    assert result.attrs["units"] == "um3"
    assert result["t"].values.tolist() == [0.0, 0.5, 1.0]
    assert result["component"].values.tolist() == list(CELL)


def test_a_volume_without_time_has_only_components():
    assert volumes(_random_labels((4, 5, 6)), CELL).dims == ("component",)


@pytest.mark.parametrize("measure", [volumes, effective_thickness, coverage, thickness_map])
@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 2, "z": 5, "y": 4, "x": 3}, {"z": 1}])
def test_chunks_do_not_change_a_result(measure, chunks):
    labels = _random_labels()
    xr.testing.assert_identical(measure(labels.chunk(chunks), CELL).compute(), measure(labels, CELL))


@pytest.mark.parametrize("measure", [volumes, effective_thickness, coverage, thickness_map])
def test_turning_the_cell_about_z_does_not_change_its_components(measure):
    labels = _random_labels()
    turned = labels.copy(data=labels.values[:, :, ::-1, ::-1])
    one, other = measure(labels, CELL), measure(turned, CELL)
    if "y" in one.dims:
        one, other = one.mean(("y", "x")), other.mean(("y", "x"))
    assert one.values == pytest.approx(other.values)


def test_permuting_ids_permutes_components_only():
    labels = _random_labels()
    swapped = labels.copy(data=np.array([3, 0, 1, 2, 5, 4], np.uint8)[labels.values])
    renamed = {"electrolyte": 3, "electrode": 0, "deposited": 1, "dendrite": 2, "pit": 5, "redeposited": 4}
    np.testing.assert_array_equal(volumes(swapped, renamed), volumes(labels, CELL))


def test_unlabeled_voxels_belong_to_no_component_and_are_reported():
    labels = labeled_image(np.array([[[0, 1, 255, 255]]], np.uint8), voxel_size_um=1.0)
    result = volumes(labels, TWO)
    assert result.values.tolist() == [1.0, 1.0]
    assert result.attrs["unlabeled"] == 0.5


@pytest.mark.slow
def test_volumes_past_two_to_the_31_voxels_are_exact():
    blocks = 129
    piece = da.ones((256, 256, 256), chunks=256, dtype=np.uint8)
    labels = labeled_image(da.concatenate([piece] * blocks), voxel_size_um=1.0)
    assert labels.size > 2**31
    assert volumes(labels, TWO).sel(component="electrode").item() == blocks * 256**3


def test_an_id_outside_the_scheme_is_named():
    labels = labeled_image(np.array([[[0, 7]]], np.uint8), voxel_size_um=1.0)
    for measure in (volumes, effective_thickness, coverage, thickness_map):
        with pytest.raises(PhaseError, match=r"got also \[7\]"):
            measure(labels, TWO)


def test_a_length_is_refused_where_the_voxel_size_is_unknown():
    labels = labeled_image(np.ones((2, 2, 2), np.uint8))
    for measure in (volumes, effective_thickness, thickness_map):
        with pytest.raises(UnitsError, match="voxel_size_um"):
            measure(labels, TWO)
    assert coverage(labels, TWO).values.tolist() == [0.0, 1.0]


def test_wrong_dims_types_and_empty_images_are_refused():
    with pytest.raises(AxesError, match=r"missing \['z'\]"):
        volumes(labeled_image(np.ones((2, 2), np.uint8), voxel_size_um=1.0), TWO)
    with pytest.raises(InputError, match="uint8"):
        volumes(labeled_image(np.ones((2, 2, 2)), voxel_size_um=1.0), TWO)
    with pytest.raises(InputError, match="at least one voxel"):
        coverage(labeled_image(np.ones((0, 2, 2), np.uint8), voxel_size_um=1.0), TWO)


def test_effective_thickness_is_volume_over_the_area_of_the_field_of_view():
    labels = _random_labels((3, 12, 9, 7), voxel_size_um=(3.0, 2.0, 1.0))
    assert roi_area(labels) == 9 * 2.0 * 7 * 1.0
    np.testing.assert_allclose(effective_thickness(labels, CELL), volumes(labels, CELL) / 126.0)
    assert effective_thickness(labels, CELL).attrs["units"] == "um"


def test_mean_of_the_thickness_map_is_the_effective_thickness():
    labels = _random_labels()
    mean = thickness_map(labels, CELL).mean(("y", "x"))
    np.testing.assert_allclose(mean, effective_thickness(labels, CELL), rtol=1e-6)


def test_thickness_map_is_lazy_where_labels_are():
    lazy = thickness_map(_random_labels().chunk({"y": 3}), CELL)
    assert lazy.chunks is not None
    assert lazy.dims == ("t", "component", "y", "x")


def test_coverage_counts_columns_not_voxels():
    values = np.zeros((5, 4, 5), np.uint8)
    values[1:4, 0, :] = 1  # five columns of three voxels each
    values[2, 1, 1] = 1
    assert coverage(labeled_image(values), TWO).sel(component="electrode").item() == pytest.approx(6 / 20)


def test_dims_in_another_order_are_taken_by_name():
    labels = _random_labels()
    xr.testing.assert_identical(volumes(labels.transpose("x", "t", "y", "z"), CELL), volumes(labels, CELL))
