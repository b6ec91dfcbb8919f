"""Predictions and accuracy: which answers of a model are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import (
    array_pair,
    check_array,
    check_instance,
    check_labels,
    float_images,
    positive_int,
    require,
    shown,
)
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module, eval_mode
from minidl.train.intervals import Interval, wilson_interval

VALUES = 2**19  # numbers of images in one pass: the graph of a large network takes 1,000 bytes for each
IMAGES = 256  # and at most so many images


def batch_slices(images: np.ndarray, batch_size: int | None = None) -> list[slice]:
    """Slices of ``batch_size`` images, the last may be shorter.

    By default they are so short that the graph of a large network for one slice fits into memory.

    >>> from minidl.train.metrics import batch_slices
    >>> batch_slices(np.ones((3, 2)), batch_size=2)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = min(IMAGES, max(1, VALUES // images[0].size)) if batch_size is None else batch_size
    step = positive_int("batch_size", step)
    return [slice(start, min(start + step, len(images))) for start in range(0, len(images), step)]


def predict(model: Module, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
    """The model's logits for all images, in eval mode and without a graph.

    Then the model has its old mode again. batch_size: images at a time. None: 256, or fewer large images.

    >>> from minidl import nn, train
    >>> train.predict(nn.Linear(3, 2), np.ones((5, 3))).shape
    (5, 2)
    """
    images = float_images("images", images)
    slices = batch_slices(images, batch_size)
    with eval_mode(model), no_grad():
        parts = [model(images[part].copy()) for part in slices]  # a model may change its input in place
    check_instance("the model's output", parts[0], Tensor)
    return np.concatenate([part.data for part in parts])


def accuracy(predictions: Any, labels: Any) -> float:
    """The fraction of right predictions.

    predictions: logits (N, K): the class has the largest; one logit (N, 1) or floats (N,): class 1 above 0,
    otherwise class 0; or classes (N,).  labels: classes (N,), or rows (N, K) of probabilities: the class has
    the largest; or a column (N, 1) of zeros and ones.

    >>> from minidl import train
    >>> train.accuracy([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]], labels=[0, 1, 1, 1])
    0.75
    """
    predicted, actual, _ = predicted_and_actual(predictions, labels)
    return float((predicted == actual).mean())


def has_accuracy(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the labels name classes of these logits. Targets of regression and autoencoders do not.

    Labels name classes if they are integers (N,) for logits (N, K), rows of probabilities (N, K), or zeros
    and ones for one logit (N, 1) or (N,).
    """
    one_logit = logits.shape[1:] in ((), (1,))
    if one_logit:
        return labels.shape[1:] in ((), (1,)) and bool(np.isin(labels, (0, 1)).all())
    if logits.ndim == 2 and labels.ndim == 1:
        return labels.dtype.kind in "iu"
    return logits.ndim == 2 and labels.shape == logits.shape and _are_probabilities(labels)


def per_class_accuracy(
    predictions: Any, labels: Any, num_classes: int | None = None, confidence: float = 0.95
) -> Interval:
    """The recall of each class (the fraction of its images that is recognised), with Wilson's interval.

    The fields of the Interval are arrays (K,). A class without images has n = 0, the interval 0 ... 1 and a
    mean of NaN.

    >>> from minidl import train
    >>> print(train.per_class_accuracy([0, 1, 1, 1], labels=[0, 0, 1, 1]).mean)
    [0.5 1. ]
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    return wilson_interval(counts.diagonal(), counts.sum(axis=1), confidence)


def confusion_matrix(predictions: Any, labels: Any, num_classes: int | None = None) -> np.ndarray:
    """counts[i, j]: the number of images of class i that are classified as j. int64 (K, K).

    K is the number of logits. If ``predictions`` are classes, K is ``num_classes`` or 1 + the highest class.

    >>> from minidl import train
    >>> print(train.confusion_matrix([0, 1, 1, 1], labels=[0, 0, 1, 1]))
    [[1 1]
     [0 2]]
    """
    predicted, actual, classes = predicted_and_actual(predictions, labels, num_classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def roc_auc(scores: Any, positive: Any) -> float:
    """How often a positive example has a higher score than a negative example; a tie counts 1/2.

        AUC = 1/(P N) sum over positives i and negatives j of  [s_i > s_j] + 1/2 [s_i = s_j]

    It is also the area under the ROC curve, which shows true against false positives over all thresholds. It
    is 1 if a threshold separates positive from negative examples, and 1/2 for random scores. Any increasing
    function of the scores gives the same AUC.
    scores: array (M,); numbers may be infinite, and integers may be compared as floats.  positive: array of
    bools (M,).  ValueError for NaN among the scores, and if ``positive`` has only True or only False.
    (Hanley and McNeil 1982)

    >>> from minidl import train
    >>> scores, positive = np.array([0.9, 0.6, 0.7, 0.1]), np.array([True, True, False, False])
    >>> train.roc_auc(scores, positive)  # 3 of the 4 pairs are in order
    0.75
    """
    scores = check_array("scores", scores, "M", finite=False, nan=False)  # in their own dtype: no new ties
    positive = check_array("positive", positive, len(scores), kind="bool")
    both = 0 < positive.sum() < len(positive)
    require(both, f"positive must hold both True and False, got {positive.sum()} of {len(positive)}")
    above, below = scores[positive], np.sort(scores[~positive])
    lower = np.searchsorted(below, above, side="left")  # (P,): the number of negatives below each positive
    not_higher = np.searchsorted(below, above, side="right")
    return float(((lower + not_higher) / 2).mean() / len(below))


# ---- what arguments are


def predicted_and_actual(
    predictions: Any, labels: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted and actual classes (N,), and K."""
    predictions, labels = array_pair("predictions and labels", (predictions, labels))
    if predictions.ndim == 1 and predictions.dtype.kind == "f":
        predictions = predictions[:, None]
    one_logit = predictions.shape[1:] == (1,)
    if one_logit or labels.shape[1:] == (1,):
        fits = labels.shape[1:] in ((), (1,)) and np.isin(labels, (0, 1)).all()
        require(fits, f"labels of one logit must be (N,) or (N, 1), zeros and ones, got {shown(labels)}")
        labels = labels.reshape(-1).astype(np.int64)
    columns = {max(array.shape[1], 2) for array in (predictions, labels) if array.ndim == 2}
    predicted, actual = classes_of("predictions", predictions), classes_of("labels", labels)
    names_one = labels.ndim == 1 or _are_probabilities(labels)
    require(names_one, "labels must be classes (N,), or rows (N, K) that are >= 0 with sum 1")
    if num_classes is not None:
        columns.add(positive_int("num_classes", num_classes))
    require(len(columns) < 2, f"the number of classes is not clear: {sorted(columns)}")
    classes = columns.pop() if columns else int(max(predicted.max(), actual.max())) + 1
    predicted, actual = (check_labels("labels", given, None, classes) for given in (predicted, actual))
    return predicted, actual, classes


def _are_probabilities(rows: np.ndarray) -> bool:
    """Whether each row (K,) of ``rows`` is a distribution. Rows that name several classes or none are not."""
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))


def classes_of(name: str, array: np.ndarray) -> np.ndarray:
    """Classes (N,) stay; rows (N, K) give the index of the largest, a column (N, 1) whether it is > 0."""
    if array.ndim == 1:
        require(array.dtype.kind in "iu", f"{name} (N,) must be integers, got {array.dtype}", TypeError)
        return array
    array = check_array(name, array, "N", "K", finite=False, nan=False)
    return array.argmax(axis=1) if array.shape[1] > 1 else (array[:, 0] > 0).astype(np.int64)
