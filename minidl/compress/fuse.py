"""Fusion: fewer kernels and less memory traffic for the same function, as in TensorRT.

Vertical fusion (here) makes one module of convolution, BatchNorm and ReLU. Horizontal fusion (branches.py)
merges convolutions on one input, and a Concat is written in place. ``cost`` (flow.py) counts the savings.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from typing import Any

import numpy as np

from minidl.compress.branches import check_in_evaluation, kept
from minidl.compress.channels import example, known_kind
from minidl.compress.flow import INPUT, Step, flow, is_transparent
from minidl.compress.fused import ConvReLU2d, ConvReLU6, recast
from minidl.compress.layer_kinds import runs_as
from minidl.engine.checks import check_array, check_instance, check_number, require
from minidl.nn.containers import Sequential, Skip
from minidl.nn.layers import BatchNorm, Conv2d, Identity, Linear, ReLU, ReLU6
from minidl.nn.module import Module, Parameter

# ---- the arithmetic


def folded(
    weight: np.ndarray,
    bias: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias of one layer that replaces a layer and the BatchNorm after it.

        gamma (W x + b - mean) / sqrt(var + eps) + beta = (f W) x + f (b - mean) + beta,
        f = gamma / sqrt(var + eps)

    weight: floats (O, ...).  bias, mean, var, gamma, beta: (O,). A bias of None counts as 0, a gamma of None
    as 1, a beta of None as 0. Everything is computed in float64. The results have weight's dtype (Jacob et
    al. 2018, section 3.2). Raises ValueError if var + eps is not above 0, also for NaN, and if mean or var
    does not have one number for each output.

    >>> W, b = np.array([[2.0]]), np.array([1.0])  # 2 x + 1
    >>> mean, var, gamma, beta = np.array([[3.0], [4.0], [6.0], [5.0]])
    >>> folded(W, b, mean, var, gamma, beta, eps=0.0)  # 6 x - 1
    (array([[6.]]), array([-1.]))
    """
    check_foldable(weight, bias, mean, var, gamma, beta, eps)
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    new_bias = factor * shift + (0.0 if beta is None else beta)
    return new_weight.astype(weight.dtype), new_bias.astype(weight.dtype)


def check_foldable(weight: Any, bias: Any, mean: Any, var: Any, gamma: Any, beta: Any, eps: float) -> None:
    check_array("weight", check_instance("weight", weight, np.ndarray), kind="float", finite=False)
    require(weight.ndim > 0, "weight must have an axis of channels, got a single number")
    for name, row in {"mean": mean, "var": var, "bias": bias, "gamma": gamma, "beta": beta}.items():
        if row is not None or name in ("mean", "var"):
            check_array(name, row, len(weight), finite=False)
    lowest = float(np.min(var)) + check_number("eps", eps, 0)
    require(lowest > 0, f"var + eps must be above 0, got {lowest}")


def fold_batchnorm(layer: Conv2d | Linear, bn: BatchNorm) -> Conv2d | Linear:
    """A new layer that replaces ``layer`` and then ``bn`` in evaluation mode; see ``folded``.

    It is a copy of ``layer`` in the same mode, with a new weight and a new bias. Both are Parameters of the
    layer's dtype, without a gradient. Both require grad if the layer's weight does; bn's parameters do not
    matter here. The layer may have no bias, and bn may have no weight and no bias.
    ``keep_masks(new, layer, bn)`` copies the masks of pruned weights to the new layer. ``layer`` and ``bn``
    do not change. Raises ValueError if bn uses the statistics of the batch (in training mode and not
    frozen), or if bn has another number of channels.
    """
    fits = runs_as(check_instance("layer", layer, Module), Conv2d, Linear)
    require(fits, f"layer must be a Conv2d or Linear, got {type(layer).__name__}", TypeError)
    is_fixed = check_instance("bn", bn, BatchNorm).frozen or not bn.training
    require(is_fixed, "in training BatchNorm uses the batch's statistics, which no weight holds: call eval()")
    width = len(layer.weight.data)
    fits = bn.num_features == width
    require(fits, f"the BatchNorm is for {bn.num_features} channels, but the layer before it gives {width}")
    bias, gamma, beta = (None if p is None else p.data for p in (layer.bias, bn.weight, bn.bias))
    weight, bias = folded(layer.weight.data, bias, bn.running_mean, bn.running_var, gamma, beta, bn.eps)
    new, trains = copy.deepcopy(layer), layer.weight.requires_grad
    new.weight, new.bias = Parameter(weight, trains), Parameter(bias, trains)
    keep_masks(new, layer, bn)
    return new


def keep_masks(new: Conv2d | Linear, layer: Conv2d | Linear, bn: BatchNorm) -> None:
    """Copy the pruning masks of the layer and of the BatchNorm to the new layer."""
    rows = kept(bn.weight, len(layer.weight.data))
    by_weight = kept(layer.weight, layer.weight.shape)
    masks = {
        "weight": by_weight & rows.reshape(-1, *[1] * (by_weight.ndim - 1)),
        "bias": rows | kept(bn.bias, len(rows)),
    }
    for name, mask in masks.items():
        vars(new)[name].mask = None if mask.all() else mask


# ---- a whole model


def fuse(model: Module, x: Any = None) -> Module:
    """A copy where convolutions (or Linear) include their BatchNorm and their ReLU.

    A BatchNorm is folded into the layer before it. A ReLU or ReLU6 after a convolution becomes part of it:
    ConvReLU2d, ConvReLU6. The fused modules leave their Sequential. A pair is not fused in three cases:
    another module reads the value between them, one of the two runs twice, or a forward hook or a module with
    its own forward lies around them. Such a forward may read that value, too, and a warning names it.
    x: a batch for one run of the model, with hooks off; by default zeros (1, C, 16, 16). Raises ValueError in
    training mode.
    """
    check_in_evaluation(model)
    x = example(model) if x is None else check_array("x", x)
    model = copy.deepcopy(model)
    while pairs := adjacent(flow(model, x)):
        open_pairs = [pair for pair in pairs if not hiding(model, *pair)]
        if not open_pairs:
            warn_of(model, pairs)
            break
        layer, after = open_pairs[0]
        one, other = layer.module, after.module
        if isinstance(one, Conv2d | Linear) and isinstance(other, BatchNorm):
            new = fold_batchnorm(one, other)
        else:
            new = recast(one, ConvReLU6 if isinstance(other, ReLU6) else ConvReLU2d)
        model.set_submodule(layer.path, new.eval())
        remove(model, after.path)
    return model


def adjacent(steps: list[Step]) -> list[tuple[Step, Step]]:
    """The pairs of steps that one module could replace, if no forward around them reads the value between."""
    reads = Counter(source for step in steps for source in step.sources)
    runs = Counter(step.path for step in steps)
    pairs = []
    for after in steps:
        if not after.sources or after.sources[0] == INPUT:
            continue
        layer = steps[after.sources[0]]
        hooked = layer.module._hooks or after.module._hooks
        if hooked or reads[after.sources[0]] > 1 or runs[layer.path] > 1 or runs[after.path] > 1:
            continue
        kind, kind_after = known_kind(layer.module), known_kind(after.module)
        fits = kind is Conv2d and kind_after in (BatchNorm, ReLU, ReLU6)
        fits = fits or (kind is Linear and kind_after is BatchNorm and len(layer.shape) == 2)
        if fits:
            pairs.append((layer, after))
    return pairs


def hiding(model: Module, layer: Step, after: Step) -> list[str]:
    """The paths of the modules around the two that may read the value between them, innermost holder first.

    The modules are those up to the innermost that holds both. One with its own forward or a hook may read it.
    """
    first, second = layer.path.split("."), after.path.split(".")
    common = 0
    while first[common] == second[common]:
        common += 1
    around = sorted({".".join(path[:i]) for path in (first, second) for i in range(common, len(path))})
    return [path for path in around if not is_transparent(model.layer(path)) or model.layer(path)._hooks]


def warn_of(model: Module, pairs: list[tuple[Step, Step]]) -> None:
    """Name the first pair that is not fused, and why."""
    layer, after = pairs[0]
    path = hiding(model, layer, after)[0]
    module, name = model.layer(path), f"layer {path!r}" if path else "the model"
    reader = (
        f"{name}, a {type(module).__name__}, has {'a forward hook' if module._hooks else 'its own forward'}"
    )
    message = f"not fused: {layer.path!r} and {after.path!r}, because {reader} that may read between them"
    others = f" (and {len(pairs) - 1} more pairs)" if len(pairs) > 1 else ""
    warnings.warn(message + others, stacklevel=3)  # show the line that called fuse


def remove(model: Module, path: str) -> None:
    """Remove the module from its Sequential.

    In other parents an Identity replaces it, because they call it by name.
    """
    parent, _, name = path.rpartition(".")
    if runs_as(model.layer(parent), Sequential, Skip):
        delattr(model.layer(parent), name)
    else:
        model.set_submodule(path, Identity().eval())
