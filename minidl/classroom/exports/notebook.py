"""Writes notebooks with a lesson's exercises, for learners and for nbgrader. A notebook is a JSON file."""

from __future__ import annotations

import ast
import html

from minidl.classroom.cells import IMPORTS
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.exports.right import needed
from minidl.classroom.stubs import imports, source, stub
from minidl.classroom.work_file import mark

ABOUT = """\
# Exercises of lesson {number}: {title}

Each exercise has a cell for your answer and a cell that checks it. **The answer is the one cell** that
begins with the exercise's number: keep this first line, and put helpers of your own into the same cell.
Imports of your own go into the cell that begins with `{imports}{number}`: keep that line as well.
Lines that begin with `%` or `!` are left out. While one function is checked, the library's functions stand
in for the others."""
SET_UP = """\
# Start Jupyter in the folder that holds the lessons, or install that folder:  pip install -e FOLDER
from minidl.classroom.exports.in_notebook import Checks

check = Checks({package!r}, {number!r}, partial={partial})"""
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader removes the lines between these


def learner_notebook(course: Course, lesson: str) -> dict:
    """The learner's notebook: stubs, and a cell ``check("NN.k")`` after each stub."""
    cells = first_cells(course, lesson, False)
    for exercise in course.exercises(lesson):
        cells.append(markdown(told(exercise)))
        cells.append(code(f"{mark(exercise)}\n{stub(exercise.target)}"))
        cells.append(code(f'check("{exercise.number}")'))
    return notebook(cells)


def nbgrader_notebook(course: Course, lesson: str, partial: bool) -> dict:
    """The teacher's notebook: answers between nbgrader's marks, and locked cells that give the points."""
    first = first_cells(course, lesson, partial)
    cells = [graded(cell, f"minidl-{place}", locked=True) for place, cell in enumerate(first)]
    for exercise in course.exercises(lesson):
        name = exercise.number.replace(".", "-")
        cells.append(graded(markdown(told(exercise)), f"text-{name}", locked=True))
        answer = f"{mark(exercise)}\n{between_marks(exercise, first[-1]['source'])}"
        cells.append(graded(code(answer), f"answer-{name}", solution=True))
        test = code(f'check.points("{exercise.number}")')
        cells.append(graded(test, f"laws-{name}", grade=True, locked=True, points=exercise.points))
    return notebook(cells)


def first_cells(course: Course, lesson: str, partial: bool) -> list[dict]:
    exercises = course.exercises(lesson)
    helpers = [name for exercise in exercises for name in exercise.helpers]
    used = imports(*(exercise.target for exercise in exercises), helpers=helpers)
    return [
        markdown(ABOUT.format(number=lesson, imports=IMPORTS, title=course.lesson(lesson).title)),
        code(SET_UP.format(package=course.package, number=lesson, partial=partial)),
        code(f"{IMPORTS}{lesson}\n{used}"),
    ]


def told(exercise: Exercise) -> str:
    """The task in words: points, laws, and hints that the reader can open."""
    laws = [f"- {law.text}" for law in exercise.laws]
    hints = [
        f"<details><summary>hint {i}</summary>{html.escape(hint)}</details>"
        for i, hint in enumerate(exercise.hints, 1)
    ]
    return "\n".join([f"## {exercise.heading}", "", f"{exercise.effort}. The laws:", "", *laws, "", *hints])


def between_marks(exercise: Exercise, imported: str) -> str:
    """The library's text with marks around each body. The body has the imports that the notebook lacks."""
    text = source(exercise.target)
    lines = text.splitlines()
    extra = [line for line in needed(exercise.target).splitlines() if line not in imported.splitlines()]
    (top,) = ast.parse(text).body
    functions = [node for node in (top, *getattr(top, "body", ())) if isinstance(node, ast.FunctionDef)]
    if isinstance(top, ast.FunctionDef):
        functions = [top]
    for node in reversed(functions):  # backwards, so that line numbers stay right
        has_doc = ast.get_docstring(node, clean=False) is not None
        begin = node.body[0].end_lineno if has_doc else node.body[0].lineno - 1
        indent = " " * node.body[0].col_offset
        around = [BEGIN, *extra], [END]
        before, after = ([indent + line if line else "" for line in part] for part in around)
        lines[begin : node.end_lineno] = [*before, *lines[begin : node.end_lineno], *after]
    return "\n".join(lines) + "\n"


# ---- cells, https://nbformat.readthedocs.io and https://nbgrader.readthedocs.io


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text: str) -> dict:
    cell = {"cell_type": "code", "metadata": {}, "source": text.rstrip("\n")}
    return {**cell, "execution_count": None, "outputs": []}


def graded(
    cell: dict,
    name: str,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    points: int | None = None,
) -> dict:
    """The cell with the metadata that nbgrader needs."""
    about = {"schema_version": 3, "grade_id": name, "grade": grade, "solution": solution, "locked": locked}
    about |= {"task": False, "cell_type": cell["cell_type"]}
    return cell | {"metadata": {"nbgrader": about if points is None else about | {"points": points}}}


def notebook(cells: list[dict]) -> dict:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [{"id": f"minidl-{place}", **cell} for place, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
