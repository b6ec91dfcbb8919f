"""Errors and calls of a law's functions, which the checker and the learner's process send to each other.

A value that arrives may have a wrong form. This raises KeyError or TypeError, which the callers handle.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from minidl.classroom.codec import Malformed, Values, arrays_in, generators_in
from minidl.classroom.exercise import Exercise
from minidl.classroom.exercise_kinds import LibraryCall, Told, unchanged
from minidl.classroom.stubs import plain_function
from minidl.engine.checks import require

_Kind = TypeVar("_Kind", bound=BaseException)


def targets_of(exercises: list[Exercise], withheld: str) -> dict:
    """The places of the library's functions, without those that the exercises' own package defines."""
    plain = {exercise.name: plain_function(exercise.target) for exercise in exercises}
    known = {name: one for name, one in plain.items() if one.__module__.split(".")[0] != withheld}
    tops = {one.__module__.split(".")[0] for one in known.values()}
    files = [getattr(sys.modules[top], "__file__", None) for top in sorted(tops - {"minidl"})]
    roots = [Path(file).resolve() for file in files if file]
    return {
        "targets": {name: f"{one.__module__}:{one.__qualname__}" for name, one in known.items()},
        "roots": [str(file.parents[1] if file.name == "__init__.py" else file.parent) for file in roots],
    }


def told_by(told: dict) -> Told:
    taken = told["parameters"]
    parameters = None if taken is None else [str(name) for name in taken]
    return Told(str(told["name"])[:200], int(told["line"]), parameters, [str(n) for n in told["arguments"]])


def called_back(functions: list, asked: dict) -> tuple[bytes, bytes]:
    """Call one of the law's functions. The message has its answer and the arrays changed in place."""
    which = asked["back"]
    is_given = type(which) is int and 0 <= which < len(functions)
    require(is_given, "a function that was not given", Malformed)
    arguments, params = asked["arguments"], asked["params"]
    before = [(array, array.copy()) for array in arrays_in(arguments, params)]

    def message(found: dict) -> tuple[bytes, bytes]:
        states = [generator.bit_generator.state for generator in generators_in(arguments, params)]
        arrays = [None if unchanged(was, array) else array for array, was in before]
        return Values().write({**found, "states": states, "arrays": arrays})

    try:
        value = functions[which](*arguments, **params)
        for place, (array, _) in enumerate(before):
            if value is array:  # the function has changed its argument in place, and returns it
                return message({"argument": place})
        return message({"items": list(value)} if isinstance(value, Iterator) else {"value": value})
    except Exception as error:  # an answer that cannot be sent is also an error of the law
        return message({"raised": {"classes": [("", type(error).__name__)], "text": str(error)}})


def class_of(names: list, base: type[_Kind]) -> type[_Kind]:
    """The first of these classes of Python, NumPy or minidl that is known here and derives from ``base``."""
    for module, name in names:
        home = builtins if module == "builtins" else sys.modules.get(module)
        if module != "builtins" and module.split(".")[0] not in ("numpy", "minidl"):
            continue
        kind = getattr(home, name, None)
        if isinstance(kind, type) and issubclass(kind, base):
            return kind
    return base


def error_of(told: dict) -> BaseException:
    """The learner's error. If its class is not known here, a new class with the same name is made."""
    names, text = [(str(m), str(n)) for m, n in told["classes"]], str(told["text"])
    base = class_of(names, BaseException)
    module, name = names[0]
    if base is LibraryCall or base is KeyboardInterrupt:
        error: BaseException = base(text)
    elif not issubclass(base, Exception):
        error = type(name, (BaseException,), {"__module__": module})(text)
    else:
        error = remade(base, module, name, text)
    vars(error).update(place=str(told["place"]), traceback=str(told["traceback"]))
    return error


def remade(base: type[Exception], module: str, name: str, text: str) -> Exception:
    if (base.__module__, base.__qualname__) == (module, name):
        with suppress(Exception):
            error = base(text)
            if str(error) == text:
                return error
    named = {
        "__module__": module,
        "__qualname__": name,
        "__str__": lambda _: text,
        "__init__": lambda *_: None,
    }
    return base.__new__(type(name, (base,), named))
