"""Maps of spectro-microscopy: what is drawn where, in which color, with which numbers."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.report import (
    ambiguity_map,
    false_color,
    flag_map,
    map_with_uncertainty,
    r_factor_map,
    rgb_array,
    spectral_overview,
    spectral_style,
    weight_maps,
)
from operando.report.spectral_composite import composite

ENERGIES = [705.0, 708.0, 709.25, 712.0, 722.0, 730.0]


@pytest.fixture
def stack() -> xr.DataArray:
    values = np.arange(6.0)[:, None, None] * np.linspace(0, 1, 40).reshape(5, 8)
    energy = ("energy", ENERGIES, {"units": "eV"})
    return labeled_image(values, dims=("energy", "y", "x"), voxel_size_um=0.1, coords={"energy": energy},
                         long_name="Optical density")  # fmt: skip


@pytest.fixture
def references() -> xr.DataArray:
    values = [[0, 3, 1, 0, 1, 0], [0, 1, 3, 0, 2, 0]]
    coords = {"component": ["reduced", "oxidized"], "energy": ENERGIES}
    return xr.DataArray(np.array(values, float), dims=("component", "energy"), coords=coords, attrs={"units": "um-1"})


@pytest.fixture
def weight(stack) -> xr.DataArray:
    share = np.linspace(0, 1, 40).reshape(5, 8)
    one = stack[0].drop_vars("energy").copy(data=share)
    both = xr.concat([one, 1 - one], dim="component").assign_coords(component=["reduced", "oxidized"])
    return both.assign_attrs(units="um")


def _images(figure):
    return [ax for ax in figure.axes if ax.images and ax.get_label() != "<colorbar>"]


def _bar(ax):
    (bar,) = [a for a in ax.artists if a.get_gid() == "scale bar"]
    return bar.txt_label.get_text()


def test_images_of_the_overview_share_one_gray_scale_and_name_their_energies(stack, references):
    figure = spectral_overview(stack, references, stack[3], energies=[708.2, 730.0, 709.0])
    panels = _images(figure)[:3]
    assert [ax.get_title() for ax in panels] == ["708.00 eV", "730.00 eV", "709.25 eV"]
    assert len({ax.images[0].get_clim() for ax in panels}) == 1
    np.testing.assert_array_equal(panels[1].images[0].get_array(), stack.values[5])
    assert _bar(panels[0]) == "200 nm"


def test_the_overview_marks_the_energies_of_its_images_on_the_references(stack, references):
    figure = spectral_overview(stack, references, stack[3], energies=[709.25, 722.0])
    spectra = next(ax for ax in figure.axes if ax.get_xlabel() == "Photon energy [eV]")
    marks = [line.get_xdata()[0] for line in spectra.lines if len(set(line.get_xdata())) == 1]
    assert marks == [709.25, 722.0]
    assert spectra.get_ylabel().replace("\n", " ") == "Optical density per length [µm⁻¹]"


def test_without_a_wish_the_overview_shows_both_ends_and_the_maxima_of_the_references(stack, references):
    figure = spectral_overview(stack, references, stack[3], count=4)
    assert [ax.get_title() for ax in _images(figure)[:4]] == ["705.0 eV", "708.0 eV", "722.0 eV", "730.0 eV"]


def test_lithiation_that_is_missing_is_clear_and_its_label_is_a_formula(stack, references):
    figure = spectral_overview(stack, references, stack[3].where(stack[3] > 1), label="x in Li_x V2O5")
    drawn = _images(figure)[-1].images[0]
    assert drawn.cmap.get_bad()[3] == 0
    assert np.ma.getmaskarray(drawn.get_array()).sum() == int((stack[3] <= 1).sum())
    assert "x in LiₓV₂O₅" in [ax.get_ylabel() for ax in figure.axes]


def test_an_overview_of_one_energy_and_one_reference_of_one_energy_is_drawn(stack, references):
    figure = spectral_overview(stack[1:2], references[:1, 1:2], stack[3])
    image, _ = _images(figure)
    assert image.get_title() == "708.0 eV"
    assert rgb_array(figure, dpi=50).std() > 1


def test_energies_in_any_order_and_axes_that_descend_are_drawn_the_right_way_round(stack, references):
    turned = stack.isel(energy=slice(None, None, -1), y=slice(None, None, -1))
    straight = spectral_overview(stack, references, stack[3], count=4)
    back = spectral_overview(turned, references.isel(energy=[3, 1, 0, 5, 2, 4]), stack[3], count=4)
    for one, other in zip(_images(straight)[:4], _images(back)[:4], strict=True):
        assert one.get_title() == other.get_title()
        np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


def test_only_the_images_drawn_of_a_lazy_stack_are_computed(stack, references):
    da = pytest.importorskip("dask.array")
    seen = []

    def look(block, block_info=None):
        seen.append(block_info[0]["chunk-location"][0])
        return block

    chunked = da.from_array(stack.values, chunks=(1, -1, -1)).map_blocks(look, dtype=float, meta=np.empty((0, 0, 0)))
    spectral_overview(stack.copy(data=chunked), references, stack[3], energies=[708.0, 722.0])
    assert sorted(set(seen)) == [1, 4]


def test_a_stack_without_its_dims_is_refused_by_name(stack, references):
    with pytest.raises(AxesError, match="spectral_overview: the dim energy is needed"):
        spectral_overview(stack.rename(energy="channel"), references, stack[3])
    with pytest.raises(InputError, match="energies must be at least one finite number"):
        spectral_overview(stack, references, stack[3], energies=[])


def test_what_was_simulated_is_marked_as_such(stack, references, weight):
    assert spectral_overview(stack, references, stack[3]).get_suptitle() == ""
    marked = stack.assign_attrs(simulated=True)
    assert spectral_overview(marked, references, stack[3]).get_suptitle() == "simulated"
    assert false_color(weight.assign_attrs(simulated=True)).get_suptitle() == "simulated"
    assert weight_maps(xr.Dataset({"weight": weight}, attrs={"simulated": True})).get_suptitle() == "simulated"


def test_pure_phases_have_their_own_hue_and_half_the_amount_half_the_light():
    pixels = composite(np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]), ["#0000ff", "#ff0000"], 1.0)
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(light, [[0, 0, 1], [0, 0, 0.5], [0, 0, 0]], atol=1e-9)


def test_the_order_of_the_phases_does_not_change_the_picture():
    amounts = np.random.default_rng(0).random((3, 4, 5))
    colors = list(spectral_style.PHASE_COLORS[:3])
    np.testing.assert_allclose(composite(amounts, colors, 1.5), composite(amounts[::-1], colors[::-1], 1.5))


@pytest.mark.parametrize(("count", "least"), [(2, 75), (3, 15), (6, 15)])
def test_phases_differ_in_color_under_the_common_color_vision_deficiencies(count, least):
    from matplotlib.colors import to_rgb
    from skimage.color import rgb2lab

    # Machado, Oliveira and Fernandes (2009), severity 1: normal sight, protan, deutan, tritan.
    views = [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
    colors = np.array([to_rgb(color) for color in spectral_style.PHASE_COLORS[:count]])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for view in views:
        seen = np.clip(linear @ np.transpose(view), 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(seen[None])[0]
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(count, 1)]
        assert apart.min() > least


def test_the_false_color_legend_names_every_phase_however_many(weight):
    for count in (1, 2, 3, 5):
        many = xr.concat([weight[0] * (k + 1) for k in range(count)], dim="component")
        names = [f"phase {k}" for k in range(count)]
        figure = false_color(many.assign_coords(component=names))
        texts = [t.get_text() for ax in figure.axes for t in ax.texts + ax.get_yticklabels()]
        texts += [t.get_text() for ax in figure.axes if ax.get_legend() for t in ax.get_legend().get_texts()]
        assert set(names) <= set(texts)


def test_more_than_five_phases_are_cut_to_the_largest_or_refused(weight):
    many = xr.concat([weight[0] * (k + 1) for k in range(7)], dim="component").assign_coords(component=list("abcdefg"))
    legend = false_color(many).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list("cdefg")
    with pytest.raises(InputError, match="one to 5 phases"):
        false_color(many, components=list("abcdef"))
    with pytest.raises(InputError, match="no component 'h'"):
        false_color(many, components=["h"])


def test_doubtful_pixels_are_hatched_exactly(weight):
    doubt = (weight[0] > 0.9).drop_vars("component")
    (patch,) = [p for p in _images(false_color(weight, doubtful=doubt))[0].patches if p.get_gid() == "doubtful"]
    corners = patch.get_path().vertices.reshape(-1, 5, 2)
    area = np.prod(corners[:, 2] - corners[:, 0], axis=1).sum()
    assert area == pytest.approx(int(doubt.sum()) * 0.1 * 0.1)
    inside = [patch.get_path().contains_point((float(x), float(y))) for y in doubt.y for x in doubt.x]
    assert inside == doubt.values.ravel().tolist()


def test_all_weights_share_a_scale_and_all_errors_another(weight):
    figure = weight_maps(xr.Dataset({"weight": weight, "weight_sigma": 0.1 * weight}))
    panels = [ax.images[0].get_clim() for ax in _images(figure)]
    assert len(panels) == 4
    assert len(set(panels[:2])) == len(set(panels[2:])) == 1
    assert panels[0][0] == panels[2][0] == 0
    assert {ax.get_ylabel() for ax in figure.axes} >= {"Weight [µm]", "Standard error [µm]"}


def test_eight_components_with_long_names_and_one_without_errors_are_drawn(weight):
    names = [f"a long name of phase number {k}, delta-LiV2O5" for k in range(8)]
    many = xr.concat([weight[0]] * 8, dim="component").assign_coords(component=names)
    figure = weight_maps(xr.Dataset({"weight": many}))
    titles = [ax.get_title().replace("\n", " ") for ax in _images(figure)]
    assert titles == names
    assert rgb_array(weight_maps(xr.Dataset({"weight": many[:1]})), dpi=50).std() > 1


def test_a_dataset_without_weights_is_refused_with_what_it_has(weight):
    with pytest.raises(InputError, match="must hold 'weight', got score"):
        weight_maps(xr.Dataset({"score": weight}))


def test_flags_are_counted_within_the_sample_and_pixels_with_several_are_black(weight):
    mask = xr.zeros_like(weight[0], dtype=bool).drop_vars("component")
    mask[:2] = True
    one, other = mask.copy(), mask.copy()
    one[1], other[:] = False, False
    other[0, :4] = True
    other[4, 0] = True
    figure = flag_map(xr.Dataset({"boundary": one, "missing_reference": other}), mask=mask)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["boundary: 8 px (50.0 %)", "missing reference: 4 px (25.0 %)", "several: 4 px (25.0 %)"]
    pixels = figure.axes[0].images[-1].get_array()
    assert (pixels[0, :4, :3] < 0.3).all()
    assert (pixels[2:4, :, 3] == 0).all()


def test_without_flags_there_is_nothing_to_draw():
    with pytest.raises(InputError, match="at least one map of bool"):
        flag_map(xr.Dataset({"partial_volume": (("y", "x"), np.ones((2, 2)))}))


def test_a_fit_without_residual_has_a_place_on_the_scale_of_r_factors(weight):
    values = weight[0].copy(data=np.linspace(0, 1, 40).reshape(5, 8))
    drawn = r_factor_map(values).axes[0].images[0]
    assert np.isfinite(drawn.norm(drawn.get_array())).all()
    low, high = drawn.norm.vmin, drawn.norm.vmax
    assert 0 < low < high <= 1


def test_ambiguous_pixels_are_counted_among_those_that_are_known(weight):
    share = weight[0].copy(data=np.linspace(0, 1, 40).reshape(5, 8)).where(weight[0] > 0.2)
    known = int(share.notnull().sum())
    title = ambiguity_map(xr.Dataset({"ambiguity": share}), threshold=0.5).axes[0].get_title()
    assert title == f"at least 0.5: 20 of {known} px ({100 * 20 / known:.1f} %)"


def test_value_and_error_have_their_own_scales_and_missing_pixels_no_hatching(weight):
    value = weight[0].drop_vars("component").where(weight[0] > 0.5)
    figure = map_with_uncertainty(value, 0.1 * value, doubtful=xr.ones_like(value, dtype=bool))
    first, second = (ax.images[0].get_clim() for ax in figure.axes[:2])
    assert second[0] == 0
    assert second[1] < first[1] / 5
    (patch,) = [p for p in figure.axes[0].patches if p.get_gid() == "doubtful"]
    corners = patch.get_path().vertices.reshape(-1, 5, 2)
    assert np.prod(corners[:, 2] - corners[:, 0], axis=1).sum() == pytest.approx(0.01 * int(value.notnull().sum()))


def test_maps_of_nothing_but_gaps_are_drawn(weight):
    empty = weight[0].drop_vars("component") * np.nan
    for figure in (map_with_uncertainty(empty, empty), r_factor_map(empty), ambiguity_map(empty, threshold=0.5)):
        assert rgb_array(figure, dpi=40).shape[2] == 3
    assert rgb_array(false_color(weight * np.nan), dpi=40).std() > 1


def test_edges_of_a_mask_are_as_long_as_its_rim(weight):
    from matplotlib.figure import Figure

    plane = weight[0].drop_vars("component")
    mask = np.zeros(plane.shape, dtype=bool)
    mask[1:3, 2:5] = True
    ax = Figure().add_subplot()
    spectral_style.outline(ax, mask, plane, color="k")
    (lines,) = [one for one in ax.collections if one.get_gid() == "edges"]
    lengths = [np.linalg.norm(end - start) for start, end in lines.get_segments()]
    assert sum(lengths) == pytest.approx((2 + 3) * 2 * 0.1)


def test_spellings_of_energies_and_formulas():
    assert spectral_style.energy_texts([700.0]) == ["700.0 eV"]
    assert spectral_style.energy_texts([700.001, 700.0]) == ["700.001 eV", "700.000 eV"]
    assert spectral_style.formula_text("Li_x FePO4") == "LiₓFePO₄"
    assert spectral_style.formula_text("Li_xNi0.8Co0.2O2") == "LiₓNi0.8Co0.2O₂"
    stack = xr.DataArray(np.zeros((3, 1)), dims=("component", "energy"))
    assert spectral_style.component_names(stack) == ["component 0", "component 1", "component 2"]


def test_the_overview_of_a_real_stack_shows_both_maxima_of_its_iron_edge(data_folder):
    folder = data_folder / "als-stxm-fe2p" / "71214078_FigS4"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "71214078_aligned.h5") as file:
        counts, energy, i0 = file["counts"][:, 20:60, :50], file["energy_eV"][:], file["i0"][:, 1]
    density = labeled_image(
        np.log(i0[:, None, None] / counts), dims=("energy", "y", "x"), voxel_size_um=0.08, coords={"energy": energy}
    )
    spectra = np.stack([np.loadtxt(folder / name)[:, 1] for name in ("reduced.r", "oxidized.r")])
    known = xr.DataArray(
        spectra, dims=("component", "energy"), coords={"component": ["reduced", "oxidized"], "energy": energy}
    )
    figure = spectral_overview(density, known, density.max("energy"))
    shown = [float(ax.get_title().removesuffix(" eV")) for ax in _images(figure)[:5]]
    # Maxima of the two spectra at the L3 edge, as their authors give them, to one image (0.202 eV).
    assert min(abs(at - 708.25) for at in shown) < 0.21
    assert min(abs(at - 709.67) for at in shown) < 0.21
    assert rgb_array(figure, dpi=50).std() > 1
