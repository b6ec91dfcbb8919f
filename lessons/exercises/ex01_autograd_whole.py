"""Exercises of lesson 01 that compose: the matrix product with broadcasting, and a reverse-mode pass."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import (
    assert_close,
    assert_dtype,
    assert_equal,
    assert_refuses,
)
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, broadcastable_pairs
from minidl.engine import linalg
from minidl.engine.checks import check_choice, check_int, require
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
        "y[i, j] sums a[i, k] b[k, j] over k. So a[i, k] moves y[i, j] by b[k, j]: of a, the gradient is a "
        "product of grad with b, over j. Which of the two has to be transposed?",
        "Make every vector a matrix of one row or one column, in grad as well; multiply; sum over the axes "
        "in front that were stretched; give each gradient the shape of its input.",
        "for a: unbroadcast(grad @ swap_last(b), shape of a as a matrix), then reshape",
    ),
)

# Matrices, those in a stack (and stacks that are stretched), vectors on either side and on both.
PRODUCTS = [
    ((2, 3), (3, 2)), ((1, 2), (2, 3)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)),
    ((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 1)), ((2, 1, 1, 2), (3, 2, 2)), ((2,), (3, 2, 2)), ((3, 2, 2), (2,)),
]  # fmt: skip


@st.composite
def factors(draw):
    """Two arrays that have a matrix product."""
    first, second = draw(st.sampled_from(PRODUCTS))
    return draw(arrays(first)), draw(arrays(second))


@product.law("[1 2 / 3 4] by [5 / 6] is [17 / 39]; a gradient [1 / 10] brings [5 6 / 50 60] and [31 / 42]")
def worked_matrices(matmul):
    y, (grad_a, grad_b) = matmul(
        np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]]), grad=np.array([[1.0], [10.0]])
    )
    assert_close(y, [[17.0], [39.0]])
    assert_close(grad_a, [[5.0, 6.0], [50.0, 60.0]])
    assert_close(grad_b, [[31.0], [42.0]])


@product.law("two vectors make a number: (1, 2) · (3, 4) = 11; a gradient of 10 brings (30, 40), (10, 20)")
def worked_vectors(matmul):
    y, (grad_a, grad_b) = matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0]), grad=np.array(10.0))
    assert_close(y, 11.0)
    assert_equal(np.shape(y), ())
    assert_close(grad_a, [30.0, 40.0])
    assert_close(grad_b, [10.0, 20.0])


@product.law("each number of the result sums a row of a times a column of b; in front it broadcasts")
@given(pair=factors())
def sums_products(matmul, pair):
    a, b = pair
    rows, columns = (a[np.newaxis] if a.ndim == 1 else a), (b[:, np.newaxis] if b.ndim == 1 else b)
    whole = (rows[..., :, :, np.newaxis] * columns[..., np.newaxis, :, :]).sum(axis=-2)
    whole = whole[..., 0, :] if a.ndim == 1 else whole
    assert_close(matmul(a, b)[0], whole[..., 0] if b.ndim == 1 else whole)


@product.law("where a moves by da, g · y moves by da · (gradient of a), and the same holds for b")
@given(pair=factors())
def product_gradients(matmul, pair):
    """Exactly so, without a small step: the product is linear in each factor."""
    a, b = pair
    y = matmul(a, b)[0]
    g = np.cos(np.arange(y.size)).reshape(np.shape(y))
    _, (grad_a, grad_b) = matmul(a, b, grad=g)
    da, db = (np.cos(np.arange(x.size) + 1.0).reshape(x.shape) for x in pair)
    assert_close(np.sum(da * grad_a), np.sum(g * matmul(da, b)[0]), atol=1e-9)
    assert_close(np.sum(db * grad_b), np.sum(g * matmul(a, db)[0]), atol=1e-9)


@product.law("float32 stays float32, the product and both gradients")
@given(pair=factors())
def product_keeps_float32(matmul, pair):
    a, b = (x.astype(np.float32) for x in pair)
    y, grads = matmul(a, b, grad=np.ones_like(np.matmul(a, b)))
    for value in (y, *grads):
        assert_dtype(value, np.float32)


@product.law("a fixed factor of whole numbers needs no gradient; the other factor's is as ever")
def worked_fixed_factor(matmul):
    a, whole, g = np.array([[0.5, 0.25]]), np.array([[2], [4]]), np.array([[10.0]])
    assert_close(matmul(a, whole, grad=g)[1][0], [[20.0, 40.0]])
    assert_close(matmul(whole.T, a.T, grad=g)[1][1], [[20.0], [40.0]])


class Reference(linalg.MatMul):
    """The library's gradients, before a mistake gives them shapes."""

    def gradients(self, grad):
        grad = np.expand_dims(grad, -1) if len(self.b_shape) == 1 else grad
        grad = np.expand_dims(grad, -2) if len(self.a_shape) == 1 else grad
        return grad @ linalg.swap_last(self.b), linalg.swap_last(self.a) @ grad


@product.mistake("the other factor as it stands, not transposed", breaks=product.laws[0].text)
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


@product.mistake("forgot to sum over a stretched stack", breaks=product.laws[4].text)
class NotUnbroadcast(Reference):
    def backward(self, grad):
        vectors = [len(shape) == 1 for shape in (self.a_shape, self.b_shape)]
        grad_a, grad_b = self.gradients(grad)
        return grad_a[..., 0, :] if vectors[0] else grad_a, grad_b[..., 0] if vectors[1] else grad_b


@product.mistake("a stretched stack is averaged instead of summed", breaks=product.laws[4].text)
class Averaged(Reference):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        grad_a, grad_b = unbroadcast(of_a, self.a.shape), unbroadcast(of_b, self.b.shape)
        grad_a, grad_b = grad_a * (grad_a.size / of_a.size), grad_b * (grad_b.size / of_b.size)
        return grad_a.reshape(self.a_shape), grad_b.reshape(self.b_shape)


# ---- 01.6 tape_gradients


def tape_gradients(inputs: list, steps: list) -> tuple[np.ndarray, list]:
    """Compute what a tape says, and the gradients of its result: reverse-mode differentiation, all of it.

    The values have numbers: 0, 1, ... are the ``inputs``, floating arrays of any shapes, and each step adds
    the next one. A step is a tuple of its name and the numbers of one or two earlier values, which may be
    the same one twice:

        ("add", i, j)  ("mul", i, j)    element by element, stretched as NumPy does
        ("exp", i)     ("sum", i)       of each element; of all elements together

    Returns the last value y, and for each input the gradient of the sum of all elements of y, in the input's
    shape and dtype; it is 0 where y does not depend on the input.
    ValueError for no steps, another name, and a number that is not of an earlier value.
    """
    values = [np.asarray(x) for x in inputs]
    require(len(steps) > 0, "a tape has at least one step")
    compute = {"add": np.add, "mul": np.multiply, "exp": np.exp, "sum": np.sum}
    for name, *sources in steps:
        check_choice("a step's name", name, tuple(compute))
        arguments = [values[check_int("a step's source", i, 0, len(values) - 1)] for i in sources]
        values.append(np.asarray(compute[name](*arguments)))
    grads = [np.zeros_like(value) for value in values]
    grads[-1] = np.ones_like(values[-1])
    for place in range(len(values) - 1, len(inputs) - 1, -1):
        name, *sources = steps[place - len(inputs)]
        grad, y, x = grads[place], values[place], values[sources[0]]
        if name == "mul":
            slopes = [grad * values[sources[1]], grad * x]
        elif name == "sum":
            slopes = [np.broadcast_to(grad, x.shape)]
        else:
            slopes = [grad * y] if name == "exp" else [grad, grad]
        for source, slope in zip(sources, slopes, strict=True):
            grads[source] = grads[source] + unbroadcast(slope, values[source].shape)
    return values[-1], grads[: len(inputs)]


tape = Exercise(
    "01.6",
    tape_gradients,
    title="a small autograd, forward along a tape and back",
    points=5,
    level=3,
    minutes=45,
    hints=(
        "Forward, write every value down. Back, from the last step to the first: each step turns the "
        "gradient of its result into gradients of what it read.",
        "One gradient for each value, all 0 but the last, which is 1. On a tape every value stands before "
        "those who read it, so the reversed tape is an order that works. What arrives is added, never set.",
        "grads[i] = grads[i] + unbroadcast(slope, values[i].shape), for i in the step's sources",
    ),
)


@st.composite
def tapes(draw):
    """Inputs that broadcast together, and a tape of 1 ... 4 steps; one exp at most, among the first two."""
    inputs = list(draw(broadcastable_pairs(-1, 1)))
    steps, exps = [], 0
    for place in range(2, 2 + draw(st.integers(1, 4))):
        names = ["mul", "add", "sum"] + ["exp"] * (exps == 0 and place < 4)
        name = draw(st.sampled_from(names))
        exps += name == "exp"
        count = 2 if name in ("mul", "add") else 1
        steps.append((name, *(draw(st.integers(0, place - 1)) for _ in range(count))))
    return inputs, steps


@tape.law("u = 2x, v = 3u, w = u + v at x = 1: w = 8, and the gradients of x, 2 and 3 are 8, 4 and 2")
def worked_tape(tape_gradients):
    inputs = [np.array(1.0), np.array(2.0), np.array(3.0)]
    y, grads = tape_gradients(inputs, [("mul", 0, 1), ("mul", 3, 2), ("add", 3, 4)])
    assert_close(y, 8.0)
    for found, expected in zip(grads, (8.0, 4.0, 2.0), strict=True):
        assert_close(found, expected)
        assert_equal(np.shape(found), ())


@tape.law("x · x + x at 5 has the slope 11: all three uses count")
def worked_three_uses(tape_gradients):
    y, (grad,) = tape_gradients([np.array([5.0])], [("mul", 0, 0), ("add", 0, 1)])
    assert_close(y, [30.0])
    assert_close(grad, [11.0])


@tape.law("a bias (3,) under rows (2, 3) collects a gradient from each row")
def worked_bias(tape_gradients):
    rows, bias, scale = np.zeros((2, 3)), np.array([1.0, 2.0, 3.0]), np.array([[1.0], [10.0]])
    y, grads = tape_gradients([rows, bias, scale], [("add", 0, 1), ("mul", 3, 2), ("sum", 4)])
    assert_close(y, 66.0)
    assert_close(grads[0], [[1.0, 1.0, 1.0], [10.0, 10.0, 10.0]])
    assert_close(grads[1], [11.0, 11.0, 11.0])
    assert_close(grads[2], [[6.0], [6.0]])


def last_value(inputs, steps):
    values = list(inputs)
    for name, *sources in steps:
        a, b = values[sources[0]], values[sources[-1]]
        values.append(np.exp(a) if name == "exp" else {"add": a + b, "mul": a * b, "sum": a.sum()}[name])
    return values[-1]


@tape.law("the gradients are the slopes of the sum of y, by central differences")
@given(case=tapes())
def tape_slopes(tape_gradients, case):
    inputs, steps = case
    y, grads = tape_gradients(inputs, steps)
    assert_close(y, last_value(inputs, steps))
    for i, x in enumerate(inputs):
        assert_equal(np.shape(grads[i]), x.shape)
        move = np.cos(np.arange(x.size)).reshape(x.shape)
        up, down = (
            last_value([*inputs[:i], x + h * move, *inputs[i + 1 :]], steps).sum() for h in (1e-5, -1e-5)
        )
        assert_close(np.sum(move * grads[i]), (up - down) / 2e-5, rtol=1e-5, atol=1e-4)


@tape.law("float32 stays float32, and an input that no step reads has a gradient of zeros")
def tape_keeps_float32(tape_gradients):
    inputs = [np.full(2, 0.5, np.float32), np.ones((2, 2), np.float32)]
    y, grads = tape_gradients(inputs, [("exp", 0), ("mul", 2, 2), ("sum", 3)])
    assert_close(grads[0], np.full(2, 2 * np.e), rtol=1e-5)
    assert_close(grads[1], np.zeros((2, 2)))
    for value in (y, *grads):
        assert_dtype(value, np.float32)


@tape.law("a tape of 3,000 steps is no problem")
def long_tape(tape_gradients):
    steps = [("add", i, 0) for i in range(3000)]
    y, (grad,) = tape_gradients([np.array([0.25])], steps)
    assert_close(y, [750.25])
    assert_close(grad, [3001.0])


@tape.law("no steps, another name, and numbers of values that do not stand before the step: ValueError")
def tape_refuses(tape_gradients):
    for what in ([], [("tan", 0)], [("add", 0, 1)], [("exp", 1)], [("exp", -1)]):
        assert_refuses(f"one input and the tape {what}", tape_gradients, [np.array([1.0])], what)


def walked(inputs, steps, places=None, put=None, start=None):
    """The reference with another order, another way to add up, or another start."""
    tape_gradients(inputs, steps)
    values = [np.asarray(x) for x in inputs]
    for i in range(len(steps)):
        values.append(np.asarray(last_value(inputs, steps[: i + 1])))
    grads = [np.zeros_like(v) for v in values]
    grads[-1] = np.ones_like(values[-1])
    whole = range(len(inputs), len(values))
    for place in reversed(whole) if places is None else places(whole):
        name, *sources = steps[place - len(inputs)]
        g, y, x = (start or (lambda g: g))(grads[place]), values[place], values[sources[0]]
        pair = [g * values[sources[-1]], g * x]
        slopes = {"add": [g, g], "mul": pair, "exp": [g * y], "sum": [np.zeros_like(x) + g]}[name]
        for i, slope in zip(sources, slopes, strict=False):
            slope = unbroadcast(slope, values[i].shape)
            grads[i] = (put or (lambda old, new: old + new))(grads[i], slope)
    return values[-1], grads[: len(inputs)]


@tape.mistake("a gradient replaces what has arrived before", breaks=tape.laws[0].text)
def replaces(inputs, steps):
    return walked(inputs, steps, put=lambda old, new: new)


@tape.mistake("walks the tape forward once more", breaks=tape.laws[0].text)
def forward_again(inputs, steps):
    return walked(inputs, steps, places=lambda whole: whole)


@tape.mistake("each step starts from a gradient of 1", breaks=tape.laws[0].text)
def starts_anew(inputs, steps):
    return walked(inputs, steps, start=np.ones_like)


@tape.mistake("one value read twice by a step counts once", breaks=tape.laws[1].text)
def counts_once(inputs, steps):
    tape_gradients(inputs, steps)
    values = [np.asarray(x) for x in inputs]
    for i in range(len(steps)):
        values.append(np.asarray(last_value(inputs, steps[: i + 1])))
    grads = [np.zeros_like(v) for v in values]
    grads[-1] = np.ones_like(values[-1])
    for place in range(len(values) - 1, len(inputs) - 1, -1):
        name, *sources = steps[place - len(inputs)]
        g, y, x = grads[place], values[place], values[sources[0]]
        pair = [g * values[sources[-1]], g * x]
        slopes = {"add": [g, g], "mul": pair, "exp": [g * y], "sum": [np.zeros_like(x) + g]}[name]
        for i, slope in dict(zip(sources, slopes, strict=False)).items():
            grads[i] = grads[i] + unbroadcast(slope, values[i].shape)
    return values[-1], grads[: len(inputs)]
