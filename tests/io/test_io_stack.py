"""One call for a stack over energy, whatever the beamline left."""

import json

import h5py
import numpy as np
import pytest
import tifffile

from operando.core.axes import labeled_image, spacing
from operando.core.errors import AxesError, FileError, InputError
from operando.io import open_image, open_stack, save_image

VALUES = np.random.default_rng(7).integers(0, 4000, (3, 4, 5)).astype("uint16")
ENERGIES = [8333.0, 8350.5, 8400.0]


def frames(folder, names):
    for name, plane in zip(names, VALUES, strict=True):
        tifffile.imwrite(folder / name, plane)
    return [folder / name for name in names]


@pytest.mark.parametrize("unit", ["eV", "keV"])
def test_a_tiff_stack_gets_its_energies(unit, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    given = np.array(ENERGIES) / (1e3 if unit == "keV" else 1)
    stack = open_stack(tmp_path / "a.tif", energies=given, voxel_size_um=0.03)
    assert stack.dims == ("energy", "y", "x")
    assert stack.energy.values.tolist() == ENERGIES
    assert stack.energy.attrs["units"] == "eV"
    assert spacing(stack) == {"y": 0.03, "x": 0.03}
    np.testing.assert_array_equal(stack.values, VALUES)
    assert stack.chunks is not None


@pytest.mark.parametrize(
    "text",
    [
        "8333\n8350.5\n8400\n",
        "# energy (keV)\n8.333\n8.3505\n8.4\n\n",
        "Energy [eV],I0\n8333.0,12\n8350.5,13\n8400,14\n",
        "\ufeff8.33300e+03\t1\r\n8.35050e+03\t1\r\n8.4e3\t1\r\n",
    ],
)
def test_energies_come_from_a_list_beside(text, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    (tmp_path / "energies.txt").write_bytes(text.encode())
    stack = open_stack(tmp_path / "a.tif", energies=tmp_path / "energies.txt")
    assert stack.energy.values.tolist() == ENERGIES


def test_energies_come_from_the_names_of_single_images(tmp_path):
    names = ["rep01_08333.0_eV_001of003.tif", "rep01_08350.5_eV_001of003.tif", "rep01_08400.0_eV_001of003.tif"]
    paths = frames(tmp_path, names)
    for given in (paths, tmp_path, [str(p) for p in paths]):
        stack = open_stack(given)
        assert stack.energy.values.tolist() == ENERGIES
        np.testing.assert_array_equal(stack.values, VALUES)
    turned = open_stack(paths[::-1])
    assert turned.energy.values.tolist() == ENERGIES[::-1]
    np.testing.assert_array_equal(turned.values, VALUES[::-1])


@pytest.mark.parametrize(
    ("name", "energy"),
    [("a_8.333keV_b", 8333.0), ("E853eV", 853.0), ("x_700.25 ev", 700.25), ("scan12_08354.0_eV_2", 8354.0)],
)
def test_a_name_tells_its_energy_in_the_usual_spellings(name, energy, tmp_path):
    tifffile.imwrite(tmp_path / f"{name}.tif", VALUES[0])
    assert open_stack([tmp_path / f"{name}.tif"]).energy.values.tolist() == [energy]


def test_data_sets_of_a_container_are_joined_by_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for energy, plane in zip(ENERGIES, VALUES, strict=True):
            file[f"frame_{energy:.1f}_eV_001of001"] = plane
            file[f"frame_{energy:.1f}_eV_001of001"].attrs["pixel_um"] = 0.25
    names = [f"{tmp_path}/a.h5#frame_{energy:.1f}_eV_001of001" for energy in ENERGIES]
    stack = open_stack(names)
    np.testing.assert_array_equal(stack.values, VALUES)
    assert spacing(stack)["x"] == 0.25
    assert json.loads(stack.attrs["provenance"])["parameters"]["files"] == names


def test_several_images_at_one_energy_are_refused_or_averaged(tmp_path):
    paths = frames(tmp_path, ["a_700eV_1.tif", "b_710eV_1.tif", "c_700eV_2.tif"])
    with pytest.raises(InputError, match=r"got 2 images at 700 eV\. Average them with repeats='mean'"):
        open_stack(paths)
    stack = open_stack(paths, repeats="mean")
    assert stack.energy.values.tolist() == [700.0, 710.0]
    assert stack.frames.values.tolist() == [2, 1]
    np.testing.assert_array_equal(stack[0].values, (VALUES[0].astype(float) + VALUES[2]) / 2)
    np.testing.assert_array_equal(stack[1].values, VALUES[1])


def test_a_file_that_knows_its_energies_needs_none(tmp_path):
    image = labeled_image(
        VALUES, dims=("energy", "y", "x"), voxel_size_um=0.1, coords={"energy": ("energy", ENERGIES, {"units": "eV"})}
    )
    path = save_image(image, tmp_path / "a.nxs")
    stack = open_stack(path)
    assert stack.energy.values.tolist() == ENERGIES
    np.testing.assert_array_equal(stack.values, VALUES)
    shifted = open_stack(path, energies=np.array(ENERGIES) + 1)
    np.testing.assert_array_equal(shifted.energy, np.array(ENERGIES) + 1)
    np.testing.assert_array_equal(open_stack([path]).values, VALUES)


def test_missing_energies_say_how_to_give_them(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    with pytest.raises(InputError, match=r"energies of its 3 images are not in the file\. Pass energies="):
        open_stack(tmp_path / "a.tif")
    paths = frames(tmp_path, ["one.tif", "two.tif", "three.tif"])
    with pytest.raises(InputError, match=r"neither in the file nor in its name \(3 of 3 images\)"):
        open_stack(paths)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([700.0, 701.0], "got 2 energies for 3 images"),
        ([700.0, np.nan, 702.0], "must be positive numbers"),
        ([700.0, 700.0, 702.0], "got 2 images at 700 eV"),
        (["a", "b", "c"], "must be numbers or the path of a list, got list"),
    ],
)
def test_energies_that_do_not_fit_are_refused(given, message, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    with pytest.raises(InputError, match=message):
        open_stack(tmp_path / "a.tif", energies=given)


def test_a_list_with_a_broken_line_names_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    (tmp_path / "e.txt").write_text("700\n7o1\n702\n")
    with pytest.raises(FileError, match=r"e\.txt: line 2 must begin with an energy, got '7o1'"):
        open_stack(tmp_path / "a.tif", energies=tmp_path / "e.txt")
    (tmp_path / "e.txt").write_text("nothing here\n")
    with pytest.raises(FileError, match="holds no energies"):
        open_stack(tmp_path / "a.tif", energies=str(tmp_path / "e.txt"))


def test_images_of_different_shape_or_pixel_size_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a_700eV.tif", VALUES[0])
    tifffile.imwrite(tmp_path / "b_701eV.tif", VALUES[0, :3])
    with pytest.raises(InputError, match="is 3 x 5 pixels, but .* is 4 x 5"):
        open_stack(tmp_path)
    for energy, size in ((700, 0.1), (701, 0.11)):
        save_image(labeled_image(VALUES[0], voxel_size_um=size), tmp_path / "h" / f"a_{energy}eV.h5")
    with pytest.raises(InputError, match="must have one pixel size"):
        open_stack(tmp_path / "h")
    assert spacing(open_stack(tmp_path / "h", voxel_size_um=0.1))["x"] == 0.1


def test_what_is_no_stack_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one image is needed"):
        open_stack([])
    with pytest.raises(InputError, match="repeats must be 'error' or 'mean', got 'sum'"):
        open_stack("a.tif", repeats="sum")
    save_image(labeled_image(np.zeros((2, 3, 4, 5))), tmp_path / "a.h5")
    with pytest.raises(AxesError, match="besides y and x that is the energy"):
        open_stack(tmp_path / "a.h5", energies=[1, 2])
    (tmp_path / "mixed").mkdir()
    tifffile.imwrite(tmp_path / "mixed" / "a.tif", VALUES[0])
    (tmp_path / "mixed" / "b.png").touch()
    with pytest.raises(FileError, match=r"images of one kind, got \.png, \.tif"):
        open_stack(tmp_path / "mixed")


def test_the_real_frames_give_the_jump_at_the_nickel_edge(data_folder):
    path = data_folder / "nca-txm-ni-k/ssrl_nca_frames_crop512.h5"
    with h5py.File(path, "r") as file:
        names = [f"{path}#{name}" for name in file]
    sample = open_stack([n for n in names if "_ref_" not in n], repeats="mean")
    flat = open_stack([n for n in names if "_ref_" in n], repeats="mean")
    assert sample.energy.values.tolist() == [8324.0, 8354.0]
    assert sample.frames.values.tolist() == [3, 3]
    assert spacing(sample)["x"] == pytest.approx(0.0312, rel=1e-6)
    density = np.log(flat / sample)
    assert 0.1 < float((density[1] - density[0]).mean()) < 0.5
    assert open_stack(path.parent / "rep01_20161456_ssrl-test-data_08354.0_eV_001of003.xrm").energy.values == [8354.0]


def test_the_real_scan_is_the_same_through_both_doors(data_folder):
    path = data_folder / "als-stxm-fe2p/71214078_FigS4/71214078_aligned.h5"
    np.testing.assert_array_equal(open_stack(path).energy, open_image(path).energy)
