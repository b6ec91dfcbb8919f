"""Right answers to the exercises of lesson 14, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.explain.baseline import baseline_images
from minidl.explain.gradients import gradient_by_rule
from minidl.explain.occlusion import scores, window_starts
from minidl.explain.target import images_and_target
from tests.lessons.right_answers.declare import right


@right("14.1")
def reduce_channels(gradients, reduce):
    if reduce == "max":
        return np.abs(gradients).max(axis=1)
    if reduce == "l2":
        return np.sqrt((gradients**2).sum(axis=1))
    return np.abs(gradients)


@right("14.2")
def average_over_windows(drops, size, window, stride):
    n, rows, columns = drops.shape
    total = np.zeros((n, *size), drops.dtype)
    count = np.zeros(size, drops.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            total[:, top : top + window[0], left : left + window[1]] += drops[:, i, j, None, None]
            count[top : top + window[0], left : left + window[1]] += 1
    if (count == 0).any():
        raise ValueError("no window covers a pixel")
    return total / count


@right("14.3")
def path_nodes(steps, nodes="gauss"):
    if steps < 1:
        raise ValueError("steps must be at least 1")
    if nodes == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    if nodes == "gauss":
        x, w = np.polynomial.legendre.leggauss(steps)
        return (x + 1) / 2, w / 2
    raise ValueError("nodes must be 'gauss' or 'midpoint'")


@right("14.4")
def occlusion_map(
    model, images, target=None, *, window=4, stride=2, baseline="mean", probability=False, rng=None
):
    images, target = images_and_target(model, images, target, maps=True, probability=probability)
    if isinstance(window, int):
        window = window, window
    if isinstance(stride, int):
        stride = stride, stride
    height, width = images.shape[2:]
    tops = window_starts(height, window[0], stride[0])
    lefts = window_starts(width, window[1], stride[1])
    fill = baseline_images(images, baseline, rng)
    uncovered = scores(model, images, target, probability)
    drops = np.zeros((len(images), len(tops), len(lefts)), images.dtype)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            inside = np.s_[:, :, top : top + window[0], left : left + window[1]]
            covered = images.copy()
            covered[inside] = fill[inside]
            drops[:, i, j] = uncovered - scores(model, covered, target, probability)
    return average_over_windows(drops, (height, width), window, stride)


@right("14.5")
def integrated_gradients(model, images, target=None, *, baseline=0.0, steps=64, nodes="gauss", rng=None):
    images, target = images_and_target(model, images, target)
    b = baseline_images(images, baseline, rng)
    slopes = np.zeros_like(images)
    for alpha, w in zip(*path_nodes(steps, nodes), strict=True):
        x = (b + alpha * (images - b)).astype(images.dtype)
        slopes += w * gradient_by_rule(model, x, target)
    return (images - b) * slopes
