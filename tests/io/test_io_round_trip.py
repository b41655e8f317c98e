"""What is written comes back: values, type, voxel size, order of axes, coordinates, attributes."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import operando
from operando.core.axes import labeled_image, spacing
from operando.core.errors import FileError, InputError
from operando.io import describe, open_image, save_image

FORMATS = (".tif", ".h5", ".raw", ".zarr")
DIMS = (
    ("y", "x"),
    ("z", "y", "x"),
    ("t", "y", "x"),
    ("t", "z", "y", "x"),
    ("channel", "y", "x"),
    ("energy", "y", "x"),
    ("component", "z", "y", "x"),
    ("t", "phase", "z", "y", "x"),
    ("angle", "detector_y", "detector_x"),
    ("t", "energy", "y", "x"),
)
DTYPES = ("uint8", "uint16", "int16", "uint32", "float32", "float64", "complex64")
sizes = st.floats(1e-3, 1e4, allow_nan=False, width=64)


@st.composite
def images(draw):
    dims = draw(st.sampled_from(DIMS))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.integers(1, 9)) for _ in dims)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    values = (rng.normal(size=shape) * 50 + 100).astype(dtype)
    if dtype.kind in "fc":
        values.flat[0] = np.nan
    space = [d for d in dims if d in ("z", "y", "x")]
    calibrated = bool(space) and draw(st.booleans())
    coords = {}
    for dim, size in zip(dims, shape, strict=True):
        if dim == "energy":
            coords[dim] = (dim, np.sort(rng.normal(size=size)) + 700, {"units": "eV"})
        if dim in ("component", "phase"):
            coords[dim] = (dim, np.array([f"part {i} & <Li>" for i in range(size)]))
        if dim == "angle":
            coords[dim] = (dim, np.linspace(0, 180, size), {"units": "deg"})
    if "t" in dims:
        coords["scan_id"] = ("t", np.arange(shape[dims.index("t")]) * 7)
    return labeled_image(
        da.from_array(values, chunks=3) if draw(st.booleans()) else values,
        dims=dims,
        voxel_size_um=[draw(sizes) for _ in space] if calibrated else None,
        origin_um=[draw(st.floats(-1e3, 1e3)) for _ in space] if calibrated else None,
        t=np.cumsum(rng.uniform(0.1, 2, shape[0])) if "t" in dims and draw(st.booleans()) else None,
        coords=coords,
        name=draw(st.sampled_from(["gray", None])),
        units=draw(st.sampled_from(["1", "counts"])),
        attrs={"plating_side": "low", "numbers": [1, 2.5], "nested": {"a": None, "b": True}, "nan": float("nan")},
    )


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=images())
def test_an_image_comes_back_as_it_was_written(image, suffix, tmp_path):
    path = save_image(image, tmp_path / f"image{suffix}", overwrite=True)
    back = open_image(path)
    assert back.dims == image.dims
    assert back.dtype == image.dtype
    assert back.name == image.name
    np.testing.assert_array_equal(back.values, image.values)
    assert set(back.coords) == set(image.coords)
    for name, coordinate in image.coords.items():
        if coordinate.dtype.kind == "f":
            np.testing.assert_allclose(back.coords[name].values, coordinate.values, rtol=1e-12)
        else:
            np.testing.assert_array_equal(back.coords[name].values, coordinate.values)
        assert back.coords[name].attrs.get("units") == coordinate.attrs.get("units")
    for dim in ("z", "y", "x"):
        if dim in image.dims:
            assert back[dim].attrs["spacing"] == pytest.approx(image[dim].attrs["spacing"], rel=1e-9)
    for key in ("units", "plating_side", "numbers", "nested"):
        assert back.attrs[key] == image.attrs[key]
    assert np.isnan(back.attrs["nan"])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_label_image_keeps_its_phase_scheme(suffix, tmp_path):
    phases = operando.PhaseScheme({"electrolyte": 0, "binder": 7}, colors={"binder": "#123456"})
    labels = labeled_image(np.full((4, 5, 6), 7, "uint8"), voxel_size_um=2.0, attrs={"phases": phases})
    back = open_image(save_image(labels, tmp_path / f"labels{suffix}"))
    assert back.attrs["phases"] == phases
    assert describe(tmp_path / f"labels{suffix}")["phases"] == {"electrolyte": 0, "binder": 7}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_converted_image_converts_back_to_the_same_image(suffix, tmp_path):
    image = labeled_image(
        np.arange(2 * 3 * 4 * 5, dtype="uint16").reshape(2, 3, 4, 5), voxel_size_um=(3, 2, 1), t=[0, 1]
    )
    first = open_image(save_image(image, tmp_path / f"a{suffix}"))
    second = open_image(save_image(first, tmp_path / "b.zarr"))
    third = open_image(save_image(second, tmp_path / f"c{suffix}"))
    xr.testing.assert_identical(third.drop_attrs(deep=False), first.drop_attrs(deep=False))


@pytest.mark.parametrize("suffix", FORMATS)
def test_other_voxel_units_come_back_in_micrometers(suffix, tmp_path):
    image = labeled_image(np.zeros((3, 4)), voxel_size_um=1.0)
    for dim in image.dims:
        image = image.assign_coords({dim: (dim, 0.5 * np.arange(image.sizes[dim]), {"units": "nm", "spacing": 0.5})})
    assert spacing(open_image(save_image(image, tmp_path / f"a{suffix}"))) == pytest.approx({"y": 5e-4, "x": 5e-4})


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_is_replaced_without_being_asked(suffix, tmp_path):
    image = labeled_image(np.zeros((3, 4)))
    path = save_image(image, tmp_path / f"a{suffix}")
    with pytest.raises(FileError, match="overwrite=True"):
        save_image(image + 1, path)
    assert float(open_image(path).sum()) == 0
    save_image(image + 1, path, overwrite=True)
    assert float(open_image(path).sum()) == 12


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_failing_computation_leaves_no_file_behind(suffix, tmp_path):
    def fail(block):
        raise ArithmeticError("no")

    data = da.zeros((4, 4), chunks=2).map_blocks(fail, dtype="float64", meta=np.empty((0, 0)))
    with pytest.raises(ArithmeticError):
        save_image(labeled_image(data), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_attribute_that_no_file_can_hold_is_named(suffix, tmp_path):
    with pytest.raises(InputError, match=r"attrs\['model'\].*got object"):
        save_image(labeled_image(np.zeros((2, 2)), attrs={"model": object()}), tmp_path / f"a{suffix}")


def test_an_unknown_ending_suggests_the_nearest(tmp_path):
    with pytest.raises(InputError, match="Did you mean '.tiff'"):
        save_image(labeled_image(np.zeros((2, 2))), tmp_path / "a.tifff")


def test_a_bare_array_is_refused_with_the_way_to_label_it(tmp_path):
    with pytest.raises(InputError, match="labeled_image"):
        save_image(np.zeros((2, 2)), tmp_path / "a.tif")


def test_a_type_that_tiff_lacks_names_the_formats_that_have_it(tmp_path):
    with pytest.raises(InputError, match=r"int64.*\.zarr"):
        save_image(labeled_image(np.zeros((2, 2), "int64")), tmp_path / "a.tif")


def test_an_empty_image_is_refused(tmp_path):
    with pytest.raises(InputError, match="must have voxels"):
        save_image(labeled_image(np.zeros((0, 2))), tmp_path / "a.zarr")


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path):
    (tmp_path / "thesis.zarr").mkdir()
    (tmp_path / "thesis.zarr" / "chapter1.txt").write_text("years of work")
    with pytest.raises(FileError, match="not a Zarr store"):
        save_image(labeled_image(np.zeros((2, 2))), tmp_path / "thesis.zarr", overwrite=True)
    assert (tmp_path / "thesis.zarr" / "chapter1.txt").exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_changes_after_opening_is_an_error_and_not_a_mixture(suffix, tmp_path):
    image = labeled_image(np.zeros((3, 4)))
    path = save_image(image, tmp_path / f"a{suffix}")
    opened = open_image(path)
    save_image(labeled_image(np.ones((5, 6))), path, overwrite=True)
    with pytest.raises(FileError, match="changed since it was opened"):
        opened.compute()


@pytest.mark.parametrize("suffix", FORMATS)
def test_lazy_images_are_written_without_being_held(suffix, tmp_path):
    computed = []

    def watch(block):
        computed.append(block.nbytes)
        return block

    data = da.zeros((8, 32, 32), chunks=(2, 32, 32), dtype="float32").map_blocks(watch, meta=np.empty((0, 0, 0), "f4"))
    save_image(labeled_image(data), tmp_path / f"a{suffix}")
    assert len(computed) == 4
    assert max(computed) <= 2 * 32 * 32 * 4


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "int64", "float16", "complex128", ">u2", ">f4"])
@pytest.mark.parametrize("suffix", [".h5", ".raw", ".zarr"])
def test_every_type_of_numbers_is_kept(dtype, suffix, tmp_path):
    values = (np.arange(70 * 66).reshape(70, 66) % 100).astype(dtype)
    back = open_image(save_image(labeled_image(values), tmp_path / f"a{suffix}"))
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(back.values, values)


@pytest.mark.parametrize("suffix", FORMATS)
def test_positions_that_are_not_even_are_kept_as_they_are(suffix, tmp_path):
    positions = np.array([0.0, 1.01, 1.97, 3.4])
    image = labeled_image(np.zeros((3, 4)), voxel_size_um=1.0)
    image = image.assign_coords(x=("x", positions, {"units": "um"}))
    back = open_image(save_image(image, tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(back.x.values, positions)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_part_of_an_image_keeps_its_place(suffix, tmp_path):
    image = labeled_image(np.arange(60.0).reshape(3, 4, 5), voxel_size_um=(3, 0.1, 1.7))[1:, 2:3, 1:]
    back = open_image(save_image(image, tmp_path / f"a{suffix}"))
    for dim in image.dims:
        np.testing.assert_allclose(back[dim].values, image[dim].values, rtol=1e-12)
    assert spacing(back) == pytest.approx({"z": 3.0, "y": 0.1, "x": 1.7}, rel=1e-12)
