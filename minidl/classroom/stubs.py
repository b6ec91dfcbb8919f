"""Stubs: library functions without their bodies, cut from the source text."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import resolve_name
from types import FunctionType
from typing import Any, TypeVar

from minidl.engine.checks import check_instance, require, shown

CHECKS = "minidl.engine.checks"
BODY = "raise NotImplementedError"
_COMMENTS = re.compile(r"(?<=:)\s*(#.*\n\s*)*\Z")  # the comments after the colon that ends a signature
_Node = TypeVar("_Node", bound=ast.AST)


def source(target: Callable | type) -> str:
    """The source text, with decorators, of a function or class at the top level of its module."""
    target = plain_function(target)
    check_instance("target", target, (FunctionType, type))
    at_the_top = target.__qualname__ == target.__name__ != "<lambda>"
    require(at_the_top, f"target must be defined at the top of its module, got {target.__qualname__}")
    try:
        return inspect.getsource(target)
    except (TypeError, OSError) as error:
        raise ValueError(f"target must be defined in a file of Python, got {shown(target)}") from error


def source_hash(target: Callable | type) -> str:
    """12 hex digits that change if the target's text changes. So they show whether a stub is out of date."""
    lines = [line.rstrip() for line in source(target).strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def stub(target: Callable | type) -> str:
    """The target with ``raise NotImplementedError`` as its body. The signature and docstring do not change.

    In a class, each method gets this body. The class's docstring and attributes do not change.
    """
    text = source(target)
    node = _definition(text)
    if isinstance(node, ast.ClassDef):
        return _class_stub(text, node)
    return _function_stub(text, node)


def imports(*targets: Callable | type, helpers: Iterable[str] = ()) -> str:
    """The imports that stubs need, from their targets' modules: NumPy, and the names that the sources use.

    No target is imported, and no name that is also a parameter's name. Three kinds of names would show the
    answer: argument checks, functions of a target's own module, and private names of this module. They are
    imported only if a stub's text or ``helpers`` contains them.
    """
    own = {_definition(source(target)).name for target in targets}
    own |= {node.arg for target in targets for node in _nodes(stub(target), ast.arg)}
    names_of: dict[str, set[str]] = {"": {"numpy as np"}}
    given: set[str] = set()
    for target in targets:
        for module, name in _used_imports(plain_function(target), own, set(helpers)):
            if name not in given or name in names_of.get(module, ()):  # import a common name once
                names_of.setdefault(module, set()).add(name)
                given.add(name)
    lines = [f"import {name}" for name in names_of.pop("")]
    lines += [import_line(module, sorted(names)) for module, names in names_of.items()]
    lines.sort(key=lambda line: (_place_of_import(line.split()[1]), line))
    return "\n".join(["from __future__ import annotations", "", *lines]) + "\n"


def import_line(module: str, names: list[str]) -> str:
    """``from module import names``, on several lines if one line would be too long."""
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= 100 else f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"


def plain_function(target: Callable | type) -> Any:
    """The Python function inside a compiled kernel. Another target is returned unchanged."""
    return getattr(target, "py_func", target)


def _definition(text: str) -> ast.ClassDef | ast.FunctionDef:
    """The node of the class or function that a target's text defines."""
    return next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef))


def _class_stub(text: str, node: ast.ClassDef) -> str:
    lines = text.splitlines()
    for item in reversed(_methods(node.body)):  # backwards, so that line numbers stay right
        last = item.end_lineno or item.lineno
        while last < len(lines) and _is_comment_inside(lines[last], item.col_offset):
            last += 1
        lines[_first_line(item) - 1 : last] = _function_stub(text, item).splitlines()
    return "\n".join(lines) + "\n"


def _methods(body: list[ast.stmt]) -> list[ast.FunctionDef]:
    """The functions of a class, in the order of the text. Functions under an ``if`` also count."""
    found = []
    for item in body:
        if isinstance(item, ast.FunctionDef):
            found.append(item)
        elif isinstance(item, ast.If):
            found += _methods(item.body + item.orelse)
    return found


def _function_stub(text: str, node: ast.FunctionDef) -> str:
    """The stub of a function: decorators, signature, docstring, and a body of one line."""
    lines, first = text.splitlines(keepends=True), node.body[0]
    beside = lines[first.lineno - 1].encode()[: first.col_offset].decode()  # columns are counted in bytes
    signature = "".join(lines[_first_line(node) - 1 : first.lineno - 1]) + beside
    signature = _COMMENTS.sub("", signature).rstrip()
    indent = " " * (node.col_offset + 4)
    doc = ""
    if ast.get_docstring(node, clean=False) is not None:
        doc = f"{indent}{ast.get_source_segment(text, first)}\n"
    return f"{signature}\n{doc}{indent}{BODY}\n"


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _is_comment_inside(line: str, column: int) -> bool:
    """Whether the line is a comment in the function's body, with more indentation than the ``def``."""
    code = line.lstrip()
    return code.startswith("#") and len(line) - len(code) > column


def _nodes(text: str, kind: type[_Node]) -> list[_Node]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kind)]


def _names(text: str) -> set[str]:
    """The names that the text uses but does not define."""
    names = _nodes(text, ast.Name)
    set_here = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - set_here


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The module's statements. Statements under an ``if`` or a ``try`` also count."""
    for node in tree.body:
        if isinstance(node, ast.If | ast.Try):
            yield from (n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt))
        else:
            yield node


def _used_imports(target: Callable | type, own: set[str], helpers: set[str]) -> Iterator[tuple[str, str]]:
    """A pair (module, name) for each import that a stub needs. For ``import name``, the module is ""."""
    module, kept = sys.modules[target.__module__], _names(stub(target)) | helpers
    used = (_names(source(target)) | helpers) - own
    for node in _top_level(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            relative = "." * getattr(node, "level", 0) + (getattr(node, "module", None) or "")
            origin = resolve_name(relative, module.__package__ or "")
            names = {(alias.asname or alias.name.split(".")[0]): ast.unparse(alias) for alias in node.names}
            wanted = used & kept if origin == CHECKS else used
            yield from ((origin, names[name]) for name in names.keys() & wanted if origin != "__future__")
        else:
            hidden = isinstance(node, ast.FunctionDef)
            here = _defined(node) & used
            yield from ((module.__name__, n) for n in here if n in kept or not (hidden or n[0] == "_"))


def _place_of_import(module: str) -> int:
    """Sort key of an import: Python's own modules first, minidl last."""
    top = module.split(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == "minidl" else 1


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
