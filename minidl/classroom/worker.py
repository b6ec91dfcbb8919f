"""The process that runs a learner's file: it tries the laws and writes what it finds, a line of JSON each.

    python -m minidl.classroom.worker FOLDER PACKAGE NN SECONDS [NN.k ...]

FOLDER holds the lessons, PACKAGE their exercises; SECONDS is how long a law may take. The parent (check.py)
reads the lines and survives whatever happens here: a loop without end, an exit, a crash.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from minidl.classroom import answers, failure
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise, Result
from minidl.classroom.implementation import Implementation
from minidl.classroom.likeness import library_calls
from minidl.classroom.outcome import Outcome

MEMORY = 4 * 2**30  # bytes that a learner's file may take, where the system can be asked to see to it


def main(arguments: list[str]) -> None:
    folder, package, lesson, seconds, *numbers = arguments
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the learner's file prints goes another way than what is found
    course = Course(Path(folder), package)
    sys.path.append(str(course.work))  # for files that the learner's imports
    limit_memory()
    check_file(course, lesson, numbers, float(seconds), lines)
    lines.flush()
    os._exit(0)  # threads that the learner's file started, and its atexit functions, have no say


def check_file(course: Course, lesson: str, numbers: list[str], seconds: float, lines: TextIO) -> None:
    exercises, path = course.exercises(lesson), course.answers(lesson)
    emit(lines, exercises=[(exercise.number, exercise.name) for exercise in exercises])
    emit(lines, begin="", law="")
    try:
        with patience(seconds) as ran_out:
            module = answers.load(path)
    except answers.FileProblem as error:
        emit(
            lines,
            outcome=asdict(Outcome("", path.name, message=str(error), traceback=failure.long_text(error))),
        )
        return
    except KeyboardInterrupt as error:
        message = stopped(error, path, ran_out, f"importing it takes more than {seconds:g} s")
        emit(
            lines, outcome=asdict(Outcome("", path.name, message=message, traceback=failure.long_text(error)))
        )
        return
    for exercise in exercises:
        if exercise.number in numbers or not numbers:
            emit(lines, begin=exercise.number, law="")
            outcome = Outcome(exercise.number, exercise.name, laws=len(exercise.laws))
            outcome.note = answers.stale(path.read_text(encoding="utf-8", errors="replace"), exercise)
            try:
                answer = exercise.adapt(answers.function_of(module, exercise))
            except (answers.FileProblem, TypeError) as error:
                outcome.message = str(error)
            else:
                with answers.standing_in(module, exercise, exercises):
                    try_laws(course, path, exercise, answer, outcome, seconds, lines)
            emit(lines, outcome=asdict(outcome))


def try_laws(
    course: Course,
    path: Path,
    exercise: Exercise,
    answer: Implementation,
    outcome: Outcome,
    seconds: float,
    lines: TextIO,
) -> None:
    """Try the laws up to the first that fails; see whose function it is when none does."""
    outcome.line = getattr(getattr(answer.raw, "__code__", None), "co_firstlineno", 0)
    for law in exercise.laws:
        emit(lines, begin=exercise.number, law=law.text)
        result = try_law(path, exercise, law.text, answer, seconds)
        outcome.calls += result.calls
        if not result.passed:
            emit(lines, begin=exercise.number, law=law.text)  # telling what it is takes time of its own
            with suppress(KeyboardInterrupt), patience(seconds):
                failure.describe(course, path, exercise, answer, result, outcome)
            return
        outcome.held += 1
    outcome.library_calls = library_calls(exercise, answer.raw)
    outcome.passed = not outcome.library_calls


def try_law(path: Path, exercise: Exercise, text: str, answer: Implementation, seconds: float) -> Result:
    """The law's Result, also where it has none of its own."""
    case: dict[str, object] = {}
    try:
        with patience(seconds) as ran_out:
            return exercise.try_law(text, answer, case)
    except KeyboardInterrupt as error:
        message = stopped(error, path, ran_out, f"still running after {seconds:g} s: a loop without end?")
        return Result(text, False, answer.calls, message, case, error)
    except Exception as error:
        message = f"the law itself fails, which is no fault of yours: {type(error).__name__}: {error}"
        return Result(text, False, 0, message, case, error)


@contextmanager
def patience(seconds: float) -> Iterator[list[bool]]:
    """A Ctrl-C for the block after so many seconds; the list has an element from then on."""
    ran_out: list[bool] = []

    def interrupt() -> None:
        ran_out.append(True)
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield ran_out
    finally:
        timer.cancel()


def stopped(error: BaseException, path: Path, ran_out: list[bool], too_long: str) -> str:
    where = answers.place(error, path)
    return (too_long if ran_out else "it raises KeyboardInterrupt") + (f"\nat {where}" if where else "")


def limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no resource, and others may refuse
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def emit(lines: TextIO, **fields: object) -> None:
    lines.write(json.dumps(fields) + "\n")
    lines.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
