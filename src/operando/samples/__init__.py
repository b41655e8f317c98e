"""Synthetic operando experiments with exact ground truth: no download, no files."""

from operando.samples.cell import symmetric_cell

__all__ = ["symmetric_cell"]
