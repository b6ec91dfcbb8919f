"""Laws and points that a teacher adds to exercises in a separate file: ``--laws my_laws.py``.

    from minidl.classroom.compare import assert_close
    import numpy as np

    POINTS = {"09.1": 3}                      # replaces the exercise's points; plain numbers only

    @find("09.1").law("equal logits share")   # find needs no import
    def equal_logits_share(softmax):
        assert_close(softmax(np.zeros((1, 4))), 0.25)

Learners do not get the file. If such a law fails, the teacher's reports name the law and its case. The
learner only reads that a further law fails (``for_learner``).
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import hypothesis

from minidl.classroom.check import Options
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.engine.checks import require

FURTHER = "a further law of your teacher"


def further_laws(course: Course, exercises: list[Exercise], options: Options) -> None:
    """Add the laws of ``options`` to the exercises. All laws then draw their cases from its seed."""
    if options.laws:
        runpy.run_path(options.laws, {"find": course.exercise})
    if options.seed is not None:
        for law in [law for exercise in exercises for law in exercise.laws if not law.is_example]:
            hypothesis.seed(options.seed)(law.function)


def try_further_laws(course: Course, laws: Path) -> None:
    """Try the laws of the file on the library's own functions. Afterwards the exercises have their old laws.

    Raises ValueError if a law fails or the file cannot be run. The error says which law, or why.
    """
    before = {exercise.number: (exercise, list(exercise.laws)) for exercise in course.exercises()}
    try:
        try:
            runpy.run_path(str(laws), {"find": course.exercise})
        except Exception as error:
            raise ValueError(f"{laws} cannot be run: {type(error).__name__}: {error}") from error
        for number, (exercise, own) in before.items():
            for law in [law for law in exercise.laws if law not in own]:
                said = (
                    f"{laws}: the library's own {exercise.name} ({number}) does not keep the law {law.text!r}"
                )
                try:
                    result = exercise.try_law(law.text, exercise.target)
                except Exception as error:  # the law's own
                    raise ValueError(f"{said}: {type(error).__name__}: {error}") from error
                require(result.passed, f"{said}: {result.message}")
    finally:
        for exercise, own in before.values():
            exercise.laws[:] = own


def for_learner(row: dict, exercise: Exercise) -> dict:
    """The row of results (see verdicts.py) for the learner, without the texts and cases of further laws."""
    own = {law.text for law in exercise.laws}
    row = {**row, "tried": [[law if law in own else FURTHER, holds] for law, holds in row["tried"]]}
    if row["law"] and row["law"] not in own:
        nothing = {
            "message": "",
            "case": [],
            "call": "",
            "answer": "",
            "looks_like": [],
            "picture": "",
            "again": "",
        }
        row |= {"law": FURTHER, **nothing}
    return row


def points_of(exercises: list[Exercise], laws: Path | None) -> dict[str, float]:
    """Maps each exercise's number to its points. The file ``laws`` is read, but not run.

    Raises ValueError if the file is not Python, or if POINTS does not map exercises to numbers >= 0.
    """
    points: dict[str, float] = {exercise.number: exercise.points for exercise in exercises}
    if laws is None:
        return points
    try:
        body = ast.parse(laws.read_bytes()).body
    except SyntaxError as error:
        raise ValueError(f"{laws} is not Python: line {error.lineno}: {error.msg}") from error
    for line in body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "POINTS":
            given = written_out(line.value)
            fits = isinstance(given, dict) and all(
                isinstance(key, str) and type(value) in (int, float) and 0 <= value < float("inf")
                for key, value in given.items()
            )
            require(fits, f"POINTS in {laws} must be a dict of plain numbers, like {{'09.1': 3}}")
            points |= {number: value for number, value in given.items() if number in points}
    return points


def written_out(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return None
