"""The exercise of lesson 01 on the matrix product, with broadcasting and its two gradients."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine import linalg
from minidl.engine.op import Op, unbroadcast

# ---- 01.5 MatMul

product = Exercise(
    "01.5",
    linalg.MatMul,
    title="a matrix product that broadcasts, and its two gradients",
    kind="op",
    points=4,
    level=3,
    minutes=40,
    helpers=("swap_last",),
    hints=(
        "y[i, j] sums a[i, k] b[k, j] over k. So the slope of y[i, j] by a[i, k] is b[k, j]. The "
        "gradient of a is a matrix product of grad and b, summed over j. Which of the two must be "
        "transposed?",
        "Make every vector a matrix of one row or one column, in grad too. Multiply. Sum over the front "
        "axes that were stretched. Give each gradient the shape of its input.",
        "for a: unbroadcast(grad @ swap_last(b), shape of a as a matrix), then reshape",
    ),
)

# Matrices, stacks of them (also broadcast, also along two axes), and vectors on either side or both.
PRODUCTS = [
    ((2, 3), (3, 2)), ((1, 2), (2, 3)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)),
    ((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 1)), ((2, 1, 1, 2), (3, 2, 2)), ((2,), (3, 2, 2)), ((3, 2, 2), (2,)),
    ((2, 3, 1, 2), (2,)), ((1, 2), (2, 3, 2, 1)), ((2, 0), (0, 1)), ((0, 2), (2, 1)),
    ((2, 1), (1,)), ((1,), (1, 2)), ((2, 2, 3), (1, 3, 2)), ((1, 2, 3), (2, 3, 2)),
]  # fmt: skip

FIVE_AXES = "up to five axes: the gradients sum over all stretched axes, and keep the digits of float64"
# Several axes stretched or added, in either factor; squares, and products of one number.
WIDE = [
    ((3, 3), (3,)), ((3,), (3, 3)), ((3, 3), (3, 3)), ((2, 1, 2), (1, 2, 1)), ((2, 2, 2), (2, 2, 2)),
    ((2,), (2, 3, 2, 2)), ((2, 3, 3, 2), (2,)), ((2, 1, 2, 3), (1, 3, 3, 2)), ((3, 2), (2, 2, 2, 2, 1)),
    ((2, 2, 2, 1, 2), (2, 3)), ((2, 1, 2, 3), (2, 2, 2, 3, 2)), ((2, 2, 2, 1, 2), (2, 1, 2, 3)),
    ((1, 2, 1, 2, 3), (2, 1, 2, 3, 2)), ((2, 2, 3, 1), (1, 1, 2)), ((2, 17), (17,)),
    ((1, 3), (3, 1)), ((1, 1, 3), (3, 1)), ((3,), (3,)),
]  # fmt: skip

INFINITE = [((3, 2), (2, 3)), ((2,), (2, 3)), ((3, 2), (2,)), ((2,), (2,))]


@st.composite
def factors(draw):
    """Two arrays that have a matrix product."""
    first, second = draw(st.sampled_from(PRODUCTS))
    return draw(arrays(first)), draw(arrays(second))


@product.law(
    "[[1, 2], [3, 4]] @ [[5], [6]] = [[17], [39]]; grad [[1], [10]] gives [[5, 6], [50, 60]], [[31], [42]]"
)
def worked_matrices(matmul):
    y, (grad_a, grad_b) = matmul(
        np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]]), grad=np.array([[1.0], [10.0]])
    )
    assert_close(y, [[17.0], [39.0]])
    assert_close(grad_a, [[5.0, 6.0], [50.0, 60.0]])
    assert_close(grad_b, [[31.0], [42.0]])
    square = np.array([[1.0, 2.0], [3.0, 4.0]])
    _, (grad_a, grad_b) = matmul(square, square, grad=np.ones((2, 2)))  # one array twice
    assert_close(grad_a, [[3.0, 7.0], [3.0, 7.0]])
    assert_close(grad_b, [[4.0, 4.0], [6.0, 6.0]])


@product.law("two vectors give a number: (1, 2) · (3, 4) = 11; a gradient of 10 gives (30, 40) and (10, 20)")
def worked_vectors(matmul):
    y, (grad_a, grad_b) = matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0]), grad=np.array(10.0))
    assert_close(y, 11.0)
    assert_equal(np.shape(y), ())
    assert_close(grad_a, [30.0, 40.0])
    assert_close(grad_b, [10.0, 20.0])
    _, (grad_a, grad_b) = matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0]), grad=np.array(1e-14))
    assert_close(grad_a, [3e-14, 4e-14], atol=0)
    assert_close(grad_b, [1e-14, 2e-14], atol=0)
    _, (grad_a, grad_b) = matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0]), grad=np.array(np.inf))
    assert_close(grad_a, [np.inf, np.inf])
    assert_close(grad_b, [np.inf, np.inf])
    assert_close(matmul(np.array([np.inf, 1.0]), np.array([3.0, 4.0]))[0], np.inf)


@product.law("each number of y is the sum of a row of a times a column of b; the front axes broadcast")
@given(pair=factors())
def sums_products(matmul, pair):
    a, b = pair
    rows, columns = (a[np.newaxis] if a.ndim == 1 else a), (b[:, np.newaxis] if b.ndim == 1 else b)
    whole = (rows[..., :, :, np.newaxis] * columns[..., np.newaxis, :, :]).sum(axis=-2)
    whole = whole[..., 0, :] if a.ndim == 1 else whole
    assert_close(matmul(a, b)[0], whole[..., 0] if b.ndim == 1 else whole)


@product.law("if a changes by da, sum(g · y) changes by sum(da · grad_a); the same holds for b")
@given(pair=factors())
def product_gradients(matmul, pair):
    """Check the gradients exactly. The product is linear in each factor, so any step is small enough."""
    a, b = pair
    y = matmul(a, b)[0]
    g = np.cos(np.arange(y.size)).reshape(np.shape(y))
    _, (grad_a, grad_b) = matmul(a, b, grad=g)
    da, db = (np.cos(np.arange(x.size) + 1.0).reshape(x.shape) for x in pair)
    assert_close(np.sum(da * grad_a), np.sum(g * matmul(da, b)[0]), atol=1e-9)
    assert_close(np.sum(db * grad_b), np.sum(g * matmul(a, db)[0]), atol=1e-9)


def slopes(shape, linear):
    """The slopes of a linear function of an array: its values for arrays with one 1 and zeros."""
    return np.reshape([linear(step) for step in np.eye(np.prod(shape)).reshape(-1, *shape)], shape)


@product.law(FIVE_AXES)
def sums_all_axes(matmul):
    for first, second in WIDE:
        pair = ((np.cos, first), (np.sin, second))  # transposed arrays: the first axis is contiguous
        a, b = (f(np.arange(np.prod(n)) + 1.0).reshape(n, order="F") for f, n in pair)
        y = np.matmul(a, b)
        g = np.cos(np.arange(y.size) + 2.0).reshape(y.shape, order="F")
        found, (grad_a, grad_b) = matmul(a, b, grad=g)
        assert_close(found, y, rtol=1e-12, atol=1e-14)
        slopes_a = slopes(a.shape, lambda step, b=b, g=g: np.sum(g * np.matmul(step, b)))
        slopes_b = slopes(b.shape, lambda step, a=a, g=g: np.sum(g * np.matmul(a, step)))
        assert_close(grad_a, slopes_a, rtol=1e-12, atol=1e-13)
        assert_close(grad_b, slopes_b, rtol=1e-12, atol=1e-13)
    for first, second in INFINITE:  # no number is negative, so no sum is NaN
        a, b = np.ones(first), np.full(second, 2.0)
        y = np.ones((*first[:-1], *second[1:]))
        a.flat[0], g = np.inf, np.where(np.arange(y.size) == 0, np.inf, 3.0).reshape(y.shape)
        found, (grad_a, grad_b) = matmul(a, b, grad=g)
        rows, columns = a.reshape(-1, 2), b.reshape(2, -1)
        of_y = g.reshape(len(rows), -1)
        assert_equal(found, (rows[:, :, np.newaxis] * columns).sum(axis=1).reshape(y.shape))
        assert_equal(grad_a, (of_y[:, np.newaxis] * columns).sum(axis=2).reshape(first))
        assert_equal(grad_b, (rows[:, :, np.newaxis] * of_y[:, np.newaxis]).sum(axis=0).reshape(second))


@product.law("float32 stays float32, in the product and in both gradients")
@given(pair=factors())
def product_keeps_float32(matmul, pair):
    a, b = (np.array(1.1 * x, np.float32) for x in pair)
    y, grads = matmul(a, b, grad=np.ones_like(np.matmul(a, b)))
    assert_close(y, np.matmul(a, b), rtol=1e-5, atol=1e-5)
    for x, gradient in zip((a, b), grads, strict=True):  # y is linear in each factor
        assert_close((x * gradient).sum(), y.sum(), rtol=1e-4, atol=1e-4)
    for value in (y, *grads):
        assert_dtype(value, np.float32)


@product.law("a fixed factor of whole numbers needs no gradient; the other gradient is as usual")
def worked_fixed_factor(matmul):
    a, whole, g = np.array([[0.5, 0.25]]), np.array([[2], [3]]), np.array([[0.25]])
    y, (grad_a, _) = matmul(a, whole, grad=g)
    assert_close(y, [[1.75]])
    assert_close(grad_a, [[0.5, 0.75]])
    y, (_, grad_b) = matmul(whole.T, a.T, grad=g)
    assert_close(y, [[1.75]])
    assert_close(grad_b, [[0.5], [0.75]])


class Reference(linalg.MatMul):
    """The library's gradients, before a mistake changes their shapes."""

    def gradients(self, grad):
        grad = np.expand_dims(grad, -1) if len(self.b_shape) == 1 else grad
        grad = np.expand_dims(grad, -2) if len(self.a_shape) == 1 else grad
        return grad @ linalg.swap_last(self.b), linalg.swap_last(self.a) @ grad


@product.mistake("the other factor is not transposed", breaks=product.laws[0].text)
class NotTransposed(Op):
    def forward(self, a, b):
        self.a, self.b = a, b
        return np.matmul(a, b)

    def backward(self, grad):
        return np.resize(grad * self.b, self.a.shape), np.resize(self.a @ grad, self.b.shape)


@product.mistake("a vector's gradient keeps the axis that made it a matrix", breaks=product.laws[1].text)
class KeepsTheAxis(Reference):
    def backward(self, grad):
        grad_a, grad_b = self.gradients(grad)
        return unbroadcast(grad_a, self.a.shape), unbroadcast(grad_b, self.b.shape)


@product.mistake("forgot to sum over the stretched front axes", breaks=FIVE_AXES)
class NotUnbroadcast(Reference):
    def backward(self, grad):
        vectors = [len(shape) == 1 for shape in (self.a_shape, self.b_shape)]
        grad_a, grad_b = self.gradients(grad)
        return grad_a[..., 0, :] if vectors[0] else grad_a, grad_b[..., 0] if vectors[1] else grad_b


@product.mistake("took the mean over the stretched front axes instead of the sum", breaks=FIVE_AXES)
class Averaged(Reference):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        grad_a, grad_b = unbroadcast(of_a, self.a.shape), unbroadcast(of_b, self.b.shape)
        grad_a, grad_b = grad_a * (grad_a.size / of_a.size), grad_b * (grad_b.size / of_b.size)
        return grad_a.reshape(self.a_shape), grad_b.reshape(self.b_shape)
