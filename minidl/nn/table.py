"""A table of a model's layers and their costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minidl.engine.checks import check_ints, check_sequence
from minidl.nn.calls import Call, modules
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, Parameter


def summary(model: Module, input_shape: tuple[int, ...]) -> str:
    """A table of the layers in the order in which they run: output shape, parameters, multiply-adds.

    ``input_shape`` is the shape of one image, (C, H, W); the costs are for one image, too. Multiply-adds are
    counted for Conv2d and Linear. A layer that runs twice lists its parameters at the first run.

    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    >>> print(nn.summary(model, (3, 3, 3)))
    layer  kind     output     parameters  multiply-adds
    ----------------------------------------------------
    0      Conv2d   (8, 1, 1)         224            216
    1      ReLU     (8, 1, 1)           0              0
    2      Flatten  (8,)                0              0
    3      Linear   (2,)               18             16
    total                             242            232
    """
    shape = check_ints("input_shape", check_sequence("input_shape", input_shape), empty=True)
    rows: list[tuple[str, str, tuple[int, ...], int, int]] = []
    counted: set[int] = set()
    for call in modules(model, np.zeros((1, *shape), np.float32)):
        own = [p for p in vars(call.module).values() if isinstance(p, Parameter) and id(p) not in counted]
        counted.update(map(id, own))
        if own or not call.module.children():
            kind = type(call.module).__name__
            count = sum(p.size for p in own)
            rows.append((call.path or kind, kind, call.output_shape[1:], count, multiply_adds(call)))
    trained = sum(p.size for p in model.parameters() if p.requires_grad)
    total = sum(p.size for p in model.parameters())
    table = [("layer", "kind", "output", "parameters", "multiply-adds")]
    table += [(path, kind, str(out), f"{count:,}", f"{cost:,}") for path, kind, out, count, cost in rows]
    table += [("total", "", "", f"{total:,}", f"{sum(row[-1] for row in rows):,}")]
    if trained < total:
        table += [("trained", "", "", f"{trained:,}", "")]
    return aligned(table)


def multiply_adds(call: Call) -> int:
    """The number of products in one call on one image: outputs times inputs per output."""
    if isinstance(call.module, Conv2d | Linear):
        return math.prod(call.output_shape[1:]) * math.prod(call.module.weight.shape[1:])
    return 0


def aligned(table: Sequence[tuple[str, ...]]) -> str:
    """Rows of texts as aligned lines: words to the left, numbers (the last two columns) to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        words = [text.ljust(width) for text, width in zip(row[:-2], widths[:-2], strict=True)]
        numbers = [text.rjust(width) for text, width in zip(row[-2:], widths[-2:], strict=True)]
        lines.append("  ".join(words + numbers))
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:]])
