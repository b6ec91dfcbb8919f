"""Repair the statistics inside a changed network, without labels and without gradients.

If a network is pruned, quantized or used on other images, the means and deviations inside differ from those
of the training. This alone causes a large part of its loss of accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from minidl.engine.checks import check_images, check_instance, positive_int, require
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn.calls import Call, modules
from minidl.nn.layers import BatchNorm, Conv2d, Linear
from minidl.nn.module import Module, Parameter, eval_mode

Scaled = BatchNorm | Conv2d | Linear  # a weight and a bias move its channels


class Moments:
    """Mean and variance of each channel over all images and pixels, combined from batches."""

    def __init__(self) -> None:
        self.images, self.count, self.mean, self.squares = 0, 0, np.zeros(1), np.zeros(1)

    def add(self, values: np.ndarray) -> None:
        """values: (N, C, ...). Two parts are combined without cancellation (Chan, Golub and LeVeque 1979):

        squares = squares_a + squares_b + (mean_b - mean_a)² n_a n_b / (n_a + n_b)
        """
        axes = (0, *range(2, values.ndim))
        mean, count = values.mean(axis=axes, dtype=np.float64), values.size // values.shape[1]
        centred = values - np.expand_dims(mean.astype(values.dtype), tuple(range(1, values.ndim - 1)))
        squares = np.square(centred).sum(axis=axes, dtype=np.float64)
        total, difference = self.count + count, mean - self.mean
        self.squares = self.squares + squares + difference**2 * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count, self.images = total, self.images + len(values)

    @property
    def var(self) -> np.ndarray:
        return self.squares / self.count


def reestimate_statistics(model: Module, images: np.ndarray, *, batch_size: int | None = None) -> None:
    """Set the running mean and variance of each BatchNorm to those of all ``images``. Weights do not change.

    The BatchNorms are updated in the order in which they run, so each one sees the new statistics of the
    earlier ones. Momentum, mode and the count of batches do not change. The variance is divided by n.
    First do this with the unchanged network, as a control: with too few images it harms more than it repairs.
    images: (N, ...), inputs of the model.  batch_size: images at a time. All at once (None) takes one
    pass; smaller batches take less memory, and a pass for each BatchNorm. The result is the same.
    Raises ValueError for a BatchNorm that runs twice, FloatingPointError for values that are not finite; then
    the earlier BatchNorms are already updated.

    >>> from minidl import nn, train
    >>> model = nn.BatchNorm2d(1)
    >>> train.reestimate_statistics(model, np.float32([[[[1, 3]]]]))
    >>> print(model.running_mean, model.running_var)
    [2.] [1.]
    """
    calls = [call for call in _calls("model", model, images) if isinstance(call.module, BatchNorm)]

    def settle(norm: BatchNorm, moments: Moments) -> None:
        norm.running_mean = moments.mean.astype(norm.running_mean.dtype)
        norm.running_var = moments.var.astype(norm.running_var.dtype)

    norms = [call.module for call in _by_path(calls).values()]
    _in_order(model, images, norms, batch_size, lambda inputs, output: inputs[0], settle)


def match_statistics(
    model: Module, float_model: Module, images: np.ndarray, *, batch_size: int | None = None
) -> None:
    """Give the channels of each layer the mean and deviation of ``float_model``.

        y <- (y - mean) σ_float / σ + mean_float        for each channel, over all images and pixels

    The change is folded into weight and bias, layer by layer; the earlier layers are already matched. The
    layers are every BatchNorm with weight and bias, and every Conv2d and Linear without a BatchNorm behind
    it; these get a bias if they have none. A constant channel in ``model`` (σ = 0), such as a pruned one, is
    not changed; masked biases stay 0.
    model: changed in place.  float_model: the unchanged network with the same layers.  images: (N, ...),
    about 24 images of the usual kind.  batch_size: as in ``reestimate_statistics``.
    Raises ValueError for a layer that runs twice, that is fused or rounded, or that ``float_model`` has not
    or has with another kind or number of channels. Raises FloatingPointError for values that are not finite;
    then the earlier layers are already matched.

    >>> from minidl import nn, train
    >>> model, float_model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> model.weight.data, float_model.weight.data = np.float32([[1]]), np.float32([[2]])
    >>> train.match_statistics(model, float_model, np.float32([[1], [3]]))
    >>> print(model.weight.data, model.bias.data)
    [[2.]] [0.]
    """
    ours = _matched_layers(model, _calls("model", model, images))
    theirs = {call.path: call for call in _calls("float_model", float_model, images)}
    lacking = [path for path in ours if path not in theirs]
    require(not lacking, f"float_model lacks the layers {', '.join(lacking)}")
    for path, call in ours.items():
        have, want = _kind_and_channels(call), _kind_and_channels(theirs[path])
        require(have == want, f"layer {path!r} is a {have} in model, but a {want} in float_model")
    layers = {path: call.module for path, call in ours.items()}
    _by_path([theirs[path] for path in ours])
    wanted: dict[int, Moments] = {}
    twins = {theirs[path].module: layer for path, layer in layers.items()}

    def note(twin: Module, moments: Moments) -> None:
        wanted[id(twins[twin])] = moments

    def settle(layer: Scaled, moments: Moments) -> None:
        _fold(layer, moments, wanted[id(layer)])

    _in_order(float_model, images, list(twins), batch_size, lambda inputs, output: output, note)
    _in_order(model, images, list(layers.values()), batch_size, lambda inputs, output: output, settle)


def _fold(layer: Scaled, now: Moments, wanted: Moments) -> None:
    """y <- scale y + shift, by the layer's own weight and bias."""
    moves = now.var > (1e-6 * now.mean) ** 2  # smaller deviations are only rounding errors
    scale = np.where(moves, np.sqrt(wanted.var / np.where(moves, now.var, 1)), 1)
    shift = np.where(moves, wanted.mean - scale * now.mean, 0)
    own = dict(layer.named_parameters())
    weight, bias = own["weight"], own.get("bias")
    if bias is None:
        bias = Parameter(np.zeros(len(weight), weight.dtype), weight.requires_grad)
        layer.bias = bias
    weight.data = (weight.data * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    kept = 1 if bias.mask is None else bias.mask
    bias.data = ((bias.data * scale + shift) * kept).astype(weight.dtype)


def _calls(name: str, model: Module, images: np.ndarray) -> list[Call]:
    return modules(check_instance(name, model, Module), check_images("images", images)[:1].astype(np.float32))


def _by_path(calls: list[Call]) -> dict[str, Call]:
    """The calls by path. A layer that runs twice is refused."""
    found: dict[str, Call] = {}
    for call in calls:
        twice = f"layer {call.path!r} runs twice: it has no statistics of its own"
        require(call.path not in found, twice)
        found[call.path] = call
    return found


def _matched_layers(model: Module, calls: list[Call]) -> dict[str, Call]:
    """The layers whose channels a weight and a bias move, and that no BatchNorm moves after them."""
    forwards = (BatchNorm.forward, Conv2d.forward, Linear.forward)
    plain = [call for call in calls if type(call.module).forward in forwards]
    run = {call.path for call in plain}
    others = [path for path, part in model.named_modules() if isinstance(part, Scaled) and path not in run]
    why = "do not run as a plain BatchNorm, Conv2d or Linear: match before you fuse or round"
    require(not others, f"the layers {', '.join(others)} {why}")
    require(plain, "model has no BatchNorm, Conv2d or Linear to match: match before you make integers")
    normed = {call.inputs[0] for call in plain if isinstance(call.module, BatchNorm)}
    return _by_path(
        [
            call
            for call in plain
            if (call.module.affine if isinstance(call.module, BatchNorm) else call.output not in normed)
        ]
    )


def _kind_and_channels(call: Call) -> str:
    return f"{type(call.module).__name__} of {call.output_shape[1]} channels"


class _Enough(BaseException):
    """Raised to leave the forward pass of a model early."""


def _in_order(
    model: Module,
    images: np.ndarray,
    layers: list[Module],
    batch_size: int | None,
    seen: Callable[[tuple, Tensor], Any],
    settle: Callable[[Any, Moments], None],
) -> None:
    """Call ``settle(layer, moments of seen(inputs, output))`` for each layer, in the order in which they run.

    The moments are over all images, and the earlier layers are already settled.
    """
    images = np.asarray(images)
    step = len(images) if batch_size is None else positive_int("batch_size", batch_size)
    waiting, moments = list(layers), Moments()

    def hook(layer: Module, inputs: tuple, output: Tensor) -> Tensor | None:
        nonlocal moments
        if not waiting or layer is not waiting[0]:
            return None
        moments.add(np.asarray(seen(inputs, output)))
        if moments.images < len(images):
            raise _Enough
        is_finite = bool(np.isfinite(moments.squares).all())
        require(is_finite, f"the values at {type(layer).__name__} are not finite", FloatingPointError)
        settle(waiting.pop(0), moments)
        moments = Moments()
        return layer.forward(*inputs)

    hooks = [layer.register_forward_hook(hook) for layer in layers]
    try:
        with eval_mode(model), no_grad():
            while waiting:
                moments = Moments()
                for start in range(0, len(images), step):
                    with suppress(_Enough):
                        model(images[start : start + step])
    finally:
        for handle in hooks:
            handle.remove()
