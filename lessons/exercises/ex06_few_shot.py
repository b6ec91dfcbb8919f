"""Exercises of lesson 06: prototypes and distances. The vote and an episode have their own modules."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.classroom.strategies import labels as label_arrays
from minidl.transfer import fewshot

# ---- 06.1 prototypes

prototypes = Exercise(
    "06.1",
    fewshot.prototypes,
    title="a prototype for each class",
    points=2,
    level=1,
    minutes=10,
    hints=(
        "A prototype is the mean of the rows of its class. The classes need not be 0, 1, 2, ...",
        "np.unique(labels) are the classes; support[labels == c] are the rows of class c.",
        "np.stack([... .mean(axis=0) for c in classes])",
    ),
)


@st.composite
def labelled_rows(draw):
    """support (N, D) and labels (N,). Some classes may have no rows."""
    n, d = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    return draw(arrays((n, d))), draw(label_arrays(n, 4))


@prototypes.law("classes 3 and 1: the mean of two rows for one class, and a single row for the other")
def worked_prototypes(prototypes):
    classes, means = prototypes(np.array([[0.0, 2.0], [5.0, 5.0], [4.0, 0.0]]), np.array([3, 1, 3]))
    assert_equal(classes, np.array([1, 3]))
    assert_close(means, [[5, 5], [2, 1]])
    _, means = prototypes(np.array([[0.1], [0.2]]), np.array([3, 3]))
    assert_close(means, [[0.15]], rtol=1e-12)


@prototypes.law("the differences from the prototype of their class sum to zero, in every class")
@given(case=labelled_rows())
def are_balanced(prototypes, case):
    support, labels = case
    classes, means = prototypes(support, labels)
    assert_equal(classes, np.unique(labels))
    for c, mean in zip(classes, means, strict=True):
        assert_close((support[labels == c] - mean).sum(axis=0), 0.0, atol=1e-9)


@prototypes.law("with one row per class, the means are the rows, in the order of the classes")
@given(support=arrays(st.tuples(st.integers(1, 4), st.integers(1, 3))))
def are_the_rows(prototypes, support):
    labels = 10 - np.arange(len(support))
    classes, means = prototypes(support, labels)
    assert_equal(classes, labels[::-1])
    assert_close(means, support[::-1])


@prototypes.law("writing every row twice changes nothing")
@given(case=labelled_rows())
def ignore_repetition(prototypes, case):
    support, labels = case
    classes, means = prototypes(np.repeat(support, 2, axis=0), np.repeat(labels, 2))
    once_classes, once = prototypes(support, labels)
    assert_equal(classes, once_classes)
    assert_close(means, once)


@prototypes.law(
    "float32 rows have float32 means, whole numbers have float64 means; labels have any sign and dtype"
)
def prototypes_keep_float32(prototypes):
    rows = np.array([[1, 2, 0, 4], [2, 2, 0, -3], [2.0**60, 1, 1, 1]])
    for dtype, wanted in ((np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64)):
        classes, means = prototypes(rows.astype(dtype), np.array([5, 5, -1]))
        assert_dtype(means, wanted)
        assert_equal(means, np.array([[2.0**60, 1, 1, 1], [1.5, 2, 0, 0.5]]))
        assert_equal(classes, np.array([-1, 5]))
        assert_dtype(classes, np.int64)
    for kind, c in (
        (np.int8, [-3, 0, 3]),
        (np.int8, [-100, 100, 127]),
        (np.int64, [-(2**40), 2**62, 2**62 + 1]),
    ):
        classes, means = prototypes(rows, np.array([c[2], c[0], c[1]], kind))
        assert_dtype(classes, kind)
        assert_equal(classes, np.array(c))
        assert_equal(means, rows[[1, 2, 0]])
    for labels in ([0, 1, 2], [0, 0, 0]):  # one row for each class, and one class
        for dtype, wanted in ((np.float32, np.float32), (np.int64, np.float64)):
            classes, means = prototypes(np.eye(3, dtype=dtype), np.array(labels, np.int8))
            assert_dtype(means, wanted)
            assert_dtype(classes, np.int8)
    classes, means = prototypes(np.full((300, 1), 100, np.int8), np.repeat([-7, -2], [297, 3]))
    assert_equal(classes, np.array([-7, -2]))
    assert_dtype(means, np.float64)
    assert_close(means, [[100.0], [100.0]], rtol=1e-12)  # three rows have the sum 300


@prototypes.mistake("the sum, not the mean", breaks=prototypes.laws[0].text)
def sums(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support[labels == c].sum(axis=0) for c in classes])


@prototypes.mistake("divided by the number of all rows", breaks=prototypes.laws[0].text)
def divided_by_all(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support[labels == c].sum(axis=0) / len(support) for c in classes])


@prototypes.mistake("the mean over all rows", breaks=prototypes.laws[0].text)
def one_mean(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support.mean(axis=0) for _ in classes])


@prototypes.mistake("assumes that the classes are 0, 1, 2, ...", breaks=prototypes.laws[0].text)
def counted_classes(support, labels):
    classes = np.arange(labels.max() + 1)
    own = [support[labels == c] for c in classes]
    return classes, np.stack([rows.mean(axis=0) if len(rows) else np.zeros(support.shape[1]) for rows in own])


# ---- 06.2 squared_distances

distances = Exercise(
    "06.2",
    fewshot.squared_distances,
    title="all squared distances at once",
    points=2,
    level=1,
    minutes=15,
    hints=(
        "Compare each query with each row of the support. Each pair gives one number, the sum of squared "
        "differences.",
        "queries[:, np.newaxis] - support holds all differences, (M, N, D). Sum their squares over D. If "
        "there are many rows, do this for a few queries at a time.",
        "(difference**2).sum(axis=-1), where difference is (step, N, D)",
    ),
)

FAR = 2.0**30  # quarters plus FAR are exact, but rounding to the digits of FAR² would lose the quarters


@st.composite
def two_sets(draw):
    """queries (M, D) and support (N, D)."""
    m, n, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(arrays((m, d))), draw(arrays((n, d)))


@distances.law(
    "(0, 0) and (3, 4) have the squared distance 25; each query has one row, even if there is no support"
)
def worked_distances(squared_distances):
    queries, support = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    assert_close(squared_distances(queries, support), [[25, 0, 2], [16, 9, 5]])
    assert_equal(np.shape(squared_distances(queries, support[:0])), (2, 0))
    assert_equal(np.shape(squared_distances(queries[:0], support)), (0, 3))
    assert_dtype(squared_distances(np.float32(queries[:0]), support), np.float64)
    assert_equal(np.shape(squared_distances(queries[:0], support[:0])), (0, 0))
    tenths = squared_distances(np.array([[0.1, 0.7]]), np.array([[1e3, 0.7], [0.1, 1e-3]]))
    assert_close(tenths, [[999.9**2, 0.699**2]], rtol=1e-12)


@distances.law("rows may be longer, and there may be more of them, than the part that is computed at a time")
def worked_long_rows(squared_distances):
    n = 2**20 + 1
    queries = np.broadcast_to([[1.0], [2.0]], (2, n))
    assert_close(squared_distances(queries, np.zeros((1, n))), [[n], [4 * n]])
    for count, n in ((3, 2**19), (1101, 1000)):  # the last few queries, less than what is held at a time
        steps = np.arange(1.0, count + 1)[:, np.newaxis]
        found = squared_distances(np.broadcast_to(FAR + steps, (count, n)), np.full((1, n), FAR))
        assert_close(found, n * steps**2)
    quarters = FAR + np.arange(300.0)[:, np.newaxis] / 4  # many queries and many rows of the support
    steps = np.arange(299.0) - np.arange(300.0)[:, np.newaxis]
    assert_close(squared_distances(quarters, quarters[:299]), steps**2 / 16)


@distances.law("the result sums the squared differences of each pair")
@given(sets=two_sets())
def sums_squares(squared_distances, sets):
    queries, support = sets
    expected = [[sum((a - b) ** 2 for a, b in zip(q, s, strict=True)) for s in support] for q in queries]
    assert_close(squared_distances(queries, support), np.array(expected))


@distances.law("the distance from a to b is the distance from b to a")
@given(sets=two_sets())
def is_symmetric(squared_distances, sets):
    queries, support = sets
    assert_close(squared_distances(support, queries), squared_distances(queries, support).T)


@distances.law("adding the same large number to all values changes nothing")
@given(sets=two_sets())
def is_exact_far_away(squared_distances, sets):
    queries, support = sets
    moved = squared_distances(queries + FAR, support + FAR)
    assert_close(moved, squared_distances(queries, support))


@distances.law(
    "two points that are 1/4 apart have the squared distance 1/16, even if other points are far away"
)
def worked_two_places(squared_distances):
    queries, support = np.array([[FAR + 0.25], [-FAR]]), np.array([[FAR], [-FAR - 0.25]])
    near, far = 1 / 16, (2 * FAR + 0.25) ** 2
    assert_close(squared_distances(queries, support), [[near, (2 * FAR + 0.5) ** 2], [4 * FAR**2, near]])
    assert_close(squared_distances(queries[:1], -queries[:1]), [[(2 * FAR + 0.5) ** 2]])
    assert_close(squared_distances(queries[1:], queries[:1]), [[far]])
    near_fifty = squared_distances(np.array([[50.0]]), np.array([[50 + 2.0**-30]]))
    assert_close(near_fifty, [[2.0**-60]], atol=0)


@distances.law(
    "float32 and whole numbers give float64: the square of 2^-50 is 2^-100, the square of 10^5 is 10^10"
)
def distances_in_float64(squared_distances):
    for dtype, far, wanted in (
        (np.float32, 2.0**-50, 2.0**-100),
        (np.int32, 10**5, 1e10),
        (np.int64, 4 * 10**9, 1.6e19),
        (np.uint8, 200, 4e4),
    ):
        answer = squared_distances(np.zeros((1, 2), dtype), np.array([[far, 0], [0, 0]], dtype))
        assert_dtype(answer, np.float64)
        assert_equal(answer, [[wanted, 0.0]])
    near_one = squared_distances(np.ones((1, 1), np.float32), np.full((1, 1), 2.0**-30, np.float32))
    assert_equal(near_one, [[(1 - 2.0**-30) ** 2]])
    tenth = np.array([[0.1]])  # beside rows of another dtype
    for one in (np.ones((1, 1), np.float32), np.ones((1, 1), int)):
        assert_close(squared_distances(tenth, one), [[0.81]], rtol=1e-12)
        assert_close(squared_distances(one, tenth), [[0.81]], rtol=1e-12)
    ends = np.array([[2 * 10**9]], np.int32)
    assert_equal(squared_distances(ends, -ends), [[16e18]])


@distances.mistake("the differences themselves, not their squares", breaks=distances.laws[0].text)
def absolute(queries, support):
    return np.abs(queries[:, np.newaxis] - support).sum(axis=-1)


@distances.mistake("took the square root", breaks=distances.laws[0].text)
def rooted(queries, support):
    return np.sqrt(fewshot.squared_distances(queries, support))


@distances.mistake("one row for each row of the support instead of each query", breaks=distances.laws[0].text)
def transposed(queries, support):
    return fewshot.squared_distances(support, queries)


@distances.mistake(
    "the form ‖q‖² - 2 q·s + ‖s‖², which is inaccurate",
    breaks="adding the same large number to all values changes nothing",
)
def expanded(queries, support):
    lengths = (queries**2).sum(axis=1)[:, np.newaxis] + (support**2).sum(axis=1)
    return lengths - 2 * queries @ support.T
