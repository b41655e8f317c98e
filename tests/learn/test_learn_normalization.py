import numpy as np
import pytest

from operando.learn import gray_columns, gray_scale, normalized


def test_the_scale_follows_gain_and_offset():
    values = np.random.default_rng(0).normal(size=5000)
    center, spread = gray_scale(values)
    moved = gray_scale(40_000 + 300 * values)
    assert moved == pytest.approx((40_000 + 300 * center, 300 * spread))


def test_outliers_and_missing_voxels_do_not_move_the_scale():
    values = np.random.default_rng(0).normal(size=5000)
    spoiled = values.copy()
    spoiled[:10] = 1e9
    spoiled[10:500] = np.nan
    assert gray_scale(spoiled) == pytest.approx(gray_scale(values), abs=0.05)


def test_equal_or_missing_values_have_a_scale_that_can_be_divided_by():
    assert gray_scale(np.full(4, 7.0)) == (7.0, 1.0)
    assert gray_scale(np.full(4, np.nan)) == (0.0, 1.0)


def test_integers_and_floats_of_one_image_are_normalized_alike():
    image = np.random.default_rng(0).normal(loc=30_000, scale=200, size=(6, 7, 8)).round()
    as_float = normalized(image.astype(np.float32), gray_scale(image))
    assert np.allclose(normalized(image.astype(np.uint16), gray_scale(image)), as_float, atol=1e-4)


def test_a_missing_voxel_becomes_the_mean():
    assert normalized(np.array([np.nan, np.inf, 3.0]), (1.0, 2.0)).tolist() == [0, 0, 1]


def test_the_sample_is_whole_columns_bounded_and_the_same_for_any_chunks():
    import dask.array as da

    volume = np.random.default_rng(0).random((20, 700, 900), dtype=np.float32)
    sample = gray_columns(volume)
    assert sample.shape[0] == 20
    assert sample.size < 2 * 2**17
    for chunks in ((20, 64, 900), (7, 300, 111)):
        lazy = gray_columns(da.from_array(volume, chunks=chunks))
        assert np.array_equal(lazy.compute(), sample)


def test_a_small_volume_is_sampled_whole():
    volume = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    assert np.array_equal(gray_columns(volume), volume)
