"""Episodes of few-shot learning, their scores, and bad input of everything in fewshot."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.transfer.fewshot import (
    Episode,
    episodes,
    evaluate_episodes,
    knn_predict,
    nearest_neighbours,
    prototype_predict,
)


@given(
    seed=st.integers(0, 999),
    ways=st.integers(1, 4),
    shots=st.integers(1, 3),
    queries=st.integers(1, 3),
)
def test_an_episode_has_its_shots_and_queries_of_each_class_and_nothing_twice(seed, ways, shots, queries):
    labels = np.random.default_rng(seed).permutation(np.repeat([2, 3, 5, 11], 6))
    for episode in episodes(labels, ways, shots, queries, 3, rng=np.random.default_rng(seed)):
        assert list(episode.classes) == sorted(set(episode.classes))
        assert len(episode.classes) == ways and set(episode.classes) <= {2, 3, 5, 11}
        assert np.array_equal(labels[episode.support], np.repeat(episode.classes, shots))
        assert np.array_equal(labels[episode.queries], np.repeat(episode.classes, queries))
        rows = np.concatenate([episode.support, episode.queries])
        assert len(set(rows)) == len(rows) == ways * (shots + queries)


def test_every_image_and_every_class_is_drawn_equally_often():
    labels = np.repeat(np.arange(5), 4)
    drawn = episodes(labels, ways=2, shots=1, queries=1, count=2000, rng=np.random.default_rng(0))
    for rows in ([e.support for e in drawn], [e.queries for e in drawn]):
        counts = np.bincount(np.concatenate(rows), minlength=20)  # 200 each, standard deviation below 14
        assert np.abs(counts - 200).max() < 60


def test_the_same_seed_draws_the_same_episodes_and_another_seed_others():
    def drawn(seed):
        labels = np.repeat(np.arange(5), 10)
        return [e.support.tolist() for e in episodes(labels, 3, 2, 2, 5, np.random.default_rng(seed))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_scores_are_the_share_of_right_answers_and_their_interval():
    features, labels = np.array([[0.0], [10.0], [1.0], [9.0], [2.0], [4.0]]), np.array([0, 1, 0, 1, 1, 0])
    tasks = [Episode(np.array([0, 1]), np.array([0, 1]), np.array(q)) for q in ([2, 3], [2, 4], [4, 4])]
    scores = evaluate_episodes(features, labels, tasks)
    assert scores.accuracies.tolist() == [1.0, 0.5, 0.0]
    assert scores.interval.mean == 0.5
    assert np.isclose(scores.interval.high - 0.5, 4.302652729911275 * 0.5 / np.sqrt(3))  # t of 2 degrees
    voted = evaluate_episodes(features, labels, tasks, partial(knn_predict, k=2))
    # each class has one neighbour: the nearer one wins
    assert voted.accuracies.tolist() == scores.accuracies.tolist()


def test_features_that_tell_the_classes_are_always_right_and_constant_ones_guess():
    labels = np.repeat(np.arange(4), 10)
    tasks = episodes(labels, ways=4, shots=2, queries=5, count=10, rng=np.random.default_rng(0))
    known = np.eye(4)[labels]
    for predict in (knn_predict, prototype_predict):
        assert evaluate_episodes(known, labels, tasks, predict).interval.mean == 1.0
        assert evaluate_episodes(np.ones((40, 2)), labels, tasks, predict).interval.mean == 0.25


def test_images_are_rows_too():
    images = np.random.default_rng(0).random((20, 3, 4, 4))
    labels = np.arange(20) % 2
    tasks = episodes(labels, ways=2, shots=3, queries=4, count=3, rng=np.random.default_rng(0))
    flat = evaluate_episodes(images.reshape(20, -1), labels, tasks)
    assert np.array_equal(evaluate_episodes(images, labels, tasks).accuracies, flat.accuracies)


# ---- bad input

ROWS, LABELS = np.eye(3), np.array([0, 1, 1])
KNN = (ROWS, LABELS, ROWS)
BAD = [
    (knn_predict, (ROWS, LABELS, ROWS, 0), ValueError, r"k must be within \[1, 3\], got 0"),
    (knn_predict, (ROWS, LABELS, ROWS, 1.0), TypeError, "k must be an integer"),
    (
        knn_predict,
        (ROWS, LABELS, ROWS, 4),
        ValueError,
        r"k must be within \[1, 3\], got 4",
    ),
    (knn_predict, (*KNN, 1, "manhattan"), ValueError, "metric must be one of .*, got 'manhattan'"),
    (knn_predict, (*KNN, 1, "cosine", "rank"), ValueError, "weights must be one of .*, got 'rank'"),
    (knn_predict, (ROWS, LABELS[:2], ROWS), ValueError, r"labels must have shape \(3,\), got \(2,\)"),
    (knn_predict, (ROWS, LABELS, ROWS[:, :2]), ValueError, r"queries must have shape \(M, 3\), got \(3, 2\)"),
    (knn_predict, (ROWS, LABELS, ROWS[0]), ValueError, r"queries must have shape .*, got \(3,\)"),
    (knn_predict, (ROWS[:0], LABELS[:0], ROWS), ValueError, r"support must not be empty, got shape \(0, 3\)"),
    (
        knn_predict,
        (ROWS, LABELS.astype(float), ROWS),
        TypeError,
        "labels must be integers, got .* of float64",
    ),
    (knn_predict, (ROWS, ROWS.astype(int), ROWS), ValueError, r"labels must have shape \(3,\), got \(3, 3\)"),
    (
        knn_predict,
        (ROWS, LABELS.astype(np.uint64) + np.uint64(2**63), ROWS),
        ValueError,
        "labels must be within .*, got 922",
    ),
    (knn_predict, (ROWS, LABELS, [["a", "b", "c"]]), TypeError, "queries must be real numbers"),
    (
        knn_predict,
        (ROWS, LABELS, ROWS * [1, np.nan, 1]),
        ValueError,
        "queries must be finite, got nan",
    ),
    (
        knn_predict,
        ([[0.0], [np.inf]], [0, 1], [[0.0]]),
        ValueError,
        "support must be finite, got inf",
    ),
    (
        knn_predict,
        ([[0.0], [1e200]], [0, 1], [[0.0]]),
        ValueError,
        r"support must be within .* 1e\+150\], got 1e\+200",
    ),
    (knn_predict, (ROWS, LABELS, [[1.0, 0, 0], [0, 0, 0]], 1, "cosine"), ValueError, "row of zeros .* row 1"),
    (prototype_predict, ([[0.0, 0.0]], [0], [[1.0, 1.0]], "cosine"), ValueError, "row of zeros .* row 0"),
    (prototype_predict, (ROWS, LABELS, ROWS, "l2"), ValueError, "metric must be one of"),
    (nearest_neighbours, (ROWS, LABELS, ROWS, 9), ValueError, r"k must be within \[1, 3\], got 9"),
    (episodes, (LABELS, 3, 1, 1, 1), ValueError, r"ways must be within \[1, 2\], got 3"),
    (episodes, (LABELS, 2, 1, 1, 1), ValueError, "need 2 examples of every class, but class 0 has 1"),
    (episodes, (LABELS, 2, 0, 1, 1), ValueError, "shots must be at least 1"),
    (episodes, (LABELS, 0, 1, 1, 1), ValueError, r"ways must be within \[1, 2\], got 0"),
    (episodes, (LABELS, 1, 1, 1.5, 1), TypeError, "queries must be an integer"),
    (episodes, ([0, 0, 1, 1], 1, 1, 1, 1, 7), TypeError, "rng must be a np.random.Generator"),
    (
        evaluate_episodes,
        (ROWS, LABELS[:2], []),
        ValueError,
        r"labels must have shape \(3,\), got \(2,\)",
    ),
    (evaluate_episodes, (ROWS, LABELS, []), ValueError, "at least two .*got 0"),
    (
        evaluate_episodes,
        (ROWS, LABELS, [Episode(*np.array([[0, 1], [0, 1], [2, 3]]))] * 2),
        ValueError,
        "queries of episode 0 must be in 0 ... 2, got 3",
    ),
    (
        evaluate_episodes,
        (ROWS, LABELS, [Episode(*np.array([[0, 1], [0, 1], [2, -1]]))] * 2),
        ValueError,
        "queries of episode 0 must be in 0 ... 2, got -1",
    ),
    (
        evaluate_episodes,
        (ROWS, LABELS, [Episode(*np.array([[0, 1], [0, 1], [2, 2]]))] * 2, lambda s, c, q: q),
        TypeError,
        r"the result of predict must be integers, got an array \(2, 3\) of float64",
    ),
    (
        evaluate_episodes,
        (ROWS, LABELS, [Episode(*np.array([[0, 1], [0, 1], [2, 2]]))] * 2, lambda s, c, q: c[:1]),
        ValueError,
        r"the result of predict must have shape \(2,\), got \(1,\)",
    ),
    (evaluate_episodes, (ROWS, LABELS, 3), TypeError, "episodes must be a tuple or list"),
    (evaluate_episodes, ([[1], [1, 2]], LABELS, 3), ValueError, "features must be an array, but its rows"),
    (evaluate_episodes, (LABELS, LABELS, 3), ValueError, r"features must have shape .*N, D\), got \(3,\)"),
    (knn_predict, ([[1.0], [1.0, 2.0]], LABELS, ROWS), ValueError, "support must be an array, but its rows"),
    (knn_predict, (*KNN, True), TypeError, "k must be an integer, got True"),
    (knn_predict, (*KNN, 1, ["cosine"]), ValueError, "metric must be one of"),
    (episodes, ([[0], [1, 2]], 1, 1, 1, 1), ValueError, "labels must be an array, but its rows"),
    (episodes, (LABELS, True, 1, 1, 1), TypeError, "ways must be an integer"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "message"), BAD)
def test_bad_input_is_refused_in_words(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


def test_an_episode_may_not_ask_for_its_own_examples():
    own = Episode(np.array([0, 1]), np.array([0, 1]), np.array([1]))
    with pytest.raises(ValueError, match="episode 0 has queries that are also in its support"):
        evaluate_episodes(np.eye(3), np.array([0, 1, 1]), [own, own])


def test_episodes_are_episodes():
    with pytest.raises(TypeError, match="episode 0 must be an Episode"):
        evaluate_episodes(np.eye(3), np.array([0, 1, 1]), [(0, 1, 2), (0, 1, 2)])
