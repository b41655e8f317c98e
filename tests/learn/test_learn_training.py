from dataclasses import replace

import numpy as np
import pytest

from operando.core.errors import InputError
from operando.learn import (
    Sections,
    TrainingSettings,
    build_network,
    count_annotations,
    draw_windows,
    train,
    training_settings,
)

SECTIONS = Sections(planes=("zx",), context=0, depth=False, patch=(32, 32))


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    truth = np.zeros((1, 32, 12, 32), np.uint8)
    truth[:, 16:] = 1
    marks = np.where(rng.random(truth.shape) < 0.1, truth, 255).astype(np.uint8)
    image = truth + 0.3 * rng.normal(size=truth.shape)
    counts = count_annotations(marks)
    return draw_windows(image, marks, counts, scans=[0], ids=[0, 1], sections=SECTIONS, scales={0: (0.5, 0.5)})


def trained(windows, **options):
    network = build_network("small", in_channels=1, classes=2, seed=0)
    return network, train(network, windows, classes=2, sections=SECTIONS, **options)


def test_the_loss_falls_and_progress_is_told(windows):
    told = []
    _, history = trained(
        windows, settings=TrainingSettings(steps=30, batch=4), progress=lambda *values: told.append(values)
    )
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert [step for step, _, _ in told] == list(range(1, 31))
    assert all(total == 30 and np.isfinite(loss) for _, total, loss in told)


def test_the_same_seed_gives_the_same_weights(windows):
    import torch

    settings = TrainingSettings(steps=4, batch=2)
    first, second = (trained(windows, settings=settings, seed=7)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_trained_network_is_ready_to_predict(windows):
    network, _ = trained(windows, settings=TrainingSettings(steps=1, batch=2))
    assert not network.training


def test_settings_have_names_and_an_unknown_one_names_the_nearest():
    assert training_settings("long").steps > training_settings("default").steps
    assert training_settings(TrainingSettings(steps=7)).steps == 7
    with pytest.raises(InputError, match="Did you mean 'huang2023'"):
        training_settings("huang")


def test_the_settings_of_the_paper_are_cross_entropy_and_the_last_weights(windows):
    import torch

    settings = replace(training_settings("huang2023"), steps=2, batch=2)
    network, history = trained(windows, settings=settings)
    again, _ = trained(windows, settings=replace(settings, average=0.5))
    assert (settings.dice, settings.weight_decay) == (0.0, 0.0)
    assert not all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert history[0]["loss"] == pytest.approx(np.log(2), abs=0.5)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": 0.0}, {"dice": 1.5}])
def test_settings_that_cannot_train_are_refused(wrong):
    with pytest.raises(InputError, match="TrainingSettings"):
        TrainingSettings(**wrong)
