"""Convolutions that clamp their output, and lay it where it is wanted, before it leaves the cache."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from minidl.compress import kernels
from minidl.engine import conv, jit
from minidl.engine.checks import require
from minidl.engine.elementwise import backprop_rule, rule_in_force, where_kept
from minidl.engine.tensor import Tensor, apply
from minidl.nn.functional import floating, relu, relu6, without_none
from minidl.nn.layers import Conv2d


class ConvReLU(conv.Conv2d):
    """y = clip(conv(x), 0, most).  y > 0 exactly where conv(x) > 0, and y < most where conv(x) < most, so
    that backward needs nothing but y."""

    def __init__(self, *geometry: Any, most: float) -> None:
        super().__init__(*geometry)
        self.most = most

    def forward(self, x, weight, bias=None):
        out_h, out_w = self.output_size(x, weight, bias)
        self.x, self.weight, self.has_bias = np.ascontiguousarray(x), weight, bias is not None
        self.geometry = weight.shape[2:], self.stride, self.padding, self.dilation
        self.nanoseconds = work(len(x), weight, self.groups, out_h * out_w)
        self.y = np.empty((len(x), len(weight), out_h, out_w), x.dtype)
        everywhere = np.arange(len(weight))
        convolve(self, self.x, 0, weight, bias, (0.0, self.most), everywhere, self.y, self.y[:, :0])
        return self.y

    def backward(self, grad):
        return super().backward(where_kept((self.y > 0) & (self.y < self.most), grad))


def convolve(op, x, source, weight, bias, limits, rows, y, rest):
    """clip(conv(x) + bias, *limits), channel by channel into y or rest: see ``conv2d_clamped``."""
    bias = np.zeros(len(weight), x.dtype) if bias is None else np.ascontiguousarray(bias)
    geometry = weight.shape[2:], op.stride, op.padding, op.dilation
    flat = [np.ascontiguousarray(a).reshape(*a.shape[:2], a.shape[2] * a.shape[3]) for a in (y, rest)]
    nanoseconds = work(len(x), weight, op.groups, flat[0].shape[2])
    arrays = x, source, op.by_group(weight), bias, tuple(map(x.dtype.type, limits)), rows, *flat
    jit.run(nanoseconds, (kernels.conv2d_clamped, len(x), *geometry, *arrays))


def work(samples: int, weight: np.ndarray, groups: int, places: int) -> float:
    """Nanoseconds that one thread needs, roughly, as conv.Conv2d counts them."""
    outputs = samples * len(weight) * places
    return outputs * weight[0].size * (1 / 60 + groups / (4 * len(weight))) + 500 * samples


class ConvReLU2d(Conv2d):
    """relu(conv(x)) in one pass over the output, or in two where ``relu_rule`` asks for the ReLU's input."""

    relu, most = staticmethod(relu), math.inf

    def forward(self, x: Any) -> Tensor:
        if rule_in_force() is not backprop_rule:
            return self.relu(super().forward(x))
        op = ConvReLU(self.stride, self.padding, self.dilation, self.groups, most=self.most)
        return apply(op, *without_none(x, self.weight, self.bias))


class ConvReLU6(ConvReLU2d):
    """relu6(conv(x)) in the same way."""

    relu, most = staticmethod(relu6), 6.0


def limits(layer: Conv2d) -> tuple[float, float]:
    """What the layer clamps its output to."""
    return (0.0, layer.most) if isinstance(layer, ConvReLU2d) else (-math.inf, math.inf)


def with_relu(layer: Conv2d, kind: type = ConvReLU2d) -> ConvReLU2d:
    """A new ConvReLU2d, or ConvReLU6, with copies of ``layer``'s parameters."""
    return recast(layer, kind)


def recast(layer: Conv2d, kind: type) -> Any:
    """A copy of ``layer`` as a subclass of Conv2d, past __init__, which would draw weights to throw away."""
    new = kind.__new__(kind)
    vars(new).update(vars(copy.deepcopy(layer)))
    return new


class CommonOutput:
    """The output (N, channels, H, W) that several convolutions write, made when the first knows H and W."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.array: np.ndarray | None = None

    def sized(self, samples: int, height: int, width: int, dtype: np.dtype) -> np.ndarray:
        shape = samples, self.channels, height, width
        if self.array is None:
            self.array = np.empty(shape, dtype)
        have = self.array.shape
        require(have == shape, f"the branches differ in height or width: {have} and {shape}")
        return self.array


class ConvInto(Conv2d):
    """A convolution that reads channels of a larger array and writes into the outputs' common one.

    It reads in_channels channels from ``source`` on; if that is None there must be no others. Output channel
    o becomes channel rows[o] of the common output, or, where rows[o] is negative, channel -1 - rows[o] of a
    result of its own. For inference alone.
    """

    source: int | None
    rows: np.ndarray
    limits: tuple[float, float]  # 0 and inf with a ReLU, 0 and 6 with a ReLU6, else -inf and inf

    def forward(self, x: Any, common: CommonOutput) -> Tensor:
        x = np.ascontiguousarray(floating(x).data)
        weight = self.weight.data.astype(x.dtype, copy=False)
        bias = None if self.bias is None else self.bias.data.astype(x.dtype, copy=False)
        op = conv.Conv2d(self.stride, self.padding, self.dilation, self.groups)
        first = self.source or 0
        own = x if self.source is None else x[:, first : first + self.in_channels]
        out_h, out_w = op.output_size(own, weight, bias)
        apart = int(np.sum(self.rows < 0))
        rest = np.empty((len(x), apart, out_h, out_w), x.dtype)
        y = rest[:, :0] if apart == len(self.rows) else common.sized(len(x), out_h, out_w, x.dtype)
        convolve(op, x, first, weight, bias, self.limits, self.rows, y, rest)
        return Tensor(rest if apart else y[:, self.rows.min() : self.rows.max() + 1])
