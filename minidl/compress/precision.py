"""What numbers of few bits cost and save: the signal to noise, the bytes, and the range of a type."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.quantize import QuantParams, check_reals, dequantize, integer_range, quantize
from minidl.engine.checks import check_array, check_int, positive_int


def sqnr(r: Any, params: QuantParams) -> float:
    """Signal to quantization noise in dB:  10 log10(sum r² / sum (r - dequantize(quantize(r)))²).

    6.02 dB more correspond to one more bit. Infinite if every number is represented exactly. ValueError if r
    is not finite.
    """
    r = check_reals("r", check_array("r", r, empty=True))
    return noise_ratio(r, dequantize(quantize(r, params), params))


def noise_ratio(r: np.ndarray, approximation: np.ndarray) -> float:
    """10 log10(sum r² / sum (r - approximation)²) in dB, infinite if the two are equal."""
    r = r.astype(np.float64)
    signal, noise = float(np.sum(r**2)), float(np.sum((r - approximation) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def packed_bytes(weights: int, bits: int, channels: int = 0, group_size: int | None = None) -> int:
    """Bytes of packed weights with ``bits`` bits each, and 8 bytes (scale, bias) for each channel.

    With ``group_size``, each group of so many weights has a scale of 2 bytes, and each channel a bias of 4.
    All weights count as one row: if ``group_size`` does not divide a row, ``quantize_groups`` takes more.
    32 bits mean floats: 4 bytes for each weight, and 4 for the bias of each channel.
    """
    weights, channels = check_int("weights", weights, 0), check_int("channels", channels, 0)
    bits = check_int("bits", bits)
    if bits == 32:
        return 4 * weights + 4 * channels
    integer_range(bits)
    packed = -(-weights * bits // 8)
    if group_size is None:
        return packed + 8 * channels
    return packed + 2 * -(-weights // positive_int("group_size", group_size)) + 4 * channels


class DynamicRange(NamedTuple):
    """The lowest and the highest number of a type, and its smallest number above 0."""

    name: str
    lowest: float
    highest: float
    smallest: float


def dynamic_range_table() -> list[DynamicRange]:
    """The dynamic range of FP32, FP16 and INT8, from NumPy's ``finfo`` and ``iinfo``."""
    rows = []
    for name, dtype in (("FP32", np.float32), ("FP16", np.float16)):
        info = np.finfo(dtype)
        rows.append(DynamicRange(name, float(info.min), float(info.max), float(info.smallest_subnormal)))
    integers = np.iinfo(np.int8)
    return [*rows, DynamicRange("INT8", integers.min, integers.max, 1)]
