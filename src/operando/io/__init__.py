"""Image files in and out: one format per module behind one registry.

>>> from operando import io
>>> sorted(io.readers())
['hdf5', 'ome-zarr', 'picture', 'raw', 'tiff']
"""

from operando.io.image import describe, open_image, save_image
from operando.io.reader import Dataset, Reader, StoredImage, Verdict, readers

__all__ = ["Dataset", "Reader", "StoredImage", "Verdict", "describe", "open_image", "readers", "save_image"]
