"""A network that computes with integers from its input to its logits: its layers, its report, its bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.kinds import in_order
from minidl.compress.quantize import QuantParams, dequantize, quantize
from minidl.engine.checks import check_instance, float_images, require
from minidl.engine.tensor import Tensor
from minidl.nn.containers import Sequential
from minidl.nn.module import Module
from minidl.nn.table import aligned


class LayerReport(NamedTuple):
    """Of one layer: its weights' scale (of several the largest; None without weights), scale
    and zero point of its output (None for sums), the output's SQNR in dB against the float network's, with
    all errors made before, and the bytes that are stored for it."""

    path: str
    kind: str
    weight_scale: float | None
    scale: float | None
    zero_point: int | None
    sqnr: float
    bytes: int


class IntegerModel(Module):
    """Images in, logits out as floats, and nothing but integers between: one multiplication by a float for
    each output of a layer is all (see ``integer``).

    x_params: what the images' integers stand for.  layers: by their paths in the float network, such as
    "block1.conv", in the order in which they run; each reads integers with the parameters that the one
    before gives.  ``body(quantize(images, x_params))`` are the integers that it ends with.
    """

    def __init__(
        self, x_params: QuantParams, layers: Mapping[str, Module], rows: Iterable[LayerReport] = ()
    ) -> None:
        require(len(layers) > 0, "an IntegerModel needs at least one layer")
        self.x_params, self.body, self.rows = x_params, nested(layers), tuple(rows)
        self.eval()

    def forward(self, images: Any) -> Tensor:
        images = images.data if isinstance(images, Tensor) else images
        q = quantize(float_images("images", images), self.x_params)
        return Tensor(self.reals(self.body(q)))

    def reals(self, q: np.ndarray) -> np.ndarray:
        """What the integers that the body gives stand for: S (q - Z), or S_x S_w q of sums."""
        makers = [layer for _, layer in in_order(self.body) if hasattr(layer, "y_params")]
        if not makers:
            return dequantize(q, self.x_params)
        return reals_of(q, makers[-1], makers[-1].y_params)

    def report(self) -> str:
        """A table of the layers: see ``LayerReport``; ``rows`` holds the numbers."""
        table = [("layer", "kind", "S of weights", "S", "Z", "SQNR dB", "bytes")]
        for row in self.rows:
            scales = ("" if S is None else f"{S:.3g}" for S in (row.weight_scale, row.scale))
            zero = "" if row.zero_point is None else str(row.zero_point)
            table.append((row.path, row.kind, *scales, zero, f"{row.sqnr:.1f}", f"{row.bytes:,}"))
        return aligned([*table, ("total", "", "", "", "", "", f"{model_bytes(self):,}")])


def nested(layers: Mapping[str, Module]) -> Sequential:
    """Layers by dotted paths as a Sequential of Sequentials, so that ``layer(path)`` finds them again."""
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


# ---- what it costs


class IntegerStep(NamedTuple):
    """A layer of an IntegerModel by its path in the float network, the parameters of what it gives (None for
    sums), and the path of the float module whose outputs those integers stand for."""

    path: str
    layer: Module
    params: QuantParams | None
    float_path: str


def layer_reports(steps: Iterable[IntegerStep]) -> list[LayerReport]:
    """A row for each, without SQNR; what several layers share is stored for the first of them."""
    rows, stored = [], {}
    for path, layer, params, _ in steps:
        known = sum(stored.values())
        stored.update(stored_by(layer, params))
        weights = float(np.max(layer.w_params.scale)) if hasattr(layer, "w_params") else None
        S, Z = (None, None) if params is None else (float(params.scale), params.zero_point)
        kind = "" if path == "input" else type(layer).__name__
        rows.append(LayerReport(path, kind, weights, S, Z, math.nan, sum(stored.values()) - known))
    return rows


def reals_of(q: np.ndarray, layer: Module, params: QuantParams | None) -> np.ndarray:
    """S (q - Z); without parameters S_x S_w q, as the layer's sums."""
    if params is not None:
        return dequantize(q, params)
    return q.astype(np.float32) * scale_of_sums(layer, q.ndim)


def scale_of_sums(layer: Module, axes: int) -> np.ndarray:
    """S_x S_w of each output channel, so shaped that it broadcasts against sums (N, O, ...)."""
    return (layer.x_params.scale * layer.w_params.scale).reshape(-1, *[1] * (axes - 2))


def model_bytes(model: Module) -> int:
    """Bytes of all that a model stores: parameters and buffers of a float network, each 4 (or its dtype's).

    Of integer layers: 1 a weight, whatever its bits, and 8 a channel, for int32 bias and float32 scale; and 8
    for the scale and zero point of each activation.
    """
    return sum(stored_by(check_instance("model", model, Module)).values())


def stored_by(model: Module, *others: Any) -> dict[Any, int]:
    """Bytes of each array and each QuantParams in a model, each once, however many layers share it."""
    values = [value for module in model.modules() for value in vars(module).values()]
    stored: dict[Any, int] = {}
    for value in (*values, *others):
        if isinstance(value, QuantParams) and value.axis is None:
            stored[float(value.scale), value.zero_point, value.qmin, value.qmax] = 8
        elif isinstance(value, QuantParams):
            stored[id(value)] = value.scale.nbytes
        elif isinstance(value, np.ndarray | Tensor):
            stored[id(value)] = (value.data if isinstance(value, Tensor) else value).nbytes
    return stored
