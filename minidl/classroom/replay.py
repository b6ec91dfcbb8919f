"""Writes a failing case as a script with a breakpoint before the call, and with uncompiled kernels."""

from __future__ import annotations

import bdb
import dataclasses
import pprint
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from minidl.classroom.builders import Built
from minidl.classroom.compare import short
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise, Result
from minidl.classroom.exercise_kinds import Direct, Told, is_floating
from minidl.classroom.files import write_text
from minidl.classroom.implementation import Call, Implementation
from minidl.classroom.reading import function_of, load, stand_in

FILE = '''"""{exercise.number} {exercise.name} fails the law "{result.law}".

    {course.command} debug {exercise.number}    writes this file again and runs it in pdb
    VS Code: open it and start "this lesson, kernels uncompiled"

In pdb: s steps into the call, n goes to the next line, p NAME prints, c runs on, q quits.
"""

import os
import sys
from pathlib import Path

os.environ["MINIDL_DEBUG"] = "1"  # before minidl is imported: kernels stay plain Python
work = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(work.parent))

{imports}

{exercise.name} = implementation_of("{exercise.number}", work / "{path.name}", "{course.package}")

{call}
try_again("{exercise.number}", {exercise.name}, "{course.package}", law={result.law!r}, case={case})
'''
ALWAYS = ("import numpy as np", "from minidl.classroom.replay import implementation_of, try_again")
RESERVED = (
    "np", "os", "sys", "Path", "work", "implementation_of", "try_again", "answer", "Tensor", "op",
    "y", "grads",
)  # fmt: skip


# ---- functions that the written file calls


def implementation_of(number: str, path: Path, package: str) -> Callable | type:
    """The learner's function. The library's functions replace the other functions of the learner's file."""
    sys.excepthook = without_quitting
    exercises = _exercises(number, package)
    exercise = next(e for e in exercises if e.number == number)
    module = load(path)
    stand_in(module, exercise, exercises)
    return Direct(function_of(module, exercise), exercise.kind).raw


def try_again(number: str, raw: Callable | type, package: str, law: str, case: dict | None) -> None:
    """Print the law's result on the case. If the case is None, because no text can hold it, try all cases."""
    exercise = next(e for e in _exercises(number, package) if e.number == number)
    stepped = SteppedInto(raw, exercise.kind, exercise.written)
    try:
        result = exercise.try_law(law, stepped, case)
    except KeyboardInterrupt:
        sys.exit(1)
    if isinstance(result.error, bdb.BdbQuit):  # the user left pdb in the law's own lines
        sys.exit(1)
    print(result)


class SteppedInto(Implementation):
    """An implementation in pdb. The command q raises KeyboardInterrupt, which does not count as an answer."""

    def __call__(self, *arguments, **params):
        try:
            return super().__call__(*arguments, **params)
        except bdb.BdbQuit:
            raise KeyboardInterrupt from None


def without_quitting(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An excepthook that prints no traceback if the user leaves pdb with q."""
    if kind is not bdb.BdbQuit:
        sys.__excepthook__(kind, error, trace)


def step_into(course: Course, replay: str) -> int:
    """Run a replay in pdb. Only pdb uses the terminal and receives Ctrl-C. Returns the exit code."""
    from minidl.classroom.running import environment  # imports tqdm, too

    print(f"\n{replay} in pdb: s steps into the call, n runs a line, p NAME prints, q quits", flush=True)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, because the child would inherit it
    try:
        env = {**environment(course.root), "MINIDL_DEBUG": "1"}
        return subprocess.run([sys.executable, replay], cwd=course.root, env=env).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _exercises(number: str, package: str) -> list[Exercise]:
    return Course(Path(), package).exercises(number[:2])


# ---- writing it


class NotInlined(Exception):
    """No Python text can make the value. An example is a function that is defined inside another function."""


def write(
    course: Course, path: Path, exercise: Exercise, implementation: Implementation, result: Result
) -> Path:
    """Write work/replay/NN_k.py for the failing case, and return its path."""
    imports = set(ALWAYS)
    try:
        call = call_text(exercise, implementation.told, implementation.last_call, imports)
    except NotInlined as why:
        call = stopping(exercise, str(why))
    try:
        case = literal(result.case, imports)
    except NotInlined as why:
        case = f"None  # {why}"
    lines = sorted(imports, key=lambda line: (not line.startswith("import"), line))
    told = {"exercise": exercise, "result": result, "course": course, "path": path}
    text = FILE.format(**told, imports="\n".join(lines), call=call, case=case)
    replay = path.parent / "replay" / f"{exercise.number.replace('.', '_')}.py"
    write_text(replay, text)
    return replay


def call_text(exercise: Exercise, told: Told, call: Call, imports: set[str]) -> str:
    """The text of the arguments by name, a breakpoint, and the call for the exercise's kind."""
    function, kind = exercise.name, exercise.kind
    names = [n + "_" * (n in RESERVED or n == function) for n in argument_names(told, call)]
    lines = [f"np.seterr(**{call.errstate})"] * (call.errstate != np.geterr())
    lines += [f"{n} = {literal(value, imports)}" for n, value in zip(names, call.arguments, strict=True)]
    params = dict(call.params)
    grad = params.pop("grad", None) if kind in ("op", "tensor") else None
    given = [f"{key}={literal(value, imports)}" for key, value in params.items()]
    if kind == "tensor":
        imports.add("from minidl import Tensor")
        floats = [n for n, value in zip(names, call.arguments, strict=True) if is_floating(value)]
        lines += [f"{n} = Tensor({n}, requires_grad=True)" for n in floats]
    if kind == "op":
        lines.append(f"op = {function}({', '.join(given)})")
        lines.append(f"op.needs = {tuple(map(is_floating, call.arguments))}")
        function, given = "op.forward", []
    if kind == "model":
        models = [n for n, value in zip(names, call.arguments, strict=True) if isinstance(value, Built)]
        lines += [f"{n} = {n}.build()" for n in models]
        given = [text + ".build()" * isinstance(params[text.split("=")[0]], Built) for text in given]
    lines.append("breakpoint()")
    answer = {"function": "answer = ", "model": "answer = ", "kernel": ""}.get(kind, "y = ")
    lines.append(f"{answer}{function}({', '.join([*names, *given])})")
    shown = {"function": "answer", "model": "answer", "tensor": "y.data"}
    lines += [f'print("yours:", {shown[kind]})'] if kind in shown else []
    if grad is not None:
        backward = f"backward({literal(grad, imports)})"
        lines.append(f"grads = op.{backward}" if kind == "op" else f"y.{backward}")
        lines += ['print("yours:", y, grads)'] * (kind == "op")
    return "\n".join([*lines, ""])


def argument_names(told: Told, call: Call) -> list[str]:
    """Names for the call's arguments: the names of the parameters, or argument_2 for further arguments."""
    names = told.arguments
    return [names[i] if i < len(names) else f"argument_{i}" for i in range(len(call.arguments))]


def stopping(exercise: Exercise, why: str) -> str:
    """The text if Python text cannot make the call. The law makes the call, and pdb stops there."""
    if exercise.kind == "op":
        return f"breakpoint()  # {why}"
    return (
        f"print({why + ': each call of the law stops, c goes on to the next'!r})\n"
        f"written = {exercise.name}\n\n\n"
        f"def {exercise.name}(*arguments, **params):  # {why}\n"
        "    breakpoint()\n"
        "    return written(*arguments, **params)\n\n"
    )


def literal(value: Any, imports: set[str]) -> str:
    """Python text that makes exactly this value. Adds its imports to ``imports``. Raises NotInlined."""
    if value is None or type(value) in (bool, int, str, bytes):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic | float | complex):
        return number_literal(value, imports)
    if type(value) in (tuple, list):
        inside = ", ".join(literal(v, imports) for v in value)
        return f"[{inside}]" if type(value) is list else f"({inside}{',' * (len(value) == 1)})"
    if type(value) is set:
        return f"set({literal(list(value), imports)})"  # also of an empty set
    if type(value) is dict:
        items = [f"{literal(key, imports)}: {literal(v, imports)}" for key, v in value.items()]
        return f"{{{', '.join(items)}}}"
    if isinstance(value, np.dtype):
        return f"np.dtype({str(value)!r})"
    if isinstance(value, np.random.Generator):
        imports.add("from minidl.classroom.codec import generator_at")
        return f"generator_at({literal(value.bit_generator.state, imports)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return record_literal(value, value._fields, imports)
    if isinstance(value, Built):
        given = {"seed": value.seed, **value.settings}
        settings = ", ".join(f"{name}={literal(v, imports)}" for name, v in given.items())
        return f"{function_literal(Built, imports)}({value.builder!r}, {settings})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return record_literal(value, [f.name for f in dataclasses.fields(value) if f.init], imports)
    return function_literal(value, imports)


def number_literal(value: np.ndarray | np.generic | float | complex, imports: set[str]) -> str:
    if not np.all(np.isfinite(value)):
        imports.add("from math import inf, nan")
    if isinstance(value, np.generic):
        return f"np.{type(value).__name__}({value.item()!r})"
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.size == 0:
        return f"np.zeros({value.shape}, dtype=np.{value.dtype})"
    numbers = pprint.pformat(value.tolist(), width=90, compact=True).replace("\n", "\n" + " " * 9)
    usual = value.dtype == np.array(value.tolist()).dtype
    return f"np.array({numbers})" if usual else f"np.array({numbers}, dtype=np.{value.dtype})"


def record_literal(value: object, names: tuple[str, ...] | list[str], imports: set[str]) -> str:
    fields = ", ".join(f"{name}={literal(getattr(value, name), imports)}" for name in names)
    return f"{function_literal(type(value), imports)}({fields})"


def function_literal(value: Any, imports: set[str]) -> str:
    """The name of a function or class, or the text of a value's method, such as ``{...}.__getitem__``."""
    name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None)
    if name and module and getattr(sys.modules.get(module), name, None) is value:
        imports.add(f"from {module} import {name}")
        return name
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type(sys)):
        return f"{literal(owner, imports)}.{value.__name__}"
    raise NotInlined(f"{short(value)} cannot be written down")
