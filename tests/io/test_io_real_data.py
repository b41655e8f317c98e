"""What the real files are, as their READMEs say."""

import json

import numpy as np
import pytest

from operando.core.axes import spacing
from operando.core.errors import FileError
from operando.io import describe, open_image, save_image

KNOWN = {
    "ucl-cylindrical-cell-xct/cell_vol_728x728x100.tif": ("z y x", (100, 728, 728), "uint8"),
    "ucl-cylindrical-cell-xct/im_1.tif": ("y x", (576, 576), "uint16"),
    "ucl-cylindrical-cell-xct/mask_2.tif": ("y x", (576, 576), "uint8"),
    "hxn-nanoxanes-fe-lfp/chemical_map.tiff": ("channel y x", (4, 155, 160), "float32"),
    "hxn-nanoxanes-fe-lfp/XRF_Images/SUM_maps_XRF_Fe_K.tiff": ("y x", (160, 160), "float32"),
    "nrel-nmc-ct-cbd/nmc-1-cal_generatedCBD_bridge.tif": ("z y x", (251, 301, 301), "uint8"),
    "ndtomo-battery21700-ct/Battery_21700.tif": ("y x", (1568, 1568), "uint8"),
    "esrf-nmc811-holotomo-slice/example_xy.tif": ("y x", (655, 2048), "uint8"),
    "taufactor-reference/electrode.tiff": ("z y x", (256, 256, 256), "uint8"),
    "tldr-sparse-label-benchmark/3_labels.tif": ("y x", (75, 75), "uint8"),
    "als-stxm-fe2p/71214078_FigS4/71214078_aligned.h5": ("energy y x", (123, 125, 125), "float32"),
    "als-stxm-fe2p/71214078_FigS4/71214078_SubPreEdge.h5": ("energy y x", (123, 125, 125), "float32"),
    "als-ptycho-stxm-ni-l/cosmic/ptycho-scan-856eV.cxi": ("y x", (285, 285), "complex64"),
    "hxn-nanoxanes-fe-lfp/ExpectedResult.png": ("channel y x", (4, 864, 2112), "uint8"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_real_image_is_what_its_readme_says(name, data_folder):
    dims, shape, dtype = KNOWN[name]
    about = describe(data_folder / name)
    assert (about["dims"], tuple(about["shape"]), about["dtype"]) == (dims.split(), shape, dtype)
    json.dumps(about, allow_nan=False)


def test_every_image_in_the_data_is_described_or_its_fault_is_one_sentence(data_folder):
    covered = {".tif", ".tiff", ".h5", ".cxi", ".png", ".jpg", ".xrm", ".txrm", ".hdr", ".xim", ".msk"}
    other = {".gif", ".mpr", ".csv", ".xlsx", ".res", ".bdf", ".xdi", ".nor"}
    without_images = "NS_181111148.hdr"
    seen = set()
    for path in sorted(data_folder.rglob("*")):
        if path.name == without_images:
            with pytest.raises(FileError, match=r"NS_181111148_a000\.xim was looked for"):
                describe(path)
        elif path.suffix in covered:
            about = describe(path)
            assert about["shape"] or about["datasets"], path
            seen.add(path.suffix)
        elif path.suffix in other:
            with pytest.raises(FileError, match="cannot be opened as an image, because it is") as caught:
                describe(path)
            assert "\n" not in str(caught.value)
            seen.add(path.suffix)
    assert seen >= covered


def test_the_stxm_stack_has_its_energies_and_positions(data_folder):
    image = open_image(data_folder / "als-stxm-fe2p/71214078_FigS4/71214078_aligned.h5")
    assert image.name == "counts"
    assert image.energy.attrs["units"] == "eV"
    assert spacing(image) == pytest.approx({"y": 0.08, "x": 0.08})


def test_a_deep_complex_data_set_is_listed_and_opened(data_folder):
    path = data_folder / "als-ptycho-stxm-ni-l/NS_160406074-high-energy_testdata.h5"
    listed = {d["path"]: (d["shape"], d["dtype"]) for d in describe(path)["datasets"]}
    assert listed["/NS_160406074/imported/intensities"] == ([1, 2, 228, 228], "complex64")
    with pytest.raises(FileError, match="/NS_160406074/imported/intensities"):
        open_image(path)
    image = open_image(f"{path}#/NS_160406074/imported/intensities", dims=("t", "energy", "y", "x"))
    assert image.dims == ("t", "energy", "y", "x")
    assert np.abs(image[0, 0].values).max() > 0


def test_the_pixel_size_of_the_txm_frames_is_used(data_folder):
    path = data_folder / "nca-txm-ni-k/ssrl_nca_frames_crop512.h5"
    first = describe(path)["datasets"][0]["path"]
    assert spacing(open_image(path, dataset=first))["x"] == pytest.approx(0.0312, rel=1e-6)


def test_the_cell_volume_survives_the_way_through_the_store(data_folder, tmp_path):
    image = open_image(data_folder / "ucl-cylindrical-cell-xct/cell_vol_728x728x100.tif", voxel_size_um=33.97)
    part = image[40:60, 200:500, 200:500]
    back = open_image(save_image(part, tmp_path / "cell.zarr"))
    np.testing.assert_array_equal(back.values, part.values)
    np.testing.assert_allclose(back.z.values, part.z.values)
