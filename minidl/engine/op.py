"""Op: one operation on arrays. It does not know the graph."""

from __future__ import annotations

import numpy as np


class Op:
    """One differentiable operation ``y = op.forward(*arrays)``.

    An instance is its own context and is used once.

    A subclass takes constants (axes, strides, labels) in ``__init__``. ``forward`` saves the values for
    ``backward`` under the names of the formula. ``backward`` returns one gradient per input: a tuple, or the
    array alone if there is one input. A gradient may be ``None`` where ``needs`` is False. Neither method may
    change its arguments in place, because other objects hold these arrays, too.

    >>> from minidl import Op, Tensor, apply
    >>> class Cube(Op):
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x**3
    ...     def backward(self, grad):
    ...         return grad * 3 * self.x**2
    >>> x = Tensor([2.0], requires_grad=True)
    >>> apply(Cube(), x).backward()
    >>> print(x.grad)
    [12.]
    """

    needs: tuple[bool, ...] = (True, True, True)  # for each input: is its gradient needed?  Set by apply.
    only_moves = False  # True if the Op only moves elements: then integers may stay integers
    changes_dtype = False  # True for a cast: result and gradient may have another dtype than the inputs
    line: str  # of the caller's code that ran the Op, and the path of the layer: detect_anomaly writes both
    layer: str

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, grad: np.ndarray) -> np.ndarray | tuple[np.ndarray | None, ...]:
        raise NotImplementedError(f"{type(self).__name__}.backward")


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array for a function of the user, which cannot write into it."""
    view = array.view()
    view.flags.writeable = False
    return view


def unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum ``grad`` over the axes along which an array of shape ``shape`` was broadcast.

    The result has the shape ``shape``. This is the adjoint of broadcasting, that is, its transpose.

    >>> from minidl.engine.op import unbroadcast
    >>> print(unbroadcast(np.array([[1, 2], [10, 20]]), (2,)), unbroadcast(np.array([[1, 2], [10, 20]]), ()))
    [11 22] 33
    """
    if grad.shape == shape:
        return grad
    added = tuple(range(grad.ndim - len(shape)))
    aligned = grad.shape[len(added) :]
    stretched = tuple(len(added) + i for i, n in enumerate(shape) if n == 1 and aligned[i] != 1)
    return grad.sum(axis=added + stretched, keepdims=True).reshape(shape)
