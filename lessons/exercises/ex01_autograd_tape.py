"""Exercises of lesson 01, continued: a small autograd."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import broadcastable_pairs
from minidl.engine.checks import check_choice, check_int, require
from minidl.engine.op import unbroadcast

# ---- 01.6 tape_gradients


def tape_gradients(inputs: list, steps: list) -> tuple[np.ndarray, list]:
    """Run a tape of operations, and compute the gradients of its result by reverse-mode differentiation.

    All values are numbered. The ``inputs``, floating arrays of any shapes, are the values 0, 1, ... Each step
    adds the next value. A step is a tuple: a name, and the numbers of the earlier values that it reads.

        ("add", i, j)    value i + value j, broadcast as in NumPy; i and j may be equal
        ("mul", i, j)    value i * value j, in the same way
        ("exp", i)       e to the power of each element of value i
        ("sum", i)       the sum of all elements of value i, of shape ()

    Returns the last value y and a list with one gradient for each input: the gradient of the sum of all
    elements of y. It has the input's shape and dtype, and is 0 if y does not depend on the input.
    All values are finite, the ones in between too.
    ValueError for no steps, an unknown name, and a number that does not belong to an earlier value.

    >>> tape_gradients([np.array([5.0])], [("mul", 0, 0), ("add", 1, 0)])  # y = x x + x at x = 5
    (array([30.]), [array([11.])])
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
            slope = unbroadcast(slope, values[source].shape)
            grads[source] = (grads[source] + slope).astype(values[source].dtype)
    return values[-1], grads[: len(inputs)]


tape = Exercise(
    "01.6",
    tape_gradients,
    title="a small autograd, forward along a tape and back",
    points=5,
    level=3,
    minutes=45,
    hints=(
        "Going forward, store every value. Then go back, from the last step to the first. Each step "
        "turns the gradient of its result into gradients of the values that it read.",
        "Keep one gradient for each value. All are 0 at first, except the last, which is 1. On a tape "
        "every value comes before the steps that read it, so go through the tape in reverse. Add each "
        "new gradient to the old one; never overwrite it.",
        "grads[i] = grads[i] + unbroadcast(slope, values[i].shape), for i in the step's sources",
    ),
)


@st.composite
def tapes(draw):
    """Inputs that broadcast together, and a tape of 1 ... 4 steps. At most one of the first two is exp."""
    inputs = list(draw(broadcastable_pairs(-1, 1)))
    steps, exps = [], 0
    for place in range(2, 2 + draw(st.integers(1, 4))):
        names = ["mul", "add", "sum"] + ["exp"] * (exps == 0 and place < 4)
        name = draw(st.sampled_from(names))
        exps += name == "exp"
        count = 2 if name in ("mul", "add") else 1
        steps.append((name, *(draw(st.integers(0, place - 1)) for _ in range(count))))
    return inputs, steps


@tape.law("u = 2x, v = 3u, w = u + v at x = 1: w = 8; the gradients of x, of 2 and of 3 are 8, 4 and 2")
def worked_tape(tape_gradients):
    inputs = [np.array(1.0), np.array(2.0), np.array(3.0)]
    y, grads = tape_gradients(inputs, [("mul", 0, 1), ("mul", 3, 2), ("add", 3, 4)])
    assert_close(y, 8.0)
    for found, expected in zip(grads, (8.0, 4.0, 2.0), strict=True):
        assert_close(found, expected)
        assert_equal(np.shape(found), ())


@tape.law("x · x + x at 5 has the slope 11: all three uses count; two equal inputs have a gradient each")
def worked_three_uses(tape_gradients):
    y, (grad,) = tape_gradients([np.array([5.0])], [("mul", 0, 0), ("add", 0, 1)])
    assert_close(y, [30.0])
    assert_close(grad, [11.0])
    y, (grad,) = tape_gradients([np.array([0.1])], [("mul", 0, 0), ("add", 0, 1)])
    assert_close(y, [0.11], rtol=1e-12)
    assert_close(grad, [1.2], rtol=1e-12)
    x = np.array([3.0])
    for inputs in ([x, x.copy()], [x, x]):  # one array, which is two inputs, has two gradients, too
        _, grads = tape_gradients(inputs, [("mul", 0, 1), ("mul", 2, 1)])
        assert_close(grads[0], [9.0])
        assert_close(grads[1], [18.0])


@tape.law("a bias (3,) that is added to rows (2, 3) gets the sum of the gradients of both rows")
def worked_bias(tape_gradients):
    rows, bias, scale = np.zeros((2, 3)), np.array([1.0, 2.0, 3.0]), np.array([[1.0], [10.0]])
    y, grads = tape_gradients([rows, bias, scale], [("add", 0, 1), ("mul", 3, 2), ("sum", 4)])
    assert_close(y, 66.0)
    assert_close(grads[0], [[1.0, 1.0, 1.0], [10.0, 10.0, 10.0]])
    assert_close(grads[1], [11.0, 11.0, 11.0])
    assert_close(grads[2], [[6.0], [6.0]])
    y, grads = tape_gradients([np.zeros((2, 0)), scale], [("mul", 0, 1), ("sum", 2)])  # no elements
    for found, shape in zip((y, *grads), ((), (2, 0), (2, 1)), strict=True):
        assert_equal(found, np.zeros(shape))


@tape.law("e to the power of 60 and -60 keeps all its digits; arrays of four and five axes broadcast")
def worked_exp(tape_gradients):
    y, (grad,) = tape_gradients([np.array([60.0, -60.0, 0.1])], [("exp", 0)])
    for found in (y, grad):
        assert_close(found, np.exp([60.0, -60.0, 0.1]), rtol=1e-12, atol=0)
    y, grads = tape_gradients([np.array(-30.0), np.array(-3.0)], [("add", 0, 1), ("exp", 2)])
    for found in (y, *grads):  # about 5e-15
        assert_close(found, np.exp(-33.0), rtol=1e-12, atol=0)
    images, channels = np.zeros((2, 3, 2, 3)), np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    y, grads = tape_gradients([images, channels, np.ones((2, 2, 1, 2, 1))], [("add", 0, 1), ("mul", 2, 3)])
    assert_close(y, np.broadcast_to(channels, (2, 2, 3, 2, 3)))
    assert_close(grads[0], np.full((2, 3, 2, 3), 2.0))
    assert_close(grads[1], np.full((1, 3, 1, 1), 24.0))
    assert_close(grads[2], np.full((2, 2, 1, 2, 1), 18.0))


def all_values(inputs, steps):
    values = list(inputs)
    for name, *sources in steps:
        a, b = values[sources[0]], values[sources[-1]]
        values.append(np.exp(a) if name == "exp" else {"add": a + b, "mul": a * b, "sum": a.sum()}[name])
    return [np.asarray(value) for value in values]


def last_value(inputs, steps):
    return all_values(inputs, steps)[-1]


@tape.law("the gradients agree with central differences of the sum of y")
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


@tape.law("each gradient has the dtype of its own input, and is 0 for an input that no step reads")
def tape_keeps_each_dtype(tape_gradients):
    half, ones = np.full(2, 0.5, np.float32), np.ones((2, 2))
    for dtype, rtol in ((np.float32, 1e-5), (np.float16, 1e-2)):
        narrow = [np.full(2, 0.3, dtype), ones.astype(dtype)]
        y, grads = tape_gradients(narrow, [("exp", 0), ("mul", 2, 2), ("sum", 3)])
        assert_close(grads[0], np.full(2, 2 * np.exp(0.6)), rtol=rtol)
        assert_close(grads[1], np.zeros((2, 2)))
        for value in (y, *grads):
            assert_dtype(value, dtype)
    for inputs, expected in (([half, ones], (4.0, 0.5)), ([ones, half], (1.5, 2.0))):
        y, grads = tape_gradients(inputs, [("mul", 0, 1), ("add", 2, 0)])
        assert_dtype(y, np.float64)
        for x, gradient, number in zip(inputs, grads, expected, strict=True):
            assert_close(gradient, np.full(x.shape, number))
            assert_dtype(gradient, x.dtype)
    _, grads = tape_gradients([half, ones / 10], [("mul", 0, 1), ("mul", 2, 1)])
    assert_close(grads[1], ones / 10, rtol=1e-12)  # with the digits of float64


@tape.law("a tape of 3,000 steps works, and one of 60 doublings, which has 2 to the power of 60 paths")
def long_tape(tape_gradients):
    steps = [("add", i, 0) for i in range(3000)]
    y, (grad,) = tape_gradients([np.array([0.25])], steps)
    assert_close(y, [750.25])
    assert_close(grad, [3001.0])
    y, (grad,) = tape_gradients([np.array([0.25])], [("add", i, i) for i in range(60)])
    assert_close(y, [2.0**58])
    assert_close(grad, [2.0**60])


@tape.law("ValueError for no steps, an unknown name, and the number of a value that is not before the step")
def tape_refuses(tape_gradients):
    names = [[(name, 0)] for name in ("tan", "", "s", "sum ", "exponent")]
    numbers = [[("add", 0, 1)], [("mul", 1, 0)], [("exp", 1)], [("exp", -1)]]
    after = [
        [("add", 0, 0), step]
        for step in (("sub", 1, 0), ("Add", 0, 0), ("exp", 2), ("exp", -2), ("mul", 1, -1))
    ]
    before = [
        [step, ("exp", 0)]
        for step in (("sum", -1), ("exp", 1), ("exp", 2), ("add", 3, 0), ("mul", 0, 9), ("tan", 0))
    ]
    for steps in ([], *names, *numbers, *after, *before):
        assert_refuses(f"one input and the tape {steps}", tape_gradients, [np.array([1.0])], steps)


def walked(inputs, steps, places=None, put=None, start=None):
    """The reference with another order, another way to add gradients, or another start."""
    tape_gradients(inputs, steps)
    values = all_values(inputs, steps)
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


@tape.mistake(
    "a new gradient replaces the earlier gradients instead of being added", breaks=tape.laws[0].text
)
def replaces(inputs, steps):
    return walked(inputs, steps, put=lambda old, new: new)


@tape.mistake("goes through the tape forward instead of in reverse", breaks=tape.laws[0].text)
def forward_again(inputs, steps):
    return walked(inputs, steps, places=lambda whole: whole)


@tape.mistake("each step starts from a gradient of 1", breaks=tape.laws[0].text)
def starts_anew(inputs, steps):
    return walked(inputs, steps, start=np.ones_like)


@tape.mistake("a value that one step reads twice counts only once", breaks=tape.laws[1].text)
def counts_once(inputs, steps):
    tape_gradients(inputs, steps)
    values = all_values(inputs, steps)
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
