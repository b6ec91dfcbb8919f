"""Exercises of lesson 06: distances, the order of neighbours, their vote, and prototypes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.classroom.strategies import labels as label_arrays
from minidl.transfer import fewshot

# ---- 06.1 squared_distances

squared_distances = Exercise(
    "06.1",
    fewshot.squared_distances,
    points=1,
    hints=(
        "Each query meets each example of the support: one number a pair, the sum of squared differences.",
        "queries[:, np.newaxis] - support holds all differences, (M, N, D); sum their squares over D. "
        "For many rows do so for a few queries at a time.",
        "((queries[:, np.newaxis] - support) ** 2).sum(axis=-1)",
    ),
)

FAR = 2.0**30  # added to quarters it is exact, but its square leaves no room for them


@st.composite
def two_sets(draw):
    """queries (M, D) and support (N, D)."""
    m, n, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(arrays((m, d))), draw(arrays((n, d)))


@squared_distances.law("from (0, 0) to (3, 4) it is 25; one row for each query, of an empty support as well")
def worked_distances(squared_distances):
    queries, support = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    assert_close(squared_distances(queries, support), [[25, 0, 2], [16, 9, 5]])
    assert_equal(np.shape(squared_distances(queries, support[:0])), (2, 0))


@squared_distances.law("rows may be longer than what is held at a time")
def worked_long_rows(squared_distances):
    assert_close(squared_distances(np.ones((1, 2**20 + 1)), np.zeros((1, 2**20 + 1))), [[2**20 + 1]])


@squared_distances.law("it sums the squares of the differences of each pair")
@given(sets=two_sets())
def sums_squares(squared_distances, sets):
    queries, support = sets
    expected = [[sum((a - b) ** 2 for a, b in zip(q, s, strict=True)) for s in support] for q in queries]
    assert_close(squared_distances(queries, support), np.array(expected))


@squared_distances.law("the way there is as long as the way back")
@given(sets=two_sets())
def is_symmetric(squared_distances, sets):
    queries, support = sets
    assert_close(squared_distances(support, queries), squared_distances(queries, support).T)


@squared_distances.law("moving everything far away changes nothing")
@given(sets=two_sets())
def is_exact_far_away(squared_distances, sets):
    queries, support = sets
    moved = squared_distances(queries + FAR, support + FAR)
    assert_close(moved, squared_distances(queries, support))


@squared_distances.mistake(
    "the differences themselves, not their squares", breaks=squared_distances.laws[0].text
)
def absolute(queries, support):
    return np.abs(queries[:, np.newaxis] - support).sum(axis=-1)


@squared_distances.mistake("took the root", breaks=squared_distances.laws[0].text)
def rooted(queries, support):
    return np.sqrt(fewshot.squared_distances(queries, support))


@squared_distances.mistake("one row for each example of the support", breaks=squared_distances.laws[0].text)
def transposed(queries, support):
    return fewshot.squared_distances(support, queries)


@squared_distances.mistake("the expanded form", breaks="moving everything far away changes nothing")
def expanded(queries, support):
    lengths = (queries**2).sum(axis=1)[:, np.newaxis] + (support**2).sum(axis=1)
    return lengths - 2 * queries @ support.T


# ---- 06.2 nearest

nearest = Exercise(
    "06.2",
    fewshot.nearest,
    points=2,
    hints=(
        "Sort each row's columns by distance; where two are equal the smaller label comes first, and where "
        "the labels are equal too, the smaller number.",
        "np.lexsort sorts by its last key first and keeps the order of what is equal in all of its keys.",
        "np.lexsort((np.broadcast_to(labels, distances.shape), distances), axis=-1)[:, :k]",
    ),
)


@st.composite
def distances_and_labels(draw):
    """distances (M, N) with many equal ones, labels (N,), k."""
    m, n = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    return draw(arrays((m, n), 0, 0.75)), draw(label_arrays(n, 3)), draw(st.integers(1, n))


@nearest.law("of distances 2, 1, 3 the nearest two are columns 1 and 0, whatever their labels")
def worked_order(nearest):
    distances = np.array([[2.0, 1.0, 3.0], [0.5, 4.0, 0.25]])
    assert_equal(nearest(distances, np.array([0, 2, 1]), 2), np.array([[1, 0], [2, 0]]))


@nearest.law("equally near: the smaller label first, then the smaller number")
def worked_ties(nearest):
    assert_equal(nearest(np.array([[1.0, 1.0, 1.0]]), np.array([2, 0, 0]), 3), np.array([[1, 2, 0]]))


@nearest.law("neighbours stand in the order of (distance, label, number), and no other is before them")
@given(case=distances_and_labels())
def keeps_the_order(nearest, case):
    distances, labels, k = case
    wanted = [
        [i for _, _, i in sorted((d, c, i) for i, (d, c) in enumerate(zip(row, labels, strict=True)))][:k]
        for row in distances
    ]
    assert_equal(nearest(distances, labels, k), np.array(wanted))


@nearest.law("all neighbours are all columns")
@given(case=distances_and_labels())
def names_every_column(nearest, case):
    distances, labels, _ = case
    index = nearest(distances, labels, len(labels))
    assert_equal(np.sort(index, axis=1), np.tile(np.arange(len(labels)), (len(distances), 1)))


@nearest.mistake("equal distances in the order of their numbers", breaks=nearest.laws[1].text)
def by_number(distances, labels, k):
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@nearest.mistake("the farthest first", breaks=nearest.laws[0].text)
def farthest(distances, labels, k):
    return np.argsort(-distances, axis=1, kind="stable")[:, :k]


@nearest.mistake("sorted by label first", breaks=nearest.laws[0].text)
def by_label(distances, labels, k):
    return np.lexsort((distances, np.broadcast_to(labels, distances.shape)), axis=-1)[:, :k]


@nearest.mistake("the right neighbours, but not in order", breaks=nearest.laws[0].text)
def as_they_came(distances, labels, k):
    return np.sort(fewshot.nearest(distances, labels, k), axis=1)


# ---- 06.3 vote

vote = Exercise(
    "06.3",
    fewshot.vote,
    points=3,
    hints=(
        "For each query: the weights of each class's neighbours added up, and the class of the largest sum.",
        "Two sums may be equal. Then compare the mean distance of the two classes' neighbours, and only if "
        "that is equal too, their labels.",
        "np.lexsort((mean_distance, -votes)) puts the winner first, if the classes stand in ascending order; "
        "vote_weights gives the weights.",
    ),
)


@st.composite
def neighbours(draw):
    """Labels (M, k) and distances (M, k), nearest first, of powers of two: 1/d is exact and ties are many."""
    m, k = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    labels = draw(label_arrays(m * k, 3)).reshape(m, k)
    exponents = draw(st.lists(st.sampled_from([1.0, 2.0, 4.0, 0.0]), min_size=m * k, max_size=m * k))
    return labels, np.sort(np.reshape(exponents, (m, k)), axis=1)


def standing(labels, distances, weights):
    """Of one query, for each class: (−votes, mean distance, label); the least of them wins."""
    touching = weights == "distance" and 0.0 in distances
    rows = []
    for c in sorted(set(labels.tolist())):
        own = distances[labels == c]
        w = np.ones(len(own))
        if weights == "distance":
            w = own == 0 if touching else 1 / own
        rows.append((-w.sum(), own.mean(), c))
    return rows


@vote.law("two of three win, though the third is nearer; weighed by 1/distance it is the third")
def worked_vote(vote):
    labels, distances = np.array([[7, 4, 4]]), np.array([[1.0, 4.0, 4.0]])
    assert_equal(vote(labels, distances), np.array([4]))
    assert_equal(vote(labels, distances, weights="distance"), np.array([7]))  # 1 against 1/2


@vote.law("one against one: the nearer wins, and at equal distance the smaller label")
def worked_vote_ties(vote):
    labels, distances = np.array([[5, 3], [5, 3]]), np.array([[1.0, 2.0], [2.0, 2.0]])
    assert_equal(vote(labels, distances), np.array([5, 3]))


@vote.law("1/1.25 + 1/5 against 1/3 + 1/3 + 1/3: the smaller mean distance wins, not the smaller sum")
def worked_mean_distance(vote):
    distances = np.array([[1.25, 3.0, 3.0, 3.0, 5.0]])
    assert_equal(vote(np.array([[0, 1, 1, 1, 0]]), distances, weights="distance"), np.array([1]))


@vote.law("most votes, then the smaller mean distance, then the smaller label")
@given(case=neighbours())
def counts_votes(vote, case):
    labels, distances = case
    wanted = [min(standing(c, d, "uniform"))[2] for c, d in zip(labels, distances, strict=True)]
    assert_equal(vote(labels, distances), np.array(wanted))


@vote.law("weighed by 1/distance; neighbours at distance 0 are the only ones to vote")
@given(case=neighbours())
def counts_weights(vote, case):
    labels, distances = case
    wanted = [min(standing(c, d, "distance"))[2] for c, d in zip(labels, distances, strict=True)]
    assert_equal(vote(labels, distances, weights="distance"), np.array(wanted))


@vote.law("neighbours of one class answer with it")
@given(c=st.integers(-3, 12), distance=quarters(0, 3), k=st.integers(1, 5))
def is_unanimous(vote, c, distance, k):
    labels, distances = np.tile([[c], [c + 1]], k), np.full((2, k), distance)
    with np.errstate(divide="raise", invalid="raise"):
        for weights in ("uniform", "distance"):
            assert_equal(vote(labels, distances, weights=weights), np.array([c, c + 1]))


@vote.mistake("a tie goes to the smaller label at once", breaks=vote.laws[1].text)
def by_label_at_once(labels, distances, weights="uniform"):
    return fewshot.vote(labels, np.ones_like(distances) if weights == "uniform" else distances, weights)


@vote.mistake("the nearest neighbour alone", breaks=vote.laws[0].text)
def first_alone(labels, distances, weights="uniform"):
    return labels[:, 0]


@vote.mistake("weighed by distance instead of its inverse", breaks=vote.laws[0].text)
def farther_counts_more(labels, distances, weights="uniform"):
    if weights == "uniform":
        return fewshot.vote(labels, distances)
    return fewshot.vote(labels, 1 / np.maximum(distances, 1e-9), weights)


@vote.mistake("the place of the class instead of the class", breaks="neighbours of one class answer with it")
def place_of_class(labels, distances, weights="uniform"):
    return np.searchsorted(np.unique(labels), fewshot.vote(labels, distances, weights))


# ---- 06.4 prototypes

prototypes = Exercise(
    "06.4",
    fewshot.prototypes,
    points=2,
    hints=(
        "A prototype is the mean of the rows of its class. The classes need not be 0, 1, 2, ...",
        "np.unique(labels) are the classes; support[labels == c] are the rows of class c.",
        "np.stack([support[labels == c].mean(axis=0) for c in classes])",
    ),
)


@st.composite
def labelled_rows(draw):
    """support (N, D) and labels (N,), not all classes of which need occur."""
    n, d = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    return draw(arrays((n, d))), draw(label_arrays(n, 4))


@prototypes.law("classes 3 and 1: the mean of two rows, and the only one")
def worked_prototypes(prototypes):
    classes, means = prototypes(np.array([[0.0, 2.0], [5.0, 5.0], [4.0, 0.0]]), np.array([3, 1, 3]))
    assert_equal(classes, np.array([1, 3]))
    assert_close(means, [[5, 5], [2, 1]])


@prototypes.law("the differences from the prototype of their class sum to zero, in every class")
@given(case=labelled_rows())
def are_balanced(prototypes, case):
    support, labels = case
    classes, means = prototypes(support, labels)
    assert_equal(classes, np.unique(labels))
    for c, mean in zip(classes, means, strict=True):
        assert_close((support[labels == c] - mean).sum(axis=0), 0.0, atol=1e-9)


@prototypes.law("with one row a class they are the rows, in the order of the classes")
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


@prototypes.mistake("the sum, not the mean", breaks=prototypes.laws[0].text)
def sums(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support[labels == c].sum(axis=0) for c in classes])


@prototypes.mistake("divided by the number of all rows", breaks=prototypes.laws[0].text)
def divided_by_all(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support[labels == c].sum(axis=0) / len(support) for c in classes])


@prototypes.mistake("the mean over everything", breaks=prototypes.laws[0].text)
def one_mean(support, labels):
    classes = np.unique(labels)
    return classes, np.stack([support.mean(axis=0) for _ in classes])


@prototypes.mistake("assumed that the classes are 0, 1, 2, ...", breaks=prototypes.laws[0].text)
def counted_classes(support, labels):
    classes = np.arange(labels.max() + 1)
    own = [support[labels == c] for c in classes]
    return classes, np.stack([rows.mean(axis=0) if len(rows) else np.zeros(support.shape[1]) for rows in own])
