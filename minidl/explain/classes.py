"""The easy and the hard classes of a model, and the images with the worst errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_labels, positive_int
from minidl.engine.reduce import stable_log_softmax
from minidl.explain.target import float_images
from minidl.nn.module import Module
from minidl.train.intervals import Interval
from minidl.train.metrics import confusion_matrix, per_class_accuracy, predict


class EasyAndHard(NamedTuple):
    """order: the classes that have images, easiest first; on a tie, the lower number first.

    accuracy: for each class with Wilson's interval, arrays (K,). Two classes differ if their intervals do not
    overlap. If the intervals overlap, they may or may not differ.
    confusion: counts (K, K); [i, j] counts images of class i that are classified as j.
    """

    order: np.ndarray
    accuracy: Interval
    confusion: np.ndarray


class Examples(NamedTuple):
    """Selected images, the most extreme first. All fields have shape (k,).

    index: the numbers of the images.  predicted: their predicted classes.  confidence: the probabilities of
    these classes.  loss: -log p[label]."""

    index: np.ndarray  # type: ignore[assignment]  # hides the method of tuples
    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray


def easy_and_hard(model: Module, images: np.ndarray, labels: np.ndarray) -> EasyAndHard:
    """Accuracy by class, and the confusion of classes. images (N, ...), labels (N,).

    >>> from minidl import explain, nn
    >>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])  # nn.Identity gives them as they are
    >>> print(explain.easy_and_hard(nn.Identity(), logits, [0, 1, 1]).accuracy.mean)
    [1.  0.5]
    """
    logits, labels = _logits_and_labels(model, images, labels)
    accuracy, confusion = per_class_accuracy(logits, labels), confusion_matrix(logits, labels)
    order = np.argsort(-accuracy.mean, kind="stable")
    has_images = confusion.sum(axis=1) > 0
    return EasyAndHard(order[has_images[order]], accuracy, confusion)


def hardest_examples(model: Module, images: np.ndarray, labels: np.ndarray, k: int = 8) -> Examples:
    """The k images (or all, if fewer) with the highest loss -log p[label], right or wrong.

    >>> from minidl import explain, nn
    >>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])  # nn.Identity gives them as they are
    >>> print(explain.hardest_examples(nn.Identity(), logits, [0, 1, 1], k=2).index)
    [2 1]
    """
    log_p, labels = _log_probabilities(model, images, labels)
    return _examples(log_p, labels, highest_losses(log_p, labels, positive_int("k", k)))


def most_confident_mistakes(model: Module, images: np.ndarray, labels: np.ndarray, k: int = 8) -> Examples:
    """The k mistakes (or all, if fewer) with the highest confidence. There may be none.

    >>> from minidl import explain, nn
    >>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])  # nn.Identity gives them as they are
    >>> print(explain.most_confident_mistakes(nn.Identity(), logits, [0, 1, 1]).index)
    [2]
    """
    log_p, labels = _log_probabilities(model, images, labels)
    return _examples(log_p, labels, confident_mistakes(np.exp(log_p), labels, positive_int("k", k)))


def highest_losses(log_p: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Numbers of the k rows of log p (N, K) with the lowest log p[label], lowest first, ties in order."""
    return np.argsort(log_p[np.arange(len(labels)), labels], kind="stable")[:k]


def confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The indices of the k wrong rows with the highest confidence, highest first. Ties stay in order.

    probabilities: (N, K), one row for each image. The class with the largest probability is the answer, the
    first class on a tie. This probability is the confidence. A row is wrong if the answer is not the label.
    labels: (N,), class numbers below K.
    k: 0 or more. If fewer than k rows are wrong, all of them are returned. The indices are integers, also
    if there are none: an array of floats is no index.

    >>> confident_mistakes(np.array([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1]]), np.array([1, 1, 1]), k=2)
    array([2, 0])
    """
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities.max(axis=1)[mistakes]
    return mistakes[np.argsort(-confidence, kind="stable")][:k]


def _log_probabilities(
    model: Module, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = _logits_and_labels(model, images, labels)
    return stable_log_softmax(logits.astype(np.float64)), labels


def _logits_and_labels(
    model: Module, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) and labels (N,): the checks of all three functions."""
    logits = check_array("the model's logits", predict(model, float_images(images)), "N", "K")
    return logits, check_labels("labels", labels, *logits.shape)


def _examples(log_p: np.ndarray, labels: np.ndarray, index: np.ndarray) -> Examples:
    chosen = log_p[index]
    loss = 0.0 - chosen[np.arange(len(index)), labels[index]]
    return Examples(index, chosen.argmax(axis=1), np.exp(chosen.max(axis=1)), loss)
