"""Resize images: one matrix resamples each axis, y = rows @ x @ columns.T."""

from __future__ import annotations

import numpy as np

from minidl.engine.op import Op


class Resample(Op):
    """y = rows @ x @ columns.T for each image.  Shapes (..., H, W), (out_h, H), (out_w, W) give (..., out_h,
    out_w).

    A sum leaves out the pixels of weight 0: 0 times an infinite pixel, or an infinite gradient, would be NaN.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray) -> None:
        self.rows, self.columns = rows, columns

    def forward(self, x):
        return resampled(x, self.rows, self.columns)

    def backward(self, grad):
        return resampled(grad, self.rows.T, self.columns.T)


def resampled(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """rows @ x @ columns.T, without the products whose weight is 0."""
    for weights in (rows.astype(x.dtype), columns.astype(x.dtype)):
        y = np.empty((*x.shape[:-2], x.shape[-1], len(weights)), x.dtype)  # each pass also swaps the two axes
        for i, row in enumerate(weights):
            pixels = np.flatnonzero(row)
            y[..., i] = row[pixels] @ x[..., pixels, :]
        x = y
    return x


def nearest_places(size: int, out: int, step: float) -> np.ndarray:
    """The index of the pixel (of ``size``) that each of ``out`` pixels copies: floor(i step), in float32 as
    in PyTorch.

    If out is size or 2 size, the step is exactly 1 or 1/2, even if the given factor was slightly different.
    """
    step = size / out if out in (size, 2 * size) else step
    places = np.floor(np.arange(out, dtype=np.float32) * np.float32(step)).astype(np.int64)
    return np.minimum(places, size - 1)


def linear_matrix(size: int, out: int, step: float, align_corners: bool = False) -> np.ndarray:
    """The weights (out, size) of linear interpolation between the two pixels around each place.

    Pixel i lies at (i + 1/2) step - 1/2, not below 0. With ``align_corners`` pixel i lies at
    i (size - 1) / (out - 1), so that the outermost pixels keep their positions. If out is size, nothing
    changes.
    """
    i, step = np.arange(out), 1.0 if out == size else step
    place = i * ((size - 1) / max(out - 1, 1)) if align_corners else np.maximum((i + 0.5) * step - 0.5, 0)
    lower = np.minimum(place.astype(np.int64), size - 1)
    upper = np.minimum(lower + 1, size - 1)
    share = place - lower  # of the upper pixel
    weights = np.zeros((out, size))
    np.add.at(weights, (i, lower), 1 - share)
    np.add.at(weights, (i, upper), share)
    return weights


def mean_matrix(size: int, out: int) -> np.ndarray:
    """The weights (out, size) of means over ``out`` windows that cover ``size`` pixels.

    Window i goes from floor(i size / out) up to ceil((i + 1) size / out); neighbours may overlap by a pixel.
    """
    weights = np.zeros((out, size))
    for i in range(out):
        start, end = i * size // out, -(-(i + 1) * size // out)
        weights[i, start:end] = 1 / (end - start)
    return weights
