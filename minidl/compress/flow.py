"""The graph of a model's leaf modules and joins, for fusing, counting and drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.branches import InPlaceConcat
from minidl.compress.fused import ConvInto
from minidl.compress.layer_kinds import runs_as
from minidl.engine.checks import check_ints, check_sequence, require
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn.calls import Call, modules
from minidl.nn.containers import Concat, Residual, Sequential, Skip
from minidl.nn.layers import Conv2d, Flatten, Linear
from minidl.nn.module import Module, eval_mode

INPUT = -1


@dataclass(frozen=True)
class Step:
    """One module that computes something, or the join of branches by a Concat, Residual or Skip.

    ``sources``: the numbers of the steps whose outputs it reads; INPUT is the model's input. ``shape``: the
    shape of its output, with the batch.
    """

    path: str
    module: Module
    sources: tuple[int, ...]
    shape: tuple[int, ...]


def flow(model: Module, x: Any) -> list[Step]:
    """The steps of one run of ``model`` on ``x`` in evaluation mode. Each step comes after its sources.

    A Sequential gives the steps of its children; a Skip gives these steps and the sum. A module that returns
    its input (Identity, Dropout) is no step. A module with children and its own forward is also a step,
    unless a child made its output. Its sources are the outputs inside that no other step reads. Other
    computations in such a forward are not visible.
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
    """The shape of the output.

    For a convolution that writes in place, all channels that it computes count.
    """
    if isinstance(call.module, ConvInto):
        return (call.output_shape[0], call.module.out_channels, *call.output_shape[2:])
    return call.output_shape


def is_transparent(module: Module) -> bool:
    """Whether others see only the module's output, and all its computation is in its children."""
    return runs_as(module, Concat, Residual, Sequential, Skip)


def run_with(
    visit: Callable[[Any, tuple, Any], Any], model: Module, x: Any, modules: Mapping[Any, Module]
) -> None:
    """Run ``model(x)`` in evaluation mode, and call ``visit(key, inputs, output)`` after each of the modules.

    A result other than None replaces the output."""

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
    """{name: look(name, output)} for the output of each of the modules while ``model(x)`` runs."""
    seen: dict[str, Any] = {}

    def note(name: str, inputs: tuple, output: Any) -> None:
        seen[name] = look(name, output)

    run_with(note, model, x, modules)
    return seen


# ---- what it costs


class Cost(NamedTuple):
    """The cost of a model on one image: kernels, bytes of activations read and written, multiply-adds."""

    launches: int
    bytes: int
    multiply_adds: int


def cost(model: Module, input_shape: tuple[int, ...]) -> Cost:
    """Count the steps of ``flow`` on one image of float32: (C, H, W), or (features,).

    Each step is one kernel. It reads all its inputs from memory and writes its output there: 4 bytes for each
    number. A Flatten moves nothing, and neither does a Concat that is written in place. The bytes of weights
    do not count. Multiply-adds count only for convolutions and Linear. ValueError for a module that computes
    with matrices in another way, as in rounded and integer networks.
    """
    shape = (1, *check_ints("input_shape", check_sequence("input_shape", input_shape), empty=True))
    steps = flow(model, np.zeros(shape, np.float32))
    for step in steps:
        can_be = isinstance(step.module, Conv2d | Linear) or not holds_matrices(step, steps)
        what = f"{step.path or 'the model'}: the multiply-adds of a {type(step.module).__name__}"
        require(can_be, f"{what} cannot be counted, only those of a float Conv2d or Linear")
    counted = [step for step in steps if launches(step.module)]
    moved = sum(numbers_moved(step, steps, shape) for step in counted)
    return Cost(len(counted), 4 * moved, sum(multiply_adds(step) for step in counted))


def holds_matrices(step: Step, steps: list[Step]) -> bool:
    """Whether the module has weights with two axes or more, itself or in modules that it does not call."""
    inside = f"{step.path}." if step.path else ""
    calls_others = any(other is not step and other.path.startswith(inside) for other in steps)
    hidden = [step.module] if calls_others else step.module.modules()
    return any(
        isinstance(value, np.ndarray | Tensor) and value.ndim > 1
        for module in hidden
        for value in vars(module).values()
    )


def launches(module: Module) -> bool:
    """Whether the module runs a kernel. Otherwise it only gives another view of its numbers."""
    return not isinstance(module, Flatten | InPlaceConcat)


def numbers_moved(step: Step, steps: list[Step], input_shape: tuple[int, ...]) -> int:
    shapes = [input_shape if i == INPUT else steps[i].shape for i in step.sources]
    if isinstance(step.module, Conv2d):  # it may read only some of the channels
        shapes = [(shape[0], step.module.in_channels, *shape[2:]) for shape in shapes]
    return sum(map(math.prod, [*shapes, step.shape]))


def multiply_adds(step: Step) -> int:
    if isinstance(step.module, Conv2d | Linear):
        return math.prod(step.shape) * math.prod(step.module.weight.shape[1:])
    return 0
