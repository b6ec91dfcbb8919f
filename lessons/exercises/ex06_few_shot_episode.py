"""Exercises of lesson 06: draw an episode and classify its queries by nearest neighbours."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.engine.checks import check_int, positive_int, require
from minidl.transfer.fewshot import nearest, squared_distances, vote

# ---- 06.4 knn_episode


def knn_episode(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    ways: int,
    shots: int,
    queries: int,
    k: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one few-shot task, and classify its queries by nearest neighbours.

    features (N, D), labels (N,): the data set; labels are any integers.  ways: the number of classes to draw.
    shots: the number of rows of each class in the support.  queries: the number of other rows of each class
    to classify. All draws are without replacement and only from ``rng``. All choices are equally likely.

    Returns three arrays: support, asked, answers.
    support (ways shots,), asked (ways queries,): row indices into ``features``, class by class, classes
    ascending. ``asked`` are the queries.
    answers (ways queries,): the predicted class of each query. The k nearest rows of the support vote. The
    distance is Euclidean, between rows divided by their length, in float64.
    ``nearest(distances, labels, k)`` gives the k nearest columns of each row. ``nearest`` and ``vote`` also
    decide the ties.
    ValueError for more ways than classes, and for a k outside of 1 ... ways shots. Drawn or not, also for a
    class of fewer than shots + queries rows, and for a row whose squares sum to 0 in float64: it has no
    direction.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    check_int("ways", ways, 1, len(classes))
    check_int("k", k, 1, ways * shots)
    each = positive_int("shots", shots) + positive_int("queries", queries)
    require(sizes.min() >= each, f"each class needs {each} rows, but one has {sizes.min()}")
    length = np.sqrt((np.asarray(features, np.float64) ** 2).sum(axis=1, keepdims=True))
    require(length.all(), "a row of zeros has no direction")

    chosen = np.sort(rng.choice(classes, ways, replace=False))
    rows = np.stack([rng.choice(np.flatnonzero(labels == c), each, replace=False) for c in chosen])
    support, asked = rows[:, :shots].ravel(), rows[:, shots:].ravel()
    u = features / length
    distances = np.sqrt(squared_distances(u[asked], u[support]))
    near = nearest(distances, labels[support], k)
    answers = vote(labels[support][near], np.take_along_axis(distances, near, axis=1))
    return support, asked, answers


episode = Exercise(
    "06.4",
    knn_episode,
    title="an episode by nearest neighbours",
    points=4,
    level=3,
    minutes=40,
    hints=(
        "First draw the classes. Then draw rows of each class: the first few are the support, the others "
        "are the queries. Then find the neighbours of each query in the support, and let them vote.",
        "Draw shots + queries rows of a class at once, so that no row is both support and query. Make "
        "all rows of length 1. Then use squared_distances, nearest and vote.",
        "rng.choice(np.flatnonzero(labels == c), shots + queries, replace=False) draws the rows of class "
        "c. near, the result of nearest, holds positions in the support, so their labels are "
        "labels[support][near].",
    ),
)
DIRECTIONS = [
    (5, 0),
    (4, 3),
    (3, 4),
    (0, 5),
    (-12, 5),
]  # rows with integer lengths; no direction is equally far from two other directions


@st.composite
def tasks(draw):
    """A data set of a few directions, and the settings of an episode."""
    ways, shots, queries = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    each = shots + queries
    classes = draw(st.lists(st.integers(-3, 9), min_size=ways, max_size=4, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 999)))  # faster than to draw each row
    sizes = each + rng.integers(0, 3, len(classes))  # some rows are left over
    labels = rng.permutation(np.repeat(np.array(classes), sizes))
    features = rng.choice(DIRECTIONS, len(labels)) * rng.choice([1.0, 4.0, 0.5], (len(labels), 1))
    if columns := draw(st.sampled_from([0, 1, 3])):  # then rows of any direction
        features = rng.normal(0, 1, (len(labels), columns))
    settings = {"ways": ways, "shots": shots, "queries": queries, "k": draw(st.integers(1, ways * shots))}
    return features, labels, settings, draw(st.integers(0, 99))


def neighbours_answer(row, features, labels, support, k):
    """The class of a row from its k nearest neighbours, counted one by one."""
    ranked = []
    for place, other in enumerate(support):
        a, b = (x / math.hypot(*x) for x in (features[row], features[other]))
        ranked.append((math.hypot(*(a - b)), labels[other], place))
    voters = sorted(ranked)[:k]
    standing = []
    for c in {label for _, label, _ in voters}:
        own = [distance for distance, label, _ in voters if label == c]
        standing.append((-len(own), sum(own) / len(own), c))
    return min(standing)[2]


CORNERS = np.array([[2.0, 0.0], [0.0, 1.0], [4.0, 1.0], [0.25, 3.0], [8.0, 1.0], [0.0, 7.0]])
SEVENS_AND_THREES = np.array([7, 3, 7, 3, 7, 3])


@episode.law(
    "two classes in two directions: one support row of each class is enough to classify the other two"
)
def worked_episode(knn_episode):
    options = {"ways": 2, "shots": 1, "queries": 2, "k": 1, "rng": np.random.default_rng(0)}
    support, asked, answers = knn_episode(CORNERS, SEVENS_AND_THREES, **options)
    assert_equal(SEVENS_AND_THREES[np.asarray(support)], np.array([3, 7]))
    assert_equal(np.asarray(answers), np.array([3, 3, 7, 7]))
    assert_equal(SEVENS_AND_THREES[np.asarray(asked)], np.array([3, 3, 7, 7]))
    large = SEVENS_AND_THREES + 2**62  # which float64 does not tell apart
    _, _, answers = knn_episode(CORNERS, large, **{**options, "rng": np.random.default_rng(0)})
    assert_equal(np.asarray(answers), large[np.asarray(asked)])


@episode.law("support and queries go class by class, classes ascending, and no row is drawn twice")
@given(case=tasks())
def is_in_order(knn_episode, case):
    features, labels, settings, seed = case
    support, asked, answers = knn_episode(features, labels, **settings, rng=np.random.default_rng(seed))
    ways, shots, queries = (settings[name] for name in ("ways", "shots", "queries"))
    assert_equal(np.shape(support), (ways * shots,))
    assert_equal(np.shape(answers), (ways * queries,))
    assert np.asarray(answers).dtype.kind in "iu", f"answers must be integers, as the labels are: {answers}"
    drawn = np.unique(labels[np.asarray(support)])
    assert_equal(len(drawn), ways)
    assert_equal(labels[np.asarray(support)], np.repeat(drawn, shots))
    assert_equal(labels[np.asarray(asked)], np.repeat(drawn, queries))
    twice = len(support) + len(asked) - len({*map(int, support), *map(int, asked)})
    assert twice == 0, f"{twice} rows stand twice in support {support} and asked {asked}"


@episode.law("each answer is the vote of the k support rows with the smallest angle to the query")
@given(case=tasks())
def answers_by_neighbours(knn_episode, case):
    features, labels, settings, seed = case
    support, asked, answers = knn_episode(features, labels, **settings, rng=np.random.default_rng(seed))
    wanted = [neighbours_answer(row, features, labels, support, settings["k"]) for row in asked]
    assert_equal(np.asarray(answers), np.array(wanted))


@episode.law("in 150 episodes all pairs of rows of one class and all pairs of classes are drawn")
def draws_all(knn_episode):
    labels, examples, questions, pairs, together = np.repeat([0, 1, 2, 3], 3), set(), set(), set(), set()
    places = set()
    for seed in range(150):
        options = {"ways": 2, "shots": 1, "queries": 1, "k": 1, "rng": np.random.default_rng(seed)}
        support, asked, _ = knn_episode(np.ones((12, 2)), labels, **options)
        examples |= set(map(int, support))
        questions |= set(map(int, asked))
        pairs.add(tuple(labels[np.asarray(support)].tolist()))
        together |= set(zip(map(int, support), map(int, asked), strict=True))
        places.add(tuple(int(row) % 3 for row in support))
    assert len(examples) == 12, f"of twelve rows only {sorted(examples)} were ever in the support"
    assert len(questions) == 12, f"of twelve rows only {sorted(questions)} were ever asked about"
    assert len(pairs) == 6, f"of four classes only {sorted(pairs)} were ever drawn together"
    assert len(together) == 24, f"of 24 pairs of an example and a question only {len(together)} were drawn"
    assert any(one != other for one, other in places), "each class gave the example at the same place"
    unequal, drawn, apart = np.repeat([0, 1, 2], [2, 2, 16]), [], set()
    for seed in range(150):
        options = {"ways": 1, "shots": 1, "queries": 1, "k": 1, "rng": np.random.default_rng(seed)}
        support, asked, _ = knn_episode(np.ones((20, 2)), unequal, **options)
        drawn.append(int(support[0]))
        apart.add(abs(int(support[0]) - int(asked[0])))
    assert len(set(drawn)) > 12, f"of classes with 2, 2 and 16 rows, only {set(drawn)} were in the support"
    assert len(apart) > 6, f"of 16 rows, the two that were drawn are always {sorted(apart)} places apart"
    # 50 each, give or take 6; 15, 15 and 120 if rows were drawn
    often = np.bincount(unequal[drawn], minlength=3)
    assert often.min() > 25, f"of classes with 2, 2 and 16 rows, {often} of 150 draws: not equally likely"


@episode.law("the same rng draws the same episode, here from six classes of five rows")
def draws_by_rng(knn_episode):
    labels, features = np.repeat(np.arange(6), 5), np.arange(60.0).reshape(30, 2) + 1
    options = {"ways": 3, "shots": 2, "queries": 2, "k": 1}
    for seed in range(4):
        once, again = (
            knn_episode(features, labels, **options, rng=np.random.default_rng(seed)) for _ in range(2)
        )
        for part, other in zip(once, again, strict=True):
            assert_equal(np.asarray(part), np.asarray(other))


@episode.law(
    "directions that differ by 1e-10 count as different; a tie goes by the mean distance, not the mean square"
)
def near_directions(knn_episode):
    features = np.array([[1, 0.5 + 1e-10 * (label == 3)] for label in SEVENS_AND_THREES])
    options = {"ways": 2, "shots": 1, "queries": 2, "k": 1, "rng": np.random.default_rng(0)}
    _, _, answers = knn_episode(features, SEVENS_AND_THREES, **options)
    assert_equal(np.asarray(answers), np.array([3, 3, 7, 7]))
    for dtype, little in ((np.float64, 1e-12), (np.float32, 2.0**-24)):
        features = np.array([[1, 0], [1, 1], [1, -1 + little], [1, -1 + little]], dtype)
        for seed in range(6):  # row 0 is nearer to the rows of class 7 than to row 1, by a little
            options = {"ways": 2, "shots": 1, "queries": 1, "k": 1, "rng": np.random.default_rng(seed)}
            _, asked, answers = knn_episode(features, np.array([3, 3, 7, 7]), **options)
            assert_equal(np.asarray(answers), np.array([7 if asked[0] == 0 else 3, 7]))
    angles = np.radians([0, 10, 100, -57, -57, -57])  # two votes each, and two means that are near each other
    circle, cloud = (
        np.stack([np.cos(angles), np.sin(angles)], axis=1),
        np.random.default_rng(0).normal(0, 1, (10, 3)),
    )
    for features, shots, k in ((circle, 2, 4), (cloud[:6], 2, 3), (cloud, 4, 7)):
        labels = np.repeat([3, 7], len(features) // 2)
        for seed in range(16):
            options = {"ways": 2, "shots": shots, "queries": 1, "k": k, "rng": np.random.default_rng(seed)}
            support, asked, answers = knn_episode(features, labels, **options)
            wanted = [neighbours_answer(row, features, labels, support, k) for row in asked]
            assert_equal(np.asarray(answers), np.array(wanted))


@episode.law("rows of 1e30 in float32 have a direction too, and so have small rows and rows of whole numbers")
def far_in_float32(knn_episode):
    four_columns = np.hstack([np.ones((6, 2)), CORNERS])  # the first two do not tell the rows apart
    for features in (
        (CORNERS * 1e30).astype(np.float32),
        CORNERS * 1e-100,
        CORNERS * np.array([[1e-9], [1], [1e-14], [1e-20], [1e-40], [1]]),
        CORNERS @ np.array([[1.0, -1.0], [1.0, 1.0]]),  # turned; the sum of some rows is 0
        (CORNERS * 16).astype(np.uint8),
        four_columns,
    ):
        labels = np.array([300, -100, 300, -100, 300, -100], np.int32)
        for seed in range(9):  # some of the draws need the lengths
            options = {"ways": 2, "shots": 1, "queries": 2, "k": 1, "rng": np.random.default_rng(seed)}
            _, _, answers = knn_episode(features, labels, **options)
            assert_equal(np.asarray(answers), np.array([-100, -100, 300, 300]))


@episode.law(
    "ValueError for too many ways, too few rows of a class, a k larger than the support, and a row of zeros"
)
def refuses_an_episode(knn_episode):
    options = {"ways": 2, "shots": 1, "queries": 2, "k": 2}
    changes = ({"ways": 3}, {"ways": 0}, {"shots": 2}, {"queries": 3}, {"k": 3}, {"k": 0}, {"k": -1})
    for change in (*changes, {"ways": 1}):  # one way, and one shot: then a k of 2 is too large
        given, rng = {**options, **change}, np.random.default_rng(0)
        which = f"{change} with two classes of three rows"
        assert_refuses(which, knn_episode, CORNERS, SEVENS_AND_THREES, **given, rng=rng)
    for unequal in ([7, 3, 7, 3, 7, 7], [7, 3, 7, 3, 3, 3]):
        given = {**options, "ways": 1, "k": 1, "rng": np.random.default_rng(0)}
        which = "a class of two rows beside one of four"
        assert_refuses(which, knn_episode, CORNERS, np.array(unequal), **given)
    zeros, tiny = (np.where(np.arange(6)[:, np.newaxis] == 4, x, CORNERS) for x in (0.0, 1e-200))
    for features in (zeros, tiny):
        which, rng = "a row whose squares sum to 0", np.random.default_rng(0)
        assert_refuses(which, knn_episode, features, SEVENS_AND_THREES, **options, rng=rng)
    few = {"ways": 1, "shots": 1, "queries": 1, "k": 1}  # some draws leave the row of zeros out
    for seed in range(4):
        rng = np.random.default_rng(seed)
        assert_refuses("a row of zeros, drawn or not,", knn_episode, zeros, SEVENS_AND_THREES, **few, rng=rng)


BY_ANGLE = "each answer is the vote of the k support rows with the smallest angle to the query"


def answered(features, labels, support, asked, k, *, by_angle=True, neighbours=nearest):
    """The episode of these rows, optionally with plain distances or other neighbours."""
    rows = np.asarray(features, np.float64)
    if by_angle:
        rows = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
    d = np.sqrt(squared_distances(rows[asked], rows[support]))
    near = neighbours(d, labels[support], k)
    return support, asked, vote(labels[support][near], np.take_along_axis(d, near, axis=1))


@episode.mistake("distances between rows that are not divided by their length", breaks=BY_ANGLE)
def lengths_matter(features, labels, *, k, **options):
    support, asked, _ = knn_episode(features, labels, k=k, **options)
    return answered(features, labels, support, asked, k, by_angle=False)


@episode.mistake("only the nearest support row votes", breaks=BY_ANGLE)
def one_neighbour(features, labels, *, k, **options):
    support, asked, _ = knn_episode(features, labels, k=k, **options)
    return answered(features, labels, support, asked, 1)


@episode.mistake("uses positions in the support as rows of the data set", breaks=BY_ANGLE)
def columns_for_rows(features, labels, *, k, **options):
    support, asked, answers = knn_episode(features, labels, k=k, **options)
    unit = features / np.sqrt((np.asarray(features, np.float64) ** 2).sum(axis=1, keepdims=True))
    d = np.sqrt(squared_distances(unit[asked], unit[support]))
    near = nearest(d, labels[support], k)
    return support, asked, vote(labels[near], np.take_along_axis(d, near, axis=1))


@episode.mistake(
    "a query may also be in the support",
    breaks="support and queries go class by class, classes ascending, and no row is drawn twice",
)
def asked_from_all(features, labels, *, queries, k, rng, **options):
    support, _, _ = knn_episode(features, labels, queries=queries, k=k, rng=rng, **options)
    own = [np.flatnonzero(labels == c) for c in np.unique(labels[support])]
    asked = np.concatenate([rng.choice(rows, queries, replace=False) for rows in own])
    return answered(features, labels, support, asked, k)


@episode.mistake(
    "takes the first rows of each class instead of random ones",
    breaks="in 150 episodes all pairs of rows of one class and all pairs of classes are drawn",
)
def first_rows(features, labels, *, ways, shots, queries, k, rng):
    knn_episode(features, labels, ways=ways, shots=shots, queries=queries, k=k, rng=rng)  # refuses bad input
    chosen = np.unique(labels)[:ways]
    rows = np.stack([np.flatnonzero(labels == c)[: shots + queries] for c in chosen])
    return answered(features, labels, rows[:, :shots].ravel(), rows[:, shots:].ravel(), k)
