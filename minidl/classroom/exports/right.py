"""Right answers to a lesson's exercises, made from the library's text. They test an export."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import FunctionType

from minidl.classroom.exercise import Exercise
from minidl.classroom.stubs import BODY, imports, plain_function, source, stub
from minidl.classroom.work_file import mark

FUTURE = "from __future__ import annotations\n"


def right_file(exercises: list[Exercise]) -> str:
    """The text of a file in which every answer is right."""
    return file_of(exercises, [source(exercise.target) for exercise in exercises])


def wrong_file(exercises: list[Exercise]) -> str:
    """The same text, except that the first answer returns nothing."""
    first = stub(exercises[0].target).replace(BODY, "return None")
    return file_of(exercises, [first, *(source(exercise.target) for exercise in exercises[1:])])


def file_of(exercises: list[Exercise], texts: list[str]) -> str:
    imported = dict.fromkeys(needed(exercise.target) for exercise in exercises)
    marked = [f"{mark(exercise)}\n{text}" for exercise, text in zip(exercises, texts, strict=True)]
    return "\n\n".join([FUTURE, *imported, *marked])


def needed(target: Callable | type) -> str:
    """The imports that the target's text uses, and the text of helpers that only the course has."""
    target = plain_function(target)
    helpers = helpers_beside(target)
    names = names_read(target).union(*map(names_read, helpers))
    text = imports(target, *helpers, helpers=names).removeprefix(FUTURE).strip()
    return "\n\n".join([text, *map(source, helpers)])


def helpers_beside(target: Callable | type) -> list[FunctionType]:
    """Functions of the target's module that the target calls. If the module is the library's: []."""
    if target.__module__.split(".")[0] == "minidl":
        return []
    module = vars(sys.modules[target.__module__])
    found = [module.get(name) for name in sorted(names_read(target) - {target.__name__})]
    return [one for one in found if isinstance(one, FunctionType) and one.__module__ == target.__module__]


def names_read(target: Callable | type) -> set[str]:
    names = [node for node in ast.walk(ast.parse(source(target))) if isinstance(node, ast.Name)]
    return {node.id for node in names} - {node.id for node in names if isinstance(node.ctx, ast.Store)}
