"""Simulated spectro-microscopy: the truth adds up, and counts follow from it."""

import numpy as np
import pytest
import xarray as xr

from operando import samples
from operando.core.errors import AxesError, InputError
from operando.samples.stxm_imaging import Grid, Microscope, beam, counted, drift

KINDS = ("core-shell", "wavefront", "mosaic")
IDEAL = {"drift_px": 0.0, "stray": 0.0, "dark": 0.0, "i0_counts": 1e9}


def density(made: xr.Dataset) -> xr.DataArray:
    dark = made.attrs["dark"]
    return np.log((made.i0 - dark) / (made.counts.astype(float) - dark))


def microscope_with(**words: float) -> Microscope:
    none = {"blur_px": 0.0, "drift_px": 0.0, "stray": 0.0, "dark": 0.0, "dead_time_us": 0.0, "dwell_ms": 1.0}
    return Microscope(i0_counts=100.0, open_pixels=400, **{**none, **words})


@pytest.fixture(scope="module", params=KINDS)
def particle(request) -> xr.Dataset:
    return samples.stxm_particle((64, 72), kind=request.param, seed=3100)


def test_the_dataset_holds_what_is_promised(particle):
    stack, image = ("energy", "y", "x"), ("y", "x")
    dims = {
        "counts": stack,
        "i0": ("energy",),
        "i0_sigma": ("energy",),
        "references": ("component", "energy"),
        "has_reference": ("component",),
        "stoichiometry": ("component",),
        "weight": ("component", *image),
        "thickness": image,
        "optical_density": stack,
        "lithiation": image,
        "particles": image,
        "shift_y": ("energy",),
        "shift_x": ("energy",),
        "boundary": image,
        "thick": image,
        "missing_reference": image,
    }
    assert {name: particle[name].dims for name in dims} == dims
    units = {name: particle[name].attrs["units"] for name in ("counts", "i0", "references", "weight", "shift_y")}
    assert units == {"counts": "counts", "i0": "counts", "references": "um-1", "weight": "um", "shift_y": "um"}
    assert particle.counts.dtype == np.float32
    assert particle.particles.dtype == np.int32
    assert {particle[name].dtype for name in ("boundary", "thick", "missing_reference", "has_reference")} == {
        np.dtype(bool)
    }
    assert particle.energy.attrs["units"] == "eV"
    assert float(particle.x[1] - particle.x[0]) == pytest.approx(0.03)
    assert particle.attrs["simulated"] is True
    assert {"dark", "dead_time_us", "dwell_ms"} <= set(particle.attrs)


def test_the_truth_adds_up(particle):
    summed = (particle.weight * particle.references).sum("component")
    assert float(abs(summed - particle.optical_density).max()) < 1e-13
    assert float(abs(particle.weight.sum("component") - particle.thickness).max()) < 1e-13
    assert float(particle.weight.min()) >= 0
    content = (particle.weight * particle.stoichiometry).sum("component") / particle.thickness
    inside = particle.particles > 0
    xr.testing.assert_allclose(particle.lithiation.where(inside), content.where(inside))
    assert bool((particle.lithiation.isnull() == ~inside).all())
    assert float(particle.lithiation.min()) >= 0
    assert float(particle.lithiation.max()) <= float(particle.stoichiometry.max())


def test_each_flag_is_set_somewhere_and_not_everywhere(particle):
    for flag in ("boundary", "thick", "missing_reference"):
        share = float(particle[flag].where(particle.particles > 0).mean())
        assert 0.005 < share < 0.8, flag


def test_only_the_first_particle_holds_a_phase_without_reference(particle):
    assert particle.component.values[~particle.has_reference.values].tolist() == ["omega"]
    assert np.unique(particle.particles.values[particle.missing_reference.values]).tolist() == [1]
    share = particle.weight.sel(component="omega") / particle.thickness
    expected = (particle.particles > 0) & (share > particle.missing_reference.attrs["share"])
    assert bool((particle.missing_reference == expected).all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(kind):
    first, again, other = (samples.stxm_particle((32, 32), kind=kind, seed=seed) for seed in (3101, 3101, 3102))
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first.counts, other.counts)
    assert not np.array_equal(first.weight, other.weight)


def test_lithium_grows_from_core_to_rim_along_the_front_and_by_domains():
    def rank_correlation(made, field):
        from scipy.stats import spearmanr

        found = []
        for number in range(1, int(made.particles.max()) + 1):
            inside = made.particles.values == number
            found.append(spearmanr(made.lithiation.values[inside], field(inside)).statistic)
        return np.array(found)

    def depth(inside):
        from scipy.ndimage import distance_transform_edt

        return distance_transform_edt(inside)[inside]

    made = samples.stxm_particle(kind="core-shell", seed=3103, missing_phase=False)
    assert rank_correlation(made, depth).max() < -0.6
    made = samples.stxm_particle(kind="wavefront", seed=3103, missing_phase=False)
    for number in range(1, int(made.particles.max()) + 1):
        y, x = np.nonzero(made.particles.values == number)
        values = made.lithiation.values[y, x]
        if np.ptp(values) > 0:
            design = np.stack([y, x, np.ones(y.size)], axis=1)
            along = design @ np.linalg.lstsq(design, values, rcond=None)[0]
            assert np.corrcoef(along, values)[0, 1] > 0.8
    made = samples.stxm_particle(kind="mosaic", seed=3103, missing_phase=False)
    assert abs(rank_correlation(made, depth)).mean() < 0.4


def test_an_ideal_microscope_counts_what_beer_and_lambert_say():
    made = samples.stxm_particle((48, 48), seed=3104, energies=[513.0, 518.5, 529.75], thick_um=None, **IDEAL)
    error = abs(density(made) - made.optical_density).max("energy")
    # The photons of 1e9 counts leave an error of up to 2e-4.
    assert float(error.where(~made.boundary).max()) < made.boundary.attrs["tolerance"] + 2e-4
    assert float(abs(error - made.partial_volume).max()) < 4e-4
    assert float(made.partial_volume.where(made.boundary).min()) > made.boundary.attrs["tolerance"]


def test_averaging_transmission_can_only_lower_the_optical_density():
    made = samples.stxm_particle((48, 48), seed=3105, energies=[518.5], thick_um=None, **IDEAL)
    assert float((density(made) - made.optical_density).max()) < 2e-4


def test_stray_light_saturates_what_is_thick():
    words = {**IDEAL, "stray": 0.01, "n_particles": 1, "radius_px": 16.0, "missing_phase": False}
    made = samples.stxm_particle((48, 48), seed=3106, energies=[518.5], blur_px=0.0, mixing_px=3.0, **words)
    smooth = (made.partial_volume < 1e-3) & made.thick
    expected = -np.log(0.99 * np.exp(-made.optical_density) + 0.01)
    assert int(smooth.sum()) > 50
    assert float(abs(density(made) - expected).where(smooth).max()) < 1.2e-3
    assert float(density(made).max()) < -np.log(0.01)
    xr.testing.assert_allclose(made.saturation, abs(expected - made.optical_density).max("energy"))


def test_a_drift_shows_what_is_at_a_point_where_the_shift_says():
    truth = samples.stxm_particle((64, 64), seed=3107, energies=[518.5, 518.51], missing_phase=False, **IDEAL)
    drifted = samples.stxm_particle(
        (64, 64), seed=3107, energies=[518.5, 518.51], missing_phase=False, **{**IDEAL, "drift_px": 2.0}
    )
    xr.testing.assert_equal(truth.weight, drifted.weight)
    step = 0.03

    def middle(image):
        # Absorbed light: transmission is what drifts linearly.
        absorbed = 1.0 - np.asarray(image)
        y, x = np.mgrid[0:64, 0:64]
        return np.array([(y * absorbed).sum(), (x * absorbed).sum()]) / absorbed.sum()

    for number in range(2):
        light = [(made.counts.isel(energy=number) / made.i0.isel(energy=number)) for made in (truth, drifted)]
        moved = (middle(light[1]) - middle(light[0])) * step
        wanted = [float(drifted.shift_y[number]), float(drifted.shift_x[number])]
        np.testing.assert_allclose(moved, wanted, atol=2e-4)
        assert max(map(abs, wanted)) > step


def test_shifts_have_mean_zero_and_the_spread_asked_for():
    walk = drift(81, 0.7, seed=5)
    np.testing.assert_allclose(walk.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.sqrt((walk**2).mean(axis=0)), 0.7)
    assert not drift(1, 0.7, seed=5).any()


@pytest.mark.parametrize("blur", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("shift", [0.0, 0.3, -1.7])
def test_a_footprint_averages_and_moves_a_straight_line_exactly(blur, shift):
    grid = Grid((30, 30), pad=12, fine=3)
    seen = grid.footprint(0, blur_px=blur, shift_px=shift) @ grid.points[0]
    np.testing.assert_allclose(seen, np.arange(30) - shift, atol=1e-7)
    np.testing.assert_allclose(grid.footprint(0, blur_px=blur, shift_px=shift).sum(axis=1), 1.0)


def test_a_footprint_without_blur_is_the_mean_of_a_pixel():
    grid = Grid((4, 5), pad=1, fine=2)
    dense = grid.footprint(1, blur_px=0.0).toarray()
    expected = np.zeros((5, 14))
    for pixel in range(5):
        expected[pixel, 2 + 2 * pixel : 4 + 2 * pixel] = 0.5
    np.testing.assert_allclose(dense, expected, atol=1e-12)


def test_the_probe_blurs_a_point_by_its_standard_deviation():
    grid = Grid((41, 41), pad=0, fine=1)
    row = grid.footprint(0, blur_px=1.2).toarray()[20]
    at = np.arange(41) - 20
    # A square of width 1 adds 1/12 to the variance, as does the cell.
    assert (row * at**2).sum() == pytest.approx(1.2**2 + 2 / 12, rel=1e-3)


def test_counts_are_poisson_around_what_is_expected():
    microscope = microscope_with(dark=20.0)
    seen = counted(np.full(200_000, 100.0), microscope, np.random.default_rng(0))
    assert seen.mean() == pytest.approx(120.0, abs=0.1)
    assert seen.var() == pytest.approx(120.0, rel=0.015)


def test_a_dead_counter_counts_as_a_process_with_pauses_does():
    tau, dwell, rate = 0.02, 100.0, 12.0  # us, us, 1/us
    microscope = microscope_with(dead_time_us=tau, dwell_ms=dwell / 1e3)
    drawn = counted(np.full(20_000, rate * dwell), microscope, np.random.default_rng(1))
    waits = np.random.default_rng(2).exponential(1 / rate, (4_000, 1_300)) + tau
    # The first wait has no dead time before it.
    played = (np.cumsum(waits, axis=1) - tau <= dwell).sum(axis=1)
    assert drawn.mean() == pytest.approx(played.mean(), rel=2e-3)
    assert drawn.var() == pytest.approx(played.var(), rel=0.08)
    assert drawn.mean() == pytest.approx(rate * dwell / (1 + rate * tau), rel=1e-3)


def test_i0_is_off_by_its_sigma():
    made = samples.stxm_particle((16, 16), n_particles=1, seed=3108, open_pixels=50, i0_counts=500.0)
    expected = beam(made.energy.values, 500.0) + made.attrs["dark"]
    score = (made.i0.values - expected) / made.i0_sigma.values
    assert 0.75 < np.sqrt(np.mean(score**2)) < 1.25
    np.testing.assert_allclose(made.i0_sigma, np.sqrt(expected / 50))


def test_more_particles_fill_more_and_some_touch():
    made = samples.stxm_particle((96, 96), seed=3109, energies=[518.5], n_particles=6, missing_phase=False)
    labels = made.particles.values
    assert labels.max() == 6
    neighbors = [(labels[1:] != labels[:-1]) & (labels[1:] > 0) & (labels[:-1] > 0)]
    neighbors.append((labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0))
    assert sum(int(touch.sum()) for touch in neighbors) > 0
    few = samples.stxm_particle((96, 96), seed=3109, energies=[518.5], n_particles=1, missing_phase=False)
    assert int(few.particles.max()) == 1


def test_particles_are_as_thick_as_asked():
    made = samples.stxm_particle(seed=3110, energies=[518.5], thickness_um=0.2, thick_um=0.9, blur_px=0.0)
    most = [float(made.thickness.where(made.particles == k).max()) for k in range(1, int(made.particles.max()) + 1)]
    assert max(most[:-1]) < 0.2 * 1.2
    assert 0.9 * 0.8 < most[-1] < 0.9 * 1.2


def test_references_follow_lithium():
    made = samples.stxm_references(["alpha", "epsilon", "delta", "gamma", "omega"])
    assert made.dims == ("component", "energy")
    assert made.stoichiometry.values.tolist() == [0.0, 0.5, 1.0, 2.0, 3.0]
    assert bool((made > 0).all())
    # The mean energy of what absorbs at vanadium, above the smallest, falls; the first O K peak fades.
    vanadium = made.sel(energy=slice(512, 527))
    vanadium = vanadium - vanadium.isel(energy=0)
    center = (vanadium * vanadium.energy).sum("energy") / vanadium.sum("energy")
    assert bool((np.diff(center) < 0).all())
    assert bool((np.diff(made.sel(energy=529.75)) < 0).all())
    fine = samples.stxm_references(["alpha"], energies=[600.0])
    assert fine.shape == (1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kind": "coreshell"}, "Did you mean 'core-shell'"),
        ({"shape": (8, 96)}, "at least 16 each"),
        ({"phases": ["alfa"]}, "Did you mean 'alpha'"),
        ({"phases": ["alpha", "omega"]}, "missing_phase=False"),
        ({"phases": []}, "at least one name"),
        ({"stray": 1.5}, "'stray': 1.5"),
        ({"i0_counts": 0}, "'i0_counts': 0"),
        ({"seed": -1}, "'seed': -1"),
        ({"energies": [-5.0]}, "at least 100 eV"),
        ({"energies": [0.515, 0.518]}, "Give them in eV"),
        ({"energies": "513 to 530"}, "a row of numbers"),
        ({"energies": [515.0, 515.0]}, "there once"),
        ({"shape": 32}, "two numbers of pixels"),
        ({"shape": (32.5, 32)}, "two numbers of pixels"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"supersampling": 0.5}, "supersampling must be a whole number"),
        ({"n_particles": 0}, "'n_particles': 0"),
        ({"thickness_um": float("nan")}, "thickness_um"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        samples.stxm_particle(**words)


def test_particles_smaller_than_a_cell_leave_numbers():
    made = samples.stxm_particle((24, 24), radius_px=0.3, energies=[515.0, 518.0], seed=3001)
    assert np.isfinite(made.counts.values).all()
    assert np.isfinite(made.weight.values).all()


def maps(values, names=("a", "b"), **words) -> xr.DataArray:
    return xr.DataArray(values, dims=("component", "y", "x"), coords={"component": list(names)}, **words)


def spectra(values, names=("a", "b"), energies=(700.0, 710.0, 720.0)) -> xr.DataArray:
    coords = {"component": list(names), "energy": list(energies)}
    return xr.DataArray(values, dims=("component", "energy"), coords=coords)


def test_given_maps_are_the_truth_where_nothing_blurs():
    rng = np.random.default_rng(3)
    given = maps(rng.random((2, 20, 24)))
    lines = spectra([[1.0, 2.0, 0.5], [0.2, 0.1, 1.5]])
    made = samples.stxm_from_maps(given, lines, blur_px=0.0, **IDEAL)
    np.testing.assert_allclose(made.weight, given, rtol=1e-12, atol=1e-13)
    assert float(abs(density(made) - made.optical_density).max()) < 3e-4
    assert not bool(made.boundary.any())
    assert made.weight.attrs["units"] == "1"
    assert "lithiation" not in made
    assert made.shift_y.attrs["units"] == "px"


def test_references_are_taken_by_name_and_in_any_order_of_dims():
    given = maps(np.random.default_rng(4).random((2, 16, 16)))
    lines = spectra([[9.0, 9.0, 9.0], [0.2, 0.1, 1.5], [1.0, 2.0, 0.5]], names=("c", "b", "a"))
    words = {"blur_px": 0.0, "stoichiometry": {"a": 0.0, "b": 1.0}, "without_reference": ["b"]}
    made = samples.stxm_from_maps(given.transpose("x", "y", "component"), lines.T, **words)
    assert made.component.values.tolist() == ["a", "b"]
    assert made.references.sel(component="b").values.tolist() == [0.2, 0.1, 1.5]
    assert made.has_reference.values.tolist() == [True, False]
    share = given.sel(component="b") / given.sum("component")
    np.testing.assert_allclose(made.lithiation, share, rtol=1e-12)
    np.testing.assert_array_equal(made.missing_reference, share > 0.05)


def test_maps_with_a_pixel_size_drift_in_micrometers():
    given = maps(np.ones((2, 16, 16)), attrs={"units": "um"})
    lines = spectra(np.ones((2, 3)))
    lines.attrs["units"] = "um-1"
    at = np.arange(16) * 50.0
    placed = given.assign_coords({dim: (dim, at, {"units": "nm"}) for dim in ("y", "x")})
    made = samples.stxm_from_maps(placed, lines, drift_px=2.0)
    assert made.shift_x.attrs["units"] == "um"
    assert float(np.sqrt((made.shift_x**2).mean())) == pytest.approx(0.1)
    assert made.thickness.attrs["units"] == "um"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": maps(-np.ones((2, 16, 16)))}, "must not be negative"),
        ({"weight": maps(np.full((2, 16, 16), np.nan))}, "512 of 512 values are not"),
        ({"weight": maps(np.ones((2, 16, 16)), names=("a", "z"))}, "no reference for the component 'z'"),
        ({"without_reference": ["q"]}, "no component 'q'"),
        ({"stoichiometry": {"a": 1.0}}, r"lacks \['b'\]"),
        ({"references": spectra(np.ones((2, 3))).drop_vars("energy")}, "energy in eV"),
    ],
)
def test_maps_that_do_not_fit_are_refused(change, message):
    words = {"weight": maps(np.ones((2, 16, 16))), "references": spectra(np.ones((2, 3))), **change}
    with pytest.raises(InputError, match=message):
        samples.stxm_from_maps(**words)


def test_maps_without_components_are_refused_by_dims():
    with pytest.raises(AxesError, match="component"):
        samples.stxm_from_maps(xr.DataArray(np.ones((4, 4)), dims=("y", "x")), spectra(np.ones((2, 3))))


def test_unnamed_maps_and_references_go_together_by_number():
    made = samples.stxm_from_maps(
        xr.DataArray(np.ones((2, 16, 16)), dims=("component", "y", "x")),
        spectra(np.ones((2, 3))).drop_vars("component"),
    )
    assert made.component.values.tolist() == ["0", "1"]
