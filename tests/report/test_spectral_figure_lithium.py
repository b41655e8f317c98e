"""Distributions, particles, boundaries and profiles of lithiation."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.report import core_to_rim_plot, lithiation_distribution, particle_map, phase_boundary
from operando.report.spectral_lithium import weighted_quantiles


@pytest.fixture
def x() -> xr.DataArray:
    values = np.tile(np.linspace(0, 1, 8), (6, 1))
    values[0] = np.nan
    return labeled_image(values, dims=("y", "x"), voxel_size_um=0.05, long_name="x in Li_x M")


@pytest.fixture
def particles(x) -> xr.DataArray:
    labels = np.zeros(x.shape, dtype=np.int32)
    labels[1:5, :3] = 1
    labels[2:5, 5:8] = 2
    return x.copy(data=labels)


def test_shares_add_up_to_one_and_count_by_thickness(x):
    thickness = x.copy(data=np.where(np.arange(8) < 4, 3.0, 1.0) * np.ones((6, 1)))
    area = lithiation_distribution(x, bins=2).axes[0]
    thick = lithiation_distribution(x, thickness=thickness, bins=2).axes[0]
    assert list(area.patches[0].get_data().values) == pytest.approx([0.5, 0.5])
    assert list(thick.patches[0].get_data().values) == pytest.approx([0.75, 0.25])
    assert thick.get_ylabel().replace("\n", " ") == "Share of the thickness per 0.5"
    assert thick.get_xlabel() == "x in LiₓM"


def test_what_lies_beyond_the_limits_is_counted_at_the_ends(x):
    ax = lithiation_distribution(x, bins=4, limits=(0.4, 0.6)).axes[0]
    shares = ax.patches[0].get_data().values
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] >= 3 / 8


def test_particles_are_sorted_by_their_median_and_the_largest_are_drawn(x, particles):
    swapped = particles.copy(data=np.select([particles == 1, particles == 2], [2, 1], 0))
    ax = lithiation_distribution(x, particles=swapped).axes[1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "1"]
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_color() == "#C1121F"]
    assert medians == pytest.approx([1 / 7, 6 / 7])
    many = x.copy(data=np.arange(48, dtype=np.int32).reshape(6, 8))
    crowded = lithiation_distribution(x, particles=many).axes[1]
    assert crowded.get_xlabel() == "Particle (sorted by median, the 24 largest of 40)"


def test_a_map_without_any_lithiation_is_refused(x):
    with pytest.raises(InputError, match="at least one pixel needs a lithiation"):
        lithiation_distribution(x * np.nan)


def test_weighted_quantiles_of_equal_weights_are_those_of_the_sorted_values():
    values = np.random.default_rng(0).random(101)
    found = weighted_quantiles(values, np.ones(101), (0.25, 0.5, 1.0))
    assert found == sorted(values)[25:26] + sorted(values)[50:51] + [values.max()]


def test_numbers_of_particles_stand_inside_them(x, particles):
    for image in (None, x):
        ax = particle_map(particles, image=image).axes[0]
        assert [text.get_text() for text in ax.texts] == ["1", "2"]
        for text in ax.texts:
            place = particles.sel(x=text.get_position()[0], y=text.get_position()[1], method="nearest")
            assert int(place) == int(text.get_text())


def test_lines_part_phases_but_not_phases_from_nothing(x):
    ids = x.copy(data=np.full(x.shape, 255, dtype=np.uint8))
    ids[1:5, 1:3] = 0
    ids[1:5, 3:5] = 1
    figure = phase_boundary(ids, {"V2O5": 0, "LiV2O5": 1, "Li2V2O5": 2}, length="0.20 ± 0.01 µm")
    (edges,) = [one for one in figure.axes[0].collections if one.get_gid() == "edges"]
    assert sum(np.linalg.norm(end - start) for start, end in edges.get_segments()) == pytest.approx(4 * 0.05)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["V2O5", "LiV2O5"]
    over = phase_boundary(ids, {"V2O5": 0, "LiV2O5": 1}, image=x)
    assert over.axes[-1].get_ylabel() == "x in LiₓM"


def _profile(count: int) -> pd.DataFrame:
    rows = [(f"particle {k}", depth, 0.1 * k + depth, 0.05) for k in range(1, count + 1) for depth in (0.75, 0.25)]
    rows += [("all particles", depth, depth, 0.01) for depth in (0.75, 0.25)]
    table = pd.DataFrame(rows, columns=["component", "depth", "value", "sigma"])
    return table.assign(distance=0.3 * table["depth"])


def test_the_mean_profile_has_a_band_and_particles_beyond_the_largest_are_only_counted():
    ax = core_to_rim_plot(_profile(9), label="x in Li_x V2O5").axes[0]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [*(f"particle {k}" for k in range(1, 7)), "all particles (9)"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.25, 0.35], [0.75, 0.85]])
    (band,) = ax.collections
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.75 + 1.96 * 0.01)
    assert ax.get_ylabel() == "x in LiₓV₂O₅"


def test_profiles_over_distance_are_in_micrometers_and_the_truth_is_dashed():
    ax = core_to_rim_plot(_profile(1), along="distance", truth=_profile(1)).axes[0]
    assert ax.get_xlabel() == "Distance from the rim [µm]"
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-", "--"]
    with pytest.raises(InputError, match="Did you mean 'distance'"):
        core_to_rim_plot(_profile(1), along="distances")
    with pytest.raises(InputError, match=r"lacks the columns \['sigma'\]"):
        core_to_rim_plot(_profile(1).drop(columns="sigma"))
