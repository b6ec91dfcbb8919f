"""Exercises of lesson 15: three rules for the backward pass through a ReLU."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine import elementwise
from minidl.explain import gradients

# Gradients R and inputs f of the five neurons in the example of lesson 15.
R = np.array([2.0, -1.0, 3.0, 1.0, -2.0])
F = np.array([1.0, 2.0, -1.0, 0.5, 3.0])


@st.composite
def pairs(draw):
    """R and f of one shape, with some zeros."""
    shape = draw(st.sampled_from([(6,), (2, 3), (2, 2, 2, 2)]))
    return draw(arrays(shape)), draw(arrays(shape))


INF, TINY, HUGE = np.inf, 1e-45, 3e38  # about the smallest and the largest positive numbers of float32


def assert_passes(rule, grad, x, expected):
    """The rule gives this, in grad's dtype, whatever the dtype of x is, also if nothing passes."""
    kinds = (np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float32)
    for dtype, other in (*kinds, (np.float16, np.float32)):
        with np.errstate(over="ignore"):
            some, wanted = np.array(grad, dtype), np.array(expected, dtype)
        inputs = np.array(x, other) * (1e-250 if other is np.float64 else 1)  # in float32, this would be 0
        passed = rule(some, inputs)
        assert_equal(passed, wanted)
        assert_dtype(passed, dtype)
        rows = [np.array([values, values]) for values in (some, inputs)]
        passed = rule(*map(np.asfortranarray, rows))  # memory goes down the columns
        assert_equal(passed, np.array([wanted, wanted]))
        closed = rule(-abs(some), -abs(inputs))
        assert_equal(closed, np.zeros(some.shape))
        assert_dtype(closed, dtype)


# ---- 15.1 backprop_rule

backprop = Exercise(
    "15.1",
    elementwise.backprop_rule,
    title="the gradient of a ReLU",
    points=1,
    minutes=10,
    hints=(
        "Where the input was positive, ReLU returned the input, so the gradient passes. Elsewhere ReLU "
        "returned 0, so the gradient is 0.",
        "Compare the input x with 0, not the gradient. Where x is 0, the result is 0.",
        "np.where(..., grad, 0) selects. A product with the mask would turn an infinite gradient into NaN.",
    ),
)


@backprop.law("R = (2, -1, 3, 1, -2) at f = (1, 2, -1, 0.5, 3) becomes (2, -1, 0, 1, -2)")
def worked_backprop(backprop_rule):
    assert_close(backprop_rule(R, F), [2, -1, 0, 1, -2])


@backprop.law("away from x = 0, the result is the slope of max(x, 0) times the gradient")
@given(case=pairs())
def is_the_slope(backprop_rule, case):
    grad, x = case
    x = np.where(x == 0, 1.0, x)
    slope = (np.maximum(x + 0.01, 0) - np.maximum(x - 0.01, 0)) / 0.02
    assert_close(backprop_rule(grad, x), grad * slope)


@backprop.law("where x is 0, the result is 0")
@given(case=pairs())
def nothing_at_zero(backprop_rule, case):
    assert_close(backprop_rule(case[0], np.zeros_like(case[1])), np.zeros_like(case[0]))


@backprop.law("the rule is linear in the gradient: -2 R gives -2 times the result of R")
@given(case=pairs())
def linear_in_the_gradient(backprop_rule, case):
    grad, x = case
    assert_close(backprop_rule(-2 * grad, x), -2 * backprop_rule(grad, x))


@backprop.law("an input of 1e-45 counts as positive, and the result has the gradient's dtype")
def barely_positive(backprop):
    assert_passes(backprop, [2, 3, HUGE, -TINY], [TINY, -TINY, HUGE, 1], [2, 0, HUGE, -TINY])
    assert_equal(backprop(np.array([2.0, 3.0]), np.array([5e-324, -5e-324])), [2.0, 0.0])


@backprop.law("infinite values follow the same rule: an infinite gradient becomes 0 or stays as it is")
def infinite_gradient(backprop):
    assert_passes(backprop, [INF, -INF, INF, -INF, 2, 2], [1, 2, -1, 0, INF, -INF], [INF, -INF, 0, 0, 2, 0])


@backprop.mistake("let the gradient pass at x = 0", breaks="where x is 0, the result is 0")
def passes_at_zero(grad, x):
    return grad * (x >= 0)


@backprop.mistake("also set negative gradients to 0", breaks=backprop.laws[0].text)
def also_rectifies(grad, x):
    return grad * (x > 0) * (grad > 0)


@backprop.mistake("multiplied by the ReLU's output", breaks=backprop.laws[0].text)
def times_the_answer(grad, x):
    return grad * np.maximum(x, 0)


# ---- 15.2 deconvnet_rule

deconv = Exercise(
    "15.2",
    gradients.deconvnet_rule,
    title="the rule of the deconvnet",
    points=1,
    minutes=10,
    hints=(
        "The gradient itself goes through a ReLU. The input x does not matter.",
        "Negative gradients become 0. x is an argument only because every rule is called with grad and x.",
        "np.where(..., grad, 0), or np.maximum with 0",
    ),
)


@deconv.law("R = (2, -1, 3, 1, -2) at f = (1, 2, -1, 0.5, 3) becomes (2, 0, 3, 1, 0)")
def worked_deconvnet(deconvnet_rule):
    assert_close(deconvnet_rule(R, F), [2, 0, 3, 1, 0])


@deconv.law("the ReLU's input does not matter")
@given(case=pairs())
def blind_to_the_input(deconvnet_rule, case):
    grad, x = case
    assert_close(deconvnet_rule(grad, x), deconvnet_rule(grad, 1 - x))


@deconv.law("the result is the ReLU of the gradient")
@given(case=pairs())
def is_relu(deconvnet_rule, case):
    assert_close(deconvnet_rule(*case), np.maximum(case[0], 0))


@deconv.law("a gradient of 1e-45 counts as positive, and the result has the gradient's dtype")
def barely_positive_gradient(deconv):
    assert_passes(deconv, [TINY, -TINY, HUGE, 0], [1, 1, -1, 1], [TINY, 0, HUGE, 0])


@deconv.law("infinite values follow the same rule: an infinite gradient becomes 0 or stays as it is")
def infinite_gradient_back(deconv):
    assert_passes(deconv, [INF, -INF, INF, 2, 3], [1, 2, -1, -INF, INF], [INF, 0, INF, 2, 3])


@deconv.mistake("looked at the input instead of the gradient", breaks=deconv.laws[0].text)
def by_the_input(grad, x):
    return grad * (x > 0)


@deconv.mistake("kept the magnitude of negative gradients", breaks="the result is the ReLU of the gradient")
def magnitude(grad, x):
    return np.abs(grad)


@deconv.mistake("returned float64 instead of the gradient's dtype", breaks=deconv.laws[1].text)
def widened(grad, x):
    return np.where(grad > 0, grad, 0).astype(np.float64)


# ---- 15.3 guided_rule

guided = Exercise(
    "15.3",
    gradients.guided_rule,
    title="the guided rule",
    points=1,
    minutes=10,
    hints=(
        "Both conditions must hold: the input x was positive, and the gradient is positive.",
        "Make a mask where x > 0 and a mask where grad > 0, and combine them.",
        "np.where(... & ..., grad, 0). Put each comparison in brackets, because & binds more tightly than >.",
    ),
)


@guided.law("R = (2, -1, 3, 1, -2) at f = (1, 2, -1, 0.5, 3) becomes (2, 0, 0, 1, 0)")
def worked_guided(guided_rule):
    assert_close(guided_rule(R, F), [2, 0, 0, 1, 0])


@guided.law("where R > 0 the result is that of backprop")
@given(case=pairs())
def backprop_where_positive(guided_rule, case):
    grad, x = case
    assert_close(guided_rule(grad, x)[grad > 0], (grad * (x > 0))[grad > 0])


@guided.law("where f > 0 the result is that of the deconvnet")
@given(case=pairs())
def deconvnet_where_on(guided_rule, case):
    grad, x = case
    assert_close(guided_rule(grad, x)[x > 0], np.maximum(grad, 0)[x > 0])


@guided.law("where R <= 0 and f <= 0 the result is 0, and no result is negative")
@given(case=pairs())
def else_nothing(guided_rule, case):
    grad, x = case
    passed = guided_rule(grad, x)
    closed = (grad <= 0) | (x <= 0)
    assert_close(passed[closed], np.zeros(int(closed.sum())))
    assert_close(np.minimum(passed, 0), np.zeros_like(grad))


@guided.law("1e-45 counts as positive, as input and as gradient, and the result has the gradient's dtype")
def barely_positive_both(guided):
    assert_passes(guided, [TINY, 2, -TINY, HUGE], [1, TINY, 1, HUGE], [TINY, 2, 0, HUGE])
    assert_passes(guided, [1e-30, TINY, -2], [1e-30, TINY, -1], [1e-30, TINY, 0])  # products would be 0


@guided.law("infinite values follow the same rule: an infinite gradient becomes 0 or stays as it is")
def infinite_both(guided):
    assert_passes(guided, [INF, -INF, INF, 2, 2], [1, 2, -1, INF, -INF], [INF, 0, 0, 2, 0])


@guided.mistake("let the gradient pass if only one condition holds", breaks=guided.laws[0].text)
def either(grad, x):
    return grad * ((x > 0) | (grad > 0))


@guided.mistake("asked that the product be positive", breaks=guided.laws[1].text)
def of_the_product(grad, x):
    return grad * (grad * x > 0)


@guided.mistake("checked only the gradient, not the input", breaks=guided.laws[0].text)
def without_the_input(grad, x):
    return np.maximum(grad, 0)
