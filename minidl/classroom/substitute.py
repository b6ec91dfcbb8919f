"""Replaces the library's functions by the learner's functions.

The library's function object stays, since other modules have imported it already. Its new code calls the
learner's function. An Op class gets the learner's methods. Kernels that call the learner's kernel are
compiled again. If this is impossible, the library's function stays as it was, and ``note`` says why.
"""

from __future__ import annotations

import copy
import functools
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType, FunctionType
from typing import Any
from unittest import mock

import numpy as np

from minidl.classroom.exercise import Exercise
from minidl.classroom.exercise_kinds import is_floating
from minidl.classroom.stubs import plain_function
from minidl.engine import jit


class Substitute:
    """The learner's function for an exercise. It counts its calls."""

    def __init__(self, exercise: Exercise, implementation: Callable | type) -> None:
        self.exercise, self.implementation = exercise, plain_function(implementation)
        self.calls, self.last, self.lock = 0, 0.0, threading.Lock()  # last: when the last call began
        self.note = ""  # how the kernel runs, or why the library's function is kept

    def __call__(self, *arguments, **params):
        self.tick()
        return self.implementation(*arguments, **params)

    def tick(self) -> None:
        with self.lock:  # several threads call kernels
            self.calls, self.last = self.calls + 1, time.perf_counter()


@contextmanager
def substituted(substitutes: list[Substitute]) -> Iterator[None]:
    """Inside the block, every call of the library's functions calls the learner's functions."""
    with ExitStack() as stack:
        kernels = [one for one in substitutes if one.exercise.kind == "kernel"]
        if kernels:
            stack.enter_context(kernels_substituted(kernels))
        for one in substitutes:
            substitute = methods_substituted if one.exercise.kind == "op" else code_substituted
            stack.enter_context(substitute(plain_function(one.exercise.target), one))
        yield


@contextmanager
def code_substituted(function: Any, one: Substitute) -> Iterator[None]:
    before = function.__code__
    function.yours, function.__code__ = one, calling(function.__name__)
    try:
        yield
    finally:
        function.__code__ = before
        del function.yours


def calling(name: str) -> CodeType:
    """New code for the function with this name. The code calls the function's attribute ``yours``."""
    names: dict[str, FunctionType] = {}
    text = f"def {name}(*arguments, **params):\n    return {name}.yours(*arguments, **params)\n"
    exec(compile(text, f"<your {name}>", "exec"), names)
    return names[name].__code__


@contextmanager
def methods_substituted(library_op: type, one: Substitute) -> Iterator[None]:
    """Inside the block, the library's class has every method and attribute of the learner's class."""
    yours = one.implementation
    body = {
        name: value
        for name, value in vars(yours).items()
        if isinstance(value, FunctionType) or not name.startswith("__")
    }
    functions = [value for value in body.values() if isinstance(value, FunctionType)]
    if yours.__bases__ != library_op.__bases__ or any(
        "__class__" in f.__code__.co_freevars for f in functions
    ):
        one.note = "the library's is kept, since yours has another base class or calls super()"
        yield
        return

    @functools.wraps(yours.forward)
    def counted_forward(self, *arrays):
        one.tick()
        return yours.forward(self, *arrays)

    with ExitStack() as stack:
        for name, value in {**body, "forward": counted_forward}.items():
            stack.enter_context(mock.patch.object(library_op, name, value, create=True))
        yield


# ---- kernels


@contextmanager
def kernels_substituted(kernels: list[Substitute]) -> Iterator[None]:
    """Inside the block, compiled kernels call the learner's kernels, and Numba's cache on disk is off."""
    usual = jit._twins
    twin_of = {one.exercise.target: functools.cache(twin_maker(one)) for one in kernels}

    def twins_around(module: str) -> dict[str, Callable]:
        names = vars(sys.modules[module])
        held = {name: value for name, value in names.items() if any(value is target for target in twin_of)}
        if not held:
            return usual(module)
        from numba.core.registry import CPUDispatcher

        twins = {name: twin_of[value]() for name, value in held.items()}
        with mock.patch.object(CPUDispatcher, "enable_caching"), mock.patch.dict(names, twins):
            return usual.__wrapped__(module)

    with mock.patch.object(jit, "_twins", functools.cache(twins_around)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Code running in object mode")  # counting needs object mode
        yield


def twin_maker(one: Substitute) -> Callable[[], Callable]:
    """Makes the function that compiled kernels call: the learner's compiled function, or the library's."""
    target: Any = one.exercise.target
    librarys = FunctionType(target.__code__, target.__globals__, target.__name__, target.__defaults__)
    one.note = "uncompiled"

    def twin() -> Callable:
        import numba

        compiled = numba.njit(nogil=True, boundscheck=True)(one.implementation)
        problem = what_compiling_changes(one, compiled)
        if problem:
            one.note = f"the library's is kept where it is compiled, since {problem}"
            return librarys
        one.note = "compiled"
        tick = one.tick

        def counted(*arguments):
            with numba.objmode():
                tick()
            compiled(*arguments)

        return numba.njit(nogil=True)(counted)

    return twin


def what_compiling_changes(one: Substitute, compiled: Callable) -> str:
    """A text on how the compiled function differs from the learner's in worked examples, or ""."""
    plain = one.exercise.adapt(one.implementation)
    for law in one.exercise.laws:
        if law.is_example:
            law.run(plain, {})
    for call in plain.first_calls:
        for dtype in (np.float64, np.float32):
            given, expected = as_type(call.arguments, dtype), as_type(call.arguments, dtype)
            one.implementation(*expected)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compiled(*given)
            except Exception as error:
                return f"Numba refuses yours: {type(error).__name__}: {first_words(error)}"
            for i in one.exercise.written:
                if not np.allclose(given[i], expected[i], rtol=1e-5, atol=1e-6, equal_nan=True):
                    return "compiled yours gives other numbers"
    return ""


def as_type(arguments: tuple, dtype: type) -> tuple:
    """Copies of the arguments. Floating arrays get this dtype."""
    return tuple(x.astype(dtype) if is_floating(x) else copy.deepcopy(x) for x in arguments)


def first_words(error: Exception) -> str:
    """The line of Numba's long message that says why it cannot compile the function."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Failed in nopython", "During: "))]
    return (telling or [""])[0]
