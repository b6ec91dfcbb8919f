"""Where things are: the lessons, the exercises set on them, the learner's files, what a check leaves."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.engine.checks import check_instance, require

if TYPE_CHECKING:
    from minidl.classroom.exercise import Exercise


@dataclass(frozen=True)
class Lesson:
    """A script NN_topic.py; its figures are in out/NN_topic/ beside the lessons' folder."""

    path: Path

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def head(self) -> list[str]:
        """The lines of the first text cell without their marks, or of the docstring if there is one.

        The first is the number and the title. SyntaxError or ValueError for a script that does not parse.
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
        """The files in the lesson's figure folder, each with the time it was written."""
        folder = self.root / "out" / self.path.stem
        return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Course:
    """A folder of lessons and the package that defines their exercises by ``all_exercises(lesson)``."""

    folder: Path
    package: str = "lessons.exercises"

    def __post_init__(self) -> None:
        check_instance("folder", self.folder, Path)
        check_instance("package", self.package, str)

    @property
    def root(self) -> Path:
        return self.folder.resolve().parent

    @property
    def work(self) -> Path:
        """What the learner writes: NN_topic.py, and beside it replay/, backup/ and progress.json."""
        return self.root / "work"

    def lessons(self) -> list[Lesson]:
        return [Lesson(path) for path in sorted(self.folder.resolve().glob("[0-9][0-9]_*.py"))]

    def lesson(self, number: str) -> Lesson:
        """The lesson "NN"; ValueError with the known numbers if there is none."""
        known = {lesson.number: lesson for lesson in self.lessons()}
        if number not in known:
            raise ValueError(f"there is no lesson {number}; there are {', '.join(known) or 'none'}")
        return known[number]

    def exercises(self, lesson: str = r"\d\d") -> list[Exercise]:
        """The exercises of one lesson, or of all. Only that lesson's module is imported."""
        return importlib.import_module(self.package).all_exercises(lesson)

    def exercise(self, number: str) -> Exercise:
        """The exercise "NN.k"; ValueError with the lesson's if there is none."""
        there = self.exercises(self.lesson(number[:2]).number)
        for exercise in there:
            if exercise.number == number:
                return exercise
        known = ", ".join(f"{exercise.number} {exercise.name}" for exercise in there) or "none yet"
        raise ValueError(f"there is no exercise {number}; lesson {number[:2]} has {known}")

    def work_file(self, lesson: str) -> Path:
        """The learner's file for a lesson, whether it is there or not."""
        return self.work / self.lesson(lesson).path.name

    def started_file(self, lesson: str) -> Path:
        """The learner's file; FileNotFoundError when ``start`` has not been called."""
        path = self.work_file(lesson)
        message = f"{self.shown(path)} is not there yet: start {lesson} writes it"
        require(path.exists(), message, FileNotFoundError)
        return path

    def started(self) -> list[Lesson]:
        return [lesson for lesson in self.lessons() if (self.work / lesson.path.name).exists()]

    def shown(self, path: Path) -> str:
        """A path as the learner writes it, from the folder that holds the lessons."""
        path = path.resolve()
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
