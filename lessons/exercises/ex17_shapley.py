"""Exercises of lesson 17: Shapley values from orders of the players, and by formula."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.explain import shapley

FRIENDS = np.array([0.0, 400, 560, 740, 720, 780, 980, 1000])


@st.composite
def games(draw, least=1, most=4):
    """Worths (2**n,) in bitmask order, and n."""
    n = draw(st.integers(least, most))
    return draw(arrays((2**n,))), n


def mean_over_orders(v, n):
    """The value from its definition, order by order."""
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
    title="what players add along given orders",
    helpers=("worths_of",),
    hints=(
        "Go through each order, player by player. A player adds the worth after joining, minus the "
        "worth before.",
        "Which players are in the coalition after k steps? In an array of worths, coalition c has the "
        "worth v[c], and player i joins by c | 1 << i. A function needs rows of bools. worths_of(value, "
        "n, rows) takes rows of bools and works for both forms.",
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
    """The contributions, player by player, from the worths in bitmask order."""
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        there = 0
        for player in order:
            gains[p, player] = v[there | 1 << player] - v[there]
            there |= 1 << player
    return gains


@contributions.law(
    "in the order Carol, Alice, Bob the bills are 720, 780, 1000: Alice adds 60, Bob 220, Carol 720"
)
def worked_path(path_contributions):
    assert_close(path_contributions(FRIENDS, np.array([[2, 0, 1]])), [[60, 220, 720]])


@contributions.law("each player adds the worth after joining minus the worth before")
@given(walk=walks())
def gains_of_each(path_contributions, walk):
    assert_close(path_contributions(*walk), walked(*walk))


@contributions.law("the numbers of one order sum to v(all) - v(nobody)")
@given(walk=walks())
def telescopes(path_contributions, walk):
    v, orders = walk
    total = np.sum(path_contributions(v, orders), axis=1)
    assert_close(total, np.full(len(orders), v[-1] - v[0]))


@contributions.law("the mean over all orders gives the Shapley values")
@given(game=games(2, 4))
def averages_to_shapley(path_contributions, game):
    v, n = game
    orders = np.asfortranarray(list(itertools.permutations(range(n))))  # in memory column by column
    assert_close(path_contributions(v, orders).mean(axis=0), mean_over_orders(v, n))


def game_of(worths):
    """The game with these worths as a function. It takes only rows of bools."""

    def worth(coalitions):
        rows = f"{coalitions.dtype} {coalitions.shape}"
        assert coalitions.dtype == bool and coalitions.ndim == 2, f"the game takes rows of bools, not {rows}"
        return worths[coalitions @ 2 ** np.arange(coalitions.shape[1])]

    return worth


def one_each(coalitions):
    return 7 + coalitions.sum(axis=1) / 2


@contributions.law("value may be a function of rows of bools; worths of integers or bools give float64")
def both_forms(path_contributions):
    taxi, orders = np.array([3, 1, 2, 5]), np.array([[0, 1], [1, 0]])  # worths: nobody, first, second, both
    for value in (taxi, game_of(taxi)):
        gains = path_contributions(value, orders)
        assert_close(gains, [[-2, 4], [3, -1]])
        assert_dtype(gains, np.float64)
    seventy = np.arange(70)[np.newaxis]  # of so many players only a function can say the worths
    assert_close(path_contributions(one_each, np.tile(seventy, (300, 1))), np.full((300, 70), 0.5))
    seventeen = np.arange(17)[::-1][np.newaxis]  # in the array of worths, player i adds 2^i to the index
    assert_close(path_contributions(np.arange(2.0**17), seventeen), [2.0 ** np.arange(17)])
    large = np.array([0.0, 2.0**24, 0.0, 2.0**24 + 1])  # in float32 the second would add nothing
    for value in (large, game_of(large)):
        assert_close(path_contributions(value, orders[:1]), [[2.0**24, 1]], rtol=1e-12)
    thirds = np.array([0, 1, 2, 7]) / 3
    for value in (thirds, game_of(thirds)):
        assert_close(path_contributions(value, orders), [[1 / 3, 2], [5 / 3, 2 / 3]], rtol=1e-12)
    for worths, gains in ((taxi > 1, [[-1, 1], [0, 0]]), (np.uint8([0, 200, 3, 4]), [[200, -196], [1, 3]])):
        for value in (worths, game_of(worths)):  # neither bools nor bytes hold a difference below 0
            assert_close(path_contributions(value, orders), gains)
    for value in (1e-15 * FRIENDS, game_of(1e-15 * FRIENDS)):
        tiny = path_contributions(value, np.array([[2, 0, 1], [0, 1, 2]], np.int32))
        assert_close(tiny, [[60e-15, 220e-15, 720e-15], [400e-15, 340e-15, 260e-15]], atol=0)


def worths_along(value, orders):
    """(P, n + 1): the worths of the first 0, 1, ... n players of each order."""
    n = orders.shape[1]
    there = np.argsort(orders, axis=1)[:, np.newaxis, :] < np.arange(n + 1)[:, np.newaxis]
    return shapley.worths_of(value, n, there.reshape(-1, n)).reshape(len(orders), n + 1)


@contributions.mistake(
    "left the numbers in the order of joining: column k is for the k-th player",
    breaks=contributions.laws[0].text,
)
def unsorted(value, orders):
    return np.diff(worths_along(value, orders), axis=1)


@contributions.mistake("read column orders[p, k] instead of writing to it", breaks=contributions.laws[0].text)
def taken(value, orders):
    return np.take_along_axis(np.diff(worths_along(value, orders), axis=1), orders, axis=1)


@contributions.mistake("returned the worths, not their differences", breaks=contributions.laws[0].text)
def worth_itself(value, orders):
    found = np.empty(orders.shape)
    np.put_along_axis(found, orders, worths_along(value, orders)[:, 1:], axis=1)
    return found


@contributions.mistake("returned what each player is worth alone", breaks=contributions.laws[0].text)
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
    title="Shapley values from all coalitions",
    helpers=("all_worths",),
    hints=(
        "The value of player i is a weighted sum of v(S + i) - v(S) over all coalitions S without i.",
        "v = all_worths(value, n) is an array for both forms of a game. v[c] is the worth of the "
        "players whose bits are set in c. If bit i of c is 0, then c | 1 << i is S + i.",
        "A coalition S of s players has the weight 1 / (n * comb(n - 1, s)). For each c without bit i, "
        "the difference is v[c | 1 << i] - v[c].",
    ),
)


@values.law("the three friends pay 180, 360 and 460")
def worked_friends(shapley_values):
    assert_close(shapley_values(FRIENDS, 3), [180, 360, 460], rtol=1e-9)


@values.law("each value is the mean, over all orders, of what the player adds when joining")
@given(game=games())
def is_the_mean_over_orders(shapley_values, game):
    assert_close(shapley_values(*game), mean_over_orders(*game))


@values.law("efficiency: the values sum to v(all) - v(nobody)")
@given(game=games(most=6))
def efficiency(shapley_values, game):
    v, n = game
    assert_close(np.sum(shapley_values(v, n)), float(v[-1] - v[0]))


@values.law("dummy: a player who adds the same number to every coalition gets this number")
@given(game=games(most=3), alone=quarters())
def dummy(shapley_values, game, alone):
    v, n = game
    phi = shapley_values(np.concatenate([v, v + alone]), n + 1)  # the new player is the highest bit
    assert_close(phi[-1], alone)
    assert_close(phi[:-1], mean_over_orders(v, n))


@values.law("additivity: the values of 2v - w are twice the values of v, minus the values of w")
@given(game=games(), seed=st.integers(0, 9))
def additivity(shapley_values, game, seed):
    v, n = game
    w = np.random.default_rng(seed).integers(-8, 9, len(v)) / 4
    assert_close(shapley_values(2 * v - w, n), 2 * shapley_values(v, n) - shapley_values(w, n))


@values.law("value may be a function of rows of bools, one coalition in each row; worths may be integers")
def worths_from_a_function(values):
    taxi = np.array([0, 1, 2, 6])  # worths of: nobody, the first, the second, both
    for value in (game_of(taxi), taxi, taxi.astype(np.float32)):
        phi = values(value, 2)
        assert_close(phi, [2.5, 3.5])
        assert_dtype(phi, np.float64)
    assert_close(values(game_of(FRIENDS), 3), [180, 360, 460], rtol=1e-9)
    falling = np.array([3, 1, 2, 1])
    for value in (falling, falling.astype(np.uint8), game_of(falling.astype(np.uint8))):
        assert_close(values(value, 2), [-1.5, -0.5])
    for value in (falling > 1, game_of(falling > 1)):  # worths of bools: 1, 0, 1, 0
        assert_close(values(value, 2), [-1, 0])
    narrow = np.array([0, 1 / 3, 1 / 7, 5 / 7], np.float32)  # float32 would round their differences
    assert_close(values(narrow, 2), mean_over_orders(narrow.astype(np.float64), 2), rtol=1e-12)
    for size in (1e-15, 1e15):
        assert_close(values(size * FRIENDS, 3), [180 * size, 360 * size, 460 * size], atol=0)


def pairs_of(players):
    """The worths of all coalitions of so many players, and the Shapley values: i and i + 1 are worth i + 1
    more together, and 2^24 is the worth of nobody.
    """
    there = np.arange(2**players)[:, np.newaxis] >> np.arange(players) & 1
    bonus = np.arange(1.0, players)
    phi = (np.append(bonus, 0) + np.append(0, bonus)) / 2
    return 2.0**24 + (there[:, :-1] & there[:, 1:]) @ bonus, phi


@values.law("13 players work too, in float64, and a function is asked for the coalitions of 20 players")
def many_players(shapley_values):
    worths, phi = pairs_of(13)
    for value in (worths, game_of(worths)):
        assert_close(shapley_values(value, 13), phi, rtol=1e-9)
    assert_refuses("an array of worths of 21 players", shapley_values, np.zeros(2**21), 21)
    shapes = []

    def stops(coalitions):
        shapes.append(coalitions.shape)
        raise RuntimeError("enough")  # a million worths would take long

    try:
        shapley_values(stops, 20)
    except (RuntimeError, ValueError) as error:
        assert shapes, f"the function was not called for n = 20, the answer was {error}"


@values.law("ValueError for n above 20, and for worths that are not finite, or not 2**n of them")
@given(game=games(2, 3))
def refuses_worths(shapley_values, game):
    v, n = game
    for worths in (v[:-1], np.append(v, 0.0), np.tile(v, 2)):
        assert_refuses(f"{len(worths)} worths for n = {n}", shapley_values, worths, n)
    assert_refuses("a column of worths", shapley_values, v[:, np.newaxis], n)
    assert_refuses("a function that gives two rows", shapley_values, lambda S: v.reshape(2, -1), n)
    assert_refuses("a function that gives a column", shapley_values, lambda S: v[:, np.newaxis], n)
    for place, value in ((0, np.nan), (1, np.inf), (-1, -np.inf)):
        worths = v.copy()  # the function below keeps these worths
        worths[place] = value
        assert_refuses(f"a worth of {value}", shapley_values, worths, n)
        assert_refuses(f"a function that gives {value} once", shapley_values, game_of(worths), n)
    assert_refuses("n = 21", shapley_values, one_each, 21)
    for worths in (v[:1], v[:3], np.append(v[:1], np.nan)):
        assert_refuses(f"a lone player with the worths {worths}", shapley_values, worths, 1)
    functions = lambda coalitions: 1.0, lambda coalitions: np.arange(3.0), lambda coalitions: np.arange(5.0)
    for number, function in zip((1, 3, 5), functions, strict=True):
        try:
            found = shapley_values(function, 2)
        except (TypeError, ValueError):
            continue
        raise AssertionError(f"a function that gives {number} worths for 4 coalitions gave {found}")


@values.mistake("gave all coalitions the same weight", breaks=values.laws[0].text)
def banzhaf(value, n):
    v = np.asarray(value)
    by_bit = [v.reshape(-1, 2, 2**i) for i in range(n)]
    return np.array([(half[:, 1] - half[:, 0]).mean() for half in by_bit])


@values.mistake("gave player 0 the highest bit instead of the lowest", breaks=values.laws[0].text)
def upside_down(value, n):
    return shapley.shapley_values(value, n)[::-1].copy()


@values.mistake("took the worth of nobody as 0", breaks="efficiency: the values sum to v(all) - v(nobody)")
def nobody_is_zero(value, n):
    v = np.array(value, np.float64)
    v[0] = 0
    return shapley.shapley_values(v, n)


@values.mistake("returned v(all) - v(all without the player)", breaks=values.laws[0].text)
def last_step_only(value, n):
    v = np.asarray(value)
    return np.array([v[-1] - v[len(v) - 1 - (1 << i)] for i in range(n)], np.float64)
