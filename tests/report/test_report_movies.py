import numpy as np
import pytest
from PIL import Image

from operando.core.axes import labeled_image
from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import movie, movie_frames


@pytest.fixture(scope="module")
def frames(image, labels, current):
    data = (labels == CELL["deposited"]).sum("z").values * 2.0
    maps = labeled_image(data, dims=("t", "y", "x"), voxel_size_um=2.0, units="um", long_name="Thickness")
    return movie_frames(image, labels, CELL, maps=maps, component="deposited", current=current, dpi=60)


def test_there_is_one_frame_per_scan_and_all_have_one_size(frames):
    assert len(frames) == 3
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert all(frame.dtype == np.uint8 for frame in frames)


def test_frames_of_different_scans_differ(frames):
    assert (frames[0] != frames[1]).any()
    assert (frames[1] != frames[2]).any()


def test_a_movie_of_chosen_scans_has_only_these(image, labels):
    assert len(movie_frames(image, labels, CELL, scans=[0, 2], dpi=40)) == 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_saved_movie_has_all_frames_and_their_duration(frames, tmp_path, suffix):
    path = movie(frames, tmp_path / f"movie{suffix}", seconds_per_frame=0.5)
    with Image.open(path) as saved:
        assert saved.n_frames == 3
        assert saved.size == frames[0].shape[1::-1]
        saved.seek(1)
        saved.load()
        assert saved.info["duration"] == 500


def test_the_frames_of_a_gif_keep_their_colors(frames, tmp_path):
    path = movie(frames, tmp_path / "movie.gif")
    with Image.open(path) as saved:
        saved.seek(2)
        shown = np.asarray(saved.convert("RGB"), dtype=float)
    assert np.abs(shown - frames[2]).mean() < 4


def test_another_suffix_is_refused_and_nothing_is_written(frames, tmp_path):
    with pytest.raises(InputError, match=r"must end in one of .gif, .webp, .png, got 'movie.gift'.*'.gif'"):
        movie(frames, tmp_path / "movie.gift")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_different_size_are_refused(frames, tmp_path):
    with pytest.raises(InputError, match="all of one size"):
        movie([frames[0], frames[1][:-1]], tmp_path / "movie.gif")
    with pytest.raises(InputError, match="got 0 frames"):
        movie([], tmp_path / "movie.gif")
