"""Horizontal fusion: merge parallel convolutions, and write the output of a Concat in place."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import numpy as np

from minidl.compress.fused import CommonOutput, ConvInto, ConvReLU2d, limits, recast
from minidl.compress.layer_kinds import in_order, runs_as
from minidl.engine.checks import check_instance, require
from minidl.engine.tensor import Tensor
from minidl.nn.containers import Concat, Container
from minidl.nn.functional import floating
from minidl.nn.layers import Conv2d
from minidl.nn.module import Module, Parameter


def merge_parallel_convs(model: Module) -> Module:
    """A copy where the first convolutions of a Concat's branches are merged, if possible.

    These convolutions read the same input. If they have the same kernel size, stride, padding, dilation and
    groups, and all or none have a ReLU, then one convolution can hold all their filters, and its output is
    split. Each branch also writes directly into its channels of the Concat's output, so nothing is copied. A
    Concat does not change if a branch does not end in a convolution, so call ``fuse`` first. A Concat with
    forward hooks, on itself or inside, does not change either. The result is for inference. Raises ValueError
    in training mode.
    """
    model = copy.deepcopy(check_in_evaluation(model))
    for path, module in list(model.named_modules())[::-1]:  # what is within comes first
        new = in_place(module) if runs_as(module, Concat) else None
        if new is not None and path:
            model.set_submodule(path, new)
        elif new is not None:
            model = new
    return model.eval()


def check_in_evaluation(model: Module) -> Module:
    training = any(module.training for module in check_instance("model", model, Module).modules())
    require(not training, "only a model in evaluation mode can be fused: call model.eval()")
    return model


def in_place(concat: Concat) -> InPlaceConcat | None:
    chains = {name: [part for _, part in in_order(branch)] for name, branch in concat.named_children()}
    hooked = any(module._hooks for module in concat.modules())
    ends = {name: parts[-1] for name, parts in chains.items() if parts and is_conv(parts[-1])}
    if hooked or len(ends) < len(chains):
        return None
    return InPlaceConcat(chains, ends)


def is_conv(module: Module) -> TypeGuard[Conv2d]:
    return runs_as(module, Conv2d, ConvReLU2d)


def geometry(module: Conv2d) -> tuple:
    """The settings that two convolutions on one input must share to be merged."""
    settings = module.weight.shape[1:], module.stride, module.padding, module.dilation, module.groups
    return (*settings, limits(module))


def bias_of(layer: Conv2d) -> np.ndarray:
    weight = layer.weight.data
    return np.zeros(len(weight), weight.dtype) if layer.bias is None else layer.bias.data


class InPlaceConcat(Module):
    """Branches on one input. Each branch writes its channels of the common output.

    ``merged``: the merged convolutions. ``beginners``: for each, the names of the branches that begin with
    it. ``branches``: the other modules of each branch, by its name.
    """

    def __init__(self, chains: dict[str, list[Module]], lasts: dict[str, Conv2d]) -> None:
        widths = {name: last.out_channels for name, last in lasts.items()}
        ends = dict(zip(widths, np.cumsum(list(widths.values())).tolist(), strict=True))
        self.channels = sum(widths.values())
        self.merged, self.beginners, self.branches = Container(), [], Container()
        firsts: dict[str, Conv2d] = {}
        alike: dict[tuple, list[str]] = {}
        for name, chain in chains.items():
            if is_conv(chain[0]) and (len(chain) == 1 or is_conv(chain[1])):
                firsts[name] = chain[0]
                alike.setdefault(geometry(chain[0]), []).append(name)
        sources: dict[str, int] = {}  # the first channel of each branch in the merged output
        place = {name: slice(ends[name] - width, ends[name]) for name, width in widths.items()}
        for names in (names for names in alike.values() if len(names) > 1):
            names.sort(key=lambda name: len(chains[name]))  # branches that end here come first
            layers = [firsts[name] for name in names]
            at, stop = {}, 0
            for name, layer in zip(names, layers, strict=True):
                at[name] = slice(stop, stop + layer.out_channels)
                stop += layer.out_channels
            final = tuple((at[name], place[name]) for name in names if len(chains[name]) == 1)
            done = final[-1][0].stop if final else 0
            sources |= {name: at[name].start - done for name in names}
            self.merged.append(merged(layers, final))
            self.beginners.append(names)
        for name, chain in chains.items():
            modules = list(chain[name in sources :])
            if modules:
                width = widths[name]
                modules[0] = into(modules[0], source=sources[name]) if name in sources else modules[0]
                modules[-1] = into(modules[-1], ends=((slice(0, width), place[name]),))
            self.branches.add_module(name, Container(*modules))

    def forward(self, x: Any) -> Tensor:
        x = floating(x)
        has_no_graph = not x.requires_grad
        require(has_no_graph, "outputs written in place have no gradients: use the model before merging")
        common = CommonOutput(self.channels)
        begun: dict[str, Tensor] = {}
        for conv, names in zip(self.merged, self.beginners, strict=True):
            begun |= dict.fromkeys(names, conv(x, common))
        for name, chain in self.branches.named_children():
            y = begun.get(name, x)
            for module in chain.children():
                y = module(y, common) if isinstance(module, ConvInto) else module(y)
        return Tensor(common.array)


def into(layer: Module, **settings: Any) -> ConvInto:
    """A copy of ``layer``, a Conv2d, that clamps as the layer does and lays its outputs where they belong."""
    return recast(layer, ConvInto, limits=limits(layer), **settings)


def merged(layers: list[Conv2d], ends: tuple[tuple[slice, slice], ...]) -> ConvInto:
    """One convolution with the output channels of all layers, side by side.

    With groups, group g holds the filters of group g of all layers, and ``order`` sorts the channels.
    """
    groups, counts = layers[0].groups, [len(layer.weight.data) for layer in layers]
    numbers = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    rows = np.concatenate([own.reshape(groups, -1) for own in numbers], axis=1).ravel()
    order = None if groups == 1 else np.argsort(rows)
    new = into(layers[0], ends=ends, order=order, out_channels=len(rows))
    new.weight = Parameter(np.concatenate([layer.weight.data for layer in layers])[rows])
    new.bias = Parameter(np.concatenate([bias_of(layer) for layer in layers])[rows])
    masks = [kept(layer.weight, layer.weight.shape) for layer in layers]
    new.weight.mask = np.concatenate(masks)[rows]
    return new


def kept(parameter: Parameter | None, shape: int | tuple[int, ...]) -> np.ndarray:
    """The parameter's mask, or all True without a mask."""
    if parameter is None or parameter.mask is None:
        return np.ones(shape, bool)
    return parameter.mask
