"""The inputs of the functions in minidl.nn: anything that converts to a Tensor of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import require
from minidl.engine.tensor import Tensor


def floating(x: Any) -> Tensor:
    """x as a Tensor of floats. Only a Tensor keeps float64: arrays, integers and bools become float32."""
    if isinstance(x, Tensor) and x.dtype.kind == "f":
        return x
    return Tensor(x.data if isinstance(x, Tensor) else x, dtype=np.float32)


def floating_images(x: Any) -> Tensor:
    """x as a Tensor of floats, which must be images (N, C, H, W)."""
    x = floating(x)
    require(x.ndim == 4, f"expected images (N, C, H, W), got {x.shape}")
    return x
