import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.report import component_maps, rgb_array


@pytest.fixture
def maps() -> xr.DataArray:
    data = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)
    return labeled_image(data, dims=("t", "y", "x"), voxel_size_um=2.0, t=[0, 1, 2], units="um", long_name="Thickness")


def _panels(figure):
    return [ax for ax in figure.axes if ax.images]


def test_all_scans_share_one_color_scale_from_zero(maps):
    limits = [ax.images[0].get_clim() for ax in _panels(component_maps(maps, "deposited"))]
    assert limits == [(0.0, pytest.approx(np.percentile(maps, 99.8)))] * 3


def test_the_color_bar_is_labeled_from_attrs(maps):
    bar = component_maps(maps, "deposited").axes[-1]
    assert bar.get_ylabel() == "Thickness, deposited [µm]"


def test_one_component_of_several_is_drawn(maps):
    both = xr.concat([maps, maps * 2], dim="component").transpose("t", "component", "y", "x")
    both = both.assign_coords(component=["deposited", "dendrite"])
    figure = component_maps(both, "dendrite", scans=[1])
    np.testing.assert_array_equal(_panels(figure)[0].images[0].get_array(), maps.values[1] * 2)
    with pytest.raises(InputError, match="Did you mean 'dendrite'"):
        component_maps(both, "dendrites")


def test_the_scale_bar_is_in_um(maps):
    ax = _panels(component_maps(maps))[0]
    (bar,) = [a for a in ax.artists if a.get_gid() == "scale bar"]
    assert bar.txt_label.get_text() == "2 µm"


def test_missing_values_are_drawn_gray_and_do_not_move_the_scale(maps):
    holed = maps.where(maps > 3)
    figure = component_maps(holed, limits=(0, 60), scans=[0])
    assert np.ma.getmaskarray(_panels(figure)[0].images[0].get_array()).sum() == 4
    assert rgb_array(figure, dpi=50).std() > 1


def test_maps_of_nothing_but_zero_are_drawn(maps):
    assert _panels(component_maps(maps * 0))[0].images[0].get_clim() == (0.0, 1.0)
