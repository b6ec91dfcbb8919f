"""What a model and arrays must be after a call as before it, and ways to put a call to that test."""

from contextlib import contextmanager

import numpy as np

from minidl.nn import Module


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
