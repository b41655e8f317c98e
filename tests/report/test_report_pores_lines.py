import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.errors import AxesError, InputError
from operando.core.quantities import quantity_table
from operando.report import porosity_by_depth, porosity_by_step, porosity_distributions, rgb_array

STEPS = ["pristine", "plate 1", "strip 1"]
VALUES = {"low": [0.03, 0.02, 0.05], "high": [0.03, 0.05, 0.01]}


def _table(scale=1.0, sigma=0.002):
    table = quantity_table(
        {"scan": scan, "component": name, "quantity": "near-interface porosity", "value": scale * value,
         "sigma": sigma, "unit": "1"}
        for name, values in VALUES.items()
        for scan, value in enumerate(values)
    )  # fmt: skip
    table.attrs["plating_side"] = "low"
    return table


def _by_step(tables, **options):
    return porosity_by_step(tables, quantity="near-interface porosity", steps=STEPS, **options)


def _line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_each_electrode_has_a_panel_with_its_values():
    top, bottom = _by_step({"network": _table()}).axes
    assert [ax.get_title(loc="left") for ax in (top, bottom)] == ["Top electrode", "Bottom electrode"]
    np.testing.assert_allclose(_line(top, "network").get_ydata(), VALUES["high"])
    np.testing.assert_allclose(_line(bottom, "network").get_ydata(), VALUES["low"])


def test_a_method_of_another_level_gets_panels_of_its_own():
    figure = _by_step({"truth": _table(sigma=np.nan), "network": _table(), "Otsu": _table(8)})
    assert len(figure.axes) == 4
    assert {line.get_label() for line in figure.axes[0].lines} >= {"truth", "network"}
    assert _line(figure.axes[2], "Otsu").get_ydata().max() == pytest.approx(0.4)
    assert figure.axes[0].get_ylim()[1] < 0.1


def test_a_method_alone_is_not_set_apart():
    assert len(_by_step({"Otsu": _table()}).axes) == 2


def test_shades_of_the_electrodes_are_exchanged():
    top, bottom = _by_step({"network": _table()}).axes
    shades = [[patch.get_facecolor() for patch in ax.patches] for ax in (top, bottom)]
    assert shades[0] == shades[1][::-1]


def test_the_legend_explains_methods_interval_and_shades():
    texts = [t.get_text() for t in _by_step({"truth": _table(), "network": _table()}).legends[0].get_texts()]
    assert texts == ["truth", "network", "95 % interval", "plating", "stripping"]


def test_missing_names_and_rows_are_refused():
    with pytest.raises(InputError, match="got 1 names for 3 scans"):
        porosity_by_step({"network": _table()}, quantity="near-interface porosity", steps=STEPS[:1])
    with pytest.raises(InputError, match="Did you mean 'near-interface porosity'"):
        porosity_by_step({"network": _table()}, quantity="near interface porosity", steps=STEPS)
    with pytest.raises(InputError, match="rows of one of bulk"):
        _by_step({"network": _table()}, components=["bulk"])
    with pytest.raises(InputError, match="at least one table"):
        _by_step({})


@pytest.fixture
def profile():
    depth = ("depth", [5.0, 15.0, 25.0], {"units": "um"})
    values = np.array([[0.05, 0.03, 0.02], [0.08, 0.03, 0.02], [0.02, 0.02, np.nan]])
    both = np.stack([values, values[:, ::-1]], axis=1)
    coords = {"component": ["low", "high"], "depth": depth, "step": ("t", STEPS)}
    made = xr.DataArray(both, dims=("t", "component", "depth"), coords=coords, attrs={"plating_side": "low"})
    return made.assign_coords(sigma=(made.dims, np.full(both.shape, 0.005)))


def test_depth_profiles_have_a_line_per_step_in_the_same_color_for_the_same_deed(profile):
    top, bottom = porosity_by_depth(profile).axes
    np.testing.assert_allclose(_line(bottom, "strip 1").get_ydata(), [0.02, 0.02, np.nan])
    assert _line(bottom, "strip 1").get_color() == _line(top, "plate 1 (strips here)").get_color()
    assert top.get_xlabel() == "Depth from the interface [µm]"


def test_depth_profiles_have_bands_where_sigma_is_known(profile):
    assert len(porosity_by_depth(profile).axes[0].collections) == 3
    assert not porosity_by_depth(profile.drop_vars("sigma")).axes[0].collections


def test_one_uncertain_bin_does_not_flatten_the_profile(profile):
    wild = profile.copy()
    wild.coords["sigma"][0, 0, 2] = 1.0
    assert porosity_by_depth(wild).axes[0].get_ylim()[1] < 0.2


def test_profiles_without_depth_are_refused(profile):
    with pytest.raises(AxesError, match="depth"):
        porosity_by_depth(profile.isel(depth=0))


def _fit(means):
    return pd.DataFrame({"weight": 1 / len(means), "mean": means, "sigma": 0.005, "modes": len(means)})


@pytest.fixture
def tiles():
    values = np.random.default_rng(0).normal(0.04, 0.01, (3, 6, 8))
    return xr.DataArray(values, dims=("t", "y", "x"), coords={"step": ("t", STEPS)}, name="porosity")


def test_distributions_of_all_steps_share_their_axes(tiles):
    figure = porosity_distributions(tiles, modes={(1, ""): _fit([0.03, 0.05])})
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["pristine", "plate 1: 2 modes", "strip 1"]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_the_sum_of_the_modes_has_the_area_of_a_density(tiles):
    figure = porosity_distributions(tiles, modes={(0, ""): _fit([0.035, 0.045])})
    x, y = figure.axes[0].lines[-1].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.03)


def test_unknown_tiles_are_left_out_and_all_unknown_is_refused(tiles):
    assert rgb_array(porosity_distributions(tiles.where(tiles > 0.03)), dpi=40).std() > 3
    with pytest.raises(InputError, match="at least one tile must be known"):
        porosity_distributions(tiles * np.nan)


def test_mixtures_without_their_columns_are_refused(tiles):
    with pytest.raises(InputError, match=r"missing \['sigma'\]"):
        porosity_distributions(tiles, modes={(0, ""): _fit([0.03]).drop(columns="sigma")})


def test_tiles_that_are_all_alike_are_drawn(tiles):
    assert rgb_array(porosity_distributions(tiles * 0 + 0.03), dpi=40).std() > 3


def test_tables_of_simulated_cells_say_so():
    table = _table()
    table.attrs["simulated"] = True
    assert _by_step({"network": table}).get_suptitle() == "simulated"
    assert isinstance(table, pd.DataFrame)
