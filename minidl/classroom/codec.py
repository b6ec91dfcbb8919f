"""Messages between the checker and the process that runs a learner's code. They use base types, never pickle.

A message is JSON, followed by the bytes of its arrays. JSON lacks some types: they are lists with a tag.

    None, bool, int, float, str    as in JSON; also a dict with only text as keys
    ["list", ...] ["tuple", ...]   ["complex", real, imaginary]
    ["dict", keys, ...]            a dict with text and integers as keys
    ["set", ...]                   a set of integers, such as the classes of a target
    ["array", dtype, shape, order] ["scalar", dtype]                  their bytes follow the JSON
    ["built", builder, seed, settings]   ["generator", its state]     a Built; a numpy.random.Generator
    ["record", "module:name", ...]       a NamedTuple of minidl; the checker reads it as a plain tuple
    ["function", number]                 a function that stays in its process and is called back there
    ["known", "module:name"]             a function of minidl
    ["lookup", list or dict]             the __getitem__ of a list or dict, such as the parents of a node

A message may come from a hostile program. So the reader compares each length with the bytes that have come,
limits the depth and the number of bytes, and makes only values of these types.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Literal

import numpy as np

from minidl.classroom.builders import Built
from minidl.engine.checks import require

TEXT_BYTES, ARRAY_BYTES, DEPTH, DIMENSIONS = 8 * 2**20, 64 * 2**20, 50, 32
DTYPE = re.compile(r"[<>|=]?[biufc]\d{1,2}")


class Uncodable(TypeError):
    """A value cannot be sent. The message describes the value."""


class Malformed(Exception):
    """The bytes that arrived are not a message of this codec, or are more than its limits allow."""


class Values:
    """Writes and reads values. A function is sent as its number in ``functions``, a list of sent functions.

    call_back(number): returns a local function that stands for the other side's function with this number.
    records: whether to rebuild NamedTuples, sets, Builts, generators, lookups and functions of minidl, as the
    learner's side does.  generators: whether to rebuild generators even if records is False.
    A NamedTuple that is not rebuilt is read as a plain tuple. Other values that are not rebuilt become None.
    """

    def __init__(
        self,
        call_back: Callable[[int], Callable] | None = None,
        records: bool = False,
        generators: bool = False,
    ) -> None:
        self.functions: list[Callable] = []
        self.call_back, self.records, self.generators = call_back, records, generators or records

    # ---- writing

    def write(self, value: Any) -> tuple[bytes, bytes]:
        """Returns the JSON and the arrays' bytes. Raises Uncodable for a value that cannot be sent."""
        blobs: list[bytes] = []
        try:
            text = json.dumps(self._tree(value, blobs, 0)).encode()
        except ValueError as error:  # such as an int with more than 4300 digits
            raise Uncodable(str(error)) from None
        arrays = b"".join(blobs)
        fits = len(text) <= TEXT_BYTES and len(arrays) <= ARRAY_BYTES
        require(fits, f"{len(text) + len(arrays):,} bytes, which is too much", Uncodable)
        return text, arrays

    def _tree(self, value: Any, blobs: list[bytes], depth: int) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        require(depth <= DEPTH, f"a value nested more than {DEPTH} deep", Uncodable)
        if isinstance(value, np.ndarray | np.generic) and DTYPE.fullmatch(value.dtype.str):
            return self._numbers(value, blobs)
        if kind in (list, tuple):
            return [kind.__name__, *(self._tree(v, blobs, depth + 1) for v in value)]
        if kind is dict and all(type(key) is str for key in value):
            return {key: self._tree(v, blobs, depth + 1) for key, v in value.items()}
        if kind is dict and all(type(key) in (int, str) for key in value):
            return ["dict", list(value), *(self._tree(v, blobs, depth + 1) for v in value.values())]
        if kind is set and all(type(number) is int for number in value):
            return ["set", *sorted(value)]
        if kind is complex:
            return ["complex", value.real, value.imag]
        if kind is Built:
            settings = self._tree(value.settings, blobs, depth + 1)
            return ["built", value.builder, value.seed, settings]
        if kind is np.random.Generator:
            return ["generator", self._tree(value.bit_generator.state, blobs, depth + 1)]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            name = f"{kind.__module__}:{kind.__qualname__}"
            return ["record", name, *(self._tree(v, blobs, depth + 1) for v in value)]
        if isinstance(value, BuiltinFunctionType) and value.__name__ == "__getitem__":
            return ["lookup", self._tree(value.__self__, blobs, depth + 1)]
        if callable(value) and not isinstance(value, type):
            name = name_of(value)
            return ["known", name] if name else ["function", self._number(value)]
        named = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else kind.__name__
        raise Uncodable(named if kind is not dict else "a dict with keys other than text and integers")

    def _number(self, function: Callable) -> int:
        if (number := getattr(function, "number_elsewhere", None)) is not None:
            return number  # a function of the other side keeps the number that it has there
        self.functions.append(function)
        return len(self.functions) - 1

    def _numbers(self, value: np.ndarray | np.generic, blobs: list[bytes]) -> list:
        array = np.asarray(value)
        fits = array.nbytes <= ARRAY_BYTES
        require(fits, f"an array of {array.nbytes:,} bytes, which is too much", Uncodable)
        if isinstance(value, np.generic):
            blobs.append(array.tobytes())
            return ["scalar", array.dtype.str]
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        order: Literal["F", "C"] = "F" if fortran else "C"
        blobs.append(array.tobytes(order))
        return ["array", array.dtype.str, list(array.shape), order]

    # ---- reading

    def read(self, text: bytes, arrays: bytes) -> Any:
        """Returns the value. Raises Malformed for bytes that ``write`` does not write."""
        try:
            tree = json.loads(text)
            numbers = Numbers(arrays)
            value = self._value(tree, numbers, 0)
        except (ValueError, TypeError, IndexError, AttributeError, RecursionError, KeyError) as error:
            raise Malformed(f"{type(error).__name__}: {error}"[:200]) from None
        require(numbers.left == 0, "more numbers than arrays", Malformed)
        return value

    def _value(self, tree: Any, numbers: Numbers, depth: int) -> Any:
        if not isinstance(tree, list | dict):
            return shown_text(tree) if isinstance(tree, str) else tree
        require(depth <= DEPTH, f"nested more than {DEPTH} deep", Malformed)
        if isinstance(tree, dict):
            return {shown_text(key): self._value(v, numbers, depth + 1) for key, v in tree.items()}
        tag, *rest = tree
        if tag in ("array", "scalar"):
            return numbers.array(*rest) if tag == "array" else numbers.scalar(*rest)
        if tag in ("list", "tuple"):
            inside = [self._value(v, numbers, depth + 1) for v in rest]
            return inside if tag == "list" else tuple(inside)
        if tag == "dict" and all(type(key) in (int, str) for key in rest[0]):
            values = [self._value(v, numbers, depth + 1) for v in rest[1:]]
            return dict(zip(rest[0], values, strict=True))
        if tag == "record":
            inside = [self._value(v, numbers, depth + 1) for v in rest[1:]]
            return record_named(rest[0])(*inside) if self.records else tuple(inside)
        if tag == "set":
            return set(map(int, rest)) if self.records else None
        if tag == "complex":
            real, imaginary = rest
            return complex(float(real), float(imaginary))
        if tag == "lookup":
            return self._value(rest[0], numbers, depth + 1).__getitem__ if self.records else None
        if tag == "known":
            return known(rest[0]) if self.records else None
        if tag == "function" and type(rest[0]) is int:
            return self.call_back(rest[0]) if self.call_back else None
        if tag == "generator":
            state = self._value(rest[0], numbers, depth + 1)
            return generator_at(state) if self.generators else None
        if tag == "built":
            settings = self._value(rest[2], numbers, depth + 1)
            return Built(rest[0], rest[1], **settings) if self.records else None
        raise Malformed(f"an unknown tag {str(tag)[:40]!r}")


class Numbers:
    """The bytes of a message's arrays. They are read in the order in which the JSON names the arrays."""

    def __init__(self, arrays: bytes) -> None:
        self.arrays, self.at = arrays, 0

    @property
    def left(self) -> int:
        return len(self.arrays) - self.at

    def array(self, dtype: str, shape: list, order: str) -> np.ndarray:
        fits = len(shape) <= DIMENSIONS and all(type(n) is int and 0 <= n < 2**40 for n in shape)
        require(fits, "a shape that no array has", Malformed)
        flat = self.take(dtype, math.prod(shape))
        return flat.reshape(shape, order="F" if order == "F" else "C")

    def scalar(self, dtype: str) -> np.generic:
        return self.take(dtype, 1)[0]

    def take(self, dtype: str, count: int) -> np.ndarray:
        require(DTYPE.fullmatch(dtype), "a dtype of no numbers", Malformed)
        kind = np.dtype(dtype)
        size = count * kind.itemsize
        require(size <= self.left, "an array longer than its message", Malformed)
        part = self.arrays[self.at : self.at + size]
        self.at += size
        return np.frombuffer(part, kind, count).copy()


def shown_text(text: str) -> str:
    """The text as any file can hold it: surrogates, which UTF-8 cannot encode, become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def name_of(function: Callable) -> str:
    """The name "module:name" of a function at the top of one of minidl's modules; "" for other functions."""
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    own = module.split(".")[0] == "minidl" and getattr(sys.modules.get(module), name, None) is function
    return f"{module}:{name}" if own else ""


def known(name: str) -> Callable:
    module, _, qualname = name.partition(":")
    return getattr(importlib.import_module(module), qualname)


def record_named(name: str) -> Callable[..., tuple]:
    """The NamedTuple class with this name, from a module of minidl or the course that is imported already."""
    module, _, qualname = name.partition(":")
    kind = getattr(sys.modules.get(module), qualname, None)
    return kind if isinstance(kind, type) and issubclass(kind, tuple) else lambda *values: values


def generator_at(state: dict) -> np.random.Generator:
    """A new generator in this state. It draws the same numbers as the original generator would draw."""
    kinds = {kind.__name__: kind for kind in np.random.BitGenerator.__subclasses__()}
    bits = kinds[state["bit_generator"]]()
    bits.state = state
    return np.random.Generator(bits)


def generators_in(arguments: tuple | list, params: dict) -> list[np.random.Generator]:
    return [x for x in (*arguments, *params.values()) if isinstance(x, np.random.Generator)]


def arrays_in(arguments: tuple | list, params: dict) -> list[np.ndarray]:
    return [x for x in (*arguments, *params.values()) if isinstance(x, np.ndarray)]
