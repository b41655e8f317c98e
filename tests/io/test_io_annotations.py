"""Label images of other programs: what their values mean, and what cannot be told apart."""

import json

import h5py
import numpy as np
import pytest
import tifffile

from operando.core.axes import labeled_image, spacing
from operando.core.errors import AxesError, FileError, InputError, PhaseError, UnitsError
from operando.io import open_annotations, open_image, read_annotations, save_image, write_annotations

PHASES = {"electrolyte": 0, "electrode": 1, "pit": 2}
RNG = np.random.default_rng(0)


def labels(shape=(4, 5, 6), *, voxel_size_um=1.33):
    values = RNG.choice(np.array([0, 1, 2, 255], np.uint8), size=shape)
    image = labeled_image(values, voxel_size_um=voxel_size_um)
    image.attrs["phases"] = PHASES
    return image


PROGRAMS = [
    ("operando", "a.tif"),
    ("operando", "a.zarr"),
    ("operando", "a.h5"),
    ("fiji", "a.tif"),
    ("fiji", "masks"),
    ("napari", "a.tif"),
    ("ilastik", "a.h5"),
    ("ilastik", "a.tif"),
    ("dragonfly", "a.tif"),
]


@pytest.mark.parametrize(("convention", "name"), PROGRAMS)
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 5, 6), (5, 6)])
@pytest.mark.parametrize("lazy", [False, True])
def test_labels_come_back_from_every_program_unchanged(convention, name, shape, lazy, tmp_path):
    image = labels(shape)
    write_annotations(image.chunk({"x": 4}) if lazy else image, tmp_path / name, convention=convention)
    found = read_annotations(tmp_path / name, convention=convention, phases=PHASES, like=image)
    assert found.dims == image.dims
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.values, image.values)
    assert spacing(found) == spacing(image)


@pytest.mark.parametrize(("convention", "name"), [("fiji", "a.tif"), ("fiji", "masks"), ("dragonfly", "a.tif")])
def test_the_voxel_size_travels_in_the_file(convention, name, tmp_path):
    image = labels(voxel_size_um=(2.0, 1.5, 1.25))
    write_annotations(image, tmp_path / name, convention=convention)
    found = read_annotations(tmp_path / name, convention=convention, phases=PHASES)
    assert spacing(found) == pytest.approx({"z": 2.0, "y": 1.5, "x": 1.25}, rel=1e-6)


def test_zero_means_unlabeled_to_all_others_so_their_numbers_begin_at_one(tmp_path):
    image = labels()
    for convention in ("fiji", "napari", "ilastik", "dragonfly"):
        held = write_annotations(image, tmp_path / f"{convention}.tif", convention=convention)
        assert held == {"electrolyte": 1, "electrode": 2, "pit": 3}
        stored = tifffile.imread(tmp_path / f"{convention}.tif")
        np.testing.assert_array_equal(stored == 0, image.values == 255)
        np.testing.assert_array_equal(stored == 3, image.values == 2)


def test_a_scheme_without_the_id_zero_keeps_its_numbers(tmp_path):
    image = labeled_image(np.array([[255, 1], [2, 1]], np.uint8))
    held = write_annotations(image, tmp_path / "a.tif", convention="napari", phases={"electrolyte": 1, "pit": 2})
    assert held == {"electrolyte": 1, "pit": 2}
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), [[0, 1], [2, 1]])


def test_values_can_be_said_instead(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 7], [9, 7]], np.uint8))
    given = {"electrode": 7, "pit": 9}
    found = read_annotations(tmp_path / "a.tif", convention="dragonfly", phases=PHASES, values=given)
    assert found.values.tolist() == [[255, 1], [2, 1]]
    with pytest.raises(InputError, match="different numbers from 1 to 254"):
        read_annotations(tmp_path / "a.tif", convention="dragonfly", phases=PHASES, values={"pit": 0})
    with pytest.raises(PhaseError, match="Did you mean 'pit'"):
        read_annotations(tmp_path / "a.tif", convention="dragonfly", phases=PHASES, values={"pitt": 7})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32"])
def test_class_numbers_of_any_type_are_read(dtype, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1], [2, 3]]).astype(dtype))
    found = read_annotations(tmp_path / "a.tif", convention="napari", phases=PHASES)
    assert found.values.tolist() == [[255, 0], [1, 2]]


def test_napari_gets_integers_of_32_bits_which_it_takes_for_labels(tmp_path):
    write_annotations(labels(), tmp_path / "a.tif", convention="napari")
    assert tifffile.imread(tmp_path / "a.tif").dtype == np.int32


def test_fiji_gets_its_own_tiff_with_axes_and_voxel_size(tmp_path):
    image = labels((3, 4, 5, 6), voxel_size_um=(2.0, 1.5, 1.5))
    write_annotations(image, tmp_path / "a.tif", convention="fiji")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert file.series[0].axes == "TZYX"
        assert file.imagej_metadata["spacing"] == 2.0
        assert file.imagej_metadata["unit"] == "um"


def test_masks_of_fiji_hold_0_and_255_and_one_file_per_phase(tmp_path):
    image = labels()
    write_annotations(image, tmp_path / "masks", convention="fiji")
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == [
        "electrode.tif",
        "electrolyte.tif",
        "pit.tif",
    ]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "masks" / "pit.tif"), np.where(image == 2, 255, 0))


def test_masks_can_be_named_one_by_one_and_where_none_is_true_nobody_labeled(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.array([[255, 0, 0]], np.uint8))
    tifffile.imwrite(tmp_path / "two.tif", np.array([[False, True, False]]))
    files = {"pit": tmp_path / "one.tif", "electrolyte": tmp_path / "two.tif"}
    assert read_annotations(files, convention="fiji", phases=PHASES).values.tolist() == [[2, 0, 255]]


def test_a_mask_shown_inverted_holds_255_where_it_is_true_all_the_same(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[255, 0], [0, 0]], np.uint8), photometric="miniswhite")
    found = read_annotations({"pit": tmp_path / "a.tif"}, convention="fiji", phases=PHASES)
    assert found.values.tolist() == [[2, 255], [255, 255]]


def test_masks_that_overlap_are_refused_and_inverted_ones_suspected(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.array([[255, 0, 0]], np.uint8))
    tifffile.imwrite(tmp_path / "two.tif", np.array([[255, 255, 255]], np.uint8))
    files = {"pit": tmp_path / "one.tif", "electrolyte": tmp_path / "two.tif"}
    with pytest.raises(InputError, match=r"1 are in several masks.*'electrolyte': 3.*Edit > Invert"):
        read_annotations(files, convention="fiji", phases=PHASES)


def test_masks_must_be_binary_of_one_grid_and_named_after_phases(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.array([[255, 0, 7]], np.uint8))
    tifffile.imwrite(tmp_path / "two.tif", np.array([[0, 255]], np.uint8))
    with pytest.raises(InputError, match=r"0 and 255, got \[0, 7, 255\]"):
        read_annotations({"pit": tmp_path / "one.tif"}, convention="fiji", phases=PHASES)
    tifffile.imwrite(tmp_path / "one.tif", np.array([[255, 0, 0]], np.uint8))
    files = {"pit": tmp_path / "one.tif", "electrode": tmp_path / "two.tif"}
    with pytest.raises(AxesError, match="one grid"):
        read_annotations(files, convention="fiji", phases=PHASES)
    with pytest.raises(PhaseError, match="Did you mean 'pit'"):
        read_annotations({"pitt": tmp_path / "one.tif"}, convention="fiji", phases=PHASES)
    (tmp_path / "masks").mkdir()
    for name in ("pit", "elektrode"):
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="'elektrode.tif'.*Did you mean 'electrode'"):
        read_annotations(tmp_path / "masks", convention="fiji", phases=PHASES)


@pytest.mark.parametrize("convention", ["operando", "fiji", "napari", "ilastik", "dragonfly"])
def test_a_binary_mask_is_not_taken_for_labels(convention, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 255], [255, 0]], np.uint8))
    with pytest.raises(InputError, match="0 and 255 alone, as a binary mask does"):
        read_annotations(tmp_path / "a.tif", convention=convention, phases=PHASES)


def test_labels_of_one_phase_that_operando_wrote_are_not_taken_for_a_mask(tmp_path):
    image = labeled_image(np.array([[0, 255], [255, 0]], np.uint8), attrs={"phases": PHASES})
    save_image(image, tmp_path / "a.tif")
    found = read_annotations(tmp_path / "a.tif", convention="operando", phases=PHASES)
    assert found.values.tolist() == image.values.tolist()


def test_numbers_that_fit_no_phase_are_named_with_what_would_fit(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1], [4, 3]], np.uint8))
    with pytest.raises(InputError, match=r"0 \(unlabeled\) and .*'pit': 3.*got also \[4\].*--value"):
        read_annotations(tmp_path / "a.tif", convention="ilastik", phases=PHASES)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.arange(600, dtype=np.uint16).reshape(20, 30), "objects that were numbered"),
        (np.array([[0.2, 0.8]], np.float32), "not probabilities"),
        (np.array([[-1, 1]], np.int16), "whole numbers from 0"),
    ],
)
def test_gray_values_objects_and_probabilities_are_not_labels(values, text, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(InputError, match=text):
        read_annotations(tmp_path / "a.tif", convention="napari", phases=PHASES)


def test_a_picture_in_colors_is_not_labels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 7, 3), np.uint8), photometric="rgb")
    with pytest.raises(AxesError, match="not colors"):
        read_annotations(tmp_path / "a.tif", convention="fiji", phases=PHASES)


@pytest.mark.parametrize("order", ["tzyxc", "czyx", "xyzc", "yxc", "zyx"])
def test_the_axes_that_ilastik_notes_are_used(order, tmp_path):
    sizes = {"t": 2, "z": 3, "y": 4, "x": 5, "c": 1}
    plain = "".join(letter for letter in "tzyx" if letter in order)
    truth = RNG.integers(0, 4, [sizes[letter] for letter in plain]).astype(np.uint8)
    source = truth[..., None] if "c" in order else truth
    names = plain + "c" if "c" in order else plain
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("exported_data", data=source.transpose([names.index(letter) for letter in order]))
        data.attrs["axistags"] = json.dumps({"axes": [{"key": letter, "typeFlags": 2} for letter in order]})
    found = read_annotations(tmp_path / "a.h5", convention="ilastik", phases=PHASES)
    assert found.dims == tuple(plain)
    np.testing.assert_array_equal(found.values, np.array([255, 0, 1, 2], np.uint8)[truth])


def test_one_labeled_scan_takes_its_place_in_the_series(tmp_path):
    series, one = labels((3, 4, 5, 6)), labels((4, 5, 6))
    write_annotations(one, tmp_path / "a.tif", convention="fiji")
    found = read_annotations(tmp_path / "a.tif", convention="fiji", phases=PHASES, like=series, scan=1)
    assert found.dims == ("t", "z", "y", "x")
    np.testing.assert_array_equal(found[1].values, one.values)
    assert (found[[0, 2]].values == 255).all()
    with pytest.raises(AxesError, match="Say which scan was labeled"):
        read_annotations(tmp_path / "a.tif", convention="fiji", phases=PHASES, like=series)
    with pytest.raises(InputError, match="0 to 2 here"):
        read_annotations(tmp_path / "a.tif", convention="fiji", phases=PHASES, like=series, scan=3)


def test_labels_of_another_grid_or_voxel_size_are_refused(tmp_path):
    image = labels()
    write_annotations(image, tmp_path / "a.tif", convention="fiji")
    for read in (
        lambda like: read_annotations(tmp_path / "a.tif", convention="fiji", phases=PHASES, like=like),
        lambda like: open_annotations(tmp_path / "ours.tif", like=like),
    ):
        write_annotations(image, tmp_path / "ours.tif", convention="operando", overwrite=True)
        with pytest.raises(AxesError, match="on the grid of the image"):
            read(labels((4, 5, 7)))
        with pytest.raises(UnitsError, match="must have the voxels of the image, 1 um along z, got 1.33 um"):
            read(labels(voxel_size_um=1.0))


def test_axes_and_voxel_size_can_be_said_where_the_file_does_not(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 4, 5), np.uint8), photometric="minisblack")
    found = read_annotations(
        tmp_path / "a.tif", convention="napari", phases=PHASES, dims=("y", "z", "x"), voxel_size_um=2.0
    )
    assert dict(found.sizes) == {"z": 4, "y": 3, "x": 5}
    assert spacing(found)["z"] == 2.0


def test_what_cannot_be_written_is_refused_with_advice(tmp_path):
    image = labels()
    with pytest.raises(InputError, match="Did you mean 'napari'"):
        write_annotations(image, tmp_path / "a.tif", convention="naparri")
    with pytest.raises(InputError, match="napari reads .tif"):
        write_annotations(image, tmp_path / "a.h5", convention="napari")
    with pytest.raises(PhaseError, match="phases of the labels must be known"):
        write_annotations(image.drop_attrs(), tmp_path / "a.tif", convention="napari")
    with pytest.raises(PhaseError, match="got also"):
        write_annotations(image, tmp_path / "a.tif", convention="napari", phases={"electrolyte": 0, "electrode": 1})
    (tmp_path / "a.tif").write_text("mine")
    with pytest.raises(FileError, match="overwrite"):
        write_annotations(image, tmp_path / "a.tif", convention="fiji")
    assert (tmp_path / "a.tif").read_text() == "mine"


def test_annotations_in_training_must_be_in_our_own_convention(tmp_path):
    save_image(labels().astype(np.int32), tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif").dtype == np.int32
    with pytest.raises(InputError, match="operando label import"):
        open_annotations(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "masks"])
def test_what_is_too_large_for_imagej_becomes_ome_tiff(name, tmp_path, monkeypatch):
    from operando.io import annotation_export

    monkeypatch.setattr(annotation_export, "_IMAGEJ_LIMIT", 10)
    image = labels()
    write_annotations(image, tmp_path / name, convention="fiji")
    with tifffile.TiffFile(tmp_path / name if name == "a.tif" else tmp_path / name / "pit.tif") as file:
        assert file.is_ome
    found = read_annotations(tmp_path / name, convention="fiji", phases=PHASES, like=image)
    np.testing.assert_array_equal(found.values, image.values)


def test_a_scheme_with_no_room_to_count_from_one_is_refused(tmp_path):
    image = labeled_image(np.array([[0, 254]], np.uint8))
    with pytest.raises(InputError, match="id 254 leaves no room"):
        write_annotations(image, tmp_path / "a.tif", convention="napari", phases={"electrolyte": 0, "pit": 254})
