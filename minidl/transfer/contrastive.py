"""Contrastive learning: features without labels, from which images are views of the same one (SimCLR).

A view is an image, distorted at random. Two views of one image should have like features, views of two images
unlike ones. What the distortions change, the features learn to ignore.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.data.augment import Augment
from minidl.data.batches import batches
from minidl.engine.checks import check_int, positive_int
from minidl.engine.functions import concatenate
from minidl.engine.op import Op
from minidl.engine.random import default_rng_or
from minidl.engine.reduce import check_temperature
from minidl.engine.tensor import Tensor, apply
from minidl.nn import functional as F
from minidl.nn.containers import Sequential
from minidl.nn.layers import Linear, ReLU
from minidl.nn.module import Module, same_mode_after
from minidl.train.loop import Evaluation, History, check_finite, check_trainable, progress_bar
from minidl.train.optim import Adam, Optimizer
from minidl.train.schedules import Schedule
from minidl.transfer.features import checked_features
from minidl.transfer.finetune import check_module

# ---- two views


def two_views(
    images: np.ndarray, augment: Augment, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Each image distorted twice, by draws that do not depend on each other: arrays shaped like ``images``.

    Row i of the one and row i of the other show the same image.  augment: ``augment(images, rng)``, which
    gets a copy each time.
    """
    if not callable(augment):
        raise TypeError(f"augment must be a function of images and rng, got {augment!r}")
    images, rng = np.asarray(images), default_rng_or(rng)
    views = augment(images.copy(), rng), augment(images.copy(), rng)
    for view in views:
        if not isinstance(view, np.ndarray):
            raise TypeError(f"augment must return an array of images, got {type(view).__name__}")
        if np.shape(view) != images.shape:
            raise ValueError(
                f"augment must keep the shape {images.shape} of the images, got {np.shape(view)}"
            )
    return views


# ---- the loss


class UnitRows(Op):
    """u = z / |z| for each row of z (N, D);  dL/dz = (g - u (u . g)) / |z|

    The gradient has no part along u: a longer row has the same direction.
    """

    def forward(self, z):
        largest = np.abs(z).max(axis=1, keepdims=True)  # divided by first, so that no square overflows
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))  # (N, 1)
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        along = (self.u * grad).sum(axis=1, keepdims=True)
        return (grad - self.u * along) / self.length


def nt_xent(z1: Any, z2: Any, temperature: float) -> Tensor:
    """SimCLR's loss of embeddings of two views, row i of z1 and row i of z2 being of the same image.

        u = the 2N rows of z1 and z2, each divided by its length        S = u u^T
        L = mean over the 2N rows i of  -log( e^(S[i, p]/T) / sum over k != i of e^(S[i, k]/T) )

    with p the row of i's other view: the cross-entropy of telling it among the 2N - 1 other rows.
    z1, z2: Tensors or arrays (N, D), N >= 1, no row of zeros, which has no direction.  temperature T > 0.
    Source: Chen et al. 2020, arXiv:2002.05709, "normalized temperature-scaled cross entropy".
    """
    z1, z2 = check_embeddings(z1, z2)
    n = len(z1)
    u = apply(UnitRows(), concatenate([z1, z2]))  # (2N, D)
    others = ~np.eye(2 * n, dtype=bool)
    S = (u @ u.T)[others].reshape(2 * n, 2 * n - 1)  # nobody is among their own alternatives
    partner = np.concatenate([np.arange(n, 2 * n) - 1, np.arange(n)])  # i + n is past the own column
    return F.cross_entropy(S, partner, temperature=temperature)


def partners_found(z1: np.ndarray, z2: np.ndarray) -> float:
    """The share of the 2N rows whose most similar one, among the 2N - 1 others, is its own partner."""
    u = UnitRows().forward(np.concatenate([z1, z2]))
    S = u @ u.T
    np.fill_diagonal(S, -np.inf)
    return float(np.mean(S.argmax(axis=1) == np.roll(np.arange(len(u)), len(z1))))


# ---- the training


class ProjectionHead(Module):
    """fc1, relu, fc2: features (N, in) to the embeddings (N, out) that ``nt_xent`` compares.

    It is trained with the encoder and then left out: what the loss throws away goes here, and the features
    before it keep more (Chen et al. 2020, section 4.2).
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = default_rng_or(rng)
        self.fc1 = Linear(in_features, hidden, rng=rng)
        self.relu = ReLU()
        self.fc2 = Linear(hidden, out_features, rng=rng)

    def forward(self, features: Any) -> Tensor:
        return self.fc2(self.relu(self.fc1(features)))


def train_simclr(
    encoder: Module,
    images: np.ndarray,
    *,
    head: Module,
    augment: Augment,
    epochs: int,
    temperature: float = 0.2,
    batch_size: int = 128,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    rng: np.random.Generator | None = None,
    progress: bool = True,
) -> History:
    """Train ``encoder`` and ``head`` on ``nt_xent`` of two views of each image, without labels (SimCLR).

    encoder: gives features (N, D), such as ``shapes_cnn(8)[:-1]``.  head: see ``ProjectionHead``.
    images: (M, ...).  batch_size: images a step, two at least, as one has no strangers; an epoch leaves out a
    last smaller batch.  optimizer: of the parameters of both, Adam(lr=3e-3) if None.  schedule, progress: as
    in ``fit``.

    In the history, accuracy is the mean of ``partners_found`` over the batches. A loss that is not finite
    raises FloatingPointError before its step is made, an embedding of zeros ValueError. After these and after
    Ctrl-C the error's ``history`` holds the finished epochs. In any case encoder and head are back in their
    modes.
    """
    images, epochs = np.asarray(images), positive_int("epochs", epochs)
    model = Sequential({"encoder": check_module(encoder), "head": check_module(head)})
    check_training(images, optimizer, schedule)
    check_temperature(temperature)
    batch_size = min(check_int("batch_size", batch_size, 2), len(images))
    optimizer = Adam(model.parameters(), lr=3e-3) if optimizer is None else optimizer
    check_trainable(encoder, optimizer)
    if any(p.requires_grad for p in head.parameters()):
        check_trainable(head, optimizer)
    steps = len(images) // batch_size  # in an epoch
    rng, history, no_labels = default_rng_or(rng), History(), np.zeros(len(images))
    with progress_bar(epochs * steps, 0, progress) as bar, same_mode_after(model):
        try:
            while len(history) < epochs:
                model.train()
                loader = batches(images, no_labels, batch_size, rng=rng, drop_last=True)
                pairs = (two_views(batch, augment, rng) for batch, _ in loader)
                trained = contrastive_epoch(
                    model, pairs, optimizer, temperature, schedule, history.steps, bar
                )
                history.add(trained, None, optimizer.lr, steps)
        except (KeyboardInterrupt, FloatingPointError, ValueError) as error:
            history.drop_unfinished()
            error.history = history
            raise
    return history


def contrastive_epoch(
    model: Module,
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    optimizer: Optimizer,
    temperature: float,
    schedule: Schedule | None,
    step: int,
    bar: Any,
) -> Evaluation:
    """A step for each pair of views, the first at ``step``; what they gave before their steps, on average."""
    total_loss = found = seen = 0.0
    for view1, view2 in pairs:
        if schedule is not None:
            optimizer.lr = schedule(step)
        z1, z2 = model(view1), model(view2)
        value = nt_xent(z1, z2, temperature)
        check_finite(value, step, optimizer.lr)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

        step += 1
        seen += len(view1)
        total_loss += value.item() * len(view1)
        found += partners_found(z1.data, z2.data) * len(view1)
        bar.set_postfix_str(f"loss {total_loss / seen:.3f} accuracy {found / seen:.1%}", refresh=False)
        bar.update()
    return Evaluation(found / seen, total_loss / seen)


# ---- the lecture's question


def same_or_not(features_a: np.ndarray, features_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every row of the one with every row of the other: their cosine, and whether they are the same image.

        scores[i N + j] = a_i . b_j / (|a_i| |b_j|)        same[i N + j] = (i == j)

    features_a, features_b: (N, D) of two views of the same N >= 2 images in the same order, without a row of
    zeros. Returns scores (N N,) float64 and same (N N,) bool, which ``train.metrics.roc_auc`` sums up.
    """
    a, b = checked_features(features_a, "features_a"), checked_features(features_b, "features_b")
    check_pair_of_views(a, b)
    if len(a) < 2:
        raise ValueError("there must be at least two images, or no pair is of two different ones")
    cosines = UnitRows().forward(a) @ UnitRows().forward(b).T  # (N, N)
    return cosines.ravel(), np.eye(len(a), dtype=bool).ravel()


# ---- what arguments are


def check_embeddings(z1: Any, z2: Any) -> tuple[Tensor, Tensor]:
    z1, z2 = F.floating(z1), F.floating(z2)
    if z1.ndim != 2 or 0 in z1.shape:
        raise ValueError(f"embeddings must be rows (N, D), not empty, got {z1.shape}")
    check_pair_of_views(z1.data, z2.data)
    return z1, z2


def check_pair_of_views(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the two views must be rows of one shape (N, D), got {a.shape} and {b.shape}")
    for name, rows in (("first", a), ("second", b)):
        zeros = np.flatnonzero(~rows.any(axis=1))
        if zeros.size:
            raise ValueError(f"row {zeros[0]} of the {name} view is all zeros, which has no direction")


def check_training(images: np.ndarray, optimizer: Optimizer | None, schedule: Schedule | None) -> None:
    if images.ndim < 2 or images.dtype.kind != "f" or len(images) < 2:
        raise ValueError(f"images must be floating (M, ...), two at least, got {images.dtype} {images.shape}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}")
    if schedule is not None and not callable(schedule):
        raise TypeError(f"schedule must be a function of the step, got {schedule!r}")
