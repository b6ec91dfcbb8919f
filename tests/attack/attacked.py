"""Small networks for the tests of attacks."""

import numpy as np
from hypothesis import strategies as st

import minidl.nn as nn
from minidl import Tensor
from minidl.nn import Sequential
from minidl.nn import functional as F
from minidl.train import predict

FREE = (-np.inf, np.inf)  # no box
seeds = st.integers(0, 2**32 - 1)
eps_values = st.sampled_from([0.0, 0.01, 0.1, 0.3, 1.0])


def affine(weight, bias):
    """z = weight (K, D) @ the flattened image + bias, in float64."""
    head = nn.Linear(weight.shape[1], len(weight))
    head.weight.data, head.bias.data = weight, bias
    return Sequential({"flatten": nn.Flatten(), "head": head})


def drawn_affine(seed, classes, features=6):
    rng = np.random.default_rng(seed)
    return affine(rng.normal(size=(classes, features)), rng.normal(size=classes))


def network(seed):
    """conv, bn, act, dropout, flatten, head: three logits of images (N, 2, 4, 4)."""
    rng = np.random.default_rng(seed)
    layers = {"conv": nn.Conv2d(2, 4, 3, padding=1, rng=rng), "bn": nn.BatchNorm2d(4), "act": nn.ReLU()}
    layers |= {"dropout": nn.Dropout(0.5, rng=rng), "flatten": nn.Flatten()}
    return Sequential({**layers, "head": nn.Linear(64, 3, rng=rng)})


def batch_of(seed, n=3, dtype=np.float32):
    """Images with pixels on the faces of the box among them, and labels."""
    rng = np.random.default_rng([seed, 1])
    images = np.clip(rng.uniform(-0.3, 1.3, (n, 2, 4, 4)), 0, 1).astype(dtype)
    return images, rng.integers(0, 3, n)


def loss_of(model, images, labels):
    """The cross-entropy of each image by itself, in float64."""
    return F.cross_entropy(model.eval()(Tensor(np.float64(images))), labels, reduction="none").data


def binary_case(seed):
    """An affine model of two classes, a row, the class that it is not, w = w_other - w_answer, its margin."""
    model, x = drawn_affine(seed, 2), np.random.default_rng([seed, 2]).normal(size=6)
    z = predict(model, x[np.newaxis])[0]
    other = int(z.argmin())
    w = model.head.weight.data[other] - model.head.weight.data[1 - other]
    return model, x, other, w.astype(np.float64), float(z.max() - z.min())
