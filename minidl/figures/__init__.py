"""Figures in one style, safe for colour-blind readers. Only this part of minidl uses Matplotlib.

Every function returns a Matplotlib Figure that is not registered in pyplot; ``save`` writes it to ``out/``.
"""

from types import ModuleType

from minidl.engine.instead import submodule
from minidl.figures.calibration import confidence_histogram, distributions, reliability_diagram
from minidl.figures.confusion import confusion_picture
from minidl.figures.curves import bars_with_intervals, curves_with_bands, points_with_intervals
from minidl.figures.diagram import block_diagram
from minidl.figures.evidence import evidence_by_class
from minidl.figures.filters import filters_and_maps
from minidl.figures.graph import draw_graph
from minidl.figures.maps import image_grid, overlay, signed_map
from minidl.figures.matrices import matrix_steps
from minidl.figures.model import draw_model
from minidl.figures.neighbours import neighbours_picture
from minidl.figures.network import answers_picture
from minidl.figures.photographs import (
    patches_beside_patterns,
    perturbation_triple,
    photograph_strip,
    photograph_with_map,
    prediction_bars,
)
from minidl.figures.points import heat_map, scatter_by_class
from minidl.figures.reuse import layers_diagram, photograph_map
from minidl.figures.saving import save
from minidl.figures.shapley import convergence, shap_summary, waterfall
from minidl.figures.similarity import answers_by_temperature, similarity_matrix

__all__ = [
    "answers_by_temperature",
    "answers_picture",
    "bars_with_intervals",
    "block_diagram",
    "confidence_histogram",
    "confusion_picture",
    "convergence",
    "curves_with_bands",
    "distributions",
    "draw_graph",
    "draw_model",
    "evidence_by_class",
    "filters_and_maps",
    "heat_map",
    "image_grid",
    "layers_diagram",
    "matrix_steps",
    "neighbours_picture",
    "overlay",
    "patches_beside_patterns",
    "perturbation_triple",
    "photograph_map",
    "photograph_strip",
    "photograph_with_map",
    "points_with_intervals",
    "prediction_bars",
    "reliability_diagram",
    "save",
    "scatter_by_class",
    "shap_summary",
    "signed_map",
    "similarity_matrix",
    "waterfall",
]


def __getattr__(name: str) -> ModuleType:
    return submodule(__name__, name)
