import numpy as np
import pytest

from operando.learn import calibration_error, fit_temperature, prior_shift, reliability, volume_shift


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_logits_were_scaled_by_is_found_again(temperature):
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(40_000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = (rng.random((len(logits), 1)) > chances.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(logits * temperature, classes) == pytest.approx(temperature, rel=0.05)


def test_calibration_error_of_honest_confidence_is_small_and_of_boasting_is_not():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, 100_000)
    correct = rng.random(confidence.size) < confidence
    assert calibration_error(confidence, correct) < 0.01
    assert calibration_error(np.ones(confidence.size), correct) == pytest.approx(0.25, abs=0.01)


def test_honest_confidence_lies_on_the_diagonal_of_its_reliability():
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0, 1, 200_000)
    curve = reliability(confidence, rng.random(confidence.size) < confidence, bins=10)
    assert set(curve) == {"confidence", "accuracy", "n"}
    assert np.allclose(curve["confidence"], np.arange(0.05, 1, 0.1), atol=0.005)
    assert np.allclose(curve["accuracy"], curve["confidence"], atol=0.02)
    assert sum(curve["n"]) == confidence.size


def test_empty_bins_are_left_out_of_a_reliability():
    assert reliability(np.array([1.0, 1.0]), np.array([True, False])) == {
        "confidence": [1.0],
        "accuracy": [0.5],
        "n": [2],
    }


def test_a_class_seen_less_in_images_than_in_training_is_shifted_down():
    logits = np.repeat([[3.0, -3.0], [-3.0, 3.0]], [950, 50], axis=0)
    shift = prior_shift(logits, np.array([0.5, 0.5]))
    assert shift[0] > 0 > shift[1]


def seen(rng, sizes, bias):
    """Noisy logits of three classes, of which one is favored by ``bias``."""
    classes = np.repeat(np.arange(3), sizes)
    logits = 3.0 * np.eye(3)[classes] + rng.normal(size=(classes.size, 3))
    return logits + np.array(bias), classes


def counts(logits, shift=0.0):
    return np.bincount((logits + shift).argmax(axis=1), minlength=3)


def test_every_class_wins_as_many_voxels_as_are_its_own_after_the_shift():
    logits, classes = seen(np.random.default_rng(4), [60_000, 20_000, 5_000], [0.0, 0.8, -1.0])
    true = np.bincount(classes)
    assert counts(logits)[1] > 1.05 * true[1]
    assert counts(logits)[2] < 0.95 * true[2]
    shift = volume_shift(logits, classes, units=10_000, least=0, limit=2)
    assert shift[0] == 0
    assert np.allclose(counts(logits, shift) / true, 1, atol=0.002)


def test_the_shift_holds_for_voxels_it_was_not_fitted_on():
    rng = np.random.default_rng(5)
    sizes, bias = [60_000, 20_000, 20_000], [0.0, 0.8, -1.0]
    shift = volume_shift(*seen(rng, sizes, bias), units=9, limit=2)
    logits, _ = seen(rng, sizes, bias)
    before, after = (np.abs(counts(logits, s) / sizes - 1)[1:].max() for s in (0.0, shift))
    assert after < 0.03 < before


def test_a_class_of_few_voxels_hardly_moves():
    logits, classes = seen(np.random.default_rng(6), [60_000, 20_000, 40], [0.0, 0.0, 0.5])
    assert counts(logits)[2] > 400
    assert abs(volume_shift(logits, classes)[2]) < 0.1
    assert volume_shift(logits, classes, least=0, limit=2)[2] < -0.3


def test_the_more_scans_tell_the_same_the_more_of_the_shift_is_believed():
    logits, classes = seen(np.random.default_rng(7), [20_000, 20_000, 20_000], [0.0, 0.5, 0.0])
    shifts = [volume_shift(logits, classes, units=units, least=0, limit=2)[1] for units in (1, 3, 999)]
    assert shifts[0] == pytest.approx(2 / 3 * shifts[1])
    assert shifts[1] == pytest.approx(3 / 4 * shifts[2], rel=0.01)
    assert shifts[2] == pytest.approx(-0.5, abs=0.05)


def test_a_shift_stays_within_its_limit_and_is_none_without_voxels():
    logits, classes = seen(np.random.default_rng(8), [2_000, 1_000, 1_000], [0, -9.0, 0])
    assert volume_shift(logits, classes, units=999, least=0)[1] == pytest.approx(0.5, rel=0.01)
    assert volume_shift(np.zeros((0, 3)), np.zeros(0, int)).tolist() == [0, 0, 0]
