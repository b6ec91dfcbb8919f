from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from minidl.figures.layout import layers_of, place, spread

GAP = 0.3
sizes = st.floats(0.2, 2.0)


@st.composite
def graphs(draw):
    """Inputs of up to 12 nodes, each from earlier ones, and a width for each."""
    count = draw(st.integers(1, 12))
    inputs = [tuple(draw(st.lists(st.integers(0, n - 1), max_size=3))) if n else () for n in range(count)]
    return inputs, [draw(sizes) for _ in range(count)]


@given(graphs())
def test_every_node_stands_below_its_inputs_and_the_first_layer_is_used(graph):
    layer = layers_of(graph[0])
    assert min(layer) == 0
    for node, sources in enumerate(graph[0]):
        assert all(layer[source] < layer[node] for source in sources)


def test_a_leaf_stands_right_above_the_first_operation_that_uses_it():
    # x -> a -> b, and w is an input only of b
    assert layers_of([(), (0,), (), (1, 2)]) == [0, 1, 1, 2]


@given(graphs())
def test_no_box_of_a_layer_comes_closer_than_the_gap_to_another_or_to_a_passing_edge(graph):
    inputs, widths = graph
    layout = place(inputs, widths, GAP)
    boxes = [(layer, x, width) for layer, x, width in zip(layout.layer, layout.x, widths, strict=True)]
    boxes += [(layer, x, 0.0) for points in layout.bends.values() for layer, x in points]
    for (layer_a, x_a, width_a), (layer_b, x_b, width_b) in combinations(boxes, 2):
        if layer_a == layer_b:
            assert abs(x_a - x_b) >= (width_a + width_b) / 2 + GAP - 1e-9
    assert min(x - width / 2 for _, x, width in boxes) == pytest.approx(0)


@given(graphs())
def test_an_edge_passes_each_layer_between_its_ends_once(graph):
    inputs, widths = graph
    layout = place(inputs, widths, GAP)
    for node, sources in enumerate(inputs):
        for slot, source in enumerate(sources):
            passed = [layer for layer, _ in layout.bends[node, slot]]
            assert passed == list(range(layout.layer[source] + 1, layout.layer[node]))


def test_a_chain_runs_straight_down():
    layout = place([(), (0,), (1,), (2,)], [1.0, 2.0, 0.5, 1.0], GAP)
    assert layout.layer == [0, 1, 2, 3]
    assert layout.x == pytest.approx([1.0] * 4)  # half of the widest box


def test_edges_that_need_not_cross_do_not():
    # two chains, a0 -> b1 and a1 -> b0 in the order of their numbers, joined at the end
    inputs = [(), (), (1,), (0,), (3, 2)]
    layout = place(inputs, [1.0] * 5, GAP)
    assert (layout.x[0] - layout.x[1]) * (layout.x[3] - layout.x[2]) > 0
    assert layout.x[3] < layout.x[2]  # 3 is the left operand


def test_spread_keeps_wishes_that_leave_room():
    assert spread([1.0, 3.0, 7.0], [1, 1, 1], [1.0, 1.0, 1.0], 0.5) == pytest.approx([1.0, 3.0, 7.0])


def test_spread_moves_two_boxes_apart_in_proportion_to_their_weights():
    assert spread([0.0, 0.0], [1, 1], [1.0, 1.0], 1.0) == pytest.approx([-1.0, 1.0])
    assert spread([0.0, 0.0], [3, 1], [1.0, 1.0], 1.0) == pytest.approx([-0.5, 1.5])


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 3), sizes), min_size=1, max_size=6))
def test_spread_is_the_least_squares_solution(boxes):
    wishes, weights, widths = map(np.array, zip(*boxes, strict=True))
    least = np.r_[0, np.cumsum((widths[:-1] + widths[1:]) / 2 + GAP)]
    # position = least + first + sum of steps, with steps >= 0: a bounded least-squares problem
    steps, root = np.tril(np.ones((len(wishes), len(wishes)))), np.sqrt(weights)
    bounds = (np.r_[-np.inf, np.zeros(len(wishes) - 1)], np.inf)
    best = lsq_linear(root[:, None] * steps, root * (wishes - least), bounds, method="bvls")
    assert spread(wishes, weights, widths, GAP) == pytest.approx(least + steps @ best.x, abs=1e-6)
