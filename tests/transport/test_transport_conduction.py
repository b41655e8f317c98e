"""Tortuosity factor and effective conductivity against cases whose answer is known."""

import itertools
import math

import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import spsolve

import operando
from operando.core.errors import AxesError, InputError, RunError, UnitsError
from operando.transport import (
    conduction,
    conduction_rows,
    conductivity_tensor,
    effective_conductivity,
    hashin_shtrikman,
    tortuosity_factor,
)


def blobs(size, fraction, *, seed=0, sigma=2.0):
    field = gaussian_filter(np.random.default_rng(seed).normal(size=size), sigma)
    return field < np.quantile(field, fraction)


def slanted_strip(size=20):
    volume = np.zeros((size, size + 1, size + 1), dtype=bool)
    for i in range(size):
        volume[i, i : i + 2, i : i + 2] = True
    return volume


def face_centered_spheres(size, overlap):
    """What overlapping spheres on a face-centered cubic lattice leave free."""
    centers = (np.arange(size) + 0.5) / size
    z, y, x = np.meshgrid(centers, centers, centers, indexing="ij")
    radius = 1 / (2 * math.sqrt(2)) / (1 - overlap / 2)
    solid = np.zeros(z.shape, dtype=bool)
    for a, b, c in itertools.product((0, 0.5, 1), repeat=3):
        if round(2 * (a + b + c)) % 2 == 0:
            solid |= (z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 <= radius**2
    return ~solid


@pytest.mark.parametrize("shape", [(5, 5), (7, 3, 5), (31, 17, 9)])
def test_rounding_never_takes_the_factor_of_a_full_block_below_one(shape):
    assert tortuosity_factor(np.ones(shape, dtype=bool), 1) >= 1


def test_a_uniform_block_has_a_tortuosity_factor_of_one():
    for shape in [(5, 6, 7), (1, 4, 4), (33, 1, 9), (1, 1, 1), (40, 40, 40), (7, 5)]:
        for axis in range(len(shape)):
            assert tortuosity_factor(np.ones(shape, dtype=bool), axis) == pytest.approx(1, abs=1e-6)


def test_straight_channels_have_a_tortuosity_factor_of_one():
    volume = np.zeros((30, 20, 20), dtype=bool)
    volume[:, ::3, ::2] = True
    assert tortuosity_factor(volume, 0) == pytest.approx(1, abs=1e-6)
    assert tortuosity_factor(volume, 1) == math.inf


def test_the_slanted_strip_has_its_published_factor():
    assert tortuosity_factor(slanted_strip(), 0, tolerance=1e-7, dtype="float64") == pytest.approx(7.51667, abs=5e-6)


def test_what_touches_by_edges_only_does_not_conduct():
    volume = np.zeros((4, 5, 5), dtype=bool)
    for i in range(4):
        volume[i, i, 0] = True
    assert tortuosity_factor(volume, 0) == math.inf


def test_a_dead_end_is_infinite_and_conducts_nothing():
    volume = np.ones((9, 8, 8), dtype=bool)
    volume[5] = False
    assert tortuosity_factor(volume, 0) == math.inf
    assert tortuosity_factor(volume, 0, convention="dixit2020") == math.inf
    assert effective_conductivity(volume.astype(float), 0) == 0.0
    assert tortuosity_factor(np.zeros((4, 4, 4), dtype=bool), 0) == math.inf


def test_a_blind_alley_adds_to_the_porosity_only():
    open_channel = np.zeros((10, 10, 10), dtype=bool)
    open_channel[:, :2, :2] = True
    with_alley = open_channel.copy()
    with_alley[:8, 5:7, 5:7] = True
    assert tortuosity_factor(with_alley, 0) == pytest.approx((40 + 32) / 40, rel=1e-5)


def test_overlapping_spheres_have_their_published_factor():
    volume = face_centered_spheres(32, 0.05)
    assert tortuosity_factor(volume, 0, tolerance=1e-6) == pytest.approx(3.3071, abs=5e-5)


@pytest.mark.parametrize(("layers", "across", "along"), [((10, 1), 1.81818, 5.5), ((1e4, 1), 1.9998, 5000.5)])
def test_laminates_are_exact_in_series_and_in_parallel(layers, across, along):
    k = np.full((12, 6, 5), layers[1], dtype=float)
    k[::2] = layers[0]
    assert effective_conductivity(k, 0) == pytest.approx(across, rel=1e-5)
    assert effective_conductivity(k, 1) == pytest.approx(along, rel=1e-5)
    assert effective_conductivity(k, "x") == pytest.approx(along, rel=1e-5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 0.85711), (0.2, 0.72659)])
def test_insulating_spheres_on_a_cubic_lattice(fraction, expected):
    size = 60
    at = (np.arange(size) + 0.5) / size - 0.5
    squared = at[:, None, None] ** 2 + at[:, None] ** 2 + at**2
    conducting = squared > (3 * fraction / (4 * math.pi)) ** (2 / 3)
    found = conducting.mean() / tortuosity_factor(conducting, 0)
    assert expected * 0.985 < found < expected  # steps of voxels only obstruct


@pytest.mark.parametrize(("fraction", "expected", "error"), [(0.1, 0.81818, 0.01), (0.5, 0.32473, 0.025)])
def test_insulating_discs_on_a_square_lattice(fraction, expected, error):
    size = 120
    at = (np.arange(size) + 0.5) / size - 0.5
    conducting = at[:, None] ** 2 + at**2 > fraction / math.pi
    found = conducting.mean() / tortuosity_factor(conducting, "y")
    assert expected * (1 - error) < found < expected


def solve_directly(conducting, *, ends):
    """Factor along axis 0 of a plane by a direct sparse solve, held at the outer faces or at the centers of the
    ends."""
    size = conducting.size
    number = np.arange(size).reshape(conducting.shape)
    pairs = [(number[:-1], number[1:]), (number[:, :-1], number[:, 1:])]
    a, b = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    joined = conducting.ravel()[a] & conducting.ravel()[b]
    a, b = a[joined], b[joined]
    links = sparse.coo_matrix((np.ones(2 * a.size), (np.r_[a, b], np.r_[b, a])), (size, size)).tocsr()
    matrix = sparse.diags(np.asarray(links.sum(1)).ravel()) - links
    rows, columns = conducting.shape
    first = conducting & (number < columns)
    last = conducting & (number >= size - columns)
    if ends == "faces":
        free, held = conducting.ravel(), 2.0 * first.ravel()
        full = matrix + sparse.diags(2.0 * (first | last).ravel())
        u = np.zeros(size)
        u[free] = spsolve(full[free][:, free].tocsc(), held[free])
        current = np.sum(held * (1 - u))
        return conducting.mean() * columns / (current * rows)
    free, u = (conducting & ~first & ~last).ravel(), first.ravel().astype(float)
    u[free] = spsolve(matrix[free][:, free].tocsc(), -(matrix[free] @ u))
    current = (matrix @ u)[first.ravel()].sum()
    return conducting.mean() * columns / (current * (rows - 1))


def effective_directly(k):
    """Effective conductivity along axis 0 by a direct sparse solve, from the dissipation."""
    number = np.arange(k.size).reshape(k.shape)
    pairs, faces = [], []
    for axis in range(3):
        n, c = np.moveaxis(number, axis, 0), np.moveaxis(k, axis, 0)
        pairs.append((n[:-1].ravel(), n[1:].ravel()))
        faces.append((2 * c[1:] * c[:-1] / (c[1:] + c[:-1])).ravel())
    a, b = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    g = np.concatenate(faces)
    links = sparse.coo_matrix((np.r_[g, g], (np.r_[a, b], np.r_[b, a])), (k.size, k.size)).tocsr()
    low, high = np.zeros(k.shape), np.zeros(k.shape)
    low[0], high[-1] = 2 * k[0], 2 * k[-1]
    matrix = sparse.diags(np.asarray(links.sum(1)).ravel() + (low + high).ravel()) - links
    u = spsolve(matrix.tocsc(), low.ravel())
    energy = np.sum(g * (u[a] - u[b]) ** 2) + np.sum(low.ravel() * (1 - u) ** 2) + np.sum(high.ravel() * u**2)
    return energy * k.shape[0] / (k.shape[1] * k.shape[2])


def test_the_published_lattice_of_discs():
    at = np.arange(200)
    nearest = np.abs(at[:, None] - (8 + 26 * np.arange(8))).min(1)
    conducting = nearest[:, None] ** 2 + nearest**2 >= 64
    # Published with the potential held at the centers of the end voxels and the length N - 1; here it is held at their
    # outer faces, as everywhere else.
    assert solve_directly(conducting.T, ends="centers") == pytest.approx(1.35995, abs=5e-6)
    expected = solve_directly(conducting.T, ends="faces")
    assert tortuosity_factor(conducting, 1, tolerance=1e-7, dtype="float64") == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(1.35995, rel=1e-3)


@pytest.mark.parametrize(("axis", "published"), [(0, 2.0776), (1, 2.0766)])
def test_the_published_electrode(data_folder, axis, published):
    import tifffile

    labels = tifffile.imread(data_folder / "taufactor-reference" / "electrode.tiff")
    assert tortuosity_factor(labels == 0, axis) == pytest.approx(published, rel=2e-3)


def test_bounds_of_hashin_and_shtrikman_are_what_the_formula_says():
    for eps in (0.2, 0.5, 0.9):
        upper = hashin_shtrikman([eps, 1 - eps], [1, 0])[1]
        flat = hashin_shtrikman([eps, 1 - eps], [1, 0], dimensions=2)[1]
        assert eps / upper == pytest.approx((3 - eps) / 2)
        assert eps / flat == pytest.approx(2 - eps)
    assert hashin_shtrikman([0.3, 0.7], [2, 2]) == pytest.approx((2, 2))
    assert hashin_shtrikman([1, 0], [3, 7]) == pytest.approx((3, 3))
    assert hashin_shtrikman([1.0], [0.0]) == (0.0, 0.0)


@pytest.mark.parametrize("fraction", [0.4, 0.7, 0.95])
def test_isotropic_media_stay_within_the_bounds(fraction):
    k = np.where(blobs((48,) * 3, fraction, seed=3), 1.0, 0.1)
    lower, upper = hashin_shtrikman([fraction, 1 - fraction], [1, 0.1])
    for axis in range(3):
        assert lower < effective_conductivity(k, axis) < upper


def test_one_conductor_never_has_a_factor_below_one():
    for seed in range(6):
        volume = blobs((14, 9, 11), 0.55 + 0.07 * seed, seed=seed, sigma=1.0)
        for axis in range(3):
            assert tortuosity_factor(volume, axis, tolerance=1e-2) >= 1


def test_flips_and_transposition_change_nothing():
    volume = blobs((21, 25, 18), 0.5)
    expected = tortuosity_factor(volume, 0, tolerance=1e-7)
    for other, axis in (
        (volume[::-1], 0),
        (volume[:, ::-1, ::-1], 0),
        (volume.transpose(1, 0, 2), 1),
        (volume.transpose(2, 1, 0), -1),
    ):
        assert tortuosity_factor(other, axis, tolerance=1e-7) == pytest.approx(expected, rel=1e-5)


def test_conductivity_scales_with_its_unit():
    k = np.exp(np.random.default_rng(0).normal(size=(17, 12, 15)))
    once = effective_conductivity(k, 1, tolerance=1e-6)
    for factor in (1e-12, 3.0, 1e9):
        assert effective_conductivity(factor * k, 1, tolerance=1e-6) == pytest.approx(factor * once, rel=1e-5)


def test_a_boolean_volume_and_its_conductivity_agree():
    volume = blobs((30, 31, 29), 0.45)
    expected = volume.mean() / tortuosity_factor(volume, 0, tolerance=1e-6)
    assert effective_conductivity(volume.astype(float), 0, tolerance=1e-6) == pytest.approx(expected, rel=1e-5)


def test_integers_booleans_and_labeled_arrays_are_one_volume():
    volume = blobs((16, 18, 14), 0.6)
    expected = tortuosity_factor(volume, 0)
    assert tortuosity_factor(volume.astype(np.uint8), 0) == expected
    assert tortuosity_factor(volume.astype(float), "z") == expected
    assert tortuosity_factor(operando.labeled_image(volume), "z") == expected
    assert tortuosity_factor(operando.labeled_image(volume, voxel_size_um=3.0), "z") == pytest.approx(
        expected, rel=1e-5
    )


def test_a_lazy_volume_gives_the_same():
    import dask.array

    volume = blobs((16, 18, 14), 0.6)
    lazy = operando.labeled_image(dask.array.from_array(volume, chunks=8))
    assert tortuosity_factor(lazy, "y") == tortuosity_factor(volume, 1)


@pytest.mark.parametrize("kind", ["boolean", "float"])
def test_32_bits_give_what_64_bits_give(kind):
    volume = blobs((64,) * 3, 0.35, sigma=2.5)
    k = volume if kind == "boolean" else np.where(volume, 1.0, 1e-3)
    single = effective_conductivity(k, 0, tolerance=1e-7)
    assert single == pytest.approx(effective_conductivity(k, 0, tolerance=1e-9, dtype="float64"), rel=3e-6)


def hard_cases():
    yield "open", blobs((40,) * 3, 0.5)
    yield "narrow", blobs((40,) * 3, 0.2, sigma=1.5)
    yield "near the percolation threshold", np.random.default_rng(1).random((40,) * 3) < 0.36
    yield "contrast 1e3", np.where(blobs((40,) * 3, 0.3), 1.0, 1e-3)
    yield "lognormal", np.exp(3 * np.random.default_rng(2).normal(size=(32,) * 3))
    yield "contrast 1e4 without a path", np.where(np.random.default_rng(5).random((28,) * 3) < 0.28, 1.0, 1e-4)
    yield (
        "resistive layers",
        np.where(np.arange(40)[:, None, None] % 7 == 0, 1e-3, 1.0)
        * np.exp(np.random.default_rng(2).normal(size=(40, 24, 24))),
    )


@pytest.mark.parametrize(("name", "k"), list(hard_cases()), ids=[name for name, _ in hard_cases()])
def test_the_solver_stops_within_its_tolerance_of_the_converged_answer(name, k):
    converged = effective_conductivity(k, 0, tolerance=1e-10, dtype="float64")
    for tolerance in (1e-3, 1e-4):
        found = effective_conductivity(k, 0, tolerance=tolerance)
        assert -1e-5 < found / converged - 1 < 1.5 * tolerance, name


def test_a_solver_that_does_not_arrive_says_so(monkeypatch):
    from operando.transport import multigrid

    monkeypatch.setattr(multigrid, "_MOST_ITERATIONS", 5)
    with pytest.raises(RunError, match=r"within 1e-07, and after 5 steps .*float64"):
        tortuosity_factor(blobs((40,) * 3, 0.2, sigma=1.5), 0, tolerance=1e-7)


def test_conductivities_too_far_apart_for_32_bits_are_solved_in_64():
    k = np.ones((6, 5, 4))
    k[2] = 1e-60
    assert effective_conductivity(k, 0) == pytest.approx(6e-60, rel=1e-4)


@pytest.mark.parametrize("contrast", [1e-4, 1e-6, 1e-8, 1e-12])
def test_a_poor_conductor_between_good_ones_is_solved_at_any_contrast(contrast):
    k = np.where(np.random.default_rng(1).random((9, 9, 9)) < 0.3, 1.0, contrast)
    assert effective_conductivity(k, 0, tolerance=1e-3) == pytest.approx(effective_directly(k), rel=1e-3)


def test_unequal_voxel_edges_are_respected():
    volume = blobs((12, 12, 12), 0.6, sigma=1.5)
    tall = operando.labeled_image(volume, voxel_size_um=(3.0, 1.0, 1.0))
    # the same body from cubes: each voxel is three of them
    cubes = volume.repeat(3, 0)
    coarse = tortuosity_factor(tall, "z", tolerance=1e-6)
    assert coarse == pytest.approx(tortuosity_factor(cubes, 0, tolerance=1e-6), rel=0.2)
    assert coarse != pytest.approx(tortuosity_factor(volume, 0), rel=0.02)
    layers = np.ones((6, 3, 3))
    layers[::2] = 10
    unequal = operando.labeled_image(layers, voxel_size_um=(5.0, 1.0, 2.0))
    assert effective_conductivity(unequal, "z") == pytest.approx(20 / 11, rel=1e-5)


@pytest.mark.parametrize("edges", [(10.0, 1.0, 1.0), (1.0, 8.0, 1.0), (0.2, 1.0, 3.0)])
def test_flat_and_tall_voxels_are_solved_as_fast(edges):
    from operando.transport.potential import solve_potential

    image = operando.labeled_image(blobs((40, 40, 40), 0.6, sigma=3.0), voxel_size_um=edges)
    assert solve_potential(image, "z", tolerance=1e-4, dtype="float32").iterations < 20


def test_the_square_root_of_the_factor_is_the_convention_of_the_paper():
    volume = blobs((20,) * 3, 0.5)
    assert tortuosity_factor(volume, 0, convention="dixit2020") ** 2 == pytest.approx(tortuosity_factor(volume, 0))


def test_the_tensor_of_a_laminate_is_its_single_axes():
    k = np.ones((8, 6, 10))
    k[:, :2] = 10
    tensor = conductivity_tensor(k)
    expected = np.diag([effective_conductivity(k, axis) for axis in range(3)])
    np.testing.assert_allclose(tensor, expected, rtol=1e-4, atol=1e-5)
    assert tensor.sel(row="y", column="y") == pytest.approx(1 / (1 / 3 * 0.1 + 2 / 3), rel=1e-4)


def test_the_tensor_of_a_slanted_laminate_points_along_it():
    y, x = np.mgrid[:64, :64]
    k = np.where((x + y) // 16 % 2, 10.0, 1.0)
    tensor = conductivity_tensor(k, tolerance=1e-6)
    assert tensor.sel(row="y", column="x") == pytest.approx(-(5.5 - 20 / 11) / 2, rel=0.08)
    values, vectors = np.linalg.eigh(tensor.values)
    np.testing.assert_allclose(values, [20 / 11, 5.5], rtol=0.06)
    assert abs(vectors[:, 1] @ [1, -1]) == pytest.approx(math.sqrt(2), rel=1e-6)


def test_the_tensor_is_symmetric_positive_and_turns_with_the_axes():
    k = np.exp(np.random.default_rng(4).normal(size=(9, 12, 15)))
    tensor = conductivity_tensor(k, tolerance=1e-7).values
    np.testing.assert_allclose(tensor, tensor.T)
    assert np.linalg.eigvalsh(tensor).min() > 0
    turned = conductivity_tensor(k.transpose(2, 0, 1), tolerance=1e-7).values
    order = [2, 0, 1]
    np.testing.assert_allclose(turned, tensor[np.ix_(order, order)], rtol=1e-4, atol=1e-6)


def test_the_tensor_bears_islands_and_emptiness():
    k = np.ones((12, 12, 12))
    k[2:7, 2:7, 2:7] = 0
    k[4, 4, 4] = 5  # an island that nothing reaches
    tensor = conductivity_tensor(k)
    without = conductivity_tensor(np.where(k == 5, 0, k))
    np.testing.assert_allclose(tensor, without, rtol=1e-4, atol=1e-6)
    assert not conductivity_tensor(np.zeros((4, 4, 4))).any()


def test_conduction_reports_bounds_refinement_and_what_percolates():
    volume = blobs((24, 24, 24), 0.5, sigma=2.0)
    result = conduction(operando.labeled_image(volume, voxel_size_um=2.0), "z")
    assert float(result.tortuosity_factor) == pytest.approx(tortuosity_factor(volume, 0), rel=1e-5)
    assert float(result.tortuosity_factor_least) == pytest.approx((3 - volume.mean()) / 2)
    assert result.hashin_shtrikman_lower == 0
    assert float(result.effective_conductivity) < float(result.hashin_shtrikman_upper)
    assert 0.9 < float(result.percolating_fraction) <= 1
    assert abs(float(result.flux_mismatch)) < 0.02
    fine = volume.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert float(result.refined) == pytest.approx(fine.mean() / tortuosity_factor(fine, 0), rel=1e-3)
    assert float(result.half_resolution) > float(result.effective_conductivity)
    assert result.bytes_per_voxel < 60


def test_the_estimated_error_of_the_voxels_covers_what_finer_voxels_find():
    for seed, fraction in ((1, 0.5), (2, 0.9)):
        volume = blobs((16, 16, 16), fraction, seed=seed, sigma=1.5)
        result = conduction(volume, 0, tolerance=1e-5)
        fine = volume
        for axis in range(3):
            fine = fine.repeat(4, axis)
        finer = conduction(fine, 0, tolerance=1e-5, refined_voxels=0)
        change = float(finer.effective_conductivity / result.effective_conductivity) - 1
        assert 0 < change < float(result.discretization_error) < 3 * change


def test_sizes_that_are_odd_are_compared_where_they_are_even():
    volume = np.ones((9, 7, 5), dtype=bool)
    result = conduction(volume, 0)
    assert float(result.resolution_change) == pytest.approx(0, abs=1e-6)
    assert math.isnan(conduction(np.ones((3, 8, 8), dtype=bool), 0).resolution_change)
    assert math.isnan(conduction(volume, 0, refined_voxels=0).refined)


def test_conduction_rows_make_a_quantity_table():
    from operando.core.quantities import quantity_table

    blocked = np.ones((6, 6, 6), dtype=bool)
    blocked[3] = False
    for volume in (blobs((12,) * 3, 0.7), blocked):
        table = quantity_table(conduction_rows(conduction(volume, "z"), component="electrolyte", scan=2, t=1.5))
        assert set(table["component"]) == {"electrolyte"}
        assert len(table) == 4
    assert table.set_index("quantity").loc["tortuosity factor along z", "value"] == math.inf


def test_what_cannot_be_conducted_through_is_refused_with_a_remedy():
    block = np.ones((4, 4, 4), dtype=bool)
    with pytest.raises(InputError, match=r"boolean .*got uint8 from 2 to 2\. Compare it with a label"):
        tortuosity_factor(np.full((4, 4, 4), 2, dtype=np.uint8), 0)
    with pytest.raises(InputError, match="Did you mean 'factor'"):
        tortuosity_factor(block, 0, convention="facto")
    with pytest.raises(InputError, match="finite and 0 or more, got from -1"):
        effective_conductivity(block * -1.0, 0)
    with pytest.raises(InputError, match="got from nan"):
        effective_conductivity(np.full((3, 3, 3), np.nan), 0)
    with pytest.raises(AxesError, match="from 0 to 2, got 3"):
        tortuosity_factor(block, 3)
    for axis in (None, 1.0, True, [0]):
        with pytest.raises(AxesError, match="from 0 to 2, got "):
            tortuosity_factor(block, axis)
    for volume in ("volume.tif", None, block.astype(complex)):
        with pytest.raises(InputError, match=r"must be boolean \(or 0 and 1\), got "):
            tortuosity_factor(volume, 0)
    with pytest.raises(AxesError, match="must be a dim of the volume, got 'w'"):
        tortuosity_factor(block, "w")
    with pytest.raises(AxesError, match=r"two or three axes, none of them empty.*\(4,\)"):
        tortuosity_factor(block[0, 0], 0)
    with pytest.raises(AxesError, match="none of them empty"):
        tortuosity_factor(block[:0], 0)
    with pytest.raises(InputError, match="tolerance must be positive, got 0"):
        tortuosity_factor(block, 0, tolerance=0)
    with pytest.raises(InputError, match="float32 or float64"):
        tortuosity_factor(block, 0, dtype="float16")
    mixed = operando.labeled_image(block, voxel_size_um=1.0)
    mixed["z"].attrs["units"] = "px"
    with pytest.raises(UnitsError, match=r"one unit.*calibrate"):
        tortuosity_factor(mixed, "z")
    with pytest.raises(AxesError, match=r"must be of z, y, x"):
        tortuosity_factor(operando.labeled_image(block, dims=("t", "y", "x")), "y")
    with pytest.raises(InputError, match="Divide the fractions"):
        hashin_shtrikman([30, 70], [1, 0])
    with pytest.raises(InputError, match="dimensions must be 2 or 3"):
        hashin_shtrikman([0.3, 0.7], [1, 0], dimensions=1)
    with pytest.raises(InputError, match="one conductivity per fraction"):
        hashin_shtrikman([0.3, 0.7], [1])
