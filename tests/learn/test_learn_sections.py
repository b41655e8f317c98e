import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando.core.errors import InputError
from operando.learn import NETWORKS, NetworkDesign, Sections, build_network, network_design
from operando.learn.sections import lattice, mirrored, padded_extent, patch_weights


@given(st.integers(1, 700), st.sampled_from([16, 40, 128]), st.sampled_from([0.0, 0.25, 0.5]))
def test_patches_cover_an_axis_and_their_weights_sum_to_one(size, patch, overlap):
    total = np.zeros(size)
    for start, weights in patch_weights(size, patch, overlap):
        assert start >= 0
        assert start + weights.size <= size
        total[start : start + weights.size] += weights
    assert np.allclose(total, 1, atol=1e-5)


@given(st.integers(200, 900))
def test_neighboring_patches_share_at_least_a_quarter(size):
    starts = lattice(size, 128, 0.25)
    assert starts[0] == 0
    assert starts[-1] == size - 128
    assert max(np.diff(starts)) <= 96


@given(st.integers(1, 9), st.integers(-40, 40))
def test_mirrored_positions_stay_inside(size, position):
    assert 0 <= mirrored(np.array([position]), size)[0] < size


def test_a_short_axis_is_rounded_up_to_what_the_network_divides_by():
    assert padded_extent(90, 160, 8) == 96
    assert padded_extent(96, 160, 8) == 96
    assert padded_extent(500, 160, 8) == 160


def test_an_unknown_plane_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'zx'"):
        Sections(planes=("zxx",))


def test_depth_has_no_meaning_in_a_plane_without_z():
    with pytest.raises(InputError, match="depth=False"):
        Sections(planes=("yx",), depth=True)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'huang2023'"):
        network_design("huang2022")


@pytest.mark.parametrize("name", NETWORKS)
def test_designs_survive_json(name):
    assert NetworkDesign.from_dict(NETWORKS[name].to_dict()) == NETWORKS[name]


def test_the_network_of_the_paper_has_seven_levels_and_29_million_weights():
    network = build_network("huang2023", in_channels=1, classes=6, device="meta")
    assert len(NETWORKS["huang2023"].channels) == 7
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(29e6, rel=0.03)


def test_a_block_of_the_paper_is_convolution_prelu_dropout_and_batch_normalization_twice_a_level():
    network = build_network("huang2023", in_channels=1, classes=6, device="meta")
    first = network.model[0].conv
    kinds = [[type(part).__name__ for part in [unit.conv, *unit.adn]] for unit in first]
    assert kinds == [["Conv2d", "PReLU", "Dropout", "BatchNorm2d"]] * 2
    assert first[0].conv.kernel_size == (3, 3)
    assert first[0].adn.D.p == 0.2
    design = NETWORKS["huang2023"]
    assert (design.channels, design.patch) == ((32, 64, 128, 256, 512, 512, 512), (512, 512))


@pytest.mark.parametrize("symmetries", [0, 3, 8])
def test_symmetries_are_one_two_or_four(symmetries):
    with pytest.raises(InputError, match="1, 2 or 4"):
        Sections(planes=("zx",), symmetries=symmetries)


def test_sections_saved_before_there_were_symmetries_read_patches_once():
    plain = Sections(planes=("zx", "zy"), symmetries=4).to_dict()
    assert Sections.from_dict(plain).symmetries == 4
    del plain["symmetries"]
    assert Sections.from_dict(plain).symmetries == 1


def test_the_seed_decides_the_weights_and_leaves_the_random_state_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build_network("small", in_channels=1, classes=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    values = [torch.cat([p.flatten() for p in network.parameters()]) for network in (first, second, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize(
    "numbers",
    [{"channels": (8,), "strides": ()}, {"channels": (8, 16), "strides": (3,)}, {"patch": (100, 128)}, {"order": "NA"}],
)
def test_a_design_that_cannot_be_built_is_refused(numbers):
    with pytest.raises(InputError, match="NetworkDesign"):
        NetworkDesign(**{**NETWORKS["small"].to_dict(), **numbers})
