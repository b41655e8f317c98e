"""Labels from gray values: annotations, the threshold baseline, the network, honest agreement."""

from operando.segmentation.agreement import agreement
from operando.segmentation.annotations import draw_strokes, label_slices
from operando.segmentation.borders import snap_borders
from operando.segmentation.clean import clean
from operando.segmentation.confidence import confidence, confident_fraction
from operando.segmentation.contract import Segmenter
from operando.segmentation.edges import corrected, edge_labels
from operando.segmentation.iterative import IterativeSegmenter
from operando.segmentation.marks import mark_mask, mark_points, mark_polygon, mark_stroke, marks_of
from operando.segmentation.network import NetworkSegmenter
from operando.segmentation.otsu import Otsu, multi_otsu
from operando.segmentation.pixels import PixelClassifier
from operando.segmentation.slab import lithium_slab, slabs_to_cell
from operando.segmentation.split import random_patch_split, slice_split
from operando.segmentation.suggest import label_places, suggest

__all__ = [
    "IterativeSegmenter",
    "NetworkSegmenter",
    "Otsu",
    "PixelClassifier",
    "Segmenter",
    "agreement",
    "clean",
    "confidence",
    "confident_fraction",
    "corrected",
    "draw_strokes",
    "edge_labels",
    "label_places",
    "label_slices",
    "lithium_slab",
    "mark_mask",
    "mark_points",
    "mark_polygon",
    "mark_stroke",
    "marks_of",
    "multi_otsu",
    "random_patch_split",
    "slabs_to_cell",
    "slice_split",
    "snap_borders",
    "suggest",
]
