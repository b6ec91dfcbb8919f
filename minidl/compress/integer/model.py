"""A network that computes with integers from its input to its logits: layers, report and bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.integer.layers import IntegerLayer, QuantizedPreprocess, Weighted
from minidl.compress.layer_kinds import in_order
from minidl.compress.quantize import QuantParams, dequantize, quantize
from minidl.engine.checks import check_instance, float_images, require
from minidl.engine.tensor import Tensor
from minidl.nn.containers import Sequential
from minidl.nn.efficientnet import Preprocess
from minidl.nn.module import Module
from minidl.nn.table import aligned


class LayerReport(NamedTuple):
    """One row of the report: the scale of the layer's weights (the largest; None without weights), scale
    and zero point of its output (None for sums), the SQNR of the output in dB against the float network (with
    the errors of earlier layers), and the stored bytes."""

    path: str
    kind: str
    weight_scale: float | None
    scale: float | None
    zero_point: int | None
    sqnr: float
    bytes: int


class IntegerModel(Module):
    """A network that takes float images, returns float logits, and computes with integers in between.

    Only one float multiplication remains for each output of a layer (see ``arithmetic.py``).
    x_params: the parameters of the images' integers.  layers: by their paths in the float network, such as
    "block1.conv", in the order in which they run. Each reads integers with the output parameters of the layer
    before.  ``body(quantize(images, x_params))`` returns the last integers.
    It has no state dict; pickle saves it.

    >>> from minidl import nn
    >>> from minidl.compress import integer
    >>> model, images = nn.Sequential(nn.Linear(4, 2)).eval(), np.eye(4, dtype=np.float32)
    >>> integer.quantize_model(model, images).body[0].weight.dtype
    dtype('int8')
    """

    def __init__(
        self, x_params: QuantParams, layers: Mapping[str, Module], rows: Iterable[LayerReport] = ()
    ) -> None:
        require(len(layers) > 0, "an IntegerModel needs at least one layer")
        self.x_params, self.body, self.rows = x_params, nested(layers), tuple(rows)
        self.eval()

    def forward(self, images: Any) -> Tensor:
        images = images.data if isinstance(images, Tensor) else images
        images, layers = float_images("images", images), list(integer_layers_of(self.body).values())
        if isinstance(layers[0], QuantizedPreprocess):
            Preprocess.check(images)
        q = quantize(images, self.x_params)
        return Tensor(reals_of(self.body(q), layers[-1]))

    def report(self) -> str:
        """A table of the layers: see ``LayerReport``; ``rows`` holds the numbers."""
        table: list[tuple[str, ...]] = [("layer", "kind", "S of weights", "S", "Z", "SQNR dB", "bytes")]
        for row in self.rows:
            scales = ("" if S is None else f"{S:.3g}" for S in (row.weight_scale, row.scale))
            zero = "" if row.zero_point is None else str(row.zero_point)
            table.append((row.path, row.kind, *scales, zero, f"{row.sqnr:.1f}", f"{row.bytes:,}"))
        return aligned([*table, ("total", "", "", "", "", "", f"{model_bytes(self):,}")])


def nested(layers: Mapping[str, Module]) -> Sequential:
    """Layers by dotted paths, as a Sequential of Sequentials, so that ``layer(path)`` finds them."""
    whole = Sequential()
    for path, layer in layers.items():
        parent = whole
        *around, name = path.split(".")
        for part in around:
            if part not in vars(parent):
                parent.add_module(part, Sequential())
            parent = vars(parent)[part]
        parent.add_module(name, layer)
    return whole


def integer_layers_of(body: Module) -> dict[str, IntegerLayer]:
    """What the body of an IntegerModel consists of, by paths, in order; joined branches are one layer."""
    return {path: layer for path, layer in in_order(body) if isinstance(layer, IntegerLayer)}


# ---- what it costs


class IntegerStep(NamedTuple):
    """A layer of an IntegerModel, with its path in the float network.

    A second path names the float module with the same outputs."""

    path: str
    layer: IntegerLayer
    float_path: str


def layer_reports(steps: Iterable[IntegerStep], ratios: Mapping[str, float]) -> tuple[LayerReport, ...]:
    """A row for each layer, with its SQNR if known. Shared arrays count as bytes of the first layer."""
    rows: list[LayerReport] = []
    stored: dict[Any, int] = {}
    for path, layer, _ in steps:
        known, y_params = sum(stored.values()), layer.y_params
        stored.update(stored_by(layer))
        weights = float(np.max(layer.w_params.scale)) if isinstance(layer, Weighted) else None
        S, Z = (None, None) if y_params is None else (float(y_params.scale), int(y_params.zero_point))
        kind, ratio = "" if path == "input" else type(layer).__name__, ratios.get(path, math.nan)
        rows.append(LayerReport(path, kind, weights, S, Z, ratio, sum(stored.values()) - known))
    return tuple(rows)


def reals_of(q: np.ndarray, layer: IntegerLayer) -> np.ndarray:
    """The real numbers of a layer's output integers: S (q - Z), or S_x S_w q for sums."""
    if layer.y_params is not None:
        return dequantize(q, layer.y_params)
    return q.astype(np.float32) * layer.scale_of_sums(q.ndim)


def model_bytes(model: Module) -> int:
    """The bytes that a model stores.

    In a float network, each parameter and buffer takes 4 (or its dtype's size).

    In integer layers, each weight takes 1 byte for any number of bits, each channel 8 (int32 bias and float32
    scale), and each activation 8 (scale and zero point).

    >>> from minidl import nn
    >>> from minidl.compress import integer
    >>> integer.model_bytes(nn.Linear(4, 2))  # 8 weights and 2 biases of 4 bytes
    40
    """
    return sum(stored_by(check_instance("model", model, Module)).values())


def stored_by(model: Module) -> dict[Any, int]:
    """Bytes of each array and each QuantParams in a model. Shared ones count once."""
    values = [value for module in model.modules() for value in vars(module).values()]
    stored: dict[Any, int] = {}
    for value in values:
        if isinstance(value, QuantParams) and value.axis is None:
            stored[float(value.scale), value.zero_point, value.qmin, value.qmax] = 8
        elif isinstance(value, QuantParams):
            stored[id(value)] = value.scale.nbytes
        elif isinstance(value, np.ndarray | Tensor):
            stored[id(value)] = (value.data if isinstance(value, Tensor) else value).nbytes
    return stored
