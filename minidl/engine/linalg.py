"""Matrix products."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_instance, require, shown
from minidl.engine.jit import matmul
from minidl.engine.op import Op, unbroadcast


def swap_last(x: np.ndarray) -> np.ndarray:
    """Transpose the last two axes: (..., n, k) -> (..., k, n)."""
    return np.swapaxes(x, -1, -2)


class MatMul(Op):
    """y = a @ b.  Shapes (..., n, k) and (..., k, m) give (..., n, m); the front axes broadcast.

    A vector a counts as one row, a vector b as one column; y does not have this axis. ``matmul`` multiplies,
    ``swap_last`` transposes the last two axes. ``backward`` gets grad = dL/dy and returns (dL/da, dL/db),
    each in the shape of its input.
    """

    def forward(self, a, b):
        self.a_shape, self.b_shape = a.shape, b.shape
        self.a = a[np.newaxis, :] if a.ndim == 1 else a
        self.b = b[:, np.newaxis] if b.ndim == 1 else b
        return matmul(a, b)

    def backward(self, grad):
        if len(self.b_shape) == 1:
            grad = np.expand_dims(grad, -1)  # (..., n) -> (..., n, 1)
        if len(self.a_shape) == 1:
            grad = np.expand_dims(grad, -2)  # (..., m) -> (..., 1, m)
        grad_a = grad_b = None
        if self.needs[0]:
            grad_a = matmul(grad, swap_last(self.b))  # (n, m) @ (m, k) -> (n, k)
            grad_a = unbroadcast(grad_a, self.a.shape).reshape(self.a_shape)
        if self.needs[1]:
            grad_b = matmul(swap_last(self.a), grad)  # (k, n) @ (n, m) -> (k, m)
            grad_b = unbroadcast(grad_b, self.b.shape).reshape(self.b_shape)
        return grad_a, grad_b


class Linear(Op):
    """y = x @ W.T + b.  Shapes (..., in), (out, in), (out,) give (..., out)."""

    def forward(self, x, weight, *bias):
        fits = x.ndim > 0 and weight.ndim == 2 and x.shape[-1] == weight.shape[1]
        require(fits, "expected x (..., in) and weight (out, in)")
        require(not bias or bias[0].shape == weight.shape[:1], f"expected bias ({len(weight)},)")
        self.x, self.weight, self.has_bias = x, weight, bool(bias)
        y = matmul(x, weight.T)
        if bias:
            y += bias[0]
        return y

    def backward(self, grad):
        rows = grad.reshape(-1, grad.shape[-1])  # (N, out)
        grad_x = matmul(grad, self.weight) if self.needs[0] else None
        grad_weight = matmul(rows.T, self.x.reshape(-1, self.x.shape[-1])) if self.needs[1] else None
        if not self.has_bias:
            return grad_x, grad_weight
        return grad_x, grad_weight, rows.sum(axis=0) if self.needs[2] else None


class Einsum(Op):
    """y = sum of the products of all inputs over the letters that are not in the output, as in "ij,jk->ik"

    The gradient of an input is also such a sum: it multiplies grad with the other inputs, and sums over the
    letters that are not in the input. A letter that only this input has repeats the gradient along its axis.
    """

    def __init__(self, equation: str) -> None:
        text = check_instance("equation", equation, str).replace(" ", "")
        left, arrow, self.result = text.partition("->")
        self.terms = left.split(",")
        letters = "".join(self.terms)
        if not arrow:
            self.result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
        is_plain = all((part.isascii() and part.isalpha()) or not part for part in (*self.terms, self.result))
        wanted = "equation must be letters, commas and one ->, as in 'ij,jk->ik'"
        require(is_plain, f"{wanted}, got {shown(equation)}")
        for part in (*self.terms, self.result):
            require(len(set(part)) == len(part), f"{part!r} of {equation!r} names an axis twice")
        unknown = set(self.result) - set(letters)
        require(not unknown, f"the output of {equation!r} names {sorted(unknown)}, which no input has")

    def forward(self, *arrays):
        shapes = [a.shape for a in arrays]
        fits = len(arrays) == len(self.terms)
        fits = fits and all(len(s) == len(t) for s, t in zip(shapes, self.terms, strict=True))
        sizes = {c: n for t, s in zip(self.terms, shapes, strict=False) for c, n in zip(t, s, strict=False)}
        fits = fits and all(tuple(sizes[c] for c in t) == s for t, s in zip(self.terms, shapes, strict=True))
        require(fits, f"the shapes do not fit the equation {','.join(self.terms)}->{self.result}")
        self.arrays = arrays
        return np.einsum(f"{','.join(self.terms)}->{self.result}", *arrays, optimize=True)

    def backward(self, grad):
        return tuple(self.gradient(i, grad) if need else None for i, need in enumerate(self.needs))

    def gradient(self, i, grad):
        terms, arrays = [*self.terms], [*self.arrays]
        term, x = terms.pop(i), arrays.pop(i)
        known = set(self.result).union(*terms)
        kept = "".join(c for c in term if c in known)
        grad_x = np.einsum(f"{','.join([self.result, *terms])}->{kept}", grad, *arrays, optimize=True)
        alone = tuple(axis for axis, c in enumerate(term) if c not in known)
        return np.broadcast_to(np.expand_dims(grad_x, alone), x.shape)
