"""What a model predicts, and how often it is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.loss import check_labels
from minidl.engine.tensor import no_grad
from minidl.nn.checks import positive_int
from minidl.nn.module import Module, eval_mode
from minidl.train.intervals import Interval, wilson_interval


def predict(model: Module, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """The model's logits for all images, in eval mode and without a graph; then its mode is as before."""
    batch_size, images = positive_int("batch_size", batch_size), np.asarray(images)
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"there are no images to predict, got shape {images.shape}")
    with eval_mode(model), no_grad():
        batches = [model(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    return np.concatenate([batch.data for batch in batches])


def accuracy(predictions: Any, labels: Any) -> float:
    """The share of right answers.

    predictions: logits (N, K), whose largest is the answer, or classes (N,).  labels: classes (N,), or rows
    (N, K), whose largest is the class.
    """
    predicted, actual, _ = checked(predictions, labels)
    return float((predicted == actual).mean())


def per_class_accuracy(
    predictions: Any, labels: Any, num_classes: int | None = None, confidence: float = 0.95
) -> Interval:
    """For each class the share of its images that are recognised, its recall, with Wilson's interval.

    The fields of the Interval are arrays (K,). A class without images has n = 0, the interval 0 ... 1 and a
    mean of NaN.
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    return wilson_interval(counts.diagonal(), counts.sum(axis=1), confidence)


def confusion_matrix(predictions: Any, labels: Any, num_classes: int | None = None) -> np.ndarray:
    """counts[i, j]: how many images of class i were taken for class j. int64 (K, K).

    K is the number of logits or, where ``predictions`` are classes, ``num_classes`` or 1 + the highest class.
    """
    predicted, actual, classes = checked(predictions, labels, num_classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def checked(
    predictions: Any, labels: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted and actual classes (N,), and K."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if len(predictions.shape) == 0 or predictions.shape[:1] != labels.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"predictions (N, K) or (N,) need labels (N,), N > 0, got {predictions.shape} and {labels.shape}"
        )
    columns = {array.shape[1] for array in (predictions, labels) if array.ndim == 2}
    predicted, actual = classes_of("predictions", predictions), classes_of("labels", labels)
    if num_classes is not None:
        columns.add(positive_int("num_classes", num_classes))
    if len(columns) > 1:
        raise ValueError(f"the number of classes is not clear: {sorted(columns)}")
    classes = columns.pop() if columns else int(max(predicted.max(), actual.max())) + 1
    return check_labels(predicted, classes), check_labels(actual, classes), classes


def classes_of(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} (N,) must be integers, got {array.dtype}")
        return array
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be classes (N,) or rows (N, K), got {array.dtype} {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} hold NaN: no class is the largest")
    return array.argmax(axis=1)
