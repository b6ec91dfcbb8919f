"""Layers that pool the pixels of images, or pad them."""

from __future__ import annotations

from typing import Any

from minidl.engine import conv
from minidl.engine.checks import check_flag, check_ints, int_pair
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.functional import IntOrPair, Stride
from minidl.nn.layers import short
from minidl.nn.module import Module


class MaxPool2d(Module):
    """The largest value of each window; the windows are side by side if ``stride`` is None.

    >>> from minidl import nn
    >>> nn.MaxPool2d(2)([[[[1, 2, 3, 4], [5, 6, 7, 8]]]])
    Tensor([[[[6., 8.]]]], float32)
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: Stride = None,
        padding: IntOrPair = 0,
        *,
        ceil_mode: bool = False,
    ) -> None:
        op = conv.Pool2d(kernel_size, stride, padding, ceil_mode)
        (self.kernel_size, self.stride, self.padding), self.ceil_mode = op.geometry, op.ceil_mode

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)

    def extra_repr(self) -> str:
        padding = f", padding={short(self.padding)}" if self.padding != (0, 0) else ""
        ceil_mode = ", ceil_mode=True" if self.ceil_mode else ""
        return f"{short(self.kernel_size)}, stride={short(self.stride)}{padding}{ceil_mode}"


class AvgPool2d(MaxPool2d):
    """The mean of each window. Padding counts as zeros unless ``count_include_pad`` is False.

    >>> from minidl import nn
    >>> nn.AvgPool2d(2)([[[[1, 2, 3, 4], [5, 6, 7, 8]]]])
    Tensor([[[[3.5, 5.5]]]], float32)
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: Stride = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = check_flag("count_include_pad", count_include_pad)

    def forward(self, x: Any) -> Tensor:
        window = self.kernel_size, self.stride, self.padding
        return F.avg_pool2d(x, *window, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.count_include_pad else ", count_include_pad=False")


class AdaptiveAvgPool2d(Module):
    """Means over windows that cover the image: (N, C, H, W) gives (N, C, *output_size).

    >>> from minidl import nn
    >>> nn.AdaptiveAvgPool2d((1, 2))([[[[1, 2, 3, 4], [5, 6, 7, 8]]]])
    Tensor([[[[3.5, 5.5]]]], float32)
    """

    def __init__(self, output_size: IntOrPair = 1) -> None:
        self.output_size = int_pair("output_size", output_size, 1)

    def forward(self, x: Any) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return short(self.output_size)


class ZeroPad2d(Module):
    """Images (N, C, H, W) with zeros around them. ``padding``: one number, or (left, right, top, bottom).

    >>> from minidl import nn
    >>> nn.ZeroPad2d((1, 0, 0, 1))([[[[1, 2]]]])  # one column on the left, one row below
    Tensor([[[[0., 1., 2.], [0., 0., 0.]]]], float32)
    """

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        self.padding = check_ints("padding", padding, 0, count=4)

    def sides(self, height: int, width: int) -> tuple[int, ...]:
        """(left, right, top, bottom) for an image of that size."""
        return self.padding

    def forward(self, x: Any) -> Tensor:
        x = F.floating_images(x)
        return F.pad(x, self.sides(*x.shape[2:]))

    def extra_repr(self) -> str:
        return f"{self.padding}"
