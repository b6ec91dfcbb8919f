from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.transforms import Affine2D

from minidl import Tensor, stack
from minidl.figures import draw_graph

LEGEND = {"result of an operation", "leaf with gradient", "leaf without gradient"}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def nodes(figure):
    return [text for text in figure.axes[0].texts if text.get_text() and text.get_text() not in LEGEND]


def node_texts(figure):
    return sorted(text.get_text() for text in nodes(figure))


def edges(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def course(edge):
    """Points along the edge, without its head."""
    # curves become polygons with an accuracy of one dot
    in_dots = edge.get_path().transformed(Affine2D().scale(1000))
    return in_dots.to_polygons(closed_only=False)[0] / 1000


def boxes(figure):
    """The patches of the nodes: those that are neither edges nor the small samples of the legend."""
    found = [p for p in figure.axes[0].patches if not isinstance(p, FancyArrowPatch)]
    return [p for p in found if p.get_path().get_extents(p.get_patch_transform()).height > 0.2]


def extents(patch):
    return patch.get_path().get_extents(patch.get_patch_transform())


def test_a_box_shows_operation_name_shape_and_the_value_of_a_single_number():
    x = Tensor(np.zeros((2, 3), np.float32), name="x")
    w = Tensor(np.ones((3, 1), np.float32), requires_grad=True, name="w")
    y = (x @ w).sum() + 2.5
    y.name = "y"
    assert node_texts(draw_graph(y)) == sorted(
        ["x\n(2, 3)", "w\n(3, 1)", "MatMul\n(2, 1)", "Sum\n0", "2.5", "y, from Add\n2.5"]
    )


def test_the_gradient_of_a_single_number_is_shown_after_backward():
    a, b = (Tensor(v, requires_grad=True, name=n) for v, n in ((2.0, "a"), (-3.0, "b")))
    product = a * b
    product.backward()
    assert node_texts(draw_graph(product)) == sorted(["a\n2\ngrad -3", "b\n-3\ngrad 2", "Mul\n-6"])


def test_a_long_name_keeps_its_end():
    x = Tensor(1.0, name="a" * 40 + ".weight")
    (text,) = node_texts(draw_graph(x))
    assert text.split("\n")[0].endswith(".weight") and text.startswith("…") and len(text) == 28 + len("\n1")


def test_operations_and_both_kinds_of_leaf_differ_in_shape_and_in_colour():
    figure = draw_graph(Tensor(1.0, requires_grad=True) * Tensor(2.0))
    kinds = set()
    for box in boxes(figure):
        shape = type(box.get_boxstyle()) if isinstance(box, FancyBboxPatch) else Polygon
        kinds.add((shape, to_hex(box.get_facecolor())))
    assert len(kinds) == len({shape for shape, _ in kinds}) == len({colour for _, colour in kinds}) == 3


def test_the_legend_names_the_kinds_that_occur_and_no_others():
    leaf = Tensor(1.0, requires_grad=True)
    assert LEGEND.intersection(texts(draw_graph(leaf))) == {"leaf with gradient"}
    assert LEGEND.intersection(texts(draw_graph(Tensor(1.0)))) == {"leaf without gradient"}
    assert LEGEND.intersection(texts(draw_graph(leaf * 2))) == LEGEND


def test_a_number_used_twice_by_one_operation_has_two_edges_into_it():
    x = Tensor(3.0, requires_grad=True)
    assert len(edges(draw_graph(x * x + x))) == 4


def test_edges_enter_from_left_to_right_in_the_order_of_the_operands():
    a, b = Tensor(5.0, requires_grad=True, name="a"), Tensor(3.0, requires_grad=True, name="b")
    for left, right in ((a, b), (b, a)):
        figure = draw_graph(left - right)
        x = {text.get_text()[0]: text.get_position()[0] for text in nodes(figure)}
        assert x[left.name] < x["S"] < x[right.name]
        (_, first_end), (_, second_end) = sorted(
            (line[0, 0], line[-1, 0]) for line in map(course, edges(figure))
        )
        assert first_end < x["S"] < second_end


def test_each_edge_has_an_arrowhead_that_points_down():
    for edge in edges(draw_graph(residual_network())):
        _, head = edge.get_path().to_polygons(closed_only=False)
        x, y = head[1]  # the tip; y grows downward
        assert y > max(head[0, 1], head[2, 1])
        assert min(head[0, 0], head[2, 0]) < x < max(head[0, 0], head[2, 0])


def residual_network():
    h = Tensor(np.ones((4, 8), np.float32), name="x")
    for i in range(3):
        w = Tensor(np.ones((8, 8), np.float32), requires_grad=True, name=f"layers.{i}.weight")
        bias = Tensor(np.ones(8, np.float32), requires_grad=True, name=f"layers.{i}.bias")
        h = (h @ w + bias).relu() + h
    return (h**2).mean()


@pytest.mark.parametrize("tensor", [residual_network(), stack([Tensor(1.0, requires_grad=True)] * 3).sum()])
def test_boxes_do_not_overlap_and_stay_within_the_picture_with_their_text(tensor):
    figure = draw_graph(tensor)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    drawn = [box.get_window_extent() for box in boxes(figure)]
    for a, b in combinations(drawn, 2):
        assert not a.overlaps(b)
    for text in nodes(figure):
        extent = text.get_window_extent()
        assert any(box.x0 <= extent.x0 and extent.x1 <= box.x1 for box in drawn if box.overlaps(extent))
        assert inside.x0 <= extent.x0 and extent.x1 <= inside.x1
        assert inside.y0 <= extent.y0 and extent.y1 <= inside.y1


def test_the_edge_that_skips_layers_passes_beside_their_boxes():
    x = Tensor(1.0, requires_grad=True)
    y = x.exp()
    y.name = "a name that makes its box wide"
    rows = stack([x * i for i in range(12)])
    for z in (x + y.log(), y.log() + x, residual_network(), rows.sum() + rows.exp().sum()):
        figure = draw_graph(z)
        boxes_drawn = [extents(box) for box in boxes(figure)]
        for line in map(course, edges(figure)):
            for box in boxes_drawn:
                assert not ((line > box.min + 0.02) & (line < box.max - 0.02)).all(axis=1).any()


def test_a_graph_of_80_nodes_is_drawn_and_one_of_82_refused_with_its_size():
    y = Tensor(1.0, requires_grad=True)
    for _ in range(79):
        y = -y
    assert len(nodes(draw_graph(y))) == 80
    with pytest.raises(ValueError, match="82 nodes, but a picture shows at most 80"):
        draw_graph(y + 1)


def test_only_a_tensor_has_a_graph():
    with pytest.raises(TypeError, match="tensor must be a Tensor, got 1.0"):
        draw_graph(1.0)
