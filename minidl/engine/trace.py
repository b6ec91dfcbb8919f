"""Tools to look at a computation: find the operation that made a NaN, and list the graph of a tensor."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from minidl.engine.backward import anomaly_check, topological_order
from minidl.engine.checks import check_instance
from minidl.engine.op import Op
from minidl.engine.tensor import Tensor

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """In this block, the first NaN or Inf, forward or backward, raises FloatingPointError.

    The error names the operation and the line of the caller's code that ran it forward, and says if the
    NaN was already in the inputs. The block checks every result, so use it to search, not to train.

    >>> from minidl import Tensor, detect_anomaly
    >>> with detect_anomaly():  # doctest: +ELLIPSIS
    ...     Tensor([-1.0]).log()
    Traceback (most recent call last):
    FloatingPointError: NaN born in the forward pass of Log, index (0,) of shape (1,)...
    """
    token = anomaly_check.set(_report_not_finite)
    try:
        yield
    finally:
        anomaly_check.reset(token)


def _report_not_finite(op: Op, result: np.ndarray, sources: list[np.ndarray], direction: str) -> None:
    if direction == "forward":
        op.line, op.layer = _user_line(), layer_path()
    if result.dtype.kind != "f" or np.isfinite(result).all():
        return
    kind = "NaN" if np.isnan(result).any() else "Inf"
    index = tuple(map(int, np.argwhere(~np.isfinite(result))[0]))
    handed = [i for i, x in enumerate(sources) if x.dtype.kind == "f" and not np.isfinite(x).all()]
    source = f"its input {handed[0]}" if handed and direction == "forward" else "the gradient it was given"
    # the model's own error names the layer in forward
    layer = getattr(op, "layer", "") if direction == "backward" else ""
    origin = f"; {source} was not finite to begin with" if handed else ""
    what = f"{kind} {'handed on by' if handed else 'born in'} the {direction} pass of {type(op).__name__}"
    where = f"{f' in layer {layer!r}' if layer else ''}, index {index} of shape {result.shape}{origin}"
    raise FloatingPointError(f"{what}{where}\n  {getattr(op, 'line', 'built outside detect_anomaly()')}")


def _user_line() -> str:
    """The innermost line of code outside of minidl."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    filename, number = frame.f_code.co_filename, frame.f_lineno
    return f"{filename}:{number}: {linecache.getline(filename, number).strip()}"


def layer_path() -> str:
    """The path of the innermost running module, from the outermost one; "" if no module runs."""
    frame: FrameType | None = sys._getframe(1)
    running: list[Any] = []
    while frame:
        module = frame.f_locals.get("self") if frame.f_code.co_name == "__call__" else None
        running += [module] if hasattr(module, "named_modules") else []
        frame = frame.f_back
    paths = running[-1].named_modules() if running else ()
    return next((path for path, module in paths if module is running[0]), "")


@dataclass(frozen=True)
class Node:
    """A tensor of a graph: ``op`` is the name of its operation, "" for a leaf; ``inputs`` are numbers
    of nodes."""

    tensor: Tensor
    op: str
    inputs: tuple[int, ...]


def graph(tensor: Tensor) -> list[Node]:
    """The graph of ``tensor`` as a list of nodes.

    Each node comes after its inputs; ``tensor`` is the last one.
    """
    order = topological_order(check_instance("tensor", tensor, Tensor), lambda node: node.parents)[::-1]
    number = {node: i for i, node in enumerate(order)}
    return [
        Node(
            node, type(node.op).__name__ if node.op else "", tuple(number[parent] for parent in node.parents)
        )
        for node in order
    ]
