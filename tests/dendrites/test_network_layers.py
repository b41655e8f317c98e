"""Forward, backward, Jacobian and the product J'J of tanh networks against finite differences and plain algebra."""

import numpy as np
import pytest

from operando.dendrites.lapack import Factor, add_product, add_square
from operando.dendrites.layers import Layers, backward, forward, jacobian, nguyen_widrow, pull_back, with_ones
from operando.dendrites.products import NormalProduct

SHAPES = [(1, 20, 1), (3, 4, 1), (2, 5, 3, 1), (2, 3, 4, 2, 1)]


def _case(sizes, networks=2, n=7, seed=0):
    rng = np.random.default_rng(seed)
    layers = Layers(sizes)
    return layers, rng.standard_normal((networks, layers.count)), with_ones(rng.standard_normal((1, sizes[0], n)))


def test_a_single_unit_is_the_tanh_of_its_line():
    layers = Layers((1, 1, 1))
    predicted, _ = forward(layers, np.array([[2.0, 0.5, 3.0, -1.0]]), with_ones(np.array([[[0.25]]])))
    assert predicted.item() == pytest.approx(3.0 * np.tanh(1.0) - 1.0, rel=1e-14)


@pytest.mark.parametrize("sizes", SHAPES)
def test_jacobian_equals_central_differences(sizes):
    layers, weights, inputs = _case(sizes)
    _, entering = forward(layers, weights, inputs)
    exact = jacobian(layers, backward(layers, weights, entering), entering)
    for k in range(layers.count):
        step = np.zeros(layers.count)
        step[k] = 1e-6
        difference = forward(layers, weights + step, inputs)[0] - forward(layers, weights - step, inputs)[0]
        np.testing.assert_allclose(exact[:, k], difference / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sizes", SHAPES)
def test_errors_pulled_back_are_the_jacobian_times_the_errors(sizes):
    layers, weights, inputs = _case(sizes)
    predicted, entering = forward(layers, weights, inputs)
    deltas = backward(layers, weights, entering)
    product = np.einsum("bkn,bn->bk", jacobian(layers, deltas, entering), predicted)
    np.testing.assert_allclose(pull_back(layers, deltas, entering, predicted), product, rtol=1e-12, atol=1e-13)


def test_permuted_and_mirrored_units_give_the_same_network():
    layers, weights, inputs = _case((2, 5, 3, 1), networks=1)
    first, second, last = (matrix.copy() for matrix in layers.matrices(weights))
    order = [3, 0, 4, 1, 2]
    first, second[..., :-1] = first[:, order], second[..., order]
    first[:, 1], second[:, :, 1] = -first[:, 1], -second[:, :, 1]
    same = np.concatenate([first.ravel(), second.ravel(), last.ravel()])[None]
    np.testing.assert_allclose(forward(layers, same, inputs)[0], forward(layers, weights, inputs)[0], rtol=1e-12)
    assert layers.log_symmetries == pytest.approx(np.log(120 * 2**5) + np.log(6 * 2**3))


@pytest.mark.parametrize("sizes", [(3, 4, 1), (2, 5, 3, 1), (4, 1, 6, 1)])
@pytest.mark.parametrize("structured", [False, True])
def test_product_of_a_long_jacobian_in_slices_is_the_plain_product(sizes, structured):
    layers, weights, inputs = _case(sizes, networks=2, n=301)
    _, entering = forward(layers, weights, inputs)
    deltas = backward(layers, weights, entering)
    whole = jacobian(layers, deltas, entering)
    product = NormalProduct(layers, 301)
    if structured:  # as a large network would be
        product = _structured(layers, 301)
    product.width = 64
    out = [np.zeros((layers.count, layers.count)) for _ in range(2)]
    product.write(deltas, entering, out)
    for columns, found in zip(whole, out, strict=True):
        np.testing.assert_allclose(found, np.triu(columns @ columns.T), rtol=1e-11, atol=1e-11)


def _structured(layers, n):
    from operando.dendrites import products

    limit = products._STRUCTURED
    products._STRUCTURED = 0
    try:
        return NormalProduct(layers, n)
    finally:
        products._STRUCTURED = limit


def test_written_products_do_not_depend_on_what_was_there():
    layers, weights, inputs = _case((2, 5, 3, 1), networks=1, n=100)
    _, entering = forward(layers, weights, inputs)
    deltas = backward(layers, weights, entering)
    for product in (NormalProduct(layers, 100), _structured(layers, 100)):
        out = np.zeros((layers.count, layers.count))
        product.write(deltas, entering, [out])
        once = out.copy()
        product.write(deltas, entering, [out])
        np.testing.assert_array_equal(out, once)


def test_a_window_takes_a_product_and_its_surroundings_stay():
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal((3, 5)), rng.standard_normal((2, 5)), np.full((6, 7), 9.0)
    add_product(a, b, out[1:4, 2:4], add=False)
    add_product(a, b, out[1:4, 2:4], add=True)
    np.testing.assert_allclose(out[1:4, 2:4], 2 * a @ b.T, rtol=1e-12)
    assert (out[0] == 9).all()
    assert (out[:, 4:] == 9).all()
    add_square(a, out[0:3, 0:3], add=False)
    np.testing.assert_allclose(np.triu(out[:3, :3]), np.triu(a @ a.T), rtol=1e-12)


def test_factor_solves_and_traces_like_the_inverse():
    rng = np.random.default_rng(1)
    columns = rng.standard_normal((8, 20))
    full = 0.7 * columns @ columns.T + 0.3 * np.eye(8)
    factor, right = Factor(8), rng.standard_normal(8)
    assert factor.factorize(np.triu(columns @ columns.T), scale=0.7, shift=0.3)
    np.testing.assert_allclose(factor.solve(right), np.linalg.solve(full, right), rtol=1e-10)
    assert factor.trace_of_inverse() == pytest.approx(np.trace(np.linalg.inv(full)), rel=1e-10)


def test_an_indefinite_matrix_has_no_factor():
    assert not Factor(2).factorize(np.diag([1.0, -2.0]), scale=1.0, shift=1.0)


def test_nguyen_widrow_rows_have_their_length_and_biases_cover_the_range():
    layers = Layers((4, 16, 9, 1))
    first, second, last = layers.matrices(
        nguyen_widrow(layers, np.random.default_rng(0), low=[-1] * 4, high=[1] * 4)[None]
    )
    np.testing.assert_allclose(np.linalg.norm(first[0, :, :-1], axis=1), 0.7 * 16**0.25, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(second[0, :, :-1], axis=1), 0.7 * 9 ** (1 / 16), rtol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(first[0, :, -1]))[-2:], 0.7 * 16**0.25, rtol=1e-12)
    assert np.abs(last).max() <= 0.5


def test_a_start_for_unscaled_inputs_is_the_start_for_scaled_ones():
    layers, low, high = Layers((2, 6, 1)), np.array([10.0, -3.0]), np.array([30.0, 5.0])
    scaled = nguyen_widrow(layers, np.random.default_rng(5), low=[-1, -1], high=[1, 1])[None]
    raw = nguyen_widrow(layers, np.random.default_rng(5), low=low, high=high)[None]
    x = np.random.default_rng(0).uniform(-1, 1, (1, 2, 11))
    stretched = x * ((high - low) / 2)[:, None] + ((high + low) / 2)[:, None]
    np.testing.assert_allclose(
        forward(layers, raw, with_ones(stretched))[0], forward(layers, scaled, with_ones(x))[0], rtol=1e-10
    )


def test_an_input_without_a_width_gets_a_finite_start():
    start = nguyen_widrow(Layers((2, 3, 1)), np.random.default_rng(0), low=[0, 4], high=[1, 4])
    assert np.isfinite(start).all()
