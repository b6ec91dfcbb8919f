"""Count the code lines of minidl by package, and how many of them check or raise.

    python -m tests.count

A code line is a physical line that holds a token of code: docstrings, comments and blank lines do not count.
A line checks or raises if it belongs to a ``raise``, to an ``if`` that does nothing but raise, to a statement
that calls a checking function, or to a function whose name starts with "check". ``engine/checks.py`` holds
the checking functions and does not count itself.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "minidl"
CHECKS = PACKAGE / "engine" / "checks.py"
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip
_CHECKING_NAME = re.compile(r"_?check(ed)?(_|$)")
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(_lines_of(node.body[0]))
    return lines


def checking_lines(source: str, vocabulary: set[str]) -> set[int]:
    """The numbers of the code lines that check or raise. ``vocabulary`` names the checking functions."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_function = isinstance(node, ast.FunctionDef)
        if (
            isinstance(node, ast.Raise)
            or (is_function and _CHECKING_NAME.match(node.name))
            or (
                isinstance(node, ast.If)
                and not node.orelse
                and all(isinstance(x, ast.Raise) for x in node.body)
            )
        ):
            lines.update(_lines_of(node))
        elif isinstance(node, ast.stmt) and any(_is_check(call, vocabulary) for call in _own_calls(node)):
            lines.update(_lines_of_header(node))
    return lines & code_lines(source)


def vocabulary() -> set[str]:
    """The names of the functions that ``engine/checks.py`` defines."""
    return {node.name for node in ast.parse(CHECKS.read_text()).body if isinstance(node, ast.FunctionDef)}


def count() -> tuple[Counter, Counter]:
    """Code lines, and lines that check or raise, by package."""
    code, checking, words = Counter(), Counter(), vocabulary() - {"shown"}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        package = parts[0] if len(parts) > 1 else "minidl"
        source = path.read_text(encoding="utf-8")
        code[package] += len(code_lines(source))
        if path != CHECKS:
            checking[package] += len(checking_lines(source, words))
    return code, checking


def _is_check(call: ast.Call, words: set[str]) -> bool:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    return name in words or bool(_CHECKING_NAME.match(name))


def _own_calls(statement: ast.stmt) -> list[ast.Call]:
    """The calls of a statement itself, not those of statements inside it."""
    found, waiting = [], [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            found.append(node)
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    return found


def _lines_of(node: ast.AST) -> range:
    return range(node.lineno, node.end_lineno + 1)


def _lines_of_header(statement: ast.stmt) -> range:
    """The lines of a statement without the block inside it."""
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else statement.end_lineno
    return range(statement.lineno, max(last, statement.lineno) + 1)


if __name__ == "__main__":
    code, checking = count()
    print(f"{'package':<12}{'code':>8}{'checks':>8}{'share':>8}")
    for name in [*sorted(code), "all"]:
        lines, checks = (
            (sum(code.values()), sum(checking.values())) if name == "all" else (code[name], checking[name])
        )
        print(f"{name:<12}{lines:>8,}{checks:>8,}{checks / max(lines, 1):>8.1%}")
