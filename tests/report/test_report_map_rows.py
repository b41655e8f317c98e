import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.report import map_rows, rgb_array, void_map


@pytest.fixture
def maps():
    values = np.arange(3 * 5 * 8, dtype=float).reshape(3, 5, 8)
    described = {"t": [0.0, 2.0, 4.0], "units": "um", "long_name": "Depth"}
    return labeled_image(values, dims=("t", "y", "x"), voxel_size_um=2.0, **described)


def test_each_row_has_one_color_scale_of_its_own(maps):
    figure = map_rows({"dendrite": maps, "deposited": maps * 10}, scans=[0, 2])
    limits = [ax.images[0].get_clim() for ax in figure.axes[:4]]
    assert limits[0] == limits[1]
    assert limits[2] == limits[3]
    assert limits[2][1] == pytest.approx(10 * limits[0][1])


def test_limits_can_be_fixed(maps):
    figure = map_rows({"pit": maps}, limits={"pit": (0.0, 7.0)})
    assert {ax.images[0].get_clim() for ax in figure.axes[:3]} == {(0.0, 7.0)}


def test_rows_may_show_different_scans(maps):
    figure = map_rows({"dendrite": maps, "pits": maps}, scans={"pits": [1]}, colors={"pits": "#56B4E9"})
    assert [ax.get_title().strip() for ax in figure.axes[:6]] == ["0.00 h", "2.00 h", "4.00 h", "2.00 h", "", ""]
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), maps.values[1])


def test_the_color_bar_says_quantity_and_unit(maps):
    assert map_rows({"pit": maps}).axes[-1].get_ylabel() == "Depth [µm]"


def test_rows_are_lettered_and_named_above_their_first_map(maps):
    figure = map_rows({"pits that redeposited lithium does not fill": maps, "dendrite": maps})
    assert figure.axes[0].texts[0].get_text() == "a   Pits that redeposited lithium does not fill"
    assert figure.axes[3].texts[0].get_text() == "b   Dendrite"


def test_a_sheet_of_few_scans_is_narrower_than_the_page(maps):
    figure = map_rows({"pit": maps}, scans=[0])
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(72.0)


def test_unknown_places_do_not_set_the_scale(maps):
    holes = maps.where(maps < 100)
    assert map_rows({"pit": holes}).axes[0].images[0].get_clim()[1] < 100
    assert rgb_array(map_rows({"pit": maps * np.nan}), dpi=40).std() > 3


def test_no_maps_are_refused():
    with pytest.raises(InputError, match="at least one row of maps"):
        map_rows({})


def test_maps_without_time_are_refused(maps):
    with pytest.raises(AxesError, match=r"missing \['t'\]"):
        map_rows({"pit": maps.isel(t=0)})


def test_the_void_map_starts_at_contact_and_names_the_shares(maps):
    figure = void_map(maps.isel(t=0), shares={"contact": 0.461, "void": 0.539})
    ax = figure.axes[0]
    assert ax.get_title() == "contact 46.1 %, void 53.9 %"
    assert ax.images[0].get_clim()[0] == 0.0
    assert figure.axes[1].get_ylabel() == "Depth [µm]"


def test_a_void_map_of_a_simulated_cell_says_so(maps):
    assert void_map(maps.isel(t=0).assign_attrs(simulated=True)).get_suptitle() == "simulated"
