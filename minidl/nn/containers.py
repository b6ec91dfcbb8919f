"""Containers: modules that run other modules in sequence, in parallel, or with a shortcut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

import numpy as np

from minidl.engine.checks import check_int, require, shown
from minidl.engine.functions import concatenate
from minidl.engine.tensor import Tensor
from minidl.nn.layers import Identity
from minidl.nn.module import Module

Self = TypeVar("Self", bound="Container")


class Container(Module):
    """Children in order, named "0", "1", ... or by the keys of a dict."""

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: list[tuple[str, Any]] = list(modules[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(modules)]
        for name, module in named:
            self.add_module(name, module)

    def __len__(self) -> int:
        return len(self.children())

    def __iter__(self) -> Iterator[Module]:
        return iter(self.children())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self: Self, index: slice) -> Self: ...

    def __getitem__(self: Self, index: int | slice) -> Module | Self:
        """The child of that number.

        A slice gives a container with the same modules (not copies) and names, in the same mode.
        """
        named = self.named_children()
        if isinstance(index, slice):
            part = type(self)(dict(named[index]))
            part.training = self.training
            return part
        check_int("index (the number of a child, or a slice; by name: layer(name))", index)
        none = f"no child {shown(index)} in a {type(self).__name__} of {len(named)}"
        require(-len(named) <= index < len(named), none, IndexError)
        return named[index][1]

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace the child of that number. The new child gets its name."""
        self[check_int("index", index)]  # for a wrong number, this raises an error
        self.add_module(self.named_children()[index][0], module)

    def append(self: Self, module: Module) -> Self:
        """Add a child at the end. Its name is its number, or, as after a slice, the next free number."""
        number = len(self)
        while str(number) in vars(self):
            number += 1
        self.add_module(str(number), module)
        return self

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Add all of the modules at the end."""
        for module in several(modules):
            self.append(module)
        return self


class Sequential(Container):
    """Modules that run one after the other: f_n(... f_2(f_1(x))).

    >>> from minidl import nn
    >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    Sequential(
      (0): Linear(4, 8)
      (1): ReLU()
      (2): Linear(8, 2)
    )
    """

    def forward(self, x: Any) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


class ModuleList(Container):
    """A list of modules whose parameters ``parameters()`` finds.

    The ``forward`` of its owner calls the modules.

    >>> from minidl import nn
    >>> layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 2)])
    >>> [name for name, parameter in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(*([modules] if isinstance(modules, Mapping) else several(modules)))


def several(modules: Iterable[Module]) -> Iterable[Module]:
    is_list = isinstance(modules, Iterable) and not isinstance(modules, np.ndarray)
    require(is_list, f"modules must be a list, got {shown(modules)}", TypeError)
    return modules


class Concat(Container):
    """Parallel branches on one input, joined along the channels: (N, C_i, H, W) give (N, sum C_i, H, W).

    >>> from minidl import nn
    >>> branches = nn.Concat(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 8, 3, padding=1))
    >>> branches(np.ones((1, 3, 16, 16))).shape
    (1, 12, 16, 16)
    """

    def forward(self, x: Any) -> Tensor:
        branches = [branch(x) for branch in self.children()]
        shapes = {branch.shape[:1] + branch.shape[2:] for branch in branches}
        listed = ", ".join(str(branch.shape) for branch in branches) or "none"
        require(len(shapes) == 1, f"Concat needs branches that agree in all but the channels, got {listed}")
        return concatenate(branches, axis=1)


class Residual(Module):
    """body(x) + shortcut(x); without a shortcut, body(x) + x (He et al. 2016).

    >>> from minidl import nn
    >>> block = nn.Residual(body=nn.ReLU())
    >>> block([-1, 2])  # relu(x) + x
    Tensor([-1., 4.], float32)
    """

    body: Module
    shortcut: Module

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.add_module("body", body)
        self.add_module("shortcut", Identity() if shortcut is None else shortcut)

    def forward(self, x: Any) -> Tensor:
        y, skip = self.body(x), self.shortcut(x)
        require(y.shape == skip.shape, f"body gives {y.shape} and shortcut {skip.shape}; they must be equal")
        return y + skip


class Skip(Sequential):
    """f_n(... f_1(x)) + x: the children are the body, in order. It is a Residual without the name "body".

    >>> from minidl import nn
    >>> block = nn.Skip(nn.ReLU())
    >>> block([-1, 2])  # relu(x) + x
    Tensor([-1., 4.], float32)
    """

    def forward(self, x: Any) -> Tensor:
        y = super().forward(x)
        require(y.shape == np.shape(x), f"the children give {y.shape} for {np.shape(x)}; they must be equal")
        return y + x
