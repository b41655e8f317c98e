import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.core.phases import CERAMIC_CELL
from operando.core.quantities import quantity_table
from operando.report import electrolyte_depth, electrolyte_porosity, flux_field, microstructure_factors

STEPS = ["pristine", "plate 1", "strip 1"]


@pytest.fixture
def profile():
    values = 1 + 0.1 * np.arange(12.0).reshape(3, 4)
    coords = {"depth": ("depth", [18.0, 54.0, 90.0, 126.0], {"units": "um"}), "step": ("t", STEPS)}
    return xr.DataArray(values, dims=("t", "depth"), coords=coords)


def test_steps_are_columns_and_depth_grows_downward(profile):
    ax = electrolyte_depth(profile).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == STEPS
    assert ax.get_ylim() == (144.0, 0.0)
    np.testing.assert_allclose(ax.collections[0].get_array(), profile.values.T)


def test_a_position_along_z_grows_upward(profile):
    low, high = electrolyte_depth(profile.rename(depth="z")).axes[0].get_ylim()
    assert low < high


def test_normalized_porosity_is_colored_evenly_about_one(profile):
    low, high = electrolyte_depth(profile).axes[0].collections[0].get_clim()
    assert (low + high) / 2 == pytest.approx(1.0)
    assert high == pytest.approx(2.1)


def test_both_interfaces_share_the_scale(profile):
    both = xr.concat([profile, profile * 1.5], dim="component").assign_coords(component=["low", "high"])
    top, bottom = electrolyte_depth(both).axes[:2]
    assert [ax.get_title(loc="left") for ax in (top, bottom)] == ["Top interface", "Bottom interface"]
    assert top.collections[0].get_clim() == bottom.collections[0].get_clim()


def test_maps_instead_of_profiles_are_refused(profile):
    with pytest.raises(AxesError, match="depth or z"):
        electrolyte_depth(profile.rename(depth="y"))


def _table(truth=0.0):
    values = {"low": [0.06, 0.05, 0.07], "bulk": [0.05] * 3, "high": [0.06, 0.07, 0.05]}
    return quantity_table(
        {"scan": scan, "component": name, "quantity": "porosity", "value": value + truth, "sigma": 0.001, "unit": "1"}
        for name, many in values.items()
        for scan, value in enumerate(many)
    )


def test_bulk_and_both_interfaces_are_told_apart():
    figure = electrolyte_porosity(_table(), quantity="porosity", steps=STEPS, plating_side="low")
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    assert texts == [
        "top interface",
        "bulk",
        "bottom interface",
        "bottom electrode plates",
        "bottom electrode strips",
    ]


def test_the_truth_is_drawn_as_circles():
    figure = electrolyte_porosity(_table(), quantity="porosity", steps=STEPS, truth=_table(0.001))
    assert "truth" in [t.get_text() for t in figure.legends[0].get_texts()]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(hollow[1].get_ydata(), 0.051)


def test_lines_may_go_into_axes_of_the_caller():
    ax = electrolyte_porosity(_table(), quantity="porosity", steps=STEPS).axes[0]
    figure = electrolyte_porosity(_table(), quantity="porosity", steps=STEPS, ax=ax)
    assert figure is ax.figure


def test_scans_without_a_name_are_refused():
    with pytest.raises(InputError, match="a name for each of 3 scans"):
        electrolyte_porosity(_table(), quantity="porosity", steps=STEPS[:2])


def _factors(mean, spread, scans=3):
    values = mean + spread * np.linspace(-1, 1, 9)[None, None] * np.ones((scans, 3, 1))
    coords = {"component": ["x", "y", "z"]}
    return xr.DataArray(values, dims=("t", "component", "y"), coords=coords)


def _bars(ax):
    return [segment[:, 1] for bars in ax.collections for segment in bars.get_segments()]


def test_factors_show_mean_smallest_and_largest():
    figure = microstructure_factors({"conductivity": _factors(0.9, 0.05)}, steps=STEPS)
    for ax in figure.axes:
        np.testing.assert_allclose(_bars(ax), [[0.85, 0.95]] * 3)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.9)


def test_infinite_and_unknown_sub_domains_do_not_count():
    factors = _factors(0.9, 0.05)
    factors[0, :, 0], factors[0, :, -1] = np.nan, np.inf
    ax = microstructure_factors({"conductivity": factors}, steps=STEPS).axes[0]
    np.testing.assert_allclose(_bars(ax)[0], [0.8625, 0.9375])


def test_properties_are_rows_and_synthetic_domains_stand_beside():
    tomography = {"conductivity": _factors(0.9, 0.05), "modulus": _factors(0.8, 0.02)}
    synthetic = {"conductivity": _factors(0.9, 0.01), "modulus": _factors(0.8, 0.01)}
    figure = microstructure_factors(tomography, synthetic, steps=STEPS)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["Mx", "My", "Mz"]
    assert figure.axes[3].get_ylabel() == "Microstructure factor,\nYoung's modulus"
    assert len(_bars(figure.axes[0])) == 6


def test_synthetic_domains_of_one_step_are_a_band():
    figure = microstructure_factors({"modulus": _factors(0.8, 0.02)}, {"modulus": _factors(0.8, 0.01, 1)}, steps=STEPS)
    band = next(patch for patch in figure.axes[0].patches if patch.get_height() == pytest.approx(0.02))
    assert band.get_y() == pytest.approx(0.79)


def test_summaries_in_the_dataset_are_not_drawn_as_properties():
    factors = _factors(0.9, 0.05)
    whole = xr.Dataset({"conductivity": factors, "conductivity_mean": factors.mean("y")})
    assert len(microstructure_factors(whole, steps=STEPS).axes) == 3


def test_properties_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="Did you mean 'modulus'"):
        microstructure_factors({"moduli": _factors(1, 0)}, {"modulus": _factors(1, 0)}, steps=STEPS)
    with pytest.raises(InputError, match="need the dim 'component'"):
        microstructure_factors({"modulus": _factors(1, 0).isel(component=0)}, steps=STEPS)


def _field():
    values = np.zeros((3, 8, 6, 10))
    values[0], values[2] = 4.0, 3.0
    values[:, 3:5, :, 4:6] = 0.0
    return labeled_image(
        values, dims=("component", "z", "y", "x"), voxel_size_um=3.0, coords={"component": ["z", "y", "x"]}
    )


def test_the_magnitude_is_that_of_all_components_over_its_mean_where_something_flows():
    shown = flux_field(_field()).axes[0].images[0].get_array()
    assert shown.count() == 8 * 10 - 4
    np.testing.assert_allclose(shown.compressed(), 1.0)


def test_stream_lines_follow_the_current_and_not_the_order_of_the_components():
    ax = flux_field(_field().isel(x=slice(0, 4))).axes[0]
    lines = next(c for c in ax.collections if hasattr(c, "get_segments"))
    steps = np.concatenate([np.diff(segment, axis=0) for segment in lines.get_segments()])
    np.testing.assert_allclose(3 * steps[:, 1], 4 * steps[:, 0], atol=1e-3)
    assert (steps[:, 1] >= 0).all()
    assert steps[:, 1].sum() > 0


def test_pores_show_where_nothing_flows():
    labels = _field().isel(component=0, drop=True)
    labels = labels.copy(data=np.where(labels.values == 0, CERAMIC_CELL["electrolyte_pore"], 0).astype(np.uint8))
    figure = flux_field(_field(), labels, mark=(3.0, 9.0), electrode="low")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["electrolyte pore"]
    mark = next(line for line in figure.axes[0].lines if line.get_gid() == "spot width")
    assert mark.get_ydata()[0] == figure.axes[0].get_ylim()[0]


def test_fields_without_current_or_with_other_components_are_refused():
    with pytest.raises(InputError, match="a current must flow"):
        flux_field(_field() * 0)
    with pytest.raises(AxesError, match="components z, y, x"):
        flux_field(_field().assign_coords(component=["a", "b", "c"]))
