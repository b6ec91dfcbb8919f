"""What a learner does, without a process of its own: write a file, have it checked, run a replay."""

import contextlib
import functools
import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np

import lessons
from minidl.classroom import reading, worker
from minidl.classroom.check import Outcome
from minidl.classroom.course import Course
from minidl.classroom.stubs import plain_function, source
from minidl.classroom.work_file import lesson_stubs

ENOUGH = 500.0  # seconds for a law that ends, on a busy machine
REAL = Course(Path(lessons.__file__).parent)


def empty_course(root):
    """A course with the real exercises, and lessons of a title each, in which ``work/`` is empty."""
    folder = root / "course"
    folder.mkdir()
    for lesson in REAL.lessons():
        (folder / lesson.path.name).write_text(f'"""{lesson.number} A title"""\n', encoding="utf-8")
    return Course(folder)


@functools.cache
def stubs(lesson):
    """What ``start`` writes."""
    return lesson_stubs(REAL.lesson(lesson), REAL.exercises(lesson))


def librarys_text(exercise):
    """A right answer: the library's own text, with all that its module has."""
    target = plain_function(exercise.target)
    lines = [f"import {target.__module__} as _library", "globals().update(vars(_library))", ""]
    return "\n".join(lines) + source(target)


def write_work(course, lesson, text):
    """The lesson's stubs, and after them the text, which may define some of the functions again."""
    if not course.work_file(lesson).exists():
        course.work.mkdir(exist_ok=True)
        course.work_file(lesson).write_text(stubs(lesson), encoding="utf-8")
    with open(course.work_file(lesson), "a", encoding="utf-8") as file:
        file.write("\n\n" + text)


class Here:
    """Answers from this process, in the place of worker.Answers: quick, and for what is harmless."""

    gone = False

    @contextlib.contextmanager
    def of(self, check, exercise):
        module = reading.load(check.path, check.source)
        implementation = exercise.adapt(reading.function_of(module, exercise))
        reading.stand_in(module, exercise, check.exercises)
        yield implementation, self

    def patience(self, seconds):
        return contextlib.nullcontext()


def check_here(course, lesson, *numbers, seconds=ENOUGH):
    """The Outcomes, found in this process."""
    lines = io.StringIO()
    worker.FileCheck(course, lesson, seconds, lines, Here()).run(list(numbers))
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [Outcome(**line["outcome"]) for line in found if "outcome" in line]


def check_lesson_here(course, lesson, numbers=None, seconds=None):
    """What ``check_lesson`` gives, without the process of its own, and with as much time as it takes."""
    course.started_file(lesson)
    for number in numbers or ():
        course.exercise(number)
    yield from check_here(course, lesson, *numbers or ())


def check_exercise_here(course, number, seconds=None):
    (outcome,) = check_lesson_here(course, number[:2], [number])
    return outcome


def replayed(path, monkeypatch):
    """What the replay prints, with the error that ends it if one does, and how often it stopped."""
    stops, output = [], io.StringIO()
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(sys._getframe(1).f_lineno))
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("MINIDL_DEBUG", "1")
    with contextlib.redirect_stdout(output), np.errstate():
        try:
            runpy.run_path(str(path))
        except Exception as error:
            output.write(f"{type(error).__name__}: {error}")
    return output.getvalue(), len(stops)
