"""The kinds of exercise: how a raw function, Op class or kernel is called with plain values.

The process of the learner's code needs only this part of an exercise, and no laws.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np

from minidl.classroom.builders import Built, contents, hooks_of, parts_of
from minidl.classroom.compare import NUMERIC_KINDS, short
from minidl.classroom.returned import WrongAnswer, check_class, check_kind
from minidl.classroom.stubs import plain_function
from minidl.engine.checks import require
from minidl.engine.op import Op
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module

KINDS = ("function", "op", "tensor", "kernel", "model")
OTHER_PARTS = "a layer, its forward, an attribute, a layer's mode or a forward hook is not as it was"


class LibraryCall(Exception):
    """The learner's function called the library's function that the learner should write."""


@dataclass(frozen=True)
class Told:
    """The facts about a raw function or class that messages need. The function may be in another process."""

    name: str
    line: int  # the line of the file where the function begins
    parameters: list[str] | None  # None for a class
    arguments: list[str]  # the names of positional parameters


def told_of(raw: Any, kind: str) -> Told:
    try:
        taken = list(inspect.signature(raw.forward if kind == "op" else raw).parameters.values())
    except (ValueError, TypeError, AttributeError):  # a built-in function
        taken = []
    names = [p.name for p in taken if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    line = min((code.co_firstlineno for code in code_of(raw)), default=0)
    name = str(getattr(raw, "__name__", type(raw).__name__))
    return Told(name, line, parameters_of(raw), names[1:] if kind == "op" else names)


def parameters_of(raw: Callable | type) -> list[str] | None:
    return list(inspect.signature(raw).parameters) if inspect.isfunction(raw) else None


def code_of(target: Callable | type) -> list[CodeType]:
    members = vars(target).values() if isinstance(target, type) else [target]
    return [member.__code__ for member in members if hasattr(member, "__code__")]


def place(error: BaseException, file: str | None) -> str:
    """The last line of ``file`` in the error's traceback, with its text."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"line {own[-1].lineno}: {own[-1].line}" if own else ""


def source_file(raw: Callable | type) -> str | None:
    try:
        return inspect.getsourcefile(raw)
    except TypeError:  # a callable object or a built-in function
        return None


class Answerer(ABC):
    """Answers the calls of laws: with a raw function in this process or in another one (elsewhere.py)."""

    name: str
    told: Told
    given: tuple[tuple, tuple]  # the arguments of the last call before it, and the copy after it

    @abstractmethod
    def answer(self, arguments: tuple, params: dict) -> tuple[object, tuple, tuple]:
        """The answer to a copy of the arguments, the arguments before the call, and the copy after it."""

    @abstractmethod
    def place_of(self, error: BaseException) -> str:
        """The line at which the function raised the error, with its text."""


class Direct(Answerer):
    """A raw function, Op class or kernel in this process. A kernel runs uncompiled, so that an index out of
    range raises an error. Compiled code would overwrite memory instead."""

    def __init__(
        self, raw: Callable | type, kind: str = "function", written: tuple[int, ...] = (), returns: str = ""
    ) -> None:
        raw = plain_function(raw)
        fits = inspect.isclass(raw) and issubclass(raw, Op) if kind == "op" else callable(raw)
        wanted = "a subclass of Op with forward and backward" if kind == "op" else "a function"
        require(fits, f"expected {wanted}, got {short(raw)}", TypeError)
        self.raw, self.kind, self.written, self.returns = raw, kind, written, returns
        self.told = told_of(raw, kind)
        self.name = self.told.name

    def answer(self, arguments: tuple, params: dict) -> tuple[object, tuple, tuple]:
        self.given = (arguments, params), copy.deepcopy((arguments, params))
        return self.answer_to(*self.given[1]), *self.given

    def place_of(self, error: BaseException) -> str:
        return place(error, source_file(self.raw))

    def answer_to(self, arguments: tuple, params: dict):
        """Call the raw function or class as its kind says. Raises WrongAnswer if the result is not plain."""
        if self.kind == "op":
            return self._answer_of_op(arguments, **params)
        if self.kind == "tensor":
            return self._answer_of_tensors(arguments, **params)
        if self.kind == "kernel":
            return self._written_by_kernel(*arguments, **params)
        if self.kind == "model":
            return self._answer_with_models(arguments, params)
        answer = self._plain(check_class(self.raw(*arguments, **params), self.returns, self.name))
        check_kind(answer, self.returns, self.name)
        return answer

    def _op(self, arrays: tuple, params: dict) -> Op:
        op = self.raw(**params)
        op.needs = tuple(is_floating(x) for x in arrays)
        return op

    def _answer_of_op(self, arrays: tuple, grad=None, **params):
        arrays = tuple(next(a for a in arrays if unchanged(a, x)) for x in arrays)  # one array, as in x · x
        op = self._op(arrays, params)
        result = op.forward(*arrays)
        y = self._plain(result)
        check_kind(y, "np.ndarray", f"{self.name}.forward")
        if grad is None:
            return y, ()
        grads = op.backward(grad)
        is_kept = np.array_equal(y, result, equal_nan=is_floating(y))
        require(is_kept, f"{self.name}.backward changed the array that forward returned", WrongAnswer)
        grads = tuple(grads) if isinstance(grads, tuple | list) else (grads,)
        counts = f"{len(grads)} gradients for {len(arrays)} inputs"
        require(len(grads) == len(arrays), f"{self.name}.backward gave {counts}", WrongAnswer)
        grads = self._plain(grads)
        for i, (x, grad_x) in enumerate(zip(arrays, grads, strict=True)):
            if op.needs[i] and np.shape(grad_x) != x.shape:
                came = "None" if grad_x is None else f"shape {np.shape(grad_x)}"
                raise WrongAnswer(f"the gradient of input {i} must have its shape {x.shape}, got {came}")
        self._check_alone(arrays, grad, params, grads)
        return y, grads

    def _check_alone(self, arrays: tuple, grad, params: dict, grads: tuple) -> None:
        """Raise WrongAnswer if a second op, which goes forward before the first goes back, changes ``grads``.

        A graph has many ops of one class. Each of them keeps its own arrays.
        """
        op, second = self._op(arrays, params), self._op(arrays, params)
        op.forward(*arrays)
        second.forward(*(np.flip(x).copy() for x in arrays))
        again = op.backward(grad)
        again = tuple(again) if isinstance(again, tuple | list) else (again,)
        if not same(again, grads, nearly):
            raise WrongAnswer(
                f"{self.name}.backward gave other gradients after a second {self.name} went forward: forward "
                "must keep its arrays on self, not on the class"
            )

    def _answer_of_tensors(self, arrays: tuple, grad=None, **params):
        inputs = [Tensor(x, requires_grad=True) if is_floating(x) else x for x in arrays]
        y = self.raw(*inputs, **params)
        kind = type(y).__name__
        require(isinstance(y, Tensor), f"{self.name} returned {kind}, must return a Tensor", WrongAnswer)
        now = [z.data if isinstance(z, Tensor) and z.requires_grad else z for z in inputs]
        require(same(list(arrays), now, unchanged), f"{self.name} changed a Tensor that it got", WrongAnswer)
        if grad is None:
            return np.array(y.data), ()
        y.backward(grad)
        return np.array(y.data), tuple(gradient_of(x) for x in inputs)

    def _written_by_kernel(self, *arguments):
        returned = self.raw(*arguments)
        answer = f"{self.name} returned {short(returned)}: a kernel only fills its output array"
        require(returned is None, answer, WrongAnswer)
        written = tuple(arguments[i] for i in self.written)
        return written if len(written) > 1 else written[0]

    def _answer_with_models(self, arguments: tuple, params: dict):
        given = [built(x) for x in arguments]
        named = {name: built(x) for name, x in params.items()}
        trained = [given[i] for i in self.written]
        kept = [x for x in [*given, *named.values()] if isinstance(x, Module) and x not in trained]
        before = [(model, contents(model), parts_of(model)) for model in kept]
        hooks = [(model, hooks_of(model)) for model in trained]
        try:
            answer = self.raw(*given, **named)
        except (NotImplementedError, LibraryCall):  # not written yet
            raise
        except Exception as error:
            what = what_was_done(before, hooks)
            if not what:
                raise
            at = place(error, source_file(self.raw))
            which = f"before it raised {type(error).__name__}: {error}" + (f"\nat {at}" if at else "")
            raise WrongAnswer(f"{self.name} {what}, {which}") from error
        what = what_was_done([row for row in before if row[0] is not answer], hooks)
        require(not what, f"{self.name} {what}", WrongAnswer)
        check_class(answer, self.returns, self.name)
        wanted = f"{self.name} returned a Tensor: its signature says float, which .item() gives"
        require(not isinstance(answer, Tensor) or self.returns != "float", wanted, WrongAnswer)
        answer = contents_of_models(answer, kept)
        answer = plain_value(answer, self.name) if self.written else self._plain(answer)
        check_kind(answer, self.returns, self.name)
        return (answer, *map(contents, trained)) if self.written else answer

    def _plain(self, value):
        require(value is not None, f"{self.name} returned None: is a return missing?", WrongAnswer)
        return plain_value(value, self.name)


def built(x: Any) -> Any:
    return x.build() if isinstance(x, Built) else x


def contents_of_models(value: Any, kept: list[Module]) -> Any:
    """The value with Tensors replaced by arrays, and models by their ``contents`` and by "given".

    "given" tells whether the model is one of ``kept``, the arguments, or has a module of theirs.
    """
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple  # the class of a NamedTuple takes no iterator
        return kind(contents_of_models(v, kept) for v in value)
    if isinstance(value, Module):
        own = [part for model in kept for part in model.modules()]
        return {**contents(value), "given": any(part in own for part in value.modules())}
    return np.array(value.data) if isinstance(value, Tensor) else value


def what_was_done(kept: list[tuple], trained: list[tuple]) -> str:
    """A forbidden change that a function has made to its models, in words; "" if there is none.

    kept: each model with its old contents and parts.  trained: each model with its old hooks.
    """
    for model, was in trained:
        now, parts = hooks_of(model), list(model.modules())
        if set(now) - set(was):
            return "left a forward hook in its model"
        if any(hook.module in parts for hook in set(was) - set(now)):
            return "removed a forward hook that its model had"
        if any("forward" in vars(part) for part in parts):
            return "left a forward of its own in a layer of its model"
    for model, was, parts in kept:
        changed = difference(was, contents(model)) or ("" if parts == parts_of(model) else OTHER_PARTS)
        if changed:
            return f"changed its model: {changed}"
    return ""


def difference(before: dict, after: dict) -> str:
    """The first difference between a model's contents before and after, in words; "" if there is none."""
    for kind, ending in (("state", ""), ("grads", ".grad"), ("masks", ".mask")):
        for name in {**before[kind], **after[kind]}:
            if not same(before[kind].get(name), after[kind].get(name), unchanged):
                return f"{name}{ending} is not what it was"
    for name in ("requires_grad", "training"):
        if before[name] != after[name]:
            return f"{name} was {before[name]}, is {after[name]}"
    return ""


def plain_value(value, name: str):
    """A copy that has only base types. So a law sees the same value as a checker in another process."""
    if value is None or type(value) in (bool, int, float, complex, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in NUMERIC_KINDS:
        return np.array(value) if isinstance(value, np.ndarray) else value
    if isinstance(value, tuple):
        return tuple(plain_value(v, name) for v in value)
    if isinstance(value, list):
        return [plain_value(v, name) for v in value]
    if isinstance(value, dict):
        return {key: plain_value(v, name) for key, v in value.items()}
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise WrongAnswer(f"{name} returned {kind}; must be numbers, arrays, or tuples, lists or dicts of them")


def same(one: Any, other: Any, equal: Callable[[object, object], bool]) -> bool:
    """Whether tuples, lists and dicts have the same structure, and ``equal`` is True for all items."""
    if not isinstance(one, tuple | list | dict) and not isinstance(other, tuple | list | dict):
        return equal(one, other)
    if type(one) is not type(other) or len(one) != len(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], equal) for key in one)
    return all(same(a, b, equal) for a, b in zip(one, other, strict=True))


def unchanged(before: object, after: object) -> bool:
    """Whether arrays are equal in all bits. Other values count as unchanged if their type is the same."""
    if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
        return type(before) is type(after)
    alike = before.dtype == after.dtype and before.shape == after.shape
    return alike and before.tobytes() == after.tobytes()


def nearly(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, equal_nan=True))


def gradient_of(x) -> np.ndarray | None:
    """The gradient of a Tensor, or zeros if the value does not depend on it; None if x is not a Tensor."""
    if not isinstance(x, Tensor):
        return None
    return np.zeros_like(x.data) if x.grad is None else x.grad


def is_floating(x) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"
