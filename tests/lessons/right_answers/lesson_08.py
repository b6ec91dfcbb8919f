"""Right answers to the exercises of lesson 08, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.nn import functional as F
from tests.lessons.right_answers.declare import right


@right("08.1")
def warmed_up(schedule, warmup_steps, step):
    if step < warmup_steps:
        return schedule(0) * (step + 1) / warmup_steps
    return schedule(step - warmup_steps)


@right("08.2")
def smooth_labels(target, label_smoothing):
    if label_smoothing < 0 or label_smoothing > 1:
        raise ValueError("label_smoothing must be within 0 ... 1")
    return (1 - label_smoothing) * target + label_smoothing / target.shape[-1]


@right("08.3")
def cross_entropy_gradient(p, target, temperature=1.0):
    return (p * target.sum(axis=1, keepdims=True) - target) / temperature


@right("08.4")
def careful_steps(model, images, labels, *, steps, lr, warmup_steps, label_smoothing, sigma, rng):
    if steps < 1:
        raise ValueError("at least one step is needed")
    if warmup_steps < 0 or sigma < 0:
        raise ValueError("warmup_steps and sigma must not be below 0")
    if not 0 <= label_smoothing <= 1:
        raise ValueError("label_smoothing must be within 0 ... 1")
    if (labels < 0).any():
        raise ValueError("a label is not a class")
    model.train()
    losses = []
    for t in range(steps):
        noisy = images + sigma * rng.standard_normal(images.shape)
        model.zero_grad()
        loss = F.cross_entropy(model(noisy), labels, label_smoothing=label_smoothing)
        loss.backward()
        rate = lr * (t + 1) / warmup_steps if t < warmup_steps else lr
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.data -= rate * parameter.grad
        losses.append(loss.item())
    return np.array(losses)
