"""Small networks for the tests of attacks, and what must be the same before and after."""

from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st

import minidl.nn as nn
from minidl import Tensor
from minidl.nn import Module, Sequential
from minidl.nn import functional as F

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


class Trips(Module):
    """Passes its input on, and raises in its forward number ``at``, counted from 1."""

    def __init__(self, at):
        self.at, self.runs = at, 0

    def forward(self, x):
        self.runs += 1
        if self.runs == self.at:
            raise RuntimeError("tripped")
        return x


def disturbed(model):
    """The model in a state that is easily lost: mixed modes, a hook, a gradient, a frozen parameter."""
    model.train()
    model.children()[0].eval()
    model.children()[1].register_forward_hook(lambda module, inputs, output: None)
    first, second, *_ = model.parameters()
    first.grad = np.ones(first.shape, np.float32)
    second.requires_grad_(False)
    return model


@contextmanager
def left_untouched(model, *arrays):
    """The block, whatever happens in it, must leave the model and the arrays as they were."""
    before, copies = snapshot(model), [array.copy() for array in arrays]
    try:
        yield
    finally:
        np.testing.assert_equal(snapshot(model), before)
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def snapshot(model):
    return {
        "state": model.state_dict(),
        "grads": [None if p.grad is None else p.grad.copy() for p in model.parameters()],
        "wanted": [(p.requires_grad, p.version) for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [module._hooks for module in model.modules()],
    }
