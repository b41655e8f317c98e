import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError, UnitsError
from operando.core.phases import CELL
from operando.morphometry import coverage, effective_thickness, flatten, thickness_map
from operando.samples import symmetric_cell


def _random_labels(shape=(3, 12, 9, 7), voxel_size_um=(3.0, 2.0, 1.0), **attrs):
    values = np.random.default_rng(0).integers(0, 6, shape).astype(np.uint8)
    return labeled_image(values, voxel_size_um=voxel_size_um, t=np.arange(shape[0]) * 0.5, attrs=attrs)


@pytest.mark.parametrize(
    ("along", "step", "rest"), [("z", 3.0, ("y", "x")), ("y", 2.0, ("z", "x")), ("x", 1.0, ("z", "y"))]
)
def test_sum_is_the_length_and_mean_the_share_of_the_component_along_an_axis(along, step, rest):
    labels = _random_labels()
    axis = ("t", "z", "y", "x").index(along)
    count = (labels.values == CELL["pit"]).sum(axis=axis)
    total = flatten(labels, "pit", phases=CELL, along=along)
    assert total.dims == ("t", *rest)
    assert (total.attrs["units"], total.name) == ("um", "pit")
    np.testing.assert_allclose(total, count * step)
    density = flatten(labels, "pit", phases=CELL, along=along, how="mean")
    assert density.attrs["units"] == "1"
    np.testing.assert_allclose(density, count / labels.sizes[along], rtol=1e-6)


def test_several_components_are_stacked_in_the_order_asked_for():
    labels = _random_labels()
    maps = flatten(labels, ("redeposited", "pit"), phases=CELL)
    assert maps.dims == ("t", "component", "y", "x")
    assert maps["component"].values.tolist() == ["redeposited", "pit"]
    for name in ("redeposited", "pit"):
        np.testing.assert_array_equal(maps.sel(component=name), flatten(labels, name, phases=CELL))


def test_thickness_map_is_every_component_flattened():
    labels = _random_labels()
    maps = thickness_map(labels, CELL)
    xr.testing.assert_identical(maps, flatten(labels, list(CELL), phases=CELL))
    np.testing.assert_allclose(maps.sum("component"), 12 * 3.0)


@pytest.mark.parametrize("along", ["z", "y", "x"])
@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 2, "z": 5, "y": 4, "x": 3}])
def test_chunks_do_not_change_a_flattened_map(along, chunks):
    labels = _random_labels()
    lazy = flatten(labels.chunk(chunks), ("pit", "electrode"), phases=CELL, along=along)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), flatten(labels, ("pit", "electrode"), phases=CELL, along=along))


def test_unlabeled_voxels_count_for_the_length_only():
    labels = labeled_image(np.array([1, 255, 0, 1], np.uint8).reshape(4, 1, 1), voxel_size_um=2.0)
    phases = {"electrolyte": 0, "electrode": 1}
    assert flatten(labels, "electrode", phases=phases).item() == 4.0
    assert flatten(labels, "electrode", phases=phases, how="mean").item() == 0.5


def test_phases_are_taken_from_the_labels_in_the_form_the_synthetic_cell_writes():
    cell = symmetric_cell((40, 32, 32), scans=3, seed=3000)
    pits = flatten(cell.labels, "pit")
    assert pits.attrs["simulated"] is True
    assert "phases" not in pits.attrs
    mean = effective_thickness(cell.labels, CELL).sel(component="pit")
    np.testing.assert_allclose(pits.mean(("y", "x")), mean, rtol=1e-6)
    share = coverage(cell.labels, cell.labels.attrs["phases"]).sel(component="pit")
    np.testing.assert_allclose((pits > 0).mean(("y", "x")), share)


def test_density_needs_no_voxel_size_but_thickness_does():
    labels = labeled_image(np.ones((4, 2, 2), np.uint8))
    phases = {"electrode": 1}
    assert flatten(labels, "electrode", phases=phases, how="mean").values.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(UnitsError, match="flatten: a length is needed"):
        flatten(labels, "electrode", phases=phases)


def test_what_cannot_be_flattened_is_named():
    labels = _random_labels()
    with pytest.raises(PhaseError, match="Did you mean 'pit'"):
        flatten(labels, "pits", phases=CELL)
    with pytest.raises(InputError, match="got 'max'"):
        flatten(labels, "pit", phases=CELL, how="max")
    with pytest.raises(InputError, match="along must be one of z, y, x, got 't'"):
        flatten(labels, "pit", phases=CELL, along="t")
    with pytest.raises(InputError, match="at least one component"):
        flatten(labels, [], phases=CELL)
    with pytest.raises(InputError, match=r"no attrs\['phases'\]"):
        flatten(labels, "pit")
    with pytest.raises(PhaseError, match=r"got also \[3, 4, 5\]"):
        flatten(labels, "electrode", phases={"electrolyte": 0, "electrode": 1, "deposited": 2})
