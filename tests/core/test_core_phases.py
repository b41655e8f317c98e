import json

import dask.array as da
import numpy as np
import pytest

import operando
from operando.core.blocks import label_counts
from operando.core.errors import InputError, PhaseError
from operando.core.phases import CELL, UNLABELED, PhaseScheme


def test_a_plain_mapping_makes_a_scheme():
    phases = operando.PhaseScheme({"electrolyte": 0, "electrode": 1})
    assert phases["electrode"] == 1
    assert phases.name(0) == "electrolyte"
    assert dict(phases) == {"electrolyte": 0, "electrode": 1}
    assert PhaseScheme.of(phases) is phases
    assert PhaseScheme.of(dict(phases)) == phases


def test_lithium_and_void_are_known_by_name():
    assert CELL.names_by_role("lithium") == ("electrode", "deposited", "dendrite", "redeposited")
    assert CELL.names_by_role("void") == ("pit",)


def test_every_phase_has_a_color_of_its_own():
    phases = PhaseScheme({f"phase {i}": i for i in range(7)})
    assert len({phases.color(name) for name in phases}) == 7
    assert len({CELL.color(name) for name in CELL}) == len(CELL)


def test_a_scheme_survives_json():
    phases = PhaseScheme({"grain": 3, "pore": 7}, colors={"grain": "#123456"}, roles={"grain": "solid"})
    assert PhaseScheme.from_dict(json.loads(json.dumps(phases.to_dict()))) == phases


@pytest.mark.parametrize(
    ("mapping", "fault"),
    [
        ({}, "at least one"),
        ({"a": 255}, "0 to 254"),
        ({"a": -1}, "0 to 254"),
        ({"a": 1.5}, "integer"),
        ({"a": True}, "integer"),
        ({"a": 1, "b": 1}, "for both 'a' and 'b'"),
        ({"": 1}, "non-empty"),
    ],
)
def test_unusable_phases_are_refused_with_the_value(mapping, fault):
    with pytest.raises(PhaseError, match=fault):
        PhaseScheme(mapping)


def test_an_unknown_phase_suggests_the_nearest():
    with pytest.raises(PhaseError, match="Did you mean 'electrode'"):
        CELL["elektrode"]
    with pytest.raises(PhaseError, match="unknown role 'litium'.*'lithium'"):
        PhaseScheme({"a": 0}, roles={"a": "litium"})


def test_labels_outside_the_scheme_are_named_and_unlabeled_is_allowed():
    labels = np.array([[0, 1, UNLABELED, 9]], dtype=np.uint8)
    with pytest.raises(PhaseError, match=r"got also \[9\]"):
        CELL.check(labels)
    CELL.check(labels[:, :3])


def test_label_counts_of_blocks_equal_those_of_the_whole():
    labels = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
    lazy = da.from_array(labels, chunks=(2, 3, 4))
    np.testing.assert_array_equal(label_counts(lazy), np.bincount(labels.ravel(), minlength=256))


def test_a_label_image_of_another_type_is_refused():
    with pytest.raises(InputError, match="uint8.*got float64"):
        label_counts(np.zeros((2, 2)))
