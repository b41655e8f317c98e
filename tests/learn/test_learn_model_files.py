import json
import pickle

import numpy as np
import pytest

from operando.core.errors import FileError
from operando.learn import NetworkDesign, build_network, load_card, load_network, save_model

TINY = NetworkDesign(channels=(4, 8), strides=(2,), patch=(32, 32))


@pytest.fixture
def saved(tmp_path):
    network = build_network(TINY, in_channels=2, classes=3, seed=1)
    save_model(tmp_path / "model", {"kind": "test", "value": 1.5}, network=network)
    return tmp_path / "model", network


def load(folder, **options):
    return load_network(folder, TINY, **{"in_channels": 2, "classes": 3, "device": "cpu", **options})


def test_weights_survive_the_round_trip_bit_by_bit(saved):
    import torch

    folder, network = saved
    card = load_card(folder, kind="test")
    assert card["value"] == 1.5
    again = load(folder, sha256=card["weights_sha256"]).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())


def test_only_two_files_are_written_and_neither_is_a_pickle(saved):
    folder, _ = saved
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    for path in folder.iterdir():
        with pytest.raises(Exception, match=r"."):
            pickle.loads(path.read_bytes())


def test_a_pickle_in_place_of_the_weights_is_never_run(saved, tmp_path):
    folder, _ = saved
    witness = tmp_path / "witness"

    class Hostile:
        def __reduce__(self):
            return (witness.write_text, ("run",))

    (folder / "weights.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(FileError, match="must be a safetensors file"):
        load(folder)
    assert not witness.exists()


def test_truncated_weights_are_told_by_their_checksum(saved):
    folder, _ = saved
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(FileError, match="checksum differs"):
        load(folder, sha256=load_card(folder, kind="test")["weights_sha256"])
    with pytest.raises(FileError, match="must be a safetensors file"):
        load(folder)


def test_weights_of_another_network_do_not_fit(saved):
    folder, _ = saved
    with pytest.raises(FileError, match="arrays differ"):
        load(folder, classes=4)


def test_a_card_that_asks_for_a_huge_network_costs_no_memory(saved):
    folder, _ = saved
    huge = NetworkDesign(channels=(100_000, 200_000), strides=(2,), patch=(32, 32))
    with pytest.raises(FileError, match="arrays differ"):
        load_network(folder, huge, in_channels=2, classes=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "must be JSON"),
        (b"\xff\xfe\x00", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"[]", "kind None"),
        (json.dumps({"kind": "other"}).encode(), "kind 'other'"),
    ],
)
def test_a_broken_card_is_one_sentence(saved, content, message):
    folder, _ = saved
    (folder / "card.json").write_bytes(content)
    with pytest.raises(FileError, match=message):
        load_card(folder, kind="test")


def test_a_folder_without_a_card_is_no_model(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileError, match="there is none"):
            load_card(path, kind="test")


def test_absent_weights_are_told(saved):
    folder, _ = saved
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileError, match="cannot be read"):
        load(folder)


def test_saving_again_replaces_the_whole_folder(saved):
    folder, _ = saved
    save_model(folder, {"kind": "plain", "shape": [int(n) for n in np.arange(3)]})
    assert [path.name for path in folder.iterdir()] == ["card.json"]
