"""Models for exercises: a law names a builder, and the side of the learner builds the model.

    model = Built("small_cnn", seed=3, num_classes=4)
    grad_cam(model, images, target)     # the implementation gets the module, the law keeps the description

A model crosses no border between processes: its description does, and arrays come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.engine.checks import check_choice
from minidl.nn.layers import BatchNorm2d
from minidl.nn.models import mlp, small_cnn, tiny_resnet
from minidl.nn.module import Module

BUILDERS: dict[str, Callable[..., Module]] = {"mlp": mlp, "small_cnn": small_cnn, "tiny_resnet": tiny_resnet}


class Built:
    """The description of a model: a builder named in ``BUILDERS``, a seed, and its settings."""

    def __init__(self, builder: str, seed: int = 0, **settings: Any) -> None:
        check_choice("builder", builder, tuple(BUILDERS))
        self.builder, self.seed, self.settings = builder, seed, settings

    def __repr__(self) -> str:
        given = {"seed": self.seed, **self.settings}
        return f"{self.builder}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Built) and repr(self) == repr(other)

    __hash__ = None

    def build(self) -> Module:
        """The model in evaluation mode. Its BatchNorm statistics are drawn, so all differ."""
        rng = np.random.default_rng(self.seed)
        model = BUILDERS[self.builder](**self.settings, rng=rng)
        for module in model.modules():
            if isinstance(module, BatchNorm2d):
                draw_statistics(module, rng)
        return model.eval()


def draw_statistics(norm: BatchNorm2d, rng: np.random.Generator) -> None:
    """Means, variances, scales and shifts that are all different, so that to forget one shows."""
    channels = len(norm.running_mean)
    norm.running_mean[:], norm.running_var[:] = rng.normal(0, 0.5, channels), rng.uniform(0.5, 2, channels)
    norm.weight.data, norm.bias.data = rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.5, channels)


def contents(model: Module) -> dict[str, Any]:
    """What a law sees of a model: its state, the names of the parameters that require grad, its mode."""
    return {
        "state": {name: np.array(value) for name, value in model.state_dict().items()},
        "requires_grad": [name for name, p in model.named_parameters() if p.requires_grad],
        "training": model.training,
    }
