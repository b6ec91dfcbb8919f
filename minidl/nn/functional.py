"""The layers' mathematics as functions of tensors, under PyTorch's names: ``minidl.nn.functional as F``.

Inputs are Tensors or NumPy arrays, images (N, C, H, W). ``inplace`` is accepted, but it has no effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine import activations, conv, elementwise, linalg, loss, shape
from minidl.engine.checks import (
    check_array,
    check_choice,
    check_flag,
    check_instance,
    check_number,
    check_sequence,
    int_pair,
    positive_int,
    require,
    shown,
)
from minidl.engine.instead import FUNCTIONAL, missing
from minidl.engine.normalize import BatchNorm
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor, apply

# PyTorch's functional has these too. Each of these files holds related functions and their modules.
from minidl.nn.activations import elu, hardsigmoid, hardswish, log_softmax, silu, softmax, softplus  # noqa: F401
from minidl.nn.inputs import floating, floating_images
from minidl.nn.losses import (  # noqa: F401
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from minidl.nn.norms import group_norm, layer_norm  # noqa: F401
from minidl.nn.resize import adaptive_avg_pool2d, interpolate  # noqa: F401

IntOrPair = int | tuple[int, int]
Stride = IntOrPair | None
Rng = np.random.Generator | None

# ---- activations


def relu(x: Any, inplace: bool = False) -> Tensor:
    """max(x, 0), with gradient 0 at 0.

    >>> from minidl import nn
    >>> nn.functional.relu([-1, 2])
    Tensor([0., 2.], float32)
    """
    check_flag("inplace", inplace)
    return apply(elementwise.ReLU(), x)


def relu6(x: Any, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), with gradient 0 at 0 and at 6.

    >>> from minidl import nn
    >>> nn.functional.relu6([-1, 2, 9])
    Tensor([0., 2., 6.], float32)
    """
    check_flag("inplace", inplace)
    return apply(elementwise.ReLU6(), x)


def leaky_relu(x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, otherwise negative_slope x (Maas et al. 2013).

    >>> from minidl import nn
    >>> nn.functional.leaky_relu([-1, 2], negative_slope=0.25)
    Tensor([-0.25, 2. ], float32)
    """
    check_flag("inplace", inplace)
    return apply(activations.LeakyReLU(negative_slope), x)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel 2016).

    Exact, or with ``"tanh"`` approximately: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    >>> from minidl import nn
    >>> print(nn.functional.gelu([-1, 0, 1]).data.round(3))
    [-0.159  0.     0.841]
    """
    exact = check_choice("approximate", approximate, ("none", "tanh")) == "none"
    return apply(activations.GELU() if exact else activations.GELUTanh(), x)


def tanh(x: Any) -> Tensor:
    """(e^x - e^-x) / (e^x + e^-x)

    >>> from minidl import nn
    >>> print(nn.functional.tanh([-1, 0, 1]).data.round(3))
    [-0.762  0.     0.762]
    """
    return apply(elementwise.Tanh(), x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e^-x)

    >>> from minidl import nn
    >>> print(nn.functional.sigmoid([-1, 0, 1]).data.round(3))
    [0.269 0.5   0.731]
    """
    return apply(elementwise.Sigmoid(), x)


# ---- layers


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias. Shapes (..., in), (out, in), (out,) give (..., out).

    >>> from minidl import nn
    >>> nn.functional.linear([[1, 2]], weight=[[3, 4], [5, 6]], bias=[0, 1])
    Tensor([[11., 18.]], float32)
    """
    return apply(linalg.Linear(), *without_none(x, weight, bias))


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of x (N, C, H, W) with weight (O, C/groups, kh, kw), plus bias (O,).

    The output is (N, O, OH, OW) with OH = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1. An
    integer counts for height and width. padding "same" keeps height and width, "valid" is 0. ValueError
    if the kernel is larger than the padded image.

    >>> from minidl import nn
    >>> image, step = [[[[0, 0, 1, 1]]]], [[[[-1, 1]]]]  # both are (1, 1, height, width)
    >>> nn.functional.conv2d(image, step)
    Tensor([[[[0., 1., 0.]]]], float32)
    """
    if isinstance(padding, str):
        padding = padding_of(padding, np.shape(weight)[2:], stride, dilation)
    return apply(conv.Conv2d(stride, padding, dilation, groups), *without_none(x, weight, bias))


def max_pool2d(
    x: Any,
    kernel_size: IntOrPair,
    stride: Stride = None,
    padding: IntOrPair = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of each window. If ``stride`` is None, windows are side by side. Padding never wins.

    ceil_mode: a last window may reach beyond the image, so that it covers the last pixels.

    >>> from minidl import nn
    >>> nn.functional.max_pool2d([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], kernel_size=2)
    Tensor([[[[6., 8.]]]], float32)
    """
    return apply(conv.MaxPool2d(kernel_size, stride, padding, ceil_mode), x)


def avg_pool2d(
    x: Any,
    kernel_size: IntOrPair,
    stride: Stride = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window. If ``stride`` is None, windows are side by side. Padding counts as zeros.

    ceil_mode: a last window may reach beyond the image, so that it covers the last pixels. The mean ignores
    the part of a window beyond the padding. With ``count_include_pad=False`` it ignores the padding, too.

    >>> from minidl import nn
    >>> nn.functional.avg_pool2d([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], kernel_size=2)
    Tensor([[[[3.5, 5.5]]]], float32)
    """
    op = conv.AvgPool2d(kernel_size, stride, padding, ceil_mode)
    y = apply(op, x)
    if check_flag("count_include_pad", count_include_pad) and not ceil_mode:
        return y
    axes = zip(np.shape(x)[2:], *op.geometry, strict=True)
    rows, columns = (axis[1] / op.window_sizes(*axis, count_include_pad) for axis in axes)
    return y * (rows[:, np.newaxis] * columns)  # correct it: the Op divided by the size of the whole window


def batch_norm(
    x: Any,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """weight (x - mean) / sqrt(var + eps) + bias per channel of x (N, C, ...) (Ioffe and Szegedy 2015).

    In training, mean and var are those of the batch (var divided by n). If the running arrays are given, they
    change in place:

        running = (1 - momentum) running + momentum batch,    with the unbiased variance, n / (n - 1) var

    Otherwise mean and var are the running arrays. ValueError in training with one value per channel.

    >>> from minidl import nn
    >>> y = nn.functional.batch_norm([[1, 10], [3, 50]], None, None, training=True)
    >>> print(y.data.round(3))
    [[-1. -1.]
     [ 1.  1.]]
    """
    x = floating(x)
    require(x.ndim >= 2, f"expected x (N, C, ...), got {x.shape}")
    check_flag("training", training)
    check_number("momentum", momentum, 0, 1)
    check_number("eps", eps, 0)
    for name, given in (("running_mean", running_mean), ("running_var", running_var)):
        require(given is not None or training, f"{name} is needed where training is False")
        if given is not None:  # these change in place, so they must be arrays
            check_array(name, check_instance(name, given, np.ndarray), x.shape[1], kind="float", finite=False)
    weight = np.ones(x.shape[1], x.dtype) if weight is None else weight
    bias = np.zeros(x.shape[1], x.dtype) if bias is None else bias
    if not training:
        return apply(BatchNorm(running_mean, running_var, eps), x, weight, bias)
    op = BatchNorm(eps=eps)
    y = apply(op, x, weight, bias)
    if running_mean is not None:
        running_mean += momentum * (op.mean - running_mean)
    if running_var is not None:
        running_var += momentum * (op.var * (op.n / (op.n - 1)) - running_var)
    return y


def dropout(
    x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Rng = None
) -> Tensor:
    """In training each value becomes 0 with probability p, otherwise it is divided by 1 - p. The mean stays.

    Without ``training``, the result is x. ``rng`` draws the mask (Srivastava et al. 2014).

    >>> from minidl import nn
    >>> nn.functional.dropout(np.ones(6), p=0.5, rng=np.random.default_rng(1))
    Tensor([0., 2., 2., 2., 0., 0.], float32)
    """
    x = floating(x)
    return dropped(x, x.shape, p, training, inplace, rng)


def dropout2d(
    x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Rng = None
) -> Tensor:
    """``dropout`` of whole channels of x (N, C, H, W): nearby pixels are similar (Tompson et al. 2015).

    >>> from minidl import nn
    >>> y = nn.functional.dropout2d(np.ones((1, 3, 2, 2)), p=0.5, rng=np.random.default_rng(1))
    >>> print(y.data[0, :, 0, 0])  # the other pixels of each channel are the same
    [0. 2. 2.]
    """
    x = floating_images(x)
    return dropped(x, (*x.shape[:2], 1, 1), p, training, inplace, rng)


def dropped(
    x: Tensor, mask_shape: tuple[int, ...], p: float, training: bool, inplace: bool, rng: Rng
) -> Tensor:
    check_number("p", p, 0, 1)
    check_flag("inplace", inplace)
    if not check_flag("training", training) or p == 0:
        return x
    keep = default_rng_or(rng).random(mask_shape, np.float32) >= p  # nowhere for p = 1
    scale = 1 / x.dtype.type(1 - p if p < 1 else 1)
    return apply(elementwise.Where(keep), x * scale, 0)


def pad(x: Any, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Tensor:
    """x with ``value`` around it.

    ``pad`` is (left, right) of the last axis, then (top, bottom) of the axis before, and so on: PyTorch's
    order. ``minidl.pad`` has NumPy's order.

    >>> from minidl import nn
    >>> nn.functional.pad([[1, 2]], (1, 0, 0, 1))  # one column on the left, one row below
    Tensor([[0., 1., 2.], [0., 0., 0.]], float32)
    """
    check_choice("mode", mode, ("constant",))
    x, count = floating(x), len(check_sequence("pad", pad))
    fits = count % 2 == 0 and 0 < count <= 2 * x.ndim
    require(fits, f"pad must be up to {x.ndim} pairs in a row, for x {x.shape}, got {shown(pad)}")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    untouched = [(0, 0)] * (x.ndim - len(pairs))
    return apply(shape.Pad((*untouched, *pairs[::-1]), value), x)


# ---- labels


def one_hot(labels: Any, num_classes: int) -> np.ndarray:
    """Labels (N,) in 0 ... num_classes-1 as float32 rows (N, num_classes) with a single 1.

    >>> from minidl import nn
    >>> print(nn.functional.one_hot([0, 2], num_classes=3))
    [[1. 0. 0.]
     [0. 0. 1.]]
    """
    return loss.one_hot(labels, positive_int("num_classes", num_classes))


# ---- what arguments are


def padding_of(
    padding: IntOrPair | str, kernel_size: tuple[int, ...], stride: IntOrPair, dilation: IntOrPair
) -> IntOrPair:
    """The zeros on each side, in numbers. "same" needs stride 1 and an even dilation (kernel - 1)."""
    if not isinstance(padding, str):
        return padding
    if check_choice("padding", padding, ("same", "valid")) == "valid":
        return (0, 0)
    require(int_pair("stride", stride, 1) == (1, 1), f"padding 'same' needs stride 1, got {shown(stride)}")
    dilation = int_pair("dilation", dilation, 1)
    rows, columns = (dilated * (size - 1) for size, dilated in zip(kernel_size, dilation, strict=True))
    mend = f"put nn.ZeroPad2d(({columns // 2}, {-(-columns // 2)}, {rows // 2}, {-(-rows // 2)})) before"
    require(rows % 2 == columns % 2 == 0, f"padding 'same' is uneven for kernel_size {kernel_size}: {mend}")
    return rows // 2, columns // 2


def without_none(x: Any, weight: Any, bias: Any) -> tuple:
    return (x, weight) if bias is None else (x, weight, bias)


def __getattr__(name: str) -> None:
    raise missing(f"module {__name__!r}", name, FUNCTIONAL)
