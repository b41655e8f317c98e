"""Synthetic operando experiments with exact ground truth: no download, no files."""

from operando.samples.cell import symmetric_cell
from operando.samples.phantom import ellipsoids
from operando.samples.projections import projections

__all__ = ["ellipsoids", "projections", "symmetric_cell"]
