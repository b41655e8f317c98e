"""Labels from gray values: annotations, the threshold baseline, the network, honest agreement."""

from operando.segmentation.agreement import agreement
from operando.segmentation.annotations import draw_strokes, label_slices
from operando.segmentation.clean import clean
from operando.segmentation.contract import Segmenter
from operando.segmentation.network import NetworkSegmenter
from operando.segmentation.otsu import Otsu, multi_otsu

__all__ = [
    "NetworkSegmenter",
    "Otsu",
    "Segmenter",
    "agreement",
    "clean",
    "draw_strokes",
    "label_slices",
    "multi_otsu",
]
