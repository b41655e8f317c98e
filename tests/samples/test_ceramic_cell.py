"""The simulated lithium | ceramic | lithium cell: its account of lithium, its currents, its pores, its gray."""

import json

import numpy as np
import pytest
from scipy.ndimage import laplace
from scipy.stats import spearmanr

from operando.core.axes import spacing
from operando.core.errors import InputError
from operando.core.phases import CERAMIC_CELL
from operando.samples import ceramic_cell
from operando.samples.ceramic_cycling import LARGEST_RELATIVE
from operando.samples.ceramic_structure import Ceramic, local_flux, make_ceramic

FARADAY, MOLAR_VOLUME = 96485.33212, 12.998
OFF = dict.fromkeys(
    ("blur", "fringes", "halo", "rings", "shading", "drift", "noise", "noise_correlation", "voltage_noise_v"), 0.0
)
LITHIUM, PORE, CERAMIC, CLEAR = (CERAMIC_CELL[n] for n in ("electrode", "pore", "electrolyte", "electrolyte_pore"))


@pytest.fixture(scope="module")
def cell():
    return ceramic_cell((64, 48, 48), steps=5, seed=3100)


@pytest.fixture(scope="module")
def bare():
    return ceramic_cell((64, 48, 48), steps=3, seed=3101, **OFF)


def relative(cell, step, side):
    """Local over mean current."""
    current = cell.current_density[step].sel(component=side).values
    return current / current.mean()


def test_variables_dims_units_and_types_are_those_of_the_contract(cell):
    assert cell.image.dims == cell.labels.dims == ("t", "z", "y", "x")
    assert (cell.image.dtype, cell.labels.dtype, cell.grains.dtype) == (np.float32, np.uint8, np.int32)
    assert spacing(cell.image) == {"z": 3.0, "y": 3.0, "x": 3.0}
    assert cell.step.values.tolist() == ["pristine", "plate 1", "strip 1", "plate 2", "strip 2"]
    assert cell.t.attrs["units"] == cell.current_t.attrs["units"] == "h"
    assert cell.boundaries_um.dims == ("t", "boundary", "y", "x")
    assert cell.boundary.values.tolist() == ["low collector", "low interface", "high interface", "high collector"]
    assert cell.current_density.dims == ("t", "component", "y", "x")
    assert cell.component.values.tolist() == ["low", "high"]
    assert cell.current_density.attrs["units"] == "mA cm-2"
    assert cell.image.attrs["plating_side"] == "low"
    assert cell.attrs["simulated"] is True
    CERAMIC_CELL.check(cell.labels)
    assert json.loads(cell.attrs["provenance"])["parameters"]["seed"] == 3100


def test_lithium_of_every_column_changes_by_what_faraday_says(cell):
    seconds = np.diff(cell.t.values) * 3600
    arrived = cell.current_density[1:].values * 1e-3 * seconds[:, None, None, None] / FARADAY * MOLAR_VOLUME * 1e4
    np.testing.assert_allclose(np.diff(cell.lithium_um.values, axis=0), arrived, rtol=0, atol=1e-10)


def test_thickness_is_lithium_and_pores_and_the_interface_stays(cell):
    heights = cell.boundaries_um.values.astype(float)
    thickness = np.stack([heights[:, 1] - heights[:, 0], heights[:, 3] - heights[:, 2]], axis=1)
    np.testing.assert_allclose(thickness, (cell.lithium_um + cell.pore_um).values, atol=1e-4)
    assert np.ptp(heights[:, 1:3], axis=0).max() == 0


def test_what_one_electrode_loses_the_other_gains_and_a_cycle_gives_it_back(cell):
    lithium = cell.lithium_um3.values
    np.testing.assert_allclose(np.diff(lithium[:, 0]), -np.diff(lithium[:, 1]), rtol=1e-9)
    np.testing.assert_allclose(lithium[2::2], lithium[[0, 0]], rtol=1e-12)
    assert (np.diff(lithium[:, 0]) * [1, -1, 1, -1] > 0).all()


def test_the_mean_of_every_map_is_the_applied_current(cell):
    time, current = cell.current_t.values, cell.current_ma.values
    for step in range(1, 5):
        begin, end = float(cell.t[step - 1]), float(cell.t[step])
        within = (time >= begin) & (time <= end)
        charge = np.trapezoid(current[within], time[within])
        held = np.sum(current[within][:-1] * np.diff(time[within]))
        assert held == pytest.approx(charge, rel=1e-9)
        mean = charge / (end - begin) / cell.attrs["area_cm2"]
        for side, sign in (("low", 1), ("high", -1)):
            assert float(cell.current_density[step].sel(component=side).mean()) == pytest.approx(sign * mean, rel=1e-9)
        assert abs(charge) / cell.attrs["area_cm2"] == pytest.approx(cell.attrs["capacity_mah_cm2"], rel=1e-9)
    assert np.isnan(cell.current_density[0]).all()
    np.testing.assert_array_equal(current[np.isin(time, cell.t.values)], 0)


def test_the_second_cycle_has_the_higher_current(cell):
    assert cell.attrs["step_current_density_ma_cm2"] == [0.0, 0.2, -0.2, 0.8, -0.8]
    np.testing.assert_allclose(np.diff(cell.t.values)[:2] / np.diff(cell.t.values)[2:], 4, rtol=1e-9)


def test_no_place_carries_more_than_the_bound(cell):
    strong = ceramic_cell((48, 36, 36), steps=2, seed=3, strength=10, heterogeneity=0.6)
    for made in (cell, strong):
        assert relative(made, 1, "low").max() <= LARGEST_RELATIVE * 1.001
        assert relative(made, 1, "low").min() >= 0


def test_labels_agree_with_the_boundaries_within_half_a_voxel(cell):
    labels, heights = cell.labels.values, cell.boundaries_um.values
    steel = labels == CERAMIC_CELL["collector"]
    half = labels.shape[1] // 2
    low = steel[:, :half].sum(axis=1) * 3.0 - 1.5
    high = (labels.shape[1] - steel[:, half:].sum(axis=1)) * 3.0 - 1.5
    first = np.argmax(np.isin(labels, [CERAMIC, CLEAR]), axis=1) * 3.0 - 1.5
    last = (labels.shape[1] - np.argmax(np.isin(labels, [CERAMIC, CLEAR])[:, ::-1], axis=1)) * 3.0 - 1.5
    for found, boundary in zip((low, first, last, high), range(4), strict=True):
        assert np.abs(found - heights[:, boundary]).max() <= 1.5 + 1e-3


def test_pores_in_the_labels_are_those_of_the_account(cell):
    half = cell.sizes["z"] // 2
    for side, part in enumerate((slice(0, half), slice(half, None))):
        pores = (cell.labels[:, part] == PORE).sum(("z", "y", "x")).values
        np.testing.assert_array_equal(pores * 27.0, cell.pore_um3[:, side].values)
        columns = cell.pore_um[:, side].sum(("y", "x")).values * 9.0
        np.testing.assert_allclose(columns, cell.pore_um3[:, side], rtol=1e-12)


def test_stripping_opens_pores_near_the_interface_and_plating_closes_them(cell):
    near = cell.porosity_near_interface.values
    assert (np.diff(near[:, 0]) * [-1, 1, -1, 1] > 0.01).all()
    assert (np.diff(near[:, 1]) * [1, -1, 1, -1] > 0.01).all()
    assert (near[0] > cell.porosity.values[0]).all()
    assert near[4, 0] > near[2, 0]


def test_voids_are_where_much_lithium_left(cell):
    opened = (cell.pore_um[2] - cell.pore_um[1]).sel(component="low").values
    left = -relative(cell, 2, "low")
    assert spearmanr(opened.ravel(), -left.ravel())[0] > 0.8
    hot = left < np.quantile(left, 0.2)
    labels = cell.labels.values
    grown = ((labels[2] == PORE) & (labels[1] == LITHIUM))[: labels.shape[1] // 2].sum(axis=0)
    assert grown[hot].mean() > 1.5 * grown[~hot].mean()


def test_void_share_is_the_bias_of_a_current_from_thickness(cell):
    thickness = (cell.lithium_um + cell.pore_um).sum(("y", "x")).diff("t")
    lithium = cell.lithium_um.sum(("y", "x")).diff("t")
    np.testing.assert_allclose((thickness / lithium).values, 1 - cell.void_share[1:].values, rtol=1e-9)
    assert (cell.void_share[1:] > 0).all()


def test_without_pores_and_voids_thickness_alone_gives_the_current():
    dense = ceramic_cell((48, 24, 24), steps=3, seed=4, lithium_porosity=0, void_share=0, **OFF)
    assert not (dense.labels == PORE).any()
    np.testing.assert_array_equal(dense.pore_um, 0)
    assert (dense.void_share[1:] == 0).all()


def test_strength_decides_whether_current_follows_the_flux_through_the_ceramic():
    found = {}
    for strength in (0.0, 1.0, 4.0):
        made = ceramic_cell((48, 48, 48), steps=2, seed=3102, strength=strength)
        flux = made.relative_flux.values
        pairs = zip(("low", "high"), flux, strict=True)
        found[strength] = [np.corrcoef(relative(made, 1, side).ravel(), r.ravel())[0, 1] for side, r in pairs]
        assert relative(made, 1, "low").std() > 0.08
    assert np.abs(found[0.0]).max() < 0.45
    assert min(found[1.0]) > 0.5
    assert min(found[4.0]) > 0.8
    # Chance alone, so that it must vanish over several cells.
    assert abs(np.mean(found[0.0])) < 0.3


def test_current_of_strength_zero_does_not_change_with_the_ceramic():
    a = ceramic_cell((48, 24, 24), steps=2, seed=5, strength=0, porosity=0.02)
    b = ceramic_cell((48, 24, 24), steps=2, seed=5, strength=0, porosity=0.15, anisotropy=2)
    np.testing.assert_allclose(a.current_density[1], b.current_density[1], rtol=1e-12)
    c = ceramic_cell((48, 24, 24), steps=2, seed=5, strength=1, porosity=0.15)
    assert not np.allclose(b.current_density[1], c.current_density[1], rtol=0.01)


def test_flux_avoids_columns_that_pores_block_and_is_even_elsewhere():
    interface = np.stack([np.full((40, 40), 10.5), np.full((40, 40), 40.5)])
    phase = np.ones((12, 40, 40), dtype=np.uint8)
    phase[:, :, 20:] = 0
    ceramic = Ceramic(interface, 3, phase, phase.astype(np.int32))
    flux, conductivity = local_flux(ceramic, voxel_size_um=3.0, boundary_conductivity=0.5)
    assert conductivity == pytest.approx(0.5, rel=4e-3)
    np.testing.assert_allclose(flux[:, :, :8], 2, rtol=1e-3)
    np.testing.assert_allclose(flux[:, :, 32:], 0, atol=1e-3)
    phase[...] = 2
    even, conductivity = local_flux(ceramic, voxel_size_um=3.0, boundary_conductivity=0.5)
    assert conductivity == pytest.approx(0.5, rel=4e-3)
    np.testing.assert_allclose(even, 1, rtol=1e-3)


def test_a_ceramic_that_pores_cut_through_is_refused():
    interface = np.stack([np.full((8, 8), 10.5), np.full((8, 8), 40.5)])
    phase = np.ones((12, 8, 8), dtype=np.uint8)
    phase[5] = 0
    with pytest.raises(InputError, match="must conduct from one side to the other"):
        local_flux(Ceramic(interface, 3, phase, phase), voxel_size_um=3.0, boundary_conductivity=0.5)


def test_a_ceramic_without_pores_and_resisting_boundaries_conducts_as_a_grain_does(bare):
    made = ceramic_cell((48, 24, 24), steps=1, seed=6, porosity=0, boundary_conductivity=1, **OFF)
    assert made.attrs["conductivity"] == pytest.approx(1, rel=0.05)
    assert 0.4 < bare.attrs["conductivity"] < 0.9


def test_ceramic_has_the_porosity_asked_for_and_it_varies_laterally(cell):
    assert float(cell.electrolyte_porosity[0]) == pytest.approx(0.05, abs=0.012)
    spread = []
    for variation in (0.9, 0.0):
        made = make_ceramic(
            (64, 144, 144),
            voxel_size_um=3.0,
            seed=3103,
            porosity=0.05,
            porosity_variation=variation,
            pore_size_um=12.0,
            grain_size_um=90.0,
            anisotropy=1.0,
        )
        tiles = (made.phase == 0).mean(axis=0).reshape(12, 12, 12, 12).mean(axis=(1, 3))
        spread.append(tiles.std() / tiles.mean())
    assert spread[0] > 1.4 * spread[1]
    assert spread[0] > 0.5


def test_transparent_ceramic_rises_on_stripping_falls_on_plating_and_goes_deeper_at_higher_current(cell):
    interface = cell.electrolyte_porosity_interface.values
    assert (np.diff(interface, axis=0) * np.array([[-1], [1], [-1], [1]]) > 0).all()
    assert (np.diff(cell.electrolyte_porosity.values) * [-1, 1, -1, 1] > 0).all()
    deep = cell.electrolyte_porosity_bulk.values
    assert deep[4] - deep[0] > deep[2] - deep[0] > 0


def test_grains_fill_the_ceramic_and_nothing_else(cell):
    labels, grains = cell.labels.values[0], cell.grains.values
    assert (grains[labels == CERAMIC] > 0).all()
    assert (grains[np.isin(labels, [LITHIUM, PORE, CERAMIC_CELL["collector"]])] == 0).all()
    assert (grains[labels == CLEAR] == 0).mean() > 0.5


def test_anisotropy_elongates_the_pores_of_the_ceramic_along_x():
    made = ceramic_cell((48, 72, 72), steps=1, seed=7, cracks=0, anisotropy=2, **OFF)
    pore = made.labels.values[0] == CLEAR
    ends = [np.count_nonzero(np.diff(pore, axis=axis)) for axis in (1, 2)]
    assert ends[0] > 1.6 * ends[1]


def test_seed_decides_everything_and_the_other_side_is_the_mirror_of_names_only(cell):
    again = ceramic_cell((64, 48, 48), steps=5, seed=3100)
    np.testing.assert_array_equal(cell.image, again.image)
    np.testing.assert_array_equal(cell.labels, again.labels)
    turned = ceramic_cell((64, 48, 48), steps=2, seed=3100, plating_side="high")
    assert turned.step.values.tolist() == ["pristine", "plate 1"]
    assert float(turned.lithium_um3.diff("t").sel(component="high")[0]) > 0
    np.testing.assert_allclose(turned.current_density[1], -cell.current_density[1], rtol=1e-12)


def test_more_steps_continue_the_same_experiment(cell):
    shorter = ceramic_cell((64, 48, 48), steps=2, seed=3100, critical_current_ma_cm2=None)
    np.testing.assert_array_equal(shorter.labels, cell.labels[:2])


def test_gray_of_pure_voxels_is_that_of_the_phase_and_boundaries_are_partial_volumes(bare):
    gray = {"electrolyte": 1.0, "electrode": 0.18, "pore": 0.08, "collector": 1.3, "electrolyte_pore": 0.08}
    image, labels = bare.image.values[0], bare.labels.values[0]
    for name, level in gray.items():
        here = labels == CERAMIC_CELL[name]
        assert np.median(image[here]) == pytest.approx(level, abs=1e-5)
    # The steel of a column is its gray above lithium's, pores aside.
    column = np.argwhere(~np.isin(labels, [PORE, CLEAR]).any(axis=0))[0]
    line = image[:20, column[0], column[1]]
    steel = float(bare.boundaries_um[0, 0, column[0], column[1]] + 1.5) / 3
    ceramic = 20 - float(bare.boundaries_um[0, 1, column[0], column[1]] + 1.5) / 3
    assert line.sum() == pytest.approx(1.3 * steel + 1.0 * ceramic + 0.18 * (20 - steel - ceramic), rel=1e-4)


def test_a_given_gray_replaces_the_usual_one():
    made = ceramic_cell((48, 24, 24), steps=1, gray={"electrode": 0.5}, **OFF)
    assert np.median(made.image.values[made.labels.values == LITHIUM]) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("effect", ["blur", "fringes", "halo", "rings", "shading", "noise"])
def test_every_effect_of_the_camera_changes_the_image_and_no_label(bare, effect):
    made = ceramic_cell((64, 48, 48), steps=1, seed=3101, **{**OFF, effect: 0.05 if effect != "blur" else 1.0})
    np.testing.assert_array_equal(made.labels[0], bare.labels[0])
    change = np.abs(made.image.values[0] - bare.image.values[0])
    assert 1e-3 < change.max() < 1
    if effect == "noise":
        inside = bare.labels.values[0] == CERAMIC
        assert (made.image.values[0] - bare.image.values[0])[inside].std() == pytest.approx(0.05, rel=0.05)


def test_contrast_of_pores_is_small_against_what_dense_neighbors_cast(cell):
    labels, image = cell.labels.values[2], cell.image.values[2]
    lithium = image[labels == LITHIUM]
    assert 0.02 < np.median(lithium) - np.median(image[labels == PORE]) < 2 * lithium.std()


def test_voltage_has_the_sign_of_the_current_and_rises_as_contact_is_lost():
    made = ceramic_cell((48, 24, 24), steps=3, seed=8, voltage_noise_v=0)
    on = made.current_ma.values != 0
    np.testing.assert_array_equal(np.sign(made.voltage_v.values[on]), np.sign(made.current_ma.values[on]))
    first = made.voltage_v.values[(made.current_t.values > 0) & (made.current_t.values < float(made.t[1]))]
    assert first[-2] > first[60] > 0
    assert np.isnan(made.attrs["short_h"])


def test_the_cell_shorts_in_the_last_step_where_its_current_is_above_the_critical_one():
    shorted = ceramic_cell((48, 24, 24), steps=4, seed=9, voltage_noise_v=0)
    sound = ceramic_cell((48, 24, 24), steps=4, seed=9, voltage_noise_v=0, critical_current_ma_cm2=None)
    assert shorted.attrs["short_step"] == "plate 2"
    assert shorted.attrs["short_current_density_ma_cm2"] == 0.8
    onset = shorted.attrs["short_h"]
    assert float(shorted.t[2]) < onset < float(shorted.t[3])
    before = shorted.current_t.values < onset
    np.testing.assert_array_equal(shorted.voltage_v.values[before], sound.voltage_v.values[before])
    ratio = shorted.voltage_v.values[~before][:-1] / sound.voltage_v.values[~before][:-1]
    assert np.median(ratio) == pytest.approx(0.2, rel=0.1)
    assert np.abs(laplace(ratio)).std() > 0.01
    np.testing.assert_array_equal(shorted.labels, sound.labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (40, 24, 24)}, r"shape must be three whole numbers \(z, y, x\), at least \(48, 24, 24\)"),
        ({"steps": 0}, r"steps must be a whole number of at least 1, got 0"),
        ({"seed": -1}, r"seed must be a whole number of at least 0, got -1"),
        ({"plating_side": "top"}, r"plating_side must be 'low' or 'high'.*got 'top'"),
        ({"strength": -1}, r"strength must be from 0 \(off\) to 20, got -1"),
        ({"porosity": 5}, r"porosity must be from 0 \(off\) to 0.3, got 5"),
        ({"capacity_mah_cm2": 9}, r"capacity_mah_cm2 must be positive and at most .* got 9"),
        ({"current_density_ma_cm2": (0.2, -1)}, r"current_density_ma_cm2 must be positive"),
        ({"gray": {"lithium": 1}}, r"gray names 'lithium', which is no phase"),
        ({"voxel_size_um": 0}, r"voxel_size_um must be one positive number, got 0"),
        ({"pore_size_um": 3}, r"pore_size_um must be at least two voxel edges"),
        ({"anisotropy": 0}, r"anisotropy must be one positive number"),
    ],
)
def test_errors_say_what_must_hold_and_what_was_got(arguments, message):
    with pytest.raises(InputError, match=message):
        ceramic_cell(**{"shape": (48, 24, 24), "steps": 2, **arguments})
