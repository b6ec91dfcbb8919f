"""Training a network for the integers that it will be made of (quantization-aware training, QAT).

In the forward pass weights and activations are rounded as integers of few bits would be; the gradient passes
through the rounding as if it were not there (``FakeQuantize``), so that the float weights behind it learn to
be right after rounding (Jacob et al. 2018, section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compress.calibrate import (
    Histogram,
    entropy_threshold,
    max_threshold,
    mse_threshold,
    percentile_threshold,
)
from minidl.compress.flow import Step, flow
from minidl.compress.fuse import ConvReLU2d, fuse, replace
from minidl.compress.quantize import (
    QuantParams,
    affine_params,
    channel_absmax,
    fake_quantize,
    integer_range,
    symmetric_params,
)
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn import functional as F
from minidl.nn.containers import Sequential
from minidl.nn.layers import BatchNorm, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU
from minidl.nn.module import Module

FLOAT = 32  # so many bits are float32: nothing is rounded
CALIBRATIONS = ("max", "percentile", "mse", "entropy")
SELECTS = Flatten, MaxPool2d  # their outputs are among their inputs


def prepare_qat(
    model: Module,
    images: Any,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    calibration: str = "mse",
) -> Sequential:
    """A copy of ``model`` that computes with rounded weights and activations, to be trained by ``fit``.

    BatchNorm is folded into the layer before it with its statistics as they are, and ReLU is done by that
    layer (``fuse``). Weights are symmetric, with S = max |w| / qmax of the moment, for each output channel or
    for all. Activations are affine, in ranges that ``images``, a batch that the model takes, fix: "max"
    spans them all, "percentile", "mse" and "entropy" clip (see ``calibrate``). Rounded are the input, what
    a Conv2d or Linear gives (after the ReLU, if one follows), and all else that computes: means, sums.

    weight_bits, activation_bits: 2 … 16, or 32 to leave them floats.  Returned in evaluation mode: untrained
    it shows what rounding alone costs. ``convert`` makes integers of it.
    """
    for bits in (weight_bits, activation_bits):
        if bits != FLOAT:
            integer_range(bits)
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}, got {calibration!r}")
    images = np.asarray(images)
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"images must be a batch to calibrate on, got shape {images.shape}")
    network = Sequential({"input": Identity(), "network": fuse(model, images[:1])}).eval()
    steps = {step.path: step for step in flow(network, images[:1])}
    ranges = {}
    if activation_bits != FLOAT:
        ranges = activation_ranges(network, images, rounded_paths(steps), activation_bits, calibration)
    for path, step in steps.items():
        new = step.module
        if isinstance(new, Conv2d | Linear):
            new = RoundedWeights(new, weight_bits, per_channel)
        if path in ranges:
            new = Sequential({"module": new, "output": Rounding(*ranges[path], activation_bits)})
        if new is not step.module:
            replace(network, path, new)
    if ranges:
        network.input = Rounding(*ranges["input"], activation_bits)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.frozen = True  # one that could not be folded
    return network.eval()


class Rounding(Module):
    """x on the grid of ``params``: affine, of so many bits, for reals in [low, high]."""

    def __init__(self, low: float, high: float, bits: int) -> None:
        self.bits = bits
        self.register_buffer("range", np.array([low, high], np.float32))

    @property
    def params(self) -> QuantParams:
        return affine_params(*self.range, self.bits)

    def forward(self, x: Any) -> Tensor:
        return fake_quantize(x if isinstance(x, Tensor) else Tensor(x), self.params)

    def extra_repr(self) -> str:
        return f"{self.bits} bits, [{self.range[0]:.4g}, {self.range[1]:.4g}]"


class RoundedWeights(Module):
    """``module``, a Conv2d, ConvReLU2d or Linear, computed with its weight rounded."""

    def __init__(self, module: Conv2d | Linear, bits: int, per_channel: bool) -> None:
        self.module, self.bits, self.axis = module, bits, 0 if per_channel else None

    @property
    def params(self) -> QuantParams:
        return symmetric_params(channel_absmax(self.module.weight.data, self.axis), self.bits, self.axis)

    def forward(self, x: Any) -> Tensor:
        layer = self.module
        weight = layer.weight if self.bits == FLOAT else fake_quantize(layer.weight, self.params)
        if isinstance(layer, Linear):
            return F.linear(x, weight, layer.bias)
        y = F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return F.relu(y) if isinstance(layer, ConvReLU2d) else y

    def extra_repr(self) -> str:
        return f"{self.bits} bits, {'per tensor' if self.axis is None else 'per channel'}"


def rounded_paths(steps: dict[str, Step]) -> list[str]:
    """Of the steps whose outputs are rounded: not of those that select among numbers rounded before, nor of
    those that only a ReLU reads, since what it cuts off needs no levels."""
    readers: dict[int, list[Module]] = {}
    for step in steps.values():
        for source in step.sources:
            readers.setdefault(source, []).append(step.module)
    return [
        path
        for i, (path, step) in enumerate(steps.items())
        if not isinstance(step.module, SELECTS)
        and not (i in readers and all(isinstance(reader, ReLU) for reader in readers[i]))
    ]


def activation_ranges(
    network: Sequential, images: np.ndarray, paths: list[str], bits: int, calibration: str
) -> dict[str, tuple[float, float]]:
    """(low, high) of what the modules at ``paths``, and "input", give for the images."""
    seen = {path: Observer() for path in ["input", *paths]}
    hooks = [network.layer(path).register_forward_hook(observer.look) for path, observer in seen.items()]
    try:
        with no_grad():
            for start in range(0, len(images), 256):
                network(images[start : start + 256])
    finally:
        for hook in hooks:
            hook.remove()
    return {path: observer.range(bits, calibration) for path, observer in seen.items()}


class Observer:
    """The histogram and the ends of all that a module gave."""

    def __init__(self) -> None:
        self.histogram, self.low, self.high = Histogram(), 0.0, 0.0

    def look(self, module: Module, inputs: tuple, output: Tensor) -> None:
        self.histogram.add(output.data)
        self.low = min(self.low, float(output.data.min()))
        self.high = max(self.high, float(output.data.max()))

    def range(self, bits: int, calibration: str) -> tuple[float, float]:
        """The ends, clipped at a threshold on both sides; numbers of one sign have twice the levels."""
        bits += self.low == 0 or self.high == 0
        T = {
            "max": max_threshold,
            "percentile": percentile_threshold,
            "mse": lambda histogram: mse_threshold(histogram, bits),
            "entropy": lambda histogram: entropy_threshold(histogram, bits),
        }[calibration](self.histogram)
        return max(self.low, -T), min(self.high, T)
