import pytest

from operando.core.errors import InputError
from operando.report import rgb_array, workflow

STEPS = [{"name": name, "detail": f"what {name} does"} for name in ("open", "register", "train", "segment", "measure")]


def _boxes(ax):
    return [patch for patch in ax.patches if hasattr(patch, "get_boxstyle")]


def test_every_step_is_a_box_and_all_but_the_last_have_an_arrow():
    ax = workflow(STEPS).axes[0]
    assert len(_boxes(ax)) == 5
    assert sum(text.arrow_patch is not None for text in ax.texts if hasattr(text, "arrow_patch")) == 4


def test_iterations_of_training_are_a_second_panel():
    figure = workflow(STEPS, iterations=STEPS[:2])
    assert [len(_boxes(ax)) for ax in figure.axes] == [5, 2]
    assert [ax.texts[-1].get_text() for ax in figure.axes] == ["a", "b"]


def test_text_stays_inside_its_box_however_long_a_word_is():
    step = {"title": "Crosscorrelationofsubvolumesaroundstaticfeatures", "detail": "x" * 200 + " and more " * 10}
    figure = workflow([step, *STEPS[:3]])
    rgb_array(figure, dpi=100)
    ax = figure.axes[0]
    box = _boxes(ax)[0].get_window_extent()
    for text in [t for t in ax.texts if t.get_text() and t.get_position()[0] < 40]:
        extent = text.get_window_extent()
        assert extent.x1 <= box.x1
        assert extent.y0 >= box.y0


def test_more_text_makes_a_taller_figure():
    short, tall = (workflow([{"title": "a", "detail": "word " * n}]).get_size_inches()[1] for n in (1, 200))
    assert tall > 1.5 * short


def test_a_step_without_a_name_is_refused():
    with pytest.raises(InputError, match="needs a title or a name, got {'detail': 'x'}"):
        workflow([{"detail": "x"}])
    with pytest.raises(InputError, match="at least one step"):
        workflow([])
