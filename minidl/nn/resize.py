"""Resize images, as functions (``F.interpolate``) and as modules (``nn.Upsample``)."""

from __future__ import annotations

import math
from typing import Any

from minidl.engine import reduce, resample
from minidl.engine.checks import check_choice, check_flag, check_number, int_pair, require, shown
from minidl.engine.tensor import Tensor, apply
from minidl.nn.inputs import floating_images
from minidl.nn.module import Module

IntOrPair = int | tuple[int, int]
Factor = float | tuple[float, float]


def adaptive_avg_pool2d(x: Any, output_size: IntOrPair = 1) -> Tensor:
    """The means of x (N, C, H, W) over output_size windows that cover the image.

    Size 1 gives the overall mean.

    >>> from minidl import nn
    >>> nn.functional.adaptive_avg_pool2d([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], output_size=(1, 2))
    Tensor([[[[3.5, 5.5]]]], float32)
    """
    x, out = floating_images(x), int_pair("output_size", output_size, 1)
    if out == (1, 1):
        return apply(reduce.Mean((2, 3), keepdims=True), x)
    rows, columns = (resample.mean_matrix(*sizes) for sizes in zip(x.shape[2:], out, strict=True))
    return apply(resample.Resample(rows, columns), x)


def interpolate(
    x: Any,
    size: IntOrPair | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize images (N, C, H, W) to ``size``, or to H and W times ``scale_factor``, rounded down.

    "nearest" copies pixels, "bilinear" weighs the four neighbours of each point. align_corners is for
    "bilinear": the outermost pixels keep their positions.

    >>> from minidl import nn
    >>> nn.functional.interpolate([[[[1, 2]]]], scale_factor=2)
    Tensor([[[[1., 1., 2., 2.], [1., 1., 2., 2.]]]], float32)
    """
    x = floating_images(x)
    sizes, factors = check_resize(size, scale_factor, mode, align_corners)
    if sizes is None:
        sizes = [math.floor(n * factor) for n, factor in zip(x.shape[2:], factors, strict=True)]
        require(min(sizes) > 0, f"scale_factor {factors} leaves no pixel of {x.shape}")
        steps = [1 / factor for factor in factors]
    else:
        steps = [n / new for n, new in zip(x.shape[2:], sizes, strict=True)]
    axes = list(zip(x.shape[2:], sizes, steps, strict=True))
    if mode == "nearest":
        rows, columns = (resample.nearest_places(*axis) for axis in axes)
        return x[:, :, rows[:, None], columns]
    rows, columns = (resample.linear_matrix(*axis, bool(align_corners)) for axis in axes)
    return apply(resample.Resample(rows, columns), x)


def check_resize(size: Any, scale_factor: Any, mode: str, align_corners: bool | None) -> tuple[Any, Any]:
    """``size`` and ``scale_factor`` as pairs. Exactly one of them must be None."""
    is_nearest = check_choice("mode", mode, ("nearest", "bilinear")) == "nearest"
    require(not is_nearest or align_corners is None, "align_corners is for mode 'bilinear'")
    if align_corners is not None:
        check_flag("align_corners", align_corners)
    require((size is None) != (scale_factor is None), "give size or scale_factor, and not both")
    if size is not None:
        return int_pair("size", size, 1), None
    pair = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    require(len(pair) == 2, f"scale_factor must be a number or a pair, got {shown(scale_factor)}")
    return None, tuple(check_number("scale_factor", factor, 0, 2**16) for factor in pair)


class Upsample(Module):
    """``F.interpolate`` as a module.

    >>> from minidl import nn
    >>> nn.Upsample(scale_factor=2)([[[[1, 2]]]])
    Tensor([[[[1., 1., 2., 2.], [1., 1., 2., 2.]]]], float32)
    """

    def __init__(
        self,
        size: IntOrPair | None = None,
        scale_factor: Factor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        self.size, self.scale_factor = check_resize(size, scale_factor, mode, align_corners)
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Any) -> Tensor:
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}, mode={self.mode!r}"
