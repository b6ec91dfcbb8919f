"""The channels of a model: which filters make each channel, and which weights read it."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from minidl.compress.fused import ConvReLU2d
from minidl.compress.layer_kinds import kind_of, unusual
from minidl.engine.checks import check_array, check_instance, require
from minidl.nn import layers as nn
from minidl.nn import pooling
from minidl.nn.activations import ELU, Hardswish, SiLU
from minidl.nn.calls import Call, modules
from minidl.nn.containers import Concat, Residual, Sequential, Skip
from minidl.nn.module import Module, Parameter
from minidl.nn.resize import Upsample

# Each output channel of these depends only on the same input channel, and is zero if that is zero.
CHANNELWISE = (
    *(pooling.AdaptiveAvgPool2d, pooling.AvgPool2d, nn.Dropout, nn.Dropout2d, nn.GELU, nn.Identity),
    *(nn.LeakyReLU, pooling.MaxPool2d, nn.ReLU, nn.ReLU6, nn.Tanh, pooling.ZeroPad2d, ELU, Hardswish, SiLU),
    Upsample,
)
KNOWN = (
    *(*CHANNELWISE, nn.BatchNorm, nn.Conv2d, ConvReLU2d, nn.Flatten, nn.Linear),
    *(Concat, Residual, Sequential, Skip),
)


class Channels:
    """The numbered channels of a model. One run on ``x`` finds them.

    makes: path of a Conv2d or Linear -> (out,), the channel that each of its filters makes.
    reads: path of a Conv2d or Linear -> (in/groups,), the channel that each slice of its weight reads.
    norms: path of a BatchNorm -> (features,), the channel of each feature.
    layers, batch_norms: path -> the module itself, of all those paths.
    fixed: channel -> why it cannot be removed.
    passed: the paths of layers whose only reader is a convolution that loses whole groups.

    A residual sum adds channel to channel. If one summand loses a channel, the other must lose it, too, so
    both channels have the same number. Channels that a grouped convolution can only lose together also have
    the same
    number: see ``visit_layer``. A channel that an unknown module reads or makes is fixed.
    """

    def __init__(self, model: Module, x: Any = None) -> None:
        x = example(model) if x is None else check_array("x", x, finite=False)
        require(x.ndim >= 2, f"x must be a batch (N, C, ...) that the model takes, got shape {x.shape}")
        self.model = model
        self.makes: dict[str, np.ndarray] = {}
        self.reads: dict[str, np.ndarray] = {}
        self.norms: dict[str, np.ndarray] = {}
        self.layers: dict[str, nn.Conv2d | nn.Linear] = {}
        self.batch_norms: dict[str, nn.BatchNorm] = {}
        self.fixed: dict[int, str] = {}
        self.passed: set[str] = set()
        self.count = 0
        self.tensors: dict[int, np.ndarray] = {}  # number of a tensor in the trace -> its channels
        self.output_of: dict[Module, int] = {}  # the latest output of a module
        self.norm_after: dict[str, str] = {}  # path of a layer -> the BatchNorm that reads its output
        self.calls = modules(model, x)
        self.tensors[0] = self.new(x.shape[1], fixed="it is the model's input")
        for call in self.calls:
            channels = self.visit(call)
            if call.output in self.tensors:
                self.merge(self.tensors[call.output], channels)
            self.tensors[call.output] = channels
            self.output_of[call.module] = call.output
        self.fix(self.tensors[self.calls[-1].output], "it is the model's output")
        self.fix_shared_parameters()

    # ---- from call to call

    def visit(self, call: Call) -> np.ndarray:
        """Record the channels that the call reads and makes. Returns the channels of its output."""
        module = call.module
        along_last_axis = isinstance(module, nn.Linear) and len(call.output_shape) != 2
        if known_kind(module) is None or along_last_axis:
            return self.visit_unknown(call)
        if isinstance(module, nn.Conv2d | nn.Linear):
            return self.visit_layer(call, module)
        if isinstance(module, Skip):
            last = self.output_of[module[-1]] if len(module) else call.inputs[0]
            self.merge(self.tensors[last], self.read(call, len(self.tensors[last])))
            return self.tensors[last]
        if isinstance(module, Sequential):
            return self.tensors[call.output] if len(module) else self.read(call, call.output_shape[1])
        if isinstance(module, Residual):
            body, shortcut = (self.tensors[self.output_of[part]] for part in (module.body, module.shortcut))
            self.merge(body, shortcut)
            return body
        if isinstance(module, Concat):
            return np.concatenate([self.tensors[self.output_of[branch]] for branch in module])
        if isinstance(module, nn.BatchNorm):
            return self.visit_norm(call, module)
        channels = self.read(call, None)
        if isinstance(module, nn.Flatten):  # (C, H, W) gives C·H·W features, H·W for each channel
            return np.repeat(channels, call.output_shape[1] // len(channels))
        return channels

    def visit_layer(self, call: Call, layer: nn.Conv2d | nn.Linear) -> np.ndarray:
        """Record a Conv2d or Linear.

        A grouped convolution loses whole groups, with all channels that they read and make, if a group reads
        or makes a single channel, as in a depthwise convolution. Otherwise every group loses the same of its
        channels, so that all groups keep one size."""
        self.layers[call.path] = layer
        out, share = layer.weight.shape[:2]
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        by_group = self.read(call, groups * share).reshape(groups, share)
        if not loses_groups(layer):
            for group in by_group[1:]:
                self.merge(by_group[0], group)
            self.note(self.reads, call.path, by_group[0])
            if call.path not in self.makes:
                self.makes[call.path] = np.tile(self.new(out // groups), groups)
            return self.makes[call.path]
        for place in by_group.T[1:]:
            self.merge(by_group[:, 0], place)
        readers = [c for c in self.calls if call.inputs[0] in c.inputs and known_kind(c.module) != Sequential]
        if readers == [call]:
            self.passed |= {path for path, made in self.makes.items() if np.isin(made, by_group).any()}
        self.note(self.makes, call.path, np.repeat(by_group[:, 0], out // groups))
        return self.makes[call.path]

    def visit_norm(self, call: Call, norm: nn.BatchNorm) -> np.ndarray:
        self.batch_norms[call.path] = norm
        channels = self.read(call, norm.num_features)
        self.note(self.norms, call.path, channels)
        if not norm.affine:
            self.fix(channels, f"{call.path} has no weight and bias: it changes zeros to other values")
        for before in self.calls:
            if before.output == call.inputs[0] and before.path in self.makes:
                self.norm_after[before.path] = call.path
        return channels

    def visit_unknown(self, call: Call) -> np.ndarray:
        """Fix all channels that the module reads or makes: any of them may depend on each other."""
        name = f"{call.path or 'the model'} ({type(call.module).__name__})"
        reason = f"the effect of {name} on it is unknown"
        within = [c for c in self.calls if c.path.startswith(f"{call.path}." if call.path else "")]
        for number in {*call.inputs, *(n for c in within for n in (*c.inputs, c.output))}:
            if number in self.tensors:
                self.fix(self.tensors[number], reason)
        if call.output in self.tensors:
            return self.tensors[call.output]
        return self.new(call.output_shape[1] if len(call.output_shape) > 1 else 1, fixed=reason)

    def read(self, call: Call, width: int | None) -> np.ndarray:
        """The channels of the call's input.

        If no module made the input, or the width is wrong, they are new and fixed.
        """
        known = self.tensors.get(call.inputs[0])
        if known is not None and (width is None or len(known) == width):
            return known
        if known is not None:
            self.fix(known, f"{call.path} reads it along another axis")
        return self.new(width or call.output_shape[1], fixed=f"no module makes the input of {call.path}")

    def note(self, table: dict[str, np.ndarray], path: str, channels: np.ndarray) -> None:
        """Enter the channels in ``table``. If a layer runs twice, the channels of both runs are merged."""
        if path in table:
            self.merge(table[path], channels)
        else:
            table[path] = channels

    # ---- numbers

    def new(self, count: int, fixed: str = "") -> np.ndarray:
        channels = np.arange(self.count, self.count + count)
        self.count += count
        if fixed:
            self.fix(channels, fixed)
        return channels

    def fix(self, channels: np.ndarray, reason: str) -> None:
        for channel in channels.tolist():
            self.fixed.setdefault(channel, reason)

    def merge(self, first: np.ndarray, second: np.ndarray) -> None:
        """Make first[i] and second[i] one channel, in all tables."""
        first, second = first.copy(), second.copy()
        for i in range(len(first)):
            kept, gone = first[i], second[i]
            if kept == gone:
                continue
            for table in (self.makes, self.reads, self.norms, self.tensors, {0: first, 1: second}):
                for channels in table.values():
                    channels[channels == gone] = kept
            if int(gone) in self.fixed:
                self.fix(np.array([kept]), self.fixed[int(gone)])

    def fix_shared_parameters(self) -> None:
        """Fix the channels of layers that share a weight: they cannot lose different slices of it."""
        owners: dict[Parameter, str] = {}
        for path, module in {**self.layers, **self.batch_norms}.items():
            weight = module.weight
            if weight is not None and owners.setdefault(weight, path) != path:
                for one in (path, owners[weight]):
                    for table in (self.makes, self.reads, self.norms):
                        self.fix(table.get(one, np.zeros(0, np.int64)), f"{path} shares its weight")

    # ---- questions

    def removable(self, path: str) -> bool:
        """Whether the layer at ``path`` makes channels that can be removed."""
        return path in self.makes and not self.reason(self.makes[path])

    def reason(self, channels: np.ndarray) -> str:
        """The reason why some of the channels cannot be removed; empty if all can."""
        return next((self.fixed[c] for c in channels.tolist() if c in self.fixed), "")

    def partners(self) -> list[list[str]]:
        """The paths of removable layers. Layers that make the same channels form one list."""
        groups: dict[frozenset, list[str]] = {}
        for path, made in self.makes.items():
            if self.removable(path):
                groups.setdefault(frozenset(made.tolist()), []).append(path)
        return list(groups.values())

    def made(self, layer: str) -> np.ndarray:
        """(out,), the channels that ``layer`` makes. ValueError if it has no filters."""
        self.model.layer(layer)  # a wrong path raises an error with similar paths
        names = ", ".join(path for path in self.makes if self.removable(path)) or "none"
        what = "not a Conv2d, or a Linear on rows, that the model runs; filters can be removed from"
        require(layer in self.makes, f"{layer!r} is {what}: {names}")
        return self.makes[layer]

    def made_by(self, layer: str, chosen: np.ndarray | slice) -> np.ndarray:
        """The channels that the filters ``chosen`` (bools or numbers) of ``layer`` make.

        ValueError with the reason if they cannot be removed.
        """
        channels = self.made(layer)[chosen]
        reason = self.reason(channels)
        require(not reason, f"filters of {layer} cannot be removed: {reason}")
        return channels


def known_kind(module: Module) -> type[Module] | None:
    """The class in KNOWN whose forward the module runs. A Flatten from another axis is unknown."""
    kind = kind_of(module, *KNOWN)
    return None if kind is nn.Flatten and unusual(module) else kind


def loses_groups(layer: Module) -> TypeGuard[nn.Conv2d]:
    """Whether a grouped convolution loses whole groups: each group reads or makes one channel."""
    if not isinstance(layer, nn.Conv2d):
        return False
    return layer.groups > 1 and layer.groups in (layer.in_channels, layer.out_channels)


def example(model: Module) -> np.ndarray:
    """Zeros as input for a model of images of any size: (1, C, 16, 16); without a Conv2d, (1, F).

    ValueError if the model does not run on them.
    """
    parts = list(check_instance("model", model, Module).modules())
    sizes: list[tuple[int, ...]] = [
        (part.in_channels, 16, 16) for part in parts if isinstance(part, nn.Conv2d)
    ]
    sizes += [(part.in_features,) for part in parts if isinstance(part, nn.Linear)]
    require(len(sizes) > 0, "the model has no Conv2d and no Linear: there are no filters")
    zeros = np.zeros((1, *sizes[0]), np.float32)
    try:
        modules(model, zeros)
    except ValueError as error:
        what = f"the model does not run on zeros of {zeros.shape}: give x, a batch that the model takes"
        raise ValueError(f"{what} ({error})") from error
    return zeros
