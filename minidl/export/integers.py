"""The graph of an ``IntegerModel``: each layer in floats between two roundings, or in integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.integer import layers as integer
from minidl.compress.integer.model import IntegerModel
from minidl.compress.layer_kinds import in_order, runs_as
from minidl.compress.quantize import QuantParams, quantize
from minidl.engine.checks import require
from minidl.export.graph import INPUT, Graph
from minidl.export.operations import window
from minidl.nn.containers import Sequential
from minidl.nn.module import Module, dotted

ONE = np.float32(1)
FLOAT, INT64 = 1, 7  # the numbers of the types in onnx.TensorProto


class Grid(NamedTuple):
    """The map from integers to reals, and how the file stores it: names of arrays, and a type of integers.

    shift: the file's integers are higher than the model's by this number.
    """

    params: QuantParams
    scale: str
    zero_point: str
    shift: int
    dtype: np.dtype


class Integers(NamedTuple):
    """The output of a layer: its name, its grid, and its integers for the example."""

    name: str
    grid: Grid
    values: np.ndarray


def integer_graph(model: IntegerModel, example: np.ndarray, format: str) -> tuple[Graph, tuple[int, ...]]:
    """The graph of ``model`` and the shape of its output, in which -1 is the batch."""
    write = Writer(Graph(), in_integers=format == "qoperator")
    grid = write.grid(INPUT, model.x_params)
    q = Integers(write.rounded(INPUT, INPUT, grid), grid, quantize(example, model.x_params))
    *inner, (end, last) = in_order(model.body)
    q = write.chain(inner, q)
    shape = last(q.values).shape[1:]
    if getattr(last, "y_params", q.grid.params) is None:  # a layer that gives floats
        write.node(end, last, q, None)
    else:
        write.reals("", write.layer(end, last, q))
    return write.graph, (-1, *shape)


@dataclass
class Writer:
    """Writes layers into ``graph``.

    The method for a kind of layer takes the layer's path, the layer, its input and the grid of its output. It
    returns the name of the value. in_integers: use ONNX's integer layers. Operations that ONNX has only in
    floats then get scales that give exactly the integers of minidl.
    """

    graph: Graph
    in_integers: bool

    def chain(self, layers: list[tuple[str, Module]], q: Integers) -> Integers:
        """Write layers that run one after the other. Each layer comes with its path."""
        for path, module in layers:
            q = self.layer(path, module, q)
        return q

    def layer(self, path: str, module: Module, q: Integers) -> Integers:
        if runs_as(module, Sequential):
            return self.chain(in_order(module, path), q)
        y_params = getattr(module, "y_params", q.grid.params)
        grid = q.grid if y_params is q.grid.params else self.grid(path, y_params)
        return Integers(self.node(path, module, q, grid), grid, module(q.values))

    def node(self, path: str, module: Module, q: Integers, grid: Grid | None) -> str:
        """Write a layer. It gives integers of the grid, or floats if the grid is None."""
        lacks = f"layer {path!r}: {type(module).__name__} has no counterpart in ONNX"
        require(type(module) in LAYERS, lacks)
        return LAYERS[type(module)](self, path, module, q, grid)

    def grid(self, path: str, params: QuantParams) -> Grid:
        """The grid of an output in the file.

        In the format with floats all integers are 0 ... 255: on most processors, ONNX Runtime makes integer
        layers only from such integers. So 128 is added to integers -128 ... 127, and to their Z."""
        shift = 128 if params.qmin < 0 and not self.in_integers else 0
        dtype = np.dtype(np.uint8) if shift else params.dtype
        scale = self.graph.array(f"{path}.scale", params.scale)
        zero_point = self.graph.array(f"{path}.zero_point", dtype.type(params.zero_point + shift))
        return Grid(params, scale, zero_point, shift, dtype)

    # ---- between floats and integers

    def rounded(self, path: str, x: str, grid: Grid, scale: Any = None) -> str:
        """Write clip(round(x / S) + Z) for floats x. A given ``scale`` replaces S."""
        S = grid.scale if scale is None else scale
        return self.clipped(path, self.graph.node(path, "QuantizeLinear", x, S, grid.zero_point), grid)

    def clipped(self, path: str, q: str, grid: Grid) -> str:
        """Write a Clip to qmin and qmax. ONNX's own operations clip only to the range of 8 bits."""
        ends = np.array([grid.params.qmin, grid.params.qmax]) + grid.shift
        return q if np.ptp(ends) == 255 else self.graph.node(path, "Clip", q, *ends.astype(grid.dtype))

    def reals(self, path: str, q: Integers, scale: Any = None) -> str:
        """Write S (q - Z). A given ``scale`` replaces S."""
        S = q.grid.scale if scale is None else scale
        return self.graph.node(path, "DequantizeLinear", q.name, S, q.grid.zero_point)

    # ---- layers with weights

    def weighted(self, path: str, module: integer.Weighted, q: Integers, grid: Grid | None) -> str:
        """Write a QuantizedConv2d or QuantizedLinear."""
        arrays = {"weight": module.weight, "bias": module.bias, "weight_scale": module.w_params.scale}
        arrays["weight_zero_point"] = np.zeros(np.shape(module.w_params.scale), np.int8)
        names = {name: self.graph.array(f"{path}.{name}", array) for name, array in arrays.items()}
        write = self.in_whole_numbers if self.in_integers else self.in_floats
        return write(path, module, q, grid, **names)

    def in_floats(self, path, module, q, grid, weight, bias, weight_scale, weight_zero_point) -> str:
        S = self.graph.array(f"{path}.bias_scale", module.x_params.scale * module.w_params.scale)
        x = self.reals(path, q)
        w = self.graph.node(path, "DequantizeLinear", weight, weight_scale, weight_zero_point, axis=0)
        b = self.graph.node(path, "DequantizeLinear", bias, S, axis=0)
        if isinstance(module, integer.QuantizedLinear):
            y = self.graph.node(path, "Gemm", x, w, b, transB=1)
        else:
            y = self.graph.node(path, "Conv", x, w, b, **geometry(module))
        return y if grid is None else self.rounded(path, y, grid)

    def in_whole_numbers(self, path, module, q, grid, weight, bias, weight_scale, weight_zero_point) -> str:
        is_linear = isinstance(module, integer.QuantizedLinear)
        if grid and not is_linear:
            x, w = (q.name, q.grid.scale, q.grid.zero_point), (weight, weight_scale, weight_zero_point)
            inputs = *x, *w, grid.scale, grid.zero_point, bias
            y = self.graph.node(path, "QLinearConv", *inputs, **geometry(module))
            return self.clipped(path, y, grid)
        if is_linear:
            columns = self.graph.node(path, "Transpose", weight, perm=(1, 0))
            sums = self.graph.node(path, "MatMulInteger", q.name, columns, q.grid.zero_point)
        else:
            sums = self.graph.node(path, "ConvInteger", q.name, weight, q.grid.zero_point, **geometry(module))
            bias = self.graph.node(path, "Unsqueeze", bias, np.array([1, 2]))
        M = module.x_params.scale * module.w_params.scale  # S_x S_w; with rounding S_x S_w / S_y
        M = M if grid is None else M / grid.params.scale
        M = self.graph.array(f"{path}.M", M if is_linear or M.ndim == 0 else M[:, np.newaxis, np.newaxis])
        sums = self.graph.node(path, "Cast", self.graph.node(path, "Add", sums, bias), to=FLOAT)
        y = self.graph.node(path, "Mul", sums, M)
        return y if grid is None else self.rounded(path, y, grid, ONE)

    # ---- layers without

    def moved(self, path: str, q: Integers, grid: Grid, op_type: str, *inputs: Any, **attributes: Any) -> str:
        """Write a layer that only moves or selects integers."""
        if self.in_integers:
            return self.graph.node(path, op_type, q.name, *inputs, **attributes)
        y = self.graph.node(path, op_type, self.reals(path, q), *inputs, **attributes)
        return self.graph.node(path, "QuantizeLinear", y, grid.scale, grid.zero_point)

    def relu(self, path: str, module: integer.QuantizedReLU, q: Integers, grid: Grid) -> str:
        return self.moved(path, q, grid, *(("Max", grid.zero_point) if self.in_integers else ("Relu",)))

    def flatten(self, path: str, module: integer.IntegerFlatten, q: Integers, grid: Grid) -> str:
        return self.moved(path, q, grid, "Flatten", axis=1)

    def max_pool(self, path: str, module: integer.IntegerMaxPool2d, q: Integers, grid: Grid) -> str:
        attributes = window(module.kernel_size, module.stride, module.padding)
        return self.moved(path, q, grid, "MaxPool", **attributes)

    def zero_pad(self, path: str, module: integer.IntegerZeroPad2d, q: Integers, grid: Grid) -> str:
        left, right, top, bottom = module.sides(*q.values.shape[2:])
        value = grid.zero_point if self.in_integers else np.float32(0)
        return self.moved(path, q, grid, "Pad", np.array([0, 0, top, left, 0, 0, bottom, right]), value)

    def avg_pool(self, path: str, module: integer.QuantizedAvgPool2d, q: Integers, grid: Grid) -> str:
        """Write average pooling.

        In the integer format, a convolution with ones sums the n pixels of a window. Its scale is n S_y.
        """
        kernel_size = module.kernel_size or q.values.shape[2:]
        place = window(kernel_size, module.stride or kernel_size, module.padding)
        if self.in_integers:
            channels = q.values.shape[1]
            ones = np.ones((channels, 1, *kernel_size), np.int8)
            S_y = np.float32(math.prod(kernel_size)) * grid.params.scale
            arrays = (
                (q.name, q.grid.scale, q.grid.zero_point),
                (ones, ONE, np.int8(0)),
                (S_y, grid.zero_point),
            )
            y = self.graph.node(path, "QLinearConv", *sum(arrays, ()), **place, group=channels)
            return self.clipped(path, y, grid)
        x = self.reals(path, q)
        if module.kernel_size:
            y = self.graph.node(path, "AveragePool", x, **place, count_include_pad=1)
        else:
            y = self.graph.node(path, "GlobalAveragePool", x)
        return self.rounded(path, y, grid)

    def preprocess(self, path: str, module: integer.QuantizedPreprocess, q: Integers, grid: Grid) -> str:
        centred = self.graph.node(path, "Sub", self.reals(path, q), np.float32(module.mean))
        return self.rounded(path, self.graph.node(path, "Div", centred, np.float32(module.std)), grid)

    def lookup(self, path: str, module: integer.QuantizedLookup, q: Integers, grid: Grid) -> str:
        """Write a lookup. Row r of the table begins at index r 2^b. That entry is the result for qmin."""
        rows, codes = module.table.shape
        starts = np.arange(rows).reshape(-1, *[1] * (q.values.ndim - 2)) * codes
        lowest = module.x_params.qmin + q.grid.shift
        place = self.graph.node(path, "Add", self.graph.node(path, "Cast", q.name, to=INT64), starts - lowest)
        table = (module.table.ravel().astype(int) + grid.shift).astype(grid.dtype)
        return self.graph.node(path, "Gather", self.graph.array(f"{path}.table", table), place)

    def rescale(self, path: str, module: integer.QuantizedRescale, q: Integers, grid: Grid) -> str:
        """Write a rescale.

        In the format with floats, a Clip is between the two roundings. It changes no number. Without it, ONNX
        Runtime would merge the two roundings."""
        if self.in_integers:
            return self.summed(path, [q], grid)
        ends = np.array([grid.params.qmin, grid.params.qmax]) - grid.params.zero_point
        x = self.reals(path, q)
        return self.rounded(
            path, self.graph.node(path, "Clip", x, *(ends * grid.params.scale).astype(np.float32)), grid
        )

    def residual(self, path: str, module: integer.QuantizedResidual, q: Integers, grid: Grid) -> str:
        branches = [self.layer(dotted(path, name), getattr(module, name), q) for name in ("body", "shortcut")]
        return self.summed(path, branches, grid)

    def summed(self, path: str, terms: list[Integers], grid: Grid) -> str:
        """Write the sum of the terms' reals.

        In the integer format, all scales are first divided by S_y. Sum replaces Add, of which ONNX Runtime
        would make a QLinearAdd, and that rounds in another way.
        """
        step = grid.params.scale
        scales = [q.grid.params.scale / step if self.in_integers else None for q in terms]
        reals = [self.reals(path, q, scale) for q, scale in zip(terms, scales, strict=True)]
        add = "Sum" if self.in_integers else "Add"
        y = reals[0] if len(reals) == 1 else self.graph.node(path, add, *reals)
        return self.rounded(path, y, grid, ONE if self.in_integers else None)

    def concat(self, path: str, module: integer.IntegerConcat, q: Integers, grid: Grid) -> str:
        """Write a Concat.

        In the format with floats, the branches are joined as reals. One rounding of the joined reals then
        replaces the rescale of each branch.
        """
        named = [(dotted(path, name), child) for name, child in module.named_children()]
        if self.in_integers:
            return self.graph.node(path, "Concat", *(self.layer(*child, q).name for child in named), axis=1)
        branches = [self.chain(in_order(child, inner)[:-1], q) for inner, child in named]
        reals = [self.reals(path, branch) for branch in branches]
        return self.rounded(path, self.graph.node(path, "Concat", *reals, axis=1), grid)


def geometry(module: integer.QuantizedConv2d) -> dict[str, Any]:
    kernel_size = module.weight.shape[2:]
    return window(kernel_size, module.stride, module.padding, module.dilation) | {"group": module.groups}


LAYERS: dict[type[Module], Callable[..., str]] = {
    integer.IntegerConcat: Writer.concat,
    integer.IntegerFlatten: Writer.flatten,
    integer.IntegerMaxPool2d: Writer.max_pool,
    integer.IntegerZeroPad2d: Writer.zero_pad,
    integer.QuantizedAvgPool2d: Writer.avg_pool,
    integer.QuantizedConv2d: Writer.weighted,
    integer.QuantizedLinear: Writer.weighted,
    integer.QuantizedLookup: Writer.lookup,
    integer.QuantizedPreprocess: Writer.preprocess,
    integer.QuantizedReLU: Writer.relu,
    integer.QuantizedRescale: Writer.rescale,
    integer.QuantizedResidual: Writer.residual,
}
