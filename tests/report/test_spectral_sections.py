"""Sections of the page of a spectro-microscopy run: their sentences, figures and what they say of trust."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from operando import report, spectral
from operando.core.axes import labeled_image
from operando.core.quantities import quantity_table
from operando.report import FigureItem, MovieItem, TableItem, TextItem
from operando.report.spectral_result_sections import telling_places
from operando.report.spectral_sections import result_sentences

ENERGY = np.array([705.0, 707.0, 708.0, 709.0, 710.5, 713.0, 722.0, 730.0])


@pytest.fixture(scope="module")
def references() -> xr.DataArray:
    shapes = [[0, 1, 3, 2, 1, 0.5, 1, 0.2], [0, 0.2, 1, 3, 2, 0.5, 1.4, 0.2]]
    coords = {"component": ["reduced", "oxidized"], "energy": ("energy", ENERGY, {"units": "eV"})}
    return xr.DataArray(shapes, dims=("component", "energy"), coords=coords, attrs={"units": "1"})


@pytest.fixture(scope="module")
def stack(references) -> xr.DataArray:
    share = np.linspace(0, 1, 20).reshape(4, 5)
    clean = np.tensordot(references.values, np.stack([share, 1 - share]), axes=(0, 0))
    noisy = clean + np.random.default_rng(0).normal(scale=0.02, size=clean.shape)
    return labeled_image(noisy, dims=("energy", "y", "x"), voxel_size_um=0.1, coords={"energy": references["energy"]})


@pytest.fixture(scope="module")
def unmixed(stack, references) -> xr.Dataset:
    return spectral.unmix(stack, references)


@pytest.fixture(scope="module")
def lithiation(unmixed) -> xr.DataArray:
    x = spectral.lithiation(unmixed, {"reduced": 1, "oxidized": 0})
    return x.where(xr.DataArray(np.arange(20).reshape(4, 5) > 3, dims=("y", "x")))


class Book:
    """Keeps the name of every figure, as a folder of figures would."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def figure(self, name: str, figure: object, caption: str) -> FigureItem:
        self.names.append(name)
        return FigureItem(figure, caption)


def _trust(section: report.Section) -> str:
    (text,) = [i.text for i in section.items if isinstance(i, TextItem) and i.text.startswith("What to trust.")]
    return text


def test_the_overview_says_the_numbers_of_the_field_with_their_intervals(stack, references, unmixed, lithiation):
    rows = quantity_table(
        [{"component": "field", "quantity": "lithiation", "value": 0.5, "sigma": 0.01, "unit": "1"},
         {"component": "field", "quantity": "phase_boundary_length", "value": 3.0, "unit": "um"}]
    )  # fmt: skip
    doubtful = lithiation > 0.9
    book = Book()
    section = report.section_overview(stack[:3], references, unmixed, lithiation=lithiation, rows=rows,
                                      doubtful=doubtful, images=3, figure=book.figure)  # fmt: skip
    assert section.intro.startswith("2 phases were fitted at 3 energies: reduced and oxidized.")
    assert "Lithiation of the field: 0.500 ± 0.020 (95 %)." in section.intro
    assert "Phase boundary length of the field: 3.00 µm." in section.intro
    assert "16 of 20 pixels hold enough sample for a value." in section.intro
    assert book.names == ["overview", "phases"]
    (movie,) = [item for item in section.items if isinstance(item, MovieItem)]
    assert len(movie.frames) == 3
    many = int(doubtful.sum())
    assert f"{many} of 16 pixels of the map" in _trust(section)


def test_what_the_recipe_calls_lithium_is_spelled_as_a_symbol_and_a_formula():
    rows = quantity_table([{"component": "field", "quantity": "x in Li_x V2O5", "value": 0.5, "unit": "1"}])
    assert result_sentences(rows) == ["x in LiₓV₂O₅ of the field: 0.500."]


def test_without_stoichiometry_the_overview_shows_the_thickness(stack, references, unmixed):
    section = report.section_overview(stack, references, unmixed, images=3, movie=False)
    assert "pixels hold enough sample" not in section.intro
    assert "the map that they give: thickness" in section.items[0].caption
    assert not any(isinstance(item, MovieItem) for item in section.items)


def test_drift_is_told_in_micrometers_and_pixels_and_lost_images_are_counted(stack):
    shift = xr.DataArray([0.3, -0.3, 0.0, np.nan], dims="energy", coords={"energy": ENERGY[:4]}, attrs={"units": "um"})
    aligned = xr.Dataset({"shift_y": shift, "shift_x": 0 * shift + 0.4, "shift_sigma": 0 * shift + 0.01})
    holed = stack.where(stack.energy != 705.0)
    section = report.section_recording(aligned=aligned, pixel=0.1, optical_density=holed, notes=["dark counts of 10"])
    assert "up to 0.5 µm (5 px) from their mean position" in section.intro
    assert "1 image could not be aligned" in section.intro
    assert "20 of 160 values of the optical density are missing" in section.intro
    assert section.intro.endswith("Dark counts of 10.")


def test_the_incident_beam_is_told_with_its_error(references):
    beam = xr.full_like(references[0], 1000.0).drop_vars("component").assign_attrs(units="counts")
    section = report.section_recording(i0=beam, i0_sigma=0 * beam + 5.0)
    assert "known to 0.5 % (one sigma, median over the energies)" in section.intro
    assert "common to all pixels" in _trust(section)


def test_a_recording_of_which_nothing_is_known_has_no_empty_claims():
    section = report.section_recording()
    assert section.intro == ""
    assert list(section.items) == []


def test_clusters_that_no_reference_explains_are_named(stack):
    groups = spectral.cluster(stack, 2, minimum_thickness=0.0)
    names = [str(name) for name in groups["component"].values]
    matches = pd.DataFrame(
        {"spectrum": [names[0], names[0], names[1]], "rank": [1, 2, 1],
         "verdict": ["explained within noise by reduced 1.0", "other", "no reference explains it (R-factor 0.4)"]}
    )  # fmt: skip
    section = report.section_structure(spectral.components(stack), groups, chosen=2, matches=matches)
    assert section.intro == (
        f"2 components stand above the noise. No reference explains {names[1]}: look there for a phase without one."
    )
    assert "explained within noise by reduced 1.0" in section.items[1].alt
    assert "other" not in section.items[1].alt
    explained = report.section_structure(clusters=groups, matches=matches[:1])
    assert explained.intro == "References explain the mean spectrum of every cluster."


def test_the_closest_references_and_every_warning_are_told(references):
    found = spectral.collinearity(references)
    found.attrs["warnings"] = ["reduced and oxidized trade"]
    section = report.section_references(references, found)
    angle = float(found["angle"][0, 1])
    assert f"reduced and oxidized, differ by {angle:.1f} degrees" in section.intro
    assert next(item.text for item in section.items if isinstance(item, TextItem)) == "Reduced and oxidized trade."


def test_a_single_reference_has_no_pair_to_compare(references):
    section = report.section_references(references[:1], spectral.collinearity(references[:1]))
    assert section.intro == ""
    assert len([item for item in section.items if isinstance(item, FigureItem)]) == 1


def test_the_fit_tells_mean_weights_over_the_sample_and_how_much_it_explains(stack, references, unmixed):
    sample = stack[0].drop_vars("energy") * 0 + stack.x < 0.15
    section = report.section_fit(stack, unmixed, references, sample=sample, count=2, explained=0.947)
    mean = float(unmixed["weight"].sel(component="reduced").where(sample).mean())
    assert "explains 94.7 % of the variance" in section.intro
    assert f"Mean weights over 8 pixels: reduced {mean:.3g}" in section.intro
    assert "chi-square" not in section.intro
    assert "They come from the residual of each pixel" in _trust(section)
    known = report.section_fit(stack, unmixed, references, sigma=xr.full_like(stack, 0.02), count=1)
    assert "The median of the reduced chi-square is" in known.intro
    assert "They come from the residual" not in _trust(known)


def test_a_fit_without_residual_says_nothing_of_chi_square(stack, references, unmixed):
    exact = unmixed.assign(chi2_reduced=unmixed["chi2_reduced"] * np.nan)
    told = report.section_fit(stack, exact, references, sigma=xr.full_like(stack, 0.02), count=1).intro
    assert "Mean weights" in told
    assert "nan" not in told


def test_one_phase_is_told_in_the_singular(stack, references):
    alone = spectral.unmix(stack, references[:1])
    assert report.section_overview(stack, references[:1], alone, movie=False).intro.startswith("1 phase was fitted")


def test_telling_pixels_lie_in_the_sample_and_are_as_many_as_asked(unmixed):
    everywhere = xr.ones_like(unmixed["r_factor"], dtype=bool)
    places = telling_places(unmixed, everywhere, 3)
    assert len(places) == 3
    worst = unmixed["r_factor"].sel(y=places[0][0], x=places[0][1], method="nearest")
    assert float(worst) == float(unmixed["r_factor"].max())
    assert telling_places(unmixed, everywhere & False, 3) == []


def test_flags_and_ambiguity_are_counted_among_pixels_of_the_sample(unmixed):
    sample = unmixed["r_factor"].x < 0.25
    sample = (unmixed["r_factor"] < 9) & sample
    flag = xr.zeros_like(sample)
    flag[0] = True
    shares = xr.zeros_like(unmixed["r_factor"])
    shares[1, :2] = 0.7
    flags = xr.Dataset({"thick": flag, "flattening": shares}, attrs={"notes": ["a note"]})
    section = report.section_doubt(unmixed, flags=flags, ambiguity=shares, sample=sample)
    assert "3 of 12 pixels of the sample (25.0 %): too thick" in section.intro
    assert "In 2 of 12 pixels of the sample (16.7 %) another set" in section.intro
    assert "a note." in section.intro
    assert "flattening" not in section.intro


def test_what_unexplained_pixels_have_in_common_is_drawn_where_there_is_something(unmixed):
    flag = xr.zeros_like(unmixed["r_factor"], dtype=bool)
    spectrum = xr.DataArray(np.zeros(8), dims="energy", coords={"energy": ENERGY})
    book = Book()
    report.section_doubt(unmixed, flags=xr.Dataset({"missing_reference": flag, "missing_spectrum": spectrum}),
                         figure=book.figure)  # fmt: skip
    assert book.names == ["flags"]
    report.section_doubt(unmixed, flags=xr.Dataset({"missing_reference": flag, "missing_spectrum": spectrum + 1}),
                         figure=book.figure)  # fmt: skip
    assert book.names == ["flags", "flags", "missing-spectrum"]


def test_lithium_is_told_per_pixel_particle_and_boundary(unmixed, lithiation):
    particles = xr.where(lithiation.x < 0.15, 1, 2).broadcast_like(lithiation).transpose("y", "x").astype("int32")
    table = quantity_table([{"component": "particle 1", "quantity": "area", "value": 0.08, "unit": "um2"}])
    dominant = xr.where(lithiation > 0.5, 0, 1).astype("uint8")
    profile = spectral.core_to_rim(particles, lithiation, 3)
    book = Book()
    section = report.section_lithium(
        lithiation, sigma=xr.full_like(lithiation, 0.03), thickness=unmixed["thickness"], particles=particles,
        table=table, profile=profile, dominant=dominant, phases={"reduced": 0, "oxidized": 1},
        boundary="0.40 ± 0.02 µm", label="x in Li_x FePO4", figure=book.figure,
    )  # fmt: skip
    assert "One pixel is known to 0.03 (one sigma, median)." in section.intro
    assert "2 particles were told apart." in section.intro
    assert "Boundaries between phases are 0.40 ± 0.02 µm long." in section.intro
    assert "x in LiₓFePO₄" in section.items[0].caption
    assert book.names == ["lithiation", "distribution", "particles", "core-to-rim", "boundaries"]
    assert any(isinstance(item, TableItem) for item in section.items)


def test_chosen_energies_are_listed_so_that_they_can_be_set(references):
    table = pd.DataFrame(
        {"k": [2, 8], "choice": ["optimal", "all"], "quantity": "lithiation", "component": "", "sigma": [0.1, 0.2],
         "low": [0.1, 0.2], "high": [0.1, 0.2]}
    )  # fmt: skip
    section = report.section_energies(references, [709.25, 708.0], errors=table)
    assert "The best 2 energies for these references: 708.00 eV, 709.25 eV." in section.intro
    assert "the lithiation of a pixel to 0.1; all 8 give it to 0.2" in section.intro


def test_every_section_goes_onto_a_page_with_a_text_for_every_figure(stack, references, unmixed, lithiation):
    sections = [
        report.section_overview(stack, references, unmixed, images=2, movie=False, simulated=True),
        report.section_lithium(lithiation, simulated=True),
        report.section_energies(references, [708.0], simulated=True),
    ]
    figures = [item for section in sections for item in section.items if isinstance(item, FigureItem)]
    assert all(item.alt for item in figures)
    assert all(item.figure.get_suptitle() == "simulated" for item in figures)
    html = report.page("Iron", sections)
    assert html.count("What to trust.") == 3
