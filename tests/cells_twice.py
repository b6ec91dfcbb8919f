"""Whether each cell of a lesson, run a second time at once, prints and draws the same:

    python -m tests.cells_twice [00 02 ...]

A reader of a notebook runs a cell again. Lines with a time, such as "0.3 s" or "12 times faster", may differ.
Without numbers all lessons run. The exit code is 1 if a cell differs.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import lessons
from minidl.classroom.course import Course

TIME = re.compile(r"\d ?(ms|s|seconds?|minutes?)\b|\b(times|faster|slower)\b")


def cells(text: str) -> list[str]:
    """The code cells, each with empty lines before it, so that an error names the line of the script."""
    found, start, is_code = [], 0, False
    lines = text.splitlines()
    for number, line in enumerate([*lines, "# %%"]):
        if line.startswith("# %%"):
            if is_code:
                found.append("\n" * start + "\n".join(lines[start:number]))
            start, is_code = number + 1, line == "# %%"
    return found


def what_a_run_gives(code: str, names: dict[str, object], script: Path) -> tuple[list[str], dict[str, bytes]]:
    """The lines that a cell prints, but for times, and the figures that exist after it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, str(script), "exec"), names)
    lines = [line for line in printed.getvalue().splitlines() if not TIME.search(line)]
    return lines, {str(path): path.read_bytes() for path in sorted(Path("out").rglob("*.png"))}


def differing_cells(script: Path) -> list[str]:
    """A line for each cell that gives something else the second time."""
    names: dict[str, object] = {"__name__": "__main__"}
    found = []
    for number, code in enumerate(cells(script.read_text(encoding="utf-8")), 1):
        first = what_a_run_gives(code, names, script)
        second = what_a_run_gives(code, names, script)
        if first[0] != second[0]:
            pairs = [(a, b) for a, b in zip(*(run[0] for run in (first, second)), strict=False) if a != b]
            found.append(f"{script.name}, code cell {number}: {pairs[:1] or 'other lines'}")
        figures = [path for path in second[1] if first[1].get(path) != second[1][path]]
        found += [f"{script.name}, code cell {number}: {path} differs" for path in figures]
    return found


def main(numbers: list[str]) -> int:
    course = Course(Path(lessons.__file__).parent)
    scripts = [course.lesson(number).path for number in numbers] or [one.path for one in course.lessons()]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for script in scripts:
            lines = differing_cells(script)
            print(f"{script.name}: {'; '.join(lines) or 'each cell gives the same twice'}", flush=True)
            found += lines
        os.chdir(course.root)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
