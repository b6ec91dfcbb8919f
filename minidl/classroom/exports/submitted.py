"""What a learner submitted: the one file of a folder that answers the lesson, also out of a notebook."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minidl.classroom.check import SECONDS, Options, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.further import points_of
from minidl.classroom.verdicts import submission

MARKED = re.compile(r"^# (\d\d\.\d) \w+[:,] ", re.MULTILINE)  # above each stub
IMPORTS = "# imports for lesson "  # the first line of a notebook's cell of imports
LARGEST = 10 * 2**20  # bytes of a file that is looked at


class SubmissionProblem(Exception):
    """Why there is nothing to check, in words for the learner."""


@contextmanager
def answer_file(submitted: Path, lesson: str) -> Iterator[Path]:
    """The Python file of a submission (a file, or a folder that holds it), for as long as the block lasts."""
    path = chosen(submitted, lesson)
    if path.suffix != ".ipynb":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{path.stem}.py"
        file.write_text(answers(code_cells(path), lesson), encoding="utf-8")
        yield file


def chosen(submitted: Path, lesson: str) -> Path:
    """The file with the lesson's stubs; or the only one, whatever it is called."""
    if not submitted.is_dir():
        if not is_answer(submitted):
            raise SubmissionProblem(f"there is no file {submitted.name}")
        return submitted
    files = [path for path in sorted(submitted.rglob("*")) if is_answer(path)]
    files = [path for path in files if not is_hidden(path.relative_to(submitted))]
    marked = [path for path in files if lesson in lessons_of(path)]
    named = [path for path in files if path.name.startswith(lesson)]
    for among in (marked, named, files):
        if len(among) == 1:
            return among[0]
    names = ", ".join(path.relative_to(submitted).as_posix() for path in files[:10])
    if not files:
        raise SubmissionProblem(f"no file ends in .py or .ipynb: submit the file of lesson {lesson}")
    raise SubmissionProblem(f"there are several files, and only one can be the answer: {names}")


def is_answer(path: Path) -> bool:
    wanted = path.suffix in (".py", ".ipynb") and path.is_file() and not path.is_symlink()
    return wanted and path.stat().st_size <= LARGEST


def is_hidden(path: Path) -> bool:
    """Of an editor, of git, of the service, of macOS's archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def lessons_of(path: Path) -> set[str]:
    """Those of which the file has stubs."""
    texts = [path.read_text(encoding="utf-8", errors="replace")]
    if path.suffix == ".ipynb":
        with suppress(SubmissionProblem):
            texts = code_cells(path)
    return {number[:2] for text in texts for number in MARKED.findall(text)}


def code_cells(path: Path) -> list[str]:
    """The texts of a notebook's code cells."""
    try:
        cells = json.loads(path.read_bytes())["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in sources]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SubmissionProblem(f"{path.name} is not a notebook: {type(error).__name__}") from error


def answers(cells: list[str], lesson: str, number: str = "") -> str:
    """The file that the cells make: the imports, and for each exercise the last cell with its stub's mark.

    Other cells are for trying things out, and are left out. number: "NN.k", the only exercise that is wanted.
    """
    parts: dict[str, str] = {}
    for cell in cells:
        first = cell.lstrip().split("\n", 1)[0]
        is_stub = MARKED.match(first)
        if first.startswith(IMPORTS + lesson):
            parts[""] = cell
        elif is_stub and is_stub[1].startswith(number or lesson):
            parts[is_stub[1]] = cell
    if not parts.keys() - {""}:
        raise SubmissionProblem(f"no cell begins with the mark of exercise {number or lesson + '.1'}")
    return "\n\n\n".join(parts[key].rstrip() for key in sorted(parts)) + "\n"


def report_on(course: Course, settings: dict, file: Path) -> dict:
    """What ``check FILE --json`` says of the file (see verdicts.py)."""
    exercises = course.exercises(settings["lesson"])
    laws = Path(settings["laws"]).resolve() if settings["laws"] else None
    options = Options(file=str(file.resolve()), laws=str(laws or ""), all_laws=True)
    numbers = settings.get("numbers") or [one.number for one in exercises]
    todo = [one for one in exercises if one.number in numbers]
    outcomes = list(check_lesson(course, settings["lesson"], numbers, SECONDS, options))
    points = points_of(exercises, laws)
    return submission(file.name, settings["lesson"], todo, points, outcomes, settings["partial"])
