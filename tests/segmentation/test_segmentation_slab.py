import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, UnitsError
from operando.segmentation import lithium_slab, slabs_to_cell

PLANES = ["low collector", "low interface", "high interface", "high collector"]
VOXEL = 2.0


def cell(scans=2, shape=(20, 6, 8), seed=0):
    """Gray by phase, labels and boundaries of which one is wavy; the collectors move with every scan."""
    rng = np.random.default_rng(seed)
    z = np.arange(shape[0])[:, None, None]
    heights = np.empty((scans, 4, *shape[1:]))
    labels = np.empty((scans, *shape), np.uint8)
    image = np.empty((scans, *shape), np.float32)
    for scan in range(scans):
        wave = np.rint(np.sin(np.arange(shape[2]))) * np.ones(shape[1:])
        heights[scan] = [3.5 - scan + 0 * wave, 7.5 + wave, 12.5 + 0 * wave, 16.5 + scan + 0 * wave]
        low, high = (z >= heights[scan, 0]) & (z < heights[scan, 1]), (z >= heights[scan, 2]) & (z < heights[scan, 3])
        labels[scan] = np.where(low | high, 1, np.where((z > 5) & (z < 14), 0, 3))
        image[scan] = np.where(low | high, 0.1, 1.0) + np.where(low | high, 0.01, 0) * rng.normal(size=shape)
    image = labeled_image(image, voxel_size_um=VOXEL, t=np.arange(scans), attrs={"plating_side": "low"})
    boundaries = xr.DataArray(
        (VOXEL * heights).astype(np.float32),
        dims=("t", "component", "y", "x"),
        coords={"t": image.t, "component": PLANES, "y": image.y, "x": image.x},
        attrs={"units": "um"},
    )
    return image, image.copy(data=labels), boundaries


@pytest.mark.parametrize("electrode", ["low", "high"])
def test_a_slab_holds_the_lithium_and_nothing_else(electrode):
    image, labels, boundaries = cell()
    slab = lithium_slab(image, boundaries, electrode=electrode)
    there = lithium_slab(labels, boundaries, electrode=electrode, labels=True)
    assert slab.dims == image.dims
    assert np.array_equal(np.isfinite(slab), there == 1)
    assert set(np.unique(there)) == {1, 255}
    half = slice(0, 10) if electrode == "low" else slice(10, 20)
    assert int((there == 1).sum()) == int((labels.isel(z=half) == 1).sum())
    assert float(slab.max()) < 0.2


def test_the_collector_is_at_low_z_in_both_electrodes():
    image, labels, boundaries = cell()
    for electrode in ("low", "high"):
        there = lithium_slab(labels, boundaries, electrode=electrode, labels=True) == 1
        # The collector moves from scan 0 to scan 1, the interface does not.
        assert not there[0, 0].any()
        assert there[1, 0].all()
    high = lithium_slab(image, boundaries, electrode="high")
    assert np.array_equal(high[1, 0], image[1, 17])
    assert (np.diff(high.z) == VOXEL).all()
    assert float(high.z[0]) == 0


def test_a_margin_keeps_or_leaves_out_what_is_near_the_boundaries():
    _, labels, boundaries = cell()
    plain, wide, narrow = (
        (lithium_slab(labels, boundaries, electrode="low", margin_um=margin, labels=True) != 255).sum("z")
        for margin in (0, VOXEL, -VOXEL)
    )
    assert (wide == plain + 2).all()
    assert (narrow == plain - 2).all()


def test_gray_far_from_lithium_is_cut_off():
    image, _, boundaries = cell()
    bright = image.copy(deep=True)
    bright[0, 5, 2, 3] = 50.0
    slab = lithium_slab(bright, boundaries, electrode="low")
    assert 0.1 < float(slab[0].max()) < 0.2
    # The other scan has a scale of its own.
    assert np.array_equal(slab[1], lithium_slab(image, boundaries, electrode="low")[1], equal_nan=True)


def test_integers_become_float_so_that_voxels_can_be_missing():
    image, _, boundaries = cell()
    counts = (1000 * image).round().astype(np.uint16)
    slab = lithium_slab(counts, boundaries, electrode="low")
    assert slab.dtype == np.float32
    assert bool(np.isnan(slab).any())


def test_a_lazy_cell_stays_lazy_and_gives_the_same_slab():
    image, labels, boundaries = cell()
    chunks = {"t": 1, "z": 7, "y": 4, "x": 3}
    for electrode in ("low", "high"):
        lazy = lithium_slab(image.chunk(chunks), boundaries.chunk({"y": 2}), electrode=electrode)
        assert lazy.chunks is not None
        eager = lithium_slab(image, boundaries, electrode=electrode)
        assert np.array_equal(lazy, eager, equal_nan=True)
        assert dict(lazy.coords["electrode"].attrs) == {}
    one = lithium_slab(image[1], boundaries[1], electrode="high")
    assert one.dims == ("z", "y", "x")
    found = lithium_slab(labels.chunk(chunks), boundaries, electrode="high", labels=True)
    assert found.dtype == np.uint8


def test_slabs_go_back_where_they_came_from():
    _, labels, boundaries = cell()
    slabs = [lithium_slab(labels, boundaries, electrode=side, labels=True) for side in ("low", "high")]
    bare = labels.where(labels != 1, 9).astype(np.uint8)
    for given in (slabs, [slab.chunk({"t": 1}) for slab in slabs]):
        assert np.array_equal(slabs_to_cell(given, bare), labels)


def test_numbers_go_back_where_there_are_some():
    image, _, boundaries = cell()
    slabs = [lithium_slab(image, boundaries, electrode=side) for side in ("low", "high")]
    nowhere = xr.full_like(image, np.nan)
    back = slabs_to_cell(slabs, nowhere)
    inside = np.isfinite(back)
    assert int(inside.sum()) == int(sum(np.isfinite(slab).sum() for slab in slabs))
    assert np.abs(back - image).where(inside).max() < 0.05
    with pytest.raises(InputError, match="same kind of numbers"):
        slabs_to_cell(slabs, nowhere.astype(np.float64))


def test_where_a_boundary_is_missing_there_is_no_lithium():
    image, _, boundaries = cell()
    boundaries = boundaries.copy(deep=True)
    boundaries[:, 1, 2, 3] = np.nan
    slab = lithium_slab(image, boundaries, electrode="low")
    assert np.isnan(slab[:, :, 2, 3]).all()
    assert np.isfinite(slab[:, :, 2, 4]).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda b: (b, "left"), InputError, "no electrode 'left'"),
        (lambda b: (b.isel(component=[0]), "low"), InputError, "lack the component 'low interface'"),
        (lambda b: (b.isel(y=slice(1, None)), "low"), AxesError, "on the grid of the image"),
        (lambda b: (b.assign_attrs(units="px"), "low"), UnitsError, "must be in um"),
        (lambda b: ((b + 1000).assign_attrs(units="um"), "low"), InputError, "enclose no voxel"),
    ],
)
def test_boundaries_that_do_not_fit_are_refused(change, error, message):
    image, _, boundaries = cell()
    changed, electrode = change(boundaries)
    with pytest.raises(error, match=message):
        lithium_slab(image, changed, electrode=electrode)


def test_slabs_without_their_place_or_of_another_cell_are_refused():
    image, labels, boundaries = cell()
    slab = lithium_slab(labels, boundaries, electrode="low", labels=True)
    with pytest.raises(InputError, match="needs the coordinates electrode and z_start"):
        slabs_to_cell([slab.drop_vars("z_start")], labels)
    with pytest.raises(AxesError, match="must lie in the cell"):
        slabs_to_cell([slab], labels.isel(z=slice(0, 5)))
    with pytest.raises(InputError, match="a label image is uint8"):
        lithium_slab(image, boundaries, electrode="low", labels=True)
