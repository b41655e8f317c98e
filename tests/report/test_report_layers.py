import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.morphometry.layers import layer_profile, layers_along_radius
from operando.report import style
from operando.report.layers import layer_map, layer_profiles, layer_section, training_and_test, unrolled_layers

PHASES = {"background": 0, "layer": 1}


@pytest.fixture(scope="module")
def roll():
    y, x = np.mgrid[:160, :160]
    radius = np.hypot(y - 80, x - 78)
    mask = ((radius > 20) & (radius < 70) & ((radius - 20) % 10 < 5)).astype("uint8")
    stack = np.stack([mask, mask])
    labels = labeled_image(stack, voxel_size_um=20.0)
    image = labeled_image(50.0 + 100 * stack, voxel_size_um=20.0)
    return image, labels, layers_along_radius(labels, PHASES, rays=90)


def ink(figure):
    return float((style.rgb_array(figure, dpi=60) < 250).any(axis=-1).mean())


def test_section_shows_the_whole_slice_and_an_enlarged_part_with_scale_bars(roll):
    image, labels, layers = roll
    figure = layer_section(image[0], labels[0], PHASES, layers=layers.isel(z=0), zoom_um=600.0)
    whole, part = figure.axes
    assert np.ptp(part.get_xlim()) == pytest.approx(600)
    assert np.ptp(whole.get_xlim()) == pytest.approx(160 * 20)
    for ax in (whole, part):
        assert any(artist.get_gid() == "scale bar" for artist in ax.get_children())
    assert ink(figure) > 0.2


def test_test_panels_show_each_method_with_its_score_and_mistakes(roll):
    image, labels, _ = roll
    truth = labels[0]
    marks = truth.copy(data=np.where(np.arange(160)[:, None] % 9 == 0, truth, 255).astype("uint8"))
    wrong = truth.copy(data=np.zeros_like(truth))
    figure = training_and_test(
        image[0], marks, image[0], truth, {"network": truth, "Otsu": wrong}, PHASES, scores={"network": 1.0}
    )
    assert [ax.get_title() for ax in figure.axes] == ["taught: strokes", "network: IoU 1.000", "Otsu"]
    right, missed, invented = (np.asarray(shown.get_array())[..., 3] > 0 for shown in figure.axes[2].images[1:])
    assert not right.any()
    assert not invented.any()
    np.testing.assert_array_equal(missed, truth == 1)
    assert ink(figure) > 0.2


def test_unrolled_rings_are_level_bands_where_they_were_measured(roll):
    image, _, layers = roll
    figure = unrolled_layers(image[0], layers.isel(z=0), phases=PHASES)
    ax = figure.axes[0]
    boxes = ax.collections[0].get_paths()
    assert len(boxes) == int(layers.layers.isel(z=0).sum()) == 450
    lowest = min(path.vertices[:, 1].min() for path in boxes)
    assert lowest == pytest.approx(0.4, abs=0.01)
    assert ax.get_ylabel() == "Radius [mm]"


def test_unrolled_gray_is_bright_where_the_layers_are(roll):
    image, _, layers = roll
    ax = unrolled_layers(image[0], layers.isel(z=0)).axes[0]
    flat = np.asarray(ax.images[0].get_array())
    radius = np.linspace(*ax.get_ylim(), flat.shape[0])
    assert flat[np.argmin(abs(radius - 0.45))].mean() > 140
    assert flat[np.argmin(abs(radius - 0.55))].mean() < 60


@pytest.mark.parametrize("along", ["radius", "z"])
def test_profiles_carry_units_and_one_panel_per_quantity(roll, along):
    profile = layer_profile(roll[2], by=along)
    figure = layer_profiles(profile, along=along, quantities=("thickness", "spacing", "layers"))
    assert [ax.get_ylabel() for ax in figure.axes] == ["Layer thickness [µm]", "Layer spacing [µm]", "Layers"]
    assert figure.axes[-1].get_xlabel() == ("Radius [mm]" if along == "radius" else "Position z [mm]")
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, profile["thickness"][profile["layers"] >= 0.1])


def test_one_lost_layer_does_not_flatten_the_panel(roll):
    profile = layer_profile(roll[2], by="radius", width_um=20.0)
    profile.loc[len(profile) // 2, "spacing_high"] = 1e5
    figure = layer_profiles(profile, quantities=("spacing",))
    assert figure.axes[0].get_ylim()[1] < 1e3


def test_color_scale_is_that_of_the_bulk(roll):
    layers = roll[2].copy(deep=True)
    layers["spacing"][1, :5] = 1e4
    low, high = layer_map(layers).axes[0].collections[0].get_clim()
    assert 150 < low < 200 < high < 300


def test_profile_of_another_cell_is_drawn_and_named(roll):
    profile = layer_profile(roll[2])
    figure = layer_profiles(profile, compare={"mask": profile})
    assert "mask" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("quantity", ["spacing", "thickness", "obliquity"])
def test_map_draws_every_measured_passage_in_its_place(roll, quantity, unrolled):
    layers = roll[2]
    figure = layer_map(layers, quantity=quantity, unrolled=unrolled)
    cells = figure.axes[0].collections[0]
    known = layers[quantity].median("z").values
    np.testing.assert_allclose(cells.get_array(), known[np.isfinite(known)])
    assert ("[µm]" in figure.axes[1].get_ylabel()) == (quantity != "obliquity")


def test_color_limits_can_be_fixed_over_a_series(roll):
    figure = layer_map(roll[2], limits=(150.0, 250.0))
    assert figure.axes[0].collections[0].get_clim() == (150.0, 250.0)


def test_simulated_is_said(roll):
    image, labels, _ = roll
    figure = layer_section(image[0].assign_attrs(simulated=True), labels[0], PHASES)
    assert figure.get_suptitle() == "simulated"


def test_unknown_words_are_met_with_the_nearest(roll):
    layers = roll[2]
    with pytest.raises(InputError, match="Did you mean 'spacing'"):
        layer_map(layers, quantity="spacings")
    with pytest.raises(InputError, match="Did you mean 'thickness'"):
        layer_profiles(layer_profile(layers), quantities=("thicknes",))
    with pytest.raises(InputError, match="along must be"):
        layer_profiles(layer_profile(layers), along="angle")
    with pytest.raises(InputError, match="at least one layer"):
        layer_map(layers.where(layers.radius < 0))
