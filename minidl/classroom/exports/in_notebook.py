"""Defines ``check`` for exported notebooks. A cell calls ``check`` to check the answer in another cell."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from minidl.classroom.cells import text_of_cells
from minidl.classroom.course import Course
from minidl.classroom.exports.services import told, verdict
from minidl.engine.checks import require


class Checks:
    """Checks a lesson's exercises. The answers are in cells that this notebook has run already.

        check = Checks("lessons.exercises", "09")
        check("09.1")            checks the latest cell of exercise 09.1 and prints the result
        check.points("09.1")     does the same and returns the points for nbgrader

    Another process tries the laws, as in ``python -m lessons check``.
    partial: give points for the share of laws that hold. If False, one failing law costs all points.
    Raises ModuleNotFoundError if the lessons are not importable.
    """

    def __init__(self, package: str, lesson: str, partial: bool = False) -> None:
        folder = Path(importlib.import_module(package.split(".")[0]).__path__[0])
        self.course, self.lesson, self.partial = Course(folder, package), lesson, partial

    def __call__(self, number: str) -> None:
        print(told(self.exercise(number)))

    def points(self, number: str) -> float:
        """The points. Raises an error for 0 points, because nbgrader counts a cell with 0 as solved."""
        found = self.exercise(number)
        require(found["points"], told(found), AssertionError)
        print(told(found))
        return found["points"]

    def exercise(self, number: str) -> dict:
        self.course.exercise(number)  # raises for an unknown number
        settings = {"lesson": self.lesson, "partial": self.partial, "laws": ""}
        text = text_of_cells(sys.modules["__main__"].In, number)
        (found,) = verdict(self.course, settings, text.encode(), "this notebook.py", number)["exercises"]
        return found
