"""What a network sees and why."""

from minidl.explain.gradients import (
    deconvnet,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from minidl.explain.occlusion import occlusion_map

__all__ = [
    "deconvnet",
    "guided_backprop",
    "input_x_gradient",
    "integrated_gradients",
    "occlusion_map",
    "saliency",
    "smoothgrad",
]
