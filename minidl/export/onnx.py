"""Write a network as an ONNX file, for ONNX Runtime, TensorRT and Netron."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from minidl.compress.integer.model import IntegerModel
from minidl.data.files import written_whole
from minidl.engine.checks import (
    check_choice,
    check_images,
    check_instance,
    check_path,
    check_sequence,
    require,
)
from minidl.engine.tensor import Tensor
from minidl.export.floats import float_graph
from minidl.export.integers import integer_graph
from minidl.nn.module import Module

FORMATS = ("qdq", "qoperator")


def to_onnx(
    model: Module,
    example: Any,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str] | None = None,
    format: str = "qdq",
) -> None:
    """Write ``model`` to ``path`` as an ONNX file of opset 17, with ``input``, ``logits`` and a free batch.

    A float network, fused or not, becomes the graph of all operations that it runs in evaluation mode, in
    layers and in functions. The arrays have the keys of ``state_dict``. The metadata's "class_names" is a
    JSON list of the names.

    An ``IntegerModel`` becomes a network of the same integers. ``format="qoperator"`` writes integer layers
    (QLinearConv, MatMulInteger), which compute exactly like minidl. ``format="qdq"`` writes each layer in
    floats, between a DequantizeLinear and a QuantizeLinear. Runtimes merge these three nodes to an integer
    layer of their own. The activations are 0 ... 255, 128 higher than in the model. In this format a runtime
    can give another integer where it rounds a number close to a half differently. TensorRT reads only the
    float networks, because its integers have no zero points.

    model: a module that returns one Tensor.  example: floats (N, ...), the input for a run of the model. In
    the file N is free, and the other lengths are the example's.  class_names: one text for each logit.
    Raises ValueError with the path of a layer that ONNX cannot express, and ImportError without the package
    onnx. If an error is raised, no file is written.

    >>> from minidl import export, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((4, 1, 8, 8), np.float32)
    >>> export.to_onnx(model, images[:1], "digits.onnx", class_names=list("0123456789"))  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("digits.onnx")  # doctest: +SKIP
    >>> (logits,) = session.run(None, {"input": images})  # doctest: +SKIP
    """
    check_instance("model", model, Module)
    example = example.data if isinstance(example, Tensor) else example
    example = check_images("example", example).astype(np.float32, copy=False)
    path = check_path("path", path)
    names = None if class_names is None else list(check_sequence("class_names", class_names))
    are_texts = names is None or all(isinstance(name, str) for name in names)
    require(are_texts, f"class_names must be texts, got {names!r:.80}", TypeError)
    check_choice("format", format, FORMATS)
    require(find_spec("onnx") is not None, "to_onnx needs onnx: pip install 'minidl[onnx]'", ImportError)

    if isinstance(model, IntegerModel):
        graph, shape = integer_graph(model, example, format)
    else:
        graph, shape = float_graph(model, example)
    fits = names is None or shape[-1:] == (len(names),)
    require(fits, f"class_names must have one name for each logit, got {len(names or ())} for logits {shape}")
    metadata = {} if names is None else {"class_names": json.dumps(names, ensure_ascii=False)}
    content = graph.model(example.shape, shape, metadata).SerializeToString()
    with written_whole(path) as file:
        file.write(content)
