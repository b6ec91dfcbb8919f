"""Scores for the filters of a layer: by norm, by the effect of masking, by a gradient, or random."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minidl.compress.channels import Channels
from minidl.compress.masks import Masks, filter_mask, parameter_masks
from minidl.engine.backward import grad
from minidl.engine.checks import array_pair, check_array, check_choice, check_instance, require
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, eval_mode
from minidl.train.evaluation import evaluate, float_pair


def filter_norms(conv: Conv2d | Linear | np.ndarray, order: int = 1) -> np.ndarray:
    """The norm of each filter.

        order 1:  ||w_o||_1 = sum |w|        order 2:  ||w_o||_2 = sqrt(sum w²)

    conv: a layer, or its weight as an array (O, ...). Returns float64 (O,), computed in float64.
    ValueError for another order.  Li et al. 2017, arXiv:1608.08710.

    >>> from minidl import compress
    >>> weight = np.array([[3, -4], [0, 1]])  # two filters
    >>> print(compress.filter_norms(weight), compress.filter_norms(weight, order=2))
    [7. 1.] [5. 1.]
    """
    if isinstance(conv, Module):
        conv = check_instance("conv", conv, (Conv2d, Linear)).weight.data
    weight = check_array("conv", conv, finite=False)
    is_weight = weight.ndim >= 2
    require(is_weight, f"conv must be a Conv2d, a Linear or a weight (O, ...), got shape {weight.shape}")
    check_choice("order", order, (1, 2))
    rows = np.abs(weight.reshape(len(weight), -1).astype(np.float64))  # (O, weights of a filter)
    return rows.sum(axis=1) if order == 1 else np.sqrt((rows**2).sum(axis=1))


def filter_masks(model: Module, amount: float | int, order: int = 1, x: Any = None) -> Masks:
    """{layer: bools (out,)} that prune ``amount`` of the filters of each of ``filter_layers``, by norm.

    If several filters make a channel together, in a residual sum or in groups, their norms are added.
    An int counts channels that can be removed independently.  order: 1 or 2.
    x: see ``remove_filters``.  ValueError with the reason if no filter of the model can be pruned.

    >>> from minidl import compress, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    >>> masks = compress.filter_masks(model, amount=0.25)
    >>> {layer: int(mask.sum()) for layer, mask in masks.items()}  # 3 of the 4 filters stay
    {'0': 3}
    """
    channels = Channels(model, x)
    partners = channels.partners()
    reasons = (f"not those of {path}: {channels.reason(made)}" for path, made in channels.makes.items())
    why = "; ".join(reasons) or "it has none"
    require(len(partners) > 0, f"no filters of the model can be pruned: {why}")
    return {paths[0]: mask_by_norm(channels, paths, amount, order) for paths in partners}


def mask_by_norm(channels: Channels, paths: list[str], amount: float | int, order: int = 1) -> np.ndarray:
    """The mask of the filters of paths[0], by the summed norms of the filters for each channel."""
    made = channels.makes[paths[0]].tolist()
    place = {channel: i for i, channel in enumerate(dict.fromkeys(made))}
    norms = np.zeros(len(place))
    for path in paths:
        each = [place[channel] for channel in channels.makes[path].tolist()]
        np.add.at(norms, each, filter_norms(channels.layers[path], order))
    return filter_mask(norms, amount=amount)[[place[channel] for channel in made]]


def filter_layers(model: Module, x: Any = None) -> list[str]:
    """The Conv2d and Linear whose filters can be masked and removed. Of residual partners, only the first.

    x: see ``remove_filters``.
    """
    return [paths[0] for paths in Channels(model, x).partners()]


def random_scores(conv: Conv2d | Linear | np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """A random order of the filters, (O,) numbers 0 ... O-1. Every useful score must beat this baseline.

    >>> from minidl import compress, nn
    >>> sorted(compress.random_scores(nn.Conv2d(1, 4, 3)).tolist())
    [0.0, 1.0, 2.0, 3.0]
    """
    return default_rng_or(rng).permutation(len(filter_norms(conv))).astype(np.float64)


def ablation_scores(model: Module, layer: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The increase of the mean loss on held-out images when a filter is masked: (O,), in units of the loss.

        score_o = L(filter o masked) - L

    To mask a filter means to set to 0 everything that makes its channel, as ``apply_masks`` does: its
    weights, its bias, and the weight and bias of a BatchNorm that follows. Only one filter is masked at a
    time. A score is negative if the loss is lower without the filter. O + 1 evaluations are enough. They are
    made in evaluation mode. The model, its mode, its masks and its ``.grad`` do not change. The model may
    accept images of one size only. Returns float64 (O,). Raises ValueError for a layer whose filters
    cannot be masked, such as the last layer.

    >>> from minidl import compress, nn
    >>> model, images, labels = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8)), np.array([3, 7])
    >>> compress.ablation_scores(model, "block1.conv", images, labels).shape
    (16,)
    """
    images, labels = array_pair("images and labels", (images, labels))
    count = len(makers(model, layer, images).makes[layer])
    before, scores = evaluate(model, images, labels).loss, np.zeros(count)
    for o in range(count):
        masked = copy.deepcopy(model)
        parameters = dict(masked.named_parameters())
        for path, mask in parameter_masks(model, {layer: np.arange(count) != o}, images[:1]).items():
            parameters[path].data = np.where(mask, parameters[path].data, 0)
        scores[o] = evaluate(masked, images, labels).loss - before
    return scores


def taylor_scores(model: Module, layer: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A first-order estimate of ``ablation_scores`` for all filters, from one gradient with respect to the
    masks.

        score_o = |dL/dm_o| at m = 1, where m_o multiplies the channel that filter o makes
                = |sum gradient × weight|  over the filter's weight and bias; if a BatchNorm follows,
                  over the weight and bias of the BatchNorm instead

    It runs in evaluation mode: in training, BatchNorm removes the scale of a filter, so its gradient × weight
    is 0. Returns (O,), in units of the loss.  FloatingPointError if the loss or its gradient is not finite.
    Molchanov et al. 2017, arXiv:1611.06440; 2019, arXiv:1906.10771.

    >>> from minidl import compress, nn
    >>> model, images, labels = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8)), np.array([3, 7])
    >>> compress.taylor_scores(model, "block1.conv", images, labels).shape
    (16,)
    """
    images, labels = float_pair("images and labels", (images, labels))
    channels = makers(model, layer, images)
    made = channels.makes[layer]
    scores = np.zeros(len(made))
    summands = [path for path in channels.makes if np.isin(channels.makes[path], made).any()]
    summands = [
        path for path in summands if path not in channels.passed
    ]  # here the depthwise convolution comes last
    gates, hooks = [], []
    for path in summands:
        gate = Tensor(np.ones(len(channels.makes[path]), np.float32), requires_grad=True)  # m, all ones
        end = model.layer(channels.norm_after.get(path, path))
        hooks.append(end.register_forward_hook(gated_by(gate)))
        gates.append(gate)
    try:
        with eval_mode(model):
            for i in range(0, len(images), 256):
                batch = images[i : i + 256], labels[i : i + 256]
                loss = F.cross_entropy(model(batch[0]), batch[1])
                for path, slope in zip(summands, grad(loss, gates), strict=True):
                    same = channels.makes[path][:, np.newaxis] == made  # (its filters, the layer's)
                    scores += slope @ same * (len(batch[0]) / len(images))
                is_finite = np.isfinite(loss.data) and np.isfinite(scores).all()
                these = f"the loss on images {i} ... {i + len(batch[0]) - 1} or its gradient"
                hint = "is not finite: minidl.detect_anomaly() finds the cause"
                require(is_finite, f"{these} {hint}", FloatingPointError)
    finally:
        for hook in hooks:
            hook.remove()
    return np.abs(scores)


def gated_by(gate: Tensor) -> Any:
    """A forward hook that multiplies each channel by its element of ``gate`` (C,)."""

    def hook(module: Module, inputs: tuple, output: Tensor) -> Tensor:
        return output * gate.reshape(1, -1, *[1] * (output.ndim - 2))

    return hook


def makers(model: Module, layer: str, images: np.ndarray) -> Channels:
    """The channels of a model. ValueError if not all channels of ``layer`` can be masked."""
    channels = Channels(model, images[:1])
    channels.made_by(layer, slice(None))
    return channels
