"""The learner's file: written by ``start``, read back, and what is wrong with it in words."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import minidl
from minidl.classroom.course import COMMAND, Course, Lesson
from minidl.classroom.exercise import Exercise
from minidl.classroom.files import put_aside
from minidl.classroom.stubs import imports, plain_function, source_hash, stub
from minidl.engine.checks import require

MARK = re.compile(r"^# (\d\d\.\d) (\w+)[:,] .*minidl (\S+), reference ([0-9a-f]{12})$", re.MULTILINE)


class FileProblem(Exception):
    """Why nothing in a file, or no exercise of that file, can be checked, in words."""

    def __init__(self, message: str, ended: str = "") -> None:
        super().__init__(message)
        self.ended = ended  # see Outcome


# ---- writing


def start(course: Course, number: str, reset: bool = False) -> str:
    """Write the lesson's stubs into work/; what is there already stays, or with ``reset`` is put aside first.

    A file of an older minidl, whose exercises were others, is put aside in any case.

    Returns what was done, in words. Raises ValueError for a lesson without exercises, FileExistsError.
    """
    lesson, exercises = course.lesson(number), course.exercises(number)
    require(len(exercises) > 0, f"lesson {number} has no exercises")
    path, done = course.work_file(number), []
    path.parent.mkdir(parents=True, exist_ok=True)
    older = path.exists() and older_version(path.read_text(encoding="utf-8", errors="replace"), exercises)
    if path.exists() and not (reset or older):
        raise FileExistsError(
            f"{course.shown(path)} is there already and stays as it is. "
            f"start {number} --reset keeps it in {course.shown(course.work / 'backup')} and begins anew"
        )
    if path.exists():
        old_one = f"the old one, of minidl {older}," if older else "the old one"
        done.append(f"kept {old_one} as {course.shown(put_aside(path))}")
    with open(path, "x", encoding="utf-8") as file:  # x: somebody else may have been quicker
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
    """The line above a stub: whose it is, and of which text of the library."""
    version = f"minidl {minidl.__version__}, reference {source_hash(exercise.target)}"
    return f"# {exercise.heading}, {exercise.effort}, {version}"


def older_version(text: str, exercises: list[Exercise]) -> str:
    """The minidl of which the file's stubs are, if they are of other exercises than these."""
    there = {(exercise.number, exercise.name) for exercise in exercises}
    others = [version for number, name, version, _ in MARK.findall(text) if (number, name) not in there]
    return others[0] if others else ""


def stale(text: str, exercise: Exercise, exercises: list[Exercise]) -> str:
    """What to tell a learner whose stub is of an older library; nothing where the reference is the same."""
    begin = f"start {exercise.number[:2]}"
    if older := older_version(text, exercises):
        return (
            f"your file is of minidl {older}, whose exercises were others: {begin} keeps it and begins anew"
        )
    for _, name, version, digest in MARK.findall(text):
        if name == exercise.name and digest != source_hash(exercise.target):
            return (
                f"the library's {name} has changed since minidl {version}, of which your stub is "
                f"(now {minidl.__version__}): {begin} --reset keeps your file and begins anew"
            )
    return ""


# ---- reading


def load(path: Path) -> ModuleType:
    """Run the learner's file as a module of its own. Raises FileProblem for whatever stops that."""
    module = ModuleType(f"work_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and inspect look their module up
    try:
        code = compile(path.read_bytes(), str(path), "exec")  # no .pyc, which may be older than the file
        exec(code, vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise FileProblem(import_problem(error, path)) from error
    return module


def import_problem(error: BaseException, path: Path) -> str:
    """Why the file does not import."""
    if isinstance(error, OSError) and error.filename == str(path):
        return f"it cannot be read: {error.strerror}"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        code = (error.text or "").rstrip("\n")
        mark = " " * (max(error.offset or 1, 1) - 1) + "^"
        return f"line {error.lineno} is not Python: {error.msg}\n  {code}\n  {mark}"
    where = place(error, path)
    if isinstance(error, SystemExit):
        return f"it ends the program when imported (exit, {where or 'somewhere'}): take that out"
    return f"importing it raises {type(error).__name__}: {error}" + (f"\nat {where}" if where else "")


def place(error: BaseException, path: Path) -> str:
    """The last line of the file that the error went through, with its text."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {own[-1].lineno}: {own[-1].line}" if own else ""


def function_of(module: ModuleType, exercise: Exercise) -> Callable | type:
    """The learner's function or class. Raises FileProblem when it is missing, or the library's own."""
    name = exercise.name
    if name not in vars(module):
        defined = [n for n, x in vars(module).items() if getattr(x, "__module__", "") == module.__name__]
        near = difflib.get_close_matches(name, defined, 1, cutoff=0.5)
        found = f"is {near[0]} what it was?" if near else f"there are {', '.join(defined) or 'none'}"
        raise FileProblem(f"the file has no {name}: {found}", "missing")
    value = vars(module)[name]
    if plain_function(value) is plain_function(exercise.target):
        raise FileProblem(f"this is the library's own {name}, imported: write it yourself", "library")
    return value


def changed_signature(value: Callable | type, exercise: Exercise) -> str:
    """What the parameters must be, if they are others by now; a class is left to its laws."""
    if not (inspect.isfunction(value) and inspect.isfunction(plain_function(exercise.target))):
        return ""
    wanted = list(inspect.signature(plain_function(exercise.target)).parameters)
    yours = list(inspect.signature(value).parameters)
    if yours == wanted:
        return ""
    return f"the parameters must be ({', '.join(wanted)}), yours are ({', '.join(yours)})"


@contextmanager
def standing_in(module: ModuleType, exercise: Exercise, exercises: list[Exercise]) -> Iterator[None]:
    """The library's functions in the places of the file's other exercises: each is checked by itself."""
    before = dict(vars(module))
    vars(module).update({other.name: other.target for other in exercises if other is not exercise})
    try:
        yield
    finally:
        vars(module).clear()
        vars(module).update(before)
