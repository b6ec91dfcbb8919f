"""The list of a model's calls: each module with its input and output tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.engine.checks import check_instance
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module


@dataclass(frozen=True)
class Call:
    """One call of a module: ``inputs`` and ``output`` are numbers of tensors; 0 is the model's own input."""

    path: str
    module: Module
    inputs: tuple[int, ...]
    output: int
    output_shape: tuple[int, ...]


def modules(model: Module, x: Any) -> list[Call]:
    """Run ``model`` on ``x`` once, in eval mode and without a graph, and list the calls of its modules.

    The calls are in the order of their ends. So a container comes after its children, and the model itself is
    last, with path "". Equal numbers mean the same tensor: if an input of module B has the number of the
    output of module A, then B reads that output. During this run the forward hooks of the model are off.
    TypeError for a module with several outputs.
    """
    check_instance("model", model, Module)
    x = x if isinstance(x, Tensor) else Tensor(x)
    seen, calls = [x], []  # the list keeps the tensors alive, so that no id is used twice

    def number(tensor: Tensor) -> int:
        for i, known in enumerate(seen):
            if known is tensor:
                return i
        seen.append(tensor)
        return len(seen) - 1

    def listen(path: str):
        def hook(module: Module, inputs: tuple, output: Tensor) -> None:
            check_instance(f"the output of {path or 'the model'}", output, (Tensor, np.ndarray))
            calls.append(Call(path, module, tuple(map(number, inputs)), number(output), output.shape))

        return hook

    before = [(module, module.training, module._hooks) for _, module in model.named_modules()]
    try:
        for path, module in model.named_modules():
            module._hooks = ()
            module.register_forward_hook(listen(path))
        model.eval()
        with no_grad():
            model(x)
    finally:
        for module, training, hooks in before:
            module.training, module._hooks = training, hooks
    return calls
