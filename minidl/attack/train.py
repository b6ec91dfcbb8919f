"""Defences: training on attacked or on noisy images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.attack.gradient_sign import Attack, attack_batch, checked_images, fgsm
from minidl.data.augment import compose, gaussian_noise
from minidl.data.batches import Augment, batches
from minidl.engine.checks import check_number, positive_int
from minidl.engine.random import default_rng_or
from minidl.nn import functional as F
from minidl.nn.module import Module, same_mode_after
from minidl.train.loop import (
    History,
    Pair,
    check_pair,
    check_settings,
    check_trainable,
    fit,
    progress_bar,
    train_epoch,
)
from minidl.train.optim import Adam, Optimizer
from minidl.train.schedules import Schedule


def adversarial_training(
    model: Module,
    train: Pair,
    *,
    eps: float,
    attack: Attack = fgsm,
    epochs: int,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    augment: Augment | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train on each batch as ``attack(model, images, labels, eps)`` leaves it, by the model of the moment.

        min over θ of  E [ max over ‖δ‖∞ ≤ ε of  J(θ, x + δ, y) ]      (Madry et al. 2018)

    attack: solves the inner maximum roughly. ``fgsm`` costs one more pass (Goodfellow et al. 2015),
    ``lambda *args: pgd(*args, steps=4, rng=rng)`` four. It sees the model in eval mode, and the images
    after ``augment``; whatever mode it leaves the model in, the step is made in training mode.
    The rest is as in ``train.fit``; the history's accuracy is that on attacked images.
    """
    train, epochs = check_pair("train", train), positive_int("epochs", epochs)
    batch_size, eps = positive_int("batch_size", batch_size), check_number("eps", eps, 0)
    check_settings(model, optimizer, schedule, augment, F.cross_entropy, None, None, None, False)
    if not callable(attack):
        raise TypeError(f"attack must be a function of model, images, labels and eps, got {attack!r}")
    optimizer = Adam(model.parameters(), lr=3e-3) if optimizer is None else optimizer
    check_trainable(model, optimizer)
    rng, history, steps = default_rng_or(rng), History(), -(-len(train[0]) // batch_size)
    with progress_bar(epochs * steps, 0, progress) as bar, same_mode_after(model):
        try:
            for _ in range(epochs):
                model.train()
                clean = batches(*train, batch_size, rng=rng, augment=augment)
                pairs = attacked(clean, model, attack, eps)
                trained = train_epoch(
                    model, pairs, optimizer, F.cross_entropy, schedule, history.steps, None, bar
                )
                history.add(trained, None, optimizer.lr, steps)
        except (KeyboardInterrupt, FloatingPointError) as error:
            history.drop_unfinished()
            error.history = history
            raise
    return history


def attacked(pairs: Iterator[Pair], model: Module, attack: Attack, eps: float) -> Iterator[Pair]:
    """Each batch attacked when it is asked for, that is after the step on the one before."""
    for images, labels in pairs:
        shown = attack_batch(attack, model, images, labels, eps)
        model.train()
        yield shown, labels


def noise_training(
    model: Module,
    train: Pair,
    *,
    sigma: float,
    epochs: int,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    augment: Augment | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """``train.fit`` on images clipped to [0, 1] after noise N(0, σ²) in each pixel, drawn anew in each epoch.

    It teaches to withstand an average direction, where an attack takes the worst. The noise comes after
    ``augment``. Raises ValueError for images outside of [0, 1].
    """
    noise, train = gaussian_noise(sigma, clip=True), check_pair("train", train)
    checked_images(train[0], (0, 1))
    return fit(
        model,
        train,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augment=noise if augment is None else compose(augment, noise),
        rng=rng,
        progress=progress,
    )
