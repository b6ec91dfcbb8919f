"""Convolution and pooling: Ops over images (N, C, H, W), whose loops are in kernels.py."""

from __future__ import annotations

import numpy as np

from minidl.engine import depthwise_kernels, jit, kernels, pool_kernels
from minidl.engine.checks import check_flag, int_pair, positive_int, require
from minidl.engine.op import Op
from minidl.engine.reduce import sum_by_channel

IntOrPair = int | tuple[int, int]


def pair(name: str, value: IntOrPair, least: int) -> tuple[int, int]:
    """(height, width) from a pair, or from one number for both.

    Raises ValueError for a number below ``least``.
    """
    return int_pair(name, value, least)


def conv_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """The number of positions of a kernel along one axis of an image:

        floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1

    size and kernel are numbers of pixels; ``padding`` pixels are added on each side. With dilation d, every
    d-th pixel is under the kernel. Raises ValueError if the kernel is larger than the padded image.

    >>> from minidl.engine.conv import conv_output_size
    >>> conv_output_size(8, kernel=3, stride=2, padding=1)
    4
    """
    padded, reach = size + 2 * padding, dilation * (kernel - 1) + 1
    sizes = f"{reach} pixels (size {kernel}, dilation {dilation})"
    limit = f"{padded} (size {size}, padding {padding})"
    require(reach <= padded, f"the kernel is larger than the padded image: {sizes} against {limit}")
    return (padded - reach) // stride + 1


def check_images(x: np.ndarray) -> None:
    """Refuse bad shapes and dtypes here, because the compiled loops check no bounds."""
    require(x.ndim == 4 and x.size > 0, f"expected images (N, C, H, W), all at least 1, got {x.shape}")
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"expected images of float32 or float64, got {x.dtype}")


CACHED = 2**17  # size of the columns of one product, small enough for the processor's cache
FEW_PLACES = 128  # samples with fewer output pixels are multiplied together, as one matrix


def most_cuts(channels: int, most: int) -> int:
    """The number of equal parts for ``channels``: at most ``most``, each part with 32 channels or more."""
    return max(
        cuts for cuts in range(1, most + 1) if channels % cuts == 0 and (cuts == 1 or channels >= 32 * cuts)
    )


def products(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> tuple:
    """The call y[n] = weight @ x[n] + bias for ``jit.run``. Less than 4 samples are also split by outputs."""
    samples, cuts = len(x), most_cuts(len(weight), 4) if len(x) < 4 else 1
    out, places = len(weight), y[0, 0].size
    arrays = x.reshape(samples, -1, places), weight.reshape(cuts, -1, weight.shape[1]), bias.reshape(cuts, -1)
    return kernels.pointwise, samples * cuts, *arrays, y.reshape(samples, cuts, out // cuts, places)


class Conv2d(Op):
    """y[n, o, r, s] = bias[o] + sum over c, i, j of
                    weight[o, c, i, j] x[n, c, r stride + i dilation, s stride + j dilation]

    Shapes: x (N, C, H, W), padded with zeros; weight (O, C/groups, kh, kw); bias (O,) or absent; y (N, O, OH,
    OW). The outputs of a group read only the C/groups channels of that group. Patches become the columns of
    a matrix, so that one product computes many sums:

        y[n] = weight @ im2col(x[n]) + bias
        grad_x[n] = col2im(weight.T @ grad[n])      grad_weight = sum over n of grad[n] @ im2col(x[n]).T

    The columns take kh kw times the memory of x, so backward makes them again. ``way`` chooses how:

        "banded"     a band of a sample's rows at a time, which stays in the cache
        "deep"       the whole batch at once, if weights outnumber columns: one product reads each weight once
        "pointwise"  no columns, for a kernel of 1 x 1: a sample is its own columns
        "depthwise"  no columns, for groups of one channel: their sums are too short for a product
    """

    def __init__(
        self, stride: IntOrPair = 1, padding: IntOrPair = 0, dilation: IntOrPair = 1, groups: int = 1
    ) -> None:
        self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        self.dilation = pair("dilation", dilation, 1)
        self.groups = positive_int("groups", groups)

    def forward(self, x, weight, bias=None):
        out_h, out_w = self.output_size(x, weight, bias)
        self.x, self.weight, self.has_bias = np.ascontiguousarray(x), weight, bias is not None
        self.geometry = weight.shape[2:], self.stride, self.padding, self.dilation
        y = np.empty((len(x), len(weight), out_h, out_w), x.dtype)
        # Nanoseconds: 1/60 for a multiply-add, 1/4 for a number copied into the columns, 500 for a sample.
        per_output = weight[0].size * (1 / 60 + self.groups / (4 * len(weight)))
        self.nanoseconds = y.size * per_output + 500 * len(x)
        bias = np.zeros(len(weight), x.dtype) if bias is None else np.ascontiguousarray(bias)
        way = self.way(y)
        if way == "deep":
            product = jit.matmul(self.taps(weight), self.all_columns(out_h * out_w)) + bias[:, np.newaxis]
            y[:] = product.reshape(len(weight), len(x), out_h, out_w).swapaxes(0, 1)
        else:
            jit.run(self.nanoseconds, self.call_for_y(way, bias, y))
        return y

    def backward(self, grad):
        need_x, need_weight, *need_bias = self.needs if self.has_bias else (*self.needs[:2], False)
        grad, way = np.ascontiguousarray(grad), self.way(grad)
        grad_x = grad_weight = grad_bias = parts = None
        calls = []
        if need_x and (way == "deep" or (way == "banded" and len(grad) == self.groups == 1)):
            grad_x = self.collect(jit.matmul(self.taps(self.weight).T, self.by_output(grad)))
        elif need_x:
            grad_x = np.empty_like(self.x)
            calls.append(self.call_for_x(way, grad, grad_x))
        if need_weight and way == "deep":
            product = jit.matmul(self.by_output(grad), self.all_columns(grad[0, 0].size).T)
            grad_weight = product.reshape(self.weight.shape)
        elif need_weight:
            call, parts = self.call_for_weight(way, grad, any(need_bias))
            calls.append(call)
        jit.run(len(calls) * self.nanoseconds, *calls)
        if parts is not None:
            grad_weight, grad_bias = self.sums_of(way, parts)
        if any(need_bias) and grad_bias is None:
            grad_bias = sum_by_channel(grad)
        return (grad_x, grad_weight, grad_bias) if self.has_bias else (grad_x, grad_weight)

    def way(self, y):
        """How the sums of an output like ``y`` are computed: one of the four names of the class docstring."""
        places = y[0, 0].size
        if self.groups > 1:
            return "depthwise" if self.weight.shape[1] == 1 else "banded"
        if self.geometry == ((1, 1), (1, 1), (0, 0), (1, 1)) and (len(y) == 1 or places >= FEW_PLACES):
            return "pointwise"
        return "deep" if y.shape[1] >= len(y) * places else "banded"

    def call_for_y(self, way, bias, y):
        """The call that computes ``y``, for ``jit.run``."""
        if way == "depthwise":
            call = depthwise_kernels.depthwise, y.shape[0] * y.shape[1], self.geometry
            return *call, self.x, self.taps(self.weight), bias, y
        if way == "pointwise":
            return products(self.x, self.taps(self.weight), bias, y)
        matrices, rows = self.by_group(self.weight), self.rows(y)
        if self.has_bias:
            matrices = np.append(matrices, bias.reshape(self.groups, -1, 1), axis=2)
        call = kernels.conv2d, len(y) * -(-y.shape[2] // rows), self.geometry, (rows, y.shape[3])
        return *call, self.x, matrices, self.by_sample(y)

    def sums_of(self, way, parts):
        """Sum the parts of ``call_for_weight``: the gradient of weight, and of bias if the parts hold it."""
        total, patch = parts[0] if len(parts) == 1 else parts.sum(axis=0), self.weight[0].size
        if way == "depthwise":
            return total.reshape(self.weight.shape), None
        grad_weight = total[:, :patch].swapaxes(1, 2).reshape(self.weight.shape)
        return grad_weight, total[:, patch].ravel() if total.shape[1] > patch else None

    def call_for_x(self, way, grad, grad_x):
        """The call that computes ``grad_x``, for ``jit.run``."""
        samples, channels = grad_x.shape[:2]
        if way == "depthwise":
            call = depthwise_kernels.depthwise_grad_x, samples * channels, self.geometry
            return *call, grad, self.taps(self.weight), grad_x
        if way == "pointwise":
            weight = np.ascontiguousarray(self.taps(self.weight).T)
            return products(grad, weight, np.zeros(channels, grad.dtype), grad_x)
        call = kernels.conv2d_grad_x, samples, self.geometry
        return *call, self.by_sample(grad), self.by_group(self.weight), grad_x

    def call_for_weight(self, way, grad, with_bias):
        """The call for ``jit.run``, and the parts that it computes. Their sum is the gradient of ``weight``.

        The parts are (1, O, kh kw) or (parts, groups, C/groups kh kw + with_bias, O/groups).
        """
        out = grad.shape[1]
        if way == "depthwise":
            parts = np.empty((1, out, self.weight[0].size), grad.dtype)
            call = depthwise_kernels.depthwise_grad_weight, out, self.geometry
            return (*call, self.x, grad, parts[0]), parts
        rows = self.rows(grad)
        count = min(len(grad) * -(-grad.shape[2] // rows), jit.PARTS)
        height = self.weight[0].size + with_bias
        parts = np.empty((count, self.groups, height, out // self.groups), grad.dtype)
        call = kernels.conv2d_grad_weight, count, self.geometry, (rows, grad.shape[3])
        return (*call, self.x, self.by_sample(grad), parts), parts

    def rows(self, y):
        """The number of rows in a band: few, so that a band fits the cache and threads can share a sample."""
        samples, _, out_h, out_w = y.shape
        shares = 4 if samples < 4 and out_h * out_w >= FEW_PLACES else 1
        most = max(1, min(-(-out_h // shares), CACHED // (self.weight[0].size * out_w)))
        return min(range(most, most // 2, -1), key=lambda rows: -out_h % rows)  # with a full last band

    def all_columns(self, places):
        """The columns (C kh kw, N OH OW) of the whole batch."""
        (top, left), im2col = self.padding, jit.compiled(kernels.im2col)
        padded = np.pad(self.x, ((0, 0), (0, 0), (top, top), (left, left)))
        columns = np.empty((len(self.x), self.weight[0].size, places), self.x.dtype)
        for n in range(len(self.x)):
            im2col(padded[n], self.geometry[0], self.stride, self.dilation, columns[n])
        return columns.swapaxes(0, 1).reshape(self.weight[0].size, -1)

    def collect(self, columns):
        """The adjoint of ``all_columns``."""
        samples, channels, height, width = self.x.shape
        (top, left), col2im = self.padding, jit.compiled(kernels.col2im)
        by_sample = np.ascontiguousarray(columns.reshape(len(columns), samples, -1).swapaxes(0, 1))
        padded = np.empty((samples, channels, height + 2 * top, width + 2 * left), columns.dtype)
        for n in range(samples):
            col2im(by_sample[n], self.geometry[0], self.stride, self.dilation, padded[n])
        return np.ascontiguousarray(padded[:, :, top : top + height, left : left + width])

    def by_output(self, y):
        """(N, O, OH, OW) -> (O, N OH OW)"""
        return y.swapaxes(0, 1).reshape(y.shape[1], -1)

    def by_sample(self, y):
        """(N, O, OH, OW) -> (N, groups, O/groups, OH OW)"""
        return y.reshape(len(y), self.groups, -1, y[0, 0].size)

    def taps(self, weight):
        """(O, C/groups, kh, kw) -> (O, C/groups kh kw)"""
        return np.ascontiguousarray(weight).reshape(len(weight), -1)

    def by_group(self, weight):
        """(O, C/groups, kh, kw) -> (groups, O/groups, C/groups kh kw)"""
        return np.ascontiguousarray(weight).reshape(self.groups, -1, weight[0].size)

    def output_size(self, x, weight, bias):
        """(OH, OW), or an error that says which shapes do not fit."""
        check_images(x)
        full = weight.ndim == 4 and weight.size > 0
        require(full, f"expected weight (O, C/groups, kh, kw), all at least 1, got {weight.shape}")
        channels, out, groups = x.shape[1], weight.shape[0], self.groups
        divides = channels % groups == out % groups == 0
        require(divides, f"{groups} groups must divide {channels} channels in and {out} out")
        wanted = f"weight (O, {channels // groups}, kh, kw) for {channels} channels in {groups} groups"
        require(weight.shape[1] == channels // groups, f"expected {wanted}, got {weight.shape}")
        fits = bias is None or bias.shape == (out,)
        require(fits, f"expected bias ({out},), one number for each output, got {np.shape(bias)}")
        for name, array in (("weight", weight), ("bias", x if bias is None else bias)):
            same, got = array.dtype == x.dtype, array.dtype.type.__name__  # str(dtype) takes microseconds
            require(same, f"expected {name} of x's dtype {x.dtype.type.__name__}, got {got}", TypeError)
        settings = self.stride, self.padding, self.dilation
        return [
            conv_output_size(*axis) for axis in zip(x.shape[2:], weight.shape[2:], *settings, strict=True)
        ]


class Pool2d(Op):
    """The part that both poolings share: windows of ``kernel_size``, side by side unless ``stride`` is given.

    ceil_mode: the last window may reach beyond the padded image, if the window begins before the right or
    lower margin.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
    ) -> None:
        kernel_size = pair("kernel_size", kernel_size, 1)
        stride = kernel_size if stride is None else pair("stride", stride, 1)
        padding = pair("padding", padding, 0)
        fits = 2 * padding[0] <= kernel_size[0] and 2 * padding[1] <= kernel_size[1]
        require(fits, f"padding must be at most half of kernel_size {kernel_size}, got {padding}")
        self.geometry, self.ceil_mode = (kernel_size, stride, padding), check_flag("ceil_mode", ceil_mode)

    def output_shape(self, x):
        check_images(x)
        sizes = [self.places(*axis) for axis in zip(x.shape[2:], *self.geometry, strict=True)]
        return (*x.shape[:2], *sizes)

    def places(self, size, kernel, stride, padding):
        count = conv_output_size(size, kernel, stride, padding)
        reached = (count - 1) * stride + kernel  # of the padded image
        begins_inside = count * stride < size + padding
        return count + (self.ceil_mode and reached < size + 2 * padding and begins_inside)

    def window_sizes(self, size, kernel, stride, padding, with_padding):
        """The number of pixels in each window along one axis, of the image or of the padded image."""
        start = np.arange(self.places(size, kernel, stride, padding)) * stride - padding
        low, high = (-padding, size + padding) if with_padding else (0, size)
        return np.minimum(start + kernel, high) - np.maximum(start, low)


def planes(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N C, H, W), contiguous."""
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])


class MaxPool2d(Pool2d):
    """y = the largest value in each window of x (N, C, H, W); the margin of ``padding`` never wins.

    ``switches`` (N, C, OH, OW) hold the position of each value in its plane, as row W + column. The gradient
    goes there. Among equal values the first wins, among NaNs the last, as in PyTorch.
    """

    def forward(self, x):
        self.x_shape = x.shape
        y = np.empty(self.output_shape(x), x.dtype)
        self.switches = np.empty(y.shape, np.int32)
        arrays = planes(x), planes(y), planes(self.switches)
        if self.geometry == ((2, 2), (2, 2), (0, 0)) and not self.ceil_mode:
            jit.run(0.8 * x.size, (pool_kernels.max_pool_2x2, len(arrays[0]), *arrays))
        else:
            jit.run(3 * x.size, (pool_kernels.max_pool2d, len(arrays[0]), *self.geometry, *arrays))
        return y

    def backward(self, grad):
        grad_x = np.empty(self.x_shape, grad.dtype)
        arrays = [planes(a).reshape(len(grad) * grad.shape[1], -1) for a in (grad, self.switches, grad_x)]
        jit.run(0.4 * grad_x.size, (pool_kernels.max_pool2d_backward, len(arrays[0]), *arrays))
        return grad_x


class AvgPool2d(Pool2d):
    """y = the sum of each window of x (N, C, H, W) / (kh kw); outside of x a window sees zeros."""

    def forward(self, x):
        self.x_shape = x.shape
        y = np.empty(self.output_shape(x), x.dtype)
        arrays = planes(x), planes(y)
        jit.run(2 * x.size, (pool_kernels.avg_pool2d, len(arrays[0]), *self.geometry, *arrays))
        return y

    def backward(self, grad):
        grad_x = np.empty(self.x_shape, grad.dtype)
        arrays = planes(grad), planes(grad_x)
        jit.run(2 * grad_x.size, (pool_kernels.avg_pool2d_backward, len(arrays[0]), *self.geometry, *arrays))
        return grad_x
