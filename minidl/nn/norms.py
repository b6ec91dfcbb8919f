"""Normalisation of each sample by itself, as functions (``F.layer_norm``) and modules (``nn.LayerNorm``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.engine.checks import check_flag, check_ints, check_number, positive_int, require
from minidl.engine.elementwise import Add, Mul
from minidl.engine.tensor import Tensor, apply
from minidl.nn.inputs import floating
from minidl.nn.module import Module, Parameter


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """weight (x - mean) / sqrt(var + eps) + bias over the last axes, which are ``normalized_shape``.

    weight and bias have the same shape (Ba et al. 2016).

    >>> from minidl import nn
    >>> print(nn.functional.layer_norm([[1, 3], [10, 30]], normalized_shape=2).data.round(3))
    [[-1.  1.]
     [-1.  1.]]
    """
    x, shape = floating(x), check_ints("normalized_shape", normalized_shape)
    require(x.shape[-len(shape) :] == shape, f"expected x (..., {str(shape)[1:-1]}), got {x.shape}")
    return scaled(normalized(x, tuple(range(-len(shape), 0)), eps), weight, bias, shape, shape)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """weight (x - mean) / sqrt(var + eps) + bias over each group of channels of x (N, C, ...).

    weight and bias have one number for each channel (Wu and He 2018).

    >>> from minidl import nn
    >>> x = np.array([[[[1, 3]], [[10, 30]]]])  # one image with two channels
    >>> print(nn.functional.group_norm(x, num_groups=2).data.round(3).tolist())
    [[[[-1.0, 1.0]], [[-1.0, 1.0]]]]
    """
    x, groups = floating(x), positive_int("num_groups", num_groups)
    fits = x.ndim >= 2 and x.shape[1] % groups == 0
    require(fits, f"expected x (N, C, ...) with C divisible by {groups} groups, got {x.shape}")
    y = normalized(x.reshape(len(x), groups, -1), (-1,), eps).reshape(x.shape)
    return scaled(y, weight, bias, x.shape[1:2], (-1,) + (1,) * (x.ndim - 2))


def normalized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the axes, with var divided by n."""
    check_number("eps", eps, 0)
    centred = x - x.mean(axes, keepdims=True)
    return centred / (x.var(axes, keepdims=True) + eps).sqrt()


def scaled(y: Tensor, weight: Any, bias: Any, shape: tuple[int, ...], beside: tuple[int, ...]) -> Tensor:
    """weight y + bias.

    Both have ``shape`` and are reshaped to ``beside``, so that they broadcast; either may be None.
    """
    for name, given, op in (("weight", weight, Mul), ("bias", bias, Add)):
        if given is not None:
            parameter = given if isinstance(given, Tensor) else Tensor(given, dtype=y.dtype)
            require(parameter.shape == shape, f"{name} must have shape {shape}, got {parameter.shape}")
            y = apply(op(), y, parameter.reshape(beside))
    return y


class LayerNorm(Module):
    """``F.layer_norm`` with weight and bias of ``normalized_shape``. They start as 1 and 0.

    >>> from minidl import nn
    >>> print(nn.LayerNorm(2)([[1, 3], [10, 30]]).data.round(3))
    [[-1.  1.]
     [-1.  1.]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = check_ints("normalized_shape", normalized_shape)
        self.eps = check_number("eps", eps, 0)
        self.elementwise_affine = check_flag("elementwise_affine", elementwise_affine)
        has_bias = check_flag("bias", bias) and elementwise_affine
        shape = self.normalized_shape
        self.weight = Parameter(np.ones(shape, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if has_bias else None

    def forward(self, x: Any) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps:g}"


class GroupNorm(Module):
    """``F.group_norm`` with one weight and bias for each channel. They start as 1 and 0.

    >>> from minidl import nn
    >>> layer = nn.GroupNorm(2, 2)
    >>> print(layer([[[[1, 3]], [[10, 30]]]]).data.round(3).tolist())
    [[[[-1.0, 1.0]], [[-1.0, 1.0]]]]
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = positive_int("num_groups", num_groups)
        self.num_channels = positive_int("num_channels", num_channels)
        require(num_channels % num_groups == 0, f"{num_groups=} must divide {num_channels=}")
        self.eps, affine = check_number("eps", eps, 0), check_flag("affine", affine)
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def forward(self, x: Any) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}"
