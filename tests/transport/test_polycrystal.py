"""Synthetic polycrystals: porosity, sizes, shape of grains and pores, periodicity."""

import cc3d
import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import InputError, PhaseError
from operando.transport import POLYCRYSTAL, property_map, synthetic_polycrystal

PORE, GRAIN, BOUNDARY = (POLYCRYSTAL[name] for name in ("pore", "grain", "boundary"))


def diameters(mask: np.ndarray, voxel_size_um: float) -> np.ndarray:
    """Of the spheres with the volumes of the connected parts of a periodic mask."""
    parts = cc3d.connected_components(mask.astype(np.uint8), connectivity=6, periodic_boundary=False)
    # Parts that touch across the border of the period are one.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = []
    for axis in range(3):
        first, last = np.take(parts, 0, axis), np.take(parts, -1, axis)
        both = (first > 0) & (last > 0)
        joined.append(np.stack([first[both], last[both]]))
    rows, columns = np.concatenate(joined, axis=1)
    count = int(parts.max()) + 1
    _, whole = connected_components(coo_array((np.ones(rows.size), (rows, columns)), shape=(count, count)))
    voxels = np.bincount(whole[parts[parts > 0]])
    return voxel_size_um * (6 / np.pi * voxels[voxels > 0]) ** (1 / 3)


def chord(mask: np.ndarray, axis: int) -> float:
    """Mean length in voxels of the runs of a periodic mask along an axis."""
    return mask.sum() / np.count_nonzero(mask & ~np.roll(mask, 1, axis))


@pytest.mark.parametrize("porosity", [0.0, 0.013, 0.05, 0.2, 0.45])
def test_porosity_is_met_to_the_voxel(porosity):
    made = synthetic_polycrystal((30, 32, 34), voxel_size_um=3, porosity=porosity, seed=5)
    pores = int((made.labels == PORE).sum())
    assert pores == round(porosity * 30 * 32 * 34)
    assert made.attrs["porosity"] == pores / (30 * 32 * 34)


@pytest.mark.parametrize(("size_um", "porosity"), [(9.0, 0.05), (12.0, 0.05), (12.0, 0.12), (18.0, 0.1)])
def test_mean_equivalent_diameter_of_the_pores_is_within_five_percent(size_um, porosity):
    found = []
    for seed in range(2):
        made = synthetic_polycrystal((72, 72, 72), voxel_size_um=3, porosity=porosity, pore_size_um=size_um, seed=seed)
        found.append(diameters((made.labels == PORE).values, 3.0))
        assert len(found[-1]) == pytest.approx(made.attrs["pores"], rel=0.06)
    assert np.concatenate(found).mean() == pytest.approx(size_um, rel=0.05)


def test_grain_size_is_that_of_the_mean_grain_volume():
    made = synthetic_polycrystal((60, 60, 60), voxel_size_um=2, grain_size_um=24, porosity=0, seed=2)
    grains = int(np.unique(made.grains).size)
    assert grains == made.attrs["grain_count"]
    assert (6 / np.pi * 120**3 / grains) ** (1 / 3) == pytest.approx(24, rel=0.01)


def test_grains_are_numbered_and_pores_belong_to_none():
    made = synthetic_polycrystal((32, 32, 32), boundary_um=3, seed=3)
    np.testing.assert_array_equal(made.grains.values == 0, made.labels.values == PORE)
    assert made.labels.dtype == np.uint8
    assert made.grains.dtype == np.int32
    POLYCRYSTAL.check(made.labels)


def test_default_is_isotropic_by_chords_along_every_axis():
    ratios = []
    for seed in range(4):
        made = synthetic_polycrystal((64, 64, 64), porosity=0.1, seed=seed)
        pore = (made.labels == PORE).values
        grains = synthetic_polycrystal((64, 64, 64), porosity=0, grain_size_um=24, seed=seed).grains.values
        edges = [np.count_nonzero(grains != np.roll(grains, 1, axis)) for axis in range(3)]
        ratios.append([[chord(pore, axis) for axis in range(3)], edges])
    pores, edges = np.mean(ratios, axis=0)
    np.testing.assert_allclose(pores / pores.mean(), 1, atol=0.03)
    np.testing.assert_allclose(edges / edges.mean(), 1, atol=0.03)


def test_anisotropy_elongates_pores_and_grains_as_asked():
    chords, edges = np.zeros(3), np.zeros(3)
    for seed in range(3):
        made = synthetic_polycrystal((64, 64, 64), porosity=0.08, pore_size_um=18, anisotropy=(1, 1, 2), seed=seed)
        pore = (made.labels == PORE).values
        chords += [chord(pore, axis) for axis in range(3)]
        grains = synthetic_polycrystal((64, 64, 64), porosity=0, anisotropy=2, grain_size_um=24, seed=seed).grains
        edges += [np.count_nonzero(grains.values != np.roll(grains.values, 1, axis)) for axis in range(3)]
    assert chords[1] == pytest.approx(chords[0], rel=0.06)
    assert chords[2] == pytest.approx(2 * chords[0], rel=0.1)
    assert edges[1] == pytest.approx(edges[0], rel=0.06)
    assert edges[0] == pytest.approx(2 * edges[2], rel=0.1)


def test_a_number_stands_for_elongation_along_x():
    a = synthetic_polycrystal((24, 24, 24), anisotropy=2, seed=1)
    b = synthetic_polycrystal((24, 24, 24), anisotropy=(1, 1, 2), seed=1)
    np.testing.assert_array_equal(a.labels, b.labels)


def test_no_path_over_faces_gets_from_grain_to_grain_without_a_boundary():
    made = synthetic_polycrystal((40, 40, 40), porosity=0, boundary_um=3, grain_size_um=30, seed=7)
    grain = (made.labels == GRAIN).values
    number = made.grains.values
    for axis in range(3):
        other = np.roll(grain, 1, axis) & grain
        assert not np.any(other & (number != np.roll(number, 1, axis)))


def test_boundaries_are_as_thick_as_asked():
    made = synthetic_polycrystal((60, 60, 60), porosity=0, boundary_um=6, grain_size_um=60, voxel_size_um=2, seed=4)
    thin = synthetic_polycrystal((60, 60, 60), porosity=0, boundary_um=3, grain_size_um=60, voxel_size_um=2, seed=4)
    # Area times thickness; the edges where boundaries meet count once, hence a little less.
    ratio = float((made.labels == BOUNDARY).sum() / (thin.labels == BOUNDARY).sum())
    assert 1.8 < ratio < 2.0


def test_a_period_continues_at_the_other_face():
    made = synthetic_polycrystal((48, 48, 48), porosity=0.1, grain_size_um=36, seed=8)
    grains = synthetic_polycrystal((48, 48, 48), porosity=0, grain_size_um=36, seed=8).grains.values
    pore = (made.labels == PORE).values
    for axis in range(3):
        inside = [np.mean(np.take(grains, i, axis) != np.take(grains, i + 1, axis)) for i in range(47)]
        across = np.mean(np.take(grains, -1, axis) != np.take(grains, 0, axis))
        assert across < 2 * np.mean(inside)
        changes = [np.mean(np.take(pore, i, axis) != np.take(pore, i + 1, axis)) for i in range(47)]
        assert np.mean(np.take(pore, -1, axis) != np.take(pore, 0, axis)) < 2 * np.mean(changes)


def test_pores_stand_where_the_density_is():
    density = np.zeros((1, 48, 48))
    density[:, :, 24:] = 1.0
    made = synthetic_polycrystal((48, 48, 48), porosity=0.05, pore_density=density, seed=1)
    pore = (made.labels == PORE).values
    assert pore[:, :, 24:].sum() > 0.85 * pore.sum()
    assert pore[:, :, 4:20].sum() == 0


def test_the_seed_decides_everything():
    a, b, c = (synthetic_polycrystal((24, 24, 24), boundary_um=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.grains, b.grains)
    assert not np.array_equal(a.labels, c.labels)


def test_a_domain_of_a_single_grain_and_one_narrower_than_a_pore_are_made():
    one = synthetic_polycrystal((8, 8, 8), grain_size_um=1000, porosity=0.1, boundary_um=3)
    assert one.attrs["grain_count"] == 1
    assert not (one.labels == BOUNDARY).any()
    flat = synthetic_polycrystal((1, 40, 40), porosity=0.1)
    assert int((flat.labels == PORE).sum()) == 160


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"porosity": 5}, r"porosity must be a fraction from 0 to 0.6, got 5. Divide a percentage by 100."),
        ({"pore_size_um": 4}, r"at least two voxel edges \(6 um\), got 4"),
        ({"boundary_um": 1}, r"boundary_um must be 0 or at least a voxel edge \(3 um\), got 1"),
        ({"anisotropy": (1, 2)}, r"one per axis \(z, y, x\).*got \(1, 2\)"),
        ({"anisotropy": -1}, r"anisotropy must be one positive number"),
        ({"grain_size_um": 0}, r"grain_size_um must be one positive number in um, got 0"),
        ({"seed": -1}, r"seed must be a whole number of at least 0, got -1"),
        ({"shape": (8, 8)}, r"shape must be three positive whole numbers"),
        ({"pore_density": np.ones((3, 3))}, r"broadcastable to \(8, 8, 8\), got the shape \(3, 3\)"),
        ({"pore_density": -np.ones((8, 8))}, r"not negative"),
    ],
)
def test_errors_say_what_must_hold_and_what_was_got(arguments, message):
    with pytest.raises(InputError, match=message):
        synthetic_polycrystal(**{"shape": (8, 8, 8), **arguments})


def test_pores_without_room_are_refused():
    density = np.zeros((20, 20, 20))
    density[10, 10, 10] = 1
    with pytest.raises(InputError, match="room for .* of 4000 voxels"):
        synthetic_polycrystal((20, 20, 20), porosity=0.5, pore_density=density)


def test_every_phase_gets_its_property_and_unlabeled_none():
    values = np.array([[[0, 1, 2, 255]]], dtype=np.uint8)
    labels = labeled_image(values, voxel_size_um=2.0, attrs={"phases": POLYCRYSTAL.to_dict(), "simulated": True})
    made = property_map(labels, {"pore": 0.0, "grain": 3.0, "boundary": 0.5}, units="S m-1")
    np.testing.assert_array_equal(made.values.ravel(), [0.0, 3.0, 0.5, np.nan])
    assert made.attrs["units"] == "S m-1"
    assert made.attrs["simulated"] is True
    assert float(made.x[1]) == 2.0
    lazy = property_map(labels.chunk(x=2), {"pore": 0.0, "grain": 3.0, "boundary": 0.5})
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, made.values)


def test_a_property_for_an_unknown_phase_or_none_for_a_present_one_is_refused():
    labels = synthetic_polycrystal((8, 8, 8), porosity=0.1).labels
    with pytest.raises(PhaseError, match="Did you mean 'grain'"):
        property_map(labels, {"grains": 1.0})
    with pytest.raises(InputError, match=r"got none for \['pore'\]"):
        property_map(labels, {"grain": 1.0})
    with pytest.raises(InputError, match="phases of the labels must be known"):
        property_map(labels.drop_attrs(), {"grain": 1.0})
