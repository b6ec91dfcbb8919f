"""Shapley values divide the worth of a game fairly among its players: exactly, by paths, or by regression.

A game of n players gives each coalition S a worth v(S). It has one of two forms:

    array     (2**n,) in bitmask order: player i is in coalition c if bit i of c is set; v[0] is the worth
              of nobody, v[2**n - 1] the worth of all players
    function  from a bool matrix (coalitions, n), True for the players of a coalition, to worths
    (coalitions,);
              it may be called more than once, and must give a coalition the same worth each time

Shapley (1953) "A value for n-person games"; Lundberg & Lee (2017) for KernelSHAP.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_flag, check_function, check_int, positive_int, require
from minidl.engine.random import default_rng_or
from minidl.explain.target import as_numbers

Value = np.ndarray | Callable[[np.ndarray], np.ndarray]
MAX_PLAYERS = 20  # 20 players have a million coalitions
MOST_SAMPLES = 10**7
MAX_WORTH = 1e150  # what float64 can square


class Estimate(NamedTuple):
    """Shapley values (n,), and the standard error of each."""

    values: np.ndarray
    standard_errors: np.ndarray


def shapley_values(value: Value, n: int) -> np.ndarray:
    """Each player's mean contribution, exactly, from all 2**n coalitions. Returns (n,), computed in float64.

        phi_i = sum over S without i of  |S|! (n - |S| - 1)! / n! · (v(S + i) - v(S))

    value: an array (2**n,) of worths, v(S) at index c, where bit i of c is 1 if player i is in S; or a
    function that gets rows of bools (2**n, n) and returns 2**n worths.
    Raises TypeError or ValueError for n above 20, and for worths that are not finite or not of shape (2**n,).

    >>> from minidl import explain
    >>> gloves = lambda S: S[:, 0] & S[:, 1:].any(axis=1)  # 0 has a left one, 1 and 2 have right ones
    >>> print(explain.shapley_values(gloves, 3).round(3))
    [0.667 0.167 0.167]
    """
    v = all_worths(value, n)
    # the fraction of all orders where exactly S comes before i
    shares = np.array([1 / (n * comb(n - 1, s)) for s in range(n)])
    weights = shares[coalition_sizes(n - 1)]  # (2**(n-1),), one for each S without i
    phi = np.empty(n)
    for i in range(n):
        by_bit = v.reshape(-1, 2, 2**i)  # (higher bits, bit i, lower bits)
        gains = by_bit[:, 1] - by_bit[:, 0]  # v(S + i) - v(S)
        phi[i] = weights @ gains.reshape(-1)
    return phi


def shapley_paths(
    value: Value,
    n: int,
    samples: int,
    rng: np.random.Generator | None = None,
    antithetic: bool = True,
) -> Estimate:
    """The mean contribution of each player over ``samples`` random orders of the players (Castro et al.
    2009).

    antithetic: every second order is the reverse of the one before. The mean of a pair is exact if players
    act alone or in pairs; only interactions of three or more players cause errors.
    The standard error is that of the mean over m pairs, or over m single orders: s / sqrt(m), ddof 1.
    samples: at least 2 orders; for pairs an even number of at least 4. The values sum to v(all) - v(nobody).

    >>> from minidl import explain
    >>> gloves = lambda S: S[:, 0] & S[:, 1:].any(axis=1)  # 0 has a left one, 1 and 2 have right ones
    >>> print(round(explain.shapley_paths(gloves, 3, samples=100).values.sum(), 3))  # v(all) - v(nobody)
    1.0
    """
    n, rng = check_int("n", n, 1, 10**5), default_rng_or(rng)
    least = 4 if check_flag("antithetic", antithetic) else 2
    samples = check_int("samples", samples, least, MOST_SAMPLES)
    is_even = samples % 2 == 0
    require(is_even or not antithetic, f"samples must be even, an order and its reverse, got {samples}")
    orders = random_orders(n, samples, rng, antithetic)
    gains = path_contributions(value, orders)  # (samples, n)
    if antithetic:
        gains = gains.reshape(samples // 2, 2, n).mean(axis=1)  # one row a pair
    return Estimate(gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains)))


def kernel_shap(
    value: Value, n: int, samples: int | None = None, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Shapley values from the additive game that is nearest to this game (Lundberg & Lee 2017). Returns (n,).

        minimise  sum over S of  w(|S|) · (v(S) - v(nobody) - sum of phi_i over S)²
        where     sum of all phi = v(all) - v(nobody)                 w: ``kernel_weights``

    samples: None uses all coalitions except the two ends, and the result is exact; then n is at most 20.
    Otherwise samples, an even number, limits how many worths are computed: see ``kernel_estimate``, which
    also gives standard errors.

    >>> from minidl import explain
    >>> gloves = lambda S: S[:, 0] & S[:, 1:].any(axis=1)  # 0 has a left one, 1 and 2 have right ones
    >>> print(explain.kernel_shap(gloves, 3).round(3))
    [0.667 0.167 0.167]
    """
    if samples is not None:
        return kernel_estimate(value, n, samples, rng).values
    inner, v = all_coalitions(n)[1:-1], all_worths(value, n)
    return kernel_solve(inner, v[1:-1], kernel_weights(n)[inner.sum(axis=1)], v[0], v[-1])


def kernel_estimate(value: Value, n: int, samples: int, rng: np.random.Generator | None = None) -> Estimate:
    """``kernel_shap`` from the worths of at most ``samples`` coalitions, with standard errors.

    As in the library shap, first whole sizes are listed: 1 and n - 1, then 2 and n - 2, and so on.
    ``kernel_weights`` gives each size a part of the remaining samples. A size is listed if this part covers
    all its coalitions. The other samples are drawn by these weights from the sizes in between, in pairs of a
    coalition and its complement, until enough different ones are drawn. A repeated draw counts again.

    The error comes only from the drawn pairs; it is 0 if all coalitions are listed. For the drawn pairs p,
    with u_p = w · sum over the pair of a · (residual of the fit),
        covariance of phi = G⁻¹ · (sum over p of u_p u_pᵀ) · G⁻¹,  G = sum over all coalitions of w · a aᵀ
    where a is z without its last entry, minus this entry (see ``kernel_solve``).
    There is no regularisation and no selection of players: ValueError if the coalitions do not determine phi.

    >>> from minidl import explain
    >>> gloves = lambda S: S[:, 0] & S[:, 1:].any(axis=1)  # 0 has a left one, 1 and 2 have right ones
    >>> print(explain.kernel_estimate(gloves, 3, samples=6).values.round(3))  # 6 are all but the two ends
    [0.667 0.167 0.167]
    """
    n, rng = check_int("n", n, 1, 10**5), default_rng_or(rng)
    samples = check_int("samples", samples, 2, MOST_SAMPLES)
    require(samples % 2 == 0, f"samples must be even, a coalition and its complement, got {samples}")
    listed, smallest = listed_coalitions(n, samples)
    drawn = drawn_coalitions(n, samples - len(listed), rng, smallest)
    inner = np.concatenate([listed, drawn])
    weights = kernel_weights(n)[inner.sum(axis=1)]
    between = np.arange(smallest, n - smallest + 1)
    if len(drawn):  # equal weights for the drawn coalitions; their sum is the weight of these sizes
        weights[len(listed) :] = ((n - 1) / (between * (n - between))).sum() / len(drawn)
    nobody, everybody = worths_of(value, n, np.array([[False] * n, [True] * n]))
    worths = worths_of(value, n, inner)
    phi = kernel_solve(inner, worths, weights, nobody, everybody)
    left_over = worths - nobody - inner @ phi
    return Estimate(phi, kernel_errors(inner, left_over, weights, len(listed)))


def kernel_weights(n: int) -> np.ndarray:
    """KernelSHAP's weight of a coalition of s = 0 ... n players, (n + 1,).

        w(s) = (n - 1) / (C(n, s) · s · (n - s)),      infinite at s = 0 and s = n

    An infinite weight is a constraint: the fit is exact for these two coalitions (see ``kernel_solve``).

    >>> from minidl import explain
    >>> explain.kernel_weights(4).tolist()
    [inf, 0.25, 0.125, 0.25, inf]
    """
    n = positive_int("n", n)
    inner = [(n - 1) / (comb(n, s) * s * (n - s)) for s in range(1, n)]
    return np.array([np.inf, *inner, np.inf])


def per_coalition(worth: Callable[[tuple[int, ...]], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A game in function form, from a function of one coalition: a tuple of players, ascending.

    >>> from minidl import explain
    >>> game = explain.per_coalition(lambda players: max(players, default=0))
    >>> print(explain.shapley_values(game, 3).round(3))
    [0.  0.5 1.5]
    """
    check_function("worth", worth, "a tuple of players")

    def value(coalitions: np.ndarray) -> np.ndarray:
        return np.array([worth(tuple(np.flatnonzero(row).tolist())) for row in coalitions])

    return value


# ---- the steps, each a function of arrays


def all_coalitions(n: int) -> np.ndarray:
    """Every coalition of n players in bitmask order, (2**n, n) bool."""
    n = positive_int("n", n)
    too_many = f"{n} players form 2**{n} coalitions, too many to list (at most {MAX_PLAYERS} players)"
    require(n <= MAX_PLAYERS, f"{too_many}: use shapley_paths, or kernel_shap with samples")
    codes, bits = np.arange(2**n, dtype=np.uint32), 1 << np.arange(n, dtype=np.uint32)
    return codes[:, np.newaxis] & bits != 0


def coalition_sizes(n: int) -> np.ndarray:
    """|S| of all coalitions of n players in bitmask order: 0 1 1 2 1 2 2 3 ..."""
    sizes = np.zeros(1, np.int64)
    for _ in range(n):
        sizes = np.concatenate([sizes, sizes + 1])  # first without the next player, then with the player
    return sizes


def random_orders(n: int, samples: int, rng: np.random.Generator, antithetic: bool) -> np.ndarray:
    """Orders of the players, (samples, n); antithetic: rows 2k and 2k + 1 are one order and its reverse."""
    drawn = rng.permuted(np.tile(np.arange(n), (samples // 2 if antithetic else samples, 1)), axis=1)
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, n) if antithetic else drawn


def path_contributions(value: Value, orders: np.ndarray) -> np.ndarray:
    """The worth that each player adds to the players before, for each of P orders: (P, n) float64.

    The k-th player adds v(first k players) - v(first k - 1 players).
    value: the worths (2**n,), v(S) at index c, where bit i of c (of value 2**i) is 1 if player i is in S; or
    a function that gets rows of bools (m, n), True for the players in S, and returns m worths. It may be
    called once for all orders. Worths are numbers or bools.
    orders: (P, n), in each row the players 0 ... n-1. Column i of the result (P, n) belongs to player i. A
    row sums to v(all) - v(nobody).
    """
    paths, n = orders.shape
    place = np.argsort(orders, axis=1)  # (P, n): when player i comes
    # (P, n + 1, n): who is in after 0, 1, ... n players
    there = place[:, np.newaxis, :] < np.arange(n + 1)[:, np.newaxis]
    worths = worths_of(value, n, there.reshape(-1, n)).reshape(paths, n + 1)
    gains = np.empty((paths, n))
    np.put_along_axis(gains, orders, np.diff(worths, axis=1), axis=1)
    return gains


def kernel_coalitions(n: int, samples: int, rng: np.random.Generator, smallest: int = 1) -> np.ndarray:
    """Coalitions (samples, n) drawn in proportion to ``kernel_weights``, every second one a complement.

    They have ``smallest`` ... n - ``smallest`` players, never none or all. All C(n, s) coalitions of size s
    together have weight (n - 1) / (s (n - s)). So first a size is drawn, then the players.
    """
    if n == 1:
        return np.zeros((0, 1), bool)  # there are no sizes between the ends
    s = np.arange(smallest, n - smallest + 1)
    share = 1 / (s * (n - s))
    sizes = rng.choice(s, samples // 2, p=share / share.sum())
    rank = rng.permuted(np.tile(np.arange(n), (samples // 2, 1)), axis=1)
    drawn = rank < sizes[:, np.newaxis]
    return np.stack([drawn, ~drawn], axis=1).reshape(samples, n)


def listed_coalitions(n: int, samples: int) -> tuple[np.ndarray, int]:
    """All coalitions of the sizes that ``kernel_estimate`` lists, (m, n), and the first size that it draws.

    This size is above n / 2 if all sizes are listed.
    """
    listed, size = [np.zeros((0, n), bool)], 1
    while 2 * size <= n:
        s = np.arange(size, n - size + 1)
        share = 1 / (s * (n - s))
        both = share[0] + share[-1] if len(s) > 1 else share[0]
        if round(samples * both / share.sum(), 9) < comb(n, size) * (1 if 2 * size == n else 2):
            break
        players = np.array(list(combinations(range(n), size)))
        chosen = np.zeros((len(players), n), bool)
        np.put_along_axis(chosen, players, True, axis=1)
        listed += [chosen] if 2 * size == n else [chosen, ~chosen]
        samples -= len(chosen) * (1 if 2 * size == n else 2)
        size += 1
    return np.concatenate(listed), size


def drawn_coalitions(n: int, samples: int, rng: np.random.Generator, smallest: int) -> np.ndarray:
    """Draw ``kernel_coalitions`` until ``samples`` are different, or until four times as many are drawn."""
    if samples < 2 or 2 * smallest > n:
        return np.zeros((0, n), bool)
    drawn = kernel_coalitions(n, 4 * samples, rng, smallest)
    pairs = np.where(drawn[::2, :1], drawn[::2], drawn[1::2])  # from each pair, the coalition with player 0
    _, first = np.unique(np.packbits(pairs, axis=1), axis=0, return_index=True)
    new = np.sort(first)[samples // 2 :][:1]  # the first pair that is too many
    return drawn[: 2 * new[0]] if len(new) else drawn


def kernel_errors(
    coalitions: np.ndarray, left_over: np.ndarray, weights: np.ndarray, listed: int
) -> np.ndarray:
    """The standard errors (n,) of ``kernel_estimate``. The rows from ``listed`` on are drawn pairs."""
    a = coalitions[:, :-1].astype(np.float64) - coalitions[:, -1:]  # (m, n - 1)
    scores = (weights * left_over)[listed:, np.newaxis] * a[listed:]
    scores = scores[::2] + scores[1::2]  # one row a pair
    # of phi, by each pair
    moves = scores @ np.linalg.pinv(a.T @ (weights[:, np.newaxis] * a), hermitian=True)
    moves = np.column_stack([moves, -moves.sum(axis=1)])  # the last player's makes the sum 0
    return np.sqrt((moves**2).sum(axis=0))


def kernel_solve(
    coalitions: np.ndarray, worths: np.ndarray, weights: np.ndarray, nobody: float, everybody: float
) -> np.ndarray:
    """The values phi (n,), in float64, whose sums over the coalitions z fit best, as in ``kernel_shap``.

        minimise  sum over z of  weight · (worth - nobody - sum_i z_i phi_i)²
        with      sum_i phi_i = total = everybody - nobody

    So phi_n = total - the sum of the other phi. Put into the fit, this leaves n - 1 unknowns:
        sum over i < n of  (z_i - z_n) phi_i   ≈   worth - nobody - z_n · total      for each z

    coalitions z: (m, n) bool.  worths: (m,).  weights: (m,) >= 0, of any scale.  One player alone, n = 1,
    gets the total. Raises ValueError if the coalitions with a weight above 0 do not determine phi.
    """
    z, total = coalitions.astype(np.float64), everybody - nobody
    A = z[:, :-1] - z[:, -1:]  # (m, n - 1)
    b = worths - nobody - z[:, -1] * total
    gram, right = A.T @ (weights[:, np.newaxis] * A), A.T @ (weights * b)
    if len(gram) and np.linalg.matrix_rank(gram, hermitian=True) < len(gram):  # a lone player needs no fit
        raise ValueError(f"{len(z)} drawn coalitions do not determine {len(gram) + 1} values: draw more")
    phi = np.linalg.solve(gram, right)
    return np.append(phi, total - phi.sum())


# ---- worths


def all_worths(value: Value, n: int) -> np.ndarray:
    """v of all coalitions in bitmask order, (2**n,) float64, from either form of a game."""
    coalitions = all_coalitions(n)
    return worths_of(value, n, coalitions) if not callable(value) else _called(value, coalitions)


def worths_of(value: Value, n: int, coalitions: np.ndarray) -> np.ndarray:
    """v of each row of ``coalitions`` (m, n). A function gets each distinct row once."""
    if not callable(value):
        is_few = f"a table of worths is for at most {MAX_PLAYERS} players, got n = {n}"
        require(n <= MAX_PLAYERS, is_few)
        return worth_array("value, a table of worths,", value, 2**n)[coalitions @ (1 << np.arange(n))]
    if len(coalitions) == 0:
        return np.zeros(0)
    packed = np.packbits(coalitions, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return _called(value, coalitions[first])[which.reshape(-1)]


def _called(value: Callable[[np.ndarray], np.ndarray], coalitions: np.ndarray) -> np.ndarray:
    worths = check_function("value", value, "coalitions")(coalitions)
    return worth_array(f"the result of value for {len(coalitions)} coalitions", worths, len(coalitions))


def worth_array(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Worths as (count,) float64. Bools count as 0 and 1, as in a vote that is won or lost."""
    return check_array(name, as_numbers(values), count, low=-MAX_WORTH, high=MAX_WORTH).astype(np.float64)
