"""The layers' mathematics as functions of tensors, under PyTorch's names: ``minidl.nn.functional as F``.

Inputs are Tensors or NumPy arrays, images (N, C, H, W).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine import conv, elementwise, linalg, loss, normalize, reduce, shape
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
)
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor, apply

IntOrPair = int | tuple[int, int]

# ---- activations


def relu(x: Any) -> Tensor:
    """max(x, 0), with gradient 0 at 0."""
    return apply(elementwise.ReLU(), x)


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6), with gradient 0 at 0 and at 6."""
    return apply(elementwise.ReLU6(), x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, otherwise negative_slope x (Maas et al. 2013)."""
    return apply(elementwise.LeakyReLU(negative_slope), x)


def gelu(x: Any) -> Tensor:
    """x Phi(x) with the normal distribution function Phi, exact (Hendrycks and Gimpel 2016)."""
    return apply(elementwise.GELU(), x)


def tanh(x: Any) -> Tensor:
    return apply(elementwise.Tanh(), x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e^-x)"""
    return apply(elementwise.Sigmoid(), x)


def softmax(x: Any, axis: int = -1, *, temperature: float = 1.0) -> Tensor:
    """p = e^(x/T) / sum e^(x/T) over the axis. T > 1 flattens p, T < 1 sharpens it; T must be above 0."""
    return apply(reduce.Softmax(axis, temperature), x)


def log_softmax(x: Any, axis: int = -1, *, temperature: float = 1.0) -> Tensor:
    """log softmax(x / T), exact where the probability itself would underflow to 0."""
    return apply(reduce.LogSoftmax(axis, temperature), x)


# ---- layers


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias. Shapes (..., in), (out, in), (out,) give (..., out)."""
    return apply(linalg.Linear(), *without_none(x, weight, bias))


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of x (N, C, H, W) with weight (O, C/groups, kh, kw), plus bias (O,).

    The output is (N, O, OH, OW) with OH = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1. An
    integer stands for (height, width) alike. ValueError where the kernel is larger than the padded image.
    """
    return apply(conv.Conv2d(stride, padding, dilation, groups), *without_none(x, weight, bias))


def max_pool2d(
    x: Any, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0
) -> Tensor:
    """The largest value of each window, which are side by side if ``stride`` is None. Padding never wins."""
    return apply(conv.MaxPool2d(kernel_size, stride, padding), x)


def avg_pool2d(
    x: Any, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0
) -> Tensor:
    """The mean of each window, which are side by side if ``stride`` is None. Padding counts as zeros."""
    return apply(conv.AvgPool2d(kernel_size, stride, padding), x)


def adaptive_avg_pool2d(x: Any, output_size: IntOrPair = 1) -> Tensor:
    """The mean of each channel of x (N, C, H, W), as (N, C, 1, 1). No other output size is provided."""
    check_output_size(output_size)
    x = floating(x)
    require(x.ndim == 4, f"expected images (N, C, H, W), got {x.shape}")
    return apply(reduce.Mean((2, 3), keepdims=True), x)


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

    In training mean and var are the batch's (var divided by n), and the running arrays, unless None, move in
    place:

        running = (1 - momentum) running + momentum batch,    with the unbiased variance, n / (n - 1) var

    Otherwise the running ones are used. ValueError in training on one value per channel.
    """
    x = floating(x)
    require(x.ndim >= 2, f"expected x (N, C, ...), got {x.shape}")
    check_flag("training", training)
    check_number("momentum", momentum, 0, 1)
    check_number("eps", eps, 0)
    for name, running in (("running_mean", running_mean), ("running_var", running_var)):
        require(running is not None or training, f"{name} is needed where training is False")
        if running is not None:  # changed in place, so a list will not do
            check_array(
                name, check_instance(name, running, np.ndarray), x.shape[1], kind="float", finite=False
            )
    weight = np.ones(x.shape[1], x.dtype) if weight is None else weight
    bias = np.zeros(x.shape[1], x.dtype) if bias is None else bias
    if not training:
        return apply(normalize.BatchNorm(running_mean, running_var, eps), x, weight, bias)
    op = normalize.BatchNorm(eps=eps)
    y = apply(op, x, weight, bias)
    if running_mean is not None:
        running_mean += momentum * (op.mean - running_mean)
    if running_var is not None:
        running_var += momentum * (op.var * (op.n / (op.n - 1)) - running_var)
    return y


def dropout(x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Tensor:
    """In training each value is 0 with probability p and otherwise divided by 1 - p, which keeps the mean.

    Without ``training``, x itself. ``rng`` draws the mask (Srivastava et al. 2014).
    """
    check_number("p", p, 0, 1)
    x = floating(x)
    if not check_flag("training", training) or p == 0:
        return x
    keep = default_rng_or(rng).random(x.shape, np.float32) >= p  # nowhere for p = 1
    scale = 1 / x.dtype.type(1 - p if p < 1 else 1)
    return apply(elementwise.Where(keep), x * scale, 0)


def pad(x: Any, pad: tuple[int, ...], *, value: float = 0.0) -> Tensor:
    """x with ``value`` around it.

    ``pad`` is (left, right) of the last axis, then (top, bottom) of the one before, and so on, as PyTorch
    counts; ``minidl.pad`` counts as NumPy does.
    """
    x, count = floating(x), len(check_sequence("pad", pad))
    fits = count % 2 == 0 and 0 < count <= 2 * x.ndim
    require(fits, f"pad must be up to {x.ndim} pairs in a row, for x {x.shape}, got {pad!r}")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    untouched = [(0, 0)] * (x.ndim - len(pairs))
    return apply(shape.Pad((*untouched, *pairs[::-1]), value), x)


# ---- losses


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """-sum_c w_c t_c log softmax(z / T)_c of each row of logits z (N, K), and its mean or sum over the rows.

    labels: classes (N,), or rows of probabilities (N, K). weight: one number per class. The target t is
    (1 - label_smoothing) onehot + label_smoothing / K. With weights and classes, "mean" divides by the sum of
    the labels' weights; "none" gives N losses. ValueError for labels out of range and T <= 0.
    """
    op = loss.CrossEntropy(labels, weight, reduction, label_smoothing, temperature)
    return apply(op, logits)


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """-w (pos_weight t log p + (1 - t) log (1 - p)) with p = sigmoid(z), for logits z and targets t.

    Both have one shape. t is 0 or 1, or a probability between them. weight and pos_weight are broadcast
    against z; pos_weight makes the positive examples count more. The loss is computed from z, so it is exact
    where p rounds to 0 or 1. "mean" divides by the number of elements; "none" keeps the losses.
    """
    return apply(loss.BinaryCrossEntropy(target, weight, reduction, pos_weight), logits)


def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(prediction - target)^2, its mean or sum over all elements. Nothing is broadcast."""
    prediction, target = floating(prediction), floating(target)
    fits = prediction.shape == target.shape
    require(fits, f"prediction {prediction.shape} and target {target.shape} differ in shape")
    check_choice("reduction", reduction, loss.REDUCTIONS)
    difference = prediction - target
    squares = difference * difference
    return squares if reduction == "none" else squares.mean() if reduction == "mean" else squares.sum()


def one_hot(labels: Any, num_classes: int) -> np.ndarray:
    """Labels (N,) in 0 ... num_classes-1 as float32 rows (N, num_classes) with a single 1."""
    return loss.one_hot(labels, positive_int("num_classes", num_classes))


# ---- what arguments are


def floating(x: Any) -> Tensor:
    """x as a Tensor of floats. Only a Tensor keeps float64: arrays, integers and bools become float32."""
    if isinstance(x, Tensor) and x.dtype.kind == "f":
        return x
    return Tensor(x.data if isinstance(x, Tensor) else x, dtype=np.float32)


def check_output_size(output_size: Any) -> tuple[int, int]:
    is_1 = int_pair("output_size", output_size, 1) == (1, 1)
    require(is_1, f"only output_size 1 is provided, the mean of each channel, got {output_size!r}")
    return (1, 1)


def without_none(x: Any, weight: Any, bias: Any) -> tuple:
    return (x, weight) if bias is None else (x, weight, bias)
