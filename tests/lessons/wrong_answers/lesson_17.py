"""Wrong answers to the exercises of lesson 17. Each one passed all laws once."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lessons.exercises import find
from minidl.engine.tensor import Tensor
from minidl.explain import shapley
from minidl.explain.shapley import all_worths, worths_of
from minidl.nn.module import eval_mode
from minidl.train import predict
from tests.lessons.wrong_answers.declare import not_taken, wrong


@wrong("17.2", "takes an array of worths only, no function")
def arrays_only(value, n):
    v = np.asarray(value, np.float64)
    phi = np.zeros(n)
    for i in range(n):
        for mask in range(2**n):
            if not mask >> i & 1:
                s = bin(mask).count("1")
                share = math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n)
                phi[i] += share * (v[mask | 1 << i] - v[mask])
    return phi


@wrong("17.2", "a table is cut where it is too long")
def cut_table(value, n):
    return find("17.2").target(value if callable(value) else np.asarray(value)[: 2**n], n)


@wrong("17.2", "a table of worths in float32")
def narrow_worths(value, n):
    return find("17.2").target(value if callable(value) else np.float32(value), n)


@wrong("17.2", "a function is asked for one coalition at a time, without an axis of rows")
def one_coalition_at_a_time(value, n):
    coalitions = np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1 == 1
    return find("17.2").target(np.array([value(row) for row in coalitions]) if callable(value) else value, n)


@wrong("17.1", "each player's gain from nobody, whoever is there already")
def gains_over_nobody(value, orders):
    n = orders.shape[1]
    nobody, *alone = worths_of(value, n, np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)]))
    gains = np.tile(np.array(alone) - nobody, (len(orders), 1))
    rows = np.arange(len(orders))
    gains[rows, orders[:, -1]] += worths_of(value, n, np.ones((1, n), bool))[0] - nobody - gains.sum(axis=1)
    return gains


@wrong("17.1", "a function is asked with zeros and ones in place of bools")
def asked_with_numbers(value, orders):
    def of_bools(coalitions):
        return value(coalitions.astype(int))

    return find("17.1").target(of_bools if callable(value) else value, orders)


@wrong("17.1", "a table of worths in float32")
def narrow_table(value, orders):
    return find("17.1").target(value if callable(value) else np.float32(value), orders)


def solved(coalitions, worths, weights, nobody, everybody, ridge=0.0):
    z, total = coalitions.astype(np.float64), everybody - nobody
    A, b = z[:, :-1] - z[:, -1:], worths - nobody - z[:, -1] * total
    gram = A.T @ (weights[:, np.newaxis] * A) + ridge * np.eye(A.shape[1])
    phi = np.linalg.pinv(gram) @ A.T @ (weights * b)
    return np.append(phi, total - phi.sum())


@wrong("17.3", "a little added to the diagonal, which small weights feel")
def solved_with_a_ridge(coalitions, worths, weights, nobody, everybody):
    find("17.3").target(coalitions, worths, weights, nobody, everybody)  # what it refuses
    return solved(coalitions, worths, weights, nobody, everybody, ridge=1e-10)


@wrong("17.3", "coalitions without a weight count as ones that determine the values")
def solved_without_weights(coalitions, worths, weights, nobody, everybody):
    find("17.3").target(coalitions, worths, np.ones(len(weights)), nobody, everybody)  # what it refuses
    return solved(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "as many coalitions as players are enough")
def counted_coalitions(coalitions, worths, weights, nobody, everybody):
    if (weights > 0).sum() < coalitions.shape[1] - 1 or len(coalitions) == 2 < coalitions.shape[1]:
        raise ValueError("too few coalitions")
    return solved(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "only what np.linalg.solve refuses")
def whatever_can_be_solved(coalitions, worths, weights, nobody, everybody):
    z, total = coalitions.astype(np.float64), everybody - nobody
    A, b = z[:, :-1] - z[:, -1:], worths - nobody - z[:, -1] * total
    phi = np.linalg.solve(A.T @ (weights[:, np.newaxis] * A), A.T @ (weights * b))
    return np.append(phi, total - phi.sum())


@wrong("17.3", "a lone player is refused")
def no_lone_player(coalitions, worths, weights, nobody, everybody):
    if coalitions.shape[1] < 2:
        raise ValueError("a lone player")
    return find("17.3").target(coalitions, worths, weights, nobody, everybody)


def answers_along(model, row, rows, order, target):
    yield predict(model, rows)[:, target].mean(dtype=np.float64)
    for i in order:
        rows[:, i] = row[i]
        yield predict(model, rows)[:, target].mean(dtype=np.float64)


@wrong("17.4", "always the first logit")
def first_logit(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background, orders)


@wrong("17.4", "integers stay integers, so the row's values are cut off")
def cut_off(model, row, background, orders, target=0):
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        if sorted(order) != list(range(len(row))):
            raise ValueError("not an order")
        rows = background.copy()
        if rows.dtype.kind == "i":
            row = row.astype(int)
        gains[p, order] = np.diff([*answers_along(model, row, rows.astype(np.float32), order, target)])
    return gains


@wrong("17.4", "the first background row alone")
def one_background_row(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background[:1], orders, target)


@wrong("17.4", "any order is taken")
def any_order(model, row, background, orders, target=0):
    gains = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        rows = background.astype(np.float32)
        gains[p, order] = np.diff([*answers_along(model, row, rows, order, target)])
    return gains


@wrong("17.4", "with dropout where the network is in training mode")
def paths_with_dropout(model, row, background, orders, target=0):
    gains, training = find("17.4").target(model, row, background, orders, target), model.training
    for p, order in enumerate(orders if training else ()):
        rows = background.astype(np.float32)
        answers = [model(rows).data[:, target].mean(dtype=np.float64)]
        for i in order:
            rows[:, i] = row[i]
            answers.append(model(rows).data[:, target].mean(dtype=np.float64))
        gains[p, order] = np.diff(answers)
    return gains


@wrong("17.4", "the network is left in evaluation mode")
def paths_left_evaluating(model, row, background, orders, target=0):
    return find("17.4").target(model.eval(), row, background, orders, target)


@wrong("17.4", "the network is thawed")
def paths_thaw(model, row, background, orders, target=0):
    return find("17.4").target(model.requires_grad_(True), row, background, orders, target)


@wrong("17.4", "an order is right where its sum is")
def orders_by_their_sum(model, row, background, orders, target=0):
    n = len(row)
    if (orders.sum(axis=1) != n * (n - 1) // 2).any():
        raise ValueError("not an order")
    in_order = np.where((np.sort(orders, axis=1) == np.arange(n)).all(axis=1)[:, None], orders, np.arange(n))
    return find("17.4").target(model, row, background, in_order, target)


@wrong("17.4", "a feature's number counts from behind where it is negative")
def features_from_behind(model, row, background, orders, target=0):
    counted = np.where(orders < 0, orders + len(row), orders)
    return find("17.4").target(model, row, background, counted, target)


@wrong("17.1", "nobody is worth 0 where the game is a function")
def worth_of_nobody(value, orders):
    if not callable(value):
        return find("17.1").target(value, orders)

    def nobody_at_0(coalitions):
        return np.where(coalitions.any(axis=1), value(coalitions), 0)

    return find("17.1").target(nobody_at_0, orders)


@wrong("17.1", "asks for the worths of all coalitions, of which thirty players have too many")
def all_coalitions(value, orders):
    n = orders.shape[1]
    find("17.2").target(value, n)
    return find("17.1").target(value, orders)


@wrong("17.2", "worths of unsigned integers in an array wrap around")
def unsigned_worths(value, n):
    if callable(value) or np.asarray(value).dtype.kind != "u":
        return find("17.2").target(value, n)
    gains = find("17.1").target
    orders = np.array(list(itertools.permutations(range(n))))
    return (gains(value, orders) % 256).mean(axis=0)


@wrong("17.2", "one worth from a function counts for all coalitions")
def worth_for_all(value, n):
    if callable(value):
        return find("17.2").target(lambda rows: np.broadcast_to(value(rows), len(rows)), n)
    return find("17.2").target(value, n)


@wrong("17.2", "of too many worths from a function the first are taken")
def first_worths(value, n):
    if callable(value):
        return find("17.2").target(lambda rows: value(rows)[: len(rows)], n)
    return find("17.2").target(value, n)


@wrong("17.3", "the worths are rounded to float32")
def narrow_worths_of_drawn(coalitions, worths, weights, nobody, everybody):
    shifted = np.float32(worths) - np.float32(nobody)
    return find("17.3").target(coalitions, shifted.astype(np.float64), weights, 0.0, everybody - nobody)


@wrong("17.4", "orders of some of the features are taken")
def some_features(model, row, background, orders, target=0):
    left = [i for i in range(len(row)) if i not in orders[0]]
    rest = np.tile(left, (len(orders), 1)).astype(int)
    return find("17.4").target(model, row, background, np.hstack([orders, rest]), target)


not_taken("17.2", "a function of three players", lambda g: callable(g["value"]) and g["n"] > 2)
not_taken(
    "17.3", "a lone player with coalitions", lambda g: g["coalitions"].shape[1] == 1 and len(g["worths"])
)
not_taken("17.4", "a row of integers", lambda g: g["row"].dtype.kind == "i")


@wrong("17.3", "the rank of all rows, also of those without a weight")
def rank_of_all_rows(coalitions, worths, weights, nobody, everybody):
    z = coalitions.astype(np.float64)
    A, total = z[:, :-1] - z[:, -1:], everybody - nobody
    if A.shape[1] and np.linalg.matrix_rank(A) < A.shape[1]:
        raise ValueError("too few coalitions")
    try:
        phi = np.linalg.solve(
            A.T @ (weights[:, np.newaxis] * A), A.T @ (weights * (worths - nobody - z[:, -1] * total))
        )
    except np.linalg.LinAlgError as error:
        raise ValueError("too few coalitions") from error
    return np.append(phi, total - phi.sum())


@wrong("17.1", "an array's index in 8 bits")
def eight_players_at_most(value, orders):
    n = orders.shape[1]
    if isinstance(value, np.ndarray):
        value = value[np.arange(len(value)) % 256]
    return find("17.1").target(value, orders) if n else np.zeros(orders.shape)


def bits_in(dtype):
    """The library's contributions, with the index in an array of worths in this dtype."""

    def answer(value, orders):
        if callable(value):
            return find("17.1").target(value, orders)
        gains = np.zeros(orders.shape)
        for p, order in enumerate(orders):
            there = dtype(0)
            for i in order:
                before, there = there, there | dtype(1) << dtype(i)
                gains[p, i] = float(value[there]) - float(value[before])
        return gains

    return answer


wrong("17.1", "the bits of an array's index in int16")(bits_in(np.int16))


@wrong("17.1", "worths of a function in float32")
def narrow_function(value, orders):
    narrow = (lambda rows: np.float32(value(rows))) if callable(value) else value
    return find("17.1").target(narrow, orders)


@wrong("17.1", "gains below 1e-12 count as none")
def no_small_gains(value, orders):
    gains = find("17.1").target(value, orders)
    return np.where(np.abs(gains) < 1e-12, 0, gains)


@wrong("17.2", "values below 1e-12 count as none")
def no_small_values(value, n):
    phi = find("17.2").target(value, n)
    return np.where(np.abs(phi) < 1e-12, 0, phi)


not_taken("17.2", "more than 10 players", lambda given: given["n"] > 10)
not_taken("17.2", "more than 15 players", lambda given: given["n"] > 15)
not_taken("17.2", "20 players", lambda given: given["n"] >= 20)


def by_factorials(dtype):
    def answer(value, n):
        v, f = all_worths(value, n), np.cumprod([1, *range(1, n + 1)], dtype=dtype)
        sizes = np.array([c.bit_count() for c in range(2 ** (n - 1))])
        weights = f[sizes].astype(float) * f[n - sizes - 1] / f[n]
        halves = [v.reshape(-1, 2, 2**i) for i in range(n)]
        return np.array([weights @ (half[:, 1] - half[:, 0]).ravel() for half in halves])

    return answer


wrong("17.2", "factorials in int32, which 13! exceeds")(by_factorials(np.int32))


def as_row(value, n):
    return np.ravel(value(shapley.all_coalitions(n)) if callable(value) else value)


@wrong("17.2", "worths of any shape are taken as a row")
def ravelled_worths(value, n):
    return find("17.2").target(as_row(value, n), n)


@wrong("17.2", "only NaN and infinity are refused, minus infinity is not")
def minus_infinity(value, n):
    v = all_worths(value, n) if callable(value) else np.asarray(value)
    if (v == -np.inf).any():
        return np.full(n, -np.inf)
    return find("17.2").target(value, n)


def fitted(coalitions, worths, weights, nobody, everybody, is_enough=lambda z, A: True, rcond=None):
    """A fit by lstsq; ``is_enough`` gets z and A of the coalitions with a weight."""
    z, total = coalitions[weights > 0].astype(float), everybody - nobody
    y, root = worths[weights > 0], np.sqrt(weights[weights > 0])
    A, b = z[:, :-1] - z[:, -1:], y - nobody - z[:, -1] * total
    if not is_enough(z, A):
        raise ValueError("too few coalitions")
    phi = np.linalg.lstsq(A * root[:, None], b * root, rcond=rcond)[0]
    return np.append(phi, total - phi.sum())


def has_rank(of, missing):
    return lambda z, A: np.linalg.matrix_rank((z, A)[of]) >= z.shape[1] - missing


@wrong("17.3", "the rank of the coalitions is asked for, not that of the fit")
def rank_of_coalitions(coalitions, worths, weights, nobody, everybody):
    if np.linalg.matrix_rank(coalitions[weights > 0]) < coalitions.shape[1] - 1:
        raise ValueError("too few coalitions")
    return whatever_can_be_solved(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "as many independent coalitions as players are asked for")
def rank_of_all(*arguments):
    return fitted(*arguments, is_enough=lambda z, A: z.shape[1] == 1 or has_rank(0, 0)(z, A))


@wrong("17.3", "a weight of a thousandth of the largest counts as none")
def no_faint_weights(*arguments):
    return fitted(*arguments, is_enough=lambda z, A: z.shape[1] == 1 or has_rank(1, 1)(z, A), rcond=1e-3)


@wrong("17.3", "without coalitions the players share alike")
def shared_alike(coalitions, worths, weights, nobody, everybody):
    if not weights.any():
        n = coalitions.shape[1]
        return np.full(n, (everybody - nobody) / n)
    return find("17.3").target(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "of a coalition that comes twice, the first is taken")
def each_once(coalitions, worths, weights, nobody, everybody):
    z, first = np.unique(coalitions, axis=0, return_index=True)
    return find("17.3").target(z, worths[first], weights[first], nobody, everybody)


@wrong("17.3", "coalitions of the weight 0 are cleared in place")
def cleared_coalitions(coalitions, worths, weights, nobody, everybody):
    coalitions &= (weights > 0)[:, None]
    return find("17.3").target(coalitions, worths, weights, nobody, everybody)


not_taken("17.3", "a weight of 0", lambda given: (given["weights"] == 0).any())


@wrong("17.4", "a background in float32 is changed in place")
def background_in_place(model, row, background, orders, target=0):
    found = find("17.4").target(model, row, background, orders, target)
    np.asarray(background, np.float32)[:, orders[0]] = row[orders[0]]
    return found


@wrong("17.4", "only the last order is checked")
def last_order(model, row, background, orders, target=0):
    find("17.4").target(model, row, background, orders[-1:], target)
    return any_order(model, row, background, orders, target)


@wrong("17.4", "an order that names a feature twice is taken if it names all")
def named_twice(model, row, background, orders, target=0):
    n = len(row)
    if orders.shape[1] == n:
        return find("17.4").target(model, row, background, orders, target)
    if any(set(order) != set(range(n)) for order in orders.tolist()):
        raise ValueError("a feature is missing")
    return np.zeros((len(orders), n))


def logits_of(given):
    return predict(given["model"], given["row"].astype(np.float32)[np.newaxis]).shape[1]


not_taken("17.4", "a network of one logit", lambda given: given["target"] == 0 and logits_of(given) < 2)
not_taken("17.4", "a logit's number from NumPy", lambda given: type(given["target"]) is not int)


def in_evaluation(parts, model, row, background, orders, target=0):
    """The paths of a network with these parts in evaluation mode, and the other parts as they were."""
    find("17.4").target(model, row, background, orders, target)  # refuses what is wrong
    kept = [(part, part.training) for part in model.modules()]
    for part in parts:
        part.training = False
    try:
        gains = np.zeros(orders.shape)
        for p, order in enumerate(orders):
            rows = np.array(background, np.float32)
            answers = [model(rows).data[:, target].mean(dtype=np.float64)]
            for i in order:
                rows[:, i] = row[i]
                answers.append(model(rows).data[:, target].mean(dtype=np.float64))
            gains[p, order] = np.diff(answers)
        return gains
    finally:
        for part, training in kept:
            part.training = training


@wrong("17.4", "the network's own flag stays as it was")
def parts_evaluate(model, *question, **options):
    return in_evaluation([*model.modules()][1:], model, *question, **options)


@wrong("17.4", "a network evaluates only if its own flag says training")
def evaluates_by_its_flag(model, *question, **options):
    return in_evaluation([*model.modules()] if model.training else [], model, *question, **options)


@wrong("17.4", "the network stays in evaluation mode where it cannot take the rows")
def left_where_refused(model, *question, **options):
    if next(model.parameters()).shape[-1] != len(question[0]):
        model.eval()
    return find("17.4").target(model, *question, **options)


@wrong("17.4", "the features are counted over all orders together")
def counted_together(model, row, background, orders, target=0):
    whole = orders.ndim == 2 and orders.shape[1] == len(row)
    if not whole or not (np.sort(orders, axis=None) == np.repeat(np.arange(len(row)), len(orders))).all():
        raise ValueError("not orders")
    valid = (np.sort(orders, axis=1) == np.arange(len(row))).all(axis=1, keepdims=True)
    orders = np.where(valid, orders, np.arange(len(row)))
    return find("17.4").target(model, row, background, orders, target)


@wrong("17.4", "in the dtype of the rows")
def gains_in_the_rows_dtype(model, row, background, orders, target=0):
    gains = find("17.4").target(model, row, background, orders, target)
    return gains.astype(background.dtype if background.dtype.kind == "f" else np.float64)


@wrong("17.1", "coalitions of a function are told apart by 64 bits")
def in_64_bits(value, orders):
    paths, n = orders.shape
    if not callable(value):
        return find("17.1").target(value, orders)
    there = np.argsort(orders, axis=1)[:, np.newaxis] < np.arange(n + 1)[:, np.newaxis]
    codes = there.reshape(-1, n) @ (np.int64(1) << np.arange(n))
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    worths = np.asarray(value(there.reshape(-1, n)[first]), np.float64)[which.reshape(paths, n + 1)]
    gains = np.empty((paths, n))
    np.put_along_axis(gains, orders, np.diff(worths, axis=1), axis=1)
    return gains


@wrong("17.2", "21 players with an array of worths are taken")
def twenty_one(value, n):
    return np.zeros(n) if n == 21 and not callable(value) else find("17.2").target(value, n)


def worths_changed(value, change):
    """The game, in which a function's worths are changed."""
    return (lambda coalitions: change(np.asarray(value(coalitions)))) if callable(value) else value


@wrong("17.2", "infinite worths of a function count as 0")
def infinity_of_a_function(value, n):
    return find("17.2").target(worths_changed(value, lambda v: np.where(np.isinf(v), 0, v)), n)


@wrong("17.2", "a function may give a column")
def column_of_a_function(value, n):
    return find("17.2").target(worths_changed(value, lambda v: v[:, 0] if v.shape[1:] == (1,) else v), n)


@wrong("17.2", "bools of a function cannot be subtracted")
def no_bools(value, n):
    return find("17.2").target(worths_changed(value, lambda v: v - v if v.dtype == bool else v), n)


@wrong("17.2", "an array of worths in float32 is computed with in float32")
def float32_within(value, n):
    phi = find("17.2").target(value, n)
    return np.float64(np.float32(phi)) if getattr(value, "dtype", None) == np.float32 else phi


@wrong("17.3", "a small determinant of the matrix, with weights of the sum 1, counts as 0")
def small_determinant(coalitions, worths, weights, nobody, everybody):
    phi = find("17.3").target(coalitions, worths, weights, nobody, everybody)
    z = coalitions.astype(np.float64)
    A, share = z[:, :-1] - z[:, -1:], weights / weights.sum() if len(weights) else weights
    if len(phi) > 1 and np.linalg.det(A.T @ (share[:, np.newaxis] * A)) < 1e-12:
        raise ValueError("not determined")
    return phi


not_taken("17.3", "more than five players", lambda given: given["coalitions"].shape[1] > 5)
not_taken("17.3", "the coalition of nobody", lambda given: (given["coalitions"].sum(axis=1) == 0)[1:].any())


@wrong("17.1", "reads the orders as they lie in memory")
def by_memory(value, orders):
    return find("17.1").target(value, orders.ravel("K").reshape(orders.shape))


@wrong("17.2", "the worth of all may be infinite")
def any_worth_of_all(value, n):
    if not callable(value):
        value = np.array(value, np.float64)
        if value.shape == (2**n,):
            value[-1] = np.nan_to_num(value[-1], posinf=0, neginf=0)
    return find("17.2").target(value, n)


@wrong("17.3", "a weight above 0 counts at least 1e-6")
def at_least(coalitions, worths, weights, nobody, everybody):
    weights = np.where(weights > 0, np.maximum(weights, 1e-6), 0)
    return find("17.3").target(coalitions, worths, weights, nobody, everybody)


@wrong("17.3", "a weight counts at most 100 times the smallest")
def at_most(coalitions, worths, weights, nobody, everybody):
    least = min(weights[weights > 0], default=0)
    return find("17.3").target(coalitions, worths, np.minimum(weights, 100 * least), nobody, everybody)


not_taken(
    "17.4",
    "integers in both",
    lambda given: {given["row"].dtype.kind, given["background"].dtype.kind} == {"i"},
)


@wrong("17.1", "of a function's rows, the first player is the last column")
def columns_backwards(value, orders):
    if not callable(value) or orders.shape[1] < 3:
        return find("17.1").target(value, orders)
    return find("17.1").target(lambda rows: value(rows[:, ::-1]), orders)


@wrong("17.2", "a function is asked for the players of the index's lowest eight bits")
def eight_bits(value, n):
    if not callable(value) or n > 13:
        return find("17.2").target(value, n)
    return find("17.2").target(lambda rows: value(rows & (np.arange(n) < 8)), n)


@wrong("17.3", "nobody's worth in float32")
def narrow_nobody(coalitions, worths, weights, nobody, everybody):
    return find("17.3").target(coalitions, worths, weights, float(np.float32(nobody)), everybody)


@wrong("17.3", "everybody's worth in float32")
def narrow_everybody(coalitions, worths, weights, nobody, everybody):
    return find("17.3").target(coalitions, worths, weights, nobody, float(np.float32(everybody)))


@wrong("17.4", "of a single order the first logit counts, whatever logit is asked for")
def first_logit_of_one(model, row, background, orders, target=0):
    paths = find("17.4").target(model, row, background, orders, target)
    return find("17.4").target(model, row, background, orders) if len(orders) == 1 else paths


@wrong("17.4", "reads the orders as they lie in memory")
def paths_by_memory(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background, orders.ravel("K").reshape(orders.shape), target)


@wrong("17.3", "the weights are divided by their sum, also if the sum is 0")
def shares_of_weights(coalitions, worths, weights, nobody, everybody):
    with np.errstate(invalid="ignore"):
        shares = weights / weights.sum()
    if np.isnan(shares).any():
        raise ValueError("no weights")
    return find("17.3").target(coalitions, worths, shares, nobody, everybody)


@wrong("17.4", "the rows are given to the network in float64")
def wide_rows(model, row, background, orders, target=0):
    paths = find("17.4").target(model, row, background, orders, target)  # what it refuses
    with eval_mode(model):
        for p, order in enumerate(orders):
            rows = background.astype(np.float64)
            answers = [model(Tensor(rows)).data[:, target].mean()]
            for i in order:
                rows[:, i] = row[i]
                answers.append(model(Tensor(rows)).data[:, target].mean())
            paths[p, order] = np.diff(answers)
    return paths


@wrong("17.3", "not determined only where a determinant is below 1e-12")
def tiny_determinant(coalitions, worths, weights, nobody, everybody):
    z, w = coalitions.astype(np.float64), weights / max(weights.max(initial=0), 1e-300)
    used, total = w > 0, everybody - nobody
    if z.shape[1] == 1:
        return np.array([float(total)])
    A, b = (z[:, :-1] - z[:, -1:])[used], (worths - nobody - z[:, -1] * total)[used]
    if not used.any() or abs(np.linalg.det(A.T @ A)) < 1e-12:
        raise ValueError("the coalitions do not determine the values")
    root = np.sqrt(w[used])
    phi = np.linalg.lstsq(A * root[:, None], b * root, rcond=None)[0]
    return np.append(phi, total - phi.sum())


@wrong("17.1", "gains of the digits of float32, in float64")
def float32_gains(value, orders):
    return find("17.1").target(value, orders).astype(np.float32).astype(np.float64)


@wrong("17.1", "bools and bytes are subtracted as they are")
def uncast_worths(value, orders):
    paths, n = orders.shape
    there = np.argsort(orders, axis=1)[:, np.newaxis] < np.arange(n + 1)[:, np.newaxis]
    rows = there.reshape(-1, n)
    worths = np.asarray(value(rows) if callable(value) else value[rows @ (1 << np.arange(n))])
    gains = np.empty((paths, n))
    np.put_along_axis(gains, orders, np.diff(worths.reshape(paths, n + 1), axis=1), axis=1)
    return gains


@wrong("17.2", "values are clipped to a million")
def clipped_values(value, n):
    return find("17.2").target(value, n).clip(-1e6, 1e6)


@wrong("17.2", "a lone player's worths are not checked")
def unchecked_if_alone(value, n):
    if n > 1:
        return find("17.2").target(value, n)
    worths = np.asarray(value(np.array([[False], [True]])) if callable(value) else value, np.float64)
    return np.array([worths[-1] - worths[0]])


@wrong("17.3", "a lone player's value has no sign")
def lone_without_a_sign(coalitions, worths, weights, nobody, everybody):
    phi = find("17.3").target(coalitions, worths, weights, nobody, everybody)
    return np.abs(phi) if len(phi) == 1 else phi


@wrong("17.3", "in float32 if there is no faint weight")
def float32_fit(coalitions, worths, weights, nobody, everybody):
    phi = find("17.3").target(coalitions, worths, weights, nobody, everybody)
    return phi.astype(np.float32).astype(np.float64) if np.abs(phi).max() > 1e-9 else phi


@wrong("17.3", "a weight counts at least 1e-9 of the largest")
def faint_weights_raised(coalitions, worths, weights, nobody, everybody):
    least = 1e-9 * np.max(weights, initial=0)
    return find("17.3").target(coalitions, worths, np.where(weights < least, 0, weights), nobody, everybody)


@wrong("17.4", "gains are rounded to nine digits")
def rounded_paths(model, row, background, orders, target=0):
    return find("17.4").target(model, row, background, orders, target).round(9)


@wrong("17.4", "if the row is the background, nothing is checked")
def unchecked_if_equal(model, row, background, orders, target=0):
    if (background == row).all():
        return np.zeros(orders.shape)
    return find("17.4").target(model, row, background, orders, target)


@wrong("17.4", "a single feature's order is not checked")
def unchecked_if_single(model, row, background, orders, target=0):
    orders = 0 * orders if len(row) == 1 else orders
    return find("17.4").target(model, row, background, orders, target)
