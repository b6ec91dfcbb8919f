"""The receptive field of a unit, and the patches of images that excite the unit most."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_instance, check_int, positive_int, require, shown
from minidl.explain.target import float_images, layer_output, with_bar
from minidl.nn import layers, pooling
from minidl.nn.activations import ELU, Hardsigmoid, Hardswish, SiLU, Softplus
from minidl.nn.calls import Call, modules
from minidl.nn.containers import Concat, Residual, Skip
from minidl.nn.efficientnet import Preprocess
from minidl.nn.module import Module
from minidl.train.metrics import batch_slices

POINTWISE = (
    *(layers.ReLU, layers.ReLU6, layers.LeakyReLU, layers.GELU, layers.Tanh, layers.Sigmoid),
    *(layers.BatchNorm, layers.Dropout, layers.Identity, Preprocess),
    *(ELU, Hardsigmoid, Hardswish, SiLU, Softplus),
)
JOINS = (Residual, Concat, Skip)
# Units of these layers see the whole image.
WHOLE_IMAGE = (pooling.AdaptiveAvgPool2d, layers.Flatten, layers.Linear)


class Span(NamedTuple):
    """Along one axis unit p sees pixels start + p step ... start + p step + size - 1.

    With padding it may begin before pixel 0 or end after the last. (inf, 0, -inf) means that units see
    everything.
    """

    size: float
    step: float
    start: float

    def pixels(self, p: int, length: int) -> tuple[int, int]:
        """The first and the last pixel (exclusive) that unit p sees, cut to an image of ``length`` pixels."""
        if self.size == math.inf:
            return 0, length
        first, size = int(self.start + p * self.step), int(self.size)
        return min(max(first, 0), length), max(min(first + size, length), 0)


ONE_PIXEL, EVERYTHING = Span(1, 1, 0), Span(math.inf, 0, -math.inf)


class ReceptiveField(NamedTuple):
    """The pixels that the units of a layer see: a ``Span`` of rows and a ``Span`` of columns."""

    rows: Span
    columns: Span

    def box(self, p: int, q: int, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the box that unit (p, q) sees, cut to the image (H, W)."""
        return (*self.rows.pixels(p, image_size[0]), *self.columns.pixels(q, image_size[1]))


def receptive_field(model: Module, layer: str, input_shape: tuple[int, ...] | None = None) -> ReceptiveField:
    """The smallest box of pixels that units of the layer can depend on, in evaluation mode.

    Convolutions and pooling enlarge it by ``through_window``. A join of branches holds the boxes of all
    branches. Units of global pooling, Flatten and Linear see everything.

    layer: a path for ``model.layer``, such as "block2.relu". For a container, its output counts.
    input_shape: (C, H, W) of an input image; the default has the channels of the first convolution and 32x32
    pixels. It only matters for SamePad2d, whose padding depends on the size.
    Raises ValueError for a layer that does not run exactly once, and for a layer behind a block whose forward
    computes with something other than modules, because its effect on the box is unknown. The error names the
    path of the block.

    >>> from minidl import explain, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3))
    >>> explain.receptive_field(model, "2").rows.size
    5
    """
    wanted = check_instance("model", model, Module).layer(layer)
    shape = _shape(model, input_shape)
    calls = _calls(model, shape)
    runs = sum(call.module is wanted for call in calls)
    require(runs == 1, f"layer {layer!r} ran {runs} times in a pass, but it must run once")

    fields = {0: ReceptiveField(ONE_PIXEL, ONE_PIXEL)}  # number of a tensor -> the field of its units
    sizes = {0: shape[1:], **{call.output: call.output_shape[2:] for call in calls}}
    hidden: dict[int, str] = {}  # number of a tensor -> why its field is unknown
    latest: dict[Module, int] = {}  # a module -> the number of its latest output
    for call in calls:
        latest[call.module] = call.output
        if call.output not in fields:  # otherwise a module inside made it, or it is the unchanged input
            field = _field_after(call, fields, latest, sizes)
            if field is not None:
                fields[call.output] = field
            else:
                hidden.setdefault(call.output, _why_hidden(call, model, fields, hidden, latest))
        if call.module is wanted:
            break
    reason = hidden.get(call.output, "")
    require(call.output in fields, f"the pixels that layer {layer!r} sees are unknown: {reason}")
    return fields[call.output]


def _read(call: Call, latest: dict[Module, int]) -> tuple[int, ...]:
    """The numbers of the tensors that the call reads; for a join, the outputs of its branches."""
    module = call.module
    if isinstance(module, Skip):
        return (*(latest[child] for child in module.children()[-1:]), *call.inputs)
    if isinstance(module, JOINS):
        return tuple(latest[branch] for branch in module.children())
    return call.inputs


def _why_hidden(
    call: Call, model: Module, fields: dict, hidden: dict[int, str], latest: dict[Module, int]
) -> str:
    """The reason why the field of the call's output is unknown, with the path of the layer."""
    read = [n for n in _read(call, latest) if n not in fields]
    if not read and call.module.children():
        return f"{_named(call.path, model)} computes its result in its own forward"
    if not read:
        return f"{_named(call.path, model)} is a layer of an unknown kind"
    block = call.path.rpartition(".")[0]
    reason = f"{_named(block, model)} computes the input of {call.path!r} in its own forward"
    return hidden.get(read[0], reason)


def _named(path: str, model: Module) -> str:
    kind = type(model.layer(path)).__name__
    return f"layer {path!r}, a {kind}," if path else f"the model, a {kind},"


def _field_after(
    call: Call, fields: dict[int, ReceptiveField], latest: dict[Module, int], sizes: dict[int, tuple]
) -> ReceptiveField | None:
    """The field of the units of the call's output; None if unknown. sizes: the sizes of the tensors' maps."""
    module = call.module
    if isinstance(module, JOINS):
        read = _read(call, latest)
        branches = [fields[number] for number in read if number in fields]
        return box_around(branches) if len(branches) == len(read) else None
    field = fields.get(call.inputs[0])
    if field is None or isinstance(module, POINTWISE):
        return field
    if isinstance(module, pooling.AdaptiveAvgPool2d) and module.output_size != (1, 1):
        return None  # its windows have different sizes
    if isinstance(module, WHOLE_IMAGE):
        return ReceptiveField(EVERYTHING, EVERYTHING)
    if isinstance(module, pooling.ZeroPad2d):
        left, _, top, _ = module.sides(*sizes[call.inputs[0]])
        zeros = zip(field, (top, left), strict=True)
        return ReceptiveField(*(through_window(span, 1, 1, before) for span, before in zeros))
    if isinstance(module, layers.Conv2d | pooling.MaxPool2d):
        windows = zip(
            *(module.kernel_size, module.stride, module.padding, getattr(module, "dilation", (1, 1))),
            strict=True,
        )
        return ReceptiveField(*(through_window(span, *one) for span, one in zip(field, windows, strict=True)))
    return None


def through_window(span: Span, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
    """The span of the units of a new layer. It has windows over ``kernel`` old units, which see ``span``.

    A ``Span(size, step, start)`` counts pixels along one axis: a unit sees ``size`` pixels, neighbouring
    units are ``step`` pixels apart, and unit 0 begins at pixel ``start`` (below 0 in the padding).
    In a window, old units are ``dilation`` units apart. Windows are ``stride`` units apart. The first window
    begins ``padding`` units before unit 0.
    Span(inf, 0, -inf) stands for units that see the whole image. For this span, the result is the same span.

    >>> through_window(Span(size=1, step=1, start=0), kernel=3, stride=2, padding=1)
    Span(size=3, step=2, start=-1)
    """
    size, step, start = span
    return Span(size + dilation * (kernel - 1) * step, stride * step, start - padding * step)


def box_around(fields: list[ReceptiveField]) -> ReceptiveField:
    """The smallest field that holds the fields of all branches. ValueError if their steps differ."""
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
        require(channels != [], "the model has no convolution, so its input is unknown: give input_shape")
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
    """For each of C channels, the k images that excite it most, strongest first.

    values: (C, k), the output of the unit.  images: (C, k), numbers of images.  places: (C, k, 2), p and q of
    the unit; (0, 0) in a layer of rows.  boxes: (C, k, 4), top, bottom, left and right of the pixels it sees.
    """

    values: np.ndarray
    images: np.ndarray
    places: np.ndarray
    boxes: np.ndarray

    def crops(self, images: np.ndarray, channel: int) -> list[np.ndarray]:
        """The k patches of a channel, cut from the searched images; smaller at a border."""
        rows = zip(self.images[channel], self.boxes[channel], strict=True)
        return [images[n, :, top:bottom, left:right] for n, (top, bottom, left, right) in rows]


def top_patches(model: Module, layer: str, images: np.ndarray, k: int) -> TopPatches:
    """The k images that excite each channel t of the layer most, and where (Zeiler and Fergus 2014).

        argmax over images x of  max over p, q of  Phi(x)[t, p, q]

    Each image counts once, with its strongest unit. On a tie of images or of units, the first one wins. The
    result for k is the start of the result for k + 1.
    images: (N, channels, H, W), N >= k >= 1. They run in evaluation mode and in their own dtype: a module
    turns a float64 array into float32, but no Tensor. The model, its mode and its ``.grad`` do not change.
    Returns ``TopPatches(values, images, places, boxes)`` for the C channels of the layer, strongest first:
        values (C, k): the units' values, in the dtype of the images.
        images (C, k): the indices of the images.
        places (C, k, 2): row p and column q of each unit, or (0, 0) if the layer's output is (N, C).
        boxes (C, k, 4): the pixels that the unit sees: top, bottom, left, right; bottom, right exclusive.
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
    for part in with_bar(batch_slices(images), "patches"):
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
    """The largest value (N, C) of each map in (N, C, H, W), and its place (N, C, 2): row and column.

    On a tie, the place is the first in reading order: row by row, from left to right.

    >>> strongest_units(np.array([[[[1, 5], [0, 4]]]]))  # one image with one channel
    (array([[5]]), array([[[0, 1]]]))
    """
    n, c, height, width = activations.shape
    flat = activations.reshape(n, c, height * width)
    return flat.max(axis=2), np.stack(np.divmod(flat.argmax(axis=2), width), axis=2)
