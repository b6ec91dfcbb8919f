"""The building exercise of lesson 02: a convolution as products of matrices, forward and backward."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine.checks import require
from minidl.engine.conv import conv_output_size
from minidl.engine.kernels import col2im, im2col
from minidl.engine.op import Op

# ---- 02.4 ColumnConv2d


class ColumnConv2d(Op):
    """A convolution that is computed by matrix products, and its two gradients.

        y[n, o, r, s] = sum over c, i, j of weight[o, c, i, j] x[n, c, r stride + i, s stride + j]

    x: images (N, C, H, W), already padded.  weight: O filters (O, C, kh, kw).  y: (N, O, OH, OW).
    stride: a pair (height, width). x and weight have the same dtype; y and both gradients have it too.
    x, weight and grad need not be contiguous.
    ``backward`` gets grad = dL/dy and returns (dL/dx, dL/dweight).
    ValueError if x and weight have different numbers of channels, or if a filter is larger than the image.
    """

    def __init__(self, stride=(1, 1)):
        self.stride = stride

    def forward(self, x, weight):
        require(x.shape[1] == weight.shape[1], f"{x.shape[1]} channels, but {weight.shape[1]} in each filter")
        self.x, self.weight = x, weight
        out_h = conv_output_size(x.shape[2], weight.shape[2], self.stride[0])
        out_w = conv_output_size(x.shape[3], weight.shape[3], self.stride[1])
        self.columns = np.empty((len(x), weight[0].size, out_h * out_w), x.dtype)
        for n in range(len(x)):
            im2col(x[n], weight.shape[2:], self.stride, (1, 1), self.columns[n])
        y = weight.reshape(len(weight), -1) @ self.columns  # (N, O, OH OW)
        return y.reshape(len(x), len(weight), out_h, out_w)

    def backward(self, grad):
        grad = grad.reshape(*grad.shape[:2], -1)  # (N, O, OH OW)
        grad_weight = (grad @ self.columns.swapaxes(1, 2)).sum(axis=0)
        grad_columns = self.weight.reshape(len(self.weight), -1).T @ grad
        grad_x = np.empty_like(self.x)
        for n in range(len(grad_x)):
            col2im(grad_columns[n], self.weight.shape[2:], self.stride, (1, 1), grad_x[n])
        return grad_x, grad_weight.reshape(self.weight.shape)


conv2d = Exercise(
    "02.4",
    ColumnConv2d,
    title="a convolution by columns, forward and back",
    kind="op",
    points=5,
    level=3,
    minutes=45,
    hints=(
        "Put the patches of an image into columns and each filter into a row. Then one matrix product "
        "computes all sums. Its two gradients are matrix products too.",
        "The weight is used at every position of every image, so its gradient sums over both. The "
        "gradient of the columns goes back to the pixels by the adjoint of im2col.",
        "grad_columns = weight as (O, C kh kw), transposed, @ grad as (N, O, OH OW)",
    ),
)


@st.composite
def convolutions(draw):
    """Images, filters and a stride of any sizes. Heights and widths may differ."""
    sides = st.integers(1, 3)
    kernel, stride = draw(st.tuples(sides, sides)), draw(st.tuples(sides, sides))
    n, c, o = draw(sides), draw(sides), draw(sides)
    size = [k + draw(st.integers(0, 2)) for k in kernel]
    return draw(arrays((n, c, *size))), draw(arrays((o, c, *kernel))), stride


NINE = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
CORNERS = np.array([[[[1.0, 0.0], [0.0, -1.0]]]])


@conv2d.law(
    "image 1 ... 9, filter [[1, 0], [0, -1]]: y is -4 everywhere, both gradients agree with those by hand"
)
def worked_convolution(conv2d):
    y, (grad_x, grad_weight) = conv2d(NINE, CORNERS, grad=np.ones((1, 1, 2, 2)))
    assert_close(y, np.full((1, 1, 2, 2), -4.0))
    assert_close(grad_x[0, 0], [[1.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, -1.0, -1.0]])
    assert_close(grad_weight[0, 0], [[12.0, 16.0], [24.0, 28.0]])
    for stride, shape in (((2, 1), (1, 1, 1, 2)), ((1, 2), (1, 1, 2, 1))):
        assert_close(conv2d(NINE, CORNERS, stride=stride)[0], np.full(shape, -4.0))
    tenths, _ = conv2d(NINE / 10, CORNERS)
    assert_close(tenths, np.full((1, 1, 2, 2), -0.4), rtol=1e-12)
    bright = NINE.copy()
    bright[0, 0, 0, 0], bright[0, 0, 2, 2] = -1e300, np.inf  # each of them lies in one patch
    sums = np.array([[[[-1e300, 16.0], [24.0, np.inf]]]])
    y, (grad_x, grad_weight) = conv2d(bright, np.ones((1, 1, 2, 2)), grad=np.full((1, 1, 2, 2), 1e9))
    assert_close(y, sums)
    assert_close(grad_x[0, 0], 1e9 * np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]))
    assert_close(grad_weight, 1e9 * sums)
    g = np.array([[[[1.0, 1.0], [1.0, np.inf]]]])
    _, (grad_x, grad_weight) = conv2d(NINE, np.ones((1, 1, 2, 2)), grad=g)
    assert_close(grad_x[0, 0], [[1.0, 2.0, 1.0], [2.0, np.inf, np.inf], [1.0, np.inf, np.inf]])
    assert_close(grad_weight, np.full((1, 1, 2, 2), np.inf))
    x, weight = (
        np.concatenate([NINE / 3, -NINE / 7], axis=1),
        np.array([[0.1, -0.7], [0.3, 2.0]]),
    )  # one pixel
    g = np.cos(np.arange(18.0)).reshape(1, 2, 3, 3)
    g[0, 0, 0, 0] = np.inf
    y, (grad_x, grad_weight) = conv2d(x, weight.reshape(2, 2, 1, 1), grad=g)
    exact = {"rtol": 1e-12, "atol": 1e-14}
    assert_close(y[0], np.tensordot(weight, x[0], 1), **exact)
    assert_close(grad_x[0], np.tensordot(weight.T, g[0], 1), **exact)
    assert_close(grad_weight[:, :, 0, 0], (g[0][:, np.newaxis] * x).sum(axis=(2, 3)), **exact)


def by_loops(x, weight, stride):
    """Compute the formula, one patch at a time."""
    (kh, kw), (height, width) = weight.shape[2:], x.shape[2:]
    rows, columns = range(0, height - kh + 1, stride[0]), range(0, width - kw + 1, stride[1])
    y = np.zeros((len(x), len(weight), len(rows), len(columns)))
    for r, top in enumerate(rows):
        for s, left in enumerate(columns):
            patch = x[:, np.newaxis, :, top : top + kh, left : left + kw]
            y[:, :, r, s] = (patch * weight).sum(axis=(2, 3, 4))
    return y


@conv2d.law("each number of y is the sum over one patch, for any stride, channels and filters")
@given(case=convolutions())
def convolves(conv2d, case):
    x, weight, stride = case
    assert_close(conv2d(x, weight, stride=stride)[0], by_loops(x, weight, stride))


@conv2d.law("if x changes by dx, sum(g · y) changes by sum(dx · grad_x); the same holds for the weight")
@given(case=convolutions())
def convolution_gradients(conv2d, case):
    """Check the gradients exactly: y is linear in x and in weight, so any step is small enough."""
    x, weight, stride = case
    dx, dw = (np.cos(np.arange(a.size) + 1.0).reshape(a.shape) for a in (x, weight))
    by_x, by_weight = by_loops(dx, weight, stride), by_loops(x, dw, stride)
    g = np.cos(np.arange(by_x.size)).reshape(by_x.shape)
    _, (grad_x, grad_weight) = conv2d(x, weight, grad=g, stride=stride)
    assert_close(np.sum(dx * grad_x), np.sum(g * by_x), atol=1e-9)
    assert_close(np.sum(dw * grad_weight), np.sum(g * by_weight), atol=1e-9)


@conv2d.law("each of two images has the same gradient as alone, and the weight has the sum of both gradients")
def two_images(conv2d):
    x = np.concatenate([NINE, NINE[:, :, ::-1] ** 2 / 4])
    g = np.array([[[[1.0, 0.0], [0.0, 2.0]]], [[[0.0, -1.0], [0.5, 0.0]]]])
    _, (grad_x, grad_weight) = conv2d(x, CORNERS, grad=g)
    alone = [conv2d(x[i : i + 1], CORNERS, grad=g[i : i + 1])[1] for i in range(2)]
    assert_close(grad_x, np.concatenate([alone[0][0], alone[1][0]]))
    assert_close(grad_weight, alone[0][1] + alone[1][1])


@conv2d.law("four transposed images of 5 channels, six filters, sides to 17, strides to 5: exact in float64")
def large_convolution(conv2d):
    x, weight, dx, dw = (
        f(np.arange(np.prod(n)) + 1.0).reshape(n, order="F")
        for f, n in product((np.cos, np.sin), ((4, 5, 17, 16), (6, 5, 4, 5)))
    )
    x *= 1e-13
    for stride in (4, 5), (1, 2):
        y, by_x, by_weight = (by_loops(*pair, stride) for pair in ((x, weight), (dx, weight), (x, dw)))
        g = 1e-14 * np.cos(np.arange(y.size) + 2.0).reshape(y.shape, order="F")
        found, (grad_x, grad_weight) = conv2d(x, weight, grad=g, stride=stride)
        assert_close(found, y, rtol=1e-9, atol=0)
        assert_close(np.sum(dx * grad_x), np.sum(g * by_x), rtol=1e-10, atol=0)
        assert_close(np.sum(dw * grad_weight), np.sum(g * by_weight), rtol=1e-10, atol=0)


@conv2d.law("float32 stays float32, in the result and in both gradients")
def convolution_keeps_float32(conv2d):
    x, weight = (NINE / 7).astype(np.float32), CORNERS.astype(np.float32)
    for count, stride, places in ((1, (1, 1), (2, 2)), (2, (2, 1), (1, 2))):
        g = np.ones((count, 1, *places), np.float32)
        y, grads = conv2d(np.repeat(x, count, axis=0), weight, grad=g, stride=stride)
        assert_close(y, np.full(g.shape, -4 / 7), rtol=1e-5)
        assert_close((weight * grads[1]).sum(), y.sum(), rtol=1e-5)  # y is linear in the weight
        for value in (y, *grads):
            assert_dtype(value, np.float32)


@conv2d.law(
    "ValueError for filters with other channels than the image, and for filters larger than the image"
)
def convolution_refuses(conv2d):
    one = np.ones((1, 1, 3, 3))
    for c, k in ((2, 1), (1, 2), (4, 2), (2, 3)):
        what = f"images with {c} channels, filters with {k}"
        assert_refuses(what, conv2d, np.ones((1, c, 3, 3)), np.ones((1, k, 2, 2)))
    assert_refuses("an image of 3 × 3, a filter of 5 × 5", conv2d, one, np.ones((1, 1, 5, 5)))
    assert_refuses("an image of 3 × 3, a filter of 4 × 2", conv2d, one, np.ones((1, 1, 4, 2)))
    assert_refuses("an image of 3 × 3, a filter of 2 × 4", conv2d, one, np.ones((1, 1, 2, 4)))
    assert_refuses("an image of 3 × 3, a filter of 2 × 5", conv2d, one, np.ones((1, 1, 2, 5)))
    for sides, filter_sides in product(((3, 3), (3, 5), (5, 3)), ((4, 2), (2, 4))):
        if filter_sides[0] > sides[0] or filter_sides[1] > sides[1]:
            what = f"an image of {sides}, a filter of {filter_sides}, stride (2, 2)"
            assert_refuses(
                what, conv2d, np.ones((1, 1, *sides)), np.ones((1, 1, *filter_sides)), stride=(2, 2)
            )


@conv2d.mistake("the filter is flipped, as in the convolution of mathematics", breaks=conv2d.laws[0].text)
class TurnedAround(ColumnConv2d):
    def forward(self, x, weight):
        return super().forward(x, weight[:, :, ::-1, ::-1])

    def backward(self, grad):
        grad_x, grad_weight = super().backward(grad)
        return grad_x, grad_weight[:, :, ::-1, ::-1]


@conv2d.mistake("the weight's gradient is a mean over the images", breaks=conv2d.laws[1].text)
class MeanOverImages(ColumnConv2d):
    def backward(self, grad):
        grad_x, grad_weight = super().backward(grad)
        return grad_x, grad_weight / len(grad_x)


@conv2d.mistake("a pixel gets the gradient of only one of its copies", breaks=conv2d.laws[0].text)
class OneCopy(ColumnConv2d):
    def backward(self, grad):
        grad_x, grad_weight = super().backward(grad)
        taps = self.weight.reshape(len(self.weight), -1).T @ grad.reshape(*grad.shape[:2], -1)
        places, where = np.zeros_like(self.columns[0]), np.arange(grad_x[0].size, dtype=grad.dtype)
        im2col(where.reshape(grad_x[0].shape), self.weight.shape[2:], self.stride, (1, 1), places)
        for image, columns in zip(grad_x, taps, strict=True):
            image.reshape(-1)[places.astype(int).ravel()] = columns.ravel()
        return grad_x, grad_weight


@conv2d.mistake("the stride is ignored", breaks=conv2d.laws[0].text)
class WithoutStride(ColumnConv2d):
    def __init__(self, stride=(1, 1)):
        super().__init__()
