"""Stubs: a library function with its body removed, cut out of the source text itself."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from importlib.util import resolve_name
from types import FunctionType

from minidl.engine.checks import check_instance, require, shown

BODY = "raise NotImplementedError"


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


def imports(target: Callable | type) -> str:
    """The imports a stub needs, from the target's module: the names that its source uses, never its own.

    What the module itself defines is imported from it, private helpers only where the stub's text names them.
    """
    target, text = plain_function(target), source(target)
    module = sys.modules[target.__module__]
    used = _names(text) - {target.__name__}
    kept = _names(stub(target))

    lines, here = [], set()
    for node in _top_level(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines += _used_part(node, used, module.__package__ or "")
        else:
            here |= {name for name in _defined(node) & used if name in kept or not name.startswith("_")}
    if here:
        lines.append(f"from {target.__module__} import {', '.join(sorted(here))}")
    return "\n".join(["from __future__ import annotations", "", *lines]).rstrip() + "\n"


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
    lines = text.splitlines(keepends=True)
    decorators = "".join(lines[_first_line(node) - 1 : node.lineno - 1])
    signature = _up_to_colon("".join(lines[node.lineno - 1 :]))
    indent = " " * (node.col_offset + 4)
    doc = ""
    if ast.get_docstring(node, clean=False) is not None:
        doc = indent + ast.get_source_segment(text, node.body[0]) + "\n"
    return f"{decorators}{signature}\n{doc}{indent}{BODY}\n"


def _up_to_colon(text: str) -> str:
    """The beginning of a function's text through the colon outside all brackets."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.OP:
            continue
        depth += (token.string in "([{") - (token.string in ")]}")
        if token.string == ":" and depth == 0:
            row, column = token.end
            lines = text.splitlines(keepends=True)
            return "".join(lines[: row - 1]) + lines[row - 1][:column]
    raise ValueError("a function's signature must end with a colon")


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


def _used_part(node: ast.Import | ast.ImportFrom, used: set[str], package: str) -> list[str]:
    """The import statement with only the names in ``used``, absolute; none for what is not used."""
    names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used]
    if not names or getattr(node, "module", "") == "__future__":
        return []
    if isinstance(node, ast.Import):
        return [ast.unparse(ast.Import(names))]
    module = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
    return [ast.unparse(ast.ImportFrom(module, names, 0))]


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
