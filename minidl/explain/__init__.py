"""Explanations of a network and its predictions."""

from minidl.explain.cam import gradcam, guided_gradcam
from minidl.explain.classes import easy_and_hard, hardest_examples, most_confident_mistakes
from minidl.explain.cues import shape_bias
from minidl.explain.explainer import Explainer, Explanation, patch_groups
from minidl.explain.gradients import (
    deconvnet,
    guided_backprop,
    input_gradient,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from minidl.explain.occlusion import occlusion_map
from minidl.explain.patches import receptive_field, top_patches
from minidl.explain.score import (
    area_under,
    deletion_curve,
    insertion_curve,
    mass_inside,
    pointing_game,
    randomisation_check,
)
from minidl.explain.shapley import (
    kernel_estimate,
    kernel_shap,
    kernel_weights,
    per_coalition,
    shapley_paths,
    shapley_values,
)

__all__ = [
    "Explainer",
    "Explanation",
    "area_under",
    "deconvnet",
    "deletion_curve",
    "easy_and_hard",
    "gradcam",
    "guided_backprop",
    "guided_gradcam",
    "hardest_examples",
    "input_gradient",
    "input_x_gradient",
    "insertion_curve",
    "integrated_gradients",
    "kernel_estimate",
    "kernel_shap",
    "kernel_weights",
    "mass_inside",
    "most_confident_mistakes",
    "occlusion_map",
    "patch_groups",
    "per_coalition",
    "pointing_game",
    "randomisation_check",
    "receptive_field",
    "saliency",
    "shape_bias",
    "shapley_paths",
    "shapley_values",
    "smoothgrad",
    "top_patches",
]
