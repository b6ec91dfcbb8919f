"""The target of an explanation: a class, a set of classes, or a unit. The model does not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minidl.engine.checks import check_array, check_flag, check_images, require, shown
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module, eval_mode
from minidl.train.metrics import batch_slices

NO_GRADIENT = (
    "no gradient reaches the images: an integer network has no gradients, so explain the float network that "
    "it was made from; inside no_grad() there are no gradients"
)
Unit = tuple  # (layer, index, ...): ("block2.relu", channel, p, q), or ("fc1", unit)
TargetLike = int | Sequence[int] | np.ndarray | set[int] | frozenset[int] | Unit | None


class Target(NamedTuple):
    """One number f of each image: ``output[n, indices[0][n], indices[1][n], ...]`` of the layer at this path.

    The layer "" is the whole model. Its output is the logits, so there the index is the class. For a group of
    G classes, f is the logit of the group as if it were one class, log Σ e^z over the classes.
    """

    layer: str
    indices: tuple[np.ndarray, ...]  # each (N,), or (N, G) for a group

    def part(self, images: slice) -> Target:
        return Target(self.layer, tuple(numbers[images] for numbers in self.indices))

    def of(self, output: Any) -> Any:
        """The wanted numbers (N,), for a group (N, G), in the layer's output, a Tensor or an array."""
        is_group = self.layer == "" and self.indices[0].ndim == 2
        rows = np.arange(len(output))
        return output[(rows[:, np.newaxis] if is_group else rows, *self.indices)]


@contextmanager
def outputs_of(model: Module, layer: str) -> Iterator[list[Tensor]]:
    """In this block, the model is in eval mode, and each run of the layer adds its output to the list.

    After the block, also after an exception, every module has its old mode and hooks. ``layer`` is a path for
    ``model.layer``; "" is the model itself.
    """
    outputs: list[Tensor] = []
    with eval_mode(model):
        hook = model.layer(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
        try:
            yield outputs
        finally:
            hook.remove()


def target_scores(model: Module, x: Tensor, target: Target) -> Tensor:
    """f of each image of the batch x: (N,), with the graph if x requires a gradient."""
    with outputs_of(model, target.layer) as outputs:
        model(x)
    scores = target.of(only_output(outputs, target.layer, len(x)))
    scores = scores.logsumexp(axis=1) if scores.ndim == 2 else scores
    is_finite = np.isfinite(scores.data)
    first = scores.data[np.argmin(is_finite)]  # the first that is not finite, if any
    require(bool(is_finite.all()), f"the target is {first} for some of the inputs, but it must be finite")
    require(scores.requires_grad or not x.requires_grad, NO_GRADIENT)
    return scores


def with_bar(items: Iterable, what: str, unit: str = "batch") -> Iterable:
    """The items, with a progress bar on a terminal if they take longer than two seconds."""
    return tqdm(items, desc=what, unit=unit, delay=2, leave=False, disable=None)


# ---- what arguments are


def as_numbers(values: Any) -> Any:
    """An array of bools as 0 and 1; other values stay unchanged."""
    is_bool = isinstance(values, np.ndarray) and values.dtype == bool
    return values.astype(np.float64) if is_bool else values


def float_images(images: Any, *, maps: bool = False) -> np.ndarray:
    """Finite float images (N, C, H, W), or rows (N, D) unless ``maps``. float64 stays, other floats become
    float32.

    Integers are refused, because a model that was trained on [0, 1] gives wrong results for 0 ... 255.
    """
    floats = check_images("images", images)
    require(floats.ndim == 4 or not maps, f"images must be (N, C, H, W), got {floats.shape}")
    return floats


def images_and_target(
    model: Module, images: Any, target: TargetLike, *, maps: bool = False, probability: bool = False
) -> tuple[np.ndarray, Target]:
    """Check the arguments of an explanation: images by ``float_images``, target by ``target_of``.

    probability: True if the explanation uses the softmax of the target. Only a class has one.
    """
    images = float_images(images, maps=maps)
    goal = target_of(model, images, target)
    no_class = f"a unit has no probability: target {goal.layer!r} takes probability=False"
    require(not (check_flag("probability", probability) and goal.layer), no_class)
    return images, goal


def target_of(model: Module, images: np.ndarray, target: TargetLike) -> Target:
    """The checked target of ``images`` (N, ...).

    target: a class; N classes; a set of classes, which count as one class, such as all cats {281, 282, 285};
    None for the class that the model predicts for each image; or a unit: a tuple of a layer's path and an
    index into its output, ``(layer, channel, p, q)`` for maps and ``(layer, unit)`` for rows. Each index is
    one integer or N integers.  Raises TypeError for other values, ValueError for an unknown layer and for an
    index out of range.
    """
    if target is None:
        logits = np.concatenate([layer_output(model, images[part], "") for part in batch_slices(images)])
        logits = check_array("the logits, for a target of None,", logits, "N", "K")
        return Target("", (logits.argmax(axis=1),))
    if isinstance(target, tuple) and len(target) > 0 and isinstance(target[0], str):
        layer, *numbers = target
        what = f"unit {shown(target)} has {len(numbers)} indices"
        words = [f"index {i} of the unit" for i in range(len(numbers))]
    else:
        layer, numbers, what, words = "", [target], "target is a class", ["target class"]
    shape = layer_output(model, images[:1], layer).shape[1:]
    output = f"the output of {layer or 'the model'} is (N, {str(shape)[1:]}"
    require(len(shape) == len(numbers), f"{what}, but {output}")
    if isinstance(target, set | frozenset):
        group = check_array("target", list(target), "G", kind="integer", low=0, high=shape[0] - 1)
        return Target(layer, (np.tile(np.sort(group), (len(images), 1)),))
    indices = map(one_per_image, words, numbers, shape, [len(images)] * len(shape))
    return Target(layer, tuple(indices))


def one_per_image(name: str, number: Any, size: int, count: int) -> np.ndarray:
    """One integer in 0 ... size-1 for each of ``count`` images, from one or from ``count`` integers."""
    index = check_array(name, number, kind="integer", low=0, high=size - 1)
    fits = index.shape in ((), (count,))
    require(fits, f"{name} must be one integer or ({count},) of them, got shape {index.shape}")
    return np.broadcast_to(index, (count,)).astype(np.int64)


def layer_output(model: Module, images: np.ndarray, layer: str) -> np.ndarray:
    with no_grad(), outputs_of(model, layer) as outputs:
        model(Tensor(images))
    return only_output(outputs, layer, len(images)).data


def only_output(outputs: list[Tensor], layer: str, count: int) -> Tensor:
    """The single output of a layer, one row for each of ``count`` images."""
    name = f"layer {layer!r}" if layer else "the model"
    require(len(outputs) == 1, f"{name} ran {len(outputs)} times in a pass, but it must run once")
    output = outputs[0]
    fits = isinstance(output, Tensor) and output.shape[:1] == (count,)
    got = f"{type(output).__name__} {getattr(output, 'shape', '')}"
    require(fits, f"{name} must give a Tensor (N, ...), a row for each of {count} images, got {got}")
    return output
