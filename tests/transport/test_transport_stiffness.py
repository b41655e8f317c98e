"""Effective stiffness: geometry with known answers, an assembled system, bounds, properties, messages."""

import numpy as np
import pytest

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError, RunError
from operando.transport import effective_stiffness, elasticity, stiffness_tensor, youngs_moduli
from operando.transport.stiffness_solver import VOIGT

BOUNDARIES = pytest.mark.parametrize("boundary", ["plates", "periodic"])


def blobs(shape, seed, *, fraction=0.5, sigma=1.5, soft=1e-3):
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma, mode="wrap")
    return np.where(field > np.quantile(field, 1 - fraction), 1.0, soft)


def ball(edge, radius):
    away = np.arange(edge) - (edge - 1) / 2
    return away[:, None, None] ** 2 + away[:, None] ** 2 + away**2 <= radius**2


def layers(high=10.0, low=1.0):
    moduli = np.full((6, 3, 4), low)
    moduli[:3] = high
    return moduli


def p_wave(young, ratio):
    return young * (1 - ratio) / ((1 + ratio) * (1 - 2 * ratio))


def assembled(young, ratio, edges, strain, free, *, periodic):
    """The same elements by Gauss points, assembled and solved directly: modulus of one load case."""
    from scipy.sparse import coo_matrix, hstack
    from scipy.sparse.linalg import lsqr

    shape = np.array(young.shape)
    corners = np.array([(k, j, i) for k in (0, 1) for j in (0, 1) for i in (0, 1)])
    rows, elements = {"xx": (2, 2), "yy": (1, 1), "zz": (0, 0), "yz": (1, 0), "xz": (2, 0), "xy": (2, 1)}, []
    for point in (2 * corners - 1) / np.sqrt(3):
        signs = 2 * corners - 1
        slope = np.empty((8, 3))
        for a in range(3):
            others = [b for b in range(3) if b != a]
            slope[:, a] = signs[:, a] * np.prod([(1 + signs[:, b] * point[b]) / 2 for b in others], axis=0) / edges[a]
        matrix = np.zeros((6, 24))
        for row, (a, b) in enumerate(rows.values()):
            matrix[row, 3 * np.arange(8) + a] += slope[:, b]
            if a != b:
                matrix[row, 3 * np.arange(8) + b] += slope[:, a]
        elements.append(matrix)
    nodes = shape if periodic else shape + 1
    every = np.array(list(np.ndindex(*shape)))
    touched = (every[:, None] + corners) % nodes
    number = np.ravel_multi_index(touched.transpose(2, 0, 1), nodes)
    degrees = (3 * number[:, :, None] + np.arange(3)).reshape(len(every), 24)
    lame, shear = young * ratio / ((1 + ratio) * (1 - 2 * ratio)), young / (2 * (1 + ratio))
    values = []
    for la, mu in zip(lame.ravel(), shear.ravel(), strict=True):
        stiffness = np.diag([mu] * 6)
        stiffness[:3, :3] = la + 2 * mu * np.eye(3)
        # An exact square root of the energy, so that least squares finds its minimum.
        values.append(np.linalg.cholesky(stiffness).T / np.sqrt(8 * len(every)))
    roots = np.array(values)
    local = np.concatenate([np.einsum("eij,jk->eik", roots, m) for m in elements], axis=1)
    constant = np.concatenate([roots] * 8, axis=1)
    total = 48 * len(every)
    row = np.arange(total).reshape(len(every), 48, 1)
    column = np.broadcast_to(degrees[:, None, :], local.shape)
    gradient = coo_matrix((local.ravel(), (np.broadcast_to(row, local.shape).ravel(), column.ravel()))).tocsr()
    keep = np.ones(3 * np.prod(nodes), dtype=bool)
    if not periodic:
        where = np.array(list(np.ndindex(*nodes)))
        keep.reshape(-1, 3)[(where == 0) | (where == nodes - 1)] = False
    means = constant.reshape(total, 6)
    system = hstack([gradient[:, keep], coo_matrix(means[:, free])]).tocsr()
    target = -means @ strain
    found = lsqr(system, target, atol=1e-13, btol=1e-13, iter_lim=20000)[0]
    return float(np.sum((system @ found - target) ** 2))


@BOUNDARIES
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 3, 2), (7, 1, 1)])
def test_a_uniform_block_is_as_stiff_as_what_it_is_made_of(shape, boundary):
    block = np.full(shape, 70.0)
    for axis in range(3):
        assert effective_stiffness(block, 0.3, axis, boundary=boundary) == pytest.approx(70.0, rel=1e-6)
        confined = effective_stiffness(block, 0.3, axis, boundary=boundary, measure="uniaxial strain")
        assert confined == pytest.approx(p_wave(70.0, 0.3), rel=1e-6)


@BOUNDARIES
def test_layers_in_series_have_the_harmonic_mean(boundary):
    options = {"boundary": boundary, "tolerance": 1e-8}
    assert effective_stiffness(layers(), 0.0, 0, **options) == pytest.approx(20 / 11, rel=1e-8)
    confined = effective_stiffness(layers(), 0.3, 0, measure="uniaxial strain", **options)
    assert confined == pytest.approx(2 / (1 / p_wave(10, 0.3) + 1 / p_wave(1, 0.3)), rel=1e-8)


@BOUNDARIES
def test_layers_side_by_side_have_the_arithmetic_mean(boundary):
    options = {"boundary": boundary, "tolerance": 1e-8}
    assert effective_stiffness(layers(), 0.3, 1, **options) == pytest.approx(5.5, rel=1e-8)
    assert effective_stiffness(layers(), 0.3, 2, **options) == pytest.approx(5.5, rel=1e-8)


@BOUNDARIES
@pytest.mark.parametrize("measure", ["young", "uniaxial strain"])
def test_an_assembled_system_of_the_same_elements_gives_the_same_modulus(boundary, measure):
    rng = np.random.default_rng(3)
    young, ratio = rng.uniform(0.1, 10, (3, 4, 5)), rng.uniform(-0.2, 0.45, (3, 4, 5))
    edges = (2.0, 1.0, 1.5)
    image = labeled_image(young, voxel_size_um=edges)
    for axis, normal in ((0, 2), (2, 0)):
        free = np.zeros(6, dtype=bool)
        if measure == "young":
            free[: 3 if boundary == "plates" else 6] = True
            free[normal] = False
        known = assembled(young, ratio, edges, np.eye(6)[normal], free, periodic=boundary == "periodic")
        found = effective_stiffness(image, ratio, axis, boundary=boundary, measure=measure, tolerance=1e-9)
        assert found == pytest.approx(known, rel=1e-7)


def test_a_thousandfold_contrast_stays_within_the_tolerance():
    for seed, fraction in ((3000, 0.2), (3001, 0.5), (3002, 0.8)):
        body = blobs((20, 20, 20), seed, fraction=fraction)
        for boundary in ("plates", "periodic"):
            exact = effective_stiffness(body, 0.3, 0, boundary=boundary, tolerance=1e-9)
            for tolerance in (1e-3, 1e-4):
                found = effective_stiffness(body, 0.3, 0, boundary=boundary, tolerance=tolerance)
                assert exact * (1 - 1e-6) <= found <= exact * (1 + tolerance)


def test_stiffness_lies_between_the_bounds():
    body = blobs((24, 24, 24), 3003, soft=0.05)
    for measure in ("young", "uniaxial strain"):
        found = elasticity(body, 0.3, 0, measure=measure)
        bounds = found.bounds
        assert (np.diff(bounds.values) > 0).all()
        modulus = float(found.effective_stiffness)
        assert bounds.sel(bound="hashin-shtrikman lower") < modulus < bounds.sel(bound="hashin-shtrikman upper")


@BOUNDARIES
def test_few_spherical_pores_weaken_as_eshelby_says(boundary):
    nu = 0.3
    slope = 3 * (1 - nu) * (9 + 5 * nu) / (2 * (7 - 5 * nu))
    pore = ball(32, 4)
    porosity = pore.mean()
    found = effective_stiffness(np.where(pore, 0.0, 1.0), nu, 0, boundary=boundary)
    # Under one percent of pores, whose mutual shielding and coarse elements together take 0.8 % off the slope.
    assert (1 - found) / porosity == pytest.approx(slope, rel=0.02)


def test_a_cubic_cell_is_alike_along_its_axes():
    body = np.where(ball(16, 5), 0.0, 1.0)
    tensor = stiffness_tensor(body, 0.25)
    values = tensor.values
    assert values[0, 0] == pytest.approx(values[1, 1], rel=1e-4)
    assert values[0, 0] == pytest.approx(values[2, 2], rel=1e-4)
    assert values[0, 1] == pytest.approx(values[1, 2], rel=1e-3)
    assert values[3, 3] == pytest.approx(values[5, 5], rel=1e-4)
    assert np.abs(values[:3, 3:]).max() < 1e-4
    assert np.ptp(youngs_moduli(body, 0.25)) < 1e-4


def test_mirrored_cells_feel_no_difference_between_plates_and_a_periodic_body():
    eighth = blobs((6, 7, 8), 3004, soft=0.01)
    whole = eighth
    for axis in range(3):
        whole = np.concatenate([whole, np.flip(whole, axis)], axis)
    for axis in range(3):
        plates = effective_stiffness(eighth, 0.3, axis, tolerance=1e-7)
        assert effective_stiffness(whole, 0.3, axis, tolerance=1e-7) == pytest.approx(plates, rel=1e-6)
        periodic = effective_stiffness(whole, 0.3, axis, boundary="periodic", tolerance=1e-7)
        assert periodic == pytest.approx(plates, rel=1e-6)


def test_the_tensor_of_a_uniform_body_is_that_of_hooke():
    tensor = stiffness_tensor(np.full((2, 3, 2), 2.5), 0.25)
    expected = np.diag([1.0] * 6)
    expected[:3, :3] = 1.0 + 2.0 * np.eye(3)
    assert tensor.dims == ("row", "column")
    assert tensor.row.values.tolist() == list(VOIGT)
    np.testing.assert_allclose(tensor.values, expected, atol=1e-5)


def test_the_tensor_is_symmetric_positive_and_agrees_with_a_single_axis():
    body = blobs((10, 12, 11), 3005, soft=0.01)
    tensor = stiffness_tensor(body, 0.3, tolerance=1e-6).values
    assert np.array_equal(tensor, tensor.T)
    assert np.linalg.eigvalsh(tensor).min() > 0
    young = 1 / np.diag(np.linalg.inv(tensor))[:3][::-1]
    single = [effective_stiffness(body, 0.3, axis, boundary="periodic", tolerance=1e-6) for axis in range(3)]
    np.testing.assert_allclose(young, single, rtol=1e-5)


def test_turning_the_body_turns_the_tensor():
    body = blobs((8, 10, 9), 3006, soft=0.01)
    tensor = stiffness_tensor(body, 0.3, tolerance=1e-6)
    turned = stiffness_tensor(np.ascontiguousarray(body.transpose(1, 2, 0)), 0.3, tolerance=1e-6)
    # What was y is now z, what was x is now y, what was z is now x.
    names = {"xx": "zz", "yy": "xx", "zz": "yy", "yz": "xy", "xz": "yz", "xy": "xz"}
    for row in VOIGT:
        for column in VOIGT:
            was = float(tensor.sel(row=names[row], column=names[column]))
            assert float(turned.sel(row=row, column=column)) == pytest.approx(was, abs=1e-5)


def test_turned_and_flipped_bodies_are_as_stiff():
    body = blobs((7, 9, 8), 3007, soft=0.01)
    known = youngs_moduli(body, 0.3, tolerance=1e-6)
    np.testing.assert_allclose(youngs_moduli(body.transpose(2, 0, 1), 0.3, tolerance=1e-6), known[[2, 0, 1]], rtol=1e-5)
    np.testing.assert_allclose(youngs_moduli(body[::-1, :, ::-1], 0.3, tolerance=1e-6), known, rtol=1e-5)


@BOUNDARIES
def test_modulus_scales_with_the_moduli_and_not_with_the_voxel_size(boundary):
    body = blobs((8, 8, 8), 3008, soft=0.0)
    known = effective_stiffness(body, 0.3, 0, boundary=boundary)
    assert effective_stiffness(body * 1e11, 0.3, 0, boundary=boundary) == pytest.approx(known * 1e11, rel=1e-5)
    image = labeled_image(body, voxel_size_um=0.65)
    assert effective_stiffness(image, 0.3, "z", boundary=boundary) == pytest.approx(known, rel=1e-5)


def test_more_solid_is_never_softer():
    body = blobs((12, 12, 12), 3009, soft=0.01)
    more = body.copy()
    more[2:5, 3:6, 1:7] = 1.0
    assert effective_stiffness(more, 0.3, 0, tolerance=1e-6) > effective_stiffness(body, 0.3, 0, tolerance=1e-6)


def test_smaller_voxels_are_softer_and_converge():
    cell = blobs((6, 6, 6), 3010, soft=0.05)
    moduli = []
    for times in (1, 2, 4):
        split = cell.repeat(times, 0).repeat(times, 1).repeat(times, 2)
        moduli.append(effective_stiffness(split, 0.3, 0, tolerance=1e-6))
    first, second = moduli[0] - moduli[1], moduli[1] - moduli[2]
    assert 0 < second < 0.75 * first
    found = elasticity(cell, 0.3, 0, tolerance=1e-6)
    assert float(found.discretization_error) == pytest.approx(2 * first / moduli[0], rel=1e-3)
    assert moduli[0] * (1 - float(found.discretization_error)) < moduli[2]


def test_single_precision_agrees_with_double():
    body = blobs((16, 16, 16), 3011)
    single = effective_stiffness(body.astype(np.float32), 0.3, 1, tolerance=1e-5)
    double = effective_stiffness(body, 0.3, 1, tolerance=9e-6)
    assert single == pytest.approx(double, rel=2e-5)


def test_many_domains_are_found_as_each_alone():
    domains = np.stack(
        [blobs((6, 7, 5), seed, fraction=0.7, soft=soft) for seed, soft in ((1, 0), (2, 0.1), (3, 1e-3))]
    )
    domains[2, :, 3:] = 0.0
    ratios = np.random.default_rng(0).uniform(0.1, 0.4, domains.shape)
    together = youngs_moduli(domains, ratios, tolerance=1e-7)
    assert together.shape == (3, 3)
    for domain, ratio, found in zip(domains, ratios, together, strict=True):
        np.testing.assert_allclose(youngs_moduli(domain, ratio, tolerance=1e-7), found, rtol=1e-6)
        alone = [effective_stiffness(domain, ratio, axis, tolerance=1e-7) for axis in range(3)]
        np.testing.assert_allclose(alone, found, rtol=1e-6)
    assert together[2, 1] == 0.0


def test_more_domains_than_fit_together_are_solved_in_groups(monkeypatch):
    monkeypatch.setattr("operando.transport.stiffness._GROUP", 4 * 5**3)
    domains = np.stack([blobs((5, 5, 5), seed, soft=0.0, fraction=0.8) for seed in range(5)])
    alone = np.array([youngs_moduli(domain, 0.3) for domain in domains])
    np.testing.assert_allclose(youngs_moduli(domains, 0.3), alone, rtol=2e-4)


def test_solid_that_reaches_no_plate_bears_nothing():
    body = np.zeros((6, 6, 6))
    body[:3] = 1.0
    assert effective_stiffness(body, 0.3, 0) == 0.0
    assert effective_stiffness(body, 0.3, 1) == pytest.approx(0.5, rel=1e-5)
    assert effective_stiffness(np.zeros((3, 3, 3)), 0.3, 0) == 0.0


def test_loose_grains_in_pores_change_nothing():
    post = np.zeros((8, 8, 8))
    post[:, 2:5, 2:5] = 1.0
    loose = post.copy()
    loose[3:6, 6:, 6:] = 1.0
    loose[1, 0, 0] = 5.0
    for boundary in ("plates", "periodic"):
        expected = effective_stiffness(post, 0.3, 0, boundary=boundary, tolerance=1e-6)
        assert expected == pytest.approx(9 / 64, rel=1e-5)
        found = effective_stiffness(loose, 0.3, 0, boundary=boundary, tolerance=1e-6)
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_pore_may_have_any_poissons_ratio():
    body = np.where(ball(8, 3), 0.0, 1.0)
    ratio = np.where(body > 0, 0.3, np.nan)
    assert effective_stiffness(body, ratio, 0) == effective_stiffness(body, 0.3, 0)


def test_unequal_voxel_edges_are_respected():
    body = blobs((6, 8, 8), 3012, soft=0.01).repeat(2, axis=0)
    flat = labeled_image(body[::2], voxel_size_um=(2.0, 1.0, 1.0))
    # Elements twice as tall are a little stiffer than two, and taken for cubes they would be a different body.
    cubes = effective_stiffness(body, 0.3, 0, tolerance=1e-6)
    assert cubes < effective_stiffness(flat, 0.3, 0, tolerance=1e-6) < 1.2 * cubes
    column = labeled_image(np.array([1.0, 3.0]).reshape(2, 1, 1), voxel_size_um=(1.0, 5.0, 0.2))
    assert effective_stiffness(column, 0.0, "z") == pytest.approx(1.5, rel=1e-5)


def test_integers_and_labeled_images_are_understood():
    body = layers().astype(np.uint8)
    image = labeled_image(body, voxel_size_um=2.0, units="GPa")
    assert effective_stiffness(image, 0.0, "z") == pytest.approx(20 / 11, rel=1e-5)
    assert (
        effective_stiffness(body, 0.0, -1) == effective_stiffness(image, 0.0, "x") == effective_stiffness(body, 0, "x")
    )
    found = elasticity(image, 0.0, "z")
    assert found.effective_stiffness.attrs["units"] == found.bounds.attrs["units"] == "GPa"
    assert stiffness_tensor(image, 0.0).attrs["units"] == "GPa"


def test_elasticity_reports_what_one_should_see_beside_the_value():
    body = blobs((12, 12, 12), 3013, fraction=0.8, soft=0.0)
    found = elasticity(body, 0.3, 2)
    assert found.attrs["axis"] == "x"
    assert float(found.effective_stiffness) == effective_stiffness(body, 0.3, 2)
    assert float(found.porosity) == pytest.approx(0.2, abs=1e-3)
    assert found.component.values.tolist() == ["z", "y"]
    assert ((found.poissons_ratio > 0) & (found.poissons_ratio < 0.5)).all()
    assert 0 < float(found.solver_error) <= 1e-4
    assert int(found.iterations) > 5
    assert float(found.discretization_error) > 0
    assert 80 < float(found.bytes_per_voxel) < 120


def test_the_error_of_the_elements_is_measured_in_the_middle_of_a_large_body():
    body = np.ones((40, 5, 6))
    body[:4] = blobs((4, 5, 6), 3015, soft=0.1)
    assert float(elasticity(body, 0.3, 0).discretization_error) < 1e-5
    assert float(elasticity(body[:8], 0.3, 0).discretization_error) > 0.01
    hollow = np.ones((36, 36, 3))
    hollow[2:34, 2:34] = 0.0
    assert np.isnan(float(elasticity(hollow, 0.3, 0).discretization_error))


def test_faults_say_what_must_hold_what_was_got_and_what_to_do():
    block = np.ones((3, 3, 3))
    with pytest.raises(AxesError, match=r"got the shape \(3, 3\)\. Give a 2-D section a third axis"):
        effective_stiffness(block[0], 0.3, 0)
    with pytest.raises(InputError, match=r"at least 0, got values from -1 to 1\. Use 0 for pores"):
        effective_stiffness(np.where(ball(3, 1), -1.0, 1.0), 0.3, 0)
    with pytest.raises(InputError, match="youngs_modulus must be finite"):
        effective_stiffness(np.where(ball(3, 1), np.nan, 1.0), 0.3, 0)
    with pytest.raises(InputError, match=r"below 0\.5 wherever there is solid, got values from 0\.5 to 0\.5"):
        effective_stiffness(block, 0.5, 0)
    with pytest.raises(InputError, match="above -1"):
        effective_stiffness(block, -1.0, 0)
    with pytest.raises(AxesError, match=r"shape \(3, 3, 3\) of youngs_modulus, got \(3, 3\)"):
        effective_stiffness(block, np.full((3, 3), 0.3), 0)
    with pytest.raises(AxesError, match="axis must be 0, 1 or 2"):
        effective_stiffness(block, 0.3, 3)
    with pytest.raises(AxesError, match="one of z, y, x, got 'Z'"):
        effective_stiffness(labeled_image(block), 0.3, "Z")
    with pytest.raises(AxesError, match="Transpose first"):
        effective_stiffness(labeled_image(block).transpose("x", "y", "z"), 0.3, "z")
    with pytest.raises(InputError, match="Did you mean 'young'"):
        effective_stiffness(block, 0.3, 0, measure="youngs")
    with pytest.raises(InputError, match="Did you mean 'plates'"):
        youngs_moduli(block, 0.3, boundary="plate")
    with pytest.raises(InputError, match="tolerance must be a relative error"):
        stiffness_tensor(block, 0.3, tolerance=0.0)


def test_too_few_iterations_are_an_error_that_says_how_far_it_came():
    with pytest.raises(RunError, match=r"after 3 iterations .* Raise max_iterations"):
        effective_stiffness(blobs((8, 8, 8), 3014), 0.3, 0, max_iterations=3)
