"""Horizontal fusion: parallel convolutions as one, and a Concat that its branches write in place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minidl.compress.fused import CommonOutput, ConvInto, ConvReLU2d, limits, recast
from minidl.compress.kinds import in_order, runs_as
from minidl.engine.checks import check_instance, require
from minidl.engine.tensor import Tensor
from minidl.nn.containers import Concat, Container
from minidl.nn.functional import floating
from minidl.nn.layers import Conv2d
from minidl.nn.module import Module, Parameter


def merge_parallel_convs(model: Module) -> Module:
    """A copy in which the first convolutions of a Concat's branches are one where they can be.

    They read the same input: with the same kernel size, stride, padding, dilation and groups, both or none
    with a ReLU, the filters of all are those of one convolution, whose output is split. And each branch
    writes straight into its channels of the Concat's output, which is then not copied together. A Concat of
    which some branch does not end in a convolution stays as it is, so ``fuse`` comes first; so does one with
    forward hooks, on itself or within. The result is for inference. Raises ValueError in training mode.
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
    if hooked or not all(parts and is_conv(parts[-1]) for parts in chains.values()):
        return None
    return InPlaceConcat(chains)


def is_conv(module: Module) -> bool:
    return runs_as(module, Conv2d, ConvReLU2d) is not None


def geometry(module: Conv2d) -> tuple:
    """What two convolutions on one input must agree in to be one."""
    settings = module.weight.shape[1:], module.stride, module.padding, module.dilation, module.groups
    return (*settings, limits(module))


def merged_filters(layers: list[Conv2d]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """weight, bias and order of one convolution that computes what ``layers`` do.

    Its output channel i is channel order[i] of the layers' outputs side by side. Without groups that is i;
    with groups each group of the one has the filters of that group of all.
    """
    groups, counts = layers[0].groups, [len(layer.weight.data) for layer in layers]
    numbers = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    order = np.concatenate([own.reshape(groups, -1) for own in numbers], axis=1).ravel()
    weight = np.concatenate([layer.weight.data for layer in layers])
    bias = np.concatenate([bias_of(layer) for layer in layers])
    return weight[order], bias[order], order


def bias_of(layer: Conv2d) -> np.ndarray:
    weight = layer.weight.data
    return np.zeros(len(weight), weight.dtype) if layer.bias is None else layer.bias.data


class InPlaceConcat(Module):
    """Branches on one input, each of which writes its channels of the one output.

    ``merged``: convolutions with which several branches begin, and ``beginners`` the names of those branches.
    ``branches``: by their names, what is left of each.
    """

    def __init__(self, chains: dict[str, list[Module]]) -> None:
        widths = {name: chain[-1].out_channels for name, chain in chains.items()}
        ends = np.cumsum(list(widths.values()))
        self.channels = int(ends[-1])
        self.place = {name: int(end) - widths[name] for name, end in zip(widths, ends, strict=True)}
        self.merged, self.beginners, self.branches = Container(), [], Container()
        chains = {name: list(chain) for name, chain in chains.items()}
        sources = self.merge(chains)
        for name, chain in chains.items():
            self.branches.add_module(name, self.written(name, chain, sources.get(name)))

    def merge(self, chains: dict[str, list[Module]]) -> dict[str, int]:
        """Make one of the first modules where they fit; where each branch then finds its input channels."""
        groups: dict[tuple, list[str]] = {}
        for name, chain in chains.items():
            if is_conv(chain[0]) and (len(chain) == 1 or is_conv(chain[1])):
                groups.setdefault(geometry(chain[0]), []).append(name)
        sources = {}
        for names in groups.values():
            if len(names) > 1:
                layers = [chains[name].pop(0) for name in names]
                widths = np.array([layer.out_channels for layer in layers])
                apart = np.array([bool(chains[name]) for name in names])  # more modules follow
                starts = np.cumsum(widths * apart) - widths * apart
                rows = [
                    -1 - (start + np.arange(width)) if more else self.place[name] + np.arange(width)
                    for name, start, width, more in zip(names, starts, widths, apart, strict=True)
                ]
                sources |= dict(zip(names, map(int, starts), strict=True))
                self.merged.append(merged(layers, np.concatenate(rows)))
                self.beginners.append(names)
        return sources

    def written(self, branch: str, chain: list[Module], source: int | None) -> Container:
        """The modules of a branch; the first reads from ``source`` on if what came before it was merged."""
        modules = list(chain)
        for i, module in enumerate(chain):
            first = source if i == 0 else None
            if i == len(chain) - 1:
                modules[i] = into(module, first, self.place[branch] + np.arange(module.out_channels))
            elif first is not None:
                modules[i] = into(module, first, -1 - np.arange(module.out_channels))
        return Container(*modules)

    def forward(self, x: Any) -> Tensor:
        x = floating(x)
        has_no_graph = not x.requires_grad
        require(has_no_graph, "outputs written in place have no gradients: use the model before merging")
        common, begun = CommonOutput(self.channels), {}
        for conv, names in zip(self.merged, self.beginners, strict=True):
            begun |= dict.fromkeys(names, conv(x, common))
        for name, chain in self.branches.named_children():
            y = begun.get(name, x)
            for module in chain:
                y = module(y, common) if isinstance(module, ConvInto) else module(y)
        return Tensor(common.array)


def merged(layers: list[Conv2d], rows: np.ndarray) -> ConvInto:
    """The convolution that computes what ``layers`` do, channel i of them side by side being rows[i]."""
    weight, bias, order = merged_filters(layers)
    new = into(layers[0], None, rows[order])
    new.out_channels = len(weight)
    new.weight, new.bias = Parameter(weight), Parameter(bias)
    masks = [kept(layer.weight, layer.weight.shape) for layer in layers]
    new.weight.mask = np.concatenate(masks)[order]
    return new


def kept(parameter: Parameter | None, shape: int | tuple[int, ...]) -> np.ndarray:
    """The parameter's mask; everything, where there is none."""
    no_mask = parameter is None or parameter.mask is None
    return np.ones(shape, bool) if no_mask else parameter.mask


def into(layer: Conv2d, source: int | None, rows: np.ndarray) -> ConvInto:
    """The layer, reading from channel ``source`` on, or all channels, and writing to ``rows``."""
    new = recast(layer, ConvInto)
    new.source, new.rows = source, rows
    new.limits = limits(layer)
    return new
