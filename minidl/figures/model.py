"""The picture of a network: modules are boxes, data flow is arrows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from minidl.compress.flow import INPUT, Step, cost, flow, launches
from minidl.compress.fused import ConvInto, ConvReLU2d
from minidl.engine.checks import check_instance, require
from minidl.figures.graph import boxes_and_edges
from minidl.figures.style import BLACK, ORANGE, SKY_BLUE, SMALL, Look, style, text_height, text_width
from minidl.nn.layers import BatchNorm, Conv2d, Linear, short
from minidl.nn.module import Module
from minidl.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

MAX_BOXES = 80
SUMS, OTHER, FREE = "launch: convolution or Linear", "launch: anything else", "no launch"
_LOOK: dict[str, Look] = {
    SUMS: {"facecolor": SKY_BLUE, "boxstyle": "square,pad=0"},
    OTHER: {"facecolor": ORANGE, "boxstyle": "round,pad=0,rounding_size=0.08"},
    FREE: {"facecolor": "white", "boxstyle": "square,pad=0", "linestyle": "--"},
}


def draw_model(model: Module, input_shape: tuple[int, ...], title: str = "") -> Figure:
    """Draw the modules of a network from its input (at the top) to its output, with the costs of one image.

    Each box is a module that computes something, or the join of several branches. The box shows the shape of
    its output. A dashed box moves no memory (Flatten, a Concat written in place). Above the boxes are the
    launches, bytes and multiply-adds of ``compress.flow.cost``. input_shape: the shape of one image, (C, H,
    W). Raises ValueError for more than 80 boxes.

    >>> from minidl import figures, nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> print(figures.draw_model(model, (3, 64, 64)).axes[0].get_title())
    3 launches, 572 KB of activations moved, 0.83 million multiply-adds
    """
    check_instance("title", title, str)
    costs = cost(model, input_shape)
    steps = flow(model, np.zeros((1, *input_shape), np.float32))
    too_many = f"a picture of more than {MAX_BOXES} boxes cannot be read, got {len(steps)} steps: draw a part"
    require(len(steps) < MAX_BOXES, too_many)
    inputs = [()] + [tuple(source - INPUT for source in step.sources) for step in steps]  # 0 is the input
    texts = ["input\n" + _shape((1, *input_shape))] + [_text(step) for step in steps]
    kinds = [FREE] + [_kind(step.module) for step in steps]
    sizes = [(max(text_width(text) + 0.3, 0.9), text_height(text) + 0.16) for text in texts]
    with style():
        figure, axes = boxes_and_edges(inputs, texts, kinds, sizes, _draw_box, list(_LOOK))
        numbers = f"{costs.launches} launches, {costs.bytes / 1000:,.0f} KB of activations moved"
        numbers += f", {costs.multiply_adds / 1e6:.2f} million multiply-adds"
        axes.set_title(f"{title}\n{numbers}" if title else numbers)
    return figure


def _kind(module: Module) -> str:
    if not launches(module):
        return FREE
    return SUMS if isinstance(module, Conv2d | Linear) else OTHER


def _text(step: Step) -> str:
    return f"{_name(step.module)}\n{_shape(step.shape)}"


def _shape(shape: tuple[int, ...]) -> str:
    """The shape for one image, such as 16 × 8 × 8."""
    return " × ".join(map(str, shape[1:])) or "a number"


def _name(module: Module) -> str:
    if isinstance(module, Conv2d):
        relu = isinstance(module, ConvReLU2d) or (isinstance(module, ConvInto) and module.limits[0] == 0)
        return f"{_window(module, 'conv')}{' + ReLU' if relu else ''}"
    if isinstance(module, MaxPool2d):
        return _window(module, "mean pool" if isinstance(module, AvgPool2d) else "max pool")
    names = {AdaptiveAvgPool2d: "mean of each channel", BatchNorm: "BatchNorm"}
    for kind, name in names.items():
        if isinstance(module, kind):
            return name
    words = {"Residual": "add", "Concat": "concat", "InPlaceConcat": "concat, in place"}
    return words.get(type(module).__name__, type(module).__name__)


def _window(module: Conv2d | MaxPool2d, what: str) -> str:
    height, width = module.kernel_size
    stride = f", stride {short(module.stride)}" if module.stride != (1, 1) else ""
    return f"{height}×{width} {what}{stride}"


def _draw_box(axes: Axes, x: float, y: float, size: tuple[float, float], text: str, kind: str) -> None:
    width, height = size
    look: Look = {"edgecolor": "0.2", "linewidth": 1.0, "zorder": 2, **_LOOK[kind]}
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, **look))
    axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=BLACK, zorder=3)
