"""Models for exercises: a law names a builder, and the side of the learner builds the model.

    model = Built("small_cnn", seed=3, num_classes=4)
    grad_cam(model, images, target)     # the implementation gets the module, the law keeps the description

A model crosses no border between processes: its description does, and arrays come back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.engine.checks import check_choice, check_int, require
from minidl.nn.layers import BatchNorm1d, BatchNorm2d, Conv2d, Linear
from minidl.nn.models import mlp, small_cnn, tiny_resnet
from minidl.nn.module import Module, Parameter


def linear(weight: Any, bias: Any = None, mask: Any = None) -> Linear:
    """A Linear of these numbers, weight (out, in) and bias (out,), and the mask of its weight."""
    weight = np.array(weight, np.float32)
    return with_numbers(Linear(weight.shape[1], len(weight), bias is not None), weight, bias, mask)


def conv2d(weight: Any, bias: Any = None, stride: int = 1, padding: int = 0, groups: int = 1) -> Conv2d:
    """A Conv2d of these numbers, weight (out, in/groups, kh, kw) and bias (out,)."""
    weight = np.array(weight, np.float32)
    sizes = weight.shape[1] * groups, len(weight), weight.shape[2:], stride, padding
    return with_numbers(Conv2d(*sizes, groups=groups, bias=bias is not None), weight, bias)


def batch_norm(
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    frozen: bool = False,
    mask: Any = None,
) -> BatchNorm1d:
    """A BatchNorm1d of these numbers, (channels,) each, and the mask of its weight.

    Without weight and bias it is not affine.
    """
    norm = BatchNorm1d(len(mean), eps, affine=weight is not None)
    norm.running_mean[:], norm.running_var[:], norm.frozen = mean, var, frozen
    if weight is not None:
        with_numbers(norm, np.array(weight, np.float32), bias, mask)
    return norm


def with_numbers(layer: Module, weight: np.ndarray, bias: Any, mask: Any = None) -> Any:
    layer.weight = Parameter(weight)
    layer.weight.mask = None if mask is None else np.array(mask, bool)
    layer.bias = None if bias is None else Parameter(np.array(bias, np.float32))
    return layer


MODELS: dict[str, Callable[..., Module]] = {"mlp": mlp, "small_cnn": small_cnn, "tiny_resnet": tiny_resnet}
LAYERS: dict[str, Callable[..., Module]] = {"linear": linear, "conv2d": conv2d, "batch_norm": batch_norm}


class Built:
    """The description of a model of ``MODELS``, or of one of the ``LAYERS``: its settings, and a seed.

    Two more settings of every builder: training (False) and requires_grad (True), for all of the model, or
    the paths of the layers for which it is True, such as training=("block1",); requires_grad also takes paths
    of parameters.
    A layer gets the numbers that it is given. TypeError or ValueError for an unknown builder, a seed below 0
    and an unknown setting: what is wrong in a law must not be blamed on the learner, who builds the model.
    """

    def __init__(self, builder: str, seed: int = 0, **settings: Any) -> None:
        check_choice("builder", builder, (*MODELS, *LAYERS))
        known = inspect.signature({**MODELS, **LAYERS}[builder]).parameters.keys() - {"rng"}
        unknown = sorted(settings.keys() - known - {"training", "requires_grad"})
        require(not unknown, f"{builder} has no setting {', '.join(unknown)}", TypeError)
        self.builder, self.seed, self.settings = builder, check_int("seed", seed, 0), settings

    def __repr__(self) -> str:
        given = self.settings if self.builder in LAYERS else {"seed": self.seed, **self.settings}
        return f"{self.builder}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Built) and repr(self) == repr(other)

    def build(self) -> Module:
        """The model. Its BatchNorm statistics are drawn, so all differ; those of a layer are given.

        Each parameter has a gradient already, as after a step that nobody cleared.
        """
        settings, rng = dict(self.settings), np.random.default_rng(self.seed)
        training, requires_grad = settings.pop("training", False), settings.pop("requires_grad", True)
        if self.builder in LAYERS:
            model = LAYERS[self.builder](**settings)
        else:
            model = MODELS[self.builder](**settings, rng=rng)
            for module in model.modules():
                if isinstance(module, BatchNorm2d):
                    draw_statistics(module, rng)
        for parameter in model.parameters():
            parameter.grad = rng.normal(0, 1, parameter.shape).astype(parameter.dtype)
        return with_grad(in_mode(model, training), requires_grad)


def in_mode(model: Module, training: bool | Sequence[str]) -> Module:
    if isinstance(training, bool):
        return model.train(training)
    model.eval()
    for path in training:
        model.layer(path).train()
    return model


def with_grad(model: Module, requires_grad: bool | Sequence[str]) -> Module:
    if isinstance(requires_grad, bool):
        return model.requires_grad_(requires_grad)
    model.requires_grad_(False)
    parameters = dict(model.named_parameters())
    for path in requires_grad:
        (parameters[path] if path in parameters else model.layer(path)).requires_grad_()
    return model


def draw_statistics(norm: BatchNorm2d, rng: np.random.Generator) -> None:
    """Means, variances, scales and shifts that are all different, so that to forget one shows."""
    channels = norm.num_features
    state = {
        "running_mean": rng.normal(0, 0.5, channels),
        "running_var": rng.uniform(0.5, 2, channels),
        "weight": rng.uniform(0.5, 1.5, channels),
        "bias": rng.normal(0, 0.5, channels),
    }
    norm.load_state_dict(state)


def contents(model: Module) -> dict[str, Any]:
    """What a law sees of a model: its state, what requires grad, its mode, its layers, masks, gradients."""
    return {
        "state": {name: np.array(value) for name, value in model.state_dict().items()},
        "requires_grad": [name for name, p in model.named_parameters() if p.requires_grad],
        "training": model.training,
        "layers": repr(model),
        "masks": {name: np.array(p.mask) for name, p in model.named_parameters() if p.mask is not None},
        "grads": {name: np.array(p.grad) for name, p in model.named_parameters() if p.grad is not None},
    }
