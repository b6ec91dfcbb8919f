"""Operations that sum over axes: sums, extrema, softmax and what is built on them."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_flag, check_int, check_temperature, require
from minidl.engine.elementwise import where_kept
from minidl.engine.op import Op

Axis = int | tuple[int, ...] | None


def normalize_axis(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes as a sorted tuple of numbers in 0 ... ndim-1; None stands for all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    normal = sorted({one_axis(i, ndim) for i in axes})
    require(len(normal) == len(axes), f"axis {axis} names an axis twice")
    return tuple(normal)


def one_axis(axis: int, ndim: int) -> int:
    """The axis as a number in 0 ... ndim-1."""
    return check_int(f"axis of an array of {ndim} dimensions", axis, -ndim, ndim - 1) % ndim


def sum_by_channel(x: np.ndarray) -> np.ndarray:
    """The sum of each channel of x (N, C, ...); NumPy is slow on many short sums, so long sums go first."""
    if x.ndim == 2:
        return x.sum(axis=0)
    flat = x.reshape(*x.shape[:2], -1)
    first = 2 if flat.shape[2] >= 32 else 0
    return flat.sum(axis=first).sum(axis=1 if first == 0 else 0)


class Reduction(Op):
    """The common part of all reductions: the axes, and the broadcast of a reduced array against the input."""

    needs_elements = True  # no elements have no mean, variance or extremum

    def __init__(self, axis: Axis = None, keepdims: bool = False) -> None:
        self.axis, self.keepdims = axis, check_flag("keepdims", keepdims)

    def setup(self, x: np.ndarray) -> None:
        self.axes = normalize_axis(self.axis, x.ndim)
        self.count = int(np.prod([x.shape[i] for i in self.axes]))
        require(self.count > 0 or not self.needs_elements, f"nothing to reduce over axes {self.axes}")

    def beside(self, reduced: np.ndarray) -> np.ndarray:
        """Give a reduced array its axes of length 1 back, so that it broadcasts against the input."""
        return reduced if self.keepdims else np.expand_dims(reduced, self.axes)


class Sum(Reduction):
    """y = sum of x over the axes"""

    needs_elements = False

    def forward(self, x):
        self.setup(x)
        self.x_shape = x.shape
        return x.sum(axis=self.axes, keepdims=self.keepdims)

    def backward(self, grad):
        return np.broadcast_to(self.beside(grad), self.x_shape)


class Mean(Reduction):
    """y = (1/n) sum of x over the axes"""

    def forward(self, x):
        self.setup(x)
        self.x_shape = x.shape
        return x.mean(axis=self.axes, keepdims=self.keepdims)

    def backward(self, grad):
        return np.broadcast_to(self.beside(grad) / grad.dtype.type(self.count), self.x_shape)


class Prod(Reduction):
    """y = product of x over the axes;  dy/dx_i = product of all others, also right if some are 0"""

    needs_elements = False

    def forward(self, x):
        self.setup(x)
        self.x = x
        return x.prod(axis=self.axes, keepdims=self.keepdims)

    def backward(self, grad):
        last = tuple(range(-len(self.axes), 0))
        rows = np.moveaxis(self.x, self.axes, last)
        flat = rows.reshape(*rows.shape[: rows.ndim - len(last)], self.count)  # (..., n)
        ones = np.ones_like(flat[..., :1])
        before = np.cumprod(np.concatenate([ones, flat[..., :-1]], axis=-1), axis=-1)
        after = np.cumprod(np.concatenate([ones, flat[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
        others = np.moveaxis((before * after).reshape(rows.shape), last, self.axes)
        return self.beside(grad) * others


class CumSum(Op):
    """y_i = x_0 + ... + x_i along the axis;  dL/dx_i = g_i + g_i+1 + ...: the sum from the other end"""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x):
        self.axis = one_axis(self.axis, x.ndim)
        return x.cumsum(self.axis)

    def backward(self, grad):
        return np.flip(np.flip(grad, self.axis).cumsum(self.axis), self.axis)


class Var(Reduction):
    """y = (1/(n - ddof)) sum of (x - mean)^2;  dy/dx = 2 (x - mean) / (n - ddof)"""

    def __init__(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> None:
        super().__init__(axis, keepdims)
        mend = f"for PyTorch's second argument write unbiased={ddof}"
        require(not isinstance(ddof, bool), f"ddof must be an integer, got {ddof}: {mend}", TypeError)
        self.ddof = check_int("ddof", ddof, 0)

    def forward(self, x):
        self.setup(x)
        is_below = self.ddof < self.count
        require(is_below, f"ddof must be below the number of values {self.count}, got {self.ddof}")
        self.centred = x - x.mean(axis=self.axes, keepdims=True)
        self.n = x.dtype.type(self.count - self.ddof)
        return (self.centred**2).sum(axis=self.axes, keepdims=self.keepdims) / self.n

    def backward(self, grad):
        return self.beside(grad) * 2 * self.centred / self.n


class Max(Reduction):
    """y = max of x over the axes;  elements that tie for it share the gradient equally"""

    def forward(self, x):
        self.setup(x)
        self.x = x
        self.y = x.max(axis=self.axes, keepdims=self.keepdims)
        return self.y

    def backward(self, grad):
        winners = (self.x == self.beside(self.y)) | np.isnan(self.x)  # a NaN is always the maximum
        ties = winners.sum(axis=self.axes, keepdims=True, dtype=grad.dtype)
        return where_kept(winners, self.beside(grad) / ties)


class Min(Max):
    """y = min of x over the axes;  elements that tie for it share the gradient equally"""

    def forward(self, x):
        self.setup(x)
        self.x = x
        self.y = x.min(axis=self.axes, keepdims=self.keepdims)
        return self.y


class LogSumExp(Reduction):
    """y = log sum e^x, computed as m + log sum e^(x-m) with m = max x;  dy/dx = e^(x-y)"""

    def forward(self, x):
        self.setup(x)
        m = x.max(axis=self.axes, keepdims=True)
        m = np.where(np.isfinite(m), m, x.dtype.type(0))  # all -inf gives -inf, not NaN
        self.x = x
        with np.errstate(divide="ignore"):
            self.y = np.log(np.exp(x - m).sum(axis=self.axes, keepdims=True)) + m
        return self.y if self.keepdims else self.y.squeeze(self.axes)

    def backward(self, grad):
        y = np.where(np.isneginf(self.y), 0, self.y)  # if all x are -inf, e^(x-0) gives the gradient 0
        return self.beside(grad) * np.exp(self.x - y)


def stable_softmax(z: np.ndarray, axis: Axis = -1, temperature: float = 1.0) -> np.ndarray:
    """p = e^(z/T) / sum e^(z/T) over the axis, for logits z of any size.

    Subtract the maximum before dividing by T. Then no exponent is positive, so nothing overflows. Softmax
    does not change when all logits change by the same number. T > 1 makes p more uniform, T < 1 makes it
    sharper.
    z: any shape; float32 stays float32, int64 becomes float64.  axis: a number, or a tuple of several
    numbers in any order.  T: a Python number within the range of float32; ValueError if it is not finite and
    above 0.

    >>> from minidl.engine.reduce import stable_softmax
    >>> print(stable_softmax(np.log(np.array([[1.0, 2.0, 5.0]]))))
    [[0.125 0.25  0.625]]
    """
    z, T = floats(z), check_temperature(temperature)
    exponent = (z - z.max(axis=axis, keepdims=True)) / T
    p = np.exp(exponent)
    return p / p.sum(axis=axis, keepdims=True)


def floats(z: np.ndarray) -> np.ndarray:
    """z as a floating array: itself if it is one, otherwise in float64."""
    z = np.asarray(z)
    return z if z.dtype.kind == "f" else z.astype(np.float64)


class Softmax(Reduction):
    """p = softmax(z/T);  dL/dz = p (g - sum g p) / T"""

    def __init__(self, axis: Axis = -1, temperature: float = 1.0) -> None:
        super().__init__(axis)
        self.temperature = temperature

    def forward(self, z):
        self.setup(z)
        self.p = stable_softmax(z, self.axes, self.temperature)
        return self.p

    def backward(self, grad):
        inner = (grad * self.p).sum(axis=self.axes, keepdims=True)
        return self.p * (grad - inner) / grad.dtype.type(self.temperature)


def stable_log_softmax(z: np.ndarray, axis: Axis = -1, temperature: float = 1.0) -> np.ndarray:
    """log p = z/T - log sum e^(z/T) over the axis, exact where p itself would underflow to 0."""
    z, T = floats(z), check_temperature(temperature)
    shifted = (z - z.max(axis=axis, keepdims=True)) / T
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


class LogSoftmax(Reduction):
    """log p = log softmax(z/T);  dL/dz = (g - p sum g) / T"""

    def __init__(self, axis: Axis = -1, temperature: float = 1.0) -> None:
        super().__init__(axis)
        self.temperature = temperature

    def forward(self, z):
        self.setup(z)
        self.log_p = stable_log_softmax(z, self.axes, self.temperature)
        return self.log_p

    def backward(self, grad):
        p = np.exp(self.log_p)
        return (grad - p * grad.sum(axis=self.axes, keepdims=True)) / grad.dtype.type(self.temperature)
