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


def module_input(x: Any, model: Any) -> Any:
    """What ``forward`` gets for x: a Tensor for an array of floats, float64 if the first parameter is."""
    is_floats = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return floating(x, next(model.parameters(), None)) if is_floats else x
