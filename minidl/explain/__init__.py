"""What a network sees and why."""

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
from minidl.explain.shapley import (
    kernel_shap,
    kernel_weights,
    per_coalition,
    shapley_paths,
    shapley_values,
)

__all__ = [
    "Explainer",
    "Explanation",
    "deconvnet",
    "guided_backprop",
    "input_gradient",
    "input_x_gradient",
    "integrated_gradients",
    "kernel_shap",
    "kernel_weights",
    "occlusion_map",
    "patch_groups",
    "per_coalition",
    "saliency",
    "shapley_paths",
    "shapley_values",
    "smoothgrad",
]
