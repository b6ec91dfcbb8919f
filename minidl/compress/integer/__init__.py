"""Inference with integers: the arithmetic, layers and models made of it, and their files."""

from minidl.compress.integer.arithmetic import (
    fixed_point_multiplier,
    fixed_point_multiply,
    quantized_conv2d,
    quantized_linear,
    requantize,
)
from minidl.compress.integer.files import load_quantized, save_quantized
from minidl.compress.integer.layers import QuantizedConv2d, QuantizedLinear
from minidl.compress.integer.model import IntegerModel, model_bytes, quantize_model

__all__ = [
    "IntegerModel",
    "QuantizedConv2d",
    "QuantizedLinear",
    "fixed_point_multiplier",
    "fixed_point_multiply",
    "load_quantized",
    "model_bytes",
    "quantize_model",
    "quantized_conv2d",
    "quantized_linear",
    "requantize",
    "save_quantized",
]
