"""Flags: what a teacher might want to look at in a file. A flag is a hint, never a verdict."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Iterator

from minidl.classroom.exercise import Exercise
from minidl.classroom.stubs import source

NAMES = {"open", "exec", "eval", "compile", "__import__", "globals", "breakpoint"}
MODULES = {
    *("importlib", "inspect", "ctypes", "gc", "subprocess", "multiprocessing", "socket", "signal", "pathlib"),
    *("linecache", "pickle", "lessons", "hypothesis", "pytest", "minidl.classroom"),
}
ATTRIBUTES = {"fork", "system", "popen", "_exit", "__code__", "__globals__", "__subclasses__", "_getframe"}
FEW, NEARLY = 40, 0.95  # shorter functions are not compared; the share of equal tokens for a flag


def flags_of(text: str, exercises: list[Exercise]) -> list[str]:
    """The flags in words, each once: what the file mentions, and functions nearly equal to the library's."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = dict.fromkeys(f"mentions {name}" for name in mentioned(tree))
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for exercise in exercises:
        if exercise.name in own:
            theirs = ast.parse(source(exercise.target)).body[0]
            if nearly(tokens(own[exercise.name]), tokens(theirs)):
                found[f"{exercise.name} is nearly the library's text"] = None
    return list(found)


def mentioned(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from filter(is_listed, (alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            yield from filter(is_listed, [node.module or ""])
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.attr


def is_listed(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in MODULES)


def tokens(node: ast.stmt) -> list[str]:
    """The tokens of a function without docstrings, comments and layout."""
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part, clean=False):
            part.body = part.body[1:] or [ast.Pass()]
    text = ast.unparse(node)
    kinds = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
    return [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in kinds]


def nearly(mine: list[str], theirs: list[str]) -> bool:
    if min(len(mine), len(theirs)) < FEW:
        return False
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    return matcher.quick_ratio() >= NEARLY and matcher.ratio() >= NEARLY
