"""The layers that hold parameters or settings; their mathematics is in functional.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.engine import conv
from minidl.engine.checks import (
    check_choice,
    check_flag,
    check_int,
    check_number,
    int_pair,
    positive_int,
    require,
)
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.activations import Activation
from minidl.nn.functional import IntOrPair, Rng
from minidl.nn.module import Module, Parameter


class Linear(Module):
    """y = x @ weight.T + bias. weight (out, in) and bias (out,) start from U(-1, 1) / sqrt(in).

    >>> from minidl import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: Rng = None) -> None:
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.weight, self.bias = weight_and_bias((out_features, in_features), bias, rng)

    def forward(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}{'' if self.bias is not None else ', bias=False'}"


class Conv2d(Module):
    """Cross-correlation of images (N, in, H, W) with weight (out, in/groups, kh, kw), plus bias (out,).

    An integer counts for height and width; padding "same" keeps height and width. Weight and bias start from
    U(-1, 1) / sqrt(fan_in), where fan_in is in/groups kh kw.

    >>> from minidl import nn
    >>> layer = nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)
    >>> layer(np.ones((1, 3, 32, 32))).shape
    (1, 8, 16, 16)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Rng = None,
    ) -> None:
        self.in_channels = positive_int("in_channels", in_channels)
        self.out_channels = positive_int("out_channels", out_channels)
        self.kernel_size = int_pair("kernel_size", kernel_size, 1)
        op = conv.Conv2d(stride, F.padding_of(padding, self.kernel_size, stride, dilation), dilation, groups)
        self.stride, self.padding, self.dilation, self.groups = op.stride, op.padding, op.dilation, op.groups
        divides = in_channels % groups == out_channels % groups == 0
        require(divides, f"{groups=} must divide {in_channels=} and {out_channels=}")
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = weight_and_bias(shape, bias, rng)

    def forward(self, x: Any) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        words = f"{self.in_channels}, {self.out_channels}, kernel_size={short(self.kernel_size)}"
        words += f", stride={short(self.stride)}" if self.stride != (1, 1) else ""
        words += f", padding={short(self.padding)}" if self.padding != (0, 0) else ""
        words += f", dilation={short(self.dilation)}" if self.dilation != (1, 1) else ""
        words += f", groups={self.groups}" if self.groups != 1 else ""
        return words + (", bias=False" if self.bias is None else "")


class BatchNorm(Module):
    """y = weight (x - mean) / sqrt(var + eps) + bias, per channel (Ioffe and Szegedy 2015).

    In training, mean and var are those of the batch, and the running statistics follow them by ``momentum``.
    In evaluation, mean and var are the running statistics. ``frozen = True`` uses these in training, too. It
    is for a pretrained network: a few new images should not change its statistics.
    """

    dims: tuple[int, ...] = ()
    frozen = False
    weight: Parameter | None  # None without ``affine``, as bias
    bias: Parameter | None
    running_mean: np.ndarray
    running_var: np.ndarray
    num_batches_tracked: np.ndarray

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        self.num_features = positive_int("num_features", num_features)
        self.eps = check_number("eps", eps, 0)
        self.momentum = check_number("momentum", momentum, 0, 1)
        self.affine = check_flag("affine", affine)
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x: Any) -> Tensor:
        x = F.floating(x)
        wanted = " or ".join(("(N, C)", "(N, C, L)", "(N, C, H, W)")[dim - 2] for dim in self.dims)
        fits = x.ndim in self.dims and x.shape[1] == self.num_features
        require(fits, f"expected {wanted} with C = {self.num_features}, got {x.shape}")
        training = self.training and not self.frozen
        running = self.running_mean, self.running_var
        y = F.batch_norm(x, *running, self.weight, self.bias, training, self.momentum, self.eps)
        if training:
            self.num_batches_tracked += 1
        return y

    def extra_repr(self) -> str:
        affine = "" if self.affine else ", affine=False"
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}{affine}" + (
            ", frozen" if self.frozen else ""
        )


class BatchNorm1d(BatchNorm):
    """BatchNorm of features (N, C) or sequences (N, C, L).

    >>> from minidl import nn
    >>> print(nn.BatchNorm1d(2)([[1, 10], [3, 50]]).data.round(3))
    [[-1. -1.]
     [ 1.  1.]]
    """

    dims = (2, 3)


class BatchNorm2d(BatchNorm):
    """BatchNorm of images (N, C, H, W).

    >>> from minidl import nn
    >>> layer = nn.BatchNorm2d(1)
    >>> print(layer([[[[1, 3]]]]).data.round(3))
    [[[[-1.  1.]]]]
    >>> print(layer.running_mean)  # after one step of 0.1 from 0 towards the batch's mean, 2
    [0.2]
    """

    dims = (4,)


class Dropout(Module):
    """In training each value is 0 with probability p, otherwise divided by 1 - p (Srivastava et al. 2014).

    >>> from minidl import nn
    >>> layer = nn.Dropout(0.5, rng=np.random.default_rng(1))
    >>> layer(np.ones(6))
    Tensor([0., 2., 2., 2., 0., 0.], float32)
    >>> layer.eval()(np.ones(6))
    Tensor([1., 1., 1., 1., 1., 1.], float32)
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rng: Rng = None) -> None:
        check_flag("inplace", inplace)
        self.p = check_number("p", p, 0, 1)
        self.rng = rng if rng is None else default_rng_or(rng)

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Dropout2d(Dropout):
    """Dropout of whole channels of images (N, C, H, W): nearby pixels are similar (Tompson et al. 2015).

    >>> from minidl import nn
    >>> layer = nn.Dropout2d(0.5, rng=np.random.default_rng(1))
    >>> print(layer(np.ones((1, 3, 2, 2))).data[0, :, 0, 0])  # the other pixels of each channel are the same
    [0. 2. 2.]
    """

    def forward(self, x: Any) -> Tensor:
        return F.dropout2d(x, self.p, self.training, rng=self.rng)


class ReLU(Activation):
    """max(x, 0)

    >>> from minidl import nn
    >>> nn.ReLU()([-1, 2])
    Tensor([0., 2.], float32)
    """

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class ReLU6(Activation):
    """min(max(x, 0), 6). The range of its output is known in advance (Sandler et al. 2018).

    >>> from minidl import nn
    >>> nn.ReLU6()([-1, 2, 9])
    Tensor([0., 2., 6.], float32)
    """

    def forward(self, x: Any) -> Tensor:
        return F.relu6(x)


class LeakyReLU(Activation):
    """x where x > 0, otherwise negative_slope x (Maas et al. 2013).

    >>> from minidl import nn
    >>> nn.LeakyReLU(0.25)([-1, 2])
    Tensor([-0.25, 2. ], float32)
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = check_number("negative_slope", negative_slope)

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"{self.negative_slope:g}"


class GELU(Module):
    """x Phi(x), exact (Hendrycks and Gimpel 2016), or by ``approximate="tanh"``.

    >>> from minidl import nn
    >>> print(nn.GELU()([-1, 0, 1]).data.round(3))
    [-0.159  0.     0.841]
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_choice("approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return "" if self.approximate == "none" else "approximate='tanh'"


class Tanh(Module):
    """(e^x - e^-x) / (e^x + e^-x)

    >>> from minidl import nn
    >>> print(nn.Tanh()([-1, 0, 1]).data.round(3))
    [-0.762  0.     0.762]
    """

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)

    >>> from minidl import nn
    >>> print(nn.Sigmoid()([-1, 0, 1]).data.round(3))
    [0.269 0.5   0.731]
    """

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one: by default (N, C, H, W) gives (N, C H W).

    >>> from minidl import nn
    >>> nn.Flatten()(np.ones((5, 3, 8, 8))).shape
    (5, 192)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = check_int("start_dim", start_dim), check_int("end_dim", end_dim)

    def forward(self, x: Any) -> Tensor:
        return F.floating(x).flatten(self.start_dim, self.end_dim)


class Identity(Module):
    """x itself

    >>> from minidl import nn
    >>> nn.Identity()([1, 2])
    Tensor([1., 2.], float32)
    """

    def forward(self, x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else F.floating(x)


def weight_and_bias(
    shape: tuple[int, ...], bias: bool, rng: np.random.Generator | None
) -> tuple[Parameter, Parameter | None]:
    """Weight and bias from U(-1, 1) / sqrt(fan_in), as in PyTorch: Kaiming's with a = sqrt(5)."""
    check_flag("bias", bias)
    rng, fan_in = default_rng_or(rng), init.fans(shape)[0]
    weight = init.kaiming_uniform_(Parameter(np.empty(shape, np.float32)), a=math.sqrt(5), rng=rng)
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(fan_in)
    return weight, init.uniform_(Parameter(np.empty(shape[0], np.float32)), -bound, bound, rng=rng)


def short(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else str(pair)
