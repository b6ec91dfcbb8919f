"""A lesson run on the learner's own functions, each in the place of the library's wherever that is called.

    python -m minidl.classroom.run_mine FOLDER PACKAGE NN.k,NN.k,... SCRIPT

FOLDER holds the lessons, PACKAGE their exercises.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidl.classroom import work_file
from minidl.classroom.check import check_lesson
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.files import digest
from minidl.classroom.record import Record
from minidl.classroom.script import run_script
from minidl.classroom.substitute import Substitute, substituted
from minidl.data.cache import cache_folder

# ---- before the run: which functions, and what is kept


@contextmanager
def prepared(course: Course) -> Iterator[tuple[list[str], dict[str, str]]]:
    """What ``run_lessons`` needs to run on the learner's functions: interpreter's arguments and environment.

    Only what passes is used; the rest is named. Raises ValueError where nothing does.
    """
    passing, others = sorted_out(course)
    if not passing:
        raise ValueError("nothing of yours passes yet: python -m lessons check  says why")
    print("yours: " + listed(passing))
    if others:
        print("the library's, since yours does not pass: " + listed(others))
    print("(networks that are kept already are read;")
    print("those that are trained anew, which may take minutes, are not kept)\n", flush=True)
    numbers = ",".join(exercise.number for exercise in passing)
    with copy_of_the_cache() as folder:
        through = ["-m", "minidl.classroom.run_mine", str(course.folder.resolve()), course.package, numbers]
        yield through, {"MINIDL_CACHE": str(folder)}


def listed(exercises: list[Exercise]) -> str:
    return ", ".join(f"{exercise.number} {exercise.name}" for exercise in exercises)


def sorted_out(course: Course) -> tuple[list[Exercise], list[Exercise]]:
    """The started exercises that pass, and the others. A file that has changed since is checked first."""
    record = Record(course)
    passing, others = [], []
    for lesson in course.started():
        path, exercises = course.work_file(lesson.number), course.exercises(lesson.number)
        if any(record.of(exercise.number)["file"] != digest(path) for exercise in exercises):
            print(f"checking {course.shown(path)} ...", file=sys.stderr, flush=True)
            for outcome in check_lesson(course, lesson.number):
                record.note(outcome)
        for exercise in exercises:
            (passing if record.passes(exercise.number) else others).append(exercise)
    return passing, others


@contextmanager
def copy_of_the_cache() -> Iterator[Path]:
    """A cache folder with everything that is in the usual one. What is stored there does not last."""
    with tempfile.TemporaryDirectory(prefix="minidl-mine-") as name:
        folder, usual = Path(name), cache_folder()
        for path in usual.iterdir() if usual.is_dir() else ():
            try:
                (folder / path.name).symlink_to(path.resolve())  # to store something replaces it
            except OSError:  # Windows allows links to few
                shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder)
        yield folder


# ---- the run, in a process of its own


def main(arguments: list[str]) -> None:
    folder, package, numbers, script = arguments
    course = Course(Path(folder), package)
    sys.path.append(str(course.work))  # for files that the learner's imports
    substitutes = load_substitutes(course, numbers.split(","))
    with substituted(substitutes):
        try:
            run_script(Path(script))
        finally:
            print("\n" + report(substitutes), flush=True)


def load_substitutes(course: Course, numbers: list[str]) -> list[Substitute]:
    """The functions of these exercises. In the learner's files, the library's stand in for all others."""
    substitutes = []
    for lesson in sorted({number[:2] for number in numbers}):
        module = work_file.load(course.work_file(lesson))
        for exercise in course.exercises(lesson):
            if exercise.number in numbers:
                substitutes.append(Substitute(exercise, work_file.function_of(module, exercise)))
            if exercise.number not in numbers or exercise.kind == "op":  # which gets the learner's methods
                vars(module)[exercise.name] = exercise.target
    return substitutes


def report(substitutes: list[Substitute]) -> str:
    """How often each was called, and how; a line for all that were not."""
    lines, idle = [], 0
    for one in substitutes:
        kept = one.note.startswith("the library's is kept")
        if one.calls or kept:
            calls = f"{one.calls:,} call{'s' * (one.calls != 1)} of yours"
            told = [calls] * (one.calls > 0) + [one.note] * bool(one.note)
            lines.append(f"{one.exercise.number} {one.exercise.name}: {', '.join(told)}")
        idle += not (one.calls or kept)
    return "\n".join([*lines, *[f"not called here: {idle} of yours"] * bool(idle)])


if __name__ == "__main__":
    main(sys.argv[1:])
