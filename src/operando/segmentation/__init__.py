"""Labels from gray values: annotations, the threshold baseline, the network, honest agreement."""

from operando.segmentation.agreement import agreement
from operando.segmentation.annotations import draw_strokes, label_slices
from operando.segmentation.borders import snap_borders
from operando.segmentation.clean import clean
from operando.segmentation.contract import Segmenter
from operando.segmentation.iterative import IterativeSegmenter
from operando.segmentation.marks import mark_mask, mark_points, mark_polygon, mark_stroke, marks_of
from operando.segmentation.network import NetworkSegmenter
from operando.segmentation.otsu import Otsu, multi_otsu
from operando.segmentation.pixels import PixelClassifier
from operando.segmentation.split import random_patch_split
from operando.segmentation.suggest import label_places, suggest

__all__ = [
    "IterativeSegmenter",
    "NetworkSegmenter",
    "Otsu",
    "PixelClassifier",
    "Segmenter",
    "agreement",
    "clean",
    "draw_strokes",
    "label_places",
    "label_slices",
    "mark_mask",
    "mark_points",
    "mark_polygon",
    "mark_stroke",
    "marks_of",
    "multi_otsu",
    "random_patch_split",
    "snap_borders",
    "suggest",
]
