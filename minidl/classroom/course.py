"""The places of a course's files: lessons, exercises, the learner's files, and the files of a check."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from minidl.engine.checks import check_instance, require

if TYPE_CHECKING:
    from minidl.classroom.exercise import Exercise

COMMAND = "python -m lessons"


@dataclass(frozen=True)
class Lesson:
    """A script NN_topic.py. Its figures are in out/NN_topic/. The folders out and lessons have one parent."""

    path: Path

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def head(self) -> list[str]:
        """The lines of the docstring, or of the first text cell without its marks if there is no docstring.

        The first line is the number and the title.
        Raises SyntaxError or ValueError if the script does not parse.
        """
        source = self.path.read_bytes()
        text = ast.get_docstring(ast.parse(source))
        if text is None:
            cells = source.decode("utf-8").split("# %%")
            text = cells[1].removeprefix(" [markdown]") if len(cells) > 1 else ""
            text = "\n".join(line.removeprefix("#").strip() for line in text.strip().splitlines())
        return text.removeprefix("# ").splitlines() or ["(no title)"]

    @property
    def title(self) -> str:
        """The script's first heading, without the number."""
        try:
            return self.head[0].removeprefix(self.number).strip()
        except (SyntaxError, ValueError) as error:  # somebody is editing it
            return f"(does not parse: {error})"

    @property
    def root(self) -> Path:
        return self.path.parent.parent

    def figures(self) -> dict[Path, int]:
        """Maps each file in the lesson's figure folder to the time when it was written."""
        folder = self.root / "out" / self.path.stem
        return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Course:
    """A folder of lessons, and the package with the modules ``exNN_topic``, which define the exercises."""

    folder: Path
    package: str = "lessons.exercises"
    command: str = COMMAND  # the text before a verb in a message

    def __post_init__(self) -> None:
        check_instance("folder", self.folder, Path)
        check_instance("package", self.package, str)
        check_instance("command", self.command, str)

    @classmethod
    def of_ones_own(cls, folder: Path) -> Course:
        """The course in any folder, with its exercises in ``exercises/``. Python can import them afterwards.

        Raises FileNotFoundError if the folder does not exist or has no lessons. Raises ValueError if Python
        cannot import a folder of this name.
        """
        full = folder.resolve()
        found = (full / "exercises").is_dir() and any(full.glob("[0-9][0-9]_*.py"))
        said = f"{folder} is no course: a course has lessons NN_topic.py and a folder exercises"
        require(found, said, FileNotFoundError)
        name = full.name
        said = f"a course's folder has a name that Python can import, such as my_course, got {name!r}"
        require(name.isidentifier(), said)
        for other in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[other]  # a package of the same name, such as the library's own lessons
        sys.path.insert(0, str(full.parent))
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(name)
        is_it = spec is not None and str(full) in (spec.submodule_search_locations or ())
        said = f"Python has another package {name}: give {folder} an __init__.py or another name"
        require(is_it, said)
        return cls(folder, f"{name}.exercises", f"{COMMAND} --course {shlex.quote(str(folder))}")

    @property
    def root(self) -> Path:
        return self.folder.resolve().parent

    @property
    def work(self) -> Path:
        """The folder that holds the learner's files NN_topic.py, and replay/, backup/ and progress.json."""
        return self.root / "work"

    def lessons(self) -> list[Lesson]:
        return [Lesson(path) for path in sorted(self.folder.resolve().glob("[0-9][0-9]_*.py"))]

    def lesson(self, number: str) -> Lesson:
        """The lesson "NN". Raises ValueError with the known numbers if there is no such lesson."""
        known = {lesson.number: lesson for lesson in self.lessons()}
        there = f"there is no lesson {number}{self.named}"
        require(number in known, f"{there}; there are {', '.join(known) or 'none'}")
        return known[number]

    def exercises(self, lesson: str = r"\d\d") -> list[Exercise]:
        """The exercises of one lesson, or of all lessons. Imports only the modules of these lessons."""
        package = importlib.import_module(self.package)
        if hasattr(package, "all_exercises"):
            return package.all_exercises(lesson)
        return exercises_in(package, lesson)

    def exercise(self, number: str) -> Exercise:
        """The exercise "NN.k". Raises ValueError with the lesson's exercises if there is no such exercise."""
        there = self.exercises(self.lesson(number[:2]).number)
        for exercise in there:
            if exercise.number == number:
                return exercise
        known = ", ".join(f"{exercise.number} {exercise.name}" for exercise in there) or "none yet"
        raise ValueError(f"there is no exercise {number}{self.named}; lesson {number[:2]} has {known}")

    def work_file(self, lesson: str) -> Path:
        """The path of the learner's file for a lesson, whether the file exists or not."""
        return self.work / self.lesson(lesson).path.name

    def started_file(self, lesson: str) -> Path:
        """The path of the learner's file. Raises FileNotFoundError if ``start`` has not been called."""
        path = self.work_file(lesson)
        message = f"{self.shown(path)} is not there yet: {self.short}start {lesson} writes it"
        require(path.exists(), message, FileNotFoundError)
        return path

    def started(self) -> list[Lesson]:
        return [lesson for lesson in self.lessons() if (self.work / lesson.path.name).exists()]

    def shown(self, path: Path) -> str:
        """The path relative to the folder that holds the lessons. A file outside of it has its full path."""
        path = path.resolve()
        near = path.is_relative_to(self.root) and not self.named
        return path.relative_to(self.root).as_posix() if near else str(path)

    @property
    def named(self) -> str:
        """The words " in my_course", for messages about a teacher's own course."""
        return "" if self.command == COMMAND else f" in {self.folder}"

    @property
    def short(self) -> str:
        """The text before a verb in messages of a teacher's own course, which name the course; else ""."""
        return f"{self.command} " if self.named else ""


def exercises_in(package: ModuleType, lesson: str = r"\d\d") -> list[Exercise]:
    """The exercises in the package's modules ``exNN_topic``, sorted by number: of one lesson, or of all.

    Raises ValueError for two exercises with the same number, and for an exercise in another lesson's module.
    """
    from minidl.classroom.exercise import Exercise  # imports NumPy and Hypothesis

    found: dict[str, Exercise] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not re.match(rf"ex{lesson}_", module.name):
            continue
        for value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            if not isinstance(value, Exercise):
                continue
            fits = value.number[:2] == module.name[2:4]
            require(fits, f"exercise {value.number} is in the wrong module, {module.name}")
            is_only = found.setdefault(value.number, value) is value
            require(is_only, f"two exercises have the number {value.number}, in {module.name}")
    return [found[number] for number in sorted(found)]
