"""What excites a unit: how much of the image it sees, and the patches that excite it most."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_instance, check_int, positive_int, require, shown
from minidl.explain.target import batches, float_images, layer_output, with_bar
from minidl.nn import layers
from minidl.nn.activations import ELU, Hardsigmoid, Hardswish, SiLU, Softplus
from minidl.nn.calls import Call, modules
from minidl.nn.containers import Concat, Residual, Skip
from minidl.nn.efficientnet import Preprocess
from minidl.nn.module import Module

POINTWISE = (
    *(layers.ReLU, layers.ReLU6, layers.LeakyReLU, layers.GELU, layers.Tanh, layers.Sigmoid),
    *(layers.BatchNorm, layers.Dropout, layers.Identity, Preprocess),
    *(ELU, Hardsigmoid, Hardswish, SiLU, Softplus),
)
JOINS = (Residual, Concat, Skip)
# What has no place of its own in the image.
WHOLE_IMAGE = (layers.AdaptiveAvgPool2d, layers.Flatten, layers.Linear)


class Span(NamedTuple):
    """Along one axis unit p sees pixels start + p step ... start + p step + size - 1.

    Padding lets it begin before pixel 0 or end after the last. A unit that sees everything: (inf, 0, -inf).
    """

    size: float
    step: float
    start: float

    def pixels(self, p: int, length: int) -> tuple[int, int]:
        """Where what unit p sees begins and ends (exclusive), cut to an image of ``length`` pixels."""
        if self.size == math.inf:
            return 0, length
        first, size = int(self.start + p * self.step), int(self.size)
        return min(max(first, 0), length), max(min(first + size, length), 0)


ONE_PIXEL, EVERYTHING = Span(1, 1, 0), Span(math.inf, 0, -math.inf)


class ReceptiveField(NamedTuple):
    """What the units of a layer see: a ``Span`` of rows and one of columns."""

    rows: Span
    columns: Span

    def box(self, p: int, q: int, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """top, bottom, left, right of what unit (p, q) sees, the ends exclusive, cut to the image (H, W)."""
        return (*self.rows.pixels(p, image_size[0]), *self.columns.pixels(q, image_size[1]))


def receptive_field(model: Module, layer: str, input_shape: tuple[int, ...] | None = None) -> ReceptiveField:
    """The smallest box of pixels that units of the layer can depend on, in evaluation mode.

    It grows through convolutions and pooling by ``through_window``; where branches join it holds those of
    all. Units of global pooling, Flatten and Linear see everything.

    layer: a path for ``model.layer``, such as "block2.relu"; of a container, what it returns.
    input_shape: (C, H, W) of an image that the model takes, by default the channels of its first convolution
    at 32x32. The answer depends on it only through SamePad2d, which lays its zeros as the size demands.
    Raises ValueError for a layer that does not run once, and for one behind a block whose own forward
    computes with something other than modules: what that does to the box cannot be seen. The error names the
    block by its path.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3))
    >>> explain.receptive_field(model, "2").rows.size
    5
    """
    wanted = check_instance("model", model, Module).layer(layer)
    shape = _shape(model, input_shape)
    calls = _calls(model, shape)
    runs = sum(call.module is wanted for call in calls)
    require(runs == 1, f"layer {layer!r} ran {runs} times in a pass, it must run once")

    fields = {0: ReceptiveField(ONE_PIXEL, ONE_PIXEL)}  # number of a tensor -> what its units see
    sizes = {0: shape[1:], **{call.output: call.output_shape[2:] for call in calls}}
    hidden: dict[int, str] = {}  # number of a tensor -> why that cannot be told
    latest: dict[Module, int] = {}  # a module -> the number of its latest output
    for call in calls:
        latest[call.module] = call.output
        if call.output not in fields:  # else a module within has made it, or it is the input handed on
            field = _field_after(call, fields, latest, sizes)
            if field is not None:
                fields[call.output] = field
            else:
                hidden.setdefault(call.output, _why_hidden(call, model, fields, hidden, latest))
        if call.module is wanted:
            break
    reason = hidden.get(call.output, "")
    require(call.output in fields, f"what layer {layer!r} sees cannot be told: {reason}")
    return fields[call.output]


def _read(call: Call, latest: dict[Module, int]) -> tuple[int, ...]:
    """The numbers of the tensors that the call's output is made of; of a join those of its branches."""
    module = call.module
    if isinstance(module, Skip):
        return (*(latest[child] for child in module.children()[-1:]), *call.inputs)
    if isinstance(module, JOINS):
        return tuple(latest[branch] for branch in module.children())
    return call.inputs


def _why_hidden(
    call: Call, model: Module, fields: dict, hidden: dict[int, str], latest: dict[Module, int]
) -> str:
    """Which layer keeps what the call's output sees from being told, by its path, and why."""
    read = [n for n in _read(call, latest) if n not in fields]
    if not read and call.module.children():
        return f"{_named(call.path, model)} computes in a forward of its own what it returns"
    if not read:
        return f"{_named(call.path, model)} is of no known kind"
    block = call.path.rpartition(".")[0]
    reason = f"{_named(block, model)} computes in a forward of its own the input of {call.path!r}"
    return hidden.get(read[0], reason)


def _named(path: str, model: Module) -> str:
    kind = type(model.layer(path)).__name__
    return f"layer {path!r}, a {kind}," if path else f"the model, a {kind},"


def _field_after(
    call: Call, fields: dict[int, ReceptiveField], latest: dict[Module, int], sizes: dict[int, tuple]
) -> ReceptiveField | None:
    """What the units of the call's output see; None if that cannot be told. sizes: of the tensors' maps."""
    module = call.module
    if isinstance(module, JOINS):
        read = _read(call, latest)
        branches = [fields[number] for number in read if number in fields]
        return box_around(branches) if len(branches) == len(read) else None
    field = fields.get(call.inputs[0])
    if field is None or isinstance(module, POINTWISE):
        return field
    if isinstance(module, layers.AdaptiveAvgPool2d) and module.output_size != (1, 1):
        return None  # its windows have different sizes
    if isinstance(module, WHOLE_IMAGE):
        return ReceptiveField(EVERYTHING, EVERYTHING)
    if isinstance(module, layers.ZeroPad2d):
        left, _, top, _ = module.sides(*sizes[call.inputs[0]])
        zeros = zip(field, (top, left), strict=True)
        return ReceptiveField(*(through_window(span, 1, 1, before) for span, before in zeros))
    if isinstance(module, layers.Conv2d | layers.MaxPool2d):
        windows = zip(
            *(module.kernel_size, module.stride, module.padding, getattr(module, "dilation", (1, 1))),
            strict=True,
        )
        return ReceptiveField(*(through_window(span, *one) for span, one in zip(field, windows, strict=True)))
    return None


def through_window(span: Span, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
    """What a unit sees after a layer whose window takes ``kernel`` units that see ``span`` each.

    The units of a window lie ``dilation`` units apart, and two windows ``stride`` units. The first window
    begins ``padding`` units before unit 0. A Span counts pixels, and units lie ``span.step`` pixels apart.
    """
    size, step, start = span
    return Span(size + dilation * (kernel - 1) * step, stride * step, start - padding * step)


def box_around(fields: list[ReceptiveField]) -> ReceptiveField:
    """The smallest field that holds those of all branches. ValueError if they advance by different steps."""
    return ReceptiveField(*(_span_around(spans) for spans in zip(*fields, strict=True)))


def _span_around(spans: tuple[Span, ...]) -> Span:
    if EVERYTHING in spans:
        return EVERYTHING
    steps = {span.step for span in spans}
    require(len(steps) == 1, f"branches advance by different steps, {sorted(steps)}: they share no field")
    start = min(span.start for span in spans)
    return Span(max(span.start + span.size for span in spans) - start, steps.pop(), start)


def _shape(model: Module, input_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if input_shape is None:
        channels = [module.in_channels for module in model.modules() if isinstance(module, layers.Conv2d)]
        require(channels != [], "the model has no convolution that tells what it takes: give input_shape")
        input_shape = (channels[0], 32, 32)
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) == 3
    require(is_shape, f"input_shape must be a tuple (C, H, W), got {shown(input_shape)}", TypeError)
    return tuple(positive_int("each of input_shape", n) for n in input_shape)


def _calls(model: Module, shape: tuple[int, ...]) -> list[Call]:
    try:
        return modules(model, np.zeros((1, *shape), np.float32))
    except ValueError as error:
        message = f"the model does not take an image {shape}, give another input_shape: {error}"
        raise ValueError(message) from error


class TopPatches(NamedTuple):
    """For each of C channels the k images that excite it most, strongest first.

    values: (C, k), the channel's output there.  images: (C, k), their numbers.  places: (C, k, 2), p and
    q of the unit, (0, 0) in a layer of rows.  boxes: (C, k, 4), top, bottom, left and right of what it sees.
    """

    values: np.ndarray
    images: np.ndarray
    places: np.ndarray
    boxes: np.ndarray

    def crops(self, images: np.ndarray, channel: int) -> list[np.ndarray]:
        """The k patches of a channel, cut from the images that were searched; smaller at a border."""
        rows = zip(self.images[channel], self.boxes[channel], strict=True)
        return [images[n, :, top:bottom, left:right] for n, (top, bottom, left, right) in rows]


def top_patches(model: Module, layer: str, images: np.ndarray, k: int) -> TopPatches:
    """The k images that excite each channel t of the layer most, and where (Zeiler and Fergus 2014).

        argmax over images x of  max over p, q of  Phi(x)[t, p, q]

    So an image is there once, by its strongest unit; of equals the first. The k are the first of any more.
    images: (N, C, H, W), N >= k >= 1.  The values have their dtype.
    Raises ValueError for another k, a layer that ``receptive_field`` refuses, and outputs not all finite.

    >>> from minidl import explain, nn
    >>> images = np.float32([[[[0, 1]]], [[[5, 2]]]])
    >>> top = explain.top_patches(nn.Sequential(nn.ReLU()), "0", images, k=1)
    >>> print(top.images[0], top.values[0])
    [1] [5.]
    """
    images = float_images(images, maps=True)
    k = check_int("k, with an image for each patch,", k, 1, len(images))
    field = receptive_field(model, layer, images.shape[1:])
    strongest = []
    for part in with_bar(batches(images), "patches"):
        activations = layer_output(model, images[part], layer)
        if activations.ndim == 2:
            activations = activations[:, :, np.newaxis, np.newaxis]
        is_finite = bool(np.isfinite(activations).all())
        require(is_finite, f"the output of layer {layer!r} is not finite: it has no order")
        strongest.append(strongest_units(activations))
    values, places = (np.concatenate(some) for some in zip(*strongest, strict=True))  # (N, C), (N, C, 2)

    top = np.argsort(-values, axis=0, kind="stable")[:k].T  # (C, k)
    channels = np.arange(len(top))[:, np.newaxis]
    places = places[top, channels]
    size = images.shape[2:]
    boxes = [[field.box(p, q, size) for p, q in row] for row in places]
    return TopPatches(values[top, channels], top, places, np.array(boxes))


def strongest_units(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each map (N, C, H, W) the largest value (N, C) and its place p, q (N, C, 2): the first of equals."""
    n, c, height, width = activations.shape
    flat = activations.reshape(n, c, height * width)
    return flat.max(axis=2), np.stack(np.divmod(flat.argmax(axis=2), width), axis=2)
