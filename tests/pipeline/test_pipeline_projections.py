"""From raw projections to labels: reconstruct, stitch, turn and calibrate in one recipe."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr
import yaml

from operando import io, samples
from operando.core.axes import labeled_image
from operando.core.errors import RecipeError
from operando.pipeline import load

SIDE, OVERLAP = 48, 12


def attenuation(labels):
    """An upright cell in air: the rotation axis lies in the plane of the electrodes, which face y."""
    levels = np.array([0.004, 0.010, 0.008, 0.008, 0.001, 0.008])  # um-1, by label
    inside = levels[labels.transpose("y", "z", "x").values]
    before = [(SIDE - inside.shape[axis]) // 2 for axis in (1, 2)]
    after = [SIDE - inside.shape[axis] - first for axis, first in zip((1, 2), before, strict=True)]
    whole = np.pad(inside, [(0, 0), (before[0], after[0]), (before[1], after[1])])
    return labeled_image(whole.astype(np.float32), voxel_size_um=1.33, units="um-1")


def write_exchange(path, scan, rows):
    with h5py.File(path, "w") as file:
        for name, key in (("data", "projections"), ("data_white", "flat"), ("data_dark", "dark")):
            file[f"exchange/{name}"] = scan[key].isel(detector_y=rows).values
        file["exchange/theta"] = scan["angle"].values


@pytest.fixture(scope="module")
def upright(tmp_path_factory):
    """Two scans of an upright cell, each in two files that overlap, and what they show."""
    folder = tmp_path_factory.mktemp("projections")
    cell = samples.symmetric_cell((32, 40, 24), scans=2, seed=3017)
    files = []
    for number in range(2):
        volume = attenuation(cell.labels[number])
        scan = samples.projections(volume, angles=np.linspace(0, 180, 91), rotation_axis=24.2, rings=0.0, seed=number)
        pair = []
        for part, rows in enumerate((slice(0, 26), slice(26 - OVERLAP, 40))):
            pair.append(f"scan{number}-{part}.h5")
            write_exchange(folder / pair[-1], scan, rows)
        files.append(pair)
    recipe = {
        "recipe": "cell-ct",
        "inputs": {
            "projections": files,
            "voxel_size_um": 1.33,
            "overlap_voxels": OVERLAP,
            "electrode_normal": "y",
            "region": {"z": [8, 40], "x": [12, 36], "y": [0, 24]},
            "simulated": True,
        },
        "tomography": {"method": "gridrec", "rings": "none"},
        "segment": {"method": "otsu"},
        "report": {"movie": False, "render": False},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path, recipe, cell


def test_projections_of_an_upright_cell_become_the_scans_of_a_level_one(upright):
    path, _, cell = upright
    loaded = load(path)
    loaded.run(workers=2)
    image = io.open_image(loaded.folder / "image.zarr")
    assert dict(image.sizes) == {"t": 2, "z": 32, "y": 24, "x": 24}
    assert float(image["z"].attrs["spacing"]) == pytest.approx(1.33)
    levels = np.array([0.004, 0.010, 0.008, 0.008, 0.001, 0.008])
    for scan in range(2):
        true = levels[cell.labels[scan].values][:, :24]
        assert np.corrcoef(image[scan].values.ravel(), true.ravel())[0, 1] > 0.9
        # The attenuation itself is right, in um-1: electrode 0.010, electrolyte 0.004.
        for label, level in ((0, 0.004), (1, 0.010)):
            assert float(np.median(image[scan].values[cell.labels[scan].values[:, :24] == label])) == pytest.approx(
                level, rel=0.05
            )
    known = json.loads((loaded.folder / "tomography.json").read_text())
    axes = [entry["rotation_axis"] for entry in known if "rotation_axis" in entry]
    np.testing.assert_allclose(axes, 24.2, atol=0.1)
    assert (loaded.folder / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"overlap_voxels": None}, "how many rows neighbors share"),
        ({"projections": None}, "either 'images' or 'projections' must be given, got neither"),
        ({"images": "x.zarr"}, "must be given, got both"),
        ({"voxel_size_um": None}, "does not say what a pixel is at the sample"),
    ],
)
def test_faults_of_projections_are_sentences(upright, tmp_path, change, sentence):
    path, recipe, _ = upright
    changed = {**recipe, "output": str(tmp_path / "run"), "inputs": {**recipe["inputs"], **change}}
    other = path.parent / f"fault-{len(sentence)}.yaml"
    other.write_text(yaml.safe_dump(changed))
    with pytest.raises(RecipeError, match=sentence):
        load(other).plan()


def test_labels_are_turned_like_the_images_they_were_drawn_on(tmp_path):
    from operando.pipeline.scans.inputs import along_z

    image = xr.DataArray(np.arange(24).reshape(2, 3, 4), dims=("z", "y", "x"))
    turned = along_z(image, "x")
    assert turned.dims == ("z", "y", "x")
    assert turned.shape == (4, 2, 3)
    assert int(turned[3, 1, 2]) == int(image[1, 2, 3])
