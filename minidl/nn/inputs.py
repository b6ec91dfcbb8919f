"""The inputs of the functions in minidl.nn: anything that converts to a Tensor of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import require
from minidl.engine.tensor import Tensor


def floating(x: Any, beside: Any = None) -> Tensor:
    """x as a Tensor of floats. Only a Tensor keeps float64: arrays, integers and bools become float32.

    beside: the other input of an operation. If that is a float64 Tensor, x becomes float64, as in ``apply``.
    """
    if isinstance(x, Tensor) and x.dtype.kind == "f":
        return x
    is_wide = isinstance(beside, Tensor) and beside.dtype == np.float64
    return Tensor(x.data if isinstance(x, Tensor) else x, dtype=np.float64 if is_wide else np.float32)


def floating_images(x: Any) -> Tensor:
    """x as a Tensor of floats, which must be images (N, C, H, W)."""
    x = floating(x)
    require(x.ndim == 4, f"expected images (N, C, H, W), got {x.shape}")
    return x


def module_inputs(inputs: tuple, model: Any) -> tuple:
    """What ``forward`` gets: a Tensor for each array of floats.

    The Tensor is float64 if a Tensor among the inputs is, or, without Tensors, the model's first parameter.
    """
    floats = [isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in inputs]
    if not any(floats):
        return inputs
    tensors = [x for x in inputs if isinstance(x, Tensor) and x.dtype.kind == "f"]
    beside = tensors[0] if tensors else next(model.parameters(), None)
    return tuple(floating(x, beside) if is_array else x for x, is_array in zip(inputs, floats, strict=True))
