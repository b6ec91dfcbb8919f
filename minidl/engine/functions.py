"""Functions of several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.engine.checks import check_sequence
from minidl.engine.elementwise import Maximum, Minimum, Where
from minidl.engine.linalg import Einsum
from minidl.engine.methods import takes_dim
from minidl.engine.shape import Concatenate, Pad, Stack
from minidl.engine.tensor import Tensor, apply


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element. Where a = b, each gets half of the gradient.

    >>> from minidl import maximum
    >>> maximum([1, 5], [3, 2])
    Tensor([3., 5.], float32)
    """
    return apply(Maximum(), a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element. Where a = b, each gets half of the gradient.

    >>> from minidl import minimum
    >>> minimum([1, 5], [3, 2])
    Tensor([1., 2.], float32)
    """
    return apply(Minimum(), a, b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition (bool, not differentiated) holds, otherwise b.

    >>> from minidl import where
    >>> where([True, False], [1, 5], [3, 2])
    Tensor([1., 2.], float32)
    """
    return apply(Where(condition), a, b)


@takes_dim
def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors, joined along an existing axis.

    >>> from minidl import concatenate
    >>> concatenate([[[1, 2]], [[3, 4]]], axis=1)
    Tensor([[1., 2., 3., 4.]], float32)
    """
    return apply(Concatenate(axis), *check_sequence("tensors", tensors))


@takes_dim
def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, joined along a new axis.

    >>> from minidl import stack
    >>> stack([[1, 2], [3, 4]], axis=1)
    Tensor([[1., 3.], [2., 4.]], float32)
    """
    return apply(Stack(axis), *check_sequence("tensors", tensors))


def pad(x: Any, pad_width: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with ``pad_width[i] = (before, after)`` elements of ``value`` added along each axis i.

    >>> from minidl import pad
    >>> pad([[1, 2]], [(0, 1), (1, 0)])  # one row below, one column on the left
    Tensor([[0., 1., 2.], [0., 0., 0.]], float32)
    """
    return apply(Pad(pad_width, value), x)


def einsum(equation: str, *tensors: Any) -> Tensor:
    """The sum of products by the equation: ``einsum("ij,jk->ik", a, b)`` is a @ b.

    Each axis of an input has a letter. The sum runs over the letters that are missing in the output. A letter
    may appear only once in each term.

    >>> from minidl import einsum
    >>> einsum("ij,jk->ik", [[1, 2]], [[3], [4]])
    Tensor([[11.]], float32)
    """
    return apply(Einsum(equation), *tensors)
