"""Defences: training on attacked or on noisy images."""

from __future__ import annotations

import numpy as np

from minidl.attack.gradient_sign import Attack, attack_batch, checked_images, fgsm
from minidl.data.augment import compose, gaussian_noise
from minidl.data.loader import Augment, Pair
from minidl.engine.checks import array_pair, check_function, check_number
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.train.evaluation import History, float_pair
from minidl.train.loop import fit, rehearse, supervised
from minidl.train.metrics import predict
from minidl.train.optim import Optimizer
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
    drop_last: bool = False,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train on attacked images: each batch is replaced by ``attack(model, images, labels, eps)``.

        min over θ of  E [ max over ‖δ‖∞ ≤ ε of  J(θ, x + δ, y) ]      (Madry et al. 2018)

    attack: solves the inner maximum approximately. ``fgsm`` costs one more pass (Goodfellow et al. 2015),
    ``lambda *args: pgd(*args, steps=4, rng=rng)`` costs four. It gets the present model in eval mode, and the
    images after ``augment``. The training step always runs in training mode.
    The rest is as in ``train.fit``; the accuracy in the history is that on attacked images.

    >>> from minidl import attack, nn
    >>> images, labels = np.eye(4).reshape(4, 1, 2, 2), np.array([0, 0, 1, 1])
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> len(attack.adversarial_training(model, (images, labels), eps=0.1, epochs=3))
    3
    """
    eps = check_number("eps", eps, 0)
    check_function("attack", attack, "model, images, labels and eps")
    images, labels = float_pair("train", train)
    rehearse(predict(model, images[:1]), labels, F.cross_entropy)
    plain_step = supervised(F.cross_entropy)

    def step(model: Module, images: np.ndarray, labels: np.ndarray) -> Tensor | tuple[Tensor, dict]:
        attacked = attack_batch(attack, model, images, labels, eps)
        model.train()
        return plain_step(model, attacked, labels)

    return fit(
        model,
        train,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        step=step,
        drop_last=drop_last,
        rng=rng,
        progress=progress,
    )


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
    drop_last: bool = False,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """``train.fit`` on images clipped to [0, 1] after noise N(0, σ²) in each pixel, with new noise in each
    epoch.

    The model learns to resist average directions, but an attack uses the worst direction. The noise comes
    after ``augment``. Raises ValueError for images outside of [0, 1].

    >>> from minidl import attack, nn
    >>> images, labels = np.eye(4).reshape(4, 1, 2, 2), np.array([0, 0, 1, 1])
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> len(attack.noise_training(model, (images, labels), sigma=0.1, epochs=3))
    3
    """
    noise = gaussian_noise(sigma, clip=True)
    checked_images(array_pair("train", train)[0], (0, 1))
    augment = noise if augment is None else compose(augment, noise)
    return fit(
        model,
        train,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        drop_last=drop_last,
        rng=rng,
        progress=progress,
    )
