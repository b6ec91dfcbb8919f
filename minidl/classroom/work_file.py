"""The learner's file in work/, which ``start`` writes."""

from __future__ import annotations

import re

import minidl
from minidl.classroom.course import COMMAND, Course, Lesson
from minidl.classroom.exercise import Exercise
from minidl.classroom.files import put_aside
from minidl.classroom.stubs import imports, source_hash, stub
from minidl.engine.checks import require

MARK = re.compile(r"^# (\d\d\.\d) (\w+)[:,] .*minidl (\S+), reference ([0-9a-f]{12})$", re.MULTILINE)


def start(course: Course, number: str, reset: bool = False) -> str:
    """Write the lesson's stubs into work/. Without ``reset``, a file that exists already is not changed.

    With ``reset`` this file is moved to backup/ first. A file of an older minidl with other exercises is also
    moved there.

    Returns a text on what was done. Raises ValueError for a lesson without exercises, and FileExistsError.
    """
    lesson, exercises = course.lesson(number), course.exercises(number)
    require(len(exercises) > 0, f"lesson {number} has no exercises")
    path, done = course.work_file(number), []
    path.parent.mkdir(parents=True, exist_ok=True)
    older = path.exists() and older_version(path.read_text(encoding="utf-8", errors="replace"), exercises)
    mend = f"start {number} --reset moves it to {course.shown(course.work / 'backup')} and writes new stubs"
    said = f"{course.shown(path)} exists already and is not changed. {mend}"
    require(reset or older or not path.exists(), said, FileExistsError)
    if path.exists():
        old_one = f"the old one, of minidl {older}," if older else "the old one"
        done.append(f"kept {old_one} as {course.shown(put_aside(path))}")
    with open(path, "x", encoding="utf-8") as file:  # mode x fails if another program has just made the file
        file.write(lesson_stubs(lesson, exercises, course.command))
    return ", ".join([*done, f"wrote {course.shown(path)}"])


def lesson_stubs(lesson: Lesson, exercises: list[Exercise], command: str = COMMAND) -> str:
    """The text of work/NN_topic.py: the imports that the stubs need, and the stubs."""
    number, helpers = lesson.number, [name for exercise in exercises for name in exercise.helpers]
    parts = [
        f'"""Exercises of lesson {number}. Replace each `raise NotImplementedError` by your own lines.\n\n'
        f"    {command} check {number}      what holds, and the smallest case that does not\n"
        f"    {command} hint {exercises[0].number}     a hint, one more each time\n"
        f"    {command} debug {exercises[0].number}    step into the case that fails\n\n"
        "While one function is checked, the library's stand in for the others of this file.\n"
        '"""\n\n' + imports(*(exercise.target for exercise in exercises), helpers=helpers)
    ]
    parts += [f"{mark(exercise)}\n{stub(exercise.target)}" for exercise in exercises]
    return "\n\n".join(parts)


def mark(exercise: Exercise) -> str:
    """The line above a stub. It names the exercise and the version of the library's text."""
    version = f"minidl {minidl.__version__}, reference {source_hash(exercise.target)}"
    return f"# {exercise.heading}, {exercise.effort}, {version}"


def older_version(text: str, exercises: list[Exercise]) -> str:
    """The minidl version of the file's stubs, if the stubs belong to other exercises; else ""."""
    there = {(exercise.number, exercise.name) for exercise in exercises}
    others = [version for number, name, version, _ in MARK.findall(text) if (number, name) not in there]
    return others[0] if others else ""


def stale(text: str, exercise: Exercise, exercises: list[Exercise]) -> str:
    """A message for the learner if the reference has changed since the stub was written; else ""."""
    begin = f"start {exercise.number[:2]}"
    if older := older_version(text, exercises):
        return f"your file is from minidl {older} with other exercises: {begin} keeps it and writes new stubs"
    for _, name, version, digest in MARK.findall(text):
        if name == exercise.name and digest != source_hash(exercise.target):
            return (
                f"the library's {name} has changed since your stub's minidl {version} "
                f"(now {minidl.__version__}): {begin} --reset keeps your file and writes new stubs"
            )
    return ""
