"""The learner's functions in the places of the library's.

The library's function object stays, since others hold it by name already; its code is exchanged for a call of
the learner's. An Op class gets the learner's methods. Kernels are compiled anew around the learner's loops.
"""

from __future__ import annotations

import copy
import functools
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CellType, CodeType, FunctionType
from unittest import mock

import numpy as np

from minidl.classroom.exercise import Exercise
from minidl.classroom.implementation import is_floating
from minidl.classroom.stubs import plain_function
from minidl.engine import jit


class Yours:
    """The learner's answer to an exercise; called, it counts."""

    def __init__(self, exercise: Exercise, answer: Callable | type) -> None:
        self.exercise, self.answer = exercise, plain_function(answer)
        self.calls, self.lock = 0, threading.Lock()
        self.note = ""  # how a kernel runs

    def __call__(self, *arguments, **params):
        self.tick()
        return self.answer(*arguments, **params)

    def tick(self) -> None:
        with self.lock:  # kernels are called by several threads
            self.calls += 1


@contextmanager
def in_place_of_the_library(yours: list[Yours]) -> Iterator[None]:
    """Inside the block the library, and whatever holds its functions, calls the learner's."""
    with ExitStack() as stack:
        kernels = [one for one in yours if one.exercise.kind == "kernel"]
        if kernels:
            stack.enter_context(kernels_around(kernels))
        for one in yours:
            exchange = methods_exchanged if one.exercise.kind == "op" else code_exchanged
            stack.enter_context(exchange(plain_function(one.exercise.target), one))
        yield


@contextmanager
def code_exchanged(function: FunctionType, yours: Yours) -> Iterator[None]:
    before = function.__code__
    function.yours, function.__code__ = yours, calling(function.__name__)
    try:
        yield
    finally:
        function.__code__ = before
        del function.yours


def calling(name: str) -> CodeType:
    """Code for the function of this name, which calls what is kept at it as ``yours``."""
    names: dict[str, FunctionType] = {}
    text = f"def {name}(*arguments, **params):\n    return {name}.yours(*arguments, **params)\n"
    exec(compile(text, f"<your {name}>", "exec"), names)
    return names[name].__code__


@contextmanager
def methods_exchanged(theirs: type, yours: Yours) -> Iterator[None]:
    """The class itself stays too: only what its body defines goes, and the body of the learner's comes."""
    mine, before, bases = yours.answer, body_of(theirs), theirs.__bases__
    members = {name: moved(value, mine, theirs) for name, value in body_of(mine).items()}
    forward = members.get("forward", mine.forward)

    @functools.wraps(forward)
    def counted_forward(self, *arrays):
        yours.tick()
        return forward(self, *arrays)

    try:
        theirs.__bases__ = mine.__bases__
        replace_body(theirs, {**members, "forward": counted_forward})
        yield
    finally:
        theirs.__bases__ = bases
        replace_body(theirs, before)


def body_of(kind: type) -> dict[str, object]:
    """What a class body defines, without what Python adds."""
    defined = vars(kind).items()
    return {n: value for n, value in defined if isinstance(value, FunctionType) or not n.startswith("__")}


def replace_body(kind: type, body: dict[str, object]) -> None:
    for name in body_of(kind):
        delattr(kind, name)
    for name, value in body.items():
        setattr(kind, name, value)


def moved(value: object, mine: type, theirs: type) -> object:
    """A method of ``mine`` whose super() begins at ``theirs``; anything else as it is."""
    if not isinstance(value, FunctionType) or "__class__" not in value.__code__.co_freevars:
        return value
    cells = [
        CellType(theirs) if name == "__class__" else cell
        for name, cell in zip(value.__code__.co_freevars, value.__closure__, strict=True)
    ]
    method = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(cells))
    method.__kwdefaults__ = value.__kwdefaults__
    return method


# ---- kernels


@contextmanager
def kernels_around(kernels: list[Yours]) -> Iterator[None]:
    """Inside the block compiled kernels that call one of these call the learner's. No disk keeps them."""
    usual, of_target, twins = jit._twins, {}, {}

    def twins_around(module: str) -> dict[str, Callable]:
        if module in twins:
            return twins[module]
        held = {
            name: one
            for one in kernels
            for name, value in vars(sys.modules[module]).items()
            if value is one.exercise.target
        }
        if not held:
            return usual(module)
        from numba.core.registry import CPUDispatcher

        with mock.patch.object(CPUDispatcher, "enable_caching"):
            twins[module] = usual.__wrapped__(module)
        for name, one in held.items():
            number = one.exercise.number
            of_target[number] = of_target.get(number) or twin(one)
            twins[module][name] = of_target[number]
        return twins[module]

    for one in kernels:
        one.note = ", uncompiled"
    with mock.patch.object(jit, "_twins", twins_around):
        yield


def twin(yours: Yours) -> Callable:
    """A compiled function that counts and calls the learner's: compiled too, or in Python if that fails."""
    import ctypes

    import numba

    answer, tick = numba.njit(nogil=True, boundscheck=True)(yours.answer), ctypes.CFUNCTYPE(None)(yours.tick)
    problem = what_compiling_changes(yours, answer)
    if not problem:
        yours.note, yours.pointer = ", compiled", tick  # the pointer must live as long as what calls it

        def compiled(*arguments):
            tick()
            answer(*arguments)

        return numba.njit(nogil=True)(compiled)

    yours.note = f", uncompiled, since {problem}"

    def uncompiled(*arguments):
        with numba.objmode():
            yours(*arguments)

    return numba.njit(uncompiled)


def what_compiling_changes(yours: Yours, compiled: Callable) -> str:
    """Why the compiled function cannot stand for the learner's: tried on the calls of the worked examples."""
    plain = yours.exercise.adapt(yours.answer)
    for law in yours.exercise.laws:
        if law.is_example:
            law.run(plain, {})
    for call in plain.first_calls:
        for dtype in (np.float64, np.float32):
            given, expected = as_type(call.arguments, dtype), as_type(call.arguments, dtype)
            yours.answer(*expected)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compiled(*given)
            except Exception as error:
                return f"Numba refuses it: {type(error).__name__}: {first_words(error)}"
            for i in yours.exercise.written:
                if not np.allclose(given[i], expected[i], rtol=1e-5, atol=1e-6):
                    return "compiled it gives other numbers"
    return ""


def as_type(arguments: tuple, dtype: type) -> tuple:
    """Copies, floating arrays in another precision."""
    return tuple(x.astype(dtype) if is_floating(x) else copy.deepcopy(x) for x in arguments)


def first_words(error: Exception) -> str:
    """The line of Numba's many that says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Failed in nopython", "During: "))]
    return (telling or [""])[0]
