"""Positions for the nodes of a computation graph: layers from top to bottom, few crossings, straight edges.

The method of Sugiyama, Tagawa & Toda (1981) has three steps. First, every node gets a layer. Then the nodes
of a layer are ordered so that few edges cross. Last, each node moves as close as possible to the middle of
its neighbours. A graph is given as ``inputs``: for each node, the numbers of its input nodes. These numbers
are smaller than the node's own number.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

SWEEPS = 24  # sweeps, down and up in turn; each sweep orders or places every layer by its neighbours
LEAF_WEIGHT = 0.1  # other nodes have weight 1, so leaves move and the chain of operations stays straight


class Layout(NamedTuple):
    """The layer and the centre x of each node, and the points of each edge (node, slot).

    An edge enters ``node`` as its operand number ``slot``. The edge has a point (layer, x) in each layer
    between its ends, so that the edge passes around other nodes, not behind them.
    """

    layer: list[int]
    x: list[float]
    bends: dict[tuple[int, int], list[tuple[int, float]]]


class _Links(NamedTuple):
    """The edges between neighbouring layers: each node's sources, and its targets as pairs (node, slot)."""

    above: list[list[int]]
    below: list[list[tuple[int, int]]]

    def port(self, node: int, slot: int) -> float:
        """The position of operand number ``slot`` on the node's top, from -1/2 to 1/2."""
        return (slot + 1) / (len(self.above[node]) + 1) - 0.5


def layers_of(inputs: Sequence[Sequence[int]]) -> list[int]:
    """The layer of each node: one below the lowest of its inputs; a leaf is one above its first user."""
    layer: list[int] = []
    for sources in inputs:
        layer.append(1 + max((layer[source] for source in sources), default=-1))
    for node in range(len(inputs)):
        used_in = [layer[user] for user, sources in enumerate(inputs) if node in sources]
        if not inputs[node] and used_in:
            layer[node] = min(used_in) - 1
    return layer


def place(inputs: Sequence[Sequence[int]], widths: Sequence[float], gap: float) -> Layout:
    """Place boxes of the given widths at least ``gap`` apart. The leftmost x of boxes and bends is 0."""
    count, layer, widths = len(inputs), layers_of(inputs), list(widths)
    above = [list(sources) for sources in inputs]
    passes = {}
    for node in range(count):
        for slot, source in enumerate(inputs[node]):
            passes[node, slot] = _split_edge(node, slot, source, layer, above, widths)
    links = _Links(above, [[] for _ in above])
    for node, sources in enumerate(above):
        for slot, source in enumerate(sources):
            links.below[source].append((node, slot))

    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node in range(len(above)):
        rows[layer[node]].append(node)
    x = _positions(_ordered(rows, links), links, widths, gap)
    left = min(x[node] - widths[node] / 2 for node in range(len(x)))
    x = [position - left for position in x]
    bends = {edge: [(layer[point], x[point]) for point in points] for edge, points in passes.items()}
    return Layout(layer[:count], x[:count], bends)


def _split_edge(node: int, slot: int, source: int, layer: list, above: list, widths: list) -> list[int]:
    """Replace an edge over several layers by one point without width in each layer between."""
    points: list[int] = []
    for between in range(layer[source] + 1, layer[node]):
        above.append([points[-1] if points else source])
        layer.append(between)
        widths.append(0.0)
        points.append(len(above) - 1)
    if points:
        above[node][slot] = points[-1]
    return points


def _ordered(rows: list[list[int]], links: _Links) -> list[list[int]]:
    """Sort the nodes of each row by their neighbours' mean position, row by row, down and up in turn.

    The order with the fewest crossings is returned.
    """
    best, fewest = rows, crossings(rows, links)
    rows = list(rows)
    for sweep in range(SWEEPS):
        if sweep % 2 == 0:
            for r in range(1, len(rows)):
                place_of = _places(rows[r - 1])
                rows[r] = _sorted(rows[r], [[place_of[m] for m in links.above[n]] for n in rows[r]])
        else:
            for r in range(len(rows) - 2, -1, -1):
                place_of = _places(rows[r + 1])
                entered = [[place_of[m] + links.port(m, slot) for m, slot in links.below[n]] for n in rows[r]]
                rows[r] = _sorted(rows[r], entered)
        count = crossings(rows, links)
        if count < fewest:
            best, fewest = list(rows), count
    return best


def _places(row: Sequence[int]) -> dict[int, int]:
    return {node: i for i, node in enumerate(row)}


def _sorted(row: list[int], neighbours: list[list[float]]) -> list[int]:
    """Sort the row by the mean position of each node's neighbours.

    A node without neighbours keeps its position.
    """
    keys = [(fmean(places or [i]), i) for i, places in enumerate(neighbours)]
    return [row[i] for _, i in sorted(keys)]


def crossings(rows: Sequence[Sequence[int]], links: _Links) -> int:
    """The number of crossings of edges between neighbouring rows."""
    count = 0
    for upper, lower in zip(rows, rows[1:], strict=False):
        place_of = _places(upper)
        edges = [
            (place_of[source], i + links.port(node, slot))
            for i, node in enumerate(lower)
            for slot, source in enumerate(links.above[node])
        ]
        for i, (top, bottom) in enumerate(edges):
            count += sum((top - t) * (bottom - b) < 0 for t, b in edges[:i])
    return count


def _positions(rows: list[list[int]], links: _Links, widths: list[float], gap: float) -> list[float]:
    """Start from left-aligned rows, and repeatedly move the nodes of each row towards their neighbours."""
    weights = [1.0 if sources else LEAF_WEIGHT for sources in links.above]
    x = [0.0] * len(widths)
    for sweep in range(SWEEPS + 1):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wishes = [_wish(node, x, links, weights, widths) if sweep else 0.0 for node in row]
            row_weights, row_widths = [weights[n] for n in row], [widths[n] for n in row]
            for node, position in zip(row, spread(wishes, row_weights, row_widths, gap), strict=True):
                x[node] = position
    return x


def _wish(node: int, x: list[float], links: _Links, weights: list[float], widths: list[float]) -> float:
    """The position where the node's edges are straightest: the weighted mean of (other end - own end)."""
    ends = [
        (x[source] - widths[node] * links.port(node, slot), weights[source])
        for slot, source in enumerate(links.above[node])
    ]
    ends += [
        (x[user] + widths[user] * links.port(user, slot), weights[node]) for user, slot in links.below[node]
    ]
    total = sum(weight for _, weight in ends)
    return sum(end * weight for end, weight in ends) / total if ends else x[node]


def spread(
    wishes: Sequence[float], weights: Sequence[float], widths: Sequence[float], gap: float
) -> list[float]:
    """The positions closest to the wishes that keep the order and leave ``gap`` between the boxes.

    The positions minimise the sum of weight · (position - wish)². First, the smallest allowed distance from
    the first box is subtracted from each wish. Then the positions must not decrease. This is isotonic
    regression: neighbours in the wrong order get their weighted mean.
    """
    offsets = [0.0]
    for i in range(1, len(widths)):
        offsets.append(offsets[-1] + (widths[i - 1] + widths[i]) / 2 + gap)
    pools: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, size = wish - offset, 1
        while pools and pools[-1][0] > mean:
            left_mean, left_weight, left_size = pools.pop()
            mean = (left_mean * left_weight + mean * weight) / (left_weight + weight)
            weight, size = left_weight + weight, left_size + size
        pools.append((mean, weight, size))
    level = [mean for mean, _, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(level, offsets, strict=True)]
