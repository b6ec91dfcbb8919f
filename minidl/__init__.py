"""minidl: deep learning from scratch, to read, to step through and to set as exercises."""

import importlib
from types import FunctionType
from typing import Any

from minidl.engine.backward import grad
from minidl.engine.elementwise import relu_rule
from minidl.engine.functions import concatenate, einsum, maximum, minimum, pad, stack, where
from minidl.engine.gradcheck import gradcheck
from minidl.engine.instead import MINIDL, TENSOR, missing
from minidl.engine.jit import debug
from minidl.engine.op import Op
from minidl.engine.random import manual_seed
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor, apply
from minidl.engine.trace import detect_anomaly

__version__ = "0.2.0"
__all__ = [
    "Op",
    "Tensor",
    "apply",
    "concatenate",
    "debug",
    "detect_anomaly",
    "einsum",
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


def __getattr__(name: str) -> Any:
    """A package, imported when first asked for: ``minidl.data`` after ``import minidl`` alone; or a method of
    Tensor as a function: ``minidl.exp(x)`` is ``x.exp()``."""
    if name in _ROOMS:
        return importlib.import_module(f"minidl.{name}")
    method = getattr(Tensor, name, None)
    if isinstance(method, FunctionType) and name[0] != "_" and name not in MINIDL:
        return method
    raise missing("module 'minidl'", name, TENSOR | MINIDL)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
