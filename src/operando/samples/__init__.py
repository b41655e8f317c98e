"""Synthetic operando experiments with exact ground truth: no download, no files."""

from operando.samples.cell import symmetric_cell
from operando.samples.ceramic import ceramic_cell
from operando.samples.phantom import ellipsoids
from operando.samples.projections import projections

__all__ = ["ceramic_cell", "ellipsoids", "projections", "symmetric_cell"]
