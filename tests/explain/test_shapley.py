"""Shapley values: the laws that define them, by table, by function, by paths and by regression."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.strategies import arrays
from minidl.explain import shapley
from minidl.explain.shapley import (
    kernel_estimate,
    kernel_shap,
    kernel_weights,
    per_coalition,
    shapley_paths,
    shapley_values,
)

FRIENDS = [0, 400, 560, 740, 720, 780, 980, 1000]  # worths of nobody, A, B, AB, C, AC, BC, ABC


@st.composite
def games(draw, least=1, most=5):
    """Worths (2**n,) of quarters, nobody's too, and n."""
    n = draw(st.integers(least, most))
    return draw(arrays((2**n,))), n


def mean_over_orders(v, n):
    """The definition by paths, by another way than bit tricks: sets of players in every order."""
    worth = {frozenset(i for i in range(n) if c >> i & 1): v[c] for c in range(2**n)}
    phi = np.zeros(n)
    for order in itertools.permutations(range(n)):
        for k, player in enumerate(order):
            phi[player] += worth[frozenset(order[: k + 1])] - worth[frozenset(order[:k])]
    return phi / math.factorial(n)


def renumbered(v, order):
    """The game in which player k is what player order[k] was."""
    n = len(order)
    return np.array([v[sum(1 << order[k] for k in range(n) if c >> k & 1)] for c in range(2**n)])


# ---- exact


def test_the_three_friends_get_180_360_and_460():
    np.testing.assert_allclose(shapley_values(FRIENDS, 3), [180, 360, 460], rtol=0, atol=1e-9)


def test_the_first_friends_share_by_hand_has_1000_minus_980_last():
    by_orders = [400, 400, 740 - 560, 1000 - 980, 780 - 720, 1000 - 980]  # ABC ACB BAC BCA CAB CBA
    assert sum(by_orders) / 6 == 180


@given(game=games())
def test_the_value_is_the_mean_contribution_over_all_orders(game):
    np.testing.assert_allclose(shapley_values(*game), mean_over_orders(*game), atol=1e-12)


@given(game=games(most=7))
def test_efficiency_the_values_sum_to_the_worth_of_all_less_that_of_nobody(game):
    v, n = game
    assert shapley_values(v, n).sum() == pytest.approx(v[-1] - v[0], abs=1e-12)


@given(game=games(2), data=st.data())
def test_symmetry_players_who_add_the_same_get_the_same(game, data):
    v, n = game
    i, j = data.draw(st.permutations(range(n)))[:2]
    swap = [{i: j, j: i}.get(k, k) for k in range(n)]
    phi = shapley_values((v + renumbered(v, swap)) / 2, n)  # i and j can be exchanged
    assert phi[i] == pytest.approx(phi[j], abs=1e-12)


@given(game=games(1, 4), place=st.integers(0, 4), alone=st.integers(-3, 3))
def test_dummy_a_player_who_adds_the_same_to_everybody_gets_that(game, place, alone):
    v, n = game
    place = min(place, n)
    codes = np.arange(2 ** (n + 1))
    rest = (codes & ((1 << place) - 1)) | (codes >> (place + 1) << place)  # the code without the new player
    phi = shapley_values(v[rest] + alone * (codes >> place & 1), n + 1)
    assert phi[place] == pytest.approx(alone, abs=1e-12)
    np.testing.assert_allclose(np.delete(phi, place), shapley_values(v, n), atol=1e-12)


@given(game=games(), data=st.data())
def test_additivity_the_values_of_a_sum_of_games_are_the_sum_of_values(game, data):
    v, n = game
    w = data.draw(arrays((2**n,)))
    together = shapley_values(2 * v - w, n)
    np.testing.assert_allclose(together, 2 * shapley_values(v, n) - shapley_values(w, n), atol=1e-12)


@given(game=games(), data=st.data())
def test_renumbering_the_players_renumbers_the_values(game, data):
    v, n = game
    order = data.draw(st.permutations(range(n)))
    np.testing.assert_allclose(
        shapley_values(renumbered(v, order), n), shapley_values(v, n)[order], atol=1e-12
    )


@given(game=games())
def test_self_duality_the_game_of_what_is_lost_without_s_has_the_same_values(game):
    v, n = game
    dual = v[-1] - v[::-1]  # the complement of coalition c is 2**n - 1 - c
    np.testing.assert_allclose(shapley_values(dual, n), shapley_values(v, n), atol=1e-12)


def test_a_function_and_a_table_of_the_same_game_agree():
    v = np.random.default_rng(0).normal(size=2**6)

    def value(coalitions):
        assert coalitions.dtype == bool and coalitions.shape[1] == 6
        return v[coalitions @ (1 << np.arange(6))]

    assert np.array_equal(shapley_values(value, 6), shapley_values(v, 6))
    assert np.array_equal(kernel_shap(value, 6), kernel_shap(v, 6))
    draws = [shapley_paths(g, 6, 20, np.random.default_rng(1)).values for g in (value, v)]
    assert np.array_equal(*draws)


def test_per_coalition_hands_over_tuples_of_players():
    asked = []
    value = per_coalition(lambda players: asked.append(players) or len(players) ** 2)
    np.testing.assert_allclose(shapley_values(value, 2), [2, 2])
    assert asked == [(), (0,), (1,), (0, 1)]
    assert all(type(player) is int for player in asked[-1])


def test_one_player_gets_all():
    assert shapley_values([1, 3.5], 1) == [2.5]
    assert kernel_shap([1, 3.5], 1) == [2.5]
    assert kernel_shap([1, 3.5], 1, samples=2) == [2.5]
    assert shapley_paths([1, 3.5], 1, 4) == ([2.5], [0])


def test_twenty_players_are_shared_exactly():
    weights = np.arange(20) - 7.5
    v = shapley.all_coalitions(20) @ weights
    v[-1] += 20  # only the worth of all players changes: it is divided equally
    np.testing.assert_allclose(shapley_values(v, 20), weights + 1, atol=1e-9)


# ---- by paths


@given(game=games(2, 4))
def test_the_contributions_along_all_orders_average_to_the_values(game):
    v, n = game
    orders = np.array(list(itertools.permutations(range(n))))
    phi = shapley.path_contributions(v, orders).mean(axis=0)
    np.testing.assert_allclose(phi, shapley_values(v, n), atol=1e-12)


def test_one_path_by_hand():
    orders = np.array([[2, 0, 1]])  # C, A, B
    came = [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]]

    def price(coalitions):
        assert sorted(coalitions.astype(int).tolist()) == came
        return np.array([{0: 0.0, 4: 720, 5: 780, 7: 1000}[c] for c in coalitions @ [1, 2, 4]])

    assert shapley.path_contributions(price, orders).tolist() == [[60, 220, 720]]


@given(game=games(), seed=st.integers(0, 99), antithetic=st.booleans())
def test_the_values_by_paths_sum_to_what_there_is_to_share(game, seed, antithetic):
    v, n = game
    phi, errors = shapley_paths(v, n, 4, np.random.default_rng(seed), antithetic)
    assert phi.sum() == pytest.approx(v[-1] - v[0], abs=1e-12)
    assert (errors >= 0).all()


@given(alone=arrays((6,)), pairs=arrays((6, 6)), seed=st.integers(0, 99))
def test_antithetic_pairs_are_exact_where_players_act_alone_or_in_twos(alone, pairs, seed):
    z = shapley.all_coalitions(6).astype(float)
    v = 1 + z @ alone + ((z @ pairs) * z).sum(axis=1)
    phi, errors = shapley_paths(v, 6, 4, np.random.default_rng(seed))
    np.testing.assert_allclose(phi, shapley_values(v, 6), atol=1e-12)
    np.testing.assert_allclose(errors, 0, atol=1e-12)


def test_single_orders_are_not_exact_for_pairs():
    product = [0, 0, 0, 1.0]
    phi, errors = shapley_paths(product, 2, 10, np.random.default_rng(0), antithetic=False)
    assert phi[0] != 0.5 and errors[0] > 0


def test_antithetic_orders_come_as_each_and_its_reverse():
    orders = shapley.random_orders(5, 8, np.random.default_rng(0), antithetic=True)
    assert np.array_equal(orders[1::2], orders[::2, ::-1])
    assert (np.sort(orders, axis=1) == np.arange(5)).all()


def test_the_standard_error_is_that_of_the_mean_over_pairs_by_hand():
    majority = per_coalition(lambda players: float(len(players) >= 2 and 0 in players))
    orders = shapley.random_orders(3, 6, np.random.default_rng(2), antithetic=True)
    # player 0 earns 1 if it is not the first of an order. A pair has mean 1/2 if it is first once, otherwise
    # 1.
    gains = np.array([float(order[0] != 0) for order in orders]).reshape(3, 2).mean(axis=1)
    assert sorted(gains) == [0.5, 0.5, 1.0]
    phi, errors = shapley_paths(majority, 3, 6, np.random.default_rng(2))
    assert phi[0] == pytest.approx(2 / 3)
    # deviations 1/6, 1/6, 1/3: squares sum to 1/6, over n - 1 = 2 and n = 3
    assert errors[0] == pytest.approx(1 / 6)


@pytest.mark.parametrize("antithetic", [True, False])
def test_98_percent_of_the_estimates_lie_within_3_standard_errors_over_200_games(antithetic):
    rng = np.random.default_rng(0)
    within = []
    for _ in range(200):
        n = int(rng.integers(3, 9))
        v = rng.normal(size=2**n)
        phi, errors = shapley_paths(v, n, 200, rng, antithetic)
        within.append(np.abs(phi - shapley_values(v, n)) <= 3 * errors + 1e-12)
    assert np.concatenate(within).mean() >= 0.98


# ---- by regression


@given(game=games(1, 7))
def test_the_kernel_over_all_coalitions_is_exact(game):
    np.testing.assert_allclose(kernel_shap(*game), shapley_values(*game), atol=1e-9)


@pytest.mark.parametrize("n", [10, 14])
def test_the_kernel_over_all_coalitions_is_exact_for_many_players(n):
    v = 100 * np.random.default_rng(n).normal(size=2**n)
    np.testing.assert_allclose(kernel_shap(v, n), shapley_values(v, n), atol=1e-9)


def test_the_kernels_weights_by_hand():
    # n = 4: 3/(4·1·3), 3/(6·2·2), 3/(4·3·1)
    np.testing.assert_allclose(kernel_weights(4), [np.inf, 1 / 4, 1 / 8, 1 / 4, np.inf])
    assert kernel_weights(2).tolist() == [np.inf, 0.5, np.inf]
    assert kernel_weights(1).tolist() == [np.inf, np.inf]


@given(alone=arrays((6,)), nobody=st.integers(-3, 3), seed=st.integers(0, 99))
def test_drawn_coalitions_give_an_additive_game_its_weights(alone, nobody, seed):
    v = nobody + shapley.all_coalitions(6) @ alone
    np.testing.assert_allclose(kernel_shap(v, 6, 40, np.random.default_rng(seed)), alone, atol=1e-9)


@given(game=games(2, 5), seed=st.integers(0, 99))
def test_both_ends_are_kept_by_drawn_coalitions_too(game, seed):
    v, n = game
    phi = kernel_shap(v, n, 60, np.random.default_rng(seed))
    assert phi.sum() == pytest.approx(v[-1] - v[0], abs=1e-9)


def test_the_regression_by_hand():
    # phi_1 = 10 - phi_0: (phi_0 - 1)^2 + (10 - phi_0 - 3)^2 is least at 4. The worth of nobody, 2, adds 2 to
    # all.
    coalitions = np.array([[True, False], [False, True]])
    worths, weights = np.array([3.0, 5.0]), np.array([0.5, 0.5])
    np.testing.assert_allclose(shapley.kernel_solve(coalitions, worths, weights, 2.0, 12.0), [4, 6])
    # with weights 3 and 1: 3 (phi_0 - 1)^2 + (7 - phi_0)^2 is least at 10/4
    weights = np.array([3.0, 1.0])
    np.testing.assert_allclose(shapley.kernel_solve(coalitions, worths, weights, 2.0, 12.0), [2.5, 7.5])


def test_coalitions_are_drawn_by_their_weights_each_with_its_complement():
    drawn = shapley.kernel_coalitions(5, 40_000, np.random.default_rng(0))
    assert np.array_equal(drawn[1::2], ~drawn[::2])
    sizes = drawn.sum(axis=1)
    assert set(sizes) == {1, 2, 3, 4}
    # the weights by size are 1/(1·4), 1/(2·3), 1/(3·2), 1/(4·1); their sum is 5/6
    np.testing.assert_allclose(np.bincount(sizes)[1:] / 40_000, [0.3, 0.2, 0.2, 0.3], atol=0.01)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=1e-12)
    pairs = [tuple(np.flatnonzero(row)) for row in drawn[sizes == 2]]
    assert min(pairs.count(p) for p in itertools.combinations(range(5), 2)) > 600  # of 8000 / 10


def by_draws_alone(v, n, samples, rng):
    """KernelSHAP without listing any size: every coalition is drawn by its weight."""
    drawn = shapley.kernel_coalitions(n, samples, rng)
    return shapley.kernel_solve(drawn, shapley.worths_of(v, n, drawn), np.ones(samples), v[0], v[-1])


def test_the_error_of_the_kernel_by_draws_alone_falls_like_one_over_the_root_of_the_samples():
    rng = np.random.default_rng(0)
    v = rng.normal(size=2**8)
    exact, counts = shapley_values(v, 8), [128, 512, 2048, 8192]
    error = [
        np.sqrt(np.mean([np.square(by_draws_alone(v, 8, m, rng) - exact) for _ in range(40)])) for m in counts
    ]
    slope = np.polyfit(np.log(counts), np.log(error), 1)[0]
    assert -0.6 < slope < -0.4


def pairwise_game(rng, n=12):
    """Worths (2**n,) of players that act alone, in twos, and through a tanh of all."""
    z = shapley.all_coalitions(n).astype(float)
    return np.tanh(z @ rng.normal(size=n) / 2) + ((z @ rng.normal(size=(n, n))) * z).sum(axis=1) / 10


def majority_game():
    seats = np.array([208, 152, 120, 85, 64, 44, 20, 17, 9, 6, 3, 2])
    return (shapley.all_coalitions(12) @ seats > seats.sum() / 2).astype(float)


@pytest.mark.parametrize("game", ["pairwise", "majority"])
def test_1024_coalitions_of_12_players_err_by_at_most_7_tenths_of_what_draws_alone_do(game):
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(25):
        v = pairwise_game(rng) if game == "pairwise" else majority_game()
        found = [way(v, 12, 1024, rng) for way in (kernel_shap, by_draws_alone)]
        squares.append([np.mean((phi - shapley_values(v, 12)) ** 2) for phi in found])
    listed_first, draws_alone = np.sqrt(np.mean(squares, axis=0))
    assert listed_first < 0.7 * draws_alone


@pytest.mark.parametrize("n, samples", [(12, 1024), (9, 100), (6, 40), (3, 4), (30, 400)])
def test_no_more_worths_are_asked_than_samples_and_all_of_the_listed_sizes(n, samples):
    asked = []

    def value(coalitions):
        asked.extend(map(tuple, coalitions.tolist()))
        return np.sin(coalitions @ np.arange(n))

    kernel_shap(value, n, samples, np.random.default_rng(0))
    inner = {row for row in asked if 0 < sum(row) < n}
    assert 0.9 * samples < len(inner) <= samples
    assert all(tuple(not is_in for is_in in row) in inner for row in inner)
    listed, first_drawn = shapley.listed_coalitions(n, samples)
    assert set(map(tuple, listed.tolist())) <= inner
    sizes, counts = np.unique(listed.sum(axis=1), return_counts=True)
    assert set(sizes) == {s for s in range(1, n) if min(s, n - s) < first_drawn}
    assert counts.tolist() == [math.comb(n, s) for s in sizes]


@given(game=games(1, 6), seed=st.integers(0, 9))
def test_with_samples_for_all_coalitions_the_kernel_is_exact_and_its_error_is_0(game, seed):
    v, n = game
    phi, errors = kernel_estimate(v, n, max(2, 2**n - 2), np.random.default_rng(seed))
    np.testing.assert_allclose(phi, shapley_values(v, n), atol=1e-9)
    np.testing.assert_allclose(errors, 0, atol=1e-12)


def test_97_percent_of_the_kernels_estimates_lie_within_3_standard_errors_and_two_thirds_within_one():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        v = pairwise_game(rng, 10) + rng.normal(size=2**10) / 10
        phi, errors = kernel_estimate(v, 10, 300, rng)
        assert phi.sum() == pytest.approx(v[-1] - v[0])
        ratios.append((phi - shapley_values(v, 10)) / errors)
    ratios = np.abs(np.concatenate(ratios))
    assert (ratios < 3).mean() >= 0.97
    assert 0.58 < (ratios < 1).mean() < 0.80


# ---- what is refused


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: shapley_values([0, 1, 2], 2), ValueError, r"worths, must have shape \(4,\), got \(3,\)"),
        (lambda: shapley_values(np.zeros((2, 2)), 2), ValueError, r"got \(2, 2\)"),
        (lambda: shapley_values([0, np.nan], 1), ValueError, "worths, must be finite, got nan"),
        (lambda: shapley_values(["a", "b"], 1), TypeError, "must be real numbers"),
        (
            lambda: kernel_shap([-1.5e308, 0, 0, 1.5e308], 2),
            ValueError,
            r"within \[-1e\+150, 1e\+150\], got -1.5e\+308",
        ),
        (
            lambda: shapley_paths([-1e200, 0, 0, 1e200], 2, 4),
            ValueError,
            r"within \[-1e\+150, 1e\+150\], got -1e\+200",
        ),
        (
            lambda: shapley_values(per_coalition(lambda s: "a"), 2),
            TypeError,
            "the result of value .* must be real numbers",
        ),
        (lambda: shapley_values([0.0], 0), ValueError, "n must be at least 1, got 0"),
        (lambda: shapley_values(lambda z: z.sum(axis=1), 21), ValueError, r"21 players form 2\*\*21"),
        (lambda: shapley_values(np.zeros(4), 21), ValueError, "at most 20 players"),
        (lambda: kernel_shap(np.zeros(4), 21, 40), ValueError, "at most 20 players, got n = 21"),
        (
            lambda: shapley_values(lambda z: z, 2),
            ValueError,
            r"for 4 coalitions must have shape \(4,\), got \(4, 2\)",
        ),
        (
            lambda: shapley_values(lambda z: z.sum(1) / 0.0, 2),
            ValueError,
            "the result of value .* must be finite",
        ),
        (lambda: shapley_paths(FRIENDS, 3, 5), ValueError, "even.*got 5"),
        (lambda: shapley_paths(FRIENDS, 3, 2), ValueError, r"samples must be within \[4, 10000000\], got 2"),
        (
            lambda: shapley_paths(FRIENDS, 3, 1, antithetic=False),
            ValueError,
            r"within \[2, 10000000\], got 1",
        ),
        (lambda: shapley_paths(FRIENDS, 3, 4, 0), TypeError, "rng must be"),
        (lambda: kernel_shap(FRIENDS, 3, 7), ValueError, "even.*got 7"),
        (lambda: kernel_shap(FRIENDS, 3, 2.0), TypeError, "samples must be an integer"),
        (lambda: kernel_shap(lambda z: z.sum(1), 30, 20), ValueError, r"2\d drawn.*30 values: draw more"),
        (lambda: kernel_shap(lambda z: z.sum(1), 30), ValueError, "30 players.*kernel_shap with samples"),
        (
            lambda: shapley_values(lambda: 1, 2),
            TypeError,
            "value must be a function of coalitions, got <lamb",
        ),
        (lambda: kernel_weights(0), ValueError, "n must be at least 1"),
        (lambda: per_coalition(3), TypeError, "a function of a tuple of players, got 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_input_of_games_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_many_players_are_estimated_from_a_function():
    def value(coalitions):
        return coalitions.sum(axis=1).astype(float)

    np.testing.assert_allclose(shapley_paths(value, 70, 4, np.random.default_rng(0)).values, 1)
    np.testing.assert_allclose(kernel_shap(value, 40, 400, np.random.default_rng(0)), 1, atol=1e-9)


def test_without_rng_the_seed_decides():
    import minidl

    answers = []
    for seed in (0, 0, 1):
        minidl.manual_seed(seed)
        answers.append(shapley_paths(FRIENDS, 3, 10).values[0] + kernel_shap(FRIENDS, 3, 20)[0])
    assert answers[0] == answers[1] != answers[2]
