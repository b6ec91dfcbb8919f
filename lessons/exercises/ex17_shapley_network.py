"""Exercises of lesson 17, continued: Shapley values by paths, from a network."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.ex17_shapley import mean_over_orders, walked
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.explain import explainer
from minidl.train.metrics import predict

# ---- 17.4 model_paths

paths = Exercise(
    "17.4",
    explainer.model_paths,
    kind="model",
    points=3,
    level=3,
    minutes=30,
    title="Shapley by paths for a network",
    hints=(
        "A path is a walk from the background to the row. After each step look at the network's mean answer.",
        "Begin each order with a copy of the background rows. When feature i becomes known, its whole column "
        "takes the row's value; what i adds is the mean answer now less the mean answer before.",
        "rows[:, i] = row[i]; after = predict(model, rows)[:, target].mean(), and gains[p, i] = ...",
    ),
)


@st.composite
def questions(draw):
    """A network of 3 features and 2 logits, a row (3,), a background (B, 3), orders (P, 3) and a target."""
    model = Built("mlp", seed=draw(st.integers(0, 9)), in_features=3, hidden=(4,), num_classes=2)
    row, background = draw(arrays((3,))), draw(arrays((draw(st.integers(1, 3)), 3)))
    orders = [draw(st.permutations(range(3))) for _ in range(draw(st.integers(1, 3)))]
    return model, row, background, np.array(orders), draw(st.integers(0, 1))


def worths(model, row, background, target):
    """v of all coalitions in bitmask order, with one call for each mixture of row and background."""
    n, mixed = len(row), []
    for c in range(2**n):
        mixed += [[row[i] if c >> i & 1 else other[i] for i in range(n)] for other in background]
    answers = predict(model.build(), np.array(mixed))[:, target].astype(np.float64)
    return answers.reshape(2**n, len(background)).mean(axis=1)


@paths.law("in a linear network feature i adds w_i (x_i - the background's mean of i), whatever the order")
def worked_linear(model_paths):
    model = Built("mlp", seed=2, in_features=2, hidden=(), num_classes=2)
    w = model.build().head.weight.data[0]
    row, background = np.array([3.0, -1.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    found = model_paths(model, row, background, np.array([[0, 1], [1, 0]]))
    assert_close(found, [[2.5 * w[0], -1.5 * w[1]]] * 2, rtol=1e-4, atol=1e-5)


@paths.law("what a feature adds is the worth with it less the worth before, by mixing row for row")
@given(case=questions())
def by_mixing(model_paths, case):
    model, row, background, orders, target = case
    expected = walked(worths(model, row, background, target), orders)
    assert_close(model_paths(model, row, background, orders, target), expected, rtol=1e-4, atol=1e-5)


@paths.law("each path sums to f(row) - mean f(background), in float64")
@given(case=questions())
def sums_to_the_answer(model_paths, case):
    model, row, background, orders, target = case
    found = model_paths(model, row, background, orders, target=target)
    assert_dtype(found, np.float64)
    f = predict(model.build(), np.concatenate([row[np.newaxis], background]))[:, target]
    assert_close(found.sum(axis=1), np.full(len(orders), f[0] - f[1:].mean()), rtol=1e-4, atol=1e-5)


@paths.law("over all orders they average to the Shapley values")
@given(case=questions())
def averages(model_paths, case):
    model, row, background, _, target = case
    orders = np.array(list(itertools.permutations(range(3))))
    found = model_paths(model, row, background, orders, target).mean(axis=0)
    expected = mean_over_orders(worths(model, row, background, target), 3)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@paths.law("a background of integers gives what it gives as floats")
@given(case=questions())
def integers(model_paths, case):
    model, row, background, orders, target = case
    whole = np.rint(background).astype(int)
    expected = model_paths(model, row, whole.astype(np.float64), orders, target)
    assert_close(model_paths(model, row, whole, orders, target), expected, rtol=1e-4, atol=1e-5)


@paths.law(
    "an order that names a feature twice is refused with a ValueError, as is a logit that is not there"
)
@given(case=questions(), twice=st.integers(0, 2))
def refuses_orders(model_paths, case, twice):
    model, row, background, orders, _ = case
    for target in (-1, model.settings["num_classes"]):
        what = f"the logit {target}"
        assert_refuses(what, model_paths, model, row, background, orders, target=target)
    orders[-1] = [twice, twice, 2]
    assert_refuses(f"the order {orders[-1].tolist()}", model_paths, model, row, background, orders)


def mean_answer(model, rows, target):
    return predict(model, rows)[:, target].mean(dtype=np.float64)


@paths.mistake("put the features into the background's mean row", breaks=paths.laws[1].text)
def into_the_mean(model, row, background, orders, target=0):
    mean = background.mean(axis=0, keepdims=True)
    return explainer.model_paths(model, row, mean, orders, target)


@paths.mistake("did not begin the next order with the background again", breaks=paths.laws[0].text)
def never_forgets(model, row, background, orders, target=0):
    gains, rows = explainer.model_paths(model, row, background, orders, target), background.astype(np.float32)
    for p, order in enumerate(orders):
        for i in order:
            before = mean_answer(model, rows, target)
            rows[:, i] = row[i]
            gains[p, i] = mean_answer(model, rows, target) - before
    return gains


@paths.mistake("counted from 0, not from the background's mean answer", breaks=paths.laws[0].text)
def from_nothing(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    first = orders[:, :1]
    base = mean_answer(model, background.astype(np.float32), target)
    np.put_along_axis(gains, first, np.take_along_axis(gains, first, axis=1) + base, axis=1)
    return gains


@paths.mistake("left in the order of becoming known", breaks=paths.laws[0].text)
def as_they_come(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    return np.take_along_axis(gains, orders, axis=1)


@paths.mistake("showed each feature alone, before the background", breaks=paths.laws[1].text)
def one_at_a_time(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    for i in range(len(row)):
        rows = background.astype(np.float32)
        before = mean_answer(model, rows, target)
        rows[:, i] = row[i]
        gains[:, i] = mean_answer(model, rows, target) - before
    return gains
