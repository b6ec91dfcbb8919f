"""A failing case as a file of its own: numbers inlined, a breakpoint before the call, kernels uncompiled."""

from __future__ import annotations

import bdb
import dataclasses
import inspect
import pprint
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from minidl.classroom.answers import function_of, load, standing_in, write_text
from minidl.classroom.compare import short
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise, Result
from minidl.classroom.implementation import Call, Implementation, is_floating

FILE = '''"""{number} {name} fails the law "{law}".

    python -m lessons debug {number}    writes this file anew and runs it in pdb
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

{name} = answer_to("{number}", work / "{file}", "{package}")

{call}
try_again("{number}", {name}, "{package}", law={law!r}, case={case})
'''
ALWAYS = ("import numpy as np", "from minidl.classroom.replay import answer_to, try_again")
TAKEN = {
    *("np", "os", "sys", "Path", "work", "answer_to", "try_again", "answer", "Tensor", "op", "y", "grads")
}


# ---- what the written file calls


def answer_to(number: str, path: Path, package: str) -> Callable | type:
    """The learner's function, with the library's in the places of the file's other exercises."""
    sys.excepthook = without_quitting
    exercises = _exercises(number, package)
    exercise = next(e for e in exercises if e.number == number)
    module = load(path)
    standing_in(module, exercise, exercises).__enter__()  # for as long as this process lives
    return exercise.adapt(function_of(module, exercise)).raw


def try_again(number: str, answer: Callable | type, package: str, law: str, case: dict | None) -> None:
    """Print what the law finds on the case, or, where that could not be written down, on all of its cases."""
    exercise = next(e for e in _exercises(number, package) if e.number == number)
    stepped = SteppedInto(answer, exercise.kind, exercise.written)
    try:
        result = exercise.try_law(law, stepped) if case is None else exercise.try_case(law, stepped, case)
    except KeyboardInterrupt:
        sys.exit(1)
    if isinstance(result.error, bdb.BdbQuit):  # in the law's own lines
        sys.exit(1)
    print(result)


class SteppedInto(Implementation):
    """An answer in pdb, whose q is a Ctrl-C for the law: any other error it would take for the answer's."""

    def __call__(self, *arguments, **params):
        try:
            return super().__call__(*arguments, **params)
        except bdb.BdbQuit:
            raise KeyboardInterrupt from None


def without_quitting(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """No traceback for who leaves pdb by q."""
    if kind is not bdb.BdbQuit:
        sys.__excepthook__(kind, error, trace)


def generator_at(state: dict[str, object]) -> np.random.Generator:
    """A generator that draws what the one in this state would have drawn next."""
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)


def _exercises(number: str, package: str) -> list[Exercise]:
    return Course(Path(), package).exercises(number[:2])


# ---- writing it


class NotInlined(Exception):
    """A value that has no text that makes it, such as a function defined inside another."""


def write(course: Course, path: Path, exercise: Exercise, answer: Implementation, result: Result) -> Path:
    """Write work/replay/NN_k.py for the failing case, and return its path."""
    imports = set(ALWAYS)
    try:
        call = CALLS[exercise.kind](exercise.name, answer.raw, answer.last_call, imports)
    except NotInlined as why:
        call = stopping(exercise, str(why))
    try:
        case = literal(result.case, imports)
    except NotInlined as why:
        case = f"None  # {why}"
    text = FILE.format(
        number=exercise.number,
        name=exercise.name,
        law=result.law,
        imports="\n".join(sorted(imports, key=lambda line: (not line.startswith("import"), line))),
        file=path.name,
        package=course.package,
        call=call,
        case=case,
    )
    replay = path.parent / "replay" / f"{exercise.number.replace('.', '_')}.py"
    write_text(replay, text)
    return replay


def call_function(function: str, raw: Callable, call: Call, imports: set[str]) -> str:
    lines, given = named(function, raw, call, imports)
    return "\n".join(
        [
            *lines,
            "breakpoint()",
            f"answer = {function}({', '.join(given)})",
            'print("yours:", answer)',
            "",
        ]
    )


def call_kernel(function: str, raw: Callable, call: Call, imports: set[str]) -> str:
    lines, given = named(function, raw, call, imports)
    return "\n".join([*lines, "breakpoint()", f"{function}({', '.join(given)})", ""])


def call_tensor(function: str, raw: Callable, call: Call, imports: set[str]) -> str:
    params = {name: value for name, value in call.params.items() if name != "grad"}
    lines, given = named(function, raw, dataclasses.replace(call, params=params), imports)
    for name, value in zip(given, call.arguments, strict=False):
        if is_floating(value):
            lines.append(f"{name} = Tensor({name}, requires_grad=True)")
    imports.add("from minidl import Tensor")
    lines += ["breakpoint()", f"y = {function}({', '.join(given)})", 'print("yours:", y.data)']
    if "grad" in call.params:
        lines.append(f"y.backward({literal(call.params['grad'], imports)})")
    return "\n".join([*lines, ""])


def call_op(function: str, raw: type, call: Call, imports: set[str]) -> str:
    params = {name: value for name, value in call.params.items() if name != "grad"}
    lines, given = named(
        function,
        raw.forward,
        dataclasses.replace(call, arguments=(None, *call.arguments), params={}),
        imports,
        skip=1,
    )
    settings = ", ".join(f"{name}={literal(value, imports)}" for name, value in params.items())
    lines += [
        f"op = {function}({settings})",
        f"op.needs = {tuple(map(is_floating, call.arguments))}",
        "breakpoint()",
        f"y = op.forward({', '.join(given)})",
    ]
    if call.params.get("grad") is not None:
        lines.append(f"grads = op.backward({literal(call.params['grad'], imports)})")
        lines.append('print("yours:", y, grads)')
    return "\n".join([*lines, ""])


CALLS = {"function": call_function, "kernel": call_kernel, "tensor": call_tensor, "op": call_op}


def stopping(exercise: Exercise, why: str) -> str:
    """Where a call cannot be written down, the law makes it, and each call stops."""
    if exercise.kind == "op":
        return f"breakpoint()  # {why}"
    told = f"{why}: each call of the law stops, c goes on to the next"
    return (
        f"print({told!r})\n"
        f"written = {exercise.name}\n\n\n"
        f"def {exercise.name}(*arguments, **params):  # {why}\n"
        "    breakpoint()\n"
        "    return written(*arguments, **params)\n\n"
    )


def named(
    function: str, raw: Callable, call: Call, imports: set[str], skip: int = 0
) -> tuple[list[str], list[str]]:
    """A line ``name = value`` for each argument, by the parameters' names, and how the call passes it on."""
    parameters = parameters_of(raw)
    lines, given = [], []
    if call.errstate != np.geterr():
        lines.append(f"np.seterr(**{call.errstate})")
    for i, value in enumerate(call.arguments[skip:], skip):
        name = parameters[i] if i < len(parameters) else f"argument_{i}"
        name += "_" * (name in TAKEN or name == function)
        lines.append(f"{name} = {literal(value, imports)}")
        given.append(name)
    for key, value in call.params.items():
        given.append(f"{key}={literal(value, imports)}")
    return lines, given


def parameters_of(raw: Callable) -> list[str]:
    """Names of the parameters that take one argument each."""
    try:
        parameters = inspect.signature(raw).parameters.values()
    except ValueError:  # something built in
        return []
    return [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]


def literal(value: object, imports: set[str]) -> str:
    """Python that makes the value, exactly; what it needs is added to ``imports``. Raises NotInlined."""
    if value is None or type(value) in (bool, int, str, bytes):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic | float | complex):
        return number_literal(value, imports)
    if type(value) in (tuple, list):
        inside = ", ".join(literal(v, imports) for v in value)
        return f"[{inside}]" if type(value) is list else f"({inside}{',' * (len(value) == 1)})"
    if type(value) is dict:
        return (
            "{" + ", ".join(f"{literal(k, imports)}: {literal(v, imports)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, np.dtype):
        return f"np.dtype({str(value)!r})"
    if isinstance(value, np.random.Generator):
        imports.add("from minidl.classroom.replay import generator_at")
        return f"generator_at({literal(value.bit_generator.state, imports)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return record_literal(value, value._fields, imports)
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


def function_literal(value: object, imports: set[str]) -> str:
    """A function or class by its name in its module; a method of a value, such as ``{...}.__getitem__``."""
    name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None)
    if name and module and getattr(sys.modules.get(module), name, None) is value:
        imports.add(f"from {module} import {name}")
        return name
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type(sys)):
        return f"{literal(owner, imports)}.{value.__name__}"
    raise NotInlined(f"{short(value)} cannot be written down")
