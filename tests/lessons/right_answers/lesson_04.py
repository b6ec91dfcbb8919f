"""Right answers to the exercises of lesson 04, written from the stubs alone."""

from __future__ import annotations

import numpy as np

from minidl.engine.loss import one_hot
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_log_softmax
from minidl.nn.module import eval_mode
from minidl.transfer.features import linear_probe
from tests.lessons.right_answers.declare import right


@right("04.1")
def standardise(reference, features):
    reference = reference.astype(np.float64)
    m, s = reference.mean(axis=0), reference.std(axis=0)
    constant = (reference == reference[0]).all(axis=0)  # a mean is rounded, so s may be above 0
    s[constant] = 1
    result = (features - m) / s
    result[:, constant] = 0
    return result


@right("04.1")
def standardise_from_the_first_row(reference, features):
    start = np.asarray(reference[0], np.float64)
    moved = reference - start  # exactly 0 where a column is constant
    m, s = moved.mean(axis=0), moved.std(axis=0)
    return np.where(moved.any(axis=0), (features - start - m) / np.where(s == 0, 1, s), 0)


@right("04.2")
def pca_projection(features, dims=2):
    n, d = features.shape
    if n < 2:
        raise ValueError("at least two points are needed")
    if dims > min(n, d):
        raise ValueError("dims is larger than min(N, D)")
    features = features.astype(np.float64)
    X = features - features.mean(axis=0)
    _, _, Vt = np.linalg.svd(X, full_matrices=False)
    directions = Vt[:dims]
    for direction in directions:
        if direction[np.argmax(np.abs(direction))] < 0:
            direction *= -1
    return X @ directions.T


@right("04.3")
def probe_loss(weight, bias, features, labels, l2):
    if l2 < 0:
        raise ValueError("l2 must not be below 0")
    N, K = len(features), len(weight)
    if labels.min() < 0 or labels.max() >= K:
        raise ValueError("a label is not a class")
    W, b, F = weight.astype(np.float64), bias.astype(np.float64), features.astype(np.float64)
    log_p = stable_log_softmax(F @ W.T + b)
    Y = one_hot(labels, K)
    loss = -np.sum(Y * log_p) / N + l2 / 2 * np.sum(W**2)
    difference = np.exp(log_p) - Y
    return float(loss), difference.T @ F / N + l2 * W, difference.mean(axis=0)


@right("04.4")
def head_on_features(model, images, labels, *, layer, l2):
    outputs = []
    hook = model.layer(layer).register_forward_hook(
        lambda module, inputs, output: outputs.append(output.data)
    )
    with eval_mode(model), no_grad():
        model(images)
    hook.remove()
    features = outputs[0].reshape(len(images), -1).astype(np.float64)
    probe = linear_probe(standardise(features, features), labels, l2)
    weight, bias = probe.weight.data.astype(np.float64), probe.bias.data.astype(np.float64)
    m, s = features.mean(axis=0), features.std(axis=0)
    constant = s == 0  # the mean of equal float32 numbers is exact in float64
    s[constant] = 1
    weight = np.where(constant, 0, weight / s)
    return weight, bias - weight @ m
