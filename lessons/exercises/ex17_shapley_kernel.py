"""Exercises of lesson 17, continued: Shapley values by regression."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.ex17_shapley import games, mean_over_orders
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.explain import shapley

# ---- 17.3 kernel_solve

solve = Exercise(
    "17.3",
    shapley.kernel_solve,
    points=2,
    level=2,
    minutes=30,
    title="Shapley values by a weighted regression",
    hints=(
        "Find phi so that each worth is about nobody + the sum of phi over the coalition. The sum of "
        "all phi is known exactly: everybody - nobody.",
        "Replace phi_n by total - the sum of the others. This leaves n - 1 unknowns and an ordinary "
        "weighted fit. The docstring has its equation for each z.",
        "A = z[:, :-1] - z[:, -1:]. The normal equations are A.T @ (weights[:, np.newaxis] * A) @ phi = "
        "A.T @ (weights * ...). If the matrix on the left has a rank below n - 1, raise a ValueError.",
    ),
)


def inner(n):
    """All coalitions except the empty and the full one (2**n - 2, n), and their kernel weights."""
    coalitions = shapley.all_coalitions(n)[1:-1]
    return coalitions, shapley.kernel_weights(n)[coalitions.sum(axis=1)]


@solve.law("two players with the worths 1 and 3 alone, 0 for nobody and 10 for both get 4 and 6")
def worked_solve(kernel_solve):
    # phi_B = 10 - phi_A, so (phi_A - 1)² + (10 - phi_A - 3)² is smallest at phi_A = 4
    coalitions = np.array([[True, False], [False, True]])
    for size in (1.0, 1e-18, 1e-60):  # the size of the weights does not matter
        found = kernel_solve(coalitions, np.array([1.0, 3.0]), size * np.array([0.5, 0.5]), 0.0, 10.0)
        assert_close(found, [4, 6])
    found = kernel_solve(coalitions, np.array([1e-15, 3e-15]), np.ones(2), 0.0, 1e-14)
    assert_close(found, [4e-15, 6e-15], atol=0)
    large = 2.0**25 + 1  # float32 holds no odd number beyond 2^24
    found = kernel_solve(coalitions, large + np.array([1.0, 3.0]), np.ones(2), large, large + 10)
    assert_close(found, [4, 6])
    found = kernel_solve(coalitions, np.array([1 / 3, 5e9]), np.array([1 / 7, 1 / 7]), 1 / 9, 7e9)
    assert_close(found, [1e9 + 1 / 9, 6e9 - 2 / 9], rtol=1e-12)  # float32 holds none of these


@solve.law("a lone player gets everybody - nobody, in float64")
def alone(kernel_solve):
    for nobody, everybody in ((2, 5), (5.0, 2.0), (0.0, 1e-10 / 3), (0.0, 1e9 / 3)):
        found = kernel_solve(np.zeros((0, 1), bool), np.zeros(0), np.zeros(0), nobody, everybody)
        assert_close(found, [everybody - nobody], rtol=1e-12, atol=0)
        assert_dtype(found, np.float64)
    both = np.array([[False], [True]])
    for weights in (np.ones(2), np.zeros(2)):
        assert_close(kernel_solve(both, np.array([2.0, 5.0]), weights, 2.0, 5.0), [3.0])


@solve.law("one coalition fits two players exactly; two different worths of it give their weighted mean")
def alone_and_twice(kernel_solve):
    first = np.array([[True, False]])
    assert_close(kernel_solve(first, np.array([1.0]), np.array([0.5]), 0.0, 10.0), [1, 9])
    # A twice, with the worths 1 and 5 and the weights 3 and 1; then B with the weight 0
    coalitions, worths, weights = np.array([[True, False]] * 2 + [[False, True]]), [1, 5, 7], [3, 1, 0]
    found = kernel_solve(coalitions, np.array(worths), np.array(weights), 0, 10)  # all integers
    assert_close(found, [2, 8])
    for size in (1e-9, 1e9):  # the same weights in another unit
        found = kernel_solve(coalitions, np.array(worths), size * np.array(weights), 0.0, 10.0)
        assert_close(found, [2, 8])
    found = kernel_solve(coalitions, np.array(worths), np.array([1e4, 1.0, 0.0]), 0.0, 10.0)
    assert_close(found, [10005 / 10001, 90005 / 10001])
    found = kernel_solve(coalitions, np.array(worths), np.array([1 / 3, 1 / 7, 0.0]), 0.0, 10.0)
    assert_close(found, [2.2, 7.8], rtol=1e-12)
    faint = np.array([1.0, 1e-10])  # both coalitions are needed, so the fit is exact for any weights
    found = kernel_solve(np.eye(3, dtype=bool)[:2], np.array([2.0, 4.0]), faint, 1.0, 10.0)
    assert_close(found, [1, 3, 5])


@solve.law("the values sum to everybody - nobody")
@given(game=games(2, 4), skew=st.integers(1, 5))
def sums_to_total(kernel_solve, game, skew):
    v, n = game
    coalitions, weights = inner(n)
    found = kernel_solve(coalitions, v[1:-1], weights + np.arange(len(weights)) / skew, v[0], v[-1])
    assert_close(np.sum(found), float(v[-1] - v[0]), atol=1e-8)


@solve.law("in an additive game each player gets the worth it adds, for any weights of the coalitions")
@given(alone=arrays((3,)), nobody=quarters(), skew=st.integers(1, 5))
def additive(kernel_solve, alone, nobody, skew):
    coalitions, _ = inner(3)
    worths = nobody + coalitions @ alone
    weights = 1 + np.arange(6) / skew
    assert_close(kernel_solve(coalitions, worths, weights, nobody, nobody + alone.sum()), alone, atol=1e-8)
    alone, single = np.append(alone, np.ones(13)), np.eye(16, dtype=bool)  # 16 players
    ends = np.array([[False] * 16, [True] * 16])  # the worths of these two are known, so they are no harm
    coalitions = np.concatenate([single, ends])
    worths, weights = nobody + coalitions @ alone, 1 + np.arange(18) / skew
    assert_close(kernel_solve(coalitions, worths, weights, nobody, nobody + alone.sum()), alone, atol=1e-8)


@solve.law("with all coalitions and the kernel's weights, the result is the Shapley values")
@given(game=games(2, 4))
def is_shapley(kernel_solve, game):
    v, n = game
    by_columns = np.asfortranarray(inner(n)[0])  # in memory column by column
    found = kernel_solve(by_columns, v[1:-1], inner(n)[1], v[0], v[-1])
    assert_close(found, mean_over_orders(v, n), atol=1e-8)


@solve.law("coalitions that do not determine the values are refused with a ValueError")
@given(worths=arrays((2,)), weight=st.sampled_from([1.0, 0.3]))
def refuses_too_few(kernel_solve, worths, weight):
    # In these coalitions of three players, the last two are never separated.
    coalitions, weights = np.array([[True, False, False], [False, True, True]]), np.array([weight, weight])
    assert_refuses(
        "two coalitions of three players, one the others' rest,",
        kernel_solve, coalitions, worths, weights, 0.0, 1.0,
    )  # fmt: skip
    twice = np.concatenate([coalitions, coalitions]), np.tile(worths, 2), np.tile(weights, 2)
    assert_refuses("the same two, twice,", kernel_solve, *twice, 0.0, 1.0)
    more, weights = np.eye(3, dtype=bool), np.array([weight, 0.0, 0.0])
    what = "three coalitions of which two have the weight 0"
    assert_refuses(what, kernel_solve, more, np.append(worths, 0.5), weights, 0.0, 1.0)
    assert_refuses("no weight above 0", kernel_solve, more, np.append(worths, 0.5), 0 * weights, 0.0, 1.0)
    none = np.zeros((0, 2), bool), np.zeros(0), np.zeros(0)
    assert_refuses("no coalition of two players", kernel_solve, *none, 0.0, 1.0)
    assert_refuses(
        "only the coalition of both", kernel_solve, np.ones((1, 2), bool), worths[:1], weights[:1], 0.0, 1.0
    )


@solve.law(
    "three coalitions of five players, each given twice, are refused with a ValueError for any weights"
)
def refuses_three_of_five(kernel_solve):
    for seed in range(40):  # in some, rounding hides that there are many solutions
        rng = np.random.default_rng(seed)
        coalitions = np.tile(rng.random((3, 5)) < 0.5, (2, 1))
        weights, worths = rng.uniform(0.1, 1, 13), rng.normal(size=13)
        what = f"three coalitions of five players (seed {seed})"
        assert_refuses(what, kernel_solve, coalitions, worths[:6], weights[:6], 0.0, 1.0)
        # all players together determine nothing, as their sum is known; nor do coalitions of the weight 0
        coalitions = np.concatenate([coalitions, np.ones((1, 5), bool), rng.random((6, 5)) < 0.5])
        weights[7:] = 0
        what += ", all five players, and others of the weight 0"
        assert_refuses(what, kernel_solve, coalitions, worths, weights, 0.0, 1.0)
        many = rng.random((60, 12)) < 0.5
        many[:, 3] = many[:, 2]  # their sum is determined, and rounding leaves a determinant above 0
        what = f"coalitions {many.astype(int).tolist()}, in which two players are never separated,"
        assert_refuses(what, kernel_solve, many, many.mean(axis=1), np.ones(60), 0.0, 1.0)


@solve.mistake("did not fix the sum of the values", breaks=solve.laws[0].text)
def unconstrained(coalitions, worths, weights, nobody, everybody):
    root = np.sqrt(weights)
    return np.linalg.lstsq(root[:, None] * coalitions, root * (worths - nobody), rcond=None)[0]


@solve.mistake("took nobody as 0", breaks="the values sum to everybody - nobody")
def from_zero(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, weights, 0.0, everybody)


@solve.mistake(
    "ignored the weights",
    breaks="with all coalitions and the kernel's weights, the result is the Shapley values",
)
def unweighted(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, np.ones(len(worths)), nobody, everybody)


@solve.mistake(
    "gave lstsq the weights instead of their square roots",
    breaks="with all coalitions and the kernel's weights, the result is the Shapley values",
)
def squared_weights(coalitions, worths, weights, nobody, everybody):
    return shapley.kernel_solve(coalitions, worths, weights**2, nobody, everybody)
