"""Convolution and pooling: Ops over images (N, C, H, W), whose loops are in kernels.py."""

from __future__ import annotations

import numpy as np

from minidl.engine import jit, kernels
from minidl.engine.checks import int_pair
from minidl.engine.op import Op

IntOrPair = int | tuple[int, int]


def pair(name: str, value: IntOrPair, least: int) -> tuple[int, int]:
    """(height, width) from a pair or from one number for both; ValueError where one is below ``least``."""
    return int_pair(name, value, least)


def conv_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many places a kernel has along one axis:

        floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1

    Raises ValueError where it has none, being larger than the padded image.
    """
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    if reach > padded:
        raise ValueError(
            f"the kernel is larger than the padded image: {reach} pixels (size {kernel}, dilation {dilation})"
            f" against {padded} (size {size}, padding {padding})"
        )
    return (padded - reach) // stride + 1


def check_images(x: np.ndarray) -> None:
    """Refuse what compiled loops would misread: they look at no bounds."""
    if x.ndim != 4 or x.size == 0:
        raise ValueError(f"expected images (N, C, H, W), none of the four 0, got {x.shape}")
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"expected images of float32 or float64, got {x.dtype}")


class Conv2d(Op):
    """y[n, o, r, s] = bias[o] + sum over c, i, j of
                    weight[o, c, i, j] x[n, c, r stride + i dilation, s stride + j dilation]

    Shapes: x (N, C, H, W), padded with zeros; weight (O, C/groups, kh, kw); bias (O,) or absent; y (N, O, OH,
    OW). The outputs of a group see its own C/groups channels. The patches of a sample become the columns of
    a matrix, so that all its sums are one product:

        y[n] = weight @ im2col(x[n]) + bias
        grad_x[n] = col2im(weight.T @ grad[n])      grad_weight = sum over n of grad[n] @ im2col(x[n]).T

    Columns take kh kw times the memory of x: backward makes them again instead of keeping them.
    """

    def __init__(
        self, stride: IntOrPair = 1, padding: IntOrPair = 0, dilation: IntOrPair = 1, groups: int = 1
    ) -> None:
        self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        self.dilation = pair("dilation", dilation, 1)
        if not isinstance(groups, int | np.integer):
            raise TypeError(f"groups must be an integer, got {groups!r}")
        if groups < 1:
            raise ValueError(f"groups must be at least 1, got {groups}")
        self.groups = groups

    def forward(self, x, weight, bias=None):
        out_h, out_w = self.output_size(x, weight, bias)
        self.x, self.weight, self.has_bias = np.ascontiguousarray(x), weight, bias is not None
        self.geometry = weight.shape[2:], self.stride, self.padding, self.dilation
        y = np.empty((len(x), len(weight), out_h, out_w), x.dtype)
        # A multiply-add takes 1/60 nanosecond, a number copied into the columns 1/4, a sample 500 besides.
        per_output = weight[0].size * (1 / 60 + self.groups / (4 * len(weight)))
        self.nanoseconds = y.size * per_output + 500 * len(x)
        bias = np.zeros(len(weight), x.dtype) if bias is None else bias
        weight_and_bias = np.append(self.by_group(weight), bias.reshape(self.groups, -1, 1), axis=2)
        jit.run(
            self.nanoseconds,
            (kernels.conv2d, len(x), *self.geometry, self.x, weight_and_bias, self.by_sample(y)),
        )
        return y

    def backward(self, grad):
        need_x, *need_others = self.needs or (True, True)
        samples, grad = len(grad), self.by_sample(grad)
        calls, grad_x, parts = [], None, None
        if need_x:
            grad_x = np.empty_like(self.x)
            arrays = grad, self.by_group(self.weight), grad_x
            calls.append((kernels.conv2d_grad_x, samples, *self.geometry, *arrays))
        if any(need_others):
            _, rows, out = self.by_group(self.weight).swapaxes(1, 2).shape
            parts = np.empty((min(samples, jit.PARTS), self.groups, rows + 1, out), grad.dtype)
            calls.append((kernels.conv2d_grad_weight, len(parts), *self.geometry, self.x, grad, parts))
        jit.run(len(calls) * self.nanoseconds, *calls)
        grad_weight, grad_bias = (None, None) if parts is None else self.sum_of(parts)
        return (grad_x, grad_weight, grad_bias) if self.has_bias else (grad_x, grad_weight)

    def sum_of(self, parts):
        """(parts, groups, C/groups kh kw + 1, O/groups) -> the gradients of weight and bias"""
        total = parts.sum(axis=0).swapaxes(1, 2)
        return total[:, :, :-1].reshape(self.weight.shape), total[:, :, -1].ravel()

    def by_group(self, weight):
        """(O, C/groups, kh, kw) -> (groups, O/groups, C/groups kh kw)"""
        return np.ascontiguousarray(weight).reshape(self.groups, -1, weight[0].size)

    def by_sample(self, y):
        """(N, O, OH, OW) -> (N, groups, O/groups, OH OW)"""
        samples, _, out_h, out_w = y.shape
        return np.ascontiguousarray(y).reshape(samples, self.groups, -1, out_h * out_w)

    def output_size(self, x, weight, bias):
        """(OH, OW), or the error that says what does not fit together."""
        check_images(x)
        if weight.ndim != 4 or weight.size == 0:
            raise ValueError(f"expected weight (O, C/groups, kh, kw), none of the four 0, got {weight.shape}")
        for name, array in (("weight", weight), ("bias", x if bias is None else bias)):
            if array.dtype != x.dtype:
                raise TypeError(f"expected {name} of x's dtype {x.dtype}, got {array.dtype}")
        channels, out_channels, groups = x.shape[1], weight.shape[0], self.groups
        if channels % groups or out_channels % groups:
            raise ValueError(f"{groups} groups must divide {channels} channels in and {out_channels} out")
        if weight.shape[1] != channels // groups:
            raise ValueError(
                f"expected weight (O, {channels // groups}, kh, kw) for {channels} channels"
                f" in {groups} groups, got {weight.shape}"
            )
        if bias is not None and bias.shape != (out_channels,):
            raise ValueError(f"expected bias ({out_channels},), one number for each output, got {bias.shape}")
        settings = self.stride, self.padding, self.dilation
        return [
            conv_output_size(*axis) for axis in zip(x.shape[2:], weight.shape[2:], *settings, strict=True)
        ]


class Pool2d(Op):
    """What both poolings share: windows of ``kernel_size``, side by side unless ``stride`` says otherwise."""

    def __init__(
        self, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0
    ) -> None:
        kernel_size = pair("kernel_size", kernel_size, 1)
        stride = kernel_size if stride is None else pair("stride", stride, 1)
        padding = pair("padding", padding, 0)
        if 2 * padding[0] > kernel_size[0] or 2 * padding[1] > kernel_size[1]:
            raise ValueError(f"padding must be at most half of kernel_size {kernel_size}, got {padding}")
        self.geometry = kernel_size, stride, padding

    def output_shape(self, x):
        check_images(x)
        sizes = [conv_output_size(*axis) for axis in zip(x.shape[2:], *self.geometry, strict=True)]
        return (*x.shape[:2], *sizes)


def planes(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N C, H, W), contiguous."""
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])


class MaxPool2d(Pool2d):
    """y = the largest value in each window of x (N, C, H, W); the margin of ``padding`` never wins.

    ``switches`` (N, C, OH, OW) keep where in its plane each was found, as row W + column: the first of
    equals, the last of NaNs, as in PyTorch. The gradient goes there.
    """

    def forward(self, x):
        self.x_shape = x.shape
        y = np.empty(self.output_shape(x), x.dtype)
        self.switches = np.empty(y.shape, np.int32)
        arrays = planes(x), planes(y), planes(self.switches)
        if self.geometry == ((2, 2), (2, 2), (0, 0)):
            jit.run(0.8 * x.size, (kernels.max_pool_2x2, len(arrays[0]), *arrays))
        else:
            jit.run(3 * x.size, (kernels.max_pool2d, len(arrays[0]), *self.geometry, *arrays))
        return y

    def backward(self, grad):
        grad_x = np.empty(self.x_shape, grad.dtype)
        arrays = [planes(a).reshape(len(grad) * grad.shape[1], -1) for a in (grad, self.switches, grad_x)]
        jit.run(0.4 * grad_x.size, (kernels.max_pool2d_backward, len(arrays[0]), *arrays))
        return grad_x


class AvgPool2d(Pool2d):
    """y = the mean of each window of x (N, C, H, W); the margin of ``padding`` counts as zeros."""

    def forward(self, x):
        self.x_shape = x.shape
        y = np.empty(self.output_shape(x), x.dtype)
        arrays = planes(x), planes(y)
        jit.run(2 * x.size, (kernels.avg_pool2d, len(arrays[0]), *self.geometry, *arrays))
        return y

    def backward(self, grad):
        grad_x = np.empty(self.x_shape, grad.dtype)
        arrays = planes(grad), planes(grad_x)
        jit.run(2 * grad_x.size, (kernels.avg_pool2d_backward, len(arrays[0]), *self.geometry, *arrays))
        return grad_x
