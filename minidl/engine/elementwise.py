"""Operations that act on each element by itself. Two inputs follow NumPy's broadcasting rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from minidl.engine import jit, kernels
from minidl.engine.checks import check_array, check_function, check_number, require
from minidl.engine.op import Op, read_only, unbroadcast


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
    """y = a b, element by element, with broadcasting;  dy/da = b,  dy/db = a. ``backward`` gets grad = dL/dy
    and returns (dL/da, dL/db), each in the shape of its input."""

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
        grad_a = unbroadcast(grad / self.b, self.a_shape) if self.needs[0] else None
        grad_b = unbroadcast(-grad * (self.y / self.b), self.b.shape) if self.needs[1] else None
        return grad_a, grad_b


class Pow(Op):
    """y = a^b;  dy/da = b a^(b-1),  dy/db = y ln a, taken as 0 where a = 0 and b >= 0"""

    def forward(self, a, b):
        self.a, self.b, self.y = a, b, a**b
        return self.y

    def backward(self, grad):
        a, b = self.a, self.b
        grad_a = grad_b = None
        if self.needs[0]:
            with np.errstate(invalid="ignore"):  # infinity * 0 is NaN; where_kept drops it
                grad_a = where_kept(b != 0, grad * (b * a ** np.where(b == 0, 1, b - 1)))
            grad_a = unbroadcast(grad_a, a.shape)
        if self.needs[1]:
            has_slope = (a != 0) | (b < 0)
            with np.errstate(divide="ignore", invalid="ignore"):  # for b < 0, ln 0 = -inf is the right slope
                grad_b = where_kept(has_slope, grad * self.y * np.log(np.where(has_slope, a, 1)))
            grad_b = unbroadcast(grad_b, b.shape)
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


class Root(Sqrt):
    """y = x^(1/2);  dy/dx = 1 / (2 y), taken as 0 where x = 0: the slope of a norm and of a deviation"""

    def backward(self, grad):
        return where_kept(self.y != 0, grad / (2 * np.where(self.y == 0, 1, self.y)))


class Sin(Op):
    """y = sin x;  dy/dx = cos x"""

    def forward(self, x):
        self.x = x
        return np.sin(x)

    def backward(self, grad):
        return grad * np.cos(self.x)


class Cos(Op):
    """y = cos x;  dy/dx = -sin x"""

    def forward(self, x):
        self.x = x
        return np.cos(x)

    def backward(self, grad):
        return -grad * np.sin(self.x)


class Tanh(Op):
    """y = tanh x;  dy/dx = 1 - y^2"""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, grad):
        return grad * (1 - self.y**2)


class Sigmoid(Op):
    """y = 1 / (1 + e^-x), without overflow, with all digits of a y near 0, NaN for NaN;  dy/dx = y (1 - y)"""

    def forward(self, x):
        decay = np.exp(-np.abs(x))  # decay lies in (0, 1], so it never overflows
        self.y = np.where(x >= 0, 1, decay) / (1 + decay)
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


def backprop_rule(grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of ReLU: grad where the input x was positive, otherwise 0, even if grad is infinite.

    grad is the incoming gradient, x the ReLU's input. They have one shape. The result has the dtype of grad.
    No value is NaN.
    """
    return np.where(x > 0, grad, 0)


ReluRule = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class _Block:
    """A ``relu_rule`` block: its rule, and whether a ReLU ran forward in it."""

    rule: ReluRule
    ran_forward: bool = False


_no_block = _Block(backprop_rule, ran_forward=True)
_block: ContextVar[_Block] = ContextVar("relu_rule", default=_no_block)


@contextmanager
def relu_rule(rule: ReluRule) -> Iterator[None]:
    """In this block, each ReLU that runs forward gets ``rule(grad, x)`` as its backward.

    ``grad`` is the incoming gradient and ``x`` the ReLU's input, both read-only. Deconvnet and guided
    backpropagation are such rules. The model does not change. Graphs built outside of the block keep their
    own rule. The block raises ValueError if a ReLU runs backward in it and no ReLU ran forward in it.

    >>> from minidl import Tensor, relu_rule
    >>> x = Tensor([1.0, -1.0], requires_grad=True)
    >>> with relu_rule(lambda grad, x: grad):  # as if there were no ReLU
    ...     x.relu().sum().backward()
    >>> print(x.grad)
    [1. 1.]
    """
    token = _block.set(_Block(check_function("rule", rule, "(grad, x)")))
    try:
        yield
    finally:
        _block.reset(token)


def rule_in_force() -> ReluRule:
    """The rule of the innermost ``relu_rule`` block, or ``backprop_rule``, for a ReLU that runs forward."""
    block = _block.get()
    block.ran_forward = True
    return block.rule


def refuse_late_block(rule: ReluRule) -> None:
    """Raise an error if the block holds only the backward pass.

    ``rule`` is the ReLU's own rule from outside.
    """
    block = _block.get()
    mend = "so its rule would do nothing: run the forward pass inside the block as well"
    has_use = block.ran_forward or block.rule is rule
    require(has_use, f"no ReLU ran forward inside this relu_rule block, {mend}")


class ReLU(Op):
    """y = max(x, 0), backward by the rule of ``relu_rule`` that is active when forward runs"""

    def forward(self, x):
        self.x, self.rule = x, rule_in_force()
        if jit.pays_to_compile(x):  # the same, by all threads
            return jit.elementwise(kernels.relu, x)
        return np.maximum(x, 0)

    def backward(self, grad):
        refuse_late_block(self.rule)
        if self.rule is backprop_rule and jit.pays_to_compile(grad):
            return jit.elementwise(kernels.relu_backward, grad, self.x)
        return self.rule(read_only(grad), read_only(self.x))


class ReLU6(ReLU):
    """y = min(max(x, 0), 6), backward by the active rule;  the gradient is 0 where x >= 6"""

    def forward(self, x):
        self.x, self.rule = x, rule_in_force()
        return np.clip(x, 0, 6)

    def backward(self, grad):
        return super().backward(where_kept(self.x < 6, grad))


class Maximum(Op):
    """y = max(a, b);  where a = b, each gets half of the gradient;  a NaN in a or b always wins"""

    def forward(self, a, b):
        self.a, self.b, self.y = a, b, np.maximum(a, b)
        return self.y

    def backward(self, grad):
        a_wins, b_wins = ((x == self.y) | np.isnan(x) for x in (self.a, self.b))
        shared = np.where(a_wins & b_wins, grad / 2, grad)
        grad_a, grad_b = where_kept(a_wins, shared), where_kept(b_wins, shared)
        return unbroadcast(grad_a, self.a.shape), unbroadcast(grad_b, self.b.shape)


class Minimum(Maximum):
    """y = min(a, b);  where a = b, each gets half of the gradient;  a NaN in a or b always wins"""

    def forward(self, a, b):
        self.a, self.b, self.y = a, b, np.minimum(a, b)
        return self.y


class Where(Op):
    """y = a where condition, otherwise b"""

    def __init__(self, condition: np.ndarray) -> None:
        self.condition = check_array("condition", condition, kind="bool", empty=True)

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
        require(self.low <= self.high, f"clip needs low <= high, got {low!r} and {high!r}")

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
