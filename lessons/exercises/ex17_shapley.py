"""Exercises of lesson 17: Shapley values by formula, along orders, by regression; rows half known."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.explain import explainer, shapley

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


# ---- 17.1 shapley_values

values = Exercise(
    "17.1",
    shapley.shapley_values,
    points=3,
    hints=(
        "Player i's value is a weighted sum of v(S + i) - v(S) over all coalitions S without i.",
        "v[c] is the worth of those whose bits are set in c; where bit i of c is 0, c | 1 << i is S + i.",
        "phi[i] += (v[c | 1 << i] - v[c]) / (n * comb(n - 1, s)), s the number of bits that are set in c",
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


# ---- 17.2 path_contributions

contributions = Exercise(
    "17.2",
    shapley.path_contributions,
    points=2,
    hints=(
        "The k-th to come is orders[p, k]; what they add is the worth with them less the worth before.",
        "np.diff(worths, axis=1) has the gains in the order of coming; they belong into players' columns.",
        "gains[p, orders[p, k]] = worths[p, k + 1] - worths[p, k], or np.put_along_axis",
    ),
)


@st.composite
def walks(draw):
    """Orders (P, n) and worths (P, n + 1)."""
    n, paths = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    orders = np.array([draw(st.permutations(range(n))) for _ in range(paths)])
    return orders, draw(arrays((paths, n + 1)))


@contributions.law("C, A, B come to worths 0, 720, 780, 1000: A adds 60, B 220, C 720")
def worked_path(path_contributions):
    found = path_contributions(np.array([[2, 0, 1]]), np.array([[0.0, 720, 780, 1000]]))
    assert_close(found, [[60, 220, 720]])


@contributions.law("each player's gain is the worth with them less the worth before")
@given(walk=walks())
def gains_of_each(path_contributions, walk):
    orders, worths = walk
    found = path_contributions(orders, worths)
    for p, order in enumerate(orders):
        for k, player in enumerate(order):
            assert_close(found[p, player], worths[p, k + 1] - worths[p, k])


@contributions.law("a path's gains sum to its last worth less its first")
@given(walk=walks())
def telescopes(path_contributions, walk):
    orders, worths = walk
    assert_close(path_contributions(orders, worths).sum(axis=1), worths[:, -1] - worths[:, 0])


@contributions.law("over all orders of a game they average to the Shapley values")
@given(game=games(2, 4))
def averages_to_shapley(path_contributions, game):
    v, n = game
    orders = np.array(list(itertools.permutations(range(n))))
    worths = v[shapley.path_coalitions(orders) @ (1 << np.arange(n))]
    assert_close(path_contributions(orders, worths).mean(axis=0), mean_over_orders(v, n))


@contributions.mistake("left in the order of coming", breaks=contributions.laws[0].text)
def unsorted(orders, worths):
    return np.diff(worths, axis=1)


@contributions.mistake("looked up instead of put", breaks=contributions.laws[0].text)
def taken(orders, worths):
    return np.take_along_axis(np.diff(worths, axis=1), orders, axis=1)


@contributions.mistake("the worth, not the gain", breaks=contributions.laws[0].text)
def worth_itself(orders, worths):
    found = np.empty(orders.shape)
    np.put_along_axis(found, orders, worths[:, 1:], axis=1)
    return found


# ---- 17.3 kernel_solve

solve = Exercise(
    "17.3",
    shapley.kernel_solve,
    points=3,
    hints=(
        "Find phi with worth ≈ nobody + sum of phi over the coalition, and with a sum that is known exactly.",
        "Put phi_n = total - the others into it: (z_i - z_n) phi_i, i < n, ≈ worth - nobody - z_n · total.",
        "(A.T @ (weights[:, None] * A)) phi = A.T @ (weights * b); append total - phi.sum()",
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


# ---- 17.4 mixed_rows

mixed = Exercise(
    "17.4",
    explainer.mixed_rows,
    points=2,
    hints=(
        "Every coalition meets every background row: known positions from the row, the others from it.",
        "known[:, np.newaxis] has an axis for the background rows; np.where then does them all.",
        "np.where(known[:, np.newaxis], row, background).reshape(-1, *row.shape)",
    ),
)


@st.composite
def mixtures(draw):
    """A row (...), background (B, ...) and known (m, ...)."""
    shape = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    row, background = draw(arrays(shape)), draw(arrays((draw(st.integers(1, 3)), *shape)))
    return row, background, draw(arrays((draw(st.integers(1, 3)), *shape))) > 0


@mixed.law("row (8, 9) over (1, 2) and (3, 4): first known, then nothing")
def worked_mixture(mixed_rows):
    known = np.array([[True, False], [False, False]])
    found = mixed_rows(np.array([8, 9]), np.array([[1, 2], [3, 4]]), known)
    assert_equal(found, np.array([[8, 2], [8, 4], [1, 2], [3, 4]]))


@mixed.law("each coalition's rows stand together, one for each background row")
@given(case=mixtures())
def in_order(mixed_rows, case):
    row, background, known = case
    found = mixed_rows(row, background, known)
    expected = [
        [row[i] if who[i] else other[i] for i in np.ndindex(row.shape)]
        for who in known
        for other in background
    ]
    assert_equal(found, np.array(expected).reshape(-1, *row.shape))


@mixed.law("all known is the row itself, nothing known the background")
@given(case=mixtures())
def both_ends(mixed_rows, case):
    row, background, _ = case
    everything, nothing = np.ones((1, *row.shape), bool), np.zeros((1, *row.shape), bool)
    assert_equal(mixed_rows(row, background, everything), np.stack([row] * len(background)))
    assert_equal(mixed_rows(row, background, nothing), background)


@mixed.mistake("known and unknown exchanged", breaks=mixed.laws[0].text)
def exchanged(row, background, known):
    return explainer.mixed_rows(row, background, ~known)


@mixed.mistake("background row by background row", breaks=mixed.laws[0].text)
def other_order(row, background, known):
    return np.where(known, row, background[:, np.newaxis]).reshape(-1, *row.shape)


@mixed.mistake("the background's mean for each of its rows", breaks=mixed.laws[0].text)
def by_mean(row, background, known):
    return explainer.mixed_rows(row, np.broadcast_to(background.mean(axis=0), background.shape), known)
