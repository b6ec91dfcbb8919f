"""Operations that act on each element by itself, with NumPy's broadcasting where there are two inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from minidl.engine import jit, kernels
from minidl.engine.checks import check_number
from minidl.engine.op import Op, unbroadcast


def where_kept(mask: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """The gradient where the mask holds, otherwise 0.

    The gradient is selected, not multiplied by the mask: 0 times an infinite gradient would be NaN.
    """
    return np.where(mask, grad, grad.dtype.type(0))


class Add(Op):
    """y = a + b"""

    def forward(self, a, b):
        self.a_shape, self.b_shape = a.shape, b.shape
        return a + b

    def backward(self, grad):
        return unbroadcast(grad, self.a_shape), unbroadcast(grad, self.b_shape)


class Sub(Op):
    """y = a - b"""

    def forward(self, a, b):
        self.a_shape, self.b_shape = a.shape, b.shape
        return a - b

    def backward(self, grad):
        return unbroadcast(grad, self.a_shape), unbroadcast(-grad, self.b_shape)


class Mul(Op):
    """y = a b;  dy/da = b,  dy/db = a"""

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        grad_a = unbroadcast(grad * self.b, self.a.shape) if self.needs[0] else None
        grad_b = unbroadcast(grad * self.a, self.b.shape) if self.needs[1] else None
        return grad_a, grad_b


class Div(Op):
    """y = a / b;  dy/da = 1 / b,  dy/db = -y / b"""

    def forward(self, a, b):
        self.a_shape, self.b, self.y = a.shape, b, a / b
        return self.y

    def backward(self, grad):
        grad_over_b = grad / self.b
        grad_b = unbroadcast(-grad_over_b * self.y, self.b.shape) if self.needs[1] else None
        return unbroadcast(grad_over_b, self.a_shape), grad_b


class Pow(Op):
    """y = a^b;  dy/da = b a^(b-1),  dy/db = y ln a, taken as 0 where a = 0 and b >= 0"""

    def forward(self, a, b):
        self.a, self.b, self.y = a, b, a**b
        return self.y

    def backward(self, grad):
        a, b = self.a, self.b
        grad_a = grad_b = None
        if self.needs[0]:
            slope = np.where(b == 0, 0, b * a ** np.where(b == 0, 1, b - 1))
            grad_a = unbroadcast(grad * slope, a.shape)
        if self.needs[1]:
            with np.errstate(divide="ignore"):  # ln 0 = -inf is right where b < 0
                log_a = np.log(np.where((a == 0) & (b >= 0), 1, a))
            grad_b = unbroadcast(grad * self.y * log_a, b.shape)
        return grad_a, grad_b


class Neg(Op):
    """y = -x"""

    def forward(self, x):
        return -x

    def backward(self, grad):
        return -grad


class Abs(Op):
    """y = |x|;  dy/dx = sign x, which is 0 at 0"""

    def forward(self, x):
        self.x = x
        return np.abs(x)

    def backward(self, grad):
        return grad * np.sign(self.x)


class Exp(Op):
    """y = e^x;  dy/dx = y"""

    def forward(self, x):
        self.y = np.exp(x)
        return self.y

    def backward(self, grad):
        return grad * self.y


class Log(Op):
    """y = ln x;  dy/dx = 1 / x"""

    def forward(self, x):
        self.x = x
        return np.log(x)

    def backward(self, grad):
        return grad / self.x


class Sqrt(Op):
    """y = x^(1/2);  dy/dx = 1 / (2 y)"""

    def forward(self, x):
        self.y = np.sqrt(x)
        return self.y

    def backward(self, grad):
        return grad / (2 * self.y)


class Tanh(Op):
    """y = tanh x;  dy/dx = 1 - y^2"""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, grad):
        return grad * (1 - self.y**2)


class Sigmoid(Op):
    """y = 1 / (1 + e^-x);  dy/dx = y (1 - y)"""

    def forward(self, x):
        decay = np.exp(-np.abs(x))  # in (0, 1], so it never overflows
        self.y = np.where(x >= 0, 1, decay) / (1 + decay)
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


def backprop_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of ReLU: the gradient passes where the input was positive (and not at 0)."""
    return grad * (x > 0)


ReluRule = Callable[[np.ndarray, np.ndarray], np.ndarray]
_rule: ContextVar[ReluRule] = ContextVar("relu_rule", default=backprop_rule)


@contextmanager
def relu_rule(rule: ReluRule) -> Iterator[None]:
    """Within the block every ReLU that runs forward will run backward by ``rule(grad, x)``.

    ``grad`` is the incoming gradient and ``x`` the ReLU's input. Deconvnet and guided backpropagation are
    such rules; the model itself is not touched. Graphs built before or after the block keep their own rule.
    """
    if not callable(rule):
        raise TypeError(f"relu_rule takes a function rule(grad, x), got {rule!r}")
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def rule_in_force() -> ReluRule:
    """The rule of the innermost ``relu_rule`` block, or ``backprop_rule``."""
    return _rule.get()


class ReLU(Op):
    """y = max(x, 0), backward by the rule that is in force (see ``relu_rule``) when forward runs"""

    def forward(self, x):
        self.x, self.rule = x, rule_in_force()
        if jit.pays_to_compile(x):  # the same, by all threads
            return jit.elementwise(kernels.relu, x)
        return np.maximum(x, 0)

    def backward(self, grad):
        if self.rule is not backprop_rule:
            return self.rule(grad, self.x)
        if jit.pays_to_compile(grad):
            return jit.elementwise(kernels.relu_backward, grad, self.x)
        return where_kept(self.x > 0, grad)  # backprop_rule, also for an infinite gradient


class LeakyReLU(Op):
    """y = x where x > 0, otherwise negative_slope x;  at 0 the slope is negative_slope"""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = check_number("negative_slope", negative_slope)

    def forward(self, x):
        self.slope = np.where(x > 0, 1, self.negative_slope).astype(x.dtype)
        return x * self.slope

    def backward(self, grad):
        return grad * self.slope


class GELU(Op):
    """y = x Phi(x), Phi the normal distribution function;  dy/dx = Phi(x) + x phi(x).  Exact, by erf."""

    def forward(self, x):
        from scipy.special import erf

        self.x, self.Phi = x, (1 + erf(x / np.sqrt(2).astype(x.dtype))) / 2
        return x * self.Phi

    def backward(self, grad):
        phi = np.exp(-(self.x**2) / 2) / np.sqrt(2 * np.pi).astype(self.x.dtype)
        return grad * (self.Phi + self.x * phi)


class Maximum(Op):
    """y = max(a, b);  where a = b each gets half of the gradient"""

    def forward(self, a, b):
        self.a, self.b = a, b
        return np.maximum(a, b)

    def backward(self, grad):
        share_a = self.share(self.a, self.b).astype(grad.dtype)
        with np.errstate(invalid="ignore"):  # infinity times a share of 0, which is not selected
            grad_a = where_kept(share_a > 0, grad * share_a)
            grad_b = where_kept(share_a < 1, grad * (1 - share_a))
        return unbroadcast(grad_a, self.a.shape), unbroadcast(grad_b, self.b.shape)

    @staticmethod
    def share(a, b):
        return np.where(a == b, 0.5, a > b)


class Minimum(Maximum):
    """y = min(a, b);  where a = b each gets half of the gradient"""

    def forward(self, a, b):
        self.a, self.b = a, b
        return np.minimum(a, b)

    @staticmethod
    def share(a, b):
        return np.where(a == b, 0.5, a < b)


class Where(Op):
    """y = a where condition, otherwise b"""

    def __init__(self, condition: np.ndarray) -> None:
        self.condition = condition

    def forward(self, a, b):
        self.a_shape, self.b_shape = a.shape, b.shape
        return np.where(self.condition, a, b)

    def backward(self, grad):
        grad_a = unbroadcast(where_kept(self.condition, grad), self.a_shape)
        grad_b = unbroadcast(where_kept(~self.condition, grad), self.b_shape)
        return grad_a, grad_b


class Clip(Op):
    """y = x kept within [low, high];  the gradient passes inside and at the edges"""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low = check_number("low", -np.inf if low is None else low, finite=False)
        self.high = check_number("high", np.inf if high is None else high, finite=False)
        if self.low > self.high:
            raise ValueError(f"clip needs low <= high, got {low!r} and {high!r}")

    def forward(self, x):
        self.x, self.limits = x, (x.dtype.type(self.low), x.dtype.type(self.high))
        if jit.pays_to_compile(x):
            return jit.elementwise(kernels.clip, x, numbers=self.limits)
        return np.clip(x, *self.limits)

    def backward(self, grad):
        low, high = self.limits
        if jit.pays_to_compile(grad):
            return jit.elementwise(kernels.clip_backward, grad, self.x, numbers=self.limits)
        return where_kept((self.x >= low) & (self.x <= high), grad)
