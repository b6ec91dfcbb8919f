"""What crosses between the checker and the learner's process: errors, and calls of a law's functions.

Nothing that arrives is taken for what it should be: KeyError and TypeError are the callers' business.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.classroom.codec import Malformed, Values, generators_in
from minidl.classroom.exercise import Exercise
from minidl.classroom.kinds import LibraryCall, Told
from minidl.classroom.stubs import plain_function


def targets_of(exercises: list[Exercise], withheld: str) -> dict:
    """Where the library's functions are, but for those that are set by the exercises' own package."""
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
    """The answer of one of the law's functions."""
    which = asked["back"]
    if type(which) is not int or not 0 <= which < len(functions):
        raise Malformed("a function that was not given")
    arguments, params = asked["arguments"], asked["params"]

    def message(found: dict) -> tuple[bytes, bytes]:
        states = [generator.bit_generator.state for generator in generators_in(arguments, params)]
        return Values().write({**found, "states": states})

    try:
        value = functions[which](*arguments, **params)
        return message({"items": list(value)} if isinstance(value, Iterator) else {"value": value})
    except Exception as error:  # also of a value that cannot be sent, which is the law's error
        return message({"raised": {"classes": [("", type(error).__name__)], "text": str(error)}})


def class_of(names: list, base: type) -> type:
    """The first of these classes that is known here and one of ``base``: of Python, NumPy or minidl."""
    for module, name in names:
        home = builtins if module == "builtins" else sys.modules.get(module)
        if module != "builtins" and module.split(".")[0] not in ("numpy", "minidl"):
            continue
        kind = getattr(home, name, None)
        if isinstance(kind, type) and issubclass(kind, base):
            return kind
    return base


def error_of(told: dict) -> BaseException:
    """The learner's error: of its own class where that is known, else of one named like it."""
    names, text = [(str(m), str(n)) for m, n in told["classes"]], str(told["text"])
    base = class_of(names, BaseException)
    module, name = names[0]
    error: Any
    if base is LibraryCall or base is KeyboardInterrupt:
        error = base(text)
    elif not issubclass(base, Exception):
        error = type(name, (BaseException,), {"__module__": module})(text)
    else:
        error = remade(base, module, name, text)
    error.place, error.traceback = str(told["place"]), str(told["traceback"])
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
    kind: Any = type(name, (base,), named)
    return kind.__new__(kind)
