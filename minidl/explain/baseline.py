"""Baselines: images that mean "nothing there". Explanations compare with them."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_array, check_choice
from minidl.engine.random import default_rng_or

BaselineLike = float | np.ndarray | str


def baseline_images(
    images: np.ndarray, baseline: BaselineLike, rng: np.random.Generator | None = None
) -> np.ndarray:
    """The baseline of each of ``images`` (N, ...), an array of their shape and dtype.

    baseline: one number for all values; an array that broadcasts to the images, such as one image; "mean",
    the mean of each channel of each image (for rows, of each row); or "noise", all values drawn from
    U(0, 1) by ``rng``.
    Raises TypeError for another type, ValueError for another word, a shape that does not fit, or values that
    are not finite.
    """
    rng = default_rng_or(rng)
    if isinstance(baseline, str):
        if check_choice("baseline", baseline, ("mean", "noise")) == "noise":
            return rng.random(images.shape).astype(images.dtype)
        axes = tuple(range(min(2, images.ndim - 1), images.ndim))
        return np.broadcast_to(images.mean(axis=axes, keepdims=True), images.shape)
    largest = float(np.finfo(images.dtype).max)
    array = check_array("baseline", baseline, low=-largest, high=largest).astype(np.float64)
    try:
        return np.broadcast_to(array, images.shape).astype(images.dtype)
    except ValueError as error:
        message = f"baseline {array.shape} does not broadcast to the images {images.shape}"
        raise ValueError(message) from error
