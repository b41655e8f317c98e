import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, PhaseError
from operando.core.phases import CELL
from operando.morphometry import lithium_by_side, probability_moments, segmentation_sigma, volumes
from operando.samples import symmetric_cell

TWO = {"electrolyte": 0, "layer": 1}


def _probability(array, names, **attrs):
    dims = ("t", "phase", "z", "y", "x")[5 - array.ndim :]
    return labeled_image(array, dims=dims, voxel_size_um=2.0, coords={"phase": list(names)}, attrs=attrs)


def _random(seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet([1, 1, 1], size=(2, 5, 6, 7)).transpose(0, 4, 1, 2, 3).astype(np.float32)


def test_moments_are_those_of_independent_voxels():
    p, phases = _random(), {"a": 0, "b": 1, "c": 2}
    moments = probability_moments(_probability(p, phases), phases)
    assert moments["expected"].dims == ("t", "component")
    np.testing.assert_allclose(moments["expected"], 8 * p.sum(axis=(2, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(moments["doubt"], 8 * (p * (1 - p)).sum(axis=(2, 3, 4)), rtol=1e-5)
    assert {array.attrs["units"] for array in moments.values()} == {"um3"}


def test_blocks_do_not_change_the_moments():
    p, phases = _random(), {"a": 0, "b": 1, "c": 2}
    whole = probability_moments(_probability(p, phases), phases)
    lazy = _probability(p, phases).chunk({"t": 1, "phase": 1, "z": 2, "y": 4})
    xr.testing.assert_allclose(probability_moments(lazy, phases), whole)
    one = probability_moments(lazy.isel(t=1), phases)
    xr.testing.assert_allclose(one, whole.isel(t=1, drop=True))


def test_labels_and_moments_come_from_one_pass():
    p, phases = _random(), {"a": 4, "b": 1, "c": 2}
    computed = []

    def counted(block):
        computed.append(block.shape)
        return block

    data = da.from_array(p, chunks=(1, 3, 2, 6, 4)).map_blocks(counted, dtype=np.float32, meta=np.empty((0,) * 5, "f4"))
    written = {}
    moments = probability_moments(
        _probability(data, phases), phases, write=lambda labels: written.update(labels=labels.compute())
    )
    assert len(computed) == 2 * 3 * 2
    labels = written["labels"]
    assert labels.dims == ("t", "z", "y", "x")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.array([4, 1, 2])[p.argmax(axis=1)])
    np.testing.assert_allclose(labels.coords["z"], 2.0 * np.arange(5))
    xr.testing.assert_allclose(moments, probability_moments(_probability(p, phases), phases))


def test_a_writer_that_leaves_blocks_out_is_refused():
    lazy = _probability(_random(), "abc").chunk({"z": 2})
    with pytest.raises(InputError, match="must compute all 3 blocks .* got 0"):
        probability_moments(lazy, {"a": 0, "b": 1, "c": 2}, write=lambda labels: None)


def test_voxels_without_probability_are_unlabeled_and_count_for_nothing():
    p = _random()
    p[0, :, 0] = np.nan
    written = []
    moments = probability_moments(_probability(p, "abc"), {"a": 0, "b": 1, "c": 2}, write=written.append)
    assert (written[0][0, 0] == 255).all()
    assert (written[0][1] != 255).all()
    np.testing.assert_allclose(moments["expected"], 8 * np.nansum(p, axis=(2, 3, 4)), rtol=1e-5)


def test_certain_probabilities_leave_no_doubt_on_either_side():
    cell = symmetric_cell(shape=(40, 32, 32), scans=3, seed=2)
    p = np.stack([cell.labels.values == number for number in CELL.ids], axis=1).astype(np.float32)
    chances = labeled_image(p, dims=("t", "phase", "z", "y", "x"), voxel_size_um=1.33, coords={"phase": list(CELL)})
    moments = probability_moments(chances, CELL, plating_side=cell.labels.attrs["plating_side"])
    assert moments["doubt"].max() == 0
    sides = ["plating side", "stripping side"]
    np.testing.assert_allclose(moments["expected"].sel(component=sides), lithium_by_side(cell.labels, CELL), rtol=1e-6)
    np.testing.assert_allclose(moments["expected"].sel(component=list(CELL)), volumes(cell.labels, CELL), rtol=1e-6)


@pytest.mark.parametrize("plating", ["low", "high"])
def test_doubt_between_lithium_phases_is_no_doubt_of_their_side(plating):
    # Electrodes at both ends; in the middle of the plating half deposited or dendrite, nobody knows which.
    p = np.zeros((len(CELL), 12, 4, 4), np.float32)
    place = {name: k for k, name in enumerate(CELL)}
    p[place["electrolyte"]] = 1
    for planes in (slice(0, 3), slice(9, 12)):
        p[:, planes] = 0
        p[place["electrode"], planes] = 1
    doubtful = slice(3, 5) if plating == "low" else slice(7, 9)
    p[:, doubtful] = 0
    p[place["deposited"], doubtful] = p[place["dendrite"], doubtful] = 0.5
    moments = probability_moments(_probability(p, CELL, plating_side=plating), CELL)
    doubt, expected = (moments[name].to_series() for name in ("doubt", "expected"))
    assert doubt["deposited"] == doubt["dendrite"] == pytest.approx(8 * 32 * 0.25)
    assert doubt[["lithium", "plating side", "stripping side"]].tolist() == [0, 0, 0]
    assert expected[["plating side", "stripping side"]].tolist() == [8 * 16 * 5, 8 * 16 * 3]


def test_probabilities_must_name_the_phases_of_the_scheme():
    with pytest.raises(InputError, match="must name the phases"):
        probability_moments(_probability(np.ones((2, 2, 3, 4)), ["electrolyte", "lager"]), TWO)
    with pytest.raises(AxesError, match="phase"):
        probability_moments(labeled_image(np.zeros((2, 3, 4)), voxel_size_um=1.0), TWO)
    with pytest.raises(PhaseError, match="no phase 'electrode'"):
        probability_moments(
            _probability(np.ones((2, 2, 3, 4)), ["a", "dendrite"]), {"a": 0, "dendrite": 1}, plating_side="low"
        )


def test_sigma_from_doubt_adds_clumps_and_shares():
    labels = labeled_image(np.zeros((2, 4, 8, 8), np.uint8), voxel_size_um=2.0)
    names = ["electrolyte", "layer"]
    moments = xr.Dataset({"doubt": (("t", "component"), [[10.0, 30.0], [20.0, 0.0]])}, coords={"component": names})
    residuals = xr.Dataset(
        {
            "correlation_volume": ("component", [50.0, 80.0]),
            "common": ("component", [0.1, 0.2]),
            "scatter": ("component", [0.3, 0.4]),
        },
        coords={"component": names},
    )
    sigma = segmentation_sigma(labels, TWO, moments=moments, residuals=residuals)
    doubt = moments["doubt"].values
    systematic, random = doubt * [0.1, 0.2], np.sqrt(doubt * [50, 80] + (doubt * [0.3, 0.4]) ** 2)
    np.testing.assert_allclose(sigma["systematic"], systematic)
    np.testing.assert_allclose(sigma["random"], random)
    total = np.hypot(systematic, random)
    np.testing.assert_allclose(sigma["volume"], total)
    np.testing.assert_allclose(sigma["thickness"], total / (16 * 16))
    correlation = systematic[0, 0] * systematic[1, 0] / (total[0, 0] * total[1, 0])
    assert sigma["correlation"].values[1].tolist() == [pytest.approx(correlation), 0]


def test_a_component_that_is_absent_has_an_interval_that_reaches_zero():
    # 40 voxels of 1 um3 called layer where there is none, doubtful as they should be.
    labels = labeled_image(np.zeros((4, 8, 8), np.uint8), voxel_size_um=1.0)
    moments = xr.Dataset({"doubt": ("component", [12.0, 12.0])}, coords={"component": list(TWO)})
    sigma = segmentation_sigma(labels, TWO, moments=moments)
    assert 1.96 * sigma["volume"].sel(component="layer") > 40


def test_sigma_says_what_its_inputs_lack():
    labels = labeled_image(np.zeros((4, 8, 8), np.uint8), voxel_size_um=1.0)
    moments = xr.Dataset({"doubt": ("component", [1.0])}, coords={"component": ["layer"]})
    with pytest.raises(InputError, match=r"moments must know every component, it lacks \['electrolyte'\]"):
        segmentation_sigma(labels, TWO, moments=moments)
    with pytest.raises(InputError, match="residuals need the moments"):
        segmentation_sigma(labels, TWO, residuals=moments)


def test_inactive_lithium_has_the_doubt_of_its_share_of_the_surface():
    values = np.zeros((24, 16, 16), np.uint8)
    values[:4], values[-4:] = 1, 1
    values[4:6] = 2
    values[8:11, 4:9, 4:9] = 3
    labels = labeled_image(values, voxel_size_um=1.0, attrs={"plating_side": "low"})
    names = [*CELL, "lithium", "plating side", "stripping side"]
    moments = xr.Dataset({"doubt": ("component", np.full(len(names), 60.0))}, coords={"component": names})
    sigma = segmentation_sigma(labels, CELL, moments=moments)
    # Surfaces on the plating side: the floating piece, and the deposit towards the polymer (16 x 16, Crofton 0.93).
    piece = 2 * (25 + 15 + 15)
    share = piece / (piece + 256)
    inactive = float(sigma["systematic"].sel(component="inactive"))
    assert inactive == pytest.approx(0.3 * 60 * share, rel=0.25)
    assert sigma["volume"].sel(component="plating side") == pytest.approx(np.sqrt(150 * 60 + 0.34 * 60**2))
