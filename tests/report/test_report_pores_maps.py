import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.report import current_maps, porosity_changes, porosity_maps, rgb_array, tortuosity_maps

STEPS = ["plate 1", "strip 1"]


def _series(values, **attrs):
    coords = {"component": ["low", "high"], "step": ("t", STEPS[: len(values)])}
    described = {"plating_side": "low", **attrs}
    dims = ("t", "component", "y", "x")
    return labeled_image(
        np.asarray(values, dtype=float),
        dims=dims,
        voxel_size_um=36.0,
        t=range(len(values)),
        coords=coords,
        attrs=described,
    )


@pytest.fixture
def maps():
    return _series(np.random.default_rng(0).random((2, 2, 5, 7)), long_name="porosity")


def _panels(figure):
    return [ax for ax in figure.axes if ax.images]


def test_the_top_electrode_is_drawn_above_the_bottom_one(maps):
    panels = _panels(porosity_maps(maps))
    assert [ax.get_ylabel() for ax in panels] == ["Top\nelectrode", "", "Bottom\nelectrode", ""]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), maps.sel(component="high").values[0])


def test_all_panels_share_one_color_scale(maps):
    assert len({ax.images[0].get_clim() for ax in _panels(porosity_maps(maps))}) == 1
    assert len({ax.images[0].get_clim() for ax in _panels(porosity_changes(maps - 0.4))}) == 1


def test_changes_are_colored_evenly_about_zero(maps):
    low, high = _panels(porosity_changes(maps - 0.9))[0].images[0].get_clim()
    assert low == -high
    assert high == pytest.approx(np.percentile(np.abs(maps - 0.9), 99, method="higher"))


def test_panels_of_the_other_electrode_say_what_it_does(maps):
    titles = [ax.get_title() for ax in _panels(porosity_changes(maps))]
    assert titles == ["plate 1 (strips here)", "strip 1 (plates here)", "plate 1", "strip 1"]


def test_scans_can_be_chosen_from_the_end(maps):
    top = _panels(porosity_maps(maps, scans=[-1]))[0]
    assert top.get_title() == "Top electrode, strip 1 (plates here)"
    np.testing.assert_array_equal(top.images[0].get_array(), maps.sel(component="high").values[1])


def test_electrodes_of_a_single_step_stand_side_by_side(maps):
    top, bottom = _panels(porosity_maps(maps, scans=[0]))
    assert top.get_subplotspec().rowspan == bottom.get_subplotspec().rowspan
    np.testing.assert_array_equal(bottom.images[0].get_array(), maps.sel(component="low").values[0])


def test_sections_of_an_electrode_are_maps_too():
    section = labeled_image(np.eye(4)[None], dims=("t", "z", "x"), voxel_size_um=3.0)
    assert len(_panels(porosity_maps(section))) == 1


def test_volumes_are_refused():
    volume = labeled_image(np.zeros((2, 3, 3, 3)), voxel_size_um=3.0)
    with pytest.raises(AxesError, match="two of z, y, x"):
        porosity_maps(volume)


def test_what_is_simulated_is_marked(maps):
    assert porosity_maps(maps.assign_attrs(simulated=True)).get_suptitle() == "simulated"
    assert porosity_maps(maps).get_suptitle() == ""


def test_currents_of_any_strength_and_sign_share_a_scale_about_one():
    shape = 1 + 0.5 * np.linspace(-1, 1, 35).reshape(5, 7)
    j = _series(np.stack([[0.1 * shape, -0.1 * shape], [-2.0 * shape, 2.0 * shape]]))
    j.attrs["units"] = "mA cm-2"
    panels = _panels(current_maps(j, limit=0.6))
    for ax in panels:
        np.testing.assert_allclose(ax.images[0].get_array(), shape)
        assert ax.images[0].get_clim() == (0.4, 1.6)
    assert panels[0].get_title() == "plate 1, −0.1 mA cm⁻²"


def test_absolute_currents_are_colored_about_zero():
    j = _series(np.stack([[np.full((5, 7), 0.2), np.full((5, 7), -0.1)]]))
    assert _panels(current_maps(j, relative=False))[0].images[0].get_clim() == (-0.2, 0.2)


def test_a_first_scan_without_a_current_is_left_out():
    j = _series(np.stack([np.full((2, 5, 7), np.nan), np.ones((2, 5, 7))]))
    j.attrs["units"] = "mA cm-2"
    titles = [ax.get_title() for ax in _panels(current_maps(j))]
    assert titles == ["Top electrode, strip 1, 1 mA cm⁻²", "Bottom electrode, strip 1, 1 mA cm⁻²"]
    with pytest.raises(InputError, match="got only NaN"):
        current_maps(j * np.nan)


def _spots(j):
    spot = xr.zeros_like(j, dtype="int8")
    spot[0, 0, 1:3, 2:4], spot[0, 0, 4, 0] = 1, -1
    number = xr.zeros_like(j, dtype="int32")
    number[0, 0, 1:3, 2:4], number[0, 0, 4, 0] = 1, 2
    return xr.Dataset({"spot": spot, "id": number})


def test_spots_are_outlined_and_numbered_where_they_are(maps):
    figure = current_maps(maps, _spots(maps))
    bottom = _panels(figure)[2]
    places = {text.get_text(): text.get_position() for text in bottom.texts}
    assert places["2"] == (0.0, 144.0)
    x, y = places["1"]
    assert {x} <= {72.0, 108.0}
    assert {y} <= {36.0, 72.0}
    assert bottom.collections
    assert not _panels(figure)[0].collections
    assert [t.get_text() for t in figure.legends[0].get_texts()][:2] == ["hot spot", "cold spot"]


def test_outlines_enclose_the_spot_and_nothing_else(maps):
    bottom = _panels(current_maps(maps, _spots(maps)))[2]
    vertices = np.concatenate([path.vertices for path in bottom.collections[1].get_paths()])
    assert vertices.min(axis=0).tolist() == [54.0, 18.0]
    assert vertices.max(axis=0).tolist() == [126.0, 90.0]


def test_infinite_tortuosity_is_not_taken_for_missing():
    tau = _series(np.full((1, 2, 5, 7), 1.2))
    tau[0, 0, 0, 0], tau[0, 0, 0, 1] = np.inf, np.nan
    figure = tortuosity_maps(tau, limits=(1, 2))
    bottom = _panels(figure)[1]
    endless, known = bottom.images[1].get_array(), bottom.images[0].get_array()
    assert np.isfinite(endless.filled(np.nan)).sum() == 1
    assert np.ma.getmaskarray(known).sum() == 2
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["infinite: nothing leads through"]


def test_tortuosity_is_colored_from_one():
    tau = _series(1.2 + np.random.default_rng(0).random((1, 2, 5, 7)))
    low, high = _panels(tortuosity_maps(tau))[0].images[0].get_clim()
    assert low == 1.0
    assert high == pytest.approx(np.percentile(tau, 98))


def test_tortuosity_of_nothing_but_dead_ends_is_drawn():
    tau = _series(np.full((1, 2, 5, 7), np.inf))
    assert rgb_array(tortuosity_maps(tau), dpi=40).std() > 3


def test_spots_of_finer_pixels_are_outlined_on_tiles(maps):
    spot = labeled_image(np.zeros((60, 84)), dims=("y", "x"), voxel_size_um=3.0)
    spot[10:20, 10:20] = 1
    tau = maps.sel(component="low") + 1
    assert all(ax.collections for ax in _panels(tortuosity_maps(tau, spot)))


def test_spots_are_outlined_in_the_step_of_their_own_time():
    tau = _series(np.full((2, 2, 5, 7), 1.2))
    later = _spots(tau)["spot"].isel(t=[0]).assign_coords(t=[1.0])
    panels = _panels(tortuosity_maps(tau, later))
    assert [bool(ax.collections) for ax in panels] == [False, False, False, True]
