"""A trained network made into one that computes with integers from its input to its logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.compress.calibrate import (
    Histogram,
    entropy_threshold,
    max_threshold,
    mse_threshold,
    percentile_threshold,
)
from minidl.compress.fuse import fuse
from minidl.compress.fused import ConvReLU2d
from minidl.compress.integer.layers import (
    IntegerConcat,
    IntegerFlatten,
    IntegerMaxPool2d,
    QuantizedAvgPool2d,
    QuantizedConv2d,
    QuantizedLinear,
    QuantizedReLU,
    QuantizedRescale,
    QuantizedResidual,
)
from minidl.compress.quantize import (
    QuantParams,
    affine_params,
    checked_reals,
    dequantize,
    integer_range,
    quantize,
)
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn import layers as nn
from minidl.nn.containers import Concat, Residual, Sequential
from minidl.nn.functional import relu
from minidl.nn.module import Module
from minidl.nn.table import aligned

CALIBRATIONS = ("max", "percentile", "mse", "entropy")


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
        if not layers:
            raise ValueError("an IntegerModel needs at least one layer")
        self.x_params, self.body, self.rows = x_params, nested(layers), tuple(rows)
        self.eval()

    def forward(self, images: Any) -> Tensor:
        q = quantize(images.data if isinstance(images, Tensor) else images, self.x_params)
        return Tensor(self.reals(self.body(q)))

    def reals(self, q: np.ndarray) -> np.ndarray:
        """What the integers that the body gives stand for: S (q - Z), or S_x S_w q of sums."""
        makers = [layer for _, layer in flat(self.body) if hasattr(layer, "y_params")]
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


def quantize_model(
    model: Module,
    calibration_images: Any,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    calibration: str = "entropy",
) -> IntegerModel:
    """The network with integer weights and activations, without any training.

    BatchNorm and ReLU are folded (``fuse``). Weights are symmetric; activations affine, in ranges that the
    calibration images (N, C, H, W) fix: "max" spans all that occurs, "percentile", "mse" and "entropy" clip
    (see ``calibrate``). A last Conv2d or Linear is not rounded again: its sums are the logits.

    model: in evaluation mode, of Conv2d, Linear, BatchNorm, ReLU, max and average pooling, Flatten, Identity,
    Dropout in Sequential, Residual and Concat. ValueError for others.  bits: 2 … 8.  per_channel: of weights.
    """
    for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
        if integer_range(bits)[1] > 127:
            raise ValueError(f"{name} must be within [2, 8], got {bits}: products of 8 bits fit 32-bit sums")
    images = checked_images(model, calibration_images, calibration)
    model = fuse(model, images[:1])
    settings = Settings(weight_bits, activation_bits, per_channel, calibration)
    x_params = activation_params(images, settings)
    flow, report = Flow(images, quantize(images, x_params), x_params), Report()
    report.add("input", Sequential(), flow)
    with no_grad():
        layers, _ = quantize_steps(flat(model), flow, settings, report)
    return IntegerModel(x_params, layers, report.rows)


def checked_images(model: Module, images: Any, calibration: str) -> np.ndarray:
    """The images (N, ...) to calibrate with as float32, or the error that says what cannot be calibrated."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    hooked = [path or "the model" for path, module in model.named_modules() if module._hooks]
    if hooked:
        raise ValueError(f"forward hooks have no place in a rounded network: remove those of {hooked[0]}")
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}, got {calibration!r}")
    images = checked_reals("calibration_images", images)
    if images.ndim < 2 or images.size == 0:
        raise ValueError(f"calibration_images must be a batch (N, ...), none of them 0, got {images.shape}")
    return images


class Settings(NamedTuple):
    weight_bits: int
    activation_bits: int
    per_channel: bool
    calibration: str


class Flow(NamedTuple):
    """What passes between two layers: the float network's reals, and the integers with their parameters."""

    x: np.ndarray
    q: np.ndarray
    params: QuantParams


def activation_params(r: np.ndarray, settings: Settings) -> QuantParams:
    """Of the range of r, clipped at a threshold on both sides; reals of one sign have twice the levels."""
    low, high = min(float(r.min()), 0.0), max(float(r.max()), 0.0)
    bits = settings.activation_bits
    levels = bits + (low == 0 or high == 0)
    T = {
        "max": max_threshold,
        "percentile": percentile_threshold,
        "mse": lambda histogram: mse_threshold(histogram, levels),
        "entropy": lambda histogram: entropy_threshold(histogram, levels),
    }[settings.calibration](Histogram().add(r))
    return affine_params(max(low, -T), min(high, T), bits)


def flat(module: Module, path: str = "") -> list[tuple[str, Module]]:
    """The modules that run one after the other, with their paths: a Sequential is what it consists of, any
    other module stands alone, with the path that was given."""
    if runs_as(module, Sequential):
        inside = [flat(child, f"{path}.{name}" if path else name) for name, child in module.named_children()]
        return [step for steps in inside for step in steps]
    return [] if runs_as(module, nn.Identity, nn.Dropout) else [(path, module)]


def runs_as(module: Module, *kinds: type) -> bool:
    """Whether the module does what one of the kinds does, and not something of its own."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


def quantize_steps(
    steps: list[tuple[str, Module]], flow: Flow, settings: Settings, report: Report, inner: str = ""
) -> tuple[dict[str, Module], Flow]:
    """Each step made of integers, with what has passed it; ``inner``: the path of the module around them."""
    layers: dict[str, Module] = {}
    while steps:
        (path, module), *steps = steps
        x = module(Tensor(flow.x))
        clamps = not runs_as(module, nn.MaxPool2d, nn.Flatten, nn.ReLU)
        if clamps and steps and runs_as(steps[0][1], nn.ReLU):
            x, steps = relu(x), steps[1:]
        full_path = path_of(path, inner)
        is_logits = not steps and not inner and runs_as(module, nn.Conv2d, nn.Linear)
        layer, params = integer_layer(full_path, module, flow, x.data, settings, report, is_logits)
        layers[path_of(path)], flow = layer, Flow(x.data, layer(flow.q), params)
        report.add(full_path, layer, flow)
    return layers, flow


def path_of(path: str, inner: str = "") -> str:
    """The path of a module within the one at ``inner``; of a whole model that is no Sequential, "model"."""
    return ".".join(part for part in (inner, path) if part) or "model"


def integer_layer(
    path: str, module: Module, flow: Flow, y: np.ndarray, settings: Settings, report: Report, is_logits: bool
) -> tuple[Module, QuantParams | None]:
    """The integer layer that does what ``module`` does, giving y, and the parameters of its output."""
    if runs_as(module, nn.MaxPool2d):
        return IntegerMaxPool2d(module.kernel_size, module.stride, module.padding), flow.params
    if runs_as(module, nn.Flatten):
        return IntegerFlatten(), flow.params
    if runs_as(module, nn.ReLU):
        return QuantizedReLU(flow.params), flow.params
    y_params = None if is_logits else activation_params(y, settings)
    if runs_as(module, nn.Conv2d, ConvReLU2d, nn.Linear):
        kind = QuantizedLinear if isinstance(module, nn.Linear) else QuantizedConv2d
        weights = {"bits": settings.weight_bits, "per_channel": settings.per_channel}
        return kind.from_float(module, flow.params, y_params, **weights), y_params
    if runs_as(module, nn.AdaptiveAvgPool2d):
        return QuantizedAvgPool2d(flow.params, y_params), y_params
    if runs_as(module, nn.AvgPool2d):
        window = module.kernel_size, module.stride, module.padding
        return QuantizedAvgPool2d(flow.params, y_params, *window), y_params
    if runs_as(module, Residual, Concat):
        branches = {
            name: quantize_steps(flat(branch), flow, settings, report, f"{path}.{name}")
            for name, branch in module.named_children()
        }
        return joined(module, branches, y_params), y_params
    raise ValueError(f"{path}: {type(module).__name__} has no counterpart that computes with integers")


def joined(module: Module, branches: Mapping[str, tuple[dict, Flow]], y_params: QuantParams) -> Module:
    """The sum or the concatenation of branches, of which each is (its layers, what has passed them)."""
    chains = {name: nested(layers) for name, (layers, _) in branches.items()}
    params = {name: flow.params for name, (_, flow) in branches.items()}
    if isinstance(module, Residual):
        ends = chains["body"], chains["shortcut"], params["body"], params["shortcut"]
        return QuantizedResidual(*ends, y_params)
    for name, chain in chains.items():
        if "rescale" in vars(chain):
            raise ValueError(f"no module of a Concat's branch can be named 'rescale', as in branch {name!r}")
        chain.add_module("rescale", QuantizedRescale(params[name], y_params))
    return IntegerConcat(chains)


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


class Report:
    """The rows of an IntegerModel's report; what several layers share is stored for the first of them."""

    def __init__(self) -> None:
        self.rows: list[LayerReport] = []
        self.stored: dict[Any, int] = {}

    def add(self, path: str, layer: Module, flow: Flow) -> None:
        weight_scale, S, Z = None, None, None
        kind = "" if path == "input" else type(layer).__name__
        if hasattr(layer, "w_params"):
            weight_scale = float(np.max(layer.w_params.scale))
        if flow.params is not None:
            S, Z = float(flow.params.scale), flow.params.zero_point
        reals = reals_of(flow.q, layer, flow.params)
        known = sum(self.stored.values())
        self.stored.update(stored_by(layer, flow.params))
        new = sum(self.stored.values()) - known
        self.rows.append(LayerReport(path, kind, weight_scale, S, Z, noise_ratio(flow.x, reals), new))


def reals_of(q: np.ndarray, layer: Module, params: QuantParams | None) -> np.ndarray:
    """S (q - Z); without parameters S_x S_w q, as the layer's sums."""
    if params is not None:
        return dequantize(q, params)
    return q.astype(np.float32) * scale_of_sums(layer, q.ndim)


def scale_of_sums(layer: Module, axes: int) -> np.ndarray:
    """S_x S_w of each output channel, so shaped that it broadcasts against sums (N, O, ...)."""
    return (layer.x_params.scale * layer.w_params.scale).reshape(-1, *[1] * (axes - 2))


def noise_ratio(r: np.ndarray, approximation: np.ndarray) -> float:
    """10 log10(sum r² / sum (r - approximation)²) in dB."""
    r = r.astype(np.float64)
    signal, noise = float(np.sum(r**2)), float(np.sum((r - approximation) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def model_bytes(model: Module) -> int:
    """Bytes of all that a model stores: parameters and buffers of a float network, each 4 (or its dtype's).

    Of integer layers: 1 a weight, whatever its bits, and 8 a channel, for int32 bias and float32 scale; and 8
    for the scale and zero point of each activation.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    return sum(stored_by(model).values())


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
