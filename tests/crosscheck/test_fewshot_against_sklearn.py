"""Neighbours and prototypes are scikit-learn's where nothing is tied."""

import numpy as np
import pytest

from minidl.transfer.fewshot import knn_predict, nearest_neighbours, prototype_predict

neighbors = pytest.importorskip("sklearn.neighbors")


def draw(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(5, 60)), int(rng.integers(1, 8))
    support, queries = rng.normal(size=(n, d)), rng.normal(size=(50, d))
    return support, rng.integers(0, 4, size=n), queries, int(rng.integers(1, 6))


def tie_free(support, labels, queries, k, metric):
    """The queries without equal distances, and without equal votes: scikit-learn decides those by label."""
    distances, index = nearest_neighbours(support, labels, queries, len(support), metric)
    apart = np.diff(distances, axis=1).min(axis=1) > 1e-9
    votes = np.sort([np.bincount(row, minlength=4) for row in labels[index[:, :k]]], axis=1)
    return apart, apart & (votes[:, -1] > votes[:, -2])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_knn_agrees_on_draws_without_ties(metric, weights):
    compared = 0
    for seed in range(12):
        support, labels, queries, k = draw(seed)
        if metric == "cosine" and support.shape[1] == 1:
            continue  # only two directions: all distances are tied
        apart, voted = tie_free(support, labels, queries, k, metric)
        usable = voted if weights == "uniform" else apart
        ours = knn_predict(support, labels, queries, k, metric, weights)[usable]
        # For weights by distance, scikit-learn's cosine distance is 1 - cos, and ours is the Euclidean
        # length. So
        # scikit-learn gets our rows of length 1.
        rows = [
            x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x
            for x in (support, queries)
        ]
        twin = neighbors.KNeighborsClassifier(k, weights=weights, algorithm="brute").fit(rows[0], labels)
        assert np.array_equal(ours, twin.predict(rows[1])[usable])
        if metric == "cosine" and weights == "uniform":
            twin = neighbors.KNeighborsClassifier(k, metric="cosine").fit(support, labels)
            assert np.array_equal(ours, twin.predict(queries)[usable])
        compared += usable.sum()
    assert compared > 250


def test_prototypes_agree_with_the_nearest_centroid():
    for seed in range(12):
        support, labels, queries, _ = draw(seed)
        twin = neighbors.NearestCentroid().fit(support, labels)
        assert np.array_equal(prototype_predict(support, labels, queries), twin.predict(queries))
