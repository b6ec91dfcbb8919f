"""The batches of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minidl.engine.checks import array_pair, check_flag, check_function, positive_int, require, shown
from minidl.engine.random import default_rng_or

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]


class batches:
    """Pairs (images, labels) of ``batch_size`` rows that cover the data set once; the last may be smaller.

    Each ``iter()`` is one epoch. ``iter()`` draws its order from ``rng``, as one permutation. So
    a run that resumes at the start of an epoch with the saved state of ``rng`` gets the same batches.
    ``len()`` is the number of batches in an epoch. ``augment(images, rng)`` is applied to each batch when the
    batch is made. Batches are copies: a change of a batch does not change the data set.

    images: (N, ...).  labels: (N, ...), a row for each image: classes, probabilities, or a teacher's logits.
    drop_last: skip the last batch if it is smaller: layers such as BatchNorm do not work well on a few
    images. Raises ValueError for no images, unequal lengths, batch_size < 1, or no batch left by drop_last.

    >>> from minidl import data
    >>> images, labels = np.zeros((10, 1, 8, 8)), np.arange(10)
    >>> [len(part) for part, part_labels in data.batches(images, labels, batch_size=4)]
    [4, 4, 2]
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        *,
        rng: np.random.Generator | None = None,
        shuffle: bool = True,
        augment: Augment | None = None,
        drop_last: bool = False,
    ) -> None:
        self.images, self.labels = array_pair("images and labels", (images, labels))
        self.batch_size, self.rng = positive_int("batch_size", batch_size), default_rng_or(rng)
        self.shuffle, self.drop_last = check_flag("shuffle", shuffle), check_flag("drop_last", drop_last)
        self.augment = check_function("augment", augment, "images and rng", optional=True)
        left_over = len(self.images) % batch_size if drop_last else 0
        self.used = len(self.images) - left_over  # of an epoch's order
        require(self.used > 0, f"drop_last leaves no batch of {batch_size} from {len(self.images)} images")

    def __len__(self) -> int:
        return -(-self.used // self.batch_size)

    def __iter__(self) -> Iterator[Pair]:
        n = len(self.images)
        return self._take(self.rng.permutation(n) if self.shuffle else np.arange(n))

    def _take(self, order: np.ndarray) -> Iterator[Pair]:
        for start in range(0, self.used, self.batch_size):
            rows = order[start : start + self.batch_size]
            images = self.images[rows]
            if self.augment is not None:
                images = self.augment(images, self.rng)
                kept = isinstance(images, np.ndarray) and images.shape[:1] == rows.shape
                require(kept, f"augment must return an array of {len(rows)} images, got {shown(images)}")
            yield images, self.labels[rows]
