"""Hypothesis strategies for laws: small cases of simple numbers that shrink to zeros.

Numbers are quarters. So they are exact in binary, and learners can compute a failing case by hand. Arrays
are float64.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minidl.engine.checks import check_instance, check_int, check_number, positive_int


def quarters(low: float = -2, high: float = 2) -> SearchStrategy[float]:
    """Multiples of 1/4 in [low, high]. They shrink to 0, or to the end of the interval nearest to 0."""
    check_number("high", high, check_number("low", low))
    return st.integers(round(4 * low), round(4 * high)).map(lambda n: n / 4)


def shapes(min_dims: int = 1, max_dims: int = 3, max_side: int = 4) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of non-empty arrays."""
    check_int("max_dims", max_dims, check_int("min_dims", min_dims, 0))
    positive_int("max_side", max_side)
    return st.lists(st.integers(1, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def arrays(draw, shape=None, low: float = -2, high: float = 2) -> np.ndarray:
    """A float64 array of quarters in [low, high]; shape is a tuple, a strategy of tuples or shapes()."""
    check_instance("shape", shape, (tuple, SearchStrategy), optional=True)
    check_number("low", low)
    check_number("high", high, low, low + 63.75)
    if not isinstance(shape, tuple):
        shape = draw(shapes() if shape is None else shape)
    # One draw gives all elements, one byte for each. This is ten times faster than a draw for each element,
    # and the cases shrink equally well.
    size = math.prod(shape)
    numbers, values = np.frombuffer(draw(as_many_bytes(size)), np.uint8), all_quarters(low, high)
    return values[numbers % len(values)].reshape(shape)


@functools.cache
def as_many_bytes(size: int) -> SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@functools.cache
def all_quarters(low: float, high: float) -> np.ndarray:
    """The multiples of 1/4 in [low, high]; those nearest to 0 come first."""
    numbers = np.arange(round(4 * low), round(4 * high) + 1) / 4
    return np.array(sorted(numbers, key=lambda v: (abs(v), v < 0)))


def logits(max_rows: int = 3, max_classes: int = 4) -> SearchStrategy[np.ndarray]:
    """Rows of logits (N, K), N >= 1, K >= 1."""
    positive_int("max_rows", max_rows)
    positive_int("max_classes", max_classes)
    return arrays(st.tuples(st.integers(1, max_rows), st.integers(1, max_classes)))


def temperatures() -> SearchStrategy[float]:
    """Temperatures above and below 1. They shrink to 1."""
    return st.sampled_from([1.0, 2.0, 0.5, 4.0, 0.25, 10.0])


def labels(rows: int, classes: int) -> SearchStrategy[np.ndarray]:
    """Class numbers (rows,) in 0 ... classes-1, int64."""
    check_int("rows", rows, 0)
    positive_int("classes", classes)
    numbers = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    return numbers.map(lambda classes_drawn: np.array(classes_drawn, dtype=np.int64))


@st.composite
def logits_and_labels(draw, max_rows: int = 3, max_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) with a label for each row."""
    z = draw(logits(max_rows, max_classes))
    return z, draw(labels(*z.shape))


# The pairs have equal shapes, an axis of length 1 in one or both arrays, or missing axes on the left.
# The list is short, so that a law tries most of its pairs.
BROADCASTS = [
    ((2,), (2,)), ((2,), ()), ((), (2,)), ((1,), (3,)), ((3,), (1,)), ((2, 1), (1, 3)),
    ((1, 3), (2, 1)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 3), (2, 1)), ((1,), (2, 2)), ((2, 1, 2), (3, 1)),
    ((2,), (2, 2)), ((2, 2), (2,)), ((2, 3), (1, 1, 3)), ((1, 1, 3), (2, 3)),
]  # fmt: skip


@st.composite
def broadcastable_pairs(draw, low: float = -2, high: float = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays with shapes that NumPy broadcasts together. The pairs cover every kind of broadcasting."""
    first, second = draw(st.sampled_from(BROADCASTS))
    return draw(arrays(first, low, high)), draw(arrays(second, low, high))
