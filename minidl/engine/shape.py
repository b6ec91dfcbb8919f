"""Operations that move elements about without computing: reshape, transpose, index, join, pad."""

from __future__ import annotations

from types import EllipsisType

import numpy as np

from minidl.engine.checks import check_int, check_number
from minidl.engine.op import Op, unbroadcast
from minidl.engine.reduce import normalize_axis


class Move(Op):
    """What the operations of one input share: integers and bools stay what they are."""

    only_moves = True


class Reshape(Move):
    """y has the elements of x, in the same order, in another shape"""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        self.x_shape = x.shape
        for length in self.shape:
            check_int("each length of a shape, or -1 for what is left,", length, -1)
        return x.reshape(self.shape)

    def backward(self, grad):
        return grad.reshape(self.x_shape)


class Transpose(Move):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...];  None reverses all axes"""

    def __init__(self, axes: tuple[int, ...] | None = None) -> None:
        self.axes = axes

    def forward(self, x):
        axes = range(x.ndim)[::-1] if self.axes is None else self.axes
        if len(normalize_axis(tuple(axes), x.ndim)) != x.ndim:
            raise ValueError(f"transpose needs all {x.ndim} axes, got {self.axes}")
        self.axes = tuple(i % x.ndim for i in axes)
        return x.transpose(self.axes)

    def backward(self, grad):
        return grad.transpose(np.argsort(self.axes))


class Squeeze(Move):
    """y is x without the named axes of length 1 (without all of them for None)"""

    def __init__(self, axis: int | tuple[int, ...] | None = None) -> None:
        self.axis = axis

    def forward(self, x):
        self.x_shape = x.shape
        if self.axis is None:
            return x.squeeze()
        axes = normalize_axis(self.axis, x.ndim)
        if any(x.shape[i] != 1 for i in axes):
            raise ValueError(f"squeeze needs axes of length 1, got axis {self.axis} of shape {x.shape}")
        return x.squeeze(axes)

    def backward(self, grad):
        return grad.reshape(self.x_shape)


class ExpandDims(Move):
    """y is x with new axes of length 1 at the named places of the result"""

    def __init__(self, axis: int | tuple[int, ...]) -> None:
        self.axis = axis

    def forward(self, x):
        self.x_shape = x.shape
        return np.expand_dims(x, self.axis)

    def backward(self, grad):
        return grad.reshape(self.x_shape)


class BroadcastTo(Move):
    """y is x repeated along axes of length 1 and along new leading axes"""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        self.x_shape = x.shape
        return np.broadcast_to(x, self.shape)

    def backward(self, grad):
        return unbroadcast(grad, self.x_shape)


class GetItem(Move):
    """y = x[index];  an element that the index names several times collects all of their gradients"""

    def __init__(self, index) -> None:
        self.index = index

    def forward(self, x):
        self.x_shape = x.shape
        return x[self.index]

    def backward(self, grad):
        grad_x = np.zeros(self.x_shape, grad.dtype)
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if all(
            isinstance(part, int | np.integer | slice | None | EllipsisType)
            or (isinstance(part, np.ndarray) and part.dtype == bool)
            for part in parts
        ):
            grad_x[self.index] = grad  # no element twice
        else:
            np.add.at(grad_x, self.index, grad)  # unlike grad_x[index] += grad, this adds repeats up
        return grad_x


class Concatenate(Op):
    """y is the inputs one after another along an axis that exists"""

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def forward(self, *arrays):
        axis = self.axis
        if not isinstance(axis, int | np.integer):
            raise TypeError(f"axis must be an int, got {axis!r}")
        self.ends = np.cumsum([a.shape[axis] if -a.ndim <= axis < a.ndim else 0 for a in arrays])
        return np.concatenate(arrays, axis)

    def backward(self, grad):
        return tuple(np.split(grad, self.ends[:-1], self.axis))


class Stack(Op):
    """y is the inputs, all of one shape, laid along a new axis"""

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def forward(self, *arrays):
        if not isinstance(self.axis, int | np.integer):
            raise TypeError(f"axis must be an int, got {self.axis!r}")
        return np.stack(arrays, self.axis)

    def backward(self, grad):
        return tuple(np.moveaxis(grad, self.axis, 0))


class Pad(Op):
    """y is x with ``pad_width[i] = (before, after)`` elements of ``value`` added along each axis i"""

    def __init__(self, pad_width: tuple[tuple[int, int], ...], value: float = 0.0) -> None:
        self.pad_width, self.value = pad_width, check_number("value", value, finite=False)

    def forward(self, x):
        widths = np.array(self.pad_width)
        if widths.dtype.kind != "i" or widths.shape != (x.ndim, 2) or widths.min(initial=0) < 0:
            raise ValueError(f"pad_width needs {x.ndim} pairs (before, after) >= 0, got {self.pad_width!r}")
        self.inside = tuple(slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True))
        return np.pad(x, widths, constant_values=x.dtype.type(self.value))

    def backward(self, grad):
        return grad[self.inside]
