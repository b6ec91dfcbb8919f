"""Bias correction: repair a rounded network without training, by the mean output of each layer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minidl.compress.branches import kept
from minidl.compress.flow import run_with
from minidl.compress.fused import ConvReLU2d
from minidl.compress.qat import FLOAT, Reweighted, RoundedWeights, prepare_qat
from minidl.engine.checks import check_images, check_instance, require
from minidl.engine.tensor import Tensor
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, Parameter

Layer = Conv2d | Linear | Reweighted  # what has weights, whatever their form


def correct_biases(model: Module, float_model: Module, images: Any) -> Module:
    """A copy of a rounded network where each layer has the same mean output as in the float network.

        b <- b + mean(y_float - y)      for each output channel, over all images and pixels

    Rounded weights shift the mean output of a channel, and all later layers read the shifted numbers.
    The means are taken before a ReLU. The layers are corrected in the order in which they run, so each mean
    is measured with the earlier layers corrected. A layer without a bias gets one. Pruned filters and masked
    biases stay 0. Nagel et al. 2019, arXiv:1906.04721, section 4.2.

    model: the result of ``prepare_qat`` or ``pack_weights``, or a copy of the float network with other
    weights.
    float_model: the network before rounding.  images (N, ...): 24 to 48 images of the usual kind, which run
    as one batch.  ValueError if the two models are not the same network.
    """
    check_instance("float_model", float_model, Module)
    floats = check_images("images", images)
    model = copy.deepcopy(check_instance("model", model, Module))
    if any(isinstance(module, RoundedWeights) for module in model.modules()):
        float_model = prepare_qat(float_model, floats[:1], weight_bits=FLOAT, activation_bits=FLOAT)
    layers, originals = layers_of(model), layers_of(float_model)
    same = len(layers) == len(originals) > 0
    counts = f"{len(layers)} and {len(originals)} layers, Conv2d or Linear, in floats"
    require(same, f"model and float_model must be the same network: they have {counts}")
    means: dict[int, np.ndarray] = {}

    def note(i: int, inputs: tuple, output: Any) -> None:
        if i in means:
            path = next(path for path, part in float_model.named_modules() if part is originals[i])
            raise ValueError(f"layer {path!r} runs twice: it has two means but one bias")
        means[i] = mean_output(originals[i], *inputs)

    def correct(i: int, inputs: tuple, output: Any) -> Tensor:
        expected, mean = means.pop(i, np.zeros(0)), mean_output(layers[i], *inputs)
        fits = len(expected) == len(mean)
        require(fits, "model and float_model must be the same network: they run other layers")
        add_to_bias(layers[i], expected - mean)
        return layers[i].forward(*inputs)

    run_with(note, float_model, floats, dict(enumerate(originals)))
    run_with(correct, model, floats, dict(enumerate(layers)))
    return model


def layers_of(model: Module) -> list[Layer]:
    """The layers with weights, in float, rounded or packed form."""
    inner = {module.module for module in model.modules() if isinstance(module, Reweighted)}
    return [module for module in model.modules() if isinstance(module, Layer) and module not in inner]


def mean_output(layer: Layer, x: Any) -> np.ndarray:
    """The mean of each output channel, over images and places, before a ReLU: float64 (channels,)."""
    if isinstance(layer, Reweighted):
        y = layer.before_relu(x).data
    else:
        y = (Conv2d.forward(layer, x) if isinstance(layer, ConvReLU2d) else layer.forward(x)).data
    axis = 1 if isinstance(owner(layer), Conv2d) else y.ndim - 1
    return y.mean(axis=tuple(i for i in range(y.ndim) if i != axis), dtype=np.float64)


def add_to_bias(layer: Layer, shift: np.ndarray) -> None:
    """Add ``shift``, except where the bias is masked. A new bias is masked for filters without weights."""
    plain = owner(layer)
    if plain.bias is None:
        plain.bias = Parameter(np.zeros(len(shift), np.float32))
        left = weights_left(layer).reshape(len(shift), -1).any(axis=1)
        plain.bias.mask = None if left.all() else np.array(left)
    stays = kept(plain.bias, plain.bias.shape)
    plain.bias.data = (plain.bias.data + stays * shift).astype(plain.bias.dtype)


def weights_left(layer: Layer) -> np.ndarray:
    """The weights that are not pruned. Packed weights have no mask, but the pruned ones are 0."""
    weight = owner(layer).weight
    return layer.weights()[0].data != 0 if weight is None else kept(weight, weight.shape)


def owner(layer: Layer) -> Conv2d | Linear:
    """The layer that holds the bias."""
    return layer.module if isinstance(layer, Reweighted) else layer
