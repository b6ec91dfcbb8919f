"""Shape or texture: which cue an answer follows where the two disagree."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.train.metrics import classes_of

MOST_CLASSES = 1_000_000  # numbers from it on are no classes: counts of all below them would fill the memory


class ShapeBias(NamedTuple):
    """shape / (shape + texture), over the images whose answer is either cue's class.

    mean: over all of them.  per_class: of the images with the shape of each class, (K,), NaN where none of
    them is decided.  decided: the share of all images whose answer is either cue's class.
    """

    mean: float
    per_class: np.ndarray
    decided: float


def shape_bias(predictions: Any, shape_labels: np.ndarray, texture_labels: np.ndarray) -> ShapeBias:
    """How often the shape wins where it says one class and the texture another (Geirhos et al. 2019).

        bias = shape / (shape + texture),   the numbers of answers that are the shape's, the texture's class

    1: only the shape counts, 0: only the texture. Answers that are neither count in ``decided`` alone: where
    it is low, the bias says little.

    predictions: logits (N, K) or classes (N,).  shape_labels, texture_labels: classes (N,), as those of
    ``data.make_cue_conflict``.  Raises ValueError where the cues agree, and where no answer is either's.
    """
    predicted, shapes, textures, classes = _checked(predictions, shape_labels, texture_labels)
    by_shape, by_texture = cue_counts(predicted, shapes, textures, classes)
    decided = by_shape + by_texture
    if not decided.any():
        raise ValueError(f"none of {len(predicted)} answers is the class of either cue: there is no bias")
    per_class = np.divide(by_shape, decided, out=np.full(classes, np.nan), where=decided > 0)
    return ShapeBias(float(by_shape.sum() / decided.sum()), per_class, float(decided.sum() / len(predicted)))


def cue_counts(
    predicted: np.ndarray, shape_labels: np.ndarray, texture_labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the images with the shape of each class: how many are answered by shape, how many by texture.

    All three: classes (N,).  Returns: by_shape (K,), by_texture (K,), both by the class of the shape.
    """
    by_shape = np.bincount(shape_labels[predicted == shape_labels], minlength=classes)
    by_texture = np.bincount(shape_labels[predicted == texture_labels], minlength=classes)
    return by_shape, by_texture


def _checked(
    predictions: Any, shape_labels: Any, texture_labels: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    answers, shapes, textures = map(np.asarray, (predictions, shape_labels, texture_labels))
    if shapes.ndim != 1 or shapes.shape != textures.shape or answers.shape[:1] != shapes.shape:
        raise ValueError(
            "predictions (N, K) or (N,) need shape_labels (N,) and texture_labels (N,), "
            f"got {answers.shape}, {shapes.shape} and {textures.shape}"
        )
    if len(shapes) == 0:
        raise ValueError("there are no images, N must be at least 1")
    predicted = classes_of("predictions", answers)
    shapes, textures = classes_of("shape_labels", shapes), classes_of("texture_labels", textures)
    highest = int(max(predicted.max(), shapes.max(), textures.max(), 0))
    classes = answers.shape[1] if answers.ndim == 2 else min(highest + 1, MOST_CLASSES)
    for name, numbers in (("predictions", predicted), ("shape_labels", shapes), ("texture_labels", textures)):
        wrong = np.flatnonzero((numbers < 0) | (numbers >= classes))
        if wrong.size:
            raise ValueError(
                f"{name} must be in 0 ... {classes - 1} for {classes} classes, "
                f"got {numbers[wrong[0]]} at index {wrong[0]}"
            )
    agree = int((shapes == textures).sum())
    if agree:
        raise ValueError(f"shape and texture must be of different classes, in {agree} images they agree")
    return predicted, shapes, textures, classes
