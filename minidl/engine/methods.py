"""Methods of a Tensor without an Op of their own: access to data, combined methods, PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from minidl.engine.checks import check_choice, check_flag, check_int, check_number, positive_int, require
from minidl.engine.holding import array_of
from minidl.engine.instead import TENSOR, missing
from minidl.engine.reduce import normalize_axis, one_axis
from minidl.engine.shape import Ints, one_tuple
from minidl.engine.value import Value

if TYPE_CHECKING:
    from minidl.engine.tensor import Tensor

Result = TypeVar("Result")
Self = TypeVar("Self", bound="Methods")
_TORCH = {"dim": "axis", "dims": "axis", "keepdim": "keepdims", "correction": "ddof", "unbiased": "ddof"}


def takes_dim(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let the function also accept PyTorch's ``dim``, ``keepdim``, and ``correction`` or ``unbiased``.

    They mean ``axis``, ``keepdims`` and ``ddof``. A debugger shows one more frame.
    """

    @wraps(function)
    def with_dim(*arguments: Any, **named: Any) -> Any:
        numpys = {_TORCH.get(name, name): value for name, value in named.items()}
        if "unbiased" in named:  # PyTorch's older word: True means n - 1
            numpys["ddof"] = int(check_flag("unbiased", named["unbiased"]))
        twice = f"{function.__name__} got one argument under two names: {', '.join(named)}"
        require(len(numpys) == len(named), twice, TypeError)
        return function(*arguments, **numpys)

    return with_dim


def refuse_dim(name: str, dim: Any) -> None:
    mend = f"write t.{name}(axis=...) for the values, and np.arg{name}(t.data, axis=...) for the indices"
    require(dim is None, f"{name}(dim) gives values and places in PyTorch: {mend}", TypeError)


class Size(int):
    """The number of elements. A call gives lengths, as in PyTorch: ``t.size(0)`` is ``t.shape[0]``."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> int | tuple[int, ...]:
        return self.shape if dim is None else self.shape[one_axis(dim, len(self.shape))]


class Methods(Value):
    """The base class of Tensor that holds the data. Its methods call other methods, not Ops."""

    requires_grad = False
    grad: np.ndarray | None = None
    op: Any = None
    parents: tuple[Any, ...] = ()
    versions: Sequence[int] = ()  # of the parents and of the result itself when the Op ran
    _changes: list[int]  # the number of changes of the array: one list for all Tensors that share the array
    mask: np.ndarray | None = None  # bools; where False, a change in place or an optimizer's step keeps 0
    retains_grad = False
    name: str | None = None

    __abs__: Callable[..., Tensor]  # these are Tensor's, by Ops of their own
    __matmul__: Callable[..., Tensor]
    __mul__: Callable[..., Tensor]
    broadcast_to: Callable[..., Tensor]
    clip: Callable[..., Tensor]
    expand_dims: Callable[..., Tensor]
    max: Callable[..., Tensor]
    reshape: Callable[..., Tensor]
    sum: Callable[..., Tensor]
    transpose: Callable[..., Tensor]
    var: Callable[..., Tensor]

    def __init__(
        self, data: Any, requires_grad: bool = False, *, dtype: Any = None, name: str | None = None
    ) -> None:
        unchanged = "data is a Tensor already: use it unchanged, or data.detach() to leave its graph"
        require(not isinstance(data, Value), unchanged, TypeError)
        has_tensors = isinstance(data, list | tuple) and any(isinstance(x, Value) for x in data)
        joined = "Tensors in a list would leave the graph: use minidl.stack or concatenate"
        require(not has_tensors, joined, TypeError)
        self._data = array_of(data, dtype)
        self._changes = [0]
        self.name = name
        if check_flag("requires_grad", requires_grad):
            self.requires_grad_()

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set whether this leaf requires a gradient."""
        wanted = check_flag("requires_grad", requires_grad)
        can = self._data.dtype.kind == "f" or not wanted
        require(can, f"only floating tensors can require a gradient, not {self.dtype}", TypeError)
        computed = "a computed tensor requires a gradient if its inputs do: use t.detach() instead"
        require(wanted or self.op is None, computed)
        self.requires_grad = wanted
        return self

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, value: np.ndarray) -> None:
        value = array_of(value, self.dtype)
        require(value.shape == self.shape, f"data has shape {self.shape} and must keep it, got {value.shape}")
        if value is self._data:
            self._changes[0] += 1
        else:  # other Tensors keep the old array
            self._data, self._changes = value, [self.version + 1]

    @property
    def version(self) -> int:
        """The number of changes of the array so far."""
        return self._changes[0]

    def retain_grad(self: Self) -> Self:
        """Make ``backward`` write the ``.grad`` of this computed tensor, as for a leaf."""
        require(self.requires_grad, f"{self!r} requires no gradient, so there is no gradient to retain")
        self.retains_grad = True
        return self

    def zero_grad(self) -> None:
        self.grad = None

    # ---- numbers

    def __pos__(self: Self) -> Self:
        return self

    @takes_dim
    def norm(self, p: float = 2, axis: Any = None, keepdims: bool = False) -> Tensor:
        """(sum |x|^p)^(1/p) for p = 1 or 2, max |x| for p = inf; the slope is 0 if the norm is 0."""
        check_choice("p", check_number("p", p, finite=False), (1.0, 2.0, np.inf))
        if p == 2:
            return (self * self).sum(axis, keepdims).root()
        return abs(self).sum(axis, keepdims) if p == 1 else abs(self).max(axis=axis, keepdims=keepdims)

    @takes_dim
    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The square root of ``var``, with slope 0 where var is 0. PyTorch's default is ddof 1."""
        return self.var(axis, ddof, keepdims).root()

    @takes_dim
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> np.ndarray:
        """The index of the largest value along the axis, or in the flat tensor: an array of integers."""
        require(self.size > 0, f"argmax needs elements: the shape is {self.shape}")
        if axis is not None:
            axis = one_axis(axis, self.ndim)
        return np.argmax(self.data, axis, keepdims=check_flag("keepdims", keepdims))

    # ---- shape

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """The tensor with two axes exchanged: PyTorch's transpose(axis1, axis2)."""
        order = list(range(self.ndim))
        i, j = one_axis(axis1, self.ndim), one_axis(axis2, self.ndim)
        order[i], order[j] = j, i
        return self.transpose(order)

    @takes_dim
    def flip(self, axis: Any = None) -> Tensor:
        """The tensor in reverse order along the axes, or along all axes."""
        turned = normalize_axis(axis, self.ndim)
        return self[tuple(slice(None, None, -1 if i in turned else 1) for i in range(self.ndim))]

    @takes_dim
    def chunk(self, chunks: int, axis: int = 0) -> list[Tensor]:
        """Split the axis into at most ``chunks`` pieces of ceil(length / chunks); the last may be shorter."""
        axis = one_axis(axis, self.ndim)
        length = self.shape[axis]
        size = max(1, -(-length // positive_int("chunks", chunks)))
        before = (slice(None),) * axis
        return [self[before + (slice(start, start + size),)] for start in range(0, max(length, 1), size)]

    def tile(self, *reps: Ints) -> Tensor:
        """The tensor, repeated ``reps[i]`` times along axis i. Fewer reps than axes repeat the last axes."""
        times = [check_int("each of reps", n, 0, 2**31) for n in one_tuple(reps)]
        ndim = max(len(times), self.ndim)
        times = [1] * (ndim - len(times)) + times
        shape = [1] * (ndim - self.ndim) + list(self.shape)
        apart = self.reshape([n for length in shape for n in (1, length)])
        repeated = apart.broadcast_to([n for both in zip(times, shape, strict=True) for n in both])
        return repeated.reshape([n * length for n, length in zip(times, shape, strict=True)])

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from ``start_dim`` to ``end_dim`` as one; ``flatten(1)`` keeps the batch."""
        ndim = max(self.ndim, 1)  # a number counts as one row
        start = check_int("start_dim", start_dim, -self.ndim, ndim - 1) % ndim
        end = check_int("end_dim", end_dim, -ndim, ndim - 1) % ndim + 1
        require(start < end, f"end_dim must not lie before start_dim, got {start_dim} and {end_dim}")
        merged = int(np.prod(self.shape[start:end]))
        return self.reshape(*self.shape[:start], merged, *self.shape[end:])

    # ---- PyTorch's names

    @property
    def size(self) -> Size:
        size = Size(self._data.size)
        size.shape = self.shape
        return size

    def view(self, *shape: Ints) -> Tensor:
        """``reshape``"""
        return self.reshape(*shape)

    def permute(self, *dims: Ints) -> Tensor:
        """The tensor with its axes in the given order, NumPy's ``transpose``."""
        return self.transpose(one_tuple(dims))

    def unsqueeze(self, dim: int) -> Tensor:
        """``expand_dims``"""
        return self.expand_dims(dim)

    def clamp(self, min: float | None = None, max: float | None = None) -> Tensor:
        """``clip``"""
        return self.clip(min, max)

    def matmul(self, other: Any) -> Tensor:
        """``self @ other``"""
        return self @ other

    if not TYPE_CHECKING:  # to a type checker it would mean that a Tensor has attributes of every name

        def __getattr__(self, name: str) -> Any:
            raise missing(f"{type(self).__name__!r} object", name, TENSOR)
