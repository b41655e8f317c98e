"""Non-negative least squares against SciPy, brute force and algebra."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from operando.core.errors import InputError
from operando.spectral import nonnegative_least_squares
from operando.spectral.nnls import enumerate_supports, semidefinite_factor, solve


def design(rng, rows, columns, condition=10.0):
    left, _ = np.linalg.qr(rng.standard_normal((rows, columns)))
    right, _ = np.linalg.qr(rng.standard_normal((columns, columns)))
    return (left * np.geomspace(1.0, 1.0 / condition, columns)) @ right


def loop(matrix, data):
    return np.array([nnls(matrix, column)[0] for column in data.T])


def normal_equations(matrix, data, **options):
    return nonnegative_least_squares(matrix.T @ matrix, (matrix.T @ data).T, **options)


def factored(matrix, data, **options):
    basis, triangle = np.linalg.qr(matrix)
    return solve(triangle[None], np.ascontiguousarray((basis.T @ data).T), 0, **options)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10_000))
def test_weights_are_those_of_scipy_for_up_to_twenty_references(n, seed):
    rng = np.random.default_rng(seed)
    matrix = design(rng, 40, n)
    data = matrix @ np.maximum(rng.standard_normal((n, 30)), 0) + 0.1 * rng.standard_normal((40, 30))
    expected = loop(matrix, data)
    np.testing.assert_allclose(normal_equations(matrix, data), expected, rtol=0, atol=1e-10 * max(1.0, expected.max()))


@pytest.mark.parametrize("n", [2, 5, 8, 13, 20])
@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_a_factor_keeps_ten_digits_where_references_are_nearly_alike(n, condition):
    rng = np.random.default_rng(n)
    matrix = design(rng, 50, n, condition)
    data = matrix @ np.maximum(rng.standard_normal((n, 300)), 0) + 0.01 * rng.standard_normal((50, 300))
    expected = loop(matrix, data)
    np.testing.assert_allclose(factored(matrix, data), expected, rtol=0, atol=1e-10 * expected.max())


def test_a_gram_for_each_pixel_gives_what_each_pixel_gives_alone():
    rng = np.random.default_rng(1)
    matrices = np.array([design(rng, 20, 6) for _ in range(50)])
    data = rng.standard_normal((50, 20))
    grams = matrices.transpose(0, 2, 1) @ matrices
    found = nonnegative_least_squares(grams, np.einsum("pek,pe->pk", matrices, data))
    expected = [nnls(matrix, values)[0] for matrix, values in zip(matrices, data, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.max(expected))


@pytest.mark.parametrize("n", [3, 11])
def test_free_columns_are_the_difference_of_two_bounded_ones(n):
    rng = np.random.default_rng(n)
    bounded, free = design(rng, 40, n), rng.standard_normal((40, 2))
    data = rng.standard_normal((40, 300))
    expected = loop(np.hstack([free, -free, bounded]), data)
    found = normal_equations(
        np.hstack([bounded[:, :1], free, bounded[:, 1:]]), data, free=[False, True, True] + [False] * (n - 1)
    )
    np.testing.assert_allclose(found[:, [0, *range(3, n + 2)]], expected[:, 4:], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[:, 1:3], expected[:, :2] - expected[:, 2:4], rtol=0, atol=1e-10)


def by_brute_force_on_the_simplex(matrix, values):
    """The best of all supports: each an equality-constrained fit whose weights must be positive."""
    n, best, weights = matrix.shape[1], np.inf, None
    for size in range(1, n + 1):
        for support in map(list, combinations(range(n), size)):
            part = matrix[:, support]
            system = np.block([[part.T @ part, np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
            w = np.linalg.solve(system, np.append(part.T @ values, 1.0))[:size]
            misfit = np.sum((part @ w - values) ** 2)
            if (w >= 0).all() and misfit < best:
                best, weights = misfit, np.zeros(n)
                weights[support] = w
    return weights


@pytest.mark.parametrize("pixels", [4, 300])  # one by one, and by the table of supports
def test_a_fixed_sum_is_the_best_of_all_supports(pixels):
    rng = np.random.default_rng(pixels)
    matrix = design(rng, 12, 5)
    data = matrix @ rng.dirichlet(np.ones(5), pixels).T + 0.2 * rng.standard_normal((12, pixels))
    found = normal_equations(matrix, data, sum_to_one=True)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    assert (found >= 0).all()
    assert (found == 0).any()
    expected = [by_brute_force_on_the_simplex(matrix, values) for values in data[:, :40].T]
    np.testing.assert_allclose(found[:40], expected, rtol=0, atol=1e-10)


def test_a_fixed_sum_with_a_background_is_what_a_general_solver_finds():
    rng = np.random.default_rng(3)
    matrix = np.column_stack([np.ones(15), design(rng, 15, 4)])
    values = 0.3 * rng.standard_normal(15)
    found = normal_equations(matrix, values[:, None], free=[True] + [False] * 4, sum_to_one=True)[0]
    best = minimize(
        lambda w: np.sum((matrix @ w - values) ** 2),
        np.full(5, 0.25),
        jac=lambda w: 2 * matrix.T @ (matrix @ w - values),
        method="SLSQP",
        bounds=[(None, None)] + [(0, None)] * 4,
        constraints={"type": "eq", "fun": lambda w: w[1:].sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-6)
    assert np.sum((matrix @ found - values) ** 2) <= best.fun + 1e-12


def test_twelve_weights_on_a_simplex_obey_the_conditions_of_karush_kuhn_and_tucker():
    rng = np.random.default_rng(5)
    matrix = design(rng, 30, 12)
    data = rng.standard_normal((30, 50))
    w = normal_equations(matrix, data, sum_to_one=True)
    slope = (w @ matrix.T - data.T) @ matrix
    lowest = slope.min(axis=1, keepdims=True)
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.where(w > 0, slope - lowest, 0.0), 0.0, atol=1e-10)


@pytest.mark.parametrize("n", [5, 12])
@pytest.mark.parametrize("pixels", [10, 2000])
def test_references_that_depend_on_each_other_still_give_the_least_misfit(n, pixels):
    rng = np.random.default_rng(n + pixels)
    matrix = design(rng, 30, n)
    matrix[:, 1] = matrix[:, 0]
    matrix[:, 4] = matrix[:, 2] - 0.5 * matrix[:, 3]
    data = rng.standard_normal((30, pixels))
    found = factored(matrix, data)
    assert (found >= 0).all()
    expected = [nnls(matrix, values)[1] for values in data[:, :50].T]
    misfits = np.linalg.norm(matrix @ found.T - data, axis=0)
    np.testing.assert_allclose(misfits[:50], expected, rtol=1e-12)


def test_the_method_of_lawson_and_hanson_finds_the_same():
    from operando.spectral.nnls_compiled import _climb

    rng = np.random.default_rng(8)
    matrix = design(rng, 20, 9)
    matrix[:, 8] = matrix[:, 0] + matrix[:, 1]
    for values in rng.standard_normal((200, 20)):
        w, rest = np.empty(9), np.empty(20)
        _climb(matrix, values, False, np.full(9, 1e-13), np.zeros(9, bool), w, np.empty((18, 20)), rest)
        assert np.linalg.norm(matrix @ w - values) == pytest.approx(nnls(matrix, values)[1], rel=1e-12)


def test_data_that_a_few_references_make_up_exactly_is_told_by_them():
    rng = np.random.default_rng(2)
    matrix = np.abs(rng.standard_normal((30, 6)))
    truth = np.zeros((500, 6))
    truth[np.arange(500), rng.integers(0, 6, 500)] = 1.0
    np.testing.assert_allclose(normal_equations(matrix, matrix @ truth.T), truth, atol=1e-12)


def test_no_data_gives_no_weight():
    assert (normal_equations(np.eye(3), np.zeros((3, 100))) == 0).all()


def test_weights_follow_their_references_when_these_change_places_or_size():
    rng = np.random.default_rng(4)
    matrix, data = design(rng, 20, 6), rng.standard_normal((20, 200))
    order, scale = rng.permutation(6), rng.uniform(0.1, 10, 6)
    found = normal_equations(matrix, data)
    np.testing.assert_allclose(normal_equations(matrix[:, order], data), found[:, order], atol=1e-11)
    np.testing.assert_allclose(normal_equations(matrix * scale, data) * scale, found, atol=1e-11)


def test_a_pixel_that_is_not_finite_is_nan_and_leaves_its_neighbors_alone():
    matrix = design(np.random.default_rng(6), 10, 3)
    rhs = (matrix.T @ np.random.default_rng(7).standard_normal((10, 20))).T
    alone = nonnegative_least_squares(matrix.T @ matrix, rhs)
    rhs[3, 1] = np.nan
    found = nonnegative_least_squares(matrix.T @ matrix, rhs)
    assert np.isnan(found[3]).all()
    np.testing.assert_array_equal(np.delete(found, 3, axis=0), np.delete(alone, 3, axis=0))
    grams = np.repeat((matrix.T @ matrix)[None], 20, axis=0)
    grams[5] = np.nan
    assert np.isnan(nonnegative_least_squares(grams, rhs)[[3, 5]]).all()


def test_a_table_of_supports_holds_the_least_squares_solution_of_each():
    rng = np.random.default_rng(9)
    factor = np.triu(rng.standard_normal((3, 3)))
    table = enumerate_supports(factor)
    y = rng.standard_normal(3)
    two = table.operators[0b101].T[:3] @ y
    np.testing.assert_allclose(two[[0, 2]], np.linalg.lstsq(factor[:, [0, 2]], y)[0])
    np.testing.assert_allclose(two[1], factor[:, 1] @ (factor[:, [0, 2]] @ two[[0, 2]] - y))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_semidefinite_matrix_is_the_square_of_its_factor(n, rank, seed):
    root = np.random.default_rng(seed).standard_normal((4, min(rank, n), n))
    gram = root.transpose(0, 2, 1) @ root
    factor = semidefinite_factor(gram)
    np.testing.assert_allclose(factor.transpose(0, 2, 1) @ factor, gram, atol=1e-6 * np.abs(gram).max())


@pytest.mark.parametrize(
    ("gram", "rhs", "free", "message"),
    [
        (np.eye(2), np.ones((4, 3)), None, r"gram must be \(n, n\).*got \(2, 2\) and \(4, 3\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2), None, "gram must be symmetric, but entries differ by 0.5"),
        (np.eye(2), np.ones(2), [True, True], "free must mark some of the 2 columns, not all"),
        (np.eye(2), np.ones(2), [True], "free must mark some of the 2 columns"),
    ],
)
def test_what_cannot_be_solved_is_refused_with_the_reason(gram, rhs, free, message):
    with pytest.raises(InputError, match=message):
        nonnegative_least_squares(gram, rhs, free=free)
