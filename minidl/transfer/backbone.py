"""A pretrained network for several lessons. It knows eight generated shapes and never saw the others."""

from __future__ import annotations

import numpy as np

from minidl.data.cache import cached
from minidl.data.shapes import SHAPES, make_shapes
from minidl.nn.containers import Sequential
from minidl.nn.models import small_cnn
from minidl.train.networks import trained

SOURCE_SHAPES, TARGET_SHAPES = SHAPES[:8], SHAPES[8:]


def shapes_cnn(num_classes: int, rng: np.random.Generator | None = None) -> Sequential:
    """An untrained network for generated images (N, 3, 16, 16): block1 ... block4, pool, flatten, head.

    The output of ``flatten`` is its last features, 64 for each image.

    >>> from minidl import transfer
    >>> transfer.shapes_cnn(num_classes=8)(np.ones((1, 3, 16, 16))).shape
    (1, 8)
    """
    return small_cnn(num_classes, 3, widths=(16, 32, 32, 64), pool_after=(1, 2), rng=rng)


def pretrained_shapes(seed: int = 0) -> Sequential:
    """``shapes_cnn(8)`` trained on SOURCE_SHAPES, in evaluation mode; about 99% accuracy on new images.

    ``seed`` draws the images and the weights. The first call with a seed trains for some seconds; later calls
    read the weights from the cache (``data.cached``).

    >>> from minidl import transfer
    >>> transfer.pretrained_shapes()[-1]  # doctest: +SKIP
    Linear(64, 8)
    """
    model = shapes_cnn(len(SOURCE_SHAPES), np.random.default_rng(seed))
    model.load_state_dict(
        cached("pretrained_shapes", {"seed": seed, "images": 2000, "epochs": 10}, train_on_source)
    )
    return model.eval()


def train_on_source(seed: int, images: int, epochs: int) -> dict[str, np.ndarray]:
    """The weights of a ``shapes_cnn`` after ``epochs`` epochs on clean images of SOURCE_SHAPES."""
    rng = np.random.default_rng(seed)
    model = shapes_cnn(len(SOURCE_SHAPES), rng)
    pixels, labels, _ = make_shapes(images, size=16, shapes=SOURCE_SHAPES, rng=rng)
    return trained(model, (pixels, labels), epochs, 3e-3, rng).state_dict()
