"""Numbers of an interface as a whole, and the movie of a simulated dendrite."""

import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.quantities import COLUMNS
from operando.dendrites import dendrite_metrics, find_interface, tip_position, values_from_colors


def _metal(height, *, rows=64, step=1.0, **axes):
    """An image, exact to a fraction of a pixel, of metal (1) of that height over the lower edge."""
    y = np.arange(rows)[::-1, None]
    share = np.clip(np.asarray(height) - y, 0, 1)
    dims = ("t", "y", "x")[3 - share.ndim :]
    return labeled_image(share, dims=dims, voxel_size_um=step, **axes)


def _value(table, quantity):
    return table.loc[table["quantity"] == quantity, "value"].to_numpy()


def test_the_tip_is_where_the_lithium_stands_highest():
    x = np.arange(80)
    image = _metal(10 + 30 * np.exp(-0.5 * ((x - 52) / 6) ** 2), step=0.5)
    tip = tip_position(find_interface(image, rule="edge", metal="high", level=0.5))
    assert float(tip["x_tip"]) == 26.0
    assert float(tip["height"]) == pytest.approx(20.0, abs=0.3)
    assert tip["height"].attrs["units"] == "um"


def test_the_tip_of_a_series_is_found_frame_by_frame():
    x = np.arange(80)
    frames = [_metal(10 + rise * np.exp(-0.5 * ((x - at) / 6) ** 2)).values for rise, at in ((10, 20), (30, 60))]
    series = labeled_image(np.stack(frames), dims=("t", "y", "x"), t=[0, 5], time_units="min")
    tip = tip_position(find_interface(series, rule="edge", metal="high", level=0.5))
    assert tip["x_tip"].values.tolist() == [20, 60]
    np.testing.assert_allclose(tip["height"], [20, 40], atol=0.6)
    assert tip["t"].values.tolist() == [0, 5]


def test_a_straight_interface_has_length_one_no_roughness_and_no_tip():
    table = dendrite_metrics(find_interface(_metal(np.full(60, 20.0)), rule="edge", metal="high", level=0.5))
    assert list(table.columns) == list(COLUMNS)
    assert _value(table, "developed_length").tolist() == [1.0]
    assert _value(table, "roughness").tolist() == [0.0]
    assert _value(table, "tips").tolist() == [0.0]
    assert _value(table, "mean_height") == pytest.approx(20.0, abs=0.5)
    assert (table["scan"] == -1).all()


def test_roughness_length_and_tips_of_a_wave_are_those_of_algebra():
    x = np.arange(240)
    height = 30 + 8 * np.sin(2 * np.pi * (x + 0.5) / 60)
    table = dendrite_metrics(find_interface(_metal(height), rule="edge", metal="high", level=0.5))
    assert _value(table, "roughness") == pytest.approx(8 / np.sqrt(2), rel=0.02)
    slope = 8 * 2 * np.pi / 60 * np.cos(2 * np.pi * np.linspace(0, 1, 1000))
    assert _value(table, "developed_length") == pytest.approx(np.sqrt(1 + slope**2).mean(), rel=0.03)
    assert _value(table, "tips").tolist() == [4.0]
    deeper = dendrite_metrics(find_interface(_metal(height), rule="edge", metal="high", level=0.5), prominence=17)
    assert _value(deeper, "tips").tolist() == [0.0]


def test_lengths_scale_with_the_voxel_and_ratios_do_not():
    height = 30 + 8 * np.sin(2 * np.pi * np.arange(120) / 60)
    one, two = (
        dendrite_metrics(find_interface(_metal(height, step=step), rule="edge", metal="high", level=0.5))
        for step in (1, 2)
    )
    lengths = one["unit"] == "um"
    assert set(one.loc[lengths, "quantity"]) == {"tip_height", "mean_height", "roughness"}
    np.testing.assert_allclose(two.loc[lengths, "value"], 2 * one.loc[lengths, "value"])
    np.testing.assert_allclose(two.loc[~lengths, "value"], one.loc[~lengths, "value"])


def test_overhangs_and_breaks_are_counted():
    image = np.full((32, 20), 200.0)
    image[24:] = 20.0
    image[10:24, 8:10] = 20.0
    image[10:14, 8:15] = 20.0
    table = dendrite_metrics(find_interface(image, rule="edge", metal="high"))
    assert _value(table, "overhang_share").tolist() == [5 / 20]
    assert _value(table, "broken_share").tolist() == [0.0]


def test_times_are_given_in_hours():
    frames = np.stack([_metal(np.full(30, 20.0)).values] * 2)
    series = labeled_image(frames, dims=("t", "y", "x"), t=[0, 300], time_units="s")
    table = dendrite_metrics(find_interface(series, rule="edge", metal="high", level=0.5))
    assert table.loc[table["quantity"] == "tips", "t"].tolist() == pytest.approx([0, 1 / 12])
    assert table.loc[table["quantity"] == "tips", "scan"].tolist() == [0, 1]


def test_what_is_no_interface_and_no_length_is_refused():
    with pytest.raises(InputError, match="must be the Dataset of operando.dendrites.find_interface, got ndarray"):
        tip_position(np.zeros(5))
    found = find_interface(_metal(np.full(30, 20.0)), rule="edge", metal="high", level=0.5)
    with pytest.raises(InputError, match="prominence must be positive"):
        dendrite_metrics(found, prominence=0)
    found["x"].attrs["units"] = "px"
    with pytest.raises(InputError, match="must be in one unit, got px and um"):
        dendrite_metrics(found)


def test_colors_give_back_the_numbers_they_were_made_from():
    bar = np.stack(
        [np.linspace(60, 180, 50), 255 * np.sin(np.linspace(0, np.pi, 50)), np.linspace(190, 40, 50)], axis=1
    )
    values = np.random.default_rng(3000).random((20, 30))
    colors = np.stack([np.interp(values * 49, np.arange(50), bar[:, i]) for i in range(3)], axis=-1)
    np.testing.assert_allclose(values_from_colors(np.rint(colors), bar), values, atol=0.01)
    np.testing.assert_allclose(values_from_colors(np.rint(colors), bar, (-1.0, 3.0)), 4 * values - 1, atol=0.04)
    darker = np.rint(0.7 * colors)
    np.testing.assert_allclose(values_from_colors(darker, bar, shading=None), values, atol=0.02)


def test_colors_without_three_channels_are_refused():
    with pytest.raises(InputError, match=r"Drop an alpha channel"):
        values_from_colors(np.zeros((4, 4, 4)), np.zeros((5, 3)))
    with pytest.raises(InputError, match="3 values for 5 colors"):
        values_from_colors(np.zeros((4, 4, 3)), np.zeros((5, 3)), (0, 1, 2))


def test_the_tip_of_the_simulated_dendrite_movie_grows_from_its_half_disc(data_folder):
    from PIL import Image

    path = data_folder / "moose-li-dendrite-sim" / "order_parameter.gif"
    if not path.exists():
        pytest.skip("the movie of the simulated dendrite is not here")
    fields = []
    with Image.open(path) as movie:
        for number in (0, 370, 740, 1109):
            movie.seek(number)
            colors = np.asarray(movie.convert("RGB"))
            bar = colors[363:107:-1, 872]
            # Inside the axes; growth runs along the picture's x, which becomes y.
            fields.append(values_from_colors(colors[90:377, 66:788], bar, shading=None).T)
    pixel = 200 / 726
    series = labeled_image(np.stack(fields), dims=("t", "y", "x"), voxel_size_um=pixel)
    tip = tip_position(find_interface(series, rule="edge", metal="low", level=0.5))
    # The first two columns inside the axes are hidden by the frame.
    height = tip["height"].values + 2.5 * pixel
    assert (np.diff(height) > 10).all()
    assert height[0] == pytest.approx(5.4, abs=0.6)
    assert height[-1] == pytest.approx(50.5, abs=1.0)
    # It grows along the axis of symmetry, row 233 of the picture.
    np.testing.assert_allclose(tip["x_tip"], (233 - 90) * pixel, atol=2 * pixel)
    area = pixel**2 * (np.stack(fields) > 0.5).sum(axis=(1, 2))
    assert area[0] == pytest.approx(np.pi * height[0] ** 2 / 2, rel=0.15)
