import numpy as np
import pytest

from operando.learn import PatchSampler, Sections, count_annotations, draw_windows

SECTIONS = Sections(planes=("zx", "zy"), patch=(32, 32))


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 20, 60, 50)).astype(np.float32)
    marks = np.full(image.shape, 255, np.uint8)
    marks[0, :, 30] = 4
    marks[0, 10:, 30] = 9
    marks[1, 3, 5, 7] = 4
    return image, marks


def windows_of(image, marks, **options):
    counts = count_annotations(marks)
    scales = {0: (0.0, 1.0), 1: (0.0, 1.0)}
    defaults = {"scans": (0, 1), "ids": (4, 9), "sections": SECTIONS, "scales": scales}
    return draw_windows(image, marks, counts, **{**defaults, **options})


def test_annotations_are_counted_along_every_axis(volume):
    _, marks = volume
    counts = count_annotations(marks)
    assert counts.per_scan[0, 4] == 500
    assert counts.per_scan[0, 9] == 500
    assert counts.along[1][0, 9].nonzero()[0].tolist() == [30]
    assert counts.along[0][1, 4].nonzero()[0].tolist() == [3]


def test_a_window_shows_its_slice_the_neighbors_and_the_classes(volume):
    image, marks = volume
    window = next(w for w in windows_of(image, marks) if w.plane == "zx" and w.scan == 0)
    assert np.array_equal(window.gray, image[0, :, 28:33].transpose(1, 0, 2))
    assert np.array_equal(window.classes, np.where(np.arange(20)[:, None] < 10, 0, 1) * np.ones((1, 50), int))


def test_windows_are_bounded_and_reproducible(volume):
    image, marks = volume
    first, second = (windows_of(image, marks, limit=7, seed=3) for _ in range(2))
    assert len(first) == 7
    assert all(np.array_equal(a.gray, b.gray) for a, b in zip(first, second, strict=True))


def test_only_the_scans_asked_for_are_drawn_from(volume):
    image, marks = volume
    assert {w.scan for w in windows_of(image, marks, scans=(1,))} == {1}


def test_lazy_images_give_the_same_windows(volume):
    import dask.array as da

    image, marks = volume
    lazy = windows_of(da.from_array(image, chunks=16), da.from_array(marks, chunks=23))
    for a, b in zip(windows_of(image, marks), lazy, strict=True):
        assert np.array_equal(a.gray, b.gray)
        assert np.array_equal(a.classes, b.classes)


def test_patches_fit_the_network_and_hold_labels_of_every_class(volume):
    image, marks = volume
    sampler = PatchSampler(windows_of(image, marks), classes=2, sections=SECTIONS, seed=0)
    gray, classes = sampler.batch(32)
    assert gray.shape == (32, 6, 24, 32)
    assert np.isfinite(gray).all()
    assert set(np.unique(classes)) == {0, 1, 255}
    assert all((patch != 255).any() for patch in classes)


def test_gray_and_labels_of_a_patch_stay_together():
    # Gray equals the label, so that any augmentation that moves one without the other shows.
    truth = np.zeros((1, 24, 40, 40), np.uint8)
    truth[:, 12:, :, 20:] = 1
    image = 100.0 * truth
    sections = Sections(planes=("zx",), context=0, patch=(32, 32))
    counts = count_annotations(truth)
    windows = draw_windows(
        image, truth, counts, scans=[0], ids=[0, 1], sections=sections, scales={0: (0.0, 1.0)}, limit=20
    )
    gray, classes = PatchSampler(windows, classes=2, sections=sections, seed=0).batch(64)
    known = classes != 255
    assert np.array_equal(gray[:, 0][known] > 30, classes[known] == 1)


@pytest.mark.parametrize("plane", ["zx", "zy", "yx"])
def test_patches_are_mirrored_in_the_plane_of_the_electrodes_and_never_along_z(plane):
    # Gray rises along z, then along x and y, so that the sense of every axis shows in a patch.
    z, y, x = np.meshgrid(np.linspace(-2, 2, 24), np.arange(32.0), np.arange(32.0), indexing="ij")
    truth = np.broadcast_to((np.arange(24) > 11).astype(np.uint8)[:, None, None], z.shape)[None]
    sections = Sections(planes=(plane,), context=1, depth=False, patch=(24, 24))
    senses = {"z": set(), "y": set(), "x": set()}
    for axis, gray in (("z", z), ("y", (y - 16) / 8), ("x", (x - 16) / 8)):
        windows = draw_windows(
            gray[None],
            truth,
            count_annotations(truth),
            scans=[0],
            ids=[0, 1],
            sections=sections,
            scales={0: (0.0, 1.0)},
            limit=20,
        )
        patches, _ = PatchSampler(windows, classes=2, sections=sections, seed=0).batch(24)
        for patch in patches:
            slopes = [np.abs(np.diff(patch, axis=a).mean()) for a in range(3)]
            along = int(np.argmax(slopes))
            senses[axis].add(int(np.sign(np.diff(patch, axis=along).mean())))
    assert senses["z"] == {1}
    # 0: a patch that reaches over the edge, where its window is mirrored.
    assert senses["y"] - {0} == senses["x"] - {0} == {-1, 1}


def test_the_tone_of_a_patch_varies_and_keeps_its_order(volume):
    steps = np.repeat(np.linspace(-2, 2, 5), 8)[None, :, None, None] * np.ones((1, 40, 16, 32))
    marks = np.zeros(steps.shape, np.uint8)
    windows = draw_windows(
        steps,
        marks,
        count_annotations(marks),
        scans=[0],
        ids=[0],
        sections=SECTIONS,
        scales={0: (0.0, 1.0)},
        limit=4,
    )
    patches, _ = PatchSampler(windows, classes=1, sections=SECTIONS, seed=0).batch(64)
    middle = patches[:, 2].mean(axis=2)
    jumps = np.diff(middle, axis=1)
    largest = jumps.max(axis=1)
    assert largest.min() > 0.3
    assert largest.std() > 0.05
