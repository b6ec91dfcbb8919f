"""Tries an export before it is written, with this Python environment instead of the service's."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from minidl.classroom.check import CheckError
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.exports.right import right_file, wrong_file
from minidl.classroom.running import environment
from minidl.engine.checks import require

INSIDE = ".github/minidl"  # the folder of minidl's files in a GitHub Classroom repository
SERVE = (sys.executable, "-m", "minidl.classroom.exports.services")
CELLS = """
import json, re, sys
cells, In, given = json.load(sys.stdin), [], {}
for cell in cells:
    In.append(cell)
    call = re.match(r'check(?:[.]points)?[(]"(.*)"[)]$', cell)
    try:
        if call:
            given[call[1]] = check.points(call[1])
        else:
            exec(compile(cell, "cell", "exec"))
    except AssertionError:
        given[call[1]] = 0
print(json.dumps(given))
"""


class ExportError(CheckError):
    """The export gives wrong points. So it is not written."""


def try_both(exercises: list[Exercise], graded: Callable[[str], dict[str, bool]]) -> None:
    """Raise ExportError if a right answer fails, or if the first answer passes although it is wrong.

    graded(text): maps each exercise's number to True if a file with this text gets all points for it.
    """
    first, *others = (exercise.number for exercise in exercises)
    for text, passes in ((right_file(exercises), True), (wrong_file(exercises), False)):
        given, wanted = graded(text), {first: passes, **dict.fromkeys(others, True)}
        said = f"the service would give {given}, but the right result is {wanted}"
        require(given == wanted, said, ExportError)


def graded_by_gradescope(archive: Path, text: str) -> dict[str, bool]:
    """Unpack the archive, add a submission and run the command, in the same way as Gradescope."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with zipfile.ZipFile(archive) as unpacked:
            unpacked.extractall(root / "source")
        shutil.copy(root / "source" / "run_autograder", root)
        found = root / "results" / "results.json"
        (root / "submission").mkdir()
        (root / "submission" / "my answer.py").write_text(text, encoding="utf-8")
        if os.name == "posix":
            run(["bash", root / "run_autograder"], root / "source", root)
        else:
            run([*SERVE, "gradescope", root / "submission", found], root / "source", root / "source")
        results = json.loads(found.read_text(encoding="utf-8"))
        tests = [test for test in results["tests"] if "number" in test]
        return {test["number"]: test["score"] == test["max_score"] for test in tests}


def graded_by_classroom(repository: Path, name: str, text: str) -> dict[str, bool]:
    """Run the workflow's command in the repository, without the workflow's container."""
    (repository / name).write_text(text, encoding="utf-8")
    output, grader = repository.parent / "output", repository / INSIDE
    output.unlink(missing_ok=True)
    run([*SERVE, "classroom", repository, output], grader, grader)
    found = json.loads(base64.b64decode(output.read_text(encoding="utf-8").removeprefix("result=")))
    passes: dict[str, bool] = {}
    for test in found["tests"]:
        number = test["name"].split()[0]
        passes[number] = passes.get(number, True) and test["status"] == "pass"
    return passes


def run(command: list, grader: Path, cwd: Path) -> None:
    """Run the command so that Python imports minidl from the grader's wheel."""
    site = grader.parent / "site"
    if not site.exists():
        (wheel,) = grader.glob("minidl-*.whl")
        with zipfile.ZipFile(wheel) as unpacked:
            unpacked.extractall(site)
    env = {
        **os.environ,
        "PYTHONPATH": str(site),
        "MINIDL_PYTHON": sys.executable,
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    require(done.returncode == 0, f"{command[-1]} failed:\n{done.stdout}{done.stderr}", ExportError)


def try_notebook(course: Course, notebook: dict, wanted: dict[str, float]) -> None:
    """Run the notebook's cells in order. Raises ExportError if the exercises do not get the wanted points."""
    cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    done = subprocess.run(
        [sys.executable, "-c", CELLS],
        input=json.dumps(cells),
        cwd=course.root,
        env=environment(course.root),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    require(done.returncode == 0, f"the notebook does not run:\n{done.stderr}", ExportError)
    given = json.loads(done.stdout.splitlines()[-1])
    said = f"the notebook's cells get the points {given}, but must get {wanted}"
    require(given == wanted, said, ExportError)
