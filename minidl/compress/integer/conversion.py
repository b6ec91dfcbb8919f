"""Convert networks with rounded weights and activations to networks of integers, trained or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.flow import observe
from minidl.compress.integer import layers as twins
from minidl.compress.integer.layers import IntegerLayer
from minidl.compress.integer.model import (
    IntegerModel,
    IntegerStep,
    integer_layers_of,
    layer_reports,
    nested,
    reals_of,
)
from minidl.compress.layer_kinds import children_in_order, in_order, kind_of, runs_as, unusual
from minidl.compress.precision import noise_ratio
from minidl.compress.qat import FLOAT, Rounded, RoundedWeights, Rounding, keeps_grid, prepare_qat
from minidl.compress.quantize import QuantParams, dequantize, quantize
from minidl.engine.checks import check_instance, check_int, require
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn import layers as nn
from minidl.nn import pooling
from minidl.nn.activations import ELU, Hardsigmoid, Hardswish, SiLU, Softplus
from minidl.nn.containers import Concat, Residual, Skip
from minidl.nn.efficientnet import Preprocess
from minidl.nn.module import Module, dotted

# The integer layer for a float module m. It reads integers of params x and returns integers of params y.
TWINS: dict[type[Module], Callable[[Any, Any, Any], IntegerLayer]] = {
    nn.Flatten: lambda m, x, y: twins.IntegerFlatten(x),
    pooling.MaxPool2d: lambda m, x, y: twins.IntegerMaxPool2d(x, m.kernel_size, m.stride, m.padding),
    nn.ReLU: lambda m, x, y: twins.QuantizedReLU(x),
    nn.ReLU6: lambda m, x, y: twins.QuantizedRescale(x, y),  # y lies in [0, 6]; rescaling clips to this range
    pooling.ZeroPad2d: lambda m, x, y: twins.IntegerZeroPad2d.from_float(m, x),
    pooling.AdaptiveAvgPool2d: lambda m, x, y: twins.QuantizedAvgPool2d(x, y),
    pooling.AvgPool2d: lambda m, x, y: twins.QuantizedAvgPool2d(x, y, m.kernel_size, m.stride, m.padding),
    Preprocess: lambda m, x, y: twins.QuantizedPreprocess(x, y, m.mean, m.std),
}
# Parameters of what a layer gives: QuantParams, or None of sums. A last layer alone gives sums, so what reads
# a layer's output finds QuantParams. Types cannot say that.
Params = Any
# Each output element of these depends only on one input element; in BatchNorm also on the channel.
LOOKED_UP = (
    *(nn.BatchNorm, nn.GELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh),
    *(ELU, Hardsigmoid, Hardswish, SiLU, Softplus),
)
TWINS |= dict.fromkeys(LOOKED_UP, twins.QuantizedLookup.from_float)


def quantize_model(
    model: Module,
    calibration_images: Any,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    calibration: str = "mse",
) -> IntegerModel:
    """The network with integer weights and activations: ``convert(prepare_qat(...))``, without any training.

    See ``prepare_qat`` for the arguments and for the ranges of the activations. The report holds the SQNR of
    each layer's output against the float network, on the calibration images.

    model: in evaluation mode, of Conv2d, Linear, BatchNorm, ReLU, ReLU6, ``LOOKED_UP``,
    ZeroPad2d, max and average pooling, Flatten, Identity, Dropout, Dropout2d and Preprocess in Sequential,
    Residual, Skip and Concat. ValueError for others. The modules of a Skip move to its ``body``.
    bits: 2 … 8.

    >>> from minidl import nn
    >>> from minidl.compress import integer
    >>> model, images = nn.Sequential(nn.Linear(4, 2)).eval(), np.eye(4, dtype=np.float32)
    >>> print(abs(integer.quantize_model(model, images)(images).data - model(images).data).max() < 0.02)
    True
    """
    check_int("weight_bits", weight_bits, 2, 8)
    check_int("activation_bits", activation_bits, 2, 8)
    rounded = prepare_qat(
        model,
        calibration_images,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        per_channel=per_channel,
        calibration=calibration,
    )
    integer, steps = converted(rounded)
    floats = prepare_qat(model, calibration_images, weight_bits=FLOAT, activation_bits=FLOAT)
    images = np.asarray(calibration_images, np.float32)
    integer.rows = layer_reports(steps, noise_of(integer, steps, floats, images))
    return integer


def noise_of(
    integer: IntegerModel, steps: list[IntegerStep], floats: Module, images: np.ndarray
) -> dict[str, float]:
    """The SQNR of each step's output against the float network. It includes the errors of earlier steps."""
    q = quantize(images, integer.x_params)
    layers = {step.path: step.layer for step in steps[1:]}
    integers = {"input": q, **observe(integer.body, q, layers, lambda path, q: q)}
    by_path = {step.path: step.layer for step in steps}

    def ratio(path: str, reals: Tensor) -> float:
        return noise_ratio(reals.data, reals_of(integers[path], by_path[path]))

    sources = {step.path: floats.layer(step.float_path) for step in steps}
    return observe(floats, F.floating(images), sources, ratio)


def convert(model: Module) -> IntegerModel:
    """Convert a model of ``prepare_qat`` to an integer model with the same weights, now stored as integers.

    For equal input integers, each layer gives the same outputs as the rounded float layer. They can differ by
    one step where float32 rounds a sum differently.

    ValueError for weights or activations that are floats or have more than 8 bits, and for modules without an
    integer counterpart. ``report`` has no SQNR, because there is no float network to compare with.

    >>> from minidl import nn
    >>> from minidl.compress import integer, qat
    >>> images = np.eye(4, dtype=np.float32)
    >>> rounded = qat.prepare_qat(nn.Sequential(nn.Linear(4, 2)).eval(), images)
    >>> integer.convert(rounded)(images).shape
    (4, 2)
    """
    return converted(model)[0]


def converted(model: Module) -> tuple[IntegerModel, list[IntegerStep]]:
    params = check_rounded(model)
    steps = [IntegerStep("input", twins.KeepsGrid(params), "input")]
    layers, _ = integer_layers("network", in_order(model.layer("network"), "network"), params, steps)
    return IntegerModel(params, layers, layer_reports(steps, {})), steps


def check_rounded(model: Module) -> QuantParams:
    """The parameters of the input of a ``prepare_qat`` model. Its activations must have at most 8 bits."""
    inputs: Any = getattr(model, "input", None)
    fits = isinstance(inputs, Rounding) and inputs.params.bits <= 8
    require(fits, "convert takes what prepare_qat made, with activation_bits of at most 8")
    return inputs.params


def integer_layers(
    around: str, modules: list[tuple[str, Module]], params: Params, steps: list[IntegerStep]
) -> tuple[dict[str, IntegerLayer], Params]:
    """The integer layers of the modules, by paths inside ``around``, and the parameters of the last output.

    It also appends to ``steps``."""
    layers: dict[str, IntegerLayer] = {}
    for group in with_relu_behind(modules):
        (path, first), (last_path, last) = group[0], group[-1]
        module = first.module if isinstance(first, Rounded) else first
        y_params = last.output.params if isinstance(last, Rounded) else None
        layer = layers[name_of(path, around)] = integer_layer(path, module, params, y_params, steps)
        params = layer.y_params
        steps.append(IntegerStep(name_of(path, "network"), layer, last_path))
    return layers, params


def name_of(path: str, around: str) -> str:
    """The path inside the module at ``around``.

    That module itself, if it is no Sequential, is named "model".
    """
    return path[len(around) + 1 :] or "model"


def with_relu_behind(modules: list[tuple[str, Module]]) -> list[list[tuple[str, Module]]]:
    """The modules; a module without rounding is paired with the rounded ReLU behind it.

    Such a ReLU costs nothing: it is the clamp at qmin, which means 0."""
    groups: list[list[tuple[str, Module]]] = []
    for path, module in modules:
        before = groups[-1][-1][1] if groups else None
        if before is not None and not isinstance(before, Rounded) and not keeps_grid(before):
            groups[-1].append((path, module))
        else:
            groups.append([(path, module)])
    return groups


def integer_layer(
    path: str, module: Module, params: Params, y_params: Params, steps: list[IntegerStep]
) -> IntegerLayer:
    """The integer layer for ``module``. It reads integers of params and returns integers of y_params."""
    name = name_of(path, "network")
    if isinstance(module, RoundedWeights):
        has_integers = module.bits != FLOAT
        require(has_integers, f"{name} has float weights: call prepare_qat with weight_bits of at most 8")
        twin = twins.QuantizedLinear if isinstance(module.module, nn.Linear) else twins.QuantizedConv2d
        return twin.from_float(
            module.module, params, y_params, bits=module.bits, per_channel=module.per_channel
        )
    if kind := kind_of(module, *TWINS):
        setting = unusual(module)
        require(not setting, f"{name}: {kind.__name__} with {setting} has no integer counterpart")
        return TWINS[kind](module, params, y_params)
    what = f"{type(module).__name__} has no counterpart that computes with integers"
    require(runs_as(module, Residual, Skip, Concat), f"{name}: {what}")
    if isinstance(module, Skip):
        parts = {"body": (path, children_in_order(module, path)), "shortcut": (path, [])}
    else:
        inner = {name: (dotted(path, name), branch) for name, branch in module.named_children()}
        parts = {name: (around, in_order(branch, around)) for name, (around, branch) in inner.items()}
    branches = {name: integer_layers(*part, params, steps) for name, part in parts.items()}
    chains = {name: nested(layers) for name, (layers, _) in branches.items()}
    if not isinstance(module, Concat):
        ends = branches["body"][1], branches["shortcut"][1]
        return twins.QuantizedResidual(chains["body"], chains["shortcut"], *ends, y_params)
    for name, layers in chains.items():
        is_free = "rescale" not in vars(layers)
        require(is_free, f"no module of a Concat's branch can be named 'rescale', as in branch {name!r}")
        layers.add_module("rescale", twins.QuantizedRescale(branches[name][1], y_params))
    return twins.IntegerConcat(chains)


# ---- rounded floats against integers


class LayerDifference(NamedTuple):
    """One layer: the number of outputs, the number of different integers, and the largest difference."""

    path: str
    outputs: int
    differ: int
    largest: int


def compare_layers(rounded: Module, integer: IntegerModel, images: Any) -> list[LayerDifference]:
    """Compare each rounded layer of a ``prepare_qat`` model with the layer of its integer model, on equal
    inputs.

    The integers of both outputs are compared. For the logits, the float layer's output is first divided by
    S_x S_w. Joined branches count as one layer.

    >>> from minidl import nn
    >>> from minidl.compress import integer, qat
    >>> images = np.eye(4, dtype=np.float32)
    >>> rounded = qat.prepare_qat(nn.Sequential(nn.Linear(4, 2)).eval(), images)
    >>> integer.compare_layers(rounded, integer.convert(rounded), images)[0].path
    '0'
    """
    check_rounded(rounded)
    check_instance("integer", integer, IntegerModel)
    params: Params = integer.x_params
    rows = []
    q = quantize(images, params)
    layers = integer_layers_of(integer.body)
    groups = with_relu_behind(in_order(rounded.layer("network"), "network"))
    paths = [name_of(group[0][0], "network") for group in groups]
    require(paths == list(layers), "the two are not the same network: their layers have other paths")
    for path, group in zip(paths, groups, strict=True):
        with no_grad():
            reals = F.floating(dequantize(q, params))
            for _, part in group:
                reals = part(reals)
        layer = layers[path]
        q, params = layer(q), layer.y_params
        if params is None:
            expected = np.rint(reals.data / layer.scale_of_sums(q.ndim))
        else:
            expected = quantize(reals.data, params)
        steps = np.abs(expected.astype(np.int64) - q)
        rows.append(LayerDifference(path, q.size, int(np.sum(steps > 0)), int(steps.max())))
    return rows
