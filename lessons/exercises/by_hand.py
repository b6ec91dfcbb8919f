"""References for the laws about trained models: a network computed from its state, and its slopes.

Everything is computed in float64 and without the engine, so that an answer's error cannot also be here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_equal
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module

State = dict[str, np.ndarray]
BUILT: dict[str, Module] = {}
# which parameters of an ``mlp`` require grad
LEARNING = st.sampled_from([True, ("head",), ("fc1",), ("fc1.bias", "head.weight")])
NEAR = {"rtol": 1e-3, "atol": 1e-5}  # the accuracy of a step in float32


def assert_mode(model: dict, training: bool) -> None:
    """Check that a model, of which a law sees the ``contents``, has all of its layers in this mode."""
    assert_equal(model["training"], training)
    left = "evaluation" if training else "training"
    assert not model["other_mode"], f"the layer {model['other_mode'][0]!r} is left in {left} mode"


def built_once(model: Built) -> Module:
    """The module of a description, to read from. All cases with this description share one module."""
    text = repr(model)
    if text not in BUILT:
        BUILT[text] = model.build()
    return BUILT[text]


def mlp_logits(state: State, images: np.ndarray) -> np.ndarray:
    """The logits (N, K) of an ``mlp`` with one hidden layer."""
    x = np.asarray(images, np.float64).reshape(len(images), -1)
    hidden = np.maximum(x @ state["fc1.weight"].T + state["fc1.bias"], 0)
    return hidden @ state["head.weight"].T + state["head.bias"]


def log_softmax(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    z = (z - z.max(axis=1, keepdims=True)) / temperature
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def cross_entropies(q, log_p) -> float:
    """The mean over the rows of -sum q log p, with 0 log 0 = 0."""
    q, log_p = np.asarray(q), np.asarray(log_p)
    return float(-np.where(q > 0, q * log_p, 0).sum(axis=1).mean())


def one_hot(y, classes):
    return np.array([[float(c == k) for k in range(classes)] for c in y])


def nt_xent(z: np.ndarray, temperature: float) -> float:
    """SimCLR's loss of 2N rows. Row N + i is the partner of row i."""
    u = z / np.sqrt((z**2).sum(axis=1, keepdims=True))
    cosines = u @ u.T
    np.fill_diagonal(cosines, -np.inf)
    log_p, n = log_softmax(cosines, temperature), len(z) // 2
    return float(-np.mean([log_p[i, (i + n) % (2 * n)] for i in range(2 * n)]))


def wide(state: State) -> State:
    return {name: np.asarray(value, np.float64) for name, value in state.items()}


def slopes(loss: Callable[[np.ndarray], float], z: np.ndarray) -> np.ndarray:
    """The slope of the loss for each number of z, by central differences."""
    found, h = np.zeros_like(z), 1e-6
    for index in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[index] = h
        found[index] = (loss(z + step) - loss(z - step)) / (2 * h)
    return found


def mlp_after(model: Built, state: State, images: np.ndarray, of_logits: np.ndarray, lr: float) -> State:
    """The state of an ``mlp`` after one step of gradient descent, from the slopes of the loss.

    Only the parameters of ``model`` that require grad change.
    """
    learns = {name for name, parameter in built_once(model).named_parameters() if parameter.requires_grad}
    state = wide(state)
    x = np.asarray(images, np.float64).reshape(len(images), -1)
    before = x @ state["fc1.weight"].T + state["fc1.bias"]
    of_hidden = (of_logits @ state["head.weight"]) * (before > 0)
    gradients = {"fc1.weight": of_hidden.T @ x, "fc1.bias": of_hidden.sum(axis=0)}
    gradients["head.weight"] = of_logits.T @ np.maximum(before, 0)
    gradients["head.bias"] = of_logits.sum(axis=0)
    return {name: value - lr * gradients[name] * (name in learns) for name, value in state.items()}


def assert_engine_step(model: Module, loss: Tensor, lr: float, after: dict) -> None:
    """Check the state after one step with the engine's gradients, for models other than an ``mlp``."""
    engine_step(model, loss, lr)
    assert_state(after["state"], model.state_dict())


def engine_step(model: Module, loss: Tensor, lr: float) -> None:
    model.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            parameter.data = parameter.data - lr * parameter.grad


def assert_learns(model: Built, after: dict) -> None:
    """Check that the same parameters require grad as before."""
    learns = [name for name, parameter in built_once(model).named_parameters() if parameter.requires_grad]
    assert_equal(after["requires_grad"], learns)


def assert_state(actual: State, expected: State) -> None:
    """Check that the parameters have these values. The error names a wrong one."""
    for name, value in expected.items():
        try:
            assert_close(actual[name], value, **NEAR)
        except AssertionError as error:
            raise AssertionError(f"{name} after the step: {error}") from None
