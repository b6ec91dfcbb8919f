"""Shapley values: what a coalition is worth, shared fairly among its players; exact, by paths, by regression.

A game of n players gives each coalition S a worth v(S). It comes in one of two forms:

    array     (2**n,) in bitmask order: player i is in coalition c where bit i of c is set; v[0] is the worth
              of nobody, v[2**n - 1] that of all
    function  of a bool matrix (coalitions, n), whose rows say who is in, to worths (coalitions,); it may be
              called more than once and must give a coalition the same worth each time

Shapley (1953) "A value for n-person games"; Lundberg & Lee (2017) for KernelSHAP.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_int, positive_int
from minidl.engine.random import default_rng_or

Value = np.ndarray | Callable[[np.ndarray], np.ndarray]
MAX_PLAYERS = 20  # of whom all coalitions are listed: a million
MAX_WORTH = 1e150  # what float64 can square


class Estimate(NamedTuple):
    """Shapley values (n,), and the standard error of each."""

    values: np.ndarray
    standard_errors: np.ndarray


def shapley_values(value: Value, n: int) -> np.ndarray:
    """Each player's mean contribution, exactly, from all 2**n coalitions. Returns (n,) float64.

        phi_i = sum over S without i of  |S|! (n - |S| - 1)! / n! · (v(S + i) - v(S))

    n is at most 20. Raises TypeError or ValueError for worths that are not 2**n finite numbers.
    """
    v = all_worths(value, n)
    weights = order_shares(n)[coalition_sizes(n - 1)]  # (2**(n-1),) one for each S without i
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
    """The mean contribution over ``samples`` random orders in which the players come in (Castro et al. 2009).

    antithetic: every second order is the one before it, backwards. A pair's mean is exact where players act
    alone or in twos; what errs are interactions of three or more.
    The standard error is that of the mean over pairs, or over single orders: s / sqrt(how many), ddof 1.
    samples: at least 2 orders, or 2 pairs and then an even number. The values sum to v(all) - v(nobody).
    """
    n, rng = positive_int("n", n), default_rng_or(rng)
    samples = check_int("samples", samples, 4 if antithetic else 2)
    if antithetic and samples % 2:
        raise ValueError(f"samples must be even, since each order is walked both ways, got {samples}")
    orders = random_orders(n, samples, rng, antithetic)
    worths = worths_of(value, n, path_coalitions(orders).reshape(-1, n)).reshape(samples, n + 1)
    gains = path_contributions(orders, worths)  # (samples, n)
    if antithetic:
        gains = gains.reshape(samples // 2, 2, n).mean(axis=1)  # one row a pair
    return Estimate(gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains)))


def kernel_shap(
    value: Value, n: int, samples: int | None = None, rng: np.random.Generator | None = None
) -> np.ndarray:
    """The weights of the additive game that is nearest to this one (Lundberg & Lee 2017). Returns (n,).

        minimise  sum over S of  w(|S|) · (v(S) - v(nobody) - sum of phi_i over S)²
        where     sum of all phi = v(all) - v(nobody)                 w: ``kernel_weights``

    samples: None takes all coalitions but the two ends, and the answer is the exact one; n is then at most
    20. Otherwise so many, an even number, are drawn by their weights, each second one the complement of the
    one before. Nothing is regularised and no player is left out: ValueError where the drawn coalitions do not
    determine the answer.
    """
    n, rng = positive_int("n", n), default_rng_or(rng)
    ends = worths_of(value, n, np.array([[False] * n, [True] * n]))
    if samples is None:
        inner = all_coalitions(n)[1:-1]
        weights = kernel_weights(n)[inner.sum(axis=1)]
    else:
        inner = kernel_coalitions(n, samples, rng)
        weights = np.ones(len(inner))  # what is drawn by its weight counts the same
    return kernel_solve(inner, worths_of(value, n, inner), weights, ends[0], ends[1])


def kernel_weights(n: int) -> np.ndarray:
    """KernelSHAP's weight of a coalition of s = 0 ... n players, (n + 1,).

        w(s) = (n - 1) / (C(n, s) · s · (n - s)),      infinite at s = 0 and s = n

    An infinite weight is a constraint: the two ends are fitted exactly (see ``kernel_solve``).
    """
    n = positive_int("n", n)
    inner = [(n - 1) / (comb(n, s) * s * (n - s)) for s in range(1, n)]
    return np.array([np.inf, *inner, np.inf])


def per_coalition(worth: Callable[[tuple[int, ...]], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A game as this file takes it, from a function of one coalition: a tuple of players, ascending."""
    if not callable(worth):
        raise TypeError(f"worth must be a function of a tuple of players, got {worth!r}")

    def value(coalitions: np.ndarray) -> np.ndarray:
        return np.array([worth(tuple(np.flatnonzero(row).tolist())) for row in coalitions])

    return value


# ---- the steps, each a function of arrays


def all_coalitions(n: int) -> np.ndarray:
    """Every coalition of n players in bitmask order, (2**n, n) bool."""
    n = positive_int("n", n)
    if n > MAX_PLAYERS:
        raise ValueError(
            f"{n} players form 2**{n} coalitions, too many to list (at most {MAX_PLAYERS} players): "
            "estimate by shapley_paths, or by kernel_shap with samples"
        )
    return (np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1).astype(bool)


def coalition_sizes(n: int) -> np.ndarray:
    """|S| of all coalitions of n players in bitmask order: 0 1 1 2 1 2 2 3 ..."""
    sizes = np.zeros(1, np.int64)
    for _ in range(n):
        sizes = np.concatenate([sizes, sizes + 1])  # without the next player, and with it
    return sizes


def order_shares(n: int) -> np.ndarray:
    """The share of all n! orders in which exactly S, of s = 0 ... n-1 players, comes in before player i.

    s! (n - s - 1)! / n!  =  1 / (n · C(n-1, s))
    """
    return np.array([1 / (n * comb(n - 1, s)) for s in range(n)])


def random_orders(n: int, samples: int, rng: np.random.Generator, antithetic: bool) -> np.ndarray:
    """Orders of the players, (samples, n); antithetic: rows 2k and 2k + 1 are one order and its reverse."""
    drawn = rng.permuted(np.tile(np.arange(n), (samples // 2 if antithetic else samples, 1)), axis=1)
    return np.stack([drawn, drawn[:, ::-1]], axis=1).reshape(-1, n) if antithetic else drawn


def path_coalitions(orders: np.ndarray) -> np.ndarray:
    """Who is in after 0, 1, ... n players have come: orders (P, n) give (P, n + 1, n) bool."""
    place = np.argsort(orders, axis=1)  # (P, n): when player i comes
    return place[:, np.newaxis, :] < np.arange(orders.shape[1] + 1)[:, np.newaxis]


def path_contributions(orders: np.ndarray, worths: np.ndarray) -> np.ndarray:
    """What each player adds on coming in: (P, n), in which column i belongs to player i.

    gain of the player orders[p, k]  =  worths[p, k + 1] - worths[p, k]

    orders: (P, n), rows of players as they come.  worths: (P, n + 1), v of the first 0, 1, ... n of them.
    """
    gains = np.empty(orders.shape)
    np.put_along_axis(gains, orders, np.diff(worths, axis=1), axis=1)
    return gains


def kernel_coalitions(n: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Coalitions (samples, n) drawn in proportion to ``kernel_weights``, without the ends, and complements.

    The C(n, s) coalitions of size s weigh (n - 1) / (s (n - s)) together: first a size, then who is in.
    """
    samples = check_int("samples", samples, 2)
    if samples % 2:
        raise ValueError(f"samples must be even, since each coalition brings its complement, got {samples}")
    if n == 1:
        return np.zeros((0, 1), bool)  # there is nothing between the ends
    s = np.arange(1, n)
    share = 1 / (s * (n - s))
    sizes = rng.choice(s, samples // 2, p=share / share.sum())
    rank = rng.permuted(np.tile(np.arange(n), (samples // 2, 1)), axis=1)
    drawn = rank < sizes[:, np.newaxis]
    return np.stack([drawn, ~drawn], axis=1).reshape(samples, n)


def kernel_solve(
    coalitions: np.ndarray, worths: np.ndarray, weights: np.ndarray, nobody: float, everybody: float
) -> np.ndarray:
    """The weighted least squares of ``kernel_shap``, with phi_n eliminated by the sum of all phi. (n,)

        phi_n = total - sum of the others,  total = everybody - nobody;  then for every coalition z
        sum over i < n of  (z_i - z_n) phi_i   ≈   worth - nobody - z_n · total

    coalitions: (m, n) bool.  worths, weights: (m,).  Raises ValueError where they leave phi undetermined.
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
    n = positive_int("n", n)
    return _called(value, all_coalitions(n)) if callable(value) else _checked_table(value, n)


def worths_of(value: Value, n: int, coalitions: np.ndarray) -> np.ndarray:
    """v of each row of ``coalitions`` (m, n); a function is asked once for each distinct row."""
    if not callable(value):
        return _checked_table(value, n)[coalitions @ (1 << np.arange(n))]
    if len(coalitions) == 0:
        return np.zeros(0)
    packed = np.packbits(coalitions, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return _called(value, coalitions[first])[which.reshape(-1)]


def _checked_table(value: np.ndarray, n: int) -> np.ndarray:
    if n > MAX_PLAYERS:
        raise ValueError(f"a table of worths is for at most {MAX_PLAYERS} players, got n = {n}")
    table = _numbers(value, "the worths")
    if table.shape != (2**n,):
        raise ValueError(f"{n} players need worths (2**{n},) = ({2**n},) in bitmask order, got {table.shape}")
    return table


def _called(value: Callable[[np.ndarray], np.ndarray], coalitions: np.ndarray) -> np.ndarray:
    worths = _numbers(value(coalitions), "what value returned")
    if worths.shape != (len(coalitions),):
        raise ValueError(
            f"value must give a worth for each of {len(coalitions)} coalitions, shape ({len(coalitions)},), "
            f"got {worths.shape}; per_coalition adapts a function of one coalition"
        )
    return worths


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    array = array.astype(np.float64)
    if not (np.abs(array) <= MAX_WORTH).all():
        raise ValueError(f"{name} must lie within ±{MAX_WORTH:g}, got {np.abs(array).max():g} in magnitude")
    return array
