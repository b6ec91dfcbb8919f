"""``export``: makes the files that a teacher uploads. They are tried before they are written."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from minidl.classroom.course import Course
from minidl.classroom.exports.notebook import learner_notebook, nbgrader_notebook
from minidl.classroom.exports.tried import (
    INSIDE,
    graded_by_classroom,
    graded_by_gradescope,
    try_both,
    try_notebook,
)
from minidl.classroom.exports.wheel import write_wheel, write_zip
from minidl.classroom.work_file import lesson_stubs
from minidl.engine.checks import check_choice, require

HERE = Path(__file__).parent
RECIPE = ("Dockerfile", "in_container.sh", "setup.sh")
LEFT_OUT = ("__pycache__", ".hypothesis", ".ipynb_checkpoints", ".git")


@dataclass(frozen=True)
class Wish:
    """The export that a teacher asks for.

    partial: give points for the share of laws that hold. If False, one failing law costs all points.
    laws: a file of further laws and points (see further.py).
    """

    course: Course
    lesson: str
    partial: bool = False
    laws: Path | None = None

    @property
    def settings(self) -> dict:
        """The settings that services.py reads from the folder of ``grader_files``."""
        own = {"folder": self.course.folder.resolve().name, "package": self.course.package}
        own["command"] = self.course.command
        return {"lesson": self.lesson, "partial": self.partial, "laws": "laws.py" if self.laws else "", **own}


def export(service: str, wish: Wish, out: Path) -> Path:
    """Write the service's files for the lesson into the folder ``out``, and return their path.

    Raises ValueError for a lesson without exercises, and if learners could read the further laws at the
    service.
    Raises ExportError if right answers do not get all points, or a wrong answer gets points.
    """
    check_choice("service", service, tuple(SERVICES))
    lesson = wish.course.lesson(wish.lesson).number
    require(len(wish.course.exercises(lesson)) > 0, f"lesson {lesson} has no exercises")
    message = (
        f"further laws go to gradescope or grade only: learners could read them in what {service} gives them"
    )
    require(wish.laws is None or service == "gradescope", message)
    out.mkdir(parents=True, exist_ok=True)
    return SERVICES[service](wish, out)


def write_gradescope(wish: Wish, out: Path) -> Path:
    files = grader_files(wish)
    files["run_autograder"] = recipe("run_autograder")
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "gradescope.zip"
        write_zip(archive, files, executable=("run_autograder", *RECIPE[1:]))
        exercises = wish.course.exercises(wish.lesson)
        try_both(exercises, lambda text: graded_by_gradescope(archive, text))
        return Path(shutil.move(archive, out / f"gradescope_{wish.lesson}.zip"))


def write_classroom(wish: Wish, out: Path) -> Path:
    """Write the folder of a template repository."""
    lesson, exercises = wish.course.lesson(wish.lesson), wish.course.exercises(wish.lesson)
    files = {f"{INSIDE}/{path}": content for path, content in grader_files(wish).items()}
    files[f"{INSIDE}/run_classroom.sh"] = recipe("run_classroom.sh")
    files[".github/workflows/classroom.yml"] = recipe("classroom.yml")
    files[lesson.path.name] = lesson_stubs(lesson, exercises).encode()
    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch) / "repository"
        write_files(repository, files)
        try_both(exercises, lambda text: graded_by_classroom(repository, lesson.path.name, text))
    folder = out / f"classroom_{wish.lesson}"
    shutil.rmtree(folder / INSIDE, ignore_errors=True)  # an older wheel
    write_files(folder, files)
    return folder


def write_nbgrader(wish: Wish, out: Path) -> Path:
    notebook = nbgrader_notebook(wish.course, wish.lesson, wish.partial)
    exercises = wish.course.exercises(wish.lesson)
    try_notebook(wish.course, notebook, {exercise.number: exercise.points for exercise in exercises})
    return write_notebook(notebook, out / f"nbgrader_{wish.lesson}.ipynb")


def write_learner_notebook(wish: Wish, out: Path) -> Path:
    notebook = learner_notebook(wish.course, wish.lesson)
    exercises = wish.course.exercises(wish.lesson)
    try_notebook(wish.course, notebook, {exercise.number: 0 for exercise in exercises})
    return write_notebook(notebook, out / f"notebook_{wish.lesson}.ipynb")


SERVICES = {
    "gradescope": write_gradescope,
    "classroom": write_classroom,
    "nbgrader": write_nbgrader,
    "notebook": write_learner_notebook,
}
PAGES = {
    "gradescope": "gradescope.md",
    "classroom": "github_classroom.md",
    "nbgrader": "nbgrader.md",
    "notebook": "nbgrader.md",
}


def grader_files(wish: Wish) -> dict[str, bytes]:
    """The files that check submissions: the wheel, the lessons, the settings and the container's files."""
    files = {"settings.json": json.dumps(wish.settings, indent=1).encode()}
    if wish.laws:
        files["laws.py"] = wish.laws.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        wheel = write_wheel(Path(folder))
        files[wheel.name] = wheel.read_bytes()
    course = wish.course.folder.resolve()
    for path in sorted(course.rglob("*")):
        if path.is_file() and not any(part in LEFT_OUT for part in path.parts):
            files[path.relative_to(course.parent).as_posix()] = path.read_bytes()
    return files | {name: recipe(name) for name in RECIPE}


def recipe(name: str) -> bytes:
    """A file from this module's folder, with Linux line endings."""
    return (HERE / name).read_bytes().replace(b"\r\n", b"\n")


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_notebook(notebook: dict, path: Path) -> Path:
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
