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


def unsummed_after(count, added=9):
    """unbroadcast, which sums at most ``added`` added axes, and of the others only the first ``count``."""

    def summed(grad, shape):
        for _ in range(min(added, grad.ndim - len(shape))):
            grad = grad.sum(axis=0)
        for axis in range(min(count, len(shape))):
            grad = grad.sum(axis=axis, keepdims=True) if shape[axis] == 1 else grad
        return grad

    return summed


def outermost_axes(grad, shape):
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    ones = [axis for axis, length in enumerate(shape) if length == 1]
    return grad.sum(axis=tuple({ones[0], ones[-1]}), keepdims=True) if ones else grad


def product_summed_by(summed):
    class Summed(find("01.1").target):
        def backward(self, grad):
            return summed(grad * self.b, self.a.shape), summed(grad * self.a, self.b.shape)

    return Summed


def matrix_product_summed_by(summed):
    class Summed(MatrixGradients):
        def backward(self, grad):
            grad_a, grad_b = self.gradients(grad)
            grad_a, grad_b = summed(grad_a, self.a.shape), summed(grad_b, self.b.shape)
            return grad_a.reshape(self.a_shape), grad_b.reshape(self.b_shape)

    return Summed


for text, summed in {
    "of the stretched axes only the first two are summed": unsummed_after(2),
    "of the stretched axes only the first three are summed": unsummed_after(3),
    "at most two added axes are summed": unsummed_after(9, added=2),
}.items():
    wrong("01.1", text)(product_summed_by(summed))
    wrong("01.3", text)(summed)
    if "three" not in text:  # 01.5 has three front axes at most
        wrong("01.5", text)(matrix_product_summed_by(summed))
wrong("01.3", "of three stretched axes the middle one is not summed")(outermost_axes)
wrong("01.5", "of two stretched front axes only the first is summed")(
    matrix_product_summed_by(first_axis_summed)
)
wrong("01.5", "added front axes are summed, stretched ones only where none is added")(
    matrix_product_summed_by(
        lambda grad, shape: unsummed_after(9 if grad.ndim == len(shape) else 0)(grad, shape)
    )
)


@wrong("01.1", "an infinite gradient becomes a large number")
class FiniteGradients(find("01.1").target):
    def backward(self, grad):
        return tuple(None if g is None else np.nan_to_num(g) for g in super().backward(grad))


@wrong("01.1", "the gradient of a has the digits of float32")
class NarrowGradient(find("01.1").target):
    def backward(self, grad):
        grad_a, grad_b = super().backward(grad)
        return None if grad_a is None else narrowed(grad_a), grad_b


@wrong("01.1", "zeros for an empty gradient, in float64")
class WideZeros(find("01.1").target):
    def backward(self, grad):
        return super().backward(grad) if grad.size else (np.zeros(self.a.shape), np.zeros(self.b.shape))


@wrong("01.1", "of two square matrices the matrix product")
class ProductOfSquares(find("01.1").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return a @ b if a.ndim == 2 and a.shape == b.shape == a.shape[::-1] else y


@wrong("01.2", "the overflow is only silenced, so that a y below 1e-308 is 0")
class SilencedOverflow(find("01.2").target):
    def forward(self, x):
        with np.errstate(over="ignore"):
            self.y = 1 / (1 + np.exp(-x))
        return self.y


@wrong("01.2", "exactly 1 for x above 20")
class OneAboveTwenty(find("01.2").target):
    def forward(self, x):
        self.y = np.where(x > 20, 1, super().forward(x)).astype(x.dtype)
        return self.y


@wrong("01.2", "exactly 0 for x below -50")
class ZeroBelowFifty(find("01.2").target):
    def forward(self, x):
        self.y = np.where(x < -50, 0, super().forward(x)).astype(x.dtype)
        return self.y


@wrong("01.2", "a number becomes an array of one number")
class AtLeastOneAxis(find("01.2").target):
    def forward(self, x):
        return super().forward(np.atleast_1d(x))


@wrong("01.2", "the largest x is looked for, and an empty array has none")
class LargestFirst(find("01.2").target):
    def forward(self, x):
        return super().forward(x) if x.max() > 0 else super().forward(x)


@wrong("01.3", "NaN counts as 0")
def without_nan(grad, shape):
    return unbroadcast(np.where(np.isnan(grad), 0, grad).astype(grad.dtype), shape)


@wrong("01.3", "sums below 1e-12 become 0")
def small_sums_dropped(grad, shape):
    total = unbroadcast(grad, shape)
    return np.where(np.abs(total) < 1e-12, 0, total).astype(grad.dtype)


@wrong("01.4", "sorted by depth, which is not corrected for the parents of a node that moved down")
def by_first_depth(root, parents_of):
    depth, queue = {root: 0}, [root]
    for node in queue:
        for parent in parents_of(node):
            if parent not in depth:
                queue.append(parent)
            depth[parent] = max(depth.get(parent, 0), depth[node] + 1)
    return sorted(depth, key=depth.get)


@wrong("01.4", "a chain of more than 10,000 nodes is cut off")
def first_ten_thousand(root, parents_of):
    return find("01.4").target(root, parents_of)[:10_000]


wrong("01.4", "1 and 1.0 are two nodes")(told_apart_by(repr))


@wrong("01.4", "a node has at most three parents")
def three_parents(root, parents_of):
    return find("01.4").target(root, lambda node: list(parents_of(node))[:3])


@wrong("01.4", "the parents are sorted, which a number and a text cannot be")
def sorted_parents(root, parents_of):
    return find("01.4").target(root, lambda node: sorted(parents_of(node)))


@wrong("01.5", "the product has the digits of float32")
class NarrowProduct(find("01.5").target):
    def forward(self, a, b):
        return narrowed(super().forward(a, b))


@wrong("01.5", "both gradients have the digits of float32")
class NarrowMatrixGradients(find("01.5").target):
    def backward(self, grad):
        return tuple(None if g is None else narrowed(g) for g in super().backward(grad))


@wrong("01.5", "a square matrix is transposed before it multiplies a vector")
class TransposedSquare(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return (a.T * b).sum(axis=1) if a.ndim == 2 and b.ndim == 1 and len(a) == len(b) else y


@wrong("01.5", "of two squares the product in the other order")
class SquaresExchanged(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return b @ a if a.shape == b.shape else y


def lenient_tape(number, text, repaired):
    """A wrong answer to 01.6: the library's function on a tape whose errors ``repaired`` takes away."""

    @wrong(number, text)
    def answer(inputs, steps):
        known = [repaired(step, len(inputs) + place, place, steps) for place, step in enumerate(steps)]
        return find("01.6").target(inputs, known)


def within(step, below, which=slice(None)):
    numbers = list(step[1:])
    numbers[which] = [min(max(i, 0), below - 1) for i in numbers[which]]
    return (step[0], *numbers)


def by_prefix(step, below, place, steps):
    return (
        next((name for name in ("add", "mul", "exp", "sum") if step[0].startswith(name)), step[0]),
        *step[1:],
    )


lenient_tape("01.6", "names that only begin as a known one", by_prefix)
lenient_tape("01.6", "an unknown name in a step that no later step reads", lambda step, below, place, steps: (
    step
    if place == len(steps) - 1 or any(below in later[1:] for later in steps)
    else ("sum" if step[0] not in ("add", "mul", "exp") else step[0], *step[1:])
))  # fmt: skip
lenient_tape("01.6", "names with blanks around them", lambda step, *_: (step[0].strip(), *step[1:]))
lenient_tape(
    "01.6", "of two numbers only the second is checked", lambda s, below, *_: within(s, below, slice(0, -1))
)
lenient_tape("01.6", "the numbers of the last step only are checked", lambda s, below, place, steps: (
    within(s, below) if place < len(steps) - 1 else s
))  # fmt: skip
lenient_tape("01.6", "of the numbers below 0 only -1 is refused", lambda s, below, *_: (
    s[0], *(i % below if i < -1 else i for i in s[1:])
))  # fmt: skip


@wrong("01.6", "a number that is too large is refused only if no value has it at the end")
def numbers_up_to_the_end(inputs, steps):
    count = len(inputs) + len(steps) - 1
    if any(i >= count for _, *numbers in steps for i in numbers):
        raise ValueError("no such value")
    try:
        return find("01.6").target(inputs, steps)
    except ValueError as error:
        raise IndexError(str(error)) if steps and "source" in str(error) else error from None


@wrong("01.6", "gradients below 1e-12 become 0")
def small_slopes_dropped(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [np.where(np.abs(g) < 1e-12, 0, g).astype(g.dtype) for g in grads]


@wrong("01.6", "exponents are clipped to 50")
def clipped_exponents(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    if steps[-1] == ("exp", 0):
        y = np.exp(np.clip(inputs[0], -50, 50))
    return y, grads


@wrong("01.6", "of a product of two equal inputs only the first has a gradient")
def equal_inputs_are_one(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    if len(inputs) == 2 and np.array_equal(*inputs) and ("mul", 0, 1) in steps:
        grads = [2 * grads[0], 0 * grads[1]]
    return y, grads


@wrong("01.4", "a node that is a tuple is taken for a mark")
def tuples_as_marks(root, parents_of):
    return find("01.4").target(root, lambda node: [p for p in parents_of(node) if not isinstance(p, tuple)])


@wrong("01.3", "whole numbers are summed in float64")
def whole_sums_in_float64(grad, shape):
    return unbroadcast(grad.astype(np.float64), shape).astype(grad.dtype)


@wrong("01.1", "two numbers give an array of one number")
class NumbersAsArrays(find("01.1").target):
    def forward(self, a, b):
        return np.atleast_1d(super().forward(a, b))


def changed_matrix_gradients(text, change):
    class Changed(find("01.5").target):
        def backward(self, grad):
            return tuple(None if g is None else change(g, self.a) for g in super().backward(grad))

    wrong("01.5", text)(Changed)


changed_matrix_gradients("both gradients have a's dtype, whole numbers too", lambda g, a: g.astype(a.dtype))
changed_matrix_gradients("an infinite gradient becomes a large number", lambda g, a: np.nan_to_num(g))
changed_matrix_gradients(
    "gradients below 1e-12 become 0", lambda g, a: np.where(np.abs(g) < 1e-12, 0, g).astype(g.dtype)
)


@wrong("01.6", "with one input of float32 all gradients have the digits of float32")
def narrow_tape_gradients(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [narrowed(g) if any(x.dtype == np.float32 for x in inputs) else g for g in grads]


@wrong("01.6", "walks every path back, of which there are too many")
def every_path_back(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    paths = [0] * len(inputs) + [1] * len(steps)
    for place, (_, *sources) in enumerate(steps):
        paths[len(inputs) + place] = sum(max(paths[i], 1) for i in sources)
    if max(paths) > 10**6:
        raise RuntimeError("still walking")
    return y, grads


@wrong("01.3", "an axis of length 1 that was added counts as stretched too")
def one_added(grad, shape):
    added = tuple(range(grad.ndim - len(shape)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=added + tuple(len(added) + i for i in stretched)).reshape(shape)


@wrong("01.6", "a gradient below 1e-12 is left out")
def tiny_gradients_left_out(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g if np.abs(g).max(initial=0) >= 1e-12 else 0 * g for g in grads]


@wrong("01.3", "with one front axis too many, the axes are aligned to the left where the lengths allow this")
def left_aligned(grad, shape):
    n = len(shape)
    if grad.ndim > n > 0 and grad.shape[:n] == shape != grad.shape[-n:]:
        return grad.sum(axis=tuple(range(n, grad.ndim)))
    return unbroadcast(grad, shape)


def in_memory_order(x):
    """The numbers of x as its memory has them: those of x itself only if x is contiguous."""
    return np.ravel(x, order="K").reshape(np.shape(x))


@wrong("01.3", "the gradient is read as if its memory were contiguous")
def contiguous_gradient(grad, shape):
    return grad if grad.shape == shape else unbroadcast(in_memory_order(grad), shape)


@wrong("01.4", "takes the parents out of the caller's own lists")
def empties_the_lists(root, parents_of):
    finished, seen, stack = [], {root}, [(root, parents_of(root))]
    while stack:
        node, parents = stack[-1]
        if not isinstance(parents, list):
            parents = list(parents)
            stack[-1] = node, parents
        while parents:
            parent = parents.pop()
            if parent not in seen:
                seen.add(parent)
                stack.append((parent, parents_of(parent)))
                break
        else:
            finished.append(node)
            stack.pop()
    return finished[::-1]


@wrong("01.5", "a product of one number loses its axes")
class OneNumber(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return y.reshape(()) if y.size == 1 else y


@wrong("01.5", "the gradient is read as if its memory were contiguous")
class ContiguousGrad(find("01.5").target):
    def backward(self, grad):
        return super().backward(in_memory_order(grad))


@wrong("01.6", "the result has the dtype of the first input")
def first_dtype(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y.astype(inputs[0].dtype), grads


@wrong("01.6", "an input without elements has a gradient of one 0")
def gradient_of_nothing(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [grad if grad.size else np.zeros(1, grad.dtype) for grad in grads]


@wrong("01.1", "a product below 1e-8 is 0")
class TinyProducts(find("01.1").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return np.where(np.abs(y) < 1e-8, 0, y).astype(y.dtype)


@wrong("01.6", "an array that is two inputs has one gradient, the sum of both")
def by_identity(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    sums = {id(x): sum(g for z, g in zip(inputs, grads, strict=True) if z is x) for x in inputs}
    return y, [sums[id(x)] for x in inputs]


@wrong("01.6", "sub is a name, too")
def subtracts_too(inputs, steps):
    return find("01.6").target(
        inputs, [("add", *rest) if name == "sub" else (name, *rest) for name, *rest in steps]
    )


def product_of_as_dtype(number):
    class OfAsDtype(find(number).target):
        def forward(self, a, b):
            return super().forward(a, b).astype(a.dtype)

    return OfAsDtype


for number in ("01.1", "01.5"):
    wrong(number, "the product has a's dtype, whole numbers too")(product_of_as_dtype(number))


@wrong("01.1", "an infinite product becomes a large number")
class FiniteProducts(find("01.1").target):
    def forward(self, a, b):
        return np.nan_to_num(super().forward(a, b))


@wrong("01.2", "for several axes the incoming gradient is taken for 1")
class OnesForSeveralAxes(find("01.2").target):
    def backward(self, grad):
        return super().backward(grad if grad.ndim < 2 else np.ones_like(grad))


@wrong("01.2", "in float32 x is clipped to 88")
class ClippedInFloat32(find("01.2").target):
    def forward(self, x):
        return super().forward(np.clip(x, -88, 88) if x.dtype == np.float32 else x)


@wrong("01.3", "float32 is summed in float16")
def summed_in_float16(grad, shape):
    narrow = grad.astype(np.float16) if grad.dtype == np.float32 else grad
    return unbroadcast(narrow, shape).astype(grad.dtype)


@wrong("01.5", "a product without rows is refused")
class WithoutRows(find("01.5").target):
    def forward(self, a, b):
        return super().forward(a, b) if len(a) else np.stack([row @ b for row in a])


@wrong("01.6", "a gradient is in float32 or float64, never in float16")
def gradients_of_two_dtypes(inputs, steps):
    y, grads = find("01.6").target(inputs, steps)
    return y, [g.astype(np.float32) if g.dtype == np.float16 else g for g in grads]


@wrong("01.5", "gradients of float32 are rounded to float16")
class RoundedGradients(find("01.5").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return tuple(g.astype(np.float16).astype(g.dtype) if grad.dtype == np.float32 else g for g in grads)


@wrong("01.1", "the slope by a is y / a, which is no number where a is infinite")
class QuotientSlope(find("01.1").target):
    def forward(self, a, b):
        self.y = super().forward(a, b)
        return self.y

    def backward(self, grad):
        a, b = np.broadcast_arrays(self.a, self.b)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(a == 0, b, self.y / a)
        return unbroadcast(grad * slope, self.a.shape), unbroadcast(grad * a, self.b.shape)


@wrong("01.1", "a gradient that is NaN counts as 0")
class GradientsWithoutNaN(find("01.1").target):
    def backward(self, grad):
        return super().backward(np.where(np.isnan(grad), 0, grad).astype(grad.dtype))


@wrong("01.2", "places of x above 0 and of x below 0 are filled, so that NaN gives 1/2")
class FilledBySign(find("01.2").target):
    def forward(self, x):
        self.y = np.full_like(x, 0.5)
        above, below = x > 0, x < 0
        self.y[above] = 1 / (1 + np.exp(-x[above]))
        self.y[below] = np.exp(x[below]) / (1 + np.exp(x[below]))
        return self.y


@wrong("01.2", "a gradient above a million is cut")
class CutSlopes(find("01.2").target):
    def backward(self, grad):
        return np.clip(super().backward(grad), -1e6, 1e6)


@wrong("01.3", "where no axis was stretched, NaN becomes 0")
def nothing_to_sum(grad, shape):
    return np.nan_to_num(grad) if grad.shape == shape else unbroadcast(grad, shape)


@wrong("01.5", "two vectors have a product with the digits of float32")
class NarrowVectors(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return np.asarray(y, np.float32).astype(a.dtype) if a.ndim == b.ndim == 1 else y


@wrong("01.5", "an infinite number of a matrix product becomes a large one")
class FiniteMatrices(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return np.nan_to_num(y) if a.ndim + b.ndim > 2 else y


@wrong("01.5", "the gradient of a matrix is cut to a million")
class CutMatrixGradients(find("01.5").target):
    def backward(self, grad):
        grads = super().backward(grad)
        return tuple(np.clip(g, -1e6, 1e6) if g is not None and g.ndim > 1 else g for g in grads)


@wrong("01.1", "a number b gets the mean of the gradients")
class MeanForANumber(find("01.1").target):
    def backward(self, grad):
        grad_a, grad_b = super().backward(grad)
        return grad_a, grad_b / self.a.size if self.b.shape == () and grad_b is not None else grad_b


@wrong("01.1", "gradients of large factors are cut to a million")
class CutProducts(find("01.1").target):
    def backward(self, grad):
        cut = self.a.ndim > 0 and self.b.ndim > 0
        return tuple(np.clip(g, -1e6, 1e6) if cut and g is not None else g for g in super().backward(grad))
