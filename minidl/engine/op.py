"""Op: one operation, knowing arrays and nothing of the graph."""

from __future__ import annotations

import numpy as np


class Op:
    """One differentiable operation ``y = op.forward(*arrays)``; an instance is its own context, used once.

    A subclass takes what is not differentiated (axes, strides, labels) in ``__init__``, saves in ``forward``
    what ``backward`` needs, under the names of the formula, and returns from ``backward`` one gradient per
    input: a tuple, or the bare array of an operation with one input. ``None`` may stand where ``needs`` is
    False. Neither writes into the arrays that it is given: others hold them too.
    """

    needs: tuple[bool, ...] = (True, True, True)  # per input: does anybody want its gradient?  Set by apply.
    only_moves = False  # True for what moves elements without computing: integers may then stay integers
    changes_dtype = False  # True for a cast: its result has another dtype than its inputs, its gradient too
    line: str  # of the caller's code that ran it, and the path of the layer: detect_anomaly writes both
    layer: str

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, grad: np.ndarray) -> np.ndarray | tuple[np.ndarray | None, ...]:
        raise NotImplementedError(f"{type(self).__name__}.backward")


def unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum ``grad`` over the axes along which an array of ``shape`` was broadcast: broadcasting's adjoint."""
    if grad.shape == shape:
        return grad
    added = tuple(range(grad.ndim - len(shape)))
    aligned = grad.shape[len(added) :]
    stretched = tuple(len(added) + i for i, n in enumerate(shape) if n == 1 and aligned[i] != 1)
    return grad.sum(axis=added + stretched, keepdims=True).reshape(shape)
