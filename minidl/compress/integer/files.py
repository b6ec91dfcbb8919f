"""An ``IntegerModel`` in a file: an .npz archive without pickle, which ``np.load`` opens too.

All arrays of one dtype are one array in it, one behind the other, since each array of its own would cost 300
bytes: "int8" the weights, "int32" the biases, "float32" the scales. The text ``meta.json`` says how they are
cut and what the layers are.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from minidl.compress.integer import layers as integer_layers
from minidl.compress.integer.model import IntegerModel, LayerReport
from minidl.compress.quantize import QuantParams
from minidl.data.files import check_path, parse_array, read_archive, write_archive
from minidl.engine.checks import check_instance, require
from minidl.nn.containers import Sequential
from minidl.nn.module import Module

FORMAT = "minidl integer model 1"
CONTAINERS = {"Sequential": Sequential, "IntegerConcat": integer_layers.IntegerConcat}
Arrays = dict[str, list[np.ndarray]]


def save_quantized(path: str | Path, model: IntegerModel) -> None:
    """Write the model to ``path``; whatever happens, the file there is the old one or the new.

    It takes ``model_bytes(model)``, 1 KB, and about 400 bytes a layer for its settings and report.
    Raises OSError where it cannot be written.
    """
    check_instance("model", model, IntegerModel)
    arrays: Arrays = {}
    meta = {
        "format": FORMAT,
        "x_params": described(model.x_params, arrays),
        "layers": {name: described(layer, arrays) for name, layer in model.body.named_children()},
        "rows": [list(row) for row in model.rows],
    }
    text = json.dumps(meta, separators=(",", ":"))
    flat = {dtype: np.concatenate([a.ravel() for a in same]) for dtype, same in arrays.items()}
    write_archive(check_path("path", path), {"meta.json": text}, flat)


def load_quantized(path: str | Path) -> IntegerModel:
    """The model that ``save_quantized`` wrote. OSError if the file cannot be opened, ValueError if it is
    damaged or anything else."""
    with open(check_path("path", path), "rb") as file:
        try:
            contents = read_archive(file)
            meta = json.loads(contents.pop("meta.json"))
            require(meta["format"] == FORMAT, f"it is not of the format {FORMAT!r}")
            arrays = {name.removesuffix(".npy"): parse_array(data) for name, data in contents.items()}
            layers = {name: restored(layer, arrays) for name, layer in meta["layers"].items()}
            rows = [LayerReport(*row) for row in meta["rows"]]
            model = IntegerModel(restored(meta["x_params"], arrays), layers, rows)
            left = sum(array.size for array in arrays.values())
            require(left == 0, f"it holds {left} numbers that its layers do not take")
            return model
        except Exception as error:  # zipfile, json and npy raise nearly anything on damaged input
            raise ValueError(f"{path} is not a whole minidl integer model: {error!r}") from error


def described(value: Any, arrays: Arrays) -> Any:
    """What JSON can hold of a layer or one of its settings; its arrays go into ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays.setdefault(str(value.dtype), []).append(value)
        return {"array": [str(value.dtype), *value.shape]}
    if isinstance(value, QuantParams):
        scale, zero = value.scale, value.zero_point
        scale = described(scale, arrays) if isinstance(scale, np.ndarray) else float(scale)
        zero = described(zero, arrays) if isinstance(zero, np.ndarray) else zero
        return {"params": [scale, zero, value.qmin, value.qmax, value.axis]}
    if type(value).__name__ in CONTAINERS:
        children = {name: described(child, arrays) for name, child in value.named_children()}
        return {"kind": type(value).__name__, "children": children}
    if isinstance(value, Module):
        names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        settings = {name: described(getattr(value, name), arrays) for name in names}
        return {"kind": type(value).__name__, "settings": settings}
    return list(value) if isinstance(value, tuple) else value


def restored(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The adjoint of ``described``; takes what it needs from the front of ``arrays``."""
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        dtype, *shape = value["array"]
        array, count = arrays[dtype], math.prod(shape)
        arrays[dtype] = array[count:]
        return array[:count].reshape(shape).copy()
    if "params" in value:
        return QuantParams(*(restored(part, arrays) for part in value["params"]))
    if value["kind"] in CONTAINERS:
        children = {name: restored(child, arrays) for name, child in value["children"].items()}
        return CONTAINERS[value["kind"]](children)
    kind = getattr(integer_layers, value["kind"])
    is_layer = isinstance(kind, type) and issubclass(kind, Module)
    require(is_layer, f"there is no layer {value['kind']}")
    return kind(**{name: restored(setting, arrays) for name, setting in value["settings"].items()})
