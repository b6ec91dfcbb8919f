"""Exercises of lesson 17, continued: Shapley values by paths, from a network."""

import itertools

import numpy as np

from lessons.exercises.ex17_shapley import mean_over_orders, walked
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
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
        "A path goes from the background rows to the row. After each step compute the network's mean answer.",
        "Begin each order with a copy of the background rows. When feature i becomes known, set its "
        "whole column to row[i]. Feature i adds the mean answer after this step minus the mean answer "
        "before.",
        "rows[:, i] = row[i]; after = predict(model, rows)[:, target].mean(dtype=np.float64); gains[p, "
        "i] = ... predict gives the logits in evaluation mode.",
    ),
)


MIXED = "the result is that of a loop that mixes the row with each background row"
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def questions(seed, **how):
    """A network of 3 features and 2 logits, a row (3,), a background (B, 3), orders (P, 3) and a target."""
    model = Built("mlp", seed=seed, in_features=3, hidden=(4,), num_classes=2, **how)
    rng = np.random.default_rng(seed)
    row, background = rng.integers(-8, 9, 3) / 4, rng.integers(-8, 9, (1 + seed % 3, 3)) / 4
    orders = np.array([rng.permutation(3) for _ in range(1 + seed % 2)])
    return model, row, background, orders, seed // 2 % 2


def worths(model, row, background, target):
    """v of all coalitions in bitmask order, with one call for each mixture of row and background."""
    n, mixed = len(row), []
    for c in range(2**n):
        mixed += [[row[i] if c >> i & 1 else other[i] for i in range(n)] for other in background]
    answers = predict(model.build(), np.array(mixed))[:, target].astype(np.float64)
    return answers.reshape(2**n, len(background)).mean(axis=1)


@paths.law("in a linear network, feature i adds w_i (x_i - its mean in the background), for any order")
def worked_linear(model_paths):
    model = Built("mlp", seed=2, in_features=2, hidden=(), num_classes=2)
    w = model.build().head.weight.data[0]
    row, background = np.array([3.0, -1.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    found = model_paths(model, row, background, np.array([[0, 1], [1, 0]]))
    assert_close(found, [[2.5 * w[0], -1.5 * w[1]]] * 2, rtol=1e-4, atol=1e-5)
    row, background = row.astype(np.float32), background.astype(np.float32)
    orders = np.array([[0, 1], [1, 0]] * 10, np.int32)
    found = model_paths(model, row, background, orders, np.int64(0))
    assert_close(found, [[2.5 * w[0], -1.5 * w[1]]] * 20, rtol=1e-4, atol=1e-5)
    one = Built("linear", weight=[[0.5, 4097.0]])  # one logit; float16 has no 4097 and no 0.1
    found = model_paths(one, np.array([0.1, 2.0]), np.array([[0.7, 0.0]]), orders[:1])
    assert_close(found, [[-0.3, 8194]], rtol=1e-6)
    found = model_paths(one, np.uint8([200, 3]), np.uint8([[100, 0]]), orders[:1])
    assert_close(found, [[50, 12291]])
    uneven = Built("linear", weight=[[2.0**-40, 2.0**30]])  # a gain may be small or large
    found = model_paths(uneven, np.array([1.5, 0.25]), np.array([[0.5, 0.0]]), orders[:1])
    assert_close(found, [[2.0**-40, 2.0**28]], atol=0)
    large = np.array([2**24 + 1, 2])  # as float32 the first is 2**24
    assert_close(model_paths(one, large, np.array([[2.0**24, 2.0]]), orders[:1]), [[0, 0]])


@paths.law(MIXED)
def by_mixing(model_paths):
    for seed in range(12):
        model, row, background, orders, target = questions(seed)
        expected = walked(worths(model, row, background, target), orders)
        assert_close(model_paths(model, row, background, orders, target), expected, **NEAR)


@paths.law("each order sums to f(row) - mean f(background), in float64, also for 1100 background rows")
def sums_to_the_answer(model_paths):
    for seed in range(4):
        model, row, background, orders, target = questions(seed)
        if seed == 3:
            background = np.arange(3300).reshape(3, 1100).T % 17 / 4 - 2
        found = model_paths(model, row, background, orders, target=target)
        assert_dtype(found, np.float64)
        narrow = row.astype(np.float32), background.astype(np.float32)
        assert_dtype(model_paths(model, *narrow, orders, target=target), np.float64)
        f = predict(model.build(), np.concatenate([row[np.newaxis], background]))[:, target]
        assert_close(found.sum(axis=1), np.full(len(orders), f[0] - f[1:].mean()), **NEAR)


@paths.law("the mean over all orders of features gives the Shapley values")
def averages(model_paths):
    orders = np.asfortranarray(list(itertools.permutations(range(3))))  # in memory column by column
    for seed in range(4):
        model, row, background, _, target = questions(seed)
        found = model_paths(model, row, background, orders, target).mean(axis=0)
        assert_close(found, mean_over_orders(worths(model, row, background, target), 3), **NEAR)


@paths.law("a frozen network in training mode runs in evaluation mode, and is as before afterwards")
def while_training(model_paths):
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True}, {"requires_grad": ("head",)}, frozen, {"training": ("dropout1",)}):
        model, row, background, orders, target = questions(5, dropout=0.5, **how)
        expected = walked(worths(model, row, background, target), orders)
        assert_close(model_paths(model, row, background, orders, target), expected, **NEAR)
    norm = Built("batch_norm", mean=[1.0, 2.0, 3.0], var=[1.0, 4.0, 9.0], eps=0.0, training=True)
    found = model_paths(norm, np.ones(3), np.array([[3.0, 0.0, 5.0], [3.0, 0.0, 7.0]]), np.array([[2, 0, 1]]))
    assert_close(found, [[-2, 0, 0]], **NEAR)
    network = Built("mlp", in_features=4, hidden=(4,), num_classes=2, training=True)
    assert_refuses("rows of 3 features for 4 inputs", model_paths, network, row, background, orders)


@paths.law("an integer row or background gives the same result as the same numbers in floats")
def integers(model_paths):
    for seed in range(6):
        model, row, background, orders, target = questions(seed)
        whole = np.rint(background).astype(int)
        expected = walked(worths(model, row, whole.astype(np.float64), target), orders)
        assert_close(model_paths(model, row, whole, orders, target), expected, **NEAR)
        row = np.rint(2 * row).astype(int)
        background = whole if seed % 2 else background
        expected = walked(
            worths(model, row.astype(np.float64), background.astype(np.float64), target), orders
        )
        assert_close(model_paths(model, row, background, orders, target), expected, **NEAR)


@paths.law(
    "ValueError for an order that does not name each feature once, and for a logit that does not exist"
)
def refuses_orders(model_paths):
    model, row, background, orders, _ = questions(1)
    model = Built(model.builder, model.seed, **{**model.settings, "training": True})  # which it stays
    for target in (-1, model.settings["num_classes"]):
        what = f"the logit {target}"
        assert_refuses(what, model_paths, model, row, background, orders, target=target)
    for wrong in ([0, 0, 2], [1, 1, 1], [2, 2, 2], [-1, 0, 1], [0, 1, 3], [1, 2, 3]):
        for both in ([orders[0], wrong], [wrong, orders[0]]):
            assert_refuses(f"the order {wrong}", model_paths, model, row, background, np.array(both))
    both = np.array([[0, 0, 2], [1, 1, 2]])  # together they name each feature twice
    assert_refuses("two wrong orders", model_paths, model, row, background, both)
    again = np.array([[0, 1, 2, 1]])
    assert_refuses("an order with feature 1 twice", model_paths, model, row, background, again)
    short = np.array([[0, 1], [1, 0]])
    assert_refuses("orders of two of the three features", model_paths, model, row, background, short)
    for rows in (np.zeros((1, 1)), np.ones((1, 1))):  # of one feature, known or unknown
        what, first = "a single feature whose number is 1", np.array([[0]])
        assert_refuses(what, model_paths, Built("linear", weight=[[1.0]]), np.ones(1), rows, first + 1)
        what = "a single feature and a logit that does not exist"
        assert_refuses(what, model_paths, Built("linear", weight=[[1.0]]), np.ones(1), rows, first, 1)


def mean_answer(model, rows, target):
    return predict(model, rows)[:, target].mean(dtype=np.float64)


@paths.mistake("put the features into the mean row of the background", breaks=MIXED)
def into_the_mean(model, row, background, orders, target=0):
    mean = background.mean(axis=0, keepdims=True)
    return explainer.model_paths(model, row, mean, orders, target)


@paths.mistake("did not begin each order with the background rows again", breaks=paths.laws[0].text)
def never_forgets(model, row, background, orders, target=0):
    gains, rows = explainer.model_paths(model, row, background, orders, target), background.astype(np.float32)
    for p, order in enumerate(orders):
        for i in order:
            before = mean_answer(model, rows, target)
            rows[:, i] = row[i]
            gains[p, i] = mean_answer(model, rows, target) - before
    return gains


@paths.mistake("started at 0, not at the mean answer for the background", breaks=paths.laws[0].text)
def from_nothing(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    first = orders[:, :1]
    base = mean_answer(model, background.astype(np.float32), target)
    np.put_along_axis(gains, first, np.take_along_axis(gains, first, axis=1) + base, axis=1)
    return gains


@paths.mistake("left the numbers in the order in which features become known", breaks=paths.laws[0].text)
def as_they_come(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    return np.take_along_axis(gains, orders, axis=1)


@paths.mistake("made each feature known alone, with all others from the background", breaks=MIXED)
def one_at_a_time(model, row, background, orders, target=0):
    gains = explainer.model_paths(model, row, background, orders, target)
    for i in range(len(row)):
        rows = background.astype(np.float32)
        before = mean_answer(model, rows, target)
        rows[:, i] = row[i]
        gains[:, i] = mean_answer(model, rows, target) - before
    return gains
