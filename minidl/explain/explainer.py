"""SHAP: divide a prediction among the features of its row. Each feature is a player of a game."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_choice, check_function, check_int, positive_int, require
from minidl.engine.random import default_rng_or
from minidl.explain.shapley import kernel_estimate, kernel_shap, shapley_paths, shapley_values, worth_array
from minidl.explain.target import as_numbers
from minidl.nn.module import Module
from minidl.train.metrics import predict

METHODS = ("exact", "paths", "kernel")
CHUNK = 2**19  # numbers in the inputs of one prediction call: 2 MB, so that they stay in the cache


class Explanation(NamedTuple):
    """What each player contributes: values.sum(axis=1) + base_value is the prediction of each row."""

    values: np.ndarray  # (rows, players) float64
    base_value: float  # the mean prediction of the background
    data: np.ndarray  # the rows
    standard_errors: np.ndarray | None  # (rows, players) for sampled values, None for exact values


class Explainer:
    """Divides f(x) - E f(background) among the features of x by Shapley values (Lundberg & Lee 2017).

        v(S) = mean over background rows b of  f(x where in S, b elsewhere)

    So features outside of S come from the background, independent of the rest of the row (the interventional
    value). If features depend on each other, some of these rows do not look like real data.

    predict: rows (m, ...) to one number each (m,), such as the logit of a class.  background: rows (B, ...).
    groups: integers 0 ... G-1 that broadcast to the shape of a row. Positions with the same number are one
    player, such as the pixels of a patch. None makes every position a player.

    >>> from minidl import explain
    >>> explainer = explain.Explainer(lambda rows: rows @ [2, 1], background=np.zeros((1, 2)))
    >>> print(explainer.explain([[3, 1]]).values)
    [[6. 1.]]
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        background: np.ndarray,
        *,
        groups: np.ndarray | None = None,
    ) -> None:
        self.predict = check_function("predict", predict, "rows")
        background = check_array("background", as_numbers(background))
        self.background = background.copy()  # nobody else writes into it
        is_table = f"background must be rows of features (rows, ...), got {self.background.shape}"
        require(self.background.ndim > 1, is_table)
        self.groups = player_numbers(groups, self.background.shape[1:])
        self.players = int(self.groups.max()) + 1
        self.base_value = float(self._predictions(self.background.copy()).mean())  # predict may write

    def explain(
        self,
        rows: np.ndarray,
        method: str = "exact",
        *,
        samples: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Explanation:
        """The Shapley values of each row: (rows, players).

        method: "exact", for up to 20 players; "paths", from ``samples`` antithetic orders per row; "kernel",
        from at most ``samples`` coalitions per row, or from all of them if it is None. Sampled values have
        standard errors.
        Each row costs (coalitions · background rows) predictions; exact values need 2**players coalitions.
        """
        rows = check_array("rows", as_numbers(rows), "rows", *self.background.shape[1:]).copy()
        check_choice("method", method, METHODS)
        is_drawn = samples is not None
        require(is_drawn or method != "paths", 'method "paths" needs samples, the number of orders per row')
        require(not is_drawn or method != "exact", f'method "exact" draws no samples, got {samples}')
        rng, n = default_rng_or(rng), self.players
        values, errors = np.empty((len(rows), n)), np.empty((len(rows), n))
        for r, row in enumerate(rows):
            game = self.game(row)
            if samples is None:
                values[r] = shapley_values(game, n) if method == "exact" else kernel_shap(game, n)
            else:
                estimate = shapley_paths if method == "paths" else kernel_estimate
                values[r], errors[r] = estimate(game, n, samples, rng)
        return Explanation(values, self.base_value, rows, errors if is_drawn else None)

    def game(self, row: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The game of one row, a function from coalitions (m, players) bool to worths (m,)."""
        row = check_array("row", as_numbers(row), *self.background.shape[1:]).copy()
        step = max(1, CHUNK // self.background.size)  # coalitions at a time

        def value(coalitions: np.ndarray) -> np.ndarray:
            coalitions = check_array("coalitions", coalitions, "m", self.players, kind="bool", empty=True)
            worths = np.empty(len(coalitions))
            for start in range(0, len(coalitions), step):
                known = coalitions[start : start + step][:, self.groups]  # (step, ...)
                mixed = mixed_rows(row, self.background, known)
                worths[start : start + step] = self._predictions(mixed).reshape(len(known), -1).mean(axis=1)
            return worths

        return value

    def _predictions(self, rows: np.ndarray) -> np.ndarray:
        return worth_array("the result of predict, one number for each row,", self.predict(rows), len(rows))


def mixed_rows(row: np.ndarray, background: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The row's values where known, and the values of each background row elsewhere: (m · B, ...).

    row: (...).  background: (B, ...).  known: (m, ...) bool, one row for each coalition.
    """
    mixed = np.where(known[:, np.newaxis], row, background)  # (m, B, ...)
    return mixed.reshape(-1, *row.shape)


def model_paths(
    model: Module, row: np.ndarray, background: np.ndarray, orders: np.ndarray, target: int = 0
) -> np.ndarray:
    """How much each feature of a row adds to a network's answer when it becomes known, for P orders: (P, n).

    At the start no feature is known: the rows are those of the background. When a feature becomes known, it
    gets the value of ``row`` in every background row. At the end all features are known. The answer is the
    mean of the logit over these B rows, as in ``Explainer``. A feature adds the change of this mean.

    model: gives logits (m, K) for rows (m, n), in evaluation mode; the model, its mode and its ``.grad`` do
    not change.  row: (n,), background: (B, n), of floats or integers; they become float32.
    orders: (P, n), in each row the features 0 ... n-1 in the order in which they become known.
    target: which of the K logits is the answer, 0 ... K-1.
    Returns: (P, n) float64, from means in float32 or float64; column i belongs to feature i. A row sums to
    f(row) - mean f(background). The mean over all orders gives the Shapley values.
    Raises ValueError for an order that does not name each feature once, and for a logit that does not exist.
    """
    background = check_array("background", background, "B", "n").astype(np.float32)
    row = check_array("row", row, background.shape[1])
    orders = check_array("orders", orders, "P", len(row), kind="integer")
    has_each = (np.sort(orders, axis=1) == np.arange(len(row))).all(axis=1)
    wrong = orders[has_each.argmin()].tolist()  # the first, if there is one
    require(bool(has_each.all()), f"an order must name each of {len(row)} features once, got {wrong}")
    check_int("target", target, 0, predict(model, background).shape[1] - 1)
    gains = np.empty(orders.shape)
    for p, order in enumerate(orders):
        rows = background.copy()
        before = predict(model, rows)[:, target].mean(dtype=np.float64)
        for i in order:
            rows[:, i] = row[i]
            after = predict(model, rows)[:, target].mean(dtype=np.float64)
            gains[p, i] = after - before
            before = after
    return gains


def patch_groups(height: int, width: int, size: int) -> np.ndarray:
    """Groups (height, width) for square patches of ``size`` pixels, numbered row by row.

    Patches at the right and bottom are smaller if ``size`` does not divide the side. A map of the values
    is ``values[:, patch_groups(...)]``, (rows, height, width).

    >>> from minidl import explain
    >>> explain.patch_groups(2, 4, size=2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    height, width = positive_int("height", height), positive_int("width", width)
    size = min(positive_int("size", size), max(height, width))
    across = -(-width // size)
    return np.arange(height)[:, np.newaxis] // size * across + np.arange(width) // size


def player_numbers(groups: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """The number of the player at each position of a row of this shape."""
    if groups is None:
        return np.arange(np.prod(shape)).reshape(shape)
    groups = check_array("groups", groups, kind="integer")
    try:
        groups = np.broadcast_to(groups, shape)
    except ValueError as error:
        message = f"groups {groups.shape} must have, or broadcast to, a row's shape {shape}"
        raise ValueError(message) from error
    numbers = np.unique(groups)
    has_all = np.array_equal(numbers, np.arange(len(numbers)))
    require(has_all, f"groups must be numbered 0, 1, 2, ... without gaps, got {numbers[:10].tolist()}")
    return groups
