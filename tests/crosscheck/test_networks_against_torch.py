"""Networks that people deploy, built once from torch.nn and once from minidl.nn, give the same numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
from against_torch import torch
from networks import convnext, mobilenet_v3, squeezenet

import minidl
import minidl.nn as nn
import minidl.nn.functional as F

OURS = SimpleNamespace(cat=minidl.concatenate, full=lambda shape, value: np.full(shape, value, np.float32))
THEIRS = SimpleNamespace(cat=torch.cat, full=torch.full)
TOLERANCE = 1e-4  # for float32, relative to the largest number of an array or to 0.01


def near(found, expected):
    found, expected = np.asarray(found), np.asarray(expected.detach())
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * max(0.01, np.abs(expected).max())


@pytest.mark.parametrize("network", [squeezenet, mobilenet_v3, convnext])
@pytest.mark.parametrize("training", [False, True])
def test_logits_and_all_gradients(network, training):
    rng = np.random.default_rng(0)
    ours, theirs = network(nn, OURS), network(torch.nn, THEIRS)
    state = {}
    for key, value in theirs.state_dict().items():
        drawn = rng.normal(0, 0.3, value.shape) if value.dtype == torch.float32 else np.zeros(value.shape)
        drawn = 1 + drawn**2 if key.endswith(("running_var", "norm.weight")) else drawn
        state[key] = torch.tensor(drawn).to(value.dtype)
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for model in (ours, theirs):
        model.train(training)
        for module in model.modules():
            if isinstance(module, nn.Dropout | torch.nn.Dropout):
                module.p = 0.0  # the libraries draw different masks
    images, labels = rng.random((4, 3, 33, 35), np.float32), rng.integers(0, 5, 4)
    x, twin = minidl.Tensor(images, requires_grad=True), torch.tensor(images, requires_grad=True)
    logits, expected = ours(x), theirs(twin)
    near(logits.data, expected)
    F.cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    near(x.grad, twin.grad)
    for (name, p), (key, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == key and p.grad is not None
        near(p.grad, q.grad)
    for key, value in theirs.state_dict().items():  # running statistics too
        near(ours.state_dict()[key], value)
