"""Exercises of lesson 17: Shapley values along orders, by formula, from a network, by regression."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.explain import explainer, shapley
from minidl.train.metrics import predict

FRIENDS = np.array([0.0, 400, 560, 740, 720, 780, 980, 1000])


@st.composite
def games(draw, least=1, most=4):
    """Worths (2**n,) in bitmask order, and n."""
    n = draw(st.integers(least, most))
    return draw(arrays((2**n,))), n


def mean_over_orders(v, n):
    """The value by its definition, order by order."""
    phi = np.zeros(n)
    for order in itertools.permutations(range(n)):
        present = 0
        for player in order:
            phi[player] += v[present | 1 << player] - v[present]
            present |= 1 << player
    return phi / math.factorial(n)


# ---- 17.1 path_contributions

contributions = Exercise(
    "17.1",
    shapley.path_contributions,
    points=2,
    level=1,
    minutes=15,
    hints=(
        "Walk each order as the lesson does: a player adds the worth with them less the worth before.",
        "Who is there after k have come? In bitmask order the worth of coalition c is v[c], and i joins as "
        "c | 1 << i. A function wants rows of bools instead; worths_of(value, n, rows) asks either form.",
        "gains[p, orders[p, k]] = worths[p, k + 1] - worths[p, k], with worths of shape (P, n + 1)",
    ),
)


@st.composite
def walks(draw):
    """A game (2**n,) and orders (P, n)."""
    v, n = draw(games())
    orders = [draw(st.permutations(range(n))) for _ in range(draw(st.integers(1, 3)))]
    return v, np.array(orders)


def walked(v, orders):
    """Player by player, from the worths in bitmask order."""
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        there = 0
        for player in order:
            gains[p, player] = v[there | 1 << player] - v[there]
            there |= 1 << player
    return gains


@contributions.law("Carol, Alice, Bob: the bills 720, 780, 1000, so Alice adds 60, Bob 220, Carol 720")
def worked_path(path_contributions):
    assert_close(path_contributions(FRIENDS, np.array([[2, 0, 1]])), [[60, 220, 720]])


@contributions.law("each player's gain is the worth with them less the worth before")
@given(walk=walks())
def gains_of_each(path_contributions, walk):
    assert_close(path_contributions(*walk), walked(*walk))


@contributions.law("a path's gains sum to v(all) - v(nobody)")
@given(walk=walks())
def telescopes(path_contributions, walk):
    v, orders = walk
    total = np.sum(path_contributions(v, orders), axis=1)
    assert_close(total, np.full(len(orders), v[-1] - v[0]))


@contributions.law("over all orders of a game they average to the Shapley values")
@given(game=games(2, 4))
def averages_to_shapley(path_contributions, game):
    v, n = game
    orders = np.array(list(itertools.permutations(range(n))))
    assert_close(path_contributions(v, orders).mean(axis=0), mean_over_orders(v, n))


@contributions.law("the worths may come as a function of rows of bools, and worths of integers give float64")
def both_forms(path_contributions):
    taxi, orders = np.array([0, 1, 2, 5]), np.array([[0, 1], [1, 0]])  # nobody, the first, the second, both

    def worth(coalitions):
        return taxi[coalitions @ np.array([1, 2])]

    for value in (taxi, worth):
        gains = path_contributions(value, orders)
        assert_close(gains, [[1, 4], [3, 2]])
        assert_dtype(gains, np.float64)


def worths_along(value, orders):
    """(P, n + 1): the worths after 0, 1, ... n players have come."""
    n = orders.shape[1]
    there = np.argsort(orders, axis=1)[:, np.newaxis, :] < np.arange(n + 1)[:, np.newaxis]
    return shapley.worths_of(value, n, there.reshape(-1, n)).reshape(len(orders), n + 1)


@contributions.mistake("left in the order of coming", breaks=contributions.laws[0].text)
def unsorted(value, orders):
    return np.diff(worths_along(value, orders), axis=1)


@contributions.mistake("looked up instead of put", breaks=contributions.laws[0].text)
def taken(value, orders):
    return np.take_along_axis(np.diff(worths_along(value, orders), axis=1), orders, axis=1)


@contributions.mistake("the worth, not the gain", breaks=contributions.laws[0].text)
def worth_itself(value, orders):
    found = np.empty(orders.shape)
    np.put_along_axis(found, orders, worths_along(value, orders)[:, 1:], axis=1)
    return found


@contributions.mistake("what each player is worth alone", breaks=contributions.laws[0].text)
def alone(value, orders):
    n = orders.shape[1]
    worths = shapley.worths_of(value, n, np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)]))
    return np.tile(worths[1:] - worths[0], (len(orders), 1))


# ---- 17.2 shapley_values

values = Exercise(
    "17.2",
    shapley.shapley_values,
    points=2,
    level=2,
    minutes=20,
    hints=(
        "Player i's value is a weighted sum of v(S + i) - v(S) over all coalitions S without i.",
        "v[c] is the worth of those whose bits are set in c; where bit i of c is 0, c | 1 << i is S + i.",
        "S of s players counts in the share 1 / (n * comb(n - 1, s)) of all orders; for c without bit i, "
        "v[c | 1 << i] - v[c]",
    ),
)


@values.law("the three friends pay 180, 360 and 460")
def worked_friends(shapley_values):
    assert_close(shapley_values(FRIENDS, 3), [180, 360, 460], rtol=1e-9)


@values.law("it is the mean over all orders of what a player adds on coming in")
@given(game=games())
def is_the_mean_over_orders(shapley_values, game):
    assert_close(shapley_values(*game), mean_over_orders(*game))


@values.law("efficiency: the values sum to v(all) - v(nobody)")
@given(game=games(most=6))
def efficiency(shapley_values, game):
    v, n = game
    assert_close(np.sum(shapley_values(v, n)), float(v[-1] - v[0]))


@values.law("dummy: a player who adds the same to every coalition gets just that")
@given(game=games(most=3), alone=quarters())
def dummy(shapley_values, game, alone):
    v, n = game
    phi = shapley_values(np.concatenate([v, v + alone]), n + 1)  # the new player is the highest bit
    assert_close(phi[-1], alone)
    assert_close(phi[:-1], mean_over_orders(v, n))


@values.law("additivity: the values of 2v - w are twice those of v less those of w")
@given(game=games(), seed=st.integers(0, 9))
def additivity(shapley_values, game, seed):
    v, n = game
    w = np.random.default_rng(seed).integers(-8, 9, len(v)) / 4
    assert_close(shapley_values(2 * v - w, n), 2 * shapley_values(v, n) - shapley_values(w, n))


@values.law("the worths may come as a function of rows of bools, one coalition a row")
def worths_from_a_function(values):
    taxi = np.array([0.0, 1.0, 2.0, 5.0])  # nobody, the first, the second, both

    def worth(coalitions):
        return taxi[coalitions @ np.array([1, 2])]

    assert_close(values(worth, 2), [2, 3])


@values.law("worths that are not finite, or not 2 to the n, are refused with a ValueError")
@given(game=games(2, 3))
def refuses_worths(shapley_values, game):
    v, n = game
    assert_refuses(f"{len(v) - 1} worths for n = {n}", shapley_values, v[:-1], n)
    v[1] = np.nan
    assert_refuses("a worth of NaN", shapley_values, v, n)


@values.mistake("all coalitions weigh the same", breaks=values.laws[0].text)
def banzhaf(value, n):
    v = np.asarray(value)
    by_bit = [v.reshape(-1, 2, 2**i) for i in range(n)]
    return np.array([(half[:, 1] - half[:, 0]).mean() for half in by_bit])


@values.mistake("players numbered from the highest bit", breaks=values.laws[0].text)
def upside_down(value, n):
    return shapley.shapley_values(value, n)[::-1].copy()


@values.mistake(
    "forgot that nobody may be worth something too", breaks="efficiency: the values sum to v(all) - v(nobody)"
)
def nobody_is_zero(value, n):
    v = np.array(value, np.float64)
    v[0] = 0
    return shapley.shapley_values(v, n)


@values.mistake("what is lost when the player leaves all", breaks=values.laws[0].text)
def last_step_only(value, n):
    v = np.asarray(value)
    return np.array([v[-1] - v[len(v) - 1 - (1 << i)] for i in range(n)], np.float64)


# ---- 17.3 model_paths

paths = Exercise(
    "17.3",
    explainer.model_paths,
    kind="model",
    points=3,
    level=3,
    minutes=30,
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
    """v of all coalitions in bitmask order, each mixture of the row with a background row by itself."""
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


@paths.law("an order that names a feature twice is refused with a ValueError")
@given(case=questions(), twice=st.integers(0, 2))
def refuses_orders(model_paths, case, twice):
    model, row, background, orders, _ = case
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


# ---- 17.4 kernel_solve

solve = Exercise(
    "17.4",
    shapley.kernel_solve,
    points=3,
    level=3,
    minutes=30,
    hints=(
        "Find phi with worth ≈ nobody + sum of phi over the coalition, and with a sum that is known exactly.",
        "Put phi_n = total - the others into it: (z_i - z_n) phi_i, i < n, ≈ worth - nobody - z_n · total.",
        "A = z[:, :-1] - z[:, -1:]; the normal equations have A.T @ (weights[:, np.newaxis] * A) on the left",
    ),
)


def inner(n):
    """All coalitions but the two ends (2**n - 2, n), and their kernel weights."""
    coalitions = shapley.all_coalitions(n)[1:-1]
    return coalitions, shapley.kernel_weights(n)[coalitions.sum(axis=1)]


@solve.law("two players, alone worth 1 and 3, nobody 0, both 10: 4 and 6")
def worked_solve(kernel_solve):
    # phi_B = 10 - phi_A: (phi_A - 1)² + (10 - phi_A - 3)² is least at phi_A = 4
    coalitions = np.array([[True, False], [False, True]])
    found = kernel_solve(coalitions, np.array([1.0, 3.0]), np.array([0.5, 0.5]), 0.0, 10.0)
    assert_close(found, [4, 6])


@solve.law("the values sum to everybody's worth less nobody's")
@given(game=games(2, 4), skew=st.integers(1, 5))
def sums_to_total(kernel_solve, game, skew):
    v, n = game
    coalitions, weights = inner(n)
    found = kernel_solve(coalitions, v[1:-1], weights + np.arange(len(weights)) / skew, v[0], v[-1])
    assert_close(np.sum(found), float(v[-1] - v[0]), atol=1e-8)


@solve.law("an additive game gives back its weights, whatever the coalitions weigh")
@given(alone=arrays((3,)), nobody=quarters(), skew=st.integers(1, 5))
def additive(kernel_solve, alone, nobody, skew):
    coalitions, _ = inner(3)
    worths = nobody + coalitions @ alone
    weights = 1 + np.arange(6) / skew
    assert_close(kernel_solve(coalitions, worths, weights, nobody, nobody + alone.sum()), alone, atol=1e-8)


@solve.law("over all coalitions, with the kernel's weights, it gives the Shapley values")
@given(game=games(2, 4))
def is_shapley(kernel_solve, game):
    v, n = game
    found = kernel_solve(inner(n)[0], v[1:-1], inner(n)[1], v[0], v[-1])
    assert_close(found, mean_over_orders(v, n), atol=1e-8)


@solve.law("coalitions that leave the values undetermined are refused with a ValueError")
@given(worths=arrays((2,)), weight=st.sampled_from([1.0, 0.3]))
def refuses_too_few(kernel_solve, worths, weight):
    # Of three players only the first is ever apart from the other two.
    coalitions, weights = np.array([[True, False, False], [False, True, True]]), np.array([weight, weight])
    assert_refuses(
        "two coalitions of three players, one the others' rest,",
        kernel_solve, coalitions, worths, weights, 0.0, 1.0,
    )  # fmt: skip


@solve.mistake("left the sum free", breaks=solve.laws[0].text)
def unconstrained(coalitions, worths, weights, nobody, everybody):
    root = np.sqrt(weights)
    return np.linalg.lstsq(root[:, None] * coalitions, root * (worths - nobody), rcond=None)[0]


@solve.mistake("took nobody's worth for 0", breaks="the values sum to everybody's worth less nobody's")
def from_zero(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, weights, 0.0, everybody)


@solve.mistake(
    "ignored the weights",
    breaks="over all coalitions, with the kernel's weights, it gives the Shapley values",
)
def unweighted(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, np.ones(len(worths)), nobody, everybody)


@solve.mistake(
    "gave lstsq the weights and not their square roots",
    breaks="over all coalitions, with the kernel's weights, it gives the Shapley values",
)
def squared_weights(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, weights**2, nobody, everybody)
