"""Shape or texture: which of two conflicting cues a model follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_labels, require

MOST_CLASSES = 1_000_000  # larger labels are refused: counts for so many classes would fill the memory


class ShapeBias(NamedTuple):
    """shape / (shape + texture), over the images whose answer is the class of either cue.

    mean: over all these images.  per_class: over the images with the shape of each class, (K,), NaN without
    such answers.  decided: the fraction of all images whose answer is the class of either cue.
    """

    mean: float
    per_class: np.ndarray
    decided: float


def shape_bias(predictions: Any, shape_labels: np.ndarray, texture_labels: np.ndarray) -> ShapeBias:
    """How often the shape wins if shape and texture belong to different classes (Geirhos et al. 2019).

        bias = shape / (shape + texture),   shape, texture: the numbers of answers with the class of the
        shape, of the texture

    1: only the shape counts, 0: only the texture. Other answers only reduce ``decided``; if it is low, the
    bias means little.

    predictions: logits (N, K) or classes (N,).  shape_labels, texture_labels: classes (N,), as from
    ``data.make_cue_conflict``.  Raises ValueError if the cues of an image agree, or if no answer follows a
    cue.

    >>> from minidl import explain
    >>> round(explain.shape_bias([0, 0, 1, 2], [0, 0, 0, 0], [1, 1, 1, 1]).mean, 3)
    0.667
    """
    answers = check_array("predictions", predictions, finite=False)
    require(not np.isnan(answers).any(), "predictions hold NaN: no class is the largest")
    are_logits = answers.ndim == 2
    limit = answers.shape[1] if are_logits else MOST_CLASSES
    answers = answers.argmax(axis=1) if are_logits else answers
    predicted = check_labels("predictions", answers, None, limit)
    shapes = check_labels("shape_labels", shape_labels, len(predicted), limit)
    textures = check_labels("texture_labels", texture_labels, len(predicted), limit)
    agree = int((shapes == textures).sum())
    require(agree == 0, f"shape and texture must be of different classes, but in {agree} images they agree")
    classes = limit if are_logits else 1 + int(max(predicted.max(), shapes.max(), textures.max()))
    by_shape, by_texture = cue_counts(predicted, shapes, textures, classes)
    decided = by_shape + by_texture
    nothing = f"none of {len(predicted)} answers is the class of either cue: there is no bias"
    require(decided.any(), nothing)
    per_class = np.divide(by_shape, decided, out=np.full(classes, np.nan), where=decided > 0)
    return ShapeBias(float(by_shape.sum() / decided.sum()), per_class, float(decided.sum() / len(predicted)))


def cue_counts(
    predicted: np.ndarray, shape_labels: np.ndarray, texture_labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each class of the shape, how many answers are the shape, and how many are the texture.

    Each image shows the shape of one class and the texture of another. predicted is the answer of the model.
    An image is answered by shape if predicted == shape_labels, and by texture if predicted == texture_labels.
    If its shape and texture have the same class, and this is the answer, it counts for both.
    predicted, shape_labels, texture_labels: (N,), class numbers below ``classes``, K, of a signed integer
    dtype or uint8.
    Returns by_shape (K,), by_texture (K,). Entry c of both counts images whose shape has class c.

    >>> cue_counts(np.array([0, 2]), np.array([0, 0]), np.array([1, 2]), classes=3)  # shape, then texture
    (array([1, 0, 0]), array([1, 0, 0]))
    """
    by_shape = np.bincount(shape_labels[predicted == shape_labels], minlength=classes)
    by_texture = np.bincount(shape_labels[predicted == texture_labels], minlength=classes)
    return by_shape, by_texture
