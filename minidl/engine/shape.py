"""Operations that only move elements: reshape, transpose, index, join, pad."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import numpy as np

from minidl.engine.checks import check_int, check_number, check_pair, check_sequence, require
from minidl.engine.op import Op, unbroadcast
from minidl.engine.reduce import normalize_axis

Ints = int | tuple[int, ...] | list[int]  # each argument of f(2, 3) or of f((2, 3))


def one_tuple(arguments: tuple[Ints, ...]) -> tuple:
    """(2, 3) from f(2, 3) as well as from f((2, 3))."""
    return (
        tuple(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments
    )


class Move(Op):
    """The common part of the operations with one input: integers and bools keep their dtype."""

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


class AsType(Move):
    """y is x in another floating dtype;  the gradient is cast back"""

    changes_dtype = True

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def forward(self, x):
        return x.astype(self.dtype)

    def backward(self, grad):
        return grad  # in the dtype of y; backward_one casts it


class Transpose(Move):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...];  None reverses all axes"""

    def __init__(self, axes: tuple[int, ...] | None = None) -> None:
        self.axes = axes

    def forward(self, x):
        axes = range(x.ndim)[::-1] if self.axes is None else self.axes
        is_whole = len(normalize_axis(tuple(axes), x.ndim)) == x.ndim
        require(is_whole, f"transpose needs all {x.ndim} axes, got {self.axes}; swapaxes takes two")
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
        require(all(x.shape[i] == 1 for i in axes), f"squeeze needs axes of length 1, got axis {self.axis}")
        return x.squeeze(axes)

    def backward(self, grad):
        return grad.reshape(self.x_shape)


class ExpandDims(Move):
    """y is x with new axes of length 1 at the given positions of the result"""

    def __init__(self, axis: int | tuple[int, ...]) -> None:
        axes = axis if isinstance(axis, tuple) else (axis,)
        self.axis = tuple(check_int("axis", i, -64, 63) for i in axes)

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
    """y = x[index];  an element that occurs several times in the index sums all of its gradients"""

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
            np.add.at(grad_x, self.index, grad)  # grad_x[index] += grad would count a repeated element once
        return grad_x


class Concatenate(Op):
    """y is the inputs, joined along an existing axis"""

    def __init__(self, axis: int = 0) -> None:
        self.axis = check_int("axis", axis, -64, 63)

    def forward(self, *arrays):
        axis = self.axis
        self.ends = np.cumsum([a.shape[axis] if -a.ndim <= axis < a.ndim else 0 for a in arrays])
        return np.concatenate(arrays, axis)

    def backward(self, grad):
        return tuple(np.split(grad, self.ends[:-1], self.axis))


class Stack(Concatenate):
    """y is the inputs, all of one shape, joined along a new axis"""

    def forward(self, *arrays):
        return np.stack(arrays, self.axis)

    def backward(self, grad):
        return tuple(np.moveaxis(grad, self.axis, 0))


class Pad(Op):
    """y is x with ``pad_width[i] = (before, after)`` elements of ``value`` added along each axis i"""

    def __init__(self, pad_width: Sequence[tuple[int, int]], value: float = 0.0) -> None:
        rows = pad_width.tolist() if isinstance(pad_width, np.ndarray) else pad_width
        of = "(before, after)"
        pairs = [check_pair("each of pad_width", row, of) for row in check_sequence("pad_width", rows)]
        self.pad_width = [tuple(check_int("each number of pad_width", n, 0) for n in pair) for pair in pairs]
        self.value = check_number("value", value, finite=False)

    def forward(self, x):
        require(len(self.pad_width) == x.ndim, f"pad_width needs {x.ndim} pairs, got {len(self.pad_width)}")
        self.inside = tuple(slice(b, b + n) for (b, _), n in zip(self.pad_width, x.shape, strict=True))
        return np.pad(x, self.pad_width, constant_values=x.dtype.type(self.value))

    def backward(self, grad):
        return grad[self.inside]
