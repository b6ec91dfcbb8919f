"""The ONNX form of each operation of the engine: one line of ``OPERATIONS`` for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from minidl.compress.fused import ConvReLU
from minidl.compress.quantize import FakeQuantize
from minidl.engine import activations, conv, elementwise, linalg, normalize, reduce, shape
from minidl.engine.op import Op
from minidl.engine.resample import Resample
from minidl.export.graph import Graph

LAST = np.iinfo(np.int64).max  # stands for the end of an axis of any length


@dataclass
class Step:
    """One operation of a network: the names and shapes of its inputs, and the shape of its output.

    -1 in a shape is the length of the batch. ``state`` holds the keys of a model's arrays by their ``id``.
    """

    graph: Graph
    layer: str
    state: Mapping[int, str]
    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]

    def node(self, op_type: str, *inputs: Any, **attributes: Any) -> str:
        """Append a node of ONNX and return its name. An input is a name, a number, or an array."""
        floats = [np.float32(x) if isinstance(x, float) else x for x in inputs]
        named = [x if isinstance(x, str) else self.state.get(id(x), x) for x in floats]
        return self.graph.node(self.layer, op_type, *named, **attributes)

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{at(self.layer)}{why}")


def at(layer: str) -> str:
    """The start of an error message."""
    return f"layer {layer!r}: " if layer else ""


# ---- layers


def window(kernel_size, stride, padding, dilation=None) -> dict[str, Any]:
    """The common attributes of ONNX's convolutions and poolings."""
    attributes = {"kernel_shape": kernel_size, "strides": stride, "pads": (*padding, *padding)}
    return attributes | ({"dilations": dilation} if dilation else {})


def conv2d(step: Step, op: conv.Conv2d) -> str:
    return step.node("Conv", *step.inputs, **window(*op.geometry), group=op.groups)


def conv_relu(step: Step, op: ConvReLU) -> str:
    y = conv2d(step, op)
    return step.node("Relu", y) if op.most == math.inf else step.node("Clip", y, 0.0, op.most)


def pooled(op_type: str, **attributes: Any) -> Callable[[Step, Any], str]:
    """Write a pooling. ``ceil_mode`` adds windows at the end of the image, so the padding there is wider."""

    def nodes(step: Step, op: conv.Pool2d) -> str:
        ends = []
        for size, places, kernel, stride, padding in zip(
            step.shapes[0][2:], step.shape[2:], *op.geometry, strict=True
        ):
            ends.append(max(padding, (places - 1) * stride + kernel - size - padding))
        geometry = window(*op.geometry) | {"pads": (*op.geometry[2], *ends)}
        return step.node(op_type, *step.inputs, **geometry, **attributes)

    return nodes


def linear(step: Step, op: linalg.Linear) -> str:
    x, weight, *bias = step.inputs
    if len(step.shape) == 2:
        return step.node("Gemm", x, weight, *bias, transB=1)
    y = step.node("MatMul", x, step.node("Transpose", weight, perm=(1, 0)))
    return step.node("Add", y, *bias) if bias else y


def batch_norm(step: Step, op: normalize.BatchNorm) -> str:
    if op.uses_batch:
        step.refuse("in ONNX a network is in evaluation mode, and this BatchNorm uses the batch's statistics")
    return step.node("BatchNormalization", *step.inputs, op.mean, op.var, epsilon=op.eps)


def gelu(step: Step, op: activations.GELU) -> str:
    """Write x (1 + erf(x / sqrt 2)) / 2 with several operations. Before opset 20, ONNX has no Gelu."""
    (x,) = step.inputs
    twice_phi = step.node("Add", step.node("Erf", step.node("Div", x, math.sqrt(2))), 1.0)
    return step.node("Mul", x, step.node("Div", twice_phi, 2.0))


def gelu_tanh(step: Step, op: activations.GELUTanh) -> str:
    """Write x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 with several operations."""
    (x,) = step.inputs
    bent = step.node("Add", x, step.node("Mul", step.node("Pow", x, 3.0), 0.044715))
    twice_phi = step.node("Add", step.node("Tanh", step.node("Mul", bent, math.sqrt(2 / math.pi))), 1.0)
    return step.node("Mul", x, step.node("Div", twice_phi, 2.0))


def resample(step: Step, op: Resample) -> str:
    y = step.node("MatMul", op.rows.astype(np.float32), *step.inputs)
    return step.node("MatMul", y, op.columns.T.astype(np.float32))


def softplus(step: Step, op: activations.Softplus) -> str:
    """Write log(1 + e^(beta x)) / beta. Above the threshold minidl returns x; in float32 this is equal."""
    if op.threshold < 20:
        step.refuse(
            f"ONNX's Softplus has no threshold, but this one has {op.threshold:g}; 20 or more changes nothing"
        )
    scaled = step.inputs[0] if op.beta == 1 else step.node("Mul", *step.inputs, float(op.beta))
    y = step.node("Softplus", scaled)
    return y if op.beta == 1 else step.node("Div", y, float(op.beta))


# ---- over axes


def reduced(op_type: str) -> Callable[[Step, Any], str]:
    """Write a reduction with its axes as an attribute.

    Before opset 18, ReduceSum is the only reduction that takes its axes as an input.
    """

    def nodes(step: Step, op: reduce.Reduction) -> str:
        if not op.axes:  # which would stand for all
            return step.node("Identity", *step.inputs)
        return step.node(op_type, *step.inputs, axes=op.axes, keepdims=op.keepdims)

    return nodes


def sums(step: Step, op: reduce.Sum) -> str:
    axes = np.array(op.axes, np.int64)
    return step.node("ReduceSum", *step.inputs, axes, keepdims=op.keepdims, noop_with_empty_axes=1)


def mean(step: Step, op: reduce.Mean) -> str:
    if op.axes == (2, 3) and op.keepdims and len(step.shape) == 4:
        return step.node("GlobalAveragePool", *step.inputs)
    return reduced("ReduceMean")(step, op)


def var(step: Step, op: reduce.Var) -> str:
    (x,) = step.inputs
    centred = step.node("Sub", x, step.node("ReduceMean", x, axes=op.axes, keepdims=1))
    squares = step.node("ReduceMean", step.node("Mul", centred, centred), axes=op.axes, keepdims=op.keepdims)
    return step.node("Mul", squares, op.count / float(op.n)) if op.ddof else squares


def softmax(op_type: str) -> Callable[[Step, Any], str]:
    def nodes(step: Step, op: reduce.Softmax | reduce.LogSoftmax) -> str:
        if len(op.axes) != 1:
            step.refuse(f"ONNX has a softmax over one axis, but this one is over {op.axes}")
        z = step.inputs[0] if op.temperature == 1 else step.node("Div", *step.inputs, op.temperature)
        return step.node(op_type, z, axis=op.axes[0])

    return nodes


# ---- shape


def reshape(step: Step, op: Op) -> str:
    """Reshape to the shape of the result. The length of the batch follows from the other lengths."""
    if step.shape.count(-1) > 1:
        step.refuse(f"in ONNX one length of a shape may follow the batch, not several as in {step.shape}")
    if step.shape == (-1, math.prod(step.shapes[0][1:])):
        return step.node("Flatten", *step.inputs, axis=1)
    return step.node("Reshape", *step.inputs, np.array(step.shape, np.int64))


def broadcast(step: Step, op: shape.BroadcastTo) -> str:
    new, old = step.shape, (1,) * (len(step.shape) - len(step.shapes[0])) + step.shapes[0]
    if any(wide == -1 != narrow for wide, narrow in zip(new, old, strict=True)):
        step.refuse("an array cannot be repeated for each image of the batch: use broadcasting by + or *")
    return step.node("Expand", *step.inputs, np.array([max(n, 1) for n in new], np.int64))


def squeeze(step: Step, op: shape.Squeeze) -> str:
    ones = [i for i, n in enumerate(step.shapes[0]) if n == 1]
    axes = ones if op.axis is None else reduce.normalize_axis(op.axis, len(step.shapes[0]))
    return step.node("Squeeze", *step.inputs, np.array(axes, np.int64))


def stack(step: Step, op: shape.Stack) -> str:
    axis = np.array([op.axis], np.int64)
    return step.node("Concat", *(step.node("Unsqueeze", x, axis) for x in step.inputs), axis=op.axis)


def pad(step: Step, op: shape.Pad) -> str:
    before, after = zip(*op.pad_width, strict=True)
    return step.node("Pad", *step.inputs, np.array([*before, *after], np.int64), op.value)


def get_item(step: Step, op: shape.GetItem) -> str:
    """Write x[index]. A slice or number becomes a Slice, an array a Gather, and None a new axis."""
    index = op.index if isinstance(op.index, tuple) else (op.index,)
    place = next((i for i, part in enumerate(index) if part is ...), len(index))
    named = sum(part is not None and part is not ... for part in index)
    index = (*index[:place], *[slice(None)] * (len(step.shapes[0]) - named), *index[place + 1 :])
    if not all(part is None or type(part) in (int, slice) for part in index):
        return gather(step, index)

    (y,) = step.inputs
    read = [part for part in index if part is not None]  # one for each axis of x
    cut = {axis: part for axis, part in enumerate(read) if part != slice(None)}
    if cut:
        starts, ends, steps = (np.array(row) for row in zip(*map(limits, cut.values()), strict=True))
        y = step.node("Slice", y, starts, ends, np.array(list(cut)), steps)
    picked = [axis for axis, part in cut.items() if isinstance(part, int)]
    y = step.node("Squeeze", y, np.array(picked)) if picked else y
    given = [part for part in index if not isinstance(part, int)]  # one for each axis of y
    new = [axis for axis, part in enumerate(given) if part is None]
    y = step.node("Unsqueeze", y, np.array(new)) if new else y
    return y if cut or new else step.node("Identity", y)


def gather(step: Step, index: tuple) -> str:
    """Write x[index] for an index of arrays as np.ix_ makes them, one array for each of neighbouring axes."""
    arrays = {axis: np.asarray(part) for axis, part in enumerate(index) if not isinstance(part, slice | None)}
    axes, (y,) = list(arrays), step.inputs
    meshed = all(
        array.dtype.kind in "iu" and array.shape == (array.size,) + (1,) * (axes[-1] - axis)
        for axis, array in arrays.items()
    )
    only = all(part == slice(None) for axis, part in enumerate(index) if axis not in arrays)
    if not (meshed and only and axes == list(range(axes[0], axes[-1] + 1))):
        step.refuse(
            "arrays as indices can be exported only if np.ix_ made the arrays and all other axes are whole"
        )
    for axis, array in arrays.items():
        y = step.node("Gather", y, array.ravel().astype(np.int64), axis=axis)
    return y


def limits(part: int | slice) -> tuple[int, int, int]:
    """Start, end and step of a slice. A number i is a slice of one element."""
    if isinstance(part, int):
        return part, part + 1 or LAST, 1
    step = 1 if part.step is None else part.step
    first, last = (0, LAST) if step > 0 else (LAST, -LAST)
    return first if part.start is None else part.start, last if part.stop is None else part.stop, step


# ---- the table


def same(op_type: str, **attributes: Any) -> Callable[[Step, Any], str]:
    """Write an ONNX operation that has the same inputs and outputs as the engine's operation."""
    return lambda step, op: step.node(op_type, *step.inputs, **attributes)


OPERATIONS: dict[type[Op], Callable[[Step, Any], str]] = {
    activations.ELU: lambda step, op: step.node("Elu", *step.inputs, alpha=op.alpha),
    activations.GELU: gelu,
    activations.GELUTanh: gelu_tanh,
    activations.Hardsigmoid: same("HardSigmoid", alpha=1 / 6, beta=0.5),
    activations.Hardswish: same("HardSwish"),
    activations.LeakyReLU: lambda step, op: step.node("LeakyRelu", *step.inputs, alpha=op.negative_slope),
    activations.SiLU: lambda step, op: step.node("Mul", *step.inputs, step.node("Sigmoid", *step.inputs)),
    activations.Softplus: softplus,
    elementwise.Abs: same("Abs"),
    elementwise.Add: same("Add"),
    elementwise.Clip: lambda step, op: step.node("Clip", *step.inputs, op.low, op.high),
    elementwise.Cos: same("Cos"),
    elementwise.Div: same("Div"),
    elementwise.Exp: same("Exp"),
    elementwise.Log: same("Log"),
    elementwise.Maximum: same("Max"),
    elementwise.Minimum: same("Min"),
    elementwise.Mul: same("Mul"),
    elementwise.Neg: same("Neg"),
    elementwise.Pow: same("Pow"),
    elementwise.ReLU: same("Relu"),
    elementwise.ReLU6: lambda step, op: step.node("Clip", *step.inputs, 0.0, 6.0),
    elementwise.Root: same("Sqrt"),
    elementwise.Sigmoid: same("Sigmoid"),
    elementwise.Sin: same("Sin"),
    elementwise.Sqrt: same("Sqrt"),
    elementwise.Sub: same("Sub"),
    elementwise.Tanh: same("Tanh"),
    elementwise.Where: lambda step, op: step.node("Where", op.condition, *step.inputs),
    conv.AvgPool2d: pooled("AveragePool", count_include_pad=1),
    conv.Conv2d: conv2d,
    ConvReLU: conv_relu,
    FakeQuantize: lambda step, op: step.refuse("rounded in floats: export the result of ``convert``"),
    conv.MaxPool2d: pooled("MaxPool"),
    linalg.Einsum: lambda step, op: step.node(
        "Einsum", *step.inputs, equation=f"{','.join(op.terms)}->{op.result}"
    ),
    linalg.Linear: linear,
    linalg.MatMul: same("MatMul"),
    normalize.BatchNorm: batch_norm,
    reduce.CumSum: lambda step, op: step.node("CumSum", *step.inputs, np.array(op.axis, np.int64)),
    reduce.LogSoftmax: softmax("LogSoftmax"),
    reduce.LogSumExp: reduced("ReduceLogSumExp"),
    reduce.Max: reduced("ReduceMax"),
    reduce.Mean: mean,
    reduce.Min: reduced("ReduceMin"),
    reduce.Prod: reduced("ReduceProd"),
    reduce.Softmax: softmax("Softmax"),
    reduce.Sum: sums,
    reduce.Var: var,
    Resample: resample,
    shape.AsType: same("Identity"),  # in the file all is float32
    shape.BroadcastTo: broadcast,
    shape.Concatenate: lambda step, op: step.node("Concat", *step.inputs, axis=op.axis),
    shape.ExpandDims: lambda step, op: step.node("Unsqueeze", *step.inputs, np.array(op.axis)),
    shape.GetItem: get_item,
    shape.Pad: pad,
    shape.Reshape: reshape,
    shape.Squeeze: squeeze,
    shape.Stack: stack,
    shape.Transpose: lambda step, op: step.node("Transpose", *step.inputs, perm=op.axes),
}
