"""Convolutions that clamp their output in place, or while they copy it into a common output."""

from __future__ import annotations

import copy
import math
from typing import Any, TypeVar

import numpy as np

from minidl.engine import conv
from minidl.engine.checks import require
from minidl.engine.elementwise import backprop_rule, rule_in_force, where_kept
from minidl.engine.tensor import Tensor, apply
from minidl.nn.functional import floating, relu, relu6, without_none
from minidl.nn.layers import Conv2d
from minidl.nn.module import Module

_Conv = TypeVar("_Conv", bound=Conv2d)


class ConvReLU(conv.Conv2d):
    """y = clip(conv(x), 0, most).  y > 0 exactly where conv(x) > 0, and y < most where conv(x) < most.

    So backward needs only y, and the output of the convolution itself takes no memory."""

    def __init__(self, *geometry: Any, most: float) -> None:
        super().__init__(*geometry)
        self.most = most

    def forward(self, x, weight, bias=None):
        y = super().forward(x, weight, bias)
        self.y = np.clip(y, 0, self.most, out=y)
        return self.y

    def backward(self, grad):
        return super().backward(where_kept((self.y > 0) & (self.y < self.most), grad))


class ConvReLU2d(Conv2d):
    """relu(conv(x)) as one module. If a ``relu_rule`` needs the ReLU's input, it runs in two steps."""

    relu, most = staticmethod(relu), math.inf

    def forward(self, x: Any) -> Tensor:
        if rule_in_force() is not backprop_rule:
            return self.relu(super().forward(x))
        op = ConvReLU(self.stride, self.padding, self.dilation, self.groups, most=self.most)
        return apply(op, *without_none(x, self.weight, self.bias))


class ConvReLU6(ConvReLU2d):
    """relu6(conv(x)) as one module, like ConvReLU2d."""

    relu, most = staticmethod(relu6), 6.0


def limits(layer: Module) -> tuple[float, float]:
    """The lowest and the highest output of the layer."""
    if isinstance(layer, ConvInto):
        return layer.limits
    return (0.0, layer.most) if isinstance(layer, ConvReLU2d) else (-math.inf, math.inf)


def recast(layer: Module, kind: type[_Conv], **settings: Any) -> _Conv:
    """A copy of ``layer``, a Conv2d, as another kind of Conv2d, past __init__, which would draw weights."""
    new = kind.__new__(kind)
    vars(new).update(vars(copy.deepcopy(layer)), **settings)
    return new


class CommonOutput:
    """The output (N, channels, H, W) that several convolutions write.

    The first one makes it and sets H and W.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.array: np.ndarray | None = None

    def like(self, y: np.ndarray) -> np.ndarray:
        shape = len(y), self.channels, *y.shape[2:]
        if self.array is None:
            self.array = np.empty(shape, y.dtype)
        have = self.array.shape
        require(have == shape, f"the branches differ in height or width: {have} and {shape}")
        return self.array


class ConvInto(Conv2d):
    """A convolution that clamps its output to ``limits`` and writes it into the common output.

    It reads in_channels channels from ``source`` on; with None, the input has only these channels. ``ends``:
    pairs of slices (channels of its output, channels of the common output), from the first channel on. It
    returns the remaining channels. ``order``, if not None, sorts its channels first. It is only for
    inference.
    """

    source: int | None = None
    order: np.ndarray | None = None
    ends: tuple[tuple[slice, slice], ...] = ()
    limits: tuple[float, float]  # 0 and inf with a ReLU, 0 and 6 with a ReLU6, else -inf and inf

    def forward(  # type: ignore[override]  # only an InPlaceConcat calls it, and gives it the common output
        self, x: Any, common: CommonOutput
    ) -> Tensor:
        x = floating(x).data
        x = x if self.source is None else x[:, self.source : self.source + self.in_channels]
        arrays = (None if p is None else p.data.astype(x.dtype, copy=False) for p in (self.weight, self.bias))
        y = conv.Conv2d(self.stride, self.padding, self.dilation, self.groups).forward(x, *arrays)
        y, done = y if self.order is None else y[:, self.order], 0
        for own, place in self.ends:
            np.clip(y[:, own], *self.limits, out=common.like(y)[:, place])
            done = own.stop
        left = y[:, done:]
        return Tensor(np.clip(left, *self.limits) if left.size else common.array)
