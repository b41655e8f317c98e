"""Stacks of X1A (.stk) and aXis2000 (.ncb), and its text masks: files written here from the layout alone."""

import struct

import numpy as np
import pytest

from operando.core.axes import spacing
from operando.core.errors import FileError
from operando.io import describe, open_image, open_stack, readers
from operando.io.conformance import check_reader

ENERGIES = [700.0, 701.5, 704.25]
X = [2.0, 2.1, 2.2, 2.3, 2.4]
Y = [-1.0, -0.8, -0.6, -0.4]
VALUES = np.random.default_rng(1).random((3, 4, 5)).astype("float32") * 1000


def write_stk(path, order=">", *, dwell=(1.5, 1.5, 1.5), y=Y):
    numbers = [*X, *y, *ENERGIES, *dwell, *VALUES.ravel().tolist()]
    path.write_bytes(struct.pack(f"{order}3i{len(numbers)}f", 5, 4, 3, *numbers))
    return path


def write_ncb(folder, *, scale=10.0, text=None, kind="<h"):
    stored = np.rint(VALUES * scale).astype(int).ravel().tolist() if kind == "<h" else VALUES.ravel().tolist()
    (folder / "s.ncb").write_bytes(struct.pack(f"<{len(stored)}{kind[-1]}", *stored))
    lines = [f"\t5\t4\t{scale:.6f}", "\t2.0\t2.4", "\t-1.0\t-0.4", "\t3", *(f"\t{e:.6f}" for e in ENERGIES)]
    lines += [f"image{i}\t{e:.6f}\t1.500000" for i, e in enumerate(ENERGIES)]
    (folder / "s.dat").write_text(text or "\n".join(lines) + "\n")
    return folder / "s.ncb"


@pytest.mark.parametrize("order", [">", "<"])
def test_an_stk_stack_comes_with_its_axes(order, tmp_path):
    image = open_image(write_stk(tmp_path / "a.stk", order))
    assert image.dims == ("energy", "y", "x")
    np.testing.assert_array_equal(image.values, VALUES)
    for dim, points in (("energy", ENERGIES), ("y", Y), ("x", X)):
        np.testing.assert_array_equal(image[dim], points)
    assert (image.energy.attrs["units"], image.x.attrs["units"]) == ("eV", "um")
    assert spacing(image) == pytest.approx({"y": 0.2, "x": 0.1})
    assert image.attrs["dwell_ms"] == 1.5


def test_dwell_times_that_differ_are_all_kept(tmp_path):
    assert open_image(write_stk(tmp_path / "a.stk", dwell=(1.0, 2.0, 4.0))).attrs["dwell_ms"] == [1.0, 2.0, 4.0]


def test_an_stk_stack_whose_rows_go_downward_is_turned(tmp_path):
    image = open_image(write_stk(tmp_path / "a.stk", y=Y[::-1]))
    np.testing.assert_array_equal(image.y, Y)
    np.testing.assert_array_equal(image.values, VALUES[:, ::-1])


@pytest.mark.parametrize("name", ["stk", "ncb", "mask"])
def test_each_reader_keeps_the_contract(name, tmp_path):
    if name == "stk":
        check_reader(readers()[name], write_stk(tmp_path / "a.stk"), expected=VALUES)
    elif name == "ncb":
        expected = (np.rint(VALUES * 10) / 10).astype("float32")
        check_reader(readers()[name], write_ncb(tmp_path), expected=expected)
    else:
        kept = np.random.default_rng(2).random((7, 11)) < 0.5
        (tmp_path / "a.msk").write_text("".join("".join("O" if k else " " for k in row) + "\n" for row in kept))
        check_reader(readers()[name], tmp_path / "a.msk", expected=kept.astype("uint8"), cuts=5)


def test_an_ncb_stack_is_opened_by_either_of_its_files(tmp_path):
    path = write_ncb(tmp_path)
    for named in (path, path.with_suffix(".dat")):
        image = open_image(named)
        np.testing.assert_allclose(image.values, VALUES, atol=0.051)
        for dim, points in (("energy", ENERGIES), ("y", Y), ("x", X)):
            np.testing.assert_allclose(image[dim], points, rtol=1e-12)
        assert image.attrs["dwell_ms"] == 1.5


def test_an_ncb_of_floats_is_told_by_its_length(tmp_path):
    path = write_ncb(tmp_path, scale=1.0, kind="<f")
    np.testing.assert_array_equal(open_image(path).values, VALUES)
    assert any("read as 32-bit floats" in s for s in describe(path)["missing"])


def test_an_ncb_without_its_description_asks_for_it(tmp_path):
    path = write_ncb(tmp_path)
    path.with_suffix(".dat").unlink()
    with pytest.raises(FileError, match=r"no s\.dat that describes them: copy both"):
        open_image(path)


def test_an_energy_that_was_scanned_twice_is_kept_and_told(tmp_path):
    path = write_ncb(tmp_path, text="5 4 10\n2 2.4\n-1 -0.4\n3\n700\n701.5\n701.5\n")
    np.testing.assert_array_equal(open_image(path).energy, [700, 701.5, 701.5])
    assert any("1 of 3 energies repeat others" in s for s in describe(path)["missing"])
    assert open_stack(path, repeats="mean").sizes["energy"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5 4\n", "line 1 must have columns, rows and the factor of the values, got '5 4'"),
        ("5 4 1\n0 1\n0 1\n3\n700\n701\n", "line 7 must have energy 3 of 3, got the end of the file"),
        ("5.5 4 1\n0 1\n0 1\n1\n700\n", "sizes must be whole"),
        ("5 4 0\n0 1\n0 1\n1\n700\n", "the factor not 0"),
    ],
)
def test_a_wrong_description_says_which_line(text, message, tmp_path):
    with pytest.raises(FileError) as caught:
        open_image(write_ncb(tmp_path, text=text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_length_that_does_not_fit_is_told_in_bytes(tmp_path):
    path = write_ncb(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(FileError, match=r"3 images of 4 x 5 values take 120 bytes .* but the file has 118"):
        open_image(path)
    path = write_stk(tmp_path / "a.stk")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FileError, match=r"3 images of 4 x 5 values take 312 bytes, but the file has 308"):
        open_image(path)
    (tmp_path / "short.stk").write_bytes(b"\0\0")
    with pytest.raises(FileError, match="begins with three sizes, got 2 bytes"):
        open_image(tmp_path / "short.stk")


def test_a_mask_is_one_where_the_letter_stands(tmp_path):
    (tmp_path / "a.msk").write_text("O  \n OO\n")
    mask = open_image(tmp_path / "a.msk")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask.values, [[1, 0, 0], [0, 1, 1]])
    (tmp_path / "b.msk").write_bytes(b"O  \r\n OO\r\n")
    np.testing.assert_array_equal(open_image(tmp_path / "b.msk").values, mask.values)


@pytest.mark.parametrize(
    ("text", "message"),
    [("O \nO\n", "got 1 to 2 pixels"), ("O \nO", "in the middle of a row"), ("XO\n", "only the letter O")],
)
def test_a_damaged_mask_says_what_is_wrong(text, message, tmp_path):
    (tmp_path / "a.msk").write_text(text)
    with pytest.raises(FileError, match=message):
        open_image(tmp_path / "a.msk")


def test_the_real_masks_keep_the_parts_that_their_readme_says(data_folder):
    folder = data_folder / "als-stxm-fe2p/71214078_FigS4"
    for name, part in (("mask_file.msk", 0.28), ("remove_thick_part.msk", 0.89)):
        if (folder / name).exists():
            mask = open_image(folder / name)
            assert mask.shape == (125, 125)
            assert float(mask.mean()) == pytest.approx(part, abs=0.005)
