"""Exercises of lesson 06, continued: the vote of the nearest neighbours."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import labels as label_arrays
from minidl.classroom.strategies import quarters
from minidl.transfer import fewshot

# ---- 06.3 vote

voting = Exercise(
    "06.3",
    fewshot.vote,
    title="neighbours vote",
    helpers=("vote_weights",),
    points=3,
    level=2,
    minutes=25,
    hints=(
        "For each query, add up the weights of each class's neighbours. The class with the largest sum wins.",
        "Two sums may be equal. Then compare the mean distances of the two classes' neighbours. If these "
        "are equal too, compare the labels.",
        "np.lexsort((mean_distance, -votes)) puts the winner first if the classes are in ascending "
        "order. vote_weights gives the weights.",
    ),
)


@st.composite
def neighbours(draw):
    """Labels (M, k) and distances (M, k), nearest first.

    Distances are powers of two, so 1/d is exact, and ties are frequent.
    """
    m, k = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    labels = draw(label_arrays(m * k, 3)).reshape(m, k)
    exponents = draw(st.lists(st.sampled_from([1.0, 2.0, 4.0, 0.0]), min_size=m * k, max_size=m * k))
    return labels, np.reshape(exponents, (m, k))


def standing(labels, distances, weights):
    """For one query, (−votes, mean distance, label) of each class; the smallest tuple wins."""
    touching = weights == "distance" and 0.0 in distances
    rows = []
    for c in sorted(set(labels.tolist())):
        own = distances[labels == c]
        w = np.ones(len(own))
        if weights == "distance":
            w = own == 0 if touching else 1 / own
        rows.append((-w.sum(), own.mean(), c))
    return rows


@voting.law(
    "two of three neighbours win, although the third is nearer; with weights 1/distance the third wins"
)
def worked_vote(vote):
    labels, distances = np.array([[7, 4, 4]]), np.array([[1.0, 4.0, 4.0]])
    assert_equal(vote(labels, distances), np.array([4]))
    assert_equal(vote(labels, distances, weights="distance"), np.array([7]))  # 1 against 1/2
    for dtype in (np.float32, np.int64):
        assert_equal(vote(labels, distances.astype(dtype), weights="distance"), np.array([7]))
    assert_equal(vote(np.array([[-1, -1, 2]]), distances), np.array([-1]))


@voting.law("one vote against one: the nearer neighbour wins, and at equal distances the smaller label wins")
def worked_vote_ties(vote):
    labels, distances = np.array([[5, 3], [5, 3]]), np.array([[1.0, 2.0], [2.0, 2.0]])
    assert_equal(vote(labels, distances), np.array([5, 3]))
    for smaller, larger in ((-1, 3), (-9, -5), (9, 10)):
        assert_equal(vote(np.array([[larger, smaller]]), distances[1:]), np.array([smaller]))
    assert_equal(vote(np.array([[127, -100]], np.int8), distances[1:]), np.array([-100]))
    assert_equal(vote(np.array([[9, 0]], np.uint8), distances[1:]), np.array([0]))
    for first, second in ((1.0, 1.0 + 1e-9), (1e-13, 2e-13), (1.0, 1.0 + 1e-13)):
        assert_equal(vote(labels[:1], np.array([[first, second]])), np.array([5]))
        assert_equal(vote(labels[:1], np.array([[second, first]])), np.array([3]))  # neighbours in any order


@voting.law("1/1.25 + 1/5 = 1/3 + 1/3 + 1/3 is a tie: the smaller mean distance wins, not the smaller sum")
def worked_mean_distance(vote):
    uniform = vote(np.array([[0, 1, 1, 0]]), np.array([[1.0, 2.75, 2.75, 4.0]]))
    assert_equal(uniform, np.array([0]))  # the mean 2.5, although 4 is the largest
    near_tie = np.array([[1.0, 1.6 + 1e-13, 1.6 + 1e-13, 4.0]])  # 1.25 votes for 0, a bit less for 1
    assert_equal(vote(np.array([[0, 1, 1, 0]]), near_tie, weights="distance"), np.array([0]))
    assert_equal(vote(np.array([[1, 0, 0, 1]]), near_tie, weights="distance"), np.array([1]))
    distances = np.array([[1.25, 3.0, 3.0, 3.0, 5.0]])
    assert_equal(vote(np.array([[0, 1, 1, 1, 0]]), distances, weights="distance"), np.array([1]))
    touching = np.array([[0.0, 0.0, 0.0, 4.0]])  # two votes for 1, one for 0, whatever the last distance is
    assert_equal(vote(np.array([[0, 1, 1, 1]]), touching, weights="distance"), np.array([1]))
    touching = np.array([[0.0, 0.0, 2.5, 2.5, 4.0]])  # a vote each; mean distances 5/3 for 1, 2 for 0
    assert_equal(vote(np.array([[0, 1, 1, 1, 0]]), touching, weights="distance"), np.array([1]))


@voting.law(
    "most votes win; on a tie the smaller mean distance wins; if it is equal too, the smaller label wins"
)
@given(case=neighbours())
def counts_votes(vote, case):
    labels, distances = case
    wanted = [min(standing(c, d, "uniform"))[2] for c, d in zip(labels, distances, strict=True)]
    assert_equal(vote(labels, distances), np.array(wanted))


@voting.law("with weights 1/distance, only the neighbours at distance 0 vote if there are any")
@given(case=neighbours())
def counts_weights(vote, case):
    labels, distances = case
    wanted = [min(standing(c, d, "distance"))[2] for c, d in zip(labels, distances, strict=True)]
    assert_equal(vote(labels, distances, weights="distance"), np.array(wanted))


@voting.law("if all neighbours have the same class, this class wins")
@given(c=st.integers(-3, 12), distance=quarters(0, 3), k=st.integers(1, 5))
def is_unanimous(vote, c, distance, k):
    labels, distances = np.tile([[c], [c + 1]], k), np.full((2, k), distance)
    with np.errstate(divide="raise", invalid="raise"):
        for weights in ("uniform", "distance"):
            assert_equal(vote(labels, distances, weights=weights), np.array([c, c + 1]))


@voting.law("ValueError for an unknown name for the weights")
def refuses_other_weights(vote):
    for name in ("inverse", "Distance", "", "dist", "distance ", "uni"):
        assert_refuses(f"weights = {name!r}", vote, np.array([[1]]), np.array([[0.5]]), weights=name)


@voting.law(
    "distances of 1e-301, 1e-250, 1e4 and 1e10 count as different, and labels have any sign and dtype"
)
def votes_of_many(vote):
    labels = np.array([[-5] * 30 + [9] * 256])
    distances = np.array([[1e-8] * 30 + [1e4] * 256])
    assert_equal(vote(labels, distances), np.array([9]))
    assert_equal(vote(labels, distances, weights="distance"), np.array([-5]))
    for labels in (np.array([[-100, 127, 127]], np.int8), np.array([[2**62, 2**62 + 1, 2**62 + 1]])):
        answer = vote(labels, np.array([[1.0, 4.0, 4.0]]))
        assert_dtype(answer, labels.dtype)
        assert_equal(answer, labels[:, 1])
        answer = vote(labels, np.array([[1e-250, 3e-250, 3e-250]]), weights="distance")
        assert_equal(answer, labels[:, 0])
        assert_equal(vote(labels, np.array([[0.0, 1e-301, 1e-301]]), weights="distance"), labels[:, 0])
        assert_equal(vote(labels, np.array([[1e10, 1.5e10, 1.5e10]]), weights="distance"), labels[:, 1])


@voting.mistake("a tie goes to the smaller label at once", breaks=voting.laws[1].text)
def by_label_at_once(labels, distances, weights="uniform"):
    return fewshot.vote(labels, np.ones_like(distances) if weights == "uniform" else distances, weights)


@voting.mistake("only the nearest neighbour votes", breaks=voting.laws[0].text)
def first_alone(labels, distances, weights="uniform"):
    return labels[:, 0]


@voting.mistake("the weights are distances instead of 1/distance", breaks=voting.laws[0].text)
def farther_counts_more(labels, distances, weights="uniform"):
    if weights == "uniform":
        return fewshot.vote(labels, distances)
    return fewshot.vote(labels, 1 / np.maximum(distances, 1e-9), weights)


@voting.mistake(
    "returns the index of the class instead of the class",
    breaks="if all neighbours have the same class, this class wins",
)
def place_of_class(labels, distances, weights="uniform"):
    return np.searchsorted(np.unique(labels), fewshot.vote(labels, distances, weights))
