import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import rgb_to_hsv, to_rgb

from operando.core.axes import labeled_image
from operando.core.errors import InputError, MissingDependency, UnitsError
from operando.core.phases import CELL
from operando.report import render, render_series, render_volume, rgb_array
from operando.report.raycast import cast, framing_camera
from operando.report.render import phase_fractions

SMALL = {"size": (200, 150)}


def _has_hue_of(pixels, name, *, share):
    hue = rgb_to_hsv(to_rgb(CELL.color(name)))[0]
    hsv = rgb_to_hsv(pixels / 255)
    return ((np.abs(hsv[..., 0] - hue) < 0.03) & (hsv[..., 1] > 0.6)).mean() > share


def test_shares_of_blocks_add_up_to_the_volume():
    data = np.random.default_rng(1).integers(0, 2, size=(8, 12, 4)).astype(np.uint8)
    shares, factor = phase_fractions(labeled_image(data, voxel_size_um=1.0), CELL, ["electrode"], largest=3)
    assert factor == 4
    assert shares["electrode"].shape == (2, 3, 1)
    assert shares["electrode"].sum() * factor**3 == data.sum()


@pytest.mark.parametrize("back_end", ["auto", "numpy"])
def test_a_render_shows_the_components_in_the_hue_of_the_scheme(labels, back_end):
    pixels = render_volume(labels, CELL, scan=1, back_end=back_end, **SMALL)
    assert pixels.shape == (150, 200, 3)
    assert pixels.dtype == np.uint8
    assert _has_hue_of(pixels, "dendrite", share=0.01)
    assert _has_hue_of(pixels, "deposited", share=0.01)
    assert (pixels == 255).all(axis=2).mean() > 0.1


def test_rays_and_surfaces_show_the_same_view(labels):
    if render._opengl_fault():
        pytest.skip("no OpenGL draws here without a display")
    options = {"scan": 1, "scale_bar": False, "components": ["deposited", "dendrite"], "size": (400, 300)}
    inked = [(render_volume(labels, CELL, back_end=name, **options) < 250).any(axis=2) for name in ("pyvista", "numpy")]
    assert (inked[0] & inked[1]).sum() / (inked[0] | inked[1]).sum() > 0.93


def test_a_volume_without_lithium_renders_white_but_for_its_scale_bar():
    empty = labeled_image(np.zeros((8, 8, 8), dtype=np.uint8), voxel_size_um=1.0)
    assert (render_volume(empty, CELL, scale_bar=False, back_end="numpy", **SMALL) == 255).all()


def test_a_render_of_uncalibrated_labels_asks_for_the_voxel_size(labels):
    with pytest.raises(UnitsError, match="voxel size is not known"):
        render_volume(labeled_image(labels.values), CELL)


def test_an_unknown_component_or_back_end_suggests_a_known_one(labels):
    with pytest.raises(InputError, match="Did you mean 'dendrite'"):
        render_volume(labels, CELL, components=["dendrit"])
    with pytest.raises(InputError, match="Did you mean 'pyvista'"):
        render_volume(labels, CELL, back_end="vista")


def test_without_opengl_the_ray_caster_takes_over_unless_pyvista_is_asked_for(labels, monkeypatch):
    monkeypatch.setattr(render, "_opengl_fault", lambda: "ended with signal 11")
    assert _has_hue_of(render_volume(labels, CELL, scan=1, **SMALL), "dendrite", share=0.01)
    with pytest.raises(MissingDependency, match=r"a trial ended with signal 11.*back_end='numpy'"):
        render_volume(labels, CELL, back_end="pyvista", **SMALL)


def test_a_simulated_volume_says_so_in_its_render(labels):
    options = {"scan": 1, "scale_bar": False, "back_end": "numpy", **SMALL}
    plain = render_volume(labels, CELL, **options)
    marked = render_volume(labels.assign_attrs(simulated=True), CELL, **options)
    changed = np.argwhere((plain != marked).any(axis=2))
    assert changed.size
    assert changed[:, 1].min() > 100


def test_a_lazy_scan_is_read_alone(labels):
    read = set()

    def block(values, block_info=None):
        read.add(block_info[None]["chunk-location"][0])
        return values

    lazy = labels.chunk(t=1)
    lazy = lazy.copy(data=lazy.data.map_blocks(block, dtype="u1", meta=np.empty((0,) * 4, "u1")))
    render_volume(lazy, CELL, scan=2, back_end="numpy", **SMALL)
    assert read == {2}


def test_a_series_shows_each_scan_with_its_time(labels):
    figure = render_series(labels, CELL, back_end="numpy", **SMALL)
    assert [ax.get_title() for ax in figure.axes] == ["0.00 h", "2.00 h", "4.00 h"]
    assert rgb_array(figure, dpi=50).std() > 5


def test_a_ball_seen_from_afar_covers_its_disk():
    place = np.linspace(-1, 1, 41)
    z, y, x = np.meshgrid(place, place, place, indexing="ij")
    share = 1 / (1 + np.exp((np.sqrt(x**2 + y**2 + z**2) - 0.6) * 40)).astype(np.float32)
    center = np.full(3, 20.0)
    corners = np.array([[i, j, k] for i in (0, 40) for j in (0, 40) for k in (0, 40)], dtype=float)
    camera = framing_camera(corners, center, azimuth=0, elevation=0, aspect=1.0, angle=1.0)
    pixels = cast(
        {"ball": share}, (1.0, 1.0, 1.0), camera, colors={"ball": (0, 0, 1)}, opacity={"ball": 1.0}, size=(94, 94),
        level=0.5,
    )  # fmt: skip
    # 94 pixels at 94 % are 88.36 for the 40 blocks across, and the ball has a radius of 12 blocks.
    disk = np.pi * (12 * 88.36 / 40) ** 2
    assert (pixels < 250).any(axis=2).sum() == pytest.approx(disk, rel=0.03)


def test_a_translucent_slab_covers_by_its_opacity_twice():
    share = np.zeros((20, 20, 20), dtype=np.float32)
    share[2:-2, 2:-2, 8:12] = 1.0
    corners = np.array([[i, j, k] for i in (0, 19) for j in (0, 19) for k in (0, 19)], dtype=float)
    camera = framing_camera(corners, np.full(3, 9.5), azimuth=0, elevation=0, aspect=1.0)
    pixels = cast(
        {"slab": share}, (1.0, 1.0, 1.0), camera, colors={"slab": (0, 0, 0)}, opacity={"slab": 0.5}, size=(40, 40),
        level=0.4,
    )  # fmt: skip
    np.testing.assert_allclose(pixels[20, 20], 255 * 0.25, atol=1)


def test_labels_of_a_single_scan_need_no_time(labels):
    one = xr.DataArray(labels.isel(t=1, drop=True))
    assert _has_hue_of(render_volume(one, CELL, back_end="numpy", **SMALL), "dendrite", share=0.01)
