"""minidl: deep learning from scratch, to read, to step through and to set as exercises."""

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
