"""Image files in and out: one format per module behind one registry.

>>> from operando import io
>>> sorted(io.readers())
['hdf5', 'mask', 'ncb', 'ome-zarr', 'picture', 'raw', 'stk', 'stxm', 'tiff', 'xrm']
"""

from operando.io.annotation_export import write_annotations
from operando.io.annotation_log import AnnotationLog, Mark, append_marks, create_log, read_log
from operando.io.annotation_replay import replay
from operando.io.annotations import CONVENTIONS, open_annotations, read_annotations
from operando.io.image import describe, open_image, save_image
from operando.io.profiles import numbered_files, open_profiles
from operando.io.projections import open_projections
from operando.io.reader import Dataset, Reader, StoredImage, Verdict, readers
from operando.io.spectra import open_spectra
from operando.io.spectra_save import save_spectra
from operando.io.stack import open_stack

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
    "numbered_files",
    "open_annotations",
    "open_image",
    "open_profiles",
    "open_projections",
    "open_spectra",
    "open_stack",
    "read_annotations",
    "read_log",
    "readers",
    "replay",
    "save_image",
    "save_spectra",
    "write_annotations",
]
