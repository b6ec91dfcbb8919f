"""The picture of a computation graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path

from minidl.engine.checks import check_instance, require
from minidl.engine.tensor import Tensor
from minidl.engine.trace import Node, graph
from minidl.figures.layout import Layout, place
from minidl.figures.style import (
    BLACK,
    ORANGE,
    SKY_BLUE,
    SMALL,
    Look,
    new_figure,
    style,
    text_height,
    text_width,
)

MAX_NODES = 80
OPERATION, LEAF, CONSTANT = "result of an operation", "leaf with gradient", "leaf without gradient"
_FILL = {OPERATION: SKY_BLUE, LEAF: ORANGE, CONSTANT: "0.85"}

GAP = 0.3  # inches between boxes of a layer
_ROW_GAP = 0.45  # inches between layers
MARGIN = 0.15
LEGEND = 0.55


def draw_graph(tensor: Tensor) -> Figure:
    """Draw the computation graph of ``tensor``. Inputs are above the results.

    Each box is a tensor. It shows the operation or the name of a leaf, and the shape. A single number also
    shows its value and, after backward, its ``.grad``. Edges enter a box from left to right in the order of
    the operation's operands. Raises ValueError for a graph of more than 80 nodes.

    >>> from minidl import Tensor, figures
    >>> a, b = Tensor(2.0, requires_grad=True, name="a"), Tensor(3.0, name="b")
    >>> figure = figures.draw_graph(a + b)
    >>> len(figure.axes)
    1
    """
    nodes = graph(check_instance("tensor", tensor, Tensor))
    part = "draw a part of it, such as one layer on a detached input, or go through trace.graph(tensor)"
    too_many = f"the graph has {len(nodes)} nodes, but a picture shows at most {MAX_NODES}: {part}"
    require(len(nodes) <= MAX_NODES, too_many)
    inputs, texts = [node.inputs for node in nodes], [_text(node) for node in nodes]
    sizes = [_box_size(text, len(sources)) for text, sources in zip(texts, inputs, strict=True)]
    with style():
        kinds = [_kind(node) for node in nodes]
        figure, _ = boxes_and_edges(inputs, texts, kinds, sizes, _draw_box, list(_FILL))
    return figure


def boxes_and_edges(
    inputs: Sequence[Sequence[int]],
    texts: list[str],
    kinds: list[str],
    sizes: list[tuple[float, float]],
    draw_box: Callable[..., None],
    known_kinds: list[str],
) -> tuple[Figure, Axes]:
    """Draw a box for each node, an edge from each of its ``inputs``, and a legend of the kinds at the top.

    sizes: width and height of each box in inches.  draw_box: a function of (axes, x, y, size, text, kind).
    """
    layout = place(inputs, [width for width, _ in sizes], GAP)
    shown = [kind for kind in known_kinds if kind in kinds]
    figure, axes, rows = canvas(layout, sizes, sum(map(_legend_width, shown)))
    for node, sources in enumerate(inputs):
        for slot, source in enumerate(sources):
            draw_edge(axes, edge_points(layout, rows, sizes, source, node, slot, len(sources)))
    for text, kind, size, x, layer in zip(texts, kinds, sizes, layout.x, layout.layer, strict=True):
        draw_box(axes, x, sum(rows[layer]) / 2, size, text, kind)
    x = min(axes.get_xlim()) + MARGIN
    for kind in shown:
        draw_box(axes, x + 0.15, LEGEND / 2 - 0.05, (0.3, 0.18), "", kind)
        axes.text(x + 0.38, LEGEND / 2 - 0.05, kind, ha="left", va="center", fontsize=SMALL)
        x += _legend_width(kind)
    return figure, axes


def _kind(node: Node) -> str:
    if node.op:
        return OPERATION
    return LEAF if node.tensor.requires_grad else CONSTANT


def _text(node: Node) -> str:
    tensor, name = node.tensor, _shortened(node.tensor.name or "")
    title = f"{name}, from {node.op}" if name and node.op else name or node.op
    if tensor.size == 1:
        value = f"{tensor.item():.4g}"
        facts = f"{tensor.shape}  {value}" if tensor.ndim else value
        if tensor.grad is not None:
            facts += f"\ngrad {tensor.grad.item():.4g}"
    else:
        facts = str(tensor.shape)
    return f"{title}\n{facts}" if title else facts


def _shortened(name: str, longest: int = 28) -> str:
    """Shorten a name at its start, because its end says more, as in features.3.weight."""
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _box_size(text: str, operands: int) -> tuple[float, float]:
    return max(text_width(text) + 0.3, 0.6, 0.14 * operands), text_height(text) + 0.16


def canvas(
    layout: Layout, sizes: list[tuple[float, float]], legend_width: float
) -> tuple[Figure, Axes, list[tuple[float, float]]]:
    """A figure, its axes in inches with y downward, and the y of the top and the bottom of each layer."""
    rows, top = [], LEGEND
    for layer in range(max(layout.layer) + 1):
        height = max(size[1] for size, own in zip(sizes, layout.layer, strict=True) if own == layer)
        rows.append((top, top + height))
        top += height + _ROW_GAP
    right_edges = [x + width / 2 for x, (width, _) in zip(layout.x, sizes, strict=True)]
    right_edges += [x for points in layout.bends.values() for _, x in points]
    width, height = max(right_edges) + 2 * MARGIN, rows[-1][1] + MARGIN
    spare = max(0.0, legend_width - width)
    figure = new_figure(width + spare, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-MARGIN - spare / 2, width - MARGIN + spare / 2), ylim=(height, 0))
    axes.axis("off")
    return figure, axes, rows


def edge_points(
    layout: Layout, rows: list, sizes: list, source: int, node: int, slot: int, slots: int
) -> list[tuple[float, float]]:
    """The points of an edge: from the source's bottom to the operand's position on the node's top.

    Inside a layer the edge is vertical. It bends only between layers, where no boxes are.
    """
    (source_top, source_bottom), (node_top, node_bottom) = (
        rows[layout.layer[source]],
        rows[layout.layer[node]],
    )
    port = layout.x[node] + sizes[node][0] * ((slot + 1) / (slots + 1) - 0.5)
    start = (layout.x[source], (source_top + source_bottom + sizes[source][1]) / 2)
    points = [start, (layout.x[source], source_bottom)]
    for layer, x in layout.bends[node, slot]:
        points += [(x, rows[layer][0]), (x, rows[layer][1])]
    return [*points, (port, node_top), (port, (node_top + node_bottom - sizes[node][1]) / 2)]


def draw_edge(axes: Axes, points: list[tuple[float, float]]) -> None:
    """Draw a curve through the points. The curve is vertical at each of these points."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if y1 - y0 < 1e-6:  # the box is as tall as its layer: without a small length, no arrowhead is drawn
            continue
        middle = (y0 + y1) / 2
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-|>", mutation_scale=9, color="0.35", lw=1.1)
    )


def _draw_box(axes: Axes, x: float, y: float, size: tuple[float, float], text: str, kind: str) -> None:
    """Draw a rectangle, rounded box or hexagon, so that the kind is visible without colour."""
    width, height = size
    look: Look = {"facecolor": _FILL[kind], "edgecolor": "0.2", "linewidth": 1.0, "zorder": 2}
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    if kind == CONSTANT:
        x1, x2 = left + 0.1, right - 0.1
        corners = [(left, y), (x1, top), (x2, top), (right, y), (x2, bottom), (x1, bottom)]
        axes.add_patch(Polygon(corners, closed=True, **look))
    else:
        shape = f"round,pad=0,rounding_size={min(height / 2, 0.2)}" if kind == LEAF else "square,pad=0"
        axes.add_patch(FancyBboxPatch((left, top), width, height, boxstyle=shape, **look))
    axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=BLACK, zorder=3)


def _legend_width(kind: str) -> float:
    return 0.38 + text_width(kind) + 0.25
