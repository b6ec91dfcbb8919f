"""Right answers to the exercises of lesson 18, written from the stubs alone."""

from __future__ import annotations

import warnings

import numpy as np

from minidl.attack.gradient_sign import (
    LOSSES,
    checked_batch,
    gradient_at,
    is_flat,
    project,
)
from minidl.engine.backward import grad
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import eval_mode
from tests.lessons.right_answers.declare import right


@right("18.1")
def fgsm_step(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    step = eps * np.sign(gradient)
    moved = images - step if targeted else images + step
    return np.clip(moved, bounds[0], bounds[1])


@right("18.2")
def loss_gradient(model, images, labels, loss="cross_entropy"):
    x = Tensor(images, requires_grad=True)
    with eval_mode(model):
        J = LOSSES[loss](model(x), labels)
    gradient = gradient_at(x, J)
    if not np.isfinite(gradient).all():
        raise FloatingPointError("the gradient is not finite")
    return gradient


@right("18.3")
def penalised_loss(logits, r, target, lam):
    return -F.log_softmax(logits)[target] + lam * (r * r).sum()


@right("18.4")
def boundary_step(logits, gradients, answer):
    f = np.abs(logits - logits[answer])
    w = gradients - gradients[answer]
    best, r = np.inf, np.zeros_like(gradients[answer])
    for k in range(len(logits)):
        square = (w[k] ** 2).sum()
        if square > 0 and f[k] / np.sqrt(square) < best:
            best = f[k] / np.sqrt(square)
            r = f[k] / square * w[k]
    return r


@right("18.5")
def perturbation_loss(model, image, r, target, lam):
    r = Tensor(r.astype(image.dtype), requires_grad=True)
    with eval_mode(model):
        logits = model((r + image).reshape(1, *image.shape))[0]
    log_p = F.log_softmax(logits)[target].logsumexp(axis=0)
    loss = lam * (r * r).sum() - log_p
    return loss.item(), grad(loss, r)


@right("18.6")
def pgd(
    model,
    images,
    labels,
    eps,
    *,
    steps=10,
    step_size=None,
    random_start=True,
    targeted=False,
    bounds=(0, 1),
    loss="cross_entropy",
    rng=None,
):
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    if steps <= 0:
        raise ValueError("steps must be above 0")
    if step_size is None:
        step_size = 2.5 * eps / steps
    elif step_size <= 0:
        raise ValueError("step_size must be above 0")
    x = images
    if random_start:
        noise = default_rng_or(rng).uniform(-eps, eps, images.shape).astype(images.dtype)
        x = project(images + noise, images, eps, bounds)
    flat = np.ones(len(images), dtype=bool)
    for _ in range(steps):
        gradient = loss_gradient(model, x, labels, loss)
        flat &= is_flat(gradient)
        step = step_size * np.sign(gradient)
        x = project(x - step if targeted else x + step, images, eps, bounds)
    if flat.any():
        warnings.warn(f"the gradient was 0 at all steps for {flat.sum()} images", stacklevel=2)
    return x
