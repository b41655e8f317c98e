"""Image files in and out: one format per module behind one registry.

>>> from operando import io
>>> sorted(io.readers())
['hdf5', 'ome-zarr', 'picture', 'raw', 'tiff']
"""

from operando.io.annotation_export import write_annotations
from operando.io.annotation_log import AnnotationLog, Mark, append_marks, create_log, read_log
from operando.io.annotation_replay import replay
from operando.io.annotations import CONVENTIONS, open_annotations, read_annotations
from operando.io.image import describe, open_image, save_image
from operando.io.projections import open_projections
from operando.io.reader import Dataset, Reader, StoredImage, Verdict, readers

__all__ = [
    "CONVENTIONS",
    "AnnotationLog",
    "Dataset",
    "Mark",
    "Reader",
    "StoredImage",
    "Verdict",
    "append_marks",
    "create_log",
    "describe",
    "open_annotations",
    "open_image",
    "open_projections",
    "read_annotations",
    "read_log",
    "readers",
    "replay",
    "save_image",
    "write_annotations",
]
