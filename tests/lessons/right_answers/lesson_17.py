"""Right answers to the exercises of lesson 17, written from the stubs alone."""

from __future__ import annotations

from math import factorial

import numpy as np

from minidl.explain.shapley import all_worths
from minidl.train.metrics import predict
from tests.lessons.right_answers.declare import right


@right("17.1")
def path_contributions(value, orders):
    P, n = orders.shape
    there = np.zeros((P, n + 1, n), dtype=bool)
    for k in range(n):
        there[:, k + 1] = there[:, k]
        there[np.arange(P), k + 1, orders[:, k]] = True
    there = there.reshape(-1, n)
    worths = value(there) if callable(value) else value[there @ 2 ** np.arange(n)]
    worths = np.asarray(worths, float).reshape(P, n + 1)
    added = np.zeros((P, n))
    np.put_along_axis(added, orders, worths[:, 1:] - worths[:, :-1], axis=1)
    return added


@right("17.2")
def shapley_values(value, n):
    v = all_worths(value, n)
    codes = np.arange(2**n)
    sizes = sum((codes >> i) & 1 for i in range(n))
    weights = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    phi = np.zeros(n)
    for i in range(n):
        S = codes[(codes >> i) & 1 == 0]
        phi[i] = (weights[sizes[S]] * (v[S + 2**i] - v[S])).sum()
    return phi


@right("17.3")
def kernel_solve(coalitions, worths, weights, nobody, everybody):
    z = coalitions.astype(float)
    total = everybody - nobody
    A = z[:, :-1] - z[:, -1:]
    y = worths - nobody - z[:, -1] * total
    if A.shape[1] == 0:
        return np.array([float(total)])
    if np.linalg.matrix_rank(A[weights > 0]) < A.shape[1]:
        raise ValueError("the coalitions do not determine phi")
    root = np.sqrt(weights)
    phi = np.linalg.lstsq(root[:, np.newaxis] * A, root * y)[0]
    return np.append(phi, total - phi.sum())


@right("17.4")
def model_paths(model, row, background, orders, target=0):
    if (np.sort(orders, axis=1) != np.arange(len(row))).any():
        raise ValueError("an order must name each feature once")
    if np.issubdtype(row.dtype, np.integer):
        row = row.astype(np.float32)
    if np.issubdtype(background.dtype, np.integer):
        background = background.astype(np.float32)
    logits = predict(model, background)
    if not 0 <= target < logits.shape[1]:
        raise ValueError("there is no such logit")
    start = logits[:, target].mean()
    added = np.zeros(orders.shape)
    for p, order in enumerate(orders):
        rows, before = background.copy(), start
        for i in order:
            rows[:, i] = row[i]
            after = predict(model, rows)[:, target].mean()
            added[p, i] = after - before
            before = after
    return added
