"""The graph of a float network: the operations from its input to its logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.compress.branches import InPlaceConcat
from minidl.engine.backward import anomaly_check
from minidl.engine.checks import require
from minidl.engine.op import Op
from minidl.engine.tensor import Tensor
from minidl.engine.trace import Node, graph, layer_path
from minidl.export.graph import INPUT, Graph
from minidl.export.operations import OPERATIONS, Step, at
from minidl.nn.module import Module, eval_mode


def float_graph(model: Module, example: np.ndarray) -> tuple[Graph, tuple[int, ...]]:
    """The graph of ``model`` and the shape of its output, where -1 is the batch.

    The model runs twice: on the example, and on a batch of random numbers in [0, 1) with one more image.
    Raises ValueError if more than the length of the batch differs between the runs, because an ONNX graph
    is the same for all images.
    """
    for path, module in model.named_modules():
        mend = "export the model before merge_parallel_convs; a runtime does that by itself"
        require(not isinstance(module, InPlaceConcat), f"{at(path)}{mend}")
    others = np.random.default_rng(0).random((len(example) + 1, *example.shape[1:]), np.float32)
    inputs = [Tensor(images, requires_grad=True) for images in (example, others)]
    run, other = runs = [traced(model, x) for x in inputs]
    for one, two in zip(run, other, strict=False):
        op = one.tensor.op or two.tensor.op
        same = (one.op, one.inputs, one.tensor.ndim) == (two.op, two.inputs, two.tensor.ndim)
        differ = "operations or shapes differ between images: in ONNX they must be the same for all images"
        require(same, f"{at(op.layer) if op else ''}{differ}")
    more = "some images need more operations: in ONNX all images have the same operations"
    require(len(run) == len(other), more)
    result, twin = (written(model, x, runs) for x in inputs)
    layer, _, changed = (result.difference(twin) or "").rpartition("/")
    detached = "computed from the images without Tensor's operations, as in x > 0, x.data, x.detach(), len(x)"
    fixed = f"{changed} would be a constant in ONNX, but differs between images: it is random, or {detached}"
    require(not changed, f"{at(layer)}{fixed}")
    return result, shape_of(runs, -1)


def traced(model: Module, x: Tensor) -> list[Node]:
    """The graph of the logits of ``x``. Each operation's attribute ``layer`` holds the path of its layer."""
    with eval_mode(model), noting_layers():
        y = model(x)
    require(isinstance(y, Tensor), f"the model must give one Tensor, got {type(y).__name__}", TypeError)
    nodes = graph(y)
    is_connected = y is not x and any(node.tensor is x for node in nodes)
    require(is_connected, "no operation leads from the input to the logits; does the model use no_grad?")
    return nodes


@contextmanager
def noting_layers() -> Iterator[None]:
    """In this block, each operation gets the path of the innermost module that runs it."""

    def note(op: Op, *results: Any) -> None:
        op.layer = layer_path()

    token = anomaly_check.set(note)
    try:
        yield
    finally:
        anomaly_check.reset(token)


def written(model: Module, x: Tensor, runs: list[list[Node]]) -> Graph:
    """The operations of the run on ``x`` as ONNX nodes."""
    (run,) = (run for run in runs if any(node.tensor is x for node in run))
    result, names = Graph(), {}
    state = {id(p): result.array(key, p.data.astype(np.float32)) for key, p in model.named_parameters()}
    state |= {id(buffer): result.array(key, buffer) for key, buffer in model.named_buffers()}
    for i, (tensor, op) in enumerate((node.tensor, node.tensor.op) for node in run):
        if tensor is x:
            names[i] = INPUT
        if op is None:  # a leaf: the first operation that reads it names it, if it is not in the state
            continue
        for number in run[i].inputs:
            if number not in names:
                leaf = run[number].tensor
                known = state.get(id(leaf)) or state.get(id(leaf.data))
                constant = f"{op.layer}/constant" if op.layer else "constant"
                names[number] = known or result.array(constant, leaf.data.astype(np.float32))
        inputs = tuple(names[number] for number in run[i].inputs)
        shapes = tuple(shape_of(runs, number) for number in run[i].inputs)
        step = Step(result, op.layer, state, inputs, shapes, shape_of(runs, i))
        if type(op) not in OPERATIONS:
            step.refuse(f"{type(op).__name__} has no known counterpart in ONNX")
        names[i] = OPERATIONS[type(op)](step, op)
    return result


def shape_of(runs: list[list[Node]], number: int) -> tuple[int, ...]:
    """The shape of a tensor, with -1 where the runs differ. Only the length of the batch may differ."""
    return tuple(
        m if m == n else -1 for m, n in zip(*(run[number].tensor.shape for run in runs), strict=True)
    )
