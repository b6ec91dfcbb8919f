"""Exercises of lesson 14: reduce channels, windows over an image, and nodes on the path from a baseline."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain import gradients as by_gradients
from minidl.explain import occlusion


@st.composite
def lines(draw):
    """(size, window, stride) with stride <= window <= size."""
    size = draw(st.integers(1, 12))
    window = draw(st.integers(1, size))
    return size, window, draw(st.integers(1, window))


# ---- 14.1 reduce_channels

reduced = Exercise(
    "14.1",
    by_gradients.reduce_channels,
    title="one number for three colours",
    points=1,
    minutes=10,
    hints=(
        "A pixel has a gradient for each channel. One number for the pixel is the largest magnitude, or "
        "the length of the vector of gradients.",
        "The channels are axis 1. Drop the signs first: -4 is stronger than 3.",
        "All three ways begin with np.abs(g). Then take .max(axis=...), or the root of the sum of squares.",
    ),
)

some_gradients = arrays(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)))
ways = st.sampled_from(["max", "l2"])


@reduced.law('for channels 3 and -4, "max" gives 4, "l2" gives 5, and None gives 3 and 4')
def worked_reduction(reduce_channels):
    gradients = np.array([[[[3.0]], [[-4.0]]]])
    assert_close(reduce_channels(gradients, "max"), [[[4.0]]])
    assert_close(reduce_channels(gradients, "l2"), [[[5.0]]])
    assert_close(reduce_channels(gradients, None), [[[[3.0]], [[4.0]]]])


@reduced.law("signs do not matter, and twice the gradients give twice the map")
@given(gradients=some_gradients, reduce=ways)
def scales(reduce_channels, gradients, reduce):
    assert_close(reduce_channels(-2 * gradients, reduce), 2 * reduce_channels(gradients, reduce))


@reduced.law("the order of the channels does not matter")
@given(gradients=some_gradients, reduce=ways)
def any_order(reduce_channels, gradients, reduce):
    assert_close(reduce_channels(gradients[:, ::-1], reduce), reduce_channels(gradients, reduce))


@reduced.law('the "l2" map lies between the "max" map and sqrt(channels) times the "max" map')
@given(gradients=some_gradients)
def bounds(reduce_channels, gradients):
    largest, norm = reduce_channels(gradients, "max"), reduce_channels(gradients, "l2")
    below = np.maximum(largest - norm, 0)
    above = np.maximum(norm - np.sqrt(gradients.shape[1]) * largest, 0)
    assert_close(below, np.zeros_like(largest))
    assert_close(above, np.zeros_like(largest))


@reduced.law("the channels are axis 1 for any number of axes, and the dtype stays float32 or float64")
@given(
    gradients=st.sampled_from([(2, 6), (2, 3, 5), (2, 6, 5, 4), (2, 3, 1, 5, 4)]).flatmap(arrays),
    reduce=st.sampled_from(["max", "l2"]),
)
def over_axis_1(reduced, gradients, reduce):
    found = reduced(gradients, reduce)
    channels = [np.abs(gradients[:, c]) for c in range(gradients.shape[1])]
    if reduce == "max":
        assert_close(found, np.maximum.reduce(channels))
    else:
        assert_close(found**2, sum(channel**2 for channel in channels))
    for way in (reduce, None):
        for dtype in (np.float32, np.float64):
            assert_dtype(reduced(gradients.astype(dtype), way), dtype)
    assert_close(reduced(gradients[:, :1], None), np.abs(gradients[:, :1]))  # a channel axis of 1 stays


@reduced.law(
    '"l2" of 3e-20 and -4e-20 is 5e-20, and of zeros 0; "max" and None keep each digit, also of 1e30'
)
def tiny_and_huge(reduce_channels):
    assert_close(reduce_channels(np.array([[3e-20, -4e-20]]), "l2"), [5e-20], atol=0)
    far = np.float32([[[3e8, 3e-15], [-4e8, -4e-15]]])  # a strong pixel and a weak one
    assert_close(reduce_channels(far, "l2"), [[5e8, 5e-15]], atol=0)
    assert_close(reduce_channels(np.array([[0.3, -0.4]]), "l2"), [0.5], rtol=1e-12, atol=0)
    assert_equal(reduce_channels(np.zeros((1, 2)), "l2"), [0])
    huge, fine = np.array([[1e30, -2e30]], np.float32), np.array([[-1.0, 1 + 1e-12]])
    for gradients in (huge, fine):
        assert_equal(reduce_channels(gradients, "max"), np.abs(gradients[:, 1]))
        assert_equal(reduce_channels(gradients, None), np.abs(gradients))


@reduced.mistake("took the largest value, and its magnitude afterwards", breaks=reduced.laws[0].text)
def signed_largest(gradients, reduce):
    return abs(gradients.max(axis=1)) if reduce == "max" else by_gradients.reduce_channels(gradients, reduce)


@reduced.mistake("forgot the square root", breaks=reduced.laws[0].text)
def squares(gradients, reduce):
    maps = by_gradients.reduce_channels(gradients, reduce)
    return maps**2 if reduce == "l2" else maps


@reduced.mistake(
    "took the norm over all pixels, not only over the channels",
    breaks='the "l2" map lies between the "max" map and sqrt(channels) times the "max" map',
)
def one_norm(gradients, reduce):
    maps = by_gradients.reduce_channels(gradients, reduce)
    return np.full_like(maps, np.sqrt((gradients**2).sum())) if reduce == "l2" else maps


# ---- 14.2 average_over_windows

average = Exercise(
    "14.2",
    occlusion.average_over_windows,
    title="windows averaged into a map",
    points=2,
    level=2,
    minutes=20,
    hints=(
        "Each window gives its drop to all pixels that it covers. A pixel's value is the mean of the "
        "drops that it gets.",
        "Use two arrays: the sum of the drops (N, height, width), and the number of windows (height, width).",
        "total[:, top:top+h, left:left+w] += drops[:, i, j, None, None]. How must the number of windows "
        "change there?",
    ),
)


@st.composite
def drops_of(draw):
    """(drops, size, window, stride) that fit together."""
    (height, h, down), (width, w, right) = draw(lines()), draw(lines())
    rows, columns = (len(occlusion.window_starts(*line)) for line in ((height, h, down), (width, w, right)))
    drops = draw(arrays((draw(st.integers(1, 3)), rows, columns)))
    return drops, (height, width), (h, w), (down, right)


@average.law("on 4 pixels, windows of 2 with stride 1 and drops 1, 3, 8.2 give the map 1, 2, 5.6, 8.2")
def worked_average(average_over_windows):
    drops = np.array([[[1.0, 3.0, 8.2]]])
    maps = average_over_windows(drops, (1, 4), (1, 2), (1, 1))
    assert_close(maps, [[[1.0, 2.0, 5.6, 8.2]]], rtol=1e-12, atol=0)
    assert_dtype(maps, np.float64)


@average.law("if all windows have the same drop, every pixel has this value")
@given(case=drops_of(), loss=st.integers(-4, 4))
def keeps_constants(average_over_windows, case, loss):
    drops, size, window, stride = case
    maps = average_over_windows(np.full(drops.shape, loss / 4), size, window, stride)
    assert_close(maps, np.full((len(drops), *size), loss / 4))


@average.law("each pixel has the mean drop of the windows that cover it")
@given(case=drops_of(), place=st.tuples(st.integers(0, 11), st.integers(0, 11)))
def mean_of_covering(average_over_windows, case, place):
    drops, size, window, stride = case
    y, x = place[0] % size[0], place[1] % size[1]
    rows = [i for i in range(drops.shape[1]) if i * stride[0] <= y < i * stride[0] + window[0]]
    columns = [j for j in range(drops.shape[2]) if j * stride[1] <= x < j * stride[1] + window[1]]
    expected = drops[:, rows][:, :, columns].mean(axis=(1, 2))
    assert_close(average_over_windows(drops, size, window, stride)[:, y, x], expected)


@average.law("the result is linear: the map of 2a - b is twice the map of a, minus the map of b")
@given(case=drops_of())
def is_linear(average_over_windows, case):
    a, *sizes = case
    b = np.cos(np.arange(a.size)).reshape(a.shape)
    both = average_over_windows(2 * a - b, *sizes)
    assert_close(both, 2 * average_over_windows(a, *sizes) - average_over_windows(b, *sizes))


@average.law(
    "float32 drops give a float32 map; windows need not be square, may overlap, and are cut at the border"
)
def narrow_drops(average_over_windows):
    # three images, each with two rows of one window
    drops = np.array([[[4.0], [-2.0]], [[1e-20], [1e12]], [[1e9], [1.0]]], np.float32)
    maps = average_over_windows(drops, (3, 2), (2, 2), (1, 1))
    expected = [[[4, 4], [1, 1], [-2, -2]], [[1e-20, 1e-20], [5e11, 5e11], [1e12, 1e12]]]
    expected += [[[1e9, 1e9], [5e8, 5e8], [1, 1]]]  # the first window leaves nothing in the last row
    assert_close(maps, expected, rtol=1e-6, atol=0)
    assert_dtype(maps, np.float32)
    cut = average_over_windows(np.array([[[1.0, 2.0], [3.0, 4.0]]]), (5, 4), (3, 3), (3, 3))
    assert_close(cut, [[[1, 1, 1, 2]] * 3 + [[3, 3, 3, 4]] * 2])  # the border cuts the last windows
    many = average_over_windows(np.ones((1, 1, 301)), (1, 600), (1, 300), (1, 1))
    assert_close(many, np.ones((1, 1, 600)))  # up to 300 windows at a pixel


@average.law("every window counts, also beyond those that are needed; ValueError if no window covers a pixel")
def all_windows(average_over_windows):
    drops = np.array([[[1.0, 3.0, 5.0]]])
    assert_close(average_over_windows(drops, (1, 3), (1, 2), (1, 1)), [[[1.0, 2.0, 4.0]]])
    down = drops.reshape(1, 3, 1)
    assert_close(average_over_windows(down, (3, 1), (2, 1), (1, 1)), [[[1.0], [2.0], [4.0]]])
    assert_close(average_over_windows(drops, (1, 2), (1, 3), (1, 1)), [[[1.0, 2.0]]])
    for width, window, stride in ((5, 1, 1), (8, 2, 3), (4, 1, 2)):  # at the end, in the middle, both
        which = f"three windows of {window} with stride {stride} on {width} pixels"
        sizes = (1, width), (1, window), (1, stride)
        assert_refuses(which, average_over_windows, drops, *sizes)
        assert_refuses(which, average_over_windows, down, *(side[::-1] for side in sizes))


@average.mistake("summed instead of averaging", breaks=average.laws[0].text)
def sums(drops, size, window, stride):
    ones = np.ones((1, *drops.shape[1:]))
    share = occlusion.average_over_windows(ones, size, window, stride)
    total = np.zeros((len(drops), *size))
    for i in range(drops.shape[1]):
        for j in range(drops.shape[2]):
            top, left = i * stride[0], j * stride[1]
            total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
    return total * share


@average.mistake("let a later window overwrite an earlier one", breaks=average.laws[0].text)
def overwrites(drops, size, window, stride):
    maps = np.zeros((len(drops), *size))
    for i in range(drops.shape[1]):
        for j in range(drops.shape[2]):
            top, left = i * stride[0], j * stride[1]
            maps[:, top : top + window[0], left : left + window[1]] = drops[:, i, j, None, None]
    return maps


@average.mistake(
    "divided all pixels by the largest number of windows on a pixel",
    breaks="if all windows have the same drop, every pixel has this value",
)
def divides_by_the_most(drops, size, window, stride):
    total, count = np.zeros((len(drops), *size)), np.zeros(size)
    for i in range(drops.shape[1]):
        for j in range(drops.shape[2]):
            top, left = i * stride[0], j * stride[1]
            total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
            count[top : top + window[0], left : left + window[1]] += 1
    return total / count.max()


# ---- 14.3 path_nodes

nodes_of_path = Exercise(
    "14.3",
    by_gradients.path_nodes,
    title="points and weights on the way",
    points=2,
    level=2,
    minutes=20,
    hints=(
        "The integral of g from 0 to 1 becomes a weighted mean of the values of g at a few points "
        "between 0 and 1.",
        "The centres of equal parts are (k + 1/2) / steps. NumPy has Gauss's nodes, but for the "
        "interval -1 ... 1.",
        "np.polynomial.legendre.leggauss(steps) gives points in -1 ... 1, and weights. These weights "
        "sum to 2, not to 1.",
    ),
)

counts = st.integers(1, 9)
kinds = st.sampled_from(["gauss", "midpoint"])
EXACT = {"rtol": 1e-12, "atol": 0}  # up to rounding in float64


@nodes_of_path.law(
    "two midpoints are 1/4 and 3/4; Gauss's two nodes are (1 ± 1/sqrt(3)) / 2; all weights are 1/2"
)
def worked_nodes(path_nodes):
    alphas, weights = path_nodes(2, "midpoint")
    assert_close(alphas, [0.25, 0.75], **EXACT)
    assert_close(weights, [0.5, 0.5], **EXACT)
    alphas, weights = path_nodes(2, "gauss")
    assert_close(alphas, [(1 - 3**-0.5) / 2, (1 + 3**-0.5) / 2], **EXACT)
    assert_close(weights, [0.5, 0.5], **EXACT)
    _, weights = path_nodes(3, "gauss")
    assert_close(weights, [5 / 18, 8 / 18, 5 / 18], **EXACT)


@nodes_of_path.law("the nodes rise between 0 (the baseline) and 1 (the image), and none is 0 or 1")
@given(steps=counts, nodes=kinds)
def strictly_inside(path_nodes, steps, nodes):
    alphas, _ = path_nodes(steps, nodes)
    way = [0, *alphas, 1]
    assert_equal([before < after for before, after in zip(way, way[1:], strict=False)], [True] * (steps + 1))


@nodes_of_path.law("linear functions are integrated exactly: c + α gives c + 1/2")
@given(steps=counts, nodes=kinds, constant=st.integers(-2, 2))
def exact_for_linear(path_nodes, steps, nodes, constant):
    alphas, weights = path_nodes(steps, nodes)
    assert_close(np.sum(weights * (constant + alphas)), constant + 0.5)


@nodes_of_path.law("Gauss's nodes integrate α^d exactly for d up to 2 steps - 1")
@given(steps=counts, degree=st.integers(0, 17))
def exact_for_polynomials(path_nodes, steps, degree):
    degree = degree % (2 * steps)
    alphas, weights = path_nodes(steps, "gauss")
    assert_close(np.sum(weights * alphas**degree), 1 / (degree + 1))


@nodes_of_path.law("steps below 1, and other names of nodes, are refused with a ValueError")
def refuses_nodes(path_nodes):
    for steps in (0, -1):
        assert_refuses(f"steps = {steps}", path_nodes, steps)
        assert_refuses(f"steps = {steps} of midpoints", path_nodes, steps, "midpoint")
    for other in ("simpson", "GAUSS", "gaussian", "gauss ", "Midpoint", "mid", "", None):
        for steps in (1, 4):
            assert_refuses(f"{steps} nodes = {other!r}", path_nodes, steps, other)


@nodes_of_path.law(
    "any number of nodes works: 202 Gauss nodes integrate polynomials up to degree 403, and 394 midpoints "
    "are 1/394 apart"
)
def many_nodes(path_nodes):
    for steps in (8, 202):
        alphas, weights = path_nodes(steps)
        assert_equal((np.shape(alphas), np.shape(weights)), ((steps,), (steps,)))
        # Legendre's polynomials of degree 0, 1, ... have the integrals 1, 0, 0, ...
        polynomials = np.polynomial.legendre.legvander(2 * alphas - 1, 2 * steps - 1)
        assert_close(weights @ polynomials, np.eye(2 * steps)[0])
    alphas, weights = path_nodes(394, "midpoint")  # in float64, 394 steps of 1/394 end below 1
    assert_close(alphas, [(2 * i + 1) / 788 for i in range(394)], **EXACT)
    assert_close(weights, np.full(394, 1 / 394), **EXACT)


@nodes_of_path.law('"gauss" is the default; points and weights are arrays of float64')
def default_nodes(path_nodes):
    for found, wanted in zip(path_nodes(3), path_nodes(3, "gauss"), strict=True):
        assert_close(found, wanted)
    for nodes in ("gauss", "midpoint"):
        for found in path_nodes(5, nodes):
            assert_equal(np.shape(found), (5,))
            assert_dtype(found, np.float64)


@nodes_of_path.mistake(
    "took the left ends of the parts, so one node is the baseline",
    breaks="the nodes rise between 0 (the baseline) and 1 (the image), and none is 0 or 1",
)
def left_ends(steps, nodes="gauss"):
    alphas, weights = by_gradients.path_nodes(steps, nodes)
    return (np.arange(steps) / steps, weights) if nodes == "midpoint" else (alphas, weights)


@nodes_of_path.mistake(
    "kept the weights for -1 ... 1, which sum to 2",
    breaks="linear functions are integrated exactly: c + α gives c + 1/2",
)
def double_weights(steps, nodes="gauss"):
    alphas, weights = by_gradients.path_nodes(steps, nodes)
    return alphas, 2 * weights if nodes == "gauss" else weights


@nodes_of_path.mistake(
    "did not move Gauss's nodes from -1 ... 1 to 0 ... 1", breaks=nodes_of_path.laws[0].text
)
def nodes_around_zero(steps, nodes="gauss"):
    alphas, weights = by_gradients.path_nodes(steps, nodes)
    return (2 * alphas - 1, weights) if nodes == "gauss" else (alphas, weights)


@nodes_of_path.mistake(
    "gave Gauss's nodes equal weights", breaks="Gauss's nodes integrate α^d exactly for d up to 2 steps - 1"
)
def equal_weights(steps, nodes="gauss"):
    alphas, _ = by_gradients.path_nodes(steps, nodes)
    return alphas, np.full(steps, 1 / steps)
