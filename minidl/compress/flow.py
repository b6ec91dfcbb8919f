"""What flows where in a model: its leaf modules and joins as a graph, for fusing, counting and drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minidl.engine.trace import Call, modules
from minidl.nn.containers import Concat, Residual, Sequential
from minidl.nn.module import Module

INPUT = -1


@dataclass(frozen=True)
class Step:
    """One module that computes something, or a join (Concat, Residual) of what its branches computed.

    ``sources`` number the steps whose outputs it reads, INPUT being the model's input. ``shape``: of its
    output, the batch included.
    """

    path: str
    module: Module
    sources: tuple[int, ...]
    shape: tuple[int, ...]


def flow(model: Module, x: Any) -> list[Step]:
    """The steps of one run of ``model`` on ``x`` in evaluation mode, each after those it reads.

    A Sequential is the steps within it; what hands its input on (Identity, Dropout) is no step. A module
    with children and a forward of its own is a step too unless a child made its output: it reads what was
    left over within it. What such a forward does besides calling modules cannot be seen.
    """
    calls = modules(model, x)
    steps: list[Step] = []
    maker = {0: INPUT}  # number of a tensor -> the step that made it
    latest: dict[Module, Call] = {}
    for call in calls:
        latest[call.module] = call
        if call.output in maker:
            continue
        steps.append(
            Step(call.path, call.module, _sources(call, calls, maker, latest, steps), call.output_shape)
        )
        maker[call.output] = len(steps) - 1
    return steps


def _sources(call: Call, calls: list[Call], maker: dict, latest: dict, steps: list[Step]) -> tuple[int, ...]:
    if is_join(call.module):
        return tuple(maker[latest[branch].output] for branch in call.module.children())
    sources = [maker[number] for number in call.inputs if number in maker]
    if call.module.children():
        inside = f"{call.path}." if call.path else ""
        used = {source for step in steps for source in step.sources}
        sources += [i for i, step in enumerate(steps) if step.path.startswith(inside) and i not in used]
    return tuple(dict.fromkeys(sources))


def is_join(module: Module) -> bool:
    return type(module).forward in (Concat.forward, Residual.forward)


def is_transparent(module: Module) -> bool:
    """Whether nothing but its output leaves the module, which computes nothing hidden itself."""
    return is_join(module) or type(module).forward is Sequential.forward
