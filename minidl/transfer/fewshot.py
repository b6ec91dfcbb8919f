"""Few-shot learning: classify by the distance to a few labelled examples, without training.

Examples are rows: (N, ...) of features or images, which are flattened. Distances are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import (
    check_array,
    check_choice,
    check_function,
    check_instance,
    check_int,
    check_labels,
    check_sequence,
    positive_int,
    require,
)
from minidl.engine.random import default_rng_or
from minidl.train.intervals import Interval, t_interval

METRICS = ("euclidean", "cosine")
WEIGHTS = ("uniform", "distance")
CHUNK = 2**20  # number of differences in memory at a time: 8 MB
MOST = 1_000_000  # episodes
LARGEST = 1e150  # the squares of larger numbers overflow, and all distances would be infinite

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def knn_predict(
    support: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
    weights: str = "uniform",
) -> np.ndarray:
    """For each query, the class with the most votes of its k nearest support examples (Cover & Hart 1967).

    support (N, ...), its labels (N,) any integers, queries (M, ...), 1 <= k <= N; see ``nearest_neighbours``
    for the metric and ``vote`` for the weights and for ties. Returns classes (M,) int64.
    Raises ValueError for shapes that do not match, values that are not finite, k beyond the support, an
    unknown metric or weights, and a row of zeros under "cosine".
    """
    distances, index = nearest_neighbours(support, labels, queries, k, metric)
    return vote(np.asarray(labels, np.int64)[index], distances, weights)


def nearest_neighbours(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int = 1, metric: str = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (M, k) and row numbers (M, k) of the k nearest support examples, nearest first.

    metric: "euclidean", or "cosine", which is Euclidean between rows of length 1:
    ‖u − v‖² = 2 − 2 cos(u, v), so the order is that of the angles. Equally near examples are ordered by
    label, then by number, so the result does not depend on the sorting algorithm.
    """
    support, labels, queries = checked_support(support, labels, queries)
    k = check_int("k", k, 1, len(support))
    support, queries = _by_metric(support, metric), _by_metric(queries, metric)
    distances, index = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    step = max(1, CHUNK // len(support))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        to_all = np.sqrt(squared_distances(queries[part], support))  # (step, N)
        index[part] = nearest(to_all, labels, k)
        distances[part] = np.take_along_axis(to_all, index[part], axis=1)
    return distances, index


def prototype_predict(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, metric: str = "euclidean"
) -> np.ndarray:
    """For each query, the class with the nearest prototype (mean of its examples) (Snell et al. 2017).

    Under "cosine" rows are scaled to length 1, averaged, and the means scaled to length 1 again. A tie goes
    to the smaller label. With one example per class this equals ``knn_predict`` with k = 1.
    Returns classes (M,) int64. Raises the errors of ``knn_predict``.
    """
    support, labels, queries = checked_support(support, labels, queries)
    classes, means = prototypes(_by_metric(support, metric), labels)
    cancelled = ~means.any(axis=1)
    which = f"the examples of class {classes[cancelled.argmax()]} cancel out: their mean has no direction"
    require(metric == "euclidean" or not cancelled.any(), which)
    return knn_predict(means, classes, queries, metric=metric)


# ---- the steps, each a function of arrays


def squared_distances(queries: np.ndarray, support: np.ndarray) -> np.ndarray:
    """D²[m, n] = sum over d of (queries[m, d] − support[n, d])²: queries (M, D), support (N, D) give (M, N).

    M and N may be 0. Everything is computed in float64. To save memory, the differences can be squared for a
    few queries at a time, such as at most ``CHUNK`` differences: the result is the same. The form ‖q‖² − 2
    q·s + ‖s‖² is a matrix product and faster. But for long rows that are near each other, it subtracts nearly
    equal numbers and is inaccurate in float32.

    >>> from minidl.transfer.fewshot import squared_distances
    >>> print(squared_distances(np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[3.0, 4.0]])))
    [[25.]
     [16.]]
    """
    queries, support = np.asarray(queries, np.float64), np.asarray(support, np.float64)  # (M, D), (N, D)
    squared = np.empty((len(queries), len(support)))
    step = max(1, CHUNK // max(1, support.size))
    for start in range(0, len(queries), step):
        difference = queries[start : start + step, np.newaxis] - support  # (step, N, D)
        squared[start : start + step] = (difference**2).sum(axis=-1)
    return squared


def nearest(distances: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The k columns with the smallest distances of each row: (M, N), labels (N,) give (M, k), nearest first.

    Columns are ordered by (distance, label, number). So the data decide which of two equally near examples
    comes first, and which one is the last of the k, and not the sorting algorithm.
    """
    labels_of_columns = np.broadcast_to(labels, distances.shape)
    order = np.lexsort((labels_of_columns, distances), axis=-1)  # the last key first; stable
    return order[:, :k]


def vote(labels: np.ndarray, distances: np.ndarray, weights: str = "uniform") -> np.ndarray:
    """The class with the most votes among each query's neighbours.

        votes(c) = sum of w over the neighbours of class c,   w = 1 ("uniform") or 1/distance ("distance")

    labels (integers), distances: (M, k), of the k neighbours of M queries; M and k are at least 1. Returns
    classes (M,) in the labels' dtype. ``vote_weights(distances, weights)`` gives all neighbours' w, (M, k).
    With "distance", if some neighbours have distance 0, only these vote, all with the same w.
    On a tie the class with the smaller mean distance wins, even if the difference is tiny. This mean includes
    neighbours that do not vote. If the means are equal too, the smaller label wins.
    ValueError for an unknown name for the weights.

    >>> from minidl.transfer.fewshot import vote
    >>> print(vote(np.array([[5, 2, 5]]), np.array([[2.0, 0.5, 4.0]])))
    [5]
    >>> print(vote(np.array([[5, 2, 5]]), np.array([[2.0, 0.5, 4.0]]), weights="distance"))
    [2]
    """
    w = vote_weights(distances, weights)
    classes, column = np.unique(labels, return_inverse=True)  # (C,), sorted
    shape = (len(labels), len(classes))
    cell = np.arange(shape[0])[:, np.newaxis] * shape[1] + column.reshape(labels.shape)  # (M, k)
    votes, count, total = (
        np.bincount(cell.ravel(), x.ravel(), np.prod(shape)).reshape(shape)
        for x in (w, np.ones_like(w), distances)
    )
    mean_distance = total / np.maximum(count, 1)  # (M, C); a class with count 0 has no vote
    # a full tie goes to the smaller label, because classes are sorted
    best_first = np.lexsort((mean_distance, -votes), axis=-1)
    return classes[best_first[:, 0]]


def vote_weights(distances: np.ndarray, weights: str = "uniform") -> np.ndarray:
    """Each neighbour's weight in ``vote``: distances (M, k) give (M, k)."""
    if check_choice("weights", weights, WEIGHTS) == "uniform":
        return np.ones(distances.shape)
    same = distances == 0
    inverse = 1 / np.where(same, 1.0, distances)
    return np.where(same.any(axis=1, keepdims=True), same, inverse)


def prototypes(support: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the support rows of each class: from rows (N, D) and labels (N,), any integers.

    Returns the classes (C,), ascending, in the labels' dtype, and the means (C, D) in the same order. Means
    of float32 rows are float32, those of whole numbers float64.

    >>> from minidl.transfer.fewshot import prototypes
    >>> classes, means = prototypes(np.array([[0.0, 2.0], [4.0, 4.0], [2.0, 4.0]]), np.array([7, 3, 7]))
    >>> print(classes, means.tolist())
    [3 7] [[4.0, 4.0], [1.0, 3.0]]
    """
    classes = np.unique(labels)
    means = np.stack([support[labels == c].mean(axis=0) for c in classes])
    return classes, means


# ---- episodes


class Episode(NamedTuple):
    """A task of a few classes: row numbers of its labelled examples and of its queries."""

    classes: np.ndarray  # (ways,) ascending
    support: np.ndarray  # (ways · shots,), class by class
    queries: np.ndarray  # (ways · queries,), class by class, none of them in the support


class Scores(NamedTuple):
    """The accuracy in each episode, and the interval of their mean."""

    accuracies: np.ndarray
    interval: Interval


def episodes(
    labels: np.ndarray,
    ways: int,
    shots: int,
    queries: int,
    count: int,
    rng: np.random.Generator | None = None,
) -> list[Episode]:
    """``count`` random N-way K-shot tasks from a data set with these labels (Vinyals et al. 2016).

    Each episode draws ``ways`` classes, and from each class ``shots`` images for the support and ``queries``
    other images, all without replacement. Episodes are row numbers, so one list serves several feature
    spaces, and their accuracies are paired. Raises ValueError for too few classes or too few images of a
    class.
    """
    labels, rng = checked_classes(labels), default_rng_or(rng)
    classes, sizes = np.unique(labels, return_counts=True)
    ways, count = check_int("ways", ways, 1, len(classes)), check_int("count", count, 1, MOST)
    shots, queries = positive_int("shots", shots), positive_int("queries", queries)
    need = f"{shots} shots and {queries} queries need {shots + queries} examples of every class"
    fewest = sizes.argmin()
    require(sizes[fewest] >= shots + queries, f"{need}, but class {classes[fewest]} has {sizes[fewest]}")
    rows_of = {c: np.flatnonzero(labels == c) for c in classes}
    drawn = []
    for _ in range(count):
        chosen = np.sort(rng.choice(classes, ways, replace=False))
        rows = np.stack([rng.choice(rows_of[c], shots + queries, replace=False) for c in chosen])
        drawn.append(Episode(chosen, rows[:, :shots].ravel(), rows[:, shots:].ravel()))
    return drawn


def evaluate_episodes(
    features: np.ndarray, labels: np.ndarray, episodes: Sequence[Episode], predict: Predict = knn_predict
) -> Scores:
    """The accuracy of ``predict(support, support_labels, queries)`` in each episode, and on average.

    features (N, ...) and labels (N,) are the data set of the episodes. There must be at least two
    episodes. For other settings pass ``functools.partial(knn_predict, k=5)``. Student's interval over
    episodes holds for more episodes from the same images and features, not for other networks.
    """
    features = check_array("features", features, "...", "N", "D", finite=False)
    labels = checked_classes(labels, len(features))
    check_function("predict", predict, "support, support labels and queries")
    for i, episode in enumerate(check_sequence("episodes", episodes)):
        own = check_instance(f"episode {i}", episode, Episode)
        support = check_labels(f"support of episode {i}", own.support, None, len(labels))
        queries = check_labels(f"queries of episode {i}", own.queries, None, len(labels))
        apart = not np.isin(queries, support).any()
        require(apart, f"episode {i} has queries that are also in its support")
    require(len(episodes) > 1, f"episodes must be at least two for an interval, got {len(episodes)}")
    accuracies = np.empty(len(episodes))
    for i, episode in enumerate(episodes):
        truth = labels[episode.queries]
        answers = predict(features[episode.support], labels[episode.support], features[episode.queries])
        answers = check_array("the result of predict", answers, len(truth), kind="integer")
        accuracies[i] = np.mean(answers == truth)
    return Scores(accuracies, t_interval(accuracies))


# ---- what arguments are


def checked_support(support, labels, queries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N, D), labels (N,) and rows (M, D)."""
    support, queries = checked_rows("support", support), checked_rows("queries", queries)
    check_array("queries", queries, "M", support.shape[1])
    return support, checked_classes(labels, len(support)), queries


def checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    rows = check_array(name, rows, "...", "N", "D", low=-LARGEST, high=LARGEST)
    return rows.reshape(len(rows), -1).astype(np.float64)


def checked_classes(labels: np.ndarray, count: int | str = "N") -> np.ndarray:
    """The labels as int64 (N,), of any sign."""
    return check_array("labels", labels, count, kind="integer", high=np.iinfo(np.int64).max).astype(np.int64)


def _by_metric(rows: np.ndarray, metric: str) -> np.ndarray:
    """The rows, changed so that their Euclidean distance is the metric."""
    if check_choice("metric", metric, METRICS) == "euclidean":
        return rows
    largest = np.abs(rows).max(axis=1, keepdims=True)
    require(largest.all(), f"the cosine of a row of zeros is not defined, but row {largest.argmin()} is zero")
    rows = rows / largest  # so that no square underflows
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
