"""One epoch of a data set, a minibatch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minidl.engine.checks import positive_int
from minidl.engine.random import default_rng_or

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def batches(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    *,
    rng: np.random.Generator | None = None,
    shuffle: bool = True,
    augment: Augment | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (images, labels) of ``batch_size`` rows that cover the data set once; the last may be smaller.

    The order is one permutation, drawn from ``rng`` when ``batches`` is called and not later, so a run
    resumed at an epoch's start with the generator's saved state sees the same batches. ``augment(images,
    rng)`` is applied to each batch as it is asked for. Batches are copies: changing one does no harm to the
    data set.

    images: (N, ...).  labels: (N, ...), a row for each image: classes, probabilities, or a teacher's logits.
    drop_last: leave out a last smaller batch, for layers such as BatchNorm that fare badly on a few images.
    Raises: ValueError, at the call: no images, unequal lengths, batch_size < 1, no batch left by drop_last.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 0 or labels.ndim == 0 or len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"images and labels must be equally long and not empty, got {images.shape} and {labels.shape}"
        )
    positive_int("batch_size", batch_size)
    if drop_last and batch_size > len(images):
        raise ValueError(f"drop_last leaves no batch of {batch_size} from {len(images)} images")
    rng = default_rng_or(rng)
    order = rng.permutation(len(images)) if shuffle else np.arange(len(images))
    end = len(images) - len(images) % batch_size if drop_last else len(images)
    return _take(images, labels, [order[i : i + batch_size] for i in range(0, end, batch_size)], augment, rng)


def _take(images, labels, parts, augment, rng):
    for rows in parts:
        batch = images[rows]
        if augment is not None:
            batch = augment(batch, rng)
            if not isinstance(batch, np.ndarray) or len(batch) != len(rows):
                raise ValueError(f"augment must return an array of {len(rows)} images, got {np.shape(batch)}")
        yield batch, labels[rows]
