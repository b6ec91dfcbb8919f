"""Answers in a notebook. Each answer is one cell. The cell begins with the mark of its stub."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable

MARKED = re.compile(r"# (\d\d\.\d) \w+[:,] ")  # as work_file.mark writes it
MAGIC = re.compile(r"^[%!].*\n?", re.MULTILINE)  # such as %matplotlib inline
IMPORTS = "# imports for lesson "  # the first line of the cell of imports


def text_of_notebook(data: bytes) -> str:
    """The notebook's answers as the text of one Python file. Raises ValueError if data is not a notebook."""
    try:
        cells = [cell for cell in json.loads(data)["cells"] if cell["cell_type"] == "code"]
        return text_of_cells("".join(cell["source"]) for cell in cells)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def text_of_cells(cells: Iterable[str], number: str = "") -> str:
    """The text of the imports, and of the last cell with each exercise's mark. number: only this exercise.

    All other cells are left out, because learners use them for experiments. Jupyter's magics are left out.
    """
    parts: dict[str, str] = {}
    for cell in map(without_magics, cells):
        first = cell.lstrip().split("\n", 1)[0]
        is_answer = MARKED.match(first)
        if first.startswith(IMPORTS):
            parts[""] = cell
        elif is_answer and number in ("", is_answer[1]):
            parts[is_answer[1]] = cell
    return "\n\n\n".join(parts[key].strip() for key in sorted(parts)) + "\n"


def without_magics(cell: str) -> str:
    """The cell's text. If it is not Python, the lines that begin with % or ! are left out."""
    try:
        ast.parse(cell)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return MAGIC.sub("", cell)
    return cell
