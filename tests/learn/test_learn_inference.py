import numpy as np
import pytest

from operando.core.blocks import iter_blocks
from operando.core.errors import InputError
from operando.learn import Sections, block_logits, build_network, read_region


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(0).normal(size=(40, 50, 70)).astype(np.float32)


def logits_of(volume, core, sections, network, classes=3):
    region = read_region(core, volume.shape, sections)
    return block_logits(
        network,
        volume[region],
        core=core,
        shape=volume.shape,
        offset=[part.start for part in region],
        sections=sections,
        scale=(0.0, 1.0),
        classes=classes,
    )


def small_network(sections, classes=3):
    return build_network("small", in_channels=sections.in_channels, classes=classes, seed=3).eval()


@pytest.mark.parametrize(
    "sections",
    [
        Sections(planes=("zx", "zy"), patch=(32, 32)),
        Sections(planes=("zx",), context=0, patch=(48, 32), overlap=0.5),
        Sections(planes=("yx",), context=1, depth=False, patch=(32, 48)),
    ],
    ids=["two planes", "no context", "slice by slice"],
)
@pytest.mark.parametrize("block", [(40, 17, 70), (13, 50, 33), (16, 16, 16)])
def test_blocks_give_exactly_the_logits_of_the_whole(volume, sections, block):
    network = small_network(sections)
    whole = logits_of(volume, tuple(slice(0, size) for size in volume.shape), sections, network)
    parts = np.empty_like(whole)
    for part in iter_blocks(volume.shape, block):
        parts[(slice(None), *part.core)] = logits_of(volume, part.core, sections, network)
    assert np.array_equal(parts, whole)


def test_exchanging_x_and_y_exchanges_the_result(volume):
    sections = Sections(planes=("zx", "zy"), patch=(48, 32))
    network = small_network(sections)
    there = logits_of(volume, tuple(slice(0, size) for size in volume.shape), sections, network)
    turned = volume.swapaxes(1, 2)
    back = logits_of(turned, tuple(slice(0, size) for size in turned.shape), sections, network)
    assert np.allclose(back.swapaxes(2, 3), there, atol=1e-4)


def test_logits_of_a_constant_network_are_that_constant(volume):
    import torch

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.tensor([1.0, -2.0]))

        def forward(self, x):
            return self.value[None, :, None, None].expand(len(x), 2, *x.shape[2:])

    sections = Sections(planes=("zx", "zy"), patch=(32, 32))
    logits = logits_of(volume, (slice(3, 40), slice(0, 50), slice(9, 61)), sections, Constant(), classes=2)
    assert np.allclose(logits[0], 1, atol=1e-5)
    assert np.allclose(logits[1], -2, atol=1e-5)


def test_the_region_read_holds_all_that_matters(volume):
    sections = Sections(planes=("zx", "zy"), patch=(32, 32))
    network = small_network(sections)
    core = (slice(0, 40), slice(0, 5), slice(0, 5))
    before = logits_of(volume, core, sections, network)
    changed = volume.copy()
    mask = np.ones(volume.shape, bool)
    mask[read_region(core, volume.shape, sections)] = False
    changed[mask] = 1e6
    assert mask.any()
    assert np.array_equal(logits_of(changed, core, sections, network), before)


def test_an_empty_core_is_refused(volume):
    sections = Sections(planes=("yx",), depth=False, patch=(32, 32))
    with pytest.raises(InputError, match="at least one voxel"):
        logits_of(volume, (slice(4, 4), slice(0, 5), slice(0, 5)), sections, small_network(sections))


def test_reading_every_mirror_image_makes_the_result_mirror_with_the_volume():
    volume = np.random.default_rng(1).normal(size=(16, 28, 28)).astype(np.float32)
    everything = tuple(slice(0, size) for size in volume.shape)
    for planes, depth in ((("zx", "zy"), True), (("yx",), False)):
        plain = Sections(planes=planes, depth=depth, context=1, patch=(16, 16))
        network = small_network(plain)
        for axis in (1, 2):
            mirrored = np.flip(volume, axis)
            for symmetries, same in ((4, True), (1, False)):
                sections = Sections(**{**plain.to_dict(), "symmetries": symmetries})
                there = logits_of(volume, everything, sections, network)
                back = logits_of(mirrored, everything, sections, network)
                assert np.allclose(np.flip(back, axis + 1), there, atol=1e-4) is same


def test_two_symmetries_turn_the_volume_by_half_about_z():
    volume = np.random.default_rng(2).normal(size=(16, 28, 28)).astype(np.float32)
    everything = tuple(slice(0, size) for size in volume.shape)
    sections = Sections(planes=("zx", "zy"), patch=(16, 16), symmetries=2)
    network = small_network(sections)
    there = logits_of(volume, everything, sections, network)
    back = logits_of(np.flip(volume, (1, 2)), everything, sections, network)
    assert np.allclose(np.flip(back, (2, 3)), there, atol=1e-4)
    assert not np.allclose(logits_of(volume, everything, Sections(planes=("zx", "zy"), patch=(16, 16)), network), there)
