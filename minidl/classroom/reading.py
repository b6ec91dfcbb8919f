"""Reads the learner's file: runs the file as a module, and describes its errors in words."""

from __future__ import annotations

import difflib
import linecache
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Protocol

from minidl.classroom.exercise_kinds import parameters_of, place
from minidl.classroom.stubs import plain_function
from minidl.engine.checks import require


class Task(Protocol):
    """The part of an exercise that is needed to read a file: the name, and the library's function."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> Callable | type: ...


class FileProblem(Exception):
    """An exercise cannot be checked; the text says why. With ``at_import``, the file cannot be imported."""

    at_import, ended = False, ""  # see Outcome


class MissingFunction(FileProblem):
    """The file does not define the function or class that the exercise asks for."""

    ended = "missing"


class LibrarysOwn(FileProblem):
    """The file imports the library's function instead of defining its own function."""

    ended = "library"


def load(path: Path, source: bytes | None = None) -> ModuleType:
    """Run the learner's file, or ``source`` if given, as a new module.

    Raises FileProblem if this fails.
    """
    module = ModuleType(f"work_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and inspect look for it here
    try:
        source = path.read_bytes() if source is None else source
        lines = source.decode("utf-8", "replace").splitlines(keepends=True)
        linecache.cache[str(path)] = (len(source), None, lines, str(path))  # tracebacks need no file then
        code = compile(source, str(path), "exec")  # a .pyc file may be too old
        exec(code, vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = FileProblem(import_problem(error, path))
        problem.at_import = True
        raise problem from error
    return module


def import_problem(error: BaseException, path: Path) -> str:
    """The reason in words why the file cannot be imported."""
    if isinstance(error, OSError) and error.filename == str(path):
        return f"it cannot be read: {error.strerror}"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        code = (error.text or "").rstrip("\n")
        mark = " " * (max(error.offset or 1, 1) - 1) + "^"
        return f"line {error.lineno} is not Python: {error.msg}\n  {code}\n  {mark}"
    where = place(error, str(path))
    if isinstance(error, SystemExit):
        return f"it ends the program when imported (exit, {where or 'somewhere'}): take that out"
    return f"importing it raises {type(error).__name__}: {error}" + (f"\nat {where}" if where else "")


def function_of(module: ModuleType, exercise: Task) -> Callable | type:
    """The learner's function or class. Raises FileProblem if it is missing, or if it is the library's."""
    name = exercise.name
    if name not in vars(module):
        defined = [n for n, x in vars(module).items() if getattr(x, "__module__", "") == module.__name__]
        near = difflib.get_close_matches(name, defined, 1, cutoff=0.5)
        found = f"is {near[0]} what it was?" if near else f"there are {', '.join(defined) or 'none'}"
        raise MissingFunction(f"the file has no {name}: {found}")
    value = vars(module)[name]
    is_yours = plain_function(value) is not plain_function(exercise.target)
    require(is_yours, f"this is the library's own {name}, imported: write it yourself", LibrarysOwn)
    return value


def changed_signature(yours: list[str] | None, exercise: Task) -> str:
    """A message with the right parameters if ``yours`` differ, else "". Classes (None) are not checked."""
    wanted = parameters_of(plain_function(exercise.target))
    if wanted is None or yours is None or yours == wanted:
        return ""
    return f"the parameters must be ({', '.join(wanted)}), yours are ({', '.join(yours)})"


def stand_in(module: ModuleType, exercise: Task, exercises: Iterable[Task]) -> None:
    """Replace the file's other exercises by the library's functions, so that each is checked by itself."""
    vars(module).update({other.name: other.target for other in exercises if other is not exercise})
