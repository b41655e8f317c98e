"""The simulated cell: conservation, Faraday's law, morphology, and each effect of the camera."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from operando.core.axes import spacing
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.samples import symmetric_cell

FARADAY_MAH_PER_UM3 = 3860 * 0.534 * 1e-12
LITHIUM = [CELL[name] for name in CELL.names_by_role("lithium")]
OFF = dict.fromkeys(
    (
        "gray_variation",
        "texture",
        "defects",
        "blur",
        "fringes",
        "rings",
        "shading",
        "drift",
        "noise",
        "noise_correlation",
        "motion_voxels",
        "motion_degrees",
    ),
    0,
)


def sides(cell: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Lithium voxels on the plating and the stripping side per scan, split where nothing ever meets."""
    labels = cell.labels.values if cell.attrs["plating_side"] == "low" else cell.labels.values[:, ::-1]
    lithium = np.isin(labels, LITHIUM)
    half = labels.shape[1] // 2
    plating = np.isin(labels, [CELL["deposited"], CELL["dendrite"]])
    plating[:, :half] |= labels[:, :half] == CELL["electrode"]
    return plating.sum((1, 2, 3)), (lithium & ~plating).sum((1, 2, 3))


@pytest.fixture(scope="module")
def cell() -> xr.Dataset:
    return symmetric_cell((64, 72, 72), scans=9, seed=1100)


@pytest.fixture(scope="module")
def bare() -> xr.Dataset:
    return symmetric_cell((48, 48, 48), scans=5, seed=1101, **OFF)


def test_variables_dims_units_and_types_are_those_of_the_contract(cell):
    assert cell.image.dims == cell.labels.dims == ("t", "z", "y", "x")
    assert cell.image.dtype == np.float32
    assert cell.labels.dtype == np.uint8
    assert spacing(cell.image) == {"z": 1.33, "y": 1.33, "x": 1.33}
    assert cell.t.attrs["units"] == cell.current_t.attrs["units"] == "h"
    assert cell.motion.shape == (9, 4, 4)
    assert cell.attrs["simulated"] is True
    assert cell.image.attrs["plating_side"] == "low"
    CELL.check(cell.labels)
    assert json.loads(cell.attrs["provenance"])["parameters"]["seed"] == 1100


@pytest.mark.parametrize(
    ("shape", "scans", "seed", "size"),
    [((40, 32, 32), 2, 1, 1.33), ((64, 30, 50), 9, 2, 1.0), ((48, 48, 40), 25, 3, 0.65), ((36, 40, 40), 30, 4, 2.0)],
)
def test_what_leaves_one_side_arrives_on_the_other_and_equals_the_charge(shape, scans, seed, size):
    cell = symmetric_cell(shape, scans=scans, seed=seed, voxel_size_um=size, **OFF)
    plating, stripping = sides(cell)
    np.testing.assert_array_equal(np.diff(plating), -np.diff(stripping))
    time, current = cell.current_t.values, cell.current_ma.values
    for scan in range(1, scans):
        within = (time >= float(cell.t[scan - 1])) & (time <= float(cell.t[scan]))
        charge = np.trapezoid(current[within], time[within])
        held = np.sum(current[within][:-1] * np.diff(time[within]))
        volume = (plating[scan] - plating[scan - 1]) * size**3
        assert charge == pytest.approx(volume * FARADAY_MAH_PER_UM3, rel=1e-9)
        assert held == pytest.approx(charge, rel=1e-9)
        assert float(cell.charge_mah[scan]) == pytest.approx(charge, rel=1e-9)
        assert float(cell.plated_um3[scan]) == float(cell.stripped_um3[scan]) == pytest.approx(abs(volume), rel=1e-12)


def test_the_first_half_of_the_intervals_charges_and_a_whole_cycle_returns_all_charge(cell):
    charge = cell.charge_mah.values
    assert charge[0] == 0
    assert (charge[1:5] > 0).all()
    assert (charge[5:] < 0).all()
    assert charge.sum() == pytest.approx(0, abs=1e-12 * charge.max())


def test_default_capacity_is_three_mah_per_cm2_where_the_polymer_has_room_for_it():
    cell = symmetric_cell((96, 24, 24), scans=2, seed=5)
    assert cell.attrs["capacity_mah_cm2"] == 3.0
    assert cell.attrs["current_density_ma_cm2"] == pytest.approx(1.5, rel=1e-3)
    thickness = float(cell.plated_um3[1]) / (24 * 24 * 1.33**2)
    assert thickness == pytest.approx(14.554, rel=1e-3)
    assert symmetric_cell((40, 24, 24), scans=1, seed=5).attrs["capacity_reduced"] is True


def test_current_is_zero_at_every_scan_and_evenly_sampled_within_a_minute(cell):
    time = cell.current_t.values
    np.testing.assert_allclose(np.diff(time), time[1] - time[0], rtol=1e-9)
    assert time[1] - time[0] <= 1 / 60
    at_scans = np.searchsorted(time, cell.t.values)
    np.testing.assert_array_equal(time[at_scans], cell.t.values)
    np.testing.assert_array_equal(cell.current_ma.values[at_scans], 0)
    assert np.ptp(cell.current_ma.values[cell.current_ma.values > 0]) < 1e-3 * cell.current_ma.values.max()


def test_voltage_follows_the_sign_of_the_current(cell):
    on = cell.current_ma.values != 0
    np.testing.assert_array_equal(np.sign(cell.voltage_v.values[on]), np.sign(cell.current_ma.values[on]))


def test_true_volumes_are_the_voxels_of_the_labels(cell):
    for name, number in CELL.items():
        voxels = (cell.labels.values == number).sum((1, 2, 3))
        np.testing.assert_allclose(cell.volume_um3.sel(component=name), voxels * 1.33**3, rtol=1e-12)


def test_inactive_lithium_is_what_a_flood_from_the_electrode_does_not_reach(cell):
    for scan in range(9):
        labels = cell.labels.values[scan]
        plating = np.isin(labels, [CELL["deposited"], CELL["dendrite"]])
        plating[:32] |= labels[:32] == CELL["electrode"]
        seed = np.zeros_like(plating)
        seed[0] = True
        reached = ndimage.binary_propagation(seed & plating, mask=plating)
        assert float(cell.inactive_um3[scan]) == pytest.approx((plating & ~reached).sum() * 1.33**3)
    assert float(cell.inactive_um3[:5].max()) == 0
    assert float(cell.inactive_um3[8]) > 0.1 * float(cell.volume_um3.sel(component="dendrite").max())


def test_lithium_that_lost_contact_never_dissolves():
    cell = symmetric_cell((48, 64, 64), scans=25, seed=1102, **OFF)
    lost = np.zeros((24, 64, 64), dtype=bool)
    for labels in cell.labels.values:
        plating = np.isin(labels[:24], [CELL["deposited"], CELL["dendrite"], CELL["electrode"]])
        assert not (lost & ~plating).any()
        parts, _ = ndimage.label(plating)
        lost = plating & ~np.isin(parts, np.unique(parts[0]))
    assert lost.any()


def test_phases_appear_when_and_where_they_should(cell):
    volume = cell.volume_um3
    for name in ("deposited", "dendrite", "pit"):
        assert float(volume.sel(component=name)[0]) == 0
        assert (volume.sel(component=name)[1:5].diff("t") > 0).all()
    assert (volume.sel(component="redeposited")[:5] == 0).all()
    assert (volume.sel(component="redeposited")[5:].diff("t") > 0).all()
    assert 0 < float(volume.sel(component="pit")[8]) < 0.6 * float(volume.sel(component="pit")[4])
    middle = cell.sizes["z"] // 2
    assert not np.isin(cell.labels[:, :middle], [CELL["pit"], CELL["redeposited"]]).any()
    assert not np.isin(cell.labels[:, 3 * middle // 2 :], [CELL["deposited"], CELL["dendrite"]]).any()


def test_coverages_are_those_of_the_published_cell():
    coverage = []
    for seed in (1103, 1104, 1105):
        cell = symmetric_cell((96, 96, 96), scans=3, seed=seed, **OFF)
        coverage.append([(cell.labels[k] == CELL["dendrite"]).any("z").mean().item() for k in (1, 2)])
        assert (cell.labels[1] == CELL["deposited"]).any("z").mean() > 0.9
        assert 0.4 < (cell.labels[1] == CELL["pit"]).any("z").mean() < 0.7
        thickness = (cell.labels[1] == CELL["deposited"]).sum("z").values
        assert np.quantile(thickness, 0.05) >= 2
        assert thickness.std() > 1.5
    half, full = np.mean(coverage, axis=0)
    assert 0.15 < half < 0.32
    assert 0.05 < full < 0.2


def test_deposit_and_pits_are_correlated_in_space_but_not_across_the_cell():
    across, near = [], []
    for seed in range(1110, 1116):
        labels = symmetric_cell((48, 64, 64), scans=2, seed=seed, **OFF).labels[1]
        deposit, pit = ((labels == CELL[name]).sum("z").values.astype(float) for name in ("deposited", "pit"))
        across.append(np.corrcoef(deposit.ravel(), pit.ravel())[0, 1])
        near.append(np.corrcoef(deposit[:, :-4].ravel(), deposit[:, 4:].ravel())[0, 1])
    assert abs(np.mean(across)) < 0.2
    assert min(near) > 0.5


def test_dendrites_keep_their_sites_while_they_grow(cell):
    dendrite = (cell.labels == CELL["dendrite"]) | (cell.labels == CELL["deposited"])
    for scan in range(1, 4):
        assert not (dendrite[scan] & ~dendrite[scan + 1]).any()


def test_plating_side_high_is_the_same_cell_upside_down():
    low = symmetric_cell((40, 32, 32), scans=3, seed=7, **OFF)
    high = symmetric_cell((40, 32, 32), scans=3, seed=7, plating_side="high", **OFF)
    np.testing.assert_array_equal(high.labels.values, low.labels.values[:, ::-1])
    xr.testing.assert_equal(high.inactive_um3, low.inactive_um3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_cell():
    one, two, other = (symmetric_cell((40, 32, 32), scans=3, seed=seed) for seed in (8, 8, 9))
    assert one.image.values.tobytes() == two.image.values.tobytes()
    assert one.labels.values.tobytes() == two.labels.values.tobytes()
    assert (one.labels.values != other.labels.values).any()


def test_scans_after_the_same_pulses_have_the_same_labels():
    few = symmetric_cell((40, 32, 32), scans=3, seed=10, **OFF)
    many = symmetric_cell((40, 32, 32), scans=25, seed=10, **OFF)
    np.testing.assert_array_equal(few.labels.values, many.labels.values[[0, 12, 24]])


def test_one_scan_is_the_pristine_cell_without_charge():
    cell = symmetric_cell((40, 32, 32), scans=1, seed=11)
    assert set(np.unique(cell.labels)) == {CELL["electrolyte"], CELL["electrode"]}
    assert (cell.current_ma == 0).all()
    assert float(cell.charge_mah[0]) == 0
    np.testing.assert_array_equal(cell.motion[0], np.eye(4))


@pytest.mark.parametrize("share", ["dendrite_share", "pit_share", "dead_share"])
def test_a_share_of_zero_removes_what_it_controls(share):
    cell = symmetric_cell((40, 40, 40), scans=3, seed=12, **{share: 0}, **OFF)
    gone = {"dendrite_share": "dendrite", "pit_share": "pit"}
    if share in gone:
        assert not (cell.labels == CELL[gone[share]]).any()
    else:
        with_death = symmetric_cell((40, 40, 40), scans=3, seed=12, **OFF)
        assert float(cell.inactive_um3[2]) < 0.5 * float(with_death.inactive_um3[2])
    plating, stripping = sides(cell)
    assert np.ptp(plating + stripping) == 0


def test_with_every_effect_off_each_phase_has_exactly_its_gray(bare):
    stated = {"electrolyte": 1.0, "electrode": 0.98, "deposited": 0.966, "dendrite": 0.966, "pit": 0.952}
    for name, gray in {**stated, "redeposited": 0.966}.items():
        values = bare.image.values[bare.labels.values == CELL[name]]
        np.testing.assert_array_equal(values, np.float32(gray))


def test_given_gray_levels_replace_the_usual_ones():
    cell = symmetric_cell((40, 32, 32), scans=2, seed=13, gray={"pit": 0.5}, **{**OFF, "gray_variation": 0.002})
    assert (cell.image.values[cell.labels.values == CELL["pit"]] == np.float32(0.5)).all()
    electrode = cell.image.values[cell.labels.values == CELL["electrode"]]
    assert np.ptp(electrode) == 0
    assert 0 < abs(electrode[0] - 0.98) <= 0.0041


@pytest.mark.parametrize("correlation", [0, 0.4, 1.0])
def test_noise_has_the_stated_standard_deviation_whatever_its_correlation(correlation):
    quiet = symmetric_cell((40, 40, 40), scans=1, seed=14, **OFF)
    noisy = symmetric_cell((40, 40, 40), scans=1, seed=14, **{**OFF, "noise": 0.01, "noise_correlation": correlation})
    noise = (noisy.image - quiet.image).values[quiet.labels.values == CELL["electrolyte"]]
    assert noise.std() == pytest.approx(0.01, rel=0.04)
    assert abs(noise.mean()) < 5e-4


def test_fringes_overshoot_a_flat_edge_of_void_by_the_stated_peak():
    gray = {"electrolyte": 1.0, "electrode": 0.952}
    kw = {**OFF, "fringes": 0.03}
    plain = symmetric_cell((64, 32, 32), scans=1, seed=15, gray=gray, **OFF)
    fringed = symmetric_cell((64, 32, 32), scans=1, seed=15, gray={**gray, "pit": 0.952}, **kw)
    overshoot = np.median((fringed.image - plain.image)[0].max("z"))
    undershoot = np.median((fringed.image - plain.image)[0].min("z"))
    assert overshoot == pytest.approx(0.03, rel=0.1)
    assert undershoot == pytest.approx(-0.03, rel=0.1)


def test_blur_spreads_an_edge_over_its_sigma():
    cell = symmetric_cell((64, 32, 32), scans=1, seed=16, gray={"electrode": 0.0}, **{**OFF, "blur": 1.5})
    profile = cell.image.values[0, 24:40].mean((1, 2))
    assert profile.min() == pytest.approx(1.0, abs=1e-3)
    column = cell.image.values[0, :32, 16, 16].astype(float)
    slope = np.diff(column)
    position = np.arange(slope.size)
    mean = (slope * position).sum() / slope.sum()
    assert np.sqrt((slope * (position - mean) ** 2).sum() / slope.sum()) == pytest.approx(1.5, rel=0.15)


def test_rings_are_circles_in_the_slices_normal_to_the_rotation_axis():
    plain = symmetric_cell((40, 48, 48), scans=2, seed=17, **OFF)
    ringed = symmetric_cell((40, 48, 48), scans=2, seed=17, **{**OFF, "rings": 0.004})
    rings = (ringed.image - plain.image).values
    np.testing.assert_allclose(rings[0], rings[1], atol=2e-7)
    assert 0.0005 < rings.std() < 0.004
    along_axis = np.corrcoef(rings[0][:, :-1].ravel(), rings[0][:, 1:].ravel())[0, 1]
    across = np.corrcoef(rings[0][:, :, :-3].ravel(), rings[0][:, :, 3:].ravel())[0, 1]
    assert along_axis > 0.8 > 0.5 > across


def test_shading_reaches_the_stated_peak_and_is_smooth():
    plain = symmetric_cell((40, 48, 48), scans=1, seed=18, **OFF)
    shaded = symmetric_cell((40, 48, 48), scans=1, seed=18, **{**OFF, "shading": 0.005})
    ratio = (shaded.image / plain.image).values[0] - 1
    assert np.abs(ratio).max() == pytest.approx(0.005, rel=1e-3)
    assert np.abs(np.diff(ratio, axis=2)).max() < 0.001


def test_drift_scales_a_whole_scan():
    plain = symmetric_cell((40, 32, 32), scans=5, seed=19, **OFF)
    drifting = symmetric_cell((40, 32, 32), scans=5, seed=19, **{**OFF, "drift": 0.003})
    ratio = (drifting.image / plain.image).values.reshape(5, -1)
    assert np.ptp(ratio, axis=1).max() < 1e-6
    assert ratio[0, 0] == 1
    assert 1e-4 < ratio[:, 0].std() < 0.02


def test_texture_and_defects_touch_only_what_they_should():
    plain = symmetric_cell((40, 40, 40), scans=2, seed=20, **OFF)
    solid = np.isin(plain.labels.values, [CELL["electrolyte"], CELL["electrode"]])
    specks = symmetric_cell((40, 40, 40), scans=2, seed=20, **{**OFF, "defects": 0.01}).image - plain.image
    assert (specks.values[~solid] == 0).all()
    assert (specks.values[solid] > 0.02).mean() == pytest.approx(0.01, rel=0.3)
    uneven = symmetric_cell((40, 40, 40), scans=2, seed=20, **{**OFF, "texture": 0.004}).image / plain.image - 1
    assert uneven.values[plain.labels.values == CELL["deposited"]].std() == pytest.approx(0.004, rel=0.25)
    assert (uneven.values[plain.labels.values == CELL["pit"]] == 0).all()


def test_motion_takes_the_cell_to_where_the_image_shows_it():
    still = symmetric_cell((48, 48, 48), scans=3, seed=21, **{**OFF, "blur": 1.0})
    moved = symmetric_cell(
        (48, 48, 48), scans=3, seed=21, **{**OFF, "blur": 1.0, "motion_voxels": 3, "motion_degrees": 2}
    )
    np.testing.assert_array_equal(moved.labels, still.labels)
    np.testing.assert_array_equal(moved.image[0], still.image[0])
    for scan in (1, 2):
        matrix = moved.motion.values[scan]
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        inner = np.stack(np.meshgrid(*[np.arange(8, 40)] * 3, indexing="ij")).reshape(3, -1)
        image_at = matrix[:3, :3] @ inner + matrix[:3, 3:] / 1.33
        shown = ndimage.map_coordinates(moved.image.values[scan].astype(float), image_at, order=3)
        expected = still.image.values[scan][tuple(inner)]
        assert np.abs(shown - expected).max() < 2e-3
        assert np.abs(moved.image.values[scan][tuple(inner)] - expected).max() > 0.01


def test_default_motion_is_a_residual_of_at_most_a_fifth_of_a_voxel(cell):
    middle = np.array([*(np.array([63, 71, 71]) / 2 * 1.33), 1.0])
    shift = (cell.motion.values @ middle - middle)[:, :3] / 1.33
    assert np.abs(shift[0]).max() == 0
    assert 0.02 < np.abs(shift).max() <= 0.2


@pytest.mark.parametrize("seed", [1120, 1121])
def test_multi_otsu_fails_on_the_default_sample_even_with_the_best_assignment(seed):
    from scipy.optimize import linear_sum_assignment
    from skimage.filters import threshold_multiotsu

    cell = symmetric_cell((96, 64, 64), scans=3, seed=seed)
    image, labels = cell.image.values[2].ravel(), cell.labels.values[2].ravel()
    for classes in (3, 4, 5):
        bins = np.digitize(image, threshold_multiotsu(image, classes=classes, nbins=64))
        table = np.zeros((6, classes))
        np.add.at(table, (labels, bins), 1)
        union = table.sum(1, keepdims=True) + table.sum(0) - table
        iou = table / np.maximum(union, 1)
        rows, columns = linear_sum_assignment(-iou)
        macro = iou[rows, columns].sum() / (table.sum(1) > 0).sum()
        assert macro < 0.45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (8, 64, 64)}, "shape must be three whole numbers"),
        ({"shape": (64, 64)}, "shape must be three whole numbers"),
        ({"scans": 0}, "scans must be a whole number of at least 1, got 0"),
        ({"scans": 2.5}, "scans must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"voxel_size_um": 0}, "voxel_size_um must be one positive number, got 0"),
        ({"plating_side": "top"}, "plating_side must be 'low' or 'high'"),
        ({"capacity_mah_cm2": 30}, "capacity_mah_cm2 must be positive and at most"),
        ({"noise": -0.1}, "noise must be from 0"),
        ({"noise": float("nan")}, "noise must be from 0"),
        ({"pit_share": 30}, "pit_share must be from 0"),
        ({"gray": {"elektrode": 1}}, "Did you mean 'electrode'"),
    ],
)
def test_an_argument_out_of_range_is_named_with_its_range(arguments, message):
    with pytest.raises(InputError, match="symmetric_cell: ") as caught:
        symmetric_cell(**{"shape": (40, 32, 32), **arguments})
    assert message in str(caught.value)
