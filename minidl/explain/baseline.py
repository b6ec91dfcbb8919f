"""What stands for "nothing there": the images that an explanation compares with."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_array, check_choice
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
        if check_choice("baseline", baseline, ("mean", "noise")) == "noise":
            return rng.random(images.shape).astype(images.dtype)
        axes = tuple(range(min(2, images.ndim - 1), images.ndim))
        return np.broadcast_to(images.mean(axis=axes, keepdims=True), images.shape)
    largest = float(np.finfo(images.dtype).max)
    array = check_array("baseline", baseline).astype(np.float64)
    array = check_array("baseline", array, low=-largest, high=largest)
    try:
        return np.broadcast_to(array, images.shape).astype(images.dtype)
    except ValueError as error:
        message = f"baseline {array.shape} does not broadcast to the images {images.shape}"
        raise ValueError(message) from error
