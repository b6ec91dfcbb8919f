"""Stubs: a library function with its body removed, cut out of the source text itself."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import resolve_name
from types import FunctionType

from minidl.engine.checks import check_instance, require, shown

BODY = "raise NotImplementedError"
_COMMENTS = re.compile(r"(?<=:)\s*(#.*\n\s*)*\Z")  # behind the colon that ends a signature


def source(target: Callable | type) -> str:
    """The library's own text of a function or class defined at the top of its module, decorators included."""
    target = plain_function(target)
    check_instance("target", target, (FunctionType, type))
    at_the_top = target.__qualname__ == target.__name__ != "<lambda>"
    require(at_the_top, f"target must be defined at the top of its module, got {target.__qualname__}")
    try:
        return inspect.getsource(target)
    except (TypeError, OSError) as error:
        raise ValueError(f"target must be defined in a file of Python, got {shown(target)}") from error


def source_hash(target: Callable | type) -> str:
    """12 hex digits that change when the target's text does: how a stub knows that the library moved on."""
    lines = [line.rstrip() for line in source(target).strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def stub(target: Callable | type) -> str:
    """The target with ``raise NotImplementedError`` for a body; signature and docstring stay word for word.

    In a class each method is emptied so; what else its body holds (docstring, class attributes) is kept.
    """
    text = source(target)
    node = ast.parse(text).body[0]
    if isinstance(node, ast.ClassDef):
        return _class_stub(text, node)
    return _function_stub(text, node)


def imports(*targets: Callable | type) -> str:
    """The imports that stubs need, from their targets' modules: the names that the sources use, each once.

    No target is imported. What a module itself defines is imported from it, private helpers only where the
    stub's text names them.
    """
    own = {ast.parse(source(target)).body[0].name for target in targets}
    names_of: dict[str, set[str]] = {}
    for target in targets:
        for module, name in _used_imports(plain_function(target), own):
            names_of.setdefault(module, set()).add(name)
    lines = [f"import {name}" for name in names_of.pop("", ())]
    lines += [import_line(module, sorted(names)) for module, names in names_of.items()]
    lines.sort(key=lambda line: (_place_of_import(line.split()[1]), line))
    return "\n".join(["from __future__ import annotations", "", *lines]).rstrip() + "\n"


def import_line(module: str, names: list[str]) -> str:
    """``from module import names``, over several lines where one would be long."""
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= 100 else f"from {module} import (\n    " + ",\n    ".join(names) + ",\n)"


def plain_function(target: Callable | type) -> Callable | type:
    """The Python function inside a compiled kernel; anything else as it is."""
    return getattr(target, "py_func", target)


def _class_stub(text: str, node: ast.ClassDef) -> str:
    lines = text.splitlines()
    for item in reversed(node.body):  # from the last, so that the line numbers above stay right
        if isinstance(item, ast.FunctionDef):
            last = item.end_lineno
            while last < len(lines) and _is_comment_inside(lines[last], item.col_offset):
                last += 1
            lines[_first_line(item) - 1 : last] = _function_stub(text, item).splitlines()
    return "\n".join(lines) + "\n"


def _function_stub(text: str, node: ast.FunctionDef) -> str:
    """Decorators, the text up to the colon that ends the signature, the docstring, and one line of body."""
    lines, first = text.splitlines(keepends=True), node.body[0]
    beside = lines[first.lineno - 1].encode()[: first.col_offset].decode()  # columns are counted in bytes
    signature = "".join(lines[_first_line(node) - 1 : first.lineno - 1]) + beside
    signature = _COMMENTS.sub("", signature).rstrip()
    indent = " " * (node.col_offset + 4)
    doc = ""
    if ast.get_docstring(node, clean=False) is not None:
        doc = indent + ast.get_source_segment(text, first) + "\n"
    return f"{signature}\n{doc}{indent}{BODY}\n"


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _is_comment_inside(line: str, column: int) -> bool:
    """A comment that belongs to the body above it, being indented deeper than its ``def``."""
    code = line.lstrip()
    return code.startswith("#") and len(line) - len(code) > column


def _names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The module's statements, those under its ``if`` and ``try`` among them."""
    for node in tree.body:
        if isinstance(node, ast.If | ast.Try):
            yield from (n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt))
        else:
            yield node


def _used_imports(target: Callable | type, own: set[str]) -> Iterator[tuple[str, str]]:
    """(module, name) for each import that a stub needs; the module is empty for ``import name``."""
    module, used, kept = sys.modules[target.__module__], _names(source(target)) - own, _names(stub(target))
    for node in _top_level(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            relative = "." * getattr(node, "level", 0) + (getattr(node, "module", None) or "")
            origin = resolve_name(relative, module.__package__ or "")
            names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
            yield from ((origin, ast.unparse(alias)) for alias in names if origin != "__future__")
        else:
            here = _defined(node) & used
            yield from ((module.__name__, name) for name in here if name in kept or name[0] != "_")


def _place_of_import(module: str) -> int:
    """Python's own first, the library last."""
    top = module.split(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == "minidl" else 1


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
