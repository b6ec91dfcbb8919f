"""Training a network for the integers that it will be made of (quantization-aware training, QAT).

In the forward pass weights and activations are rounded as integers of few bits would be; the gradient passes
through the rounding as if it were not there (``FakeQuantize``), so that the float weights behind it learn to
be right after rounding (Jacob et al. 2018, section 3).
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.flow import INPUT, Step, flow
from minidl.compress.fuse import fuse, replace
from minidl.compress.integer.layers import (
    IntegerFlatten,
    IntegerMaxPool2d,
    QuantizedAvgPool2d,
    QuantizedConv2d,
    QuantizedLinear,
    QuantizedReLU,
)
from minidl.compress.integer.model import (
    Flow,
    IntegerModel,
    Report,
    Settings,
    activation_params,
    checked_images,
    flat,
    joined,
    path_of,
    runs_as,
    scale_of_sums,
)
from minidl.compress.quantize import QuantParams, dequantize, integer_range, quantize
from minidl.compress.rounded import FLOAT, Rounded, RoundedWeights, Rounding
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn import functional as F
from minidl.nn import layers as nn
from minidl.nn.containers import Concat, Residual, Sequential
from minidl.nn.module import Module

__all__ = ["Rounding", "compare_layers", "convert", "prepare_qat"]


def prepare_qat(
    model: Module,
    calibration_images: Any,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    calibration: str = "mse",
) -> Sequential:
    """A copy of ``model`` that computes with rounded weights and activations, to be trained by ``fit``.

    BatchNorm is folded into the layer before it with its statistics as they are, and ReLU done by that layer
    (``fuse``). Weights are symmetric, with S = max |w| / qmax of the moment, for each output channel or for
    all. Activations are affine, with the parameters that ``quantize_model`` would choose for the calibration
    images (N, ...), and keep them, as a part of ``state_dict``. Rounded are the input and all that is
    computed, after the ReLU where one follows; but not what a last Conv2d or Linear gives, the logits.

    weight_bits, activation_bits: 2 … 16, or 32 to leave them floats.  Returned in evaluation mode: untrained
    it shows what rounding alone costs. ``convert`` makes integers of it.
    """
    for bits in (weight_bits, activation_bits):
        if bits != FLOAT:
            integer_range(bits)
    images = checked_images(model, calibration_images, calibration)
    network = Sequential({"input": nn.Identity(), "network": fuse(model, images[:1])}).eval()
    give_each_path_its_own(network)
    runs = flow(network, images[:1])
    steps = {step.path: step for step in runs}
    if len(steps) < len(runs):
        raise ValueError("a module that runs twice in one forward would need a grid for each run")
    roundings: dict[str, Rounding] = {}
    if activation_bits != FLOAT:
        settings = Settings(weight_bits, activation_bits, per_channel, calibration)
        params = params_of(network, images, ["input", *rounded_paths(steps)], settings)
        roundings = {path: Rounding(grid) for path, grid in params.items()}
        network.input = roundings["input"]
    grids = {INPUT: roundings.get("input")}  # number of a step -> the grid of what it gives
    for i, (path, step) in enumerate(steps.items()):
        new, x_grid = step.module, grids[step.sources[0]]
        grids[i] = roundings.get(path, x_grid if keeps_grid(new) else None)
        if isinstance(new, nn.Conv2d | nn.Linear):
            new = RoundedWeights(new, weight_bits, per_channel, x_grid)
        if path in roundings:
            new = Rounded(new, roundings[path])
        if new is not step.module:
            replace(network, path, new)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm):
            module.frozen = True  # one that could not be folded
    return network.eval()


def give_each_path_its_own(module: Module, seen: set[int] | None = None) -> None:
    """Where a module stands at several paths, put copies that share its parameters: each run then has a path
    of its own, and a grid."""
    seen = set() if seen is None else seen
    for name, child in module.named_children():
        if id(child) in seen:
            child = copy.copy(child)
            setattr(module, name, child)
        seen.add(id(child))
        give_each_path_its_own(child, seen)


def rounded_paths(steps: dict[str, Step]) -> list[str]:
    """Of the steps whose outputs are rounded: not of those that keep to the grid of what they read, nor of
    those that only a ReLU reads, since what it cuts off needs no levels, nor the logits."""
    readers: dict[int, list[Module]] = {}
    for step in steps.values():
        for source in step.sources:
            readers.setdefault(source, []).append(step.module)
    paths, on_grid = [], {INPUT}
    for i, (path, step) in enumerate(steps.items()):
        kept = keeps_grid(step.module) and step.sources[0] in on_grid
        only_relu = i in readers and all(runs_as(reader, nn.ReLU) for reader in readers[i])
        is_logits = i == len(steps) - 1 and runs_as(step.module, nn.Conv2d, nn.Linear)
        if not kept and not is_logits and not only_relu:
            paths.append(path)
        if kept or path in paths:
            on_grid.add(i)
    return paths


def keeps_grid(module: Module) -> bool:
    """Whether its outputs are among its inputs, or 0."""
    return runs_as(module, nn.Flatten, nn.MaxPool2d, nn.ReLU)


def params_of(
    network: Module, images: np.ndarray, paths: list[str], settings: Settings
) -> dict[str, QuantParams]:
    """For what the modules at ``paths`` give for the images."""
    params: dict[str, QuantParams] = {}

    def listen(path: str):
        def hook(module: Module, inputs: tuple, output: Tensor) -> None:
            params[path] = activation_params(output.data, settings)

        return hook

    hooks = [network.layer(path).register_forward_hook(listen(path)) for path in paths]
    try:
        with no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return params


# ---- to integers


def convert(model: Module) -> IntegerModel:
    """The integer model of one that ``prepare_qat`` made: the same weights, rounded for good.

    Given the integers of its input, each layer's outputs are those of the rounded float layer, up to one
    step where float32 rounds a sum to another side than integers do.

    ValueError for weights or activations that are floats or of more than 8 bits, and for modules that have no
    counterpart that computes with integers. ``report`` knows no SQNR: there is no float network to compare.
    """
    params, report = input_params(model), Report()
    layers, _ = integer_steps(flat(model.network), params, report)
    return IntegerModel(params, layers, [row._replace(sqnr=math.nan) for row in report.rows])


def input_params(model: Module) -> QuantParams:
    """Of the input of a model that ``prepare_qat`` made, if its activations can be integers of 8 bits."""
    inputs = getattr(model, "input", None)
    if not isinstance(inputs, Rounding) or inputs.params.bits > 8:
        raise ValueError("convert takes what prepare_qat made, with activation_bits of at most 8")
    return inputs.params


def integer_steps(
    steps: list[tuple[str, Module]], params: QuantParams, report: Report, inner: str = ""
) -> tuple[dict[str, Module], Flow]:
    """Each step made of integers, and what the last gives; ``inner``: the path of the module around them."""
    layers: dict[str, Module] = {}
    passed = Flow(np.zeros(0), np.zeros(0, np.int8), params)
    for path, parts in with_relu_behind(steps):
        y_params = parts[-1].output.params if isinstance(parts[-1], Rounded) else None
        module = parts[0].module if isinstance(parts[0], Rounded) else parts[0]
        full_path = path_of(path, inner)
        layer = integer_layer(full_path, module, params, y_params, report)
        params = params if keeps_grid(module) else y_params
        passed = nothing_passed(layer, params)
        report.add(full_path, layer, passed)
        layers[path_of(path)] = layer
    return layers, passed


def with_relu_behind(steps: list[tuple[str, Module]]) -> list[tuple[str, list[Module]]]:
    """The steps, those that are not rounded together with the ReLU behind them that is: it costs nothing,
    being the clamp at qmin, which stands for 0."""
    groups: list[tuple[str, list[Module]]] = []
    for path, module in steps:
        before = groups[-1][1][-1] if groups else None
        if before is not None and not isinstance(before, Rounded) and not keeps_grid(before):
            groups[-1][1].append(module)
        else:
            groups.append((path, [module]))
    return groups


def nothing_passed(layer: Module, params: QuantParams | None) -> Flow:
    """What a report is told of a layer that no image has passed."""
    shape = (0, len(layer.weight)) if params is None else (0,)
    return Flow(np.zeros(shape), np.zeros(shape, np.int8), params)


def integer_layer(
    path: str, module: Module, params: QuantParams, y_params: QuantParams | None, report: Report
) -> Module:
    if isinstance(module, RoundedWeights):
        if module.bits == FLOAT:
            raise ValueError(f"{path} has float weights: prepare_qat with weight_bits of at most 8")
        kind = QuantizedLinear if isinstance(module.module, nn.Linear) else QuantizedConv2d
        return kind.from_float(
            module.module, params, y_params, bits=module.bits, per_channel=module.per_channel
        )
    if runs_as(module, nn.Flatten):
        return IntegerFlatten()
    if runs_as(module, nn.MaxPool2d):
        return IntegerMaxPool2d(module.kernel_size, module.stride, module.padding)
    if runs_as(module, nn.ReLU):
        return QuantizedReLU(params)
    if runs_as(module, nn.AdaptiveAvgPool2d):
        return QuantizedAvgPool2d(params, y_params)
    if runs_as(module, nn.AvgPool2d):
        return QuantizedAvgPool2d(params, y_params, module.kernel_size, module.stride, module.padding)
    if runs_as(module, Residual, Concat):
        branches = {
            name: integer_steps(flat(branch), params, report, f"{path}.{name}")
            for name, branch in module.named_children()
        }
        return joined(module, branches, y_params)
    raise ValueError(f"{path}: a {type(module).__name__} has no counterpart that computes with integers")


class LayerDifference(NamedTuple):
    """Of one layer: how many outputs there were, how many integers differ, and by how much at most."""

    path: str
    outputs: int
    differ: int
    largest: int


def compare_layers(rounded: Module, integer: IntegerModel, images: Any) -> list[LayerDifference]:
    """Each rounded layer of a ``prepare_qat`` model against that of its integer model, on equal integers.

    What is compared are the integers that both give; of the logits, the integers themselves against the
    float layer's, divided by S_x S_w. Joined branches count as one layer.
    """
    input_params(rounded)
    if not isinstance(integer, IntegerModel):
        raise TypeError(f"integer must be an IntegerModel, got {type(integer).__name__}")
    params, rows = integer.x_params, []
    q = quantize(images, params)
    layers = dict(flat(integer.body))
    groups = [(path_of(path), parts) for path, parts in with_relu_behind(flat(rounded.network))]
    if [path for path, _ in groups] != list(layers):
        raise ValueError("the two are not the same network: their layers have other paths")
    for path, parts in groups:
        with no_grad():
            reals = F.floating(dequantize(q, params))
            for part in parts:
                reals = part(reals)
        layer = layers[path]
        q = layer(q)
        y_params = params if keeps_grid(parts[0]) else getattr(layer, "y_params", None)
        if y_params is None:
            expected = np.rint(reals.data / scale_of_sums(layer, q.ndim))
        else:
            expected = quantize(reals.data, y_params)
        steps = np.abs(expected.astype(np.int64) - q)
        rows.append(LayerDifference(path, q.size, int(np.sum(steps > 0)), int(steps.max())))
        params = y_params
    return rows
