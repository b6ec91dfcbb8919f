"""Tensor: an array that remembers how it was computed, so that gradients can be carried back through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine import backward as backward_pass
from minidl.engine.activations import GELU, LeakyReLU
from minidl.engine.checks import check_flag, require
from minidl.engine.elementwise import (
    Abs,
    Add,
    Clip,
    Cos,
    Div,
    Exp,
    Log,
    Mul,
    Neg,
    Pow,
    ReLU,
    Root,
    Sigmoid,
    Sin,
    Sqrt,
    Sub,
    Tanh,
)
from minidl.engine.holding import array_of
from minidl.engine.linalg import MatMul
from minidl.engine.methods import Methods, refuse_dim, takes_dim
from minidl.engine.op import Op
from minidl.engine.recording import records_graph
from minidl.engine.reduce import CumSum, LogSoftmax, LogSumExp, Max, Mean, Min, Prod, Softmax, Sum, Var
from minidl.engine.shape import (
    AsType,
    BroadcastTo,
    ExpandDims,
    GetItem,
    Ints,
    Reshape,
    Squeeze,
    Transpose,
    one_tuple,
)

Axis = int | tuple[int, ...] | None
_NUMPYS = (ValueError, TypeError, IndexError, OverflowError)


def apply(op: Op, *inputs: Any) -> Tensor:
    """Run ``op.forward`` on the inputs' arrays; if a gradient is wanted, record the result in the graph.

    All other inputs (numbers, arrays, integer and bool Tensors) are cast to float64 if one of the floating
    Tensors is float64, otherwise to float32.

    >>> from minidl import Tensor, apply
    >>> from minidl.engine.elementwise import Mul
    >>> apply(Mul(), Tensor([1.0, 2.0], requires_grad=True), 3)
    Tensor([3., 6.], float32, from Mul, grad)
    """
    if not isinstance(op, Op) or "needs" in op.__dict__:
        raise TypeError(f"an Op is its own context: apply needs an unused instance, got {op!r}")
    dtype = None
    for x in inputs:
        if isinstance(x, Tensor) and x._data.dtype.kind == "f" and dtype != np.float64:
            dtype = x._data.dtype
    if dtype is None and not op.only_moves:
        dtype = np.dtype(np.float32)
    recording = records_graph.get()
    parents, arrays, needs, versions = [], [], [], []
    for x in inputs:
        if not isinstance(x, Tensor):
            x = Tensor(x, dtype=dtype)
        parents.append(x)
        arrays.append(x._data if dtype is None or x._data.dtype == dtype else array_of(x._data, dtype))
        needs.append(recording and x.requires_grad)
        versions.append(x._changes[0])

    op.needs = tuple(needs)
    try:
        y = np.asarray(op.forward(*arrays))
    except _NUMPYS as error:  # its message names neither operation nor inputs
        shapes = " and ".join(str(array.shape) for array in arrays) or "none"
        kind = next((k for k in _NUMPYS[:3] if isinstance(error, k)), ValueError)
        raise kind(f"{type(op).__name__} of inputs of shape {shapes}: {error}") from error
    if dtype is not None and y.dtype != dtype and not op.changes_dtype:
        if y.ndim > 0:
            raise TypeError(f"{type(op).__name__}.forward turned {dtype} into {y.dtype}")
        y = y.astype(dtype)  # before version 2, NumPy turns float32 of shape () times 2 into float64
    if check := backward_pass.anomaly_check.get():
        check(op, y, arrays, "forward")

    result = Tensor.__new__(Tensor)  # not by __init__, which checks data of the user
    result._data, result._changes = y, [0]
    if y.base is not None:  # y may be a view of an input's array, as by reshape
        for x in parents:
            if y.base is x._data or y.base is x._data.base:
                result._changes = x._changes
    if True in needs:
        result.requires_grad = True
        result.op, result.parents, result.versions = op, tuple(parents), (*versions, result._changes[0])
    return result


class Tensor(Methods):
    """An array ``data`` and, if a gradient is wanted, the Op and the parents that computed it.

    Python numbers and lists become float32; a NumPy array keeps its dtype and is shared, not copied. ``grad``
    is a NumPy array, or None before the first ``backward``. Assigning ``data`` (so also ``t.data -= step``)
    makes a new version, also of the tensors that share the array, such as ``t.detach()``; ``backward``
    refuses a graph that was built from the old version. A change of single elements, ``t.data[0] = 1``, is
    not noticed: do that before the forward pass.

    >>> from minidl import Tensor
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> print(x.grad)
    [2. 4.]
    """

    # ---- gradients

    def backward(self, gradient: Any = None, retain_graph: bool = True) -> None:
        """Add d(self . gradient) / d(leaf) to the ``.grad`` of every leaf that requires one.

        Without ``gradient``, a tensor of one element starts from 1. Computed tensors keep no gradient unless
        ``retain_grad()`` asked for it. After an error every ``.grad`` is as before. ``retain_graph`` has no
        effect: a graph lives as long as its tensors.
        """
        check_flag("retain_graph", retain_graph)
        backward_pass.backward(self, gradient)

    def detach(self) -> Tensor:
        """The same array, not copied, as a tensor outside the graph."""
        result = Tensor(self._data)
        result._changes = self._changes  # a change of one is a change of both
        return result

    # ---- arithmetic

    def __add__(self, other: Any) -> Tensor:
        return apply(Add(), self, other)

    def __radd__(self, other: Any) -> Tensor:
        return apply(Add(), other, self)

    def __sub__(self, other: Any) -> Tensor:
        return apply(Sub(), self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return apply(Sub(), other, self)

    def __mul__(self, other: Any) -> Tensor:
        return apply(Mul(), self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return apply(Mul(), other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return apply(Div(), self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return apply(Div(), other, self)

    def __pow__(self, other: Any) -> Tensor:
        return apply(Pow(), self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return apply(Pow(), other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return apply(MatMul(), self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return apply(MatMul(), other, self)

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place(Add(), other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place(Sub(), other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place(Mul(), other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place(Div(), other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._in_place(Pow(), other)

    def _in_place(self, op: Op, other: Any) -> Tensor:
        """``x += y``: a new tensor x + y if a graph is recorded, otherwise a change of x in place."""
        if records_graph.get() and self.requires_grad and self.op is None:
            mend = "change it inside ``with no_grad():``, or write x = x + y for a new tensor"
            raise ValueError(f"{self!r} is a leaf that requires a gradient: {mend}")
        result = apply(op, self, other)
        if result.requires_grad:
            return result
        if result.shape != self.shape or not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise ValueError(f"{result!r} does not fit into {self!r} in place: write x = x + y instead")
        new = result._data if self.mask is None else np.where(self.mask, result._data, 0)
        array = self._data if self._data.flags.writeable else self._data.copy()
        array[...] = new  # this also changes a shared array of the caller
        self.data = array
        return self

    def __neg__(self) -> Tensor:
        return apply(Neg(), self)

    def __abs__(self) -> Tensor:
        return apply(Abs(), self)

    def abs(self) -> Tensor:
        return apply(Abs(), self)

    def exp(self) -> Tensor:
        return apply(Exp(), self)

    def log(self) -> Tensor:
        return apply(Log(), self)

    def sqrt(self) -> Tensor:
        return apply(Sqrt(), self)

    def root(self) -> Tensor:
        """The square root, with slope 0 at 0."""
        return apply(Root(), self)

    def sin(self) -> Tensor:
        return apply(Sin(), self)

    def cos(self) -> Tensor:
        return apply(Cos(), self)

    def tanh(self) -> Tensor:
        return apply(Tanh(), self)

    def sigmoid(self) -> Tensor:
        return apply(Sigmoid(), self)

    def relu(self) -> Tensor:
        return apply(ReLU(), self)

    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        return apply(LeakyReLU(negative_slope), self)

    def gelu(self) -> Tensor:
        return apply(GELU(), self)

    def astype(self, dtype: Any) -> Tensor:
        """The tensor in another dtype. The gradient passes only between floating dtypes."""
        array = array_of(self._data, dtype)
        is_float = array.dtype.kind == self.dtype.kind == "f"
        return apply(AsType(array.dtype), self) if is_float else Tensor(array)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        return apply(Clip(low, high), self)

    # ---- over axes

    @takes_dim
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(Sum(axis, keepdims), self)

    @takes_dim
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(Mean(axis, keepdims), self)

    @takes_dim
    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return apply(Var(axis, ddof, keepdims), self)

    @takes_dim
    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(Prod(axis, keepdims), self)

    @takes_dim
    def cumsum(self, axis: int) -> Tensor:
        return apply(CumSum(axis), self)

    def max(self, dim: None = None, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        refuse_dim("max", dim)
        return apply(Max(axis, keepdims), self)

    def min(self, dim: None = None, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        refuse_dim("min", dim)
        return apply(Min(axis, keepdims), self)

    @takes_dim
    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(LogSumExp(axis, keepdims), self)

    @takes_dim
    def softmax(self, axis: Axis = -1, *, temperature: float = 1.0) -> Tensor:
        return apply(Softmax(axis, temperature), self)

    @takes_dim
    def log_softmax(self, axis: Axis = -1, *, temperature: float = 1.0) -> Tensor:
        return apply(LogSoftmax(axis, temperature), self)

    # ---- shape

    def reshape(self, *shape: Ints) -> Tensor:
        return apply(Reshape(one_tuple(shape)), self)

    def transpose(self, *axes: Ints) -> Tensor:
        """The tensor with its axes in the given order, or reversed without arguments (NumPy's transpose).

        PyTorch's transpose(i, j) is ``swapaxes``. A call that means something else in PyTorch is refused.
        """
        is_unchanged = self.ndim == 2 and [i % 2 for i in axes if isinstance(i, int | np.integer)] == [0, 1]
        why = "leaves a matrix unchanged here, but swaps in PyTorch: write swapaxes(0, 1)"
        require(not is_unchanged, f"transpose{axes} {why}, or transpose((0, 1))")
        return apply(Transpose(one_tuple(axes) or None), self)

    @property
    def T(self) -> Tensor:
        return apply(Transpose(), self)

    @takes_dim
    def squeeze(self, axis: Axis = None) -> Tensor:
        return apply(Squeeze(axis), self)

    @takes_dim
    def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor:
        return apply(ExpandDims(axis), self)

    def broadcast_to(self, *shape: Ints) -> Tensor:
        return apply(BroadcastTo(one_tuple(shape)), self)

    def __getitem__(self, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(part._data if isinstance(part, Tensor) else part for part in parts)
        return apply(GetItem(parts), self)

    def __setitem__(self, index: Any, value: Any) -> None:
        why = "elements of a Tensor cannot be set: a graph may need the old values"
        new = "a new tensor with minidl.where(mask, value, t)"
        raise TypeError(f"{why}. Make {new}, or outside any graph change the array, t.data[index] = value")
