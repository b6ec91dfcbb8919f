"""Right answers to the exercises of lesson 01, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.engine.jit import matmul
from minidl.engine.linalg import swap_last
from minidl.engine.op import Op
from tests.lessons.right_answers.declare import right


@right("01.1")
class Mul(Op):
    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        return unbroadcast(grad * self.b, self.a.shape), unbroadcast(grad * self.a, self.b.shape)


@right("01.2")
class Sigmoid(Op):
    def forward(self, x):
        e = np.exp(-np.abs(x))
        self.y = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
        return self.y

    def backward(self, grad):
        return grad * self.y * (1 - self.y)


@right("01.3")
def unbroadcast(grad, shape):
    while grad.ndim > len(shape):
        grad = grad.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad


@right("01.4")
def topological_order(root, parents_of):
    finished, seen = [], set()
    stack = [(root, False)]
    while stack:
        node, parents_are_finished = stack.pop()
        if parents_are_finished:
            finished.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            for parent in parents_of(node):
                stack.append((parent, False))
    return finished[::-1]


@right("01.5")
class MatMul(Op):
    def forward(self, a, b):
        self.a, self.b = a, b
        return matmul(a, b)

    def backward(self, grad):
        a, b = self.a, self.b
        if b.ndim == 1:
            b = b[:, None]
            grad = grad[..., None]
        if a.ndim == 1:
            a = a[None, :]
            grad = grad[..., None] if self.b.ndim == 1 else grad[..., None, :]
        da = unbroadcast(matmul(grad, swap_last(b)), a.shape)
        db = unbroadcast(matmul(swap_last(a), grad), b.shape)
        return da.reshape(self.a.shape), db.reshape(self.b.shape)


@right("01.6")
def tape_gradients(inputs, steps):
    if not steps:
        raise ValueError("there are no steps")
    values = list(inputs)
    for name, *reads in steps:
        for i in reads:
            if not 0 <= i < len(values):
                raise ValueError(f"there is no earlier value {i}")
        if name == "add":
            values.append(values[reads[0]] + values[reads[1]])
        elif name == "mul":
            values.append(values[reads[0]] * values[reads[1]])
        elif name == "exp":
            values.append(np.exp(values[reads[0]]))
        elif name == "sum":
            values.append(values[reads[0]].sum())
        else:
            raise ValueError(f"unknown operation {name}")

    grads = [np.zeros_like(value) for value in values]
    grads[-1] = np.ones_like(values[-1])
    for number in reversed(range(len(steps))):
        name, *reads = steps[number]
        y, g = values[len(inputs) + number], grads[len(inputs) + number]
        if name == "add":
            i, j = reads
            grads[i] += unbroadcast(g, values[i].shape)
            grads[j] += unbroadcast(g, values[j].shape)
        elif name == "mul":
            i, j = reads
            grads[i] += unbroadcast(g * values[j], values[i].shape)
            grads[j] += unbroadcast(g * values[i], values[j].shape)
        elif name == "exp":
            grads[reads[0]] += g * y
        else:
            grads[reads[0]] += g
    return values[-1], grads[: len(inputs)]
