"""What a module of a model does: which kind of layer it runs as, and what a Sequential consists of."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

from minidl.nn.containers import Sequential
from minidl.nn.layers import AdaptiveAvgPool2d, AvgPool2d, Dropout, Flatten, Identity, MaxPool2d
from minidl.nn.module import Module, dotted

_Kind = TypeVar("_Kind", bound=Module)


def kind_of(module: Module, *kinds: type[_Kind]) -> type[_Kind] | None:
    """The kind whose forward the module runs; None for others, subclasses with their own forward too."""
    for kind in kinds:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return kind
    return None


def runs_as(module: Module, *kinds: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether the module runs the forward of one of the kinds."""
    return kind_of(module, *kinds) is not None


def unusual(module: Module) -> str:
    """A setting of the layer that changes what its output means, in words; "" for the usual ones."""
    if isinstance(module, AdaptiveAvgPool2d) and module.output_size != (1, 1):
        return f"output_size={module.output_size}"
    if isinstance(module, Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        return f"start_dim={module.start_dim}, end_dim={module.end_dim}"
    if isinstance(module, AvgPool2d) and not module.count_include_pad:
        return "count_include_pad=False"
    return "ceil_mode=True" if isinstance(module, MaxPool2d) and module.ceil_mode else ""


def in_order(module: Module, path: str = "") -> list[tuple[str, Module]]:
    """The modules that run one after the other, with their paths: a Sequential is what it consists of, any
    other module stands alone, with the path that was given. Identity and Dropout do nothing in evaluation."""
    if runs_as(module, Sequential):
        return children_in_order(module, path)
    return [] if runs_as(module, Identity, Dropout) else [(path, module)]


def children_in_order(module: Module, path: str) -> list[tuple[str, Module]]:
    """What a Sequential, or a Skip before it adds its input, consists of."""
    inside = (in_order(child, dotted(path, name)) for name, child in module.named_children())
    return [step for steps in inside for step in steps]
