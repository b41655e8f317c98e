import dask.array as da
import numpy as np
import pytest
import xarray as xr

from operando.core.errors import InputError
from operando.core.phases import CELL
from operando.report import annotation_examples
from operando.report.annotated import most_annotated


@pytest.fixture
def annotations(labels) -> xr.DataArray:
    marks = np.full(labels.shape, 255, dtype=np.uint8)
    marks[0, :, 5, :] = labels.values[0, :, 5, :]
    marks[2, 13, :, :] = labels.values[2, 13, :, :]
    return labels.copy(data=marks)


def test_the_slices_that_were_annotated_are_found(annotations):
    assert most_annotated(annotations) == [(0, "y", 10.0), (2, "z", 26.0)]
    lazy = annotations.copy(data=da.from_array(annotations.values, chunks=8))
    assert most_annotated(lazy) == [(0, "y", 10.0), (2, "z", 26.0)]


def test_rows_are_slices_and_columns_say_what_they_are(image, annotations, labels):
    figure = annotation_examples(image, annotations, labels, CELL, truth=labels)
    assert [ax.get_title() for ax in figure.axes[:4]] == ["Image", "Annotation", "Prediction", "Truth"]
    assert [ax.get_ylabel() for ax in figure.axes[::4]] == ["0.00 h\nnormal to y", "4.00 h\nnormal to z"]


def test_annotated_electrolyte_shows_in_the_annotation_and_not_in_the_prediction(image, annotations, labels):
    figure = annotation_examples(image, annotations, labels, CELL, examples=[(0, "y", 10.0)])
    middle = 8  # electrolyte in the first scan
    drawn = [max(layer.get_array()[middle, 0, 3] for layer in ax.images[1:]) for ax in figure.axes[1:3]]
    assert drawn[0] > 0
    assert drawn[1] == 0


def test_unlabeled_voxels_stay_clear(image, annotations):
    figure = annotation_examples(image, annotations, None, CELL, examples=[(1, "y", 10.0)])
    assert all(layer.get_array()[..., 3].max() == 0 for layer in figure.axes[1].images[1:])


def test_a_prediction_alone_is_shown_in_the_middle(image, labels):
    figure = annotation_examples(image, None, labels, CELL)
    assert [ax.get_title() for ax in figure.axes] == ["Image", "Prediction"]


def test_nothing_to_show_is_refused(image, labels):
    with pytest.raises(InputError, match="is needed, got none"):
        annotation_examples(image, None, None, CELL)
    with pytest.raises(InputError, match="at least one voxel must be annotated"):
        annotation_examples(image, xr.full_like(labels, 255), None, CELL)
