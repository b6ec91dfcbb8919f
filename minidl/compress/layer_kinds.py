"""The kinds of modules: as which layer a module runs, and the modules of a Sequential."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

from minidl.nn.containers import Sequential
from minidl.nn.layers import Dropout, Dropout2d, Flatten, Identity
from minidl.nn.module import Module, dotted
from minidl.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

_Kind = TypeVar("_Kind", bound=Module)


def kind_of(module: Module, *kinds: type[_Kind]) -> type[_Kind] | None:
    """The kind whose forward the module runs. None for others, also for subclasses with their own forward."""
    for kind in kinds:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return kind
    return None


def runs_as(module: Module, *kinds: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether the module runs the forward of one of the kinds."""
    return kind_of(module, *kinds) is not None


def unusual(module: Module) -> str:
    """The words for an unusual setting that changes the meaning of the output; "" for usual settings."""
    if isinstance(module, AdaptiveAvgPool2d) and module.output_size != (1, 1):
        return f"output_size={module.output_size}"
    if isinstance(module, Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        return f"start_dim={module.start_dim}, end_dim={module.end_dim}"
    if isinstance(module, AvgPool2d) and not module.count_include_pad:
        return "count_include_pad=False"
    return "ceil_mode=True" if isinstance(module, MaxPool2d) and module.ceil_mode else ""


def in_order(module: Module, path: str = "") -> list[tuple[str, Module]]:
    """The modules that run in sequence, with their paths.

    A Sequential gives its children. Any other module gives itself, with the given path. Identity and Dropout
    are skipped, because they do nothing in evaluation."""
    if runs_as(module, Sequential):
        return children_in_order(module, path)
    return [] if runs_as(module, Identity, Dropout, Dropout2d) else [(path, module)]


def children_in_order(module: Module, path: str) -> list[tuple[str, Module]]:
    """The children of a Sequential, or of a Skip without its sum."""
    inside = (in_order(child, dotted(path, name)) for name, child in module.named_children())
    return [step for steps in inside for step in steps]
