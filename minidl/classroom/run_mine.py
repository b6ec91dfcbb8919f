"""Runs a lesson with the learner's own functions. They replace the library's functions in all calls.

    python -m minidl.classroom.run_mine FOLDER PACKAGE NN.k,NN.k,... SCRIPT

FOLDER holds the lessons, PACKAGE holds their exercises.
"""

from __future__ import annotations

import linecache
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from minidl.classroom import reading, studies
from minidl.classroom.check import check_lesson
from minidl.classroom.course import Course, Lesson
from minidl.classroom.exercise import Exercise
from minidl.classroom.exercise_kinds import code_of
from minidl.classroom.files import digest
from minidl.classroom.record import Record
from minidl.classroom.script import run_script
from minidl.classroom.substitute import Substitute, substituted
from minidl.data import cache
from minidl.data.cache import cache_folder
from minidl.engine.checks import require

# ---- before the run: choose the functions


def through_mine(course: Course, chosen: list[Lesson]) -> list[str]:
    """The interpreter's arguments for ``run_lessons``, so that the lessons run with the learner's functions.

    Only functions that pass are used. The names of the other functions are printed. Raises ValueError if no
    function passes.
    """
    passing, others = sorted_out(course, chosen)
    require(passing, f"none of your functions passes yet: {course.command} check  says why")
    print("yours: " + listed(passing))
    if others:
        print("the library's, since yours does not pass: " + listed(others))
    print("(each lesson runs your functions for its own exercises. Saved networks are read.")
    print("Other networks are trained again, which may take minutes, and are not saved.)\n", flush=True)
    numbers = ",".join(exercise.number for exercise in passing)
    return ["-m", "minidl.classroom.run_mine", str(course.folder.resolve()), course.package, numbers]


def listed(exercises: list[Exercise]) -> str:
    return ", ".join(f"{exercise.number} {exercise.name}" for exercise in exercises)


def sorted_out(course: Course, chosen: list[Lesson]) -> tuple[list[Exercise], list[Exercise]]:
    """The started exercises that pass, and those that do not. Files that have changed are checked first."""
    record = Record(course)
    passing: list[Exercise] = []
    others: list[Exercise] = []
    for lesson in filter(chosen.__contains__, course.started()):
        path, exercises = course.work_file(lesson.number), course.exercises(lesson.number)
        if any(record.of(exercise.number)["file"] != digest(path) for exercise in exercises):
            print(f"checking {course.shown(path)} ...", file=sys.stderr, flush=True)
            for outcome in check_lesson(course, lesson.number):
                record.note(outcome)
        for exercise in exercises:
            (passing if record.passes(exercise.number) else others).append(exercise)
    return passing, others


# ---- the run, in a process of its own


def main(arguments: list[str]) -> None:
    folder, package, numbers, script = arguments
    course, lesson = Course(Path(folder), package), Path(script).name[:2]
    sys.path.append(str(course.work))  # the learner's file may import other files
    mine = load_substitutes(course, lesson, [n for n in numbers.split(",") if n[:2] == lesson])
    lines: list[str] = []
    with copy_of_the_cache(), the_librarys_numbers() as given, substituted(mine):
        try:
            run_script(Path(script))
        except Exception as error:
            lines.append(culprit(error, mine))
            raise
        finally:
            lines += [report(mine), *(f"the library's measurement, not yours: {source}" for source in given)]
            print("\n" + "\n".join(filter(None, lines)), flush=True)


@contextmanager
def copy_of_the_cache() -> Iterator[Path]:
    """Inside the block, minidl uses a copy of the cache. At the end the copy is deleted."""
    with tempfile.TemporaryDirectory(prefix="minidl-mine-") as name:
        folder, usual = Path(name), cache_folder()
        for path in usual.iterdir() if usual.is_dir() else ():
            try:
                (folder / path.name).symlink_to(path.resolve())  # storing replaces the link
            except OSError:  # on Windows, most users may not make links
                shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder)
        with mock.patch.dict(os.environ, MINIDL_CACHE=str(folder)):
            yield folder


@contextmanager
def the_librarys_numbers() -> Iterator[dict[str, None]]:
    """Collects the names of the studies and cache entries that the block reads, each name once."""
    sources: dict[str, None] = {}
    there, quoted, read_arrays = set(cache_folder().glob("*")), studies.quoted, cache.read_arrays

    def quoting(folder: Path, study: str, *names: Any):
        sources[f"study {study}"] = None
        return quoted(folder, study, *names)

    def reading(path: Path, header: str):
        if path in there:
            sources[f"{path.stem.rsplit('-', 1)[0]}, kept in the cache"] = None
        return read_arrays(path, header)

    with mock.patch.object(studies, "quoted", quoting), mock.patch.object(cache, "read_arrays", reading):
        yield sources


def load_substitutes(course: Course, lesson: str, numbers: list[str]) -> list[Substitute]:
    """The learner's functions for these exercises. The library's replace the file's other functions."""
    if not numbers:
        return []
    substitutes, module = [], reading.load(course.work_file(lesson))
    for exercise in course.exercises(lesson):
        if exercise.number in numbers:
            substitutes.append(Substitute(exercise, reading.function_of(module, exercise)))
        if exercise.number not in numbers or exercise.kind == "op":  # an Op keeps its class
            vars(module)[exercise.name] = exercise.target
    return substitutes


def culprit(error: Exception, substitutes: list[Substitute]) -> str:
    """A text that names the learner's function in the error's traceback, or else the last called function."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        for one in substitutes:
            if frame.f_code in code_of(one.implementation):
                path = frame.f_code.co_filename
                place = f"{Path(path).name}:{line}: {linecache.getline(path, line).strip()}"
                return f"{type(error).__name__} in your {one.exercise.name}, {place}"
    last = max(substitutes, key=lambda one: one.last, default=None)
    if last is None or not last.calls:
        return f"{type(error).__name__} before any function of yours was called"
    return f"{type(error).__name__} after a call of your {last.exercise.name}, in none of your lines"


def report(substitutes: list[Substitute]) -> str:
    """A text that says how often each of the learner's functions was called, and how it ran."""
    lines = []
    for one in substitutes:
        calls = f"{one.calls:,} call{'s' * (one.calls != 1)} of yours" if one.calls else ""
        used = bool(one.calls) or one.note.startswith("the library's is kept")
        told = ", ".join(filter(None, [calls, one.note])) if used else "not called here"
        lines.append(f"{one.exercise.number} {one.exercise.name}: {told}")
    if not any(one.calls for one in substitutes):
        lines.append(
            "all numbers and figures of this lesson are the library's: it called no function of yours"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
