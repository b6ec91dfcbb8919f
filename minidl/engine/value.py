"""Value: the part of a Tensor that is an array of numbers and knows no graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

_FUNCTIONS = ("concatenate", "einsum", "maximum", "minimum", "pad", "stack", "where")  # those of functions.py
_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "true_divide": "__rtruediv__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
}

Self = TypeVar("Self", bound="Value")


class Value:
    """The methods of a Tensor that read its ``data``: shape, comparison, conversion, printing.

    ``<``, ``<=``, ``>`` and ``>=`` give bool arrays. ``==`` and ``hash`` compare the objects, so that tensors
    can be keys of a dict. ``t.data == array`` compares the elements.
    """

    _data: np.ndarray  # Tensor sets these six attributes; this module may not import Tensor
    op: Any
    name: str | None
    grad: np.ndarray | None
    requires_grad: bool
    __getitem__: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    def numpy(self) -> np.ndarray:
        return self._data

    def item(self) -> float | int | bool:
        """The single element as a Python number."""
        if self.size != 1:
            raise ValueError(f"only a tensor of one element is a number, this has shape {self.shape}")
        return self._data.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._data if dtype is None else self._data.astype(dtype, copy=False)
        return array.copy() if copy else array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy calls this for ``array * t``. It becomes ``t.__rmul__(array)``; other ufuncs are refused."""
        reflected = _REFLECTED.get(ufunc.__name__)
        if method == "__call__" and not kwargs and not isinstance(inputs[0], Value):
            if reflected:
                return getattr(self, reflected)(inputs[0])
            if ufunc in (np.equal, np.not_equal):  # an array and a Tensor are two different objects
                return ufunc is np.not_equal
        raise TypeError(self._would_leave_the_graph(ufunc.__name__))

    def __array_function__(self, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        """Allow NumPy functions that only ask about an array; refuse others, as ``np.where(t > 0, t, 0)``."""
        if function not in (np.shape, np.ndim, np.size, np.allclose, np.isclose, np.array_equal):
            raise TypeError(self._would_leave_the_graph(function.__name__))
        return function(*[x._data if isinstance(x, Value) else x for x in args], **kwargs)

    def _would_leave_the_graph(self, name: str) -> str:
        method = [f"t.{name}(...)"] if hasattr(type(self), name) else []
        own = method + [f"minidl.{name}(...)"] * (name in _FUNCTIONS) + ["what Tensor and minidl offer"]
        return f"np.{name} would leave the graph: use {own[0]}, or give it t.data for plain numbers"

    def __lt__(self, other: Any) -> np.ndarray:
        return _compare(np.less, self, other)

    def __le__(self, other: Any) -> np.ndarray:
        return _compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> np.ndarray:
        return _compare(np.greater, self, other)

    def __ge__(self, other: Any) -> np.ndarray:
        return _compare(np.greater_equal, self, other)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor without axes has no len()")
        return len(self._data)

    def __iter__(self) -> Iterator:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __deepcopy__(self: Self, memo: dict) -> Self:
        if self.op is not None:
            raise ValueError("a computed tensor is not copied with its graph: copy t.detach()")
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__, _data=self._data.copy(), _changes=[0], grad=None)
        return copy

    def __repr__(self) -> str:
        """A small tensor shows its values; a larger one shows its shape and its least and largest value."""
        start = f"Tensor({self.name!r}, " if self.name else "Tensor("
        origin = f", from {type(self.op).__name__}" if self.op else ""
        end = f", {self.dtype}{origin}{', grad' * self.requires_grad})"
        if self.size == 0 or self.size > 20:
            return f"{start}{self.shape}, {_range(self._data) if self.size else 'empty'}{end}"
        values = np.array2string(self._data, separator=", ", max_line_width=100, prefix=start)
        line = start + " ".join(values.split()).replace("[ ", "[") + end
        return line if len(line) <= 100 else start + values + end


def _range(array: np.ndarray) -> str:
    """The least and the largest value; for a large array, of a sample of its elements."""
    sample = array.flat[:: max(1, array.size // 10_000)]
    about = "about " if sample.size < array.size else ""
    if not np.isfinite(sample).all():
        return f"{about}{np.isnan(sample).sum()} NaN, {np.isinf(sample).sum()} Inf"
    return f"{about}{sample.min():.4g} … {sample.max():.4g}"


def _compare(comparison: np.ufunc, t: Value, other: Any) -> np.ndarray:
    other = other._data if isinstance(other, Value) else other  # a Python number is rounded to t's dtype
    try:
        return comparison(t._data, other)
    except (TypeError, ValueError, OverflowError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        what = f"shape {other.shape}" if hasattr(other, "shape") else f"a {type(other).__name__}"
        raise kind(f"cannot compare shape {t.shape} with {what}") from None
