"""The interface of lines and edges that are painted, so that its position is known."""

import numpy as np
import pytest
import xarray as xr

from operando.core.axes import labeled_image
from operando.core.errors import AxesError, InputError
from operando.dendrites import find_interface

ROWS, COLUMNS = 96, 128
ELECTROLYTE, METAL = 130.0, 20.0


def _paint(height, *, peak=800.0, width=1.6, noise=0.0, seed=3000, electrolyte=ELECTROLYTE, rows=ROWS):
    """Gray values of a clipped Gaussian ridge across the distance from the curve ``height`` (row per column)."""
    from scipy.spatial import cKDTree

    columns = height.size
    fine = np.linspace(-8, columns + 7, 10 * (columns + 16))
    inside = np.interp(fine, np.arange(columns), height)
    slopes = height[1] - height[0], height[-1] - height[-2]
    inside += slopes[0] * np.minimum(fine, 0) + slopes[1] * np.maximum(fine - columns + 1, 0)
    points = np.column_stack([inside, fine])
    y, x = np.mgrid[:rows, :columns]
    distance = cKDTree(points).query(np.column_stack([y.ravel(), x.ravel()]))[0].reshape(rows, columns)
    gray = np.where(y < height, electrolyte, METAL) + peak * np.exp(-0.5 * (distance / width) ** 2)
    gray += noise * np.random.default_rng(seed).standard_normal(gray.shape)
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)


def _wave(columns=COLUMNS, *, amplitude=8.0, period=60.0, base=50.0):
    return base + amplitude * np.sin(2 * np.pi * np.arange(columns) / period)


def _smooth(seed, *, scale=10.0, amplitude=6.0):
    from scipy.ndimage import gaussian_filter1d

    field = gaussian_filter1d(np.random.default_rng(seed).standard_normal(3 * COLUMNS), scale)[COLUMNS : 2 * COLUMNS]
    return 50 + amplitude * (field - field.mean()) / field.std()


@pytest.mark.parametrize("row", [40.0, 40.25, 40.5, 40.8])
def test_a_straight_line_is_found_within_a_twentieth_of_a_pixel(row):
    found = find_interface(_paint(np.full(COLUMNS, row)))
    np.testing.assert_allclose(found["position"], row, atol=0.05)
    assert not found["broken"].any()
    assert (found["crossings"] == 1).all()


@pytest.mark.parametrize("value", [235.0, 255.0])
@pytest.mark.parametrize("thickness", [1, 4, 9])
def test_a_line_with_sharp_edges_is_found_within_its_pixel_and_its_sigma_says_so(value, thickness):
    height = _wave()
    y = np.arange(ROWS)[:, None]
    image = np.where(y < height, 180.0, 20.0)
    image[np.abs(y - height) <= thickness / 2] = value
    found = find_interface(image)
    error = found["position"].values - height
    assert np.abs(error).max() < 0.8
    assert 0.5 < np.sqrt(np.mean((error / found["position_sigma"].values) ** 2)) < 1.5


@pytest.mark.parametrize("width", [3.0, 5.0, 9.0])
def test_a_sharp_line_that_covers_parts_of_pixels_has_a_sigma_that_holds_its_error(width):
    pulls = []
    for row in np.arange(40.0, 41.0, 0.1):
        y = np.arange(ROWS)
        covered = np.clip(np.minimum(y + 0.5, row + width / 2) - np.maximum(y - 0.5, row - width / 2), 0, 1)
        metal = np.clip(y + 0.5 - row, 0, 1)
        gray = covered * 255 + (1 - covered) * (ELECTROLYTE + (METAL - ELECTROLYTE) * metal)
        found = find_interface(np.rint(np.tile(gray[:, None], 16)))
        pulls.append((found["position"].values - row) / found["position_sigma"].values)
    assert np.abs(pulls).max() < 2.2
    assert np.sqrt(np.mean(np.square(pulls))) > 0.4


def test_the_brightness_of_the_electrolyte_does_not_move_the_interface():
    positions = [
        float(find_interface(_paint(np.full(COLUMNS, 40.3), electrolyte=gray))["position"].mean())
        for gray in (10.0, 130.0, 180.0)
    ]
    # Halfway between the threshold crossings, the three would differ by half a pixel.
    assert np.ptp(positions) < 0.05


def test_errors_are_as_large_as_their_sigma_says():
    pulls, errors = [], []
    for seed in range(3000, 3004):
        height = _smooth(seed)
        found = find_interface(_paint(height, noise=5.0, seed=seed))
        errors.append(found["position"].values - height)
        pulls.append(errors[-1] / found["position_sigma"].values)
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.4
    assert np.sqrt(np.mean(np.square(errors))) < 0.1


def test_a_bent_line_is_not_drawn_toward_the_inside_of_the_bend():
    height = _wave(amplitude=9.0, period=60.0)
    found = find_interface(_paint(height, width=2.5))
    # The middle of a vertical cut through this line is off by up to 0.4 px.
    assert np.abs(found["position"].values - height)[10:-10].max() < 0.15


def test_flipping_the_image_flips_the_result():
    image = _paint(_wave(), noise=3.0)
    up, down = find_interface(image), find_interface(image[::-1])
    assert (up.attrs["metal"], down.attrs["metal"]) == ("high", "low")
    np.testing.assert_allclose(down["position"], ROWS - 1 - up["position"])
    assert (up.attrs["edge"], down.attrs["edge"]) == (ROWS - 0.5, -0.5)
    sideways = find_interface(image[:, ::-1])
    np.testing.assert_allclose(sideways["position"].values[::-1], up["position"].values, atol=1e-6)


def test_the_position_is_on_the_axis_of_the_image():
    image = _paint(np.full(COLUMNS, 40.0))
    found = find_interface(labeled_image(image, voxel_size_um=0.5, origin_um=(100.0, 0.0)))
    np.testing.assert_allclose(found["position"], 100.0 + 0.5 * 40.0, atol=0.03)
    assert found["position"].attrs["units"] == found.attrs["units"] == "um"
    assert found.attrs["edge"] == 100.0 + 0.5 * (ROWS - 0.5)
    assert found["x"].attrs["units"] == "um"


def test_a_falling_y_axis_gives_the_same_positions_and_names_the_end_of_the_axis():
    image = labeled_image(_paint(_wave(), noise=3.0), voxel_size_um=0.5, origin_um=(100.0, 0.0))
    rising = find_interface(image)
    falling = find_interface(image.isel(y=slice(None, None, -1)))
    xr.testing.assert_identical(falling, rising)
    # Rows from the top of the picture on, along an axis that points up: the metal lies at its low end.
    upward = image.assign_coords(y=("y", image["y"].values[::-1], image["y"].attrs))
    found = find_interface(upward)
    assert (found.attrs["metal"], found.attrs["edge"]) == ("low", 99.75)
    np.testing.assert_allclose(found["position"], 247.5 - rising["position"], atol=1e-9)


def test_an_image_that_says_where_its_metal_lies_is_believed():
    image = xr.DataArray(_paint(_wave()), dims=("y", "x"), attrs={"metal": "low"})
    assert find_interface(image).attrs["metal"] == "low"
    assert find_interface(image, metal="high").attrs["metal"] == "high"
    assert find_interface(xr.Dataset({"image": image.drop_attrs()}, attrs={"metal": "low"})).attrs["metal"] == "low"


def test_bright_pixels_at_the_border_do_not_tell_where_the_metal_lies():
    image = _paint(_wave())
    image[-4:, :80] = 255
    assert find_interface(image).attrs["metal"] == "high"


@pytest.mark.parametrize("rows", [slice(None, 10), slice(-10, None)])
def test_border_rows_without_numbers_are_passed_over(rows):
    image = _paint(_wave(), noise=3.0).astype(float)
    clean = find_interface(image)
    image[rows] = np.nan
    found = find_interface(image)
    assert found.attrs["metal"] == "high"
    np.testing.assert_allclose(found["position"], clean["position"], atol=0.02)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64])
def test_bare_arrays_of_any_type_on_the_scale_of_eight_bits_are_taken(kind):
    image = _paint(_wave()).astype(kind)
    found = find_interface(image)
    assert found["position"].dims == ("x",)
    assert found.attrs["units"] == "px"
    np.testing.assert_allclose(found["position"], _wave(), atol=0.4)


def test_a_dataset_gives_its_image():
    image = xr.DataArray(_paint(_wave()), dims=("y", "x"))
    xr.testing.assert_equal(find_interface(xr.Dataset({"image": image})), find_interface(image))
    with pytest.raises(InputError, match=r"must have the variable 'image', got \['gray'\]"):
        find_interface(xr.Dataset({"gray": image}))


def test_a_bare_dataarray_needs_no_coordinates():
    found = find_interface(xr.DataArray(_paint(_wave()), dims=("y", "x")))
    assert found.attrs["units"] == "px"
    np.testing.assert_allclose(found["position"], _wave(), atol=0.4)


def test_sixteen_bits_give_the_same_with_their_own_scale():
    image = _paint(_wave(), noise=3.0)
    eight = find_interface(image)
    sixteen = find_interface(image.astype(np.uint16) * 257, threshold=230 * 257, saturation=65535)
    np.testing.assert_allclose(sixteen["position"], eight["position"], atol=1e-6)
    np.testing.assert_allclose(sixteen["position_sigma"], eight["position_sigma"], atol=1e-6)


def test_sixteen_bits_on_the_scale_of_eight_are_refused():
    with pytest.raises(InputError, match=r"must not exceed saturation=255, got 65535.*saturation=65535"):
        find_interface(_paint(_wave()).astype(np.uint16) * 257)


def test_fractions_are_refused_and_taken_with_their_own_scale():
    image = _paint(_wave()) / 255.0
    with pytest.raises(
        InputError, match=r"threshold=230.*gray value is 1\. Lower the threshold, scale the image to 0\.\.255"
    ):
        find_interface(image)
    found = find_interface(image, 230 / 255, saturation=1.0)
    np.testing.assert_allclose(found["position"], find_interface(_paint(_wave()))["position"], atol=1e-6)


def test_spots_away_from_the_line_are_ignored():
    image = _paint(_wave(), noise=3.0)
    clean = find_interface(image)["position"]
    spotted = image.copy()
    for y, x in ((10, 10), (20, 64), (85, 100), (12, 120)):
        spotted[y : y + 5, x : x + 5] = 255
    found = find_interface(spotted)
    np.testing.assert_allclose(found["position"], clean, atol=0.02)
    assert (found["crossings"] == 1).all()


def test_a_break_is_bridged_and_said():
    height = _wave()
    image = _paint(height, noise=3.0)
    image[:, 60:72] = np.minimum(image[:, 60:72], 150)
    found = find_interface(image)
    broken = np.flatnonzero(found["broken"])
    # The columns beside the break see the end of a piece, and are left out too.
    assert set(range(60, 72)) <= set(broken)
    assert set(broken) <= set(range(56, 76))
    sigma = found["position_sigma"].values
    assert sigma[66] > sigma[61] > sigma[40]
    off = np.abs(found["position"].values - height)
    assert (off[58:74] < 3 * sigma[58:74]).all()
    assert found["crossings"].values[66] == 0


def test_a_spot_in_a_break_does_not_lead_the_line_astray():
    height = np.full(COLUMNS, 50.0)
    image = _paint(height)
    image[:, 60:70] = np.minimum(image[:, 60:70], 150)
    image[15:20, 62:67] = 255
    found = find_interface(image)
    np.testing.assert_allclose(found["position"], height, atol=0.1)
    assert found["broken"].values[60:70].all()


def test_a_line_that_ends_inside_the_image_is_held_at_its_ends():
    image = _paint(_smooth(3001), noise=2.0)
    image[:, :10] = np.minimum(image[:, :10], 150)
    found = find_interface(image)
    first = int(np.flatnonzero(~found["broken"])[0])
    assert 10 <= first < 15
    assert (found["position"].values[:first] == found["position"].values[first]).all()
    assert found["position_sigma"].values[0] > found["position_sigma"].values[first - 1] > 0.05


def test_a_fold_gives_the_outermost_crossing_and_says_so():
    from scipy.spatial import cKDTree

    # A mushroom: a stem of half width 6 that carries a disc of radius 14.
    angle = np.linspace(0, 2 * np.pi, 600)
    disc = np.column_stack([30 + 14 * np.sin(angle), 64 + 14 * np.cos(angle)])
    disc = disc[~((np.abs(disc[:, 1] - 64) < 6) & (disc[:, 0] > 30))]
    stem = [(y, x) for y in np.arange(42.6, 70, 0.1) for x in (58.0, 70.0)]
    base = [(70.0, x) for x in np.arange(-4, 132, 0.1) if not 58 < x < 70]
    y, x = np.mgrid[:ROWS, :COLUMNS]
    distance = cKDTree(np.vstack([disc, stem, base])).query(np.column_stack([y.ravel(), x.ravel()]))[0]
    metal = (y > 70) | (np.hypot(y - 30, x - 64) < 14) | ((np.abs(x - 64) < 6) & (y > 40))
    gray = np.where(metal, METAL, ELECTROLYTE) + 800 * np.exp(-0.5 * (distance.reshape(y.shape) / 1.2) ** 2)
    found = find_interface(np.clip(gray, 0, 255))
    assert found["overhang"].values[[52, 54, 74, 76]].all()
    assert (found["crossings"].values[[54, 74]] == 3).all()
    assert not found["overhang"].values[[20, 40, 64, 90, 110]].any()
    np.testing.assert_allclose(found["position"].values[64], 16.0, atol=0.15)
    np.testing.assert_allclose(found["position"].values[74], 30 - np.sqrt(14**2 - 10**2), atol=0.5)
    np.testing.assert_allclose(found["position"].values[[20, 110]], 70.0, atol=0.15)
    # Where the fold ends, the interface jumps by 40 rows.
    assert found["position_sigma"].values[[49, 50, 78, 79]].max() > 5


def test_of_two_lines_the_one_at_the_metal_is_taken():
    image = np.maximum(_paint(np.full(COLUMNS, 60.0)), _paint(np.full(COLUMNS, 12.0), electrolyte=METAL))
    image[:8] = 140
    found = find_interface(image)
    assert found.attrs["metal"] == "high"
    np.testing.assert_allclose(found["position"], 60.0, atol=0.05)


def test_a_line_at_the_border_of_the_field_is_found_from_its_one_flank():
    # The center lies on the last row: no metal is in the picture.
    image = _paint(np.full(COLUMNS, ROWS - 1.0), noise=2.0)
    found = find_interface(image, metal="high")
    pull = (found["position"] - (ROWS - 1)) / found["position_sigma"]
    assert 0.3 < float(np.sqrt((pull**2).mean())) < 1.7
    assert abs(float(found["position"].mean()) - (ROWS - 1)) < 1.5
    inside = find_interface(_paint(np.full(COLUMNS, 50.0), noise=2.0))
    assert float(found["position_sigma"].mean()) > 2 * float(inside["position_sigma"].mean())


def test_missing_pixels_are_left_out():
    image = _paint(_wave(), noise=3.0).astype(float)
    clean = find_interface(image)
    image[::7, ::5] = np.nan
    found = find_interface(image)
    seen = ~found["broken"].values
    assert seen.mean() > 0.9
    np.testing.assert_allclose(found["position"].values[seen], clean["position"].values[seen], atol=0.5)


def test_a_series_is_its_frames_one_by_one():
    frames = np.stack([_paint(_wave(base=base), noise=3.0, seed=int(base)) for base in (60.0, 55.0, 50.0)])
    series = labeled_image(frames, dims=("t", "y", "x"), voxel_size_um=1.0, t=[0.0, 5.0, 11.0], time_units="min")
    found = find_interface(series)
    assert found["position"].dims == ("t", "x")
    assert found["t"].values.tolist() == [0.0, 5.0, 11.0]
    assert found["t"].attrs["units"] == "min"
    for number in range(3):
        xr.testing.assert_equal(
            found.isel(t=number).drop_vars("t"),
            find_interface(series.isel(t=number), metal="high").drop_vars("t", errors="ignore"),
        )


def test_a_lazy_series_gives_the_same_and_holds_one_frame(monkeypatch):
    import dask.array as da

    frames = np.stack([_paint(_wave(base=base), noise=3.0, seed=int(base)) for base in (60.0, 55.0)])
    loaded = []

    def load(block, block_info=None):
        loaded.append(block.shape)
        return block

    lazy = da.map_blocks(
        load, da.from_array(frames, chunks=(1, -1, -1)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    found = find_interface(lazy)
    assert loaded == [(1, ROWS, COLUMNS)] * 2
    np.testing.assert_array_equal(found["position"], find_interface(frames)["position"])


def test_a_frame_without_line_is_named_or_nan():
    frames = np.stack([_paint(_wave()), np.full((ROWS, COLUMNS), 120, np.uint8)])
    with pytest.raises(
        InputError, match=r"frame 1: a line of gray values from threshold=230 must cross .* gray value is 120"
    ):
        find_interface(frames)
    found = find_interface(frames, missing="nan")
    assert found["broken"].values[1].all()
    assert np.isnan(found["position"].values[1]).all()
    assert np.isfinite(found["position"].values[0]).all()


@pytest.mark.parametrize("blank", [np.nan, 120.0])
@pytest.mark.parametrize("rule", ["line", "edge"])
def test_a_blank_first_frame_is_nan_where_asked_and_the_next_one_says_where_the_metal_lies(rule, blank):
    image = _paint(_wave())[::-1] if rule == "line" else _edge(_wave())[::-1]
    found = find_interface(np.stack([np.full((ROWS, COLUMNS), blank), image]), rule=rule, missing="nan")
    assert found.attrs["metal"] == "low"
    assert found["broken"].values[0].all()
    assert np.isnan(found["position"].values[0]).all()
    np.testing.assert_array_equal(found["position"].values[1], find_interface(image, rule=rule)["position"].values)


def test_a_few_bright_spots_are_no_line():
    image = np.full((ROWS, COLUMNS), 120, np.uint8)
    image[30:34, 40:45] = 255
    with pytest.raises(InputError, match="got 20 such pixels in 5 of 128 columns"):
        find_interface(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metal": "hihg"}, "metal must be one of 'high', 'low', got 'hihg'. Did you mean 'high'"),
        ({"rule": "edges"}, "rule must be one of .* Did you mean 'edge'"),
        ({"missing": "drop"}, "missing must be one of"),
        ({"threshold": 300}, "not above saturation=255, got 300"),
        ({"threshold": 0}, "must be positive"),
    ],
)
def test_a_wrong_choice_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        find_interface(_paint(_wave()), **arguments)


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match=r"got the shape \(5,\)"):
        find_interface(np.zeros(5))
    with pytest.raises(AxesError, match="missing"):
        find_interface(xr.DataArray(np.zeros((16, 16)), dims=("z", "x")))
    with pytest.raises(InputError, match="at least one frame of 8 x 8"):
        find_interface(np.zeros((4, 16)))
    with pytest.raises(InputError, match="must be numbers"):
        find_interface(np.full((16, 16), "a"))
    with pytest.raises(InputError, match="holds no number"):
        find_interface(np.full((16, 16), np.nan))
    with pytest.raises(InputError, match="got infinite ones"):
        find_interface(np.where(np.eye(16), np.inf, 0.0))
    with pytest.raises(InputError, match=r"one channel, image\[\.\.\., 0\]"):
        find_interface(np.zeros((16, 16, 3)))


def _edge(height, *, dark=40.0, bright=180.0, blur=1.5, noise=0.0):
    from scipy.special import ndtr

    y = np.arange(ROWS)[:, None]
    gray = bright + (dark - bright) * ndtr((y - height) / blur)
    return gray + noise * np.random.default_rng(3000).standard_normal(gray.shape)


@pytest.mark.parametrize("darker_metal", [True, False])
def test_an_edge_is_found_at_its_half_level_whichever_side_is_brighter(darker_metal):
    height = _wave()
    image = _edge(height) if darker_metal else _edge(height, dark=180.0, bright=40.0)
    found = find_interface(image, rule="edge", metal="high")
    np.testing.assert_allclose(found["position"], height, atol=0.05)
    assert found.attrs["level"] == pytest.approx(110, abs=3)
    assert "threshold" not in found.attrs


def test_the_sigma_of_an_edge_follows_its_noise():
    height = _smooth(3002)
    pulls = []
    for noise in (2.0, 6.0):
        found = find_interface(_edge(height, noise=noise), rule="edge", metal="high")
        pulls.append((found["position"].values - height) / found["position_sigma"].values)
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_metal_that_is_not_connected_is_left_out_and_columns_without_metal_end_at_the_field():
    image = np.full((32, 24), 200.0)
    image[20:, 4:12] = 20.0
    image[5:9, 14:18] = 20.0
    found = find_interface(image, rule="edge", metal="high")
    assert (found["position"].values[4:12] == 19.5).all()
    assert (found["position"].values[[0, 15, 23]] == 31.5).all()
    assert (found["crossings"].values == np.isin(np.arange(24), range(4, 12))).all()


def test_an_undercut_edge_is_an_overhang():
    image = np.full((32, 24), 200.0)
    image[24:] = 20.0
    image[10:24, 8:12] = 20.0
    image[10:14, 8:18] = 20.0
    found = find_interface(image, rule="edge", metal="high")
    assert found["position"].values[[2, 9, 15]].tolist() == [23.5, 9.5, 9.5]
    assert found["crossings"].values[[2, 9, 15]].tolist() == [1, 1, 3]
    assert found["overhang"].values.tolist() == [12 <= x < 18 for x in range(24)]


def test_an_edge_without_metal_or_contrast_is_an_error():
    with pytest.raises(InputError, match="must differ in gray value"):
        find_interface(np.full((16, 16), 7.0), rule="edge")
    with pytest.raises(InputError, match="must reach the end of the field"):
        find_interface(np.pad(np.full((4, 4), 10.0), 6, constant_values=200.0), rule="edge", metal="high", level=300.0)


@pytest.mark.parametrize("settings", [{}, {"breaks": 0.05}, {"overhangs": 2}])
def test_the_interface_of_the_simulated_series_is_found(settings):
    from operando.samples import srs_series

    truth = srs_series((128, 128), frames=4, seed=3000, **settings)
    found = find_interface(truth["image"])
    assert found.attrs["metal"] == truth.attrs["metal"]
    plain = ~(found["broken"] | found["overhang"] | truth["overhang"]).values
    error = (found["position"] - truth["position"]).values[plain]
    assert plain.mean() > 0.7
    assert np.median(np.abs(error)) < 0.1
    assert 0.5 < np.sqrt(np.mean((error / found["position_sigma"].values[plain]) ** 2)) < 2.0
