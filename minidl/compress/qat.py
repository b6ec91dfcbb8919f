"""Quantization-aware training (QAT): train a network so that it works well after conversion to integers.

The forward pass rounds weights and activations like integers of few bits. The backward pass ignores the
rounding (``FakeQuantize``). So the float weights learn values that are good after rounding (Jacob et al.
2018, section 3). ``integer.convert`` makes the integers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.compress import calibrate
from minidl.compress.flow import INPUT, Step, flow, observe
from minidl.compress.fuse import fuse
from minidl.compress.fused import ConvReLU2d
from minidl.compress.layer_kinds import runs_as
from minidl.compress.quantize import (
    LARGEST_BIAS,
    FakeQuantize,
    QuantParams,
    affine_params,
    fake_quantize,
    weight_params,
)
from minidl.engine.checks import check_choice, check_flag, check_images, check_instance, check_int, require
from minidl.engine.tensor import Tensor, apply
from minidl.nn import functional as F
from minidl.nn import layers as nn
from minidl.nn import pooling
from minidl.nn.containers import Sequential
from minidl.nn.efficientnet import Preprocess
from minidl.nn.module import Module

FLOAT = 32  # 32 bits mean float32: nothing is rounded
CALIBRATIONS: dict[str, Callable[[calibrate.Histogram, int], float]] = {
    "max": lambda histogram, bits: calibrate.max_threshold(histogram),
    "percentile": lambda histogram, bits: calibrate.percentile_threshold(histogram),
    "mse": calibrate.mse_threshold,
    "entropy": calibrate.entropy_threshold,
}


class Rounding(Module):
    """x on the grid of ``params``, with a straight-through gradient. S and Z are buffers."""

    scale: np.ndarray
    zero_point: np.ndarray

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


class PhotographRounding(Rounding):
    """The Rounding before a Preprocess. It refuses what Preprocess refuses, which rounding would clip."""

    def forward(self, x: Any) -> Tensor:
        x = F.floating(x)
        Preprocess.check(x.data)
        return super().forward(x)


class Rounded(Module):
    """output(module(x)), where ``output`` is a Rounding."""

    def __init__(self, module: Module, output: Rounding) -> None:
        self.module, self.output = module, output

    def forward(self, x: Any) -> Tensor:
        return self.output(self.module(x))


class Reweighted(Module):
    """A Conv2d, ConvReLU2d or Linear that computes with the result of ``weights``."""

    module: nn.Conv2d | nn.Linear

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias."""
        raise NotImplementedError(f"{type(self).__name__}.weights")

    def before_relu(self, x: Any) -> Tensor:
        layer, (weight, bias) = self.module, self.weights()
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def forward(self, x: Any) -> Tensor:
        y = self.before_relu(x)
        return self.module.relu(y) if isinstance(self.module, ConvReLU2d) else y


class RoundedWeights(Reweighted):
    """``module`` with its weight rounded.

    If ``x_grid`` gives the grid of its input (at most 8 bits), the rounding is that of ``quantize_layer``,
    and the bias is rounded to multiples of S_x S_w, too.
    """

    def __init__(
        self, module: nn.Conv2d | nn.Linear, bits: int, per_channel: bool, x_grid: Rounding | None = None
    ) -> None:
        self.module, self.bits, self.per_channel = module, bits, per_channel
        fits = x_grid is not None and max(bits, x_grid.params.bits) <= 8
        self.x_grid = x_grid if fits else None

    def weights(self) -> tuple[Tensor, Tensor | None]:
        weight = self.module.weight
        bias: Tensor | None = self.module.bias
        if self.bits == FLOAT:
            return weight, bias
        x_params = None if self.x_grid is None else self.x_grid.params
        data = None if bias is None else bias.data
        params = weight_params(weight.data, data, x_params, self.bits, self.per_channel)
        if bias is not None and x_params is not None:
            step = x_params.scale * params.scale
            bias = apply(FakeQuantize(step, 0, -LARGEST_BIAS, LARGEST_BIAS), bias)
        return fake_quantize(weight, params), bias

    def extra_repr(self) -> str:
        return f"{self.bits} bits, per {'channel' if self.per_channel else 'tensor'}"


# ---- from floats


def prepare_qat(
    model: Module,
    calibration_images: Any,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    calibration: str = "mse",
) -> Sequential:
    """A copy of ``model`` that computes with rounded weights and activations. ``fit`` can train it.

    ``fuse`` first folds BatchNorm, with its present statistics, and ReLU into the layer before. Weights are
    symmetric with S = max |w| / qmax, for each output channel or for the whole layer; S follows the weights.
    Activations are affine. The calibration images (N, ...) fix their ranges: "max" covers all values,
    "percentile", "mse" and "entropy" clip (see ``calibrate``). Before and after a Preprocess the range is
    that of images in [0, 1]; values beyond are clipped. The ranges do not change later; they are a part of
    ``state_dict``. Masks of pruned weights are kept. The input and all outputs are rounded (after the ReLU if
    one follows), except the logits of a last Conv2d or Linear.

    weight_bits, activation_bits: 2 … 16, or 32 for floats.  The copy is in evaluation mode: without training
    it shows the cost of rounding alone. ``convert`` makes integers of it.
    """
    weight_bits = bits_or_float("weight_bits", weight_bits)
    activation_bits = bits_or_float("activation_bits", activation_bits)
    check_flag("per_channel", per_channel)
    check_choice("calibration", calibration, CALIBRATIONS)
    images = check_images("calibration_images", calibration_images)
    images = images.astype(np.float32, copy=False)
    fused = fuse(check_floats(model), images[:1])
    hooked = ", ".join(path or "the model" for path, module in fused.named_modules() if module._hooks)
    require(not hooked, f"a rounded network cannot have forward hooks: remove those of {hooked}")
    network = Sequential({"input": nn.Identity(), "network": fused}).eval()
    give_each_path_its_own(network)
    runs = flow(network, images[:1])
    steps = {step.path: step for step in runs}
    paths = [step.path.removeprefix("network.") for step in runs]
    twice = ", ".join(sorted({path for path in paths if paths.count(path) > 1}))
    require(not twice, f"a module that runs twice in one forward would need a grid for each run: {twice}")
    grids = {}
    if activation_bits != FLOAT:
        grids = roundings(network, steps, images, activation_bits, calibration)
    put_roundings(network, steps, grids, weight_bits, per_channel)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm):
            module.frozen = True  # one that could not be folded
    return network.eval()


def check_floats(model: Module) -> Module:
    """The model, if none of its parts is rounded, packed or made of integers."""
    parts = check_instance("model", model, Module).modules()
    is_rounded = any(isinstance(part, Rounding | Reweighted) or hasattr(part, "x_params") for part in parts)
    require(not is_rounded, "model is quantized already: give the original float network")
    return model


def give_each_path_its_own(module: Module, seen: set[int] | None = None) -> None:
    """If a module is at several paths, replace it by copies that share its parameters.

    Then each run has its own path and its own grid."""
    seen = set() if seen is None else seen
    for name, child in module.named_children():
        if id(child) in seen:
            child = copy.copy(child)
            setattr(module, name, child)
        seen.add(id(child))
        give_each_path_its_own(child, seen)


def rounded_paths(steps: dict[str, Step]) -> list[str]:
    """The paths of the steps whose outputs are rounded.

    Three kinds are not rounded: steps that keep their input's grid, steps whose only reader is a ReLU (the
    values that it cuts off need no levels) unless they end with a ReLU themselves, and the logits."""
    readers: dict[int, list[Module]] = {}
    for step in steps.values():
        for source in step.sources:
            readers.setdefault(source, []).append(step.module)
    paths, on_grid = [], {INPUT}
    for i, (path, step) in enumerate(steps.items()):
        kept = keeps_grid(step.module) and step.sources[0] in on_grid
        is_relu = runs_as(step.module, nn.ReLU, nn.ReLU6, ConvReLU2d)
        only_relu = i in readers and all(runs_as(reader, nn.ReLU, nn.ReLU6) for reader in readers[i])
        is_logits = i == len(steps) - 1 and runs_as(step.module, nn.Conv2d, nn.Linear)
        if not kept and not is_logits and (is_relu or not only_relu):
            paths.append(path)
        if kept or path in paths:
            on_grid.add(i)
    return paths


def known_ranges(steps: dict[str, Step]) -> dict[str, tuple[float, float]]:
    """The ranges of images in [0, 1] and of Preprocess's output: 8 bits hold all 256 levels of a pixel."""
    known: dict[str, tuple[float, float]] = {}
    for step in steps.values():
        if runs_as(step.module, Preprocess) and step.sources == (INPUT,):
            mean, std = step.module.mean, step.module.std
            known |= {"input": (0.0, 1.0), step.path: (-mean / std, (1 - mean) / std)}
    return known


def bits_or_float(name: str, bits: int) -> int:
    return FLOAT if check_int(name, bits) == FLOAT else check_int(name, bits, 2, 16)


def keeps_grid(module: Module) -> bool:
    """Whether each output of the module equals one of its inputs, or 0."""
    return runs_as(module, nn.Flatten, pooling.MaxPool2d, nn.ReLU, pooling.ZeroPad2d)


def roundings(
    network: Module, steps: dict[str, Step], images: np.ndarray, bits: int, calibration: str
) -> dict[str, Rounding]:
    """A Rounding for the input and for each rounded step, with known or measured ranges."""
    known = known_ranges(steps)

    def rounding(path: str, output: Tensor) -> Rounding:
        if path in known:
            kind = PhotographRounding if path == "input" else Rounding
            return kind(affine_params(*known[path], bits))
        return Rounding(activation_params(output.data, bits, calibration))

    paths = ["input", *rounded_paths(steps)]
    return observe(network, images, {path: network.layer(path) for path in paths}, rounding)


def activation_params(r: np.ndarray, bits: int, calibration: str) -> QuantParams:
    """The parameters for the range of r, clipped at a threshold on both sides.

    One sign has twice the levels.
    """
    low, high = min(float(r.min()), 0.0), max(float(r.max()), 0.0)
    T = CALIBRATIONS[calibration](calibrate.Histogram().add(r), bits + (low == 0 or high == 0))
    return affine_params(max(low, -T), min(high, T), bits)


def put_roundings(
    network: Sequential,
    steps: dict[str, Step],
    grids: dict[str, Rounding],
    weight_bits: int,
    per_channel: bool,
) -> None:
    """Replace each step by its rounded form."""
    if "input" in grids:
        network.set_submodule("input", grids["input"])
    given = {INPUT: grids.get("input")}  # number of a step -> the grid of its output
    for i, (path, step) in enumerate(steps.items()):
        new, x_grid = step.module, given[step.sources[0]]
        given[i] = grids.get(path, x_grid if keeps_grid(new) else None)
        if isinstance(new, nn.Conv2d | nn.Linear):
            new = RoundedWeights(new, weight_bits, per_channel, x_grid)
        if path in grids:
            new = Rounded(new, grids[path])
        if new is not step.module:
            network.set_submodule(path, new)
