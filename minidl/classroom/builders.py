"""Models for exercises: a law names a builder, and the learner's process builds the model.

    model = Built("small_cnn", seed=3, num_classes=4)
    grad_cam(model, images, target)     # the implementation gets the module, the law keeps the description

No model is sent between processes. The law's process sends a description of the model and gets arrays back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.engine.checks import check_choice, check_instance, check_int, check_number, require
from minidl.engine.tensor import Tensor
from minidl.nn.containers import Sequential
from minidl.nn.functional import IntOrPair, relu
from minidl.nn.layers import (
    BatchNorm,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    ReLU,
)
from minidl.nn.models import lenet, mlp, small_cnn, tiny_resnet
from minidl.nn.module import Module, Parameter, dotted


def linear(weight: Any, bias: Any = None, mask: Any = None, dtype: str = "float32") -> Linear:
    """A Linear with this weight (out, in), this bias (out,) and this mask of the weight."""
    weight = np.array(weight, dtype)
    return with_numbers(Linear(weight.shape[1], len(weight), bias is not None), weight, bias, mask)


def conv2d(
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    dtype: str = "float32",
) -> Conv2d:
    """A Conv2d with this weight (out, in/groups, kh, kw) and this bias (out,)."""
    weight = np.array(weight, dtype)
    sizes = weight.shape[1] * groups, len(weight), weight.shape[2:], stride, padding, dilation
    return with_numbers(Conv2d(*sizes, groups=groups, bias=bias is not None), weight, bias)


def batch_norm(
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    frozen: bool = False,
    mask: Any = None,
    bias_mask: Any = None,
) -> BatchNorm1d:
    """A BatchNorm1d with these arrays of shape (channels,), and with these masks of its weight and bias.

    The layer has no weight without ``weight``, and no bias without ``bias``.
    """
    norm = BatchNorm1d(len(mean), eps, affine=False)
    norm.running_mean[:], norm.running_var[:], norm.frozen = mean, var, frozen
    if weight is not None:
        with_numbers(norm, np.array(weight, np.float32), bias, mask)
    elif bias is not None:
        norm.bias = Parameter(np.array(bias, np.float32))
    if bias_mask is not None and norm.bias is not None:
        norm.bias.mask = np.array(bias_mask, bool)
    return norm


def normed_rows(in_features: int, num_classes: int, *, rng: np.random.Generator) -> Sequential:
    """flatten, header, a BatchNorm1d, and head, a Linear without a bias; and gain, which is unused."""
    head = Linear(in_features, num_classes, bias=False, rng=rng)
    model = Sequential({"flatten": Flatten(), "header": BatchNorm1d(in_features), "head": head})
    model.gain = Parameter(np.ones(1, np.float32))
    return model


def nested_rows(in_features: int, num_classes: int, *, rng: np.random.Generator) -> Sequential:
    """flatten, a block of norm, fc and dropout, the same layer fc once more as again, and head."""
    fc, head = Linear(in_features, in_features, rng=rng), Linear(in_features, num_classes, rng=rng)
    block = Sequential({"norm": BatchNorm1d(in_features), "fc": fc, "dropout": Dropout(0.5, rng=rng)})
    return Sequential({"flatten": Flatten(), "block": block, "again": fc, "head": head})


class SharedRows(Module):
    """again(relu(fc(x))): two Linears that share one weight. The first layer, ``spare``, is never used."""

    def __init__(self, in_features: int, *, rng: np.random.Generator) -> None:
        fc, again, spare = (Linear(in_features, in_features, bias=False, rng=rng) for _ in range(3))
        self.spare, self.fc, self.again = spare, fc, again
        again.weight = fc.weight

    def forward(self, x: Any) -> Tensor:
        return self.again(relu(self.fc(x)))


class SharedReLU(Module):
    """A forward of its own: Linear layers first (without a bias), second, third, head, and ReLUs between.

    One ReLU has the paths ``act`` and ``middle.again``, and a hook that changes nothing: it runs outside of
    the block ``middle`` and inside. The other ReLU is ``last``. Before the head there is a Dropout, unless
    ``dropout`` is False.
    """

    def __init__(
        self, in_features: int, num_classes: int, dropout: bool = True, *, rng: np.random.Generator
    ) -> None:
        self.first, self.act = Linear(in_features, 4, bias=False, rng=rng), ReLU()
        self.middle = Sequential({"second": Linear(4, 4, rng=rng), "again": self.act})
        self.third, self.last = Linear(4, 4, rng=rng), ReLU()
        self.dropout = Dropout(0.5, rng=rng) if dropout else Identity()
        self.head = Linear(4, num_classes, rng=rng)
        self.act.register_forward_hook(unchanged_output)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x.reshape(len(x), -1)))
        return self.head(self.dropout(self.last(self.third(self.middle(x)))))


class Scale(Module):
    """A factor for each channel of images (N, C, H, W): a parameter whose name is neither weight nor bias."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        self.gain = Parameter(rng.uniform(0.5, 1.5, (channels, 1, 1)).astype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class PlainBatchNorm(BatchNorm2d):
    """A BatchNorm2d without weight and bias, as a class of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)


class OwnCNN(Module):
    """A forward of its own for images (N, C, H, W): block, norm, mean over the pixels, mix, head.

    C is ``channels``. The block runs one convolution twice, as conv and again, and ends with a Scale. The
    norm is a PlainBatchNorm with a hook that changes nothing. The head is the first layer of the module, and
    the Linear mix is the last one. ``head`` is the head's name.
    """

    def __init__(
        self, channels: int, num_classes: int, head: str = "head", *, rng: np.random.Generator
    ) -> None:
        conv, scale = Conv2d(channels, channels, 3, padding=1, rng=rng), Scale(channels, rng)
        self.head_name = head
        self.add_module(head, Linear(channels, num_classes, rng=rng))
        self.block = Sequential({"conv": conv, "relu": ReLU(), "again": conv, "scale": scale})
        self.norm = PlainBatchNorm(channels)
        self.norm.register_forward_hook(unchanged_output)
        self.mix = Linear(channels, channels, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.head_name)(self.mix(self.norm(self.block(x)).mean((2, 3))))


def unchanged_output(module: Module, inputs: tuple, output: Tensor) -> None:
    """A hook that changes nothing."""


def with_numbers(layer: Any, weight: np.ndarray, bias: Any, mask: Any = None) -> Any:
    layer.weight = Parameter(weight)
    layer.weight.mask = None if mask is None else np.array(mask, bool)
    layer.bias = None if bias is None else Parameter(np.array(bias, weight.dtype))
    return layer


MODELS: dict[str, Callable[..., Module]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "tiny_resnet": tiny_resnet,
    "lenet": lenet,
    "normed_rows": normed_rows,
    "nested_rows": nested_rows,
    "shared_rows": SharedRows,
    "shared_relu": SharedReLU,
    "own_cnn": OwnCNN,
}
LAYERS: dict[str, Callable[..., Module]] = {"linear": linear, "conv2d": conv2d, "batch_norm": batch_norm}
MORE = ("frozen", "graph", "masked", "zeros", "scale")  # the settings that every model has, and no layer


class Built:
    """The description of a model from ``MODELS`` or of a layer from ``LAYERS``: its settings and a seed.

    Every builder has two more settings: training (default False) and requires_grad (default True).
    Each is a bool for the whole model, or a tuple of paths such as ("block1",): True for these layers only.
    For training, the path "" is the model's own flag, without its layers.
    requires_grad also takes the paths of single parameters, such as ("head.weight",).
    Every model has five more settings: frozen (default False), for all of its BatchNorm layers, masked
    (default False), which gives each parameter a mask that prunes nothing, zeros, a tuple of paths of
    parameters whose first row is 0, graph (default True), and scale (default 1), a factor for all parameters.
    With graph=False the model raises RuntimeError if it runs with a graph.
    A layer has exactly the numbers that the law gives.
    Raises TypeError or ValueError for an unknown builder, a seed below 0 or an unknown setting. So a mistake
    in a law raises an error in the law. Without this check, the learner's process would raise the error.
    """

    def __init__(self, builder: str, seed: int = 0, **settings: Any) -> None:
        check_choice("builder", builder, (*MODELS, *LAYERS))
        known = inspect.signature({**MODELS, **LAYERS}[builder]).parameters.keys() - {"rng"}
        more = {"training", "requires_grad", *(MORE if builder in MODELS else [])}
        unknown = sorted(settings.keys() - known - more)
        require(not unknown, f"{builder} has no setting {', '.join(unknown)}", TypeError)
        self.builder, self.seed, self.settings = builder, check_int("seed", seed, 0), settings

    def __repr__(self) -> str:
        given = self.settings if self.builder in LAYERS else {"seed": self.seed, **self.settings}
        return f"{self.builder}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Built) and repr(self) == repr(other)

    def build(self) -> Module:
        """Build the model with random BatchNorm statistics, or the layer with the law's statistics.
        The first parameter and every second one after it have a gradient already, as after a training step
        without ``zero_grad``. The ``.grad`` of the others is None, as in a new model.
        """
        settings, rng = dict(self.settings), np.random.default_rng(self.seed)
        masked = check_instance("masked", settings.pop("masked", False), bool)
        training, requires_grad = settings.pop("training", False), settings.pop("requires_grad", True)
        if self.builder in LAYERS:
            model = LAYERS[self.builder](**settings)
        else:
            frozen = check_instance("frozen", settings.pop("frozen", False), bool)
            graph = check_instance("graph", settings.pop("graph", True), bool)
            zeros = settings.pop("zeros", ())
            scale = check_number("scale", settings.pop("scale", 1))
            model = MODELS[self.builder](**settings, rng=rng)
            for module in model.modules():
                if isinstance(module, BatchNorm):
                    draw_statistics(module, rng)
                    module.frozen, module.momentum = frozen, 0.25  # not the default
            for path in zeros:
                dict(model.named_parameters())[path].data[0] = 0
            for parameter in model.parameters():
                parameter.data *= scale
            if not graph:
                model.register_forward_hook(refuse_graph)
        for i, parameter in enumerate(model.parameters()):
            drawn = rng.normal(0, 1, parameter.shape).astype(parameter.dtype)
            parameter.grad = None if i % 2 else drawn
            parameter.mask = np.ones(parameter.shape, bool) if masked else parameter.mask
        return with_grad(in_mode(model, training), requires_grad)


def refuse_graph(module: Module, inputs: tuple, output: Tensor) -> None:
    require(not output.requires_grad, "the model ran with a graph: run it in no_grad()", RuntimeError)


def in_mode(model: Module, training: bool | Sequence[str]) -> Module:
    if isinstance(training, bool):
        return model.train(training)
    model.eval()
    for path in training:
        if path:
            model.layer(path).train()
        else:
            model.training = True
    return model


def with_grad(model: Module, requires_grad: bool | Sequence[str]) -> Module:
    if isinstance(requires_grad, bool):
        return model.requires_grad_(requires_grad)
    model.requires_grad_(False)
    parameters = dict(model.named_parameters())
    for path in requires_grad:
        (parameters[path] if path in parameters else model.layer(path)).requires_grad_()
    return model


def draw_statistics(norm: BatchNorm, rng: np.random.Generator) -> None:
    """Draw different means, variances, scales and shifts, so that a test notices a forgotten value."""
    channels = norm.num_features
    state = {
        "running_mean": rng.normal(0, 0.5, channels),
        "running_var": rng.uniform(0.5, 2, channels),
        "weight": rng.uniform(0.5, 1.5, channels),
        "bias": rng.normal(0, 0.5, channels),
        "num_batches_tracked": 7,
    }
    norm.load_state_dict({name: state[name] for name in norm.state_dict()})  # it may have no weight and bias


def contents(model: Module) -> dict[str, Any]:
    """The parts of a model that a law gets: its state, flags and modes, layers, masks and gradients.

    "attributes" are the names of each module's attributes, without those that every module of the class has.
    """
    return {
        "state": {name: np.array(value) for name, value in model.state_dict().items()},
        "requires_grad": [name for name, p in model.named_parameters() if p.requires_grad],
        "training": model.training,
        "other_mode": [path for path, part in model.named_modules() if part.training != model.training],
        "attributes": [
            dotted(path, name) for path, part in model.named_modules() for name in own_names(part)
        ],
        "layers": repr(model),
        "masks": {name: np.array(p.mask) for name, p in model.named_parameters() if p.mask is not None},
        "grads": {name: np.array(p.grad) for name, p in model.named_parameters() if p.grad is not None},
    }


def own_names(part: Module) -> list[str]:
    return [name for name in vars(part) if not hasattr(type(part), name)]


def parts_of(model: Module) -> list[tuple]:
    """Each module of the model, with its class, its forward, which may be changed in the class, its mode, its
    forward hooks, and the names of its attributes.
    """
    return [(m, type(m), m.forward, m.training, m._hooks, set(vars(m)) - {"_hooks"}) for m in model.modules()]


def hooks_of(model: Module) -> list:
    return [hook for module in model.modules() for hook in module._hooks]
