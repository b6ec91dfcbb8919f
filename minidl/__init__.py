"""minidl: deep learning from scratch, to read, to step through and to set as exercises."""

import importlib
from types import ModuleType

from minidl.engine.backward import grad
from minidl.engine.elementwise import relu_rule
from minidl.engine.functions import concatenate, maximum, minimum, pad, stack, where
from minidl.engine.gradcheck import gradcheck
from minidl.engine.jit import debug
from minidl.engine.op import Op
from minidl.engine.random import manual_seed
from minidl.engine.tensor import Tensor, apply, no_grad
from minidl.engine.trace import detect_anomaly

__version__ = "0.1.0"
__all__ = [
    "Op",
    "Tensor",
    "apply",
    "concatenate",
    "debug",
    "detect_anomaly",
    "grad",
    "gradcheck",
    "manual_seed",
    "maximum",
    "minimum",
    "no_grad",
    "pad",
    "relu_rule",
    "stack",
    "where",
]
_ROOMS = {
    *("engine", "nn", "data", "train", "transfer", "compress", "explain", "attack"),
    *("export", "figures", "classroom"),
}


def __getattr__(name: str) -> ModuleType:
    """``minidl.data`` after ``import minidl`` alone: a package is imported when it is first asked for."""
    if name in _ROOMS:
        return importlib.import_module(f"minidl.{name}")
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
