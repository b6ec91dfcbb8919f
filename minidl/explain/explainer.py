"""SHAP: a prediction shared among the features of its row, which play the game of being known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import positive_int
from minidl.engine.random import default_rng_or
from minidl.explain.shapley import kernel_shap, shapley_paths, shapley_values

METHODS = ("exact", "paths", "kernel")
CHUNK = 2**19  # numbers in the inputs that are predicted at once: 2 MB, so that they stay in the cache


class Explanation(NamedTuple):
    """values.sum(axis=1) + base_value is the prediction of each row."""

    values: np.ndarray  # (rows, players) float64
    base_value: float  # the mean prediction of the background
    data: np.ndarray  # the rows
    standard_errors: np.ndarray | None  # (rows, players) by paths, else None


class Explainer:
    """Shares f(x) - E f(background) among the features of x by Shapley values (Lundberg & Lee 2017).

        v(S) = mean over background rows b of  f(x where in S, b elsewhere)

    What is not in S is thus drawn from the background, whatever the rest of the row (the interventional
    value): where features depend on each other, some of these rows are like none of the data.

    predict: rows (m, ...) to one number each (m,), such as the logit of a class.  background: rows (B, ...).
    groups: integers of the shape of a row, or that broadcast to it: positions of one number, 0 ... G-1, are
    one player, as the pixels of a patch. None makes every position a player.
    """

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        background: np.ndarray,
        *,
        groups: np.ndarray | None = None,
    ) -> None:
        if not callable(predict):
            raise TypeError(f"predict must be a function of rows, got {predict!r}")
        self.predict = predict
        self.background = _checked_rows("background", background)
        self.groups = _checked_groups(groups, self.background.shape[1:])
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

        method: "exact", for up to 20 players; "paths", from ``samples`` antithetic orders a row; "kernel",
        from ``samples`` coalitions a row, or from all of them where it is None.
        It costs coalitions · background rows predictions a row: 2**players when exact.
        """
        rows, rng = self._own_rows("rows", rows), default_rng_or(rng)
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if method == "paths" and samples is None:
            raise ValueError('method "paths" needs samples, the number of orders for each row')
        if method == "exact" and samples is not None:
            raise ValueError(f'method "exact" draws nothing, got samples = {samples}')
        values, errors = np.empty((len(rows), self.players)), None
        if method == "paths":
            errors = np.empty_like(values)
        for r, row in enumerate(rows):
            game = self.game(row)
            if method == "exact":
                values[r] = shapley_values(game, self.players)
            elif method == "kernel":
                values[r] = kernel_shap(game, self.players, samples, rng)
            else:
                values[r], errors[r] = shapley_paths(game, self.players, samples, rng)
        return Explanation(values, self.base_value, rows, errors)

    def game(self, row: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """v of one row's coalitions, as ``shapley_values`` takes it: (m, players) bool to (m,)."""
        (row,) = self._own_rows("row", np.asarray(row)[np.newaxis])
        step = max(1, CHUNK // self.background.size)  # coalitions at a time

        def value(coalitions: np.ndarray) -> np.ndarray:
            coalitions = np.asarray(coalitions)
            if coalitions.dtype != bool or coalitions.ndim != 2 or coalitions.shape[1] != self.players:
                what = f"{coalitions.dtype} {coalitions.shape}"
                raise ValueError(f"coalitions must be bool (m, {self.players}), who is in each, got {what}")
            worths = np.empty(len(coalitions))
            for start in range(0, len(coalitions), step):
                known = coalitions[start : start + step][:, self.groups]  # (step, ...)
                mixed = mixed_rows(row, self.background, known)
                worths[start : start + step] = self._predictions(mixed).reshape(len(known), -1).mean(axis=1)
            return worths

        return value

    def _own_rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        rows = _checked_rows(name, rows)
        if rows.shape[1:] != self.background.shape[1:]:
            wanted = f"a background row's shape {self.background.shape[1:]}"
            raise ValueError(f"{name} must have {wanted}, got {rows.shape[1:]}")
        return rows

    def _predictions(self, rows: np.ndarray) -> np.ndarray:
        predictions = np.asarray(self.predict(rows))
        if predictions.dtype.kind not in "biuf":
            raise TypeError(f"predict must give real numbers, got {predictions.dtype}")
        if predictions.shape != (len(rows),):
            raise ValueError(
                f"predict must give one number for each of {len(rows)} rows, shape ({len(rows)},), "
                f"got {predictions.shape}: choose one output, as in lambda rows: predict(model, rows)[:, 3]"
            )
        if not np.isfinite(predictions).all():
            raise ValueError("predict gave a number that is not finite")
        return predictions.astype(np.float64)


def mixed_rows(row: np.ndarray, background: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The row where it is known, and each background row elsewhere: (m · B, ...), coalition by coalition.

    row: (...).  background: (B, ...).  known: (m, ...) bool, one row for each coalition.
    """
    mixed = np.where(known[:, np.newaxis], row, background)  # (m, B, ...)
    return mixed.reshape(-1, *row.shape)


def patch_groups(height: int, width: int, size: int) -> np.ndarray:
    """Groups (height, width) for square patches of ``size`` pixels, numbered row by row.

    Patches at the right and bottom are smaller where ``size`` does not divide the side. A map of the values
    is ``values[:, patch_groups(...)]``, (rows, height, width).
    """
    height, width = positive_int("height", height), positive_int("width", width)
    size = positive_int("size", size)
    across = -(-width // size)
    return np.arange(height)[:, np.newaxis] // size * across + np.arange(width) // size


def _checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """A copy, so that nobody else writes into it."""
    rows = np.array(rows)
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers (rows, ...), got {rows.dtype} {rows.shape}")
    if rows.ndim < 2 or rows.size == 0:
        raise ValueError(f"{name} must be at least one row of features (rows, ...), got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite")
    return rows


def _checked_groups(groups: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A player's number for each position of a row."""
    if groups is None:
        return np.arange(np.prod(shape)).reshape(shape)
    groups = np.asarray(groups)
    if groups.dtype.kind not in "iu":
        raise TypeError(f"groups must be integers, got {groups.dtype}")
    try:
        groups = np.broadcast_to(groups, shape)
    except ValueError:
        raise ValueError(f"groups {groups.shape} must have, or broadcast to, a row's shape {shape}") from None
    numbers = np.unique(groups)
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError(f"groups must be numbered 0, 1, 2, ... without gaps, got {numbers[:10].tolist()}")
    return groups
