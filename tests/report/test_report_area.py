import numpy as np
import pytest

from operando.core.errors import InputError
from operando.core.quantities import quantity_table
from operando.report import unoccupied

SHARES = {"dendrite": [0.0, 0.3], "deposited": [0.0, 0.9], "pit": [0.0, 0.5], "redeposited": [0.0, 0.0]}


@pytest.fixture
def shares():
    rows = [
        {"scan": scan, "t": 2.0 * scan, "component": name, "quantity": "coverage", "value": value, "sigma": 0.01,
         "unit": "1"}
        for name, values in SHARES.items()
        for scan, value in enumerate(values)
    ]  # fmt: skip
    rows += [
        {"scan": 1, "t": 2.0, "component": "unfilled pits", "quantity": "unfilled area", "value": 0.2, "unit": "1"},
    ]
    return quantity_table(rows)


def test_the_uncovered_share_is_one_minus_the_covered_one(shares):
    axes = unoccupied(shares).axes
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [1.0, 0.7])
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), [1.0, 0.5])


def test_the_interval_is_turned_with_the_value(shares):
    band = unoccupied(shares).axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.7 - 1.959964 * 0.01, abs=1e-6)


def test_unfilled_pits_are_drawn_as_they_are(shares):
    ax = unoccupied(shares, unfilled=("unfilled area", "unfilled pits")).axes[1]
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(drawn["unfilled pits"], [0.2])


def test_the_truth_is_turned_too(shares):
    ax = unoccupied(shares, truth=shares).axes[0]
    circles = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(circles[0].get_ydata(), [1.0, 0.7])


def test_two_panels_are_lettered_and_one_is_not(shares):
    def letters(figure):
        return [t.get_text() for ax in figure.axes for t in ax.texts]

    assert letters(unoccupied(shares)) == ["a", "b"]
    assert letters(unoccupied(shares, groups=[["pit"]])) == []


def test_components_that_are_not_there_are_left_out_or_refused(shares):
    figure = unoccupied(shares, groups=[["pit", "moss"]])
    assert [line.get_label() for line in figure.axes[0].lines] == ["no pit"]
    with pytest.raises(InputError, match="at least one component of"):
        unoccupied(shares, groups=[["moss"]])
