"""Spectra, fits, clusters, drift, energies and movies of spectro-microscopy."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando import spectral
from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.report import (
    cluster_map,
    complex_image,
    drift_plot,
    energy_choice,
    energy_frames,
    energy_movie,
    i0_plot,
    reference_collinearity,
    reference_spectra,
    rgb_array,
    scree_plot,
    spectra_with_fit,
    spectrum_with_fit,
)
from operando.report.spectral_fits import spectrum_at

ENERGY = np.array([705.0, 707.0, 708.0, 709.0, 710.5, 713.0, 722.0, 730.0])


@pytest.fixture(scope="module")
def references() -> xr.DataArray:
    shapes = [[0, 1, 3, 2, 1, 0.5, 1, 0.2], [0, 0.2, 1, 3, 2, 0.5, 1.4, 0.2]]
    coords = {"component": ["reduced", "oxidized"], "energy": ("energy", ENERGY, {"units": "eV"})}
    return xr.DataArray(shapes, dims=("component", "energy"), coords=coords, attrs={"units": "1"})


@pytest.fixture(scope="module")
def stack(references) -> xr.DataArray:
    share = np.linspace(0, 1, 20).reshape(4, 5)
    clean = np.tensordot(references.values, np.stack([share, 1 - share]), axes=(0, 0)) + 0.1
    noisy = clean + np.random.default_rng(0).normal(scale=0.02, size=clean.shape)
    return labeled_image(noisy, dims=("energy", "y", "x"), voxel_size_um=0.1,
                         coords={"energy": references["energy"]}, long_name="Optical density")  # fmt: skip


@pytest.fixture(scope="module")
def unmixed(stack, references) -> xr.Dataset:
    return spectral.unmix(stack, references, background="constant")


def _main(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def test_parts_and_background_add_up_to_the_fit(stack, unmixed, references):
    found = spectrum_at(stack, unmixed, references, at=(0.1, 0.2))
    np.testing.assert_allclose(found["part"].sum("component") + found["background"], found["fit"], atol=1e-12)
    np.testing.assert_allclose(found["background"], float(unmixed["constant"][1, 2]), atol=1e-12)
    np.testing.assert_allclose(found["fit"], spectral.fitted(unmixed, references)[:, 1, 2], atol=1e-12)
    np.testing.assert_array_equal(found["measured"], stack[:, 1, 2])
    assert found.attrs["title"] == "y 0.1 µm, x 0.2 µm"


def test_a_region_shows_the_mean_of_its_spectra_and_of_its_fits(stack, unmixed, references):
    region = xr.zeros_like(stack[0], dtype=bool).drop_vars("energy")
    region[1:3, 2] = True
    found = spectrum_at(stack, unmixed, references, region=region, sigma=xr.full_like(stack, 0.02))
    np.testing.assert_allclose(found["measured"], stack[:, 1:3, 2].mean("y"))
    np.testing.assert_allclose(found["fit"], spectral.fitted(unmixed, references)[:, 1:3, 2].mean("y"))
    np.testing.assert_allclose(found["sigma"], 0.02 / np.sqrt(2))
    assert found.attrs["title"] == "mean of 2 px"


def test_pixels_without_a_fit_are_left_out_of_a_region(stack, unmixed, references):
    holed = unmixed.assign(weight=unmixed["weight"].where(unmixed["weight"].x > 0.05))
    everywhere = xr.ones_like(stack[0], dtype=bool).drop_vars("energy")
    assert spectrum_at(stack, holed, references, region=everywhere).attrs["title"] == "mean of 16 px"
    with pytest.raises(InputError, match="the region must hold a pixel with a fit"):
        spectrum_at(stack, holed, references, region=everywhere & False)


def test_one_place_is_needed_and_it_must_lie_within_the_image(stack, unmixed, references):
    with pytest.raises(InputError, match="got neither"):
        spectrum_with_fit(stack, unmixed, references)
    with pytest.raises(InputError, match="0 to 0.4 along x, got 3"):
        spectrum_with_fit(stack, unmixed, references, at=(0.1, 3.0))


def test_the_residual_is_in_sigma_where_sigma_is_known(stack, unmixed, references):
    plain = spectrum_with_fit(stack, unmixed, references, at=(0.1, 0.2)).axes[1]
    scaled = spectrum_with_fit(stack, unmixed, references, at=(0.1, 0.2), sigma=xr.full_like(stack, 0.02)).axes[1]
    assert plain.get_ylabel() == "Residual\n[OD]"
    assert scaled.get_ylabel() == "Residual\n[sigma]"
    np.testing.assert_allclose(scaled.lines[-1].get_ydata(), plain.lines[-1].get_ydata() / 0.02)


def test_a_single_spectrum_needs_no_place(stack, references):
    one = stack[:, 1, 2].drop_vars(["y", "x"])
    figure = spectrum_with_fit(one, spectral.unmix(one, references), references)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured", "fit", "reduced", "oxidized"]


def test_energies_in_any_order_give_the_same_curve(stack, references):
    back = stack.isel(energy=slice(None, None, -1))
    one, other = (spectrum_at(s, spectral.unmix(s, references), references, at=(0.1, 0.2)) for s in (stack, back))
    np.testing.assert_allclose(other["fit"], one["fit"])
    assert (np.diff(other["energy"]) > 0).all()


def test_places_are_numbered_in_the_map_and_regions_outlined(stack, unmixed, references):
    region = (stack[0] > -9).drop_vars("energy") & (stack.x > 0.25)
    figure = spectra_with_fit(stack, unmixed, references, at=[(0.1, 0.2), (0.3, 0.0)], regions={"right": region})
    place = figure.axes[0]
    assert [text.get_text() for text in place.texts] == ["1", "2"]
    marks = [tuple(line.get_xydata()[0]) for line in place.lines if line.get_marker() == "o"]
    assert marks == [(0.2, 0.1), (0.0, 0.3)]
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["1: y 0.1 µm, x 0.2 µm", "2: y 0.3 µm, x 0 µm", "right: mean of 8 px"]
    (edges,) = [one for one in place.collections if one.get_gid() == "edges"]
    lengths = [np.linalg.norm(end - start) for start, end in edges.get_segments()]
    assert sum(lengths) == pytest.approx(2 * (0.2 + 0.4))


def test_no_place_and_too_many_are_refused(stack, unmixed, references):
    with pytest.raises(InputError, match="one to 11 places can be drawn, got 0"):
        spectra_with_fit(stack, unmixed, references)
    with pytest.raises(InputError, match="got 12"):
        spectra_with_fit(stack, unmixed, references, at=[(0.1, 0.1)] * 12)


def test_spectra_are_raised_by_what_the_label_says(references):
    ax = reference_spectra(references, offset=2.0).axes[0]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), references.values[1] + 2.0)
    assert ax.get_ylabel().replace("\n", " ") == "Optical density, each raised by 2"
    flat = reference_spectra(references).axes[0]
    np.testing.assert_allclose(flat.lines[1].get_ydata(), references.values[1])


def test_references_of_different_energies_and_of_one_energy_are_drawn(references):
    mixed = {"whole": references[0], "short": references[1, 3:5], "one": references[1, 2:3]}
    ax = reference_spectra(mixed, energies=[708.0]).axes[0]
    assert [len(line.get_xdata()) for line in ax.lines[:3]] == [8, 2, 1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["whole", "short", "one"]


def test_clusters_are_named_with_what_they_match_and_missing_pixels_are_white(stack):
    groups = spectral.cluster(stack, 2, minimum_thickness=0.0)
    groups["label"][0, 0] = 255
    figure = cluster_map(groups, matches=["reduced 0.8 + oxidized 0.2", "no reference"])
    names = [str(name) for name in groups["component"].values]
    texts = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert texts == [f"{names[0]}: reduced 0.8 + oxidized 0.2", f"{names[1]}: no reference"]
    assert figure.axes[0].images[0].get_array()[0, 0, 3] == 0
    assert figure.axes[0].get_xlabel() == "white: 5 % in no cluster"
    with pytest.raises(InputError, match="one match per cluster is needed, got 1 for 2"):
        cluster_map(groups, matches=["reduced"])


def test_a_cluster_and_its_spectrum_have_one_color(stack):
    from matplotlib.colors import to_rgb

    groups = spectral.cluster(stack, 3, minimum_thickness=0.0)
    figure = cluster_map(groups)
    pixels = figure.axes[0].images[0].get_array()
    for number in range(3):
        line = figure.axes[1].lines[number]
        np.testing.assert_allclose(pixels[groups["label"].values == number][0, :3], to_rgb(line.get_color()))


def test_components_that_were_kept_are_filled(stack):
    found = spectral.components(stack, n=5)
    ax = scree_plot(found, chosen=2, noise=float(found["variance"][2])).axes[0]
    kept, left = ax.lines[1], ax.lines[2]
    assert list(kept.get_xdata()) == [1, 2]
    assert list(left.get_xdata()) == [3, 4, 5]
    assert ax.get_title() == "2 components above the noise"


def test_every_pair_of_references_is_drawn_once_and_close_ones_are_framed():
    angle = np.array([[0, 8.0, 40], [8.0, 0, 35], [40, 35, 0]])
    found = xr.DataArray(angle, dims=("component", "component_other"), coords={"component": list("abc")})
    ax = reference_collinearity(found).axes[0]
    assert [text.get_text() for text in ax.texts] == ["8.0°", "40.0°", "35.0°"]
    assert len(ax.patches) == 1
    assert ax.get_title() == "1 pair closer than 10°"
    alone = reference_collinearity(found.isel(component=[0], component_other=[0]))
    assert rgb_array(alone, dpi=40).shape[2] == 3


def test_drift_is_drawn_in_order_of_energy_with_its_interval():
    energy = ("energy", [710.0, 708.0, 709.0])
    shift = xr.DataArray([0.2, -0.2, 0.0], dims="energy", coords={"energy": energy}, attrs={"units": "um"})
    aligned = xr.Dataset({"shift_y": shift, "shift_x": -shift, "shift_sigma": xr.full_like(shift, 0.01)})
    figure = drift_plot(aligned, truth=aligned + 5.0, pixel=0.05)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[708, -0.2], [709, 0], [710, 0.2]])
    # The truth is compared without its mean, which the images cannot know.
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [-0.2, 0, 0.2], atol=1e-12)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.2 + 1.96 * 0.01)
    assert ax.get_ylabel() == "Shift [µm]"
    assert [child.get_ylabel() for child in ax.child_axes] == ["Shift [px]"]


def test_incident_intensities_of_two_origins_stand_side_by_side():
    beam = xr.DataArray([900.0, 910.0], dims="energy", coords={"energy": [700.0, 701.0]}, attrs={"units": "counts"})
    ax = i0_plot({"region": beam, "file": 1.1 * beam}, sigma=0 * beam + 3.0, dark=12.0).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["region", "file", "dark"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [990, 1001])


def test_errors_against_the_number_of_energies_leave_out_what_is_not_determined(references):
    rows = [(k, choice, quantity, name, 0.3 / k) for k in (2, 3) for choice in ("optimal", "random")
            for quantity, name in (("lithiation", ""), ("weight", "reduced"), ("weight", "oxidized"))]  # fmt: skip
    rows.append((8, "all", "lithiation", "", 0.2))
    table = pd.DataFrame(rows, columns=["k", "choice", "quantity", "component", "sigma"])
    table = table.assign(low=table["sigma"], high=table["sigma"])
    table.loc[table["k"].eq(2) & table["choice"].eq("random"), ["sigma", "low", "high"]] = np.inf
    figure = energy_choice(references, spectral.select_energies(references, 3), errors=table)
    assert figure.axes[0].get_title() == "3 energies chosen"
    ax = figure.axes[1]
    assert ax.get_ylabel().replace("\n", " ") == "Predicted error of the lithiation"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["optimal", "random", "all 8"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[2, 0.15], [3, 0.1]])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [np.nan, 0.1])
    weights = energy_choice(references, [708.0], errors=table, quantity="weight", component="reduced").axes[1]
    assert weights.get_ylabel().replace("\n", " ") == "Predicted error of the reduced"
    with pytest.raises(InputError, match="Did you mean 'reduced'"):
        energy_choice(references, [708.0], errors=table, quantity="weight", component="reducd")
    with pytest.raises(InputError, match="Did you mean 'lithiation'"):
        energy_choice(references, [708.0], errors=table, quantity="lithiatoin")


def test_an_error_of_zero_is_drawn_on_a_scale_that_has_a_zero(references):
    """Of one phase the lithiation is known without measuring; a warning would be an error here."""
    rows = {"k": [2, 3], "choice": "optimal", "quantity": "lithiation", "component": "", "sigma": 0.0}
    figure = energy_choice(references[:1], [708.0], errors=pd.DataFrame({**rows, "low": 0.0, "high": 0.0}))
    figure.canvas.draw()
    assert figure.axes[1].get_yscale() == "linear"


def test_ways_to_choose_energies_have_a_row_of_marks_each(references):
    figure = energy_choice(references, {"optimal": [708.0, 709.0], "expert": [705.0, 708.0, 730.0]})
    rows = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert [list(row.get_xdata()) for row in rows] == [[708, 709], [705, 708, 730]]
    with pytest.raises(InputError, match="chosen must be at least one finite energy"):
        energy_choice(references, [])


def test_frames_follow_the_energies_with_one_scale_and_one_size(stack, references):
    back = stack.isel(energy=slice(None, None, -1))
    forward = energy_frames(stack, references, energies=[705.0, 709.0, 730.0], dpi=50)
    again = energy_frames(back, references, energies=[730.0, 709.0, 705.0], dpi=50)
    assert len({frame.shape for frame in forward}) == 1
    for one, other in zip(forward, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (forward[0] != forward[1]).any()


def test_long_stacks_are_thinned_to_frames_that_keep_both_ends(stack, monkeypatch):
    from operando.report import spectral_movies

    monkeypatch.setattr(spectral_movies, "_FRAMES", 3)
    thinned = energy_frames(stack, dpi=40)
    chosen = energy_frames(stack, energies=[705.0, 710.5, 730.0], dpi=40)
    assert len(thinned) == 3
    assert thinned[0].shape == chosen[0].shape


def test_a_movie_is_small(stack, tmp_path):
    path = energy_movie(stack, tmp_path / "edge.webp", energies=[705.0, 708.0, 709.0], dpi=60)
    assert path.stat().st_size < 50_000


def test_amplitude_and_phase_of_a_complex_image_are_told_apart():
    amplitude = np.linspace(1, 2, 12).reshape(3, 4)
    image = xr.DataArray(amplitude * np.exp(0.3j), dims=("y", "x"))
    first, second = _main(complex_image(image))
    np.testing.assert_allclose(first.images[0].get_array(), amplitude)
    np.testing.assert_allclose(second.images[0].get_array(), 0.3)
    assert second.images[0].cmap.name == "gray"
    turn = xr.DataArray(np.exp(1j * np.linspace(-3, 3, 12)).reshape(3, 4), dims=("y", "x"))
    wide = _main(complex_image(turn))[1].images[0]
    assert wide.cmap.name == "twilight"
    assert wide.get_clim() == (-np.pi, np.pi)


def test_complex_images_of_many_energies_are_thinned_and_real_ones_refused():
    stack = xr.DataArray(np.ones((9, 3, 4), complex), dims=("energy", "y", "x"), coords={"energy": np.arange(9.0)})
    titles = [ax.get_title() for ax in _main(complex_image(stack))]
    assert titles[:4] == ["0.0 eV", "3.0 eV", "5.0 eV", "8.0 eV"]
    with pytest.raises(InputError, match="an image of complex numbers is needed, got float64"):
        complex_image(stack.real)
    with pytest.raises(InputError, match="at most 6 energies"):
        complex_image(stack, energies=range(7))


def test_the_figures_leave_the_settings_of_the_caller_alone(references):
    import matplotlib as mpl

    before = mpl.rcParams["font.size"]
    energy_choice(references, pd.Series([708.0]))
    assert mpl.rcParams["font.size"] == before
