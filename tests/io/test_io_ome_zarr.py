"""OME-Zarr 0.5: the layout on disk, the standard, missing shards, stores by others."""

import json
import shutil

import dask.array as da
import numpy as np
import pytest
import zarr

import operando
from operando.core.axes import labeled_image, spacing
from operando.core.errors import FileError, InputError
from operando.io import describe, open_image, save_image
from operando.io.ome_zarr import ZarrBlocks, chunk_shapes

RNG = np.random.default_rng(3)


@pytest.fixture
def store(tmp_path):
    image = labeled_image(RNG.random((2, 70, 80, 90), dtype="float32"), voxel_size_um=(3, 2, 1.5), t=[0, 0.7])
    return save_image(image, tmp_path / "cell.ome.zarr"), image


def test_the_metadata_follow_the_standard(store):
    path, _ = store
    head = json.loads((path / "zarr.json").read_text())
    assert head["zarr_format"] == 3
    ome = head["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (block,) = ome["multiscales"]
    assert [a["name"] for a in block["axes"]] == ["t", "z", "y", "x"]
    assert [a["type"] for a in block["axes"]] == ["time", "space", "space", "space"]
    assert [a["unit"] for a in block["axes"]] == ["hour", *["micrometer"] * 3]
    assert {"name", "type", "metadata", "axes", "datasets"} <= set(block)
    for number, level in enumerate(block["datasets"]):
        kinds = [t["type"] for t in level["coordinateTransformations"]]
        assert kinds == ["scale", "translation"]
        for transform in level["coordinateTransformations"]:
            assert len(transform[transform["type"]]) == 4
        array = json.loads((path / level["path"] / "zarr.json").read_text())
        assert array["dimension_names"] == ["t", "z", "y", "x"]
        assert level["path"] == str(number)
    scale = block["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx([0.7, 3, 2, 1.5])


def test_arrays_are_sharded_and_compressed(store):
    path, _ = store
    codecs = json.loads((path / "0" / "zarr.json").read_text())["codecs"]
    assert codecs[0]["name"] == "sharding_indexed"
    assert codecs[0]["configuration"]["chunk_shape"] == [1, 64, 64, 64]
    assert "zstd" in [c["name"] for c in codecs[0]["configuration"]["codecs"]]


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((2560, 2560, 4096), ("z", "y", "x")),
        ((20, 300, 300, 300), ("t", "z", "y", "x")),
        ((123, 125, 125), ("energy", "y", "x")),
        ((20000, 20000), ("y", "x")),
        ((3, 1, 5, 7), ("t", "z", "y", "x")),
    ],
)
def test_a_shard_is_whole_chunks_and_at_most_512_cubed(shape, dims):
    chunks, shards = chunk_shapes(shape, dims)
    assert all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
    assert all(c <= n for c, n in zip(chunks, shape, strict=True))
    assert np.prod(shards) <= 512**3


def test_the_pyramid_of_an_image_is_the_mean_and_its_centers_stay(tmp_path):
    values = RNG.random((1, 130, 140), dtype="float32")
    path = save_image(labeled_image(values, voxel_size_um=(5, 1, 2)), tmp_path / "a.zarr")
    half = open_image(path, dataset="1")
    assert half.shape == (1, 65, 70)
    np.testing.assert_allclose(half.values, values.reshape(1, 65, 2, 70, 2).mean(axis=(2, 4)), rtol=1e-6)
    assert spacing(half) == {"z": 5.0, "y": 2.0, "x": 4.0}
    assert float(half.y[0]) == 0.5
    assert float(half.x[1]) == 5.0


def test_odd_edges_and_nan_do_not_spoil_the_pyramid(tmp_path):
    values = np.ones((67, 65))
    values[0, 0] = np.nan
    values[2:4, 2:4] = np.nan
    half = open_image(save_image(labeled_image(values), tmp_path / "a.zarr"), dataset="1").values
    assert half.shape == (34, 33)
    assert np.isnan(half[1, 1])
    assert np.nansum(half) == 34 * 33 - 1


def test_labels_are_never_averaged(tmp_path):
    values = RNG.choice(np.array([0, 200, 255], "uint8"), size=(100, 90, 80))
    phases = operando.PhaseScheme({"electrolyte": 0, "electrode": 200})
    path = save_image(labeled_image(values, attrs={"phases": phases}), tmp_path / "a.zarr")
    half = open_image(path, dataset="1")
    np.testing.assert_array_equal(half.values, values[::2, ::2, ::2])
    label = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["image-label"]
    assert {entry["label-value"] for entry in label["colors"]} == {0, 200}
    plain = save_image(labeled_image(values), tmp_path / "b.zarr", labels=True)
    np.testing.assert_array_equal(open_image(plain, dataset="1").values, values[::2, ::2, ::2])


def test_the_pyramid_of_shards_equals_that_of_the_whole(tmp_path):
    values = RNG.integers(0, 60000, size=(300, 40, 300)).astype("uint16")
    path = save_image(labeled_image(da.from_array(values, chunks=(37, 40, 111))), tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(path).values, values)
    expected = np.rint(values.reshape(150, 2, 20, 2, 150, 2).mean(axis=(1, 3, 5))).astype("uint16")
    np.testing.assert_array_equal(open_image(path, dataset="1").values, expected)


def test_a_missing_shard_is_an_error_where_it_is_read_and_only_there(tmp_path):
    values = RNG.random((300, 70, 70), dtype="float32")
    path = save_image(labeled_image(values), tmp_path / "a.zarr")
    (path / "0" / "c" / "1" / "0" / "0").unlink()
    image = open_image(path)
    np.testing.assert_array_equal(image[:256].values, values[:256])
    with pytest.raises(FileError, match=r"shard 0/c/1/0/0 with the voxels \[256:512.*missing"):
        image[250:270].compute()


def test_a_shard_of_zeros_is_written_so_that_its_absence_means_loss(tmp_path):
    path = save_image(labeled_image(np.zeros((10, 10, 10), "uint8")), tmp_path / "a.zarr")
    assert (path / "0" / "c" / "0" / "0" / "0").is_file()


def test_a_cut_shard_is_an_error_and_not_zeros(store):
    path, _ = store
    shard = path / "0" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(FileError, match="cannot be read"):
        open_image(path).compute()


def test_missing_chunks_of_a_foreign_store_are_its_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(100, 100), chunks=(50, 50), dtype="uint8", fill_value=7)
    array[:50, :50] = 1
    image = open_image(tmp_path / "a.zarr")
    assert int(image[0, 0]) == 1
    assert int(image[99, 99]) == 7


def test_26_gigavoxels_open_without_reading_a_chunk(tmp_path, monkeypatch):
    shape = (2600, 3162, 3162)
    path = save_image(labeled_image(np.zeros((3, 3, 3), "uint16"), voxel_size_um=0.5), tmp_path / "a.zarr")
    head = json.loads((path / "0" / "zarr.json").read_text())
    head["shape"] = list(shape)
    head["chunk_grid"]["configuration"]["chunk_shape"] = [256, 256, 256]
    head["codecs"][0]["configuration"]["chunk_shape"] = [64, 64, 64]
    (path / "0" / "zarr.json").write_text(json.dumps(head))
    group = json.loads((path / "zarr.json").read_text())
    del group["attributes"]["operando"]["coords"]
    (path / "zarr.json").write_text(json.dumps(group))
    shutil.rmtree(path / "0" / "c")
    monkeypatch.setattr(ZarrBlocks, "read", lambda self, region: pytest.fail("a chunk was read"))
    image = open_image(path)
    assert image.shape == shape
    assert image.size > 25e9
    assert spacing(image)["z"] == 0.5
    assert len(image.data.dask) < 20_000
    assert describe(path)["bytes"] == 2 * image.size


def test_the_scale_of_the_standard_wins_over_our_own_record(store):
    path, _ = store
    head = json.loads((path / "zarr.json").read_text())
    level = head["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    level["coordinateTransformations"][0]["scale"] = [0.7, 6, 4, 3]
    (path / "zarr.json").write_text(json.dumps(head))
    assert spacing(open_image(path)) == {"z": 6.0, "y": 4.0, "x": 3.0}


def test_a_store_of_version_04_is_read(tmp_path):
    group = zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2)
    values = RNG.integers(0, 9, size=(2, 5, 6), dtype="uint16")
    array = group.create_array("0", shape=values.shape, dtype="uint16", chunks=(1, 5, 6))
    array[...] = values
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": "c", "type": "channel"},
                {"name": "y", "type": "space", "unit": "nanometer"},
                {"name": "x", "type": "space", "unit": "nanometer"},
            ],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 500, 250]}]},
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}],
        }
    ]
    image = open_image(tmp_path / "old.zarr")
    assert image.dims == ("channel", "y", "x")
    assert spacing(image) == pytest.approx({"y": 1.0, "x": 0.5})
    np.testing.assert_array_equal(image.values, values)


def test_a_group_without_the_standard_lists_its_arrays(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("before", "after"):
        group.create_array(name, shape=(4, 5), dtype="uint8", dimension_names=["y", "x"])
    with pytest.raises(FileError, match=r"after \(4, 5\), before \(4, 5\)"):
        open_image(tmp_path / "a.zarr")
    assert open_image(tmp_path / "a.zarr", dataset="before").shape == (4, 5)
    assert open_image(f"{tmp_path / 'a.zarr'}#after").dims == ("y", "x")
    with pytest.raises(InputError, match="must be one of its arrays"):
        open_image(tmp_path / "a.zarr", dataset="between")


def test_an_image_without_two_spatial_dims_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"at least two of z, y, x.*\.h5"):
        save_image(labeled_image(np.zeros((3, 4)), dims=("energy", "x")), tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda h: h["attributes"]["ome"]["multiscales"][0].pop("datasets"), "does not follow the specification"),
        (lambda h: h["attributes"]["ome"]["multiscales"][0]["axes"].pop(), "names 3 axes"),
        (lambda h: h["attributes"]["ome"]["multiscales"][0]["datasets"][0].update(path="9"), "not copied whole"),
        (
            lambda h: h["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(
                scale=[1, 0, 1, 1]
            ),
            "coordinateTransformations of level '0'",
        ),
        (lambda h: h["attributes"]["operando"]["coords"]["t"].update(size=10**12), "coordinate 't' is damaged"),
        (lambda h: h.update(zarr_format=9), "header cannot be used"),
    ],
)
def test_a_damaged_header_is_one_sentence(store, change, expected):
    path, _ = store
    head = json.loads((path / "zarr.json").read_text())
    change(head)
    (path / "zarr.json").write_text(json.dumps(head))
    with pytest.raises(FileError, match=expected) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_broken_json_is_one_sentence(store):
    path, _ = store
    (path / "zarr.json").write_text('{"zarr_format": 3, ')
    with pytest.raises(FileError, match="not valid JSON"):
        open_image(path)


def test_shards_that_are_not_there_are_told_before_anything_is_read(tmp_path):
    path = tmp_path / "a.zarr"
    save_image(labeled_image(np.ones((300, 8, 8), np.uint8), voxel_size_um=1.0), path)
    assert describe(path)["missing"] == []
    (path / "0" / "c" / "1" / "0" / "0").unlink()
    assert "1 of 2 shards or chunks of array 0 are not there: copy it again." in describe(path)["missing"]
