"""Activations besides ReLU, sigmoid and tanh, as functions (``F.silu``) and as modules (``nn.SiLU``).

Functions accept ``inplace`` as in PyTorch, but it has no effect: minidl changes no Tensor of a graph in
place.
"""

from __future__ import annotations

from typing import Any

from minidl.engine import activations, reduce
from minidl.engine.checks import check_flag, check_int, check_number, positive_number
from minidl.engine.tensor import Tensor, apply
from minidl.nn.module import Module


def silu(x: Any, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish (Ramachandran et al. 2017).

    >>> from minidl import nn
    >>> print(nn.functional.silu([-1, 0, 1]).data.round(3))
    [-0.269  0.     0.731]
    """
    check_flag("inplace", inplace)
    return apply(activations.SiLU(), x)


def hardsigmoid(x: Any, inplace: bool = False) -> Tensor:
    """(x + 3) / 6 kept within [0, 1], with gradient 0 at both kinks (Howard et al. 2019).

    >>> from minidl import nn
    >>> nn.functional.hardsigmoid([-4, 0, 4])
    Tensor([0. , 0.5, 1. ], float32)
    """
    check_flag("inplace", inplace)
    return apply(activations.Hardsigmoid(), x)


def hardswish(x: Any, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x), with gradient 0 at -3 and 1 at 3 (Howard et al. 2019).

    >>> from minidl import nn
    >>> print(nn.functional.hardswish([-2, 0, 2]).data.round(3))
    [-0.333  0.     1.667]
    """
    check_flag("inplace", inplace)
    return apply(activations.Hardswish(), x)


def elu(x: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, otherwise alpha (e^x - 1) (Clevert et al. 2016).

    >>> from minidl import nn
    >>> print(nn.functional.elu([-1, 0, 1]).data.round(3))
    [-0.632  0.     1.   ]
    """
    check_flag("inplace", inplace)
    return apply(activations.ELU(alpha), x)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold, as in PyTorch.

    >>> from minidl import nn
    >>> print(nn.functional.softplus([-1, 0, 1]).data.round(3))
    [0.313 0.693 1.313]
    """
    return apply(activations.Softplus(beta, threshold), x)


def softmax(x: Any, dim: int = -1, *, temperature: float = 1.0) -> Tensor:
    """p = e^(x/T) / sum e^(x/T) over the axis. T > 1 flattens p, T < 1 sharpens it; T must be above 0.

    >>> from minidl import nn
    >>> print(nn.functional.softmax([0, 1, 2]).data.round(3))
    [0.09  0.245 0.665]
    >>> print(nn.functional.softmax([0, 1, 2], temperature=4).data.round(3))
    [0.254 0.326 0.419]
    """
    return apply(reduce.Softmax(dim, temperature), x)


def log_softmax(x: Any, dim: int = -1, *, temperature: float = 1.0) -> Tensor:
    """log softmax(x / T), exact where the probability itself would underflow to 0.

    >>> from minidl import nn
    >>> print(nn.functional.log_softmax([0, 1, 2]).data.round(3))
    [-2.408 -1.408 -0.408]
    """
    return apply(reduce.LogSoftmax(dim, temperature), x)


# ---- modules


class Activation(Module):
    """The base of the activations without settings. ``inplace`` has no effect."""

    def __init__(self, inplace: bool = False) -> None:
        check_flag("inplace", inplace)


class SiLU(Activation):
    """x sigmoid(x) (Ramachandran et al. 2017).

    >>> from minidl import nn
    >>> print(nn.SiLU()([-1, 0, 1]).data.round(3))
    [-0.269  0.     0.731]
    """

    def forward(self, x: Any) -> Tensor:
        return silu(x)


class Hardsigmoid(Activation):
    """(x + 3) / 6 kept within [0, 1] (Howard et al. 2019).

    >>> from minidl import nn
    >>> nn.Hardsigmoid()([-4, 0, 4])
    Tensor([0. , 0.5, 1. ], float32)
    """

    def forward(self, x: Any) -> Tensor:
        return hardsigmoid(x)


class Hardswish(Activation):
    """x hardsigmoid(x) (Howard et al. 2019).

    >>> from minidl import nn
    >>> print(nn.Hardswish()([-2, 0, 2]).data.round(3))
    [-0.333  0.     1.667]
    """

    def forward(self, x: Any) -> Tensor:
        return hardswish(x)


class ELU(Activation):
    """x where x > 0, otherwise alpha (e^x - 1) (Clevert et al. 2016).

    >>> from minidl import nn
    >>> print(nn.ELU(alpha=2)([-1, 0, 1]).data.round(3))
    [-1.264  0.     1.   ]
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = check_number("alpha", alpha)

    def forward(self, x: Any) -> Tensor:
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


class Softplus(Module):
    """log(1 + e^(beta x)) / beta: a ReLU without a kink.

    >>> from minidl import nn
    >>> print(nn.Softplus()([-1, 0, 1]).data.round(3))
    [0.313 0.693 1.313]
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = positive_number("beta", beta), check_number("threshold", threshold)

    def forward(self, x: Any) -> Tensor:
        return softplus(x, self.beta, self.threshold)


class Softmax(Module):
    """``F.softmax`` over the axis ``dim``

    >>> from minidl import nn
    >>> print(nn.Softmax()([0, 1, 2]).data.round(3))
    [0.09  0.245 0.665]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = check_int("dim", dim)

    def forward(self, x: Any) -> Tensor:
        return softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """``F.log_softmax`` over the axis ``dim``

    >>> from minidl import nn
    >>> print(nn.LogSoftmax()([0, 1, 2]).data.round(3))
    [-2.408 -1.408 -0.408]
    """

    def forward(self, x: Any) -> Tensor:
        return log_softmax(x, self.dim)
