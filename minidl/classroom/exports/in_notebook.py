"""What the cells of an exported notebook call: the check of the answers in its other cells."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from minidl.classroom.cells import text_of_cells
from minidl.classroom.course import Course
from minidl.classroom.exports.services import told, verdict


class Checks:
    """The exercises of a lesson, and the cells that this notebook has run so far.

        check = Checks("lessons.exercises", "09")
        check("09.1")            prints what the laws say of the latest cell of exercise 09.1
        check.points("09.1")     does so and returns the points, as nbgrader takes them

    The laws are tried in a process of their own, as by ``python -m lessons check``.
    partial: points for the share of the laws that hold. Without it a single law that fails costs all.
    Raises ModuleNotFoundError if the lessons are not importable.
    """

    def __init__(self, package: str, lesson: str, partial: bool = False) -> None:
        folder = Path(importlib.import_module(package.split(".")[0]).__path__[0])
        self.course, self.lesson, self.partial = Course(folder, package), lesson, partial

    def __call__(self, number: str) -> None:
        print(told(self.exercise(number)))

    def points(self, number: str) -> float:
        """The points; none at all raises, since nbgrader takes a cell whose value is 0 for solved."""
        found = self.exercise(number)
        if not found["points"]:
            raise AssertionError(told(found))
        print(told(found))
        return found["points"]

    def exercise(self, number: str) -> dict:
        self.course.exercise(number)  # which says what there is
        settings = {"lesson": self.lesson, "partial": self.partial, "laws": ""}
        text = text_of_cells(sys.modules["__main__"].In, number)
        (found,) = verdict(self.course, settings, text.encode(), "this notebook.py", number)["exercises"]
        return found
