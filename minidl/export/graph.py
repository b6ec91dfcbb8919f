"""An ONNX graph: nodes that read and write named arrays. It is built without the package ``onnx``."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

INPUT, OUTPUT = "input", "logits"
OPSET, IR = 17, 8  # versions of 2022: TensorRT 8.5, ONNX Runtime 1.12 and later programs can read them


class Node(NamedTuple):
    """One operation of ONNX.

    The node and its output have the same name, such as "block1.conv/Conv" in layer block1.conv.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]


class Graph:
    """The nodes in the order in which they run, and ``arrays``: name -> initializer."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.taken = {INPUT, OUTPUT}

    def node(self, layer: str, op_type: str, *inputs: Any, **attributes: Any) -> str:
        """Append a node and return its name. An input is a name or an array; the graph stores the array."""
        name = self.unique(f"{layer}/{op_type}" if layer else op_type)
        names = [x if isinstance(x, str) else self.array(f"{name}.{i}", x) for i, x in enumerate(inputs)]
        self.nodes.append(Node(op_type, name, tuple(names), attributes))
        return name

    def array(self, name: str, array: Any) -> str:
        """Store an array under this name and return the name. If the name is taken, add a number to it."""
        name = self.unique(name)
        self.arrays[name] = np.asarray(array)
        return name

    def unique(self, name: str) -> str:
        """The name, with a number at its end if the name is taken already."""
        new, number = name, 1
        while new in self.taken:
            new, number = f"{name}_{number}", number + 1
        self.taken.add(new)
        return new

    def difference(self, other: Graph) -> str | None:
        """The name of the first node or array that differs from the other graph; None if all are equal."""
        for node, twin in zip_longest(self.nodes, other.nodes):
            if node != twin:
                return (node or twin).name
        for name, array in self.arrays.items():
            if not np.array_equal(array, other.arrays[name], equal_nan=array.dtype.kind == "f"):
                return name
        return None

    def model(
        self, input_shape: tuple[int, ...], output_shape: tuple[int, ...], metadata: dict[str, str]
    ) -> Any:
        """The checked ``onnx.ModelProto``. Its last node gives the output. -1 in a shape is the batch."""
        import onnx
        from onnx import helper, numpy_helper

        last, read = self.nodes[-1].name, {name for node in self.nodes for name in node.inputs}
        nodes = [
            helper.make_node(op, inputs, [OUTPUT if name == last else name], name, **attributes)
            for op, name, inputs, attributes in self.nodes
        ]
        ends = [
            helper.make_tensor_value_info(
                name, onnx.TensorProto.FLOAT, ["batch" if n == -1 else n for n in shape]
            )
            for name, shape in ((INPUT, (-1, *input_shape[1:])), (OUTPUT, output_shape))
        ]
        kept = [(np.asarray(a, order="C"), name) for name, a in self.arrays.items() if name in read]
        arrays = [numpy_helper.from_array(*pair) for pair in kept]
        graph = helper.make_graph(nodes, "minidl", ends[:1], ends[1:], arrays)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="minidl")
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
