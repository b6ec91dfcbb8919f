"""Few-shot learning: classes told by their likeness to a handful of labelled examples, without training.

Examples are rows: (N, ...) of features or images, which are flattened. Distances are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import positive_int
from minidl.engine.random import default_rng_or
from minidl.train.intervals import Interval, t_interval

METRICS = ("euclidean", "cosine")
WEIGHTS = ("uniform", "distance")
CHUNK = 2**20  # differences held at a time: 8 MB

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def knn_predict(
    support: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    k: int = 1,
    metric: str = "euclidean",
    weights: str = "uniform",
) -> np.ndarray:
    """For each query the class that its k nearest neighbours in the support vote for (Cover & Hart 1967).

    support (N, ...), its labels (N,) any integers, queries (M, ...), 1 <= k <= N; see ``nearest_neighbours``
    for the metric and ``vote`` for the weights and for ties. Returns classes (M,) int64.
    Raises ValueError for shapes that do not match, values that are not finite, k beyond the support, an
    unknown metric or weights, and a row of zeros under "cosine".
    """
    distances, index = nearest_neighbours(support, labels, queries, k, metric)
    return vote(_checked_labels(labels)[index], distances, weights)


def nearest_neighbours(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int = 1, metric: str = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (M, k) and row numbers (M, k) of the k nearest support examples of each query, nearest first.

    metric: "euclidean", or "cosine", which is Euclidean between rows of length 1:
    ‖u − v‖² = 2 − 2 cos(u, v), so that it orders by angle. Equally near examples stand by label, then by
    number, so the answer does not depend on the sorting.
    """
    support, labels, queries = _checked_support(support, labels, queries)
    k = positive_int("k", k)
    if k > len(support):
        raise ValueError(f"k must be at most the {len(support)} examples of the support, got {k}")
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
    """For each query the class whose prototype, the mean of its examples, is nearest (Snell et al. 2017).

    Under "cosine" rows are scaled to length 1, averaged, and the means scaled to length 1 again. A tie goes
    to the smaller label. With one example a class this is ``knn_predict`` with k = 1.
    Returns classes (M,) int64. Raises what ``knn_predict`` raises.
    """
    support, labels, queries = _checked_support(support, labels, queries)
    classes, means = prototypes(_by_metric(support, metric), labels)
    cancelled = classes[~means.any(axis=1)]
    if metric == "cosine" and cancelled.size:
        raise ValueError(f"the examples of class {cancelled[0]} cancel out: their mean has no direction")
    return knn_predict(means, classes, queries, metric=metric)


# ---- the steps, each a function of arrays


def squared_distances(queries: np.ndarray, support: np.ndarray) -> np.ndarray:
    """D²[m, n] = sum over d of (queries[m, d] − support[n, d])², float64 (M, N).

    The differences are squared, a few queries at a time to spare memory. ‖q‖² − 2 q·s + ‖s‖², a matrix
    product and faster, subtracts nearly equal numbers where the rows are long and near each other: in float32
    little of the answer is left.
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

    Columns are ordered by (distance, label, number): which of two equally near examples comes first, and at
    the k-th place which one counts at all, is thus decided by the data and not by the sorting.
    """
    labels_of_columns = np.broadcast_to(labels, distances.shape)
    order = np.lexsort((labels_of_columns, distances), axis=-1)  # the last key first; stable
    return order[:, :k]


def vote(labels: np.ndarray, distances: np.ndarray, weights: str = "uniform") -> np.ndarray:
    """The class of most weight among each query's neighbours: labels (M, k), distances (M, k) give (M,).

        votes(c) = sum of w over the neighbours of class c,   w = 1 ("uniform") or 1/distance ("distance")

    Under "distance" the neighbours at distance 0, where there are any, are the only ones to vote, equally. A
    tie goes to the class whose neighbours are nearer on average, then to the smaller label.
    """
    w = vote_weights(distances, weights)
    classes, column = np.unique(labels, return_inverse=True)  # (C,), sorted
    shape = (len(labels), len(classes))
    cell = np.arange(shape[0])[:, np.newaxis] * shape[1] + column.reshape(labels.shape)  # (M, k)
    votes, count, total = (
        np.bincount(cell.ravel(), x.ravel(), np.prod(shape)).reshape(shape)
        for x in (w, np.ones_like(w), distances)
    )
    mean_distance = total / np.maximum(count, 1)  # (M, C); where count is 0 it has no vote
    best_first = np.lexsort((mean_distance, -votes), axis=-1)  # equal in both: by label, as classes are
    return classes[best_first[:, 0]]


def vote_weights(distances: np.ndarray, weights: str = "uniform") -> np.ndarray:
    """Each neighbour's weight in ``vote``: (M, k) of distances give (M, k)."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {WEIGHTS}, got {weights!r}")
    if weights == "uniform":
        return np.ones(distances.shape)
    same = distances == 0
    inverse = 1 / np.where(same, 1.0, distances)
    return np.where(same.any(axis=1, keepdims=True), same, inverse)


def prototypes(support: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes (C,), ascending, and the mean of each one's rows: (N, D), (N,) give (C, D)."""
    classes = np.unique(labels)
    means = np.stack([support[labels == c].mean(axis=0) for c in classes])
    return classes, means


# ---- episodes


class Episode(NamedTuple):
    """A task of a few classes: row numbers of its labelled examples and of those to be told apart."""

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

    Each draws ``ways`` of the classes and, of each, ``shots`` images for the support and ``queries`` others,
    all without replacement. Episodes are row numbers, so that one list of them serves any number of feature
    spaces, whose accuracies are then paired. Raises ValueError where a class or the classes are too few.
    """
    labels = _checked_labels(labels)
    ways, shots, queries = (
        positive_int(*p) for p in (("ways", ways), ("shots", shots), ("queries", queries))
    )
    count, rng = positive_int("count", count), default_rng_or(rng)
    classes, sizes = np.unique(labels, return_counts=True)
    if ways > len(classes):
        raise ValueError(f"an episode of {ways} classes needs as many, the labels have {len(classes)}")
    if sizes.min() < shots + queries:
        raise ValueError(
            f"{shots} shots and {queries} queries need {shots + queries} examples of every class, "
            f"class {classes[sizes.argmin()]} has {sizes.min()}"
        )
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
    """How often ``predict(support, support_labels, queries)`` is right in each episode, and on average.

    features (N, ...) and labels (N,) are those of the data set whose row numbers the episodes hold, two or
    more. For other settings pass ``functools.partial(knn_predict, k=5)``. The interval is Student's over
    episodes: it speaks of further episodes from these same images and features, not of other networks.
    """
    features, labels = np.asarray(features), _checked_labels(labels)
    if features.ndim < 2 or len(features) != len(labels):
        raise ValueError(
            f"features must be rows with a label each, got {features.shape} and labels {labels.shape}"
        )
    episodes = list(episodes)
    if not all(isinstance(episode, Episode) for episode in episodes):
        raise TypeError(f"episodes must be a list of Episodes, as made by episodes(), got {episodes[:1]!r}")
    if len(episodes) < 2:
        raise ValueError(f"an interval needs at least two episodes, got {len(episodes)}")
    accuracies = np.empty(len(episodes))
    for i, episode in enumerate(episodes):
        rows = np.concatenate([episode.support, episode.queries])
        if rows.min() < 0 or rows.max() >= len(labels):
            raise ValueError(
                f"episode {i} names rows {rows.min()} ... {rows.max()} of a data set of {len(labels)}"
            )
        if np.intersect1d(episode.support, episode.queries).size:
            raise ValueError(f"episode {i} asks for rows that are in its support")
        truth = labels[episode.queries]
        answers = predict(features[episode.support], labels[episode.support], features[episode.queries])
        if np.shape(answers) != truth.shape or np.asarray(answers).dtype.kind not in "iu":
            got = f"{np.asarray(answers).dtype} {np.shape(answers)}"
            raise ValueError(f"predict must give a class for each of {len(truth)} queries, got {got}")
        accuracies[i] = np.mean(answers == truth)
    return Scores(accuracies, t_interval(accuracies))


# ---- checks


def _checked_support(support, labels, queries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N, D), labels (N,) and rows (M, D)."""
    support, queries = _checked_rows("support", support), _checked_rows("queries", queries)
    labels = _checked_labels(labels)
    if len(labels) != len(support):
        raise ValueError(f"support and labels must be as many, got {support.shape} and {labels.shape}")
    if support.shape[1] != queries.shape[1]:
        raise ValueError(
            f"support and queries must have rows of one length, got {support.shape[1]} and {queries.shape[1]}"
        )
    return support, labels, queries


def _checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim < 2 or rows.size == 0:
        raise ValueError(f"{name} must be rows (N, ...), not empty, got {rows.shape}")
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {rows.dtype}")
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    # Beyond 1e150 squares overflow, and every distance would be the same infinity.
    usable = (np.abs(rows) <= 1e150).all(axis=1)
    if not usable.all():
        raise ValueError(f"{name} must be finite and below 1e150, row {np.argmin(usable)} is not")
    return rows


def _checked_labels(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels must have shape (N,), not empty, got {labels.shape}")
    if labels.dtype.kind == "u" and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"labels must fit int64, got {labels.max()}")
    return labels.astype(np.int64)


def _by_metric(rows: np.ndarray, metric: str) -> np.ndarray:
    """The rows between which Euclidean distance is the metric."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    if metric == "euclidean":
        return rows
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        zero = int(np.argmin(largest))
        raise ValueError(f"the cosine of a row of zeros is not defined, row {zero} is one")
    rows = rows / largest  # so that no square underflows
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
