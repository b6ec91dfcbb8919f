"""Neighbours, votes and prototypes by hand and by their laws."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.classroom.strategies import arrays
from minidl.classroom.strategies import labels as label_arrays
from minidl.transfer import fewshot
from minidl.transfer.fewshot import (
    knn_predict,
    nearest_neighbours,
    prototype_predict,
    prototypes,
    squared_distances,
)

GAP = 1e-6  # smallest difference of distances in a draw without ties


@st.composite
def tasks(draw, max_support=8, max_classes=3, max_dims=3):
    """(support, labels, queries) of quarters: near each other, often at equal distances."""
    n, m, d = (draw(st.integers(1, high)) for high in (max_support, 4, max_dims))
    classes = draw(st.integers(1, max_classes))
    return draw(arrays((n, d))), draw(label_arrays(n, classes)), draw(arrays((m, d)))


@st.composite
def tie_free_tasks(draw, min_dims=1):
    """(support, labels, queries, k) from normal numbers without equal distances or tied votes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, d = draw(st.integers(1, 12)), draw(st.integers(1, 5)), draw(st.integers(min_dims, 5))
    k = draw(st.integers(1, n))
    support, queries = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    labels = rng.integers(0, draw(st.integers(1, 4)), size=n)
    distances, index = nearest_neighbours(support, labels, queries, n)
    assume(np.diff(distances, axis=1).min(initial=1.0) > GAP)
    for row in labels[index[:, :k]]:
        votes = np.sort(np.bincount(row))
        assume(len(votes) == 1 or votes[-1] > votes[-2])
    return support, labels, queries, k


def by_definition(support, labels, queries, k, weights="uniform"):
    """knn_predict as its words say it, in lists and loops."""
    answers = []
    for q in queries:
        near = sorted(
            (float(np.sqrt(((q - s) ** 2).sum())), int(c), i)
            for i, (s, c) in enumerate(zip(support, labels, strict=True))
        )[:k]
        touching = [1.0 if d == 0 else 0.0 for d, _, _ in near]
        standing = []
        for c in sorted({c for _, c, _ in near}):
            own = [d for d, label, _ in near if label == c]
            if weights == "uniform":
                votes = len(own)
            elif any(touching):
                votes = sum(1 for d in own if d == 0)
            else:
                votes = sum(1 / d for d in own)
            standing.append((-votes, sum(own) / len(own), c))
        answers.append(min(standing)[2])
    return answers


# ---- the definition, with ties


def test_three_neighbours_outvote_the_nearest():
    support, labels = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [9.0, 9.0]], [7, 4, 4, 4]
    queries = [[1.0, 0.0]]  # 1, 2, √10 away
    assert knn_predict(support, labels, queries, k=1).tolist() == [7]
    assert knn_predict(support, labels, queries, k=3).tolist() == [4]
    assert knn_predict(support, labels, queries, k=3, weights="distance").tolist() == [7]  # 1 against 0.816


def test_neighbours_come_by_distance_then_label_then_number():
    support, labels = [[1.0], [-1.0], [1.0], [0.5]], [2, 1, 1, 3]
    distances, index = nearest_neighbours(support, labels, [[0.0]], k=4)
    assert index.tolist() == [[3, 1, 2, 0]]
    assert distances.tolist() == [[0.5, 1.0, 1.0, 1.0]]


def test_a_tied_vote_goes_to_the_class_nearer_on_average_and_then_to_the_smaller_label():
    support = [[1.0], [4.0], [-2.0], [-2.5]]  # means 2.5 of class 0, 2.25 of class 5
    assert knn_predict(support, [0, 0, 5, 5], [[0.0]], k=4).tolist() == [5]
    assert knn_predict([[1.0], [-1.0]], [5, 3], [[0.0]], k=2).tolist() == [3]


def test_by_distance_a_neighbour_counts_by_one_over_its_distance():
    support, labels = [[1.0], [1.5], [-1.5]], [0, 1, 1]  # 1 against 4/3
    assert knn_predict(support, labels, [[0.0]], k=3, weights="distance").tolist() == [1]
    support, labels = [[1.0], [8.0], [2.0], [-2.0], [-8.0]], [0, 0, 1, 1, 1]  # both 9/8; means 4.5 and 4
    assert knn_predict(support, labels, [[0.0]], k=5, weights="distance").tolist() == [1]


def test_neighbours_at_distance_zero_are_the_only_ones_to_vote_by_distance():
    support, labels = [[0.0], [0.0], [0.0], [1e-150], [1e-150]], [2, 2, 1, 1, 1]
    assert knn_predict(support, labels, [[0.0]], k=5, weights="distance").tolist() == [2]
    assert knn_predict(support, labels, [[0.0]], k=5).tolist() == [1]


@pytest.mark.parametrize("weights", fewshot.WEIGHTS)
@given(task=tasks(), k=st.integers(1, 8))
def test_answers_are_those_of_the_definition(weights, task, k):
    support, labels, queries = task
    k = min(k, len(support))
    answers = knn_predict(support, labels, queries, k, weights=weights)
    assert answers.tolist() == by_definition(support, labels, queries, k, weights)
    assert answers.dtype == np.int64


@given(task=tasks(), k=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_order_of_the_support_does_not_matter(task, k, seed):
    support, labels, queries = task
    order = np.random.default_rng(seed).permutation(len(support))
    k = min(k, len(support))
    shuffled = knn_predict(support[order], labels[order], queries, k)
    assert np.array_equal(shuffled, knn_predict(support, labels, queries, k))


def test_pieces_of_any_size_give_the_same_answers(monkeypatch):
    rng = np.random.default_rng(0)
    support, labels, queries = rng.normal(size=(11, 3)), rng.integers(0, 3, 11), rng.normal(size=(17, 3))
    whole = nearest_neighbours(support, labels, queries, 4)
    for chunk in (1, 40, 100):
        monkeypatch.setattr(fewshot, "CHUNK", chunk)
        pieces = nearest_neighbours(support, labels, queries, 4)
        assert np.array_equal(pieces[0], whole[0]) and np.array_equal(pieces[1], whole[1])


def test_memory_stays_far_below_all_the_differences():
    import tracemalloc

    queries, support = np.zeros((2000, 50)), np.ones((1000, 50))  # 800 MB of differences
    tracemalloc.start()
    nearest_neighbours(support, np.zeros(1000, int), queries, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


# ---- laws


@given(support=arrays(st.tuples(st.integers(1, 8), st.integers(1, 3))), seed=st.integers(0, 99))
def test_one_neighbour_knows_every_distinct_training_point(support, seed):
    support = np.unique(support, axis=0)
    labels = np.random.default_rng(seed).integers(0, 3, len(support))
    assert np.array_equal(knn_predict(support, labels, support, k=1), labels)


@given(task=tie_free_tasks())
def test_a_doubled_support_with_twice_the_neighbours_votes_the_same(task):
    support, labels, queries, k = task
    doubled = knn_predict(np.repeat(support, 2, axis=0), np.repeat(labels, 2), queries, 2 * k)
    assert np.array_equal(doubled, knn_predict(support, labels, queries, k))


@given(task=tie_free_tasks(), seed=st.integers(0, 99))
def test_turning_mirroring_and_moving_everything_changes_nothing(task, seed):
    support, labels, queries, k = task
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(support.shape[1],) * 2))
    shift = rng.normal(size=support.shape[1])
    moved = knn_predict(support @ turn + shift, labels, queries @ turn + shift, k)
    assert np.array_equal(moved, knn_predict(support, labels, queries, k))
    assert np.array_equal(
        prototype_predict(support @ turn + shift, labels, queries @ turn + shift),
        prototype_predict(support, labels, queries),
    )


@given(task=tie_free_tasks(), names=st.permutations([-3, 0, 8, 20]))
def test_renaming_the_classes_renames_the_answers(task, names):
    support, labels, queries, k = task
    names = np.array(names)
    assert np.array_equal(
        knn_predict(support, names[labels], queries, k), names[knn_predict(support, labels, queries, k)]
    )


@pytest.mark.parametrize("predict", [knn_predict, prototype_predict])
@given(task=tie_free_tasks(min_dims=2), seed=st.integers(0, 99))
def test_cosine_does_not_see_the_length_of_rows(predict, task, seed):
    support, labels, queries, _ = task
    rng = np.random.default_rng(seed)
    longer, other = (10 ** rng.uniform(-3, 3, size=(len(rows), 1)) for rows in (support, queries))
    distances, _ = nearest_neighbours(support, labels, queries, len(support), metric="cosine")
    assume(np.diff(distances, axis=1).min(initial=1.0) > GAP)
    scaled = predict(support * longer, labels, queries * other, metric="cosine")
    assert np.array_equal(scaled, predict(support, labels, queries, metric="cosine"))


def test_cosine_orders_by_angle_where_euclidean_goes_by_place():
    support, labels = [[10.0, 0.0], [0.0, 1.0]], [0, 1]
    assert knn_predict(support, labels, [[1.0, 0.5]], metric="cosine").tolist() == [0]
    assert knn_predict(support, labels, [[1.0, 0.5]]).tolist() == [1]
    distances, _ = nearest_neighbours(support, labels, [[3.0, 4.0]], k=2, metric="cosine")
    np.testing.assert_allclose(distances**2, [[2 - 2 * 0.8, 2 - 2 * 0.6]], rtol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e140])
def test_cosine_holds_for_tiny_and_huge_rows(size):
    support, labels = size * np.array([[1.0, 0.0], [0.0, 1.0]]), [0, 1]
    assert knn_predict(support, labels, [[0.1, 0.2], [0.2, 0.1]], metric="cosine").tolist() == [1, 0]


@given(task=tasks())
def test_all_neighbours_together_answer_with_a_unique_majority(task):
    support, labels, queries = task
    counts = np.bincount(labels)
    assume((counts == counts.max()).sum() == 1)
    assert (knn_predict(support, labels, queries, k=len(support)) == counts.argmax()).all()


def test_distances_far_from_the_origin_are_as_exact_as_near_it():
    near = np.array([[0.0, 0.25], [1.0, -0.5]], np.float32)
    far = near + np.float32(4096)  # exact
    expanded = (far**2).sum(1)[:, None] - 2 * far @ far.T + (far**2).sum(1)  # in float32
    assert np.abs(expanded - squared_distances(near, near)).max() > 0.4, "this form would be wrong"
    assert squared_distances(far, far).tolist() == [[0.0, 1.5625], [1.5625, 0.0]]


# ---- prototypes


def test_a_prototype_is_the_mean_of_its_class():
    classes, means = prototypes(np.array([[0.0, 2.0], [5.0, 5.0], [4.0, 0.0]]), np.array([3, 1, 3]))
    assert classes.tolist() == [1, 3]
    assert means.tolist() == [[5.0, 5.0], [2.0, 1.0]]


def test_the_nearest_mean_can_be_another_class_than_the_nearest_example():
    support, labels = [[0.0], [10.0], [-2.0], [-2.0]], [0, 0, 1, 1]  # means 5 and -2
    assert knn_predict(support, labels, [[0.5]]).tolist() == [0]
    assert prototype_predict(support, labels, [[0.5]]).tolist() == [1]


@pytest.mark.parametrize("metric", fewshot.METRICS)
@given(task=tie_free_tasks(min_dims=2))
def test_with_one_example_a_class_prototypes_are_neighbours(metric, task):
    support, _, queries, _ = task
    labels = np.arange(len(support))[::-1]
    assert np.array_equal(
        prototype_predict(support, labels, queries, metric), knn_predict(support, labels, queries, 1, metric)
    )


@given(task=tie_free_tasks())
def test_prototypes_are_a_linear_classifier(task):
    support, labels, queries, _ = task
    classes, c = prototypes(support, labels)
    logits = queries @ (2 * c).T - (c**2).sum(axis=1)  # Snell et al. 2017, equation 8
    ranked = np.sort(logits, axis=1)
    assume(len(classes) == 1 or np.min(ranked[:, -1] - ranked[:, -2]) > GAP)
    assert np.array_equal(prototype_predict(support, labels, queries), classes[logits.argmax(axis=1)])


def test_a_prototype_without_direction_is_named_by_its_class():
    support = np.array([[1.0, 0], [-1, 0], [0, 1]])
    with pytest.raises(ValueError, match="the examples of class 7 cancel out"):
        fewshot.prototype_predict(support, np.array([7, 7, 8]), np.ones((1, 2)), metric="cosine")
