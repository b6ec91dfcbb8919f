"""Trained networks for several lessons: one for the digits, others for generated shapes."""

from __future__ import annotations

import numpy as np

from minidl.data.augment import random_rotation
from minidl.data.cache import cached
from minidl.data.digits import load_digits
from minidl.data.loader import Augment
from minidl.data.shapes import make_shapes
from minidl.engine.checks import check_choice
from minidl.nn.containers import Sequential
from minidl.nn.models import small_cnn, tiny_resnet
from minidl.train.adam import Adam
from minidl.train.loop import fit
from minidl.train.schedules import cosine

Pair = tuple[np.ndarray, np.ndarray]
EXPLAINED_SHAPES = ("circle", "square", "star", "heart")


def digits_split() -> tuple[Pair, Pair, Pair]:
    """The digits as training, held-out and test images: 1149, 288 and 360, always the same."""
    (images, labels), test = load_digits()
    order = np.random.default_rng(12).permutation(len(images))
    held_out, rest = order[:288], order[288:]
    return (images[rest], labels[rest]), (images[held_out], labels[held_out]), test


def digits_network(seed: int = 0) -> Sequential:
    """``small_cnn(10, 1)`` trained on the digits of ``digits_split``, in evaluation mode.

    Its test accuracy is about 98.5%. ``seed`` draws the weights and the batches. The first call with a seed
    trains for some seconds; later calls read the weights from the cache (``data.cached``).
    """
    model = small_cnn(10, 1)
    model.load_state_dict(cached("digits_network", {"seed": seed, "epochs": 12, "lr": 3e-3}, train_on_digits))
    return model.eval()


def train_on_digits(seed: int, epochs: int, lr: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    model = small_cnn(10, 1, rng=rng)
    train, _, _ = digits_split()
    return trained(model, train, epochs, lr, rng, augment=random_rotation(10)).state_dict()


def shapes_images(
    n: int, *, rng: np.random.Generator, spurious: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n images of EXPLAINED_SHAPES at 16x16 with labels and masks: training data of ``shapes_network``."""
    return make_shapes(n, size=16, shapes=EXPLAINED_SHAPES, spurious=spurious, rng=rng)


def shapes_network(seed: int = 0, *, spurious: float = 0.0, architecture: str = "plain") -> Sequential:
    """A network trained on ``shapes_images``, in evaluation mode, for explanations; cached like
    digits_network.

    spurious: the fraction of training images with the mark of their class. All else is equal, so two networks
    differ only because of the mark.
    architecture: "plain" is ``small_cnn``, its maps 16x16 up to block2 and then 8x8; "residual" is
    ``tiny_resnet``, 16x16 up to stage1 and then 8x8.
    """
    recipe = {"seed": seed, "spurious": spurious, "architecture": architecture, "images": 4000, "epochs": 8}
    model = untrained(architecture)
    model.load_state_dict(cached("shapes_network", recipe, train_on_shapes))
    return model.eval()


def train_on_shapes(
    seed: int, spurious: float, architecture: str, images: int, epochs: int
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    model = untrained(architecture, rng)
    pixels, labels, _ = shapes_images(images, rng=rng, spurious=spurious)
    return trained(model, (pixels, labels), epochs, 3e-3, rng).state_dict()


def untrained(architecture: str, rng: np.random.Generator | None = None) -> Sequential:
    if check_choice("architecture", architecture, ("plain", "residual")) == "plain":
        return small_cnn(len(EXPLAINED_SHAPES), 3, rng=rng)
    return tiny_resnet(len(EXPLAINED_SHAPES), 3, widths=(16, 32), blocks=1, rng=rng)


def trained(
    model: Sequential,
    train: Pair,
    epochs: int,
    lr: float,
    rng: np.random.Generator,
    *,
    augment: Augment | None = None,
) -> Sequential:
    """The model after ``epochs`` epochs of Adam with a cosine schedule from ``lr`` to 0, batches of 64."""
    optimizer = Adam(model.parameters(), lr=lr)
    schedule = cosine(lr, 0.0, epochs * -(-len(train[0]) // 64))
    fit(
        model,
        train,
        epochs=epochs,
        batch_size=64,
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        rng=rng,
        progress=False,
    )
    return model
