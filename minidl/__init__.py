"""minidl: deep learning from scratch, to read, to step through and to set as exercises."""

import importlib
from types import FunctionType
from typing import Any

from minidl.engine.backward import grad
from minidl.engine.elementwise import relu_rule
from minidl.engine.functions import concatenate, einsum, maximum, minimum, pad, stack, where
from minidl.engine.gradcheck import gradcheck
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


_INSTEAD = {  # names of PyTorch, and what says the same here
    "tensor": "minidl.Tensor(data), and NumPy arrays of integers for labels",
    **dict.fromkeys(("from_numpy", "as_tensor", "FloatTensor"), "minidl.Tensor(array)"),
    **{name: f"minidl.Tensor(np.{name}(...))" for name in ("zeros", "ones", "arange", "linspace", "eye")},
    **dict.fromkeys(("randn", "rand"), "minidl.Tensor(rng.normal(size=...)), with a np.random.Generator"),
    "cat": "minidl.concatenate",
    "optim": "minidl.train",
    **dict.fromkeys(("save", "load"), "minidl.train.checkpoint, or np.savez(path, **model.state_dict())"),
    "max": "t.max(axis=...), and t.argmax(axis=...) for the indices",
    "min": "t.min(axis=...), and np.argmin(t.data, axis=...) for the indices",
    **{name: f"np.{name}" for name in ("float32", "float64", "int64")},
    **dict.fromkeys(("device", "cuda"), "nothing: there is one device"),
}


def __getattr__(name: str) -> Any:
    """A package, imported when first asked for: ``minidl.data`` after ``import minidl`` alone; or a method of
    Tensor as a function: ``minidl.exp(x)`` is ``x.exp()``."""
    if name in _ROOMS:
        return importlib.import_module(f"minidl.{name}")
    method = getattr(Tensor, name, None)
    if isinstance(method, FunctionType) and name[0] != "_" and name not in _INSTEAD:
        return method
    mend = f": write {_INSTEAD[name]}" if name in _INSTEAD else ""
    raise AttributeError(f"module 'minidl' has no attribute {name!r}{mend}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
