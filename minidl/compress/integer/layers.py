"""The layers of an ``IntegerModel``. They take and return arrays of integers.

An integer q means the real number S (q - Z), with the parameters of the layer that made q. So each layer
needs ``x_params``, the parameters of its input. Forward takes and returns NumPy arrays; there are no
gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.compress.integer import arithmetic
from minidl.compress.quantize import QuantParams, dequantize, quantize, quantize_layer
from minidl.engine.recording import no_grad
from minidl.nn.containers import Container
from minidl.nn.efficientnet import SamePad2d
from minidl.nn.layers import BatchNorm, Conv2d, Linear
from minidl.nn.module import Module
from minidl.nn.pooling import ZeroPad2d


class IntegerLayer(Module):
    """A layer whose ``y_params`` are of the integers that it gives; None for sums."""

    if TYPE_CHECKING:  # some have an attribute, others find it out

        @property
        def y_params(self) -> QuantParams | None: ...

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Module, str]]:
        mend = "save it with pickle, or save the state of the prepare_qat model and convert that again"
        raise ValueError(f"a network of integers has no state dict: {mend}")

    def scale_of_sums(self, axes: int) -> np.ndarray:
        """S_x S_w of each output channel, so shaped that it broadcasts against sums (N, O, ...)."""
        raise NotImplementedError(f"{type(self).__name__}.scale_of_sums")


@dataclass(eq=False, repr=False)
class Weighted(IntegerLayer):
    """The base of the two layers with weights: weight int8 (out, ...), bias int32 (out,).

    A ReLU behind the layer needs no work. If the reals of y_params start at 0, Z_y is qmin, and the clamp to
    qmin is the ReLU. Without y_params the layer returns its int32 sums, with the scale S_x S_w: a network's
    logits.
    """

    weight: np.ndarray
    bias: np.ndarray
    x_params: QuantParams
    w_params: QuantParams
    y_params: QuantParams | None = None

    @classmethod
    def from_float(
        cls,
        layer: Linear | Conv2d,
        x_params: QuantParams,
        y_params: QuantParams | None = None,
        *,
        bits: int = 8,
        per_channel: bool = True,
    ) -> Any:
        """Make the layer from a Linear, Conv2d or ConvReLU2d with a folded BatchNorm; see ``quantize_layer``.

        x_params and y_params are the parameters of its input and of its output (after a ReLU if one follows).
        After quantization-aware training its fake-quantizers hold them. ValueError if sums can exceed 32
        bits.
        """
        arithmetic.check_params("x_params", x_params)
        if y_params is not None:
            arithmetic.check_params("y_params", y_params)
        bias = None if layer.bias is None else layer.bias.data
        weight, w_params, bias = quantize_layer(layer.weight.data, bias, x_params, bits, per_channel)
        arithmetic.check_sums(x_params, w_params, weight[0].size, bias)
        geometry: tuple[Any, ...] = ()
        if isinstance(layer, Conv2d):
            geometry = layer.stride, layer.padding, layer.dilation, layer.groups
        return cls(weight, bias, x_params, w_params, y_params, *geometry)

    def scale_of_sums(self, axes: int) -> np.ndarray:
        return (self.x_params.scale * self.w_params.scale).reshape(-1, *[1] * (axes - 2))

    def extra_repr(self) -> str:
        scales = "per tensor" if self.w_params.axis is None else "per channel"
        return f"weight {self.weight.shape}, {self.w_params.bits} bits {scales}"


class QuantizedLinear(Weighted):
    """``quantized_linear`` with weight int8 (out, in) and bias int32 (out,)."""

    def forward(self, qx: np.ndarray) -> np.ndarray:
        return arithmetic.quantized_linear(
            qx, self.x_params, self.weight, self.w_params, self.bias, self.y_params
        )


@dataclass(eq=False, repr=False)
class QuantizedConv2d(Weighted):
    """``quantized_conv2d`` with weight int8 (O, C/groups, kh, kw) and bias int32 (O,)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def forward(self, qx: np.ndarray) -> np.ndarray:
        geometry = self.stride, self.padding, self.dilation, self.groups
        return arithmetic.quantized_conv2d(
            qx, self.x_params, self.weight, self.w_params, self.bias, self.y_params, *geometry
        )

    def extra_repr(self) -> str:
        geometry = f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
        return f"{super().extra_repr()}, {geometry}, groups={self.groups}"


@dataclass(eq=False, repr=False)
class KeepsGrid(IntegerLayer):
    """A layer whose output has the same parameters as its input."""

    x_params: QuantParams

    @property
    def y_params(self) -> QuantParams:
        return self.x_params


class QuantizedReLU(KeepsGrid):
    """max(q, Z); Z means 0. It is used only if no earlier layer can do it in its clamp."""

    def forward(self, qx: np.ndarray) -> np.ndarray:
        return np.maximum(qx, qx.dtype.type(self.x_params.zero_point))


class IntegerFlatten(KeepsGrid):
    """(N, C, H, W) gives (N, C H W)."""

    def forward(self, qx: np.ndarray) -> np.ndarray:
        return qx.reshape(len(qx), -1)


@dataclass(eq=False, repr=False)
class IntegerMaxPool2d(KeepsGrid):
    """``integer_max_pool2d``"""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def forward(self, qx: np.ndarray) -> np.ndarray:
        return arithmetic.integer_max_pool2d(qx, self.kernel_size, self.stride, self.padding)


@dataclass(eq=False, repr=False)
class QuantizedAvgPool2d(IntegerLayer):
    """``integer_avg_pool2d``; without a kernel size the mean of the whole image, (N, C, 1, 1)."""

    x_params: QuantParams
    y_params: QuantParams
    kernel_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    padding: tuple[int, int] = (0, 0)

    def forward(self, qx: np.ndarray) -> np.ndarray:
        window = (self.kernel_size or qx.shape[2:], self.stride, self.padding)
        return arithmetic.integer_avg_pool2d(qx, self.x_params, self.y_params, *window)


@dataclass(eq=False, repr=False)
class IntegerZeroPad2d(KeepsGrid):
    """Images with Z around them, which means 0. The padding is that of the float layer."""

    padding: tuple[int, ...] = ()  # left, right, top, bottom; empty if it depends on the image's size
    kernel_size: int = 1
    stride: int = 1

    @classmethod
    def from_float(cls, layer: ZeroPad2d, x_params: QuantParams) -> IntegerZeroPad2d:
        if isinstance(layer, SamePad2d):
            return cls(x_params, (), layer.kernel_size, layer.stride)
        return cls(x_params, layer.padding)

    def sides(self, height: int, width: int) -> tuple[int, ...]:
        """(left, right, top, bottom) for an image of that size."""
        pad = ZeroPad2d(self.padding) if self.padding else SamePad2d(self.kernel_size, self.stride)
        return pad.sides(height, width)

    def forward(self, qx: np.ndarray) -> np.ndarray:
        left, right, top, bottom = self.sides(*qx.shape[2:])
        sides = (0, 0), (0, 0), (top, bottom), (left, right)
        return np.pad(qx, sides, constant_values=self.x_params.zero_point)


@dataclass(eq=False, repr=False)
class QuantizedPreprocess(IntegerLayer):
    """(x - mean) / std, as other parameters for the integers; with 8 bits the integers stay unchanged."""

    x_params: QuantParams
    y_params: QuantParams
    mean: float
    std: float

    def forward(self, qx: np.ndarray) -> np.ndarray:
        x = dequantize(qx, self.x_params)
        return quantize((x - np.float32(self.mean)) / np.float32(self.std), self.y_params)


@dataclass(eq=False, repr=False)
class QuantizedLookup(IntegerLayer):
    """A table for a function of one element: the result for each of the 2^b possible integers.

    table: integers of y_params, one row for all channels or one for each (1 or C, 2^b); column 0 is for qmin.
    """

    x_params: QuantParams
    y_params: QuantParams
    table: np.ndarray

    @classmethod
    def from_float(cls, module: Module, x_params: QuantParams, y_params: QuantParams) -> QuantizedLookup:
        """Make the table of an activation, or of a BatchNorm in evaluation mode (a row per channel)."""
        codes = np.arange(x_params.qmin, x_params.qmax + 1)
        axes, channels = 2, 1
        if isinstance(module, BatchNorm):
            axes, channels = module.dims[0], module.num_features
        x = dequantize(codes, x_params).reshape(-1, *[1] * (axes - 1))
        with no_grad():
            y = module(np.repeat(x, channels, axis=1)).data
        return cls(x_params, y_params, quantize(y.reshape(len(codes), -1).T, y_params))

    def forward(self, qx: np.ndarray) -> np.ndarray:
        rows = np.arange(len(self.table)).reshape(-1, *[1] * (qx.ndim - 2))
        return self.table[rows, qx.astype(np.intp) - self.x_params.qmin]


@dataclass(eq=False, repr=False)
class QuantizedRescale(IntegerLayer):
    """The same reals with other parameters: requantize(q - Z_x, S_x / S_y)."""

    x_params: QuantParams
    y_params: QuantParams

    def forward(self, qx: np.ndarray) -> np.ndarray:
        steps = qx.astype(np.int32) - self.x_params.zero_point
        return arithmetic.to_integers(steps, self.x_params.scale / self.y_params.scale, self.y_params)


@dataclass(eq=False, repr=False)
class QuantizedResidual(IntegerLayer):
    """``quantized_add`` of body(q) and shortcut(q); an empty Sequential is the identity."""

    body: Module
    shortcut: Module
    body_params: QuantParams
    shortcut_params: QuantParams
    y_params: QuantParams

    def forward(self, qx: np.ndarray) -> np.ndarray:
        branches = self.body(qx), self.body_params, self.shortcut(qx), self.shortcut_params
        return arithmetic.quantized_add(*branches, self.y_params)


class IntegerConcat(Container, IntegerLayer):
    """Branches on one input, joined along the channels. Each ends with ``rescale``, a QuantizedRescale, so
    that all branches have the same parameters."""

    @property
    def y_params(self) -> QuantParams:
        rescale: QuantizedRescale = vars(self.children()[0])["rescale"]
        return rescale.y_params

    def forward(self, qx: np.ndarray) -> np.ndarray:
        return np.concatenate([branch(qx) for branch in self.children()], axis=1)
