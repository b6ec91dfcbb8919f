"""Inference with integers: arithmetic, layers, models, and the conversion of float networks."""

from minidl.compress.integer.arithmetic import (
    fixed_point_multiplier,
    fixed_point_multiply,
    quantized_conv2d,
    quantized_linear,
    requantize,
)
from minidl.compress.integer.conversion import compare_layers, convert, quantize_model
from minidl.compress.integer.layers import QuantizedConv2d, QuantizedLinear
from minidl.compress.integer.model import IntegerModel, model_bytes

__all__ = [
    "IntegerModel",
    "QuantizedConv2d",
    "QuantizedLinear",
    "compare_layers",
    "convert",
    "fixed_point_multiplier",
    "fixed_point_multiply",
    "model_bytes",
    "quantize_model",
    "quantized_conv2d",
    "quantized_linear",
    "requantize",
]
