"""Structured pruning: make a smaller model without the filters and without the weights that read them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.compress.channels import Channels, loses_groups
from minidl.engine.checks import check_array, require
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, Parameter


def remove_filters(model: Module, layer: str, indices: Sequence[int], x: Any = None) -> Module:
    """A smaller copy of the model, without the filters ``indices`` of the Conv2d or Linear ``layer``.

    A filter is removed together with its bias, its feature in the next BatchNorm, and the slice of each
    weight that reads its channel. In a residual sum, the filters of the other summand are removed, too. A
    filter of a depthwise convolution and the filter that makes its input channel are removed together. Other
    grouped convolutions lose the same filters of each group, so that all groups keep one size.
    The copy computes what the model computes with those filters masked (``apply_masks``).

    indices: numbers of filters, not of all filters.  x: an input batch for one run, which shows how the
    modules are connected; None is for models of images of any size.
    ValueError if no smaller model is defined: for filters that make the output, or channels that a module of
    the user reads.  Li et al. 2017, arXiv:1608.08710.

    >>> from minidl import compress, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    >>> compress.remove_filters(model, "0", [1])
    Sequential(
      (0): Conv2d(1, 3, kernel_size=3)
      (1): ReLU()
      (2): Conv2d(3, 2, kernel_size=3)
    )
    """
    channels = Channels(model, x)
    last = len(channels.made(layer)) - 1
    none = isinstance(indices, list | tuple) and not indices
    chosen = np.zeros(0, np.int64) if none else indices  # for NumPy, an empty list would be floats
    chosen = check_array("indices", chosen, "N", kind="integer", low=0, high=last, empty=True)
    return without_channels(channels, channels.made_by(layer, chosen))


def remove_masked_filters(model: Module, x: Any = None) -> Module:
    """A smaller copy without the filters that are zero. It computes the same as the model.

    A filter is zero if its weight and bias, and weight and bias of the next BatchNorm, are zero; in a
    residual sum also those of its partners.  x: see ``remove_filters``.
    ValueError for a model without filters, such as a rounded one: prune before you round.

    >>> from minidl import compress, nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> masked = compress.apply_masks(model, {"0": [True, False, True]})
    >>> compress.remove_masked_filters(masked)
    Sequential(
      (0): Linear(4, 2)
      (1): ReLU()
      (2): Linear(2, 2)
    )
    """
    channels = Channels(model, x)
    none = "the model runs no Conv2d, and no Linear on rows, so it has no filters to remove"
    mend = "prune first, then call prepare_qat, quantize_model or pack_weights"
    require(len(channels.makes) > 0, f"{none}: {mend}")
    alive = set(channels.fixed)
    for path, numbers in [*channels.makes.items(), *channels.norms.items()]:
        module = channels.layers[path] if path in channels.layers else channels.batch_norms[path]
        for parameter in (module.weight, module.bias):
            if parameter is not None:
                rows = parameter.data.reshape(len(numbers), -1).any(axis=1)
                alive |= set(numbers[rows].tolist())
    made = np.concatenate([*channels.makes.values(), np.zeros(0, np.int64)])
    return without_channels(channels, np.setdiff1d(made, np.array(sorted(alive), np.int64)))


def without_channels(channels: Channels, doomed: np.ndarray) -> Module:
    """A copy of the model, whose channels these are, without the channels ``doomed``."""
    slim = copy.deepcopy(channels)  # with its model, whose layers are those of ``slim.layers``
    for path, layer in slim.layers.items():
        keep = ~np.isin(slim.makes[path], doomed)
        require(keep.any(), f"{path} would have no filter left")
        if loses_groups(layer):
            layer.groups = layer.groups * int(keep.sum()) // len(keep)
        layer.weight = taken(layer.weight, keep)  # (out, in/groups, ...)
        layer.bias = None if layer.bias is None else taken(layer.bias, keep)
        if path in slim.reads:
            layer.weight = taken(layer.weight, ~np.isin(slim.reads[path], doomed), axis=1)
        say_sizes(layer)
    for path, norm in slim.batch_norms.items():
        keep = ~np.isin(slim.norms[path], doomed)
        norm.num_features = int(keep.sum())
        norm.running_mean, norm.running_var = norm.running_mean[keep], norm.running_var[keep]
        norm.weight = None if norm.weight is None else taken(norm.weight, keep)
        norm.bias = None if norm.bias is None else taken(norm.bias, keep)
    return slim.model


def say_sizes(layer: Conv2d | Linear) -> None:
    """Set the layer's sizes to those of its weight."""
    out, share = layer.weight.shape[:2]
    if isinstance(layer, Conv2d):
        layer.out_channels, layer.in_channels = out, layer.groups * share
    else:
        layer.out_features, layer.in_features = out, share


def taken(parameter: Parameter, keep: np.ndarray, axis: int = 0) -> Parameter:
    """The slices of a parameter and of its mask where ``keep`` is True."""
    new = Parameter(np.compress(keep, parameter.data, axis), parameter.requires_grad)
    if parameter.mask is not None:
        new.mask = np.compress(keep, parameter.mask, axis)
    return new
