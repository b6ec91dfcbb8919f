"""What a network with rounded weights and activations is made of: see ``qat``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compress.fused import ConvReLU2d
from minidl.compress.integer.arithmetic import LARGEST_BIAS, quantize_layer
from minidl.compress.quantize import (
    FakeQuantize,
    QuantParams,
    channel_absmax,
    fake_quantize,
    symmetric_params,
)
from minidl.engine.tensor import Tensor, apply
from minidl.nn import functional as F
from minidl.nn import layers as nn
from minidl.nn.module import Module

FLOAT = 32  # so many bits are float32: nothing is rounded


class Rounding(Module):
    """x on the grid of ``params``, with a straight-through gradient. S and Z are buffers."""

    def __init__(self, params: QuantParams) -> None:
        self.qmin, self.qmax = params.qmin, params.qmax
        self.register_buffer("scale", np.array(params.scale))
        self.register_buffer("zero_point", np.array(params.zero_point))

    @property
    def params(self) -> QuantParams:
        return QuantParams(self.scale, self.zero_point, self.qmin, self.qmax)

    def forward(self, x: Any) -> Tensor:
        return fake_quantize(x if isinstance(x, Tensor) else Tensor(x), self.params)

    def extra_repr(self) -> str:
        return f"{self.params.bits} bits, S={self.scale:.3g}, Z={self.zero_point}"


class Rounded(Module):
    """output(module(x)), ``output`` being a Rounding."""

    def __init__(self, module: Module, output: Rounding) -> None:
        self.module, self.output = module, output

    def forward(self, x: Any) -> Tensor:
        return self.output(self.module(x))


class RoundedWeights(Module):
    """``module``, a Conv2d, ConvReLU2d or Linear, computed with its weight rounded.

    Where ``x_grid`` says which integers of at most 8 bits its input stands for, it is rounded by
    ``quantize_layer``, and the bias too, to multiples of S_x S_w.
    """

    def __init__(
        self, module: nn.Conv2d | nn.Linear, bits: int, per_channel: bool, x_grid: Rounding | None = None
    ) -> None:
        self.module, self.bits, self.per_channel = module, bits, per_channel
        fits = x_grid is not None and max(bits, x_grid.params.bits) <= 8
        self.x_grid = x_grid if fits else None

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias."""
        weight, bias = self.module.weight, self.module.bias
        if self.bits == FLOAT:
            return weight, bias
        if self.x_grid is None:
            axis = 0 if self.per_channel else None
            params = symmetric_params(channel_absmax(weight.data, axis), self.bits, axis)
            return fake_quantize(weight, params), bias
        arrays, x_params = (weight.data, None if bias is None else bias.data), self.x_grid.params
        _, params, _ = quantize_layer(*arrays, x_params, self.bits, self.per_channel)
        if bias is not None:
            step = x_params.scale * params.scale
            bias = apply(FakeQuantize(step, 0, -LARGEST_BIAS, LARGEST_BIAS), bias)
        return fake_quantize(weight, params), bias

    def forward(self, x: Any) -> Tensor:
        layer, (weight, bias) = self.module, self.rounded()
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, bias)
        y = F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return F.relu(y) if isinstance(layer, ConvReLU2d) else y

    def extra_repr(self) -> str:
        return f"{self.bits} bits, per {'channel' if self.per_channel else 'tensor'}"
