"""Right answers to the exercises of lesson 07, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.engine.functions import concatenate
from minidl.engine.op import Op
from minidl.engine.tensor import apply
from tests.lessons.right_answers.declare import right


@right("07.1")
def same_or_not(features_a, features_b):
    if features_a.shape != features_b.shape or len(features_a) < 2:
        raise ValueError("two views of at least two images, please")
    a, b = features_a.astype(np.float64), features_b.astype(np.float64)
    lengths_a, lengths_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    if (lengths_a == 0).any() or (lengths_b == 0).any():
        raise ValueError("a row of zeros has no direction")
    scores = (a @ b.T) / np.outer(lengths_a, lengths_b)
    same = np.eye(len(a), dtype=bool)
    return scores.ravel(), same.ravel()


@right("07.2")
def roc_auc(scores, positive):
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive)
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    if positive.all() or not positive.any():
        raise ValueError("both positive and negative examples are needed")
    s_i, s_j = scores[positive][:, None], scores[~positive][None, :]
    return float(np.mean((s_i > s_j) + 0.5 * (s_i == s_j)))


@right("07.3")
class UnitRows(Op):
    def forward(self, z):
        z64 = z.astype(np.float64)
        self.length = np.sqrt((z64**2).sum(axis=1, keepdims=True))
        self.u = z64 / self.length
        return self.u.astype(z.dtype)

    def backward(self, grad):
        along = (self.u * grad).sum(axis=1, keepdims=True)
        return ((grad - self.u * along) / self.length).astype(grad.dtype)


@right("07.4")
def nt_xent(z1, z2, temperature):
    if temperature <= 0:
        raise ValueError("the temperature must be above 0")
    if z1.shape != z2.shape:
        raise ValueError("the two views have different shapes")
    rows = concatenate([z1, z2])
    if (rows.data == 0).all(axis=1).any():
        raise ValueError("a row of zeros has no direction")
    u = apply(UnitRows(), rows)
    N = len(z1)
    S = (u @ u.T) / temperature
    i = np.arange(2 * N)
    others = S[i[:, None] != i].reshape(2 * N, 2 * N - 1)  # row i without column i
    return (others.logsumexp(axis=1) - S[i, (i + N) % (2 * N)]).mean()


@right("07.5")
def simclr_steps(model, images, augment, *, steps, lr, temperature, rng):
    if len(images) < 2:
        raise ValueError("at least two images are needed")
    if steps < 1:
        raise ValueError("at least one step is needed")
    if temperature <= 0:
        raise ValueError("the temperature must be above 0")
    model.train()
    losses = []
    for _ in range(steps):
        view1 = augment(images.copy(), rng)
        view2 = augment(images.copy(), rng)
        model.zero_grad()
        loss = nt_xent(model(view1), model(view2), temperature)
        loss.backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data -= lr * parameter.grad
        losses.append(loss.item())
    return np.array(losses)
