"""What is explained, a class or a unit of any layer, and a model that is the same before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import shown
from minidl.engine.tensor import Tensor, no_grad
from minidl.nn.module import Module, eval_mode

BATCH = 128  # images that go through a model at a time
Unit = tuple  # (layer, index, ...): ("block2.relu", channel, p, q), or ("fc1", unit)
TargetLike = int | Sequence[int] | np.ndarray | Unit | None


class Target(NamedTuple):
    """One number f of each image: ``output[n, index[0][n], index[1][n], ...]`` of the layer at this path.

    The layer "" is the whole model, whose output is the logits: there the index is the class.
    """

    layer: str
    index: tuple[np.ndarray, ...]  # each (N,)

    def part(self, images: slice) -> Target:
        return Target(self.layer, tuple(numbers[images] for numbers in self.index))


@contextmanager
def outputs_of(model: Module, layer: str) -> Iterator[list[Tensor]]:
    """Within the block the model is in eval mode, and each run of the layer puts its output into the list.

    After it, also when an exception passes, every module has its mode and its hooks back. ``layer`` is a path
    for ``model.layer``; "" is the model itself.
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
    scores = only_output(outputs, target.layer, len(x))[(np.arange(len(x)), *target.index)]
    if not np.isfinite(scores.data).all():
        raise ValueError(f"the target is {scores.data[~np.isfinite(scores.data)][0]} for some of the inputs")
    return scores


def batch_slices(count: int) -> list[slice]:
    return [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


# ---- what arguments are


def checked_images(images: Any) -> np.ndarray:
    """Images (N, C, H, W), or rows (N, D), as finite floats: float64 stays, everything else is float32."""
    array = np.asarray(images)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"images must be an array of numbers, got {array.dtype} {array.shape}")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"expected images (N, C, H, W) or rows (N, D), not empty, got {array.shape}")
    array = array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError("images must be finite")
    return array


def checked_target(model: Module, images: np.ndarray, target: TargetLike) -> Target:
    """The target of checked ``images`` (N, ...), one that the model has.

    target: a class; N classes; None for the class that the model predicts for each image; or a unit: a tuple
    of a layer's path and where in its output, ``(layer, channel, p, q)`` for maps and ``(layer, unit)`` for
    rows, each an integer or N of them.  Raises TypeError for what is none of these, ValueError for an unknown
    layer and an index that is out of range.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    if target is None:
        logits = np.concatenate([layer_output(model, images[part], "") for part in batch_slices(len(images))])
        if logits.ndim != 2 or not np.isfinite(logits).all():
            what = f"{logits.shape}" if logits.ndim != 2 else "some that are not finite"
            raise ValueError(f"a target of None needs finite logits (N, K) from the model, got {what}")
        return Target("", (logits.argmax(axis=1),))
    layer, numbers, words = "", (target,), ("target class",)
    if isinstance(target, tuple) and target and isinstance(target[0], str):
        layer, *numbers = target
        words = tuple(f"index {i} of the unit" for i in range(len(numbers)))
    shape = layer_output(model, images[:1], layer).shape[1:]
    if len(shape) != len(numbers):
        what = f"unit {shown(target)} has {len(numbers)} indices" if layer else "target is a class"
        raise ValueError(f"{what}, but the output of {layer or 'the model'} is (N, {str(shape)[1:]}")
    index = [
        checked_index(word, i, size, len(images)) for word, i, size in zip(words, numbers, shape, strict=True)
    ]
    return Target(layer, tuple(index))


def layer_output(model: Module, images: np.ndarray, layer: str) -> np.ndarray:
    with no_grad(), outputs_of(model, layer) as outputs:
        model(Tensor(images))
    return only_output(outputs, layer, len(images)).data


def only_output(outputs: list[Tensor], layer: str, count: int) -> Tensor:
    """The single output of a layer, one row for each of ``count`` images."""
    name = f"layer {layer!r}" if layer else "the model"
    if len(outputs) != 1:
        raise ValueError(f"{name} ran {len(outputs)} times in a pass, it must run once")
    output = outputs[0]
    if not isinstance(output, Tensor) or output.shape[:1] != (count,):
        what = f"a Tensor {output.shape}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"{name} must give a Tensor (N, ...), a row for each of {count} images, not {what}")
    return output


def checked_index(name: str, number: Any, size: int, count: int) -> np.ndarray:
    """One integer in 0 ... size-1 for each of ``count`` images."""
    index = np.asarray(number)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an integer or one for each image, got {shown(number)}")
    if index.shape not in ((), (count,)):
        raise ValueError(f"{name} must be one integer or ({count},) of them, got shape {index.shape}")
    if index.size and not (index.min() >= 0 and index.max() < size):
        wrong = index.min() if index.min() < 0 else index.max()
        raise ValueError(f"{name} must be in 0 ... {size - 1}, got {wrong}")
    return np.broadcast_to(index, (count,)).astype(np.int64)
