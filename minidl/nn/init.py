"""Random starting weights. A name that ends with an underscore changes its tensor in place."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from minidl.engine.checks import check_choice, check_instance, check_number, require
from minidl.engine.random import default_rng_or
from minidl.engine.tensor import Tensor

_T = TypeVar("_T", bound=Tensor)  # a Parameter stays a Parameter


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, ...): inputs per output, and outputs per input.

    >>> from minidl import nn
    >>> nn.init.fans((8, 3, 5, 5))  # a convolution of 5 x 5 from 3 channels to 8
    (75, 200)
    """
    fits = len(shape) >= 2 and 0 not in shape
    require(fits, f"fan_in and fan_out need a weight (out, in, ...), not empty, got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def gain(nonlinearity: str, a: float = 0.0) -> float:
    """The factor that keeps a signal's variance after the nonlinearity. ``a`` is the slope of leaky_relu.

    >>> from minidl import nn
    >>> round(nn.init.gain("relu"), 3)
    1.414
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
    gains["leaky_relu"] = math.sqrt(2 / (1 + check_number("a", a, -1e150, 1e150) ** 2))
    return gains[check_choice("nonlinearity", nonlinearity, gains)]


def uniform_(tensor: _T, a: float = 0.0, b: float = 1.0, *, rng: np.random.Generator | None = None) -> _T:
    """Random numbers from U(a, b).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.uniform_(Tensor(np.zeros((2, 3))), -1, 1)
    >>> bool(abs(weight.data).max() <= 1)
    True
    """
    b = check_number("b", b) + 0.0  # -0.0 becomes 0.0, which NumPy does not take for less than a
    a = check_number("a", a, high=b)
    tensor.data = default_rng_or(rng).uniform(a, b, leaf(tensor).shape)
    return tensor


def normal_(tensor: _T, mean: float = 0.0, std: float = 1.0, *, rng: np.random.Generator | None = None) -> _T:
    """Random numbers from N(mean, std^2).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.normal_(Tensor(np.zeros((500, 200))), mean=1, std=0.1)
    >>> round(weight.data.mean().item(), 2), round(weight.data.std().item(), 2)
    (1.0, 0.1)
    """
    mean, std = check_number("mean", mean), check_number("std", std, 0)
    tensor.data = default_rng_or(rng).normal(mean, std, leaf(tensor).shape)
    return tensor


def kaiming_uniform_(
    tensor: _T,
    a: float = 0.0,
    *,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: np.random.Generator | None = None,
) -> _T:
    """Random numbers from U(-b, b), b = gain sqrt(3 / fan): the variance is gain^2 / fan (He et al. 2015).

    With a = sqrt(5), the default of Linear and Conv2d, b is 1 / sqrt(fan_in).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.kaiming_uniform_(Tensor(np.zeros((100, 6))))
    >>> bool(abs(weight.data).max() <= 1)  # b = sqrt(2) sqrt(3 / 6) = 1
    True
    """
    bound = gain(nonlinearity, a) * math.sqrt(3 / chosen_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(
    tensor: _T,
    a: float = 0.0,
    *,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: np.random.Generator | None = None,
) -> _T:
    """Random numbers from N(0, gain^2 / fan) (He et al. 2015).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.kaiming_normal_(Tensor(np.zeros((500, 200))))
    >>> round(weight.data.std().item(), 2)  # sqrt(2 / 200) = 0.1
    0.1
    """
    return normal_(tensor, 0, gain(nonlinearity, a) / math.sqrt(chosen_fan(tensor, mode)), rng=rng)


def xavier_uniform_(tensor: _T, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> _T:
    """Random numbers from U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.xavier_uniform_(Tensor(np.zeros((2, 4))))
    >>> bool(abs(weight.data).max() <= 1)  # b = sqrt(6 / (4 + 2)) = 1
    True
    """
    bound = check_number("gain", gain, 0) * math.sqrt(6 / sum(fans(leaf(tensor).shape)))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: _T, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> _T:
    """Random numbers from N(0, gain^2 2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    >>> from minidl import Tensor, nn
    >>> weight = nn.init.xavier_normal_(Tensor(np.zeros((500, 300))))
    >>> round(weight.data.std().item(), 2)  # sqrt(2 / 800) = 0.05
    0.05
    """
    std = check_number("gain", gain, 0) * math.sqrt(2 / sum(fans(leaf(tensor).shape)))
    return normal_(tensor, 0, std, rng=rng)


def constant_(tensor: _T, val: float) -> _T:
    """``val`` everywhere.

    >>> from minidl import Tensor, nn
    >>> nn.init.constant_(Tensor([1.0, 2.0]), 0.5)
    Tensor([0.5, 0.5], float32)
    """
    tensor.data = np.full(leaf(tensor).shape, check_number("val", val))
    return tensor


def zeros_(tensor: _T) -> _T:
    """0 everywhere.

    >>> from minidl import Tensor, nn
    >>> nn.init.zeros_(Tensor([1.0, 2.0]))
    Tensor([0., 0.], float32)
    """
    return constant_(tensor, 0)


def ones_(tensor: _T) -> _T:
    """1 everywhere.

    >>> from minidl import Tensor, nn
    >>> nn.init.ones_(Tensor([3.0, 2.0]))
    Tensor([1., 1.], float32)
    """
    return constant_(tensor, 1)


def chosen_fan(tensor: Tensor, mode: str) -> int:
    check_choice("mode", mode, ("fan_in", "fan_out"))
    return fans(leaf(tensor).shape)[mode == "fan_out"]


def leaf(tensor: _T) -> _T:
    """The tensor. It must be a leaf of floats, so that it can be filled."""
    check_instance("tensor", tensor, Tensor)
    if tensor.op is not None or tensor.dtype.kind != "f":  # no require: the message's array is slow to print
        raise ValueError(f"tensor must be a leaf of floats, so that it can be filled, got {tensor!r}")
    return tensor
