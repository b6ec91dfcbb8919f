"""Flags: what a teacher might want to look at in a file. A flag is a hint, never a verdict."""

from __future__ import annotations

import ast
import difflib
import functools
import io
import tokenize
from collections.abc import Iterator

from minidl.classroom.exercise import Exercise
from minidl.classroom.stubs import imports, source

HARMLESS = {  # modules that answers need; any other imported module gives a flag
    *("numpy", "scipy", "numba", "minidl", "math", "cmath", "matplotlib", "__future__", "typing"),
    *("itertools", "functools", "operator", "dataclasses", "numbers", "enum", "abc", "warnings", "copy"),
    *("random", "time", "contextlib", "heapq", "bisect", "fractions", "decimal", "statistics"),
    *("collections", "string"),
}
DUNDERS = {
    *("__import__", "__spec__", "__loader__", "__code__", "__globals__", "__builtins__", "__closure__"),
    *("__wrapped__", "__subclasses__", "__file__", "__path__", "__cached__"),
}
NAMES = {"open", "exec", "eval", "compile", "globals", "vars", "getattr", "breakpoint"} | DUNDERS
ATTRIBUTES = {  # also names that a file imports from a harmless module; model.eval() is not flagged
    *("open", "load", "fromfile", "loadtxt", "genfromtxt", "memmap", "read_text", "read_bytes", "get_data"),
    *("os", "sys", "io", "importlib", "builtins", "inspect", "gc", "ctypes", "ctypeslib", "pathlib", "Path"),
    *("fork", "system", "popen", "_exit", "listdir", "scandir", "walk", "glob", "rglob", "pickle"),
    *("runpy", "classroom"),
    *("exec_module", "load_module", "find_spec", "run_path", "run_module", "get_source", "getsource"),
    *("FunctionType", "CodeType", "get_objects", "_getframe", "tb_frame", "f_back", "f_globals"),
} | DUNDERS
FEW, NEARLY = 40, 0.95  # functions with fewer tokens are not compared; the share of equal tokens for a flag


def flags_of(text: str, exercises: list[Exercise]) -> list[str]:
    """The flags in words: names that the file mentions, and functions that nearly equal the library's."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = list(mentioned(tree))
    given = set().union(*map(mentioned_by_stub, exercises)) if names else set()
    found = dict.fromkeys(f"mentions {name}" for name in names if name not in given)
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for exercise in exercises:
        if exercise.name in own and is_nearly_the_librarys(own[exercise.name], exercise):
            found[f"{exercise.name} is nearly the library's text"] = None
    return list(found)


@functools.cache
def mentioned_by_stub(exercise: Exercise) -> frozenset[str]:
    """What the imports of the exercise's stub mention."""
    return frozenset(mentioned(ast.parse(imports(exercise.target, helpers=exercise.helpers))))


@functools.cache
def tokens_of_library(exercise: Exercise) -> list[str]:
    return tokens(ast.parse(source(exercise.target)).body[0])


def mentioned(tree: ast.AST) -> Iterator[str]:
    """The names in the code that could read files, load the library again or reach other processes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if not is_harmless(alias.name))
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if is_harmless(module):
                yield from (alias.name for alias in node.names if alias.name in NAMES | ATTRIBUTES)
            else:
                yield module
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in DUNDERS:
            yield node.value


def is_harmless(module: str) -> bool:
    return module.split(".")[0] in HARMLESS and not f"{module}.".startswith("minidl.classroom.")


def tokens(node: ast.stmt) -> list[str]:
    """The tokens of a function without docstrings, comments and layout."""
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part, clean=False):
            part.body = part.body[1:] or [ast.Pass()]
    text = ast.unparse(node)
    kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    return [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in kinds]


def is_nearly_the_librarys(node: ast.stmt, exercise: Exercise) -> bool:
    mine = tokens(node)
    if len(mine) < FEW or len(theirs := tokens_of_library(exercise)) < FEW:
        return False
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    return matcher.quick_ratio() >= NEARLY and matcher.ratio() >= NEARLY
