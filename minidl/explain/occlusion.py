"""Explanation by occlusion: cover a part of the image and measure how much f falls."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import require
from minidl.engine.conv import pair
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_softmax
from minidl.engine.tensor import Tensor
from minidl.explain.baseline import BaselineLike, baseline_images
from minidl.explain.target import (
    Target,
    TargetLike,
    images_and_target,
    layer_output,
    target_scores,
    with_bar,
)
from minidl.nn.module import Module
from minidl.train.metrics import batch_slices


def occlusion_map(
    model: Module,
    images: np.ndarray,
    target: TargetLike = None,
    *,
    window: int | tuple[int, int] = 4,
    stride: int | tuple[int, int] = 2,
    baseline: BaselineLike = "mean",
    probability: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """f(x) - f(x with one window covered), for windows all over the image (Zeiler and Fergus 2014).

    images: (N, C, H, W).
    target: what f is. One class or N classes: the logit of the class. A set of classes: they count as one
    class. None: the logit of the class predicted for the uncovered image. A tuple (layer, channel, p, q) or
    (layer, unit): the output of that unit.
    probability: f is the softmax of the class instead of its logit.
    window, stride: pixels, or (height, width). The windows start at 0, stride, 2 · stride, ... along each
    axis (``window_starts``). The last window is cut at the border.
    baseline: the values inside the window, in all channels: a number, an array, "mean" or "noise", which
    ``rng`` draws (``baseline_images``). The map depends on the choice.
    Returns: maps (N, H, W). Each pixel has the mean of f(x) - f(x covered) over the windows that cover the
    pixel. The map is positive where the image supports the target. Everything is computed in the images'
    dtype and in evaluation mode. The model, its mode and its ``.grad`` do not change.
    Raises ValueError for rows, a window larger than the image, a stride larger than the window (which would
    leave pixels uncovered), a target that the model does not have, and the probability of a unit.

    >>> from minidl import explain, nn
    >>> model, images = nn.models.small_cnn(10, 1), np.ones((2, 1, 8, 8))
    >>> explain.occlusion_map(model, images, target=3, window=4, stride=2).shape
    (2, 8, 8)
    """
    images, goal = images_and_target(model, images, target, maps=True, probability=probability)
    size = images.shape[2:]
    windows, strides = pair("window", window, 1), pair("stride", stride, 1)
    rows, columns = (window_starts(*sides) for sides in zip(size, windows, strides, strict=True))
    cover = baseline_images(images, baseline, rng)

    whole = scores(model, images, goal, probability)
    drops = np.empty((len(images), len(rows), len(columns)), images.dtype)
    places = [(i, j) for i in range(len(rows)) for j in range(len(columns))]
    for i, j in with_bar(places, "occlusion", "window"):
        down, across = slice(rows[i], rows[i] + windows[0]), slice(columns[j], columns[j] + windows[1])
        covered = images.copy()
        covered[:, :, down, across] = cover[:, :, down, across]
        drops[:, i, j] = whole - scores(model, covered, goal, probability)
    return average_over_windows(drops, size, windows, strides)


def scores(model: Module, images: np.ndarray, target: Target, probability: bool) -> np.ndarray:
    """f of each image, (N,)."""
    values = []
    for part in batch_slices(images):
        one = target.part(part)
        if probability:
            p = stable_softmax(layer_output(model, images[part], ""))
            require(not np.isnan(p).any(), "probabilities need finite logits")
            values.append(one.of(p).reshape(len(p), -1).sum(axis=1))  # a group has the sum of its classes
        else:
            with no_grad():
                values.append(target_scores(model, Tensor(images[part]), one).data)
    return np.concatenate(values)


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """The starts of the windows along ``size`` pixels: 0, stride, 2 stride, ... until a window reaches the
    end.

    The last window is cut at the end. Raises ValueError unless 1 <= stride <= window <= size.
    """
    fits = 1 <= stride <= window <= size
    require(fits, f"must be 1 <= stride <= window <= size, got {stride}, {window} and {size}")
    return list(range(0, size - window + stride, stride))


def average_over_windows(
    drops: np.ndarray, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """For each pixel, the mean of the drops of all windows that cover it.

    drops: (N, rows, columns), finite floats. drops[:, i, j] belongs to the window whose top left pixel is
    (i · stride[0], j · stride[1]). Windows are cut at the border of the image.
    size: (height, width) of the image.  window, stride: (height, width).
    Returns: (N, height, width), of the drops' dtype. Raises ValueError if no window covers a pixel.

    >>> average_over_windows(np.array([[[1.0, 3.0]]]), size=(1, 3), window=(1, 2), stride=(1, 1))
    array([[[1., 2., 3.]]])
    """
    total, count = np.zeros((len(drops), *size), drops.dtype), np.zeros(size, drops.dtype)
    for i, j in np.ndindex(drops.shape[1:]):
        top, left = i * stride[0], j * stride[1]
        covered = (slice(top, top + window[0]), slice(left, left + window[1]))
        total[(slice(None), *covered)] += drops[:, i, j, np.newaxis, np.newaxis]
        count[covered] += 1
    require(count.all(), f"drops must have a window for each pixel, got {drops.shape} windows of {window}")
    return total / count
