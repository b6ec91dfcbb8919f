"""What stands for "nothing there": the images that an explanation compares with."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import shown
from minidl.engine.random import default_rng_or

BaselineLike = float | np.ndarray | str


def baseline_images(
    images: np.ndarray, baseline: BaselineLike, rng: np.random.Generator | None = None
) -> np.ndarray:
    """The baseline of each of ``images`` (N, ...), an array of their shape and dtype.

    baseline: a number for every value; an array that broadcasts to the images, such as one image; "mean", of
    each image the mean of each channel (of rows, of each row); or "noise", each value drawn from
    U(0, 1) by ``rng``.
    Raises TypeError for another kind, ValueError for another word, a shape that does not fit, non-finite
    values.
    """
    rng = default_rng_or(rng)
    if isinstance(baseline, str):
        if baseline == "noise":
            return rng.random(images.shape).astype(images.dtype)
        if baseline == "mean":
            axes = tuple(range(min(2, images.ndim - 1), images.ndim))
            return np.broadcast_to(images.mean(axis=axes, keepdims=True), images.shape)
        raise ValueError(f'baseline must be a number, an array, "mean" or "noise", got {baseline!r}')
    array = numbers(baseline)
    fits = array.ndim <= images.ndim and all(
        side in (1, full) for side, full in zip(array.shape[::-1], images.shape[::-1], strict=False)
    )
    if not fits:
        raise ValueError(f"baseline {array.shape} does not broadcast to the images {images.shape}")
    if not (np.abs(array) <= np.finfo(images.dtype).max).all():
        raise ValueError(f"baseline must be finite in {images.dtype}, as the images are")
    return np.broadcast_to(array, images.shape).astype(images.dtype)


def numbers(baseline: Any) -> np.ndarray:
    array = np.asarray(baseline)
    if array.dtype.kind not in "fiu":
        raise TypeError(f'baseline must be a number, an array, "mean" or "noise", got {shown(baseline)}')
    return array
