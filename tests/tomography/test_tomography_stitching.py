"""Overlapping volumes joined."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando import labeled_image
from operando.core.errors import InputError
from operando.tomography import stitch


def seen_from(place, shape, *, noise=0.0, seed=0):
    """A smooth random structure, known everywhere, sampled on a grid that begins at ``place`` (z, y, x)."""
    rng = np.random.default_rng(7)
    waves = rng.normal(scale=0.45, size=(60, 3))
    phases = rng.uniform(0, 2 * np.pi, 60)
    axes = [p + np.arange(n) for p, n in zip(place, shape, strict=True)]
    values = np.zeros(shape)
    for (kz, ky, kx), phase in zip(waves, phases, strict=True):
        parts = np.exp(1j * kz * axes[0])[:, None, None] * np.exp(1j * ky * axes[1])[:, None]
        values += np.real(np.exp(1j * phase) * parts * np.exp(1j * kx * axes[2]))
    values += noise * values.std() * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float32)


def test_three_overlapping_fields_of_view_come_back_whole():
    """Displaced by fractions of a voxel, with other gains and offsets, and with noise."""
    places = [(0.0, 0.0, 0.0), (24.4, 0.6, -1.3), (49.1, -0.8, 0.7)]
    gains, offsets = (1.0, 0.8, 1.3), (0.0, 2.0, -1.0)
    parts = [
        labeled_image((seen_from(p, (36, 48, 48), noise=0.03, seed=k) - offsets[k]) / gains[k], voxel_size_um=1.33)
        for k, p in enumerate(places)
    ]
    joined = stitch(parts, overlap_voxels=12)
    np.testing.assert_allclose(joined.attrs["positions_voxels"], places, atol=0.03)
    np.testing.assert_allclose(joined.attrs["gain"], gains, rtol=0.01)
    np.testing.assert_allclose(joined.attrs["offset"], offsets, atol=0.05)
    assert min(joined.attrs["correlation"]) > 0.97
    assert joined.sizes["z"] == 85
    assert joined.z.attrs["spacing"] == pytest.approx(1.33)
    truth = seen_from((0, 0, 0), (85, 48, 48))
    inner = np.s_[:84, 4:44, 4:44]
    wrong = joined.values[inner] - truth[inner]
    assert np.sqrt(np.mean(wrong**2)) < 0.04 * truth.std()


def test_a_volume_cut_in_three_comes_back_to_the_bit_where_nothing_moved():
    whole = labeled_image(seen_from((0, 0, 0), (70, 32, 32)), voxel_size_um=2.0, attrs={"units": "um-1"})
    parts = [whole[a:b] for a, b in ((0, 30), (20, 50), (40, 70))]
    joined = stitch(parts, match_gray=False)
    np.testing.assert_allclose(joined.attrs["positions_voxels"], [[0, 0, 0], [20, 0, 0], [40, 0, 0]], atol=0.002)
    np.testing.assert_allclose(joined.values, whole.values, atol=2e-3 * float(whole.std()))
    np.testing.assert_allclose(joined.z, whole.z)
    assert joined.attrs["units"] == "um-1"
    np.testing.assert_array_equal(joined.values[:20], whole.values[:20])


def test_the_readings_of_the_stage_say_where_parts_are():
    parts = [labeled_image(seen_from(p, (30, 32, 32)), voxel_size_um=2.0) for p in ((0, 0, 0), (21, 0, 0))]
    joined = stitch(parts, positions=[100.0, 140.0])
    np.testing.assert_allclose(joined.attrs["positions_voxels"][1], [21, 0, 0], atol=0.01)


def test_weights_pass_linearly_from_one_part_to_the_next():
    from operando.tomography.stitching import _share

    z = np.arange(30)
    spans = [(0.0, 19.0), (10.0, 29.0)]
    first, second = (_share(z, spans, k) for k in (0, 1))
    np.testing.assert_allclose(first + second, 1.0)
    np.testing.assert_allclose(np.diff(second[10:20]), 0.1)


def test_lazy_parts_are_read_slab_by_slab_and_give_the_same():
    parts = [labeled_image(seen_from(p, (24, 24, 24)), voxel_size_um=1.0) for p in ((0, 0, 0), (15.3, 0.4, 0))]
    whole = stitch(parts, overlap_voxels=9)
    lazy = stitch([part.chunk(z=6) for part in parts], overlap_voxels=9, slab=7)
    assert isinstance(lazy.data, da.Array)
    assert lazy.chunks[0][:3] == (7, 7, 7)
    np.testing.assert_allclose(lazy.values, whole.values, atol=1e-4 * float(whole.std()))


def test_what_no_part_shows_is_missing():
    parts = [labeled_image(seen_from(p, (20, 32, 32)), voxel_size_um=1.0) for p in ((0, 0, 0), (11, 3, 0))]
    joined = stitch(parts, overlap_voxels=9)
    assert joined[-1].isnull().sum("y").values.tolist() == [3] * 32
    assert joined[:11].notnull().all()


def test_errors_say_what_to_do():
    parts = [labeled_image(seen_from(p, (20, 24, 24)), voxel_size_um=1.0) for p in ((0, 0, 0), (12, 0, 0))]
    with pytest.raises(InputError, match="at least two volumes"):
        stitch(parts[:1], overlap_voxels=3)
    with pytest.raises(InputError, match="Pass one of them"):
        stitch(parts, overlap_voxels=8, positions=[0, 12])
    with pytest.raises(InputError, match=r"starts at \[0.0, 0.0\].*Pass overlap_voxels or positions"):
        stitch(parts)
    with pytest.raises(InputError, match="got part 1 with"):
        stitch([parts[0], parts[1][:, :20]], overlap_voxels=8)
    other = labeled_image(np.random.default_rng(0).random((20, 24, 24)), voxel_size_um=1.0)
    with pytest.raises(InputError, match=r"must look alike.*Check the order"):
        stitch([parts[0], other], overlap_voxels=8)
    with pytest.raises(InputError, match="one per part"):
        stitch(parts, positions=[0.0])
    with pytest.raises(InputError, match="labeled_image"):
        stitch([part.values for part in parts], overlap_voxels=8)


def test_a_stack_may_begin_anywhere():
    parts = [labeled_image(seen_from(p, (20, 24, 24)), voxel_size_um=1.0) for p in ((0, 0, 0), (12, 0, 0))]
    moved = [
        p.assign_coords(z=("z", p.z.values + start, p.z.attrs)) for p, start in zip(parts, (50.0, 62.0), strict=True)
    ]
    joined = stitch(moved)
    assert isinstance(joined, xr.DataArray)
    assert float(joined.z[0]) == 50.0
