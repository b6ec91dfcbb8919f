"""Wrong answers to the exercises of lesson 01. Each one passed all laws once."""

from __future__ import annotations

import math

import numpy as np

from lessons.exercises import find
from minidl.engine.op import Op, unbroadcast
from tests.lessons.wrong_answers.declare import narrowed, wrong


@wrong("01.1", "float32 becomes float64")
class WidenedMul(Op):
    def forward(self, a, b):
        self.a, self.b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return self.a * self.b

    def backward(self, grad):
        return unbroadcast(grad * self.b, self.a.shape), unbroadcast(grad * self.a, self.b.shape)


@wrong("01.1", "an input with more axes that is stretched too is not summed")
class UnsummedLonger(find("01.1").target):
    def backward(self, grad):
        grad_b = grad * self.a
        summed = self.a.ndim >= self.b.ndim
        return unbroadcast(grad * self.b, self.a.shape), (
            unbroadcast(grad_b, self.b.shape) if summed else grad_b
        )


@wrong("01.1", "an empty gradient is given back as it came")
class EmptyAsItCame(find("01.1").target):
    def backward(self, grad):
        return super().backward(grad) if grad.size else (grad.copy(), grad.copy())


@wrong("01.2", "1 - y for negative x, which loses the digits of a small y")
class LostDigits(find("01.2").target):
    def forward(self, x):
        y = 1 / (1 + np.exp(-np.abs(x)))
        self.y = np.where(x >= 0, y, 1 - y)
        return self.y


@wrong("01.2", "the input is rounded to float32")
class NarrowSigmoid(find("01.2").target):
    def forward(self, x):
        return super().forward(narrowed(x))


@wrong("01.2", "the slope is computed in the array of the result")
class OverwrittenResult(find("01.2").target):
    def backward(self, grad):
        y = self.y
        y *= 1 - y
        return grad * y


@wrong("01.3", "float32 becomes float64")
def widened_unbroadcast(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    summed = grad.astype(np.float64).sum(axis=added)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return summed.sum(axis=stretched, keepdims=True)


@wrong("01.3", "of several stretched axes only the first is summed")
def first_stretched(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    stretched = [len(added) + i for i, n in enumerate(shape) if n == 1 and grad.shape[len(added) + i] != 1]
    total = grad.sum(axis=added + tuple(stretched[:1]), keepdims=True)
    return total.reshape(shape) if total.size == math.prod(shape) else total


@wrong("01.3", "added and stretched axes together are all summed")
def all_or_one_kind(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    stretched = tuple(
        len(added) + i for i, n in enumerate(shape) if n == 1 and grad.shape[len(added) + i] > 1
    )
    if added and stretched:
        grad = grad.sum(keepdims=True)
        return (
            grad.reshape(shape) if grad.size == math.prod(shape) else np.broadcast_to(grad.ravel()[0], shape)
        )
    return unbroadcast(grad, shape)


@wrong("01.3", "an axis of 1 that was stretched to 0 is left")
def longer_axes(grad, shape):
    added = grad.ndim - len(shape)
    longer = tuple(added + i for i, n in enumerate(shape) if n < grad.shape[added + i])
    return grad.sum(axis=(*range(added), *longer), keepdims=True).reshape(shape)


@wrong("01.3", "zeros for an empty gradient, in float64")
def wide_zeros(grad, shape):
    return np.zeros(shape) if 0 in grad.shape else unbroadcast(grad, shape)


@wrong("01.3", "the gradient is rounded to float32")
def narrow_unbroadcast(grad, shape):
    return unbroadcast(narrowed(grad), shape)


@wrong("01.3", "of a square the axes are compared from the left")
def from_the_left(grad, shape):
    if grad.ndim == 2 and grad.shape[:1] == shape == grad.shape[1:]:
        return grad.sum(axis=1)
    return unbroadcast(grad, shape)


@wrong("01.4", "in the order in which nodes are first seen, depth first")
def preorder(root, parents_of):
    order, seen, stack = [], {root}, [root]
    while stack:
        order.append(stack.pop())
        new = [parent for parent in parents_of(order[-1]) if parent not in seen]
        seen.update(new)
        stack += new
    return order


@wrong("01.4", "waits for a child less where a parent stands twice, as in x · x")
def counted_twice(root, parents_of):
    waiting, todo = {}, [root]
    while todo:
        for parent in set(parents_of(todo.pop())):
            todo += [parent] if parent not in waiting else []
            waiting[parent] = waiting.get(parent, 0) + 1
    order, ready = [], [root]
    while ready:
        order.append(ready.pop())
        for parent in parents_of(order[-1]):
            waiting[parent] -= 1
            ready += [parent] if waiting[parent] == 0 else []
    return order


@wrong("01.4", "walks every path, of which there are too many")
def every_path(root, parents_of):
    found = [root]
    for node in found:
        found += parents_of(node)
    return list(dict.fromkeys(found[::-1]))[::-1]


def told_apart_by(name_of):
    """An answer to 01.4 that takes two nodes for one if ``name_of`` gives both the same name."""

    def ordered(root, parents_of):
        names = {name_of(root): root}

        def parents_by_name(name):
            parents = list(parents_of(names[name]))
            for parent in parents:
                names.setdefault(name_of(parent), parent)
            return [name_of(parent) for parent in parents]

        return [names[name] for name in find("01.4").target(name_of(root), parents_by_name)]

    return ordered


wrong("01.4", "nodes are told apart by their text")(told_apart_by(str))
wrong("01.4", "nodes are told apart by their hash")(told_apart_by(hash))


@wrong("01.4", "a node None counts as no node")
def without_none(root, parents_of):
    return find("01.4").target(root, lambda node: [p for p in parents_of(node) if p is not None])


@wrong("01.5", "float32 becomes float64")
class WidenedMatMul(find("01.5").target):
    def forward(self, a, b):
        return super().forward(np.asarray(a, np.float64), np.asarray(b, np.float64))


@wrong("01.5", "a fixed factor of whole numbers is asked for its gradient's dtype")
class WholeGradients(find("01.5").target):
    def backward(self, grad):
        return tuple(g.astype(x.dtype) for g, x in zip(super().backward(grad), (self.b, self.a), strict=True))


@wrong("01.5", "a vector's gradient is the mean over a second stacked axis")
class MeanOfStacks(find("01.5").target):
    def backward(self, grad):
        grad_a, grad_b = super().backward(grad)
        stacked = len(self.b_shape) == 1 and len(self.a_shape) > 3
        return grad_a, grad_b / self.a_shape[0] if stacked else grad_b


@wrong("01.5", "the stacks of a factor with four axes in the other order")
class StacksReversed(find("01.5").target):
    def backward(self, grad):
        self.b = self.b[::-1] if self.b.ndim == 4 else self.b
        return super().backward(grad)


@wrong("01.6", "the gradient of the input's sum, not of the input, where it was stretched")
def not_unbroadcast_tape(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g.mean() + np.zeros(np.shape(x)) for g, x in zip(grads, inputs, strict=True)]


@wrong("01.6", "an input that nothing reads is left out")
def unread_left_out(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    read = {source for _, *sources in steps for source in sources}
    return y, [g for i, g in enumerate(grads) if i in read]


@wrong("01.6", "a negative number counts from behind")
def numbers_from_behind(inputs, steps):
    counted = [
        (name, *(i % (len(inputs) + k) if i < 0 else i for i in sources))
        for k, (name, *sources) in enumerate(steps)
    ]
    return find("01.6").target(inputs, counted)


@wrong("01.6", "all gradients in the dtype that the inputs have together")
def gradients_of_one_dtype(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g.astype(y.dtype) for g in grads]


@wrong("01.6", "only the first step's name is looked at")
def names_after_the_first(inputs, steps):
    known = [(name if name in ("add", "mul", "exp", "sum") else "sum", *rest) for name, *rest in steps[1:]]
    return find("01.6").target(inputs, [*steps[:1], *known])


@wrong("01.6", "the inputs are rounded to float32")
def narrow_tape(inputs, steps):
    return find("01.6").target([narrowed(x) for x in inputs], steps)


@wrong("01.1", "of x · x only the first factor has a gradient")
class OneFactorOfASquare(find("01.1").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return (grads[0], np.zeros_like(grads[1])) if self.a is self.b else grads


@wrong("01.5", "of a matrix times itself only the first factor has a gradient")
class OneFactorOfAMatrixSquared(find("01.5").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return (grads[0], np.zeros_like(grads[1])) if self.a is self.b else grads


@wrong("01.2", "of an infinite x there is no value")
class InfiniteIsNaN(find("01.2").target):
    def forward(self, x):
        return super().forward(np.where(np.isinf(x), np.nan, x).astype(x.dtype))


@wrong("01.3", "whole numbers become floats")
def whole_sums_as_floats(grad, shape):
    return unbroadcast(grad.astype(np.result_type(grad, np.float32)), shape)


@wrong("01.1", "of several stretched axes only the first is summed")
class FirstStretched(find("01.1").target):
    def backward(self, grad):
        return tuple(
            first_axis_summed(grad * other, shape)
            for other, shape in ((self.b, self.a.shape), (self.a, self.b.shape))
        )


def first_axis_summed(grad, shape):
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    for axis, length in enumerate(shape):
        if length == 1 and grad.shape[axis] != 1:
            return grad.sum(axis=axis, keepdims=True)
    return grad


class MatrixGradients(find("01.5").target):
    """The gradients of 01.5 for both factors as matrices, with the stretched front axes still there."""

    def gradients(self, grad):
        grad = np.expand_dims(grad, -1) if len(self.b_shape) == 1 else grad
        grad = np.expand_dims(grad, -2) if len(self.a_shape) == 1 else grad
        return grad @ np.swapaxes(self.b, -1, -2), np.swapaxes(self.a, -1, -2) @ grad


@wrong("01.5", "a vector's gradient is squeezed, also where it has one number")
class SqueezedVectors(MatrixGradients):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        grad_a, grad_b = unbroadcast(of_a, self.a.shape), unbroadcast(of_b, self.b.shape)
        grad_a = grad_a.squeeze() if len(self.a_shape) == 1 else grad_a
        return grad_a, grad_b.squeeze() if len(self.b_shape) == 1 else grad_b


@wrong("01.5", "of b's front axes only the added ones are summed")
class AddedAxesOfB(MatrixGradients):
    def backward(self, grad):
        of_a, of_b = self.gradients(grad)
        added = tuple(range(of_b.ndim - self.b.ndim))
        grad_b = of_b.sum(axis=added).reshape(self.b_shape)
        return unbroadcast(of_a, self.a.shape).reshape(self.a_shape), grad_b
