"""Contrastive learning (SimCLR): learn features without labels, by finding the views of the same image.

A view is a randomly distorted image. Two views of one image should have similar features; views of two
different images should not. So the features learn to ignore the distortions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.data.augment import Augment
from minidl.engine.checks import (
    check_array,
    check_function,
    check_instance,
    check_int,
    check_temperature,
    float_images,
    require,
)
from minidl.engine.functions import concatenate
from minidl.engine.op import Op
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor, apply
from minidl.nn import functional as F
from minidl.nn.containers import Sequential
from minidl.nn.layers import Linear, ReLU
from minidl.nn.module import Module
from minidl.train.evaluation import History
from minidl.train.loop import fit, optimizer_for
from minidl.train.optim import Optimizer
from minidl.train.schedules import Schedule
from minidl.transfer.features import checked_features

# ---- two views


def two_views(
    images: np.ndarray, augment: Augment, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Each image distorted twice, by independent draws: two arrays in the shape of ``images``.

    Row i of both arrays shows the same image.  augment: ``augment(images, rng)``; it gets a copy each time.

    >>> from minidl import data, transfer
    >>> a, b = transfer.two_views(np.zeros((4, 1, 8, 8)), data.gaussian_noise(0.1))
    >>> a.shape, bool((a == b).all())
    ((4, 1, 8, 8), False)
    """
    check_function("augment", augment, "images and rng")
    images, rng = float_images("images", images), default_rng_or(rng)
    views = augment(images.copy(), rng), augment(images.copy(), rng)
    for view in views:
        check_instance("the result of augment", view, np.ndarray)
        check_array("the result of augment", view, *images.shape, finite=False)
    return views


# ---- the loss


class UnitRows(Op):
    """u = z / |z| for each row of z (N, D);  dL/dz = (g - u (u . g)) / |z|,  where g = dL/du is ``grad``

    The gradient has no part along u, because the length of a row does not change its direction. Both results
    keep the dtype of z. In float32, rows of 1e30, 1e-22 and 1e-35 have a direction, too, although float32 has
    no room for their squares, or not for all digits of them.
    """

    def forward(self, z):
        # divide by the largest first, so that no square overflows
        largest = np.abs(z).max(axis=1, keepdims=True)
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))  # (N, 1)
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        along = (self.u * grad).sum(axis=1, keepdims=True)
        return (grad - self.u * along) / self.length


def nt_xent(z1: Any, z2: Any, temperature: float) -> Tensor:
    """SimCLR's loss for embeddings of two views. Row i of z1 and row i of z2 belong to the same image.

        u = the 2N rows of z1 and z2, each divided by its length        S = u u^T
        L = mean over the 2N rows i of  -log( e^(S[i, p]/T) / sum over k != i of e^(S[i, k]/T) )

    Row p is the other view of row i's image. So L is the cross-entropy of finding p among the 2N - 1 other
    rows. ``apply(UnitRows(), rows)`` and ``concatenate([z1, z2])`` give Tensors with gradients. A row can be
    as short as for ``UnitRows``.
    z1, z2: Tensors or arrays (N, D), N >= 1. The loss has the dtype of the Tensors.  temperature T > 0, also
    if it is as small as 1e-30.
    ValueError for a row of zeros, which has no direction, for views of different shapes, and for T <= 0.
    Source: Chen et al. 2020, arXiv:2002.05709, "normalized temperature-scaled cross entropy".

    >>> from minidl import transfer
    >>> z1 = z2 = np.array([[1, 0], [0, 1]])  # two images, whose two views are the same
    >>> round(transfer.nt_xent(z1, z2, temperature=1.0).item(), 3)  # log(1 + 2/e)
    0.551
    """
    z1, z2 = F.floating(z1, z2), F.floating(z2, z1)
    check_views(z1.data, z2.data)
    n = len(z1)
    u = apply(UnitRows(), concatenate([z1, z2]))  # (2N, D)
    others = ~np.eye(2 * n, dtype=bool)
    S = (u @ u.T)[others].reshape(2 * n, 2 * n - 1)  # without the diagonal: a row is not its own alternative
    partner = np.concatenate([np.arange(n, 2 * n) - 1, np.arange(n)])  # i + n is past the own column
    return F.cross_entropy(S, partner, temperature=temperature)


def partners_found(z1: np.ndarray, z2: np.ndarray) -> float:
    """The fraction of the 2N rows where the most similar of the other 2N - 1 rows is the partner."""
    u = UnitRows().forward(np.concatenate([z1, z2]))
    S = u @ u.T
    np.fill_diagonal(S, -np.inf)
    return float(np.mean(S.argmax(axis=1) == np.roll(np.arange(len(u)), len(z1))))


# ---- the training


class ProjectionHead(Module):
    """fc1, relu, fc2: from features (N, in) to the embeddings (N, out) for ``nt_xent``.

    It is trained with the encoder and later removed. The loss removes information from the embeddings; the
    features before the head keep more of it (Chen et al. 2020, section 4.2).

    >>> from minidl import transfer
    >>> transfer.ProjectionHead(64, 32, 16)
    ProjectionHead(
      (fc1): Linear(64, 32)
      (relu): ReLU()
      (fc2): Linear(32, 16)
    )
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
    images: (M, ...).  batch_size: images per step, at least two, because one image has no others to compare
    with; an epoch skips a last smaller batch.  optimizer: for the parameters of both, Adam(lr=3e-3) if None.
    The rest is as in ``fit`` with its own step.

    In the history, accuracy is the mean of ``partners_found`` over the batches. An embedding of zeros raises
    ValueError.

    >>> from minidl import data, nn, transfer
    >>> encoder, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), transfer.ProjectionHead(16, 16, 8)
    >>> images, augment = np.random.default_rng(0).random((8, 1, 8, 8)), data.gaussian_noise(0.1)
    >>> len(transfer.train_simclr(encoder, images, head=head, augment=augment, epochs=2, batch_size=4))
    2
    """
    images = float_images("images", images)
    require(images.ndim > 1 and len(images) > 1, f"images must be (M, ...), at least two, got {images.shape}")
    check_temperature(temperature), check_function("augment", augment, "images and rng")
    batch_size, rng = min(check_int("batch_size", batch_size, 2), len(images)), default_rng_or(rng)
    check_instance("encoder", encoder, Module), check_instance("head", head, Module)
    model = Sequential({"encoder": encoder, "head": head})
    optimizer = optimizer_for(model, optimizer)
    for part in (encoder, head):
        if part is encoder or any(p.requires_grad for p in part.parameters()):
            optimizer_for(part, optimizer)  # which must hold parameters of both parts

    def step(model: Module, batch: np.ndarray, _: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        z1, z2 = map(model, two_views(batch, augment, rng))
        return nt_xent(z1, z2, temperature), {"accuracy": partners_found(z1.data, z2.data)}

    return fit(
        model,
        (images, np.zeros(len(images))),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        step=step,
        drop_last=True,
        rng=rng,
        progress=progress,
    )


# ---- the lecture's question


def same_or_not(features_a: np.ndarray, features_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare every row of one view with every row of the other: cosine, and whether the image is the same.

        scores[i N + j] = a_i . b_j / (|a_i| |b_j|)        same[i N + j] = (i == j)

    features_a, features_b: (N, D) of two views of the same N images in the same order. Returns scores (N N,)
    and same (N N,) bool, for ``train.metrics.roc_auc``. The scores are computed in float64:
    ``checked_features`` gives rows in float64, ``UnitRows().forward(rows)`` divides rows by their lengths.
    ValueError for fewer than two images, for views of different shapes, and for a row of zeros, which has no
    direction.

    >>> from minidl import transfer
    >>> scores, same = transfer.same_or_not(np.array([[1, 0], [0, 1]]), np.array([[1, 0], [1, 1]]))
    >>> print(scores.round(3), same)
    [1.    0.707 0.    0.707] [ True False False  True]
    """
    a, b = checked_features(features_a, "features_a"), checked_features(features_b, "features_b")
    check_views(a, b)
    require(len(a) > 1, "there must be at least two images: otherwise no pair shows different images")
    cosines = UnitRows().forward(a) @ UnitRows().forward(b).T  # (N, N)
    return cosines.ravel(), np.eye(len(a), dtype=bool).ravel()


# ---- what arguments are


def check_views(a: np.ndarray, b: np.ndarray) -> None:
    shape = check_array("the first view", a, "N", "D", finite=False).shape
    check_array("the second view", b, *shape, finite=False)
    for name, rows in (("first", a), ("second", b)):
        some = rows.any(axis=1)
        require(some.all(), f"row {some.argmin()} of the {name} view is all zeros, which has no direction")
