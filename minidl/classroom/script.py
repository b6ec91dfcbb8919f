"""Runs a lesson's script, and prints the heading of each section before the section's output.

python -m minidl.classroom.script SCRIPT
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

from minidl.classroom.on_terminal import paint


def run_script(path: Path) -> None:
    """Run the script in the same way as Python, and print the headings of its text cells."""
    sys.path[0] = str(path.parent)
    sys.argv = [str(path)]
    main = ModuleType("__main__")
    main.__file__ = str(path)
    sys.modules["__main__"] = main
    tree = with_headings(path.read_text(encoding="utf-8"), str(path))
    exec(compile(tree, str(path), "exec"), vars(main))


def with_headings(text: str, name: str) -> ast.Module:
    """The script's statements, with a print before the first statement after each line ``# ## heading``."""
    tree = ast.parse(text, name)
    for number, line in reversed(list(enumerate(text.splitlines(), 1))):
        heading = re.fullmatch(r"# (##+ .+)", line)
        place = next((i for i, statement in enumerate(tree.body) if statement.lineno > number), None)
        if heading and place is not None:
            shown = "\n" + paint(heading[1], "bold")
            (printing,) = ast.parse(f"print({shown!r}, flush=True)").body
            tree.body.insert(place, ast.increment_lineno(printing, number - 1))
    return tree


if __name__ == "__main__":
    run_script(Path(sys.argv[1]))
