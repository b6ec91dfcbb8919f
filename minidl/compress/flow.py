"""What flows where in a model: its leaf modules and joins as a graph, for fusing, counting and drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.branches import InPlaceConcat
from minidl.compress.fused import ConvInto
from minidl.compress.kinds import runs_as
from minidl.engine.checks import check_instance, positive_int, require
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn.calls import Call, modules
from minidl.nn.containers import Concat, Residual, Sequential, Skip
from minidl.nn.layers import Conv2d, Flatten, Linear
from minidl.nn.module import Module, eval_mode

INPUT = -1


@dataclass(frozen=True)
class Step:
    """One module that computes something, or a join (Concat, Residual, Skip) of what its branches computed.

    ``sources`` number the steps whose outputs it reads, INPUT being the model's input. ``shape``: of its
    output, the batch included.
    """

    path: str
    module: Module
    sources: tuple[int, ...]
    shape: tuple[int, ...]


def flow(model: Module, x: Any) -> list[Step]:
    """The steps of one run of ``model`` on ``x`` in evaluation mode, each after those it reads.

    A Sequential is the steps within it, a Skip those and then the sum; what hands its input on (Identity,
    Dropout) is no step. A module with children and a forward of its own is a step too unless a child made its
    output: it reads what was left over within it. What such a forward does besides calling modules cannot be
    seen.
    """
    calls = modules(model, x)
    steps: list[Step] = []
    maker = {0: INPUT}  # number of a tensor -> the step that made it
    latest: dict[Module, Call] = {}
    for call in calls:
        latest[call.module] = call
        if call.output in maker:
            continue
        steps.append(Step(call.path, call.module, _sources(call, maker, latest, steps), output_shape(call)))
        maker[call.output] = len(steps) - 1
    return steps


def _sources(call: Call, maker: dict, latest: dict, steps: list[Step]) -> tuple[int, ...]:
    if runs_as(call.module, Concat, Residual):
        return tuple(maker[latest[branch].output] for branch in call.module.children())
    if runs_as(call.module, Skip) and len(call.module):
        ends = latest[call.module[-1]].output, call.inputs[0]
        return tuple(maker[number] for number in ends if number in maker)
    inside = f"{call.path}." if call.path else ""
    within = [i for i, step in enumerate(steps) if step.path.startswith(inside)]
    if isinstance(call.module, InPlaceConcat):
        convs = [(i, module) for i in within if isinstance(module := steps[i].module, ConvInto)]
        return tuple(i for i, conv in convs if conv.ends)
    sources = [maker[number] for number in call.inputs if number in maker]
    if call.module.children():
        used = {source for step in steps for source in step.sources}
        sources += [i for i in within if i not in used]
    return tuple(dict.fromkeys(sources))


def output_shape(call: Call) -> tuple[int, ...]:
    """A convolution that writes in place returns only what it does not; all that it computes counts here."""
    if isinstance(call.module, ConvInto):
        return (call.output_shape[0], call.module.out_channels, *call.output_shape[2:])
    return call.output_shape


def is_transparent(module: Module) -> bool:
    """Whether nothing but its output leaves the module, which computes nothing hidden itself."""
    return runs_as(module, Concat, Residual, Sequential, Skip)


def run_with(
    visit: Callable[[Any, tuple, Any], Any], model: Module, x: Any, modules: Mapping[Any, Module]
) -> None:
    """Run ``model(x)`` in evaluation mode; after each of the modules ``visit(its key, inputs, output)``, and
    what that gives, if not None, takes the output's place."""

    def hook_of(key: Any) -> Callable[[Module, tuple, Any], Any]:
        return lambda module, inputs, output: visit(key, inputs, output)

    hooks = [module.register_forward_hook(hook_of(key)) for key, module in modules.items()]
    try:
        with eval_mode(model), no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()


def observe(
    model: Module, x: Any, modules: Mapping[str, Module], look: Callable[[str, Any], Any]
) -> dict[str, Any]:
    """{name: look(name, output)} of what each of the modules gives while ``model(x)`` runs."""
    seen: dict[str, Any] = {}

    def note(name: str, inputs: tuple, output: Any) -> None:
        seen[name] = look(name, output)

    run_with(note, model, x, modules)
    return seen


# ---- what it costs


class Cost(NamedTuple):
    """Of a model on one image: kernels launched, bytes of activations read and written, multiply-adds."""

    launches: int
    bytes: int
    multiply_adds: int


def cost(model: Module, input_shape: tuple[int, ...]) -> Cost:
    """Count the steps of ``flow`` on one image of float32: (C, H, W), or (features,).

    Each step is a launch that reads all its inputs from memory and writes its output there: 4 bytes a
    number. Flatten moves nothing, nor does a Concat that is written in place. Weights are not counted among
    the bytes, and multiply-adds for convolutions and Linear alone: ValueError for a module that computes with
    matrices in another way, as those of rounded and of integer networks do.
    """
    check_instance("model", model, Module)
    check_instance("input_shape", input_shape, (tuple, list))
    shape = (1, *(positive_int("each of input_shape", n) for n in input_shape))
    steps = flow(model, np.zeros(shape, np.float32))
    for step in steps:
        can_be = isinstance(step.module, Conv2d | Linear) or not holds_matrices(step, steps)
        what = f"{step.path or 'the model'}: what a {type(step.module).__name__} does with its weights"
        require(can_be, f"{what} cannot be counted, only Conv2d and Linear of a float network")
    counted = [step for step in steps if launches(step.module)]
    moved = sum(numbers_moved(step, steps, shape) for step in counted)
    return Cost(len(counted), 4 * moved, sum(multiply_adds(step) for step in counted))


def holds_matrices(step: Step, steps: list[Step]) -> bool:
    """Whether the module has weights of two axes or more, itself or in modules that it does not call."""
    inside = f"{step.path}." if step.path else ""
    calls_others = any(other is not step and other.path.startswith(inside) for other in steps)
    hidden = [step.module] if calls_others else step.module.modules()
    return any(
        isinstance(value, np.ndarray | Tensor) and value.ndim > 1
        for module in hidden
        for value in vars(module).values()
    )


def launches(module: Module) -> bool:
    """Whether the module runs a kernel, or only says where its numbers lie."""
    return not isinstance(module, Flatten | InPlaceConcat)


def numbers_moved(step: Step, steps: list[Step], input_shape: tuple[int, ...]) -> int:
    shapes = [input_shape if i == INPUT else steps[i].shape for i in step.sources]
    if isinstance(step.module, Conv2d):  # which may read only some of the channels
        shapes = [(shape[0], step.module.in_channels, *shape[2:]) for shape in shapes]
    return sum(map(math.prod, [*shapes, step.shape]))


def multiply_adds(step: Step) -> int:
    if isinstance(step.module, Conv2d | Linear):
        return math.prod(step.shape) * math.prod(step.module.weight.shape[1:])
    return 0
