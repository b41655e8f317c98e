import json

import numpy as np
import pytest

from operando.core.errors import FileError, InputError
from operando.learn import (
    NetworkDesign,
    TrainingSettings,
    build_network,
    load_network,
    network_design,
    save_model,
    train,
)
from operando.learn.normalization import normalized
from operando.learn.sampling import Window
from operando.learn.sections import Sections

SMALL = NetworkDesign(channels=(8, 8, 16, 16, 32, 512), strides=(2,) * 5, patch=(32, 32), encoder="resnet10")


def test_the_network_of_dixit_has_a_resnet34_encoder_and_sides_of_multiples_of_32():
    design = network_design("dixit2020")
    assert (design.encoder, design.factor) == ("resnet34", 32)
    network = build_network(design, in_channels=1, classes=2, device="meta")
    # The encoder that the literature knows has 21.3 million parameters with three input planes and a classifier.
    encoder = sum(p.numel() for p in network.encoder.parameters())
    assert encoder == pytest.approx(21.3e6, rel=0.02)
    kinds = [type(block).__name__ for layer in (1, 2, 3, 4) for block in getattr(network.encoder, f"layer{layer}")]
    assert kinds == ["ResNetBlock"] * (3 + 4 + 6 + 3)


@pytest.mark.parametrize("in_channels", [1, 5])
@pytest.mark.parametrize("classes", [2, 5])
def test_any_number_of_inputs_and_classes_keeps_the_size_of_the_image(in_channels, classes):
    import torch

    network = build_network(SMALL, in_channels=in_channels, classes=classes).eval()
    with torch.inference_mode():
        out = network(torch.zeros(2, in_channels, 32, 96))
    assert tuple(out.shape) == (2, classes, 32, 96)


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    first, same, other = (build_network(SMALL, in_channels=1, classes=2, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(bool((first[name] == same[name]).all()) for name in first)
    assert any(bool((first[name] != other[name]).any()) for name in first)


def test_the_channels_are_those_of_the_decoder_finest_first():
    network = build_network(SMALL, in_channels=1, classes=2, device="meta")
    widths = [block.convs.conv_1.conv.out_channels for block in network.decoder.blocks]
    assert widths == [32, 16, 16, 8, 8]


@pytest.mark.parametrize("design", [SMALL, network_design("small"), network_design("dixit2020")])
def test_a_design_survives_json(design):
    assert NetworkDesign.from_dict(json.loads(json.dumps(design.to_dict()))) == design


def test_a_card_written_before_there_were_encoders_is_read():
    card = network_design("small").to_dict()
    del card["encoder"]
    assert NetworkDesign.from_dict(card) == network_design("small")


def test_weights_survive_the_round_trip_and_fit_no_other_encoder(tmp_path):
    import torch

    network = build_network(SMALL, in_channels=2, classes=3, seed=1)
    save_model(tmp_path / "model", {"kind": "test"}, network=network)
    again = load_network(tmp_path / "model", SMALL, in_channels=2, classes=3, device="cpu").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    wider = NetworkDesign.from_dict({**SMALL.to_dict(), "encoder": "resnet18"})
    with pytest.raises(FileError, match="arrays differ"):
        load_network(tmp_path / "model", wider, in_channels=2, classes=3, device="cpu")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder": "resnet-34"}, "Did you mean 'resnet34'"),
        ({"strides": (2, 2, 2, 2, 1)}, "five strides of 2"),
        ({"channels": (8, 8, 16, 16, 32, 64)}, "the last of six channels is 512"),
        ({"order": "ADN"}, "the order 'NDA'"),
        ({"patch": (48, 32)}, "multiples of 32"),
    ],
)
def test_a_design_that_the_encoder_cannot_have_is_refused_with_the_remedy(wrong, message):
    with pytest.raises(InputError, match=message):
        NetworkDesign(**{**SMALL.to_dict(), "patch": (32, 32), **wrong})


def test_it_learns_two_gray_levels():
    rng = np.random.default_rng(0)
    classes = np.ones((4, 32, 64), np.uint8)
    classes[:, :, 32:] = 0
    gray = normalized(np.where(classes, 0.0, 1.0) + 0.05 * rng.normal(size=classes.shape), (0.5, 0.5))
    windows = [Window(0, "yx", gray[i][None], classes[i], np.zeros(32, np.float32)) for i in range(4)]
    sections = Sections(planes=("yx",), context=0, depth=False, patch=(32, 32), factor=32)
    network = build_network(SMALL, in_channels=1, classes=2)
    history = train(
        network, windows, classes=2, sections=sections, settings=TrainingSettings(steps=12, batch=4, learning_rate=3e-3)
    )
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
